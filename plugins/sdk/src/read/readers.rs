//! What can be made of a column.
//!
//! Owns the readers that the methods of [`Read`] give. Refuses allocation in the good case: only why a row
//! cannot be mapped is made of words. Invariant: null stays null, unless a closure says otherwise.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::{Get, IntoCell, Read};
use crate::cell::{Cell, CellWriter, Wrong};
use crate::column::{Build, Bytes, Ints, parsed};
use crate::decimal::Decimal;
use crate::json;
use crate::kind::{Boolean, Integer, Kind, Text, Value};
use crate::row::{Reject, Result, Row, no_such_integer};

fn value<R: Get>(
    read: &R,
    row: Row<'_>,
    then: impl FnOnce(Option<<R::Kind as Kind>::Value<'_>>) -> Result<()>,
) -> Result<()> {
    match read.raw(row)? {
        None => then(None),
        Some(raw) => match R::Kind::value(raw) {
            Ok(value) => then(value),
            Err(Wrong) => Err(read.is_no(row)),
        },
    }
}

/// Made by [`Read::map`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Map<R, F> {
    pub(super) read: R,
    pub(super) f: F,
}

impl<R, T, F> Read for Map<R, F>
where
    R: Get,
    T: IntoCell,
    F: for<'a> Fn(<R::Kind as Kind>::Value<'a>) -> T + 'static,
{
    type Kind = T::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <T::Kind as Kind>::Builder) -> Result<()> {
        value(&self.read, row, |value| {
            value.map(&self.f).push_into(out);
            Ok(())
        })
    }
}

/// Made by [`Read::try_map`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct TryMap<R, F> {
    pub(super) read: R,
    pub(super) f: F,
}

impl<R, T, F> Read for TryMap<R, F>
where
    R: Get,
    T: IntoCell,
    F: for<'a> Fn(<R::Kind as Kind>::Value<'a>) -> Result<T> + 'static,
{
    type Kind = T::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <T::Kind as Kind>::Builder) -> Result<()> {
        value(&self.read, row, |value| {
            value.map(&self.f).transpose()?.push_into(out);
            Ok(())
        })
    }
}

/// Made by [`Read::text`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct TextOf<R, F> {
    pub(super) read: R,
    pub(super) f: F,
}

impl<R, F> Read for TextOf<R, F>
where
    R: Get<Kind = Value>,
    F: for<'a> Fn(Cell<'a>) -> Result<Cow<'a, str>> + 'static,
{
    type Kind = Text;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        value(&self.read, row, |value| {
            value.map(&self.f).transpose()?.push_into(out);
            Ok(())
        })
    }
}

/// Made by [`Read::rewrite`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Rewrite<R, F> {
    pub(super) read: R,
    pub(super) f: F,
}

impl<R, F> Read for Rewrite<R, F>
where
    R: Get<Kind = Text>,
    F: for<'a> Fn(&'a str) -> Result<Cow<'a, str>> + 'static,
{
    type Kind = Text;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        value(&self.read, row, |value| {
            value.map(&self.f).transpose()?.push_into(out);
            Ok(())
        })
    }
}

/// Whether a text begins like this. A prefix is short: a call to compare it costs more than it does.
#[inline]
fn begins(text: &[u8], prefix: &str) -> bool {
    text.len() >= prefix.len() && text.iter().zip(prefix.as_bytes()).all(|(one, two)| one == two)
}

/// Made by [`Read::after`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct After<R> {
    pub(super) read: R,
    pub(super) prefix: &'static str,
}

impl<R: Get<Kind = Text>> Read for After<R> {
    type Kind = Text;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        out.push(self.raw(row)?);
        Ok(())
    }

    fn label(&self, row: Row<'_>) -> String {
        self.read.label(row)
    }
}

impl<R: Get<Kind = Text>> Get for After<R> {
    #[inline(always)]
    fn raw<'a>(&self, row: Row<'a>) -> Result<Option<&'a [u8]>> {
        let Some(text) = self.read.raw(row)? else { return Ok(None) };
        if begins(text, self.prefix) {
            return Ok(Some(&text[self.prefix.len()..]));
        }
        Err(refused(&self.label(row), "does not begin with", self.prefix))
    }
}

