//! Crowds: partitions with so many differing keys that they are settled as a whole.
//!
//! Owns their re-scans and their verdict. Refuses single keys. Invariant: a member is condemned only
//! if it stood still over at least three scans that span the window; what is held of a crowd is two
//! hashes a member, and only a bounded number of crowds is held at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::pairing::{Pairing, Purpose};
use crate::engine::passes::covered;
use crate::engine::rules::Doubt;
use crate::engine::unsettled::LetGo;
use crate::engine::{Step, Until};
use crate::model::{
    Crowd, Direction, DriftKind, Extent, Fault, Finding, FindingStatus, Happening, Key, Member,
    Moment, NamedKey, Note, Outcome, Partition, Range, Sighting, Subject, Unjudged, Why,
};
use crate::settle::{self, Origin};

/// Crowds of a pairing at once; what comes beyond is unsettled, and waits for the next pass.
const CROWDS_MAX: usize = 1_000;
/// Crowds of a pairing whose members are held at once.
const ACTIVE_MAX: usize = 32;
/// Members of all crowds of all pairings beyond which no more crowds hold theirs, but for one a pairing.
const MEMBERS_MAX: usize = 1_000_000;
/// Scans over which a member must stand still.
const SCANS_MIN: u32 = 3;
/// Scans after which a crowd that never stands still is let go as unsettled.
const SCANS_MAX: u32 = 12;
/// Keys that a finding of a partition names.
const SAMPLE_MAX: usize = 64;

/// What is wrong with members of a crowd: the kind of drift and, of a violation, the position of the
/// invariant. Each sort is counted, and told, apart.
pub(super) type Sort = (DriftKind, Option<u16>);

/// What an open finding tells of a part of a partition as a whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) finding: u64,
    pub(super) entities: u64,
    pub(super) partition: Partition,
    pub(super) sort: Sort,
    /// Whether all of the partition lies in that part.
    pub(super) all: bool,
}

/// The sort of what a charge is about.
pub(super) fn sort_of(charge: &settle::Charge) -> Sort {
    match charge.what {
        settle::Charged::Invariant(at) => {
            (charge.kind, Some(u16::try_from(at).unwrap_or(u16::MAX)))
        }
        settle::Charged::Fields(_) | settle::Charged::Presence { .. } => (charge.kind, None),
    }
}

/// A crowd being settled.
#[derive(Debug)]
pub(super) struct Crowding {
    crowd: Crowd,
    members: BTreeMap<(u64, Sort), Standing>,
    /// The most that a scan saw.
    most: usize,
    scans: u32,
    /// Scans that showed nothing because of what they could not read, since one that did.
    failed: u32,
    /// Scans with holes, since one without.
    holed: u32,
    active: bool,
    in_flight: bool,
}

#[derive(Clone, Copy, Debug)]
struct Standing {
    states: u64,
    since: Moment,
    /// When the last scan that saw it began.
    seen: Moment,
    looks: u32,
}

/// How much of a crowd's partition a scan compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extensive {
    /// All of it: who is not seen is gone.
    Whole,
    /// All of a part, to which the crowd has shrunk: who is not seen may lie beyond.
    Shrunk,
    /// Not all of it: who is not seen may lie where nothing could be read.
    Holed,
}

impl Extensive {
    fn of(outcome: &Outcome, shrunk: bool) -> Self {
        match (shrunk, outcome.unread.is_empty()) {
            (true, _) => Self::Shrunk,
            (false, true) => Self::Whole,
            (false, false) => Self::Holed,
        }
    }
}

impl Crowding {
    /// A crowd whose members are not known (yet, or since a restart).
    pub(super) fn waiting(crowd: Crowd, now: Moment) -> Self {
        let crowd = Crowd { due: now, ..crowd };
        Self {
            crowd,
            members: BTreeMap::new(),
            most: 0,
            scans: 0,
            failed: 0,
            holed: 0,
            active: false,
            in_flight: false,
        }
    }

