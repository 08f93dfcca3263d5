//! Amazon DynamoDB, or what speaks its protocol.
//!
//! Owns scans of segments, fetches by key, queries of what shares a partition key, and what a table
//! is. Refuses writes: it names no operation that could change a table, and it needs only the rights
//! to describe, list, scan, get and query. Invariant: a page that DynamoDB did not answer, and a key that it did not process, ends as an
//! error; an item is left out only where DynamoDB answered that it is not there.
//!
//! Items are read whole, which costs no more, so that attributes nobody asked for are noticed. A
//! segment is scanned with ordinary (eventually consistent) reads at half the price; differences are
//! looked at again with consistent ones.
//!
//! Items that share a partition key lie in one place: whatever the number of segments, they are in
//! one of them, and a scan gives them one after the other. So what belongs together by it can be put
//! together while it is scanned.

mod cells;
mod keys;
mod query;
mod selection;
mod request_error;
mod wire;

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::batch_get_item::BatchGetItemOutput;
use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, ConsumedCapacity, KeyType, KeysAndAttributes, ReturnConsumedCapacity,
    TableDescription,
};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

use crate::model::{Batch, ColumnDef, Cost, Extent, Logical, RelationSchema};
use crate::store::near::nearest;
use crate::store::rate_limiter::{Permit, RateLimiter};
use crate::store::{
    Capabilities, Consistency, DynamodbSettings, Fetched, Page, Query, Read, Settings, Store,
    StoreError, StoreErrorKind, questions,
};
use keys::{Wanted, Wishes};
use query::Inquiry;
use selection::Selection;
use wire::{Errand, Patience, Wire};

/// An item, or a key of one, as the SDK has it. Nothing depends on the order of its attributes.
#[expect(clippy::disallowed_types, reason = "the SDK's own type of an item")]
type Item = std::collections::HashMap<String, AttributeValue>;

/// The most segments that DynamoDB scans in parallel.
const SEGMENTS_MAX: u32 = 1_000_000;
/// Segments of a table whose size is not known: DynamoDB counts only every six hours.
const SEGMENTS_UNKNOWN: u64 = 4;
/// Bytes of a segment, about: its scan stays a matter of a few dozen requests.
const SEGMENT_BYTES: u64 = 64 << 20;
/// The most keys that one request may ask for.
const BATCH_KEYS: usize = 100;
/// Bytes of the items that one request asks for, about: an answer is in memory as a whole.
const BATCH_BYTES: u64 = 4 << 20;
/// A batch answers with at most 16 MB; at more than this, what it left out was cut for size.
const BATCH_FULL_BYTES: u64 = 12 << 20;
/// How many requests a search for similar names may take, at 100 names each.
const LIST_REQUESTS: usize = 10;

/// A DynamoDB store. Credentials are what the SDK's default chain gives; no network is needed to
/// open it, but where the chain itself asks for the region.
///
/// # Errors
/// If there is no region, or the settings ask for more segments than DynamoDB has.
pub async fn open(
    settings: &Settings,
    dynamodb: &DynamodbSettings,
    limiter: Arc<RateLimiter>,
) -> Result<Arc<dyn Store>, StoreError> {
    let wire = Wire::open(settings, dynamodb, limiter).await?;
    if dynamodb.segments.is_some_and(|segments| segments.get() > SEGMENTS_MAX) {
        let what = format!("`segments` must be at most {SEGMENTS_MAX}");
        return Err(wire.error(None, StoreErrorKind::Unfit(what)));
    }
    Ok(Arc::new(Dynamodb::new(wire, dynamodb)))
}

/// A DynamoDB store over a client that is there already. Its credentials, region and endpoint are
/// kept; limits and timeouts are those of the settings.
#[must_use]
pub fn with_client(
    settings: &Settings,
    dynamodb: &DynamodbSettings,
    client: &Client,
) -> Arc<dyn Store> {
    Arc::new(Dynamodb::new(Wire::given(settings, dynamodb, client), dynamodb))
}

