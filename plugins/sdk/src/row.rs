//! Rows, one at a time.
//!
//! Owns [`Row`], the handles that read from it, and why a row cannot be mapped. Refuses to copy: what
//! is read borrows from the batch. Invariant: a column is found by its position, never by its name.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::marker::PhantomData;

use crate::cell::{Cell, Wrong};
use crate::column::sorted;
use crate::decimal::Decimal;
use crate::kind::{Form, Kind, Value};
use crate::time::Timestamp;
use crate::wire::{Batch, Column, Context, Note, Side};

/// Why a row cannot be mapped: it becomes drift of kind `unmappable`, and the rest is compared.
///
/// ```
/// use driftd_plugin::{Reject, Result};
///
/// fn positive(cents: i64) -> Result<i64> {
///     if cents < 0 { Err(Reject::from("the price is negative")) } else { Ok(cents) }
/// }
/// assert_eq!(positive(-1).unwrap_err().to_string(), "the price is negative");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject(Cow<'static, str>);

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&'static str> for Reject {
    fn from(why: &'static str) -> Self {
        Self(Cow::Borrowed(why))
    }
}

impl From<String> for Reject {
    fn from(why: String) -> Self {
        Self(Cow::Owned(why))
    }
}

impl Reject {
    pub(crate) fn into_message(self) -> String {
        self.0.into_owned()
    }
}

/// What a mapping of one row gives, or why it cannot be mapped.
///
/// ```
/// let read: driftd_plugin::Result<i64> = Ok(1);
/// # assert!(read.is_ok());
/// ```
pub type Result<T, E = Reject> = std::result::Result<T, E>;

/// Refuses the row that is being mapped.
///
/// ```
/// use driftd_plugin::{Result, reject};
///
/// let refused: Result<i64> = reject("the currency is unknown");
/// assert!(refused.is_err());
/// ```
pub fn reject<T>(why: impl Into<Reject>) -> Result<T> {
    Err(why.into())
}

/// The rows of one relation within a call.
#[doc(hidden)]
#[derive(Debug)]
pub struct Rows {
    pub(crate) input: u32,
    pub(crate) relation: u16,
    pub(crate) origin: String,
    pub(crate) count: usize,
    pub(crate) columns: Vec<Column>,
    pub(crate) group: Vec<u32>,
}

impl Rows {
    pub(crate) fn of_batch(relation: u16, batch: Batch) -> Self {
        let (count, columns) = (batch.rows as usize, batch.columns);
        Self { input: 0, relation, origin: String::new(), count, columns, group: Vec::new() }
    }

    /// Whether the groups of its rows ascend.
    pub(crate) fn ascend(&self) -> bool {
        // All of them are looked at: a search that may end anywhere is several times as slow.
        self.group.windows(2).fold(true, |ascend, pair| ascend & (pair[0] <= pair[1]))
    }

    /// The groups of all rows; they stay here only if they are needed again.
    pub(crate) fn groups(&mut self, again: bool) -> Vec<u32> {
        match self.group.is_empty() {
            true => (0..self.count as u32).collect(),
            false if again => self.group.clone(),
            false => std::mem::take(&mut self.group),
        }
    }

    /// The group of a row.
    pub(crate) fn group(&self, row: usize) -> u32 {
        self.group.get(row).copied().unwrap_or(row as u32)
    }
}

/// One call: all rows that arrived together.
#[doc(hidden)]
#[derive(Debug)]
pub struct Call<'t> {
    /// The columns of every relation, by name, for messages.
    pub(crate) names: &'t [Vec<String>],
    pub(crate) context: Context,
    pub(crate) rows: Vec<Rows>,
    /// (relation, group, which of `rows`, row), ascending; made when a row looks beyond itself.
    pub(crate) index: OnceCell<Vec<(u16, u32, u32, u32)>>,
    pub(crate) warnings: RefCell<Vec<Note>>,
}

impl<'t> Call<'t> {
    pub(crate) fn new(names: &'t [Vec<String>], context: Context, rows: Vec<Rows>) -> Self {
        Self { names, context, rows, index: OnceCell::new(), warnings: RefCell::default() }
    }

    fn index(&self) -> &[(u16, u32, u32, u32)] {
        self.index.get_or_init(|| {
            let mut index = Vec::with_capacity(self.rows.iter().map(|rows| rows.count).sum());
            for (at, rows) in self.rows.iter().enumerate() {
                let entry = |row| (rows.relation, rows.group(row), at as u32, row as u32);
                index.extend((0..rows.count).map(entry));
            }
            sorted(index, |entry| u64::from(entry.0) << 32 | u64::from(entry.1))
        })
    }

    /// Every row of `relation` in `group`.
    fn within(&self, relation: u16, group: u32) -> &[(u16, u32, u32, u32)] {
        let index = self.index();
        let start = index.partition_point(|entry| (entry.0, entry.1) < (relation, group));
        let length =
            index[start..].partition_point(|entry| (entry.0, entry.1) == (relation, group));
        &index[start..start + length]
    }
}

