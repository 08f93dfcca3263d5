//! What a run that goes on makes of what it finds, and what several pairings share.

use std::num::NonZeroU32;

use driftd::engine::{Decision, Engine, Event, Job, Settings, Spec, Until};
use driftd::model::{
    Digest, Direction, Extent, Happening, MappingIdentity, Moment, Outcome, Range, Saved, Side,
    Sighting, State, StoreKey,
};
use driftd::store::StoreErrorKind;
use driftd_tests::sim::relations::{key, row_key};

use super::*;

const NOW: Moment = Moment(1_800_000_000_000_000);

fn spec(name: &str, suspects_max: usize) -> Spec {
    let mut spec = Setting::new(1, Shape::Aligned).pairing.spec();
    name.clone_into(&mut spec.name);
    spec.settle.suspects_max = suspects_max;
    spec
}

fn engine(pairings: Vec<Spec>, saved: Saved) -> (Engine, Decision) {
    let abort = Setting::new(1, Shape::Aligned).abort;
    let (until, slots) = (Until::Stopped, NonZeroU32::MAX);
    let settings = Settings { pairings, abort, hooks: Vec::new(), until, slots };
    let mut engine = Engine::new(settings, saved, NOW);
    let started = engine.apply(NOW, Event::Started);
    (engine, started)
}

/// Cuts a pairing into three. Returns the checks that begin: number and limit.
fn split(engine: &mut Engine, pairing: usize) -> Vec<(u64, usize)> {
    let range = |from, until| Extent::Range(Range { from, until });
    let extents = vec![range(None, Some(10)), range(Some(10), Some(20)), range(Some(20), None)];
    let event = Event::Split {
        pairing,
        direction: Direction::Aligned,
        extents: Ok(extents),
        unmapped: std::collections::BTreeMap::new(),
    };
    checks(&engine.apply(NOW, event))
}

fn checks(decision: &Decision) -> Vec<(u64, usize)> {
    let checks = decision.jobs.iter().filter_map(|job| match job {
        Job::Check { check, crowd, .. } => Some((*check, *crowd)),
        Job::Split { .. } | Job::Look { .. } | Job::Hook(_) => None,
    });
    checks.collect()
}

/// Feeds an engine the end of a check that saw these.
fn saw(engine: &mut Engine, check: u64, suspects: Vec<Sighting>) -> Decision {
    let outcome = Outcome { suspects, ..Outcome::default() };
    engine.apply(NOW, Event::Checked { check, began: NOW, outcome })
}

/// A row at each of these places of the target that the mapping rejects.
fn rejected(key: driftd::model::Key, places: &[&str]) -> Sighting {
    let at = |place: &&str| StoreKey(place.as_bytes().into());
    Sighting {
        key,
        source: State::Absent,
        target: State::Unmappable(Digest(1)),
        source_at: Vec::new(),
        target_at: places.iter().map(at).collect(),
        cuts: Vec::new(),
        violations: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        steady: true,
        cosmetic: Vec::new(),
        reason: Some("no number".to_owned()),
    }
}

#[test]
fn pairings_share_one_limit_of_suspects() {
    let (mut engine, _) = engine(vec![spec("users", 10), spec("orders", 10)], Saved::default());
    let begun = split(&mut engine, 0);
    assert!(begun.iter().all(|(_, crowd)| *crowd == 20), "{begun:?}");
    let suspects = (0..10).map(|id| rejected(key(id), &[&format!("{id}")])).collect();
    saw(&mut engine, begun[0].0, suspects);
    let begun = split(&mut engine, 1);
    assert!(!begun.is_empty() && begun.iter().all(|(_, crowd)| *crowd == 0), "{begun:?}");
}

#[test]
fn a_row_that_is_followed_elsewhere_does_not_hide_another_of_the_same_entity() {
    for places in [["followed", "new"], ["new", "followed"]] {
        let (mut engine, _) = engine(vec![spec("users", 400)], Saved::default());
        let begun = split(&mut engine, 0);
        let row = row_key(Side::Target, driftd::model::Value::Text("followed".to_owned()));
        saw(&mut engine, begun[0].0, vec![rejected(row, &["followed"])]);
        let decision = saw(&mut engine, begun[1].0, vec![rejected(key(1), &places)]);
        let suspects: Vec<_> = decision.commit.suspects.iter().map(|one| &one.key).collect();
        assert_eq!(suspects, [&key(1)], "{places:?}");
        // With both of them followed there is nothing new.
        let decision = saw(&mut engine, begun[2].0, vec![rejected(key(2), &["new", "followed"])]);
        assert_eq!(decision.commit.suspects, [], "{places:?}");
    }
}

/// A run that has suspects, findings and crowds.
fn damaged() -> Sim {
    let mut setting = Setting::new(1, Shape::Aligned);
    setting.knobs.write_every = None;
    let mut sim = Sim::new(setting);
    sim.run_for(seconds(20));
    for id in 0..10 {
        sim.world().remove(Side::Target, id * 40 + 4);
    }
    sim.run_for(seconds(60));
    (100..140).for_each(|id| sim.world().remove(Side::Target, id));
    sim.world().remove(Side::Target, 300);
    sim.run_for(seconds(13));
    sim
}

