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

pub mod cbor;

use std::collections::BTreeMap;

/// An exact decimal number: `mantissa * 10^exponent`, at most 38 significant digits, the mantissa not
/// divisible by ten (zero has exponent 0). So equal numbers are equal structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Number {
    mantissa: i128,
    exponent: i32,
}

/// A text is no number that a canonical value can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// It is no decimal number at all.
    #[error("not a decimal number")]
    Syntax,
    /// Beyond 38 significant digits; rounding would hide drift.
    #[error("more than 38 significant digits")]
    TooManyDigits,
    /// The exponent does not fit 32 bits.
    #[error("exponent out of range")]
    Exponent,
}

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

/// The most significant digits a number may have; DynamoDB has the same limit.
const DIGITS_MAX: u32 = 38;
/// Nesting beyond this is refused; stores allow far less.
const DEPTH_MAX: u32 = 64;
const MICROS: i64 = 1_000_000;
/// Date-times at or below this are no calendar date-times: see [`Logical::DateTime`].
///
/// [`Logical::DateTime`]: crate::model::Logical::DateTime
const NO_CALENDAR_MICROS: i64 = i64::MIN + 99_999_999 * DAY_MICROS + DAY_MICROS;
const NO_CALENDAR_DAYS: i64 = i64::MIN + 99_999_999;
const DAY_MICROS: i64 = 86_400 * MICROS;

impl Number {
    /// `mantissa * 10^exponent`.
    ///
    /// # Errors
    /// If it has more than 38 significant digits, or the exponent overflows.
    pub fn new(mantissa: i128, exponent: i32) -> Result<Self, NumberError> {
        if mantissa == 0 {
            return Ok(Self { mantissa: 0, exponent: 0 });
        }
        if let Ok(small) = i64::try_from(mantissa) {
            return Self::small(small, exponent).ok_or(NumberError::Exponent);
        }
        let (mut mantissa, mut exponent) = (mantissa, exponent);
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.checked_add(1).ok_or(NumberError::Exponent)?;
        }
        if mantissa.unsigned_abs().ilog10() >= DIGITS_MAX {
            return Err(NumberError::TooManyDigits);
        }
        Ok(Self { mantissa, exponent })
    }

    /// As [`Number::new`], in 64 bits, which is several times as fast; none: the exponent overflows.
    fn small(mut mantissa: i64, mut exponent: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self { mantissa: 0, exponent: 0 });
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.checked_add(1)?;
        }
        Some(Self { mantissa: i128::from(mantissa), exponent })
    }

    /// Reads `-12.50`, `1E-7`, `+3`.
    ///
    /// # Errors
    /// If the text is no decimal number, or one that does not fit.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        Self::parse_short(text.as_bytes()).map_or_else(|| Self::parse_any(text), Ok)
    }

    /// The plain form of at most 18 digits, which nearly every number has; none: it has another.
    fn parse_short(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            digits => (false, digits),
        };
        if digits.len() > 18 || digits.is_empty() || digits == b"." {
            return None;
        }
        let mut mantissa: i64 = 0;
        let mut point = None;
        for (at, byte) in digits.iter().enumerate() {
            match byte {
                b'0'..=b'9' => mantissa = mantissa * 10 + i64::from(byte - b'0'),
                b'.' if point.is_none() => point = Some(at),
                _ => return None,
            }
        }
        let fraction = point.map_or(0, |at| digits.len() - at - 1);
        let exponent = -i32::try_from(fraction).ok()?;
        Self::small(if negative { -mantissa } else { mantissa }, exponent)
    }

    fn parse_any(text: &str) -> Result<Self, NumberError> {
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => {
                let exponent = exponent.strip_prefix('+').unwrap_or(exponent);
                if !exponent.bytes().skip_while(|b| *b == b'-').all(|b| b.is_ascii_digit()) {
                    return Err(NumberError::Syntax);
                }
                let wide = exponent.parse::<i64>().map_err(|error| {
                    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                    let overflow = matches!(error.kind(), PosOverflow | NegOverflow);
                    if overflow { NumberError::Exponent } else { NumberError::Syntax }
                })?;
                (digits, wide)
            }
            None => (text, 0),
        };
        let (negative, digits) = match digits.as_bytes().first() {
            Some(b'-') => (true, &digits[1..]),
            Some(b'+') => (false, &digits[1..]),
            _ => (false, digits),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(NumberError::Syntax);
        }
        let mut mantissa: i128 = 0;
        // Zeros are held back until a digit follows, so that trailing ones never overflow.
        let mut zeros: u32 = 0;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(NumberError::Syntax);
            }
            if byte == b'0' {
                zeros += u32::from(mantissa != 0);
                continue;
            }
            mantissa = 10i128
                .checked_pow(zeros + 1)
                .and_then(|scale| mantissa.checked_mul(scale))
                .and_then(|scaled| scaled.checked_add(i128::from(byte - b'0')))
                .ok_or(NumberError::TooManyDigits)?;
            zeros = 0;
        }
        let fraction = i64::try_from(fraction.len()).map_err(|_wide| NumberError::Exponent)?;
        let exponent = exponent
            .checked_sub(fraction)
            .and_then(|exponent| exponent.checked_add(i64::from(zeros)))
            .ok_or(NumberError::Exponent)?;
        if mantissa == 0 {
            return Ok(Self { mantissa: 0, exponent: 0 });
        }
        let exponent = i32::try_from(exponent).map_err(|_wide| NumberError::Exponent)?;
        Self::new(if negative { -mantissa } else { mantissa }, exponent)
    }

    /// The value as an integer, if it is one and fits.
    #[must_use]
    pub fn to_integer(self) -> Option<i128> {
        let exponent = u32::try_from(self.exponent).ok()?;
        if exponent == 0 {
            return Some(self.mantissa);
        }
        10i128.checked_pow(exponent)?.checked_mul(self.mantissa)
    }

    /// The nearest double; ties to even.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        // The standard library's parser rounds correctly; arithmetic on doubles would not.
        format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f64::NAN)
    }

    /// The number without its sign, digits and scale apart: `mantissa * 10^exponent`.
    #[must_use]
    pub const fn parts(self) -> (i128, i32) {
        (self.mantissa, self.exponent)
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::from(i128::from(value))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::from(i128::from(value))
    }
}

