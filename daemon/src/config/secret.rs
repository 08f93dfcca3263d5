//! References to secrets: `{ env = "NAME" }`, `{ file = "..." }`, `{ credential = "..." }`.
//!
//! Owns the three forms, and the covering of secrets that stand in a file all the same. Refuses
//! literal secrets. Invariant: no message and no shown text holds a secret.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Places;
use super::describe::{Key, SECRET_FORMS, Shape, Table};
use super::issue::Issue;
use super::walk::Node;
use crate::model::{Secret, SecretError};

/// The table of a reference.
pub(super) static TABLE: Table = Table {
    what: "a reference to a secret",
    keys: &[
        Key::optional("env", Shape::Text, "name of the environment variable that holds the secret"),
        Key::optional(
            "file",
            Shape::Path,
            "file that holds the secret; a final line break is cut off",
        ),
        Key::optional(
            "credential",
            Shape::Text,
            "name of a file in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` makes it",
        ),
    ],
    elsewhere: &[],
};
static REFERENCE: Shape = Shape::Table(&TABLE);

/// Names of keys whose value is a secret. Their literals are covered even where the TOML around them
/// cannot be read.
const KEYS: &[&str] = &["password"];
/// How keys end that driftd does not know and whose value people take for a secret.
const ELSEWHERE: &[&str] =
    &["secret", "token", "authorization", "passwd", "dsn", "access_key", "api_key", "private_key"];
/// Words in the headers of tables whose values are not driftd's affair.
const FOREIGN: &[&str] = &["environment", "config", "headers"];

const NO_LITERALS: &str = "a secret must not stand in this file";

/// Reads a reference and looks whether the secret is there.
pub(super) fn read(node: &Node<'_>) -> Option<Secret> {
    let Some(table) = node.value.as_table() else {
        node.cover();
        node.fault(NO_LITERALS, SECRET_FORMS);
        return None;
    };
    for (_, value) in table.iter().filter(|(key, _)| TABLE.key(key.get_ref()).is_none()) {
        node.walker.cover(value.get_ref(), value.span());
    }
    let section = node.described(&REFERENCE).section()?;
    let env = section.take("env").and_then(|node| Some((node.text()?, node)));
    let file = section.take("file").and_then(|node| Some((node.path()?, node)));
    let credential = section.take("credential").and_then(|node| Some((node.text()?, node)));
    let (secret, place) = match (env, file, credential) {
        (Some((name, node)), None, None) => (from_environment(name), node),
        (None, Some((path, node)), None) => (from_file(path), node),
        (None, None, Some((name, node))) => (from_credential(name), node),
        (None, None, None) if section.gives(&["env", "file", "credential"]) => return None,
        _ => {
            node.fault("must have exactly one of `env`, `file` and `credential`", SECRET_FORMS);
            return None;
        }
    };
    if node.walker.places == Places::Unchecked {
        return Some(secret);
    }
    if let Err(SecretError(message)) = secret.read() {
        place.fault(message, "provide the secret there, or correct the reference");
        return None;
    }
    Some(secret)
}

fn from_environment(name: String) -> Secret {
    Secret::new(format!("environment variable {name}"), move || {
        environment(&name)?
            .ok_or_else(|| SecretError(format!("the environment variable `{name}` is not set")))
    })
}

fn from_file(path: PathBuf) -> Secret {
    Secret::new(format!("file {}", path.display()), move || content(&path))
}

fn from_credential(name: String) -> Secret {
    Secret::new(format!("credential {name}"), move || {
        if name.contains('/') || name == "." || name == ".." {
            return Err(SecretError(format!("`{name}` is a path, not the name of a credential")));
        }
        let directory = environment("CREDENTIALS_DIRECTORY")?.ok_or_else(|| {
            SecretError(format!(
                "there is no credential `{name}`: $CREDENTIALS_DIRECTORY is not set, as it is in a \
                 systemd unit with `LoadCredential={name}:...`"
            ))
        })?;
        content(&Path::new(&directory).join(&name))
    })
}

/// The file's text without a final line break.
fn content(path: &Path) -> Result<String, SecretError> {
    let fault = |cause: String| SecretError(format!("cannot read {}: {cause}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| fault(error.to_string()))?;
    let mut text = String::from_utf8(bytes).map_err(|_binary| fault("not UTF-8".to_owned()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(fault("it is empty".to_owned())) } else { Ok(text) }
}

#[expect(clippy::disallowed_methods, reason = "configuration is where the environment enters")]
fn environment(name: &str) -> Result<Option<String>, SecretError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(SecretError(format!("the environment variable `{name}` is not UTF-8")))
        }
    }
}

/// Whatever else is wrong with a literal secret, it must neither be repeated nor be put between
/// quotes: it must go.
pub(super) fn correct(errors: &mut [Issue], text: &str) {
    let literals = literals(text, KEYS);
    let inside = |span: &Range<usize>| literals.iter().any(|literal| literal.contains(&span.start));
    for issue in errors.iter_mut().filter(|issue| issue.span.as_ref().is_some_and(inside)) {
        issue.message = NO_LITERALS.to_owned();
        issue.help = SECRET_FORMS.to_owned();
    }
}

