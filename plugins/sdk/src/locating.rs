//! Where a store keeps an entity.
//!
//! Owns [`Locators`]: entities to store keys, and store keys to entity keys. Refuses to guess: what no
//! locator is given for is located nowhere. Invariant: every key names the entity that it is of.

mod writer;

use std::cell::RefCell;
use std::fmt;

pub use writer::KeyWriter;

use crate::Issue;
use crate::column::{AnyColumn, base, take};
use crate::decimal::Decimal;
use crate::kind::{Binary, Boolean, Integer, Kind, Text, Unsigned};
use crate::map::{Condition, Fill, Filled, Live, Rejects, Stand};
use crate::plan::to_read;
use crate::plan::{Inner, Standing};
use crate::read::Read;
use crate::row::{Call, Col, Result, Row, Rows};
use crate::rules::{Entities, Fields, told};
use crate::time::{Date, DateTime, Time, Timestamp};
use crate::wire::{self, Batch, Column, Context, Error, Located, Output, Side, TableSchema};

/// The locators of a plugin in the making: given to [`Locating::locate`](crate::Locating::locate).
///
/// ```
/// use driftd_plugin::{Locators, Side};
///
/// fn locate(locators: &Locators) {
///     let order = locators.entity("order");
///     let id = order.integer("id");
///     locators.get(order, Side::Source, move |order, key| {
///         key.push(order.need(id)?);
///         key.end();
///         Ok(())
///     });
/// }
/// ```
pub struct Locators {
    entities: Entities,
    tables: Vec<(Side, u32, TableSchema)>,
    /// The key columns of each table, by name.
    keys: Vec<Vec<String>>,
    pub(crate) issues: RefCell<Vec<Issue>>,
    locators: RefCell<Vec<Locator>>,
    identities: RefCell<Vec<Identity>>,
}

impl fmt::Debug for Locators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locators").field("entities", &self.entities.0).finish_non_exhaustive()
    }
}

/// A relation: the only one of a side, or one of several by its name.
///
/// ```
/// use driftd_plugin::{Locators, Side};
///
/// fn locate(locators: &Locators) {
///     let (shop, lines) = (locators.key(Side::Target), locators.key((Side::Source, "lines")));
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct At<'n> {
    side: Side,
    relation: Option<&'n str>,
}

impl From<Side> for At<'_> {
    fn from(side: Side) -> Self {
        Self { side, relation: None }
    }
}

impl<'n> From<(Side, &'n str)> for At<'n> {
    fn from((side, relation): (Side, &'n str)) -> Self {
        Self { side, relation: Some(relation) }
    }
}

struct Locator {
    entity: usize,
    table: usize,
    /// How many columns of the store's key its keys have.
    width: usize,
    access: &'static str,
    keys: Box<dyn Keys>,
}

struct Identity {
    entity: usize,
    table: usize,
    fields: Vec<Option<Box<dyn Fill>>>,
    standing: Option<Box<dyn Stand>>,
}

trait Keys {
    fn keys(&self, call: &Call<'_>, out: &mut KeyWriter);
}

impl<F: for<'a> Fn(Row<'a>, &mut KeyWriter) -> Result<()>> Keys for F {
    fn keys(&self, call: &Call<'_>, out: &mut KeyWriter) {
        let rows = &call.rows[0];
        for row in 0..rows.count {
            out.begin(row as u32);
            match self(Row { call, rows, row }, out) {
                Ok(()) => out.finish_entity(),
                Err(why) => out.abandon(&why),
            }
        }
    }
}

impl Locators {
    pub(crate) fn new(plan: &Inner) -> Self {
        let tables = plan.tables.iter();
        let tables: Vec<_> =
            tables.map(|table| (table.side, table.position, table.schema.clone())).collect();
        let names = |schema: &TableSchema| {
            let column = |index: &u32| schema.columns.get(*index as usize);
            schema.key.iter().filter_map(column).map(|column| column.name.clone()).collect()
        };
        Self {
            entities: plan.entities(),
            keys: tables.iter().map(|(_, _, schema)| names(schema)).collect(),
            tables,
            issues: RefCell::default(),
            locators: RefCell::default(),
            identities: RefCell::default(),
        }
    }

