//! A pairing's state, and what goes on in it at any time.
//!
//! Owns resuming, counting, and the order in which work is started: looks before checks, because
//! what is suspected matters most. Refuses the details of passes, suspects, crowds and findings: each
//! has its file. Invariant: a key is in flight at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::anew::Passed;
use crate::engine::crowds::Crowding;
use crate::engine::findings::Residue;
use crate::engine::passes::Phase;
use crate::engine::rules::Doubt;
use crate::engine::suspects::Rejected;
use crate::engine::tally::{Atlas, Change, Singles, Tally};
use crate::engine::unsettled::Listed;
use crate::engine::{Job, Spec, Step, Until};
use crate::model::{
    Asked, Cost, Finding, Happening, Key, MappingIdentity, Moment, PairingStatus, Partition, Saved,
    Side, Suspect, Unjudged,
};
use crate::settle::Lag;

/// Keys of one look.
const LOOK_KEYS_MAX: usize = 100;
/// Names that the plan does not speak of, kept of a pairing.
const UNMAPPED_MAX: usize = 1_000;
/// Looks of a pairing in flight.
const LOOKS_MAX: usize = 4;

/// Why a partition is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The pass visits it.
    Pass,
    /// It is settled as a whole.
    Crowd,
    /// A rule over it was broken, or could say nothing.
    Rules,
    /// A finding of it may have gone away.
    Recheck(u64),
}

/// What comes next where one alone may be in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// A check rather than a look: what began last was a look.
    check: bool,
    /// Of checks, the pass's.
    pub(super) pass: bool,
}

/// A pairing's state.
#[derive(Debug)]
pub(super) struct Pairing {
    pub(super) spec: Spec,
    pub(super) status: PairingStatus,
    pub(super) status_changed: bool,
    /// Whether findings came, went or changed since they were counted.
    pub(super) counts_changed: bool,
    pub(super) phase: Phase,
    /// Checks in flight.
    pub(super) checks: BTreeMap<u64, (Partition, Purpose)>,
    /// Looks in flight: when they began, and their keys.
    pub(super) looks: BTreeMap<u64, (Moment, Vec<Key>)>,
    /// Keys of looks in flight.
    pub(super) flying: BTreeSet<Key>,
    /// Suspects, in flight or not.
    pub(super) suspects: BTreeMap<Key, Suspect>,
    /// When suspects that are not in flight are due.
    pub(super) due: BTreeSet<(Moment, Key)>,
    pub(super) findings: BTreeMap<u64, Finding>,
    /// How many of them stand, and what criteria must learn.
    pub(super) tally: Tally,
    /// Where those of whole partitions lie: of this mapping, and of others.
    pub(super) of_partitions: Atlas,
    pub(super) anew_on: Atlas,
    /// What those of single keys tell.
    pub(super) singles: Singles,
    /// Open findings of single keys.
    pub(super) by_key: BTreeMap<Key, BTreeSet<u64>>,
    /// Those keys in short, as crowds name them.
    pub(super) told: BTreeSet<u64>,
    /// Findings whose key was gone from its place, on a side that cannot be searched, and since when.
    pub(super) gone: BTreeMap<u64, Moment>,
    /// Rows that the mapping rejects, and the key under which each is followed: a scan knows such a
    /// row by its place alone, a lookup by the entity that should lie there.
    pub(super) rejected: Rejected,
    /// When findings of single keys that are not in flight are due.
    pub(super) finding_due: BTreeSet<(Moment, u64)>,
    /// When those of partitions are.
    pub(super) partition_due: BTreeSet<(Moment, u64)>,
    /// What was left of a partition's finding when it was looked at last.
    pub(super) residue: Option<Residue>,
    pub(super) crowds: Vec<Crowding>,
    /// Partitions that are suspect for rules.
    pub(super) doubts: Vec<Doubt>,
    /// What could not be judged.
    pub(super) unsettled: Listed,
    /// Checks whose suspects are not all decided: how many, and whether one was drift.
    pub(super) undecided: BTreeMap<u64, (u64, bool)>,
    pub(super) lag: Lag,
    pub(super) weighed: Moment,
    pub(super) turns: Turns,
    /// Checks begun to settle something, modulo three: whose turn it is.
    settled: usize,
    /// Reads that failed as a whole, in a row.
    pub(super) failures: u32,
    /// Until when nothing is read, because reads fail.
    pub(super) paused_until: Option<Moment>,
    /// Stores that it reads and that are down.
    pub(super) down: BTreeSet<String>,
    /// When something was read of both stores last.
    pub(super) read_at: Moment,
    /// Nothing could be seen until then, because a store was down; the epoch: none was.
    pub(super) unseen_until: Moment,
    /// The mapping under which it goes on when nothing is in flight; until then nothing is begun.
    pub(super) next: Option<Box<Spec>>,
    /// Since when it is under this mapping, in this process.
    pub(super) since: Moment,
    /// Findings of another mapping, which are judged anew.
    pub(super) anew: BTreeSet<u64>,
    /// A whole pass that is to be decided before what it has not met of them is given up.
    pub(super) passed: Option<Passed>,
    /// What a mapping of another identity left behind.
    forgotten: Vec<Key>,
    scattered: Vec<Partition>,
    undoubted: Vec<Partition>,
    unlisted: Vec<Unjudged>,
}

