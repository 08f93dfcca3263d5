//! What keeps a plugin's failures to the rows that cause them.
//!
//! Owns the guard around a mapping: the search for what is guilty by halving on fresh instances
//! (`quarantine/search.rs`), its bounds, and the breaker. Rows of one group belong together, so that
//! groups are what is halved and found guilty; most often a row is a group. Refuses to blame any item of a
//! call while the plugin has succeeded on none of its kind. Invariant: the rows of a call are mapped, or
//! rejected because they fail by themselves, or the call fails and none of them is; pairs that fail by
//! themselves, and entities whose place cannot be told, are named as unread and never pass as checked; and
//! a plugin that always fails costs a bounded number of calls.

mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::search::{Divisible, Found, OfEntities, OfPairs, OfRows, Search, may_be_an_items};
use super::breaker::{Breaker, Change, Pause, Went};
use super::fault::Call;
use super::{
    Checked, Located, Mapped, Mapper, Output, PairViolation, Pairs, Placed, PluginError,
    PluginErrorKind, Rows, Session, Tallied, Tally,
};
use crate::model::{Batch, FaultCode, InvariantDef, MappingIdentity, MappingPlan, Moment, Side};

/// Rows that may be found guilty in one check, and as many pairs and entities; a look may find as many as
/// it asks for.
const GUILTY_MAX: usize = 16;
/// Calls that one check or look spends on searching, at most. Each of 16 rows among a thousand costs
/// about twenty.
const CALLS_MAX: u32 = 1_000;
/// Calls of a search that may run into the deadline in one check or look: one such row among a
/// thousand is found, and with two seconds each that is what a search may take longest.
const DEADLINES_MAX: u32 = 12;
/// The same while the plugin has succeeded on no item of this kind, when all may be alike.
const DEADLINES_UNPROVEN: u32 = 3;
/// Failed calls of one check after which the plugin is not called again in it.
const FAULTS_MAX: u32 = 3;

/// Tells the time; `run` gives it.
pub(super) type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// `mapper`, guarded: what it fails on is narrowed down to single rows where these are few, and when
/// it fails too often in a row it is left alone for a while.
#[must_use]
pub fn guarded(mapper: Arc<dyn Mapper>, pairing: &str, clock: Clock) -> Arc<dyn Mapper> {
    let state = Mutex::default();
    let shared = Arc::new(Shared { pairing: pairing.to_owned(), clock, state });
    Arc::new(Guarded { mapper, shared })
}

struct Guarded {
    mapper: Arc<dyn Mapper>,
    shared: Arc<Shared>,
}

impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guarded").field(&self.mapper).finish()
    }
}

/// What the sessions of a pairing share.
struct Shared {
    pairing: String,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    breaker: Breaker,
    /// The last failed call.
    failed: Option<PluginError>,
    /// Functions, and the sides whose items they succeeded on since the breaker was opened.
    proven: BTreeSet<(&'static str, Side)>,
}

impl Shared {
    /// A session that panicked leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn paused(&self, pause: Pause, failed: Option<&PluginError>) -> PluginError {
        let (plugin, digest, function) = failed.map_or_else(
            || ("plugin".to_owned(), String::new(), "map-batch"),
            |failed| (failed.plugin.clone(), failed.digest.clone(), failed.function),
        );
        let call = Call { pairing: Some(self.pairing.clone()), ..Call::default() };
        PluginError { plugin, digest, function, call: Box::new(call), kind: pause.kind() }
    }

    /// Takes note of how a session went.
    fn note(&self, tried: bool, went: Went, failed: Option<PluginError>) {
        let now = (self.clock)();
        let mut state = self.state();
        if failed.is_some() {
            state.failed = failed;
        }
        let change = state.breaker.note(now, tried, went);
        if let Some(Change::Opened(_)) = change {
            state.proven.clear();
        }
        let failed = state.failed.clone();
        drop(state);
        let pairing = &self.pairing;
        match change {
            None => {}
            Some(Change::Opened(pause)) => {
                let error = self.paused(pause, failed.as_ref());
                let last = failed.map(|failed| failed.blame()).unwrap_or_default();
                tracing::warn!(
                    target: "driftd", pairing, code = error.kind.code().as_str(),
                    "{}; the last failure: {last}; {}", error.blame(), error.remedy()
                );
            }
            Some(Change::Closed(pause)) => tracing::info!(
                target: "driftd", pairing, failures = pause.failures,
                "the plugin works again, after {} s in which it failed or was not called",
                now.since(pause.since).as_secs()
            ),
        }
    }
}

impl Mapper for Guarded {
    fn identity(&self) -> MappingIdentity {
        self.mapper.identity()
    }

    fn plan(&self) -> &MappingPlan {
        self.mapper.plan()
    }

