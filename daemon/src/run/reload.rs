//! Plugins exchanged while the daemon runs.
//!
//! Owns what a reload takes over, its preparation aside, and its answer. Refuses to decide when the
//! exchange happens: the engine does, when nothing of a pairing is in flight. Invariant: until
//! everything is prepared nothing has changed; what is refused leaves all as it was and is told in the
//! words of a start; and one reload is under way at a time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use crate::api::{Answer, Asked, Exchanged, PairingChange, PluginChange, Refused, Shared};
use crate::check::Context;
use crate::config::{self, MappingSettings, Settings};
use crate::engine::{Event, Spec};
use crate::journal;
use crate::model::{MappingIdentity, Moment};
use crate::plan::Reading;
use crate::plugin::wasm::Loaded;
use crate::report::Reloads;
use crate::run::held::{Held, Tried, attempt};
use crate::run::loading::{Faults, Stores, load_again};
use crate::run::start::{self, Binder, Started};
use crate::run::tasks::Failure;
use crate::run::unstarted::{self, StartError};
use crate::run::watching::Watching;
use crate::run::{Clock, Purpose, Signals, tasks};

/// Reloads that may wait for the one under way.
const WAITING_MAX: usize = 16;

/// What a reload stands on; it changes none of it.
#[derive(Clone)]
pub(super) struct Ground {
    /// The file that settings are read from.
    pub(super) file: PathBuf,
    /// What it said at start.
    pub(super) begun: Settings,
    pub(super) stores: Stores,
    pub(super) secrets: journal::Identity,
    pub(super) clock: Clock,
    pub(super) watching: Arc<Watching>,
    pub(super) signals: Signals,
    pub(super) shared: Arc<Shared>,
}

/// What a reload exchanges.
#[derive(Clone)]
pub(super) struct Generation {
    pub(super) settings: Settings,
    pub(super) plugins: BTreeMap<String, Loaded>,
    /// By the pairing's position: what its results hold under, and how it is read.
    pairings: Vec<(MappingIdentity, Reading)>,
}

/// Reloads, one after the other.
pub(super) struct Reloading {
    /// None: there is no file to read again.
    ground: Option<Arc<Ground>>,
    running: Arc<Generation>,
    /// Pairings that cannot be begun.
    held: Held,
    asked: mpsc::Receiver<Asked>,
    stage: Stage,
    /// Who waits for the answer, if anybody does.
    answer: Option<Asked>,
    last: Reloads,
}

