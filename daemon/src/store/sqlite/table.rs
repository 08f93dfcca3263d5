//! What a SQLite file says of a table, and the statements that read it.
//!
//! Owns the logical type of each declared type, and bounded reads along the primary key or the column
//! that cuts the table. Refuses tables without a key. Invariant: every value is a parameter, every name is quoted here.
//!
//! | declared as | logical type | stored as |
//! | --- | --- | --- |
//! | `BOOL...` | boolean | integer 0 or 1 |
//! | `...INT...` | integer | integer |
//! | `DEC...`, `NUM...` | decimal | integer, real or text |
//! | `REAL`, `FLOA...`, `DOUB...` | float | real or integer |
//! | `DATETIME` | datetime | text `2024-01-02 03:04:05.678`, or integer microseconds |
//! | `TIMESTAMP` | timestamp, UTC | the same, `Z` or an offset allowed |
//! | `DATE` | date | text `2024-01-02`, or integer days |
//! | `TIME` | time | text `03:04:05.678`, or integer microseconds |
//! | `JSON` | json | text |
//! | `...CHAR...`, `...CLOB...`, `...TEXT...` | text | text |
//! | `...BLOB...` | binary | blob |
//! | nothing | value | anything |

use std::num::NonZeroU32;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::cells::{self, Pages};
use super::error_kind;
use super::index::Cut;
use crate::model::{Batch, ColumnDef, Logical, Range, RelationSchema};
use crate::store::identity::{assert_key, retyped};
use crate::store::near::nearest;
use crate::store::{Page, Read, StoreErrorKind as Kind};

/// A table.
pub(super) struct Table<'c> {
    pub(super) connection: &'c Connection,
    pub(super) schema: RelationSchema,
    pub(super) declared: Vec<String>,
}

/// How far a statement is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// To the end of the first page.
    Page,
    /// To its own end.
    End,
    /// Until there is more than one question may have.
    Excess,
}

impl<'c> Table<'c> {
    pub(super) fn read(connection: &'c Connection, relation: &str) -> Result<Self, Kind> {
        let of = |error: rusqlite::Error| error_kind(&error);
        let mut statement = connection
            .prepare_cached("SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?)")
            .map_err(of)?;
        let mut rows = statement.query([relation]).map_err(of)?;
        let (mut columns, mut declared, mut key) = (Vec::new(), Vec::new(), Vec::new());
        while let Some(row) = rows.next().map_err(of)? {
            let (name, kind): (String, String) = (row.get(0).map_err(of)?, row.get(1).map_err(of)?);
            let (not_null, part): (bool, u32) = (row.get(2).map_err(of)?, row.get(3).map_err(of)?);
            if part > 0 {
                key.push((part, columns.len()));
            }
            let nullable = !not_null && part == 0;
            columns.push(ColumnDef { name, logical: logical(&kind), nullable });
            declared.push(kind);
        }
        if columns.is_empty() {
            return Err(Kind::NoSuchRelation { near: near(connection, relation)? });
        }
        key.sort_unstable();
        let key = key.into_iter().map(|(_, column)| column).collect();
        let relation = relation.to_owned();
        let schema = RelationSchema { relation, columns, key, open: false, partial: false };
        Ok(Self { connection, schema, declared })
    }

    /// The table as it is now, if it has the key that it was described with, and what is read of it is
    /// of the type that it was.
    pub(super) fn still(connection: &'c Connection, read: &Read) -> Result<Self, Kind> {
        let schema = &read.schema;
        let table = Self::read(connection, &schema.relation)?;
        for name in &read.columns {
            if let (Some(was), Some(is)) = (schema.column(name), table.schema.column(name))
                && was.logical != is.logical
            {
                return Err(retyped(name, was.logical, is.logical));
            }
        }
        let key = table.schema.key_columns();
        assert_key(schema, key.map(|column| (column.name.as_str(), column.logical)))?;
        Ok(table)
    }

    pub(super) fn schema(self) -> RelationSchema {
        self.schema
    }

    /// The first or last value that cuts.
    pub(super) fn end(&self, cut: &Cut, order: &str) -> Result<Option<i64>, Kind> {
        let column = &cut.column;
        let filter = format!("WHERE {column} IS NOT NULL ORDER BY {column} {order} LIMIT 1");
        self.integer(cut, &filter, Vec::new())
    }

