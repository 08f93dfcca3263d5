//! The HTTP interface as a probe, a scraper and a hostile client meet it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use driftd::api::{Answer, Exchanged, Refused, Shared, Socket, SocketError, serve, serve_control};
use driftd::model::{DriftKind, Moment, PairingStatus};
use driftd::report::{EventSink, Extras, Identity, KeyExport, Report, Settings};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const SECOND: i64 = 1_000_000;

struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    now: Arc<AtomicI64>,
    report: Report,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start() -> Server {
    let settings = Settings {
        service: "driftd".to_owned(),
        otlp: None,
        clean_ratio: 0.0,
        slow: Duration::from_secs(10),
        traces_max: 10,
        events: EventSink::Journal,
        keys: KeyExport::Hmac,
        fields: Vec::new(),
    };
    let identity = Identity::new(&settings, "7f3a".to_owned(), [7; 32]);
    let report = Report::start(&settings, identity, &|_| None).unwrap();
    let now = Arc::new(AtomicI64::new(1_000 * SECOND));
    let clock = Arc::clone(&now);
    let unready = vec!["store `ddb` is being connected".to_owned()];
    let clock = Box::new(move || Moment(clock.load(Ordering::SeqCst)));
    let shared = Arc::new(Shared::new(clock, report.metrics(), unready));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = serve(listener, Arc::clone(&shared), async { stopped.await.unwrap_or_default() });
    #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
    let served = tokio::spawn(serving);
    Server { address, shared, now, report, stop, served }
}

/// The whole answer to a request with this first line.
async fn ask(address: SocketAddr, request: &str) -> String {
    answered(TcpStream::connect(address).await.unwrap(), request).await
}

