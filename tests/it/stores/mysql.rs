//! MariaDB and MySQL: the suite, and what only they must do.

mod belonging;
mod faults;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use driftd::model::{
    Batch, Buffer, Column, ColumnBuilder, Extent, FaultCode, Logical, Range, Value,
};
use driftd::store::{self, Consistency, Read, Store, Timeouts};
use driftd_tests::conformance::{self, Fixture, Row, Shape};
use driftd_tests::mariadb::{Flavour, Server, count};
use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt};
use mysql_async::prelude::Queryable;

/// Timeouts that a test can wait for.
const SHORT: Timeouts = Timeouts {
    connect: Duration::from_millis(500),
    read: Duration::from_millis(500),
    patience: Duration::from_secs(1),
};

struct OnServer {
    server: Server,
    store: Arc<dyn Store>,
}

async fn open(server: &Server) -> Arc<dyn Store> {
    store::open(&server.settings("source")).await.unwrap()
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Value::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{digits}'")
        }
        other => panic!("the suite has no value such as {other:?}"),
    }
}

fn declared(logical: Logical) -> &'static str {
    match logical {
        Logical::Integer => "BIGINT",
        Logical::Text => "VARCHAR(100)",
        Logical::Binary => "VARBINARY(100)",
        Logical::Decimal => "DECIMAL(30,2)",
        other => panic!("the suite has no column of type {other}"),
    }
}

impl Fixture for OnServer {
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
        let columns = shape.columns.iter();
        let mut parts: Vec<_> =
            columns.map(|(name, logical)| format!("`{name}` {}", declared(*logical))).collect();
        let key: Vec<_> = shape.columns[..shape.key].iter().map(|(name, _)| *name).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
        parts.extend(shape.indexed.iter().map(|name| format!("INDEX (`{name}`)")));
        let sql = format!("CREATE TABLE {relation} ({})", parts.join(", "));
        async move { self.server.exec(&sql).await }.boxed()
    }

    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()> {
        let names: BTreeSet<&str> = rows.iter().flat_map(Row::keys).map(String::as_str).collect();
        let row = |row: &Row| {
            let cells =
                names.iter().map(|name| row.get(*name).map_or_else(|| "NULL".to_owned(), literal));
            format!("({})", cells.collect::<Vec<_>>().join(", "))
        };
        let values: Vec<_> = rows.iter().map(row).collect();
        let names = names.into_iter().collect::<Vec<_>>().join("`, `");
        let values = values.join(", ");
        let sql = format!("INSERT INTO {relation} (`{names}`) VALUES {values}");
        async move {
            if !rows.is_empty() {
                self.server.exec(&sql).await;
            }
        }
        .boxed()
    }

    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        async move { self.server.exec(&format!("DROP TABLE {relation}")).await }.boxed()
    }

    fn fail(&mut self) -> BoxFuture<'_, ()> {
        async move {
            self.server.kill();
            let settings = store::Settings { timeouts: SHORT, ..self.server.settings("source") };
            self.store = store::open(&settings).await.unwrap();
        }
        .boxed()
    }

    fn heal(&mut self) -> BoxFuture<'_, ()> {
        async move { self.server.restart().await }.boxed()
    }
}

#[tokio::test]
async fn mariadb_and_mysql_conform() {
    for server in Server::start_each().await {
        let store = open(&server).await;
        conformance::all(&mut OnServer { server, store }).await;
    }
}

#[tokio::test]
async fn an_open_range_ends_however_small_its_steps_are() {
    let server = Server::start().await;
    let mut settings = server.settings("source");
    // A limit of rows a second makes steps as small.
    settings.limits.rows_per_second = NonZeroU32::new(40);
    let store = store::open(&settings).await.unwrap();
    conformance::a_scan_ends_while_rows_are_written(&OnServer { server, store }).await;
}