    /// Refuses a table with rows that no range holds: SQLite lets a key be null unless it is declared
    /// otherwise. Nulls of the other key columns are met by scans.
    pub(super) fn assert_no_null(&self) -> Result<(), Kind> {
        let (column, from) = (self.first()?, quote(&self.schema.relation));
        let sql = format!("SELECT 1 FROM {from} WHERE {column} IS NULL LIMIT 1");
        let found = self.connection.prepare_cached(&sql).and_then(|mut probe| probe.exists([]));
        if !found.map_err(|error| error_kind(&error))? {
            return Ok(());
        }
        Err(Kind::Unfit(format!("key column {column} is null in a row, which no range holds")))
    }

    /// The first value that begins a new extent after `rows` rows from `from` on.
    pub(super) fn probe(&self, cut: &Cut, from: i64, rows: u32) -> Result<Option<i64>, Kind> {
        let column = &cut.column;
        let filter = format!("WHERE {column} >= ? ORDER BY {column} LIMIT 1 OFFSET ?");
        let step = vec![Value::Integer(from), Value::Integer(i64::from(rows))];
        let next = self.integer(cut, &filter, step)?;
        if next != Some(from) {
            return Ok(next);
        }
        // This number alone has more rows than a step.
        let filter = format!("WHERE {column} > ? ORDER BY {column} LIMIT 1");
        self.integer(cut, &filter, vec![Value::Integer(from)])
    }

    /// A page of the rows that have no value that cuts, behind the key `after`, and where it ends.
    pub(super) fn scan_nulls(
        &self,
        read: &Read,
        cut: &Cut,
        after: &[Value],
        limit: NonZeroU32,
    ) -> Result<Option<(Page, Vec<Value>)>, Kind> {
        let key = &cut.order[1..];
        let mut conditions = vec![format!("{} IS NULL", cut.column)];
        // What is gone on behind begins with the null.
        let after = after.get(1..).unwrap_or_default();
        if !after.is_empty() {
            conditions.push(behind(key));
        }
        let (filter, order) = (conditions.join(" AND "), key.join(", "));
        let filter = format!("WHERE {filter} ORDER BY {order} LIMIT {limit}");
        Ok(self.pages(read, &filter, after.to_vec(), Until::Page)?.pop())
    }

    /// A page of `range` behind the row with the values `after`, and where it ends.
    pub(super) fn scan(
        &self,
        read: &Read,
        range: &Range,
        after: &[Value],
        limit: NonZeroU32,
    ) -> Result<Option<(Page, Vec<Value>)>, Kind> {
        let cut = self.cut(read)?;
        let first = &cut.column;
        let (mut conditions, mut values) = (Vec::new(), Vec::new());
        if !cut.key {
            conditions.push(format!("{first} IS NOT NULL"));
        }
        if !after.is_empty() {
            conditions.push(behind(&cut.order));
            values.extend_from_slice(after);
        } else if let Some(from) = range.from {
            let Ok(from) = i64::try_from(from.max(i128::from(i64::MIN))) else { return Ok(None) };
            conditions.push(format!("{first} >= ?"));
            values.push(Value::Integer(from));
        }
        if let Some(until) = range.until {
            if until <= i128::from(i64::MIN) {
                return Ok(None);
            }
            if let Ok(until) = i64::try_from(until) {
                conditions.push(format!("{first} < ?"));
                values.push(Value::Integer(until));
            }
        }
        let filter = if conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", conditions.join(" AND "))
        };
        let order = cut.order.join(", ");
        let filter = format!("{filter} ORDER BY {order} LIMIT {limit}");
        let mut pages = self.pages(read, &filter, values, Until::Page)?;
        Ok(pages.pop())
    }

    /// The rows with these keys.
    pub(super) fn fetch(&self, read: &Read, keys: &Batch) -> Result<Vec<Page>, Kind> {
        assert_looked_up(&self.schema)?;
        let mut values = Vec::new();
        let mut count = 0;
        for row in 0..keys.rows {
            let columns = self.schema.key_columns().zip(&keys.columns);
            let key: Option<Vec<_>> = columns
                .map(|(column, cells)| cells::parameter(cells, column.logical, row))
                .collect();
            if let Some(key) = key {
                values.extend(key);
                count += 1;
            }
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let one: Vec<_> = self
            .schema
            .key_columns()
            .map(|column| format!("{} = ?", quote(&column.name)))
            .collect();
        let filter = vec![format!("({})", one.join(" AND ")); count].join(" OR ");
        let pages = self.pages(read, &format!("WHERE {filter}"), values, Until::End)?;
        Ok(pages.into_iter().map(|(page, _)| page).collect())
    }

    /// Runs a statement.
    pub(super) fn pages(
        &self,
        read: &Read,
        filter: &str,
        values: Vec<Value>,
        until: Until,
    ) -> Result<Vec<(Page, Vec<Value>)>, Kind> {
        let of = |error: rusqlite::Error| error_kind(&error);
        for name in &read.columns {
            self.assert_column(name)?;
        }
        let mut pages = Pages::new(read);
        let select: Vec<_> = pages.selected().iter().map(|name| quote(name)).collect();
        let from = quote(&self.schema.relation);
        let sql = format!("SELECT {} FROM {from} {filter}", select.join(", "));
        let mut statement = self.connection.prepare_cached(&sql).map_err(of)?;
        let mut rows = statement.query(params_from_iter(values)).map_err(of)?;
        while let Some(row) = rows.next().map_err(of)? {
            let full = pages.push(row)?;
            match until {
                Until::Page if full => break,
                Until::Excess if pages.exceed() => break,
                Until::Page | Until::End | Until::Excess => {}
            }
        }
        Ok(pages.finish())
    }

    pub(super) fn assert_column(&self, name: &str) -> Result<(), Kind> {
        let mut names = self.schema.columns.iter().map(|column| column.name.as_str());
        if names.any(|known| known == name) {
            return Ok(());
        }
        let known = self.schema.columns.iter().map(|column| column.name.as_str());
        Err(Kind::NoSuchColumn { column: name.to_owned(), near: nearest(name, known) })
    }

    /// The position of the first key column.
    pub(super) fn first_of_key(&self) -> Result<usize, Kind> {
        self.schema.key.first().copied().ok_or_else(|| {
            Kind::Unfit("it has no primary key, so its rows cannot be told apart".to_owned())
        })
    }

    /// The first key column, an integer.
    pub(super) fn first(&self) -> Result<String, Kind> {
        let index = self.first_of_key()?;
        let column = &self.schema.columns[index];
        if column.logical != Logical::Integer {
            return Err(Kind::Unfit(format!(
                "its first key column `{}` is of type {}, not an integer, so it cannot be cut into ranges",
                column.name, self.declared[index]
            )));
        }
        Ok(quote(&column.name))
    }

    fn integer(&self, cut: &Cut, filter: &str, values: Vec<Value>) -> Result<Option<i64>, Kind> {
        let (column, from) = (&cut.column, quote(&self.schema.relation));
        let sql = format!("SELECT {column} FROM {from} {filter}");
        let asked = self.connection.prepare_cached(&sql).and_then(|mut statement| {
            statement.query_row(params_from_iter(values), |row| row.get(0)).optional()
        });
        match asked {
            Err(rusqlite::Error::InvalidColumnType(..)) => Err(cells::unlike(column, "an integer")),
            other => other.map_err(|error| error_kind(&error)),
        }
    }
}

