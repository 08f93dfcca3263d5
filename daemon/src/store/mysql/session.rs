//! Connections to one server.
//!
//! Owns making, setting up, reusing and giving up connections, and the one way in which a statement
//! is run: within the store's limits, against timeouts, and again after what may pass. Refuses to
//! build statements. Invariant: every session is read-only, holds nothing while it lies idle, and is
//! what it was set to; one in doubt is closed, never reused.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{
    BinaryProtocol, Column, Conn, Opts, OptsBuilder, QueryResult, Row, SslOpts, Value,
};
use tokio::time::timeout;

use super::request_error::RequestError;
use super::table::{quote, text};
use crate::model::Cost;
use crate::store::rate_limiter::{Permit, RateLimiter};
use crate::store::{MysqlSettings, Settings, StoreError, StoreErrorKind as Kind, Timeouts, Tls};

/// The first wait before another attempt; doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Prepared statements that a session keeps: the relations' scans and fetches, at each chunk size.
const STATEMENTS: usize = 128;
/// What a session is set to: all that changes what a question is answered, or what is held when it is.
/// Servers, their `init_connect` and proxies have defaults of their own. It is read back afterwards.
const SETUP: [&str; 6] = [
    "SET NAMES utf8mb4",
    // Ends what was begun before, too; a transaction would keep the tables that it has read.
    "SET SESSION autocommit = 0",
    "SET SESSION autocommit = 1",
    // No answer is cut short, and none refused for its size.
    "SET SESSION max_join_size = 18446744073709551615, sql_big_selects = 1, \
     sql_select_limit = 18446744073709551615, sql_safe_updates = 0, sql_auto_is_null = 0, \
     sql_quote_show_create = 1",
    // Dates that other modes refuse are compared as they are stored.
    "SET SESSION time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
];
/// What a session must have been set to, by variable.
const PINNED: [(&str, &str); 11] = [
    ("autocommit", "1"),
    ("sql_select_limit", "18446744073709551615"),
    ("sql_big_selects", "1"),
    ("sql_safe_updates", "0"),
    ("sql_auto_is_null", "0"),
    ("sql_quote_show_create", "1"),
    ("time_zone", "+00:00"),
    ("sql_mode", "ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION"),
    ("character_set_client", "utf8mb4"),
    ("character_set_connection", "utf8mb4"),
    ("character_set_results", "utf8mb4"),
];
/// What of this only MariaDB has: no rows as they were once.
const PINNED_MARIADB: [(&str, &str); 1] = [("system_versioning_asof", "DEFAULT")];
/// What only MySQL has: no copy in another engine.
const PINNED_MYSQL: [(&str, &str); 1] = [("use_secondary_engine", "0")];
/// The server's code for a variable that it does not have.
const NO_VARIABLE: u16 = 1193;
/// Where systems keep the certificates that they trust.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What becomes of the rows of a statement.
pub(super) trait Sink: Send {
    /// Forgets what a former attempt gave.
    fn restart(&mut self);
    /// The columns that the rows will have.
    fn head(&mut self, columns: &[Column]) -> Result<(), Kind>;
    /// Takes a row.
    fn row(&mut self, row: Row) -> Result<Pace, Kind>;
    /// What was read.
    fn cost(&self) -> Cost;
}

/// How reading goes on after a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// On to the next row.
    Go,
    /// A page is full: the time allowed for one begins anew.
    Page,
    /// Enough; the rest of the rows is not wanted.
    Enough,
}

/// Keeps all rows, for small answers.
#[derive(Default)]
pub(super) struct Collect(pub(super) Vec<Row>);

impl Sink for Collect {
    fn restart(&mut self) {
        self.0.clear();
    }

    fn head(&mut self, _columns: &[Column]) -> Result<(), Kind> {
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<Pace, Kind> {
        self.0.push(row);
        Ok(Pace::Go)
    }

    fn cost(&self) -> Cost {
        Cost { rows: self.0.len() as u64, requests: 1, ..Cost::default() }
    }
}

/// What is asked of the server.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    /// The relation, for messages.
    pub(super) relation: Option<&'a str>,
    /// What is being done, for messages.
    pub(super) doing: &'a str,
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
    /// Index entries that the server walks without returning rows; charged as rows.
    pub(super) walks: u64,
}

