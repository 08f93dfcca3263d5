//! Putting the cells of a column into the type of a field.
//!
//! Owns which type can become which, cell by cell. Refuses what would lose something: such a cell
//! has a [`Loss`], which names the reason and never the value. Invariant: two cells that a field
//! calls different before the conversion are different after it, but for what its type cannot tell
//! apart anyway (`1` and `1.0` as numbers).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "tables of what is possible: a type that is not listed, a future one too, is refused"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use crate::model::{
    Buffer, Column, ColumnBuilder, JsonError, Logical, Number, NumberError, Value, cbor, text,
};

/// How cells of one type become cells of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Conversion {
    /// The column's type.
    pub(super) from: Logical,
    /// The field's type.
    pub(super) to: Logical,
    /// The field was declared to be of that type, so that a local date-time may be read as one in
    /// UTC, and the other way round.
    pub(super) declared: bool,
    /// The field's cells are dynamically typed, so that absent and null stay apart.
    pub(super) dynamic: bool,
}

/// Why a cell cannot be converted.
pub(super) type Loss = Cow<'static, str>;

/// A cell on its way from one type to another.
enum Cell<'a> {
    /// Not there at all; only a dynamically typed cell can be.
    Absent,
    Null,
    Bool(bool),
    Number(Number),
    Float(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    Timestamp(i64),
    DateTime(i64),
    Date(i64),
    Time(i64),
    /// A list, map or set.
    Tree(Value),
}

impl Conversion {
    /// Whether any value at all can be converted.
    pub(super) const fn is_possible(self) -> bool {
        use Logical as L;
        match (self.from, self.to) {
            (L::Value, _) | (_, L::Value) => true,
            (L::Text | L::Enum, to) => !matches!(to, L::Binary),
            (L::Integer | L::Decimal, to) => {
                matches!(to, L::Integer | L::Boolean | L::Decimal | L::Float | L::Text | L::Json)
            }
            (L::Boolean, to) => matches!(to, L::Boolean | L::Integer | L::Decimal | L::Json),
            (L::Float, to) => matches!(to, L::Float | L::Integer | L::Decimal),
            (L::Timestamp, to) => {
                matches!(to, L::Timestamp) || matches!(to, L::DateTime) && self.declared
            }
            (L::DateTime, to) => {
                matches!(to, L::DateTime) || matches!(to, L::Timestamp) && self.declared
            }
            (L::Set, to) => matches!(to, L::Set),
            // A bit: BIT(1) is a byte that is 0 or 1.
            (L::Binary, to) => matches!(to, L::Binary) || matches!(to, L::Boolean) && self.declared,
            (L::Date, to) => matches!(to, L::Date),
            (L::Time, to) => matches!(to, L::Time),
            (L::Json, to) => matches!(to, L::Json),
        }
    }

    /// Whether a column is the field's column as it is.
    pub(super) fn is_nothing(self) -> bool {
        self.from == self.to && (!self.dynamic || self.from == Logical::Value)
    }

    /// Converts the cells of `column`. Calls `lose` for each row that cannot be converted; its cell
    /// is then a placeholder.
    pub(super) fn convert(self, column: &Column, mut lose: impl FnMut(usize, Loss)) -> Column {
        if self.is_nothing() && !has_wide_numbers(self.from) {
            return column.clone();
        }
        let rows = column.values.len();
        let mut cells = Vec::with_capacity(rows);
        for row in 0..rows {
            cells.push(
                read(column, row, self.from).and_then(|cell| self.cast(cell)).unwrap_or_else(
                    |loss| {
                        lose(row, loss);
                        Cell::Absent
                    },
                ),
            );
        }
        if self.is_nothing() {
            return column.clone();
        }
        self.write(&cells, lose)
    }

