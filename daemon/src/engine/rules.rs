//! Rules over whole partitions: sums, counts, uniqueness.
//!
//! Owns the partitions that are suspect for a rule, their re-scans, and the findings that come of them.
//! Refuses single keys, and to weigh what a rule says. Invariant: a scan speaks for a rule only if all
//! of the partition was read and whatever differed in it is confirmed drift already; a rule is
//! condemned only if it was broken, with nothing moving that it counts, over at least three such scans
//! that span the window; and one that was never judged is counted as unsettled.

use std::collections::BTreeSet;

use crate::engine::crowds::{Sort, Told, overlap, sort_of, without};
use crate::engine::findings::is_field_drift;
use crate::engine::pairing::{Pairing, Purpose};
use crate::engine::passes::covered;
use crate::engine::suspects::lies_in;
use crate::engine::unsettled::LetGo;
use crate::engine::{Step, Until};
use crate::model::{
    Broken, DriftKind, Extent, Finding, Happening, Key, Member, Moment, Note, Outcome, Partition,
    Ruled, Side, Sighting, State, StoreKey, Subject, SuspectPartition, SuspectRule, Unjudged,
    Verdict, Why,
};
use crate::settle::{self, Origin};

/// Partitions of a pairing that are suspect for rules at once; what comes beyond waits for the next
/// pass.
const DOUBTS_MAX: usize = 1_000;
/// Scans over which a rule must be broken with nothing moving that it counts.
const LOOKS_MIN: u32 = 3;
/// Scans at which rules spoke, and scans at which they did not, after either of which a partition is
/// let go as unsettled.
const SCANS_MAX: u32 = 12;

/// Why a rule could not be judged, and in words.
type Untold = (Why, String);

/// Something of the partition was unread.
fn unread() -> Untold {
    (Why::Unread, "something of the partition was unread".to_owned())
}

/// Something of it differs and is not decided.
fn differs() -> Untold {
    (Why::Differs, "entities of the partition differ and are not settled".to_owned())
}

/// What it counts never stands still.
fn moves() -> Untold {
    (Why::Moving, "what it counts never stood still".to_owned())
}

/// There is no room.
fn crowded() -> Untold {
    let what = format!("{DOUBTS_MAX} partitions of this pairing are suspect for rules already");
    (Why::Crowded, what)
}

/// It is being judged on a part of the partition, and nothing is known of the rest.
fn beyond() -> Untold {
    let what = "the rule is being judged on a part of the partition; nothing is known of the rest";
    (Why::Differs, what.to_owned())
}

/// A partition that is suspect for rules.
#[derive(Debug)]
pub(super) struct Doubt {
    kept: SuspectPartition,
    in_flight: bool,
}

impl Doubt {
    /// As the journal holds it.
    pub(super) const fn resumed(kept: SuspectPartition) -> Self {
        Self { kept, in_flight: false }
    }

    /// What it is about.
    pub(super) const fn partition(&self) -> Partition {
        self.kept.partition
    }

    /// What of it outlives the process.
    pub(super) const fn kept(&self) -> &SuspectPartition {
        &self.kept
    }

    /// Nothing could be seen until `now`: from here on rules must be broken with nothing moving.
    pub(super) fn unseen(&mut self, now: Moment) {
        for broken in self.kept.rules.iter_mut().filter_map(|rule| rule.broken.as_mut()) {
            (broken.since, broken.looks) = (now, 0);
        }
    }

    fn is_about(&self, invariant: usize) -> bool {
        self.kept.rules.iter().any(|rule| rule.invariant == invariant)
    }
}

/// A rule that was seen broken now, for the first time or with something moved since.
fn broken(ruled: &Ruled, words: &[String], now: Moment) -> SuspectRule {
    let words = words.first().cloned().unwrap_or_default();
    let broken = Broken { state: ruled.state, since: now, looks: 1, words };
    SuspectRule { invariant: ruled.invariant, broken: Some(broken) }
}

/// A rule that has said nothing yet.
const fn silent(invariant: usize) -> SuspectRule {
    SuspectRule { invariant, broken: None }
}

/// The verdict on this rule, if it was asked.
fn verdict_on(invariant: usize, outcome: &Outcome) -> Option<&Ruled> {
    outcome.rules.iter().find(|ruled| ruled.invariant == invariant)
}

