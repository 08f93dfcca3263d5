//! A process that dies at any moment.

use std::collections::BTreeSet;

use driftd::abort::{Condition, Criterion, Mode};
use driftd::engine::Event;
use driftd::model::{Command, Commit, DriftKind, Happening};
use driftd_tests::sim::judge::Planted;
use driftd_tests::sim::relations::key;

use super::*;

/// Takes something from what a step wants kept.
type Tamper = fn(&mut Commit);

fn plant(sim: &Sim) -> Vec<Planted> {
    let world = sim.world();
    let lost = (4..400).step_by(35).map(|id| {
        world.remove(world.follower(), id);
        Planted { keys: vec![key(id)], kind: DriftKind::Missing }
    });
    lost.collect()
}

fn criterion(hooks: &[&str]) -> Criterion {
    Criterion {
        name: "lost".to_owned(),
        pairing: None,
        condition: Condition::Drift { kinds: BTreeSet::from([DriftKind::Missing]), at_least: 5 },
        hooks: hooks.iter().map(|&name| name.to_owned()).collect(),
    }
}

fn deadly(seed: u64, shape: Shape) -> Setting {
    let mut setting = Setting::new(seed, shape);
    setting.crashes = 30;
    setting.abort.criteria = vec![criterion(&["flip", "tell"])];
    setting.hooks = vec![("flip".to_owned(), 60), ("tell".to_owned(), 60)];
    setting
}

fn trips(sim: &Sim) -> usize {
    judge::times(&sim.record, |what| matches!(what, Happening::Tripped { .. })).len()
}

/// Runs a process that dies again and again.
fn run(setting: &Setting, tamper: Option<Tamper>) -> (Sim, judge::Verdict) {
    let mut sim = Sim::new(setting.clone());
    sim.tamper_commit = tamper.map(|tamper| Box::new(tamper) as Box<dyn FnMut(&mut Commit)>);
    let planted = plant(&sim);
    sim.run_for(seconds(260));
    let once = match trips(&sim) {
        1 => Ok(()),
        trips => Err(format!("tripped {trips} times")),
    };
    let verdict =
        judge::sound(&sim.record).and_then(|()| judge::found(&sim.record, &planted)).and(once);
    (sim, verdict)
}

#[test]
fn nothing_is_lost_and_nothing_told_twice_when_the_process_dies() {
    for seed in seeds() {
        for shape in SHAPES {
            let setting = deadly(seed, shape);
            let (sim, verdict) = run(&setting, None);
            expect(&sim, &setting, verdict);
            assert!(sim.record.crashes > 20, "it died: {}", sim.record.crashes);
            let hooks: Vec<u64> = sim.record.succeeded.keys().copied().collect();
            assert_eq!(hooks, [1, 2], "seed {seed}: both hooks succeeded");
        }
    }
}

#[test]
fn a_journal_in_a_file_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut setting = deadly(7, Shape::Lookup);
    setting.journal = Some(folder.path().join("journal"));
    setting.crashes = 15;
    let (sim, verdict) = run(&setting, None);
    expect(&sim, &setting, verdict);
    assert!(sim.record.crashes > 10, "it died: {}", sim.record.crashes);
}

#[test]
fn a_driver_that_keeps_less_than_was_decided_is_found_out() {
    // Each keeps something from the journal that a step decided.
    let tampers: [(&str, Tamper); 4] = [
        ("suspects", |commit| commit.suspects.clear()),
        ("findings", |commit| commit.findings.clear()),
        ("occurrences", |commit| commit.occurrences.clear()),
        ("hooks", |commit| {
            commit.hooks.retain(|job| job.state != driftd::model::HookState::Succeeded);
        }),
    ];
    for (name, tamper) in tampers {
        let objections = SEEDS.into_iter().take(4).filter(|seed| {
            let mut setting = deadly(*seed, Shape::Aligned);
            setting.crashes = 60;
            // A suspect that is lost is found again by the next pass, so there is only one.
            if name == "suspects" {
                setting.pairing.plan.rest = seconds(100_000);
            }
            run(&setting, Some(tamper)).1.is_err()
        });
        assert!(objections.count() > 0, "{name}: the checker must object");
    }
}