impl Pairing {
    /// Goes on from what the journal holds of it.
    pub(super) fn new(spec: Spec, saved: &Saved, now: Moment) -> Self {
        let mine = |pairing: &str| pairing == spec.name;
        let known = saved.status.iter().find(|status| mine(&status.pairing));
        let status = resumed(&spec, known, now);
        let findings = saved.findings.iter().filter(|one| mine(&one.pairing)).cloned().collect();
        let (suspects, forgotten) =
            own(&spec, &saved.suspects, |one| (one.pairing.as_str(), one.identity));
        let (crowds, scattered) =
            own(&spec, &saved.crowds, |one| (one.pairing.as_str(), one.identity));
        let (doubts, undoubted) =
            own(&spec, &saved.suspect_partitions, |one| (one.pairing.as_str(), one.identity));
        let (unsettled, unlisted) =
            own(&spec, &saved.unsettled, |one| (one.pairing.as_str(), one.identity));
        let crowds = crowds.into_iter().map(|crowd| Crowding::waiting(crowd, now));
        let pass =
            saved.passes.iter().find(|pass| mine(&pass.pairing) && pass.identity == spec.identity);
        let mut pairing = Self {
            phase: Phase::resume(pass, &status, &spec, now),
            crowds: crowds.collect(),
            doubts: doubts.into_iter().map(Doubt::resumed).collect(),
            lag: match known {
                Some(_) => Lag::resumed(status.follower_progress, status.lagging_since),
                None => Lag::new(now),
            },
            weighed: now,
            spec,
            status,
            status_changed: true,
            counts_changed: true,
            checks: BTreeMap::new(),
            looks: BTreeMap::new(),
            flying: BTreeSet::new(),
            suspects: BTreeMap::new(),
            due: BTreeSet::new(),
            findings: BTreeMap::new(),
            tally: Tally::default(),
            of_partitions: Atlas::default(),
            anew_on: Atlas::default(),
            singles: Singles::default(),
            by_key: BTreeMap::new(),
            told: BTreeSet::new(),
            gone: BTreeMap::new(),
            rejected: Rejected::default(),
            finding_due: BTreeSet::new(),
            partition_due: BTreeSet::new(),
            residue: None,
            unsettled: Listed::of(unsettled),
            undecided: BTreeMap::new(),
            turns: Turns::default(),
            settled: 0,
            failures: 0,
            paused_until: None,
            down: BTreeSet::new(),
            read_at: now,
            unseen_until: Moment(0),
            next: None,
            since: now,
            anew: BTreeSet::new(),
            passed: None,
            forgotten: forgotten.into_iter().map(|suspect| suspect.key).collect(),
            scattered: scattered.into_iter().map(|crowd| crowd.partition).collect(),
            undoubted: undoubted.into_iter().map(|suspect| suspect.partition).collect(),
            unlisted: unlisted.into_iter().map(|one| one.subject).collect(),
        };
        pairing.take_up(suspects, findings);
        pairing
    }

