//! What one event costs the engine beside many findings: microseconds for a tick, a clean check, a check
//! that sees known keys, and a look at a hundred of them.
//!
//! `cargo bench --bench engine`. Prints the median of many events for 10,000 findings up to 1,000,000:
//! the work on one event must not grow with the number of findings.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use driftd::abort::{Condition, Criterion, Mode};
use driftd::engine::{Engine, EntitySpec, Event, Job, Settings, Spec, Until};
use driftd::model::{
    Digest, Direction, DriftKind, Extent, Facets, Finding, FindingStatus, Key, Leads, Look,
    MappingIdentity, Moment, Outcome, Partition, Range, Saved, Side, Sighting, State, StoreKey,
    Subject, Value,
};
use driftd::{abort, plan, settle};

/// Of so many findings one is of a partition, the others of single keys.
const OF_PARTITIONS: u64 = 100;
const EVENTS: usize = 300;
const NOW: Moment = Moment(1_800_000_000_000_000);
const IDENTITY: MappingIdentity = MappingIdentity(7);

fn main() {
    for findings in [10_000, 100_000, 1_000_000] {
        // Due far later: nothing is looked at again meanwhile.
        let (mut engine, jobs) = started(findings, NOW.after(Duration::from_secs(86_400)));
        let mut checks = checks_of(&jobs);
        let ticks = (0..EVENTS).map(|_| timed(&mut engine, Event::Tick).0);
        tell(findings, "a tick", ticks.collect());
        for (what, known) in [("a clean check", 0), ("a check that sees 50 known keys", 50)] {
            let mut took = Vec::new();
            for _ in 0..EVENTS {
                let check = checks.pop().expect("a check is in flight");
                let suspects = (1..=known).map(seen).collect();
                let outcome = Outcome { same: 10_000, suspects, ..Outcome::default() };
                let event = Event::Checked { check, began: NOW, outcome };
                let (time, jobs) = timed(&mut engine, event);
                took.push(time);
                checks.extend(checks_of(&jobs));
            }
            tell(findings, what, took);
        }
        // All due: as many looks as may be in flight, one after the other.
        let (mut engine, mut looks) = started(findings, NOW);
        let mut took = Vec::new();
        for _ in 0..EVENTS {
            let look = looks.iter().position(|job| matches!(job, Job::Look { .. }));
            let Some(Job::Look { look, asked, .. }) = look.map(|at| looks.swap_remove(at)) else {
                break;
            };
            let sightings = asked.into_iter().map(|asked| Sighting { key: asked.key, ..seen(1) });
            let result = Look { sightings: sightings.collect(), ..Look::default() };
            let (time, jobs) = timed(&mut engine, Event::Looked { look, result });
            took.push(time);
            looks.extend(jobs);
        }
        tell(findings, "a look at known keys", took);
    }
}

/// Feeds an event. How long the engine took, and what it wants done.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn timed(engine: &mut Engine, event: Event) -> (Duration, Vec<Job>) {
    let began = Instant::now();
    let decision = engine.apply(NOW, event);
    (began.elapsed(), decision.jobs)
}

fn tell(findings: u64, what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let median = took.get(took.len() / 2).copied().unwrap_or_default();
    println!("{findings} findings, {what}: {:.1} us median", median.as_secs_f64() * 1e6);
}

