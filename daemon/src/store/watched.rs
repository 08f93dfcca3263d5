//! Whether a store answers, as one fact for all its readers.
//!
//! Owns the store around a store that every reader goes through, and the probes that find a store
//! again. Refuses retries and limits, which are the store's own affair, and the rules of when a store is
//! down, which are `health`'s. Invariant: once a store is down, no reader waits for it, and nothing is
//! sent to it but one probe at a time; what was not asked is told as unread, never as absent.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{self, BoxFuture, Either};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, watch};

use crate::model::{Batch, Extent, Moment, Outage, RelationSchema, StoreStates};
use crate::store::health::{Cause, Health};
use crate::store::{
    Capabilities, Consistency, Down, Fetched, Page, Query, Read, Store, StoreError,
    StoreErrorKind as Kind,
};

/// What time it is.
pub type Now = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Where it is written how stores stand.
pub type Board = watch::Sender<StoreStates>;

/// Who watches a store.
pub struct Watch {
    name: String,
    now: Now,
    board: Board,
    known: Mutex<Known>,
    /// Whether it is down: whoever waits for it is called away by this.
    down: watch::Sender<bool>,
    /// Something may have become due.
    changed: Notify,
}

struct Known {
    health: Health,
    /// What is asked whether it answers.
    store: Arc<dyn Store>,
    /// Whether it ever answered.
    answered: bool,
    /// What was written to the board last.
    written: Option<Option<Outage>>,
    /// The relations that were asked about, for probes to ask about.
    relations: BTreeSet<String>,
    /// The one that was not answered about last.
    silent: Option<String>,
    /// The one beside it that was probed last.
    probed: String,
}

/// A store that is watched.
#[derive(Debug)]
struct Watched {
    store: Arc<dyn Store>,
    watch: Arc<Watch>,
}

