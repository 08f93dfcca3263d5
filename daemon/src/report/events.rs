//! Drift events: CloudEvents 1.0, structured mode, one JSON object each.
//!
//! Owns what an occurrence looks like to those who consume it. Refuses to deliver: a sink does.
//! Invariant: equal occurrences give equal bytes, so that an event that is delivered again is the
//! same event; keys, labels and messages are in it only as configured.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value as Json;

use crate::model::{
    CriterionState, DriftKind, FaultCode, Finding, FindingStatus, Happening, HookJob, HookState,
    NamedKey, Occurrence, Outage, Partition, Severity, Subject, Unjudged, Unsettled,
};
use crate::report::Identity;
use crate::report::form::{partition_name, rfc3339};
use crate::report::names::event;

/// Names in one event beyond which the rest is only counted: consumers take 64 KiB at most.
const NAMES_MAX: usize = 64;
/// Bytes of free text in one event.
const TEXT_MAX: usize = 1_000;

/// The event that `occurrence` is, as one line of JSON without its end.
///
/// # Panics
/// Never: nothing in an event refuses to be JSON.
#[must_use]
pub fn render(occurrence: &Occurrence, identity: &Identity) -> Vec<u8> {
    let what = &occurrence.what;
    let (severitytext, severitynumber) = severity(what);
    let envelope = Envelope {
        specversion: "1.0",
        id: id(&identity.journal, occurrence.number),
        source: source(&identity.service),
        kind: kind(what),
        subject: subject(what, identity),
        time: rfc3339(occurrence.at),
        datacontenttype: "application/json",
        sequence: format!("{:020}", occurrence.number),
        severitytext,
        severitynumber,
        data: data(what, identity),
    };
    serde_json::to_vec(&envelope).expect("strings, numbers, lists and maps with text keys")
}

/// The id of an occurrence's event; the same for ever.
#[must_use]
pub fn id(journal: &str, number: u64) -> String {
    format!("{journal}-{number}")
}

/// The type of the event that this is.
#[must_use]
pub const fn kind(what: &Happening) -> &'static str {
    match what {
        Happening::Confirmed(_) => event::DRIFT_CONFIRMED,
        Happening::Changed { .. } => event::DRIFT_CHANGED,
        Happening::Resolved(_) => event::DRIFT_RESOLVED,
        Happening::Superseded(_) => event::DRIFT_SUPERSEDED,
        Happening::Tripped { .. } => event::CRITERION_TRIPPED,
        Happening::Reset(_) => event::CRITERION_RESET,
        Happening::Tested { .. } => event::CRITERION_TESTED,
        Happening::HookSucceeded(_) => event::HOOK_SUCCEEDED,
        Happening::HookFailed(_) => event::HOOK_FAILED,
        Happening::Lagging { .. } => event::LAG_OPENED,
        Happening::CaughtUp { .. } => event::LAG_CLOSED,
        Happening::Unread { .. } => event::UNREAD_OPENED,
        Happening::Readable { .. } => event::UNREAD_CLOSED,
        Happening::StoreDown(_) => event::STORE_OPENED,
        Happening::StoreUp { .. } => event::STORE_CLOSED,
        Happening::Unsettled(_) => event::UNSETTLED,
        Happening::Unmapped { .. } => event::UNMAPPED_FOUND,
        Happening::PassCompleted { .. } => event::PASS_COMPLETED,
    }
}

/// The name and number that OpenTelemetry gives a severity.
const fn severity(what: &Happening) -> (&'static str, u8) {
    const INFO: (&str, u8) = ("INFO", 9);
    const WARN: (&str, u8) = ("WARN", 13);
    const ERROR: (&str, u8) = ("ERROR", 17);
    const FATAL: (&str, u8) = ("FATAL", 21);
    match what {
        Happening::Confirmed(finding) | Happening::Changed { finding, .. } => {
            match &finding.invariant {
                Some((_, Severity::Info)) => INFO,
                Some((_, Severity::Warning)) => WARN,
                Some((_, Severity::Critical)) => FATAL,
                Some((_, Severity::Error)) | None => ERROR,
            }
        }
        Happening::Tripped { .. } => FATAL,
        Happening::HookFailed(_) | Happening::StoreDown(_) => ERROR,
        Happening::Lagging { .. }
        | Happening::Unread { .. }
        | Happening::Unsettled(_)
        | Happening::Unmapped { .. } => WARN,
        Happening::PassCompleted { unread, .. } if *unread > 0 => WARN,
        Happening::Resolved(_)
        | Happening::Superseded(_)
        | Happening::Reset(_)
        | Happening::Tested { .. }
        | Happening::HookSucceeded(_)
        | Happening::CaughtUp { .. }
        | Happening::Readable { .. }
        | Happening::StoreUp { .. }
        | Happening::PassCompleted { .. } => INFO,
    }
}

