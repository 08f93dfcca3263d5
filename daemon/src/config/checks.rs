//! `[checks]`: what the checks of all pairings may take together.
//!
//! Owns its keys. Refuses to admit anything. Invariant: each check that may be under way has at least
//! the memory with which it can read and compare what a store gives at once.

use std::num::NonZeroU32;

use super::describe::{Key, Shape, Table};
use super::units::show_size;
use super::walk::Section;

/// The least memory of one check, in bytes: with less it could not hold what a store gives at once.
const SHARE_MIN: u64 = 64 << 20;

/// The key at the top.
pub(super) const KEY: Key = Key::defaulted(
    "checks",
    Shape::Table(&CHECKS),
    "what the checks of all pairings may take together",
);

static CHECKS: Table = Table {
    what: "[checks]",
    keys: &[
        Key::defaulted(
            "concurrency",
            Shape::Count { min: 1, max: 1_000 },
            "checks of all pairings in flight at once; pairings take turns, whatever their own `passes.concurrency`",
        ),
        Key::defaulted(
            "memory",
            Shape::Size { min: SHARE_MIN },
            "what they hold, all together; each has an equal share, at least 64 MiB, and compares what it holds before it reads more",
        ),
    ],
    elsewhere: &[],
};

/// What all checks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// How many are in flight at once.
    pub concurrency: NonZeroU32,
    /// What they hold, in bytes.
    pub memory: u64,
}

impl Checks {
    /// What one check may hold, in bytes.
    #[must_use]
    pub fn share(&self) -> u64 {
        self.memory / u64::from(self.concurrency.get())
    }
}

/// Reads what checks share.
pub(super) fn read(root: &Section<'_>) -> Option<Checks> {
    let section = root.take(KEY.name).and_then(|node| node.section())?;
    let concurrency = section.take("concurrency").and_then(|node| node.some());
    let memory = section.take("memory").and_then(|node| node.size());
    let checks = Checks { concurrency: concurrency?, memory: memory? };
    let many = u64::from(checks.concurrency.get());
    let least = many.saturating_mul(SHARE_MIN);
    if checks.memory < least {
        section.fault(
            &["memory", "concurrency"],
            format!(
                "{many} checks at once have less than {} each in {}",
                show_size(SHARE_MIN),
                show_size(checks.memory)
            ),
            format!(
                "raise `memory` to {}, or lower `concurrency` to {}",
                show_size(least),
                checks.memory / SHARE_MIN
            ),
        );
    }
    Some(checks)
}
