//! `[settle]`: how suspects are judged.
//!
//! Owns its keys, at the top for all pairings and in a pairing for itself. Refuses settings with
//! which nothing could ever be condemned. Invariant: `suspects_max` is one number for all pairings,
//! because they share one memory; only the top has it.

use std::time::Duration;

use crate::settle::Settings;

use super::describe::{Key, Shape, Table, inherited};
use super::units::show_duration;
use super::walk::Section;

/// The key at the top.
pub(super) const KEY: Key =
    Key::defaulted("settle", Shape::Table(&TOP), "how the suspects of every pairing are judged");
/// The key in a pairing.
pub(super) const PAIRING_KEY: Key = Key::optional(
    "settle",
    Shape::Table(&PAIRING),
    "what is different from `[settle]` for this pairing",
);

/// Condemning takes three looks.
const LOOKS_MIN: u64 = 3;

const KEYS: [Key; 8] = [
    Key::defaulted(
        "lag_budget",
        Shape::ANY_DURATION,
        "how far the follower may lag behind the leader",
    ),
    Key::defaulted(
        "settle",
        Shape::SOME_DURATION,
        "the least time over which a difference must stand still before it is drift; with the lag budget, the larger counts",
    ),
    Key::defaulted(
        "first_wait",
        Shape::SOME_DURATION,
        "wait before the second look; grows from there",
    ),
    Key::defaulted("wait_max", Shape::SOME_DURATION, "the longest wait between two looks"),
    Key::defaulted(
        "looks_max",
        Shape::Count { min: LOOKS_MIN, max: 10_000 },
        "looks after which a suspect that never stood still is unsettled",
    ),
    Key::defaulted(
        "crowd",
        Shape::Count { min: 1, max: 10_000_000 },
        "differing keys of one partition beyond which it is settled as a whole",
    ),
    Key::defaulted(
        "pause_max",
        Shape::ANY_DURATION,
        "the longest time for which condemning may pause because lag exceeds its budget",
    ),
    Key::defaulted(
        "suspects_max",
        Shape::Count { min: 1, max: 10_000_000 },
        "suspects and open findings of all pairings together beyond which partitions are settled as a whole",
    ),
];
const INHERITED: [Key; 8] = inherited(KEYS);

static TOP: Table = Table { what: "[settle]", keys: &KEYS, elsewhere: &[] };
static PAIRING: Table = Table {
    what: "a pairing's `settle`",
    keys: INHERITED.split_at(7).0,
    elsewhere: &[("suspects_max", "all pairings share it: set it in the top-level [settle]")],
};

/// Reads how the suspects of every pairing are judged.
pub(super) fn read_top(section: &Section<'_>) -> Settings {
    let base = Settings::default();
    let suspects_max = section.take("suspects_max").and_then(|node| node.count());
    read(section, &Settings { suspects_max: suspects_max.unwrap_or(base.suspects_max), ..base })
}

/// Reads how a pairing's suspects are judged; what is left out is as in `base`.
pub(super) fn read(section: &Section<'_>, base: &Settings) -> Settings {
    let span = |name, base| section.take(name).map_or(Some(base), |node| node.duration());
    let spans = [
        span("lag_budget", base.lag_budget),
        span("settle", base.settle),
        span("first_wait", base.first_wait),
        span("wait_max", base.wait_max),
    ];
    let looks_max = section.take("looks_max").map_or(Some(base.looks_max), |node| node.count());
    let crowd = section.take("crowd").map_or(Some(base.crowd), |node| node.count());
    let settings = Settings {
        lag_budget: spans[0].unwrap_or(base.lag_budget),
        settle: spans[1].unwrap_or(base.settle),
        first_wait: spans[2].unwrap_or(base.first_wait),
        wait_max: spans[3].unwrap_or(base.wait_max),
        looks_max: looks_max.unwrap_or(base.looks_max),
        crowd: crowd.unwrap_or(base.crowd),
        suspects_max: base.suspects_max,
        pause_max: span("pause_max", base.pause_max).unwrap_or(base.pause_max),
    };
    // What was refused is not compared with anything.
    if spans.iter().all(Option::is_some) && looks_max.is_some() && crowd.is_some() {
        refuse_contradictions(section, &settings);
    }
    settings
}

fn refuse_contradictions(section: &Section<'_>, settings: &Settings) {
    let names = &["wait_max", "first_wait"];
    if settings.wait_max < settings.first_wait && section.gives(names) {
        section.fault(
            names,
            format!(
                "the longest wait of {} is shorter than the first of {}",
                show_duration(settings.wait_max),
                show_duration(settings.first_wait)
            ),
            "raise `wait_max`, or lower `first_wait`",
        );
    }
    let needed = settings.window(Duration::MAX);
    let names = &["lag_budget", "settle", "looks_max", "first_wait", "wait_max"];
    if settings.reach() < needed && section.gives(names) {
        section.fault(
            names,
            format!(
                "drift could go untold: after a burst of lag it must stand still for {}, but {} \
                 looks may all lie within {}",
                show_duration(needed),
                settings.looks_max,
                show_duration(Duration::from_secs(settings.reach().as_secs()))
            ),
            "raise `looks_max`, `first_wait` or `wait_max`, or lower `lag_budget` and `settle`",
        );
    }
    let names = &["crowd", "suspects_max"];
    if settings.crowd > settings.suspects_max && section.gives(names) {
        section.fault(
            names,
            format!(
                "`crowd` of {} is beyond `suspects_max` of {}, so it would never count",
                settings.crowd, settings.suspects_max
            ),
            "lower `crowd`, or raise `suspects_max` in the top-level [settle]",
        );
    }
}