async fn answered<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> String {
    let text = format!("{request} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_alive_while_the_engine_makes_progress() {
    let server = start().await;
    let live = || ask(server.address, "GET /livez");
    assert!(live().await.starts_with("HTTP/1.1 200 OK\r\n"));
    server.now.fetch_add(31 * SECOND, Ordering::SeqCst);
    let dead = live().await;
    assert!(dead.starts_with("HTTP/1.1 503 "), "{dead}");
    assert_eq!(body(&dead), "the engine has made no progress for 31 s\n");
    server.shared.beat(Moment(1_031 * SECOND));
    assert!(live().await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_when_nothing_is_missing_and_drift_changes_nothing() {
    let server = start().await;
    let answer = ask(server.address, "GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("content-type: application/json"));
    let json: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(json["reasons"][0], "store `ddb` is being connected");

    let drifted = PairingStatus {
        pairing: "users".to_owned(),
        open: [(DriftKind::Missing, 1_000_000)].into(),
        covered_since: Some(Moment(940 * SECOND)),
        ..PairingStatus::default()
    };
    server.shared.set_unready(Vec::new());
    server.shared.set_status(vec![drifted]);
    for path in ["/readyz", "/livez"] {
        let answer = ask(server.address, &format!("GET {path}")).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {answer}");
    }
    let status = ask(server.address, "GET /status").await;
    let json: serde_json::Value = serde_json::from_str(body(&status)).unwrap();
    assert_eq!(json["as_of"], "1970-01-01T00:16:40.000000Z");
    let users = &json["pairings"][0];
    assert_eq!(users["drift"]["open"]["missing"].to_string(), "1000000");
    assert_eq!(users["coverage_age_s"].to_string(), "60.0");
    assert_eq!(users["pass"]["began"], serde_json::Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_unknown_paths_are_answered_as_clients_expect() {
    let server = start().await;
    let status = PairingStatus { pairing: "users".to_owned(), ..PairingStatus::default() };
    server.report.metrics().observe(&[status], Extras::default(), Moment(5));
    let page = ask(server.address, "GET /metrics").await;
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert!(body(&page).contains("driftd_checks_total{driftd_pairing=\"users\"} 0\n"), "{page}");

    let head = ask(server.address, "HEAD /metrics").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && body(&head).is_empty(), "{head}");
    let unknown = ask(server.address, "GET /healthz").await;
    assert!(unknown.starts_with("HTTP/1.1 404 "), "{unknown}");
    for path in ["/livez", "/readyz", "/metrics", "/status"] {
        assert!(body(&unknown).contains(path), "{unknown}");
    }
    let mut half = TcpStream::connect(server.address).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    half.shutdown().await.unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    let write = ask(server.address, "POST /status").await;
    assert!(write.starts_with("HTTP/1.1 405 "), "{write}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_in_any_number_keep_nobody_from_an_answer() {
    let server = start().await;
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nx-slow: ").await.unwrap();
        slow.push(stream);
    }
    let answer = tokio::time::timeout(Duration::from_secs(30), ask(server.address, "GET /livez"));
    assert!(answer.await.unwrap().starts_with("HTTP/1.1 200 OK\r\n"));

    // Stopping does not wait for them either.
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(30), server.served).await.unwrap().unwrap();
    TcpStream::connect(server.address).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_is_asked_for_on_the_socket_alone_and_answered_when_it_is_done() {
    let server = start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    let (socket, file) = Socket::listen(&path).unwrap();
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::clone(&server.shared);
    #[expect(clippy::disallowed_methods, reason = "the test awaits it")]
    let served = tokio::spawn(serve_control(socket, shared, async {
        stopped.await.unwrap_or_default();
    }));
    let ask_socket =
        async |request: &str| answered(UnixStream::connect(&path).await.unwrap(), request).await;

    let early = ask_socket("POST /reload").await;
    assert!(early.starts_with("HTTP/1.1 409 "), "{early}");
    assert!(body(&early).contains("store `ddb` is being connected"), "{early}");
    let (asking, mut asked) = mpsc::channel(1);
    server.shared.set_reloads(Some(asking));
    let restart = vec!["abort.mode".to_owned()];
    let reasons = vec!["driftd.toml:3: no".to_owned()];
    for (answer, code, words) in [
        (Answer::Done(Exchanged { restart: restart.clone(), ..Exchanged::default() }), "200", ""),
        (Answer::busy("not now"), "409", "not now"),
        (Answer::Refused(Refused { busy: false, reasons, restart }), "422", "driftd.toml:3: no"),
    ] {
        let done = code == "200";
        let answering = async { asked.recv().await.unwrap().send(answer).unwrap() };
        let (page, ()) = tokio::join!(ask_socket("POST /reload"), answering);
        assert!(page.starts_with(&format!("HTTP/1.1 {code} ")), "{page}");
        let json: serde_json::Value = serde_json::from_str(body(&page)).unwrap();
        assert_eq!(json["reloaded"], done, "{json}");
        let message = json["message"].as_str().unwrap();
        assert!(message.contains(words), "{json}");
        let restart = message.ends_with("takes effect at a restart: abort.mode");
        assert_eq!(restart, code != "409", "{json}");
    }
    assert!(ask(server.address, "POST /reload").await.starts_with("HTTP/1.1 404 "));
    assert!(ask_socket("GET /livez").await.starts_with("HTTP/1.1 200 "));
    drop(file);
    assert!(!path.exists());
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn a_socket_takes_the_place_of_a_dead_one_and_of_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (_socket, file) = Socket::listen(&path).unwrap();
    UnixStream::connect(&path).await.unwrap();
    drop(file);

    std::fs::write(&path, "precious").unwrap();
    let refused = Socket::listen(&path).unwrap_err();
    assert!(matches!(refused, SocketError::InTheWay { .. }), "{refused}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

    let long = directory.path().join("x".repeat(120));
    let refused = Socket::listen(&long).unwrap_err().to_string();
    assert!(refused.contains("at most 107; give `journal.path` a shorter directory"), "{refused}");
    let nowhere = Socket::listen(&directory.path().join("no/control.sock")).unwrap_err();
    assert!(matches!(nowhere, SocketError::System { .. }), "{nowhere}");
}
