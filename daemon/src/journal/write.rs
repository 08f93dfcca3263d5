//! Writing what one step decided.
//!
//! Owns the statements that apply a [`Commit`] to the tables. Refuses transactions: its caller has
//! one open. Invariant: the tables then hold what [`Saved`](crate::model::Saved) says the commits add
//! up to; an occurrence that is there is never written again.

use rusqlite::{Connection, OptionalExtension as _};

use crate::journal::command;
use crate::journal::format::Form as _;
use crate::journal::text::{Word as _, named_key};
use crate::model::{
    Commit, Crowd, Extent, Finding, FindingStatus, Happening, HookJob, HookState, Key, Moment,
    Occurrence, Partition, PartitionEnd, PassState, Subject, Suspect, SuspectPartition, Unjudged,
    Unsettled,
};

/// Why a commit was not applied.
#[derive(Debug)]
pub(super) enum WriteError {
    /// SQLite refuses.
    Sqlite(rusqlite::Error),
    /// The commit contradicts itself or what is there.
    Contradiction(String),
}

impl From<rusqlite::Error> for WriteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Applies all of `commit`.
///
/// What is removed comes first. What is done comes before passes that begin: a step that ends a pass and begins the next speaks of
/// the old pass's partitions. For the rest, what is new comes before what is decided.
pub(super) fn apply(
    tx: &Connection,
    commit: &Commit,
    rendered: &[(u64, Vec<u8>)],
) -> Result<(), WriteError> {
    for pairing in &commit.removed {
        removed(tx, pairing)?;
    }
    for (pairing, partition, end) in &commit.done {
        done(tx, pairing, partition, *end)?;
    }
    for state in &commit.passes {
        pass(tx, state)?;
    }
    for one in &commit.suspects {
        suspect(tx, one)?;
    }
    for (pairing, key) in &commit.decided {
        decided(tx, pairing, key)?;
    }
    for one in &commit.crowds {
        crowd(tx, one)?;
    }
    for (pairing, partition) in &commit.dispersed {
        tx.prepare_cached("DELETE FROM crowds WHERE pairing = ?1 AND partition = ?2")?
            .execute((pairing, partition.to_text()))?;
    }
    for one in &commit.suspect_partitions {
        suspect_partition(tx, one)?;
    }
    for (pairing, partition) in &commit.decided_partitions {
        tx.prepare_cached("DELETE FROM suspect_partitions WHERE pairing = ?1 AND partition = ?2")?
            .execute((pairing, partition.to_text()))?;
    }
    for one in &commit.unsettled {
        unsettled(tx, one)?;
    }
    for (pairing, subject, Moment(ended)) in &commit.settled {
        tx.prepare_cached("UPDATE unsettled SET ended = ?3 WHERE pairing = ?1 AND subject = ?2")?
            .execute((pairing, subject.to_text(), ended))?;
    }
    for one in &commit.findings {
        finding(tx, one)?;
    }
    for state in &commit.criteria {
        tx.prepare_cached("INSERT OR REPLACE INTO criteria VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            (
                &state.name,
                state.tripped.map(|moment| moment.to_text()),
                state.count,
                state.at_least,
                state.to_json(),
            ),
        )?;
    }
    occurrences(tx, &commit.occurrences, rendered)?;
    for job in &commit.hooks {
        hook(tx, job)?;
    }
    for status in &commit.status {
        tx.prepare_cached("INSERT OR REPLACE INTO status VALUES (?1, ?2)")?
            .execute((&status.pairing, status.to_json()))?;
    }
    for outage in &commit.outages {
        tx.prepare_cached("INSERT OR REPLACE INTO outages VALUES (?1, ?2)")?
            .execute((&outage.store, outage.to_json()))?;
    }
    for store in &commit.answering {
        tx.prepare_cached("DELETE FROM outages WHERE store = ?1")?.execute([store])?;
    }
    for (id, answer) in &commit.answered {
        command::keep(tx, *id, answer)?;
    }
    numbers(tx, commit)
}

fn removed(tx: &Connection, pairing: &str) -> Result<(), WriteError> {
    for statement in [
        "DELETE FROM status WHERE pairing = ?1",
        "DELETE FROM passes WHERE pairing = ?1",
        "DELETE FROM extents WHERE pairing = ?1",
        "DELETE FROM done WHERE pairing = ?1",
        "DELETE FROM suspects WHERE pairing = ?1",
        "DELETE FROM crowds WHERE pairing = ?1",
        "DELETE FROM suspect_partitions WHERE pairing = ?1",
        "DELETE FROM unsettled WHERE pairing = ?1",
    ] {
        tx.prepare_cached(statement)?.execute([pairing])?;
    }
    Ok(())
}

