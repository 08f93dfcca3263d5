//! Damage to whole partitions.

use std::num::NonZeroU32;

use driftd::abort::{Condition, Criterion};
use driftd::model::{DriftKind, Happening, Severity, Subject};
use driftd_tests::sim::relations::{Entity, Shape};
use driftd_tests::sim::{POISON, RUDE};

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
fn a_check_that_does_not_say_where_keys_lie_has_them_told_twice() {
    let damaged = |blind: bool| {
        let mut setting = still(4, Shape::Aligned);
        setting.pairing.plan.partition_rows = NonZeroU32::new(60).unwrap();
        let mut sim = Sim::new(setting.clone());
        if blind {
            sim.tamper_event = Some(Box::new(|event| {
                if let driftd::engine::Event::Checked { outcome, .. } = event {
                    outcome.suspects.iter_mut().for_each(|seen| seen.cuts.clear());
                }
            }));
        }
        sim.run_for(seconds(1));
        // Then the table shrinks, so that passes cut it elsewhere, and what of the damage lies in one of
        // the new partitions is too little for a crowd.
        corrupt(&sim, 150..172);
        assert!(sim.run_pass(seconds(200)));
        sim.run_for(seconds(60));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (22, 0));
        (0..40).chain(172..400).for_each(|id| sim.world().delete(id));
        sim.run_for(seconds(600));
        expect(&sim, &setting, judge::sound(&sim.record));
        counted(&sim, DriftKind::Mismatch)
    };
    assert_eq!(damaged(false), (22, 0));
    assert!(damaged(true).1 > 0, "the checker must object");
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
        // A cell of an open relation is compared as what it is: a text that is no number differs.
        let open = shape == Shape::Lookup;
        let kind = if open { DriftKind::Mismatch } else { DriftKind::Unmappable };
        let (whole, single) = counted(&sim, kind);
        assert_eq!(whole + single, 120, "{shape:?}: {whole} in partitions, {single} single");
        assert_eq!(counted(&sim, DriftKind::Missing), (0, 0), "{shape:?}");
        assert!(whole > 0 || shape == Shape::Lookup, "there was a crowd");
    }
}

/// Nobody writes but the test.
fn still(seed: u64, shape: Shape) -> Setting {
    let mut setting = Setting::new(seed, shape);
    setting.knobs.write_every = None;
    setting
}

/// The mapping traps on the page in which this entity lies.
fn poison(sim: &Sim, id: i64) {
    let world = sim.world();
    let poisoned = Entity { name: POISON.to_owned(), ..world.entity(id) };
    world.put(driftd::model::Side::Source, &poisoned);
}

/// The follower gets the same wrong value in all of these.
fn corrupt(sim: &Sim, ids: std::ops::Range<i64>) {
    let world = sim.world();
    for id in ids {
        let wrong = Entity { email: "default@example.com".to_owned(), ..world.entity(id) };
        world.put(world.follower(), &wrong);
    }
}

/// Entities come to be on both sides.
fn create(sim: &mut Sim, ids: std::ops::Range<i64>) {
    for id in ids {
        let mut world = sim.world();
        let now = world.now();
        let entity = world.fresh(id, now);
        world.write(entity);
    }
    sim.run_for(seconds(10));
}

#[test]
fn a_part_that_is_always_unread_does_not_hide_a_crowd_beside_it() {
    for shape in SHAPES {
        let setting = still(1, shape);
        let mut sim = Sim::new(setting.clone());
        sim.run_for(seconds(1));
        corrupt(&sim, 80..120);
        poison(&sim, 100);
        sim.run_for(seconds(120));
        expect(&sim, &setting, judge::sound(&sim.record));
        // The page of the entity that traps is 16 of them.
        assert_eq!(counted(&sim, DriftKind::Mismatch), (24, 0), "{shape:?}");
        // It becomes more, which is told, and less, which must be read first.
        corrupt(&sim, 120..160);
        sim.run_for(seconds(60));
        for id in 80..90 {
            sim.world().repair(id);
        }
        sim.run_for(seconds(700));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (64, 0), "{shape:?}");
        let entity = sim.world().entity(100);
        sim.world().put(driftd::model::Side::Source, &entity);
        sim.run_for(seconds(1_400));
        expect(&sim, &setting, judge::sound(&sim.record));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (70, 0), "{shape:?}");
    }
}

#[test]
fn crowds_that_cannot_be_read_make_room_for_others() {
    let mut setting = still(1, Shape::Aligned);
    setting.knobs.entities = 4_000;
    setting.pairing.settle.lag_budget = seconds(45);
    setting.pairing.settle.suspects_max = 100;
    let mut sim = Sim::new(setting.clone());
    corrupt(&sim, 0..4_000);
    assert!(sim.run_pass(seconds(40)), "all of them are met before one is judged");
    assert_eq!(counted(&sim, DriftKind::Mismatch), (0, 0));
    (160..4_000).step_by(8).for_each(|id| poison(&sim, id));
    sim.run_for(seconds(700));
    expect(&sim, &setting, judge::sound(&sim.record));
    assert_eq!(counted(&sim, DriftKind::Mismatch).0, 160);
}

