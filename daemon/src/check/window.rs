//! What a check holds of both sides at once.
//!
//! Owns [`Window`]: mapping pages into entity sets, dropping what has no counterpart, comparing, and
//! telling what differs. Refuses to read. Invariants: a row that was read ends in a set, among the
//! rejected, or in `unread`; each row of a side is in a comparison at most once; and whatever came up is
//! in exactly one of the outcome's counts. The last two are checked as it goes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::check::count::Count;
use crate::check::cover::Covered;
use crate::check::gather::Heard;
use crate::check::met::Met;
use crate::check::places::{Wanted, first_integer};
use crate::check::portion::{Lies, PageLies, Portion};
use crate::check::rules::Accumulated;
use crate::check::stray::Placing;
use crate::check::{Context, SideContext, plugin_fault};
use crate::compare::{Asks, EntitySet, Stands, compare};
use crate::model::{
    Batch, Cost, FailedRows, Fault, FaultCode, Key, Member, Moment, Outcome, Range, Reading, Side,
    Span, SpanKind, Standing, StoreKey, Unread,
};
use crate::plugin::{Failed, Mapped, Output, Placed, PluginError, Rows, Session};

/// Entities that a mapping is asked to locate at once.
pub(super) const ENTITIES_MAX: usize = 1_024;
/// Portions of a check that may turn out to be too much at once. Each was read for nothing.
const TRIES_MAX: u64 = 100;
/// Rows for which there is one more.
const ROWS_A_TRY: u64 = 100;
/// Places at which the entities of one portion may be looked for.
pub(super) const PLACES_MAX: usize = 1 << 18;
/// Rows of the first portion, before it is known how large counterparts are.
const PORTION: usize = 64;

/// Both sides of a partition, or of a part of it.
pub(super) struct Window<'a> {
    pub(super) context: &'a Context,
    pub(super) outcome: Outcome,
    /// Differing keys beyond which the partition is a crowd.
    pub(super) crowd: usize,
    /// What this check tells; the rest is told by the checks of the other direction.
    pub(super) tells: Tells,
    /// The sides that are scanned by ranges of what cuts their relations.
    pub(super) cut: &'static [Side],
    /// Whose entities are looked up on the other side, if the sides are not read apart.
    pub(super) by: Option<Side>,
    /// Every differing key so far, while they are no crowd.
    pub(super) members: Vec<Member>,
    pub(super) session: Box<dyn Session>,
    pub(super) sets: Sides<EntitySet>,
    /// The rows of the sets that were looked up.
    pub(super) met: Sides<Met>,
    /// Where the entities of each page of a set lie.
    pub(super) lies: Sides<Vec<PageLies>>,
    /// What rules over the whole partition have counted so far.
    pub(super) accumulated: Accumulated,
    /// Rows without an entity, by where they lie: the mapping rejects them, and why.
    pub(super) rejected: Sides<Covered<String>>,
    /// About how much memory that takes.
    rejected_bytes: Sides<u64>,
    /// Whose the rejected rows are, where the mapping says it.
    pub(super) identified: Sides<BTreeMap<StoreKey, Key>>,
    /// Where entities lie of which the mapping cannot say where they would be, and why.
    pub(super) lost: Sides<BTreeMap<StoreKey, Fault>>,
    /// Keys of these.
    pub(super) lost_keys: BTreeSet<Box<[u8]>>,
    /// Pages that were read only because strays belong there.
    pub(super) homes: Sides<BTreeSet<usize>>,
    /// Groups that were scanned and of which the mapping makes nothing.
    pub(super) nothing: u64,
    /// Why the mapping names no place for an entity, by page and row.
    pub(super) unplaced: Sides<BTreeMap<(usize, usize), String>>,
    /// What came up, and what became of it.
    pub(super) count: Count,
    /// Whether stores answer what is looked up.
    pub(super) heard: Sides<Heard>,
    /// How often something was too much at once.
    tries: u64,
    /// Rows that the plugin fails on by themselves, and where the first of them lies.
    failed: Option<(Side, StoreKey, FailedRows)>,
    /// Ranges of which one side's rows could not be mapped.
    holes: Vec<Range>,
    /// Bytes of the counterparts of a row, going by the last ones.
    row_bytes: Sides<Option<u64>>,
    /// Entities whose counterpart could not be read, as page and row.
    pub(super) dropped: Sides<BTreeSet<(usize, usize)>>,
}

