//! Digests, the checksum that rolls, and the identity of a mapping.
//!
//! Owns [`Digest`], [`Checksum`] and [`MappingIdentity`] and the arithmetic of the checksum. Refuses
//! to compute a digest from values: that is `compare`. Invariant: a checksum does not depend on the
//! order in which digests were added, and removing what was added restores it.

use std::fmt;

/// The first 128 bits of a keyed BLAKE3 hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The rolling checksum of a set of entities: their count and the sum of their digests mod 2^128.
///
/// An additive hash over a keyed pseudorandom function (the MSet-Add-Hash construction of Clarke et
/// al., ASIACRYPT 2003). Neither XOR nor a CRC would do: the same change on an even number of rows
/// cancels out there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum {
    /// How many digests were added, less those removed.
    pub count: u64,
    /// Their sum, modulo 2^128.
    pub sum: u128,
}

impl Checksum {
    /// Adds one digest.
    pub fn add(&mut self, digest: Digest) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(digest.0);
    }

    /// Removes a digest that was added before.
    pub fn remove(&mut self, digest: Digest) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(digest.0);
    }

    /// Replaces `old`, which was added before, by `new`, without reading the set again.
    pub fn roll(&mut self, old: Digest, new: Digest) {
        self.remove(old);
        self.add(new);
    }

    /// The checksum of a set without a part of it.
    #[must_use]
    pub const fn without(self, part: Self) -> Self {
        Self { count: self.count.wrapping_sub(part.count), sum: self.sum.wrapping_sub(part.sum) }
    }

    /// The checksum of both sets together.
    #[must_use]
    pub const fn merge(self, other: Self) -> Self {
        Self { count: self.count.wrapping_add(other.count), sum: self.sum.wrapping_add(other.sum) }
    }
}

impl FromIterator<Digest> for Checksum {
    fn from_iter<T: IntoIterator<Item = Digest>>(digests: T) -> Self {
        let mut checksum = Self::default();
        for digest in digests {
            checksum.add(digest);
        }
        checksum
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.count, self.sum)
    }
}

/// Hash of the plugin's digest, its configuration, the contract version and the plan. Results of
/// different identities are never compared or counted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingIdentity(pub u128);

impl fmt::Display for MappingIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digests() -> impl Strategy<Value = Vec<Digest>> {
        prop::collection::vec(any::<u128>().prop_map(Digest), 1..50)
    }

    proptest! {
        #[test]
        fn order_does_not_matter(mut digests in digests(), seed in any::<u64>()) {
            let before: Checksum = digests.iter().copied().collect();
            digests.sort_by_key(|digest| digest.0.wrapping_mul(u128::from(seed) | 1));
            prop_assert_eq!(before, digests.into_iter().collect());
        }

        #[test]
        fn rolling_equals_recomputation(mut digests in digests(), at in any::<prop::sample::Index>(), new in any::<u128>()) {
            let mut rolled: Checksum = digests.iter().copied().collect();
            let at = at.index(digests.len());
            rolled.roll(digests[at], Digest(new));
            digests[at] = Digest(new);
            prop_assert_eq!(rolled, digests.into_iter().collect());
        }

        #[test]
        fn sums_merge(digests in digests(), at in any::<prop::sample::Index>()) {
            let (left, right) = digests.split_at(at.index(digests.len()));
            let merged = left.iter().copied().collect::<Checksum>().merge(right.iter().copied().collect());
            prop_assert_eq!(merged, digests.into_iter().collect());
        }
    }
}
