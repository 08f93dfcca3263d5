//! Servers that refuse, hang, die, have no room, and lose their tables.

use driftd_tests::dynamodb_proxy::{Action, Proxy};
use driftd_tests::mariadb;
use driftd_tests::scenario::users::{ITEMS, Shop, USERS, User};
use driftd_tests::scenario::{names, until_some};

use super::scenario;

#[tokio::test]
async fn a_wrong_password_is_told_and_heals_when_it_is_put_right() {
    let shop = Shop::new(10).await;
    let scenario = scenario(&shop.config(""));
    scenario.write("password", "hunter2");
    let mut daemon = scenario.start();
    daemon.logged(&["store `shop`", "access refused", "trying again"]).await;
    let page = until_some("readyz says why", async || {
        let page = daemon.page("/readyz").await;
        page.filter(|page| page.body.contains("access refused"))
    })
    .await;
    assert_eq!(page.code, 503, "{page:?}");
    assert!(page.body.contains("store `shop`"), "{page:?}");
    assert_eq!(daemon.page("/livez").await.unwrap().code, 200);
    scenario.write("password", mariadb::PASSWORD);
    daemon.ready().await;
    scenario.passes("users", 1).await;

    // The same while it runs: sessions that are open go on, new ones are refused.
    assert!(!daemon.log().contains("hunter2") && !daemon.log().contains(mariadb::PASSWORD));
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());

    scenario.write("password", "hunter2");
    let mut daemon = scenario.start();
    daemon.logged(&["access refused", "trying again"]).await;
    assert_eq!(daemon.stop().await, Some(0), "stopping while it waits is no failure");
}

