//! Durations and sizes as people write them.
//!
//! Owns the texts `30s` and `8MiB`. Refuses bare numbers, fractions and sums of units: one number,
//! one unit. Invariant: what [`show_duration`] and [`show_size`] write is read back as the same value.

use std::time::Duration;

/// What a duration looks like, for messages.
pub(super) const DURATION_FORMS: &str =
    "a whole number and a unit: \"250ms\", \"30s\", \"5m\", \"36h\" or \"30d\"";
/// What a size looks like, for messages.
pub(super) const SIZE_FORMS: &str =
    "a whole number and a unit: \"512B\", \"64KiB\", \"8MiB\", \"1GiB\" or \"500MB\"";
/// A hundred years: longer spans are slips, and would overflow moments.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(36_500 * 86_400);

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

/// Reads a duration.
pub(super) fn duration(text: &str) -> Option<Duration> {
    measure(text, DURATION_UNITS).map(Duration::from_millis)
}

/// Reads a size in bytes.
pub(super) fn size(text: &str) -> Option<u64> {
    measure(text, SIZE_UNITS)
}

/// Writes a duration with the largest unit that divides it.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATION_UNITS)
}

/// Writes a size with the largest unit that divides it, powers of two first.
pub(super) fn show_size(bytes: u64) -> String {
    let binary = show(bytes, &SIZE_UNITS[..5]);
    let decimal = show(bytes, &SIZE_UNITS[5..]);
    if decimal.len() < binary.len() { decimal } else { binary }
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let largest =
        units.iter().filter(|(_, factor)| value >= *factor && value.is_multiple_of(*factor));
    let (name, factor) = largest.max_by_key(|(_, factor)| *factor).unwrap_or(&units[0]);
    if value.is_multiple_of(*factor) {
        format!("{}{name}", value / factor)
    } else {
        format!("{value}B")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        for (text, millis) in [
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("30s", Some(30_000)),
            ("5m", Some(300_000)),
            ("36h", Some(129_600_000)),
            ("30d", Some(2_592_000_000)),
            ("30", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("+5s", None),
            ("1.5s", None),
            ("1h30m", None),
            ("5 s", None),
            ("5S", None),
            ("\u{0665}s", None),
            ("99999999999999999999s", None),
            ("18446744073709551615d", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn sizes_are_read_or_refused() {
        for (text, bytes) in [
            ("512B", Some(512)),
            ("64KiB", Some(65_536)),
            ("8MiB", Some(8_388_608)),
            ("1GiB", Some(1_073_741_824)),
            ("500MB", Some(500_000_000)),
            ("500mb", None),
            ("500", None),
            ("1.5GiB", None),
            ("17179869184GiB", None),
        ] {
            assert_eq!(size(text), bytes, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_shown_is_read_back(value: u32, exponent in 0_u32..8) {
            let value = u64::from(value) * 10_u64.pow(exponent);
            let span = Duration::from_millis(value);
            proptest::prop_assert_eq!(duration(&show_duration(span)), Some(span));
            proptest::prop_assert_eq!(size(&show_size(value)), Some(value));
        }

        #[test]
        fn no_text_panics(text: String) {
            duration(&text);
            size(&text);
        }
    }
}
