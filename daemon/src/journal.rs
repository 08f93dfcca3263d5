//! driftd's own durable state: one SQLite file.
//!
//! Owns its settings, the file's format and version, the one transaction of a step, recovery,
//! retention and the lock against a second daemon. Refuses to interpret what it keeps. Invariant: a
//! step's changes are all in the file, or none is.

use std::path::PathBuf;
use std::time::Duration;

/// Where the journal is and how much it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file; `-wal`, `-shm` and `.lock` lie beside it.
    pub path: PathBuf,
    /// How long decided findings and delivered events are kept.
    pub retention: Duration,
    /// The size in bytes at which the oldest of those are dropped sooner.
    pub size_max: u64,
}