    /// What it is about.
    pub(super) const fn partition(&self) -> Partition {
        self.crowd.partition
    }

    /// What of it outlives the process.
    pub(super) const fn crowd(&self) -> &Crowd {
        &self.crowd
    }

    /// Nothing could be seen until `now`: from here on they must stand still.
    pub(super) fn unseen(&mut self, now: Moment) {
        for standing in self.members.values_mut() {
            (standing.since, standing.looks) = (now, 0);
        }
    }

    /// Takes in what a scan saw. Returns how many members are gone.
    fn take(
        &mut self,
        (began, now): (Moment, Moment),
        members: &[Member],
        extensive: Extensive,
    ) -> u64 {
        let mut old = std::mem::take(&mut self.members);
        for member in members {
            let key = (member.key, (member.kind, member.invariant));
            let standing = match old.get(&key) {
                Some(known) if known.states == member.states => {
                    Standing { looks: known.looks + 1, seen: began, ..*known }
                }
                Some(_) | None => {
                    Standing { states: member.states, since: now, seen: began, looks: 1 }
                }
            };
            self.members.insert(key, standing);
        }
        self.most = self.most.max(members.len());
        self.scans += 1;
        self.failed = 0;
        self.holed = if extensive == Extensive::Holed { self.holed + 1 } else { 0 };
        old.retain(|key, _| !self.members.contains_key(key));
        match extensive {
            Extensive::Whole => old.len() as u64,
            Extensive::Shrunk => 0,
            Extensive::Holed => {
                // Of keys that are others in each scan no more are kept than one scan may see.
                let latest = old.values().map(|standing| standing.seen).max();
                if old.len() > self.most {
                    old.retain(|_, standing| Some(standing.seen) == latest);
                }
                self.members.extend(old.into_iter().take(self.most));
                0
            }
        }
    }

    /// A scan showed nothing because of what it could not read: a failed look is not a look. One that
    /// keeps failing makes room for others, and begins anew when it is its turn.
    fn fail(&mut self, due: Moment, tries: u32) {
        self.failed += 1;
        self.crowd.due = due;
        if self.failed.is_multiple_of(tries) {
            self.active = false;
            self.members.clear();
            self.scans = 0;
        }
    }
}

impl Pairing {
    /// A check found a crowd. What findings or other crowds tell of already is left to them; the
    /// rest of the partition, as passes cut relations anew, is settled on its own.
    pub(super) fn crowded(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        check: u64,
        outcome: &Outcome,
    ) {
        let members = self.untold_members(outcome);
        let kinds: BTreeSet<DriftKind> = members.iter().map(|member| member.kind).collect();
        self.meet_anew(step.now, partition, &kinds.into_iter().collect::<Vec<_>>());
        let told = self.told_in(partition);
        self.seen_again(step.now, &told, members.len() as u64);
        for part in self.untold(step.now, partition, &members) {
            if self.crowds.len() >= CROWDS_MAX {
                self.let_go(step, LetGo {
                    subject: Unjudged::Members(part),
                    entities: members.len() as u64,
                    first_seen: step.now,
                    looks: 1,
                    why: Why::Crowded,
                    what: format!(
                        "{CROWDS_MAX} partitions of this pairing are being settled as a whole already"
                    ),
                    fault: None,
                });
                continue;
            }
            let crowd = Crowd {
                pairing: self.spec.name.clone(),
                identity: self.spec.identity,
                partition: part,
                check,
                first_seen: step.now,
                due: step.now.after(self.spec.settle.first_wait * 2),
            };
            step.decision.commit.crowds.push(crowd.clone());
            let due = crowd.due;
            let mut crowding = Crowding::waiting(crowd, step.now);
            crowding.crowd.due = due;
            if self.may_hold(step, members.len()) {
                crowding.active = true;
                if part == partition {
                    let extensive = Extensive::of(outcome, false);
                    crowding.take((step.now, step.now), &members, extensive);
                    step.members += members.len();
                }
            }
            self.undecided.entry(check).or_insert((0, false)).0 += 1;
            self.crowds.push(crowding);
        }
    }

