//! Rules over a whole partition.
//!
//! Owns feeding accumulators with the pairs of a check, window by window, and what they say at its end.
//! Refuses to judge: whether what differs is settled, the engine knows. Invariant: a rule holds, or is
//! broken, only if every pair of the partition was read and counted; else nothing is said of it.

use crate::check::plugin_fault;
use crate::check::tell::{PAIRS_MAX, first};
use crate::check::window::{Tells, Window};
use crate::compare::Comparison;
use crate::model::{Fault, FaultCode, Ruled, Scope, SpanKind, Verdict};
use crate::plugin::Tally;

/// Snapshots of one rule that are kept before they are merged.
const STATES_MAX: usize = 16;

/// What rules have counted so far, by their positions among the invariants.
#[derive(Debug, Default)]
pub(super) struct Accumulated {
    rules: Vec<Counting>,
    /// Bytes of all their snapshots.
    bytes: usize,
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
            let fed = self.session.tally(invariant, tally);
            let kept = match fed {
                Ok(tallied) => self.keep(at, tallied.state),
                Err(error) => Err(plugin_fault(None, &error)),
            };
            if let Err(fault) = kept {
                self.fail(at, fault);
            }
        }
    }

    /// Keeps a snapshot of a rule, and merges what it has when that is much.
    fn keep(&mut self, at: usize, state: Vec<u8>) -> Result<(), Fault> {
        let most = self.context.share.snapshots();
        let Accumulated { rules, bytes } = &mut self.accumulated;
        let Counting { invariant, states, .. } = &mut rules[at];
        *bytes += state.len();
        states.push(state);
        if states.len() < STATES_MAX && *bytes as u64 <= most {
            return Ok(());
        }
        let merged = self.session.tally(*invariant, &Tally::States(states));
        let merged = merged.map_err(|error| plugin_fault(None, &error))?.state;
        *bytes -= states.iter().map(Vec::len).sum::<usize>();
        *bytes += merged.len();
        *states = vec![merged];
        if *bytes as u64 <= most {
            return Ok(());
        }
        let id = &self.context.mapper.invariants()[*invariant].id;
        Err(Fault {
            side: None,
            what: format!(
                "the rules over a partition keep {bytes} bytes of snapshots, at most {most} \
                 in one check; the last was of invariant `{id}`"
            ),
            remedy:
                "have accumulators keep sums, of which there are few, and not what was summed, \
                     make partitions smaller (`partition_rows`), or raise `checks.memory`"
                    .to_owned(),
            code: FaultCode::PluginOutput,
        })
    }

    fn fail(&mut self, at: usize, fault: Fault) {
        let Accumulated { rules, bytes } = &mut self.accumulated;
        let counting = &mut rules[at];
        counting.failed = true;
        *bytes -= std::mem::take(&mut counting.states).iter().map(Vec::len).sum::<usize>();
        let id = &self.context.mapper.invariants()[counting.invariant].id;
        let scope = format!("invariant `{id}` over the partition");
        self.unread(scope, None, fault);
    }

    /// Says of every rule over the partition whether it holds. The last thing that a check does.
    pub(super) fn rule(&mut self) {
        for at in 0..self.accumulated.rules.len() {
            let invariant = self.accumulated.rules[at].invariant;
            let states = std::mem::take(&mut self.accumulated.rules[at].states);
            self.accumulated.bytes -= states.iter().map(Vec::len).sum::<usize>();
            let tallied = match self.accumulated.rules[at].failed {
                true => None,
                false => match self.session.tally(invariant, &Tally::States(&states)) {
                    Ok(tallied) => Some(tallied),
                    Err(error) => {
                        self.fail(at, plugin_fault(None, &error));
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