/// A row, borrowed from the batch.
///
/// ```
/// use driftd_plugin::{Plan, Result, Row};
///
/// fn plan(plan: &Plan) {
///     let (row, item) = (plan.source(), plan.target());
///     let (first, last) = (row.text("first_name"), row.text("last_name"));
///     let user = plan.entity("user", row, item);
///     user.key("id", row.integer("id"), item.integer("id"));
///     user.compared(
///         "name",
///         row.write_text(move |row, name| {
///             name.push_str(row.need(first)?);
///             name.push_str(" ");
///             name.push_str(row.get(last)?.unwrap_or_default());
///             Ok(())
///         }),
///         item.text("name"),
///     );
/// }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) rows: &'a Rows,
    pub(crate) row: usize,
}

impl<'a> Row<'a> {
    /// The value in a column; none where it is null or absent. A column of another relation is read
    /// from the row of that relation in the same group: none where there is none, and the row is
    /// refused where there are several.
    ///
    /// ```
    /// # use driftd_plugin::{Col, Integer, Result, Row};
    /// fn is_adult(row: Row<'_>, age: Col<Integer>) -> Result<bool> {
    ///     Ok(row.get(age)?.is_some_and(|age| age >= 18))
    /// }
    /// ```
    #[inline]
    pub fn get<K: Kind>(self, column: Col<K>) -> Result<Option<K::Value<'a>>> {
        match column.raw(self)? {
            None => Ok(None),
            Some(raw) => K::value(raw).map_err(|Wrong| column.is_no(self)),
        }
    }

    /// The value in a column; the row is refused where it is null or absent.
    ///
    /// ```
    /// # use driftd_plugin::{Col, Integer, Result, Row};
    /// fn next(row: Row<'_>, number: Col<Integer>) -> Result<i64> {
    ///     Ok(row.need(number)? + 1)
    /// }
    /// ```
    #[inline]
    pub fn need<K: Kind>(self, column: Col<K>) -> Result<K::Value<'a>> {
        match self.get(column)? {
            Some(value) => Ok(value),
            None => Err(Reject::from(format!("{} is null", column.label(self.call)))),
        }
    }

    /// The cell in a dynamically typed column, where null ([`Cell::Null`]) is told from absent (none).
    ///
    /// ```
    /// # use driftd_plugin::{Cell, Col, Result, Row, Value};
    /// fn was_erased(row: Row<'_>, mail: Col<Value>) -> Result<bool> {
    ///     Ok(row.cell(mail)? == Some(Cell::Null))
    /// }
    /// ```
    pub fn cell(self, column: Col<Value>) -> Result<Option<Cell<'a>>> {
        match column.raw(self)? {
            None => Ok(None),
            Some(bytes) => Cell::read(bytes).map(Some).ok_or_else(|| column.is_no(self)),
        }
    }

    /// Every row of the column's relation in this row's group, as they came.
    ///
    /// ```
    /// # use driftd_plugin::{Col, Decimal, Result, Row, reject};
    /// fn total(order: Row<'_>, amount: Col<Decimal>) -> Result<Decimal> {
    ///     let mut total = Decimal::default();
    ///     for line in order.all(amount) {
    ///         total = match total.checked_add(line.need(amount)?) {
    ///             Some(total) => total,
    ///             None => return reject("the total is too large"),
    ///         };
    ///     }
    ///     Ok(total)
    /// }
    /// ```
    pub fn all<K: Kind>(
        self,
        column: Col<K>,
    ) -> impl ExactSizeIterator<Item = Row<'a>> + use<'a, K> {
        self.within(column.relation)
    }

    fn within(self, relation: u16) -> impl ExactSizeIterator<Item = Row<'a>> + use<'a> {
        let call = self.call;
        let within = call.within(relation, self.rows.group(self.row));
        within.iter().map(move |(_, _, rows, row)| Row {
            call,
            rows: &call.rows[*rows as usize],
            row: *row as usize,
        })
    }

    /// A word about a row that is mapped all the same.
    ///
    /// ```
    /// # use driftd_plugin::Row;
    /// fn old(row: Row<'_>) {
    ///     row.warn("still in the old format");
    /// }
    /// ```
    pub fn warn(self, message: impl Into<String>) {
        self.call.warnings.borrow_mut().push(Note {
            input: self.rows.input,
            row: self.row as u32,
            kind: "warn".to_owned(),
            message: message.into(),
        });
    }

    /// When this check began: the same for both sides and for every repetition. It may decide a
    /// [`Standing`](crate::Standing), never a compared field.
    ///
    /// ```
    /// # use driftd_plugin::{Col, Result, Row, Standing, Timestamp};
    /// fn standing(row: Row<'_>, expires: Col<Timestamp>) -> Result<Standing> {
    ///     let expired = row.get(expires)?.is_some_and(|expires| expires <= row.as_of());
    ///     Ok(if expired { Standing::Absent } else { Standing::Present })
    /// }
    /// ```
    #[must_use]
    pub fn as_of(self) -> Timestamp {
        Timestamp::from_micros(self.call.context.as_of)
    }

    /// The side that the row is of.
    ///
    /// ```
    /// # use driftd_plugin::{Row, Side};
    /// fn is_source(row: Row<'_>) -> bool {
    ///     row.side() == Side::Source
    /// }
    /// ```
    #[must_use]
    pub fn side(self) -> Side {
        self.call.context.side
    }

    /// The shard or store that the row comes from.
    ///
    /// ```
    /// # use driftd_plugin::Row;
    /// fn is_eu(row: Row<'_>) -> bool {
    ///     row.origin() == "eu"
    /// }
    /// ```
    #[must_use]
    pub fn origin(self) -> &'a str {
        &self.rows.origin
    }
}

