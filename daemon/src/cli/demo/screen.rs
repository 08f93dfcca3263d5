//! What the demo shows while it goes on.
//!
//! Owns lines, the bar, and words for findings. Refuses to draw where nobody looks at a terminal, and
//! to repeat itself: of many findings alike a few are told and the rest counted. Invariant: every
//! finding is told or counted.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value as Json;

use super::board::Pass;
use crate::model::{
    DriftKind, Finding, Happening, Key, Moment, Outage, PairingStatus, StoreKey, Subject,
};
use crate::report::form::key_json;
use crate::run::Clock;

/// Findings alike that are told one by one.
const TOLD: u64 = 3;
/// How long findings alike are gathered before they are counted aloud.
const GATHER: Duration = Duration::from_millis(1_500);

/// Where the demo is shown.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
    bar: Option<ProgressBar>,
    begun: Moment,
    alike: BTreeMap<(DriftKind, String), Alike>,
}

/// Findings alike.
#[derive(Clone, Copy, Debug, Default)]
struct Alike {
    told: u64,
    untold: u64,
    last: Moment,
}

/// How a word is set.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tone {
    Strong,
    Quiet,
    Good,
    Bad,
}

impl Screen {
    /// The terminal, or whatever stands for it. `aside`: standard output is for the result alone.
    pub(super) fn standard(aside: bool, clock: &Clock) -> Self {
        let (out, terminal): (Box<dyn Write + Send>, bool) = if aside {
            (Box::new(io::stderr()), io::stderr().is_terminal())
        } else {
            (Box::new(io::stdout()), io::stdout().is_terminal())
        };
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let bar = (terminal && io::stderr().is_terminal()).then(bar);
        Self { out, colour: terminal && !plain, bar, begun: clock.now(), alike: BTreeMap::new() }
    }

    /// Plain lines into `out`.
    #[cfg(test)]
    pub(super) fn plain(out: Box<dyn Write + Send>, clock: &Clock) -> Self {
        Self { out, colour: false, bar: None, begun: clock.now(), alike: BTreeMap::new() }
    }

    /// When the demo began.
    pub(super) const fn begun(&self) -> Moment {
        self.begun
    }

    /// Sets `text` in a tone, where there is colour.
    pub(super) fn set(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Strong => "1",
            Tone::Quiet => "2",
            Tone::Good => "1;32",
            Tone::Bad => "1;31",
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        let out = &mut self.out;
        match &self.bar {
            Some(bar) => bar.suspend(|| writeln!(out, "{text}")),
            None => writeln!(out, "{text}"),
        }?;
        self.out.flush()
    }

    /// Writes a line that says when.
    pub(super) fn at(&mut self, now: Moment, text: &str) -> io::Result<()> {
        let when = format!("{:6.1} s", now.since(self.begun).as_secs_f32());
        let when = self.set(Tone::Quiet, &when);
        self.line(&format!("{when}  {text}"))
    }

