//! Findings: confirmed drift, until it goes away.
//!
//! Owns making findings, recognising what is known already, looking at open ones again, and counting.
//! Refuses to confirm: only a condemned suspect or crowd comes here. Invariant: a lasting difference
//! is one finding and is told once, with its kind; a finding is resolved only by a look that saw both
//! sides agree, or by a whole pass that did not meet what is gone from its place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::engine::Step;
use crate::engine::crowds::overlap;
use crate::engine::pairing::{Pairing, Purpose};
use crate::engine::passes::covered;
use crate::engine::rules::alike;
use crate::model::{
    Asked, DriftKind, Extent, Finding, FindingStatus, Happening, Key, Moment, Note, Outcome,
    Partition, Side, Sighting, State, StoreKey, Subject, Suspect,
};
use crate::settle::{self, Charge, Charged, Origin};

/// Wait before an open finding is looked at again; doubles with its age.
const RECHECK_MIN: Duration = Duration::from_secs(15);
const RECHECK_MAX: Duration = Duration::from_secs(10 * 60);

/// What was left of a partition's finding at one look; held of one finding at a time.
#[derive(Debug)]
pub(super) struct Residue {
    finding: u64,
    /// When the look ended.
    seen: Moment,
    /// Keys that differ, and what both sides held.
    left: BTreeMap<u64, u64>,
}

impl Pairing {
    /// Keeps an open finding.
    pub(super) fn keep(&mut self, finding: Finding) {
        self.index(&finding);
        // What another mapping said of a partition is decided by a pass.
        match &finding.subject {
            Subject::Key(_) => self.finding_due.insert((finding.due, finding.id)),
            Subject::Partition { .. } => {
                !self.is_anew(&finding) && self.partition_due.insert((finding.due, finding.id))
            }
        };
        if let Subject::Key(key) = &finding.subject {
            self.by_key.entry(key.clone()).or_default().insert(finding.id);
            self.told.insert(key.short());
        }
        self.findings.insert(finding.id, finding);
    }

    /// Counts a finding, and lets it be found by what it tells.
    fn index(&mut self, finding: &Finding) {
        let (id, anew) = (finding.id, self.is_anew(finding));
        self.tally.add(finding, anew);
        self.counts_changed = true;
        if anew {
            self.anew.insert(id);
        }
        match &finding.subject {
            Subject::Partition { partition, .. } if anew => self.anew_on.insert(*partition, id),
            Subject::Partition { partition, .. } => self.of_partitions.insert(*partition, id),
            Subject::Key(_) if anew => {}
            Subject::Key(key) => {
                let sort = alike(self.sort(finding));
                self.singles.add(key.short(), sort);
                for (side, at) in rejected(finding) {
                    self.singles.add(Key::of_row(side, at).short(), sort);
                    self.rejected.follow(side, at, key);
                }
            }
        }
    }

    /// Undoes [`Self::index`]; what is followed is let go with the last that speaks of its key.
    fn unindex(&mut self, finding: &Finding) {
        let (id, anew) = (finding.id, self.is_anew(finding));
        self.tally.remove(finding, anew);
        self.counts_changed = true;
        self.anew.remove(&id);
        match &finding.subject {
            Subject::Partition { partition, .. } if anew => self.anew_on.remove(*partition, id),
            Subject::Partition { partition, .. } => self.of_partitions.remove(*partition, id),
            Subject::Key(_) if anew => {}
            Subject::Key(key) => {
                let sort = alike(self.sort(finding));
                self.singles.remove(key.short(), sort);
                for (side, at) in rejected(finding) {
                    self.singles.remove(Key::of_row(side, at).short(), sort);
                }
            }
        }
    }

    /// Changes what is counted of a finding, or where it lies.
    fn edit(&mut self, id: u64, change: impl FnOnce(&mut Finding)) -> Option<&Finding> {
        let mut finding = self.findings.remove(&id)?;
        self.unindex(&finding);
        change(&mut finding);
        self.index(&finding);
        self.findings.insert(id, finding);
        self.findings.get(&id)
    }

    /// The open findings of partitions with rows of this one.
    pub(super) fn findings_on(&self, partition: Partition) -> impl Iterator<Item = &Finding> {
        let near = self.of_partitions.near(partition).into_iter();
        let findings = near.filter_map(|id| self.findings.get(&id));
        findings.filter(move |finding| match &finding.subject {
            Subject::Partition { partition: known, .. } => overlap(*known, partition),
            Subject::Key(_) => false,
        })
    }

