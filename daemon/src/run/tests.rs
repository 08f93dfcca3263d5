//! Runs as a whole, within the test's process.
//!
//! Owns configurations of two SQLite files, and what a run over them must come to. Refuses servers:
//! those are of the integration tests. Invariant: a run that hangs fails its test.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::*;

/// The longest that a run here may take.
const LONGEST: Duration = Duration::from_secs(120);

/// `count` things that are the same in both files.
fn things(directory: &Path, count: u32, more: &str) -> Settings {
    for (file, relation) in [("old.db", "things"), ("new.db", "copies")] {
        let database = Connection::open(directory.join(file)).unwrap();
        let sql = format!(
            "CREATE TABLE {relation} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids LIMIT {count})
             INSERT INTO {relation} SELECT id, 'thing ' || id FROM ids"
        );
        database.execute_batch(&sql).unwrap();
    }
    let at = directory.display();
    let config = format!(
        "[journal]
path = \"{at}/journal\"
[stores.old]
kind = \"sqlite\"
path = \"{at}/old.db\"
limits = {{ concurrency = 16 }}
[stores.new]
kind = \"sqlite\"
path = \"{at}/new.db\"
limits = {{ concurrency = 16 }}
[pairings.things]
leader = \"source\"
source = {{ store = \"old\", relation = \"things\" }}
target = {{ store = \"new\", relation = \"copies\" }}
{more}
[pairings.things.mapping.fields]
id = {{ role = \"key\" }}
name = {{}}
"
    );
    let file = directory.join("driftd.toml");
    std::fs::write(&file, config).unwrap();
    crate::config::load(&file).unwrap().settings
}

fn never() -> (Signals, Vec<watch::Sender<u64>>, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let (reopen, reopened) = watch::channel(0);
    let (reload, reloaded) = watch::channel(0);
    let signals = Signals { stop: stopped, reopen: reopened, reload: reloaded };
    (signals, vec![reopen, reload], stop)
}

#[test]
fn checks_leave_the_threads_alone_that_stores_need() {
    let directory = tempfile::tempdir().unwrap();
    let passes = "passes = { concurrency = 16, partition_rows = 100, page_rows = 10 }";
    let settings = things(directory.path(), 4_000, passes);
    // All that SQLite, name resolution and files have.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let ended = runtime.block_on(async {
        let (signals, _kept, _stop) = never();
        let run = run(settings, Purpose::Verify, Supplied::default(), signals, |_| {});
        tokio::time::timeout(LONGEST, run).await.expect("it hangs").unwrap()
    });
    let status = &ended.statuses[0];
    assert_eq!((status.same, status.unread, status.last_pass_unread), (4_000, 0, 0));
}
