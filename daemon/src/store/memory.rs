//! Rows in memory.
//!
//! Owns a store without a server, read as one with integer ranges or as one with hashed segments,
//! and the [`Handle`] by which its rows are changed and its faults ordered. Refuses clocks and
//! tasks: it answers at once. Invariant: the same calls in the same order give the same answers, so
//! that a simulation can be replayed from its seed.

mod belonging;
mod cells;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use crate::model::{Batch, Cost, Extent, Range, RelationSchema, Value};
use crate::store::near::nearest;
use crate::store::questions::{self, Questions};
use crate::store::{
    Capabilities, Consistency, Fetched, Page, Query, Read, Store, StoreError,
    StoreErrorKind as Kind,
};

use belonging::Spot;
pub use cells::KeyPart;
use cells::PageBuilder;

/// A row: the value of each column that it has.
pub type Row = BTreeMap<String, Value>;

/// How a relation is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// By ranges of its first key column, an integer; scanned in key order.
    Ranges,
    /// By segments of a hash of its first key column; scanned in the order of that hash, and below it
    /// of the key. As in DynamoDB, rows that share the first key column come one after the other.
    Segments,
}

/// A store that holds its rows in memory.
pub struct Memory {
    name: String,
    consistent: bool,
    world: Arc<Mutex<World>>,
}

/// Changes a [`Memory`] store from outside: its rows and its faults.
#[derive(Clone)]
pub struct Handle {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    relations: BTreeMap<String, Relation>,
    /// The rows as ordinary reads see them, while they are stale.
    stale: Option<BTreeMap<String, Relation>>,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Faults {
    /// What the next reads answer, in order.
    next: Vec<Kind>,
    /// What every nth read answers, and how many reads there were since.
    every: Option<(NonZeroU32, u32, Kind)>,
    /// Set while the store does not answer at all.
    stopped: bool,
}

#[derive(Clone, Debug)]
struct Relation {
    schema: RelationSchema,
    layout: Layout,
    rows: BTreeMap<Place, Row>,
}

impl Memory {
    /// A store without relations, and the handle that changes it. `consistent`: whether it has
    /// consistent reads apart from ordinary ones.
    #[must_use]
    pub fn new(name: &str, consistent: bool) -> (Self, Handle) {
        let world = Arc::new(Mutex::new(World::default()));
        let handle = Handle { world: Arc::clone(&world) };
        (Self { name: name.to_owned(), consistent, world }, handle)
    }

    fn error(&self, relation: &str, kind: Kind) -> StoreError {
        StoreError {
            store: self.name.clone(),
            relation: Some(relation.to_owned()),
            kind,
            source: None,
        }
    }

    /// Looks at a relation, unless a fault comes first.
    fn read<T>(
        &self,
        relation: &str,
        consistency: Consistency,
        look: impl FnOnce(&Relation) -> Result<T, Kind>,
    ) -> Result<T, StoreError> {
        let mut world = lock(&self.world);
        world
            .faults
            .strike()
            .and_then(|()| {
                let current = consistency == Consistency::Strong && self.consistent;
                let relations = match &world.stale {
                    Some(stale) if !current => stale,
                    Some(_) | None => &world.relations,
                };
                let found = relations.get(relation).ok_or_else(|| Kind::NoSuchRelation {
                    near: nearest(relation, relations.keys().map(String::as_str)),
                })?;
                look(found)
            })
            .map_err(|kind| self.error(relation, kind))
    }

