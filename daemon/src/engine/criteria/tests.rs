//! Criteria and hook jobs across restarts with other settings.
//!
//! Owns tests through [`Engine`]. Refuses stores and time. Invariant: every restart goes on from what
//! the steps before it committed, and from nothing else.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::abort::{Condition, Criterion};
use crate::engine::{Decision, Engine, Event, Settings, Until};
use crate::model::{Command, Severity};

fn settings(mode: Mode, criteria: &[&str], hooks: &[&str]) -> Settings {
    let criterion = |name: &&str| Criterion {
        name: (*name).to_owned(),
        pairing: None,
        condition: Condition::Violations { severity: Severity::Error, at_least: 1 },
        hooks: vec!["first".to_owned(), "second".to_owned()],
    };
    let timing = |name: &&str| HookTiming {
        name: (*name).to_owned(),
        deadline: Duration::from_secs(60),
        backoff: Duration::from_secs(1),
    };
    Settings {
        pairings: Vec::new(),
        abort: abort::Settings { mode, criteria: criteria.iter().map(criterion).collect() },
        hooks: hooks.iter().map(timing).collect(),
        until: Until::Stopped,
        slots: NonZeroU32::MAX,
    }
}

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn tripped(dry_run: bool) -> CriterionState {
    CriterionState {
        name: "bad".to_owned(),
        trips: 1,
        tripped: Some(at(5)),
        armed: at(1),
        count: 3,
        at_least: 1,
        dry_run,
    }
}

/// Two jobs of one trip, which hold each other up.
fn pending() -> Vec<HookJob> {
    let job = |id, hook: &str| HookJob {
        id,
        hook: hook.to_owned(),
        criterion: "bad".to_owned(),
        occurrence: 1,
        since: at(5),
        state: HookState::Pending,
        tries: 1,
        due: at(5),
        last: None,
        test: false,
    };
    vec![job(1, "first"), job(2, "second")]
}

fn saved(criterion: CriterionState, hooks: Vec<HookJob>) -> Saved {
    let last_hook = hooks.len() as u64;
    Saved { criteria: vec![criterion], hooks, last_occurrence: 1, last_hook, ..Saved::default() }
}

/// The hooks that a decision starts.
fn started(decision: &Decision) -> Vec<&str> {
    let jobs = decision.jobs.iter().filter_map(|job| match job {
        Job::Hook(job) => Some(job.hook.as_str()),
        Job::Split { .. } | Job::Check { .. } | Job::Look { .. } => None,
    });
    jobs.collect()
}

fn command(engine: &mut Engine, now: Moment, command: Command) -> (Decision, String) {
    let decision = engine.apply(now, Event::Commanded { id: 1, command });
    let answer = decision.commit.answered[0].1.clone();
    (decision, answer.unwrap_or_else(|refused| refused))
}

#[test]
fn what_tripped_in_a_dry_run_is_armed_when_the_mode_is() {
    let journal = saved(tripped(true), Vec::new());
    let armed = settings(Mode::Armed, &["bad"], &["first", "second"]);
    let mut engine = Engine::new(armed, journal.clone(), at(100));
    let decision = engine.apply(at(100), Event::Started);
    let state = &decision.commit.criteria[0];
    assert_eq!((state.tripped, state.armed, state.dry_run), (None, at(100), false));
    let told = decision.commit.occurrences.iter();
    assert!(told.clone().any(|told| matches!(told.what, Happening::Reset(_))));
    assert!(started(&decision).is_empty(), "what was confirmed before does not count");

    let dry = settings(Mode::DryRun, &["bad"], &["first", "second"]);
    let decision = Engine::new(dry, journal, at(100)).apply(at(100), Event::Started);
    let mut states = decision.commit.criteria.iter();
    assert!(states.all(|state| state.tripped == Some(at(5))), "it stays latched: {decision:?}");
}

#[test]
fn hooks_of_a_trip_wait_while_the_mode_is_a_dry_run() {
    let journal = saved(tripped(false), pending());
    let dry = settings(Mode::DryRun, &["bad"], &["first", "second"]);
    let mut engine = Engine::new(dry, journal.clone(), at(100));
    assert!(started(&engine.apply(at(100), Event::Started)).is_empty());
    let (decision, _) =
        command(&mut engine, at(101), Command::Test { criterion: "bad".to_owned() });
    assert_eq!(started(&decision), ["first"], "a test runs in any mode");

    let armed = settings(Mode::Armed, &["bad"], &["first", "second"]);
    let decision = Engine::new(armed, journal, at(100)).apply(at(100), Event::Started);
    assert_eq!(started(&decision), ["first"]);
}

#[test]
fn a_hook_that_is_no_longer_configured_fails_and_holds_nothing_up() {
    let journal = saved(tripped(false), pending());
    let armed = settings(Mode::Armed, &["bad"], &["second"]);
    let decision = Engine::new(armed, journal, at(100)).apply(at(100), Event::Started);
    assert_eq!(started(&decision), ["second"]);
    let failed = decision.commit.hooks.iter().find(|job| job.hook == "first");
    assert_eq!(failed.map(|job| job.state), Some(HookState::Failed));
    let told = decision.commit.occurrences.iter();
    assert!(told.clone().any(|told| matches!(told.what, Happening::HookFailed(_))));
}

#[test]
fn a_criterion_that_is_no_longer_configured_can_be_reset() {
    let journal = saved(tripped(false), pending());
    let armed = settings(Mode::Armed, &["other"], &["first", "second"]);
    let mut engine = Engine::new(armed, journal, at(100));
    engine.apply(at(100), Event::Started);
    engine.apply(
        at(101),
        Event::HookEnded { job: 1, success: false, detail: "exit status: 1".to_owned() },
    );
    let reset = || Command::Reset { criterion: "bad".to_owned() };
    let (decision, answer) = command(&mut engine, at(102), reset());
    assert!(answer.contains("2 of its hooks"), "{answer}");
    assert!(decision.commit.hooks.iter().all(|job| job.state == HookState::Cancelled));
    assert!(started(&engine.apply(at(1_000), Event::Tick)).is_empty());
    let (_, answer) = command(&mut engine, at(1_001), reset());
    assert!(answer.contains("there is no criterion `bad`; there are: other"), "{answer}");
}

#[test]
fn a_test_that_fails_is_not_tried_again() {
    let armed = settings(Mode::Armed, &["bad"], &["first", "second"]);
    let mut engine = Engine::new(armed, Saved::default(), at(100));
    engine.apply(at(100), Event::Started);
    let (decision, _) =
        command(&mut engine, at(101), Command::Test { criterion: "bad".to_owned() });
    assert_eq!(started(&decision), ["first"]);
    let detail = || "exit status: 1".to_owned();
    let decision =
        engine.apply(at(102), Event::HookEnded { job: 1, success: false, detail: detail() });
    let told = decision.commit.occurrences.iter();
    assert!(told.clone().any(|told| matches!(told.what, Happening::HookFailed(_))));
    assert_eq!(started(&decision), ["second"], "the next one is tested, too");
    engine.apply(at(103), Event::HookEnded { job: 2, success: true, detail: detail() });
    assert!(started(&engine.apply(at(1_000), Event::Tick)).is_empty());
}
