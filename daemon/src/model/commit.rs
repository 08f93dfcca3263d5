//! Everything that one step decides, for one journal transaction.
//!
//! Owns [`Commit`], [`Saved`], [`Command`] and [`PassState`]. Refuses formats. Invariant: a commit is
//! applied as a whole or not at all, and [`Saved`] is what all commits so far add up to.

use crate::model::{
    CriterionState, Crowd, Direction, Extent, Finding, HookJob, Key, MappingIdentity, Moment,
    Occurrence, Outage, PairingStatus, Partition, Suspect, SuspectPartition, Unjudged, Unsettled,
};

/// Everything that one step decides.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Commit {
    /// Pairings that are configured no longer: all but their findings is forgotten. Comes first.
    pub removed: Vec<String>,
    /// Passes that began: replaces all that was kept of the pairing's pass.
    pub passes: Vec<PassState>,
    /// Partitions that are done, by pairing.
    pub done: Vec<(String, Partition, PartitionEnd)>,
    /// Suspects that are new or changed.
    pub suspects: Vec<Suspect>,
    /// Suspects that are decided, by pairing.
    pub decided: Vec<(String, Key)>,
    /// Crowds that are new or changed.
    pub crowds: Vec<Crowd>,
    /// Crowds that are decided, by pairing.
    pub dispersed: Vec<(String, Partition)>,
    /// Partitions that are new, or changed, among those that are suspect for a rule.
    pub suspect_partitions: Vec<SuspectPartition>,
    /// Partitions that are suspect for no rule any more, by pairing.
    pub decided_partitions: Vec<(String, Partition)>,
    /// What could not be judged.
    pub unsettled: Vec<Unsettled>,
    /// What is no longer unsettled, by pairing, and since when.
    pub settled: Vec<(String, Unjudged, Moment)>,
    /// Findings that are new or changed.
    pub findings: Vec<Finding>,
    /// Criteria that changed.
    pub criteria: Vec<CriterionState>,
    /// What happened, for the outbox.
    pub occurrences: Vec<Occurrence>,
    /// Hook jobs that are new or changed.
    pub hooks: Vec<HookJob>,
    /// How far pairings have come.
    pub status: Vec<PairingStatus>,
    /// Stores that are down, as far as is known now.
    pub outages: Vec<Outage>,
    /// Stores, by name, that are down no longer.
    pub answering: Vec<String>,
    /// Commands that were carried out, or refused, with the answer.
    pub answered: Vec<(i64, Answer)>,
}

impl Commit {
    /// Whether nothing was decided.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is said to a command: what was done, or why nothing was.
pub type Answer = Result<String, String>;

/// How a partition of a pass ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionEnd {
    /// It was read and compared; its suspects are kept apart.
    Compared,
    /// It was given up as unread.
    Unread,
    /// It was compared as far as this extent's begin; the rest is a child in its slot.
    Continued(Extent),
}

/// A pass of a pairing that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassState {
    /// The pairing's name.
    pub pairing: String,
    /// What its results hold under.
    pub identity: MappingIdentity,
    /// Its number, from 1.
    pub pass: u64,
    /// When it began.
    pub began: Moment,
    /// The seed of its order.
    pub seed: u64,
    /// The extents of each direction, by partition number; frozen for the pass.
    pub extents: Vec<(Direction, Vec<Extent>)>,
    /// Partitions that are done.
    pub done: Vec<(Direction, u32, PartitionEnd)>,
    /// Whether all of it is done.
    pub complete: bool,
}

/// What the journal holds: everything that a restart goes on with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Passes under way.
    pub passes: Vec<PassState>,
    /// Suspects.
    pub suspects: Vec<Suspect>,
    /// Crowds.
    pub crowds: Vec<Crowd>,
    /// Partitions that are suspect for a rule.
    pub suspect_partitions: Vec<SuspectPartition>,
    /// What could not be judged and has not been since.
    pub unsettled: Vec<Unsettled>,
    /// Findings that stand.
    pub findings: Vec<Finding>,
    /// Criteria.
    pub criteria: Vec<CriterionState>,
    /// Hook jobs that are neither succeeded nor cancelled.
    pub hooks: Vec<HookJob>,
    /// How far pairings have come.
    pub status: Vec<PairingStatus>,
    /// Stores that are down, as far as people were told.
    pub outages: Vec<Outage>,
    /// The number of the last finding.
    pub last_finding: u64,
    /// The number of the last occurrence.
    pub last_occurrence: u64,
    /// The number of the last hook job.
    pub last_hook: u64,
}

/// What a person asks of the daemon; left in the journal by the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Arm a tripped criterion again.
    Reset {
        /// The criterion.
        criterion: String,
    },
    /// Run a criterion's hooks as a test, whatever the mode.
    Test {
        /// The criterion.
        criterion: String,
    },
    /// Do not count a finding for some time.
    Ignore {
        /// The finding's number.
        finding: u64,
        /// Until when.
        until: Moment,
    },
}