/// What was noted of rows so far.
pub(super) struct Mark {
    failed: Option<(Side, StoreKey, FailedRows)>,
    lost_keys: BTreeSet<Box<[u8]>>,
    nothing: u64,
    unread: usize,
}

/// What a check tells. Where both directions are read, each difference is told by one of them: else
/// a partition of one and a partition of the other would tell of the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tells {
    /// Whatever differs.
    Everything,
    /// What the source holds: all but rows of the target that no entity of the source leads to.
    OfSource,
    /// Only what a scan of the target alone can see: rows without a counterpart, rows where the
    /// mapping would not look, rows that it rejects.
    OfTarget,
}

/// One of something for each side.
#[derive(Debug, Default)]
pub(super) struct Sides<T> {
    source: T,
    target: T,
}

impl<T> Sides<T> {
    pub(super) const fn of(&self, side: Side) -> &T {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    pub(super) const fn of_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Source => &mut self.source,
            Side::Target => &mut self.target,
        }
    }
}

impl<'a> Window<'a> {
    /// An empty window.
    pub(super) fn begin(context: &'a Context, as_of: Moment) -> Result<Self, PluginError> {
        Ok(Self {
            context,
            outcome: Outcome::default(),
            crowd: usize::MAX,
            tells: Tells::Everything,
            cut: &[],
            by: None,
            members: Vec::new(),
            session: context.mapper.begin(as_of)?,
            sets: Sides::default(),
            met: Sides::default(),
            lies: Sides::default(),
            accumulated: Accumulated::default(),
            rejected: Sides::default(),
            rejected_bytes: Sides::default(),
            identified: Sides::default(),
            lost: Sides::default(),
            lost_keys: BTreeSet::new(),
            homes: Sides::default(),
            nothing: 0,
            unplaced: Sides::default(),
            count: Count::default(),
            heard: Sides::default(),
            tries: 0,
            failed: None,
            holes: Vec::new(),
            row_bytes: Sides::default(),
            dropped: Sides::default(),
        })
    }

    /// Says that `keys` keys are looked at because they are suspected: every row of both sides may be
    /// one that the mapping cannot take.
    pub(super) fn suspect(&mut self, keys: usize) {
        self.session.allow_guilty(keys.saturating_mul(4));
    }

    /// Whether it holds as much of `sides` as it may, after `rows` rows of one of them.
    pub(super) fn is_full(&self, sides: &[Side], rows: u64) -> bool {
        rows >= u64::from(self.context.window_rows.get())
            || sides.iter().any(|side| self.bytes(*side) >= self.context.share.window())
    }

    /// What is held of a side, in bytes, about.
    fn bytes(&self, side: Side) -> u64 {
        self.sets.of(side).bytes() + self.rejected_bytes.of(side)
    }

    /// Why no more of `side` may be held, if that is so: what a mapping makes of rows may be larger than
    /// these, and is not known before.
    pub(super) fn too_much(&self, side: Side) -> Option<Fault> {
        let most = self.context.share.entities();
        (self.bytes(side) > most).then(|| Fault {
            side: Some(side),
            what: format!(
                "what the mapping makes of rows of the {side} that are compared at once takes more \
                 than {} MiB",
                most >> 20
            ),
            remedy:
                "have the mapping make fewer and smaller entities of these rows, make pages smaller \
                     (`page_rows`), or raise `checks.memory`"
                    .to_owned(),
            code: FaultCode::TooMuch,
        })
    }

    /// Of how many groups of the other side the counterparts on `side` are read at once, going by those
    /// read before; most often a row is a group.
    pub(super) fn portion(&self, side: Side) -> usize {
        self.row_bytes
            .of(side)
            .map_or(PORTION, |bytes| at_once(self.context.share.portion(), bytes))
    }

    /// The same for those of `portion`. Before anything was read, counterparts are taken to be as
    /// large as these.
    pub(super) fn portion_beside(&self, side: Side, portion: &Portion) -> usize {
        match self.row_bytes.of(side) {
            Some(_) => self.portion(side),
            None => {
                let groups = portion.lies.groups().max(1) as u64;
                PORTION.min(at_once(self.context.share.portion(), portion.bytes() / groups))
            }
        }
    }

    /// Takes note of how much counterparts of so many groups take.
    pub(super) fn note_counterparts(
        &mut self,
        side: Side,
        bytes: u64,
        (groups, found): (usize, u64),
    ) {
        if let Some(each) = bytes.checked_div(found.min(groups as u64)) {
            *self.row_bytes.of_mut(side) = Some(each);
        }
    }

