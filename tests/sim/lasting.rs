//! What lasts is reported, once and with its kind.

use driftd::model::{DriftKind, Happening, Side};
use driftd_tests::sim::judge::Planted;
use driftd_tests::sim::relations::{key, row_key};
use driftd_tests::sim::{EXCLUDED, relations};

use super::*;

/// How long settling may take after the pass: the window, doubled for lag, and some waits.
const SETTLING: Duration = seconds(90);

fn planted(id: i64, kind: DriftKind) -> Planted {
    Planted { keys: vec![key(id)], kind }
}

/// Plants one of each kind, and some that must not be found, among entities that are left alone.
fn plant(sim: &Sim, setting: &Setting) -> Vec<Planted> {
    let mut world = sim.world();
    let (shape, now) = (setting.pairing.shape, world.now());
    let follower = world.follower();
    let mut all = Vec::new();
    for base in [4, 204] {
        world.remove(follower, base);
        all.push(planted(base, DriftKind::Missing));

        let mut corrupt = world.entity(base + 10);
        "corrupt@example.com".clone_into(&mut corrupt.email);
        world.put(follower, &corrupt);
        all.push(planted(base + 10, DriftKind::Mismatch));

        world.lose(base + 20);
        let lost = world.fresh(base + 20, now);
        world.write(lost);
        let kind = if setting.pairing.versioned { DriftKind::Stale } else { DriftKind::Mismatch };
        all.push(planted(base + 20, kind));

        let orphan = world.fresh(base + 1_000_000, now);
        world.put(follower, &orphan);
        all.push(planted(orphan.id, DriftKind::Unexpected));

        let mut unmappable = world.entity(base + 30);
        "a lot".clone_into(&mut unmappable.amount);
        world.put(follower, &unmappable);
        let place = shape.place(follower, unmappable.id);
        let keys = vec![key(unmappable.id), row_key(follower, place)];
        // A cell of an open relation is compared as what it is: a text that is no number differs.
        let open = shape == Shape::Lookup && follower == Side::Target;
        let kind = if open { DriftKind::Mismatch } else { DriftKind::Unmappable };
        all.push(Planted { keys, kind });

        let mut out_of_scope = world.entity(base + 40);
        out_of_scope.name = format!("{EXCLUDED} {base}");
        world.put(Side::Source, &out_of_scope);
        world.remove(Side::Target, out_of_scope.id);

        if shape == Shape::Lookup {
            let twice = world.entity(base + 50);
            world.put_elsewhere(Side::Target, &format!("COPY#{}", twice.id), &twice);
            all.push(planted(twice.id, DriftKind::Duplicate));
        }
        if setting.pairing.invariant {
            let mut negative = world.entity(base + 60);
            "-5".clone_into(&mut negative.amount);
            world.write(negative);
            all.push(planted(base + 60, DriftKind::Violation));
        }
    }
    all
}

/// Runs with faults planted after some time, until they must have been found.
fn run(setting: &Setting) -> (Sim, Vec<Planted>) {
    let mut sim = Sim::new(setting.clone());
    sim.run_for(seconds(13));
    let planted = plant(&sim, setting);
    let complete = sim.run_pass(seconds(200));
    assert!(complete, "passes complete");
    sim.run_for(SETTLING);
    (sim, planted)
}

fn varied() -> impl Iterator<Item = Setting> {
    settings().map(|mut setting| {
        setting.pairing.versioned = setting.seed != 5;
        setting.pairing.invariant = setting.seed % 2 == 0;
        if setting.seed == 3 {
            setting.pairing.leader = Side::Target;
        }
        if setting.seed == 8 {
            setting.knobs.refresh_every = Some(seconds(4));
        }
        setting
    })
}

#[test]
fn each_kind_is_found_once_amid_traffic() {
    for setting in varied() {
        let (sim, planted) = run(&setting);
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::found(&sim.record, &planted));
        let status = sim.status();
        assert!(status.excluded > 0, "{status:?}");
        assert_eq!(status.last_pass_unread, 0);
    }
}

