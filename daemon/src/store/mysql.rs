//! MySQL 8 and later, MariaDB 10.11 and later.
//!
//! Owns reading tables along their primary key, or along another index that begins with the column
//! that cuts them: describing, cutting into ranges, scanning a range in bounded steps, fetching by
//! key and asking by other columns. Refuses to write, to hold a snapshot, and to keep a result
//! set open while its rows are used: a step's rows are taken off the wire at once. Invariant: every
//! row of a range comes exactly once and in the order of the index, however often a step is tried
//! again.
//!
//! One step is one statement along one index, bounded by `LIMIT`; the limit follows the size
//! of the rows, so that a step is about two MiB however wide they are. The next step goes on behind
//! the last key. A range without an end ends at the last key there is when its scan begins, so that
//! a writer cannot keep a scan running for ever.

mod cut;
mod index;
mod query;
mod session;
mod statement;
mod table;
mod request_error;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use mysql_async::Value;

use self::index::Walk;
use self::query::Asker;
use self::session::{Ask, Sessions};
use self::statement::{Chunk, Reader, Want};
use self::table::Table;
use self::wire::Pages;
use crate::model::{Batch, Extent, Range, RelationSchema};
use crate::store::identity::{Asked, assert_found_again};
use crate::store::questions::{self, Questions};
use crate::store::rate_limiter::RateLimiter;
use crate::store::{
    Capabilities, Consistency, Fetched, MysqlSettings, Page, QUERY_BYTES_MAX, Query, Read,
    Settings, Store, StoreError, StoreErrorKind as Kind,
};

/// About how many bytes of values one step reads.
const STEP_BYTES: u64 = wire::PAGE_BYTES / 2;
/// Rows of one step, at most.
const STEP_ROWS: u64 = 16_384;
/// Rows of the first step, before it is known how large they are.
const FIRST_ROWS: u64 = 512;
/// Keys of the first fetch, before it is known how large rows are.
const FIRST_KEYS: u64 = 64;
/// Questions of the first statement, before it is known how large answers are.
const FIRST_QUESTIONS: u64 = 8;

/// Statements that one fetch or query may have refused before what is left of it is not halved.
const REFUSED_MAX: u32 = 256;

/// Whether a server refuses a value whatever rows there are, because the column cannot hold it (a
/// character that its character set lacks, a time out of range): then no row has it. It refuses the
/// statement `with` the value, asked for no rows, and takes the same statement `without`. `kind` is what
/// it said when it was asked for rows.
async fn is_refused(
    kind: &Kind,
    with: impl Future<Output = Result<Vec<Page>, StoreError>>,
    without: impl Future<Output = Result<Vec<Page>, StoreError>>,
) -> bool {
    matches!(kind, Kind::Answer(_))
        && matches!(with.await, Err(StoreError { kind: Kind::Answer(_), .. }))
        && without.await.is_ok()
}

/// A MySQL or MariaDB server, read as one user.
#[derive(Debug)]
pub struct Mysql {
    name: String,
    sessions: Sessions,
    known: Mutex<Known>,
}

/// What was learned by reading.
#[derive(Debug, Default)]
struct Known {
    tables: BTreeMap<String, Arc<Table>>,
    /// Bytes of a row, by what is selected.
    row_bytes: BTreeMap<String, u64>,
    /// Bytes of the answer to a question, by what is selected.
    answer_bytes: BTreeMap<String, u64>,
}

/// How far a scan is.
#[derive(Debug)]
struct Scan {
    range: Range,
    /// What was read and not yet handed out.
    pages: VecDeque<Page>,
    next: Next,
}

/// Where a scan reads on.
#[derive(Debug)]
enum Next {
    Begin,
    /// Behind the row with these values.
    Behind(Vec<Value>),
    End,
}

