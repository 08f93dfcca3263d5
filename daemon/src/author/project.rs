//! A plugin's directory.
//!
//! Owns which language a directory is of, its plugin's name, and where its parts lie. Refuses to guess
//! between several plugins. Invariant: the compiled plugin lies beside its manifest, as `NAME.wasm`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::AuthorError;

/// What a plugin is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Rust, built by cargo.
    Rust,
    /// JavaScript or TypeScript, built by what `package.json` names.
    Js,
    /// Python, built by what `pyproject.toml` names.
    Python,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rust, Self::Js, Self::Python];

    /// Its name, as `--lang` takes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Js => "js",
            Self::Python => "python",
        }
    }

    /// The file that a directory of this language has.
    #[must_use]
    pub const fn manifest(self) -> &'static str {
        match self {
            Self::Rust => "Cargo.toml",
            Self::Js => "package.json",
            Self::Python => "pyproject.toml",
        }
    }
}

/// A plugin's directory, or a compiled plugin alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// The directory.
    pub root: PathBuf,
    /// Its language, if a manifest tells.
    pub language: Option<Language>,
    /// The plugin's name.
    pub name: String,
    /// Where the compiled plugin is, or will be.
    pub wasm: PathBuf,
}

impl Project {
    /// Looks at a directory, or at a compiled plugin.
    ///
    /// # Errors
    /// If there is nothing, or if it is not clear which plugin is meant.
    pub fn open(path: &Path) -> Result<Self, AuthorError> {
        if path.is_file() {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let root = path.parent().filter(|root| !root.as_os_str().is_empty());
            let root = root.map_or_else(|| PathBuf::from("."), Path::to_owned);
            return Ok(Self { root, language: None, name, wasm: path.to_owned() });
        }
        if !path.is_dir() {
            return Err(AuthorError::usage(
                "there is no such file or directory",
                path.display(),
                "name a plugin's directory or a .wasm file; `driftd plugin new` makes a directory",
            ));
        }
        let root = path.to_owned();
        let is_here = |language: &Language| root.join(language.manifest()).is_file();
        let language = Language::ALL.into_iter().find(is_here);
        let built = built(&root)?;
        let Some(language) = language else {
            let [wasm] = built.as_slice() else {
                return Err(AuthorError::usage(
                    match built.len() {
                        0 => "there is neither a manifest nor a compiled plugin".to_owned(),
                        count => format!("there are {count} .wasm files and no manifest"),
                    },
                    root.display(),
                    "name the plugin's directory or one .wasm file; `driftd plugin new` makes a directory",
                ));
            };
            return Self::open(wasm).map(|project| Self { root, ..project });
        };
        let name = name(&root.join(language.manifest()), language)?;
        let own = root.join(format!("{name}.wasm"));
        let wasm = match built.as_slice() {
            [lone] if !own.exists() => lone.clone(),
            _ => own,
        };
        Ok(Self { root, language: Some(language), name, wasm })
    }

    /// The compiled plugin, which must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn built(&self) -> Result<&Path, AuthorError> {
        if self.wasm.is_file() {
            return Ok(&self.wasm);
        }
        let command = format!("run `driftd plugin build {}`", self.root.display());
        Err(AuthorError::usage("the plugin is not built", self.wasm.display(), &command))
    }

    /// A source file that is newer than the compiled plugin, if there is one.
    #[must_use]
    pub fn newer_source(&self) -> Option<PathBuf> {
        let built = modified(&self.wasm)?;
        let manifest = self.root.join(self.language?.manifest());
        let mut waiting = vec![manifest, self.root.join("src")];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                let below = std::fs::read_dir(&path).ok()?;
                waiting.extend(below.flatten().map(|entry| entry.path()));
            } else if modified(&path).is_some_and(|changed| changed > built) {
                return Some(path);
            }
        }
        None
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

/// The compiled plugins in a directory.
fn built(root: &Path) -> Result<Vec<PathBuf>, AuthorError> {
    let unreadable = |error: std::io::Error| {
        AuthorError::usage(error, root.display(), "see to it that the directory can be read")
    };
    let mut built = Vec::new();
    for entry in std::fs::read_dir(root).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") && path.is_file() {
            built.push(path);
        }
    }
    built.sort();
    Ok(built)
}

/// The plugin's name, as a manifest has it.
fn name(manifest: &Path, language: Language) -> Result<String, AuthorError> {
    let text = std::fs::read_to_string(manifest).map_err(|error| {
        AuthorError::usage(error, manifest.display(), "see to it that the file can be read")
    })?;
    let wrong = |what: String| {
        AuthorError::usage(what, manifest.display(), "give it a name, or put the file right")
    };
    let of = |table: &serde_json::Value, pointer: &str| {
        table.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned)
    };
    let table = match language {
        Language::Js => serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?,
        Language::Rust | Language::Python => table(&text).map_err(wrong)?,
    };
    let name = match language {
        Language::Rust => of(&table, "/lib/name").or_else(|| of(&table, "/package/name")),
        Language::Js => of(&table, "/name"),
        Language::Python => of(&table, "/project/name"),
    };
    // The name becomes that of a file.
    name.filter(|name| !name.is_empty() && !name.contains(['/', '\\']) && !name.starts_with('.'))
        .ok_or_else(|| wrong("it does not name the plugin".to_owned()))
}

/// TOML as JSON, to be looked into by pointers.
pub(super) fn table(text: &str) -> Result<serde_json::Value, String> {
    toml::from_str::<serde_json::Value>(text).map_err(|error| error.message().to_owned())
}
