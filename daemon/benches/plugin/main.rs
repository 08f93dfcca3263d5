//! What mapping costs: nanoseconds a row of ten columns, in batches of 1,024.
//!
//! `cargo bench --bench plugin`. Prints the best and the median of many rounds for the `users` plugin with
//! every guard on, without any, and for the same mapping in native code, of rows and of items; then what
//! of that is promised, and whether it holds: a row may cost so much over native code, and the guards so
//! much of what an entity costs, which is mapped from its row and from its item. A promise that does not
//! hold fails the run. What is compared is measured by turns, so that a machine that is busy is so for all.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]

mod bare;
mod native;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use driftd::model::{
    Batch, ColumnBuilder, ColumnDef, Logical, Moment, Number, RelationSchema, Role, Side,
};
use driftd::plugin::builtin::{self, BuiltIn};
use driftd::plugin::wasm::Host;
use driftd::plugin::{
    Binding, Code, Limits, Mapper, Output, Place, Rows, Session, Settings, USERS_WASM, guarded,
};

use self::bare::Bare;
use self::native::Entities;

const ROWS: usize = 1_024;
const ROUNDS: usize = 500;
/// What a row of a plugin may cost beyond native code, in nanoseconds.
const OVER_NATIVE: f64 = 250.0;
/// What the guards may add to a plugin without any, in hundredths.
const OF_GUARDS: f64 = 35.0;
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

fn main() -> ExitCode {
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
        partial: false,
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
    let plugin = guarded(plugin.mapper, "users", Arc::new(|| Moment(0)));
    let bare = Bare::start(USERS_WASM, "users", &source, &target).expect("it starts");
    let mut ways = Ways { plugin: plugin.begin(Moment(0)).expect("it begins"), bare };
    let (rows, items) = (users(), items());
    let row = ways.measure("source rows", Side::Source, &rows, native::row);
    let item = ways.measure("target items", Side::Target, &items, native::item);
    let guards = share(row.guarded + item.guarded, row.bare + item.bare);
    let kept = [
        promised("a row over native", row.guarded - row.native, OVER_NATIVE, "ns"),
        promised("an item over native", item.guarded - item.native, OVER_NATIVE, "ns"),
        promised("guards over none, a row and its item", guards, OF_GUARDS, "%"),
    ];

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
    let mut session = built_in.begin(Moment(0)).expect("it begins");
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        rounds.time(|| session.map(Side::Source, &Rows::each(0, &rows)).expect("it maps"));
    }
    println!("source rows, built in, every column to dynamic cells: {}", rounds.told());
    if kept.contains(&false) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The same mapping in several ways.
struct Ways {
    plugin: Box<dyn Session>,
    bare: Bare,
}

/// What each round took.
#[derive(Default)]
struct Rounds(Vec<f64>);

impl Rounds {
    #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
    fn time<R>(&mut self, call: impl FnOnce() -> R) {
        let began = Instant::now();
        std::hint::black_box(call());
        self.0.push(began.elapsed().as_secs_f64() * 1e9 / ROWS as f64);
    }

    /// Nanoseconds a row: the best round, and the one in the middle.
    fn sorted(&self) -> (f64, f64) {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        (sorted[0], sorted[sorted.len() / 2])
    }

    fn told(&self) -> String {
        let (best, median) = self.sorted();
        format!("{best:.0} ns/row best, {median:.0} median")
    }
}

impl Ways {
    /// Measures all ways by turns.
    fn measure(
        &mut self,
        what: &str,
        side: Side,
        rows: &Batch,
        native: fn(&Batch) -> Entities,
    ) -> Costs {
        let mapped = self.plugin.map(side, &Rows::each(0, rows)).expect("it maps");
        assert_same(&mapped.outputs[0], &native(rows));
        assert_eq!(self.bare.map(side, rows), mapped.outputs);
        let [mut all, mut none, mut alone] = [const { Rounds(Vec::new()) }; 3];
        for _ in 0..ROUNDS {
            let given = Rows::each(0, rows);
            all.time(|| self.plugin.map(side, &given).expect("it maps"));
            none.time(|| self.bare.map(side, rows));
            alone.time(|| native(rows));
        }
        let costs =
            Costs { guarded: all.sorted().1, bare: none.sorted().1, native: alone.sorted().1 };
        println!("{what}, users plugin, all guards on: {}", all.told());
        println!("{what}, users plugin, no guards: {}", none.told());
        println!("{what}, native: {}", alone.told());
        println!("{what}, guards over none: {:.0} %", share(costs.guarded, costs.bare));
        costs
    }
}

/// What a row costs in each way, in nanoseconds: the rounds in the middle.
struct Costs {
    guarded: f64,
    bare: f64,
    native: f64,
}

/// How much more the first is than the second, in hundredths.
fn share(more: f64, less: f64) -> f64 {
    (more / less - 1.0) * 100.0
}

/// Says whether a promise holds.
fn promised(what: &str, is: f64, most: f64, unit: &str) -> bool {
    let word = if is <= most { "pass" } else { "FAIL" };
    println!("promised, {what}: {is:.0} {unit} of at most {most} {unit}: {word}");
    is <= most
}

/// Whether the native mapping gives what the plugin gives: else it is not the same that is measured.
fn assert_same(plugin: &Output, native: &Entities) {
    assert_eq!((plugin.entities.rows, &plugin.standing), (ROWS, &native.standing));
    assert_eq!(plugin.from_group, native.from_group);
    for (at, (this, that)) in plugin.entities.columns.iter().zip(&native.batch.columns).enumerate()
    {
        for row in 0..ROWS {
            let decimal = |bytes: &[u8]| Number::parse(std::str::from_utf8(bytes).ok()?).ok();
            assert_eq!(this.integer(row), that.integer(row), "field {at}, row {row}");
            let (one, two) = (this.bytes(row), that.bytes(row));
            // A number may be written in several ways.
            assert!(
                one == two || one.and_then(decimal) == two.and_then(decimal),
                "field {at}, row {row}"
            );
        }
    }
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