    fn take_up(&mut self, suspects: Vec<Suspect>, findings: Vec<Finding>) {
        for suspect in suspects {
            self.due.insert((suspect.due, suspect.key.clone()));
            self.follow_rejected(&suspect);
            self.suspects.insert(suspect.key.clone(), suspect);
        }
        for finding in findings {
            // What another mapping found is looked at at once.
            let due = if self.is_anew(&finding) { self.since } else { finding.due };
            self.keep(Finding { due, ..finding });
        }
    }

    /// The run begins: what belongs to another mapping is let go, and said so.
    pub(super) fn start(&mut self, step: &mut Step<'_>) {
        for key in std::mem::take(&mut self.forgotten) {
            step.decision.commit.decided.push((self.spec.name.clone(), key));
        }
        for partition in std::mem::take(&mut self.scattered) {
            step.decision.commit.dispersed.push((self.spec.name.clone(), partition));
        }
        for partition in std::mem::take(&mut self.undoubted) {
            step.decision.commit.decided_partitions.push((self.spec.name.clone(), partition));
        }
        for subject in std::mem::take(&mut self.unlisted) {
            let settled = (self.spec.name.clone(), subject, step.now);
            step.decision.commit.settled.push(settled);
        }
        self.ignored_until(step.now);
        self.recount();
    }

