//! Looks at suspects again until they can be judged.
//!
//! Owns the rules of settling: when a suspect is due, what acquits it, what condemns it, and when
//! condemning pauses because the follower lags as a whole. Refuses to call a difference drift on its
//! own authority: it returns verdicts, and the engine makes findings. Speaks of leader and follower
//! only. Invariant: only what stood still on both sides over at least three looks, spanning the lag
//! budget and the settle time, is condemned; a failed look is not a look.

mod lag;
mod verdict;

use std::time::Duration;

use crate::model::{MappingIdentity, Moment, Sighting, State, Suspect};

pub use lag::{Lag, LagChange};
pub use verdict::{Charge, Charged, Healed, Verdict, charges};

/// Looks over which a difference must stand still.
const LOOKS_MIN: u32 = 3;
/// Looks over which a field of a row that is written meanwhile must stand still, where versions could
/// prove that it differs and do not: it may toggle, and be met at the same values again and again.
const MOVING_LOOKS_MIN: u32 = 8;
/// Earlier versions of the leader that are remembered.
const WITNESSES_MAX: usize = 8;

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
    /// Suspects and open findings of all pairings together beyond which partitions are settled as a
    /// whole.
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

impl Settings {
    /// The wait after so many looks, before it is jittered by a tenth.
    fn wait(&self, looks: u32, longest: Duration) -> Duration {
        (self.first_wait * 2u32.saturating_pow(looks.saturating_sub(1).min(16))).min(longest)
    }

    /// The longest wait between two looks at a row that is written: of looks further apart than the
    /// lag budget, nothing could be proved.
    fn moving_wait_max(&self) -> Duration {
        self.wait_max.min((self.lag_budget / 2).max(self.first_wait))
    }

    /// The shortest time over which all looks at a suspect may be spread.
    #[must_use]
    pub fn reach(&self) -> Duration {
        let waits = (1..self.looks_max).map(|looks| self.wait(looks, self.moving_wait_max()));
        waits.fold(Duration::ZERO, Duration::saturating_add) / 10 * 9
    }

    /// How long a difference must stand still: the lag budget or the settle time, or twice the lag
    /// that was observed of late, if that is longer, but never beyond twice the configured.
    #[must_use]
    pub fn window(&self, observed: Duration) -> Duration {
        let configured = self.lag_budget.max(self.settle);
        configured.max(observed.saturating_mul(2)).min(configured.saturating_mul(2))
    }
}

/// Where a suspect comes from.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The pairing's name.
    pub pairing: &'a str,
    /// What it is judged under.
    pub identity: MappingIdentity,
    /// The check that saw it first.
    pub check: u64,
}

/// A new suspect: its first look was the check that saw it. `sides` are what leader and follower
/// held.
#[must_use]
pub fn suspect(
    origin: &Origin<'_>,
    sighting: &Sighting,
    sides: (&State, &State),
    now: Moment,
    settings: &Settings,
) -> Suspect {
    let mut suspect = Suspect {
        pairing: origin.pairing.to_owned(),
        identity: origin.identity,
        key: sighting.key.clone(),
        source_at: sighting.source_at.clone(),
        target_at: sighting.target_at.clone(),
        check: origin.check,
        first_seen: now,
        last_look: now,
        due: now,
        looks: 1,
        failed: 0,
        leader: sides.0.clone(),
        follower: sides.1.clone(),
        violations: sighting.violations.clone(),
        witnesses: Vec::new(),
        still: verdict::fresh(sighting, sides, now),
        labels: sighting.labels.clone(),
        cosmetic: sighting.cosmetic.clone(),
        reason: sighting.reason.clone(),
        leader_changed: None,
    };
    suspect.due = due(&suspect, now, settings, Duration::ZERO);
    suspect
}

/// When the suspect is to be looked at next: at distances that double from look to look, jittered by
/// a tenth, but no later than the moment at which it may first be condemned.
fn due(suspect: &Suspect, now: Moment, settings: &Settings, observed: Duration) -> Moment {
    let moving =
        suspect.leader_changed.is_some_and(|changed| now.since(changed) < settings.lag_budget * 2);
    let longest = if moving { settings.moving_wait_max() } else { settings.wait_max };
    let wait = settings.wait(suspect.looks.saturating_add(suspect.failed), longest);
    let tenth = wait / 10;
    // Spread by the key, so that suspects of one partition do not all fall due at once; not by
    // chance, so that a run can be replayed.
    let spread = suspect
        .key
        .0
        .iter()
        .fold(suspect.looks, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let jittered = wait - tenth + tenth * (spread % 21) / 10;
    let ripe = suspect
        .still
        .iter()
        .filter(|still| still.looks + 1 >= LOOKS_MIN)
        .map(|still| still.since.after(settings.window(observed)))
        .min();
    let next = now.after(jittered);
    match ripe {
        Some(ripe) if ripe > now => next.min(ripe),
        _ => next,
    }
}

/// A look that failed: the suspect stays, and is due again later.
pub fn failed(suspect: &mut Suspect, now: Moment, settings: &Settings) {
    suspect.failed = suspect.failed.saturating_add(1);
    suspect.due = due(suspect, now, settings, Duration::ZERO);
}

/// Nothing could be seen until `now`: from here on it must stand still.
pub fn unseen(suspect: &mut Suspect, now: Moment) {
    for still in &mut suspect.still {
        (still.since, still.looks) = (now, 0);
    }
}

/// A successful look: what is to become of the suspect. `observed` is the follower's recent lag;
/// while `paused`, nothing is condemned.
pub fn looked(
    mut suspect: Suspect,
    sighting: &Sighting,
    sides: (&State, &State),
    look: &LookedAt<'_>,
) -> Verdict {
    let LookedAt { began, now, settings, observed, paused } = *look;
    if sighting.agrees() && sighting.steady {
        return verdict::acquit(&suspect, sides, look);
    }
    verdict::advance(&mut suspect, sighting, sides, look);
    let ripe = verdict::ripe(&suspect, began, settings.window(observed));
    if !ripe.is_empty() && !paused && !sighting.agrees() {
        let charges = verdict::charge(&suspect, &ripe);
        return Verdict::Condemned { suspect, charges };
    }
    if suspect.looks >= settings.looks_max && !paused {
        return Verdict::Unsettled(suspect);
    }
    suspect.due = due(&suspect, now, settings, observed);
    Verdict::Again(suspect)
}

/// The circumstances of a look.
#[derive(Clone, Copy, Debug)]
pub struct LookedAt<'a> {
    /// When it began: nothing that it saw is older.
    pub began: Moment,
    /// When it ended: nothing that it saw is newer.
    pub now: Moment,
    /// The rules.
    pub settings: &'a Settings,
    /// The follower's recent lag.
    pub observed: Duration,
    /// Whether condemning pauses.
    pub paused: bool,
}

#[cfg(test)]
mod tests;
