//! Which keys of a partition differ.
//!
//! Owns the comparison of two [`EntitySet`]s. Refuses reading and judging. Invariant: every entry of
//! both sides ends in exactly one of same, excluded, and differing; equal checksums alone settle a
//! partition only when both sides are plain (present entities, no key twice).

use crate::compare::canonical::Canon;
use crate::compare::set::{EntitySet, Standpoint};

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
    /// Entities that both sides hold alike.
    pub same: u64,
    /// Keys out of scope.
    pub excluded: u64,
    /// Keys that differ: the entries of both sides.
    pub differing: Vec<(Vec<usize>, Vec<usize>)>,
    /// Entries of both sides that are alike; filled only when asked for.
    pub pairs: Vec<(usize, usize)>,
}

/// Compares two sides of a partition, of the entity types that `canons` are of. `pairs` asks for the
/// pairs that are alike, too.
#[must_use]
pub fn compare(
    canons: &[Canon],
    source: &EntitySet,
    target: &EntitySet,
    pairs: bool,
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
        return Comparison { same, pairs, ..Comparison::default() };
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
        let verdict = if key.is_empty() {
            // Rows out of scope without a key: each stands for itself.
            comparison.excluded += (source_entries.len() + target_entries.len()) as u64;
            continue;
        } else {
            verdict(canons, source, target, source_entries, target_entries)
        };
        match verdict {
            Verdict::Same { source, target } => {
                comparison.same += 1;
                if pairs {
                    comparison.pairs.push((source, target));
                }
            }
            Verdict::Excluded => comparison.excluded += 1,
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
        let is_there = |&at: &usize| {
            matches!(standpoint(set, at), Standpoint::Present | Standpoint::Misplaced)
        };
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
            let found = compare(std::slice::from_ref(&canon), &source, &set(&canon, &ids), true);
            let expected = Comparison { same: 4, pairs: target, ..Comparison::default() };
            assert_eq!(found, expected, "{ids:?}");
        }
        let unasked = compare(std::slice::from_ref(&canon), &source, &source, false);
        assert_eq!(unasked, Comparison { same: 4, ..Comparison::default() });
    }
}
