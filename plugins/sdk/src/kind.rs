//! Kinds of columns and fields.
//!
//! Owns how a cell of each logical type is read from every layout that it comes in, and written.
//! Refuses conversions that guess: text is no number, a float no decimal. Invariant: what a kind reads
//! is what it writes.

use crate::cell::{self, Cell, Found, Wrong};
use crate::column::{Build, Bytes, Floats, Ints, Uints};
use crate::decimal::Decimal;
use crate::json;
use crate::time::{self, Date, DateTime, Time, Timestamp};
use crate::wire::{Buffer, Column};

/// How a column holds its cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(hidden)]
pub enum Form {
    /// In the layout of the kind.
    Own,
    /// In the layout of another type, which the kind reads: whole numbers as decimals, bytes as cells.
    Other,
    /// As text.
    Text,
    /// As dynamically typed cells.
    Value,
}

/// What it takes to make a field of a column.
#[derive(Clone, Copy)]
#[doc(hidden)]
pub enum Pass {
    /// The column is the field.
    Move,
    /// It is, once every cell of it passed.
    Check(fn(&[u8]) -> bool),
    /// Every cell is read and written.
    Build,
}

/// A kind of column or field: what a cell of it is in Rust. The kinds are [`Boolean`], [`Integer`],
/// [`Unsigned`], [`Decimal`], [`Float`], [`Text`], [`Binary`], [`Timestamp`], [`DateTime`], [`Date`], [`Time`],
/// [`Json`] and [`Value`].
///
/// ```
/// use driftd_plugin::{Kind, Text};
///
/// assert_eq!(Text::LOGICAL, "text");
/// ```
pub trait Kind: Copy + 'static {
    /// What a cell is in Rust.
    type Value<'a>;
    /// The logical type of a field of this kind.
    const LOGICAL: &'static str;
    /// The logical types of columns that can be read as this kind.
    const ACCEPTS: &'static [&'static str];
    /// The name of the method that reads it.
    #[doc(hidden)]
    const NAME: &'static str = Self::LOGICAL;
    #[doc(hidden)]
    type Raw<'a>: Copy;
    #[doc(hidden)]
    type Builder: Build;
    #[doc(hidden)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<Self::Raw<'_>>;
    #[doc(hidden)]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>>;
    #[doc(hidden)]
    fn push(out: &mut Self::Builder, raw: Option<Self::Raw<'_>>);
    #[doc(hidden)]
    fn pass(form: Form) -> Pass {
        match form {
            Form::Own => Pass::Move,
            Form::Other | Form::Text | Form::Value => Pass::Build,
        }
    }
}

