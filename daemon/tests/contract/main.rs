//! The contract with plugins lasts, and binds.
//!
//! Owns four promises: what was released does not change (`frozen`), a plugin that was built against a
//! release is loaded and maps as it did (`corpus`), neither side minds that the contract grows by an
//! interface (`grown`), and whatever function of a guest does not return is bounded (`sabotage`). Refuses to test how a mapping is carried out. Invariant: what it compares with
//! lies in `wit/released/` and `tests/corpus/`, which are added to and never changed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod corpus;
mod frozen;
mod grown;
mod module;
mod sabotage;

use std::path::{Path, PathBuf};

use driftd::plugin::{Code, Limits, Settings};

/// A path of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path).canonicalize().unwrap()
}

/// The directories in a directory, in the order of their names.
fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// A plugin without configuration, with the limits that it has unless the user says otherwise.
fn settings(name: &str, code: Code) -> Settings {
    Settings {
        name: name.to_owned(),
        code,
        config: serde_json::json!({}),
        limits: Limits::default(),
    }
}
