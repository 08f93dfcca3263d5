//! What a mapping is made of.
//!
//! Owns [`Plan`]: the columns that are read, the entities, and for each field the two places that it
//! comes from. Refuses to run: `map` does. Invariant: columns are asked of the stores in the order in
//! which they were first named.

mod field;

use std::cell::RefCell;
use std::fmt;

pub use field::Field;
pub(crate) use field::to_read;

use crate::cell::CellWriter;
use crate::column::base;
use crate::kind::{Binary, Boolean, Float, Integer, Json, Kind, Text, Unsigned, Value};
use crate::map::{Each, EachRow, Fill, Out, Stand};
use crate::read::{Compute, IntoCell, Read, TextWriter, WriteText, WriteValue};
use crate::row::{Col, Result, Row};
use crate::rules::Entities;
use crate::time::{Date, DateTime, Time, Timestamp};
use crate::wire::{
    EntityDef, FieldDef, MappingPlan, RelationPlan, Role, Side, SidePlan, TableSchema,
};
use crate::{Decimal, Issue};

/// What becomes of a row.
///
/// ```
/// use driftd_plugin::{Plan, Side, Standing};
///
/// fn plan(plan: &Plan) {
///     let (row, item) = (plan.source(), plan.target());
///     let (kind, expires) = (item.text("type"), item.timestamp("expires"));
///     let user = plan.entity("user", row, item);
///     user.key("id", row.integer("id"), item.integer("id"));
///     user.on(Side::Target).standing(move |item| {
///         if item.get(kind)? != Some("user") {
///             return Ok(Standing::Other);
///         }
///         let expired = item.get(expires)?.is_some_and(|expires| expires <= item.as_of());
///         Ok(if expired { Standing::Absent } else { Standing::Present })
///     });
/// }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is an entity.
    Present,
    /// It counts as not there: expired, a tombstone.
    Absent,
    /// It is an entity, but out of scope: not migrated yet. Its fields are read.
    Excluded,
    /// It is no such entity at all. Its fields are not read.
    Other,
}

/// A mapping in the making: given to [`Mapping::plan`](crate::Mapping::plan).
///
/// ```
/// use driftd_plugin::{Decimal, Plan, Read};
///
/// fn plan(plan: &Plan) {
///     let (row, item) = (plan.source(), plan.target());
///     let user = plan.entity("user", row, item);
///     user.key("id", row.integer("id"), item.text("sk").after("USER#").parse_integer());
///     user.compared("email", row.text("email"), item.text("/profile/mail"));
///     user.compared(
///         "balance",
///         row.decimal("balance"),
///         item.integer("cents").map(|cents| Decimal::new(cents, -2)),
///     );
/// }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
pub struct Plan {
    pairing: String,
    pub(crate) inner: RefCell<Inner>,
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("pairing", &self.pairing).finish_non_exhaustive()
    }
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) tables: Vec<Table>,
    pub(crate) entities: Vec<EntityPlan>,
    pub(crate) issues: Vec<Issue>,
}

/// A relation, and what is read of it.
pub(crate) struct Table {
    pub(crate) side: Side,
    /// Its position among the relations of its side.
    pub(crate) position: u32,
    pub(crate) schema: TableSchema,
    pub(crate) columns: Vec<String>,
    ignored: Vec<String>,
    group_by: Vec<u32>,
    /// Whether each of its rows must be, or belong to, an entity.
    pub(crate) must_belong: bool,
}

pub(crate) struct EntityPlan {
    pub(crate) def: EntityDef,
    /// The kind of each field.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) sides: [SideOf; 2],
}

/// How an entity comes from one side.
pub(crate) struct SideOf {
    pub(crate) relation: u16,
    pub(crate) standing: Option<Box<dyn Stand>>,
    pub(crate) fields: Vec<Box<dyn Fill>>,
    pub(crate) each: Option<Box<dyn EachRow>>,
}

impl Plan {
    pub(crate) fn new(pairing: String, source: Vec<TableSchema>, target: Vec<TableSchema>) -> Self {
        let tables = |side, schemas: Vec<TableSchema>| {
            schemas.into_iter().zip(0..).map(move |(schema, position)| Table {
                side,
                position,
                schema,
                columns: Vec::new(),
                ignored: Vec::new(),
                group_by: Vec::new(),
                must_belong: false,
            })
        };
        let tables = tables(Side::Source, source).chain(tables(Side::Target, target)).collect();
        Self { pairing, inner: RefCell::new(Inner { tables, ..Inner::default() }) }
    }