#[test]
fn a_mapping_that_passes_over_a_field_misses_what_is_wrong_there() {
    for mut setting in varied().take(4) {
        setting.pairing.blind = Some("email");
        let (sim, planted) = run(&setting);
        assert!(judge::found(&sim.record, &planted).is_err(), "the checker must object");
    }
}

#[test]
fn what_is_repaired_is_resolved_once() {
    for setting in varied().skip(2).take(6) {
        let (mut sim, _) = run(&setting);
        for base in [4, 204] {
            let mut world = sim.world();
            for id in [base, base + 10, base + 20, base + 30, base + 1_000_000] {
                world.repair(id);
            }
            if setting.pairing.invariant {
                let now = world.now();
                let positive = world.fresh(base + 60, now);
                world.write(positive);
            }
            let copy = driftd::model::Value::Text(format!("COPY#{}", base + 50));
            world.handle(Side::Target).delete(relations::RELATION, &[copy]);
        }
        sim.run_for(seconds(240));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::resolved(&sim.record));
        assert!(sim.engine().findings().next().is_none());
        assert_eq!(sim.status().open.values().sum::<u64>(), 0);
    }
}

#[test]
fn a_repair_that_the_engine_is_not_told_of_stays_open() {
    let setting = Setting::new(1, Shape::Aligned);
    let (mut sim, planted) = run(&setting);
    sim.tamper_event = Some(Box::new(|event| {
        if let driftd::engine::Event::Looked { result, .. } = event {
            result.sightings.retain(|sighting| !sighting.agrees());
        }
    }));
    for planted in &planted {
        if let Some(id) = (0..1_000_300).find(|id| planted.keys[0] == key(*id)) {
            sim.world().repair(id);
        }
    }
    sim.run_for(seconds(120));
    assert!(judge::resolved(&sim.record).is_err(), "the checker must object");
}

#[test]
fn a_lost_field_of_a_hot_row_is_found_and_a_row_that_toggles_is_not_drift() {
    for mut setting in settings() {
        setting.pairing.versioned = setting.seed % 2 == 0;
        setting.knobs.hot_every = seconds(1);
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(5));
        sim.world().lose_email(1);
        // Without versions nothing tells a row that toggles from one that stands still.
        if setting.pairing.versioned {
            sim.world().toggle(6);
            sim.world().toggle(11);
        }
        assert!(sim.run_pass(seconds(200)), "passes complete");
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::sound(&sim.record));
        let told: Vec<_> = judge::told(&sim.record).into_values().collect();
        let told: Vec<_> = told.iter().map(|found| (found.kind, &found.fields[..])).collect();
        let fields = ["email".to_owned()];
        assert_eq!(told, [(DriftKind::Mismatch, &fields[..])], "seed {}", setting.seed);
    }
}

#[test]
fn looks_that_repeat_themselves_call_a_hot_row_drift() {
    let mut objections = 0;
    for setting in settings() {
        let mut sim = Sim::new(setting);
        let mut first = std::collections::BTreeMap::new();
        sim.tamper_event = Some(Box::new(move |event| {
            if let driftd::engine::Event::Checked { outcome, .. } = event {
                for sighting in &outcome.suspects {
                    first.entry(sighting.key.clone()).or_insert_with(|| sighting.clone());
                }
            } else if let driftd::engine::Event::Looked { result, .. } = event {
                for sighting in &mut result.sightings {
                    if let Some(first) = first.get(&sighting.key) {
                        sighting.clone_from(first);
                    }
                }
            }
        }));
        sim.run_for(seconds(120));
        objections += u32::from(judge::silent(&sim.record).is_err());
    }
    assert!(objections > 0, "the checker must object");
}

#[test]
fn passes_say_how_far_everything_was_compared() {
    let setting = Setting::new(1, Shape::Lookup);
    let (sim, _) = run(&setting);
    let mut completed = sim.record.occurrences.iter().filter_map(|(_, _, what)| {
        let Happening::PassCompleted { began, .. } = what else { return None };
        Some(*began)
    });
    assert_eq!(sim.status().covered_since, completed.next_back());
}