    fn cast<'a>(self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        let to = self.to;
        match cell {
            Cell::Absent | Cell::Null => Ok(cell),
            _ if to == Logical::Value || self.from == Logical::Json => Ok(cell),
            Cell::Text(text) => self.cast_text(text),
            Cell::Number(number) => cast_number(number, to),
            Cell::Bool(value) => match to {
                Logical::Boolean | Logical::Json => Ok(Cell::Bool(value)),
                Logical::Integer | Logical::Decimal => Ok(Cell::Number(i64::from(value).into())),
                _ => Err(no("a boolean", to)),
            },
            Cell::Float(value) => match to {
                Logical::Float => Ok(Cell::Float(value)),
                // Beyond 2^53 a double does not say which integer was meant.
                Logical::Integer | Logical::Decimal
                    if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
                {
                    let whole = Number::parse(&format!("{value}"));
                    whole.map(Cell::Number).map_err(|wide| Cow::Owned(wide.to_string()))
                }
                _ => Err(no("a float", to)),
            },
            Cell::Timestamp(micros) => match to {
                Logical::Timestamp => Ok(Cell::Timestamp(micros)),
                Logical::DateTime if self.declared || micros == i64::MIN => {
                    Ok(Cell::DateTime(micros))
                }
                _ => Err(no("an instant", to)),
            },
            Cell::DateTime(micros) => match to {
                Logical::DateTime => Ok(Cell::DateTime(micros)),
                Logical::Timestamp if self.declared || micros == i64::MIN => {
                    Ok(Cell::Timestamp(micros))
                }
                _ => Err(no("a date-time without time zone", to)),
            },
            Cell::Bytes(_) if to == Logical::Binary => Ok(cell),
            Cell::Bytes(bytes) if to == Logical::Boolean => match bytes.as_ref() {
                [bit @ (0 | 1)] => Ok(Cell::Bool(*bit == 1)),
                _ => Err(Cow::Borrowed("binary that is no single bit")),
            },
            Cell::Date(_) if to == Logical::Date => Ok(cell),
            Cell::Time(_) if to == Logical::Time => Ok(cell),
            Cell::Bytes(_) => Err(no("binary", to)),
            Cell::Date(_) => Err(no("a date", to)),
            Cell::Time(_) => Err(no("a time", to)),
            Cell::Tree(tree) => cast_tree(tree, to),
        }
    }

    fn cast_text<'a>(self, text: Cow<'a, str>) -> Result<Cell<'a>, Loss> {
        let wrong = |what: &'static str| Loss::from(what);
        match self.to {
            Logical::Text | Logical::Enum => Ok(Cell::Text(text)),
            Logical::Boolean => match text.as_ref() {
                "true" => Ok(Cell::Bool(true)),
                "false" => Ok(Cell::Bool(false)),
                _ => Err(wrong("a text that is neither true nor false")),
            },
            Logical::Integer | Logical::Decimal | Logical::Float => {
                let number = Number::parse(&text).map_err(|error| match error {
                    NumberError::Syntax => wrong("a text that is no number"),
                    wide @ (NumberError::TooManyDigits | NumberError::Exponent) => {
                        Cow::Owned(wide.to_string())
                    }
                })?;
                cast_number(number, self.to)
            }
            Logical::Timestamp => {
                let stamp = text::read_stamp(&text)
                    .ok_or_else(|| wrong("a text that is no date-time of at most microseconds"))?;
                match (stamp.offset, self.declared) {
                    // The zero is the same in every time zone.
                    (None, _) if stamp.is_zero() => Ok(Cell::Timestamp(stamp.local)),
                    (None, true) => Ok(Cell::Timestamp(stamp.local)),
                    (None, false) => Err(wrong(
                        "a date-time without time zone; declare the field as timestamp if it is UTC",
                    )),
                    (Some(_), _) => stamp
                        .instant()
                        .map(Cell::Timestamp)
                        .ok_or_else(|| wrong("a date-time that is not in the calendar")),
                }
            }
            Logical::DateTime => {
                let stamp = text::read_stamp(&text)
                    .ok_or_else(|| wrong("a text that is no date-time of at most microseconds"))?;
                match (stamp.offset, self.declared) {
                    (None, _) | (Some(0), true) => Ok(Cell::DateTime(stamp.local)),
                    (Some(0), _) if stamp.is_zero() => Ok(Cell::DateTime(stamp.local)),
                    (Some(_), _) => {
                        Err(wrong("a date-time with time zone; declare the field as timestamp"))
                    }
                }
            }
            Logical::Date => text::read_date(&text)
                .map(Cell::Date)
                .ok_or_else(|| wrong("a text that is no date")),
            Logical::Time => text::read_time(&text)
                .map(Cell::Time)
                .ok_or_else(|| wrong("a text that is no time of at most microseconds")),
            Logical::Json => json(text.as_bytes()),
            Logical::Set => match labels(&text) {
                Value::Set(labels) if labels.len() == text.split_terminator(',').count() => {
                    Ok(Cell::Tree(Value::Set(labels)))
                }
                _ => Err(wrong("a text that is no list of different labels")),
            },
            Logical::Binary | Logical::Value => Err(no("text", self.to)),
        }
    }

    fn write(self, cells: &[Cell<'_>], mut lose: impl FnMut(usize, Loss)) -> Column {
        if self.dynamic || self.to == Logical::Value {
            let mut builder = ColumnBuilder::bytes(cells.len());
            for cell in cells {
                match cell {
                    Cell::Absent => builder.push_null(),
                    cell => builder.write_bytes(|out| encode(cell, out)),
                }
            }
            return builder.finish();
        }
        if self.to == Logical::Integer {
            return write_integers(cells);
        }
        let mut builder = self.to.column(cells.len());
        for (row, cell) in cells.iter().enumerate() {
            match cell {
                Cell::Absent | Cell::Null => builder.push_null(),
                cell if self.to == Logical::Json => {
                    let mut text = Vec::new();
                    match write_json(cell, &mut text) {
                        Ok(()) => builder.push_bytes(&text),
                        Err(loss) => {
                            lose(row, loss);
                            builder.push_null();
                        }
                    }
                }
                Cell::Bool(value) => builder.push_i64(i64::from(*value)),
                Cell::Number(number) => builder.write_bytes(|out| {
                    write!(out, "{number}").expect("a vector takes what is written");
                }),
                Cell::Float(value) => builder.push_f64(*value),
                Cell::Text(text) => builder.push_bytes(text.as_bytes()),
                Cell::Bytes(bytes) => builder.push_bytes(bytes),
                Cell::Timestamp(count)
                | Cell::DateTime(count)
                | Cell::Date(count)
                | Cell::Time(count) => builder.push_i64(*count),
                Cell::Tree(tree) => builder.write_bytes(|out| write_labels(tree, out)),
            }
        }
        builder.finish()
    }
}

