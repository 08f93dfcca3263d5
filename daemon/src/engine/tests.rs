//! Tests that drive the engine with answers made by hand; what a world does is the simulation's.

use super::*;
use crate::model::{
    Digest, DriftKind, Facets, FaultCode, Key, Sighting, State, StoreKey, Subject, Unjudged, Why,
};

/// What checks and looks answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// A key's field differs.
    Differs,
    /// A field of an entity of the second type differs.
    Typed,
    /// The key is gone from its place in the source, which cannot be searched; checks find nothing.
    Gone,
    /// Both sides hold the key alike.
    Alike,
    /// Neither side has the key.
    Nowhere,
}

pub(super) fn settings() -> Settings {
    let spec = Spec {
        name: "things".to_owned(),
        identity: MappingIdentity(1),
        leads: Leads(crate::model::Side::Source),
        reading: plan::Reading {
            directions: vec![Direction::FromSource],
            not_verifiable: Some("what is only in the target".to_owned()),
        },
        plan: plan::Settings::default(),
        settle: settle::Settings::default(),
        seed: 1,
        entities: vec![entity("thing", &["f"])],
        invariants: Vec::new(),
        relations: <[_; 2]>::default(),
    };
    let abort = abort::Settings { mode: abort::Mode::Armed, criteria: Vec::new() };
    Settings {
        pairings: vec![spec],
        abort,
        hooks: Vec::new(),
        until: Until::Stopped,
        slots: NonZeroU32::MAX,
    }
}

fn entity(name: &str, fields: &[&str]) -> EntitySpec {
    EntitySpec {
        name: name.to_owned(),
        fields: fields.iter().map(|&field| field.to_owned()).collect(),
        version_is_time: false,
    }
}

pub(super) fn key() -> Key {
    Key(Box::from(&b"k"[..]))
}

pub(super) fn sighting() -> Sighting {
    sighting_of(key())
}

pub(super) fn sighting_of(key: Key) -> Sighting {
    let held = |digest| {
        State::Present(Facets {
            entity: Digest(digest),
            fields: vec![Digest(digest)],
            version: None,
        })
    };
    Sighting {
        key,
        source: held(1),
        target: held(2),
        source_at: vec![StoreKey(Box::from(&b"5"[..]))],
        target_at: vec![StoreKey(Box::from(&b"k"[..]))],
        cuts: Vec::new(),
        violations: Vec::new(),
        labels: std::collections::BTreeMap::new(),
        steady: true,
        cosmetic: Vec::new(),
        reason: None,
    }
}

/// The key that differs.
fn seen(world: World) -> Option<Sighting> {
    match world {
        World::Differs => Some(sighting()),
        World::Typed => Some(sighting_of(Key::of_type(1, b"k"))),
        World::Gone | World::Alike | World::Nowhere => None,
    }
}

/// What a look at the key shows, if it shows anything.
fn looked(world: World) -> Option<Sighting> {
    let alike = Sighting { target: sighting().source, ..sighting() };
    match world {
        World::Differs | World::Typed | World::Gone => seen(world),
        World::Alike => Some(alike),
        World::Nowhere => {
            Some(Sighting { source: State::Absent, target: State::Absent, ..sighting() })
        }
    }
}

pub(super) fn answer(job: Job, world: World, now: Moment) -> Event {
    match job {
        Job::Split { pairing, direction } => {
            let extents = Ok(vec![Extent::Segment { index: 0, of: 1 }]);
            Event::Split {
                pairing,
                direction,
                extents,
                unmapped: std::collections::BTreeMap::new(),
            }
        }
        Job::Check { check, .. } => {
            let suspects = seen(world).into_iter().collect();
            let outcome = Outcome { same: 1, suspects, ..Outcome::default() };
            Event::Checked { check, began: now, outcome }
        }
        Job::Look { look, .. } => {
            let mut result = Look::default();
            result.sightings.extend(looked(world));
            if world == World::Gone {
                let text = || "gone".to_owned();
                let (what, remedy) = (text(), text());
                result
                    .unread
                    .push((key(), Fault { side: None, what, remedy, code: FaultCode::PlaceGone }));
            }
            Event::Looked { look, result }
        }
        Job::Hook(job) => panic!("no hook is configured: {job:?}"),
    }
}

