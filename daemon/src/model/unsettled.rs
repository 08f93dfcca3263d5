//! What could not be judged.
//!
//! Owns [`Unsettled`] as data. Refuses to say when something is let go: the engine does. Invariant: it
//! holds keys, names and reasons in words for people, never values.

use crate::model::{FaultCode, Key, MappingIdentity, Moment, Partition};

/// Something that differed and could not be judged within its looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The pairing's name.
    pub pairing: String,
    /// What it was looked at under.
    pub identity: MappingIdentity,
    /// What could not be judged.
    pub subject: Unjudged,
    /// How many entities it is, or rules.
    pub entities: u64,
    /// The name of the entity type: none for a row that no entity is known of, and for what is of
    /// several types, or may be.
    pub entity: Option<String>,
    /// When it was seen first, the last time that it was suspect.
    pub first_seen: Moment,
    /// When it was let go last.
    pub at: Moment,
    /// Looks that succeeded, the last time.
    pub looks: u32,
    /// How often in a row it was let go.
    pub times: u64,
    /// Why it could not be judged.
    pub why: Why,
    /// The same in words: what happened, and of a fault what to do about it.
    pub what: String,
    /// The code of the fault because of which it could not be looked at, if one was.
    pub fault: Option<FaultCode>,
}

/// What could not be judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unjudged {
    /// One entity, or a row that no entity is known of.
    Key(Key),
    /// Entities of this partition, which is settled as a whole.
    Members(Partition),
    /// A rule over a partition.
    Rule {
        /// The partition.
        partition: Partition,
        /// The invariant.
        invariant: String,
    },
}

/// Why something could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// One of the sides changed between looks, up to the last of them.
    Moving,
    /// The same, and condemning had to pause meanwhile because the follower lagged beyond its budget.
    Lagging,
    /// It could not be looked at.
    Unread,
    /// Something else in its partition differs and is not decided.
    Differs,
    /// The rule said nothing.
    Silent,
    /// As many partitions as there is room for are being judged already.
    Crowded,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Moving, Self::Lagging, Self::Unread, Self::Differs, Self::Silent, Self::Crowded];

    /// The name used in events and in what is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Moving => "moving",
            Self::Lagging => "lagging",
            Self::Unread => "unread",
            Self::Differs => "differs",
            Self::Silent => "silent",
            Self::Crowded => "crowded",
        }
    }
}
