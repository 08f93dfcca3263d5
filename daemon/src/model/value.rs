//! Canonical values and their one encoding.
//!
//! Owns [`Value`], [`Number`] and the deterministic CBOR (RFC 8949, section 4.2) of both. Refuses
//! configured equivalences (that is `compare`) and any store's own types. Invariant: the encoding is
//! injective: two values have the same bytes exactly when they are the same value; a number has one
//! encoding however it was written.
//!
//! | value | CBOR |
//! | --- | --- |
//! | null, boolean | `f6`, `f4`, `f5` |
//! | number, integral and within 128 bits signed | integer, or bignum (tag 2, 3) beyond 64 bits |
//! | number, any other | decimal fraction: tag 4 on `[exponent, mantissa]`, mantissa not divisible by ten |
//! | float | the shortest of half, single, double that holds it; `-0` is `0`; one NaN (`f97e00`) |
//! | text, bytes | text string, byte string |
//! | timestamp | tag 1001 (RFC 9581) on `{1: seconds}` or `{1: seconds, -6: microseconds}` |
//! | local date-time | tag 55041 on microseconds since 1970-01-01T00:00:00 |
//! | date | tag 100 (RFC 8943) on days since 1970-01-01 |
//! | time | tag 55042 on microseconds |
//! | what is no calendar date(-time) | tag 55043 on `[yyyymmdd]` or `[yyyymmdd, microseconds]` |
//! | list, map | array, map with text keys in bytewise order of their encodings |
//! | set | tag 258 on an array in bytewise order of the members' encodings |

mod number;

use std::collections::BTreeMap;

pub use number::{Number, NumberError};

/// A canonical value. Absent is not one of them: an absent field is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer or a decimal; `1`, `1.0` and `1E0` are the same.
    Number(Number),
    /// A binary float; never equal to a number.
    Float(f64),
    /// Text, compared byte for byte.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An instant: microseconds since the Unix epoch.
    Timestamp(i64),
    /// A date and time of an unnamed time zone, as [`Logical::DateTime`](crate::model::Logical)
    /// counts it.
    DateTime(i64),
    /// A date, as [`Logical::Date`](crate::model::Logical) counts it.
    Date(i64),
    /// A time: microseconds.
    Time(i64),
    /// A list; order matters.
    List(Vec<Self>),
    /// A map; order does not matter.
    Map(BTreeMap<String, Self>),
    /// A set; order does not matter.
    Set(Vec<Self>),
}

/// Bytes are not the encoding of a canonical value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a canonical value: {what} at byte {at}")]
pub struct CborError {
    /// What is wrong.
    pub what: &'static str,
    /// Where.
    pub at: usize,
}

/// Nesting beyond this is refused; stores allow far less.
const DEPTH_MAX: u32 = 64;
const MICROS: i64 = 1_000_000;
/// Date-times at or below this are no calendar date-times: see [`Logical::DateTime`].
///
/// [`Logical::DateTime`]: crate::model::Logical::DateTime
const NO_CALENDAR_MICROS: i64 = i64::MIN + 99_999_999 * DAY_MICROS + DAY_MICROS;
const NO_CALENDAR_DAYS: i64 = i64::MIN + 99_999_999;
const DAY_MICROS: i64 = 86_400 * MICROS;

/// Writes canonical values as deterministic CBOR, without building a [`Value`] first.
pub mod cbor {
    use super::{DAY_MICROS, MICROS, NO_CALENDAR_DAYS, NO_CALENDAR_MICROS, Number};

    const NEGATIVE: u8 = 1;
    pub(super) const BYTES: u8 = 2;
    pub(super) const TEXT: u8 = 3;
    pub(super) const ARRAY: u8 = 4;
    pub(super) const MAP: u8 = 5;
    pub(super) const TAG: u8 = 6;
    pub(super) const NULL: u8 = 0xf6;
    pub(super) const FALSE: u8 = 0xf4;
    pub(super) const TRUE: u8 = 0xf5;
    pub(super) const HALF: u8 = 0xf9;
    pub(super) const SINGLE: u8 = 0xfa;
    pub(super) const DOUBLE: u8 = 0xfb;
    pub(super) const TAG_BIG: u64 = 2;
    pub(super) const TAG_BIG_NEGATIVE: u64 = 3;
    pub(super) const TAG_DECIMAL: u64 = 4;
    pub(super) const TAG_DATE: u64 = 100;
    pub(super) const TAG_SET: u64 = 258;
    pub(super) const TAG_TIMESTAMP: u64 = 1001;
    pub(super) const TAG_DATETIME: u64 = 55041;
    pub(super) const TAG_TIME: u64 = 55042;
    pub(super) const TAG_NO_CALENDAR: u64 = 55043;

