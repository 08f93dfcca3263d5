//! Wiring: the only clock, the only spawn, bounded channels, and the carrying out of decisions.
//!
//! Owns start, the loop, and shutdown. Refuses to decide anything: it carries events to the engine
//! and decisions from it. Invariant: journal, then report, then hook; a commit that fails stops the
//! process.

mod attributes;
mod clock;
mod deliver;
mod differing;
mod held;
mod loading;
mod reload;
mod sampling;
mod selftest;
mod sides;
mod start;
mod surveying;
mod tasks;
#[cfg(test)]
mod tests;
mod unstarted;
mod watching;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::api::{self, Shared, Socket, SocketFile};
use crate::check::Context;
use crate::config::Settings;
use crate::engine::{self, Decision, Engine, Event, HookTiming, Until};
use crate::journal::{self, Journal, JournalError};
use crate::model::{Fault, Finding, Moment, Note, PairingStatus, Subject};
use crate::report::metrics::Extras;
use crate::report::{Identity, Report, ReportError, SinkError, events, panics};

pub use crate::check::Unspoken;
pub use clock::Clock;
pub use differing::{Differing, DifferingKey, differing};
pub use sampling::{Sample, Sampled, Sampling, sample};
pub use start::Supplied;
pub use surveying::{Surveyed, survey};
pub use unstarted::{Refusal, StartError};

use deliver::Delivery;
use reload::Reloading;
use tasks::Tasks;
use watching::{Told, Watching};

/// How often commands that people left in the journal are looked for.
const COMMANDS_EVERY: Duration = Duration::from_millis(500);
/// How often the journal drops what is past its time.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// How often metrics are brought up to date.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);
/// How long the last telemetry may take.
const TELEMETRY_STOP: Duration = Duration::from_secs(5);

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `run`: for ever, with the configured journal, hooks and sinks.
    Daemon,
    /// `verify`: one pass, with a journal that ends with the process; no hooks, no drift events.
    Verify,
}

/// Why a run ended badly.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not begin.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The journal cannot be read or written.
    #[error("driftd stops, because what it decides must be kept")]
    Journal(#[from] JournalError),
    /// Telemetry cannot be set up.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The sink of drift events cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The address for health and metrics cannot be used.
    #[error("cannot listen on {address} for health and metrics; choose another `http.listen`")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// How far each pairing came.
    pub statuses: Vec<PairingStatus>,
    /// The findings that stand.
    pub findings: Vec<Finding>,
    /// Whether it was asked to stop, and everything in flight ended within the grace.
    pub stopped: Option<bool>,
    /// Pairings that could not be begun.
    pub refused: Vec<Refusal>,
    /// What the pairings were read with.
    read_with: ReadWith,
}

/// What pairings were read with, by position.
#[derive(Clone, Debug)]
struct ReadWith {
    contexts: Contexts,
    specs: Vec<engine::Spec>,
    clock: Clock,
}

impl Ended {
    /// Reads the partition of a finding once more, and hands out every key that differs there now, part
    /// by part. Returns what could not be read. Of a finding of a single key there is nothing to read.
    pub async fn differing(&self, finding: &Finding, each: impl FnMut(DifferingKey)) -> Vec<Fault> {
        let Subject::Partition { partition, .. } = &finding.subject else { return Vec::new() };
        let ReadWith { contexts, specs, clock } = &self.read_with;
        let found = contexts.iter().zip(specs).find(|(_, spec)| spec.name == finding.pairing);
        let Some((context, spec)) = found else { return Vec::new() };
        let unread = differing::read(context, spec, *partition, clock, each).await;
        unread.into_iter().map(|unread| unread.fault).collect()
    }
}

/// Something to be told to whoever watches a run.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The time.
    pub now: Moment,
    /// How far each pairing has come.
    pub statuses: &'a [PairingStatus],
    /// What happened.
    pub notes: &'a [Note],
}

/// What comes from outside while a run goes on.
#[derive(Clone, Debug)]
pub struct Signals {
    /// Turns true when the run must end.
    pub stop: watch::Receiver<bool>,
    /// Counts up whenever the file of drift events must be opened again.
    pub reopen: watch::Receiver<u64>,
    /// Counts up whenever plugins must be loaded again. What is not watched never does.
    pub reload: watch::Receiver<u64>,
}

