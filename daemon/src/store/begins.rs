//! What begins alike.
//!
//! Owns the bounds between which everything lies that begins with given characters or bytes. Refuses
//! any order but those of code points and of bytes. Invariant: nothing that begins so lies outside.

/// The characters of a value that may end within one; none: no text begins so.
pub(super) fn whole_characters(value: &[u8]) -> Option<&str> {
    match std::str::from_utf8(value) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&value[..error.valid_up_to()]).ok()
        }
        Err(_no_text) => None,
    }
}

/// A text in front of all that begin with `text`, also where these go on with what sorts before the
/// spaces that a shorter text is filled up with; none: nothing lies in front of them.
pub(super) fn before(text: &str, largest: char) -> Option<String> {
    let mut text = text.to_owned();
    while let Some(last) = text.pop() {
        if let Some(smaller) = ('\0'..last).next_back() {
            text.extend([smaller, largest]);
            return Some(text);
        }
    }
    None
}

/// The first text behind all that begin with `text`; none: they are the last ones.
pub(super) fn behind(text: &str, largest: char) -> Option<String> {
    let mut text = text.to_owned();
    while let Some(last) = text.pop() {
        if let Some(larger) = (last..=largest).nth(1) {
            text.push(larger);
            return Some(text);
        }
    }
    None
}

/// The first bytes behind all that begin with `value`; none: they are the last ones.
pub(super) fn behind_bytes(value: &[u8]) -> Option<Vec<u8>> {
    let last = value.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut bytes = value[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// How servers compare code points: as if the shorter text went on with spaces.
    fn padded(a: &str, b: &str) -> Ordering {
        let length = a.chars().count().max(b.chars().count());
        let pad = |text: &str| {
            text.chars().chain(std::iter::repeat(' ')).take(length).collect::<Vec<_>>()
        };
        pad(a).cmp(&pad(b))
    }

    proptest! {
        #[test]
        fn what_begins_alike_lies_between_the_bounds(
            start in "[\u{0}\u{1} a\u{d7ff}\u{e000}\u{ffff}\u{10ffff}]{1,3}",
            rest in "[\u{0}\u{1}\u{1f} a\u{ffff}\u{10ffff}]{0,3}",
        ) {
            let text = format!("{start}{rest}");
            let from = before(&start, char::MAX);
            prop_assert!(from.is_none_or(|from| padded(&from, &text).is_lt()));
            let until = behind(&start, char::MAX);
            prop_assert!(until.as_ref().is_none_or(|until| padded(&text, until).is_lt()));
            prop_assert!(until.is_none_or(|until| text < until));
            let until = behind_bytes(start.as_bytes());
            prop_assert!(until.is_none_or(|until| text.as_bytes() < until.as_slice()));
        }
    }

    #[test]
    fn a_value_may_end_within_a_character() {
        assert_eq!(whole_characters("aé".as_bytes()), Some("aé"));
        assert_eq!(whole_characters(&"aé".as_bytes()[..2]), Some("a"));
        assert_eq!(whole_characters(b"\xffa"), None);
        assert_eq!(behind_bytes(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(behind_bytes(b"\xff"), None);
    }
}
