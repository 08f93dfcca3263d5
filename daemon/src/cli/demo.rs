//! `driftd demo`: a whole migration in one process, with faults planted in it.
//!
//! Owns two stores of its own, a writer that keeps changing both, the faults, and the comparison of
//! what was planted with what the daemon found. Refuses to reach outside: the only stores it writes
//! to are in its own directory and its own memory. Invariant: the daemon in it is the one of `driftd
//! run`, with a configuration that anybody could have written, and it is told nothing of the faults.

mod board;
mod course;
mod faults;
mod people;
mod place;
mod screen;
mod setup;
mod source;
mod summary;
mod target;
mod verdict;
mod writer;
#[cfg(test)]
mod tests;

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::{self, ConfigErrors, Settings};
use crate::plugin;
use crate::run::{self, Clock, Purpose, RunError, Signals, StartError, Supplied};

use board::Board;
use course::{Course, Finish};
use place::Place;
use screen::{Screen, Tone, number};
use summary::Summary;
use target::Served;
use writer::{Plant, Tally, Writer};

/// What the demo is asked.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How many users migrate.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1_000..=200_000))]
    pub users: u32,
    /// What chance begins with: the users, their changes, and where faults are planted.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Give up after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    pub deadline: u64,
    /// Keep configuration, journal, events and source in this empty or new directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Go on after the result, until Ctrl-C, to look around with the other commands.
    #[arg(long)]
    pub hold: bool,
    /// Print the result as JSON; what goes on is told on standard error.
    #[arg(long)]
    pub json: bool,
}