/// Goes on for `steps` decisions. What happened.
pub(super) fn drive(
    engine: &mut Engine,
    (now, first): (&mut Moment, Event),
    world: World,
    steps: usize,
) -> Vec<Happening> {
    let (mut happened, mut events) = (Vec::new(), vec![first]);
    for _ in 0..steps {
        let event = events.pop().unwrap_or(Event::Tick);
        let decision = engine.apply(*now, event);
        happened.extend(decision.commit.occurrences.into_iter().map(|occurrence| occurrence.what));
        events.extend(decision.jobs.into_iter().map(|job| answer(job, world, *now)));
        if events.is_empty() {
            *now = decision.wake.unwrap_or_else(|| now.after(Duration::from_secs(1)));
        }
    }
    happened
}

#[test]
fn a_finding_whose_row_is_gone_is_resolved_by_a_whole_pass_that_does_not_meet_it() {
    let mut now = Moment(1_000_000_000_000_000);
    let mut engine = Engine::new(settings(), Saved::default(), now);
    let happened = drive(&mut engine, (&mut now, Event::Started), World::Differs, 300);
    let confirmed = |what: &&Happening| matches!(what, Happening::Confirmed(_));
    assert_eq!(happened.iter().filter(confirmed).count(), 1, "{happened:?}");

    let happened = drive(&mut engine, (&mut now, Event::Tick), World::Gone, 300);
    assert_eq!(happened.iter().filter(confirmed).count(), 0, "{happened:?}");
    let resolved: Vec<_> = happened
        .iter()
        .filter_map(|what| {
            let Happening::Resolved(finding) = what else { return None };
            Some((finding.kind, finding.subject.clone()))
        })
        .collect();
    assert_eq!(resolved, [(DriftKind::Mismatch, Subject::Key(key()))]);
}

#[test]
fn fields_and_entity_types_are_named_after_the_key() {
    let mut spec = settings().pairings.remove(0);
    let of = |number| Key::of_type(number, b"k");
    let row = Key::of_row(crate::model::Side::Source, &StoreKey(Box::from(&b"k"[..])));
    let told = |spec: &Spec, key: &Key| {
        let name = spec.entity(key).map(|entity| entity.name.clone());
        let [(_, fields)] = &spec.wrong(&sighting_of(key.clone()), Moment(0))[..] else {
            panic!("one thing is wrong")
        };
        (name, fields.join(","))
    };
    let named = |name: &str, field: &str| (Some(name.to_owned()), field.to_owned());
    assert_eq!(told(&spec, &key()), named("thing", "f"));
    assert_eq!(told(&spec, &row), (None, String::new()));
    spec.entities.push(entity("order", &["total"]));
    assert_eq!(told(&spec, &of(0)), named("thing", "f"));
    assert_eq!(told(&spec, &of(1)), named("order", "total"));
    assert_eq!(told(&spec, &of(2)), (None, String::new()));
}

#[test]
fn a_confirmed_finding_says_of_which_type_it_is() {
    let mut settings = settings();
    settings.pairings[0].entities.push(entity("order", &["total"]));
    let typed = Key::of_type(1, b"k");
    let mut now = Moment(1_000_000_000_000_000);
    let mut engine = Engine::new(settings, Saved::default(), now);
    let happened = drive(&mut engine, (&mut now, Event::Started), World::Typed, 300);
    let told: Vec<_> = happened
        .iter()
        .filter_map(|what| {
            let Happening::Confirmed(finding) = what else { return None };
            Some((finding.subject.clone(), finding.entity.as_deref(), finding.fields.join(",")))
        })
        .collect();
    assert_eq!(told, [(Subject::Key(typed), Some("order"), "total".to_owned())]);
}