impl Pairing {
    /// A pass's check of `partition` ended; what differed in it was taken in.
    pub(super) fn ruled(
        &mut self,
        step: &mut Step<'_>,
        (partition, check): (Partition, u64),
        outcome: &Outcome,
    ) {
        // What was unread is tried again by the pass, and given up as unread.
        if outcome.rules.is_empty() || !outcome.unread.is_empty() {
            return;
        }
        let speaks = self.speaks(step.now, partition, outcome).is_ok();
        let mut rules = Vec::new();
        for ruled in &outcome.rules {
            let rule = match &ruled.verdict {
                Verdict::Broken(words) if speaks => broken(ruled, words, step.now),
                Verdict::Holds if speaks => continue,
                Verdict::Broken(_) | Verdict::Holds | Verdict::Unknown(_) => {
                    silent(ruled.invariant)
                }
            };
            // What another mapping said of the rule is judged with it.
            self.meet_anew(step.now, partition, &[DriftKind::Violation]);
            let judged = self.doubted(partition, ruled.invariant).map(|doubted| {
                // Of the part beyond what is being judged nothing was learnt.
                !without(partition, doubted).is_empty()
            });
            if let Some(id) = self.rule_finding(partition, ruled.invariant) {
                if let (Some(_), Some(finding)) = (&rule.broken, self.findings.get_mut(&id)) {
                    finding.last_seen = step.now;
                }
            } else if let Some(lies_beyond) = judged {
                if lies_beyond {
                    let first_seen = step.now;
                    self.unsettled(step, (partition, first_seen, 0), &[rule], beyond());
                }
            } else {
                rules.push(rule);
            }
        }
        self.doubt(step, (partition, check), rules);
    }

    /// The partition becomes suspect for these rules.
    fn doubt(
        &mut self,
        step: &mut Step<'_>,
        (partition, check): (Partition, u64),
        rules: Vec<SuspectRule>,
    ) {
        if rules.is_empty() {
            return;
        }
        let same = self.doubts.iter_mut().find(|doubt| doubt.partition() == partition);
        if let Some(Doubt { kept, .. }) = same {
            kept.rules.extend(rules);
            (kept.looks, kept.silent) = (1, 0);
            step.decision.commit.suspect_partitions.push(kept.clone());
            return;
        }
        if self.doubts.len() >= DOUBTS_MAX {
            return self.unsettled(step, (partition, step.now, 1), &rules, crowded());
        }
        let kept = SuspectPartition {
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            partition,
            check,
            first_seen: step.now,
            due: step.now.after(self.spec.settle.first_wait * 2),
            looks: 1,
            silent: 0,
            failed: 0,
            rules,
        };
        step.decision.commit.suspect_partitions.push(kept.clone());
        self.undecided.entry(check).or_insert((0, false)).0 += 1;
        self.doubts.push(Doubt { kept, in_flight: false });
    }

    /// These rules are let go without a verdict: the next pass meets them again. Of the partition, since
    /// when it is suspect, and after how many scans.
    fn unsettled(
        &mut self,
        step: &mut Step<'_>,
        (partition, first_seen, looks): (Partition, Moment, u32),
        rules: &[SuspectRule],
        (why, what): Untold,
    ) {
        for rule in rules {
            let subject = self.rule_on(partition, rule.invariant);
            let (what, fault) = (what.clone(), None);
            let gone = LetGo { subject, entities: 1, first_seen, looks, why, what, fault };
            self.let_go(step, gone);
        }
    }

    fn rule_on(&self, partition: Partition, invariant: usize) -> Unjudged {
        let def = self.spec.invariants.get(invariant);
        Unjudged::Rule { partition, invariant: def.map(|def| def.id.clone()).unwrap_or_default() }
    }

    /// Scans due partitions again.
    pub(super) fn start_doubts(&mut self, step: &mut Step<'_>, index: usize) {
        for at in 0..self.doubts.len() {
            let Doubt { kept, in_flight } = &self.doubts[at];
            let (partition, due) = (kept.partition, kept.due);
            if *in_flight {
                continue;
            }
            if due > step.now {
                step.wake(due);
            } else if self.has_room_to_settle(step) {
                self.doubts[at].in_flight = true;
                self.start_settling(step, index, partition, Purpose::Rules);
            }
        }
    }

