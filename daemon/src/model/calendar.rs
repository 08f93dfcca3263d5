//! Dates as the logical types count them.
//!
//! Owns the one calendar: the Gregorian one, of the years 1 to 9999, and the count of what is no day of
//! it (`0000-00-00`). Refuses time zones and texts. Invariant: two different dates, real or not, never
//! have the same number, and what was counted is told apart again.

/// Microseconds of a second.
pub const MICROS: i64 = 1_000_000;
/// Microseconds of a day.
pub const DAY: i64 = 86_400 * MICROS;
/// Below this many days lie the dates that are none, as `yyyymmdd` from the smallest number on.
const FIRST_DAYS: i64 = i64::MIN + 100_000_000;
/// The same of date-times.
const FIRST_MICROS: i64 = i64::MIN + 100_000_000 * DAY;

/// A date, as `Logical::Date` counts it. None: no store writes such a date.
#[must_use]
pub fn date(year: u16, month: u8, day: u8) -> Option<i64> {
    let (y, m, d) = (i64::from(year), i64::from(month), i64::from(day));
    if year > 9_999 || month > 12 || day > 31 {
        return None;
    }
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // SQL has no year zero; stores write one only as part of a date that is none.
    if year == 0 || month == 0 || day == 0 || d > length {
        return Some(i64::MIN + (y * 100 + m) * 100 + d);
    }
    // Years that begin in March have their leap day at the end.
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let (era, year_of_era) = (y.div_euclid(400), y.rem_euclid(400));
    let day_of_year = (153 * m + 2) / 5 + d - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// A date and the microseconds of its day, as `Logical::DateTime` counts them. None: no store writes
/// such a date.
#[must_use]
pub fn datetime(year: u16, month: u8, day: u8, micros: i64) -> Option<i64> {
    Some(with_time(date(year, month, day)?, micros))
}

/// The date-time of a date and the microseconds of its day.
#[must_use]
pub const fn with_time(days: i64, micros: i64) -> i64 {
    if is_day(days) { days * DAY + micros } else { i64::MIN + (days - i64::MIN) * DAY + micros }
}

/// The inverse of [`date`]: year, month, day. None: not a year of four digits.
#[must_use]
pub fn date_of(days: i64) -> Option<(u16, u8, u8)> {
    if is_day(days) {
        return civil(days);
    }
    let digits = days - i64::MIN;
    let year = u16::try_from(digits / 10_000).ok()?;
    let month = u8::try_from(digits / 100 % 100).ok()?;
    Some((year, month, u8::try_from(digits % 100).ok()?))
}

/// The inverse of [`datetime`]: the date and the microseconds of its day.
#[must_use]
pub fn datetime_of(micros: i64) -> Option<((u16, u8, u8), i64)> {
    if is_in_calendar(micros) {
        return Some((civil(micros.div_euclid(DAY))?, micros.rem_euclid(DAY)));
    }
    let packed = i128::from(micros) - i128::from(i64::MIN);
    let digits = i64::try_from(packed / i128::from(DAY)).ok()?;
    Some((date_of(i64::MIN + digits)?, i64::try_from(packed % i128::from(DAY)).ok()?))
}

/// Whether a date-time is one of the calendar, and not such as `0000-00-00 00:00:00`.
#[must_use]
pub const fn is_in_calendar(micros: i64) -> bool {
    micros >= FIRST_MICROS
}

/// Whether a date is one of the calendar, and not such as `0000-00-00`.
#[must_use]
pub const fn is_day(days: i64) -> bool {
    days >= FIRST_DAYS
}

/// Microseconds of hours, minutes, seconds and microseconds.
#[must_use]
pub fn clock([hours, minutes, seconds]: [u8; 3], micros: u32) -> i64 {
    let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds);
    seconds * MICROS + i64::from(micros)
}

/// Year, month and day of a day that the calendar has. None: it is not of the years 1 to 9999.
fn civil(days: i64) -> Option<(u16, u8, u8)> {
    let days = days.checked_add(719_468)?;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let day = u8::try_from(day_of_year - (153 * m + 2) / 5 + 1).ok()?;
    let month = u8::try_from(if m < 10 { m + 3 } else { m - 9 }).ok()?;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let year = u16::try_from(year).ok().filter(|year| (1..=9_999).contains(year))?;
    Some((year, month, day))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_calendar_counts_from_1970() {
        for ((year, month, day), count) in [
            ((1970, 1, 1), 0),
            ((1969, 12, 31), -1),
            ((2000, 2, 29), 11_016),
            ((1, 1, 1), -719_162),
            ((9999, 12, 31), 2_932_896),
            ((0, 0, 0), i64::MIN),
            ((2024, 0, 0), i64::MIN + 20_240_000),
            ((2023, 2, 29), i64::MIN + 20_230_229),
            ((1900, 2, 29), i64::MIN + 19_000_229),
            // SQL's calendar begins with the year 1.
            ((0, 1, 1), i64::MIN + 101),
            ((0, 12, 31), i64::MIN + 1_231),
        ] {
            assert_eq!(date(year, month, day), Some(count), "{year}-{month}-{day}");
            assert_eq!(date_of(count), Some((year, month, day)));
        }
        for (year, month, day) in [(10_000, 1, 1), (2024, 13, 1), (2024, 1, 32)] {
            assert_eq!(date(year, month, day), None, "{year}-{month}-{day}");
        }
        for days in [-719_163, 2_932_897, i64::MAX, FIRST_DAYS] {
            assert_eq!(date_of(days), None, "{days}");
        }
    }

    proptest! {
        #[test]
        fn days_follow_each_other(day in -719_162i64..=2_932_896) {
            let (y, m, d) = civil(day).unwrap();
            prop_assert_eq!(date(y, m, d), Some(day));
        }

        #[test]
        fn what_is_counted_is_told_apart(
            year in 0u16..=9_999, month in 0u8..=12, day in 0u8..=31, micros in 0i64..DAY,
        ) {
            let days = date(year, month, day).unwrap();
            prop_assert_eq!(date_of(days), Some((year, month, day)));
            let count = datetime(year, month, day, micros).unwrap();
            prop_assert_eq!(count, with_time(days, micros));
            prop_assert_eq!(datetime_of(count), Some(((year, month, day), micros)));
        }

        #[test]
        fn any_number_is_a_date_or_none(number in any::<i64>()) {
            if let Some(((year, month, day), micros)) = datetime_of(number)
                && is_in_calendar(number)
            {
                prop_assert_eq!(datetime(year, month, day, micros), Some(number));
            }
        }
    }
}
