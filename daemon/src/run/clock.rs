//! The clock.
//!
//! Owns the only reading of the system's time. Refuses to be read by anything but `run`, which hands
//! moments on. Invariant: within a process it never goes backwards.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::model::Moment;

/// The time, in microseconds since the Unix epoch: the system's when the process began, and from there
/// on as much later as has passed. A system's clock that is set meanwhile neither stops settling nor
/// ages what is not that old; until the next start, what is written down is off by that much.
#[derive(Clone, Debug)]
pub struct Clock {
    origin: Arc<(Moment, Instant)>,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// The system's clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Self { origin: Arc::new((Moment(micros), Instant::now())) }
    }

    /// Now; never before a moment that was given before.
    #[must_use]
    pub fn now(&self) -> Moment {
        let (began, instant) = *self.origin;
        began.after(instant.elapsed())
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
