//! How rows that belong together are walked and found: by an index, and by bytes.

use driftd::model::{Batch, ColumnBuilder, Extent, FaultCode, Range};
use driftd::store::{Fetched, Query};
use driftd_tests::mariadb::{Flavour, Server, count};
use futures::StreamExt;
use mysql_async::prelude::Queryable;

use super::{
    Consistency, Read, Store, handler_reads, integer_keys, integers, open, read, rows, text_keys,
};

/// The whole of a relation.
const WHOLE: Extent = Extent::Range(Range { from: None, until: None });

/// How often the server sorted.
async fn sorts(server: &Server) -> u64 {
    let mut conn = server.conn().await;
    let rows: Vec<(String, u64)> = conn
        .query("SHOW GLOBAL STATUS WHERE variable_name IN ('Sort_range', 'Sort_scan')")
        .await
        .unwrap();
    rows.iter().map(|(_, count)| count).sum()
}

fn asked(columns: &[&str], values: Batch, prefix: bool) -> Query {
    Query { columns: columns.iter().map(|name| (*name).to_owned()).collect(), values, prefix }
}

fn of(columns: Vec<Batch>) -> Batch {
    let rows = columns[0].rows;
    Batch { rows, columns: columns.into_iter().flat_map(|batch| batch.columns).collect() }
}

/// The values of the first column that was read, in order.
fn found(fetched: &Fetched) -> Vec<i128> {
    assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
    let pages = fetched.pages.iter();
    let mut found: Vec<_> =
        pages.flat_map(|page| integers(&page.rows.columns[0])).flatten().collect();
    found.sort_unstable();
    found
}

/// Tables with an index `k`, by which they are cut: name, columns and index, values of `c` and `p`.
const WALKED: [(&str, &str, &str, &str); 8] = [
    ("plain", "c BIGINT, p INT, KEY k (c)", MANY, "1"),
    ("key_part", "c BIGINT, p INT, KEY k (c, id)", MANY, "1"),
    ("wider", "c BIGINT, p INT, KEY k (c, p)", MANY, "IF(seq % 3 = 0, NULL, seq % 7)"),
    ("labels", "c INT, p ENUM('z', 'a', 'm'), KEY k (c, p)", MANY, "seq % 3 + 1"),
    ("single", "c INT NOT NULL, p INT, UNIQUE KEY k (c)", "seq * 2 - 999", "1"),
    ("pair", "c INT NOT NULL, p INT NOT NULL, UNIQUE KEY k (c, p)", "seq DIV 4", "seq % 4"),
    ("positive", "c BIGINT UNSIGNED, p INT, KEY k (c)", "IF(seq % 9 = 0, NULL, seq DIV 5)", "1"),
    ("all_null", "c INT, p INT, KEY k (c)", "NULL", "1"),
];
/// Values that several rows share, and one of them many; some rows have none.
const MANY: &str = "IF(seq % 10 = 0, NULL, IF(seq < 6000, 77, seq DIV 3))";

#[tokio::test]
async fn scanning_by_another_index_walks_no_row_twice_and_sorts_nothing() {
    for server in Server::start_each().await {
        for (table, declared, cut, part) in WALKED {
            // Rows so wide that a scan takes several steps.
            let create = format!(
                "CREATE TABLE {table} (a INT, id INT, v VARCHAR(500), PRIMARY KEY (a, id), {declared})"
            );
            server.exec(&create).await;
            let select = format!("SELECT seq % 3, seq, REPEAT('x', 400), {cut}, {part}");
            let from = count(20_000);
            server
                .exec(&format!("INSERT INTO {table} (a, id, v, c, p) {select} FROM {from}"))
                .await;
            let store = open(&server).await;
            let mut read = read(store.as_ref(), table, &["id", "v", "c"]).await;
            read.cut = Some("c".to_owned());
            scan_step_by_step(&server, store.as_ref(), &read).await;
            cut_by_bounded_walks(&server, store.as_ref(), &read).await;
        }
    }
}

