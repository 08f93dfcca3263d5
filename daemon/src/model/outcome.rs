//! What one look says.
//!
//! Owns [`Outcome`] (of a check) and [`Look`] (of a list of keys) and what they are made of. Refuses
//! verdicts: a sighting is a difference, never yet drift. Invariant: what was not read and compared
//! is in `unread`; there is no constructor that turns an error into "same".

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Checksum, Digest, Extent, Moment, Number, Side};

/// An entity's key: the deterministic CBOR array of its key fields' canonical values, in plan order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Box<[u8]>);

/// A row's primary key in its store: the deterministic CBOR array of its key columns' values, in key
/// order. It is how a suspect is found again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(pub Box<[u8]>);

impl Key {
    /// The key that stands for a row of `side` which the mapping rejects, so that no entity's key is
    /// known: tag 55044 on `[side, store key]`. It never equals an entity's key.
    #[must_use]
    pub fn of_row(side: Side, at: &StoreKey) -> Self {
        let mut bytes = vec![0xd9, 0xd7, 0x04, 0x82, u8::from(side == Side::Target)];
        bytes.extend_from_slice(&at.0);
        Self(bytes.into_boxed_slice())
    }

    /// The key in short, for crowds: a hash (FNV-1a, mixed) that needs no secret. Keys are few enough
    /// that two of one pairing hardly ever have the same.
    #[must_use]
    pub fn short(&self) -> u64 {
        let folded = self.0.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let folded = (folded ^ folded >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        folded ^ folded >> 32
    }

    /// Whether it stands for a row that no entity's key is known of.
    #[must_use]
    pub fn is_of_row(&self) -> bool {
        self.0.starts_with(&[0xd9, 0xd7, 0x04])
    }
}

/// A key to be looked at, and where both sides were known to keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The entity's key.
    pub key: Key,
    /// Where the source keeps it.
    pub source_at: Vec<StoreKey>,
    /// Where the target keeps it.
    pub target_at: Vec<StoreKey>,
}

/// A declared version of an entity: a version number, or an update time in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub Number);

/// What is kept of an entity that was seen: digests, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facets {
    /// The entity digest.
    pub entity: Digest,
    /// One digest for each compared field, in plan order.
    pub fields: Vec<Digest>,
    /// Its declared version, if the mapping has one.
    pub version: Option<Version>,
}

/// What one side held of one key at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// No row, or one whose standing is absent.
    Absent,
    /// One entity.
    Present(Facets),
    /// Out of scope, says the mapping.
    Excluded,
    /// Several rows give this key, or one lies where the mapping would not look for it. The digest
    /// is the sum of theirs.
    Duplicate(Digest),
    /// The mapping rejects the row. The digest is that of the row's store key and the reason.
    Unmappable(Digest),
}

/// What kind of drift a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DriftKind {
    /// Not in the follower.
    Missing,
    /// Only in the follower.
    Unexpected,
    /// Fields differ.
    Mismatch,
    /// The follower holds an older version.
    Stale,
    /// Two rows of a side give one key, or a row lies at a store key that the mapping would not
    /// look at.
    Duplicate,
    /// An invariant failed.
    Violation,
    /// The mapping rejects the row.
    Unmappable,
}

impl DriftKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::Unexpected,
        Self::Mismatch,
        Self::Stale,
        Self::Duplicate,
        Self::Violation,
        Self::Unmappable,
    ];

    /// The name used in configuration, events and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unexpected => "unexpected",
            Self::Mismatch => "mismatch",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::Violation => "violation",
            Self::Unmappable => "unmappable",
        }
    }
}

/// An invariant that a pair failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Position in the mapping's invariants.
    pub invariant: usize,
    /// The plugin's own words; they count as values.
    pub message: String,
}

/// A key at which one look saw a difference or a violation (or, looking again, did not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The entity's key. For an unmappable row, which yields no entity, its store key's bytes.
    pub key: Key,
    /// What the source held.
    pub source: State,
    /// What the target held.
    pub target: State,
    /// Where the source keeps it.
    pub source_at: Vec<StoreKey>,
    /// Where the target keeps it.
    pub target_at: Vec<StoreKey>,
    /// Invariants that the pair failed.
    pub violations: Vec<Violation>,
    /// The values of its label fields, by field name.
    pub labels: BTreeMap<String, String>,
    /// Whether the leader, read again after the follower, was unchanged. True where nothing was read
    /// again because the sides differ.
    pub steady: bool,
    /// A difference in these fields would vanish under Unicode normalisation or the trimming of
    /// trailing spaces.
    pub cosmetic: Vec<String>,
    /// Why the mapping rejects the row; counts as a value.
    pub reason: Option<String>,
}

impl State {
    /// Whether both are the same, as far as entities go.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(one), Self::Present(two)) => one.entity == two.entity,
            (one, two) => one == two,
        }
    }
}

