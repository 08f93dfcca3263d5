//! What one look says.
//!
//! Owns [`Outcome`] (of a check) and [`Look`] (of a list of keys) and what they are made of. Refuses
//! verdicts: a sighting is a difference, never yet drift. Invariant: what was not read and compared
//! is in `unread`; there is no constructor that turns an error into "same".

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Checksum, Cut, Digest, Extent, Fault, Moment, Number, Side};

/// An entity's key: the deterministic CBOR array of its key fields' canonical values, in plan order.
/// Where a mapping has several entity types, it is tag 55045 on `[type number, that array]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub Box<[u8]>);

/// Where something lies in a store; it is how a suspect is found again. A row of a side's first
/// relation, which most sides have alone, is the deterministic CBOR array of its primary key's values,
/// in key order. Tags stand for the rest: 55046 on `[relation, primary key]` for a row of another
/// relation, 55047 on the values of a group of rows, and 55048 on `[relation, whether the last is a
/// prefix, first values of a primary key]` for whatever lies under these.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreKey(pub Box<[u8]>);

/// The head of tag 55044, which marks the key of a row.
const OF_ROW: [u8; 3] = [0xd9, 0xd7, 0x04];
/// The head of tag 55045, which marks the key of an entity of one of several types.
const OF_TYPE: [u8; 3] = [0xd9, 0xd7, 0x05];

impl StoreKey {
    /// The head of tag 55046, which marks a row of a relation other than the first.
    pub const OF_RELATION: [u8; 3] = [0xd9, 0xd7, 0x06];
    /// The head of tag 55047, which marks a group.
    pub const OF_GROUP: [u8; 3] = [0xd9, 0xd7, 0x07];
    /// The head of tag 55048, which marks what lies under the first values of a key.
    pub const UNDER: [u8; 3] = [0xd9, 0xd7, 0x08];

    /// What lies there, and the array of the values that say where.
    #[must_use]
    pub fn shown(&self) -> (Placed, &[u8]) {
        shown(&self.0)
    }
}

/// What lies at a place. Relations go by their position among those of the side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// A row of this relation.
    Row(usize),
    /// The rows of a group, of all relations whose rows are grouped.
    Group,
    /// Whatever of this relation has a key that begins so.
    Under(usize),
}

/// What lies at a place, and its array of values. Relations are few, so that their number is one byte.
fn shown(place: &[u8]) -> (Placed, &[u8]) {
    if let Some(array) = place.strip_prefix(&StoreKey::OF_GROUP) {
        return (Placed::Group, array);
    }
    let of_relation = place.strip_prefix(&StoreKey::OF_RELATION);
    if let Some([0x82, relation @ 0..=0x17, array @ ..]) = of_relation {
        return (Placed::Row(usize::from(*relation)), array);
    }
    match place.strip_prefix(&StoreKey::UNDER) {
        Some([0x83, relation @ 0..=0x17, 0xf4 | 0xf5, array @ ..]) => {
            (Placed::Under(usize::from(*relation)), array)
        }
        Some(_) | None => (Placed::Row(0), place),
    }
}

impl Key {
    /// The key that stands for a row of `side` which the mapping rejects, so that no entity's key is
    /// known: tag 55044 on `[side, store key]`. It never equals an entity's key.
    #[must_use]
    pub fn of_row(side: Side, at: &StoreKey) -> Self {
        let mut bytes = [&OF_ROW[..], &[0x82, u8::from(side == Side::Target)]].concat();
        bytes.extend_from_slice(&at.0);
        Self(bytes.into_boxed_slice())
    }

    /// The key of an entity of the type at this position of the plan, where it has several: tag 55045
    /// on `[number, array]`. `array` is the key as it would be if there were one type. Two types never
    /// have the same key.
    #[must_use]
    pub fn of_type(number: usize, array: &[u8]) -> Self {
        let mut bytes = [&OF_TYPE[..], &[0x82]].concat();
        let wide = (number as u64).to_be_bytes();
        // The shortest head that holds the number, as deterministic CBOR demands.
        match number {
            0..=0x17 => bytes.push(wide[7]),
            0x18..=0xff => bytes.extend_from_slice(&[0x18, wide[7]]),
            0x100..=0xffff => bytes.extend_from_slice(&[&[0x19], &wide[6..]].concat()),
            0x1_0000..=0xffff_ffff => bytes.extend_from_slice(&[&[0x1a], &wide[4..]].concat()),
            _ => bytes.extend_from_slice(&[&[0x1b], &wide[..]].concat()),
        }
        bytes.extend_from_slice(array);
        Self(bytes.into_boxed_slice())
    }

