//! Whether the follower lags as a whole.
//!
//! Owns the evidence of lag: suspects that heal late, and a leader that is being written while the
//! follower stands still. Refuses to judge single keys. Invariant: while the follower lags beyond its
//! budget nothing is condemned, but for no longer than the configured maximum; so a pipeline that has
//! stopped is one incident, and real loss cannot hide behind it for ever.

use std::time::Duration;

use crate::model::Moment;
use crate::settle::Settings;

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
    /// Whether the follower stood still when it was last weighed.
    stalled: bool,
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
    /// Nothing is known yet, but for an incident that was open before a restart: what waited for the
    /// follower then still does, until it is seen to move.
    #[must_use]
    pub const fn new(now: Moment, since: Option<Moment>) -> Self {
        Self {
            progress: if since.is_some() { Moment(0) } else { now },
            recent: Duration::ZERO,
            last: Duration::ZERO,
            late_until: None,
            since,
            stalled: false,
        }
    }

    /// A suspect healed after it was seen to differ for `lag`.
    pub fn healed(&mut self, now: Moment, lag: Duration, settings: &Settings) {
        self.moved(now);
        self.last = lag;
        // Follows a rise at once and a fall slowly.
        self.recent = lag.max(self.recent - self.recent / 8);
        if lag > settings.lag_budget {
            self.late(now.after(settings.lag_budget));
        }
    }

    fn late(&mut self, until: Moment) {
        self.late_until = self.late_until.max(Some(until));
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
        if self.stalled && stalled.is_none() {
            // It moves again, and has yet to catch up: the same incident goes on until every suspect
            // was looked at once more.
            self.late(now.after(settings.lag_budget.max(settings.wait_max)));
        }
        self.stalled = stalled.is_some();
        let late = self.late_until.is_some_and(|until| now < until);
        match (stalled, late, self.since) {
            (None, false, Some(since)) => {
                self.since = None;
                Some(LagChange::Closed { lasted: now.since(since) })
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