/// The service's name as a relative URI-reference: whatever is not unreserved is encoded.
fn source(service: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(service.len());
    for &byte in service.as_bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                out.push(char::from(byte));
            }
            _ => write!(out, "%{byte:02X}").expect("writing to a string cannot fail"),
        }
    }
    if out.is_empty() { "driftd".to_owned() } else { out }
}

fn subject(what: &Happening, identity: &Identity) -> String {
    let part = |pairing: &str, partition: &Option<Partition>| match partition {
        Some(partition) => format!("{pairing}/{}", partition_name(partition)),
        None => pairing.to_owned(),
    };
    match what {
        Happening::Confirmed(finding)
        | Happening::Changed { finding, .. }
        | Happening::Resolved(finding)
        | Happening::Superseded(finding) => match &finding.subject {
            Subject::Key(key) => {
                format!("{}/{}", finding.pairing, identity.key_hmac(&finding.pairing, key))
            }
            Subject::Partition { partition, .. } => part(&finding.pairing, &Some(*partition)),
        },
        Happening::Tripped { criterion, .. } | Happening::Reset(criterion) => {
            criterion.name.clone()
        }
        Happening::Tested { criterion, .. } => criterion.clone(),
        Happening::HookSucceeded(job) | Happening::HookFailed(job) => job.hook.clone(),
        Happening::Lagging { pairing, .. }
        | Happening::CaughtUp { pairing, .. }
        | Happening::Unmapped { pairing, .. }
        | Happening::PassCompleted { pairing, .. } => pairing.clone(),
        Happening::Unread { pairing, partition, .. }
        | Happening::Readable { pairing, partition, .. } => part(pairing, partition),
        Happening::StoreDown(outage) | Happening::StoreUp { outage, .. } => outage.store.clone(),
        Happening::Unsettled(Unsettled { pairing, subject, .. }) => match subject {
            Unjudged::Key(key) => format!("{pairing}/{}", identity.key_hmac(pairing, key)),
            Unjudged::Members(partition) | Unjudged::Rule { partition, .. } => {
                part(pairing, &Some(*partition))
            }
        },
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: String,
    time: String,
    datacontenttype: &'static str,
    sequence: String,
    severitytext: &'static str,
    severitynumber: u8,
    data: Data<'a>,
}

/// What the event says; the type of the event tells which of them.
#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Drift(Box<Drift<'a>>),
    Criterion(Criterion<'a>),
    Hook(Hook<'a>),
    Lag(Lag<'a>),
    Unread(Unread<'a>),
    Store(Store<'a>),
    Unsettled(NotSettled<'a>),
    Unmapped(Unmapped<'a>),
    Pass(Pass<'a>),
}

#[derive(Serialize)]
struct Drift<'a> {
    finding: u64,
    pairing: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<String>,
    entities: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hmac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Part>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sample: Vec<SampleKey<'a>>,
    fields: &'a [String],
    cosmetic: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    invariant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_digest: Option<String>,
    first_seen: String,
    confirmed: String,
    last_seen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    looks: u32,
    identity: String,
}

#[derive(Serialize)]
struct SampleKey<'a> {
    key_hmac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
}

#[derive(Serialize)]
struct Part {
    direction: String,
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    extent: Option<String>,
}

#[derive(Serialize)]
struct Criterion<'a> {
    criterion: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    armed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trips: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tripped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hooks: Option<&'a [String]>,
}

#[derive(Serialize)]
struct Hook<'a> {
    job: u64,
    hook: &'a str,
    criterion: &'a str,
    event: String,
    test: bool,
    state: &'static str,
    tries: u32,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<&'a str>,
}

#[derive(Serialize)]
struct Lag<'a> {
    pairing: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_micros: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasted_micros: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'a str>,
}

#[derive(Serialize)]
struct Unread<'a> {
    pairing: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    side: Option<String>,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<u32>,
}

#[derive(Serialize)]
struct NotSettled<'a> {
    pairing: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity: Option<&'a str>,
    entities: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_hmac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invariant: Option<&'a str>,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    first_seen: String,
    looks: u32,
    identity: String,
}

#[derive(Serialize)]
struct Store<'a> {
    store: &'a str,
    since: String,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasted_micros: Option<u64>,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    pairing: &'a str,
    side: String,
    names: &'a [String],
    count: usize,
}

