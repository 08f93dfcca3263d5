//! Random words for the journal's properties.
//!
//! Owns strategies and the reference fold. Refuses SQL. Invariant: keys are few, so that commits meet
//! what earlier ones left; numbers of occurrences follow each other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{
    Broken, Commit, CriterionState, Crowd, Digest, Direction, DriftKind, Extent, Facets, FaultCode,
    Finding, FindingStatus, Happening, HookJob, HookState, Incident, Key, MappingIdentity, Moment,
    NamedKey, Number, Occurrence, Outage, PairingStatus, Part, Partition, PartitionEnd, PassState,
    Range, RelationNames, Saved, Severity, Side, State, Still, StoreKey, Subject, Suspect,
    SuspectPartition, SuspectRule, Unjudged, Unsettled, Value, Version, Violation, Why,
};

use prop::collection::{btree_map, vec};
use prop::option::of;

fn pairing() -> impl Strategy<Value = String> + Clone {
    select(vec!["users", "orders", "ünï\"; --"]).prop_map(str::to_owned)
}

fn word() -> impl Strategy<Value = String> + Clone {
    prop_oneof![Just(String::new()), "[a-z]{1,6}", any::<String>()]
}

fn words() -> impl Strategy<Value = Vec<String>> {
    vec(word(), 0..3)
}

fn moment() -> impl Strategy<Value = Moment> + Clone {
    prop_oneof![
        4 => (1_600_000_000_000_000..1_900_000_000_000_000i64).prop_map(Moment),
        1 => any::<i64>().prop_map(Moment),
    ]
}

fn identity() -> impl Strategy<Value = MappingIdentity> {
    any::<u128>().prop_map(MappingIdentity)
}

fn digest() -> impl Strategy<Value = Digest> + Clone {
    any::<u128>().prop_map(Digest)
}

fn key() -> impl Strategy<Value = Key> + Clone {
    let decodable = (0..4i64).prop_map(|number| {
        Key(Value::List(vec![Value::Number(number.into())]).to_cbor().into_boxed_slice())
    });
    let typed =
        (0..2usize, decodable.clone()).prop_map(|(number, key)| Key::of_type(number, &key.0));
    prop_oneof![decodable, typed, select(vec![Key([].into()), Key([0xff, 0].into())])]
}

fn store_keys() -> impl Strategy<Value = Vec<StoreKey>> {
    vec(vec(any::<u8>(), 0..5).prop_map(|bytes| StoreKey(bytes.into())), 0..2)
}

fn direction() -> impl Strategy<Value = Direction> + Clone {
    select(vec![Direction::Aligned, Direction::FromSource, Direction::FromTarget])
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Source, Side::Target])
}

fn kind() -> impl Strategy<Value = DriftKind> + Clone {
    select(DriftKind::ALL.to_vec())
}

fn extent() -> impl Strategy<Value = Extent> + Clone {
    prop_oneof![
        any::<(Option<i128>, Option<i128>)>()
            .prop_map(|(from, until)| Extent::Range(Range { from, until })),
        any::<(u32, u32)>().prop_map(|(index, of)| Extent::Segment { index, of }),
    ]
}

pub(in crate::journal) fn partition() -> impl Strategy<Value = Partition> + Clone {
    let few = select(vec![
        Extent::Segment { index: 0, of: 2 },
        Extent::Range(Range { from: None, until: Some(-5) }),
    ]);
    (direction(), 0..12u32, few).prop_map(|(direction, number, extent)| Partition {
        direction,
        number,
        extent,
    })
}

fn end() -> impl Strategy<Value = PartitionEnd> {
    prop_oneof![
        Just(PartitionEnd::Compared),
        Just(PartitionEnd::Unread),
        extent().prop_map(PartitionEnd::Continued),
    ]
}

fn pass() -> impl Strategy<Value = PassState> {
    let directions = vec((direction(), vec(extent(), 0..4)), 0..3);
    let done = btree_map((direction(), 0..12u32), end(), 0..3);
    (pairing(), identity(), 1..9u64, moment(), any::<u64>(), directions, done, any::<bool>())
        .prop_map(|(pairing, identity, pass, began, seed, extents, done, complete)| PassState {
            pairing,
            identity,
            pass,
            began,
            seed,
            extents,
            done: done
                .into_iter()
                .map(|((direction, number), end)| (direction, number, end))
                .collect(),
            complete,
        })
}

