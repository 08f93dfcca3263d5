//! Whose rows they are that the mapping rejects.
//!
//! Owns asking the mapping for the entity of a store key. Refuses to guess: a row of which the mapping
//! says nothing, or names several entities, goes by its place. Invariant: a row that is rejected is told
//! under one key, however it was met.

use std::collections::BTreeMap;

use crate::check::places::{Place, keys_batch};
use crate::check::window::Window;
use crate::model::{Key, Side, StoreKey, Value};

/// Store keys that the mapping is asked about at once.
const KEYS_MAX: usize = 1_024;

impl Window<'_> {
    /// The key under which the rejected row at `at` is told.
    pub(super) fn rejected_key(&self, side: Side, at: &StoreKey) -> Key {
        let known = self.identified.of(side).get(at);
        known.cloned().unwrap_or_else(|| Key::of_row(side, at))
    }

    /// Asks whose the rejected rows are that are not known yet. Where that fails they go by their
    /// places.
    pub(super) fn identify(&mut self) {
        if !self.context.mapper.identifies() {
            return;
        }
        for side in [Side::Source, Side::Target] {
            let mut relations: BTreeMap<usize, Vec<(StoreKey, Vec<Value>)>> = BTreeMap::new();
            for (at, _) in self.rejected.of(side).iter() {
                if self.identified.of(side).contains_key(at) {
                    continue;
                }
                if let Some(Place::Row { relation, key }) = Place::decode(at) {
                    relations.entry(relation).or_default().push((at.clone(), key));
                }
            }
            for (relation, rows) in relations {
                for chunk in rows.chunks(KEYS_MAX) {
                    self.identify_rows(side, relation, chunk);
                }
            }
        }
    }

    fn identify_rows(&mut self, side: Side, relation: usize, rows: &[(StoreKey, Vec<Value>)]) {
        let here = self.context.side(side);
        let keys = rows.iter().map(|(_, key)| key.clone()).collect();
        let keys = keys_batch(here, relation, keys);
        let Ok(outputs) = self.session.keys_of(side, relation, &keys) else { return };
        let mut found: BTreeMap<usize, Vec<Key>> = BTreeMap::new();
        for output in outputs {
            let canon = &self.context.canons[output.entity];
            for (row, group) in output.from_group.iter().enumerate() {
                if let Ok(key) = canon.key(&output.entities, row) {
                    found.entry(*group).or_default().push(key);
                }
            }
        }
        for (at, keys) in found {
            if let [key] = keys.as_slice() {
                self.identified.of_mut(side).insert(rows[at].0.clone(), key.clone());
            }
        }
    }
}
