//! The textual forms of values: the one codec of what stores, key templates and people write.
//!
//! Owns reading and writing of each form. Refuses everything that would lose something: fractions below
//! a microsecond, leap seconds, zones other than offsets. Invariant: what is written is read back as
//! the same value, whoever wrote and whoever reads.
//!
//! | value | written | read as well |
//! | --- | --- | --- |
//! | date | `2024-01-02`, `0000-00-00` | |
//! | time, interval | `03:04:05`, `-838:59:59.5` | zeros at the end of a fraction |
//! | local date-time | `2024-01-02T03:04:05.5` | a blank for the `T` |
//! | instant | `2024-01-02T03:04:05.5Z`, `0000-00-00T00:00:00Z` | a blank for the `T`; an offset (`+02:00`) for the `Z` |
//! | number | `-12.5`, `1E47` | zeros at the end of a fraction, an exponent, of either case |
//! | boolean | `true`, `false` | |
//! | bytes | lower-case hexadecimal digits; base64 (RFC 4648, section 4, with padding) | upper-case hexadecimal digits |

use crate::model::calendar::{self, DAY, MICROS};
use crate::model::{Number, Value};

/// A date and time as text says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// As [`Logical::DateTime`](crate::model::Logical) counts it, before any offset.
    pub local: i64,
    /// The offset from UTC in microseconds, if the text names one.
    pub offset: Option<i64>,
}

impl Stamp {
    /// The instant, if the text names an offset. What is no calendar date-time is a value of its own,
    /// from which no offset but zero can be taken.
    #[must_use]
    pub fn instant(self) -> Option<i64> {
        let offset = self.offset?;
        if calendar::is_in_calendar(self.local) {
            let instant = self.local.checked_sub(offset)?;
            calendar::is_in_calendar(instant).then_some(instant)
        } else {
            (offset == 0).then_some(self.local)
        }
    }

    /// Whether it is `0000-00-00 00:00:00`, which is the same in every time zone.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.local == i64::MIN
    }
}

/// Reads `2024-01-02`, also what is no calendar date (`0000-00-00`), as days.
#[must_use]
pub fn read_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
    let (year, month) = (u16::try_from(year).ok()?, u8::try_from(month).ok()?);
    calendar::date(year, month, u8::try_from(day).ok()?)
}

/// Reads `03:04:05`, with up to six digits of a second and, for spans of time, a sign and more
/// hours than a day has, as microseconds.
#[must_use]
pub fn read_time(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (hours, rest) = text.split_once(':')?;
    if hours.len() < 2 || rest.len() < 5 || rest.as_bytes()[2] != b':' {
        return None;
    }
    let rest = rest.as_bytes();
    let (minutes, seconds) = (digits(&rest[..2])?, digits(&rest[3..5])?);
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let fraction = match &rest[5..] {
        [] => 0,
        [b'.', fraction @ ..] if !fraction.is_empty() => {
            let (kept, lost) = fraction.split_at(fraction.len().min(6));
            if lost.iter().any(|byte| *byte != b'0') {
                return None;
            }
            digits(kept)? * 10i64.pow(6 - u32::try_from(kept.len()).ok()?)
        }
        _ => return None,
    };
    let hours = digits(hours.as_bytes())?;
    let seconds = (i128::from(hours) * 60 + i128::from(minutes)) * 60 + i128::from(seconds);
    // The smallest of all has no positive counterpart.
    i64::try_from(sign * (seconds * i128::from(MICROS) + i128::from(fraction))).ok()
}

/// Reads `2024-01-02 03:04:05.123456` or `2024-01-02T03:04:05Z` or `…+02:00`.
#[must_use]
pub fn read_stamp(text: &str) -> Option<Stamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        None => (rest, None),
        Some(at) => (&rest[..at], Some(read_offset(&rest[at..])?)),
    };
    let (days, micros) = (read_date(date)?, read_time(time)?);
    let in_a_day = (0..DAY).contains(&micros) && time.find(':') == Some(2);
    in_a_day.then(|| Stamp { local: calendar::with_time(days, micros), offset })
}

fn read_offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, bytes) = (if text.starts_with('-') { -1 } else { 1 }, text.get(1..)?.as_bytes());
    if bytes.len() != 5 || bytes[2] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&bytes[..2])?, digits(&bytes[3..])?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60 * MICROS)
}

/// Writes a date. False, and nothing written, if it is beyond the years 1 to 9999.
pub fn write_date(out: &mut Vec<u8>, days: i64) -> bool {
    let Some((year, month, day)) = calendar::date_of(days) else { return false };
    put(out, &format!("{year:04}-{month:02}-{day:02}"))
}

