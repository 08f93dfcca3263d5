//! Real rows, mapped and shown.

use driftd_tests::scenario::Scenario;
use rusqlite::Connection;

use super::plugins;

/// Three rows in one store, one in the other, mapped by the hostile plugin.
fn things(mode: &str) -> Scenario {
    let config = format!(
        "[stores.old]
kind = \"sqlite\"
path = \"old.db\"
[stores.new]
kind = \"sqlite\"
path = \"new.db\"
[plugins.things]
path = \"{}\"
config = {{ mode = \"{mode}\" }}
[pairings.things]
leader = \"source\"
plugin = \"things\"
source = {{ store = \"old\", relation = \"things\", key = {{ id = \"{{id}}\" }} }}
target = {{ store = \"new\", relation = \"copies\", key = {{ id = \"{{id}}\" }} }}
",
        plugins().join("hostile/hostile.wasm").display()
    );
    let scenario = Scenario::new(env!("CARGO_BIN_EXE_driftd-under-test"), &config);
    for (file, relation, rows) in [
        ("old.db", "things", "(1, 'first'), (2, 'second'), (3, 'third')"),
        ("new.db", "copies", "(7, 'other')"),
    ] {
        let sql = format!(
            "CREATE TABLE {relation} (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
             INSERT INTO {relation} VALUES {rows}"
        );
        Connection::open(scenario.path(file)).unwrap().execute_batch(&sql).unwrap();
    }
    scenario
}

const RUN: [&str; 4] = ["plugin", "run", "--pairing", "things"];

#[tokio::test]
async fn the_first_rows_of_a_store_are_mapped_and_printed() {
    let scenario = things("good");
    let said = scenario.run(&RUN).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let first = "key {\"id\": 1}\n  row {\"id\": 1, \"name\": \"first\"}\n  is  {\"entity\": \"thing\", \
                 \"standing\": \"present\", \"fields\": {\"id\": 1, \"name\": \"first\"}}\n";
    for words in
        ["source: store `old`, relation `things`, 3 rows", first, "target: store `new`", "other"]
    {
        assert!(said.out.contains(words), "{words}: {said:?}");
    }
    let told = scenario.json(&[&RUN[..], &["--rows", "2", "--side", "source"]].concat()).await;
    assert_eq!(told["sides"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["sides"][0]["groups"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["sides"][0]["groups"][1]["entities"][0]["fields"]["name"], "second", "{told}");
    // Neither a journal nor anything else is left.
    let mut left: Vec<_> = std::fs::read_dir(scenario.directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["driftd.toml", "new.db", "old.db"]);
}

#[tokio::test]
async fn a_plugin_that_fails_on_real_rows_says_where_and_what_to_do() {
    let scenario = things("panic");
    let said = scenario.run(&RUN).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    for word in ["map-batch", "panics on purpose", "pairing `things`, source", "to do: "] {
        assert!(said.err.contains(word), "{word}: {said:?}");
    }
    let said = scenario.run(&["plugin", "run", "--pairing", "thigns"]).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("did you mean `things`?"), "{said:?}");
    let database = Connection::open(scenario.path("new.db")).unwrap();
    database.execute_batch("ALTER TABLE copies RENAME TO copied").unwrap();
    let said = scenario.run(&RUN).await;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("store `new`") && said.err.contains("nearest: copied"), "{said:?}");
}
