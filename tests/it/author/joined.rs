//! Fixtures of several relations a side and of several entity types, locating, and what is granted.

use std::fs;

use driftd_tests::scenario::Scenario;

use super::making::{ran, workshop};
use super::{copied, copy_all, empty, parsed, plugins};

#[tokio::test]
async fn a_wrong_golden_line_is_told_whatever_its_file_is_of() {
    let scenario = empty();
    copied(&scenario, "orders");
    for (file, right, wrong, told) in [
        (
            "source",
            r#""price": "18""#,
            r#""price": "19""#,
            r#"line 1, case "an order and its lines": entity 3, field `price`: given "18", golden "19""#,
        ),
        (
            "source",
            r#""relation": "order_lines", "row": 0"#,
            r#""relation": "order_lines", "row": 1"#,
            r#"line 5, case "a line without its order": note 1, row: given 0, golden 1"#,
        ),
        (
            "pairs",
            "closed: 0 and 1",
            "closed: 1 and 1",
            r#"of all cases, violation 3, message: given "closed: 0 and 1", golden "closed: 1 and 1""#,
        ),
        (
            "places",
            "ORDER#8@",
            "ORDER#9@",
            r#"line 4, case "a closed order, which may be in the archive": place 2, column `sk`: given "ORDER#8@", golden "ORDER#9@""#,
        ),
        (
            "places",
            r#""key": {"order": 7, "line_no": 2}"#,
            r#""key": {"order": 7, "line_no": 3}"#,
            r#"line 9, case "a row of lines": entity 1, field `line_no`: given 2, golden 3"#,
        ),
    ] {
        let golden = format!("orders/fixtures/{file}.golden.jsonl");
        let text = scenario.read(&golden);
        assert!(text.contains(right), "{right}");
        scenario.write(&golden, &text.replacen(right, wrong, 1));
        let said = ran(&scenario, &["plugin", "test", "orders"], 1).await;
        assert!(said.out.contains(told), "{told}: {said:?}");
        let line = said.out.lines().find(|line| line.ends_with(": 1 fault"));
        let place = format!("orders/fixtures/{file}.jsonl, ");
        assert!(line.is_some_and(|line| line.contains(&place)), "{place}: {said:?}");
        ran(&scenario, &["plugin", "test", "orders", "--update"], 0).await;
        assert_eq!(scenario.read(&golden), text, "byte for byte as it is written natively");
    }
}

