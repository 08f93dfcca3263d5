//! Looks at suspects again until they can be judged.
//!
//! Owns the settings of settling. Refuses to call a difference drift on its own authority. Speaks of
//! leader and follower only. Invariant: only what stood still over at least three looks is condemned.

use std::time::Duration;

/// How suspects are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How far the follower may lag behind the leader.
    pub lag_budget: Duration,
    /// The least time over which a difference must stand still; with the lag budget, the larger
    /// counts.
    pub settle: Duration,
    /// Wait before the second look; grows from there.
    pub first_wait: Duration,
    /// The longest wait between two looks.
    pub wait_max: Duration,
    /// Looks after which a suspect that never stood still is `unsettled`.
    pub looks_max: u32,
    /// Differing keys of one partition beyond which it is settled as a whole.
    pub crowd: usize,
    /// Suspects and open findings of all pairings beyond which partitions are settled as a whole.
    pub suspects_max: usize,
    /// The longest time for which condemning may pause because lag exceeds its budget.
    pub pause_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lag_budget: Duration::from_secs(30),
            settle: Duration::from_secs(10),
            first_wait: Duration::from_secs(1),
            wait_max: Duration::from_secs(60),
            looks_max: 20,
            crowd: 1_000,
            suspects_max: 50_000,
            pause_max: Duration::from_secs(30 * 60),
        }
    }
}
