//! When a store is down, by a clock that is moved by hand.

use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1_000_000)
}

fn cause() -> Cause {
    let (code, what) = (FaultCode::StoreUnreachable, "cannot reach db:3306".to_owned());
    Cause { code, what, remedy: "check that the server runs".to_owned() }
}

fn health() -> Health {
    Health::new("shop", PATIENCE)
}

/// A store that was asked at 10 s, did not answer, and did not answer a probe.
fn down() -> Health {
    let mut health = health();
    health.asked(at(10));
    health.probed(at(40), Err(cause()));
    health
}

#[test]
fn a_store_that_answers_neither_a_request_nor_a_probe_is_down_within_its_patience() {
    let mut health = health();
    assert_eq!(health.due(), None, "nothing was asked, so nothing is in doubt");
    health.asked(at(10));
    assert_eq!(health.due(), Some(at(40)), "half of the patience");
    assert!(Duration::from_secs(30) + health.probe_max() < PATIENCE);
    assert_eq!(health.outage(), None);
    health.probed(at(41), Err(cause()));
    let outage = health.outage().unwrap();
    assert_eq!((outage.store.as_str(), outage.since), ("shop", at(10)));
    assert_eq!(
        (outage.code, outage.what.as_str()),
        (FaultCode::StoreUnreachable, "cannot reach db:3306")
    );
}

#[test]
fn a_request_that_failed_at_once_is_silence_although_nobody_waits() {
    let mut health = health();
    health.asked(at(10));
    health.unanswered();
    health.asked(at(20));
    health.unanswered();
    assert_eq!(health.due(), Some(at(11)), "soon after the first of them");
    health.probed(at(21), Err(cause()));
    assert_eq!(health.outage().map(|outage| outage.since), Some(at(10)));
}

#[test]
fn an_answer_to_anybody_ends_all_doubt() {
    let mut health = health();
    health.asked(at(10));
    health.asked(at(11));
    health.answered(at(30));
    assert_eq!(health.due(), Some(at(60)), "the other one waits since the last answer");
    health.answered(at(31));
    assert_eq!(health.due(), None);
    // A failure, and an answer after it.
    health.asked(at(40));
    health.unanswered();
    health.asked(at(41));
    health.answered(at(42));
    assert_eq!(health.due(), None);
}

#[test]
fn a_probe_that_is_answered_gives_what_waits_another_half() {
    let mut health = health();
    health.asked(at(10));
    health.probed(at(41), Ok(()));
    assert_eq!((health.outage(), health.due()), (None, Some(at(71))));
    health.unanswered();
    health.probed(at(71), Ok(()));
    assert_eq!((health.outage(), health.due()), (None, None));
}

#[test]
fn a_probe_that_fails_while_others_are_answered_says_nothing() {
    let mut health = health();
    health.asked(at(10));
    health.asked(at(10));
    // It was sent at 40, and this came meanwhile.
    health.answered(at(45));
    health.probed(at(50), Err(cause()));
    assert_eq!((health.outage(), health.due()), (None, Some(at(75))));
}

#[test]
fn a_request_that_was_let_go_is_no_silence() {
    let mut health = health();
    health.asked(at(10));
    health.let_go();
    assert_eq!(health.due(), None);
    health.asked(at(20));
    health.unanswered();
    health.asked(at(21));
    health.let_go();
    assert_eq!(health.due(), Some(at(21)), "the one that failed remains");
}

#[test]
fn a_store_that_is_down_is_looked_for_at_growing_distances_that_are_bounded() {
    let mut health = down();
    let mut now = at(40);
    let mut waits = Vec::new();
    for _ in 0..12 {
        let due = health.due().unwrap();
        waits.push(due.since(now));
        now = due;
        health.probed(now, Err(cause()));
        assert_eq!(health.outage().map(|outage| outage.since), Some(at(10)), "it is one outage");
    }
    for (probe, wait) in waits.iter().enumerate() {
        let full = Duration::from_secs(30).min(Duration::from_secs(1 << probe));
        assert!(*wait >= full / 2 && *wait <= full, "{probe}: {wait:?}");
    }
    assert_ne!(jittered("shop", 3), jittered("items", 3), "not all of them at once");
    assert_ne!(jittered("shop", 5), jittered("shop", 6));
}

