//! What people and the system tell a daemon: stop, open the file again, reset, test, ignore.

use std::fs;

use driftd_tests::scenario::users::{Shop, User};
use driftd_tests::scenario::{names, until_some};
use rustix::process::Signal;

use super::faults::with_hook;

#[tokio::test]
async fn a_second_daemon_on_the_same_journal_is_refused() {
    let shop = Shop::new(5).await;
    let scenario = with_hook(&shop);
    let mut daemon = scenario.start();
    daemon.ready().await;
    let mut second = scenario.start();
    assert_eq!(second.end().await, Some(4), "{}", second.log());
    assert!(second.log().contains(&format!("process {}", daemon.pid())), "{}", second.log());
    assert!(scenario.json(&["status"]).await["pairings"].is_array());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert!(daemon.log().contains("stopping: nothing new is begun"), "{}", daemon.log());
}

#[tokio::test]
async fn the_file_of_events_is_opened_again_when_it_was_moved_away() {
    let shop = Shop::new(20).await;
    let scenario = with_hook(&shop);
    let mut daemon = scenario.start();
    daemon.ready().await;
    shop.put_target(&User { cents: 1, ..User::new(3) }).await;
    scenario.events_of("drift.confirmed", 1).await;
    fs::rename(scenario.path("events.jsonl"), scenario.path("events.1")).unwrap();
    daemon.signal(Signal::USR1);
    until_some("the new file is there", async || {
        scenario.path("events.jsonl").exists().then_some(())
    })
    .await;
    shop.put_target(&User::new(3)).await;
    scenario.events_of("drift.resolved", 1).await;
    assert_eq!(scenario.events().of("drift.confirmed").len(), 0);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn criteria_are_tested_and_reset_and_findings_ignored_while_it_runs_and_while_not() {
    let shop = Shop::new(20).await;
    let scenario = with_hook(&shop);
    let mut daemon = scenario.start();
    daemon.ready().await;

    let runs = async |count: usize| {
        until_some(&format!("{count} hooks have run"), async || {
            (scenario.read("runs").lines().count() >= count).then_some(())
        })
        .await;
    };
    let answer = scenario.json(&["abort", "test", "never"]).await;
    assert_eq!(answer["answered"], true, "{answer}");
    runs(1).await;
    let refused = scenario.run(&["abort", "reset", "nevver"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("`nevver`"), "{refused:?}");

    // Negative on both sides: trips `money`.
    let negative = User { cents: -5, ..User::new(5) };
    shop.put_source(&negative).await;
    shop.put_target(&negative).await;
    scenario.found(&["violation [5]"]).await;
    runs(2).await;
    scenario.events_of("hook.succeeded", 2).await;
    scenario.passes("users", 1).await;
    assert_eq!(scenario.read("runs").lines().count(), 2, "latched: it fires once");

    let state = async |name: &str| {
        let list = scenario.json(&["abort", "list"]).await;
        let criteria = list["criteria"].as_array().unwrap();
        criteria.iter().find(|one| one["criterion"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state("money").await, "tripped");
    let answer = scenario.json(&["abort", "reset", "money"]).await;
    assert_eq!(answer["answered"], true, "{answer}");
    assert_eq!(state("money").await, "armed");
    scenario.passes("users", 1).await;
    assert_eq!(state("money").await, "armed", "what was confirmed before no longer counts");

    let said = scenario.run(&["drift", "ignore", "[5]", "--until", "1h"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(scenario.status("users").await["drift"]["ignored"], 1);
    let said = scenario.run(&["drift", "ignore", "[6]", "--until", "1h"]).await;
    assert_ne!(said.code, Some(0), "nothing is known of it: {said:?}");

    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    let answer = scenario.json(&["abort", "test", "money"]).await;
    assert_eq!(answer["answered"], false, "{answer}");
    assert_eq!(scenario.read("runs").lines().count(), 2);
    let mut daemon = scenario.start();
    daemon.ready().await;
    runs(3).await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(names(&scenario.findings(true).await), ["violation [5]"]);
}

#[tokio::test]
async fn a_dry_run_trips_and_fires_nothing() {
    let shop = Shop::new(10).await;
    let scenario = with_hook(&shop);
    scenario.change("mode = \"armed\"", "mode = \"dry_run\"");
    let negative = User { cents: -5, ..User::new(5) };
    shop.put_source(&negative).await;
    shop.put_target(&negative).await;
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.events_of("criterion.tripped", 1).await;
    scenario.passes("users", 1).await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(scenario.read("runs"), "");
    let list = scenario.json(&["abort", "list"]).await;
    assert_eq!(list["hooks"].as_array().map(Vec::len), Some(0), "{list}");
}

#[tokio::test]
async fn every_key_of_a_finding_of_a_partition_is_listed_when_asked_for() {
    let mut shop = Shop::new(40).await;
    for id in 1..=30 {
        shop.put_target(&User { cents: 1, ..User::new(id) }).await;
    }
    let scenario = with_hook(&shop);
    scenario.change("[settle]\n", "[settle]\ncrowd = 10\n");
    let mut daemon = scenario.start();
    daemon.ready().await;
    let finding = until_some("the partition is told of", async || {
        let list = scenario.json(&["drift"]).await;
        list["findings"].as_array().unwrap().iter().find(|one| one["entities"] == 30).cloned()
    })
    .await;
    assert!(finding["sample"].as_array().unwrap().len() <= 30, "{finding}");
    let number = finding["finding"].to_string();
    let all = scenario.json(&["drift", "keys", &number]).await;
    assert_eq!(all["complete"], true, "{all}");
    let mut keys: Vec<&str> =
        all["keys"].as_array().unwrap().iter().map(|key| key["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    let mut expected: Vec<String> = (1..=30).map(|id| format!("[{id}]")).collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let said = scenario.run(&["drift", "keys", &format!("#{number}")]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("[7]\tmismatch\tbalance\n"), "{said:?}");
    assert!(said.out.contains("30 keys differ now in"), "{said:?}");
    for (wrong, words) in [("9999", "no finding 9999"), ("many", "no number")] {
        let said = scenario.run(&["drift", "keys", wrong]).await;
        assert!(said.code == Some(2) && said.err.contains(words), "{said:?}");
    }
    shop.source.kill();
    let said = scenario.run(&["drift", "keys", &number]).await;
    assert_eq!(said.code, Some(3), "a list that is not complete: {said:?}");
    daemon.stop().await;
}