#[derive(Debug)]
struct Dynamodb {
    wire: Wire,
    segments: Option<NonZeroU32>,
    /// How large the items of the last answer were on average.
    item_bytes: AtomicU64,
}

impl Store for Dynamodb {
    fn name(&self) -> &str {
        &self.wire.store
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { ranges: false, consistent: true }
    }

    fn describe<'a>(
        &'a self,
        relation: &'a str,
    ) -> BoxFuture<'a, Result<RelationSchema, StoreError>> {
        async move {
            let table = self.table(relation).await?;
            schema(relation, &table)
                .map_err(|what| self.wire.error(Some(relation), StoreErrorKind::Answer(what)))
        }
        .boxed()
    }

    fn split<'a>(
        &'a self,
        read: &'a Read,
        rows: NonZeroU32,
    ) -> BoxFuture<'a, Result<Vec<Extent>, StoreError>> {
        async move {
            let relation = read.schema.relation.as_str();
            assert_uncut(read)
                .map_err(|what| self.wire.error(Some(relation), StoreErrorKind::Unfit(what)))?;
            let of = match self.segments {
                Some(segments) => segments.get().min(SEGMENTS_MAX),
                None => segments(&self.table(relation).await?, rows),
            };
            Ok((0..of).map(|index| Extent::Segment { index, of }).collect())
        }
        .boxed()
    }

    fn scan<'a>(
        &'a self,
        read: &'a Read,
        extent: &'a Extent,
    ) -> BoxStream<'a, Result<Page, StoreError>> {
        match Scan::new(self, read, extent) {
            Ok(scan) => stream::try_unfold(scan, Scan::step).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    fn fetch<'a>(
        &'a self,
        read: &'a Read,
        keys: &'a Batch,
        consistency: Consistency,
    ) -> BoxFuture<'a, Fetched> {
        async move {
            let relation = Some(read.schema.relation.as_str());
            let mut fetched = Fetched::default();
            let selection = match Selection::new(read) {
                Ok(selection) => selection,
                Err(what) => {
                    let error = self.wire.error(relation, StoreErrorKind::Unfit(what));
                    fetched.unread.push(((0..keys.rows).collect(), error));
                    return fetched;
                }
            };
            let (wishes, unfit) = keys::wishes(&read.schema, keys);
            for (position, what) in unfit {
                let error = self.wire.error(relation, StoreErrorKind::Unfit(what));
                fetched.unread.push((vec![position], error));
            }
            // Each of those that are left would wait for the store's whole patience.
            let silent = OnceLock::new();
            let look_up = async |wishes: Wishes| {
                if let Some(kind) = silent.get() {
                    let error = self.wire.error(relation, StoreErrorKind::clone(kind));
                    let unread = vec![(positions(wishes), error)];
                    return Fetched { unread, ..Fetched::default() };
                }
                let part = Lookup::new(self, read, &selection, consistency).run(wishes).await;
                let mut errors = part.unread.iter().map(|(_, error)| &error.kind);
                if let Some(kind) = errors.find(|kind| kind.is_silence()) {
                    silent.get_or_init(|| kind.clone());
                }
                part
            };
            // The limiter lets through as many as may be; more than that would only wait there.
            let mut batches = stream::iter(batches(wishes, self.batch_keys()))
                .map(look_up)
                .buffer_unordered(self.wire.concurrency);
            while let Some(part) = batches.next().await {
                fetched.pages.extend(part.pages);
                fetched.unread.extend(part.unread);
                fetched.cost.add(part.cost);
            }
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
        if !query.prefix && read.schema.key_columns().map(|column| &column.name).eq(&query.columns)
        {
            // Whole keys are fetched, a hundred at a time.
            return self.fetch(read, &query.values, consistency);
        }
        async move {
            Inquiry::query(self, read, query, consistency).await.unwrap_or_else(|kind| {
                questions::unasked(query, self.wire.error(Some(&read.schema.relation), kind))
            })
        }
        .boxed()
    }

    fn found_by<'a>(
        &'a self,
        relation: &'a str,
        columns: &'a [String],
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        async move {
            let schema = self.describe(relation).await?;
            query::assert_found_by(&schema, columns)
                .map_err(|kind| self.wire.error(Some(relation), kind))
        }
        .boxed()
    }

    fn probe<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        let errand = Errand { doing: "asking whether it answers", relation: Some(relation) };
        // One item: a table may be described although none of it can be read.
        let one = move |client: Client| client.scan().table_name(relation).limit(1).send();
        self.wire.ask_once(errand, one).boxed()
    }
}

