//! `driftd config`.
//!
//! Owns the words of what a start would say. Refuses to interpret configuration. Invariant: everything that is wrong with a file
//! is told in one run.

use serde_json::json;

use crate::cli::output::Output;
use crate::cli::{CONFIGURATION, CliError, ConfigPath, SAME, UNTOLD, block_on};
use crate::config::{Issues, Loaded};
use crate::report::LogLevel;
use crate::run::{Refusal, Signals, Surveyed, Unspoken};

/// What can be asked of configuration.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Check a configuration file: every fault with its line and what to do about it.
    Check {
        #[command(flatten)]
        path: ConfigPath,
        /// Ask the stores as well: describe relations, bind and try mappings, and say everything that a
        /// start would say, without running.
        #[arg(long)]
        stores: bool,
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
        Command::Check { path, stores, json } => check(&path, (stores, json), output),
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

fn check(path: &ConfigPath, (stores, json): (bool, bool), output: &Output) -> Result<u8, CliError> {
    let loaded = crate::config::load(&path.config);
    // A file without a pairing is no fault of a command that needs only the journal, but cannot run.
    let loaded = loaded.and_then(|loaded| loaded.require_pairings().map(|()| loaded));
    if let (Err(errors), true) = (&loaded, json) {
        output.result(&format!("{:#}", errors.issues().to_json()))?;
        return Ok(CONFIGURATION);
    }
    let loaded = loaded?;
    if stores {
        return ask(loaded, json, output);
    }
    if json {
        output.result(&format!("{:#}", loaded.warnings.to_json()))?;
        return Ok(SAME);
    }
    if !loaded.warnings.is_empty() {
        output.note(&loaded.warnings.render(output.display()));
    }
    output.result(&crate::config::check_report(&loaded.settings))?;
    output.result("the stores were not asked; `--stores` asks them what a start would")?;
    Ok(SAME)
}

/// Says what a start would say.
fn ask(loaded: Loaded, json: bool, output: &Output) -> Result<u8, CliError> {
    let Loaded { mut settings, warnings } = loaded;
    settings.log.level = LogLevel::Warn;
    // A second start of the log can only be a bug of ours; the first one goes on.
    crate::report::log::init(settings.log).ok();
    block_on(async move {
        let signals = Signals::of_process()?;
        let (begun, refused) = crate::run::survey(settings, &signals).await?;
        if json {
            output.result(&as_json(&warnings, &begun, &refused))?;
        } else {
            if !warnings.is_empty() {
                output.note(&warnings.render(output.display()));
            }
            output.result(&as_text(&begun, &refused))?;
        }
        Ok(if refused.iter().any(|one| one.is_configuration) {
            CONFIGURATION
        } else if refused.is_empty() {
            SAME
        } else {
            UNTOLD
        })
    })
}

fn as_text(begun: &[Surveyed], refused: &[Refusal]) -> String {
    let mut text = String::new();
    for Surveyed { pairing, directions, not_verifiable, unmapped } in begun {
        let directions: Vec<String> = directions.iter().map(ToString::to_string).collect();
        text = format!("{text}pairing `{pairing}` can be begun: read {}\n", directions.join(", "));
        if let Some(why) = not_verifiable {
            text = format!("{text}  not verifiable: {why}\n");
        }
        for (side, name) in
            unmapped.iter().flat_map(|(side, all)| all.iter().map(move |one| (side, one)))
        {
            text = format!(
                "{text}  `{name}` of the {side} is not compared: it is neither mapped nor ignored\n"
            );
        }
    }
    for Refusal { pairing, reasons, .. } in refused {
        text = format!("{text}pairing `{pairing}` cannot be begun:\n");
        for reason in reasons {
            text = format!("{text}  {reason}\n");
        }
    }
    text
}

fn as_json(warnings: &Issues, begun: &[Surveyed], refused: &[Refusal]) -> String {
    let unmapped = |all: &Unspoken| {
        let each = all.iter().flat_map(|(side, names)| {
            names.iter().map(move |name| json!({ "side": side.to_string(), "attribute": name }))
        });
        each.collect::<Vec<_>>()
    };
    let ready = begun.iter().map(|one| {
        let directions: Vec<String> = one.directions.iter().map(ToString::to_string).collect();
        json!({
            "pairing": one.pairing,
            "begins": true,
            "directions": directions,
            "not_verifiable": one.not_verifiable,
            "unmapped": unmapped(&one.unmapped),
            "reasons": [],
        })
    });
    let not = refused.iter().map(|one| {
        json!({
            "pairing": one.pairing,
            "begins": false,
            "directions": [],
            "not_verifiable": null,
            "unmapped": [],
            "reasons": one.reasons,
        })
    });
    let pairings: Vec<_> = ready.chain(not).collect();
    format!("{:#}", json!({ "issues": warnings.to_json(), "pairings": pairings }))
}
