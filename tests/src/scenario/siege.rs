//! A daemon beset by every guest of `plugins/hostile` at once, beside a pairing of which all is well.
//!
//! Owns the two SQLite stores, their faults, the configuration, and what must be told of each pairing.
//! Refuses to say how long it goes on: a test counts passes, a benchmark minutes. Invariant: what is
//! planted in the stores is the same for all pairings, so what one guest hides, another must find.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;

use super::{Daemon, Scenario, until_some};

/// What a guest is to cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    /// Everything: nothing is compared.
    All,
    /// The rows that it fails on.
    Rows,
    /// Nothing: it only makes noise.
    Nothing,
    /// It maps wrongly, which is found as drift.
    Drift,
    /// It yields no entity at all: nothing is told, and nothing is the same.
    Silent,
}

/// Names, modes, and what each is to cost. One that counts its calls is refused
/// at start, because it breaks a law on any rows, and never comes this far.
const GUESTS: [(&str, &str, Cost); 28] = [
    ("spin", "spin", Cost::All),
    ("trap", "trap", Cost::All),
    ("panic", "panic", Cost::All),
    ("memory", "memory", Cost::All),
    ("stack", "deep-stack", Cost::All),
    ("bounds", "out-of-bounds", Cost::All),
    ("length", "huge-length", Cost::All),
    ("list", "huge-list", Cost::All),
    ("output", "huge-output", Cost::All),
    ("offsets", "garbage-offsets", Cost::All),
    ("falling", "falling-offsets", Cost::All),
    ("beyond", "long-offsets", Cost::All),
    ("utf8", "bad-utf8", Cost::All),
    ("groups", "group-order", Cost::All),
    ("error", "long-error", Cost::All),
    ("note", "long-note", Cost::All),
    ("wide", "wide-json", Cost::All),
    ("check-spin", "check:spin", Cost::All),
    ("check-trap", "check:trap", Cost::All),
    ("check-memory", "check:memory", Cost::All),
    ("row-spin", "row:spin", Cost::Rows),
    ("row-trap", "row:trap", Cost::Rows),
    ("row-panic", "row:panic", Cost::Rows),
    ("row-memory", "row:memory", Cost::Rows),
    ("row-flood", "row:log-flood", Cost::Nothing),
    ("row-long-log", "row:long-log", Cost::Nothing),
    ("nothing", "nothing", Cost::Silent),
    ("same-key", "same-key", Cost::Drift),
];

/// Rows of each relation.
const ROWS: i64 = 3_000;
/// Rows whose name is what some guests fail on.
const BAD: [i64; 3] = [17, 1_400, 1_401];
/// What differs: a name, and a row that is lost.
const DIFFERS: i64 = 5;
const LOST: i64 = 2_900;

/// What peaks of resident memory may come to later, in KiB, if they were at most `early` in the first
/// third: a quarter more, and what an allocator keeps.
#[must_use]
pub const fn memory_max(early: u64) -> u64 {
    early / 4 * 5 + (24 << 10)
}

/// A daemon beset.
#[derive(Debug)]
pub struct Siege {
    scenario: Scenario,
    daemon: Daemon,
    turn: i64,
}

