//! Sums over many pairs.
//!
//! Owns [`Tally`]: what can be summed, and its bytes. Refuses anything that depends on an order.
//! Invariant: tallies merge in any order to the same sums, because they are made of nothing but sums.

use std::collections::BTreeMap;

use crate::decimal::Decimal;
use crate::row::Result;
use crate::rules::PairRows;

/// Sums over many pairs. Merging adds, so the order of pairs and of merges does not matter. Whole and
/// exact numbers are tallies, pairs and triples of tallies, and maps from texts or numbers to tallies. An
/// entry of a map that sums to nothing is not kept, so what agrees takes no room.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use driftd_plugin::{Decimal, Tally};
///
/// let mut one: BTreeMap<String, (i64, Decimal)> = BTreeMap::new();
/// one.insert("EUR".to_owned(), (1, Decimal::from(5)));
/// let two = one.clone();
/// one.merge(two).unwrap();
/// assert_eq!(one["EUR"], (2, Decimal::from(10)));
///
/// let mut bytes = Vec::new();
/// one.save(&mut bytes);
/// assert_eq!(BTreeMap::load(&mut &bytes[..]), Some(one));
/// ```
pub trait Tally: Default + 'static {
    /// Adds another tally; none where the sum is too large to be exact.
    ///
    /// ```
    /// # use driftd_plugin::Tally;
    /// let mut sum = 1i64;
    /// assert_eq!((sum.merge(2), sum), (Some(()), 3));
    /// assert_eq!(sum.merge(i64::MAX), None);
    /// ```
    fn merge(&mut self, other: Self) -> Option<()>;

    /// Whether it sums to nothing, as one that nothing was added to.
    ///
    /// ```
    /// # use driftd_plugin::Tally;
    /// assert!((0i64, 0u64).is_nothing());
    /// assert!(!(0i64, 1u64).is_nothing());
    /// ```
    fn is_nothing(&self) -> bool;

    /// Drops the entries of maps that sum to nothing: done before it is saved, and before a rule is
    /// told. Nothing to do, but for maps and what holds them.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use driftd_plugin::Tally;
    /// let mut rest = BTreeMap::from([(7, 0i64), (8, 1)]);
    /// rest.tidy();
    /// assert_eq!(rest, BTreeMap::from([(8, 1)]));
    /// ```
    fn tidy(&mut self) {}

    /// Appends the tally to `out`.
    ///
    /// ```
    /// # use driftd_plugin::Tally;
    /// let mut bytes = Vec::new();
    /// 7i64.save(&mut bytes);
    /// assert_eq!(bytes, [7, 0, 0, 0, 0, 0, 0, 0]);
    /// ```
    fn save(&self, out: &mut Vec<u8>);

    /// Takes a tally from the front of `bytes`; none where there is no whole one.
    ///
    /// ```
    /// # use driftd_plugin::Tally;
    /// assert_eq!(i64::load(&mut &[7, 0, 0, 0, 0, 0, 0, 0][..]), Some(7));
    /// assert_eq!(i64::load(&mut &[7][..]), None);
    /// ```
    fn load(bytes: &mut &[u8]) -> Option<Self>;
}

fn front<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*front)
}

