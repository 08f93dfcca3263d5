//! `driftd config`.
//!
//! Owns nothing. Refuses to interpret configuration. Invariant: everything that is wrong with a file
//! is told in one run.

use crate::cli::output::Output;
use crate::cli::{CONFIGURATION, CliError, ConfigPath, SAME};

/// What can be asked of configuration.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a configuration file: every fault with its line and what to do about it.
    Check {
        #[command(flatten)]
        path: ConfigPath,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the commented defaults, a good start for a file of your own.
    Default,
    /// Print the JSON Schema, for editors.
    Schema,
}

/// Does what is asked.
pub(super) fn config(command: Command, output: &Output) -> Result<u8, CliError> {
    match command {
        Command::Check { path, json } => check(&path, json, output),
        Command::Default => {
            output.result(crate::config::EMBEDDED_DEFAULT)?;
            Ok(SAME)
        }
        Command::Schema => {
            output.result(&format!("{:#}", crate::config::schema()))?;
            Ok(SAME)
        }
    }
}

fn check(path: &ConfigPath, json: bool, output: &Output) -> Result<u8, CliError> {
    let loaded = crate::config::load(&path.config);
    // A file without a pairing is no fault of a command that needs only the journal, but cannot run.
    let loaded = loaded.and_then(|loaded| loaded.require_pairings().map(|()| loaded));
    if json {
        let (issues, code) = match &loaded {
            Ok(loaded) => (&loaded.warnings, SAME),
            Err(errors) => (errors.issues(), CONFIGURATION),
        };
        output.result(&format!("{:#}", issues.to_json()))?;
        return Ok(code);
    }
    let loaded = loaded?;
    if !loaded.warnings.is_empty() {
        output.note(&loaded.warnings.render(output.display()));
    }
    output.result(&crate::config::check_report(&loaded.settings))?;
    Ok(SAME)
}
