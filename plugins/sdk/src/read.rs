//! What a field is read from.
//!
//! Owns [`Read`], what can be made of a column, and what closures may return. Refuses dispatch within a
//! loop: a reader is compiled for its field. Invariant: a reader pushes one cell a row, or fails and
//! pushes none.

mod readers;

use std::borrow::Cow;

use crate::cell::Cell;
use crate::cell::CellWriter;
use crate::column::{Bytes, Floats, Ints, Uints, parsed};
use crate::decimal::Decimal;
use crate::kind::{Binary, Boolean, Float, Integer, Kind, Pass, Text, Unsigned, Value};
use crate::row::{Col, Reject, Result, Row};
use crate::time::{Date, DateTime, Time, Timestamp};
use readers::{
    After, Convert, Map, OrReject, Parse, ParseJson, Rewrite, StartsWith, TextOf, TryMap, whole,
};

pub(crate) use readers::{Compute, WriteText, WriteValue};
pub use readers::{Null, TextWriter, null};

/// A field's cell, read from a row: a column ([`Col`]), what combinators make of one, or a closure
/// over the whole row (`read`, `write_text` and `write_value` of a [`Relation`](crate::Relation)).
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// use driftd_plugin::{Decimal, Read};
///
/// let item = plan.target();
/// let price = item.integer("cents").map(|cents| Decimal::new(cents, -2));
/// let id = item.text("sk").after("USER#").parse_integer();
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
pub trait Read: Sized + 'static {
    /// What a cell is.
    type Kind: Kind;

    #[doc(hidden)]
    fn push(&self, row: Row<'_>, out: &mut <Self::Kind as Kind>::Builder) -> Result<()>;

    /// The column that is the field as it stands.
    #[doc(hidden)]
    fn passing(&self) -> Option<Passing> {
        None
    }

    /// Why a row cannot be mapped whose cell is of another kind.
    #[doc(hidden)]
    fn is_no(&self, row: Row<'_>) -> Reject {
        Reject::from(format!("{} is no {}", self.label(row), Self::Kind::LOGICAL))
    }

    /// What a message calls it.
    #[doc(hidden)]
    fn label(&self, _: Row<'_>) -> String {
        "a cell".to_owned()
    }

    /// What a function makes of a value; null stays null.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let version = plan.target().integer("seconds").map(|seconds| seconds * 1_000);
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn map<T, F>(self, f: F) -> Map<Self, F>
    where
        Self: Get,
        T: IntoCell,
        F: for<'a> Fn(<Self::Kind as Kind>::Value<'a>) -> T + 'static,
    {
        Map { read: self, f }
    }

    /// What a function makes of a value, or why the row cannot be mapped; null stays null.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// use driftd_plugin::{Read, reject};
    ///
    /// let age = plan.target().integer("age").try_map(|age| match age {
    ///     0..=150 => Ok(age),
    ///     _ => reject("the age is none"),
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn try_map<T, F>(self, f: F) -> TryMap<Self, F>
    where
        Self: Get,
        T: IntoCell,
        F: for<'a> Fn(<Self::Kind as Kind>::Value<'a>) -> Result<T> + 'static,
    {
        TryMap { read: self, f }
    }

    /// The text that a function makes of a dynamically typed cell, borrowed where it can be; null
    /// stays null.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// use std::borrow::Cow;
    ///
    /// use driftd_plugin::{Cell, Read, Result, reject};
    ///
    /// fn state(cell: Cell<'_>) -> Result<Cow<'_, str>> {
    ///     match cell {
    ///         Cell::Text(text) => Ok(text.into()),
    ///         Cell::Integer(1) => Ok("active".into()),
    ///         _ => reject("the state is unknown"),
    ///     }
    /// }
    /// let state = plan.target().value("state").text(state);
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn text<F>(self, f: F) -> TextOf<Self, F>
    where
        Self: Get<Kind = Value>,
        F: for<'a> Fn(Cell<'a>) -> Result<Cow<'a, str>> + 'static,
    {
        TextOf { read: self, f }
    }

    /// The text that a function makes of a text, borrowed where it can be; null stays null.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let mail = plan.target().text("mail").rewrite(|mail| Ok(mail.trim_end().into()));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn rewrite<F>(self, f: F) -> Rewrite<Self, F>
    where
        Self: Get<Kind = Text>,
        F: for<'a> Fn(&'a str) -> Result<Cow<'a, str>> + 'static,
    {
        Rewrite { read: self, f }
    }

    /// What follows a prefix, without which the row cannot be mapped.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let tenant = plan.target().text("pk").after("TENANT#");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn after(self, prefix: &'static str) -> After<Self>
    where
        Self: Get<Kind = Text>,
    {
        After { read: self, prefix }
    }

    /// Whether a text begins like this; null does not.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::{Read, Side};
    /// let (row, item) = (plan.source(), plan.target());
    /// let user = plan.entity("user", row, item);
    /// user.on(Side::Target).only_if(item.text("sk").starts_with("USER#"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn starts_with(self, prefix: &'static str) -> StartsWith<Self>
    where
        Self: Get<Kind = Text>,
    {
        StartsWith { read: self, prefix }
    }

    /// The whole number that a text is.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let id = plan.target().text("sk").after("USER#").parse_integer();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn parse_integer(self) -> impl Read<Kind = Integer>
    where
        Self: Get<Kind = Text>,
    {
        Parse { read: self, parse: whole, kind: "integer" }
    }

    /// The whole number that a text is, which is never negative: an id of `BIGINT UNSIGNED`.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let id = plan.target().text("sk").after("ORDER#").parse_unsigned();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn parse_unsigned(self) -> impl Read<Kind = Unsigned>
    where
        Self: Get<Kind = Text>,
    {
        Parse { read: self, parse: parsed::<u64>, kind: "unsigned" }
    }

    /// The exact number that a text is.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let amount = plan.target().text("amount").after("EUR ").parse_decimal();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn parse_decimal(self) -> impl Read<Kind = Decimal>
    where
        Self: Get<Kind = Text>,
    {
        Parse { read: self, parse: Decimal::read, kind: "decimal" }
    }

    /// The dynamically typed cell that a JSON text is: objects become maps, numbers stay exact. A column
    /// of a text or of JSON compares so with an item's map. The text `null` is the JSON document `null`,
    /// which is no null; `.rule("json-null=null")` overlooks that.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let (row, item) = (plan.source(), plan.target());
    /// let user = plan.entity("user", row, item);
    /// user.key("id", row.integer("id"), item.integer("id"));
    /// user.compared("settings", row.json("settings").parse_json(), item.value("settings"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn parse_json(self) -> impl Read<Kind = Value>
    where
        Self: Get,
        Self::Kind: for<'a> Kind<Value<'a> = &'a str>,
    {
        ParseJson { read: self }
    }

    /// The exact number that a whole one stands for, ten to the power of `exponent` times it: cents are
    /// `scaled(-2)`.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let balance = plan.target().integer("balanceCents").scaled(-2);
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn scaled(self, exponent: i32) -> impl Read<Kind = Decimal>
    where
        Self: Get<Kind = Integer>,
    {
        Convert { read: self, convert: move |whole: i64| Some(Decimal::new(whole, exponent)) }
    }

    /// The instant that a number of seconds since the Unix epoch is.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let expires = plan.target().integer("ttl").seconds();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn seconds(self) -> impl Read<Kind = Timestamp>
    where
        Self: Get<Kind = Integer>,
    {
        Convert {
            read: self,
            convert: |count: i64| count.checked_mul(1_000_000).map(Timestamp::from_micros),
        }
    }

    /// The instant that a number of milliseconds since the Unix epoch is.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let updated = plan.target().integer("updatedAt").millis();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn millis(self) -> impl Read<Kind = Timestamp>
    where
        Self: Get<Kind = Integer>,
    {
        Convert {
            read: self,
            convert: |count: i64| count.checked_mul(1_000).map(Timestamp::from_micros),
        }
    }

    /// The instant that a number of microseconds since the Unix epoch is.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let updated = plan.target().integer("ver").micros();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn micros(self) -> impl Read<Kind = Timestamp>
    where
        Self: Get<Kind = Integer>,
    {
        Convert { read: self, convert: |count| Some(Timestamp::from_micros(count)) }
    }

    /// Says in other words why a row cannot be mapped.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Read;
    /// let id = plan.target().text("sk").after("USER#").or_reject("sk is no user's");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn or_reject(self, why: &'static str) -> OrReject<Self> {
        OrReject { read: self, why }
    }
}

