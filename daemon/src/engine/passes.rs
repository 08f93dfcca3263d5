//! Passes: every partition of every direction, once, in a seeded random order.
//!
//! Owns the frame of a pass, retries of unread partitions, and what a check's outcome means for the
//! pass. Refuses to judge suspects. Invariant: a partition is done when it was compared whole or given
//! up as unread, and the latter is counted and told; a pass is complete when all its partitions are
//! done.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::engine::pairing::{Pairing, Purpose};
use crate::engine::{Job, Spec, Step, Until};
use crate::model::{
    CheckNote, Direction, Extent, Fault, FaultCode, Happening, Incident, Moment, Note, Outcome,
    PairingStatus, Partition, PartitionEnd, PassState, Side,
};
use crate::plan;

/// Where a pairing is between passes and in them.
#[derive(Debug)]
pub(super) enum Phase {
    /// The next pass begins then.
    Resting { until: Moment },
    /// The relations are being cut.
    Splitting { began: Moment, asked: Vec<Direction>, got: BTreeMap<Direction, Vec<Extent>> },
    /// Partitions are being checked.
    Passing(Frame),
    /// The only pass is complete.
    Over,
}

/// A pass under way.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) state: PassState,
    /// Partitions that wait for their first check, or for the next part of them.
    queue: VecDeque<Partition>,
    /// Partitions that could not be read, by when they are tried again, and how often they were.
    retry: BTreeMap<(Moment, Partition), u32>,
    tries: BTreeMap<Partition, u32>,
    /// Slots that are not done.
    open: u64,
    unread: u64,
    /// Codes of the faults for which partitions were given up.
    faults: BTreeSet<FaultCode>,
}

/// What a check compared.
#[derive(Clone, Copy, Debug)]
struct Counts {
    same: u64,
    excluded: u64,
    differing: u64,
    /// Whether nothing at all was compared, by whichever direction it is counted.
    nothing: bool,
}

impl Phase {
    /// Goes on with a pass that the journal holds, or rests until now.
    pub(super) fn resume(
        pass: Option<&PassState>,
        status: &PairingStatus,
        spec: &Spec,
        now: Moment,
    ) -> Self {
        match pass {
            Some(pass) if !pass.complete => {
                let mut frame = Frame::new(pass.clone());
                if frame.unread > 0 {
                    // For which of them is not known any more, so none is taken for over.
                    frame.faults = status.incidents.iter().map(|one| one.code).collect();
                }
                Self::Passing(frame)
            }
            Some(pass) => {
                // The pass before ended; when is not known, so the rest is counted from its begin.
                Self::Resting {
                    until: pass.began.after(spec.plan.rest).min(now.after(spec.plan.rest)),
                }
            }
            None => Self::Resting { until: now },
        }
    }

    /// Whether a pass has a partition to check now.
    pub(super) fn has_work(&self, now: Moment) -> bool {
        match self {
            Self::Passing(frame) => {
                let retried = frame.retry.first_key_value();
                !frame.queue.is_empty() || retried.is_some_and(|((due, _), _)| *due <= now)
            }
            Self::Resting { .. } | Self::Splitting { .. } | Self::Over => false,
        }
    }

    /// Of how many cuts the answers are awaited.
    pub(super) const fn splitting(&self) -> usize {
        match self {
            Self::Splitting { asked, .. } => asked.len(),
            Self::Resting { .. } | Self::Passing(_) | Self::Over => 0,
        }
    }
}

