//! What becomes of a pairing whose mapping is exchanged while it runs.

use crate::abort::{Condition, Criterion};
use crate::engine::tests::{World, answer, drive, key, settings};
use crate::engine::{Decision, Engine, Event, Job, Settings, Spec};
use crate::model::{DriftKind, FindingStatus, Happening, MappingIdentity, Moment, Saved};

const BEGAN: Moment = Moment(1_000_000_000_000_000);
const OLD: MappingIdentity = MappingIdentity(1);
const NEW: MappingIdentity = MappingIdentity(2);

/// The spec of a pairing as it is with the new mapping.
fn remapped(settings: &Settings, pairing: usize) -> Spec {
    let mut spec = Spec { identity: NEW, ..settings.pairings[pairing].clone() };
    spec.entities[0].fields = vec!["g".to_owned()];
    spec
}

fn start(settings: &Settings) -> (Engine, Decision) {
    let mut engine = Engine::new(settings.clone(), Saved::default(), BEGAN);
    let decision = engine.apply(BEGAN, Event::Started);
    (engine, decision)
}

/// Answers the only job of a decision.
fn answered(engine: &mut Engine, decision: Decision, world: World) -> Decision {
    let [job] = <[Job; 1]>::try_from(decision.jobs).expect("one job");
    engine.apply(BEGAN, answer(job, world, BEGAN))
}

fn identities(decision: &Decision) -> Vec<MappingIdentity> {
    decision.commit.status.iter().map(|status| status.identity).collect()
}

#[test]
fn what_is_in_flight_delays_it_and_nothing_new_is_begun() {
    let settings = settings();
    let (mut engine, cut) = start(&settings);
    let spec = remapped(&settings, 0);
    let waits = engine.apply(BEGAN, Event::Remap(vec![(0, spec)]));
    assert_eq!((waits.remapped.as_slice(), waits.jobs.as_slice()), (&[][..], &[][..]), "a cut");

    // The answer to the cut is one under the old mapping; with it nothing is in flight.
    let exchanged = answered(&mut engine, cut, World::Differs);
    assert_eq!(exchanged.remapped, [0]);
    let mut check = answered(&mut engine, exchanged, World::Differs);
    let waits = engine.apply(BEGAN, Event::Remap(vec![(0, settings.pairings[0].clone())]));
    assert_eq!((waits.remapped.as_slice(), waits.jobs.as_slice()), (&[][..], &[][..]), "a check");
    let later = BEGAN.after(std::time::Duration::from_secs(3_600));
    let waits = engine.apply(later, Event::Tick);
    assert_eq!((waits.remapped.as_slice(), waits.jobs.as_slice()), (&[][..], &[][..]), "time");

    let old = answer(check.jobs.remove(0), World::Differs, BEGAN);
    let exchanged = engine.apply(BEGAN, old.clone());
    assert_eq!(exchanged.remapped, [0]);
    assert!(matches!(exchanged.jobs.as_slice(), [Job::Split { .. }]), "{:?}", exchanged.jobs);
    // What the check saw was seen under the mapping that goes, and goes with it.
    let forgotten = [("things".to_owned(), key())];
    assert_eq!(exchanged.commit.decided, forgotten);
    assert_eq!(engine.statuses()[0].suspects, 0);

    let before = engine.statuses();
    let dropped = engine.apply(BEGAN, old);
    assert!(dropped.commit.is_empty() && dropped.jobs.is_empty(), "{dropped:?}");
    assert_eq!(engine.statuses(), before, "an outcome of an old check says nothing");
}

