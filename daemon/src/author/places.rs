//! Cases of locating.
//!
//! Owns what a case asks: where entities are kept, or which entities a store's key tells of; the call,
//! and its golden line. Refuses to judge. Invariant: what a plugin told is shown as it told it, in its
//! order.

use serde_json::{Value as Json, json};

use super::fixtures::Case;
use super::trial::Runner;
use super::{AuthorError, cells};
use crate::model::{Batch, FieldDef, Role, Side};
use crate::plugin::Output;
use crate::plugin::wasm::{Sought, Trial};

/// What a case asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Where the store of a side keeps an entity of a type.
    Locate(Side, usize),
    /// Which entities a key tells of: of a relation, by its position in the side's plan.
    KeysOf(Side, usize),
}

/// What a call told.
#[derive(Debug)]
pub(super) enum Told {
    /// Where entities are looked for.
    Keys(Vec<Sought>),
    /// Entities of which only their keys are known.
    Entities(Vec<Output>),
}

impl Runner<'_> {
    /// What a case asks.
    pub(super) fn question(&self, case: &Case) -> Result<Question, AuthorError> {
        let side = match case.json["side"].as_str() {
            Some("source") => Side::Source,
            Some("target") => Side::Target,
            _ => {
                let what = "`side` is neither source nor target".to_owned();
                return Err(self.wrong(case, what, "say which store it is about"));
            }
        };
        match (case.json.get("fields"), case.json.get("key")) {
            (Some(Json::Object(_)), None) => {
                let names = self.plan().entities.iter().map(|entity| entity.name.as_str());
                let entity = self.named(case, ("entity", "entity type"), names)?;
                Ok(Question::Locate(side, entity))
            }
            (None, Some(Json::Object(_))) => {
                let tables = self.schema.side(side);
                let names = tables.iter().map(|table| table.relation.as_str());
                let at = self.named(case, ("relation", "relation"), names)?;
                let mut planned = self.side_plan(side).relations.iter();
                let relation = planned.position(|plan| plan.relation == at).ok_or_else(|| {
                    let what = format!("the plan does not read `{}`", tables[at].relation);
                    self.wrong(case, what, "name a relation that the plugin reads")
                })?;
                Ok(Question::KeysOf(side, relation))
            }
            _ => {
                let what = "there is neither one entity's `fields` nor one `key`".to_owned();
                let remedy = "write \"fields\": {..} of an entity, or \"key\": {..} of a row, columns by name";
                Err(self.wrong(case, what, remedy))
            }
        }
    }

    /// What cases that ask the same ask about.
    pub(super) fn about(&self, question: Question, cases: &[&Case]) -> Result<Batch, AuthorError> {
        let key_columns;
        let (key, fields) = match question {
            Question::Locate(_, entity) => ("fields", &self.plan().entities[entity].fields),
            Question::KeysOf(side, relation) => {
                let relation = self.side_plan(side).relations[relation].relation;
                key_columns = self.key_columns(side, relation);
                ("key", &key_columns)
            }
        };
        let items: Vec<_> = cases.iter().map(|case| case.json.get(key)).collect();
        self.entities(fields, &items, cases)
    }

    /// The primary key of a relation of a side.
    fn key_columns(&self, side: Side, relation: usize) -> Vec<FieldDef> {
        let columns = self.schema.side(side)[relation].key_columns();
        let field = |column: &crate::model::ColumnDef| FieldDef {
            name: column.name.clone(),
            logical: column.logical,
            role: Role::Key,
            rules: Vec::new(),
        };
        columns.map(field).collect()
    }

    /// Asks the plugin, in one call.
    pub(super) fn ask(
        &self,
        trial: &mut Trial,
        question: Question,
        (about, cases): (&Batch, &[&Case]),
    ) -> Result<Told, AuthorError> {
        let told = match question {
            Question::Locate(side, entity) => trial.locate(side, entity, about).map(Told::Keys),
            Question::KeysOf(side, relation) => {
                trial.keys_of(side, relation, about).map(Told::Entities)
            }
        };
        told.map_err(|error| {
            let place = match cases {
                [case] => self.at(case),
                cases => format!("{}, {} cases in one call", self.file.display(), cases.len()),
            };
            AuthorError::call(&error, place)
        })
    }

    /// The golden lines of cases of locating, each of a call of its own.
    pub(super) fn place_lines<'c>(
        &self,
        trial: &mut Trial,
        cases: impl Iterator<Item = &'c Case>,
    ) -> Result<Vec<String>, AuthorError> {
        let line = |case: &Case| {
            let question = self.question(case)?;
            let about = self.about(question, &[case])?;
            let told = self.ask(trial, question, (&about, &[case]))?;
            let (key, all): (_, Vec<String>) = match (&told, question) {
                (Told::Keys(sought), Question::Locate(side, _) | Question::KeysOf(side, _)) => {
                    ("keys", sought.iter().flat_map(|it| self.keys(side, it)).collect())
                }
                (Told::Entities(known), _) => {
                    ("entities", known.iter().flat_map(|it| self.known(it)).collect())
                }
            };
            Ok(format!(r#"{{"case": {}, "{key}": [{}]}}"#, json!(case.name), all.join(", ")))
        };
        cases.map(line).collect()
    }

    /// Each key that an entity is looked for by.
    fn keys(&self, side: Side, sought: &Sought) -> Vec<String> {
        let relation = json!(self.schema.side(side)[sought.relation].relation);
        let (access, columns) = (json!(sought.access), self.key_columns(side, sought.relation));
        let key = |row| {
            let cells = cells_of(columns.iter().zip(&sought.keys.columns), row);
            format!(r#"{{"relation": {relation}, "access": {access}, "key": {{{cells}}}}}"#)
        };
        (0..sought.keys.rows).map(key).collect()
    }

    /// Each entity that a store's key tells of, by its key.
    fn known(&self, output: &Output) -> Vec<String> {
        let entity = &self.plan().entities[output.entity];
        let known = |row| {
            let fields = entity.fields.iter().zip(&output.entities.columns);
            let cells = cells_of(fields.filter(|(field, _)| field.role == Role::Key), row);
            format!(r#"{{"entity": {}, "key": {{{cells}}}}}"#, json!(entity.name))
        };
        (0..output.entities.rows).map(known).collect()
    }
}

/// Cells of a row by their names.
fn cells_of<'c>(
    columns: impl Iterator<Item = (&'c FieldDef, &'c crate::model::Column)>,
    row: usize,
) -> String {
    let cell = |(field, column): (&FieldDef, _)| {
        let cell = cells::shown(field.logical, column, row).unwrap_or(Json::Null);
        format!("{}: {}", json!(field.name), cells::spaced(&cell))
    };
    columns.map(cell).collect::<Vec<_>>().join(", ")
}
