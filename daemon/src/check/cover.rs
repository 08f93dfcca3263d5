//! Which places hold which others.
//!
//! Owns the order of places in which whatever lies under a place follows it, and what is found by
//! that: [`Covered`] and [`Cover`]. Refuses to read. Invariant: a question takes as long as a search in
//! an ordered map, however many places and rows a mapping made.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::check::places::Place;
use crate::model::{StoreKey, Value};

/// Of a place the bytes with which those of all that lies there begin, and no others. What is no place
/// stands for itself.
fn path(at: &StoreKey) -> Box<[u8]> {
    let mut path = Vec::with_capacity(at.0.len() + 8);
    let relation = |path: &mut Vec<u8>, relation: usize| {
        path.push(1);
        path.extend_from_slice(&(relation as u64).to_be_bytes());
    };
    match Place::decode(at) {
        None => {
            path.push(0);
            path.extend_from_slice(&at.0);
        }
        Some(Place::Row { relation: of, key }) => {
            relation(&mut path, of);
            key.iter().for_each(|value| step(&mut path, value, true));
        }
        Some(Place::Group(values)) => {
            path.push(2);
            values.iter().for_each(|value| step(&mut path, value, true));
        }
        Some(Place::Under { relation: of, prefix, first }) => {
            relation(&mut path, of);
            for (at, value) in first.iter().enumerate() {
                step(&mut path, value, !prefix || at + 1 < first.len());
            }
        }
    }
    path.into_boxed_slice()
}

/// Appends a value. One that does not end is what others begin with, if it is of bytes.
fn step(path: &mut Vec<u8>, value: &Value, ends: bool) {
    let cbor;
    #[expect(clippy::wildcard_enum_match_arm, reason = "nothing but these begins with another")]
    let (kind, bytes, ends) = match value {
        Value::Text(text) => (b't', text.as_bytes(), ends),
        Value::Bytes(bytes) => (b'b', bytes.as_slice(), ends),
        other => {
            cbor = other.to_cbor();
            (b'v', cbor.as_slice(), true)
        }
    };
    path.push(kind);
    for byte in bytes {
        // Two zeros are the end, so no other two may be.
        path.extend_from_slice(if *byte == 0 { &[0, 0xff] } else { std::slice::from_ref(byte) });
    }
    if ends {
        path.extend_from_slice(&[0, 0]);
    }
}

/// Whether what lies at `at` lies at `place`, too: it is the same, or one of many rows there.
pub(super) fn covers(place: &StoreKey, at: &StoreKey) -> bool {
    place == at || place.0.starts_with(&StoreKey::UNDER) && path(at).starts_with(&path(place))
}

/// Something for each of many places.
#[derive(Debug)]
pub(super) struct Covered<T> {
    all: BTreeMap<Box<[u8]>, (StoreKey, T)>,
    /// What was added since it was marked.
    fresh: Vec<Box<[u8]>>,
}

impl<T> Default for Covered<T> {
    fn default() -> Self {
        Self { all: BTreeMap::new(), fresh: Vec::new() }
    }
}

impl<T> Covered<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Remembers what is there.
    pub(super) fn mark(&mut self) {
        self.fresh.clear();
    }

    /// Removes what was added since it was marked.
    pub(super) fn back(&mut self) {
        for path in self.fresh.drain(..) {
            self.all.remove(&path);
        }
    }

    /// Adds what is at a place, made only if there is nothing yet. Says whether there was not.
    pub(super) fn add_with(&mut self, at: StoreKey, make: impl FnOnce() -> T) -> bool {
        let path = path(&at);
        if let Entry::Vacant(vacant) = self.all.entry(path.clone()) {
            vacant.insert((at, make()));
            self.fresh.push(path);
            return true;
        }
        false
    }

    /// What lies at `place`: the same, or the first of what lies under it.
    pub(super) fn at(&self, place: &StoreKey) -> Option<(&StoreKey, &T)> {
        if self.all.is_empty() {
            return None;
        }
        let path = path(place);
        let (first, (at, it)) = self.all.range(path.clone()..).next()?;
        first.starts_with(&path).then_some((at, it))
    }

    /// Removes all that lies at `place`.
    pub(super) fn remove(&mut self, place: &StoreKey) {
        let path = path(place);
        while let Some((first, _)) = self.all.range(path.clone()..).next()
            && first.starts_with(&path)
        {
            let first = first.clone();
            self.all.remove(&first);
        }
    }

    /// Keeps only what lies where `keep` says.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&StoreKey) -> bool) {
        self.all.retain(|_, (at, _)| keep(at));
    }

    /// All of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&StoreKey, &T)> {
        self.all.values().map(|(at, it)| (at, it))
    }

    /// All of it, to keep.
    pub(super) fn into_all(self) -> impl Iterator<Item = (StoreKey, T)> {
        self.all.into_values()
    }
}

impl<T> Extend<(StoreKey, T)> for Covered<T> {
    fn extend<I: IntoIterator<Item = (StoreKey, T)>>(&mut self, all: I) {
        self.all.extend(all.into_iter().map(|(at, it)| (path(&at), (at, it))));
    }
}

/// Many places as one. None of those that are kept lies under another.
#[derive(Debug, Default)]
pub(super) struct Cover(BTreeSet<Box<[u8]>>);

