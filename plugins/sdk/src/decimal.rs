//! Exact decimal numbers.
//!
//! Owns [`Decimal`]: reading, writing, comparing, adding, multiplying. Refuses to make one of a float.
//! Invariant: a number is exactly what was written, or it is none.

use std::cmp::Ordering;
use std::fmt;

/// An exact decimal number: an integer, and the power of ten that it is multiplied with.
///
/// There is no way from or to a float. Numbers compare by value: `1.0` equals `1`.
///
/// ```
/// use driftd_plugin::Decimal;
///
/// let price: Decimal = "12.50".parse()?;
/// assert_eq!(price, Decimal::new(1250, -2));
/// assert_eq!(price, Decimal::new(125, -1));
/// assert!(price > Decimal::from(12));
/// assert_eq!(Decimal::new(-5, -2).to_string(), "-0.05");
/// # Ok::<(), driftd_plugin::NoDecimal>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Decimal {
    mantissa: i128,
    exponent: i32,
}

/// A text is no decimal number, or one of more digits than can be held exactly.
///
/// ```
/// use driftd_plugin::Decimal;
///
/// let error = "1,50".parse::<Decimal>().unwrap_err();
/// assert_eq!(error.to_string(), "no decimal number within 38 digits");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDecimal;

impl fmt::Display for NoDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no decimal number within 38 digits")
    }
}

impl std::error::Error for NoDecimal {}

impl Decimal {
    /// `mantissa` times ten to the power of `exponent`: cents are `Decimal::new(cents, -2)`.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// assert_eq!(Decimal::new(1999, -2).to_string(), "19.99");
    /// ```
    #[must_use]
    pub fn new(mantissa: impl Into<i128>, exponent: i32) -> Self {
        Self { mantissa: mantissa.into(), exponent }
    }

