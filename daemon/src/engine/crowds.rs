//! Crowds: partitions with so many differing keys that they are settled as a whole.
//!
//! Owns their re-scans and their verdict. Refuses single keys. Invariant: a member is condemned only
//! if it stood still over at least three scans that span the window; what is held of a crowd is two
//! hashes a member, and only a bounded number of crowds is held at once.

use std::collections::BTreeMap;

use crate::engine::Step;
use crate::engine::pairing::{Pairing, Purpose};
use crate::model::{
    Crowd, DriftKind, Extent, Finding, FindingStatus, Happening, Key, Member, Moment, Note,
    Outcome, Partition, Sighting, Subject,
};
use crate::settle::{self, Origin};

/// Crowds of a pairing whose members are held at once.
const ACTIVE_MAX: usize = 32;
/// Scans over which a member must stand still.
const SCANS_MIN: u32 = 3;
/// Scans after which a crowd that never stands still is let go as unsettled.
const SCANS_MAX: u32 = 12;
/// Keys that a finding of a partition names.
const SAMPLE_MAX: usize = 64;

/// A crowd being settled.
#[derive(Debug)]
pub(super) struct Crowding {
    crowd: Crowd,
    members: BTreeMap<u64, Standing>,
    scans: u32,
    active: bool,
    in_flight: bool,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    states: u64,
    kind: DriftKind,
    since: Moment,
    looks: u32,
}

impl Crowding {
    /// A crowd whose members are not known (yet, or since a restart).
    pub(super) fn waiting(crowd: Crowd, now: Moment) -> Self {
        let crowd = Crowd { due: now, ..crowd };
        Self { crowd, members: BTreeMap::new(), scans: 0, active: false, in_flight: false }
    }

    /// Takes in what a scan saw.
    fn take(&mut self, now: Moment, members: &[Member]) -> u64 {
        let old = std::mem::take(&mut self.members);
        for member in members {
            let fresh = Standing { states: member.states, kind: member.kind, since: now, looks: 1 };
            let standing = match old.get(&member.key) {
                Some(known) if known.states == member.states => {
                    Standing { looks: known.looks + 1, ..*known }
                }
                Some(_) | None => fresh,
            };
            self.members.insert(member.key, standing);
        }
        self.scans += 1;
        old.keys().filter(|key| !self.members.contains_key(key)).count() as u64
    }
}

impl Pairing {
    /// A check found a crowd.
    pub(super) fn crowded(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        check: u64,
        outcome: &Outcome,
    ) {
        if self.crowds.iter().any(|crowding| crowding.crowd.partition == partition) {
            return;
        }
        let members = outcome.crowd.as_deref().unwrap_or_default();
        if self.is_known_crowd(step.now, partition, members) {
            return;
        }
        let due = step.now.after(self.spec.settle.first_wait * 2);
        let crowd = Crowd {
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            partition,
            check,
            first_seen: step.now,
            due,
        };
        step.decision.commit.crowds.push(crowd.clone());
        let mut crowding = Crowding::waiting(crowd.clone(), step.now);
        crowding.crowd = crowd;
        if self.crowds.iter().filter(|crowding| crowding.active).count() < ACTIVE_MAX {
            crowding.active = true;
            crowding.take(step.now, members);
        }
        self.undecided.entry(check).or_insert((0, false)).0 += 1;
        self.crowds.push(crowding);
    }