impl Cover {
    /// Adds a place.
    pub(super) fn add(&mut self, place: &StoreKey) {
        let path = path(place);
        if self.holds_path(&path) {
            return;
        }
        while let Some(under) = self.0.range(path.clone()..).next()
            && under.starts_with(&path)
        {
            let under = under.clone();
            self.0.remove(&under);
        }
        self.0.insert(path);
    }

    /// Whether what lies at `at` lies at one of the places.
    pub(super) fn holds(&self, at: &StoreKey) -> bool {
        self.holds_path(&path(at))
    }

    fn holds_path(&self, path: &[u8]) -> bool {
        // Between a place and what lies under it nothing is but what lies there, too.
        let before = (std::ops::Bound::Unbounded, std::ops::Bound::Included(path));
        self.0.range::<[u8], _>(before).next_back().is_some_and(|place| path.starts_with(place))
    }
}

impl<'a> FromIterator<&'a StoreKey> for Cover {
    fn from_iter<I: IntoIterator<Item = &'a StoreKey>>(places: I) -> Self {
        let mut cover = Self::default();
        places.into_iter().for_each(|place| cover.add(place));
        cover
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::Number;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_lies_under_the_first_columns_of_a_key_is_covered() {
        let row = |relation, key: &[Value]| Place::Row { relation, key: key.to_vec() }.encode();
        let under = |prefix, first: &[Value]| {
            Place::Under { relation: 0, prefix, first: first.to_vec() }.encode()
        };
        let (pk, sk) = (text("SHOP#1"), text("ORDER#7@2026-01-02"));
        let at = row(0, &[pk.clone(), sk.clone()]);
        for (place, covered) in [
            (at.clone(), true),
            (under(false, std::slice::from_ref(&pk)), true),
            (under(false, &[text("SHOP#")]), false),
            (under(true, &[pk.clone(), text("ORDER#7@")]), true),
            (under(true, &[pk.clone(), sk.clone()]), true),
            (under(true, &[pk.clone(), text("ORDER#70")]), false),
            (under(true, &[text("SHOP#2"), text("ORDER#7@")]), false),
            (under(false, &[pk.clone(), text("ORDER#7@")]), false),
            (row(1, &[pk.clone(), sk.clone()]), false),
            (Place::Group(vec![pk.clone()]).encode(), false),
        ] {
            assert_eq!(covers(&place, &at), covered, "{place:?}");
        }
        let elsewhere = row(1, &[pk.clone(), sk]);
        assert!(!covers(&under(false, &[pk]), &elsewhere), "another relation");
    }

    /// Whether a row lies at a place, by their values.
    fn lies(place: &Place, at: &Place) -> bool {
        let Place::Under { relation, prefix, first } = place else { return place == at };
        let Place::Row { relation: other, key } = at else { return false };
        let (last, equal) = first.split_last().expect("a place has values");
        let begins = match (last, &key[equal.len()]) {
            (Value::Text(last), Value::Text(here)) if *prefix => here.starts_with(last),
            (Value::Bytes(last), Value::Bytes(here)) if *prefix => here.starts_with(last),
            (last, here) => last == here,
        };
        relation == other && *equal == key[..equal.len()] && begins
    }

    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            "[\0\u{1}a]{0,2}".prop_map(Value::Text),
            prop::collection::vec(prop::sample::select(&[0u8, 1, 255][..]), 0..3)
                .prop_map(Value::Bytes),
            (-1i128..2).prop_map(|whole| Value::Number(Number::from(whole))),
        ]
    }

    fn row() -> impl Strategy<Value = Place> {
        let key = || prop::collection::vec(value(), 2);
        prop_oneof![
            (0usize..2, key()).prop_map(|(relation, key)| Place::Row { relation, key }),
            key().prop_map(Place::Group),
        ]
    }

    fn place() -> impl Strategy<Value = Place> {
        let first = prop::collection::vec(value(), 1..3);
        let under = (0usize..2, any::<bool>(), first);
        prop_oneof![
            row(),
            under.prop_map(|(relation, prefix, first)| Place::Under { relation, prefix, first }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_found_by_paths_is_what_lies_there(
            rows in prop::collection::vec(row(), 0..12),
            places in prop::collection::vec(place(), 0..8),
        ) {
            let mut all = Covered::default();
            let cover: Cover = places.iter().map(|place| place.clone().encode())
                .collect::<Vec<_>>().iter().collect();
            for row in &rows {
                let at = row.clone().encode();
                all.add_with(at.clone(), || row);
                let held = places.iter().any(|place| lies(place, row));
                prop_assert_eq!(cover.holds(&at), held, "{:?} {:?}", row, places);
            }
            for place in &places {
                let at = place.clone().encode();
                let there = rows.iter().any(|row| lies(place, row));
                prop_assert_eq!(all.at(&at).is_some(), there, "{:?} {:?}", place, rows);
                prop_assert!(all.at(&at).is_none_or(|(_, row)| lies(place, row)));
                for row in &rows {
                    prop_assert_eq!(covers(&at, &row.clone().encode()), lies(place, row));
                }
            }
            places.iter().for_each(|place| all.remove(&place.clone().encode()));
            let left = rows.iter().filter(|row| !places.iter().any(|place| lies(place, row)));
            let left: BTreeSet<_> = left.map(|row| row.clone().encode()).collect();
            prop_assert_eq!(all.iter().map(|(at, _)| at.clone()).collect::<BTreeSet<_>>(), left);
        }
    }
}
