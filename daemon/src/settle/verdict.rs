//! What one more look means for a suspect.
//!
//! Owns the streaks of standing still and the charges. Refuses schedules. Invariant: a part's streak
//! goes on only if neither side changed it since the look before.

use std::time::Duration;

use crate::model::{DriftKind, Facets, Moment, Part, Sighting, State, Still, Suspect, Version};
use crate::settle::{LOOKS_MIN, LookedAt, MOVING_LOOKS_MIN, WITNESSES_MAX};

/// What is to become of a suspect.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Both sides agree.
    Acquitted {
        /// Set if the follower came to it, rather than the leader: how long it took.
        healed: Option<Healed>,
    },
    /// It stood still for long enough.
    Condemned {
        /// The suspect, as it was seen last.
        suspect: Suspect,
        /// What is wrong.
        charges: Vec<Charge>,
    },
    /// It must be looked at again.
    Again(Suspect),
    /// It could not be judged within its looks.
    Unsettled(Suspect),
}

/// How long the follower took to come to what the leader held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Healed {
    /// About so long. It is between two looks that it came, so this is not exact.
    pub about: Duration,
    /// At least so long: it was seen to be late by that.
    pub least: Duration,
    /// When it was seen to be late.
    pub late_at: Moment,
}

/// What is wrong with a condemned key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The kind of drift.
    pub kind: DriftKind,
    /// What it is about.
    pub what: Charged,
}

/// What a charge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Charged {
    /// Presence: missing, unexpected. For a duplicate or an unmappable row, whether it is the
    /// leader's.
    Presence {
        /// Whether the leader's side is concerned.
        leader: bool,
    },
    /// These compared fields.
    Fields(Vec<usize>),
    /// This invariant.
    Invariant(usize),
}

/// The parts in which leader and follower differ, and the invariants that fail.
fn parts(sighting: &Sighting, (leader, follower): (&State, &State)) -> Vec<Part> {
    let mut parts = Vec::new();
    if let (State::Present(leader), State::Present(follower)) = (leader, follower) {
        let fields = leader.fields.iter().zip(&follower.fields).enumerate();
        parts.extend(fields.filter(|(_, (a, b))| a != b).map(|(at, _)| Part::Field(at)));
    } else {
        let innocent = Sighting { violations: Vec::new(), ..sighting.clone() };
        if !innocent.agrees() {
            parts.push(Part::Presence);
        }
    }
    let mut invariants: Vec<usize> =
        sighting.violations.iter().map(|violation| violation.invariant).collect();
    invariants.sort_unstable();
    invariants.dedup();
    parts.extend(invariants.into_iter().map(Part::Invariant));
    parts
}

/// Both sides agree: what that says of the follower's lag.
pub(super) fn acquit(
    suspect: &Suspect,
    (leader, follower): (&State, &State),
    look: &LookedAt<'_>,
) -> Verdict {
    if *follower == suspect.follower {
        return Verdict::Acquitted { healed: None };
    }
    // What the leader wrote later does not make the follower slower.
    let moved = if suspect.leader.is_like(leader) { suspect.first_seen } else { suspect.last_look };
    let since = moved.max(suspect.leader_changed.unwrap_or(moved));
    let least = suspect.last_look.since(since);
    // A wait between two looks that is long beside what was seen says little.
    let about = look.now.since(since).min((least + look.settings.first_wait) * 3);
    Verdict::Acquitted { healed: Some(Healed { about, least, late_at: suspect.last_look }) }
}

/// The streaks that begin with a first look.
pub(super) fn fresh(sighting: &Sighting, sides: (&State, &State), now: Moment) -> Vec<Still> {
    let parts = parts(sighting, sides).into_iter();
    parts.map(|part| Still { part, since: now, looks: 1 }).collect()
}

/// Takes what one more look showed into the suspect.
pub(super) fn advance(
    suspect: &mut Suspect,
    sighting: &Sighting,
    sides: (&State, &State),
    look: &LookedAt<'_>,
) {
    let now = look.now;
    let moved = !suspect.leader.is_like(sides.0) || version(&suspect.leader) != version(sides.0);
    // Between two looks so far apart, a row that is written may have come, gone and come again.
    let apart = now.since(suspect.last_look) > look.settings.lag_budget;
    let blind = |part| part == Part::Presence && moved && apart;
    let still = parts(sighting, sides).into_iter().map(|part| {
        let before = suspect.still.iter().find(|still| still.part == part);
        match before.filter(|_| !blind(part) && unchanged(suspect, part, sides)) {
            Some(before) => Still { looks: before.looks + 1, ..*before },
            None => Still { part, since: now, looks: 1 },
        }
    });
    suspect.still = still.collect();
    if moved {
        suspect.leader_changed = Some(now);
        suspect.witnesses.push(std::mem::replace(&mut suspect.leader, sides.0.clone()));
        if suspect.witnesses.len() > WITNESSES_MAX {
            // The oldest stays: it is what the follower held before all this, if anything is.
            suspect.witnesses.remove(1);
        }
    }
    suspect.leader = sides.0.clone();
    suspect.follower = sides.1.clone();
    suspect.looks += 1;
    suspect.failed = 0;
    suspect.last_look = now;
    suspect.violations.clone_from(&sighting.violations);
    suspect.source_at.clone_from(&sighting.source_at);
    suspect.target_at.clone_from(&sighting.target_at);
    if !sighting.labels.is_empty() {
        suspect.labels.clone_from(&sighting.labels);
    }
    suspect.cosmetic.clone_from(&sighting.cosmetic);
    suspect.reason.clone_from(&sighting.reason);
}

