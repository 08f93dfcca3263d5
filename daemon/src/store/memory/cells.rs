//! Canonical values as cells of columns, and back.
//!
//! Owns the layout of a memory store's pages and the order of its keys. Refuses values that a
//! column's logical type cannot hold: they are refused when they are written. Invariant: two keys
//! are equal exactly when their canonical values are.

use crate::model::{Batch, Buffer, Column, ColumnBuilder, Logical, Number, RelationSchema, Value};
use crate::store::near::nearest;
use crate::store::{Page, Read, StoreErrorKind, Unmapped};

use super::Row;

/// The most names that a page tells as unmapped.
const UNMAPPED_MAX: usize = 64;

/// One part of a key, in the store's order: integers by value, others by their encoding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPart {
    /// An integer.
    Integer(i128),
    /// The deterministic CBOR of any other value.
    Other(Vec<u8>),
}

impl KeyPart {
    /// The part that `value` is.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let integer = if let Value::Number(number) = value { number.to_integer() } else { None };
        integer.map_or_else(|| Self::Other(value.to_cbor()), Self::Integer)
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Other(bytes) => out.extend_from_slice(bytes),
        }
        out.push(0xff);
    }
}

/// Builds a page row by row.
pub(super) struct PageBuilder<'a> {
    read: &'a Read,
    keys: Vec<ColumnBuilder>,
    columns: Vec<(Logical, ColumnBuilder)>,
    unmapped: Unmapped,
    rows: usize,
}

impl<'a> PageBuilder<'a> {
    pub(super) fn new(read: &'a Read) -> Result<Self, StoreErrorKind> {
        let columns = read.columns.iter().map(|name| {
            let found = read.schema.column(name).ok_or_else(|| StoreErrorKind::NoSuchColumn {
                column: name.clone(),
                near: nearest(name, read.schema.columns.iter().map(|known| known.name.as_str())),
            })?;
            Ok((found.logical, found.logical.column(0)))
        });
        Ok(Self {
            read,
            keys: read.schema.key_columns().map(|column| column.logical.column(0)).collect(),
            columns: columns.collect::<Result<_, _>>()?,
            unmapped: Unmapped::new(),
            rows: 0,
        })
    }

    pub(super) fn push(&mut self, row: &Row) {
        for (column, builder) in self.read.schema.key_columns().zip(&mut self.keys) {
            push(builder, column.logical, row.get(&column.name));
        }
        for (name, (logical, builder)) in self.read.columns.iter().zip(&mut self.columns) {
            push(builder, *logical, find(row, name));
        }
        if self.read.schema.open {
            self.note_unmapped(row);
        }
        self.rows += 1;
    }

    fn note_unmapped(&mut self, row: &Row) {
        for name in row.keys() {
            let asked = |column: &String| column == name || head_of(column) == Some(name.as_str());
            let known = self.read.columns.iter().any(asked)
                || self.read.ignored.iter().any(asked)
                || self.read.schema.columns.iter().any(|column| column.name == *name);
            if !known && (self.unmapped.len() < UNMAPPED_MAX || self.unmapped.contains_key(name)) {
                self.unmapped.entry(name.clone()).or_default().push(self.rows);
            }
        }
    }

    pub(super) fn finish(self) -> Page {
        let keys = self.keys.into_iter().map(ColumnBuilder::finish).collect();
        let columns = self.columns.into_iter().map(|(_, builder)| builder.finish()).collect();
        let mut page = Page {
            keys: Batch { rows: self.rows, columns: keys },
            rows: Batch { rows: self.rows, columns },
            unmapped: self.unmapped,
            ..Page::default()
        };
        page.cost = super::cost(&page);
        page
    }
}

/// The key at `position` of a batch of key columns; none if a part of it is null.
pub(super) fn key_of(
    schema: &RelationSchema,
    keys: &Batch,
    position: usize,
) -> Option<Vec<KeyPart>> {
    schema
        .key_columns()
        .zip(&keys.columns)
        .map(|(column, cells)| cell(cells, column.logical, position).map(|cell| KeyPart::of(&cell)))
        .collect()
}

/// The key of a row; none if a part of it is not there.
pub(super) fn key_of_row(schema: &RelationSchema, row: &Row) -> Option<Vec<KeyPart>> {
    schema.key_columns().map(|column| row.get(&column.name).map(KeyPart::of)).collect()
}

/// # Panics
/// If the row holds what its relation cannot.
pub(super) fn assert_fits(schema: &RelationSchema, row: &Row) {
    for (name, value) in row {
        let column = schema.column(name);
        let column = column.unwrap_or_else(|| panic!("no column `{name}` in {}", schema.relation));
        let nullable = column.nullable && *value == Value::Null;
        let fits = nullable || fits(column.logical, value);
        assert!(fits, "column `{name}` is {}, which cannot hold {value:?}", column.logical);
    }
}