    /// Whether it is less than zero.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// assert!(Decimal::new(-1, -2).is_negative());
    /// assert!(!Decimal::new(0, -2).is_negative());
    /// ```
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.mantissa < 0
    }

    /// The integer that it is, if it is one.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// assert_eq!(Decimal::new(1200, -2).to_integer(), Some(12));
    /// assert_eq!(Decimal::new(125, -1).to_integer(), None);
    /// ```
    #[must_use]
    pub fn to_integer(self) -> Option<i128> {
        match self.normal() {
            Self { mantissa: 0, .. } => Some(0),
            Self { mantissa, exponent: 0.. } => {
                mantissa.checked_mul(10i128.checked_pow(self.normal().exponent.unsigned_abs())?)
            }
            Self { .. } => None,
        }
    }

    /// The sum, unless it has more digits than can be held exactly.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// let sum = Decimal::new(1999, -2).checked_add(Decimal::from(1));
    /// assert_eq!(sum, Some(Decimal::new(2099, -2)));
    /// ```
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let (one, two) = (self.normal(), other.normal());
        let exponent = match (one.mantissa, two.mantissa) {
            (0, _) => two.exponent,
            (_, 0) => one.exponent,
            _ => one.exponent.min(two.exponent),
        };
        let mantissa = one.at(exponent)?.checked_add(two.at(exponent)?)?;
        Some(Self { mantissa, exponent })
    }

    /// The product, unless it has more digits than can be held exactly.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// let product = Decimal::new(1999, -2).checked_mul(Decimal::from(3));
    /// assert_eq!(product, Some(Decimal::new(5997, -2)));
    /// ```
    #[must_use]
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let mantissa = self.mantissa.checked_mul(other.mantissa)?;
        Some(Self { mantissa, exponent: self.exponent.checked_add(other.exponent)? })
    }

    /// The number with the opposite sign.
    ///
    /// ```
    /// # use driftd_plugin::Decimal;
    /// assert_eq!(Decimal::from(2).checked_neg(), Some(Decimal::from(-2)));
    /// ```
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        Some(Self { mantissa: self.mantissa.checked_neg()?, ..self })
    }

    /// Its mantissa when the exponent is `exponent`, which is not above its own (zero has any).
    fn at(self, exponent: i32) -> Option<i128> {
        if self.mantissa == 0 {
            return Some(0);
        }
        let up = u32::try_from(i64::from(self.exponent) - i64::from(exponent)).ok()?;
        self.mantissa.checked_mul(10i128.checked_pow(up)?)
    }

    /// The same number with the shortest mantissa.
    pub(crate) fn normal(self) -> Self {
        let Self { mut mantissa, mut exponent } = self;
        if mantissa == 0 {
            return Self::default();
        }
        while mantissa % 10 == 0 && exponent < i32::MAX {
            mantissa /= 10;
            exponent += 1;
        }
        Self { mantissa, exponent }
    }

    pub(crate) fn parts(self) -> (i128, i32) {
        (self.mantissa, self.exponent)
    }

    /// Whether it has as many digits as any store's number, 38, and no more.
    pub(crate) fn is_short(self) -> bool {
        self.normal().mantissa.unsigned_abs().checked_ilog10().is_none_or(|log| log < 38)
    }

    /// Reads `-12.50` or `1E-7`.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        let (negative, digits, exponent) = split(text)?;
        let mut mantissa: i128 = 0;
        let mut point = None;
        // Zeros at the end that the digits before leave no room for.
        let mut zeros = 0;
        for (at, byte) in digits.iter().enumerate() {
            if *byte == b'.' {
                point = Some(at);
                continue;
            }
            let digit = i128::from(byte & 0xf);
            let next = mantissa.checked_mul(10).and_then(|it| it.checked_add(digit));
            match next {
                Some(next) if zeros == 0 => mantissa = next,
                _ if digit == 0 => zeros += 1,
                _ => return None,
            }
        }
        let scale = point.map_or(0, |point| digits.len() - point - 1);
        let exponent = match exponent {
            None => 0,
            Some(exponent) => std::str::from_utf8(exponent).ok()?.parse::<i32>().ok()?,
        };
        let exponent = exponent.checked_sub(i32::try_from(scale).ok()?)?.checked_add(zeros)?;
        Some(Self { mantissa: if negative { -mantissa } else { mantissa }, exponent })
    }

    /// Whether a text has the form of a decimal, of however many digits.
    pub(crate) fn is_written(text: &[u8]) -> bool {
        split(text).is_some()
    }

    /// Writes it as text.
    #[inline]
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        match i64::try_from(self.mantissa) {
            Ok(mantissa) if (-18..=0).contains(&self.exponent) => {
                write_small(out, mantissa, self.exponent.unsigned_abs() as usize);
            }
            _ => self.write_any(out),
        }
    }

    fn write_any(self, out: &mut Vec<u8>) {
        if self.mantissa < 0 {
            out.push(b'-');
        }
        if !(-40..=0).contains(&self.exponent) && self.mantissa != 0 {
            digits(out, self.mantissa.unsigned_abs(), 1);
            out.push(b'E');
            if self.exponent < 0 {
                out.push(b'-');
            }
            digits(out, u128::from(self.exponent.unsigned_abs()), 1);
            return;
        }
        let scale = self.exponent.unsigned_abs() as usize;
        let scale =
            if self.mantissa == 0 { scale.min(40) * usize::from(self.exponent < 0) } else { scale };
        digits(out, self.mantissa.unsigned_abs(), scale + 1);
        if scale > 0 {
            out.insert(out.len() - scale, b'.');
        }
    }
}

/// Whether it is negative, its digits, and its exponent if it has one.
type Written<'a> = (bool, &'a [u8], Option<&'a [u8]>);

/// The sign, the digits with at most one point among them, and the exponent's own text.
fn split(text: &[u8]) -> Option<Written<'_>> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let e = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (digits, exponent) = match e {
        Some(e) => (&text[..e], Some(&text[e + 1..])),
        None => (text, None),
    };
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    let plain = digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let power = exponent.is_none_or(|power| {
        let power = power.strip_prefix(b"-").or(power.strip_prefix(b"+")).unwrap_or(power);
        !power.is_empty() && power.iter().all(u8::is_ascii_digit)
    });
    (plain && power && points <= 1 && digits.len() > points).then_some((negative, digits, exponent))
}

