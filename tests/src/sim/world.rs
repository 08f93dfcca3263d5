//! The simulated world: its clock, the two stores, the application that writes, the pipeline.
//!
//! Owns everything that would go on without driftd. Refuses to know that it is watched. Invariant: it
//! changes only when its clock moves or a test changes it, and the same seed changes it the same way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use driftd::model::{Moment, Side, Value};
use driftd::store::memory::{Handle, Row};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::relations::{Entity, RELATION, Shape};

/// When simulations begin.
const BEGIN: Moment = Moment(1_700_000_000_000_000);

/// How the world goes.
#[derive(Clone, Debug)]
pub struct Knobs {
    /// Entities that are there at the beginning, numbered from 0.
    pub entities: i64,
    /// Mean time between two writes of the application; none: it does not write.
    pub write_every: Option<Duration>,
    /// Entities that are written to again and again.
    pub hot: i64,
    /// Mean time between two writes to hot entities.
    pub hot_every: Duration,
    /// Mean time between two changes of an entity's amount alone; none: there are none.
    pub pay_every: Option<Duration>,
    /// How far the pipeline lags, in milliseconds.
    pub lag: Range<u64>,
    /// How far it lags in a burst, in milliseconds.
    pub burst_lag: Range<u64>,
    /// Mean time between two bursts; each lasts a quarter of it. None: there are none.
    pub burst_every: Option<Duration>,
    /// How often what ordinary reads of the target see is brought up to date; none: always.
    pub refresh_every: Option<Duration>,
    /// How long a read of one page takes, in milliseconds.
    pub read: Range<u64>,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            entities: 400,
            write_every: Some(Duration::from_millis(150)),
            hot: 3,
            hot_every: Duration::from_millis(400),
            pay_every: None,
            lag: 200..2_000,
            burst_lag: 3_000..7_000,
            burst_every: Some(Duration::from_secs(40)),
            refresh_every: None,
            read: 0..40,
        }
    }
}

/// What the pipeline carries: an entity as it was written, or that it was deleted.
#[derive(Clone, Debug)]
struct Change {
    due: Moment,
    id: i64,
    image: Option<Entity>,
}

/// The world.
#[derive(Debug)]
pub struct World {
    /// Everything that is drawn is drawn here.
    pub rng: ChaCha8Rng,
    knobs: Knobs,
    shape: Shape,
    leader: Side,
    now: Moment,
    handles: [Handle; 2],
    /// What the leader holds.
    entities: BTreeMap<i64, Entity>,
    next_id: i64,
    write_at: Option<Moment>,
    hot_at: Option<Moment>,
    pay_at: Option<Moment>,
    burst_at: Option<Moment>,
    burst_until: Moment,
    refresh_at: Option<Moment>,
    toggled: BTreeSet<i64>,
    toggle_at: Option<Moment>,
    pipeline: VecDeque<Change>,
    stopped: bool,
    lost: BTreeSet<i64>,
    /// Entities whose `email` the pipeline no longer carries.
    emails_lost: BTreeSet<i64>,
    spared: Vec<Range<i64>>,
}

