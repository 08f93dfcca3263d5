//! The file: who may open it, its format, and how it comes to be.
//!
//! Owns the tables, the format version, file modes, the lock and the identity. Refuses to know what
//! the tables mean. Invariant: nothing is written to a file that is not a journal of this format.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::journal::error::{BUSY_SECONDS, JournalError};
use crate::journal::text::{Word as _, hex, unhex};
use crate::model::Moment;

/// `drft`: tells a journal from any other SQLite file.
const APPLICATION: i64 = 0x6472_6674;
/// The format of the tables below and of what is in them.
const FORMAT: i64 = 4;
/// The oldest format that is read, and brought up to date when a daemon opens it.
const FORMAT_MIN: i64 = 1;
/// The format since which what is unsettled is named.
pub(super) const NAMES_UNSETTLED: i64 = 3;
/// The format since which stores that are down are kept.
pub(super) const KEEPS_OUTAGES: i64 = 4;
/// Statements kept prepared; more than there are.
const STATEMENTS: usize = 64;
/// The write-ahead log is cut back to this size when it has been copied into the file.
const WAL_BYTES: u64 = 16 << 20;

/// The tables of format 1.
const TABLES: &str = "
CREATE TABLE identity (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    journal TEXT NOT NULL, digest_key TEXT NOT NULL, hmac_key TEXT NOT NULL,
    seed TEXT NOT NULL, created TEXT NOT NULL
) STRICT;
CREATE TABLE numbers (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    finding INTEGER NOT NULL, occurrence INTEGER NOT NULL, hook INTEGER NOT NULL
) STRICT;
CREATE TABLE status (pairing TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE passes (
    pairing TEXT PRIMARY KEY, pass INTEGER NOT NULL, began TEXT NOT NULL,
    complete INTEGER NOT NULL, identity TEXT NOT NULL, seed TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE extents (
    pairing TEXT NOT NULL, place INTEGER NOT NULL, direction TEXT NOT NULL, extents TEXT NOT NULL,
    PRIMARY KEY (pairing, place)
) STRICT;
CREATE TABLE done (
    pairing TEXT NOT NULL, direction TEXT NOT NULL, number INTEGER NOT NULL, ending TEXT NOT NULL,
    PRIMARY KEY (pairing, direction, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE suspects (
    pairing TEXT NOT NULL, key TEXT NOT NULL, readable_key TEXT NOT NULL, first_seen TEXT NOT NULL,
    looks INTEGER NOT NULL, due TEXT NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY (pairing, key)
) STRICT;
CREATE TABLE crowds (
    pairing TEXT NOT NULL, partition TEXT NOT NULL, first_seen TEXT NOT NULL, due TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (pairing, partition)
) STRICT;
CREATE TABLE findings (
    id INTEGER PRIMARY KEY, pairing TEXT NOT NULL, kind TEXT NOT NULL, status TEXT NOT NULL,
    key TEXT, readable_key TEXT, entities INTEGER NOT NULL, confirmed TEXT NOT NULL,
    ignored_until TEXT, ended INTEGER, json TEXT NOT NULL
) STRICT;
CREATE INDEX findings_by_status ON findings (status, pairing, kind);
CREATE INDEX findings_by_key ON findings (key);
CREATE INDEX findings_by_readable_key ON findings (readable_key);
CREATE INDEX findings_ended ON findings (ended) WHERE ended IS NOT NULL;
CREATE TABLE criteria (
    name TEXT PRIMARY KEY, tripped TEXT, count INTEGER NOT NULL, at_least INTEGER NOT NULL,
    json TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, micros INTEGER NOT NULL, what TEXT NOT NULL,
    pairing TEXT, delivered INTEGER NOT NULL, event ANY NOT NULL
) STRICT;
CREATE INDEX outbox_waiting ON outbox (number) WHERE delivered = 0;
CREATE INDEX outbox_delivered ON outbox (micros) WHERE delivered = 1;
CREATE TABLE hooks (
    id INTEGER PRIMARY KEY, hook TEXT NOT NULL, criterion TEXT NOT NULL,
    occurrence INTEGER NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL, since TEXT NOT NULL,
    due TEXT NOT NULL, last TEXT, ended INTEGER, json TEXT NOT NULL
) STRICT;
CREATE INDEX hooks_ended ON hooks (ended) WHERE ended IS NOT NULL;
CREATE TABLE commands (
    id INTEGER PRIMARY KEY AUTOINCREMENT, json TEXT NOT NULL, asked TEXT NOT NULL,
    micros INTEGER NOT NULL, answer TEXT
) STRICT;
CREATE INDEX commands_waiting ON commands (id) WHERE answer IS NULL;
CREATE INDEX commands_answered ON commands (micros) WHERE answer IS NOT NULL;
";

/// What format 2 has besides.
const SINCE_1: &str = "
CREATE TABLE suspect_partitions (
    pairing TEXT NOT NULL, partition TEXT NOT NULL, first_seen TEXT NOT NULL, due TEXT NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (pairing, partition)
) STRICT;
";

/// What format 3 has besides.
const SINCE_2: &str = "
CREATE TABLE unsettled (
    pairing TEXT NOT NULL, subject TEXT NOT NULL, readable_key TEXT, why TEXT NOT NULL,
    at TEXT NOT NULL, ended INTEGER, json TEXT NOT NULL,
    PRIMARY KEY (pairing, subject)
) STRICT;
CREATE INDEX unsettled_ended ON unsettled (ended) WHERE ended IS NOT NULL;
";

/// What format 4 has besides.
const SINCE_3: &str = "
CREATE TABLE outages (store TEXT PRIMARY KEY, json TEXT NOT NULL) STRICT, WITHOUT ROWID;
";

/// What makes a journal itself, for as long as it lives.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its random name: 16 hexadecimal digits.
    pub journal: String,
    /// The key of entity digests.
    pub digest_key: [u8; 32],
    /// The key of the HMACs that are exported in place of entity keys.
    pub hmac_key: [u8; 32],
    /// The seed of everything that is drawn.
    pub seed: u64,
}

impl fmt::Debug for Identity {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("journal", &self.journal).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new one, from the system's random numbers.
    fn random() -> std::io::Result<Self> {
        let mut source = File::open("/dev/urandom")?;
        let mut name = [0; 8];
        let mut digest_key = [0; 32];
        let mut hmac_key = [0; 32];
        let mut seed = [0; 8];
        source.read_exact(&mut name)?;
        source.read_exact(&mut digest_key)?;
        source.read_exact(&mut hmac_key)?;
        source.read_exact(&mut seed)?;
        let seed = u64::from_be_bytes(seed);
        Ok(Self { journal: hex(&name), digest_key, hmac_key, seed })
    }
}

/// The lock against a second daemon; ends with the process.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // An empty file says that the daemon stopped; a number left behind, that it was killed. Nobody
        // depends on it, so a failure is nothing to act on.
        drop(self.0.set_len(0));
    }
}

/// `<journal><ending>`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// The path without links: whoever opens the same file must meet the same lock.
pub(super) fn real(path: &Path) -> PathBuf {
    // What does not exist yet has no other name; what cannot be resolved fails when it is opened.
    std::fs::canonicalize(path).unwrap_or_else(|_unresolved| path.to_owned())
}

fn system(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::System { path, doing, source }
}

fn sqlite(path: &Path, doing: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::sqlite(&path, doing, source)
}

/// The process that the lock file of the journal at `path` names.
pub(super) fn lock_holder(path: &Path) -> Option<u32> {
    std::fs::read_to_string(beside(path, ".lock")).ok()?.trim().parse().ok()
}

/// Locks the journal at `path` for this process.
pub(super) fn lock(path: &Path) -> Result<Lock, JournalError> {
    let lock_path = beside(path, ".lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock_path)
        .map_err(system(&lock_path, "open the journal's lock file"))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            return Err(JournalError::Locked { path: path.to_owned(), pid: lock_holder(path) });
        }
        Err(errno) => {
            return Err(system(&lock_path, "lock the journal's lock file")(errno.into()));
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(system(&lock_path, "write the journal's lock file"))?;
    Ok(Lock(file))
}

/// Makes the file if there is none, and sees that nobody else may read it.
pub(super) fn secure(path: &Path) -> Result<(), JournalError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            let synced = file.sync_all().and_then(|()| {
                // The name must be as durable as what will be committed under it.
                let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()
            });
            synced.map_err(system(path, "create the journal"))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            refuse_foreign(path)?;
            for file in [path.to_owned(), beside(path, "-wal"), beside(path, "-shm")] {
                restrict(&file).map_err(system(&file, "close the journal to other users"))?;
            }
            Ok(())
        }
        Err(error) => Err(system(path, "create the journal")(error)),
    }
}