fn state() -> impl Strategy<Value = State> + Clone {
    let version = (any::<i64>(), -40..40i32).prop_map(|(mantissa, exponent)| {
        Version(Number::new(mantissa.into(), exponent).expect("few digits"))
    });
    prop_oneof![
        Just(State::Absent),
        Just(State::Excluded),
        digest().prop_map(State::Duplicate),
        digest().prop_map(State::Unmappable),
        (digest(), vec(digest(), 0..3), of(version)).prop_map(|(entity, fields, version)| {
            State::Present(Facets { entity, fields, version })
        }),
    ]
}

fn still() -> impl Strategy<Value = Still> {
    let part = prop_oneof![
        Just(Part::Presence),
        any::<usize>().prop_map(Part::Field),
        any::<usize>().prop_map(Part::Invariant),
    ];
    (part, moment(), any::<u32>()).prop_map(|(part, since, looks)| Still { part, since, looks })
}

fn violation() -> impl Strategy<Value = Violation> {
    (any::<usize>(), word()).prop_map(|(invariant, message)| Violation { invariant, message })
}

fn suspect() -> impl Strategy<Value = Suspect> {
    let head = (pairing(), identity(), key(), store_keys(), store_keys(), any::<u64>());
    let times = (moment(), moment(), moment(), any::<u32>(), any::<u32>());
    let states = (state(), state(), vec(violation(), 0..2), vec(state(), 0..3), vec(still(), 0..3));
    let tail = (btree_map(word(), word(), 0..2), words(), of(word()), of(moment()));
    (head, times, states, tail).prop_map(|(head, times, states, tail)| Suspect {
        pairing: head.0,
        identity: head.1,
        key: head.2,
        source_at: head.3,
        target_at: head.4,
        check: head.5,
        first_seen: times.0,
        last_look: times.1,
        due: times.2,
        looks: times.3,
        failed: times.4,
        leader: states.0,
        follower: states.1,
        violations: states.2,
        witnesses: states.3,
        still: states.4,
        labels: tail.0,
        cosmetic: tail.1,
        reason: tail.2,
        leader_changed: tail.3,
    })
}

fn crowd() -> impl Strategy<Value = Crowd> {
    (pairing(), identity(), partition(), any::<u64>(), moment(), moment()).prop_map(
        |(pairing, identity, partition, check, first_seen, due)| Crowd {
            pairing,
            identity,
            partition,
            check,
            first_seen,
            due,
        },
    )
}

fn suspect_partition() -> impl Strategy<Value = SuspectPartition> {
    let broken = (digest(), moment(), any::<u32>(), word());
    let broken =
        broken.prop_map(|(state, since, looks, words)| Broken { state, since, looks, words });
    let rule = (any::<usize>(), of(broken));
    let rule = rule.prop_map(|(invariant, broken)| SuspectRule { invariant, broken });
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    (crowd(), counts, vec(rule, 0..3)).prop_map(|(crowd, counts, rules)| SuspectPartition {
        pairing: crowd.pairing,
        identity: crowd.identity,
        partition: crowd.partition,
        check: crowd.check,
        first_seen: crowd.first_seen,
        due: crowd.due,
        looks: counts.0,
        silent: counts.1,
        failed: counts.2,
        rules,
    })
}

/// A finding.
pub(in crate::journal) fn finding() -> impl Strategy<Value = Finding> {
    let subject = prop_oneof![
        key().prop_map(Subject::Key),
        (partition(), any::<u64>(), vec((key(), of(word())), 0..3)).prop_map(
            |(partition, entities, sample)| {
                let named = |(key, entity)| NamedKey { key, entity };
                let sample = sample.into_iter().map(named).collect();
                Subject::Partition { partition, entities, sample }
            }
        ),
    ];
    let severity =
        select(vec![Severity::Info, Severity::Warning, Severity::Error, Severity::Critical]);
    let status = prop_oneof![
        Just(FindingStatus::Open),
        moment().prop_map(FindingStatus::Resolved),
        moment().prop_map(FindingStatus::Superseded),
    ];
    let head = (1..9u64, pairing(), identity(), subject, kind(), of(side()), of(word()));
    let what = (words(), words(), of((word(), severity)), of(word()), of(digest()), of(digest()));
    let places = (btree_map(word(), word(), 0..2), store_keys(), store_keys(), any::<u64>());
    let times = (moment(), moment(), moment(), moment(), any::<u32>(), status, of(moment()));
    (head, what, places, times).prop_map(|(head, what, places, times)| Finding {
        id: head.0,
        pairing: head.1,
        identity: head.2,
        subject: head.3,
        entity: head.6,
        kind: head.4,
        side: head.5,
        fields: what.0,
        cosmetic: what.1,
        invariant: what.2,
        message: what.3,
        source_digest: what.4,
        target_digest: what.5,
        labels: places.0,
        source_at: places.1,
        target_at: places.2,
        check: places.3,
        first_seen: times.0,
        confirmed: times.1,
        last_seen: times.2,
        due: times.3,
        looks: times.4,
        status: times.5,
        ignored_until: times.6,
    })
}

