//! What came up in a check, and what became of it.
//!
//! Owns the sum that every check is held against, and the watch over rows that are in a comparison twice.
//! Refuses to compare. Invariant: what came up is the same, out of scope, different, told by the checks of
//! the other direction, or unread; where that does not add up nothing is the same, and all of it is unread.

use std::collections::BTreeMap;

use crate::check::tell::Entries;
use crate::check::window::{Tells, Window};
use crate::compare::Comparison;
use crate::model::{Fault, FaultCode, Side};

/// Keys and rows, by what became of them. What is the same, out of scope, or told elsewhere stands in the
/// outcome.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// Keys that came up.
    came: u64,
    /// Keys that are told as different.
    pub(super) told: u64,
    /// Keys that cannot be told of: they are unread.
    pub(super) lost: u64,
    /// Rejected rows that are told by themselves: they have no key that could have come up.
    pub(super) rows: u64,
    /// Whether one comparison did not add up by itself.
    broken: bool,
}

impl Window<'_> {
    /// Takes what a comparison found into the counts. Keys of which a row is in it twice are left out of
    /// it: they are unread.
    pub(super) fn take_in_counts(&mut self, comparison: &mut Comparison) {
        self.count.broken |= !comparison.adds_up();
        self.count.came += comparison.keys - comparison.unasked;
        self.outcome.same += comparison.same;
        self.outcome.excluded += comparison.excluded;
        // Rows that were to give details to others, and belong to none, are out of scope.
        let nothing = std::mem::take(&mut self.nothing);
        self.count.came += nothing;
        self.outcome.excluded += nothing;
        if self.tells == Tells::OfTarget {
            self.outcome.again.same += comparison.same;
            self.outcome.again.excluded += comparison.excluded_in_source;
        }
        let before = comparison.differing.len();
        comparison.differing.retain(|entries| !self.is_twice(entries));
        let twice = (before - comparison.differing.len()) as u64;
        if twice > 0 {
            self.count.lost += twice;
            let fault = Fault {
                side: None,
                what: format!(
                    "pairing `{}`: rows of {twice} entities were taken into one comparison twice",
                    self.context.pairing
                ),
                remedy: OURS.to_owned(),
                code: FaultCode::Numbers,
            };
            self.unread(format!("{twice} entities"), Some(twice), fault);
        }
    }

    /// Whether a row is there twice: two entities of one key that came of different readings of one
    /// place. Of one reading they are two entities.
    fn is_twice(&self, entries: &Entries) -> bool {
        let of_side = |side: Side, entries: &[usize]| {
            if entries.len() < 2 {
                return false;
            }
            let set = self.sets.of(side);
            let mut pages = BTreeMap::new();
            entries.iter().map(|at| &set.entries()[*at]).any(|entry| {
                let place = self.at(side, entry.page, entry.row);
                *pages.entry(place).or_insert(entry.page) != entry.page
            })
        };
        of_side(Side::Source, &entries.0) || of_side(Side::Target, &entries.1)
    }

    /// Holds what came up against what became of it. Nothing is the same if that does not add up.
    pub(super) fn add_up(&mut self) {
        let Count { came, told, lost, rows, broken } = self.count;
        let outcome = &self.outcome;
        let (same, excluded) = (outcome.same, outcome.excluded);
        let went = [same, excluded, outcome.told_elsewhere, told, lost].iter().sum::<u64>();
        let shown = outcome.crowd.is_some() || outcome.differing() == told + rows;
        if came == went && shown && !broken {
            return;
        }
        let differ = told + outcome.told_elsewhere;
        let fault = Fault {
            side: None,
            what: format!(
                "pairing `{}`: of {came} entities that were compared {same} are the same, {excluded} out \
                 of scope, {differ} different and {lost} unread, which does not add up",
                self.context.pairing
            ),
            remedy: OURS.to_owned(),
            code: FaultCode::Numbers,
        };
        self.outcome.same = 0;
        self.outcome.again.same = 0;
        self.unread(format!("{came} entities"), Some(came), fault);
    }
}

/// What to do about a fault of driftd itself.
const OURS: &str = "this is a fault of driftd: please report it with this message; none of this counts \
                    as the same";
