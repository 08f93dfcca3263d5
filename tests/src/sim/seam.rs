//! Wrappers at the seams of the daemon.
//!
//! Owns a store in which time passes while it is read, a store that hangs, a store that lies about
//! failed reads, and a mapping that excludes rows and checks an invariant. Refuses knowledge of what is simulated.
//! Invariant: production types have no switches for tests; whatever a test needs is put around them.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use driftd::model::{
    Batch, Extent, InvariantDef, MappingIdentity, MappingPlan, Moment, RelationSchema, Scope,
    Severity, Side, Standing, Violation,
};
use driftd::plugin::{
    Located, Mapped, Mapper, Output, PairViolation, Pairs, PluginError, PluginErrorKind, Rows,
    Session, Tallied, Tally,
};
use driftd::store::{
    Capabilities, Consistency, Fetched, Page, Query, Read, Store, StoreError, StoreErrorKind,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

/// A store in which time passes with every page and every fetch.
pub(super) struct Passing {
    inner: Arc<dyn Store>,
    pass: Arc<dyn Fn() + Send + Sync>,
}

impl Passing {
    /// Puts `pass` around the reads of `inner`.
    #[must_use]
    pub(super) fn new(inner: Arc<dyn Store>, pass: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { inner, pass }
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Store for Passing {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        self.inner.describe(relation)
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        self.inner.split(read, rows)
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        let pages = self.inner.scan(read, extent);
        pages.inspect(|_page| (self.pass)()).boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            (self.pass)();
            let fetched = self.inner.fetch(read, keys, consistency).await;
            (self.pass)();
            fetched
        }
        .boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            (self.pass)();
            let fetched = self.inner.query(read, query, consistency).await;
            (self.pass)();
            fetched
        }
        .boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.found_by(relation, columns)
    }
}

/// A store that may hang: then it answers nothing, and each request fails after its patience.
pub(super) struct Hanging {
    inner: Arc<dyn Store>,
    hangs: Arc<AtomicBool>,
    patience: Duration,
    now: Arc<dyn Fn() -> Moment + Send + Sync>,
}

impl Hanging {
    /// Puts what may hang around `inner`.
    #[must_use]
    pub(super) fn new(
        inner: Arc<dyn Store>,
        hangs: Arc<AtomicBool>,
        patience: Duration,
        now: Arc<dyn Fn() -> Moment + Send + Sync>,
    ) -> Self {
        Self { inner, hangs, patience, now }
    }

    /// Waits for an answer, at most for the patience.
    fn answer(&self, relation: &str) -> impl Future<Output = Result<(), StoreError>> + Send {
        let (hangs, now, patience) =
            (Arc::clone(&self.hangs), Arc::clone(&self.now), self.patience);
        let (store, relation) = (self.inner.name().to_owned(), Some(relation.to_owned()));
        let until = now().after(patience);
        std::future::poll_fn(move |_| {
            if !hangs.load(Ordering::Relaxed) {
                return Poll::Ready(Ok(()));
            }
            if now() < until {
                return Poll::Pending;
            }
            let kind = StoreErrorKind::Timeout { doing: "reading".to_owned(), after: patience };
            let (store, relation) = (store.clone(), relation.clone());
            Poll::Ready(Err(StoreError { store, relation, kind, source: None }))
        })
    }
}

impl fmt::Debug for Hanging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hanging").field("inner", &self.inner).finish_non_exhaustive()
    }
}

/// None of so many could be read.
fn unread(count: usize, error: StoreError) -> Fetched {
    Fetched { unread: vec![((0..count).collect(), error)], ..Fetched::default() }
}

impl Store for Hanging {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        async move {
            self.answer(relation).await?;
            self.inner.describe(relation).await
        }
        .boxed()
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        async move {
            self.answer(&read.schema.relation).await?;
            self.inner.split(read, rows).await
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        let pages = Some(self.inner.scan(read, extent));
        stream::unfold(pages, move |pages| async move {
            let mut pages = pages?;
            if let Err(error) = self.answer(&read.schema.relation).await {
                return Some((Err(error), None));
            }
            Some((pages.next().await?, Some(pages)))
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            match self.answer(&read.schema.relation).await {
                Ok(()) => self.inner.fetch(read, keys, consistency).await,
                Err(error) => unread(keys.rows, error),
            }
        }
        .boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            match self.answer(&read.schema.relation).await {
                Ok(()) => self.inner.query(read, query, consistency).await,
                Err(error) => unread(query.values.rows, error),
            }
        }
        .boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.inner.found_by(relation, columns)
    }
}

/// A store that is broken on purpose: what could not be fetched is not there, and a scan that fails
/// is over.
#[derive(Debug)]
pub(super) struct Lying(pub(super) Arc<dyn Store>);

