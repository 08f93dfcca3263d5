//! The log: one structured line for what happened.
//!
//! Owns the format and levels of the log. Refuses keys and values: a key is its HMAC, also where keys
//! are exported as they are. Invariant: every line says what happened, where, and what to do about it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::model::{
    CriterionState, DriftKind, FailedRows, Fault, FaultCode, Finding, Happening, HookJob, Key,
    Moment, Outage, Partition, Subject, Unjudged, Unsettled,
};
use crate::report::events;
use crate::report::form::partition_name;
use crate::report::{Identity, Log, LogFormat, LogLevel};

/// Names in one line; `status` has them all.
const NAMES_MAX: usize = 64;

/// Starts logging to standard error: driftd from its level on, what it is built of from warnings on.
///
/// # Errors
/// If logging was started before.
pub fn init(log: Log) -> Result<(), TryInitError> {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
}

/// driftd from `level` on, what it is built of from warnings on.
fn filter(level: LevelFilter) -> EnvFilter {
    let others = level.min(LevelFilter::WARN);
    // OpenTelemetry's own lines would repeat a dead receiver every few seconds; `export` tells it.
    EnvFilter::builder().parse_lossy(format!("{others},driftd={level},opentelemetry=off"))
}

/// Says what happened.
pub fn happening(what: &Happening, identity: &Identity) {
    let event = events::kind(what);
    match what {
        Happening::Confirmed(finding) => {
            drift(event, finding, None, identity);
        }
        Happening::Changed { finding, was } => drift(event, finding, Some(*was), identity),
        Happening::Resolved(finding) => {
            let message = match finding.is_of_rule() {
                true => "drift went away: the rule holds again; nothing to do",
                false => "drift went away: both sides agree again; nothing to do",
            };
            over(event, finding, message, identity);
        }
        Happening::Superseded(finding) => {
            let message =
                "finding superseded: it does not hold under what is configured now; nothing to do";
            over(event, finding, message, identity);
        }
        Happening::Tripped { criterion, armed, hooks } => tripped(event, criterion, *armed, hooks),
        Happening::Reset(CriterionState { name, .. }) => {
            info!(target: "driftd", event, criterion = name, "criterion reset: it is armed again");
        }
        Happening::Tested { criterion, hooks } => info!(
            target: "driftd", event, criterion, hooks = hooks.join(", "),
            "hooks are run as a test; `driftd abort list` shows how they end"
        ),
        Happening::HookSucceeded(HookJob { id, hook, criterion, tries, test, .. }) => info!(
            target: "driftd", event, hook, criterion, job = id, tries, test,
            "hook succeeded; it is not run again until the criterion is reset"
        ),
        Happening::HookFailed(HookJob { id, hook, criterion, tries, test, last, .. }) => error!(
            target: "driftd", event, hook, criterion, job = id, tries, test, last,
            "hook failed within its deadline; tries go on; do by hand what it should have done, \
             or mend it"
        ),
        Happening::Lagging { pairing, lag_micros, evidence } => warn!(
            target: "driftd", event, pairing, lag_s = seconds(*lag_micros), evidence,
            "the follower lags beyond its budget: condemning pauses; check replication"
        ),
        Happening::CaughtUp { pairing, lasted_micros } => info!(
            target: "driftd", event, pairing, lasted_s = seconds(*lasted_micros),
            "the follower has caught up: condemning goes on"
        ),
        Happening::Unread { pairing, partition, fault, tries } => warn!(
            target: "driftd", event, pairing, partition = partition.as_ref().map(partition_name),
            code = fault.code.as_str(), tries, "unread: {}; {}", fault.what, fault.remedy
        ),
        Happening::Readable { pairing, partition, code } => info!(
            target: "driftd", event, pairing, partition = partition.as_ref().map(partition_name), code = code.as_str(),
            "what was unread can be read again; nothing to do"
        ),
        Happening::StoreDown(outage) => store(event, outage, None),
        Happening::StoreUp { outage, lasted_micros } => store(event, outage, Some(*lasted_micros)),
        Happening::Unsettled(what) => unsettled(what, 0, identity),
        Happening::Unmapped { pairing, side, names } => {
            let (shown, more) = names.split_at(names.len().min(NAMES_MAX));
            let more = if more.is_empty() { "" } else { " and more, which `driftd status` shows" };
            warn!(
                target: "driftd", event, pairing, %side, names = format!("{}{more}", shown.join(", ")),
                "not compared, because the mapping neither uses nor ignores them: map them, or name \
                 them under `ignore`"
            );
        }
        Happening::PassCompleted { pairing, pass, compared, unread, .. } => {
            passed(event, pairing, *pass, (*compared, *unread));
        }
    }
}

