//! Bounded parts of a pairing.
//!
//! Owns [`Partition`] and [`Extent`]. Refuses to say in which order partitions are visited.
//! Invariant: the extents that a store's `split` returns cover every key of the relation, also those
//! that do not exist yet, exactly once.

use std::fmt;

/// A half-open range of integer keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The first key in the range; none: from the smallest key on.
    pub from: Option<i128>,
    /// The first key behind the range; none: to the largest key, whatever it will be.
    pub until: Option<i128>,
}

impl Range {
    /// Whether `key` lies in the range.
    #[must_use]
    pub fn contains(&self, key: i128) -> bool {
        self.from.is_none_or(|from| from <= key) && self.until.is_none_or(|until| key < until)
    }

    /// Whether a row lies in the range by what it has in the column that cuts its relation.
    #[must_use]
    pub fn holds(&self, cut: Cut) -> bool {
        cut.map_or_else(|| self.from.is_none(), |key| self.contains(key))
    }
}

/// What a row has in the column that cuts its relation. None: no value, which lies where a range has no
/// beginning.
pub type Cut = Option<i128>;

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.until) {
            (Some(from), Some(until)) => write!(f, "[{from}, {until})"),
            (Some(from), None) => write!(f, "[{from}, ..)"),
            (None, Some(until)) => write!(f, "(.., {until})"),
            (None, None) => f.write_str("(.., ..)"),
        }
    }
}

/// Which rows of a relation a partition covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extent {
    /// The rows whose value lies in the range, in the column that cuts their relation: an integer, and
    /// the first of the primary key where nothing else is said. Rows without a value lie where the
    /// range has no beginning.
    Range(Range),
    /// One of the segments that a store can scan in parallel (DynamoDB).
    Segment {
        /// Which one, from 0.
        index: u32,
        /// Of how many.
        of: u32,
    },
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) => write!(f, "{range}"),
            Self::Segment { index, of } => write!(f, "segment {index} of {of}"),
        }
    }
}

/// How the two sides of a partition are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Both sides scan the same range.
    Aligned,
    /// The source is scanned, the target looked up by key.
    FromSource,
    /// The target is scanned, the source looked up by key.
    FromTarget,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Aligned => "aligned",
            Self::FromSource => "from source",
            Self::FromTarget => "from target",
        })
    }
}

/// A bounded part of a pairing that is read and checked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// How both sides are read.
    pub direction: Direction,
    /// Its number within the pass and direction, from 0.
    pub number: u32,
    /// The rows of the scanned side (of both sides, if aligned).
    pub extent: Extent,
}