/// Writes a time, with the digits of a second that it needs.
pub fn write_time(out: &mut Vec<u8>, micros: i64) -> bool {
    let (seconds, fraction) =
        (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let sign = if micros < 0 { "-" } else { "" };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let whole = format!("{sign}{hours:02}:{minutes:02}:{seconds:02}");
    if fraction == 0 {
        return put(out, &whole);
    }
    put(out, format!("{whole}.{fraction:06}").trim_end_matches('0'))
}

/// Writes `2024-01-02T03:04:05.5`. False, and nothing written, if it is beyond the years 1 to 9999.
pub fn write_datetime(out: &mut Vec<u8>, local: i64) -> bool {
    let Some(((year, month, day), micros)) = calendar::datetime_of(local) else { return false };
    put(out, &format!("{year:04}-{month:02}-{day:02}T")) && write_time(out, micros)
}

/// Writes `2024-01-02T03:04:05.5Z`. False, and nothing written, if it is beyond the years 1 to 9999.
pub fn write_timestamp(out: &mut Vec<u8>, micros: i64) -> bool {
    let written = write_datetime(out, micros);
    if written {
        out.push(b'Z');
    }
    written
}

/// Appends a text, and says that it did.
fn put(out: &mut Vec<u8>, text: &str) -> bool {
    out.extend_from_slice(text.as_bytes());
    true
}

/// Reads a number in a form in which stores write numbers. Texts of other things that have digits are
/// none: `007`, `+49`. None, too, if it has more than 38 significant digits.
#[must_use]
pub fn read_number(text: &str) -> Option<Number> {
    let plain = match text.strip_prefix('-').unwrap_or(text).as_bytes() {
        [b'0', b'0'..=b'9', ..] => false,
        [b'0'..=b'9', ..] => true,
        _ => false,
    };
    if plain { Number::parse(text).ok() } else { None }
}

/// Reads `true` and `false`.
#[must_use]
pub fn read_bool(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Reads hexadecimal digits of either case, two for each byte.
#[must_use]
pub fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? << 4 | digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn write_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Reads base64 of the standard alphabet, with padding; bits that stand for nothing must be zero.
#[must_use]
pub fn read_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for digit in digits.bytes() {
        let value = BASE64.iter().position(|known| *known == digit)?;
        bits = bits << 6 | u32::try_from(value).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    // Else the padding is of another length, or the text has two readings.
    (bits == 0 && held == 2 * u32::try_from(padding).ok()?).then_some(bytes)
}

/// Base64 of the standard alphabet, with padding.
#[must_use]
pub fn write_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let mut wide = [0u8; 4];
        wide[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(wide);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = BASE64[(bits >> shift & 0x3f) as usize];
            text.push(if at > group.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

/// The text of a point or span of time, as stores write it; of one that has none, its count. None: the
/// value is of another type.
#[must_use]
pub fn of_time(value: &Value) -> Option<String> {
    let mut text = Vec::new();
    let (written, count) = match *value {
        Value::Timestamp(micros) => (write_timestamp(&mut text, micros), micros),
        Value::DateTime(micros) => (write_datetime(&mut text, micros), micros),
        Value::Date(days) => (write_date(&mut text, days), days),
        Value::Time(micros) => (write_time(&mut text, micros), micros),
        Value::Null
        | Value::JsonNull
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Set(_) => return None,
    };
    // Only ASCII was written.
    let text = String::from_utf8(text).ok().filter(|_| written);
    Some(text.unwrap_or_else(|| format!("@{count}")))
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |number, byte| {
        let digit = byte.is_ascii_digit().then_some(i64::from(byte & 0xf))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<String> {
        let mut out = Vec::new();
        write(&mut out).then(|| String::from_utf8(out).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000, time in any::<i64>(), zero in 0i64..32) {
            let text = written(|out| write_timestamp(out, micros)).unwrap();
            prop_assert_eq!(read_stamp(&text).and_then(Stamp::instant), Some(micros), "{}", text);
            let text = written(|out| write_datetime(out, micros)).unwrap();
            prop_assert_eq!(read_stamp(&text), Some(Stamp { local: micros, offset: None }), "{}", text);
            let days = micros.div_euclid(DAY);
            prop_assert_eq!(read_date(&written(|out| write_date(out, days)).unwrap()), Some(days));
            for time in [time, micros % (838 * 3600 * MICROS)] {
                prop_assert_eq!(read_time(&written(|out| write_time(out, time)).unwrap()), Some(time));
            }
            let odd = i64::MIN + 20_240_000 + zero;
            prop_assert_eq!(read_date(&written(|out| write_date(out, odd)).unwrap()), Some(odd));
            let odd = i64::MIN + (20_240_000 + zero) * DAY + 1;
            let text = written(|out| write_datetime(out, odd)).unwrap();
            prop_assert_eq!(read_stamp(&text), Some(Stamp { local: odd, offset: None }), "{}", text);
            let text = written(|out| write_timestamp(out, odd)).unwrap();
            prop_assert_eq!(read_stamp(&text).and_then(Stamp::instant), Some(odd), "{}", text);
        }

        #[test]
        fn bytes_are_read_back(bytes in any::<Vec<u8>>(), number in (any::<i64>(), -60i32..60)) {
            prop_assert_eq!(read_hex(&write_hex(&bytes)), Some(bytes.clone()));
            prop_assert_eq!(read_base64(&write_base64(&bytes)), Some(bytes));
            let number = Number::new(number.0.into(), number.1).unwrap();
            prop_assert_eq!(read_number(&number.to_string()), Some(number));
        }

        #[test]
        fn hostile_text_never_panics(text in ".{0,40}", like in "[0-9TZ:. +-]{0,32}") {
            for text in [text, like] {
                let _ = (read_date(&text), read_time(&text), read_stamp(&text), read_number(&text));
                drop((read_hex(&text), read_base64(&text)));
            }
        }

        #[test]
        fn any_number_is_written_or_refused(value in any::<i64>()) {
            let mut out = Vec::new();
            let stamp = write_timestamp(&mut out, value);
            prop_assert!(stamp != out.is_empty());
            let date = write_date(&mut out, value) && stamp;
            prop_assert!(write_time(&mut out, value) || !date);
        }
    }

    #[test]
    fn stamps_are_read_exactly_or_refused() {
        let instant = |text| read_stamp(text).and_then(Stamp::instant);
        for text in [
            "2024-01-02T03:04:05Z",
            "2024-01-02t03:04:05.000z",
            "2024-01-02 03:04:05+00:00",
            "2024-01-02T05:04:05.000000000+02:00",
            "2024-01-01T21:34:05-05:30",
        ] {
            assert_eq!(instant(text), Some(1_704_164_645_000_000), "{text}");
        }
        for text in [
            "",
            "2024-01-02",
            "2024-01-02T",
            "2024-01-02T03:04Z",
            "2024-01-02T03:04:60Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T03:04:05.1234567Z",
            "2024-01-02T03:04:05.Z",
            "2024-01-02T03:04:05+2:00",
            "2024-01-02T03:04:05Z[UTC]",
            "0000-00-00T00:00:00+02:00",
            "2024-13-02T03:04:05Z",
            "2024-01-02T003:04:05Z",
            "２024-01-02T03:04:05Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
        for zero in
            ["0000-00-00T00:00:00Z", "0000-00-00 00:00:00Z", "0000-00-00T00:00:00.000+00:00"]
        {
            assert_eq!(instant(zero), Some(i64::MIN), "{zero}");
        }
        assert!(read_stamp("0000-00-00 00:00:00").is_some_and(Stamp::is_zero));
        assert_eq!(read_date("0000-00-00"), Some(i64::MIN));
        assert_eq!(read_date("2024-02-30"), Some(i64::MIN + 20_240_230));
        assert_eq!(read_date("1969-12-31"), Some(-1));
        assert_eq!(read_date("0000-01-01"), Some(i64::MIN + 101));
        assert_eq!(read_time("-838:59:59"), Some(-3_020_399_000_000));
        assert_eq!(read_time("2562047788015:12:55.0"), None);
    }

    #[test]
    fn texts_of_other_things_are_no_numbers() {
        let number = |text| read_number(text).map(|number| number.to_string());
        for (text, read) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("1.50", "1.5"),
            ("1e3", "1000"),
            ("-12.5E-1", "-1.25"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(text).as_deref(), Some(read), "{text}");
        }
        for text in
            ["", "-", "007", "-01", "+49", ".5", " 1", "1 ", "0x1", "NaN", "Infinity", "1,5", "１"]
        {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number(&"9".repeat(39)), None);
        assert_eq!([read_bool("true"), read_bool("false")], [Some(true), Some(false)]);
        assert_eq!([read_bool("TRUE"), read_bool("1")], [None, None]);
    }

    #[test]
    fn bytes_have_one_base64() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff], "+/8="),
        ] {
            assert_eq!(write_base64(bytes), text);
            assert_eq!(read_base64(text).as_deref(), Some(bytes), "{text}");
        }
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "Zm 8", "====", "Zg==Zg==", "-_8=", "Zm9v\n"] {
            assert_eq!(read_base64(text), None, "{text}");
        }
        assert_eq!(read_hex("00fF").as_deref(), Some(&[0, 255][..]));
        assert_eq!([read_hex("0"), read_hex("+1"), read_hex("0g")], [None, None, None]);
    }
}
