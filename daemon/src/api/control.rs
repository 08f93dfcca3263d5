//! The local control socket: what may be asked of a running daemon by whoever owns its journal.
//!
//! Owns the socket's file, its paths over HTTP, and the form and the words of their answers. Refuses
//! to carry anything out: it hands on what is asked and waits for the answer. Invariant: nobody but
//! the daemon's own user, and root, can connect; what changes the daemon is on no other address.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::Serialize;
use tokio::net::{UnixListener, UnixSocket};
use tokio::sync::oneshot;

use super::{Connections, PATHS, Shared, json, paths, rest_after, text};

/// What the system takes of a socket's path; one byte more is its end.
const PATH_BYTES: usize = 107;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;
/// From accept to the last byte of the answer: a reload waits for the checks that are in flight.
const CONNECTION_MAX: Duration = Duration::from_secs(3_600);

/// Where a reload that was asked for answers.
pub type Asked = oneshot::Sender<Answer>;

/// What became of a reload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done(Exchanged),
    /// Nothing has changed.
    Refused(Refused),
}

/// What a reload exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exchanged {
    /// The file that was read.
    pub file: String,
    /// The plugins.
    pub plugins: Vec<PluginChange>,
    /// The pairings that plugins map.
    pub pairings: Vec<PairingChange>,
    /// What else is other than at start, by its name in the file.
    pub restart: Vec<String>,
}

/// What became of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginChange {
    /// Its name.
    pub plugin: String,
    /// Its digest before.
    pub was: String,
    /// Its digest now.
    pub digest: String,
    /// Whether its code, configuration or limits are others.
    pub changed: bool,
}

/// What became of a pairing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairingChange {
    /// Its name.
    pub pairing: String,
    /// Its mapping's identity before.
    pub was: String,
    /// Its mapping's identity now.
    pub identity: String,
    /// Whether that is another, so that everything is compared anew.
    pub changed: bool,
}

/// Why nothing was exchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Whether it may well succeed at another time, as it is.
    pub busy: bool,
    /// Why, in the words of a start.
    pub reasons: Vec<String>,
    /// What else is other than at start, by its name in the file, as far as it could be read.
    pub restart: Vec<String>,
}

impl Answer {
    /// It may be asked again later.
    #[must_use]
    pub fn busy(reason: &str) -> Self {
        Self::Refused(Refused { busy: true, reasons: vec![reason.to_owned()], restart: Vec::new() })
    }

    const fn code(&self) -> StatusCode {
        match self {
            Self::Done(_) => StatusCode::OK,
            Self::Refused(Refused { busy: true, .. }) => StatusCode::CONFLICT,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
        }
    }

    fn body(&self) -> String {
        let (reloaded, answer) = match self {
            Self::Done(done) => (true, serde_json::to_value(done)),
            Self::Refused(refused) => (false, serde_json::to_value(refused)),
        };
        let mut body = answer.expect("strings, flags and lists of them");
        body["reloaded"] = reloaded.into();
        body["message"] = self.to_string().into();
        format!("{body}\n")
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restart = match self {
            Self::Done(done) => {
                write!(f, "{done}")?;
                &done.restart
            }
            Self::Refused(Refused { reasons, restart, .. }) => {
                write!(f, "not reloaded, everything goes on as it was:\n{}", reasons.join("\n"))?;
                restart
            }
        };
        if !restart.is_empty() {
            write!(f, "\nchanged in the file, takes effect at a restart: {}", restart.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Exchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, plugins, pairings, restart: _ } = self;
        write!(f, "reloaded {file}")?;
        let short = |digest: &str| digest.get(..12).unwrap_or(digest).to_owned();
        for PluginChange { plugin, was, digest, changed } in plugins {
            write!(f, "\nplugin {plugin}: ")?;
            match (changed, was == digest) {
                (false, _) => f.write_str("unchanged")?,
                (true, true) => f.write_str("other configuration or limits")?,
                (true, false) => write!(f, "{} -> {}", short(was), short(digest))?,
            }
        }
        for PairingChange { pairing, was, identity, changed } in pairings {
            write!(f, "\npairing {pairing}: ")?;
            if *changed {
                write!(
                    f,
                    "mapping {was} -> {identity}, its findings stand until they are judged anew, and everything is compared anew"
                )?;
            } else {
                f.write_str("the mapping is the same, it goes on")?;
            }
        }
        f.write_char('.')
    }
}

/// The control socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Its path is longer than the system takes.
    #[error(
        "the control socket {} would have a path of {bytes} bytes, and the system takes at most \
         {PATH_BYTES}; give `journal.path` a shorter directory", path.display()
    )]
    TooLong {
        /// Its path.
        path: PathBuf,
        /// How long that is.
        bytes: usize,
    },
    /// There is something else in its place.
    #[error("there is something at {}, where the control socket would be, that is no socket; move it away", path.display())]
    InTheWay {
        /// Its path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("the control socket {} cannot be made; let driftd write to its directory", path.display())]
    System {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The socket, which listens.
#[derive(Debug)]
pub struct Socket(UnixListener);

/// The file of a socket, which is removed with this. To be dropped while the journal's lock is still
/// held: after that, another daemon's socket may be there.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // One that stays behind is replaced by the next daemon.
        std::fs::remove_file(&self.0).ok();
    }
}