macro_rules! kind {
    ($(#[$about:meta])* $kind:ident) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug)]
        pub enum $kind {}
    };
}

kind! {
    /// True or false: `bool`.
    ///
    /// ```
    /// use driftd_plugin::{Boolean, Kind};
    ///
    /// let value: <Boolean as Kind>::Value<'_> = true;
    /// assert_eq!(Boolean::ACCEPTS, ["integer", "boolean"]);
    /// ```
    Boolean
}
kind! {
    /// A whole number: `i64`. A column of larger unsigned numbers passes as it is, and is read as
    /// [`Unsigned`], or as [`Decimal`].
    ///
    /// ```
    /// use driftd_plugin::{Integer, Kind};
    ///
    /// let value: <Integer as Kind>::Value<'_> = 7;
    /// assert_eq!(Integer::LOGICAL, "integer");
    /// ```
    Integer
}
kind! {
    /// A whole number that is never negative: `u64`, such as an id of `BIGINT UNSIGNED`.
    ///
    /// ```
    /// use driftd_plugin::{Kind, Unsigned};
    ///
    /// let value: <Unsigned as Kind>::Value<'_> = 9_223_372_036_854_775_809;
    /// assert_eq!(Unsigned::LOGICAL, "integer");
    /// ```
    Unsigned
}
kind! {
    /// A binary floating-point number: `f64`.
    ///
    /// ```
    /// use driftd_plugin::{Float, Kind};
    ///
    /// let value: <Float as Kind>::Value<'_> = 0.5;
    /// assert_eq!(Float::LOGICAL, "float");
    /// ```
    Float
}
kind! {
    /// Text: `&str`. Labels of an enumeration or a set are text too.
    ///
    /// ```
    /// use driftd_plugin::{Kind, Text};
    ///
    /// let value: <Text as Kind>::Value<'_> = "Ada";
    /// assert_eq!(Text::ACCEPTS, ["text", "enum", "set", "json"]);
    /// ```
    Text
}
kind! {
    /// Bytes: `&[u8]`.
    ///
    /// ```
    /// use driftd_plugin::{Binary, Kind};
    ///
    /// let value: <Binary as Kind>::Value<'_> = &[0, 255];
    /// assert_eq!(Binary::LOGICAL, "binary");
    /// ```
    Binary
}
kind! {
    /// A JSON text: `&str`.
    ///
    /// ```
    /// use driftd_plugin::{Json, Kind};
    ///
    /// let value: <Json as Kind>::Value<'_> = "{}";
    /// assert_eq!(Json::LOGICAL, "json");
    /// ```
    Json
}
kind! {
    /// A dynamically typed cell: [`Cell`].
    ///
    /// ```
    /// use driftd_plugin::{Cell, Kind, Value};
    ///
    /// let value: <Value as Kind>::Value<'_> = Cell::Integer(7);
    /// assert_eq!(Value::LOGICAL, "value");
    /// ```
    Value
}

/// The bytes of a cell in a dynamically typed column; none where it is absent.
#[inline(always)]
fn dynamic<'a, T>(
    column: &'a Column,
    row: usize,
    read: impl FnOnce(&'a [u8]) -> Found<T>,
) -> Found<T> {
    column.bytes(row).map_or(Ok(None), read)
}

/// What `pick` finds in a cell of any type.
fn picked<'a, T>(bytes: &'a [u8], pick: impl FnOnce(Cell<'a>) -> Option<T>) -> Found<T> {
    match Cell::read(bytes) {
        Some(Cell::Null) => Ok(None),
        cell => cell.and_then(pick).map(Some).ok_or(Wrong),
    }
}

impl Kind for Boolean {
    type Value<'a> = bool;
    type Raw<'a> = bool;
    type Builder = Ints;
    const LOGICAL: &'static str = "boolean";
    const ACCEPTS: &'static [&'static str] = &["integer", "boolean"];

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<bool> {
        match form {
            Form::Value => dynamic(column, row, |bytes| {
                picked(bytes, |cell| match cell {
                    Cell::Boolean(value) => Some(value),
                    _ => None,
                })
            }),
            _ => match column.whole::<i64>(row) {
                Ok(value) => Ok(value.map(|value| value != 0)),
                // Too large to be zero.
                Err(Wrong) => Ok(Some(true)),
            },
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        Ok(Some(raw))
    }

    #[inline(always)]
    fn push(out: &mut Ints, raw: Option<bool>) {
        out.push(raw.map(i64::from));
    }

    // An integer above one is true as well, but no boolean.
    fn pass(_: Form) -> Pass {
        Pass::Build
    }
}

impl Kind for Integer {
    type Value<'a> = i64;
    type Raw<'a> = i64;
    type Builder = Ints;
    const LOGICAL: &'static str = "integer";
    const ACCEPTS: &'static [&'static str] = &["integer"];

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<i64> {
        match (form, &column.values) {
            (Form::Value, _) => dynamic(column, row, cell::integer),
            (_, Buffer::Int64(_)) => Ok(column.int(row)),
            _ => column.whole(row),
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        Ok(Some(raw))
    }

    #[inline(always)]
    fn push(out: &mut Ints, raw: Option<i64>) {
        out.push(raw);
    }
}

impl Kind for Unsigned {
    type Value<'a> = u64;
    type Raw<'a> = u64;
    type Builder = Uints;
    const LOGICAL: &'static str = "integer";
    const ACCEPTS: &'static [&'static str] = &["integer"];
    const NAME: &'static str = "unsigned";

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<u64> {
        match form {
            Form::Value => dynamic(column, row, cell::unsigned),
            _ => column.whole(row),
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        Ok(Some(raw))
    }

    #[inline(always)]
    fn push(out: &mut Uints, raw: Option<u64>) {
        out.push(raw);
    }
}

impl Kind for Float {
    type Value<'a> = f64;
    type Raw<'a> = f64;
    type Builder = Floats;
    const LOGICAL: &'static str = "float";
    const ACCEPTS: &'static [&'static str] = &["float", "float32"];

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<f64> {
        match form {
            Form::Value => dynamic(column, row, |bytes| {
                picked(bytes, |cell| match cell {
                    Cell::Float(value) => Some(value),
                    _ => None,
                })
            }),
            _ => Ok(column.float(row)),
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        Ok(Some(raw))
    }

    #[inline(always)]
    fn push(out: &mut Floats, raw: Option<f64>) {
        out.push(raw);
    }
}

impl Kind for Decimal {
    type Value<'a> = Self;
    type Raw<'a> = Self;
    type Builder = Bytes;
    const LOGICAL: &'static str = "decimal";
    const ACCEPTS: &'static [&'static str] = &["decimal", "text", "integer"];

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<Self> {
        match (form, &column.values) {
            (Form::Value, _) => dynamic(column, row, |bytes| picked(bytes, |cell| cell.decimal())),
            (_, Buffer::Uint64(_)) => Ok(column.whole::<u64>(row)?.map(Self::from)),
            (_, Buffer::Int64(_)) => Ok(column.int(row).map(Self::from)),
            _ => match column.bytes(row) {
                Some(text) => Self::read(text).map(Some).ok_or(Wrong),
                None => Ok(None),
            },
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        Ok(Some(raw))
    }

    #[inline(always)]
    fn push(out: &mut Bytes, raw: Option<Self>) {
        match raw {
            Some(decimal) => {
                let written: Result<(), Wrong> = out.write(|out| {
                    decimal.write(out);
                    Ok(true)
                });
                debug_assert_eq!(written, Ok(()));
            }
            None => out.push(None),
        }
    }

    fn pass(form: Form) -> Pass {
        match form {
            Form::Own => Pass::Move,
            Form::Text => Pass::Check(Self::is_written),
            Form::Other | Form::Value => Pass::Build,
        }
    }
}

macro_rules! counted {
    ($kind:ident, $logical:literal, $accepts:expr, $read:path, $from:ident, $count:ident) => {
        impl Kind for $kind {
            type Value<'a> = Self;
            type Raw<'a> = i64;
            type Builder = Ints;
            const LOGICAL: &'static str = $logical;
            const ACCEPTS: &'static [&'static str] = $accepts;

            #[inline(always)]
            fn raw(column: &Column, form: Form, row: usize) -> Found<i64> {
                let text = |text| $read(text).map(Some).ok_or(Wrong);
                match form {
                    Form::Own | Form::Other => Ok(column.int(row)),
                    Form::Text => dynamic(column, row, text),
                    Form::Value => dynamic(column, row, |bytes| match cell::text(bytes) {
                        Ok(found) => found.map_or(Ok(None), text),
                        Err(Wrong) => picked(bytes, |cell| match cell {
                            Cell::$kind(value) => Some(value.$count()),
                            _ => None,
                        }),
                    }),
                }
            }

            #[inline]
            fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
                Ok(Some(Self::$from(raw)))
            }

            #[inline(always)]
            fn push(out: &mut Ints, raw: Option<i64>) {
                out.push(raw);
            }
        }
    };
}
counted!(Date, "date", &["date", "text"], time::date, from_days, days);
counted!(DateTime, "datetime", &["datetime", "text"], time::datetime, from_micros, micros);
counted!(Time, "time", &["time", "text"], time::time, from_micros, micros);
counted!(
    Timestamp,
    "timestamp",
    &["timestamp", "datetime", "text"],
    time::timestamp,
    from_micros,
    micros
);

