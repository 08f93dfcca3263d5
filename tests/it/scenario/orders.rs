//! Orders and their lines: two relations that are joined by the order, and items of two entity types in
//! a table with others. Every fault is found, none is invented, and rules over partitions are settled.

use aws_sdk_dynamodb::types::AttributeValue;
use driftd_tests::scenario::users::{ITEMS, Shop};
use driftd_tests::scenario::{Scenario, until_some};
use serde_json::{Value, json};

use super::scenario;

/// An order, the same on both sides.
#[derive(Clone, Debug)]
struct Order {
    id: i64,
    customer: String,
    status: &'static str,
    /// Cents of each line, by their numbers from 1.
    lines: Vec<i64>,
    migrated: bool,
    /// The day on which it was moved to the archive.
    archived: Option<&'static str>,
}

impl Order {
    fn new(id: i64) -> Self {
        Self {
            id,
            customer: format!("c{}", id % 7),
            status: if id % 5 == 0 { "closed" } else { "open" },
            lines: (1..=id % 4).map(|no| id * 10 + no).collect(),
            migrated: true,
            // Nobody who looks for an order knows the day.
            archived: (id % 10 == 0).then_some("2024-02-01"),
        }
    }

    fn total(&self) -> i64 {
        self.lines.iter().sum()
    }

    fn sql(&self) -> String {
        let Self { id, customer, status, migrated, .. } = self;
        let money = |cents: i64| format!("{}.{:02}", cents / 100, cents % 100);
        let order = format!(
            "REPLACE INTO orders VALUES ({id}, '{customer}', '{status}', {}, \
             '2024-01-02 03:04:05', '2024-01-03 00:00:00', {}); \
             DELETE FROM order_lines WHERE order_id = {id};",
            money(self.total()),
            u8::from(*migrated)
        );
        let lines = (1..).zip(&self.lines).map(|(no, cents): (usize, _)| {
            let price = money(*cents);
            format!("INSERT INTO order_lines VALUES ({id}, {no}, 's{no}', 1, {price});")
        });
        std::iter::once(order).chain(lines).collect()
    }

    fn item(&self) -> Value {
        let Self { id, customer, status, .. } = self;
        let (pk, sk) = match self.archived {
            Some(day) => (format!("ARCHIVE#{customer}"), format!("ORDER#{id}@{day}")),
            None => (format!("CUSTOMER#{customer}"), format!("ORDER#{id}")),
        };
        json!({
            "pk": {"S": pk}, "sk": {"S": sk},
            "status": {"S": status},
            "cents": {"N": self.total().to_string()},
            "lines": {"N": self.lines.len().to_string()},
            "placed": {"S": "2024-01-02T03:04:05Z"},
            "updated": {"S": "2024-01-03T00:00:00Z"},
        })
    }

    fn line(&self, no: usize) -> Value {
        json!({
            "pk": {"S": format!("CUSTOMER#{}", self.customer)},
            "sk": {"S": format!("ORDER#{}#LINE#{no}", self.id)},
            "sku": {"S": format!("s{no}")},
            "quantity": {"N": "1"},
            "cents": {"N": self.lines[no - 1].to_string()},
        })
    }

    fn items(&self) -> Vec<Value> {
        let lines = (1..=self.lines.len()).map(|no| self.line(no));
        std::iter::once(self.item()).chain(lines).collect()
    }
}

/// An item, with one attribute changed.
fn with(mut item: Value, name: &str, value: Value) -> Value {
    item[name] = value;
    item
}

async fn delete(shop: &Shop, pk: &str, sk: &str) {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let request = shop.target.client().delete_item().table_name(ITEMS);
    request.key("pk", text(pk)).key("sk", text(sk)).send().await.expect("it is deleted");
}

/// Orders of seven customers with none to three lines, and beside them a profile of each customer.
async fn shop(count: i64) -> Shop {
    let shop = Shop::new(0).await;
    // The session's time zone is UTC, as driftd's is.
    shop.source
        .exec(
            "SET GLOBAL time_zone = '+00:00'; \
             CREATE TABLE orders (id BIGINT PRIMARY KEY, customer VARCHAR(40), status VARCHAR(10), \
             total DECIMAL(12,2), placed_at TIMESTAMP NULL, updated_at TIMESTAMP NULL, \
             migrated TINYINT(1) NOT NULL); \
             CREATE TABLE order_lines (order_id BIGINT NOT NULL, line_no INT NOT NULL, \
             sku VARCHAR(40), quantity INT, price DECIMAL(12,2), PRIMARY KEY (order_id, line_no))",
        )
        .await;
    let mut items = Vec::new();
    let mut sql = String::new();
    for id in 1..=count {
        let mut order = Order::new(id);
        // These stay where they are for now.
        order.migrated = id % 11 != 0;
        sql += &order.sql();
        if order.migrated {
            items.extend(order.items());
        }
    }
    items.extend((0..7).map(|customer| {
        json!({"pk": {"S": format!("CUSTOMER#c{customer}")}, "sk": {"S": "PROFILE"}, "email": {"S": "x"}})
    }));
    shop.source.exec(&sql).await;
    shop.target.put(ITEMS, items);
    shop
}

fn config(shop: &Shop) -> String {
    let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/orders/orders.wasm");
    format!(
        r#"
[plugins.orders]
path = "{plugin}"
[pairings.orders]
leader = "source"
plugin = "orders"
source = {{ store = "shop", relations = ["orders", "order_lines"] }}
target = {{ store = "items", relation = "{ITEMS}" }}
{}"#,
        shop.stores()
    )
}