impl Sighting {
    /// What `side` held.
    #[must_use]
    pub const fn state(&self, side: Side) -> &State {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl Sighting {
    /// Where `side` keeps it.
    #[must_use]
    pub const fn places(&self, side: Side) -> &Vec<StoreKey> {
        match side {
            Side::Source => &self.source_at,
            Side::Target => &self.target_at,
        }
    }

    /// Whether nothing is wrong with the key: both sides hold the same, or it is out of scope, and
    /// no invariant fails.
    #[must_use]
    pub fn agrees(&self) -> bool {
        if !self.violations.is_empty() {
            return false;
        }
        match (&self.source, &self.target) {
            (State::Present(source), State::Present(target)) => source.fields == target.fields,
            // Out of scope on the target only compares as absent there.
            (State::Excluded, State::Unmappable(_) | State::Duplicate(_)) => false,
            (State::Excluded, _) => true,
            (State::Absent, State::Absent | State::Excluded) => true,
            _ => false,
        }
    }
}

/// Why something could not be compared. Shown to people: it names the store or plugin, holds no row
/// values and no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The side that was being read or mapped, if one was.
    pub side: Option<Side>,
    /// What happened, where: store, relation or plugin, digest, function; and the cause.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// A short stable name for counting: `store-unreachable`, `plugin-trap`, ...
    pub code: &'static str,
}

impl Fault {
    /// The code of a key that is no longer where it was, on a side that cannot be searched for it:
    /// whether it is there at all, only a pass can tell.
    pub const GONE: &'static str = "place-gone";

    /// Whether a plugin, or the built-in mapping, failed.
    #[must_use]
    pub fn is_of_plugin(&self) -> bool {
        self.code.starts_with("plugin-")
    }
}

/// A part that was not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What was not compared, in words: a range, a segment, some keys.
    pub scope: String,
    /// How many rows, as far as is known.
    pub rows: Option<u64>,
    /// Why.
    pub fault: Fault,
}

/// What reading cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cost {
    /// Rows returned.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Read capacity units consumed (DynamoDB).
    pub capacity: f64,
    /// Requests sent.
    pub requests: u64,
}

impl Cost {
    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.capacity += other.capacity;
        self.requests += other.requests;
    }
}

/// What one side gave in one check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// The checksum of the compared entities.
    pub checksum: Checksum,
    /// What reading them cost.
    pub cost: Cost,
    /// Attributes that the plan neither uses nor ignores.
    pub unmapped: BTreeSet<String>,
    /// The newest declared version met, if versions are points in time.
    pub newest: Option<Version>,
}

/// What a span of a check's trace timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpanKind {
    /// Reading a side.
    Read(Side),
    /// Mapping rows of a side, in the plugin or the built-in mapping.
    Map(Side),
    /// Checking invariants.
    Invariants,
    /// Comparing.
    Compare,
}

/// A timed part of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// What was done.
    pub kind: SpanKind,
    /// When it began.
    pub began: Moment,
    /// When it ended.
    pub ended: Moment,
    /// Rows concerned.
    pub rows: u64,
}

/// A differing key of a crowd. A key that differs and breaks invariants, too, is a member for each of
/// these, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its key in short.
    pub key: u64,
    /// First half of a digest of what both sides hold.
    pub states: u64,
    /// The kind of drift that this is, should it stand still.
    pub kind: DriftKind,
    /// Of a violation, the position in the mapping's invariants; these are few.
    pub invariant: Option<u16>,
}

/// What one look at one partition says. Clean means: no suspects and nothing unread.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Outcome {
    /// Entities that both sides hold alike.
    pub same: u64,
    /// Entities that the mapping declares out of scope.
    pub excluded: u64,
    /// Keys that differed, bounded by the check's limit.
    pub suspects: Vec<Sighting>,
    /// Set when there were more: then every differing key, and `suspects` is a sample.
    pub crowd: Option<Vec<Member>>,
    /// Keys that differed, too, and are told by the checks of the other direction.
    pub told_elsewhere: u64,
    /// What could not be compared, and why.
    pub unread: Vec<Unread>,
    /// What the source gave.
    pub source: Reading,
    /// What the target gave.
    pub target: Reading,
    /// The part of the extent that was left for another check, because the partition is too large.
    pub rest: Option<Extent>,
    /// Timed parts, bounded.
    pub spans: Vec<Span>,
}

impl Outcome {
    /// How many keys differed.
    #[must_use]
    pub fn differing(&self) -> u64 {
        let members = |crowd: &Vec<Member>| {
            let again = crowd.windows(2).filter(|pair| pair[0].key == pair[1].key).count();
            crowd.len() - again
        };
        self.crowd.as_ref().map_or(self.suspects.len(), members) as u64
    }
}

/// What one more look at some keys says. A key is in exactly one of the two lists.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Look {
    /// Keys that were read from both sides.
    pub sightings: Vec<Sighting>,
    /// Keys that were not, and why. A failed look is not a look.
    pub unread: Vec<(Key, Fault)>,
    /// Timed parts, bounded.
    pub spans: Vec<Span>,
    /// What reading the source cost.
    pub source_cost: Cost,
    /// What reading the target cost.
    pub target_cost: Cost,
}
