//! Plugins exchanged while the daemon runs, by the signal and over the control socket; and plugins
//! that are refused before they are relied on. Two SQLite files and no server.
#![expect(clippy::unwrap_used, reason = "a scenario fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use driftd_tests::scenario::{Daemon, Page, Scenario, names, until_some};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Rows of each relation.
const ROWS: u32 = 20;

/// A scenario of things that are alike in both stores but for number 3, and that are compared twice:
/// by a plugin in this mode, and by the built-in mapping.
fn things(mode: &str) -> Scenario {
    let config = format!(
        r#"[journal]
path = "journal"
[http]
listen = "127.0.0.1:0"
[events]
sink = {{ file = "events.jsonl" }}
[stores.old]
kind = "sqlite"
path = "old.db"
[stores.new]
kind = "sqlite"
path = "new.db"
[passes]
rest = "100ms"
[settle]
lag_budget = "100ms"
settle = "100ms"
first_wait = "50ms"
wait_max = "1s"
[plugins.things]
path = "things.wasm"
config = {{ mode = "{mode}" }}
limits = {{ deadline = "500ms" }}
[pairings.things]
leader = "source"
plugin = "things"
source = {{ store = "old", relation = "things", key = {{ id = "{{id}}" }} }}
target = {{ store = "new", relation = "copies", key = {{ id = "{{id}}" }} }}
[pairings.plain]
leader = "source"
source = {{ store = "old", relation = "things" }}
target = {{ store = "new", relation = "copies" }}
[pairings.plain.mapping.fields]
id = {{ role = "key" }}
name = {{}}
"#
    );
    let scenario = Scenario::new(env!("CARGO_BIN_EXE_driftd-under-test"), &config);
    for (file, relation) in [("old.db", "things"), ("new.db", "copies")] {
        let sql = format!(
            "CREATE TABLE {relation} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids LIMIT {ROWS})
             INSERT INTO {relation} SELECT id, 'thing ' || id FROM ids"
        );
        Connection::open(scenario.path(file)).unwrap().execute_batch(&sql).unwrap();
    }
    change(&scenario, "new.db", "DELETE FROM copies WHERE id = 3");
    build(&scenario, 0);
    scenario
}

fn change(scenario: &Scenario, file: &str, sql: &str) {
    Connection::open(scenario.path(file)).unwrap().execute_batch(sql).unwrap();
}

fn guest() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/hostile/hostile.wasm");
    fs::read(path).unwrap()
}

/// Puts a build of the plugin in its place: each number is other code, which does the same.
fn build(scenario: &Scenario, number: u8) {
    // A custom section: its name of four bytes, and a byte.
    let section = [0, 6, 4, b'n', b'o', b't', b'e', number];
    put(scenario, &[guest(), section.to_vec()].concat());
}

/// Puts a file in the plugin's place, whole or not at all.
fn put(scenario: &Scenario, code: &[u8]) {
    fs::write(scenario.path("draft.wasm"), code).unwrap();
    fs::rename(scenario.path("draft.wasm"), scenario.path("things.wasm")).unwrap();
}

async fn identity(scenario: &Scenario, pairing: &str) -> String {
    scenario.status(pairing).await["identity"].as_str().unwrap_or_default().to_owned()
}

/// Names of open findings of a pairing. The plugin always says that a pair breaks its invariant, which
/// is of no account here.
async fn open(scenario: &Scenario, pairing: &str) -> Vec<String> {
    let mut findings = scenario.findings(false).await;
    findings.retain(|one| one.0["pairing"] == pairing && one.0["kind"] != "violation");
    names(&findings)
}

/// Waits until a pairing has found number 3.
async fn finds(scenario: &Scenario, pairing: &str) {
    until_some("number 3 is found", async || {
        (open(scenario, pairing).await == ["missing [3]"]).then_some(())
    })
    .await;
}

