//! Telemetry as a receiver gets it: traces and metrics over gRPC and HTTP.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use driftd::model::{
    CheckNote, Checksum, Cost, CriterionState, Digest, Direction, DriftKind, Extent, Fault,
    FaultCode, Finding, FindingStatus, Key, MappingIdentity, Moment, NamedKey, Note, Outage,
    PairingStatus, Partition, Range, Side, Span, SpanKind, StoreKey, Subject, Value,
};
use driftd::report::names::{attribute as key, span as name};
use driftd::report::{
    EventSink, Extras, Identity, KeyExport, Metrics, Otlp, OtlpProtocol, Reloads, Report, Settings,
};
use driftd_tests::otlp::{Kept, Receiver, attribute};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::Span as Received;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

const SECOND: i64 = 1_000_000;
const SECRET: &str = "hunter2";
const BOUND: i128 = 424_242_424_242;
const PROTOCOLS: [OtlpProtocol; 2] = [OtlpProtocol::Grpc, OtlpProtocol::Http];

fn settings() -> Settings {
    Settings {
        service: "driftd".to_owned(),
        otlp: None,
        clean_ratio: 0.0,
        slow: Duration::from_secs(10),
        traces_max: 1_000,
        events: EventSink::Journal,
        keys: KeyExport::Hmac,
        fields: Vec::new(),
    }
}

fn identity(settings: &Settings) -> Identity {
    Identity::new(settings, "7f3a".to_owned(), [7; 32])
}

fn nothing(_name: &str) -> Option<String> {
    None
}

async fn stop(report: Report) {
    let stopped = tokio::task::spawn_blocking(|| report.stop(Duration::from_secs(60)));
    stopped.await.unwrap();
}

/// What a receiver has after `feed`.
async fn exported(
    protocol: OtlpProtocol,
    settings: Settings,
    feed: impl FnOnce(&mut Report),
) -> Kept {
    let receiver = Receiver::start().await;
    let endpoint = match protocol {
        OtlpProtocol::Grpc => receiver.grpc(),
        OtlpProtocol::Http => receiver.http(),
    };
    let settings = Settings { otlp: Some(Otlp { endpoint, protocol }), ..settings };
    let mut report = Report::start(&settings, identity(&settings), &nothing).unwrap();
    feed(&mut report);
    stop(report).await;
    receiver.kept()
}

/// Check `number` of a second, begun at second 100.
fn check(number: u64) -> CheckNote {
    let range = Range { from: Some(BOUND), until: Some(BOUND + 10) };
    let (began, ended) = (Moment(100 * SECOND), Moment(101 * SECOND));
    let part = |kind, from: i64| Span {
        kind,
        began: Moment(began.0 + from),
        ended: Moment(began.0 + from + 10),
        rows: 7,
    };
    let cost = Cost { rows: 20, bytes: 300, capacity: 1.5, requests: 1 };
    CheckNote {
        check: number,
        pairing: "users".to_owned(),
        partition: Partition {
            direction: Direction::FromSource,
            number: 3,
            extent: Extent::Range(range),
        },
        pass: 2,
        began,
        ended,
        same: 19,
        excluded: 1,
        suspects: 0,
        broken: 0,
        unread: Vec::new(),
        checksums: [
            (Side::Source, Checksum { count: 20, sum: 0xab }),
            (Side::Target, Checksum { count: 19, sum: 0xcd }),
        ],
        costs: [(Side::Source, cost), (Side::Target, Cost { capacity: 0.0, ..cost })],
        spans: vec![
            part(SpanKind::Read(Side::Source), 0),
            part(SpanKind::Map(Side::Source), 10),
            part(SpanKind::Read(Side::Target), 20),
            part(SpanKind::Map(Side::Target), 30),
            part(SpanKind::Invariants, 40),
            part(SpanKind::Compare, 50),
        ],
    }
}

fn suspicious(number: u64) -> CheckNote {
    CheckNote { suspects: 1, ..check(number) }
}

