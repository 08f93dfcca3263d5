//! Reading rows from stores.
//!
//! Owns the [`Store`] trait, the settings of every kind of store, and [`open`]. Each kind is one
//! file below this one and one arm of `open`; retries, rate limits and timeouts live inside the
//! store they protect. Refuses to map or to compare, and does not know which side it is. Invariant:
//! a store only reads, and no driver's type leaves its file: driver rows become columnar batches at
//! once.

mod begins;
pub mod dynamodb;
pub mod rate_limiter;
mod health;
mod identity;
pub mod memory;
pub mod mysql;
mod near;
mod questions;
pub mod sqlite;
pub mod watched;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use futures::stream::BoxStream;

use crate::model::{Batch, Cost, Extent, FaultCode, RelationSchema, Secret};

use rate_limiter::RateLimiter;

/// Rows that one row of a query's values may match; beyond, that question is unread: what belongs
/// together must fit into memory.
pub const QUERY_ROWS_MAX: usize = 10_000;
/// Bytes that those rows may have, about; beyond, that question is unread as well.
pub const QUERY_BYTES_MAX: u64 = 32 << 20;

/// Something that holds rows. Limits, retries and timeouts are its own affair.
pub trait Store: Send + Sync + fmt::Debug {
    /// The store's name in the configuration.
    fn name(&self) -> &str;

    /// What the store can do.
    fn capabilities(&self) -> Capabilities;

    /// What the store says of `relation`.
    ///
    /// # Errors
    /// [`StoreErrorKind::NoSuchRelation`] with the nearest names, or any failure to ask.
    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>>;

    /// Cuts the relation into extents of about `rows` rows, by the column that [`Read::cut`] says.
    /// They cover every value of it, existing or not, exactly once. Walks at most 10,000 index
    /// entries in one statement.
    ///
    /// # Errors
    /// If the store cannot be asked, or the relation cannot be cut by that column.
    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>>;

    /// Streams the rows of `extent`, each exactly once. Range extents come in ascending order of
    /// the column that [`Read::cut`] says, and of the primary key where it says none; rows without a
    /// value there come first, in the extent that has no beginning. An extent without an end ends at
    /// the largest value there is when the scan begins. Segments come in any order, but rows that
    /// share the first key column come one after the other. Ends after the last row or the first
    /// error.
    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>>;

    /// Fetches the rows with these primary keys: a batch of the relation's key columns, in key
    /// order. Keys without a row are simply not in the result. What could not be read is in
    /// [`Fetched::unread`], so that one part's failure does not cost the others.
    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched>;

    /// Fetches the rows that match `query`, each once. Values without a row are simply not in the
    /// result; positions in [`Fetched::unread`] are rows of [`Query::values`]. A question is answered
    /// whole or is unread as a whole; one that holds a null matches nothing.
    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched>;

    /// Whether rows are found by these columns without walking the relation: asked at start. For a
    /// query by prefix, the last column is the one that only begins with its value.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unfit`] with what to do, [`StoreErrorKind::NoSuchColumn`], or any failure to
    /// ask.
    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Whether values of these columns can be read and compared: asked at start. A store all of whose
    /// types can be says nothing else.
    ///
    /// # Errors
    /// [`StoreErrorKind::Unfit`] with what to do, [`StoreErrorKind::NoSuchColumn`], or any failure to
    /// ask.
    fn readable<'a>(
        &'a self,
        _relation: &'a str,
        _columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        future::ready(Ok(())).boxed()
    }

    /// Whether the store answers: asks once, apart from its limits, for something of `relation` that one
    /// which works answers at once.
    ///
    /// # Errors
    /// If it does not answer. An answer that is an error is one, too.
    fn probe<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        async move { self.describe(relation).await.map(|_schema| ()) }.boxed()
    }
}

/// What a store can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Scans ranges of integer keys, in key order.
    pub ranges: bool,
    /// Has strongly consistent reads apart from ordinary ones.
    pub consistent: bool,
}

/// How fresh a fetched row must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever the store gives at its ordinary price.
    Eventual,
    /// As fresh as the store can give: looking again.
    Strong,
}

