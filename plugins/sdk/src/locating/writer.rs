//! Writing store keys.
//!
//! Owns [`KeyWriter`]: what is pushed becomes what the column is. Refuses what a column cannot hold, in
//! words with the column and what to write. Invariant: a key that is told has all its columns, each of
//! its column's type.

use std::collections::BTreeMap;
use std::fmt;

use crate::cell::{Cell, CellWriter};
use crate::column::{AnyColumn, Build, Bytes, Ints, Uints, base};
use crate::decimal::Decimal;
use crate::host::{Level, log};
use crate::read::IntoCell;
use crate::row::Reject;
use crate::wire::{Batch, Column, Error, TableSchema};

/// Writes store keys, a column at a time. What is pushed becomes what the key's column is: any whole
/// number for one of integers, signed or not; a whole or exact number for one of decimals; and for any
/// other what it holds. A value that the column cannot hold at all, such as a fraction where it holds
/// integers, is the key of no row.
///
/// A value of another kind, a column too many and one that is missing are mistakes of the plugin, not of
/// a row: the call fails with the column and what to write.
///
/// ```
/// use driftd_plugin::KeyWriter;
///
/// fn user(key: &mut KeyWriter, tenant: &str, id: u64) {
///     key.push(tenant);
///     key.push(id);
///     key.write(format_args!("USER#{id}"));
///     key.end();
/// }
/// ```
#[derive(Debug)]
pub struct KeyWriter {
    table: String,
    columns: Vec<KeyColumn>,
    from: Vec<u32>,
    /// The columns of the key that is being written.
    written: usize,
    entity: u32,
    /// Entities whose keys could not be written, ascending.
    abandoned: Vec<u32>,
    /// The first mistake.
    wrong: Option<Error>,
}

#[derive(Debug)]
struct KeyColumn {
    name: String,
    logical: String,
    cells: Cells,
}

/// The cells of a column; one that is null is the key of no row.
#[derive(Debug)]
enum Cells {
    /// Whole numbers, whose layout depends on which there are.
    Whole(Vec<Option<i128>>),
    Other(AnyColumn),
}

impl KeyWriter {
    pub(super) fn new(schema: &TableSchema, width: usize) -> Self {
        let column = |index: &u32| {
            let column = schema.columns.get(*index as usize);
            let logical = column.map_or("value", |column| base(&column.logical));
            let cells = match logical {
                "integer" => Cells::Whole(Vec::new()),
                logical => Cells::Other(AnyColumn::new(logical)),
            };
            let name = column.map(|column| column.name.clone()).unwrap_or_default();
            KeyColumn { name, logical: logical.to_owned(), cells }
        };
        Self {
            table: schema.name.clone(),
            columns: schema.key.iter().take(width).map(column).collect(),
            from: Vec::new(),
            written: 0,
            entity: 0,
            abandoned: Vec::new(),
            wrong: None,
        }
    }

    /// Keys of another entity follow.
    pub(super) fn begin(&mut self, entity: u32) {
        self.entity = entity;
    }

    /// The keys of the entity are written.
    pub(super) fn finish_entity(&mut self) {
        if self.written > 0 {
            self.fail_missing();
        }
    }

    /// The entity is located nowhere, whatever was written of its keys.
    pub(super) fn abandon(&mut self, why: &Reject) {
        if self.abandoned.is_empty() {
            log(Level::Warn, &format!("an entity has no place in `{}`: {why}", self.table));
        }
        self.pad();
        self.abandoned.push(self.entity);
    }

    /// Makes a key that is not whole one that is told nowhere.
    fn pad(&mut self) {
        if self.written > 0 {
            let keys = self.from.len() + 1;
            for column in &mut self.columns {
                match &mut column.cells {
                    Cells::Whole(cells) => cells.resize(keys, None),
                    Cells::Other(cells) => cells.pad(keys),
                }
            }
            self.from.push(self.entity);
            self.written = 0;
        }
    }