    /// A partition that is suspect for rules was scanned again.
    pub(super) fn doubt_checked(
        &mut self,
        step: &mut Step<'_>,
        partition: Partition,
        (check, began): (u64, Moment),
        outcome: &Outcome,
    ) {
        step.decision.notes.push(Note::Decided { check, drift: false });
        self.status.unread += outcome.unread.len() as u64;
        let at = self.doubts.iter().position(|doubt| doubt.partition() == partition);
        let Some(at) = at else { return };
        self.weigh_lag_now(step);
        let outage = outcome.outage().cloned();
        if outage.as_ref().is_some_and(|fault| self.waits_for(step, fault)) {
            self.doubts[at].in_flight = false;
            return;
        }
        let Doubt { mut kept, .. } = self.doubts.remove(at);
        if let Some(rest) = outcome.rest.filter(|_| outcome.unread.is_empty()) {
            self.cut(step, &mut kept, rest);
        }
        let mut why = self.speaks(step.now, kept.partition, outcome);
        kept.failed = match (&outage, outcome.unread.is_empty()) {
            // A single pass does not try again what is not there.
            (Some(_), _) => self.spec.plan.tries.get(),
            (None, false) => kept.failed + 1,
            (None, true) => 0,
        };
        let mut ripe = Vec::new();
        if why.is_ok() {
            why = self.advance(step, &mut kept, outcome);
        }
        match &why {
            Ok(()) => {
                kept.looks += 1;
                ripe = self.take_ripe(step.now, began, &mut kept, outcome);
            }
            Err(_) => kept.silent += 1,
        }
        let drift = !ripe.is_empty();
        for rule in ripe {
            self.condemn_rule(step, &kept, rule);
        }
        self.go_on_doubting(step, kept, (why.err().unwrap_or_else(moves), drift));
    }

    /// The partition is scanned again later, unless all of its rules are decided or it was tried often
    /// enough.
    fn go_on_doubting(
        &mut self,
        step: &mut Step<'_>,
        mut kept: SuspectPartition,
        (why, drift): (Untold, bool),
    ) {
        let settings = &self.spec.settle;
        let spent = kept.looks >= SCANS_MAX || kept.silent >= SCANS_MAX;
        // A single pass does not wait for ever for a store.
        let failing = kept.failed >= self.spec.plan.tries.get() && step.until == Until::OnePass;
        let over = failing || spent && !self.lag.paused(step.now, settings);
        if !kept.rules.is_empty() && !over {
            let scans = (kept.looks + kept.silent - 1).min(16);
            let wait = settings.first_wait * 2u32.saturating_pow(scans);
            let longest = settings.wait_max.min(settings.window(self.lag.recent()));
            kept.due = step.now.after(wait.min(longest));
            step.decision.commit.suspect_partitions.push(kept.clone());
            self.doubts.push(Doubt { kept, in_flight: false });
            return;
        }
        let scans = (kept.partition, kept.first_seen, kept.looks + kept.silent);
        self.unsettled(step, scans, &kept.rules, why);
        self.status_changed = true;
        let decided = (self.spec.name.clone(), kept.partition);
        step.decision.commit.decided_partitions.push(decided);
        self.decided_of(step, kept.check, drift);
    }

    /// The partition has become too large to be checked at once: what lies beyond is suspect on its
    /// own, and nothing is known of it.
    fn cut(&mut self, step: &mut Step<'_>, kept: &mut SuspectPartition, rest: Extent) {
        let decided = (self.spec.name.clone(), kept.partition);
        step.decision.commit.decided_partitions.push(decided);
        let beyond = Partition { extent: rest, ..kept.partition };
        kept.partition = covered(kept.partition, Some(rest));
        let rules = kept.rules.iter().map(|rule| silent(rule.invariant)).collect();
        self.doubt(step, (beyond, kept.check), rules);
    }

    /// Takes in what rules said at a scan that speaks. The error is why none of them did.
    fn advance(
        &mut self,
        step: &mut Step<'_>,
        kept: &mut SuspectPartition,
        outcome: &Outcome,
    ) -> Result<(), Untold> {
        let now = step.now;
        let (mut spoke, mut why) = (false, None);
        for mut rule in std::mem::take(&mut kept.rules) {
            match verdict_on(rule.invariant, outcome) {
                Some(Ruled { verdict: Verdict::Holds, .. }) => {
                    spoke = true;
                    self.status.acquitted += u64::from(rule.broken.is_some());
                    self.judged(step, &self.rule_on(kept.partition, rule.invariant));
                    continue;
                }
                Some(ruled @ Ruled { verdict: Verdict::Broken(words), .. }) => {
                    spoke = true;
                    let known = rule.broken.take().filter(|known| known.state == ruled.state);
                    rule = broken(ruled, words, now);
                    if let (Some(known), Some(fresh)) = (known, &mut rule.broken) {
                        (fresh.since, fresh.looks) = (known.since, known.looks + 1);
                    }
                }
                Some(Ruled { verdict: Verdict::Unknown(words), .. }) => why = Some(words.clone()),
                None => {}
            }
            kept.rules.push(rule);
        }
        for ruled in &outcome.rules {
            let Verdict::Broken(words) = &ruled.verdict else { continue };
            let known = kept.rules.iter().any(|rule| rule.invariant == ruled.invariant)
                || self.rule_finding(kept.partition, ruled.invariant).is_some()
                || self.doubted(kept.partition, ruled.invariant).is_some();
            if !known {
                kept.rules.push(broken(ruled, words, now));
            }
        }
        let silent = || (Why::Silent, why.unwrap_or_else(|| "it was not asked".to_owned()));
        if spoke { Ok(()) } else { Err(silent()) }
    }

