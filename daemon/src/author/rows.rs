//! Cases of rows.
//!
//! Owns turning cases into rows in groups, a call over them, and what each case gave. Refuses to judge.
//! Invariant: a case is a group, and what a call gave is taken apart by it.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::fixtures::Case;
use super::trial::Runner;
use super::{AuthorError, cells, entity_line};
use crate::model::{Batch, Logical, RelationSchema, Role, Side};
use crate::plugin::wasm::{Noted, Trial, Tried};
use crate::plugin::{Input, Rows};

/// Rows of a call, made of cases.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) rows: Rows<'static>,
    /// Of each group which of the cases it is.
    pub(super) cases: Vec<usize>,
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

/// Rows of one relation, each with the position of its case.
type Listed<'c> = Vec<(usize, &'c Json)>;

impl Runner<'_> {
    /// Cases as a check hands them over: all in one call; where a side has several relations and
    /// groups none, in a call for each relation.
    pub(super) fn calls(&self, side: Side, cases: &[&Case]) -> Result<Vec<Call>, AuthorError> {
        if cases.is_empty() {
            return Ok(Vec::new());
        }
        let planned = &self.side_plan(side).relations;
        let mut lists: Vec<Listed<'_>> = planned.iter().map(|_| Vec::new()).collect();
        for (at, case) in cases.iter().enumerate() {
            for (list, rows) in lists.iter_mut().zip(self.rows_of(side, case)?) {
                list.extend(rows.into_iter().map(|row| (at, row)));
            }
        }
        let is_grouped = self.is_grouped(side);
        let mut inputs = Vec::new();
        let mut calls = Vec::new();
        for (relation, rows) in lists.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let batch = Cow::Owned(self.batch((side, relation), rows, cases)?);
            let of: Vec<usize> = rows.iter().map(|(case, _)| *case).collect();
            if is_grouped {
                // No file has as many lines.
                let number = |case: &usize| u32::try_from(*case).unwrap_or(u32::MAX);
                let group = Some(of.iter().map(number).collect());
                inputs.push(Input { relation, rows: batch, group });
            } else {
                let inputs = vec![Input { relation, rows: batch, group: None }];
                calls.push(Call { rows: Rows { inputs, groups: of.len() }, cases: of });
            }
        }
        if is_grouped {
            let rows = Rows { inputs, groups: cases.len() };
            calls.push(Call { rows, cases: (0..cases.len()).collect() });
        }
        Ok(calls)
    }

    fn is_grouped(&self, side: Side) -> bool {
        self.side_plan(side).relations.iter().any(|relation| !relation.group_by.is_empty())
    }

    /// How many rows a case has that the plan reads.
    pub(super) fn size(&self, side: Side, case: &Case) -> Result<usize, AuthorError> {
        Ok(self.rows_of(side, case)?.iter().map(Vec::len).sum())
    }

    /// The rows of a case, of each relation of the plan.
    fn rows_of<'c>(&self, side: Side, case: &'c Case) -> Result<Vec<Vec<&'c Json>>, AuthorError> {
        let tables = self.schema.side(side);
        let remedy = remedy(tables);
        let wrong = |what: String| self.wrong(case, what, &remedy);
        let listed = match (case.json.get("row"), case.json.get("rows")) {
            (Some(row), None) if tables.len() == 1 => vec![(0, vec![row])],
            (None, Some(Json::Object(rows))) => {
                let of = |(name, rows): (&String, &'c Json)| {
                    let at = tables.iter().position(|table| table.relation == *name);
                    let at =
                        at.ok_or_else(|| wrong(format!("the {side} has no relation `{name}`")))?;
                    let rows = rows.as_array();
                    let rows = rows.ok_or_else(|| wrong(format!("`{name}` is no list of rows")))?;
                    Ok((at, rows.iter().collect()))
                };
                rows.iter().map(of).collect::<Result<Vec<(usize, Vec<&Json>)>, _>>()?
            }
            _ => return Err(wrong("there is neither one `row` nor `rows` by relation".to_owned())),
        };
        if listed.iter().flat_map(|(_, rows)| rows).any(|row| !row.is_object()) {
            return Err(wrong("a row is no map of columns".to_owned()));
        }
        let of = |relation: usize| {
            let mut listed = listed.iter().filter(|(at, _)| *at == relation);
            listed.next().map(|(_, rows)| rows.clone()).unwrap_or_default()
        };
        let planned = self.side_plan(side).relations.iter();
        let rows: Vec<Vec<&Json>> = planned.map(|plan| of(plan.relation)).collect();
        match rows.iter().map(Vec::len).sum::<usize>() {
            0 => Err(wrong("there is no row that the plugin reads".to_owned())),
            1 => Ok(rows),
            _ if self.is_grouped(side) => Ok(rows),
            count => Err(wrong(format!("a row is a group here, and there are {count} rows"))),
        }
    }

    /// Rows of a relation of the plan, as the plan asks for them.
    fn batch(
        &self,
        (side, relation): (Side, usize),
        rows: &Listed<'_>,
        cases: &[&Case],
    ) -> Result<Batch, AuthorError> {
        let planned = &self.side_plan(side).relations[relation];
        let tables = self.schema.side(side);
        let schema = &tables[planned.relation];
        let of: Vec<&Case> = rows.iter().map(|(case, _)| cases[*case]).collect();
        let column = |name: &String| {
            let logical = schema.column(name).map_or(Logical::Value, |column| column.logical);
            let cells: Vec<_> = rows.iter().map(|(_, row)| cell(row, name)).collect();
            let what = match tables.len() {
                1 => format!("column `{name}`"),
                _ => format!("column `{name}` of `{}`", schema.relation),
            };
            self.column(&what, logical, &cells, &of)
        };
        let columns = planned.columns.iter().map(column).collect::<Result<_, _>>()?;
        Ok(Batch { rows: rows.len(), columns })
    }

    /// Maps rows in one call.
    pub(super) fn map(
        &self,
        trial: &mut Trial,
        side: Side,
        rows: &Rows<'_>,
    ) -> Result<Tried, AuthorError> {
        let place = || match rows.groups {
            1 => format!("{}, one of its cases in a call", self.file.display()),
            cases => format!("{}, its {cases} cases in one call", self.file.display()),
        };
        trial.map(side, rows).map_err(|error| AuthorError::call(&error, place()))
    }

    /// Takes apart by group what a call gave.
    pub(super) fn taken_apart(&self, side: Side, rows: &Rows<'_>, tried: &Tried) -> Vec<Given> {
        let mut given = vec![Given::default(); rows.groups];
        let entities = tried.mapped.outputs.iter().flat_map(|output| {
            output.from_group.iter().enumerate().map(move |(row, group)| (output, row, group))
        });
        for (output, row, group) in entities {
            let entity = &self.plan().entities[output.entity];
            let fields = entity.fields.iter().zip(&output.entities.columns);
            let digested = fields
                .filter(|(field, _)| matches!(field.role, Role::Key | Role::Compared))
                .map(|(field, column)| {
                    (field.name.clone(), cells::shown(field.logical, column, row))
                });
            given[*group].digested.push(digested.collect());
            given[*group].entities.push(entity_line(entity, output, row));
        }
        let places: Vec<Vec<usize>> = rows.inputs.iter().map(places).collect();
        let mut notes: Vec<&Noted> = tried.notes.iter().collect();
        // Stable: of one row as they were told; what is of a whole group is the last.
        notes.sort_by_key(|note| note.place.map_or((true, (0, 0)), |place| (false, place)));
        for note in notes {
            let place = note.place.filter(|_| self.side_plan(side).relations.len() > 1);
            let place = place.map_or_else(String::new, |(input, row)| {
                let plan = &self.side_plan(side).relations[rows.inputs[input].relation];
                let relation = json!(self.schema.side(side)[plan.relation].relation);
                format!(r#""relation": {relation}, "row": {}, "#, places[input][row])
            });
            let (kind, message) = (json!(note.kind), json!(note.message));
            let note_line = format!(r#"{{{place}"kind": {kind}, "message": {message}}}"#);
            given[note.group].notes.push(note_line);
        }
        given
    }
}

/// Of each row which of its group's rows it is, among those of the relation.
fn places(input: &Input<'_>) -> Vec<usize> {
    let Some(group) = &input.group else { return vec![0; input.rows.rows] };
    let mut seen = std::collections::BTreeMap::new();
    let place = |group: &u32| {
        let next = seen.entry(*group).or_insert(0);
        *next += 1;
        *next - 1
    };
    group.iter().map(place).collect()
}

/// How a case of these relations is written.
fn remedy(tables: &[RelationSchema]) -> String {
    let row = |table: &RelationSchema| format!("\"{}\": [{{..}}]", table.relation);
    let rows = tables.iter().map(row).collect::<Vec<_>>().join(", ");
    match tables.len() {
        1 => format!("write {{\"case\": .., \"row\": {{..}}}}, or \"rows\": {{{rows}}}"),
        _ => format!("write {{\"case\": .., \"rows\": {{{rows}}}}}, of each relation its rows"),
    }
}

/// The cell of a column, or of what a pointer names; none where it is absent.
fn cell<'r>(row: &'r Json, column: &str) -> Option<&'r Json> {
    if column.starts_with('/') { row.pointer(column) } else { row.get(column) }
}
