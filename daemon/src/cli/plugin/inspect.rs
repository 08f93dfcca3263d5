//! `driftd plugin inspect`.
//!
//! Owns the words in which a compiled plugin is described. Refuses to judge it: the host did. Invariant:
//! a file that would not be loaded is described as far as it can be, and exits with 1.

use std::path::Path;

use serde_json::json;

use super::{Granted, PluginPath, bytes, grouped, shown};
use crate::author::{AuthorError, Inspection};
use crate::cli::output::Output;
use crate::cli::{CliError, DRIFT, SAME};
use crate::run::Clock;

/// Options of `plugin inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 it would be loaded; 1 it would not; 2 there is no such file."
)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    plugin: PluginPath,
    #[command(flatten)]
    granted: Granted,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Describes a compiled plugin.
pub(super) fn inspect(options: &Options, output: &Output) -> Result<u8, CliError> {
    let project = options.plugin.open()?;
    describe(project.built()?, &options.granted, options.json, output)
}

/// Describes the compiled plugin in `file`.
pub(super) fn describe(
    file: &Path,
    granted: &Granted,
    as_json: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let clock = Clock::new();
    let (limits, _config) = granted.read(output)?;
    let inspection = crate::author::inspect(file, limits, &|| clock.now())?;
    output.result(&match as_json {
        true => format!("{:#}", self::json(file, &inspection)),
        false => text(file, granted, &inspection),
    })?;
    let Err(refused) = &inspection.inspected.admitted else { return Ok(SAME) };
    if !as_json {
        let remedy = "build it as wit/README.md says; driftd would not load it as it is";
        let error = AuthorError::failed(refused, shown(file), remedy);
        output.error(&error.into());
    }
    Ok(DRIFT)
}

/// The versions of the contract that its interfaces name.
fn contracts(inspection: &Inspection) -> Vec<String> {
    let names = inspection.inspected.imports.iter().chain(&inspection.inspected.exports);
    let versions = names.filter_map(|name| {
        let version = name.strip_prefix("driftd:plugin/")?.split_once('@')?.1;
        Some(format!("driftd:plugin@{version}"))
    });
    let versions: std::collections::BTreeSet<_> = versions.collect();
    versions.into_iter().collect()
}

fn json(file: &Path, inspection: &Inspection) -> serde_json::Value {
    let Inspection { inspected, limits, compiled } = inspection;
    let about = inspected.admitted.as_ref().ok();
    json!({
        "file": file.display().to_string(),
        "loads": about.is_some(),
        "why_not": inspected.admitted.as_ref().err().map(ToString::to_string),
        "name": about.map(|about| &about.name),
        "version": about.map(|about| &about.version),
        "summary": about.map(|about| &about.summary),
        "form": if inspected.is_module { "module" } else { "component" },
        "bytes": inspected.bytes,
        "digest": { "blake3": inspected.digest },
        "contract": contracts(inspection),
        "imports": inspected.imports,
        "exports": inspected.exports,
        "left_alone": inspected.left_alone,
        "compile_ms": compiled.as_millis(),
        "granted": {
            "fuel_per_call": limits.fuel_per_call,
            "fuel_per_row": limits.fuel_per_row,
            "deadline_ms": limits.deadline.as_millis(),
            "memory_bytes": limits.memory,
            "output_bytes": limits.output,
            "log_bytes": limits.log,
        },
    })
}

fn text(file: &Path, granted: &Granted, inspection: &Inspection) -> String {
    let Inspection { inspected, limits, compiled } = inspection;
    let by = match (&granted.config, &granted.plugin) {
        (Some(config), Some(name)) => format!("by [plugins.{name}] of {}", shown(config)),
        _ => "unless [plugins.<name>.limits] says otherwise".to_owned(),
    };
    let list = |names: &[String]| match names {
        [] => "nothing".to_owned(),
        names => names.join("\n            "),
    };
    let exports: Vec<String> = inspected
        .exports
        .iter()
        .map(|name| match inspected.left_alone.contains(name) {
            true => format!("{name} (not known to this driftd, left alone)"),
            false => name.clone(),
        })
        .collect();
    let head = match &inspected.admitted {
        Ok(about) => format!("plugin `{}` {}: {}", about.name, about.version, about.summary),
        Err(_) => "would not be loaded".to_owned(),
    };
    let form = if inspected.is_module {
        "a core module, which driftd makes a component"
    } else {
        "a component"
    };
    format!(
        "{file}: {head}
  form      {form}
  size      {size}
  digest    {digest} (BLAKE3)
  contract  {contract}
  imports   {imports}
  exports   {exports}
  compiled  in {compiled} ms
granted to a call, {by}
  fuel      {per_call}, and {per_row} for each row
  deadline  {deadline} ms
  memory    {memory}
  output    {out}
  log       {log}, of a check
  no file, network, clock, randomness or environment
",
        file = shown(file),
        size = bytes(inspected.bytes as u64),
        digest = inspected.digest,
        contract = list(&contracts(inspection)),
        imports = list(&inspected.imports),
        exports = list(&exports),
        compiled = compiled.as_millis(),
        per_call = grouped(limits.fuel_per_call),
        per_row = grouped(limits.fuel_per_row),
        deadline = grouped(u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX)),
        memory = bytes(limits.memory),
        out = bytes(limits.output),
        log = bytes(limits.log as u64),
    )
}
