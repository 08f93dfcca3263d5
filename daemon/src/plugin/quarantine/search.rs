//! The search for what fails by itself.
//!
//! Owns halving: which parts of a call are called for until what fails alone stands alone, and the calls
//! that can be taken apart (rows by their groups, pairs, entities to be located). Refuses to say what
//! becomes of what is found. Invariant: every item of a call that was searched is in exactly one part that
//! succeeded, or is guilty.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{CALLS_MAX, DEADLINES_MAX, DEADLINES_UNPROVEN, GuardedSession};
use crate::model::{Batch, Side};
use crate::plugin::fault::Call;
use crate::plugin::{
    Access, Checked, Failed, Located, Mapped, Output, PairViolation, Pairs, Placed, PluginError,
    PluginErrorKind, Rows, Session,
};

/// A call over some items, which can be made for a part of them alone.
pub(super) trait Divisible {
    /// What a call gives.
    type Given;

    /// The contract's function.
    const FUNCTION: &'static str;
    /// How its items are told.
    const WORDS: Words;

    /// Whose items they are; of pairs, which are of both sides, the source's.
    fn side(&self) -> Side;

    /// How many items there are.
    fn count(&self) -> usize;

    /// Calls for some of them.
    fn call(
        &self,
        session: &mut dyn Session,
        part: Range<usize>,
    ) -> Result<Self::Given, PluginError>;

    /// Which call it is.
    fn place(&self, batch: u64) -> Call;
}

/// How the items of a call are told.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) one: &'static str,
    pub(super) many: &'static str,
    /// What was done to those that it succeeded on.
    pub(super) done: &'static str,
    /// What is said of those that fail by themselves.
    pub(super) fate: &'static str,
}

/// Rows of a side; what belongs together is one item.
pub(super) struct OfRows<'a> {
    pub(super) side: Side,
    pub(super) rows: &'a Rows<'a>,
}

impl Divisible for OfRows<'_> {
    type Given = Mapped;

    const FUNCTION: &'static str = "map-batch";
    const WORDS: Words = Words { one: "row", many: "rows", done: "mapped", fate: "unmappable" };

    fn side(&self) -> Side {
        self.side
    }

    fn count(&self) -> usize {
        self.rows.groups
    }

    fn call(&self, session: &mut dyn Session, part: Range<usize>) -> Result<Mapped, PluginError> {
        if part.len() == self.count() {
            return session.map(self.side, self.rows);
        }
        session.map(self.side, &self.rows.part(part))
    }

    fn place(&self, batch: u64) -> Call {
        let (side, rows) = (Some(self.side), Some(self.rows.count()));
        Call { side, batch: Some(batch), rows, ..Call::default() }
    }
}

/// Pairs whose invariants are checked.
pub(super) struct OfPairs<'a>(pub(super) &'a Pairs<'a>);

impl Divisible for OfPairs<'_> {
    type Given = Vec<PairViolation>;

    const FUNCTION: &'static str = "check-pairs";
    const WORDS: Words = Words { one: "pair", many: "pairs", done: "checked", fate: "unread" };

    fn side(&self) -> Side {
        Side::Source
    }

    fn count(&self) -> usize {
        self.0.source.rows
    }

    fn call(
        &self,
        session: &mut dyn Session,
        part: Range<usize>,
    ) -> Result<Vec<PairViolation>, PluginError> {
        if part.len() == self.count() {
            return session.check_pairs(self.0);
        }
        let at: Vec<usize> = part.clone().collect();
        session.check_pairs(&Pairs {
            entity: self.0.entity,
            source: &self.0.source.take(&at),
            source_present: &self.0.source_present[part.clone()],
            target: &self.0.target.take(&at),
            target_present: &self.0.target_present[part],
        })
    }

    fn place(&self, _batch: u64) -> Call {
        Call { rows: Some(self.count()), ..Call::default() }
    }
}

/// Entities of a type, to be located at a side.
pub(super) struct OfEntities<'a> {
    pub(super) side: Side,
    pub(super) entity: usize,
    pub(super) entities: &'a Batch,
}