    /// The keys and their entities: in one part, or in several where no layout holds all whole numbers.
    pub(super) fn finish(self) -> Result<Vec<(Batch, Vec<u32>)>, Error> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let (from, abandoned) = (&self.from, &self.abandoned);
        let is_kept = |key: &u32| abandoned.binary_search(&from[*key as usize]).is_err();
        let kept: Vec<u32> = (0..from.len() as u32).filter(is_kept).collect();
        let columns: Vec<Finished> =
            self.columns.into_iter().map(|column| column.cells.finish()).collect();
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        if columns.iter().all(|column| column.fits_one_layout(&kept)) {
            parts.insert(0, kept);
        } else {
            // By which of their numbers are beyond 63 bits: within a part a column has all such or none.
            for key in kept {
                let wide = (0..).zip(&columns).filter(|(_, column)| column.is_wide(key));
                parts.entry(wide.fold(0, |bits, (at, _)| bits | 1 << at)).or_default().push(key);
            }
        }
        let part = |keys: Vec<u32>| {
            let columns = columns.iter().map(|column| column.take(&keys)).collect();
            let batch = Batch { rows: keys.len() as u32, columns };
            (batch, keys.iter().map(|key| from[*key as usize]).collect())
        };
        Ok(parts.into_values().map(part).collect())
    }

    /// The next column of the key.
    ///
    /// ```
    /// # fn key(key: &mut driftd_plugin::KeyWriter) {
    /// key.push(7);
    /// key.end();
    /// # }
    /// ```
    pub fn push<T: IntoCell>(&mut self, value: T) {
        value.as_cell(&mut |cell| self.push_cell(cell));
    }

    /// The next column of the key, a text.
    ///
    /// ```
    /// # fn key(key: &mut driftd_plugin::KeyWriter) {
    /// key.write(format_args!("USER#{}", 7));
    /// key.end();
    /// # }
    /// ```
    pub fn write(&mut self, text: fmt::Arguments<'_>) {
        self.push_cell(Cell::Text(&text.to_string()));
    }

    /// The key is whole.
    ///
    /// ```
    /// # fn key(key: &mut driftd_plugin::KeyWriter) {
    /// key.push(7);
    /// key.end();
    /// # }
    /// ```
    pub fn end(&mut self) {
        if self.written < self.columns.len() {
            return self.fail_missing();
        }
        self.from.push(self.entity);
        self.written = 0;
    }

    fn push_cell(&mut self, cell: Cell<'_>) {
        if self.wrong.is_some() {
            return;
        }
        let at = self.written;
        self.written += 1;
        let Some(column) = self.columns.get_mut(at) else {
            return self.fail_beyond();
        };
        if let Err(NotOfColumn) = column.push(cell) {
            self.fail_kind(at, cell);
        }
    }

    #[cold]
    fn fail(&mut self, code: &str, message: String) {
        let code: String = code
            .chars()
            .map(
                |char| {
                    if char.is_ascii_alphanumeric() || "-_.".contains(char) { char } else { '-' }
                },
            )
            .collect();
        self.wrong.get_or_insert(Error { code, message });
        self.pad();
    }

    #[cold]
    fn fail_missing(&mut self) {
        let (table, count, written) = (&self.table, self.columns.len(), self.written);
        let (code, message) = match self.columns.get(written) {
            Some(KeyColumn { name, .. }) => (
                format!("{table}.{name}-is-missing"),
                format!(
                    "a key of `{table}` has {written} of its {count} columns: push `{name}`, then call `end()`"
                ),
            ),
            None => (
                format!("{table}-key-without-end"),
                format!(
                    "a key of `{table}` has all its columns and no end: call `end()` after the last"
                ),
            ),
        };
        self.fail(&code, message);
    }

    #[cold]
    fn fail_beyond(&mut self) {
        let names: Vec<_> = self.columns.iter().map(|column| &*column.name).collect();
        let (table, names) = (&self.table, names.join(", "));
        let message = format!(
            "a key of `{table}` has the columns {names}, and one more was pushed: call `end()` after the last"
        );
        self.fail(&format!("{table}-has-no-further-column"), message);
    }

    #[cold]
    fn fail_kind(&mut self, at: usize, cell: Cell<'_>) {
        let KeyColumn { name, logical, .. } = &self.columns[at];
        let (given, table) = (kind_of(&cell), &self.table);
        let article = article(given);
        let write = match &**logical {
            "integer" => "push a whole number (`i64`, `u64`, or a `Decimal` that is one)",
            "decimal" => "push a `Decimal`, an `i64` or a `u64`",
            "text" | "enum" | "set" | "json" => {
                "push a text, or write one: `key.write(format_args!(\"{id}\"))`"
            }
            "binary" => "push bytes: `key.push(&bytes[..])`",
            "boolean" => "push a `bool`",
            "float" | "float32" => "push an `f64`",
            "timestamp" => "push a `Timestamp`",
            "datetime" => "push a `DateTime`",
            "date" => "push a `Date`",
            "time" => "push a `Time`",
            _ => "push what the column holds",
        };
        let code = format!("{table}.{name}-is-{logical}-not-{given}");
        let message = format!(
            "key column `{name}` of `{table}` is {logical}, and {article} {given} was pushed: {write}"
        );
        self.fail(&code, message);
    }
}

/// A cell is of a kind that the column never holds.
struct NotOfColumn;

