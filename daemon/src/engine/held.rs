//! Pairings of the configuration that cannot be begun.
//!
//! Owns what is known of them until they can be: findings stand and count, coverage is as old as it is.
//! Refuses to read anything of them. Invariant: a pairing that cannot be begun is told as unread, and
//! nothing that was known of it is resolved, superseded or let go because of that.

use crate::engine::pairing::Pairing;
use crate::engine::{Engine, Step};
use crate::model::{Fault, Finding, Happening, Incident, PairingStatus, Saved};

use super::Spec;

/// A pairing that cannot be begun.
#[derive(Debug)]
pub(super) struct Held {
    saved: Saved,
    status: PairingStatus,
    fault: Fault,
}

impl Held {
    /// What `saved` holds of the pairing of this name.
    fn new(pairing: &str, saved: &Saved, fault: Fault) -> Self {
        let saved = of(pairing, saved);
        let known = saved.status.first().cloned();
        let mut status = known.unwrap_or_else(|| PairingStatus {
            pairing: pairing.to_owned(),
            ..PairingStatus::default()
        });
        status.not_begun = Some(fault.what.clone());
        Self { saved, status, fault }
    }

    pub(super) const fn status(&self) -> &PairingStatus {
        &self.status
    }

    /// What was found of it before, and stands.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.saved.findings.iter()
    }

    /// Says that it is not read.
    pub(super) fn start(&mut self, step: &mut Step<'_>) {
        let (pairing, code) = (self.status.pairing.clone(), self.fault.code);
        if self.status.incidents.insert(Incident { partition: None, code }) {
            let (partition, fault) = (None, self.fault.clone());
            step.happened(Happening::Unread { pairing, partition, fault, tries: 1 });
        }
        step.decision.commit.status.push(self.status.clone());
    }
}

/// The part of `saved` that is of this pairing.
fn of(pairing: &str, saved: &Saved) -> Saved {
    Saved {
        status: saved.status.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        passes: saved.passes.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        findings: saved.findings.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        suspects: saved.suspects.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        unsettled: saved.unsettled.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        crowds: saved.crowds.iter().filter(|one| one.pairing == pairing).cloned().collect(),
        suspect_partitions: saved
            .suspect_partitions
            .iter()
            .filter(|one| one.pairing == pairing)
            .cloned()
            .collect(),
        ..Saved::default()
    }
}

impl Engine {
    /// As [`Engine::new`], with pairings of the configuration that cannot be begun, and why.
    #[must_use]
    pub fn with_held(
        settings: super::Settings,
        held: Vec<(String, Fault)>,
        saved: Saved,
        now: crate::model::Moment,
    ) -> Self {
        let each = held.into_iter().map(|(pairing, fault)| Held::new(&pairing, &saved, fault));
        let held: Vec<Held> = each.collect();
        let mut engine = Self::new(settings, saved, now);
        for one in &held {
            engine.removed.keep(&one.status.pairing);
        }
        engine.held = held;
        engine
    }
}

/// Pairings that were held can be begun: each goes on from what was known of it, at the next position.
pub(super) fn join(
    step: &mut Step<'_>,
    (pairings, held): (&mut Vec<Pairing>, &mut Vec<Held>),
    specs: Vec<Spec>,
) {
    for spec in specs {
        let known = held.iter().position(|one| one.status.pairing == spec.name);
        let saved = known.map(|at| held.remove(at)).map_or_else(Saved::default, |held| {
            // As it is told now, with the incident that is over when both stores have answered.
            Saved { status: vec![held.status], ..held.saved }
        });
        let mut pairing = Pairing::new(spec, &saved, step.now);
        pairing.start(step);
        pairings.push(pairing);
    }
}
