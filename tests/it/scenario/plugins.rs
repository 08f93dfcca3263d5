//! Plugins that misbehave: they cost their own rows, and nothing else.

use driftd_tests::scenario::users::{Shop, User};
use driftd_tests::scenario::{names, until_some};

use super::scenario;

/// A pairing `name` of two tables of the shop, mapped by a plugin of that name that misbehaves.
pub(super) fn hostile(name: &str, mode: &str) -> String {
    let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/hostile/hostile.wasm");
    format!(
        r#"
[plugins.{name}]
path = "{plugin}"
config = {{ mode = "{mode}" }}
limits = {{ fuel_per_row = 200_000, deadline = "500ms" }}
[pairings.{name}]
leader = "source"
plugin = "{name}"
source = {{ store = "shop", relation = "things", key = {{ id = "{{id}}" }} }}
target = {{ store = "shop", relation = "copies", key = {{ id = "{{id}}" }} }}
"#
    )
}

#[tokio::test]
async fn a_plugin_that_misbehaves_costs_its_own_rows_only() {
    let shop = Shop::new(30).await;
    shop.add_things().await;
    // Name and mode; which function, and what of the cause, must be told.
    let modes = [
        ("spin", "spin", "map-batch", "fuel"),
        ("trap", "trap", "map-batch", "trapped"),
        ("panic", "panic", "map-batch", "trapped"),
        ("memory", "memory", "map-batch", "memory"),
        ("offsets", "garbage-offsets", "map-batch", "offset"),
        ("utf8", "bad-utf8", "map-batch", "UTF-8"),
        ("check", "check:trap", "check-pairs", "trapped"),
        ("mood", "error", "map-batch", "mood"),
    ];
    let all: Vec<String> = modes.iter().map(|(name, mode, ..)| hostile(name, mode)).collect();
    let scenario = scenario(&shop.config(&all.concat()));
    let mut daemon = scenario.start();
    daemon.ready().await;
    for (name, _, function, cause) in modes {
        let plugin = format!("plugin `{name}`");
        let line = daemon.logged(&[&plugin, function, cause]).await;
        assert!(!line.contains("on purpose"), "a plugin's words may hold values: {line}");
        let status = until_some("its rows are unread", async || {
            let status = scenario.status(name).await;
            (status["unread"].as_u64() > Some(0)).then_some(status)
        })
        .await;
        assert_eq!(status["same"], 0, "{name}: {status}");
        assert_eq!(status["covered_since"], serde_json::Value::Null, "{name}: {status}");
    }
    // The users beside them are watched as ever.
    shop.put_target(&User { cents: 1, ..User::new(9) }).await;
    scenario.found(&["mismatch [9]"]).await;
    assert_eq!(names(&scenario.findings(true).await), ["mismatch [9]"]);
    assert_eq!(daemon.page("/livez").await.unwrap().code, 200);
    assert_eq!(daemon.page("/readyz").await.unwrap().code, 200);
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn what_a_plugin_refuses_of_its_configuration_is_told_with_its_line() {
    let shop = Shop::new(1).await;
    let config = shop.config("").replace(
        "[pairings.users]",
        "[plugins.users.config]\nregion = \"a secret\"\n[pairings.users]",
    );
    let line = config.lines().position(|line| line.starts_with("region")).unwrap() + 1;
    let scenario = scenario(&config);
    for command in ["verify", "run"] {
        let said = scenario.run(&[command]).await;
        assert_eq!(said.code, Some(2), "{said:?}");
        let told = format!("driftd.toml:{line}: config.region: is not known to the plugin");
        assert!(said.err.contains("plugin `users` refuses its configuration"), "{said:?}");
        assert!(said.err.contains(&told) && !said.err.contains("a secret"), "{told}: {said:?}");
    }
}