impl KeyColumn {
    fn push(&mut self, cell: Cell<'_>) -> Result<(), NotOfColumn> {
        let out = match &mut self.cells {
            Cells::Whole(cells) => {
                let whole = match cell {
                    Cell::Null => None,
                    Cell::Integer(whole) => Some(i128::from(whole)),
                    // A fraction is in no such column, and neither is what has more than 64 bits.
                    Cell::Decimal(number) => number.to_integer().filter(|whole| {
                        i64::try_from(*whole).is_ok() || u64::try_from(*whole).is_ok()
                    }),
                    _ => return Err(NotOfColumn),
                };
                cells.push(whole);
                return Ok(());
            }
            Cells::Other(out) => out,
        };
        match (&*self.logical, cell) {
            (_, Cell::Null) => out.pad(out.rows() + 1),
            ("boolean", Cell::Boolean(value)) => counted(out, i64::from(value))?,
            // Any other is in no such column.
            ("boolean", Cell::Integer(value)) => match value {
                0 | 1 => counted(out, value)?,
                _ => out.pad(out.rows() + 1),
            },
            ("decimal", Cell::Integer(value)) => decimal(out, Decimal::from(value))?,
            ("decimal", Cell::Decimal(value)) => decimal(out, value)?,
            ("float" | "float32", Cell::Float(value)) => match out {
                AnyColumn::Floats(floats) => floats.push(Some(value)),
                _ => return Err(NotOfColumn),
            },
            ("text" | "enum" | "set" | "json" | "binary", Cell::Text(text)) => {
                bytes(out, text.as_bytes())?;
            }
            ("text" | "enum" | "set" | "json", Cell::Bytes(value)) => {
                match std::str::from_utf8(value) {
                    Ok(_) => bytes(out, value)?,
                    Err(_) => out.pad(out.rows() + 1),
                }
            }
            ("binary", Cell::Bytes(value)) => bytes(out, value)?,
            // Times in UTC may be kept as local ones.
            ("timestamp" | "datetime", Cell::Timestamp(value)) => counted(out, value.micros())?,
            ("datetime", Cell::DateTime(value)) => counted(out, value.micros())?,
            ("date", Cell::Date(value)) => counted(out, value.days())?,
            ("time", Cell::Time(value)) => counted(out, value.micros())?,
            ("value", cell) => {
                let mut encoded = Vec::new();
                CellWriter::new(&mut encoded).cell(cell);
                bytes(out, &encoded)?;
            }
            _ => return Err(NotOfColumn),
        }
        Ok(())
    }
}

fn counted(out: &mut AnyColumn, value: i64) -> Result<(), NotOfColumn> {
    Ints::of(out).ok_or(NotOfColumn)?.push(Some(value));
    Ok(())
}

fn bytes(out: &mut AnyColumn, value: &[u8]) -> Result<(), NotOfColumn> {
    Bytes::of(out).ok_or(NotOfColumn)?.push(Some(value));
    Ok(())
}

fn decimal(out: &mut AnyColumn, value: Decimal) -> Result<(), NotOfColumn> {
    let mut text = Vec::new();
    value.write(&mut text);
    bytes(out, &text)
}

/// What stands before the name of a kind.
pub(super) fn article(kind: &str) -> &'static str {
    if kind.starts_with(['i', 'u', 'e']) { "an" } else { "a" }
}

fn kind_of(cell: &Cell<'_>) -> &'static str {
    match cell {
        Cell::Null | Cell::JsonNull => "null",
        Cell::Boolean(_) => "boolean",
        Cell::Integer(_) => "integer",
        Cell::Decimal(_) => "decimal",
        Cell::Float(_) => "float",
        Cell::Text(_) => "text",
        Cell::Bytes(_) => "binary",
        Cell::Timestamp(_) => "timestamp",
        Cell::DateTime(_) => "datetime",
        Cell::Date(_) => "date",
        Cell::Time(_) => "time",
        Cell::List(_) => "list",
        Cell::Set(_) => "set",
        Cell::Map(_) => "map",
    }
}

/// A column of which no further cell comes.
enum Finished {
    Whole(Vec<Option<i128>>),
    Other(Column),
}

impl Cells {
    fn finish(self) -> Finished {
        match self {
            Self::Whole(cells) => Finished::Whole(cells),
            Self::Other(cells) => Finished::Other(cells.finish()),
        }
    }
}

impl Finished {
    /// Whether the number of a key is beyond 63 bits.
    fn is_wide(&self, key: u32) -> bool {
        match self {
            Self::Whole(cells) => cells[key as usize].is_some_and(|it| i64::try_from(it).is_err()),
            Self::Other(_) => false,
        }
    }

    fn fits_one_layout(&self, keys: &[u32]) -> bool {
        let Self::Whole(cells) = self else { return true };
        let is_negative = |key: &u32| cells[*key as usize].is_some_and(|it| it < 0);
        !(keys.iter().any(|key| self.is_wide(*key)) && keys.iter().any(is_negative))
    }

    fn take(&self, keys: &[u32]) -> Column {
        let cells = match self {
            Self::Other(column) => return column.clone().take(keys),
            Self::Whole(cells) => cells,
        };
        let cells = keys.iter().map(|key| cells[*key as usize]);
        if keys.iter().any(|key| self.is_wide(*key)) {
            let mut out = Uints::new(keys.len());
            cells.for_each(|cell| out.push(cell.and_then(|cell| u64::try_from(cell).ok())));
            return out.finish();
        }
        let mut out = Ints::new(keys.len());
        cells.for_each(|cell| out.push(cell.and_then(|cell| i64::try_from(cell).ok())));
        out.finish()
    }
}
