//! What of the findings is counted and found without walking over them.
//!
//! Owns the counts of open findings, what criteria must learn of them, and where partitions of findings
//! lie. Refuses to judge, and to keep the findings. Invariant: what is counted is what a walk over all
//! findings would count, and work on one finding does not grow with the number of others.

use std::collections::{BTreeMap, BTreeSet};

use crate::abort::Counted;
use crate::engine::crowds::Sort;
use crate::model::{Direction, DriftKind, Extent, Finding, Moment, Partition};

/// Counts of the findings of a pairing, in entities.
#[derive(Debug, Default)]
pub(super) struct Tally {
    open: BTreeMap<DriftKind, u64>,
    ignored: u64,
    anew: u64,
    /// Findings that are ignored, by when they no longer are.
    until: BTreeSet<(Moment, u64)>,
    /// What counts, or counts no longer, for criteria, since they were told.
    changes: Vec<Change>,
}

/// Something counts for criteria, or no longer does.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) counts: bool,
    pub(super) what: Counted,
}

impl Tally {
    /// Counts a finding; one that another mapping found does not count for criteria.
    pub(super) fn add(&mut self, finding: &Finding, anew: bool) {
        let entities = finding.entities();
        self.anew += if anew { entities } else { 0 };
        if let Some(until) = finding.ignored_until {
            self.until.insert((until, finding.id));
            self.ignored += entities;
            return;
        }
        self.open_one(finding, anew);
    }

    fn open_one(&mut self, finding: &Finding, anew: bool) {
        *self.open.entry(finding.kind).or_insert(0) += finding.entities();
        if !anew {
            self.changes.push(Change { counts: true, what: Counted::from(finding) });
        }
    }

    /// Counts a finding no longer.
    pub(super) fn remove(&mut self, finding: &Finding, anew: bool) {
        let entities = finding.entities();
        self.anew -= if anew { entities } else { 0 };
        let until = finding.ignored_until.map(|until| (until, finding.id));
        if until.is_some_and(|until| self.until.remove(&until)) {
            self.ignored -= entities;
            return;
        }
        if let Some(open) = self.open.get_mut(&finding.kind) {
            *open -= entities;
            if *open == 0 {
                self.open.remove(&finding.kind);
            }
        }
        if !anew {
            self.changes.push(Change { counts: false, what: Counted::from(finding) });
        }
    }

    /// The next finding that is no longer ignored at `now`.
    pub(super) fn next_over(&self, now: Moment) -> Option<u64> {
        self.until.first().filter(|(until, _)| *until <= now).map(|(_, id)| *id)
    }

    /// A finding is no longer ignored.
    pub(super) fn over(&mut self, finding: &Finding, anew: bool) {
        let until = finding.ignored_until.map(|until| (until, finding.id));
        if until.is_some_and(|until| self.until.remove(&until)) {
            self.ignored -= finding.entities();
            self.open_one(finding, anew);
        }
    }

    /// Open, by kind; ignored; of another mapping.
    pub(super) fn counts(&self) -> (&BTreeMap<DriftKind, u64>, u64, u64) {
        (&self.open, self.ignored, self.anew)
    }

    /// What criteria must learn.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }
}

/// Where partitions lie, so that those with rows of another are found without looking at all.
#[derive(Debug, Default)]
pub(super) struct Atlas {
    /// Ranges with both ends, by direction, by how wide they are (the number of bits of that), by where
    /// they begin.
    ranges: BTreeMap<(Direction, u32), BTreeMap<i128, BTreeSet<u64>>>,
    /// Ranges that lack an end.
    endless: BTreeMap<Direction, BTreeSet<u64>>,
    segments: BTreeMap<(Direction, u32, u32), BTreeSet<u64>>,
}

/// Where a range with both ends begins, and how many bits its width has.
fn bounded(extent: Extent) -> Option<(i128, u32)> {
    let Extent::Range(range) = extent else { return None };
    let (from, until) = range.from.zip(range.until)?;
    let width = until.checked_sub(from)?.max(0);
    // A range as wide as half of all integers is as good as endless.
    (width < 1 << 120).then(|| (from, 128 - width.leading_zeros()))
}

impl Atlas {
    fn ids(&mut self, Partition { direction, extent, .. }: Partition) -> &mut BTreeSet<u64> {
        if let Extent::Segment { index, of } = extent {
            return self.segments.entry((direction, index, of)).or_default();
        }
        match bounded(extent) {
            Some((from, bits)) => {
                self.ranges.entry((direction, bits)).or_default().entry(from).or_default()
            }
            None => self.endless.entry(direction).or_default(),
        }
    }