    /// Takes out the rules that were broken long enough, this scan included.
    fn take_ripe(
        &self,
        now: Moment,
        began: Moment,
        kept: &mut SuspectPartition,
        outcome: &Outcome,
    ) -> Vec<SuspectRule> {
        if self.lag.paused(now, &self.spec.settle) {
            return Vec::new();
        }
        let window = self.spec.settle.window(self.lag.recent());
        let ripe = |rule: &mut SuspectRule| {
            let seen = verdict_on(rule.invariant, outcome)
                .is_some_and(|ruled| matches!(ruled.verdict, Verdict::Broken(_)));
            let stood =
                |broken: &Broken| broken.looks >= LOOKS_MIN && began.since(broken.since) >= window;
            seen && rule.broken.as_ref().is_some_and(stood)
        };
        kept.rules.extract_if(.., ripe).collect()
    }

    fn condemn_rule(&mut self, step: &mut Step<'_>, kept: &SuspectPartition, rule: SuspectRule) {
        if let Some(id) = self.rule_finding(kept.partition, rule.invariant) {
            return self.postpone(id, step.now);
        }
        let Some(broken) = rule.broken else { return };
        self.judged(step, &self.rule_on(kept.partition, rule.invariant));
        let def = self.spec.invariants.get(rule.invariant);
        // A rule without words of its own is told by what it demands.
        let summary = def.map(|def| def.summary.clone()).unwrap_or_default();
        let words = if broken.words.is_empty() { summary } else { broken.words };
        let of_rule =
            |one: &&Finding| one.is_of_rule() && self.rule_of(one) == Some(rule.invariant);
        let same = self.anew_on(kept.partition).find(of_rule).map(|finding| finding.id);
        step.numbers.finding += u64::from(same.is_none());
        let subject =
            Subject::Partition { partition: kept.partition, entities: 1, sample: Vec::new() };
        let finding = Finding {
            entity: self.spec.shared(&[], u64::MAX),
            invariant: def.map(|def| (def.id.clone(), def.severity)),
            message: Some(words),
            looks: broken.looks,
            ..self.of_partition(step, subject, DriftKind::Violation, (kept.check, kept.first_seen))
        };
        if let Some(id) = same {
            return self.confirm_anew(step, id, finding);
        }
        *self.status.confirmed.entry(finding.kind).or_insert(0) += 1;
        step.decision.commit.findings.push(finding.clone());
        step.happened(Happening::Confirmed(finding.clone()));
        self.keep(finding.clone());
        step.decision.notes.push(Note::Confirmed(vec![finding]));
        self.counts_changed = true;
    }

    /// The partition of a rule's finding was checked again.
    pub(super) fn rule_rechecked(&mut self, step: &mut Step<'_>, id: u64, outcome: &Outcome) {
        self.status.unread += outcome.unread.len() as u64;
        let Some(finding) = self.findings.get(&id) else { return };
        let Subject::Partition { partition, .. } = finding.subject else { return };
        let speaks = self.speaks(step.now, covered(partition, outcome.rest), outcome).is_ok();
        let rule = self.rule_of(finding).and_then(|rule| verdict_on(rule, outcome));
        match (rule.map(|ruled| &ruled.verdict).filter(|_| speaks), outcome.rest) {
            (Some(Verdict::Holds), None) => self.resolve(step, id),
            (Some(Verdict::Holds), Some(rest)) => {
                // It was broken beyond, if anywhere.
                self.shrink(step, id, rest, true);
                self.recheck_at(id, step.now, step.now);
            }
            (Some(Verdict::Broken(_)), Some(rest)) => {
                self.shrink(step, id, rest, false);
                self.postpone(id, step.now);
            }
            (Some(Verdict::Broken(_)), None) => self.postpone(id, step.now),
            (Some(Verdict::Unknown(_)) | None, _) => self.postpone(id, step.now),
        }
        self.counts_changed = true;
    }

    /// A partition with rows of this one that is suspect for this rule.
    fn doubted(&self, partition: Partition, invariant: usize) -> Option<Partition> {
        let of =
            |doubt: &&Doubt| doubt.is_about(invariant) && overlap(doubt.partition(), partition);
        self.doubts.iter().find(of).map(Doubt::partition)
    }

