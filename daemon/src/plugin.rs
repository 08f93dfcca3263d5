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
mod fault;
mod identity;
mod issue;
mod quarantine;
mod rows;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use fault::LAST_WORDS;
pub use fault::{Call, PluginError, PluginErrorKind};
pub use issue::PlanIssue;
pub use quarantine::guarded;
pub use rows::{
    Access, Checked, Failed, Input, Located, Mapped, Output, PairViolation, Pairs, Placed, Rows,
    Tallied, Tally,
};
use template::{KeyTemplate, Locator};

use crate::model::{
    Batch, EntityDef, InvariantDef, Logical, MappingIdentity, MappingPlan, Moment, RelationSchema,
    Side,
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

    /// Whether it can say where the store of `side` keeps entities, of every type.
    fn locates(&self, side: Side) -> bool;

    /// Whether it can tell entities by store keys alone.
    fn identifies(&self) -> bool;

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
    fn prove(&self, _side: Side, _rows: &Rows<'_>, _as_of: Moment) -> Result<(), PluginError> {
        Ok(())
    }
}

/// A mapping in use by one check. Calls run on the calling thread and may take as long as the
/// plugin's limits allow. After an error the next call starts on a fresh instance.
pub trait Session: Send {
    /// Maps rows of a side.
    ///
    /// # Errors
    /// If the plugin fails; then nothing of these rows is known.
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError>;

    /// Where the store of `side` keeps entities of a type, given by its position in the plan
    /// (columns in the order of its fields); one [`Located`] for each relation and access. Only for a
    /// side that the mapping locates.
    ///
    /// # Errors
    /// If the plugin fails.
    fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError>;

    /// As [`Session::locate`], but an entity on which the plugin fails by itself costs itself alone.
    ///
    /// # Errors
    /// If the plugin fails; then no place is known.
    fn locate_each(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Placed, PluginError> {
        let located = self.locate(side, entity, entities)?;
        Ok(Placed { located, failed: Vec::new() })
    }

    /// Whose rows lie at these primary keys of a relation, given by its position in the side's plan:
    /// entities of which no more than their key fields is known, by the position of the store key.
    /// Only for a mapping that identifies.
    ///
    /// # Errors
    /// If the plugin fails.
    fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError>;

    /// Checks the invariants on pairs.
    ///
    /// # Errors
    /// If the plugin fails.
    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError>;

    /// As [`Session::check_pairs`], but a pair on which the plugin fails by itself costs itself alone.
    ///
    /// # Errors
    /// If the plugin fails; then none of the pairs is checked.
    fn check_each(&mut self, pairs: &Pairs<'_>) -> Result<Checked, PluginError> {
        let violations = self.check_pairs(pairs)?;
        Ok(Checked { violations, failed: Vec::new() })
    }

    /// Feeds a fresh accumulator of an invariant over many pairs, given by its position.
    ///
    /// # Errors
    /// If the plugin fails.
    fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError>;

    /// Says that up to `rows` rows of those to come may well fail by themselves: they are looked at
    /// because they are suspected.
    fn allow_guilty(&mut self, _rows: usize) {}

    /// Remembers what may still be spent on rows that fail by themselves.
    fn mark(&mut self) {}

    /// Rows that came since it was marked are to come again: what was spent on them is given back.
    fn back(&mut self) {}
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
    /// What the store says of its relations, in the order of the configuration; at least one.
    pub schemas: &'a [RelationSchema],
    /// Where the relation keeps an entity, of a side with one relation. None: no template says it.
    pub key: Option<&'a KeyTemplate>,
}

impl<'a> Place<'a> {
    /// The first relation; of most sides the only one.
    #[must_use]
    pub const fn schema(&self) -> &'a RelationSchema {
        self.schemas.first().expect("a side has at least one relation")
    }
}

/// The key templates of both sides, made ready.
#[derive(Clone, Debug)]
struct Locators {
    source: Option<Locator>,
    target: Option<Locator>,
}

impl Locators {
    /// Fits the key templates of `binding` to the entity type. Adds to `issues` what does not fit: a
    /// template is of one relation, and of one entity type.
    fn new(entities: &[EntityDef], binding: &Binding<'_>, issues: &mut Vec<PlanIssue>) -> Self {
        let mut fit = |side: Side, place: Place<'_>| {
            let template = place.key?;
            let prefix = format!("/{side}/key");
            let ([schema], [entity]) = (place.schemas, entities) else {
                let what =
                    "a key template is of one relation and one entity type, and there are several";
                let help = "leave it out, and let the plugin locate entities";
                issues.push(PlanIssue::new(prefix, what).help(help));
                return None;
            };
            let key: Vec<_> = schema.key_columns().cloned().collect();
            match Locator::new(entity, template, &key) {
                Ok(locator) => Some(locator),
                Err(more) => {
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
    fn locate(&self, side: Side, entities: &Batch) -> Result<Vec<Located>, PluginErrorKind> {
        // Where no row became an entity there are not even columns to take a key from.
        let locate = |locator: &Locator| match entities.rows {
            0 => Vec::new(),
            _ => vec![locator.locate(entities)],
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
