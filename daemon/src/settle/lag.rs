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

/// How long the lag of bursts is remembered, at least; at most twice as long.
const PERIOD: Duration = Duration::from_secs(5 * 60);

/// What is known of the follower's lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lag {
    /// When the follower was last known to apply something.
    progress: Moment,
    /// The longest lag of suspects that healed in this period, and in the one before.
    recent: [Duration; 2],
    /// When this period began.
    period: Option<Moment>,
    /// The last lag observed.
    last: Duration,
    /// Until when late healing counts as lagging.
    late_until: Option<Moment>,
    /// Since when condemning pauses.
    since: Option<Moment>,
    /// Whether the follower may be standing still: too early to say so, too late to condemn what
    /// waits for it.
    doubtful: bool,
    /// Since when nothing says any more that it should.
    clear: Option<Moment>,
    /// When the last incident ended.
    closed: Option<Moment>,
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
            recent: [Duration::ZERO; 2],
            period: None,
            last: Duration::ZERO,
            late_until: None,
            since: None,
            doubtful: false,
            clear: None,
            closed: None,
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
        if now.since(*self.period.get_or_insert(now)) >= PERIOD {
            self.recent = [Duration::ZERO, self.recent[0]];
            self.period = Some(now);
        }
        self.recent[0] = self.recent[0].max(healed.about);
        // What was late long ago, and healed nobody knows when, says nothing of now; and what was
        // late in an incident that ended is of that one.
        let late = healed.least > settings.lag_budget
            && now.since(healed.late_at) <= settings.lag_budget
            && self.closed.is_none_or(|closed| closed < healed.late_at);
        if late {
            self.late_until = Some(now.after(settings.lag_budget));
        }
    }

    /// The follower was seen to change, or to hold something written at `at`.
    pub fn moved(&mut self, at: Moment) {
        self.progress = self.progress.max(at);
    }

    /// The follower's recent lag, in bursts, too: the longest in the last minutes.
    #[must_use]
    pub fn recent(&self) -> Duration {
        self.recent[0].max(self.recent[1])
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
        match self.since {
            Some(since) => now.since(since) < settings.pause_max,
            None => self.doubtful && !settings.pause_max.is_zero(),
        }
    }

    /// Whether condemning has paused at any time since `first`, as far as is known.
    #[must_use]
    pub fn paused_since(&self, first: Moment) -> bool {
        self.since.is_some() || self.closed.is_some_and(|closed| closed >= first)
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
        let waits = oldest.filter(|_| waiting >= STALL_KEYS);
        let stalled = waits.filter(|oldest| now.since(*oldest) > settings.lag_budget);
        self.doubtful = waits.is_some_and(|oldest| now.since(oldest) > settings.lag_budget / 2);
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
                (self.since, self.clear, self.closed) = (None, None, Some(now));
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
