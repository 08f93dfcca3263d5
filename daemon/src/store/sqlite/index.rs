//! By which columns a SQLite table is cut and found.
//!
//! Owns the indexes of a table, and the statements that ask questions. Refuses indexes of parts of a
//! table and of functions, and orders of texts other than that of their bytes, because SQLite would
//! pass over them and walk the whole table. Invariant: a statement gives every row whose bytes answer
//! a question.

use rusqlite::types::Value;

use super::cells;
use super::error_kind;
use super::table::{Table, Until, quote};
use crate::model::Logical;
use crate::store::begins::{behind, behind_bytes, whole_characters};
use crate::store::{Page, QUERY_ROWS_MAX, Query, Read, StoreErrorKind as Kind, named};

/// The column whose ranges cut a table.
pub(super) struct Cut {
    /// As statements write it.
    pub(super) column: String,
    /// Whether it is the first of the primary key.
    pub(super) key: bool,
    /// The columns that rows come in the order of.
    pub(super) order: Vec<String>,
}

impl Table<'_> {
    /// The column that cuts the table.
    ///
    /// # Errors
    /// If it is not there or no integer, or no index begins with it.
    pub(super) fn cut(&self, read: &Read) -> Result<Cut, Kind> {
        let key: Vec<_> = self.schema.key_columns().map(|column| quote(&column.name)).collect();
        let Some(name) = read.other_cut() else {
            return Ok(Cut { column: self.first()?, key: true, order: key });
        };
        self.first_of_key()?;
        self.assert_column(name)?;
        let logical = self.schema.column(name).map(|column| column.logical);
        if let Some(logical) = logical.filter(|logical| *logical != Logical::Integer) {
            return Err(Kind::Unfit(format!(
                "column `{name}` is of type {logical}, not an integer, so the relation cannot be \
                 cut by it"
            )));
        }
        self.assert_index(&[name.to_owned()])?;
        let column = quote(name);
        let order = std::iter::once(column.clone()).chain(key).collect();
        Ok(Cut { column, key: false, order })
    }

    /// Whether rows are found by `columns`.
    ///
    /// # Errors
    /// If a column is not there, its values are stored in more than one way, or no index begins with
    /// them.
    pub(super) fn assert_found_by(&self, columns: &[String]) -> Result<(), Kind> {
        for name in columns {
            self.assert_column(name)?;
            let logical = self.schema.column(name).map(|column| column.logical);
            if let Some(logical) = logical.filter(|logical| !cells::finds(*logical)) {
                return Err(Kind::Unfit(format!(
                    "column `{name}` is of type {logical}, by which rows cannot be looked up"
                )));
            }
        }
        self.assert_index(columns)
    }

    fn assert_index(&self, columns: &[String]) -> Result<(), Kind> {
        let Some((last, others)) = columns.split_last() else {
            return Err(Kind::Unfit("nothing says by which columns rows are found".to_owned()));
        };
        let begins = |index: &Vec<String>| {
            let found = index.get(others.len()) == Some(last);
            found && others.iter().all(|other| index[..others.len()].contains(other))
        };
        if self.indexes()?.iter().any(begins) {
            return Ok(());
        }
        let relation = &self.schema.relation;
        let list: Vec<_> = columns.iter().map(|column| quote(column)).collect();
        Err(Kind::Unfit(format!(
            "it has no index that begins with {}{}; create one: CREATE INDEX {} ON {} ({})",
            named(columns),
            if others.is_empty() { "" } else { ", in this order" },
            quote(&format!("{relation}_by_{}", columns.join("_"))),
            quote(relation),
            list.join(", ")
        )))
    }

    /// The columns of each index that can be used.
    fn indexes(&self) -> Result<Vec<Vec<String>>, Kind> {
        let of = |error: rusqlite::Error| error_kind(&error);
        let sql = "SELECT list.name, part.name, part.coll = 'BINARY' AND NOT list.partial
            FROM pragma_index_list(?) AS list, pragma_index_xinfo(list.name) AS part
            WHERE part.\"key\" ORDER BY list.seq, part.seqno";
        let mut statement = self.connection.prepare_cached(sql).map_err(of)?;
        let mut rows = statement.query([&self.schema.relation]).map_err(of)?;
        let mut indexes: Vec<(String, Option<Vec<String>>)> = Vec::new();
        while let Some(row) = rows.next().map_err(of)? {
            let name: String = row.get(0).map_err(of)?;
            // An expression has no name.
            let part: Option<String> = row.get(1).map_err(of)?;
            let usable: bool = row.get(2).map_err(of)?;
            if indexes.last().is_none_or(|(last, _)| *last != name) {
                indexes.push((name, Some(Vec::new())));
            }
            let Some((_, columns)) = indexes.last_mut() else { continue };
            *columns = columns.take().zip(part.filter(|_| usable)).map(|(mut columns, part)| {
                columns.push(part);
                columns
            });
        }
        let mut indexes: Vec<_> = indexes.into_iter().filter_map(|(_, columns)| columns).collect();
        if let Some(alias) = self.row_number() {
            indexes.push(vec![alias]);
        }
        Ok(indexes)
    }

    /// The primary key, if it is the number of the row: that needs no index.
    fn row_number(&self) -> Option<String> {
        let [index] = self.schema.key.as_slice() else { return None };
        let declared = self.declared[*index].eq_ignore_ascii_case("integer");
        declared.then(|| self.schema.columns[*index].name.clone())
    }

    /// The rows that answer the questions of `query`, whose values are `values`; more than there may
    /// be, if there are too many.
    pub(super) fn ask(&self, read: &Read, query: &Query) -> Result<Vec<Page>, Kind> {
        self.assert_found_by(&query.columns)?;
        if query.prefix {
            self.assert_bytes()?;
        }
        let questions = (0..query.values.rows).filter_map(|row| self.question(query, row));
        let (conditions, values): (Vec<_>, Vec<_>) = questions.unzip();
        if conditions.is_empty() {
            return Ok(Vec::new());
        }
        let filter = format!("WHERE {} LIMIT {}", conditions.join(" OR "), QUERY_ROWS_MAX + 1);
        let pages = self.pages(read, &filter, values.concat(), Until::Excess)?;
        Ok(pages.into_iter().map(|(page, _)| page).collect())
    }

    /// The condition of one question, and its parameters; none: no row answers it.
    fn question(&self, query: &Query, row: usize) -> Option<(String, Vec<Value>)> {
        let (mut conditions, mut params) = (Vec::new(), Vec::new());
        let last = query.columns.len() - 1;
        for (index, (name, cells)) in query.columns.iter().zip(&query.values.columns).enumerate() {
            let logical = self.schema.column(name)?.logical;
            let column = format!("{} COLLATE BINARY", quote(name));
            if query.prefix && index == last {
                let (from, until) = bounds(logical, cells.bytes(row)?)?;
                conditions.push(format!("{column} >= ?"));
                params.push(from);
                if let Some(until) = until {
                    conditions.push(format!("{column} < ?"));
                    params.push(until);
                }
            } else {
                conditions.push(format!("{column} = ?"));
                params.push(cells::parameter(cells, logical, row)?);
            }
        }
        Some((format!("({})", conditions.join(" AND ")), params))
    }

    /// Refuses a file whose texts are not in the order of their bytes.
    fn assert_bytes(&self) -> Result<(), Kind> {
        let of = |error: rusqlite::Error| error_kind(&error);
        let sql = "SELECT encoding FROM pragma_encoding";
        let encoding: String = self.connection.query_row(sql, [], |row| row.get(0)).map_err(of)?;
        if encoding == "UTF-8" {
            return Ok(());
        }
        let words =
            format!("its texts are in {encoding}, and only UTF-8 is found by how it begins");
        Err(Kind::Unfit(words))
    }
}

/// Between which values everything lies that begins with `value`; none: nothing does.
fn bounds(logical: Logical, value: &[u8]) -> Option<(Value, Option<Value>)> {
    if logical == Logical::Binary {
        return Some((Value::Blob(value.to_vec()), behind_bytes(value).map(Value::Blob)));
    }
    let text = whole_characters(value)?;
    Some((Value::Text(text.to_owned()), behind(text, char::MAX).map(Value::Text)))
}
