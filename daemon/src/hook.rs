//! Running what must be run when a criterion trips.
//!
//! Owns hooks and their settings. Refuses to judge. Invariant: a hook runs until it has succeeded,
//! and not once more after its success was recorded.
//!
//! A hook that outlives a killed daemon goes on holding the lock of its hook's name. The next daemon
//! waits for it to end and then, because nobody saw how it ended, runs the hook again, with the same
//! idempotency key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::HookJob;

mod child;
mod lock;
mod program;

pub use child::{Ending, HookEnd};
pub use lock::wait_for_predecessor;

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

/// Runs a hook once, to its end: `payload`, the event, is its standard input.
///
/// If another run of the hook goes on, begun by a daemon that was killed, its end is awaited first,
/// for at most the hook's timeout. Dropping the future leaves the child alone: it goes on, holding the
/// lock, like that of a killed daemon.
pub async fn run(
    settings: &Settings,
    job: &HookJob,
    payload: &[u8],
    idempotency_key: &str,
    journal: &Path,
) -> HookEnd {
    let held = match wait_for_predecessor(settings, journal, settings.timeout).await {
        Ok(held) => held,
        Err(ending) => return HookEnd::from(ending),
    };
    let environment = environment(settings, job, idempotency_key);
    let started = program::resolve(settings)
        .and_then(|program| child::start(settings, &program, &environment, payload, &held));
    match started {
        Ok(child) => {
            held.describe(child.id());
            let end = child::finish(child, settings.timeout).await;
            if end.is_known() {
                // What it left running on purpose does not keep the next run waiting.
                held.release();
            }
            end
        }
        Err(why) => HookEnd::from(Ending::NotStarted(why)),
    }
}

/// The child's whole environment.
fn environment(
    settings: &Settings,
    job: &HookJob,
    idempotency_key: &str,
) -> BTreeMap<String, String> {
    let mut environment = BTreeMap::from([("PATH".to_owned(), program::PATH.to_owned())]);
    environment.extend(settings.environment.clone());
    let mut add = |name: &str, value: &str| environment.insert(name.to_owned(), value.to_owned());
    add("DRIFTD_IDEMPOTENCY_KEY", idempotency_key);
    add("DRIFTD_HOOK", &job.hook);
    add("DRIFTD_CRITERION", &job.criterion);
    if job.test {
        add("DRIFTD_TEST", "1");
    }
    environment
}

#[cfg(test)]
mod tests;