#[derive(Serialize)]
struct Pass<'a> {
    pairing: &'a str,
    pass: u64,
    began: String,
    compared: u64,
    unread: u64,
}

fn data<'a>(what: &'a Happening, identity: &Identity) -> Data<'a> {
    match what {
        Happening::Confirmed(finding)
        | Happening::Resolved(finding)
        | Happening::Superseded(finding) => drift(finding, None, identity),
        Happening::Changed { finding, was } => drift(finding, Some(*was), identity),
        Happening::Tripped { criterion, armed, hooks } => Data::Criterion(Criterion {
            armed: Some(*armed),
            hooks: Some(hooks),
            ..criterion_data(criterion)
        }),
        Happening::Reset(criterion) => Data::Criterion(criterion_data(criterion)),
        Happening::Tested { criterion, hooks } => Data::Criterion(Criterion {
            criterion,
            armed: None,
            trips: None,
            tripped: None,
            count: None,
            at_least: None,
            hooks: Some(hooks),
        }),
        Happening::HookSucceeded(job) | Happening::HookFailed(job) => {
            Data::Hook(hook(job, identity))
        }
        Happening::Lagging { pairing, lag_micros, evidence } => Data::Lag(Lag {
            pairing,
            lag_micros: Some(*lag_micros),
            lasted_micros: None,
            evidence: Some(bounded(evidence)),
        }),
        Happening::CaughtUp { pairing, lasted_micros } => Data::Lag(Lag {
            pairing,
            lag_micros: None,
            lasted_micros: Some(*lasted_micros),
            evidence: None,
        }),
        Happening::Unread { pairing, partition, fault, tries } => Data::Unread(Unread {
            side: fault.side.map(|side| side.to_string()),
            what: Some(bounded(&fault.what)),
            remedy: Some(bounded(&fault.remedy)),
            tries: Some(*tries),
            ..unread(pairing, partition.as_ref(), fault.code, identity)
        }),
        Happening::Readable { pairing, partition, code } => {
            Data::Unread(unread(pairing, partition.as_ref(), *code, identity))
        }
        Happening::StoreDown(outage) => Data::Store(store(outage, None)),
        Happening::StoreUp { outage, lasted_micros } => {
            Data::Store(store(outage, Some(*lasted_micros)))
        }
        Happening::Unsettled(unsettled) => Data::Unsettled(not_settled(unsettled, identity)),
        Happening::Unmapped { pairing, side, names } => Data::Unmapped(Unmapped {
            pairing,
            side: side.to_string(),
            names: first(names),
            count: names.len(),
        }),
        Happening::PassCompleted { pairing, pass, began, compared, unread } => Data::Pass(Pass {
            pairing,
            pass: *pass,
            began: rfc3339(*began),
            compared: *compared,
            unread: *unread,
        }),
    }
}

fn drift<'a>(finding: &'a Finding, was: Option<DriftKind>, identity: &Identity) -> Data<'a> {
    let pairing = &finding.pairing;
    let invariant = finding.invariant.as_ref();
    let told = invariant.is_some_and(|(id, _)| identity.allows(pairing, id));
    let (key, partition, sample) = match &finding.subject {
        Subject::Key(key) => (Some(key), None, [].as_slice()),
        Subject::Partition { partition, sample, .. } => (None, Some(partition), sample.as_slice()),
    };
    let ended = match finding.status {
        FindingStatus::Open => None,
        FindingStatus::Resolved(at) | FindingStatus::Superseded(at) => Some(rfc3339(at)),
    };
    Data::Drift(Box::new(Drift {
        finding: finding.id,
        pairing,
        kind: finding.kind.as_str(),
        entity: finding.entity.as_deref(),
        was: was.map(DriftKind::as_str),
        side: finding.side.map(|side| side.to_string()),
        entities: finding.entities(),
        key_hmac: key.map(|key| identity.key_hmac(pairing, key)),
        key: key.and_then(|key| identity.key_plain(key)),
        partition: partition.map(|partition| part(partition, identity)),
        sample: sample
            .iter()
            .take(NAMES_MAX)
            .map(|named| sample_key(finding, named, identity))
            .collect(),
        fields: first(&finding.fields),
        cosmetic: first(&finding.cosmetic),
        invariant: invariant.map(|(id, _)| id.as_str()),
        severity: invariant.map(|(_, severity)| severity.as_str()),
        message: finding.message.as_deref().filter(|_| told).map(bounded),
        labels: finding
            .labels
            .iter()
            .filter(|(field, _)| identity.allows(pairing, field))
            .map(|(field, value)| (field.as_str(), bounded(value)))
            .collect(),
        source_digest: finding.source_digest.map(|digest| digest.to_string()),
        target_digest: finding.target_digest.map(|digest| digest.to_string()),
        first_seen: rfc3339(finding.first_seen),
        confirmed: rfc3339(finding.confirmed),
        last_seen: rfc3339(finding.last_seen),
        ended,
        looks: finding.looks,
        identity: finding.identity.to_string(),
    }))
}

