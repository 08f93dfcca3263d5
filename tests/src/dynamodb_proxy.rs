//! Faults in front of a DynamoDB API.
//!
//! Owns an HTTP proxy that asks a rule what to do with every call: answer as a server in trouble
//! would, or hand the call on. Refuses to know the store under test. Invariant: what the rule does
//! not touch arrives unchanged, and every call is counted.

#![expect(clippy::disallowed_methods, reason = "a proxy of a test is a task of its own")]
#![expect(clippy::unwrap_used, reason = "a test whose proxy fails has failed")]

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::{Router, serve};
use futures::stream;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

/// A proxy. It ends with the runtime of its test.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub endpoint: String,
    shared: Arc<Shared>,
}

/// A call that arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// `Scan`, `BatchGetItem`, ...
    pub operation: String,
    /// Its JSON.
    pub body: Value,
    /// How many calls of this operation came before.
    pub before: usize,
    /// The access key that signed it.
    pub access_key: String,
}

/// What becomes of a call.
#[derive(Clone)]
pub enum Action {
    /// It is handed on.
    Forward,
    /// It is handed to another endpoint: one that is behind, for stale reads.
    To(String),
    /// It is handed on after a while.
    Delay(Duration),
    /// It is never answered.
    Hang,
    /// It is answered with this status and error code.
    Fail(u16, &'static str, &'static str),
    /// It is answered with this status and text.
    Say(u16, &'static str),
    /// It is handed on, and the answer ends in the middle.
    Cut,
    /// The keys of a batch for which this holds are left unprocessed.
    Unprocessed(Arc<dyn Fn(&Value) -> bool + Send + Sync>),
}

impl Action {
    /// The answer of a table that is asked too much.
    #[must_use]
    pub const fn throttle() -> Self {
        Self::Fail(
            400,
            "ProvisionedThroughputExceededException",
            "The level of configured provisioned throughput for the table was exceeded.",
        )
    }
}

type Rule = Box<dyn Fn(&Call) -> Action + Send + Sync>;

struct Shared {
    upstream: String,
    rule: Mutex<Rule>,
    calls: Mutex<Vec<Call>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy in front of `upstream` that hands everything on.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start(upstream: &str) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            rule: Mutex::new(Box::new(|_| Action::Forward)),
            calls: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { serve(listener, router).await });
        Self { endpoint, shared }
    }

    /// From now on, `rule` says what becomes of calls.
    ///
    /// # Panics
    /// If a rule panicked before.
    pub fn rule(&self, rule: impl Fn(&Call) -> Action + Send + Sync + 'static) {
        *self.shared.rule.lock().unwrap() = Box::new(rule);
    }

    /// The calls of `operation` that arrived.
    ///
    /// # Panics
    /// If a rule panicked before.
    #[must_use]
    pub fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.shared.calls.lock().unwrap();
        calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let headers = request.headers().clone();
    let bytes = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let action = {
        let call = shared.call(&headers, &bytes);
        let action = (shared.rule.lock().unwrap())(&call);
        shared.calls.lock().unwrap().push(call);
        action
    };
    match action {
        Action::Forward => forward(&shared.upstream, headers, bytes).await,
        Action::To(endpoint) => forward(&endpoint, headers, bytes).await,
        Action::Delay(time) => {
            tokio::time::sleep(time).await;
            forward(&shared.upstream, headers, bytes).await
        }
        Action::Hang => std::future::pending().await,
        Action::Fail(status, code, words) => {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
            respond(status, json!({ "__type": kind, "message": words }).to_string())
        }
        Action::Say(status, words) => respond(status, words.to_owned()),
        Action::Cut => cut(forward(&shared.upstream, headers, bytes).await).await,
        Action::Unprocessed(left) => unprocessed(&shared.upstream, headers, &bytes, &*left).await,
    }
}

impl Shared {
    fn call(&self, headers: &HeaderMap, bytes: &Bytes) -> Call {
        let text = |name: &str| {
            headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
        };
        let operation = text("x-amz-target").rsplit('.').next().unwrap_or_default().to_owned();
        let access_key = text("authorization");
        let access_key = access_key.split_once("Credential=").map_or("", |(_, rest)| rest);
        let calls = self.calls.lock().unwrap();
        Call {
            before: calls.iter().filter(|call| call.operation == operation).count(),
            access_key: access_key.split('/').next().unwrap_or_default().to_owned(),
            operation,
            body: serde_json::from_slice(bytes).unwrap_or_default(),
        }
    }
}

fn respond(status: u16, body: String) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
        .body(Body::from(body))
        .unwrap()
}

async fn forward(endpoint: &str, mut headers: HeaderMap, body: Bytes) -> Response {
    let address = endpoint.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    headers.insert(header::HOST, address.parse().unwrap());
    headers.remove(header::CONTENT_LENGTH);
    let mut request = Request::post("/").body(Body::from(body)).unwrap();
    *request.headers_mut() = headers;
    let response = sender.send_request(request).await.unwrap();
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(header::TRANSFER_ENCODING);
    Response::from_parts(parts, Body::new(body))
}

/// The first half of an answer whose length says that it is whole.
async fn cut(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let whole = to_bytes(body, usize::MAX).await.unwrap();
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    let half = whole.slice(..whole.len() / 2);
    let end = Err(std::io::Error::other("cut"));
    Response::from_parts(parts, Body::from_stream(stream::iter([Ok(half), end])))
}

async fn unprocessed(
    upstream: &str,
    headers: HeaderMap,
    body: &Bytes,
    left: &(dyn Fn(&Value) -> bool + Send + Sync),
) -> Response {
    let mut request: Value = serde_json::from_slice(body).unwrap();
    let tables = request["RequestItems"].as_object_mut().unwrap();
    let (name, table) = tables.iter_mut().next().unwrap();
    let name = name.clone();
    let keys = std::mem::take(table["Keys"].as_array_mut().unwrap());
    let (moved, kept): (Vec<_>, Vec<_>) = keys.into_iter().partition(left);
    let mut answer = if kept.is_empty() {
        json!({ "Responses": { name.as_str(): [] }, "UnprocessedKeys": {} })
    } else {
        table["Keys"] = Value::Array(kept);
        let response = forward(upstream, headers, request.to_string().into()).await;
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    if !moved.is_empty() {
        answer["UnprocessedKeys"][name]["Keys"] = Value::Array(moved);
    }
    respond(200, answer.to_string())
}