/// Describes, cuts and scans a whole relation: for each column, its logical type and cells.
async fn table(store: &dyn Store, relation: &str, columns: &[&str]) -> Vec<(Logical, Column)> {
    let read = read(store, relation, columns).await;
    let extents = store.split(&read, rows(1_000)).await.unwrap();
    let mut all = Batch::default();
    for extent in &extents {
        let pages: Vec<_> = store.scan(&read, extent).collect().await;
        for page in pages {
            all.append(&page.unwrap().rows);
        }
    }
    let logical = columns.iter().map(|name| read.schema.column(name).unwrap().logical);
    logical.zip(all.columns).collect()
}

async fn read(store: &dyn Store, relation: &str, columns: &[&str]) -> Read {
    Read {
        schema: store.describe(relation).await.unwrap(),
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ignored: Vec::new(),
        page_rows: rows(100),
        cut: None,
    }
}

fn rows(rows: u32) -> NonZeroU32 {
    NonZeroU32::new(rows).unwrap()
}

fn integers(column: &Column) -> Vec<Option<i128>> {
    (0..column.values.len()).map(|row| column.integer(row)).collect()
}

fn texts(column: &Column) -> Vec<Option<&str>> {
    let text = |row| column.bytes(row).map(|bytes| std::str::from_utf8(bytes).unwrap());
    (0..column.values.len()).map(text).collect()
}

fn bytes(column: &Column) -> Vec<Option<&[u8]>> {
    (0..column.values.len()).map(|row| column.bytes(row)).collect()
}

fn text_keys(keys: &[&[u8]]) -> Batch {
    let mut column = ColumnBuilder::bytes(keys.len());
    for key in keys {
        column.push_bytes(key);
    }
    Batch { rows: keys.len(), columns: vec![column.finish()] }
}

fn integer_keys(keys: &[i64]) -> Batch {
    let mut column = ColumnBuilder::int64(keys.len());
    for key in keys {
        column.push_i64(*key);
    }
    Batch { rows: keys.len(), columns: vec![column.finish()] }
}

const DAY: i128 = 86_400_000_000;
const NONE: i128 = i64::MIN as i128;

#[tokio::test]
async fn numbers_keep_their_sign_width_and_digits() {
    for server in Server::start_each().await {
        server
            .exec(
                "CREATE TABLE n (id INT PRIMARY KEY, a TINYINT, b TINYINT UNSIGNED, c BIGINT, \
             d BIGINT UNSIGNED, e DECIMAL(65,30), f FLOAT, g DOUBLE, h YEAR, i TINYINT(1), \
             j DECIMAL(10,2), k MEDIUMINT UNSIGNED, l BIGINT(20) UNSIGNED ZEROFILL)",
            )
            .await;
        server
            .exec(
                "INSERT INTO n VALUES (1, -128, 255, -9223372036854775808, 18446744073709551615, \
             '-12345678901234567890123456789012345.123456789012345678901234567890', 1.2345678, \
             1e308, 2024, 2, 1.50, 16777215, 7), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
             NULL, NULL, NULL, NULL, NULL), (3, 127, 0, 9223372036854775807, 0, 0, -0.0, -0.1, \
             0, 0, -0.01, 0, 0)",
            )
            .await;
        let store = open(&server).await;
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
        let columns = table(store.as_ref(), "n", &names).await;
        let whole = |index: usize, expected: [Option<i128>; 3]| {
            assert_eq!(columns[index].0, Logical::Integer, "{}", names[index]);
            assert_eq!(integers(&columns[index].1), expected, "{}", names[index]);
        };
        whole(0, [Some(-128), None, Some(127)]);
        whole(1, [Some(255), None, Some(0)]);
        whole(2, [Some(i64::MIN.into()), None, Some(i64::MAX.into())]);
        whole(3, [Some(u64::MAX.into()), None, Some(0)]);
        whole(7, [Some(2024), None, Some(0)]);
        whole(8, [Some(2), None, Some(0)]);
        whole(10, [Some(16_777_215), None, Some(0)]);
        whole(11, [Some(7), None, Some(0)]);
        assert!(matches!(columns[3].1.values, Buffer::UInt64(_)));
        assert!(matches!(columns[1].1.values, Buffer::Int64(_)));
        assert_eq!(columns[4].0, Logical::Decimal);
        let wide = "-12345678901234567890123456789012345.123456789012345678901234567890";
        assert_eq!(texts(&columns[4].1)[0], Some(wide));
        assert_eq!(texts(&columns[9].1), [Some("1.50"), None, Some("-0.01")]);
        for (index, logical, expected) in [
            (5, Logical::Float32, [f64::from(1.234_567_8_f32), 0.0]),
            (6, Logical::Float, [1e308, -0.1]),
        ] {
            assert_eq!(columns[index].0, logical);
            let Buffer::Float64(values) = &columns[index].1.values else { panic!("floats") };
            assert_eq!([values[0].to_bits(), values[2].to_bits()], expected.map(f64::to_bits));
            assert!(!columns[index].1.is_valid(1));
        }
    }
}

