//! A plugin on the workbench.
//!
//! Owns [`Trial`]: a session like that of a check, which also hands over what a check does not need:
//! every note, keys as they were told, and what each call took. Refuses to do anything that a check does not do. Invariant:
//! limits, conversions and checks are those of production, because it is the same session.

use super::Attached;
use super::contract::{RawLocated, RawNote};
use super::session::WasmSession;

use crate::model::{Batch, Moment, Side};
use crate::plugin::{
    Mapped, Output, PairViolation, Pairs, PluginError, Rows, Session as _, Tallied, Tally,
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
    /// Every note, in the order in which they were told. What driftd itself rejects is among them, as
    /// the last.
    pub notes: Vec<Noted>,
}

/// What was said of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noted {
    /// The row's group.
    pub group: usize,
    /// The input, and the row of it. None: it is of the whole group.
    pub place: Option<(usize, usize)>,
    /// The kind of note: `reject` rejects the group.
    pub kind: String,
    /// What is said.
    pub message: String,
}

/// Keys by which a plugin looks for entities, as it told them: no key is left out, and none is put
/// together with others.
#[derive(Clone, Debug, PartialEq)]
pub struct Sought {
    /// Position among the relations of the side.
    pub relation: usize,
    /// `get` or `query`.
    pub access: String,
    /// Primary keys, or their first columns, in key order.
    pub keys: Batch,
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
        let noted = |note: RawNote| Noted {
            group: note.group,
            place: Some((note.input, note.row)),
            kind: note.kind,
            message: note.message,
        };
        let mut notes: Vec<_> = notes.into_iter().map(noted).collect();
        let told =
            |group: usize| notes.iter().any(|note| note.group == group && note.kind == "reject");
        let own = mapped.rejected.iter().filter(|(group, _)| !told(*group));
        let own = own.map(|(group, why)| Noted {
            group: *group,
            place: None,
            kind: "reject".to_owned(),
            message: why.clone(),
        });
        let own: Vec<_> = own.collect();
        notes.extend(own);
        Ok(Tried { mapped, notes })
    }

    /// Where the plugin says that the store of `side` keeps entities of a type, given by its position
    /// in the plan, whether or not a check would ask it.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Sought>, PluginError> {
        let told = self.0.locate_as_told(side, entity, entities)?;
        let sought = |raw: RawLocated| Sought {
            relation: raw.relation as usize,
            access: raw.access,
            keys: raw.keys,
        };
        Ok(told.into_iter().map(sought).collect())
    }

    /// Whose rows lie at these primary keys of a relation, given by its position in the side's plan.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        self.0.keys_of(side, relation, keys)
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

    /// What the last call took, if it succeeded: of several calls of the plugin the dearest.
    #[must_use]
    pub fn cost(&self) -> Option<Cost> {
        self.0.cost()
    }
}