#[cold]
#[inline(never)]
fn refused(label: &str, why: &str, what: &str) -> Reject {
    Reject::from(format!("{label} {why} {what}").trim_end().to_owned())
}

/// Made by [`Read::starts_with`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct StartsWith<R> {
    pub(super) read: R,
    pub(super) prefix: &'static str,
}

impl<R: Get<Kind = Text>> Read for StartsWith<R> {
    type Kind = Boolean;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Ints) -> Result<()> {
        let text = self.read.raw(row)?;
        let starts = text.is_some_and(|text| begins(text, self.prefix));
        out.push(Some(i64::from(starts)));
        Ok(())
    }
}

/// Made by [`Read::parse_integer`] and [`Read::parse_decimal`].
pub(super) struct Parse<R, F> {
    pub(super) read: R,
    pub(super) parse: F,
    pub(super) kind: &'static str,
}

/// Reads a whole number in decimal digits.
#[inline]
pub(super) fn whole(text: &[u8]) -> Option<i64> {
    let (digits, negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        [b'+', digits @ ..] => (digits, false),
        digits => (digits, false),
    };
    if digits.is_empty() || digits.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let mut number = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(if negative { -number } else { number })
}

impl<R, T, F> Read for Parse<R, F>
where
    R: Get<Kind = Text>,
    T: IntoCell,
    F: Fn(&[u8]) -> Option<T> + 'static,
{
    type Kind = T::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <T::Kind as Kind>::Builder) -> Result<()> {
        let parsed = match self.read.raw(row)? {
            None => None,
            Some(text) => match (self.parse)(text) {
                None => return Err(unparsed(&self.read.label(row), self.kind, text)),
                parsed => parsed,
            },
        };
        parsed.push_into(out);
        Ok(())
    }
}

#[cold]
#[inline(never)]
fn unparsed(label: &str, kind: &str, text: &[u8]) -> Reject {
    match kind {
        "decimal" => refused(label, "is no decimal", ""),
        // Only digits are a whole number here: `7.0` and `7E0` are none.
        _ if parsed::<i128>(text).is_none() => refused(label, "is no integer", ""),
        _ => Reject::from(no_such_integer(
            label,
            kind,
            parsed::<i128>(text).map(|it| Decimal::new(it, 0)),
        )),
    }
}

/// Made by [`Read::parse_json`].
pub(super) struct ParseJson<R> {
    pub(super) read: R,
}

impl<R> Read for ParseJson<R>
where
    R: Get,
    R::Kind: for<'a> Kind<Value<'a> = &'a str>,
{
    type Kind = Value;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        // Absent where there is no text.
        let Some(text) = self.read.raw(row)? else {
            out.push_null();
            return Ok(());
        };
        let Ok(Some(text)) = R::Kind::value(text) else { return Err(self.read.is_no(row)) };
        out.write(|out| match json::write(text.as_bytes(), out) {
            Ok(()) => Ok(true),
            Err(why) => Err(refused(&self.read.label(row), why, "")),
        })
    }
}

/// Made by [`Read::scaled`], [`Read::seconds`], [`Read::millis`] and [`Read::micros`].
pub(super) struct Convert<R, F> {
    pub(super) read: R,
    pub(super) convert: F,
}

impl<R, T, F> Read for Convert<R, F>
where
    R: Get<Kind = Integer>,
    T: IntoCell,
    F: Fn(i64) -> Option<T> + 'static,
{
    type Kind = T::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <T::Kind as Kind>::Builder) -> Result<()> {
        let converted = match self.read.raw(row)? {
            None => None,
            Some(whole) => match (self.convert)(whole) {
                None => {
                    return Err(refused(&self.read.label(row), "is out of range", ""));
                }
                converted => converted,
            },
        };
        converted.push_into(out);
        Ok(())
    }
}

/// Made by [`Read::or_reject`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct OrReject<R> {
    pub(super) read: R,
    pub(super) why: &'static str,
}