fn done(
    tx: &Connection,
    pairing: &str,
    partition: &Partition,
    end: PartitionEnd,
) -> Result<(), WriteError> {
    tx.prepare_cached("INSERT OR REPLACE INTO done VALUES (?1, ?2, ?3, ?4)")?.execute((
        pairing,
        partition.direction.to_text(),
        partition.number,
        end.to_text(),
    ))?;
    Ok(())
}

fn pass(tx: &Connection, state: &PassState) -> Result<(), WriteError> {
    let pairing = &state.pairing;
    tx.prepare_cached("DELETE FROM done WHERE pairing = ?1")?.execute([pairing])?;
    tx.prepare_cached("DELETE FROM extents WHERE pairing = ?1")?.execute([pairing])?;
    tx.prepare_cached("INSERT OR REPLACE INTO passes VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(
        (
            pairing,
            state.pass,
            state.began.to_text(),
            state.complete,
            state.identity.to_text(),
            state.seed.to_string(),
        ),
    )?;
    for (place, (direction, extents)) in state.extents.iter().enumerate() {
        tx.prepare_cached("INSERT INTO extents VALUES (?1, ?2, ?3, ?4)")?.execute((
            pairing,
            place,
            direction.to_text(),
            joined(extents),
        ))?;
    }
    for (direction, number, end) in &state.done {
        tx.prepare_cached("INSERT OR REPLACE INTO done VALUES (?1, ?2, ?3, ?4)")?.execute((
            pairing,
            direction.to_text(),
            number,
            end.to_text(),
        ))?;
    }
    Ok(())
}

fn joined(extents: &[Extent]) -> String {
    let texts: Vec<String> = extents.iter().map(crate::journal::text::Word::to_text).collect();
    texts.join(";")
}

fn suspect(tx: &Connection, suspect: &Suspect) -> Result<(), WriteError> {
    tx.prepare_cached("INSERT OR REPLACE INTO suspects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
        .execute((
            &suspect.pairing,
            suspect.key.to_text(),
            named_key(None, &suspect.key),
            suspect.first_seen.to_text(),
            suspect.looks,
            suspect.due.to_text(),
            suspect.to_json(),
        ))?;
    Ok(())
}

fn decided(tx: &Connection, pairing: &str, key: &Key) -> Result<(), WriteError> {
    tx.prepare_cached("DELETE FROM suspects WHERE pairing = ?1 AND key = ?2")?
        .execute((pairing, key.to_text()))?;
    Ok(())
}

fn crowd(tx: &Connection, crowd: &Crowd) -> Result<(), WriteError> {
    tx.prepare_cached("INSERT OR REPLACE INTO crowds VALUES (?1, ?2, ?3, ?4, ?5)")?.execute((
        &crowd.pairing,
        crowd.partition.to_text(),
        crowd.first_seen.to_text(),
        crowd.due.to_text(),
        crowd.to_json(),
    ))?;
    Ok(())
}

fn suspect_partition(tx: &Connection, suspect: &SuspectPartition) -> Result<(), WriteError> {
    tx.prepare_cached("INSERT OR REPLACE INTO suspect_partitions VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute((
            &suspect.pairing,
            suspect.partition.to_text(),
            suspect.first_seen.to_text(),
            suspect.due.to_text(),
            suspect.to_json(),
        ))?;
    Ok(())
}

fn unsettled(tx: &Connection, unsettled: &Unsettled) -> Result<(), WriteError> {
    let key = match &unsettled.subject {
        Unjudged::Key(key) => Some(named_key(unsettled.entity.as_deref(), key)),
        Unjudged::Members(_) | Unjudged::Rule { .. } => None,
    };
    tx.prepare_cached("INSERT OR REPLACE INTO unsettled VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)")?
        .execute((
            &unsettled.pairing,
            unsettled.subject.to_text(),
            key,
            unsettled.why.as_str(),
            unsettled.at.to_text(),
            unsettled.to_json(),
        ))?;
    Ok(())
}

fn finding(tx: &Connection, finding: &Finding) -> Result<(), WriteError> {
    let key = match &finding.subject {
        Subject::Key(key) => Some(key),
        Subject::Partition { .. } => None,
    };
    let (status, ended) = match finding.status {
        FindingStatus::Open => ("open", None),
        FindingStatus::Resolved(at) => ("resolved", Some(at)),
        FindingStatus::Superseded(at) => ("superseded", Some(at)),
    };
    // A count of that size cannot be; the exact one is in the JSON.
    let entities = i64::try_from(finding.entities()).unwrap_or(i64::MAX);
    tx.prepare_cached(
        "INSERT OR REPLACE INTO findings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute((
        finding.id,
        &finding.pairing,
        finding.kind.as_str(),
        status,
        key.map(|key| key.to_text()),
        key.map(|key| named_key(finding.entity.as_deref(), key)),
        entities,
        finding.confirmed.to_text(),
        finding.ignored_until.map(|until| until.to_text()),
        ended.map(|Moment(micros)| micros),
        finding.to_json(),
    ))?;
    Ok(())
}

