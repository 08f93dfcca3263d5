//! SQLite's values as cells of columns, and back.
//!
//! Owns what a stored value means in a column of a logical type. Refuses values that the declared
//! type cannot mean, which SQLite would store all the same. Invariant: nothing is converted that
//! could be told apart before.

use std::borrow::Cow;

use rusqlite::Row;
use rusqlite::types::{Value, ValueRef};

use super::error_kind;
use crate::model::{Batch, Buffer, Column, ColumnBuilder, Cost, Logical, Number, cbor, text};
use crate::store::questions::exceeds;
use crate::store::{Page, Read, StoreErrorKind as Kind, Unmapped};

/// Pages end at this many bytes of values, at the latest one row beyond.
const PAGE_BYTES: u64 = 4 << 20;

/// Builds pages from rows.
pub(super) struct Pages<'a> {
    read: &'a Read,
    /// Names and logical types of what is selected: the key columns, then the columns asked for.
    selected: Vec<(String, Logical)>,
    builders: Vec<ColumnBuilder>,
    rows: usize,
    bytes: u64,
    last: Vec<Value>,
    /// Of all pages.
    total: Cost,
    done: Vec<(Page, Vec<Value>)>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(read: &'a Read) -> Self {
        let keys = read.schema.key_columns().map(|column| (column.name.clone(), column.logical));
        let columns = read.columns.iter().map(|name| {
            let logical = read.schema.column(name).map_or(Logical::Value, |column| column.logical);
            (name.clone(), logical)
        });
        let mut pages = Self {
            read,
            selected: keys.chain(columns).collect(),
            builders: Vec::new(),
            rows: 0,
            bytes: 0,
            last: Vec::new(),
            total: Cost::default(),
            done: Vec::new(),
        };
        pages.open();
        pages
    }

    /// The columns to select. The last one is the column that cuts, if that is no key column: a scan
    /// goes on from it.
    pub(super) fn selected(&self) -> Vec<&str> {
        let selected = self.selected.iter().map(|(name, _)| name.as_str());
        selected.chain(self.read.other_cut()).collect()
    }

    /// Whether there is more than one question may have.
    pub(super) fn exceed(&self) -> bool {
        exceeds(&self.total)
    }

    /// Takes a row; true if it ends a page.
    pub(super) fn push(&mut self, row: &Row<'_>) -> Result<bool, Kind> {
        let keys = self.read.schema.key.len();
        self.last.clear();
        if self.read.other_cut().is_some() {
            let cut = row.get_ref(self.selected.len()).map_err(|error| error_kind(&error))?;
            self.last.push(cut.into());
        }
        let before = self.bytes;
        for (index, ((name, logical), builder)) in
            self.selected.iter().zip(&mut self.builders).enumerate()
        {
            let value = row.get_ref(index).map_err(|error| error_kind(&error))?;
            if index < keys {
                if value == ValueRef::Null {
                    return Err(Kind::Unfit(format!("key column `{name}` is null in a row")));
                }
                self.last.push(value.into());
            }
            self.bytes += push(builder, *logical, value)
                .ok_or_else(|| unlike(name, &format!("of type {logical}")))?;
        }
        self.rows += 1;
        self.total.add(Cost { rows: 1, bytes: self.bytes - before, ..Cost::default() });
        let most = usize::try_from(self.read.page_rows.get()).unwrap_or(usize::MAX);
        let full = self.rows >= most || self.bytes >= PAGE_BYTES;
        if full {
            self.close();
        }
        Ok(full)
    }

    /// The pages, each with what a scan goes on from behind it.
    pub(super) fn finish(mut self) -> Vec<(Page, Vec<Value>)> {
        self.close();
        self.done
    }

    fn open(&mut self) {
        self.builders = self.selected.iter().map(|(_, logical)| logical.column(0)).collect();
    }

    fn close(&mut self) {
        if self.rows == 0 {
            return;
        }
        let rows = self.rows;
        let mut columns: Vec<_> =
            std::mem::take(&mut self.builders).into_iter().map(ColumnBuilder::finish).collect();
        let asked = columns.split_off(self.read.schema.key.len());
        let requests = u64::from(self.done.is_empty());
        let page = Page {
            keys: Batch { rows, columns },
            rows: Batch { rows, columns: asked },
            unmapped: Unmapped::new(),
            cost: Cost { rows: rows as u64, bytes: self.bytes, capacity: 0.0, requests },
        };
        self.done.push((page, std::mem::take(&mut self.last)));
        (self.rows, self.bytes) = (0, 0);
        self.open();
    }
}

