//! A seeded simulation of engine, checks, settling and journal in a faulty world.
//!
//! Owns the simulated run: it carries decisions out as `run` does, with a simulated clock, memory
//! stores, and jobs that take their time and end out of order. Refuses to judge: tests read the
//! record. Invariant: the same seed and the same calls give the same log.

pub mod judge;
pub mod relations;
mod seam;
pub mod world;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Waker};
use std::time::Duration;

use driftd::check::{self, Context};
use driftd::engine::{self, Decision, Engine, Event, HookTiming, Job, Until};
use driftd::journal::{self, Journal};
use driftd::model::{
    Commit, Digest, Direction, Extent, Happening, HookState, Leads, Moment, PairingStatus, Range,
    Ruled, Saved, Side, StoreStates, Verdict,
};
use driftd::store::Store;
use driftd::store::memory::{Handle, Memory};
use driftd::store::watched::{Board, Watch};
use driftd::{abort, plan, settle};
use futures::FutureExt;
use futures::future::BoxFuture;
use rand::Rng;
use tokio::sync::watch;

use relations::{Pairing, Shape};
pub use seam::{EXCLUDED, POISON, RUDE};
use seam::{Hanging, Lying, Passing};
use world::{Knobs, World};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Everything that is drawn is drawn from it.
    pub seed: u64,
    /// The world.
    pub knobs: Knobs,
    /// The pairing.
    pub pairing: Pairing,
    /// When the migration must stop.
    pub abort: abort::Settings,
    /// The hooks, by name, with the chance (of 100) that a try succeeds.
    pub hooks: Vec<(String, u32)>,
    /// How long the run goes on.
    pub until: Until,
    /// How many jobs that read are in flight at once.
    pub slots: NonZeroU32,
    /// The longest time that a job takes beside its reads, in milliseconds.
    pub job_millis: u64,
    /// The chance, of 1,000, that the process dies around a decision.
    pub crashes: u32,
    /// Where the journal is; none: in memory, where it survives the simulated process.
    pub journal: Option<PathBuf>,
    /// Whether stores lie about failed reads: broken on purpose.
    pub lying: bool,
    /// How long stores try one request, if it is watched whether they answer.
    pub patience: Option<Duration>,
}

impl Setting {
    /// A small world with everything in motion.
    #[must_use]
    pub fn new(seed: u64, shape: Shape) -> Self {
        let nonzero = |number| NonZeroU32::new(number).expect("not zero");
        Self {
            seed,
            knobs: Knobs::default(),
            pairing: Pairing {
                shape,
                leader: Side::Source,
                versioned: true,
                invariant: false,
                rule: false,
                blind: None,
                plan: plan::Settings {
                    partition_rows: nonzero(40),
                    page_rows: nonzero(16),
                    concurrency: nonzero(3),
                    rest: Duration::from_secs(5),
                    tries: nonzero(4),
                    backoff: Duration::from_secs(1),
                    seed: None,
                },
                settle: settle::Settings {
                    lag_budget: Duration::from_secs(12),
                    settle: Duration::from_secs(8),
                    first_wait: Duration::from_secs(1),
                    wait_max: Duration::from_secs(20),
                    looks_max: 20,
                    crowd: 20,
                    suspects_max: 400,
                    pause_max: Duration::from_secs(300),
                },
                window_rows: nonzero(160),
                seed,
            },
            abort: abort::Settings { mode: abort::Mode::Armed, criteria: Vec::new() },
            hooks: Vec::new(),
            until: Until::Stopped,
            slots: nonzero(1 + u32::try_from(seed % 8).expect("less than 8")),
            job_millis: 400,
            crashes: 0,
            journal: None,
            lying: false,
            patience: None,
        }
    }
}

/// Something that a test does to what passes between driftd's parts.
type Tamper<T> = Box<dyn FnMut(&mut T)>;

/// What is on its way.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a few are on their way at once")]
enum Pending {
    Begins(Job),
    Ends(Event),
}

/// What happened, as the outside saw it.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Committed occurrences, in order: number, when, what.
    pub occurrences: Vec<(u64, Moment, Happening)>,
    /// Hook runs that began: when, the job, the hook.
    pub runs: Vec<(Moment, u64, String)>,
    /// When the success of hook jobs was recorded.
    pub succeeded: BTreeMap<u64, Moment>,
    /// What must never be: found by the simulation itself.
    pub faults: Vec<String>,
    /// How often the process died.
    pub crashes: u32,
    /// The most suspects at once.
    pub suspects_max: u64,
    /// Every event and decision, in words.
    pub log: Vec<String>,
}