#[tokio::test]
async fn texts_bytes_labels_and_json_come_as_they_are() {
    for server in Server::start_each().await {
        server
        .exec(
            "CREATE TABLE t (id INT PRIMARY KEY, a CHAR(5), b VARCHAR(20) CHARACTER SET latin1, \
             c MEDIUMTEXT, d BINARY(4), e VARBINARY(9), f BLOB, g ENUM('small','größe',''), \
             h SET('x','y','z'), i JSON, j BIT(1), k BIT(12), l TEXT CHARACTER SET ucs2, \
             m LONGTEXT, n GEOMETRY)",
        )
        .await;
        server
        .exec(
            "INSERT INTO t VALUES (1, 'ab  ', 'café', 'e\\u{301}😀', 'ab', x'00ff', x'', 'größe', \
             'z,x', '{\"b\":1, \"a\":1.0}', b'1', b'100000000001', 'ü', '{}', POINT(1,2))"
                .replace("\\u{301}", "\u{301}")
                .as_str(),
        )
        .await;
        let store = open(&server).await;
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n"];
        let columns = table(store.as_ref(), "t", &names).await;
        // MariaDB keeps the text, MySQL writes it anew.
        let json: &[u8] = match server.flavour {
            Flavour::Mariadb => b"{\"b\":1, \"a\":1.0}",
            Flavour::Mysql(_) => b"{\"a\": 1.0, \"b\": 1}",
        };
        // SRID, byte order, type, and two floats.
        let point =
            [&[0, 0, 0, 0, 1, 1, 0, 0, 0][..], &1f64.to_le_bytes()[..], &2f64.to_le_bytes()[..]]
                .concat();
        let expected: [(Logical, &[u8]); 14] = [
            (Logical::Text, b"ab"),
            (Logical::Text, "café".as_bytes()),
            (Logical::Text, "e\u{301}😀".as_bytes()),
            (Logical::Binary, b"ab\0\0"),
            (Logical::Binary, b"\x00\xff"),
            (Logical::Binary, b""),
            (Logical::Enum, "größe".as_bytes()),
            (Logical::Set, b"x,z"),
            (Logical::Json, json),
            (Logical::Binary, b"\x01"),
            (Logical::Binary, b"\x08\x01"),
            (Logical::Text, "ü".as_bytes()),
            (Logical::Text, b"{}"),
            (Logical::Binary, &point),
        ];
        for ((name, (logical, column)), (known, value)) in names.iter().zip(&columns).zip(expected)
        {
            assert_eq!((*logical, bytes(column)), (known, vec![Some(value)]), "{name}");
        }
        if matches!(server.flavour, Flavour::Mariadb) {
            // It has no type that cannot be read.
            continue;
        }
        server.exec("CREATE TABLE v (id INT PRIMARY KEY, w VECTOR(3))").await;
        let read = read(store.as_ref(), "v", &["id", "w"]).await;
        let extents = store.split(&read, rows(10)).await.unwrap();
        let error = store.scan(&read, &extents[0]).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
        let error = error.to_string();
        assert!(error.contains("`w`") && error.contains("vector"), "{error}");
    }
}

