//! What authors of plugins are given: `driftd plugin`, from an empty directory on.
#![expect(clippy::unwrap_used, reason = "a scenario fails by panicking")]

mod fixtures;
mod joined;
mod making;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};

use driftd_tests::scenario::Scenario;
use serde_json::Value;

/// Where the plugins of this repository are.
fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").canonicalize().unwrap()
}

/// An empty directory, but for a configuration that nobody asks for.
fn empty() -> Scenario {
    Scenario::new(env!("CARGO_BIN_EXE_driftd-under-test"), "")
}

/// Copies the compiled plugin and the fixtures of one of this repository's plugins.
fn copied(scenario: &Scenario, name: &str) {
    let from = plugins().join(name);
    fs::create_dir_all(scenario.path(name)).unwrap();
    let wasm = format!("{name}.wasm");
    fs::copy(from.join(&wasm), scenario.path(name).join(&wasm)).unwrap();
    let fixtures = from.join("fixtures");
    if fixtures.is_dir() {
        copy_all(&fixtures, &scenario.path(name).join("fixtures"));
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_all(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn a_plugin_is_described_before_it_is_configured() {
    let scenario = empty();
    copied(&scenario, "users");
    let said = scenario.run(&["plugin", "inspect", "users"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    for word in ["users", "driftd:plugin/host@0.1.0", "driftd:plugin/mapping@0.1.0", "64 MiB"] {
        assert!(said.out.contains(word), "{word}: {said:?}");
    }
    let told = scenario.json(&["plugin", "inspect", "users/users.wasm"]).await;
    let bytes = fs::read(plugins().join("users/users.wasm")).unwrap();
    assert_eq!(told["bytes"], bytes.len());
    assert_eq!(told["contract"], serde_json::json!(["driftd:plugin@0.1.0"]));
    assert_eq!(told["granted"]["fuel_per_row"], 2_000_000);
    assert_eq!(told["digest"]["blake3"].as_str().unwrap().len(), 64);
    assert_eq!(told["loads"], true);
}

#[tokio::test]
async fn what_is_no_plugin_is_told_with_what_and_where_and_what_to_do() {
    let scenario = empty();
    scenario.write("notes.wasm", "not WebAssembly");
    // A component without anything, and a core module that asks for more than a plugin may.
    fs::write(scenario.path("empty.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    for (file, code, words) in [
        ("notes.wasm", 1, ["no WebAssembly", "notes.wasm", "driftd plugin build"]),
        ("nowhere.wasm", 2, ["no such file", "nowhere.wasm", "driftd plugin new"]),
        (".", 2, ["2 .wasm files", "where: .", "name the plugin"]),
        ("empty.wasm", 1, ["does not export", "empty.wasm", "wit/README.md"]),
    ] {
        let said = scenario.run(&["plugin", "inspect", file]).await;
        assert_eq!(said.code, Some(code), "{file}: {said:?}");
        for word in words {
            assert!(said.err.contains(word), "{file}, {word}: {said:?}");
        }
    }
    let said = scenario.run(&["plugin", "inspect", "empty.wasm", "--json"]).await;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(parsed(&said.out)["loads"], false);
    assert_eq!(said.err, "");
}