fn restrict(path: &Path) -> std::io::Result<()> {
    match std::fs::metadata(path) {
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            std::fs::set_permissions(path, Permissions::from_mode(0o600))
        }
        Ok(_private) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// SQLite takes a short file of any content for an empty database; this does not.
fn refuse_foreign(path: &Path) -> Result<(), JournalError> {
    const HEAD: &[u8] = b"SQLite format 3\0";
    let foreign = || JournalError::Foreign { path: path.to_owned() };
    let metadata = std::fs::metadata(path).map_err(system(path, "read the journal"))?;
    if !metadata.is_file() {
        return Err(foreign());
    }
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(HEAD.len() as u64).read_to_end(&mut head))
        .map_err(system(path, "read the journal"))?;
    if head.is_empty() || head == HEAD { Ok(()) } else { Err(foreign()) }
}

/// Opens an existing file; never creates one.
pub(super) fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, JournalError> {
    match std::fs::metadata(path) {
        Ok(_there) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(JournalError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(system(path, "open the journal")(error)),
    }
    refuse_foreign(path)?;
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(sqlite(path, "open what is kept"))?;
    prepare(&connection).map_err(sqlite(path, "open what is kept"))?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "synchronous", "FULL")
}

/// The format of the journal, or none if the file is nothing yet; anything else is an error.
pub(super) fn format(connection: &Connection, path: &Path) -> Result<Option<i64>, JournalError> {
    let doing = "read the format";
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(sqlite(path, doing))
    };
    let (application, format) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION {
        return match format {
            FORMAT_MIN..=FORMAT => Ok(Some(format)),
            found if found > FORMAT => {
                Err(JournalError::Newer { path: path.to_owned(), found, known: FORMAT })
            }
            _ => Err(JournalError::unreadable(path, format!("it has format {format}"))),
        };
    }
    let things: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(sqlite(path, doing))?;
    if application == 0 && format == 0 && things == 0 {
        Ok(None)
    } else {
        Err(JournalError::Foreign { path: path.to_owned() })
    }
}