impl Divisible for OfEntities<'_> {
    type Given = Vec<Located>;

    const FUNCTION: &'static str = "locate";
    const WORDS: Words = Words { one: "entity", many: "entities", done: "located", fate: "unread" };

    fn side(&self) -> Side {
        self.side
    }

    fn count(&self) -> usize {
        self.entities.rows
    }

    fn call(
        &self,
        session: &mut dyn Session,
        part: Range<usize>,
    ) -> Result<Vec<Located>, PluginError> {
        if part.len() == self.count() {
            return session.locate(self.side, self.entity, self.entities);
        }
        let entities = self.entities.take(&part.collect::<Vec<_>>());
        session.locate(self.side, self.entity, &entities)
    }

    fn place(&self, _batch: u64) -> Call {
        Call { side: Some(self.side), rows: Some(self.count()), ..Call::default() }
    }
}

/// Whether a failure may be a single item's. A plugin that cannot be started fails on none in
/// particular, one that returns an error of its own says by contract that the whole call failed, and one
/// that has run for too long is not called.
pub(super) fn may_be_an_items<D: Divisible>(error: &PluginError) -> bool {
    let of_none =
        matches!(error.kind, PluginErrorKind::Own { .. } | PluginErrorKind::Patience { .. });
    error.function == D::FUNCTION && !of_none
}

/// What a call came to.
pub(super) struct Found<G> {
    /// What was given, by the first item of each part; ascending.
    parts: Vec<(usize, G)>,
    /// Items that fail by themselves, ascending.
    guilty: Vec<(usize, PluginError)>,
}

impl<G> Found<G> {
    /// One call gave everything.
    pub(super) fn at_once(given: G) -> Self {
        Self { parts: vec![(0, given)], guilty: Vec::new() }
    }

    /// What one call over everything gave, if that is how it went.
    fn whole(mut self) -> Result<G, Self> {
        match self.parts.pop() {
            Some((_, given)) if self.parts.is_empty() && self.guilty.is_empty() => Ok(given),
            last => {
                self.parts.extend(last);
                Err(self)
            }
        }
    }
}

/// The search for the guilty items of one call.
pub(super) struct Search<'a, D: Divisible> {
    session: &'a mut GuardedSession,
    items: &'a D,
    found: Found<D::Given>,
}

/// Why a search was given up; nothing if it never began.
type GivenUp = Option<String>;

impl<'a, D: Divisible> Search<'a, D> {
    pub(super) fn new(session: &'a mut GuardedSession, items: &'a D) -> Self {
        Self { session, items, found: Found { parts: Vec::new(), guilty: Vec::new() } }
    }

    /// Calls for all items but the guilty ones.
    pub(super) fn run(mut self, error: &PluginError) -> Result<Found<D::Given>, GivenUp> {
        let count = self.items.count();
        if !may_be_an_items::<D>(error) || self.session.guilt::<D>().left == 0 || count == 0 {
            return Err(None);
        }
        if count == 1 {
            self.find(0, error.clone())?;
        } else {
            self.halve()?;
        }
        let guilty = self.found.guilty.len();
        if guilty > 0 && !self.session.is_proven::<D>(self.items.side()) {
            let Words { one, done, fate, .. } = D::WORDS;
            let of = self.items.place(0).side.map(|side| format!(" of the {side}"));
            let why = format!(
                "no {one}{} has been {done} yet, so none of them is called {fate}",
                of.unwrap_or_default()
            );
            return Err(Some(why));
        }
        self.session.guilt::<D>().left -= guilty;
        Ok(self.found)
    }

