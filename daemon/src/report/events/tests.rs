//! What drift events look like, and that they are CloudEvents that tell no secret.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::*;
use crate::model::Moment;
use crate::report::tests::{
    BOUND, SECRET, finding, happenings, identity, occurrences, open_settings, settings,
};

fn text(number: u64, what: Happening, identity: &Identity) -> String {
    let at = Moment(1_763_640_000_120_000);
    String::from_utf8(render(&Occurrence { number, at, what }, identity)).unwrap()
}

/// The text of all events of this kind, one a line, the envelope left out.
fn data_of(kind: &str, identity: &Identity) -> Vec<String> {
    let of_kind =
        occurrences().into_iter().filter(|occurrence| super::kind(&occurrence.what) == kind);
    of_kind
        .map(|occurrence| {
            let text = String::from_utf8(render(&occurrence, identity)).unwrap();
            let at = text.find("\"data\":").unwrap() + "\"data\":".len();
            text[at..text.len() - 1].to_owned()
        })
        .collect()
}

#[test]
fn a_confirmation_is_this_text_for_ever() {
    let identity = identity(&settings());
    assert_eq!(
        text(42, Happening::Confirmed(finding()), &identity),
        concat!(
            r#"{"specversion":"1.0","id":"7f3a-42","source":"driftd","#,
            r#""type":"driftd.drift.confirmed.v1","#,
            r#""subject":"users/5110a41aab0faa7286d66b94430c7a4c","time":"2025-11-20T12:00:00.120000Z","#,
            r#""datacontenttype":"application/json","sequence":"00000000000000000042","#,
            r#""severitytext":"ERROR","severitynumber":17,"#,
            r#""data":{"finding":12,"pairing":"users","kind":"mismatch","entity":"user","entities":1,"#,
            r#""key_hmac":"5110a41aab0faa7286d66b94430c7a4c","#,
            r#""fields":["email","status"],"cosmetic":["email"],"#,
            r#""source_digest":"00000000000000000000000000000001","#,
            r#""target_digest":"ffffffffffffffffffffffffffffffff","#,
            r#""first_seen":"1970-01-01T00:00:01.000000Z","#,
            r#""confirmed":"1970-01-01T00:00:31.500000Z","#,
            r#""last_seen":"1970-01-01T00:00:31.500000Z","looks":4,"#,
            r#""identity":"00000000000000000000000000000abc"}}"#,
        )
    );
}

