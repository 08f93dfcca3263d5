//! Reading the journal from outside, while its daemon runs or after it was killed.
//!
//! Owns [`Reader`]. Refuses to change the file, and to lock anybody out. Invariant: what it returns
//! was committed.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::journal::error::JournalError;
use crate::journal::file::{self, Identity};
use crate::journal::read::{self, Source};
use crate::model::{
    CriterionState, Crowd, DriftKind, Finding, HookJob, Moment, Outage, PairingStatus, Unsettled,
};

/// A journal, opened for reading.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    format: i64,
}

/// Which findings are wanted; the default is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that stand.
    pub open: bool,
    /// Only those of this kind.
    pub kind: Option<DriftKind>,
    /// Only those of this pairing.
    pub pairing: Option<String>,
    /// Only those of this key, in hexadecimal digits or as [`named_key`](super::named_key) shows
    /// it.
    pub key: Option<String>,
}

/// Something that happened, as it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// The number of the occurrence.
    pub number: u64,
    /// When it was decided.
    pub at: Moment,
    /// What happened, in a word.
    pub what: String,
    /// To which pairing, if to one.
    pub pairing: Option<String>,
    /// Whether its event was delivered.
    pub delivered: bool,
    /// Its event.
    pub event: Vec<u8>,
}

const FILTERED: &str = "FROM findings WHERE (NOT ?1 OR status = 'open') \
    AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR pairing = ?3) \
    AND (?4 IS NULL OR key = lower(?4) OR readable_key = ?4)";

impl Filter {
    fn columns(&self) -> (bool, Option<&'static str>, Option<&str>, Option<&str>) {
        (self.open, self.kind.map(DriftKind::as_str), self.pairing.as_deref(), self.key.as_deref())
    }
}

impl Reader {
    /// Opens the journal at `path` for reading.
    ///
    /// # Errors
    /// If there is none, or it is of a newer format, damaged or not readable.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let path = &file::real(path);
        let read_only = Self::open_as(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
        if let Err(JournalError::Refused { .. }) = read_only {
            // After a kill the log's index must be built anew, for which SQLite may want to write.
            return Self::open_as(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
        }
        read_only
    }

    fn open_as(path: &Path, flags: OpenFlags) -> Result<Self, JournalError> {
        let connection = file::connect(path, flags)?;
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .and_then(|_set| connection.pragma_update(None, "query_only", true))
            .map_err(|error| JournalError::sqlite(path, "open what is kept", error))?;
        match file::format(&connection, path)? {
            Some(format) => Ok(Self { connection, path: path.to_owned(), format }),
            None => Err(JournalError::Missing { path: path.to_owned() }),
        }
    }

    /// What makes this journal itself.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn identity(&self) -> Result<Identity, JournalError> {
        file::identity(&self.connection, &self.path)
    }

