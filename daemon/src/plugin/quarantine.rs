//! What keeps a plugin's failures to the rows that cause them.
//!
//! Owns the guard around a mapping: the search for guilty rows by halving on fresh instances, its
//! bounds, and the breaker. Rows of one group belong together, so that groups are what is halved and
//! found guilty; most often a row is a group. Refuses to call a row unmappable while the mapping has
//! mapped no row of that side. Invariant: the rows of a call are mapped, or rejected because they fail by themselves,
//! or the call fails and none of them is; and a plugin that always fails costs a bounded number of
//! calls.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, Change, Pause, Went};
use super::fault::Call;
use super::{
    Located, Mapped, Mapper, Output, PairViolation, Pairs, PluginError, PluginErrorKind, Rows,
    Session, Tallied, Tally,
};
use crate::model::{Batch, InvariantDef, MappingIdentity, MappingPlan, Moment, Side};

/// Rows that may be found guilty in one check; a look may find as many as it asks for.
const GUILTY_MAX: usize = 16;
/// Calls that one check or look spends on searching, at most. Each of 16 rows among a thousand costs
/// about twenty.
const CALLS_MAX: u32 = 1_000;
/// Calls of a search that may run into the deadline in one check or look: one such row among a
/// thousand is found, and with two seconds each that is what a search may take longest.
const DEADLINES_MAX: u32 = 12;
/// The same while no row of the side has been mapped, when all rows may be alike.
const DEADLINES_UNPROVEN: u32 = 3;
/// Failed calls of one check after which the plugin is not called again in it.
const FAULTS_MAX: u32 = 3;
/// How often it is said that rows were found guilty.
const TELL_EVERY: Duration = Duration::from_secs(60);

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
    /// Whether rows of the source and of the target have been mapped since the breaker was opened.
    proven: [bool; 2],
    /// When it was last said that rows were found guilty.
    told: Option<Moment>,
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
            state.proven = [false; 2];
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
                    target: "driftd", pairing, code = error.kind.code(),
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

    /// Says, but not often, that rows were found guilty.
    fn tell(&self, rows: usize, error: &PluginError) {
        let now = (self.clock)();
        let mut state = self.state();
        if state.told.is_some_and(|told| now.since(told) < TELL_EVERY) {
            return;
        }
        state.told = Some(now);
        drop(state);
        tracing::warn!(
            target: "driftd", pairing = self.pairing, rows, code = error.kind.code(),
            "rows fail by themselves and count as unmappable, the rest is compared; one of them: \
             {}; {}; `driftd drift` lists them once they are confirmed", error.blame(), error.remedy()
        );
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
    unsound: Vec<(&'static str, &'static str)>,
    /// Whether the plugin has not been called since it was started.
    fresh: bool,
    batch: u64,
    /// Rows that may be found guilty, and how many of them are left.
    guilty_max: usize,
    guilty_left: usize,
    calls_left: u32,
    deadlines_left: u32,
    faults: u32,
    last: Option<PluginError>,
}

impl Drop for GuardedSession {
    fn drop(&mut self) {
        // A function that succeeds on some rows is worth calling; what it fails on is unread.
        let lost = self.unsound.iter().rfind(|(function, _)| !self.sound.contains(function));
        let went = match lost {
            Some((_, code)) => Went::Badly(code),
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
        let error = match self.attempt(side, rows) {
            Ok(mapped) => {
                self.succeeded("map-batch");
                return Ok(mapped);
            }
            Err(error) => error,
        };
        let searched = Search { session: self, side, rows, parts: Vec::new(), guilty: Vec::new() };
        match searched.run(&error) {
            Ok(mapped) => {
                self.succeeded("map-batch");
                Ok(mapped)
            }
            Err(search) => {
                let call = Call {
                    side: Some(side),
                    batch: Some(self.batch),
                    rows: Some(rows.count()),
                    search,
                    ..Call::default()
                };
                Err(self.failed(error, call))
            }
        }
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

    fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        self.refused()?;
        let known = self.inner.keys_of(side, relation, keys);
        let call = Call { side: Some(side), rows: Some(keys.rows), ..Call::default() };
        self.ended("keys-of", known, call)
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
        let more = rows.saturating_sub(self.guilty_max);
        self.guilty_max += more;
        self.guilty_left += more;
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
            guilty_max: GUILTY_MAX,
            guilty_left: GUILTY_MAX,
            calls_left: CALLS_MAX,
            deadlines_left: DEADLINES_MAX,
            faults: 0,
            last: None,
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

    /// One call. What fails on a used instance is tried again on a fresh one: what an instance was
    /// left with by other rows must not be blamed on these.
    fn attempt(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let mut mapped = self.call(side, rows);
        if !self.fresh && mapped.as_ref().is_err_and(may_be_a_rows) {
            self.fresh = true;
            mapped = self.call(side, rows);
        }
        self.fresh = mapped.is_err();
        if mapped.is_ok() && rows.groups > 0 {
            self.shared.state().proven[usize::from(side == Side::Target)] = true;
        }
        mapped
    }

    /// Whether rows of this side have been mapped before.
    fn is_proven(&self, side: Side) -> bool {
        self.shared.state().proven[usize::from(side == Side::Target)]
    }

    fn call(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let mapped = self.inner.map(side, rows);
        if matches!(&mapped, Err(PluginError { kind: PluginErrorKind::Deadline { .. }, .. })) {
            self.deadlines_left = self.deadlines_left.saturating_sub(1);
        }
        mapped
    }
}

/// Whether a failure may be a single row's. A plugin that cannot be started fails on no row in
/// particular, and one that returns an error of its own says by contract that the whole call failed.
fn may_be_a_rows(error: &PluginError) -> bool {
    error.function == "map-batch" && !matches!(error.kind, PluginErrorKind::Own { .. })
}

/// The search for the guilty groups of one call.
struct Search<'a> {
    session: &'a mut GuardedSession,
    side: Side,
    rows: &'a Rows<'a>,
    /// What was mapped, by the first group of each part; ascending.
    parts: Vec<(usize, Mapped)>,
    /// Groups that fail by themselves, ascending.
    guilty: Vec<(usize, PluginError)>,
}

/// Why a search was given up; nothing if it never began.
type GivenUp = Option<String>;

impl Search<'_> {
    /// Maps all groups but the guilty ones.
    fn run(mut self, error: &PluginError) -> Result<Mapped, GivenUp> {
        if !may_be_a_rows(error) || self.session.guilty_left == 0 || self.rows.groups == 0 {
            return Err(None);
        }
        if self.rows.groups == 1 {
            self.find(0, error.clone())?;
        } else {
            self.halve()?;
        }
        if !self.guilty.is_empty() && !self.session.is_proven(self.side) {
            let why = format!(
                "no row of the {} has been mapped yet, so none of them is called unmappable",
                self.side
            );
            return Err(Some(why));
        }
        self.session.guilty_left -= self.guilty.len();
        if let Some((_, error)) = self.guilty.first() {
            self.session.shared.tell(self.guilty.len(), error);
        }
        Ok(self.whole())
    }

