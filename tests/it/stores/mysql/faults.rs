//! What a store says when its server does not do what it should, and when it does again.

use std::fs;
use std::num::NonZeroU32;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use driftd::model::{Extent, FaultCode, Range, Secret};
use driftd::store::{self, Consistency, MysqlSettings, Query, StoreErrorKind, Tls};
use driftd_tests::mariadb::{Flavour, PASSWORD, Server, count};
use futures::StreamExt;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::{SHORT, integer_keys, open, read, rows, text_keys, texts};

#[tokio::test]
async fn a_rotated_password_is_found_and_a_wrong_one_is_denied() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (id INT PRIMARY KEY)").await;
        let password = Arc::new(Mutex::new("wrong".to_owned()));
        let mut mysql = server.mysql();
        let place = Arc::clone(&password);
        let read = move || Ok(place.lock().unwrap().clone());
        mysql.password = Some(Secret::new("the test".to_owned(), read));
        let settings =
            store::Settings { kind: store::Kind::Mysql(mysql), ..server.settings("source") };
        let store = store::open(&settings).await.unwrap();
        let error = store.describe("t").await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreDenied);
        assert!(error.to_string().contains("driftd") && !format!("{error:?}").contains("wrong"));
        PASSWORD.clone_into(&mut password.lock().unwrap());
        store.describe("t").await.unwrap();
    }
}

#[tokio::test]
async fn what_the_user_may_not_read_is_denied_not_missing() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE secret (id INT PRIMARY KEY)").await;
        server.exec("REVOKE SELECT ON *.* FROM driftd@'127.0.0.1'").await;
        server.exec("CREATE TABLE other (id INT PRIMARY KEY); GRANT SELECT ON test.other TO driftd@'127.0.0.1'").await;
        let store = open(&server).await;
        store.describe("other").await.unwrap();
        assert_eq!(store.describe("secret").await.unwrap_err().kind.code(), FaultCode::StoreDenied);
    }
}

#[tokio::test]
async fn columns_without_a_grant_are_known_to_be_hidden() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE part (id INT PRIMARY KEY, shown INT, hidden INT)").await;
        server.exec("CREATE TABLE whole (id INT PRIMARY KEY)").await;
        server.exec("REVOKE SELECT ON *.* FROM driftd@'127.0.0.1'").await;
        server.exec("GRANT SELECT (id, shown) ON test.part TO driftd@'127.0.0.1'").await;
        server.exec("GRANT SELECT ON test.whole TO driftd@'127.0.0.1'").await;
        let store = open(&server).await;
        let part = store.describe("part").await.unwrap();
        let names: Vec<_> = part.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!((names, part.partial), (vec!["id", "shown"], true));
        assert!(!store.describe("whole").await.unwrap().partial);
    }
}

#[tokio::test]
async fn a_name_with_a_dot_says_how_it_was_read_and_how_it_is_written() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE `v1.users` (id INT PRIMARY KEY)").await;
        let store = open(&server).await;
        let error = store.describe("v1.users").await.unwrap_err().to_string();
        assert!(error.contains("test.v1.users"), "{error}");
        store.describe("test.v1.users").await.unwrap();
    }
}

#[tokio::test]
async fn a_row_above_the_servers_limit_says_which_and_is_not_tried_again() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)").await;
        server.exec("INSERT INTO t VALUES (1, REPEAT('x', 3000000)), (2, 'y')").await;
        server.exec("SET GLOBAL max_allowed_packet = 1048576").await;
        // With its usual patience of a minute, which it must not use up.
        let settings = server.settings("source");
        let patience = settings.timeouts.patience;
        let store = store::open(&settings).await.unwrap();
        let read = read(store.as_ref(), "t", &["v"]).await;
        let mut conn = server.conn().await;
        let before = executed(&mut conn).await;
        let fetched = store.fetch(&read, &integer_keys(&[1, 2]), Consistency::Eventual).await;
        assert_eq!(fetched.unread.len(), 1, "{fetched:?}");
        let (whose, error) = &fetched.unread[0];
        assert_eq!(whose, &[0], "the other row is there");
        assert_eq!(error.kind.code(), FaultCode::StoreTooLarge, "{error}");
        assert!(error.to_string().contains("max_allowed_packet"), "{error}");
        assert!(!error.kind.heals());
        let tries = executed(&mut conn).await - before;
        assert!(tries <= 4, "{tries} statements within {patience:?}");
    }
}

