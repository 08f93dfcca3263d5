//! What a record must say.
//!
//! Owns the words of the log and the checkers of properties over a record. Refuses to stop a test:
//! a checker answers, so that a test can also demand that it objects to something broken on purpose.
//! Invariant: a checker reads the record and what was planted, nothing of the daemon's own counts.

use std::collections::{BTreeMap, BTreeSet};

use driftd::engine::{Event, Job};
use driftd::model::{Commit, DriftKind, Finding, Happening, Key, Moment, Subject};

use super::Record;

/// What a checker says: nothing, or what is wrong.
pub type Verdict = Result<(), String>;

/// A difference that was planted and stays.
#[derive(Clone, Debug)]
pub struct Planted {
    /// Its keys, any of which may be named.
    pub keys: Vec<Key>,
    /// The kind that it must be found with.
    pub kind: DriftKind,
}

/// An event, in words.
#[must_use]
pub fn event(event: &Event) -> String {
    match event {
        Event::Started => "started".to_owned(),
        Event::Joined(specs) => format!("{} joined", specs.len()),
        Event::Split { direction, extents, .. } => match extents {
            Ok(extents) => format!("split {direction}: {}", extents.len()),
            Err(fault) => format!("split {direction}: {}", fault.code),
        },
        Event::Checked { check, outcome, .. } => {
            let crowd = outcome.crowd.as_ref().map_or(0, Vec::len);
            format!(
                "checked {check}: {} same, {} excluded, {} suspects, crowd of {crowd}, {} unread",
                outcome.same,
                outcome.excluded,
                outcome.suspects.len(),
                outcome.unread.len()
            )
        }
        Event::Looked { look, result } => {
            let agree = result.sightings.iter().filter(|sighting| sighting.agrees()).count();
            let (seen, unread) = (result.sightings.len(), result.unread.len());
            format!("looked {look}: {agree} of {seen} agree, {unread} unread")
        }
        Event::HookEnded { job, success, .. } => format!("hook {job} ended: {success}"),
        Event::Store { store, outage, .. } => match outage {
            Some(outage) => format!("store {store} is down: {}", outage.code),
            None => format!("store {store} is up"),
        },
        Event::Commanded { id, command } => format!("command {id}: {command:?}"),
        Event::Remap(specs) => format!("remap {}", specs.len()),
        Event::Tick => "tick".to_owned(),
        Event::Drain => "drain".to_owned(),
    }
}

/// A job, in words.
#[must_use]
pub fn job(job: &Job) -> String {
    match job {
        Job::Split { direction, .. } => format!("split {direction}"),
        Job::Check { check, partition, crowd, .. } => format!(
            "check {check}: {} {} {}, crowd beyond {crowd}",
            partition.direction, partition.number, partition.extent
        ),
        Job::Look { look, asked, .. } => format!("look {look}: {} keys", asked.len()),
        Job::Hook(job) => format!("hook {}: {}, try {}", job.id, job.hook, job.tries),
    }
}

/// A commit, in words.
pub fn commit(commit: &Commit) -> impl Iterator<Item = String> {
    let counts = format!(
        "  {} suspects, {} decided, {} done, {} findings, {} hooks",
        commit.suspects.len(),
        commit.decided.len(),
        commit.done.len(),
        commit.findings.len(),
        commit.hooks.len()
    );
    let happened =
        commit.occurrences.iter().map(|one| format!("  {} {}", one.number, what(&one.what)));
    std::iter::once(counts).chain(happened)
}

fn what(what: &Happening) -> String {
    let about = |finding: &Finding| {
        let subject = match &finding.subject {
            Subject::Key(key) => format!("{:02x?}", key.0),
            Subject::Partition { partition, entities, .. } => {
                format!("{entities} of {} {}", partition.direction, partition.extent)
            }
        };
        format!("{} {} {:?} {subject}", finding.id, finding.kind.as_str(), finding.fields)
    };
    match what {
        Happening::Confirmed(finding) => format!("confirmed {}", about(finding)),
        Happening::Changed { finding, was } => {
            format!("changed from {}: {}", was.as_str(), about(finding))
        }
        Happening::Resolved(finding) => format!("resolved {}", about(finding)),
        Happening::Superseded(finding) => format!("superseded {}", about(finding)),
        Happening::Tripped { criterion, armed, hooks } => {
            format!("tripped {} at {}, {armed}, {hooks:?}", criterion.name, criterion.count)
        }
        Happening::Reset(criterion) => format!("reset {}", criterion.name),
        Happening::Tested { criterion, .. } => format!("tested {criterion}"),
        Happening::HookSucceeded(job) => format!("hook {} succeeded", job.id),
        Happening::HookFailed(job) => format!("hook {} failed", job.id),
        Happening::Lagging { lag_micros, evidence, .. } => {
            format!("lagging {lag_micros}: {evidence}")
        }
        Happening::CaughtUp { lasted_micros, .. } => format!("caught up after {lasted_micros}"),
        Happening::Unread { fault, partition, .. } => {
            format!("unread {} {}", fault.code, partition.is_some())
        }
        Happening::Readable { code, partition, .. } => {
            format!("readable {code} {}", partition.is_some())
        }
        Happening::StoreDown(outage) => format!("store {} is down", outage.store),
        Happening::StoreUp { outage, lasted_micros } => {
            format!("store {} is up after {lasted_micros}", outage.store)
        }
        Happening::Unsettled(unsettled) => {
            format!("unsettled {:?}: {}", unsettled.subject, unsettled.why.as_str())
        }
        Happening::Unmapped { side, names, .. } => format!("unmapped {side}: {}", names.join(", ")),
        Happening::PassCompleted { pass, compared, unread, .. } => {
            format!("pass {pass} complete: {compared} compared, {unread} unread")
        }
    }
}