impl Frame {
    fn new(state: PassState) -> Self {
        let mut frame = Self {
            queue: VecDeque::new(),
            retry: BTreeMap::new(),
            tries: BTreeMap::new(),
            open: 0,
            unread: 0,
            faults: BTreeSet::new(),
            state,
        };
        let ends: BTreeMap<(Direction, u32), PartitionEnd> = frame
            .state
            .done
            .iter()
            .map(|&(direction, number, end)| ((direction, number), end))
            .collect();
        let extents: BTreeMap<Direction, &Vec<Extent>> =
            frame.state.extents.iter().map(|(direction, extents)| (*direction, extents)).collect();
        let counts = extents.iter().map(|(direction, extents)| {
            (*direction, u32::try_from(extents.len()).unwrap_or(u32::MAX))
        });
        for (direction, number) in plan::side_by_side(frame.state.seed, frame.state.pass, counts) {
            let extent = match ends.get(&(direction, number)) {
                None => extents[&direction][number as usize],
                Some(PartitionEnd::Continued(rest)) => *rest,
                Some(PartitionEnd::Unread) => {
                    frame.unread += 1;
                    continue;
                }
                Some(PartitionEnd::Compared) => continue,
            };
            frame.open += 1;
            frame.queue.push_back(Partition { direction, number, extent });
        }
        frame
    }

    /// The next partition to check, if one is due.
    fn next(&mut self, now: Moment) -> Option<Partition> {
        if let Some((&(due, partition), _)) = self.retry.first_key_value()
            && due <= now
        {
            let ((_, partition), tries) = self.retry.pop_first().unwrap_or(((due, partition), 0));
            self.tries.insert(partition, tries);
            return Some(partition);
        }
        self.queue.pop_front()
    }
}

impl Pairing {
    /// Begins a pass when its time has come, and starts checks as far as they may be in flight.
    pub(super) fn go_on_with_pass(&mut self, step: &mut Step<'_>, index: usize) {
        if let Phase::Resting { until } = self.phase {
            if until > step.now {
                step.wake(until);
                return;
            }
            self.phase =
                Phase::Splitting { began: step.now, asked: Vec::new(), got: BTreeMap::new() };
        }
        if let Phase::Splitting { asked, got, .. } = &mut self.phase {
            for direction in &self.spec.reading.directions {
                if step.room.free > 0 && !asked.contains(direction) && !got.contains_key(direction)
                {
                    asked.push(*direction);
                    step.read(Job::Split { pairing: index, direction: *direction });
                }
            }
            return;
        }
        let limit = self.spec.plan.concurrency.get() as usize;
        while self.checks.len() < limit && step.room.free > 0 {
            let Phase::Passing(frame) = &mut self.phase else { return };
            let Some(partition) = frame.next(step.now) else { break };
            self.turns.pass = false;
            self.start_check(step, index, partition, Purpose::Pass);
        }
        if let Phase::Passing(frame) = &self.phase
            && let Some(((due, _), _)) = frame.retry.first_key_value()
        {
            step.wake(*due);
        }
    }

    /// A relation was cut: with all of them, the pass begins.
    pub(super) fn split(
        &mut self,
        step: &mut Step<'_>,
        direction: Direction,
        (extents, unmapped): (Result<Vec<Extent>, Fault>, BTreeMap<Side, BTreeSet<String>>),
    ) {
        self.described(step, unmapped);
        let extents = extents.map(|extents| self.same_segments(direction, extents));
        let Phase::Splitting { began, asked, got } = &mut self.phase else { return };
        asked.retain(|asked| *asked != direction);
        match extents {
            Ok(extents) => {
                got.insert(direction, extents);
            }
            Err(fault) => return self.split_failed(step, fault),
        }
        if got.len() < self.spec.reading.directions.len() {
            return;
        }
        let state = PassState {
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            pass: self.status.pass + 1,
            began: *began,
            seed: self.spec.plan.seed.unwrap_or(self.spec.seed),
            extents: std::mem::take(got).into_iter().collect(),
            done: Vec::new(),
            complete: false,
        };
        self.status.pass = state.pass;
        self.status.pass_began = state.began;
        self.status.partitions =
            state.extents.iter().map(|(_, extents)| extents.len() as u64).sum();
        self.status.done = 0;
        self.status.unread_partitions = 0;
        self.status.pass_compared = 0;
        self.status.unsettled_before = self.status.unsettled;
        self.status_changed = true;
        step.decision.commit.passes.push(state.clone());
        self.phase = Phase::Passing(Frame::new(state));
        self.failures = 0;
    }

