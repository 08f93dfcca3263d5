//! A pairing goes on under another mapping.
//!
//! Owns when the mapping is exchanged, and what becomes of what was known. Refuses to keep anything
//! that holds under the old one, but that findings stand until they are judged anew: the pairing begins
//! as after a restart with another plugin. Invariant: the exchange happens while nothing of the pairing
//! is in flight, and all that follows from it is in one commit; so nothing that was mapped one way is
//! ever held against what was mapped another.

#[cfg(test)]
mod tests;

use crate::engine::crowds::Crowding;
use crate::engine::pairing::Pairing;
use crate::engine::rules::Doubt;
use crate::engine::{Spec, Step};
use crate::model::{Note, Saved};

impl Pairing {
    /// From now on nothing is begun under the present mapping.
    pub(super) fn remap(&mut self, spec: Spec) {
        self.next = Some(Box::new(spec));
    }

    /// Exchanges the mapping, if one waits and nothing is in flight.
    pub(super) fn take_mapping(&mut self, step: &mut Step<'_>, index: usize) {
        // What is stopping begins nothing; the next start reads the configuration anew.
        if step.draining || self.is_reading() || self.phase.splitting() > 0 {
            return;
        }
        let Some(spec) = self.next.take() else { return };
        for (check, (_, drift)) in &self.undecided {
            step.decision.notes.push(Note::Decided { check: *check, drift: *drift });
        }
        let mut fresh = Self::new(*spec, &self.saved(), step.now);
        fresh.start(step);
        *self = fresh;
        step.decision.remapped.push(index);
    }

    /// What the journal holds of it. Its pass is left out: another mapping begins its own.
    fn saved(&self) -> Saved {
        Saved {
            suspects: self.suspects.values().cloned().collect(),
            crowds: self.crowds.iter().map(Crowding::crowd).cloned().collect(),
            suspect_partitions: self.doubts.iter().map(Doubt::kept).cloned().collect(),
            unsettled: self.unsettled.iter().cloned().collect(),
            findings: self.findings.values().cloned().collect(),
            status: vec![self.status.clone()],
            ..Saved::default()
        }
    }
}
