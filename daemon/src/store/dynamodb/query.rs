//! Queries of what shares a partition key.
//!
//! Owns the requests that answer a question, page by page, and by what a table can be asked. Refuses
//! to search attributes that are no key: that would read the whole table. Invariant: a question whose
//! answer is not known to be whole is unread.

use std::num::NonZeroU32;
use std::sync::OnceLock;

use aws_sdk_dynamodb::operation::query::QueryOutput;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder as Builder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use futures::StreamExt;
use futures::stream;

use super::selection::Selection;
use super::wire::Errand;
use super::{Dynamodb, Item, capacity, cells, counted, keys, total};
use crate::model::{Cost, RelationSchema};
use crate::store::questions::{Part, Questions, exceeds};
use crate::store::{
    Consistency, Fetched, Page, QUERY_ROWS_MAX, Query, Read, StoreError, StoreErrorKind, named,
};

/// How questions are asked.
pub(super) struct Inquiry<'a> {
    store: &'a Dynamodb,
    read: &'a Read,
    selection: Selection,
    consistency: Consistency,
    /// Why DynamoDB does not answer now: each further question would wait as long again.
    stopped: OnceLock<StoreErrorKind>,
}

/// What a question asks for: the partition key, and how the sort key begins.
type Question = (AttributeValue, Option<AttributeValue>);

/// What became of a question.
struct Answer {
    part: Part,
    /// All items, or more than there may be.
    pages: Result<Vec<Page>, StoreError>,
    /// What it cost beside what the pages say.
    cost: Cost,
}

/// Whether items are found by `columns`.
///
/// # Errors
/// If they are not; says by which they are.
pub(super) fn assert_found_by(
    schema: &RelationSchema,
    columns: &[String],
) -> Result<(), StoreErrorKind> {
    let key: Vec<_> = schema.key_columns().map(|column| column.name.clone()).collect();
    if !columns.is_empty() && key.starts_with(columns) {
        return Ok(());
    }
    let sort = match key.get(1) {
        Some(sort) => format!(", alone or followed by the sort key `{sort}`"),
        None => String::new(),
    };
    Err(StoreErrorKind::Unfit(format!(
        "items are found only by the partition key {}{sort}, not by {}; ask by those, or read a \
         table with such a key",
        named(&key[..1]),
        named(columns)
    )))
}

impl<'a> Inquiry<'a> {
    /// Answers a query.
    ///
    /// # Errors
    /// If none of its questions can be asked.
    pub(super) async fn query(
        store: &'a Dynamodb,
        read: &'a Read,
        query: &'a Query,
        consistency: Consistency,
    ) -> Result<Fetched, StoreErrorKind> {
        assert_found_by(&read.schema, &query.columns)?;
        if query.prefix && query.columns.len() == 1 {
            let words = "DynamoDB finds a partition key only as a whole, not by how it begins";
            return Err(StoreErrorKind::Unfit(words.to_owned()));
        }
        let selection = Selection::new(read).map_err(StoreErrorKind::Unfit)?;
        let mut questions = Questions::new(read, query)?;
        let parts: Vec<_> = std::iter::from_fn(|| {
            let part = questions.next(1)?;
            let values = questions.values(&part);
            let question = keys::question(&read.schema, &values, 0);
            Some((part, question))
        })
        .collect();
        let inquiry = Inquiry { store, read, selection, consistency, stopped: OnceLock::new() };
        // The limiter lets through as many as may be; more than that would only wait there.
        let mut answers = stream::iter(parts)
            .map(|(part, question)| inquiry.answer(part, question))
            .buffer_unordered(store.wire.concurrency);
        while let Some(Answer { part, pages, cost }) = answers.next().await {
            questions.spent(cost);
            match pages {
                Ok(pages) => questions.answered(part, pages, |kind| inquiry.error(kind)),
                Err(error) => questions.failed(part, error),
            }
        }
        drop(answers);
        Ok(questions.finish())
    }

    async fn answer(&self, part: Part, question: Result<Option<Question>, String>) -> Answer {
        let mut cost = Cost::default();
        let pages = match question {
            Ok(Some(question)) => match self.stopped.get() {
                Some(kind) => Err(self.error(kind.clone())),
                None => self.ask(&question, &mut cost).await,
            },
            // No item can be so.
            Ok(None) => Ok(Vec::new()),
            Err(what) => Err(self.error(StoreErrorKind::Unfit(what))),
        };
        if let Some(error) = pages.as_ref().err().filter(|error| error.kind.heals()) {
            self.stopped.get_or_init(|| error.kind.clone());
        }
        Answer { part, pages, cost }
    }

