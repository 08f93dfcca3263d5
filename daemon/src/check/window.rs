//! What a check holds of both sides at once.
//!
//! Owns [`Window`]: mapping pages into entity sets, dropping what has no counterpart, comparing, and
//! telling what differs. Refuses to read. Invariant: a row that was read ends in a set, among the
//! rejected, or in `unread`.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::{Context, keys, plugin_fault};
use crate::compare::{EntitySet, Standpoint, Stands, compare};
use crate::model::{
    Batch, Cost, Fault, Member, Moment, Outcome, Range, Reading, Side, Span, SpanKind, Standing,
    StoreKey, Unread,
};
use crate::plugin::{Mapped, PluginError, Session};
use crate::store::Page;

/// Bytes of one side beyond which the window is full: rows may be of any size.
const BYTES_MAX: u64 = 32 << 20;
/// Bytes of counterparts that are read at once, about.
const PORTION_BYTES: u64 = 8 << 20;
/// Rows of the first portion, before it is known how large counterparts are.
const PORTION: u64 = 64;

/// Both sides of a partition, or of a part of it.
pub(super) struct Window<'a> {
    pub(super) context: &'a Context,
    pub(super) outcome: Outcome,
    /// Differing keys beyond which the partition is a crowd.
    pub(super) crowd: usize,
    /// What this check tells; the rest is told by the checks of the other direction.
    pub(super) tells: Tells,
    /// Every differing key so far, while they are no crowd.
    pub(super) members: Vec<Member>,
    pub(super) session: Box<dyn Session>,
    pub(super) sets: Sides<EntitySet>,
    /// Rows without an entity, by where they lie: the mapping rejects them, and why.
    pub(super) rejected: Sides<BTreeMap<StoreKey, String>>,
    /// Ranges of which one side's rows could not be mapped.
    holes: Vec<Range>,
    /// Bytes of a row of the last page.
    row_bytes: Sides<Option<u64>>,
    /// Entities whose counterpart could not be read, as page and row.
    dropped: Sides<BTreeSet<(usize, usize)>>,
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
            members: Vec::new(),
            session: context.mapper.begin(as_of)?,
            sets: Sides::default(),
            rejected: Sides::default(),
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
            || sides.iter().any(|side| self.sets.of(*side).bytes() >= BYTES_MAX)
    }

    /// Of how many rows of the other side the counterparts on `side` are read at once, going by those
    /// read before.
    pub(super) fn portion(&self, side: Side) -> usize {
        let rows = self.row_bytes.of(side).map_or(PORTION, |bytes| PORTION_BYTES / bytes.max(1));
        usize::try_from(rows).unwrap_or(usize::MAX).max(1)
    }

    fn reading(&mut self, side: Side) -> &mut Reading {
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
        self.outcome.unread.push(Unread { scope, rows, fault });
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

    /// Maps a page into its side's set. Returns the page's number there.
    pub(super) fn absorb(&mut self, side: Side, page: Page) -> Result<usize, PluginError> {
        let Page { keys: store_keys, rows, unmapped, cost } = page;
        let reading = self.reading(side);
        reading.cost.add(cost);
        reading.unmapped.extend(unmapped);
        let began = (self.context.clock)();
        let plan = self.context.mapper.plan();
        let mapped = match side {
            Side::Source => plan.source.mapped,
            Side::Target => plan.target.mapped,
        };
        let row_count = rows.rows;
        let Mapped { entities, from_row, standing, rejected } = if mapped {
            self.session.map(side, &rows)?
        } else {
            let standing = vec![Standing::Present; row_count];
            Mapped {
                entities: rows,
                from_row: (0..row_count).collect(),
                standing,
                rejected: Vec::new(),
            }
        };
        self.span(SpanKind::Map(side), began, row_count as u64);
        for (row, reason) in rejected {
            self.reject(side, &store_keys, row, reason);
        }
        let entity_keys =
            if from_row.len() == row_count { store_keys } else { store_keys.take(&from_row) };
        let misplaced = self.misplaced(side, &entities, &entity_keys)?;
        self.note_newest(side, &entities, &standing);
        let set = self.sets.of_mut(side);
        let page = set.page_count();
        let held = entities.bytes() + entity_keys.bytes();
        if let Some(bytes) = held.checked_div(entities.rows as u64) {
            *self.row_bytes.of_mut(side) = Some(bytes);
        }
        let stands = Stands { standing: &standing, misplaced: &misplaced };
        let faults = set.add(&self.context.canon, entities, entity_keys, stands);
        for (row, fault) in faults {
            let keys = self.sets.of(side).page(page).1.clone();
            self.reject(side, &keys, row, fault.to_string());
        }
        Ok(page)
    }

    fn reject(&mut self, side: Side, keys: &Batch, row: usize, reason: String) {
        let at = keys::encode(&self.context.side(side).read.schema, keys, row);
        self.rejected.of_mut(side).insert(at, reason);
    }

    fn note_newest(&mut self, side: Side, entities: &Batch, standing: &[Standing]) {
        let present = (0..entities.rows).filter(|&row| standing[row] == Standing::Present);
        // A version in the future says nothing of when it was written, and must not hide the others.
        let now = (self.context.clock)();
        let newest = self.context.canon.newest(entities, present, now);
        let reading = self.reading(side);
        reading.newest = reading.newest.max(newest);
    }

    /// Which entities lie where the mapping would not look for them; empty means none.
    fn misplaced(
        &mut self,
        side: Side,
        entities: &Batch,
        store_keys: &Batch,
    ) -> Result<Vec<bool>, PluginError> {
        let here = self.context.side(side);
        if !here.locatable || entities.rows == 0 {
            return Ok(Vec::new());
        }
        let located = self.session.locate(side, entities)?;
        if located.keys == *store_keys {
            return Ok(Vec::new());
        }
        let mut misplaced = vec![true; entities.rows];
        for (row, &entity) in located.from_entity.iter().enumerate() {
            let schema = &here.read.schema;
            if keys::same(schema, (&located.keys, row), (store_keys, entity)) {
                misplaced[entity] = false;
            }
        }
        Ok(misplaced)
    }

    /// As [`Window::absorb`]; a page that cannot be mapped leaves a hole in the range.
    pub(super) fn absorb_or_hole(&mut self, side: Side, page: Page) {
        let rows = page.keys.rows;
        let keys = &page.keys.columns[0];
        let hole = Range {
            from: keys.integer(0),
            until: keys.integer(rows.saturating_sub(1)).map(|last| last.saturating_add(1)),
        };
        if let Err(error) = self.absorb(side, page) {
            self.unread(hole.to_string(), Some(rows as u64), plugin_fault(Some(side), &error));
            self.holes.push(hole);
        }
    }

    /// As [`Window::absorb`]; a page that cannot be mapped is unread.
    pub(super) fn absorb_or_unread(&mut self, side: Side, page: Page) -> Option<usize> {
        let rows = page.keys.rows as u64;
        match self.absorb(side, page) {
            Ok(page) => Some(page),
            Err(error) => {
                let fault = plugin_fault(Some(side), &error);
                self.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
                None
            }
        }
    }

    /// Where the present entities of a page of `side` lie on the other side: store keys, and for each
    /// the row of the page. Entities that cannot be located are rejected.
    pub(super) fn locate_page(
        &mut self,
        side: Side,
        page: usize,
    ) -> Result<(Batch, Vec<usize>), Fault> {
        let set = self.sets.of(side);
        let present: Vec<usize> = set.present_rows(page).collect();
        let entities = set.page(page).0.take(&present);
        let other = side.other();
        let located = self
            .session
            .locate(other, &entities)
            .map_err(|error| plugin_fault(Some(other), &error))?;
        let rows: Vec<usize> = located.from_entity.iter().map(|&at| present[at]).collect();
        let placed: BTreeSet<usize> = rows.iter().copied().collect();
        let lost: Vec<usize> = present.into_iter().filter(|row| !placed.contains(row)).collect();
        self.reject_unlocated(side, page, &lost);
        self.drop_rows(side, page, &lost);
        Ok((located.keys, rows))
    }

    /// Rejects rows of a page whose entities could lie nowhere on the other side.
    pub(super) fn reject_unlocated(&mut self, side: Side, page: usize, rows: &[usize]) {
        if rows.is_empty() {
            return;
        }
        let keys = self.sets.of(side).page(page).1.clone();
        let other = side.other();
        for row in rows {
            let reason =
                format!("has no place in the {other}: a field of its key there is null or absent");
            self.reject(side, &keys, *row, reason);
        }
    }

    /// Finds rows of the follower that lie where the mapping would not look for them, going by the
    /// leader's entity of the same key: a copy under another store key has the same digest.
    pub(super) fn displace(
        &mut self,
        follower_pages: &[usize],
        leader_pages: &[usize],
    ) -> Result<(), PluginError> {
        let leads = self.context.leads;
        let (leader, follower) = (leads.leader(), leads.follower());
        let here = self.context.side(follower);
        if !here.locatable {
            return Ok(());
        }
        let mut places: BTreeMap<Vec<u8>, BTreeSet<StoreKey>> = BTreeMap::new();
        for &page in leader_pages {
            let set = self.sets.of(leader);
            let entries: Vec<usize> = set
                .page_entries(page)
                .filter(|&at| set.entries()[at].standpoint == Standpoint::Present)
                .collect();
            let rows: Vec<usize> = entries.iter().map(|&at| set.entries()[at].row).collect();
            let entities = set.page(page).0.take(&rows);
            let located = self.session.locate(follower, &entities)?;
            let set = self.sets.of(leader);
            for (row, &entity) in located.from_entity.iter().enumerate() {
                let at = keys::encode(&here.read.schema, &located.keys, row);
                places.entry(set.key(entries[entity]).to_vec()).or_default().insert(at);
            }
        }
        let set = self.sets.of_mut(follower);
        for &page in follower_pages {
            for entry in set.page_entries(page) {
                let row = set.entries()[entry].row;
                let Some(expected) = places.get(set.key(entry)) else { continue };
                let at = keys::encode(&here.read.schema, set.page(page).1, row);
                if !expected.contains(&at) {
                    set.misplace(entry);
                }
            }
        }
        Ok(())
    }

    /// Takes these rows of a page out of the comparison.
    pub(super) fn drop_rows(&mut self, side: Side, page: usize, rows: &[usize]) {
        self.dropped.of_mut(side).extend(rows.iter().map(|&row| (page, row)));
    }

    /// Takes all rows of a page out of the comparison.
    pub(super) fn drop_page(&mut self, side: Side, page: usize) {
        let rows: Vec<usize> = (0..self.sets.of(side).page(page).0.rows).collect();
        self.drop_rows(side, page, &rows);
    }

    /// Forgets all that was read.
    pub(super) fn clear(&mut self) {
        self.sets = Sides::default();
        self.rejected = Sides::default();
        self.dropped = Sides::default();
    }

    /// Keeps only rows whose key lies in `range` and in no hole.
    pub(super) fn keep_range(&mut self, range: Range) {
        let holes = std::mem::take(&mut self.holes);
        for side in [Side::Source, Side::Target] {
            let set = self.sets.of_mut(side);
            set.retain(|keys, row| {
                keys.columns[0].integer(row).is_some_and(|key| {
                    range.contains(key) && !holes.iter().any(|hole| hole.contains(key))
                })
            });
            let schema = &self.context.side(side).read.schema;
            self.rejected.of_mut(side).retain(|at, _| {
                let (key, _) = keys::decode(schema, [at]);
                key.columns
                    .first()
                    .filter(|_| key.rows == 1)
                    .and_then(|column| column.integer(0))
                    .is_some_and(|key| {
                        range.contains(key) && !holes.iter().any(|hole| hole.contains(key))
                    })
            });
        }
    }

    /// Compares what the window holds, and empties it.
    pub(super) fn compare(&mut self) {
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
        let comparison = compare(&self.context.canon, source, target, pairs);
        let checksums = (source.checksum(), target.checksum());
        self.outcome.source.checksum = self.outcome.source.checksum.merge(checksums.0);
        self.outcome.target.checksum = self.outcome.target.checksum.merge(checksums.1);
        self.outcome.same += comparison.same;
        self.outcome.excluded += comparison.excluded;
        self.tell(comparison);
        self.span(SpanKind::Compare, began, checksums.0.count.max(checksums.1.count));
        self.clear();
    }

    /// The outcome, after comparing what is left.
    pub(super) fn finish(mut self) -> Outcome {
        self.compare();
        self.outcome
    }
}
