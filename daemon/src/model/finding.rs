//! What is kept of suspects and findings.
//!
//! Owns [`Suspect`] and [`Finding`] as data. Refuses to judge: `settle` does, and only the engine
//! makes a finding. Invariant: both hold keys and digests, never values, but for the words of a
//! plugin and label values, which count as values when they are exported.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    Digest, DriftKind, FaultCode, Key, MappingIdentity, Moment, Partition, Severity, Side, State,
    StoreKey, Violation,
};

/// A key that differed and is looked at again until it can be judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// The pairing's name.
    pub pairing: String,
    /// What it is judged under.
    pub identity: MappingIdentity,
    /// The entity's key.
    pub key: Key,
    /// Where the source keeps it.
    pub source_at: Vec<StoreKey>,
    /// Where the target keeps it.
    pub target_at: Vec<StoreKey>,
    /// The check that saw it first.
    pub check: u64,
    /// When it was seen to differ first.
    pub first_seen: Moment,
    /// When it was looked at last, successfully.
    pub last_look: Moment,
    /// When it is due to be looked at again.
    pub due: Moment,
    /// Successful looks so far, the first included.
    pub looks: u32,
    /// Failed looks since the last successful one.
    pub failed: u32,
    /// What the leader held at the last look.
    pub leader: State,
    /// What the follower held at the last look.
    pub follower: State,
    /// Invariants that failed at the last look.
    pub violations: Vec<Violation>,
    /// Earlier versions that the leader was seen to hold; bounded, oldest first.
    pub witnesses: Vec<State>,
    /// How long each differing part has stood still.
    pub still: Vec<Still>,
    /// Labels at the last look.
    pub labels: BTreeMap<String, String>,
    /// Fields whose difference is only normalisation or trailing spaces, at the last look.
    pub cosmetic: Vec<String>,
    /// Why the mapping rejects the row, at the last look; counts as a value.
    pub reason: Option<String>,
    /// When the leader was last known to have changed: observed, or by its declared version.
    pub leader_changed: Option<Moment>,
}

/// A part of a suspect that may stand still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Whether it is there, and how: absent, duplicate, unmappable.
    Presence,
    /// The compared field at this position.
    Field(usize),
    /// The invariant at this position.
    Invariant(usize),
}

/// How long a differing part has stood still on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Still {
    /// The part.
    pub part: Part,
    /// The first look of the streak.
    pub since: Moment,
    /// Looks in the streak.
    pub looks: u32,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// One entity.
    Key(Key),
    /// Many entities of one partition, settled as a whole: how many, of which some are named.
    Partition {
        /// The partition.
        partition: Partition,
        /// Entities that differ.
        entities: u64,
        /// Some of their keys.
        sample: Vec<NamedKey>,
    },
}

/// A key with the name of its entity type: none for a row that no entity is known of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedKey {
    /// The key.
    pub key: Key,
    /// The type's name.
    pub entity: Option<String>,
}

/// What a relation is called, where people are told what lies in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationNames {
    /// Its name.
    pub relation: String,
    /// The columns of its primary key.
    pub key: Vec<String>,
    /// The columns whose values make groups; empty where its rows stand by themselves.
    pub group: Vec<String>,
}

/// Whether a finding still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingStatus {
    /// It does.
    Open,
    /// Both sides were seen to agree again.
    Resolved(Moment),
    /// The mapping changed; results of different identities are not compared.
    Superseded(Moment),
}

/// Confirmed drift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its number in this journal, from 1.
    pub id: u64,
    /// The pairing's name.
    pub pairing: String,
    /// What it was judged under.
    pub identity: MappingIdentity,
    /// What it is about.
    pub subject: Subject,
    /// The name of the entity type: none for a row that no entity is known of, and for a partition
    /// whose differing entities are of several types, or may be.
    pub entity: Option<String>,
    /// The kind of drift.
    pub kind: DriftKind,
    /// For `duplicate` and `unmappable` the side concerned.
    pub side: Option<Side>,
    /// Fields that differ.
    pub fields: Vec<String>,
    /// Those of them whose difference is only Unicode normalisation or trailing spaces.
    pub cosmetic: Vec<String>,
    /// For a `violation` the invariant and its severity.
    pub invariant: Option<(String, Severity)>,
    /// The plugin's words on it; they count as values.
    pub message: Option<String>,
    /// Values of its label fields; they count as values.
    pub labels: BTreeMap<String, String>,
    /// The source's entity digest.
    pub source_digest: Option<Digest>,
    /// The target's entity digest.
    pub target_digest: Option<Digest>,
    /// Where the source keeps it.
    pub source_at: Vec<StoreKey>,
    /// Where the target keeps it.
    pub target_at: Vec<StoreKey>,
    /// The check that saw it first.
    pub check: u64,
    /// When it was seen first.
    pub first_seen: Moment,
    /// When it was confirmed.
    pub confirmed: Moment,
    /// When it was seen last.
    pub last_seen: Moment,
    /// When it is due to be looked at again, to see whether it has gone away.
    pub due: Moment,
    /// Looks that it took to confirm it.
    pub looks: u32,
    /// Whether it still stands.
    pub status: FindingStatus,
    /// Set by a person: not counted until then.
    pub ignored_until: Option<Moment>,
}

impl Finding {
    /// How many entities it is about.
    #[must_use]
    pub const fn entities(&self) -> u64 {
        match &self.subject {
            Subject::Key(_) => 1,
            Subject::Partition { entities, .. } => *entities,
        }
    }

