//! What a canonical form costs: nanoseconds a row of ten columns, in pages of 1,024, to canonicalise,
//! digest and add it to a set, and to compare two sets that are alike.
//!
//! `cargo bench --bench compare`. Prints the best and the median of many rounds.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]

use std::time::Instant;

use driftd::compare::{Asks, Canon, EntitySet, Stands, compare};
use driftd::model::{
    Batch, Column, ColumnBuilder, EntityDef, FieldDef, Logical, Role, Standing, cbor,
};

const ROWS: usize = 1_024;
const ROUNDS: usize = 1_000;
/// Name, type, role, and what stands in it.
const FIELDS: [(&str, Logical, Role); 10] = [
    ("id", Logical::Integer, Role::Key),
    ("tenant", Logical::Text, Role::Label),
    ("email", Logical::Text, Role::Compared),
    ("name", Logical::Text, Role::Compared),
    ("status", Logical::Enum, Role::Compared),
    ("balance", Logical::Decimal, Role::Compared),
    ("birthday", Logical::Date, Role::Compared),
    ("created_at", Logical::Timestamp, Role::Compared),
    ("updated_at", Logical::Timestamp, Role::Version),
    ("migrated", Logical::Integer, Role::Compared),
];

fn main() {
    let typed: Vec<Column> =
        FIELDS.iter().map(|(name, logical, _)| column(name, *logical)).collect();
    measure("typed columns", &FIELDS.map(|(_, logical, _)| logical), typed);
    measure(
        "dynamic cells",
        &[Logical::Value; 10],
        FIELDS.iter().map(|(name, ..)| cells(name)).collect(),
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(what: &str, logicals: &[Logical; 10], columns: Vec<Column>) {
    let fields = FIELDS.iter().zip(logicals).map(|((name, _, role), logical)| FieldDef {
        name: (*name).to_owned(),
        logical: *logical,
        role: *role,
        rules: Vec::new(),
    });
    let entity = EntityDef { name: "user".to_owned(), fields: fields.collect() };
    let canon = Canon::new(&entity, [7; 32]).expect("it has a key");
    let entities = Batch { rows: ROWS, columns };
    let standing = vec![Standing::Present; ROWS];
    let (mut adding, mut comparing) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let sets: [EntitySet; 2] = std::array::from_fn(|_| {
            let page = entities.clone();
            let mut set = EntitySet::default();
            let began = Instant::now();
            let faults = set.add(&canon, page, 0, Stands { standing: &standing, misplaced: &[] });
            adding.push(began.elapsed().as_nanos());
            assert_eq!(faults, []);
            set
        });
        let began = Instant::now();
        let asks = Asks { pairs: true, by: None };
        let comparison = compare(std::slice::from_ref(&canon), &sets[0], &sets[1], asks);
        comparing.push(began.elapsed().as_nanos());
        assert_eq!(comparison.same, ROWS as u64);
    }
    tell(&format!("{what}, canonicalise and digest"), adding);
    tell(&format!("{what}, compare what is alike"), comparing);
}

fn tell(what: &str, mut rounds: Vec<u128>) {
    rounds.sort_unstable();
    let per_row = |nanos: u128| nanos / ROWS as u128;
    println!(
        "{what}: {} ns/row best, {} median",
        per_row(rounds[0]),
        per_row(rounds[rounds.len() / 2])
    );
}

fn text(name: &str, row: usize) -> String {
    match name {
        "tenant" => format!("tenant-{}", row % 100),
        "email" => format!("user{row}@example.org"),
        "name" => format!("The Name Of User {row}"),
        "balance" => format!("{}.{:02}", 10 + row, row % 100),
        _ => "suspended".to_owned(),
    }
}

fn number(name: &str, row: usize) -> i64 {
    let row = i64::try_from(row).expect("small");
    match name {
        "id" => row,
        "birthday" => 3_652 + row,
        "migrated" => 1,
        _ => 1_700_000_000_000_000 + row,
    }
}

fn column(name: &str, logical: Logical) -> Column {
    let in_bytes = matches!(logical, Logical::Text | Logical::Enum | Logical::Decimal);
    let mut column = if in_bytes { ColumnBuilder::bytes(ROWS) } else { ColumnBuilder::int64(ROWS) };
    for row in 0..ROWS {
        if in_bytes {
            column.push_bytes(text(name, row).as_bytes());
        } else {
            column.push_i64(number(name, row));
        }
    }
    column.finish()
}

fn cells(name: &str) -> Column {
    let mut column = ColumnBuilder::bytes(ROWS);
    for row in 0..ROWS {
        column.write_bytes(|out| match name {
            "id" | "migrated" => cbor::integer(out, i128::from(number(name, row))),
            "birthday" => cbor::date(out, number(name, row)),
            "created_at" | "updated_at" => cbor::timestamp(out, number(name, row)),
            _ => cbor::text(out, &text(name, row)),
        });
    }
    column.finish()
}
