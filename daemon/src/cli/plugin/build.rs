//! `driftd plugin new` and `driftd plugin build`.
//!
//! Owns the words that follow a beginning and a build. Refuses to build itself. Invariant: after `new`
//! the next commands are told as they must be typed.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use serde_json::json;

use super::{Granted, inspect, shown};
use crate::author::{Begun, Language, Project};
use crate::cli::output::Output;
use crate::cli::{CliError, SAME};

/// Options of `plugin new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The SDK for Rust is not published yet, so the new Cargo.toml names a \
directory or a git repository. Without --sdk it is looked for around this program and around this \
directory: a driftd that was built from a clone finds that clone.\n\nExit codes: 0 done; 1 a file \
cannot be written; 2 a name, a language or an SDK that will not do.")]
pub(in crate::cli) struct New {
    /// The plugin's name, and that of its directory, which is made here.
    name: String,
    /// What it is written in.
    #[arg(
        long,
        default_value = "rust",
        value_parser = PossibleValuesParser::new(Language::ALL.map(Language::as_str)).map(language)
    )]
    lang: Language,
    /// The SDK: the directory of a clone of driftd, or the address of its git repository.
    #[arg(long, value_name = "DIR|URL")]
    sdk: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::needless_pass_by_value, reason = "that is how clap hands it over")]
fn language(name: String) -> Language {
    // clap has refused every other name.
    Language::ALL.into_iter().find(|known| known.as_str() == name).unwrap_or(Language::Rust)
}

/// Options of `plugin build`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Rust is built by cargo; JavaScript and Python by the command that \
package.json (`driftd.build`) or pyproject.toml (`tool.driftd.build`) names.\n\nExit codes: 0 built, \
and driftd would load it; 1 not so; 2 nothing to build, or a tool is missing.")]
pub(in crate::cli) struct Build {
    /// The plugin's directory.
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Print JSON: what `inspect` prints.
    #[arg(long)]
    json: bool,
}

/// Begins a plugin.
pub(super) fn new(options: &New, output: &Output) -> Result<u8, CliError> {
    let New { name, lang, sdk, json: as_json } = options;
    let begun = crate::author::begin(Path::new("."), name, *lang, sdk.as_deref())?;
    let Begun { root, files, sdk } = &begun;
    if *as_json {
        let result = json!({
            "directory": shown(root), "language": lang.as_str(), "files": files, "sdk": sdk,
        });
        output.result(&format!("{result:#}"))?;
        return Ok(SAME);
    }
    let files = files.iter().map(|file| format!("  {}/{file}\n", shown(root))).collect::<String>();
    let sdk = sdk.as_ref().map(|sdk| format!("the SDK is {sdk}\n")).unwrap_or_default();
    output.result(&format!(
        "{files}{sdk}next:
  cd {}
  driftd plugin build
  driftd plugin test
  driftd plugin bench
README.md says what is what, and how the daemon is told of it.
",
        shown(root)
    ))?;
    Ok(SAME)
}

/// Builds a plugin, and says what it is.
pub(super) fn build(options: &Build, output: &Output) -> Result<u8, CliError> {
    let wasm = crate::author::build(&Project::open(&options.directory)?)?;
    inspect::describe(&wasm, &Granted::default(), options.json, output)
}
