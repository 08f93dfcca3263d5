//! Which partitions a pass visits, in which order, and how fast.
//!
//! Owns the settings of passes. Refuses to open a connection: it gets split points as data.
//! Invariant: a pass visits every partition of every needed direction exactly once.

use std::num::NonZeroU32;
use std::time::Duration;

/// How a pairing's passes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// About how many rows a partition has.
    pub partition_rows: NonZeroU32,
    /// The most rows of one page of a read.
    pub page_rows: NonZeroU32,
    /// Checks in flight at once.
    pub concurrency: NonZeroU32,
    /// Rest between the end of a pass and the begin of the next.
    pub rest: Duration,
    /// Tries of a partition that cannot be read, before it becomes an incident of its own and the
    /// pass goes on without it.
    pub tries: NonZeroU32,
    /// Wait before an unread partition is tried again; doubles with each try.
    pub backoff: Duration,
    /// Seed of the random order; none: from the journal's own random key.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            partition_rows: NonZeroU32::new(10_000).expect("not zero"),
            page_rows: NonZeroU32::new(1_024).expect("not zero"),
            concurrency: NonZeroU32::new(4).expect("not zero"),
            rest: Duration::from_secs(60),
            tries: NonZeroU32::new(5).expect("not zero"),
            backoff: Duration::from_secs(1),
            seed: None,
        }
    }
}