#[tokio::test]
async fn a_key_by_which_no_row_is_found_again_is_refused() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE f (a INT, k DOUBLE, PRIMARY KEY (a, k))").await;
        let error = open(&server).await.describe("f").await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreUnfit);
        assert!(error.to_string().contains("`k` of its primary key is a float"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_times_out() {
    let server = Server::start().await;
    server.exec("CREATE TABLE t (id INT PRIMARY KEY)").await;
    server.exec("INSERT INTO t VALUES (1)").await;
    let settings = store::Settings { timeouts: SHORT, ..server.settings("source") };
    let store = store::open(&settings).await.unwrap();
    let read = read(store.as_ref(), "t", &["id"]).await;
    let extent = Extent::Range(Range { from: None, until: None });
    // With a connection that stands, then, after it was given up, without one.
    for _ in 0..2 {
        server.pause();
        let error = store.scan(&read, &extent).next().await.unwrap().unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Timeout { .. }), "{error}");
        let fetched = store.fetch(&read, &integer_keys(&[1]), Consistency::Strong).await;
        assert_eq!(fetched.unread.len(), 1);
        server.resume();
        let page = store.scan(&read, &extent).next().await.unwrap().unwrap();
        assert_eq!(page.rows.rows, 1);
        server.pause();
        let error = store::open(&settings).await.unwrap().describe("t").await.unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Timeout { .. }), "{error}");
        server.resume();
    }
}

#[tokio::test]
async fn a_killed_server_is_unreachable_and_heals_by_a_restart() {
    let mut server = Server::start().await;
    server.exec("CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(200))").await;
    server.exec(&format!("INSERT INTO t SELECT seq, REPEAT('x', 200) FROM {}", count(30000))).await;
    let settings = store::Settings { timeouts: SHORT, ..server.settings("source") };
    let hasty = store::open(&settings).await.unwrap();
    let patient = open(&server).await;
    let read = read(hasty.as_ref(), "t", &["id"]).await;
    let extent = Extent::Range(Range { from: None, until: None });
    let mut cut_off = hasty.scan(&read, &extent);
    let mut waits = patient.scan(&read, &extent);
    let mut found = waits.next().await.unwrap().unwrap().rows.rows;
    cut_off.next().await.unwrap().unwrap();
    server.kill();
    let rest: Vec<_> = cut_off.collect().await;
    let error = rest.last().unwrap().as_ref().unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::Unreachable(_)), "{error}");
    assert!(error.to_string().contains(&server.port.to_string()), "{error}");
    assert!(rest[..rest.len() - 1].iter().all(Result::is_ok), "one error, at the end");
    // A patient store goes on where it was, and gives every row once.
    let restart = server.restart();
    let (rest, ()) = futures::join!(waits.collect::<Vec<_>>(), restart);
    found += rest.iter().map(|page| page.as_ref().unwrap().rows.rows).sum::<usize>();
    assert_eq!(found, 30_000);
    assert_eq!(hasty.scan(&read, &extent).next().await.unwrap().unwrap().rows.rows, 100);
}

#[tokio::test]
async fn a_fetch_keeps_what_it_could_read() {
    let mut server = Server::start().await;
    server.exec("CREATE TABLE t (id INT PRIMARY KEY)").await;
    server.exec(&format!("INSERT INTO t SELECT seq FROM {}", count(2000))).await;
    let mut settings = store::Settings { timeouts: SHORT, ..server.settings("source") };
    // Slow enough for the server to die between the parts of the fetch.
    settings.limits.rows_per_second = NonZeroU32::new(200);
    let store = store::open(&settings).await.unwrap();
    let read = read(store.as_ref(), "t", &["id"]).await;
    let keys: Vec<_> = (1..=2_000).collect();
    let keys = integer_keys(&keys);
    let mut fetch = store.fetch(&read, &keys, Consistency::Eventual);
    let mut conn = server.conn().await;
    let before = executed(&mut conn).await;
    // Until the server has answered the first part, and a little on, so that it is read as well.
    let mut answered = 0;
    while answered < 20 {
        assert!(futures::poll!(&mut fetch).is_pending(), "the limit holds the fetch up");
        let busy: Option<u64> = conn
            .query_first(
                "SELECT COUNT(*) FROM information_schema.processlist \
                 WHERE user = 'driftd' AND command <> 'Sleep'",
            )
            .await
            .unwrap();
        let begun = executed(&mut conn).await > before;
        answered += u32::from(begun && busy == Some(0));
    }
    drop(conn);
    server.kill();
    let fetched = fetch.await;
    let found: usize = fetched.pages.iter().map(|page| page.rows.rows).sum();
    let unread: usize = fetched.unread.iter().map(|(positions, _)| positions.len()).sum();
    assert_eq!(found + unread, 2_000);
    assert!(found >= 64 && unread >= 512, "{found} read, {unread} unread");
}

