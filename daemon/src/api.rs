//! driftd over HTTP: is it alive, is it ready, what are its metrics, how far has it come; and the
//! local control socket.
//!
//! Owns the paths and their answers. Refuses state: everything it says is in [`Shared`], which `run`
//! owns. Invariant: drift never makes the daemon unhealthy, because the orchestrator would restart the
//! witness; and no client, slow or many, and no answer that panics can keep others from an answer.

mod control;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

pub use control::{
    Answer, Asked, Exchanged, PairingChange, PluginChange, Refused, Socket, SocketError,
    SocketFile, serve_control,
};

use crate::model::{Moment, Outage, PairingStatus, StoreStates};
use crate::report::form::rfc3339;
use crate::report::{Metrics, panics, status};

/// The engine's loop is dead when its heart has not beaten for so long.
pub const HEARTBEAT_MAX: Duration = Duration::from_secs(30);
/// From accept to the last byte of the answer.
const CONNECTION_MAX: Duration = Duration::from_secs(10);
/// Connections at once; beyond, the oldest makes room.
const CONNECTIONS_MAX: usize = 64;
/// Rest after an accept that failed because something ran out.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// What `run` shows: it writes, the api reads.
pub struct Shared {
    clock: Box<dyn Fn() -> Moment + Send + Sync>,
    metrics: Metrics,
    heartbeat: AtomicI64,
    unready: Mutex<Vec<String>>,
    status: Mutex<Vec<PairingStatus>>,
    stores: Mutex<StoreStates>,
    /// Takes what is asked for over the control socket; none while nothing can be.
    asking: Mutex<Option<mpsc::Sender<Asked>>>,
}

impl Shared {
    /// Not ready yet, because of `unready`, and alive since now. `clock` is the clock of `run`.
    #[must_use]
    pub fn new(
        clock: Box<dyn Fn() -> Moment + Send + Sync>,
        metrics: Metrics,
        unready: Vec<String>,
    ) -> Self {
        let heartbeat = AtomicI64::new(clock().0);
        let (unready, status, asking) = (Mutex::new(unready), Mutex::default(), Mutex::default());
        let stores = Mutex::default();
        Self { clock, metrics, heartbeat, unready, status, stores, asking }
    }

    /// The engine's loop made progress.
    pub fn beat(&self, now: Moment) {
        self.heartbeat.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Why driftd is not ready: stores that are being connected, a shutdown under way. Empty: ready.
    /// The reasons name stores, never secrets.
    pub fn set_unready(&self, reasons: Vec<String>) {
        *self.unready.lock().unwrap_or_else(PoisonError::into_inner) = reasons;
    }

    /// Who reloads when it is asked for; none: nobody now, for the reasons of `set_unready`.
    pub fn set_reloads(&self, asking: Option<mpsc::Sender<Asked>>) {
        *self.asking.lock().unwrap_or_else(PoisonError::into_inner) = asking;
    }

    /// How stores stand.
    pub fn set_stores(&self, stores: StoreStates) {
        *self.stores.lock().unwrap_or_else(PoisonError::into_inner) = stores;
    }

    fn stores(&self) -> StoreStates {
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How far pairings have come.
    pub fn set_status(&self, status: Vec<PairingStatus>) {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("heartbeat", &self.heartbeat).finish_non_exhaustive()
    }
}

/// Answers requests until `shutdown`. Connections that are open then are closed.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>, shutdown: impl Future<Output = ()>) {
    let router = router(shared);
    let mut connections = Connections::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.open(stream, router.clone(), CONNECTION_MAX),
                Err(error) => rest_after(&error).await,
            },
            Some(_ended) = connections.running.join_next() => {}
        }
    }
}

/// What is wrong with one client is over; what ran out needs a moment.
async fn rest_after(error: &io::Error) {
    let own = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !own {
        tokio::time::sleep(ACCEPT_REST).await;
    }
}

