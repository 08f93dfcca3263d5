//! The table of types between stores as they are: columns of SQL against attributes, and against
//! columns of other types.

use driftd_tests::scenario::users::{ITEMS, Shop};
use serde_json::{Value, json};

use super::scenario;

/// Every field that is compared, in the order of the mapping.
const FIELDS: &str = r#"
n = {}
big = {}
price = {}
f = {}
d = {}
flag = { type = "boolean" }
one = { type = "boolean" }
name = {}
kind = {}
tags = {}
raw = {}
at = {}
local = {}
day = {}
span = {}
y = {}
doc = {}
"#;

async fn shop() -> Shop {
    let shop = Shop::new(0).await;
    shop.source
        .exec(
            "SET time_zone = '+00:00', sql_mode = 'ALLOW_INVALID_DATES'; \
             CREATE TABLE typed (id INT PRIMARY KEY, n INT, big BIGINT UNSIGNED, \
             price DECIMAL(12,4), f FLOAT, d DOUBLE, flag BOOL, one BIT(1), name VARCHAR(40), \
             kind ENUM('new', 'old'), tags SET('p', 'q'), raw VARBINARY(8), at TIMESTAMP(6) NULL, \
             local DATETIME(6), day DATE, span TIME(6), y YEAR, doc JSON); \
             INSERT INTO typed VALUES \
             (1, 7, 18446744073709551615, 12.5, 30.4, 0.1, 1, b'1', '1', 'new', 'q,p', 'ab', \
             '2024-01-02 03:04:05.5', '2024-01-02 03:04:05.5', '2024-02-29', '-30:00:00.25', 2024, \
             '{\"b\": [1, 1.0, null], \"a\": \"x\"}'), \
             (2, -7, 0, 0, 0, 1e300, 0, b'0', '', 'old', '', '', '0000-00-00 00:00:00', \
             '0000-00-00 00:00:00', '0000-00-00', '00:00:00', 0, '\"abc\"'), \
             (3, 7, 7, 7, 0.5, 0.5, 1, b'1', '1', 'new', 'p', 'ab', '1970-01-01 00:00:01', \
             '1970-01-01 00:00:00', '1970-01-01', '12:00:00', 2024, '1'), \
             (4, 1, 1, 1, 1, 1, 1, b'1', 'x', 'new', 'p', 'ab', '1970-01-01 00:00:01', \
             '1970-01-01 00:00:00', '1970-01-01', '12:00:00', 2024, 'null')",
        )
        .await;
    let item = |id: i64, attributes: Value| {
        let mut item = attributes;
        item["pk"] = json!({"S": format!("TYPED#{id}")});
        item["sk"] = json!({"S": "TYPED"});
        item["id"] = json!({"N": id.to_string()});
        item
    };
    let right = json!({
        "n": {"N": "7"}, "big": {"N": "18446744073709551615"}, "price": {"N": "12.5"},
        "f": {"N": "30.4"}, "d": {"N": "0.1"}, "flag": {"BOOL": true}, "one": {"BOOL": true},
        "name": {"S": "1"}, "kind": {"S": "new"}, "tags": {"SS": ["p", "q"]}, "raw": {"B": "YWI="},
        "at": {"S": "2024-01-02T05:04:05.500+02:00"}, "local": {"S": "2024-01-02 03:04:05.5"},
        "day": {"S": "2024-02-29"}, "span": {"S": "-30:00:00.25"}, "y": {"N": "2024"},
        "doc": {"M": {"a": {"S": "x"}, "b": {"L": [{"N": "1"}, {"N": "1"}, {"NULL": true}]}}},
    });
    let zeros = json!({
        "n": {"N": "-7"}, "big": {"N": "0"}, "price": {"N": "0"}, "f": {"N": "0"},
        "d": {"S": "1e300"}, "flag": {"BOOL": false}, "one": {"BOOL": false}, "name": {"S": ""},
        "kind": {"S": "old"}, "tags": {"S": ""}, "raw": {"B": ""},
        "at": {"S": "0000-00-00T00:00:00Z"}, "local": {"S": "0000-00-00T00:00:00"},
        "day": {"S": "0000-00-00"}, "span": {"S": "00:00:00"}, "y": {"N": "0"},
        "doc": {"S": "abc"},
    });
    let of_other_types = json!({
        "n": {"S": "7"}, "big": {"S": "7"}, "price": {"S": "7"}, "f": {"S": "0.5"},
        "d": {"S": "0.5"}, "flag": {"N": "1"}, "one": {"S": "true"}, "name": {"N": "1"},
        "kind": {"B": "bmV3"}, "tags": {"L": [{"S": "p"}]}, "raw": {"S": "ab"}, "at": {"N": "1"},
        "local": {"N": "0"}, "day": {"N": "0"}, "span": {"N": "43200"}, "y": {"S": "2024"},
        "doc": {"S": "1"},
    });
    let null = json!({
        "n": {"N": "1"}, "big": {"N": "1"}, "price": {"N": "1"}, "f": {"N": "1"}, "d": {"N": "1"},
        "flag": {"BOOL": true}, "one": {"BOOL": true}, "name": {"S": "x"}, "kind": {"S": "new"},
        "tags": {"SS": ["p"]}, "raw": {"B": "YWI="}, "at": {"S": "1970-01-01 00:00:01Z"},
        "local": {"S": "1970-01-01T00:00:00"}, "day": {"S": "1970-01-01"},
        "span": {"S": "12:00:00"}, "y": {"N": "2024"}, "doc": {"NULL": true},
    });
    let items = [right, zeros, of_other_types, null];
    shop.target.put(ITEMS, (1..).zip(items).map(|(id, it)| item(id, it)));
    shop
}

