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
    assert_eq!(said.code, Some(4), "{said:?}");
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
        assert_eq!(said.code, Some(2), "while it runs, {command:?}: {said:?}");
        assert!(said.err.contains(word), "{command:?}: {said:?}");
    }
    let said = scenario.run(&["abort", "test", "never"]).await;
    assert_eq!(said.code, Some(2), "it has no hooks: {said:?}");
    assert_eq!(scenario.run(&["abort", "reset", "never"]).await.code, Some(0), "it is armed");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    for (command, word) in &refused {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(2), "while it does not run, {command:?}: {said:?}");
        assert!(said.err.contains(word), "{command:?}: {said:?}");
        let json = [&command[..], &["--json"]].concat();
        let said = scenario.run(&json).await;
        assert_eq!(said.code, Some(2), "{said:?}");
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
         CREATE TABLE copies (id INTEGER, part TEXT, name TEXT, PRIMARY KEY (id, part));
         INSERT INTO copies SELECT id, '31', name FROM old",
    );
    change(&scenario, "old.db", "ALTER TABLE things ADD COLUMN part BLOB DEFAULT x'31'");
    scenario.change("name = {}", "name = {}\npart = { rules = [\"text=hex\"] }");
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

#[tokio::test]
async fn four_kinds_of_failure_are_four_numbers_in_every_command() {
    let scenario = things(ABORT);
    // A journal that is not there is no drift, and no fault of the configuration.
    for command in [&["status"][..], &["drift"], &["abort", "list"], &["abort", "reset", "never"]] {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(4), "{command:?}: {said:?}");
    }
    assert_eq!(scenario.run(&["reload"]).await.code, Some(3), "who would know does not answer");
    for command in [&["drift", "keys", "x"][..], &["verify", "--pairing", "nothing"], &["plug"]] {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(2), "{command:?}: {said:?}");
    }
    let help = scenario.run(&["--help"]).await;
    for word in ["0 done", "1 drift", "2 usage", "3 could not tell", "4 the command failed"] {
        let text = help.out.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(word), "{word}: {}", help.out);
    }
    // A journal that cannot be written fails the daemon.
    scenario.write("journal", "no journal");
    let said = scenario.run(&["run"]).await;
    assert_eq!(said.code, Some(4), "{said:?}");
}

#[tokio::test]
async fn a_column_that_the_mapping_does_not_mention_is_told_or_ignored() {
    let scenario = things("");
    change(&scenario, "old.db", "ALTER TABLE things ADD COLUMN balance INTEGER DEFAULT 100");
    change(&scenario, "new.db", "ALTER TABLE copies ADD COLUMN balance INTEGER DEFAULT 0");
    let unmapped = |status: &serde_json::Value| -> Vec<String> {
        let all = status["unmapped"].as_array().unwrap().iter();
        all.map(|one| {
            format!("{} {}", one["side"].as_str().unwrap(), one["attribute"].as_str().unwrap())
        })
        .collect()
    };
    let json = scenario.json(&["verify"]).await;
    assert_eq!(unmapped(&json["pairings"][0]), ["source balance", "target balance"], "{json}");
    let asked = scenario.json(&["config", "check", "--stores"]).await;
    assert_eq!(unmapped(&asked["pairings"][0]), ["source balance", "target balance"], "{asked}");
    for command in [&["verify"][..], &["config", "check", "--stores"]] {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        for side in ["source", "target"] {
            let word = format!("`balance` of the {side} is not compared");
            assert!(said.out.contains(&word), "{command:?}: {said:?}");
        }
    }
    scenario.change(
        "[pairings.things.mapping.fields]",
        "[pairings.things.mapping]\nignore = { source = [\"balance\"] }\n[pairings.things.mapping.fields]",
    );
    let json = scenario.json(&["verify"]).await;
    assert_eq!(unmapped(&json["pairings"][0]), ["target balance"], "{json}");
    scenario.change("ignore = {", "ignore = { target = [\"balance\"],");
    let json = scenario.json(&["verify"]).await;
    assert_eq!(unmapped(&json["pairings"][0]), [""; 0], "{json}");
}

