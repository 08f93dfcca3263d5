//! Why the journal could not be used, in words for the person who must act on it.
//!
//! Owns [`JournalError`] and its making from what SQLite and the system say. Refuses to recover: the
//! caller stops. Invariant: each message names the file and says what to do; none holds a key or a
//! value of a row.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process holds it.
    #[error(
        "journal `{}` is in use by {}: stop that driftd first, or give this one another \
         `journal.path`",
        path.display(),
        holder(*pid)
    )]
    Locked {
        /// The journal.
        path: PathBuf,
        /// The process that says it holds it.
        pid: Option<u32>,
    },
    /// There is no such file.
    #[error(
        "there is no journal at `{}`: `driftd run` makes it; check `journal.path` and that \
         driftd has been started",
        path.display()
    )]
    Missing {
        /// The journal.
        path: PathBuf,
    },
    /// The file is something else.
    #[error(
        "`{}` is not a driftd journal and was left as it is: name another file in `journal.path`",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a driftd that this one does not understand.
    #[error(
        "journal `{}` has format {found}, and this driftd knows only format {known}: run the \
         newer driftd, or name another file in `journal.path`",
        path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest known format.
        known: i64,
    },
    /// The file is damaged.
    #[error(
        "journal `{}` is damaged ({what}): keep a copy of it with its `-wal` file, then restore a \
         backup, or move it away to begin a new journal, which checks everything anew",
        path.display()
    )]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is no room left.
    #[error(
        "cannot {doing} in journal `{}`: the disk is full; nothing of this step was kept; free \
         space on it and start driftd again, it goes on where it was",
        path.display()
    )]
    Full {
        /// The journal.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// Somebody else holds a transaction open.
    #[error(
        "cannot {doing} in journal `{}`: another program has kept it locked for \
         {BUSY_SECONDS} s; close what has it open for writing, then start driftd again",
        path.display()
    )]
    Busy {
        /// The journal.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
    },
    /// The system refuses.
    #[error(
        "cannot {doing} at `{}`: check that its directory exists, that this user may write to \
         both, and that the disk has room and is healthy",
        path.display()
    )]
    System {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// SQLite refuses.
    #[error(
        "cannot {doing} in journal `{}`: check that this user may write to it and its directory, \
         and that the disk has room and is healthy",
        path.display()
    )]
    Refused {
        /// The journal.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// What was to be kept contradicts itself or what is kept already: a defect in driftd.
    #[error("journal `{}` refused a step: {what}; this is a defect in driftd, please report it", path.display())]
    Contradiction {
        /// The journal.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}

/// How long SQLite waits for another program's transaction.
pub(super) const BUSY_SECONDS: u64 = 20;

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}

impl JournalError {
    /// What SQLite said while `doing` something with the journal at `path`.
    pub(super) fn sqlite(path: &Path, doing: &'static str, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full { path, doing, source },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path, doing },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt { path, what: source.to_string() },
            _ if is_misread(&source) => Self::Corrupt { path, what: source.to_string() },
            _ => Self::Refused { path, doing, source },
        }
    }

    /// A column holds a text that stands for nothing.
    pub(super) fn unreadable(path: &Path, what: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), what: what.into() }
    }
}

/// Whether a column or row is not what this format says.
fn is_misread(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::Utf8Error(..)
            | rusqlite::Error::QueryReturnedNoRows
    )
}
