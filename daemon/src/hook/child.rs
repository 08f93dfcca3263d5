//! One run of a hook's program, from start to end.
//!
//! Owns the child process, what it is given, how it is ended and what is kept of its output. Refuses
//! to run anything a second time. Invariant: neither a child that does not read nor one that floods
//! its output can hold up the daemon, and after its timeout no process of its group is left.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{Seek as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use command_fds::CommandFdExt as _;
use futures::FutureExt as _;
use futures::future::FusedFuture;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use crate::hook::Settings;
use crate::hook::lock::Held;

/// How much of each output stream is kept: its last bytes.
const TAIL_BYTES: usize = 4 << 10;
/// How long a group has between being asked to end and being ended.
const GRACE: Duration = Duration::from_secs(2);
/// How often it is looked whether it has ended.
const POLL: Duration = Duration::from_millis(20);
/// How long output is read on after the child has ended; what it left running may hold the pipe open
/// for ever.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How a run of a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookEnd {
    /// How.
    pub ending: Ending,
    /// The end of what it wrote to standard output.
    pub stdout: String,
    /// The end of what it wrote to standard error.
    pub stderr: String,
}

/// How a run can end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With exit code 0.
    Succeeded,
    /// With another exit code.
    Failed(i32),
    /// By a signal that driftd did not send.
    Killed(i32),
    /// It took longer than its timeout, and was killed.
    TimedOut(Duration),
    /// It could not be started: why, and what to do.
    NotStarted(String),
    /// A run that an earlier daemon began goes on, in this process if it is known.
    Occupied(Option<u32>),
    /// The system does not say how it ended.
    Unknown(String),
}

impl HookEnd {
    /// Whether it succeeded.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self.ending, Ending::Succeeded)
    }

    /// Whether it ended by itself.
    pub(super) const fn is_known(&self) -> bool {
        matches!(self.ending, Ending::Succeeded | Ending::Failed(_) | Ending::Killed(_))
    }
}

impl From<Ending> for HookEnd {
    fn from(ending: Ending) -> Self {
        Self { ending, stdout: String::new(), stderr: String::new() }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Succeeded => f.write_str("succeeded"),
            Self::Failed(code) => write!(f, "failed with exit code {code}"),
            Self::Killed(signal) => write!(f, "was ended by signal {signal}"),
            Self::TimedOut(timeout) => {
                write!(f, "was killed because it took longer than its timeout of {timeout:?}")
            }
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
            Self::Occupied(pid) => {
                f.write_str("was not started: an earlier run of it has not ended")?;
                match pid {
                    Some(pid) => write!(f, "; see to process {pid} and what it started"),
                    None => f.write_str("; see to the processes that it started"),
                }
            }
            Self::Unknown(why) => write!(f, "ended, but the system does not say how: {why}"),
        }
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ending.fmt(f)?;
        if !self.succeeded() && !self.stderr.is_empty() {
            write!(f, "; its last words: {}", self.stderr)?;
        }
        Ok(())
    }
}

/// Starts the program in a process group of its own.
pub(super) fn start(
    settings: &Settings,
    program: &Path,
    environment: &BTreeMap<String, String>,
    payload: &[u8],
    held: &Held,
) -> Result<Child, String> {
    let stdin = input(payload).map_err(|error| format!("no memory for its input: {error}"))?;
    let lock = held.share().map_err(|error| format!("its lock cannot be shared: {error}"))?;
    let mut command = Command::new(program);
    command
        .args(settings.command.iter().skip(1))
        .env_clear()
        .envs(environment)
        .current_dir(settings.directory.as_deref().unwrap_or_else(|| Path::new("/")))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .as_std_mut()
        .preserved_fds(vec![lock]);
    command.spawn().map_err(|error| {
        let program = program.display();
        format!(
            "program `{program}` was refused by the system: {error}; a script needs a first line \
             such as `#!/bin/sh`, and this user must be allowed to run it"
        )
    })
}

/// The payload as a file in memory: unlike a pipe it is there as a whole also when the daemon is killed,
/// and does not mind when nobody reads it.
fn input(payload: &[u8]) -> std::io::Result<File> {
    let memory = rustix::fs::memfd_create("event", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memory);
    file.write_all(payload)?;
    file.rewind()?;
    Ok(file)
}

/// Waits for the child's end; ends it when `timeout` is over.
pub(super) async fn finish(mut child: Child, timeout: Duration) -> HookEnd {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let pipes = (child.stdout.take(), child.stderr.take());
    let ending = {
        let read = async { tokio::join!(tail(pipes.0, &mut stdout), tail(pipes.1, &mut stderr)) };
        let mut read = pin!(read.map(|((), ())| ()).fuse());
        let ended = beside(tokio::time::timeout(timeout, child.wait()), read.as_mut()).await;
        let ending = match ended {
            Ok(Ok(status)) => ending(status),
            Ok(Err(error)) => Ending::Unknown(error.to_string()),
            Err(_elapsed) => {
                beside(end(&mut child), read.as_mut()).await;
                Ending::TimedOut(timeout)
            }
        };
        if !read.is_terminated() {
            // Cut short where something still holds the pipes; what was read is kept.
            drop(tokio::time::timeout(LAST_WORDS, read).await);
        }
        ending
    };
    HookEnd { ending, stdout: words(&stdout), stderr: words(&stderr) }
}

/// Does `main` while `other` goes on.
async fn beside<T>(
    main: impl Future<Output = T>,
    mut other: Pin<&mut impl FusedFuture<Output = ()>>,
) -> T {
    let mut main = pin!(main);
    loop {
        tokio::select! {
            done = &mut main => return done,
            () = other.as_mut(), if !other.is_terminated() => {}
        }
    }
}

fn ending(status: ExitStatus) -> Ending {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ending::Succeeded,
        (Some(code), _) => Ending::Failed(code),
        (None, Some(signal)) => Ending::Killed(signal),
        (None, None) => Ending::Unknown(status.to_string()),
    }
}

/// Ends the child's whole group: asks, then does not ask.
async fn end(child: &mut Child) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    if let Some(group) = pid {
        signal(group, Signal::TERM);
        drop(tokio::time::timeout(GRACE, has_ended(group)).await);
        // The child is not waited for yet, so its number cannot stand for another group by now.
        signal(group, Signal::KILL);
    }
    drop(child.wait().await);
}

fn signal(group: Pid, signal: Signal) {
    // A group that is gone already is what was wanted.
    rustix::process::kill_process_group(group, signal).unwrap_or_default();
}

/// Waits until the child has ended, and leaves it to be waited for.
async fn has_ended(child: Pid) {
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = rustix::process::waitid(WaitId::Pid(child), look) {
        tokio::time::sleep(POLL).await;
    }
}

/// Reads to the end and keeps the last bytes.
async fn tail(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; TAIL_BYTES];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let surplus = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..surplus);
    }
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}
