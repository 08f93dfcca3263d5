//! On which line a file says what.
//!
//! Owns [`Lines`], for what only a store or a plugin can find wrong, when the file is read no more.
//! Refuses to keep its text: of values it keeps hashes, which tell files apart. Invariant: a place that is given is where the key itself stands, or the
//! nearest table around it.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use toml::de::{DeTable, DeValue};

/// Lines of a file, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    file: String,
    lines: BTreeMap<String, usize>,
    /// Hashes of what stands behind keys that are no tables.
    values: BTreeMap<String, u64>,
}

impl Lines {
    pub(super) fn of(file: &str, text: &str, document: &DeTable<'_>) -> Self {
        let mut lines = Self { file: file.to_owned(), ..Self::default() };
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
            } else {
                let mut hasher = DefaultHasher::new();
                text[value.span()].hash(&mut hasher);
                self.values.insert(path.clone(), hasher.finish());
            }
            self.lines.insert(path, line);
        }
    }

    /// The file's name, as it was given.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Keys behind which another file has something else, or that only one of both has. Tables are not
    /// among them.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<_> = self.values.keys().chain(other.values.keys()).collect();
        let differ = |key: &&&String| self.values.get(**key) != other.values.get(**key);
        keys.iter().filter(differ).map(|key| (*key).clone()).collect()
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