fn count() -> impl Strategy<Value = u64> {
    0..=i64::MAX.unsigned_abs()
}

fn criterion() -> impl Strategy<Value = CriterionState> {
    (word(), any::<u64>(), of(moment()), count(), count()).prop_map(
        |(name, trips, tripped, count, at_least)| CriterionState {
            name,
            trips,
            tripped,
            armed: Moment(0),
            count,
            at_least,
            dry_run: false,
        },
    )
}

fn hook() -> impl Strategy<Value = HookJob> {
    let state = select(vec![
        HookState::Pending,
        HookState::Failed,
        HookState::Succeeded,
        HookState::Cancelled,
    ]);
    let head = (1..6u64, word(), word(), 1..20u64, any::<bool>());
    (head, moment(), state, any::<u32>(), moment(), of(word())).prop_map(
        |((id, hook, criterion, occurrence, test), since, state, tries, due, last)| HookJob {
            id,
            hook,
            criterion,
            occurrence,
            since,
            state,
            tries,
            due,
            last,
            test,
        },
    )
}

fn status() -> impl Strategy<Value = PairingStatus> {
    let counts = vec(any::<u64>(), 19);
    let kinds = (btree_map(kind(), any::<u64>(), 0..3), btree_map(kind(), any::<u64>(), 0..3));
    let unmapped = prop::collection::btree_set((side(), word()), 0..3);
    let incident = (of(partition()), code());
    let incident = incident.prop_map(|(partition, code)| Incident { partition, code });
    let incidents = prop::collection::btree_set(incident, 0..3);
    let names = (word(), vec(word(), 0..2), vec(word(), 0..2));
    let names = names.prop_map(|(relation, key, group)| RelationNames { relation, key, group });
    let relations = [vec(names.clone(), 0..2), vec(names, 0..2)];
    let tail = (of(moment()), of(moment()), of(word()), -1e300..1e300f64, incidents, relations);
    (pairing(), identity(), moment(), counts, kinds, unmapped, tail).prop_map(
        |(pairing, identity, pass_began, counts, kinds, unmapped, tail)| PairingStatus {
            pairing,
            identity,
            pass: counts[0],
            pass_began,
            partitions: counts[1],
            done: counts[2],
            unread_partitions: counts[3],
            passes: counts[4],
            covered_since: tail.0,
            checks: counts[5],
            source_rows: counts[6],
            target_rows: counts[7],
            capacity: tail.3,
            compared: counts[8],
            same: counts[9],
            excluded: counts[10],
            confirmed: kinds.0,
            open: kinds.1,
            ignored: counts[11],
            resolved: counts[12],
            unsettled: counts[13],
            acquitted: counts[14],
            suspects: counts[15],
            unread: counts[16],
            lag_micros: counts[17],
            lagging_since: tail.1,
            follower_progress: pass_began,
            unmapped,
            not_begun: tail.2.clone(),
            not_verifiable: tail.2,
            last_pass_unread: counts[18],
            last_pass_unsettled: counts[0],
            pass_compared: counts[1],
            unsettled_before: counts[2],
            incidents: tail.4,
            anew: counts[3],
            relations: tail.5,
        },
    )
}

fn unjudged() -> impl Strategy<Value = Unjudged> {
    prop_oneof![
        key().prop_map(Unjudged::Key),
        partition().prop_map(Unjudged::Members),
        (partition(), word())
            .prop_map(|(partition, invariant)| Unjudged::Rule { partition, invariant }),
    ]
}

