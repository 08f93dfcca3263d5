//! Which fetched rows are those that were asked for.
//!
//! Owns the comparison of keys by their bytes, which keys find a row again, and whether a relation
//! still has the key that it was described with. Refuses collations: to a server `a` and `A ` may be
//! one key, to driftd they are two. Invariant: a row is kept exactly when its key was asked for.

use std::collections::BTreeSet;

use crate::model::{Batch, Buffer, Column, Logical, Number, RelationSchema};
use crate::store::{Page, StoreErrorKind};

/// Whether the relation's key columns are `now` those of `schema`. With another key, ranges and
/// fetches would pass over rows that are there.
///
/// # Errors
/// If they are not.
pub(crate) fn assert_key<'a>(
    schema: &'a RelationSchema,
    now: impl Iterator<Item = (&'a str, Logical)>,
) -> Result<(), StoreErrorKind> {
    if schema.key_columns().map(|column| (column.name.as_str(), column.logical)).eq(now) {
        return Ok(());
    }
    let words = "its primary key has changed since driftd started: restart driftd";
    Err(StoreErrorKind::Unfit(words.to_owned()))
}

/// Whether rows can be found again by the relation's primary key. A float is compared by what it is
/// near to, and what a driver shows of it is not always what is stored.
///
/// # Errors
/// If they cannot; names the column.
pub(crate) fn assert_found_again(schema: &RelationSchema) -> Result<(), StoreErrorKind> {
    match schema
        .key_columns()
        .find(|column| matches!(column.logical, Logical::Float | Logical::Float32))
    {
        None => Ok(()),
        Some(column) => Err(StoreErrorKind::Unfit(format!(
            "column `{}` of its primary key is a float, by which rows are not found again: make it a \
             DECIMAL, or compare a table with another key",
            column.name
        ))),
    }
}

/// What is said of a column that is of another type than when its relation was described: its values
/// would be taken for what they are not.
pub(crate) fn retyped(column: &str, was: Logical, is: Logical) -> StoreErrorKind {
    StoreErrorKind::Unfit(format!(
        "column `{column}` was of type {was} when driftd started, and is of type {is} now: restart \
         driftd, which then maps it as it is"
    ))
}

/// The keys that were asked for.
pub(crate) struct Asked {
    logical: Vec<Logical>,
    keys: Keys,
}

/// The identities of keys.
#[derive(Debug)]
enum Keys {
    /// Of keys that are one integer, which most are; in order.
    Integers(Vec<i128>),
    Others(BTreeSet<Vec<u8>>),
}

impl Asked {
    /// The keys at `positions` of `keys`.
    pub(crate) fn new(keys: &Batch, positions: &[usize], schema: &RelationSchema) -> Self {
        let logical: Vec<_> = schema.key_columns().map(|column| column.logical).collect();
        let integers = match (logical.as_slice(), keys.columns.as_slice()) {
            ([Logical::Integer], [column]) => {
                positions.iter().map(|row| column.whole(*row)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let others = || positions.iter().map(|row| identity(keys, &logical, *row)).collect();
        let keys = match integers {
            Some(mut integers) => {
                integers.sort_unstable();
                Keys::Integers(integers)
            }
            None => Keys::Others(others()),
        };
        Self { logical, keys }
    }

    /// The page without rows whose key was not asked for; none if none is left. Servers take more values
    /// for equal than we do, integers too: MariaDB finds the `YEAR` 2005 by 5.
    pub(crate) fn keep(&self, page: Page) -> Option<Page> {
        let wanted = |row: &usize| match &self.keys {
            Keys::Integers(asked) => page.keys.columns[0]
                .whole(*row)
                .is_some_and(|key| asked.binary_search(&key).is_ok()),
            Keys::Others(asked) => asked.contains(&identity(&page.keys, &self.logical, *row)),
        };
        let kept: Vec<_> = (0..page.keys.rows).filter(wanted).collect();
        if kept.len() == page.keys.rows {
            return Some(page);
        }
        (!kept.is_empty()).then(|| page.take(&kept))
    }
}

/// What makes two keys the same key.
pub(crate) fn identity(keys: &Batch, logical: &[Logical], row: usize) -> Vec<u8> {
    let mut identity = Vec::new();
    for (column, logical) in keys.columns.iter().zip(logical) {
        append(&mut identity, column, *logical, row);
    }
    identity
}

/// What makes two cells of a key the same: numbers by value, everything else by its bytes. The
/// server compares by collation, which calls more things equal.
pub(crate) fn append(out: &mut Vec<u8>, column: &Column, logical: Logical, row: usize) {
    let whole = logical == Logical::Integer;
    if let Some(integer) = if whole { column.whole(row) } else { column.integer(row) } {
        out.extend_from_slice(&integer.to_be_bytes());
    } else if let Buffer::Float64(values) = &column.values {
        // The server calls both zeros equal.
        out.extend_from_slice(&(values[row] + 0.0).to_bits().to_be_bytes());
    } else if let Some(bytes) = column.bytes(row) {
        let number = (logical == Logical::Decimal)
            .then(|| std::str::from_utf8(bytes).ok().and_then(|text| Number::parse(text).ok()))
            .flatten();
        let number = number.map(|number| number.to_string());
        let bytes = number.as_ref().map_or(bytes, String::as_bytes);
        out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        out.extend_from_slice(bytes);
    }
}
