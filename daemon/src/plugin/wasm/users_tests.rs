//! The `users` plugin on its fixtures: the committed file, the one that `plugins/build.sh
//! plugins/target/fresh` made, where it did, and those in other languages, which are built here.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value as Json, json};

use super::*;
use crate::model::{
    Batch, Buffer, Column, ColumnBuilder, ColumnDef, FieldDef, Logical, Moment, Number,
    RelationSchema, Side, Standing, Value, text,
};
use crate::plugin::template::{KeyTemplate, Template};
use crate::plugin::{Limits, PairViolation, Pairs, Place, Rows, Session};

const COLUMNS: [&str; 10] = [
    "id",
    "tenant",
    "email",
    "name",
    "status",
    "balance",
    "birthday",
    "created_at",
    "updated_at",
    "migrated",
];

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins")
}

/// The committed file and, where it was built, a fresh one.
fn files() -> Vec<PathBuf> {
    let fresh = plugins().join("target/fresh/users.wasm");
    let committed = plugins().join("users/users.wasm");
    [committed].into_iter().chain(fresh.exists().then_some(fresh)).collect()
}

fn settings(file: PathBuf) -> Settings {
    Settings {
        name: "users".to_owned(),
        code: Code::File(file),
        config: json!({}),
        limits: Limits::default(),
    }
}

fn schema(relation: &str, columns: &[(&str, Logical)], open: bool) -> RelationSchema {
    let column = |(name, logical): &(&str, Logical)| ColumnDef {
        name: (*name).to_owned(),
        logical: *logical,
        nullable: true,
    };
    RelationSchema {
        relation: relation.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: if open { vec![0, 1] } else { vec![0] },
        open,
        partial: false,
    }
}

/// A source whose times are counted, and one where everything is text.
fn source(counted: bool) -> RelationSchema {
    use Logical as L;
    let types = if counted {
        [
            L::Integer,
            L::Text,
            L::Text,
            L::Text,
            L::Enum,
            L::Decimal,
            L::Date,
            L::Timestamp,
            L::DateTime,
            L::Boolean,
        ]
    } else {
        [
            L::Integer,
            L::Text,
            L::Text,
            L::Text,
            L::Text,
            L::Text,
            L::Text,
            L::Text,
            L::Text,
            L::Integer,
        ]
    };
    let columns: Vec<_> = COLUMNS.into_iter().zip(types).collect();
    schema("users", &columns, false)
}

fn target() -> RelationSchema {
    schema("shop", &[("pk", Logical::Text), ("sk", Logical::Text)], true)
}

fn attach(file: PathBuf, source: &RelationSchema) -> Arc<dyn Mapper> {
    let loaded = Host::new().load(&settings(file)).unwrap();
    let template = |text: &str| Template::parse(text).unwrap();
    let key = KeyTemplate {
        columns: vec![
            ("pk".to_owned(), template("TENANT#{tenant}")),
            ("sk".to_owned(), template("USER#{id}")),
        ],
    };
    let target = target();
    let binding = Binding {
        pairing: "users",
        source: Place { schemas: std::slice::from_ref(source), key: None },
        target: Place { schemas: std::slice::from_ref(&target), key: Some(&key) },
    };
    let attached = loaded.bind(&binding).unwrap();
    assert_eq!(attached.about.name, "users");
    assert!(attached.notes.is_empty());
    attached.mapper
}