impl Siege {
    /// Starts `program` with all guests, which are modes of the plugin in `guest`.
    pub async fn begin(program: &str, guest: &Path) -> Self {
        let mut config = String::from(
            "[journal]
path = \"driftd.journal\"
[http]
listen = \"127.0.0.1:0\"
[stores.old]
kind = \"sqlite\"
path = \"old.db\"
[stores.new]
kind = \"sqlite\"
path = \"new.db\"
[passes]
rest = \"100ms\"
[settle]
lag_budget = \"100ms\"
settle = \"100ms\"
first_wait = \"50ms\"
wait_max = \"1s\"
",
        );
        let mut pairing = |name: &str, mapping: &str| {
            write!(
                config,
                "[pairings.{name}]
leader = \"source\"
source = {{ store = \"old\", relation = \"things\", key = {{ id = \"{{id}}\" }} }}
target = {{ store = \"new\", relation = \"copies\", key = {{ id = \"{{id}}\" }} }}
{mapping}
"
            )
            .unwrap();
        };
        pairing("healthy", "[pairings.healthy.mapping.fields]\nid = { role = \"key\" }\nname = {}");
        for (name, mode, _) in GUESTS {
            pairing(
                name,
                &format!(
                    "plugin = \"{name}\"\n[plugins.{name}]\npath = \"{}\"\nconfig = {{ mode = \"{mode}\" }}\n\
                 limits = {{ fuel_per_row = 200_000, deadline = \"500ms\" }}",
                    guest.display()
                ),
            );
        }
        let scenario = Scenario::new(program, &config);
        for (file, relation) in [("old.db", "things"), ("new.db", "copies")] {
            let bad = BAD.map(|id| id.to_string()).join(", ");
            let sql = format!(
                "PRAGMA journal_mode = WAL;
                 CREATE TABLE {relation} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
                 WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids LIMIT {ROWS})
                 INSERT INTO {relation} SELECT id, 'thing ' || id FROM ids;
                 UPDATE {relation} SET name = 'bad' WHERE id IN ({bad})"
            );
            Connection::open(scenario.path(file)).unwrap().execute_batch(&sql).unwrap();
        }
        let planted = format!(
            "UPDATE copies SET name = 'other' WHERE id = {DIFFERS}; DELETE FROM copies WHERE id = {LOST}"
        );
        Connection::open(scenario.path("new.db")).unwrap().execute_batch(&planted).unwrap();
        let mut daemon = scenario.start();
        daemon.ready().await;
        Self { scenario, daemon, turn: 0 }
    }

    /// Changes some rows on both sides, and waits for a pass of the healthy pairing. Returns the most
    /// memory that was resident of the daemon in that time, in KiB.
    ///
    /// # Panics
    /// If the daemon is not alive.
    pub async fn turn(&mut self) -> u64 {
        self.turn += 1;
        for (file, relation) in [("old.db", "things"), ("new.db", "copies")] {
            let sql = format!(
                "UPDATE {relation} SET name = 'turn {}' WHERE id > 100 AND id % 100 = {}",
                self.turn,
                50 + self.turn % 40
            );
            Connection::open(self.scenario.path(file)).unwrap().execute_batch(&sql).unwrap();
        }
        let of_daemon = format!("/proc/{}", self.daemon.pid());
        // The peak begins anew: proc(5).
        std::fs::write(format!("{of_daemon}/clear_refs"), "5").expect("the daemon is ours");
        self.scenario.passes("healthy", 1).await;
        let page = self.daemon.page("/livez").await;
        assert_eq!(page.map(|page| page.code), Some(200), "{}", self.daemon.log());
        let status = std::fs::read_to_string(format!("{of_daemon}/status"));
        let status = status.expect("the daemon runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Waits until every pairing has told what it must, and nothing that it must not.
    ///
    /// # Panics
    /// If one has not, or the daemon cannot be stopped.
    pub async fn judge(mut self) {
        let planted = [format!("mismatch [{DIFFERS}]"), format!("missing [{LOST}]")];
        let bad = BAD.map(|id| format!("unmappable [{id}]"));
        let rows: Vec<String> = planted.iter().chain(&bad).cloned().collect();
        for (name, _, cost) in GUESTS.into_iter().chain([("healthy", "", Cost::Nothing)]) {
            let expected: &[String] = match cost {
                Cost::Nothing => &planted,
                Cost::Rows => &rows,
                Cost::All | Cost::Drift | Cost::Silent => &[],
            };
            until_some(&format!("{name} has found {expected:?}"), async || {
                let found = self.found().await;
                let mine = found.get(name).map(Vec::as_slice).unwrap_or_default();
                let unread = self.scenario.status(name).await["unread"].as_u64();
                match cost {
                    Cost::Nothing | Cost::Rows => expected.iter().all(|one| mine.contains(one)),
                    Cost::All => unread > Some(0),
                    Cost::Silent => true,
                    Cost::Drift => unread > Some(0) || !mine.is_empty(),
                }
                .then_some(())
            })
            .await;
        }
        let found = self.found().await;
        for (name, mode, cost) in GUESTS {
            let status = self.scenario.status(name).await;
            let mine = found.get(name).cloned().unwrap_or_default();
            match cost {
                Cost::All => {
                    assert_eq!(status["same"], 0, "{mode}: {status}");
                    let told = mine.iter().all(|one| planted.contains(one));
                    assert!(told, "{mode} finds what was not planted: {mine:?}");
                }
                // A row that is rejected is told of each side.
                Cost::Rows => assert_eq!(mine.len(), rows.len() + BAD.len(), "{mode}: {mine:?}"),
                Cost::Nothing => assert_eq!(mine.len(), planted.len(), "{mode}: {mine:?}"),
                Cost::Drift | Cost::Silent => assert_eq!(status["same"], 0, "{mode}: {status}"),
            }
        }
        assert_eq!(found["healthy"].len(), planted.len(), "{:?}", found["healthy"]);
        assert_eq!(self.daemon.stop().await, Some(0), "{}", self.daemon.log());
        let log = self.daemon.log();
        assert!(!log.contains("driftd itself failed"), "{log}");
        assert!(log.contains("is not called since"), "no breaker has opened: {log}");
        for (name, mode, _) in GUESTS.into_iter().filter(|it| matches!(it.2, Cost::Rows)) {
            let of_it = format!("pairing=\"{name}\"");
            let hmacs = |words: &str| -> BTreeSet<&str> {
                let lines =
                    log.lines().filter(|line| line.contains(words) && line.contains(&of_it));
                lines
                    .filter_map(|line| line.split_once("key_hmac=\"")?.1.split('"').next())
                    .collect()
            };
            let (failed, confirmed) = (hmacs("rows fail by themselves"), hmacs("drift confirmed"));
            assert!(!failed.is_disjoint(&confirmed), "{mode}: {failed:?} {confirmed:?}");
        }
    }

    /// Names of open findings by pairing.
    async fn found(&self) -> BTreeMap<String, Vec<String>> {
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for finding in self.scenario.findings(false).await {
            let pairing = finding.0["pairing"].as_str().unwrap().to_owned();
            let whole = ["key", "source_at", "target_at"].iter().all(|of| {
                finding.0[of].as_array().map_or_else(|| finding.0[of].is_null(), Vec::is_empty)
            });
            let name = if whole {
                format!("{} of a partition", finding.0["kind"].as_str().unwrap())
            } else {
                finding.name()
            };
            found.entry(pairing).or_default().push(name);
        }
        found
    }
}
