//! How the words of the model look outside the process.
//!
//! Owns [`Identity`], the HMAC of keys, and the exported forms of keys, moments and partitions.
//! Refuses to decide where they go. Invariant: what is built here from a key is its HMAC, unless keys
//! are exported as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value as Json;

use crate::model::{Extent, Key, Moment, Partition, Value};
use crate::report::{KeyExport, Settings};

/// Who speaks, and what of keys and values may leave the process.
#[derive(Clone)]
pub struct Identity {
    /// The journal's random identity; also `service.instance.id`, and the first part of event ids.
    pub journal: String,
    /// `source` of drift events.
    pub service: String,
    /// How keys leave the process.
    pub keys: KeyExport,
    /// Fields, and invariants, whose values or words may leave it: `pairing.field`.
    pub fields: BTreeSet<String>,
    secret: [u8; 32],
}

impl Identity {
    /// As `settings` say, for the journal of this identity. `secret` is the journal's random key for
    /// HMACs of keys; it is not the key of its digests.
    #[must_use]
    pub fn new(settings: &Settings, journal: String, secret: [u8; 32]) -> Self {
        Self {
            journal,
            service: settings.service.clone(),
            keys: settings.keys,
            fields: settings.fields.iter().cloned().collect(),
            secret,
        }
    }

    /// The HMAC of a key, as it leaves the process.
    #[must_use]
    pub fn key_hmac(&self, pairing: &str, key: &Key) -> String {
        key_hmac(&self.secret, pairing, key)
    }

    /// The key for people, if keys may leave the process as they are.
    #[must_use]
    pub fn key_plain(&self, key: &Key) -> Option<Json> {
        match self.keys {
            KeyExport::Hmac => None,
            KeyExport::Plain => Some(key_json(key)),
        }
    }

    /// Whether the values of this field, or the words about this invariant, may leave the process.
    #[must_use]
    pub fn allows(&self, pairing: &str, field: &str) -> bool {
        self.fields.contains(&format!("{pairing}.{field}"))
    }

