//! `driftd plugin`.
//!
//! Owns the words and the JSON in which authors are told what became of their plugin. Refuses to do
//! anything to a plugin itself. Invariant: 0 only if the plugin is as it must be, 1 if it is not, 2 if
//! the question was wrong.

mod bench;
mod build;
mod inspect;
mod run;
mod test;

use std::path::{Path, PathBuf};

use crate::author::{AuthorError, Project};
use crate::cli::output::Output;
use crate::cli::{CliError, unknown};
use crate::config::Loaded;
use crate::plugin::Limits;

/// What can be done with plugins.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Begin a plugin: a directory with a mapping, an invariant, fixtures, golden files and a README.
    New(build::New),
    /// Build a plugin, put NAME.wasm beside its manifest, and say what it is.
    Build(build::Build),
    /// Say what a compiled plugin is: imports, exports, contract, digest, size, and what it would be
    /// granted.
    Inspect(inspect::Options),
    /// Run a plugin's fixtures against its golden files, and try the laws of a mapping on them.
    Test(test::Options),
    /// Measure a plugin on its fixtures: time, fuel, memory and output, beside the limits.
    Bench(bench::Options),
    /// Read a few real rows of a configured pairing, map them, and print them: values and all.
    Run(run::Options),
}

/// Which plugin is meant.
#[derive(Clone, Debug, clap::Args)]
struct PluginPath {
    /// The plugin's directory, or a compiled plugin.
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
}

/// What the plugin may use, and how it is configured.
#[derive(Clone, Debug, Default, clap::Args)]
struct Granted {
    /// Take the limits of a plugin of this configuration file instead of the default ones, and its
    /// `config` where schema.json has none.
    #[arg(long, short, value_name = "FILE", requires = "plugin")]
    config: Option<PathBuf>,
    /// Which plugin of that file: NAME in [plugins.NAME].
    #[arg(long, value_name = "NAME", requires = "config")]
    plugin: Option<String>,
}

impl Granted {
    /// The limits, and the plugin's own configuration if a file has it.
    fn read(&self, output: &Output) -> Result<(Limits, Option<serde_json::Value>), CliError> {
        let (Some(config), Some(name)) = (&self.config, &self.plugin) else {
            return Ok((Limits::default(), None));
        };
        // Of stores and their secrets nothing is needed.
        let Loaded { settings, warnings } = crate::config::load_for_journal(config)?;
        if !warnings.is_empty() {
            output.note(&warnings.render(output.display()));
        }
        let known: Vec<&str> = settings.plugins.iter().map(|one| one.name.as_str()).collect();
        let found = settings.plugins.iter().find(|one| one.name == *name);
        let found = found.ok_or_else(|| CliError::Usage(unknown("plugin", name, &known)))?;
        Ok((found.limits, Some(found.config.clone())))
    }
}

/// Does what is asked.
pub(super) fn plugin(command: Command, output: &Output) -> Result<u8, CliError> {
    match command {
        Command::New(options) => build::new(&options, output),
        Command::Build(options) => build::build(&options, output),
        Command::Inspect(options) => inspect::inspect(&options, output),
        Command::Bench(options) => bench::bench(&options, output),
        Command::Run(options) => run::run(options, output),
        Command::Test(options) => test::test(&options, output),
    }
}

/// Where an author's plugins are kept compiled: a directory of the user's caches.
fn cache() -> Option<PathBuf> {
    let absolute =
        |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".cache"));
    Some(absolute("XDG_CACHE_HOME").or_else(home)?.join("driftd/plugins"))
}

impl PluginPath {
    fn open(&self) -> Result<Project, AuthorError> {
        Project::open(&self.path)
    }
}

/// A path as people write it: without a needless `./`.
fn shown(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes, in the unit in which they are few.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{} B", grouped(bytes)),
        10_240..10_485_760 => format!("{} KiB", grouped(bytes.div_ceil(1 << 10))),
        _ => format!("{} MiB", grouped(bytes.div_ceil(1 << 20))),
    }
}