#[tokio::test]
async fn a_changed_column_is_an_error_and_a_new_description_heals() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
        server.exec("INSERT INTO t VALUES (1, 2)").await;
        let store = open(&server).await;
        let before = read(store.as_ref(), "t", &["v"]).await;
        let extent = Extent::Range(Range { from: None, until: None });
        server.exec("ALTER TABLE t MODIFY v VARCHAR(20)").await;
        let error = store.scan(&before, &extent).next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("`v` has changed its type"), "{error}");
        let after = read(store.as_ref(), "t", &["v"]).await;
        let page = store.scan(&after, &extent).next().await.unwrap().unwrap();
        assert_eq!(texts(&page.rows.columns[0]), [Some("2")]);
        server.exec("ALTER TABLE t DROP v, ADD w INT").await;
        let error = store.scan(&after, &extent).next().await.unwrap().unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::NoSuchColumn { .. }), "{error}");
    }
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the time that it takes is what is tested")]
async fn limits_hold_over_all_reads_of_a_store() {
    for server in Server::start_each().await {
        server.exec("CREATE TABLE t (id INT PRIMARY KEY)").await;
        server.exec(&format!("INSERT INTO t SELECT seq FROM {}", count(4000))).await;
        let mut settings = server.settings("source");
        settings.limits.rows_per_second = NonZeroU32::new(2_000);
        settings.limits.concurrency = rows(2);
        let store = store::open(&settings).await.unwrap();
        let read = read(store.as_ref(), "t", &["id"]).await;
        let began = std::time::Instant::now();
        let ranges = [
            (None, Some(1_001)),
            (Some(1_001), Some(2_001)),
            (Some(2_001), Some(3_001)),
            (Some(3_001), None),
        ];
        let extents = ranges.map(|(from, until)| Extent::Range(Range { from, until }));
        let scans = extents.iter().map(|extent| store.scan(&read, extent).collect::<Vec<_>>());
        let pages = futures::future::join_all(scans).await;
        let found: usize =
            pages.iter().flatten().map(|page| page.as_ref().unwrap().rows.rows).sum();
        assert_eq!(found, 4_000);
        // 4,000 rows less the burst and the steps in flight, at 2,000 a second.
        assert!(began.elapsed() > Duration::from_millis(700), "{:?}", began.elapsed());
        let mut conn = server.conn().await;
        let most: Option<(String, u64)> =
            conn.query_first("SHOW GLOBAL STATUS LIKE 'Max_used_connections'").await.unwrap();
        assert!(most.unwrap().1 <= 4, "two connections of the store, and those of the test");
    }
}

/// Makes an authority and a certificate of it for `name`, in `directory`.
fn certify(directory: &Path, authority: &str, name: &str) {
    let path = |file: &str| directory.join(format!("{authority}-{file}")).display().to_string();
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let (ca, ca_key) = (path("ca.pem"), path("ca-key.pem"));
    let new_ca =
        ["req", "-x509", "-days", "2", "-subj", "/CN=authority", "-out", &ca, "-keyout", &ca_key];
    openssl(&[&new_ca[..], &key[..]].concat());
    let (request, extensions) = (path("request.pem"), path("extensions"));
    fs::write(&extensions, format!("subjectAltName={name}\nbasicConstraints=CA:FALSE\n")).unwrap();
    let new_key = path("key.pem");
    let new = ["req", "-new", "-subj", "/CN=server", "-out", &request, "-keyout", &new_key];
    openssl(&[&new[..], &key[..]].concat());
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &request,
        "-CA",
        &ca,
        "-CAkey",
        &ca_key,
        "-CAcreateserial",
        "-extfile",
        &extensions,
        "-out",
        &path("cert.pem"),
    ]);
}

