//! What leaves the process: traces, metrics, events and logs, and nothing of keys or values.

use driftd_tests::otlp::{Receiver, attribute};
use driftd_tests::scenario::until_some;
use driftd_tests::scenario::users::{MARK, Shop};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;

use super::faults::{plant, with_hook};

#[tokio::test]
async fn drift_is_told_in_traces_and_metrics_and_no_key_or_value_leaves() {
    let shop = Shop::new(140).await;
    let receiver = Receiver::start().await;
    let scenario = with_hook(&shop);
    let telemetry = format!(
        "[telemetry]\nclean_ratio = 0.0\nlog = {{ level = \"debug\" }}\notlp = {{ endpoint = \"{}\", protocol = \"grpc\" }}\n[events]",
        receiver.grpc()
    );
    scenario.change("[events]", &telemetry);
    let planted = plant(&shop).await;
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.found(&planted).await;
    let metrics = until_some("metrics show the drift", async || {
        let page = daemon.page("/metrics").await?;
        let shown = page.body.lines().any(|line| {
            line.starts_with("driftd_drift_open")
                && line.contains("missing")
                && line.ends_with(" 1")
        });
        shown.then_some(page.body)
    })
    .await;
    let status = daemon.page("/status").await.unwrap().body;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());

    let kept = receiver.kept();
    let confirmations = kept.spans_named("driftd.drift");
    let checks = kept.spans_named("driftd.check");
    assert!(!confirmations.is_empty());
    let mut told = Vec::new();
    for drift in &confirmations {
        let code = drift.status.as_ref().map(|status| status.code());
        assert_eq!(code, Some(StatusCode::Error), "{drift:?}");
        assert!(!drift.links.is_empty(), "linked to the first look: {drift:?}");
        for link in &drift.links {
            let first = checks.iter().find(|check| check.span_id == link.span_id);
            let first = first.expect("the first look was kept");
            assert_eq!(first.trace_id, link.trace_id);
            assert_ne!(first.trace_id, drift.trace_id, "a trace of its own");
        }
        told.extend(
            kept.spans_named("driftd.drift.key")
                .iter()
                .filter(|key| key.parent_span_id == drift.span_id)
                .filter_map(|key| attribute(&key.attributes, "driftd.drift.kind")),
        );
    }
    told.sort();
    let kinds: Vec<&str> = planted.iter().map(|name| name.split(' ').next().unwrap()).collect();
    assert_eq!(told, kinds, "one child for each drifted key");
    let mut traces: Vec<_> = checks.iter().map(|check| &check.trace_id).collect();
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), checks.len(), "one trace for each check");
    assert!(kept.last_metrics().iter().any(|metric| metric.name == "driftd.drift"));

    let bytes = String::from_utf8_lossy(&kept.bytes()).into_owned();
    for (what, text) in [
        ("OTLP", &bytes),
        ("the log", &daemon.log()),
        ("events", &scenario.read("events.jsonl")),
        ("the hook's event", &scenario.read("event.json")),
        ("metrics", &metrics),
        ("status", &status),
    ] {
        assert_private(what, text);
    }
}

/// There is something, and nothing in it is a key or a value of the shop.
fn assert_private(what: &str, text: &str) {
    assert!(!text.is_empty(), "{what} is there");
    for secret in [MARK, "USER#", "TENANT#", "[131]"] {
        let shown = text.find(secret);
        let shown =
            shown.map(|at| String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80)..at]));
        assert_eq!(shown, None, "`{secret}` in {what}");
    }
}
