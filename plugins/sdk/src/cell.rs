//! Dynamically typed cells: an attribute of an item, or what lies below it.
//!
//! Owns reading and writing of deterministic CBOR, without building a tree. Refuses what the contract
//! does not list. Invariant: a cell that was written is read back as the same value.

mod check;
mod write;

#[cfg(not(target_family = "wasm"))]
pub(crate) use check::TOO_MANY;
pub(crate) use check::check;
pub use write::CellWriter;

use crate::decimal::Decimal;
use crate::time::{Date, DateTime, Time, Timestamp};

const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;
const NULL: u8 = 0xf6;
/// Lists and maps within each other, beyond which bytes are no cell.
pub(crate) const DEPTH_MAX: usize = 64;

/// A dynamically typed cell, borrowed from the batch.
///
/// ```
/// use driftd_plugin::{Cell, CellWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = CellWriter::new(&mut bytes);
/// writer.list(2);
/// writer.text("a");
/// writer.integer(1);
/// let Some(Cell::List(items)) = Cell::read(&bytes) else { panic!() };
/// let cells: Vec<_> = items.iter().collect();
/// assert_eq!(cells, [Cell::Text("a"), Cell::Integer(1)]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Null, which is not the same as absent.
    Null,
    /// The JSON document `null`, as a column of JSON may hold it, which is not the same as either.
    JsonNull,
    /// True or false.
    Boolean(bool),
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other number that is exact.
    Decimal(Decimal),
    /// A binary floating-point number.
    Float(f64),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An instant.
    Timestamp(Timestamp),
    /// A local date and time.
    DateTime(DateTime),
    /// A day.
    Date(Date),
    /// A time of day.
    Time(Time),
    /// A list.
    List(List<'a>),
    /// A set.
    Set(List<'a>),
    /// A map with text keys.
    Map(Map<'a>),
}

impl<'a> Cell<'a> {
    /// The cell that these bytes are; none if they are not one.
    ///
    /// ```
    /// use driftd_plugin::Cell;
    ///
    /// assert_eq!(Cell::read(&[0x18, 0x2a]), Some(Cell::Integer(42)));
    /// assert_eq!(Cell::read(&[0x18]), None);
    /// ```
    #[must_use]
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        read(bytes).filter(|(_, rest)| rest.is_empty()).map(|(cell, _)| cell)
    }

    /// A whole number that is never negative.
    pub(crate) fn of_unsigned(value: u64) -> Self {
        i64::try_from(value).map_or_else(|_| Self::Decimal(Decimal::from(value)), Self::Integer)
    }

    /// Whether it is null.
    ///
    /// ```
    /// assert!(driftd_plugin::Cell::Null.is_null());
    /// ```
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text that it is.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// assert_eq!(Cell::Text("a").text(), Some("a"));
    /// assert_eq!(Cell::Integer(1).text(), None);
    /// ```
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The whole number that it is.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// assert_eq!(Cell::Integer(1).integer(), Some(1));
    /// ```
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(integer) => Some(*integer),
            _ => None,
        }
    }

    /// The whole number that it is, if it is not negative.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, Decimal};
    /// assert_eq!(Cell::Decimal(Decimal::from(u64::MAX)).unsigned(), Some(u64::MAX));
    /// assert_eq!(Cell::Integer(-1).unsigned(), None);
    /// ```
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        u64::try_from(self.decimal()?.to_integer()?).ok()
    }

    /// The exact number that it is, whole or not.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, Decimal};
    /// assert_eq!(Cell::Integer(1).decimal(), Some(Decimal::from(1)));
    /// assert_eq!(Cell::Float(1.0).decimal(), None);
    /// ```
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        match self {
            Self::Integer(integer) => Some(Decimal::from(*integer)),
            Self::Decimal(decimal) => Some(*decimal),
            _ => None,
        }
    }

    /// The map that it is.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// assert_eq!(Cell::Null.map(), None);
    /// ```
    #[must_use]
    pub fn map(&self) -> Option<Map<'a>> {
        match self {
            Self::Map(map) => Some(*map),
            _ => None,
        }
    }
}

/// The items of a list or a set, borrowed from the batch.
///
/// ```
/// use driftd_plugin::Cell;
///
/// let Some(Cell::List(list)) = Cell::read(&[0x82, 1, 2]) else { panic!() };
/// assert_eq!(list.len(), 2);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List<'a> {
    len: usize,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    /// How many there are.
    ///
    /// ```
    /// # let Some(driftd_plugin::Cell::List(list)) = driftd_plugin::Cell::read(&[0x80]) else { panic!() };
    /// assert_eq!(list.len(), 0);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    ///
    /// ```
    /// # let Some(driftd_plugin::Cell::List(list)) = driftd_plugin::Cell::read(&[0x80]) else { panic!() };
    /// assert!(list.is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Each of them, in order.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// # let Some(Cell::List(list)) = Cell::read(&[0x82, 1, 2]) else { panic!() };
    /// let sum: i64 = list.iter().filter_map(|cell| cell.integer()).sum();
    /// assert_eq!(sum, 3);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (cell, after) = read(rest)?;
            rest = after;
            Some(cell)
        })
        .take(self.len)
    }
}