/// A column, or a field of an entity: a position that was looked up once, and what a cell is.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// use driftd_plugin::{Col, Integer};
///
/// let id: Col<Integer> = plan.source().integer("id");
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
pub struct Col<K> {
    pub(crate) relation: u16,
    pub(crate) index: u16,
    pub(crate) form: Form,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Col<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Col<K> {}

impl<K> fmt::Debug for Col<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Col({}, {})", self.relation, self.index)
    }
}

impl<K: Kind> Col<K> {
    pub(crate) fn new(relation: u16, index: u16, logical: &str) -> Self {
        let form = match logical {
            "value" => Form::Value,
            "integer" if K::LOGICAL == "decimal" => Form::Other,
            "binary" if K::LOGICAL == "value" => Form::Other,
            "text" if K::LOGICAL == "json" => Form::Text,
            "text" | "enum" | "set" | "json" if !matches!(K::LOGICAL, "text" | "json") => {
                Form::Text
            }
            _ => Form::Own,
        };
        Self { relation, index, form, kind: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn raw<'a>(self, row: Row<'a>) -> Result<Option<K::Raw<'a>>> {
        let row = if self.relation == row.rows.relation {
            row
        } else {
            match joined(self.relation, self.index, row)? {
                Some(row) => row,
                None => return Ok(None),
            }
        };
        let column = &row.rows.columns[self.index as usize];
        match K::raw(column, self.form, row.row) {
            Ok(raw) => Ok(raw),
            Err(Wrong) => Err(self.is_no(row)),
        }
    }

    /// Its name, for people.
    pub(crate) fn label(self, call: &Call<'_>) -> String {
        label(self.relation, self.index, call)
    }

    pub(crate) fn is_no(self, row: Row<'_>) -> Reject {
        is_no((self.relation, self.index, self.form), K::NAME, row)
    }
}

/// The one row of a column's relation in the group of `row`.
#[cold]
#[inline(never)]
fn joined(relation: u16, index: u16, row: Row<'_>) -> Result<Option<Row<'_>>> {
    let mut rows = row.within(relation);
    match (rows.next(), rows.len()) {
        (found, 0) => Ok(found),
        (_, more) => {
            let label = label(relation, index, row.call);
            Err(Reject::from(format!("{label} is in {} rows of the group", more + 1)))
        }
    }
}

#[cold]
fn label(relation: u16, index: u16, call: &Call<'_>) -> String {
    let names = call.names.get(relation as usize);
    let name = names.and_then(|names| names.get(index as usize));
    let name = name.map(String::as_str).unwrap_or("a column of another side");
    name.strip_prefix('/').map_or_else(|| name.to_owned(), |path| path.replace('/', "."))
}

#[cold]
#[inline(never)]
fn is_no((relation, index, form): (u16, u16, Form), kind: &str, row: Row<'_>) -> Reject {
    let label = label(relation, index, row.call);
    let what = match kind {
        "integer" | "unsigned" => {
            // One that is a whole number, and another one than was asked for?
            let of_relation = relation == row.rows.relation;
            let column = row.rows.columns.get(index as usize).filter(|_| of_relation);
            let number = column.and_then(|column| Decimal::raw(column, form, row.row).ok()?);
            return Reject::from(no_such_integer(&label, kind, number));
        }
        "timestamp" => "time",
        "datetime" => "local time",
        "float" => "floating-point number",
        kind => kind,
    };
    Reject::from(format!("{label} is no {what}"))
}

/// Why a number is none of the kind `integer` or `unsigned`, and what reads it.
#[cold]
pub(crate) fn no_such_integer(label: &str, kind: &str, number: Option<Decimal>) -> String {
    let whole = number.and_then(Decimal::to_integer);
    match whole {
        Some(whole) if kind == "integer" && u64::try_from(whole).is_ok() => {
            format!("{label} is beyond 63 bits; read it as unsigned, or as decimal")
        }
        Some(whole) if kind == "unsigned" && i64::try_from(whole).is_ok() => {
            format!("{label} is negative; read it as integer, or as decimal")
        }
        Some(_) => format!("{label} is beyond 64 bits; read it as decimal"),
        None => format!("{label} is no integer"),
    }
}