fn unsettled() -> impl Strategy<Value = Unsettled> {
    let counts = (any::<u64>(), any::<u32>(), any::<u64>());
    let why = (select(Why::ALL.to_vec()), word(), of(code()));
    (pairing(), identity(), unjudged(), of(word()), (moment(), moment()), counts, why).prop_map(
        |(pairing, identity, subject, entity, (first_seen, at), counts, (why, what, fault))| {
            Unsettled {
                pairing,
                identity,
                subject,
                entities: counts.0,
                entity,
                first_seen,
                at,
                looks: counts.1,
                times: counts.2,
                why,
                what,
                fault,
            }
        },
    )
}

fn code() -> impl Strategy<Value = FaultCode> {
    prop::sample::select(&FaultCode::ALL[..])
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        finding().prop_map(Happening::Confirmed),
        criterion().prop_map(Happening::Reset),
        outage().prop_map(Happening::StoreDown),
        (pairing(), code()).prop_map(|(pairing, code)| Happening::Readable {
            pairing,
            partition: None,
            code,
        }),
    ]
}

fn outage() -> impl Strategy<Value = Outage> {
    let words = (code(), word(), word());
    (store(), moment(), words).prop_map(|(store, since, (code, what, remedy))| Outage {
        store,
        since,
        code,
        what,
        remedy,
    })
}

fn store() -> impl Strategy<Value = String> {
    prop_oneof![Just("shop".to_owned()), Just("items".to_owned())]
}

/// One commit; its occurrences have no numbers yet.
fn commit() -> impl Strategy<Value = Commit> {
    let place = (pairing(), partition(), end());
    let removed = prop_oneof![4 => Just(Vec::new()), 1 => vec(pairing(), 1..2)];
    let keys = (vec(suspect(), 0..3), vec((pairing(), key()), 0..2));
    let places = || vec((pairing(), partition()), 0..2);
    let crowds = (vec(crowd(), 0..2), places(), vec(suspect_partition(), 0..2), places());
    let unsettled = (vec(unsettled(), 0..3), vec((pairing(), unjudged(), moment()), 0..2));
    let occurrence = (moment(), happening());
    let stores = (vec(outage(), 0..2), vec(store(), 0..2));
    let rest = (vec(criterion(), 0..2), vec(hook(), 0..2), vec(status(), 0..2), stores);
    (
        (removed, vec(pass(), 0..2)),
        vec(place, 0..4),
        keys,
        crowds,
        (unsettled, vec(finding(), 0..3)),
        rest,
        vec(occurrence, 0..3),
    )
        .prop_map(|(passes, done, keys, crowds, (unsettled, findings), rest, occurrences)| {
            Commit {
                removed: passes.0,
                passes: passes.1,
                done,
                suspects: keys.0,
                decided: keys.1,
                crowds: crowds.0,
                dispersed: crowds.1,
                suspect_partitions: crowds.2,
                decided_partitions: crowds.3,
                unsettled: unsettled.0,
                settled: unsettled.1,
                findings,
                criteria: rest.0,
                occurrences: occurrences
                    .into_iter()
                    .map(|(at, what)| Occurrence { number: 0, at, what })
                    .collect(),
                hooks: rest.1,
                status: rest.2,
                outages: rest.3.0,
                answering: rest.3.1,
                answered: Vec::new(),
            }
        })
}

/// Commits in a row, their occurrences numbered from 1.
pub(in crate::journal) fn commits() -> impl Strategy<Value = Vec<Commit>> {
    vec(commit(), 1..8).prop_map(|mut commits| {
        let occurrences = commits.iter_mut().flat_map(|commit| &mut commit.occurrences);
        for (number, occurrence) in (1..).zip(occurrences) {
            occurrence.number = number;
        }
        commits
    })
}

/// The event of each occurrence.
pub(in crate::journal) fn rendered(commit: &Commit) -> Vec<(u64, Vec<u8>)> {
    let events = commit.occurrences.iter().map(|occurrence| {
        let number = occurrence.number;
        // Not UTF-8 now and then: the outbox keeps bytes.
        let ending: &[u8] = if number.is_multiple_of(3) { &[0xff, 0] } else { b"\n" };
        (number, [format!("{{\"id\":{number}}}").as_bytes(), ending].concat())
    });
    events.collect()
}

fn is_open(finding: &Finding) -> bool {
    finding.status == FindingStatus::Open
}

fn is_wanted(job: &HookJob) -> bool {
    matches!(job.state, HookState::Pending | HookState::Failed)
}

