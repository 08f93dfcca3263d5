//! The commands.
//!
//! Owns arguments, exit codes and the choice of output. Refuses to compare or to decide. Invariant:
//! results go to standard output, everything else to standard error; the exit code is 0 for done and
//! same, 1 for drift, 2 for usage and configuration, 3 for what could not be told, 4 for a command that
//! failed, and no number stands for two of them.

mod abort;
mod config;
#[cfg(feature = "demo")]
pub mod demo;
mod drift;
mod keys;
mod listing;
mod output;
mod plugin;
mod progress;
mod reload;
mod run;
mod status;
mod verify;

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::author::AuthorError;
use crate::config::{ConfigErrors, Loaded, Settings};
use crate::journal::JournalError;
use crate::run::RunError;

use output::Output;

/// Nothing is wrong.
pub const SAME: u8 = 0;
/// Drift, a violation, or a row that cannot be mapped; of a plugin, that it is not as it must be.
pub const DRIFT: u8 = 1;
/// Usage or configuration: another question, or another file, would be answered.
pub const CONFIGURATION: u8 = 2;
/// Something was unread, unsettled or not verifiable; or who would know does not answer.
pub const UNTOLD: u8 = 3;
/// The command failed: there is no journal, the disk is full, driftd itself has a fault.
pub const FAILED: u8 = 4;

/// Watches a live data migration: compares its source and target stores continuously, proves that
/// lag is not drift, and says which keys drifted.
#[derive(Debug, Parser)]
#[command(name = "driftd", version, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 done, and same; 1 drift (of `plugin`: it is not as it must be); \
2 usage or configuration; 3 could not tell: something was unread, unsettled or not verifiable, or who \
would know does not answer; 4 the command failed.\nSee `driftd help <command>`."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the configuration is.
#[derive(Clone, Debug, clap::Args)]
struct ConfigPath {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "driftd.toml")]
    config: PathBuf,
}

/// Which journal a command speaks of.
#[derive(Clone, Debug, clap::Args)]
struct JournalPath {
    /// The configuration file that names the journal.
    #[arg(long, short, global = true, value_name = "FILE", default_value = "driftd.toml")]
    config: PathBuf,
    /// The journal itself; then no configuration is read.
    #[arg(long, global = true, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: pass after pass, until it is stopped.
    Run(run::Options),
    /// Compare everything once: one full pass in every needed direction, then exit.
    Verify(verify::Options),
    /// Show a live migration with faults planted in it, and what driftd finds; needs no server.
    #[cfg(feature = "demo")]
    Demo(demo::Options),
    /// Look at configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Say how far each pairing has come; also while the daemon runs.
    Status(status::Options),
    /// List confirmed drift; also while the daemon runs.
    Drift(drift::Options),
    /// Let the running daemon read its file again and exchange plugins; what it refuses changes nothing.
    Reload(JournalPath),
    /// List, reset and test abort criteria; also while the daemon runs.
    #[command(subcommand)]
    Abort(abort::Command),
    /// Write a plugin: begin, build, test and measure a mapping of your own.
    #[command(subcommand)]
    Plugin(plugin::Command),
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    NoDaemon(String),
    #[error(transparent)]
    Author(#[from] AuthorError),
    #[cfg(feature = "demo")]
    #[error(transparent)]
    Demo(demo::DemoError),
    #[error("cannot write the result")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// The exit code that says what kind of wrong it is.
    fn code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Usage(_) => CONFIGURATION,
            Self::Author(error) if error.is_usage => CONFIGURATION,
            Self::Run(RunError::Start(error)) => {
                if error.is_configuration() {
                    CONFIGURATION
                } else {
                    UNTOLD
                }
            }
            Self::Run(RunError::Report(_) | RunError::Listen { .. }) => CONFIGURATION,
            Self::NoDaemon(_) => UNTOLD,
            #[cfg(feature = "demo")]
            Self::Demo(error) if error.is_usage() => CONFIGURATION,
            #[cfg(feature = "demo")]
            Self::Demo(_) => FAILED,
            // Something about the plugin itself.
            Self::Author(_) => DRIFT,
            Self::Run(_) | Self::Journal(_) | Self::Output(_) => FAILED,
        }
    }
}

#[cfg(feature = "demo")]
impl From<demo::DemoError> for CliError {
    fn from(error: demo::DemoError) -> Self {
        if let demo::DemoError::Output(error) = error {
            return Self::Output(error);
        }
        Self::Demo(error)
    }
}

/// Parses the arguments of the process and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    share_heap();
    let arguments = Arguments::parse();
    // A panic is said by its hook. What it leaves behind is used no more.
    let code = std::panic::catch_unwind(AssertUnwindSafe(|| carry_out(arguments)));
    ExitCode::from(code.unwrap_or(FAILED))
}

/// Does what the arguments say. Returns the exit code.
fn carry_out(arguments: Arguments) -> u8 {
    let output = Output::new();
    let result = match arguments.command {
        Command::Run(options) => block_on(run::run(options)),
        Command::Verify(options) => block_on(verify::verify(options, &output)),
        #[cfg(feature = "demo")]
        Command::Demo(options) => block_on(async move {
            let same = demo::demo(&options).await?;
            Ok(if same { SAME } else { DRIFT })
        }),
        Command::Config(command) => config::config(command, &output),
        Command::Status(options) => status::status(&options, &output),
        Command::Drift(options) => drift::drift(options, &output),
        Command::Reload(journal) => block_on(reload::reload(journal, &output)),
        Command::Abort(command) => abort::abort(command, &output),
        Command::Plugin(command) => plugin::plugin(command, &output),
    };
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    // If who reads our output has gone, there is nobody to tell.
    let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    if !matches!(&error, CliError::Output(error) if gone(error)) {
        output.error(&error);
    }
    error.code()
}

/// Lets all threads share two heaps. Checks wander from thread to thread; with a heap for each, the
/// memory of a long run grew by what every one of them had once needed at most.
fn share_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the C library is told before there is a second thread")]
    // SAFETY: it takes two numbers and sets a parameter of the allocator. If it refuses, nothing has
    // changed, and nothing is lost but memory.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

fn block_on<F: Future<Output = Result<u8, CliError>>>(future: F) -> Result<u8, CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // Checks that were let go may still be reading; they must not hold up the end.
    runtime.shutdown_background();
    result
}

/// There is no such thing; what there is, the nearest first.
fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let quoted = |names: &[&str]| {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match (crate::config::nearest(name, known).as_slice(), known) {
        (_, []) => format!("there is no {what} `{name}`, nor any other"),
        ([], known) => format!("there is no {what} `{name}`; there are: {}", quoted(known)),
        (near, _) => format!("there is no {what} `{name}`; did you mean {}?", quoted(near)),
    }
}

/// Reads the configuration, and says what is worth a word.
fn load(path: &Path, output: &Output) -> Result<Settings, CliError> {
    let Loaded { settings, warnings } = crate::config::load(path)?;
    if !warnings.is_empty() {
        output.note(&warnings.render(output.display()));
    }
    Ok(settings)
}

impl JournalPath {
    /// The journal's file.
    fn resolve(&self) -> Result<PathBuf, CliError> {
        match &self.journal {
            Some(journal) => Ok(journal.clone()),
            None => Ok(crate::config::load_for_journal(&self.config)?.settings.journal.path),
        }
    }
}
