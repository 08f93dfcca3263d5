//! `[telemetry]` and `[events]`: what leaves the process.
//!
//! Owns the keys of traces, metrics, logs and drift events. Refuses to open anything. Invariant: keys
//! and values leave only where the file says so in plain words.

use std::path::PathBuf;

use crate::model::Role;
use crate::report::{EventSink, KeyExport, Log, LogFormat, LogLevel, Otlp, OtlpProtocol, Settings};

use super::describe::{Key, Shape, Table, one_of};
use super::walk::{Node, Section, nearest};
use super::{MappingSettings, PairingSettings};

/// The key of traces, metrics and logs.
pub(super) const KEY: Key =
    Key::defaulted("telemetry", Shape::Table(&TELEMETRY), "traces, metrics and logs");
/// The key of drift events.
pub(super) const EVENTS_KEY: Key =
    Key::defaulted("events", Shape::Table(&EVENTS), "drift events, and what they may say");

static TELEMETRY: Table = Table {
    what: "[telemetry]",
    keys: &[
        Key::defaulted(
            "service",
            Shape::Text,
            "`service.name` of traces and metrics, and the source of drift events",
        ),
        Key::optional(
            "otlp",
            Shape::Table(&OTLP),
            "where traces and metrics go; left out: nowhere. The standard `OTEL_EXPORTER_OTLP_*` variables always win",
        ),
        Key::defaulted("clean_ratio", Shape::Ratio, "share of clean checks whose trace is kept"),
        Key::defaulted("slow", Shape::SOME_DURATION, "a check that takes longer is kept"),
        Key::defaulted(
            "traces_max",
            Shape::Count { min: 1, max: 1_000_000 },
            "traces held back until their suspects are decided; beyond, the oldest is let go and counted",
        ),
        Key::defaulted("log", Shape::Table(&LOG), "what driftd says on standard error"),
    ],
    elsewhere: &[
        ("endpoint", "write `otlp = { endpoint = \"...\" }`"),
        ("level", "write `log = { level = \"...\" }`"),
        ("events", "drift events have a table of their own: [events]"),
    ],
};

static OTLP: Table = Table {
    what: "`otlp`",
    keys: &[
        Key::required("endpoint", Shape::Url, "URL of the receiver"),
        Key::defaulted(
            "protocol",
            Shape::Choice(&["grpc", "http"]),
            "over gRPC, or HTTP with protobuf bodies",
        ),
    ],
    elsewhere: &[(
        "headers",
        "headers may hold secrets: set the variable OTEL_EXPORTER_OTLP_HEADERS",
    )],
};

static LOG: Table = Table {
    what: "`log`",
    keys: &[
        Key::defaulted(
            "level",
            Shape::Choice(&["error", "warn", "info", "debug", "trace"]),
            "the least severe level that is written; `debug` and `trace` show what plugins log, which may hold values",
        ),
        Key::defaulted(
            "format",
            Shape::Choice(&["text", "json"]),
            "lines for people, or one JSON object a line",
        ),
    ],
    elsewhere: &[],
};

static EVENTS: Table = Table {
    what: "[events]",
    keys: &[
        Key::defaulted(
            "sink",
            Shape::Either(&Shape::Choice(&["journal", "stdout"]), &Shape::Table(&FILE)),
            "where drift events go, as CloudEvents 1.0, one JSON text a line: appended to `{ file = \"...\" }`, which is opened again on SIGUSR1; to `stdout`; or nowhere but the `journal`, until its retention ends",
        ),
        Key::defaulted(
            "keys",
            Shape::Choice(&["hmac", "plain"]),
            "how keys leave the process: as HMACs, or as they are",
        ),
        Key::defaulted(
            "fields",
            Shape::List { of: &Shape::Text, min: 0 },
            "labels whose values, and invariants whose words, may leave the process in drift events, as `pairing.name`",
        ),
    ],
    elsewhere: &[],
};

static FILE: Table = Table {
    what: "a file for events",
    keys: &[Key::required("file", Shape::Path, "the file that events are appended to")],
    elsewhere: &[],
};

/// Reads what leaves the process.
pub(super) fn read(
    telemetry: Option<&Section<'_>>,
    events: Option<&Section<'_>>,
    pairings: &[PairingSettings],
) -> Option<Settings> {
    let events = events.map(|section| read_events(section, pairings));
    let telemetry = telemetry?;
    let service = telemetry.take("service").and_then(|node| node.text());
    let otlp = telemetry.take("otlp").map(|node| otlp(&node));
    let clean_ratio = telemetry.take("clean_ratio").and_then(|node| node.number());
    let slow = telemetry.take("slow").and_then(|node| node.duration());
    let traces_max = telemetry.take("traces_max").and_then(|node| node.count());
    let otlp = match otlp {
        Some(read) => Some(read?),
        None => None,
    };
    let (events, keys, fields) = events?;
    Some(Settings {
        service: service?,
        otlp,
        clean_ratio: clean_ratio?,
        slow: slow?,
        traces_max: traces_max?,
        events: events?,
        keys: keys?,
        fields,
    })
}