/// A reader whose cell lies in the batch, so that more can be made of it.
///
/// ```
/// use driftd_plugin::{Get, Read, Text};
///
/// fn order_id(sk: impl Get<Kind = Text>) -> impl Read<Kind = Text> {
///     sk.after("ORDER#")
/// }
/// ```
pub trait Get: Read {
    /// The cell itself, where it lies in the batch.
    #[doc(hidden)]
    fn raw<'a>(&self, row: Row<'a>) -> Result<Option<<Self::Kind as Kind>::Raw<'a>>>;
}

/// A column that passes as it is.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Passing {
    pub(crate) relation: u16,
    pub(crate) index: u16,
    pub(crate) pass: Pass,
}

impl<K: Kind> Read for Col<K> {
    type Kind = K;

    #[inline(always)]
    fn push(&self, row: Row<'_>, out: &mut K::Builder) -> Result<()> {
        K::push(out, Col::raw(*self, row)?);
        Ok(())
    }

    fn passing(&self) -> Option<Passing> {
        let Self { relation, index, form, .. } = *self;
        Some(Passing { relation, index, pass: K::pass(form) })
    }

    fn label(&self, row: Row<'_>) -> String {
        Self::label(*self, row.call)
    }

    fn is_no(&self, row: Row<'_>) -> Reject {
        Self::is_no(*self, row)
    }
}