    /// The next page of a scan.
    fn page(&self, read: &Read, extent: &Extent, scan: &mut Scan) -> Result<Page, StoreError> {
        self.read(&read.schema.relation, Consistency::Eventual, |relation| {
            if let Some(cut) = read.other_cut() {
                return relation.page_by(read, cut, extent, scan);
            }
            let limit = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
            let mut page = PageBuilder::new(read)?;
            let after = scan.after.as_ref().map(|(_, place)| place);
            let mut rows = relation.rows.range(relation.bounds(extent, after)?);
            if scan.end.is_none() {
                // What is written behind it later waits for the next scan, or no scan might end.
                scan.end = rows.clone().next_back().map(|(place, _)| (None, place.clone()));
            }
            let end = scan.end.as_ref();
            let mut rows =
                rows.by_ref().take_while(|(place, _)| end.is_some_and(|(_, end)| *place <= end));
            for (place, row) in rows.by_ref().take(limit) {
                page.push(row);
                scan.after = Some((None, place.clone()));
            }
            scan.over = rows.next().is_none();
            Ok(page.finish())
        })
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Store for Memory {
    fn name(&self) -> &str {
        &self.name
    }

    fn capabilities(&self) -> Capabilities {
        let world = lock(&self.world);
        let ranges = world.relations.values().all(|relation| relation.layout == Layout::Ranges);
        Capabilities { ranges, consistent: self.consistent }
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        future::lazy(move |_| {
            self.read(relation, Consistency::Eventual, |found| Ok(found.schema.clone()))
        })
        .boxed()
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        let relation = &read.schema.relation;
        future::lazy(move |_| {
            self.read(relation, Consistency::Eventual, |found| found.split(read, rows))
        })
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        let scan = Scan { after: None, end: None, over: false };
        stream::unfold(scan, move |mut scan| {
            if scan.over {
                return future::ready(None);
            }
            let page = self.page(read, extent, &mut scan);
            scan.over |= page.is_err();
            let empty = page.as_ref().is_ok_and(|page| page.keys.rows == 0);
            future::ready((!empty).then_some((page, scan)))
        })
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        future::lazy(move |_| {
            let mut fetched = Fetched::default();
            let limit = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
            let positions: Vec<usize> = (0..keys.rows).collect();
            for chunk in positions.chunks(limit) {
                let page = self.read(&read.schema.relation, consistency, |relation| {
                    let mut page = PageBuilder::new(read)?;
                    let mut asked: Vec<_> = chunk
                        .iter()
                        .filter_map(|position| cells::key_of(&read.schema, keys, *position))
                        .collect();
                    asked.sort_unstable();
                    asked.dedup();
                    for key in &asked {
                        if let Some(row) = relation.rows.get(&relation.place(key.clone())) {
                            page.push(row);
                        }
                    }
                    Ok(page.finish())
                });
                match page {
                    Ok(page) if page.keys.rows == 0 => {}
                    Ok(page) => fetched.pages.push(page),
                    Err(error) => fetched.unread.push((chunk.to_vec(), error)),
                }
            }
            fetched
        })
        .boxed()
    }

    fn query<'a>(
        &'a self,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        future::lazy(move |_| self.ask(read, query, consistency)).boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        let look = move |found: &Relation| found.found_by(columns);
        future::lazy(move |_| self.read(relation, Consistency::Eventual, look)).boxed()
    }
}

impl Memory {
    fn ask(&self, read: &Read, query: &Query, consistency: Consistency) -> Fetched {
        let relation = read.schema.relation.as_str();
        let mut questions = match Questions::new(read, query) {
            Ok(questions) => questions,
            Err(kind) => {
                return questions::unasked(query, self.error(relation, kind));
            }
        };
        let limit = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        while let Some(part) = questions.next(limit) {
            let values = questions.values(&part);
            let look = |found: &Relation| found.asked(&questions.read, query, &values);
            match self.read(relation, consistency, look) {
                Ok(pages) => questions.answered(part, pages, |kind| self.error(relation, kind)),
                Err(error) => questions.failed(part, error),
            }
        }
        questions.finish()
    }
}

/// How far a scan is.
#[derive(Debug)]
struct Scan {
    /// The last row that was read.
    after: Option<Spot>,
    /// The last row there was when it began.
    end: Option<Spot>,
    over: bool,
}

/// Where a row lies in the order of scans: its hash, which is 0 where the key gives the order, then
/// its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u64, Vec<KeyPart>);

impl Relation {
    fn place(&self, key: Vec<KeyPart>) -> Place {
        match self.layout {
            Layout::Ranges => Place(0, key),
            Layout::Segments => Place(hash(&key[..1.min(key.len())]), key),
        }
    }