    fn halve(&mut self) -> Result<(), GivenUp> {
        let count = self.rows.groups;
        // One by one while they fail: a plugin that always fails ends here, at the cost of few groups.
        let mut next = 0;
        while next < count && !self.maps(next..next + 1)? {
            next += 1;
        }
        // Of a part that is known to fail, and of which one half does not, the other half does.
        let mut open = vec![(next + 1..count, next == 0)];
        while let Some((range, fails)) = open.pop() {
            if range.is_empty() || (!fails || range.len() == 1) && self.maps(range.clone())? {
                continue;
            }
            if range.len() == 1 {
                continue;
            }
            let middle = range.start + range.len() / 2;
            let (left, right) = (range.start..middle, middle..range.end);
            if self.maps(left.clone())? {
                open.push((right, true));
            } else {
                open.push((right, false));
                if left.len() > 1 {
                    open.push((left, true));
                }
            }
        }
        Ok(())
    }

    /// Whether these groups are mapped by one call. A single one that is not is guilty.
    fn maps(&mut self, range: Range<usize>) -> Result<bool, GivenUp> {
        if let Some(what) = self.spent() {
            return Err(Some(format!("the rows that cause it were not found within {what}")));
        }
        let session = &mut *self.session;
        session.calls_left -= 1;
        let part = self.rows.part(range.clone());
        match session.attempt(self.side, &part) {
            Ok(mapped) => self.parts.push((range.start, mapped)),
            Err(error) if !may_be_a_rows(&error) => {
                let PluginError { function, kind, .. } = error;
                return Err(Some(format!(
                    "in the search {function} failed with `{}`",
                    kind.code()
                )));
            }
            Err(error) => {
                if range.len() == 1 {
                    self.find(range.start, error)?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the search has used up, if anything.
    fn spent(&self) -> Option<String> {
        let session = &self.session;
        let deadlines =
            if session.is_proven(self.side) { DEADLINES_MAX } else { DEADLINES_UNPROVEN };
        if session.calls_left == 0 {
            return Some(format!("{CALLS_MAX} calls"));
        }
        let ran = DEADLINES_MAX - session.deadlines_left;
        (ran >= deadlines).then(|| format!("{deadlines} calls that ran into the deadline"))
    }

    fn find(&mut self, group: usize, mut error: PluginError) -> Result<(), GivenUp> {
        if self.guilty.len() == self.session.guilty_left {
            self.session.guilty_left = 0;
            let why = format!(
                "more than {} rows of this check fail by themselves, too many to call them unmappable",
                self.session.guilty_max
            );
            return Err(Some(why));
        }
        error.call = Box::new(Call {
            pairing: Some(self.session.shared.pairing.clone()),
            side: Some(self.side),
            batch: Some(self.session.batch),
            rows: Some(self.rows.count()),
            search: Some("the row fails by itself".to_owned()),
        });
        self.guilty.push((group, error));
        Ok(())
    }

    /// Everything in one piece.
    fn whole(self) -> Mapped {
        let reason = |error: &PluginError| {
            format!("plugin `{}`, {}: {}", error.plugin, error.function, error.kind)
        };
        let guilty = self.guilty.iter().map(|(group, error)| (*group, reason(error)));
        let mut rejected: Vec<(usize, String)> = guilty.collect();
        let mut types: BTreeMap<usize, Vec<(usize, Output)>> = BTreeMap::new();
        for (start, part) in self.parts {
            for output in part.outputs {
                types.entry(output.entity).or_default().push((start, output));
            }
            rejected.extend(part.rejected.into_iter().map(|(group, why)| (start + group, why)));
        }
        rejected.sort_by_key(|(group, _)| *group);
        Mapped { outputs: types.into_values().map(together).collect(), rejected }
    }
}

/// Parts of one entity type, each with the first group of its part, in one piece.
fn together(parts: Vec<(usize, Output)>) -> Output {
    let batches: Vec<&Batch> = parts.iter().map(|(_, part)| &part.entities).collect();
    let mut whole = Output { entities: Batch::concat(&batches), ..Output::default() };
    for (start, part) in parts {
        whole.entity = part.entity;
        whole.from_group.extend(part.from_group.into_iter().map(|group| start + group));
        whole.standing.extend(part.standing);
    }
    whole
}