impl Mysql {
    /// The store that `settings` describe. Connects when it is first asked.
    #[must_use]
    pub fn new(settings: &Settings, mysql: &MysqlSettings, limiter: Arc<RateLimiter>) -> Self {
        Self {
            name: settings.name.clone(),
            sessions: Sessions::new(settings, mysql, limiter),
            known: Mutex::new(Known::default()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The table as it was last described; asks if it was not.
    async fn table(&self, relation: &str) -> Result<Arc<Table>, StoreError> {
        let known = self.known().tables.get(relation).map(Arc::clone);
        match known {
            Some(table) => Ok(table),
            None => self.describe_anew(relation).await,
        }
    }

    async fn describe_anew(&self, relation: &str) -> Result<Arc<Table>, StoreError> {
        let table = Arc::new(Table::read(&self.sessions, relation).await?);
        self.known().tables.insert(relation.to_owned(), Arc::clone(&table));
        Ok(table)
    }

    fn error(&self, relation: &str, kind: Kind) -> StoreError {
        self.sessions.error(Some(relation), kind)
    }

    /// Completes an error of a read, and forgets the table if it is not what it was.
    async fn explain(&self, mut error: StoreError, table: &Table) -> StoreError {
        if let Kind::NoSuchColumn { column, near } = &mut error.kind {
            // The server may name it with its table.
            let bare = column.rsplit('.').next().unwrap_or(column).to_owned();
            *near = table.near(&bare);
            *column = bare;
        }
        if !error.kind.heals() {
            self.known().tables.remove(&table.relation);
        }
        if matches!(error.kind, Kind::NoSuchRelation { .. })
            && let Err(nearest) = self.describe_anew(&table.relation).await
        {
            return nearest;
        }
        error
    }

    fn row_bytes(&self, reader: &Reader<'_>) -> Option<u64> {
        self.known().row_bytes.get(reader.select()).copied()
    }

    /// Rows of about one step; `first` before it is known how large they are.
    fn step_rows(&self, reader: &Reader<'_>, first: u64) -> u64 {
        let rows = |bytes: u64| (STEP_BYTES / bytes.max(1)).min(STEP_ROWS);
        self.row_bytes(reader).map_or(first, rows)
    }

    fn limit(&self, reader: &Reader<'_>, read: &Read) -> u64 {
        let known = self.row_bytes(reader);
        let rows = self.step_rows(reader, FIRST_ROWS);
        let most =
            NonZeroU32::new(u32::try_from(rows).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
        // A page is read at once anyway, unless its rows are known to be large.
        let most = if known.is_none() { most.min(read.page_rows) } else { most };
        u64::from(self.sessions.limiter().page_rows(most).get())
    }

    fn learn(&self, reader: &Reader<'_>, pages: &[Page]) {
        let rows: u64 = pages.iter().map(|page| page.cost.rows).sum();
        let bytes: u64 = pages.iter().map(|page| page.cost.bytes).sum();
        if let Some(each) = bytes.checked_div(rows) {
            self.known().row_bytes.insert(reader.select().to_owned(), each.max(1));
        }
    }

    /// Reads the next step of a range: its pages, and what to go on behind, if there may be more.
    async fn step(
        &self,
        read: &Read,
        range: &Range,
        after: &[Value],
    ) -> Result<(Vec<Page>, Option<Vec<Value>>), StoreError> {
        let relation = read.schema.relation.as_str();
        let table = self.table(relation).await?;
        let reader = table.walk(read).and_then(|walk| Reader::new(&table, read, &walk));
        let reader = match reader {
            Ok(reader) => reader,
            Err(kind) => return Err(self.explain(self.error(relation, kind), &table).await),
        };
        let limit = self.limit(&reader, read);
        let Some((sql, params)) = reader.scan(range, after, limit) else {
            return Ok((Vec::new(), None));
        };
        let ask = Ask { relation: Some(relation), doing: "scanning", sql, params, walks: 0 };
        let page_rows = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        // Rows may be larger than those before; twice the step is where memory ends.
        let mut pages = Pages::new(&reader.shape, page_rows, 2 * STEP_BYTES);
        if let Err(error) = self.sessions.run(&ask, &mut pages).await {
            return Err(self.explain(error, &table).await);
        }
        let cut_short = pages.cut_short();
        let (pages, last) = pages.finish();
        self.learn(&reader, &pages);
        let rows: u64 = pages.iter().map(|page| page.cost.rows).sum();
        let more = (cut_short || rows >= limit) && last.len() == reader.order();
        Ok((pages, more.then_some(last)))
    }

    /// Reads on; none: there is nothing more to read.
    async fn go_on(&self, read: &Read, scan: &mut Scan) -> Option<Result<(), StoreError>> {
        let after = match &scan.next {
            Next::Begin if scan.range.until.is_none() => match self.end(read).await {
                Ok(last) => {
                    // Without a last value there may still be rows that have none.
                    scan.range.until = Some(last.map_or(i128::MIN, |last| last + 1));
                    Vec::new()
                }
                Err(error) => return Some(Err(error)),
            },
            Next::Begin => Vec::new(),
            Next::Behind(key) => key.clone(),
            Next::End => return None,
        };
        Some(self.step(read, &scan.range, &after).await.map(|(pages, last)| {
            scan.pages = pages.into();
            scan.next = last.map_or(Next::End, Next::Behind);
        }))
    }

    /// The last value there is of the column that cuts; none: there is none.
    async fn end(&self, read: &Read) -> Result<Option<i128>, StoreError> {
        let table = self.table(&read.schema.relation).await?;
        match cut::end(&self.sessions, &table, read).await {
            Ok(last) => Ok(last),
            Err(error) => Err(self.explain(error, &table).await),
        }
    }

    async fn fetch_all(&self, read: &Read, keys: &Batch) -> Fetched {
        let mut fetched = Fetched::default();
        let relation = read.schema.relation.as_str();
        let table = match self.table(relation).await {
            Ok(table) => table,
            Err(error) => {
                fetched.unread.push(((0..keys.rows).collect(), error));
                return fetched;
            }
        };
        let reader = match Reader::new(&table, read, &table.by_key()) {
            Ok(reader) => reader,
            Err(kind) => {
                let error = self.explain(self.error(relation, kind), &table).await;
                fetched.unread.push(((0..keys.rows).collect(), error));
                return fetched;
            }
        };
        let mut left = reader.asked(keys);
        let mut refused = 0;
        // Rows may be of any size: how many are asked for at once follows what came before.
        while let Some(chunk) = reader.chunk(&mut left, self.step_rows(&reader, FIRST_KEYS)) {
            let mut parts = vec![chunk];
            while let Some(part) = parts.pop() {
                let error = match self.fetch_chunk(&reader, read, &part, Want::Rows).await {
                    Ok(pages) => {
                        self.learn(&reader, &pages);
                        let asked = Asked::new(keys, &part.positions, &read.schema);
                        fetched.pages.extend(pages.into_iter().filter_map(|page| asked.keep(page)));
                        continue;
                    }
                    Err(error) => error,
                };
                if error.kind.may_be_of_one() && refused < REFUSED_MAX {
                    refused += 1;
                    if let Some([some, others]) = part.halves() {
                        parts.extend([others, some]);
                        continue;
                    }
                    let with = self.fetch_chunk(&reader, read, &part, Want::Values);
                    let without = self.fetch_chunk(&reader, read, &part, Want::Statement);
                    if is_refused(&error.kind, with, without).await {
                        continue;
                    }
                }
                let error = self.explain(error, &table).await;
                let mut positions = part.positions;
                if error.kind.is_silence() {
                    // Each of those that are left would wait for the store's whole patience.
                    positions.extend(parts.drain(..).flat_map(|part| part.positions));
                    while let Some(chunk) = reader.chunk(&mut left, STEP_ROWS) {
                        positions.extend(chunk.positions);
                    }
                }
                fetched.unread.push((positions, error));
            }
        }
        fetched
    }

    async fn fetch_chunk(
        &self,
        reader: &Reader<'_>,
        read: &Read,
        chunk: &Chunk,
        want: Want,
    ) -> Result<Vec<Page>, StoreError> {
        let (sql, params) = reader.fetch(chunk, want);
        let relation = Some(read.schema.relation.as_str());
        let ask = Ask { relation, doing: "fetching by key", sql, params, walks: 0 };
        let page_rows = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        let mut pages = Pages::new(&reader.shape, page_rows, u64::MAX);
        self.sessions.run(&ask, &mut pages).await?;
        Ok(pages.finish().0)
    }

    /// Answers a query; an error concerns all of its questions.
    async fn query_all(&self, read: &Read, query: &Query) -> Result<Fetched, StoreError> {
        let relation = read.schema.relation.as_str();
        let table = self.table(relation).await?;
        let prepared = Questions::new(read, query).and_then(|questions| {
            let index = table.found_by(&query.columns)?.name.clone();
            let reader = Reader::new(&table, &questions.read, &Walk { index, order: Vec::new() })?;
            Ok((Asker::new(&table, reader, query)?, questions))
        });
        let (asker, mut questions) = match prepared {
            Ok(prepared) => prepared,
            Err(kind) => return Err(self.explain(self.error(relation, kind), &table).await),
        };
        let mut refused = 0;
        while let Some(part) = questions.next(self.questions(&asker)) {
            let values = questions.values(&part);
            let error = match self.ask(&asker, &questions.read, &values, Want::Rows).await {
                Ok(pages) => {
                    questions.answered(part, pages, |kind| self.error(relation, kind));
                    continue;
                }
                Err(error) => error,
            };
            if error.kind.may_be_of_one() && refused < REFUSED_MAX {
                refused += 1;
                if part.len() > 1 {
                    questions.halve(part);
                    continue;
                }
                let with = self.ask(&asker, &questions.read, &values, Want::Values);
                let without = self.ask(&asker, &questions.read, &values, Want::Statement);
                if is_refused(&error.kind, with, without).await {
                    continue;
                }
            }
            questions.stopped(part, self.explain(error, &table).await);
        }
        Ok(questions.finish())
    }

    /// Asks the questions of `values` in one statement.
    async fn ask(
        &self,
        asker: &Asker<'_>,
        read: &Read,
        values: &Batch,
        want: Want,
    ) -> Result<Vec<Page>, StoreError> {
        let Some((sql, params)) = asker.statement(values, want) else { return Ok(Vec::new()) };
        let relation = Some(read.schema.relation.as_str());
        let ask = Ask { relation, doing: "reading what belongs together", sql, params, walks: 0 };
        let page_rows = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        let mut pages = Pages::new(&asker.reader.shape, page_rows, QUERY_BYTES_MAX);
        self.sessions.run(&ask, &mut pages).await?;
        let (pages, _last) = pages.finish();
        let bytes: u64 = pages.iter().map(|page| page.cost.bytes).sum();
        if want != Want::Rows {
            return Ok(pages);
        }
        let each = bytes / values.rows.max(1) as u64;
        self.known().answer_bytes.insert(asker.reader.select().to_owned(), each.max(1));
        Ok(pages)
    }

    /// How many questions are asked at once.
    fn questions(&self, asker: &Asker<'_>) -> usize {
        let known = self.known().answer_bytes.get(asker.reader.select()).copied();
        let many = known.map_or(FIRST_QUESTIONS, |bytes| STEP_BYTES / bytes);
        usize::try_from(many).unwrap_or(usize::MAX).clamp(1, asker.most())
    }
}

impl Store for Mysql {
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
        async move {
            let schema = self.describe_anew(relation).await?.schema();
            assert_found_again(&schema).map_err(|kind| self.error(relation, kind))?;
            Ok(schema)
        }
        .boxed()
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        async move {
            // Anew, because the number of rows is wanted as it is now.
            let table = self.describe_anew(&read.schema.relation).await?;
            match cut::cut(&self.sessions, &table, read, rows.get()).await {
                Ok(extents) => Ok(extents),
                Err(error) => Err(self.explain(error, &table).await),
            }
        }
        .boxed()
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
        let scan = Scan { range: *range, pages: VecDeque::new(), next: Next::Begin };
        stream::unfold(scan, move |mut scan| async move {
            loop {
                if let Some(page) = scan.pages.pop_front() {
                    return Some((Ok(page), scan));
                }
                if let Err(error) = self.go_on(read, &mut scan).await? {
                    scan.next = Next::End;
                    return Some((Err(error), scan));
                }
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
        // There is one server: it has no staler and no fresher reads.
        self.fetch_all(read, keys).boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        _care: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            let answered = self.query_all(read, query).await;
            answered.unwrap_or_else(|error| questions::unasked(query, error))
        }
        .boxed()
    }

    fn readable<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let table = self.table(relation).await?;
            let unfit = columns.iter().find_map(|name| table.column(name).err());
            unfit.map_or(Ok(()), |kind| Err(self.error(relation, kind)))
        }
        .boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let table = self.describe_anew(relation).await?;
            table.found_by(columns).map(|_index| ()).map_err(|kind| self.error(relation, kind))
        }
        .boxed()
    }

    fn probe<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.sessions.probe(relation).boxed()
    }
}