#[test]
fn entities_share_a_type_only_if_their_sample_tells_of_all() {
    let mut spec = settings().pairings.remove(0);
    let row = Key::of_row(crate::model::Side::Source, &StoreKey(Box::from(&b"k"[..])));
    let of = |number| Key::of_type(number, b"k");
    for (sample, entities, expected) in [
        (vec![], 9, Some("thing")),
        (vec![key()], 9, Some("thing")),
        (vec![row.clone()], 9, None),
        (vec![row.clone(), key()], 2, None),
    ] {
        let sample: Vec<_> = sample.iter().map(|key| spec.named(key)).collect();
        assert_eq!(spec.shared(&sample, entities).as_deref(), expected, "{sample:?} of {entities}");
    }
    spec.entities.push(entity("order", &["total"]));
    for (sample, entities, expected) in [
        (vec![], 9, None),
        (vec![of(1)], 9, None),
        (vec![of(1)], 1, Some("order")),
        (vec![of(1), of(0)], 2, None),
        (vec![row], 1, None),
    ] {
        let sample: Vec<_> = sample.iter().map(|key| spec.named(key)).collect();
        assert_eq!(spec.shared(&sample, entities).as_deref(), expected, "{sample:?} of {entities}");
    }
}

#[test]
fn a_lag_incident_outlives_the_mapping_under_which_it_opened() {
    let began = Moment(1_000_000_000_000_000);
    let status = PairingStatus {
        pairing: "things".to_owned(),
        identity: MappingIdentity(2),
        follower_progress: began,
        lagging_since: Some(began),
        ..PairingStatus::default()
    };
    let saved = Saved { status: vec![status], ..Saved::default() };
    let mut now = began.after(Duration::from_secs(60));
    let mut engine = Engine::new(settings(), saved, now);
    let happened = drive(&mut engine, (&mut now, Event::Started), World::Gone, 300);
    let closed = happened.iter().filter(|what| matches!(what, Happening::CaughtUp { .. })).count();
    assert_eq!(closed, 1, "whoever was alarmed is told that it is over: {happened:?}");
}

/// An engine with so many crowds that are due, and what it begins with.
fn crowds(count: i128, concurrency: u32) -> (Engine, Decision) {
    let mut settings = settings();
    settings.pairings[0].plan.concurrency = std::num::NonZeroU32::new(concurrency).unwrap();
    let crowd = |number: i128| crate::model::Crowd {
        pairing: "things".to_owned(),
        identity: MappingIdentity(1),
        partition: Partition { direction: Direction::FromSource, number: 0, extent: range(number) },
        check: 1,
        first_seen: BEGAN,
        due: BEGAN,
    };
    let saved = Saved { crowds: (0..count).map(crowd).collect(), ..Saved::default() };
    let mut engine = Engine::new(settings, saved, BEGAN);
    let decision = engine.apply(BEGAN, Event::Started);
    (engine, decision)
}

const BEGAN: Moment = Moment(1_000_000_000_000_000);

fn range(number: i128) -> Extent {
    Extent::Range(crate::model::Range { from: Some(number * 10), until: Some(number * 10 + 10) })
}

/// Members of a crowd, others at each check.
fn members(check: u64) -> Option<Vec<crate::model::Member>> {
    let member = |key| crate::model::Member {
        key,
        states: check,
        kind: DriftKind::Mismatch,
        invariant: None,
    };
    Some((0..20).map(member).collect())
}

