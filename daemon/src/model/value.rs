//! Canonical values and their one encoding.
//!
//! Owns [`Value`], [`Number`] and the deterministic CBOR (RFC 8949, section 4.2) of both. Refuses
//! configured equivalences (that is `compare`) and any store's own types. Invariant: the encoding is
//! injective: two values have the same bytes exactly when they are the same value; a number has one
//! encoding however it was written.
//!
//! Absent, null and the JSON document `null` are three. Null is what a store says of a cell that holds
//! no value: SQL's NULL, and DynamoDB's, which is how a NULL is copied there. The document is a value
//! that a column of JSON holds. Within a list or a map there is but one null.
//!
//! | value | CBOR |
//! | --- | --- |
//! | null, boolean | `f6`, `f4`, `f5` |
//! | the JSON document `null` | tag 55040 on `f6` |
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
mod number;

use std::collections::BTreeMap;

pub use number::{Number, NumberError, single};

use crate::model::calendar::{DAY, MICROS};

/// A canonical value. Absent is not one of them: an absent field is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// The JSON document `null`, where a column holds it as its value.
    JsonNull,
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

impl CborError {
    /// Whether they are of more values than any cell may hold.
    #[must_use]
    pub fn is_too_many(&self) -> bool {
        self.what == TOO_MANY
    }
}

/// A text is not the JSON form of a canonical value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("not JSON at line {line}, column {column}")]
    Syntax {
        /// Where, from 1.
        line: usize,
        /// Where, from 1.
        column: usize,
    },
    /// It holds more values than any cell may.
    #[error("{TOO_MANY}")]
    TooMany,
    /// It holds a number that no canonical value can.
    #[error(transparent)]
    Number(#[from] NumberError),
}

/// Nesting beyond this is refused; stores allow far less.
const DEPTH_MAX: u32 = 64;
/// Values of one cell, nested ones and keys of maps counted: one takes a byte to write and a hundred to
/// hold. The largest item of DynamoDB has fewer.
pub const CELL_VALUES_MAX: usize = 1 << 18;
const TOO_MANY: &str = "more than 262144 values in one cell";

impl Value {
    /// Appends the deterministic CBOR of the value.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => cbor::null(out),
            Self::JsonNull => cbor::json_null(out),
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
        let mut reader = Reader { bytes, at: 0, left: CELL_VALUES_MAX };
        let value = reader.value(0)?;
        if reader.at == bytes.len() { Ok(value) } else { Err(reader.wrong("trailing bytes")) }
    }

    /// Reads a JSON text, of which `null` is [`Value::JsonNull`].
    ///
    /// # Errors
    /// If it is no JSON, or more of it than a cell may hold, or holds a number that a canonical value
    /// cannot.
    pub fn parse_json(text: &[u8]) -> Result<Self, JsonError> {
        if json_values(text) > CELL_VALUES_MAX {
            return Err(JsonError::TooMany);
        }
        let json = serde_json::from_slice(text)
            .map_err(|wrong| JsonError::Syntax { line: wrong.line(), column: wrong.column() })?;
        if json == serde_json::Value::Null {
            Ok(Self::JsonNull)
        } else {
            Ok(Self::from_json(&json)?)
        }
    }

    /// The value of what was read as JSON: objects become maps, arrays lists, numbers exact numbers,
    /// null is null.
    ///
    /// # Errors
    /// If it holds a number that a canonical value cannot.
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

/// How many values a JSON text has, keys counted; what is empty counts twice.
fn json_values(text: &[u8]) -> usize {
    let (mut values, mut quoted, mut escaped) = (1, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = quoted,
            b'"' => quoted = !quoted,
            b'[' | b'{' | b',' | b':' if !quoted => values += 1,
            _ => {}
        }
    }
    values
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Values that may yet come.
    left: usize,
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

    /// Counts a value or key.
    fn count(&mut self) -> Result<(), CborError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| self.wrong(TOO_MANY))?;
        Ok(())
    }

    fn value(&mut self, depth: u32) -> Result<Value, CborError> {
        self.count()?;
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
                    self.count()?;
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
            cbor::TAG_JSON_NULL => match self.fixed()? {
                [cbor::NULL] => Value::JsonNull,
                [_] => return Err(self.wrong("a JSON null that is none")),
            },
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

    /// An integer, big or not. Not by way of [`value`](Self::value): tags that stand in each other's
    /// integers would nest without end.
    fn integer(&mut self) -> Result<i128, CborError> {
        self.count()?;
        match self.head()? {
            (0, argument) => Ok(i128::from(argument)),
            (1, argument) => Ok(-1 - i128::from(argument)),
            (cbor::TAG, tag @ (cbor::TAG_BIG | cbor::TAG_BIG_NEGATIVE)) => {
                self.big(tag)?.to_integer().ok_or_else(|| self.wrong("not an integer"))
            }
            _ => Err(self.wrong("not an integer")),
        }
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
        if !(0..=99_999_999).contains(&days) || !(0..DAY).contains(&micros) {
            return Err(self.wrong("out of range"));
        }
        Ok(if len == 2 {
            Value::DateTime(i64::MIN + days * DAY + micros)
        } else {
            Value::Date(i64::MIN + days)
        })
    }
}

#[cfg(test)]
mod tests;
