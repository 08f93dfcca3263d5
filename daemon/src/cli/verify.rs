//! `driftd verify`.
//!
//! Owns the summary of one pass and its exit code. Refuses to judge: it adds up what the engine
//! decided. Invariant: 0 only if everything was read, compared, settled and same, in every direction;
//! drift (1) wins over a pairing that the configuration keeps from being read (2), because the drift is
//! there whatever that one holds, and both over what could not be told (3), because only a person can
//! change the file.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;

use crate::cli::listing::{self, Listed, Listing};
use crate::cli::output::{Output, table};
use crate::cli::progress::Progress;
use crate::cli::{CONFIGURATION, CliError, ConfigPath, DRIFT, SAME, UNTOLD, drift, load};
use crate::model::{Fault, FaultCode, Finding, Happening, Moment, Note, PairingStatus, Unsettled};
use crate::report::{LogLevel, status};
use crate::run::{Clock, Ended, Purpose, Signals, Supplied};

/// Findings that are printed one by one, unless all are asked for.
const SHOWN: usize = 100;

/// How much of what could not be judged is named.
const NAMED_MAX: usize = 10_000;

/// Options of `verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 verified same; 1 drift, a violation or an unmappable row; 2 usage or \
configuration, also if a pairing could not be verified because of it; 3 something was unread, unsettled \
or not verifiable; 4 the command failed. 1 wins over 2, and 2 over 3. Excluded rows change nothing."
)]
pub(super) struct Options {
    #[command(flatten)]
    path: ConfigPath,
    /// Only these pairings.
    #[arg(long, value_name = "NAME")]
    pairing: Vec<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print every finding, not only the first hundred.
    #[arg(long)]
    all: bool,
    /// Write every key that drifted to this file, one JSON object a line, also of findings that are shown
    /// with a sample. Its last line says whether that is all.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Log as configured, not only what is wrong.
    #[arg(long, short)]
    verbose: bool,
}

/// Why something was unread, and how often, by pairing and code.
type Faults = BTreeMap<(String, FaultCode), (Fault, u64)>;

/// What could not be told, gathered during a pass.
#[derive(Default)]
struct Untold {
    faults: Faults,
    /// What could not be judged.
    unsettled: Vec<Unsettled>,
    /// How much more of it there was.
    unnamed: u64,
}

impl Untold {
    fn take(&mut self, note: &Note) {
        match note {
            Note::Unread { pairing, fault, .. } => {
                let seen = self
                    .faults
                    .entry((pairing.clone(), fault.code))
                    .or_insert_with(|| (fault.clone(), 0u64));
                seen.1 += 1;
            }
            Note::Happened(Happening::Unsettled(unsettled)) => {
                if self.unsettled.len() < NAMED_MAX {
                    self.unsettled.push(unsettled.clone());
                } else {
                    self.unnamed += 1;
                }
            }
            Note::Checked(_)
            | Note::Decided { .. }
            | Note::Confirmed(_)
            | Note::Happened(_)
            | Note::Failed { .. } => {}
        }
    }

    fn tell(&self, statuses: &[PairingStatus], output: &Output) {
        for ((pairing, code), (fault, count)) in &self.faults {
            output.note(&format!(
                "unread: pairing `{pairing}`, {count} times: {} ({code}); {}",
                fault.what, fault.remedy
            ));
        }
        for unsettled in self.unsettled.iter().take(SHOWN) {
            let (subject, why) = (drift::unjudged(unsettled, statuses), drift::why(unsettled));
            output.note(&format!("unsettled: pairing `{}`: {subject}: {why}", unsettled.pairing));
        }
        let more = self.unsettled.len().saturating_sub(SHOWN) as u64 + self.unnamed;
        if more > 0 {
            output.note(&format!(
                "unsettled: ... and {more} more; `--json` names the first {NAMED_MAX}"
            ));
        }
    }
}

