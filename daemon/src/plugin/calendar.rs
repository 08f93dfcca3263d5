//! Dates and times as text.
//!
//! Owns reading and writing of dates, times, date-times and instants in the ISO 8601 forms that
//! stores hold them in. Refuses time zones other than offsets, and everything that would lose
//! something: fractions below a microsecond, leap seconds. Invariant: what is written is read back
//! as the same value.

use std::io::Write as _;

use jiff::SignedDuration;
use jiff::civil::Date;

const MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = 86_400 * MICROS;
const EPOCH: Date = Date::constant(1970, 1, 1);

/// A date and time as text says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// As [`Logical::DateTime`](crate::model::Logical) counts it, before any offset.
    pub(crate) local: i64,
    /// The offset from UTC in microseconds, if the text names one.
    pub(crate) offset: Option<i64>,
}

impl Stamp {
    /// The instant, if the text names an offset and it is in the calendar.
    pub(crate) fn instant(self) -> Option<i64> {
        if is_no_calendar(self.local) { None } else { self.local.checked_sub(self.offset?) }
    }
}

/// Reads `2024-01-02`, also what is no calendar date (`0000-00-00`), as days.
pub(crate) fn read_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..])?);
    let calendar = || {
        let date = Date::new(
            i16::try_from(year).ok()?,
            i8::try_from(month).ok()?,
            i8::try_from(day).ok()?,
        );
        // SQL has no year zero; stores write one only as part of a zero date.
        date.ok().filter(|_| year > 0).map(|date| date.duration_since(EPOCH).as_secs() / 86_400)
    };
    match calendar() {
        Some(days) => Some(days),
        None if month <= 12 && day <= 31 => Some(i64::MIN + (year * 100 + month) * 100 + day),
        None => None,
    }
}

/// Reads `03:04:05`, with up to six digits of a second and, for spans of time, a sign and more
/// hours than a day has, as microseconds.
pub(crate) fn read_time(text: &str) -> Option<i64> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (hours, rest) = text.split_once(':')?;
    if !(2..=3).contains(&hours.len()) || rest.len() < 5 || rest.as_bytes()[2] != b':' {
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
    let seconds = (digits(hours.as_bytes())? * 60 + minutes) * 60 + seconds;
    Some(sign * (seconds * MICROS + fraction))
}