    /// Whether it is of a rule over all of a partition, and so of no entity in particular.
    #[must_use]
    pub fn is_of_rule(&self) -> bool {
        // Findings of many entities have no words: each of these has its own.
        let whole = matches!(self.subject, Subject::Partition { .. }) && self.message.is_some();
        whole && self.kind == DriftKind::Violation
    }

    /// Whether it stands and is not ignored at `now`.
    #[must_use]
    pub fn counts(&self, now: Moment) -> bool {
        self.status == FindingStatus::Open && self.ignored_until.is_none_or(|until| until <= now)
    }
}

/// A partition with so many differing keys that it is settled as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// The pairing's name.
    pub pairing: String,
    /// What it is judged under.
    pub identity: MappingIdentity,
    /// The partition.
    pub partition: Partition,
    /// The check that saw it first.
    pub check: u64,
    /// When it was seen first.
    pub first_seen: Moment,
    /// When it is due to be scanned again.
    pub due: Moment,
}

/// A partition of which a rule over all of it was seen broken, or could not say anything yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspectPartition {
    /// The pairing's name.
    pub pairing: String,
    /// What it is judged under.
    pub identity: MappingIdentity,
    /// The partition.
    pub partition: Partition,
    /// The check that made it suspect.
    pub check: u64,
    /// When that ended.
    pub first_seen: Moment,
    /// When it is due to be scanned again.
    pub due: Moment,
    /// Scans at which its rules spoke.
    pub looks: u32,
    /// Scans at which they did not.
    pub silent: u32,
    /// Scans of which something was unread, since one of which nothing was.
    pub failed: u32,
    /// The rules that are not decided.
    pub rules: Vec<SuspectRule>,
}

/// A rule for which a partition is suspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspectRule {
    /// Position in the mapping's invariants.
    pub invariant: usize,
    /// How it was broken when it last spoke; none: it has not spoken yet.
    pub broken: Option<Broken>,
}

/// How a rule is broken, and for how long nothing that it counts has moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Digest of what it accumulated.
    pub state: Digest,
    /// The first look of the streak.
    pub since: Moment,
    /// Looks in the streak.
    pub looks: u32,
    /// The plugin's words on it; they count as values.
    pub words: String,
}

/// Something that was unread for so long that a person was told, and is not known to be read since.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Incident {
    /// The partition of which it was told; none: the pairing as a whole, a store answers nothing.
    pub partition: Option<Partition>,
    /// The fault's code.
    pub code: FaultCode,
}

/// How far a pairing has come; also what `status` prints and metrics are made of. Counts are since
/// the journal began under this identity.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairingStatus {
    /// The pairing's name.
    pub pairing: String,
    /// What its results hold under.
    pub identity: MappingIdentity,
    /// The number of the pass under way, from 1.
    pub pass: u64,
    /// When it began.
    pub pass_began: Moment,
    /// Partitions of this pass, over all directions.
    pub partitions: u64,
    /// Those that are done.
    pub done: u64,
    /// Those that were given up as unread.
    pub unread_partitions: u64,
    /// Complete passes.
    pub passes: u64,
    /// The begin of the last pass in which everything was read: everything was compared since.
    pub covered_since: Option<Moment>,
    /// Checks.
    pub checks: u64,
    /// Rows read from the source.
    pub source_rows: u64,
    /// Rows read from the target.
    pub target_rows: u64,
    /// Read capacity units consumed.
    pub capacity: f64,
    /// Entities compared, same or not.
    pub compared: u64,
    /// Entities found the same.
    pub same: u64,
    /// Entities out of scope.
    pub excluded: u64,
    /// Findings confirmed, in entities, by kind.
    pub confirmed: BTreeMap<DriftKind, u64>,
    /// Findings that stand and are not ignored, in entities, by kind.
    pub open: BTreeMap<DriftKind, u64>,
    /// Findings that stand and are ignored, in entities.
    pub ignored: u64,
    /// Findings that went away, in entities.
    pub resolved: u64,
    /// Suspects that could not be judged within their looks.
    pub unsettled: u64,
    /// Suspects that were acquitted.
    pub acquitted: u64,
    /// Suspects now.
    pub suspects: u64,
    /// Looks and checks, or parts of them, that failed.
    pub unread: u64,
    /// The last observed lag of the follower, in microseconds.
    pub lag_micros: u64,
    /// Since when condemning pauses because lag exceeds its budget.
    pub lagging_since: Option<Moment>,
    /// Up to when the follower is known to have applied what the leader wrote.
    pub follower_progress: Moment,
    /// Columns and attributes that the plan neither uses nor ignores, with their side.
    pub unmapped: BTreeSet<(Side, String)>,
    /// Set if a direction cannot be verified: why.
    pub not_verifiable: Option<String>,
    /// Set while the pairing cannot be begun, so that nothing of it is read: why.
    pub not_begun: Option<String>,
    /// Pass and unread partitions of the last complete pass.
    pub last_pass_unread: u64,
    /// Entities that were unsettled in the last complete pass.
    pub last_pass_unsettled: u64,
    /// Entities compared in the pass under way, or the last one.
    pub pass_compared: u64,
    /// Suspects that were unsettled before that pass.
    pub unsettled_before: u64,
    /// Open incidents of what cannot be read.
    pub incidents: BTreeSet<Incident>,
    /// Findings of another identity that stand until they are judged under this one, in entities; they
    /// are among those that are open or ignored.
    pub anew: u64,
    /// The relations of source and target under this identity, as places number them.
    pub relations: [Vec<RelationNames>; 2],
}
