//! Plugins as they were built against each release.
//!
//! Owns the run over `tests/corpus/`: a directory for each release, a plugin's directory for each plugin
//! in it, with the fixtures and golden files of that day (`plugins/sdk/FIXTURES.md`). Refuses to build or
//! update anything. Invariant: every plugin and every golden line that is there is tried, and a file of
//! cases without golden lines fails.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use driftd::author;
use driftd::model::{
    Batch, Column, ColumnDef, EntityDef, Logical, Moment, RelationSchema, Role, Scope, Side,
    SidePlan, Value,
};
use driftd::plugin::wasm::{Attached, Host};
use driftd::plugin::{Access, Binding, Code, Input, Output, Pairs, Place, Rows, Settings, Tally};
use serde_json::{Value as Json, json};

use super::{directories, name, repository, settings};

/// A plugin that is bound to the relations of a directory of fixtures.
struct Fixtures<'a> {
    directory: &'a Path,
    source: Vec<RelationSchema>,
    target: Vec<RelationSchema>,
    as_of: Moment,
    attached: Attached,
}

fn lines(path: &Path) -> Vec<Json> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn relation(json: &Json) -> RelationSchema {
    let column = |(name, logical): (&String, &Json)| ColumnDef {
        name: name.clone(),
        logical: Logical::parse(logical.as_str().unwrap()).unwrap(),
        nullable: true,
    };
    let columns: Vec<ColumnDef> = json["columns"].as_object().unwrap().iter().map(column).collect();
    let key = json["key"].as_array().unwrap().iter();
    let key = key.map(|key| columns.iter().position(|column| column.name == *key).unwrap());
    RelationSchema {
        relation: json["name"].as_str().unwrap().to_owned(),
        key: key.collect(),
        columns,
        open: true,
        partial: false,
    }
}

/// Microseconds of a text that begins with a date and a time of day; without an offset it is UTC.
fn micros(text: &str) -> i64 {
    let moment: Result<jiff::Timestamp, _> = text.parse();
    let moment = moment.or_else(|_| format!("{text}Z").parse());
    moment.unwrap_or_else(|error| panic!("{text}: {error}")).as_microsecond()
}

/// A column of cells in the notation of fixtures, as far as the corpus makes use of it.
fn column(logical: Logical, cells: &[Option<&Json>]) -> Column {
    let mut builder = logical.column(cells.len());
    for cell in cells {
        match (logical, cell) {
            (_, None) | (_, Some(Json::Null)) if logical != Logical::Value => builder.push_null(),
            (_, None) => builder.push_null(),
            (Logical::Value, Some(cell)) => {
                builder.push_bytes(&Value::from_json(cell).unwrap().to_cbor());
            }
            (Logical::Boolean, Some(Json::Bool(value))) => builder.push_i64(i64::from(*value)),
            (Logical::Date, Some(Json::String(text))) => {
                builder.push_i64(micros(&format!("{text}T00:00:00")) / 86_400_000_000);
            }
            (Logical::Timestamp | Logical::DateTime, Some(Json::String(text))) => {
                builder.push_i64(micros(text));
            }
            (_, Some(Json::String(text))) => builder.push_bytes(text.as_bytes()),
            (_, Some(cell)) => builder.push_i64(cell.as_i64().unwrap()),
        }
    }
    builder.finish()
}

/// The columns of `names`, of rows of a relation.
fn batch(schema: &RelationSchema, names: &[String], rows: &[&Json]) -> Batch {
    let column = |name: &String| {
        let logical = schema.column(name).unwrap().logical;
        let cell = |row: &&Json| -> Option<Json> {
            if name.starts_with('/') { row.pointer(name) } else { row.get(name) }.cloned()
        };
        let cells: Vec<Option<Json>> = rows.iter().map(cell).collect();
        self::column(logical, &cells.iter().map(Option::as_ref).collect::<Vec<_>>())
    };
    Batch { rows: rows.len(), columns: names.iter().map(column).collect() }
}

/// The entities of some cases, which may be null.
fn entities(entity: &EntityDef, cells: &[&Json]) -> Batch {
    let column = |field: &driftd::model::FieldDef| {
        let cells: Vec<Option<&Json>> = cells.iter().map(|case| case.get(&field.name)).collect();
        self::column(field.logical, &cells)
    };
    Batch { rows: cells.len(), columns: entity.fields.iter().map(column).collect() }
}

fn parsed(line: &str) -> Json {
    serde_json::from_str(line).unwrap()
}

