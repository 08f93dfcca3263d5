//! What is wrong with a mapping, and where.
//!
//! Owns [`PlanIssue`] and the search for names that were probably meant. Refuses to print: `config`
//! finds the place in the file. Invariant: an issue holds names of the configuration and of the
//! store, never row values.

use std::fmt;

use crate::model::RelationSchema;

/// Bytes of a text that are shown: a plugin may choose names of megabytes.
const TEXT_BYTES: usize = 1_000;
/// Longer names are near to none, and looking for one would take long.
const NAME_BYTES: usize = 200;

/// Something that is wrong with a mapping's configuration or plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanIssue {
    /// A JSON pointer to what is wrong, into the table that the issue speaks of.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl PlanIssue {
    /// An issue at `path`.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        let bounded = |mut text: String| {
            if text.len() > TEXT_BYTES {
                text.truncate(text.floor_char_boundary(TEXT_BYTES));
                text.push_str(" ...");
            }
            text
        };
        Self { path: bounded(path.into()), message: bounded(message.into()), help: None }
    }

    /// The issue, with what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The issue, its path below `prefix`.
    #[must_use]
    pub(super) fn below(mut self, prefix: &str) -> Self {
        self.path.insert_str(0, prefix);
        self
    }

    /// The issue of a column that `schema` does not have: the nearest names, or that its user may not
    /// read all of them.
    #[must_use]
    pub(super) fn no_column(self, given: &str, schema: &RelationSchema) -> Self {
        let issue = self.nearest(given, schema.columns.iter().map(|column| column.name.as_str()));
        if issue.help.is_some() || !schema.partial {
            return issue;
        }
        issue.help(
            "this store's user may read only some of the relation's columns: if it is one of the \
             others, grant SELECT on it",
        )
    }

    /// The issue, with the names of `known` that are nearest to `given`, if any is near.
    #[must_use]
    pub(super) fn nearest<'a>(mut self, given: &str, known: impl Iterator<Item = &'a str>) -> Self {
        if given.len() > NAME_BYTES {
            return self;
        }
        let mut near: Vec<(usize, &str)> = known
            .map(|name| {
                (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), name)
            })
            .filter(|(distance, name)| *distance <= 1 + name.len().max(given.len()) / 3)
            .collect();
        near.sort_unstable();
        near.truncate(3);
        if !near.is_empty() {
            let names: Vec<_> = near.into_iter().map(|(_, name)| format!("`{name}`")).collect();
            self.help = Some(format!("nearest: {}", names.join(", ")));
        }
        self
    }
}

impl fmt::Display for PlanIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
}
