//! The application and its replication, as the demo plays them: a thread that keeps writing.
//!
//! Owns both writing ends, what the application changes, and the pipeline that carries each change to
//! the target later, in order. Refuses to touch a row in which a fault is planted, so that nobody
//! mends it by accident. Invariant: but for what is planted, the target holds what the source held a
//! moment ago.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::Value as Json;
use tokio::sync::oneshot;

use super::DemoError;
use super::people::{MARKED, TENANTS, User};
use super::source::Source;
use super::target::Target;
use super::verdict::Planted;
use crate::model::Moment;
use crate::run::Clock;

/// How often the thread looks what is due.
const BEAT: Duration = Duration::from_millis(5);
/// How long a change takes to arrive, in milliseconds.
const LAG: std::ops::Range<u64> = 1_000..2_000;
/// How long changes take while the pipeline is slow, and for how long it is.
const SLOW_LAG: Duration = Duration::from_secs(4);
const SLOW_FOR: Duration = Duration::from_secs(3);
/// Users kept back for faults.
const RESERVED: usize = 40;

/// Plants faults, and says which.
pub(super) type Plant = fn(&mut Writer) -> Result<Vec<Planted>, DemoError>;

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Let the pipeline be slow for a while.
    SlowDown,
    /// Plant faults, and say which.
    Plant(Plant, oneshot::Sender<Vec<Planted>>),
}

/// What the writer has done so far; read by others while it works.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Changes of the source.
    pub(super) writes: AtomicU64,
    /// The longest that one took to arrive in the target, in microseconds.
    pub(super) lag_micros_max: AtomicU64,
}

/// The writer.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) source: Source,
    pub(super) target: Target,
    pub(super) clock: Clock,
    /// The source's rows as they are now, but for planted ones.
    pub(super) users: BTreeMap<i64, User>,
    /// Users that the writer leaves alone, for faults; then those of the marked tenant.
    pub(super) reserved: Vec<i64>,
    pub(super) marked: Vec<i64>,
    pub(super) next_id: i64,
    pub(super) rng: ChaCha8Rng,
    /// Users that the writer changes.
    free: Vec<i64>,
    /// Those that are not migrated yet.
    waiting: Vec<i64>,
    pipeline: VecDeque<Change>,
    slow_until: Moment,
    tally: Arc<Tally>,
}

/// A change of the source on its way.
#[derive(Debug)]
struct Change {
    written: Moment,
    due: Moment,
    what: What,
}

#[derive(Debug)]
enum What {
    Put(Json),
    Delete { pk: String, sk: String },
}