/// Connections under way; they end with this.
#[derive(Default)]
struct Connections {
    running: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Connections {
    fn open<S>(&mut self, stream: S, router: Router, longest: Duration)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.oldest_first.retain(|connection| !connection.is_finished());
        while self.oldest_first.len() >= CONNECTIONS_MAX {
            self.oldest_first.pop_front().inspect(AbortHandle::abort);
        }
        let handle = self.running.spawn(async move {
            let service = TowerToHyperService::new(router);
            // One request each: so one limit covers reading it, answering it, and being idle.
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                // A client may say that it has asked all before it has the answer.
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            let answered = panics::caught_in(tokio::time::timeout(longest, connection)).await;
            match answered {
                // A client that went away, or was too slow, is its own affair.
                Ok(_ended) => {}
                Err(panicked) => tracing::error!(
                    target: "driftd", "driftd itself failed to answer a request: {panicked}"
                ),
            }
        });
        self.oldest_first.push_back(handle);
    }
}

/// The paths, with what they say.
const PATHS: &str = "/livez   200 while driftd works, else 503\n\
                     /readyz  200 when it has begun, else 503; drift, and stores that are down, \
                     change nothing\n\
                     /metrics metrics in the text format of Prometheus\n\
                     /status  how far pairings have come, in JSON\n";

/// What may be read, wherever it is served.
fn paths() -> Router<Arc<Shared>> {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/status", get(status_page))
}

fn router(shared: Arc<Shared>) -> Router {
    paths()
        .fallback(|| async {
            text(StatusCode::NOT_FOUND, format!("no such path; there are\n{PATHS}"))
        })
        .method_not_allowed_fallback(|| async {
            text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned())
        })
        .with_state(shared)
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let silent = (shared.clock)().since(Moment(shared.heartbeat.load(Ordering::Acquire)));
    if silent <= HEARTBEAT_MAX {
        return text(StatusCode::OK, "ok\n".to_owned());
    }
    let reason = format!("the engine has made no progress for {} s\n", silent.as_secs());
    text(StatusCode::SERVICE_UNAVAILABLE, reason)
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let reasons = shared.unready.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let ready = reasons.is_empty();
    // A restart would mend no store, and while it is out nobody would say so.
    let stores = shared.stores();
    let down: Vec<String> = stores
        .values()
        .flatten()
        .map(|Outage { store, since, what, remedy, .. }| {
            format!("store `{store}` is down since {}: {what}; {remedy}", rfc3339(*since))
        })
        .collect();
    let body = serde_json::json!({ "ready": ready, "reasons": reasons, "down": down });
    let body = body.to_string();
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, body)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.metrics.render() {
        Ok(page) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (StatusCode::OK, kind, page).into_response()
        }
        Err(reason) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
    }
}

async fn status_page(State(shared): State<Arc<Shared>>) -> Response {
    let now = (shared.clock)();
    let pairings = shared.status.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let stores = shared.stores();
    json(StatusCode::OK, status::render(&pairings, stores.values().flatten(), now) + "\n")
}

fn text(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

fn json(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_panics_ends_its_own_connection_only() {
        async fn panicking() -> Response {
            panic!("secret")
        }
        let router = Router::new()
            .route("/metrics", get(panicking))
            .route("/livez", get(|| async { text(StatusCode::OK, "ok".to_owned()) }));
        let mut connections = Connections::default();
        for (path, answer) in [("/metrics", ""), ("/livez", "200 OK"), ("/metrics", "")] {
            let (mut client, server) = tokio::io::duplex(1 << 10);
            connections.open(server, router.clone(), CONNECTION_MAX);
            client.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
            let mut answered = String::new();
            client.read_to_string(&mut answered).await.unwrap();
            assert!(answered.contains(answer) && answered.is_empty() == answer.is_empty());
            assert!(connections.running.join_next().await.unwrap().is_ok());
        }
    }
}