async fn scan_step_by_step(server: &Server, store: &dyn Store, read: &Read) {
    let table = &read.schema.relation;
    let (walked, sorted) = (handler_reads(server).await, sorts(server).await);
    let pages: Vec<_> = store.scan(read, &WHOLE).map(|page| page.unwrap()).collect().await;
    let walked = handler_reads(server).await - walked;
    assert_eq!(sorts(server).await, sorted, "{table}: the server sorts");
    assert!(walked < 21_000, "{table}: {walked} entries walked for 20,000 rows");
    assert!(pages.iter().filter(|page| page.cost.requests > 0).count() > 3, "{table}");
    let column =
        |index: usize| pages.iter().flat_map(move |page| integers(&page.rows.columns[index]));
    assert!(column(2).is_sorted(), "{table}: in the order of the column that cuts");
    let mut ids: Vec<_> = column(0).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=20_000).map(Some).collect::<Vec<_>>(), "{table}");
}

async fn cut_by_bounded_walks(server: &Server, store: &dyn Store, read: &Read) {
    let table = &read.schema.relation;
    let sorted = sorts(server).await;
    store.describe(table).await.unwrap();
    let describing = sorts(server).await - sorted;
    let walked = handler_reads(server).await;
    let extents = store.split(read, rows(2_500)).await.unwrap();
    let walked = handler_reads(server).await - walked;
    assert_eq!(sorts(server).await - sorted, 2 * describing, "{table}: the server sorts");
    assert!(walked < 25_000, "{table}: {walked} entries walked to cut 20,000 rows");
    assert!(extents.len() >= 4 || table == "all_null", "{table}: {extents:?}");
    let mut read_rows = 0;
    for extent in &extents {
        let pages: Vec<_> = store.scan(read, extent).map(|page| page.unwrap()).collect().await;
        read_rows += pages.iter().map(|page| page.rows.rows).sum::<usize>();
    }
    assert_eq!(read_rows, 20_000, "{table}: {extents:?}");
}

#[tokio::test]
async fn queries_walk_what_they_find_and_nothing_else() {
    for server in Server::start_each().await {
        server
            .exec(
                "CREATE TABLE q (a INT, id INT, c INT, name VARCHAR(50) COLLATE utf8mb4_general_ci, \
                 code VARCHAR(50) COLLATE utf8mb4_bin, raw VARBINARY(50), v INT, PRIMARY KEY (a, id), \
                 KEY (c), KEY (name), KEY (code), KEY (raw), KEY (c, name))",
            )
            .await;
        let select = "seq % 100, seq, seq DIV 5, CONCAT('name ', seq), CONCAT('code ', seq), \
             CONCAT(x'ff', seq), seq";
        server.exec(&format!("INSERT INTO q SELECT {select} FROM {}", count(20_000))).await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "q", &["v"]).await;
        let texts =
            |texts: &[String]| text_keys(&texts.iter().map(String::as_bytes).collect::<Vec<_>>());
        let many: Vec<i64> = (0..200).map(|n| n * 17).collect();
        let named = |word: &str| many.iter().map(|n| format!("{word} {n}1")).collect::<Vec<_>>();
        let pairs = of(vec![
            integer_keys(&many),
            texts(&many.iter().map(|n| format!("name {}", n * 5 + 3)).collect::<Vec<_>>()),
        ]);
        let starts =
            of(vec![integer_keys(&[20, 21]), texts(&["name 10".to_owned(), "name 10".to_owned()])]);
        let keys = of(vec![
            integer_keys(&many.iter().map(|n| n % 100).collect::<Vec<_>>()),
            integer_keys(&many.iter().map(|n| n % 20_000).collect::<Vec<_>>()),
        ]);
        let raw: Vec<Vec<u8>> =
            (100..120).map(|n| [b"\xff", n.to_string().as_bytes()].concat()).collect();
        let raw = text_keys(&raw.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (columns, values, prefix, expected) in [
            (&["c"][..], integer_keys(&many), false, 199 * 5 + 4),
            (&["name"], texts(&named("name")), false, 117),
            (&["c", "name"], pairs, false, 200),
            (&["c", "name"], starts, true, 10),
            (&["a"], integer_keys(&[5, 7]), false, 400),
            (&["a", "id"], keys, false, 199),
            (&["code"], texts(&["code 123".to_owned(), "code 77".to_owned()]), true, 222),
            (&["name"], texts(&["name 123".to_owned(), "name 77".to_owned()]), true, 222),
            (&["raw"], raw, true, 20 * 111),
        ] {
            let query = asked(columns, values, prefix);
            // Asking costs reads, too.
            let sorted = sorts(&server).await;
            let asking = handler_reads(&server).await;
            let before = handler_reads(&server).await;
            let fetched = store.query(&read, &query, Consistency::Eventual).await;
            let walked = handler_reads(&server).await - before - (before - asking);
            assert_eq!(sorts(&server).await, sorted);
            assert_eq!(found(&fetched).len(), expected, "{columns:?}");
            // Each question has an end to find as well, and statements are filled up.
            let most = u64::try_from(expected * 2 + query.values.rows * 4 + 64).unwrap();
            assert!(walked <= most, "{columns:?}: {walked} entries walked, at most {most}");
        }
    }
}

