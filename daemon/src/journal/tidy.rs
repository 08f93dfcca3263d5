//! Keeping the file small.
//!
//! Owns what is dropped, and when. Refuses to drop what still matters: open findings, suspects,
//! events that are not delivered or that a hook still needs, hooks still to run, commands not
//! answered. Invariant: one call does a bounded amount of work.

use rusqlite::Connection;

use crate::journal::error::JournalError;
use crate::journal::write::WriteError;
use crate::journal::{Journal, Moment};

/// Rows of each kind that one call drops at most because they are past their time.
const ROWS: u32 = 1_000;
/// Rows of each kind that are dropped sooner before the size is looked at again.
const ROWS_SOONER: u32 = 100;
/// How often one call looks at the size.
const ROUNDS: u32 = 10;
/// Pages that one call gives back to the system at most.
const PAGES: u64 = 4_096;

/// What was done, and what there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tidied {
    /// Rows dropped.
    pub dropped: u64,
    /// Bytes that what is kept takes.
    pub bytes: u64,
    /// Call again soon: there was more to drop than one call does.
    pub more: bool,
    /// What must be kept takes more than `size_max`. Nothing of it is dropped; a person should raise
    /// the limit, or see to what piles up.
    pub over: bool,
}

/// Rows that are past their time, oldest first, by table.
const PAST: [&str; 5] = [
    "DELETE FROM unsettled WHERE rowid IN \
     (SELECT rowid FROM unsettled WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
    "DELETE FROM findings WHERE id IN \
     (SELECT id FROM findings WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
    "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox \
     WHERE delivered = 1 AND micros < ?1 \
     AND number NOT IN (SELECT occurrence FROM hooks WHERE ended IS NULL) \
     ORDER BY micros LIMIT ?2)",
    "DELETE FROM hooks WHERE id IN \
     (SELECT id FROM hooks WHERE ended < ?1 ORDER BY ended LIMIT ?2)",
    "DELETE FROM commands WHERE id IN (SELECT id FROM commands \
     WHERE answer IS NOT NULL AND micros < ?1 ORDER BY micros LIMIT ?2)",
];

impl Journal {
    /// Drops what is older than the retention, then, if the journal is too large, the oldest of what
    /// may be dropped at all; then gives free pages back. To be called now and then.
    ///
    /// # Errors
    /// If it cannot be written. The caller stops.
    pub fn tidy(&mut self, now: Moment) -> Result<Tidied, JournalError> {
        let retention = i64::try_from(self.settings.retention.as_micros()).unwrap_or(i64::MAX);
        let before = Moment(now.0.saturating_sub(retention));
        let size_max = self.settings.size_max;
        let tidied = self.write("drop what is past its time", |tx| {
            let (mut dropped, mut more) = round(tx, before, ROWS)?;
            let mut bytes = used(tx)?;
            for _round in 0..ROUNDS {
                if bytes <= size_max {
                    break;
                }
                let (sooner, _full) = round(tx, Moment(i64::MAX), ROWS_SOONER)?;
                dropped += sooner;
                bytes = used(tx)?;
                more = sooner > 0 && bytes > size_max;
            }
            Ok(Tidied { dropped, bytes, more, over: bytes > size_max && !more })
        })?;
        self.give_back()
            .map_err(|error| JournalError::sqlite(self.path(), "give back free pages", error))?;
        Ok(tidied)
    }

    /// Gives free pages back where they are many; a few are soon used again.
    fn give_back(&self) -> rusqlite::Result<()> {
        let free = pragma(&self.connection, "freelist_count")?;
        let pages = pragma(&self.connection, "page_count")?;
        let page = pragma(&self.connection, "page_size")?;
        if free == 0 || (free <= pages / 4 && pages * page <= self.settings.size_max) {
            return Ok(());
        }
        let mut vacuum = self.connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// How many rows were dropped, and whether that was all that a round may drop of some table.
fn round(tx: &Connection, before: Moment, limit: u32) -> Result<(u64, bool), WriteError> {
    let (mut dropped, mut full) = (0, false);
    for sql in PAST {
        let rows = tx.prepare_cached(sql)?.execute((before.0, limit))?;
        full |= rows >= limit as usize;
        dropped += rows as u64;
    }
    Ok((dropped, full))
}

/// Bytes of the pages that hold something.
fn used(connection: &Connection) -> Result<u64, WriteError> {
    let pages = pragma(connection, "page_count")? - pragma(connection, "freelist_count")?;
    Ok(pages * pragma(connection, "page_size")?)
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
