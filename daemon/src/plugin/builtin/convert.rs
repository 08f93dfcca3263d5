//! Putting the cells of a column into the type of a field.
//!
//! Owns how a cell becomes one of a field's type, where the table of types (`types`) has it. Refuses
//! what would lose something: such a cell has a [`Loss`], which names the reason and never the value.
//! Invariant: two cells that a field calls different before the conversion are different after it, but
//! for what its type cannot tell apart anyway (`1` and `1.0` as numbers).

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "tables of what is possible: a type that is not listed, a future one too, is refused"
)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

use super::types::{Kind, Meets, kind_of, meets, written};
use crate::model::{
    Buffer, Column, ColumnBuilder, JsonError, Logical, Number, NumberError, Rule, Value, cbor,
    single, text,
};

/// How cells of one type become cells of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conversion {
    /// The column's type.
    pub(super) from: Logical,
    /// The field's type.
    pub(super) to: Logical,
    /// The field was declared to be of that type, so that what a column of another type holds is taken
    /// for values of it: local date-times for those in UTC, texts for numbers.
    pub(super) declared: bool,
    /// The field's cells are dynamically typed, so that absent and null stay apart, and a cell of
    /// another type than the field is compared as what it is.
    pub(super) dynamic: bool,
    /// The field is compared, so that the type of a cell counts. What identifies an entity, or says its
    /// version, says the same in another type.
    pub(super) compared: bool,
    /// The field's declared equivalences.
    pub(super) rules: Vec<Rule>,
}

/// Why a cell cannot be converted.
pub(super) type Loss = Cow<'static, str>;

/// A cell on its way from one type to another.
enum Cell<'a> {
    /// Not there at all; only a dynamically typed cell can be.
    Absent,
    Null,
    /// The JSON document `null`.
    JsonNull,
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

impl Cell<'_> {
    /// What it is; none: it holds no value.
    const fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Absent | Self::Null => return None,
            Self::JsonNull => Kind::JsonNull,
            Self::Bool(_) => Kind::Boolean,
            Self::Number(_) => Kind::Number,
            Self::Float(_) => Kind::Float,
            Self::Text(_) => Kind::Text,
            Self::Bytes(_) => Kind::Bytes,
            Self::Timestamp(_) => Kind::Timestamp,
            Self::DateTime(_) => Kind::DateTime,
            Self::Date(_) => Kind::Date,
            Self::Time(_) => Kind::Time,
            Self::Tree(Value::List(_)) => Kind::List,
            Self::Tree(Value::Map(_)) => Kind::Map,
            Self::Tree(_) => Kind::Set,
        })
    }

    /// What it is, for messages.
    const fn shown(&self) -> &'static str {
        match self {
            Self::Absent | Self::Null => "null",
            Self::JsonNull => "the JSON document null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "binary",
            Self::Timestamp(_) => "an instant",
            Self::DateTime(_) => "a date-time without time zone",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::Tree(Value::List(_)) => "a list",
            Self::Tree(Value::Map(_)) => "a map",
            Self::Tree(_) => "a set",
        }
    }
}

impl Conversion {
    /// Whether any value at all can be converted.
    pub(super) fn is_possible(&self) -> bool {
        match (self.from, self.to) {
            (Logical::Value, _) | (_, Logical::Value) | (Logical::Json, Logical::Json) => true,
            // A document is no text, and no number: it may hold any of them.
            (Logical::Json, _) => false,
            // Nor is a text a document, unless that is said.
            (Logical::Text | Logical::Enum, Logical::Json) => self.texts_are_json(),
            (from, to) => kind_of(from).is_some_and(|kind| self.takes(meets(kind, to))),
        }
    }

    /// What to write so that the column can be taken, if anything.
    pub(super) fn remedy(&self) -> Option<String> {
        match (self.from, self.to) {
            (Logical::Text | Logical::Enum, Logical::Json) | (Logical::Json, Logical::Text) => {
                return Some("where the texts are JSON, write `type = \"json\"`".to_owned());
            }
            _ => {}
        }
        let write = match meets(kind_of(self.from)?, self.to) {
            Meets::Ruled(rules) => written(rules),
            Meets::Declared => format!("`type = \"{}\"`", self.to),
            Meets::Alike | Meets::Rounded | Meets::Whole | Meets::Read | Meets::Differs => {
                return None;
            }
        };
        Some(stands_for(&write))
    }