/// Sets up a connection that writes; makes the tables if the file is new.
pub(super) fn set_up(
    connection: &mut Connection,
    path: &Path,
    now: Moment,
) -> Result<Identity, JournalError> {
    let doing = "set up the format";
    if let Some(format) = format(connection, path)? {
        use_wal(connection, path)?;
        if format < FORMAT {
            bring_up_to_date(connection, format)
                .map_err(sqlite(path, "bring the format up to date"))?;
        }
        return identity(connection, path);
    }
    // Only a file without tables can be told to give pages back.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(sqlite(path, doing))?;
    use_wal(connection, path)?;
    let identity = Identity::random().map_err(system(Path::new("/dev/urandom"), "draw keys"))?;
    create(connection, &identity, now).map_err(sqlite(path, doing))?;
    Ok(identity)
}

/// Looks for damage in every page, so that none is met weeks later. Reads the whole file once.
pub(super) fn examine(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite(path, "look for damage"))?;
    if found == "ok" { Ok(()) } else { Err(JournalError::unreadable(path, found)) }
}

fn use_wal(connection: &Connection, path: &Path) -> Result<(), JournalError> {
    let doing = "set up the write-ahead log";
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES).map_err(sqlite(path, doing))?;
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(sqlite(path, doing))?;
    // A journal in memory has no log and needs none.
    if mode == "wal" || mode == "memory" {
        return Ok(());
    }
    let source =
        std::io::Error::new(ErrorKind::Unsupported, "its file system has no shared memory");
    Err(system(path, doing)(source))
}

/// From `format` to this one, all or nothing.
fn bring_up_to_date(connection: &mut Connection, format: i64) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (since, tables) in [(1, SINCE_1), (2, SINCE_2), (3, SINCE_3)] {
        if since >= format {
            tx.execute_batch(tables)?;
        }
    }
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()
}

fn create(connection: &mut Connection, identity: &Identity, now: Moment) -> rusqlite::Result<()> {
    let tx = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    tx.execute_batch(TABLES)?;
    tx.execute_batch(SINCE_1)?;
    tx.execute_batch(SINCE_2)?;
    tx.execute_batch(SINCE_3)?;
    tx.execute(
        "INSERT INTO identity VALUES (1, ?1, ?2, ?3, ?4, ?5)",
        (
            &identity.journal,
            hex(&identity.digest_key),
            hex(&identity.hmac_key),
            identity.seed.to_string(),
            now.to_text(),
        ),
    )?;
    tx.execute("INSERT INTO numbers VALUES (1, 0, 0, 0)", [])?;
    tx.pragma_update(None, "application_id", APPLICATION)?;
    tx.pragma_update(None, "user_version", FORMAT)?;
    tx.commit()
}

/// Reads who the journal is.
pub(super) fn identity(connection: &Connection, path: &Path) -> Result<Identity, JournalError> {
    let columns: [String; 4] = connection
        .query_row("SELECT journal, digest_key, hmac_key, seed FROM identity", [], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])
        })
        .map_err(sqlite(path, "read the identity"))?;
    let key = |text: &str| <[u8; 32]>::try_from(unhex(text)?).ok();
    let [journal, digest_key, hmac_key, seed] = columns;
    let (Some(digest_key), Some(hmac_key), Ok(seed)) =
        (key(&digest_key), key(&hmac_key), seed.parse())
    else {
        return Err(JournalError::unreadable(path, "its identity is unreadable"));
    };
    Ok(Identity { journal, digest_key, hmac_key, seed })
}