/// Why the demo could not be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The demo's directory cannot be used.
    #[error("cannot use {}; choose another directory with `--keep`", path.display())]
    Place {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory holds something.
    #[error("{} is not empty; choose another directory with `--keep`", .0.display())]
    Occupied(PathBuf),
    /// The source cannot be written.
    #[error("the demo's own source failed")]
    Source(#[from] rusqlite::Error),
    /// The target cannot be written.
    #[error("the demo's own target failed: {0}")]
    Target(String),
    /// The target cannot be served.
    #[error("cannot listen on 127.0.0.1 for the demo's own target")]
    Listen(#[source] io::Error),
    /// The configuration is refused.
    #[error("the demo's own configuration is refused: {0}")]
    Config(#[from] ConfigErrors),
    /// The daemon failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The daemon ended by itself.
    #[error("the daemon ended before the demo did")]
    Ended,
    /// The writer ended by itself.
    #[error("the demo's own writer ended before the demo did")]
    WriterGone,
    /// The demo was asked to stop.
    #[error("stopped before the end")]
    Interrupted,
    /// What is shown cannot be written.
    #[error("cannot write to the terminal")]
    Output(#[from] io::Error),
}

impl DemoError {
    /// Whether another option would have served.
    #[must_use]
    pub const fn is_usage(&self) -> bool {
        matches!(self, Self::Place { .. } | Self::Occupied(_))
    }
}

/// Shows the demo. True: the daemon found what was planted, no more and no less, and the hook of the
/// criterion that tripped ran.
///
/// # Errors
/// If it cannot be shown to its end.
pub async fn demo(options: &Options) -> Result<bool, DemoError> {
    let clock = Clock::new();
    let mut screen = Screen::standard(options.json, &clock);
    let shown = Box::pin(play(options, &clock, &mut screen, faults::plant)).await;
    screen.clear();
    let (agrees, json) = shown?;
    if options.json {
        writeln!(io::stdout(), "{json:#}")?;
    }
    Ok(agrees)
}

/// Plays it with these faults. Gives whether planted equals found, and the result for programs.
async fn play(
    options: &Options,
    clock: &Clock,
    screen: &mut Screen,
    plant: Plant,
) -> Result<(bool, serde_json::Value), DemoError> {
    let place = Place::make(options.keep.as_deref())?;
    let writer = Writer::begin(options.users, options.seed, &place.file(setup::SOURCE))?;
    let served = writer.target.serve().await?;
    let settings = settings(&place, &served, options.seed)?;
    introduce(screen, &writer, &place, &served)?;
    let mut stage = Stage { options, clock, screen, place: &place };
    let mut writing = JoinSet::new();
    let shown = stage.run(settings, &served, writer, (plant, &mut writing)).await;
    // The directory must not go away under the writer, which ends with the course.
    while let Some(ended) = writing.join_next().await {
        if let Ok(Err(error)) = ended {
            return Err(error);
        }
    }
    shown
}

/// The configuration, written down and read as any other.
fn settings(place: &Place, served: &Served, seed: u64) -> Result<Settings, DemoError> {
    place.write(setup::PLUGIN, plugin::USERS_WASM)?;
    let text = setup::text(place.path(), &served.endpoint, seed);
    let file = place.write(setup::CONFIG, text.as_bytes())?;
    Ok(config::load(&file)?.settings)
}

/// Says what is there before anything happens.
fn introduce(
    screen: &mut Screen,
    writer: &Writer,
    place: &Place,
    served: &Served,
) -> Result<(), DemoError> {
    let (users, waiting) = writer.population();
    let title = "driftd demo: a live migration with faults planted in it";
    let title = screen.set(Tone::Strong, title);
    screen.line(&title)?;
    screen.line("")?;
    let (users, items) = (number(users as u64), number((users - waiting) as u64));
    let lines = [
        ("source", format!("SQLite, {users} users of {} tenants", people::TENANTS.len())),
        ("target", format!("a DynamoDB API in this process ({}), {items} items", served.endpoint)),
        (
            "mapping",
            "the `users` plugin, in WebAssembly: other keys, names, types and nesting; two rules"
                .to_owned(),
        ),
        (
            "writer",
            format!(
                "{} changes a second to the source; each reaches the target 1 to 2 s later",
                writer.rate()
            ),
        ),
        (
            "rule",
            format!(
                "drift is what stood still, and different, for {} s over at least three looks",
                setup::LAG_BUDGET
            ),
        ),
        (
            "files",
            format!(
                "{}{}",
                place.path().display(),
                if place.is_kept() { "" } else { " (removed at the end)" }
            ),
        ),
    ];
    for (name, text) in lines {
        screen.line(&format!("  {name:<8} {text}"))?;
    }
    Ok(screen.line("")?)
}

/// What a run of the demo goes on.
struct Stage<'a> {
    options: &'a Options,
    clock: &'a Clock,
    screen: &'a mut Screen,
    place: &'a Place,
}

impl Stage<'_> {
    /// Runs the daemon and the course beside each other.
    async fn run(
        &mut self,
        settings: Settings,
        served: &Served,
        writer: Writer,
        (plant, writing): (Plant, &mut JoinSet<Result<(), DemoError>>),
    ) -> Result<(bool, serde_json::Value), DemoError> {
        let mut supplied = Supplied::default();
        for store in settings.stores.iter().filter(|store| store.name == setup::TARGET_STORE) {
            supplied.stores.insert(store.name.clone(), target::store(store, &served.endpoint));
        }
        let tally = writer.tally();
        // Orders are few, and each is waited for.
        let (orders, taken) = sync_channel(1);
        writing.spawn_blocking(move || writer.work(&taken));
        let board = Mutex::new(Board::default());
        let (stop, stopped) = watch::channel(false);
        let (_reopen, reopened) = watch::channel(0);
        let (_reload, reload) = watch::channel(0);
        let signals = Signals { stop: stopped, reopen: reopened, reload };
        let mut daemon = Box::pin(run::run(settings, Purpose::Daemon, supplied, signals, |view| {
            board.lock().unwrap_or_else(PoisonError::into_inner).take(view)
        }));
        let course = Course {
            board: &board,
            clock: self.clock.clone(),
            plant,
            deadline: Duration::from_secs(self.options.deadline),
            orders,
            writing,
            tally: Arc::clone(&tally),
        };
        let shown = tokio::select! {
            ended = &mut daemon => return Err(ended.map_or_else(DemoError::from, |_| DemoError::Ended)),
            shown = Box::pin(self.course(course, &board, &tally)) => shown,
        };
        stop.send_replace(true);
        match daemon.await {
            // It may still have been connecting.
            Ok(_) | Err(RunError::Start(StartError::Stopped)) => shown,
            Err(error) => Err(error.into()),
        }
    }

    /// The course, the summary, and holding on. An interruption ends it before its end.
    async fn course(
        &mut self,
        mut course: Course<'_>,
        board: &Mutex<Board>,
        tally: &Tally,
    ) -> Result<(bool, serde_json::Value), DemoError> {
        let mut interrupted = Box::pin(interrupted());
        let finish = tokio::select! {
            finish = course.run(self.screen) => finish?,
            caught = &mut interrupted => return Err(caught.err().unwrap_or(DemoError::Interrupted)),
        };
        self.screen.count_alike(finish.at, true)?;
        let shown = self.summarise(&finish, board, tally)?;
        if self.options.hold {
            let config = self.place.file(setup::CONFIG);
            self.screen.line(&format!(
                "\nIt goes on until Ctrl-C. Meanwhile: driftd drift --config {}",
                config.display()
            ))?;
            tokio::select! {
                held = course.hold(self.screen) => held?,
                caught = &mut interrupted => caught?,
            }
        }
        Ok(shown)
    }

    fn summarise(
        &mut self,
        finish: &Finish,
        board: &Mutex<Board>,
        tally: &Tally,
    ) -> Result<(bool, serde_json::Value), DemoError> {
        let handed = std::fs::read(self.place.file(setup::HOOK_OUTPUT));
        let board = board.lock().unwrap_or_else(PoisonError::into_inner);
        let summary = Summary {
            finish,
            board: &board,
            tally,
            // What the hook wrote is what it was handed; without a file it did not run.
            event: handed.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()),
            took: finish.at.since(self.screen.begun()),
            kept: self.place.is_kept().then(|| self.place.path()),
        };
        self.screen.clear();
        summary.show(self.screen)?;
        Ok((summary.agrees(), summary.json()))
    }
}

/// Ends when a person or the system wants the process to stop.
async fn interrupted() -> Result<(), DemoError> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => Ok(interrupt?),
        _ = terminate.recv() => Ok(()),
    }
}
