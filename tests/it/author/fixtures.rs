//! Fixtures in WebAssembly: golden files, and the laws of a mapping.

use super::{copied, empty, parsed};

/// Cases of the hostile plugin, which maps an integer and a text as they are.
const SCHEMA: &str = r#"{
  "pairing": "things",
  "config": {"mode": "MODE"},
  "source": [{"name": "things", "key": ["id"], "columns": {"id": "integer", "name": "text"}}],
  "target": [{"name": "copies", "key": ["id"], "columns": {"id": "integer", "name": "text"}}]
}"#;
const ROWS: &str = r#"{"case": "one", "row": {"id": 1, "name": "first"}}
{"case": "two", "row": {"id": 2, "name": "second"}}
{"case": "three", "row": {"id": 3, "name": "third"}}
"#;

#[tokio::test]
async fn fixtures_of_the_sdk_give_in_the_daemon_what_they_give_natively() {
    let scenario = empty();
    for (plugin, files, cases) in
        [("users", 4, 20), ("archive", 2, 7), ("orders", 4, 37), ("keys", 3, 189)]
    {
        copied(&scenario, plugin);
        let said = scenario.run(&["plugin", "test", plugin]).await;
        assert_eq!(said.code, Some(0), "{said:?}");
        let told = scenario.json(&["plugin", "test", plugin]).await;
        assert_eq!(told["good"], true);
        let here = told["files"].as_array().unwrap();
        let all: u64 = here.iter().map(|file| file["cases"].as_u64().unwrap()).sum();
        assert!(here.len() == files && all >= cases, "{told}");
    }
}

