//! What every store must do, whatever it is.
//!
//! Owns the relation that each store is given and the promises of [`Store`] as functions that fail
//! when one is broken. Refuses what only one store has: that is tested beside it. Invariant: a
//! function creates what it reads, so that they can run in any order on one store.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the suite has few types; others are a bug")]

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use driftd::model::{
    Batch, Buffer, Column, ColumnBuilder, Extent, Logical, Number, RelationSchema, Value,
};
use driftd::store::{Consistency, Fetched, Page, Read, Store, StoreErrorKind};
use futures::StreamExt;
use futures::future::BoxFuture;

mod belonging;

/// A row: the value of each column that it has; a column that it has not is absent.
pub type Row = BTreeMap<String, Value>;

/// A relation that the suite reads.
#[derive(Debug)]
pub struct Shape {
    /// Its columns, those of the key first.
    pub columns: &'static [(&'static str, Logical)],
    /// How many columns are the key; no other may be found by it.
    pub key: usize,
    /// The columns that have an index of their own, where there are indexes.
    pub indexed: &'static [&'static str],
}

/// Columns that any store has.
pub const THINGS: Shape = Shape {
    columns: &[
        ("id", Logical::Integer),
        ("name", Logical::Text),
        ("data", Logical::Binary),
        ("count", Logical::Integer),
        ("price", Logical::Decimal),
    ],
    key: 1,
    indexed: &[],
};

/// Rows of which several belong together.
pub const LINES: Shape = Shape {
    columns: &[
        ("owner", Logical::Integer),
        ("part", Logical::Text),
        ("count", Logical::Integer),
        ("name", Logical::Text),
    ],
    key: 2,
    indexed: &["count", "name"],
};

/// A store that the suite can fill.
pub trait Fixture: Send {
    /// The store.
    fn store(&self) -> &dyn Store;
    /// Whether a row can lack a column; else it holds null there.
    fn open(&self) -> bool;
    /// A word of what is to be done where rows are not found by some columns; none: they always are.
    fn remedy(&self) -> Option<&str>;
    /// Creates a relation, empty, without any before it.
    fn create<'a>(&'a self, relation: &'a str, shape: &'a Shape) -> BoxFuture<'a, ()>;
    /// Writes rows with new keys; a column that a row has not is null, or absent.
    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()>;
    /// Removes a relation.
    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()>;
    /// Makes every read fail, until [`Fixture::heal`].
    fn fail(&mut self) -> BoxFuture<'_, ()>;
    /// Undoes [`Fixture::fail`].
    fn heal(&mut self) -> BoxFuture<'_, ()>;
}

/// An integer.
pub fn integer(value: i64) -> Value {
    Value::Number(Number::from(value))
}

/// The row with this key, its other columns made of it; now and then one is null.
pub fn row(id: i64) -> Row {
    let text = format!("name {id} é😀");
    let count = if id % 7 == 0 { Value::Null } else { integer(id.wrapping_mul(31)) };
    let price = Number::new(i128::from(id) * 100 + 25, -2).unwrap();
    Row::from([
        ("id".to_owned(), integer(id)),
        ("name".to_owned(), Value::Text(text)),
        ("data".to_owned(), Value::Bytes(id.to_be_bytes().to_vec())),
        ("count".to_owned(), count),
        ("price".to_owned(), Value::Number(price)),
    ])
}

/// Runs the whole suite on one store.
pub async fn all(fixture: &mut dyn Fixture) {
    every_row_comes_once(fixture).await;
    an_empty_relation_is_read_without_rows(fixture).await;
    columns_come_as_asked(fixture).await;
    nulls_absence_and_empty_texts_are_told_apart(fixture).await;
    the_largest_and_smallest_keys_are_read(fixture).await;
    fetch_gives_what_is_there(fixture).await;
    rows_written_after_the_cut_belong_to_an_extent(fixture).await;
    a_scan_ends_while_rows_are_written(fixture).await;
    what_is_not_there_is_named_with_what_is_near(fixture).await;
    a_store_that_fails_never_looks_empty(fixture).await;
    belonging::rows_come_in_the_order_of_the_column_that_cuts(fixture).await;
    belonging::rows_without_a_value_to_cut_by_are_read(fixture).await;
    belonging::rows_that_share_the_first_key_column_lie_together(fixture).await;
    belonging::a_query_gives_what_belongs_together(fixture).await;
    belonging::how_a_value_begins_is_compared_by_bytes(fixture).await;
    belonging::too_many_rows_leave_a_question_unread(fixture).await;
    belonging::what_rows_are_found_by_is_said_with_a_remedy(fixture).await;
    belonging::a_query_that_fails_is_unread(fixture).await;
}