/// Types whose cells may hold numbers that no canonical value can.
const fn has_wide_numbers(logical: Logical) -> bool {
    matches!(logical, Logical::Decimal | Logical::Json)
}

fn no(what: &str, to: Logical) -> Loss {
    Cow::Owned(format!("{what} where the field is of type {to}"))
}

fn read(column: &Column, row: usize, from: Logical) -> Result<Cell<'_>, Loss> {
    if !column.is_valid(row) {
        return Ok(if from == Logical::Value { Cell::Absent } else { Cell::Null });
    }
    if let Buffer::Float64(values) = &column.values {
        return Ok(Cell::Float(values[row]));
    }
    if let Some(integer) = column.integer(row) {
        let counted = || i64::try_from(integer).map_err(|_wide| Loss::from("a time out of range"));
        return Ok(match from {
            Logical::Boolean => match integer {
                0 | 1 => Cell::Bool(integer == 1),
                _ => return Err(Cow::Borrowed("a boolean that is neither 0 nor 1")),
            },
            Logical::Timestamp => Cell::Timestamp(counted()?),
            Logical::DateTime => Cell::DateTime(counted()?),
            Logical::Date => Cell::Date(counted()?),
            Logical::Time => Cell::Time(counted()?),
            _ => Cell::Number(integer.into()),
        });
    }
    let bytes = column.bytes(row).unwrap_or_default();
    let text = || std::str::from_utf8(bytes).map_err(|_utf8| Loss::from("text that is not UTF-8"));
    match from {
        Logical::Binary => Ok(Cell::Bytes(Cow::Borrowed(bytes))),
        Logical::Json => json(bytes),
        Logical::Set => Ok(Cell::Tree(labels(text()?))),
        Logical::Decimal => match Number::parse(text()?) {
            Ok(number) => Ok(Cell::Number(number)),
            Err(wrong) => Err(Cow::Owned(wrong.to_string())),
        },
        Logical::Value => match Value::decode(bytes) {
            Ok(value) => Ok(from_value(value)),
            Err(wrong) => Err(Cow::Owned(wrong.to_string())),
        },
        _ => Ok(Cell::Text(Cow::Borrowed(text()?))),
    }
}

fn from_value(value: Value) -> Cell<'static> {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(value) => Cell::Bool(value),
        Value::Number(number) => Cell::Number(number),
        Value::Float(value) => Cell::Float(value),
        Value::Text(text) => Cell::Text(Cow::Owned(text)),
        Value::Bytes(bytes) => Cell::Bytes(Cow::Owned(bytes)),
        Value::Timestamp(micros) => Cell::Timestamp(micros),
        Value::DateTime(micros) => Cell::DateTime(micros),
        Value::Date(days) => Cell::Date(days),
        Value::Time(micros) => Cell::Time(micros),
        tree @ (Value::List(_) | Value::Map(_) | Value::Set(_)) => Cell::Tree(tree),
    }
}

fn cast_number(number: Number, to: Logical) -> Result<Cell<'static>, Loss> {
    match to {
        Logical::Integer => match number.to_integer() {
            Some(whole) if i64::try_from(whole).is_ok() || u64::try_from(whole).is_ok() => {
                Ok(Cell::Number(number))
            }
            Some(_) => Err(Cow::Borrowed("an integer beyond 64 bits")),
            None => Err(Cow::Borrowed("a number that is no integer")),
        },
        Logical::Decimal | Logical::Json => Ok(Cell::Number(number)),
        Logical::Float => Ok(Cell::Float(number.to_f64())),
        Logical::Boolean => match number.to_integer() {
            Some(0) => Ok(Cell::Bool(false)),
            Some(1) => Ok(Cell::Bool(true)),
            _ => Err(Cow::Borrowed("a number that is neither 0 nor 1 for a boolean")),
        },
        Logical::Text => Ok(Cell::Text(Cow::Owned(number.to_string()))),
        _ => Err(no("a number", to)),
    }
}