    /// The places of `extent` behind `after`.
    fn bounds(
        &self,
        extent: &Extent,
        after: Option<&Place>,
    ) -> Result<(Bound<Place>, Bound<Place>), Kind> {
        let (first, end) = match (extent, self.layout) {
            (Extent::Range(range), Layout::Ranges) => {
                // A key column alone sorts before every key that begins with it.
                let place = |key| Place(0, vec![KeyPart::Integer(key)]);
                (range.from.map(place), range.until.map(place))
            }
            (Extent::Segment { index, of }, Layout::Segments) => {
                let edge = |index: u32| {
                    let edge = (u128::from(index) << 64).div_ceil(u128::from((*of).max(1)));
                    u64::try_from(edge).ok().map(|hash| Place(hash, Vec::new()))
                };
                (edge(*index), edge(index.saturating_add(1)))
            }
            (Extent::Range(_), Layout::Segments) => {
                return Err(Kind::Unfit("is scanned by segments, not by ranges".to_owned()));
            }
            (Extent::Segment { .. }, Layout::Ranges) => {
                return Err(Kind::Unfit("is scanned by ranges, not by segments".to_owned()));
            }
        };
        let first = first.map_or(Bound::Unbounded, Bound::Included);
        let first = after.map_or(first, |after| Bound::Excluded(after.clone()));
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        // A range that ends before it begins holds nothing; the map would refuse it.
        let (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) = (&first, &end) else {
            return Ok((first, end));
        };
        if a < b { Ok((first, end)) } else { Ok((Bound::Included(b.clone()), end)) }
    }

    fn split(&self, read: &Read, rows: NonZeroU32) -> Result<Vec<Extent>, Kind> {
        let each = usize::try_from(rows.get()).unwrap_or(usize::MAX);
        if let Some(cut) = read.other_cut() {
            return Ok(ranges(&self.cuts_by(cut, each)?));
        }
        if self.layout == Layout::Segments {
            let of = u32::try_from(self.rows.len().div_ceil(each)).unwrap_or(u32::MAX).max(1);
            return Ok((0..of).map(|index| Extent::Segment { index, of }).collect());
        }
        let mut cuts = Vec::new();
        for place in self.rows.keys().step_by(each).skip(1) {
            let Some(KeyPart::Integer(first)) = place.1.first() else {
                return Err(Kind::Unfit("its first key column is no integer".to_owned()));
            };
            // Rows that share the first key column stay together.
            if cuts.last() != Some(first) {
                cuts.push(*first);
            }
        }
        Ok(ranges(&cuts))
    }
}

/// The ranges between `cuts`, open at both ends.
fn ranges(cuts: &[i128]) -> Vec<Extent> {
    let from = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let until = cuts.iter().copied().map(Some).chain(std::iter::once(None));
    from.zip(until).map(|(from, until)| Extent::Range(Range { from, until })).collect()
}

impl Faults {
    /// Counts a read, and says how it fails.
    fn strike(&mut self) -> Result<(), Kind> {
        if self.stopped {
            return Err(Kind::Unreachable("the store: it is stopped".to_owned()));
        }
        if !self.next.is_empty() {
            return Err(self.next.remove(0));
        }
        if let Some((nth, count, kind)) = &mut self.every {
            *count += 1;
            if *count >= nth.get() {
                *count = 0;
                return Err(kind.clone());
            }
        }
        Ok(())
    }
}

impl Handle {
    /// Adds a relation, or replaces it by an empty one.
    pub fn create(&self, schema: RelationSchema, layout: Layout) {
        let relation = Relation { layout, rows: BTreeMap::new(), schema };
        lock(&self.world).relations.insert(relation.schema.relation.clone(), relation);
    }

    /// Removes a relation.
    pub fn drop_relation(&self, relation: &str) {
        lock(&self.world).relations.remove(relation);
    }