#[test]
fn damage_beyond_what_can_be_checked_again_at_once_is_told() {
    for shape in SHAPES {
        let setting = still(2, shape);
        let mut sim = Sim::new(setting.clone());
        corrupt(&sim, 365..400);
        assert!(sim.run_pass(seconds(200)));
        sim.run_for(seconds(60));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (35, 0), "{shape:?}");
        // Where it lies has no end, and comes to hold far more than a check does.
        create(&mut sim, 400..900);
        corrupt(&sim, 850..890);
        corrupt(&sim, 700..701);
        sim.run_for(seconds(900));
        expect(&sim, &setting, judge::sound(&sim.record));
        let (whole, single) = counted(&sim, DriftKind::Mismatch);
        assert_eq!(whole + single, 76, "{shape:?}: {whole} and {single}");
        assert_eq!(judge::times(&sim.record, is_resolved).len(), 0, "{shape:?}");
    }
}

#[test]
fn damage_is_not_resolved_because_more_came_to_lie_before_it() {
    for shape in SHAPES {
        let mut setting = still(3, shape);
        setting.pairing.settle.crowd = 10;
        let mut sim = Sim::new(setting.clone());
        create(&mut sim, 980..1_000);
        (0..20).for_each(|id| sim.world().delete(id));
        sim.run_for(seconds(10));
        corrupt(&sim, 980..1_000);
        assert!(sim.run_pass(seconds(200)));
        sim.run_for(seconds(60));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (20, 0), "{shape:?}");
        create(&mut sim, 400..900);
        sim.run_for(seconds(1_200));
        expect(&sim, &setting, judge::sound(&sim.record));
        assert_eq!(counted(&sim, DriftKind::Mismatch), (20, 0), "{shape:?}");
        assert_eq!(judge::times(&sim.record, is_resolved).len(), 0, "{shape:?}");
        (980..1_000).for_each(|id| sim.world().repair(id));
        sim.run_for(seconds(1_200));
        expect(&sim, &setting, judge::resolved(&sim.record));
    }
}

const fn is_resolved(what: &Happening) -> bool {
    matches!(what, Happening::Resolved(_))
}

#[test]
fn violations_in_a_crowd_are_counted_by_invariant_however_few_they_are() {
    let worst = |at_least| Criterion {
        name: format!("worst {at_least}"),
        pairing: None,
        condition: Condition::Violations { severity: Severity::Critical, at_least },
        hooks: Vec::new(),
    };
    for shape in SHAPES {
        let mut setting = still(1, shape);
        setting.pairing.invariant = true;
        setting.pairing.plan.partition_rows = NonZeroU32::new(500).unwrap();
        setting.pairing.window_rows = NonZeroU32::new(2_000).unwrap();
        setting.abort.criteria = vec![worst(4), worst(5)];
        let mut sim = Sim::new(setting.clone());
        corrupt(&sim, 0..311);
        for id in 390..396 {
            let mut world = sim.world();
            let entity = world.entity(id);
            let amount = if id < 394 { "-5".to_owned() } else { entity.amount.clone() };
            let name = if id < 392 { entity.name.clone() } else { RUDE.to_owned() };
            world.write(Entity { amount, name, ..entity });
        }
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::sound(&sim.record));
        let told = judge::told(&sim.record);
        let told: Vec<_> = told
            .values()
            .map(|found| {
                let Subject::Partition { entities, sample, .. } = &found.subject else {
                    panic!("seed {}: {found:?}", setting.seed);
                };
                let invariant = found.invariant.as_ref().map(|(id, severity)| (&id[..], *severity));
                (found.kind, invariant, *entities, sample.is_empty())
            })
            .collect();
        let violation =
            |id, severity, entities| (DriftKind::Violation, Some((id, severity)), entities, false);
        let expected = [
            (DriftKind::Mismatch, None, 311, false),
            violation("balance", Severity::Critical, 4),
            violation("polite", Severity::Info, 4),
        ];
        assert_eq!(told, expected, "{shape:?}");
        let tripped: Vec<_> = sim.engine().criteria().iter().map(|one| one.trips).collect();
        assert_eq!(tripped, [1, 0], "{shape:?}");
        // What one invariant says is resolved apart from what another says.
        for id in 390..392 {
            let mut world = sim.world();
            let entity = world.entity(id);
            world.write(Entity { amount: "5".to_owned(), ..entity });
        }
        sim.run_for(seconds(700));
        let open = |invariant: &str| {
            let mut open = sim
                .engine()
                .findings()
                .filter(|found| found.invariant.as_ref().is_some_and(|(id, _)| id == invariant));
            open.next().map(driftd::model::Finding::entities)
        };
        assert_eq!((open("balance"), open("polite")), (Some(2), Some(4)), "{shape:?}");
    }
}
