//! Every name that driftd exports: spans, attributes, metrics, types of drift events.
//!
//! Owns the names and what they mean; `TELEMETRY.md` lists them for people, and a test holds the two
//! together. Refuses values. Invariant: a name that was released keeps its meaning; another meaning
//! is another name (or, for events, another version).

/// The instrumentation scope of all spans and metrics.
pub const SCOPE: &str = "driftd";

/// Names of spans.
pub mod span {
    /// One check of one partition: root of its own trace.
    pub const CHECK: &str = "driftd.check";
    /// Reading one side of a check.
    pub const READ: &str = "driftd.read";
    /// Calls of the mapping in a check: mapping the rows of a side, or checking invariants.
    pub const PLUGIN: &str = "driftd.plugin";
    /// Comparing both sides of a check.
    pub const COMPARE: &str = "driftd.compare";
    /// Drift was confirmed: root of its own trace, status Error, linked to the check that saw it
    /// first. It lasts from the first sight to the confirmation.
    pub const DRIFT: &str = "driftd.drift";
    /// One drifted key below [`DRIFT`]; at most 64 of them.
    pub const DRIFT_KEY: &str = "driftd.drift.key";
}

/// Keys of attributes, of spans and of metrics. Metrics carry only those that say so.
pub mod attribute {
    /// The pairing's name. Also on metrics.
    pub const PAIRING: &str = "driftd.pairing";
    /// A store's name. On metrics only.
    pub const STORE: &str = "driftd.store";
    /// The partition: direction and number within the pass.
    pub const PARTITION: &str = "driftd.partition";
    /// The rows of the partition. Its bounds are keys: only where keys are exported as they are.
    pub const EXTENT: &str = "driftd.partition.extent";
    /// How both sides were read: `aligned`, `from source`, `from target`.
    pub const DIRECTION: &str = "driftd.direction";
    /// The side concerned: `source`, `target`. Also on metrics.
    pub const SIDE: &str = "driftd.side";
    /// The pass's number.
    pub const PASS: &str = "driftd.pass";
    /// The check's number in this process.
    pub const CHECK: &str = "driftd.check.number";
    /// How a check ended: `same`, `suspects` (it had some, none became drift), `unread`, `drift`.
    /// Also on metrics.
    pub const CHECK_RESULT: &str = "driftd.check.result";
    /// Why the trace of a check was kept: `drift`, `unread`, `slow`, `ratio`.
    pub const CHECK_KEPT: &str = "driftd.check.kept";
    /// Entities that both sides hold alike.
    pub const SAME: &str = "driftd.check.same";
    /// Entities out of scope.
    pub const EXCLUDED: &str = "driftd.check.excluded";
    /// Keys that differed at the check.
    pub const SUSPECTS: &str = "driftd.check.suspects";
    /// Rules over the partition that were broken at the check.
    pub const BROKEN: &str = "driftd.check.broken";
    /// Codes of the faults that left parts of the check unread.
    pub const UNREAD: &str = "driftd.check.unread";
    /// Rows that a part of a check read, mapped or compared.
    pub const ROWS: &str = "driftd.rows";
    /// Rows read from the source.
    pub const SOURCE_ROWS: &str = "driftd.source.rows";
    /// Rows read from the target.
    pub const TARGET_ROWS: &str = "driftd.target.rows";
    /// Bytes of values read from the source.
    pub const SOURCE_BYTES: &str = "driftd.source.bytes";
    /// Bytes of values read from the target.
    pub const TARGET_BYTES: &str = "driftd.target.bytes";
    /// Read capacity units consumed on the source.
    pub const SOURCE_CAPACITY: &str = "driftd.source.capacity";
    /// Read capacity units consumed on the target.
    pub const TARGET_CAPACITY: &str = "driftd.target.capacity";
    /// The source's rolling checksum, as `count:sum`; of the partition, or of a drifted key's entity.
    pub const CHECKSUM_SOURCE: &str = "driftd.checksum.source";
    /// The target's rolling checksum, as `count:sum`; of the partition, or of a drifted key's entity.
    pub const CHECKSUM_TARGET: &str = "driftd.checksum.target";
    /// Parts of a check that have no span of their own, because there were too many.
    pub const OMITTED: &str = "driftd.check.omitted";
    /// The contract's function that a plugin span is about: `map-batch`, `check-pairs`.
    pub const PLUGIN_FUNCTION: &str = "driftd.plugin.function";
    /// The number of a finding in the journal.
    pub const FINDING: &str = "driftd.finding";
    /// The kind of drift. Also on metrics.
    pub const DRIFT_KIND: &str = "driftd.drift.kind";
    /// The name of the entity type that the span is about, if it is about one.
    pub const ENTITY_TYPE: &str = "driftd.entity.type";
    /// The HMAC of a drifted key.
    pub const DRIFT_KEY_HMAC: &str = "driftd.drift.key_hmac";
    /// A drifted key as it is; only where keys are exported as they are.
    pub const DRIFT_KEY: &str = "driftd.drift.key";
    /// Names of the fields that differ.
    pub const DRIFT_FIELDS: &str = "driftd.drift.fields";
    /// Those of them whose difference is only Unicode normalisation or trailing spaces.
    pub const DRIFT_COSMETIC: &str = "driftd.drift.cosmetic";
    /// Entities that the span is about.
    pub const DRIFT_ENTITIES: &str = "driftd.drift.entities";
    /// Drifted keys that have no span of their own, because there were too many.
    pub const DRIFT_OMITTED: &str = "driftd.drift.omitted";
    /// Seconds from the first sight to the confirmation.
    pub const DRIFT_AGE: &str = "driftd.drift.age_s";
    /// Looks that the confirmation took.
    pub const DRIFT_LOOKS: &str = "driftd.drift.looks";
    /// The invariant that failed.
    pub const INVARIANT: &str = "driftd.invariant";
    /// How bad that is: `info`, `warning`, `error`, `critical`.
    pub const SEVERITY: &str = "driftd.severity";
    /// What results are judged under.
    pub const IDENTITY: &str = "driftd.mapping.identity";
    /// What became of entities. On metrics only: `same`, `different`, `excluded`.
    pub const ENTITY_RESULT: &str = "driftd.entity.result";
    /// The state of partitions of a pass. On metrics only: `done`, `unread`, `waiting`.
    pub const PARTITION_STATE: &str = "driftd.partition.state";
    /// The code of a fault. On metrics only.
    pub const FAULT: &str = "driftd.fault";
    /// A criterion's name. On metrics only.
    pub const CRITERION: &str = "driftd.criterion";
    /// Why telemetry was let go. On metrics only: `undecided`, `rate`, `queue`, `export`.
    pub const DROPPED_REASON: &str = "driftd.telemetry.reason";
    /// The signal concerned. On metrics only: `traces`, `metrics`.
    pub const SIGNAL: &str = "driftd.telemetry.signal";
    /// OpenTelemetry's class of error: `drift`, or the code of the first fault.
    pub const ERROR_TYPE: &str = "error.type";
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in OTLP.
    pub name: &'static str,
    /// Its unit, in UCUM.
    pub unit: &'static str,
    /// What it counts.
    pub help: &'static str,
}

