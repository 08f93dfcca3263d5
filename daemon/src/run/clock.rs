//! The clock.
//!
//! Owns the only reading of the system's time. Refuses to be read by anything but `run`, which hands
//! moments on. Invariant: within a process it never goes backwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::Moment;

/// The time, in microseconds since the Unix epoch.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    latest: Arc<AtomicI64>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Now; never before a moment that was given before.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Moment {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        Moment(self.latest.fetch_max(micros, Ordering::AcqRel).max(micros))
    }

    /// The clock as a function.
    #[must_use]
    pub fn shared(&self) -> Box<dyn Fn() -> Moment + Send + Sync> {
        let clock = self.clone();
        Box::new(move || clock.now())
    }

    /// Waits until `moment`.
    pub async fn sleep_until(&self, moment: Moment) {
        tokio::time::sleep(moment.since(self.now())).await;
    }
}