fn cast_tree(tree: Value, to: Logical) -> Result<Cell<'static>, Loss> {
    match (to, &tree) {
        (Logical::Json, _) => Ok(Cell::Tree(tree)),
        (Logical::Set, Value::Set(members)) => {
            let label = |member: &Value| matches!(member, Value::Text(text) if !text.is_empty() && !text.contains(','));
            if members.iter().all(label) {
                Ok(Cell::Tree(tree))
            } else {
                Err(Cow::Borrowed("a set with members that are no labels"))
            }
        }
        (_, Value::List(_)) => Err(no("a list", to)),
        (_, Value::Set(_)) => Err(no("a set", to)),
        _ => Err(no("a map", to)),
    }
}

fn json(bytes: &[u8]) -> Result<Cell<'static>, Loss> {
    Value::parse_json(bytes).map(from_value).map_err(|wrong| match wrong {
        JsonError::Syntax { .. } => Loss::from("a text that is no JSON"),
        JsonError::TooMany | JsonError::Number(_) => Cow::Owned(wrong.to_string()),
    })
}

fn labels(text: &str) -> Value {
    let mut labels: Vec<_> = text.split(',').filter(|label| !label.is_empty()).collect();
    labels.sort_unstable();
    labels.dedup();
    Value::Set(labels.into_iter().map(|label| Value::Text(label.to_owned())).collect())
}

fn write_labels(tree: &Value, out: &mut Vec<u8>) {
    let Value::Set(members) = tree else { return };
    let mut labels: Vec<_> = members
        .iter()
        .filter_map(|member| match member {
            Value::Text(label) => Some(label.as_str()),
            _ => None,
        })
        .collect();
    labels.sort_unstable();
    labels.dedup();
    out.extend_from_slice(labels.join(",").as_bytes());
}

fn write_integers(cells: &[Cell<'_>]) -> Column {
    let whole = |cell: &Cell<'_>| match cell {
        Cell::Number(number) => number.to_integer(),
        _ => None,
    };
    Column::of_integers(&cells.iter().map(whole).collect::<Vec<_>>())
}

fn encode(cell: &Cell<'_>, out: &mut Vec<u8>) {
    match cell {
        Cell::Absent | Cell::Null => cbor::null(out),
        Cell::Bool(value) => cbor::bool(out, *value),
        Cell::Number(number) => cbor::number(out, *number),
        Cell::Float(value) => cbor::float(out, *value),
        Cell::Text(text) => cbor::text(out, text),
        Cell::Bytes(bytes) => cbor::bytes(out, bytes),
        Cell::Timestamp(micros) => cbor::timestamp(out, *micros),
        Cell::DateTime(micros) => cbor::datetime(out, *micros),
        Cell::Date(days) => cbor::date(out, *days),
        Cell::Time(micros) => cbor::time(out, *micros),
        Cell::Tree(tree) => tree.encode(out),
    }
}

fn write_json(cell: &Cell<'_>, out: &mut Vec<u8>) -> Result<(), Loss> {
    let mut plain = |text: &str| out.extend_from_slice(text.as_bytes());
    match cell {
        Cell::Null => plain("null"),
        Cell::Bool(value) => plain(if *value { "true" } else { "false" }),
        Cell::Number(number) => plain(&number.to_string()),
        Cell::Text(text) => plain(&quoted(text)),
        Cell::Tree(tree) => return write_json_tree(tree, out),
        _ => return Err(Cow::Borrowed("a value that JSON has no type for")),
    }
    Ok(())
}

fn write_json_tree(value: &Value, out: &mut Vec<u8>) -> Result<(), Loss> {
    match value {
        Value::Null => write_json(&Cell::Null, out),
        Value::Bool(value) => write_json(&Cell::Bool(*value), out),
        Value::Number(number) => write_json(&Cell::Number(*number), out),
        Value::Text(text) => write_json(&Cell::Text(Cow::Borrowed(text)), out),
        Value::List(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_json_tree(item, out)?;
            }
            out.push(b']');
            Ok(())
        }
        Value::Map(pairs) => write_json_map(pairs, out),
        _ => Err(Cow::Borrowed("a value inside it that JSON has no type for")),
    }
}

fn write_json_map(pairs: &BTreeMap<String, Value>, out: &mut Vec<u8>) -> Result<(), Loss> {
    out.push(b'{');
    for (index, (key, value)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(quoted(key).as_bytes());
        out.push(b':');
        write_json_tree(value, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
