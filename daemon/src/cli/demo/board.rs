//! What the daemon has said so far.
//!
//! Owns the news since they were last asked for, everything ever confirmed, and how far passes are.
//! Refuses to judge: what it keeps is what the daemon's own notes say. Invariant: no note is lost
//! between two questions.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{Fault, Finding, Happening, Moment, Note, PairingStatus};
use crate::run::View;

/// The board on which the daemon's decisions are written down.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// How far the pairing is.
    pub(super) status: PairingStatus,
    /// Everything ever confirmed, by number, as it is now.
    pub(super) findings: BTreeMap<u64, Finding>,
    /// Complete passes.
    pub(super) passes: Vec<Pass>,
    /// How the hook ended, if it has.
    pub(super) hook: Option<Hook>,
    /// The criterion's count when it tripped.
    pub(super) tripped: Option<u64>,
    /// The last thing that could not be read.
    pub(super) unread: Option<Fault>,
    /// Checks with suspects that are not decided yet, with their pass.
    undecided: BTreeMap<u64, u64>,
    news: VecDeque<News>,
}

/// A complete pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) number: u64,
    pub(super) began: Moment,
    pub(super) compared: u64,
    pub(super) unread: u64,
}

/// How a hook ended.
#[derive(Clone, Debug)]
pub(super) struct Hook {
    pub(super) succeeded: bool,
    pub(super) tries: u32,
    pub(super) last: Option<String>,
}

/// Something worth a line.
#[derive(Clone, Debug)]
pub(super) enum News {
    Passed(Pass),
    Happened(Moment, Box<Happening>),
}

impl Board {
    /// Takes down a decision.
    pub(super) fn take(&mut self, view: View<'_>) {
        if let Some(status) = view.statuses.first() {
            self.status.clone_from(status);
        }
        for note in view.notes {
            match note {
                Note::Checked(check) => {
                    self.undecided.insert(check.check, check.pass);
                }
                Note::Decided { check, .. } => {
                    self.undecided.remove(check);
                }
                Note::Happened(what) => self.happened(view.now, what),
                Note::Unread { fault, .. } => self.unread = Some(fault.clone()),
                // The same findings come as happenings.
                Note::Confirmed(_) => {}
                Note::Failed { .. } => {}
            }
        }
    }

    fn happened(&mut self, now: Moment, what: &Happening) {
        match what {
            Happening::Confirmed(finding)
            | Happening::Changed { finding, .. }
            | Happening::Resolved(finding)
            | Happening::Superseded(finding) => {
                self.findings.insert(finding.id, finding.clone());
            }
            Happening::Tripped { criterion, .. } => self.tripped = Some(criterion.count),
            Happening::HookSucceeded(job) | Happening::HookFailed(job) => {
                let succeeded = matches!(what, Happening::HookSucceeded(_));
                let last = job.last.clone();
                self.hook = Some(Hook { succeeded, tries: job.tries, last });
            }
            Happening::PassCompleted { pass, began, compared, unread, .. } => {
                let (number, began, compared, unread) = (*pass, *began, *compared, *unread);
                let pass = Pass { number, began, compared, unread };
                self.passes.push(pass);
                self.news.push_back(News::Passed(pass));
                return;
            }
            Happening::Reset(_)
            | Happening::Tested { .. }
            | Happening::Lagging { .. }
            | Happening::CaughtUp { .. }
            | Happening::Unmapped { .. }
            | Happening::StoreDown(_)
            | Happening::StoreUp { .. }
            | Happening::Unread { .. }
            | Happening::Unsettled(_)
            | Happening::Readable { .. } => {}
        }
        self.news.push_back(News::Happened(now, Box::new(what.clone())));
    }

    /// What is new.
    pub(super) fn news(&mut self) -> VecDeque<News> {
        std::mem::take(&mut self.news)
    }

    /// The first complete pass that began after `moment` and read everything.
    pub(super) fn pass_since(&self, moment: Moment) -> Option<Pass> {
        self.passes.iter().find(|pass| pass.began > moment && pass.unread == 0).copied()
    }

    /// Checks up to this pass of which a suspect is not decided yet.
    pub(super) fn undecided(&self, pass: u64) -> usize {
        self.undecided.values().filter(|of| **of <= pass).count()
    }
}