impl From<i128> for Number {
    /// # Panics
    /// If the value has more than 38 digits; 64-bit values have at most 20.
    fn from(value: i128) -> Self {
        Self::new(value, 0).expect("at most 38 digits")
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        use std::cmp::Ordering;
        let sign = self.mantissa.signum().cmp(&other.mantissa.signum());
        if sign != Ordering::Equal || self.mantissa == 0 {
            return sign;
        }
        let magnitude = |number: &Self| {
            i64::from(number.mantissa.unsigned_abs().ilog10()) + i64::from(number.exponent)
        };
        let by_magnitude = magnitude(self).cmp(&magnitude(other));
        let by_size = if by_magnitude == Ordering::Equal {
            // Same magnitude, at most 38 digits each: the exponents differ by less than 38, and the
            // one with the larger exponent has room to be scaled up.
            let (a, b) = (self.mantissa.unsigned_abs(), other.mantissa.unsigned_abs());
            let shift = self.exponent.abs_diff(other.exponent);
            if self.exponent >= other.exponent {
                (a * 10u128.pow(shift)).cmp(&b)
            } else {
                a.cmp(&(b * 10u128.pow(shift)))
            }
        } else {
            by_magnitude
        };
        if self.mantissa < 0 { by_size.reverse() } else { by_size }
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.exponent {
            0 => write!(f, "{}", self.mantissa),
            1..=20 if self.to_integer().is_some() => {
                write!(f, "{}", self.to_integer().unwrap_or_default())
            }
            exponent @ -40..=-1 => {
                let sign = if self.mantissa < 0 { "-" } else { "" };
                let digits = self.mantissa.unsigned_abs().to_string();
                let scale = exponent.unsigned_abs() as usize;
                let padded = format!("{digits:0>width$}", width = scale + 1);
                let (whole, fraction) = padded.split_at(padded.len() - scale);
                write!(f, "{sign}{whole}.{fraction}")
            }
            exponent => write!(f, "{}E{exponent}", self.mantissa),
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