    fn split_failed(&mut self, step: &mut Step<'_>, fault: Fault) {
        let scope = "the extents of its relations".to_owned();
        self.status.unread += 1;
        self.status_changed = true;
        step.decision.notes.push(Note::Unread {
            pairing: self.spec.name.clone(),
            scope,
            key: None,
            fault: fault.clone(),
        });
        if self.waits_for(step, &fault) {
            return;
        }
        self.failed(step);
        if fault.code.is_outage() || self.failures >= self.tries(step, true) {
            self.open_incident(step, None, &fault);
            if step.until == Until::OnePass {
                self.status.last_pass_unread += 1;
                self.phase = Phase::Over;
            }
        }
    }

    /// A check ended.
    pub(super) fn checked(
        &mut self,
        step: &mut Step<'_>,
        check: u64,
        began: Moment,
        outcome: Outcome,
    ) {
        let Some((partition, purpose)) = self.checks.remove(&check) else { return };
        self.count_costs(outcome.source.cost, outcome.target.cost);
        self.note_unmapped(step, Side::Source, &outcome.source.unmapped);
        self.note_unmapped(step, Side::Target, &outcome.target.unmapped);
        self.note_progress(step.now, &outcome);
        self.note_check(step, check, began, (partition, &outcome));
        let rows = outcome.source.cost.rows + outcome.target.cost.rows;
        let asked = partition.direction == Direction::Aligned || rows > 0;
        if outcome.same > 0 || asked && outcome.unread.is_empty() {
            self.answered(step);
        }
        match purpose {
            Purpose::Crowd => return self.crowd_checked(step, partition, (check, began), outcome),
            Purpose::Rules => {
                return self.doubt_checked(step, partition, (check, began), &outcome);
            }
            Purpose::Recheck(finding) => {
                step.decision.notes.push(Note::Decided { check, drift: false });
                return self.rechecked(step, finding, began, &outcome);
            }
            Purpose::Pass => {}
        }
        self.status.checks += 1;
        let differing = outcome.differing();
        // An entity is compared once: what another check counts is left to it. A crowd is bounded, so
        // that it may have fewer keys than were met.
        let counts = Counts {
            same: outcome.same - outcome.again.same,
            excluded: outcome.excluded - outcome.again.excluded,
            differing: differing - outcome.again.differing.min(differing),
            nothing: outcome.same == 0 && differing + outcome.told_elsewhere == 0,
        };
        let covered = covered(partition, outcome.rest);
        if outcome.crowd.is_some() {
            self.crowded(step, covered, check, &outcome);
        } else {
            let told = self.told_in(partition);
            self.seen_again(step.now, &told, differing);
            for sighting in &outcome.suspects {
                self.suspected(step, check, sighting, &told);
            }
        }
        self.ruled(step, (covered, check), &outcome);
        if !self.undecided.contains_key(&check) {
            step.decision.notes.push(Note::Decided { check, drift: false });
        }
        let fault = outcome.outage().or_else(|| outcome.unread.first().map(|unread| &unread.fault));
        match fault.cloned() {
            None => self.done(step, partition, outcome.rest, counts),
            Some(fault) => self.not_read(step, partition, &fault, counts),
        }
        if !outcome.unread.is_empty() {
            self.status.unread += outcome.unread.len() as u64;
        }
    }

