//! Building a plugin.
//!
//! Owns the one command that builds a plugin of each language, and putting what it made beside the
//! manifest. Refuses to be a build tool: what it runs is named by the language or by the manifest.
//! Invariant: a build that failed leaves the compiled plugin as it was.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value as Json;

use super::{AuthorError, Language, Project, project};

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds the plugin of a directory; where the compiled plugin is.
///
/// # Errors
/// If the directory has no manifest, if a tool is missing, or if it fails; it has said why.
pub fn build(project: &Project) -> Result<PathBuf, AuthorError> {
    let Some(language) = project.language else {
        let known = Language::ALL.map(Language::manifest).join(", ");
        let what = format!("there is nothing to build: none of {known}");
        let remedy = "name a plugin's directory; `driftd plugin new` makes one";
        return Err(AuthorError::usage(what, project.root.display(), remedy));
    };
    let wasm = project.root.join(format!("{}.wasm", project.name));
    match language {
        Language::Rust => {
            let built = cargo(&project.root)?;
            put(&built, &wasm)?;
        }
        Language::Js | Language::Python => named(project, language, &wasm)?,
    }
    Ok(wasm)
}

/// Runs cargo; the file that it made.
fn cargo(root: &Path) -> Result<PathBuf, AuthorError> {
    let mut command = Command::new("cargo");
    command
        .args(["build", "--release", "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let place = format!("`cargo build --release --target {TARGET}` in {}", root.display());
    let ended = command.output().map_err(|error| missing("cargo", error, &place, INSTALL_RUST))?;
    if !ended.status.success() {
        let remedy = format!(
            "see what it said above; where the target is missing, `rustup target add {TARGET}`"
        );
        return Err(AuthorError::failed(format!("cargo failed: {}", ended.status), place, &remedy));
    }
    let manifest = root.join("Cargo.toml").canonicalize().ok();
    let text = String::from_utf8_lossy(&ended.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let own = messages.filter(|message| {
        message["reason"] == "compiler-artifact"
            && message["manifest_path"].as_str().map(PathBuf::from) == manifest
    });
    let files: Vec<PathBuf> = own
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .filter(|file| file.extension().is_some_and(|extension| extension == "wasm"))
        .collect();
    files.into_iter().next_back().ok_or_else(|| {
        let remedy = "a plugin's Cargo.toml has [lib] crate-type = [\"cdylib\"]";
        AuthorError::failed("cargo made no .wasm file", place, remedy)
    })
}

const INSTALL_RUST: &str = "install Rust, see https://rustup.rs";

/// Runs what a manifest names: `build`, a list of words, and `install`, what to do where a word is
/// missing. In `package.json` they are in `driftd`, in `pyproject.toml` in `tool.driftd`.
fn named(project: &Project, language: Language, wasm: &Path) -> Result<(), AuthorError> {
    let manifest = project.root.join(language.manifest());
    let table = if language == Language::Python { "/tool/driftd" } else { "/driftd" };
    let wrong = |what: String| {
        let remedy = format!(
            "give it `{}`: `build`, a list of words, and `install`, how its tools are installed",
            table[1..].replace('/', ".")
        );
        AuthorError::usage(what, manifest.display(), &remedy)
    };
    let text = std::fs::read_to_string(&manifest).map_err(|error| wrong(error.to_string()))?;
    let all = match language {
        Language::Js => serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        Language::Rust | Language::Python => project::table(&text).map_err(wrong)?,
    };
    let words = all.pointer(&format!("{table}/build")).and_then(Json::as_array);
    let words: Option<Vec<&str>> = words.and_then(|words| words.iter().map(Json::as_str).collect());
    let Some([tool, arguments @ ..]) = words.as_deref() else {
        return Err(wrong("it does not say how the plugin is built".to_owned()));
    };
    let install = all.pointer(&format!("{table}/install")).and_then(Json::as_str);
    let install = install.unwrap_or("install the tools that the README names");
    let place = format!("`{} {}` in {}", tool, arguments.join(" "), project.root.display());
    let mut command = Command::new(tool);
    // What it says goes where everything that is no result goes.
    command.args(arguments).current_dir(&project.root).stdin(Stdio::null());
    command.stdout(std::io::stderr()).stderr(Stdio::inherit());
    let ended = command.status().map_err(|error| missing(tool, error, &place, install))?;
    if !ended.success() {
        let remedy = format!("see what it said above; where a tool is missing: {install}");
        return Err(AuthorError::failed(format!("{tool} failed: {ended}"), place, &remedy));
    }
    if !wasm.is_file() {
        let what = format!("it made no {}", wasm.display());
        let remedy = "the build must write it beside the manifest, under the plugin's name";
        return Err(AuthorError::failed(what, place, remedy));
    }
    Ok(())
}

fn missing(tool: &str, error: std::io::Error, place: &str, install: &str) -> AuthorError {
    if error.kind() == ErrorKind::NotFound {
        return AuthorError::usage(format!("there is no `{tool}`"), place, install);
    }
    AuthorError::failed(format!("{tool} cannot be run: {error}"), place, install)
}

/// Copies a file into its place, whole or not at all.
fn put(from: &Path, to: &Path) -> Result<(), AuthorError> {
    let draft = to.with_extension("wasm.new");
    std::fs::copy(from, &draft).and_then(|_bytes| std::fs::rename(&draft, to)).map_err(|error| {
        let what = format!("{} cannot be copied: {error}", from.display());
        AuthorError::failed(what, to.display(), "see to it that the directory can be written")
    })
}
