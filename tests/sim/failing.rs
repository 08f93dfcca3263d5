//! What cannot be read is never clean, and nothing is lost by it.

use std::num::NonZeroU32;

use driftd::model::{DriftKind, Happening, Side};
use driftd::store::StoreErrorKind;
use driftd_tests::sim::POISON;
use driftd_tests::sim::judge::Planted;
use driftd_tests::sim::relations::{Entity, key};

use super::*;

fn kinds() -> [StoreErrorKind; 4] {
    [
        StoreErrorKind::Timeout { doing: "reading".to_owned(), after: seconds(1) },
        StoreErrorKind::Throttled("slow down".to_owned()),
        StoreErrorKind::Denied("no".to_owned()),
        StoreErrorKind::Answer("internal error".to_owned()),
    ]
}

/// Removes entities from the follower.
fn plant(sim: &Sim) -> Vec<Planted> {
    let world = sim.world();
    let lost = (4..400).step_by(45).map(|id| {
        world.remove(world.follower(), id);
        Planted { keys: vec![key(id)], kind: DriftKind::Missing }
    });
    lost.collect()
}

/// Runs while every third read fails, then until all is well again.
fn run(setting: &Setting) -> (Sim, judge::Verdict) {
    let mut sim = Sim::new(setting.clone());
    let planted = plant(&sim);
    for (at, kind) in kinds().into_iter().enumerate() {
        let side = if at % 2 == 0 { Side::Source } else { Side::Target };
        sim.handle(side).fail_every(NonZeroU32::new(3).expect("it is not zero"), kind);
        sim.run_for(seconds(25));
        sim.handle(side).heal();
    }
    assert!(sim.run_pass(seconds(600)), "passes complete");
    sim.run_for(seconds(90));
    let verdict = judge::found(&sim.record, &planted).and_then(|()| judge::sound(&sim.record));
    (sim, verdict)
}

#[test]
fn what_is_planted_is_found_although_reads_fail() {
    for mut setting in settings() {
        setting.pairing.invariant = setting.seed % 2 == 0;
        let (sim, verdict) = run(&setting);
        expect(&sim, &setting, verdict);
        assert!(sim.status().unread > 0, "reads failed");
    }
}

#[test]
fn a_store_that_lies_about_failed_reads_is_found_out() {
    for mut setting in settings().take(4) {
        setting.lying = true;
        let (_, verdict) = run(&setting);
        assert!(verdict.is_err(), "the checker must object");
    }
}

#[test]
fn a_pass_over_what_cannot_be_read_does_not_advance_coverage() {
    for setting in settings() {
        for (at, side) in [Side::Source, Side::Target].into_iter().enumerate() {
            let mut sim = Sim::new(setting.clone());
            assert!(sim.run_pass(seconds(100)));
            let covered = sim.status().covered_since;
            assert!(covered.is_some());
            // What is being read now may still end well.
            sim.run_for(seconds(1));
            let covered = covered.max(sim.status().covered_since);
            match at {
                0 => sim.handle(side).stop(),
                _ => sim.handle(side).fail_every(NonZeroU32::MIN, kinds()[3].clone()),
            }
            let planted = plant(&sim);
            sim.run_for(seconds(120));
            assert_eq!(sim.status().covered_since, covered, "seed {}", setting.seed);
            expect(&sim, &setting, judge::silent(&sim.record));
            let incidents =
                judge::times(&sim.record, |what| matches!(what, Happening::Unread { .. }));
            assert_eq!(incidents.len(), 1, "seed {}: one incident", setting.seed);
            sim.handle(side).heal();
            assert!(sim.run_pass(seconds(300)), "passes complete");
            sim.run_for(seconds(90));
            expect(&sim, &setting, judge::sound(&sim.record));
            expect(&sim, &setting, judge::found(&sim.record, &planted));
            let over = judge::times(&sim.record, |what| matches!(what, Happening::Readable { .. }));
            assert_eq!(over.len(), 1, "seed {}: it is over once", setting.seed);
            assert!(sim.status().covered_since > covered);
        }
    }
}

#[test]
fn a_single_pass_ends_although_a_store_has_stopped() {
    for shape in SHAPES {
        for side in [Side::Source, Side::Target] {
            let mut setting = Setting::new(4, shape);
            setting.until = driftd::engine::Until::OnePass;
            let mut sim = Sim::new(setting.clone());
            sim.run_for(seconds(1));
            sim.handle(side).stop();
            sim.run_for(seconds(300));
            expect(&sim, &setting, judge::sound(&sim.record));
            assert!(sim.is_finished(), "{shape:?} {side}");
            assert!(sim.status().last_pass_unread > 0, "{shape:?} {side}");
            assert_eq!(sim.status().covered_since, None);
        }
    }
}

#[test]
fn a_single_pass_finds_what_is_there_and_ends() {
    for mut setting in settings() {
        setting.until = driftd::engine::Until::OnePass;
        let mut sim = Sim::new(setting.clone());
        let planted = plant(&sim);
        sim.run_for(seconds(600));
        assert!(sim.is_finished(), "seed {}", setting.seed);
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::found(&sim.record, &planted));
        assert_eq!(sim.status().last_pass_unread, 0);
        assert!(sim.status().covered_since.is_some());
    }
}

/// Incidents that opened and that were over, by fault code.
fn incidents(sim: &Sim) -> (Vec<String>, Vec<String>) {
    let mut all = (Vec::new(), Vec::new());
    for (_, _, what) in &sim.record.occurrences {
        if let Happening::Unread { fault, .. } = what {
            all.0.push(fault.code.to_string());
        } else if let Happening::Readable { code, .. } = what {
            all.1.push(code.to_string());
        }
    }
    all
}

#[test]
fn what_was_said_to_be_unread_is_said_to_be_over_after_a_restart() {
    for setting in settings().take(4) {
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(5));
        sim.handle(Side::Target).stop();
        sim.run_for(seconds(60));
        sim.crash();
        sim.run_for(seconds(60));
        sim.handle(Side::Target).heal();
        sim.run_for(seconds(120));
        expect(&sim, &setting, judge::sound(&sim.record));
        let once = vec!["store-unreachable".to_owned()];
        assert_eq!(incidents(&sim), (once.clone(), once), "seed {}", setting.seed);
    }
}

#[test]
fn a_row_that_is_never_read_does_not_hide_that_a_store_stops_and_comes_back() {
    for setting in settings().take(4) {
        let mut sim = Sim::new(setting.clone());
        let good = sim.world().entity(104);
        let poison = Entity { name: POISON.to_owned(), ..good.clone() };
        sim.world().put(Side::Source, &poison);
        sim.run_for(seconds(60));
        let mut opened = vec!["plugin-trap".to_owned()];
        let mut closed = Vec::new();
        assert_eq!(incidents(&sim), (opened.clone(), closed.clone()), "seed {}", setting.seed);
        for side in [Side::Source, Side::Target] {
            sim.handle(side).stop();
            sim.run_for(seconds(60));
            opened.push("store-unreachable".to_owned());
            assert_eq!(incidents(&sim), (opened.clone(), closed.clone()), "seed {}", setting.seed);
            sim.handle(side).heal();
            sim.run_for(seconds(120));
            closed.push("store-unreachable".to_owned());
            assert_eq!(incidents(&sim), (opened.clone(), closed.clone()), "seed {}", setting.seed);
        }
        sim.world().put(Side::Source, &good);
        sim.run_for(seconds(120));
        closed.push("plugin-trap".to_owned());
        assert_eq!(incidents(&sim), (opened, closed), "seed {}", setting.seed);
    }
}