fn drift(event: &str, finding: &Finding, was: Option<DriftKind>, identity: &Identity) {
    let message = match (was, finding.is_of_rule()) {
        (None, false) => {
            "drift confirmed; `driftd drift` shows the key and where both sides keep it"
        }
        (None, true) => {
            "drift confirmed: a rule over the whole partition is broken; `driftd drift` \
                         shows what it says"
        }
        (Some(_), _) => {
            "drift is now of another kind; `driftd drift` shows the key and where both \
                         sides keep it"
        }
    };
    warn!(
        target: "driftd",
        event,
        pairing = finding.pairing,
        finding = finding.id,
        kind = finding.kind.as_str(),
        entity = finding.entity,
        was = was.map(DriftKind::as_str),
        side = finding.side.map(|side| side.to_string()),
        key_hmac = hmac(finding, identity),
        partition = partition(finding),
        entities = finding.entities(),
        fields = finding.fields.join(", "),
        invariant = finding.invariant.as_ref().map(|(id, _)| id.as_str()),
        severity = finding.invariant.as_ref().map(|(_, severity)| severity.as_str()),
        looks = finding.looks,
        "{message}"
    );
}

fn over(event: &str, finding: &Finding, message: &str, identity: &Identity) {
    info!(
        target: "driftd",
        event,
        pairing = finding.pairing,
        finding = finding.id,
        kind = finding.kind.as_str(),
        entity = finding.entity,
        key_hmac = hmac(finding, identity),
        partition = partition(finding),
        entities = finding.entities(),
        "{message}"
    );
}

fn tripped(event: &str, criterion: &CriterionState, armed: bool, hooks: &[String]) {
    let CriterionState { name, count, at_least, .. } = criterion;
    let hooks = hooks.join(", ");
    if armed {
        error!(
            target: "driftd", event, criterion = name, count, at_least, hooks,
            "abort criterion tripped: its hooks run; look at `driftd drift`, and when all is well \
             again run `driftd abort reset`"
        );
    } else {
        error!(
            target: "driftd", event, criterion = name, count, at_least, hooks,
            "abort criterion tripped, but no hook runs because `mode` is \"dry_run\"; look at \
             `driftd drift`, and stop the migration by hand if need be"
        );
    }
}

fn passed(event: &str, pairing: &str, pass: u64, (compared, unread): (u64, u64)) {
    if unread == 0 {
        info!(target: "driftd", event, pairing, pass, compared, "pass complete");
    } else {
        warn!(
            target: "driftd", event, pairing, pass, compared, unread,
            "pass complete, but some partitions stayed unread and were not compared; mend what the \
             lines about them say"
        );
    }
}

/// Says that something was unread. `key` is of one that the fault is about, if it is about single ones;
/// `before` is how often that was not said since the last line.
pub fn unread(pairing: &str, key: Option<&Key>, fault: &Fault, before: u64, identity: &Identity) {
    warn!(
        target: "driftd", pairing, code = fault.code.as_str(), unsaid = before,
        key_hmac = key.map(|key| identity.key_hmac(pairing, key)),
        "unread, to be tried again: {}; {}", fault.what, fault.remedy
    );
}

/// Says that the plugin fails on some rows of a check by themselves. `before` is as for [`unread`].
pub fn failed(
    pairing: &str,
    partition: &Partition,
    failed: &FailedRows,
    before: u64,
    identity: &Identity,
) {
    let FailedRows { key, rows, fault } = failed;
    warn!(
        target: "driftd", pairing, code = fault.code.as_str(), partition = partition_name(partition), rows,
        key_hmac = identity.key_hmac(pairing, key), unsaid = before,
        "rows fail by themselves and count as unmappable, the rest is compared; the first: {}; {}; \
         `driftd drift` lists them once they are confirmed", fault.what, fault.remedy
    );
}

