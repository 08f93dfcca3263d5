//! Items as columns.
//!
//! Owns the encoding of attributes as deterministic CBOR and as typed key columns, and the cutting
//! of items into pages. Refuses requests. Invariant: a value that cannot be encoded exactly is an
//! error, never a cell; an attribute is in a page, ignored, or named as unmapped.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::Item;
use super::selection::{Node, Selection};
use crate::model::{Batch, ColumnBuilder, Cost, Logical, Number, cbor};
use crate::store::Page;

/// The most bytes of a page's items, but for a single item that is larger.
const PAGE_BYTES_MAX: u64 = 4 << 20;
/// The most unmapped attributes that a page names.
const UNMAPPED_MAX: usize = 100;

/// What is wrong with a value. Never the value.
pub(super) type Flaw = &'static str;

const NOT_A_NUMBER: Flaw = "a number that is none, or has more than 38 digits";
const UNKNOWN_TYPE: Flaw = "a value of a type that this version of driftd does not know";

/// Members of maps that are on their way into the output, in canonical order.
type Members<'a> = Vec<(&'a str, &'a AttributeValue)>;

/// Cuts `items` into pages.
///
/// # Errors
/// If an item cannot be represented; says which attribute and what is wrong with it.
pub(super) fn pages(
    selection: &Selection,
    items: &[Item],
    page_rows: usize,
) -> Result<Vec<Page>, String> {
    let mut pages = Vec::new();
    let mut builder = PageBuilder::new(selection, items.len().min(page_rows));
    for item in items {
        let bytes = item.iter().map(|(name, value)| to_u64(name.len()) + size(value)).sum();
        if builder.rows > 0 && (builder.rows >= page_rows || builder.bytes + bytes > PAGE_BYTES_MAX)
        {
            let next = PageBuilder::new(selection, page_rows);
            pages.push(std::mem::replace(&mut builder, next).finish());
        }
        builder.push(item, bytes)?;
    }
    if builder.rows > 0 {
        pages.push(builder.finish());
    }
    Ok(pages)
}

struct PageBuilder<'a> {
    selection: &'a Selection,
    columns: Vec<ColumnBuilder>,
    keys: Vec<ColumnBuilder>,
    rows: usize,
    bytes: u64,
    /// The value of each column in the item at hand, then that of each key attribute.
    slots: Vec<Option<&'a AttributeValue>>,
    members: Members<'a>,
    /// By the number of the node that they were found under: the rows that hold them.
    unmapped: BTreeMap<(usize, &'a str), Vec<usize>>,
}

impl<'a> PageBuilder<'a> {
    fn new(selection: &'a Selection, rows: usize) -> Self {
        let (columns, keys) = (selection.columns.len(), selection.keys.len());
        Self {
            selection,
            columns: (0..columns).map(|_| ColumnBuilder::bytes(rows)).collect(),
            keys: (0..keys).map(|_| ColumnBuilder::bytes(rows)).collect(),
            rows: 0,
            bytes: 0,
            slots: vec![None; columns + keys],
            members: Vec::new(),
            unmapped: BTreeMap::new(),
        }
    }