#[test]
fn crowds_leave_the_pass_its_share_of_the_checks() {
    for concurrency in [1, 2, 3, 4] {
        let (mut engine, decision) = crowds(32, concurrency);
        let mut jobs: std::collections::VecDeque<Job> = decision.jobs.into();
        let mut checked = Vec::new();
        while checked.len() < 24 {
            let event = match jobs.pop_front().expect("something is under way") {
                Job::Split { pairing, direction } => {
                    let extents = Ok((100..200).map(range).collect());
                    Event::Split { pairing, direction, extents, unmapped: BTreeMap::new() }
                }
                Job::Check { check, partition, .. } => {
                    let of_crowd = partition.extent < range(100);
                    checked.push(of_crowd);
                    let crowd = if of_crowd { members(check) } else { None };
                    let outcome = Outcome { same: 1, crowd, ..Outcome::default() };
                    Event::Checked { check, began: BEGAN, outcome }
                }
                other @ (Job::Look { .. } | Job::Hook(_)) => panic!("{other:?}"),
            };
            jobs.extend(engine.apply(BEGAN, event).jobs);
        }
        let of_crowds = checked.iter().filter(|of_crowd| **of_crowd).count();
        assert!((8..=18).contains(&of_crowds), "{concurrency}: {checked:?}");
    }
}

#[test]
fn crowds_beyond_what_is_settled_at_once_are_unsettled_by_name() {
    let (mut engine, mut decision) = crowds(1_000, 4);
    let mut unsettled = Vec::new();
    let mut jobs = std::mem::take(&mut decision.jobs);
    while unsettled.is_empty() {
        let event = match jobs.pop().expect("something is under way") {
            Job::Split { pairing, direction } => {
                let extents = Ok(vec![range(2_000)]);
                Event::Split { pairing, direction, extents, unmapped: BTreeMap::new() }
            }
            Job::Check { check, partition, .. } => {
                let crowd = if partition.extent == range(2_000) { members(check) } else { None };
                if crowd.is_none() {
                    continue;
                }
                Event::Checked {
                    check,
                    began: BEGAN,
                    outcome: Outcome { crowd, ..Outcome::default() },
                }
            }
            other @ (Job::Look { .. } | Job::Hook(_)) => panic!("{other:?}"),
        };
        let decision = engine.apply(BEGAN, event);
        unsettled.extend(decision.commit.unsettled);
        jobs.extend(decision.jobs);
        assert_eq!(decision.commit.crowds, []);
    }
    let [one] = unsettled.as_slice() else { panic!("{unsettled:?}") };
    let partition = Partition { direction: Direction::FromSource, number: 0, extent: range(2_000) };
    assert_eq!((&one.subject, one.entities), (&Unjudged::Members(partition), 20));
    assert_eq!((one.why, engine.statuses()[0].unsettled), (Why::Crowded, 20));
    assert_eq!(engine.statuses()[0].same, 0, "it is never the same");
}

/// An engine of so many pairings, each with a pass of 1,000 partitions and as many checks at once as it
/// likes, that may have so many jobs in flight together.
fn many(pairings: usize, slots: u32) -> (Engine, Decision) {
    let mut settings = settings();
    let spec = settings.pairings.remove(0);
    let named = |number: usize| {
        let mut spec = Spec { name: format!("things-{number}"), ..spec.clone() };
        spec.plan.concurrency = NonZeroU32::new(100).unwrap();
        spec
    };
    settings.pairings = (0..pairings).map(named).collect();
    settings.slots = NonZeroU32::new(slots).unwrap();
    let mut engine = Engine::new(settings, Saved::default(), BEGAN);
    let decision = engine.apply(BEGAN, Event::Started);
    (engine, decision)
}

/// Whose a job is, and what it comes to.
fn answered(job: Job) -> (usize, Event) {
    match job {
        Job::Split { pairing, direction } => {
            let extents = Ok((0..1_000).map(range).collect());
            (pairing, Event::Split { pairing, direction, extents, unmapped: BTreeMap::new() })
        }
        Job::Check { check, pairing, .. } => {
            let outcome = Outcome { same: 1, ..Outcome::default() };
            (pairing, Event::Checked { check, began: BEGAN, outcome })
        }
        other @ (Job::Look { .. } | Job::Hook(_)) => panic!("{other:?}"),
    }
}