/// Refuses to cut a table by a column: DynamoDB has segments.
fn assert_uncut(read: &Read) -> Result<(), String> {
    match &read.cut {
        None => Ok(()),
        Some(cut) => Err(format!("DynamoDB cuts a table into segments, not by column `{cut}`")),
    }
}

impl Dynamodb {
    fn new(wire: Wire, dynamodb: &DynamodbSettings) -> Self {
        Self { wire, segments: dynamodb.segments, item_bytes: AtomicU64::new(0) }
    }

    /// Notes what an answer cost, and how large its items are.
    fn charge(&self, permit: &Permit<'_>, cost: &Cost) {
        permit.charge(cost);
        if let Some(average) = cost.bytes.checked_div(cost.rows) {
            self.item_bytes.store(average, Ordering::Relaxed);
        }
    }

    /// How many keys one request asks for.
    fn batch_keys(&self) -> usize {
        let keys = BATCH_BYTES.checked_div(self.item_bytes.load(Ordering::Relaxed));
        keys.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(BATCH_KEYS).clamp(1, BATCH_KEYS)
    }

    async fn table(&self, relation: &str) -> Result<TableDescription, StoreError> {
        let errand = Errand { doing: "describing a table", relation: Some(relation) };
        let answer = self
            .wire
            .ask(errand, &mut self.wire.patience(), |client| {
                client.describe_table().table_name(relation).send()
            })
            .await
            .map(|(answer, _permit)| answer.table);
        match answer {
            Ok(Some(table)) => Ok(table),
            Ok(None) => {
                let what = "described no table".to_owned();
                Err(self.wire.error(Some(relation), StoreErrorKind::Answer(what)))
            }
            Err(StoreError { kind: StoreErrorKind::NoSuchRelation { .. }, .. }) => {
                let near = self.nearest(relation).await;
                Err(self.wire.error(Some(relation), StoreErrorKind::NoSuchRelation { near }))
            }
            Err(error) => Err(error),
        }
    }

    /// The names of tables that are most like `relation`. Listing needs a right that the daemon can
    /// do without, so a failure means only that there is less to tell.
    async fn nearest(&self, relation: &str) -> Vec<String> {
        let errand = Errand { doing: "listing tables", relation: None };
        let mut patience = self.wire.patience();
        let mut names = Vec::new();
        let mut after = None;
        for _ in 0..LIST_REQUESTS {
            let asked = self.wire.ask(errand, &mut patience, |client| {
                client.list_tables().set_exclusive_start_table_name(after.clone()).send()
            });
            let Ok((answer, _permit)) = asked.await else { break };
            names.extend(answer.table_names.unwrap_or_default());
            after = answer.last_evaluated_table_name;
            if after.is_none() {
                break;
            }
        }
        nearest(relation, names.iter().map(String::as_str))
    }
}

fn schema(relation: &str, table: &TableDescription) -> Result<RelationSchema, String> {
    let mut columns = Vec::new();
    for wanted in [KeyType::Hash, KeyType::Range] {
        let Some(element) = table.key_schema().iter().find(|element| *element.key_type() == wanted)
        else {
            continue;
        };
        let name = element.attribute_name();
        let logical = table
            .attribute_definitions()
            .iter()
            .find(|definition| definition.attribute_name() == name)
            .and_then(|definition| match definition.attribute_type().as_str() {
                "S" => Some(Logical::Text),
                "N" => Some(Logical::Decimal),
                "B" => Some(Logical::Binary),
                _ => None,
            })
            .ok_or_else(|| format!("declares no type for key attribute `{name}`"))?;
        columns.push(ColumnDef { name: name.to_owned(), logical, nullable: false });
    }
    if columns.is_empty() {
        return Err("describes a table without a key".to_owned());
    }
    let key = (0..columns.len()).collect();
    Ok(RelationSchema { relation: relation.to_owned(), columns, key, open: true, partial: false })
}

