//! By which index rows are walked and found.
//!
//! Owns the indexes of a table and the choice among them. Refuses those that a server may pass over,
//! or that hold only parts or functions of columns. Invariant: what is walked in an order has an
//! index in exactly this order, so that no server sorts, or reads from the beginning to go on.

use std::collections::BTreeMap;

use mysql_async::{Row, Value};

use super::statement::no_key;
use super::table::{ColumnKind, Table, TableColumn, number, quote, text};
use crate::model::Logical;
use crate::store::{Read, StoreErrorKind as Kind, named};

/// The indexes of a table, part by part. The views of MySQL and MariaDB differ in their columns.
pub(super) const INDEXES: &str = "SELECT table_name, s.*, @@lower_case_table_names \
    FROM information_schema.statistics AS s WHERE table_schema = ? AND table_name = ? \
    ORDER BY index_name, seq_in_index LIMIT 18446744073709551615";
pub(super) const PRIMARY: &str = "PRIMARY";

/// An index.
#[derive(Clone, Debug)]
pub(super) struct Index {
    pub(super) name: String,
    /// Positions of its columns in those of the table.
    columns: Vec<usize>,
    unique: bool,
    ascending: bool,
}

/// A way through a table.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// The index that is walked.
    pub(super) index: String,
    /// Positions of the columns that rows come in the order of; no two rows are equal in all.
    pub(super) order: Vec<usize>,
}

/// The primary key and the indexes that can be used, of the rows of [`INDEXES`].
pub(super) fn indexes(rows: &[Row], columns: &[TableColumn]) -> (Vec<usize>, Vec<Index>) {
    let mut parts = BTreeMap::<String, Vec<&Row>>::new();
    for row in rows {
        parts.entry(named_text(row, "INDEX_NAME").unwrap_or_default()).or_default().push(row);
    }
    let position = |row: &&Row| {
        let name = named_text(row, "COLUMN_NAME")?;
        columns.iter().position(|column| column.name == name)
    };
    let all = |rows: &[&Row]| rows.iter().map(position).collect::<Option<Vec<_>>>();
    let key = parts.get(PRIMARY).and_then(|rows| all(rows)).unwrap_or_default();
    let usable = parts.iter().filter(|(_, rows)| rows.iter().all(|row| is_usable(row)));
    let indexes = usable.filter_map(|(name, rows)| {
        Some(Index {
            name: name.clone(),
            columns: all(rows)?,
            unique: rows
                .iter()
                .all(|row| at(row, "NON_UNIQUE").and_then(|at| number(row, at)) == Some(0)),
            ascending: rows.iter().all(|row| named_text(row, "COLLATION").as_deref() == Some("A")),
        })
    });
    (key, indexes.collect())
}

/// Whether the server uses this part of an index, and it holds whole values of a column.
fn is_usable(row: &Row) -> bool {
    named_text(row, "INDEX_TYPE").as_deref() == Some("BTREE")
        && at(row, "SUB_PART").and_then(|at| row.as_ref(at)) == Some(&Value::NULL)
        && named_text(row, "IS_VISIBLE").is_none_or(|visible| visible == "YES")
        && named_text(row, "IGNORED").is_none_or(|ignored| ignored == "NO")
}

fn named_text(row: &Row, name: &str) -> Option<String> {
    let value: Option<Option<String>> = at(row, name).map(|at| text(row, at));
    value.flatten()
}

fn at(row: &Row, name: &str) -> Option<usize> {
    row.columns_ref().iter().position(|column| column.name_str().eq_ignore_ascii_case(name))
}

impl Table {
    /// The way along the primary key.
    pub(super) fn by_key(&self) -> Walk {
        Walk { index: PRIMARY.to_owned(), order: self.key.clone() }
    }

    /// The way in the order that `read` says.
    ///
    /// # Errors
    /// If there is no primary key, the column that cuts is no integer, or no index has this order.
    pub(super) fn walk(&self, read: &Read) -> Result<Walk, Kind> {
        if self.key.is_empty() {
            return Err(no_key());
        }
        let Some(cut) = read.other_cut() else { return Ok(self.by_key()) };
        let first = self.column(cut)?;
        let column = &self.columns[first];
        if column.logical != Logical::Integer {
            return Err(Kind::Unfit(format!(
                "column `{cut}` is of type {}, not an integer, so the relation cannot be cut by it",
                column.declared
            )));
        }
        let ways = self.indexes.iter().filter(|index| index.columns.first() == Some(&first));
        let ways = ways.filter_map(|index| Some((index, self.order(index)?)));
        let straight = |index: &Index| self.key.starts_with(&index.columns[1..]);
        // In the order of the primary key where there is a choice.
        let best = ways.min_by_key(|(index, _)| (!straight(index), index.columns.len()));
        best.map(|(index, order)| Walk { index: index.name.clone(), order }).ok_or_else(|| {
            let columns = [cut.to_owned()];
            Kind::Unfit(format!(
                "it has no index in the order of `{cut}`, by which it is to be cut; {}",
                self.remedy(&columns)
            ))
        })
    }

    /// The order of the rows of an index; none if a server would sort, or could not go on behind a
    /// row. A secondary index ends with the primary key, but MariaDB does not know that of a unique
    /// one, where nulls may be equal.
    fn order(&self, index: &Index) -> Option<Vec<usize>> {
        let column = |at: &usize| &self.columns[*at];
        let steady = |column: &TableColumn| {
            let exact =
                !matches!(column.logical, Logical::Float | Logical::Float32 | Logical::Json);
            exact && column.kind != ColumnKind::Unsupported
        };
        let sound = index.ascending && index.columns.iter().map(column).all(steady);
        let nullable = index.columns.iter().map(column).any(|column| column.nullable);
        if !sound || index.unique && nullable {
            return None;
        }
        let mut order = index.columns.clone();
        if !index.unique {
            order.extend(self.key.iter().filter(|key| !index.columns.contains(key)));
        }
        Some(order)
    }

    /// The index that finds rows by `columns`: it begins with them, the last one behind the others.
    ///
    /// # Errors
    /// If a column is not there, or no index does; says what to do.
    pub(super) fn found_by(&self, columns: &[String]) -> Result<&Index, Kind> {
        let places: Vec<_> =
            columns.iter().map(|name| self.column(name)).collect::<Result<_, _>>()?;
        let Some((last, others)) = places.split_last() else {
            return Err(Kind::Unfit("nothing says by which columns rows are found".to_owned()));
        };
        let begins = |index: &&Index| {
            let found = index.columns.get(others.len()) == Some(last);
            found && others.iter().all(|other| index.columns[..others.len()].contains(other))
        };
        // The shortest one is the smallest.
        let found = self.indexes.iter().filter(begins).min_by_key(|index| index.columns.len());
        found.ok_or_else(|| {
            let order = if others.is_empty() { "" } else { ", in this order" };
            Kind::Unfit(format!(
                "it has no index that begins with {}{order}; {}",
                named(columns),
                self.remedy(columns)
            ))
        })
    }

    fn remedy(&self, columns: &[String]) -> String {
        let name = format!("{}_by_{}", self.name, columns.join("_"));
        let list: Vec<_> = columns.iter().map(|column| quote(column)).collect();
        format!(
            "create one: CREATE INDEX {} ON {} ({})",
            quote(&name),
            self.quoted(),
            list.join(", ")
        )
    }
}