/// Texts that collations take for one another, or put far apart.
const TEXTS: [&str; 23] = [
    "a",
    "A",
    "a ",
    "á",
    "a\u{301}",
    "ab",
    "AB",
    "a\u{1}",
    "a\u{1f}b",
    "a😀",
    "a\u{10ffff}",
    "a\u{fffd}",
    "a\u{fffd}\u{fffd}\u{fffd}",
    "a\u{ffff}",
    "a%",
    "a_b",
    "a\\b",
    "a|b",
    "ß",
    "ss",
    "ch",
    "c",
    "b",
];
const STARTS: [&str; 17] = [
    "a",
    "A",
    "á",
    "a ",
    "a%",
    "a_",
    "a\\",
    "a|",
    "a😀",
    "a\u{1}",
    "a\u{fffd}",
    "a\u{10ffff}",
    "s",
    "ß",
    "c",
    "",
    "x",
];

#[tokio::test]
async fn texts_belong_together_by_bytes_whatever_the_collation() {
    for server in Server::start_each().await {
        let mut collations = vec!["utf8mb4_bin", "utf8mb4_general_ci"];
        if matches!(server.flavour, Flavour::Mysql(_)) {
            collations.extend(["utf8mb4_0900_ai_ci", "utf8mb4_0900_as_cs", "utf8mb4_0900_bin"]);
        }
        for collation in collations {
            let name = format!("t_{collation}");
            let key = format!("k VARCHAR(20) COLLATE {collation}, KEY (k)");
            server.exec(&format!("CREATE TABLE {name} (id INT PRIMARY KEY, {key})")).await;
            let mut conn = server.conn().await;
            let insert = format!("INSERT INTO {name} VALUES (?, ?)");
            for (id, text) in (0i64..).zip(TEXTS) {
                conn.exec_drop(&insert, (id, text)).await.unwrap();
            }
            let store = open(&server).await;
            let read = read(store.as_ref(), &name, &["id"]).await;
            for (questions, prefix) in [(&TEXTS[..], false), (&STARTS, true)] {
                for question in questions {
                    ask_texts(store.as_ref(), &read, &[question], prefix).await;
                }
                ask_texts(store.as_ref(), &read, questions, prefix).await;
            }
        }
    }
}

async fn ask_texts(store: &dyn Store, read: &Read, questions: &[&str], prefix: bool) {
    let values = text_keys(&questions.iter().map(|text| text.as_bytes()).collect::<Vec<_>>());
    let fetched = store.query(read, &asked(&["k"], values, prefix), Consistency::Eventual).await;
    let matches = |text: &str, asked: &&str| {
        if prefix { text.starts_with(*asked) } else { text == *asked }
    };
    let answers = |text: &str| questions.iter().any(|asked| matches(text, asked));
    let numbered = (0i128..).zip(TEXTS);
    let expected: Vec<_> = numbered.filter(|(_, text)| answers(text)).map(|(id, _)| id).collect();
    assert_eq!(found(&fetched), expected, "{}: {questions:?}, {prefix}", read.schema.relation);
}