macro_rules! bytes {
    ($kind:ident, $value:ty, $logical:literal, $accepts:expr, $dynamic:expr, $value_of:expr) => {
        impl Kind for $kind {
            type Value<'a> = $value;
            type Raw<'a> = &'a [u8];
            type Builder = Bytes;
            const LOGICAL: &'static str = $logical;
            const ACCEPTS: &'static [&'static str] = $accepts;

            #[inline(always)]
            fn raw(column: &Column, form: Form, row: usize) -> Found<&[u8]> {
                match form {
                    Form::Value => dynamic(column, row, $dynamic),
                    _ => Ok(column.bytes(row)),
                }
            }

            #[inline]
            fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
                $value_of(raw)
            }

            #[inline(always)]
            fn push(out: &mut Bytes, raw: Option<&[u8]>) {
                out.push(raw);
            }
        }
    };
}

fn utf8(bytes: &[u8]) -> Found<&str> {
    std::str::from_utf8(bytes).map(Some).map_err(|_| Wrong)
}

bytes!(Text, &'a str, "text", &["text", "enum", "set", "json"], cell::text, utf8);
bytes!(
    Binary,
    &'a [u8],
    "binary",
    &["binary"],
    |bytes| picked(bytes, |cell| match cell {
        Cell::Bytes(bytes) => Some(bytes),
        _ => None,
    }),
    |bytes| Ok(Some(bytes))
);

impl Kind for Json {
    type Value<'a> = &'a str;
    type Raw<'a> = &'a [u8];
    type Builder = Bytes;
    const LOGICAL: &'static str = "json";
    const ACCEPTS: &'static [&'static str] = &["json", "text"];

    #[inline(always)]
    fn raw(column: &Column, form: Form, row: usize) -> Found<&[u8]> {
        let text = match form {
            Form::Value => dynamic(column, row, cell::text)?,
            _ => column.bytes(row),
        };
        // What a store keeps as JSON is some; a text may be anything.
        match text {
            Some(text) if form != Form::Own && !json::is_json(text) => Err(Wrong),
            text => Ok(text),
        }
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        utf8(raw)
    }

    #[inline(always)]
    fn push(out: &mut Bytes, raw: Option<&[u8]>) {
        out.push(raw);
    }

    fn pass(form: Form) -> Pass {
        match form {
            Form::Own => Pass::Move,
            Form::Text => Pass::Check(json::is_json),
            Form::Other | Form::Value => Pass::Build,
        }
    }
}