    fn push(&mut self, item: &'a Item, bytes: u64) -> Result<(), String> {
        self.slots.fill(None);
        for (name, value) in item {
            match self.selection.root.children.get(name.as_str()) {
                Some(node) => self.visit(node, value),
                None => self.note(self.selection.root.number, name),
            }
        }
        let split = self.columns.len();
        for (slot, (column, (name, logical))) in
            self.slots.iter().zip(self.columns.iter_mut().zip(&self.selection.columns))
        {
            let Some(value) = slot else {
                column.push_null();
                continue;
            };
            write(column, *logical, value, &mut self.members)
                .map_err(|flaw| format!("attribute `{name}` of an item holds {flaw}"))?;
        }
        for (slot, (column, (name, logical))) in
            self.slots[split..].iter().zip(self.keys.iter_mut().zip(&self.selection.keys))
        {
            let value = slot.ok_or_else(|| format!("an item has no key attribute `{name}`"))?;
            write(column, *logical, value, &mut self.members)
                .map_err(|flaw| format!("key attribute `{name}` of an item holds {flaw}"))?;
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// Notes where `value` is wanted, it and what lies in it.
    fn visit(&mut self, node: &'a Node, value: &'a AttributeValue) {
        for &slot in &node.slots {
            self.slots[slot] = Some(value);
        }
        if node.children.is_empty() {
            return;
        }
        if let AttributeValue::M(members) = value {
            for (name, value) in members {
                match node.children.get(name.as_str()) {
                    Some(child) => self.visit(child, value),
                    None if node.quiet => {}
                    // Members of a map may be named by data.
                    None => self.note(node.number, "*"),
                }
            }
        } else if let AttributeValue::L(elements) = value {
            let mut reached = 0;
            for (name, child) in &node.children {
                if let Some(value) = position(name).and_then(|at| elements.get(at)) {
                    reached += 1;
                    self.visit(child, value);
                }
            }
            // What no pointer reaches has one name in common, that of the element after the last.
            if reached < elements.len() && !node.quiet && !node.children.contains_key("-") {
                self.note(node.number, "-");
            }
        } else if !node.quiet && !value.is_null() {
            // Something else than the pointers into it expect.
            self.note(node.number, "");
        }
    }

    /// Keeps the first names in order, so that the same items always name the same ones.
    fn note(&mut self, node: usize, name: &'a str) {
        let rows = self.unmapped.entry((node, name)).or_default();
        if rows.last() != Some(&self.rows) {
            rows.push(self.rows);
        }
        if self.unmapped.len() > UNMAPPED_MAX {
            self.unmapped.pop_last();
        }
    }

    fn finish(self) -> Page {
        let rows = self.rows;
        let batch = |columns: Vec<ColumnBuilder>| Batch {
            rows,
            columns: columns.into_iter().map(ColumnBuilder::finish).collect(),
        };
        Page {
            keys: batch(self.keys),
            rows: batch(self.columns),
            unmapped: self
                .unmapped
                .into_iter()
                .map(|((node, name), rows)| (self.selection.unmapped(node, name), rows))
                .collect(),
            cost: Cost { rows: to_u64(rows), bytes: self.bytes, ..Cost::default() },
        }
    }
}

/// An index into a list, as a pointer writes it.
fn position(step: &str) -> Option<usize> {
    let plain = step == "0" || !step.starts_with(['0', '+']);
    if plain { step.parse().ok() } else { None }
}

fn write<'a>(
    column: &mut ColumnBuilder,
    logical: Logical,
    value: &'a AttributeValue,
    members: &mut Members<'a>,
) -> Result<(), Flaw> {
    if logical == Logical::Value {
        let mut done = Ok(());
        column.write_bytes(|out| done = encode(value, out, members));
        return done;
    }
    match (logical, value) {
        (Logical::Text, AttributeValue::S(text)) => column.push_bytes(text.as_bytes()),
        (Logical::Binary, AttributeValue::B(blob)) => column.push_bytes(blob.as_ref()),
        (Logical::Decimal, AttributeValue::N(digits)) => {
            if small(digits).is_none() {
                Number::parse(digits).map_err(|_wrong| NOT_A_NUMBER)?;
            }
            column.push_bytes(digits.as_bytes());
        }
        _ => return Err("a value of another type than the table declares"),
    }
    Ok(())
}

/// Appends the deterministic CBOR of `value`.
#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's type may grow")]
pub(super) fn encode<'a>(
    value: &'a AttributeValue,
    out: &mut Vec<u8>,
    members: &mut Members<'a>,
) -> Result<(), Flaw> {
    match value {
        AttributeValue::S(text) => cbor::text(out, text),
        AttributeValue::N(digits) => number(digits, out)?,
        AttributeValue::B(blob) => cbor::bytes(out, blob.as_ref()),
        AttributeValue::Bool(value) => cbor::bool(out, *value),
        AttributeValue::Null(_) => cbor::null(out),
        AttributeValue::M(pairs) => {
            let base = members.len();
            members.extend(pairs.iter().map(|(name, value)| (name.as_str(), value)));
            // Bytewise order of the encoded keys: a shorter key has a smaller head.
            members[base..]
                .sort_unstable_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
            cbor::map(out, pairs.len());
            for at in base..base + pairs.len() {
                let (name, value) = members[at];
                cbor::text(out, name);
                encode(value, out, members)?;
            }
            members.truncate(base);
        }
        AttributeValue::L(elements) => {
            cbor::array(out, elements.len());
            for element in elements {
                encode(element, out, members)?;
            }
        }
        AttributeValue::Ss(texts) => {
            set(out, texts, |text, member| {
                cbor::text(member, text);
                Ok(())
            })?;
        }
        AttributeValue::Ns(numbers) => set(out, numbers, |digits, member| number(digits, member))?,
        AttributeValue::Bs(blobs) => {
            set(out, blobs, |blob, member| {
                cbor::bytes(member, blob.as_ref());
                Ok(())
            })?;
        }
        _ => return Err(UNKNOWN_TYPE),
    }
    Ok(())
}

