//! `driftd plugin run`.
//!
//! Owns the words in which real rows and what became of them are shown: this is local output, values
//! included. Refuses to compare sides. Invariant: every row that was read is printed, with its entity,
//! its rejection, or the word that there is neither.

use std::num::NonZeroU32;

use serde_json::{Value as Json, json};

use super::cache;
use crate::author::{AuthorError, entity_line, row_line};
use crate::cli::output::Output;
use crate::cli::{CliError, ConfigPath, DRIFT, SAME, block_on, load, unknown};
use crate::model::{Batch, RelationSchema, Side};
use crate::plugin::Input;
use crate::report::LogLevel;
use crate::run::{Sample, Sampled, Signals};

/// Options of `plugin run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Prints keys and values of real rows: mind who looks. It reads as checks do, \
within the stores' limits, and writes nothing; the rows are the first ones that the store gives. A \
row can be put into a file of fixtures as it is printed, as `row`; rows of several relations, as \
`rows` by relation.\n\nExit codes: 0 every row is mapped; 1 the \
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
    // Nothing is left beside the journal, of which there is none.
    settings.plugin_cache = cache();
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
        if let Some(error) = &sample.sampling.failed {
            let place = format!("{}, after {} rows", place(&pairing, sample), rows(sample));
            output.error(&AuthorError::failed(error, place, &error.remedy()).into());
            code = DRIFT;
        }
        if sample.sampling.calls.iter().any(|call| !call.mapped.rejected.is_empty()) {
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
    sample.sampling.calls.iter().map(|call| call.rows.count()).sum()
}

fn place(pairing: &str, sample: &Sample) -> String {
    let Sample { side, store, relations, .. } = sample;
    let names: Vec<&str> = relations.iter().map(|(schema, _)| schema.relation.as_str()).collect();
    let word = if names.len() == 1 { "relation" } else { "relations" };
    format!("pairing `{pairing}`, {side}: store `{store}`, {word} `{}`", names.join("`, `"))
}

/// Rows that belong together, most often one, and what became of them.
struct Group {
    /// Its primary key, of a row that stands by itself.
    key: Option<String>,
    /// The rows, each with its relation.
    rows: Vec<(String, String)>,
    entities: Vec<String>,
    rejected: Option<String>,
}

fn groups(sample: &Sample) -> Vec<Group> {
    let of_call = |call: &Sampled| {
        (0..call.rows.groups).map(|group| of_group(sample, call, group)).collect::<Vec<_>>()
    };
    sample.sampling.calls.iter().flat_map(of_call).collect()
}

fn of_group(sample: &Sample, call: &Sampled, group: usize) -> Group {
    let mut rows = Vec::new();
    for input in &call.rows.inputs {
        let (schema, columns) = &sample.relations[input.relation];
        let of_group = (0..input.rows.rows).filter(|row| belongs(input, *row, group));
        rows.extend(
            of_group
                .map(|row| (schema.relation.clone(), row_line(schema, columns, &input.rows, row))),
        );
    }
    let key = call.keys.as_ref().zip(call.rows.inputs.first());
    let mut entities = Vec::new();
    for output in &call.mapped.outputs {
        let from = output.from_group.iter().enumerate().filter(|(_, from)| **from == group);
        let entity = &sample.entities[output.entity];
        entities.extend(from.map(|(at, _)| entity_line(entity, output, at)));
    }
    let rejected = call.mapped.rejected.iter().find(|(rejected, _)| *rejected == group);
    Group {
        key: key.map(|(keys, input)| key_line(&sample.relations[input.relation].0, keys, group)),
        rows,
        entities,
        rejected: rejected.map(|(_, why)| why.clone()),
    }
}

fn belongs(input: &Input<'_>, row: usize, group: usize) -> bool {
    input.group.as_ref().map_or(row, |of| of[row] as usize) == group
}

fn key_line(schema: &RelationSchema, keys: &Batch, row: usize) -> String {
    let names: Vec<String> = schema.key_columns().map(|column| column.name.clone()).collect();
    row_line(schema, &names, keys, row)
}

fn text(pairing: &str, sample: &Sample) -> String {
    let mut text = format!("{}, {} rows\n", place(pairing, sample), rows(sample));
    let several = sample.relations.len() > 1;
    for Group { key, rows, entities, rejected } in groups(sample) {
        text = match key {
            Some(key) => format!("{text}key {key}\n"),
            None => format!("{text}rows that belong together\n"),
        };
        for (relation, row) in &rows {
            let relation = if several { format!(" of {relation}") } else { String::new() };
            text = format!("{text}  row{relation} {row}\n");
        }
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
    let group = |group: Group| {
        let row = |(relation, row): &(String, String)| json!({ "relation": relation, "row": parsed(row) });
        json!({
            "key": group.key.as_ref().map(parsed),
            "rows": group.rows.iter().map(row).collect::<Vec<_>>(),
            "entities": group.entities.iter().map(parsed).collect::<Vec<_>>(),
            "rejected": group.rejected,
        })
    };
    let relation = |(schema, _): &(RelationSchema, Vec<String>)| schema.relation.clone();
    let sample = |sample: &Sample| {
        json!({
            "side": sample.side.to_string(),
            "store": sample.store,
            "relations": sample.relations.iter().map(relation).collect::<Vec<_>>(),
            "groups": groups(sample).into_iter().map(group).collect::<Vec<_>>(),
            "failed": sample.sampling.failed.as_ref().map(ToString::to_string),
        })
    };
    json!({ "pairing": pairing, "sides": samples.iter().map(sample).collect::<Vec<_>>() })
}