#[tokio::test]
async fn tls_is_verified_as_far_as_it_is_asked() {
    let keys = tempfile::tempdir().unwrap();
    certify(keys.path(), "right", "IP:127.0.0.1");
    certify(keys.path(), "other", "DNS:elsewhere.example");
    for (authority, name_fits) in [("right", true), ("other", false)] {
        let file = |file: &str| keys.path().join(format!("{authority}-{file}"));
        let arguments = [
            format!("--ssl-ca={}", file("ca.pem").display()),
            format!("--ssl-cert={}", file("cert.pem").display()),
            format!("--ssl-key={}", file("key.pem").display()),
        ];
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let server = Server::start_with(&arguments).await;
        server.exec("CREATE TABLE t (id INT PRIMARY KEY)").await;
        server.exec("ALTER USER driftd@'127.0.0.1' REQUIRE SSL").await;
        let describe = async |tls: Tls| {
            let kind = store::Kind::Mysql(MysqlSettings { tls, ..server.mysql() });
            let settings = store::Settings { kind, ..server.settings("source") };
            store::open(&settings).await.unwrap().describe("t").await
        };
        describe(Tls::Required).await.unwrap();
        let verified = describe(Tls::VerifiedBy(file("ca.pem"))).await;
        assert_eq!(verified.is_ok(), name_fits, "{verified:?}");
        let wrong = if name_fits { "other-ca.pem" } else { "right-ca.pem" };
        for tls in [Tls::VerifiedBy(keys.path().join(wrong)), Tls::Verified] {
            let error = describe(tls).await.unwrap_err();
            assert!(error.to_string().contains("over TLS"), "{error}");
            assert_eq!(error.kind.code(), FaultCode::StoreUntrusted);
            let remedy = error.kind.remedy();
            assert!(remedy.contains("tls = { ca =") && remedy.contains("required"), "{remedy}");
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("certificate"), "{cause}");
        }
        let error = describe(Tls::Disabled).await.unwrap_err();
        assert_eq!(error.kind.code(), FaultCode::StoreDenied, "{error}");
        assert!(error.to_string().contains("REQUIRE SSL"), "{error}");
        let error = describe(Tls::VerifiedBy(keys.path().join("nowhere.pem"))).await.unwrap_err();
        assert!(error.to_string().contains("nowhere.pem"), "{error}");
    }
    let server = Server::start().await;
    let kind = store::Kind::Mysql(MysqlSettings { tls: Tls::Required, ..server.mysql() });
    let settings = store::Settings { kind, ..server.settings("source") };
    let error = store::open(&settings).await.unwrap().describe("t").await.unwrap_err();
    assert!(error.to_string().contains("does not offer TLS"), "{error}");
}

/// How many prepared statements were executed so far.
async fn executed(conn: &mut Conn) -> u64 {
    let count: Option<(String, u64)> =
        conn.query_first("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").await.unwrap();
    count.unwrap().1
}

