//! Damage to whole partitions.

use driftd::model::{DriftKind, Subject};
use driftd_tests::sim::relations::{Entity, Shape};

use super::*;

/// Entities of the follower that get the same wrong value: most of two partitions, and some of the
/// partitions beside them.
const DAMAGED: std::ops::Range<i64> = 70..190;

fn setting(seed: u64, shape: Shape) -> Setting {
    let mut setting = Setting::new(seed, shape);
    // What is damaged is written no more; the rest of the table is.
    setting.knobs.hot = 3;
    setting
}

fn damage(sim: &Sim) {
    let world = sim.world();
    for id in DAMAGED {
        if let Some(entity) = world.find(id) {
            let wrong = Entity { email: "default@example.com".to_owned(), ..entity };
            world.put(world.follower(), &wrong);
        }
    }
}

/// Entities that findings tell of, open or not: in partitions, and one by one.
fn counted(sim: &Sim, kind: DriftKind) -> (u64, u64) {
    let mut counts = (0, 0);
    for finding in sim.engine().findings().filter(|finding| finding.kind == kind) {
        match &finding.subject {
            Subject::Partition { entities, .. } => counts.0 += entities,
            Subject::Key(_) => counts.1 += 1,
        }
    }
    counts
}

/// How many entities of the damaged part differ.
fn differing(sim: &Sim) -> u64 {
    let world = sim.world();
    DAMAGED.filter(|id| world.differs(*id)).count() as u64
}

/// Damages many entities, and runs until it must have been found.
fn run(setting: &Setting) -> Sim {
    let mut sim = Sim::new(setting.clone());
    sim.run_for(seconds(13));
    // Nobody repairs by chance what is damaged.
    sim.world().spare(DAMAGED);
    sim.run_for(seconds(15));
    damage(&sim);
    assert!(sim.run_pass(seconds(200)), "passes complete");
    sim.run_for(seconds(100));
    sim
}

/// Whether as many entities are told of as differ.
fn all_told(sim: &Sim) -> judge::Verdict {
    let (whole, single) = counted(sim, DriftKind::Mismatch);
    let differing = differing(sim);
    if whole + single == differing {
        Ok(())
    } else {
        Err(format!("{whole} + {single} are told of {differing}"))
    }
}

/// Whether all is told, and most of it by partition.
fn exact(sim: &Sim) -> judge::Verdict {
    let (whole, single) = counted(sim, DriftKind::Mismatch);
    if whole < single {
        return Err(format!("{single} are told one by one"));
    }
    all_told(sim)
}

#[test]
fn a_wrong_default_on_many_rows_is_told_by_partition_with_exact_counts_and_resolved() {
    for setting in
        seeds().into_iter().take(2).flat_map(|seed| SHAPES.map(|shape| setting(seed, shape)))
    {
        let mut sim = run(&setting);
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, exact(&sim));
        let told = judge::told(&sim.record);
        let kinds: Vec<_> =
            told.values().filter(|found| found.kind != DriftKind::Mismatch).collect();
        assert!(kinds.is_empty(), "seed {}: {kinds:?}", setting.seed);
        assert!(told.values().all(|found| found.fields == ["email"]), "{told:?}");
        // Half of it is repaired: what is told follows.
        for id in DAMAGED.filter(|id| id % 2 == 0) {
            sim.world().repair(id);
        }
        sim.run_for(seconds(420));
        expect(&sim, &setting, all_told(&sim));
        for id in DAMAGED {
            sim.world().repair(id);
        }
        sim.run_for(seconds(1_000));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::resolved(&sim.record));
    }
}

#[test]
fn a_driver_that_shortens_crowds_counts_wrong() {
    let setting = setting(1, Shape::Aligned);
    let mut sim = Sim::new(setting);
    sim.tamper_event = Some(Box::new(|event| {
        if let driftd::engine::Event::Checked { outcome, .. } = event
            && let Some(crowd) = &mut outcome.crowd
        {
            crowd.truncate(25);
        }
    }));
    sim.run_for(seconds(13));
    sim.world().spare(DAMAGED);
    sim.run_for(seconds(15));
    damage(&sim);
    assert!(sim.run_pass(seconds(200)));
    sim.run_for(seconds(100));
    assert!(exact(&sim).is_err(), "the checker must object");
}

#[test]
fn damage_beside_damage_that_is_known_is_told_although_passes_cut_anew() {
    for shape in SHAPES {
        let setting = setting(3, shape);
        let mut sim = run(&setting);
        let before = differing(&sim);
        // The table grows, so that the next passes cut it elsewhere.
        sim.run_for(seconds(60));
        for id in 190..310 {
            let world = sim.world();
            if let Some(entity) = world.find(id) {
                let wrong = Entity { email: "default@example.com".to_owned(), ..entity };
                world.put(world.follower(), &wrong);
            }
        }
        sim.world().spare(190..310);
        assert!(sim.run_pass(seconds(200)));
        // What lies in a partition that is known is counted when that is looked at again.
        sim.run_for(seconds(600));
        expect(&sim, &setting, judge::sound(&sim.record));
        let after = (70..310).filter(|id| sim.world().differs(*id)).count() as u64;
        assert!(after > before + 80, "{before} and {after}");
        let (whole, single) = counted(&sim, DriftKind::Mismatch);
        assert_eq!(whole + single, after, "{shape:?}: {whole} in partitions, {single} single");
    }
}

#[test]
fn memory_does_not_grow_with_the_number_of_differences() {
    let mut setting = Setting::new(1, Shape::Aligned);
    setting.knobs.entities = 3_000;
    setting.knobs.write_every = None;
    setting.pairing.settle.suspects_max = 60;
    let mut sim = Sim::new(setting.clone());
    {
        let world = sim.world();
        for id in 0..3_000 {
            // Some in every partition, but too few for a crowd.
            if id % 3 == 0 {
                world.remove(world.follower(), id);
            }
        }
    }
    assert!(sim.run_pass(seconds(300)));
    sim.run_for(seconds(400));
    expect(&sim, &setting, judge::sound(&sim.record));
    let in_flight = u64::from(setting.pairing.plan.concurrency.get()) * 20;
    assert!(sim.record.suspects_max <= 60 + in_flight, "{}", sim.record.suspects_max);
    let (whole, single) = counted(&sim, DriftKind::Missing);
    assert_eq!(whole + single, 1_000);
    assert!(single <= 60 + in_flight, "{single}");
}

#[test]
fn rows_that_cannot_be_mapped_are_counted_once_in_a_crowd() {
    for shape in SHAPES {
        let mut setting = Setting::new(2, shape);
        setting.knobs.write_every = None;
        let mut sim = Sim::new(setting.clone());
        for id in DAMAGED {
            let world = sim.world();
            let entity = world.entity(id);
            world.put(world.follower(), &Entity { amount: "a lot".to_owned(), ..entity });
        }
        assert!(sim.run_pass(seconds(200)));
        sim.run_for(seconds(100));
        expect(&sim, &setting, judge::sound(&sim.record));
        let (whole, single) = counted(&sim, DriftKind::Unmappable);
        assert_eq!(whole + single, 120, "{shape:?}: {whole} in partitions, {single} single");
        assert_eq!(counted(&sim, DriftKind::Missing), (0, 0), "{shape:?}");
        assert!(whole > 0 || shape == Shape::Lookup, "there was a crowd");
    }
}
