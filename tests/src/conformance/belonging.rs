//! What every store must do about rows that belong together.
//!
//! Owns the promises of scans by a column that is no key, of queries, and of what rows are found by.
//! Refuses what only one store has: that is tested beside it. Invariant: what is expected is said by
//! the rows that were written, never by what another way of reading gives.

use std::num::NonZeroU32;

use driftd::model::{
    Batch, Column, ColumnBuilder, Extent, FaultCode, Logical, RelationSchema, Value,
};
use driftd::store::{Consistency, Fetched, QUERY_ROWS_MAX, Query, Read, Store, StoreErrorKind};
use futures::StreamExt;

use super::{Fixture, LINES, Row, fill, integer, read, rows_of};

const ALL: [&str; 4] = ["owner", "part", "count", "name"];

fn line(owner: i64, part: &str, count: Option<i64>, name: &str) -> Row {
    Row::from([
        ("owner".to_owned(), integer(owner)),
        ("part".to_owned(), Value::Text(part.to_owned())),
        ("count".to_owned(), count.map_or(Value::Null, integer)),
        ("name".to_owned(), Value::Text(name.to_owned())),
    ])
}

async fn lines(fixture: &dyn Fixture, relation: &str, rows: &[Row]) -> RelationSchema {
    fill(fixture, relation, &LINES, rows).await
}

/// Rows in an order of their own, to be compared as a whole.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

fn cut(schema: &RelationSchema, column: &str, page_rows: u32) -> Read {
    Read { cut: Some(column.to_owned()), ..read(schema, &ALL, page_rows) }
}

async fn pages(store: &dyn Store, read: &Read, extent: &Extent) -> Vec<Row> {
    let pages: Vec<_> = store.scan(read, extent).collect().await;
    pages.into_iter().flat_map(|page| rows_of(&page.unwrap(), read)).collect()
}

fn number(value: &Value) -> Option<i128> {
    if let Value::Number(number) = value { number.to_integer() } else { None }
}

/// What rows are ordered by in a scan that `count` cuts.
fn place(row: &Row) -> (Option<i128>, i128, String) {
    let Value::Text(part) = &row["part"] else { panic!("{row:?}") };
    (number(&row["count"]), number(&row["owner"]).unwrap(), part.clone())
}

/// Every row comes exactly once and in the order of the column that cuts, however extents and pages
/// are cut; rows without a value there come first.
pub(super) async fn rows_come_in_the_order_of_the_column_that_cuts(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut rows = Vec::new();
    for owner in 1..=40 {
        for (number, part) in (0i64..).zip(["a", "b", "c", "d"]) {
            // Several rows for each value, over several owners; far more for one of them.
            let count = if owner > 30 { 7 } else { (owner * 13 + number) % 20 - 5 };
            let count = Some(count).filter(|_| (owner + number) % 6 != 0);
            rows.push(line(owner, part, count, "n"));
        }
    }
    rows.push(line(50, "least", Some(i64::MIN), "n"));
    rows.push(line(51, "most", Some(i64::MAX), "n"));
    rows.push(line(52, "null", None, "n"));
    let schema = lines(fixture, "cut_lines", &rows).await;
    if !store.capabilities().ranges {
        let read = cut(&schema, "count", 10);
        let error = store.split(&read, NonZeroU32::MIN).await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{error}");
        let extent = Extent::Segment { index: 0, of: 1 };
        let error = store.scan(&read, &extent).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{error}");
        return;
    }
    let expected = sorted(rows.clone());
    for (extent_rows, page_rows) in [(1, 100), (10, 1), (25, 3), (100_000, 7), (100_000, 1)] {
        let read = cut(&schema, "count", page_rows);
        let extents = super::split(store, &read, extent_rows).await;
        assert!(extents.len() > 5 || extent_rows > 25, "{extents:?}");
        let mut found = Vec::new();
        for extent in &extents {
            let Extent::Range(range) = extent else { panic!("{extent}") };
            let rows = pages(store, &read, extent).await;
            for row in &rows {
                let lies = number(&row["count"])
                    .map_or_else(|| range.from.is_none(), |n| range.contains(n));
                assert!(lies, "{row:?} is not in {range}");
            }
            assert!(rows.is_sorted_by_key(place), "in the order of the column, then of the key");
            found.extend(rows);
        }
        assert!(sorted(found) == expected, "extents of {extent_rows}, pages of {page_rows}");
    }
    an_integer_cuts_and_nothing_else(store, &schema).await;
}