#[test]
fn findings_of_the_old_mapping_stand_until_they_are_judged_anew() {
    let mut settings = settings();
    let condition = Condition::Drift { kinds: [DriftKind::Mismatch].into(), at_least: 100 };
    settings.abort.criteria.push(Criterion {
        name: "much".to_owned(),
        pairing: None,
        condition,
        hooks: Vec::new(),
    });
    let mut now = BEGAN;
    let mut engine = Engine::new(settings.clone(), Saved::default(), now);
    let happened = drive(&mut engine, (&mut now, Event::Started), World::Differs, 300);
    assert!(happened.iter().any(|what| matches!(what, Happening::Confirmed(_))), "{happened:?}");
    let known = engine.statuses().remove(0);
    assert!(known.covered_since.is_some() && known.checks > 0, "{known:?}");
    assert_eq!(engine.criteria()[0].count, 1);

    let mut decision = engine.apply(now, Event::Remap(vec![(0, remapped(&settings, 0))]));
    // What is in flight comes in; then, and only then, it is all one decision.
    while decision.remapped.is_empty() {
        assert!(decision.commit.findings.is_empty(), "{decision:?}");
        decision = engine.apply(now, Event::Tick);
        let Some(job) = decision.jobs.pop() else { continue };
        decision = engine.apply(now, answer(job, World::Differs, now));
    }
    assert_eq!((decision.commit.findings.len(), decision.commit.occurrences.len()), (0, 0));
    assert_eq!(identities(&decision), [NEW]);
    // What is of different mappings is not counted together.
    assert_eq!(decision.commit.criteria.iter().map(|state| state.count).collect::<Vec<_>>(), [0]);
    assert_eq!(engine.findings().map(|one| (one.id, one.identity)).collect::<Vec<_>>(), [(1, OLD)]);
    let fresh = engine.statuses().remove(0);
    assert_eq!((fresh.covered_since, fresh.checks, fresh.compared), (None, 0, 0), "{fresh:?}");
    assert_eq!(fresh.pass, known.pass, "passes are numbered on");
    assert_eq!((open(&engine), fresh.anew), (1, 1), "it must not look as if drift had gone away");

    // Judged anew, under the new mapping and its fields, it is the same finding.
    let happened = go_on(&mut engine, &mut now, decision.jobs, World::Differs);
    let told: Vec<_> = happened.iter().filter(|what| !is_pass(what)).collect();
    let [Happening::Changed { finding, was }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((finding.id, *was, finding.identity), (1, finding.kind, NEW));
    assert_eq!(finding.fields, ["g"]);
    assert_eq!((open(&engine), engine.statuses()[0].anew), (1, 0));
    assert_eq!(engine.criteria()[0].count, 1, "what was confirmed then counts again");
}

#[test]
fn what_does_not_differ_under_the_new_mapping_is_given_up_once_that_is_known() {
    for (world, whole, given_up) in [
        // Both sides hold it alike.
        (World::Alike, true, true),
        // Neither side has it under this key; a whole pass has not met anything else.
        (World::Nowhere, true, true),
        // The same, but what is only in the target is not looked for.
        (World::Nowhere, false, false),
        // It cannot be looked at, and checks do not see it.
        (World::Gone, true, true),
        (World::Gone, false, false),
    ] {
        let mut settings = settings();
        if whole {
            settings.pairings[0].reading.not_verifiable = None;
        }
        let mut now = BEGAN;
        let mut engine = Engine::new(settings.clone(), Saved::default(), now);
        drive(&mut engine, (&mut now, Event::Started), World::Differs, 300);
        assert_eq!(open(&engine), 1);
        // A restart with another configuration is the same as a reload.
        let findings = engine.findings().cloned().collect();
        let saved =
            Saved { findings, status: engine.statuses(), last_finding: 1, ..Saved::default() };
        settings.pairings = vec![remapped(&settings, 0)];
        let mut engine = Engine::new(settings, saved, now);
        let started = engine.apply(now, Event::Started);
        assert_eq!((open(&engine), engine.statuses()[0].anew), (1, 1), "{world:?}");
        assert_eq!(started.commit.occurrences, []);
        let happened = go_on(&mut engine, &mut now, started.jobs, world);
        let told: Vec<_> = happened.iter().filter(|what| !is_pass(what)).collect();
        match (told.as_slice(), given_up) {
            ([], false) => assert_eq!(open(&engine), 1),
            ([Happening::Superseded(finding)], true) => {
                assert!(matches!(finding.status, FindingStatus::Superseded(_)));
                assert_eq!((finding.id, finding.identity, open(&engine)), (1, OLD, 0));
            }
            _ => panic!("{world:?}, {whole}: {told:?}"),
        }
    }
}

fn open(engine: &Engine) -> u64 {
    engine.statuses()[0].open.values().sum()
}

const fn is_pass(what: &Happening) -> bool {
    matches!(what, Happening::PassCompleted { .. })
}

/// Answers these jobs and all that follow, for some time. What happened.
fn go_on(engine: &mut Engine, now: &mut Moment, jobs: Vec<Job>, world: World) -> Vec<Happening> {
    let mut happened = Vec::new();
    for job in jobs {
        let event = answer(job, world, *now);
        happened.extend(drive(engine, (now, event), world, 300));
    }
    happened
}

#[test]
fn other_pairings_go_on_meanwhile() {
    let mut settings = settings();
    settings.pairings.push(Spec { name: "others".to_owned(), ..settings.pairings[0].clone() });
    let (mut engine, mut cut) = start(&settings);
    let other = cut.jobs.remove(1);
    let check = answered(&mut engine, cut, World::Differs);
    assert!(engine.apply(BEGAN, Event::Remap(vec![(0, remapped(&settings, 0))])).jobs.is_empty());
    let mut goes_on = engine.apply(BEGAN, answer(other, World::Differs, BEGAN));
    assert!(matches!(goes_on.jobs.as_slice(), [Job::Check { pairing: 1, .. }]), "{goes_on:?}");
    let exchanged = answered(&mut engine, check, World::Gone);
    assert_eq!(exchanged.remapped, [0]);
    assert_eq!(identities(&exchanged), [NEW], "nothing of the other one is written");
    let found = engine.apply(BEGAN, answer(goes_on.jobs.remove(0), World::Differs, BEGAN));
    assert_eq!(found.commit.suspects.iter().map(|one| one.identity).collect::<Vec<_>>(), [OLD]);
}

#[test]
fn what_is_stopping_keeps_its_mapping() {
    let settings = settings();
    let (mut engine, cut) = start(&settings);
    let check = answered(&mut engine, cut, World::Differs);
    engine.apply(BEGAN, Event::Remap(vec![(0, remapped(&settings, 0))]));
    engine.apply(BEGAN, Event::Drain);
    let last = answered(&mut engine, check, World::Differs);
    assert!(last.finished && last.remapped.is_empty(), "{last:?}");
    assert_eq!(last.commit.suspects.len(), 1, "what was seen is kept for the next start");
    assert!(last.commit.decided.is_empty(), "{last:?}");
}
