//! `driftd plugin bench`.
//!
//! Owns the table of what a plugin takes. Refuses to measure. Invariant: what is over a limit is said
//! in words; on a terminal it is red as well.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::{Granted, PluginPath, bytes, cache, grouped, shown};
use crate::author::{Asked, BenchReport, Measured};
use crate::cli::output::{Output, table};
use crate::cli::{CliError, DRIFT, SAME};
use crate::run::Clock;

/// Options of `plugin bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The cases of the fixtures are repeated to about 1,024 rows a call, as checks make \
them: rows for mapping, pairs for rules on pairs and for the accumulators of rules over a partition, \
entities and keys for locating. Time is that of the call in the middle, with every guard on; it is \
this machine's, and tells little while other programs compute. Fuel is the same on every machine. The \
limits are the default ones, unless --config and --plugin name others.\n\nExit codes: 0 within the \
limits; 1 over one, or the plugin failed; 2 no plugin, or fixtures that cannot be read."
)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    plugin: PluginPath,
    #[command(flatten)]
    granted: Granted,
    /// Where the fixtures are [default: `fixtures` in the plugin's directory].
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Measures a plugin.
pub(super) fn bench(options: &Options, output: &Output) -> Result<u8, CliError> {
    let project = options.plugin.open()?;
    let clock = Clock::new();
    let (limits, config) = options.granted.read(output)?;
    let (fixtures, config) = (options.fixtures.as_deref(), config.as_ref());
    let cache = cache();
    let cache = cache.as_deref();
    let asked = Asked { project: &project, fixtures, update: false, limits, config, cache };
    let report = crate::author::bench(asked, &|| clock.now())?;
    let over = report.measured.iter().any(|measured| !measured.over(&report.limits).is_empty());
    output.result(&match options.json {
        true => format!("{:#}", self::json(&report)),
        false => text(&report, std::io::stdout().is_terminal()),
    })?;
    Ok(if over { DRIFT } else { SAME })
}

fn json(report: &BenchReport) -> serde_json::Value {
    let BenchReport { plugin, digest, limits, measured } = report;
    let one = |measured: &Measured| {
        json!({
            "function": measured.function,
            "fixtures": measured.fixtures,
            "rows": measured.rows,
            "calls": measured.calls,
            "ns_per_row": per_row(measured.time.as_nanos(), measured),
            "call_us": { "median": measured.time.as_micros(), "longest": measured.longest.as_micros() },
            "fuel_per_row": per_row(measured.fuel, measured),
            "fuel": { "used": measured.fuel, "allowed": measured.fuel_allowed(limits) },
            "memory_bytes": { "used": measured.memory, "allowed": limits.memory },
            "output_bytes": { "used": measured.output, "allowed": limits.output },
            "output_bytes_per_row": per_row(measured.output, measured),
            "deadline_ms": limits.deadline.as_millis(),
            "over": measured.over(limits),
        })
    };
    let measured: Vec<_> = measured.iter().map(one).collect();
    json!({ "plugin": plugin, "digest": { "blake3": digest }, "measured": measured })
}

fn per_row(all: impl Into<u128>, measured: &Measured) -> u64 {
    let rows = u128::try_from(measured.rows.max(1)).unwrap_or(1);
    u64::try_from(all.into().div_ceil(rows)).unwrap_or(u64::MAX)
}

