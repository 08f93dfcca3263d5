//! Primary keys of items.
//!
//! Owns the way from a batch of keys to the keys of a request, and the identity by which a key of an
//! answer is recognised. Refuses requests. Invariant: two keys have one identity exactly when
//! DynamoDB takes them for one key; a key that no item can have is never sent, because one such key
//! would cost all others of its request.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Item;
use super::cells::encode;
use crate::model::{Batch, ColumnDef, Logical, Number, NumberError, RelationSchema, cbor};
use crate::store::begins::whole_characters;

/// The most bytes of a partition key and of a sort key.
const KEY_BYTES_MAX: [usize; 2] = [2048, 1024];
/// Decimal magnitudes of the smallest and the largest number that DynamoDB holds.
const MAGNITUDES: std::ops::RangeInclusive<i64> = -130..=125;

/// A key that is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) key: Item,
    /// Where it was asked for; more than once, if it was repeated.
    pub(super) positions: Vec<usize>,
}

/// Keys, by identity.
pub(super) type Wishes = BTreeMap<Vec<u8>, Wanted>;

/// The keys of a batch, each once, and those that cannot be asked for with the reason.
pub(super) fn wishes(schema: &RelationSchema, keys: &Batch) -> (Wishes, Vec<(usize, String)>) {
    let mut wishes = Wishes::new();
    let mut unfit = Vec::new();
    for row in 0..keys.rows {
        match key(schema, keys, row) {
            Ok(Some(key)) => match identity(schema, &key) {
                Some(identity) => wishes
                    .entry(identity)
                    .or_insert_with(|| Wanted { key, positions: Vec::new() })
                    .positions
                    .push(row),
                None => unfit.push((row, "a key that cannot be encoded".to_owned())),
            },
            Ok(None) => {}
            Err(reason) => unfit.push((row, reason)),
        }
    }
    (wishes, unfit)
}

/// The deterministic CBOR of the key attributes of `item`; none if one is not there.
pub(super) fn identity(schema: &RelationSchema, item: &Item) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    cbor::array(&mut bytes, schema.key.len());
    for column in schema.key_columns() {
        encode(item.get(&column.name)?, &mut bytes, &mut Vec::new()).ok()?;
    }
    Some(bytes)
}

fn key(schema: &RelationSchema, keys: &Batch, row: usize) -> Result<Option<Item>, String> {
    let mut item = Item::new();
    for (index, column) in schema.key_columns().enumerate() {
        let Some(value) = part(column, index, keys, row)? else { return Ok(None) };
        item.insert(column.name.clone(), value);
    }
    Ok(Some(item))
}

/// What the question at `row` asks for: the value of the partition key, and how the sort key begins.
/// None: no item can have it.
///
/// # Errors
/// If it asks for something else than the key attributes are.
pub(super) fn question(
    schema: &RelationSchema,
    values: &Batch,
    row: usize,
) -> Result<Option<(AttributeValue, Option<AttributeValue>)>, String> {
    let mut key = schema.key_columns();
    let Some(partition) = key.next() else { return Ok(None) };
    let Some(value) = part(partition, 0, values, row)? else { return Ok(None) };
    let Some((sort, cells)) = key.next().zip(values.columns.get(1)) else {
        return Ok(Some((value, None)));
    };
    let Some(start) = cells.bytes(row) else { return Ok(None) };
    let start = if sort.logical == Logical::Binary {
        AttributeValue::B(Blob::new(start))
    } else {
        // It may end within a character, which is found by those before.
        let Some(text) = whole_characters(start) else { return Ok(None) };
        AttributeValue::S(text.to_owned())
    };
    let length =
        start.as_s().map_or_else(|_| start.as_b().map_or(0, |b| b.as_ref().len()), String::len);
    if length > KEY_BYTES_MAX[1] {
        return Ok(None);
    }
    // Everything begins with nothing, which DynamoDB would refuse.
    Ok(Some((value, (length > 0).then_some(start))))
}

/// The value of key attribute `index` in a row; none: no item can have it.
fn part(
    column: &ColumnDef,
    index: usize,
    keys: &Batch,
    row: usize,
) -> Result<Option<AttributeValue>, String> {
    let wrong = |what: &str| {
        Err(format!(
            "key attribute `{}` is {}, and {what} was asked for",
            column.name, column.logical
        ))
    };
    let Some(cells) = keys.columns.get(index) else { return wrong("nothing") };
    let part = match (column.logical, cells.bytes(row), cells.integer(row)) {
        (Logical::Text, Some(bytes), _) => match std::str::from_utf8(bytes) {
            Ok(text) => sized(index, bytes, || AttributeValue::S(text.to_owned())),
            Err(_utf8) => return wrong("something that is not UTF-8"),
        },
        (Logical::Binary, Some(bytes), _) => {
            sized(index, bytes, || AttributeValue::B(Blob::new(bytes)))
        }
        (Logical::Decimal, Some(bytes), _) => match std::str::from_utf8(bytes).map(Number::parse) {
            Ok(Ok(number)) => numeric(number),
            Ok(Err(NumberError::TooManyDigits | NumberError::Exponent)) => None,
            Ok(Err(NumberError::Syntax)) | Err(_) => return wrong("something else"),
        },
        (Logical::Decimal, None, Some(whole)) => Number::new(whole, 0).ok().and_then(numeric),
        (_, None, Some(_)) => return wrong("an integer"),
        (_, None, None) if !cells.is_valid(row) => None,
        _ => return wrong("something else"),
    };
    Ok(part)
}

fn sized(
    index: usize,
    bytes: &[u8],
    value: impl FnOnce() -> AttributeValue,
) -> Option<AttributeValue> {
    let most = KEY_BYTES_MAX[index.min(1)];
    (!bytes.is_empty() && bytes.len() <= most).then(value)
}

fn numeric(number: Number) -> Option<AttributeValue> {
    let (mantissa, exponent) = number.parts();
    let digits = mantissa.unsigned_abs().checked_ilog10().unwrap_or(0);
    MAGNITUDES
        .contains(&(i64::from(digits) + i64::from(exponent)))
        .then(|| AttributeValue::N(number.to_string()))
}
