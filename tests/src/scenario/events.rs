//! Drift events as a consumer reads them.
//!
//! Owns parsing and the rules that every line keeps. Refuses a line that breaks them, except one that
//! a crash has torn. Invariant: an id has one content.

use std::collections::BTreeMap;

use serde_json::Value;

/// Events in the order of their first delivery, each once.
#[derive(Clone, Debug, Default)]
pub struct Events {
    all: Vec<Value>,
    /// Lines that came again.
    pub again: usize,
    /// Lines that are no JSON.
    pub torn: usize,
}

impl Events {
    /// Reads lines.
    ///
    /// # Panics
    /// If one is not a CloudEvent, or comes again with another content.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut events = Self::default();
        let mut known: BTreeMap<String, String> = BTreeMap::new();
        // What stands behind the last end of line is being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            let Ok(event) = serde_json::from_str::<Value>(line) else {
                events.torn += 1;
                continue;
            };
            valid(&event, line);
            let id = event["id"].as_str().unwrap().to_owned();
            match known.get(&id) {
                Some(before) => {
                    assert_eq!(before, line, "one id, two contents");
                    events.again += 1;
                }
                None => {
                    known.insert(id, line.to_owned());
                    events.all.push(event);
                }
            }
        }
        events
    }

    /// Those of a type, such as `drift.confirmed`.
    #[must_use]
    pub fn of(&self, kind: &str) -> Vec<&Value> {
        let kind = format!("driftd.{kind}.v1");
        self.all.iter().filter(|event| event["type"] == kind.as_str()).collect()
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Value] {
        &self.all
    }
}

/// The rules of CloudEvents 1.0, and ours.
fn valid(event: &Value, line: &str) {
    assert_eq!(event["specversion"], "1.0", "{line}");
    for name in ["id", "source", "type", "time"] {
        let text = event[name].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "`{name}` is missing: {line}");
    }
    let time = event["time"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "no RFC 3339 in UTC: {line}");
    assert!(event["data"].is_object(), "{line}");
    let attributes = event.as_object().unwrap().keys().filter(|name| *name != "data");
    for name in attributes {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        assert!(plain && name.len() <= 20, "`{name}` is no name of an attribute: {line}");
    }
}