#[test]
fn what_is_allowed_is_told() {
    let identity = identity(&open_settings());
    let told: Json = serde_json::from_str(&data_of(event::DRIFT_CONFIRMED, &identity)[1]).unwrap();
    assert_eq!(told["key"].to_string(), r#"["hunter2-key",7]"#);
    assert_eq!(
        told["labels"].to_string(),
        r#"{"tenant":"hunter2-tenant"}"#,
        "region is not allowed"
    );
    assert_eq!(told["message"], "hunter2-message");
    assert_eq!(
        (&told["invariant"], &told["severity"]),
        (&"status-known".into(), &"warning".into())
    );
    let crowd: Json = serde_json::from_str(&data_of(event::DRIFT_CONFIRMED, &identity)[2]).unwrap();
    assert_eq!(crowd["partition"]["extent"], "[424242424242, 424242424252)");
    assert_eq!(crowd["entities"].to_string(), "5000");
    assert_eq!(crowd["sample"].as_array().unwrap().len(), 64);
    assert_eq!(crowd["sample"][1]["key"].to_string(), r#"["hunter2-1"]"#);
    let rule: Json = serde_json::from_str(&data_of(event::DRIFT_CONFIRMED, &identity)[3]).unwrap();
    assert_eq!(rule["partition"]["extent"], "[424242424242, 424242424252)");
    assert_eq!((rule["entities"].to_string(), &rule["sample"]), ("1".to_owned(), &Json::Null));
    assert_eq!(
        (&rule["invariant"], &rule["message"]),
        (&"status-known".into(), &"hunter2-message".into())
    );
}

#[test]
fn each_type_says_what_its_consumers_need() {
    let identity = identity(&settings());
    let one = |kind: &str| data_of(kind, &identity).remove(0);
    for (kind, expected) in [
        (
            event::CRITERION_TRIPPED,
            r#"{"criterion":"too-much","armed":true,"trips":2,"tripped":"1970-01-01T00:00:40.000000Z","count":11,"at_least":10,"hooks":["flip-back"]}"#,
        ),
        (event::CRITERION_RESET, r#"{"criterion":"too-much","trips":2,"count":11,"at_least":10}"#),
        (event::CRITERION_TESTED, r#"{"criterion":"too-much","hooks":["flip-back"]}"#),
        (
            event::HOOK_SUCCEEDED,
            r#"{"job":4,"hook":"flip-back","criterion":"too-much","event":"7f3a-9","test":false,"state":"succeeded","tries":2,"since":"1970-01-01T00:00:40.000000Z","last":"exit status 0"}"#,
        ),
        (
            event::LAG_OPENED,
            r#"{"pairing":"users","lag_micros":45000000,"evidence":"suspects heal late"}"#,
        ),
        (event::LAG_CLOSED, r#"{"pairing":"users","lasted_micros":90000000}"#),
        (
            event::UNREAD_OPENED,
            r#"{"pairing":"users","partition":{"direction":"from source","number":3},"side":"source","code":"store-unreachable","what":"store `shop`: cannot reach db:3306","remedy":"check that the server runs","tries":5}"#,
        ),
        (
            event::UNREAD_CLOSED,
            r#"{"pairing":"users","partition":{"direction":"from source","number":3},"code":"store-unreachable"}"#,
        ),
        (
            event::PASS_COMPLETED,
            r#"{"pairing":"users","pass":3,"began":"1970-01-01T00:00:10.000000Z","compared":20000,"unread":1}"#,
        ),
    ] {
        assert_eq!(one(kind), expected, "{kind}");
    }
    assert!(
        one(event::DRIFT_CHANGED).contains(r#""kind":"mismatch","entity":"user","was":"stale""#)
    );
    assert!(one(event::DRIFT_RESOLVED).contains(r#""ended":"1970-01-01T00:00:50.000000Z""#));
}

#[test]
fn every_event_is_a_cloud_event() {
    for settings in [settings(), open_settings()] {
        let identity = identity(&settings);
        let mut seen = BTreeSet::new();
        for occurrence in occurrences() {
            let bytes = render(&occurrence, &identity);
            assert_eq!(bytes, render(&occurrence, &identity), "the same event has the same bytes");
            assert!(!bytes.contains(&b'\n') && bytes.len() <= 64 << 10, "one line, not too long");
            let event: Json = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(conforms(&event), Ok(()), "{event}");
            assert!(seen.insert(event["id"].to_string()), "ids differ");
        }
    }
}

#[test]
fn the_source_is_a_uri_reference_whatever_the_service_is_called() {
    for (service, expected) in [
        ("driftd", "driftd"),
        ("shop: orders/eu", "shop%3A%20orders/eu"),
        ("", "driftd"),
        ("ü", "%C3%BC"),
    ] {
        assert_eq!(source(service), expected);
    }
}

#[test]
fn no_event_tells_a_secret_unless_asked() {
    let identity = identity(&settings());
    let hex = crate::report::form::hex(SECRET.as_bytes());
    for occurrence in occurrences() {
        let text = String::from_utf8(render(&occurrence, &identity)).unwrap();
        for secret in [SECRET, &hex, &BOUND.to_string()] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}

#[test]
fn long_texts_and_lists_end() {
    let mut long = finding();
    long.fields = (0..10_000).map(|n| format!("field-{n}")).collect();
    long.labels.insert("tenant".to_owned(), "ü".repeat(100_000));
    let text = text(1, Happening::Confirmed(long), &identity(&open_settings()));
    assert!(text.len() < 16 << 10, "{}", text.len());
    assert!(text.contains("field-63\"]") && text.contains("\"labels\""));
    assert_eq!(happenings().len(), 24, "the fixture has one of everything");
}

/// What the specification of CloudEvents 1.0 demands of an event in JSON, as far as this one goes.
fn conforms(event: &Json) -> Result<(), String> {
    let object = event.as_object().ok_or("no object")?;
    let get = |name: &str| {
        let value = object.get(name).and_then(Json::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("{name} is absent, empty or no string"))
    };
    if get("specversion")? != "1.0" {
        return Err("specversion".to_owned());
    }
    let uri_reference =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&byte);
    if !get("source")?.bytes().all(uri_reference) {
        return Err("source is no URI-reference".to_owned());
    }
    if !get("type")?.starts_with("driftd.") || !get("type")?.ends_with(".v1") {
        return Err("type".to_owned());
    }
    let time: jiff::Timestamp = get("time")?.parse().map_err(|error| format!("time: {error}"))?;
    if format!("{time:.6}") != get("time")? {
        return Err("time is not in the form of RFC 3339 that driftd writes".to_owned());
    }
    get("id")?;
    get("subject")?;
    if get("datacontenttype")? != "application/json" || !object["data"].is_object() {
        return Err("data".to_owned());
    }
    if get("sequence")?.len() != 20 || !get("sequence")?.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("sequence does not sort".to_owned());
    }
    if !["INFO", "WARN", "ERROR", "FATAL"].contains(&get("severitytext")?) {
        return Err("severitytext".to_owned());
    }
    // Attribute names are lower-case letters and digits only.
    let plain =
        |name: &String| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    object.keys().find(|name| !plain(name)).map_or(Ok(()), |name| Err(format!("attribute {name}")))
}