/// The connections of one store.
pub(super) struct Sessions {
    store: String,
    settings: MysqlSettings,
    timeouts: Timeouts,
    limiter: Arc<RateLimiter>,
    /// Sound and unused ones. With those in use never more than the limiter gives permits.
    idle: Mutex<Vec<Conn>>,
    jitter: AtomicU64,
}

/// A connection in use. Closed when dropped, unless it was given back.
struct Lease {
    conn: Option<Conn>,
    /// Whether it lay idle before: then the server may have closed it meanwhile.
    reused: bool,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        // Dropped within the runtime, the driver would first read what is left of a result from a
        // server that may never send it. Outside of it, the socket is closed at once.
        std::thread::scope(|scope| {
            scope.spawn(move || drop(conn));
        });
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Sessions {
    pub(super) fn new(
        settings: &Settings,
        mysql: &MysqlSettings,
        limiter: Arc<RateLimiter>,
    ) -> Self {
        Self {
            store: settings.name.clone(),
            settings: mysql.clone(),
            timeouts: settings.timeouts,
            limiter,
            idle: Mutex::new(Vec::new()),
            jitter: AtomicU64::new(u64::from(std::process::id())),
        }
    }

    pub(super) fn limiter(&self) -> &RateLimiter {
        &self.limiter
    }

    /// An error that names this store.
    pub(super) fn error(&self, relation: Option<&str>, kind: Kind) -> StoreError {
        RequestError::lasting(kind).tell(&self.store, relation)
    }

    pub(super) fn database(&self) -> &str {
        &self.settings.database
    }

    /// Runs a statement and collects its rows, which are few.
    pub(super) async fn rows(&self, ask: &Ask<'_>) -> Result<Vec<Row>, StoreError> {
        let mut rows = Collect::default();
        self.run(ask, &mut rows).await?;
        Ok(rows.0)
    }

    /// Runs a statement, and again after what may pass, until the store's patience is spent.
    pub(super) async fn run(&self, ask: &Ask<'_>, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let permit = self.limiter.enter().await;
        let mut last = None;
        let patience = self.timeouts.patience;
        let outcome = timeout(patience, self.tries(ask, sink, &permit, &mut last)).await;
        let error = match outcome {
            Ok(Ok(())) => {
                permit.charge(&cost(ask, sink));
                return Ok(());
            }
            Ok(Err(error)) => error,
            Err(_elapsed) => {
                permit.charge(&cost(ask, sink));
                last.unwrap_or_else(|| {
                    let doing = ask.doing.to_owned();
                    RequestError::passing(Kind::Timeout { doing, after: patience })
                })
            }
        };
        Err(error.tell(&self.store, ask.relation))
    }

    /// Whether the server answers a new session, besides those that the limiter counts, about a
    /// relation: what stands before a server may answer while that one does not.
    pub(super) async fn probe(&self, relation: &str) -> Result<(), StoreError> {
        let sql = format!("SELECT 1 FROM {}.{} LIMIT 1", quote(self.database()), quote(relation));
        let doing = "asking whether it answers";
        let ask = Ask { relation: Some(relation), doing, sql, params: Vec::new(), walks: 0 };
        let answered = async {
            let mut lease = self.connect().await?;
            let Some(conn) = lease.conn.as_mut() else { return Ok(()) };
            self.exchange(conn, &ask, &mut Collect::default()).await.map(|_sound| ())
        };
        answered.await.map_err(|error: RequestError| error.tell(&self.store, ask.relation))
    }

    async fn tries(
        &self,
        ask: &Ask<'_>,
        sink: &mut dyn Sink,
        permit: &Permit<'_>,
        last: &mut Option<RequestError>,
    ) -> Result<(), RequestError> {
        let mut wait = WAIT;
        loop {
            sink.restart();
            let (error, reused) = match self.attempt(ask, sink).await {
                Ok(()) => {
                    permit.served();
                    return Ok(());
                }
                Err(failed) => failed,
            };
            // What failed has cost the server as much as what did not.
            if !matches!(error.kind, Kind::Unreachable(_)) {
                permit.charge(&cost(ask, sink));
            }
            sink.restart();
            if !error.again {
                return Err(error);
            }
            if error.throttled {
                permit.throttled();
            }
            let lost = matches!(error.kind, Kind::Unreachable(_));
            *last = Some(error);
            if reused && lost {
                // What happened to one that lay idle has happened to the others.
                self.drop_idle();
            } else {
                tokio::time::sleep(self.jittered(wait)).await;
                wait = WAIT_MAX.min(wait * 2);
            }
        }
    }

    /// One attempt. With the error comes whether the connection had lain idle.
    async fn attempt(
        &self,
        ask: &Ask<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), (RequestError, bool)> {
        let mut lease = match self.take_idle() {
            Some(conn) => Lease { conn: Some(conn), reused: true },
            None => self.connect().await.map_err(|error| (error, false))?,
        };
        let reused = lease.reused;
        let Some(conn) = lease.conn.as_mut() else { return Ok(()) };
        let sound = self.exchange(conn, ask, sink).await.map_err(|error| (error, reused))?;
        if sound {
            self.give_back(lease);
        }
        Ok(())
    }

    /// Sends a statement and reads its rows. True if all were read.
    async fn exchange(
        &self,
        conn: &mut Conn,
        ask: &Ask<'_>,
        sink: &mut dyn Sink,
    ) -> Result<bool, RequestError> {
        let after = self.timeouts.read;
        let late =
            |_elapsed| RequestError::passing(Kind::Timeout { doing: ask.doing.to_owned(), after });
        let of = |error| RequestError::of(error, &self.place());
        let sent = conn.exec_iter(ask.sql.as_str(), ask.params.clone());
        let mut result = timeout(after, sent).await.map_err(late)?.map_err(of)?;
        sink.head(result.columns_ref())?;
        loop {
            let step = timeout(after, self.page(&mut result, sink)).await.map_err(late)??;
            match step {
                None => return Ok(true),
                Some(Pace::Enough) => return Ok(false),
                Some(Pace::Go | Pace::Page) => {}
            }
        }
    }

    /// Reads up to the end of a page; none: up to the end of the rows.
    async fn page(
        &self,
        result: &mut QueryResult<'_, '_, BinaryProtocol>,
        sink: &mut dyn Sink,
    ) -> Result<Option<Pace>, RequestError> {
        loop {
            let row =
                result.next().await.map_err(|error| RequestError::of(error, &self.place()))?;
            let Some(row) = row else { return Ok(None) };
            match sink.row(row)? {
                Pace::Go => {}
                pace @ (Pace::Page | Pace::Enough) => return Ok(Some(pace)),
            }
        }
    }

    /// A new session, set up and checked.
    async fn connect(&self) -> Result<Lease, RequestError> {
        let after = self.timeouts.connect;
        let opts = self.opts()?;
        let connected = timeout(after, async {
            let conn = Conn::new(opts).await?;
            let mut lease = Lease { conn: Some(conn), reused: false };
            if let Some(conn) = lease.conn.as_mut() {
                for statement in SETUP {
                    conn.query_drop(statement).await?;
                }
            }
            Ok(lease)
        });
        let late = |_elapsed| {
            let doing = format!("connecting to {}", self.place());
            RequestError::passing(Kind::Timeout { doing, after })
        };
        let mut lease: Lease =
            connected.await.map_err(late)?.map_err(|error| self.refused(error))?;
        if let Some(conn) = lease.conn.as_mut() {
            timeout(after, self.check(conn)).await.map_err(late)??;
        }
        Ok(lease)
    }

    /// Why there is no session. Servers refuse a user who must use TLS in the words of a wrong
    /// password.
    fn refused(&self, error: mysql_async::Error) -> RequestError {
        let mut error = RequestError::of(error, &self.place());
        if let (Kind::Denied(words), Tls::Disabled) = (&mut error.kind, &self.settings.tls) {
            words.push_str(
                "; this store has `tls = \"disabled\"`, and a user who must use TLS (REQUIRE SSL) is \
                 refused like this, too",
            );
        }
        error
    }

    /// Has the server end what we no longer wait for, and checks that the session is what it was set to.
    async fn check(&self, conn: &mut Conn) -> Result<(), RequestError> {
        let of = |error| RequestError::of(error, &self.place());
        let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(of)?;
        let mariadb = version.is_some_and(|version| version.contains("MariaDB"));
        let patience = self.timeouts.patience;
        let (names, own, limit) = if mariadb {
            let limit = format!("max_statement_time = {}", patience.as_secs_f64());
            (["tx_isolation", "tx_read_only"], &PINNED_MARIADB[..], limit)
        } else {
            let limit = format!("max_execution_time = {}", patience.as_millis());
            (["transaction_isolation", "transaction_read_only"], &PINNED_MYSQL[..], limit)
        };
        let locks = patience.as_secs().max(1);
        let limits = format!("SET SESSION lock_wait_timeout = {locks}, {limit}");
        conn.query_drop(limits).await.map_err(of)?;
        let mut expected: Vec<_> =
            PINNED.into_iter().chain(names.into_iter().zip(["READ-COMMITTED", "1"])).collect();
        for &(variable, value) in own {
            match conn.query_drop(format!("SET SESSION {variable} = {value}")).await {
                Ok(()) => expected.push((variable, value)),
                // An older server, whose answers it cannot change.
                Err(mysql_async::Error::Server(error)) if error.code == NO_VARIABLE => {}
                Err(error) => return Err(of(error)),
            }
        }
        let asked: Vec<_> = expected
            .iter()
            .map(|(variable, _)| format!("CAST(@@SESSION.{variable} AS CHAR)"))
            .collect();
        let question = format!("SELECT {}", asked.join(", "));
        let found: Option<Row> = conn.query_first(question).await.map_err(of)?;
        for (at, (variable, expected)) in expected.into_iter().enumerate() {
            let is = found.as_ref().and_then(|row| text(row, at));
            // Some servers show switches as words.
            let same = match is.as_deref() {
                Some("ON") => expected == "1",
                Some("OFF") => expected == "0",
                Some(other) => other == expected,
                None => false,
            };
            if !same {
                return Err(RequestError::lasting(Kind::Unfit(format!(
                    "the session has {variable} = {} though it was set to {expected}, so what it \
                     answers may not be all, or may keep locks; nothing is read. Look for a proxy \
                     between driftd and the server that changes sessions",
                    is.as_deref().unwrap_or("nothing")
                ))));
            }
        }
        Ok(())
    }

    fn opts(&self) -> Result<Opts, RequestError> {
        let settings = &self.settings;
        // Read for every connection, so that a rotated password is found.
        let password = settings.password.as_ref().map(crate::model::Secret::read).transpose();
        let password = password.map_err(|error| Kind::Denied(error.to_string()))?;
        let opts = OptsBuilder::default()
            .ip_or_hostname(settings.host.clone())
            .tcp_port(settings.port)
            .user(Some(settings.user.clone()))
            .pass(password)
            .db_name(Some(settings.database.clone()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            .stmt_cache_size(STATEMENTS)
            .ssl_opts(tls(&settings.tls)?);
        Ok(opts.into())
    }

    fn place(&self) -> String {
        format!("{}:{}", self.settings.host, self.settings.port)
    }

    fn take_idle(&self) -> Option<Conn> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, mut lease: Lease) {
        if let Some(conn) = lease.conn.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
        }
    }

    fn drop_idle(&self) {
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for conn in idle {
            drop(Lease { conn: Some(conn), reused: true });
        }
    }

    /// Half of `wait` and a part of the other half that differs from call to call.
    fn jittered(&self, wait: Duration) -> Duration {
        let count = self.jitter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (count ^ count >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 54;
        let part = u32::try_from(mixed).unwrap_or(0);
        wait / 2 + wait * part / (2 * 1_024)
    }
}

/// What an attempt cost so far.
fn cost(ask: &Ask<'_>, sink: &dyn Sink) -> Cost {
    let mut cost = sink.cost();
    cost.rows += ask.walks;
    cost
}

fn tls(tls: &Tls) -> Result<Option<SslOpts>, Kind> {
    let verified = |roots: Vec<PathBuf>| {
        SslOpts::default().with_root_certs(roots.into_iter().map(Into::into).collect())
    };
    Ok(match tls {
        Tls::Disabled => None,
        Tls::Required => Some(
            SslOpts::default()
                .with_danger_accept_invalid_certs(true)
                .with_danger_skip_domain_validation(true),
        ),
        Tls::Verified => {
            let roots = ROOTS.iter().map(PathBuf::from).find(|path| path.exists());
            // Without a list of the system's own, the driver's is used.
            let own = roots.is_some();
            Some(verified(roots.into_iter().collect()).with_disable_built_in_roots(own))
        }
        Tls::VerifiedBy(path) => {
            // The driver would name the error and not the file.
            std::fs::File::open(path).map_err(|error| {
                Kind::Unfit(format!(
                    "cannot read the certificate {}: {}",
                    path.display(),
                    error.kind()
                ))
            })?;
            Some(verified(vec![path.clone()]).with_disable_built_in_roots(true))
        }
    })
}
