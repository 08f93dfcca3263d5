//! The questions of a query, and their answers.
//!
//! Owns which rows answer which question, how questions are put together and taken apart again, and
//! what is too much for one. Refuses to ask: a store takes a part of the questions and says what
//! became of it. Invariant: a question is answered whole or is unread as a whole, a row comes once,
//! and only where its values are, byte for byte, those that were asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::model::{Batch, Column, Cost, Logical, RelationSchema};
use crate::store::identity::{append, identity};
use crate::store::near::nearest;
use crate::store::{
    Fetched, Page, QUERY_BYTES_MAX, QUERY_ROWS_MAX, Query, Read, StoreError,
    StoreErrorKind as Kind, named,
};

/// Questions on their way to being answered.
pub(crate) struct Questions<'a> {
    /// What is read: the columns asked for, and behind them those that rows are recognised by.
    pub(crate) read: Read,
    query: &'a Query,
    logical: Vec<Logical>,
    places: Vec<Place>,
    /// How many columns were asked for.
    width: usize,
    /// The number of each question, by what it asks.
    numbers: BTreeMap<Vec<u8>, usize>,
    /// Where each was asked: more than once, if it was repeated.
    positions: Vec<Vec<usize>>,
    /// How long the values are that the last column begins with.
    lengths: BTreeSet<usize>,
    /// Those from here on were not taken yet.
    next: usize,
    /// Parts that had too many rows together.
    again: Vec<Part>,
    fetched: Fetched,
    /// The keys of rows that are in the result; only where one row may answer several questions.
    seen: BTreeSet<Vec<u8>>,
}

/// Some of the questions, by number.
pub(crate) type Part = Range<usize>;

// The message says so.
const _: () = assert!(QUERY_ROWS_MAX == 10_000 && QUERY_BYTES_MAX == 32 << 20);

/// Where a page holds a column that rows are recognised by.
#[derive(Clone, Copy, Debug)]
enum Place {
    Key(usize),
    Column(usize),
}

/// More was read than one question may have.
pub(crate) fn exceeds(cost: &Cost) -> bool {
    cost.rows > QUERY_ROWS_MAX as u64 || cost.bytes >= QUERY_BYTES_MAX
}

/// None of the questions of `query` could be asked.
pub(crate) fn unasked(query: &Query, error: StoreError) -> Fetched {
    let all = (0..query.values.rows).collect();
    Fetched { unread: vec![(all, error)], ..Fetched::default() }
}

impl<'a> Questions<'a> {
    /// # Errors
    /// If a column is not there, or cannot begin with anything.
    ///
    /// # Panics
    /// If there are not as many columns of values as columns, which is a bug of the caller.
    pub(crate) fn new(read: &Read, query: &'a Query) -> Result<Self, Kind> {
        let Query { columns, values, prefix } = query;
        assert!(
            values.rows == 0 || values.columns.len() == columns.len(),
            "values of another query"
        );
        let logical = logical(&read.schema, query)?;
        let width = read.columns.len();
        let mut read = Read { cut: None, ..read.clone() };
        let places = columns.iter().map(|name| place(&mut read, name)).collect();
        let mut questions = Self {
            read,
            query,
            logical,
            places,
            width,
            numbers: BTreeMap::new(),
            positions: Vec::new(),
            lengths: BTreeSet::new(),
            next: 0,
            again: Vec::new(),
            fetched: Fetched::default(),
            seen: BTreeSet::new(),
        };
        let cells: Vec<_> = values.columns.iter().collect();
        for row in 0..values.rows {
            let Some((asked, last)) = questions.identity(&cells, row) else { continue };
            if *prefix {
                questions.lengths.insert(last);
            }
            let number = *questions.numbers.entry(asked).or_insert(questions.positions.len());
            if number == questions.positions.len() {
                questions.positions.push(Vec::new());
            }
            questions.positions[number].push(row);
        }
        Ok(questions)
    }

    /// Takes the next questions, at most `most`; none: none is left.
    pub(crate) fn next(&mut self, most: usize) -> Option<Part> {
        if let Some(part) = self.again.pop() {
            return Some(part);
        }
        let first = self.next;
        self.next = self.positions.len().min(first + most.max(1));
        (first < self.next).then_some(first..self.next)
    }

    /// The values of `part`, a row for each question.
    pub(crate) fn values(&self, part: &Part) -> Batch {
        let first = |positions: &Vec<usize>| positions[0];
        let rows: Vec<_> = self.positions[part.clone()].iter().map(first).collect();
        self.query.values.take(&rows)
    }

    /// The rows were read that may answer `part`: all, or more than one question may have. In that
    /// case none is kept, several questions are asked again in halves, and one is unread.
    pub(crate) fn answered(
        &mut self,
        part: Part,
        pages: Vec<Page>,
        error: impl FnOnce(Kind) -> StoreError,
    ) {
        let mut cost = Cost::default();
        pages.iter().for_each(|page| cost.add(page.cost));
        if !exceeds(&cost) {
            return self.keep(&part, pages);
        }
        self.fetched.cost.add(cost);
        if part.len() > 1 {
            return self.halve(part);
        }
        let many = cost.rows > QUERY_ROWS_MAX as u64;
        let what = format!(
            "more than {} belong to one value of {}; what belongs together is compared at once, so \
             it must fit into memory: read by columns that fewer rows share",
            if many { "10,000 rows" } else { "32 MiB of rows" },
            named(&self.query.columns),
        );
        self.failed(part, error(Kind::Unfit(what)));
    }

