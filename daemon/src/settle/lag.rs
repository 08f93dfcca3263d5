//! Whether the follower lags as a whole.
//!
//! Owns the evidence of lag: suspects that heal late, and a leader that is being written while the
//! follower stands still. Refuses to judge single keys. Invariant: while the follower lags beyond its
//! budget nothing is condemned, but for no longer than the configured maximum; so a pipeline that has
//! stopped is one incident, and real loss cannot hide behind it for ever.

use std::time::Duration;

use crate::model::Moment;
use crate::settle::{Healed, Settings};

/// Leader changes that wait for the follower, from which on a standstill is one of the pipeline and
/// not of single keys.
const STALL_KEYS: usize = 10;

/// What is known of the follower's lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// When the follower was last known to apply something.
    progress: Moment,
    /// The lag of suspects that healed of late; decays.
    recent: Duration,
    /// The last lag observed.
    last: Duration,
    /// Until when late healing counts as lagging.
    late_until: Option<Moment>,
    /// Since when condemning pauses.
    since: Option<Moment>,
    /// Since when nothing says any more that it should.
    clear: Option<Moment>,
}

/// A lag incident begins or ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LagChange {
    /// It begins.
    Opened {
        /// How far the follower lags, as far as is known.
        lag: Duration,
        /// What says so.
        evidence: String,
    },
    /// It ended.
    Closed {
        /// How long it lasted.
        lasted: Duration,
    },
}

impl Lag {
    /// The follower is taken to have applied everything so far.
    #[must_use]
    pub const fn new(now: Moment) -> Self {
        Self {
            progress: now,
            recent: Duration::ZERO,
            last: Duration::ZERO,
            late_until: None,
            since: None,
            clear: None,
        }
    }

    /// After a restart: nothing says that the follower has moved while nobody looked. `since` is when
    /// an incident began that was open.
    #[must_use]
    pub const fn resumed(progress: Moment, since: Option<Moment>) -> Self {
        Self { since, ..Self::new(progress) }
    }

    /// Up to when the follower is known to have applied what the leader wrote.
    #[must_use]
    pub const fn progress(&self) -> Moment {
        self.progress
    }

    /// A suspect healed.
    pub fn healed(&mut self, now: Moment, healed: &Healed, settings: &Settings) {
        self.last = healed.about;
        // Follows a rise at once and a fall slowly.
        self.recent = healed.about.max(self.recent - self.recent / 8);
        // What was late long ago, and healed nobody knows when, says nothing of now.
        if healed.least > settings.lag_budget && now.since(healed.late_at) <= settings.lag_budget {
            self.late_until = Some(now.after(settings.lag_budget));
        }
    }

    /// The follower was seen to change, or to hold something written at `at`.
    pub fn moved(&mut self, at: Moment) {
        self.progress = self.progress.max(at);
    }

    /// The follower's recent lag.
    #[must_use]
    pub const fn recent(&self) -> Duration {
        self.recent
    }

    /// The last lag observed.
    #[must_use]
    pub const fn last(&self) -> Duration {
        self.last
    }

    /// Since when condemning pauses, if it does.
    #[must_use]
    pub const fn since(&self) -> Option<Moment> {
        self.since
    }

    /// Whether condemning pauses at `now`.
    #[must_use]
    pub fn paused(&self, now: Moment, settings: &Settings) -> bool {
        self.since.is_some_and(|since| now.since(since) < settings.pause_max)
    }

    /// Weighs the evidence. `changes` are the moments at which the leader changed suspects that the
    /// follower has not come to yet.
    pub fn weigh(
        &mut self,
        now: Moment,
        changes: impl Iterator<Item = Moment>,
        settings: &Settings,
    ) -> Option<LagChange> {
        let mut waiting = 0;
        let mut oldest: Option<Moment> = None;
        for change in changes.filter(|change| *change > self.progress) {
            waiting += 1;
            oldest = Some(oldest.map_or(change, |oldest| oldest.min(change)));
        }
        let stalled = oldest
            .filter(|oldest| waiting >= STALL_KEYS && now.since(*oldest) > settings.lag_budget);
        let late = self.late_until.is_some_and(|until| now < until);
        if stalled.is_some() || late {
            self.clear = None;
        }
        match (stalled, late, self.since) {
            (None, false, Some(since)) => {
                // A backlog that is being worked off comes and goes: that is still the one incident.
                let clear = *self.clear.get_or_insert(now);
                if now.since(clear) < settings.lag_budget {
                    return None;
                }
                (self.since, self.clear) = (None, None);
                Some(LagChange::Closed { lasted: clear.since(since) })
            }
            (Some(oldest), _, None) => {
                self.since = Some(now);
                self.last = now.since(oldest);
                let evidence = format!(
                    "{waiting} keys changed in the leader and none of them, nor any other, was \
                     seen to arrive in the follower"
                );
                Some(LagChange::Opened { lag: now.since(oldest), evidence })
            }
            (None, true, None) => {
                self.since = Some(now);
                let evidence = "keys arrive in the follower later than the lag budget".to_owned();
                Some(LagChange::Opened { lag: self.last, evidence })
            }
            _ => None,
        }
    }
}