/// The names of tables that are nearest to `relation`.
/// Whether rows can be looked up by the relation's key: not by values that SQLite stores in several ways.
///
/// # Errors
/// If they cannot; names the column.
pub(super) fn assert_looked_up(schema: &RelationSchema) -> Result<(), Kind> {
    match schema.key_columns().find(|column| !cells::finds(column.logical)) {
        None => Ok(()),
        Some(column) => Err(Kind::Unfit(format!(
            "its key column `{}` is of type {}, by which rows cannot be looked up: SQLite stores such \
             values in several ways; declare it INTEGER, TEXT or BLOB, as it is stored",
            column.name, column.logical
        ))),
    }
}

fn near(connection: &Connection, relation: &str) -> Result<Vec<String>, Kind> {
    let of = |error: rusqlite::Error| error_kind(&error);
    let sql = "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')";
    let mut statement = connection.prepare(sql).map_err(of)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0)).map_err(of)?;
    let names = names.collect::<Result<Vec<_>, _>>().map_err(of)?;
    Ok(nearest(relation, names.iter().map(String::as_str)))
}

fn logical(declared: &str) -> Logical {
    let name = declared.to_uppercase();
    let name = name.split('(').next().unwrap_or_default().trim();
    let has = |part: &str| name.contains(part);
    match name {
        "" => Logical::Value,
        "JSON" => Logical::Json,
        "DATE" => Logical::Date,
        "TIME" => Logical::Time,
        "DATETIME" => Logical::DateTime,
        _ if has("TIMESTAMP") => Logical::Timestamp,
        _ if has("BOOL") => Logical::Boolean,
        _ if has("INT") => Logical::Integer,
        _ if has("CHAR") || has("CLOB") || has("TEXT") => Logical::Text,
        _ if has("BLOB") => Logical::Binary,
        _ if has("REAL") || has("FLOA") || has("DOUB") => Logical::Float,
        // What SQLite calls numeric, whatever its name.
        _ => Logical::Decimal,
    }
}

/// The rows behind one with given values of these columns.
fn behind(columns: &[String]) -> String {
    format!("({}) > ({})", columns.join(", "), vec!["?"; columns.len()].join(", "))
}

pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
