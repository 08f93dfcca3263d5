//! `driftd verify --keys FILE`: every key that drifted.
//!
//! Owns the form of the file: a JSON object a line, and a last line that says whether that is all.
//! Refuses to judge: a finding of a whole partition is read once more, and what differs there now is
//! listed under it. Invariant: a file without its last line, or whose last line says so, is not complete;
//! no more of it is in memory than one part of a partition.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::cli::output::Output;
use crate::cli::{CliError, drift};
use crate::journal::{named_key, readable_key, readable_place};
use crate::model::{DriftKind, Fault, Finding, RelationNames, StoreKey, Subject};
use crate::run::{DifferingKey, Ended};

/// A file on the way.
pub(super) struct Listing {
    path: PathBuf,
    file: BufWriter<File>,
    keys: u64,
}

/// What a file holds.
pub(super) struct Listed {
    path: PathBuf,
    keys: u64,
    /// Why it is not complete; empty: it is.
    lacking: Vec<String>,
}

/// Whether a finding tells of more keys than it names.
pub(super) fn is_sampled(finding: &Finding) -> bool {
    matches!(finding.subject, Subject::Partition { .. }) && !finding.is_of_rule()
}

impl Listing {
    /// Begins a file; nobody else may read it, because keys are private.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| {
            let shown = path.display();
            CliError::Usage(format!("cannot write keys to {shown}: {error}; name another file"))
        })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), keys: 0 })
    }

    /// Writes every key of what a pass found.
    pub(super) async fn write(mut self, ended: &Ended) -> Result<Listed, CliError> {
        let mut lacking = Vec::new();
        if ended.stopped.is_some() {
            lacking.push("the pass was stopped before its end".to_owned());
        }
        for finding in &ended.findings {
            if !is_sampled(finding) {
                self.keys += u64::from(!finding.is_of_rule());
                self.line(&drift::json(finding, &ended.statuses))?;
                continue;
            }
            let mut failed: io::Result<()> = Ok(());
            let before = self.keys;
            let status = ended.statuses.iter().find(|status| status.pairing == finding.pairing);
            let relations = status.map(|status| &status.relations);
            let unread = ended
                .differing(finding, |key| {
                    if failed.is_ok() {
                        failed = self.key((finding, relations), &key);
                    }
                })
                .await;
            failed?;
            lacking.extend(unread.iter().map(|fault| lacks(finding, fault)));
            let (now, then) = (self.keys - before, finding.entities());
            if now < then {
                lacking.push(format!(
                    "finding {}: {then} entities were drift, and {now} differ now; the others have \
                     changed since, or could not be read",
                    finding.id
                ));
            }
        }
        let complete = lacking.is_empty();
        let end = json!({ "complete": complete, "keys": self.keys, "lacking": lacking });
        self.line(&end)?;
        self.file.flush()?;
        Ok(Listed { path: self.path, keys: self.keys, lacking })
    }

    /// Writes what the finding tells of a key: other kinds of drift in its partition are told by others.
    fn key(
        &mut self,
        (finding, relations): (&Finding, Option<&[Vec<RelationNames>; 2]>),
        key: &DifferingKey,
    ) -> io::Result<()> {
        let sighting = &key.sighting;
        let places = |side: usize, at: &[StoreKey]| -> Vec<String> {
            let relations = relations.map_or(&[][..], |relations| &relations[side]);
            at.iter().map(|at| readable_place(relations, at)).collect()
        };
        let name = match (&key.entity, sighting.key.is_of_row()) {
            (_, true) => None,
            (Some(_), false) => Some(readable_key(&sighting.key)),
            (None, false) => Some(named_key(None, &sighting.key)),
        };
        for (kind, about) in key.wrong.iter().filter(|(kind, about)| tells(finding, *kind, about)) {
            let invariant = (*kind == DriftKind::Violation).then(|| about.first());
            let fields: &[String] = if invariant.is_some() { &[] } else { about };
            self.keys += 1;
            self.line(&json!({
                "finding": finding.id,
                "pairing": finding.pairing,
                "kind": kind.as_str(),
                "entity": key.entity,
                "key": name,
                "fields": fields,
                "invariant": invariant.flatten(),
                "source_at": places(0, &sighting.source_at),
                "target_at": places(1, &sighting.target_at),
            }))?;
        }
        Ok(())
    }

    fn line(&mut self, value: &Json) -> io::Result<()> {
        serde_json::to_writer(&mut self.file, value)?;
        self.file.write_all(b"\n")
    }
}

/// Whether a finding tells of this. A field that differs counts as such, whether the follower holds an
/// older version or a wrong one.
fn tells(finding: &Finding, kind: DriftKind, about: &[String]) -> bool {
    match kind {
        DriftKind::Violation => {
            let invariant = finding.invariant.as_ref().map(|(id, _)| id);
            finding.kind == DriftKind::Violation && about.first() == invariant
        }
        DriftKind::Mismatch | DriftKind::Stale => {
            matches!(finding.kind, DriftKind::Mismatch | DriftKind::Stale)
        }
        DriftKind::Missing
        | DriftKind::Unexpected
        | DriftKind::Duplicate
        | DriftKind::Unmappable => finding.kind == kind,
    }
}

fn lacks(finding: &Finding, fault: &Fault) -> String {
    let Fault { what, remedy, code, .. } = fault;
    format!("finding {}: {what} ({code}); {remedy}", finding.id)
}

impl Listed {
    /// Says where the keys are, and if they are not all.
    pub(super) fn tell(&self, output: &Output) {
        let (keys, path) = (self.keys, self.path.display());
        for why in &self.lacking {
            output.note(&format!("keys: the list in {path} is not complete: {why}"));
        }
        if self.lacking.is_empty() {
            output.note(&format!("keys: all {keys} that drifted are in {path}"));
        }
    }

    /// The same as JSON.
    pub(super) fn json(&self) -> Json {
        json!({
            "file": self.path.display().to_string(),
            "keys": self.keys,
            "complete": self.lacking.is_empty(),
            "lacking": self.lacking,
        })
    }
}
