//! Carrying out jobs.
//!
//! Owns every spawned task and every thread that computes. Refuses to decide which. Invariant: a job
//! gives back exactly one event, also if it panics; a check runs on a thread of its own that nothing
//! else needs, so that neither a plugin that computes for seconds nor any number of checks that wait
//! holds up what stores do on the runtime's threads: SQLite, name resolution, files.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinError, JoinSet};

use crate::check::{Context, check, look, survey};
use crate::engine::{Event, Job};
use crate::hook;
use crate::journal::{Journal, JournalError};
use crate::model::{Direction, Fault, FaultCode, HookJob, Look, Moment, Outcome, Unread};
use crate::report::panics::{self, Panicked};
use crate::run::{Clock, Contexts, JournalPath};

/// The tasks of a run.
pub(super) struct Tasks {
    contexts: Contexts,
    hooks: Vec<hook::Settings>,
    journal: JournalPath,
    running: JoinSet<Result<Event, Failure>>,
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

/// Why a task gave back nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// It panicked.
    Panicked(Panicked),
    /// The system gave no thread for it.
    NoThread(std::io::Error),
    /// It was let go.
    Cancelled,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What it says may hold values, and this is exported.
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::NoThread(error) => write!(f, "the system gives no thread: {error}"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
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
        match job {
            Job::Split { pairing, direction } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let obligation = Obligation::Split { pairing, direction };
                self.spawn(obligation, split(context, pairing, direction));
            }
            Job::Check { check: number, pairing, partition, crowd } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let work = async move || {
                    let outcome = check(&context, &partition, crowd, now).await;
                    Event::Checked { check: number, began: now, outcome }
                };
                let obligation = Obligation::Check { check: number, began: now };
                self.own(obligation, aside("check", work));
            }
            Job::Look { look: number, pairing, asked } => {
                let context = Arc::clone(&self.contexts[pairing]);
                let keys = asked.iter().map(|asked| asked.key.clone()).collect();
                let work = async move || {
                    let result = look(&context, &asked, now).await;
                    Event::Looked { look: number, result }
                };
                let obligation = Obligation::Look { look: number, keys };
                self.own(obligation, aside("look", work));
            }
            Job::Hook(job) => {
                let payload = journal.event(job.occurrence)?.unwrap_or_default();
                let key = format!("{}-hook-{}", journal.identity().journal, job.id);
                let number = job.id;
                let settings = self.hooks.iter().find(|hook| hook.name == job.hook).cloned();
                let task = run_hook(settings, job, payload, (key, self.journal.clone()));
                self.spawn(Obligation::Hook { job: number }, task);
            }
        }
        Ok(())
    }

    fn spawn(
        &mut self,
        obligation: Obligation,
        task: impl Future<Output = Event> + Send + 'static,
    ) {
        let task = async { panics::caught_in(task).await.map_err(Failure::Panicked) };
        self.own(obligation, task);
    }

    fn own(
        &mut self,
        obligation: Obligation,
        task: impl Future<Output = Result<Event, Failure>> + Send + 'static,
    ) {
        self.obligations.push((self.running.spawn(task).id(), obligation));
    }

    /// The next event of a job that ended. None: none runs.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let ended = self.running.join_next_with_id().await?;
        let (id, event) = match ended {
            Ok((id, event)) => (id, event),
            Err(error) => (error.id(), Err(cancelled(&error))),
        };
        let at = self.obligations.iter().position(|(known, _)| *known == id)?;
        let (_, obligation) = self.obligations.swap_remove(at);
        Some(event.unwrap_or_else(|failure| failed(obligation, &failure)))
    }

    /// The pairings, by position, that read this store.
    pub(super) fn reading(&self, store: &str) -> Vec<usize> {
        let reads = |context: &Context| {
            [&context.source, &context.target].iter().any(|side| side.store.name() == store)
        };
        let contexts = self.contexts.iter().enumerate();
        contexts.filter(|(_, context)| reads(context)).map(|(index, _)| index).collect()
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

/// Runs what may compute for seconds on a thread of its own, which is begun at once. If nobody waits any
/// more, it ends as soon as it waits itself.
pub(super) fn aside<T, F>(
    name: &str,
    work: impl FnOnce() -> F + Send + 'static,
) -> impl Future<Output = Result<T, Failure>> + Send + 'static
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (mut done, ended) = oneshot::channel();
    let handle = Handle::current();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let worked = panics::caught(|| {
            handle.block_on(async {
                tokio::select! {
                    biased;
                    () = done.closed() => Err(Failure::Cancelled),
                    worked = async { work().await } => Ok(worked),
                }
            })
        });
        let worked = worked.unwrap_or_else(|panicked| Err(Failure::Panicked(panicked)));
        // Whoever waited may be gone.
        done.send(worked).ok();
    });
    async move {
        match started {
            // Its end is waited for, and it ends by itself.
            Ok(_thread) => ended.await.unwrap_or(Err(Failure::Cancelled)),
            Err(error) => Err(Failure::NoThread(error)),
        }
    }
}

fn cancelled(error: &JoinError) -> Failure {
    // Panics are caught within the task.
    debug_assert!(error.is_cancelled(), "{error}");
    Failure::Cancelled
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

/// What a job gives back that ended without an event: it is unread, or has failed.
fn failed(obligation: Obligation, failure: &Failure) -> Event {
    let fault = Fault {
        side: None,
        what: format!("driftd itself failed: {failure}"),
        remedy: match failure {
            Failure::NoThread(_) => "let driftd have more threads (`ulimit -u`, `TasksMax=`), or lower `checks.concurrency`",
            Failure::Panicked(_) | Failure::Cancelled => {
                "this is a fault of driftd; please report it with the log"
            }
        }
        .to_owned(),
        code: FaultCode::Internal,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> Tasks {
        Tasks::new(Vec::new(), Vec::new(), JournalPath::from("journal"))
    }

    #[tokio::test]
    async fn whatever_panics_answers_for_itself_and_what_runs_beside_it_goes_on() {
        let mut tasks = tasks();
        tasks.spawn(Obligation::Hook { job: 7 }, async { panic!("secret") });
        let check = aside("check", async || panic!("secret"));
        tasks.own(Obligation::Check { check: 3, began: Moment(1) }, check);
        tasks.spawn(Obligation::Hook { job: 8 }, async {
            Event::HookEnded { job: 8, success: true, detail: String::new() }
        });
        let mut ended = Vec::new();
        while let Some(event) = tasks.next().await {
            ended.push(event);
        }
        assert_eq!(ended.len(), 3, "{ended:?}");
        let told: Vec<String> = ended
            .into_iter()
            .filter_map(|event| {
                if let Event::Checked { check: 3, outcome, .. } = event {
                    assert_eq!(outcome.unread.len(), 1);
                    return Some(outcome.unread[0].fault.what.clone());
                }
                let Event::HookEnded { job, success, detail } = event else {
                    panic!("{event:?}");
                };
                assert_eq!(success, job == 8);
                (!success).then_some(detail)
            })
            .collect();
        assert_eq!(told.len(), 2, "{told:?}");
        for told in told {
            assert!(told.contains("run/tasks.rs:") && !told.contains("secret"), "{told}");
        }
    }

    #[tokio::test]
    async fn a_thread_that_nobody_waits_for_ends() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let waiting = aside("check", async move || {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(waiting);
        assert_eq!(gone.recv().await, None);
    }
}
