//! SQLite files.
//!
//! Owns reading tables of a file along their primary key or an index, while another process or connection may
//! write it. Refuses to write: connections are opened read-only and told to refuse it. Invariant: a
//! file that is not there, or is not the one that was opened, is an error, never an empty store.
//!
//! A step reads one page on the runtime's threads for blocking work and lets go of the file: no
//! transaction outlives a page. A writer in WAL mode is never waited for; in the other modes a
//! locked file is waited for as long as the store's read timeout says, and a statement that goes on
//! for longer than its patience is interrupted.

mod cells;
mod index;
mod table;

use std::fmt;
use std::num::NonZeroU32;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::time::timeout;

use self::table::Table;
use crate::model::{Batch, Cost, Extent, Range, RelationSchema};
use crate::store::identity::{Asked, assert_found_again};
use crate::store::questions::{self, Questions};
use crate::store::rate_limiter::RateLimiter;
use crate::store::{
    Capabilities, Consistency, Fetched, Limits, Page, Query, Read, Settings, Store, StoreError,
    StoreErrorKind as Kind, Timeouts,
};

/// Index entries that a statement walks at most.
const WALK_MAX: u32 = 10_000;
/// A read that does not end when it is interrupted is interrupted again after so long.
const INTERRUPT_AGAIN: Duration = Duration::from_millis(50);
const INTERRUPTED: &str = "interrupted";
/// Keys of one fetch statement.
const FETCH_MAX: usize = 256;
/// Questions of one statement.
const QUERY_MAX: usize = 64;
/// Statements that one fetch or query may have refused before what is left of it is not halved.
const REFUSED_MAX: u32 = 64;

/// Whether one key or row may be why a statement failed: here any row may hold what its column is not
/// declared to hold.
const fn may_be_of_one(kind: &Kind) -> bool {
    kind.may_be_of_one() || matches!(kind, Kind::Unfit(_))
}

/// A SQLite file.
pub struct Sqlite {
    name: String,
    place: Arc<Place>,
    limiter: Arc<RateLimiter>,
    /// How long a read may take, waiting for a lock included.
    limit: Duration,
    /// Connections that nobody uses; never more than there are permits, and one for a probe.
    idle: Mutex<Vec<Open>>,
}

/// Where the data is, and how long it may be locked.
#[derive(Debug)]
struct Place {
    at: At,
    patience: Duration,
}

#[derive(Debug)]
enum At {
    File(PathBuf),
    /// A URI, such as that of a shared database in memory.
    Uri(String),
}

/// An open connection, and which file it has open.
struct Open {
    connection: Connection,
    file: Option<(u64, u64)>,
}

impl Sqlite {
    /// The store of a file. Opened when it is first asked.
    #[must_use]
    pub fn new(settings: &Settings, path: &Path, limiter: Arc<RateLimiter>) -> Self {
        let at = At::File(path.to_owned());
        Self::at(&settings.name, at, limiter, settings.timeouts)
    }

    /// The store of a SQLite URI, such as `file:demo?mode=memory&cache=shared`. What it names must
    /// exist for as long as the store.
    #[must_use]
    pub fn shared(name: &str, uri: &str) -> Self {
        let limiter = Arc::new(RateLimiter::new(&Limits::default()));
        Self::at(name, At::Uri(uri.to_owned()), limiter, Timeouts::default())
    }

