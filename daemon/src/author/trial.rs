//! Cases in the plugin.
//!
//! Owns turning cases into batches, one call over them, and what each case gave. Refuses to judge.
//! Invariant: a case is a group, and what a call gave is taken apart by it.

use serde_json::{Value as Json, json};

use super::fixtures::{Case, Schema};
use super::{AuthorError, cells, entity_line};
use crate::model::{Batch, EntityDef, FieldDef, Logical, Moment, Role, Side, Violation};
use crate::plugin::wasm::{Attached, Trial, Tried};
use crate::plugin::{PairViolation, Pairs, Rows, Tallied, Tally};

/// A plugin that is bound to the relations of a directory of fixtures.
#[derive(Debug)]
pub(super) struct Runner<'a> {
    pub(super) attached: &'a Attached,
    pub(super) schema: &'a Schema,
    /// The file whose cases are run.
    pub(super) file: &'a std::path::Path,
}

/// What a case of rows gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Given {
    /// An entity each, as golden files have it.
    pub(super) entities: Vec<String>,
    /// Of each entity the fields that are part of its digest.
    pub(super) digested: Vec<Vec<(String, Option<Json>)>>,
    notes: Vec<String>,
}

impl Given {
    /// The golden line of a case.
    pub(super) fn line(&self, case: &Case) -> String {
        let (name, entities) = (json!(case.name), self.entities.join(", "));
        let notes = match self.notes.as_slice() {
            [] => String::new(),
            notes => format!(r#", "notes": [{}]"#, notes.join(", ")),
        };
        format!(r#"{{"case": {name}, "entities": [{entities}]{notes}}}"#)
    }
}

/// Batches of both sides, and which entities are there.
#[derive(Debug)]
pub(super) struct PairBatch {
    source: Batch,
    source_present: Vec<bool>,
    target: Batch,
    target_present: Vec<bool>,
}

impl PairBatch {
    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs {
            entity: 0,
            source: &self.source,
            source_present: &self.source_present,
            target: &self.target,
            target_present: &self.target_present,
        }
    }
}

impl Runner<'_> {
    /// A fresh instance, as a check that began at `as_of` has it.
    pub(super) fn trial(&self, as_of: Moment) -> Trial {
        self.attached.trial(as_of)
    }

    pub(super) fn entity(&self) -> &EntityDef {
        &self.attached.mapper.plan().entities[0]
    }

    fn at(&self, case: &Case) -> String {
        format!("{}, line {}, case \"{}\"", self.file.display(), case.line, case.name)
    }

