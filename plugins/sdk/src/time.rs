//! Dates and times.
//!
//! Owns the four types of them, and how they are read and written as text. Refuses time zones other
//! than offsets, leap seconds and fractions below a microsecond: nothing is lost or guessed.
//! Invariant: what is written is read back as the same value.

use std::fmt;

const DAY: i64 = 86_400_000_000;

macro_rules! time {
    ($(#[$about:meta])* $name:ident, $unit:ident, $from:ident, $read:ident, $write:ident, $example:literal, $number:literal) => {
        $(#[$about])*
        ///
        /// ```
        #[doc = concat!("use driftd_plugin::", stringify!($name), ";")]
        ///
        #[doc = concat!("let read = ", stringify!($name), "::parse(\"", $example, "\").unwrap();")]
        #[doc = concat!("assert_eq!(read.", stringify!($unit), "(), ", $number, ");")]
        #[doc = concat!("assert_eq!(read.to_string(), \"", $example, "\");")]
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            #[doc = concat!("From the count that columns hold: ", stringify!($unit), ".")]
            ///
            /// ```
            #[doc = concat!("# use driftd_plugin::", stringify!($name), ";")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::", stringify!($from), "(", $number, ").to_string(), \"", $example, "\");")]
            /// ```
            #[must_use]
            pub fn $from($unit: i64) -> Self {
                Self($unit)
            }

            #[doc = concat!("The count that columns hold: ", stringify!($unit), ".")]
            ///
            /// ```
            #[doc = concat!("# use driftd_plugin::", stringify!($name), ";")]
            #[doc = concat!("assert_eq!(", stringify!($name), "::", stringify!($from), "(7).", stringify!($unit), "(), 7);")]
            /// ```
            #[must_use]
            pub fn $unit(self) -> i64 {
                self.0
            }

            /// Reads it from text; none where that is not exactly one.
            ///
            /// ```
            #[doc = concat!("# use driftd_plugin::", stringify!($name), ";")]
            #[doc = concat!("assert!(", stringify!($name), "::parse(\"", $example, "\").is_some());")]
            #[doc = concat!("assert!(", stringify!($name), "::parse(\"yesterday\").is_none());")]
            /// ```
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                $read(text.as_bytes()).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = String::with_capacity(32);
                $write(&mut text, self.0)?;
                f.pad(&text)
            }
        }
    };
}

time!(
    /// A day of the calendar. What is none (`0000-00-00`) is kept as a value of its own, and is not
    /// read from text.
    Date, days, from_days, date, write_date, "1970-01-03", "2"
);
time!(
    /// An instant, read from RFC 3339; text without an offset is taken for UTC.
    Timestamp, micros, from_micros, timestamp, write_timestamp, "1970-01-01T00:00:01.5Z", "1_500_000"
);
time!(
    /// A date and time of an unnamed time zone.
    DateTime, micros, from_micros, datetime, write_datetime, "1970-01-01T00:00:01.5", "1_500_000"
);
time!(
    /// A time of the day, or a span: signed, and of more than a day if it must.
    Time, micros, from_micros, time, write_time, "-30:00:01.25", "-108_001_250_000"
);

/// Reads `2024-01-02` as days since 1970-01-01.
#[inline]
pub(crate) fn date(text: &[u8]) -> Option<i64> {
    day(text.try_into().ok()?)
}

#[inline]
fn day(text: &[u8; 10]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let (year, month, day) = (two(y1, y2)? * 100 + two(y3, y4)?, two(m1, m2)?, two(d1, d2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let most = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || day == 0 || day > most {
        return None;
    }
    // Years begin in March, so that the leap day comes last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + of_year;
    Some(i64::from(days) - 719_468)
}

/// Two digits.
#[inline]
fn two(one: u8, two: u8) -> Option<u32> {
    let (one, two) = (one.wrapping_sub(b'0'), two.wrapping_sub(b'0'));
    (one <= 9 && two <= 9).then(|| u32::from(one) * 10 + u32::from(two))
}

/// Reads `2024-01-02T03:04:05.123456Z` as microseconds; without an offset it is UTC.
#[inline]
pub(crate) fn timestamp(text: &[u8]) -> Option<i64> {
    let (local, rest) = stamp(text)?;
    let offset = match rest {
        [] | [b'Z' | b'z'] => return Some(local),
        [sign @ (b'+' | b'-'), h @ .., b':', m1, m2] if h.len() == 2 => {
            let (hours, minutes) = (digits(h)?, digits(&[*m1, *m2])?);
            let offset = (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)?;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    Some(local - offset * 60_000_000)
}

/// Reads `2024-01-02T03:04:05.123456` as microseconds.
pub(crate) fn datetime(text: &[u8]) -> Option<i64> {
    stamp(text).filter(|(_, rest)| rest.is_empty()).map(|(local, _)| local)
}

/// A date and a time of day, and what follows them.
#[inline]
fn stamp(text: &[u8]) -> Option<(i64, &[u8])> {
    let (date, rest) = text.split_first_chunk::<10>()?;
    let ([b'T' | b't' | b' ', h1, h2], rest) = rest.split_first_chunk::<3>()? else { return None };
    let (days, hour) = (day(date)?, two(*h1, *h2)?);
    let (of_hour, rest) = of_hour(rest)?;
    (hour < 24).then_some((days * DAY + i64::from(hour) * 3_600_000_000 + of_hour, rest))
}

/// Reads `:04:05.123456` as microseconds, and what follows.
#[inline]
fn of_hour(text: &[u8]) -> Option<(i64, &[u8])> {
    let ([b':', m1, m2, b':', s1, s2], rest) = text.split_first_chunk::<6>()? else { return None };
    let (minute, second) = (two(*m1, *m2)?, two(*s1, *s2)?);
    let (micros, rest) = match rest {
        [b'.', rest @ ..] => fraction(rest)?,
        rest => (0, rest),
    };
    let seconds = (minute < 60 && second < 60).then_some(minute * 60 + second)?;
    Some((i64::from(seconds) * 1_000_000 + i64::from(micros), rest))
}

/// Reads one to six digits behind a point as microseconds, and what follows.
#[inline]
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let (mut micros, mut length) = (0, 0);
    while let Some(byte) = text.get(length) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if length == 6 {
            return None;
        }
        micros = micros * 10 + u32::from(digit);
        length += 1;
    }
    if length == 0 {
        return None;
    }
    for _ in length..6 {
        micros *= 10;
    }
    Some((micros, &text[length..]))
}

/// Reads `-12:04:05.5` as microseconds.
pub(crate) fn time(text: &[u8]) -> Option<i64> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |text| (true, text));
    let colon = text.iter().position(|byte| *byte == b':').filter(|at| (2..=6).contains(at))?;
    let (of_hour, rest) = of_hour(&text[colon..])?;
    let micros = digits(&text[..colon])? * 3_600_000_000 + of_hour;
    rest.is_empty().then_some(if negative { -micros } else { micros })
}