    /// Writes a row, in place of the one with the same key.
    ///
    /// # Panics
    /// If there is no such relation or the row does not fit its schema: a bug of the caller.
    pub fn put(&self, relation: &str, row: Row) {
        let mut world = lock(&self.world);
        let relation = world.relations.get_mut(relation).expect("the relation was created");
        cells::assert_fits(&relation.schema, &row);
        let key = cells::key_of_row(&relation.schema, &row).expect("the row has all of its key");
        let place = relation.place(key);
        relation.rows.insert(place, row);
    }

    /// Removes the row with this key; whether there was one.
    pub fn delete(&self, relation: &str, key: &[Value]) -> bool {
        let key: Vec<_> = key.iter().map(KeyPart::of).collect();
        let mut world = lock(&self.world);
        world.relations.get_mut(relation).is_some_and(|relation| {
            let place = relation.place(key);
            relation.rows.remove(&place).is_some()
        })
    }

    /// The row with this key, as it is now.
    #[must_use]
    pub fn get(&self, relation: &str, key: &[Value]) -> Option<Row> {
        let key: Vec<_> = key.iter().map(KeyPart::of).collect();
        let world = lock(&self.world);
        let relation = world.relations.get(relation)?;
        relation.rows.get(&relation.place(key)).cloned()
    }

    /// Every row in the order of scans, as they are now.
    #[must_use]
    pub fn rows(&self, relation: &str) -> Vec<Row> {
        let world = lock(&self.world);
        let relation = world.relations.get(relation);
        relation.map(|relation| relation.rows.values().cloned().collect()).unwrap_or_default()
    }

    /// Makes the next read answer with `kind`; asked several times, the next reads in this order.
    pub fn fail_next(&self, kind: Kind) {
        lock(&self.world).faults.next.push(kind);
    }

    /// Makes every nth read from now on answer with `kind`. A page is a read, and so are each part
    /// of a fetch or a query and each question about a relation.
    pub fn fail_every(&self, nth: NonZeroU32, kind: Kind) {
        lock(&self.world).faults.every = Some((nth, 0, kind));
    }

    /// No faults from now on.
    pub fn heal(&self) {
        lock(&self.world).faults = Faults::default();
    }

    /// Makes the store answer nothing until [`Handle::heal`].
    pub fn stop(&self) {
        lock(&self.world).faults.stopped = true;
    }

    /// Makes scans and ordinary fetches see the rows as they are now, until [`Handle::refresh`].
    /// Consistent fetches, if the store has them, go on to see changes.
    pub fn freeze(&self) {
        let mut world = lock(&self.world);
        world.stale = Some(world.relations.clone());
    }

