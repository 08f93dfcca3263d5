//! Two SQLite files and no server: what the commands say, refuse, and exit with.
#![expect(clippy::unwrap_used, reason = "a scenario fails by panicking")]

use driftd_tests::scenario::{Scenario, until_some};
use rusqlite::Connection;

/// A scenario of 20 things that are the same in both stores; `more` is put behind the configuration.
fn things(more: &str) -> Scenario {
    let config = format!(
        "[journal]
path = \"journal\"
[stores.old]
kind = \"sqlite\"
path = \"old.db\"
[stores.new]
kind = \"sqlite\"
path = \"new.db\"
[pairings.things]
leader = \"source\"
source = {{ store = \"old\", relation = \"things\" }}
target = {{ store = \"new\", relation = \"copies\" }}
settle = {{ lag_budget = \"100ms\", settle = \"100ms\", first_wait = \"50ms\", wait_max = \"1s\" }}
passes = {{ rest = \"100ms\" }}
[pairings.things.mapping.fields]
id = {{ role = \"key\" }}
name = {{}}
{more}"
    );
    let scenario = Scenario::new(env!("CARGO_BIN_EXE_driftd-under-test"), &config);
    for (file, relation) in [("old.db", "things"), ("new.db", "copies")] {
        let database = Connection::open(scenario.path(file)).unwrap();
        let sql = format!(
            "CREATE TABLE {relation} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids LIMIT 20)
             INSERT INTO {relation} SELECT id, 'thing ' || id FROM ids"
        );
        database.execute_batch(&sql).unwrap();
    }
    scenario
}

fn change(scenario: &Scenario, file: &str, sql: &str) {
    Connection::open(scenario.path(file)).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test]
async fn a_single_pass_that_is_stopped_while_it_settles_says_nothing_of_same() {
    let scenario = things("");
    scenario.change("lag_budget = \"100ms\"", "lag_budget = \"1h\"");
    scenario.change("wait_max = \"1s\"", "wait_max = \"1h\"");
    change(&scenario, "new.db", "UPDATE copies SET name = 'other' WHERE id = 3");
    let mut verify = scenario.start_as(&["verify", "--verbose", "--json"]);
    verify.logged(&["pairing is ready"]).await;
    verify.signal(rustix::process::Signal::INT);
    assert_eq!(verify.end().await, Some(3), "{}", verify.log());
}

const ABORT: &str = "[abort]
mode = \"armed\"
[abort.criteria.never]
drift = { at_least = 1000 }
hooks = []
";

#[tokio::test]
async fn only_drift_makes_a_single_pass_exit_as_drift() {
    let mut scenario = things("[http]\nlisten = \"127.0.0.1:0\"\n");
    assert_eq!(scenario.run(&["verify"]).await.code, Some(0));
    scenario.before(&["env", "OTEL_EXPORTER_OTLP_PROTOCOL=smoke", "OTEL_TRACES_EXPORTER=otlp"]);
    for command in ["verify", "run"] {
        let said = scenario.run(&[command]).await;
        assert_eq!(said.code, Some(2), "{command}: {said:?}");
        assert!(said.err.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{said:?}");
    }
    scenario.before(&["env"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scenario.change("127.0.0.1:0", &taken.local_addr().unwrap().to_string());
    let said = scenario.run(&["run"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("http.listen"), "{said:?}");
    // What cannot be said was not told.
    scenario.before(&["sh", "-c", "exec \"$@\" > /dev/full", "sh"]);
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    change(&scenario, "new.db", "DELETE FROM copies WHERE id = 7");
    scenario.before(&["env"]);
    assert_eq!(scenario.run(&["verify"]).await.code, Some(1));
}

#[tokio::test]
async fn a_command_that_is_refused_does_not_exit_as_done() {
    let scenario = things(ABORT);
    let mut daemon = scenario.start();
    let refused = [
        (vec!["abort", "reset", "nevver"], "never"),
        (vec!["abort", "test", "nevver"], "never"),
        (vec!["drift", "ignore", "#99", "--until", "1h"], "no open finding 99"),
    ];
    daemon.logged(&["pass complete"]).await;
    for (command, word) in &refused {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(1), "while it runs, {command:?}: {said:?}");
        assert!(said.err.contains(word), "{command:?}: {said:?}");
    }
    let said = scenario.run(&["abort", "test", "never"]).await;
    assert_eq!(said.code, Some(1), "it has no hooks: {said:?}");
    assert_eq!(scenario.run(&["abort", "reset", "never"]).await.code, Some(0), "it is armed");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    for (command, word) in &refused {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(1), "while it does not run, {command:?}: {said:?}");
        assert!(said.err.contains(word), "{command:?}: {said:?}");
        let json = [&command[..], &["--json"]].concat();
        let said = scenario.run(&json).await;
        assert_eq!(said.code, Some(1), "{said:?}");
        let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!((&json["refused"], &json["command"]), (&true.into(), &().into()), "{json}");
    }
    assert_eq!(scenario.run(&["abort", "reset", "never"]).await.code, Some(0));
}

#[tokio::test]
async fn no_drift_is_said_only_of_what_was_asked_and_read() {
    let scenario = things("");
    let mut daemon = scenario.start();
    said_of_drift(&scenario, "no confirmed drift\n").await;
    change(&scenario, "new.db", "DELETE FROM copies WHERE id = 7");
    scenario.found(&["missing [7]"]).await;
    let said = scenario.run(&["drift", "--kind", "stale"]).await;
    assert_eq!(said.out, "no confirmed drift of kind stale\n", "{said:?}");
    let said = scenario.run(&["drift", "--pairing", "thing"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("did you mean `things`"), "{said:?}");
    assert_eq!(scenario.run(&["drift", "--limit", "0"]).await.code, Some(2));
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());

    let scenario = things("");
    scenario.change("path = \"old.db\"", "path = \"old.db\"\nlimits = { rows_per_second = 5 }");
    scenario.change("rest =", "partition_rows = 5, page_rows = 5, rest =");
    let mut daemon = scenario.start();
    said_of_drift(&scenario, "no confirmed drift; `things` was not yet read in full\n").await;
    daemon.kill();

    let scenario = things("");
    scenario.change("old.db", "none/old.db");
    let mut daemon = scenario.start();
    said_of_drift(&scenario, "no confirmed drift; no pairing was read yet\n").await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

/// Waits until `driftd drift` says this.
async fn said_of_drift(scenario: &Scenario, words: &str) {
    until_some(&format!("drift says {words}"), async || {
        (scenario.run(&["drift"]).await.out == words).then_some(())
    })
    .await;
}

#[tokio::test]
async fn everything_that_stores_refuse_is_told_at_once_with_its_place() {
    let scenario = things(
        "[pairings.others]
leader = \"source\"
source = { store = \"old\", relation = \"thing\" }
target = { store = \"new\", relation = \"copy\" }
[pairings.others.mapping.fields]
id = { role = \"key\" }
[pairings.third]
leader = \"source\"
source = { store = \"old\", relation = \"things\" }
target = { store = \"new\", relation = \"copies\" }
[pairings.third.mapping]
ignore = { source = [\"nam\"] }
[pairings.third.mapping.fields]
id = { role = \"key\" }
changed = { source = \"nmae\", target = \"name\" }
",
    );
    scenario.change("name = {}", "name = { target = \"nam\" }");
    let config = scenario.read("driftd.toml");
    let line = |of: &str| {
        let line = config.lines().position(|line| line.contains(of)).unwrap() + 1;
        format!("driftd.toml:{line}: ")
    };
    for command in ["verify", "run"] {
        let said = scenario.run(&[command]).await;
        assert_eq!(said.code, Some(2), "{command}: {said:?}");
        for (place, word) in [
            ("name = { target = \"nam\" }", "mapping.fields.name.target: the target's relation"),
            ("relation = \"thing\" }", "nearest: things"),
            ("relation = \"copy\" }", "nearest: copies"),
            ("\"nmae\"", "mapping.fields.changed.source: the source's relation"),
            ("ignore = ", "mapping.ignore.source: the source's relation"),
        ] {
            let place = line(place);
            let found = said.err.lines().any(|line| line.contains(&place) && line.contains(word));
            assert!(found, "{command} lacks {place}{word}: {}", said.err);
        }
    }
}

#[tokio::test]
async fn a_key_that_nobody_wrote_and_that_does_not_fit_is_none() {
    let scenario = things("");
    change(
        &scenario,
        "new.db",
        "ALTER TABLE copies RENAME TO old;
         CREATE TABLE copies (id INTEGER, part REAL, name TEXT, PRIMARY KEY (id, part));
         INSERT INTO copies SELECT id, 0.5, name FROM old",
    );
    change(&scenario, "old.db", "ALTER TABLE things ADD COLUMN part REAL DEFAULT 0.5");
    scenario.change("name = {}", "name = {}\npart = {}");
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.out.contains("not verifiable"), "{said:?}");
}

#[tokio::test]
async fn a_file_without_a_pairing_cannot_run_and_is_refused_by_the_check() {
    let scenario = things("");
    let config = scenario.read("driftd.toml");
    let (stores, _) = config.split_once("[pairings").unwrap();
    scenario.write("driftd.toml", stores);
    let said = scenario.run(&["config", "check"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("there is no pairing to compare"), "{said:?}");
    let said = scenario.run(&["config", "check", "--json"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.contains("there is no pairing to compare"), "{said:?}");
}