    /// Shows how far the daemon is.
    pub(super) fn progress(&self, status: &PairingStatus, doing: &str) {
        let Some(bar) = &self.bar else { return };
        let drift: u64 = status.open.values().sum();
        bar.set_length(status.partitions.max(1));
        bar.set_position(status.done);
        bar.set_message(format!(
            "{doing}; pass {}, {} differ now, {drift} are drift",
            status.pass, status.suspects,
        ));
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Tells what happened.
    pub(super) fn tell(&mut self, at: Moment, what: &Happening) -> io::Result<()> {
        if let Happening::Confirmed(finding) = what {
            return self.confirmed(at, finding);
        }
        let Some((tone, text)) = happening(what) else { return Ok(()) };
        let text = self.set(tone, &text);
        self.at(at, &text)
    }

    /// Tells that a pass is complete; `awaited`: it began after planting.
    pub(super) fn passed(&mut self, now: Moment, pass: &Pass, awaited: bool) -> io::Result<()> {
        let which = if awaited { ", which began after planting," } else { "" };
        let unread = match pass.unread {
            0 => "both sides were read whole".to_owned(),
            unread => format!("{unread} partitions could not be read"),
        };
        let text = format!(
            "pass {}{which} is complete: {} comparisons, {unread}",
            pass.number,
            number(pass.compared)
        );
        self.at(now, &text)
    }

    fn confirmed(&mut self, at: Moment, finding: &Finding) -> io::Result<()> {
        let alike = self.alike.entry((finding.kind, finding.fields.join(", "))).or_default();
        alike.last = at;
        if alike.told >= TOLD {
            alike.untold += 1;
            return Ok(());
        }
        alike.told += 1;
        let kind = self.set(Tone::Bad, &format!("{:<10}", finding.kind.as_str()));
        let age = finding.confirmed.since(finding.first_seen).as_secs_f32();
        let age = format!("(for {age:.1} s, at {} looks)", finding.looks);
        let age = self.set(Tone::Quiet, &age);
        self.at(at, &format!("{kind} {} {age}", sentence(finding)))
    }

    /// Counts aloud the findings that were not told one by one; all of them, or those of which no
    /// more came of late.
    pub(super) fn count_alike(&mut self, now: Moment, all: bool) -> io::Result<()> {
        let ready = |alike: &Alike| alike.untold > 0 && (all || now.since(alike.last) >= GATHER);
        let due = self.alike.iter_mut().filter(|(_, alike)| ready(alike));
        let due: Vec<_> = due
            .map(|((kind, fields), alike)| {
                (*kind, fields.clone(), std::mem::take(&mut alike.untold))
            })
            .collect();
        for (kind, fields, untold) in due {
            let kind = self.set(Tone::Bad, &format!("{:<10}", kind.as_str()));
            let alike =
                if fields.is_empty() { String::new() } else { format!(" that differ in {fields}") };
            self.at(now, &format!("{kind} and {untold} more users{alike}"))?;
        }
        Ok(())
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:20}] {wide_msg}") {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// What happened, for people; none if it is told otherwise.
fn happening(what: &Happening) -> Option<(Tone, String)> {
    Some(match what {
        Happening::Changed { finding, was } => {
            let (kind, was) = (finding.kind.as_str(), was.as_str());
            (Tone::Bad, format!("{} is now {kind}, no longer {was}", subject(finding)))
        }
        Happening::Resolved(finding) => {
            (Tone::Bad, format!("{} went away: {}", finding.kind.as_str(), subject(finding)))
        }
        Happening::Tripped { criterion, hooks, .. } => (
            Tone::Bad,
            format!(
                "ABORT: criterion `{}` tripped, {} findings of {} allowed; hook `{}` is run",
                criterion.name,
                criterion.count,
                criterion.at_least.saturating_sub(1),
                hooks.join("`, `")
            ),
        ),
        Happening::HookSucceeded(job) => (
            Tone::Strong,
            format!("hook `{}` succeeded; it is not run again until a person resets", job.hook),
        ),
        Happening::HookFailed(job) => {
            let last = job.last.as_deref().unwrap_or("it does not say why");
            (Tone::Bad, format!("hook `{}` failed: {last}", job.hook))
        }
        Happening::Lagging { evidence, .. } => {
            (Tone::Strong, format!("the target lags, so nothing is called drift: {evidence}"))
        }
        Happening::CaughtUp { lasted_micros, .. } => {
            let lasted = Duration::from_micros(*lasted_micros).as_secs_f32();
            (Tone::Strong, format!("the target has caught up, after {lasted:.1} s"))
        }
        Happening::Unread { fault, .. } => {
            (Tone::Bad, format!("unread: {}; {}", fault.what, fault.remedy))
        }
        Happening::StoreDown(Outage { store, what, remedy, .. }) => {
            (Tone::Bad, format!("store `{store}` is down: {what}; {remedy}"))
        }
        Happening::StoreUp { outage, .. } => {
            (Tone::Strong, format!("store `{}` answers again", outage.store))
        }
        Happening::Readable { .. } => (Tone::Strong, "everything can be read again".to_owned()),
        Happening::Confirmed(_)
        | Happening::Superseded(_)
        | Happening::Reset(_)
        | Happening::Tested { .. }
        | Happening::Unsettled(_)
        | Happening::Unmapped { .. }
        | Happening::PassCompleted { .. } => return None,
    })
}

/// What a finding says.
fn sentence(finding: &Finding) -> String {
    let who = subject(finding);
    let fields = finding.fields.join(", ");
    match finding.kind {
        DriftKind::Missing => format!("{who} is not in the target"),
        DriftKind::Unexpected => format!("{who} is only in the target"),
        DriftKind::Mismatch if !finding.cosmetic.is_empty() => {
            format!("{who} differs in {fields}, by trailing spaces or Unicode form only")
        }
        DriftKind::Mismatch => format!("{who} differs in {fields}"),
        DriftKind::Stale => format!("{who}: the target holds an older {fields}"),
        DriftKind::Duplicate => {
            let places = finding.target_at.iter().map(place);
            format!("{who} lies twice in the target: {}", places.collect::<Vec<_>>().join(" and "))
        }
        DriftKind::Violation => {
            let rule = finding.invariant.as_ref().map_or("a rule", |(id, _)| id.as_str());
            let message = finding.message.as_deref().unwrap_or_default();
            format!("{who}: {rule}, {message}")
        }
        DriftKind::Unmappable => {
            format!("{who}: {}", finding.message.as_deref().unwrap_or("the mapping rejects it"))
        }
    }
}

/// Whom a finding is about.
fn subject(finding: &Finding) -> String {
    match &finding.subject {
        Subject::Key(key) => {
            let tenant = finding.labels.get("tenant");
            let of = tenant.map(|tenant| format!(" of {tenant}")).unwrap_or_default();
            format!("{}{of}", who(key))
        }
        Subject::Partition { partition, entities, .. } => {
            format!("{entities} users of {} {}", partition.direction, partition.extent)
        }
    }
}

/// The user, or the item, that a key stands for.
pub(super) fn who(key: &Key) -> String {
    let json = key_json(key);
    match json.as_array() {
        Some(fields) if key.is_of_row() => format!("item {}", words(fields)),
        Some(fields) => format!("user {}", words(fields)),
        None => format!("user {json}"),
    }
}

/// A store key for people.
fn place(at: &StoreKey) -> String {
    key_json(&Key(at.0.clone())).as_array().map(|fields| words(fields)).unwrap_or_default()
}

fn words(fields: &[Json]) -> String {
    let text = |field: &Json| field.as_str().map_or_else(|| field.to_string(), str::to_owned);
    fields.iter().map(text).collect::<Vec<_>>().join("/")
}

/// A number for people: 20,000.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
