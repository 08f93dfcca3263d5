//! SQLite files: the suite, and what only they must do.

use std::num::NonZeroU32;
use std::time::Duration;

use driftd::model::{
    Batch, Column, ColumnBuilder, Extent, FaultCode, Logical, Number, Range, Value,
};
use driftd::store::{self, Consistency, Limits, Query, Read, Store, Timeouts};
use driftd_tests::conformance::{self, Fixture, Row, Shape};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, ready};
use rusqlite::{Connection, params_from_iter, types};
use tempfile::TempDir;

struct InFile {
    directory: TempDir,
    writer: Connection,
    store: std::sync::Arc<dyn Store>,
}

fn cell(value: &Value) -> types::Value {
    match value {
        Value::Null => types::Value::Null,
        Value::Number(number) => match number.to_integer().map(i64::try_from) {
            Some(Ok(whole)) => types::Value::Integer(whole),
            _ => types::Value::Text(number.to_string()),
        },
        Value::Text(text) => types::Value::Text(text.clone()),
        Value::Bytes(bytes) => types::Value::Blob(bytes.clone()),
        other => panic!("the suite has no value such as {other:?}"),
    }
}

impl Fixture for InFile {
    fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn open(&self) -> bool {
        false
    }

    fn remedy(&self) -> Option<&str> {
        Some("create one: CREATE INDEX")
    }

    fn create<'a>(&'a self, relation: &'a str, shape: &'a Shape) -> BoxFuture<'a, ()> {
        let declared = |logical: &Logical| match logical {
            Logical::Integer => "INTEGER",
            Logical::Text => "TEXT",
            Logical::Binary => "BLOB",
            Logical::Decimal => "DECIMAL(30,2)",
            other => panic!("the suite has no column of type {other}"),
        };
        let columns = shape.columns.iter();
        let columns: Vec<_> =
            columns.map(|(name, logical)| format!("{name} {}", declared(logical))).collect();
        let key: Vec<_> = shape.columns[..shape.key].iter().map(|(name, _)| *name).collect();
        let (columns, key) = (columns.join(", "), key.join(", "));
        let sql = format!("CREATE TABLE {relation} ({columns}, PRIMARY KEY ({key}))");
        self.writer.execute_batch(&sql).unwrap();
        for column in shape.indexed {
            let sql = format!("CREATE INDEX {relation}_{column} ON {relation} ({column})");
            self.writer.execute_batch(&sql).unwrap();
        }
        ready(()).boxed()
    }

    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()> {
        self.writer.execute_batch("BEGIN").unwrap();
        for row in rows {
            let names = row.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let marks = vec!["?"; row.len()].join(", ");
            let sql = format!("INSERT INTO {relation} ({names}) VALUES ({marks})");
            let mut insert = self.writer.prepare_cached(&sql).unwrap();
            insert.execute(params_from_iter(row.values().map(cell))).unwrap();
        }
        self.writer.execute_batch("COMMIT").unwrap();
        ready(()).boxed()
    }

    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        self.writer.execute_batch(&format!("DROP TABLE {relation}")).unwrap();
        ready(()).boxed()
    }

    fn fail(&mut self) -> BoxFuture<'_, ()> {
        // The store has the file open already, and must not go on with it.
        let path = self.directory.path();
        std::fs::rename(path.join("a.db"), path.join("gone.db")).unwrap();
        ready(()).boxed()
    }

    fn heal(&mut self) -> BoxFuture<'_, ()> {
        let path = self.directory.path();
        std::fs::rename(path.join("gone.db"), path.join("a.db")).unwrap();
        ready(()).boxed()
    }
}

fn in_file() -> InFile {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.db");
    let writer = Connection::open(&path).unwrap();
    writer.pragma_update(None, "journal_mode", "wal").unwrap();
    let settings = store::Settings {
        name: "source".to_owned(),
        kind: store::Kind::Sqlite { path },
        limits: Limits::default(),
        timeouts: Timeouts { read: Duration::from_millis(200), ..Timeouts::default() },
    };
    let store = store::open(&settings).now_or_never().unwrap().unwrap();
    InFile { directory, writer, store }
}