    /// The name of the pairing that the plan is for.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// assert_eq!(plan.pairing(), "users");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn pairing(&self) -> &str {
        &self.pairing
    }

    /// The source's relation; the first, where there are several.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let id = plan.source().integer("id");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn source(&self) -> Relation<'_> {
        self.first(Side::Source)
    }

    /// The target's relation; the first, where there are several.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let mail = plan.target().text("/profile/mail");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn target(&self) -> Relation<'_> {
        self.first(Side::Target)
    }

    fn first(&self, side: Side) -> Relation<'_> {
        let mut inner = self.inner.borrow_mut();
        let index = inner.tables.iter().position(|table| table.side == side);
        if index.is_none() {
            inner.issues.push(Issue::new(format!("the {side} has no relation")));
        }
        Relation { plan: self, index: index.unwrap_or(0) as u16 }
    }

    /// A relation by its name in the store.
    ///
    /// ```
    /// use driftd_plugin::{Plan, Side};
    ///
    /// fn plan(plan: &Plan) {
    ///     let lines = plan.relation(Side::Source, "order_lines");
    /// }
    /// ```
    #[must_use]
    pub fn relation(&self, side: Side, name: &str) -> Relation<'_> {
        let mut inner = self.inner.borrow_mut();
        let found =
            inner.tables.iter().position(|table| table.side == side && table.schema.name == name);
        if found.is_none() {
            let names = inner.tables.iter().filter(|table| table.side == side);
            let names: Vec<_> = names.map(|table| format!("`{}`", table.schema.name)).collect();
            let issue = Issue::new(format!("the {side} has no relation `{name}`"));
            inner.issues.push(issue.help(format!("it has {}", names.join(", "))));
        }
        Relation { plan: self, index: found.unwrap_or(0) as u16 }
    }

    /// An entity type, of which each row of `source` and each row of `target` is one, unless a
    /// [standing](EntitySide::standing) says otherwise.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let user = plan.entity("user", plan.source(), plan.target());
    /// # user.key("id", plan.source().integer("id"), plan.target().integer("id"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn entity(&self, name: &str, source: Relation<'_>, target: Relation<'_>) -> Entity<'_> {
        let mut inner = self.inner.borrow_mut();
        for (side, relation) in [(Side::Source, source), (Side::Target, target)] {
            if inner.tables.get(relation.index as usize).is_some_and(|table| table.side != side) {
                let what = format!("entity type `{name}` takes its {side} from the other side");
                inner.issues.push(Issue::new(what));
            }
        }
        let side = |relation: Relation<'_>| SideOf {
            relation: relation.index,
            standing: None,
            fields: Vec::new(),
            each: None,
        };
        let def = EntityDef { name: name.to_owned(), fields: Vec::new() };
        let sides = [side(source), side(target)];
        inner.entities.push(EntityPlan { def, kinds: Vec::new(), sides });
        Entity { plan: self, index: inner.entities.len() - 1 }
    }

    /// Refuses to map these relations, and says why.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// if plan.pairing() != "users" {
    ///     plan.refuse("this plugin maps users only");
    /// }
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn refuse(&self, why: impl Into<String>) {
        self.inner.borrow_mut().issues.push(Issue::new(why));
    }
}

impl Inner {
    /// The entity types, for rules and locators.
    pub(crate) fn entities(&self) -> Entities {
        let entities = self.entities.iter();
        Entities(entities.map(|entity| (entity.def.clone(), entity.kinds.clone())).collect())
    }

    pub(crate) fn plan(&self) -> MappingPlan {
        let side = |side| SidePlan {
            relations: self
                .tables
                .iter()
                .filter(|table| table.side == side && !table.columns.is_empty())
                .map(|table| RelationPlan {
                    relation: table.position,
                    columns: table.columns.clone(),
                    ignored: table.ignored.clone(),
                    group_by: table.group_by.clone(),
                })
                .collect(),
            mapped: true,
        };
        MappingPlan {
            entities: self.entities.iter().map(|entity| entity.def.clone()).collect(),
            source: side(Side::Source),
            target: side(Side::Target),
        }
    }
}

/// A relation of one side. The methods that name a column say how it is to be read; a column of
/// another logical type is refused when the plan is made, in words that name it. A name that begins
/// with a slash is a JSON pointer into an item.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// let item = plan.target();
/// let mail = item.text("/profile/mail");
/// item.ignore(["ttl"]);
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Relation<'p> {
    plan: &'p Plan,
    index: u16,
}