#[tokio::test]
async fn a_schema_that_changes_while_it_runs_is_noticed_and_told() {
    let scenario =
        things("[http]\nlisten = \"127.0.0.1:0\"\n[events]\nsink = { file = \"events.jsonl\" }\n");
    scenario.change("passes = { ", "passes = { tries = 1, ");
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("things", 1).await;
    let unmapped = async || scenario.status("things").await["unmapped"].clone();
    assert_eq!(unmapped().await, serde_json::json!([]));
    change(&scenario, "old.db", "ALTER TABLE things ADD COLUMN balance INTEGER");
    until_some("the new column is told", async || {
        let told = serde_json::json!([{ "side": "source", "attribute": "balance" }]);
        (unmapped().await == told).then_some(())
    })
    .await;
    scenario.events_of("unmapped.found", 1).await;
    daemon.logged(&["balance", "neither uses nor ignores"]).await;
    change(&scenario, "old.db", "ALTER TABLE things DROP COLUMN balance");
    until_some("it is told no more", async || {
        (unmapped().await == serde_json::json!([])).then_some(())
    })
    .await;

    change(&scenario, "old.db", "ALTER TABLE things RENAME COLUMN name TO title");
    daemon.logged(&["relation `things`", "column `name`, which is compared, is gone"]).await;
    scenario.events_of("unread.opened", 1).await;
    let passes = scenario.status("things").await["passes"].clone();
    change(&scenario, "old.db", "ALTER TABLE things RENAME COLUMN title TO name");
    scenario.events_of("unread.closed", 1).await;
    assert!(passes.as_u64().is_some());
    scenario.passes("things", 1).await;
    assert_eq!(scenario.findings(true).await, [], "a column that is gone is no drift");

    // Values of another type would be taken for what they are not.
    change(
        &scenario,
        "new.db",
        "ALTER TABLE copies RENAME TO old;
         CREATE TABLE copies (id INTEGER PRIMARY KEY, name BLOB NOT NULL);
         INSERT INTO copies SELECT id, CAST(name AS BLOB) FROM old;
         DROP TABLE old",
    );
    daemon.logged(&["column `name` was of type text", "of type binary now"]).await;
    scenario.events_of("unread.opened", 2).await;
    assert_eq!(scenario.findings(true).await, []);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

const SECOND: &str = "
[http]
listen = \"127.0.0.1:0\"
[pairings.second]
source = { store = \"old\", relation = \"things\" }
target = { store = \"new\", relation = \"lacking\" }
settle = { lag_budget = \"100ms\", settle = \"100ms\", first_wait = \"50ms\", wait_max = \"1s\" }
passes = { rest = \"100ms\" }
[pairings.second.mapping.fields]
id = { role = \"key\" }
name = { source = \"nmae\" }
";

#[tokio::test]
async fn a_pairing_that_cannot_be_begun_does_not_stop_the_others() {
    let scenario = things(SECOND);
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    for word in ["not verified at all: pairing `second`", "relation `lacking`: no such relation"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    let said = scenario.run(&["verify", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["pairings"][0]["same"], 20, "the other is verified: {json}");
    assert_eq!(json["refused"][0]["pairing"], "second", "{json}");
    let said = scenario.run(&["config", "check", "--stores"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    for word in ["`things` can be begun", "`second` cannot be begun", "no such relation"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }

    let mut daemon = scenario.start();
    daemon.ready().await;
    daemon.logged(&["the pairing is not begun", "relation `lacking`: no such relation"]).await;
    scenario.passes("things", 1).await;
    let status = scenario.status("second").await;
    assert!(status["not_begun"].as_str().unwrap().contains("no such relation"), "{status}");
    let said = scenario.run(&["status"]).await;
    assert!(said.out.contains("pairing `second`: not read at all"), "{said:?}");
    let metrics = daemon.page("/metrics").await;
    if let Some(page) = metrics {
        assert!(page.body.contains("driftd_not_begun{driftd_pairing=\"second\""), "{}", page.body);
    }
    // A reload tries it again: now another fault is in the way, and the first one goes on.
    change(&scenario, "new.db", "CREATE TABLE lacking AS SELECT * FROM copies");
    let said = scenario.run(&["reload"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    daemon.logged(&["still not begun", "`nmae`"]).await;
    scenario.change("name = { source = \"nmae\" }", "name = {}");
    change(
        &scenario,
        "new.db",
        "DROP TABLE lacking; CREATE TABLE lacking (id INTEGER PRIMARY KEY, name TEXT);
         INSERT INTO lacking SELECT * FROM copies",
    );
    let said = scenario.run(&["reload"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    scenario.passes("second", 1).await;
    scenario.passes("things", 1).await;
    assert_eq!(scenario.status("second").await["not_begun"], serde_json::Value::Null);
    change(&scenario, "new.db", "DELETE FROM lacking WHERE id = 9");
    scenario.found(&["missing [9]"]).await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());

    // What was found of it stands while it cannot be begun.
    change(&scenario, "new.db", "ALTER TABLE lacking RENAME TO gone");
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("things", 1).await;
    scenario.found(&["missing [9]"]).await;
    let status = scenario.status("second").await;
    assert_eq!(status["drift"]["open"]["missing"], 1, "no all-clear: {status}");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn drift_wins_over_a_pairing_that_is_refused() {
    let scenario = things(SECOND);
    change(&scenario, "new.db", "DELETE FROM copies WHERE id = 7");
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("drift; not verified at all: pairing `second`"), "{said:?}");
}

#[tokio::test]
async fn every_key_of_a_mass_fault_can_be_listed() {
    let scenario = things("");
    scenario.change("settle = { ", "settle = { crowd = 5, ");
    change(&scenario, "new.db", "DELETE FROM copies WHERE id <= 12");
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("12 missing") && said.out.contains("`--keys FILE`"), "{said:?}");
    let said = scenario.run(&["verify", "--keys", "keys.jsonl", "--json"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((&json["keys"]["keys"], &json["keys"]["complete"]), (&12.into(), &true.into()));
    let written = scenario.read("keys.jsonl");
    let lines: Vec<serde_json::Value> =
        written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, keys) = lines.split_last().unwrap();
    assert_eq!(last, &serde_json::json!({ "complete": true, "keys": 12, "lacking": [] }));
    let mut listed: Vec<_> = keys.iter().map(|key| key["key"].as_str().unwrap()).collect();
    listed.sort_unstable();
    let mut expected: Vec<_> = (1..=12).map(|id| format!("[{id}]")).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert!(keys.iter().all(|key| key["kind"] == "missing" && key["pairing"] == "things"));
    let said = scenario.run(&["verify", "--keys", "nowhere/keys.jsonl"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[tokio::test]
async fn nothing_to_compare_is_said() {
    let scenario = things("");
    change(&scenario, "old.db", "DELETE FROM things");
    change(&scenario, "new.db", "DELETE FROM copies");
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("verified same, and nothing was there to compare"), "{said:?}");
}