/// Compares everything once.
pub(super) async fn verify(options: Options, output: &Output) -> Result<u8, CliError> {
    let mut settings = load(&options.path.config, output)?;
    let known: Vec<String> = settings.pairings.iter().map(|pairing| pairing.name.clone()).collect();
    if let Some(unknown) = options.pairing.iter().find(|name| !known.contains(name)) {
        let known = known.join(", ");
        return Err(CliError::Usage(format!(
            "there is no pairing `{unknown}`; there are: {known}"
        )));
    }
    if !options.pairing.is_empty() {
        settings.pairings.retain(|pairing| options.pairing.contains(&pairing.name));
    }
    if settings.pairings.is_empty() {
        let what =
            "the configuration has no pairing to compare; config/examples has complete files";
        return Err(CliError::Usage(what.to_owned()));
    }
    let terminal = std::io::stderr().is_terminal();
    if !options.verbose {
        settings.log.level = LogLevel::Warn;
    }
    // A second start of the log can only be a bug of ours; the first one goes on.
    crate::report::log::init(settings.log).ok();
    let signals = Signals::of_process()?;
    let mut progress = Progress::default();
    let mut untold = Untold::default();
    let listing = options.keys.as_deref().map(Listing::create).transpose()?;
    let ended = crate::run::run(settings, Purpose::Verify, Supplied::default(), signals, |view| {
        if terminal {
            progress.show(view.statuses);
        }
        view.notes.iter().for_each(|note| untold.take(note));
    })
    .await?;
    progress.clear();
    untold.tell(&ended.statuses, output);
    let code = code(&ended);
    let now = Clock::new().now();
    let listed = match listing {
        Some(listing) => Some(listing.write(&ended).await?),
        None => None,
    };
    if let Some(listed) = &listed {
        listed.tell(output);
    }
    if options.json {
        output.result(&json(&ended, &untold, (code, listed.as_ref()), now))?;
    } else {
        output.result(&text(&ended, (code, listed.as_ref()), options.all))?;
    }
    Ok(code)
}

/// The exit code of a pass.
fn code(ended: &Ended) -> u8 {
    let drift = ended.findings.iter().any(|finding| finding.entities() > 0);
    let complete = ended.statuses.iter().all(|status| {
        status.passes > 0
            && status.last_pass_unread == 0
            && undecided(status) == 0
            && status.not_verifiable.is_none()
    });
    let complete = complete && !ended.statuses.is_empty() && ended.stopped.is_none();
    if drift {
        DRIFT
    } else if ended.refused.iter().any(|one| one.is_configuration) {
        CONFIGURATION
    } else if complete && ended.refused.is_empty() {
        SAME
    } else {
        UNTOLD
    }
}

/// Keys of which nobody knows whether they drifted. A pass alone goes on from nothing, so all that was
/// ever unsettled is of this one, and so is what still waits.
fn undecided(status: &PairingStatus) -> u64 {
    status.unsettled + status.suspects
}

fn verdict(ended: &Ended, code: u8) -> String {
    let refused: Vec<String> =
        ended.refused.iter().map(|one| format!("`{}`", one.pairing)).collect();
    let refused = match refused.as_slice() {
        [] => String::new(),
        some => format!("; not verified at all: pairing {}", some.join(", ")),
    };
    match code {
        SAME if nothing(ended) => "verified same, and nothing was there to compare: both sides of \
            every pairing are empty, or all of their rows are excluded; check that these are the \
            relations that you mean"
            .to_owned(),
        SAME => "verified same".to_owned(),
        DRIFT => format!("drift{refused}"),
        CONFIGURATION => format!("not verified: the configuration does not fit{refused}"),
        _ => format!("not verified: something was unread, unsettled or not verifiable{refused}"),
    }
}

/// Whether no pairing had anything to compare.
fn nothing(ended: &Ended) -> bool {
    ended.statuses.iter().all(|status| status.compared == 0)
}