/// Of each finding of a pairing that an event of this type told, the identity that it holds under.
fn told(scenario: &Scenario, kind: &str, pairing: &str) -> BTreeMap<u64, String> {
    let events = scenario.events();
    let findings = events.of(kind).into_iter().map(|event| &event["data"]);
    let mine = findings.filter(|one| one["pairing"] == pairing && one["kind"] != "violation");
    let one = |finding: &Value| {
        let identity = finding["identity"].as_str().unwrap().to_owned();
        (finding["finding"].as_u64().unwrap(), identity)
    };
    mine.map(one).collect()
}

fn confirmed(scenario: &Scenario, pairing: &str) -> BTreeMap<u64, String> {
    told(scenario, "drift.confirmed", pairing)
}

/// What was told of findings, in its order: which finding, under which identity.
fn tellings(scenario: &Scenario, pairing: &str) -> Vec<(u64, String)> {
    let events = scenario.events();
    let kinds = ["drift.confirmed", "drift.changed"];
    let mut told: Vec<(String, u64, String)> = kinds
        .into_iter()
        .flat_map(|kind| events.of(kind))
        .filter(|event| event["data"]["pairing"] == pairing)
        .map(|event| {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let number = event["data"]["finding"].as_u64().unwrap();
            (text(&event["sequence"]), number, text(&event["data"]["identity"]))
        })
        .collect();
    told.sort_unstable();
    told.into_iter().map(|(_, number, identity)| (number, identity)).collect()
}

/// Under which identity each finding was told last.
fn last_told(scenario: &Scenario, pairing: &str) -> BTreeMap<u64, String> {
    tellings(scenario, pairing).into_iter().collect()
}

/// Waits until each finding was told under the identity that is expected of it.
async fn are_told(scenario: &Scenario, owed: &[(u64, String)]) {
    until_some("what the journal held at the kill is told", async || {
        let told = tellings(scenario, "things");
        owed.iter().all(|one| told.contains(one)).then_some(())
    })
    .await;
}

/// The value of a metric without attributes.
async fn metric(daemon: &Daemon, name: &str) -> Option<f64> {
    let page = daemon.page("/metrics").await?.body;
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line?.parse().ok()
}

/// Waits until the metric of the last reload says so.
async fn successful(daemon: &Daemon, expected: f64) {
    until_some("the metric says how the last reload ended", async || {
        let value = metric(daemon, "driftd_config_last_reload_successful").await;
        (value == Some(expected)).then_some(())
    })
    .await;
}

/// Asks over the control socket.
async fn over_socket(scenario: &Scenario, request: &str) -> Page {
    ask(UnixStream::connect(scenario.path("journal.sock")).await.unwrap(), request).await
}