async fn fill(
    fixture: &dyn Fixture,
    relation: &str,
    shape: &Shape,
    rows: &[Row],
) -> RelationSchema {
    fixture.create(relation, shape).await;
    fixture.insert(relation, rows).await;
    fixture.store().describe(relation).await.unwrap()
}

fn read(schema: &RelationSchema, columns: &[&str], page_rows: u32) -> Read {
    Read {
        schema: schema.clone(),
        columns: columns.iter().map(|column| (*column).to_owned()).collect(),
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(page_rows).unwrap(),
        cut: None,
    }
}

const ALL: [&str; 5] = ["id", "name", "data", "count", "price"];

/// The canonical value of a cell; none: null, or absent in an open relation.
fn cell(column: &Column, logical: Logical, row: usize) -> Option<Value> {
    if !column.is_valid(row) {
        return None;
    }
    let text = || String::from_utf8(column.bytes(row).unwrap().to_vec()).unwrap();
    Some(match logical {
        Logical::Integer => Value::Number(Number::from(column.integer(row).unwrap())),
        Logical::Decimal => Value::Number(Number::parse(&text()).unwrap()),
        Logical::Text => Value::Text(text()),
        Logical::Binary => Value::Bytes(column.bytes(row).unwrap().to_vec()),
        Logical::Value => Value::decode(column.bytes(row).unwrap()).unwrap(),
        other => panic!("the suite has no column of type {other}"),
    })
}

/// The rows of a page, after checking its shape.
fn rows_of(page: &Page, read: &Read) -> Vec<Row> {
    assert!(page.rows.rows > 0, "a page holds rows");
    assert!(page.rows.rows <= usize::try_from(read.page_rows.get()).unwrap(), "pages are bounded");
    assert_eq!(page.keys.rows, page.rows.rows, "keys and rows are aligned");
    assert_eq!(page.keys.columns.len(), read.schema.key.len());
    assert_eq!(page.rows.columns.len(), read.columns.len());
    assert_eq!(page.cost.rows, page.rows.rows as u64);
    for column in page.keys.columns.iter().chain(&page.rows.columns) {
        assert_eq!(column.values.len(), page.rows.rows, "columns are as long as the page");
        if let Buffer::Bytes(values) = &column.values {
            assert_eq!(values.offsets.last().copied().unwrap() as usize, values.data.len());
        }
    }
    let logical = |name: &str| read.schema.column(name).unwrap().logical;
    (0..page.rows.rows)
        .map(|row| {
            let cells = read.columns.iter().zip(&page.rows.columns);
            let cells = cells.filter_map(|(name, column)| {
                let value = cell(column, logical(name), row);
                // In a closed relation there is no absence: what is not valid is null.
                let value = if read.schema.open { value } else { value.or(Some(Value::Null)) };
                Some((name.clone(), value?))
            });
            let cells: Row = cells.collect();
            let key = read.schema.key_columns().zip(&page.keys.columns);
            for (column, values) in key {
                let value = cell(values, column.logical, row).unwrap();
                if let Some(asked) = cells.get(&column.name) {
                    assert_eq!(*asked, value, "keys belong to their rows");
                }
            }
            cells
        })
        .collect()
}

async fn scan(store: &dyn Store, read: &Read, extent: &Extent) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut last = None;
    let mut pages = store.scan(read, extent);
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        rows.extend(rows_of(&page, read));
        if let Extent::Range(range) = extent {
            for row in 0..page.keys.rows {
                let key = page.keys.columns[0].integer(row);
                assert!(key > last, "ranges come in ascending order of the key");
                assert!(range.contains(key.unwrap()), "{key:?} is not in {range}");
                last = key;
            }
        }
    }
    rows
}

async fn scan_all(store: &dyn Store, read: &Read, extents: &[Extent]) -> Vec<Row> {
    let mut rows = Vec::new();
    for extent in extents {
        rows.extend(scan(store, read, extent).await);
    }
    sorted(rows)
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    let key = |row: &Row| match row.get("id") {
        Some(Value::Number(number)) => *number,
        other => panic!("a row without its key: {other:?}"),
    };
    rows.sort_by_key(key);
    rows
}