/// Every kind of read, failed ones too, on a server whose defaults cut answers and open transactions.
#[tokio::test]
async fn no_setting_of_the_server_cuts_an_answer_or_lets_an_idle_session_hold_anything() {
    for server in Server::start_each().await {
        let mut conn = server.conn().await;
        for statement in [
            "CREATE TABLE t (id INT PRIMARY KEY, v INT, INDEX (v))",
            "SET GLOBAL sql_select_limit = 3",
            "SET GLOBAL max_join_size = 10, GLOBAL sql_safe_updates = 1, GLOBAL autocommit = 0",
            "SET GLOBAL sql_big_selects = 0",
            "SET GLOBAL init_connect = 'SET autocommit = 0, sql_select_limit = 2; START TRANSACTION'",
        ] {
            // MySQL and MariaDB do not share all of them.
            let set = conn.query_drop(statement).await;
            assert!(set.is_ok() || statement.contains("sql_big_selects"), "{set:?}");
        }
        let rows_of_t: Vec<_> = (0..700).map(|id| format!("({id}, {})", id % 2)).collect();
        server.exec(&format!("INSERT INTO t VALUES {}; COMMIT", rows_of_t.join(", "))).await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "t", &["id", "v"]).await;
        let keys: Vec<i64> = (0..700).collect();
        let fetched = store.fetch(&read, &integer_keys(&keys), Consistency::Eventual).await;
        let found: usize = fetched.pages.iter().map(|page| page.rows.rows).sum();
        assert_eq!((found, fetched.unread.len()), (700, 0));
        let extents = store.split(&read, rows(1_000)).await.unwrap();
        let pages: Vec<_> = store.scan(&read, &extents[0]).collect().await;
        let found: usize = pages.iter().map(|page| page.as_ref().unwrap().rows.rows).sum();
        assert_eq!(found, 700);
        let query =
            Query { columns: vec!["v".to_owned()], values: integer_keys(&[1]), prefix: false };
        let asked = store.query(&read, &query, Consistency::Eventual).await;
        assert_eq!(asked.pages.iter().map(|page| page.rows.rows).sum::<usize>(), 350);
        // One that is dropped in the middle, and one that fails.
        drop(store.scan(&read, &extents[0]).next().await);
        store.describe("nowhere").await.unwrap_err();
        if server.flavour == Flavour::Mariadb {
            // As of a time before its rows: they would all be missing.
            let rows = "CREATE TABLE v (id INT PRIMARY KEY) WITH SYSTEM VERSIONING; \
                        INSERT INTO v VALUES (1); COMMIT";
            server.exec(rows).await;
            server.exec("SET GLOBAL system_versioning_asof = '2001-01-01 00:00:00'").await;
            let store = open(&server).await;
            let read = super::read(store.as_ref(), "v", &["id"]).await;
            let fetched = store.fetch(&read, &integer_keys(&[1]), Consistency::Eventual).await;
            assert_eq!(fetched.pages.len(), 1, "{fetched:?}");
        }
        let mut conn = server.conn().await;
        conn.query_drop("SET SESSION autocommit = 1, sql_big_selects = 1").await.unwrap();
        let open: Option<u64> =
            conn.query_first("SELECT COUNT(*) FROM information_schema.innodb_trx").await.unwrap();
        assert_eq!(open, Some(0));
        conn.query_drop("SET SESSION lock_wait_timeout = 3").await.unwrap();
        conn.query_drop("ALTER TABLE t COMMENT = 'nobody holds it'").await.unwrap();
        drop(store);
    }
}

/// A key that a column cannot hold is one that no row has, and costs no other key.
#[tokio::test]
async fn a_key_that_no_column_can_hold_costs_itself_alone() {
    for server in Server::start_each().await {
        let mysql = matches!(server.flavour, Flavour::Mysql(_));
        for charset in ["utf8mb3", "latin1", "ascii", "ucs2", "sjis"] {
            server
                .exec(&format!(
                    "DROP TABLE IF EXISTS t; CREATE TABLE t (name VARCHAR(20) CHARACTER SET {charset} \
                     PRIMARY KEY, v INT); INSERT INTO t VALUES ('a?', 1), ('b', 2), ('gone', 3)"
                ))
                .await;
            let store = open(&server).await;
            let read = read(store.as_ref(), "t", &["v"]).await;
            let keys = text_keys(&["a?", "a😀", "b", "é€ж", "gone", "none"].map(str::as_bytes));
            let fetched = store.fetch(&read, &keys, Consistency::Eventual).await;
            assert!(fetched.unread.is_empty(), "{charset}: {:?}", fetched.unread);
            let mut found: Vec<_> = fetched
                .pages
                .iter()
                .flat_map(|page| texts(&page.keys.columns[0]).into_iter().flatten())
                .collect();
            found.sort_unstable();
            assert_eq!(found, ["a?", "b", "gone"], "{charset}");
            let query = Query { columns: vec!["name".to_owned()], values: keys, prefix: false };
            let asked = store.query(&read, &query, Consistency::Eventual).await;
            assert!(asked.unread.is_empty(), "{charset}: {:?}", asked.unread);
            assert_eq!(asked.pages.iter().map(|page| page.rows.rows).sum::<usize>(), 3);
        }
        server
            .exec("CREATE TABLE times (k TIME(6) PRIMARY KEY, v INT); INSERT INTO times VALUES ('12:00:00', 1)")
            .await;
        let store = open(&server).await;
        let read = read(store.as_ref(), "times", &["v"]).await;
        let second = 1_000_000;
        let last = 838 * 3_600 + 59 * 60 + 59;
        let keys = [12 * 3_600, last + 1, -last - 1, last].map(|seconds| seconds * second);
        let keys = integer_keys(&[keys[0], keys[1], keys[2], keys[3] + second / 2]);
        let fetched = store.fetch(&read, &keys, Consistency::Eventual).await;
        assert!(fetched.unread.is_empty(), "mysql {mysql}: {:?}", fetched.unread);
        assert_eq!(fetched.pages.iter().map(|page| page.rows.rows).sum::<usize>(), 1);
    }
}