#[tokio::test]
async fn a_server_that_hangs_or_dies_is_unread_and_heals() {
    let mut shop = Shop::new(30).await;
    shop.add_things().await;
    // Lookups and a pairing that is read aligned: both learn of the store that is down.
    let scenario = scenario(&shop.config(ALIGNED));
    scenario.change("[passes]\n", "[passes]\ntries = 2\n");
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("users", 1).await;
    scenario.passes("things", 1).await;
    for (round, dies) in [(1, false), (2, true)] {
        if dies {
            shop.source.kill();
        } else {
            shop.source.pause();
        }
        let cause = if dies { "cannot reach" } else { "no answer" };
        let line = daemon.logged(&["store `shop` is down", cause]).await;
        assert!(line.contains("check"), "it says what to do: {line}");
        scenario.events_of("store.opened", round).await;
        let events = scenario.events();
        let told = events.of("store.opened");
        let data = &told[round - 1]["data"];
        assert_eq!((data["store"].as_str(), told.len()), (Some("shop"), round), "{data}");
        assert!(events.of("unread.opened").is_empty(), "it is the store's incident alone");
        assert!(data["what"].as_str().unwrap().contains(cause), "{data}");
        let page = until_some("readyz says so", async || {
            let page = daemon.page("/readyz").await;
            page.filter(|page| page.body.contains("store `shop` is down since"))
        })
        .await;
        assert_eq!(page.code, 200, "a restart would mend nothing: {page:?}");
        until_some("metrics say so", async || {
            let page = daemon.page("/metrics").await?;
            page.body.contains("driftd_store_up{driftd_store=\"shop\"} 0").then_some(())
        })
        .await;
        let status = scenario.json(&["status"]).await;
        assert_eq!(status["stores_down"][0]["store"], "shop", "{status}");
        assert!(status["stores_down"][0]["what"].as_str().unwrap().contains(cause), "{status}");
        assert!(!format!("{page:?} {status} {data}").contains(mariadb::PASSWORD));
        let status = scenario.status("users").await;
        let (same, passes) = (status["same"].clone(), status["passes"].clone());
        // The target changes while nobody can compare.
        shop.put_target(&User { cents: 1, ..User::new(3) }).await;
        let status = scenario.status("users").await;
        assert_eq!((&status["same"], &status["passes"]), (&same, &passes), "never same: {status}");
        if dies {
            shop.source.restart().await;
        } else {
            shop.source.resume();
        }
        scenario.events_of("store.closed", round).await;
        assert_eq!(scenario.events().of("store.closed").len(), round);
        shop.source.exec("UPDATE copies SET name = 'another' WHERE id = 2").await;
        scenario.found(&["mismatch [2]", "mismatch [3]"]).await;
        shop.source.exec("UPDATE copies SET name = 'two' WHERE id = 2").await;
        shop.put_target(&User::new(3)).await;
        scenario.clean().await;
    }
    let all = names(&scenario.findings(true).await);
    assert_eq!(all, ["mismatch [2]", "mismatch [2]", "mismatch [3]", "mismatch [3]"]);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

/// A pairing of two tables of one store, which are read side by side.
const ALIGNED: &str = r#"
[pairings.things]
leader = "source"
source = { store = "shop", relation = "things" }
target = { store = "shop", relation = "copies" }
[pairings.things.mapping.fields]
id = { role = "key" }
name = {}
"#;

#[tokio::test]
async fn a_dynamodb_that_does_not_serve_is_one_incident_whatever_it_says() {
    let shop = Shop::new(30).await;
    let proxy = Proxy::start(&shop.target.endpoint).await;
    let scenario = scenario(&shop.config(""));
    scenario.change(&shop.target.endpoint, &proxy.endpoint);
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("users", 1).await;
    let ways: [(Action, &str); 3] = [
        (Action::Hang, "no answer"),
        (Action::throttle(), "throttled"),
        (Action::Fail(503, "ServiceUnavailable", "Service is unavailable."), "cannot reach"),
    ];
    for (round, (way, cause)) in (1..).zip(ways) {
        proxy.rule(move |_| way.clone());
        let line = daemon.logged(&["store `items` is down", cause]).await;
        scenario.events_of("store.opened", round).await;
        assert_eq!(scenario.events().of("store.opened").len(), round, "{line}");
        let page = until_some("readyz says so", async || {
            let page = daemon.page("/readyz").await;
            page.filter(|page| page.body.contains("store `items` is down since"))
        })
        .await;
        assert_eq!(page.code, 200, "{page:?}");
        // What is put right while nobody can look is not told, and what goes wrong is.
        shop.delete_target(&User::new(7)).await;
        proxy.rule(|_| Action::Forward);
        scenario.events_of("store.closed", round).await;
        scenario.found(&["missing [7]"]).await;
        shop.put_target(&User::new(7)).await;
        scenario.clean().await;
    }
    let events = scenario.events();
    assert_eq!(events.of("unread.opened").len(), 0, "it is the store's incident alone");
    assert_eq!((events.of("store.opened").len(), events.of("store.closed").len()), (3, 3));
    assert_eq!(names(&scenario.findings(true).await), ["missing [7]"; 3]);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn a_server_without_room_for_connections_says_so_and_heals() {
    let shop = Shop::new(10).await;
    let scenario = scenario(&shop.config(""));
    // The least that MariaDB takes.
    shop.source.exec("SET GLOBAL max_connections = 10").await;
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(shop.source.conn().await);
    }
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(3), "{said:?}");
    let words = ["store `shop`", "Too many connections", "lower this store's limits"];
    assert!(words.iter().all(|word| said.err.contains(word)), "{said:?}");
    let mut daemon = scenario.start();
    daemon.logged(&["store `shop`", "Too many connections", "trying again"]).await;
    for conn in all {
        conn.disconnect().await.expect("it goes");
    }
    daemon.ready().await;
    scenario.passes("users", 1).await;
    assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new());
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn a_table_that_was_dropped_is_unread_and_nothing_is_missing() {
    let shop = Shop::new(20).await;
    let scenario = scenario(&shop.config(""));
    scenario.change("[passes]\n", "[passes]\ntries = 2\n");
    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.passes("users", 1).await;
    for (round, source) in [(1, true), (2, false)] {
        if source {
            shop.source.exec(&format!("RENAME TABLE {USERS} TO gone")).await;
            daemon.logged(&["store `shop`", "no such relation"]).await;
        } else {
            shop.target.drop_table(ITEMS);
            daemon.logged(&["store `items`", "no such relation"]).await;
        }
        scenario.events_of("unread.opened", round).await;
        assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new());
        if source {
            shop.source.exec(&format!("RENAME TABLE gone TO {USERS}")).await;
            scenario.events_of("unread.closed", round).await;
            scenario.passes("users", 1).await;
        }
    }
    let status = scenario.status("users").await;
    assert!(status["pass"]["unread"].as_u64() > Some(0) || status["unread"].as_u64() > Some(0));
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(names(&scenario.findings(true).await), Vec::<String>::new());
}