/// The entries of a map, borrowed from the batch.
///
/// ```
/// use driftd_plugin::{Cell, CellWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = CellWriter::new(&mut bytes);
/// writer.map(1);
/// writer.text("city");
/// writer.text("Bonn");
/// let map = Cell::read(&bytes).unwrap().map().unwrap();
/// assert_eq!(map.get("city"), Some(Cell::Text("Bonn")));
/// assert_eq!(map.get("street"), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Map<'a>(List<'a>);

impl<'a> Map<'a> {
    /// What lies under a key; none where it is absent.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// # let map = Cell::read(&[0xa0]).unwrap().map().unwrap();
    /// assert_eq!(map.get("city"), None);
    /// ```
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cell<'a>> {
        self.iter().find(|(name, _)| *name == key).map(|(_, cell)| cell)
    }

    /// Each entry, in the order of its key's encoding.
    ///
    /// ```
    /// # use driftd_plugin::Cell;
    /// # let map = Cell::read(&[0xa0]).unwrap().map().unwrap();
    /// assert_eq!(map.iter().count(), 0);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Cell<'a>)> + use<'a> {
        let mut rest = self.0.bytes;
        std::iter::from_fn(move || {
            let (key, after) = read(rest)?;
            let (cell, after) = read(after)?;
            rest = after;
            Some((key.text()?, cell))
        })
        .take(self.0.len)
    }
}

/// The major type and argument of an item, and what follows its head.
#[inline]
fn head(bytes: &[u8]) -> Option<(u8, u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let info = first & 0x1f;
    if info < 24 {
        return Some((first >> 5, u64::from(info), rest));
    }
    let (argument, rest) = match info {
        24 => wider(rest, |bytes: [u8; 1]| u64::from(bytes[0]))?,
        25 => wider(rest, |bytes| u64::from(u16::from_be_bytes(bytes)))?,
        26 => wider(rest, |bytes| u64::from(u32::from_be_bytes(bytes)))?,
        27 => wider(rest, u64::from_be_bytes)?,
        _ => return None,
    };
    Some((first >> 5, argument, rest))
}

#[inline(always)]
fn wider<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> u64) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(argument, rest)| (read(*argument), rest))
}

/// What one of the typed readers finds in a cell of any type.
pub(crate) type Found<T> = std::result::Result<Option<T>, Wrong>;

/// It is there, and of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong;

/// The bytes of a text cell.
#[inline(always)]
pub(crate) fn text(bytes: &[u8]) -> Found<&[u8]> {
    match head(bytes) {
        Some((TEXT, length, rest)) => match usize::try_from(length) {
            Ok(length) if length == rest.len() => Ok(Some(rest)),
            _ => Err(Wrong),
        },
        _ if bytes == [NULL] => Ok(None),
        _ => Err(Wrong),
    }
}

/// A cell that is a whole number of 64 bits.
#[inline(always)]
pub(crate) fn integer(bytes: &[u8]) -> Found<i64> {
    match head(bytes) {
        Some((major @ 0..=1, argument, [])) => match i64::try_from(argument) {
            Ok(value) => Ok(Some(if major == 0 { value } else { -1 - value })),
            Err(_) => Err(Wrong),
        },
        _ if bytes == [NULL] => Ok(None),
        _ => Err(Wrong),
    }
}

/// A cell that is a whole number of 64 bits, which is never negative.
#[inline(always)]
pub(crate) fn unsigned(bytes: &[u8]) -> Found<u64> {
    match head(bytes) {
        Some((0, argument, [])) => Ok(Some(argument)),
        _ if bytes == [NULL] => Ok(None),
        _ => Err(Wrong),
    }
}

/// Whether bytes that come from anywhere are a cell.
pub(crate) fn is_cell(bytes: &[u8]) -> bool {
    check(bytes).is_ok()
}