/// A check whose store does not answer, and what it is to say of the rule over its partition: what
/// the source held when it began.
struct Waiting {
    work: BoxFuture<'static, Event>,
    rule: Option<(Extent, BTreeMap<i64, i128>)>,
}

/// A simulated run.
pub struct Sim {
    world: Arc<Mutex<World>>,
    setting: Setting,
    stores: [Arc<dyn Store>; 2],
    /// Which of the stores hang.
    hangs: [Arc<AtomicBool>; 2],
    context: Arc<Context>,
    /// Those who look for stores that do not answer.
    attending: Vec<BoxFuture<'static, ()>>,
    board: watch::Receiver<StoreStates>,
    told: StoreStates,
    waiting: Vec<Waiting>,
    engine: Engine,
    journal: Option<Journal>,
    pending: BTreeMap<(Moment, u64), Pending>,
    sequence: u64,
    wake: Option<Moment>,
    finished: bool,
    /// What happened.
    pub record: Record,
    /// Changes commits on their way to the journal: a driver that is broken on purpose.
    pub tamper_commit: Option<Tamper<Commit>>,
    /// Changes events on their way to the engine: a driver that is broken on purpose.
    pub tamper_event: Option<Tamper<Event>>,
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("setting", &self.setting).finish_non_exhaustive()
    }
}

impl Sim {
    /// A world that nobody watches yet, and a run that begins.
    #[must_use]
    pub fn new(setting: Setting) -> Self {
        let (source, source_handle) = Memory::new("source", false);
        let (target, target_handle) = Memory::new("target", setting.knobs.refresh_every.is_some());
        let shape = setting.pairing.shape;
        let sides = (shape, setting.pairing.leader);
        let handles = [source_handle, target_handle];
        let world = World::new(setting.seed, setting.knobs.clone(), sides, handles);
        let world = Arc::new(Mutex::new(world));
        let hangs = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let stores = [Arc::new(source) as Arc<dyn Store>, Arc::new(target)].map(|store| {
            let store: Arc<dyn Store> = if setting.lying { Arc::new(Lying(store)) } else { store };
            let world = Arc::clone(&world);
            Arc::new(Passing::new(store, Arc::new(move || lock(&world).pass()))) as Arc<dyn Store>
        });
        let watched = watched(&setting, &world, &stores, &hangs);
        let context = setting.pairing.context(watched.stores, clock(&world));
        let now = lock(&world).now();
        let journal = open(&setting, now);
        let engine = Engine::new(
            engine_settings(&setting),
            journal.load().expect("an empty journal can be read"),
            now,
        );
        let mut sim = Self {
            world,
            setting,
            stores,
            hangs,
            context: Arc::new(context),
            attending: watched.attending,
            board: watched.board,
            told: StoreStates::new(),
            waiting: Vec::new(),
            engine,
            journal: Some(journal),
            pending: BTreeMap::new(),
            sequence: 0,
            wake: None,
            finished: false,
            record: Record::default(),
            tamper_commit: None,
            tamper_event: None,
        };
        sim.feed(Event::Started);
        sim
    }

