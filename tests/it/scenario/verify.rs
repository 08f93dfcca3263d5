//! `driftd verify` and `driftd config check`: what the exit code says.

use driftd_tests::scenario::users::{ITEMS, Shop, User};
use serde_json::json;

use super::plugins::hostile;
use super::scenario;

#[tokio::test]
async fn the_exit_code_of_a_single_pass_says_what_it_found() {
    let mut shop = Shop::new(40).await;
    shop.add_things().await;
    shop.put_source(&User { migrated: false, ..User::new(7) }).await;
    shop.delete_target(&User::new(7)).await;
    shop.put_source(&User { migrated: false, ..User::new(8) }).await;
    let scenario = scenario(&shop.config(&hostile("trap", "trap")));
    let only_users = ["verify", "--pairing", "users"];

    let said = scenario.run(&only_users).await;
    assert_eq!(said.code, Some(0), "excluded rows change nothing: {said:?}");
    assert!(said.out.contains("verified same"), "{said:?}");
    let json: serde_json::Value =
        serde_json::from_str(&scenario.run(&["verify", "--pairing", "users", "--json"]).await.out)
            .unwrap();
    assert_eq!(json["pairings"][0]["same"], 38, "an entity counts once: {json}");
    assert_eq!(json["pairings"][0]["excluded"], 2, "{json}");

    let said = scenario.run(&["verify", "--pairing", "trap"]).await;
    assert_eq!(said.code, Some(3), "unread is not same: {said:?}");
    assert!(said.err.contains("plugin `trap`"), "{said:?}");
    let said = scenario.run(&["verify", "--pairing", "trap", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let unread = &json["unread"][0];
    assert_eq!((&unread["pairing"], &unread["code"]), (&"trap".into(), &"plugin-trap".into()));
    assert!(unread["count"].as_u64().unwrap() > 0, "{json}");
    assert!(unread["what"].is_string() && unread["remedy"].is_string(), "{json}");
    let said = scenario.run(&["verify", "--pairing", "user"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    scenario.change("events.jsonl\" }", "events.jsonl\" }\nfields = [\"users.tenants\"]");
    let said = scenario.run(&only_users).await;
    assert_eq!(said.code, Some(2), "nothing would leave: {said:?}");
    assert!(said.err.contains("`users.tenants`") && said.err.contains("it has tenant"), "{said:?}");
    scenario.change("users.tenants", "users.tenant");

    shop.put_target(&User { cents: 1, ..User::new(9) }).await;
    let said = scenario.run(&only_users).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("1 mismatch") && said.out.contains("[9]"), "{said:?}");
    let said = scenario.run(&["verify"]).await;
    assert_eq!(said.code, Some(1), "drift wins over unread: {said:?}");
    assert!(said.err.contains("plugin `trap`"), "and unread is told all the same: {said:?}");
    shop.put_target(&User::new(9)).await;

    scenario.change(
        "key = { id = \"{id}\" } }\ntarget = { store = \"items\"",
        "}\ntarget = { store = \"items\"",
    );
    let said = scenario.run(&only_users).await;
    assert_eq!(said.code, Some(3), "one direction is not all: {said:?}");
    assert!(said.out.contains("not verifiable") && said.out.contains("unexpected"), "{said:?}");

    shop.source.kill();
    let said = scenario.run(&only_users).await;
    assert_eq!(said.code, Some(3), "a dead server is not same: {said:?}");
    assert!(said.err.contains("store `shop`") && said.err.contains("cannot reach"), "{said:?}");
}

#[tokio::test]
async fn what_a_store_answers_as_wrong_is_told_with_the_nearest_names() {
    let shop = Shop::new(5).await;
    shop.add_things().await;
    let pairing = |relation: &str, column: &str| {
        let stores = shop.stores();
        format!(
            "{stores}
[pairings.things]
leader = \"source\"
source = {{ store = \"shop\", relation = \"{relation}\", key = {{ id = \"{{id}}\" }} }}
target = {{ store = \"shop\", relation = \"copies\", key = {{ id = \"{{id}}\" }} }}
[pairings.things.mapping]
entity = \"thing\"
[pairings.things.mapping.fields]
id = {{ role = \"key\", type = \"integer\" }}
name = {{ source = \"{column}\", target = \"name\", type = \"text\" }}
"
        )
    };
    for (relation, column, code, words) in [
        ("things", "name", 0, ["verified", "same"]),
        ("thing", "name", 2, ["no such relation", "things"]),
        ("things", "nam", 2, ["`nam`", "name"]),
    ] {
        let scenario = scenario(&pairing(relation, column));
        for command in ["verify", "run"] {
            if (command, code) == ("run", 0) {
                continue;
            }
            let said = scenario.run(&[command]).await;
            assert_eq!(said.code, Some(code), "{command} {relation} {column}: {said:?}");
            let all = format!("{}{}", said.out, said.err);
            assert!(words.iter().all(|word| all.contains(word)), "{words:?}: {said:?}");
        }
    }
}

#[tokio::test]
async fn every_fault_of_a_configuration_is_told_in_one_run() {
    let scenario = scenario(
        "[journal]\nretention = \"soon\"\n[stores.shop]\nkind = \"mysqll\"\n\
         [pairings.users]\nleeder = \"source\"\nsource = { store = \"shpo\", relation = \"users\" }\n",
    );
    for command in [&["config", "check"][..], &["verify"], &["run"]] {
        let said = scenario.run(command).await;
        assert_eq!(said.code, Some(2), "{command:?}: {said:?}");
        for word in ["soon", "mysqll", "leeder"] {
            assert!(said.err.contains(word), "{command:?} lacks {word}: {said:?}");
        }
    }
    let said = scenario.run(&["status", "--journal", "none"]).await;
    assert_eq!(said.code, Some(4), "there is no journal: {said:?}");
}

#[tokio::test]
async fn attributes_of_items_out_of_scope_are_not_this_pairings_affair() {
    let shop = Shop::new(3).await;
    shop.put_item(json!({
        "pk": {"S": "TENANT#t"}, "sk": {"S": "INVOICE#1"}, "total": {"N": "7"}, "paid": {"N": "1"}
    }))
    .await;
    let mut item = User::new(2).item();
    item["nickname"] = json!({"S": "Bo"});
    shop.put_item(item).await;
    let told = scenario(&shop.config("")).json(&["verify"]).await;
    let unmapped = &told["pairings"][0]["unmapped"];
    assert_eq!(unmapped.as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(unmapped[0]["attribute"], "nickname", "{told}");
}

#[tokio::test]
async fn an_attribute_that_no_item_has_is_told_unless_it_is_optional() {
    let shop = Shop::new(0).await;
    shop.add_things().await;
    for (id, name) in (1..).zip(["one", "two", "three"]) {
        let name = json!({ "S": name });
        let (pk, sk) = (json!({"S": format!("THING#{id}")}), json!({"S": "THING"}));
        shop.put_item(json!({"pk": pk, "sk": sk, "id": {"N": id.to_string()}, "name": name})).await;
    }
    shop.source.exec("ALTER TABLE things ADD COLUMN note VARCHAR(20)").await;
    let config = |note: &str| {
        format!(
            r#"{}
[pairings.things]
leader = "source"
source = {{ store = "shop", relation = "things", key = {{ id = "{{id}}" }} }}
target = {{ store = "items", relation = "{ITEMS}", key = {{ pk = "THING#{{id}}", sk = "THING" }} }}
[pairings.things.mapping.fields]
id = {{ role = "key" }}
name = {{}}
note = {{ rules = ["absent=null"]{note} }}
"#,
            shop.stores()
        )
    };
    for (note, is_told) in [("", true), (", optional = true", false)] {
        let said = scenario(&config(note)).run(&["verify"]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(said.err.contains("none of the first 3 items"), is_told, "{said:?}");
        let names = ["`note`", "pairings.things.mapping.fields.note", "optional = true"];
        assert!(!is_told || names.iter().all(|name| said.err.contains(name)), "{said:?}");
    }
}
