//! Which partitions a pass visits, in which order, and how fast.
//!
//! Owns the settings of passes, the choice of directions, and the seeded order. Refuses to open a
//! connection: it gets capabilities and split points as data. Invariant: a pass visits every partition
//! of every needed direction exactly once, and the same seed gives the same order.

use std::num::NonZeroU32;
use std::time::Duration;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::model::Direction;

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
    /// Wait before an unread partition is tried again; doubles with each try, up to a minute.
    pub backoff: Duration,
    /// Seed of the random order; none: from the journal's own random key.
    pub seed: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        let nonzero = |value| NonZeroU32::new(value).expect("not zero");
        Self {
            partition_rows: nonzero(10_000),
            page_rows: nonzero(1_024),
            concurrency: nonzero(4),
            rest: Duration::from_secs(60),
            tries: nonzero(5),
            backoff: Duration::from_secs(1),
            seed: None,
        }
    }
}

impl Settings {
    /// How long to wait after `failures` failures in a row.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        let doubled =
            self.backoff.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1).min(16)));
        doubled.min(Duration::from_secs(60))
    }
}

/// What matters of one side for the choice of directions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideFacts {
    /// Whether the store scans ranges of integer keys and this relation has such a key.
    pub ranges: bool,
    /// Whether entities can be located here.
    pub locatable: bool,
    /// The field of the entity that alone makes up this side's whole primary key, if one does.
    pub key_field: Option<String>,
}

/// How a pairing is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The directions of a pass.
    pub directions: Vec<Direction>,
    /// What cannot be verified, and why; in words for people.
    pub not_verifiable: Option<String>,
}

/// Neither side's entities can be located on the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the two sides cannot be brought together: give `key` templates for the source, the target, or both, or let the plugin locate entities"
)]
pub struct NoReading;

/// Decides how a pairing is read. `entity_key` are the fields that identify an entity.
///
/// # Errors
/// If neither an aligned reading nor a lookup in any direction is possible.
pub fn reading(
    source: &SideFacts,
    target: &SideFacts,
    entity_key: &[&str],
) -> Result<Reading, NoReading> {
    let aligned = source.ranges
        && target.ranges
        && source.key_field.is_some()
        && source.key_field == target.key_field
        && entity_key.len() == 1
        && source.key_field.as_deref() == entity_key.first().copied();
    if aligned {
        return Ok(Reading { directions: vec![Direction::Aligned], not_verifiable: None });
    }
    let mut directions = Vec::new();
    let mut lacking = Vec::new();
    if target.locatable {
        directions.push(Direction::FromSource);
    } else {
        lacking.push(
            "what is missing in the target: its entities cannot be located, give `target.key`, or \
             let the plugin locate them",
        );
    }
    if source.locatable {
        directions.push(Direction::FromTarget);
    } else {
        lacking.push(
            "what is only in the target (`unexpected`): its entities cannot be located in the \
             source, give `source.key`, or let the plugin locate them",
        );
    }
    if directions.is_empty() {
        return Err(NoReading);
    }
    let not_verifiable = (!lacking.is_empty()).then(|| lacking.join("; "));
    Ok(Reading { directions, not_verifiable })
}

/// The order in which a pass visits the `count` partitions of a direction.
#[must_use]
pub fn order(seed: u64, pass: u64, direction: Direction, count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count).collect();
    let stream = match direction {
        Direction::Aligned => 0,
        Direction::FromSource => 1,
        Direction::FromTarget => 2,
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ pass.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    rng.set_stream(stream);
    order.shuffle(&mut rng);
    order
}

/// The order in which a pass visits the partitions of all of its directions, of which each has so many:
/// that of each direction, and these side by side, so that at any moment about the same share of each
/// is done.
#[must_use]
pub fn side_by_side(
    seed: u64,
    pass: u64,
    counts: impl IntoIterator<Item = (Direction, u32)>,
) -> Vec<(Direction, u32)> {
    let mut visits = Vec::new();
    for (direction, count) in counts {
        for (at, number) in (0u128..).zip(order(seed, pass, direction, count)) {
            // The middle of its share of the pass, in 2^64 parts.
            let share = ((2 * at + 1) << 64) / (2 * u128::from(count));
            visits.push((share, direction, number));
        }
    }
    // A stable order: of equal shares the first direction comes first.
    visits.sort_by_key(|(share, ..)| *share);
    visits.into_iter().map(|(_, direction, number)| (direction, number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(ranges: bool, locatable: bool, key_field: Option<&str>) -> SideFacts {
        SideFacts { ranges, locatable, key_field: key_field.map(str::to_owned) }
    }

    #[test]
    fn directions_follow_from_what_the_sides_can_do() {
        let sql = side(true, true, Some("id"));
        let other_key = side(true, true, Some("number"));
        let items = side(false, true, None);
        let lost = side(false, false, None);
        use Direction::{Aligned, FromSource, FromTarget};
        for (source, target, key, expected) in [
            (&sql, &sql, vec!["id"], Ok((vec![Aligned], true))),
            (&sql, &other_key, vec!["id"], Ok((vec![FromSource, FromTarget], true))),
            (&sql, &sql, vec!["email"], Ok((vec![FromSource, FromTarget], true))),
            (&sql, &sql, vec!["id", "tenant"], Ok((vec![FromSource, FromTarget], true))),
            (&sql, &items, vec!["id"], Ok((vec![FromSource, FromTarget], true))),
            (&items, &sql, vec!["id"], Ok((vec![FromSource, FromTarget], true))),
            (&lost, &items, vec!["id"], Ok((vec![FromSource], false))),
            (&sql, &lost, vec!["id"], Ok((vec![FromTarget], false))),
            (&lost, &lost, vec!["id"], Err(NoReading)),
        ] {
            let reading = reading(source, target, &key)
                .map(|reading| (reading.directions, reading.not_verifiable.is_none()));
            assert_eq!(reading, expected, "{source:?} {target:?} {key:?}");
        }
    }

    #[test]
    fn an_order_visits_each_partition_once_and_depends_on_seed_and_pass_alone() {
        let one = order(7, 1, Direction::FromSource, 1_000);
        let mut sorted = one.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1_000).collect::<Vec<_>>());
        assert_eq!(one, order(7, 1, Direction::FromSource, 1_000));
        for other in [
            order(8, 1, Direction::FromSource, 1_000),
            order(7, 2, Direction::FromSource, 1_000),
            order(7, 1, Direction::FromTarget, 1_000),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn directions_are_visited_side_by_side_and_each_in_its_own_order() {
        use Direction::{FromSource, FromTarget};
        for counts in [[(FromSource, 1_000), (FromTarget, 40)], [(FromSource, 3), (FromTarget, 7)]]
        {
            let visits = side_by_side(7, 1, counts);
            for (direction, count) in counts {
                let of = |visits: &[(Direction, u32)]| -> Vec<u32> {
                    let of = visits.iter().filter(|(of, _)| *of == direction);
                    of.map(|(_, number)| *number).collect()
                };
                assert_eq!(of(&visits), order(7, 1, direction, count));
                for end in 0..=visits.len() {
                    // What is done of it differs from its share by less than two partitions.
                    let done = of(&visits[..end]).len() as f64;
                    let share = f64::from(count) * end as f64 / visits.len() as f64;
                    assert!((done - share).abs() < 2.0, "{direction}: {done} of {end}");
                }
            }
        }
        assert_eq!(side_by_side(7, 1, [(FromSource, 0), (FromTarget, 1)]), [(FromTarget, 0)]);
    }
}
