//! Findings of another mapping, until they are judged under this one.
//!
//! Owns when a finding that was confirmed under another identity is given up, and what is made of looks
//! at it. Refuses to hold what one mapping saw against what another sees: until it is judged it tells
//! nothing, and no criterion counts it. Invariant: it stands, counted as open, until its key is judged
//! under this mapping, or a whole pass under this mapping has not met it and all that this pass made
//! suspect is decided; so a changed mapping never looks like drift that went away.

use std::time::Duration;

use crate::engine::pairing::Pairing;
use crate::engine::{Step, crowds};
use crate::model::{DriftKind, Finding, Happening, Moment, Partition, Sighting, State, Subject};

/// Suspects beyond which no more findings of another mapping are looked at.
const SUSPECTS_MAX: usize = 10_000;
/// How often it is asked whether what a pass made suspect is decided.
const EVERY: Duration = Duration::from_secs(1);

/// A whole pass that has to be decided before what it has not met is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed {
    began: Moment,
    ended: Moment,
    asked: Moment,
}

impl Pairing {
    /// Whether a finding was confirmed under another mapping, and not judged under this one yet.
    pub(super) fn is_anew(&self, finding: &Finding) -> bool {
        finding.identity != self.spec.identity
    }

    /// Whether there is room for suspects that come of such findings.
    pub(super) fn has_room_for_anew(&self) -> bool {
        self.suspects.len() < SUSPECTS_MAX.min(self.spec.settle.suspects_max)
    }

    /// The findings of another mapping that were of a part of this partition.
    pub(super) fn anew_on(&self, partition: Partition) -> impl Iterator<Item = &Finding> {
        let near = self.anew_on.near(partition).into_iter();
        let findings = near.filter_map(|id| self.findings.get(&id));
        findings.filter(move |finding| match &finding.subject {
            Subject::Partition { partition: known, .. } => crowds::overlap(*known, partition),
            Subject::Key(_) => false,
        })
    }

    /// Something of this kind differs in a partition: what another mapping said of it may hold.
    pub(super) fn meet_anew(&mut self, now: Moment, partition: Partition, kinds: &[DriftKind]) {
        if self.anew.is_empty() {
            return;
        }
        let met = self.anew_on(partition).filter(|finding| kinds.contains(&finding.kind));
        for id in met.map(|finding| finding.id).collect::<Vec<_>>() {
            if let Some(finding) = self.findings.get_mut(&id) {
                finding.last_seen = now;
            }
        }
    }

    /// A finding of another mapping was confirmed under this one: it is the same finding.
    pub(super) fn confirm_anew(&mut self, step: &mut Step<'_>, id: u64, fresh: Finding) {
        let Some(old) = self.drop_finding(id) else { return };
        let was = old.kind;
        let finding = Finding {
            id,
            confirmed: old.confirmed,
            first_seen: old.first_seen,
            check: old.check,
            ignored_until: old.ignored_until,
            ..fresh
        };
        *self.status.confirmed.entry(finding.kind).or_insert(0) += finding.entities();
        step.decision.commit.findings.push(finding.clone());
        step.happened(Happening::Changed { finding: finding.clone(), was });
        self.keep(finding);
        self.counts_changed = true;
    }

    /// A key of which other mappings had findings was looked at. Only what both sides hold alike says
    /// that these do not hold: where neither has the key, it may be another key under this mapping.
    pub(super) fn looked_at_anew(&mut self, step: &mut Step<'_>, ids: &[u64], seen: &Sighting) {
        let both = |state: &State| matches!(state, State::Present(_));
        let alike = seen.agrees() && seen.steady && both(&seen.source) && both(&seen.target);
        for id in ids {
            match alike {
                true => self.let_stand_no_more(step, *id),
                false => self.postpone(*id, step.now),
            }
        }
    }

    fn let_stand_no_more(&mut self, step: &mut Step<'_>, id: u64) {
        let Some(finding) = self.drop_finding(id) else { return };
        if let Subject::Key(key) = &finding.subject {
            self.forget_rejected(key);
        }
        step.supersede(finding);
        self.counts_changed = true;
    }

    /// A pass ended that has read everything.
    pub(super) fn passed_whole(&mut self, step: &Step<'_>, began: Moment) {
        // One that began under another mapping, or before a restart, may have met what is not known now.
        let says = began >= self.since && self.spec.reading.not_verifiable.is_none();
        if says && !self.anew.is_empty() {
            let (ended, asked) = (step.now, Moment(i64::MIN));
            self.passed = Some(Passed { began, ended, asked });
        }
    }

    /// Gives up what a whole pass has not met, as soon as all that it made suspect is decided.
    pub(super) fn give_up_unmet(&mut self, step: &mut Step<'_>) {
        let Some(Passed { began, ended, asked }) = self.passed else { return };
        if asked != Moment(i64::MIN) && step.now.since(asked) < EVERY {
            return step.wake(asked.after(EVERY));
        }
        let undecided = self.suspects.values().any(|suspect| suspect.first_seen <= ended)
            || self.crowds.iter().any(|crowding| crowding.crowd().first_seen <= ended)
            || self.doubts.iter().any(|doubt| doubt.kept().first_seen <= ended);
        if undecided {
            self.passed = Some(Passed { began, ended, asked: step.now });
            return step.wake(step.now.after(EVERY));
        }
        self.passed = None;
        let unmet = |id: &&u64| self.findings.get(id).is_some_and(|one| one.last_seen < began);
        for id in self.anew.iter().filter(unmet).copied().collect::<Vec<_>>() {
            self.let_stand_no_more(step, id);
        }
    }
}
