//! References to secrets: `{ env = "NAME" }`, `{ file = "..." }`, `{ credential = "..." }`.
//!
//! Owns the three forms, and the covering of secrets that stand in a file all the same. Refuses
//! literal secrets. Invariant: no message and no shown text holds a secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

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

const NO_LITERALS: &str = "a secret must not stand in this file";

/// Reads a reference and looks whether the secret is there.
pub(super) fn read(node: &Node<'_>) -> Option<Secret> {
    let Some(table) = node.value.as_table() else {
        node.cover();
        node.fault(NO_LITERALS, SECRET_FORMS);
        return None;
    };
    for (_, value) in table.iter().filter(|(key, _)| TABLE.key(key.get_ref()).is_none()) {
        node.walker.cover(value.span());
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

/// A literal secret without quotes must not be told to be put between quotes.
pub(super) fn correct(errors: &mut [Issue], text: &str) {
    let literals = literals(text);
    let inside = |span: &Range<usize>| literals.iter().any(|literal| literal.contains(&span.start));
    for issue in errors.iter_mut().filter(|issue| issue.span.as_ref().is_some_and(inside)) {
        issue.message = NO_LITERALS.to_owned();
        issue.help = SECRET_FORMS.to_owned();
    }
}

/// Where `text` holds literals after a key of a secret, whatever the state of its TOML.
pub(super) fn literals(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for key in KEYS {
        for (at, _) in text.match_indices(key) {
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
            assert_eq!(cover(text, &literals(text)), expected, "{text}");
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
            let covered = cover(&text, &literals(&text));
            proptest::prop_assert_eq!(covered.len(), text.len());
        }
    }
}
