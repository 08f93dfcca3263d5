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
    CriterionState, DriftKind, Fault, Finding, Happening, HookJob, Moment, Subject,
};
use crate::report::events;
use crate::report::form::partition_name;
use crate::report::{Identity, Log, LogFormat, LogLevel};

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
    let others = level.min(LevelFilter::WARN);
    // OpenTelemetry's own lines would repeat a dead receiver every few seconds; `export` tells it.
    let filter = EnvFilter::builder()
        .with_default_directive(others.into())
        .parse_lossy(format!("driftd={level},opentelemetry=off"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match log.format {
        LogFormat::Text => lines.finish().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init(),
    }
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
            let message = "drift went away: both sides agree again; nothing to do";
            over(event, finding, message, identity);
        }
        Happening::Superseded(finding) => {
            let message = "finding superseded: the mapping changed; passes compare anew";
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
            code = fault.code, tries, "unread: {}; {}", fault.what, fault.remedy
        ),
        Happening::Readable { pairing, partition } => info!(
            target: "driftd", event, pairing, partition = partition.as_ref().map(partition_name),
            "what was unread can be read again; nothing to do"
        ),
        Happening::PassCompleted { pairing, pass, compared, unread, .. } => {
            passed(event, pairing, *pass, (*compared, *unread));
        }
    }
}

fn drift(event: &str, finding: &Finding, was: Option<DriftKind>, identity: &Identity) {
    let message = match was {
        None => "drift confirmed",
        Some(_) => "drift is now of another kind",
    };
    warn!(
        target: "driftd",
        event,
        pairing = finding.pairing,
        finding = finding.id,
        kind = finding.kind.as_str(),
        was = was.map(DriftKind::as_str),
        side = finding.side.map(|side| side.to_string()),
        key_hmac = hmac(finding, identity),
        partition = partition(finding),
        entities = finding.entities(),
        fields = finding.fields.join(", "),
        invariant = finding.invariant.as_ref().map(|(id, _)| id.as_str()),
        severity = finding.invariant.as_ref().map(|(_, severity)| severity.as_str()),
        looks = finding.looks,
        "{message}; `driftd drift` shows the key and where both sides keep it"
    );
}

fn over(event: &str, finding: &Finding, message: &str, identity: &Identity) {
    info!(
        target: "driftd",
        event,
        pairing = finding.pairing,
        finding = finding.id,
        kind = finding.kind.as_str(),
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

/// Says that something was unread. `before` is how often that was not said since the last line.
pub fn unread(pairing: &str, fault: &Fault, before: u64) {
    warn!(
        target: "driftd", pairing, code = fault.code, unsaid = before,
        "unread, to be tried again: {}; {}", fault.what, fault.remedy
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