#[tokio::test]
async fn collations_that_tear_apart_what_begins_alike_are_refused() {
    for server in Server::start_each().await {
        let sql = "CREATE TABLE t (id INT PRIMARY KEY, u VARCHAR(20) COLLATE utf8mb4_unicode_ci, \
             l VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, KEY (u), KEY (l))";
        server.exec(sql).await;
        server.exec("INSERT INTO t VALUES (1, 'Abc', 'Äbc'), (2, 'abc', 'abc')").await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "t", &["id"]).await;
        for (column, collation, whole, id) in
            [("u", "utf8mb4_unicode_ci", "abc", 2), ("l", "latin1_swedish_ci", "Äbc", 1)]
        {
            let whole = asked(&[column], text_keys(&[whole.as_bytes()]), false);
            assert_eq!(found(&store.query(&read, &whole, Consistency::Eventual).await), [id]);
            let start = asked(&[column], text_keys(&[b"a"]), true);
            let fetched = store.query(&read, &start, Consistency::Eventual).await;
            assert!(fetched.pages.is_empty());
            let (positions, error) = &fetched.unread[0];
            assert_eq!(
                (positions.as_slice(), error.kind.code().as_str()),
                (&[0][..], "store-unfit")
            );
            for word in [&format!("`{column}`"), collation, "utf8mb4_bin"] {
                assert!(error.to_string().contains(word), "{error}");
            }
        }
    }
}

/// The statement that an error gives as its remedy.
fn remedy(error: &str) -> &str {
    error.split_once("create one: ").unwrap_or_else(|| panic!("{error}")).1
}

#[tokio::test]
async fn an_index_that_does_not_serve_is_refused_with_one_that_does() {
    for server in Server::start_each().await {
        let hidden = match server.flavour {
            Flavour::Mariadb => "ALTER INDEX hidden IGNORED",
            Flavour::Mysql(_) => "ALTER INDEX hidden INVISIBLE",
        };
        for (table, index, cuts_only) in [
            ("part", "KEY hidden (name(5))", false),
            ("second", "KEY hidden (id, c)", false),
            ("hidden", "KEY hidden (c)", false),
            ("text", "FULLTEXT KEY hidden (name)", false),
            ("down", "KEY hidden (c DESC)", true),
            ("nulls", "UNIQUE KEY hidden (c)", true),
            ("floats", "KEY hidden (c, f)", true),
        ] {
            let create = format!(
                "CREATE TABLE {table} (id INT PRIMARY KEY, c INT, name VARCHAR(50), f FLOAT, {index})"
            );
            server.exec(&create).await;
            server
                .exec(&format!("INSERT INTO {table} VALUES (1, 5, 'n', 1), (2, NULL, 'n', 1)"))
                .await;
            if table == "hidden" {
                server.exec(&format!("ALTER TABLE {table} {hidden}")).await;
            }
            let column = if index.contains("name") { "name" } else { "c" };
            let store = open(&server).await;
            let columns = [column.to_owned()];
            let mut read = read(store.as_ref(), table, &["id"]).await;
            let refused = store.found_by(table, &columns).await;
            assert_eq!(refused.is_ok(), cuts_only, "{table}: {refused:?}");
            let error = if cuts_only {
                read.cut = Some("c".to_owned());
                store.split(&read, rows(10)).await.unwrap_err()
            } else {
                refused.unwrap_err()
            };
            assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{error}");
            let words = error.to_string();
            assert!(words.contains(&format!("`{column}`")), "{words}");
            server.exec(remedy(&words)).await;
            store.found_by(table, &columns).await.unwrap();
            if cuts_only {
                assert_eq!(store.split(&read, rows(10)).await.unwrap().len(), 1);
                let pages: Vec<_> = store.scan(&read, &WHOLE).collect().await;
                assert_eq!(
                    integers(&pages[0].as_ref().unwrap().rows.columns[0]),
                    [Some(2), Some(1)]
                );
            }
        }
    }
}

