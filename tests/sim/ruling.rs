//! Rules over whole partitions: what stays wrong is found once, what is in flight never is.

use driftd::engine::{Event, Until};
use driftd::model::{Digest, DriftKind, Extent, Finding, Happening, Side, Subject, Verdict};
use driftd_tests::sim::POISON;
use driftd_tests::sim::relations::{Entity, Shape};

use super::*;

/// Entities that nobody writes to, more than a partition of them.
const SPARED: std::ops::Range<i64> = 60..140;
/// One of them, in whose partition the sum is wrong.
const WRONG: i64 = 104;

/// Amounts are not compared, and change all the time; so does the rest, now and then.
fn setting(seed: u64, shape: Shape) -> Setting {
    let mut setting = Setting::new(seed, shape);
    setting.pairing.rule = true;
    setting.pairing.blind = Some("amount");
    setting.pairing.versioned = false;
    setting.knobs.write_every = Some(Duration::from_secs(1));
    setting.knobs.pay_every = Some(Duration::from_millis(150));
    setting
}

/// Both shapes with the first `count` seeds.
fn settings(count: usize) -> impl Iterator<Item = Setting> {
    let seeds = seeds().into_iter().take(count);
    seeds.flat_map(|seed| SHAPES.map(|shape| setting(seed, shape)))
}

fn spare(sim: &mut Sim) {
    sim.world().spare(SPARED);
    // What was written before has arrived.
    sim.run_for(seconds(15));
}

/// Makes the sum of one partition wrong, past the pipeline.
fn plant(sim: &Sim) {
    let world = sim.world();
    let entity = Entity { amount: "123456.5".to_owned(), ..world.entity(WRONG) };
    world.put(world.follower(), &entity);
}

/// The mapping traps on the page in which an entity of the wrong partition lies, or no longer does.
fn poison(sim: &Sim, poisoned: bool) {
    let world = sim.world();
    let entity = world.entity(WRONG - 1);
    let name = if poisoned { POISON.to_owned() } else { entity.name.clone() };
    world.put(Side::Source, &Entity { name, ..entity });
}

fn confirmed(sim: &Sim) -> Vec<&Finding> {
    let all = sim.record.occurrences.iter();
    let confirmed = all.filter_map(|(_, _, what)| {
        let Happening::Confirmed(finding) = what else { return None };
        Some(finding)
    });
    confirmed.collect()
}

/// Whether the wrong partition was told of as such, once, and nothing else was.
fn found(sim: &Sim) -> judge::Verdict {
    let [finding] = confirmed(sim)[..] else {
        return Err(format!("not one finding: {:?}", confirmed(sim)));
    };
    let Subject::Partition { partition, entities: 1, sample } = &finding.subject else {
        return Err(format!("not of a whole partition: {finding:?}"));
    };
    let lies =
        matches!(partition.extent, Extent::Range(range) if range.contains(i128::from(WRONG)));
    let rule = finding.invariant.as_ref().is_some_and(|(id, _)| id == "sum");
    if lies && rule && sample.is_empty() && finding.kind == DriftKind::Violation {
        Ok(())
    } else {
        Err(format!("another finding: {finding:?}"))
    }
}

fn resolutions(sim: &Sim) -> usize {
    judge::times(&sim.record, |what| matches!(what, Happening::Resolved(_))).len()
}

#[test]
fn a_sum_that_is_wrong_only_while_writes_are_in_flight_is_never_condemned() {
    for setting in settings(4) {
        let mut sim = Sim::new(setting.clone());
        let seen = std::rc::Rc::new(std::cell::Cell::new(0u32));
        let broken = std::rc::Rc::clone(&seen);
        sim.tamper_event = Some(Box::new(move |event| {
            if let Event::Checked { outcome, .. } = event
                && outcome.unread.is_empty()
                && outcome.suspects.is_empty()
                && outcome.rules.iter().any(driftd::model::Ruled::is_broken)
            {
                broken.set(broken.get() + 1);
            }
        }));
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::silent(&sim.record));
        // Who believes the first scan has as many false alarms.
        assert!(seen.get() > 20, "seed {}: broken at {} scans", setting.seed, seen.get());
        assert!(sim.status().acquitted > 0, "seed {}", setting.seed);
    }
}

#[test]
fn a_check_that_does_not_see_what_moves_raises_false_alarms() {
    let alarmed = settings(4).any(|setting| {
        let mut sim = Sim::new(setting);
        sim.tamper_event = Some(Box::new(|event| {
            if let Event::Checked { outcome, .. } = event {
                outcome.rules.iter_mut().for_each(|ruled| ruled.state = Digest(0));
            }
        }));
        sim.run_for(seconds(200));
        judge::silent(&sim.record).is_err()
    });
    assert!(alarmed, "the checker must object");
}

#[test]
fn a_sum_that_stays_wrong_is_found_once_and_resolved() {
    for setting in settings(3) {
        let mut sim = Sim::new(setting.clone());
        spare(&mut sim);
        plant(&sim);
        sim.run_for(seconds(150));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, found(&sim));
        assert_eq!(resolutions(&sim), 0, "seed {}", setting.seed);
        sim.world().repair(WRONG);
        sim.run_for(seconds(400));
        expect(&sim, &setting, found(&sim));
        expect(&sim, &setting, judge::resolved(&sim.record));
    }
}

