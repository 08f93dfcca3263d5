//! Criteria and the hooks that they fire.
//!
//! Owns the latches and the hook jobs. Refuses to run a hook, and to count: that is `abort`'s.
//! Invariant: a trip and its hook jobs are in one commit; a hook starts only when those before it in
//! the same trip succeeded or were recorded as failed; none starts after its success is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::abort::{self, Mode};
use crate::engine::tally::Change;
use crate::engine::{HookTiming, Job, Step};
use crate::model::{Answer, CriterionState, Finding, Happening, HookJob, HookState, Moment, Saved};

/// The longest wait between two tries of a hook.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Criteria, their latches, and hook jobs.
#[derive(Debug)]
pub(super) struct Criteria {
    settings: abort::Settings,
    timings: BTreeMap<String, HookTiming>,
    states: BTreeMap<String, CriterionState>,
    /// Those that the journal does not hold yet: since when they are armed must survive a restart.
    unsaved: BTreeSet<String>,
    /// Jobs that are neither succeeded nor cancelled, by number.
    jobs: BTreeMap<u64, HookJob>,
    running: BTreeSet<u64>,
    /// Since when each was armed as all findings were counted for it; from then on it follows changes.
    counted: BTreeMap<String, Moment>,
}

impl Criteria {
    pub(super) fn new(
        settings: abort::Settings,
        timings: Vec<HookTiming>,
        saved: &Saved,
        now: Moment,
    ) -> Self {
        let known = |name: &str| saved.criteria.iter().find(|state| state.name == name).cloned();
        let names = settings.criteria.iter().map(|criterion| criterion.name.clone());
        let unsaved = names.filter(|name| known(name).is_none()).collect();
        let states = settings.criteria.iter().map(|criterion| {
            let state = known(&criterion.name).unwrap_or_else(|| CriterionState {
                name: criterion.name.clone(),
                trips: 0,
                tripped: None,
                armed: now,
                count: 0,
                at_least: criterion.at_least(),
                dry_run: settings.mode == Mode::DryRun,
            });
            (criterion.name.clone(), state)
        });
        Self {
            states: states.collect(),
            unsaved,
            timings: timings.into_iter().map(|timing| (timing.name.clone(), timing)).collect(),
            jobs: saved.hooks.iter().map(|job| (job.id, job.clone())).collect(),
            running: BTreeSet::new(),
            counted: BTreeMap::new(),
            settings,
        }
    }

    /// The run begins, perhaps with other settings than the last one.
    pub(super) fn start(&mut self, step: &mut Step<'_>) {
        let dry_run = self.settings.mode == Mode::DryRun;
        for state in self.states.values_mut().filter(|state| state.dry_run != dry_run) {
            state.dry_run = dry_run;
            self.unsaved.insert(state.name.clone());
            if !dry_run && state.tripped.is_some() {
                self.counted.remove(&state.name);
                // Its hooks never fired; left latched, they never would.
                arm(state, step);
            }
        }
        let gone = |job: &&mut HookJob| {
            job.state == HookState::Pending && !self.timings.contains_key(&job.hook)
        };
        for job in self.jobs.values_mut().filter(gone) {
            job.state = HookState::Failed;
            job.last = Some("the configuration no longer has this hook".to_owned());
            step.decision.commit.hooks.push(job.clone());
            step.happened(Happening::HookFailed(job.clone()));
        }
    }

    /// The criteria.
    pub(super) fn states(&self) -> Vec<CriterionState> {
        self.states.values().cloned().collect()
    }

    /// Whether no hook waits or runs.
    pub(super) fn is_quiet(&self) -> bool {
        let waits = |job: &HookJob| job.state == HookState::Pending && self.may_fire(job);
        self.running.is_empty() && !self.jobs.values().any(waits)
    }

    /// Whether the mode lets it run.
    fn may_fire(&self, job: &HookJob) -> bool {
        job.test || self.settings.mode == Mode::Armed
    }

    /// Whether a hook runs.
    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// A pairing's findings are others now: all are counted again.
    pub(super) fn count_again(&mut self) {
        self.counted.clear();
    }