    fn at(name: &str, at: At, limiter: Arc<RateLimiter>, timeouts: Timeouts) -> Self {
        Self {
            name: name.to_owned(),
            place: Arc::new(Place { at, patience: timeouts.read }),
            limiter,
            limit: timeouts.patience,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Runs `work` on a connection, where it may block.
    async fn run<T: Send + 'static>(
        &self,
        relation: &str,
        work: impl FnOnce(&Connection) -> Result<(T, Cost), Kind> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.limiter.enter().await;
        let (answer, cost) = self.at_once(relation, work).await?;
        permit.charge(&cost);
        Ok(answer)
    }

    /// As `run`, apart from the limits.
    async fn at_once<T: Send + 'static>(
        &self,
        relation: &str,
        work: impl FnOnce(&Connection) -> Result<(T, Cost), Kind> + Send + 'static,
    ) -> Result<(T, Cost), StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let place = Arc::clone(&self.place);
        let running = Arc::new(Mutex::new(None));
        let shown = Arc::clone(&running);
        let mut task = tokio::task::spawn_blocking(move || {
            let open = place.open(idle)?;
            let handle = open.connection.get_interrupt_handle();
            *shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
            let done = work(&open.connection)?;
            Ok((done, open))
        });
        let mut wait = self.limit;
        let done = loop {
            match timeout(wait, &mut task).await {
                Ok(done) => break done,
                Err(_elapsed) => {
                    if let Some(running) = &*running.lock().unwrap_or_else(PoisonError::into_inner)
                    {
                        running.interrupt();
                    }
                    // It may have been between two statements.
                    wait = INTERRUPT_AGAIN;
                }
            }
        };
        let done = done.unwrap_or_else(|ended| {
            // What a panic says may hold values.
            let what = if ended.is_panic() { "reading panicked" } else { "reading was cancelled" };
            Err(Kind::Answer(what.to_owned()))
        });
        match done {
            Ok((done, open)) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(open);
                Ok(done)
            }
            Err(Kind::Answer(words)) if words == INTERRUPTED => {
                let (doing, after) = ("reading".to_owned(), self.limit);
                Err(self.error(relation, Kind::Timeout { doing, after }))
            }
            Err(kind) => Err(self.error(relation, kind)),
        }
    }

    fn error(&self, relation: &str, kind: Kind) -> StoreError {
        StoreError {
            store: self.name.clone(),
            relation: Some(relation.to_owned()),
            kind,
            source: None,
        }
    }

    /// The next page of a scan; none: there is nothing more.
    async fn page(&self, read: &Read, scan: Scan) -> Result<Option<(Page, Scan)>, StoreError> {
        let (asked, limit) = (read.clone(), self.limiter.page_rows(read.page_rows));
        let work = move |connection: &Connection| {
            let table = Table::still(connection, &asked)?;
            let mut scan = scan;
            let cut = table.cut(&asked)?;
            if scan.range.until.is_none() {
                // What is written behind it later waits for the next scan, or none might end.
                let last = table.end(&cut, "DESC")?;
                scan.range.until = Some(last.map_or(i128::MIN, |last| i128::from(last) + 1));
            }
            let mut page = None;
            if scan.nulls && !cut.key {
                page = table.scan_nulls(&asked, &cut, &scan.after, limit)?;
            }
            if page.is_none() {
                if std::mem::take(&mut scan.nulls) {
                    scan.after.clear();
                }
                page = table.scan(&asked, &scan.range, &scan.after, limit)?;
            }
            let cost = page.as_ref().map(|(page, _)| page.cost).unwrap_or_default();
            let next = |(page, after)| (page, Scan { after, ..scan });
            Ok((page.map(next), cost))
        };
        self.run(&read.schema.relation, work).await
    }

    async fn cut(&self, read: &Read, rows: u32) -> Result<Vec<Extent>, StoreError> {
        let mut cuts: Vec<i64> = Vec::new();
        loop {
            let (asked, from) = (read.clone(), cuts.last().copied());
            let next = move |connection: &Connection| {
                let table = Table::read(connection, &asked.schema.relation)?;
                let cut = table.cut(&asked)?;
                let from = match from {
                    Some(from) => Some(from),
                    None => {
                        if cut.key {
                            table.assert_no_null()?;
                        }
                        table.end(&cut, "ASC")?
                    }
                };
                let Some(from) = from else { return Ok((None, Cost::default())) };
                let step = rows.min(WALK_MAX - 1);
                let next = table.probe(&cut, from, step)?;
                Ok((next, Cost { rows: u64::from(step), requests: 1, ..Cost::default() }))
            };
            match self.run(&read.schema.relation, next).await? {
                Some(next) => cuts.push(next),
                None => return Ok(extents(&cuts)),
            }
        }
    }

    async fn fetch_all(&self, read: &Read, keys: &Batch) -> Fetched {
        let mut fetched = Fetched::default();
        let positions: Vec<usize> = (0..keys.rows).collect();
        let mut parts: Vec<&[usize]> = positions.chunks(FETCH_MAX).rev().collect();
        let mut refused = 0;
        while let Some(chunk) = parts.pop() {
            let (asked, part) = (read.clone(), keys.take(chunk));
            let work = move |connection: &Connection| {
                let table = Table::still(connection, &asked)?;
                let pages = table.fetch(&asked, &part)?;
                let mut cost = Cost::default();
                pages.iter().for_each(|page: &Page| cost.add(page.cost));
                Ok((pages, cost))
            };
            match self.run(&read.schema.relation, work).await {
                Ok(pages) => {
                    let asked = Asked::new(keys, chunk, &read.schema);
                    fetched.pages.extend(pages.into_iter().filter_map(|page| asked.keep(page)));
                }
                Err(error) => {
                    if chunk.len() > 1 && may_be_of_one(&error.kind) && refused < REFUSED_MAX {
                        refused += 1;
                        let (some, others) = chunk.split_at(chunk.len() / 2);
                        parts.extend([others, some]);
                        continue;
                    }
                    let mut unread = chunk.to_vec();
                    if error.kind.is_silence() {
                        // Each of those that are left would wait for the store's whole patience.
                        unread.extend(parts.drain(..).flatten());
                    }
                    fetched.unread.push((unread, error));
                }
            }
        }
        fetched
    }

    async fn query_all(&self, read: &Read, query: &Query) -> Fetched {
        let relation = read.schema.relation.as_str();
        let mut questions = match Questions::new(read, query) {
            Ok(questions) => questions,
            Err(kind) => {
                return questions::unasked(query, self.error(relation, kind));
            }
        };
        let mut refused = 0;
        while let Some(part) = questions.next(QUERY_MAX) {
            let asked = questions.read.clone();
            let values = questions.values(&part);
            let query = Query { columns: query.columns.clone(), values, prefix: query.prefix };
            let work = move |connection: &Connection| {
                let table = Table::still(connection, &asked)?;
                let pages = table.ask(&asked, &query)?;
                let mut cost = Cost::default();
                pages.iter().for_each(|page: &Page| cost.add(page.cost));
                Ok((pages, cost))
            };
            match self.run(relation, work).await {
                Ok(pages) => questions.answered(part, pages, |kind| self.error(relation, kind)),
                Err(error)
                    if part.len() > 1 && may_be_of_one(&error.kind) && refused < REFUSED_MAX =>
                {
                    refused += 1;
                    questions.halve(part);
                }
                Err(error) => questions.stopped(part, error),
            }
        }
        questions.finish()
    }
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqlite")
            .field("name", &self.name)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Store for Sqlite {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ranges: true, consistent: false }
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        let name = relation.to_owned();
        self.run(relation, move |connection| {
            let schema = Table::read(connection, &name)?.schema();
            assert_found_again(&schema)?;
            table::assert_looked_up(&schema)?;
            Ok((schema, Cost::default()))
        })
        .boxed()
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        self.cut(read, rows.get()).boxed()
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        let Extent::Range(range) = extent else {
            let kind = Kind::Unfit("is scanned by ranges, not by segments".to_owned());
            let error = self.error(&read.schema.relation, kind);
            return stream::once(std::future::ready(Err(error))).boxed();
        };
        let start = Scan { range: *range, nulls: range.from.is_none(), after: Vec::new() };
        stream::unfold(Some(start), move |scan| async move {
            match self.page(read, scan?).await {
                Ok(None) => None,
                Ok(Some((page, next))) => Some((Ok(page), Some(next))),
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        _care: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        // There is one file: it has no staler and no fresher reads.
        self.fetch_all(read, keys).boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        _care: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        self.query_all(read, query).boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let (name, columns) = (relation.to_owned(), columns.to_vec());
        self.run(relation, move |connection| {
            Table::read(connection, &name)?.assert_found_by(&columns)?;
            Ok(((), Cost::default()))
        })
        .boxed()
    }

    fn probe<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let name = relation.to_owned();
        let work = move |connection: &Connection| {
            Table::read(connection, &name)?;
            Ok(((), Cost::default()))
        };
        async move { self.at_once(relation, work).await.map(|_done| ()) }.boxed()
    }
}

