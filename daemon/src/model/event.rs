//! What happened, for those outside.
//!
//! Owns [`Occurrence`] (what drift events are made of), [`Note`] (what telemetry is made of) and
//! [`CriterionState`], [`HookJob`]. Refuses wire formats: `report` has them. Invariant: an occurrence
//! has its number before it is committed, so that its event has one id for ever.

use crate::model::{
    Checksum, Cost, DriftKind, FailedRows, Fault, FaultCode, Finding, Key, Moment, Outage,
    Partition, Side, Span, Unsettled,
};

/// Something that alerting systems must learn, in the order of its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// Its number in this journal, from 1, without gaps.
    pub number: u64,
    /// When it was decided.
    pub at: Moment,
    /// What happened.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// Drift was confirmed.
    Confirmed(Finding),
    /// An open finding is now of another kind.
    Changed {
        /// The finding as it is now.
        finding: Finding,
        /// What it was.
        was: DriftKind,
    },
    /// A finding went away.
    Resolved(Finding),
    /// A finding no longer counts because the mapping changed.
    Superseded(Finding),
    /// A criterion tripped.
    Tripped {
        /// The criterion as it is now.
        criterion: CriterionState,
        /// Whether its hooks fire.
        armed: bool,
        /// The names of its hooks.
        hooks: Vec<String>,
    },
    /// A person reset a criterion.
    Reset(CriterionState),
    /// A person asked for a test of a criterion's hooks.
    Tested {
        /// The criterion.
        criterion: String,
        /// The names of its hooks.
        hooks: Vec<String>,
    },
    /// A hook succeeded.
    HookSucceeded(HookJob),
    /// A hook exhausted its deadline; tries go on.
    HookFailed(HookJob),
    /// The follower lags beyond its budget; condemning pauses.
    Lagging {
        /// The pairing.
        pairing: String,
        /// How far, in microseconds, as far as is known.
        lag_micros: u64,
        /// What says so.
        evidence: String,
    },
    /// The follower no longer lags beyond its budget.
    CaughtUp {
        /// The pairing.
        pairing: String,
        /// For how long it lagged, in microseconds.
        lasted_micros: u64,
    },
    /// Something could not be read for so long that a person should know.
    Unread {
        /// The pairing.
        pairing: String,
        /// The partition; none: the pairing as a whole.
        partition: Option<Partition>,
        /// Why.
        fault: Fault,
        /// How often it was tried.
        tries: u32,
    },
    /// What was unread can be read again.
    Readable {
        /// The pairing.
        pairing: String,
        /// The partition of which it was said that it is unread; none: the pairing as a whole.
        partition: Option<Partition>,
        /// The code of the fault that was said to be why.
        code: FaultCode,
    },
    /// A store does not answer: nothing that reads it goes on.
    StoreDown(Outage),
    /// A store answers again.
    StoreUp {
        /// What was told of it, with the moment since which it was down.
        outage: Outage,
        /// For how long it was, in microseconds.
        lasted_micros: u64,
    },
    /// Something could not be judged, which had been judged, or was not known, before.
    Unsettled(Unsettled),
    /// Columns or attributes were met that the plan neither uses nor ignores. Each is told once.
    Unmapped {
        /// The pairing.
        pairing: String,
        /// The side that has them.
        side: Side,
        /// Their names, in order; at least one.
        names: Vec<String>,
    },
    /// A pass is complete in every direction.
    PassCompleted {
        /// The pairing.
        pairing: String,
        /// Its number.
        pass: u64,
        /// When it began.
        began: Moment,
        /// Entities compared in it.
        compared: u64,
        /// Partitions that stayed unread.
        unread: u64,
    },
}

/// A criterion's durable state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CriterionState {
    /// Its name.
    pub name: String,
    /// How often it has tripped.
    pub trips: u64,
    /// Since when it is tripped; none: armed.
    pub tripped: Option<Moment>,
    /// Since when it is armed: what was confirmed before does not count.
    pub armed: Moment,
    /// The count that it watches, when last evaluated.
    pub count: u64,
    /// The count at which it trips.
    pub at_least: u64,
    /// Whether it only watches: when it trips, no hook fires.
    pub dry_run: bool,
}

/// A hook that must run to success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookJob {
    /// Its number in this journal, from 1; its idempotency key is made of it.
    pub id: u64,
    /// The hook's name.
    pub hook: String,
    /// The criterion that tripped.
    pub criterion: String,
    /// The number of the occurrence that is handed to it.
    pub occurrence: u64,
    /// When it was committed.
    pub since: Moment,
    /// How far it is.
    pub state: HookState,
    /// Tries begun so far.
    pub tries: u32,
    /// When it is due next.
    pub due: Moment,
    /// How the last try ended.
    pub last: Option<String>,
    /// Whether a person's test made it, not a trip.
    pub test: bool,
}

/// How far a hook is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// To be run, or run again.
    Pending,
    /// Recorded as failed: its deadline is over. Tries go on.
    Failed,
    /// Recorded as succeeded: never again.
    Succeeded,
    /// No longer wanted: a person reset the criterion before it succeeded, or it was a test that failed.
    Cancelled,
}

/// What telemetry is made of. Losing one loses nothing but telemetry.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A check ended. Its trace is held until it is decided.
    Checked(CheckNote),
    /// All suspects of a check are decided.
    Decided {
        /// The check.
        check: u64,
        /// Whether any of them was drift.
        drift: bool,
    },
    /// A finding was confirmed: a trace of its own, linked to its first check.
    Confirmed(Vec<Finding>),
    /// Something happened that the log should say.
    Happened(Happening),
    /// A check or a look, or a part of it, was unread.
    Unread {
        /// The pairing.
        pairing: String,
        /// Where.
        scope: String,
        /// One key of what was unread, if that is where it failed.
        key: Option<Key>,
        /// Why.
        fault: Fault,
    },
    /// The plugin fails on some rows of a check by themselves, which become suspects.
    Failed {
        /// The pairing.
        pairing: String,
        /// The partition.
        partition: Partition,
        /// Which rows.
        failed: FailedRows,
    },
}

/// A check, as telemetry sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckNote {
    /// Its number in this process.
    pub check: u64,
    /// The pairing.
    pub pairing: String,
    /// The partition.
    pub partition: Partition,
    /// The pass.
    pub pass: u64,
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// Entities found the same.
    pub same: u64,
    /// Entities out of scope.
    pub excluded: u64,
    /// Keys that differed.
    pub suspects: u64,
    /// Rules over the partition that were broken.
    pub broken: u64,
    /// What was unread, by fault code, bounded.
    pub unread: Vec<(String, Fault)>,
    /// Both checksums, for the evidence.
    pub checksums: [(Side, Checksum); 2],
    /// What reading cost.
    pub costs: [(Side, Cost); 2],
    /// Timed parts.
    pub spans: Vec<Span>,
}
