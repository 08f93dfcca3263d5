//! Mapping rows of either store to canonical entities.
//!
//! Owns the [`Mapper`] trait, the plugin host behind it (`plugin/wasm`, one file per contract
//! version), the built-in mapping, and key templates. Refuses stores, and lets no type of wasmtime
//! out. Invariant: whatever a plugin does, it costs its own rows: a [`PluginError`], never the daemon.

pub mod builtin;
pub mod laws;
pub mod template;
pub mod wasm;
mod breaker;
pub(crate) mod calendar;
mod fault;
mod identity;
mod issue;
mod quarantine;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fault::LAST_WORDS;
pub use fault::{Call, PluginError, PluginErrorKind};
pub use issue::PlanIssue;
pub use quarantine::guarded;
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

    /// Whether it can say where the store of `side` keeps an entity.
    fn locates(&self, side: Side) -> bool;

    /// Begins a check: a fresh instance, nothing remembered. `as_of` is when the check began; it is
    /// the same for both sides.
    ///
    /// # Errors
    /// If the plugin cannot be started.
    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError>;

    /// Tries the laws of [`laws`] on real rows of a side, each on fresh instances. What is part of
    /// driftd keeps them.
    ///
    /// # Errors
    /// [`PluginErrorKind::Lawless`] if one does not hold; anything else if the plugin fails on these
    /// rows, so that nothing can be told.
    fn prove(&self, _side: Side, _rows: &Batch, _as_of: Moment) -> Result<(), PluginError> {
        Ok(())
    }
}

/// A mapping in use by one check. Calls run on the calling thread and may take as long as the
/// plugin's limits allow. After an error the next call starts on a fresh instance.
pub trait Session: Send {
    /// Maps rows of a side: the columns that the plan asks for, in its order.
    ///
    /// # Errors
    /// If the plugin fails; then nothing of these rows is known.
    fn map(&mut self, side: Side, rows: &Batch) -> Result<Mapped, PluginError>;

    /// Where the store of `side` keeps these entities (columns in the order of the entity's
    /// fields): full primary keys in key order. Only for a side that the mapping locates.
    ///
    /// # Errors
    /// If the plugin fails.
    fn locate(&mut self, side: Side, entities: &Batch) -> Result<Located, PluginError>;

    /// Checks the invariants on pairs.
    ///
    /// # Errors
    /// If the plugin fails.
    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError>;

    /// Says that up to `rows` rows of those to come may well fail by themselves: they are looked at
    /// because they are suspected.
    fn allow_guilty(&mut self, _rows: usize) {}
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

    const fn of(&self, side: Side) -> Option<&Locator> {
        match side {
            Side::Source => self.source.as_ref(),
            Side::Target => self.target.as_ref(),
        }
    }

    /// Where the store of `side` keeps the entities.
    fn locate(&self, side: Side, entities: &Batch) -> Result<Located, PluginErrorKind> {
        // Where no row became an entity there are not even columns to take a key from.
        let locate = |locator: &Locator| match entities.rows {
            0 => Located::default(),
            _ => locator.locate(entities),
        };
        self.of(side).map(locate).ok_or_else(|| PluginErrorKind::Own {
            code: "not-locatable".to_owned(),
            message: format!(
                "neither the mapping nor a key template locates entities in the {side}"
            ),
        })
    }
}

/// Types of which a larger value is a later one.
#[must_use]
pub const fn may_be_version(logical: Logical) -> bool {
    matches!(logical, Logical::Integer | Logical::Decimal | Logical::Timestamp | Logical::DateTime)
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