/// What is read of a relation. Made once, when the plan is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The relation, as the store described it.
    pub schema: RelationSchema,
    /// Columns (in an open relation also JSON pointers), in the order of [`Page::rows`].
    pub columns: Vec<String>,
    /// Attributes left out on purpose; in an open relation any other is told in
    /// [`Page::unmapped`].
    pub ignored: Vec<String>,
    /// The most rows of one page. Pages are also bounded in bytes, inside the store.
    pub page_rows: NonZeroU32,
    /// The integer column whose ranges cut this relation and whose order scans follow; none: the
    /// first column of the primary key. It is one of the relation's columns.
    pub cut: Option<String>,
}

impl Read {
    /// The column that cuts, if it is another than the first of the primary key.
    pub(crate) fn other_cut(&self) -> Option<&str> {
        let first = self.schema.key_columns().next();
        self.cut.as_deref().filter(|cut| first.is_none_or(|first| first.name != *cut))
    }
}

/// Rows that share the values of some columns, for each of several values.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The columns (of the relation; need not be among [`Read::columns`]).
    pub columns: Vec<String>,
    /// Their values, in the layouts of their types; a row for each question.
    pub values: Batch,
    /// Whether the last column (text or binary) only begins with its value, byte for byte.
    pub prefix: bool,
}

/// Some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The primary keys: the relation's key columns in key order, one row for each of `rows`.
    pub keys: Batch,
    /// The columns asked for. A column that is not there in a row is absent (see
    /// [`Column`](crate::model::Column)).
    pub rows: Batch,
    /// Attributes met that were neither asked for nor ignored.
    pub unmapped: Unmapped,
    /// What reading them cost.
    pub cost: Cost,
}

/// Names of attributes that were neither asked for nor ignored, each with the positions, ascending, of
/// what holds it: of rows in a page. How many names there are is bounded where they are met.
pub type Unmapped = BTreeMap<String, Vec<usize>>;

impl Page {
    /// These rows of it; what it cost stays with them.
    #[must_use]
    pub fn take(self, rows: &[usize]) -> Self {
        if rows.len() == self.keys.rows {
            return self;
        }
        let (keys, cells) = (self.keys.take(rows), self.rows.take(rows));
        let unmapped = moved(self.unmapped, |row| rows.binary_search(&row).ok());
        Self { keys, rows: cells, unmapped, cost: self.cost }
    }
}

/// Names of attributes, held at other positions now; what has none holds nothing.
pub(crate) fn moved(unmapped: Unmapped, to: impl Fn(usize) -> Option<usize>) -> Unmapped {
    let moved = |(name, at): (String, Vec<usize>)| {
        let at: Vec<usize> = at.into_iter().filter_map(&to).collect();
        (!at.is_empty()).then_some((name, at))
    };
    unmapped.into_iter().filter_map(moved).collect()
}

/// What a fetch gave.
#[derive(Debug, Default)]
pub struct Fetched {
    /// The rows that are there.
    pub pages: Vec<Page>,
    /// Positions in the asked keys, or questions, that could not be read, and why.
    pub unread: Vec<(Vec<usize>, StoreError)>,
    /// What it cost beside what its pages say: keys without a row are not free everywhere.
    pub cost: Cost,
}

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("store `{store}`{}: {kind}", relation.as_ref().map(|name| format!(", relation `{name}`")).unwrap_or_default())]
pub struct StoreError {
    /// The store's name in the configuration.
    pub store: String,
    /// The relation concerned, if one is.
    pub relation: Option<String>,
    /// What happened.
    pub kind: StoreErrorKind,
    /// The driver's own error, without secrets and row values.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What went wrong in a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// Does not answer: refused, reset, unknown host.
    #[error("cannot reach {0}")]
    Unreachable(String),
    /// Did not answer in time.
    #[error("no answer within {} s while {doing}", after.as_secs_f32())]
    Timeout {
        /// What was being done.
        doing: String,
        /// The limit.
        after: Duration,
    },
    /// Refuses the user, password or permission.
    #[error("access refused: {0}")]
    Denied(String),
    /// Its certificate is not trusted, or TLS could not be agreed on.
    #[error("cannot trust {0}")]
    Untrusted(String),
    /// A row or a statement is larger than may be sent at once: the limit, and whose it is.
    #[error("{0}")]
    TooLarge(String),
    /// Says that it is asked too much; told after the store's own patience was spent.
    #[error("throttled: {0}")]
    Throttled(String),
    /// Was not asked, because it is known to be down.
    #[error("down for {} s: {}", .0.for_so_long.as_secs(), .0.what)]
    Down(Box<Down>),
    /// Answers that there is no such relation.
    #[error("no such relation{}", nearest(near))]
    NoSuchRelation {
        /// The names that are nearest.
        near: Vec<String>,
    },
    /// Answers that there is no such column.
    #[error("no such column `{column}`{}", nearest(near))]
    NoSuchColumn {
        /// The column.
        column: String,
        /// The names that are nearest.
        near: Vec<String>,
    },
    /// Cannot be served as it is: a key that is no integer, a type that is not supported.
    #[error("{0}")]
    Unfit(String),
    /// Any other answer that is an error.
    #[error("the store answered with an error: {0}")]
    Answer(String),
}