/// What `verify` tells, a line each, without how long ago.
fn told(out: &str) -> Vec<String> {
    let lines = out.lines().filter(|line| line.contains("orders") && line.contains(" ago "));
    let mut told: Vec<String> =
        lines.map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect();
    told.sort();
    told
}

#[tokio::test]
async fn orders_and_their_lines_are_compared_across_both_designs() {
    let shop = shop(200).await;
    let given = scenario(&config(&shop));
    let said = given.run(&["verify", "--json"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let json: Value = serde_json::from_str(&said.out).unwrap();
    let orders: Vec<Order> = (1..=200).map(Order::new).collect();
    let rows = |order: &Order| 1 + order.lines.len();
    let migrated = orders.iter().filter(|order| order.id % 11 != 0).map(rows).sum::<usize>();
    // Both directions read them, and one counts.
    assert_eq!(json["pairings"][0]["same"], migrated, "{json}");

    // What belongs together is shown together.
    let run = ["plugin", "run", "--pairing", "orders", "--side", "source", "--rows", "5"];
    let said = given.run(&run).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    for words in [
        "source: store `shop`, relations `orders`, `order_lines`, ",
        "rows that belong together\n  row of orders {\"id\": 1, ",
        "  row of order_lines {\"order_id\": 1, \"line_no\": 1, ",
        "  is  {\"entity\": \"line\", \"standing\": \"present\", \"fields\": {\"order\": 1, ",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }

    let order = Order::new;
    // Missing: a line, an order in the archive. Wrong: a price, a status. Only in the target: a line of
    // an order, an order with its line. In the archive as well as under its customer. A line that the
    // mapping refuses, one of no order. An expired order counts as gone.
    shop.source.exec("INSERT INTO order_lines VALUES (900, 1, 's1', 1, 1)").await;
    shop.source.exec(&Order { archived: None, ..order(300) }.sql()).await;
    shop.target.put(ITEMS, Order { archived: None, ..order(300) }.items());
    delete(&shop, "CUSTOMER#c3", "ORDER#3#LINE#2").await;
    delete(&shop, "ARCHIVE#c6", "ORDER#20@2024-02-01").await;
    shop.put_item(with(order(6).line(1), "cents", json!({"N": "1"}))).await;
    shop.put_item(with(order(7).item(), "status", json!({"S": "lost"}))).await;
    shop.put_item(with(order(9).line(1), "sk", json!({"S": "ORDER#9#LINE#5"}))).await;
    shop.target.put(ITEMS, Order { customer: "c1".to_owned(), ..order(401) }.items());
    shop.put_item(Order { archived: Some("2024-03-01"), ..order(15) }.item()).await;
    shop.put_item(with(order(13).item(), "sk", json!({"S": "ORDER#13#LINE#x"}))).await;
    shop.put_item(with(order(16).item(), "ttl", json!({"N": "1700000000"}))).await;
    let said = given.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let expected = [
        "duplicate order [15]",
        "mismatch line [6,1]",
        "mismatch order [7]",
        "missing line [3,2]",
        "missing order [16]",
        "missing order [20]",
        "unexpected line [401,1]",
        "unexpected line [9,5]",
        "unexpected order [401]",
        "unmappable row at [\"CUSTOMER#c6\",\"ORDER#13#LINE#x\"]",
        "unmappable row at orders(id) [900]",
    ];
    let told = told(&said.out);
    for expected in expected {
        assert!(told.iter().any(|line| line.starts_with(expected)), "{expected}: {said:?}");
    }
    // Beside these: the rules over partitions that the faults break.
    let (rules, others): (Vec<_>, Vec<_>) =
        told.iter().partition(|line| line.starts_with("violation all of "));
    assert_eq!(others.len(), expected.len(), "{said:?}");
    for rule in ["total-is-sum-of-lines", "count-per-status"] {
        assert!(rules.iter().any(|line| line.contains(rule)), "{rule}: {said:?}");
    }
}

/// Open findings of a kind, by what they are about.
async fn violations(given: &Scenario) -> Vec<Value> {
    let findings = given.json(&["drift"]).await;
    let all = findings["findings"].as_array().cloned().unwrap_or_default();
    all.into_iter().filter(|finding| finding["kind"] == "violation").collect()
}

#[tokio::test]
async fn rules_over_partitions_are_confirmed_once_and_go_away_again() {
    let shop = shop(60).await;
    let given = scenario(&config(&shop));
    let mut daemon = given.start();
    daemon.ready().await;
    given.passes("orders", 1).await;
    assert_eq!(violations(&given).await, [] as [Value; 0]);
    // On both sides alike, so that no pair differs: only the sum tells.
    shop.source.exec("UPDATE orders SET total = total + 1 WHERE id = 17").await;
    let order = Order::new(17);
    let cents = json!({"N": (order.total() + 100).to_string()});
    shop.put_item(with(order.item(), "cents", cents)).await;
    let found = until_some("a violation of the partition", || async {
        violations(&given).await.into_iter().next()
    })
    .await;
    assert_eq!(found["invariant"], "total-is-sum-of-lines", "{found}");
    shop.source.exec(&order.sql()).await;
    shop.put_item(order.item()).await;
    until_some("the violation to be resolved", || async {
        violations(&given).await.is_empty().then_some(())
    })
    .await;
    daemon.stop().await;
}