/// Kind, key and fields of what `verify` finds.
async fn found(config: &str) -> Vec<String> {
    let given = scenario(config);
    let said = given.run(&["verify", "--json"]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("{said:?}"));
    let findings = told["findings"].as_array().unwrap_or_else(|| panic!("{said:?}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |finding: &Value| {
        let fields: Vec<_> =
            finding["fields"].as_array().expect("a list").iter().map(text).collect();
        format!("{} {} {}", text(&finding["kind"]), text(&finding["key"]), fields.join(","))
    };
    let mut found: Vec<_> = findings.iter().map(one).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn values_of_columns_and_attributes_are_compared_with_their_types() {
    let shop = shop().await;
    let config = |fields: &str| {
        format!(
            r#"{}
[pairings.typed]
leader = "source"
source = {{ store = "shop", relation = "typed", key = {{ id = "{{id}}" }} }}
target = {{ store = "items", relation = "{ITEMS}", key = {{ pk = "TYPED#{{id}}", sk = "TYPED" }} }}
[pairings.typed.mapping.fields]
id = {{ role = "key" }}
{fields}"#,
            shop.stores()
        )
    };
    let names: Vec<_> = FIELDS.lines().filter_map(|line| line.split_once(" = ")).collect();
    let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        found(&config(FIELDS)).await,
        // 1e300 is beyond what DynamoDB has numbers for, and so kept as text.
        ["mismatch [2] d", &format!("mismatch [3] {}", names.join(",")), "mismatch [4] doc"]
    );
    // Each rule makes alike what it says.
    let ruled = FIELDS
        .replace("n = {}\nbig = {}", "n = { rules = [\"text=number\"] }\nbig = { rules = [\"text=number\"] }")
        .replace("\nprice = {}\nf = {}\nd = {}", "\nprice = { rules = [\"text=number\"] }\nf = { rules = [\"text=number\"] }\nd = { rules = [\"text=number\"] }")
        .replace("flag = { type = \"boolean\" }", "flag = { type = \"boolean\", rules = [\"number=bool\"] }")
        .replace("one = { type = \"boolean\" }", "one = { type = \"boolean\", rules = [\"text=bool\"] }")
        .replace("name = {}", "name = { rules = [\"text=number\"] }")
        .replace("y = {}\ndoc = {}", "y = { rules = [\"text=number\"] }\ndoc = { rules = [\"json-null=null\", \"text=number\"] }");
    assert_eq!(found(&config(&ruled)).await, ["mismatch [3] kind,tags,raw,at,local,day,span"]);
}

#[tokio::test]
async fn columns_of_sql_are_compared_by_the_same_table_and_keys_shown_as_they_are_written() {
    let shop = Shop::new(0).await;
    shop.source
        .exec(
            "SET time_zone = '+00:00', sql_mode = ''; \
             CREATE TABLE spans (id INT, day DATE, span TIME, f FLOAT, doc JSON, \
             PRIMARY KEY (id, day, span)); \
             CREATE TABLE copies (id INT, day DATE, span TIME, f DOUBLE, doc JSON, \
             PRIMARY KEY (id, day, span)); \
             INSERT INTO spans VALUES (1, '2024-02-29', '12:00:00', 30.4, 'null'), \
             (2, '0000-00-00', '-30:00:00', 0.1, 'null'), (3, '2024-03-01', '00:00:00', 0.5, NULL), \
             (4, '2024-03-02', '00:00:00', 0.5, '{\"a\": 1}'); \
             INSERT INTO copies VALUES (1, '2024-02-29', '12:00:00', 30.4, 'null'), \
             (2, '0000-00-00', '-30:00:00', 0.1, NULL), (3, '2024-03-01', '00:00:00', 0.5, 'null'), \
             (4, '2024-03-02', '00:00:00', 0.50001, '{ \"a\" : 1.0 }')",
        )
        .await;
    let key = r#"key = { id = "{id}", day = "{day}", span = "{span}" }"#;
    let config = |rules: &str| {
        format!(
            r#"{}
[pairings.spans]
leader = "source"
source = {{ store = "shop", relation = "spans", {key} }}
target = {{ store = "shop", relation = "copies", {key} }}
[pairings.spans.mapping.fields]
id = {{ role = "key" }}
day = {{ role = "key" }}
span = {{ role = "key" }}
f = {{}}
doc = {{ rules = [{rules}] }}
"#,
            shop.stores()
        )
    };
    assert_eq!(
        found(&config("")).await,
        [
            r#"mismatch [2,"0000-00-00","-30:00:00"] doc"#,
            r#"mismatch [3,"2024-03-01","00:00:00"] doc"#,
            r#"mismatch [4,"2024-03-02","00:00:00"] f"#,
        ]
    );
    let ruled = found(&config("\"json-null=null\"")).await;
    assert_eq!(ruled, [r#"mismatch [4,"2024-03-02","00:00:00"] f"#]);
}