    fn has(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// Whether texts are documents of JSON.
    const fn texts_are_json(&self) -> bool {
        self.declared || !self.compared
    }

    /// Whether a cell is taken for a value of another type because the whole column, or what the field
    /// is for, says so.
    fn coerces(&self) -> bool {
        !self.compared || self.declared && self.from != Logical::Value
    }

    /// Whether a cell that meets the field so is taken for a value of it.
    fn takes(&self, meets: Meets) -> bool {
        match meets {
            Meets::Alike | Meets::Rounded | Meets::Whole | Meets::Read => true,
            Meets::Ruled(rules) => {
                rules.iter().any(|rule| self.has(*rule))
                    || self.coerces() && rules.iter().any(|rule| coercible(*rule))
            }
            Meets::Declared => self.declared && self.coerces(),
            Meets::Differs => false,
        }
    }

    /// Whether a column is the field's column as it is.
    pub(super) fn is_nothing(&self) -> bool {
        self.from == self.to && (!self.dynamic || self.from == Logical::Value)
    }

    /// Converts the cells of `column`. Calls `lose` for each row that cannot be converted; its cell
    /// is then a placeholder.
    pub(super) fn convert(&self, column: &Column, mut lose: impl FnMut(usize, Loss)) -> Column {
        if self.is_nothing() && !has_wide_numbers(self.from) {
            return column.clone();
        }
        let rows = column.values.len();
        let mut cells = Vec::with_capacity(rows);
        for row in 0..rows {
            cells.push(
                read(column, row, (self.from, self.to))
                    .and_then(|cell| self.cast(cell))
                    .unwrap_or_else(|loss| {
                        lose(row, loss);
                        Cell::Absent
                    }),
            );
        }
        if self.is_nothing() {
            return column.clone();
        }
        self.write(&cells, lose)
    }

    fn cast<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        let Some(kind) = cell.kind() else { return Ok(cell) };
        if let (Cell::Text(text), Logical::Json) = (&cell, self.to)
            && self.from != Logical::Json
            && self.texts_are_json()
        {
            return json(text.as_bytes());
        }
        if self.to == Logical::Value || self.from == Logical::Json {
            return Ok(cell);
        }
        match meets(kind, self.to) {
            Meets::Alike => self.alike(cell),
            Meets::Rounded => self.rounded(cell),
            Meets::Whole => self.whole(cell),
            Meets::Read => self.read(cell),
            // The zero is the same in every time zone.
            Meets::Declared
                if matches!(cell, Cell::Timestamp(i64::MIN) | Cell::DateTime(i64::MIN)) =>
            {
                self.coerced(cell)
            }
            meets if self.takes(meets) => self.coerced(cell),
            Meets::Ruled(rules) => {
                let why = format!("{}; {}", self.unlike(&cell), stands_for(&written(rules)));
                self.misfit(cell, Some(Cow::Owned(why)))
            }
            _ => self.misfit(cell, None),
        }
    }

    /// What a cell is where the field has another type.
    fn unlike(&self, cell: &Cell<'_>) -> String {
        format!("{} where the field is of type {}", cell.shown(), self.to)
    }

