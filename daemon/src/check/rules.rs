//! Rules over a whole partition.
//!
//! Owns feeding accumulators with the pairs of a check, window by window, and what they say at its end.
//! Refuses to judge: whether what differs is settled, the engine knows. Invariant: a rule holds, or is
//! broken, only if every pair of the partition was read and counted; else nothing is said of it.

use crate::check::plugin_fault;
use crate::check::tell::{PAIRS_MAX, first};
use crate::check::window::{Tells, Window};
use crate::compare::Comparison;
use crate::model::{Ruled, Scope, SpanKind, Verdict};
use crate::plugin::{PluginError, Tally};

/// Snapshots of one rule that are kept before they are merged.
const STATES_MAX: usize = 16;

/// What rules have counted so far, by their positions among the invariants.
#[derive(Debug, Default)]
pub(super) struct Accumulated {
    rules: Vec<Counting>,
}

#[derive(Debug)]
struct Counting {
    invariant: usize,
    states: Vec<Vec<u8>>,
    /// Set once the plugin failed: then nothing can be said.
    failed: bool,
}

impl Window<'_> {
    /// Hands the pairs of a window to the rules over the partition.
    pub(super) fn accumulate(&mut self, comparison: &Comparison) {
        // Pairs are the affair of those who tell of the source.
        if self.tells == Tells::OfTarget {
            return;
        }
        if !self.context.has_rules(Scope::Partition) {
            return;
        }
        let invariants = self.context.mapper.invariants().iter().enumerate();
        let over = invariants.filter(|(_, invariant)| invariant.scope == Scope::Partition);
        if self.accumulated.rules.is_empty() {
            let counting =
                |(invariant, _)| Counting { invariant, states: Vec::new(), failed: false };
            self.accumulated.rules = over.map(counting).collect();
        }
        let single = comparison.differing.iter().filter(|it| it.0.len() <= 1 && it.1.len() <= 1);
        let pairs: Vec<(usize, usize)> =
            comparison.pairs.iter().copied().chain(single.map(first)).collect();
        let began = (self.context.clock)();
        for chunk in pairs.chunks(PAIRS_MAX) {
            for (entity, pairs) in self.by_type(chunk) {
                for paired in self.paired(entity, &pairs) {
                    self.count(&Tally::Pairs(&[paired.borrow()]));
                }
            }
        }
        self.span(SpanKind::Invariants, began, pairs.len() as u64);
    }

    /// Feeds every rule that has not failed.
    fn count(&mut self, tally: &Tally<'_>) {
        for at in 0..self.accumulated.rules.len() {
            let Counting { invariant, failed: false, .. } = self.accumulated.rules[at] else {
                continue;
            };
            let state = self.session.tally(invariant, tally).map(|tallied| tallied.state);
            let merged = state.and_then(|state| {
                let states = &mut self.accumulated.rules[at].states;
                states.push(state);
                if states.len() < STATES_MAX {
                    return Ok(());
                }
                let merged = self.session.tally(invariant, &Tally::States(states))?;
                *states = vec![merged.state];
                Ok(())
            });
            if let Err(error) = merged {
                self.fail(at, &error);
            }
        }
    }

    fn fail(&mut self, at: usize, error: &PluginError) {
        let counting = &mut self.accumulated.rules[at];
        counting.failed = true;
        let id = &self.context.mapper.invariants()[counting.invariant].id;
        let scope = format!("invariant `{id}` over the partition");
        self.unread(scope, None, plugin_fault(None, error));
    }

    /// Says of every rule over the partition whether it holds. The last thing that a check does.
    pub(super) fn rule(&mut self) {
        for at in 0..self.accumulated.rules.len() {
            let invariant = self.accumulated.rules[at].invariant;
            let states = std::mem::take(&mut self.accumulated.rules[at].states);
            let tallied = match self.accumulated.rules[at].failed {
                true => None,
                false => match self.session.tally(invariant, &Tally::States(&states)) {
                    Ok(tallied) => Some(tallied),
                    Err(error) => {
                        self.fail(at, &error);
                        None
                    }
                },
            };
            let unread = !self.outcome.unread.is_empty();
            let (state, verdict) = match tallied {
                Some(tallied) if !unread => {
                    let said = tallied.violations.into_iter().map(|it| it.message);
                    let said: Vec<String> = said.collect();
                    let verdict =
                        if said.is_empty() { Verdict::Holds } else { Verdict::Broken(said) };
                    (tallied.state, verdict)
                }
                Some(_) | None => {
                    let why = "something of the partition was unread".to_owned();
                    (Vec::new(), Verdict::Unknown(why))
                }
            };
            let state = self.context.canons[0].hash(&state);
            self.outcome.rules.push(Ruled { invariant, state, verdict });
        }
    }
}