impl World {
    /// A world in which both sides hold the same.
    #[must_use]
    pub fn new(
        seed: u64,
        knobs: Knobs,
        (shape, leader): (Shape, Side),
        handles: [Handle; 2],
    ) -> Self {
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            shape,
            leader,
            now: BEGIN,
            handles,
            entities: BTreeMap::new(),
            next_id: knobs.entities,
            write_at: knobs.write_every.map(|_| BEGIN),
            hot_at: (knobs.hot > 0 && knobs.write_every.is_some()).then_some(BEGIN),
            pay_at: knobs.pay_every.map(|_| BEGIN),
            burst_at: knobs.burst_every.map(|every| BEGIN.after(every)),
            burst_until: BEGIN,
            refresh_at: knobs.refresh_every.map(|_| BEGIN),
            toggled: BTreeSet::new(),
            toggle_at: None,
            pipeline: VecDeque::new(),
            stopped: false,
            lost: BTreeSet::new(),
            emails_lost: BTreeSet::new(),
            spared: Vec::new(),
            knobs,
        };
        shape.create(Side::Source, world.handle(Side::Source));
        shape.create(Side::Target, world.handle(Side::Target));
        for id in 0..world.knobs.entities {
            let old = Duration::from_secs(world.rng.random_range(3_600..360_000));
            let updated = Moment(BEGIN.0 - i64::try_from(old.as_micros()).expect("not long ago"));
            let entity = world.fresh(id, updated);
            world.put(Side::Source, &entity);
            world.put(Side::Target, &entity);
            world.entities.insert(id, entity);
        }
        world
    }

    /// What time it is.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// A store's handle.
    #[must_use]
    pub const fn handle(&self, side: Side) -> &Handle {
        match side {
            Side::Source => &self.handles[0],
            Side::Target => &self.handles[1],
        }
    }

    /// The side that follows.
    #[must_use]
    pub const fn follower(&self) -> Side {
        self.leader.other()
    }

    /// Whether the application leaves this entity alone, so that a test can plant faults there.
    #[must_use]
    pub const fn is_quiet(id: i64) -> bool {
        id % 5 == 4
    }

    /// An entity of the leader.
    ///
    /// # Panics
    /// If it is not there.
    #[must_use]
    pub fn entity(&self, id: i64) -> Entity {
        self.entities.get(&id).cloned().expect("the leader has it")
    }

    /// An entity of the leader, if it is there.
    #[must_use]
    pub fn find(&self, id: i64) -> Option<Entity> {
        self.entities.get(&id).cloned()
    }

    /// Whether the follower's copy of an entity differs from what the leader holds.
    #[must_use]
    pub fn differs(&self, id: i64) -> bool {
        let follower = self.follower();
        let copy = self.handle(follower).get(RELATION, &[self.shape.place(follower, id)]);
        copy != self.entities.get(&id).map(|entity| self.shape.row(follower, entity))
    }

    /// The application leaves these entities alone from now on.
    pub fn spare(&mut self, ids: Range<i64>) {
        self.spared.push(ids);
    }

    /// Writes an entity to one side only, past the pipeline.
    pub fn put(&self, side: Side, entity: &Entity) {
        self.handle(side).put(RELATION, self.shape.row(side, entity));
    }

    /// Writes an entity to one side under another store key than the mapping would look at.
    pub fn put_elsewhere(&self, side: Side, place: &str, entity: &Entity) {
        let mut row = self.shape.row(side, entity);
        row.insert("pk".to_owned(), Value::Text(place.to_owned()));
        self.handle(side).put(RELATION, row);
    }

    /// Deletes an entity from one side only, past the pipeline.
    pub fn remove(&self, side: Side, id: i64) {
        self.handle(side).delete(RELATION, &[self.shape.place(side, id)]);
    }

    /// Brings the follower's copy of an entity to what the leader holds.
    pub fn repair(&mut self, id: i64) {
        self.lost.remove(&id);
        self.emails_lost.remove(&id);
        match self.entities.get(&id).cloned() {
            Some(entity) => self.put(self.follower(), &entity),
            None => self.remove(self.follower(), id),
        }
    }

    /// From now on changes of this entity are lost on the way.
    pub fn lose(&mut self, id: i64) {
        self.lost.insert(id);
    }

    /// From now on changes of this entity arrive without their `email`.
    pub fn lose_email(&mut self, id: i64) {
        self.emails_lost.insert(id);
    }

    /// From now on the name of this entity toggles between two texts.
    pub fn toggle(&mut self, id: i64) {
        self.toggled.insert(id);
        self.toggle_at.get_or_insert(self.now);
    }

    /// The pipeline carries nothing from now on.
    pub fn stop_pipeline(&mut self) {
        self.stopped = true;
    }

    /// The pipeline goes on, and works off what has gathered within a few seconds.
    pub fn resume_pipeline(&mut self) {
        self.stopped = false;
        let now = self.now;
        let each = 3_000_000 / i64::try_from(self.pipeline.len().max(1)).expect("not many");
        let mut due = now;
        for change in &mut self.pipeline {
            due = Moment(due.0 + each);
            change.due = change.due.max(due);
        }
    }

    /// The application writes no more.
    pub fn quieten(&mut self) {
        (self.write_at, self.hot_at, self.toggle_at, self.pay_at) = (None, None, None, None);
    }

    /// Writes an entity to the leader; the pipeline carries it.
    pub fn write(&mut self, entity: Entity) {
        self.put(self.leader, &entity);
        self.carry(entity.id, Some(entity.clone()));
        self.entities.insert(entity.id, entity);
    }

    /// Deletes an entity from the leader; the pipeline carries it.
    pub fn delete(&mut self, id: i64) {
        self.remove(self.leader, id);
        self.entities.remove(&id);
        self.carry(id, None);
    }

    /// An entity with new contents.
    pub fn fresh(&mut self, id: i64, updated: Moment) -> Entity {
        let draw: u32 = self.rng.random_range(0..1_000_000);
        Entity {
            id,
            name: format!("name {draw}"),
            email: format!("{draw}@example.com"),
            amount: format!("{}.{}", draw / 100, draw % 100),
            updated,
        }
    }

    fn carry(&mut self, id: i64, image: Option<Entity>) {
        let bursting = self.now < self.burst_until;
        let lag = if bursting { self.knobs.burst_lag.clone() } else { self.knobs.lag.clone() };
        let due = self.now.after(Duration::from_millis(self.rng.random_range(lag)));
        // The pipeline keeps the order of writes.
        let due = self.pipeline.back().map_or(due, |last| due.max(last.due));
        self.pipeline.push_back(Change { due, id, image });
    }

    /// Lets time pass until `until`.
    pub fn advance(&mut self, until: Moment) {
        loop {
            let carried = self.pipeline.front().filter(|_| !self.stopped).map(|change| change.due);
            let next = [
                carried,
                self.write_at,
                self.hot_at,
                self.pay_at,
                self.toggle_at,
                self.burst_at,
                self.refresh_at,
            ];
            let Some(at) = next.into_iter().flatten().min().filter(|at| *at <= until) else {
                break;
            };
            self.now = self.now.max(at);
            if carried == Some(at) {
                self.apply();
            } else if self.write_at == Some(at) {
                self.application_writes();
                self.write_at = self.knobs.write_every.map(|mean| self.soon(mean));
            } else if self.hot_at == Some(at) {
                let id = self.rng.random_range(0..self.knobs.hot);
                // One of its fields stands still.
                let email = self.entity(id).email;
                let entity = Entity { email, ..self.fresh(id, self.now) };
                self.write(entity);
                self.hot_at = Some(self.soon(self.knobs.hot_every));
            } else if self.pay_at == Some(at) {
                self.pay();
                self.pay_at = self.knobs.pay_every.map(|mean| self.soon(mean));
            } else if self.toggle_at == Some(at) {
                self.toggle_all();
                self.toggle_at = Some(self.soon(Duration::from_millis(1_300)));
            } else if self.burst_at == Some(at) {
                let every = self.knobs.burst_every.unwrap_or_default();
                self.burst_until = self.now.after(every / 4);
                self.burst_at = Some(self.soon(every));
            } else {
                self.handle(Side::Target).freeze();
                self.refresh_at = self.knobs.refresh_every.map(|every| self.now.after(every));
            }
        }
        self.now = self.now.max(until);
    }

    /// Lets the time of one read pass.
    pub fn pass(&mut self) {
        let millis = self.rng.random_range(self.knobs.read.clone());
        self.advance(self.now.after(Duration::from_millis(millis)));
    }

    /// A moment after now, at `mean` from it in the mean.
    fn soon(&mut self, mean: Duration) -> Moment {
        let micros = u64::try_from(mean.as_micros()).expect("not long").max(1);
        self.now.after(Duration::from_micros(self.rng.random_range(1..=2 * micros)))
    }

    fn apply(&mut self) {
        let Some(change) = self.pipeline.pop_front() else { return };
        if self.lost.contains(&change.id) {
            return;
        }
        let follower = self.follower();
        let Some(mut image) = change.image else { return self.remove(follower, change.id) };
        if self.emails_lost.contains(&change.id) {
            "lost@example.com".clone_into(&mut image.email);
        }
        self.put(follower, &image);
    }

    fn toggle_all(&mut self) {
        for id in self.toggled.clone() {
            let Some(mut entity) = self.entities.get(&id).cloned() else { continue };
            entity.name = if entity.name == "A" { "B" } else { "A" }.to_owned();
            entity.updated = self.now;
            self.write(entity);
        }
    }

    /// The amount of some entity changes, and nothing else of it.
    fn pay(&mut self) {
        let id = self.rng.random_range(0..self.knobs.entities);
        let amount = format!("{}.5", self.rng.random_range(0..10_000));
        if let Some(entity) = self.find(id).filter(|_| !self.leaves_alone(id)) {
            self.write(Entity { amount, ..entity });
        }
    }

    /// The amounts that a side holds of entities in this range of keys.
    #[must_use]
    pub fn amounts(&self, side: Side, keys: &driftd::model::Range) -> BTreeMap<i64, i128> {
        let held = |id| self.handle(side).get(RELATION, &[self.shape.place(side, id)]);
        let amount = |row: &Row| match row.get("amount") {
            Some(Value::Text(text)) => text.replace('.', "").parse().ok(),
            _ => None,
        };
        let ids = (0..self.next_id).filter(|id| keys.contains(i128::from(*id)));
        ids.filter_map(|id| Some((id, amount(&held(id)?)?))).collect()
    }

    fn leaves_alone(&self, id: i64) -> bool {
        let spared = self.spared.iter().any(|ids| ids.contains(&id));
        spared || Self::is_quiet(id) || self.toggled.contains(&id)
    }

    fn application_writes(&mut self) {
        let now = self.now;
        let draw: u32 = self.rng.random_range(0..100);
        let id = self.rng.random_range(0..self.next_id);
        if draw < 10 {
            let entity = self.fresh(self.next_id, now);
            self.next_id += 1;
            self.write(entity);
        } else if self.leaves_alone(id) {
            // It is left alone.
        } else if draw < 18 {
            if id >= self.knobs.hot && self.entities.contains_key(&id) {
                self.delete(id);
            }
        } else {
            // An entity that was deleted comes back.
            let entity = self.fresh(id, now);
            self.write(entity);
        }
    }
}