    fn invariants(&self) -> &[InvariantDef] {
        self.mapper.invariants()
    }

    fn locates(&self, side: Side) -> bool {
        self.mapper.locates(side)
    }

    fn identifies(&self) -> bool {
        self.mapper.identifies()
    }

    /// Past the guard, which would narrow a failure down: here it is to be told as it is.
    fn prove(&self, side: Side, rows: &Rows<'_>, as_of: Moment) -> Result<(), PluginError> {
        self.mapper.prove(side, rows, as_of)
    }

    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        let now = (self.shared.clock)();
        let mut state = self.shared.state();
        let tried = match state.breaker.admit(now) {
            Ok(tried) => tried,
            Err(pause) => return Err(self.shared.paused(pause, state.failed.as_ref())),
        };
        drop(state);
        let shared = Arc::clone(&self.shared);
        match self.mapper.begin(as_of) {
            Ok(inner) => Ok(Box::new(GuardedSession::new(inner, shared, tried))),
            Err(error) => {
                shared.note(tried, Went::Badly(error.kind.code()), Some(error.clone()));
                Err(error)
            }
        }
    }
}

struct GuardedSession {
    inner: Box<dyn Session>,
    shared: Arc<Shared>,
    /// Whether this check tries a plugin that was left alone.
    tried: bool,
    /// Functions of which a call succeeded.
    sound: Vec<&'static str>,
    /// Functions of which a call failed, and the code of the failure.
    unsound: Vec<(&'static str, FaultCode)>,
    /// Whether the plugin has not been called since it was started.
    fresh: bool,
    batch: u64,
    /// Rows that may be found guilty.
    rows: Guilt,
    /// Pairs and entities that may be: they are counted apart, because they cost no row.
    others: Guilt,
    calls_left: u32,
    deadlines_left: u32,
    faults: u32,
    /// Whether `keys-of` failed, and is not asked again in this check.
    mute: bool,
    marked: Budget,
    last: Option<PluginError>,
}

/// What may be spent on searching.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    rows: usize,
    others: usize,
    calls: u32,
    deadlines: u32,
    faults: u32,
}

/// How many items may be found guilty, and how many of them are left.
struct Guilt {
    max: usize,
    left: usize,
}

impl Guilt {
    const fn new() -> Self {
        Self { max: GUILTY_MAX, left: GUILTY_MAX }
    }

    fn allow(&mut self, count: usize) {
        let more = count.saturating_sub(self.max);
        self.max += more;
        self.left += more;
    }
}

impl Drop for GuardedSession {
    fn drop(&mut self) {
        // A function that succeeds on some rows is worth calling; what it fails on is unread.
        let lost = self.unsound.iter().rfind(|(function, _)| !self.sound.contains(function));
        let went = match lost {
            Some((_, code)) => Went::Badly(*code),
            None if self.sound.is_empty() => Went::Uncalled,
            None => Went::Well,
        };
        self.shared.note(self.tried, went, self.last.take());
    }
}

impl Session for GuardedSession {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        self.refused()?;
        self.batch += 1;
        self.divided(&OfRows { side, rows }).map(search::mapped)
    }

    fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        self.refused()?;
        let located = self.inner.locate(side, entity, entities);
        let call = Call { side: Some(side), rows: Some(entities.rows), ..Call::default() };
        self.ended("locate", located, call)
    }

    fn locate_each(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Placed, PluginError> {
        self.refused()?;
        self.divided(&OfEntities { side, entity, entities }).map(search::placed)
    }

    fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        self.refused()?;
        if self.mute {
            return Ok(Vec::new());
        }
        // What it says is of use, and of no need: that it fails costs neither rows nor further calls.
        let known = self.inner.keys_of(side, relation, keys);
        self.fresh = known.is_err();
        self.mute = known.is_err();
        known.map_err(|mut error| {
            let pairing = Some(self.shared.pairing.clone());
            let rows = Some(keys.rows);
            *error.call = Call { pairing, side: Some(side), rows, ..Call::default() };
            let pairing = &self.shared.pairing;
            tracing::warn!(
                target: "driftd", pairing, code = error.kind.code().as_str(),
                "{}; rejected rows of this check are told by their places; {}",
                error.blame(), error.remedy()
            );
            error
        })
    }

    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        self.refused()?;
        let checked = self.inner.check_pairs(pairs);
        self.ended(
            "check-pairs",
            checked,
            Call { rows: Some(pairs.source.rows), ..Call::default() },
        )
    }

    fn check_each(&mut self, pairs: &Pairs<'_>) -> Result<Checked, PluginError> {
        self.refused()?;
        self.divided(&OfPairs(pairs)).map(search::checked)
    }

    fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        self.refused()?;
        let tallied = self.inner.tally(invariant, tally);
        let rows = match tally {
            Tally::Pairs(all) => Some(all.iter().map(|pairs| pairs.source.rows).sum()),
            Tally::States(_) => None,
        };
        self.ended("accumulator", tallied, Call { rows, ..Call::default() })
    }

    fn allow_guilty(&mut self, rows: usize) {
        self.rows.allow(rows);
        self.others.allow(rows);
    }

    fn mark(&mut self) {
        self.marked = self.budget();
    }

    fn back(&mut self) {
        let Budget { rows, others, calls, deadlines, faults } = self.marked;
        (self.rows.left, self.others.left) = (rows, others);
        (self.calls_left, self.deadlines_left, self.faults) = (calls, deadlines, faults);
    }
}

