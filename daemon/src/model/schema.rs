//! What a store says of a relation.
//!
//! Owns [`RelationSchema`] and the registry of logical types. Refuses to say how a value is encoded.
//! Invariant: each logical type has one physical layout, two for integers. Within driftd alone, a
//! column of integers that neither of the two holds is bytes, as a column of decimals is.

use std::fmt;

use crate::model::ColumnBuilder;

/// What a column's values mean. The registry is written down in `wit/README.md`; in the plugin
/// contract a logical type is its text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Logical {
    /// `boolean`: int64, 0 or 1.
    Boolean,
    /// `integer`: int64 or uint64.
    Integer,
    /// `decimal`, or `decimal(p,s)`: bytes, ASCII such as `-12.50` or `1E-7`.
    Decimal,
    /// `float`: float64.
    Float,
    /// `float32`: float64 that holds a 32-bit float. A number is rounded to one before it is compared,
    /// which hides nothing that the column could have held.
    Float32,
    /// `text`: bytes, UTF-8.
    Text,
    /// `binary`: bytes.
    Binary,
    /// `timestamp`: int64, microseconds since the Unix epoch, UTC.
    Timestamp,
    /// `datetime`: int64, microseconds since 1970-01-01T00:00:00 of an unnamed time zone. A value
    /// that is no calendar date-time (`0000-00-00 00:00:00`) is
    /// `i64::MIN + yyyymmdd * 86_400_000_000 + microseconds of the day`.
    DateTime,
    /// `date`: int64, days since 1970-01-01. A value that is no calendar date (`0000-00-00`) is
    /// `i64::MIN + yyyymmdd`.
    Date,
    /// `time`: int64, microseconds; signed, may exceed a day.
    Time,
    /// `json`: bytes, a JSON text.
    Json,
    /// `enum`: bytes, the label in UTF-8.
    Enum,
    /// `set`: bytes, the labels in UTF-8, separated by commas.
    Set,
    /// `value`: bytes, a dynamically typed cell in deterministic CBOR (RFC 8949, section 4.2).
    Value,
}

impl Logical {
    /// Reads the registry's text form. `None` for an unknown one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let name = text.split('(').next().unwrap_or(text).trim();
        ALL.iter().find(|(known, _)| *known == name).map(|(_, logical)| *logical)
    }

    /// Starts a column of this type in its layout; of integers, the signed one.
    #[must_use]
    pub fn column(self, capacity: usize) -> ColumnBuilder {
        match self {
            Self::Boolean
            | Self::Integer
            | Self::Timestamp
            | Self::DateTime
            | Self::Date
            | Self::Time => ColumnBuilder::int64(capacity),
            Self::Float | Self::Float32 => ColumnBuilder::float64(capacity),
            Self::Decimal
            | Self::Text
            | Self::Binary
            | Self::Json
            | Self::Enum
            | Self::Set
            | Self::Value => ColumnBuilder::bytes(capacity),
        }
    }

    /// The registry's names, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|(name, _)| *name)
    }
}

const ALL: &[(&str, Logical)] = &[
    ("boolean", Logical::Boolean),
    ("integer", Logical::Integer),
    ("decimal", Logical::Decimal),
    ("float", Logical::Float),
    ("float32", Logical::Float32),
    ("text", Logical::Text),
    ("binary", Logical::Binary),
    ("timestamp", Logical::Timestamp),
    ("datetime", Logical::DateTime),
    ("date", Logical::Date),
    ("time", Logical::Time),
    ("json", Logical::Json),
    ("enum", Logical::Enum),
    ("set", Logical::Set),
    ("value", Logical::Value),
];

impl fmt::Display for Logical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ALL.iter().find(|(_, logical)| logical == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A column of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnDef {
    /// Its name in the store.
    pub name: String,
    /// What its values mean.
    pub logical: Logical,
    /// Whether a row may hold null there (in a column of `value`, whether it may be absent).
    pub nullable: bool,
}

/// What a store says of a relation (table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationSchema {
    /// The relation's name in the store.
    pub relation: String,
    /// Its columns. A schemaless store lists its key attributes only.
    pub columns: Vec<ColumnDef>,
    /// Positions in `columns` of the primary key, in key order.
    pub key: Vec<usize>,
    /// Whether rows may hold more than `columns` lists; such cells are of logical type `value`.
    pub open: bool,
    /// Whether the store hides some of its columns, because its user may not read them.
    pub partial: bool,
}

impl RelationSchema {
    /// The definition of column `name`. In an open relation an unlisted name, or a JSON pointer such
    /// as `/profile/email`, is a cell of logical type `value`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<ColumnDef> {
        self.columns.iter().find(|column| column.name == name).cloned().or_else(|| {
            self.open.then(|| ColumnDef {
                name: name.to_owned(),
                logical: Logical::Value,
                nullable: true,
            })
        })
    }

    /// The columns of the primary key, in key order.
    pub fn key_columns(&self) -> impl Iterator<Item = &ColumnDef> {
        self.key.iter().map(|&index| &self.columns[index])
    }

    /// The column whose values order the relation's ranges: `group`, the first of those by which its
    /// rows are taken together, or else the primary key's first. It is cut only if they are integers.
    #[must_use]
    pub fn cut_by(&self, group: Option<&str>) -> Option<ColumnDef> {
        match group {
            Some(name) => self.column(name),
            None => self.key_columns().next().cloned(),
        }
    }
}
