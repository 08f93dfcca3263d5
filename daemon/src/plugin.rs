//! Mapping rows of either store to canonical entities.
//!
//! Owns the [`Mapper`] trait, the plugin host behind it (`plugin/wasm`, one file per contract
//! version), the built-in mapping, and key templates. Refuses stores, and lets no type of wasmtime
//! out. Invariant: whatever a plugin does, it costs its own rows: a [`PluginError`], never the daemon.

pub mod builtin;
pub mod template;
pub mod wasm;
mod calendar;
mod identity;
mod issue;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use issue::PlanIssue;
use template::{KeyTemplate, Locator};

use crate::model::{
    Batch, EntityDef, InvariantDef, Logical, MappingIdentity, MappingPlan, Moment, RelationSchema,
    Side, Standing, Violation,
};

/// The compiled `users` plugin, for the demo.
#[cfg(feature = "demo")]
pub const USERS_WASM: &[u8] = include_bytes!("../../plugins/users/users.wasm");

/// A mapping, ready to be used by any number of checks at once.
pub trait Mapper: Send + Sync + fmt::Debug {
    /// What results must share to be compared or counted together.
    fn identity(&self) -> MappingIdentity;

    /// What it yields and what it needs.
    fn plan(&self) -> &MappingPlan;

    /// The rules it checks on pairs.
    fn invariants(&self) -> &[InvariantDef];

    /// Begins a check: a fresh instance, nothing remembered. `as_of` is when the check began; it is
    /// the same for both sides.
    ///
    /// # Errors
    /// If the plugin cannot be started.
    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError>;
}

/// A mapping in use by one check. Calls run on the calling thread and may take as long as the
/// plugin's limits allow. After an error the next call starts on a fresh instance; after several
/// errors, every call answers with the last one.
pub trait Session: Send {
    /// Maps rows of a side: the columns that the plan asks for, in its order.
    ///
    /// # Errors
    /// If the plugin fails; then nothing of these rows is known.
    fn map(&mut self, side: Side, rows: &Batch) -> Result<Mapped, PluginError>;

    /// Where the store of `side` keeps these entities (columns in the order of the entity's
    /// fields): full primary keys in key order.
    ///
    /// # Errors
    /// If the plugin fails.
    fn locate(&mut self, side: Side, entities: &Batch) -> Result<Located, PluginError>;

    /// Checks the invariants on pairs.
    ///
    /// # Errors
    /// If the plugin fails.
    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError>;
}

/// What mapping some rows gave. One entity type; a row yields none or one entity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    /// Canonical entities, columns in the order of the entity's fields.
    pub entities: Batch,
    /// For each entity the row that it came from. Ascending.
    pub from_row: Vec<usize>,
    /// For each entity whether it counts as there.
    pub standing: Vec<Standing>,
    /// Rows that cannot be mapped, ascending, and why (counts as a value).
    pub rejected: Vec<(usize, String)>,
}

/// Where entities are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// Primary keys, in key order.
    pub keys: Batch,
    /// For each key the entity that it belongs to: an entity may have none, one or several.
    pub from_entity: Vec<usize>,
}

/// Canonical entities of both sides, aligned: row `i` of both is the same key.
#[derive(Debug)]
pub struct Pairs<'a> {
    /// The source's.
    pub source: &'a Batch,
    /// Which of them are there.
    pub source_present: &'a [bool],
    /// The target's.
    pub target: &'a Batch,
    /// Which of them are there.
    pub target_present: &'a [bool],
}

/// An invariant that a pair failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairViolation {
    /// The pair.
    pub pair: usize,
    /// What failed.
    pub violation: Violation,
}

/// What a mapping is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// The pairing's name.
    pub pairing: &'a str,
    /// Where the source's rows are.
    pub source: Place<'a>,
    /// Where the target's rows are.
    pub target: Place<'a>,
}

/// One side of what a mapping is bound to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// What the store says of the relation.
    pub schema: &'a RelationSchema,
    /// Where the relation keeps an entity. None: its entities cannot be located.
    pub key: Option<&'a KeyTemplate>,
}

/// The key templates of both sides, made ready.
#[derive(Clone, Debug)]
struct Locators {
    source: Option<Locator>,
    target: Option<Locator>,
}

impl Locators {
    /// Fits the key templates of `binding` to `entity`. Adds to `issues` what does not fit.
    fn new(entity: &EntityDef, binding: &Binding<'_>, issues: &mut Vec<PlanIssue>) -> Self {
        let mut fit = |side: Side, place: Place<'_>| {
            let key: Vec<_> = place.schema.key_columns().cloned().collect();
            match Locator::new(entity, place.key?, &key) {
                Ok(locator) => Some(locator),
                Err(more) => {
                    let prefix = format!("/{side}/key");
                    issues.extend(more.into_iter().map(|issue| issue.below(&prefix)));
                    None
                }
            }
        };
        Self {
            source: fit(Side::Source, binding.source),
            target: fit(Side::Target, binding.target),
        }
    }

    /// Where the store of `side` keeps the entities.
    fn locate(&self, side: Side, entities: &Batch) -> Result<Located, PluginErrorKind> {
        let locator = match side {
            Side::Source => self.source.as_ref(),
            Side::Target => self.target.as_ref(),
        };
        locator.map(|locator| locator.locate(entities)).ok_or_else(|| PluginErrorKind::Own {
            code: "not-locatable".to_owned(),
            message: format!("the pairing has no key template for its {side}"),
        })
    }
}