fn set<T>(
    out: &mut Vec<u8>,
    members: &[T],
    encode: impl Fn(&T, &mut Vec<u8>) -> Result<(), Flaw>,
) -> Result<(), Flaw> {
    let mut encoded = Vec::with_capacity(members.len());
    for member in members {
        let mut bytes = Vec::new();
        encode(member, &mut bytes)?;
        encoded.push(bytes);
    }
    cbor::set(out, encoded);
    Ok(())
}

fn number(digits: &str, out: &mut Vec<u8>) -> Result<(), Flaw> {
    if let Some(whole) = small(digits) {
        cbor::integer(out, i128::from(whole));
    } else {
        cbor::number(out, Number::parse(digits).map_err(|_wrong| NOT_A_NUMBER)?);
    }
    Ok(())
}

/// The usual case: a whole number of few digits.
fn small(digits: &str) -> Option<i64> {
    let plain = digits.len() <= 18 && !digits.starts_with('+');
    if plain { digits.parse().ok() } else { None }
}

/// About how large DynamoDB says a value is.
#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK's type may grow")]
fn size(value: &AttributeValue) -> u64 {
    let number = |digits: &String| to_u64(digits.len().div_ceil(2) + 1);
    match value {
        AttributeValue::S(text) => to_u64(text.len()),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::B(blob) => to_u64(blob.as_ref().len()),
        AttributeValue::M(pairs) => {
            pairs.iter().map(|(name, value)| to_u64(name.len()) + size(value) + 1).sum::<u64>() + 3
        }
        AttributeValue::L(elements) => {
            elements.iter().map(|value| size(value) + 1).sum::<u64>() + 3
        }
        AttributeValue::Ss(texts) => texts.iter().map(|text| to_u64(text.len())).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(number).sum(),
        AttributeValue::Bs(blobs) => blobs.iter().map(|blob| to_u64(blob.as_ref().len())).sum(),
        _ => 1,
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use aws_sdk_dynamodb::primitives::Blob;
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ColumnDef, RelationSchema, Value};
    use crate::store::Read;

    /// An attribute, and the value that it stands for.
    fn attribute() -> impl Strategy<Value = (AttributeValue, Value)> {
        let decimal = (any::<i64>(), -140i32..100).prop_map(|(mantissa, exponent)| {
            let number = Number::new(i128::from(mantissa), exponent).unwrap();
            (AttributeValue::N(format!("{mantissa}E{exponent}")), Value::Number(number))
        });
        let whole = any::<i128>().prop_filter_map("at most 38 digits", |whole| {
            let number = Value::Number(Number::new(whole, 0).ok()?);
            Some((AttributeValue::N(whole.to_string()), number))
        });
        let small = any::<i32>().prop_map(|whole| {
            let number = Value::Number(Number::from(i64::from(whole)));
            (AttributeValue::N(whole.to_string()), number)
        });
        let text = ".{0,8}".prop_map(|text| (AttributeValue::S(text.clone()), Value::Text(text)));
        let bytes = any::<Vec<u8>>()
            .prop_map(|bytes| (AttributeValue::B(Blob::new(bytes.clone())), Value::Bytes(bytes)));
        let texts = prop::collection::btree_set(".{0,4}", 1..5).prop_map(|texts| {
            let members = texts.iter().cloned().map(Value::Text).collect();
            (AttributeValue::Ss(texts.into_iter().rev().collect()), Value::Set(members))
        });
        let numbers = prop::collection::btree_set(any::<i64>(), 1..5).prop_map(|numbers| {
            let members = numbers.iter().map(|n| Value::Number(Number::from(*n))).collect();
            let texts = numbers.iter().rev().map(|n| format!("{n}.0")).collect();
            (AttributeValue::Ns(texts), Value::Set(members))
        });
        let blobs = prop::collection::btree_set(any::<Vec<u8>>(), 1..5).prop_map(|blobs| {
            let members = blobs.iter().cloned().map(Value::Bytes).collect();
            (AttributeValue::Bs(blobs.into_iter().rev().map(Blob::new).collect()), {
                Value::Set(members)
            })
        });
        let plain = prop_oneof![
            any::<bool>().prop_map(|value| (AttributeValue::Bool(value), Value::Bool(value))),
            Just((AttributeValue::Null(true), Value::Null)),
        ];
        let leaf = prop_oneof![decimal, whole, small, text, bytes, texts, numbers, blobs, plain];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let list = prop::collection::vec(inner.clone(), 0..6).prop_map(|pairs| {
                let (attributes, values) = pairs.into_iter().unzip();
                (AttributeValue::L(attributes), Value::List(values))
            });
            let map = prop::collection::btree_map(".{0,4}", inner, 0..6).prop_map(|pairs| {
                let both = pairs
                    .into_iter()
                    .map(|(name, (attribute, value))| ((name.clone(), attribute), (name, value)));
                let (attributes, values) = both.unzip();
                (AttributeValue::M(attributes), Value::Map(values))
            });
            prop_oneof![list, map]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_attribute_is_encoded_as_the_value_that_it_stands_for((attribute, value) in attribute()) {
            let (mut out, mut members) = (Vec::new(), Vec::new());
            encode(&attribute, &mut out, &mut members).unwrap();
            prop_assert!(members.is_empty());
            prop_assert_eq!(out, value.to_cbor());
        }

        #[test]
        fn every_item_is_in_one_page_and_no_page_is_too_long(
            sizes in prop::collection::vec(0usize..2_000_000, 0..12),
            page_rows in 1usize..5,
        ) {
            let key = ColumnDef { name: "pk".to_owned(), logical: Logical::Text, nullable: false };
            let schema = RelationSchema {
                relation: "items".to_owned(),
                columns: vec![key],
                key: vec![0],
                open: true, partial: false,
            };
            let page_rows_max = NonZeroU32::MIN;
            let columns = vec!["v".to_owned()];
            let ignored = Vec::new();
            let read = Read { schema, columns, ignored, page_rows: page_rows_max, cut: None };
            let selection = Selection::new(&read).unwrap();
            let items: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(n, size)| Item::from([
                    ("pk".to_owned(), AttributeValue::S(n.to_string())),
                    ("v".to_owned(), AttributeValue::S("x".repeat(*size))),
                ]))
                .collect();
            let pages = pages(&selection, &items, page_rows).unwrap();
            for page in &pages {
                prop_assert!((1..=page_rows).contains(&page.rows.rows));
                prop_assert!(page.cost.bytes <= PAGE_BYTES_MAX || page.rows.rows == 1);
            }
            let keys: Vec<_> = pages
                .iter()
                .flat_map(|page| (0..page.keys.rows).map(|row| page.keys.columns[0].bytes(row)))
                .map(|key| String::from_utf8(key.unwrap().to_vec()).unwrap())
                .collect();
            prop_assert_eq!(keys, (0..sizes.len()).map(|n| n.to_string()).collect::<Vec<_>>());
        }
    }
}