    /// The world, to be changed.
    pub fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.world().now()
    }

    /// A store's handle.
    #[must_use]
    pub fn handle(&self, side: Side) -> Handle {
        self.world().handle(side).clone()
    }

    /// Whether a store answers nothing from now on.
    pub fn hang(&mut self, side: Side, hangs: bool) {
        let at = match side {
            Side::Source => 0,
            Side::Target => 1,
        };
        self.hangs[at].store(hangs, Ordering::Relaxed);
        self.look_around();
    }

    /// How many checks and looks wait for a store that does not answer.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How far the pairing has come.
    ///
    /// # Panics
    /// Never: there is one pairing.
    #[must_use]
    pub fn status(&self) -> PairingStatus {
        self.engine.statuses().into_iter().next().expect("there is a pairing")
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What the journal holds.
    ///
    /// # Panics
    /// Never: the journal is open and sound.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let journal = self.journal.as_ref().expect("the journal is open");
        journal.load().expect("the journal can be read")
    }

    /// Whether the run is over.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Goes on for some time.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now().after(time);
        self.run_until(until);
    }

    /// Goes on until a pass that began from now on is complete, at most `limit`; whether one was.
    pub fn run_pass(&mut self, limit: Duration) -> bool {
        let from = self.now();
        let end = from.after(limit);
        loop {
            let complete = self.record.occurrences.iter().any(|(_, _, what)| {
                matches!(what, Happening::PassCompleted { began, .. } if *began >= from)
            });
            if complete || self.now() >= end {
                return complete;
            }
            let next = self.now().after(Duration::from_secs(1));
            self.run_until(next);
        }
    }

    /// Goes on until `until`.
    pub fn run_until(&mut self, until: Moment) {
        while !self.finished {
            let job = self.pending.keys().next().map(|(at, _)| *at);
            let Some(next) = job.into_iter().chain(self.wake).min() else {
                self.record.faults.push("nothing is under way and nothing will be".to_owned());
                break;
            };
            if next > until {
                break;
            }
            self.world().advance(next);
            if job == Some(next) {
                self.go_on();
            } else {
                self.wake = None;
                self.feed(Event::Tick);
            }
            self.look_around();
        }
        self.world().advance(until);
    }

    /// Goes on with what waits, and tells how stores stand.
    fn look_around(&mut self) {
        let mut context = task::Context::from_waker(Waker::noop());
        for attending in &mut self.attending {
            assert!(attending.poll_unpin(&mut context).is_pending(), "it attends for ever");
        }
        for mut waiting in std::mem::take(&mut self.waiting) {
            match waiting.work.poll_unpin(&mut context) {
                Poll::Ready(event) => self.end(event, waiting.rule),
                Poll::Pending => self.waiting.push(waiting),
            }
        }
        let states = self.board.borrow_and_update().clone();
        for (store, outage) in states {
            if self.told.get(&store) != Some(&outage) {
                self.told.insert(store.clone(), outage.clone());
                self.feed(Event::Store { store, outage, pairings: vec![0] });
            }
        }
    }

    /// Gives the engine an event that comes from outside.
    pub fn feed(&mut self, mut event: Event) {
        if let Some(tamper) = &mut self.tamper_event {
            tamper(&mut event);
        }
        let now = self.now();
        self.record.log.push(format!("{} {}", now.0, judge::event(&event)));
        let decision = self.engine.apply(now, event);
        self.carry_out(now, decision);
    }

    /// The process dies; what was under way is gone. It starts again at once.
    pub fn crash(&mut self) {
        self.record.crashes += 1;
        self.record.log.push(format!("{} dies", self.now().0));
        self.pending.clear();
        self.waiting.clear();
        self.wake = None;
        let watched = watched(&self.setting, &self.world, &self.stores, &self.hangs);
        let context = self.setting.pairing.context(watched.stores, clock(&self.world));
        self.context = Arc::new(context);
        (self.attending, self.board) = (watched.attending, watched.board);
        self.told.clear();
        if self.setting.journal.is_some() {
            // The lock must be let go before the file can be opened again.
            self.journal = None;
            self.journal = Some(open(&self.setting, self.now()));
        }
        let saved = self.journal().load().expect("the journal can be read");
        self.engine = Engine::new(engine_settings(&self.setting), saved, self.now());
        self.feed(Event::Started);
    }

    /// What the engine counts as it goes must be what a walk over all findings counts.
    fn recount(&mut self) {
        let mut open = BTreeMap::new();
        let mut ignored = 0;
        let now = self.now();
        for finding in self.engine.findings() {
            match finding.counts(now) {
                true => *open.entry(finding.kind).or_insert(0) += finding.entities(),
                false => ignored += finding.entities(),
            }
        }
        let status = self.status();
        if (&status.open, status.ignored) != (&open, ignored) {
            let what = format!("{:?} are counted, and {open:?} are open", status.open);
            self.record.faults.push(what);
        }
    }

    fn journal(&mut self) -> &mut Journal {
        self.journal.as_mut().expect("the journal is open")
    }

    fn chance(&self, of: u32, all: u32) -> bool {
        of > 0 && self.world().rng.random_range(0..all) < of
    }

    /// Makes a decision real, as `run` does: journal, then what others see, then jobs.
    fn carry_out(&mut self, now: Moment, decision: Decision) {
        let Decision { mut commit, jobs, wake, finished, .. } = decision;
        if self.chance(self.setting.crashes, 2_000) {
            // Before the commit: the decision is lost.
            return self.crash();
        }
        self.recount();
        self.record.log.extend(judge::commit(&commit));
        let rendered: Vec<(u64, Vec<u8>)> = commit
            .occurrences
            .iter()
            .map(|one| (one.number, format!("{one:?}").into_bytes()))
            .collect();
        self.note(now, &commit);
        if let Some(tamper) = &mut self.tamper_commit {
            tamper(&mut commit);
        }
        let kept: Vec<u64> = commit.occurrences.iter().map(|one| one.number).collect();
        let rendered: Vec<_> =
            rendered.into_iter().filter(|(number, _)| kept.contains(number)).collect();
        if let Err(error) = self.journal().commit(&commit, &rendered) {
            self.record.faults.push(format!("the journal refuses a commit: {error:?}"));
            self.finished = true;
            return;
        }
        if self.chance(self.setting.crashes, 2_000) {
            // After the commit: its jobs are lost.
            return self.crash();
        }
        if wake.is_some_and(|wake| wake <= now) {
            self.record.faults.push(format!("woken at once, for ever, at {}", now.0));
        }
        // The daemon looks for commands twice a second, whatever the engine wishes.
        self.wake = wake.filter(|wake| *wake > now).or_else(|| Some(now.after(IDLE)));
        self.finished = finished;
        for job in jobs {
            self.record.log.push(format!("  {}", judge::job(&job)));
            let soon = self.draw(50);
            self.push(soon, Pending::Begins(job));
        }
    }

    /// What the outside sees of a commit.
    fn note(&mut self, now: Moment, commit: &Commit) {
        let last = self.record.occurrences.last().map_or(0, |(number, _, _)| *number);
        for (place, one) in commit.occurrences.iter().enumerate() {
            if one.number != last + 1 + place as u64 {
                let fault = format!("event {} comes after {last}, at place {place}", one.number);
                self.record.faults.push(fault);
            }
            self.record.occurrences.push((one.number, one.at, one.what.clone()));
        }
        for job in commit.hooks.iter().filter(|job| job.state == HookState::Succeeded) {
            self.record.succeeded.insert(job.id, now);
        }
        for status in &commit.status {
            self.record.suspects_max = self.record.suspects_max.max(status.suspects);
        }
    }

    fn draw(&self, millis: u64) -> Duration {
        Duration::from_micros(self.world().rng.random_range(0..=millis * 1_000))
    }

    fn push(&mut self, wait: Duration, pending: Pending) {
        self.sequence += 1;
        let at = self.now().after(wait);
        self.pending.insert((at, self.sequence), pending);
    }

    fn go_on(&mut self) {
        match self.pending.pop_first() {
            Some((_, Pending::Ends(event))) => self.feed(event),
            Some((_, Pending::Begins(job))) => self.carry_out_job(job),
            None => {}
        }
    }

    /// Reads what a job reads, now; time passes meanwhile. What is not answered waits.
    fn carry_out_job(&mut self, job: Job) {
        let began = self.now();
        let context = Arc::clone(&self.context);
        let mut rule = None;
        let work = match job {
            Job::Split { pairing, direction } => {
                let side = match direction {
                    Direction::Aligned => Leads(self.setting.pairing.leader).leader(),
                    Direction::FromSource => Side::Source,
                    Direction::FromTarget => Side::Target,
                };
                async move {
                    let split = check::split(context.side(side), context.partition_rows).await;
                    let extents = split.map_err(|error| check::store_fault(side, &error));
                    Event::Split { pairing, direction, extents, unmapped: BTreeMap::new() }
                }
                .boxed()
            }
            Job::Check { check, partition, crowd, .. } => {
                rule = Some((partition.extent, self.amounts(Side::Source, partition.extent)));
                async move {
                    let outcome = check::check(&context, &partition, crowd, began).await;
                    Event::Checked { check, began, outcome }
                }
                .boxed()
            }
            Job::Look { look, asked, .. } => async move {
                let result = check::look(&context, &asked, began).await;
                Event::Looked { look, result }
            }
            .boxed(),
            Job::Hook(job) => {
                self.record.runs.push((began, job.id, job.hook.clone()));
                let hooks = self.setting.hooks.iter();
                let chance = hooks.filter(|(name, _)| *name == job.hook).map(|(_, chance)| *chance);
                let success = self.chance(chance.max().unwrap_or(0), 100);
                let detail = if success { "done" } else { "exit status 1" }.to_owned();
                let event = Event::HookEnded { job: job.id, success, detail };
                std::future::ready(event).boxed()
            }
        };
        let mut waiting = Waiting { work, rule };
        match waiting.work.poll_unpin(&mut task::Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => self.end(event, waiting.rule),
            Poll::Pending => self.waiting.push(waiting),
        }
    }

    /// A job ends, after some time.
    fn end(&mut self, mut event: Event, rule: Option<(Extent, BTreeMap<i64, i128>)>) {
        if let (Event::Checked { outcome, .. }, Some((extent, before))) = (&mut event, rule) {
            let rest = outcome.rest;
            outcome.rules.extend(self.ruled((extent, rest), &before));
        }
        let wait = self.draw(self.setting.job_millis);
        self.push(wait, Pending::Ends(event));
    }
}

