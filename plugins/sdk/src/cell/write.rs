//! Writing dynamically typed cells.
//!
//! Owns deterministic CBOR, written. Refuses to sort: driftd does. Invariant: one value has one
//! encoding, but for the order of what has none.

use super::{ARRAY, BYTES, Cell, MAP, NULL, TAG, TEXT};
use crate::decimal::Decimal;
use crate::json;
use crate::row::{Reject, Result};
use crate::time::{Date, DateTime, Time, Timestamp};

/// Writes a dynamically typed cell. The entries of a map and the members of a set may come in any
/// order, as driftd sorts them; each key comes once.
///
/// ```
/// use driftd_plugin::{Cell, CellWriter, Decimal};
///
/// let mut bytes = Vec::new();
/// CellWriter::new(&mut bytes).decimal(Decimal::new(125, -1));
/// assert_eq!(Cell::read(&bytes), Some(Cell::Decimal(Decimal::new(125, -1))));
/// ```
#[derive(Debug)]
pub struct CellWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> CellWriter<'o> {
    /// A writer that appends to `out`.
    ///
    /// ```
    /// # use driftd_plugin::CellWriter;
    /// let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).null();
    /// assert_eq!(bytes, [0xf6]);
    /// ```
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out }
    }

    fn head(&mut self, major: u8, argument: u64) {
        let bytes = argument.to_be_bytes();
        let major = major << 5;
        match argument {
            0..=23 => self.out.push(major | bytes[7]),
            24..=0xff => self.out.extend_from_slice(&[major | 24, bytes[7]]),
            0x100..=0xffff => {
                self.out.push(major | 25);
                self.out.extend_from_slice(&bytes[6..]);
            }
            0x1_0000..=0xffff_ffff => {
                self.out.push(major | 26);
                self.out.extend_from_slice(&bytes[4..]);
            }
            _ => {
                self.out.push(major | 27);
                self.out.extend_from_slice(&bytes);
            }
        }
    }

    fn whole(&mut self, value: i128) {
        let (major, magnitude) = if value < 0 { (1, -1 - value) } else { (0, value) };
        match u64::try_from(magnitude) {
            Ok(magnitude) => self.head(major, magnitude),
            Err(_) => {
                let bytes = magnitude.to_be_bytes();
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                self.head(TAG, 2 + u64::from(major));
                self.bytes(&bytes[zeros..]);
            }
        }
    }

    /// Null.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).null();
    /// ```
    pub fn null(&mut self) {
        self.out.push(NULL);
    }

    /// True or false.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).boolean(true);
    /// ```
    pub fn boolean(&mut self, value: bool) {
        self.out.push(0xf4 + u8::from(value));
    }

    /// A whole number.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).integer(-7);
    /// ```
    pub fn integer(&mut self, value: i64) {
        self.whole(i128::from(value));
    }

    /// A whole number that is never negative.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).unsigned(u64::MAX);
    /// ```
    pub fn unsigned(&mut self, value: u64) {
        self.whole(i128::from(value));
    }

    /// The JSON document `null`, which is no null: a column of JSON may hold it.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, CellWriter};
    /// let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).json_null();
    /// assert_eq!(Cell::read(&bytes), Some(Cell::JsonNull));
    /// ```
    pub fn json_null(&mut self) {
        self.head(TAG, 55040);
        self.null();
    }

    /// A cell, as it was read or made.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, CellWriter};
    /// let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).cell(Cell::Text("a"));
    /// assert_eq!(Cell::read(&bytes), Some(Cell::Text("a")));
    /// ```
    pub fn cell(&mut self, cell: Cell<'_>) {
        match cell {
            Cell::Null => self.null(),
            Cell::JsonNull => self.json_null(),
            Cell::Boolean(value) => self.boolean(value),
            Cell::Integer(value) => self.integer(value),
            Cell::Decimal(value) => self.decimal(value),
            Cell::Float(value) => self.float(value),
            Cell::Text(value) => self.text(value),
            Cell::Bytes(value) => self.bytes(value),
            Cell::Timestamp(value) => self.timestamp(value),
            Cell::DateTime(value) => self.datetime(value),
            Cell::Date(value) => self.date(value),
            Cell::Time(value) => self.time(value),
            Cell::List(items) => {
                self.list(items.len);
                self.out.extend_from_slice(items.bytes);
            }
            Cell::Set(members) => {
                self.set(members.len);
                self.out.extend_from_slice(members.bytes);
            }
            Cell::Map(entries) => {
                self.map(entries.0.len);
                self.out.extend_from_slice(entries.0.bytes);
            }
        }
    }

    /// The cell that a JSON text is: objects become maps, numbers stay exact. Of two entries of one key
    /// the last counts. The text `null` is [`Cell::JsonNull`]; within a list or an object it is null.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, CellWriter, Decimal};
    /// let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).json(r#"{"price": 0.10}"#)?;
    /// let map = Cell::read(&bytes).and_then(|cell| cell.map()).unwrap();
    /// assert_eq!(map.get("price"), Some(Cell::Decimal(Decimal::new(1, -1))));
    /// # Ok::<(), driftd_plugin::Reject>(())
    /// ```
    ///
    /// # Errors
    /// If the text is no JSON, has a number of more than 38 digits, or is nested more than 64 deep; then
    /// nothing is written.
    pub fn json(&mut self, text: &str) -> Result<()> {
        let start = self.out.len();
        json::write(text.as_bytes(), self.out).map_err(|why| {
            self.out.truncate(start);
            Reject::from(format!("a text {why}"))
        })
    }

    /// An exact number.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).decimal("12.5".parse().unwrap());
    /// ```
    pub fn decimal(&mut self, value: Decimal) {
        if let Some(whole) = value.to_integer() {
            return self.whole(whole);
        }
        let (mantissa, exponent) = value.normal().parts();
        self.head(TAG, 4);
        self.head(ARRAY, 2);
        self.whole(i128::from(exponent));
        self.whole(mantissa);
    }

    /// A floating-point number, in the shortest form that holds it.
    ///
    /// ```
    /// # use driftd_plugin::{Cell, CellWriter};
    /// # let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).float(1.5);
    /// assert_eq!((bytes.len(), Cell::read(&bytes)), (3, Some(Cell::Float(1.5))));
    /// ```
    pub fn float(&mut self, value: f64) {
        let value = if value == 0.0 { 0.0 } else { value };
        if value.is_nan() {
            return self.out.extend_from_slice(&[0xf9, 0x7e, 0x00]);
        }
        let single = value as f32;
        if f64::from(single) != value {
            self.out.push(0xfb);
            return self.out.extend_from_slice(&value.to_bits().to_be_bytes());
        }
        match to_half(single) {
            Some(bits) => {
                self.out.push(0xf9);
                self.out.extend_from_slice(&bits.to_be_bytes());
            }
            None => {
                self.out.push(0xfa);
                self.out.extend_from_slice(&single.to_bits().to_be_bytes());
            }
        }
    }

    /// Text.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).text("a");
    /// ```
    pub fn text(&mut self, value: &str) {
        self.head(TEXT, value.len() as u64);
        self.out.extend_from_slice(value.as_bytes());
    }

    /// Bytes.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// driftd_plugin::CellWriter::new(&mut bytes).bytes(&[0, 255]);
    /// ```
    pub fn bytes(&mut self, value: &[u8]) {
        self.head(BYTES, value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// An instant.
    ///
    /// ```
    /// # use driftd_plugin::{CellWriter, Timestamp};
    /// # let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).timestamp(Timestamp::from_micros(1));
    /// ```
    pub fn timestamp(&mut self, value: Timestamp) {
        let (seconds, micros) =
            (value.micros().div_euclid(1_000_000), value.micros().rem_euclid(1_000_000));
        self.head(TAG, 1001);
        self.head(MAP, if micros == 0 { 1 } else { 2 });
        self.integer(1);
        self.integer(seconds);
        if micros != 0 {
            self.integer(-6);
            self.integer(micros);
        }
    }

    /// A local date and time.
    ///
    /// ```
    /// # use driftd_plugin::{CellWriter, DateTime};
    /// # let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).datetime(DateTime::from_micros(1));
    /// ```
    pub fn datetime(&mut self, value: DateTime) {
        let packed = i128::from(value.micros()) - i128::from(i64::MIN);
        if packed < 100_000_000 * 86_400_000_000 {
            self.head(TAG, 55043);
            self.head(ARRAY, 2);
            self.whole(packed / 86_400_000_000);
            return self.whole(packed % 86_400_000_000);
        }
        self.head(TAG, 55041);
        self.integer(value.micros());
    }

    /// A day.
    ///
    /// ```
    /// # use driftd_plugin::{CellWriter, Date};
    /// # let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).date(Date::from_days(1));
    /// ```
    pub fn date(&mut self, value: Date) {
        let packed = value.days().wrapping_sub(i64::MIN);
        if (0..100_000_000).contains(&packed) {
            self.head(TAG, 55043);
            self.head(ARRAY, 1);
            return self.integer(packed);
        }
        self.head(TAG, 100);
        self.integer(value.days());
    }

    /// A time of day.
    ///
    /// ```
    /// # use driftd_plugin::{CellWriter, Time};
    /// # let mut bytes = Vec::new();
    /// CellWriter::new(&mut bytes).time(Time::from_micros(1));
    /// ```
    pub fn time(&mut self, value: Time) {
        self.head(TAG, 55042);
        self.integer(value.micros());
    }

    /// A list of `len` items, which follow.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// let mut writer = driftd_plugin::CellWriter::new(&mut bytes);
    /// writer.list(1);
    /// writer.null();
    /// ```
    pub fn list(&mut self, len: usize) {
        self.head(ARRAY, len as u64);
    }

    /// A set of `len` members, which follow, each once.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// let mut writer = driftd_plugin::CellWriter::new(&mut bytes);
    /// writer.set(1);
    /// writer.text("a");
    /// ```
    pub fn set(&mut self, len: usize) {
        self.head(TAG, 258);
        self.head(ARRAY, len as u64);
    }

    /// A map of `len` entries, which follow as key and value.
    ///
    /// ```
    /// # let mut bytes = Vec::new();
    /// let mut writer = driftd_plugin::CellWriter::new(&mut bytes);
    /// writer.map(1);
    /// writer.text("a");
    /// writer.integer(1);
    /// ```
    pub fn map(&mut self, len: usize) {
        self.head(MAP, len as u64);
    }
}

/// The half-precision number that a float is exactly.
fn to_half(value: f32) -> Option<u16> {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    let (exponent, mantissa) = ((bits >> 23 & 0xff) as i32, bits & 0x7f_ffff);
    let half = match exponent {
        0xff => 0x7c00,
        0 if mantissa == 0 => 0,
        113..=142 if mantissa & 0x1fff == 0 => {
            (((exponent - 112) as u32) << 10 | mantissa >> 13) as u16
        }
        103..=112 => {
            let (full, shift) = (mantissa | 0x80_0000, (126 - exponent) as u32);
            (full & ((1 << shift) - 1) == 0).then_some((full >> shift) as u16)?
        }
        _ => return None,
    };
    Some(sign | half)
}