    /// Makes all reads see the rows as they are.
    pub fn refresh(&self) {
        lock(&self.world).stale = None;
    }
}

/// A world in which a caller's assertion failed is as it was before.
fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

/// FNV-1a, with the bits mixed afterwards so that every bit counts in a remainder.
fn hash(key: &[KeyPart]) -> u64 {
    let mut bytes = Vec::new();
    for part in key {
        part.encode(&mut bytes);
    }
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let folded = (folded ^ folded >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    folded ^ folded >> 32
}

/// What reading `page` cost.
fn cost(page: &Page) -> Cost {
    let bytes = page.rows.columns.iter().map(cells::bytes_of).sum();
    Cost { rows: page.rows.rows as u64, bytes, capacity: 0.0, requests: 1 }
}

#[cfg(test)]
mod tests {
    use crate::model::{ColumnDef, FaultCode, Logical, Number};

    use super::*;

    fn items(handle: &Handle, count: i64) {
        let text = |name: &str| ColumnDef {
            name: name.to_owned(),
            logical: Logical::Text,
            nullable: false,
        };
        let schema = RelationSchema {
            relation: "items".to_owned(),
            columns: vec![text("pk")],
            key: vec![0],
            open: true,
            partial: false,
        };
        handle.create(schema, Layout::Segments);
        for number in 0..count {
            let profile = BTreeMap::from([("age".to_owned(), Value::Number(Number::from(number)))]);
            handle.put(
                "items",
                Row::from([
                    ("pk".to_owned(), Value::Text(format!("USER#{number}"))),
                    ("profile".to_owned(), Value::Map(profile)),
                    ("extra".to_owned(), Value::Null),
                ]),
            );
        }
    }

    fn read(handle: &Handle, columns: &[&str]) -> Read {
        let schema = lock(&handle.world).relations["items"].schema.clone();
        Read {
            schema,
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            ignored: Vec::new(),
            page_rows: NonZeroU32::new(7).unwrap(),
            cut: None,
        }
    }

    #[test]
    fn segments_hold_every_item_once_with_pointers_and_unmapped_attributes() {
        let (store, handle) = Memory::new("target", true);
        items(&handle, 1_000);
        let read = read(&handle, &["pk", "/profile/age", "nowhere"]);
        let mut seen = Vec::new();
        let extents = store.split(&read, NonZeroU32::new(100).unwrap());
        let extents = futures::executor::block_on(extents).unwrap();
        assert_eq!(extents.len(), 10);
        for extent in &extents {
            let pages: Vec<_> = futures::executor::block_on(store.scan(&read, extent).collect());
            for page in pages {
                let page = page.unwrap();
                assert_eq!(page.unmapped.keys().collect::<Vec<_>>(), ["extra"]);
                assert_eq!(page.unmapped["extra"].len(), page.rows.rows, "every item has it");
                for row in 0..page.rows.rows {
                    let text = page.rows.columns[0].bytes(row).unwrap();
                    let age = Value::decode(page.rows.columns[1].bytes(row).unwrap()).unwrap();
                    assert_eq!(page.rows.columns[2].bytes(row), None, "absent");
                    let Value::Number(age) = age else { panic!("{age:?}") };
                    assert_eq!(text, format!("USER#{age}").as_bytes());
                    seen.push(age);
                }
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0..1_000i64).map(Number::from).collect::<Vec<_>>());
    }

    #[test]
    fn stale_reads_see_the_past_and_consistent_ones_the_present() {
        let (store, handle) = Memory::new("target", true);
        items(&handle, 1);
        handle.freeze();
        assert!(handle.delete("items", &[Value::Text("USER#0".to_owned())]));
        let read = read(&handle, &["pk"]);
        let mut key = crate::model::ColumnBuilder::bytes(1);
        key.push_bytes(b"USER#0");
        let keys = Batch { rows: 1, columns: vec![key.finish()] };
        let fetch = |consistency| {
            let fetched = futures::executor::block_on(store.fetch(&read, &keys, consistency));
            assert!(fetched.unread.is_empty());
            fetched.pages.iter().map(|page| page.rows.rows).sum::<usize>()
        };
        assert_eq!(fetch(Consistency::Eventual), 1);
        assert_eq!(fetch(Consistency::Strong), 0);
        handle.refresh();
        assert_eq!(fetch(Consistency::Eventual), 0);
    }

    #[test]
    fn ordered_faults_come_in_order_and_end_a_scan() {
        let (store, handle) = Memory::new("source", false);
        items(&handle, 20);
        let read = read(&handle, &["pk"]);
        let extent = Extent::Segment { index: 0, of: 1 };
        handle.fail_every(NonZeroU32::new(2).unwrap(), Kind::Throttled("slow".to_owned()));
        let pages: Vec<_> = futures::executor::block_on(store.scan(&read, &extent).collect());
        assert_eq!(pages.len(), 2, "one page, then the error, then nothing");
        assert_eq!(pages[1].as_ref().unwrap_err().kind, Kind::Throttled("slow".to_owned()));
        handle.heal();
        handle.stop();
        let pages: Vec<_> = futures::executor::block_on(store.scan(&read, &extent).collect());
        assert_eq!(pages[0].as_ref().unwrap_err().kind.code(), FaultCode::StoreUnreachable);
    }
}
