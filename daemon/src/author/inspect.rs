//! Looking at a compiled plugin.
//!
//! Owns what is to be known of a file before it is configured. Refuses to change it. Invariant: what is
//! said to be granted is what a check grants.

use std::path::Path;
use std::time::Duration;

use super::AuthorError;
use crate::model::Moment;
use crate::plugin::wasm::{Host, Inspected};
use crate::plugin::{Code, Limits, Settings};

/// What a compiled plugin is.
#[derive(Debug)]
pub struct Inspection {
    /// What the file holds, and whether it can be loaded.
    pub inspected: Inspected,
    /// What it would be granted.
    pub limits: Limits,
    /// How long reading, checking and compiling it took.
    pub compiled: Duration,
}

/// Looks at a file that would be granted `limits`; `now` is the time.
///
/// # Errors
/// If it is not there, or if it is no WebAssembly that can be compiled.
pub fn inspect(
    file: &Path,
    limits: Limits,
    now: &dyn Fn() -> Moment,
) -> Result<Inspection, AuthorError> {
    if !file.is_file() {
        let remedy = "name a compiled plugin; `driftd plugin build` makes one";
        return Err(AuthorError::usage("there is no such file", file.display(), remedy));
    }
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let code = Code::File(file.to_owned());
    let settings = Settings { name, code, config: serde_json::json!({}), limits };
    let began = now();
    let inspected = Host::new().inspect(&settings).map_err(|error| {
        let remedy = "build a plugin with `driftd plugin build`; wit/README.md says what one is";
        AuthorError::failed(&error.kind, file.display(), remedy)
    })?;
    Ok(Inspection { inspected, limits, compiled: now().since(began) })
}