    fn halve(&mut self) -> Result<(), GivenUp> {
        let count = self.items.count();
        // One by one while they fail: a plugin that always fails ends here, at the cost of few items.
        let mut next = 0;
        while next < count && !self.gives(next..next + 1)? {
            next += 1;
        }
        // Of a part that is known to fail, and of which one half does not, the other half does.
        let mut open = vec![(next + 1..count, next == 0)];
        while let Some((range, fails)) = open.pop() {
            if range.is_empty() || (!fails || range.len() == 1) && self.gives(range.clone())? {
                continue;
            }
            if range.len() == 1 {
                continue;
            }
            let middle = range.start + range.len() / 2;
            let (left, right) = (range.start..middle, middle..range.end);
            if self.gives(left.clone())? {
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

    /// Whether one call gives these items. A single one that it does not is guilty.
    fn gives(&mut self, range: Range<usize>) -> Result<bool, GivenUp> {
        if let Some(what) = self.spent() {
            let many = D::WORDS.many;
            return Err(Some(format!("the {many} that cause it were not found within {what}")));
        }
        self.session.calls_left -= 1;
        match self.session.attempt(self.items, range.clone()) {
            Ok(given) => self.found.parts.push((range.start, given)),
            Err(error) if !may_be_an_items::<D>(&error) => {
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
        let is_proven = session.is_proven::<D>(self.items.side());
        let deadlines = if is_proven { DEADLINES_MAX } else { DEADLINES_UNPROVEN };
        if session.calls_left == 0 {
            return Some(format!("{CALLS_MAX} calls"));
        }
        let ran = DEADLINES_MAX - session.deadlines_left;
        (ran >= deadlines).then(|| format!("{deadlines} calls that ran into the deadline"))
    }

    fn find(&mut self, item: usize, mut error: PluginError) -> Result<(), GivenUp> {
        let Words { one, many, fate, .. } = D::WORDS;
        let guilt = self.session.guilt::<D>();
        if self.found.guilty.len() == guilt.left {
            guilt.left = 0;
            let why = format!(
                "more than {} {many} of this check fail by themselves, too many to call them {fate}",
                guilt.max
            );
            return Err(Some(why));
        }
        error.call = Box::new(Call {
            pairing: Some(self.session.shared.pairing.clone()),
            search: Some(format!("the {one} fails by itself")),
            ..self.items.place(self.session.batch)
        });
        self.found.guilty.push((item, error));
        Ok(())
    }
}

/// Rows that were mapped; guilty ones are rejected, with the failure as the reason.
pub(super) fn mapped(found: Found<Mapped>) -> Mapped {
    let Found { parts, guilty } = match found.whole() {
        Ok(mapped) => return mapped,
        Err(found) => found,
    };
    let reason = |error: &PluginError| {
        format!("plugin `{}`, {}: {}", error.plugin, error.function, error.kind)
    };
    let mut rejected: Vec<(usize, String)> =
        guilty.iter().map(|(group, error)| (*group, reason(error))).collect();
    let count = guilty.len();
    let failed = guilty.into_iter().next().map(|(group, error)| Failed { group, count, error });
    let mut types: BTreeMap<usize, Vec<(usize, Output)>> = BTreeMap::new();
    for (start, part) in parts {
        for output in part.outputs {
            types.entry(output.entity).or_default().push((start, output));
        }
        rejected.extend(part.rejected.into_iter().map(|(group, why)| (start + group, why)));
    }
    rejected.sort_by_key(|(group, _)| *group);
    Mapped { outputs: types.into_values().map(together).collect(), rejected, failed }
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

/// Pairs that were checked, in one piece.
pub(super) fn checked(found: Found<Vec<PairViolation>>) -> Checked {
    let Found { parts, guilty } = match found.whole() {
        Ok(violations) => return Checked { violations, failed: Vec::new() },
        Err(found) => found,
    };
    let violations = parts.into_iter().flat_map(|(start, part)| {
        part.into_iter().map(move |it| PairViolation { pair: start + it.pair, ..it })
    });
    Checked { violations: violations.collect(), failed: guilty }
}

/// Places of entities, in one piece for each relation and access.
pub(super) fn placed(found: Found<Vec<Located>>) -> Placed {
    let Found { parts, guilty } = match found.whole() {
        Ok(located) => return Placed { located, failed: Vec::new() },
        Err(found) => found,
    };
    let mut kinds: BTreeMap<(usize, Access, usize), Vec<(usize, Located)>> = BTreeMap::new();
    for (start, part) in parts {
        for located in part {
            let kind = (located.relation, located.access, located.keys.columns.len());
            kinds.entry(kind).or_default().push((start, located));
        }
    }
    let whole =
        |((relation, access, _), parts): ((usize, Access, usize), Vec<(usize, Located)>)| {
            let keys: Vec<&Batch> = parts.iter().map(|(_, part)| &part.keys).collect();
            let keys = Batch::concat(&keys);
            let from_entity = parts
                .into_iter()
                .flat_map(|(start, part)| part.from_entity.into_iter().map(move |at| start + at));
            Located { relation, access, keys, from_entity: from_entity.collect() }
        };
    Placed { located: kinds.into_iter().map(whole).collect(), failed: guilty }
}