    /// How far each pairing has come, by name.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn statuses(&self) -> Result<Vec<PairingStatus>, JournalError> {
        self.source().forms("SELECT json FROM status ORDER BY pairing", [])
    }

    /// Findings, by number: at most `limit`, behind the first `offset`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn findings(
        &self,
        filter: &Filter,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<Finding>, JournalError> {
        let (open, kind, pairing, key) = filter.columns();
        self.source().forms(
            &format!("SELECT json {FILTERED} ORDER BY id LIMIT ?5 OFFSET ?6"),
            (open, kind, pairing, key, limit, offset),
        )
    }

    /// How many findings there are.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64, JournalError> {
        let sql = format!("SELECT count(*) {FILTERED}");
        let counts = self.source().rows(&sql, filter.columns(), |row| row.get(0))?;
        Ok(counts.into_iter().next().unwrap_or(0))
    }

    /// The finding with this number.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn finding(&self, id: u64) -> Result<Option<Finding>, JournalError> {
        // Beyond SQLite's integers there is none.
        let Ok(id) = i64::try_from(id) else { return Ok(None) };
        let found = self.source().forms("SELECT json FROM findings WHERE id = ?1", [id])?;
        Ok(found.into_iter().next())
    }

    /// What could not be judged, latest first: at most `limit`, and how many there are. With `all` also
    /// what has been since, as long as it is kept.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn unsettled(
        &self,
        pairing: Option<&str>,
        all: bool,
        limit: u32,
    ) -> Result<(Vec<Unsettled>, u64), JournalError> {
        if self.format < file::NAMES_UNSETTLED {
            return Ok((Vec::new(), 0));
        }
        let from = "FROM unsettled WHERE (?1 IS NULL OR pairing = ?1) AND (?2 OR ended IS NULL)";
        let counted = format!("SELECT count(*) {from}");
        let counts = self.source().rows(&counted, (pairing, all), |row| row.get(0))?;
        let listed = format!("SELECT json {from} ORDER BY at DESC, subject LIMIT ?3");
        let listed = self.source().forms(&listed, (pairing, all, limit))?;
        Ok((listed, counts.into_iter().next().unwrap_or(0)))
    }

    /// Stores that are down, by name, as far as people were told.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn outages(&self) -> Result<Vec<Outage>, JournalError> {
        if self.format < file::KEEPS_OUTAGES {
            return Ok(Vec::new());
        }
        read::outages(self.source())
    }

    /// Every criterion that ever counted, by name.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn criteria(&self) -> Result<Vec<CriterionState>, JournalError> {
        self.source().forms("SELECT json FROM criteria ORDER BY name", [])
    }

    /// The last hook jobs, newest first, at most `limit`; those still to run are all among them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn hooks(&self, limit: u32) -> Result<Vec<HookJob>, JournalError> {
        self.source().forms(
            "SELECT json FROM hooks WHERE ended IS NULL \
             OR id IN (SELECT id FROM hooks ORDER BY id DESC LIMIT ?1) ORDER BY id DESC",
            [limit],
        )
    }

    /// Partitions that are settled as a whole.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn crowds(&self) -> Result<Vec<Crowd>, JournalError> {
        read::crowds(self.source())
    }

    /// How many suspects there are.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn suspects(&self) -> Result<u64, JournalError> {
        self.source().number("SELECT count(*) FROM suspects")
    }

    /// How many events are not delivered yet.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn outbox_depth(&self) -> Result<u64, JournalError> {
        self.source().number("SELECT count(*) FROM outbox WHERE delivered = 0")
    }

    /// What happened last, newest first, at most `limit`.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn recent(&self, limit: u32) -> Result<Vec<Recent>, JournalError> {
        self.source().rows(
            "SELECT number, micros, what, pairing, delivered, event FROM outbox \
             ORDER BY number DESC LIMIT ?1",
            [limit],
            |row| {
                Ok(Recent {
                    number: row.get(0)?,
                    at: Moment(row.get(1)?),
                    what: row.get(2)?,
                    pairing: row.get(3)?,
                    delivered: row.get(4)?,
                    event: row.get_ref(5)?.as_bytes()?.to_vec(),
                })
            },
        )
    }

    /// When the journal was written last; none: the system does not say.
    #[must_use]
    pub fn last_written(&self) -> Option<Moment> {
        let written = |path: PathBuf| {
            let modified = std::fs::metadata(path).ok()?.modified().ok()?;
            let micros = modified.duration_since(UNIX_EPOCH).ok()?.as_micros();
            i64::try_from(micros).ok().map(Moment)
        };
        written(self.path.clone()).max(written(file::beside(&self.path, "-wal")))
    }

    /// The daemon's process, if one seems to run: it named itself in the lock file, did not take its
    /// name out, and a process of that number exists.
    #[must_use]
    pub fn daemon(&self) -> Option<u32> {
        let pid = file::lock_holder(&self.path)?;
        let process = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
        match rustix::process::test_kill_process(process) {
            // Another user's process is there too.
            Ok(()) | Err(rustix::io::Errno::PERM) => Some(pid),
            Err(_gone) => None,
        }
    }

    fn source(&self) -> Source<'_> {
        Source { connection: &self.connection, path: &self.path }
    }
}
