//! What tests of several files of `report` need: settings, and one of everything that can happen,
//! with a secret wherever a key or a value may be.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{
    CriterionState, Digest, Direction, DriftKind, Extent, Fault, FaultCode, Finding, FindingStatus,
    Happening, HookJob, HookState, Key, MappingIdentity, Moment, NamedKey, Number, Occurrence,
    Outage, Partition, Range, Severity, Side, StoreKey, Subject, Unjudged, Unsettled, Value, Why,
};
use crate::report::{EventSink, Identity, KeyExport, Settings};

/// Stands in every key, label and message.
pub(crate) const SECRET: &str = "hunter2";
/// Stands in every bound of a range: those are keys too.
pub(crate) const BOUND: i128 = 424_242_424_242;

/// Settings that export nothing and keep all private.
pub(crate) fn settings() -> Settings {
    Settings {
        service: "driftd".to_owned(),
        otlp: None,
        clean_ratio: 0.0,
        slow: Duration::from_secs(10),
        traces_max: 100,
        events: EventSink::Journal,
        keys: KeyExport::Hmac,
        fields: Vec::new(),
    }
}

/// Who speaks under these settings.
pub(crate) fn identity(settings: &Settings) -> Identity {
    Identity::new(settings, "7f3a".to_owned(), [7; 32])
}

/// What a person allowed: keys, one label, the words on one invariant.
pub(crate) fn open_settings() -> Settings {
    let fields = ["users.tenant", "users.status-known"].map(str::to_owned).to_vec();
    Settings { keys: KeyExport::Plain, fields, ..settings() }
}

pub(crate) fn key() -> Key {
    Key(Value::List(vec![Value::Text(format!("{SECRET}-key")), Value::Number(Number::from(7_i64))])
        .to_cbor()
        .into())
}

pub(crate) fn partition() -> Partition {
    let range = Range { from: Some(BOUND), until: Some(BOUND + 10) };
    Partition { direction: Direction::FromSource, number: 3, extent: Extent::Range(range) }
}

/// A mismatch of one key.
pub(crate) fn finding() -> Finding {
    let at = StoreKey(key().0);
    let label = |name: &str| (name.to_owned(), format!("{SECRET}-{name}"));
    Finding {
        id: 12,
        pairing: "users".to_owned(),
        identity: MappingIdentity(0xabc),
        subject: Subject::Key(key()),
        entity: Some("user".to_owned()),
        kind: DriftKind::Mismatch,
        side: None,
        fields: vec!["email".to_owned(), "status".to_owned()],
        cosmetic: vec!["email".to_owned()],
        invariant: None,
        message: Some(format!("{SECRET}-message")),
        labels: BTreeMap::from([label("tenant"), label("region")]),
        source_digest: Some(Digest(1)),
        target_digest: Some(Digest(u128::MAX)),
        source_at: vec![at.clone()],
        target_at: vec![at],
        check: 5,
        first_seen: Moment(1_000_000),
        confirmed: Moment(31_500_000),
        last_seen: Moment(31_500_000),
        due: Moment(60_000_000),
        looks: 4,
        status: FindingStatus::Open,
        ignored_until: None,
    }
}

/// A violation of an invariant.
pub(crate) fn violation() -> Finding {
    Finding {
        kind: DriftKind::Violation,
        invariant: Some(("status-known".to_owned(), Severity::Warning)),
        fields: Vec::new(),
        cosmetic: Vec::new(),
        side: Some(Side::Target),
        ..finding()
    }
}

/// A finding about a whole partition, with more keys than any export tells.
pub(crate) fn crowd() -> Finding {
    let sample = (0..100)
        .map(|n: i64| Key(Value::List(vec![Value::Text(format!("{SECRET}-{n}"))]).to_cbor().into()))
        .map(|key| NamedKey { key, entity: Some("user".to_owned()) })
        .collect();
    let subject = Subject::Partition { partition: partition(), entities: 5_000, sample };
    Finding { kind: DriftKind::Missing, subject, target_digest: None, ..finding() }
}

/// A violation of a rule over a whole partition.
pub(crate) fn rule() -> Finding {
    let subject = Subject::Partition { partition: partition(), entities: 1, sample: Vec::new() };
    Finding { subject, source_digest: None, target_digest: None, ..violation() }
}

fn fault() -> Fault {
    Fault {
        side: Some(Side::Source),
        what: "store `shop`: cannot reach db:3306".to_owned(),
        remedy: "check that the server runs".to_owned(),
        code: FaultCode::StoreUnreachable,
    }
}

