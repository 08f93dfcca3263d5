//! Planted against found.
//!
//! Owns the comparison of what was planted with what driftd said, entity by entity and kind by kind.
//! Refuses to round: a finding too many is as wrong as one too few, also one that went away again.
//! Invariant: they agree only if every planted fault has exactly one open finding of its kind, and
//! there is no other.

use std::collections::BTreeMap;

use super::faults::Fault;
use crate::model::{DriftKind, Finding, FindingStatus, Key, Subject};

/// A fault that was planted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planted {
    pub(super) fault: Fault,
    pub(super) key: Key,
}

impl Planted {
    pub(super) const fn new(fault: Fault, key: Key) -> Self {
        Self { fault, key }
    }
}

/// The comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// For each kind of which something was planted or found.
    pub(super) rows: BTreeMap<DriftKind, Row>,
    /// Planted and not found.
    pub(super) missed: Vec<Planted>,
    /// Found and not planted.
    pub(super) unplanned: Vec<Finding>,
}

/// One kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) faults: BTreeMap<Fault, u64>,
    pub(super) planted: u64,
    pub(super) found: u64,
    pub(super) not_found: u64,
    pub(super) not_planted: u64,
}

impl Verdict {
    /// Compares what was planted with everything that was ever confirmed.
    pub(super) fn new<'a>(
        planted: &[Planted],
        confirmed: impl Iterator<Item = &'a Finding>,
    ) -> Self {
        let mut verdict = Self::default();
        let mut open: BTreeMap<(DriftKind, &Key), Vec<&Planted>> = BTreeMap::new();
        for each in planted {
            let row = verdict.rows.entry(each.fault.kind()).or_default();
            row.planted += 1;
            *row.faults.entry(each.fault).or_default() += 1;
            open.entry((each.fault.kind(), &each.key)).or_default().push(each);
        }
        for finding in confirmed {
            let row = verdict.rows.entry(finding.kind).or_default();
            row.found += finding.entities();
            let expected = match &finding.subject {
                Subject::Key(key) if finding.status == FindingStatus::Open => {
                    open.get_mut(&(finding.kind, key)).and_then(Vec::pop)
                }
                Subject::Key(_) | Subject::Partition { .. } => None,
            };
            if expected.is_none() {
                row.not_planted += finding.entities();
                verdict.unplanned.push(finding.clone());
            }
        }
        for missed in open.into_values().flatten() {
            verdict.rows.entry(missed.fault.kind()).or_default().not_found += 1;
            verdict.missed.push(missed.clone());
        }
        verdict
    }

    /// Whether planted equals found.
    pub(super) const fn agrees(&self) -> bool {
        self.missed.is_empty() && self.unplanned.is_empty()
    }

    /// The sum over all kinds.
    pub(super) fn total(&self) -> Row {
        self.rows.values().fold(Row::default(), |sum, row| Row {
            faults: BTreeMap::new(),
            planted: sum.planted + row.planted,
            found: sum.found + row.found,
            not_found: sum.not_found + row.not_found,
            not_planted: sum.not_planted + row.not_planted,
        })
    }
}