async fn split(store: &dyn Store, read: &Read, rows: u32) -> Vec<Extent> {
    let extents = store.split(read, NonZeroU32::new(rows).unwrap()).await.unwrap();
    for key in [i128::MIN, -1, 0, 1, 5_000, i128::MAX] {
        let holds = |extent: &&Extent| match extent {
            Extent::Range(range) => range.contains(key),
            Extent::Segment { .. } => false,
        };
        let holding = extents.iter().filter(holds).count();
        let ranges = store.capabilities().ranges;
        assert_eq!(holding, usize::from(ranges), "{key} lies in one range of {extents:?}");
    }
    extents
}

/// Every row comes exactly once over all extents, however they and the pages are cut.
pub async fn every_row_comes_once(fixture: &dyn Fixture) {
    // Dense, then sparse, then dense again far away.
    let ids = (1..=900).chain((1..=90).map(|id| 1_000 + id * 997)).chain(900_000_000..900_000_010);
    let rows: Vec<_> = ids.map(row).collect();
    let schema = fill(fixture, "once", &THINGS, &rows).await;
    for (extent_rows, page_rows) in [(100, 7), (333, 1_000), (10_000, 64), (1_000_000, 1)] {
        let extents = split(fixture.store(), &read(&schema, &ALL, 10), extent_rows).await;
        let read = read(&schema, &ALL, page_rows);
        let found = scan_all(fixture.store(), &read, &extents).await;
        assert!(found == rows, "{} of {} rows, {extents:?}", found.len(), rows.len());
    }
    if fixture.store().capabilities().ranges {
        let extents = split(fixture.store(), &read(&schema, &ALL, 10), 100).await;
        assert!(extents.len() >= 10, "a large relation is cut: {extents:?}");
    }
}

/// No rows and no error.
pub async fn an_empty_relation_is_read_without_rows(fixture: &dyn Fixture) {
    let schema = fill(fixture, "hollow", &THINGS, &[]).await;
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 10).await;
    assert!(!extents.is_empty(), "keys that come later lie somewhere");
    assert_eq!(scan_all(fixture.store(), &read(&schema, &ALL, 10), &extents).await, []);
    let fetched = fixture
        .store()
        .fetch(&read(&schema, &ALL, 10), &keys(&schema, &[1]), Consistency::Eventual)
        .await;
    assert!(fetched.pages.is_empty() && fetched.unread.is_empty());
}

/// Columns come in the order asked, also without the key, and also none at all.
pub async fn columns_come_as_asked(fixture: &dyn Fixture) {
    let rows: Vec<_> = (1..=20).map(row).collect();
    let schema = fill(fixture, "asked", &THINGS, &rows).await;
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 100).await;
    for columns in [&["price", "id", "name"][..], &["name"], &[]] {
        let read = read(&schema, columns, 100);
        let mut pages = Vec::new();
        for extent in &extents {
            pages.extend(fixture.store().scan(&read, extent).collect::<Vec<_>>().await);
        }
        let mut found: Vec<Row> =
            pages.into_iter().flat_map(|page| rows_of(&page.unwrap(), &read)).collect();
        let only = |row: &Row| -> Row {
            let asked = |(name, _): &(&String, &Value)| columns.contains(&name.as_str());
            row.iter().filter(asked).map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let mut expected: Vec<Row> = rows.iter().map(only).collect();
        let order = |row: &Row| format!("{row:?}");
        found.sort_by_key(order);
        expected.sort_by_key(order);
        assert_eq!(found, expected);
    }
}

/// Null, absent, empty text and empty bytes are four different things.
pub async fn nulls_absence_and_empty_texts_are_told_apart(fixture: &dyn Fixture) {
    let only = |cells: &[(&str, Value)]| -> Row {
        cells.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let null = |name| (name, Value::Null);
    let rows = vec![
        only(&[
            ("id", integer(1)),
            ("name", Value::Text(String::new())),
            ("data", Value::Bytes(Vec::new())),
            null("count"),
            null("price"),
        ]),
        only(&[("id", integer(2)), null("name"), null("data"), null("count"), null("price")]),
        only(&[("id", integer(3)), ("name", Value::Text(" a ".to_owned()))]),
    ];
    let schema = fill(fixture, "nulls", &THINGS, &rows).await;
    let mut expected = rows;
    if !fixture.open() {
        for (name, _) in THINGS.columns {
            expected[2].entry((*name).to_owned()).or_insert(Value::Null);
        }
    }
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 10).await;
    let read = read(&schema, &ALL, 10);
    assert_eq!(scan_all(fixture.store(), &read, &extents).await, expected);
    let fetched =
        fixture.store().fetch(&read, &keys(&schema, &[3, 2, 1]), Consistency::Strong).await;
    assert_eq!(fetched_rows(&fetched, &read), expected);
}