impl Sim {
    /// What a side holds for the rule over a whole partition, if there is one.
    fn amounts(&self, side: Side, extent: Extent) -> BTreeMap<i64, i128> {
        match extent {
            Extent::Range(keys) if self.setting.pairing.rule => self.world().amounts(side, &keys),
            Extent::Range(_) | Extent::Segment { .. } => BTreeMap::new(),
        }
    }

    /// What the rule says after a check that began when the source held these amounts. It says so
    /// whether all was read or not: the engine must know better.
    fn ruled(
        &self,
        (extent, rest): (Extent, Option<Extent>),
        before: &BTreeMap<i64, i128>,
    ) -> Option<Ruled> {
        let Extent::Range(range) = extent else { return None };
        // It comes after those that the mapping declares.
        let invariant = self.context.mapper.invariants().len();
        let until = match rest {
            Some(Extent::Range(rest)) => rest.from,
            Some(Extent::Segment { .. }) | None => range.until,
        };
        let read = Range { until, ..range };
        let sum = |amounts: &BTreeMap<i64, i128>| -> i128 {
            let read = amounts.iter().filter(|(id, _)| read.contains(i128::from(**id)));
            read.map(|(_, amount)| amount).sum()
        };
        if !self.setting.pairing.rule {
            return None;
        }
        let (source, target) = (sum(before), sum(&self.amounts(Side::Target, extent)));
        let broken = || Verdict::Broken(vec![format!("{source} is not {target}")]);
        let verdict = if source == target { Verdict::Holds } else { broken() };
        let state = Digest(source.cast_unsigned() << 64 ^ target.cast_unsigned());
        Some(Ruled { invariant, state, verdict })
    }
}