/// Types of which a larger value is a later one.
#[must_use]
pub const fn may_be_version(logical: Logical) -> bool {
    matches!(logical, Logical::Integer | Logical::Decimal | Logical::Timestamp | Logical::DateTime)
}

/// A mapping failed as a whole; trouble with one row is in [`Mapped::rejected`].
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}` ({digest}), {function}: {kind}")]
pub struct PluginError {
    /// The plugin's name in the configuration; `built-in` for the built-in mapping.
    pub plugin: String,
    /// The first characters of its SHA-256 digest.
    pub digest: String,
    /// The contract's function: `map-batch`, `check-pairs`, ...
    pub function: &'static str,
    /// What happened.
    pub kind: PluginErrorKind,
}

impl PluginError {
    /// What happened, where, without the plugin's own words, which may hold values.
    #[must_use]
    pub fn blame(&self) -> String {
        let Self { plugin, digest, function, kind } = self;
        match kind {
            PluginErrorKind::Own { code, .. } => {
                format!("plugin `{plugin}` ({digest}), {function}: failed with `{code}`")
            }
            PluginErrorKind::Trap(what) => {
                let (trap, words) = what.split_once(LAST_WORDS).unwrap_or((what, ""));
                // Where a panic happened holds no values; what it says may.
                let place = words.lines().next().filter(|line| line.starts_with("panicked at "));
                let place = place.map(|place| format!("; {place}")).unwrap_or_default();
                format!("plugin `{plugin}` ({digest}), {function}: trapped: {trap}{place}")
            }
            PluginErrorKind::Fuel { .. }
            | PluginErrorKind::Deadline { .. }
            | PluginErrorKind::Memory { .. }
            | PluginErrorKind::Malformed(_) => {
                format!("plugin `{plugin}` ({digest}), {function}: {kind}")
            }
        }
    }
}

/// Stands in a trap's message between what trapped and what the guest said just before.
const LAST_WORDS: &str = "; the plugin's last words: ";

/// How a mapping failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginErrorKind {
    /// A trap: panic, out-of-bounds access, stack overflow. Where, and the plugin's last words, which
    /// may hold values.
    #[error("trapped: {0}")]
    Trap(String),
    /// Out of fuel: an endless loop, or too little fuel for the rows.
    #[error("used up its fuel of {allowed}")]
    Fuel {
        /// Fuel that the call was given.
        allowed: u64,
    },
    /// Ran beyond its deadline.
    #[error("ran longer than {millis} ms")]
    Deadline {
        /// The deadline.
        millis: u64,
    },
    /// Wanted more memory than it may have.
    #[error("wanted more memory than {allowed} bytes: {detail}")]
    Memory {
        /// The limit, in bytes.
        allowed: u64,
        /// What wanted it.
        detail: String,
    },
    /// Returned something that the contract forbids.
    #[error("returned malformed output: {0}")]
    Malformed(String),
    /// Returned an error of its own.
    #[error("failed with `{code}`: {message}")]
    Own {
        /// The plugin's code for it.
        code: String,
        /// The plugin's words; may hold values.
        message: String,
    },
}

impl PluginErrorKind {
    /// A short stable name for counting.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Trap(_) => "plugin-trap",
            Self::Fuel { .. } => "plugin-fuel",
            Self::Deadline { .. } => "plugin-deadline",
            Self::Memory { .. } => "plugin-memory",
            Self::Malformed(_) => "plugin-malformed",
            Self::Own { .. } => "plugin-error",
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Trap(_) => "see the trap's message and backtrace; it is a fault of the plugin",
            Self::Fuel { .. } => {
                "look for an endless loop, or raise the plugin's limits.fuel_per_row"
            }
            Self::Deadline { .. } => {
                "look for an endless loop, or raise the plugin's limits.deadline"
            }
            Self::Memory { .. } => "look for a leak, or raise the plugin's limits.memory",
            Self::Malformed(_) => "it is a fault of the plugin: its output breaks the contract",
            Self::Own { .. } => "see the plugin's documentation of this error code",
        }
    }
}

/// A plugin of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Where its code comes from.
    pub code: Code,
    /// Its own configuration, handed to it as it is.
    pub config: serde_json::Value,
    /// What it may use.
    pub limits: Limits,
}

/// Where a plugin's code comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// A component or a core module in a file.
    File(PathBuf),
    /// One that is part of driftd.
    Embedded(&'static [u8]),
}

/// What a plugin may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fuel of a call, whatever its size.
    pub fuel_per_call: u64,
    /// Fuel added for each row of the call.
    pub fuel_per_row: u64,
    /// Wall-clock time of a call.
    pub deadline: Duration,
    /// Linear memory of an instance, in bytes.
    pub memory: u64,
    /// Bytes that one call may make the host copy out of the guest.
    pub output: u64,
    /// Bytes of log messages kept of one check.
    pub log: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fuel_per_call: 50_000_000,
            fuel_per_row: 2_000_000,
            deadline: Duration::from_secs(2),
            memory: 64 << 20,
            output: 64 << 20,
            log: 16 << 10,
        }
    }
}