/// Findings as the events left them: the last word on each.
#[must_use]
pub fn told(record: &Record) -> BTreeMap<u64, Finding> {
    let mut told = BTreeMap::new();
    for (_, _, what) in &record.occurrences {
        if let Happening::Confirmed(finding) | Happening::Changed { finding, .. } = what {
            told.insert(finding.id, finding.clone());
        }
    }
    told
}

/// What must hold of every record: a finding is confirmed once and resolved at most once, no key has
/// two open findings about the same, no hook runs after its success was recorded, and the simulation
/// met nothing that must never be.
///
/// # Errors
/// What does not hold.
pub fn sound(record: &Record) -> Verdict {
    if let Some(fault) = record.faults.first() {
        return Err(fault.clone());
    }
    let mut open: BTreeMap<(Key, Option<String>), u64> = BTreeMap::new();
    let mut confirmed = BTreeSet::new();
    let mut closed = BTreeSet::new();
    for (number, _, what) in &record.occurrences {
        match what {
            Happening::Confirmed(finding) => {
                if !confirmed.insert(finding.id) {
                    return Err(format!("finding {} is announced twice", finding.id));
                }
                if let Subject::Key(key) = &finding.subject {
                    let about = finding.invariant.as_ref().map(|(id, _)| id.clone());
                    if let Some(other) = open.insert((key.clone(), about), finding.id) {
                        return Err(format!("{} tells again what {other} tells", finding.id));
                    }
                }
            }
            Happening::Resolved(finding) | Happening::Superseded(finding) => {
                if !confirmed.contains(&finding.id) || !closed.insert(finding.id) {
                    return Err(format!("finding {} is closed twice, or never was", finding.id));
                }
                open.retain(|_, id| *id != finding.id);
            }
            Happening::Changed { finding, .. } if closed.contains(&finding.id) => {
                return Err(format!("event {number} changes the closed {}", finding.id));
            }
            Happening::Changed { .. }
            | Happening::Tripped { .. }
            | Happening::Reset(_)
            | Happening::Tested { .. }
            | Happening::HookSucceeded(_)
            | Happening::HookFailed(_)
            | Happening::Lagging { .. }
            | Happening::CaughtUp { .. }
            | Happening::Unread { .. }
            | Happening::Readable { .. }
            | Happening::Unsettled(_)
            | Happening::Unmapped { .. }
            | Happening::StoreDown(_)
            | Happening::StoreUp { .. }
            | Happening::PassCompleted { .. } => {}
        }
    }
    for (began, job, hook) in &record.runs {
        if record.succeeded.get(job).is_some_and(|succeeded| succeeded < began) {
            return Err(format!("hook {hook} of job {job} runs again after its success"));
        }
    }
    Ok(())
}

/// Whether exactly what was planted was found, each once and with its kind.
///
/// # Errors
/// What was not found, was found with another kind, or was never planted.
pub fn found(record: &Record, planted: &[Planted]) -> Verdict {
    let told = told(record);
    let keys = told.values().filter_map(|finding| match &finding.subject {
        Subject::Key(key) => Some((key, finding)),
        Subject::Partition { .. } => None,
    });
    let by_key: Vec<(&Key, &Finding)> = keys.collect();
    if by_key.len() < told.len() {
        return Err("a whole partition was found".to_owned());
    }
    for expected in planted {
        let about: Vec<_> = by_key.iter().filter(|(key, _)| expected.keys.contains(key)).collect();
        match about.as_slice() {
            [] => return Err(format!("{} was not found: {:?}", expected.kind.as_str(), expected)),
            [(_, finding)] if finding.kind == expected.kind => {}
            several => {
                let kinds: Vec<_> = several.iter().map(|(_, found)| found.kind.as_str()).collect();
                return Err(format!("{} was found as {kinds:?}", expected.kind.as_str()));
            }
        }
    }
    for (key, finding) in by_key {
        if planted.iter().all(|expected| !expected.keys.contains(key)) {
            return Err(format!("nobody planted this {}: {finding:?}", finding.kind.as_str()));
        }
    }
    Ok(())
}

/// Whether nothing was found.
///
/// # Errors
/// What was found.
pub fn silent(record: &Record) -> Verdict {
    match told(record).into_values().next() {
        None => Ok(()),
        Some(finding) => Err(format!("false alarm: {finding:?}")),
    }
}

/// Whether every finding was resolved.
///
/// # Errors
/// What still stands.
pub fn resolved(record: &Record) -> Verdict {
    let mut standing = told(record);
    for (_, _, what) in &record.occurrences {
        if let Happening::Resolved(finding) = what {
            standing.remove(&finding.id);
        }
    }
    match standing.into_values().next() {
        None => Ok(()),
        Some(finding) => Err(format!("never resolved: {finding:?}")),
    }
}

/// When occurrences for which `wanted` holds happened.
pub fn times(record: &Record, wanted: impl Fn(&Happening) -> bool) -> Vec<Moment> {
    let all = record.occurrences.iter();
    all.filter(|(_, _, what)| wanted(what)).map(|(_, at, _)| *at).collect()
}