impl Writer {
    /// Makes both stores, alike.
    pub(super) fn begin(count: u32, seed: u64, file: &Path) -> Result<Self, DemoError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let users: BTreeMap<i64, User> =
            (1..=i64::from(count)).map(|id| (id, User::invent(id, &mut rng))).collect();
        let source = Source::create(file, users.values())?;
        let migrated = || users.values().filter(|user| user.migrated);
        let target = Target::create(migrated().map(User::item))?;
        let marked = migrated().filter(|user| user.tenant == MARKED).map(|user| user.id);
        let marked: Vec<i64> = marked.collect();
        let of_others = |user: &&User| user.tenant != MARKED;
        let mut reserved = Vec::new();
        let candidates: Vec<i64> = migrated().filter(of_others).map(|user| user.id).collect();
        while reserved.len() < RESERVED.min(candidates.len() / 4) {
            let id = candidates[rng.random_range(0..candidates.len())];
            if !reserved.contains(&id) {
                reserved.push(id);
            }
        }
        let free = users.values().filter(of_others).map(|user| user.id);
        let free: Vec<i64> = free.filter(|id| !reserved.contains(id)).collect();
        let waiting = free.iter().copied().filter(|id| !users[id].migrated).collect();
        Ok(Self {
            source,
            target,
            clock: Clock::new(),
            users,
            reserved,
            marked,
            next_id: i64::from(count) + 1,
            rng,
            free,
            waiting,
            pipeline: VecDeque::new(),
            slow_until: Moment::default(),
            tally: Arc::default(),
        })
    }

    /// What it has done so far.
    pub(super) fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// How many users there are, and how many of them are not migrated yet.
    pub(super) fn population(&self) -> (usize, usize) {
        (self.users.len(), self.users.values().filter(|user| !user.migrated).count())
    }

    /// Changes a second.
    pub(super) fn rate(&self) -> u32 {
        u32::try_from(self.users.len() / 500).unwrap_or(u32::MAX).clamp(4, 100)
    }

    /// Writes until nobody is left to give orders.
    pub(super) fn work(mut self, orders: &Receiver<Order>) -> Result<(), DemoError> {
        let pause = Duration::from_secs(1) / self.rate();
        let mut due = self.clock.now();
        loop {
            let now = self.clock.now();
            self.deliver(now)?;
            while due <= now {
                self.write(now)?;
                // What was missed while the machine was busy is not caught up with.
                due = due.after(pause).max(now);
            }
            match orders.recv_timeout(BEAT) {
                Ok(Order::SlowDown) => self.slow_until = now.after(SLOW_FOR),
                Ok(Order::Plant(plant, reply)) => {
                    let planted = plant(&mut self)?;
                    // Whoever asked may be gone; then so is the demo.
                    reply.send(planted).ok();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Applies to the target what is due.
    fn deliver(&mut self, now: Moment) -> Result<(), DemoError> {
        while let Some(change) = self.pipeline.pop_front_if(|change| change.due <= now) {
            match &change.what {
                What::Put(item) => self.target.put(item)?,
                What::Delete { pk, sk } => self.target.delete(pk, sk)?,
            }
            let lag = self.clock.now().since(change.written).as_micros();
            let lag = u64::try_from(lag).unwrap_or(u64::MAX);
            self.tally.lag_micros_max.fetch_max(lag, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Changes something in the source and sends it on its way.
    fn write(&mut self, now: Moment) -> Result<(), DemoError> {
        match self.rng.random_range(0..20) {
            0 => self.insert(now)?,
            1 => self.delete(now)?,
            2 | 3 => self.migrate(now)?,
            _ => self.update(now)?,
        }
        self.tally.writes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn insert(&mut self, now: Moment) -> Result<(), DemoError> {
        let user = self.newcomer(now);
        self.source.put(&user)?;
        self.send(now, What::Put(user.item()));
        self.free.push(user.id);
        self.users.insert(user.id, user);
        Ok(())
    }

    /// A user that signs up now, not of the marked tenant.
    pub(super) fn newcomer(&mut self, now: Moment) -> User {
        let user = User::invent(self.next_id, &mut self.rng);
        self.next_id += 1;
        let tenant = user.tenant.min(MARKED - 1);
        User { tenant, migrated: true, created: now, updated: now, ..user }
    }

    fn delete(&mut self, now: Moment) -> Result<(), DemoError> {
        let at = self.rng.random_range(0..self.free.len());
        let id = self.free[at];
        if self.users.get(&id).is_none_or(|user| !user.migrated) {
            return self.update(now);
        }
        self.free.swap_remove(at);
        if let Some(user) = self.users.remove(&id) {
            self.source.delete(id)?;
            self.send(now, What::Delete { pk: user.pk(), sk: user.sk() });
        }
        Ok(())
    }

    /// The migration goes on: one more user moves.
    fn migrate(&mut self, now: Moment) -> Result<(), DemoError> {
        let Some(id) = self.waiting.pop() else { return self.update(now) };
        if let Some(user) = self.users.get_mut(&id) {
            user.migrated = true;
            self.source.put(user)?;
            let item = user.item();
            self.send(now, What::Put(item));
        }
        Ok(())
    }

    fn update(&mut self, now: Moment) -> Result<(), DemoError> {
        let id = self.free[self.rng.random_range(0..self.free.len())];
        if let Some(user) = self.users.get_mut(&id) {
            user.change(now, &mut self.rng);
            self.source.put(user)?;
            if user.migrated {
                let item = user.item();
                self.send(now, What::Put(item));
            }
        }
        Ok(())
    }

    /// Puts a change into the pipeline, which keeps the order.
    fn send(&mut self, now: Moment, what: What) {
        let lag = if now < self.slow_until {
            SLOW_LAG
        } else {
            Duration::from_millis(self.rng.random_range(LAG))
        };
        let before = self.pipeline.back().map_or(now, |change| change.due);
        let due = now.after(lag).max(before);
        self.pipeline.push_back(Change { written: now, due, what });
    }
}

/// The name of the marked tenant.
pub(super) const fn marked_tenant() -> &'static str {
    TENANTS[MARKED]
}
