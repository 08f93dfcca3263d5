//! What one check may hold in memory.
//!
//! Owns [`Share`]: how the bytes that a check may hold are divided among what it holds. Refuses to count
//! what is held. Invariant: the parts are no more than the whole, so what all checks hold that may be
//! under way at once is within what is configured for all of them.

/// The bytes that one check may hold, about: both sides, what is read for them at once, and what is made
/// of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// One of so many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Bytes of one side beyond which what is held is compared before more is read: rows may be of any
    /// size.
    pub(super) const fn window(self) -> u64 {
        self.0 / 8
    }

    /// Bytes of one side's entities beyond which no more are taken in.
    pub(super) const fn entities(self) -> u64 {
        self.0 / 4
    }

    /// Bytes of rows that are read for what is compared at once, about. What is still wanted is unread
    /// then: a mapping says how many rows are looked for, and which.
    pub(super) const fn gathered(self) -> u64 {
        self.0 / 4
    }

    /// Bytes of rows that are asked for at once, going by those that came before.
    pub(super) const fn portion(self) -> u64 {
        self.0 / 16
    }

    /// Bytes of the snapshots of all rules over a partition. Sums are small; who keeps rows there may as
    /// well keep all of them.
    pub(super) const fn snapshots(self) -> u64 {
        self.0 / 8
    }
}