#[test]
fn pairings_take_turns_and_never_more_reads_than_there_are_slots() {
    for (pairings, slots) in [(1, 3), (2, 3), (3, 8), (50, 4), (50, 16)] {
        let (mut engine, decision) = many(pairings, slots);
        let mut jobs: std::collections::VecDeque<Job> = decision.jobs.into();
        let mut ended = vec![0; pairings];
        while let Some(at) = jobs.iter().position(|job| matches!(job, Job::Split { .. })) {
            assert!(jobs.len() <= slots as usize, "{pairings}, {slots}");
            let (_, event) = answered(jobs.remove(at).unwrap());
            jobs.extend(engine.apply(BEGAN, event).jobs);
        }
        for _ in 0..20 * pairings {
            assert_eq!(jobs.len(), slots as usize, "what is free is used: {pairings}, {slots}");
            let (of, event) = answered(jobs.pop_front().unwrap());
            ended[of] += 1;
            jobs.extend(engine.apply(BEGAN, event).jobs);
        }
        let (least, most) = (ended.iter().min().unwrap(), ended.iter().max().unwrap());
        // What is in flight at the end is not counted.
        let fair = (slots as usize).div_ceil(pairings);
        assert!(most - least <= fair + 1, "{pairings}, {slots}: {ended:?}");
    }
}

#[test]
fn one_whose_checks_never_end_does_not_keep_the_others_waiting() {
    let (mut engine, decision) = many(3, 6);
    let mut jobs: std::collections::VecDeque<Job> = decision.jobs.into();
    // It is the first that has something to do, and takes what it can get.
    let (_, event) = answered(jobs.pop_front().unwrap());
    jobs.extend(engine.apply(BEGAN, event).jobs);
    let mut ended = [0; 3];
    for _ in 0..100 {
        let ends = jobs.iter().position(|job| {
            matches!(job, Job::Split { .. })
                || matches!(job, Job::Check { pairing, .. } if *pairing > 0)
        });
        let (of, event) = answered(jobs.remove(ends.expect("the others go on")).unwrap());
        ended[of] += 1;
        jobs.extend(engine.apply(BEGAN, event).jobs);
    }
    let stuck = jobs.iter().filter(|job| matches!(job, Job::Check { pairing: 0, .. })).count();
    assert!(stuck < 6 && ended[1].min(ended[2]) > 40, "{ended:?}, {jobs:?}");
}

#[test]
fn with_one_slot_neither_looks_nor_checks_wait_for_ever() {
    let (mut engine, decision) = many(1, 1);
    let mut jobs: std::collections::VecDeque<Job> = decision.jobs.into();
    let (mut now, mut looks, mut checks) = (BEGAN, 0_u128, 0_u128);
    let mut keys = 0_u32;
    while looks + checks < 60 {
        assert_eq!(jobs.len(), 1, "after {looks} looks and {checks} checks");
        // Long enough that whatever is suspected is due again.
        now = now.after(Duration::from_secs(90));
        let event = match jobs.pop_front().unwrap() {
            Job::Check { check, .. } => {
                checks += 1;
                keys += 1;
                let key = Key(keys.to_string().into_bytes().into());
                let suspects = vec![sighting_of(key)];
                let outcome = Outcome { suspects, ..Outcome::default() };
                Event::Checked { check, began: now, outcome }
            }
            Job::Look { look, asked, .. } => {
                looks += 1;
                // What is looked at never stands still.
                let moving = |asked: &Asked| {
                    let digest = Digest(looks + 2);
                    let source = State::Present(Facets {
                        entity: digest,
                        fields: vec![digest],
                        version: None,
                    });
                    Sighting { source, ..sighting_of(asked.key.clone()) }
                };
                let sightings = asked.iter().map(moving).collect();
                Event::Looked { look, result: Look { sightings, ..Look::default() } }
            }
            job @ (Job::Split { .. } | Job::Hook(_)) => answered(job).1,
        };
        jobs.extend(engine.apply(now, event).jobs);
    }
    assert!(looks.min(checks) >= 20, "{looks} looks, {checks} checks");
}