fn text(report: &BenchReport, colour: bool) -> String {
    let BenchReport { plugin, digest, limits, measured } = report;
    let digest = digest.get(..12).unwrap_or_default();
    let head = ["function", "measure", "a row", "a call", "limit of a call", "used", ""];
    let several = measured.iter().any(|one| one.fixtures != measured[0].fixtures);
    let mut rows = Vec::new();
    for one in measured {
        let over = one.over(limits);
        let micros =
            |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let (time, deadline) = (micros(one.time), micros(limits.deadline));
        let (fuel, allowed) = (one.fuel, one.fuel_allowed(limits));
        let mut measure = |name: &str, row: String, call: (String, String), used: (u64, u64)| {
            let function = match name {
                "time" => one.function.clone(),
                // Which of several, where the line has room.
                "fuel" if several => format!("  {}", shown(Path::new(&one.fixtures))),
                _ => String::new(),
            };
            let verdict = if over.contains(&name) { "OVER" } else { "" };
            let percent = used.0.saturating_mul(1_000) / used.1.max(1);
            let percent = format!("{}.{} %", percent / 10, percent % 10);
            let cells = [function, name.to_owned(), row, call.0, call.1, percent];
            rows.push([&cells[..], &[verdict.to_owned()]].concat());
        };
        let nanos = format!("{} ns", grouped(per_row(one.time.as_nanos(), one)));
        let call = (format!("{} us", grouped(time)), format!("{} us", grouped(deadline)));
        measure("time", nanos, call, (time, deadline));
        let call = (grouped(fuel), grouped(allowed));
        measure("fuel", grouped(per_row(fuel, one)), call, (fuel, allowed));
        let call = (bytes(one.memory), bytes(limits.memory));
        measure("memory", String::new(), call, (one.memory, limits.memory));
        let call = (bytes(one.output), bytes(limits.output));
        let row = format!("{} B", grouped(per_row(one.output, one)));
        measure("output", row, call, (one.output, limits.output));
    }
    let table = table(&head, &rows);
    let red = |line: &str| {
        if colour && line.ends_with("OVER") {
            format!("\x1b[31m{line}\x1b[0m\n")
        } else {
            format!("{line}\n")
        }
    };
    let table = table.lines().map(red).collect::<String>();
    let count = measured.first().map_or(0, |one| one.rows);
    // Groups are not cut: a call may have a few rows more.
    let about = if measured.iter().all(|one| one.rows == count) { "" } else { "about " };
    let count = measured.iter().map(|one| one.rows).min().unwrap_or_default();
    let count = grouped(count as u64);
    let mut text = format!("plugin `{plugin}` ({digest}), {about}{count} rows a call\n{table}");
    let raised = raised(report);
    if !raised.is_empty() {
        let raised = raised.join("\n  ");
        text.push_str("to do: make it take less; or raise [plugins.<name>.limits], which costs the machine as much:\n  ");
        text.push_str(&raised);
        text.push('\n');
    }
    text
}

/// Each limit that is too low, and what would do with half as much to spare.
fn raised(report: &BenchReport) -> Vec<String> {
    const MIB: u64 = 1 << 20;
    let BenchReport { limits, measured, .. } = report;
    let most = |name: &str, of: &dyn Fn(&Measured) -> u64| {
        let over = measured.iter().filter(|one| one.over(limits).contains(&name));
        over.map(of).max().map(|most| most.saturating_add(most / 2))
    };
    let underscored = |number: u64| grouped(number).replace(',', "_");
    let fuel = most("fuel", &|one| per_row(one.fuel, one))
        .map(|fuel| format!("fuel_per_row = {}", underscored(fuel.next_multiple_of(100_000))));
    let time = most("time", &|one| one.time.as_secs() + 1);
    let time = time.map(|seconds| format!("deadline = \"{seconds}s\""));
    let size = |name, bytes: Option<u64>| {
        bytes.map(|bytes| format!("{name} = \"{}MiB\"", bytes.div_ceil(MIB)))
    };
    let memory = size("memory", most("memory", &|one| one.memory));
    let output = size("output", most("output", &|one| one.output));
    [time, fuel, memory, output].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plugin::Limits;

    #[test]
    fn what_is_too_low_is_told_with_what_would_do() {
        let limits = Limits::default();
        let within = Measured {
            function: "map-batch, source".to_owned(),
            fixtures: "fixtures".to_owned(),
            rows: 1_000,
            calls: 1,
            time: Duration::from_millis(20),
            longest: Duration::from_millis(20),
            fuel: 1_000_000,
            memory: 1 << 20,
            output: 1 << 10,
        };
        let dear = Measured { fuel: 3_010_000_000, memory: 100 << 20, ..within.clone() };
        let slow = Measured { time: Duration::from_millis(3_500), ..within.clone() };
        let report = |measured| BenchReport {
            plugin: "users".to_owned(),
            digest: "0".repeat(64),
            limits,
            measured,
        };
        assert_eq!(raised(&report(vec![within.clone()])), [""; 0]);
        assert_eq!(
            raised(&report(vec![within, dear, slow])),
            ["deadline = \"6s\"", "fuel_per_row = 4_600_000", "memory = \"150MiB\""]
        );
    }
}
