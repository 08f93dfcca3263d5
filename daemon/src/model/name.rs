//! The two sides of a migration, by place and by authority.
//!
//! Owns [`Side`] and [`Leads`]. Refuses any other pair of words for them. Invariant: which side
//! leads is configuration, never implied by being the source.

use std::fmt;

/// Which of the two stores of a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The store being left.
    Source,
    /// The store being moved to.
    Target,
}

impl Side {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// Which side is the authority of a pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leads(pub Side);

impl Leads {
    /// The authoritative side.
    #[must_use]
    pub const fn leader(self) -> Side {
        self.0
    }

    /// The side that is judged.
    #[must_use]
    pub const fn follower(self) -> Side {
        self.0.other()
    }
}