    /// Rules that have not spoken since their partition became suspect.
    pub(super) fn silent_rules(&self) -> u64 {
        let rules = self.doubts.iter().flat_map(|doubt| &doubt.kept.rules);
        rules.filter(|rule| rule.broken.is_none()).count() as u64
    }

    /// The open finding that tells of this rule on a part of `partition`.
    fn rule_finding(&self, partition: Partition, invariant: usize) -> Option<u64> {
        let tells =
            |finding: &&Finding| finding.is_of_rule() && self.rule_of(finding) == Some(invariant);
        self.findings_on(partition).find(tells).map(|finding| finding.id)
    }

    fn rule_of(&self, finding: &Finding) -> Option<usize> {
        let (id, _) = finding.invariant.as_ref()?;
        self.spec.invariants.iter().position(|known| known.id == *id)
    }

    /// Whether a scan of `partition` speaks for its rules; if not, why.
    fn speaks(&self, now: Moment, partition: Partition, outcome: &Outcome) -> Result<(), Untold> {
        if !outcome.unread.is_empty() {
            return Err(unread());
        }
        // What the other direction tells is not named here, so nobody knows whether it is settled.
        let mut crowds = self.crowds.iter();
        let crowded = crowds.any(|crowding| overlap(crowding.partition(), partition));
        if crowded || outcome.told_elsewhere > 0 {
            return Err(differs());
        }
        let settled = match &outcome.crowd {
            Some(members) => members.is_empty() || self.are_settled(partition, members),
            None if outcome.suspects.is_empty() => true,
            None => {
                let told = self.told_in(partition);
                outcome.suspects.iter().all(|sighting| self.is_settled(now, sighting, &told))
            }
        };
        if settled { Ok(()) } else { Err(differs()) }
    }

    /// Whether findings tell all that is wrong with a key.
    fn is_settled(&self, now: Moment, sighting: &Sighting, told: &[Told]) -> bool {
        let key = self.followed_as(sighting).unwrap_or(&sighting.key);
        if self.suspects.contains_key(key) || self.suspects.contains_key(&sighting.key) {
            return false;
        }
        let origin = Origin { pairing: &self.spec.name, identity: self.spec.identity, check: 0 };
        let sides = self.sides(sighting);
        let suspect = settle::suspect(&origin, sighting, sides, now, &self.spec.settle);
        let ids = self.by_key.get(key).into_iter().flat_map(|ids| ids.difference(&self.anew));
        let findings: Vec<&Finding> = ids.filter_map(|id| self.findings.get(id)).collect();
        settle::charges(&suspect).iter().all(|charge| {
            findings.iter().any(|finding| self.tells(finding, charge))
                || told_as_whole(told, sort_of(charge), sighting)
        })
    }

    /// The key under which a row is followed that the mapping rejects.
    fn followed_as(&self, sighting: &Sighting) -> Option<&Key> {
        let rejected = |side: Side| {
            let is_rejected = matches!(sighting.state(side), State::Unmappable(_));
            let places: &[StoreKey] = if is_rejected { sighting.places(side) } else { &[] };
            places.iter().find_map(|at| self.rejected.key(side, at))
        };
        rejected(Side::Source).or_else(|| rejected(Side::Target))
    }

    /// Whether findings tell of all members of a crowd.
    fn are_settled(&self, partition: Partition, members: &[Member]) -> bool {
        let settling: BTreeSet<u64> = self.suspects.keys().map(Key::short).collect();
        let told = self.told_in(partition);
        let as_a_whole = |sort: Sort| {
            let mut left = vec![partition];
            for told in told.iter().filter(|told| alike(told.sort) == sort) {
                left = left.into_iter().flat_map(|whole| without(whole, told.partition)).collect();
            }
            left.is_empty()
        };
        members.iter().all(|member| {
            let sort = alike((member.kind, member.invariant));
            let told = self.singles.tell(member.key, sort) || as_a_whole(sort);
            told && !settling.contains(&member.key)
        })
    }
}

/// Drift of fields is of one sort here: witnesses alone tell its kinds apart.
pub(super) fn alike(sort: Sort) -> Sort {
    if sort.0 == DriftKind::Stale { (DriftKind::Mismatch, sort.1) } else { sort }
}

/// Whether findings of parts of its partition as a whole tell this of the key.
pub(super) fn told_as_whole(told: &[Told], sort: Sort, sighting: &Sighting) -> bool {
    told.iter().any(|told| {
        let alike = told.sort == sort || is_field_drift(told.sort.0, sort.0);
        alike && (told.all || lies_in(&told.partition, sighting))
    })
}

#[cfg(test)]
mod tests;
