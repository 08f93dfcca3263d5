//! Suspects: from a sighting to a verdict.
//!
//! Owns taking sightings in, looking again, and the evidence of lag. Refuses the rules of settling:
//! they are `settle`'s. Invariant: a suspect leaves only acquitted, condemned or unsettled, and each of
//! these is counted; a failed look keeps it.

use std::collections::BTreeMap;

use crate::engine::crowds::{Told, sort_of};
use crate::engine::pairing::Pairing;
use crate::engine::rules::told_as_whole;
use crate::engine::unsettled::LetGo;
use crate::engine::{Step, Until};
use crate::model::{
    Extent, Fault, FaultCode, Happening, Key, Look, Moment, Note, Outcome, Partition, Side,
    Sighting, State, StoreKey, Suspect, Unjudged, Version, Why,
};
use crate::settle::{self, LagChange, LookedAt, Origin, Verdict};

/// Places of a suspect on a side beyond which those that a check sees anew are left out.
const PLACES_MAX: usize = 64;

/// Rows that the mapping rejects, each followed under one key.
#[derive(Debug, Default)]
pub(super) struct Rejected {
    by_place: BTreeMap<(Side, StoreKey), Key>,
    by_key: BTreeMap<Key, Vec<(Side, StoreKey)>>,
}

impl Rejected {
    /// Follows a row under `key`, unless it is followed already. Whether it is followed under `key`.
    pub(super) fn follow(&mut self, side: Side, at: &StoreKey, key: &Key) -> bool {
        let place = (side, at.clone());
        if let Some(known) = self.by_place.get(&place) {
            return known == key;
        }
        self.by_key.entry(key.clone()).or_default().push(place.clone());
        self.by_place.insert(place, key.clone());
        true
    }

    /// Under which key a row is followed.
    pub(super) fn key(&self, side: Side, at: &StoreKey) -> Option<&Key> {
        self.by_place.get(&(side, at.clone()))
    }

    /// Follows nothing under `key` any longer.
    fn forget(&mut self, key: &Key) {
        for place in self.by_key.remove(key).into_iter().flatten() {
            self.by_place.remove(&place);
        }
    }
}