/// An engine with so many open findings, in a pass; and what is in flight.
fn started(findings: u64, due: Moment) -> (Engine, Vec<Job>) {
    let drift = |at_least| Condition::Drift { kinds: DriftKind::ALL.into(), at_least };
    let criterion = Criterion {
        name: "much".to_owned(),
        pairing: None,
        condition: drift(u64::MAX),
        hooks: Vec::new(),
    };
    let spec = Spec {
        name: "things".to_owned(),
        identity: IDENTITY,
        leads: Leads(Side::Source),
        reading: plan::Reading { directions: vec![Direction::Aligned], not_verifiable: None },
        plan: plan::Settings {
            concurrency: NonZeroU32::new(8).expect("not zero"),
            ..plan::Settings::default()
        },
        settle: settle::Settings { suspects_max: usize::MAX, ..settle::Settings::default() },
        seed: 1,
        entities: vec![EntitySpec {
            name: "thing".to_owned(),
            fields: vec!["f".to_owned()],
            version_is_time: false,
        }],
        invariants: Vec::new(),
        relations: <[_; 2]>::default(),
    };
    let saved = Saved {
        findings: (1..=findings).map(|id| finding(id, due)).collect(),
        last_finding: findings,
        ..Saved::default()
    };
    let abort = abort::Settings { mode: Mode::Armed, criteria: vec![criterion] };
    let (until, slots) = (Until::Stopped, NonZeroU32::MAX);
    let settings = Settings { pairings: vec![spec], abort, hooks: Vec::new(), until, slots };
    let mut engine = Engine::new(settings, saved, NOW);
    let mut jobs = engine.apply(NOW, Event::Started).jobs;
    let extents = (0..10_000).map(extent).collect();
    let unmapped = BTreeMap::new();
    let split =
        Event::Split { pairing: 0, direction: Direction::Aligned, extents: Ok(extents), unmapped };
    jobs.extend(engine.apply(NOW, split).jobs);
    (engine, jobs)
}

fn checks_of(jobs: &[Job]) -> Vec<u64> {
    let checks = jobs.iter().filter_map(|job| match job {
        Job::Check { check, .. } => Some(*check),
        Job::Split { .. } | Job::Look { .. } | Job::Hook(_) => None,
    });
    checks.collect()
}

/// Of ten thousand extents one, of a thousand keys each.
fn extent(number: i128) -> Extent {
    Extent::Range(Range { from: Some(number * 1_000), until: Some((number + 1) * 1_000) })
}

fn array(id: u64) -> Vec<u8> {
    Value::List(vec![Value::Number(i128::from(id).into())]).to_cbor()
}

fn finding(id: u64, due: Moment) -> Finding {
    let partition = Partition {
        direction: Direction::Aligned,
        number: 0,
        extent: extent(i128::from(id / OF_PARTITIONS) % 10_000),
    };
    let subject = match id.is_multiple_of(OF_PARTITIONS) {
        true => Subject::Partition { partition, entities: 1_000, sample: Vec::new() },
        false => Subject::Key(Key(array(id).into())),
    };
    Finding {
        id,
        pairing: "things".to_owned(),
        identity: IDENTITY,
        // Of a kind that no check sees here, so that none of them is settled again.
        kind: match subject {
            Subject::Partition { .. } => DriftKind::Unexpected,
            Subject::Key(_) => DriftKind::Mismatch,
        },
        subject,
        entity: Some("thing".to_owned()),
        side: None,
        fields: vec!["f".to_owned()],
        cosmetic: Vec::new(),
        invariant: None,
        message: None,
        labels: BTreeMap::new(),
        source_digest: Some(Digest(1)),
        target_digest: Some(Digest(2)),
        source_at: vec![StoreKey(array(id).into())],
        target_at: vec![StoreKey(array(id).into())],
        check: 1,
        first_seen: NOW,
        confirmed: NOW,
        last_seen: NOW,
        due,
        looks: 3,
        status: FindingStatus::Open,
        ignored_until: None,
    }
}

/// A key of which a finding tells that it differs.
fn seen(id: u64) -> Sighting {
    let held = |digest| {
        let (entity, fields) = (Digest(digest), vec![Digest(digest)]);
        State::Present(Facets { entity, fields, version: None })
    };
    Sighting {
        key: Key(array(id).into()),
        source: held(1),
        target: held(2),
        source_at: vec![StoreKey(array(id).into())],
        target_at: vec![StoreKey(array(id).into())],
        cuts: vec![Some(i128::from(id))],
        violations: Vec::new(),
        labels: BTreeMap::new(),
        steady: true,
        cosmetic: Vec::new(),
        reason: None,
    }
}