#[tokio::test]
async fn a_geometry_is_told_from_another_by_its_place_and_by_its_reference_system() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE g (id INT PRIMARY KEY, g GEOMETRY, p POLYGON)").await;
        server
            .exec(
                "INSERT INTO g VALUES (1, ST_GeomFromText('POINT(1 2)', 0), NULL), \
                 (2, ST_GeomFromText('POINT(1 2)', 4326), NULL), \
                 (3, ST_GeomFromText('LINESTRING(0 0, 1 2)', 0), \
                 ST_GeomFromText('POLYGON((0 0, 1 0, 1 1, 0 0))', 0))",
            )
            .await;
        let columns = table(open(&server).await.as_ref(), "g", &["g", "p"]).await;
        let found = bytes(&columns[0].1);
        assert!(columns.iter().all(|(logical, _)| *logical == Logical::Binary));
        let system = |row: usize| found[row].map(|bytes| &bytes[..4]);
        assert_eq!(system(0), Some(&[0, 0, 0, 0][..]));
        assert_eq!(system(1), Some(&4326u32.to_le_bytes()[..]));
        assert_ne!(found[0], found[2]);
        assert_eq!(
            bytes(&columns[1].1).iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}

#[tokio::test]
async fn times_are_read_in_utc_and_zero_dates_are_values() {
    for server in Server::start_each().await {
        server
            .exec(
                "CREATE TABLE d (id INT PRIMARY KEY, a DATE, b DATETIME(6), c TIMESTAMP(6) NULL, \
             e TIME(6))",
            )
            .await;
        let mut conn = server.conn().await;
        conn.query_drop("SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+05:00'")
            .await
            .unwrap();
        conn.query_drop(
            "INSERT INTO d VALUES (1, '1970-01-02', '1969-12-31 23:59:59.999999', \
         '1970-01-01 06:00:00.000001', '-838:59:58.000001'), \
         (2, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '00:00:00'), \
         (3, '2024-00-00', '2024-02-30 01:02:03', '2038-01-19 08:14:07.999999', '26:00:00.5'), \
         (4, '9999-12-31', '9999-12-31 23:59:59.999999', NULL, NULL)",
        )
        .await
        .unwrap();
        let store = open(&server).await;
        let columns = table(store.as_ref(), "d", &["a", "b", "c", "e"]).await;
        let logical: Vec<_> = columns.iter().map(|(logical, _)| *logical).collect();
        assert_eq!(logical, [Logical::Date, Logical::DateTime, Logical::Timestamp, Logical::Time]);
        let date = [1, NONE, NONE + 20_240_000, 2_932_896].map(Some);
        assert_eq!(integers(&columns[0].1), date);
        let broken = NONE + 20_240_230 * DAY + 3_723_000_000;
        let date_time = [-1, NONE, broken, 2_932_897 * DAY - 1].map(Some);
        assert_eq!(integers(&columns[1].1), date_time);
        let timestamp = [Some(3_600_000_001), Some(NONE), Some(2_147_483_647_999_999), None];
        assert_eq!(integers(&columns[2].1), timestamp);
        let time = [Some(-3_020_398_000_001), Some(0), Some(93_600_500_000), None];
        assert_eq!(integers(&columns[3].1), time);
    }
}