    /// The position of the entity's type in the plan: 0 where there is one type, and for a row that no
    /// entity's key is known of.
    #[must_use]
    pub fn entity_type(&self) -> usize {
        self.typed().map_or(0, |(number, _)| number)
    }

    /// Whether it says which of several types the entity is of.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.typed().is_some()
    }

    /// The array within: an entity's key fields, or the values that say where a row lies.
    #[must_use]
    pub fn array(&self) -> &[u8] {
        if self.is_of_row() {
            return shown(self.0.get(OF_ROW.len() + 2..).unwrap_or_default()).1;
        }
        self.typed().map_or(&self.0, |(_, array)| array)
    }

    /// Type and array of a typed key.
    fn typed(&self) -> Option<(usize, &[u8])> {
        let (head, rest) = self.0.strip_prefix(&OF_TYPE)?.strip_prefix(&[0x82])?.split_first()?;
        let width = match head {
            0..=0x17 => return Some((usize::from(*head), rest)),
            0x18 => 1,
            0x19 => 2,
            0x1a => 4,
            0x1b => 8,
            _ => return None,
        };
        let (number, array) = rest.split_at_checked(width)?;
        let number = number.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        Some((usize::try_from(number).ok()?, array))
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

    /// Where the row lies that it stands for, if it stands for one that no entity's key is known of.
    #[must_use]
    pub fn row(&self) -> Option<(Side, StoreKey)> {
        let (side, at) = self.0.strip_prefix(&OF_ROW)?.strip_prefix(&[0x82])?.split_first()?;
        let side = if *side == 0 { Side::Source } else { Side::Target };
        Some((side, StoreKey(at.into())))
    }

    /// Whether it stands for a row that no entity's key is known of.
    #[must_use]
    pub fn is_of_row(&self) -> bool {
        self.0.starts_with(&OF_ROW)
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
    /// By what the rows of it that a scan met lie in ranges; the check says it, because only that knows
    /// how they are cut. Empty where no scan met it, where it is not known, and of segments.
    pub cuts: Vec<Cut>,
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

/// A part that was not compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What was not compared, in words: a range, a segment, some keys.
    pub scope: String,
    /// How many rows, as far as is known.
    pub rows: Option<u64>,
    /// One of them, where it is that one which the plugin fails on by itself.
    pub key: Option<Key>,
    /// Why.
    pub fault: Fault,
}

/// Rows on each of which the plugin fails by itself: they count as unmappable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedRows {
    /// The key under which the first of them is told.
    pub key: Key,
    /// How many there are.
    pub rows: u64,
    /// How the plugin fails on the first.
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

/// What a rule over a whole partition said at one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// Position in the mapping's invariants.
    pub invariant: usize,
    /// Digest of what the rule accumulated: alike twice means that nothing that it counts has moved.
    pub state: Digest,
    /// What it said.
    pub verdict: Verdict,
}

impl Ruled {
    /// Whether it was broken, as far as this check could tell.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        matches!(self.verdict, Verdict::Broken(_))
    }
}

/// What a rule says of what it accumulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds,
    /// It does not. The plugin's own words; they count as values.
    Broken(Vec<String>),
    /// Nothing can be said: something of the partition was unread. In words for people.
    Unknown(String),
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
    /// Keys that differed, too, and are counted by the checks of the other direction.
    pub told_elsewhere: u64,
    /// Those of the suspects that are such keys: named here because this check saw where else they lie.
    pub named: u64,
    /// What of `same`, `excluded` and the keys that differed another check counts: an entity is compared
    /// once, however often it is read.
    pub again: Again,
    /// What could not be compared, and why.
    pub unread: Vec<Unread>,
    /// Set if the plugin fails on some rows by themselves; they are among the suspects, too.
    pub failed: Option<FailedRows>,
    /// What the source gave.
    pub source: Reading,
    /// What the target gave.
    pub target: Reading,
    /// The part of the extent that was left for another check, because the partition is too large.
    pub rest: Option<Extent>,
    /// What rules over the whole partition said. Empty for mappings without such rules, and for checks
    /// that tell only of the target.
    pub rules: Vec<Ruled>,
    /// Timed parts, bounded.
    pub spans: Vec<Span>,
}