    /// The entity type of a name, as the plan has it.
    ///
    /// ```
    /// # fn locate(locators: &driftd_plugin::Locators) {
    /// let id = locators.entity("order").integer("id");
    /// # }
    /// ```
    #[must_use]
    pub fn entity(&self, name: &str) -> Fields<'_> {
        Fields::new(&self.entities, &self.issues, name)
    }

    fn table(&self, At { side, relation }: At<'_>) -> usize {
        let of_side = || {
            let tables = self.tables.iter().enumerate();
            tables.filter(move |(_, (of, _, _))| *of == side)
        };
        let found = match relation {
            Some(name) => of_side().find(|(_, (_, _, table))| table.name == name),
            None => of_side().next().filter(|_| of_side().count() == 1),
        };
        found.map_or_else(
            || {
                let names = of_side().map(|(_, (_, _, table))| table.name.as_str());
                let issue = match relation {
                    Some(name) => Issue::new(format!("the {side} has no relation `{name}`"))
                        .help(told("it has", names)),
                    None => Issue::new(format!("the {side} has several relations"))
                        .help("name the one that is meant: `(side, \"name\")`"),
                };
                self.issues.borrow_mut().push(issue);
                0
            },
            |(table, _)| table,
        )
    }

    /// Entities are got by their full keys, which a closure writes: none, one or several. One that
    /// it rejects is located nowhere.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Side};
    /// # fn locate(locators: &Locators) {
    /// let user = locators.entity("user");
    /// let (tenant, id) = (user.text("tenant"), user.integer("id"));
    /// locators.get(user, Side::Target, move |user, key| {
    ///     key.write(format_args!("TENANT#{}", user.need(tenant)?));
    ///     key.write(format_args!("USER#{}", user.need(id)?));
    ///     key.end();
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn get<'n>(
        &self,
        of: Fields<'_>,
        at: impl Into<At<'n>>,
        keys: impl for<'a> Fn(Row<'a>, &mut KeyWriter) -> Result<()> + 'static,
    ) {
        let table = self.table(at.into());
        let width = self.keys.get(table).map_or(0, Vec::len);
        let keys = Box::new(keys);
        let locator = Locator { entity: of.index, table, width, access: "get", keys };
        self.locators.borrow_mut().push(locator);
    }

    /// Entities are all rows under the first `columns` of a key, which a closure writes: rows whose
    /// columns are equal to these. With all columns of the key the last, if it is text or binary, is a
    /// prefix: rows whose column begins with it. An entity that the closure rejects is located nowhere.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Side};
    /// # fn locate(locators: &Locators) {
    /// let order = locators.entity("order");
    /// let id = order.integer("id");
    /// locators.query(order, Side::Target, 1, move |order, key| {
    ///     key.write(format_args!("ORDER#{}", order.need(id)?));
    ///     key.end();
    ///     Ok(())
    /// });
    /// // In the archive it lies under some day: `ORDER#7@2024-01-02`.
    /// locators.query(order, Side::Target, 2, move |order, key| {
    ///     key.push("ARCHIVE");
    ///     key.write(format_args!("ORDER#{}@", order.need(id)?));
    ///     key.end();
    ///     Ok(())
    /// });
    /// # }
    /// ```
    pub fn query<'n>(
        &self,
        of: Fields<'_>,
        at: impl Into<At<'n>>,
        columns: usize,
        keys: impl for<'a> Fn(Row<'a>, &mut KeyWriter) -> Result<()> + 'static,
    ) {
        let table = self.table(at.into());
        let width = self.keys.get(table).map_or(0, Vec::len);
        if columns == 0 || columns > width {
            let issue = Issue::new(format!("a query by {columns} columns of a key of {width}"));
            self.issues
                .borrow_mut()
                .push(issue.help("name the leading columns of the key, or all"));
        }
        let width = width.min(columns);
        let keys = Box::new(keys);
        let locator = Locator { entity: of.index, table, width, access: "query", keys };
        self.locators.borrow_mut().push(locator);
    }

    /// The key of a relation, of which entity keys can be read.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Read, Side};
    /// # fn locate(locators: &Locators) {
    /// let (user, key) = (locators.entity("user"), locators.key(Side::Target));
    /// key.identifies(user)
    ///     .field("tenant", key.text("pk").after("TENANT#"))
    ///     .field("id", key.text("sk").after("USER#").parse_integer())
    ///     .only_if(key.text("sk").starts_with("USER#"));
    /// # }
    /// ```
    #[must_use]
    pub fn key<'n>(&self, at: impl Into<At<'n>>) -> StoreKey<'_> {
        StoreKey { locators: self, table: self.table(at.into()) }
    }

    pub(crate) fn locate(
        &self,
        names: &[Vec<String>],
        context: Context,
        entity: u32,
        items: Batch,
    ) -> Result<Vec<Located>, Error> {
        let side = context.side;
        let rows = Rows::of_batch(entity as u16, items);
        let call = Call::new(names, context, vec![rows]);
        let mut located = Vec::new();
        for locator in self.locators.borrow().iter() {
            let (of, position, schema) = &self.tables[locator.table];
            if locator.entity != entity as usize || *of != side {
                continue;
            }
            let mut out = KeyWriter::new(schema, locator.width);
            locator.keys.keys(&call, &mut out);
            for (keys, from_entity) in out.finish()? {
                let access = locator.access.to_owned();
                located.push(Located { relation: *position, access, keys, from_entity });
            }
        }
        Ok(located)
    }

    pub(crate) fn keys_of(
        &self,
        context: Context,
        relation: u32,
        keys: Batch,
    ) -> Result<Vec<Output>, Error> {
        let side = context.side;
        let found =
            self.tables.iter().position(|(of, position, _)| *of == side && *position == relation);
        let Some(table) = found else { return Ok(Vec::new()) };
        let call = Call::new(&self.keys, context, vec![Rows::of_batch(table as u16, keys)]);
        let identities = self.identities.borrow();
        let here = identities.iter().filter(|identity| identity.table == table);
        Ok(here.map(|identity| identity.output(&self.entities, &call)).collect())
    }
}