/// A key that could not be looked at.
pub(crate) fn unsettled() -> Unsettled {
    Unsettled {
        pairing: "users".to_owned(),
        identity: MappingIdentity(7),
        subject: Unjudged::Key(Key(Value::List(vec![Value::Text(SECRET.to_owned())])
            .to_cbor()
            .into())),
        entities: 1,
        entity: Some("user".to_owned()),
        first_seen: Moment(30_000_000),
        at: Moment(40_000_000),
        looks: 3,
        times: 1,
        why: Why::Unread,
        what: format!("{SECRET}: its place is gone"),
        fault: Some(FaultCode::PlaceGone),
    }
}

/// One of everything that can happen.
pub(crate) fn happenings() -> Vec<Happening> {
    let mut all = of_pairings();
    all.push(Happening::StoreDown(outage()));
    all.push(Happening::StoreUp { outage: outage(), lasted_micros: 95_000_000 });
    all
}

fn of_pairings() -> Vec<Happening> {
    let criterion = CriterionState {
        name: "too-much".to_owned(),
        trips: 2,
        tripped: Some(Moment(40_000_000)),
        armed: Moment(0),
        count: 11,
        at_least: 10,
        dry_run: false,
    };
    let job = HookJob {
        id: 4,
        hook: "flip-back".to_owned(),
        criterion: "too-much".to_owned(),
        occurrence: 9,
        since: Moment(40_000_000),
        state: HookState::Succeeded,
        tries: 2,
        due: Moment(0),
        last: Some("exit status 0".to_owned()),
        test: false,
    };
    let resolved = Finding { status: FindingStatus::Resolved(Moment(50_000_000)), ..finding() };
    let superseded = Finding { status: FindingStatus::Superseded(Moment(1)), ..violation() };
    let (pairing, partition) = ("users".to_owned(), Some(partition()));
    let hooks = vec!["flip-back".to_owned()];
    let unarmed = CriterionState { tripped: None, ..criterion.clone() };
    let failed = HookJob { state: HookState::Failed, last: None, ..job.clone() };
    vec![
        Happening::Confirmed(finding()),
        Happening::Confirmed(violation()),
        Happening::Confirmed(crowd()),
        Happening::Confirmed(rule()),
        Happening::Changed { finding: finding(), was: DriftKind::Stale },
        Happening::Resolved(resolved),
        Happening::Superseded(superseded),
        Happening::Tripped { criterion: criterion.clone(), armed: true, hooks: hooks.clone() },
        Happening::Tripped { criterion, armed: false, hooks: Vec::new() },
        Happening::Reset(unarmed),
        Happening::Tested { criterion: "too-much".to_owned(), hooks },
        Happening::HookSucceeded(job),
        Happening::HookFailed(failed),
        Happening::Lagging {
            pairing: pairing.clone(),
            lag_micros: 45_000_000,
            evidence: "suspects heal late".to_owned(),
        },
        Happening::CaughtUp { pairing: pairing.clone(), lasted_micros: 90_000_000 },
        Happening::Unread { pairing: pairing.clone(), partition, fault: fault(), tries: 5 },
        Happening::Unread { pairing: pairing.clone(), partition: None, fault: fault(), tries: 1 },
        Happening::Readable { pairing: pairing.clone(), partition, code: fault().code },
        Happening::Unsettled(unsettled()),
        Happening::Unsettled(Unsettled {
            subject: Unjudged::Rule {
                partition: self::partition(),
                invariant: "status-known".to_owned(),
            },
            entity: None,
            why: Why::Silent,
            fault: None,
            ..unsettled()
        }),
        unmapped(pairing.clone()),
        Happening::PassCompleted {
            pairing,
            pass: 3,
            began: Moment(10_000_000),
            compared: 20_000,
            unread: 1,
        },
    ]
}

fn outage() -> Outage {
    Outage {
        store: "shop".to_owned(),
        since: Moment(20_000_000),
        code: FaultCode::StoreUnreachable,
        what: "cannot reach db:3306: Connection refused".to_owned(),
        remedy: "check that the server runs".to_owned(),
    }
}

fn unmapped(pairing: String) -> Happening {
    let names = vec!["balance".to_owned(), "note".to_owned()];
    Happening::Unmapped { pairing, side: Side::Source, names }
}

/// The same as occurrences.
pub(crate) fn occurrences() -> Vec<Occurrence> {
    let at = Moment(1_763_640_000_120_000);
    (1..).zip(happenings()).map(|(number, what)| Occurrence { number, at, what }).collect()
}