    /// The head of an item: its major type and argument, in the shortest form.
    #[inline]
    pub(super) fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
        let major = major << 5;
        let bytes = argument.to_be_bytes();
        match argument {
            0..=23 => out.push(major | bytes[7]),
            24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..=0xffff => {
                out.push(major | 25);
                out.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                out.push(major | 26);
                out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                out.push(major | 27);
                out.extend_from_slice(&bytes);
            }
        }
    }

    /// The head of an array of `len` items, which must follow.
    pub fn array(out: &mut Vec<u8>, len: usize) {
        head(out, ARRAY, len as u64);
    }

    /// The head of a map of `len` pairs, which must follow in canonical order.
    pub fn map(out: &mut Vec<u8>, len: usize) {
        head(out, MAP, len as u64);
    }

    /// Null.
    #[inline]
    pub fn null(out: &mut Vec<u8>) {
        out.push(NULL);
    }

    /// A boolean.
    pub fn bool(out: &mut Vec<u8>, value: bool) {
        out.push(if value { TRUE } else { FALSE });
    }

    /// A text.
    #[inline]
    pub fn text(out: &mut Vec<u8>, value: &str) {
        head(out, TEXT, value.len() as u64);
        out.extend_from_slice(value.as_bytes());
    }

    /// Bytes.
    pub fn bytes(out: &mut Vec<u8>, value: &[u8]) {
        head(out, BYTES, value.len() as u64);
        out.extend_from_slice(value);
    }

    /// An integer of at most 64 bits, signed or not.
    #[inline]
    pub fn integer(out: &mut Vec<u8>, value: i128) {
        if let Ok(value) = u64::try_from(value) {
            head(out, 0, value);
        } else if let Ok(value) = u64::try_from(-1 - value) {
            head(out, NEGATIVE, value);
        } else {
            big(out, value);
        }
    }

    /// An integer of more than 64 bits.
    fn big(out: &mut Vec<u8>, value: i128) {
        let (tag, magnitude) = if value < 0 {
            (TAG_BIG_NEGATIVE, (-1 - value).unsigned_abs())
        } else {
            (TAG_BIG, value.unsigned_abs())
        };
        head(out, TAG, tag);
        let magnitude = magnitude.to_be_bytes();
        let zeros = magnitude.iter().take_while(|byte| **byte == 0).count();
        bytes(out, &magnitude[zeros..]);
    }

    /// A number.
    #[inline]
    pub fn number(out: &mut Vec<u8>, value: Number) {
        if let Some(whole) = value.to_integer() {
            return integer(out, whole);
        }
        let (mantissa, exponent) = value.parts();
        head(out, TAG, TAG_DECIMAL);
        array(out, 2);
        integer(out, i128::from(exponent));
        integer(out, mantissa);
    }

    /// A float, by bits after `-0` became `0` and every NaN the same.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the narrowing is undone and compared before it is used"
    )]
    pub fn float(out: &mut Vec<u8>, value: f64) {
        if value.is_nan() {
            out.extend_from_slice(&[HALF, 0x7e, 0]);
            return;
        }
        let value = if value == 0.0 { 0.0 } else { value };
        let single = value as f32;
        if f64::from(single).to_bits() != value.to_bits() {
            out.push(DOUBLE);
            out.extend_from_slice(&value.to_be_bytes());
        } else if let Some(half) = half(single) {
            out.push(HALF);
            out.extend_from_slice(&half.to_be_bytes());
        } else {
            out.push(SINGLE);
            out.extend_from_slice(&single.to_be_bytes());
        }
    }

    /// `value` as a half-precision float, if that holds it exactly.
    fn half(value: f32) -> Option<u16> {
        let bits = value.to_bits();
        let sign = u16::try_from(bits >> 16 & 0x8000).ok()?;
        let exponent = i32::try_from(bits >> 23 & 0xff).ok()? - 127;
        let mantissa = bits & 0x007f_ffff;
        let magnitude = match exponent {
            -127 if mantissa == 0 => 0,
            128 if mantissa == 0 => 0x7c00,
            -14..=15 if mantissa & 0x1fff == 0 => {
                u32::try_from(exponent + 15).ok()? << 10 | mantissa >> 13
            }
            -24..=-15 => {
                let shift = u32::try_from(-1 - exponent).ok()?;
                let full = mantissa | 0x0080_0000;
                if full & ((1 << shift) - 1) != 0 {
                    return None;
                }
                full >> shift
            }
            _ => return None,
        };
        Some(sign | u16::try_from(magnitude).ok()?)
    }

    /// The double that half-precision `bits` stand for.
    pub(super) fn from_half(bits: u16) -> f64 {
        let mantissa = f64::from(bits & 0x03ff);
        let magnitude = match bits >> 10 & 0x1f {
            0 => mantissa * 2f64.powi(-24),
            31 if mantissa == 0.0 => f64::INFINITY,
            31 => f64::NAN,
            exponent => (1.0 + mantissa / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
        };
        if bits & 0x8000 == 0 { magnitude } else { -magnitude }
    }

    /// An instant, in microseconds since the Unix epoch.
    #[inline]
    pub fn timestamp(out: &mut Vec<u8>, micros: i64) {
        if micros <= NO_CALENDAR_MICROS {
            return datetime(out, micros);
        }
        let (seconds, rest) = (micros.div_euclid(MICROS), micros.rem_euclid(MICROS));
        head(out, TAG, TAG_TIMESTAMP);
        map(out, if rest == 0 { 1 } else { 2 });
        integer(out, 1);
        integer(out, i128::from(seconds));
        if rest != 0 {
            integer(out, -6);
            integer(out, i128::from(rest));
        }
    }

    /// A local date-time.
    #[inline]
    pub fn datetime(out: &mut Vec<u8>, micros: i64) {
        if micros <= NO_CALENDAR_MICROS {
            let packed = i128::from(micros) - i128::from(i64::MIN);
            head(out, TAG, TAG_NO_CALENDAR);
            array(out, 2);
            integer(out, packed / i128::from(DAY_MICROS));
            integer(out, packed % i128::from(DAY_MICROS));
            return;
        }
        head(out, TAG, TAG_DATETIME);
        integer(out, i128::from(micros));
    }

    /// A date.
    #[inline]
    pub fn date(out: &mut Vec<u8>, days: i64) {
        if days <= NO_CALENDAR_DAYS {
            head(out, TAG, TAG_NO_CALENDAR);
            array(out, 1);
            integer(out, i128::from(days) - i128::from(i64::MIN));
            return;
        }
        head(out, TAG, TAG_DATE);
        integer(out, i128::from(days));
    }

    /// A time.
    pub fn time(out: &mut Vec<u8>, micros: i64) {
        head(out, TAG, TAG_TIME);
        integer(out, i128::from(micros));
    }

    /// A set of members that are encoded already. Sorts them and drops repeated ones.
    pub fn set(out: &mut Vec<u8>, mut members: Vec<Vec<u8>>) {
        members.sort_unstable();
        members.dedup();
        head(out, TAG, TAG_SET);
        array(out, members.len());
        for member in members {
            out.extend_from_slice(&member);
        }
    }
}

