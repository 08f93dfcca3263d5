//! Beginning a plugin.
//!
//! Owns the templates, which are files of `plugins/templates`, and where the SDK is. Refuses to write
//! into a directory that holds anything. Invariant: what is written is the template with the plugin's
//! name in place of `{{name}}`, and with the place of the SDK; nothing else differs.

use std::path::{Path, PathBuf};

use super::{AuthorError, Language};

/// What stands for the plugin's name in a template.
const NAME: &str = "{{name}}";
/// What stands for the SDK in the template's manifest: its place in this repository.
const RUST_SDK: &str = r#"{ path = "../../sdk" }"#;

/// Ends the name of a file that would mislead tools in this repository, and is left out of what is
/// written: cargo looks into every manifest of a git repository that holds a dependency.
const STORED: &str = ".template";

/// The files of a template: path and text.
type Files = &'static [(&'static str, &'static str)];

/// A file of a template, from `plugins/templates`.
macro_rules! files {
    ($language:literal: $($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../../plugins/templates/", $language, "/", $path)))),*]
    };
}

/// The template of a language.
const fn files(language: Language) -> Files {
    match language {
        Language::Rust => files!(
            "rust": "Cargo.toml.template",
            ".gitignore",
            "README.md",
            "src/lib.rs",
            "fixtures/schema.json",
            "fixtures/source.jsonl",
            "fixtures/source.golden.jsonl",
            "fixtures/target.jsonl",
            "fixtures/target.golden.jsonl",
            "fixtures/pairs.jsonl",
            "fixtures/pairs.golden.jsonl",
        ),
        Language::Js => files!(
            "js": "package.json",
            ".gitignore",
            "README.md",
            "src/plugin.js",
            "driftd/driftd.js",
            "driftd/rows.js",
            "driftd/columns.js",
            "driftd/keys.js",
            "driftd/json.js",
            "driftd/values.js",
            "wit/driftd.wit",
            "fixtures/schema.json",
            "fixtures/source.jsonl",
            "fixtures/source.golden.jsonl",
            "fixtures/target.jsonl",
            "fixtures/target.golden.jsonl",
            "fixtures/pairs.jsonl",
            "fixtures/pairs.golden.jsonl",
        ),
        Language::Python => files!(
            "python": "pyproject.toml",
            ".gitignore",
            "README.md",
            "requirements.txt",
            "build.py",
            "src/plugin.py",
            "driftd/__init__.py",
            "driftd/rows.py",
            "driftd/fields.py",
            "driftd/locating.py",
            "driftd/keys.py",
            "driftd/documents.py",
            "driftd/columns.py",
            "driftd/values.py",
            "wit/driftd.wit",
            "fixtures/schema.json",
            "fixtures/source.jsonl",
            "fixtures/source.golden.jsonl",
            "fixtures/target.jsonl",
            "fixtures/target.golden.jsonl",
            "fixtures/pairs.jsonl",
            "fixtures/pairs.golden.jsonl",
        ),
    }
}

/// A plugin that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Its directory.
    pub root: PathBuf,
    /// The files in it.
    pub files: Vec<&'static str>,
    /// What its manifest names as the SDK, if it names one.
    pub sdk: Option<String>,
}

/// Begins a plugin in a directory of its name below `parent`. `sdk` is a directory or the address of a
/// git repository; without it the SDK is looked for beside the running program and around `parent`.
///
/// # Errors
/// If the name is unfit, the directory is in use, or the SDK is nowhere.
pub fn begin(
    parent: &Path,
    name: &str,
    language: Language,
    sdk: Option<&str>,
) -> Result<Begun, AuthorError> {
    check_name(name)?;
    let files = files(language);
    let root = parent.join(name);
    let held = std::fs::read_dir(&root).is_ok_and(|mut entries| entries.next().is_some());
    if held || root.is_file() {
        let remedy = "choose another name, or move what is there";
        return Err(AuthorError::usage("there is something already", root.display(), remedy));
    }
    let sdk = match language {
        Language::Rust => Some(dependency(parent, sdk)?),
        Language::Js | Language::Python => None,
    };
    for (path, text) in files {
        let mut text = text.replace(NAME, name);
        if let Some(sdk) = &sdk {
            text = text.replace(RUST_SDK, sdk);
        }
        let path = root.join(written(path));
        let directory = path.parent().unwrap_or(&root);
        std::fs::create_dir_all(directory).and_then(|()| std::fs::write(&path, text)).map_err(
            |error| {
                let remedy = "see to it that the directory can be written";
                AuthorError::failed(error, path.display(), remedy)
            },
        )?;
    }
    Ok(Begun { root, files: files.iter().map(|(path, _)| written(path)).collect(), sdk })
}