/// A column holds in some row what it should not.
pub(super) fn unlike(column: &str, declared: &str) -> Kind {
    Kind::Unfit(format!("column `{column}` holds a value in some row that is not {declared}"))
}

/// Appends a value; how many bytes it has. None: the column's type cannot mean it.
fn push(builder: &mut ColumnBuilder, logical: Logical, value: ValueRef<'_>) -> Option<u64> {
    let text = |text: &[u8]| std::str::from_utf8(text).ok().map(str::to_owned);
    match (logical, value) {
        (Logical::Value, value) => return push_value(builder, value),
        (_, ValueRef::Null) => {
            builder.push_null();
            return Some(0);
        }
        (
            Logical::Integer
            | Logical::Timestamp
            | Logical::DateTime
            | Logical::Date
            | Logical::Time,
            ValueRef::Integer(value),
        )
        | (Logical::Boolean, ValueRef::Integer(value @ (0 | 1))) => builder.push_i64(value),
        (Logical::Float | Logical::Float32, ValueRef::Real(value)) => builder.push_f64(value),
        (Logical::Float | Logical::Float32, ValueRef::Integer(value)) => {
            // Beyond 2^53 not every integer is a double; SQLite stores such only by force.
            let exact = Number::from(value).to_f64();
            (Number::parse(&format!("{exact:.0}")).ok()? == Number::from(value))
                .then(|| builder.push_f64(exact))?;
        }
        (Logical::Decimal, ValueRef::Integer(value)) => {
            builder.push_bytes(value.to_string().as_bytes());
        }
        (Logical::Decimal, ValueRef::Real(value)) if value.is_finite() => {
            builder.push_bytes(format!("{value}").as_bytes());
        }
        (Logical::Decimal, ValueRef::Text(value)) => {
            Number::parse(&text(value)?).ok()?;
            builder.push_bytes(value);
            return Some(value.len() as u64);
        }
        (Logical::Text | Logical::Json | Logical::Enum | Logical::Set, ValueRef::Text(value))
        | (Logical::Binary, ValueRef::Blob(value)) => {
            builder.push_bytes(value);
            return Some(value.len() as u64);
        }
        (Logical::Timestamp, ValueRef::Text(value)) => {
            builder.push_i64(timestamp(&text(value)?)?);
        }
        (Logical::DateTime, ValueRef::Text(value)) => builder.push_i64(datetime(&text(value)?)?),
        (Logical::Date, ValueRef::Text(value)) => builder.push_i64(text::read_date(&text(value)?)?),
        (Logical::Time, ValueRef::Text(value)) => builder.push_i64(time(&text(value)?)?),
        _ => return None,
    }
    Some(8)
}

/// A cell of a column without a type: whatever it is, told as it is.
fn push_value(builder: &mut ColumnBuilder, value: ValueRef<'_>) -> Option<u64> {
    let (mut out, utf8) = (Vec::new(), |text| std::str::from_utf8(text).ok());
    match value {
        ValueRef::Null => cbor::null(&mut out),
        ValueRef::Integer(value) => cbor::integer(&mut out, i128::from(value)),
        ValueRef::Real(value) => cbor::float(&mut out, value),
        ValueRef::Text(value) => cbor::text(&mut out, utf8(value)?),
        ValueRef::Blob(value) => cbor::bytes(&mut out, value),
    }
    builder.push_bytes(&out);
    Some(out.len() as u64)
}

/// `2024-01-02 03:04:05.678`, with a `T` or a space. SQLite's own short forms leave the seconds out, or
/// the time.
fn datetime(given: &str) -> Option<i64> {
    let stamp = text::read_stamp(&in_full(given)?)?;
    stamp.offset.is_none().then_some(stamp.local)
}