impl Value {
    /// Appends the deterministic CBOR of the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => cbor::null(out),
            Self::Bool(value) => cbor::bool(out, *value),
            Self::Number(value) => cbor::number(out, *value),
            Self::Float(value) => cbor::float(out, *value),
            Self::Text(value) => cbor::text(out, value),
            Self::Bytes(value) => cbor::bytes(out, value),
            Self::Timestamp(micros) => cbor::timestamp(out, *micros),
            Self::DateTime(micros) => cbor::datetime(out, *micros),
            Self::Date(days) => cbor::date(out, *days),
            Self::Time(micros) => cbor::time(out, *micros),
            Self::List(items) => {
                cbor::array(out, items.len());
                for item in items {
                    item.encode(out);
                }
            }
            Self::Map(pairs) => {
                // Shorter keys have smaller heads, so bytewise order of encodings is by length
                // first; the map's own order is not.
                let mut pairs: Vec<_> = pairs.iter().collect();
                pairs.sort_by_key(|(key, _)| (key.len(), *key));
                cbor::map(out, pairs.len());
                for (key, value) in pairs {
                    cbor::text(out, key);
                    value.encode(out);
                }
            }
            Self::Set(members) => cbor::set(out, members.iter().map(Self::to_cbor).collect()),
        }
    }

    /// The deterministic CBOR of the value.
    #[must_use]
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Reads one encoded value, and nothing after it. Accepts only what [`Value::encode`] writes,
    /// but for the order of map keys and set members and for the width of heads, which are put right.
    ///
    /// # Errors
    /// If the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader { bytes, at: 0 };
        let value = reader.value(0)?;
        if reader.at == bytes.len() { Ok(value) } else { Err(reader.wrong("trailing bytes")) }
    }

    /// Reads a JSON text: objects become maps, arrays lists, numbers exact numbers.
    ///
    /// # Errors
    /// If it is no JSON, or holds a number that a canonical value cannot.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, NumberError> {
        Ok(match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Number(Number::parse(&number.to_string())?),
            serde_json::Value::String(text) => Self::Text(text.clone()),
            serde_json::Value::Array(items) => {
                Self::List(items.iter().map(Self::from_json).collect::<Result<_, _>>()?)
            }
            serde_json::Value::Object(pairs) => Self::Map(
                pairs
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), Self::from_json(value)?)))
                    .collect::<Result<_, NumberError>>()?,
            ),
        })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, what: &'static str) -> CborError {
        CborError { what, at: self.at }
    }

    fn take(&mut self, len: u64) -> Result<&[u8], CborError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let Some(taken) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            return Err(self.wrong("cut short"));
        };
        self.at += taken.len();
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let mut fixed = [0; N];
        fixed.copy_from_slice(self.take(N as u64)?);
        Ok(fixed)
    }

    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let [first] = self.fixed()?;
        let argument = match first & 0x1f {
            small @ 0..=23 => u64::from(small),
            24 => u64::from(u8::from_be_bytes(self.fixed()?)),
            25 => u64::from(u16::from_be_bytes(self.fixed()?)),
            26 => u64::from(u32::from_be_bytes(self.fixed()?)),
            27 => u64::from_be_bytes(self.fixed()?),
            _ => return Err(self.wrong("indefinite length")),
        };
        Ok((first >> 5, argument))
    }

    fn value(&mut self, depth: u32) -> Result<Value, CborError> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("nested too deeply"));
        }
        match self.bytes.get(self.at).copied() {
            None => return Err(self.wrong("cut short")),
            Some(first @ (cbor::NULL | cbor::TRUE | cbor::FALSE)) => {
                self.at += 1;
                return Ok(if first == cbor::NULL {
                    Value::Null
                } else {
                    Value::Bool(first == cbor::TRUE)
                });
            }
            Some(first @ (cbor::HALF | cbor::SINGLE | cbor::DOUBLE)) => {
                self.at += 1;
                return Ok(Value::Float(match first {
                    cbor::HALF => cbor::from_half(u16::from_be_bytes(self.fixed()?)),
                    cbor::SINGLE => f64::from(f32::from_be_bytes(self.fixed()?)),
                    _ => f64::from_be_bytes(self.fixed()?),
                }));
            }
            Some(_) => {}
        }
        let (major, argument) = self.head()?;
        Ok(match major {
            0 => Value::Number(Number::from(argument)),
            1 => Value::Number(Number::from(-1 - i128::from(argument))),
            cbor::BYTES => Value::Bytes(self.take(argument)?.to_vec()),
            cbor::TEXT => Value::Text(self.text(argument)?),
            cbor::ARRAY => Value::List(self.items(argument, depth)?),
            cbor::MAP => {
                let mut pairs = BTreeMap::new();
                for _ in 0..argument {
                    let (cbor::TEXT, length) = self.head()? else {
                        return Err(self.wrong("a map key that is no text"));
                    };
                    let key = self.text(length)?;
                    if pairs.insert(key, self.value(depth + 1)?).is_some() {
                        return Err(self.wrong("a repeated map key"));
                    }
                }
                Value::Map(pairs)
            }
            cbor::TAG => self.tagged(argument, depth)?,
            _ => return Err(self.wrong("an unknown simple value")),
        })
    }

    fn text(&mut self, length: u64) -> Result<String, CborError> {
        let at = self.at;
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_utf8| CborError { what: "text that is not UTF-8", at })
    }

    fn items(&mut self, len: u64, depth: u32) -> Result<Vec<Value>, CborError> {
        // Not reserved by `len`: it is a claim of whoever wrote the bytes.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(self.value(depth + 1)?);
        }
        Ok(items)
    }

    fn tagged(&mut self, tag: u64, depth: u32) -> Result<Value, CborError> {
        let value = match tag {
            cbor::TAG_BIG | cbor::TAG_BIG_NEGATIVE => Value::Number(self.big(tag)?),
            cbor::TAG_DECIMAL => {
                let (exponent, mantissa) = self.pair()?;
                let exponent = i32::try_from(exponent);
                let exponent = exponent.map_err(|_wide| self.wrong("exponent out of range"))?;
                let number = Number::new(mantissa, exponent);
                Value::Number(number.map_err(|_wide| self.wrong("a number of too many digits"))?)
            }
            cbor::TAG_DATE => Value::Date(self.small()?),
            cbor::TAG_DATETIME => Value::DateTime(self.small()?),
            cbor::TAG_TIME => Value::Time(self.small()?),
            cbor::TAG_TIMESTAMP => Value::Timestamp(self.timestamp()?),
            cbor::TAG_NO_CALENDAR => self.no_calendar()?,
            cbor::TAG_SET => {
                let (cbor::ARRAY, len) = self.head()? else {
                    return Err(self.wrong("a set that is no array"));
                };
                Value::Set(self.items(len, depth)?)
            }
            _ => return Err(self.wrong("an unknown tag")),
        };
        Ok(value)
    }

    fn big(&mut self, tag: u64) -> Result<Number, CborError> {
        let (cbor::BYTES, len) = self.head()? else {
            return Err(self.wrong("a big number that is no bytes"));
        };
        let mut magnitude: u128 = 0;
        for byte in self.take(len.min(17))? {
            if magnitude >> 120 != 0 {
                return Err(self.wrong("a number of too many digits"));
            }
            magnitude = magnitude << 8 | u128::from(*byte);
        }
        let whole = i128::try_from(magnitude).map_err(|_wide| self.wrong("a number too big"))?;
        let whole = if tag == cbor::TAG_BIG_NEGATIVE { -1 - whole } else { whole };
        Number::new(whole, 0).map_err(|_wide| self.wrong("a number of too many digits"))
    }

    /// An integer, big or not.
    fn integer(&mut self) -> Result<i128, CborError> {
        let Value::Number(number) = self.value(DEPTH_MAX)? else {
            return Err(self.wrong("not an integer"));
        };
        number.to_integer().ok_or_else(|| self.wrong("not an integer"))
    }

    fn small(&mut self) -> Result<i64, CborError> {
        i64::try_from(self.integer()?).map_err(|_wide| self.wrong("out of range"))
    }

    fn pair(&mut self) -> Result<(i128, i128), CborError> {
        if self.head()? != (cbor::ARRAY, 2) {
            return Err(self.wrong("not an array of two"));
        }
        Ok((self.integer()?, self.integer()?))
    }

    fn timestamp(&mut self) -> Result<i64, CborError> {
        let (cbor::MAP, entries @ 1..=2) = self.head()? else {
            return Err(self.wrong("not a time map"));
        };
        let (mut seconds, mut micros) = (None, 0);
        for _ in 0..entries {
            match self.small()? {
                1 => seconds = Some(self.small()?),
                -6 => micros = self.small()?,
                _ => return Err(self.wrong("an unknown time unit")),
            }
        }
        seconds
            .and_then(|seconds| seconds.checked_mul(MICROS)?.checked_add(micros))
            .ok_or_else(|| self.wrong("a time out of range"))
    }

    fn no_calendar(&mut self) -> Result<Value, CborError> {
        let (cbor::ARRAY, len @ 1..=2) = self.head()? else {
            return Err(self.wrong("not an array of one or two"));
        };
        let days = self.small()?;
        let micros = if len == 2 { self.small()? } else { 0 };
        if !(0..=99_999_999).contains(&days) || !(0..DAY_MICROS).contains(&micros) {
            return Err(self.wrong("out of range"));
        }
        Ok(if len == 2 {
            Value::DateTime(i64::MIN + days * DAY_MICROS + micros)
        } else {
            Value::Date(i64::MIN + days)
        })
    }
}

#[cfg(test)]
mod tests;