/// A store is down, or was for so long.
fn store(event: &str, outage: &Outage, lasted_micros: Option<u64>) {
    let Outage { store, code, what, remedy, .. } = outage;
    match lasted_micros {
        None => error!(
            target: "driftd", event, store, code = code.as_str(),
            "store `{store}` is down: {what}; what reads it is unread and waits until it answers; \
             {remedy}"
        ),
        Some(lasted) => info!(
            target: "driftd", event, store, code = code.as_str(), lasted_s = seconds(lasted),
            "store `{store}` answers again: what reads it goes on; nothing to do"
        ),
    }
}

/// Says that something could not be judged. `before` is as for [`unread`].
pub fn unsettled(what: &Unsettled, before: u64, identity: &Identity) {
    let Unsettled { pairing, subject, entity, entities, why, fault, looks, .. } = what;
    let (key, partition, invariant) = match subject {
        Unjudged::Key(key) => (Some(key), None, None),
        Unjudged::Members(partition) => (None, Some(partition), None),
        Unjudged::Rule { partition, invariant } => (None, Some(partition), Some(invariant)),
    };
    warn!(
        target: "driftd", event = super::names::event::UNSETTLED, pairing, entity, entities,
        key_hmac = key.map(|key| identity.key_hmac(pairing, key)),
        partition = partition.map(partition_name), invariant,
        why = why.as_str(), code = fault.map(FaultCode::as_str), looks, unsaid = before,
        "what differed could not be judged; the next pass looks at it again, `driftd drift \
         --unsettled` lists it and says why"
    );
}

fn hmac(finding: &Finding, identity: &Identity) -> Option<String> {
    match &finding.subject {
        Subject::Key(key) => Some(identity.key_hmac(&finding.pairing, key)),
        Subject::Partition { .. } => None,
    }
}