    pub(super) fn reading(&mut self, side: Side) -> &mut Reading {
        match side {
            Side::Source => &mut self.outcome.source,
            Side::Target => &mut self.outcome.target,
        }
    }

    /// Adds what a read cost beside its pages.
    pub(super) fn add_cost(&mut self, side: Side, cost: Cost) {
        self.reading(side).cost.add(cost);
    }

    /// Notes what could not be compared.
    pub(super) fn unread(&mut self, scope: String, rows: Option<u64>, fault: Fault) {
        self.outcome.unread.push(Unread { scope, rows, key: None, fault });
    }

    /// Whether something that was too much at once is to be read again in parts; not for ever.
    pub(super) const fn tries_again(&mut self) -> bool {
        self.tries += 1;
        let rows = self.outcome.source.cost.rows + self.outcome.target.cost.rows;
        self.tries <= TRIES_MAX + rows / ROWS_A_TRY
    }

    /// Whether nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.sets.source.page_count() + self.sets.target.page_count() == 0
    }

    /// What a portion may add that is taken back if it is read again in parts.
    pub(super) fn mark(&mut self) -> Mark {
        self.session.mark();
        self.rejected.source.mark();
        self.rejected.target.mark();
        self.met.source.mark();
        self.met.target.mark();
        Mark {
            failed: self.failed.clone(),
            lost_keys: self.lost_keys.clone(),
            nothing: self.nothing,
            unread: self.outcome.unread.len(),
        }
    }

    /// Takes back what was noted since.
    pub(super) fn back_to(&mut self, mark: Mark) {
        self.session.back();
        self.rejected.source.back();
        self.rejected.target.back();
        self.met.source.back();
        self.met.target.back();
        self.failed = mark.failed;
        self.lost_keys = mark.lost_keys;
        self.nothing = mark.nothing;
        self.outcome.unread.truncate(mark.unread);
    }

    /// Notes that `kind` went on from `began` until now; one span is kept of each kind.
    pub(super) fn span(&mut self, kind: SpanKind, began: Moment, rows: u64) {
        let ended = (self.context.clock)();
        match self.outcome.spans.iter_mut().find(|span| span.kind == kind) {
            Some(span) => {
                span.ended = ended;
                span.rows = span.rows.max(rows);
            }
            None => self.outcome.spans.push(Span { kind, began, ended, rows }),
        }
    }

    pub(super) fn read_span(&mut self, side: Side, began: Moment, rows: u64) {
        self.span(SpanKind::Read(side), began, rows);
    }

    /// Maps a portion into its side's set. Returns the numbers of its pages there, one for each entity
    /// type that came of it.
    pub(super) fn absorb(
        &mut self,
        side: Side,
        mut portion: Portion,
    ) -> Result<Vec<usize>, PluginError> {
        self.reading(side).cost.add(portion.cost);
        let began = (self.context.clock)();
        let count = portion.rows();
        if count == 0 {
            return Ok(Vec::new());
        }
        let unmapped = std::mem::take(&mut portion.unmapped);
        let (rows, lies) = portion.into_rows();
        let Mapped { outputs, rejected, failed } = self.mapped(side, rows)?;
        self.note_unmapped(side, unmapped, (lies.groups(), &outputs));
        self.span(SpanKind::Map(side), began, count);
        if self.by == Some(side)
            && let Lies::Groups(places) = &lies
        {
            let made = outputs.iter().flat_map(|output| &output.from_group);
            let met: BTreeSet<usize> =
                made.copied().chain(rejected.iter().map(|(group, _)| *group)).collect();
            self.nothing += (places.len() - met.len()) as u64;
        }
        let lies = Arc::new(lies);
        for (group, reason) in rejected {
            let at = lies.at(self.context.side(side), group);
            self.reject(side, at, || reason);
        }
        if let Some(Failed { group, count, error }) = failed {
            let at = lies.at(self.context.side(side), group);
            let (.., all) = self.failed.get_or_insert_with(|| {
                let (key, fault) = (Key::of_row(side, &at), plugin_fault(Some(side), &error));
                (side, at, FailedRows { key, rows: 0, fault })
            });
            all.rows += count as u64;
        }
        let mut pages = Vec::with_capacity(outputs.len());
        for Output { entity, entities, from_group, standing } in outputs {
            let lies = PageLies::new(&lies, from_group);
            match self.add(side, (entity, entities), &standing, lies) {
                Ok(page) => pages.push(page),
                Err(error) => {
                    // Of rows that are unread as a whole no type of entity is compared.
                    self.drop_pages(side, (&pages, &[]));
                    return Err(error);
                }
            }
        }
        Ok(pages)
    }

    /// What the mapping makes of rows; those of a side that is not mapped are entities already.
    fn mapped(&mut self, side: Side, rows: Rows<'static>) -> Result<Mapped, PluginError> {
        let plan = self.context.mapper.plan();
        let mapped = match side {
            Side::Source => plan.source.mapped,
            Side::Target => plan.target.mapped,
        };
        if mapped {
            return self.session.map(side, &rows);
        }
        let output = |input: crate::plugin::Input<'static>| Output {
            entity: 0,
            from_group: (0..input.rows.rows).collect(),
            standing: vec![Standing::Present; input.rows.rows],
            entities: input.rows.into_owned(),
        };
        let outputs = rows.inputs.into_iter().map(output).collect();
        Ok(Mapped { outputs, ..Mapped::default() })
    }

    /// Adds entities of one type to a side's set. Returns the number of their page.
    fn add(
        &mut self,
        side: Side,
        (entity, entities): (usize, Batch),
        standing: &[Standing],
        lies: PageLies,
    ) -> Result<usize, PluginError> {
        let placing = self.placing(side, (entity, &entities), standing, &lies)?;
        let Placing { misplaced, nowhere, lost } = placing;
        self.note_newest(side, (entity, &entities), standing);
        let beside = lies.bytes();
        let set = self.sets.of_mut(side);
        let page = set.page_count();
        let stands = Stands { standing, misplaced: &misplaced };
        let faults = set.add(&self.context.canons[entity], entities, beside, stands);
        for (row, fault) in faults {
            let at = lies.at(self.context.side(side), row);
            self.reject(side, at, || fault.to_string());
        }
        self.lies.of_mut(side).push(lies);
        self.lose(side, page, lost);
        self.unplace((side, side), page, &nowhere);
        Ok(page)
    }

    fn reject(&mut self, side: Side, at: StoreKey, reason: impl FnOnce() -> String) {
        let (place, mut length) = (at.0.len(), 0);
        let reason = || {
            let reason = reason();
            length = reason.len();
            reason
        };
        if self.rejected.of_mut(side).add_with(at, reason) {
            // Its place stands there three times, and with it an entry of two maps.
            *self.rejected_bytes.of_mut(side) += (3 * place + length + 200) as u64;
        }
    }

    fn note_newest(
        &mut self,
        side: Side,
        (entity, entities): (usize, &Batch),
        standing: &[Standing],
    ) {
        let present = (0..entities.rows).filter(|&row| standing[row] == Standing::Present);
        // A version in the future says nothing of when it was written, and must not hide the others.
        let now = (self.context.clock)();
        let newest = self.context.canons[entity].newest(entities, present, now);
        let reading = self.reading(side);
        reading.newest = reading.newest.max(newest);
    }

    /// As [`Window::absorb`]; a page that cannot be mapped leaves a hole in the range.
    pub(super) fn absorb_or_hole(&mut self, side: Side, portion: Portion) {
        let rows = portion.rows();
        let Lies::Rows { keys, .. } = &portion.lies else {
            unreachable!("rows that are read aligned stand by themselves");
        };
        let keys = &keys.columns[0];
        let last = usize::try_from(rows).unwrap_or(usize::MAX).saturating_sub(1);
        let hole = Range {
            from: keys.integer(0),
            until: keys.integer(last).map(|last| last.saturating_add(1)),
        };
        if let Err(error) = self.absorb(side, portion) {
            self.unread(hole.to_string(), Some(rows), plugin_fault(Some(side), &error));
            self.holes.push(hole);
        }
    }

    /// As [`Window::absorb`]; a portion that cannot be mapped is unread.
    pub(super) fn absorb_or_unread(&mut self, side: Side, portion: Portion) -> Option<Vec<usize>> {
        let rows = portion.rows();
        match self.absorb(side, portion) {
            Ok(pages) => Some(pages),
            Err(error) => {
                let fault = plugin_fault(Some(side), &error);
                self.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
                None
            }
        }
    }

    /// Adds to what is wanted of the other side where the present entities of a page of `side` lie
    /// there; who wants it is a position in `owners`, which has page and row. Entities for which there is
    /// no place there are noted.
    pub(super) fn locate_page(
        &mut self,
        side: Side,
        page: usize,
        (wanted, owners): (&mut Wanted, &mut Vec<(usize, usize)>),
    ) -> Result<(), Fault> {
        let set = self.sets.of(side);
        let dropped = self.dropped.of(side);
        let present = set.present_rows(page).filter(|row| !dropped.contains(&(page, *row)));
        let present: Vec<usize> = present.collect();
        let (entity, other) = (set.page_type(page), side.other());
        let here = self.context.side(other);
        let mut lost: BTreeSet<usize> = present.iter().copied().collect();
        let mut unlocated = Vec::new();
        for some in present.chunks(ENTITIES_MAX) {
            let entities = self.sets.of(side).page(page).take(some);
            let Placed { located: parts, failed } = self
                .session
                .locate_each(other, entity, &entities)
                .map_err(|error| plugin_fault(Some(other), &error))?;
            for at in parts.iter().flat_map(|part| &part.from_entity) {
                lost.remove(&some[*at]);
            }
            let base = owners.len();
            owners.extend(some.iter().map(|row| (page, *row)));
            wanted.add_located(here, parts, |at| base + at);
            if wanted.len() > PLACES_MAX {
                return Err(too_many_places(other, here));
            }
            let fault = |error: &PluginError| plugin_fault(Some(other), error);
            unlocated.extend(failed.iter().map(|(at, error)| (some[*at], fault(error))));
        }
        unlocated.iter().for_each(|(row, _)| _ = lost.remove(row));
        self.lose(side, page, unlocated);
        let lost: Vec<usize> = lost.into_iter().collect();
        self.unplace((side, other), page, &lost);
        Ok(())
    }

    /// Where an entity of a page lies.
    pub(super) fn at(&self, side: Side, page: usize, row: usize) -> StoreKey {
        self.lies.of(side)[page].at(self.context.side(side), row)
    }

    /// Why the mapping rejects what lies at one of these places, and where exactly, if it does.
    pub(super) fn rejected_at<'p>(
        &'p self,
        side: Side,
        places: impl IntoIterator<Item = &'p StoreKey>,
    ) -> Option<(&'p StoreKey, &'p String)> {
        places.into_iter().find_map(|place| self.rejected.of(side).at(place))
    }

    /// Takes entities out of the comparison, on both sides, of which not all was read that the rows of
    /// `side` named: what was read of them, or of others with their keys, says nothing.
    pub(super) fn drop_lost(
        &mut self,
        side: Side,
        lost: &BTreeSet<(usize, usize)>,
        (pages, absorbed): (&[usize], &[usize]),
    ) {
        if lost.is_empty() {
            return;
        }
        let all = |side: Side, pages: &[usize]| {
            let set = self.sets.of(side);
            let entries = pages.iter().flat_map(|page| set.page_entries(*page));
            let entry = |at: usize| {
                let entry = &set.entries()[at];
                (set.key(at), (entry.page, entry.row))
            };
            entries.map(entry).collect::<Vec<_>>()
        };
        let (here, there) = (all(side, pages), all(side.other(), absorbed));
        let keys: BTreeSet<&[u8]> =
            here.iter().filter(|(_, row)| lost.contains(row)).map(|(key, _)| *key).collect();
        let of_lost = |all: &[(&[u8], (usize, usize))]| {
            let lost = all.iter().filter(|(key, _)| keys.contains(key));
            lost.map(|(_, row)| *row).collect::<Vec<_>>()
        };
        let (here, there) = (of_lost(&here), of_lost(&there));
        self.dropped.of_mut(side).extend(here);
        self.dropped.of_mut(side.other()).extend(there);
    }

    /// Takes all entities of keys that are lost out of the comparison, on both sides.
    fn drop_lost_keys(&mut self) {
        if self.lost_keys.is_empty() {
            return;
        }
        for side in [Side::Source, Side::Target] {
            let set = self.sets.of(side);
            let lost = (0..set.entries().len()).filter(|at| self.lost_keys.contains(set.key(*at)));
            let lost = lost.map(|at| (set.entries()[at].page, set.entries()[at].row));
            let lost: Vec<(usize, usize)> = lost.collect();
            self.dropped.of_mut(side).extend(lost);
        }
    }

    /// Takes these rows of a page out of the comparison.
    pub(super) fn drop_rows(&mut self, side: Side, page: usize, rows: &[usize]) {
        self.dropped.of_mut(side).extend(rows.iter().map(|&row| (page, row)));
    }

    /// Takes all rows of these pages out of the comparison, of `side` and of the other.
    pub(super) fn drop_pages(&mut self, side: Side, (pages, others): (&[usize], &[usize])) {
        for (side, pages) in [(side, pages), (side.other(), others)] {
            for page in pages {
                let rows: Vec<usize> = (0..self.sets.of(side).page(*page).rows).collect();
                self.drop_rows(side, *page, &rows);
            }
        }
    }

    /// Forgets all that was read.
    pub(super) fn clear(&mut self) {
        self.sets = Sides::default();
        self.lies = Sides::default();
        self.rejected = Sides::default();
        self.rejected_bytes = Sides::default();
        if let Some((side, at, failed)) = &mut self.failed
            && let Some(key) = self.identified.of(*side).get(at)
        {
            failed.key.clone_from(key);
        }
        self.identified = Sides::default();
        self.dropped = Sides::default();
        self.met = Sides::default();
        self.homes = Sides::default();
        self.unplaced = Sides::default();
        self.lost_keys = BTreeSet::new();
    }

    /// Keeps only rows whose key lies in `range` and in no hole. For rows that stand by themselves and
    /// are read aligned.
    pub(super) fn keep_range(&mut self, range: Range) {
        let holes = std::mem::take(&mut self.holes);
        let kept = |key: i128| range.contains(key) && !holes.iter().any(|hole| hole.contains(key));
        for side in [Side::Source, Side::Target] {
            let lies = self.lies.of(side);
            let key = |page: usize, row: usize| lies[page].first_integer(row);
            self.sets.of_mut(side).retain(|page, row| key(page, row).is_some_and(kept));
            self.rejected.of_mut(side).retain(|at| first_integer(at).is_some_and(kept));
        }
    }

    /// Compares what the window holds, and empties it.
    pub(super) fn compare(&mut self) {
        self.lose_unnamed();
        self.leave_copies();
        self.drop_lost_keys();
        for side in [Side::Source, Side::Target] {
            let dropped = std::mem::take(self.dropped.of_mut(side));
            if !dropped.is_empty() {
                self.sets.of_mut(side).drop_rows(&dropped);
            }
        }
        let began = (self.context.clock)();
        // Pairs are the affair of those who tell of the source.
        let invariants = !self.context.mapper.invariants().is_empty();
        let pairs = invariants && self.tells != Tells::OfTarget;
        let (source, target) = (self.sets.of(Side::Source), self.sets.of(Side::Target));
        let asks = Asks { pairs, by: self.by };
        let mut comparison = compare(&self.context.canons, source, target, asks);
        let mut checksums = (source.checksum(), target.checksum());
        match self.by {
            None => {}
            Some(Side::Source) => checksums.1 = checksums.1.without(comparison.unasked_sum),
            Some(Side::Target) => checksums.0 = checksums.0.without(comparison.unasked_sum),
        }
        self.outcome.source.checksum = self.outcome.source.checksum.merge(checksums.0);
        self.outcome.target.checksum = self.outcome.target.checksum.merge(checksums.1);
        self.take_in_counts(&mut comparison);
        self.accumulate(&comparison);
        self.tell(comparison);
        self.span(SpanKind::Compare, began, checksums.0.count.max(checksums.1.count));
        self.clear();
    }

    /// The outcome, after comparing what is left.
    pub(super) fn finish(mut self) -> Outcome {
        self.compare();
        self.add_up();
        self.rule();
        self.outcome.failed = self.failed.take().map(|(.., failed)| failed);
        self.outcome
    }
}

/// How many of so many bytes each are taken at once.
fn at_once(bytes: u64, each: u64) -> usize {
    usize::try_from(bytes / each.max(1)).unwrap_or(usize::MAX).max(1)
}

pub(super) fn too_many_places(side: Side, here: &SideContext) -> Fault {
    Fault {
        side: Some(side),
        what: format!(
            "store `{}`, relation `{}`: the mapping looks for rows that are compared at once at more \
             than {PLACES_MAX} places",
            here.store.name(),
            here.relation_names()
        ),
        remedy: "have the mapping name fewer places for each entity, or make pages smaller \
                 (`page_rows`)"
            .to_owned(),
        code: FaultCode::TooMuch,
    }
}
