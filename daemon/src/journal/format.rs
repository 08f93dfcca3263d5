//! The structure of what the file keeps as JSON text.
//!
//! Owns one mirror for each shared word that the journal keeps, field by field, so that a word can
//! change without the file changing unseen. Refuses to know tables. Invariant: reading what was
//! written gives the same word; a change here is a new format version.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::journal::text::Word;
use crate::model::{
    Broken, Command, CriterionState, Crowd, Digest, DriftKind, Facets, FaultCode, Finding,
    FindingStatus, HookJob, HookState, Incident, Key, MappingIdentity, Moment, NamedKey, Outage,
    PairingStatus, Part, Partition, RelationNames, Severity, Side, State, Still, StoreKey, Subject,
    Suspect, SuspectPartition, SuspectRule, Unjudged, Unsettled, Version, Violation, Why,
};

/// A word that has a JSON form.
pub(super) trait Form: Sized {
    /// Its JSON text.
    fn to_json(&self) -> String;
    /// The word with this JSON text.
    fn from_json(text: &str) -> Result<Self, serde_json::Error>;
}

macro_rules! form {
    ($word:ty, $mirror:literal) => {
        impl Form for $word {
            fn to_json(&self) -> String {
                #[derive(Serialize)]
                struct Wrap<'a>(#[serde(with = $mirror)] &'a $word);
                serde_json::to_string(&Wrap(self)).expect("a form has text keys only")
            }

            fn from_json(text: &str) -> Result<Self, serde_json::Error> {
                #[derive(Deserialize)]
                struct Wrap(#[serde(with = $mirror)] $word);
                serde_json::from_str(text).map(|Wrap(word)| word)
            }
        }
    };
}

form!(Suspect, "SuspectForm");
form!(Crowd, "CrowdForm");
form!(SuspectPartition, "SuspectPartitionForm");
form!(Unsettled, "UnsettledForm");
form!(Finding, "FindingForm");
form!(CriterionState, "CriterionForm");
form!(HookJob, "HookForm");
form!(PairingStatus, "StatusForm");
form!(Command, "CommandForm");
form!(Outage, "OutageForm");

#[derive(Serialize, Deserialize)]
#[serde(remote = "Suspect")]
struct SuspectForm {
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    #[serde(with = "text")]
    key: Key,
    #[serde(with = "texts")]
    source_at: Vec<StoreKey>,
    #[serde(with = "texts")]
    target_at: Vec<StoreKey>,
    check: u64,
    #[serde(with = "text")]
    first_seen: Moment,
    #[serde(with = "text")]
    last_look: Moment,
    #[serde(with = "text")]
    due: Moment,
    looks: u32,
    failed: u32,
    #[serde(with = "StateForm")]
    leader: State,
    #[serde(with = "StateForm")]
    follower: State,
    #[serde(with = "violations")]
    violations: Vec<Violation>,
    #[serde(with = "states")]
    witnesses: Vec<State>,
    #[serde(with = "stills")]
    still: Vec<Still>,
    labels: BTreeMap<String, String>,
    cosmetic: Vec<String>,
    reason: Option<String>,
    #[serde(with = "maybe_text")]
    leader_changed: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "State", rename_all = "kebab-case")]