    /// The rows of cases, as the plan asks for them.
    pub(super) fn rows(&self, side: Side, cases: &[&Case]) -> Result<Batch, AuthorError> {
        let plan = self.attached.mapper.plan();
        let planned = match side {
            Side::Source => &plan.source.relations[0],
            Side::Target => &plan.target.relations[0],
        };
        let schema = self.schema.side(side);
        let rows: Vec<&Json> =
            cases.iter().map(|case| self.row(case, &schema.relation)).collect::<Result<_, _>>()?;
        let column = |name: &String| {
            let logical = schema.column(name).map_or(Logical::Value, |column| column.logical);
            let cells: Vec<_> = rows.iter().map(|row| cell(row, name)).collect();
            self.column(&format!("column `{name}`"), logical, &cells, cases)
        };
        let columns = planned.columns.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Batch { rows: rows.len(), columns })
    }

    /// The row of a case: a row is a group.
    fn row<'c>(&self, case: &'c Case, relation: &str) -> Result<&'c Json, AuthorError> {
        let remedy = format!(
            "write {{\"case\": .., \"row\": {{..}}}}, or \"rows\": {{\"{relation}\": [{{..}}]}}"
        );
        match (case.json.get("row"), case.json.get("rows")) {
            (Some(row), None) => Ok(row),
            (None, Some(Json::Object(rows))) => {
                match rows.get(relation).and_then(Json::as_array).map(Vec::as_slice) {
                    Some([row]) => Ok(row),
                    rows => Err(AuthorError::usage(
                        format!(
                            "a row is a group here, and there are {} rows of `{relation}`",
                            rows.map_or(0, <[Json]>::len)
                        ),
                        self.at(case),
                        &remedy,
                    )),
                }
            }
            _ => Err(AuthorError::usage(
                "there is neither one `row` nor `rows` by relation",
                self.at(case),
                &remedy,
            )),
        }
    }

    /// A column of cells; if one is none of its type, says of which case it is.
    fn column(
        &self,
        what: &str,
        logical: Logical,
        cells: &[Option<&Json>],
        cases: &[&Case],
    ) -> Result<crate::model::Column, AuthorError> {
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

    /// Maps rows in one call.
    pub(super) fn map(
        &self,
        trial: &mut Trial,
        side: Side,
        rows: &Batch,
    ) -> Result<Tried, AuthorError> {
        let place = || format!("{}, its {} cases in one call", self.file.display(), rows.rows);
        trial.map(side, &Rows::each(0, rows)).map_err(|error| AuthorError::call(&error, place()))
    }

    /// Takes apart by case what a call over `count` rows gave.
    pub(super) fn taken_apart(&self, count: usize, tried: &Tried) -> Vec<Given> {
        let mut given = vec![Given::default(); count];
        let (entity, mapped) = (self.entity(), &tried.mapped);
        let entities = mapped.outputs.iter().flat_map(|output| {
            output.from_group.iter().enumerate().map(move |(row, case)| (output, row, case))
        });
        for (output, row, case) in entities {
            let fields = entity.fields.iter().zip(&output.entities.columns);
            let digested = fields
                .filter(|(field, _)| matches!(field.role, Role::Key | Role::Compared))
                .map(|(field, column)| {
                    (field.name.clone(), cells::shown(field.logical, column, row))
                });
            given[*case].digested.push(digested.collect());
            given[*case].entities.push(entity_line(entity, output, row));
        }
        for note in &tried.notes {
            let (kind, message) = (json!(note.kind), json!(note.message));
            given[note.group].notes.push(format!(r#"{{"kind": {kind}, "message": {message}}}"#));
        }
        given
    }

    /// The entities of cases of pairs.
    pub(super) fn pairs(&self, cases: &[&Case]) -> Result<PairBatch, AuthorError> {
        let entity = self.entity();
        for case in cases {
            if let Some(name) = case.json["entity"].as_str().filter(|name| *name != entity.name) {
                return Err(AuthorError::usage(
                    format!("there is no entity type `{name}`; the plan has `{}`", entity.name),
                    self.at(case),
                    "name an entity type of the plan, or leave `entity` out",
                ));
            }
            if let Some(side) = ["source", "target"]
                .into_iter()
                .find(|side| !matches!(&case.json[*side], Json::Object(_) | Json::Null))
            {
                return Err(AuthorError::usage(
                    format!("`{side}` is neither an entity's fields nor null"),
                    self.at(case),
                    "write {\"id\": 7, ..}, or null for a side that does not have the entity",
                ));
            }
        }
        let side = |side: &str| -> Result<(Batch, Vec<bool>), AuthorError> {
            let column = |field: &FieldDef| {
                let cells: Vec<_> =
                    cases.iter().map(|case| case.json[side].get(&field.name)).collect();
                self.column(&format!("field `{}`", field.name), field.logical, &cells, cases)
            };
            let columns = entity.fields.iter().map(column).collect::<Result<_, _>>()?;
            let present = cases.iter().map(|case| case.json[side].is_object()).collect();
            Ok((Batch { rows: cases.len(), columns }, present))
        };
        let ((source, source_present), (target, target_present)) =
            (side("source")?, side("target")?);
        Ok(PairBatch { source, source_present, target, target_present })
    }

    /// Checks pairs in one call.
    pub(super) fn check(
        &self,
        trial: &mut Trial,
        pairs: &PairBatch,
    ) -> Result<Vec<PairViolation>, AuthorError> {
        let place = || format!("{}, its pairs in one call", self.file.display());
        trial.check_pairs(&pairs.pairs()).map_err(|error| AuthorError::call(&error, place()))
    }

    /// Feeds an accumulator.
    pub(super) fn tally(
        &self,
        trial: &mut Trial,
        invariant: usize,
        tally: &Tally<'_>,
    ) -> Result<Tallied, AuthorError> {
        let place = || {
            let id = &self.attached.mapper.invariants()[invariant].id;
            format!("{}, invariant `{id}`", self.file.display())
        };
        trial.tally(invariant, tally).map_err(|error| AuthorError::call(&error, place()))
    }

    /// A violation as golden files have it.
    fn told(&self, violation: &Violation) -> String {
        let id = &self.attached.mapper.invariants()[violation.invariant].id;
        let message = json!(violation.message);
        format!(r#"{{"invariant": {}, "message": {message}}}"#, json!(id))
    }

    /// The golden line of what rules over all cases say; none where they say nothing.
    pub(super) fn partition_line(&self, said: &[Violation]) -> Option<String> {
        let said: Vec<String> = said.iter().map(|violation| self.told(violation)).collect();
        (!said.is_empty()).then(|| format!(r#"{{"partition": [{}]}}"#, said.join(", ")))
    }

    /// The golden lines of cases of pairs.
    pub(super) fn pair_lines(&self, cases: &[&Case], violations: &[PairViolation]) -> Vec<String> {
        let line = |(at, case): (usize, &&Case)| {
            let here = violations.iter().filter(|violation| violation.pair == at);
            let told = here.map(|PairViolation { violation, .. }| self.told(violation));
            let told = told.collect::<Vec<_>>().join(", ");
            format!(r#"{{"case": {}, "violations": [{told}]}}"#, json!(case.name))
        };
        cases.iter().enumerate().map(line).collect()
    }
}

/// The cell of a column, or of what a pointer names; none where it is absent.
fn cell<'r>(row: &'r Json, column: &str) -> Option<&'r Json> {
    if column.starts_with('/') { row.pointer(column) } else { row.get(column) }
}