/// Whatever a server keeps is found by its own key, also what it would not take today; and what it takes
/// for another value finds nothing.
#[tokio::test]
async fn every_row_is_found_by_its_own_key_and_by_no_other() {
    let odd: [(&str, &[&str]); 15] = [
        ("DATE", &["0000-00-00", "2024-02-30", "2024-00-10", "0001-01-01", "9999-12-31"]),
        ("DATETIME(6)", &["0000-00-00 00:00:00", "2024-02-30 01:02:03.5", "9999-12-31 23:59:59"]),
        ("TIMESTAMP(6)", &["0000-00-00 00:00:00", "1970-01-01 00:00:01", "2038-01-19 03:14:07"]),
        ("TIME(6)", &["-838:59:59", "00:00:00", "838:59:59", "-00:00:00.000001"]),
        ("YEAR", &["0000", "1901", "1970", "2005", "2155"]),
        ("DECIMAL(20, 5)", &["0", "-1.5", "100000000000000.00001"]),
        ("BIGINT UNSIGNED", &["0", "9223372036854775808", "18446744073709551615"]),
        ("BIGINT", &["-9223372036854775808", "0", "9223372036854775807"]),
        ("ENUM('a', 'b', '1')", &["a", "1", "b"]),
        ("CHAR(5)", &["", "a", "ab"]),
        ("VARCHAR(9) CHARACTER SET latin1", &["", "é", "f", "0"]),
        ("VARBINARY(9)", &["", "a ", "a", "A"]),
        ("BINARY(3)", &["", "a", "A"]),
        ("SET('a', 'b', 'c')", &["", "a", "a,c", "b,c"]),
        ("BIT(12)", &["", "0", "\u{1}0"]),
    ];
    for server in Server::start_each().await {
        for (kind, values) in odd {
            let rows: Vec<_> =
                values.iter().enumerate().map(|(at, value)| format!("('{value}', {at})")).collect();
            let mut conn = server.conn().await;
            for statement in [
                "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'".to_owned(),
                "DROP TABLE IF EXISTS t".to_owned(),
                format!("CREATE TABLE t (k {kind}, n INT NOT NULL, PRIMARY KEY (k), UNIQUE (n))"),
                format!("INSERT INTO t VALUES {}", rows.join(", ")),
            ] {
                conn.query_drop(&statement).await.expect(&statement);
            }
            let store = open(&server).await;
            let read = read(store.as_ref(), "t", &["n"]).await;
            let all: Vec<i64> = (0..).take(values.len()).collect();
            let query =
                Query { columns: vec!["n".to_owned()], values: integer_keys(&all), prefix: false };
            let asked = store.query(&read, &query, Consistency::Eventual).await;
            let keys: Vec<_> = asked.pages.iter().map(|page| &page.keys).collect();
            let keys = driftd::model::Batch::concat(&keys);
            assert_eq!((keys.rows, asked.unread.len()), (values.len(), 0), "{kind}: {asked:?}");
            let fetched = store.fetch(&read, &keys, Consistency::Eventual).await;
            let found: usize = fetched.pages.iter().map(|page| page.keys.rows).sum();
            assert_eq!((found, fetched.unread.len()), (values.len(), 0), "{kind}: {fetched:?}");
            if kind == "YEAR" {
                let others = integer_keys(&[5, 70, 99, 1, 2156, -1, 1900]);
                let fetched = store.fetch(&read, &others, Consistency::Eventual).await;
                let found: usize = fetched.pages.iter().map(|page| page.keys.rows).sum();
                assert_eq!((found, fetched.unread.len()), (0, 0), "{fetched:?}");
            }
        }
    }
}