    /// A cell that is no value of the field: it differs from all of them, which the comparison finds,
    /// or has no place in a column of the field's type.
    fn misfit<'a>(&self, cell: Cell<'a>, why: Option<Loss>) -> Result<Cell<'a>, Loss> {
        if self.dynamic {
            return Ok(cell);
        }
        Err(why.unwrap_or_else(|| Cow::Owned(self.unlike(&cell))))
    }

    /// A cell of the field's type, of which not every value may be one of the field's.
    fn alike<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        match (&cell, self.to) {
            (Cell::Number(number), Logical::Integer) => match number.to_integer() {
                Some(whole) if i64::try_from(whole).is_ok() || u64::try_from(whole).is_ok() => {
                    Ok(cell)
                }
                Some(_) => self.misfit(cell, Some(Cow::Borrowed("an integer beyond 64 bits"))),
                None => self.misfit(cell, Some(Cow::Borrowed("a number that is no integer"))),
            },
            (Cell::Tree(Value::Set(members)), Logical::Set) => {
                let label = |member: &Value| matches!(member, Value::Text(text) if !text.is_empty() && !text.contains(','));
                if members.iter().all(label) {
                    return Ok(cell);
                }
                self.misfit(cell, Some(Cow::Borrowed("a set with members that are no labels")))
            }
            _ => Ok(cell),
        }
    }

    /// A number or float as the float that the field's values are.
    fn rounded<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        let narrow = self.to == Logical::Float32;
        let float = match &cell {
            Cell::Number(number) if narrow => number.to_single(),
            Cell::Number(number) => number.to_f64(),
            Cell::Float(value) if narrow => return Ok(Cell::Float(single(*value))),
            _ => return Ok(cell),
        };
        if float.is_finite() {
            return Ok(Cell::Float(float));
        }
        // Beyond all floats is not infinite.
        self.misfit(cell, Some(Cow::Borrowed("a number beyond all floats")))
    }

    /// A float that is a whole number. Beyond 2^53 a double does not say which integer was meant.
    fn whole<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        match cell {
            Cell::Float(value)
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
            {
                let whole = Number::parse(&format!("{value}"));
                whole.map(Cell::Number).map_err(|wide| Cow::Owned(wide.to_string()))
            }
            other => self.misfit(other, None),
        }
    }

    /// A text in the form of the field's values.
    fn read<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        let Cell::Text(text) = cell else { return Ok(cell) };
        let wrong = |what: &'static str| Loss::from(what);
        match self.to {
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
            _ => match labels(&text) {
                Value::Set(labels) if labels.len() == text.split_terminator(',').count() => {
                    Ok(Cell::Tree(Value::Set(labels)))
                }
                _ => Err(wrong("a text that is no list of different labels")),
            },
        }
    }

    /// A cell of another type that stands for a value of the field, because the configuration says so.
    fn coerced<'a>(&self, cell: Cell<'a>) -> Result<Cell<'a>, Loss> {
        let ruled = !self.coerces();
        match (cell, self.to) {
            (
                Cell::Text(text),
                Logical::Integer | Logical::Decimal | Logical::Float | Logical::Float32,
            ) => self.number_of(text, ruled),
            // The rules are for the comparison, which knows them: here are no other types than theirs.
            (cell, _) if ruled && self.dynamic => Ok(cell),
            (Cell::Text(text), Logical::Boolean) => match text::read_bool(&text) {
                Some(value) => Ok(Cell::Bool(value)),
                None => Err(Cow::Borrowed("a text that is neither true nor false")),
            },
            (Cell::Text(text), Logical::Binary) => {
                let read = [
                    (Rule::TextIsHex, text::read_hex as fn(&str) -> _),
                    (Rule::TextIsBase64, text::read_base64),
                ];
                let bytes = read
                    .iter()
                    .filter(|(rule, _)| self.has(*rule))
                    .find_map(|(_, read)| read(&text));
                let bytes = bytes.ok_or(Cow::Borrowed("a text that writes no bytes"))?;
                Ok(Cell::Bytes(Cow::Owned(bytes)))
            }
            (Cell::Number(number), Logical::Boolean) => match number.to_integer() {
                Some(0) => Ok(Cell::Bool(false)),
                Some(1) => Ok(Cell::Bool(true)),
                _ => Err(Cow::Borrowed("a number that is neither 0 nor 1 for a boolean")),
            },
            (Cell::Number(number), Logical::Text | Logical::Enum) => {
                Ok(Cell::Text(Cow::Owned(number.to_string())))
            }
            (Cell::Bool(value), Logical::Text | Logical::Enum) => {
                Ok(Cell::Text(Cow::Borrowed(if value { "true" } else { "false" })))
            }
            (Cell::Bool(value), Logical::Integer | Logical::Decimal) => {
                Ok(Cell::Number(i64::from(value).into()))
            }
            (Cell::Bytes(bytes), Logical::Boolean) => match bytes.as_ref() {
                [bit @ (0 | 1)] => Ok(Cell::Bool(*bit == 1)),
                _ => Err(Cow::Borrowed("binary that is no single bit")),
            },
            (Cell::Timestamp(micros), Logical::DateTime) => Ok(Cell::DateTime(micros)),
            (Cell::DateTime(micros), Logical::Timestamp) => Ok(Cell::Timestamp(micros)),
            (Cell::JsonNull, _) => Ok(Cell::Null),
            (cell, _) => self.misfit(cell, None),
        }
    }

    /// The number that a text writes. `ruled`: by a rule, in the forms in which stores write numbers.
    fn number_of<'a>(&self, text: Cow<'a, str>, ruled: bool) -> Result<Cell<'a>, Loss> {
        let number = if ruled {
            match text::read_number(&text) {
                Some(number) => number,
                None => return self.misfit(Cell::Text(text), None),
            }
        } else {
            Number::parse(&text).map_err(|error| match error {
                NumberError::Syntax => Loss::from("a text that is no number"),
                wide @ (NumberError::TooManyDigits | NumberError::Exponent) => {
                    Cow::Owned(wide.to_string())
                }
            })?
        };
        match meets(Kind::Number, self.to) {
            Meets::Rounded => self.rounded(Cell::Number(number)),
            _ => self.alike(Cell::Number(number)),
        }
    }

    fn write(&self, cells: &[Cell<'_>], mut lose: impl FnMut(usize, Loss)) -> Column {
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
                // None but a column of JSON has a place for it, and that was written.
                Cell::JsonNull => builder.push_null(),
            }
        }
        builder.finish()
    }
}

/// Types whose cells may hold numbers that no canonical value can.
const fn has_wide_numbers(logical: Logical) -> bool {
    matches!(logical, Logical::Decimal | Logical::Json)
}

fn read(column: &Column, row: usize, (from, to): (Logical, Logical)) -> Result<Cell<'_>, Loss> {
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
            // As text, a number of any width is what the store writes.
            Err(NumberError::TooManyDigits) if to == Logical::Text => {
                Ok(Cell::Text(Cow::Borrowed(text()?)))
            }
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
        Value::JsonNull => Cell::JsonNull,
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

/// The way out where values of two types mean the same.
fn stands_for(write: &str) -> String {
    format!("where one stands for the other, write {write}")
}

/// Whether a column's declared type says as much as the rule.
const fn coercible(rule: Rule) -> bool {
    matches!(rule, Rule::TextIsNumber | Rule::TextIsBool | Rule::NumberIsBool)
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
        Cell::JsonNull => cbor::json_null(out),
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
        Cell::Null | Cell::JsonNull => plain("null"),
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
        Value::Null | Value::JsonNull => write_json(&Cell::Null, out),
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