#[tokio::test]
async fn conforms() {
    conformance::all(&mut in_file()).await;
}

#[tokio::test]
async fn declared_types_decide_and_what_does_not_fit_is_an_error() {
    let file = in_file();
    file.writer
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a BOOLEAN, b DATETIME, c TIMESTAMP, d DATE, \
             e REAL, f NUMERIC(9,3), g JSON, h, i VARCHAR(9));
             INSERT INTO t VALUES (1, 1, '1970-01-01 00:00:01', 1000001, '1970-01-03', 2, '1.250', \
             '{}', x'00', 5), (2, NULL, NULL, '1970-01-01T01:00:00+01:00', NULL, 0.1, 7, NULL, NULL, NULL);
             CREATE TABLE wrong (id INTEGER PRIMARY KEY, v INTEGER);
             INSERT INTO wrong VALUES (1, 'no number')",
        )
        .unwrap();
    let schema = file.store.describe("t").await.unwrap();
    let logical: Vec<_> = schema.columns.iter().map(|column| column.logical.to_string()).collect();
    assert_eq!(
        logical,
        [
            "integer",
            "boolean",
            "datetime",
            "timestamp",
            "date",
            "float",
            "decimal",
            "json",
            "value",
            "text"
        ]
    );
    let read = |schema, columns: &[&str]| Read {
        schema,
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(10).unwrap(),
        cut: None,
    };
    let asked = read(schema, &["a", "b", "c", "d", "f", "h", "i"]);
    let extent = Extent::Range(Range { from: None, until: None });
    let page = file.store.scan(&asked, &extent).next().await.unwrap().unwrap();
    let columns = &page.rows.columns;
    let integers = |index: usize| [columns[index].integer(0), columns[index].integer(1)];
    assert_eq!(integers(0), [Some(1), None]);
    assert_eq!(integers(1), [Some(1_000_000), None]);
    assert_eq!(integers(2), [Some(1_000_001), Some(0)]);
    assert_eq!(integers(3), [Some(2), None]);
    let number =
        |row| Number::parse(std::str::from_utf8(columns[4].bytes(row).unwrap()).unwrap()).unwrap();
    assert_eq!([number(0), number(1)], [Number::new(125, -2).unwrap(), Number::from(7i64)]);
    let value = |row| Value::decode(columns[5].bytes(row).unwrap()).unwrap();
    assert_eq!([value(0), value(1)], [Value::Bytes(vec![0]), Value::Null]);
    assert_eq!(columns[6].bytes(0), Some(&b"5"[..]));
    let asked = read(file.store.describe("wrong").await.unwrap(), &["v"]);
    let error = file.store.scan(&asked, &extent).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
    assert!(error.to_string().contains("`v`") && !error.to_string().contains("no number"));
}

#[tokio::test]
async fn a_primary_key_that_changed_is_an_error_and_no_rows_that_are_gone() {
    let file = in_file();
    let create = |key: &str| {
        format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY ({key}));
             INSERT INTO t VALUES (1, 1000), (2, 2000)"
        )
    };
    file.writer.execute_batch(&create("a")).unwrap();
    let read = Read {
        schema: file.store.describe("t").await.unwrap(),
        columns: vec!["b".to_owned()],
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(10).unwrap(),
        cut: None,
    };
    let keys = Batch { rows: 1, columns: vec![integers(&[2])] };
    assert_eq!(file.store.fetch(&read, &keys, Consistency::Strong).await.pages[0].rows.rows, 1);
    for key in ["b", "a, b"] {
        file.writer.execute_batch(&create(key)).unwrap();
        file.store.split(&read, NonZeroU32::new(10).unwrap()).await.unwrap();
        let fetched = file.store.fetch(&read, &keys, Consistency::Strong).await;
        assert!(fetched.pages.is_empty());
        let (positions, error) = &fetched.unread[0];
        assert_eq!(
            (positions.as_slice(), error.kind.code().as_str()),
            ([0].as_slice(), "store-unfit")
        );
        let extent = Extent::Range(Range { from: None, until: None });
        let error = file.store.scan(&read, &extent).next().await.unwrap().unwrap_err();
        assert!(error.to_string().ends_with("restart driftd"), "{error}");
    }
}