/// A pass with the ends of its partitions.
fn with_ends(
    mut pass: PassState,
    done: &BTreeMap<(String, Direction, u32), PartitionEnd>,
) -> PassState {
    let of = done.iter().filter(|((pairing, _, _), _)| *pairing == pass.pairing);
    pass.done = of.map(|((_, direction, number), end)| (*direction, *number, *end)).collect();
    pass
}

/// Stores that are down after these commits.
fn outages(commits: &[Commit]) -> Vec<Outage> {
    let mut down = BTreeMap::new();
    for commit in commits {
        down.extend(commit.outages.iter().map(|outage| (&outage.store, outage)));
        down.retain(|store, _| !commit.answering.contains(store));
    }
    down.into_values().cloned().collect()
}

/// What commits add up to, said as plainly as can be.
pub(in crate::journal) fn fold(commits: &[Commit]) -> Saved {
    let mut passes = BTreeMap::new();
    let mut done: BTreeMap<(String, Direction, u32), PartitionEnd> = BTreeMap::new();
    let mut suspects = BTreeMap::new();
    let mut crowds = BTreeMap::new();
    let mut partitions = BTreeMap::new();
    let mut unsettled = BTreeMap::new();
    let mut findings = BTreeMap::new();
    let mut criteria = BTreeMap::new();
    let mut hooks = BTreeMap::new();
    let mut status = BTreeMap::new();
    let mut occurrences = BTreeSet::new();
    for commit in commits.iter().cloned() {
        for gone in commit.removed {
            done.retain(|(pairing, _, _), _| *pairing != gone);
            passes.remove(&gone);
            suspects.retain(|(pairing, _), _| *pairing != gone);
            crowds.retain(|(pairing, _), _| *pairing != gone);
            partitions.retain(|(pairing, _), _| *pairing != gone);
            unsettled.retain(|(pairing, _), _| *pairing != gone);
            status.remove(&gone);
        }
        for (pairing, partition, end) in commit.done {
            done.insert((pairing, partition.direction, partition.number), end);
        }
        for mut pass in commit.passes {
            done.retain(|(pairing, _, _), _| *pairing != pass.pairing);
            for (direction, number, end) in pass.done.drain(..) {
                done.insert((pass.pairing.clone(), direction, number), end);
            }
            passes.insert(pass.pairing.clone(), pass);
        }
        let of = |suspect: &Suspect| (suspect.pairing.clone(), suspect.key.clone());
        suspects.extend(commit.suspects.into_iter().map(|suspect| (of(&suspect), suspect)));
        suspects.retain(|key, _| !commit.decided.contains(key));
        for crowd in commit.crowds {
            crowds.insert((crowd.pairing.clone(), crowd.partition), crowd);
        }
        crowds.retain(|place, _| !commit.dispersed.contains(place));
        for one in commit.suspect_partitions {
            partitions.insert((one.pairing.clone(), one.partition), one);
        }
        partitions.retain(|place, _| !commit.decided_partitions.contains(place));
        for one in commit.unsettled {
            unsettled.insert((one.pairing.clone(), one.subject.clone()), one);
        }
        for (pairing, subject, _) in commit.settled {
            unsettled.remove(&(pairing, subject));
        }
        findings.extend(commit.findings.into_iter().map(|finding| (finding.id, finding)));
        criteria.extend(commit.criteria.into_iter().map(|state| (state.name.clone(), state)));
        hooks.extend(commit.hooks.into_iter().map(|job| (job.id, job)));
        status.extend(commit.status.into_iter().map(|status| (status.pairing.clone(), status)));
        occurrences.extend(commit.occurrences.into_iter().map(|occurrence| occurrence.number));
    }
    let last = |number: Option<&u64>| number.copied().unwrap_or(0);
    Saved {
        passes: passes.into_values().map(|pass| with_ends(pass, &done)).collect(),
        suspects: suspects.into_values().collect(),
        crowds: crowds.into_values().collect(),
        suspect_partitions: partitions.into_values().collect(),
        unsettled: unsettled.into_values().collect(),
        last_finding: last(findings.keys().max()),
        findings: findings.into_values().filter(is_open).collect(),
        criteria: criteria.into_values().collect(),
        last_hook: last(hooks.keys().max()),
        hooks: hooks.into_values().filter(is_wanted).collect(),
        status: status.into_values().collect(),
        outages: outages(commits),
        last_occurrence: last(occurrences.last()),
    }
}
