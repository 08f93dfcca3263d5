//! A plugin on the workbench.
//!
//! Owns [`Trial`]: a session like that of a check, which also hands over what a check does not need:
//! every note, and what each call took. Refuses to do anything that a check does not do. Invariant:
//! limits, conversions and checks are those of production, because it is the same session.

use super::Attached;
use super::session::WasmSession;
use crate::model::{Moment, Side};
use crate::plugin::{
    Mapped, PairViolation, Pairs, PluginError, Rows, Session as _, Tallied, Tally,
};

/// What a call took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Fuel.
    pub fuel: u64,
    /// Bytes of linear memory that the guest has taken so far.
    pub memory: u64,
}

/// What mapping some rows gave, and what the plugin said of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tried {
    /// What a check gets.
    pub mapped: Mapped,
    /// Of each note its group, its kind and its message, in the order in which they were told. What
    /// driftd itself rejects is among them, as the last.
    pub notes: Vec<(usize, String, String)>,
}

/// A plugin in use by somebody who wants to know how it does.
pub struct Trial(WasmSession);

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").finish_non_exhaustive()
    }
}

impl Attached {
    /// Begins as a check that began at `as_of` does: on a fresh instance.
    #[must_use]
    pub fn trial(&self, as_of: Moment) -> Trial {
        Trial(self.wasm.session(as_of))
    }
}

impl Trial {
    /// Maps rows of a side.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Tried, PluginError> {
        let (mapped, notes) = self.0.map_noting(side, rows)?;
        let mut notes: Vec<_> =
            notes.into_iter().map(|note| (note.group, note.kind, note.message)).collect();
        let told =
            |group: usize| notes.iter().any(|(noted, kind, _)| *noted == group && kind == "reject");
        let own = mapped.rejected.iter().filter(|(group, _)| !told(*group));
        let own: Vec<_> =
            own.map(|(group, why)| (*group, "reject".to_owned(), why.clone())).collect();
        notes.extend(own);
        Ok(Tried { mapped, notes })
    }

    /// Checks the invariants on pairs.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        self.0.check_pairs(pairs)
    }

    /// Feeds a fresh accumulator of an invariant, by its number.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        self.0.tally(invariant, tally)
    }

    /// What the last call took, if it succeeded.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.0.cost()
    }
}
