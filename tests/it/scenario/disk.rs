//! Disks that are full.

use driftd_tests::scenario::users::{Shop, User};
use driftd_tests::scenario::{SmallDisk, names};

use super::scenario;

#[tokio::test]
async fn a_full_disk_under_the_journal_stops_the_daemon_until_there_is_room() {
    let shop = Shop::new(40).await;
    let mut scenario = scenario(&shop.config(""));
    scenario.change("path = \"driftd.journal\"", "path = \"small/driftd.journal\"");
    let disk = SmallDisk::mount(scenario.path("small"), 2_048);
    shop.put_target(&User { cents: 1, ..User::new(3) }).await;
    if disk.is_none() {
        // No file may grow beyond this: room to begin with, and not for long.
        let limit = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
        scenario.before(&["/bin/sh", "-c", limit, "sh"]);
    }
    let mut daemon = scenario.start();
    if let Some(disk) = &disk {
        daemon.ready().await;
        scenario.found(&["mismatch [3]"]).await;
        disk.fill();
    }
    assert_eq!(daemon.end().await, Some(4), "{}", daemon.log());
    let log = daemon.log();
    let last = log.split("error: ").nth(1).unwrap_or_default();
    assert!(last.contains("driftd stops") && last.contains("journal"), "{log}");
    if let Some(disk) = &disk {
        assert!(last.contains("space"), "it says what to do: {last}");
        // Nothing can be begun on a full disk, either.
        let mut daemon = scenario.start();
        assert_eq!(daemon.end().await, Some(4), "{}", daemon.log());
        disk.free();
    }
    scenario.before(&[]);
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.found(&["mismatch [3]"]).await;
    scenario.passes("users", 1).await;
    assert_eq!(names(&scenario.findings(true).await), ["mismatch [3]"], "kept, and found once");
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn events_that_a_full_disk_refuses_are_delivered_later() {
    let shop = Shop::new(20).await;
    let scenario = scenario(&shop.config(""));
    let Some(disk) = SmallDisk::mount(scenario.path("small"), 64) else {
        println!("not tried: this user must not mount a small disk");
        return;
    };
    scenario.change("file = \"events.jsonl\"", "file = \"small/events.jsonl\"");
    let mut daemon = scenario.start();
    daemon.ready().await;
    disk.fill();
    shop.put_target(&User { cents: 1, ..User::new(3) }).await;
    daemon.logged(&["drift events", "small/events.jsonl", "stay in the journal"]).await;
    scenario.found(&["mismatch [3]"]).await;
    let events = || driftd_tests::scenario::Events::parse(&scenario.read("small/events.jsonl"));
    assert_eq!(events().of("drift.confirmed").len(), 0);
    disk.free();
    driftd_tests::scenario::until_some("the event is delivered", async || {
        (!events().of("drift.confirmed").is_empty()).then_some(())
    })
    .await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(events().of("drift.confirmed").len(), 1);
}