fn read_events(
    section: &Section<'_>,
    pairings: &[PairingSettings],
) -> (Option<EventSink>, Option<KeyExport>, Vec<String>) {
    let sink = section.take("sink").and_then(|node| sink(&node));
    let keys = section.take("keys").and_then(|node| keys(&node));
    let fields = section.take("fields").map_or_else(Vec::new, |node| {
        node.distinct(|node| node.parsed(|text| field(node, text, pairings)))
    });
    (sink, keys, fields)
}

/// Reads what driftd says on standard error.
pub(super) fn read_log(telemetry: &Section<'_>) -> Option<Log> {
    let section = telemetry.take("log").and_then(|node| node.section())?;
    let level = section.take("level").and_then(|node| {
        node.pick(&[
            ("error", LogLevel::Error),
            ("warn", LogLevel::Warn),
            ("info", LogLevel::Info),
            ("debug", LogLevel::Debug),
            ("trace", LogLevel::Trace),
        ])
    });
    let format = section
        .take("format")
        .and_then(|node| node.pick(&[("text", LogFormat::Text), ("json", LogFormat::Json)]));
    Some(Log { level: level?, format: format? })
}

fn otlp(node: &Node<'_>) -> Option<Otlp> {
    let section = node.section()?;
    let endpoint = section.take("endpoint").and_then(|node| node.url());
    let protocol = match section.take("protocol") {
        Some(node) => node.pick(&[("grpc", OtlpProtocol::Grpc), ("http", OtlpProtocol::Http)]),
        None => Some(OtlpProtocol::Grpc),
    };
    Some(Otlp { endpoint: endpoint?, protocol: protocol? })
}

fn sink(node: &Node<'_>) -> Option<EventSink> {
    let node = node.either()?;
    if node.value.is_str() {
        let journal = node.pick(&[("journal", true), ("stdout", false)])?;
        return Some(if journal { EventSink::Journal } else { EventSink::Stdout });
    }
    let section = node.section()?;
    let path: Option<PathBuf> = section.take("file").and_then(|node| node.path());
    path.map(EventSink::File)
}

fn keys(node: &Node<'_>) -> Option<KeyExport> {
    let keys = node.pick(&[("hmac", KeyExport::Hmac), ("plain", KeyExport::Plain)])?;
    if keys == KeyExport::Plain {
        node.warn(
            "keys leave the process as they are",
            "write \"hmac\" unless every receiver of events may see them",
        );
    }
    Some(keys)
}

/// A label whose values may leave, as `pairing.label`. What a plugin's labels and invariants are is
/// not known yet; the run looks at them when it has loaded the plugin.
fn field(
    node: &Node<'_>,
    text: &str,
    pairings: &[PairingSettings],
) -> Result<String, (String, String)> {
    let form = || {
        let help = "write the pairing's and the label's name, such as \"users.tenant\"".to_owned();
        (format!("\"{text}\" is no `pairing.name`"), help)
    };
    let (pairing, field) = text.split_once('.').ok_or_else(form)?;
    if pairing.is_empty() || field.is_empty() {
        return Err(form());
    }
    let known: Vec<_> = node.walker.names_of("pairings").iter().map(String::as_str).collect();
    if !known.contains(&pairing) {
        let message = format!("there is no [pairings.{pairing}]");
        return Err((message, suggest("pairings", pairing, &known)));
    }
    let settings = pairings.iter().find(|settings| settings.name == pairing);
    if let Some(MappingSettings::BuiltIn(mapping)) = settings.map(|settings| &settings.mapping) {
        let labels = mapping.fields.iter().filter(|field| field.role == Role::Label);
        let known: Vec<_> = labels.map(|field| field.name.as_str()).collect();
        if !known.contains(&field) {
            let message = format!("the mapping of `{pairing}` has no label `{field}`");
            return Err((message, suggest("labels", field, &known)));
        }
    }
    Ok(text.to_owned())
}

fn suggest(what: &str, name: &str, known: &[&str]) -> String {
    match (nearest(name, known).as_slice(), known) {
        (_, []) => format!("this file has no {what}"),
        ([], known) => format!("the {what} are {}", one_of(known).replace(" or ", " and ")),
        (near, _) => format!("did you mean {}?", one_of(near)),
    }
}