async fn an_integer_cuts_and_nothing_else(store: &dyn Store, schema: &RelationSchema) {
    let plain = read(schema, &ALL, 10);
    let key = cut(schema, "owner", 10);
    let extents = super::split(store, &plain, 20).await;
    assert_eq!(super::split(store, &key, 20).await, extents, "the first key column cuts anyway");
    for extent in &extents {
        assert_eq!(pages(store, &key, extent).await, pages(store, &plain, extent).await);
    }
    for (column, code) in [("name", "store-unfit"), ("cuont", "store-no-column")] {
        let read = cut(schema, column, 10);
        let error = store.split(&read, NonZeroU32::MIN).await.unwrap_err();
        assert_eq!(error.kind.code().as_str(), code, "{error}");
        assert!(error.to_string().contains(&format!("`{column}`")), "{error}");
        let error = store.scan(&read, &extents[0]).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind.code().as_str(), code, "{error}");
    }
}

/// Rows without any value in the column that cuts are read, and nothing is made of them.
pub(super) async fn rows_without_a_value_to_cut_by_are_read(fixture: &dyn Fixture) {
    let store = fixture.store();
    if !store.capabilities().ranges {
        return;
    }
    let rows: Vec<_> = (1..=30).map(|owner| line(owner, "a", None, "n")).collect();
    let schema = lines(fixture, "null_lines", &rows).await;
    let read = cut(&schema, "count", 4);
    let mut found = Vec::new();
    for extent in super::split(store, &read, 10).await {
        found.extend(pages(store, &read, &extent).await);
    }
    assert_eq!(found, rows);
    let later = Extent::Range(driftd::model::Range { from: Some(0), until: None });
    assert_eq!(pages(store, &read, &later).await, []);
}

/// Rows that share the first key column lie in one extent, one after the other.
pub(super) async fn rows_that_share_the_first_key_column_lie_together(fixture: &dyn Fixture) {
    let store = fixture.store();
    let owners = (1..=60).flat_map(|owner| (0..owner % 7).map(move |part| (owner, part)));
    let rows: Vec<_> =
        owners.map(|(owner, part)| line(owner, &format!("p{part}"), None, "n")).collect();
    let schema = lines(fixture, "together", &rows).await;
    let read = read(&schema, &ALL, 5);
    let mut runs = Vec::new();
    let mut found = Vec::new();
    for extent in super::split(store, &read, 30).await {
        let rows = pages(store, &read, &extent).await;
        let mut owners: Vec<_> = rows.iter().map(|row| number(&row["owner"])).collect();
        owners.dedup();
        runs.extend(owners);
        found.extend(rows);
    }
    assert_eq!(sorted(found), sorted(rows));
    let all = runs.len();
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), all, "an owner's rows lie apart");
}

/// The cells of one column, as the store wants them.
fn cells(schema: &RelationSchema, name: &str, values: &[Value]) -> Column {
    let logical = schema.column(name).unwrap().logical;
    let mut column = logical.column(values.len());
    for value in values {
        match (logical, value) {
            (_, Value::Null) => column.push_null(),
            (Logical::Value, value) => column.write_bytes(|out| value.encode(out)),
            (Logical::Integer, Value::Number(number)) => {
                column.push_i64(i64::try_from(number.to_integer().unwrap()).unwrap());
            }
            (Logical::Decimal, Value::Number(number)) => {
                column.push_bytes(number.to_string().as_bytes());
            }
            (_, Value::Text(text)) => column.push_bytes(text.as_bytes()),
            // A text that ends within a character.
            (_, Value::Bytes(bytes)) => column.push_bytes(bytes),
            (logical, value) => panic!("{value:?} for a column of type {logical}"),
        }
    }
    column.finish()
}

fn query(schema: &RelationSchema, columns: &[&str], values: &[Vec<Value>], prefix: bool) -> Query {
    let of = |(index, name): (usize, &&str)| {
        let values: Vec<_> = values.iter().map(|row| row[index].clone()).collect();
        cells(schema, name, &values)
    };
    Query {
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        values: Batch { rows: values.len(), columns: columns.iter().enumerate().map(of).collect() },
        prefix,
    }
}