    fn note_check(
        &self,
        step: &mut Step<'_>,
        check: u64,
        began: Moment,
        (partition, outcome): (Partition, &Outcome),
    ) {
        for unread in &outcome.unread {
            step.decision.notes.push(Note::Unread {
                pairing: self.spec.name.clone(),
                scope: unread.scope.clone(),
                key: unread.key.clone(),
                fault: unread.fault.clone(),
            });
        }
        if let Some(failed) = &outcome.failed {
            step.decision.notes.push(Note::Failed {
                pairing: self.spec.name.clone(),
                partition,
                failed: failed.clone(),
            });
        }
        step.decision.notes.push(Note::Checked(CheckNote {
            check,
            pairing: self.spec.name.clone(),
            partition,
            pass: self.status.pass,
            began,
            ended: step.now,
            same: outcome.same,
            excluded: outcome.excluded,
            suspects: outcome.differing(),
            broken: outcome.rules.iter().filter(|ruled| ruled.is_broken()).count() as u64,
            unread: outcome
                .unread
                .iter()
                .take(8)
                .map(|unread| (unread.scope.clone(), unread.fault.clone()))
                .collect(),
            checksums: [
                (Side::Source, outcome.source.checksum),
                (Side::Target, outcome.target.checksum),
            ],
            costs: [(Side::Source, outcome.source.cost), (Side::Target, outcome.target.cost)],
            spans: outcome.spans.clone(),
        }));
    }

    /// Counts what a pass compared in a partition, once: by the last of its tries.
    const fn count(&mut self, Counts { same, excluded, differing, .. }: Counts) {
        self.status.same += same;
        self.status.excluded += excluded;
        self.status.compared += same + differing;
        self.status.pass_compared += same + differing;
    }

    /// A partition was compared whole, or up to a rest that is its child.
    fn done(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        rest: Option<Extent>,
        counts: Counts,
    ) {
        self.count(counts);
        let Phase::Passing(frame) = &mut self.phase else { return };
        frame.tries.remove(&partition);
        let end = match rest {
            Some(extent) => {
                frame.queue.push_front(Partition { extent, ..partition });
                PartitionEnd::Continued(extent)
            }
            None => {
                frame.open = frame.open.saturating_sub(1);
                self.status.done += 1;
                PartitionEnd::Compared
            }
        };
        step.decision.commit.done.push((self.spec.name.clone(), partition, end));
        self.status_changed = true;
        self.complete(step);
    }

    /// A partition could not be read, or not whole.
    fn not_read(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        fault: &Fault,
        counts: Counts,
    ) {
        let nothing = counts.nothing;
        let of_store = fault.code.is_of_store();
        // A single pass does not ask again what is known to be down.
        let limit = if fault.code.is_outage() { 1 } else { self.tries(step, of_store) };
        let waits_for_store = self.waits_for(step, fault);
        let Phase::Passing(frame) = &mut self.phase else { return };
        let tries = frame.tries.remove(&partition).unwrap_or(0);
        if waits_for_store {
            frame.retry.insert((step.now, partition), tries);
            return;
        }
        let tries = tries + 1;
        // A store that answers nothing at all is one incident of the pairing, and no partition's
        // tries are used up by it for ever: a run that goes on waits for the store.
        let waits = nothing && of_store && step.until == Until::Stopped;
        let tries = if waits { tries.min(limit - 1) } else { tries };
        if tries < limit {
            let due = step.now.after(self.spec.plan.wait(tries));
            frame.retry.insert((due, partition), tries);
            if nothing && of_store {
                self.failed(step);
                if self.failures >= limit {
                    self.open_incident(step, None, fault);
                }
            }
            return;
        }
        frame.open = frame.open.saturating_sub(1);
        frame.unread += 1;
        frame.faults.insert(fault.code);
        self.status.done += 1;
        self.status.unread_partitions += 1;
        self.status_changed = true;
        let end = PartitionEnd::Unread;
        step.decision.commit.done.push((self.spec.name.clone(), partition, end));
        self.count(counts);
        if nothing && of_store && step.until == Until::OnePass {
            self.give_up(step);
        }
        self.open_incident(step, Some(partition), fault);
        self.complete(step);
    }

    /// How often a partition is tried. A store has been patient by itself, so a single pass asks it
    /// only once more; and a plugin that fails on the same rows fails again.
    fn tries(&self, step: &Step<'_>, of_store: bool) -> u32 {
        let tries = self.spec.plan.tries.get();
        if step.until == Until::OnePass || !of_store { tries.min(2) } else { tries }
    }