    /// The rows of a partition, if they may be told: the bounds of a range are keys.
    #[must_use]
    pub fn extent(&self, partition: &Partition) -> Option<String> {
        match (partition.extent, self.keys) {
            (Extent::Range(_), KeyExport::Hmac) => None,
            (Extent::Range(_), KeyExport::Plain) | (Extent::Segment { .. }, _) => {
                Some(partition.extent.to_string())
            }
        }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("journal", &self.journal)
            .field("service", &self.service)
            .field("keys", &self.keys)
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

/// The HMAC of a key: keyed BLAKE3 of the pairing's name and the key, its first 16 bytes in hex. The
/// same key in two pairings gives two of them.
#[must_use]
pub fn key_hmac(secret: &[u8; 32], pairing: &str, key: &Key) -> String {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    // The length keeps the border between both: no name and key are those of another pair.
    hasher.update(&(pairing.len() as u64).to_be_bytes());
    hasher.update(pairing.as_bytes());
    hasher.update(&key.0);
    hex(&hasher.finalize().as_bytes()[..16])
}

/// A key as the JSON array of its fields; of a row that the mapping rejects, its store key's.
#[must_use]
pub fn key_json(key: &Key) -> Json {
    // What is no canonical value is shown, not hidden: a person looks for this key.
    Value::decode(key.array())
        .map_or_else(|_undecodable| Json::String(hex(&key.0)), |value| json(&value))
}

/// A canonical value as JSON, for people: bytes in hex, times in ISO 8601, sets as arrays.
fn json(value: &Value) -> Json {
    match value {
        Value::Null | Value::JsonNull => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => {
            let text = number.to_string();
            serde_json::from_str(&text).unwrap_or(Json::String(text))
        }
        Value::Float(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| value.to_string().into(), Json::Number),
        Value::Text(text) => Json::String(text.clone()),
        Value::Bytes(bytes) => Json::String(hex(bytes)),
        Value::Timestamp(micros) => Json::String(rfc3339(Moment(*micros))),
        Value::DateTime(micros) => Json::String(datetime(*micros)),
        Value::Date(days) => Json::String(date(*days)),
        Value::Time(micros) => Json::String(time(*micros)),
        Value::List(items) | Value::Set(items) => Json::Array(items.iter().map(json).collect()),
        // Sorted whatever map `serde_json` was built with.
        Value::Map(pairs) => {
            let sorted: BTreeMap<_, _> =
                pairs.iter().map(|(key, value)| (key.clone(), json(value))).collect();
            Json::Object(sorted.into_iter().collect())
        }
    }
}

/// A moment in RFC 3339, in UTC, with microseconds; the nearest that has four digits of year.
#[must_use]
pub fn rfc3339(moment: Moment) -> String {
    let clamped = moment.0.clamp(YEAR_0, YEAR_9999);
    jiff::Timestamp::from_microsecond(clamped)
        .map_or_else(|_outside| String::new(), |at| format!("{at:.6}"))
}

/// 0000-01-01T00:00:00Z.
const YEAR_0: i64 = -62_167_219_200_000_000;
/// 9999-12-30T00:00:00Z; the last day is left to those who add an offset.
const YEAR_9999: i64 = 253_402_128_000_000_000;

fn datetime(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map_or_else(
        |_outside| no_calendar(micros, DAY_MICROS),
        |at| format!("{:.6}", jiff::tz::TimeZone::UTC.to_datetime(at)),
    )
}

fn date(days: i64) -> String {
    let epoch = jiff::civil::Date::constant(1970, 1, 1);
    i32::try_from(days)
        .ok()
        .and_then(|days| epoch.checked_add(jiff::Span::new().try_days(days).ok()?).ok())
        .map_or_else(|| no_calendar(days, 1), |date| date.to_string())
}

const DAY_MICROS: i64 = 86_400_000_000;

/// What a store holds although no calendar has it, such as `0000-00-00`.
fn no_calendar(packed: i64, unit: i64) -> String {
    let packed = i128::from(packed) - i128::from(i64::MIN);
    let (digits, rest) = (packed / i128::from(unit), packed % i128::from(unit));
    let day = format!("{:04}-{:02}-{:02}", digits / 10_000, digits / 100 % 100, digits % 100);
    match i64::try_from(rest) {
        Ok(rest) if unit > 1 => format!("{day}T{}", time(rest)),
        _ => day,
    }
}

fn time(micros: i64) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    let seconds = micros / 1_000_000;
    format!(
        "{sign}{:02}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    )
}

/// A partition by direction and number: what tells it apart without any key.
#[must_use]
pub fn partition_name(partition: &Partition) -> String {
    format!("{} {}", partition.direction, partition.number)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a string cannot fail");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Number, Side, StoreKey};

    fn key(fields: Vec<Value>) -> Key {
        Key(Value::List(fields).to_cbor().into())
    }

    #[test]
    fn hmacs_tell_keys_pairings_and_secrets_apart() {
        let one = key(vec![Value::Text("a".into())]);
        let other = key(vec![Value::Text("b".into())]);
        let hmac = key_hmac(&[7; 32], "users", &one);
        assert_eq!(hmac.len(), 32);
        assert_eq!(hmac, key_hmac(&[7; 32], "users", &one));
        assert_ne!(hmac, key_hmac(&[7; 32], "users", &other));
        assert_ne!(hmac, key_hmac(&[7; 32], "orders", &one));
        assert_ne!(hmac, key_hmac(&[8; 32], "users", &one));
        // The border between name and key counts.
        assert_ne!(
            key_hmac(&[7; 32], "a", &Key(Box::from(*b"bc"))),
            key_hmac(&[7; 32], "ab", &Key(Box::from(*b"c")))
        );
    }

    #[test]
    fn keys_are_shown_to_people_as_json_arrays() {
        for (field, expected) in [
            (Value::Number(Number::from(18_446_744_073_709_551_615_u64)), "18446744073709551615"),
            (Value::Number(Number::parse("-12.50").unwrap()), "-12.5"),
            (Value::Number(Number::parse("1E47").unwrap()), "1e+47"),
            (Value::Text("ü\"".into()), r#""ü\"""#),
            (Value::Bytes(vec![0, 255]), r#""00ff""#),
            (Value::Timestamp(1_500_000), r#""1970-01-01T00:00:01.500000Z""#),
            (Value::DateTime(1_500_000), r#""1970-01-01T00:00:01.500000""#),
            (Value::DateTime(i64::MIN), r#""0000-00-00T00:00:00.000000""#),
            (Value::Date(-1), r#""1969-12-31""#),
            (Value::Date(i64::MIN + 20_200_230), r#""2020-02-30""#),
            (Value::Time(-3_723_000_001), r#""-01:02:03.000001""#),
            (Value::Null, "null"),
            (Value::Bool(true), "true"),
        ] {
            let shown = key_json(&key(vec![field.clone()])).to_string();
            assert_eq!(shown.to_lowercase(), format!("[{expected}]").to_lowercase(), "{field:?}");
        }
        assert_eq!(key_json(&Key(Box::from([0xff_u8]))), Json::String("ff".into()));
        let row = StoreKey(key(vec![Value::Text("USER#1".into())]).0);
        assert_eq!(key_json(&Key::of_row(Side::Target, &row)).to_string(), r#"["USER#1"]"#);
        assert_eq!(key_json(&Key::of_type(1, &row.0)).to_string(), r#"["USER#1"]"#);
    }

    #[test]
    fn every_moment_has_a_time() {
        assert_eq!(rfc3339(Moment(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(rfc3339(Moment(i64::MAX)), "9999-12-30T00:00:00.000000Z");
        assert_eq!(rfc3339(Moment(i64::MIN)), "0000-01-01T00:00:00.000000Z");
    }
}
