//! The driver's rows as columns, and cells as the driver's values.
//!
//! Owns the layout of each wire type. Refuses a wire type that does not fit what
//! the relation was described with: the table has changed since. Invariant: a value is copied once,
//! from the driver's row to the column's arena.

use mysql_async::consts::{ColumnFlags, ColumnType};
use mysql_async::{Column as WireColumn, Row, Value};

use super::session::{Pace, Sink};
use crate::model::calendar::{self, DAY, MICROS};
use crate::model::{Batch, Buffer, Column, ColumnBuilder, Cost, Logical, Number};
use crate::store::{Page, StoreErrorKind as Kind, Unmapped};

/// Pages end at this many bytes of values, at the latest one row beyond.
pub(super) const PAGE_BYTES: u64 = 4 << 20;

/// What is selected, and where each selected cell goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// For each selected expression the column's name and its logical type; none: only kept to go
    /// on from.
    pub(super) selected: Vec<(String, Option<Logical>)>,
    /// Positions in `selected` of the key columns.
    pub(super) keys: Vec<usize>,
    /// Positions in `selected` of the columns asked for.
    pub(super) columns: Vec<usize>,
    /// Positions in `selected` of what a scan goes on from.
    pub(super) resume: Vec<usize>,
}

/// How a wire value becomes a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decode {
    Int,
    Unsigned,
    Float,
    Bytes,
    DateTime,
    Date,
    Time,
    Skip,
}

/// Builds pages from rows.
pub(super) struct Pages<'a> {
    shape: &'a Shape,
    page_rows: usize,
    /// Bytes beyond which no more rows are taken.
    budget: u64,
    decodes: Vec<Decode>,
    keys: Vec<ColumnBuilder>,
    columns: Vec<ColumnBuilder>,
    /// Rows and bytes of the page being built.
    rows: usize,
    bytes: u64,
    pages: Vec<Page>,
    total: Cost,
    enough: bool,
    last: Option<Row>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(shape: &'a Shape, page_rows: usize, budget: u64) -> Self {
        Self {
            shape,
            page_rows,
            budget,
            decodes: Vec::new(),
            keys: Vec::new(),
            columns: Vec::new(),
            rows: 0,
            bytes: 0,
            pages: Vec::new(),
            total: Cost::default(),
            enough: false,
            last: None,
        }
    }

    /// The pages, and the key values of the last row.
    pub(super) fn finish(mut self) -> (Vec<Page>, Vec<Value>) {
        self.close();
        let value = |source: &usize| self.last.as_ref()?.as_ref(*source).cloned();
        let last = self.shape.resume.iter().filter_map(value).collect();
        (self.pages, last)
    }

    /// Whether rows were left because of their bytes.
    pub(super) const fn cut_short(&self) -> bool {
        self.enough
    }

    fn open(&mut self) {
        let (rows, shape) = (self.page_rows, self.shape);
        // The next page is most often as large as the last one.
        let room = |column: Option<&Column>| match column.map(|column| &column.values) {
            Some(Buffer::Bytes(values)) => values.data.len() + values.data.len() / 8,
            Some(Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_)) | None => 0,
        };
        let builders = |of: &[usize], last: Option<&Batch>| {
            let columns = of.iter().enumerate();
            let build = |(at, source): (usize, &usize)| {
                let last = last.map(|batch| &batch.columns[at]);
                builder(self.decodes[*source], rows).with_room(room(last))
            };
            columns.map(build).collect()
        };
        let last = self.pages.last();
        self.keys = builders(&shape.keys, last.map(|page| &page.keys));
        self.columns = builders(&shape.columns, last.map(|page| &page.rows));
    }

    fn close(&mut self) {
        if self.rows == 0 {
            return;
        }
        let finish = |builders: Vec<ColumnBuilder>| Batch {
            rows: self.rows,
            columns: builders.into_iter().map(ColumnBuilder::finish).collect(),
        };
        let keys = finish(std::mem::take(&mut self.keys));
        let rows = finish(std::mem::take(&mut self.columns));
        // The request is counted once, with its first page.
        let requests = u64::from(self.pages.is_empty());
        let cost = Cost { rows: self.rows as u64, bytes: self.bytes, capacity: 0.0, requests };
        self.total.add(cost);
        self.pages.push(Page { keys, rows, unmapped: Unmapped::new(), cost });
        (self.rows, self.bytes) = (0, 0);
    }
}