impl<R: Read> Read for OrReject<R> {
    type Kind = R::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <R::Kind as Kind>::Builder) -> Result<()> {
        self.read.push(row, out).map_err(|_| Reject::from(self.why))
    }
}

impl<R: Get> Get for OrReject<R> {
    #[inline(always)]
    fn raw<'a>(&self, row: Row<'a>) -> Result<Option<<R::Kind as Kind>::Raw<'a>>> {
        self.read.raw(row).map_err(|_| Reject::from(self.why))
    }
}

/// Made by `read` of a relation.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Compute<F>(pub(crate) F);

impl<T, F> Read for Compute<F>
where
    T: IntoCell,
    F: for<'a> Fn(Row<'a>) -> Result<T> + 'static,
{
    type Kind = T::Kind;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut <T::Kind as Kind>::Builder) -> Result<()> {
        (self.0)(row)?.push_into(out);
        Ok(())
    }
}

/// Made by `write_text` of a relation.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct WriteText<F>(pub(crate) F);

impl<F> Read for WriteText<F>
where
    F: for<'a> Fn(Row<'a>, &mut TextWriter<'_>) -> Result<()> + 'static,
{
    type Kind = Text;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        out.write(|out| {
            let mut writer = TextWriter { out, is_null: false };
            (self.0)(row, &mut writer)?;
            Ok(!writer.is_null)
        })
    }
}

/// Made by `write_value` of a relation.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct WriteValue<F>(pub(crate) F);

impl<F> Read for WriteValue<F>
where
    F: for<'a> Fn(Row<'a>, &mut CellWriter<'_>) -> Result<()> + 'static,
{
    type Kind = Value;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut Bytes) -> Result<()> {
        out.write(|out| {
            let start = out.len();
            (self.0)(row, &mut CellWriter::new(out))?;
            // Where nothing was written the cell is absent.
            Ok(out.len() > start)
        })
    }
}

/// A field that a side does not have: null in every row.
///
/// ```
/// use driftd_plugin::{Integer, Plan, null};
///
/// fn plan(plan: &Plan) {
///     let (row, item) = (plan.source(), plan.target());
///     let user = plan.entity("user", row, item);
///     user.key("id", row.integer("id"), item.integer("id"));
///     user.carried("shard", row.integer("shard"), null::<Integer>());
/// }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[must_use]
pub fn null<K: Kind>() -> Null<K> {
    Null(PhantomData)
}

/// Made by [`null`].
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Null<K>(PhantomData<fn() -> K>);

impl<K: Kind> Read for Null<K> {
    type Kind = K;

    #[inline(always)]
    fn push(&self, _: Row<'_>, out: &mut K::Builder) -> Result<()> {
        K::push(out, None);
        Ok(())
    }
}

/// Writes a text cell straight into its column, with [`push_str`](Self::push_str) or
/// [`write!`](std::write).
///
/// ```
/// use driftd_plugin::Plan;
///
/// fn plan(plan: &Plan) {
///     use std::fmt::Write as _;
///
///     let (row, item) = (plan.source(), plan.target());
///     let (street, number) = (row.text("street"), row.integer("number"));
///     let address = row.write_text(move |row, out| {
///         match (row.get(street)?, row.get(number)?) {
///             (Some(street), Some(number)) => _ = write!(out, "{street} {number}"),
///             _ => out.null(),
///         }
///         Ok(())
///     });
///     let user = plan.entity("user", row, item);
///     user.key("id", row.integer("id"), item.integer("id"));
///     user.compared("address", address, item.text("address"));
/// }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Debug)]
pub struct TextWriter<'o> {
    out: &'o mut Vec<u8>,
    is_null: bool,
}

impl TextWriter<'_> {
    /// Appends text.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let constant = plan.source().write_text(|_, out| {
    ///     out.push_str("EUR");
    ///     Ok(())
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn push_str(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// Makes the cell null, whatever was written.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let none = plan.source().write_text(|_, out| {
    ///     out.null();
    ///     Ok(())
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn null(&mut self) {
        self.is_null = true;
    }
}

impl fmt::Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_str(text);
        Ok(())
    }
}
