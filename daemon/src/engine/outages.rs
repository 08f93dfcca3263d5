//! Stores that are down.
//!
//! Owns which of them people were told of, and what that means for a pairing. Refuses to find it out:
//! the store does. Invariant: one outage is one incident, of the store, however many pairings and
//! partitions read it; nothing that was not read because of it counts as tried, it is read as soon as
//! the store answers again, and what stood still before that proves nothing.

use std::collections::BTreeMap;

use crate::engine::pairing::Pairing;
use crate::engine::{Step, Until};
use crate::model::{Fault, Happening, Outage, Saved};
use crate::settle;

/// The outages that are open.
#[derive(Debug)]
pub(super) struct Outages(BTreeMap<String, Outage>);

impl Outages {
    pub(super) fn new(saved: &Saved) -> Self {
        let open = saved.outages.iter().map(|outage| (outage.store.clone(), outage.clone()));
        Self(open.collect())
    }

    /// How a store stands now, which pairings at these positions read: it is down, or nothing says so.
    pub(super) fn stands(
        &mut self,
        step: &mut Step<'_>,
        all: &mut [Pairing],
        (store, outage): (&str, Option<Outage>),
        readers: &[usize],
    ) {
        for &reader in readers {
            all[reader].store_stands(step, store, outage.is_some());
        }
        let known = self.0.remove(store);
        let Some(outage) = outage else {
            if let Some(outage) = known {
                let lasted = step.now.since(outage.since);
                let lasted_micros = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
                step.decision.commit.answering.push(outage.store.clone());
                step.happened(Happening::StoreUp { outage, lasted_micros });
            }
            return;
        };
        // One that went on while driftd was not there began when it was told.
        let since = known.as_ref().map_or(outage.since, |known| known.since.min(outage.since));
        let outage = Outage { since, ..outage };
        self.0.insert(store.to_owned(), outage.clone());
        if known.as_ref() != Some(&outage) {
            step.decision.commit.outages.push(outage.clone());
        }
        if known.is_none() {
            step.happened(Happening::StoreDown(outage));
        }
    }
}

impl Pairing {
    /// A store that this pairing reads is down, or is not any more.
    pub(super) fn store_stands(&mut self, step: &mut Step<'_>, store: &str, is_down: bool) {
        // A single pass does not wait for a store: what it does not read is unread.
        if is_down && step.until == Until::Stopped {
            self.down.insert(store.to_owned());
        } else if self.down.remove(store) && self.down.is_empty() {
            self.paused_until = None;
            self.failures = 0;
            self.saw_nothing(step);
        }
    }

    /// Whether reading waits until stores answer.
    pub(super) fn waits_for_stores(&self) -> bool {
        !self.down.is_empty()
    }

    /// Nothing was seen for a while, in which the follower may have stood still as a whole: whatever
    /// differs still must stand still from now on.
    fn saw_nothing(&mut self, step: &mut Step<'_>) {
        for suspect in self.suspects.values_mut() {
            settle::unseen(suspect, step.now);
            step.decision.commit.suspects.push(suspect.clone());
        }
        for crowding in &mut self.crowds {
            crowding.unseen(step.now);
        }
        for doubt in &mut self.doubts {
            doubt.unseen(step.now);
            step.decision.commit.suspect_partitions.push(doubt.kept().clone());
        }
        self.residue = None;
        self.unseen_until = step.now;
    }

    /// Whether this was not read because its store is down, and is waited for. Until that is known of
    /// the store, a moment is enough.
    pub(super) fn waits_for(&mut self, step: &mut Step<'_>, fault: &Fault) -> bool {
        // What is no answer comes of what is down, also if it was the first to notice.
        let of_down = fault.code.is_silence() && self.waits_for_stores();
        let waits = (fault.code.is_outage() || of_down) && step.until == Until::Stopped;
        if waits && !self.waits_for_stores() {
            let until = step.now.after(self.spec.plan.wait(1));
            self.paused_until = Some(until);
            step.wake(until);
        }
        waits
    }
}
