//! What the author of a plugin works with: a template, building, fixtures and laws, measuring.
//!
//! Owns the author's directory and everything that is done to it. Refuses to do anything to a plugin
//! that a check does not do to it: it runs on the daemon's own host, with production limits.
//! Invariant: every error says what is wrong, where, and what to do about it.

mod bench;
mod build;
mod cells;
mod fixtures;
mod inspect;
mod laws;
mod pairs;
mod places;
mod project;
mod report;
mod rows;
mod template;
mod test;
mod trial;

use std::fmt;

pub use bench::{BenchReport, Measured, bench};
pub use build::build;
pub use inspect::{Inspection, inspect};
pub use project::{Language, Project};
pub use report::{FileReport, Problem, ProblemKind, TestReport};
pub use template::{Begun, begin};
pub use test::{Asked, test};

use crate::model::{Batch, EntityDef, Logical, RelationSchema, Standing};
use crate::plugin::{Output, PluginError};

/// Something that an author asked for cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AuthorError {
    /// What is wrong.
    pub what: String,
    /// Where: a file and its line, a plugin, a function.
    pub place: String,
    /// What to do.
    pub remedy: String,
    /// Whether the question was wrong, not the plugin.
    pub is_usage: bool,
}

impl fmt::Display for AuthorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  where: {}\n  to do: {}", self.what, self.place, self.remedy)
    }
}

impl AuthorError {
    /// Something about the plugin itself.
    pub fn failed(what: impl fmt::Display, place: impl fmt::Display, remedy: &str) -> Self {
        let (what, place) = (what.to_string(), place.to_string());
        Self { what, place, remedy: remedy.to_owned(), is_usage: false }
    }

    /// Something about what was asked for.
    pub fn usage(what: impl fmt::Display, place: impl fmt::Display, remedy: &str) -> Self {
        Self { is_usage: true, ..Self::failed(what, place, remedy) }
    }

    /// A call failed.
    fn call(error: &PluginError, place: impl fmt::Display) -> Self {
        Self::failed(error, place, &error.remedy())
    }
}

/// A row as fixtures have it, for row `row` of a batch of these columns of a relation.
#[must_use]
pub fn row_line(schema: &RelationSchema, columns: &[String], rows: &Batch, row: usize) -> String {
    let cells = columns.iter().zip(&rows.columns).filter_map(|(name, column)| {
        let logical = schema.column(name).map_or(Logical::Value, |column| column.logical);
        let cell = cells::shown(logical, column, row)?;
        Some(format!("{}: {}", serde_json::json!(name), cells::spaced(&cell)))
    });
    format!("{{{}}}", cells.collect::<Vec<_>>().join(", "))
}

/// An entity as the golden files have it, for entity `row` of an output of its type.
#[must_use]
pub fn entity_line(entity: &EntityDef, output: &Output, row: usize) -> String {
    let standing = match output.standing[row] {
        Standing::Present => "present",
        Standing::Absent => "absent",
        Standing::Excluded => "excluded",
    };
    let fields = entity.fields.iter().zip(&output.entities.columns);
    let fields = fields.filter_map(|(field, column)| {
        let cell = cells::shown(field.logical, column, row)?;
        Some(format!("{}: {}", serde_json::json!(field.name), cells::spaced(&cell)))
    });
    let fields = fields.collect::<Vec<_>>().join(", ");
    let name = serde_json::json!(entity.name);
    format!(r#"{{"entity": {name}, "standing": "{standing}", "fields": {{{fields}}}}}"#)
}