/// Keys at the ends of 64 bits are cut, scanned and fetched like others.
pub async fn the_largest_and_smallest_keys_are_read(fixture: &dyn Fixture) {
    let ids = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    let plain = |id: i64| {
        let mut plain = row(1);
        plain.insert("id".to_owned(), integer(id));
        plain.insert("count".to_owned(), integer(id));
        plain
    };
    let rows: Vec<_> = ids.into_iter().map(plain).collect();
    let schema = fill(fixture, "extremes", &THINGS, &rows).await;
    for extent_rows in [1, 2, 100] {
        let extents = split(fixture.store(), &read(&schema, &ALL, 10), extent_rows).await;
        let read = read(&schema, &ALL, 2);
        assert_eq!(scan_all(fixture.store(), &read, &extents).await, rows);
    }
    let read = read(&schema, &ALL, 10);
    let fetched = fixture.store().fetch(&read, &keys(&schema, &ids), Consistency::Eventual).await;
    assert_eq!(fetched_rows(&fetched, &read), rows);
}

/// A batch of keys of the suite's relation.
fn keys(schema: &RelationSchema, ids: &[i64]) -> Batch {
    let logical = schema.key_columns().next().unwrap().logical;
    let mut column = match logical {
        Logical::Integer => ColumnBuilder::int64(ids.len()),
        _ => ColumnBuilder::bytes(ids.len()),
    };
    for id in ids {
        match logical {
            Logical::Integer => column.push_i64(*id),
            Logical::Value => column.write_bytes(|out| integer(*id).encode(out)),
            _ => column.push_bytes(id.to_string().as_bytes()),
        }
    }
    Batch { rows: ids.len(), columns: vec![column.finish()] }
}

fn fetched_rows(fetched: &Fetched, read: &Read) -> Vec<Row> {
    assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
    sorted(fetched.pages.iter().flat_map(|page| rows_of(page, read)).collect())
}

/// Present keys give their row once, missing ones nothing, however many are asked.
pub async fn fetch_gives_what_is_there(fixture: &dyn Fixture) {
    let rows: Vec<_> = (1..=2_000).filter(|id| id % 3 != 0).map(row).collect();
    let schema = fill(fixture, "fetched", &THINGS, &rows).await;
    let read = read(&schema, &ALL, 300);
    for asked in [
        vec![],
        vec![1],
        vec![3],
        vec![1, 1, 2, 1],
        (1..=9).collect(),
        (1..=2_500).rev().collect::<Vec<i64>>(),
    ] {
        let expected = |row: &&Row| asked.iter().any(|id| row["id"] == integer(*id));
        let expected: Vec<_> = rows.iter().filter(expected).cloned().collect();
        for consistency in [Consistency::Eventual, Consistency::Strong] {
            let fetched = fixture.store().fetch(&read, &keys(&schema, &asked), consistency).await;
            let found = fetched_rows(&fetched, &read);
            assert!(found == expected, "{} rows for {} keys", found.len(), asked.len());
        }
    }
}

/// Extents are cut once for a pass; what is written after that is read all the same.
pub async fn rows_written_after_the_cut_belong_to_an_extent(fixture: &dyn Fixture) {
    let schema = fill(fixture, "later", &THINGS, &(100..=300).map(row).collect::<Vec<_>>()).await;
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 50).await;
    let later: Vec<_> = (1..100).chain(301..=400).map(row).collect();
    fixture.insert("later", &later).await;
    let found = scan_all(fixture.store(), &read(&schema, &ALL, 64), &extents).await;
    assert_eq!(found, (1..=400).map(row).collect::<Vec<_>>());
}