#[tokio::test]
async fn a_wrong_case_is_told_by_its_line_and_the_other_files_go_on() {
    let scenario = empty();
    copied(&scenario, "orders");
    let nulls = r#"{"orders": [{"id": 10, "migrated": true}], "order_lines": [{"order_id": 10, "line_no": 1}]}"#;
    let profile = r#""row": {"pk": "CUSTOMER#ada", "sk": "PROFILE", "email": "ada@example.org"}"#;
    let two = r#""rows": {"shop": [{"pk": "a", "sk": "b"}, {"pk": "c", "sk": "d"}]}"#;
    for (file, line, right, wrong, told) in [
        (
            "source",
            1,
            r#""order_lines": [{"order_id": 7"#,
            r#""order_line": [{"order_id": 7"#,
            "the source has no relation `order_line`",
        ),
        ("source", 4, nulls, "{}", "there is no row that the plugin reads"),
        ("source", 4, nulls, r#"{"orders": {"id": 10}}"#, "`orders` is no list of rows"),
        ("source", 4, nulls, r#"{"orders": [10]}"#, "a row is no map of columns"),
        (
            "source",
            1,
            r#""quantity": 3"#,
            r#""quantity": "3""#,
            r#"column `quantity` of `order_lines`: "3" is no integer"#,
        ),
        ("target", 7, profile, two, "a row is a group here, and there are 2 rows"),
        ("target", 7, profile, r#""line": {}"#, "neither one `row` nor `rows` by relation"),
        (
            "pairs",
            2,
            r#""entity": "line""#,
            r#""entity": "lines""#,
            r#"there is no entity type "lines", only `order`, `line`"#,
        ),
        (
            "pairs",
            2,
            r#""line_no": 1"#,
            r#""line_no": "1""#,
            "field `line_no`: \"1\" is no integer",
        ),
        ("places", 2, r#", "entity": "line""#, "", "`entity` is missing"),
        (
            "places",
            8,
            r#""relation": "orders""#,
            r#""relation": "order""#,
            r#"there is no relation "order", only `orders`, `order_lines`"#,
        ),
        ("places", 1, r#""side": "source""#, r#""side": "both""#, "neither source nor target"),
        ("places", 1, r#""fields": {"id": 7"#, r#""field": {"id": 7"#, "`fields` nor one `key`"),
    ] {
        let cases = format!("orders/fixtures/{file}.jsonl");
        let text = scenario.read(&cases);
        assert!(text.contains(right), "{right}");
        scenario.write(&cases, &text.replacen(right, wrong, 1));
        let said = ran(&scenario, &["plugin", "test", "orders"], 1).await;
        let place = format!("where: {cases}, line {line}, case \"");
        for words in [told, place.as_str(), "to do: "] {
            assert!(said.out.contains(words), "{words}: {said:?}");
        }
        assert_eq!(said.out.matches(" cases: ok\n").count(), 3, "{said:?}");
        scenario.write(&cases, &text);
    }
}

/// Gives the hostile plugin a case of rows of `things`; `more` is what `schema.json` says beside them.
fn things(scenario: &Scenario, more: &str, case: &str) {
    let things =
        r#"[{"name": "things", "key": ["id"], "columns": {"id": "integer", "name": "text"}}]"#;
    let schema =
        format!(r#"{{"pairing": "things", {more}"source": {things}, "target": {things}}}"#);
    fs::create_dir_all(scenario.path("hostile/fixtures")).unwrap();
    scenario.write("hostile/fixtures/schema.json", &schema);
    scenario.write("hostile/fixtures/source.jsonl", case);
}

#[tokio::test]
async fn entities_of_groups_that_are_none_are_told() {
    let scenario = empty();
    copied(&scenario, "hostile");
    let twins = r#"{"case": "twins", "rows": {"things": [{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]}}"#;
    things(&scenario, r#""config": {"mode": "group"}, "#, twins);
    let said = ran(&scenario, &["plugin", "test", "hostile"], 1).await;
    for words in ["from-group names a group beyond the 1 of this call", "source.jsonl, one of its"]
    {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
}

#[tokio::test]
async fn every_function_that_the_fixtures_reach_is_measured() {
    let scenario = empty();
    copied(&scenario, "orders");
    let told = parsed(&ran(&scenario, &["plugin", "bench", "orders", "--json"], 0).await.out);
    let measured = told["measured"].as_array().unwrap();
    let functions: Vec<_> = measured.iter().map(|one| one["function"].as_str().unwrap()).collect();
    assert_eq!(
        functions,
        [
            "map-batch, source",
            "map-batch, target",
            "check-pairs, order",
            "accumulator, total-is-sum-of-lines, order",
            "accumulator, count-per-status, order",
            "check-pairs, line",
            "accumulator, total-is-sum-of-lines, line",
            "accumulator, count-per-status, line",
            "locate, source, order",
            "locate, source, line",
            "locate, target, order",
            "locate, target, line",
            "keys-of, source, orders",
            "keys-of, source, order_lines",
            "keys-of, target, shop",
        ]
    );
    for one in measured {
        let rows = one["rows"].as_u64().unwrap();
        assert!((1_024..=1_026).contains(&rows), "the largest group has three rows: {one}");
        assert!(one["fuel"]["used"].as_u64().unwrap() > 1_000, "{one}");
        assert_eq!(one["over"], serde_json::json!([]), "{one}");
    }
    let row = |function: &str| {
        let at = functions.iter().position(|known| *known == function).unwrap();
        measured[at]["fuel_per_row"].as_u64().unwrap()
    };
    // What pushing takes, not what dropping the accumulator afterwards does.
    assert!(row("accumulator, total-is-sum-of-lines, line") > 100, "{told}");
}

#[tokio::test]
async fn a_plugin_is_granted_what_a_configuration_grants_it() {
    let scenario = empty();
    copied(&scenario, "hostile");
    let one = r#"{"case": "one", "row": {"id": 1, "name": "a"}}"#;
    things(&scenario, "", one);
    let plugin = |name: &str, more: &str| {
        format!("[plugins.{name}]\npath = \"hostile/hostile.wasm\"\n{more}\n")
    };
    scenario.write(
        "some.toml",
        &[
            "[stores.s]\nkind = \"sqlite\"\npath = \"nowhere.db\"\n".to_owned(),
            plugin("wide", "limits = { deadline = \"9s\", fuel_per_row = 7 }"),
            plugin("panics", "config = { mode = \"panic\" }"),
            plugin("narrow", "limits = { memory = \"64KiB\" }"),
        ]
        .concat(),
    );
    ran(&scenario, &["plugin", "test", "hostile", "--update"], 0).await;
    let granted = |command: &'static str, name: &'static str| {
        ["plugin", command, "hostile", "--config", "some.toml", "--plugin", name]
    };
    let said = ran(&scenario, &[&granted("bench", "wide")[..], &["--json"]].concat(), 0).await;
    let told = &parsed(&said.out)["measured"][0];
    assert_eq!((&told["deadline_ms"], &told["rows"]), (&9_000.into(), &1_024.into()), "{said:?}");
    assert_eq!(told["fuel"]["allowed"], 50_000_000 + 7 * 1_024, "{said:?}");
    let said = ran(&scenario, &granted("inspect", "wide"), 0).await;
    let told = "granted to a call, by [plugins.wide] of some.toml";
    assert!(said.out.contains(told) && said.out.contains("deadline  9,000 ms"), "{said:?}");
    let said = ran(&scenario, &granted("test", "panics"), 1).await;
    assert!(said.out.contains("panics on purpose"), "{said:?}");
    let said = ran(&scenario, &granted("test", "narrow"), 1).await;
    assert!(said.err.contains("memory than 65536 bytes"), "{said:?}");
    // What the fixtures themselves say stays.
    things(&scenario, r#""config": {"mode": "good"}, "#, one);
    ran(&scenario, &granted("test", "panics"), 0).await;
    let said = ran(&scenario, &granted("test", "panic"), 2).await;
    assert!(said.err.contains("did you mean `panics`?"), "{said:?}");
    ran(&scenario, &["plugin", "test", "hostile", "--config", "some.toml"], 2).await;
}

/// A plugin that is built here of code and fixtures that lie elsewhere.
async fn built(scenario: &Scenario, name: &str, code: &[(&str, String)], fixtures: &str) {
    let sdk = plugins().join("sdk").display().to_string();
    ran(scenario, &["plugin", "new", name, "--sdk", &sdk], 0).await;
    let locked = fs::read_to_string(plugins().join("Cargo.lock")).unwrap();
    scenario.write(&format!("{name}/Cargo.lock"), &locked);
    for (file, text) in code {
        scenario.write(&format!("{name}/src/{file}"), text);
    }
    fs::remove_dir_all(scenario.path(&format!("{name}/fixtures"))).unwrap();
    copy_all(&plugins().join(fixtures), &scenario.path(&format!("{name}/fixtures")));
    ran(scenario, &["plugin", "build", name], 0).await;
}

fn code(file: &str) -> String {
    fs::read_to_string(plugins().join(file)).unwrap()
}

#[tokio::test]
async fn tables_that_are_not_joined_are_mapped_in_calls_of_their_own() {
    let scenario = workshop();
    let mapping = [("lib.rs", code("sdk/tests/tables/mapping.rs"))];
    built(&scenario, "tables", &mapping, "sdk/tests/tables/fixtures").await;
    let said = ran(&scenario, &["plugin", "test", "tables"], 0).await;
    assert!(said.out.contains("9 cases, 2 files: all good"), "{said:?}");
    let told = parsed(&ran(&scenario, &["plugin", "bench", "tables", "--json"], 0).await.out);
    let measured = told["measured"].as_array().unwrap();
    let functions: Vec<_> = measured.iter().map(|one| one["function"].as_str().unwrap()).collect();
    let calls = ["map-batch, source, people", "map-batch, source, firms", "map-batch, target"];
    assert_eq!(functions, calls);
}

#[tokio::test]
async fn laws_are_tried_on_groups_and_over_all_entity_types() {
    let scenario = workshop();
    let patched = |file: &str, right: &str, wrong: &str| {
        let text = code(&format!("orders/src/{file}"));
        assert!(text.contains(right), "{file}: {right}");
        text.replace(right, wrong)
    };
    // How many lines an order has, and how many orders there are, depends on how often that was asked.
    let lines = "order.all(line_no).len() as i64";
    let asked = "\nfn asked() -> i64 {
    static ASKED: std::sync::atomic::AtomicI64 = std::sync::atomic::AtomicI64::new(0);
    ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}\n";
    let mapping = patched("lib.rs", lines, &format!("{lines} + asked()"));
    let rules = patched("rules.rs", ".or_default().0 += 1", ".or_default().0 += crate::asked()");
    let code = [
        ("lib.rs", mapping + asked),
        ("rules.rs", rules),
        ("place.rs", code("orders/src/place.rs")),
    ];
    built(&scenario, "asking", &code, "orders/fixtures").await;
    let said = ran(&scenario, &["plugin", "test", "asking", "--update"], 1).await;
    for words in [
        "law: the same batch twice gives the same bytes: line 1, case \"an order and its lines\": \
         entity 1, field `line_count`: first 2, again on the same instance ",
        "law: cutting groups into other batches changes nothing: line 2, case \"an order without \
         lines\": entity 1, field `line_count`: in order 1, in reverse order 2",
        "law: accumulators merge associatively and commutatively: invariant `count-per-status`: \
         one accumulator of all pairs says ",
    ] {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    assert!(!said.out.contains("invariant `total-is-sum-of-lines`"), "{said:?}");
    let golden = "fixtures/source.golden.jsonl";
    assert_eq!(
        scenario.read(&format!("asking/{golden}")),
        fs::read_to_string(plugins().join("orders").join(golden)).unwrap(),
        "what breaks a law is not written down"
    );
}