impl Fixtures<'_> {
    fn side(&self, side: Side) -> (&[RelationSchema], &SidePlan) {
        let plan = self.attached.mapper.plan();
        match side {
            Side::Source => (&self.source, &plan.source),
            Side::Target => (&self.target, &plan.target),
        }
    }

    fn types(&self) -> &[EntityDef] {
        &self.attached.mapper.plan().entities
    }

    fn entity(&self, case: &Json) -> usize {
        let named = |name: &str| self.types().iter().position(|entity| entity.name == name);
        case["entity"].as_str().map_or(0, |name| named(name).unwrap())
    }

    /// What all cases of rows give in one call.
    fn rows(&self, side: Side, cases: &[Json]) -> Vec<Json> {
        let (schemas, plan) = self.side(side);
        let input = |(at, planned): (usize, &driftd::model::RelationPlan)| {
            let schema = &schemas[planned.relation];
            let (mut rows, mut group) = (Vec::new(), Vec::new());
            for (number, case) in (0..).zip(cases) {
                let row = case.get("row").into_iter();
                let several = case["rows"][&schema.relation].as_array().into_iter().flatten();
                for row in row.chain(several) {
                    rows.push(row);
                    group.push(number);
                }
            }
            let rows = batch(schema, &planned.columns, &rows);
            Input { relation: at, rows: std::borrow::Cow::Owned(rows), group: Some(group) }
        };
        let inputs = plan.relations.iter().enumerate().map(input).collect();
        let rows = Rows { inputs, groups: cases.len() };
        let tried = self.attached.trial(self.as_of).map(side, &rows).unwrap();
        let mut given = vec![(Vec::new(), Vec::new()); cases.len()];
        for output in &tried.mapped.outputs {
            for (row, case) in output.from_group.iter().enumerate() {
                let line = author::entity_line(&self.types()[output.entity], output, row);
                given[*case].0.push(parsed(&line));
            }
        }
        for note in tried.notes {
            given[note.group].1.push(json!({"kind": note.kind, "message": note.message}));
        }
        let line = |(case, (entities, notes)): (&Json, (Vec<Json>, Vec<Json>))| {
            let mut line = json!({"case": case["case"], "entities": entities});
            if !notes.is_empty() {
                line["notes"] = json!(notes);
            }
            line
        };
        cases.iter().zip(given).map(line).collect()
    }

    /// What all pairs give, and what rules over all of them say.
    fn pairs(&self, cases: &[Json]) -> Vec<Json> {
        let mut trial = self.attached.trial(self.as_of);
        let invariants = self.attached.mapper.invariants();
        let told = |it: &driftd::model::Violation| json!({"invariant": invariants[it.invariant].id, "message": it.message});
        let mut given = vec![Vec::new(); cases.len()];
        let mut states = vec![Vec::new(); invariants.len()];
        for (entity, def) in self.types().iter().enumerate() {
            let here: Vec<usize> =
                (0..cases.len()).filter(|at| self.entity(&cases[*at]) == entity).collect();
            let of = |side: &str| {
                let cells: Vec<&Json> = here.iter().map(|at| &cases[*at][side]).collect();
                let present: Vec<bool> = cells.iter().map(|cell| cell.is_object()).collect();
                (entities(def, &cells), present)
            };
            let ((source, source_present), (target, target_present)) = (of("source"), of("target"));
            let pairs = Pairs {
                entity,
                source: &source,
                source_present: &source_present,
                target: &target,
                target_present: &target_present,
            };
            for violation in trial.check_pairs(&pairs).unwrap() {
                given[here[violation.pair]].push(told(&violation.violation));
            }
            for (at, state) in states.iter_mut().enumerate() {
                if invariants[at].scope == Scope::Partition {
                    let pairs = Tally::Pairs(std::slice::from_ref(&pairs));
                    state.push(trial.tally(at, &pairs).unwrap().state);
                }
            }
        }
        let mut said = Vec::new();
        for (at, states) in states.iter().enumerate().filter(|(_, states)| !states.is_empty()) {
            let tallied = trial.tally(at, &Tally::States(states)).unwrap();
            said.extend(tallied.violations.iter().map(told));
        }
        let line =
            |(case, told): (&Json, &Vec<Json>)| json!({"case": case["case"], "violations": told});
        let mut lines: Vec<Json> = cases.iter().zip(&given).map(line).collect();
        lines.extend((!said.is_empty()).then(|| json!({"partition": said})));
        lines
    }

    /// Where entities are, and whose keys are whose; each case in a call of its own.
    fn places(&self, cases: &[Json]) -> Vec<Json> {
        let mut session = self.attached.mapper.begin(self.as_of).unwrap();
        let place = |case: &Json| {
            let side = match case["side"].as_str() {
                Some("source") => Side::Source,
                _ => Side::Target,
            };
            let (schemas, plan) = self.side(side);
            if case.get("key").is_some() {
                let named = |schema: &RelationSchema| {
                    Some(schema.relation.as_str()) == case["relation"].as_str()
                };
                let number = schemas.iter().position(named).unwrap_or(0);
                let relation = plan.relations.iter().position(|it| it.relation == number).unwrap();
                let schema = &schemas[number];
                let names: Vec<String> = schema.key_columns().map(|it| it.name.clone()).collect();
                let keys = batch(schema, &names, &[&case["key"]]);
                let known = session.keys_of(side, relation, &keys).unwrap();
                let found: Vec<Json> = known.iter().flat_map(|it| self.keyed(it)).collect();
                return json!({"case": case["case"], "entities": found});
            }
            let entity = self.entity(case);
            let one = entities(&self.types()[entity], &[&case["fields"]]);
            let located = session.locate(side, entity, &one).unwrap();
            let keys = located.iter().flat_map(|at| {
                let schema = &schemas[plan.relations[at.relation].relation];
                let names: Vec<String> = schema.key_columns().map(|it| it.name.clone()).collect();
                let access = if at.access == Access::Get { "get" } else { "query" };
                let key = move |row| {
                    let key = parsed(&author::row_line(schema, &names, &at.keys, row));
                    json!({"relation": schema.relation, "access": access, "key": key})
                };
                (0..at.keys.rows).map(key)
            });
            json!({"case": case["case"], "keys": keys.collect::<Vec<_>>()})
        };
        cases.iter().map(place).collect()
    }

    /// The key fields of entities of which no more is known.
    fn keyed(&self, output: &Output) -> Vec<Json> {
        let entity = &self.types()[output.entity];
        let keyed = |row| {
            let line = parsed(&author::entity_line(entity, output, row));
            let fields = line["fields"].as_object().unwrap().iter().filter(|(name, _)| {
                let is_key = |field: &driftd::model::FieldDef| field.role == Role::Key;
                entity.fields.iter().any(|field| field.name == **name && is_key(field))
            });
            let key: BTreeMap<_, _> = fields.collect();
            json!({"entity": entity.name, "key": key})
        };
        (0..output.entities.rows).map(keyed).collect()
    }

    /// Runs every file of cases, and says how many cases there were.
    fn run(&self) -> usize {
        let mut count = 0;
        let mut files: Vec<_> =
            fs::read_dir(self.directory).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        for file in files {
            let kind = match name(&file).strip_suffix(".jsonl") {
                Some(stem) if !stem.ends_with(".golden") => stem.to_owned(),
                _ => continue,
            };
            let cases = lines(&file);
            count += cases.len();
            let given = match kind.rsplit('.').next().unwrap() {
                "source" => self.rows(Side::Source, &cases),
                "target" => self.rows(Side::Target, &cases),
                "pairs" => self.pairs(&cases),
                "places" => self.places(&cases),
                other => panic!("{file:?}: no kind of cases: {other}"),
            };
            let mut golden = lines(&file.with_extension("golden.jsonl"));
            for note in golden.iter_mut().flat_map(|line| line["notes"].as_array_mut()).flatten() {
                // Which row of a group it was stays with the plugin.
                let note = note.as_object_mut().unwrap();
                note.retain(|name, _| name != "relation" && name != "row");
            }
            // A line without notes is none with null.
            for line in &mut golden {
                line.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            }
            assert_eq!(given.len(), golden.len(), "{file:?}");
            for (given, golden) in given.iter().zip(&golden) {
                assert_eq!(given, golden, "{file:?}");
            }
        }
        count
    }
}