/// A writer that stays ahead of the scan does not keep it running.
pub async fn a_scan_ends_while_rows_are_written(fixture: &dyn Fixture) {
    let schema = fill(fixture, "growing", &THINGS, &(1..=50).map(row).collect::<Vec<_>>()).await;
    let read = read(&schema, &ALL, 5);
    let extents = split(fixture.store(), &read, 1_000).await;
    let mut found = Vec::new();
    let mut next = 51;
    for extent in &extents {
        let mut pages = fixture.store().scan(&read, extent);
        while let Some(page) = pages.next().await {
            found.extend(rows_of(&page.unwrap(), &read));
            let more: Vec<_> = (next..next + 20).map(row).collect();
            fixture.insert("growing", &more).await;
            next += 20;
            assert!(next < 5_000, "the scan follows the writer without an end");
        }
    }
    let found = sorted(found);
    let first: Vec<_> = (1..=50).map(row).collect();
    let old: Vec<_> = found.iter().filter(|row| first.contains(row)).cloned().collect();
    assert_eq!(old, first, "what was there is read once");
    let mut distinct = found.clone();
    distinct.dedup();
    assert_eq!(distinct, found, "nothing is read twice");
}

/// A relation or column that is not there is an answer, with the nearest names.
pub async fn what_is_not_there_is_named_with_what_is_near(fixture: &dyn Fixture) {
    let schema = fill(fixture, "customers", &THINGS, &[row(1)]).await;
    let error = fixture.store().describe("custmers").await.unwrap_err();
    assert_eq!(error.relation.as_deref(), Some("custmers"));
    assert!(!error.kind.heals());
    let StoreErrorKind::NoSuchRelation { near } = &error.kind else { panic!("{error}") };
    assert_eq!(near.first().map(String::as_str), Some("customers"), "{error}");
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 10).await;
    if !fixture.open() {
        let read = read(&schema, &["id", "nmae"], 10);
        let mut pages = fixture.store().scan(&read, &extents[0]);
        let error = pages.next().await.unwrap().unwrap_err();
        assert!(pages.next().await.is_none(), "an error ends a scan");
        let StoreErrorKind::NoSuchColumn { column, near } = &error.kind else { panic!("{error}") };
        assert_eq!((column.as_str(), near[0].as_str()), ("nmae", "name"));
        let fetched =
            fixture.store().fetch(&read, &keys(&schema, &[1]), Consistency::Eventual).await;
        assert_eq!(fetched.unread[0].0, [0], "what cannot be read is unread, not missing");
    }
    fixture.drop_relation("customers").await;
    let read = read(&schema, &ALL, 10);
    let error = fixture.store().scan(&read, &extents[0]).next().await.unwrap().unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::NoSuchRelation { .. }), "{error}");
    let fetched = fixture.store().fetch(&read, &keys(&schema, &[1]), Consistency::Strong).await;
    assert!(fetched.pages.is_empty() && fetched.unread.len() == 1, "a dropped table is unread");
}

/// There is no way from a failure to "no rows".
pub async fn a_store_that_fails_never_looks_empty(fixture: &mut dyn Fixture) {
    let rows: Vec<_> = (1..=100).map(row).collect();
    let schema = fill(fixture, "failing", &THINGS, &rows).await;
    let extents = split(fixture.store(), &read(&schema, &ALL, 10), 1_000).await;
    let read = read(&schema, &ALL, 10);
    fixture.fail().await;
    let store = fixture.store();
    let error = store.describe("failing").await.unwrap_err();
    assert!(error.kind.heals(), "{error}");
    assert!(error.to_string().contains(store.name()), "{error}");
    store.split(&read, NonZeroU32::new(10).unwrap()).await.unwrap_err();
    let pages: Vec<_> = store.scan(&read, &extents[0]).collect().await;
    assert_eq!(pages.len(), 1, "the error, and nothing after it");
    assert!(pages[0].as_ref().unwrap_err().kind.heals());
    let asked: Vec<_> = (1..=25).collect();
    let fetched = store.fetch(&read, &keys(&schema, &asked), Consistency::Strong).await;
    assert!(fetched.pages.is_empty());
    let mut unread: Vec<_> =
        fetched.unread.iter().flat_map(|(positions, _)| positions.iter().copied()).collect();
    unread.sort_unstable();
    assert_eq!(unread, (0..25).collect::<Vec<_>>(), "every key is accounted for");
    fixture.heal().await;
    assert_eq!(scan_all(fixture.store(), &read, &extents).await, rows);
}