#[tokio::test]
async fn an_index_of_several_columns_serves_those_it_begins_with() {
    for server in Server::start_each().await {
        server
            .exec("CREATE TABLE t (a INT, b INT, c INT, v INT, PRIMARY KEY (a, b), KEY (c, b, a))")
            .await;
        server.exec("INSERT INTO t VALUES (1, 2, 3, 1), (1, 3, 3, 2), (2, 2, 3, 3)").await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "t", &["v"]).await;
        let names =
            |columns: &[&str]| columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for columns in
            [&["a"][..], &["a", "b"], &["c"], &["c", "b"], &["c", "b", "a"], &["b", "c", "a"]]
        {
            store.found_by("t", &names(columns)).await.unwrap();
        }
        for columns in [&["b"][..], &["b", "a"], &["b", "c"], &["c", "a"], &["v"]] {
            let error = store.found_by("t", &names(columns)).await.unwrap_err();
            assert_eq!(error.kind.code(), FaultCode::StoreUnfit, "{columns:?}: {error}");
        }
        let one = of(vec![integer_keys(&[2]), integer_keys(&[3]), integer_keys(&[1])]);
        let fetched =
            store.query(&read, &asked(&["b", "c", "a"], one, false), Consistency::Eventual).await;
        assert_eq!(found(&fetched), [1]);
    }
}

#[tokio::test]
async fn a_question_with_too_many_bytes_is_unread_and_an_index_that_went_is_no_absence() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE w (id INT PRIMARY KEY, c INT, v LONGBLOB, KEY by_c (c))").await;
        let fill = "INSERT INTO w SELECT seq, IF(seq <= 40, 1, seq), REPEAT('x', 1000000)";
        server.exec(&format!("{fill} FROM {}", count(50))).await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "w", &["id", "v"]).await;
        let query = asked(&["c"], integer_keys(&[45, 1, 47, 48, 1, 99]), false);
        for _ in 0..2 {
            let fetched = store.query(&read, &query, Consistency::Eventual).await;
            let [(positions, error)] = fetched.unread.as_slice() else { panic!("{fetched:?}") };
            assert_eq!(positions, &[1, 4]);
            assert!(
                error.to_string().contains("more than 32 MiB of rows belong to one value of `c`")
            );
            let ids: Vec<_> =
                fetched.pages.iter().flat_map(|page| integers(&page.rows.columns[0])).collect();
            assert_eq!(ids, [Some(45), Some(47), Some(48)]);
        }
        server.exec("DROP INDEX by_c ON w").await;
        for _ in 0..2 {
            let fetched = store.query(&read, &query, Consistency::Eventual).await;
            assert!(fetched.pages.is_empty());
            let unread: usize = fetched.unread.iter().map(|(positions, _)| positions.len()).sum();
            assert_eq!(unread, 6, "{:?}", fetched.unread);
        }
        let fetched = store.query(&read, &query, Consistency::Eventual).await;
        assert!(fetched.unread[0].1.to_string().contains("create one: CREATE INDEX"));
    }
}

#[tokio::test]
async fn nulls_and_values_of_other_types_belong_to_nothing() {
    for server in Server::start_each().await {
        let sql = "CREATE TABLE t (id INT PRIMARY KEY, c DECIMAL(6,2), d DATETIME(3), e ENUM('b', 'a'), \
             KEY (c), KEY (d), KEY (e))";
        server.exec(sql).await;
        let rows = "(1, 1.50, '2024-01-01 00:00:00.5', 'a'), (2, NULL, NULL, NULL), \
             (3, 1.51, '2024-01-01 00:00:00.501', 'b')";
        server.exec(&format!("INSERT INTO t VALUES {rows}")).await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "t", &["id"]).await;
        let decimals = text_keys(&[b"1.5", b"1.505", b"none"]);
        let decimals = asked(&["c"], decimals, false);
        assert_eq!(found(&store.query(&read, &decimals, Consistency::Eventual).await), [1]);
        let moment = 1_704_067_200_500_000;
        let mut times = ColumnBuilder::int64(3);
        times.push_i64(moment);
        times.push_null();
        times.push_i64(moment + 400);
        let times = Batch { rows: 3, columns: vec![times.finish()] };
        let times = asked(&["d"], times, false);
        assert_eq!(found(&store.query(&read, &times, Consistency::Eventual).await), [1]);
        let labels = asked(&["e"], text_keys(&[b"b", b"A", b"1", b""]), false);
        assert_eq!(found(&store.query(&read, &labels, Consistency::Eventual).await), [3]);
    }
}