/// A store that is down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// For how long it is.
    pub for_so_long: Duration,
    /// Why.
    pub what: String,
    /// What a person can do about it.
    pub remedy: String,
}

impl StoreErrorKind {
    /// Whether it may heal by itself, so that trying again makes sense.
    #[must_use]
    pub const fn heals(&self) -> bool {
        match self {
            // Certificates are renewed.
            Self::Unreachable(_)
            | Self::Timeout { .. }
            | Self::Denied(_)
            | Self::Untrusted(_)
            | Self::Throttled(_)
            | Self::Down(_) => true,
            Self::NoSuchRelation { .. }
            | Self::NoSuchColumn { .. }
            | Self::TooLarge(_)
            | Self::Unfit(_)
            | Self::Answer(_) => false,
        }
    }

    /// Whether one key, question or row of what was asked at once may be the reason, so that the others
    /// are asked for without it.
    #[must_use]
    pub const fn may_be_of_one(&self) -> bool {
        matches!(self, Self::Answer(_) | Self::TooLarge(_))
    }

    /// Whether nothing was answered, or only that nothing can be. Whoever refuses access answers.
    #[must_use]
    pub const fn is_silence(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout { .. } | Self::Throttled(_) | Self::Down(_) => {
                true
            }
            Self::Denied(_)
            | Self::Untrusted(_)
            | Self::TooLarge(_)
            | Self::NoSuchRelation { .. }
            | Self::NoSuchColumn { .. }
            | Self::Unfit(_)
            | Self::Answer(_) => false,
        }
    }

    /// A short stable name for counting.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match self {
            Self::Unreachable(_) => FaultCode::StoreUnreachable,
            Self::Timeout { .. } => FaultCode::StoreTimeout,
            Self::Denied(_) => FaultCode::StoreDenied,
            Self::Untrusted(_) => FaultCode::StoreUntrusted,
            Self::TooLarge(_) => FaultCode::StoreTooLarge,
            Self::Throttled(_) => FaultCode::StoreThrottled,
            Self::Down(_) => FaultCode::StoreDown,
            Self::NoSuchRelation { .. } => FaultCode::StoreNoRelation,
            Self::NoSuchColumn { .. } => FaultCode::StoreNoColumn,
            Self::Unfit(_) => FaultCode::StoreUnfit,
            Self::Answer(_) => FaultCode::StoreError,
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> &str {
        match self {
            Self::Unreachable(_) => "check that the server runs and that host and port are right",
            Self::Timeout { .. } => "check the server's load, or raise this store's timeouts",
            Self::Denied(_) => "check user, password and grants of this store",
            Self::Untrusted(_) => {
                "name the authority that signed the certificate: `tls = { ca = \"/path/to/ca.pem\" }`; \
                 `tls = \"required\"` encrypts without knowing whom it talks to"
            }
            Self::TooLarge(_) => {
                "raise the limit that is named, or leave the large column out of the mapping; trying \
                 again does not help"
            }
            Self::Throttled(_) => "lower this store's limits, or give it more capacity",
            Self::Down(down) => &down.remedy,
            Self::NoSuchRelation { .. } => "correct `relation` in the pairing",
            Self::NoSuchColumn { .. } => "correct the column's name in the mapping",
            Self::Unfit(_) => "config/README.md says what driftd reads of each store",
            Self::Answer(_) => "see the store's own message",
        }
    }
}

/// Columns as a message lists them.
fn named(columns: &[String]) -> String {
    columns.iter().map(|column| format!("`{column}`")).collect::<Vec<_>>().join(", ")
}