/// How many segments make parts of about `rows` rows.
fn segments(table: &TableDescription, rows: NonZeroU32) -> u32 {
    let items = table.item_count().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
    let bytes = table.table_size_bytes().and_then(|size| u64::try_from(size).ok()).unwrap_or(0);
    let of = if items == 0 {
        SEGMENTS_UNKNOWN.max(bytes.div_ceil(SEGMENT_BYTES))
    } else {
        items.div_ceil(u64::from(rows.get())).max(bytes.div_ceil(SEGMENT_BYTES))
    };
    u32::try_from(of).unwrap_or(SEGMENTS_MAX).clamp(1, SEGMENTS_MAX)
}

/// A scan of one segment.
struct Scan<'a> {
    store: &'a Dynamodb,
    read: &'a Read,
    selection: Selection,
    segment: i32,
    segments: i32,
    /// Where the next request goes on; the first one starts at the beginning.
    after: Option<Item>,
    ended: bool,
    /// The most items of the next request, if capacity is limited.
    step: Option<f64>,
    ready: VecDeque<Page>,
    /// Spent since the last page. What follows the last one of all is charged, and not told.
    spent: Cost,
}

impl<'a> Scan<'a> {
    fn new(store: &'a Dynamodb, read: &'a Read, extent: &Extent) -> Result<Self, StoreError> {
        let unfit = |what: String| {
            store.wire.error(Some(&read.schema.relation), StoreErrorKind::Unfit(what))
        };
        let Extent::Segment { index, of } = *extent else {
            return Err(unfit(format!("DynamoDB scans segments, not the range {extent}")));
        };
        let (segment, segments) = match (i32::try_from(index), i32::try_from(of)) {
            (Ok(segment), Ok(segments)) if index < of && of <= SEGMENTS_MAX => (segment, segments),
            _ => return Err(unfit(format!("there is no {extent}"))),
        };
        assert_uncut(read).map_err(unfit)?;
        let selection = Selection::new(read).map_err(unfit)?;
        Ok(Self {
            store,
            read,
            selection,
            segment,
            segments,
            after: None,
            ended: false,
            // As if items were of 4 KB; the first answer tells.
            step: store.wire.capacity.map(|capacity| capacity * 2.0),
            ready: VecDeque::new(),
            spent: Cost::default(),
        })
    }

    async fn step(mut self) -> Result<Option<(Page, Self)>, StoreError> {
        loop {
            if let Some(page) = self.ready.pop_front() {
                return Ok(Some((page, self)));
            }
            if self.ended {
                return Ok(None);
            }
            self.turn().await?;
        }
    }