fn fixtures(name: &str) -> Vec<Json> {
    let text = std::fs::read_to_string(plugins().join("users/fixtures").join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A column of type `logical` with these cells; times and dates are given as text.
fn column<'a>(logical: Logical, cells: impl Iterator<Item = &'a Json>) -> Column {
    let in_bytes = [Logical::Text, Logical::Enum, Logical::Decimal, Logical::Value];
    let mut builder =
        if in_bytes.contains(&logical) { ColumnBuilder::bytes(0) } else { ColumnBuilder::int64(0) };
    for cell in cells {
        let time = || text::read_stamp(cell.as_str().unwrap()).unwrap().local;
        match (logical, cell) {
            (Logical::Value, Json::Null) => builder.push_null(),
            (Logical::Value, cell) => {
                builder.push_bytes(&Value::from_json(cell).unwrap().to_cbor());
            }
            (_, Json::Null) => builder.push_null(),
            (Logical::Date, Json::String(text)) => {
                builder.push_i64(text::read_date(text).unwrap());
            }
            (Logical::Timestamp | Logical::DateTime, _) => builder.push_i64(time()),
            (_, Json::String(text)) => builder.push_bytes(text.as_bytes()),
            (_, number) => builder.push_i64(number.as_i64().unwrap()),
        }
    }
    builder.finish()
}

fn rows(schema: &RelationSchema, columns: &[String], cases: &[Json]) -> Batch {
    let column = |name: &String| {
        let cells = cases.iter().map(|case| {
            let pointer = if name.starts_with('/') { name.clone() } else { format!("/{name}") };
            case["row"].pointer(&pointer).unwrap_or(&Json::Null)
        });
        self::column(schema.column(name).unwrap().logical, cells)
    };
    Batch { rows: cases.len(), columns: columns.iter().map(column).collect() }
}

fn entity(fields: &[FieldDef], batch: &Batch, row: usize) -> Json {
    let cell = |(field, column): (&FieldDef, &Column)| {
        let mut text = Vec::new();
        let cell = match (field.logical, column.integer(row), column.bytes(row)) {
            (_, None, None) => Json::Null,
            (Logical::Date, Some(days), _) => {
                assert!(text::write_date(&mut text, i64::try_from(days).unwrap()));
                Json::Null
            }
            (Logical::Timestamp, Some(micros), _) => {
                assert!(text::write_timestamp(&mut text, i64::try_from(micros).unwrap()));
                Json::Null
            }
            (_, Some(integer), _) => json!(i64::try_from(integer).unwrap()),
            (Logical::Decimal, _, Some(bytes)) => {
                json!(Number::parse(std::str::from_utf8(bytes).unwrap()).unwrap().to_string())
            }
            (_, _, Some(bytes)) => json!(std::str::from_utf8(bytes).unwrap()),
        };
        let cell = if text.is_empty() { cell } else { json!(String::from_utf8(text).unwrap()) };
        (field.name.clone(), cell)
    };
    Json::Object(fields.iter().zip(&batch.columns).map(cell).collect())
}

fn check(mapper: &dyn Mapper, side: Side, schema: &RelationSchema, cases: &[Json]) {
    let plan = match side {
        Side::Source => &mapper.plan().source,
        Side::Target => &mapper.plan().target,
    };
    let batch = rows(schema, &plan.relations[0].columns, cases);
    let mapped = mapper.begin(Moment(0)).unwrap().map(side, &Rows::each(0, &batch)).unwrap();
    let fields = &mapper.plan().entities[0].fields;
    for (row, case) in cases.iter().enumerate() {
        let name = &case["case"];
        if let Some(reason) = case["reject"].as_str() {
            let told = mapped.rejected.iter().find(|(rejected, _)| *rejected == row);
            assert_eq!(told.map(|(_, why)| why.as_str()), Some(reason), "{name}");
            assert!(!mapped.outputs[0].from_group.contains(&row), "{name}");
            continue;
        }
        let at = mapped.outputs[0].from_group.iter().position(|from| *from == row);
        let at = at.unwrap_or_else(|| panic!("{name}: {:?}", mapped.rejected));
        let standing = match mapped.outputs[0].standing[at] {
            Standing::Present => "present",
            Standing::Absent => "absent",
            Standing::Excluded => "excluded",
        };
        assert_eq!(case["standing"], standing, "{name}");
        assert_eq!(case["entity"], entity(fields, &mapped.outputs[0].entities, at), "{name}");
    }
}

#[test]
fn rows_of_either_side_become_the_entities_of_the_fixtures() {
    for file in files() {
        for counted in [true, false] {
            let source = source(counted);
            let mapper = attach(file.clone(), &source);
            check(&*mapper, Side::Source, &source, &fixtures("source.jsonl"));
            check(&*mapper, Side::Target, &target(), &fixtures("target.jsonl"));
            if !counted {
                check(&*mapper, Side::Source, &source, &fixtures("source-text.jsonl"));
            }
        }
    }
}

/// Builds the plugin in another language; quick when nothing changed.
fn built(language: &str) -> PathBuf {
    let script = plugins().join("guests.sh");
    let done = Command::new(script).arg(format!("users-{language}")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "guests.sh users-{language}: {said}");
    plugins().join(format!("target/guests/users-{language}.wasm"))
}

fn bound(loaded: &Loaded, source: &RelationSchema) -> Result<Attached, AttachError> {
    let (place, target) =
        (|schema| Place { schemas: std::slice::from_ref(schema), key: None }, target());
    loaded.bind(&Binding { pairing: "users", source: place(source), target: place(&target) })
}

/// What rows give, as lines of a golden file.
fn golden_rows(
    mapper: &dyn Mapper,
    side: Side,
    schema: &RelationSchema,
    cases: &[Json],
) -> Vec<Json> {
    let plan = match side {
        Side::Source => &mapper.plan().source,
        Side::Target => &mapper.plan().target,
    };
    let batch = rows(schema, &plan.relations[0].columns, cases);
    let mapped = mapper.begin(Moment(0)).unwrap().map(side, &Rows::each(0, &batch)).unwrap();
    let entity_type = &mapper.plan().entities[0];
    let line = |(row, case): (usize, &Json)| {
        let entity = |at: usize| {
            let standing = match mapped.outputs[0].standing[at] {
                Standing::Present => "present",
                Standing::Absent => "absent",
                Standing::Excluded => "excluded",
            };
            let fields = entity(&entity_type.fields, &mapped.outputs[0].entities, at);
            json!({"entity": entity_type.name, "standing": standing, "fields": fields})
        };
        let here = (0..mapped.outputs[0].from_group.len())
            .filter(|at| mapped.outputs[0].from_group[*at] == row);
        let entities: Vec<_> = here.map(entity).collect();
        let notes = mapped.rejected.iter().filter(|(rejected, _)| *rejected == row);
        let notes = notes.map(|(_, why)| json!({"kind": "reject", "message": why}));
        let notes: Vec<_> = notes.collect();
        let mut line = json!({"case": case["case"], "entities": entities});
        if !notes.is_empty() {
            line["notes"] = json!(notes);
        }
        line
    };
    cases.iter().enumerate().map(line).collect()
}

/// Compares every case, among the others and alone, with its golden line.
fn check_golden(mapper: &dyn Mapper, schema: &RelationSchema, name: &str) {
    let side = if name.ends_with("source") { Side::Source } else { Side::Target };
    let cases = fixtures(&format!("{name}.jsonl"));
    let golden = fixtures(&format!("{name}.golden.jsonl"));
    assert_eq!(golden_rows(mapper, side, schema, &cases), golden);
    for (case, line) in cases.iter().zip(golden) {
        let alone = golden_rows(mapper, side, schema, std::slice::from_ref(case));
        assert_eq!(alone, [line]);
    }
}

/// Other than Rust: the same entities, rejections, violations and refusals, within default limits.
fn check_language(language: &str) {
    let (counted, text) = (source(true), source(false));
    let loaded = Host::new().load(&settings(built(language))).unwrap();
    let mapper = bound(&loaded, &counted).unwrap().mapper;
    check_golden(&*mapper, &counted, "source");
    check_golden(&*mapper, &target(), "target");
    check_golden(&*bound(&loaded, &text).unwrap().mapper, &text, "text/source");
    check_pairs(&*mapper);

    let mut session = mapper.begin(Moment(0)).unwrap();
    let ordinary = &fixtures("target.jsonl")[..4];
    let many: Vec<Json> = ordinary.iter().cycle().take(1024).cloned().collect();
    let batch = rows(&target(), &mapper.plan().target.relations[0].columns, &many);
    assert_eq!(
        session.map(Side::Target, &Rows::each(0, &batch)).unwrap().outputs[0].entities.rows,
        1024
    );

    let mut wrong = counted;
    wrong.columns[0].logical = Logical::Text;
    wrong.columns[5].logical = Logical::Float;
    let parse = if language == "js" { "parseInteger" } else { "parse_integer" };
    assert_eq!(
        bound(&loaded, &wrong).unwrap_err().to_string(),
        format!(
            "plugin `users`, plan: column `id` of the source is of type text; this plugin can read \
             integer; write `.text(\"id\").{parse}()`\n  column `balance` of the source is of type \
             float; this plugin can read decimal, text, integer; write `.float(\"balance\")`, which \
             reads it as what it is; `.map(..)` makes another kind of it"
        )
    );
}

#[test]
fn the_plugin_in_javascript_is_the_same() {
    check_language("js");
}

#[test]
fn the_plugin_in_python_is_the_same() {
    check_language("python");
}

#[test]
fn the_same_user_is_the_same_entity_on_both_sides() {
    let source = source(true);
    let mapper = attach(plugins().join("users/users.wasm"), &source);
    let (given, items) = (&fixtures("source.jsonl")[..1], &fixtures("target.jsonl")[..1]);
    let mut session = mapper.begin(Moment(0)).unwrap();
    let mut mapped = |side, schema, cases| {
        let plan = match side {
            Side::Source => &mapper.plan().source,
            Side::Target => &mapper.plan().target,
        };
        let batch = rows(schema, &plan.relations[0].columns, cases);
        session.map(side, &Rows::each(0, &batch)).unwrap().outputs.remove(0).entities
    };
    let (one, two) = (mapped(Side::Source, &source, given), mapped(Side::Target, &target(), items));
    assert_eq!(one, two);
    let located = session.locate(Side::Target, 0, &one).unwrap();
    assert_eq!(located[0].keys.columns[0].bytes(0), Some(&b"TENANT#acme"[..]));
    assert_eq!(located[0].keys.columns[1].bytes(0), Some(&b"USER#7"[..]));
}

#[test]
fn invariants_hold_or_not_as_in_the_fixtures() {
    for file in files() {
        check_pairs(&*attach(file, &source(true)));
    }
}

fn check_pairs(mapper: &dyn Mapper) {
    let cases = fixtures("pairs.jsonl");
    let fields = &mapper.plan().entities[0].fields;
    let side = |side: &str| {
        let column = |field: &FieldDef| {
            let cell = |case: &Json| case[side][field.name.as_str()].clone();
            let cells: Vec<_> = cases.iter().map(cell).collect();
            let logical = field.logical;
            self::column(logical, cells.iter())
        };
        Batch { rows: cases.len(), columns: fields.iter().map(column).collect() }
    };
    let present = |side: &str| cases.iter().map(|case| !case[side].is_null()).collect::<Vec<_>>();
    let mut session = mapper.begin(Moment(0)).unwrap();
    let violations = session
        .check_pairs(&Pairs {
            entity: 0,
            source: &side("source"),
            source_present: &present("source"),
            target: &side("target"),
            target_present: &present("target"),
        })
        .unwrap();
    for (pair, case) in fixtures("pairs.golden.jsonl").iter().enumerate() {
        let told: Vec<_> = violations
            .iter()
            .filter(|violation| violation.pair == pair)
            .map(|PairViolation { violation, .. }| {
                let rule = &mapper.invariants()[violation.invariant];
                json!({"invariant": rule.id, "message": violation.message})
            })
            .collect();
        assert_eq!(case["violations"], json!(told), "{}", case["case"]);
    }
}

#[test]
fn a_source_of_other_types_is_refused_with_every_column() {
    let mut schema = source(true);
    schema.columns[0].logical = Logical::Text;
    schema.columns[5].logical = Logical::Float;
    schema.columns[7].name = "createdat".to_owned();
    let loaded = Host::new().load(&settings(plugins().join("users/users.wasm"))).unwrap();
    let bind = |schema: &RelationSchema| {
        let place = |schema| Place { schemas: std::slice::from_ref(schema), key: None };
        let target = target();
        let binding = Binding { pairing: "users", source: place(schema), target: place(&target) };
        loaded.bind(&binding).unwrap_err().to_string()
    };
    assert_eq!(
        bind(&schema),
        "plugin `users`, plan: column `id` of the source is of type text; this plugin can read \
         integer; write `.text(\"id\").parse_integer()`\n  column `balance` of the source is of type \
         float; this plugin can read decimal, text, integer; write `.float(\"balance\")`, which reads \
         it as what it is; `.map(..)` makes another kind of it"
    );
    schema.columns[0].logical = Logical::Integer;
    schema.columns[5].logical = Logical::Decimal;
    assert_eq!(
        bind(&schema),
        "plugin `users`, its plan: /source/relations/0/columns/7: the source's relation `users` has \
         no column `created_at`; nearest: `createdat`, `updated_at`"
    );
}

#[test]
fn a_batch_may_be_cut_anywhere() {
    let source = source(true);
    let mapper = attach(plugins().join("users/users.wasm"), &source);
    let cases: Vec<Json> = fixtures("source.jsonl").into_iter().cycle().take(37).collect();
    let batch = rows(&source, &mapper.plan().source.relations[0].columns, &cases);
    let whole = mapper.begin(Moment(0)).unwrap().map(Side::Source, &Rows::each(0, &batch)).unwrap();
    let mut session: Box<dyn Session> = mapper.begin(Moment(0)).unwrap();
    let mut joined = Batch::default();
    for cut in [0..5, 5..5, 5..6, 6..37] {
        let part = batch.take(&cut.collect::<Vec<_>>());
        let mapped = session.map(Side::Source, &Rows::each(0, &part)).unwrap();
        if mapped.outputs[0].entities.rows > 0 {
            joined.append(&mapped.outputs[0].entities);
        }
    }
    assert_eq!(joined.rows, whole.outputs[0].entities.rows);
    for (one, two) in joined.columns.iter().zip(&whole.outputs[0].entities.columns) {
        for row in 0..joined.rows {
            assert_eq!((one.bytes(row), one.integer(row)), (two.bytes(row), two.integer(row)));
        }
    }
    assert!(matches!(whole.outputs[0].entities.columns[0].values, Buffer::Int64(_)));
}