#[tokio::test]
async fn keys_are_compared_by_bytes_not_by_collation() {
    for server in Server::start_each().await {
        for (name, collation) in
            [("u", "utf8mb4 COLLATE utf8mb4_unicode_ci"), ("l", "latin1 COLLATE latin1_german1_ci")]
        {
            server
            .exec(&format!(
                "CREATE TABLE {name} (k VARCHAR(50) CHARACTER SET {collation} PRIMARY KEY, v INT)"
            ))
            .await;
            server
                .exec(&format!("INSERT INTO {name} VALUES ('Ada', 1), ('böb', 2), ('c', 3)"))
                .await;
            let many: Vec<_> =
                (0..5_000).map(|index| format!("('key {index}', {index})")).collect();
            server.exec(&format!("INSERT INTO {name} VALUES {}", many.join(", "))).await;
            let store = open(&server).await;
            let read = read(store.as_ref(), name, &["v"]).await;
            let fetch = async |keys: &[&[u8]]| {
                let fetched = store.fetch(&read, &text_keys(keys), Consistency::Strong).await;
                assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
                let pages = fetched.pages.iter();
                let mut found: Vec<_> =
                    pages.flat_map(|page| integers(&page.rows.columns[0])).collect();
                found.sort_unstable();
                found.into_iter().flatten().collect::<Vec<_>>()
            };
            assert_eq!(fetch(&[b"Ada", "böb".as_bytes(), b"c"]).await, [1, 2, 3]);
            assert_eq!(fetch(&[b"ada", b"bob", b"c ", b"C", b"\xff\xfe"]).await, [0i128; 0]);
            assert_eq!(fetch(&[b"ada", b"Ada", b"Ada "]).await, [1]);
            let before = handler_reads(&server).await;
            let keys: Vec<_> = (0..60).map(|index| format!("key {}", index * 7)).collect();
            let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
            assert_eq!(fetch(&keys).await.len(), 60);
            let walked = handler_reads(&server).await - before;
            assert!(walked < 1_500, "{name}: {walked} index entries for 60 keys");
            let error = store.split(&read, rows(10)).await.unwrap_err().to_string();
            assert!(error.contains("`k`") && error.contains("varchar"), "{error}");
        }
    }
}

#[tokio::test]
async fn keys_of_every_type_are_fetched_and_scanned() {
    for server in Server::start_each().await {
        server
        .exec(
            "CREATE TABLE k (a BIGINT UNSIGNED, b VARBINARY(8), c DECIMAL(10,2), d DATETIME(6), \
             e ENUM('z','a'), f BIT(9), g TIME(3), h DATE, i CHAR(3), v INT, \
             PRIMARY KEY (a, b, c, d, e, f, g, h, i))",
        )
        .await;
        let mut values = Vec::new();
        for index in 0..240u32 {
            let label = if index % 2 == 0 { "z" } else { "a" };
            let date = if index % 5 == 0 {
                "0000-00-00".to_owned()
            } else {
                format!("2024-01-{:02}", index % 5)
            };
            values.push(format!(
            "({}, x'ff{:02x}', {}.5, '2024-01-01 00:00:00.{:06}', '{label}', {}, '-01:00:00.{:03}', '{date}', 'k{}', {index})",
            if index < 120 { u64::MAX } else { 7 },
            index % 3, index % 4, index % 6, index % 7, index % 2, index,
        ));
        }
        let mut conn = server.conn().await;
        conn.query_drop("SET SESSION sql_mode = ''").await.unwrap();
        conn.query_drop(format!("INSERT INTO k VALUES {}", values.join(", "))).await.unwrap();
        let store = open(&server).await;
        let mut read = read(store.as_ref(), "k", &["v"]).await;
        let extent = Extent::Range(Range { from: None, until: None });
        let mut whole = Vec::new();
        for page_rows in [1, 7, 1_000] {
            read.page_rows = rows(page_rows);
            // A limit of rows a second makes steps as small, so that each goes on behind the last.
            let mut settings = server.settings("source");
            settings.limits.rows_per_second = NonZeroU32::new(100_000.min(page_rows * 40));
            let store = store::open(&settings).await.unwrap();
            let pages: Vec<_> =
                store.scan(&read, &extent).map(|page| page.unwrap()).collect().await;
            let mut found: Vec<_> =
                pages.iter().flat_map(|page| integers(&page.rows.columns[0])).flatten().collect();
            found.sort_unstable();
            assert_eq!(found, (0..240).collect::<Vec<i128>>(), "pages of {page_rows}");
            whole = pages;
        }
        for page in &whole {
            let fetched = store.fetch(&read, &page.keys, Consistency::Eventual).await;
            assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
            let found: usize = fetched.pages.iter().map(|page| page.rows.rows).sum();
            assert_eq!(found, page.keys.rows, "every key finds its row again");
        }
    }
}