/// Whether neither side changed `part` since the last look.
fn unchanged(suspect: &Suspect, part: Part, (leader, follower): (&State, &State)) -> bool {
    match part {
        Part::Presence => {
            std::mem::discriminant(&suspect.leader) == std::mem::discriminant(leader)
                && std::mem::discriminant(&suspect.follower) == std::mem::discriminant(follower)
        }
        Part::Field(at) => {
            let field = |state: &State| match state {
                State::Present(facets) => facets.fields.get(at).copied(),
                State::Absent | State::Excluded | State::Duplicate(_) | State::Unmappable(_) => {
                    None
                }
            };
            field(leader).is_some()
                && field(&suspect.leader) == field(leader)
                && field(&suspect.follower) == field(follower)
        }
        Part::Invariant(_) => suspect.leader.is_like(leader) && suspect.follower.is_like(follower),
    }
}

/// The parts that stood still for long enough when a look began. A look that takes long saw what it
/// saw at any time since.
pub(super) fn ripe(suspect: &Suspect, began: Moment, window: Duration) -> Vec<Part> {
    let ripe = suspect.still.iter().filter(|still| {
        still.looks >= LOOKS_MIN
            && began.since(still.since) >= window
            && (still.looks >= MOVING_LOOKS_MIN || !may_toggle(suspect, still, (began, window)))
    });
    ripe.map(|still| still.part).collect()
}

/// Whether what looks still may only have been met in the same state: the row was written within the
/// window. A row may be deleted and created again; so may a field change there and back, but that is
/// believed only where versions could prove otherwise and the follower was not seen to differ at a
/// version that the leader was seen at.
fn may_toggle(suspect: &Suspect, still: &Still, (began, window): (Moment, Duration)) -> bool {
    let moved = suspect
        .leader_changed
        .is_some_and(|changed| changed > still.since && began.since(changed) < window);
    let versioned = version(&suspect.leader).is_some() && version(&suspect.follower).is_some();
    moved
        && match still.part {
            Part::Presence => true,
            Part::Field(at) => versioned && !differs_at_one_version(suspect, at),
            Part::Invariant(_) => false,
        }
}

/// Whether both sides were seen to hold one version and to differ in this field all the same.
fn differs_at_one_version(suspect: &Suspect, at: usize) -> bool {
    let State::Present(follower) = &suspect.follower else { return false };
    let seen = suspect.witnesses.iter().chain([&suspect.leader]);
    follower.version.is_some()
        && seen.into_iter().any(|state| match state {
            State::Present(leader) => {
                leader.version == follower.version
                    && leader.fields.get(at) != follower.fields.get(at)
            }
            State::Absent | State::Excluded | State::Duplicate(_) | State::Unmappable(_) => false,
        })
}

fn version(state: &State) -> Option<Version> {
    match state {
        State::Present(facets) => facets.version,
        State::Absent | State::Excluded | State::Duplicate(_) | State::Unmappable(_) => None,
    }
}

/// What is wrong with a suspect, should all of it stand still.
#[must_use]
pub fn charges(suspect: &Suspect) -> Vec<Charge> {
    let parts: Vec<Part> = suspect.still.iter().map(|still| still.part).collect();
    charge(suspect, &parts)
}

/// The charges for these parts.
pub(super) fn charge(suspect: &Suspect, parts: &[Part]) -> Vec<Charge> {
    let mut charges = Vec::new();
    if parts.contains(&Part::Presence) {
        charges.push(presence(&suspect.leader, &suspect.follower));
    }
    let fields: Vec<usize> = parts
        .iter()
        .filter_map(|part| match part {
            Part::Field(at) => Some(*at),
            Part::Presence | Part::Invariant(_) => None,
        })
        .collect();
    if let (State::Present(leader), State::Present(follower)) = (&suspect.leader, &suspect.follower)
        && !fields.is_empty()
    {
        let stale = is_stale(leader, follower, &suspect.witnesses, &fields)
            && !fields.iter().any(|&at| differs_at_one_version(suspect, at));
        let kind = if stale { DriftKind::Stale } else { DriftKind::Mismatch };
        charges.push(Charge { kind, what: Charged::Fields(fields) });
    }
    charges.extend(parts.iter().filter_map(|part| match part {
        Part::Invariant(at) => {
            Some(Charge { kind: DriftKind::Violation, what: Charged::Invariant(*at) })
        }
        Part::Presence | Part::Field(_) => None,
    }));
    charges
}

fn presence(leader: &State, follower: &State) -> Charge {
    let (kind, leader) = match (leader, follower) {
        (State::Duplicate(_), _) => (DriftKind::Duplicate, true),
        (_, State::Duplicate(_)) => (DriftKind::Duplicate, false),
        (State::Unmappable(_), _) => (DriftKind::Unmappable, true),
        (_, State::Unmappable(_)) => (DriftKind::Unmappable, false),
        (State::Present(_), _) => (DriftKind::Missing, false),
        (State::Absent | State::Excluded, _) => (DriftKind::Unexpected, false),
    };
    Charge { kind, what: Charged::Presence { leader } }
}

/// Whether the follower holds an older version: by its declared version, or one that was witnessed.
fn is_stale(leader: &Facets, follower: &Facets, witnesses: &[State], fields: &[usize]) -> bool {
    if let (Some(newer), Some(older)) = (leader.version, follower.version)
        && older != newer
    {
        return older < newer;
    }
    witnesses.iter().any(|witness| match witness {
        State::Present(seen) => fields.iter().all(|&at| {
            seen.fields.get(at) == follower.fields.get(at)
                && seen.fields.get(at) != leader.fields.get(at)
        }),
        State::Absent | State::Excluded | State::Duplicate(_) | State::Unmappable(_) => false,
    })
}
