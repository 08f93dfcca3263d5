//! What mapping costs: nanoseconds a row of ten columns, in batches of 1,024, with every guard on.
//!
//! `cargo bench --bench plugin`. Prints the best and the median of many rounds for the `users` plugin
//! and for the built-in mapping.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]

use std::sync::Arc;
use std::time::Instant;

use driftd::model::{Batch, ColumnBuilder, ColumnDef, Logical, Moment, RelationSchema, Role, Side};
use driftd::plugin::builtin::{self, BuiltIn};
use driftd::plugin::wasm::Host;
use driftd::plugin::{Binding, Code, Limits, Mapper, Place, Rows, Settings, USERS_WASM};

const ROWS: usize = 1_024;
const ROUNDS: usize = 500;
const COLUMNS: [(&str, Logical); 10] = [
    ("id", Logical::Integer),
    ("tenant", Logical::Text),
    ("email", Logical::Text),
    ("name", Logical::Text),
    ("status", Logical::Enum),
    ("balance", Logical::Decimal),
    ("birthday", Logical::Date),
    ("created_at", Logical::Timestamp),
    ("updated_at", Logical::Timestamp),
    ("migrated", Logical::Integer),
];

fn main() {
    let schema = |relation: &str, columns: &[(&str, Logical)], open| RelationSchema {
        relation: relation.to_owned(),
        columns: columns
            .iter()
            .map(|(name, logical)| ColumnDef {
                name: (*name).to_owned(),
                logical: *logical,
                nullable: true,
            })
            .collect(),
        key: vec![0],
        open,
    };
    let source = schema("users", &COLUMNS, false);
    let target = schema("shop", &[("pk", Logical::Text), ("sk", Logical::Text)], true);
    let binding = Binding {
        pairing: "users",
        source: Place { schemas: std::slice::from_ref(&source), key: None },
        target: Place { schemas: std::slice::from_ref(&target), key: None },
    };
    let settings = Settings {
        name: "users".to_owned(),
        code: Code::Embedded(USERS_WASM),
        config: serde_json::json!({}),
        limits: Limits::default(),
    };
    let plugin = Host::new().load(&settings).expect("it loads").bind(&binding).expect("it binds");
    let rows = users();
    measure("users plugin, source rows", &plugin.mapper, Side::Source, &rows);
    measure("users plugin, target items", &plugin.mapper, Side::Target, &items());

    let field = |(name, _): &(&str, Logical)| builtin::Field {
        name: (*name).to_owned(),
        role: if *name == "id" { Role::Key } else { Role::Compared },
        logical: (*name == "birthday").then_some(Logical::Value),
        source: (*name).to_owned(),
        target: (*name).to_owned(),
        rules: vec![],
    };
    let settings = builtin::Settings {
        entity: "user".to_owned(),
        fields: COLUMNS.iter().map(field).collect(),
        ignore_source: vec![],
        ignore_target: vec![],
    };
    let built_in: Arc<dyn Mapper> = Arc::new(BuiltIn::new(&settings, &binding).expect("it binds"));
    measure("built-in, every column to dynamic cells", &built_in, Side::Source, &rows);
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(what: &str, mapper: &Arc<dyn Mapper>, side: Side, rows: &Batch) {
    let mut session = mapper.begin(Moment(0)).expect("it begins");
    let mut rounds: Vec<u128> = (0..ROUNDS)
        .map(|_| {
            let began = Instant::now();
            let mapped = session.map(side, &Rows::each(0, rows)).expect("it maps");
            assert_eq!(mapped.outputs[0].entities.rows, ROWS);
            began.elapsed().as_nanos()
        })
        .collect();
    rounds.sort_unstable();
    let per_row = |nanos: u128| nanos / ROWS as u128;
    println!("{what}: {} ns/row best, {} median", per_row(rounds[0]), per_row(rounds[ROUNDS / 2]));
}

fn users() -> Batch {
    let mut columns = Vec::new();
    for (name, logical) in COLUMNS {
        let in_bytes = [Logical::Text, Logical::Enum, Logical::Decimal].contains(&logical);
        let mut column =
            if in_bytes { ColumnBuilder::bytes(ROWS) } else { ColumnBuilder::int64(ROWS) };
        for row in 0..ROWS {
            let number = i64::try_from(row).expect("small");
            match name {
                "balance" => column.push_bytes(format!("{number}.25").as_bytes()),
                "status" => column.push_bytes(b"active"),
                "id" | "birthday" => column.push_i64(number),
                "migrated" => column.push_i64(1),
                _ if in_bytes => column.push_bytes(format!("{name} of number {row}").as_bytes()),
                _ => column.push_i64(1_704_164_645_123_456 + number),
            }
        }
        columns.push(column.finish());
    }
    Batch { rows: ROWS, columns }
}

fn items() -> Batch {
    use driftd::model::cbor;
    let mut columns: Vec<_> = (0..9).map(|_| ColumnBuilder::bytes(ROWS)).collect();
    for row in 0..ROWS {
        let number = i128::try_from(row).expect("small");
        columns[0].push_bytes(format!("TENANT#{row}").as_bytes());
        columns[1].push_bytes(format!("USER#{row}").as_bytes());
        columns[2].write_bytes(|out| cbor::text(out, &format!("user{row}@example.org")));
        columns[3].write_bytes(|out| cbor::text(out, &format!("name of number {row}")));
        columns[4].write_bytes(|out| cbor::integer(out, 1));
        columns[5].write_bytes(|out| cbor::integer(out, number * 100 + 25));
        columns[6].write_bytes(|out| cbor::text(out, "1990-02-28"));
        columns[7].write_bytes(|out| cbor::text(out, "2024-01-02T03:04:05.123456Z"));
        columns[8].write_bytes(|out| cbor::integer(out, 1_704_164_645_123_456 + number));
    }
    Batch { rows: ROWS, columns: columns.into_iter().map(ColumnBuilder::finish).collect() }
}
