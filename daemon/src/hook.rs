//! Running what must be run when a criterion trips.
//!
//! Owns hooks and their settings. Refuses to judge. Invariant: a hook runs until it has succeeded,
//! and not once more after its success was recorded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A hook of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Its name.
    pub name: String,
    /// Program and arguments; no shell is involved.
    pub command: Vec<String>,
    /// The child's whole environment, but for what driftd adds.
    pub environment: BTreeMap<String, String>,
    /// Its working directory; none: `/`.
    pub directory: Option<PathBuf>,
    /// How long one run may take before it is killed.
    pub timeout: Duration,
    /// How long it may take over all tries before it is recorded as failed; tries go on.
    pub deadline: Duration,
    /// Wait before the second try; doubles up to five minutes.
    pub backoff: Duration,
}