/// The path of a file in the plugin's directory.
fn written(path: &'static str) -> &'static str {
    path.strip_suffix(STORED).unwrap_or(path)
}

/// A name becomes a directory, a package and a file, in every language.
fn check_name(name: &str) -> Result<(), AuthorError> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let bytes = name.as_bytes();
    let is_fit = bytes.first().is_some_and(u8::is_ascii_lowercase)
        && bytes.last() != Some(&b'-')
        && bytes.len() <= 60
        && bytes.iter().copied().all(is_word);
    // What build tools take for something of their own.
    let is_taken = ["alloc", "core", "driftd-plugin", "fixtures", "std", "test"].contains(&name);
    if is_fit && !is_taken {
        return Ok(());
    }
    let what = if is_taken {
        format!("`{name}` is the name of something else")
    } else {
        format!("`{name}` is no name of a plugin")
    };
    let remedy =
        "choose a name of lower-case letters, digits and hyphens, such as `orders` or `my-users`";
    Err(AuthorError::usage(what, "NAME", remedy))
}

/// The dependency on the SDK, for a manifest.
fn dependency(parent: &Path, sdk: Option<&str>) -> Result<String, AuthorError> {
    // What a TOML text holds as it is.
    let quoted = |text: &str| serde_json::json!(text).to_string();
    let is_address = |sdk: &str| sdk.contains("://") || sdk.starts_with("git@");
    match sdk {
        Some(address) if is_address(address) => Ok(format!("{{ git = {} }}", quoted(address))),
        Some(path) => match found(Path::new(path)) {
            Some(path) => Ok(format!("{{ path = {} }}", quoted(&path.to_string_lossy()))),
            None => Err(AuthorError::usage(
                "there is no SDK",
                path,
                "name the directory plugins/sdk of a clone of driftd, or the address of its git repository",
            )),
        },
        None => {
            let program = std::env::current_exe().ok();
            let parent = parent.canonicalize().ok();
            let around = program.iter().chain(&parent).flat_map(|path| path.ancestors());
            let path = around.into_iter().find_map(found).ok_or_else(|| {
                AuthorError::usage(
                    "the SDK is not published yet, and lies neither around this program nor around this directory",
                    "--sdk",
                    "name it: `--sdk DIR`, the directory of a clone of driftd, or `--sdk ADDRESS` of its git repository",
                )
            })?;
            Ok(format!("{{ path = {} }}", quoted(&path.to_string_lossy())))
        }
    }
}

/// The SDK's directory: this one, or that of the clone of driftd in it.
fn found(directory: &Path) -> Option<PathBuf> {
    let is_sdk = |path: &PathBuf| {
        let manifest = std::fs::read_to_string(path.join("Cargo.toml"));
        manifest.is_ok_and(|text| text.lines().any(|line| line == r#"name = "driftd-plugin""#))
    };
    let here = [directory.to_owned(), directory.join("plugins/sdk")];
    here.into_iter().find(is_sdk)?.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_all_that_lies_in_its_directory() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/templates");
        for language in Language::ALL {
            let files = files(language);
            let root = root.join(language.as_str());
            let mut waiting = vec![root.clone()];
            let mut there = std::collections::BTreeSet::new();
            while let Some(path) = waiting.pop() {
                if path.is_dir() {
                    waiting.extend(
                        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()),
                    );
                } else {
                    there.insert(path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned());
                }
            }
            assert_eq!(there, files.iter().map(|(path, _)| (*path).to_owned()).collect());
            let manifest =
                files.iter().find(|(path, _)| written(path) == language.manifest()).unwrap().1;
            assert!(manifest.contains(NAME), "{manifest}");
            assert_eq!(manifest.contains(RUST_SDK), language == Language::Rust);
        }
    }

    #[test]
    fn names_are_fit_for_every_build_tool() {
        for name in ["users", "my-users2", "a"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in
            ["", "Users", "2users", "my_users", "users-", "-users", "a/b", "..", "core", "ü"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