    /// Reads the items that answer a question, and no more of them than shows that they are too many.
    async fn ask(&self, question: &Question, cost: &mut Cost) -> Result<Vec<Page>, StoreError> {
        let mut pages = Vec::new();
        let mut after = None;
        loop {
            let read: u64 = pages.iter().map(|page: &Page| page.cost.rows).sum();
            let (more, next) = self.turn(question, after.as_ref(), read, cost).await?;
            pages.extend(more);
            let Some(next) = next else { return Ok(pages) };
            if exceeds(&total(Cost::default(), &pages)) {
                return Ok(pages);
            }
            if after.as_ref() == Some(&next) {
                return Err(self.error(answered("its query does not advance")));
            }
            after = Some(next);
        }
    }

    /// One request behind `after`, `read` items having come before. Gives where the next one goes on.
    async fn turn(
        &self,
        question: &Question,
        after: Option<&Item>,
        read: u64,
        cost: &mut Cost,
    ) -> Result<(Vec<Page>, Option<Item>), StoreError> {
        let wire = &self.store.wire;
        let relation = self.read.schema.relation.as_str();
        let errand = Errand { doing: "querying", relation: Some(relation) };
        let (limit, mut patience) = (self.limit(read), wire.patience());
        let asked = wire
            .ask(errand, &mut patience, |client| {
                let request = client.query().table_name(relation).set_limit(limit);
                self.keyed(request, question)
                    .consistent_read(self.consistency == Consistency::Strong)
                    .set_exclusive_start_key(after.cloned())
                    .return_consumed_capacity(ReturnConsumedCapacity::Total)
                    .send()
            })
            .await;
        cost.requests += patience.requests;
        let (answer, permit) = asked?;
        let QueryOutput { items, count, last_evaluated_key, consumed_capacity, .. } = answer;
        let items =
            counted(items, count).map_err(|what| self.error(StoreErrorKind::Answer(what)))?;
        let page_rows = usize::try_from(self.read.page_rows.get()).unwrap_or(usize::MAX);
        let pages = cells::pages(&self.selection, &items, page_rows)
            .map_err(|what| self.error(StoreErrorKind::Answer(what)))?;
        let consumed = consumed_capacity.as_ref().map_or(0.0, capacity);
        cost.capacity += consumed;
        let charged = Cost { capacity: consumed, requests: patience.requests, ..Cost::default() };
        self.store.charge(&permit, &total(charged, &pages));
        Ok((pages, last_evaluated_key.filter(|key| !key.is_empty())))
    }

    /// `request` for the items that answer `question`.
    fn keyed(&self, request: Builder, question: &Question) -> Builder {
        let (partition, start) = question;
        let mut condition = "#partition = :partition".to_owned();
        let mut request = request;
        let names = ["#partition", "#sort"].into_iter().zip(self.read.schema.key_columns());
        for (place, column) in names.take(1 + usize::from(start.is_some())) {
            request = request.expression_attribute_names(place, column.name.clone());
        }
        request = request.expression_attribute_values(":partition", partition.clone());
        if let Some(start) = start {
            condition += " AND begins_with(#sort, :start)";
            request = request.expression_attribute_values(":start", start.clone());
        }
        request.key_condition_expression(condition)
    }

    /// The most items of the next request, `read` items having come before: one more than there may
    /// be, and no more than a second allows.
    fn limit(&self, read: u64) -> Option<i32> {
        let most = (QUERY_ROWS_MAX as u64 + 1).saturating_sub(read).max(1);
        let most = NonZeroU32::new(u32::try_from(most).unwrap_or(u32::MAX))?;
        i32::try_from(self.store.wire.limiter().page_rows(most).get()).ok()
    }

    fn error(&self, kind: StoreErrorKind) -> StoreError {
        self.store.wire.error(Some(&self.read.schema.relation), kind)
    }
}

fn answered(what: &str) -> StoreErrorKind {
    StoreErrorKind::Answer(what.to_owned())
}