macro_rules! columns {
    ($($(#[$about:meta])* $method:ident $kind:ident;)*) => {
        $(
            $(#[$about])*
            ///
            /// ```
            /// # fn plan(plan: &driftd_plugin::Plan) {
            #[doc = concat!("let column = plan.target().", stringify!($method), "(\"attribute\");")]
            /// # }
            /// # driftd_plugin::fixtures::plan_alone(plan);
            /// ```
            #[must_use]
            pub fn $method(self, name: &str) -> Col<$kind> {
                self.column(name)
            }
        )*
    };
}

impl<'p> Relation<'p> {
    columns! {
        /// A column of booleans, or of integers, of which zero is false.
        boolean Boolean;
        /// A column of whole numbers.
        integer Integer;
        /// A column of whole numbers that are never negative: `BIGINT UNSIGNED`.
        unsigned Unsigned;
        /// A column of exact numbers, whole or not, or of text that holds such.
        decimal Decimal;
        /// A column of binary floating-point numbers.
        float Float;
        /// A column of text, or of an enumeration's or a set's labels.
        text Text;
        /// A column of bytes.
        binary Binary;
        /// A column of instants, of times in UTC, or of text in RFC 3339.
        timestamp Timestamp;
        /// A column of local dates and times, or of text that holds such.
        datetime DateTime;
        /// A column of days, or of text that holds such.
        date Date;
        /// A column of times of the day, or of text that holds such.
        time Time;
        /// A column of JSON texts.
        json Json;
        /// A column of dynamically typed cells: an attribute that may be of any type.
        value Value;
    }

    /// A column, read as the kind that is asked for.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// use driftd_plugin::{Col, Text};
    ///
    /// let name: Col<Text> = plan.source().column("name");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn column<K: Kind>(self, name: &str) -> Col<K> {
        let (index, logical) = self.found(name, K::NAME, K::ACCEPTS);
        Col::new(self.index, index, &logical)
    }

    /// The position and the logical type of a column. Not generic: every kind would have its own.
    #[inline(never)]
    fn found(self, name: &str, kind: &str, accepts: &[&str]) -> (u16, String) {
        let mut inner = self.plan.inner.borrow_mut();
        let Some(table) = inner.tables.get_mut(self.index as usize) else {
            return (0, "value".to_owned());
        };
        let known = table.schema.columns.iter().find(|column| column.name == name);
        // A column that is missing altogether is told by the host, with the nearest names.
        let logical = known.map_or("value", |column| base(&column.logical)).to_owned();
        let index = table.position_of(name);
        if !(accepts.contains(&logical.as_str()) || logical == "value") {
            let (side, accepts) = (table.side, accepts.join(", "));
            let issue = Issue::new(format!(
                "column `{name}` of the {side} is of type {logical}; this plugin can read {accepts}"
            ));
            inner.issues.push(issue.help(to_read(name, kind, &logical)));
        }
        (index, logical)
    }

    /// Attributes that are known and left out on purpose; driftd reports any other.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// plan.target().ignore(["ttl", "etag"]);
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn ignore<'n>(self, names: impl IntoIterator<Item = &'n str>) {
        if let Some(table) = self.plan.inner.borrow_mut().tables.get_mut(self.index as usize) {
            table.ignored.extend(names.into_iter().map(str::to_owned));
        }
    }

    /// The columns whose values make a group: rows of all relations of this side with equal values
    /// arrive together, in the order of the columns given here.
    ///
    /// ```
    /// use driftd_plugin::{Decimal, Plan, Side, reject};
    ///
    /// fn plan(plan: &Plan) {
    ///     let orders = plan.relation(Side::Source, "orders");
    ///     let lines = plan.relation(Side::Source, "order_lines");
    ///     orders.group_by(["id"]);
    ///     lines.group_by(["order_id"]);
    ///     let amount = lines.decimal("amount");
    ///     let total = orders.read(move |order| {
    ///         let mut total = Decimal::default();
    ///         for line in order.all(amount) {
    ///             total = match total.checked_add(line.need(amount)?) {
    ///                 Some(total) => total,
    ///                 None => return reject("the total is too large"),
    ///             };
    ///         }
    ///         Ok(total)
    ///     });
    ///     let item = plan.target();
    ///     let order = plan.entity("order", orders, item);
    ///     order.key("id", orders.integer("id"), item.integer("id"));
    ///     order.compared("total", total, item.decimal("total"));
    /// }
    /// ```
    pub fn group_by<'n>(self, columns: impl IntoIterator<Item = &'n str>) {
        if let Some(table) = self.plan.inner.borrow_mut().tables.get_mut(self.index as usize) {
            let columns = columns.into_iter();
            table.group_by = columns.map(|name| u32::from(table.position_of(name))).collect();
        }
    }

    /// Says that each row of this relation must belong to an entity. A relation that no entity is made
    /// of gives details to those of others in its groups; a row of it in whose group there is no other
    /// is nothing, unless this is said: then it cannot be mapped.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// plan.source().must_belong();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn must_belong(self) {
        if let Some(table) = self.plan.inner.borrow_mut().tables.get_mut(self.index as usize) {
            table.must_belong = true;
        }
    }

    /// A cell that a closure makes of a row.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let row = plan.source();
    /// let (net, tax) = (row.integer("net"), row.integer("tax"));
    /// let gross = row.read(move |row| Ok(row.need(net)? + row.get(tax)?.unwrap_or(0)));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn read<T, F>(self, f: F) -> Compute<F>
    where
        T: IntoCell,
        F: for<'a> Fn(Row<'a>) -> Result<T> + 'static,
    {
        Compute(f)
    }

    /// A text that a closure writes for a row, without an allocation of its own.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// use std::fmt::Write as _;
    ///
    /// let row = plan.source();
    /// let number = row.integer("number");
    /// let code = row.write_text(move |row, out| {
    ///     _ = write!(out, "N-{:06}", row.need(number)?);
    ///     Ok(())
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn write_text<F>(self, f: F) -> WriteText<F>
    where
        F: for<'a> Fn(Row<'a>, &mut TextWriter<'_>) -> Result<()> + 'static,
    {
        WriteText(f)
    }

    /// A dynamically typed cell that a closure writes for a row; absent where it writes nothing.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// let row = plan.source();
    /// let (first, second) = (row.text("phone1"), row.text("phone2"));
    /// let phones = row.write_value(move |row, out| {
    ///     let phones = [row.get(first)?, row.get(second)?];
    ///     out.list(phones.iter().flatten().count());
    ///     phones.iter().flatten().for_each(|phone| out.text(phone));
    ///     Ok(())
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn write_value<F>(self, f: F) -> WriteValue<F>
    where
        F: for<'a> Fn(Row<'a>, &mut CellWriter<'_>) -> Result<()> + 'static,
    {
        WriteValue(f)
    }
}

