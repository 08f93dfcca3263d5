//! Faults of every kind, planted while a writer keeps running.

use std::time::Duration;

use driftd_tests::scenario::users::{Shop, User};
use driftd_tests::scenario::{Scenario, names, until_some};
use serde_json::json;

use super::scenario;

/// Users that the writer changes; those behind them are for the faults.
const WRITTEN: i64 = 120;
const USERS: i64 = 160;

/// Plants one fault of every kind, and returns what must be found.
pub(super) async fn plant(shop: &Shop) -> Vec<&'static str> {
    let user = User::new;
    shop.delete_target(&user(131)).await;
    shop.put_target(&user(931)).await;
    shop.put_target(&User { cents: 1, ..user(132) }).await;
    shop.put_source(&user(133).changed()).await;
    shop.put_target(&User { tenant: "zebra-9".to_owned(), ..user(134) }).await;
    let negative = User { cents: -5, ..user(135) };
    shop.put_source(&negative).await;
    shop.put_target(&negative).await;
    let mut item = user(136).item();
    item["balanceCents"] = json!({ "S": "much" });
    shop.put_item(item).await;
    vec![
        "duplicate [134]",
        "mismatch [132]",
        "missing [131]",
        "stale [133]",
        "unexpected [931]",
        "unmappable [\"TENANT#zebra-1\",\"USER#136\"]",
        "violation [135]",
    ]
}

/// Makes both sides agree again.
pub(super) async fn repair(shop: &Shop) {
    let user = User::new;
    for id in [131, 132, 133, 135, 136] {
        shop.put_source(&user(id)).await;
        shop.put_target(&user(id)).await;
    }
    shop.delete_target(&user(931)).await;
    shop.delete_target(&User { tenant: "zebra-9".to_owned(), ..user(134) }).await;
}

const ABORT: &str = r#"
[abort]
mode = "armed"
[abort.criteria.too-much]
pairing = "users"
drift = { kinds = ["missing", "mismatch", "stale", "unexpected"], at_least = 4 }
hooks = ["flip"]
[abort.criteria.money]
violations = { severity = "error", at_least = 1 }
hooks = ["flip"]
[abort.criteria.never]
pairing = "users"
drift = { kinds = ["missing"], at_least = 100 }
hooks = ["flip"]
[hooks.flip]
command = ["/bin/sh", "-c", "cat >> event.json; echo \"$DRIFTD_IDEMPOTENCY_KEY $DRIFTD_CRITERION\" >> runs"]
"#;

pub(super) fn with_hook(shop: &Shop) -> Scenario {
    let scenario = scenario(&shop.config(ABORT));
    let directory = format!("directory = \"{}\"\n", scenario.directory().display());
    scenario.change("[hooks.flip]\n", &format!("[hooks.flip]\n{directory}"));
    scenario
}

#[tokio::test]
async fn faults_of_every_kind_are_found_under_a_writer_and_resolved_when_repaired() {
    let shop = Shop::new(USERS).await;
    // Out of scope: on the source only, and on both sides with a difference.
    for id in [141, 142] {
        shop.put_source(&User { migrated: false, ..User::new(id) }).await;
    }
    shop.delete_target(&User::new(141)).await;
    shop.put_target(&User { cents: 77, ..User::new(142) }).await;

    let scenario = with_hook(&shop);
    let mut daemon = scenario.start();
    daemon.ready().await;
    let writer = shop.write(WRITTEN, Duration::from_millis(1_500), 7);
    scenario.passes("users", 1).await;
    assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new());

    let planted = plant(&shop).await;
    scenario.found(&planted).await;
    scenario.passes("users", 8).await;
    assert_eq!(names(&scenario.findings(true).await), planted, "{}", daemon.log());

    let runs = until_some("both hooks have run", async || {
        let runs = scenario.read("runs");
        (runs.lines().count() >= 2).then_some(runs)
    })
    .await;
    let mut criteria: Vec<_> = runs.lines().map(|run| run.split(' ').nth(1).unwrap()).collect();
    criteria.sort_unstable();
    assert_eq!(criteria, ["money", "too-much"], "each hook once: {runs}");
    let abort = scenario.json(&["abort", "list"]).await;
    let state = |name: &str| {
        let criteria = abort["criteria"].as_array().unwrap();
        criteria.iter().find(|one| one["criterion"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state("too-much"), "tripped");
    assert_eq!(state("money"), "tripped");
    assert_eq!(state("never"), "armed");
    for event in scenario.read("event.json").split_inclusive("}}") {
        let event: serde_json::Value = serde_json::from_str(event.trim()).unwrap();
        assert_eq!(event["type"], "driftd.criterion.tripped.v1");
    }

    repair(&shop).await;
    scenario.clean().await;
    assert!(writer.stop().await > 20, "the writer hardly wrote");
    scenario.passes("users", 1).await;
    assert_eq!(names(&scenario.findings(true).await), planted, "{}", daemon.log());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    let events = scenario.events();
    assert_eq!(events.of("drift.confirmed").len(), planted.len());
    assert_eq!(events.of("drift.resolved").len(), planted.len());
    assert_eq!(events.of("criterion.tripped").len(), 2);
    assert_eq!((events.again, events.torn), (0, 0));
    assert_eq!(scenario.read("runs"), runs, "no hook ran again");
}
