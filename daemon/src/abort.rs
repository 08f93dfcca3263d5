//! When the migration must stop.
//!
//! Owns criteria over what was confirmed, and their settings. Refuses to fire anything. Invariant: a
//! criterion trips once, and stays tripped until a person resets it.

use std::collections::BTreeSet;

use crate::model::{DriftKind, Severity};

/// What a trip does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its hooks fire.
    Armed,
    /// It is recorded and reported; no hook fires.
    DryRun,
}

/// The abort criteria.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a trip does.
    pub mode: Mode,
    /// The criteria.
    pub criteria: Vec<Criterion>,
}

/// A condition under which the migration must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Its name.
    pub name: String,
    /// The pairing it watches; none: all together.
    pub pairing: Option<String>,
    /// What it watches for.
    pub condition: Condition,
    /// Names of the hooks that fire when it trips, in this order.
    pub hooks: Vec<String>,
}

/// What a criterion watches for. Counts are of confirmed findings that are open and not ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// At least so many entities with drift of one of these kinds.
    Drift {
        /// The kinds that count.
        kinds: BTreeSet<DriftKind>,
        /// The count at which it trips.
        at_least: u64,
    },
    /// At least so many violations of this severity or a worse one.
    Violations {
        /// The least severity that counts.
        severity: Severity,
        /// The count at which it trips.
        at_least: u64,
    },
}