impl Identity {
    /// The entity keys; a store key that is no such entity's is left out.
    fn output(&self, entities: &Entities, call: &Call<'_>) -> Output {
        let rows = &call.rows[0];
        let mut rejects = Rejects::default();
        let standing = self.standing.as_ref().map(|it| it.stand(call, rows, &mut rejects));
        let live = standing.map(|standing| {
            standing.iter().map(|standing| *standing != Standing::Other).collect::<Vec<_>>()
        });
        let live = Live(live);
        let column = |(field, read): (&wire::FieldDef, &Option<Box<dyn Fill>>)| -> Column {
            let Some(read) = read else {
                let mut nulls = AnyColumn::new(&field.logical);
                nulls.pad(rows.count);
                return nulls.finish();
            };
            match read.fill(call, rows, &live, &mut rejects) {
                Filled::Column(column) => column,
                Filled::Passes(index) => rows.columns[index].clone(),
            }
        };
        let fields = &entities.0[self.entity].0.fields;
        let columns: Vec<_> = fields.iter().zip(&self.fields).map(column).collect();
        let is_live = |row: &u32| live.0.as_ref().is_none_or(|live| live[*row as usize]);
        let kept: Vec<u32> = (0..rows.count as u32)
            .filter(|row| is_live(row) && !rejects.0.iter().any(|(rejected, _)| rejected == row))
            .collect();
        Output {
            entity: self.entity as u32,
            standing: vec![wire::Standing::Present; kept.len()],
            items: take(columns, &kept),
            from_group: kept,
        }
    }
}

macro_rules! key_columns {
    ($($method:ident $kind:ident;)*) => {
        $(
            #[doc = concat!("A column of the key, of the kind [`", stringify!($kind), "`](crate::", stringify!($kind), ").")]
            ///
            /// ```
            /// # use driftd_plugin::{Locators, Side};
            /// # fn locate(locators: &Locators) {
            #[doc = concat!("let column = locators.key(Side::Source).", stringify!($method), "(\"id\");")]
            /// # }
            /// ```
            #[must_use]
            pub fn $method(self, name: &str) -> Col<$kind> {
                self.column(name)
            }
        )*
    };
}

/// The key of a relation, as a store has it.
///
/// ```
/// # use driftd_plugin::{Locators, Read, Side};
/// # fn locate(locators: &Locators) {
/// let key = locators.key(Side::Target);
/// let id = key.text("sk").after("USER#").parse_integer();
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StoreKey<'l> {
    locators: &'l Locators,
    table: usize,
}

impl<'l> StoreKey<'l> {
    /// A text column of the key.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Side};
    /// # fn locate(locators: &Locators) {
    /// let sk = locators.key(Side::Target).text("sk");
    /// # }
    /// ```
    #[must_use]
    pub fn text(self, name: &str) -> Col<Text> {
        self.column(name)
    }

    key_columns! {
        boolean Boolean;
        integer Integer;
        unsigned Unsigned;
        decimal Decimal;
        binary Binary;
        timestamp Timestamp;
        datetime DateTime;
        date Date;
        time Time;
    }

    /// A column of the key, read as the kind that is asked for.
    ///
    /// ```
    /// # use driftd_plugin::{Integer, Locators, Side};
    /// # fn locate(locators: &Locators) {
    /// let id = locators.key(Side::Source).column::<Integer>("id");
    /// # }
    /// ```
    #[must_use]
    pub fn column<K: Kind>(self, name: &str) -> Col<K> {
        let (index, logical) = self.found(name, K::NAME, K::ACCEPTS);
        Col::new(self.table as u16, index, logical)
    }

