//! Users of a shop: rows of a `users` table, and items of a DynamoDB table, as one entity.
//!
//! | field | source | target |
//! | --- | --- | --- |
//! | `id` | `id` | `sk` = `USER#<id>` |
//! | `tenant` | `tenant` | `pk` = `TENANT#<tenant>` |
//! | `email`, `name` | `email`, `name` | `profile.mail`, `profile.displayName` |
//! | `status` | `status`: a word | `state`: a number |
//! | `balance` | `balance`: a decimal | `balanceCents`: a number of cents |
//! | `birthday` | `birthday`: a date or null | `profile.born`: a text or absent |
//! | `created_at` | `created_at` | `createdAt`: RFC 3339 |
//! | `updated_at` | `updated_at` | `ver`: microseconds |
//!
//! Rows that are not `migrated`, and items that are no users, are out of scope.

wit_bindgen::generate!({ world: "mapper-with-invariants", path: "../../wit" });
export!(Users);

mod columns;

use columns::{Cell, Ints, Texts, bit, cell, take};
use driftd::plugin::host::{self, Level};
use driftd::plugin::types::{Batch, Buffer, Column, Context, Error, Issue, Side, TableSchema};
use exports::driftd::plugin::{invariants, lifecycle, mapping};
use invariants::{InvariantDef, Pairs, Severity, Violation};
use mapping::{FieldDef, Input, Mapped, MappingPlan, Note, Output, Role, Standing};
use std::cell::Cell as Shared;

