//! Dates as the logical types count them.
//!
//! Owns the proleptic Gregorian calendar and the encoding of what is no day of it (`0000-00-00`).
//! Refuses time zones. Invariant: two different dates, real or not, never have the same number.

/// Microseconds of a second.
pub(crate) const MICROS: i64 = 1_000_000;
/// Microseconds of a day.
pub(crate) const DAY: i64 = 86_400 * MICROS;

/// A date, as `Logical::Date` counts it.
pub(crate) fn date(year: u16, month: u8, day: u8) -> i64 {
    days(year, month, day).unwrap_or_else(|digits| i64::MIN + digits)
}

/// A date and the microseconds of its day, as `Logical::DateTime` counts them.
pub(crate) fn datetime(year: u16, month: u8, day: u8, micros: i64) -> i64 {
    match days(year, month, day) {
        Ok(days) => days * DAY + micros,
        Err(digits) => i64::MIN + digits * DAY + micros,
    }
}

/// The inverse of [`date`]: year, month, day. None: not a year of four digits.
pub(crate) fn date_of(days: i64) -> Option<(u16, u8, u8)> {
    // Below every date of the calendar lie those that are none.
    if days < i64::MIN + 100_000_000 { digits_of(days - i64::MIN) } else { civil(days) }
}

/// The inverse of [`datetime`]: the date and the microseconds of its day.
pub(crate) fn datetime_of(micros: i64) -> Option<((u16, u8, u8), i64)> {
    if micros >= i64::MIN + 100_000_000 * DAY {
        return Some((civil(micros.div_euclid(DAY))?, micros.rem_euclid(DAY)));
    }
    let packed = i128::from(micros) - i128::from(i64::MIN);
    let digits = i64::try_from(packed / i128::from(DAY)).ok()?;
    Some((digits_of(digits)?, i64::try_from(packed % i128::from(DAY)).ok()?))
}

/// Microseconds of hours, minutes, seconds and microseconds.
pub(crate) fn clock([hours, minutes, seconds]: [u8; 3], micros: u32) -> i64 {
    let seconds = i64::from(hours) * 3_600 + i64::from(minutes) * 60 + i64::from(seconds);
    seconds * MICROS + i64::from(micros)
}

/// Days since 1970-01-01; of what is no day of the calendar, its digits `yyyymmdd`.
fn days(year: u16, month: u8, day: u8) -> Result<i64, i64> {
    let (y, m, d) = (i64::from(year), i64::from(month), i64::from(day));
    let leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if !(1..=12).contains(&m) || !(1..=length).contains(&d) {
        return Err(y * 10_000 + m * 100 + d);
    }
    // Years that begin in March have their leap day at the end.
    let (y, m) = if m > 2 { (y, m - 3) } else { (y - 1, m + 9) };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * m + 2) / 5 + d - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Ok(era * 146_097 + day_of_era - 719_468)
}

/// The inverse of [`days`]: year, month, day. None: not a year that the server has.
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
    let year = u16::try_from(year).ok().filter(|year| *year <= 9_999)?;
    Some((year, month, day))
}

fn digits_of(digits: i64) -> Option<(u16, u8, u8)> {
    let year = u16::try_from(digits / 10_000).ok()?;
    let month = u8::try_from(digits / 100 % 100).ok()?;
    Some((year, month, u8::try_from(digits % 100).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_calendar_counts_from_1970() {
        assert_eq!(days(1970, 1, 1), Ok(0));
        assert_eq!(days(1969, 12, 31), Ok(-1));
        assert_eq!(days(2000, 2, 29), Ok(11_016));
        assert_eq!(days(9999, 12, 31), Ok(2_932_896));
        assert_eq!(days(0, 0, 0), Err(0));
        assert_eq!(days(2024, 0, 0), Err(20_240_000));
        assert_eq!(days(2023, 2, 29), Err(20_230_229));
    }

    proptest! {
        #[test]
        fn dates_follow_each_other(day in -719_528i64..2_932_896) {
            let (y, m, d) = civil(day).unwrap();
            prop_assert_eq!(days(y, m, d), Ok(day));
        }
    }
}