    pub(super) fn drop_finding(&mut self, id: u64) -> Option<Finding> {
        if self.residue.as_ref().is_some_and(|residue| residue.finding == id) {
            self.residue = None;
        }
        self.gone.remove(&id);
        let finding = self.findings.remove(&id)?;
        self.unindex(&finding);
        self.finding_due.remove(&(finding.due, id));
        self.partition_due.remove(&(finding.due, id));
        if let Subject::Key(key) = &finding.subject
            && let Some(ids) = self.by_key.get_mut(key)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_key.remove(key);
                self.told.remove(&key.short());
            }
        }
        Some(finding)
    }

    /// Adds due findings of single keys to a look.
    pub(super) fn due_findings(&mut self, now: Moment, asked: &mut Vec<Asked>, limit: usize) {
        while asked.len() < limit
            && let Some(entry) = self.finding_due.first().copied().filter(|(due, _)| *due <= now)
        {
            let Some((finding, key)) = self.findings.get(&entry.1).and_then(|finding| {
                let Subject::Key(key) = &finding.subject else { return None };
                Some((finding, key))
            }) else {
                self.finding_due.remove(&entry);
                continue;
            };
            if self.suspects.contains_key(key)
                || self.anew.contains(&entry.1) && !self.has_room_for_anew()
            {
                // Its verdict tells of the finding, too; unless it ends unsettled.
                self.postpone(entry.1, now);
                continue;
            }
            self.finding_due.remove(&entry);
            if asked.iter().all(|asked| asked.key != *key) {
                asked.push(Asked {
                    key: key.clone(),
                    source_at: finding.source_at.clone(),
                    target_at: finding.target_at.clone(),
                });
            }
        }
    }

    /// Checks the partitions of due findings again, one at a time.
    pub(super) fn start_rechecks(&mut self, step: &mut Step<'_>, index: usize) {
        let running =
            self.checks.values().any(|(_, purpose)| matches!(purpose, Purpose::Recheck(_)));
        if running || step.until == crate::engine::Until::OnePass {
            return;
        }
        let due = self.partition_due.first().and_then(|(due, id)| {
            match self.findings.get(id).map(|finding| &finding.subject) {
                Some(Subject::Partition { partition, .. }) => Some((*due, *id, *partition)),
                Some(Subject::Key(_)) | None => None,
            }
        });
        match due {
            Some((due, id, partition)) if due <= step.now && self.has_room_to_settle(step) => {
                self.partition_due.remove(&(due, id));
                self.start_settling(step, index, partition, Purpose::Recheck(id));
            }
            Some((due, ..)) => step.wake(due),
            None => {}
        }
    }

    /// Whether open findings say of this key all that is wrong with it. If so they were seen again.
    pub(super) fn is_known(&mut self, now: Moment, suspect: &Suspect) -> bool {
        let Some(ids) = self.by_key.get(&suspect.key) else { return false };
        let charges = settle::charges(suspect);
        let known = charges.iter().all(|charge| {
            ids.iter()
                .filter_map(|id| self.findings.get(id))
                .any(|finding| !self.is_anew(finding) && self.tells(finding, charge))
        });
        for id in ids.intersection(&self.anew) {
            // It is judged with this suspect.
            if let Some(finding) = self.findings.get_mut(id) {
                finding.last_seen = now;
            }
        }
        if known {
            for id in ids {
                if let Some(finding) = self.findings.get_mut(id) {
                    finding.last_seen = now;
                }
            }
        }
        known
    }

    /// Whether the finding tells what the charge does. A field more or less is the same finding; an
    /// older copy and a wrong one are told apart only with witnesses, so they count as the same here.
    pub(super) fn tells(&self, finding: &Finding, charge: &Charge) -> bool {
        match &charge.what {
            Charged::Invariant(at) => {
                let id = self.spec.invariants.get(*at).map(|invariant| invariant.id.as_str());
                finding.invariant.as_ref().map(|(id, _)| id.as_str()) == id
            }
            Charged::Fields(_) => {
                matches!(finding.kind, DriftKind::Mismatch | DriftKind::Stale)
            }
            Charged::Presence { .. } => finding.kind == charge.kind,
        }
    }

    /// A condemned suspect becomes findings.
    pub(super) fn condemn(&mut self, step: &mut Step<'_>, suspect: &Suspect, charges: Vec<Charge>) {
        let mut confirmed = Vec::new();
        for charge in charges {
            let ids = self.by_key.get(&suspect.key).cloned().unwrap_or_default();
            let about = |finding: &Finding| match charge.what {
                Charged::Invariant(_) => self.tells(finding, &charge),
                Charged::Fields(_) | Charged::Presence { .. } => finding.invariant.is_none(),
            };
            let about = |id: &&u64| self.findings.get(id).is_some_and(about);
            let own = ids.difference(&self.anew).find(about);
            let open = own.or_else(|| ids.intersection(&self.anew).find(about)).copied();
            match open {
                Some(id) if self.anew.contains(&id) => {
                    let fresh = self.finding(id, step.now, suspect, &charge);
                    self.confirm_anew(step, id, fresh);
                }
                Some(id) => self.change(step, id, suspect, &charge),
                None => {
                    step.numbers.finding += 1;
                    let finding = self.finding(step.numbers.finding, step.now, suspect, &charge);
                    *self.status.confirmed.entry(finding.kind).or_insert(0) += 1;
                    step.decision.commit.findings.push(finding.clone());
                    step.happened(Happening::Confirmed(finding.clone()));
                    self.keep(finding.clone());
                    confirmed.push(finding);
                }
            }
        }
        if !confirmed.is_empty() {
            step.decision.notes.push(Note::Confirmed(confirmed));
        }
        self.counts_changed = true;
    }

    /// An open finding was condemned anew: it may be of another kind by now.
    fn change(&mut self, step: &mut Step<'_>, id: u64, suspect: &Suspect, charge: &Charge) {
        let Some(old) = self.drop_finding(id) else { return };
        let fresh = self.finding(id, step.now, suspect, charge);
        let finding = Finding {
            confirmed: old.confirmed,
            first_seen: old.first_seen,
            check: old.check,
            ignored_until: old.ignored_until,
            ..fresh
        };
        step.decision.commit.findings.push(finding.clone());
        if finding.kind != old.kind {
            step.happened(Happening::Changed { finding: finding.clone(), was: old.kind });
        }
        self.keep(finding);
    }

    fn finding(&self, id: u64, now: Moment, suspect: &Suspect, charge: &Charge) -> Finding {
        let leads = self.spec.leads;
        let fields: Vec<String> = match &charge.what {
            Charged::Fields(fields) => self.spec.names(&suspect.key, fields),
            Charged::Presence { .. } | Charged::Invariant(_) => Vec::new(),
        };
        let side = match (&charge.what, charge.kind) {
            (Charged::Presence { leader }, DriftKind::Duplicate | DriftKind::Unmappable) => {
                Some(if *leader { leads.leader() } else { leads.follower() })
            }
            _ => None,
        };
        let (invariant, message) = match charge.what {
            Charged::Invariant(at) => (
                self.spec.invariants.get(at).map(|def| (def.id.clone(), def.severity)),
                suspect
                    .violations
                    .iter()
                    .find(|violation| violation.invariant == at)
                    .map(|violation| violation.message.clone()),
            ),
            Charged::Presence { .. } | Charged::Fields(_) => (None, suspect.reason.clone()),
        };
        let digest = |state: &State| match state {
            State::Present(facets) => Some(facets.entity),
            State::Duplicate(digest) | State::Unmappable(digest) => Some(*digest),
            State::Absent | State::Excluded => None,
        };
        let (source, target) = match leads.leader() {
            Side::Source => (&suspect.leader, &suspect.follower),
            Side::Target => (&suspect.follower, &suspect.leader),
        };
        let (mut source_at, mut target_at) = (suspect.source_at.clone(), suspect.target_at.clone());
        if charge.kind == DriftKind::Unexpected {
            // Where the leader would keep it nothing is, and places that are named exist.
            match leads.leader() {
                Side::Source => source_at.clear(),
                Side::Target => target_at.clear(),
            }
        }
        let cosmetic =
            suspect.cosmetic.iter().filter(|name| fields.contains(name)).cloned().collect();
        Finding {
            id,
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            subject: Subject::Key(suspect.key.clone()),
            entity: self.spec.entity(&suspect.key).map(|entity| entity.name.clone()),
            kind: charge.kind,
            side,
            fields,
            cosmetic,
            invariant,
            message,
            labels: suspect.labels.clone(),
            source_digest: digest(source),
            target_digest: digest(target),
            source_at,
            target_at,
            check: suspect.check,
            first_seen: suspect.first_seen,
            confirmed: now,
            last_seen: now,
            due: now.after(RECHECK_MIN),
            looks: suspect.looks,
            status: FindingStatus::Open,
            ignored_until: None,
        }
    }

    /// A key with open findings was looked at again.
    pub(super) fn found_again(&mut self, step: &mut Step<'_>, sighting: &Sighting) {
        let Some(ids) = self.by_key.get(&sighting.key).cloned() else { return };
        let anew: Vec<u64> = ids.intersection(&self.anew).copied().collect();
        let ids: BTreeSet<u64> = ids.difference(&self.anew).copied().collect();
        if !anew.is_empty() {
            self.looked_at_anew(step, &anew, sighting);
        }
        if sighting.agrees() && sighting.steady {
            for id in ids {
                self.resolve(step, id);
            }
            self.counts_changed = true;
            return;
        }
        let origin = Origin { pairing: &self.spec.name, identity: self.spec.identity, check: 0 };
        let sides = self.sides(sighting);
        let suspect = settle::suspect(&origin, sighting, sides, step.now, &self.spec.settle);
        let charges = settle::charges(&suspect);
        let (standing, gone): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(|id| {
            self.findings
                .get(id)
                .is_some_and(|finding| charges.iter().any(|charge| self.tells(finding, charge)))
        });
        for id in &standing {
            self.postpone(*id, step.now);
        }
        let unknown = charges.iter().any(|charge| {
            !standing
                .iter()
                .any(|id| self.findings.get(id).is_some_and(|finding| self.tells(finding, charge)))
        });
        for id in gone {
            // Another difference on the same key must settle first; then the finding changes.
            if unknown || !sighting.steady {
                self.postpone(id, step.now);
            } else {
                self.resolve(step, id);
            }
        }
        if unknown {
            self.suspected(step, 0, sighting, &[]);
        }
        self.counts_changed = true;
    }

    /// Open findings of a key that could not be looked at are looked at later.
    pub(super) fn postpone_findings(&mut self, step: &Step<'_>, key: &Key) {
        for id in self.by_key.get(key).cloned().unwrap_or_default() {
            self.postpone(id, step.now);
        }
    }

    pub(super) fn postpone(&mut self, id: u64, now: Moment) {
        let Some(finding) = self.findings.get(&id) else { return };
        let age = now.since(finding.confirmed);
        self.recheck_at(id, now, now.after(age.clamp(RECHECK_MIN, RECHECK_MAX)));
    }

    /// A finding that waits is looked at again now.
    pub(super) fn recheck_soon(&mut self, id: u64, now: Moment) {
        let waits = self.findings.get(&id).is_some_and(|finding| {
            let due = (finding.due, id);
            let waits = self.finding_due.contains(&due) || self.partition_due.contains(&due);
            finding.due > now && waits
        });
        if waits && self.residue.as_ref().is_none_or(|residue| residue.finding != id) {
            self.recheck_at(id, now, now);
        }
    }

    /// A finding is looked at again then.
    pub(super) fn recheck_at(&mut self, id: u64, now: Moment, due: Moment) {
        let anew = self.anew.contains(&id);
        let Some(finding) = self.findings.get_mut(&id) else { return };
        let dues = match finding.subject {
            Subject::Key(_) => &mut self.finding_due,
            Subject::Partition { .. } => &mut self.partition_due,
        };
        dues.remove(&(finding.due, id));
        // Of what another mapping found, that says when a check of this one met it.
        if !anew {
            finding.last_seen = now;
        }
        finding.due = due;
        dues.insert((due, id));
    }

    pub(super) fn resolve(&mut self, step: &mut Step<'_>, id: u64) {
        let Some(mut finding) = self.drop_finding(id) else { return };
        finding.status = FindingStatus::Resolved(step.now);
        if let Subject::Key(key) = finding.subject.clone() {
            self.forget_rejected(&key);
        }
        self.status.resolved += finding.entities();
        step.decision.commit.findings.push(finding.clone());
        step.happened(Happening::Resolved(finding));
    }

    /// A pass that `began` then has read everything. What it did not meet of keys that were gone
    /// before is not there any more, or is where both sides agree.
    pub(super) fn resolve_gone(&mut self, step: &mut Step<'_>, began: Moment) {
        let ids: Vec<u64> =
            self.gone.iter().filter(|(_, since)| **since <= began).map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        for id in ids {
            self.resolve(step, id);
        }
        self.counts_changed = true;
    }

    /// The partition of a finding was checked again. What differs may be in flight: that it has gone
    /// away, or become more or less, takes a second look which finds the same keys as they were.
    pub(super) fn rechecked(
        &mut self,
        step: &mut Step<'_>,
        id: u64,
        began: Moment,
        outcome: &Outcome,
    ) {
        let Some(finding) = self.findings.get(&id) else { return };
        if finding.is_of_rule() {
            return self.rule_rechecked(step, id, outcome);
        }
        self.status.unread += outcome.unread.len() as u64;
        let ((kind, invariant), known) = (self.sort(finding), finding.entities());
        let before = match self.residue.take() {
            Some(residue) if residue.finding == id => Some(residue),
            other => {
                self.residue = other;
                None
            }
        };
        let left: BTreeMap<u64, u64> = outcome
            .crowd
            .iter()
            .flatten()
            .filter(|member| member.kind == kind || is_field_drift(member.kind, kind))
            .filter(|member| member.invariant == invariant)
            .filter(|member| !self.told.contains(&member.key))
            .map(|member| (member.key, member.states))
            .collect();
        let window = self.spec.settle.window(self.lag.recent());
        let seen = left.len() as u64;
        // What could not be read may differ still, so there is no less than was known.
        let least = if outcome.unread.is_empty() { 0 } else { known };
        if let Some(rest) = outcome.rest {
            self.shrink(step, id, rest, seen.max(least) == 0);
        }
        if seen.max(least) == 0 && outcome.rest.is_some() {
            self.recheck_at(id, step.now, step.now);
        } else if seen.max(least) == 0 {
            self.resolve(step, id);
        } else if seen.max(least) == known {
            self.postpone(id, step.now);
        } else if let Some(before) = before.filter(|before| began.since(before.seen) >= window) {
            let still = left.iter().filter(|(key, states)| before.left.get(key) == Some(states));
            self.count_again(step, id, least.max(still.count() as u64));
        } else if self.residue.is_none() {
            self.residue = Some(Residue { finding: id, seen: step.now, left });
            self.recheck_at(id, step.now, step.now.after(window));
        } else {
            self.recheck_at(id, step.now, step.now.after(RECHECK_MIN));
        }
        self.counts_changed = true;
    }

    /// The partition of a finding has become too large to be checked at once. What was read is told
    /// of, and what lies beyond is left to the next pass; or, if nothing is wrong here any more, the
    /// other way round.
    pub(super) fn shrink(&mut self, step: &mut Step<'_>, id: u64, rest: Extent, clean: bool) {
        let finding = self.edit(id, |finding| {
            if let Subject::Partition { partition, .. } = &mut finding.subject {
                *partition = match clean {
                    true => Partition { extent: rest, ..*partition },
                    false => covered(*partition, Some(rest)),
                };
            }
        });
        step.decision.commit.findings.extend(finding.cloned());
    }

    /// So many entities of a partition's finding stood still.
    fn count_again(&mut self, step: &mut Step<'_>, id: u64, still: u64) {
        if still == 0 {
            return self.resolve(step, id);
        }
        if self.findings.get(&id).is_some_and(|finding| finding.entities() != still) {
            let finding = self.edit(id, |finding| {
                if let Subject::Partition { entities, .. } = &mut finding.subject {
                    *entities = still;
                }
            });
            step.decision.commit.findings.extend(finding.cloned());
        }
        self.postpone(id, step.now);
    }

    /// A person does not want a finding to count until then. The answer, if it is a finding of this
    /// pairing.
    pub(super) fn ignore(&mut self, step: &mut Step<'_>, id: u64, until: Moment) -> Option<String> {
        let finding = self.edit(id, |finding| finding.ignored_until = Some(until))?;
        step.decision.commit.findings.push(finding.clone());
        self.ignored_until(step.now);
        Some(format!("finding {id} is ignored"))
    }

    /// Findings that were ignored until now count again.
    pub(super) fn ignored_until(&mut self, now: Moment) {
        while let Some(finding) = self.tally.next_over(now).and_then(|id| self.findings.get(&id)) {
            let anew = self.is_anew(finding);
            self.tally.over(finding, anew);
            self.counts_changed = true;
        }
    }

    /// Puts what stands into the status.
    pub(super) fn recount(&mut self) {
        let (open, ignored, anew) = self.tally.counts();
        self.status.open.clone_from(open);
        (self.status.ignored, self.status.anew) = (ignored, anew);
        self.status_changed = true;
    }
}

/// Where the row lies that the mapping rejects, if that is what a finding tells.
fn rejected(finding: &Finding) -> impl Iterator<Item = (Side, &StoreKey)> {
    let side = finding.side.filter(|_| finding.kind == DriftKind::Unmappable);
    let places = side.map(|side| match side {
        Side::Source => (side, &finding.source_at),
        Side::Target => (side, &finding.target_at),
    });
    places.into_iter().flat_map(|(side, places)| places.iter().map(move |at| (side, at)))
}

/// Whether both are kinds of drift of fields, which witnesses alone tell apart.
pub(super) fn is_field_drift(one: DriftKind, two: DriftKind) -> bool {
    let of_fields = |kind| matches!(kind, DriftKind::Mismatch | DriftKind::Stale);
    of_fields(one) && of_fields(two)
}