const SOURCE: [&str; 10] = [
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
const TARGET: [&str; 9] = [
    "pk",
    "sk",
    "/profile/mail",
    "/profile/displayName",
    "state",
    "balanceCents",
    "/profile/born",
    "createdAt",
    "ver",
];
/// Positions among the fields of the entity.
const STATUS: usize = 4;
const BALANCE: usize = 5;
/// A target's `state` is the position of its status, counted from 1.
const STATUSES: [&[u8]; 3] = [b"active", b"suspended", b"closed"];

struct Users;

impl lifecycle::Guest for Users {
    fn describe() -> lifecycle::Info {
        lifecycle::Info {
            name: "users".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "maps users of a relational table and of a DynamoDB table".to_owned(),
            config_schema: r#"{"type": "object", "additionalProperties": false}"#.to_owned(),
        }
    }

    fn init(config: String) -> Result<(), Vec<Issue>> {
        std::panic::set_hook(Box::new(|panic| host::log(Level::Error, &panic.to_string())));
        match config.trim() {
            "" | "{}" | "null" => Ok(()),
            _ => Err(vec![issue("this plugin takes no configuration".to_owned())]),
        }
    }
}

fn issue(message: String) -> Issue {
    Issue { path: String::new(), message, help: None }
}

impl mapping::Guest for Users {
    fn plan(
        _pairing: String,
        source: Vec<TableSchema>,
        target: Vec<TableSchema>,
    ) -> Result<MappingPlan, Vec<Issue>> {
        let mut issues = Vec::new();
        let mut expect = |side: &str, schemas: &[TableSchema], name: &str, types: &[&str]| {
            // A column that is missing altogether is told by the host, with the nearest names.
            let column = schemas.iter().flat_map(|schema| &schema.columns).find(|c| c.name == name);
            let logical =
                column.map(|c| c.logical.split('(').next().unwrap_or_default().to_owned());
            if let Some(logical) = logical.filter(|logical| !types.contains(&logical.as_str())) {
                let wanted = types.join(", ");
                issues.push(issue(format!(
                    "column `{name}` of the {side} is of type {logical}; this plugin can read {wanted}"
                )));
            }
        };
        let time = &["timestamp", "datetime", "text"];
        let wanted: [&[&str]; 10] = [
            &["integer"],
            &["text", "enum"],
            &["text"],
            &["text"],
            &["enum", "text"],
            &["decimal", "text"],
            &["date", "text"],
            time,
            time,
            &["integer", "boolean"],
        ];
        for (name, types) in SOURCE.iter().zip(wanted) {
            expect("source", &source, name, types);
        }
        for (name, types) in TARGET.iter().zip([&["text"], &["text"]]) {
            expect("target", &target, name, types);
        }
        if !issues.is_empty() {
            return Err(issues);
        }
        let field = |name: &str, logical: &str, role: Role| FieldDef {
            name: name.to_owned(),
            logical: logical.to_owned(),
            role,
            rules: Vec::new(),
        };
        let fields = vec![
            field("id", "integer", Role::Key),
            field("tenant", "text", Role::Label),
            field("email", "text", Role::Compared),
            field("name", "text", Role::Compared),
            field("status", "text", Role::Compared),
            field("balance", "decimal", Role::Compared),
            FieldDef {
                rules: vec!["absent=null".to_owned()],
                ..field("birthday", "date", Role::Compared)
            },
            field("created_at", "timestamp", Role::Compared),
            field("updated_at", "timestamp", Role::Version),
        ];
        let side = |columns: &[&str], ignored: &[&str]| mapping::SidePlan {
            relations: vec![mapping::RelationPlan {
                relation: 0,
                columns: columns.iter().map(|name| (*name).to_owned()).collect(),
                ignored: ignored.iter().map(|name| (*name).to_owned()).collect(),
                group_by: Vec::new(),
            }],
            mapped: true,
        };
        Ok(MappingPlan {
            entities: vec![mapping::EntityDef { name: "user".to_owned(), fields }],
            source: side(&SOURCE, &[]),
            target: side(&TARGET, &["ttl"]),
        })
    }

    fn map_batch(ctx: Context, inputs: Vec<Input>) -> Result<Mapped, Error> {
        let mut mapped = Mapped { outputs: Vec::new(), notes: Vec::new() };
        for input in inputs {
            let rows = Rows { count: input.rows.rows as usize, notes: Shared::default() };
            let (columns, standing) = match ctx.side {
                Side::Source => rows.source(input.rows.columns),
                Side::Target => rows.target(&input.rows.columns),
            };
            let mut notes = rows.notes.take();
            // The first reason of a row is the one that is told.
            notes.sort_by_key(|note| note.row);
            notes.dedup_by_key(|note| note.row);
            mapped.outputs.push(output(columns, standing, &notes));
            mapped.notes = notes;
        }
        Ok(mapped)
    }
}

/// The entities, without the rows that were rejected.
fn output(columns: Vec<Column>, standing: Vec<Standing>, rejected: &[Note]) -> Output {
    let rows = standing.len() as u32;
    if rejected.is_empty() {
        let items = Batch { rows, columns };
        return Output { entity: 0, items, from_group: (0..rows).collect(), standing };
    }
    let kept = |row: &u32| rejected.binary_search_by_key(row, |note| note.row).is_err();
    let from_group: Vec<u32> = (0..rows).filter(kept).collect();
    let standing = from_group.iter().map(|row| standing[*row as usize]).collect();
    Output { entity: 0, items: take(columns, &from_group), from_group, standing }
}

/// The rows of one call.
struct Rows {
    count: usize,
    notes: Shared<Vec<Note>>,
}

impl Rows {
    fn source(&self, columns: Vec<Column>) -> (Vec<Column>, Vec<Standing>) {
        let Ok(columns) = <[Column; SOURCE.len()]>::try_from(columns) else {
            panic!("not the columns of the plan")
        };
        let [id, tenant, email, name, status, balance, birthday, created, updated, migrated] =
            columns;
        let standing = |row| match migrated.int(row) {
            Some(0) | None => Standing::Excluded,
            Some(_) => Standing::Present,
        };
        let standing = (0..self.count).map(standing).collect();
        if let Buffer::Bytes(_) = balance.values {
            for row in 0..self.count {
                if balance.bytes(row).is_some_and(|text| !is_decimal(text)) {
                    self.reject::<()>(row, "balance is no decimal");
                }
            }
        }
        let birthday = self.counted(birthday, "birthday is no date", columns::date);
        let created = self.counted(created, "created_at is no time", columns::timestamp);
        let updated = self.counted(updated, "updated_at is no time", columns::timestamp);
        // Text columns pass as they came.
        (vec![id, tenant, email, name, status, balance, birthday, created, updated], standing)
    }

    /// A column that the store already counts, or one of text that is read.
    fn counted(&self, column: Column, why: &str, read: fn(&[u8]) -> Option<i64>) -> Column {
        if let Buffer::Int64(_) = column.values {
            return column;
        }
        let mut counted = Ints::new(self.count);
        for row in 0..self.count {
            counted.push(
                column.bytes(row).and_then(|text| read(text).or_else(|| self.reject(row, why))),
            );
        }
        counted.column()
    }

    fn target(&self, columns: &[Column]) -> (Vec<Column>, Vec<Standing>) {
        let [pk, sk, mail, name, state, cents, born, created, version] = columns else {
            panic!("not the columns of the plan")
        };
        let ids: Vec<Option<&[u8]>> =
            (0..self.count).map(|row| sk.bytes(row)?.strip_prefix(b"USER#")).collect();
        let standing = |id: &Option<&[u8]>| match id {
            Some(_) => Standing::Present,
            None => Standing::Excluded,
        };
        let mut numbers = Ints::new(self.count);
        let mut tenants = Texts::new(self.count);
        for (row, id) in ids.iter().enumerate() {
            numbers.push(id.and_then(|id| {
                columns::integer(id).or_else(|| self.reject(row, "sk is not USER# and a number"))
            }));
            tenants.push(id.and_then(|_| {
                let tenant = pk.bytes(row)?.strip_prefix(b"TENANT#");
                tenant.or_else(|| self.reject(row, "pk does not begin with TENANT#"))
            }));
        }
        let is_user: Vec<bool> = ids.iter().map(Option::is_some).collect();
        let is_user = &is_user;
        let columns = vec![
            numbers.column(),
            tenants.column(),
            self.texts(mail, is_user, "profile.mail is no text"),
            self.texts(name, is_user, "profile.displayName is no text"),
            self.statuses(state, is_user),
            self.balances(cents, is_user),
            self.ints(born, is_user, "profile.born is no date", |cell| match cell {
                Cell::Text(text) => columns::date(text),
                _ => None,
            }),
            self.ints(created, is_user, "createdAt is no time", |cell| match cell {
                Cell::Text(text) => columns::timestamp(text),
                _ => None,
            }),
            self.ints(version, is_user, "ver is no integer", |cell| match cell {
                Cell::Int(micros) => Some(micros),
                _ => None,
            }),
        ];
        (columns, ids.iter().map(standing).collect())
    }

    fn ints(
        &self,
        column: &Column,
        is_user: &[bool],
        why: &str,
        read: impl Fn(Cell<'_>) -> Option<i64>,
    ) -> Column {
        let mut ints = Ints::new(self.count);
        for (row, is_user) in is_user.iter().enumerate() {
            ints.push(match column.bytes(row).filter(|_| *is_user).map(cell) {
                None | Some(Cell::Null) => None,
                Some(cell) => read(cell).or_else(|| self.reject(row, why)),
            });
        }
        ints.column()
    }

    fn texts(&self, column: &Column, is_user: &[bool], why: &str) -> Column {
        let mut texts = Texts::new(self.count);
        for (row, is_user) in is_user.iter().enumerate() {
            texts.push(match column.bytes(row).filter(|_| *is_user).map(cell) {
                None | Some(Cell::Null) => None,
                Some(Cell::Text(text)) => Some(text),
                Some(_) => self.reject(row, why),
            });
        }
        texts.column()
    }

    /// An unknown state is its own text: the invariant tells of it.
    fn statuses(&self, column: &Column, is_user: &[bool]) -> Column {
        let mut statuses = Texts::new(self.count);
        for (row, is_user) in is_user.iter().enumerate() {
            match column.bytes(row).filter(|_| *is_user).map(cell) {
                None | Some(Cell::Null) => statuses.push(None),
                Some(Cell::Text(text)) => statuses.push(Some(text)),
                Some(Cell::Int(state @ 1..=3)) => {
                    statuses.push(Some(STATUSES[state as usize - 1]));
                }
                Some(Cell::Int(state)) => statuses.push(Some(state.to_string().as_bytes())),
                Some(Cell::Other) => statuses.push(self.reject(row, "state is no number")),
            }
        }
        statuses.column()
    }

    fn balances(&self, column: &Column, is_user: &[bool]) -> Column {
        let mut balances = Texts::new(self.count);
        let mut text = Vec::new();
        for (row, is_user) in is_user.iter().enumerate() {
            match column.bytes(row).filter(|_| *is_user).map(cell) {
                None | Some(Cell::Null) => balances.push(None),
                Some(Cell::Int(cents)) => {
                    text.clear();
                    write_cents(&mut text, cents);
                    balances.push(Some(&text));
                }
                Some(_) => balances.push(self.reject(row, "balanceCents is no integer")),
            }
        }
        balances.column()
    }

    /// Notes that a row cannot be mapped. The reason names no value.
    fn reject<T>(&self, row: usize, why: &str) -> Option<T> {
        let mut notes = self.notes.take();
        let (kind, message) = ("reject".to_owned(), why.to_owned());
        notes.push(Note { input: 0, row: row as u32, kind, message });
        self.notes.set(notes);
        None
    }
}

/// Writes cents as a decimal.
fn write_cents(out: &mut Vec<u8>, cents: i64) {
    if cents < 0 {
        out.push(b'-');
    }
    let mut digits = [b'0'; 20];
    let (mut rest, mut at) = (cents.unsigned_abs(), digits.len());
    while rest > 0 || at > digits.len() - 3 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..18]);
    out.push(b'.');
    out.extend_from_slice(&digits[18..]);
}

