//! Deterministic CBOR, written.
//!
//! Owns the bytes of every kind of canonical value, without building a [`Value`](super::Value) first.
//! Refuses reading. Invariant: one value has one encoding, that of the table in `value`.

use super::Number;
use crate::model::calendar::{self, DAY, MICROS};

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
pub(super) const TAG_JSON_NULL: u64 = 55040;
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

/// The JSON document `null`.
pub fn json_null(out: &mut Vec<u8>) {
    head(out, TAG, TAG_JSON_NULL);
    null(out);
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
    if !calendar::is_in_calendar(micros) {
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
    if !calendar::is_in_calendar(micros) {
        let packed = i128::from(micros) - i128::from(i64::MIN);
        head(out, TAG, TAG_NO_CALENDAR);
        array(out, 2);
        integer(out, packed / i128::from(DAY));
        integer(out, packed % i128::from(DAY));
        return;
    }
    head(out, TAG, TAG_DATETIME);
    integer(out, i128::from(micros));
}

/// A date.
#[inline]
pub fn date(out: &mut Vec<u8>, days: i64) {
    if !calendar::is_day(days) {
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