impl Table {
    fn position_of(&mut self, name: &str) -> u16 {
        let known = self.columns.iter().position(|column| column == name);
        let position = known.unwrap_or_else(|| {
            self.columns.push(name.to_owned());
            self.columns.len() - 1
        });
        position as u16
    }
}

/// An entity type in the making: its fields, and which rows are one.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// let (row, item) = (plan.source(), plan.target());
/// let user = plan.entity("user", row, item);
/// user.key("id", row.integer("id"), item.integer("id"));
/// user.compared("name", row.text("name"), item.text("name"));
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Entity<'p> {
    plan: &'p Plan,
    index: usize,
}

macro_rules! roles {
    ($($(#[$about:meta])* $method:ident $role:ident;)*) => {
        $(
            $(#[$about])*
            ///
            /// ```
            /// # fn plan(plan: &driftd_plugin::Plan) {
            /// # let (row, item) = (plan.source(), plan.target());
            /// # let user = plan.entity("user", row, item);
            #[doc = concat!("user.", stringify!($method), "(\"field\", row.integer(\"column\"), item.integer(\"attribute\"));")]
            /// # }
            /// # driftd_plugin::fixtures::plan_alone(plan);
            /// ```
            pub fn $method<S, T>(self, name: &str, source: S, target: T) -> Field<'p, S::Kind>
            where
                S: Read,
                T: Read<Kind = S::Kind>,
            {
                self.field(Role::$role, name, source, target)
            }
        )*
    };
}

impl<'p> Entity<'p> {
    roles! {
        /// A field that identifies the entity. At least one is needed.
        key Key;
        /// A field that must be equal on both sides.
        compared Compared;
        /// A field that grows with every change (a version, an update time), so that an older copy is
        /// told from a wrong one. At most one.
        version Version;
        /// A field that findings are counted by, and that is not compared.
        label Label;
        /// A field that serves locating and invariants, and is not compared.
        carried Carried;
    }

    fn field<S, T>(self, role: Role, name: &str, source: S, target: T) -> Field<'p, S::Kind>
    where
        S: Read,
        T: Read<Kind = S::Kind>,
    {
        let logical = S::Kind::LOGICAL;
        let kinds = (logical, S::Kind::NAME);
        let index = self.push(role, name, kinds, [Box::new(source), Box::new(target)]);
        Field { entity: self, field: Col::new(u16::MAX, index, logical) }
    }

    #[inline(never)]
    fn push(
        self,
        role: Role,
        name: &str,
        (logical, kind): (&str, &'static str),
        readers: [Box<dyn Fill>; 2],
    ) -> u16 {
        let mut inner = self.plan.inner.borrow_mut();
        let entity = &mut inner.entities[self.index];
        let (name, logical) = (name.to_owned(), logical.to_owned());
        entity.kinds.push(kind);
        entity.def.fields.push(FieldDef { name, logical, role, rules: Vec::new() });
        for (side, reader) in entity.sides.iter_mut().zip(readers) {
            side.fields.push(reader);
        }
        entity.def.fields.len() as u16 - 1
    }

    /// The entity as it comes from one side: which rows are one.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Side;
    /// # let (row, item) = (plan.source(), plan.target());
    /// let user = plan.entity("user", row, item);
    /// # user.key("id", row.integer("id"), item.integer("id"));
    /// user.on(Side::Source).present_if(row.boolean("migrated"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn on(self, side: Side) -> EntitySide<'p> {
        EntitySide { entity: self, side }
    }
}

/// An entity type as it comes from one side.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// # use driftd_plugin::{Read, Side};
/// # let (row, item) = (plan.source(), plan.target());
/// # let user = plan.entity("user", row, item);
/// # user.key("id", row.integer("id"), item.integer("id"));
/// user.on(Side::Target).only_if(item.text("sk").starts_with("USER#"));
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EntitySide<'p> {
    entity: Entity<'p>,
    side: Side,
}

impl EntitySide<'_> {
    fn change(self, change: impl FnOnce(&mut SideOf)) {
        let mut inner = self.entity.plan.inner.borrow_mut();
        let side = usize::from(self.side == Side::Target);
        change(&mut inner.entities[self.entity.index].sides[side]);
    }

    /// Rows for which this is not true are out of scope: not migrated yet. Their fields are read.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::Side;
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// # user.key("id", row.integer("id"), item.integer("id"));
    /// user.on(Side::Source).present_if(row.boolean("migrated"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn present_if(self, condition: impl Read<Kind = Boolean>) {
        let condition = crate::map::Condition { condition, otherwise: Standing::Excluded };
        self.change(|side| side.standing = Some(Box::new(condition)));
    }

    /// Rows for which this is not true are no such entity at all: another kind of item. Their fields
    /// are not read.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::{Read, Side};
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// # user.key("id", row.integer("id"), item.integer("id"));
    /// user.on(Side::Target).only_if(item.text("sk").starts_with("USER#"));
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn only_if(self, condition: impl Read<Kind = Boolean>) {
        let condition = crate::map::Condition { condition, otherwise: Standing::Other };
        self.change(|side| side.standing = Some(Box::new(condition)));
    }

    /// What becomes of each row, as a closure says.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::{Side, Standing};
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// # user.key("id", row.integer("id"), item.integer("id"));
    /// let deleted = item.timestamp("deleted_at");
    /// user.on(Side::Target).standing(move |item| {
    ///     Ok(if item.get(deleted)?.is_some() { Standing::Absent } else { Standing::Present })
    /// });
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn standing(self, f: impl for<'a> Fn(Row<'a>) -> Result<Standing> + 'static) {
        self.change(|side| side.standing = Some(Box::new(f)));
    }

    /// Makes the entities of this side by hand: none, one or several of each row. The fields' own
    /// readers for this side (best [`null`](crate::null)) and its standing are not used.
    ///
    /// ```
    /// use driftd_plugin::{Cell, Integer, Plan, Side, Text, null};
    ///
    /// fn plan(plan: &Plan) {
    ///     let (row, item) = (plan.source(), plan.target());
    ///     let phone = plan.entity("phone", row, item);
    ///     let user = phone.key("user", row.integer("user"), null::<Integer>()).handle();
    ///     let number = phone.key("number", row.text("number"), null::<Text>()).handle();
    ///     let (id, phones) = (item.integer("id"), item.value("phones"));
    ///     phone.on(Side::Target).each(move |item, out| {
    ///         if let Some(Cell::List(phones)) = item.get(phones)? {
    ///             for phone in phones.iter() {
    ///                 out.set(user, item.need(id)?);
    ///                 out.set(number, phone.text());
    ///                 out.present();
    ///             }
    ///         }
    ///         Ok(())
    ///     });
    /// }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn each(self, f: impl for<'a> Fn(Row<'a>, &mut Out) -> Result<()> + 'static) {
        self.change(|side| side.each = Some(Box::new(Each(f))));
    }
}