macro_rules! tally_numbers {
    ($($number:ty),*) => {
        $(impl Tally for $number {
            fn merge(&mut self, other: Self) -> Option<()> {
                *self = self.checked_add(other)?;
                Some(())
            }

            fn is_nothing(&self) -> bool {
                *self == 0
            }

            fn save(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn load(bytes: &mut &[u8]) -> Option<Self> {
                front(bytes).map(Self::from_le_bytes)
            }
        })*
    };
}
tally_numbers!(i64, u64, i128);

impl Tally for Decimal {
    fn merge(&mut self, other: Self) -> Option<()> {
        *self = self.checked_add(other)?;
        Some(())
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn save(&self, out: &mut Vec<u8>) {
        let (mantissa, exponent) = self.normal().parts();
        out.extend_from_slice(&mantissa.to_le_bytes());
        out.extend_from_slice(&exponent.to_le_bytes());
    }

    fn load(bytes: &mut &[u8]) -> Option<Self> {
        let mantissa = i128::from_le_bytes(front(bytes)?);
        Some(Self::new(mantissa, i32::from_le_bytes(front(bytes)?)))
    }
}

macro_rules! tally_tuples {
    ($(($($name:ident $at:tt),*))*) => {
        $(impl<$($name: Tally),*> Tally for ($($name,)*) {
            fn merge(&mut self, other: Self) -> Option<()> {
                $(self.$at.merge(other.$at)?;)*
                Some(())
            }

            fn is_nothing(&self) -> bool {
                $(self.$at.is_nothing())&&*
            }

            fn tidy(&mut self) {
                $(self.$at.tidy();)*
            }

            fn save(&self, out: &mut Vec<u8>) {
                $(self.$at.save(out);)*
            }

            fn load(bytes: &mut &[u8]) -> Option<Self> {
                Some(($($name::load(bytes)?,)*))
            }
        })*
    };
}
tally_tuples!((A 0, B 1) (A 0, B 1, C 2));

/// A key of a map of tallies.
///
/// ```
/// use std::collections::BTreeMap;
///
/// let counts: BTreeMap<(String, i64), u64> = BTreeMap::new();
/// # fn tally(_: impl driftd_plugin::Tally) {}
/// # tally(counts);
/// ```
pub trait TallyKey: Ord + 'static {
    #[doc(hidden)]
    fn save_key(&self, out: &mut Vec<u8>);
    #[doc(hidden)]
    fn load_key(bytes: &mut &[u8]) -> Option<Self>
    where
        Self: Sized;
}

impl TallyKey for String {
    fn save_key(&self, out: &mut Vec<u8>) {
        (self.len() as u64).save(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn load_key(bytes: &mut &[u8]) -> Option<Self> {
        let length = usize::try_from(u64::load(bytes)?).ok()?;
        let (text, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Self::from_utf8(text.to_vec()).ok()
    }
}

impl TallyKey for i64 {
    fn save_key(&self, out: &mut Vec<u8>) {
        self.save(out);
    }

    fn load_key(bytes: &mut &[u8]) -> Option<Self> {
        Self::load(bytes)
    }
}

impl<A: TallyKey, B: TallyKey> TallyKey for (A, B) {
    fn save_key(&self, out: &mut Vec<u8>) {
        self.0.save_key(out);
        self.1.save_key(out);
    }

    fn load_key(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::load_key(bytes)?, B::load_key(bytes)?))
    }
}

impl<K: TallyKey, T: Tally> Tally for BTreeMap<K, T> {
    fn merge(&mut self, other: Self) -> Option<()> {
        other.into_iter().try_for_each(|(key, tally)| self.entry(key).or_default().merge(tally))
    }

    fn is_nothing(&self) -> bool {
        self.values().all(Tally::is_nothing)
    }

    fn tidy(&mut self) {
        self.values_mut().for_each(Tally::tidy);
        self.retain(|_, tally| !tally.is_nothing());
    }

    fn save(&self, out: &mut Vec<u8>) {
        (self.len() as u64).save(out);
        for (key, tally) in self {
            key.save_key(out);
            tally.save(out);
        }
    }

    fn load(bytes: &mut &[u8]) -> Option<Self> {
        let length = u64::load(bytes)?;
        let entry = |_| Some((K::load_key(bytes)?, T::load(bytes)?));
        (0..length).map(entry).collect()
    }
}

/// A tally in use, whatever it sums.
#[doc(hidden)]
pub trait Tallying {
    fn push(&mut self, pairs: &PairRows<'_>) -> Result<()>;
    fn snapshot(&mut self) -> Vec<u8>;
    fn merge(&mut self, state: &[u8]) -> Option<()>;
    fn finish(&mut self) -> Vec<String>;
}