impl<K: Kind> Get for Col<K> {
    #[inline(always)]
    fn raw<'a>(&self, row: Row<'a>) -> Result<Option<K::Raw<'a>>> {
        Col::raw(*self, row)
    }
}

/// What [`Read::map`], [`Read::try_map`] and closures over rows may return: a value of one of the
/// kinds, or none for null.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// # use driftd_plugin::Read;
/// let positive = plan.target().integer("n").map(|n| (n > 0).then_some(n));
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
pub trait IntoCell {
    /// The kind of the field that it makes.
    type Kind: Kind;
    #[doc(hidden)]
    fn push_into(self, out: &mut <Self::Kind as Kind>::Builder);
    /// Hands it over as a cell of any type; null where there is none.
    #[doc(hidden)]
    fn as_cell(&self, then: &mut dyn FnMut(Cell<'_>));
}

impl<T: IntoCell> IntoCell for Option<T> {
    type Kind = T::Kind;

    #[inline(always)]
    fn push_into(self, out: &mut <Self::Kind as Kind>::Builder) {
        match self {
            Some(value) => value.push_into(out),
            None => T::Kind::push(out, None),
        }
    }

    fn as_cell(&self, then: &mut dyn FnMut(Cell<'_>)) {
        match self {
            Some(value) => value.as_cell(then),
            None => then(Cell::Null),
        }
    }
}

impl IntoCell for Cell<'_> {
    type Kind = Value;

    fn push_into(self, out: &mut Bytes) {
        let mut bytes = Vec::new();
        CellWriter::new(&mut bytes).cell(self);
        out.push(Some(&bytes));
    }

    fn as_cell(&self, then: &mut dyn FnMut(Cell<'_>)) {
        then(*self);
    }
}

macro_rules! into_cell {
    ($($type:ty, $kind:ty, $builder:ty, |$value:ident| $raw:expr, $cell:expr;)*) => {
        $(impl IntoCell for $type {
            type Kind = $kind;

            #[inline(always)]
            fn push_into(self, out: &mut $builder) {
                let $value = self;
                <$kind as Kind>::push(out, Some($raw));
            }

            fn as_cell(&self, then: &mut dyn FnMut(Cell<'_>)) {
                let $value = self;
                then($cell);
            }
        })*
    };
}
into_cell! {
    bool, Boolean, Ints, |value| value, Cell::Boolean(*value);
    // What an integer is of which nothing else says its type.
    i32, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    i64, Integer, Ints, |value| value, Cell::Integer(*value);
    i16, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    i8, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    u32, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    u16, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    u8, Integer, Ints, |value| i64::from(value), Cell::Integer(i64::from(*value));
    u64, Unsigned, Uints, |value| value, Cell::of_unsigned(*value);
    f64, Float, Floats, |value| value, Cell::Float(*value);
    Decimal, Decimal, Bytes, |value| value, Cell::Decimal(*value);
    Date, Date, Ints, |value| value.days(), Cell::Date(*value);
    Time, Time, Ints, |value| value.micros(), Cell::Time(*value);
    DateTime, DateTime, Ints, |value| value.micros(), Cell::DateTime(*value);
    Timestamp, Timestamp, Ints, |value| value.micros(), Cell::Timestamp(*value);
    String, Text, Bytes, |value| value.as_bytes(), Cell::Text(value);
    &str, Text, Bytes, |value| value.as_bytes(), Cell::Text(value);
    Cow<'_, str>, Text, Bytes, |value| value.as_bytes(), Cell::Text(value);
    Vec<u8>, Binary, Bytes, |value| &value, Cell::Bytes(value);
    &[u8], Binary, Bytes, |value| value, Cell::Bytes(value);
}