fn nearest(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("; nearest: {}", names.join(", ")) }
}

/// Makes the store that `settings` describe. Nothing is asked of the store yet, so a server that
/// does not answer is met by the first read.
///
/// # Errors
/// If the settings themselves are unfit: a certificate that cannot be read, a file that is not there.
pub async fn open(settings: &Settings) -> Result<Arc<dyn Store>, StoreError> {
    open_under(settings, &Arc::new(RateLimiter::new(&settings.limits))).await
}

/// The same store twice: as the settings say, and with another `patience`. Both are one store: what is
/// asked of either counts towards the same limits.
///
/// # Errors
/// As those of [`open`].
pub async fn open_both(
    settings: &Settings,
    patience: Duration,
) -> Result<(Arc<dyn Store>, Arc<dyn Store>), StoreError> {
    let limiter = Arc::new(RateLimiter::new(&settings.limits));
    let mut other = settings.clone();
    other.timeouts.patience = patience;
    Ok((open_under(settings, &limiter).await?, open_under(&other, &limiter).await?))
}

async fn open_under(
    settings: &Settings,
    limiter: &Arc<RateLimiter>,
) -> Result<Arc<dyn Store>, StoreError> {
    let limiter = Arc::clone(limiter);
    match &settings.kind {
        Kind::Mysql(mysql) => Ok(Arc::new(mysql::Mysql::new(settings, mysql, limiter))),
        Kind::Dynamodb(dynamodb) => dynamodb::open(settings, dynamodb, limiter).await,
        Kind::Sqlite { path } => Ok(Arc::new(sqlite::Sqlite::new(settings, path, limiter))),
    }
}

/// A store of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Which kind, with what belongs to the kind.
    pub kind: Kind,
    /// How much it may be asked.
    pub limits: Limits,
    /// How long it may take.
    pub timeouts: Timeouts,
}

/// The kinds of stores.
#[derive(Clone, Debug)]
pub enum Kind {
    /// MySQL 8 or later, MariaDB 10.11 or later.
    Mysql(MysqlSettings),
    /// Amazon DynamoDB, or what speaks its protocol.
    Dynamodb(DynamodbSettings),
    /// A SQLite file, opened read-only.
    Sqlite {
        /// The file.
        path: PathBuf,
    },
}

/// Where a MySQL server is and how to log in.
#[derive(Clone, Debug)]
pub struct MysqlSettings {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// User.
    pub user: String,
    /// Password, if the user has one.
    pub password: Option<Secret>,
    /// The database (schema) that holds the relations.
    pub database: String,
    /// How the connection is protected.
    pub tls: Tls,
}

/// How a connection is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// In clear.
    Disabled,
    /// Encrypted; the certificate is not verified.
    Required,
    /// Encrypted; certificate and host name are verified, against `ca` if given, else against the
    /// system's roots.
    #[default]
    Verified,
    /// As `Verified`, against this PEM file.
    VerifiedBy(PathBuf),
}

/// How DynamoDB is reached. Credentials and what is not given here come from the AWS SDK's default
/// chain.
#[derive(Clone, Debug, Default)]
pub struct DynamodbSettings {
    /// Region; none: the default chain's.
    pub region: Option<String>,
    /// Endpoint; none: the region's.
    pub endpoint: Option<String>,
    /// Profile of the shared AWS configuration files; none: the default chain's.
    pub profile: Option<String>,
    /// Parallel scan segments of a full pass; none: from the table's size.
    pub segments: Option<NonZeroU32>,
}

/// How much a store may be asked; over all partitions, pairings and tasks. None: unlimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Rows a second.
    pub rows_per_second: Option<NonZeroU32>,
    /// Bytes of values a second.
    pub bytes_per_second: Option<u64>,
    /// Read capacity units a second (DynamoDB).
    pub capacity_per_second: Option<f64>,
    /// Reads at the same time.
    pub concurrency: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows_per_second: None,
            bytes_per_second: None,
            capacity_per_second: None,
            concurrency: NonZeroU32::new(4).expect("four"),
        }
    }
}

/// How long a store may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, handshake and login included.
    pub connect: Duration,
    /// Until one request or page is answered.
    pub read: Duration,
    /// Over all tries of one request.
    pub patience: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            patience: Duration::from_secs(60),
        }
    }
}
