//! `driftd status`.
//!
//! Owns the words in which a journal's state is told. Refuses to change anything. Invariant: it works
//! while the daemon runs, and after it was killed.

use crate::cli::output::{Output, ago, table};
use crate::cli::{CliError, JournalPath, SAME};
use crate::journal::Reader;
use crate::model::{Moment, Outage, PairingStatus};
use crate::report::status as form;
use crate::run::Clock;

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    journal: JournalPath,
}

/// Says how far each pairing has come.
pub(super) fn status(options: &Options, output: &Output) -> Result<u8, CliError> {
    let reader = Reader::open(&options.journal.resolve()?)?;
    let (statuses, down) = (reader.statuses()?, reader.outages()?);
    let now = Clock::new().now();
    if options.journal.json {
        output.result(&form::render(&statuses, &down, now))?;
        return Ok(SAME);
    }
    let mut text = match reader.daemon() {
        Some(pid) => format!("driftd runs as process {pid}\n"),
        None => "driftd does not run\n".to_owned(),
    };
    if let Some(written) = reader.last_written() {
        text = format!("{text}journal written {}\n", ago(now, written));
    }
    let waiting = reader.outbox_depth()?;
    if waiting > 0 {
        text = format!("{text}drift events not delivered yet: {waiting}\n");
    }
    text.push('\n');
    let rows: Vec<Vec<String>> = statuses.iter().map(|status| row(status, now)).collect();
    let head = [
        "pairing",
        "pass",
        "partitions",
        "covered since",
        "suspects",
        "drift",
        "ignored",
        "unsettled",
        "lag",
    ];
    text.push_str(&table(&head, &rows));
    for Outage { store, since, what, remedy, .. } in &down {
        let since = ago(now, *since);
        text = format!("{text}store `{store}`: down since {since}: {what}; {remedy}\n");
    }
    for status in &statuses {
        if let Some(since) = status.lagging_since {
            let ago = ago(now, since);
            text = format!(
                "{text}pairing `{}`: lags beyond its budget since {ago}; condemning pauses\n",
                status.pairing
            );
        }
        if let Some(why) = &status.not_begun {
            text = format!("{text}pairing `{}`: not read at all: {why}\n", status.pairing);
        }
        if status.unread_partitions > 0 {
            text = format!(
                "{text}pairing `{}`: {} partitions of this pass could not be read\n",
                status.pairing, status.unread_partitions
            );
        }
        if let Some(why) = &status.not_verifiable {
            text = format!("{text}pairing `{}`: not verifiable: {why}\n", status.pairing);
        }
        for (side, name) in &status.unmapped {
            text = format!(
                "{text}pairing `{}`: `{name}` of the {side} is not compared: it is neither mapped nor \
                 ignored\n",
                status.pairing
            );
        }
    }
    output.result(&text)?;
    Ok(SAME)
}

fn row(status: &PairingStatus, now: Moment) -> Vec<String> {
    let open: Vec<String> =
        status.open.iter().map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    vec![
        status.pairing.clone(),
        status.pass.to_string(),
        format!("{}/{}", status.done, status.partitions),
        status.covered_since.map_or_else(|| "never".to_owned(), |since| ago(now, since)),
        status.suspects.to_string(),
        if open.is_empty() { "none".to_owned() } else { open.join(", ") },
        status.ignored.to_string(),
        status.unsettled.to_string(),
        format!("{:.1} s", std::time::Duration::from_micros(status.lag_micros).as_secs_f64()),
    ]
}