fn read(bytes: &[u8]) -> Option<(Cell<'_>, &[u8])> {
    let (major, argument, rest) = head(bytes)?;
    let taken = || rest.split_at_checked(usize::try_from(argument).ok()?);
    Some(match major {
        0 => match i64::try_from(argument) {
            Ok(value) => (Cell::Integer(value), rest),
            Err(_) => (Cell::Decimal(Decimal::from(argument)), rest),
        },
        1 => match i64::try_from(argument) {
            Ok(value) => (Cell::Integer(-1 - value), rest),
            Err(_) => (Cell::Decimal(Decimal::new(-1 - i128::from(argument), 0)), rest),
        },
        BYTES => taken().map(|(bytes, rest)| (Cell::Bytes(bytes), rest))?,
        TEXT => {
            let (text, rest) = taken()?;
            (Cell::Text(std::str::from_utf8(text).ok()?), rest)
        }
        ARRAY => {
            let (list, rest) = list(argument, 1, rest)?;
            (Cell::List(list), rest)
        }
        MAP => {
            let (list, rest) = list(argument, 2, rest)?;
            (Cell::Map(Map(list)), rest)
        }
        TAG => tagged(argument, rest)?,
        _ => match bytes[0] {
            NULL => (Cell::Null, rest),
            0xf4 => (Cell::Boolean(false), rest),
            0xf5 => (Cell::Boolean(true), rest),
            0xf9 => (Cell::Float(half(argument as u16)), rest),
            0xfa => (Cell::Float(f64::from(f32::from_bits(argument as u32))), rest),
            0xfb => (Cell::Float(f64::from_bits(argument)), rest),
            _ => return None,
        },
    })
}

/// A list of `len` entries of `width` items each, and what follows.
fn list(len: u64, width: u64, bytes: &[u8]) -> Option<(List<'_>, &[u8])> {
    let mut rest = bytes;
    for _ in 0..len.checked_mul(width)? {
        rest = skip(rest)?;
    }
    let len = usize::try_from(len).ok()?;
    Some((List { len, bytes: &bytes[..bytes.len() - rest.len()] }, rest))
}

/// What follows an item, without reading it. Bounded by the bytes: every item has at least one.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    let mut left: u64 = 1;
    while left > 0 {
        let (major, argument, after) = head(rest)?;
        left -= 1;
        rest = match major {
            BYTES | TEXT => after.get(usize::try_from(argument).ok()?..)?,
            _ => after,
        };
        left = left.checked_add(match major {
            ARRAY => argument,
            MAP => argument.checked_mul(2)?,
            TAG => 1,
            _ => 0,
        })?;
    }
    Some(rest)
}

fn tagged(tag: u64, bytes: &[u8]) -> Option<(Cell<'_>, &[u8])> {
    let after = skip(bytes)?;
    let inner = &bytes[..bytes.len() - after.len()];
    let cell = match tag {
        2 | 3 => Cell::Decimal(Decimal::new(wide(tag, inner)?, 0)),
        4 => {
            let (ARRAY, 2, pair) = head(inner)? else { return None };
            let mantissa = skip(pair)?;
            let exponent = whole(&pair[..pair.len() - mantissa.len()])?;
            Cell::Decimal(Decimal::new(whole(mantissa)?, i32::try_from(exponent).ok()?))
        }
        55040 if inner == [NULL] => Cell::JsonNull,
        100 => Cell::Date(Date::from_days(integer(inner).ok()??)),
        258 => Cell::Set(array(inner)?),
        1001 => Cell::Timestamp(timestamp(inner)?),
        55041 => Cell::DateTime(DateTime::from_micros(integer(inner).ok()??)),
        55042 => Cell::Time(Time::from_micros(integer(inner).ok()??)),
        55043 => {
            let mut parts = array(inner)?.iter().map(|part| part.integer());
            let day = parts.next()??;
            match parts.next() {
                None => Cell::Date(Date::from_days(i64::MIN.checked_add(day)?)),
                Some(micros) => {
                    let micros = day.checked_mul(86_400_000_000)?.checked_add(micros?)?;
                    Cell::DateTime(DateTime::from_micros(i64::MIN.checked_add(micros)?))
                }
            }
        }
        _ => return None,
    };
    Some((cell, after))
}

/// What a tag stands before that takes nothing but an array.
fn array(bytes: &[u8]) -> Option<List<'_>> {
    let (ARRAY, len, items) = head(bytes)? else { return None };
    list(len, 1, items).map(|(list, _)| list)
}

/// A whole number, however wide.
fn whole(bytes: &[u8]) -> Option<i128> {
    match head(bytes)? {
        (0, argument, []) => Some(i128::from(argument)),
        (1, argument, []) => Some(-1 - i128::from(argument)),
        (TAG, tag @ 2..=3, inner) => wide(tag, inner),
        _ => None,
    }
}

fn wide(tag: u64, bytes: &[u8]) -> Option<i128> {
    let (BYTES, _, magnitude) = head(bytes)? else { return None };
    if magnitude.len() > 16 {
        return None;
    }
    let magnitude = magnitude.iter().fold(0u128, |number, byte| number << 8 | u128::from(*byte));
    let magnitude = i128::try_from(magnitude).ok()?;
    Some(if tag == 3 { -1 - magnitude } else { magnitude })
}