#[test]
fn a_driver_that_says_that_rules_hold_finds_nothing() {
    let mut sim = Sim::new(setting(1, Shape::Aligned));
    sim.tamper_event = Some(Box::new(|event| {
        if let Event::Checked { outcome, .. } = event {
            outcome.rules.iter_mut().for_each(|ruled| ruled.verdict = Verdict::Holds);
        }
    }));
    spare(&mut sim);
    plant(&sim);
    sim.run_for(seconds(200));
    assert!(found(&sim).is_err(), "the checker must object");
}

#[test]
fn what_is_unread_neither_condemns_nor_acquits() {
    for setting in settings(2) {
        let mut sim = Sim::new(setting.clone());
        spare(&mut sim);
        poison(&sim, true);
        plant(&sim);
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::silent(&sim.record));
        assert!(sim.status().last_pass_unread > 0, "seed {}: it shows", setting.seed);
        poison(&sim, false);
        sim.run_for(seconds(200));
        expect(&sim, &setting, found(&sim));
        poison(&sim, true);
        sim.world().repair(WRONG);
        sim.run_for(seconds(500));
        assert_eq!(resolutions(&sim), 0, "seed {}: nobody could look", setting.seed);
        poison(&sim, false);
        sim.run_for(seconds(500));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, judge::resolved(&sim.record));
    }
}

#[test]
fn a_driver_that_hides_what_is_unread_condemns() {
    let mut sim = Sim::new(setting(1, Shape::Aligned));
    sim.tamper_event = Some(Box::new(|event| {
        if let Event::Checked { outcome, .. } = event {
            outcome.unread.clear();
        }
    }));
    spare(&mut sim);
    poison(&sim, true);
    plant(&sim);
    sim.run_for(seconds(200));
    assert!(judge::silent(&sim.record).is_err(), "the checker must object");
}

#[test]
fn a_stopped_pipeline_suspends_condemning() {
    for shape in SHAPES {
        let run = |pause: u64| {
            let mut setting = setting(2, shape);
            setting.pairing.settle.pause_max = seconds(pause);
            // Enough keys wait for the follower to say that it stands still.
            setting.pairing.versioned = true;
            setting.pairing.settle.crowd = 1_000;
            setting.pairing.settle.suspects_max = 5_000;
            setting.knobs.write_every = Some(Duration::from_millis(120));
            let mut sim = Sim::new(setting.clone());
            spare(&mut sim);
            sim.world().stop_pipeline();
            sim.run_for(seconds(40));
            plant(&sim);
            sim.run_for(seconds(150));
            (sim, setting)
        };
        let (mut sim, setting) = run(1_000);
        expect(&sim, &setting, judge::silent(&sim.record));
        sim.world().resume_pipeline();
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, found(&sim));
        let (sim, _) = run(0);
        let condemned = confirmed(&sim).into_iter().any(Finding::is_of_rule);
        assert!(condemned, "{shape:?}: without a pause it is condemned");
    }
}

#[test]
fn a_dying_process_forgets_no_partition() {
    for mut setting in settings(4) {
        setting.crashes = 10;
        let mut sim = Sim::new(setting.clone());
        spare(&mut sim);
        plant(&sim);
        sim.run_for(seconds(200));
        expect(&sim, &setting, judge::sound(&sim.record));
        expect(&sim, &setting, found(&sim));
        assert!(sim.record.crashes > 3, "seed {}: it dies", setting.seed);
    }
}

/// A single pass over a world at rest, whose process dies when the pass is complete; and whether its
/// verdict counts what was seen before.
fn single_pass(shape: Shape, forgetful: bool) -> (Sim, Setting, judge::Verdict) {
    let mut setting = setting(1, shape);
    setting.until = Until::OnePass;
    (setting.knobs.write_every, setting.knobs.pay_every) = (None, None);
    let mut sim = Sim::new(setting.clone());
    plant(&sim);
    if forgetful {
        sim.tamper_commit = Some(Box::new(|commit| commit.suspect_partitions.clear()));
    }
    assert!(sim.run_pass(seconds(60)), "the pass is complete");
    assert!(!sim.is_finished(), "the wrong partition is waited for");
    sim.run_for(seconds(4));
    let died = sim.now();
    sim.crash();
    sim.run_for(seconds(120));
    let late = confirmed(&sim).into_iter().find(|finding| finding.first_seen >= died);
    let verdict = late.map_or_else(|| found(&sim), |late| Err(format!("seen anew: {late:?}")));
    (sim, setting, verdict)
}

#[test]
fn a_single_pass_waits_for_its_verdict_even_if_the_process_dies() {
    for shape in SHAPES {
        let (sim, setting, verdict) = single_pass(shape, false);
        expect(&sim, &setting, verdict);
        assert!(sim.is_finished());
        let (_, _, verdict) = single_pass(shape, true);
        assert!(verdict.is_err(), "{shape:?}: the checker must object to a journal that forgets");
    }
}

#[test]
fn a_single_pass_over_moving_sums_is_unsettled_not_clean() {
    let mut setting = setting(1, Shape::Aligned);
    setting.until = Until::OnePass;
    setting.knobs.write_every = None;
    // Every scan meets an amount that is on its way.
    setting.knobs.pay_every = Some(Duration::from_millis(5));
    let mut sim = Sim::new(setting.clone());
    sim.run_for(seconds(400));
    expect(&sim, &setting, judge::silent(&sim.record));
    assert!(sim.is_finished() && sim.status().unsettled > 0, "{:?}", sim.status());
}