    /// What criteria must learn of its findings.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.tally.take_changes()
    }

    pub(super) const fn status(&self) -> &PairingStatus {
        &self.status
    }

    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values()
    }

    /// Those that were judged under this mapping.
    pub(super) fn judged_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings.values().filter(|finding| !self.is_anew(finding))
    }

    pub(super) fn checking(&self, check: u64) -> bool {
        self.checks.contains_key(&check)
    }

    pub(super) fn looking(&self, look: u64) -> bool {
        self.looks.contains_key(&look)
    }

    /// Suspects and open findings.
    pub(super) fn held(&self) -> usize {
        self.suspects.len() + self.findings.len()
    }

    /// How many jobs that read are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.checks.len() + self.looks.len() + self.phase.splitting()
    }

    /// Whether any check or look is in flight.
    pub(super) fn is_reading(&self) -> bool {
        !self.checks.is_empty() || !self.looks.is_empty()
    }

    /// Whether a single pass is over and all its suspects are decided.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
            && self.suspects.is_empty()
            && self.crowds.is_empty()
            && self.doubts.is_empty()
            && !self.is_reading()
    }

    /// Starts what is due.
    pub(super) fn go_on(&mut self, step: &mut Step<'_>, index: usize) {
        self.weigh_lag(step);
        if step.draining || self.next.is_some() || self.waits_for_stores() {
            return;
        }
        if let Some(until) = self.paused_until.filter(|until| *until > step.now) {
            step.wake(until);
            return;
        }
        self.paused_until = None;
        // Where one slot alone is free, looks and checks begin in turn.
        let yields = self.turns.check && step.room.free <= 1;
        if !yields {
            self.start_looks(step, index);
        }
        // None of them may keep the others waiting for ever: each begins in turn.
        for turn in self.settled..self.settled + 3 {
            match turn % 3 {
                0 => self.start_crowds(step, index),
                1 => self.start_doubts(step, index),
                _ => self.start_rechecks(step, index),
            }
        }
        self.go_on_with_pass(step, index);
        if yields {
            self.start_looks(step, index);
        }
        self.give_up_unmet(step);
        if !self.suspects.is_empty() || self.lag.since().is_some() {
            // Lag is weighed at least once a second while somebody waits for the verdict.
            step.wake(step.now.after(Duration::from_secs(1)));
        }
    }

    /// Looks at what is due: suspects first, then findings that may have gone away.
    fn start_looks(&mut self, step: &mut Step<'_>, index: usize) {
        while self.looks.len() < LOOKS_MAX && step.room.free > 0 {
            let mut asked: Vec<Asked> = Vec::new();
            while asked.len() < LOOK_KEYS_MAX {
                match self.due.first() {
                    Some((due, _)) if *due <= step.now => {
                        let Some((_, key)) = self.due.pop_first() else { break };
                        if let Some(suspect) = self.suspects.get_mut(&key) {
                            if self.flying.contains(&key) {
                                // A look at a finding of this key began before a check saw it.
                                suspect.due = step.now.after(self.spec.settle.first_wait);
                                self.due.insert((suspect.due, key));
                                continue;
                            }
                            asked.push(Asked {
                                key,
                                source_at: suspect.source_at.clone(),
                                target_at: suspect.target_at.clone(),
                            });
                        }
                    }
                    _ => break,
                }
            }
            if step.until == Until::Stopped {
                self.due_findings(step.now, &mut asked, LOOK_KEYS_MAX);
            }
            if asked.is_empty() {
                break;
            }
            let look = step.numbers.job();
            let keys: Vec<Key> = asked.iter().map(|asked| asked.key.clone()).collect();
            self.flying.extend(keys.iter().cloned());
            self.looks.insert(look, (step.now, keys));
            self.turns.check = true;
            step.read(Job::Look { look, pairing: index, asked });
        }
        let first_suspect = self.due.first().map(|(due, _)| *due);
        let first_finding = self.finding_due.first().map(|(due, _)| *due);
        let first_finding = first_finding.filter(|_| step.until == Until::Stopped);
        for due in [first_suspect, first_finding].into_iter().flatten() {
            step.wake(due);
        }
    }

    /// Whether one more partition may be checked to settle what is known of it: half of the checks in
    /// flight are left to the pass, and of one alone every other.
    pub(super) fn has_room_to_settle(&self, step: &Step<'_>) -> bool {
        let limit = self.spec.plan.concurrency.get() as usize;
        if self.checks.len() >= limit || step.room.free == 0 {
            return false;
        }
        let settling = self.checks.values().filter(|(_, purpose)| *purpose != Purpose::Pass);
        let limit = limit.min(step.room.fair);
        match limit {
            1 => !self.turns.pass || !self.phase.has_work(step.now),
            _ => settling.count() < limit.div_ceil(2),
        }
    }

    /// Checks a partition to settle what is known of it.
    pub(super) fn start_settling(
        &mut self,
        step: &mut Step<'_>,
        index: usize,
        partition: Partition,
        purpose: Purpose,
    ) {
        self.turns.pass = true;
        self.settled = (self.settled + 1) % 3;
        self.start_check(step, index, partition, purpose);
    }

    /// A check of this partition, begun now.
    pub(super) fn start_check(
        &mut self,
        step: &mut Step<'_>,
        index: usize,
        partition: Partition,
        purpose: Purpose,
    ) {
        let check = step.numbers.job();
        self.checks.insert(check, (partition, purpose));
        let full = step.held >= self.spec.settle.suspects_max;
        // Where keys are named, findings can be told apart that tell of them already.
        let named = matches!(purpose, Purpose::Pass | Purpose::Rules);
        let crowd = if full || !named { 0 } else { self.spec.settle.crowd };
        self.turns.check = false;
        step.read(Job::Check { check, pairing: index, partition, crowd });
    }

    /// Reads of this pairing failed as a whole: nothing more is tried for a while.
    pub(super) fn failed(&mut self, step: &mut Step<'_>) {
        if self.paused_until.is_some_and(|until| until > step.now) {
            // What was under way beside one that failed is no other try.
            return;
        }
        self.failures = self.failures.saturating_add(1);
        let until = step.now.after(self.spec.plan.wait(self.failures));
        self.paused_until = Some(until);
        step.wake(until);
    }

    pub(super) fn count_costs(&mut self, source: Cost, target: Cost) {
        self.status.source_rows += source.rows;
        self.status.target_rows += target.rows;
        self.status.capacity += source.capacity + target.capacity;
        self.status_changed = true;
    }

    /// Relations were described: what they have, and nobody speaks of, is all that there is.
    pub(super) fn described(
        &mut self,
        step: &mut Step<'_>,
        unmapped: BTreeMap<Side, BTreeSet<String>>,
    ) {
        for (side, names) in unmapped {
            let known = self.status.unmapped.len();
            self.status.unmapped.retain(|(of, name)| *of != side || names.contains(name));
            self.status_changed |= self.status.unmapped.len() != known;
            self.note_unmapped(step, side, &names);
        }
    }

    /// Notes names that the plan neither uses nor ignores, and tells of those that are new.
    pub(super) fn note_unmapped(
        &mut self,
        step: &mut Step<'_>,
        side: Side,
        names: &BTreeSet<String>,
    ) {
        let known = |name: &&String| !self.status.unmapped.contains(&(side, (*name).clone()));
        // A relation with ever new attribute names must not fill the status.
        let room = UNMAPPED_MAX.saturating_sub(self.status.unmapped.len());
        let names: Vec<String> = names.iter().filter(known).take(room).cloned().collect();
        if names.is_empty() {
            return;
        }
        self.status.unmapped.extend(names.iter().map(|name| (side, name.clone())));
        self.status_changed = true;
        step.happened(Happening::Unmapped { pairing: self.spec.name.clone(), side, names });
    }

    /// Puts the status into the commit if it changed.
    pub(super) fn publish(&mut self, step: &mut Step<'_>) {
        self.status.suspects = self.suspects.len() as u64;
        self.status.lag_micros = u64::try_from(self.lag.last().as_micros()).unwrap_or(u64::MAX);
        self.status.lagging_since = self.lag.since();
        self.status.follower_progress = self.lag.progress();
        if std::mem::take(&mut self.counts_changed) {
            self.recount();
        }
        if std::mem::take(&mut self.status_changed) {
            step.decision.commit.status.push(self.status.clone());
        }
    }
}

