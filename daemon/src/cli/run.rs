//! `driftd run`.
//!
//! Owns nothing but the wiring of options to a run. Refuses to decide. Invariant: it ends with 0 only
//! when it was asked to stop and everything in flight ended.

use crate::cli::output::Output;
use crate::cli::{CliError, ConfigPath, SAME, UNTOLD};
use crate::run::{Purpose, RunError, Signals, StartError, Supplied};

/// Options of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    path: ConfigPath,
}

/// Runs the daemon until it is stopped.
pub(super) async fn run(options: Options) -> Result<u8, CliError> {
    let output = Output::new();
    let loaded = crate::config::load(&options.path.config)?;
    loaded.require_pairings()?;
    if !loaded.warnings.is_empty() {
        output.note(&loaded.warnings.render(output.display()));
    }
    let settings = loaded.settings;
    // A second start of the log can only be a bug of ours; the first one goes on.
    crate::report::log::init(settings.log).ok();
    let signals = Signals::of_daemon()?;
    let supplied = Supplied { file: Some(options.path.config), ..Supplied::default() };
    let ended = match crate::run::run(settings, Purpose::Daemon, supplied, signals, |_| {}).await {
        // It was asked to, and nothing was in flight yet.
        Err(RunError::Start(StartError::Stopped)) => return Ok(SAME),
        ended => ended?,
    };
    Ok(if ended.stopped == Some(false) { UNTOLD } else { SAME })
}
