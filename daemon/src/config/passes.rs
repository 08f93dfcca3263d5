//! `[passes]`: how a pairing's passes go.
//!
//! Owns its keys, at the top for all pairings and in a pairing for itself. Refuses to plan.
//! Invariant: a page is never larger than a partition.

use crate::plan::Settings;

use super::describe::{Key, Shape, Table, inherited};
use super::walk::Section;

/// The key at the top.
pub(super) const KEY: Key =
    Key::defaulted("passes", Shape::Table(&TOP), "how the passes of every pairing go");
/// The key in a pairing.
pub(super) const PAIRING_KEY: Key = Key::optional(
    "passes",
    Shape::Table(&PAIRING),
    "what is different from `[passes]` for this pairing",
);

const KEYS: [Key; 7] = [
    Key::defaulted(
        "partition_rows",
        Shape::Count { min: 1, max: 1_000_000 },
        "about how many rows a partition has",
    ),
    Key::defaulted(
        "page_rows",
        Shape::Count { min: 1, max: 1_000_000 },
        "the most rows of one page of a read",
    ),
    Key::defaulted(
        "concurrency",
        Shape::Count { min: 1, max: 1_000 },
        "checks in flight at once, as far as `[checks]` has room",
    ),
    Key::defaulted(
        "rest",
        Shape::ANY_DURATION,
        "rest between the end of a pass and the begin of the next",
    ),
    Key::defaulted(
        "tries",
        Shape::Count { min: 1, max: 1_000 },
        "tries of a partition that cannot be read, before it becomes an incident of its own and the pass goes on without it",
    ),
    Key::defaulted(
        "backoff",
        Shape::SOME_DURATION,
        "wait before an unread partition is tried again; doubles with each try",
    ),
    Key::optional(
        "seed",
        Shape::Count { min: 0, max: i64::MAX as u64 },
        "seed of the random order; left out: from the journal's own random key",
    ),
];
const INHERITED: [Key; 7] = inherited(KEYS);

static TOP: Table = Table { what: "[passes]", keys: &KEYS, elsewhere: &[] };
static PAIRING: Table = Table { what: "a pairing's `passes`", keys: &INHERITED, elsewhere: &[] };

/// Reads how passes go; what is left out is as in `base`.
pub(super) fn read(section: &Section<'_>, base: &Settings) -> Settings {
    let some = |name| section.take(name).and_then(|node| node.some());
    let rows = |name, base| section.take(name).map_or(Some(base), |node| node.some());
    let partition_rows = rows("partition_rows", base.partition_rows);
    let page_rows = rows("page_rows", base.page_rows);
    let span = |name| section.take(name).and_then(|node| node.duration());
    let settings = Settings {
        partition_rows: partition_rows.unwrap_or(base.partition_rows),
        page_rows: page_rows.unwrap_or(base.page_rows),
        concurrency: some("concurrency").unwrap_or(base.concurrency),
        rest: span("rest").unwrap_or(base.rest),
        tries: some("tries").unwrap_or(base.tries),
        backoff: span("backoff").unwrap_or(base.backoff),
        seed: section.take("seed").and_then(|node| node.count()).or(base.seed),
    };
    let names = &["page_rows", "partition_rows"];
    // What was refused is not compared with anything.
    let known = partition_rows.is_some() && page_rows.is_some();
    if known && settings.page_rows > settings.partition_rows && section.gives(names) {
        section.fault(
            names,
            format!(
                "a page of {} rows is larger than a partition of {}",
                settings.page_rows, settings.partition_rows
            ),
            "raise `partition_rows`, or lower `page_rows`",
        );
    }
    settings
}