/// The metrics. None of them has a key or a partition as attribute.
pub mod metric {
    use super::Metric;

    /// Rows read, by side.
    pub const ROWS: Metric =
        Metric { name: "driftd.rows", unit: "{row}", help: "Rows read from a side" };
    /// Entities, by what became of them.
    pub const ENTITIES: Metric = Metric {
        name: "driftd.entities",
        unit: "{entity}",
        help: "Entities compared (same, different) or out of scope (excluded)",
    };
    /// Read capacity units consumed.
    pub const CAPACITY: Metric = Metric {
        name: "driftd.capacity",
        unit: "{capacity_unit}",
        help: "Read capacity units consumed",
    };
    /// Checks.
    pub const CHECKS: Metric =
        Metric { name: "driftd.checks", unit: "{check}", help: "Checks of partitions" };
    /// How long checks took, by result at their end; a histogram.
    pub const CHECK_DURATION: Metric = Metric {
        name: "driftd.check.duration",
        unit: "s",
        help: "Duration of checks by how they ended, before suspects were settled",
    };
    /// Complete passes.
    pub const PASSES: Metric =
        Metric { name: "driftd.passes", unit: "{pass}", help: "Complete passes" };
    /// Partitions of the pass under way, by state.
    pub const PARTITIONS: Metric = Metric {
        name: "driftd.partitions",
        unit: "{partition}",
        help: "Partitions of the pass under way",
    };
    /// Confirmed drift, by kind.
    pub const DRIFT: Metric = Metric {
        name: "driftd.drift",
        unit: "{entity}",
        help: "Entities whose drift was confirmed",
    };
    /// Drift that stands and is not ignored, by kind.
    pub const DRIFT_OPEN: Metric = Metric {
        name: "driftd.drift.open",
        unit: "{entity}",
        help: "Entities with drift that stands and is not ignored",
    };
    /// Drift that stands and is ignored.
    pub const DRIFT_IGNORED: Metric = Metric {
        name: "driftd.drift.ignored",
        unit: "{entity}",
        help: "Entities with drift that stands and is ignored for now",
    };
    /// Drift that went away.
    pub const DRIFT_RESOLVED: Metric = Metric {
        name: "driftd.drift.resolved",
        unit: "{entity}",
        help: "Entities whose drift went away",
    };
    /// What could not be compared.
    pub const UNREAD: Metric = Metric {
        name: "driftd.unread",
        unit: "{read}",
        help: "Checks and looks, or parts of them, that could not be read or mapped",
    };
    /// Why, by code; since this process began.
    pub const FAULTS: Metric = Metric {
        name: "driftd.faults",
        unit: "{fault}",
        help: "Faults that left something unread, since this process began",
    };
    /// Suspects that could not be judged.
    pub const UNSETTLED: Metric = Metric {
        name: "driftd.unsettled",
        unit: "{suspect}",
        help: "Suspects, and rules over partitions, that could not be judged within their looks",
    };
    /// Suspects that were acquitted.
    pub const ACQUITTED: Metric = Metric {
        name: "driftd.acquitted",
        unit: "{suspect}",
        help: "Suspects that turned out to be no drift",
    };
    /// Suspects now.
    pub const SUSPECTS: Metric =
        Metric { name: "driftd.suspects", unit: "{suspect}", help: "Suspects being settled now" };
    /// How old the oldest comparison is.
    pub const COVERAGE_AGE: Metric = Metric {
        name: "driftd.coverage.age",
        unit: "s",
        help: "Time since the begin of the last pass in which everything was read; before the \
               first, since this process saw the pairing begin",
    };
    /// Whether there was such a pass.
    pub const COVERED: Metric = Metric {
        name: "driftd.covered",
        unit: "",
        help: "1 once a pass has read everything in every direction, else 0",
    };
    /// Whether the pairing cannot be begun.
    pub const NOT_BEGUN: Metric = Metric {
        name: "driftd.not_begun",
        unit: "",
        help: "1 while the pairing cannot be begun, so that nothing of it is read",
    };
    /// Whether a direction cannot be verified.
    pub const NOT_VERIFIABLE: Metric = Metric {
        name: "driftd.not_verifiable",
        unit: "",
        help: "1 if a direction of the pairing cannot be verified, else 0",
    };
    /// Attributes that the mapping does not know.
    pub const UNMAPPED: Metric = Metric {
        name: "driftd.unmapped",
        unit: "{attribute}",
        help: "Attributes met that the mapping neither uses nor ignores",
    };
    /// The follower's lag.
    pub const LAG: Metric =
        Metric { name: "driftd.lag", unit: "s", help: "Last observed lag of the follower" };
    /// Whether that exceeds the budget.
    pub const LAGGING: Metric = Metric {
        name: "driftd.lagging",
        unit: "",
        help: "1 while lag exceeds its budget and condemning pauses, else 0",
    };
    /// Whether a criterion is tripped.
    pub const TRIPPED: Metric =
        Metric { name: "driftd.criterion.tripped", unit: "", help: "1 while tripped, 0 if armed" };
    /// How often it has tripped.
    pub const TRIPS: Metric = Metric {
        name: "driftd.criterion.trips",
        unit: "{trip}",
        help: "How often the criterion has tripped",
    };
    /// Hooks to be run or to be run again.
    pub const HOOKS_PENDING: Metric = Metric {
        name: "driftd.hooks.pending",
        unit: "{hook}",
        help: "Hooks that must run and have not succeeded",
    };
    /// Drift events in the journal that are not delivered yet.
    pub const OUTBOX: Metric = Metric {
        name: "driftd.outbox",
        unit: "{event}",
        help: "Drift events that are committed and not delivered yet",
    };
    /// Whether a store answers.
    pub const STORE_UP: Metric = Metric {
        name: "driftd.store.up",
        unit: "",
        help: "Whether a store answers (1), or is down (0)",
    };
    /// For how long a store has been down.
    pub const STORE_DOWN_TIME: Metric = Metric {
        name: "driftd.store.down_time",
        unit: "s",
        help: "For how long a store has been down; 0 while it answers",
    };
    /// Whether the last reload succeeded.
    pub const RELOADED: Metric = Metric {
        name: "driftd.config.last_reload_successful",
        unit: "",
        help: "1 if the last reload succeeded or there was none, 0 if it was refused",
    };
    /// When the configuration that is running was read.
    pub const RELOADED_AT: Metric = Metric {
        name: "driftd.config.last_reload_success_timestamp",
        unit: "s",
        help: "When the configuration that is running was read, in seconds since the Unix epoch",
    };
    /// Telemetry that was let go, by signal and reason.
    pub const DROPPED: Metric = Metric {
        name: "driftd.telemetry.dropped",
        unit: "{item}",
        help: "Traces of undecided checks (undecided), spans beyond the rate or the queue (rate, \
               queue), spans and collections that the receiver did not take (export)",
    };
}