fn json(
    ended: &Ended,
    untold: &Untold,
    (code, listed): (u8, Option<&Listed>),
    now: Moment,
) -> String {
    // What renders the status writes nothing but JSON.
    let statuses: serde_json::Value =
        serde_json::from_str(&status::render(&ended.statuses, [], now)).unwrap_or_default();
    let findings: Vec<_> =
        ended.findings.iter().map(|one| drift::json(one, &ended.statuses)).collect();
    let unsettled = untold.unsettled.iter();
    let unsettled: Vec<_> =
        unsettled.map(|one| drift::unsettled_json(one, &ended.statuses)).collect();
    let unread: Vec<_> = untold
        .faults
        .iter()
        .map(|((pairing, code), (fault, count))| {
            serde_json::json!({
                "pairing": pairing,
                "code": code.as_str(),
                "what": fault.what,
                "remedy": fault.remedy,
                "count": count,
            })
        })
        .collect();
    let refused: Vec<_> = ended
        .refused
        .iter()
        .map(|one| serde_json::json!({ "pairing": one.pairing, "reasons": one.reasons }))
        .collect();
    let result = serde_json::json!({
        "verdict": verdict(ended, code),
        "exit_code": code,
        "stopped": ended.stopped.is_some(),
        "pairings": statuses["pairings"],
        "findings": findings,
        "unread": unread,
        "unsettled": unsettled,
        "refused": refused,
        "keys": listed.map(Listed::json),
    });
    format!("{result:#}")
}

fn text(ended: &Ended, (code, listed): (u8, Option<&Listed>), all: bool) -> String {
    let mut text = String::new();
    let limit = if all { usize::MAX } else { SHOWN };
    let shown: Vec<&Finding> = ended.findings.iter().take(limit).collect();
    if !shown.is_empty() {
        text = drift::text(&shown, &ended.statuses);
        if ended.findings.len() > shown.len() {
            let more = ended.findings.len() - shown.len();
            text = format!("{text}... and {more} more; `--all` shows them\n");
        }
        text.push('\n');
    }
    let sampled = ended.findings.iter().filter(|finding| listing::is_sampled(finding)).count();
    if sampled > 0 && listed.is_none() {
        text = format!(
            "{text}{sampled} of these are shown with a sample of their keys; `--keys FILE` writes every \
             key\n\n"
        );
    }
    let rows: Vec<Vec<String>> = ended.statuses.iter().map(row).collect();
    let head = ["pairing", "compared", "same", "excluded", "drift", "unsettled", "unread"];
    text.push_str(&table(&head, &rows));
    for status in &ended.statuses {
        for (side, name) in &status.unmapped {
            text = format!(
                "{text}note: pairing `{}`: `{name}` of the {side} is not compared: it is neither mapped \
                 nor ignored\n",
                status.pairing
            );
        }
        if let Some(why) = &status.not_verifiable {
            text = format!("{text}pairing `{}`: not verifiable: {why}\n", status.pairing);
        }
        if status.compared == 0 && status.not_begun.is_none() && status.last_pass_unread == 0 {
            text = format!(
                "{text}note: pairing `{}`: nothing was there to compare: {} rows of the source, {} of \
                 the target, {} excluded\n",
                status.pairing, status.source_rows, status.target_rows, status.excluded
            );
        }
    }
    for one in &ended.refused {
        for reason in &one.reasons {
            text = format!("{text}pairing `{}`: not verified: {reason}\n", one.pairing);
        }
    }
    format!("{text}\n{}\n", verdict(ended, code))
}

fn row(status: &PairingStatus) -> Vec<String> {
    let kinds = status.open.iter().filter(|(_, count)| **count > 0);
    let kinds: Vec<_> = kinds.map(|(kind, count)| format!("{count} {}", kind.as_str())).collect();
    vec![
        status.pairing.clone(),
        status.compared.to_string(),
        status.same.to_string(),
        status.excluded.to_string(),
        if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") },
        undecided(status).to_string(),
        match status.not_begun {
            Some(_) => "everything".to_owned(),
            None => format!("{} partitions", status.last_pass_unread),
        },
    ]
}
