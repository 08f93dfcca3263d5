//! A point in time, passed as an argument.
//!
//! Owns [`Moment`]. Refuses to read a clock: only `run` makes one from the system's. Invariant: a
//! moment is comparable across restarts, because it counts from the Unix epoch.

use std::time::Duration;

/// Microseconds since the Unix epoch, UTC. `run` never lets it go backwards within a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// The moment `wait` later; saturates.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}