#[test]
fn checks_of_a_run_that_goes_on_have_numbers_of_their_own() {
    let saved = damaged().saved();
    let known = saved.suspects.iter().map(|one| one.check);
    let known = known.chain(saved.crowds.iter().map(|one| one.check));
    let last = known.chain(saved.findings.iter().map(|one| one.check)).max().unwrap();
    let (mut engine, mut decision) = engine(vec![spec("users", 400)], saved);
    for _ in 0..20 {
        let begun = checks(&decision);
        assert!(begun.iter().all(|(check, _)| *check > last), "{begun:?} and {last}");
        decision = match begun.first() {
            Some((check, _)) => saw(&mut engine, *check, Vec::new()),
            None if last > 0 => engine.apply(NOW.after(seconds(120)), Event::Tick),
            None => break,
        };
    }
}

#[test]
fn what_another_mapping_or_a_removed_pairing_left_behind_is_let_go() {
    let saved = damaged().saved();
    assert!(!saved.suspects.is_empty() && !saved.crowds.is_empty(), "{saved:?}");
    let open: Vec<u64> = saved.findings.iter().map(|finding| finding.id).collect();
    assert_eq!(open.len(), 10);
    let superseded = |decision: &Decision| -> Vec<u64> {
        let happened = decision.commit.occurrences.iter().filter_map(|one| {
            let Happening::Superseded(finding) = &one.what else { return None };
            Some(finding.id)
        });
        happened.collect()
    };
    // What another mapping found stands until it is judged under this one.
    let changed = Spec { identity: MappingIdentity(1), ..spec("users", 400) };
    let (other, started) = engine(vec![changed], saved.clone());
    assert_eq!(superseded(&started), Vec::<u64>::new());
    let standing: Vec<u64> = other.findings().map(|finding| finding.id).collect();
    let status = other.statuses().remove(0);
    assert_eq!((standing, status.open.values().sum(), status.anew), (open.clone(), 10, 10));
    assert_eq!(started.commit.decided.len(), saved.suspects.len());
    let left: Vec<_> = saved.crowds.iter().map(|crowd| crowd.partition).collect();
    let let_go: Vec<_> = started.commit.dispersed.iter().map(|(_, partition)| *partition).collect();
    assert_eq!(let_go, left);

    let (other, started) = engine(vec![spec("orders", 400)], saved.clone());
    assert_eq!(superseded(&started), open);
    assert_eq!(started.commit.removed, ["users"]);
    assert_eq!(other.findings().count(), 0);
    let (_, started) = engine(vec![spec("users", 400), spec("orders", 400)], saved);
    assert_eq!((superseded(&started), started.commit.removed), (Vec::new(), Vec::new()));
}

#[test]
fn a_pass_counts_each_entity_once_although_reads_fail_and_the_process_dies() {
    for (shape, all) in SHAPES.into_iter().zip([400, 400]) {
        let mut setting = Setting::new(2, shape);
        setting.knobs.write_every = None;
        setting.crashes = 20;
        let mut sim = Sim::new(setting);
        let timeout = StoreErrorKind::Timeout { doing: "reading".to_owned(), after: seconds(1) };
        sim.handle(Side::Source).fail_every(NonZeroU32::new(13).unwrap(), timeout);
        sim.run_for(seconds(300));
        assert!(sim.record.crashes > 5, "{}", sim.record.crashes);
        let mut passes = 0;
        for (_, _, what) in &sim.record.occurrences {
            if let Happening::PassCompleted { pass, compared, unread: 0, .. } = what {
                assert_eq!(*compared, all, "{shape:?}, pass {pass}");
                passes += 1;
            }
        }
        assert!(passes > 3, "{shape:?}: {passes} passes");
    }
}

#[test]
fn a_pass_that_goes_on_counts_what_was_unsettled_in_it() {
    let mut setting = Setting::new(3, Shape::Aligned);
    setting.pairing.settle.looks_max = 4;
    setting.pairing.versioned = false;
    setting.knobs.hot = 1;
    setting.knobs.hot_every = Duration::from_millis(200);
    let mut sim = Sim::new(setting);
    sim.world().lose(0);
    let (mut passes, mut crashed, mut counted) = (0, 0, 0);
    for _ in 0..600 {
        sim.run_for(Duration::from_millis(500));
        let status = sim.status();
        if status.passes > passes {
            passes = status.passes;
            counted += status.last_pass_unsettled;
        } else if status.pass > crashed && status.done > 0 && status.done < status.partitions {
            crashed = status.pass;
            sim.crash();
        }
    }
    assert!(crashed > 5 && counted > 5, "{crashed} and {counted}");
    let all = sim.status().unsettled;
    assert!(counted <= all, "each is of one pass: {counted} of {all}");
}