#[tokio::test]
async fn a_difference_is_told_by_file_case_and_field_and_updated_when_asked() {
    let scenario = empty();
    copied(&scenario, "users");
    let golden = "users/fixtures/source.golden.jsonl";
    let right = scenario.read(golden);
    let wrong = right.replace(r#""balance": "12.5""#, r#""balance": "12.51""#);
    assert_ne!(right, wrong);
    scenario.write(golden, &wrong);
    let said = scenario.run(&["plugin", "test", "users"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = "line 1, case \"an ordinary row\": entity 1, field `balance`: given \"12.5\", golden \"12.51\"";
    assert!(said.out.contains(told), "{said:?}");
    assert!(said.out.contains("source.jsonl, 4 cases: 1 fault"), "{said:?}");
    assert!(said.out.contains("--update"), "{said:?}");
    let said = scenario.run(&["plugin", "test", "users", "--json"]).await;
    let problem = &parsed(&said.out)["files"][2]["problems"][0];
    assert_eq!(problem["path"], "/entities/0/fields/balance", "{said:?}");
    assert_eq!((problem["line"].as_u64(), &problem["kind"]), (Some(1), &"golden".into()));

    let said = scenario.run(&["plugin", "test", "users", "--update"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out.matches("golden file written").count(), 1, "{said:?}");
    assert_eq!(scenario.read(golden), right);
    assert_eq!(scenario.run(&["plugin", "test", "users"]).await.code, Some(0));
    // Without any golden file there is nothing to agree with.
    std::fs::remove_file(scenario.path(golden)).unwrap();
    let said = scenario.run(&["plugin", "test", "users"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("there is no users/fixtures/source.golden.jsonl"), "{said:?}");
}

#[tokio::test]
async fn a_plugin_that_breaks_a_law_or_fails_writes_no_golden_file() {
    let scenario = empty();
    copied(&scenario, "hostile");
    std::fs::create_dir(scenario.path("hostile/fixtures")).unwrap();
    scenario.write("hostile/fixtures/source.jsonl", ROWS);
    for (mode, words) in [
        // Its text is the number of the call.
        (
            "calls",
            vec!["law: the same batch twice", "law: cutting groups", "field `name`", "\"2\""],
        ),
        ("panic", vec!["map-batch", "panics on purpose", "source.jsonl, its 3 cases", "to do: "]),
        ("spin", vec!["map-batch", "used up its fuel of 56000000", "limits] fuel_per_row"]),
        ("bad-utf8", vec!["malformed", "UTF-8"]),
    ] {
        scenario.write("hostile/fixtures/schema.json", &SCHEMA.replace("MODE", mode));
        let said = scenario.run(&["plugin", "test", "hostile", "--update"]).await;
        assert_eq!(said.code, Some(1), "{mode}: {said:?}");
        for word in words {
            assert!(said.out.contains(word), "{mode}, {word}: {said:?}");
        }
        assert_eq!(scenario.read("hostile/fixtures/source.golden.jsonl"), "", "{mode}");
    }
    // What it says beside is told, too.
    scenario.write("hostile/fixtures/schema.json", &SCHEMA.replace("MODE", "warn"));
    let said = scenario.run(&["plugin", "test", "hostile", "--update"]).await;
    assert!(
        said.out.contains("cutting groups"),
        "its note is of the first row of a call: {said:?}"
    );
    scenario.write("hostile/fixtures/schema.json", &SCHEMA.replace("MODE", "good"));
    let said = scenario.run(&["plugin", "test", "hostile", "--update"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let golden = scenario.read("hostile/fixtures/source.golden.jsonl");
    assert_eq!(
        golden.lines().nth(1).unwrap(),
        r#"{"case": "two", "entities": [{"entity": "thing", "standing": "present", "fields": {"id": 2, "name": "second"}}]}"#
    );
}

#[tokio::test]
async fn what_cannot_be_measured_says_why() {
    let scenario = empty();
    copied(&scenario, "hostile");
    std::fs::create_dir(scenario.path("hostile/fixtures")).unwrap();
    scenario.write("hostile/fixtures/source.jsonl", ROWS);
    scenario.write("hostile/fixtures/schema.json", &SCHEMA.replace("MODE", "good"));
    let said = scenario.run(&["plugin", "bench", "hostile"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    scenario.write("hostile/fixtures/schema.json", &SCHEMA.replace("MODE", "spin"));
    let said = scenario.run(&["plugin", "bench", "hostile"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["map-batch", "fuel", "source.jsonl", "to do: look for an endless loop"] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
}

#[tokio::test]
async fn fixtures_that_cannot_be_run_are_a_wrong_question() {
    let scenario = empty();
    copied(&scenario, "hostile");
    let said = scenario.run(&["plugin", "test", "hostile"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("FIXTURES.md"), "{said:?}");
    std::fs::create_dir(scenario.path("hostile/fixtures")).unwrap();
    let schema = SCHEMA.replace("MODE", "good");
    let two =
        schema.replace("\"source\": [", "\"source\": [{\"name\": \"things\", \"columns\": {}}, ");
    let none = schema.replace("\"source\": [", "\"source\": [], \"other\": [");
    for (schema, rows, words) in [
        (schema.replace('}', ""), ROWS.to_owned(), ["schema.json", "to do: "]),
        (schema.replace("integer", "integre"), ROWS.to_owned(), ["integre", "known: boolean"]),
        (two, ROWS.to_owned(), ["`source` has two relations `things`", "FIXTURES.md"]),
        (none, ROWS.to_owned(), ["`source` is no list of one relation or more", "FIXTURES.md"]),
        (schema.clone(), ROWS.replace("\"row\"", "row"), ["source.jsonl, line 1", "no JSON"]),
        (schema.clone(), ROWS.replace("\"case\": \"two\",", ""), ["line 2", "has no `case`"]),
    ] {
        scenario.write("hostile/fixtures/schema.json", &schema);
        scenario.write("hostile/fixtures/source.jsonl", &rows);
        let said = scenario.run(&["plugin", "test", "hostile"]).await;
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{word}: {said:?}");
        }
    }
    // A cell of another type is the fault of its case, and the other files go on.
    scenario.write("hostile/fixtures/schema.json", &schema);
    scenario.write("hostile/fixtures/source.jsonl", &ROWS.replace("\"id\": 2", "\"id\": \"2\""));
    let said = scenario.run(&["plugin", "test", "hostile"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in
        ["column `id`: \"2\" is no integer", "line 2, case \"two\"", "to do: put the cell right"]
    {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
}