/// Runs a directory of fixtures and those below it, and says how many cases there were. `notes` is what
/// the host has to say of the plugin.
pub(super) fn run(host: &Host, settings: &Settings, directory: &Path, notes: &[String]) -> usize {
    let below: usize =
        directories(directory).iter().map(|below| run(host, settings, below, notes)).sum();
    let schema = parsed(&fs::read_to_string(directory.join("schema.json")).unwrap());
    let relations =
        |side: &str| schema[side].as_array().unwrap().iter().map(relation).collect::<Vec<_>>();
    let (source, target) = (relations("source"), relations("target"));
    let binding = Binding {
        pairing: schema["pairing"].as_str().unwrap(),
        source: Place { schemas: &source, key: None },
        target: Place { schemas: &target, key: None },
    };
    let config = schema.get("config").cloned().unwrap_or_else(|| json!({}));
    let loaded = host.load(settings).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let loaded = loaded.configured(&config);
    let attached = loaded.bind(&binding).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    assert_eq!(attached.notes, notes, "{directory:?}");
    let as_of = Moment(micros(schema["as-of"].as_str().unwrap_or("2024-01-01T00:00:00Z")));
    below + Fixtures { directory, source, target, as_of, attached }.run()
}

#[test]
fn plugins_of_every_release_map_as_they_did() {
    let host = Host::new();
    let releases = directories(&repository("tests/corpus"));
    let names: Vec<String> = releases.iter().map(|release| name(release)).collect();
    let released: Vec<String> =
        directories(&repository("wit/released")).iter().map(|release| name(release)).collect();
    assert_eq!(names, released, "every release left a contract and plugins that were built for it");
    for release in releases {
        let plugins = directories(&release);
        assert!(!plugins.is_empty(), "{release:?}");
        for plugin in plugins {
            let code = Code::File(plugin.join(format!("{}.wasm", name(&plugin))));
            let settings = settings(&name(&plugin), code);
            let cases = run(&host, &settings, &plugin.join("fixtures"), &[]);
            assert!(cases > 10, "{plugin:?}: {cases} cases");
        }
    }
}