#[tokio::test]
async fn unsigned_and_sparse_keys_are_cut_by_bounded_walks() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE s (id BIGINT UNSIGNED PRIMARY KEY, v INT)").await;
        server.exec("CREATE TABLE c (tenant INT, id INT, PRIMARY KEY (tenant, id))").await;
        server
            .exec(&format!("INSERT INTO s SELECT seq * 1000003, seq FROM {}", count(30_000)))
            .await;
        server
            .exec("INSERT INTO s VALUES (1000000000000000000, 1), (18446744073709551615, 2)")
            .await;
        // One tenant has more rows than an extent should.
        server.exec(&format!("INSERT INTO c SELECT 1, seq FROM {}", count(25000))).await;
        server.exec(&format!("INSERT INTO c SELECT seq + 1, 1 FROM {}", count(499))).await;
        for (table, column, expected, least) in [("s", "v", 30_002, 3), ("c", "id", 25_499, 1)] {
            let mut settings = server.settings("source");
            settings.limits.concurrency = rows(1);
            let store = store::open(&settings).await.unwrap();
            server.exec("SET GLOBAL log_output = 'TABLE'; SET GLOBAL slow_query_log = 1; SET GLOBAL long_query_time = 0").await;
            server.exec("TRUNCATE mysql.slow_log").await;
            let read = read(store.as_ref(), table, &[column]).await;
            let extents = store.split(&read, rows(10_000)).await.unwrap();
            let mut conn = server.conn().await;
            let walked: Option<u64> = conn
            .query_first(
                "SELECT MAX(rows_examined) FROM mysql.slow_log WHERE sql_text LIKE '%FORCE INDEX%'",
            )
            .await
            .unwrap();
            let walked = walked.unwrap();
            assert!(walked > 0 && walked <= 10_000, "{table}: a statement walked {walked} entries");
            server.exec("SET GLOBAL slow_query_log = 0").await;
            assert!(extents.len() > least, "{table}: {extents:?}");
            let mut found = 0;
            for extent in &extents {
                let pages: Vec<_> = store.scan(&read, extent).collect().await;
                let rows: usize = pages.iter().map(|page| page.as_ref().unwrap().rows.rows).sum();
                assert!(rows <= 10_000 || table == "c", "{table}: {extent} has {rows} rows");
                found += rows;
            }
            assert_eq!(found, expected, "{table}");
        }
    }
}

/// How many index entries and rows the server read so far.
async fn handler_reads(server: &Server) -> u64 {
    let mut conn = server.conn().await;
    let rows: Vec<(String, u64)> =
        conn.query("SHOW GLOBAL STATUS LIKE 'Handler_read%'").await.unwrap();
    rows.iter().map(|(_, count)| count).sum()
}

#[tokio::test]
async fn scanning_on_behind_a_composite_key_walks_no_row_twice() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE c (a INT, b VARCHAR(20), v INT, PRIMARY KEY (a, b))").await;
        server
            .exec(&format!("INSERT INTO c SELECT 1, CONCAT('k', seq), seq FROM {}", count(20000)))
            .await;
        let mut settings = server.settings("source");
        settings.limits.rows_per_second = NonZeroU32::new(200_000);
        let store = store::open(&settings).await.unwrap();
        let read = read(store.as_ref(), "c", &["v"]).await;
        let before = handler_reads(&server).await;
        let extent = Extent::Range(Range { from: None, until: None });
        let pages: Vec<_> = store.scan(&read, &extent).map(|page| page.unwrap()).collect().await;
        let walked = handler_reads(&server).await - before;
        assert_eq!(pages.iter().map(|page| page.rows.rows).sum::<usize>(), 20_000);
        assert!(walked < 22_000, "{walked} entries walked for 20,000 rows");
    }
}