/// A request under way.
struct Flight<'a> {
    watch: &'a Watch,
    ended: bool,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Watch {
    /// Watches `store`, which tries one request by itself for `patience`. What is found is written to
    /// `board`, as soon as anything is known.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, patience: Duration, now: Now, board: Board) -> Arc<Self> {
        let name = store.name().to_owned();
        let known = Known {
            health: Health::new(&name, patience),
            store,
            answered: false,
            written: None,
            relations: BTreeSet::new(),
            silent: None,
            probed: String::new(),
        };
        Arc::new(Self {
            name,
            now,
            board,
            known: Mutex::new(known),
            down: watch::Sender::new(false),
            changed: Notify::new(),
        })
    }

    /// The store was opened again: from now on probes ask this one.
    pub fn reopened(&self, store: Arc<dyn Store>) {
        self.known().store = store;
    }

    /// `store`, which is the one that is watched, be it with another patience: what becomes of its
    /// requests is noticed.
    #[must_use]
    pub fn over(self: &Arc<Self>, store: Arc<dyn Store>) -> Arc<dyn Store> {
        Arc::new(Watched { store, watch: Arc::clone(self) })
    }

    /// When the store is to be asked whether it answers; none: nothing is in doubt.
    #[must_use]
    pub fn due(&self) -> Option<Moment> {
        self.known().health.due()
    }

    /// Asks the store whenever that is due, for ever. `sleep` waits until a moment.
    pub async fn attend(&self, sleep: &(dyn Fn(Moment) -> BoxFuture<'static, ()> + Sync)) {
        loop {
            match self.due() {
                None => self.changed.notified().await,
                Some(due) if due > (self.now)() => {
                    future::select(Box::pin(self.changed.notified()), sleep(due)).await;
                }
                Some(_) => self.probe(sleep).await,
            }
        }
    }

    /// Asks the store whether it answers: about the relation that it did not answer about, and about
    /// another one, so that one which is locked is not taken for all.
    async fn probe(&self, sleep: &(dyn Fn(Moment) -> BoxFuture<'static, ()> + Sync)) {
        let (store, relations, longest) = {
            let mut known = self.known();
            (Arc::clone(&known.store), known.next_probed(), known.health.probe_max())
        };
        let asked = relations.iter().map(|relation| store.probe(relation).map(answer));
        let asked: Vec<_> = asked.map(FutureExt::boxed).collect();
        if asked.is_empty() {
            return;
        }
        let until = (self.now)().after(longest);
        let answered = match future::select(future::select_ok(asked), sleep(until)).await {
            Either::Left((answered, _)) => answered.map(|_one| ()).map_err(|error| cause(&error)),
            Either::Right(_) => {
                let doing = "asking whether it answers".to_owned();
                let kind = Kind::Timeout { doing, after: longest };
                Err(Cause {
                    code: kind.code(),
                    what: kind.to_string(),
                    remedy: kind.remedy().to_owned(),
                })
            }
        };
        self.learn(|known, now| {
            known.answered |= answered.is_ok();
            known.health.probed(now, answered);
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes something in, and lets everybody know what follows.
    fn learn(&self, take: impl FnOnce(&mut Known, Moment)) {
        let now = (self.now)();
        let mut known = self.known();
        let due = known.health.due();
        take(&mut known, now);
        let earlier = |now_due: &Moment| due.is_none_or(|due| *now_due < due);
        if known.health.due().as_ref().is_some_and(earlier) {
            self.changed.notify_one();
        }
        let outage = known.health.outage();
        let nothing = outage.is_none() && !known.answered;
        if nothing || known.written.as_ref().is_some_and(|written| written.as_ref() == outage) {
            return;
        }
        let is = outage.cloned();
        known.written = Some(is.clone());
        // Nobody else writes meanwhile, so what is written is what is known.
        self.board.send_modify(|states| {
            states.insert(self.name.clone(), is.clone());
        });
        self.down.send_if_modified(|down| std::mem::replace(down, is.is_some()) != is.is_some());
    }

    /// Whether a request may be sent now.
    fn begin(&self, relation: &str) -> Result<Flight<'_>, StoreError> {
        if let Some(error) = self.outage_error(relation) {
            return Err(error);
        }
        self.learn(|known, now| {
            if !known.relations.contains(relation) {
                known.relations.insert(relation.to_owned());
            }
            known.health.asked(now);
        });
        Ok(Flight { watch: self, ended: false })
    }

    /// What a reader is told; none: the store is not down.
    fn outage_error(&self, relation: &str) -> Option<StoreError> {
        let known = self.known();
        let Outage { store, since, what, remedy, .. } = known.health.outage()?.clone();
        let for_so_long = (self.now)().since(since);
        let relation = Some(relation.to_owned());
        let kind = Kind::Down(Box::new(Down { for_so_long, what, remedy }));
        Some(StoreError { store, relation, kind, source: None })
    }

    /// Sends a request and waits for its answer; `refused` is the answer of a store that is down.
    /// `silence` is the error of an answer that is none.
    async fn ask<T>(
        &self,
        relation: &str,
        work: impl Future<Output = T>,
        silence: impl FnOnce(&T) -> Option<&StoreError>,
        refused: impl FnOnce(StoreError) -> T,
    ) -> T {
        let flight = match self.begin(relation) {
            Ok(flight) => flight,
            Err(error) => return refused(error),
        };
        let mut down = self.down.subscribe();
        let called_away = async {
            // Its sender is here.
            down.wait_for(|down| *down).await.ok();
        };
        let answer = {
            let (work, called_away) = (std::pin::pin!(work), std::pin::pin!(called_away));
            match future::select(work, called_away).await {
                Either::Left((answer, _)) => answer,
                Either::Right(_) => {
                    drop(flight);
                    let error = self.outage_error(relation);
                    return refused(error.unwrap_or_else(|| self.came_back(relation)));
                }
            }
        };
        flight.end(relation, silence(&answer).is_some_and(|error| error.kind.is_silence()));
        answer
    }

    /// The store was down, and answers again by now.
    fn came_back(&self, relation: &str) -> StoreError {
        let down = Down {
            for_so_long: Duration::ZERO,
            what: "it did not answer, and answers again".to_owned(),
            remedy: "nothing: it is read again by itself".to_owned(),
        };
        let kind = Kind::Down(Box::new(down));
        let (store, relation) = (self.name.clone(), Some(relation.to_owned()));
        StoreError { store, relation, kind, source: None }
    }
}

impl Flight<'_> {
    fn end(mut self, relation: &str, silent: bool) {
        self.ended = true;
        self.watch.learn(|known, now| {
            if silent {
                known.health.unanswered();
                known.silent = Some(relation.to_owned());
            } else {
                known.answered = true;
                known.health.answered(now);
            }
        });
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.watch.learn(|known, _now| known.health.let_go());
        }
    }
}

impl Known {
    /// The relations to ask about: two at the most, another one each time.
    fn next_probed(&mut self) -> Vec<String> {
        let behind = (std::ops::Bound::Excluded(self.probed.clone()), std::ops::Bound::Unbounded);
        let next = self.relations.range(behind).next().or_else(|| self.relations.first());
        let Some(next) = next.cloned() else { return Vec::new() };
        self.probed.clone_from(&next);
        let silent = self.silent.clone().filter(|silent| *silent != next);
        silent.into_iter().chain([next]).collect()
    }
}

/// Whether a probe was answered: an error may be an answer, too.
fn answer(probed: Result<(), StoreError>) -> Result<(), StoreError> {
    match probed {
        Err(error) if error.kind.is_silence() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// An error with its causes, without the store's name.
fn cause(error: &StoreError) -> Cause {
    let mut what = error.kind.to_string();
    let mut next = error.source.as_ref().map(|cause| cause.as_ref() as &dyn std::error::Error);
    while let Some(cause) = next {
        what = format!("{what}: {cause}");
        next = cause.source();
    }
    Cause { code: error.kind.code(), what, remedy: error.kind.remedy().to_owned() }
}

/// That a fetch was not answered, if none of it was.
fn unanswered(fetched: &Fetched) -> Option<&StoreError> {
    if !fetched.pages.is_empty() {
        return None;
    }
    fetched.unread.iter().map(|(_, error)| error).find(|error| error.kind.is_silence())
}

/// None of so many could be asked.
fn unasked(count: usize, error: StoreError) -> Fetched {
    Fetched { unread: vec![((0..count).collect(), error)], ..Fetched::default() }
}

impl Watched {
    /// Asks for what is there or is an error.
    fn asked<'a, T: Send + 'a>(
        &'a self,
        relation: &'a str,
        work: BoxFuture<'a, Result<T, StoreError>>,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        self.watch.ask(relation, work, |answer| answer.as_ref().err(), Err).boxed()
    }
}

impl Store for Watched {
    fn name(&self) -> &str {
        self.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        self.asked(relation, self.store.describe(relation))
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        self.asked(&read.schema.relation, self.store.split(read, rows))
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        let pages = Some(self.store.scan(read, extent));
        stream::unfold(pages, move |pages| async move {
            let mut pages = pages?;
            let relation = read.schema.relation.as_str();
            let next = pages.next();
            let page = self
                .watch
                .ask(relation, next, |page| page.as_ref()?.as_ref().err(), |error| Some(Err(error)))
                .await?;
            let more = page.is_ok().then_some(pages);
            Some((page, more))
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        let work = self.store.fetch(read, keys, consistency);
        let refused = |error| unasked(keys.rows, error);
        self.watch.ask(&read.schema.relation, work, unanswered, refused).boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        let work = self.store.query(read, query, consistency);
        let refused = |error| unasked(query.values.rows, error);
        self.watch.ask(&read.schema.relation, work, unanswered, refused).boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.asked(relation, self.store.found_by(relation, columns))
    }

    fn readable<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.asked(relation, self.store.readable(relation, columns))
    }

    fn probe<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        self.store.probe(relation)
    }
}
