//! Carrying out jobs.
//!
//! Owns every spawned task. Refuses to decide which. Invariant: a job gives back exactly one event,
//! also if it panics; a check runs on a thread of its own, so that a plugin that computes for seconds
//! holds up nothing else.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

use crate::check::{Context, check, look, survey};
use crate::engine::{Event, Job};
use crate::hook;
use crate::journal::{Journal, JournalError};
use crate::model::{Direction, Fault, HookJob, Look, Moment, Outcome, Unread};
use crate::run::{Clock, Contexts, JournalPath};

/// The tasks of a run.
pub(super) struct Tasks {
    contexts: Contexts,
    hooks: Vec<hook::Settings>,
    journal: JournalPath,
    running: JoinSet<Event>,
    /// What each running task must answer if it panics.
    obligations: Vec<(Id, Obligation)>,
}

#[derive(Clone, Debug)]
enum Obligation {
    Split { pairing: usize, direction: Direction },
    Check { check: u64, began: Moment },
    Look { look: u64, keys: Vec<crate::model::Key> },
    Hook { job: u64 },
}

impl Tasks {
    pub(super) fn new(
        contexts: Contexts,
        hooks: Vec<hook::Settings>,
        journal: JournalPath,
    ) -> Self {
        Self { contexts, hooks, journal, running: JoinSet::new(), obligations: Vec::new() }
    }

    /// Starts a job.
    pub(super) fn start(
        &mut self,
        job: Job,
        journal: &Journal,
        clock: &Clock,
    ) -> Result<(), JournalError> {
        let now = clock.now();
        let (id, obligation) = match job {
            Job::Split { pairing, direction } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let task = split(context, pairing, direction);
                (self.running.spawn(task).id(), Obligation::Split { pairing, direction })
            }
            Job::Check { check: number, pairing, partition, crowd } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let handle = Handle::current();
                let task = move || {
                    let outcome = handle.block_on(check(&context, &partition, crowd, now));
                    Event::Checked { check: number, began: now, outcome }
                };
                let id = self.running.spawn_blocking(task).id();
                (id, Obligation::Check { check: number, began: now })
            }
            Job::Look { look: number, pairing, asked } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let keys = asked.iter().map(|asked| asked.key.clone()).collect();
                let handle = Handle::current();
                let task = move || {
                    let result = handle.block_on(look(&context, &asked, now));
                    Event::Looked { look: number, result }
                };
                let id = self.running.spawn_blocking(task).id();
                (id, Obligation::Look { look: number, keys })
            }
            Job::Hook(job) => {
                let payload = journal.event(job.occurrence)?.unwrap_or_default();
                let key = format!("{}-hook-{}", journal.identity().journal, job.id);
                let number = job.id;
                let settings = self.hooks.iter().find(|hook| hook.name == job.hook).cloned();
                let task = run_hook(settings, job, payload, (key, self.journal.clone()));
                (self.running.spawn(task).id(), Obligation::Hook { job: number })
            }
        };
        self.obligations.push((id, obligation));
        Ok(())
    }

    /// The next event of a job that ended. None: none runs.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let ended = self.running.join_next_with_id().await?;
        let (id, event) = match ended {
            Ok((id, event)) => (id, Ok(event)),
            Err(error) => (error.id(), Err(error)),
        };
        let at = self.obligations.iter().position(|(known, _)| *known == id)?;
        let (_, obligation) = self.obligations.swap_remove(at);
        Some(event.unwrap_or_else(|error| failed(obligation, &error)))
    }

    /// What jobs are done with, by the pairing's position.
    pub(super) const fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// From now on jobs of a pairing are done with another context; those that run go on with theirs.
    pub(super) fn replace(&mut self, pairing: usize, context: Arc<Context>) {
        self.contexts[pairing] = context;
    }

    /// Jobs of the next pairing are done with this context.
    pub(super) fn join(&mut self, context: Arc<Context>) {
        self.contexts.push(context);
    }

    /// Lets go of everything that still runs. Hooks go on by themselves and hold their locks.
    pub(super) fn abandon(&mut self) {
        self.running.abort_all();
        self.running.detach_all();
    }
}

/// Runs `task` beside everything else. For what ends by itself when the run is over.
pub(super) fn detach(task: impl Future<Output = ()> + Send + 'static) {
    let mut alone = JoinSet::new();
    alone.spawn(task);
    alone.detach_all();
}

/// Runs what may compute for seconds on a thread of its own. For what somebody waits for who answers
/// for a panic of it.
pub(super) fn aside<T, F>(work: impl FnOnce() -> F + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || handle.block_on(work()))
}

async fn split(context: Arc<Context>, pairing: usize, direction: Direction) -> Event {
    let (extents, unmapped) = survey(&context, direction).await.map_or_else(
        |fault| (Err(fault), BTreeMap::new()),
        |(extents, unmapped)| (Ok(extents), unmapped),
    );
    Event::Split { pairing, direction, extents, unmapped }
}

async fn run_hook(
    settings: Option<hook::Settings>,
    job: HookJob,
    payload: Vec<u8>,
    (key, journal): (String, JournalPath),
) -> Event {
    let Some(settings) = settings else {
        let detail = "the configuration no longer has this hook".to_owned();
        return Event::HookEnded { job: job.id, success: false, detail };
    };
    let end = hook::run(&settings, &job, &payload, &key, Path::new(&journal)).await;
    let detail = end.to_string();
    if !end.succeeded() {
        let HookJob { hook, criterion, tries, .. } = &job;
        tracing::warn!(
            target: "driftd", hook, criterion, tries, "hook did not succeed and is run again: {detail}"
        );
    }
    Event::HookEnded { job: job.id, success: end.succeeded(), detail }
}

/// What a job that panicked gives back: it is unread, or has failed.
fn failed(obligation: Obligation, error: &JoinError) -> Event {
    let fault = Fault {
        side: None,
        // What a panic says may hold values, and this is exported.
        what: format!(
            "driftd itself failed: {}",
            if error.is_panic() {
                "a panic, of which standard error says where"
            } else {
                "cancelled"
            }
        ),
        remedy: "this is a fault of driftd; please report it with the log".to_owned(),
        code: "internal",
    };
    match obligation {
        Obligation::Split { pairing, direction } => {
            Event::Split { pairing, direction, extents: Err(fault), unmapped: BTreeMap::new() }
        }
        Obligation::Check { check, began } => {
            let mut outcome = Outcome::default();
            let scope = "the partition".to_owned();
            outcome.unread.push(Unread { scope, rows: None, key: None, fault });
            Event::Checked { check, began, outcome }
        }
        Obligation::Look { look, keys } => {
            let unread = keys.into_iter().map(|key| (key, fault.clone())).collect();
            Event::Looked { look, result: Look { unread, ..Look::default() } }
        }
        Obligation::Hook { job } => Event::HookEnded { job, success: false, detail: fault.what },
    }
}