#[inline]
fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0i64, |number, byte| {
        byte.is_ascii_digit().then_some(number * 10 + i64::from(byte & 0xf))
    })
}

/// What is no calendar date is counted from the smallest number: yyyymmdd.
const NO_CALENDAR_DAYS: i64 = i64::MIN + 100_000_000;
const NO_CALENDAR_MICROS: i64 = i64::MIN + 100_000_000 * DAY;

fn write_date(out: &mut String, days: i64) -> fmt::Result {
    use fmt::Write as _;
    if days < NO_CALENDAR_DAYS {
        let packed = days.wrapping_sub(i64::MIN);
        let (year, month, day) = (packed / 10_000, packed / 100 % 100, packed % 100);
        return write!(out, "{year:04}-{month:02}-{day:02}");
    }
    let days = i128::from(days) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let of_era_year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * of_era_year + of_era_year / 4 - of_era_year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, january) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = of_era_year + era * 400 + january;
    write!(out, "{year:04}-{month:02}-{day:02}")
}

fn write_time(out: &mut String, micros: i64) -> fmt::Result {
    use fmt::Write as _;
    let (seconds, fraction) =
        (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let sign = if micros < 0 { "-" } else { "" };
    write!(out, "{sign}{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction > 0 {
        write!(out, ".{fraction:06}")?;
        out.truncate(out.trim_end_matches('0').len());
    }
    Ok(())
}

fn write_datetime(out: &mut String, micros: i64) -> fmt::Result {
    let (days, of_day) = if micros < NO_CALENDAR_MICROS {
        let packed = i128::from(micros) - i128::from(i64::MIN);
        let (day, of_day) = (packed / i128::from(DAY), packed % i128::from(DAY));
        (i64::MIN + day as i64, of_day as i64)
    } else {
        (micros.div_euclid(DAY), micros.rem_euclid(DAY))
    };
    write_date(out, days)?;
    out.push('T');
    write_time(out, of_day)
}

fn write_timestamp(out: &mut String, micros: i64) -> fmt::Result {
    write_datetime(out, micros)?;
    out.push('Z');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for days in (-719_162..=2_932_896).step_by(13) {
            let text = Date::from_days(days).to_string();
            assert_eq!(Date::parse(&text), Some(Date::from_days(days)), "{text}");
        }
        assert_eq!(Date::from_days(-719_162).to_string(), "0001-01-01");
        assert_eq!(Date::from_days(2_932_896).to_string(), "9999-12-31");
        assert_eq!(Date::from_days(i64::MIN).to_string(), "0000-00-00");
        assert_eq!(Date::from_days(i64::MIN + 20_240_000).to_string(), "2024-00-00");
        for text in ["1990-02-30", "1900-02-29", "0000-01-01", "2024-13-01", "2024-1-01", ""] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_exact_or_none() {
        for (text, micros) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01 00:00:00", 0),
            ("1970-01-01T01:30:00+01:30", 0),
            ("1969-12-31T23:00:00.25-01:00", 250_000),
            ("1970-01-01t00:00:00.000001z", 1),
        ] {
            assert_eq!(Timestamp::parse(text).map(Timestamp::micros), Some(micros), "{text}");
        }
        for text in [
            "1970-01-01T00:00:60Z",
            "1970-01-01T24:00:00Z",
            "1970-01-01T00:00:00.1234567Z",
            "1970-01-01T00:00:00.Z",
            "1970-01-01T00:00:00+0100",
            "1970-01-01T00:00Z",
            "1970-01-01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
        assert_eq!(DateTime::parse("1970-01-01T00:00:00Z"), None);
        assert_eq!(DateTime::from_micros(i64::MIN).to_string(), "0000-00-00T00:00:00");
        assert_eq!(Time::parse("838:59:59").map(Time::micros), Some(3_020_399_000_000));
    }
}
