//! The lock that keeps a second copy of a hook from running.
//!
//! Owns the lock file of a hook's name, beside the journal. Refuses to end a process: one that it does
//! not know may be doing what it must. Invariant: the lock is held as long as any process holds the
//! descriptor that the child was given.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::hook::{Ending, Settings};

/// How often a held lock is tried.
const POLL: Duration = Duration::from_millis(200);

/// The held lock of a hook's name.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// Another descriptor of the same lock, for the child.
    pub(super) fn share(&self) -> std::io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }

    /// Writes into the lock file which process holds it, for people. Nothing depends on it.
    pub(super) fn describe(&self, pid: Option<u32>) {
        let mut file = &self.0;
        let text = pid.map_or_else(String::new, |pid| format!("{pid}\n"));
        drop(file.set_len(0).and_then(|()| file.write_all(text.as_bytes())));
    }

    /// Ends the lock, whoever else still has a descriptor of it.
    pub(super) fn release(self) {
        // Closing it, which comes next, does the same where nobody else has one.
        rustix::fs::flock(&self.0, FlockOperation::Unlock).unwrap_or_default();
    }
}

/// Waits until no run of the hook goes on, and keeps further ones from beginning.
///
/// # Errors
/// If one still goes on after `patience`, or the lock file cannot be used.
pub async fn wait_for_predecessor(
    settings: &Settings,
    journal: &Path,
    patience: Duration,
) -> Result<Held, Ending> {
    let path = path(journal, &settings.name);
    let unusable = |error: std::io::Error| {
        Ending::NotStarted(format!("its lock file `{}` cannot be used: {error}", path.display()))
    };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(unusable)?;
    let locked = tokio::time::timeout(patience, async {
        loop {
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(POLL).await,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    });
    match locked.await {
        Ok(Ok(())) => Ok(Held(file)),
        Ok(Err(error)) => Err(unusable(error)),
        Err(_elapsed) => {
            let pid = std::fs::read_to_string(&path).ok();
            Err(Ending::Occupied(pid.and_then(|pid| pid.trim().parse().ok())))
        }
    }
}

/// `<journal>.hook-<name>.lock`; what is unusual in a name is written as hexadecimal digits.
fn path(journal: &Path, name: &str) -> PathBuf {
    let mut file = journal.as_os_str().to_owned();
    let mut plain = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' {
            plain.push(char::from(byte));
        } else {
            write!(plain, "%{byte:02x}").expect("a string takes all that is written to it");
        }
    }
    file.push(format!(".hook-{plain}.lock"));
    PathBuf::from(file)
}