impl Store for Lying {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        self.0.describe(relation)
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        self.0.split(read, rows)
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        self.0.scan(read, extent).take_while(|page| futures::future::ready(page.is_ok())).boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move { Fetched { unread: Vec::new(), ..self.0.fetch(read, keys, consistency).await } }
            .boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move { Fetched { unread: Vec::new(), ..self.0.query(read, query, consistency).await } }
            .boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.0.found_by(relation, columns)
    }
}

/// The text with which the name of an excluded entity begins.
pub const EXCLUDED: &str = "out-of-scope";

/// The text with which the name of an entity begins that the mapping traps on.
pub const POISON: &str = "poison";

/// The text with which the name of an entity begins that breaks an invariant of names.
pub const RUDE: &str = "rude";

/// A mapping that excludes what is named so, traps on what is named so, and checks that no amount is
/// negative and no name rude.
#[derive(Debug)]
pub(super) struct Judging {
    inner: Arc<dyn Mapper>,
    plan: MappingPlan,
    invariants: Vec<InvariantDef>,
}

impl Judging {
    /// Judges what `inner` maps. The entity's second field is its name, the fourth its amount.
    #[must_use]
    pub(super) fn new(inner: Arc<dyn Mapper>, invariant: bool) -> Self {
        let mut plan = inner.plan().clone();
        plan.source.mapped = true;
        plan.target.mapped = true;
        let balance = InvariantDef {
            id: "balance".to_owned(),
            summary: "no amount is negative".to_owned(),
            severity: Severity::Critical,
            scope: Scope::Pair,
        };
        let polite = InvariantDef {
            id: "polite".to_owned(),
            summary: "no name is rude".to_owned(),
            severity: Severity::Info,
            scope: Scope::Pair,
        };
        let invariants = if invariant { vec![balance, polite] } else { Vec::new() };
        Self { inner, plan, invariants }
    }
}

impl Mapper for Judging {
    fn identity(&self) -> MappingIdentity {
        self.inner.identity()
    }

    fn plan(&self) -> &MappingPlan {
        &self.plan
    }

    fn invariants(&self) -> &[InvariantDef] {
        &self.invariants
    }

    fn locates(&self, side: Side) -> bool {
        self.inner.locates(side)
    }

    fn identifies(&self) -> bool {
        self.inner.identifies()
    }

    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(JudgingSession(self.inner.begin(as_of)?)))
    }
}

struct JudgingSession(Box<dyn Session>);

impl Session for JudgingSession {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let mut mapped = self.0.map(side, rows)?;
        let users = &mut mapped.outputs[0];
        let names = &users.entities.columns[1];
        let poison = |row: &usize| names.bytes(*row).is_some_and(|name| contains(name, POISON));
        if (0..users.entities.rows).any(|row| poison(&row)) {
            return Err(PluginError::new(
                "simulated".to_owned(),
                String::new(),
                "map",
                PluginErrorKind::Trap("by the simulation".to_owned()),
            ));
        }
        for (row, standing) in users.standing.iter_mut().enumerate() {
            if names.bytes(row).is_some_and(|name| contains(name, EXCLUDED)) {
                *standing = Standing::Excluded;
            }
        }
        Ok(mapped)
    }

    fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        self.0.locate(side, entity, entities)
    }

    fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        self.0.keys_of(side, relation, keys)
    }

    fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        self.0.tally(invariant, tally)
    }

    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        let negative = |batch: &Batch, present: &[bool], row: usize| {
            present[row] && batch.columns[3].bytes(row).is_some_and(is_negative)
        };
        let rude = |batch: &Batch, present: &[bool], row: usize| {
            present[row] && batch.columns[1].bytes(row).is_some_and(|name| contains(name, RUDE))
        };
        let mut violations = Vec::new();
        for pair in 0..pairs.source_present.len() {
            let mut note = |invariant, message: &str| {
                let violation = Violation { invariant, message: message.to_owned() };
                violations.push(PairViolation { pair, violation });
            };
            if negative(pairs.source, pairs.source_present, pair)
                || negative(pairs.target, pairs.target_present, pair)
            {
                note(0, "negative");
            }
            if rude(pairs.source, pairs.source_present, pair)
                || rude(pairs.target, pairs.target_present, pair)
            {
                note(1, "rude");
            }
        }
        Ok(violations)
    }
}

/// Whether a cell, as text or as the encoding of one, contains `text`.
fn contains(cell: &[u8], text: &str) -> bool {
    cell.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Whether a decimal cell is negative: as ASCII, or as the encoding of a small integer.
fn is_negative(cell: &[u8]) -> bool {
    matches!(cell.first(), Some(0x20..=0x2f))
}