impl Pairing {
    /// What leader and follower held.
    pub(super) fn sides<'a>(&self, sighting: &'a Sighting) -> (&'a State, &'a State) {
        let leads = self.spec.leads;
        (sighting.state(leads.leader()), sighting.state(leads.follower()))
    }

    /// A check saw a key that differs. `told` is what findings tell of parts of its partition as
    /// a whole; these count it when they are checked again.
    pub(super) fn suspected(
        &mut self,
        step: &mut Step<'_>,
        check: u64,
        sighting: &Sighting,
        told: &[Told],
    ) {
        self.found_elsewhere(sighting);
        if let Some(known) = self.suspects.get_mut(&sighting.key) {
            // Each direction may see it at places that the other does not.
            let added = add_places(&mut known.source_at, &sighting.source_at)
                | add_places(&mut known.target_at, &sighting.target_at);
            if added {
                step.decision.commit.suspects.push(known.clone());
            }
            return;
        }
        let origin = Origin { pairing: &self.spec.name, identity: self.spec.identity, check };
        let sides = self.sides(sighting);
        let mut suspect = settle::suspect(&origin, sighting, sides, step.now, &self.spec.settle);
        let tells = |charge: &settle::Charge| told_as_whole(told, sort_of(charge), sighting);
        if !told.is_empty() && settle::charges(&suspect).iter().all(tells) {
            return;
        }
        if self.is_known(step.now, &suspect) || !self.follow_rejected(&suspect) {
            return;
        }
        self.add_known_places(&mut suspect);
        suspect.leader_changed = self.written(&suspect.key, &suspect.leader, step.now);
        self.undecided.entry(check).or_insert((0, false)).0 += 1;
        self.enqueue(step, suspect);
    }

    /// A check met a key. What was known of it and could not be looked at, because it was gone from
    /// its place, is looked for here from now on.
    fn found_elsewhere(&mut self, sighting: &Sighting) {
        if let Some(suspect) = self.suspects.get_mut(&sighting.key)
            && suspect.failed > 0
        {
            suspect.source_at.clone_from(&sighting.source_at);
            suspect.target_at.clone_from(&sighting.target_at);
        }
        for id in self.by_key.get(&sighting.key).into_iter().flatten() {
            if let (Some(_), Some(finding)) = (self.gone.remove(id), self.findings.get_mut(id)) {
                finding.source_at.clone_from(&sighting.source_at);
                finding.target_at.clone_from(&sighting.target_at);
            }
        }
    }

    /// Where open findings saw the key is looked at, too: a row at another place is not forgotten
    /// because this check had no reason to look there.
    fn add_known_places(&self, suspect: &mut Suspect) {
        for id in self.by_key.get(&suspect.key).into_iter().flatten() {
            // Another mapping may have had other relations.
            let judged = self.findings.get(id).filter(|finding| !self.is_anew(finding));
            let Some(finding) = judged else { continue };
            for (known, places) in [
                (&finding.source_at, &mut suspect.source_at),
                (&finding.target_at, &mut suspect.target_at),
            ] {
                let new: Vec<_> = known.iter().filter(|at| !places.contains(at)).cloned().collect();
                places.extend(new);
            }
        }
    }

    /// Notes which rejected rows are followed under this suspect's key. False: all of them are
    /// followed under another.
    pub(super) fn follow_rejected(&mut self, suspect: &Suspect) -> bool {
        let leads = self.spec.leads;
        let sides = [(leads.leader(), &suspect.leader), (leads.follower(), &suspect.follower)];
        let mut mine = None;
        for (side, state) in sides {
            if !matches!(state, State::Unmappable(_)) {
                continue;
            }
            let places = match side {
                Side::Source => &suspect.source_at,
                Side::Target => &suspect.target_at,
            };
            for at in places {
                let followed = self.rejected.follow(side, at, &suspect.key);
                mine = Some(mine.unwrap_or(false) || followed);
            }
        }
        mine.unwrap_or(true)
    }

    /// The rows of this key are rejected no longer, or nobody follows them.
    pub(super) fn forget_rejected(&mut self, key: &Key) {
        let followed = self.suspects.contains_key(key) || self.by_key.contains_key(key);
        if !followed {
            self.rejected.forget(key);
        }
    }

    fn enqueue(&mut self, step: &mut Step<'_>, suspect: Suspect) {
        step.decision.commit.suspects.push(suspect.clone());
        self.due.insert((suspect.due, suspect.key.clone()));
        self.suspects.insert(suspect.key.clone(), suspect);
        self.status_changed = true;
    }

    /// When the leader wrote what it holds, if its declared version says so.
    fn written(&self, key: &Key, leader: &State, now: Moment) -> Option<Moment> {
        match leader {
            State::Present(facets) if self.spec.version_is_time(key) => {
                version_moment(facets.version).filter(|written| *written <= now)
            }
            State::Present(_)
            | State::Absent
            | State::Excluded
            | State::Duplicate(_)
            | State::Unmappable(_) => None,
        }
    }

    /// What a check says of the follower's progress: the newest version that it holds.
    pub(super) fn note_progress(&mut self, now: Moment, outcome: &Outcome) {
        if !self.spec.has_times() {
            return;
        }
        let reading = match self.spec.leads.follower() {
            Side::Source => &outcome.source,
            Side::Target => &outcome.target,
        };
        if let Some(newest) = version_moment(reading.newest).filter(|newest| *newest <= now) {
            self.lag.moved(newest);
        }
    }

    /// The follower was seen to hold something new.
    fn follower_moved(&mut self, now: Moment, key: &Key, follower: &State) {
        let applied = match follower {
            // What it holds now may have been written long ago.
            State::Present(facets) if self.spec.version_is_time(key) => {
                version_moment(facets.version)
            }
            State::Present(_)
            | State::Absent
            | State::Excluded
            | State::Duplicate(_)
            | State::Unmappable(_) => Some(now),
        };
        if let Some(applied) = applied.filter(|applied| *applied <= now) {
            self.lag.moved(applied);
        }
    }

    /// A look ended.
    pub(super) fn looked(&mut self, step: &mut Step<'_>, look: u64, result: Look) {
        let Some((began, keys)) = self.looks.remove(&look) else { return };
        for key in &keys {
            self.flying.remove(key);
        }
        self.count_costs(result.source_cost, result.target_cost);
        let nothing = result.sightings.is_empty() && !result.unread.is_empty();
        let outage =
            result.unread.iter().map(|(_, fault)| fault).find(|fault| fault.code.is_outage());
        let waits = outage.cloned().is_some_and(|fault| self.waits_for(step, &fault));
        if nothing && !waits {
            self.failed(step);
        }
        // A row that no entity is known of is looked at on one side only.
        if result.sightings.iter().any(|sighting| !sighting.key.is_of_row()) {
            self.answered(step);
        }
        self.status.unread += result.unread.len() as u64;
        if let Some((key, fault)) = result.unread.first() {
            step.decision.notes.push(Note::Unread {
                pairing: self.spec.name.clone(),
                scope: format!("{} keys looked at again", result.unread.len()),
                key: Some(key.clone()),
                fault: fault.clone(),
            });
        }
        for (key, fault) in &result.unread {
            let gone = fault.code == FaultCode::PlaceGone;
            if gone {
                let ids = self.by_key.get(key).into_iter();
                for id in ids.flat_map(|ids| ids.difference(&self.anew)) {
                    self.gone.entry(*id).or_insert(step.now);
                }
            }
            self.look_failed(step, key, fault);
        }
        for sighting in &result.sightings {
            let follower = self.sides(sighting).1;
            if self.suspects.get(&sighting.key).is_some_and(|known| known.follower != *follower) {
                self.follower_moved(step.now, &sighting.key, follower);
            }
        }
        // What this look says of the follower as a whole comes before what it says of single keys.
        self.weigh_lag_now(step);
        for sighting in result.sightings {
            match self.suspects.remove(&sighting.key) {
                // A check saw the key meanwhile; what was read before that says nothing of it.
                Some(suspect) if began < suspect.last_look => {
                    self.postpone_findings(step, &suspect.key);
                    self.suspects.insert(suspect.key.clone(), suspect);
                }
                Some(suspect) => {
                    self.due.remove(&(suspect.due, suspect.key.clone()));
                    self.judge(step, suspect, &sighting, began);
                }
                None => self.found_again(step, &sighting),
            }
        }
    }

    fn look_failed(&mut self, step: &mut Step<'_>, key: &Key, fault: &Fault) {
        let gone = fault.code == FaultCode::PlaceGone;
        match self.suspects.get_mut(key) {
            Some(suspect) => {
                self.due.remove(&(suspect.due, key.clone()));
                if fault.code.is_outage() && step.until == Until::Stopped {
                    // It was not tried, and is looked at as soon as the store answers.
                    suspect.due = step.now;
                    self.due.insert((suspect.due, key.clone()));
                    return;
                }
                settle::failed(suspect, step.now, &self.spec.settle);
                let ends = gone || step.until == Until::OnePass;
                let spent = suspect.failed >= self.spec.plan.tries.get() || fault.code.is_outage();
                if ends && spent {
                    // A single pass does not wait for ever for a store. And a key that is gone from
                    // its place is met by the next pass, or by none.
                    let Some(suspect) = self.suspects.remove(key) else { return };
                    let what = format!("{}; {}", fault.what, fault.remedy);
                    let why = (Why::Unread, what, Some(fault.code));
                    self.let_go_of(step, &suspect, why);
                    self.decided(step, suspect.check, key.clone(), false);
                    return;
                }
                step.decision.commit.suspects.push(suspect.clone());
                self.due.insert((suspect.due, key.clone()));
            }
            None => self.postpone_findings(step, key),
        }
    }

    fn judge(&mut self, step: &mut Step<'_>, suspect: Suspect, sighting: &Sighting, began: Moment) {
        let now = step.now;
        let sides = self.sides(sighting);
        let check = suspect.check;
        let key = suspect.key.clone();
        let circumstances = LookedAt {
            began,
            now,
            settings: &self.spec.settle,
            observed: self.lag.recent(),
            paused: self.lag.paused(now, &self.spec.settle),
        };
        match settle::looked(suspect, sighting, sides, &circumstances) {
            Verdict::Acquitted { healed } => {
                if let Some(healed) = healed {
                    self.lag.healed(now, &healed, &self.spec.settle);
                }
                self.status.acquitted += 1;
                self.judged(step, &Unjudged::Key(key.clone()));
                self.decided(step, check, key, false);
                self.found_again(step, sighting);
            }
            Verdict::Condemned { suspect, charges } => {
                self.condemn(step, &suspect, charges);
                self.judged(step, &Unjudged::Key(key.clone()));
                self.decided(step, check, key, true);
            }
            Verdict::Unsettled(suspect) => {
                let (why, what) = self.moving(suspect.first_seen);
                self.let_go_of(step, &suspect, (why, what, None));
                self.decided(step, check, key, false);
            }
            Verdict::Again(mut suspect) => {
                let written = self.written(&suspect.key, &suspect.leader, now);
                suspect.leader_changed = suspect.leader_changed.max(written);
                self.enqueue(step, suspect);
            }
        }
    }

    /// A suspect could not be judged.
    fn let_go_of(
        &mut self,
        step: &mut Step<'_>,
        suspect: &Suspect,
        (why, what, fault): (Why, String, Option<FaultCode>),
    ) {
        let subject = Unjudged::Key(suspect.key.clone());
        let (first_seen, looks) = (suspect.first_seen, suspect.looks);
        self.let_go(step, LetGo { subject, entities: 1, first_seen, looks, why, what, fault });
    }

    /// A suspect is decided; with the last one of its check, the check is.
    fn decided(&mut self, step: &mut Step<'_>, check: u64, key: Key, drift: bool) {
        self.forget_rejected(&key);
        step.decision.commit.decided.push((self.spec.name.clone(), key));
        self.status_changed = true;
        self.decided_of(step, check, drift);
    }

    /// A suspect or a crowd of a check is decided.
    pub(super) fn decided_of(&mut self, step: &mut Step<'_>, check: u64, drift: bool) {
        if let Some((left, any)) = self.undecided.get_mut(&check) {
            *left = left.saturating_sub(1);
            *any |= drift;
            if *left == 0 {
                let drift = *any;
                self.undecided.remove(&check);
                step.decision.notes.push(Note::Decided { check, drift });
            }
        }
    }

    /// Weighs the evidence of lag, at most once a second.
    pub(super) fn weigh_lag(&mut self, step: &mut Step<'_>) {
        let second = std::time::Duration::from_secs(1);
        let quiet = self.suspects.is_empty() && self.lag.since().is_none();
        if !quiet && step.now.since(self.weighed) >= second {
            self.weigh_lag_now(step);
        }
    }

    /// Weighs the evidence of lag.
    pub(super) fn weigh_lag_now(&mut self, step: &mut Step<'_>) {
        self.weighed = step.now;
        if self.waits_for_stores() {
            return;
        }
        let (unseen_until, progress) = (self.unseen_until, self.lag.progress());
        let unread = step.now.since(self.read_at);
        let changes = self.suspects.values().filter_map(|suspect| suspect.leader_changed);
        // While nothing can be read, nothing can be seen to arrive: that time does not count.
        let changes = changes
            .filter(|change| *change > progress)
            .map(|change| change.max(unseen_until).after(unread));
        let pairing = self.spec.name.clone();
        match self.lag.weigh(step.now, changes, &self.spec.settle) {
            Some(LagChange::Opened { lag, evidence }) => {
                let lag_micros = u64::try_from(lag.as_micros()).unwrap_or(u64::MAX);
                step.happened(Happening::Lagging { pairing, lag_micros, evidence });
                self.status_changed = true;
            }
            Some(LagChange::Closed { lasted }) => {
                let lasted_micros = u64::try_from(lasted.as_micros()).unwrap_or(u64::MAX);
                step.happened(Happening::CaughtUp { pairing, lasted_micros });
                self.status_changed = true;
            }
            None => {}
        }
    }
}

/// Whether a key that a check of an overlapping partition saw lies in this one, as far as is known:
/// what is not known to lie there is told on its own.
pub(super) fn lies_in(partition: &Partition, sighting: &Sighting) -> bool {
    match partition.extent {
        Extent::Range(range) => sighting.cuts.iter().any(|cut| range.holds(*cut)),
        Extent::Segment { .. } => true,
    }
}

/// Adds places to those where a key is looked at, as far as there is room. Whether there was any new.
fn add_places(known: &mut Vec<StoreKey>, met: &[StoreKey]) -> bool {
    let room = PLACES_MAX.saturating_sub(known.len());
    let new: Vec<_> = met.iter().filter(|at| !known.contains(at)).take(room).cloned().collect();
    known.extend(new.iter().cloned());
    !new.is_empty()
}

/// A version that is a point in time.
fn version_moment(version: Option<Version>) -> Option<Moment> {
    let micros = version?.0.to_integer()?;
    i64::try_from(micros).ok().map(Moment)
}