fn fault() -> Fault {
    Fault {
        side: Some(Side::Target),
        what: "store `ddb`: cannot reach it".to_owned(),
        remedy: "check that it runs".to_owned(),
        code: FaultCode::StoreUnreachable,
    }
}

fn unread(number: u64) -> CheckNote {
    CheckNote { unread: vec![(format!("keys {SECRET}"), fault())], ..check(number) }
}

/// A finding that check `check` saw first.
fn finding(id: u64, check: u64) -> Finding {
    let fields = vec![Value::Text(format!("{SECRET}-{id}"))];
    let at = Value::List(fields).to_cbor();
    Finding {
        id,
        pairing: "users".to_owned(),
        identity: MappingIdentity(0xabc),
        subject: Subject::Key(Key(at.clone().into())),
        entity: Some("user".to_owned()),
        kind: DriftKind::Mismatch,
        side: None,
        fields: vec!["email".to_owned(), "status".to_owned()],
        cosmetic: vec!["email".to_owned()],
        invariant: None,
        message: Some(SECRET.to_owned()),
        labels: BTreeMap::from([("tenant".to_owned(), SECRET.to_owned())]),
        source_digest: Some(Digest(1)),
        target_digest: Some(Digest(2)),
        source_at: vec![StoreKey(at.clone().into())],
        target_at: vec![StoreKey(at.into())],
        check,
        first_seen: Moment(101 * SECOND),
        confirmed: Moment(131 * SECOND),
        last_seen: Moment(131 * SECOND),
        due: Moment(200 * SECOND),
        looks: 4,
        status: FindingStatus::Open,
        ignored_until: None,
    }
}

fn get(span: &Received, key: &str) -> Option<String> {
    attribute(&span.attributes, key)
}

fn results(kept: &Kept) -> BTreeSet<(String, String)> {
    let checks = kept.spans_named(name::CHECK);
    checks
        .iter()
        .map(|span| (get(span, key::CHECK_RESULT).unwrap(), get(span, key::CHECK_KEPT).unwrap()))
        .collect()
}

fn pair(result: &str, kept: &str) -> (String, String) {
    (result.to_owned(), kept.to_owned())
}

