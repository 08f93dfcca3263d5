//! `[abort]`: when the migration must stop, and which hooks fire then.
//!
//! Owns the keys of criteria. Refuses to guess whether hooks may fire: `mode` must be said as soon as
//! there is a criterion. Invariant: a criterion watches for exactly one thing.

use std::collections::BTreeSet;

use crate::abort::{Condition, Criterion, Mode, Settings};
use crate::model::{DriftKind, Severity};

use super::describe::{Key, Shape, Table};
use super::walk::{Entry, Node, Section};

/// The key of the criteria.
pub(super) const KEY: Key =
    Key::optional("abort", Shape::Table(&ABORT), "when the migration must stop");

static ABORT: Table = Table {
    what: "[abort]",
    keys: &[
        Key::optional(
            "mode",
            Shape::Choice(&["armed", "dry_run"]),
            "`armed`: a trip fires its hooks; `dry_run`: it is recorded and reported only. Must be given when there are criteria",
        ),
        Key::optional(
            "criteria",
            Shape::Map { of: &Shape::Table(&CRITERION), name: "criterion", own: true },
            "conditions under which the migration must stop, by name",
        ),
    ],
    elsewhere: &[(
        "hooks",
        "each criterion names its hooks: [abort.criteria.<name>] hooks = [\"...\"]",
    )],
};

static CRITERION: Table = Table {
    what: "a criterion",
    keys: &[
        Key::optional(
            "pairing",
            Shape::Reference("pairings"),
            "the pairing it watches; left out: all together",
        ),
        Key::optional(
            "drift",
            Shape::Table(&DRIFT),
            "trips on open findings of some kinds; either this or `violations`",
        ),
        Key::optional(
            "violations",
            Shape::Table(&VIOLATIONS),
            "trips on open violations of a severity; either this or `drift`",
        ),
        Key::optional(
            "hooks",
            Shape::List { of: &Shape::Reference("hooks"), min: 0 },
            "hooks that fire when it trips, in this order",
        ),
    ],
    elsewhere: &[
        ("kinds", "kinds belong into `drift = { kinds = [...], at_least = 1 }`"),
        ("at_least", "counts belong into `drift = { at_least = 1 }` or `violations = { ... }`"),
        (
            "severity",
            "a severity belongs into `violations = { severity = \"error\", at_least = 1 }`",
        ),
    ],
};

const AT_LEAST: Key = Key::required(
    "at_least",
    Shape::Count { min: 1, max: i64::MAX as u64 },
    "the count at which it trips",
);

static DRIFT: Table = Table {
    what: "`drift`",
    keys: &[
        Key::optional(
            "kinds",
            Shape::List { of: &Shape::Choice(&KINDS), min: 1 },
            "kinds that count; left out: all",
        ),
        AT_LEAST,
    ],
    elsewhere: &[],
};

static VIOLATIONS: Table = Table {
    what: "`violations`",
    keys: &[
        Key::required(
            "severity",
            Shape::Choice(&["info", "warning", "error", "critical"]),
            "the least severity that counts",
        ),
        AT_LEAST,
    ],
    elsewhere: &[],
};

const KINDS: [&str; DriftKind::ALL.len()] = {
    let mut names = [""; DriftKind::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = DriftKind::ALL[index].as_str();
        index += 1;
    }
    names
};

/// Reads when the migration must stop.
pub(super) fn read(section: &Section<'_>) -> Settings {
    let mode = section
        .take("mode")
        .and_then(|node| node.pick(&[("armed", Mode::Armed), ("dry_run", Mode::DryRun)]));
    let entries: Vec<_> = section.take("criteria").iter().flat_map(Node::map).collect();
    if !entries.is_empty() && !section.gives(&["mode"]) {
        section.fault(
            &[],
            "`mode` must be given, because there are criteria",
            "write `mode = \"armed\"` to fire hooks, or `mode = \"dry_run\"` to only report",
        );
    }
    // What is not a mode was refused; without criteria none is needed.
    Settings {
        mode: mode.unwrap_or(Mode::DryRun),
        criteria: entries.iter().filter_map(criterion).collect(),
    }
}

fn criterion(entry: &Entry<'_>) -> Option<Criterion> {
    let section = entry.node.section()?;
    let pairing = section.take("pairing").map(|node| node.reference());
    let hooks = section.take("hooks").map_or_else(Vec::new, |node| node.distinct(Node::reference));
    let drift = section.take("drift");
    let violations = section.take("violations");
    let condition = match (&drift, &violations) {
        (Some(drift), None) => drift_condition(drift),
        (None, Some(violations)) => violations_condition(violations),
        (None, None) => {
            section.fault(
                &[],
                "has nothing to watch for",
                "add `drift = { kinds = [\"missing\"], at_least = 10 }` or `violations = { severity = \"error\", at_least = 1 }`",
            );
            None
        }
        (Some(drift), Some(violations)) => {
            drift_condition(drift);
            violations_condition(violations);
            violations
                .at_key()
                .fault("`drift` and `violations` are two criteria", "give each a name of its own");
            None
        }
    };
    if !section.gives(&["hooks"]) {
        section.warn(
            &[],
            "fires no hook: a trip is only recorded and reported",
            "name some in `hooks = [...]`, or write `hooks = []` if that is meant",
        );
    }
    let pairing = match pairing {
        Some(read) => Some(read?),
        None => None,
    };
    Some(Criterion { name: entry.name.clone(), pairing, condition: condition?, hooks })
}

fn drift_condition(node: &Node<'_>) -> Option<Condition> {
    let section = node.section()?;
    let kinds: BTreeSet<_> = match section.take("kinds") {
        Some(node) => node.distinct(drift_kind).into_iter().collect(),
        None => DriftKind::ALL.into_iter().collect(),
    };
    Some(Condition::Drift { kinds, at_least: at_least(&section)? })
}

fn drift_kind(node: &Node<'_>) -> Option<DriftKind> {
    let name = node.choice()?;
    DriftKind::ALL.into_iter().find(|kind| kind.as_str() == name)
}

fn violations_condition(node: &Node<'_>) -> Option<Condition> {
    let section = node.section()?;
    let severity = section.take("severity").and_then(|node| {
        node.pick(&[
            ("info", Severity::Info),
            ("warning", Severity::Warning),
            ("error", Severity::Error),
            ("critical", Severity::Critical),
        ])
    });
    let at_least = at_least(&section);
    Some(Condition::Violations { severity: severity?, at_least: at_least? })
}

fn at_least(section: &Section<'_>) -> Option<u64> {
    section.take("at_least").and_then(|node| node.count())
}