enum Stage {
    Idle,
    Preparing(BoxFuture<'static, Result<Result<Box<Prepared>, Refused>, Failure>>),
    /// Pairings that could not be begun are tried.
    Trying(BoxFuture<'static, Result<Tried, Failure>>),
    Exchanging {
        /// What is running when all are exchanged.
        next: Arc<Generation>,
        done: Exchanged,
        /// Pairings that wait for their exchange, by position.
        waiting: BTreeMap<usize, Arc<Context>>,
    },
    Stopped,
}

/// Everything for an exchange.
pub(super) struct Prepared {
    generation: Generation,
    /// Pairings whose plugin is another in any way, by position.
    ready: Vec<(usize, Arc<Context>, Spec)>,
    done: Exchanged,
    /// All that the file says now, for pairings that could not be begun.
    read: Settings,
}

/// Something for `run` to carry on.
pub(super) enum Turn {
    /// Somebody asks for a reload; none: by a signal.
    Asked(Option<Asked>),
    /// A reload was prepared, or cannot be.
    Prepared(Result<Box<Prepared>, Refused>),
    /// Pairings that cannot be begun are due.
    Due,
    /// They were tried.
    Tried(Box<Tried>),
}

/// What a turn calls for.
#[derive(Default)]
pub(super) struct Calls {
    /// Contexts that replace others at once, by the pairing's position.
    pub(super) contexts: Vec<(usize, Arc<Context>)>,
    /// Contexts of pairings that take the next positions.
    pub(super) joined: Vec<Arc<Context>>,
    /// What the engine must be told.
    pub(super) event: Option<Event>,
}

impl Reloading {
    /// Takes reloads from now on, if there is a file to read again.
    pub(super) fn new(
        file: Option<PathBuf>,
        (begun, started): (Settings, Started),
        secrets: journal::Identity,
        (clock, watching, signals, shared): (Clock, Arc<Watching>, Signals, Arc<Shared>),
    ) -> Self {
        let Started { specs, plugins, stores, unstarted, contexts: _ } = started;
        let begins = |name: &str| specs.iter().any(|spec| spec.name == name);
        let mut settings = begun.clone();
        settings.pairings.retain(|pairing| begins(&pairing.name));
        let pairings = specs.into_iter().map(|spec| (spec.identity, spec.reading)).collect();
        let running = Arc::new(Generation { settings, plugins, pairings });
        let held = Held::new(&begun, unstarted, clock.now());
        let (asking, asked) = mpsc::channel(WAITING_MAX);
        let last = Reloads { successful: true, at: clock.now() };
        let ground = file.map(|file| {
            shared.set_reloads(Some(asking));
            Arc::new(Ground { file, begun, stores, secrets, clock, watching, signals, shared })
        });
        let stage = if ground.is_some() { Stage::Idle } else { Stage::Stopped };
        Self { ground, running, held, asked, stage, answer: None, last }
    }

    /// How the last reload ended.
    pub(super) const fn last(&self) -> Reloads {
        self.last
    }

    /// Waits for the next turn: a question while nothing is under way, else the end of what is.
    pub(super) async fn next(&mut self, hangup: &mut watch::Receiver<u64>) -> Turn {
        let due = self.held.due.zip(self.ground.as_ref());
        let due = async move {
            match due {
                Some((due, ground)) => ground.clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        match &mut self.stage {
            Stage::Idle => tokio::select! {
                () = due => Turn::Due,
                Some(asked) = self.asked.recv() => Turn::Asked(Some(asked)),
                Ok(()) = hangup.changed() => Turn::Asked(None),
                else => std::future::pending().await,
            },
            Stage::Preparing(prepared) => {
                Turn::Prepared(prepared.await.unwrap_or_else(|error| Err(failed(&error))))
            }
            Stage::Trying(tried) => match tried.await {
                Ok(tried) => Turn::Tried(Box::new(tried)),
                // As after any other try that came to nothing.
                Err(error) => {
                    tracing::error!(target: "driftd", "{}", failed(&error).reasons.join("; "));
                    Turn::Tried(Box::new(Tried {
                        unstarted: self.held.unstarted.clone(),
                        ..Tried::default()
                    }))
                }
            },
            Stage::Exchanging { .. } | Stage::Stopped => std::future::pending().await,
        }
    }

    /// Carries a turn on.
    pub(super) fn take(&mut self, turn: Turn) -> Calls {
        let Some(ground) = &self.ground else { return Calls::default() };
        match turn {
            Turn::Asked(answer) => {
                tracing::info!(target: "driftd", file = %ground.file.display(), "reloading");
                self.answer = answer;
                let (ground, running) = (Arc::clone(ground), Arc::clone(&self.running));
                let prepared =
                    tasks::aside("reload", async move || prepare(&ground, &running).await);
                self.stage = Stage::Preparing(prepared.boxed());
                Calls::default()
            }
            Turn::Prepared(Err(refused)) => {
                self.end(Answer::Refused(refused));
                Calls::default()
            }
            Turn::Prepared(Ok(mut prepared)) => {
                let now = ground.clock.now();
                // What the file says of them is taken over at once.
                prepared.done.restart.retain(|what| !self.held.is_of(what));
                self.held.read_again(&prepared.read, now);
                self.exchange(prepared)
            }
            Turn::Due => {
                let (ground, running) = (Arc::clone(ground), Arc::clone(&self.running));
                let (settings, unstarted) =
                    (self.held.settings.clone(), self.held.unstarted.clone());
                self.held.due = None;
                let tried = tasks::aside("reload", async move || {
                    attempt(&ground, &running, settings, unstarted).await
                });
                self.stage = Stage::Trying(tried.boxed());
                Calls::default()
            }
            Turn::Tried(tried) => self.join(*tried),
        }
    }

    /// Takes in the pairings that can be begun now.
    fn join(&mut self, tried: Tried) -> Calls {
        self.stage = Stage::Idle;
        let Tried { ready, unstarted, stores, plugins } = tried;
        let Some(ground) = &mut self.ground else { return Calls::default() };
        self.held.tried(unstarted, ground.clock.now());
        if ready.is_empty() {
            return Calls::default();
        }
        let mut next = Generation::clone(&self.running);
        next.plugins.extend(plugins);
        let mut calls = Calls::default();
        let mut specs = Vec::new();
        for (settings, context, spec) in ready {
            next.pairings.push((spec.identity, spec.reading.clone()));
            next.settings.pairings.push(settings);
            calls.joined.push(context);
            specs.push(spec);
        }
        let mut all = ground.stores.clone();
        all.extend(stores);
        *ground = Arc::new(Ground { stores: all, ..Ground::clone(ground) });
        self.running = Arc::new(next);
        calls.event = Some(Event::Joined(specs));
        calls
    }

    fn exchange(&mut self, prepared: Box<Prepared>) -> Calls {
        let Prepared { generation, ready, done, read: _ } = *prepared;
        let (mut calls, mut specs, mut waiting) = (Calls::default(), Vec::new(), BTreeMap::new());
        for (index, context, spec) in ready {
            if spec.identity == self.running.pairings[index].0 {
                // Other limits: what it finds is the same, and the pass goes on.
                calls.contexts.push((index, context));
            } else {
                waiting.insert(index, context);
                specs.push((index, spec));
            }
        }
        let next = Arc::new(generation);
        if waiting.is_empty() {
            self.running = next;
            self.end(Answer::Done(done));
        } else {
            self.stage = Stage::Exchanging { next, done, waiting };
            calls.event = Some(Event::Remap(specs));
        }
        calls
    }

    /// The engine has exchanged a pairing's mapping: with what its jobs are done from now on.
    pub(super) fn exchanged(&mut self, index: usize) -> Option<Arc<Context>> {
        let Stage::Exchanging { next, done, waiting } = &mut self.stage else { return None };
        let context = waiting.remove(&index);
        if waiting.is_empty() {
            self.running = Arc::clone(next);
            let done = std::mem::take(done);
            self.end(Answer::Done(done));
        }
        context
    }

    /// Nothing is begun any more: whoever waits is told so.
    pub(super) fn stop(&mut self) {
        if let Some(ground) = &self.ground {
            ground.shared.set_reloads(None);
        }
        let stopping = "driftd is stopping; the next start takes the file as it is";
        match std::mem::replace(&mut self.stage, Stage::Stopped) {
            Stage::Idle | Stage::Trying(_) | Stage::Stopped => {}
            Stage::Preparing(_) | Stage::Exchanging { .. } => self.end(Answer::busy(stopping)),
        }
        self.stage = Stage::Stopped;
        self.asked.close();
        while let Ok(asked) = self.asked.try_recv() {
            // Who does not wait for the answer any more need not have it.
            asked.send(Answer::busy(stopping)).ok();
        }
    }

    /// A reload ended.
    fn end(&mut self, answer: Answer) {
        self.stage = Stage::Idle;
        let at = self.ground.as_ref().map_or(Moment(0), |ground| ground.clock.now());
        match &answer {
            Answer::Done(_) => {
                self.last = Reloads { successful: true, at };
                tracing::info!(target: "driftd", "{answer}");
            }
            Answer::Refused(_) => {
                self.last.successful = false;
                tracing::error!(target: "driftd", "{answer}");
            }
        }
        if let Some(asked) = self.answer.take() {
            asked.send(answer).ok();
        }
    }
}

fn failed(failure: &Failure) -> Refused {
    let reason = format!("driftd itself failed: {failure}; please report it with the log");
    Refused { reasons: vec![reason], ..Refused::default() }
}

/// Reads the file again, and makes everything ready that it has other.
async fn prepare(ground: &Ground, running: &Generation) -> Result<Box<Prepared>, Refused> {
    let read = config::load(&ground.file);
    let read = read
        .and_then(|read| read.require_pairings().map(|()| read))
        .map_err(|errors| Refused { reasons: vec![errors.to_string()], ..Refused::default() })?;
    if !read.warnings.is_empty() {
        let warnings = read.warnings.render(config::Display::Plain);
        tracing::warn!(target: "driftd", "{}", warnings.trim_end());
    }
    let restart = ground.begun.changed_beside_plugins(&read.settings);
    let settings = running.settings.with_plugins_of(&read.settings);
    let read = read.settings;
    match bind(ground, running, settings, read).await {
        Ok(mut prepared) => {
            prepared.done.restart.splice(0..0, restart);
            Ok(Box::new(prepared))
        }
        Err(error) => {
            let busy = matches!(error, StartError::Stopped);
            Err(Refused { busy, reasons: error.reasons(), restart })
        }
    }
}

/// What is wrong with plugins. What only pairings use that could not be begun is told when these are
/// tried again.
fn refusing(faults: &Faults, settings: &Settings, read: &Settings) -> Vec<Arc<StartError>> {
    let uses = |settings: &Settings, plugin: &str| {
        settings
            .pairings
            .iter()
            .any(|one| matches!(&one.mapping, MappingSettings::Plugin(name) if name == plugin))
    };
    let own = |plugin: &str| uses(settings, plugin) || !uses(read, plugin);
    let faults = faults.plugins.iter().filter(|(plugin, _)| own(plugin));
    faults.map(|(_, fault)| Arc::clone(fault)).collect()
}

/// Loads, binds and tries the plugins of `settings` that are others than those that are running.
async fn bind(
    ground: &Ground,
    running: &Generation,
    settings: Settings,
    read: Settings,
) -> Result<Prepared, StartError> {
    let mut faults = Faults::default();
    let plugins = load_again(&settings, &running.plugins, &mut faults);
    let mut refused = refusing(&faults, &settings, &read);
    let mut done = Exchanged { file: settings.lines.file().to_owned(), ..Exchanged::default() };
    for (name, old) in &running.plugins {
        let Some(new) = plugins.get(name) else { continue };
        done.plugins.push(PluginChange {
            plugin: name.clone(),
            was: old.digest().to_owned(),
            digest: new.digest().to_owned(),
            changed: !new.is_same(old),
        });
    }
    let binder =
        Binder { settings: &settings, plugins, secrets: &ground.secrets, clock: &ground.clock };
    let waiting = start::Waiting {
        purpose: Purpose::Daemon,
        patience: false,
        proves: true,
        clock: &ground.clock,
        watching: &ground.watching,
        signals: &ground.signals,
        shared: &ground.shared,
    };
    let (since, stores) = (ground.clock.now(), &ground.stores);
    let waiting = &waiting;
    let asked = start::Asked { settings: &settings, stores, waiting, faults: &faults, since };
    let mut silent = BTreeMap::new();
    let (mut ready, mut pairings) = (Vec::new(), running.pairings.clone());
    for (index, pairing) in settings.pairings.iter().enumerate() {
        let MappingSettings::Plugin(plugin) = &pairing.mapping else { continue };
        let (was, reading) = running.pairings[index].clone();
        let changed = done.plugins.iter().any(|one| one.plugin == *plugin && one.changed);
        let bound = match changed {
            false => None,
            true => match asked.ready(pairing, &binder, &mut silent).await? {
                Ok(bound) => Some(bound),
                Err(wrong) => {
                    refused.extend(wrong);
                    None
                }
            },
        };
        let mut identity = was;
        match bound {
            // Its pass goes on, and cannot go on so.
            Some((_, spec)) if spec.identity == was && spec.reading != reading => {
                done.restart.push(format!("pairings.{} (its relations)", pairing.name));
            }
            Some((context, spec)) => {
                identity = spec.identity;
                pairings[index] = (spec.identity, spec.reading.clone());
                ready.push((index, Arc::new(context), spec));
            }
            None => {}
        }
        done.pairings.push(PairingChange {
            pairing: pairing.name.clone(),
            was: was.to_string(),
            identity: identity.to_string(),
            changed: identity != was,
        });
    }
    let plugins = binder.plugins;
    // What a plugin's own fault keeps from binding has told it.
    unstarted::all(refused)?;
    Ok(Prepared { generation: Generation { settings, plugins, pairings }, ready, done, read })
}