    /// Whether one more crowd may hold its members, of which there are so many.
    fn may_hold(&self, step: &Step<'_>, members: usize) -> bool {
        let active = self.crowds.iter().filter(|crowding| crowding.active).count();
        let room = step.members.saturating_add(members) <= MEMBERS_MAX;
        active == 0 || active < ACTIVE_MAX && room
    }

    /// Members that its crowds hold.
    pub(super) fn members(&self) -> usize {
        self.crowds.iter().map(|crowding| crowding.members.len()).sum()
    }

    /// What differs in a crowd and is not told of, or settled, key by key.
    fn untold_members(&self, outcome: &Outcome) -> Vec<Member> {
        let Some(crowd) = &outcome.crowd else { return Vec::new() };
        let settling: BTreeSet<u64> = self.suspects.keys().map(Key::short).collect();
        let single = |key: &u64| self.told.contains(key) || settling.contains(key);
        crowd.iter().filter(|member| !single(&member.key)).copied().collect()
    }

    /// A check saw `seen` differences of these kinds in a partition. Findings that tell of fewer are
    /// looked at again now: what is told of as a whole is counted there and nowhere else.
    pub(super) fn seen_again(&mut self, now: Moment, told: &[Told], seen: u64) {
        let more: Vec<u64> =
            told.iter().filter(|told| told.entities < seen).map(|told| told.finding).collect();
        for id in more {
            self.recheck_soon(id, now);
        }
    }

    /// The parts of `partition` where something of a kind is wrong that nothing tells of yet.
    fn untold(&mut self, now: Moment, partition: Partition, members: &[Member]) -> Vec<Partition> {
        let sorts: BTreeSet<Sort> =
            members.iter().map(|member| (member.kind, member.invariant)).collect();
        let known = self.told_in(partition);
        for told in &known {
            if members.iter().any(|member| member.kind == told.sort.0)
                && let Some(finding) = self.findings.get_mut(&told.finding)
            {
                finding.last_seen = now;
            }
        }
        let mut untold: Vec<Partition> = Vec::new();
        for sort in sorts {
            let mut left = vec![partition];
            for told in known.iter().filter(|told| told.sort == sort) {
                left = left.into_iter().flat_map(|part| without(part, told.partition)).collect();
            }
            for crowding in &self.crowds {
                let settling = crowding.crowd.partition;
                left = left.into_iter().flat_map(|part| without(part, settling)).collect();
            }
            untold.extend(left);
        }
        untold.sort_unstable();
        untold.dedup();
        if untold.contains(&partition) {
            // The whole of it is settled; a kind that is told of in part is met by the next pass.
            untold = vec![partition];
        }
        untold
    }

    /// The sort of what a finding tells.
    pub(super) fn sort(&self, finding: &Finding) -> Sort {
        let at = finding.invariant.as_ref().and_then(|(id, _)| {
            let at = self.spec.invariants.iter().position(|known| known.id == *id)?;
            u16::try_from(at).ok()
        });
        (finding.kind, at)
    }

    /// Where open findings tell of a part of `partition` as a whole, and of which sort.
    pub(super) fn told_in(&self, partition: Partition) -> Vec<Told> {
        let crowds = self.findings_on(partition).filter(|finding| !finding.is_of_rule());
        let told = crowds.filter_map(|finding| match finding.subject {
            Subject::Partition { partition: told, entities, .. } => {
                let all = without(partition, told).is_empty();
                let (finding, sort) = (finding.id, self.sort(finding));
                Some(Told { finding, entities, partition: told, sort, all })
            }
            Subject::Key(_) => None,
        });
        told.collect()
    }