/// The rows that answer one of the questions.
fn answers(rows: &[Row], columns: &[&str], values: &[Vec<Value>], prefix: bool) -> Vec<Row> {
    let bytes = |value: &Value| match value {
        Value::Text(text) => text.as_bytes().to_vec(),
        Value::Bytes(bytes) => bytes.clone(),
        other => panic!("{other:?} begins with nothing"),
    };
    let matches = |row: &Row, asked: &Vec<Value>| {
        columns.iter().zip(asked).enumerate().all(|(index, (name, asked))| {
            if prefix && index + 1 == columns.len() {
                bytes(&row[*name]).starts_with(&bytes(asked))
            } else {
                *asked != Value::Null && row[*name] == *asked
            }
        })
    };
    rows.iter().filter(|row| values.iter().any(|asked| matches(row, asked))).cloned().collect()
}

fn all_rows(fetched: &Fetched, read: &Read) -> Vec<Row> {
    assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
    sorted(fetched.pages.iter().flat_map(|page| rows_of(page, read)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A query gives the rows that have the values asked for, each once, and nothing for others.
pub(super) async fn a_query_gives_what_belongs_together(fixture: &dyn Fixture) {
    let store = fixture.store();
    let owners = (1..=300).flat_map(|owner| (0..owner % 4).map(move |part| (owner, part)));
    let rows: Vec<_> = owners
        .map(|(owner, part)| line(owner, &format!("p{part}"), Some(owner / 3), "n"))
        .collect();
    let schema = lines(fixture, "belonging", &rows).await;
    let owned =
        |owners: &[i64]| owners.iter().map(|owner| vec![integer(*owner)]).collect::<Vec<_>>();
    let parts = |asked: &[(i64, &str)]| {
        asked.iter().map(|(owner, part)| vec![integer(*owner), text(part)]).collect::<Vec<_>>()
    };
    let owner: &[&str] = &["owner"];
    let part: &[&str] = &["owner", "part"];
    let many: Vec<i64> = (-5..=310).rev().collect();
    for (columns, values) in [
        (owner, owned(&[])),
        (owner, owned(&[3])),
        (owner, owned(&[4])),
        (owner, owned(&[7, 3, 7, 999, 3])),
        (owner, owned(&many)),
        (owner, vec![vec![Value::Null], vec![integer(6)]]),
        (part, parts(&[(3, "p1")])),
        (
            part,
            parts(&[(3, "p1"), (3, "p2"), (2, "p2"), (7, "p0"), (3, "p1"), (7, "P0"), (7, "p0 ")]),
        ),
        (part, vec![vec![integer(3), Value::Null]]),
    ] {
        let expected = sorted(answers(&rows, columns, &values, false));
        let query = query(&schema, columns, &values, false);
        for (consistency, page_rows) in [(Consistency::Eventual, 7), (Consistency::Strong, 1_000)] {
            let read = read(&schema, &ALL, page_rows);
            let fetched = store.query(&read, &query, consistency).await;
            let found = all_rows(&fetched, &read);
            assert!(found == expected, "{} rows for {} {columns:?}", found.len(), values.len());
        }
        // Also without the columns that are asked by.
        let read = read(&schema, &["name"], 50);
        let fetched = store.query(&read, &query, Consistency::Eventual).await;
        assert_eq!(all_rows(&fetched, &read).len(), expected.len());
    }
    if !fixture.open() {
        let values: Vec<_> = (0..=50).map(|count| vec![integer(count)]).collect();
        let query = query(&schema, &["count"], &values, false);
        let read = read(&schema, &["part", "owner"], 100);
        let fetched = store.query(&read, &query, Consistency::Eventual).await;
        let expected = answers(&rows, &["count"], &values, false);
        assert_eq!(all_rows(&fetched, &read).len(), expected.len());
    }
}

/// What a value begins with is compared byte for byte; nothing in it is a wildcard.
pub(super) async fn how_a_value_begins_is_compared_by_bytes(fixture: &dyn Fixture) {
    let store = fixture.store();
    let parts = [
        "a",
        "a%1",
        "a%2",
        "a_1",
        "a\\1",
        "a|1",
        "ab",
        "aB",
        "A%1",
        "a b",
        "a\u{1}",
        "a😀",
        "a😀b",
        "a\u{ffff}",
        "é1",
        "e\u{301}1",
        "ê",
        "\u{10ffff}",
        "z",
    ];
    let rows: Vec<_> = (1..=3)
        .flat_map(|owner| parts.iter().map(move |part| line(owner, part, None, part)))
        .collect();
    let schema = lines(fixture, "begins", &rows).await;
    let starts = [
        "",
        "a",
        "A",
        "a%",
        "a_",
        "a\\",
        "a|",
        "a ",
        "ab",
        "é",
        "e",
        "e\u{301}",
        "a😀",
        "a\u{1}",
        "\u{10ffff}",
        "b",
        "a%1",
        "a%1 ",
    ];
    let mut questions: Vec<_> = starts.iter().map(|start| vec![text(start)]).collect();
    // Within a character of several bytes.
    questions.push(vec![Value::Bytes(vec![0xc3])]);
    questions.push(vec![Value::Bytes(b"a\xf0\x9f".to_vec())]);
    questions.push(vec![Value::Bytes(b"a\xff".to_vec())]);
    let of = |owner: i64, start: &Vec<Value>| vec![integer(owner), start[0].clone()];
    let each = questions.iter().map(|start| vec![of(2, start)]);
    let all = questions.iter().flat_map(|start| [of(1, start), of(3, start)]).collect();
    let read = read(&schema, &ALL, 5);
    let part: &[&str] = &["owner", "part"];
    for values in each.chain([all]) {
        let query = query(&schema, part, &values, true);
        let fetched = store.query(&read, &query, Consistency::Strong).await;
        let expected = sorted(answers(&rows, part, &values, true));
        assert_eq!(all_rows(&fetched, &read), expected, "{values:?}");
    }
    let whole = query(&schema, &["owner"], &[vec![integer(1)]], true);
    let fetched = store.query(&read, &whole, Consistency::Eventual).await;
    let refused = fetched.unread[0].1.kind.code();
    assert_eq!(refused, FaultCode::StoreUnfit, "an integer begins with nothing");
    if !fixture.open() {
        by_one_text(store, &schema, &rows, &questions).await;
    }
}

async fn by_one_text(
    store: &dyn Store,
    schema: &RelationSchema,
    rows: &[Row],
    questions: &[Vec<Value>],
) {
    let read = read(schema, &ALL, 5);
    for values in questions.iter().map(|start| vec![start.clone()]).chain([questions.to_vec()]) {
        let asked = query(schema, &["name"], &values, true);
        let fetched = store.query(&read, &asked, Consistency::Eventual).await;
        let expected = sorted(answers(rows, &["name"], &values, true));
        assert_eq!(all_rows(&fetched, &read), expected, "{values:?}");
        let asked = query(schema, &["name"], &values, false);
        let fetched = store.query(&read, &asked, Consistency::Eventual).await;
        let expected = sorted(answers(rows, &["name"], &values, false));
        assert_eq!(all_rows(&fetched, &read), expected, "{values:?}");
    }
}

/// A question that more rows answer than may be is unread; the others are answered.
pub(super) async fn too_many_rows_leave_a_question_unread(fixture: &dyn Fixture) {
    let store = fixture.store();
    let most = i64::try_from(QUERY_ROWS_MAX).unwrap();
    let many = |owner: i64, count: i64| {
        (0..count).map(move |part| line(owner, &format!("p{part:05}"), None, "n"))
    };
    let rows: Vec<_> = many(1, most + 1).chain(many(2, most)).chain(many(3, 3)).collect();
    let schema = lines(fixture, "crowded", &rows).await;
    let read = read(&schema, &["owner"], 1_000);
    let asked: Vec<_> = [3, 1, 2, 3, 1, 4].into_iter().map(|owner| vec![integer(owner)]).collect();
    let query = query(&schema, &["owner"], &asked, false);
    let fetched = store.query(&read, &query, Consistency::Eventual).await;
    let [(positions, error)] = fetched.unread.as_slice() else { panic!("{:?}", fetched.unread) };
    assert_eq!(positions, &[1, 4]);
    assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
    assert!(error.to_string().contains("more than 10,000 rows belong to one value of `owner`"));
    let rows: Vec<_> = fetched.pages.iter().flat_map(|page| rows_of(page, &read)).collect();
    let of = |owner: i64| rows.iter().filter(|row| row["owner"] == integer(owner)).count();
    assert_eq!([of(1), of(2), of(3)], [0, QUERY_ROWS_MAX, 3], "whole or not at all");
}

/// What rows are found by is known before they are asked for, and what to do where they are not.
pub(super) async fn what_rows_are_found_by_is_said_with_a_remedy(fixture: &dyn Fixture) {
    let store = fixture.store();
    let schema = lines(fixture, "finding", &[line(1, "a", None, "n")]).await;
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    for found in [&["owner"][..], &["owner", "part"]] {
        store.found_by("finding", &columns(found)).await.unwrap();
    }
    if !fixture.open() {
        for found in [&["count"][..], &["name"]] {
            store.found_by("finding", &columns(found)).await.unwrap();
        }
        let error = store.found_by("finding", &columns(&["nmae"])).await.unwrap_err();
        let StoreErrorKind::NoSuchColumn { near, .. } = &error.kind else { panic!("{error}") };
        assert_eq!(near[0], "name");
    }
    let error = store.found_by("fnding", &columns(&["owner"])).await.unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::StoreNoRelation, "{error}");
    let Some(remedy) = fixture.remedy() else { return };
    let read = read(&schema, &ALL, 10);
    for names in [&["part"][..], &["name", "count"]] {
        let error = store.found_by("finding", &columns(names)).await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{error}");
        for word in [&format!("`{}`", names[0]), remedy] {
            assert!(error.to_string().contains(word), "{error}");
        }
        // What is asked all the same is unread, not absent.
        let values = [vec![text("n"), integer(1)]];
        let mut query = query(&schema, names, &values[..0], false);
        let cells = names.iter().map(|_| one(&schema, names[0]));
        query.values = Batch { rows: 1, columns: cells.collect() };
        let fetched = store.query(&read, &query, Consistency::Eventual).await;
        assert!(fetched.pages.is_empty());
        assert_eq!(fetched.unread[0].0, [0]);
        assert_eq!(fetched.unread[0].1.kind.code(), FaultCode::StoreUnfit);
    }
}

/// One cell of some value.
fn one(schema: &RelationSchema, name: &str) -> Column {
    let mut column = ColumnBuilder::bytes(1);
    match schema.column(name).unwrap().logical {
        Logical::Value => column.write_bytes(|out| text("n").encode(out)),
        _ => column.push_bytes(b"n"),
    }
    column.finish()
}

/// A query of a store that fails, of what is not there, or of nothing, is unread and never empty.
pub(super) async fn a_query_that_fails_is_unread(fixture: &mut dyn Fixture) {
    let schema = lines(fixture, "unasked", &[line(1, "a", None, "n")]).await;
    let values: Vec<_> = (0..12).map(|owner| vec![integer(owner)]).collect();
    let query = query(&schema, &["owner"], &values, false);
    let read = read(&schema, &ALL, 10);
    fixture.fail().await;
    let fetched = fixture.store().query(&read, &query, Consistency::Strong).await;
    let heals = |kind: &StoreErrorKind| kind.heals();
    assert_unread(&fetched, heals);
    let owner = ["owner".to_owned()];
    assert!(fixture.store().found_by("unasked", &owner).await.unwrap_err().kind.heals());
    fixture.heal().await;
    let fetched = fixture.store().query(&read, &query, Consistency::Strong).await;
    assert_eq!(all_rows(&fetched, &read).len(), 1);
    fixture.drop_relation("unasked").await;
    let fetched = fixture.store().query(&read, &query, Consistency::Strong).await;
    assert_unread(&fetched, |kind| matches!(kind, StoreErrorKind::NoSuchRelation { .. }));
}

fn assert_unread(fetched: &Fetched, expected: impl Fn(&StoreErrorKind) -> bool) {
    assert!(fetched.pages.is_empty());
    let mut unread: Vec<_> =
        fetched.unread.iter().flat_map(|(positions, _)| positions.iter().copied()).collect();
    unread.sort_unstable();
    assert_eq!(unread, (0..12).collect::<Vec<_>>(), "every question is accounted for");
    for (_, error) in &fetched.unread {
        assert!(expected(&error.kind), "{error}");
    }
}