#[tokio::test]
async fn rows_without_a_key_are_told_and_not_passed_over() {
    let file = in_file();
    let sql = "CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (a, b));
        INSERT INTO t VALUES (1, 1), (NULL, 2)";
    file.writer.execute_batch(sql).unwrap();
    let read = Read {
        schema: file.store.describe("t").await.unwrap(),
        columns: Vec::new(),
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(10).unwrap(),
        cut: None,
    };
    let error = file.store.split(&read, NonZeroU32::new(10).unwrap()).await.unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
    assert!(error.to_string().contains("\"a\" is null"), "{error}");
}

#[tokio::test]
async fn a_statement_that_crawls_is_interrupted() {
    let file = in_file();
    // Half a minute's work at the least, row by row. The column comes last, or writing would do it, too.
    let sql = "CREATE TABLE t (id INTEGER PRIMARY KEY);
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
        INSERT INTO t SELECT i FROM n;
        ALTER TABLE t ADD COLUMN
            v INTEGER GENERATED ALWAYS AS (length(hex(zeroblob(5000000 + id)))) VIRTUAL";
    file.writer.execute_batch(sql).unwrap();
    let settings = store::Settings {
        name: "source".to_owned(),
        kind: store::Kind::Sqlite { path: file.directory.path().join("a.db") },
        limits: Limits::default(),
        timeouts: Timeouts { patience: Duration::from_millis(300), ..Timeouts::default() },
    };
    let hasty = store::open(&settings).await.unwrap();
    let read = Read {
        schema: hasty.describe("t").await.unwrap(),
        columns: vec!["v".to_owned()],
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(10_000).unwrap(),
        cut: None,
    };
    let extent = Extent::Range(Range { from: None, until: None });
    let first = hasty.scan(&read, &extent).next().await.unwrap();
    assert_eq!(first.map(|page| page.rows.rows).unwrap_err().kind.code(), FaultCode::StoreTimeout);
    hasty.describe("t").await.unwrap();
}

fn integers(values: &[i64]) -> Column {
    let mut column = ColumnBuilder::int64(values.len());
    values.iter().for_each(|value| column.push_i64(*value));
    column.finish()
}

#[tokio::test]
async fn a_file_locked_by_a_writer_is_an_error_that_heals() {
    let file = in_file();
    file.writer.pragma_update(None, "journal_mode", "delete").unwrap();
    file.writer.execute_batch("CREATE TABLE t (id INTEGER PRIMARY KEY)").unwrap();
    file.writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = file.store.describe("t").await.unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::StoreThrottled);
    file.writer.execute_batch("COMMIT").unwrap();
    file.store.describe("t").await.unwrap();
}

#[tokio::test]
async fn an_index_that_sqlite_would_pass_over_is_refused_with_one_that_serves() {
    let file = in_file();
    for (table, index) in [
        ("part", "(c) WHERE c > 5"),
        ("function", "(c + 1)"),
        ("case_blind", "(name COLLATE NOCASE)"),
        ("second", "(v, c)"),
    ] {
        let sql = format!(
            "CREATE TABLE {table} (id INTEGER PRIMARY KEY, c INTEGER, name TEXT, v INTEGER, d DATE);
             CREATE INDEX {table}_i ON {table} {index}; INSERT INTO {table} VALUES (1, 6, 'n', 1, 1)"
        );
        file.writer.execute_batch(&sql).unwrap();
        let column = if index.contains("name") { "name" } else { "c" };
        let columns = [column.to_owned()];
        let error = file.store.found_by(table, &columns).await.unwrap_err().to_string();
        let (_, remedy) = error.split_once("create one: ").unwrap_or_else(|| panic!("{error}"));
        file.writer.execute_batch(remedy).unwrap();
        file.store.found_by(table, &columns).await.unwrap();
        file.store.found_by(table, &["id".to_owned()]).await.unwrap();
        let error = file.store.found_by(table, &["d".to_owned()]).await.unwrap_err();
        assert!(error.to_string().contains("of type date"), "{error}");
    }
}