    /// Asks again, in halves.
    pub(crate) fn halve(&mut self, part: Part) {
        let middle = part.start + part.len() / 2;
        self.again.extend([middle..part.end, part.start..middle]);
    }

    fn keep(&mut self, part: &Part, pages: Vec<Page>) {
        for page in pages {
            let kept = self.matching(part, &page);
            let dropped = (page.rows.rows - kept.len()) as u64;
            if kept.is_empty() {
                self.fetched.cost.add(page.cost);
                continue;
            }
            let mut page = page.take(&kept);
            page.rows.columns.truncate(self.width);
            page.cost.rows -= dropped;
            self.fetched.cost.rows += dropped;
            self.fetched.pages.push(page);
        }
    }

    /// `part` could not be read.
    pub(crate) fn failed(&mut self, part: Part, error: StoreError) {
        let positions = self.positions[part].concat();
        self.fetched.unread.push((positions, error));
    }

    /// As `failed`, where each question waits for the store's whole patience: if that may heal, those
    /// that are left are not asked.
    pub(crate) fn stopped(&mut self, part: Part, error: StoreError) {
        let mut positions = self.positions[part].concat();
        if error.kind.heals() {
            for part in std::mem::take(&mut self.again) {
                positions.extend(self.positions[part].concat());
            }
            positions.extend(self.positions[self.next..].concat());
            self.next = self.positions.len();
        }
        self.fetched.unread.push((positions, error));
    }

    /// Notes what was spent beside what pages say.
    pub(crate) fn spent(&mut self, cost: Cost) {
        self.fetched.cost.add(cost);
    }

    pub(crate) fn finish(self) -> Fetched {
        self.fetched
    }

    /// The rows of a page that answer one of `part`, and are not in the result yet.
    fn matching(&mut self, part: &Part, page: &Page) -> Vec<usize> {
        let cells = self.places.iter().map(|place| match place {
            Place::Key(index) => &page.keys.columns[*index],
            Place::Column(index) => &page.rows.columns[*index],
        });
        let cells: Vec<_> = cells.collect();
        let answers = |row: &usize| {
            let Some((mut asked, last)) = self.identity(&cells, *row) else { return false };
            let is_asked =
                |asked: &[u8]| self.numbers.get(asked).is_some_and(|number| part.contains(number));
            if !self.query.prefix {
                return is_asked(&asked);
            }
            let lead = asked.len() - last;
            self.lengths.range(..=last).rev().any(|length| {
                asked.truncate(lead + length);
                is_asked(&asked)
            })
        };
        let mut kept: Vec<_> = (0..page.rows.rows).filter(answers).collect();
        if self.query.prefix {
            let logical: Vec<_> =
                self.read.schema.key_columns().map(|column| column.logical).collect();
            kept.retain(|row| self.seen.insert(identity(&page.keys, &logical, *row)));
        }
        kept
    }

    /// What is asked, or answered, in a row, and how long the last column's value is in it, which
    /// stands there as it is where it only begins; none if one is null.
    fn identity(&self, cells: &[&Column], row: usize) -> Option<(Vec<u8>, usize)> {
        let mut bytes = Vec::new();
        let last = cells.len().checked_sub(1)?;
        for (index, (column, logical)) in cells.iter().zip(&self.logical).enumerate() {
            if !column.is_valid(row) {
                return None;
            }
            if self.query.prefix && index == last {
                let value = column.bytes(row)?;
                bytes.extend_from_slice(value);
                return Some((bytes, value.len()));
            }
            append(&mut bytes, column, *logical, row);
        }
        Some((bytes, 0))
    }
}

/// The types of the columns of a query.
fn logical(schema: &RelationSchema, query: &Query) -> Result<Vec<Logical>, Kind> {
    let of = |name: &String| {
        let found = schema.column(name).ok_or_else(|| Kind::NoSuchColumn {
            column: name.clone(),
            near: nearest(name, schema.columns.iter().map(|column| column.name.as_str())),
        })?;
        Ok(found.logical)
    };
    let logical: Vec<_> = query.columns.iter().map(of).collect::<Result<_, Kind>>()?;
    let Some((last, name)) = logical.last().zip(query.columns.last()) else {
        return Err(Kind::Unfit("nothing says by which columns rows belong together".to_owned()));
    };
    if query.prefix && !matches!(last, Logical::Text | Logical::Binary) {
        return Err(Kind::Unfit(format!(
            "column `{name}` is of type {last}, and only a text or binary column can be asked for \
             how its values begin"
        )));
    }
    Ok(logical)
}

/// Where pages of `read` hold column `name`; it is read as well if it was not.
fn place(read: &mut Read, name: &String) -> Place {
    if let Some(index) = read.schema.key_columns().position(|column| column.name == *name) {
        return Place::Key(index);
    }
    if let Some(index) = read.columns.iter().position(|column| column == name) {
        return Place::Column(index);
    }
    read.columns.push(name.clone());
    Place::Column(read.columns.len() - 1)
}
