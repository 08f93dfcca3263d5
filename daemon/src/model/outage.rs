//! A store that does not answer.
//!
//! Owns [`Outage`], the one fact that readers of a store, people and the journal share of it. Refuses to
//! find it out: the store does. Invariant: a store that answers, however slowly, or refuses what it is
//! asked, is not down.

use std::collections::BTreeMap;

use crate::model::{FaultCode, Moment};

/// A store that is down: why, as far as its last sign says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The store's name in the configuration.
    pub store: String,
    /// Since when nothing that it was asked was answered.
    pub since: Moment,
    /// The code of the fault.
    pub code: FaultCode,
    /// The fault in words, without secrets and values.
    pub what: String,
    /// What a person can do about it.
    pub remedy: String,
}

/// Stores of which something is known, by name; none: it has answered, and is not down.
pub type StoreStates = BTreeMap<String, Option<Outage>>;