#[tokio::test]
async fn how_a_text_begins_is_not_asked_of_a_file_in_another_order() {
    let file = in_file();
    let path = file.directory.path().join("wide.db");
    let writer = Connection::open(&path).unwrap();
    let sql = "PRAGMA encoding = 'UTF-16le'; CREATE TABLE t (id INTEGER PRIMARY KEY, k TEXT);
        CREATE INDEX i ON t (k); INSERT INTO t VALUES (1, 'abc'), (2, 'a')";
    writer.execute_batch(sql).unwrap();
    let settings = store::Settings {
        name: "wide".to_owned(),
        kind: store::Kind::Sqlite { path },
        limits: Limits::default(),
        timeouts: Timeouts::default(),
    };
    let wide = store::open(&settings).await.unwrap();
    let read = Read {
        schema: wide.describe("t").await.unwrap(),
        columns: vec!["id".to_owned()],
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(10).unwrap(),
        cut: None,
    };
    let mut start = ColumnBuilder::bytes(1);
    start.push_bytes(b"a");
    let values = Batch { rows: 1, columns: vec![start.finish()] };
    let mut query = Query { columns: vec!["k".to_owned()], values, prefix: true };
    let fetched = wide.query(&read, &query, Consistency::Eventual).await;
    assert!(fetched.unread[0].1.to_string().contains("UTF-16le"), "{:?}", fetched.unread);
    query.prefix = false;
    let fetched = wide.query(&read, &query, Consistency::Eventual).await;
    assert_eq!(fetched.pages[0].rows.columns[0].integer(0), Some(2));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_costs_itself_alone() {
    let file = in_file();
    file.writer
        .execute_batch(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER, w INTEGER);
             CREATE INDEX by_w ON t (w);
             INSERT INTO t WITH RECURSIVE n (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n LIMIT 600)
             SELECT id, id, id FROM n;
             UPDATE t SET v = 'no number' WHERE id IN (7, 500)",
        )
        .unwrap();
    let read = Read {
        schema: file.store.describe("t").await.unwrap(),
        columns: vec!["v".to_owned()],
        ignored: Vec::new(),
        page_rows: NonZeroU32::new(100).unwrap(),
        cut: None,
    };
    let mut column = ColumnBuilder::int64(600);
    (1..=600).for_each(|id| column.push_i64(id));
    let keys = Batch { rows: 600, columns: vec![column.finish()] };
    let query = Query { columns: vec!["w".to_owned()], values: keys.clone(), prefix: false };
    let fetched = file.store.fetch(&read, &keys, Consistency::Eventual).await;
    let asked = file.store.query(&read, &query, Consistency::Eventual).await;
    for fetched in [fetched, asked] {
        let mut unread: Vec<_> = fetched.unread.iter().flat_map(|(whose, _)| whose).collect();
        unread.sort_unstable();
        let rows: usize = fetched.pages.iter().map(|page| page.rows.rows).sum();
        assert_eq!((unread, rows), (vec![&6, &499], 598));
    }
}

#[tokio::test]
async fn a_key_by_which_no_row_is_found_again_is_refused() {
    let file = in_file();
    file.writer
        .execute_batch(
            "CREATE TABLE t (id INTEGER, day DATE, PRIMARY KEY (id, day));
             CREATE TABLE f (id REAL PRIMARY KEY)",
        )
        .unwrap();
    for (relation, words) in
        [("t", "`day` is of type date"), ("f", "`id` of its primary key is a float")]
    {
        let error = file.store.describe(relation).await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
        assert!(error.to_string().contains(words), "{error}");
    }
}