enum StateForm {
    Absent,
    Present(#[serde(with = "FacetsForm")] Facets),
    Excluded,
    Duplicate(#[serde(with = "text")] Digest),
    Unmappable(#[serde(with = "text")] Digest),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Facets")]
struct FacetsForm {
    #[serde(with = "text")]
    entity: Digest,
    #[serde(with = "texts")]
    fields: Vec<Digest>,
    #[serde(with = "maybe_text")]
    version: Option<Version>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Violation")]
struct ViolationForm {
    invariant: usize,
    message: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Still")]
struct StillForm {
    #[serde(with = "PartForm")]
    part: Part,
    #[serde(with = "text")]
    since: Moment,
    looks: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Part", rename_all = "kebab-case")]
enum PartForm {
    Presence,
    Field(usize),
    Invariant(usize),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Crowd")]
struct CrowdForm {
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    #[serde(with = "text")]
    partition: Partition,
    check: u64,
    #[serde(with = "text")]
    first_seen: Moment,
    #[serde(with = "text")]
    due: Moment,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SuspectPartition")]
struct SuspectPartitionForm {
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    #[serde(with = "text")]
    partition: Partition,
    check: u64,
    #[serde(with = "text")]
    first_seen: Moment,
    #[serde(with = "text")]
    due: Moment,
    looks: u32,
    silent: u32,
    failed: u32,
    #[serde(with = "suspect_rules")]
    rules: Vec<SuspectRule>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "SuspectRule")]
struct SuspectRuleForm {
    invariant: usize,
    #[serde(with = "maybe_broken")]
    broken: Option<Broken>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Broken")]
struct BrokenForm {
    #[serde(with = "text")]
    state: Digest,
    #[serde(with = "text")]
    since: Moment,
    looks: u32,
    words: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Unsettled")]
struct UnsettledForm {
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    #[serde(with = "UnjudgedForm")]
    subject: Unjudged,
    entities: u64,
    entity: Option<String>,
    #[serde(with = "text")]
    first_seen: Moment,
    #[serde(with = "text")]
    at: Moment,
    looks: u32,
    times: u64,
    #[serde(with = "text")]
    why: Why,
    what: String,
    #[serde(with = "maybe_text")]
    fault: Option<FaultCode>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Unjudged", rename_all = "kebab-case")]
enum UnjudgedForm {
    Key(#[serde(with = "text")] Key),
    Members(#[serde(with = "text")] Partition),
    Rule {
        #[serde(with = "text")]
        partition: Partition,
        invariant: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Finding")]
struct FindingForm {
    id: u64,
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    #[serde(with = "SubjectForm")]
    subject: Subject,
    #[serde(default)]
    entity: Option<String>,
    #[serde(with = "text")]
    kind: DriftKind,
    #[serde(with = "maybe_text")]
    side: Option<Side>,
    fields: Vec<String>,
    cosmetic: Vec<String>,
    #[serde(with = "severe")]
    invariant: Option<(String, Severity)>,
    message: Option<String>,
    labels: BTreeMap<String, String>,
    #[serde(with = "maybe_text")]
    source_digest: Option<Digest>,
    #[serde(with = "maybe_text")]
    target_digest: Option<Digest>,
    #[serde(with = "texts")]
    source_at: Vec<StoreKey>,
    #[serde(with = "texts")]
    target_at: Vec<StoreKey>,
    check: u64,
    #[serde(with = "text")]
    first_seen: Moment,
    #[serde(with = "text")]
    confirmed: Moment,
    #[serde(with = "text")]
    last_seen: Moment,
    #[serde(with = "text")]
    due: Moment,
    looks: u32,
    #[serde(with = "FindingStatusForm")]
    status: FindingStatus,
    #[serde(with = "maybe_text")]
    ignored_until: Option<Moment>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Subject", rename_all = "kebab-case")]
enum SubjectForm {
    Key(#[serde(with = "text")] Key),
    Partition {
        #[serde(with = "text")]
        partition: Partition,
        entities: u64,
        #[serde(with = "named_keys")]
        sample: Vec<NamedKey>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FindingStatus", rename_all = "kebab-case")]
enum FindingStatusForm {
    Open,
    Resolved(#[serde(with = "text")] Moment),
    Superseded(#[serde(with = "text")] Moment),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CriterionState")]
struct CriterionForm {
    name: String,
    trips: u64,
    #[serde(with = "maybe_text")]
    tripped: Option<Moment>,
    #[serde(with = "text")]
    armed: Moment,
    count: u64,
    at_least: u64,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HookJob")]
struct HookForm {
    id: u64,
    hook: String,
    criterion: String,
    occurrence: u64,
    #[serde(with = "text")]
    since: Moment,
    #[serde(with = "text")]
    state: HookState,
    tries: u32,
    #[serde(with = "text")]
    due: Moment,
    last: Option<String>,
    test: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PairingStatus")]
struct StatusForm {
    pairing: String,
    #[serde(with = "text")]
    identity: MappingIdentity,
    pass: u64,
    #[serde(with = "text")]
    pass_began: Moment,
    partitions: u64,
    done: u64,
    unread_partitions: u64,
    passes: u64,
    #[serde(with = "maybe_text")]
    covered_since: Option<Moment>,
    checks: u64,
    source_rows: u64,
    target_rows: u64,
    #[serde(with = "text")]
    capacity: f64,
    compared: u64,
    same: u64,
    excluded: u64,
    #[serde(with = "by_kind")]
    confirmed: BTreeMap<DriftKind, u64>,
    #[serde(with = "by_kind")]
    open: BTreeMap<DriftKind, u64>,
    ignored: u64,
    resolved: u64,
    unsettled: u64,
    acquitted: u64,
    suspects: u64,
    unread: u64,
    lag_micros: u64,
    #[serde(with = "maybe_text")]
    lagging_since: Option<Moment>,
    #[serde(with = "text")]
    follower_progress: Moment,
    #[serde(with = "by_side")]
    unmapped: BTreeSet<(Side, String)>,
    not_verifiable: Option<String>,
    #[serde(default)]
    not_begun: Option<String>,
    last_pass_unread: u64,
    last_pass_unsettled: u64,
    #[serde(default)]
    pass_compared: u64,
    #[serde(default)]
    unsettled_before: u64,
    #[serde(default, with = "incidents")]
    incidents: BTreeSet<Incident>,
    #[serde(default)]
    anew: u64,
    #[serde(default, with = "relations")]
    relations: [Vec<RelationNames>; 2],
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outage")]
struct OutageForm {
    store: String,
    #[serde(with = "text")]
    since: Moment,
    #[serde(with = "text")]
    code: FaultCode,
    what: String,
    remedy: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Command", rename_all = "kebab-case")]
enum CommandForm {
    Reset {
        criterion: String,
    },
    Test {
        criterion: String,
    },
    Ignore {
        finding: u64,
        #[serde(with = "text")]
        until: Moment,
    },
}

/// A word in its text form.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Text<T>(T);

impl<T: Word> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0.to_text())
    }
}

impl<'de, T: Word> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = std::borrow::Cow::<'de, str>::deserialize(from)?;
        T::from_text(&word)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("a text that stands for nothing"))
    }
}

mod text {
    use super::*;

    pub(super) fn serialize<T: Word, S: Serializer>(word: &T, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&word.to_text())
    }

    pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        Text::deserialize(from).map(|Text(word)| word)
    }
}

mod maybe_text {
    use super::*;

    pub(super) fn serialize<T: Word, S: Serializer>(
        word: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        word.as_ref().map(Word::to_text).serialize(to)
    }

    pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Option::<Text<T>>::deserialize(from).map(|word| word.map(|Text(word)| word))
    }
}

mod texts {
    use super::*;

    pub(super) fn serialize<T: Word, S: Serializer>(words: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(words.iter().map(Word::to_text))
    }

    pub(super) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        let words = Vec::<Text<T>>::deserialize(from)?;
        Ok(words.into_iter().map(|Text(word)| word).collect())
    }
}

mod severe {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        invariant: &Option<(String, Severity)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        invariant.as_ref().map(|(id, severity)| (id, Text(*severity))).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<(String, Severity)>, D::Error> {
        let invariant = Option::<(String, Text<Severity>)>::deserialize(from)?;
        Ok(invariant.map(|(id, Text(severity))| (id, severity)))
    }
}

mod maybe_broken {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        broken: &Option<Broken>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wrap<'a>(#[serde(with = "BrokenForm")] &'a Broken);
        broken.as_ref().map(Wrap).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Broken>, D::Error> {
        #[derive(Deserialize)]
        struct Wrap(#[serde(with = "BrokenForm")] Broken);
        Ok(Option::<Wrap>::deserialize(from)?.map(|Wrap(broken)| broken))
    }
}

mod by_kind {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        counts: &BTreeMap<DriftKind, u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(counts.iter().map(|(kind, count)| (Text(*kind), count)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<DriftKind, u64>, D::Error> {
        let counts = BTreeMap::<Text<DriftKind>, u64>::deserialize(from)?;
        Ok(counts.into_iter().map(|(Text(kind), count)| (kind, count)).collect())
    }
}

mod incidents {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        incidents: &BTreeSet<Incident>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(incidents.iter().map(|one| (one.partition.map(Text), Text(one.code))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeSet<Incident>, D::Error> {
        let incidents =
            Vec::<(Option<Text<Partition>>, Text<FaultCode>)>::deserialize(from)?.into_iter();
        let incident = |(partition, Text(code)): (Option<Text<Partition>>, Text<FaultCode>)| {
            Incident { partition: partition.map(|Text(partition)| partition), code }
        };
        Ok(incidents.map(incident).collect())
    }
}

mod named_keys {
    use super::*;

    /// As it was before types were named, the key alone.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Named(Text<Key>, Option<String>),
        Alone(Text<Key>),
    }

    pub(super) fn serialize<S: Serializer>(keys: &[NamedKey], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(keys.iter().map(|NamedKey { key, entity }| (key.to_text(), entity)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<NamedKey>, D::Error> {
        let named = |either| match either {
            Either::Named(Text(key), entity) => NamedKey { key, entity },
            Either::Alone(Text(key)) => NamedKey { key, entity: None },
        };
        Ok(Vec::<Either>::deserialize(from)?.into_iter().map(named).collect())
    }
}

mod relations {
    use super::*;

    type Names = (String, Vec<String>, Vec<String>);

    pub(super) fn serialize<S: Serializer>(
        sides: &[Vec<RelationNames>; 2],
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let names = |of: &RelationNames| (of.relation.clone(), of.key.clone(), of.group.clone());
        let sides = sides.each_ref().map(|side| side.iter().map(names).collect::<Vec<Names>>());
        sides.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<[Vec<RelationNames>; 2], D::Error> {
        let names = |(relation, key, group)| RelationNames { relation, key, group };
        let sides = <[Vec<Names>; 2]>::deserialize(from)?;
        Ok(sides.map(|side| side.into_iter().map(names).collect()))
    }
}

mod by_side {
    use super::*;

    pub(super) fn serialize<S: Serializer>(
        names: &BTreeSet<(Side, String)>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(names.iter().map(|(side, name)| (Text(*side), name)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeSet<(Side, String)>, D::Error> {
        let names = Vec::<(Text<Side>, String)>::deserialize(from)?;
        Ok(names.into_iter().map(|(Text(side), name)| (side, name)).collect())
    }
}

macro_rules! list_of {
    ($name:ident, $word:ty, $mirror:literal) => {
        mod $name {
            use super::*;

            pub(super) fn serialize<S: Serializer>(
                words: &[$word],
                to: S,
            ) -> Result<S::Ok, S::Error> {
                #[derive(Serialize)]
                struct Wrap<'a>(#[serde(with = $mirror)] &'a $word);
                to.collect_seq(words.iter().map(Wrap))
            }

            pub(super) fn deserialize<'de, D: Deserializer<'de>>(
                from: D,
            ) -> Result<Vec<$word>, D::Error> {
                #[derive(Deserialize)]
                struct Wrap(#[serde(with = $mirror)] $word);
                let words = Vec::<Wrap>::deserialize(from)?;
                Ok(words.into_iter().map(|Wrap(word)| word).collect())
            }
        }
    };
}

list_of!(states, State, "StateForm");
list_of!(stills, Still, "StillForm");
list_of!(suspect_rules, SuspectRule, "SuspectRuleForm");
list_of!(violations, Violation, "ViolationForm");
