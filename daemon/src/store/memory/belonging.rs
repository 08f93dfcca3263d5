//! Rows by other columns than their key.
//!
//! Owns scans in the order of a column that cuts, and the search for rows that belong together.
//! Refuses what the store that a layout stands for could not do: segments are searched as DynamoDB
//! searches them. Invariant: rows come in one order, whatever was asked and however it is paged.

use std::collections::BTreeMap;

use super::cells::{self, KeyPart, PageBuilder};
use super::{Layout, Place, Relation, Row, Scan};
use crate::model::{Batch, Extent, Logical, Range, RelationSchema, Value};
use crate::store::near::nearest;
use crate::store::{Page, Query, Read, StoreErrorKind as Kind, named};

/// Where a row lies in the order of a column that cuts: those without a value there come first.
pub(super) type Spot = (Option<i128>, Place);

impl Relation {
    /// The next page of a scan in the order of column `cut`.
    pub(super) fn page_by(
        &self,
        read: &Read,
        cut: &str,
        extent: &Extent,
        scan: &mut Scan,
    ) -> Result<Page, Kind> {
        self.assert_cut(cut)?;
        let Extent::Range(range) = extent else {
            return Err(Kind::Unfit("is scanned by ranges, not by segments".to_owned()));
        };
        let limit = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        let rows = self.in_order_of(cut, range);
        if scan.end.is_none() {
            scan.end = rows.keys().next_back().cloned();
        }
        let (after, end) = (scan.after.clone(), scan.end.clone());
        let left = |spot: &Spot| after.as_ref() < Some(spot) && Some(spot) <= end.as_ref();
        let mut rows = rows.into_iter().filter(|(spot, _)| left(spot));
        let mut page = PageBuilder::new(read)?;
        for (spot, row) in rows.by_ref().take(limit) {
            page.push(row);
            scan.after = Some(spot);
        }
        scan.over = rows.next().is_none();
        Ok(page.finish())
    }

    /// Where ranges of column `cut` begin that hold about `each` rows.
    pub(super) fn cuts_by(&self, cut: &str, each: usize) -> Result<Vec<i128>, Kind> {
        self.assert_cut(cut)?;
        let rows = self.in_order_of(cut, &Range { from: None, until: None });
        let mut cuts: Vec<_> =
            rows.into_keys().filter_map(|(value, _)| value).step_by(each).skip(1).collect();
        cuts.dedup();
        Ok(cuts)
    }

    fn in_order_of(&self, cut: &str, range: &Range) -> BTreeMap<Spot, &Row> {
        let spot = |place: &Place, row: &Row| (integer(row, cut), place.clone());
        let lies = |(value, _): &Spot| match value {
            Some(value) => range.contains(*value),
            None => range.from.is_none(),
        };
        let rows = self.rows.iter().map(|(place, row)| (spot(place, row), row));
        rows.filter(|(spot, _)| lies(spot)).collect()
    }

    fn assert_cut(&self, cut: &str) -> Result<(), Kind> {
        if self.layout == Layout::Segments {
            return Err(Kind::Unfit("is cut into segments, not by a column".to_owned()));
        }
        let logical = column(&self.schema, cut)?;
        if logical == Logical::Integer {
            return Ok(());
        }
        Err(Kind::Unfit(format!(
            "column `{cut}` is of type {logical}, not an integer, so the relation cannot be cut by it"
        )))
    }

    /// Whether rows are found by `columns`.
    pub(super) fn found_by(&self, columns: &[String]) -> Result<(), Kind> {
        if columns.is_empty() {
            return Err(Kind::Unfit("nothing says by which columns rows are found".to_owned()));
        }
        if self.layout == Layout::Ranges {
            return columns.iter().try_for_each(|name| column(&self.schema, name).map(|_| ()));
        }
        let key: Vec<_> = self.schema.key_columns().map(|column| column.name.clone()).collect();
        if key.starts_with(columns) {
            return Ok(());
        }
        Err(Kind::Unfit(format!(
            "rows are found only by the partition key {}, alone or followed by the sort key, not by {}",
            named(&key[..1]),
            named(columns)
        )))
    }

    /// The rows that answer questions, in the order of scans.
    pub(super) fn asked(
        &self,
        read: &Read,
        query: &Query,
        values: &Batch,
    ) -> Result<Vec<Page>, Kind> {
        self.found_by(&query.columns)?;
        if query.prefix && self.layout == Layout::Segments && query.columns.len() == 1 {
            return Err(Kind::Unfit("the partition key is found only as a whole".to_owned()));
        }
        let questions: Vec<_> =
            (0..values.rows).filter_map(|row| question(&read.schema, query, values, row)).collect();
        let answers = |row: &&Row| questions.iter().any(|asked| matches(row, query, asked));
        let limit = usize::try_from(read.page_rows.get()).unwrap_or(usize::MAX);
        let rows: Vec<_> = self.rows.values().filter(answers).collect();
        let page = |rows: &[&Row]| {
            let mut page = PageBuilder::new(read)?;
            rows.iter().for_each(|row| page.push(row));
            Ok(page.finish())
        };
        rows.chunks(limit).map(page).collect()
    }
}

/// The type of a column.
fn column(schema: &RelationSchema, name: &str) -> Result<Logical, Kind> {
    let found = schema.column(name).ok_or_else(|| Kind::NoSuchColumn {
        column: name.to_owned(),
        near: nearest(name, schema.columns.iter().map(|known| known.name.as_str())),
    })?;
    Ok(found.logical)
}

fn integer(row: &Row, name: &str) -> Option<i128> {
    if let Some(Value::Number(number)) = row.get(name) { number.to_integer() } else { None }
}

/// The values that one question asks for; none: no row answers it.
fn question(
    schema: &RelationSchema,
    query: &Query,
    values: &Batch,
    row: usize,
) -> Option<Vec<Value>> {
    let columns = query.columns.iter().zip(&values.columns);
    let value = |(index, (name, cells)): (usize, (&String, &crate::model::Column))| {
        if query.prefix && index + 1 == query.columns.len() {
            // It may end within a character.
            return cells.bytes(row).map(|bytes| Value::Bytes(bytes.to_vec()));
        }
        cells::cell(cells, schema.column(name)?.logical, row)
    };
    columns.enumerate().map(value).collect()
}

fn matches(row: &Row, query: &Query, asked: &[Value]) -> bool {
    let last = asked.len() - 1;
    query.columns.iter().zip(asked).enumerate().all(|(index, (name, asked))| {
        let Some(found) = cells::find(row, name).filter(|found| **found != Value::Null) else {
            return false;
        };
        if !query.prefix || index < last {
            return KeyPart::of(found) == KeyPart::of(asked);
        }
        let Value::Bytes(start) = asked else { return false };
        if let Value::Text(text) = found {
            text.as_bytes().starts_with(start)
        } else if let Value::Bytes(bytes) = found {
            bytes.starts_with(start)
        } else {
            false
        }
    })
}
