//! Exact decimal numbers.
//!
//! Owns [`Number`]: reading, comparing and writing it. Refuses floats and rounding. Invariant: equal
//! numbers are equal structures, however they were written.

/// The most significant digits a number may have; DynamoDB has the same limit.
const DIGITS_MAX: u32 = 38;

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
    pub(super) fn parse_short(text: &[u8]) -> Option<Self> {
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

    pub(super) fn parse_any(text: &str) -> Result<Self, NumberError> {
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

    /// The nearest 32-bit float; ties to even. Of what is beyond all of them, the nearest double.
    #[must_use]
    pub fn to_single(self) -> f64 {
        let single = format!("{}e{}", self.mantissa, self.exponent).parse().unwrap_or(f32::NAN);
        if single.is_finite() { f64::from(single) } else { self.to_f64() }
    }

    /// The number without its sign, digits and scale apart: `mantissa * 10^exponent`.
    #[must_use]
    pub const fn parts(self) -> (i128, i32) {
        (self.mantissa, self.exponent)
    }
}

/// The 32-bit float that is nearest to a double; ties to even. What is beyond all of them is left as it
/// is, so that it equals none.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "the nearest one is what is asked for")]
pub fn single(value: f64) -> f64 {
    let single = value as f32;
    if single.is_finite() || !value.is_finite() { f64::from(single) } else { value }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_rounded_to_single_floats_once() {
        let single = |text: &str| Number::parse(text).unwrap().to_single();
        assert_eq!(single("30.4"), f64::from(30.4_f32));
        assert_eq!(single("0.1"), f64::from(0.1_f32));
        // By way of the nearest double it would be a tie, and go down.
        assert_eq!(single("1.000000059604644775390626"), f64::from(1.000_000_1_f32));
        assert_eq!(single("1E39"), 1e39);
        assert_eq!(single("-1E-60"), 0.0);
        assert_eq!(super::single(1e39), 1e39);
        assert_eq!(super::single(f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(super::single(f64::NAN).is_nan());
    }

    proptest! {
        #[test]
        fn what_a_single_float_holds_is_left(value in any::<f32>()) {
            if !value.is_nan() {
                prop_assert_eq!(super::single(f64::from(value)), f64::from(value));
            }
            if value.is_finite() {
                let text = format!("{value}");
                prop_assert_eq!(Number::parse(&text).map(Number::to_single), Ok(f64::from(value)));
            }
        }

        #[test]
        fn the_short_form_reads_as_any_form(
            text in prop::collection::vec(prop::sample::select(b"00123456789.-+e".to_vec()), 0..24),
        ) {
            if let Some(short) = Number::parse_short(&text) {
                let text = String::from_utf8(text).unwrap();
                prop_assert_eq!(Ok(short), Number::parse_any(&text));
            }
        }

        #[test]
        fn plain_numbers_read_as_any_form(
            mantissa in -999_999_999_999_999_999i64..=999_999_999_999_999_999,
            scale in 0usize..=18,
        ) {
            let (sign, digits) = (if mantissa < 0 { "-" } else { "" }, mantissa.unsigned_abs());
            let digits = format!("{digits:018}");
            let text = format!("{sign}{}.{}", &digits[..18 - scale], &digits[18 - scale..]);
            prop_assert_eq!(Number::parse(&text), Number::parse_any(&text));
        }
    }
}