    /// Evaluates all criteria after these changes, each of a pairing. `findings` are all that count; they
    /// are walked over only where a criterion was armed anew.
    pub(super) fn evaluate<'a, I>(
        &mut self,
        step: &mut Step<'_>,
        changes: &[(String, Change)],
        findings: impl Fn() -> I,
    ) where
        I: Iterator<Item = &'a Finding>,
    {
        if changes.is_empty() && self.counted.len() == self.states.len() {
            return;
        }
        for criterion in self.settings.criteria.clone() {
            let Some(state) = self.states.get_mut(&criterion.name) else { continue };
            let before = state.clone();
            let trips = if self.counted.get(&criterion.name) == Some(&state.armed) {
                let changes = changes.iter();
                let changes =
                    changes.map(|(pairing, one)| (pairing.as_str(), one.counts, one.what));
                abort::evaluate_changes(&criterion, state, changes, step.now)
            } else {
                self.counted.insert(criterion.name.clone(), state.armed);
                abort::evaluate(&criterion, state, findings(), step.now)
            };
            let state = state.clone();
            if self.unsaved.remove(&criterion.name) || state != before {
                step.decision.commit.criteria.push(state.clone());
            }
            if trips {
                let armed = self.settings.mode == Mode::Armed;
                let hooks = criterion.hooks.clone();
                let occurrence = step.happened(Happening::Tripped {
                    criterion: state,
                    armed,
                    hooks: hooks.clone(),
                });
                if armed {
                    self.fire(step, &criterion.name, &hooks, (occurrence, false));
                }
            }
        }
    }

    fn fire(
        &mut self,
        step: &mut Step<'_>,
        criterion: &str,
        hooks: &[String],
        (occurrence, test): (u64, bool),
    ) {
        for hook in hooks {
            step.numbers.hook += 1;
            let job = HookJob {
                id: step.numbers.hook,
                hook: hook.clone(),
                criterion: criterion.to_owned(),
                occurrence,
                since: step.now,
                state: HookState::Pending,
                tries: 0,
                due: step.now,
                last: None,
                test,
            };
            step.decision.commit.hooks.push(job.clone());
            self.jobs.insert(job.id, job);
        }
    }

    /// Starts the jobs that are due and whose predecessors no longer hold them up.
    pub(super) fn start_due(&mut self, step: &mut Step<'_>) {
        if step.draining {
            return;
        }
        let mut started = Vec::new();
        for job in self.jobs.values() {
            let held_up = self.jobs.values().any(|other| {
                other.occurrence == job.occurrence
                    && other.id < job.id
                    && other.state == HookState::Pending
            });
            let same_hook = self
                .running
                .iter()
                .chain(&started)
                .any(|id| self.jobs.get(id).is_some_and(|running| running.hook == job.hook));
            let known = self.timings.contains_key(&job.hook);
            let free = known && self.may_fire(job) && !self.running.contains(&job.id);
            if held_up || same_hook || !free {
                continue;
            }
            if job.due > step.now {
                step.wake(job.due);
                continue;
            }
            started.push(job.id);
        }
        for id in started {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.tries += 1;
                self.running.insert(id);
                step.decision.commit.hooks.push(job.clone());
                step.decision.jobs.push(Job::Hook(job.clone()));
            }
        }
    }

    /// A hook ended.
    pub(super) fn hook_ended(
        &mut self,
        step: &mut Step<'_>,
        id: u64,
        success: bool,
        detail: String,
    ) {
        self.running.remove(&id);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.last = Some(detail);
        if success {
            job.state = HookState::Succeeded;
            let job = job.clone();
            self.jobs.remove(&id);
            step.decision.commit.hooks.push(job.clone());
            step.happened(Happening::HookSucceeded(job));
            return;
        }
        if job.test {
            // Who tests wants to know now, and tests again when it is mended.
            job.state = HookState::Cancelled;
            let job = job.clone();
            self.jobs.remove(&id);
            step.decision.commit.hooks.push(job.clone());
            step.happened(Happening::HookFailed(job));
            return;
        }
        let timing = self.timings.get(&job.hook);
        let backoff = timing.map_or(WAIT_MAX, |timing| timing.backoff);
        let deadline = timing.map_or(WAIT_MAX, |timing| timing.deadline);
        let wait = backoff * 2u32.saturating_pow(job.tries.saturating_sub(1).min(16));
        job.due = step.now.after(wait.min(WAIT_MAX));
        let exhausted = job.state == HookState::Pending && step.now.since(job.since) >= deadline;
        if exhausted {
            job.state = HookState::Failed;
        }
        step.decision.commit.hooks.push(job.clone());
        if exhausted {
            step.happened(Happening::HookFailed(job.clone()));
        }
    }

    /// A person arms a criterion again. Returns the answer.
    pub(super) fn reset(&mut self, step: &mut Step<'_>, criterion: &str) -> Answer {
        let Some(state) = self.states.get_mut(criterion) else {
            return match self.cancel(step, criterion) {
                0 => self.unknown(criterion),
                jobs => Ok(format!(
                    "the configuration no longer has criterion `{criterion}`; {jobs} of its hooks \
                     are not tried again"
                )),
            };
        };
        if state.tripped.is_none() {
            return Ok(format!("criterion `{criterion}` is armed already"));
        }
        arm(state, step);
        self.counted.remove(criterion);
        step.decision.commit.criteria.push(state.clone());
        self.cancel(step, criterion);
        Ok(format!(
            "criterion `{criterion}` is armed again; what was confirmed before does not count"
        ))
    }

    /// Lets go of the hooks that a criterion fired and that did not succeed yet. Returns how many.
    fn cancel(&mut self, step: &mut Step<'_>, criterion: &str) -> usize {
        let wanted = |job: &HookJob| job.criterion == criterion && !job.test;
        let cancelled: Vec<u64> =
            self.jobs.values().filter(|job| wanted(job)).map(|job| job.id).collect();
        for id in &cancelled {
            if let Some(mut job) = self.jobs.remove(id) {
                job.state = HookState::Cancelled;
                step.decision.commit.hooks.push(job);
            }
        }
        cancelled.len()
    }

    /// A person wants a criterion's hooks to run as a test. Returns the answer.
    pub(super) fn test(&mut self, step: &mut Step<'_>, criterion: &str) -> Answer {
        let found = self.settings.criteria.iter().find(|known| known.name == criterion);
        let Some(found) = found.cloned() else { return self.unknown(criterion) };
        if found.hooks.is_empty() {
            return Err(format!("criterion `{criterion}` has no hooks"));
        }
        let occurrence = step.happened(Happening::Tested {
            criterion: criterion.to_owned(),
            hooks: found.hooks.clone(),
        });
        self.fire(step, criterion, &found.hooks, (occurrence, true));
        Ok(format!("{} hooks of criterion `{criterion}` are run as a test", found.hooks.len()))
    }

    fn unknown(&self, criterion: &str) -> Answer {
        let known: Vec<&str> = self.states.keys().map(String::as_str).collect();
        Err(format!("there is no criterion `{criterion}`; there are: {}", known.join(", ")))
    }
}

/// Arms a criterion that tripped: what was confirmed before does not count.
fn arm(state: &mut CriterionState, step: &mut Step<'_>) {
    state.tripped = None;
    state.armed = step.now;
    state.count = 0;
    step.happened(Happening::Reset(state.clone()));
}

#[cfg(test)]
mod tests;