/// How often the daemon wakes by itself.
const IDLE: Duration = Duration::from_millis(500);

/// Stores as one process sees them.
struct Watched {
    stores: [Arc<dyn Store>; 2],
    attending: Vec<BoxFuture<'static, ()>>,
    board: watch::Receiver<StoreStates>,
}

/// Puts around stores what a daemon puts around them, if they are watched.
fn watched(
    setting: &Setting,
    world: &Arc<Mutex<World>>,
    stores: &[Arc<dyn Store>; 2],
    hangs: &[Arc<AtomicBool>; 2],
) -> Watched {
    let board = Board::default();
    let receiver = board.subscribe();
    let mut attending = Vec::new();
    let mut around = |at: usize| {
        let store = Arc::clone(&stores[at]);
        let Some(patience) = setting.patience else { return store };
        let hanging = Hanging::new(store, Arc::clone(&hangs[at]), patience, clock(world));
        let hanging: Arc<dyn Store> = Arc::new(hanging);
        let watch = Watch::new(Arc::clone(&hanging), patience, clock(world), board.clone());
        let (attended, now) = (Arc::clone(&watch), clock(world));
        let sleep = move |until: Moment| -> BoxFuture<'static, ()> {
            let now = Arc::clone(&now);
            let due = move |_: &mut task::Context<'_>| match now() >= until {
                true => Poll::Ready(()),
                false => Poll::Pending,
            };
            std::future::poll_fn(due).boxed()
        };
        attending.push(async move { attended.attend(&sleep).await }.boxed());
        watch.over(hanging)
    };
    let stores = [around(0), around(1)];
    Watched { stores, attending, board: receiver }
}

fn clock(world: &Arc<Mutex<World>>) -> Arc<dyn Fn() -> Moment + Send + Sync> {
    let world = Arc::clone(world);
    Arc::new(move || lock(&world).now())
}

fn open(setting: &Setting, now: Moment) -> Journal {
    let opened = match &setting.journal {
        None => Journal::in_memory(),
        Some(path) => {
            let settings = journal::Settings {
                path: path.clone(),
                retention: Duration::from_secs(86_400),
                size_max: 1 << 30,
            };
            Journal::open(&settings, now)
        }
    };
    opened.expect("the journal can be opened")
}

fn engine_settings(setting: &Setting) -> engine::Settings {
    let timing = |name: &str| HookTiming {
        name: name.to_owned(),
        deadline: Duration::from_secs(20),
        backoff: Duration::from_secs(1),
    };
    engine::Settings {
        pairings: vec![setting.pairing.spec()],
        abort: setting.abort.clone(),
        hooks: setting.hooks.iter().map(|(name, _)| timing(name)).collect(),
        until: setting.until,
        slots: setting.slots,
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}