    /// One request. Pages without items are normal: DynamoDB reads a bounded amount for each.
    async fn turn(&mut self) -> Result<(), StoreError> {
        let wire = &self.store.wire;
        let relation = self.read.schema.relation.as_str();
        let errand = Errand { doing: "scanning", relation: Some(relation) };
        let limit = self.limit();
        let mut patience = wire.patience();
        let (answer, permit) = wire
            .ask(errand, &mut patience, |client| {
                client
                    .scan()
                    .table_name(relation)
                    .segment(self.segment)
                    .total_segments(self.segments)
                    .consistent_read(false)
                    .set_limit(limit)
                    .set_exclusive_start_key(self.after.clone())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
            })
            .await?;
        let ScanOutput { items, count, last_evaluated_key, consumed_capacity, .. } = answer;
        let page_rows = usize::try_from(self.read.page_rows.get()).unwrap_or(usize::MAX);
        let answered = |what: String| wire.error(Some(relation), StoreErrorKind::Answer(what));
        let items = counted(items, count).map_err(answered)?;
        let pages = cells::pages(&self.selection, &items, page_rows).map_err(answered)?;
        let mut cost = Cost {
            capacity: consumed_capacity.as_ref().map_or(0.0, capacity),
            requests: patience.requests,
            ..Cost::default()
        };
        let charged = total(cost, &pages);
        self.store.charge(&permit, &charged);
        drop(permit);
        self.pace(charged);
        let next = last_evaluated_key.filter(|key| !key.is_empty());
        if next.is_some() && next == self.after {
            return Err(answered("its scan does not advance".to_owned()));
        }
        self.ended = next.is_none();
        self.after = next;
        cost.add(std::mem::take(&mut self.spent));
        self.ready.extend(pages);
        match self.ready.front_mut() {
            Some(page) => page.cost.add(cost),
            None => self.spent = cost,
        }
        Ok(())
    }
}

impl Scan<'_> {
    /// The most items of the next request: about a second's worth of what is allowed. Without limits
    /// DynamoDB's own bound of 1 MB is the best one.
    #[expect(clippy::cast_possible_truncation, reason = "clamped before")]
    fn limit(&self) -> Option<i32> {
        let rows = self.store.wire.limiter().page_rows(NonZeroU32::MAX);
        let rows = (rows < NonZeroU32::MAX).then(|| f64::from(rows.get()));
        let least = match (rows, self.step) {
            (Some(rows), Some(step)) => rows.min(step),
            (rows, step) => rows.or(step)?,
        };
        Some(least.clamp(1.0, f64::from(i32::MAX)) as i32)
    }

    /// Learns from an answer how many items a second's capacity is enough for.
    #[expect(clippy::cast_precision_loss, reason = "a pace needs no more than 53 bits")]
    fn pace(&mut self, cost: Cost) {
        if let Some(allowed) = self.store.wire.capacity
            && cost.capacity > 0.0
            && cost.rows > 0
        {
            self.step = Some(cost.rows as f64 * allowed / cost.capacity);
        }
    }
}

/// A fetch of as many keys as one request asks for.
struct Lookup<'a> {
    store: &'a Dynamodb,
    read: &'a Read,
    selection: &'a Selection,
    consistency: Consistency,
    patience: Patience,
    fetched: Fetched,
}

impl<'a> Lookup<'a> {
    fn new(
        store: &'a Dynamodb,
        read: &'a Read,
        selection: &'a Selection,
        consistency: Consistency,
    ) -> Self {
        let (patience, fetched) = (store.wire.patience(), Fetched::default());
        Self { store, read, selection, consistency, patience, fetched }
    }

    async fn run(mut self, wishes: Wishes) -> Fetched {
        let mut parts = vec![wishes];
        while let Some(mut wishes) = parts.pop() {
            while !wishes.is_empty() {
                let Err(error) = self.turn(&mut wishes).await else { continue };
                if error.kind.may_be_of_one() && wishes.len() > 1 {
                    let half = wishes.len().div_ceil(2);
                    parts.extend(batches(wishes, half).into_iter().rev());
                    break;
                }
                let silent = error.kind.is_silence();
                self.fetched.unread.push((positions(wishes), error));
                if silent {
                    // There is no patience left for the others.
                    let left = parts.drain(..).flat_map(positions);
                    if let Some((unread, _)) = self.fetched.unread.last_mut() {
                        unread.extend(left);
                    }
                }
                break;
            }
        }
        self.fetched.cost.requests = self.patience.requests;
        self.fetched
    }