impl Kind for Value {
    type Value<'a> = Cell<'a>;
    type Raw<'a> = &'a [u8];
    type Builder = Bytes;
    const LOGICAL: &'static str = "value";
    // A binary column is read as the CBOR of a value: that is how a table may keep dynamic cells.
    const ACCEPTS: &'static [&'static str] = &["value", "binary"];

    #[inline(always)]
    fn raw(column: &Column, _: Form, row: usize) -> Found<&[u8]> {
        Ok(column.bytes(row))
    }

    #[inline]
    fn value<'a>(raw: Self::Raw<'a>) -> Found<Self::Value<'a>> {
        // Whole numbers are the most common, and the cheapest to tell.
        if let Ok(Some(integer)) = cell::integer(raw) {
            return Ok(Some(Cell::Integer(integer)));
        }
        match Cell::read(raw) {
            Some(Cell::Null) => Ok(None),
            cell => cell.map(Some).ok_or(Wrong),
        }
    }

    #[inline(always)]
    fn push(out: &mut Bytes, raw: Option<&[u8]>) {
        out.push(raw);
    }

    fn pass(form: Form) -> Pass {
        match form {
            // Bytes may be anything.
            Form::Other => Pass::Check(cell::is_cell),
            Form::Own | Form::Text | Form::Value => Pass::Move,
        }
    }
}
