//! A pipeline that stops.

use driftd::model::{DriftKind, Happening};
use driftd_tests::sim::judge::Planted;
use driftd_tests::sim::relations::key;

use super::*;

fn incidents(sim: &Sim) -> (usize, usize) {
    let count = |wanted: fn(&Happening) -> bool| judge::times(&sim.record, wanted).len();
    (
        count(|what| matches!(what, Happening::Lagging { .. })),
        count(|what| matches!(what, Happening::CaughtUp { .. })),
    )
}

fn stopping() -> impl Iterator<Item = Setting> {
    settings().map(|mut setting| {
        // The larger the table, the later changes are seen; so more of them are under way.
        setting.knobs.write_every = Some(Duration::from_millis(120));
        setting.pairing.settle.crowd = 1_000;
        setting.pairing.settle.suspects_max = 5_000;
        setting
    })
}

#[test]
fn a_pipeline_that_stops_is_one_incident_and_no_drift() {
    for mut setting in stopping() {
        setting.crashes = if setting.seed % 2 == 0 { 4 } else { 0 };
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(30));
        expect(&sim, &setting, judge::silent(&sim.record));
        assert_eq!(incidents(&sim), (0, 0), "seed {}", setting.seed);
        sim.world().stop_pipeline();
        sim.run_for(seconds(100));
        expect(&sim, &setting, judge::silent(&sim.record));
        assert_eq!(incidents(&sim), (1, 0), "seed {}", setting.seed);
        sim.world().resume_pipeline();
        sim.run_for(seconds(150));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::silent(&sim.record));
        assert_eq!(incidents(&sim), (1, 1), "seed {}", setting.seed);
    }
}

#[test]
fn without_a_pause_a_pipeline_that_stops_is_a_flood() {
    for mut setting in stopping().take(4) {
        setting.pairing.settle.pause_max = seconds(0);
        let mut sim = Sim::new(setting);
        sim.run_for(seconds(30));
        sim.world().stop_pipeline();
        sim.run_for(seconds(100));
        assert!(judge::silent(&sim.record).is_err(), "the checker must object");
    }
}

/// The pipeline stops, and the follower loses an entity.
fn stop_and_lose(sim: &Sim) {
    let mut world = sim.world();
    world.stop_pipeline();
    let follower = world.follower();
    world.remove(follower, 4);
}

#[test]
fn a_pause_ends_so_that_real_loss_cannot_hide_for_ever() {
    for mut setting in stopping() {
        setting.pairing.settle.pause_max = seconds(60);
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(20));
        stop_and_lose(&sim);
        sim.run_for(seconds(50));
        expect(&sim, &setting, judge::silent(&sim.record));
        sim.run_for(seconds(90));
        let told = judge::told(&sim.record);
        let lost = |found: &&driftd::model::Finding| {
            found.kind == DriftKind::Missing && found.subject == driftd::model::Subject::Key(key(4))
        };
        assert_eq!(told.values().filter(lost).count(), 1, "seed {}", setting.seed);
    }
}

#[test]
fn what_is_lost_while_the_pipeline_stands_is_found_when_it_goes_on() {
    for setting in stopping() {
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(20));
        stop_and_lose(&sim);
        sim.run_for(seconds(60));
        sim.world().resume_pipeline();
        sim.run_for(seconds(150));
        expect(&sim, &setting, judge::sound(&sim.record));
        let planted = [Planted { keys: vec![key(4)], kind: DriftKind::Missing }];
        expect(&sim, &setting, judge::found(&sim.record, &planted));
    }
}

#[test]
fn looks_that_take_long_do_not_make_time_that_nobody_watched() {
    for mut setting in settings() {
        setting.job_millis = 25_000;
        setting.pairing.plan.rest = seconds(60);
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(400));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::silent(&sim.record));
    }
}