fn timestamp(bytes: &[u8]) -> Option<Timestamp> {
    let (MAP, entries, mut rest) = head(bytes)? else { return None };
    let (mut seconds, mut micros) = (None, 0);
    for _ in 0..entries {
        let (Cell::Integer(key), value) = read(rest)? else { return None };
        let (Cell::Integer(value), after) = read(value)? else { return None };
        rest = after;
        match key {
            1 => seconds = Some(value),
            -6 => micros = value,
            _ => return None,
        }
    }
    seconds?.checked_mul(1_000_000)?.checked_add(micros).map(Timestamp::from_micros)
}

fn half(bits: u16) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => mantissa * 2f64.powi(-24),
        31 if mantissa == 0.0 => f64::INFINITY,
        31 => return f64::NAN,
        _ => (mantissa + 1024.0) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut CellWriter<'_>)) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut CellWriter::new(&mut bytes));
        bytes
    }

    #[test]
    fn what_is_written_is_read_back() {
        for integer in [0, 23, 24, 255, 256, 65_536, i64::MAX, -1, -25, i64::MIN] {
            let bytes = written(|cell| cell.integer(integer));
            assert_eq!(Cell::read(&bytes), Some(Cell::Integer(integer)));
            assert_eq!(super::integer(&bytes), Ok(Some(integer)));
        }
        for decimal in ["0.5", "-12.25", "18446744073709551616", "-18446744073709551617", "1e-30"] {
            let decimal: Decimal = decimal.parse().unwrap();
            let bytes = written(|cell| cell.decimal(decimal));
            assert_eq!(Cell::read(&bytes), Some(Cell::Decimal(decimal)));
        }
        for (float, length) in [
            (1.5, 3),
            (0.1, 9),
            (65_504.0, 3),
            (65_536.0, 5),
            (f64::INFINITY, 3),
            (-5.960_464_477_539_063e-8, 3),
            (6.103_515_625e-5, 3),
            (2.980_232_238_769_531_3e-8, 5),
        ] {
            let bytes = written(|cell| cell.float(float));
            assert_eq!((bytes.len(), Cell::read(&bytes)), (length, Some(Cell::Float(float))));
        }
        for micros in [0, 1, -1, 1_500_000, -1_500_000] {
            let cell = Cell::Timestamp(Timestamp::from_micros(micros));
            let bytes = written(|cell| cell.timestamp(Timestamp::from_micros(micros)));
            assert_eq!(Cell::read(&bytes), Some(cell));
        }
        for days in [0, -1, 19_000, i64::MIN, i64::MIN + 20_240_100] {
            let bytes = written(|cell| cell.date(Date::from_days(days)));
            assert_eq!(Cell::read(&bytes), Some(Cell::Date(Date::from_days(days))));
        }
        for micros in [0, -1, i64::MIN, i64::MIN + 20_240_100 * 86_400_000_000 + 5] {
            let bytes = written(|cell| cell.datetime(DateTime::from_micros(micros)));
            assert_eq!(Cell::read(&bytes), Some(Cell::DateTime(DateTime::from_micros(micros))));
        }
    }

    #[test]
    fn nonsense_is_no_cell() {
        let nested = [0x81u8; 100_000];
        for bytes in [
            &[][..],
            &[0x61],
            &[0x61, 0xff],
            &[0x01, 0x01],
            &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0x5f, 0xff],
            &[0xc5, 0x01],
            &[0xc4, 0x82, 0x01, 0x60],
            &nested,
        ] {
            assert_eq!(Cell::read(bytes), None);
        }
        for bytes in [&[][..], &[0x61], &[0x61, 0x61, 0x61], &[0x41, 0x61], &[0x7f], &nested] {
            assert_eq!(text(bytes), Err(Wrong));
        }
    }

    #[test]
    fn maps_are_walked_without_reading_what_is_not_asked_for() {
        let bytes = written(|cell| {
            cell.map(3);
            cell.text("a");
            cell.list(2);
            cell.null();
            cell.map(0);
            cell.text("b");
            cell.set(1);
            cell.text("x");
            cell.text("c");
            cell.boolean(true);
        });
        let map = Cell::read(&bytes).unwrap().map().unwrap();
        assert_eq!(map.get("c"), Some(Cell::Boolean(true)));
        assert_eq!(map.iter().map(|(key, _)| key).collect::<String>(), "abc");
        let Some(Cell::Set(set)) = map.get("b") else { panic!() };
        assert_eq!(set.iter().next(), Some(Cell::Text("x")));
    }
}