#[tokio::test]
async fn a_primary_key_that_changed_is_an_error_and_no_rows_that_are_gone() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (a INT, b INT, v INT, PRIMARY KEY (a))").await;
        server.exec("INSERT INTO t VALUES (1, 1000, 1), (2, 2000, 2)").await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "t", &["v"]).await;
        for key in ["b", "a, b"] {
            let sql = format!("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY ({key})");
            server.exec(&sql).await;
            // As every pass does; from here on the store knows the new key.
            store.split(&read, NonZeroU32::new(10).unwrap()).await.unwrap();
            let fetched = store.fetch(&read, &integer_keys(&[1, 2]), Consistency::Strong).await;
            assert!(fetched.pages.is_empty());
            let (positions, error) = &fetched.unread[0];
            assert_eq!(positions, &[0, 1]);
            assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
            let extent = Extent::Range(Range { from: Some(0), until: Some(10) });
            let error = store.scan(&read, &extent).next().await.unwrap().unwrap_err();
            assert!(error.to_string().ends_with("restart driftd"), "{error}");
        }
        server.exec("ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (a)").await;
        let fetched = store.fetch(&read, &integer_keys(&[1, 2]), Consistency::Strong).await;
        assert_eq!(fetched.pages[0].rows.rows, 2);
    }
}

#[tokio::test]
async fn wide_rows_bound_a_page_by_bytes() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE w (id INT PRIMARY KEY, v LONGBLOB)").await;
        server
            .exec(&format!("INSERT INTO w SELECT seq, REPEAT('x', 1000000) FROM {}", count(40)))
            .await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "w", &["id", "v"]).await;
        let extent = Extent::Range(Range { from: None, until: None });
        let pages: Vec<_> = store.scan(&read, &extent).map(|page| page.unwrap()).collect().await;
        let ids: Vec<_> = pages.iter().flat_map(|page| integers(&page.rows.columns[0])).collect();
        assert_eq!(ids, (1..=40).map(Some).collect::<Vec<_>>());
        let largest = pages.iter().map(|page| page.cost.bytes).max().unwrap();
        assert!(largest <= 6_000_000, "a page of {largest} bytes");
        // What was learned of the rows bounds fetches, too.
        let keys: Vec<i64> = (1..=40).collect();
        let fetched = store.fetch(&read, &integer_keys(&keys), Consistency::Eventual).await;
        let statements: u64 = fetched.pages.iter().map(|page| page.cost.requests).sum();
        let rows: usize = fetched.pages.iter().map(|page| page.rows.rows).sum();
        assert_eq!((rows, statements), (40, 40));
    }
}

#[tokio::test]
async fn only_reading_statements_are_sent_in_a_session_that_refuses_writes() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        server.exec("INSERT INTO t VALUES (1, 1)").await;
        server.exec("CREATE FUNCTION spend() RETURNS INT MODIFIES SQL DATA BEGIN UPDATE t SET v = v + 1; RETURN 1; END").await;
        server.exec("GRANT ALL ON *.* TO driftd@'127.0.0.1'").await;
        server.exec("SET GLOBAL log_output = 'TABLE'; SET GLOBAL general_log = 1").await;
        let store = open(&server).await;
        // Whatever a statement does, the session refuses to write: also to one that hides in a name.
        let error = store.describe("t` WHERE spend() = 1; DROP TABLE t; --").await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreNoRelation);
        table(store.as_ref(), "t", &["id", "v"]).await;
        let read = read(store.as_ref(), "t", &["v"]).await;
        let fetched = store.fetch(&read, &integer_keys(&[1, 2]), Consistency::Strong).await;
        assert_eq!(fetched.pages[0].rows.rows, 1);
        let mut conn = server.conn().await;
        let sent: Vec<(String, String)> = conn
            .query(
                "SELECT command_type, CONVERT(argument USING utf8mb4) FROM mysql.general_log \
             WHERE user_host LIKE '%driftd%' AND command_type IN ('Query', 'Execute', 'Prepare')",
            )
            .await
            .unwrap();
        assert!(sent.len() > 10, "{sent:?}");
        for (_, sql) in &sent {
            assert!(sql.starts_with("SELECT ") || sql.starts_with("SET "), "{sql}");
        }
        let read_only = |(_, sql): &(String, String)| {
            sql.starts_with("SET SESSION TRANSACTION") && sql.ends_with("READ ONLY")
        };
        assert!(sent.iter().any(read_only), "{sent:?}");
        let value: Option<i32> = conn.query_first("SELECT v FROM t").await.unwrap();
        assert_eq!(value, Some(1));
    }
}
