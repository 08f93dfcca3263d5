//! `driftd reload`.
//!
//! Owns asking the daemon over its control socket, and printing what it answers. Refuses to reload
//! anything itself. Invariant: it ends with 0 only when the daemon said that it has reloaded.

use std::io;
use std::path::Path;

use axum::body::{Body, to_bytes};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::cli::output::Output;
use crate::cli::{CONFIGURATION, CliError, JournalPath, SAME, UNTOLD};
use crate::journal;

/// What an answer may hold: names and digests.
const ANSWER_BYTES: usize = 4 << 20;

/// Asks the daemon to reload, and waits until it has.
pub(super) async fn reload(journal: JournalPath, output: &Output) -> Result<u8, CliError> {
    let socket = journal::control_socket(&journal.resolve()?);
    let body = ask(&socket).await.map_err(|error| unanswered(&socket, &error))?;
    let answer: serde_json::Value = serde_json::from_slice(&body)
        .map_err(|error| unanswered(&socket, &io::Error::other(error)))?;
    let done = answer["reloaded"] == true;
    let message = answer["message"].as_str().unwrap_or_default();
    if journal.json {
        output.result(&format!("{answer:#}"))?;
    } else if done {
        output.result(message)?;
    } else {
        output.note(&format!("error: {message}"));
    }
    Ok(match (done, answer["busy"] == true) {
        (true, _) => SAME,
        // As it is, it may well be taken at another time.
        (false, true) => UNTOLD,
        (false, false) => CONFIGURATION,
    })
}

async fn ask(socket: &Path) -> io::Result<Vec<u8>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let request = Request::post("/reload").header("host", "driftd").body(Body::empty());
    let request = request.map_err(io::Error::other)?;
    let answered = async move {
        let answer = sender.send_request(request).await.map_err(io::Error::other)?;
        let body = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES).await;
        body.map_err(io::Error::other)
    };
    // The connection ends with the answer; alone it has nothing to say.
    let (_, answer) = tokio::join!(connection, answered);
    Ok(answer?.to_vec())
}

/// Nobody answers: why, as far as it shows.
fn unanswered(socket: &Path, error: &io::Error) -> CliError {
    let shown = socket.display();
    let kind = error.kind();
    if kind == io::ErrorKind::InvalidInput {
        return CliError::Usage(format!(
            "the control socket's path {shown} is longer than the system takes; give \
             `journal.path` a shorter directory, and until then reload by SIGHUP"
        ));
    }
    CliError::NoDaemon(
        if matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) {
            format!(
                "no daemon listens at {shown}; start it, or name its journal with --journal if \
             `journal.path` was changed since it was started"
            )
        } else if kind == io::ErrorKind::PermissionDenied {
            format!(
                "the daemon's socket {shown} is not for this user: {error}; ask as the user that the \
             daemon runs as, or as root"
            )
        } else {
            format!(
                "the daemon at {shown} did not answer: {error}; its log says what became of the reload"
            )
        },
    )
}
