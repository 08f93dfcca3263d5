//! `driftd plugin run`.
//!
//! Owns the words in which real rows and what became of them are shown: this is local output, values
//! included. Refuses to compare sides. Invariant: every row that was read is printed, with its entity,
//! its rejection, or the word that there is neither.

use std::num::NonZeroU32;

use serde_json::{Value as Json, json};

use crate::author::{AuthorError, entity_line, row_line};
use crate::cli::output::Output;
use crate::cli::{CliError, ConfigPath, DRIFT, SAME, block_on, load, unknown};
use crate::model::Side;
use crate::report::LogLevel;
use crate::run::{Sample, SampledPage, Signals};

/// Options of `plugin run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints keys and values of real rows: mind who looks. It reads as checks do, \
within the stores' limits, and writes nothing; the rows are the first ones that the store gives. A \
row can be put into a file of fixtures as it is printed.\n\nExit codes: 0 every row is mapped; 1 the \
plugin failed, or rejects a row; 2 usage or configuration; 3 a store does not answer."
)]
pub(in crate::cli) struct Options {
    #[command(flatten)]
    path: ConfigPath,
    /// The pairing.
    #[arg(long, value_name = "NAME")]
    pairing: String,
    /// How many rows of a side.
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rows: u32,
    /// Only this side [default: both].
    #[arg(long, value_parser = ["source", "target"])]
    side: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reads, maps and prints a few rows.
pub(super) fn run(options: Options, output: &Output) -> Result<u8, CliError> {
    let mut settings = load(&options.path.config, output)?;
    let known: Vec<&str> = settings.pairings.iter().map(|one| one.name.as_str()).collect();
    if !known.contains(&options.pairing.as_str()) {
        return Err(CliError::Usage(unknown("pairing", &options.pairing, &known)));
    }
    settings.log.level = LogLevel::Warn;
    // A second start of the log can only be a bug of ours; the first one goes on.
    crate::report::log::init(settings.log).ok();
    let sides = match options.side.as_deref() {
        Some("source") => vec![Side::Source],
        Some("target") => vec![Side::Target],
        _ => vec![Side::Source, Side::Target],
    };
    let count = NonZeroU32::new(options.rows).unwrap_or(NonZeroU32::MIN);
    let pairing = options.pairing;
    let samples = block_on_samples(settings, &pairing, sides, count)?;
    output.result(&match options.json {
        true => format!("{:#}", self::json(&pairing, &samples)),
        false => samples.iter().map(|sample| text(&pairing, sample)).collect::<String>(),
    })?;
    let mut code = SAME;
    for sample in &samples {
        if let Some(error) = &sample.failed {
            let Sample { side, store, schema, .. } = sample;
            let read = rows(sample);
            let relation = &schema.relation;
            let place = format!(
                "pairing `{pairing}`, {side}: store `{store}`, relation `{relation}`, after {read} rows"
            );
            output.error(&AuthorError::failed(error, place, &error.remedy()).into());
            code = DRIFT;
        }
        if sample.pages.iter().any(|page| !page.mapped.rejected.is_empty()) {
            code = DRIFT;
        }
    }
    Ok(code)
}

fn block_on_samples(
    settings: crate::config::Settings,
    pairing: &str,
    sides: Vec<Side>,
    count: NonZeroU32,
) -> Result<Vec<Sample>, CliError> {
    let mut samples = Vec::new();
    block_on(async {
        let signals = Signals::of_process()?;
        samples = crate::run::sample(settings, pairing, &sides, count, &signals).await?;
        Ok(SAME)
    })?;
    Ok(samples)
}

fn rows(sample: &Sample) -> usize {
    sample.pages.iter().map(|page| page.rows.rows).sum()
}

/// A row, and what became of it.
struct Line {
    key: String,
    row: String,
    entities: Vec<String>,
    rejected: Option<String>,
}

fn lines(sample: &Sample) -> Vec<Line> {
    let keys: Vec<String> = sample.schema.key_columns().map(|column| column.name.clone()).collect();
    let of_page = |page: &SampledPage| {
        let mapped = &page.mapped;
        let line = |row: usize| {
            let entities = mapped.from_row.iter().enumerate().filter(|(_, from)| **from == row);
            let entities = entities.map(|(at, _)| entity_line(&sample.entity, mapped, at));
            let rejected = mapped.rejected.iter().find(|(rejected, _)| *rejected == row);
            Line {
                key: row_line(&sample.schema, &keys, &page.keys, row),
                row: row_line(&sample.schema, &sample.columns, &page.rows, row),
                entities: entities.collect(),
                rejected: rejected.map(|(_, why)| why.clone()),
            }
        };
        (0..page.rows.rows).map(line).collect::<Vec<_>>()
    };
    sample.pages.iter().flat_map(of_page).collect()
}

fn text(pairing: &str, sample: &Sample) -> String {
    let Sample { side, store, schema, .. } = sample;
    let mut text = format!(
        "pairing `{pairing}`, {side}: store `{store}`, relation `{}`, {} rows\n",
        schema.relation,
        rows(sample)
    );
    for Line { key, row, entities, rejected } in lines(sample) {
        text = format!("{text}key {key}\n  row {row}\n");
        for entity in &entities {
            text = format!("{text}  is  {entity}\n");
        }
        match rejected {
            Some(why) => text = format!("{text}  is  rejected: {why}\n"),
            None if entities.is_empty() => text.push_str("  is  nothing\n"),
            None => {}
        }
    }
    text
}

fn json(pairing: &str, samples: &[Sample]) -> Json {
    // What is read back was written as JSON just before.
    let parsed = |text: &String| serde_json::from_str::<Json>(text).unwrap_or_default();
    let line = |line: Line| {
        json!({
            "key": parsed(&line.key),
            "row": parsed(&line.row),
            "entities": line.entities.iter().map(parsed).collect::<Vec<_>>(),
            "rejected": line.rejected,
        })
    };
    let sample = |sample: &Sample| {
        json!({
            "side": sample.side.to_string(),
            "store": sample.store,
            "relation": sample.schema.relation,
            "rows": lines(sample).into_iter().map(line).collect::<Vec<_>>(),
            "failed": sample.failed.as_ref().map(ToString::to_string),
        })
    };
    json!({ "pairing": pairing, "sides": samples.iter().map(sample).collect::<Vec<_>>() })
}