    pub(super) fn insert(&mut self, partition: Partition, id: u64) {
        self.ids(partition).insert(id);
    }

    pub(super) fn remove(&mut self, partition: Partition, id: u64) {
        self.ids(partition).remove(&id);
        // Nothing is left behind of where nothing lies.
        let Partition { direction, extent, .. } = partition;
        if let Some((from, bits)) = bounded(extent)
            && let Some(of_width) = self.ranges.get_mut(&(direction, bits))
            && of_width.get(&from).is_some_and(BTreeSet::is_empty)
        {
            of_width.remove(&from);
            if of_width.is_empty() {
                self.ranges.remove(&(direction, bits));
            }
        }
    }

    /// A segment that something lies in: all are of the same number.
    pub(super) fn segmented(&self, direction: Direction) -> Option<Partition> {
        let mut known = self.segments.iter();
        let found = known.find(|((known, ..), ids)| *known == direction && !ids.is_empty());
        let (&(direction, index, of), _) = found?;
        Some(Partition { direction, number: index, extent: Extent::Segment { index, of } })
    }

    /// Whatever may have rows of this partition, by id; some of it may not.
    pub(super) fn near(&self, partition: Partition) -> BTreeSet<u64> {
        let Partition { direction, extent, .. } = partition;
        let range = match extent {
            Extent::Segment { index, of } => {
                return self.segments.get(&(direction, index, of)).cloned().unwrap_or_default();
            }
            Extent::Range(range) => range,
        };
        let mut near = self.endless.get(&direction).cloned().unwrap_or_default();
        for ((_, bits), of_width) in self.ranges.range((direction, 0)..=(direction, 128)) {
            // Whatever begins earlier than its greatest width before ends before.
            let reach = 1i128 << (*bits).min(126);
            let from = range.from.map_or(i128::MIN, |from| from.saturating_sub(reach));
            let until = range.until.unwrap_or(i128::MAX);
            if from <= until {
                near.extend(of_width.range(from..=until).flat_map(|(_, ids)| ids));
            }
        }
        near
    }
}

/// How many findings of single keys tell this sort of a key, in short.
#[derive(Debug, Default)]
pub(super) struct Singles(BTreeMap<(u64, Sort), u32>);

impl Singles {
    pub(super) fn add(&mut self, key: u64, sort: Sort) {
        *self.0.entry((key, sort)).or_insert(0) += 1;
    }

    pub(super) fn remove(&mut self, key: u64, sort: Sort) {
        if let Some(count) = self.0.get_mut(&(key, sort)) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(key, sort));
            }
        }
    }

    pub(super) fn tell(&self, key: u64, sort: Sort) -> bool {
        self.0.contains_key(&(key, sort))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::crowds::overlap;
    use crate::model::Range;

    fn partition() -> impl Strategy<Value = Partition> {
        let bound = || {
            prop_oneof![1 => Just(None), 6 => (-300i128..300).prop_map(Some),
            1 => Just(Some(i128::MIN)), 1 => Just(Some(i128::MAX))]
        };
        let range =
            (bound(), bound()).prop_map(|(from, until)| Extent::Range(Range { from, until }));
        let segment = (0u32..3).prop_map(|index| Extent::Segment { index, of: 3 });
        let direction = prop_oneof![Just(Direction::FromSource), Just(Direction::FromTarget)];
        (direction, prop_oneof![4 => range, 1 => segment])
            .prop_map(|(direction, extent)| Partition { direction, number: 0, extent })
    }

    proptest! {
        #[test]
        fn all_that_overlaps_is_near(
            all in prop::collection::vec(partition(), 0..40),
            gone in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            asked in partition(),
        ) {
            let mut atlas = Atlas::default();
            let mut known: BTreeMap<u64, Partition> = (0u64..).zip(all.clone()).collect();
            known.iter().for_each(|(id, partition)| atlas.insert(*partition, *id));
            for at in gone {
                let id = at.index(all.len().max(1)) as u64;
                if let Some(partition) = known.remove(&id) {
                    atlas.remove(partition, id);
                }
            }
            let near = atlas.near(asked);
            for (id, partition) in &known {
                if overlap(*partition, asked) {
                    prop_assert!(near.contains(id), "{partition:?} {asked:?}");
                }
            }
            prop_assert!(near.iter().all(|id| known.contains_key(id)));
            for (id, partition) in known {
                atlas.remove(partition, id);
            }
            prop_assert!(atlas.ranges.is_empty());
        }
    }
}