impl Sink for Pages<'_> {
    fn restart(&mut self) {
        *self = Self::new(self.shape, self.page_rows, self.budget);
    }

    fn head(&mut self, columns: &[WireColumn]) -> Result<(), Kind> {
        let selected = self.shape.selected.iter().zip(columns);
        self.decodes = selected
            .map(|((name, logical), column)| match logical {
                Some(logical) => decode(*logical, column).ok_or_else(|| changed(name)),
                None => Ok(Decode::Skip),
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<Pace, Kind> {
        if self.rows == 0 {
            self.open();
        }
        let places = [(&self.shape.keys, &mut self.keys), (&self.shape.columns, &mut self.columns)];
        for (sources, builders) in places {
            for (&source, builder) in sources.iter().zip(builders) {
                // A cell that is not there is no null.
                let value = row.as_ref(source);
                let pushed = value.and_then(|value| push(builder, self.decodes[source], value));
                self.bytes += pushed.ok_or_else(|| changed(&self.shape.selected[source].0))?;
            }
        }
        self.rows += 1;
        let page_full = self.rows >= self.page_rows || self.bytes >= PAGE_BYTES;
        self.enough = self.total.bytes + self.bytes >= self.budget;
        self.last = Some(row);
        if !page_full && !self.enough {
            return Ok(Pace::Go);
        }
        self.close();
        Ok(if self.enough { Pace::Enough } else { Pace::Page })
    }

    fn cost(&self) -> Cost {
        let mut cost = self.total;
        cost.add(Cost { rows: self.rows as u64, bytes: self.bytes, ..Cost::default() });
        cost.requests = 1;
        cost
    }
}

fn changed(column: &str) -> Kind {
    Kind::Unfit(format!("column `{column}` has changed its type since the relation was described"))
}

fn decode(logical: Logical, column: &WireColumn) -> Option<Decode> {
    use ColumnType as T;
    let wire = column.column_type();
    let unsigned = column.flags().contains(ColumnFlags::UNSIGNED_FLAG);
    Some(match (logical, wire) {
        (Logical::Integer | Logical::Boolean, T::MYSQL_TYPE_LONGLONG) if unsigned => {
            Decode::Unsigned
        }
        (
            Logical::Integer | Logical::Boolean,
            T::MYSQL_TYPE_TINY
            | T::MYSQL_TYPE_SHORT
            | T::MYSQL_TYPE_INT24
            | T::MYSQL_TYPE_LONG
            | T::MYSQL_TYPE_LONGLONG
            | T::MYSQL_TYPE_YEAR,
        ) => Decode::Int,
        (Logical::Float32, T::MYSQL_TYPE_FLOAT) | (Logical::Float, T::MYSQL_TYPE_DOUBLE) => {
            Decode::Float
        }
        (Logical::Decimal, T::MYSQL_TYPE_DECIMAL | T::MYSQL_TYPE_NEWDECIMAL)
        | (
            Logical::Text | Logical::Binary | Logical::Json | Logical::Enum | Logical::Set,
            T::MYSQL_TYPE_STRING
            | T::MYSQL_TYPE_VAR_STRING
            | T::MYSQL_TYPE_VARCHAR
            | T::MYSQL_TYPE_TINY_BLOB
            | T::MYSQL_TYPE_BLOB
            | T::MYSQL_TYPE_MEDIUM_BLOB
            | T::MYSQL_TYPE_LONG_BLOB
            | T::MYSQL_TYPE_ENUM
            | T::MYSQL_TYPE_SET
            | T::MYSQL_TYPE_JSON
            | T::MYSQL_TYPE_GEOMETRY
            | T::MYSQL_TYPE_BIT,
        ) => Decode::Bytes,
        (
            Logical::Timestamp | Logical::DateTime,
            T::MYSQL_TYPE_TIMESTAMP
            | T::MYSQL_TYPE_TIMESTAMP2
            | T::MYSQL_TYPE_DATETIME
            | T::MYSQL_TYPE_DATETIME2,
        ) => Decode::DateTime,
        (Logical::Date, T::MYSQL_TYPE_DATE | T::MYSQL_TYPE_NEWDATE) => Decode::Date,
        (Logical::Time, T::MYSQL_TYPE_TIME | T::MYSQL_TYPE_TIME2) => Decode::Time,
        _ => return None,
    })
}

fn builder(decode: Decode, rows: usize) -> ColumnBuilder {
    match decode {
        Decode::Int | Decode::DateTime | Decode::Date | Decode::Time | Decode::Skip => {
            ColumnBuilder::int64(rows)
        }
        Decode::Unsigned => ColumnBuilder::uint64(rows),
        Decode::Float => ColumnBuilder::float64(rows),
        Decode::Bytes => ColumnBuilder::bytes(rows),
    }
}

/// Appends a value; how many bytes it has. None: it is of another type than the column.
fn push(builder: &mut ColumnBuilder, decode: Decode, value: &Value) -> Option<u64> {
    match (decode, value) {
        (_, Value::NULL) => {
            builder.push_null();
            return Some(0);
        }
        (Decode::Bytes, Value::Bytes(bytes)) => {
            builder.push_bytes(bytes);
            return Some(bytes.len() as u64);
        }
        (Decode::Int, Value::Int(value)) => builder.push_i64(*value),
        (Decode::Unsigned, Value::Int(value)) => builder.push_u64(u64::try_from(*value).ok()?),
        (Decode::Unsigned, Value::UInt(value)) => builder.push_u64(*value),
        (Decode::Float, Value::Float(value)) => builder.push_f64(f64::from(*value)),
        (Decode::Float, Value::Double(value)) => builder.push_f64(*value),
        (Decode::DateTime, Value::Date(year, month, day, hour, minute, second, micros)) => {
            let time = calendar::clock([*hour, *minute, *second], *micros);
            builder.push_i64(calendar::datetime(*year, *month, *day, time)?);
        }
        (Decode::Date, Value::Date(year, month, day, ..)) => {
            builder.push_i64(calendar::date(*year, *month, *day)?);
        }
        (Decode::Time, Value::Time(negative, days, hours, minutes, seconds, micros)) => {
            let time =
                i64::from(*days) * DAY + calendar::clock([*hours, *minutes, *seconds], *micros);
            builder.push_i64(if *negative { -time } else { time });
        }
        _ => return None,
    }
    Some(8)
}

/// The parameter for cell `row` of a key column; none if no row can have this key. `bits`: the
/// column is compared as a number.
pub(super) fn parameter(
    column: &Column,
    logical: Logical,
    bits: bool,
    row: usize,
) -> Option<Value> {
    let bytes = || column.bytes(row);
    let integer = || i64::try_from(column.integer(row)?).ok();
    match logical {
        Logical::Integer | Logical::Boolean => whole(column.whole(row)?),
        Logical::Decimal => {
            let text = std::str::from_utf8(bytes()?).ok()?;
            Number::parse(text).ok().map(|_number| Value::from(text))
        }
        Logical::Float | Logical::Float32 => match &column.values {
            Buffer::Float64(values) if column.is_valid(row) => {
                Some(values[row]).filter(|value| value.is_finite()).map(Value::Double)
            }
            Buffer::Float64(_) | Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Bytes(_) => None,
        },
        Logical::Text | Logical::Json | Logical::Enum | Logical::Set => {
            std::str::from_utf8(bytes()?).ok().map(Value::from)
        }
        Logical::Binary if bits => number_of(bytes()?),
        Logical::Binary => Some(Value::Bytes(bytes()?.to_vec())),
        Logical::Timestamp | Logical::DateTime => datetime(integer()?),
        Logical::Date => date(integer()?),
        Logical::Time => time(integer()?),
        Logical::Value => None,
    }
}

/// An integer as a parameter; none if it is beyond 64 bits.
pub(super) fn whole(value: i128) -> Option<Value> {
    let signed = i64::try_from(value).map(Value::Int).ok();
    signed.or_else(|| u64::try_from(value).map(Value::UInt).ok())
}

/// The number that the bytes of a bit column stand for.
pub(super) fn number_of(bytes: &[u8]) -> Option<Value> {
    let fold =
        |number: u64, byte: &u8| (number >> 56 == 0).then_some(number << 8 | u64::from(*byte));
    bytes.iter().try_fold(0, fold).map(Value::UInt)
}

fn datetime(micros: i64) -> Option<Value> {
    let ((year, month, day), rest) = calendar::datetime_of(micros)?;
    let ([hour, minute, second], micros) = clock(rest)?;
    Some(Value::Date(year, month, day, hour, minute, second, micros))
}

fn date(days: i64) -> Option<Value> {
    let (year, month, day) = calendar::date_of(days)?;
    Some(Value::Date(year, month, day, 0, 0, 0, 0))
}

fn time(micros: i64) -> Option<Value> {
    let length = i64::try_from(micros.unsigned_abs()).ok()?;
    let ([hours, minutes, seconds], rest) = clock(length % DAY)?;
    // The servers' largest is 838:59:59, and in MariaDB the fraction behind it.
    let days = u32::try_from(length / DAY).ok().filter(|_| length < 839 * 3_600 * MICROS)?;
    Some(Value::Time(micros < 0, days, hours, minutes, seconds, rest))
}

/// Hours, minutes, seconds and microseconds of a part of a day.
fn clock(micros: i64) -> Option<([u8; 3], u32)> {
    let seconds = micros / MICROS;
    let part = |value: i64| u8::try_from(value).ok();
    let clock = [part(seconds / 3_600)?, part(seconds / 60 % 60)?, part(seconds % 60)?];
    Some((clock, u32::try_from(micros % MICROS).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn dates_come_back(year in 0u16..=9_999, month in 0u8..=12, day in 0u8..=31) {
            let mut column = ColumnBuilder::int64(1);
            let value = Value::Date(year, month, day, 0, 0, 0, 0);
            push(&mut column, Decode::Date, &value).unwrap();
            let column = column.finish();
            prop_assert_eq!(parameter(&column, Logical::Date, false, 0), Some(value));
        }

        #[test]
        fn date_times_come_back(
            year in 0u16..=9_999, month in 0u8..=12, day in 0u8..=31,
            hour in 0u8..24, minute in 0u8..60, second in 0u8..60, micros in 0u32..1_000_000,
        ) {
            let mut column = ColumnBuilder::int64(1);
            let value = Value::Date(year, month, day, hour, minute, second, micros);
            push(&mut column, Decode::DateTime, &value).unwrap();
            let column = column.finish();
            prop_assert_eq!(parameter(&column, Logical::DateTime, false, 0), Some(value));
        }

        #[test]
        fn times_come_back(micros in -3_020_399_000_000i64..=3_020_399_000_000) {
            let mut column = ColumnBuilder::int64(1);
            push(&mut column, Decode::Time, &time(micros).unwrap()).unwrap();
            prop_assert_eq!(column.finish().integer(0), Some(i128::from(micros)));
        }
    }

    #[test]
    fn what_no_row_can_have_is_no_parameter() {
        let mut text = ColumnBuilder::bytes(1);
        text.push_bytes(b"\xff");
        let text = text.finish();
        assert_eq!(parameter(&text, Logical::Text, false, 0), None);
        assert_eq!(parameter(&text, Logical::Integer, false, 0), None);
        assert_eq!(parameter(&text, Logical::Decimal, false, 0), None);
        assert_eq!(parameter(&text, Logical::Binary, true, 0), Some(Value::UInt(255)));
        let mut micros = ColumnBuilder::int64(1);
        micros.push_i64(i64::MAX);
        assert_eq!(parameter(&micros.finish(), Logical::DateTime, false, 0), None);
    }
}