impl Signals {
    /// Those of the process: SIGTERM and SIGINT stop, SIGUSR1 opens the file of drift events again. A
    /// second SIGINT ends at once.
    ///
    /// # Errors
    /// If the system refuses to hand them over.
    pub fn of_process() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut user = signal(SignalKind::user_defined1())?;
        let (stop, stopped) = watch::channel(false);
        let (reopen, reopened) = watch::channel(0);
        tasks::detach(async move {
            loop {
                tokio::select! {
                    _ = term.recv() => { stop.send_replace(true); }
                    _ = interrupt.recv() => {
                        if stop.send_replace(true) {
                            std::process::exit(130);
                        }
                    }
                    _ = user.recv() => reopen.send_modify(|count| *count += 1),
                }
            }
        });
        let (_, reload) = watch::channel(0);
        Ok(Self { stop: stopped, reopen: reopened, reload })
    }

    /// Those of a daemon: SIGHUP, too, which loads plugins again. It ends a command as ever, whose
    /// terminal has gone.
    ///
    /// # Errors
    /// If the system refuses to hand them over.
    pub fn of_daemon() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let (hung_up, reload) = watch::channel(0);
        tasks::detach(async move {
            while hangup.recv().await.is_some() {
                hung_up.send_modify(|count| *count += 1);
            }
        });
        Ok(Self { reload, ..Self::of_process()? })
    }
}

