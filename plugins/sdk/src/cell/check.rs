//! Whether bytes are a dynamically typed cell.
//!
//! Owns what the daemon takes for one: bounds on nesting, on how much there is, and on every number.
//! Refuses to put anything right. Invariant: what passed, the daemon takes, and nothing else.

use std::collections::BTreeSet;

use super::{ARRAY, BYTES, DEPTH_MAX, MAP, NULL, TAG, TEXT, head};
use crate::decimal::Decimal;

/// Values of one cell, nested ones and keys of maps counted.
const VALUES_MAX: usize = 1 << 18;
const DAY_MICROS: i64 = 86_400_000_000;
pub(crate) const TOO_MANY: Why = "more than 262144 values in one cell";

/// Why bytes are none.
type Why = &'static str;
/// What follows what was looked at.
type Rest<'b> = Result<&'b [u8], Why>;

/// Whether bytes are a cell, and why not.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Why> {
    match (Checker { left: VALUES_MAX }).value(bytes, 0)? {
        [] => Ok(()),
        _ => Err("trailing bytes"),
    }
}

struct Checker {
    /// Values that may yet come.
    left: usize,
}

impl Checker {
    fn count(&mut self) -> Result<(), Why> {
        self.left = self.left.checked_sub(1).ok_or(TOO_MANY)?;
        Ok(())
    }

    fn value<'b>(&mut self, bytes: &'b [u8], depth: usize) -> Rest<'b> {
        self.count()?;
        if depth > DEPTH_MAX {
            return Err("nested too deeply");
        }
        if let [NULL | 0xf4 | 0xf5, rest @ ..] = bytes {
            return Ok(rest);
        }
        let (major, argument, rest) = opened(bytes)?;
        match (major, bytes[0]) {
            (0..=1, _) | (7, 0xf9..=0xfb) => Ok(rest),
            (BYTES, _) => taken(rest, argument).map(|(_, rest)| rest),
            (TEXT, _) => text(rest, argument).map(|(_, rest)| rest),
            (ARRAY, _) => self.items(rest, argument, depth),
            (MAP, _) => self.map(rest, argument, depth),
            (TAG, _) => self.tagged(rest, argument, depth),
            _ => Err("an unknown simple value"),
        }
    }

    fn items<'b>(&mut self, mut rest: &'b [u8], len: u64, depth: usize) -> Rest<'b> {
        for _ in 0..len {
            rest = self.value(rest, depth + 1)?;
        }
        Ok(rest)
    }

    fn map<'b>(&mut self, mut rest: &'b [u8], len: u64, depth: usize) -> Rest<'b> {
        let mut keys = BTreeSet::new();
        for _ in 0..len {
            self.count()?;
            let (TEXT, length, after) = opened(rest)? else {
                return Err("a map key that is no text");
            };
            let (key, after) = text(after, length)?;
            rest = self.value(after, depth + 1)?;
            if !keys.insert(key) {
                return Err("a repeated map key");
            }
        }
        Ok(rest)
    }

    fn tagged<'b>(&mut self, bytes: &'b [u8], tag: u64, depth: usize) -> Rest<'b> {
        match tag {
            2 | 3 => big(bytes, tag).map(|(_, rest)| rest),
            4 => {
                let (ARRAY, 2, rest) = opened(bytes)? else { return Err("not an array of two") };
                let (exponent, rest) = self.integer(rest)?;
                let (mantissa, rest) = self.integer(rest)?;
                let exponent = i32::try_from(exponent).map_err(|_| "exponent out of range")?;
                short(Decimal::new(mantissa, exponent)).map(|_| rest)
            }
            55040 => match bytes {
                [] => Err("cut short"),
                [NULL, rest @ ..] => Ok(rest),
                _ => Err("a JSON null that is none"),
            },
            100 | 55041 | 55042 => self.small(bytes).map(|(_, rest)| rest),
            258 => {
                let (ARRAY, len, rest) = opened(bytes)? else {
                    return Err("a set that is no array");
                };
                self.items(rest, len, depth)
            }
            1001 => self.timestamp(bytes),
            55043 => {
                let (ARRAY, len @ 1..=2, rest) = opened(bytes)? else {
                    return Err("not an array of one or two");
                };
                let (day, mut rest) = self.small(rest)?;
                let mut micros = 0;
                if len == 2 {
                    (micros, rest) = self.small(rest)?;
                }
                let is_within =
                    (0..100_000_000).contains(&day) && (0..DAY_MICROS).contains(&micros);
                if is_within { Ok(rest) } else { Err("out of range") }
            }
            _ => Err("an unknown tag"),
        }
    }

    /// A whole number, big or not.
    fn integer<'b>(&mut self, bytes: &'b [u8]) -> Result<(i128, &'b [u8]), Why> {
        self.count()?;
        match opened(bytes)? {
            (0, argument, rest) => Ok((i128::from(argument), rest)),
            (1, argument, rest) => Ok((-1 - i128::from(argument), rest)),
            (TAG, tag @ 2..=3, rest) => big(rest, tag),
            _ => Err("not an integer"),
        }
    }

    fn small<'b>(&mut self, bytes: &'b [u8]) -> Result<(i64, &'b [u8]), Why> {
        let (whole, rest) = self.integer(bytes)?;
        Ok((i64::try_from(whole).map_err(|_| "out of range")?, rest))
    }

    fn timestamp<'b>(&mut self, bytes: &'b [u8]) -> Rest<'b> {
        let (MAP, entries @ 1..=2, mut rest) = opened(bytes)? else { return Err("not a time map") };
        let (mut seconds, mut micros) = (None, 0);
        for _ in 0..entries {
            let (unit, value) = self.small(rest)?;
            let (value, after) = match unit {
                1 | -6 => self.small(value)?,
                _ => return Err("an unknown time unit"),
            };
            rest = after;
            if unit == 1 {
                seconds = Some(value);
            } else {
                micros = value;
            }
        }
        let time = seconds.and_then(|it: i64| it.checked_mul(1_000_000)?.checked_add(micros));
        time.map(|_| rest).ok_or("a time out of range")
    }
}

fn opened(bytes: &[u8]) -> Result<(u8, u64, &[u8]), Why> {
    match bytes.first() {
        Some(first) if first & 0x1f > 27 => Err("indefinite length"),
        _ => head(bytes).ok_or("cut short"),
    }
}

fn taken(bytes: &[u8], len: u64) -> Result<(&[u8], &[u8]), Why> {
    let len = usize::try_from(len).map_err(|_| "cut short")?;
    bytes.split_at_checked(len).ok_or("cut short")
}

fn text(bytes: &[u8], len: u64) -> Result<(&[u8], &[u8]), Why> {
    let (text, rest) = taken(bytes, len)?;
    std::str::from_utf8(text).map_err(|_| "text that is not UTF-8")?;
    Ok((text, rest))
}

fn big(bytes: &[u8], tag: u64) -> Result<(i128, &[u8]), Why> {
    let (BYTES, len, rest) = opened(bytes)? else { return Err("a big number that is no bytes") };
    let (digits, rest) = taken(rest, len)?;
    let mut whole: u128 = 0;
    for byte in digits {
        if whole >> 120 != 0 {
            return Err("a number of too many digits");
        }
        whole = whole << 8 | u128::from(*byte);
    }
    let whole = i128::try_from(whole).map_err(|_| "a number too big")?;
    let whole = if tag == 3 { -1 - whole } else { whole };
    short(Decimal::new(whole, 0)).map(|_| (whole, rest))
}

fn short(number: Decimal) -> Result<(), Why> {
    if number.is_short() { Ok(()) } else { Err("a number of too many digits") }
}
