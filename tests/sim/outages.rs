//! Stores that do not answer.

use driftd::model::{DriftKind, Happening, Side};
use driftd_tests::sim::judge::Planted;
use driftd_tests::sim::relations::key;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Patience as it is configured if nobody says anything.
const PATIENCE: Duration = seconds(60);

fn watched() -> impl Iterator<Item = Setting> {
    settings().map(|setting| Setting { patience: Some(PATIENCE), ..setting })
}

/// When stores were told to be down and to be up, and how many other incidents there were.
fn incidents(sim: &Sim) -> (usize, usize, usize) {
    let count = |wanted: fn(&Happening) -> bool| judge::times(&sim.record, wanted).len();
    (
        count(|what| matches!(what, Happening::StoreDown(_))),
        count(|what| matches!(what, Happening::StoreUp { .. })),
        count(|what| matches!(what, Happening::Unread { .. } | Happening::Lagging { .. })),
    )
}

/// A store that does not answer from now on: it hangs, or refuses at once.
fn fail(sim: &mut Sim, side: Side, hangs: bool) {
    if hangs {
        sim.hang(side, true);
    } else {
        sim.handle(side).stop();
    }
}

fn heal(sim: &mut Sim, side: Side) {
    sim.hang(side, false);
    sim.handle(side).heal();
}

/// How many checks and looks were begun since then.
fn begun(sim: &Sim, from: usize) -> usize {
    let begins = |line: &&String| line.starts_with("  check ") || line.starts_with("  look ");
    sim.record.log[from..].iter().filter(begins).count()
}

#[test]
fn a_store_that_is_down_ends_what_reads_it_within_one_patience_and_is_told_once() {
    for setting in watched() {
        for (side, hangs) in [
            (Side::Source, true),
            (Side::Target, true),
            (Side::Source, false),
            (Side::Target, false),
        ] {
            let case = format!("seed {} {side}, hangs: {hangs}", setting.seed);
            let mut sim = Sim::new(setting.clone());
            sim.run_for(seconds(30));
            let (began, unread) = (sim.now(), sim.status().unread);
            fail(&mut sim, side, hangs);
            // Between two passes nothing is asked for some seconds.
            sim.run_until(began.after(PATIENCE));
            assert_eq!(sim.waiting(), 0, "{case}: nothing waits any more");
            assert_eq!(incidents(&sim), (1, 0, 0), "{case}");
            let Some(Happening::StoreDown(outage)) = sim
                .record
                .occurrences
                .iter()
                .map(|(_, _, what)| what)
                .find(|what| matches!(what, Happening::StoreDown(_)))
            else {
                panic!("{case}")
            };
            assert_eq!(outage.store, side.to_string(), "{case}");
            assert!(outage.since >= began && outage.since <= began.after(seconds(7)), "{case}");
            assert_eq!(sim.saved().outages.as_slice(), std::slice::from_ref(outage), "{case}");
            // From now on nothing is begun, and nothing more is unread.
            let (line, known) = (sim.record.log.len(), sim.status());
            sim.run_for(seconds(3_600));
            assert_eq!(begun(&sim, line), 0, "{case}: nothing is begun");
            let status = sim.status();
            assert_eq!((status.unread, status.checks), (known.unread, known.checks), "{case}");
            let lost = status.unread - unread;
            let most = if hangs { 400 } else { 2_000 };
            assert!(lost > 0 && lost < most, "{case}: {lost} reads were lost");
            assert_eq!(incidents(&sim), (1, 0, 0), "{case}");
            heal(&mut sim, side);
            // It is looked for every half minute at the least.
            sim.run_for(seconds(31));
            assert_eq!(incidents(&sim), (1, 1, 0), "{case}");
            assert_eq!(sim.saved().outages, [], "{case}");
            assert!(sim.run_pass(seconds(600)), "{case}: passes complete");
            sim.run_for(seconds(60));
            expect(&sim, &setting, judge::sound(&sim.record));
            expect(&sim, &setting, judge::silent(&sim.record));
            assert_eq!(incidents(&sim), (1, 1, 0), "{case}");
        }
    }
}