fn hook(tx: &Connection, job: &HookJob) -> Result<(), WriteError> {
    let ended = match job.state {
        HookState::Pending | HookState::Failed => None,
        // Its last try began when it was due, or later.
        HookState::Succeeded | HookState::Cancelled => Some(job.due.max(job.since)),
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO hooks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?
    .execute((
        job.id,
        &job.hook,
        &job.criterion,
        job.occurrence,
        job.state.to_text(),
        job.tries,
        job.since.to_text(),
        job.due.to_text(),
        &job.last,
        ended.map(|Moment(micros)| micros),
        job.to_json(),
    ))?;
    Ok(())
}

fn occurrences(
    tx: &Connection,
    occurrences: &[Occurrence],
    rendered: &[(u64, Vec<u8>)],
) -> Result<(), WriteError> {
    let numbers = occurrences.iter().map(|occurrence| occurrence.number);
    if !numbers.eq(rendered.iter().map(|(number, _bytes)| *number)) {
        let what = "its occurrences and their events do not have the same numbers";
        return Err(WriteError::Contradiction(what.to_owned()));
    }
    if occurrences.is_empty() {
        return Ok(());
    }
    let mut last: u64 = tx
        .prepare_cached("SELECT occurrence FROM numbers")?
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    for (occurrence, (number, bytes)) in occurrences.iter().zip(rendered) {
        // Also a number whose occurrence was dropped long ago is never used again.
        if *number != last + 1 {
            let what = format!("occurrence {number} follows occurrence {last}");
            return Err(WriteError::Contradiction(what));
        }
        last = *number;
        let (what, pairing) = described(&occurrence.what);
        let event: &dyn rusqlite::ToSql = match str::from_utf8(bytes) {
            Ok(text) => &text.to_owned(),
            Err(_binary) => bytes,
        };
        tx.prepare_cached("INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)")?.execute((
            number,
            occurrence.at.to_text(),
            occurrence.at.0,
            what,
            pairing,
            event,
        ))?;
    }
    Ok(())
}

/// What happened, in a word, and to which pairing.
fn described(what: &Happening) -> (&'static str, Option<&str>) {
    match what {
        Happening::Confirmed(finding) => ("confirmed", Some(&finding.pairing)),
        Happening::Changed { finding, was: _ } => ("changed", Some(&finding.pairing)),
        Happening::Resolved(finding) => ("resolved", Some(&finding.pairing)),
        Happening::Superseded(finding) => ("superseded", Some(&finding.pairing)),
        Happening::Tripped { .. } => ("tripped", None),
        Happening::Reset(_) => ("reset", None),
        Happening::Tested { .. } => ("tested", None),
        Happening::HookSucceeded(_) => ("hook-succeeded", None),
        Happening::HookFailed(_) => ("hook-failed", None),
        Happening::StoreDown(_) => ("store-down", None),
        Happening::StoreUp { .. } => ("store-up", None),
        Happening::Lagging { pairing, .. } => ("lagging", Some(pairing)),
        Happening::CaughtUp { pairing, .. } => ("caught-up", Some(pairing)),
        Happening::Unread { pairing, .. } => ("unread", Some(pairing)),
        Happening::Readable { pairing, .. } => ("readable", Some(pairing)),
        Happening::Unsettled(unsettled) => ("unsettled", Some(&unsettled.pairing)),
        Happening::Unmapped { pairing, .. } => ("unmapped", Some(pairing)),
        Happening::PassCompleted { pairing, .. } => ("pass-completed", Some(pairing)),
    }
}

/// The last numbers outlive the rows that had them.
fn numbers(tx: &Connection, commit: &Commit) -> Result<(), WriteError> {
    let finding = commit.findings.iter().map(|finding| finding.id).max();
    let occurrence = commit.occurrences.last().map(|occurrence| occurrence.number);
    let hook = commit.hooks.iter().map(|job| job.id).max();
    if finding.is_none() && occurrence.is_none() && hook.is_none() {
        return Ok(());
    }
    tx.prepare_cached(
        "UPDATE numbers SET finding = max(finding, ?1), occurrence = max(occurrence, ?2), \
         hook = max(hook, ?3)",
    )?
    .execute((finding.unwrap_or(0), occurrence.unwrap_or(0), hook.unwrap_or(0)))?;
    Ok(())
}
