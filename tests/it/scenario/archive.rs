//! A plugin that says itself where entities are kept: none, one or several places.

use driftd_tests::scenario::users::{ITEMS, Shop};
use serde_json::{Value, json};

use super::scenario;

fn order(place: &str, id: i64, state: &str, cents: i64) -> Value {
    json!({
        "pk": {"S": place},
        "sk": {"S": format!("ORDER#{id}")},
        "state": {"S": state},
        "cents": {"N": cents.to_string()},
        "placed": {"S": "2024-01-02T03:04:05Z"},
    })
}

/// Two hundred orders of four customers, every fifth of them closed and every tenth in the archive, and
/// as many other items.
async fn shop() -> Shop {
    let shop = Shop::new(0).await;
    shop.source
        .exec(
            "CREATE TABLE orders (id BIGINT PRIMARY KEY, customer VARCHAR(40), status VARCHAR(10), \
             total DECIMAL(12,2), placed_at TIMESTAMP NULL)",
        )
        .await;
    let mut rows = Vec::new();
    let mut items = Vec::new();
    for id in 0..200 {
        let status = if id % 5 == 0 { "closed" } else { "open" };
        let place = if id % 10 == 0 { "ARCHIVE" } else { "CUSTOMER" };
        rows.push(format!(
            "({id}, 'c{}', '{status}', {id}.25, CONVERT_TZ('2024-01-02 03:04:05', '+00:00', @@time_zone))",
            id % 4
        ));
        items.push(order(&format!("{place}#c{}", id % 4), id, status, id * 100 + 25));
        items.push(json!({
            "pk": {"S": format!("CUSTOMER#c{}", id % 4)},
            "sk": {"S": format!("NOTE#{id}")},
        }));
    }
    shop.source.exec(&format!("INSERT INTO orders VALUES {}", rows.join(", "))).await;
    shop.target.put(ITEMS, items);
    shop
}

fn config(shop: &Shop, target: &str) -> String {
    let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/archive/archive.wasm");
    format!(
        r#"
[plugins.orders]
path = "{plugin}"
[pairings.orders]
leader = "source"
plugin = "orders"
source = {{ store = "shop", relation = "orders" }}
target = {{ store = "items", relation = "{ITEMS}"{target} }}
{}"#,
        shop.stores()
    )
}

#[tokio::test]
async fn a_plugin_says_where_its_entities_are() {
    let shop = shop().await;
    let given = scenario(&config(&shop, ""));
    let said = given.run(&["verify", "--json"]).await;
    assert_eq!(said.code, Some(0), "both directions are located: {said:?}");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["pairings"][0]["same"], 200, "{json}");
    assert_eq!(json["pairings"][0]["excluded"], 200, "{json}");

    // Missing; wrong; in both places at once; where none looks for it; nowhere to be looked for.
    shop.source
        .exec(
            "INSERT INTO orders VALUES (300, 'c0', 'open', 1, NULL); \
             INSERT INTO orders VALUES (301, NULL, 'open', 1, NULL); \
             UPDATE orders SET total = 0 WHERE id = 10",
        )
        .await;
    shop.put_item(order("CUSTOMER#c0", 20, "closed", 2025)).await;
    shop.put_item(order("ARCHIVE#c1", 21, "open", 2125)).await;
    shop.put_item(order("CUSTOMER#c0", 400, "open", 1)).await;
    let said = given.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let told: Vec<String> = said
        .out
        .lines()
        .filter(|line| line.contains("orders") && line.contains(" ago "))
        .map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" "))
        .collect();
    let found = [
        "missing [300]",
        "unmappable [301]",
        "mismatch [10]",
        "duplicate [20]",
        "duplicate [21]",
        "unexpected [400]",
    ];
    for found in found {
        let is_told = |line: &String| line.starts_with(found);
        assert!(told.iter().any(is_told), "{found}: {said:?}");
    }
    assert_eq!(told.len(), found.len(), "{said:?}");
}

#[tokio::test]
async fn a_key_template_goes_before_what_the_plugin_says() {
    let shop = shop().await;
    let key = r#", key = { pk = "CUSTOMER#{customer}", sk = "ORDER#{id}" }"#;
    let given = scenario(&config(&shop, key));
    let said = given.run(&["verify", "--json"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    // The twenty in the archive lie where the template does not look.
    let json: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(json["pairings"][0]["same"], 180, "{json}");
}
