//! `driftd abort`.
//!
//! Owns leaving commands for the daemon and waiting for its answer. Refuses to change a criterion
//! itself: the daemon does, within a second, or when it runs again. Invariant: a command that was left
//! is in the journal, whatever becomes of this process.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Output, ago, table};
use crate::cli::{CliError, JournalPath, SAME};
use crate::journal::{Journal, Reader};
use crate::model::{CriterionState, HookJob, HookState, Moment};
use crate::report::form::rfc3339;
use crate::run::Clock;

/// How long the daemon's answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// How often it is looked for.
const ANSWER_POLL: Duration = Duration::from_millis(50);

/// What can be done with criteria.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// List criteria, and the hooks that they fired.
    List {
        #[command(flatten)]
        journal: JournalPath,
    },
    /// Arm a tripped criterion again. What was confirmed before no longer counts for it.
    Reset {
        /// The criterion.
        criterion: String,
        #[command(flatten)]
        journal: JournalPath,
    },
    /// Run a criterion's hooks as a test; they are told so by DRIFTD_TEST=1.
    Test {
        /// The criterion.
        criterion: String,
        #[command(flatten)]
        journal: JournalPath,
    },
}

/// Does what is asked.
pub(super) fn abort(command: Command, output: &Output) -> Result<u8, CliError> {
    use crate::model::Command::{Reset, Test};
    match command {
        Command::List { journal } => list(&journal, output),
        Command::Reset { criterion, journal } => {
            let path = journal.resolve()?;
            leave(&path, &Reset { criterion }, journal.json, output)
        }
        Command::Test { criterion, journal } => {
            let path = journal.resolve()?;
            leave(&path, &Test { criterion }, journal.json, output)
        }
    }
}

/// Leaves a command, waits for the answer if the daemon runs, and prints it.
pub(super) fn leave(
    path: &Path,
    command: &crate::model::Command,
    as_json: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let clock = Clock::new();
    let runs = Reader::open(path)?.daemon().is_some();
    let id = Journal::leave(path, command, clock.now())?;
    let begun = clock.now();
    let mut answer = None;
    while runs && answer.is_none() && clock.now().since(begun) < ANSWER_WAIT {
        pause(ANSWER_POLL);
        answer = Journal::answer(path, id)?;
    }
    let words = match (&answer, runs) {
        (Some(answer), _) => answer.clone(),
        (None, true) => "left for the daemon, which has not answered yet".to_owned(),
        (None, false) => {
            "left for the daemon, which does not run; it is done at its start".to_owned()
        }
    };
    if as_json {
        let result = json!({ "command": id, "answered": answer.is_some(), "answer": words });
        output.result(&format!("{result:#}"))?;
    } else {
        output.result(&words)?;
    }
    Ok(SAME)
}

#[expect(clippy::disallowed_methods, reason = "a command of one thread waits for another process")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

fn list(journal: &JournalPath, output: &Output) -> Result<u8, CliError> {
    let reader = Reader::open(&journal.resolve()?)?;
    let criteria = reader.criteria()?;
    let hooks = reader.hooks(100)?;
    if journal.json {
        output.result(&json(&criteria, &hooks))?;
    } else {
        output.result(&text(&criteria, &hooks, Clock::new().now()))?;
    }
    Ok(SAME)
}

fn json(criteria: &[CriterionState], hooks: &[HookJob]) -> String {
    let criteria: Vec<_> = criteria
        .iter()
        .map(|criterion| {
            json!({
                "criterion": criterion.name,
                "state": if criterion.tripped.is_some() { "tripped" } else { "armed" },
                "dry_run": criterion.dry_run,
                "tripped": criterion.tripped.map(rfc3339),
                "armed": rfc3339(criterion.armed),
                "trips": criterion.trips,
                "count": criterion.count,
                "at_least": criterion.at_least,
            })
        })
        .collect();
    let hooks: Vec<_> = hooks
        .iter()
        .map(|job| {
            json!({
                "job": job.id,
                "hook": job.hook,
                "criterion": job.criterion,
                "state": word(job.state),
                "tries": job.tries,
                "last": job.last,
                "test": job.test,
                "since": rfc3339(job.since),
            })
        })
        .collect();
    format!("{:#}", json!({ "criteria": criteria, "hooks": hooks }))
}

fn text(criteria: &[CriterionState], hooks: &[HookJob], now: Moment) -> String {
    let rows: Vec<Vec<String>> = criteria
        .iter()
        .map(|criterion| {
            let state = criterion
                .tripped
                .map_or_else(|| "armed".to_owned(), |at| format!("tripped {}", ago(now, at)));
            let state = match (criterion.dry_run, criterion.tripped) {
                (false, _) => state,
                (true, None) => "watching (dry run)".to_owned(),
                (true, Some(_)) => format!("{state} (dry run)"),
            };
            let count = format!("{} of {}", criterion.count, criterion.at_least);
            vec![criterion.name.clone(), state, count, criterion.trips.to_string()]
        })
        .collect();
    let mut text = if rows.is_empty() {
        "no criteria\n".to_owned()
    } else {
        table(&["criterion", "state", "count", "trips"], &rows)
    };
    if !hooks.is_empty() {
        let rows: Vec<Vec<String>> = hooks
            .iter()
            .map(|job| {
                let test = if job.test { " (test)" } else { "" };
                vec![
                    job.id.to_string(),
                    job.hook.clone(),
                    format!("{}{test}", job.criterion),
                    word(job.state).to_owned(),
                    job.tries.to_string(),
                    ago(now, job.since),
                    job.last.clone().unwrap_or_default().lines().next().unwrap_or("").to_owned(),
                ]
            })
            .collect();
        let head = ["job", "hook", "criterion", "state", "tries", "since", "last"];
        text = format!("{text}\n{}", table(&head, &rows));
    }
    text
}

const fn word(state: HookState) -> &'static str {
    match state {
        HookState::Pending => "pending",
        HookState::Failed => "failed, tried on",
        HookState::Succeeded => "succeeded",
        HookState::Cancelled => "cancelled",
    }
}