async fn ask<S: AsyncReadExt + AsyncWriteExt + Unpin>(mut stream: S, request: &str) -> Page {
    let text = format!("{request} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let code = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { code, body: body.to_owned() }
}

#[tokio::test]
async fn a_hangup_exchanges_a_plugin_and_all_is_compared_anew() {
    let scenario = things("good");
    let mut daemon = scenario.start();
    daemon.ready().await;
    finds(&scenario, "things").await;
    finds(&scenario, "plain").await;
    let (old, plain) = (identity(&scenario, "things").await, identity(&scenario, "plain").await);

    build(&scenario, 1);
    daemon.signal(Signal::HUP);
    daemon.logged(&["pairing things: mapping", &old, "is compared anew"]).await;
    // The finding stands until it is judged anew, and is the same one then.
    let judged = until_some("it is judged anew", async || {
        let judged: Vec<_> = told(&scenario, "drift.changed", "things").into_values().collect();
        (!judged.is_empty()).then_some(judged)
    })
    .await;
    let new = identity(&scenario, "things").await;
    assert_ne!(new, old);
    assert_eq!(judged, std::slice::from_ref(&new));
    assert_eq!(confirmed(&scenario, "things").into_values().collect::<Vec<_>>(), [old]);
    for pairing in ["things", "plain"] {
        assert_eq!(told(&scenario, "drift.superseded", pairing).len(), 0, "{pairing}");
        assert_eq!(told(&scenario, "drift.resolved", pairing).len(), 0, "{pairing}");
    }
    finds(&scenario, "things").await;
    assert_eq!(identity(&scenario, "plain").await, plain);
    assert_eq!(confirmed(&scenario, "plain").len(), 1);
    successful(&daemon, 1.0).await;
    // What is running is what a restart would run.
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("things", 1).await;
    assert_eq!(identity(&scenario, "things").await, new);
    assert_eq!(confirmed(&scenario, "things").len(), 1);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn the_socket_reloads_says_what_it_did_and_is_for_the_owner_alone() {
    let scenario = things("good");
    let said = scenario.run(&["reload"]).await;
    assert_eq!(said.code, Some(3), "no daemon runs: {said:?}");
    assert!(said.err.contains("journal.sock; start it"), "{said:?}");
    // One that a daemon left behind when it was killed.
    drop(std::os::unix::net::UnixListener::bind(scenario.path("journal.sock")).unwrap());
    let mut daemon = scenario.start();
    daemon.ready().await;
    let socket = fs::symlink_metadata(scenario.path("journal.sock")).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(socket.uid(), rustix::process::getuid().as_raw());
    finds(&scenario, "things").await;

    // Nothing has changed: nothing is touched.
    let before = scenario.status("things").await;
    let said = scenario.run(&["reload"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let unchanged = "reloaded driftd.toml\nplugin things: unchanged\npairing things: the mapping is the same, it goes on.\n";
    assert_eq!(said.out, unchanged);
    // Limits are no part of the identity: they change, and the pass goes on.
    scenario.change("deadline = \"500ms\"", "deadline = \"600ms\"");
    let done = scenario.json(&["reload"]).await;
    assert_eq!(done["plugins"][0]["changed"], true, "{done}");
    assert_eq!(done["pairings"][0]["changed"], false, "{done}");
    let after = scenario.status("things").await;
    assert_eq!(after["identity"], before["identity"]);
    assert!(after["passes"].as_u64() >= before["passes"].as_u64(), "{before} {after}");
    assert_eq!(confirmed(&scenario, "things").len(), 1);

    // Its configuration is; and what else has changed is named, and not applied.
    scenario.change("mode = \"good\"", "mode = \"better\"");
    scenario.change("rest = \"100ms\"", "rest = \"90ms\"");
    scenario.change("[http]", "[hooks.more]\ncommand = [\"true\"]\n[http]");
    let page = over_socket(&scenario, "POST /reload").await;
    let done = page.json();
    assert_eq!((page.code, &done["reloaded"]), (200, &true.into()), "{done}");
    assert_eq!(done["pairings"][0]["was"], before["identity"], "{done}");
    assert_eq!(done["pairings"][0]["changed"], true, "{done}");
    assert_eq!(done["plugins"][0]["was"], done["plugins"][0]["digest"], "{done}");
    assert_eq!(done["restart"], serde_json::json!(["hooks.more (new)", "passes.rest"]));
    let restart = "changed in the file, takes effect at a restart: hooks.more (new), passes.rest";
    assert!(done["message"].as_str().unwrap().ends_with(restart), "{done}");
    let status = over_socket(&scenario, "GET /status").await.json();
    let mine = status["pairings"].as_array().unwrap().iter().find(|one| one["pairing"] == "things");
    assert!(mine.is_some(), "{status}");
    assert_eq!(over_socket(&scenario, "GET /reload").await.code, 405);
    assert_eq!(over_socket(&scenario, "GET /nowhere").await.code, 404);
    let line = daemon.line(&["health and metrics are served"]).unwrap();
    let (_, address) = line.split_once("address=").unwrap();
    let tcp = TcpStream::connect(address.trim()).await.unwrap();
    assert_eq!(ask(tcp, "POST /reload").await.code, 404, "not where others can ask");

    // Two at once: one waits for the other.
    build(&scenario, 7);
    let (one, other) = tokio::join!(scenario.run(&["reload"]), scenario.run(&["reload"]));
    assert_eq!((one.code, other.code), (Some(0), Some(0)), "{one:?} {other:?}");
    let anew = [&one, &other].map(|said| said.out.contains("is compared anew"));
    assert_eq!(anew.into_iter().filter(|anew| *anew).count(), 1, "{one:?} {other:?}");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert!(!scenario.path("journal.sock").exists(), "it goes with the daemon");
}

/// A module that imports what no plugin may.
const FOREIGN: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x0a\x01\x04wasi\x01f\0\0";

#[tokio::test]
async fn whatever_is_wrong_the_old_plugin_stays_and_it_is_said_why() {
    let scenario = things("good");
    let mut daemon = scenario.start();
    daemon.ready().await;
    finds(&scenario, "things").await;
    let was = identity(&scenario, "things").await;
    let healthy = scenario.read("driftd.toml");
    let mode = |mode: &str| healthy.replace("\"good\"", &format!("\"{mode}\""));
    let whole = guest();
    let law = "breaks the law \"the same batch twice gives the same bytes\"";
    for (config, code, words) in [
        (healthy.replace("[passes]", "[passes"), Some(&whole[..]), &["driftd.toml:"][..]),
        (healthy.clone(), None, &["cannot read", "things.wasm"]),
        (healthy.clone(), Some(&whole[..whole.len() / 2]), &["driftd.toml:21:", "plugin `things`"]),
        (healthy.clone(), Some(b"no plugin"), &["driftd.toml:21:", "is no WebAssembly"]),
        (healthy.clone(), Some(FOREIGN), &["driftd.toml:21:", "plugin `things`", "wasi"]),
        (
            mode("refuse"),
            Some(&whole),
            &[
                "plugin `things` refuses its configuration",
                "driftd.toml:22: config.mode: is not liked",
            ],
        ),
        (
            mode("init:spin"),
            Some(&whole),
            &["plugin `things`", "init", "used up its fuel", "fuel_per_row"],
        ),
        (mode("plan:spin"), Some(&whole), &["plugin `things`", "plan", "used up its fuel"]),
        (
            mode("calls"),
            Some(&whole),
            &["driftd.toml:21:", law, "pairing `things`, source, 20 rows", "driftd plugin test"],
        ),
    ] {
        scenario.write("driftd.toml", &config);
        match code {
            Some(code) => put(&scenario, code),
            None => fs::remove_file(scenario.path("things.wasm")).unwrap(),
        }
        let said = scenario.run(&["reload", "--journal", "journal"]).await;
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        assert!(said.err.contains("everything goes on as it was"), "{said:?}");
        for word in words {
            assert!(said.err.contains(word), "{word}: {said:?}");
            daemon.logged(&[word]).await;
        }
        assert!(!said.err.contains("thing 1"), "no value of a row: {said:?}");
        let page = over_socket(&scenario, "POST /reload").await;
        assert_eq!((page.code, &page.json()["reloaded"]), (422, &false.into()), "{page:?}");
        successful(&daemon, 0.0).await;
        // The commands cannot read a faulty file; the daemon need not.
        let status = over_socket(&scenario, "GET /status").await.json();
        let things = status["pairings"].as_array().unwrap().iter();
        let identities: Vec<_> = things.filter(|one| one["pairing"] == "things").collect();
        assert_eq!(identities[0]["identity"], was.as_str(), "{words:?}");
    }
    // It goes on comparing, with the old one.
    scenario.passes("things", 1).await;
    change(&scenario, "new.db", "DELETE FROM copies WHERE id = 4");
    until_some("number 4 is found", async || {
        (open(&scenario, "things").await == ["missing [3]", "missing [4]"]).then_some(())
    })
    .await;
    assert!(confirmed(&scenario, "things").into_values().all(|identity| identity == was));
    scenario.write("driftd.toml", &healthy);
    build(&scenario, 9);
    assert_eq!(scenario.run(&["reload"]).await.code, Some(0));
    successful(&daemon, 1.0).await;
    assert_ne!(identity(&scenario, "things").await, was);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

/// A plugin whose checks take as long as their deadline, and then some.
fn slow() -> Scenario {
    let scenario = things("check:spin");
    let limits = "deadline = \"5s\", fuel_per_call = 1_000_000_000_000";
    scenario.change("deadline = \"500ms\"", limits);
    scenario
}

/// Waits until the first check of the slow plugin is in flight.
async fn in_flight(scenario: &Scenario) {
    until_some("the pass has begun", async || {
        let pass = scenario.status("things").await["pass"].clone();
        (pass["number"] == 1 && pass["done"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_check_in_flight_is_waited_for_and_other_pairings_go_on() {
    let scenario = slow();
    let mut daemon = scenario.start();
    daemon.ready().await;
    in_flight(&scenario).await;
    let old = identity(&scenario, "things").await;
    scenario.change("check:spin", "good");
    let reload = scenario.run(&["reload"]);
    let meanwhile = async {
        daemon.logged(&["reloading"]).await;
        scenario.passes("plain", 1).await;
        finds(&scenario, "plain").await;
        assert!(daemon.line(&["is compared anew"]).is_none(), "it did not wait:\n{}", daemon.log());
        assert_eq!(identity(&scenario, "things").await, old);
    };
    let (said, ()) = tokio::join!(reload, meanwhile);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(&format!("mapping {old} -> ")), "{said:?}");
    // The check that was waited for said that it could not tell, under the old mapping.
    finds(&scenario, "things").await;
    let status = scenario.status("things").await;
    assert_eq!(status["unread"], 0, "{status}");
    assert!(confirmed(&scenario, "things").into_values().all(|identity| identity != old));
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn who_asks_while_it_stops_is_refused() {
    let scenario = slow();
    let mut daemon = scenario.start();
    daemon.ready().await;
    in_flight(&scenario).await;
    scenario.change("check:spin", "good");
    let waits = scenario.run(&["reload"]);
    let stops = async {
        daemon.logged(&["reloading"]).await;
        daemon.signal(Signal::TERM);
        daemon.logged(&["stopping: nothing new is begun"]).await;
        scenario.run(&["reload"]).await
    };
    let (waited, late) = tokio::join!(waits, stops);
    assert_eq!((waited.code, late.code), (Some(3), Some(3)), "{waited:?} {late:?}");
    assert!(waited.err.contains("driftd is stopping"), "{waited:?}");
    assert!(late.err.contains("driftd is shutting down"), "{late:?}");
    assert_eq!(daemon.end().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn killed_right_after_an_exchange_it_goes_on_under_one_mapping() {
    let scenario = things("good");
    let mut random = ChaCha8Rng::seed_from_u64(0x7265_6c6f);
    // Which identity each build has.
    let mut known: BTreeMap<u8, String> = BTreeMap::new();
    let mut owed: Vec<(u64, String)> = Vec::new();
    for life in 0..8 {
        let (here, next) = (life % 2, (life + 1) % 2);
        build(&scenario, here);
        let mut daemon = scenario.start();
        daemon.ready().await;
        are_told(&scenario, &owed).await;
        owed.clear();
        // Nothing has changed since it started: it says under what it runs.
        let running = scenario.json(&["reload"]).await;
        let identity = running["pairings"][0]["identity"].as_str().unwrap().to_owned();
        assert_eq!(known.entry(here).or_insert_with(|| identity.clone()), &identity);
        until_some("number 3 is found under it", async || {
            let told = last_told(&scenario, "things");
            let open = scenario.findings(false).await;
            open.iter().any(|one| told.get(&one.number()) == Some(&identity)).then_some(())
        })
        .await;

        build(&scenario, next);
        daemon.signal(Signal::HUP);
        if life % 4 < 2 {
            daemon.logged(&["is compared anew"]).await;
        }
        // The moment is the point: from before the exchange to some looks later.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..400))).await;
        daemon.signal(Signal::KILL);
        assert_eq!(daemon.end().await, None);

        // What stands holds under the identity of which the status speaks, or is being judged anew.
        // The kill may come between what the journal holds and its event, which is told after the
        // next start.
        let status = scenario.status("things").await;
        let told = last_told(&scenario, "things");
        let findings = scenario.findings(false).await;
        for finding in findings.iter().filter(|finding| finding.0["pairing"] == "things") {
            let (number, under) = (finding.number(), told.get(&finding.number()));
            match finding.0["judged_anew"].as_bool() {
                Some(true) => assert_ne!(under.unwrap(), &status["identity"], "{finding:?}"),
                _ if under.is_some_and(|under| *under == status["identity"]) => {}
                _ => owed.push((number, status["identity"].as_str().unwrap().to_owned())),
            }
        }
    }
    let mut daemon = scenario.start();
    daemon.ready().await;
    are_told(&scenario, &owed).await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(known.len(), 2);
    assert_ne!(known[&0], known[&1]);
}

#[tokio::test]
async fn a_plugin_that_breaks_a_law_is_refused_at_start_and_one_that_fails_is_not() {
    let scenario = things("calls");
    let words = [
        "driftd.toml:21: plugin `things` (",
        ", map-batch, pairing `things`, source, 20 rows: breaks the law \"the same batch twice gives \
         the same bytes\": again on the same instance, 20 of 20 rows give other values of `name`; ",
        "`driftd plugin test`",
    ];
    // The other pairing has drift, which wins.
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in words {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    assert!(!said.out.contains("thing 1"), "no value of a row: {said:?}");
    // The daemon begins without its pairing.
    let mut daemon = scenario.start();
    daemon.ready().await;
    let line = daemon.logged(&["breaks the law", "ERROR"]).await;
    assert!(line.contains("map-batch") && line.contains("`driftd plugin test`"), "{line}");
    assert!(!line.contains("thing 1"), "no value of a row: {line}");
    let status = scenario.status("things").await;
    assert!(status["not_begun"].is_object() || status["not_begun"].is_string(), "{status}");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    // Rows that a plugin fails on are the guard's affair.
    scenario.change("\"calls\"", "\"row:trap\"");
    change(&scenario, "old.db", "UPDATE things SET name = 'bad' WHERE id = 5");
    let mut daemon = scenario.start();
    daemon.ready().await;
    let line = daemon.logged(&["fails on rows that it was tried on", "side=source"]).await;
    assert!(line.contains("code=\"plugin-trap\"") && line.contains("WARN"), "{line}");
    until_some("the row is found", async || {
        (open(&scenario, "things").await.contains(&"unmappable [5]".to_owned())).then_some(())
    })
    .await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn what_cannot_be_read_for_a_self_test_does_not_stop_the_start() {
    let scenario = things("good");
    // The relation is described by another page than that of its rows.
    let page = |of: &str| -> i64 {
        let database = Connection::open(scenario.path("old.db")).unwrap();
        database.query_row(of, [], |row| row.get(0)).unwrap()
    };
    let root = page("SELECT rootpage FROM sqlite_master WHERE name = 'things'");
    let size = page("PRAGMA page_size");
    let mut bytes = fs::read(scenario.path("old.db")).unwrap();
    let first = usize::try_from((root - 1) * size).unwrap();
    bytes[first..first + 100].fill(0xff);
    fs::write(scenario.path("old.db"), bytes).unwrap();
    change(&scenario, "new.db", "DELETE FROM copies");
    let mut daemon = scenario.start();
    daemon.ready().await;
    daemon.logged(&["the plugin is not tried on rows of the source", "WARN"]).await;
    let unread = until_some("its rows are unread", async || {
        let status = scenario.status("things").await;
        (status["unread"].as_u64() > Some(0)).then_some(status)
    })
    .await;
    assert_eq!(unread["same"], 0, "{unread}");
    // Where there are no rows, there is nothing to say.
    assert!(daemon.line(&["not tried on rows of the target"]).is_none(), "{}", daemon.log());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}
