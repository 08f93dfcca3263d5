//! Which keys of a partition differ.
//!
//! Owns the comparison of two [`EntitySet`]s. Refuses reading and judging. Invariant: every key of both
//! sides ends in exactly one of same, excluded, differing and unasked, and these add up to the keys;
//! equal checksums alone settle a partition only when both sides are plain (present entities, no key
//! twice).

use crate::compare::canonical::Canon;
use crate::compare::set::{EntitySet, Standpoint};
use crate::model::{Checksum, Side};

/// What of two sides is compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asks {
    /// Whether the pairs that are alike are wanted, too.
    pub pairs: bool,
    /// The side whose keys were looked up on the other: what only the other holds was asked for by
    /// nobody, and is left out. None: both sides were read whole.
    pub by: Option<Side>,
}

/// What a key's entries amount to.
enum Verdict {
    /// Both sides have it, alike.
    Same {
        /// The source's entry.
        source: usize,
        /// The target's entry.
        target: usize,
    },
    /// Neither side has it in scope, or the source has it out of scope.
    Excluded,
    /// Nobody asked for it: the side that was not read whole has it alone.
    Unasked,
    /// The sides differ; entries of both, either may be empty.
    Differs {
        /// The source's entries.
        source: Vec<usize>,
        /// The target's entries.
        target: Vec<usize>,
    },
}

/// What comparing two sides gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Keys that came up, and rows out of scope without one: those that are counted below.
    pub keys: u64,
    /// Entities that both sides hold alike.
    pub same: u64,
    /// Keys out of scope.
    pub excluded: u64,
    /// Those of them that the source holds.
    pub excluded_in_source: u64,
    /// Keys that were read along with others and that nobody asked for.
    pub unasked: u64,
    /// The checksum of what was read so.
    pub unasked_sum: Checksum,
    /// Keys that differ: the entries of both sides.
    pub differing: Vec<(Vec<usize>, Vec<usize>)>,
    /// Entries of both sides that are alike; filled only when asked for.
    pub pairs: Vec<(usize, usize)>,
}

impl Comparison {
    /// Counts rows out of scope without a key, of both sides: each stands for itself.
    const fn count_keyless(&mut self, (source, target): (usize, usize), by: Option<Side>) {
        let (here, there) = (source as u64, target as u64);
        let (in_source, in_target) = match by {
            None => (here, there),
            Some(Side::Source) => (here, 0),
            Some(Side::Target) => (0, there),
        };
        self.keys += here + there;
        self.excluded += in_source + in_target;
        self.excluded_in_source += in_source;
        self.unasked += here + there - in_source - in_target;
    }

    /// Whether every key that came up is in exactly one of the counts.
    #[must_use]
    pub const fn adds_up(&self) -> bool {
        self.keys == self.same + self.excluded + self.unasked + self.differing.len() as u64
    }
}

/// Compares two sides of a partition, of the entity types that `canons` are of.
#[must_use]
pub fn compare(
    canons: &[Canon],
    source: &EntitySet,
    target: &EntitySet,
    Asks { pairs, by }: Asks,
) -> Comparison {
    let settled = source.checksum() == target.checksum()
        && !canons.iter().any(Canon::is_tolerant)
        && source.is_plain()
        && target.is_plain();
    if settled {
        let same = source.checksum().count;
        // Both are in the order of their keys, so alike ones are at the same place.
        let all = if pairs { source.entries().len() } else { 0 };
        let pairs = (0..all).map(|at| (at, at)).collect();
        let keys = source.entries().len() as u64;
        return Comparison { keys, same, pairs, ..Comparison::default() };
    }
    let (source_order, target_order) = (source.sorted(), target.sorted());
    let (mut s, mut t) = (0, 0);
    let mut comparison = Comparison::default();
    while s < source_order.len() || t < target_order.len() {
        let source_key = source_order.get(s).map(|&at| source.key(at));
        let target_key = target_order.get(t).map(|&at| target.key(at));
        let key = match (source_key, target_key) {
            (Some(one), Some(two)) => one.min(two),
            (Some(one), None) => one,
            (None, Some(two)) => two,
            (None, None) => break,
        };
        let source_entries = group(source, &source_order, &mut s, key);
        let target_entries = group(target, &target_order, &mut t, key);
        if key.is_empty() {
            comparison.count_keyless((source_entries.len(), target_entries.len()), by);
            continue;
        }
        comparison.keys += 1;
        let in_source = !source_entries.is_empty();
        let asked = match by {
            None => true,
            Some(Side::Source) => in_source,
            Some(Side::Target) => !target_entries.is_empty(),
        };
        let verdict = match asked {
            true => verdict(canons, source, target, source_entries, target_entries),
            false => {
                comparison.unasked_sum = comparison
                    .unasked_sum
                    .merge(source.checksum_of(&source_entries))
                    .merge(target.checksum_of(&target_entries));
                Verdict::Unasked
            }
        };
        match verdict {
            Verdict::Same { source, target } => {
                comparison.same += 1;
                if pairs {
                    comparison.pairs.push((source, target));
                }
            }
            Verdict::Excluded => {
                comparison.excluded += 1;
                comparison.excluded_in_source += u64::from(in_source);
            }
            Verdict::Unasked => comparison.unasked += 1,
            Verdict::Differs { source, target } => comparison.differing.push((source, target)),
        }
    }
    comparison
}