    /// A store that does not come back within its tries ends a single pass: all that is left is
    /// unread.
    fn give_up(&mut self, step: &mut Step<'_>) {
        let Phase::Passing(frame) = &mut self.phase else { return };
        let waiting = std::mem::take(&mut frame.queue).into_iter();
        let retried = std::mem::take(&mut frame.retry).into_keys().map(|(_, partition)| partition);
        for partition in waiting.chain(retried) {
            frame.open = frame.open.saturating_sub(1);
            frame.unread += 1;
            self.status.done += 1;
            self.status.unread_partitions += 1;
            let end = PartitionEnd::Unread;
            step.decision.commit.done.push((self.spec.name.clone(), partition, end));
        }
    }

    fn open_incident(&mut self, step: &mut Step<'_>, partition: Option<Partition>, fault: &Fault) {
        // Of partitions one is told for all that have the same fault.
        let known = |one: &Incident| {
            one.code == fault.code && one.partition.is_some() == partition.is_some()
        };
        if !self.status.incidents.iter().any(known) {
            self.status.incidents.insert(Incident { partition, code: fault.code });
            self.status_changed = true;
            step.happened(Happening::Unread {
                pairing: self.spec.name.clone(),
                partition,
                fault: fault.clone(),
                tries: self.spec.plan.tries.get(),
            });
        }
    }

    /// Both stores have answered: none of them is silent.
    pub(super) fn answered(&mut self, step: &mut Step<'_>) {
        self.failures = 0;
        self.read_at = step.now;
        self.close_incidents(step, |one| one.partition.is_none());
    }

    fn close_incidents(&mut self, step: &mut Step<'_>, is_over: impl Fn(&Incident) -> bool) {
        for one in self.status.incidents.extract_if(.., |one| is_over(one)) {
            let Incident { partition, code } = one;
            let pairing = self.spec.name.clone();
            step.happened(Happening::Readable { pairing, partition, code });
            self.status_changed = true;
        }
    }

    /// Ends the pass if all its partitions are done.
    fn complete(&mut self, step: &mut Step<'_>) {
        let silent = self.silent_rules();
        let Phase::Passing(frame) = &mut self.phase else { return };
        if frame.open > 0 {
            return;
        }
        frame.state.complete = true;
        frame.state.done.clear();
        let (pass, began) = (frame.state.pass, frame.state.began);
        let (compared, unread) = (self.status.pass_compared, frame.unread);
        self.status.passes += 1;
        self.status.last_pass_unread = unread;
        self.status.last_pass_unsettled =
            self.status.unsettled.saturating_sub(self.status.unsettled_before) + silent;
        if unread == 0 {
            self.status.covered_since = Some(began);
        }
        step.decision.commit.passes.push(PassState { extents: Vec::new(), ..frame.state.clone() });
        let faults = std::mem::take(&mut frame.faults);
        if unread == 0 {
            self.resolve_gone(step, began);
            // Whatever has not been let go again was compared, and is the same or was judged.
            self.settle_old(step, began);
            self.passed_whole(step, began);
        }
        self.close_incidents(step, |one| !faults.contains(&one.code));
        let pairing = self.spec.name.clone();
        step.happened(Happening::PassCompleted { pairing, pass, began, compared, unread });
        self.phase = match step.until {
            Until::OnePass => Phase::Over,
            Until::Stopped => Phase::Resting { until: step.now.after(self.spec.plan.rest) },
        };
        self.status_changed = true;
    }
}

/// The part of a partition that was compared, when `rest` was left.
pub(super) fn covered(partition: Partition, rest: Option<Extent>) -> Partition {
    match (partition.extent, rest) {
        (Extent::Range(range), Some(Extent::Range(rest))) => Partition {
            extent: Extent::Range(crate::model::Range { until: rest.from, ..range }),
            ..partition
        },
        _ => partition,
    }
}
