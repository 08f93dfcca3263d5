//! `driftd plugin test`.
//!
//! Owns the words in which a test is told. Refuses to compare. Invariant: every difference is told with
//! its file, case and field, and what to do stands at the end.

use std::path::PathBuf;

use serde_json::json;

use super::{Granted, PluginPath, cache, shown};
use crate::author::{Asked, FileReport, Problem, ProblemKind, TestReport};
use crate::cli::output::Output;
use crate::cli::{CliError, DRIFT, SAME};

/// Options of `plugin test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The fixtures are the files that `cargo test` runs natively: \
plugins/sdk/FIXTURES.md has their form. Here they run in WebAssembly, in the daemon's own host, with \
the default limits unless --config and --plugin name others. The laws are tried on every case: the same batch twice gives the same bytes; \
cutting groups into other batches changes nothing; compared fields do not depend on as-of; \
accumulators merge associatively and commutatively.\n\nExit \
codes: 0 as the golden files have it, and every law holds; 1 not so; 2 no plugin, or fixtures that \
cannot be read.")]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    plugin: PluginPath,
    #[command(flatten)]
    granted: Granted,
    /// Where the fixtures are [default: `fixtures` in the plugin's directory].
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Write the golden files instead of comparing with them. Look at what changed.
    #[arg(long)]
    update: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Differences of a file that are printed one by one.
const SHOWN: usize = 50;

/// Tests a plugin.
pub(super) fn test(options: &Options, output: &Output) -> Result<u8, CliError> {
    let project = options.plugin.open()?;
    let (limits, config) = options.granted.read(output)?;
    let (fixtures, config) = (options.fixtures.as_deref(), config.as_ref());
    let cache = cache();
    let cache = cache.as_deref();
    let asked =
        Asked { project: &project, fixtures, update: options.update, limits, config, cache };
    let report = crate::author::test(asked)?;
    for note in &report.notes {
        output.note(&format!("note: {note}"));
    }
    output.result(&match options.json {
        true => format!("{:#}", self::json(&report)),
        false => text(&report),
    })?;
    Ok(if report.is_good() { SAME } else { DRIFT })
}

fn json(report: &TestReport) -> serde_json::Value {
    let problem = |problem: &Problem| {
        json!({
            "kind": match problem.kind {
                ProblemKind::Golden => "golden",
                ProblemKind::Law(_) => "law",
                ProblemKind::Failed => "failed",
            },
            "law": match problem.kind {
                ProblemKind::Law(law) => Some(law),
                ProblemKind::Golden | ProblemKind::Failed => None,
            },
            "case": problem.case.as_ref().map(|(case, _)| case),
            "line": problem.case.as_ref().map(|(_, line)| line),
            "path": problem.path,
            "message": problem.words,
        })
    };
    let file = |file: &FileReport| {
        json!({
            "file": file.path.display().to_string(),
            "cases": file.cases,
            "updated": file.updated,
            "problems": file.problems.iter().map(problem).collect::<Vec<_>>(),
        })
    };
    json!({
        "plugin": report.plugin,
        "digest": { "blake3": report.digest },
        "good": report.is_good(),
        "files": report.files.iter().map(file).collect::<Vec<_>>(),
    })
}

fn text(report: &TestReport) -> String {
    let digest = report.digest.get(..12).unwrap_or_default();
    let mut text = format!("plugin `{}` ({digest})\n", report.plugin);
    for file in &report.files {
        let wrong = file.problems.len();
        let verdict = match (wrong, file.updated) {
            (0, false) => "ok".to_owned(),
            (0, true) => "golden file written".to_owned(),
            (1, _) => "1 fault".to_owned(),
            (wrong, _) => format!("{wrong} faults"),
        };
        text = format!("{text}  {}, {}: {verdict}\n", shown(&file.path), cases(file.cases));
        for problem in file.problems.iter().take(SHOWN) {
            text = format!("{text}    {}\n", problem.to_string().replace('\n', "\n    "));
        }
        if wrong > SHOWN {
            text = format!("{text}    ... and {} more; `--json` has all\n", wrong - SHOWN);
        }
    }
    let all: usize = report.files.iter().map(|file| file.cases).sum();
    let (files, wrong) =
        (report.files.len(), report.files.iter().filter(|file| !file.problems.is_empty()).count());
    let of = |kind: fn(&ProblemKind) -> bool| {
        report.files.iter().flat_map(|file| &file.problems).any(|problem| kind(&problem.kind))
    };
    if wrong == 0 {
        return format!("{text}{}, {files} files: all good, and every law holds\n", cases(all));
    }
    text = format!("{text}{}, {files} files: {wrong} with faults\n", cases(all));
    if of(|kind| *kind == ProblemKind::Golden) {
        text.push_str(
            "to do: put the mapping right; or, if what it gives is what you want, `driftd plugin test \
             --update` and look at what changed\n",
        );
    }
    if of(|kind| matches!(kind, ProblemKind::Law(_))) {
        text.push_str(
            "to do: a mapping is a function of its rows alone; keep nothing between calls, and let \
             as-of decide standings only\n",
        );
    }
    text
}

fn cases(count: usize) -> String {
    if count == 1 { "1 case".to_owned() } else { format!("{count} cases") }
}
