//! Which places of source files a guest may name.
//!
//! Owns telling the place of a panic from other words. Refuses whatever does not stand in the guest's
//! file, because what a guest makes up while it has rows may be made of their values. Invariant: of a
//! place that passed nothing but two short numbers was chosen by a call.

/// What names of Rust's source files end with.
const SUFFIX: &[u8] = b".rs";
/// Bytes of a path that are known.
const PATH_BYTES: usize = 120;
/// Paths that are known; a file may hold any number.
const PATHS_MAX: usize = 10_000;
/// How a message of a panic begins.
const PANIC: &str = "panicked at ";

/// Paths of source files in a guest's file. Strings stand there one after the other, so each is known
/// with what stands before it.
#[derive(Debug, Default)]
pub(super) struct Sources(Vec<Box<[u8]>>);

impl Sources {
    /// Those in the file `bytes`.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let is_path = |byte: &u8| byte.is_ascii_alphanumeric() || b"/\\_.-@+".contains(byte);
        let ends = bytes.windows(SUFFIX.len()).enumerate().filter(|(_, part)| *part == SUFFIX);
        let path = |(at, _): (usize, &[u8])| {
            let end = at + SUFFIX.len();
            let part = &bytes[end.saturating_sub(PATH_BYTES)..end];
            let start = part.iter().rposition(|byte| !is_path(byte)).map_or(0, |at| at + 1);
            Box::from(&part[start..])
        };
        Self(ends.map(path).take(PATHS_MAX).collect())
    }

    /// The place that a message of a panic begins with, as `path:line:column`.
    pub(super) fn place<'w>(&self, words: &'w str) -> Option<&'w str> {
        let place = words.lines().next()?.strip_prefix(PANIC)?.strip_suffix(':')?;
        let mut parts = place.rsplitn(3, ':');
        let (column, line, path) = (parts.next()?, parts.next()?, parts.next()?);
        let is_number = |text: &str, digits: usize| {
            (1..=digits).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        let known = self.0.iter().any(|known| known.ends_with(path.as_bytes()));
        let is_place = path.as_bytes().ends_with(SUFFIX) && path.len() > SUFFIX.len();
        (is_number(column, 4) && is_number(line, 6) && is_place && known).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_that_stands_in_the_file() {
        let sources = Sources::of(b"\0called `unwrap`src/lib.rssrc/map.rs\0and on a `None` value");
        for (words, place) in [
            ("panicked at src/lib.rs:3:17:\nsecret", Some("src/lib.rs:3:17")),
            ("panicked at src/map.rs:400:1:", Some("src/map.rs:400:1")),
            ("panicked at lib.rs:3:1:", Some("lib.rs:3:1")),
            ("panicked at src/other.rs:3:1:", None),
            ("panicked at alice@example.org:3:1:", None),
            ("panicked at .rs:3:1:", None),
            ("panicked at :3:1:", None),
            ("panicked at src/lib.rs:4111111111111111:1:", None),
            ("panicked at src/lib.rs:3:12345:", None),
            ("panicked at src/lib.rs:3:secret:", None),
            ("panicked at src/lib.rs:3:1: secret", None),
            ("panicked at secret src/lib.rs:3:1:", None),
            ("src/lib.rs:3:1:", None),
            ("", None),
        ] {
            assert_eq!(sources.place(words), place, "{words}");
        }
        assert_eq!(Sources::of(b"").place("panicked at src/lib.rs:3:1:"), None);
    }
}