/// Types of drift events.
pub mod event {
    /// Drift was confirmed.
    pub const DRIFT_CONFIRMED: &str = "driftd.drift.confirmed.v1";
    /// An open finding is now of another kind.
    pub const DRIFT_CHANGED: &str = "driftd.drift.changed.v1";
    /// A finding went away.
    pub const DRIFT_RESOLVED: &str = "driftd.drift.resolved.v1";
    /// A finding no longer counts because the mapping changed.
    pub const DRIFT_SUPERSEDED: &str = "driftd.drift.superseded.v1";
    /// A criterion tripped.
    pub const CRITERION_TRIPPED: &str = "driftd.criterion.tripped.v1";
    /// A person reset a criterion.
    pub const CRITERION_RESET: &str = "driftd.criterion.reset.v1";
    /// A person asked for a test of a criterion's hooks.
    pub const CRITERION_TESTED: &str = "driftd.criterion.tested.v1";
    /// A hook succeeded.
    pub const HOOK_SUCCEEDED: &str = "driftd.hook.succeeded.v1";
    /// A hook exhausted its deadline; tries go on.
    pub const HOOK_FAILED: &str = "driftd.hook.failed.v1";
    /// The follower lags beyond its budget.
    pub const LAG_OPENED: &str = "driftd.lag.opened.v1";
    /// The follower no longer lags beyond its budget.
    pub const LAG_CLOSED: &str = "driftd.lag.closed.v1";
    /// Something could not be read for long.
    pub const UNREAD_OPENED: &str = "driftd.unread.opened.v1";
    /// What was unread can be read again.
    pub const UNREAD_CLOSED: &str = "driftd.unread.closed.v1";
    /// Something that differed could not be judged.
    pub const UNSETTLED: &str = "driftd.drift.unsettled.v1";
    /// Columns or attributes were met that the mapping neither uses nor ignores.
    pub const UNMAPPED_FOUND: &str = "driftd.unmapped.found.v1";
    /// A store is down: nothing that reads it goes on.
    pub const STORE_OPENED: &str = "driftd.store.opened.v1";
    /// A store answers again.
    pub const STORE_CLOSED: &str = "driftd.store.closed.v1";
    /// A pass is complete in every direction.
    pub const PASS_COMPLETED: &str = "driftd.pass.completed.v1";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Every `driftd.` name that stands between two of `quote` in `text`.
    fn names(text: &str, quote: char) -> BTreeSet<&str> {
        text.split(quote).skip(1).step_by(2).filter(|word| word.starts_with("driftd.")).collect()
    }

    #[test]
    fn the_page_lists_every_name_and_no_other() {
        let source = include_str!("names.rs").split("#[cfg(test)]").next().unwrap();
        let page = include_str!("../../../TELEMETRY.md");
        let (here, there) = (names(source, '"'), names(page, '`'));
        assert!(here.len() > 80, "only {} names were found", here.len());
        assert_eq!(here.difference(&there).collect::<Vec<_>>(), Vec::<&&str>::new(), "unlisted");
        assert_eq!(there.difference(&here).collect::<Vec<_>>(), Vec::<&&str>::new(), "unknown");
    }
}