    /// Extents of the same number of segments as those that findings and crowds speak of, as long as
    /// there are any: segments of different numbers cannot be told apart.
    pub(super) fn same_segments(&self, direction: Direction, extents: Vec<Extent>) -> Vec<Extent> {
        let spoken = self
            .of_partitions
            .segmented(direction)
            .into_iter()
            .chain(self.crowds.iter().map(Crowding::partition))
            .chain(self.doubts.iter().map(Doubt::partition));
        let count =
            spoken.filter(|partition| partition.direction == direction).find_map(|partition| {
                match partition.extent {
                    Extent::Segment { of, .. } => Some(of),
                    Extent::Range(_) => None,
                }
            });
        match (count, extents.first()) {
            (Some(of), Some(Extent::Segment { .. })) => {
                (0..of).map(|index| Extent::Segment { index, of }).collect()
            }
            _ => extents,
        }
    }

    fn partition_finding(&self, partition: Partition, sort: Sort) -> Option<u64> {
        let mut near = self.findings_on(partition);
        let found = near.find(|finding| !finding.is_of_rule() && self.sort(finding) == sort);
        found.map(|finding| finding.id)
    }

    /// Scans due crowds again, within the limit of checks in flight.
    pub(super) fn start_crowds(&mut self, step: &mut Step<'_>, index: usize) {
        while self.may_hold(step, 0)
            && let Some(waiting) = self.crowds.iter_mut().find(|crowding| !crowding.active)
        {
            waiting.active = true;
        }
        let due: Vec<usize> = (0..self.crowds.len())
            .filter(|&at| {
                let crowding = &self.crowds[at];
                crowding.active && !crowding.in_flight && crowding.crowd.due <= step.now
            })
            .collect();
        for at in due {
            if !self.has_room_to_settle(step) {
                break;
            }
            self.crowds[at].in_flight = true;
            let partition = self.crowds[at].crowd.partition;
            self.start_settling(step, index, partition, Purpose::Crowd);
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
        self.crowds[at].in_flight = false;
        self.status.unread += outcome.unread.len() as u64;
        let members = self.untold_members(&outcome);
        if members.is_empty() && !outcome.unread.is_empty() {
            let fault = outcome.unread[0].fault.clone();
            return self.crowd_failed(step, at, &fault);
        }
        let crowding = &mut self.crowds[at];
        let covered = covered(partition, outcome.rest);
        let shrunk = covered != partition;
        if shrunk {
            // What lies beyond is no longer spoken of: the next pass meets it.
            crowding.crowd.partition = covered;
            step.decision.commit.dispersed.push((self.spec.name.clone(), partition));
        }
        let extensive = Extensive::of(&outcome, shrunk);
        let held = crowding.members.len();
        let gone = crowding.take((began, step.now), &members, extensive);
        step.members = (step.members + crowding.members.len()).saturating_sub(held);
        let crowded = step.members > MEMBERS_MAX && !crowding.members.is_empty();
        if crowded && self.crowds.iter().filter(|crowding| crowding.active).count() > 1 {
            self.status.acquitted += gone;
            return self.make_room(step, at);
        }
        let crowding = &mut self.crowds[at];
        self.status.acquitted += gone;
        if gone > 0 && !self.spec.has_times() {
            self.lag.moved(step.now);
        }
        let window = self.spec.settle.window(self.lag.recent());
        let paused = self.lag.paused(step.now, &self.spec.settle);
        let wait = self.spec.settle.first_wait * 2u32.saturating_pow(crowding.scans.min(16));
        let wait = wait.min(self.spec.settle.wait_max).min(window);
        crowding.crowd.due = step.now.after(wait);
        let ripe = |standing: &Standing| {
            standing.seen == began
                && standing.looks >= SCANS_MIN
                && began.since(standing.since) >= window
        };
        // Holes may close again; those that stay do not hide what the rest shows.
        let patient = crowding.holed > 0 && crowding.holed < SCANS_MIN;
        let any_ripe = crowding.members.values().any(ripe);
        let over = any_ripe && !patient || crowding.scans >= SCANS_MAX;
        if !crowding.members.is_empty() && (!over || paused) {
            step.decision.commit.crowds.push(crowding.crowd.clone());
            return;
        }
        self.decide_crowd(step, at, ripe, &outcome.suspects);
    }

    /// A crowd is over: what stood still is condemned, and what moved is let go.
    fn decide_crowd(
        &mut self,
        step: &mut Step<'_>,
        at: usize,
        ripe: impl Fn(&Standing) -> bool,
        sample: &[Sighting],
    ) {
        let crowding = self.crowds.remove(at);
        let any_ripe = crowding.members.values().any(&ripe);
        let mut counts: BTreeMap<Sort, u64> = BTreeMap::new();
        let mut moving = 0;
        for ((_, sort), standing) in &crowding.members {
            if ripe(standing) {
                *counts.entry(*sort).or_insert(0) += 1;
            } else {
                moving += 1;
            }
        }
        let subject = Unjudged::Members(crowding.crowd.partition);
        if moving > 0 {
            let (why, what) = self.moving(crowding.crowd.first_seen);
            let (first_seen, looks) = (crowding.crowd.first_seen, crowding.scans);
            let fault = None;
            let gone = LetGo { subject, entities: moving, first_seen, looks, why, what, fault };
            self.let_go(step, gone);
        } else {
            self.judged(step, &subject);
        }
        self.condemn_crowd(step, &crowding.crowd, counts, sample);
        self.disperse(step, &crowding.crowd, any_ripe);
    }

    /// More members are held than may be: a crowd lets go of its own, and begins anew when it is its turn.
    fn make_room(&mut self, step: &mut Step<'_>, at: usize) {
        let Crowding { crowd, members, .. } = self.crowds.remove(at);
        step.members = step.members.saturating_sub(members.len());
        let waiting = Crowding::waiting(crowd, step.now.after(self.spec.settle.wait_max));
        step.decision.commit.crowds.push(waiting.crowd.clone());
        self.crowds.push(waiting);
    }

    /// A scan of a crowd showed nothing because of what it could not read.
    fn crowd_failed(&mut self, step: &mut Step<'_>, at: usize, fault: &Fault) {
        let tries = self.spec.plan.tries.get();
        if self.waits_for(step, fault) {
            return;
        }
        let mut crowding = self.crowds.remove(at);
        crowding.fail(step.now.after(self.spec.settle.wait_max), tries);
        if step.until == Until::OnePass && (crowding.failed >= tries || fault.code.is_outage()) {
            // A single pass does not wait for ever for a store: what cannot be looked at is unsettled.
            let crowd = &crowding.crowd;
            let gone = LetGo {
                subject: Unjudged::Members(crowd.partition),
                entities: (crowding.members.len() as u64).max(1),
                first_seen: crowd.first_seen,
                looks: crowding.scans,
                why: Why::Unread,
                what: format!("{}; {}", fault.what, fault.remedy),
                fault: Some(fault.code),
            };
            self.let_go(step, gone);
            self.disperse(step, &crowding.crowd, false);
            return;
        }
        let place = if crowding.active { at } else { self.crowds.len() };
        self.crowds.insert(place, crowding);
    }

    /// A crowd is settled.
    fn disperse(&mut self, step: &mut Step<'_>, crowd: &Crowd, drift: bool) {
        self.status_changed = true;
        step.decision.commit.dispersed.push((self.spec.name.clone(), crowd.partition));
        self.decided_of(step, crowd.check, drift);
    }

    fn condemn_crowd(
        &mut self,
        step: &mut Step<'_>,
        crowd: &Crowd,
        counts: BTreeMap<Sort, u64>,
        seen: &[Sighting],
    ) {
        let mut confirmed = Vec::new();
        for (sort, entities) in counts {
            if let Some(id) = self.partition_finding(crowd.partition, sort) {
                self.postpone(id, step.now);
                continue;
            }
            let alike = |one: &&Finding| !one.is_of_rule() && self.sort(one) == sort;
            let same = self.anew_on(crowd.partition).find(alike).map(|finding| finding.id);
            if let Some(id) = same {
                let fresh = self.crowd_finding(step, crowd, (sort, entities), seen);
                self.confirm_anew(step, id, fresh);
                continue;
            }
            step.numbers.finding += 1;
            let finding = self.crowd_finding(step, crowd, (sort, entities), seen);
            *self.status.confirmed.entry(finding.kind).or_insert(0) += entities;
            step.decision.commit.findings.push(finding.clone());
            step.happened(Happening::Confirmed(finding.clone()));
            self.keep(finding.clone());
            confirmed.push(finding);
        }
        if !confirmed.is_empty() {
            step.decision.notes.push(Note::Confirmed(confirmed));
        }
        self.counts_changed = true;
    }

    fn crowd_finding(
        &self,
        step: &Step<'_>,
        crowd: &Crowd,
        (sort, entities): (Sort, u64),
        seen: &[Sighting],
    ) -> Finding {
        let origin =
            Origin { pairing: &self.spec.name, identity: self.spec.identity, check: crowd.check };
        let mut sample: Vec<NamedKey> = Vec::new();
        let mut fields: Vec<String> = Vec::new();
        for sighting in seen {
            let sides = self.sides(sighting);
            let suspect = settle::suspect(&origin, sighting, sides, step.now, &self.spec.settle);
            let charges = settle::charges(&suspect);
            for charge in charges.into_iter().filter(|charge| sort_of(charge) == sort) {
                let known = sample.iter().any(|named| named.key == sighting.key);
                if sample.len() < SAMPLE_MAX && !known {
                    sample.push(self.spec.named(&sighting.key));
                }
                if let settle::Charged::Fields(at) = charge.what {
                    fields.extend(self.spec.names(&sighting.key, &at));
                }
            }
        }
        let (kind, invariant) = sort;
        let invariant = invariant.and_then(|at| self.spec.invariants.get(usize::from(at)));
        let invariant = invariant.map(|def| (def.id.clone(), def.severity));
        fields.sort_unstable();
        fields.dedup();
        let entity = self.spec.shared(&sample, entities);
        let subject = Subject::Partition { partition: crowd.partition, entities, sample };
        let seen = (crowd.check, crowd.first_seen);
        Finding { entity, fields, invariant, ..self.of_partition(step, subject, kind, seen) }
    }

    /// A finding of a partition that is confirmed now. `seen` is the check that saw it first, and when.
    pub(super) fn of_partition(
        &self,
        step: &Step<'_>,
        subject: Subject,
        kind: DriftKind,
        (check, first_seen): (u64, Moment),
    ) -> Finding {
        Finding {
            id: step.numbers.finding,
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            subject,
            entity: None,
            kind,
            side: None,
            fields: Vec::new(),
            cosmetic: Vec::new(),
            invariant: None,
            message: None,
            labels: BTreeMap::new(),
            source_digest: None,
            target_digest: None,
            source_at: Vec::new(),
            target_at: Vec::new(),
            check,
            first_seen,
            confirmed: step.now,
            last_seen: step.now,
            due: step.now.after(std::time::Duration::from_secs(60)),
            looks: SCANS_MIN,
            status: FindingStatus::Open,
            ignored_until: None,
        }
    }
}

/// Whether two partitions have rows in common. Segments of different numbers may have; they are not
/// cut so as long as it matters.
pub(super) fn overlap(one: Partition, two: Partition) -> bool {
    without(one, two) != [one]
}

/// What is left of a partition without the rows of another.
pub(super) fn without(part: Partition, other: Partition) -> Vec<Partition> {
    let (Extent::Range(whole), Extent::Range(hole)) = (part.extent, other.extent) else {
        return if part.direction == other.direction && part.extent == other.extent {
            Vec::new()
        } else {
            vec![part]
        };
    };
    let before = |until: Option<i128>, from: Option<i128>| match (until, from) {
        (Some(until), Some(from)) => until <= from,
        (None, _) | (_, None) => false,
    };
    let apart = before(whole.until, hole.from) || before(hole.until, whole.from);
    if part.direction != other.direction || apart {
        return vec![part];
    }
    let starts_earlier = hole.from.filter(|hole| whole.from.is_none_or(|from| from < *hole));
    let ends_later = hole.until.filter(|hole| whole.until.is_none_or(|until| *hole < until));
    let first = starts_earlier.map(|until| Range { from: whole.from, until: Some(until) });
    let last = ends_later.map(|from| Range { from: Some(from), until: whole.until });
    let ranges = first.into_iter().chain(last);
    ranges.map(|range| Partition { extent: Extent::Range(range), ..part }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rules::told_as_whole;
    use crate::engine::tests::sighting;

    #[test]
    fn a_key_lies_under_a_finding_of_a_partition_by_what_its_check_says() {
        let told = |from, until, all| Told {
            finding: 1,
            entities: 2,
            partition: Partition {
                direction: Direction::FromSource,
                number: 0,
                extent: Extent::Range(Range { from, until }),
            },
            sort: (DriftKind::Mismatch, None),
            all,
        };
        let part = told(Some(10), Some(20), false);
        let begin = told(None, Some(20), false);
        // Whatever its place is: a group, a row of another relation, what lies under a prefix.
        for (told, cuts, expected) in [
            (part, vec![Some(12)], true),
            (part, vec![Some(20)], false),
            (part, vec![Some(50), Some(19)], true),
            (part, vec![None], false),
            (begin, vec![None], true),
            // Nothing says where it lies: it is told on its own, unless all that was checked is told.
            (part, vec![], false),
            (told(Some(10), Some(20), true), vec![], true),
        ] {
            let seen = Sighting { cuts: cuts.clone(), ..sighting() };
            for (kind, tells) in [
                (DriftKind::Mismatch, expected),
                (DriftKind::Stale, expected),
                (DriftKind::Missing, false),
            ] {
                assert_eq!(told_as_whole(&[told], (kind, None), &seen), tells, "{told:?} {cuts:?}");
            }
        }
    }

    #[test]
    fn what_is_left_of_a_partition_covers_the_rest_exactly() {
        let part = |from: Option<i128>, until: Option<i128>| Partition {
            direction: Direction::Aligned,
            number: 0,
            extent: Extent::Range(Range { from, until }),
        };
        let bounds: Vec<Option<i128>> = (0..6).map(Some).chain([None]).collect();
        let holds = |part: Partition, key: i128| match part.extent {
            Extent::Range(range) => range.contains(key),
            Extent::Segment { .. } => false,
        };
        let all = || bounds.iter().flat_map(|from| bounds.iter().map(|until| part(*from, *until)));
        let sound = |part: &Partition| (-1..7).any(|key| holds(*part, key));
        for one in all().filter(sound) {
            for two in all().filter(sound) {
                let left = without(one, two);
                for key in -1..7 {
                    let expected = holds(one, key) && !holds(two, key);
                    let found = left.iter().filter(|part| holds(**part, key)).count();
                    assert_eq!(found, usize::from(expected), "{one:?} {two:?} {key}");
                }
            }
        }
    }

    #[test]
    fn segments_are_left_out_whole() {
        let part = |index, of| Partition {
            direction: Direction::FromTarget,
            number: index,
            extent: Extent::Segment { index, of },
        };
        assert_eq!(without(part(1, 4), part(1, 4)), []);
        assert_eq!(without(part(1, 4), part(2, 4)), [part(1, 4)]);
        assert_eq!(without(part(1, 4), part(1, 5)), [part(1, 4)]);
    }
}