fn sample_key<'a>(
    finding: &Finding,
    NamedKey { key, entity }: &'a NamedKey,
    identity: &Identity,
) -> SampleKey<'a> {
    SampleKey {
        key_hmac: identity.key_hmac(&finding.pairing, key),
        key: identity.key_plain(key),
        // Where all are of one type, the finding says it.
        entity: entity.as_deref().filter(|_| finding.entity.is_none()),
    }
}

fn part(partition: &Partition, identity: &Identity) -> Part {
    Part {
        direction: partition.direction.to_string(),
        number: partition.number,
        extent: identity.extent(partition),
    }
}

fn criterion_data(criterion: &CriterionState) -> Criterion<'_> {
    Criterion {
        criterion: &criterion.name,
        armed: None,
        trips: Some(criterion.trips),
        tripped: criterion.tripped.map(rfc3339),
        count: Some(criterion.count),
        at_least: Some(criterion.at_least),
        hooks: None,
    }
}

fn hook<'a>(job: &'a HookJob, identity: &Identity) -> Hook<'a> {
    Hook {
        job: job.id,
        hook: &job.hook,
        criterion: &job.criterion,
        event: id(&identity.journal, job.occurrence),
        test: job.test,
        state: match job.state {
            HookState::Pending => "pending",
            HookState::Failed => "failed",
            HookState::Succeeded => "succeeded",
            HookState::Cancelled => "cancelled",
        },
        tries: job.tries,
        since: rfc3339(job.since),
        last: job.last.as_deref().map(bounded),
    }
}

/// Without its words: those may hold bounds of ranges, which are keys.
fn store(outage: &Outage, lasted_micros: Option<u64>) -> Store<'_> {
    let Outage { store, since, code, what, remedy } = outage;
    let told = |words| lasted_micros.is_none().then(|| bounded(words));
    let (what, remedy) = (told(what), told(remedy));
    Store { store, since: rfc3339(*since), code: code.as_str(), what, remedy, lasted_micros }
}

fn not_settled<'a>(unsettled: &'a Unsettled, identity: &Identity) -> NotSettled<'a> {
    let pairing = &unsettled.pairing;
    let (key, partition, invariant) = match &unsettled.subject {
        Unjudged::Key(key) => (Some(key), None, None),
        Unjudged::Members(partition) => (None, Some(partition), None),
        Unjudged::Rule { partition, invariant } => (None, Some(partition), Some(invariant)),
    };
    NotSettled {
        pairing,
        entity: unsettled.entity.as_deref(),
        entities: unsettled.entities,
        key_hmac: key.map(|key| identity.key_hmac(pairing, key)),
        key: key.and_then(|key| identity.key_plain(key)),
        partition: partition.map(|partition| part(partition, identity)),
        invariant: invariant.map(String::as_str),
        why: unsettled.why.as_str(),
        code: unsettled.fault.map(FaultCode::as_str),
        first_seen: rfc3339(unsettled.first_seen),
        looks: unsettled.looks,
        identity: unsettled.identity.to_string(),
    }
}

fn unread<'a>(
    pairing: &'a str,
    partition: Option<&Partition>,
    code: FaultCode,
    identity: &Identity,
) -> Unread<'a> {
    Unread {
        pairing,
        partition: partition.map(|partition| part(partition, identity)),
        code: code.as_str(),
        side: None,
        what: None,
        remedy: None,
        tries: None,
    }
}

/// The first of many names.
fn first(names: &[String]) -> &[String] {
    names.get(..NAMES_MAX).unwrap_or(names)
}

/// A text cut to what an event may hold.
fn bounded(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[cfg(test)]
mod tests;
