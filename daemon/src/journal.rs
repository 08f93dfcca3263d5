//! driftd's own durable state: one SQLite file.
//!
//! Owns its settings, the file's format and version, the one transaction of a step, recovery,
//! retention and the lock against a second daemon. Refuses to interpret what it keeps. Invariant: a
//! step's changes are all in the file, or none is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::model::{Commit, HookJob, Moment, Saved};

mod command;
mod error;
mod file;
mod format;
mod read;
mod reader;
mod text;
mod tidy;
mod write;

pub use error::JournalError;
pub use file::Identity;
pub use reader::{Filter, Reader, Recent};
pub use text::{named_key, readable_key, readable_place};
pub use tidy::Tidied;

use read::Source;
use write::WriteError;

#[cfg(test)]
mod tests;

/// Where the journal is and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; `-wal`, `-shm`, `.lock` and the control socket `.sock` lie beside it.
    pub path: PathBuf,
    /// How long decided findings and delivered events are kept.
    pub retention: Duration,
    /// The size in bytes at which the oldest of those are dropped sooner.
    pub size_max: u64,
}

/// Where the daemon that holds the lock of the journal at `path` listens for local control.
#[must_use]
pub fn control_socket(path: &Path) -> PathBuf {
    file::beside(&file::real(path), ".sock")
}

/// The journal, opened by its one daemon.
#[derive(Debug)]
pub struct Journal {
    connection: Connection,
    settings: Settings,
    identity: Identity,
    /// A write failed: what is in the file is no longer what the daemon knows.
    broken: bool,
    /// Declared last: let go only when the file is closed.
    _lock: Option<file::Lock>,
}

impl Journal {
    /// Opens the journal, or makes it, and keeps every other daemon out until it is dropped.
    ///
    /// # Errors
    /// If another daemon holds it, if it is not a journal or one of a newer format, if it is damaged,
    /// or if the system refuses.
    pub fn open(settings: &Settings, now: Moment) -> Result<Self, JournalError> {
        let path = &file::real(&settings.path);
        let lock = file::lock(path)?;
        file::secure(path)?;
        let mut connection = file::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let identity = file::set_up(&mut connection, path, now)?;
        file::examine(&connection, path)?;
        let settings = Settings { path: path.clone(), ..settings.clone() };
        Ok(Self { connection, settings, identity, broken: false, _lock: Some(lock) })
    }

    /// A journal that ends with the process, for one that is asked once and for simulations.
    ///
    /// # Errors
    /// If the system has no memory or no random numbers.
    pub fn in_memory() -> Result<Self, JournalError> {
        let path = PathBuf::from(":memory:");
        let mut connection = Connection::open_in_memory()
            .map_err(|error| JournalError::sqlite(&path, "open what is kept", error))?;
        let identity = file::set_up(&mut connection, &path, Moment(0))?;
        let settings = Settings { path, retention: Duration::MAX, size_max: u64::MAX };
        Ok(Self { connection, settings, identity, broken: false, _lock: None })
    }

    /// What makes this journal itself.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Keeps everything that one step decided, and with it the event of each of its occurrences, by
    /// number: all of it durably, or nothing. After an error nothing more is accepted.
    ///
    /// # Errors
    /// If it cannot be kept. The caller stops.
    pub fn commit(
        &mut self,
        commit: &Commit,
        rendered: &[(u64, Vec<u8>)],
    ) -> Result<(), JournalError> {
        if commit.is_empty() && rendered.is_empty() {
            return Ok(());
        }
        self.write("keep a step", |tx| write::apply(tx, commit, rendered))
    }

    /// What all commits so far add up to. Lists are in the order of their keys; what is done, in that
    /// of direction and number.
    ///
    /// # Errors
    /// If it cannot be read, or any of it is not understood.
    pub fn load(&self) -> Result<Saved, JournalError> {
        read::saved(self.source())
    }

    /// Events that are not delivered yet, oldest first, at most `limit`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn outbox(&self, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, JournalError> {
        self.source().rows(
            "SELECT number, event FROM outbox WHERE delivered = 0 ORDER BY number LIMIT ?1",
            [limit],
            |row| Ok((row.get(0)?, row.get_ref(1)?.as_bytes()?.to_vec())),
        )
    }

    /// How many events are not delivered yet.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn outbox_depth(&self) -> Result<u64, JournalError> {
        self.source().number("SELECT count(*) FROM outbox WHERE delivered = 0")
    }

    /// Records that events were delivered.
    ///
    /// # Errors
    /// If it cannot be kept. The caller stops.
    pub fn delivered(&mut self, numbers: &[u64]) -> Result<(), JournalError> {
        if numbers.is_empty() {
            return Ok(());
        }
        self.write("record deliveries", |tx| {
            let mut mark =
                tx.prepare_cached("UPDATE outbox SET delivered = 1 WHERE number = ?1")?;
            for number in numbers {
                mark.execute([number])?;
            }
            Ok(())
        })
    }

    /// The event of an occurrence, as it was rendered when it was committed.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn event(&self, occurrence: u64) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT event FROM outbox WHERE number = ?1";
        let found = self
            .source()
            .rows(sql, [occurrence], |row| Ok(row.get_ref(0)?.as_bytes()?.to_vec()))?;
        Ok(found.into_iter().next())
    }

    /// Hook jobs that are neither succeeded nor cancelled, by number.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn pending_hooks(&self) -> Result<Vec<HookJob>, JournalError> {
        read::pending_hooks(self.source())
    }

    fn source(&self) -> Source<'_> {
        Source { connection: &self.connection, path: &self.settings.path }
    }

    fn path(&self) -> &Path {
        &self.settings.path
    }

    /// One transaction. After a failure it is unknown how much of it a crash would leave, and what
    /// the daemon holds in memory is ahead of the file: nothing may be added to it any more.
    fn write<T>(
        &mut self,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<T, WriteError>,
    ) -> Result<T, JournalError> {
        if self.broken {
            return Err(JournalError::Contradiction {
                path: self.path().to_owned(),
                what: "an earlier one failed".to_owned(),
            });
        }
        let written = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(WriteError::from)
            .and_then(|tx| {
                let done = work(&tx)?;
                tx.commit()?;
                Ok(done)
            });
        written.map_err(|error| {
            self.broken = true;
            match error {
                WriteError::Sqlite(error) => JournalError::sqlite(self.path(), doing, error),
                WriteError::Contradiction(what) => {
                    JournalError::Contradiction { path: self.path().to_owned(), what }
                }
            }
        })
    }
}