#[test]
fn a_store_that_is_found_again_is_up_and_the_next_outage_begins_anew() {
    let mut health = down();
    health.let_go();
    health.probed(at(100), Ok(()));
    assert_eq!((health.outage(), health.due()), (None, None));
    health.asked(at(200));
    health.probed(at(230), Err(cause()));
    assert_eq!(health.outage().map(|outage| outage.since), Some(at(200)));
    assert!(health.due().unwrap() <= at(231), "soon at first");
}

#[test]
fn why_a_store_is_down_is_what_the_last_probe_says() {
    let mut health = down();
    let late = Cause { code: FaultCode::StoreTimeout, what: "no answer".to_owned(), ..cause() };
    health.probed(at(50), Err(late));
    let outage = health.outage().unwrap();
    assert_eq!((outage.code.as_str(), outage.what.as_str()), ("store-timeout", "no answer"));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Ask,
    Answer,
    Fail,
    LetGo,
    ProbeIfDue { answers: bool },
    Pass(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Ask),
        2 => Just(Step::Answer),
        2 => Just(Step::Fail),
        1 => Just(Step::LetGo),
        3 => any::<bool>().prop_map(|answers| Step::ProbeIfDue { answers }),
        3 => (0..40u8).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..120)
}

proptest! {
    /// What an onlooker who writes everything down would say: a store is down exactly if, at some
    /// probe that failed, there had been no sign of it for half of its patience although one was
    /// waited for, or for a second after a failure, and there was none since.
    #[test]
    fn a_store_is_down_exactly_when_nothing_was_answered(steps in steps()) {
        let mut health = health();
        let (mut now, mut waiting) = (at(0), 0u32);
        // Since when it was asked and has not answered.
        let (mut silent, mut failed, mut is_down): (Option<Moment>, bool, Option<Moment>) =
            (None, false, None);
        for step in steps {
            match step {
                Step::Pass(seconds) => now = now.after(Duration::from_secs(seconds.into())),
                // Whoever is to ask is told that it is down.
                Step::Ask if is_down.is_none() => {
                    health.asked(now);
                    waiting += 1;
                    silent = silent.or(Some(now));
                }
                Step::Answer if waiting > 0 => {
                    health.answered(now);
                    waiting -= 1;
                    silent = (waiting > 0).then_some(now);
                    (failed, is_down) = (false, None);
                }
                Step::Fail if waiting > 0 => {
                    health.unanswered();
                    waiting -= 1;
                    failed = true;
                }
                Step::LetGo if waiting > 0 => {
                    health.let_go();
                    waiting -= 1;
                    if waiting == 0 && !failed {
                        silent = None;
                    }
                }
                Step::ProbeIfDue { answers } if health.due().is_some_and(|due| due <= now) => {
                    health.probed(now, if answers { Ok(()) } else { Err(cause()) });
                    if answers {
                        silent = (waiting > 0).then_some(now);
                        (failed, is_down) = (false, None);
                    } else {
                        let least = if failed { FAILED } else { PATIENCE / 2 };
                        let long = silent.is_some_and(|silent| now.since(silent) >= least);
                        prop_assert!(is_down.is_some() || long);
                        is_down = is_down.or(silent);
                    }
                }
                Step::Ask
                | Step::Answer
                | Step::Fail
                | Step::LetGo
                | Step::ProbeIfDue { .. } => {}
            }
            prop_assert_eq!(health.outage().map(|outage| outage.since), is_down);
            // In doubt or down, it is looked for; and never later than the longest wait from now.
            prop_assert_eq!(health.due().is_some(), silent.is_some() || is_down.is_some());
            let latest = now.after((PATIENCE / 2).max(WAIT_MAX));
            prop_assert!(health.due().is_none_or(|due| due <= latest));
        }
    }
}