/// Runs until it is done or stopped. `supplied` are stores and code that do not come from the
/// configuration; `watch` is called after every decision.
///
/// # Errors
/// If it cannot begin, or what it decides cannot be kept.
pub async fn run(
    settings: Settings,
    purpose: Purpose,
    supplied: Supplied,
    signals: Signals,
    mut watch: impl FnMut(View<'_>),
) -> Result<Ended, RunError> {
    let clock = Clock::new();
    let mut journal = journal(&settings, purpose, &clock)?;
    let secrets = journal.identity().clone();
    let identity = Identity::new(&settings.report, secrets.journal.clone(), secrets.hmac_key);
    let environment = crate::report::environment;
    let report = Report::start(&settings.report, identity.clone(), &environment)?;
    let shared = Arc::new(Shared::new(clock.shared(), report.metrics(), connecting(&settings)));
    let (ended, over) = watch::channel(false);
    serve(&settings, purpose, &shared, over.clone()).await?;
    // Dropped before the journal, whose lock says whose socket it is.
    let control = match purpose {
        Purpose::Daemon => control(&settings.journal.path, &shared, over),
        Purpose::Verify => None,
    };
    let file = supplied.file.clone();
    let watching = Arc::new(Watching::new(&clock));
    let started = {
        let (patience, proves, watching) = (true, true, &*watching);
        let (clock, signals, shared) = (&clock, &signals, &shared);
        let waiting =
            start::Waiting { purpose, patience, proves, clock, watching, signals, shared };
        start::start(&settings, supplied, &secrets, waiting).await
    };
    let started = match started {
        Ok(started) => started,
        Err(error) => {
            stop_report(report).await;
            return Err(error.into());
        }
    };
    let (refused, held) = unstarted::refused(purpose, &started.unstarted);
    let engine_settings = engine_settings(&settings, purpose, started.specs.clone());
    let saved = journal.load()?;
    let told = watching.told(&saved.outages, &settings.pairings);
    let engine = Engine::with_held(engine_settings, held, saved, clock.now());
    let delivery = delivery(&settings, purpose)?;
    journal.tidy(clock.now())?;
    let lock_path = settings.journal.path.clone();
    let tasks = Tasks::new(started.contexts.clone(), settings.hooks.clone(), lock_path);
    let (grace, tidied) = (settings.grace, clock.now());
    let own = (clock.clone(), Arc::clone(&watching), signals.clone(), Arc::clone(&shared));
    let run = Run {
        specs: started.specs.clone(),
        control,
        purpose,
        engine,
        journal,
        report,
        identity,
        shared,
        clock,
        delivery,
        tasks,
        told,
        _watching: watching,
        reloading: Reloading::new(file, (settings, started), secrets, own),
        grace,
        statuses: Vec::new(),
        observed: Moment::default(),
        tidied,
        commands_at: Moment::default(),
        refused,
    };
    run.shared.set_unready(Vec::new());
    let result = run.go(signals, &mut watch).await;
    ended.send_replace(true);
    result
}

fn journal(settings: &Settings, purpose: Purpose, clock: &Clock) -> Result<Journal, JournalError> {
    match purpose {
        Purpose::Daemon => Journal::open(&settings.journal, clock.now()),
        Purpose::Verify => Journal::in_memory(),
    }
}

/// Why a run is not ready at first.
fn connecting(settings: &Settings) -> Vec<String> {
    let stores = settings.stores.iter().map(|store| store.name.as_str());
    stores.map(|name| format!("store `{name}` is being connected")).collect()
}

/// Where drift events go.
fn delivery(settings: &Settings, purpose: Purpose) -> Result<Delivery, RunError> {
    Ok(match purpose {
        Purpose::Daemon => Delivery::open(&settings.report.events)?,
        Purpose::Verify => Delivery::nowhere()?,
    })
}

fn engine_settings(
    settings: &Settings,
    purpose: Purpose,
    pairings: Vec<engine::Spec>,
) -> engine::Settings {
    let mut abort = settings.abort.clone();
    if purpose == Purpose::Verify {
        abort.criteria.clear();
    }
    let timing = |hook: &crate::hook::Settings| HookTiming {
        name: hook.name.clone(),
        deadline: hook.deadline,
        backoff: hook.backoff,
    };
    let until = match purpose {
        Purpose::Daemon => Until::Stopped,
        Purpose::Verify => Until::OnePass,
    };
    let hooks = settings.hooks.iter().map(timing).collect();
    let slots = settings.checks.concurrency;
    engine::Settings { pairings, abort, hooks, until, slots }
}

/// Serves health and metrics until the run is over.
async fn serve(
    settings: &Settings,
    purpose: Purpose,
    shared: &Arc<Shared>,
    mut over: watch::Receiver<bool>,
) -> Result<(), RunError> {
    let (Some(address), Purpose::Daemon) = (settings.listen, purpose) else { return Ok(()) };
    let listener =
        TcpListener::bind(address).await.map_err(|source| RunError::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    tracing::info!(target: "driftd", %address, "health and metrics are served");
    let shared = Arc::clone(shared);
    tasks::detach(async move {
        // An error means that the run is gone, and with it the reason to serve.
        api::serve(listener, shared, async move {
            over.wait_for(|over| *over).await.ok();
        })
        .await;
    });
    Ok(())
}

/// Serves the control socket beside the journal until the run is over. Without it the daemon is still
/// a daemon: it can be reloaded by a signal.
fn control(
    journal: &Path,
    shared: &Arc<Shared>,
    mut over: watch::Receiver<bool>,
) -> Option<SocketFile> {
    let (socket, file) = match Socket::listen(&journal::control_socket(journal)) {
        Ok(socket) => socket,
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            let cause = cause.unwrap_or_default();
            tracing::warn!(target: "driftd", "{error}{cause}; until then only SIGHUP reloads");
            return None;
        }
    };
    let shared = Arc::clone(shared);
    tasks::detach(async move {
        api::serve_control(socket, shared, async move {
            over.wait_for(|over| *over).await.ok();
        })
        .await;
    });
    Some(file)
}

/// Tells telemetry something. What it makes of it must not end the run.
fn telemetry(tell: impl FnOnce()) {
    if let Err(panicked) = panics::caught(tell) {
        tracing::error!(target: "driftd", "driftd itself failed to report: {panicked}");
    }
}

async fn stop_report(report: Report) {
    let stopped = tokio::task::spawn_blocking(move || report.stop(TELEMETRY_STOP)).await;
    if let Err(error) = stopped {
        tracing::warn!(target: "driftd", %error, "telemetry did not stop");
    }
}

/// A run under way.
struct Run {
    /// First, so that it is gone before the journal lets another daemon in.
    control: Option<SocketFile>,
    purpose: Purpose,
    engine: Engine,
    journal: Journal,
    report: Report,
    identity: Identity,
    shared: Arc<Shared>,
    clock: Clock,
    delivery: Delivery,
    tasks: Tasks,
    told: Told,
    /// Stores are looked for as long as this is there.
    _watching: Arc<Watching>,
    reloading: Reloading,
    grace: Duration,
    statuses: Vec<PairingStatus>,
    observed: Moment,
    tidied: Moment,
    commands_at: Moment,
    /// What pairings began with, by position.
    specs: Vec<engine::Spec>,
    /// Pairings that could not be begun when it began.
    refused: Vec<Refusal>,
}

impl Run {
    async fn go(
        mut self,
        mut signals: Signals,
        watch: &mut impl FnMut(View<'_>),
    ) -> Result<Ended, RunError> {
        let mut event = Event::Started;
        let mut deadline: Option<Moment> = None;
        let stopped = loop {
            let now = self.clock.now();
            let decision = self.engine.apply(now, event);
            let (wake, finished) = (decision.wake, decision.finished);
            self.carry_out(decision, now, watch)?;
            if finished {
                break deadline.map(|_| true);
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                tracing::warn!(
                    target: "driftd",
                    "the grace is over: what is in flight is let go, and read again after the restart"
                );
                break Some(false);
            }
            event = self.next(now, wake, deadline, &mut signals).await?;
            if matches!(event, Event::Drain) {
                deadline = Some(self.clock.now().after(self.grace));
                self.shared.set_unready(vec!["driftd is shutting down".to_owned()]);
                self.reloading.stop();
                tracing::info!(target: "driftd", "stopping: nothing new is begun");
            }
        };
        drop(self.control.take());
        self.tasks.abandon();
        self.delivery.finish(&mut self.journal).await?;
        let ended = Ended {
            statuses: self.engine.statuses(),
            findings: self.engine.findings().cloned().collect(),
            stopped,
            refused: self.refused,
            read_with: ReadWith {
                contexts: self.tasks.contexts().clone(),
                specs: self.specs,
                clock: self.clock,
            },
        };
        stop_report(self.report).await;
        Ok(ended)
    }

    /// Makes a decision real: journal, then report, then jobs.
    fn carry_out(
        &mut self,
        decision: Decision,
        now: Moment,
        watch: &mut impl FnMut(View<'_>),
    ) -> Result<(), RunError> {
        let Decision { commit, remapped, jobs, notes, .. } = decision;
        let rendered: Vec<(u64, Vec<u8>)> = commit
            .occurrences
            .iter()
            .map(|occurrence| (occurrence.number, events::render(occurrence, &self.identity)))
            .collect();
        self.journal.commit(&commit, &rendered)?;
        for status in commit.status {
            match self.statuses.iter_mut().find(|known| known.pairing == status.pairing) {
                Some(known) => *known = status,
                None => self.statuses.push(status),
            }
        }
        for note in &notes {
            // A single pass prints what it found at its end; its log is for what is in the way.
            if self.purpose == Purpose::Daemon || !matches!(note, Note::Happened(_)) {
                telemetry(|| self.report.note(note));
            }
        }
        watch(View { now, statuses: &self.statuses, notes: &notes });
        for pairing in remapped {
            if let Some(context) = self.reloading.exchanged(pairing) {
                self.tasks.replace(pairing, context);
            }
        }
        for job in jobs {
            self.tasks.start(job, &self.journal, &self.clock)?;
        }
        self.delivery.pump(&mut self.journal, now)?;
        self.shared.beat(now);
        if now.since(self.observed) >= OBSERVE_EVERY {
            self.observed = now;
            self.shared.set_status(self.statuses.clone());
            self.shared.set_stores(self.told.states().clone());
            let extras = Extras {
                outbox: self.journal.outbox_depth()?,
                hooks_pending: self.journal.pending_hooks()?.len() as u64,
                criteria: self.engine.criteria(),
                stores: self.told.states().clone(),
                reloads: self.reloading.last(),
            };
            telemetry(|| self.report.observe(&self.statuses, extras, now));
        }
        if now.since(self.tidied) >= TIDY_EVERY {
            self.tidied = now;
            let tidied = self.journal.tidy(now)?;
            if tidied.over {
                tracing::warn!(
                    target: "driftd",
                    bytes = tidied.bytes,
                    "the journal is larger than `journal.size_max` and holds nothing more that may \
                     be dropped; raise it, or let drift events be delivered"
                );
            }
        }
        Ok(())
    }

    /// Waits for the next event.
    async fn next(
        &mut self,
        now: Moment,
        wake: Option<Moment>,
        deadline: Option<Moment>,
        signals: &mut Signals,
    ) -> Result<Event, RunError> {
        loop {
            if self.clock.now().since(self.commands_at) >= COMMANDS_EVERY {
                if let Some((id, command)) = self.journal.commands()?.into_iter().next() {
                    return Ok(Event::Commanded { id, command });
                }
                self.commands_at = self.clock.now();
            }
            let mut until = now.after(COMMANDS_EVERY);
            for moment in [wake, deadline].into_iter().flatten() {
                until = until.min(moment);
            }
            let draining = deadline.is_some();
            tokio::select! {
                biased;
                _ = signals.stop.wait_for(|stop| *stop), if !draining => return Ok(Event::Drain),
                Ok(()) = signals.reopen.changed() => self.delivery.reopen(),
                turn = self.reloading.next(&mut signals.reload) => {
                    let calls = self.reloading.take(turn);
                    for (pairing, context) in calls.contexts {
                        self.tasks.replace(pairing, context);
                    }
                    for context in calls.joined {
                        self.tasks.join(context);
                    }
                    if let Some(event) = calls.event {
                        return Ok(event);
                    }
                }
                (store, outage) = self.told.next() => {
                    let pairings = self.tasks.reading(&store);
                    return Ok(Event::Store { store, outage, pairings });
                }
                Some(event) = self.tasks.next() => return Ok(event),
                delivered = self.delivery.next() => {
                    delivered.settle(&mut self.journal)?;
                    self.delivery.pump(&mut self.journal, self.clock.now())?;
                }
                () = self.clock.sleep_until(until) => return Ok(Event::Tick),
            }
        }
    }
}

/// What checks need, by the pairing's position.
type Contexts = Vec<Arc<Context>>;

/// The path beside which hooks keep their locks.
type JournalPath = PathBuf;