/// As [`datetime`], in UTC or with `Z` or an offset such as `+02:00` behind it.
fn timestamp(given: &str) -> Option<i64> {
    let stamp = text::read_stamp(&in_full(given)?)?;
    text::Stamp { offset: stamp.offset.or(Some(0)), ..stamp }.instant()
}

/// A date-time without what SQLite leaves out: the seconds, or the time.
fn in_full(given: &str) -> Option<Cow<'_, str>> {
    let (date, rest) = given.split_at_checked(10)?;
    if rest.is_empty() {
        return Some(Cow::Owned(format!("{date} 00:00:00")));
    }
    let (zone, time) = match rest.find(['Z', 'z', '+', '-']) {
        Some(at) => (&rest[at..], &rest[..at]),
        None => ("", rest),
    };
    let short = time.len() == " 03:04".len();
    Some(if short { Cow::Owned(format!("{date}{time}:00{zone}")) } else { Cow::Borrowed(given) })
}

/// `03:04:05.678`, also negative, also beyond a day, also without the seconds.
fn time(given: &str) -> Option<i64> {
    if given.matches(':').count() == 1 {
        text::read_time(&format!("{given}:00"))
    } else {
        text::read_time(given)
    }
}

/// Whether rows can be looked up by a key column of this type: its values are stored in one way.
pub(super) const fn finds(logical: Logical) -> bool {
    match logical {
        Logical::Integer
        | Logical::Decimal
        | Logical::Float
        | Logical::Float32
        | Logical::Text
        | Logical::Binary => true,
        Logical::Boolean
        | Logical::Timestamp
        | Logical::DateTime
        | Logical::Date
        | Logical::Time
        | Logical::Json
        | Logical::Enum
        | Logical::Set
        | Logical::Value => false,
    }
}

/// The parameter for cell `row` of a key column; none if no row can have this key.
pub(super) fn parameter(column: &Column, logical: Logical, row: usize) -> Option<Value> {
    let text = || String::from_utf8(column.bytes(row)?.to_vec()).ok();
    match logical {
        Logical::Integer => i64::try_from(column.whole(row)?).ok().map(Value::Integer),
        Logical::Decimal => text().filter(|text| Number::parse(text).is_ok()).map(Value::Text),
        Logical::Float | Logical::Float32 => match &column.values {
            Buffer::Float64(values) if column.is_valid(row) => Some(Value::Real(values[row])),
            Buffer::Float64(_) | Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Bytes(_) => None,
        },
        Logical::Binary => Some(Value::Blob(column.bytes(row)?.to_vec())),
        // By the others nothing is looked up, which is said before a statement is made.
        Logical::Text
        | Logical::Boolean
        | Logical::Timestamp
        | Logical::DateTime
        | Logical::Date
        | Logical::Time
        | Logical::Json
        | Logical::Enum
        | Logical::Set
        | Logical::Value => text().map(Value::Text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::calendar::{DAY, MICROS};

    #[test]
    fn texts_of_time_are_read_or_refused() {
        assert_eq!(datetime("1970-01-02 00:00:01.5"), Some(DAY + 1_500_000));
        assert_eq!(datetime("1970-01-02T00:00"), Some(DAY));
        assert_eq!(datetime("1970-01-02"), Some(DAY));
        assert_eq!(timestamp("1970-01-01T02:00:00+02:00"), Some(0));
        assert_eq!(timestamp("1969-12-31T22:30:00.000001-01:30"), Some(1));
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(timestamp("0000-00-00 00:00:00"), Some(i64::MIN));
        assert_eq!(time("26:30"), Some((26 * 60 + 30) * 60 * MICROS));
        assert_eq!(time("-26:00:00.000001"), Some(-(26 * 3_600 * MICROS + 1)));
        for wrong in
            ["", "1970-01-02 24:00:00", "1970-1-2", "1970-01-02x", "1970-01-02 1:2:3.1234567"]
        {
            assert_eq!(datetime(wrong), None, "{wrong}");
        }
        assert_eq!(timestamp("1970-01-01T00:00:00+0200"), None);
    }
}