/// Whether a text is a plain decimal number.
fn is_decimal(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
        && points <= 1
        && digits.len() > points
}

impl invariants::Guest for Users {
    type Accumulator = NoAccumulator;

    fn declare(_pairing: String) -> Result<Vec<InvariantDef>, Vec<Issue>> {
        let rule = |id: &str, summary: &str, severity| InvariantDef {
            id: id.to_owned(),
            summary: summary.to_owned(),
            severity,
        };
        Ok(vec![
            rule("balance-never-negative", "a balance is never negative", Severity::Error),
            rule("status-allowed", "a status is active, suspended or closed", Severity::Critical),
        ])
    }

    fn check_pairs(_ctx: Context, pairs: Pairs) -> Result<Vec<Violation>, Error> {
        let sides = [
            ("source", &pairs.source, &pairs.source_present),
            ("target", &pairs.target, &pairs.target_present),
        ];
        let mut violations = Vec::new();
        for pair in 0..pairs.source.rows {
            let row = pair as usize;
            let mut check = |invariant, is_wrong: &dyn Fn(&Batch) -> bool| {
                let wrong = sides
                    .iter()
                    .filter(|(_, batch, present)| bit(present, row) && is_wrong(batch))
                    .map(|(side, _, _)| *side);
                let wrong: Vec<_> = wrong.collect();
                if !wrong.is_empty() {
                    let message = format!("violated by the {}", wrong.join(" and the "));
                    violations.push(Violation { invariant, pair: Some(pair), message });
                }
            };
            check(0, &|side| {
                side.columns[BALANCE].bytes(row).is_some_and(|text| {
                    text.starts_with(b"-") && text.iter().any(|byte| matches!(byte, b'1'..=b'9'))
                })
            });
            check(1, &|side| {
                side.columns[STATUS].bytes(row).is_none_or(|status| !STATUSES.contains(&status))
            });
        }
        Ok(violations)
    }
}

/// This plugin has no rule over many users.
struct NoAccumulator;

impl invariants::GuestAccumulator for NoAccumulator {
    fn new(_invariant: u32) -> Self {
        Self
    }

    fn push(&self, _ctx: Context, _pairs: Pairs) -> Result<(), Error> {
        Ok(())
    }

    fn snapshot(&self) -> Vec<u8> {
        Vec::new()
    }

    fn merge(&self, _state: Vec<u8>) -> Result<(), Error> {
        Ok(())
    }

    fn finish(&self) -> Result<Vec<Violation>, Error> {
        Ok(Vec::new())
    }
}