/// The parts of a check, below its root.
fn assert_parts(kept: &Kept, root: &Received) {
    let parts: Vec<_> =
        kept.spans().into_iter().filter(|span| span.parent_span_id == root.span_id).collect();
    let show = |span: &Received| {
        let of = [key::PLUGIN_FUNCTION, key::SIDE, key::ROWS].map(|key| get(span, key));
        format!("{} {}", span.name, of.into_iter().flatten().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(
        parts.iter().map(show).collect::<Vec<_>>(),
        [
            "driftd.read source 7",
            "driftd.plugin map-batch source 7",
            "driftd.read target 7",
            "driftd.plugin map-batch target 7",
            "driftd.plugin check-pairs 7",
            "driftd.compare 7",
        ]
    );
    assert!(parts.iter().all(|part| part.trace_id == root.trace_id));
    assert_eq!(parts[5].start_time_unix_nano, 100_000_050_000);
    assert_eq!(parts[5].end_time_unix_nano, 100_000_060_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_found_drift_is_a_trace_and_its_confirmation_another() {
    for protocol in PROTOCOLS {
        let kept = exported(protocol, settings(), |report| {
            report.note(&Note::Checked(suspicious(5)));
            report.note(&Note::Confirmed(vec![finding(1, 5)]));
            report.note(&Note::Decided { check: 5, drift: true });
        })
        .await;

        let [root] = kept.spans_named(name::CHECK).try_into().unwrap();
        assert_eq!(root.parent_span_id, Vec::<u8>::new());
        assert_eq!(root.start_time_unix_nano, 100_000_000_000);
        assert_eq!(root.end_time_unix_nano, 101_000_000_000);
        assert_eq!(root.status.as_ref().unwrap().code(), StatusCode::Error);
        for (key, expected) in [
            (key::PAIRING, Some("users")),
            (key::PARTITION, Some("from source 3")),
            (key::EXTENT, None),
            (key::CHECK_RESULT, Some("drift")),
            (key::CHECK_KEPT, Some("drift")),
            (key::SAME, Some("19")),
            (key::EXCLUDED, Some("1")),
            (key::SUSPECTS, Some("1")),
            (key::CHECKSUM_SOURCE, Some("20:000000000000000000000000000000ab")),
            (key::SOURCE_ROWS, Some("20")),
            (key::SOURCE_CAPACITY, Some("1.5")),
            (key::TARGET_CAPACITY, None),
            (key::ERROR_TYPE, Some("drift")),
        ] {
            assert_eq!(get(&root, key).as_deref(), expected, "{key}");
        }

        assert_parts(&kept, &root);
        let [drift] = kept.spans_named(name::DRIFT).try_into().unwrap();
        assert_ne!(drift.trace_id, root.trace_id, "a trace of its own");
        assert_eq!(drift.parent_span_id, Vec::<u8>::new());
        assert_eq!(drift.status.as_ref().unwrap().code(), StatusCode::Error);
        assert_eq!(drift.end_time_unix_nano - drift.start_time_unix_nano, 30_000_000_000);
        let [link] = drift.links.as_slice() else { panic!("one link: {:?}", drift.links) };
        assert_eq!((&link.trace_id, &link.span_id), (&root.trace_id, &root.span_id));

        let [drifted] = kept.spans_named(name::DRIFT_KEY).try_into().unwrap();
        assert_eq!(drifted.parent_span_id, drift.span_id);
        assert_eq!(drifted.status.as_ref().unwrap().code(), StatusCode::Error);
        assert_eq!(get(&drifted, key::DRIFT_KEY_HMAC).unwrap().len(), 32);
        for (key, expected) in [
            (key::DRIFT_KEY, None),
            (key::DRIFT_KIND, Some("mismatch")),
            (key::ENTITY_TYPE, Some("user")),
            (key::DRIFT_FIELDS, Some("email,status")),
            (key::DRIFT_COSMETIC, Some("email")),
            (key::DRIFT_AGE, Some("30")),
            (key::CHECKSUM_TARGET, Some("1:00000000000000000000000000000002")),
        ] {
            assert_eq!(get(&drifted, key).as_deref(), expected, "{key}");
        }

        assert_eq!(kept.resource("service.name").as_deref(), Some("driftd"));
        assert_eq!(kept.resource("service.instance.id").as_deref(), Some("7f3a"));
        assert!(kept.resource("service.version").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_kept_with_hindsight() {
    let feed = |report: &mut Report| {
        report.note(&Note::Checked(check(1)));
        report.note(&Note::Checked(suspicious(2)));
        report.note(&Note::Decided { check: 2, drift: false });
        report.note(&Note::Checked(unread(3)));
        report.note(&Note::Checked(CheckNote { ended: Moment(111 * SECOND), ..check(4) }));
        report.note(&Note::Checked(suspicious(5)));
    };
    let kept = exported(OtlpProtocol::Grpc, settings(), feed).await;
    assert_eq!(results(&kept), BTreeSet::from([pair("unread", "unread"), pair("same", "slow")]));
    let unread =
        kept.spans_named(name::CHECK).into_iter().find(|span| get(span, key::UNREAD).is_some());
    let unread = unread.unwrap();
    assert_eq!(get(&unread, key::ERROR_TYPE).as_deref(), Some("store-unreachable"));
    assert_eq!(unread.status.unwrap().code(), StatusCode::Error);

    let all = Settings { clean_ratio: 1.0, ..settings() };
    let kept = exported(OtlpProtocol::Http, all, feed).await;
    let more = [pair("same", "ratio"), pair("suspects", "ratio")];
    let expected: BTreeSet<_> =
        [pair("unread", "unread"), pair("same", "slow")].into_iter().chain(more).collect();
    assert_eq!(results(&kept), expected, "an undecided check is none of them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_at_which_a_rule_was_broken_is_held_until_it_is_decided() {
    let broken = |number| Note::Checked(CheckNote { broken: 1, ..check(number) });
    let kept = exported(OtlpProtocol::Grpc, settings(), |report| {
        report.note(&broken(5));
        report.note(&broken(6));
        report.note(&Note::Decided { check: 6, drift: false });
        let subject =
            Subject::Partition { partition: check(5).partition, entities: 1, sample: Vec::new() };
        let invariant = Some(("total".to_owned(), driftd::model::Severity::Critical));
        let kind = DriftKind::Violation;
        report.note(&Note::Confirmed(vec![Finding { subject, invariant, kind, ..finding(1, 5) }]));
    })
    .await;
    let [of_check] = kept.spans_named(name::CHECK).try_into().unwrap();
    assert_eq!(get(&of_check, key::CHECK_RESULT).as_deref(), Some("drift"));
    assert_eq!(get(&of_check, key::BROKEN).as_deref(), Some("1"));
    let [drift] = kept.spans_named(name::DRIFT).try_into().unwrap();
    assert_eq!(drift.links.len(), 1);
    assert_eq!(get(&drift, key::DRIFT_OMITTED).as_deref(), Some("0"), "it has no keys");
    let [told] = kept.spans_named(name::DRIFT_KEY).try_into().unwrap();
    assert_eq!(get(&told, key::INVARIANT).as_deref(), Some("total"));
    assert_eq!(get(&told, key::DRIFT_KEY_HMAC), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_tells_64_keys_and_how_many_more_there_are() {
    let kept = exported(OtlpProtocol::Grpc, settings(), |report| {
        report.note(&Note::Checked(suspicious(5)));
        report.note(&Note::Confirmed((1..=100).map(|id| finding(id, 5)).collect()));
    })
    .await;
    let [drift] = kept.spans_named(name::DRIFT).try_into().unwrap();
    assert_eq!(get(&drift, key::DRIFT_ENTITIES).as_deref(), Some("100"));
    assert_eq!(get(&drift, key::DRIFT_OMITTED).as_deref(), Some("36"));
    let keys: BTreeSet<_> = kept
        .spans_named(name::DRIFT_KEY)
        .iter()
        .map(|span| get(span, key::DRIFT_KEY_HMAC).unwrap())
        .collect();
    assert_eq!(keys.len(), 64);

    let named = |n| NamedKey {
        key: Key(Value::Text(format!("{SECRET}-{n}")).to_cbor().into()),
        entity: None,
    };
    let sample = (0..200).map(named).collect();
    let subject = Subject::Partition { partition: check(5).partition, entities: 5_000, sample };
    let crowd = Finding { subject, ..finding(1, 5) };
    let kept = exported(OtlpProtocol::Grpc, settings(), |report| {
        report.note(&Note::Confirmed(vec![crowd]));
    })
    .await;
    let [drift] = kept.spans_named(name::DRIFT).try_into().unwrap();
    assert_eq!(drift.links, [], "its check is not known");
    let told = kept.spans_named(name::DRIFT_KEY);
    assert_eq!(told.len(), 64);
    assert_eq!(get(&told[0], key::DRIFT_ENTITIES).as_deref(), Some("5000"));
    assert_eq!(get(&drift, key::DRIFT_OMITTED).as_deref(), Some("4937"));
}

#[tokio::test(flavor = "multi_thread")]
async fn findings_of_one_check_are_one_trace_if_they_come_together() {
    let kept = exported(OtlpProtocol::Grpc, settings(), |report| {
        report.note(&Note::Checked(suspicious(5)));
        report.note(&Note::Checked(suspicious(6)));
        let at = |id, check, second: i64| {
            let confirmed = Moment(second * SECOND);
            Note::Confirmed(vec![Finding { confirmed, ..finding(id, check) }])
        };
        report.note(&at(1, 5, 131));
        report.note(&at(2, 6, 131));
        report.note(&at(3, 5, 133));
        report.observe(&[], Extras::default(), Moment(137 * SECOND));
        report.note(&at(4, 5, 150));
        report.note(&Note::Decided { check: 5, drift: true });
        report.note(&at(5, 5, 151));
    })
    .await;
    let checks = kept.spans_named(name::CHECK);
    let mut told: Vec<_> = kept
        .spans_named(name::DRIFT)
        .iter()
        .map(|drift| {
            let first =
                checks.iter().find(|check| check.span_id == drift.links[0].span_id).unwrap();
            let keys = kept.spans_named(name::DRIFT_KEY).into_iter();
            let below = keys.filter(|span| span.parent_span_id == drift.span_id);
            let findings: Vec<_> = below.map(|span| get(&span, key::FINDING).unwrap()).collect();
            format!("{}: {}", get(first, key::CHECK).unwrap(), findings.join(" "))
        })
        .collect();
    told.sort_unstable();
    assert_eq!(told, ["5: 1 3", "5: 4", "5: 5", "6: 2"]);
    assert_eq!(checks.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_of_another_process_with_the_same_number_is_not_linked() {
    let kept = exported(OtlpProtocol::Grpc, settings(), |report| {
        report.note(&Note::Checked(suspicious(5)));
        let before = Finding { first_seen: Moment(99 * SECOND), ..finding(1, 5) };
        report.note(&Note::Confirmed(vec![before]));
        report.note(&Note::Decided { check: 5, drift: false });
    })
    .await;
    assert_eq!(kept.spans_named(name::DRIFT)[0].links, []);
    assert_eq!(kept.spans_named(name::CHECK), [], "its own suspects were acquitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_much_is_let_go_and_counted() {
    let mut metrics = None;
    let few = Settings { traces_max: 2, ..settings() };
    let kept = exported(OtlpProtocol::Grpc, few, |report| {
        for number in 1..=5 {
            report.note(&Note::Checked(suspicious(number)));
        }
        report.note(&Note::Decided { check: 3, drift: true });
        report.note(&Note::Decided { check: 5, drift: true });
        // Seven spans each, all in one second: half of the minute's 3,000 is theirs.
        for number in 100..1_100 {
            report.note(&Note::Checked(unread(number)));
        }
        report.note(&Note::Confirmed((1..=64).map(|id| finding(id, 5)).collect()));
        metrics = Some(report.metrics().render().unwrap());
    })
    .await;
    let numbers =
        kept.spans_named(name::CHECK).into_iter().filter_map(|span| get(&span, key::CHECK));
    let numbers: Vec<_> = numbers.take(2).collect();
    assert_eq!(numbers, ["5", "100"], "three of five were let go undecided");
    let spans = kept.spans().len();
    assert!((1_500..1_600).contains(&spans), "{spans} spans");
    assert_eq!(kept.spans_named(name::DRIFT_KEY).len(), 64, "room is kept for drift");

    let samples = parse(&metrics.unwrap());
    let dropped = |reason: &str| {
        let labels =
            format!(r#"driftd_telemetry_reason="{reason}",driftd_telemetry_signal="traces""#);
        samples[&format!("driftd_telemetry_dropped_total{{{labels}}}")]
    };
    assert_eq!(dropped("undecided"), 3.0);
    assert_eq!(dropped("rate") + f64::from(u32::try_from(spans).unwrap()), 7.0 * 1_001.0 + 65.0);
    assert_eq!(dropped("queue"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_what_a_receiver_gets() {
    let feed = |report: &mut Report| {
        report.note(&Note::Checked(CheckNote { suspects: 1, ..unread(5) }));
        report.note(&Note::Confirmed(vec![finding(1, 5)]));
        let scope = format!("keys {SECRET}, {BOUND}");
        report.note(&Note::Unread {
            pairing: "users".to_owned(),
            scope,
            key: None,
            fault: fault(),
        });
        report.observe(&[status()], extras(), Moment(200 * SECOND));
    };
    let has = |bytes: &[u8], needle: &str| {
        bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
    };
    for protocol in PROTOCOLS {
        let bytes = exported(protocol, settings(), feed).await.bytes();
        assert!(has(&bytes, "driftd.drift.key_hmac") && has(&bytes, "driftd.faults"));
        assert!(!has(&bytes, SECRET) && !has(&bytes, &BOUND.to_string()));
    }
    let open = Settings { keys: KeyExport::Plain, ..settings() };
    let bytes = exported(OtlpProtocol::Grpc, open, feed).await.bytes();
    assert!(has(&bytes, r#"["hunter2-1"]"#) && has(&bytes, &BOUND.to_string()), "as asked");
    assert!(!has(&bytes, r#""tenant""#), "labels stay");
}

fn status() -> PairingStatus {
    PairingStatus {
        pairing: "users".to_owned(),
        identity: MappingIdentity(0xabc),
        pass: 3,
        pass_began: Moment(150 * SECOND),
        partitions: 10,
        done: 4,
        unread_partitions: 1,
        passes: 2,
        covered_since: Some(Moment(80 * SECOND)),
        checks: 25,
        source_rows: 1_000,
        target_rows: 900,
        capacity: 12.5,
        compared: 990,
        same: 980,
        excluded: 5,
        confirmed: BTreeMap::from([(DriftKind::Missing, 3), (DriftKind::Stale, 1)]),
        open: BTreeMap::from([(DriftKind::Missing, 2)]),
        ignored: 1,
        resolved: 1,
        unsettled: 2,
        acquitted: 6,
        suspects: 7,
        unread: 8,
        lag_micros: 1_500_000,
        lagging_since: Some(Moment(190 * SECOND)),
        follower_progress: Moment::default(),
        unmapped: BTreeSet::from([(Side::Target, "extra".to_owned())]),
        not_verifiable: Some("no key of the target".to_owned()),
        not_begun: Some("column `g` cannot be compared".to_owned()),
        last_pass_unread: 0,
        last_pass_unsettled: 0,
        ..PairingStatus::default()
    }
}

fn extras() -> Extras {
    let criterion = CriterionState {
        name: "too-much".to_owned(),
        trips: 1,
        tripped: Some(Moment(180 * SECOND)),
        armed: Moment(0),
        count: 3,
        at_least: 3,
        dry_run: false,
    };
    let reloads = Reloads { successful: true, at: Moment(150 * SECOND) };
    let outage = Outage {
        store: "shop".to_owned(),
        since: Moment(170 * SECOND),
        code: FaultCode::StoreTimeout,
        what: "no answer".to_owned(),
        remedy: "check the server's load".to_owned(),
    };
    let stores = [("shop".to_owned(), Some(outage)), ("items".to_owned(), None)].into();
    Extras { outbox: 4, hooks_pending: 1, criteria: vec![criterion], stores, reloads }
}

/// Samples of a page in the text format of Prometheus, by name and sorted labels.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut typed: BTreeMap<&str, &str> = BTreeMap::new();
    assert!(page.ends_with('\n'));
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(typed.insert(name, kind), None, "{name} is told once");
            continue;
        }
        if line.starts_with("# HELP ") {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "{line}");
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let kind = typed.get(name).or_else(|| typed.get(family.unwrap_or(name))).unwrap();
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{line}");
        let value: f64 = value.parse().unwrap();
        assert_eq!(samples.insert(series.to_owned(), value), None, "{series} is told once");
    }
    samples
}

const EXPECTED: &[(&str, f64)] = &[
    (r#"driftd_rows_total{driftd_pairing="users",driftd_side="source"}"#, 1_000.0),
    (r#"driftd_rows_total{driftd_pairing="users",driftd_side="target"}"#, 900.0),
    (r#"driftd_entities_total{driftd_entity_result="same",driftd_pairing="users"}"#, 980.0),
    (r#"driftd_entities_total{driftd_entity_result="different",driftd_pairing="users"}"#, 10.0),
    (r#"driftd_entities_total{driftd_entity_result="excluded",driftd_pairing="users"}"#, 5.0),
    (r#"driftd_capacity_total{driftd_pairing="users"}"#, 12.5),
    (r#"driftd_checks_total{driftd_pairing="users"}"#, 25.0),
    (r#"driftd_passes_total{driftd_pairing="users"}"#, 2.0),
    (r#"driftd_partitions{driftd_pairing="users",driftd_partition_state="done"}"#, 3.0),
    (r#"driftd_partitions{driftd_pairing="users",driftd_partition_state="unread"}"#, 1.0),
    (r#"driftd_partitions{driftd_pairing="users",driftd_partition_state="waiting"}"#, 6.0),
    (r#"driftd_drift_total{driftd_drift_kind="missing",driftd_pairing="users"}"#, 3.0),
    (r#"driftd_drift_total{driftd_drift_kind="unmappable",driftd_pairing="users"}"#, 0.0),
    (r#"driftd_drift_open{driftd_drift_kind="missing",driftd_pairing="users"}"#, 2.0),
    (r#"driftd_drift_open{driftd_drift_kind="stale",driftd_pairing="users"}"#, 0.0),
    (r#"driftd_drift_ignored{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_drift_resolved_total{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_unread_total{driftd_pairing="users"}"#, 8.0),
    (r#"driftd_faults_total{driftd_fault="store-unreachable",driftd_pairing="users"}"#, 1.0),
    (r#"driftd_unsettled_total{driftd_pairing="users"}"#, 2.0),
    (r#"driftd_acquitted_total{driftd_pairing="users"}"#, 6.0),
    (r#"driftd_suspects{driftd_pairing="users"}"#, 7.0),
    (r#"driftd_coverage_age_seconds{driftd_pairing="users"}"#, 120.0),
    (r#"driftd_covered{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_not_verifiable{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_not_begun{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_unmapped{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_lag_seconds{driftd_pairing="users"}"#, 1.5),
    (r#"driftd_lagging{driftd_pairing="users"}"#, 1.0),
    (r#"driftd_criterion_tripped{driftd_criterion="too-much"}"#, 1.0),
    (r#"driftd_criterion_trips_total{driftd_criterion="too-much"}"#, 1.0),
    ("driftd_hooks_pending", 1.0),
    ("driftd_outbox", 4.0),
    (r#"driftd_store_up{driftd_store="shop"}"#, 0.0),
    (r#"driftd_store_up{driftd_store="items"}"#, 1.0),
    (r#"driftd_store_down_time_seconds{driftd_store="shop"}"#, 30.0),
    (r#"driftd_store_down_time_seconds{driftd_store="items"}"#, 0.0),
    ("driftd_config_last_reload_successful", 1.0),
    ("driftd_config_last_reload_success_timestamp_seconds", 150.0),
    (
        r#"driftd_telemetry_dropped_total{driftd_telemetry_reason="export",driftd_telemetry_signal="metrics"}"#,
        0.0,
    ),
    (
        r#"driftd_check_duration_seconds_bucket{driftd_check_result="same",driftd_pairing="users",le="1"}"#,
        1.0,
    ),
    (
        r#"driftd_check_duration_seconds_sum{driftd_check_result="same",driftd_pairing="users"}"#,
        1.0,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_the_same_to_prometheus_and_to_a_receiver() {
    for protocol in PROTOCOLS {
        let mut page = String::new();
        let kept = exported(protocol, settings(), |report| {
            report.note(&Note::Checked(check(1)));
            let (pairing, scope) = ("users".to_owned(), String::new());
            report.note(&Note::Unread { pairing, scope, key: None, fault: fault() });
            report.observe(&[status()], extras(), Moment(200 * SECOND));
            page = report.metrics().render().unwrap();
        })
        .await;
        let samples = parse(&page);
        for (series, value) in EXPECTED {
            assert_eq!(samples.get(*series), Some(value), "{series}\n{page}");
        }
        let told = include_str!("../../TELEMETRY.md");
        let families = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        for family in families.map(|line| line.split(' ').next().unwrap()) {
            let listed = told.contains(&format!("`{family}`")) || family == "target_info";
            assert!(listed, "{family} is not in TELEMETRY.md");
        }

        let metrics = kept.last_metrics();
        let find = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        assert_eq!((metrics.len(), find("driftd.lag").unit.as_str()), (32, "s"));
        let Some(Data::Sum(rows)) = &find("driftd.rows").data else { panic!("a sum") };
        assert!(rows.is_monotonic);
        let point = |side: &str| {
            let of = |attributes| attribute(attributes, key::SIDE).as_deref() == Some(side);
            rows.data_points.iter().find(|point| of(&point.attributes)).unwrap().value
        };
        assert_eq!(point("source"), Some(Number::AsInt(1_000)));
        assert_eq!(point("target"), Some(Number::AsInt(900)));
        let Some(Data::Gauge(age)) = &find("driftd.coverage.age").data else { panic!("a gauge") };
        assert_eq!(age.data_points[0].value, Some(Number::AsDouble(120.0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn coverage_ages_from_the_first_pass_until_one_is_complete() {
    let report = Report::start(&settings(), identity(&settings()), &nothing).unwrap();
    let metrics: Metrics = report.metrics();
    let age = |pass_began: i64, covered: Option<i64>, now: i64| {
        let status = PairingStatus {
            pass_began: Moment(pass_began * SECOND),
            covered_since: covered.map(|since| Moment(since * SECOND)),
            ..status()
        };
        metrics.observe(&[status], Extras::default(), Moment(now * SECOND));
        parse(&metrics.render().unwrap())[r#"driftd_coverage_age_seconds{driftd_pairing="users"}"#]
    };
    assert_eq!(age(100, None, 130), 30.0);
    assert_eq!(age(200, None, 230), 130.0, "a second pass does not hide that the first failed");
    assert_eq!(age(300, Some(200), 330), 130.0);
    stop(report).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_variables_reach_the_exporters() {
    let (configured, meant) = (Receiver::start().await, Receiver::start().await);
    let otlp = Otlp { endpoint: configured.grpc(), protocol: OtlpProtocol::Grpc };
    let settings = Settings { otlp: Some(otlp), ..settings() };
    for (protocol, endpoint) in [("grpc", meant.grpc()), ("http/protobuf", meant.http())] {
        let environment = |name: &str| match name {
            "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(endpoint.clone()),
            "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(protocol.to_owned()),
            "OTEL_EXPORTER_OTLP_HEADERS" => Some("x-team=a%20b".to_owned()),
            "OTEL_SERVICE_NAME" => Some("orders".to_owned()),
            _ => None,
        };
        let mut report = Report::start(&settings, identity(&settings), &environment).unwrap();
        report.note(&Note::Checked(unread(1)));
        stop(report).await;
    }
    assert_eq!(configured.kept().headers.len(), 0);
    let kept = meant.kept();
    assert_eq!((kept.traces.len(), kept.metrics.len()), (2, 2));
    assert!(kept.headers.iter().all(|of| of.contains(&"x-team: a b".to_owned())), "{kept:?}");
    assert_eq!(kept.resource("service.name").as_deref(), Some("orders"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_dead_holds_nothing_up() {
    // A listener that never answers: worse than one that refuses.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for protocol in PROTOCOLS {
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let settings = Settings { otlp: Some(Otlp { endpoint, protocol }), ..settings() };
        let mut report = Report::start(&settings, identity(&settings), &nothing).unwrap();
        for number in 0..10_000 {
            let later = Moment(i64::try_from(number).unwrap() * SECOND);
            report.note(&Note::Checked(CheckNote { began: later, ended: later, ..unread(number) }));
        }
        let page = parse(&report.metrics().render().unwrap());
        let dropped = page[r#"driftd_telemetry_dropped_total{driftd_telemetry_reason="queue",driftd_telemetry_signal="traces"}"#];
        assert!(dropped > 10_000.0, "{dropped} spans found no room");
        let stopped = tokio::task::spawn_blocking(|| report.stop(Duration::from_millis(100)));
        tokio::time::timeout(Duration::from_secs(5), stopped).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exporters_over_tls_can_be_made() {
    for protocol in PROTOCOLS {
        let endpoint = "https://localhost:1".to_owned();
        let settings = Settings { otlp: Some(Otlp { endpoint, protocol }), ..settings() };
        let report = Report::start(&settings, identity(&settings), &nothing).unwrap();
        let stopped = tokio::task::spawn_blocking(|| report.stop(Duration::from_millis(100)));
        stopped.await.unwrap();
    }
}
