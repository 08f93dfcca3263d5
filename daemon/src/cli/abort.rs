//! `driftd abort`.
//!
//! Owns leaving commands for the daemon and waiting for its answer. Refuses to change a criterion
//! itself: the daemon does, within a second, or when it runs again. Invariant: a command that was left
//! is in the journal, whatever becomes of this process.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cli::output::{Output, ago, table};
use crate::cli::{CONFIGURATION, CliError, JournalPath, SAME, unknown};
use crate::journal::{Journal, Reader};
use crate::model::{Answer, CriterionState, FindingStatus, HookJob, HookState, Moment};
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

/// Leaves a command, waits for the answer if the daemon runs, and prints it. One that the daemon
/// would refuse is not left for a daemon that does not run: nobody would hear the answer.
pub(super) fn leave(
    path: &Path,
    command: &crate::model::Command,
    as_json: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let clock = Clock::new();
    let reader = Reader::open(path)?;
    let runs = reader.daemon().is_some();
    if !runs && let Err(refused) = foreseen(&reader, command)? {
        return tell((None, Some(&Err(refused.clone()))), &refused, as_json, output);
    }
    let id = Journal::leave(path, command, clock.now())?;
    let begun = clock.now();
    let mut answer = None;
    while runs && answer.is_none() && clock.now().since(begun) < ANSWER_WAIT {
        pause(ANSWER_POLL);
        answer = Journal::answer(path, id)?;
    }
    let words = match (&answer, runs) {
        (Some(Ok(words) | Err(words)), _) => words.clone(),
        (None, true) => "left for the daemon, which has not answered yet".to_owned(),
        (None, false) => {
            "left for the daemon, which does not run; it is done at its start".to_owned()
        }
    };
    tell((Some(id), answer.as_ref()), &words, as_json, output)
}

/// Prints what became of a command.
fn tell(
    (id, answer): (Option<i64>, Option<&Answer>),
    words: &str,
    as_json: bool,
    output: &Output,
) -> Result<u8, CliError> {
    let refused = answer.is_some_and(Result::is_err);
    if as_json {
        let answered = answer.is_some();
        let result =
            json!({ "command": id, "answered": answered, "refused": refused, "answer": words });
        output.result(&format!("{result:#}"))?;
    } else if refused {
        output.note(&format!("error: {words}"));
    } else {
        output.result(words)?;
    }
    Ok(if refused { CONFIGURATION } else { SAME })
}

/// What the daemon would refuse, as far as the journal shows it.
fn foreseen(reader: &Reader, command: &crate::model::Command) -> Result<Answer, CliError> {
    use crate::model::Command::{Ignore, Reset, Test};
    match command {
        Reset { criterion } | Test { criterion } => {
            let known = reader.criteria()?;
            let known: Vec<&str> = known.iter().map(|state| state.name.as_str()).collect();
            if !known.contains(&criterion.as_str()) {
                return Ok(Err(unknown("criterion", criterion, &known)));
            }
        }
        Ignore { finding, .. } => {
            let found = reader.finding(*finding)?;
            if found.is_none_or(|finding| finding.status != FindingStatus::Open) {
                return Ok(Err(format!("there is no open finding {finding}")));
            }
        }
    }
    Ok(Ok(String::new()))
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