fn partition(finding: &Finding) -> Option<String> {
    match &finding.subject {
        Subject::Key(_) => None,
        Subject::Partition { partition, .. } => Some(partition_name(partition)),
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

/// Between two lines about the same fault of the same pairing.
const QUIET: Duration = Duration::from_secs(10);

/// Lines that would be said again and again: one in ten seconds for each pairing and code.
#[derive(Debug, Default)]
pub struct Repeats {
    said: BTreeMap<(String, &'static str), (Moment, u64)>,
}

impl Repeats {
    /// Whether to say it now: then how often it was not said since it was said last.
    pub fn tell(&mut self, pairing: &str, code: &'static str, now: Moment) -> Option<u64> {
        let key = (pairing.to_owned(), code);
        if let Some((said, unsaid)) = self.said.get_mut(&key)
            && now.since(*said) < QUIET
        {
            *unsaid += 1;
            return None;
        }
        let before = self.said.insert(key, (now, 0));
        Some(before.map_or(0, |(_, unsaid)| unsaid))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::Value;
    use crate::report::tests::{BOUND, SECRET, happenings, identity, open_settings};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(what: &Happening) -> serde_json::Value {
        written(|identity| happening(what, identity))
    }

    /// What is written, which is one line.
    fn written(write: impl FnOnce(&Identity)) -> serde_json::Value {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .json()
            .flatten_event(true)
            .finish();
        let identity = identity(&open_settings());
        tracing::subscriber::with_default(subscriber, || write(&identity));
        let bytes = lines.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.lines().count(), 1, "it is one line: {text}");
        for secret in [SECRET, &BOUND.to_string()] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_fault_of_single_rows_tells_them_by_their_hmacs() {
        let key = Key(Value::List(vec![Value::Text(SECRET.to_owned())]).to_cbor().into());
        let hmac = identity(&open_settings()).key_hmac("users", &key);
        let what = "plugin `users` (0123), map-batch, batch 3: trapped".to_owned();
        let fault =
            Fault { side: None, what, remedy: "mend it".to_owned(), code: FaultCode::PluginTrap };
        let line = written(|identity| unread("users", Some(&key), &fault, 2, identity));
        assert_eq!(
            (&line["key_hmac"], &line["unsaid"]),
            (&hmac.clone().into(), &2.into()),
            "{line}"
        );
        let whole = written(|identity| unread("users", None, &fault, 0, identity));
        assert_eq!(whole.get("key_hmac"), None, "{whole}");
        let rows = FailedRows { key, rows: 3, fault };
        let partition = crate::report::tests::partition();
        let line = written(|identity| failed("users", &partition, &rows, 0, identity));
        assert_eq!((&line["key_hmac"], &line["rows"]), (&hmac.into(), &3.into()), "{line}");
        assert_eq!(line["partition"], partition_name(&partition), "{line}");
        let message = line["message"].as_str().unwrap();
        assert!(message.contains("batch 3: trapped; mend it"), "{message}");
    }

    #[test]
    fn whatever_happens_is_one_line_with_level_and_place_and_without_secrets() {
        for what in happenings() {
            let line = said(&what);
            let expected = match what {
                Happening::Tripped { .. } | Happening::HookFailed(_) | Happening::StoreDown(_) => {
                    "ERROR"
                }
                Happening::Confirmed(_)
                | Happening::Changed { .. }
                | Happening::Lagging { .. }
                | Happening::Unread { .. }
                | Happening::Unsettled(_)
                | Happening::Unmapped { .. }
                | Happening::PassCompleted { .. } => "WARN",
                Happening::Resolved(_)
                | Happening::Superseded(_)
                | Happening::Reset(_)
                | Happening::Tested { .. }
                | Happening::StoreUp { .. }
                | Happening::HookSucceeded(_)
                | Happening::CaughtUp { .. }
                | Happening::Readable { .. } => "INFO",
            };
            assert_eq!(line["level"], expected, "{line}");
            assert_eq!(line["event"], events::kind(&what), "{line}");
            assert_eq!(line["target"], "driftd", "{line}");
            let place = line.get("pairing").or_else(|| line.get("criterion"));
            let place = place.or_else(|| line.get("store"));
            assert!(place.is_some_and(|place| !place.to_string().is_empty()), "{line}");
            assert!(line["message"].as_str().unwrap().len() > 10, "{line}");
        }
        let drift = said(&happenings()[0]);
        assert_eq!(drift["key_hmac"].as_str().unwrap().len(), 32);
        assert_eq!(drift["fields"], "email, status");
        let rule = said(&Happening::Confirmed(crate::report::tests::rule()));
        assert_eq!(rule["partition"], "from source 3");
        assert!(rule["message"].as_str().unwrap().contains("a rule over the whole partition"));
    }

    #[test]
    fn dependencies_speak_from_warnings_on_and_opentelemetry_never() {
        for (level, expected) in [
            (LevelFilter::DEBUG, "driftd-debug driftd-info driftd-error hyper-warn hyper-error "),
            (LevelFilter::INFO, "driftd-info driftd-error hyper-warn hyper-error "),
            (LevelFilter::ERROR, "driftd-error hyper-error "),
            (LevelFilter::OFF, ""),
        ] {
            let lines = Lines::default();
            let writer = lines.clone();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(filter(level))
                .with_writer(move || writer.clone())
                .finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!(target: "driftd::run", "driftd-debug");
                info!(target: "driftd", "driftd-info");
                error!(target: "driftd", "driftd-error");
                info!(target: "hyper::proto", "hyper-info");
                warn!(target: "hyper::proto", "hyper-warn");
                error!(target: "hyper", "hyper-error");
                error!(target: "opentelemetry_sdk", "opentelemetry");
            });
            let bytes = lines.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).unwrap();
            let words =
                text.lines().map(|line| line.split(' ').next_back().unwrap().to_owned() + " ");
            assert_eq!(words.collect::<String>(), expected, "{level}");
        }
    }

    #[test]
    fn the_same_fault_is_said_every_ten_seconds_with_a_count() {
        let mut repeats = Repeats::default();
        let mut tell =
            |pairing, code, seconds: i64| repeats.tell(pairing, code, Moment(seconds * 1_000_000));
        assert_eq!(tell("users", "store-timeout", 100), Some(0));
        assert_eq!(tell("users", "store-timeout", 101), None);
        assert_eq!(tell("users", "store-timeout", 109), None);
        assert_eq!(tell("users", "plugin-trap", 109), Some(0));
        assert_eq!(tell("orders", "store-timeout", 109), Some(0));
        assert_eq!(tell("users", "store-timeout", 110), Some(2));
        assert_eq!(tell("users", "store-timeout", 111), None);
        assert_eq!(tell("users", "store-timeout", 120), Some(1));
    }
}
