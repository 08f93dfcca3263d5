//! On which line a file says what.
//!
//! Owns [`Lines`], for what only a store or a plugin can find wrong, when the file is read no more.
//! Refuses to keep its text. Invariant: a place that is given is where the key itself stands, or the
//! nearest table around it.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Lines of a file, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    file: String,
    lines: BTreeMap<String, usize>,
}

impl Lines {
    pub(super) fn of(file: &str, text: &str, document: &DeTable<'_>) -> Self {
        let mut lines = Self { file: file.to_owned(), lines: BTreeMap::new() };
        lines.add("", text, document);
        lines
    }

    fn add(&mut self, path: &str, text: &str, table: &DeTable<'_>) {
        for (key, value) in table.iter() {
            let name = key.get_ref();
            let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            let line = text[..key.span().start].matches('\n').count() + 1;
            if let DeValue::Table(inner) = value.get_ref() {
                self.add(&path, text, inner);
            }
            self.lines.insert(path, line);
        }
    }

    /// `driftd.toml:12: ` for the key at `path`, or the nearest table around it; nothing, if the file
    /// has neither.
    #[must_use]
    pub fn place(&self, path: &str) -> String {
        let mut path = path;
        loop {
            if let Some(line) = self.lines.get(path) {
                return format!("{}:{line}: ", self.file);
            }
            let Some((around, _)) = path.rsplit_once('.') else { return String::new() };
            path = around;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_is_found() {
        let text = "[a.b]\nc = 1\n[a]\nd = { e = 2 }\n";
        let (document, _) = DeTable::parse_recoverable(text);
        let lines = Lines::of("file", text, document.get_ref());
        for (path, place) in [
            ("a.b.c", "file:2: "),
            ("a.b.c.x", "file:2: "),
            ("a.d.e", "file:4: "),
            ("a.d.x", "file:4: "),
            ("a.x", "file:3: "),
            ("x", ""),
        ] {
            assert_eq!(lines.place(path), place, "{path}");
        }
    }
}