/// Reads `2024-01-02 03:04:05.123456` or `2024-01-02T03:04:05Z` or `…+02:00`.
pub(crate) fn read_stamp(text: &str) -> Option<Stamp> {
    let (date, rest) = (text.get(..10)?, text.get(10..)?);
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (time, offset) = match rest.find(['Z', 'z', '+', '-']) {
        None => (rest, None),
        Some(at) => (&rest[..at], Some(read_offset(&rest[at..])?)),
    };
    let (days, micros) = (read_date(date)?, read_time(time)?);
    if !(0..DAY_MICROS).contains(&micros) {
        return None;
    }
    let local = if days < i64::MIN / 2 {
        i64::MIN + (days - i64::MIN) * DAY_MICROS + micros
    } else {
        days * DAY_MICROS + micros
    };
    Some(Stamp { local, offset })
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
pub(crate) fn write_date(out: &mut Vec<u8>, days: i64) -> bool {
    if days <= i64::MIN + 99_999_999 {
        let packed = days - i64::MIN;
        let (year, month, day) = (packed / 10_000, packed / 100 % 100, packed % 100);
        return write!(out, "{year:04}-{month:02}-{day:02}").is_ok();
    }
    let date = days.checked_mul(24).and_then(|hours| {
        (hours.unsigned_abs() < 100_000_000)
            .then(|| EPOCH.checked_add(SignedDuration::from_hours(hours)).ok())?
    });
    match date {
        Some(date) if date.year() > 0 => {
            write!(out, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()).is_ok()
        }
        _ => false,
    }
}

/// Writes a time, with the digits of a second that it needs.
pub(crate) fn write_time(out: &mut Vec<u8>, micros: i64) -> bool {
    let (seconds, fraction) =
        (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let sign = if micros < 0 { "-" } else { "" };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let written = write!(out, "{sign}{hours:02}:{minutes:02}:{seconds:02}").is_ok();
    if fraction == 0 {
        return written;
    }
    let written = written && write!(out, ".{fraction:06}").is_ok();
    while out.last() == Some(&b'0') {
        out.pop();
    }
    written
}

/// Writes `2024-01-02T03:04:05.5`. False, and nothing written, if it is beyond the years 1 to 9999.
pub(crate) fn write_datetime(out: &mut Vec<u8>, local: i64) -> bool {
    let (days, micros) = if is_no_calendar(local) {
        let packed = i128::from(local) - i128::from(i64::MIN);
        let day = i128::from(DAY_MICROS);
        let narrow = |value: i128| i64::try_from(value).unwrap_or_default();
        (i64::MIN + narrow(packed / day), narrow(packed % day))
    } else {
        (local.div_euclid(DAY_MICROS), local.rem_euclid(DAY_MICROS))
    };
    if !write_date(out, days) {
        return false;
    }
    out.push(b'T');
    write_time(out, micros)
}

/// Writes `2024-01-02T03:04:05.5Z`. False, and nothing written, if it is beyond the years 1 to 9999.
pub(crate) fn write_timestamp(out: &mut Vec<u8>, micros: i64) -> bool {
    let written = write_datetime(out, micros);
    if written {
        out.push(b'Z');
    }
    written
}

fn is_no_calendar(local: i64) -> bool {
    local < i64::MIN + 100_000_000 * DAY_MICROS
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0i64, |number, byte| {
        byte.is_ascii_digit().then_some(number * 10 + i64::from(byte & 0xf))
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
        fn what_is_written_is_read_back(micros in -62_135_596_800_000_000i64..253_402_300_800_000_000, zero in 0i64..32) {
            let text = written(|out| write_timestamp(out, micros)).unwrap();
            prop_assert_eq!(read_stamp(&text).and_then(Stamp::instant), Some(micros), "{}", text);
            let text = written(|out| write_datetime(out, micros)).unwrap();
            prop_assert_eq!(read_stamp(&text), Some(Stamp { local: micros, offset: None }), "{}", text);
            let days = micros.div_euclid(DAY_MICROS);
            prop_assert_eq!(read_date(&written(|out| write_date(out, days)).unwrap()), Some(days));
            let time = micros % (838 * 3600 * MICROS);
            prop_assert_eq!(read_time(&written(|out| write_time(out, time)).unwrap()), Some(time));
            let odd = i64::MIN + 20_240_000 + zero;
            prop_assert_eq!(read_date(&written(|out| write_date(out, odd)).unwrap()), Some(odd));
            let odd = i64::MIN + (20_240_000 + zero) * DAY_MICROS + 1;
            let text = written(|out| write_datetime(out, odd)).unwrap();
            prop_assert_eq!(read_stamp(&text), Some(Stamp { local: odd, offset: None }), "{}", text);
        }

        #[test]
        fn hostile_text_never_panics(text in ".{0,40}", like in "[0-9TZ:. +-]{0,32}") {
            for text in [text, like] {
                let _ = (read_date(&text), read_time(&text), read_stamp(&text));
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
            "0000-00-00T00:00:00Z",
            "2024-13-02T03:04:05Z",
            "２024-01-02T03:04:05Z",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
        assert_eq!(read_date("0000-00-00"), Some(i64::MIN));
        assert_eq!(read_date("2024-02-30"), Some(i64::MIN + 20_240_230));
        assert_eq!(read_date("1969-12-31"), Some(-1));
        assert_eq!(read_time("-838:59:59"), Some(-3_020_399_000_000));
    }
}