    /// One request. Leaves in `wishes` what was not processed.
    async fn turn(&mut self, wishes: &mut Wishes) -> Result<(), StoreError> {
        let wire = &self.store.wire;
        let relation = self.read.schema.relation.as_str();
        let errand = Errand { doing: "fetching", relation: Some(relation) };
        let answered =
            |what: &str| wire.error(Some(relation), StoreErrorKind::Answer(what.to_owned()));
        let keys: Vec<_> = wishes.values().map(|Wanted { key, .. }| key.clone()).collect();
        let request = KeysAndAttributes::builder()
            .consistent_read(self.consistency == Consistency::Strong)
            .set_keys(Some(keys))
            .build()
            .map_err(|_incomplete| answered("the request has no keys"))?;
        let (answer, permit) = wire
            .ask(errand, &mut self.patience, |client| {
                client
                    .batch_get_item()
                    .request_items(relation, request.clone())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
            })
            .await?;
        let BatchGetItemOutput { responses, unprocessed_keys, consumed_capacity, .. } = answer;
        // Whatever answers without any has not looked. One table was asked, so all are its items.
        let responses = responses.ok_or_else(|| answered("a fetch's answer without responses"))?;
        let silent = responses.is_empty();
        let items: Vec<_> = responses.into_values().flatten().collect();
        let page_rows = usize::try_from(self.read.page_rows.get()).unwrap_or(usize::MAX);
        let pages =
            cells::pages(self.selection, &items, page_rows).map_err(|what| answered(&what))?;
        let consumed = consumed_capacity.unwrap_or_default();
        let capacity = consumed.iter().map(capacity).sum();
        let cost = total(Cost { capacity, ..Cost::default() }, &pages);
        self.store.charge(&permit, &cost);
        self.fetched.cost.capacity += capacity;
        self.fetched.pages.extend(pages);

        let left: Option<BTreeSet<_>> = unprocessed_keys
            .iter()
            .flat_map(|tables| tables.values())
            .flat_map(|table| table.keys())
            .map(|key| keys::identity(&self.read.schema, key))
            .collect();
        let Some(left) = left else { return Err(answered("left an incomplete key unprocessed")) };
        if !left.iter().all(|identity| wishes.contains_key(identity)) {
            return Err(answered("left a key unprocessed that was not asked for"));
        }
        if silent && left.len() < wishes.len() {
            return Err(answered("a fetch's answer that says nothing of the table"));
        }
        if left.len() < wishes.len() {
            self.patience.progress();
        }
        wishes.retain(|identity, _| left.contains(identity));
        if left.is_empty() {
            return Ok(());
        }
        if cost.bytes < BATCH_FULL_BYTES {
            permit.throttled();
        }
        drop(permit);
        if self.patience.pause().await {
            return Ok(());
        }
        let what = format!("{} keys were left unprocessed to the end", left.len());
        Err(wire.error(Some(relation), StoreErrorKind::Throttled(what)))
    }
}

/// The items of an answer that says how many it has.
///
/// # Errors
/// If it has none of them, or not so many: what is cut is no answer.
fn counted(items: Option<Vec<Item>>, count: i32) -> Result<Vec<Item>, String> {
    // Whatever answers without them has not looked.
    let items = items.ok_or("an answer without items")?;
    match usize::try_from(count) {
        Ok(count) if count > items.len() => {
            Err(format!("an answer of {count} items that has {}", items.len()))
        }
        Ok(_) | Err(_) => Ok(items),
    }
}

/// Where these keys were asked for.
fn positions(wishes: Wishes) -> Vec<usize> {
    wishes.into_values().flat_map(|wish| wish.positions).collect()
}

/// Parts of at most `most` keys.
fn batches(mut wishes: Wishes, most: usize) -> Vec<Wishes> {
    let mut batches = Vec::new();
    while let Some(key) = wishes.keys().nth(most).cloned() {
        let rest = wishes.split_off(&key);
        batches.push(std::mem::replace(&mut wishes, rest));
    }
    if !wishes.is_empty() {
        batches.push(wishes);
    }
    batches
}

fn capacity(consumed: &ConsumedCapacity) -> f64 {
    consumed.capacity_units().unwrap_or(0.0)
}

/// `cost` and that of the pages.
fn total(mut cost: Cost, pages: &[Page]) -> Cost {
    for page in pages {
        cost.add(page.cost);
    }
    cost
}
