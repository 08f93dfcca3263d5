//! Cases in the plugin.
//!
//! Owns what cases of every kind share: a fresh instance, cells as columns, and where a case stands.
//! Refuses to judge. Invariant: what is wrong with a case is told with its file, line and name.

use serde_json::{Value as Json, json};

use super::fixtures::{Case, Schema};
use super::{AuthorError, cells};
use crate::model::{Batch, Column, FieldDef, Logical, MappingPlan, Moment, Side, SidePlan};
use crate::plugin::wasm::{Attached, Trial};

/// A plugin that is bound to the relations of a directory of fixtures.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) attached: &'a Attached,
    pub(super) schema: &'a Schema,
    /// The file whose cases are run.
    pub(super) file: &'a std::path::Path,
}

impl Runner<'_> {
    /// A fresh instance, as a check that began at `as_of` has it.
    pub(super) fn trial(&self, as_of: Moment) -> Trial {
        self.attached.trial(as_of)
    }

    pub(super) fn plan(&self) -> &MappingPlan {
        self.attached.mapper.plan()
    }

    pub(super) fn side_plan(&self, side: Side) -> &SidePlan {
        match side {
            Side::Source => &self.plan().source,
            Side::Target => &self.plan().target,
        }
    }

    /// Where a case stands.
    pub(super) fn at(&self, case: &Case) -> String {
        format!("{}, line {}, case \"{}\"", self.file.display(), case.line, case.name)
    }

    /// Something that is wrong with a case.
    pub(super) fn wrong(&self, case: &Case, what: String, remedy: &str) -> AuthorError {
        AuthorError::usage(what, self.at(case), remedy)
    }

    /// A column of cells, each of a case; if one is none of its type, says of which case it is.
    pub(super) fn column(
        &self,
        what: &str,
        logical: Logical,
        cells: &[Option<&Json>],
        cases: &[&Case],
    ) -> Result<Column, AuthorError> {
        cells::column(logical, cells).map_err(|wrong| {
            let alone = |(_, cell): &(&&Case, &Option<&Json>)| {
                cells::column(logical, std::slice::from_ref(*cell)).is_err()
            };
            let guilty = cases.iter().zip(cells).find(alone);
            let place =
                guilty.map_or_else(|| self.file.display().to_string(), |(case, _)| self.at(case));
            let remedy = "put the cell right, or the column's type in schema.json; plugins/sdk/FIXTURES.md has the notation of every type";
            AuthorError::usage(format!("{what}: {wrong}"), place, remedy)
        })
    }

    /// Entities of a type, one of each case; none where a case has no fields for it.
    pub(super) fn entities(
        &self,
        fields: &[FieldDef],
        items: &[Option<&Json>],
        cases: &[&Case],
    ) -> Result<Batch, AuthorError> {
        let column = |field: &FieldDef| {
            let cells = items.iter().map(|item| item.and_then(|it| it.get(&field.name)));
            let cells: Vec<_> = cells.collect();
            self.column(&format!("field `{}`", field.name), field.logical, &cells, cases)
        };
        let columns = fields.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Batch { rows: items.len(), columns })
    }

    /// Which of several things a case names; the only one, where it names none.
    pub(super) fn named<'n>(
        &self,
        case: &Case,
        what: (&str, &str),
        names: impl Iterator<Item = &'n str>,
    ) -> Result<usize, AuthorError> {
        let (key, words) = what;
        let names: Vec<&str> = names.collect();
        let known = names.join("`, `");
        let remedy = format!("name one of `{known}`");
        match (case.json.get(key), names.len()) {
            (None, 1) => Ok(0),
            (None, _) => Err(self.wrong(case, format!("`{key}` is missing"), &remedy)),
            (Some(wanted), _) => {
                names.iter().position(|name| *wanted == json!(name)).ok_or_else(|| {
                    let what = format!("there is no {words} {wanted}, only `{known}`");
                    self.wrong(case, what, &remedy)
                })
            }
        }
    }
}