/// What two checks of a pairing both come across, and one of them counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Entities that both sides hold alike.
    pub same: u64,
    /// Entities that differ here because of a copy: they are counted by what lies at their own place.
    pub differing: u64,
    /// Entities out of scope.
    pub excluded: u64,
}

impl Outcome {
    /// Why something of it was not read, if that is because a store is down.
    #[must_use]
    pub fn outage(&self) -> Option<&Fault> {
        self.unread.iter().map(|unread| &unread.fault).find(|fault| fault.code.is_outage())
    }

    /// How many keys differed, without those that the other direction counts.
    #[must_use]
    pub fn differing(&self) -> u64 {
        let members = |crowd: &Vec<Member>| {
            let again = crowd.windows(2).filter(|pair| pair[0].key == pair[1].key).count();
            crowd.len() - again
        };
        let suspects = || self.suspects.len() - usize::try_from(self.named).unwrap_or(0);
        self.crowd.as_ref().map_or_else(suspects, members) as u64
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Value;

    fn array(number: i64) -> Vec<u8> {
        Value::List(vec![Value::Number(number.into())]).to_cbor()
    }

    #[test]
    fn a_typed_key_says_its_type_in_the_shortest_form() {
        for (number, head) in [
            (0, &[0x00][..]),
            (1, &[0x01]),
            (23, &[0x17]),
            (24, &[0x18, 24]),
            (255, &[0x18, 255]),
            (256, &[0x19, 1, 0]),
            (65_535, &[0x19, 255, 255]),
            (65_536, &[0x1a, 0, 1, 0, 0]),
            (1 << 32, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let key = Key::of_type(number, &array(17));
            let expected = [&[0xd9, 0xd7, 0x05, 0x82], head, &array(17)].concat();
            assert_eq!(*key.0, *expected, "{number}");
            assert_eq!((key.entity_type(), key.array()), (number, &array(17)[..]));
            assert!(key.is_typed() && !key.is_of_row());
        }
    }

    #[test]
    fn keys_of_rows_and_of_single_types_have_type_zero() {
        let plain = Key(array(17).into());
        let row = Key::of_row(Side::Target, &StoreKey(array(17).into()));
        for (key, of_row) in [(plain, false), (row, true)] {
            assert_eq!((key.entity_type(), key.array()), (0, &array(17)[..]));
            assert_eq!((key.is_typed(), key.is_of_row()), (false, of_row));
        }
    }

    #[test]
    fn places_of_every_kind_show_their_values() {
        let plain = array(17);
        let of = |head: [u8; 3], inner: &[u8]| [&head[..], inner, &plain].concat();
        for (bytes, placed) in [
            (plain.clone(), Placed::Row(0)),
            (of(StoreKey::OF_RELATION, &[0x82, 3]), Placed::Row(3)),
            (of(StoreKey::OF_GROUP, &[]), Placed::Group),
            (of(StoreKey::UNDER, &[0x83, 1, 0xf5]), Placed::Under(1)),
        ] {
            let at = StoreKey(bytes.into());
            assert_eq!(at.shown(), (placed, &plain[..]));
            let key = Key::of_row(Side::Source, &at);
            assert_eq!((key.array(), key.row()), (&plain[..], Some((Side::Source, at))));
        }
        let odd = StoreKey(of(StoreKey::UNDER, &[0x81]).into());
        assert_eq!(odd.shown(), (Placed::Row(0), &*odd.0), "what is no place is shown as it is");
    }

    #[test]
    fn the_same_values_in_two_types_are_two_keys() {
        let (one, two) = (Key::of_type(0, &array(17)), Key::of_type(1, &array(17)));
        assert_ne!(one, two);
        assert_ne!(one.short(), two.short());
        assert_ne!(one, Key(array(17).into()));
    }

    #[test]
    fn what_is_cut_short_is_no_typed_key() {
        let whole = Key::of_type(256, &[]);
        for end in 0..whole.0.len() {
            let key = Key(whole.0[..end].into());
            assert_eq!((key.entity_type(), key.is_typed()), (0, false), "{end}");
            assert_eq!(key.array(), &*key.0);
        }
        assert_eq!(Key([0xd9, 0xd7, 0x05, 0x82, 0x40].into()).entity_type(), 0);
    }
}
