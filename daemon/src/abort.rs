//! When the migration must stop.
//!
//! Owns criteria over what was confirmed, and their settings. Refuses to fire anything. Invariant: a
//! criterion trips once, and stays tripped until a person resets it.

use std::collections::BTreeSet;

use crate::model::{CriterionState, DriftKind, Finding, Moment, Severity};

/// What a trip does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its hooks fire.
    Armed,
    /// It is recorded and reported; no hook fires.
    DryRun,
}

/// The abort criteria.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What a trip does.
    pub mode: Mode,
    /// The criteria.
    pub criteria: Vec<Criterion>,
}

/// A condition under which the migration must stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// Its name.
    pub name: String,
    /// The pairing it watches; none: all together.
    pub pairing: Option<String>,
    /// What it watches for.
    pub condition: Condition,
    /// Names of the hooks that fire when it trips, in this order.
    pub hooks: Vec<String>,
}

/// What a criterion watches for. Counts are of findings that were confirmed since it was armed, are
/// open, and are not ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// At least so many entities with drift of one of these kinds.
    Drift {
        /// The kinds that count.
        kinds: BTreeSet<DriftKind>,
        /// The count at which it trips.
        at_least: u64,
    },
    /// At least so many violations of this severity or a worse one.
    Violations {
        /// The least severity that counts.
        severity: Severity,
        /// The count at which it trips.
        at_least: u64,
    },
}

impl Criterion {
    /// The count at which it trips.
    #[must_use]
    pub const fn at_least(&self) -> u64 {
        match &self.condition {
            Condition::Drift { at_least, .. } | Condition::Violations { at_least, .. } => *at_least,
        }
    }

    /// How much a finding of this pairing adds to the count.
    fn weight(&self, pairing: &str, what: &Counted) -> u64 {
        if self.pairing.as_ref().is_some_and(|watched| watched != pairing) {
            return 0;
        }
        let counts = match &self.condition {
            Condition::Drift { kinds, .. } => kinds.contains(&what.kind),
            Condition::Violations { severity, .. } => {
                what.severity.is_some_and(|found| found >= *severity)
            }
        };
        if counts { what.entities } else { 0 }
    }
}

/// A finding as criteria count it: one that is open, and not ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The kind of drift.
    pub kind: DriftKind,
    /// Of a violation, how bad it is.
    pub severity: Option<Severity>,
    /// How many entities it is about.
    pub entities: u64,
    /// When it was confirmed.
    pub confirmed: Moment,
}

impl From<&Finding> for Counted {
    fn from(finding: &Finding) -> Self {
        Self {
            kind: finding.kind,
            severity: finding.invariant.as_ref().map(|(_, severity)| *severity),
            entities: finding.entities(),
            confirmed: finding.confirmed,
        }
    }
}

/// Counts what a criterion watches among `findings` at `now`, and says whether it trips: it is armed
/// and its count is reached. The state is brought up to date.
pub fn evaluate<'a>(
    criterion: &Criterion,
    state: &mut CriterionState,
    findings: impl Iterator<Item = &'a Finding>,
    now: Moment,
) -> bool {
    state.count = findings
        .filter(|finding| finding.counts(now) && finding.confirmed >= state.armed)
        .map(|finding| criterion.weight(&finding.pairing, &Counted::from(finding)))
        .fold(0, u64::saturating_add);
    trips(criterion, state, now)
}

/// The same without walking over all findings: what counts since the criterion was evaluated last, and
/// what no longer does, each with its pairing. It must have been armed then as it is now.
pub fn evaluate_changes<'a>(
    criterion: &Criterion,
    state: &mut CriterionState,
    changes: impl Iterator<Item = (&'a str, bool, Counted)>,
    now: Moment,
) -> bool {
    for (pairing, counts, what) in changes.filter(|(_, _, what)| what.confirmed >= state.armed) {
        let weight = criterion.weight(pairing, &what);
        state.count = match counts {
            true => state.count.saturating_add(weight),
            false => state.count.saturating_sub(weight),
        };
    }
    trips(criterion, state, now)
}

fn trips(criterion: &Criterion, state: &mut CriterionState, now: Moment) -> bool {
    state.at_least = criterion.at_least();
    let trips = state.tripped.is_none() && state.count >= state.at_least;
    if trips {
        state.tripped = Some(now);
        state.trips += 1;
    }
    trips
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FindingStatus, Key, MappingIdentity, Subject};

    fn finding(pairing: &str, kind: DriftKind, confirmed: i64) -> Finding {
        Finding {
            id: 1,
            pairing: pairing.to_owned(),
            identity: MappingIdentity(0),
            subject: Subject::Key(Key(Box::from(&b"k"[..]))),
            entity: None,
            kind,
            side: None,
            fields: Vec::new(),
            cosmetic: Vec::new(),
            invariant: (kind == DriftKind::Violation).then(|| ("i".to_owned(), Severity::Error)),
            message: None,
            labels: std::collections::BTreeMap::new(),
            source_digest: None,
            target_digest: None,
            source_at: Vec::new(),
            target_at: Vec::new(),
            check: 1,
            first_seen: Moment(0),
            confirmed: Moment(confirmed),
            last_seen: Moment(0),
            due: Moment(0),
            looks: 3,
            status: FindingStatus::Open,
            ignored_until: None,
        }
    }

    fn drift(at_least: u64) -> Condition {
        Condition::Drift { kinds: BTreeSet::from([DriftKind::Missing, DriftKind::Stale]), at_least }
    }

    #[test]
    fn a_criterion_counts_what_it_watches_and_trips_once() {
        let resolved = Finding {
            status: FindingStatus::Resolved(Moment(1)),
            ..finding("a", DriftKind::Missing, 10)
        };
        let ignored =
            Finding { ignored_until: Some(Moment(200)), ..finding("a", DriftKind::Missing, 10) };
        let findings = [
            finding("a", DriftKind::Missing, 10),
            finding("a", DriftKind::Stale, 10),
            finding("b", DriftKind::Missing, 10),
            finding("a", DriftKind::Mismatch, 10),
            finding("a", DriftKind::Violation, 10),
            finding("a", DriftKind::Missing, 4),
            resolved,
            ignored,
        ];
        let severe = |severity| Condition::Violations { severity, at_least: 1 };
        for (pairing, condition, now, count, trips) in [
            (None, drift(3), 100, 3, true),
            (None, drift(4), 100, 3, false),
            (None, drift(4), 200, 4, true),
            (Some("a"), drift(3), 100, 2, false),
            (Some("b"), drift(1), 100, 1, true),
            (None, severe(Severity::Warning), 100, 1, true),
            (None, severe(Severity::Critical), 100, 0, false),
        ] {
            let criterion = Criterion {
                name: "c".to_owned(),
                pairing: pairing.map(str::to_owned),
                condition,
                hooks: Vec::new(),
            };
            let mut state = CriterionState {
                name: "c".to_owned(),
                trips: 0,
                tripped: None,
                armed: Moment(5),
                count: 0,
                at_least: 0,
                dry_run: false,
            };
            assert_eq!(evaluate(&criterion, &mut state, findings.iter(), Moment(now)), trips);
            assert_eq!(state.count, count, "{criterion:?}");
            assert!(!evaluate(&criterion, &mut state, findings.iter(), Moment(now)), "latched");
        }
    }
}