impl Socket {
    /// Listens at `path`, in the place of whoever did before. The caller holds the lock of the journal
    /// that it lies beside, so that is nobody who lives.
    ///
    /// # Errors
    /// If the path is too long or taken by something else, or the system refuses.
    pub fn listen(path: &Path) -> Result<(Self, SocketFile), SocketError> {
        let bytes = path.as_os_str().as_bytes().len();
        if bytes > PATH_BYTES {
            return Err(SocketError::TooLong { path: path.to_owned(), bytes });
        }
        let system = |source| SocketError::System { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                std::fs::remove_file(path).map_err(system)?;
            }
            Ok(_) => return Err(SocketError::InTheWay { path: path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(system(error)),
        }
        let socket = UnixSocket::new_stream().map_err(system)?;
        socket.bind(path).map_err(system)?;
        let file = SocketFile(path.to_owned());
        // Nobody can connect before it listens, whatever the mode was until now.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(system)?;
        let listener = socket.listen(BACKLOG).map_err(system)?;
        Ok((Self(listener), file))
    }
}

/// Answers on the control socket until `shutdown`. Connections that are open then are closed.
pub async fn serve_control(
    socket: Socket,
    shared: Arc<Shared>,
    shutdown: impl Future<Output = ()>,
) {
    let router = router(shared);
    let mut connections = Connections::default();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            accepted = socket.0.accept() => match accepted {
                Ok((stream, _)) => connections.open(stream, router.clone(), CONNECTION_MAX),
                Err(error) => rest_after(&error).await,
            },
            Some(_ended) = connections.running.join_next() => {}
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    paths()
        .route("/reload", post(reload))
        .fallback(|| async {
            let words = format!("no such path; there are\nPOST /reload\n{PATHS}");
            text(StatusCode::NOT_FOUND, words)
        })
        .method_not_allowed_fallback(|| async {
            let words = "POST for /reload, GET and HEAD for all else\n".to_owned();
            text(StatusCode::METHOD_NOT_ALLOWED, words)
        })
        .with_state(shared)
}

async fn reload(State(shared): State<Arc<Shared>>) -> Response {
    let answer = asked(&shared).await;
    json(answer.code(), answer.body())
}

async fn asked(shared: &Shared) -> Answer {
    let asking = shared.asking.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(asking) = asking else {
        let reasons = shared.unready.lock().unwrap_or_else(PoisonError::into_inner).join("; ");
        let reasons =
            if reasons.is_empty() { "nothing can be reloaded now".to_owned() } else { reasons };
        return Answer::busy(&format!("{reasons}; a restart takes the file as it is"));
    };
    let (answer, answered) = oneshot::channel();
    if asking.try_send(answer).is_err() {
        return Answer::busy("too many reloads wait already");
    }
    answered.await.unwrap_or_else(|_gone| Answer::busy("driftd has stopped"))
}