    /// Whether open findings tell of this crowd already: same place, same kinds.
    fn is_known_crowd(&mut self, now: Moment, partition: Partition, members: &[Member]) -> bool {
        let mut kinds: Vec<DriftKind> = members.iter().map(|member| member.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let known: Vec<Option<u64>> =
            kinds.into_iter().map(|kind| self.partition_finding(partition, kind)).collect();
        let all = !known.is_empty() && known.iter().all(Option::is_some);
        if all {
            for id in known.into_iter().flatten() {
                if let Some(finding) = self.findings.get_mut(&id) {
                    finding.last_seen = now;
                }
            }
        }
        all
    }

    fn partition_finding(&self, partition: Partition, kind: DriftKind) -> Option<u64> {
        let found = self.findings.values().find(|finding| match &finding.subject {
            Subject::Partition { partition: known, .. } => {
                finding.kind == kind && overlap(*known, partition)
            }
            Subject::Key(_) => false,
        });
        found.map(|finding| finding.id)
    }

    /// Scans due crowds again, within the limit of checks in flight.
    pub(super) fn start_crowds(&mut self, step: &mut Step<'_>, index: usize) {
        let mut active = self.crowds.iter().filter(|crowding| crowding.active).count();
        for crowding in &mut self.crowds {
            if !crowding.active && active < ACTIVE_MAX {
                crowding.active = true;
                active += 1;
            }
        }
        let limit = self.spec.plan.concurrency.get() as usize;
        let due: Vec<usize> = (0..self.crowds.len())
            .filter(|&at| {
                let crowding = &self.crowds[at];
                crowding.active && !crowding.in_flight && crowding.crowd.due <= step.now
            })
            .collect();
        for at in due {
            if self.checks.len() >= limit {
                break;
            }
            self.crowds[at].in_flight = true;
            let partition = self.crowds[at].crowd.partition;
            self.start_check(step, index, partition, Purpose::Crowd);
        }
        let waiting = self.crowds.iter().filter(|crowding| crowding.active && !crowding.in_flight);
        if let Some(due) =
            waiting.map(|crowding| crowding.crowd.due).filter(|due| *due > step.now).min()
        {
            step.wake(due);
        }
    }

    /// A crowd's partition was scanned again.
    pub(super) fn crowd_checked(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        (check, began): (u64, Moment),
        outcome: Outcome,
    ) {
        step.decision.notes.push(Note::Decided { check, drift: false });
        let Some(at) =
            self.crowds.iter().position(|crowding| crowding.crowd.partition == partition)
        else {
            return;
        };
        self.weigh_lag_now(step);
        let window = self.spec.settle.window(self.lag.recent());
        let paused = self.lag.paused(step.now, &self.spec.settle);
        let crowding = &mut self.crowds[at];
        crowding.in_flight = false;
        if !outcome.unread.is_empty() {
            // A failed look is not a look.
            crowding.crowd.due = step.now.after(self.spec.settle.wait_max);
            self.status.unread += outcome.unread.len() as u64;
            return;
        }
        let gone = crowding.take(step.now, outcome.crowd.as_deref().unwrap_or_default());
        self.status.acquitted += gone;
        if gone > 0 && !self.spec.version_is_time {
            self.lag.moved(step.now);
        }
        let wait = self.spec.settle.first_wait * 2u32.saturating_pow(crowding.scans.min(16));
        let wait = wait.min(self.spec.settle.wait_max).min(window);
        crowding.crowd.due = step.now.after(wait);
        let ripe = |standing: &Standing| {
            standing.looks >= SCANS_MIN && began.since(standing.since) >= window
        };
        let any_ripe = crowding.members.values().any(ripe);
        let over = crowding.members.is_empty() || any_ripe || crowding.scans >= SCANS_MAX;
        if !over || paused && !crowding.members.is_empty() {
            step.decision.commit.crowds.push(crowding.crowd.clone());
            return;
        }
        let crowding = self.crowds.swap_remove(at);
        let mut counts: BTreeMap<DriftKind, u64> = BTreeMap::new();
        for standing in crowding.members.values() {
            if ripe(standing) {
                *counts.entry(standing.kind).or_insert(0) += 1;
            } else {
                self.status.unsettled += 1;
            }
        }
        self.condemn_crowd(step, &crowding.crowd, counts, &outcome.suspects);
        step.decision.commit.dispersed.push((self.spec.name.clone(), partition));
        let drift = any_ripe;
        if self.undecided.remove(&crowding.crowd.check).is_some() {
            step.decision.notes.push(Note::Decided { check: crowding.crowd.check, drift });
        }
    }

    fn condemn_crowd(
        &mut self,
        step: &mut Step<'_>,
        crowd: &Crowd,
        counts: BTreeMap<DriftKind, u64>,
        seen: &[Sighting],
    ) {
        let mut confirmed = Vec::new();
        for (kind, entities) in counts {
            if let Some(id) = self.partition_finding(crowd.partition, kind) {
                self.postpone(id, step.now);
                continue;
            }
            step.numbers.finding += 1;
            let mut finding = self.crowd_finding(step, crowd, kind, seen);
            if let Subject::Partition { entities: count, .. } = &mut finding.subject {
                *count = entities;
            }
            *self.status.confirmed.entry(kind).or_insert(0) += entities;
            step.decision.commit.findings.push(finding.clone());
            step.happened(Happening::Confirmed(finding.clone()));
            self.keep(finding.clone());
            confirmed.push(finding);
        }
        if !confirmed.is_empty() {
            step.decision.notes.push(Note::Confirmed(confirmed));
        }
        self.recount(step.now);
    }

    fn crowd_finding(
        &self,
        step: &Step<'_>,
        crowd: &Crowd,
        kind: DriftKind,
        seen: &[Sighting],
    ) -> Finding {
        let origin =
            Origin { pairing: &self.spec.name, identity: self.spec.identity, check: crowd.check };
        let mut sample: Vec<Key> = Vec::new();
        let mut fields: Vec<String> = Vec::new();
        let mut invariant = None;
        for sighting in seen {
            let sides = self.sides(sighting);
            let suspect = settle::suspect(&origin, sighting, sides, step.now, &self.spec.settle);
            for charge in settle::charges(&suspect).into_iter().filter(|charge| charge.kind == kind)
            {
                if sample.len() < SAMPLE_MAX && !sample.contains(&sighting.key) {
                    sample.push(sighting.key.clone());
                }
                match charge.what {
                    settle::Charged::Fields(at) => {
                        fields
                            .extend(at.iter().filter_map(|&at| self.spec.fields.get(at)).cloned());
                    }
                    settle::Charged::Invariant(at) => {
                        let def = self.spec.invariants.get(at);
                        invariant = def.map(|def| (def.id.clone(), def.severity));
                    }
                    settle::Charged::Presence { .. } => {}
                }
            }
        }
        fields.sort_unstable();
        fields.dedup();
        Finding {
            id: step.numbers.finding,
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            subject: Subject::Partition { partition: crowd.partition, entities: 0, sample },
            kind,
            side: None,
            fields,
            cosmetic: Vec::new(),
            invariant,
            message: None,
            labels: BTreeMap::new(),
            source_digest: None,
            target_digest: None,
            source_at: Vec::new(),
            target_at: Vec::new(),
            check: crowd.check,
            first_seen: crowd.first_seen,
            confirmed: step.now,
            last_seen: step.now,
            due: step.now.after(std::time::Duration::from_secs(60)),
            looks: SCANS_MIN,
            status: FindingStatus::Open,
            ignored_until: None,
        }
    }
}

/// Whether two partitions have rows in common.
fn overlap(one: Partition, two: Partition) -> bool {
    if one.direction != two.direction {
        return false;
    }
    match (one.extent, two.extent) {
        (Extent::Range(one), Extent::Range(two)) => {
            let before = |until: Option<i128>, from: Option<i128>| match (until, from) {
                (Some(until), Some(from)) => until <= from,
                (None, _) | (_, None) => false,
            };
            !before(one.until, two.from) && !before(two.until, one.from)
        }
        (Extent::Segment { index: a, of: b }, Extent::Segment { index: c, of: d }) => {
            b != d || a == c
        }
        (Extent::Range(_), Extent::Segment { .. }) | (Extent::Segment { .. }, Extent::Range(_)) => {
            false
        }
    }
}