/// How far a scan is.
struct Scan {
    range: Range,
    /// Whether it is at the rows that have no value that cuts, which come first.
    nulls: bool,
    /// The values of the last row that it goes on behind; empty before the first.
    after: Vec<Value>,
}

impl Place {
    /// The idle connection, if it still has the right file open; else a new one.
    fn open(&self, idle: Option<Open>) -> Result<Open, Kind> {
        let file = self.file()?;
        if let Some(open) = idle.filter(|open| open.file == file) {
            return Ok(open);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let opened = match &self.at {
            At::File(path) => Connection::open_with_flags(path, flags),
            At::Uri(uri) => Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI),
        };
        let connection = opened.map_err(|error| self.error_kind(&error))?;
        let set = connection
            .busy_timeout(self.patience)
            .and_then(|()| connection.pragma_update(None, "query_only", true));
        set.map_err(|error| self.error_kind(&error))?;
        Ok(Open { connection, file })
    }

    /// Which file lies at the path now. A connection would go on reading one that was replaced.
    fn file(&self) -> Result<Option<(u64, u64)>, Kind> {
        let At::File(path) = &self.at else { return Ok(None) };
        let found = std::fs::metadata(path)
            .map_err(|error| Kind::Unreachable(format!("{}: {}", path.display(), error.kind())))?;
        Ok(Some((found.dev(), found.ino())))
    }

    fn error_kind(&self, error: &rusqlite::Error) -> Kind {
        let place = match &self.at {
            At::File(path) => path.display().to_string(),
            At::Uri(uri) => uri.clone(),
        };
        let kind = error_kind(error);
        if let Kind::Answer(words) = kind {
            return Kind::Unreachable(format!("{place}: {words}"));
        }
        kind
    }
}

/// The error in the words of stores. SQLite's texts name tables and columns, never values.
fn error_kind(error: &rusqlite::Error) -> Kind {
    let words = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            Kind::Throttled("locked by a writer for longer than the read timeout".to_owned())
        }
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure) => Kind::Unreachable(words),
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            Kind::Denied(words)
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Kind::Unfit(words),
        Some(ErrorCode::OperationInterrupted) => Kind::Answer(INTERRUPTED.to_owned()),
        _ => Kind::Answer(words),
    }
}

/// The ranges between `cuts`, open at both ends.
fn extents(cuts: &[i64]) -> Vec<Extent> {
    let cut = |cut: &i64| Some(i128::from(*cut));
    let from = std::iter::once(None).chain(cuts.iter().map(cut));
    let until = cuts.iter().map(cut).chain(std::iter::once(None));
    from.zip(until).map(|(from, until)| Extent::Range(Range { from, until })).collect()
}
