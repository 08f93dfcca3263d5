//! The course of the demo, while the daemon runs.
//!
//! Owns the order of events: a calm pass, a slow pipeline, the faults, and then waiting until a pass
//! that began after planting is complete and all that it saw is decided. Refuses to help the daemon:
//! it only watches the board. Invariant: it ends, by its deadline at the latest.

use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::DemoError;
use super::board::{Board, News};
use super::screen::{Screen, Tone, number};
use super::verdict::{Planted, Verdict};
use super::writer::{Order, Plant, Tally};
use crate::model::Moment;
use crate::run::Clock;

/// How long the demo at least shows a migration without faults.
const CALM: Duration = Duration::from_secs(5);
/// How often the board is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long the demo shows that a slow pipeline is no drift.
const SLOW: Duration = Duration::from_millis(4_500);

/// The course.
pub(super) struct Course<'a> {
    pub(super) board: &'a Mutex<Board>,
    pub(super) clock: Clock,
    pub(super) plant: Plant,
    pub(super) deadline: Duration,
    pub(super) orders: SyncSender<Order>,
    pub(super) writing: &'a mut JoinSet<Result<(), DemoError>>,
    pub(super) tally: Arc<Tally>,
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) verdict: Verdict,
    /// Why it did not come to its end, if it did not.
    pub(super) cut_short: Option<String>,
    pub(super) at: Moment,
}

/// How far it is.
#[derive(Clone, Debug)]
enum Phase {
    Calm,
    Slow { until: Moment },
    Planted { faults: Vec<Planted>, at: Moment },
    Held,
}

impl Phase {
    const fn words(&self) -> &'static str {
        match self {
            Self::Calm => "a calm pass",
            Self::Slow { .. } => "a slow pipeline",
            Self::Planted { .. } => "faults are planted",
            Self::Held => "held",
        }
    }
}