/// The entries of `set` from position `*at` of `order` on whose key is `key`.
fn group(set: &EntitySet, order: &[usize], at: &mut usize, key: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    while let Some(&entry) = order.get(*at) {
        if set.key(entry) != key {
            break;
        }
        found.push(entry);
        *at += 1;
    }
    found
}

fn verdict(
    canons: &[Canon],
    source: &EntitySet,
    target: &EntitySet,
    source_entries: Vec<usize>,
    target_entries: Vec<usize>,
) -> Verdict {
    let standpoint = |set: &EntitySet, at: usize| set.entries()[at].standpoint.clone();
    let out_of_scope =
        source_entries.iter().any(|&at| standpoint(source, at) == Standpoint::Excluded)
            && source_entries.iter().all(|&at| {
                matches!(standpoint(source, at), Standpoint::Excluded | Standpoint::Absent)
            });
    if out_of_scope {
        return Verdict::Excluded;
    }
    let there = |set: &EntitySet, entries: &[usize]| -> Vec<usize> {
        let is_there = |&at: &usize| set.entries()[at].standpoint.is_there();
        entries.iter().copied().filter(is_there).collect()
    };
    let (here, counterpart) = (there(source, &source_entries), there(target, &target_entries));
    match (here.as_slice(), counterpart.as_slice()) {
        ([], []) => Verdict::Excluded,
        (&[one], &[two])
            if standpoint(source, one) == Standpoint::Present
                && standpoint(target, two) == Standpoint::Present
                && alike(canons, source, one, target, two) =>
        {
            Verdict::Same { source: one, target: two }
        }
        _ => Verdict::Differs { source: here, target: counterpart },
    }
}

/// Whether two entries of one key, and so of one entity type, are the same.
fn alike(canons: &[Canon], source: &EntitySet, one: usize, target: &EntitySet, two: usize) -> bool {
    let canon = &canons[source.entity_type(one)];
    let (one, two) = (&source.entries()[one], &target.entries()[two]);
    one.digest == two.digest
        && (!canon.is_tolerant()
            || canon
                .differing((source.page(one.page), one.row), (target.page(two.page), two.row))
                .is_ok_and(|(fields, _)| fields.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Stands;
    use crate::model::{Batch, ColumnBuilder, EntityDef, FieldDef, Logical, Role, Standing};

    fn canon() -> Canon {
        let field = FieldDef {
            name: "id".to_owned(),
            logical: Logical::Integer,
            role: Role::Key,
            rules: Vec::new(),
        };
        Canon::new(&EntityDef { name: "user".to_owned(), fields: vec![field] }, [7; 32]).unwrap()
    }

    fn set(canon: &Canon, ids: &[i64]) -> EntitySet {
        let mut column = ColumnBuilder::int64(ids.len());
        ids.iter().for_each(|id| column.push_i64(*id));
        let batch = Batch { rows: ids.len(), columns: vec![column.finish()] };
        let mut set = EntitySet::default();
        let standing = vec![Standing::Present; ids.len()];
        let stands = Stands { standing: &standing, misplaced: &[] };
        assert_eq!(set.add(canon, batch, 0, stands), []);
        set
    }

    #[test]
    fn pairs_are_the_same_whether_checksums_settle_it_or_not() {
        let canon = canon();
        let source = set(&canon, &[1, 2, 3, 4]);
        for (ids, target) in [
            ([1, 2, 3, 4], vec![(0, 0), (1, 1), (2, 2), (3, 3)]),
            // Out of order, so that it is sorted and gone through.
            ([4, 2, 1, 3], vec![(0, 2), (1, 1), (2, 3), (3, 0)]),
        ] {
            let asks = Asks { pairs: true, by: None };
            let found = compare(std::slice::from_ref(&canon), &source, &set(&canon, &ids), asks);
            let expected = Comparison { keys: 4, same: 4, pairs: target, ..Comparison::default() };
            assert_eq!(found, expected, "{ids:?}");
        }
        let unasked = compare(std::slice::from_ref(&canon), &source, &source, Asks::default());
        assert_eq!(unasked, Comparison { keys: 4, same: 4, ..Comparison::default() });
    }

    #[test]
    fn what_was_read_along_is_neither_same_nor_different_nor_in_a_checksum() {
        let canon = canon();
        let (source, target) = (set(&canon, &[1, 2, 5]), set(&canon, &[2, 3, 4]));
        for (by, differing, unasked) in
            [(None, 4, 0), (Some(Side::Source), 2, 2), (Some(Side::Target), 2, 2)]
        {
            let asks = Asks { pairs: false, by };
            let found = compare(std::slice::from_ref(&canon), &source, &target, asks);
            assert_eq!((found.same, found.differing.len(), found.unasked), (1, differing, unasked));
            assert!(found.adds_up(), "{found:?}");
            let along = match by {
                None => Checksum::default(),
                Some(Side::Source) => target.checksum_of(&[1, 2]),
                Some(Side::Target) => source.checksum_of(&[0, 2]),
            };
            assert_eq!(found.unasked_sum, along);
        }
        let missing = Comparison { keys: 2, same: 1, ..Comparison::default() };
        assert!(!missing.adds_up(), "a key that is in no count is noticed");
    }
}