/// What must be covered in `text` whatever the state of its TOML: what follows a key of a secret,
/// users and passwords and queries of URLs, and in its `damaged` parts the values of all keys that
/// are not among the `known`.
pub(super) fn suspicious(
    text: &str,
    damaged: &[Range<usize>],
    known: &BTreeSet<&str>,
) -> Vec<Range<usize>> {
    let mut found = literals(text, KEYS);
    // `?token=...` within a text ends with that text.
    let within = |span: Range<usize>| match text[span.clone()].find('"') {
        Some(end) if end > 0 => span.start..span.start + end,
        _ => span,
    };
    found.extend(literals(text, ELSEWHERE).into_iter().map(within));
    found.extend(in_urls(text));
    found.extend(damaged.iter().flat_map(|part| foreign(text, part, known)));
    found
}

/// A URL as it may be shown.
pub(super) fn shown_url(url: &str) -> String {
    cover(url, &in_urls(url))
}

/// Users and passwords, and queries, of all URLs in `text`.
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let rest = &text[start..];
        let rest = &rest[..rest.find(['"', '\n', ' ', '\t']).unwrap_or(rest.len())];
        found.extend(rest.rfind('@').map(|end| start..start + end));
        found.extend(rest.find('?').map(|query| start + query + 1..start + rest.len()));
    }
    found
}

/// Values in a `part` that is no TOML, of keys that are not among the `known`.
fn foreign(text: &str, part: &Range<usize>, known: &BTreeSet<&str>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, _) in text[part.clone()].match_indices('=') {
        let at = part.start + at;
        let part_of_key = |char: char| char.is_alphanumeric() || "-_\"'".contains(char);
        let before = text[..at].trim_end();
        let key = &before[before.trim_end_matches(part_of_key).len()..];
        let header = before.lines().rev().find(|line| line.trim_start().starts_with('['));
        let foreign = header.is_some_and(|header| FOREIGN.iter().any(|word| header.contains(word)));
        let value = text[at + 1..].trim_start_matches([' ', '\t']);
        if !value.starts_with('{') && (foreign || !known.contains(key.trim_matches(['"', '\'']))) {
            let start = text.len() - value.len();
            found.push(start..start + literal_length(value));
        }
    }
    found
}

/// Where `text` holds literals after keys that end like one of `keys`, whatever the state of its
/// TOML.
fn literals(text: &str, keys: &[&str]) -> Vec<Range<usize>> {
    let folded = text.to_ascii_lowercase();
    let mut found = Vec::new();
    for key in keys {
        for (at, _) in folded.match_indices(key) {
            let rest = text[at + key.len()..].trim_start_matches(['"', '\'', ' ', '\t']);
            let Some(value) = rest.strip_prefix(['=', ':']).map(str::trim_start) else { continue };
            if value.starts_with('{') || value.starts_with('#') {
                continue;
            }
            let start = text.len() - value.len();
            found.push(start..start + literal_length(value));
        }
    }
    found
}

/// Length of the literal at the start of `value`: up to its closing quotes; without quotes, or when
/// they are not closed, to the end of the line.
fn literal_length(value: &str) -> usize {
    let line = value.find('\n').unwrap_or(value.len());
    for quotes in ["\"\"\"", "'''"] {
        if let Some(inner) = value.strip_prefix(quotes) {
            return inner.find(quotes).map_or(value.len(), |end| end + 2 * quotes.len());
        }
    }
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return line;
    };
    let mut escaped = false;
    for (index, char) in value[..line].char_indices().skip(1) {
        match char {
            '\\' if quote == '"' => escaped = !escaped,
            _ if char == quote && !escaped => return index + 1,
            _ => escaped = false,
        }
    }
    line
}

/// `text` with everything in `spans` covered, but for line breaks; offsets stay as they are.
pub(super) fn cover(text: &str, spans: &[Range<usize>]) -> String {
    let hidden = |index: usize| spans.iter().any(|span| span.contains(&index));
    let mut covered = String::with_capacity(text.len());
    for (index, char) in text.char_indices() {
        if hidden(index) && !matches!(char, '\n' | '\r') {
            covered.extend(std::iter::repeat_n('*', char.len_utf8()));
        } else {
            covered.push(char);
        }
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_found_in_any_toml() {
        for (text, expected) in [
            ("password = \"hunter2\" # no", "password = ********* # no"),
            ("password=hunter2", "password=*******"),
            ("\"password\" = 'hunter2'\nx=1", "\"password\" = *********\nx=1"),
            ("password = \"hunter2\nx = 1", "password = ********\nx = 1"),
            ("s = { password = \"a\\\"b\", x = 1 }", "s = { password = ******, x = 1 }"),
            ("password = \"\"\"a\nb\"\"\"\nx = 1", "password = ****\n****\nx = 1"),
            ("password : h\u{fc}", "password : ***"),
            ("password = { env = \"NAME\" }", "password = { env = \"NAME\" }"),
            ("# the password is elsewhere", "# the password is elsewhere"),
        ] {
            assert_eq!(cover(text, &literals(text, KEYS)), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_anew_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "first\n").unwrap();
        let secret = from_file(path.clone());
        assert_eq!(secret.read(), Ok("first".to_owned()));
        std::fs::write(&path, "second\r\n").unwrap();
        assert_eq!(secret.read(), Ok("second".to_owned()));
        assert!(!format!("{secret:?}").contains("second"));
        std::fs::write(&path, "\n").unwrap();
        assert!(secret.read().unwrap_err().0.contains("empty"));
        std::fs::remove_file(&path).unwrap();
        assert!(secret.read().unwrap_err().0.contains("cannot read"));
    }

    proptest::proptest! {
        #[test]
        fn covering_keeps_every_offset(text: String) {
            let whole = 0..text.len();
            let covered = cover(&text, &suspicious(&text, &[whole], &BTreeSet::new()));
            proptest::prop_assert_eq!(covered.len(), text.len());
        }
    }
}
