//! Reading what is kept.
//!
//! Owns the queries behind [`Saved`]. Refuses to change anything. Invariant: every row is understood
//! or the whole reading fails; nothing is passed over.

use std::path::Path;

use rusqlite::{Connection, Params, Row};

use crate::journal::error::JournalError;
use crate::journal::format::Form;
use crate::journal::text::Word;
use crate::model::{
    Crowd, Direction, Extent, HookJob, MappingIdentity, Moment, Outage, PartitionEnd, PassState,
    Saved, SuspectPartition, Unsettled,
};

/// A place to read from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    /// The connection.
    pub(super) connection: &'a Connection,
    /// The file's name, for messages.
    pub(super) path: &'a Path,
}

impl Source<'_> {
    /// What SQLite said.
    pub(super) fn failed(&self, error: rusqlite::Error) -> JournalError {
        JournalError::sqlite(self.path, "read what is kept", error)
    }

    /// Every row of a query.
    pub(super) fn rows<T>(
        &self,
        sql: &str,
        params: impl Params,
        mut each: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, JournalError> {
        let read = || {
            let mut statement = self.connection.prepare_cached(sql)?;
            let rows = statement.query_map(params, |row| each(row))?;
            rows.collect::<rusqlite::Result<Vec<T>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// The first column of the first row, a number.
    pub(super) fn number(&self, sql: &str) -> Result<u64, JournalError> {
        let read = || self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0));
        read().map_err(|error| self.failed(error))
    }

    /// The words in the first column of a query, which is JSON.
    pub(super) fn forms<T: Form>(
        &self,
        sql: &str,
        params: impl Params,
    ) -> Result<Vec<T>, JournalError> {
        // Parsed while the rows are stepped through, so that no second copy is held.
        let parsed = self.rows(sql, params, |row| {
            let text = row.get_ref(0)?.as_str()?;
            T::from_json(text).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(
                    0,
                    rusqlite::types::Type::Text,
                    Box::new(error),
                )
            })
        })?;
        Ok(parsed)
    }

    fn word<T: Word>(&self, text: &str, what: &str) -> Result<T, JournalError> {
        T::from_text(text).ok_or_else(|| {
            JournalError::unreadable(self.path, format!("{what} `{text}` stands for nothing"))
        })
    }
}

/// Everything that a restart goes on with.
pub(super) fn saved(from: Source<'_>) -> Result<Saved, JournalError> {
    Ok(Saved {
        passes: passes(from)?,
        suspects: from.forms("SELECT json FROM suspects ORDER BY pairing, key", [])?,
        crowds: crowds(from)?,
        suspect_partitions: suspect_partitions(from)?,
        unsettled: unsettled(from)?,
        findings: from.forms("SELECT json FROM findings WHERE status = 'open' ORDER BY id", [])?,
        criteria: from.forms("SELECT json FROM criteria ORDER BY name", [])?,
        hooks: pending_hooks(from)?,
        status: from.forms("SELECT json FROM status ORDER BY pairing", [])?,
        outages: outages(from)?,
        last_finding: from.number("SELECT finding FROM numbers")?,
        last_occurrence: from.number("SELECT occurrence FROM numbers")?,
        last_hook: from.number("SELECT hook FROM numbers")?,
    })
}

/// Stores that are down, by name.
pub(super) fn outages(from: Source<'_>) -> Result<Vec<Outage>, JournalError> {
    from.forms("SELECT json FROM outages ORDER BY store", [])
}

/// Crowds, in the order of pairing and partition.
pub(super) fn crowds(from: Source<'_>) -> Result<Vec<Crowd>, JournalError> {
    let mut crowds: Vec<Crowd> = from.forms("SELECT json FROM crowds", [])?;
    crowds.sort_by(|a, b| (&a.pairing, a.partition).cmp(&(&b.pairing, b.partition)));
    Ok(crowds)
}

/// Partitions that are suspect for a rule, in the order of pairing and partition.
fn suspect_partitions(from: Source<'_>) -> Result<Vec<SuspectPartition>, JournalError> {
    let mut suspects: Vec<SuspectPartition> =
        from.forms("SELECT json FROM suspect_partitions", [])?;
    suspects.sort_by(|a, b| (&a.pairing, a.partition).cmp(&(&b.pairing, b.partition)));
    Ok(suspects)
}

/// What could not be judged and has not been since, in the order of pairing and subject.
fn unsettled(from: Source<'_>) -> Result<Vec<Unsettled>, JournalError> {
    let mut unsettled: Vec<Unsettled> =
        from.forms("SELECT json FROM unsettled WHERE ended IS NULL", [])?;
    unsettled.sort_by(|a, b| (&a.pairing, &a.subject).cmp(&(&b.pairing, &b.subject)));
    Ok(unsettled)
}

/// Hook jobs that are neither succeeded nor cancelled, by number.
pub(super) fn pending_hooks(from: Source<'_>) -> Result<Vec<HookJob>, JournalError> {
    from.forms("SELECT json FROM hooks WHERE ended IS NULL ORDER BY id", [])
}

fn passes(from: Source<'_>) -> Result<Vec<PassState>, JournalError> {
    let rows = from.rows(
        "SELECT pairing, pass, began, complete, identity, seed FROM passes ORDER BY pairing",
        [],
        |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, u64>(1)?,
                row.get::<_, String>(2)?,
                row.get::<_, bool>(3)?,
                row.get::<_, String>(4)?,
                row.get::<_, String>(5)?,
            ))
        },
    )?;
    let mut passes = Vec::with_capacity(rows.len());
    for (pairing, pass, began, complete, identity, seed) in rows {
        let seed = seed.parse().map_err(|error| {
            JournalError::unreadable(from.path, format!("seed `{seed}` of a pass: {error}"))
        })?;
        passes.push(PassState {
            identity: from.word::<MappingIdentity>(&identity, "mapping identity")?,
            pass,
            began: from.word::<Moment>(&began, "moment")?,
            seed,
            extents: extents(from, &pairing)?,
            done: done(from, &pairing)?,
            complete,
            pairing,
        });
    }
    Ok(passes)
}

fn extents(from: Source<'_>, pairing: &str) -> Result<Vec<(Direction, Vec<Extent>)>, JournalError> {
    let rows = from.rows(
        "SELECT direction, extents FROM extents WHERE pairing = ?1 ORDER BY place",
        [pairing],
        |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)),
    )?;
    let mut directions = Vec::with_capacity(rows.len());
    for (direction, text) in rows {
        let texts = text.split(';').filter(|text| !text.is_empty());
        let extents: Result<_, _> = texts.map(|text| from.word::<Extent>(text, "extent")).collect();
        directions.push((from.word::<Direction>(&direction, "direction")?, extents?));
    }
    Ok(directions)
}

fn done(
    from: Source<'_>,
    pairing: &str,
) -> Result<Vec<(Direction, u32, PartitionEnd)>, JournalError> {
    let unreadable = |column| {
        rusqlite::Error::InvalidColumnType(column, "done".to_owned(), rusqlite::types::Type::Text)
    };
    // By text, directions have the same order as by word.
    from.rows(
        "SELECT direction, number, ending FROM done WHERE pairing = ?1 ORDER BY direction, number",
        [pairing],
        |row| {
            let direction = Word::from_text(row.get_ref(0)?.as_str()?);
            let end = Word::from_text(row.get_ref(2)?.as_str()?);
            Ok((
                direction.ok_or_else(|| unreadable(0))?,
                row.get(1)?,
                end.ok_or_else(|| unreadable(2))?,
            ))
        },
    )
}