/// How far a pairing has come, going by what was known of it: of counts, those under its mapping.
fn resumed(spec: &Spec, known: Option<&PairingStatus>, now: Moment) -> PairingStatus {
    let same = known.filter(|status| status.identity == spec.identity).cloned();
    let mut status = same.unwrap_or_else(|| PairingStatus {
        pairing: spec.name.clone(),
        identity: spec.identity,
        pass: known.map_or(0, |status| status.pass),
        // Of the follower, not of how it is mapped.
        follower_progress: known.map_or(now, |status| status.follower_progress),
        lagging_since: known.and_then(|status| status.lagging_since),
        incidents: known.map(|status| status.incidents.clone()).unwrap_or_default(),
        ..PairingStatus::default()
    });
    status.not_verifiable.clone_from(&spec.reading.not_verifiable);
    status.relations.clone_from(&spec.relations);
    status.not_begun = None;
    status
}

/// What is kept of a pairing: what holds under its mapping, and what another mapping left behind.
fn own<T: Clone>(
    spec: &Spec,
    kept: &[T],
    of: impl Fn(&T) -> (&str, MappingIdentity),
) -> (Vec<T>, Vec<T>) {
    let mine = kept.iter().filter(|one| of(one).0 == spec.name);
    mine.cloned().partition(|one| of(one).1 == spec.identity)
}