/// Outages at random, of random length, and what was planted before, in and after them.
fn weather(setting: &Setting) -> (Sim, judge::Verdict) {
    let mut rng = ChaCha8Rng::seed_from_u64(setting.seed);
    let mut sim = Sim::new(setting.clone());
    sim.run_for(seconds(30));
    let mut planted = Vec::new();
    for id in (4..200).step_by(45) {
        let side = if rng.random() { Side::Source } else { Side::Target };
        let hangs = rng.random();
        fail(&mut sim, side, hangs);
        {
            let world = sim.world();
            world.remove(world.follower(), id);
            planted.push(Planted { keys: vec![key(id)], kind: DriftKind::Missing });
        }
        // Shorter than what is noticed, and far longer.
        let lasts = rng.random_range(1..=600);
        sim.run_for(seconds(lasts));
        heal(&mut sim, side);
        sim.run_for(seconds(rng.random_range(1..=90)));
    }
    assert!(sim.run_pass(seconds(600)), "passes complete");
    sim.run_for(seconds(120));
    let verdict = judge::found(&sim.record, &planted).and_then(|()| judge::sound(&sim.record));
    (sim, verdict)
}

#[test]
fn outages_come_and_go_and_what_was_planted_is_found_and_nothing_else() {
    for mut setting in watched() {
        setting.crashes = if setting.seed % 2 == 0 { 4 } else { 0 };
        let (sim, verdict) = weather(&setting);
        expect(&sim, &setting, verdict);
        let (down, up, _) = incidents(&sim);
        assert_eq!(down, up, "seed {}: each is over", setting.seed);
    }
}

#[test]
fn a_pipeline_that_stood_still_with_its_store_is_given_time_to_catch_up() {
    for mut setting in watched() {
        setting.pairing.settle.crowd = 1_000;
        setting.pairing.settle.suspects_max = 5_000;
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(30));
        let side = sim.world().follower();
        // The follower's server dies, so that nothing is written to it either.
        sim.world().stop_pipeline();
        // What differs by that is seen once or twice.
        sim.run_for(seconds(4));
        sim.hang(side, true);
        sim.run_for(seconds(600));
        assert_eq!(incidents(&sim), (1, 0, 0), "seed {}", setting.seed);
        sim.hang(side, false);
        // It needs a while to come up.
        sim.run_for(seconds(6));
        sim.world().resume_pipeline();
        sim.run_for(seconds(150));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::silent(&sim.record));
        let (down, up, _) = incidents(&sim);
        assert_eq!((down, up), (1, 1), "seed {}", setting.seed);
    }
}

#[test]
fn a_restart_in_an_outage_does_not_tell_it_again_and_one_that_ended_meanwhile_is_over() {
    for setting in watched() {
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(20));
        sim.hang(Side::Target, true);
        let began = sim.now();
        sim.run_for(seconds(70));
        assert_eq!(incidents(&sim), (1, 0, 0), "seed {}", setting.seed);
        sim.crash();
        sim.run_for(seconds(200));
        assert_eq!(incidents(&sim), (1, 0, 0), "seed {}: it is the one outage", setting.seed);
        assert!(sim.saved().outages[0].since <= began.after(seconds(2)), "seed {}", setting.seed);
        sim.hang(Side::Target, false);
        sim.crash();
        sim.run_for(seconds(30));
        assert_eq!(incidents(&sim), (1, 1, 0), "seed {}", setting.seed);
        let lasted = sim.record.occurrences.iter().find_map(|(_, _, what)| {
            let Happening::StoreUp { lasted_micros, .. } = what else { return None };
            Some(*lasted_micros / 1_000_000)
        });
        assert!((265..310).contains(&lasted.unwrap()), "seed {}: {lasted:?}", setting.seed);
        expect(&sim, &setting, judge::silent(&sim.record));
    }
}

#[test]
fn a_single_pass_ends_within_one_patience() {
    for shape in SHAPES {
        for (side, hangs) in [
            (Side::Source, true),
            (Side::Target, true),
            (Side::Source, false),
            (Side::Target, false),
        ] {
            let mut setting = Setting::new(4, shape);
            setting.until = driftd::engine::Until::OnePass;
            setting.patience = Some(PATIENCE);
            let mut sim = Sim::new(setting.clone());
            sim.run_for(seconds(1));
            fail(&mut sim, side, hangs);
            sim.run_for(PATIENCE + seconds(2));
            expect(&sim, &setting, judge::sound(&sim.record));
            expect(&sim, &setting, judge::silent(&sim.record));
            assert!(sim.is_finished(), "{shape:?} {side} {hangs}");
            assert!(sim.status().last_pass_unread > 0, "{shape:?} {side}");
            assert_eq!(sim.status().covered_since, None);
            assert_eq!(sim.status().suspects, 0);
        }
    }
}