/// How many bytes the cells of a column take.
pub(super) fn bytes_of(column: &Column) -> u64 {
    match &column.values {
        Buffer::Bytes(values) => values.data.len() as u64,
        Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => column.values.len() as u64 * 8,
    }
}

/// What `name` names in a row: a column, or with a JSON pointer what lies within one.
pub(super) fn find<'a>(row: &'a Row, name: &str) -> Option<&'a Value> {
    if let Some(value) = row.get(name) {
        return Some(value);
    }
    let mut parts = name.strip_prefix('/')?.split('/').map(unescape);
    let mut value = row.get(&parts.next()?)?;
    for part in parts {
        value = if let Value::Map(pairs) = value {
            pairs.get(&part)?
        } else if let Value::List(items) = value {
            items.get(part.parse::<usize>().ok()?)?
        } else {
            return None;
        };
    }
    Some(value)
}

fn unescape(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}

/// The first part of a JSON pointer.
fn head_of(pointer: &str) -> Option<&str> {
    pointer.strip_prefix('/')?.split('/').next()
}

fn fits(logical: Logical, value: &Value) -> bool {
    match (logical, value) {
        (Logical::Value, _)
        | (Logical::Boolean, Value::Bool(_))
        | (Logical::Decimal, Value::Number(_))
        | (Logical::Float | Logical::Float32, Value::Float(_))
        | (Logical::Text | Logical::Enum | Logical::Set | Logical::Json, Value::Text(_))
        | (Logical::Binary, Value::Bytes(_))
        | (Logical::Timestamp, Value::Timestamp(_))
        | (Logical::DateTime, Value::DateTime(_))
        | (Logical::Date, Value::Date(_))
        | (Logical::Time, Value::Time(_)) => true,
        (Logical::Integer, Value::Number(number)) => small(*number).is_some(),
        _ => false,
    }
}

fn small(number: Number) -> Option<i64> {
    i64::try_from(number.to_integer()?).ok()
}

/// Appends a cell. What does not fit was refused when it was written.
fn push(builder: &mut ColumnBuilder, logical: Logical, value: Option<&Value>) {
    match (logical, value) {
        (_, None) => builder.push_null(),
        (Logical::Value, Some(value)) => builder.write_bytes(|out| value.encode(out)),
        (Logical::Integer, Some(Value::Number(number))) => match small(*number) {
            Some(value) => builder.push_i64(value),
            None => builder.push_null(),
        },
        (Logical::Decimal, Some(Value::Number(number))) => {
            builder.push_bytes(number.to_string().as_bytes());
        }
        (_, Some(Value::Bool(value))) => builder.push_i64(i64::from(*value)),
        (_, Some(Value::Float(value))) => builder.push_f64(*value),
        (_, Some(Value::Text(value))) => builder.push_bytes(value.as_bytes()),
        (_, Some(Value::Bytes(value))) => builder.push_bytes(value),
        (
            _,
            Some(
                Value::Timestamp(value)
                | Value::DateTime(value)
                | Value::Date(value)
                | Value::Time(value),
            ),
        ) => builder.push_i64(*value),
        (_, Some(_)) => builder.push_null(),
    }
}

/// The canonical value of a cell; none if it is null or holds what its type cannot.
pub(super) fn cell(column: &Column, logical: Logical, row: usize) -> Option<Value> {
    if !column.is_valid(row) {
        return None;
    }
    let text = || String::from_utf8(column.bytes(row)?.to_vec()).ok();
    let micros = || i64::try_from(column.integer(row)?).ok();
    Some(match logical {
        Logical::Boolean => Value::Bool(column.integer(row)? != 0),
        Logical::Integer => Value::Number(Number::from(column.whole(row)?)),
        Logical::Decimal => Value::Number(Number::parse(&text()?).ok()?),
        Logical::Float | Logical::Float32 => match &column.values {
            Buffer::Float64(values) => Value::Float(values[row]),
            Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Bytes(_) => return None,
        },
        Logical::Text | Logical::Json | Logical::Enum | Logical::Set => Value::Text(text()?),
        Logical::Binary => Value::Bytes(column.bytes(row)?.to_vec()),
        Logical::Timestamp => Value::Timestamp(micros()?),
        Logical::DateTime => Value::DateTime(micros()?),
        Logical::Date => Value::Date(micros()?),
        Logical::Time => Value::Time(micros()?),
        Logical::Value => Value::decode(column.bytes(row)?).ok()?,
    })
}
