//! From canonical entities to the keys that differ.
//!
//! Owns canonical bytes of cells, entity digests, checksums of a partition's two sides, and the
//! finding of the keys and fields that differ. Refuses to know where rows came from. Invariant: two
//! entities have the same digest exactly when their key and compared fields are the same canonical
//! values under the declared rules.

mod canonical;
mod differ;
mod set;

pub use canonical::{Canon, CanonError, CellError};
pub use differ::{Asks, Comparison, compare};
pub use set::{EntitySet, Entry, Standpoint, Stands};

#[cfg(test)]
mod tests;