#[test]
fn suspects_survive_although_no_pass_comes_by_again() {
    for seed in seeds() {
        for shape in SHAPES {
            let mut setting = deadly(seed, shape);
            setting.pairing.plan.rest = seconds(100_000);
            let (sim, verdict) = run(&setting, None);
            expect(&sim, &setting, verdict);
        }
    }
}

#[test]
fn what_the_journal_holds_is_what_the_engine_knows() {
    for shape in SHAPES {
        let mut setting = deadly(2, shape);
        setting.crashes = 0;
        let mut sim = Sim::new(setting);
        plant(&sim);
        for _ in 0..40 {
            sim.run_for(seconds(3));
            let known: Vec<_> =
                sim.engine().findings().map(|found| (found.id, found.kind)).collect();
            let (status, criteria) = (sim.status(), sim.engine().criteria());
            sim.crash();
            let back: Vec<_> =
                sim.engine().findings().map(|found| (found.id, found.kind)).collect();
            assert_eq!(known, back);
            assert_eq!(criteria, sim.engine().criteria());
            let now = sim.status();
            assert_eq!(
                (status.suspects, status.same, status.acquitted, status.covered_since),
                (now.suspects, now.same, now.acquitted, now.covered_since)
            );
        }
    }
}

#[test]
fn a_criterion_trips_once_and_a_person_arms_it_again() {
    for (seed, mode) in [(1, Mode::Armed), (2, Mode::DryRun), (3, Mode::Armed)] {
        let mut setting = deadly(seed, Shape::Aligned);
        setting.crashes = 5;
        setting.abort.mode = mode;
        setting.hooks = vec![("flip".to_owned(), 100), ("tell".to_owned(), 100)];
        let mut sim = Sim::new(setting.clone());
        plant(&sim);
        sim.run_for(seconds(120));
        expect(&sim, &setting, judge::sound(&sim.record));
        assert_eq!(trips(&sim), 1);
        let order = |sim: &Sim| {
            let mut hooks: Vec<String> =
                sim.record.runs.iter().map(|(_, _, hook)| hook.clone()).collect();
            hooks.dedup();
            hooks
        };
        let expected: &[&str] = if mode == Mode::Armed { &["flip", "tell"] } else { &[] };
        assert_eq!(order(&sim), expected);
        let command = Command::Reset { criterion: "lost".to_owned() };
        sim.feed(Event::Commanded { id: 1, command });
        sim.run_for(seconds(60));
        assert_eq!(trips(&sim), 1, "what was confirmed before does not count");
        {
            let world = sim.world();
            (9..400).step_by(35).for_each(|id| world.remove(world.follower(), id));
        }
        sim.run_for(seconds(120));
        expect(&sim, &setting, judge::sound(&sim.record));
        assert_eq!(trips(&sim), 2, "seed {seed}");
        let expected: &[&str] =
            if mode == Mode::Armed { &["flip", "tell", "flip", "tell"] } else { &[] };
        assert_eq!(order(&sim), expected);
    }
}

#[test]
fn a_hook_that_fails_for_too_long_is_recorded_and_the_next_one_starts() {
    let mut setting = deadly(5, Shape::Aligned);
    setting.hooks = vec![("flip".to_owned(), 0), ("tell".to_owned(), 100)];
    setting.crashes = 0;
    let mut sim = Sim::new(setting.clone());
    plant(&sim);
    sim.run_for(seconds(300));
    expect(&sim, &setting, judge::sound(&sim.record));
    let failed = judge::times(&sim.record, |what| matches!(what, Happening::HookFailed(_)));
    assert_eq!(failed.len(), 1);
    let tell = sim.record.runs.iter().find(|(_, _, hook)| hook == "tell").unwrap().0;
    assert!(failed[0] <= tell, "one after the other");
    let after = sim.record.runs.iter().filter(|(at, _, hook)| *at > tell && hook == "flip");
    assert!(after.count() > 0, "tries go on");
    assert_eq!(sim.record.succeeded.keys().copied().collect::<Vec<_>>(), [2]);
}