    /// The position and the logical type of a column.
    #[inline(never)]
    fn found(self, name: &str, kind: &str, accepts: &[&str]) -> (u16, &'l str) {
        let Some((side, _, schema)) = self.locators.tables.get(self.table) else {
            return (0, "value");
        };
        let issue = |what: String, help: String| {
            self.locators.issues.borrow_mut().push(Issue::new(what).help(help));
        };
        let table = &schema.name;
        let names = &self.locators.keys[self.table];
        let Some(index) = names.iter().position(|column| column == name) else {
            let what = format!("the key of `{table}` has no column `{name}`");
            issue(what, format!("at the {side} it has {}", names.join(", ")));
            return (0, "value");
        };
        let known = schema.columns.iter().find(|column| column.name == name);
        let logical = known.map_or("value", |column| base(&column.logical));
        if !(accepts.contains(&logical) || logical == "value") {
            let what =
                format!("key column `{name}` of `{table}` is {logical}, and is read as {kind}");
            issue(what, to_read(name, kind, logical));
        }
        (index as u16, logical)
    }

    /// Says that the key tells the key of an entity.
    ///
    /// ```
    /// # use driftd_plugin::{Integer, Locators, Side};
    /// # fn locate(locators: &Locators) {
    /// let (user, key) = (locators.entity("user"), locators.key(Side::Source));
    /// key.identifies(user).field("id", key.column::<Integer>("id"));
    /// # }
    /// ```
    pub fn identifies(self, of: Fields<'_>) -> KeyOf<'l> {
        let entity = self.locators.entities.0.get(of.index);
        let fields = entity.map_or(0, |(entity, _)| entity.fields.len());
        let fields = std::iter::repeat_with(|| None).take(fields).collect();
        let mut identities = self.locators.identities.borrow_mut();
        identities.push(Identity { entity: of.index, table: self.table, fields, standing: None });
        KeyOf { locators: self.locators, index: identities.len() - 1 }
    }
}

/// How a store key tells the key of an entity.
///
/// ```
/// # use driftd_plugin::{Integer, Locators, Side};
/// # fn locate(locators: &Locators) {
/// # let (user, key) = (locators.entity("user"), locators.key(Side::Source));
/// key.identifies(user).field("id", key.column::<Integer>("id"));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct KeyOf<'l> {
    locators: &'l Locators,
    index: usize,
}

impl KeyOf<'_> {
    /// A field of the entity's key.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Read, Side};
    /// # fn locate(locators: &Locators) {
    /// # let (user, key) = (locators.entity("user"), locators.key(Side::Target));
    /// key.identifies(user).field("id", key.text("sk").after("USER#").parse_integer());
    /// # }
    /// ```
    pub fn field<R: Read>(self, name: &str, read: R) -> Self {
        if let Some(at) = self.found(name, R::Kind::LOGICAL) {
            let mut identities = self.locators.identities.borrow_mut();
            identities[self.index].fields[at] = Some(Box::new(read));
        }
        self
    }

    /// The position of a field that a reader of a logical type is given for.
    #[inline(never)]
    fn found(self, name: &str, logical: &str) -> Option<usize> {
        let entity = self.locators.identities.borrow()[self.index].entity;
        let (entity, kinds) = self.locators.entities.0.get(entity)?;
        let at = entity.fields.iter().position(|field| field.name == name);
        let issue = match at {
            None => {
                let names = entity.fields.iter().map(|field| field.name.as_str());
                Issue::new(format!("entity type `{}` has no field `{name}`", entity.name))
                    .help(told("it has", names))
            }
            Some(at) if kinds[at] != logical && (kinds[at], logical) != ("unsigned", "integer") => {
                let known = kinds[at];
                Issue::new(format!(
                    "field `{name}` is {known}, and the key gives {} {logical} for it",
                    writer::article(logical)
                ))
                .help(format!(
                    "read the key's column as {known}, or make one of it: `.map(..)`, `.parse_..()`"
                ))
            }
            at => return at,
        };
        self.locators.issues.borrow_mut().push(issue);
        None
    }

    /// Keys for which this is not true are of something else.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Read, Side};
    /// # fn locate(locators: &Locators) {
    /// # let (user, key) = (locators.entity("user"), locators.key(Side::Target));
    /// key.identifies(user).only_if(key.text("sk").starts_with("USER#"));
    /// # }
    /// ```
    pub fn only_if(self, condition: impl Read<Kind = Boolean>) -> Self {
        let condition = Condition { condition, otherwise: Standing::Other };
        let mut identities = self.locators.identities.borrow_mut();
        identities[self.index].standing = Some(Box::new(condition));
        drop(identities);
        self
    }
}