impl Course<'_> {
    /// Goes through it.
    pub(super) async fn run(&mut self, screen: &mut Screen) -> Result<Finish, DemoError> {
        let mut phase = Phase::Calm;
        let end = screen.begun().after(self.deadline);
        loop {
            self.clock.sleep_until(self.clock.now().after(TICK)).await;
            self.watch(screen, &phase)?;
            let now = self.clock.now();
            phase = match phase {
                Phase::Calm if self.has_been_calm(screen, now) => self.calm_is_over(screen, now)?,
                Phase::Slow { until } if until <= now => self.plant(screen).await?,
                Phase::Planted { faults, at } if self.is_decided(at) => {
                    return Ok(self.finish(&faults, None));
                }
                Phase::Calm | Phase::Slow { .. } | Phase::Planted { .. } | Phase::Held => phase,
            };
            if now >= end {
                let why = self.unfinished(&phase);
                let faults = match phase {
                    Phase::Planted { faults, .. } => faults,
                    Phase::Calm | Phase::Slow { .. } | Phase::Held => Vec::new(),
                };
                return Ok(self.finish(&faults, Some(why)));
            }
        }
    }

    /// Tells what is new, for ever.
    pub(super) async fn hold(&mut self, screen: &mut Screen) -> Result<(), DemoError> {
        loop {
            self.clock.sleep_until(self.clock.now().after(TICK)).await;
            self.watch(screen, &Phase::Held)?;
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is new, and sees that the writer is well.
    fn watch(&mut self, screen: &mut Screen, phase: &Phase) -> Result<(), DemoError> {
        let (news, status, told) = {
            let mut board = self.board();
            let told = match phase {
                Phase::Planted { at, .. } => board.pass_since(*at),
                Phase::Calm | Phase::Slow { .. } | Phase::Held => None,
            };
            (board.news(), board.status.clone(), told)
        };
        let now = self.clock.now();
        for news in news {
            match &news {
                // Of all passes only those are told that mean something to whoever watches.
                News::Passed(pass) => {
                    let awaited = told.is_some_and(|told| told.number == pass.number);
                    if pass.number == 1 || awaited || pass.unread > 0 {
                        screen.passed(now, pass, awaited)?;
                    }
                }
                News::Happened(at, what) => screen.tell(*at, what)?,
            }
        }
        screen.count_alike(now, false)?;
        screen.progress(&status, phase.words());
        match self.writing.try_join_next() {
            Some(ended) => Err(gone(ended)),
            None => Ok(()),
        }
    }

    /// Whether there was time to see that a migration without faults is told to be without.
    fn has_been_calm(&self, screen: &Screen, now: Moment) -> bool {
        let board = self.board();
        let whole = board.passes.iter().any(|pass| pass.unread == 0);
        let seen = board.status.acquitted > 0 || now.since(screen.begun()) >= CALM * 2;
        whole && seen && now.since(screen.begun()) >= CALM
    }

    fn calm_is_over(&self, screen: &mut Screen, now: Moment) -> Result<Phase, DemoError> {
        self.order(Order::SlowDown)?;
        let acquitted = number(self.board().status.acquitted);
        let text = format!(
            "no drift: {acquitted} users differed while their change was in flight, and agreed at a \
             later look"
        );
        screen.at(now, &text)?;
        let text = "the pipeline turns slow: for a while changes take 4 s to arrive";
        let text = screen.set(Tone::Strong, text);
        screen.at(now, &text)?;
        Ok(Phase::Slow { until: now.after(SLOW) })
    }

    async fn plant(&self, screen: &mut Screen) -> Result<Phase, DemoError> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::Plant(self.plant, reply))?;
        let faults = answer.await.map_err(|_dropped| DemoError::WriterGone)?;
        let at = self.clock.now();
        let text =
            format!("{} faults are planted; driftd is not told", number(faults.len() as u64));
        let text = screen.set(Tone::Strong, &text);
        screen.at(at, &text)?;
        Ok(Phase::Planted { faults, at })
    }

    fn order(&self, order: Order) -> Result<(), DemoError> {
        self.orders.send(order).map_err(|_nobody| DemoError::WriterGone)
    }

    /// Whether a pass that began after `planted` is complete, all that was seen until its end is
    /// decided, and a hook that was fired has ended.
    fn is_decided(&self, planted: Moment) -> bool {
        let board = self.board();
        let decided =
            board.pass_since(planted).is_some_and(|pass| board.undecided(pass.number) == 0);
        decided && (board.tripped.is_none() || board.hook.is_some())
    }

    fn finish(&self, planted: &[Planted], cut_short: Option<String>) -> Finish {
        let verdict = Verdict::new(planted, self.board().findings.values());
        Finish { verdict, cut_short, at: self.clock.now() }
    }

    /// Why the deadline came first.
    fn unfinished(&self, phase: &Phase) -> String {
        let board = self.board();
        let unread = board.unread.as_ref().map(|fault| format!("{}; {}", fault.what, fault.remedy));
        let Phase::Planted { at, .. } = phase else {
            return unread
                .unwrap_or_else(|| "this machine was too slow for a first pass".to_owned());
        };
        let Some(pass) = board.pass_since(*at) else {
            return unread
                .unwrap_or_else(|| "no pass that began after planting is complete".to_owned());
        };
        if board.tripped.is_some() && board.hook.is_none() {
            return "the hook has not succeeded yet".to_owned();
        }
        let waiting = board.undecided(pass.number);
        let lag = self.tally.lag_micros_max.load(Ordering::Relaxed);
        let lag = Duration::from_micros(lag).as_secs_f32();
        let paused = match board.status.lagging_since {
            Some(_) => ", because the target lags beyond its budget",
            None => "",
        };
        format!(
            "suspects of {waiting} checks are not decided yet{paused}; changes took up to {lag:.1} s \
             to arrive"
        )
    }
}

/// Why the writer ended.
pub(super) fn gone(ended: Result<Result<(), DemoError>, tokio::task::JoinError>) -> DemoError {
    match ended {
        Ok(Ok(())) | Err(_) => DemoError::WriterGone,
        Ok(Err(error)) => error,
    }
}
