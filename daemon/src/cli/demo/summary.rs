//! How the demo ended, for people and for programs.
//!
//! Owns the table of planted against found, the words below it, and the same as JSON. Refuses to
//! judge: the verdict is made. Invariant: both forms say the same.

use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::board::Board;
use super::course::Finish;
use super::screen::{Screen, Tone, number, who};
use super::setup;
use super::verdict::Row;
use super::writer::Tally;
use crate::model::{DriftKind, Subject};
use crate::report::form::key_json;

/// Differences that are told one by one.
const TOLD: usize = 12;

/// Everything that is said at the end.
pub(super) struct Summary<'a> {
    pub(super) finish: &'a Finish,
    pub(super) board: &'a Board,
    pub(super) tally: &'a Tally,
    /// The event that the hook was handed, as far as it is known.
    pub(super) event: Option<Json>,
    pub(super) took: Duration,
    /// Where the files are, if they are kept.
    pub(super) kept: Option<&'a Path>,
}

impl Summary<'_> {
    /// Whether planted equals found, and the hook ran.
    pub(super) fn agrees(&self) -> bool {
        self.finish.cut_short.is_none()
            && self.finish.verdict.agrees()
            && self.board.tripped.is_some()
            && self.board.hook.as_ref().is_some_and(|hook| hook.succeeded)
            && self.event.is_some()
    }

    /// Shows it.
    pub(super) fn show(&self, screen: &mut Screen) -> io::Result<()> {
        screen.line("")?;
        self.table(screen)?;
        screen.line("")?;
        self.conclusion(screen)?;
        self.differences(screen)?;
        self.circumstances(screen)
    }

    fn table(&self, screen: &mut Screen) -> io::Result<()> {
        let head = ["planted", "found", "not found", "not planted"];
        let head = format!(
            "  {:<11} {:<44}{:>8}{:>7}{:>11}{:>13}",
            "kind", "what was done", head[0], head[1], head[2], head[3]
        );
        let head = screen.set(Tone::Strong, &head);
        screen.line(&head)?;
        for (kind, row) in &self.finish.verdict.rows {
            let mut what: Vec<String> = row.faults.keys().map(|fault| fault.words()).collect();
            if what.len() > 1 {
                for (words, count) in what.iter_mut().zip(row.faults.values()) {
                    *words = format!("{count} x {words}");
                }
            }
            let mut what = what.into_iter();
            let first = what.next().unwrap_or_default();
            let line = format!("  {:<11} {first:<44}{}", kind.as_str(), counts(row));
            let wrong = row.not_found + row.not_planted > 0;
            let line = if wrong { screen.set(Tone::Bad, &line) } else { line };
            screen.line(&line)?;
            for more in what {
                screen.line(&format!("  {:<11} {more}", ""))?;
            }
        }
        let total = format!("  {:<11} {:<44}{}", "total", "", counts(&self.finish.verdict.total()));
        let total = screen.set(Tone::Strong, &total);
        screen.line(&total)
    }

    fn conclusion(&self, screen: &mut Screen) -> io::Result<()> {
        if let Some(why) = &self.finish.cut_short {
            let text = format!("The demo gave up after {:.0} s: {why}.", self.took.as_secs_f32());
            let text = screen.set(Tone::Bad, &text);
            screen.line(&text)?;
        }
        let total = self.finish.verdict.total();
        let text = if self.agrees() {
            let text = format!(
                "Found what was planted: all {} faults, each with its kind, and nothing else.",
                number(total.planted)
            );
            screen.set(Tone::Good, &text)
        } else if self.finish.verdict.agrees() {
            let text = match &self.board.hook {
                Some(hook) if !hook.succeeded => format!(
                    "Found what was planted, but the hook failed {} times: {}.",
                    hook.tries,
                    hook.last.as_deref().unwrap_or("it does not say why")
                ),
                Some(_) | None => "Found what was planted, but no hook ran.".to_owned(),
            };
            screen.set(Tone::Bad, &text)
        } else {
            let text = format!(
                "NOT what was planted: {} of {} not found, {} found that were not planted.",
                number(total.not_found),
                number(total.planted),
                number(total.not_planted)
            );
            screen.set(Tone::Bad, &text)
        };
        screen.line(&text)
    }

    fn differences(&self, screen: &mut Screen) -> io::Result<()> {
        let verdict = &self.finish.verdict;
        for missed in verdict.missed.iter().take(TOLD) {
            let (kind, words) = (missed.fault.kind().as_str(), missed.fault.words());
            screen.line(&format!("  not found:   {kind:<11} {} ({words})", who(&missed.key)))?;
        }
        for finding in verdict.unplanned.iter().take(TOLD) {
            let key = match &finding.subject {
                Subject::Key(key) => who(key),
                Subject::Partition { entities, .. } => format!("{entities} users"),
            };
            let fields = finding.fields.join(", ");
            screen.line(&format!("  not planted: {:<11} {key} {fields}", finding.kind.as_str()))?;
        }
        let more = verdict.missed.len().saturating_sub(TOLD)
            + verdict.unplanned.len().saturating_sub(TOLD);
        if more > 0 {
            screen.line(&format!("  and {more} more"))?;
        }
        Ok(())
    }

    fn circumstances(&self, screen: &mut Screen) -> io::Result<()> {
        let status = &self.board.status;
        screen.line(&format!(
            "  in flight   {} users differed only because their change was on its way; none was \
             called drift",
            number(status.acquitted)
        ))?;
        if status.unsettled > 0 {
            let unsettled = number(status.unsettled);
            screen.line(&format!("  unsettled   {unsettled} users never stood still"))?;
        }
        if let (Some(count), Some(event)) = (self.board.tripped, &self.event) {
            screen.line(&format!(
                "  abort       `{}` tripped at {count} findings; hook `{}` ran, once, and was handed {}",
                setup::CRITERION,
                setup::HOOK,
                event["type"].as_str().unwrap_or("no event")
            ))?;
        }
        screen.line(&format!(
            "  load        {} rows read in {} passes, while {} changes were written",
            number(status.source_rows + status.target_rows),
            status.passes,
            number(self.tally.writes.load(Ordering::Relaxed)),
        ))?;
        screen.line(&format!("  time        {:.1} s", self.took.as_secs_f32()))?;
        if let Some(kept) = self.kept {
            let config = kept.join(setup::CONFIG);
            screen.line(&format!("  kept        {}", kept.display()))?;
            let config = config.display();
            screen.line(&format!("              driftd drift --config {config}"))?;
            screen.line(&format!("              driftd status --config {config}"))?;
        }
        Ok(())
    }

    /// The same for programs.
    pub(super) fn json(&self) -> Json {
        let verdict = &self.finish.verdict;
        let status = &self.board.status;
        let total = verdict.total();
        let kinds = verdict.rows.iter().map(|(kind, row)| counted(Some(*kind), row));
        let missed = verdict.missed.iter().map(|missed| {
            json!({
                "kind": missed.fault.kind().as_str(),
                "key": key_json(&missed.key),
                "done": missed.fault.words(),
            })
        });
        let unplanned = verdict.unplanned.iter().map(|finding| {
            let key = match &finding.subject {
                Subject::Key(key) => key_json(key),
                Subject::Partition { .. } => Json::Null,
            };
            json!({
                "kind": finding.kind.as_str(),
                "key": key,
                "fields": finding.fields,
                "entities": finding.entities(),
            })
        });
        let lag = Duration::from_micros(self.tally.lag_micros_max.load(Ordering::Relaxed));
        json!({
            "agrees": self.agrees(),
            "seconds": self.took.as_secs_f64(),
            "gave_up": self.finish.cut_short,
            "kinds": kinds.collect::<Vec<_>>(),
            "total": counted(None, &total),
            "not_found": missed.collect::<Vec<_>>(),
            "not_planted": unplanned.collect::<Vec<_>>(),
            "acquitted": status.acquitted,
            "unsettled": status.unsettled,
            "passes": status.passes,
            "rows_read": status.source_rows + status.target_rows,
            "changes_written": self.tally.writes.load(Ordering::Relaxed),
            "lag_seconds_max": lag.as_secs_f64(),
            "criterion": { "name": setup::CRITERION, "tripped_at": self.board.tripped },
            "hook": {
                "name": setup::HOOK,
                "succeeded": self.board.hook.as_ref().map(|hook| hook.succeeded),
                "event": self.event,
            },
            "kept": self.kept.map(|path| path.display().to_string()),
        })
    }
}

fn counts(row: &Row) -> String {
    format!(
        "{:>8}{:>7}{:>11}{:>13}",
        number(row.planted),
        number(row.found),
        number(row.not_found),
        number(row.not_planted)
    )
}

fn counted(kind: Option<DriftKind>, row: &Row) -> Json {
    let mut counted = json!({
        "planted": row.planted,
        "found": row.found,
        "not_found": row.not_found,
        "not_planted": row.not_planted,
    });
    if let Some(kind) = kind {
        counted["kind"] = kind.as_str().into();
    }
    counted
}