impl GuardedSession {
    fn new(inner: Box<dyn Session>, shared: Arc<Shared>, tried: bool) -> Self {
        Self {
            inner,
            shared,
            tried,
            sound: Vec::new(),
            unsound: Vec::new(),
            fresh: true,
            batch: 0,
            rows: Guilt::new(),
            others: Guilt::new(),
            calls_left: CALLS_MAX,
            deadlines_left: DEADLINES_MAX,
            faults: 0,
            mute: false,
            marked: Budget::default(),
            last: None,
        }
    }

    /// What may still be spent on searching.
    const fn budget(&self) -> Budget {
        Budget {
            rows: self.rows.left,
            others: self.others.left,
            calls: self.calls_left,
            deadlines: self.deadlines_left,
            faults: self.faults,
        }
    }

    /// The last error, if the plugin has failed too often in this check to be called again.
    fn refused(&self) -> Result<(), PluginError> {
        match &self.last {
            Some(error) if self.faults >= FAULTS_MAX => Err(error.clone()),
            _ => Ok(()),
        }
    }

    fn ended<R>(
        &mut self,
        function: &'static str,
        result: Result<R, PluginError>,
        call: Call,
    ) -> Result<R, PluginError> {
        self.fresh = result.is_err();
        match result {
            Ok(result) => {
                self.succeeded(function);
                Ok(result)
            }
            Err(error) => Err(self.failed(error, call)),
        }
    }

    fn succeeded(&mut self, function: &'static str) {
        if !self.sound.contains(&function) {
            self.sound.push(function);
        }
    }

    /// A call that failed, after all.
    fn failed(&mut self, mut error: PluginError, call: Call) -> PluginError {
        let pairing = Some(self.shared.pairing.clone());
        error.call = Box::new(Call { pairing, ..call });
        self.faults += 1;
        self.unsound.push((error.function, error.kind.code()));
        self.last = Some(error.clone());
        error
    }

    /// What a call over all items gives, and those of them that fail by themselves.
    fn divided<D: Divisible>(&mut self, items: &D) -> Result<Found<D::Given>, PluginError> {
        let error = match self.attempt(items, 0..items.count()) {
            Ok(given) => {
                self.succeeded(D::FUNCTION);
                return Ok(Found::at_once(given));
            }
            Err(error) => error,
        };
        match Search::new(self, items).run(&error) {
            Ok(found) => {
                self.succeeded(D::FUNCTION);
                Ok(found)
            }
            Err(search) => {
                let call = Call { search, ..items.place(self.batch) };
                Err(self.failed(error, call))
            }
        }
    }

    /// One call. What fails on a used instance is tried again on a fresh one: what an instance was
    /// left with by others must not be blamed on these.
    fn attempt<D: Divisible>(
        &mut self,
        items: &D,
        part: Range<usize>,
    ) -> Result<D::Given, PluginError> {
        let is_some = !part.is_empty();
        let mut given = self.call(items, part.clone());
        if !self.fresh && given.as_ref().is_err_and(may_be_an_items::<D>) {
            self.fresh = true;
            given = self.call(items, part);
        }
        self.fresh = given.is_err();
        if given.is_ok() && is_some {
            self.shared.state().proven.insert((D::FUNCTION, items.side()));
        }
        given
    }

    /// Whether the function has succeeded on items of this side before.
    fn is_proven<D: Divisible>(&self, side: Side) -> bool {
        self.shared.state().proven.contains(&(D::FUNCTION, side))
    }

    /// What may be found guilty by calls of this kind.
    fn guilt<D: Divisible>(&mut self) -> &mut Guilt {
        if D::FUNCTION == OfRows::FUNCTION { &mut self.rows } else { &mut self.others }
    }

    fn call<D: Divisible>(
        &mut self,
        items: &D,
        part: Range<usize>,
    ) -> Result<D::Given, PluginError> {
        let given = items.call(&mut *self.inner, part);
        if matches!(&given, Err(PluginError { kind: PluginErrorKind::Deadline { .. }, .. })) {
            self.deadlines_left = self.deadlines_left.saturating_sub(1);
        }
        given
    }
}