/// Writes a number of 64 bits with up to 18 digits behind the point.
#[inline]
fn write_small(out: &mut Vec<u8>, mantissa: i64, scale: usize) {
    // A sign, 19 digits, a point.
    let mut buffer = [b'0'; 21];
    let (mut rest, mut at) = (mantissa.unsigned_abs(), buffer.len());
    let mut digit = |buffer: &mut [u8; 21], at: &mut usize| {
        *at -= 1;
        buffer[*at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        rest > 0
    };
    if scale > 0 {
        for _ in 0..scale {
            digit(&mut buffer, &mut at);
        }
        at -= 1;
        buffer[at] = b'.';
    }
    while digit(&mut buffer, &mut at) {}
    if mantissa < 0 {
        at -= 1;
        buffer[at] = b'-';
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Writes a number in at least `width` digits.
#[inline]
fn digits(out: &mut Vec<u8>, number: u128, width: usize) {
    let mut buffer = [b'0'; 48];
    let mut at = buffer.len();
    let mut rest = number;
    while rest > u128::from(u64::MAX) {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    // Division of 64 bits is an instruction, of 128 bits a long function.
    let mut rest = rest as u64;
    while rest > 0 {
        at -= 1;
        buffer[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    at = at.min(buffer.len() - width.clamp(1, buffer.len()));
    out.extend_from_slice(&buffer[at..]);
}

impl std::str::FromStr for Decimal {
    type Err = NoDecimal;

    fn from_str(text: &str) -> Result<Self, NoDecimal> {
        Self::read(text.as_bytes()).ok_or(NoDecimal)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(48);
        self.write(&mut text);
        f.pad_integral(true, "", &String::from_utf8_lossy(&text))
    }
}

macro_rules! from_integers {
    ($($integer:ty),*) => {
        $(impl From<$integer> for Decimal {
            fn from(integer: $integer) -> Self {
                Self { mantissa: i128::from(integer), exponent: 0 }
            }
        })*
    };
}
from_integers!(i32, i64, u32, u64);

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.normal().parts() == other.normal().parts()
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, two) = (self.normal(), other.normal());
        let signs = one.mantissa.signum().cmp(&two.mantissa.signum());
        if signs != Ordering::Equal || one.mantissa == 0 {
            return signs;
        }
        // Where no common exponent can be held, the one of more digits before the point is larger.
        let exponent = one.exponent.min(two.exponent);
        match (one.at(exponent), two.at(exponent)) {
            (Some(one), Some(two)) => one.cmp(&two),
            _ => {
                let size = one.magnitude().cmp(&two.magnitude());
                if one.mantissa < 0 { size.reverse() } else { size }
            }
        }
    }
}

impl Decimal {
    /// The power of ten of its first digit.
    fn magnitude(self) -> i64 {
        i64::from(self.exponent)
            + self.mantissa.unsigned_abs().checked_ilog10().map_or(0, i64::from)
    }
}

impl std::hash::Hash for Decimal {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.normal().parts().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_exactly() {
        for (text, written) in [
            ("12.50", "12.50"),
            ("-0.00", "0.00"),
            ("-0.05", "-0.05"),
            (".5", "0.5"),
            ("5.", "5"),
            ("+7", "7"),
            ("1E-7", "0.0000001"),
            ("12e3", "12E3"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("-9.223372036854775808", "-9.223372036854775808"),
            ("-0.000000000000000001", "-0.000000000000000001"),
            ("1e-50", "1E-50"),
            ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ] {
            assert_eq!(text.parse::<Decimal>().unwrap().to_string(), written, "{text}");
        }
        for text in ["", "-", ".", "1,5", "1.2.3", "e5", "1e", "1e-", " 1", "0x1", "NaN"] {
            assert_eq!(text.parse::<Decimal>(), Err(NoDecimal), "{text}");
            assert!(!Decimal::is_written(text.as_bytes()), "{text}");
        }
        assert!(Decimal::is_written("9".repeat(50).as_bytes()));
        assert_eq!("9".repeat(50).parse::<Decimal>(), Err(NoDecimal));
    }

    #[test]
    fn numbers_compare_by_value() {
        let ascending = ["-1e300", "-12.5", "-12.49", "0", "1e-300", "0.1", "1.0", "1e1", "1e300"];
        let numbers = ascending.map(|text| text.parse::<Decimal>().unwrap());
        for (at, one) in numbers.iter().enumerate() {
            for (other_at, other) in numbers.iter().enumerate() {
                assert_eq!(one.cmp(other), at.cmp(&other_at), "{one} and {other}");
            }
        }
        assert_eq!(Decimal::new(10, -1), Decimal::from(1));
    }

    #[test]
    fn sums_are_exact_or_none() {
        let cent = Decimal::new(1, -2);
        let sum = (0..1000).try_fold(Decimal::default(), |sum, _| sum.checked_add(cent));
        assert_eq!(sum, Some(Decimal::from(10)));
        assert_eq!(Decimal::new(1, 300).checked_add(cent), None);
        assert_eq!(Decimal::new(0, 300).checked_add(cent), Some(cent));
    }
}
