//! The statements that read rows.
//!
//! Owns the texts of scans and fetches and the order of their parameters. Refuses values in texts:
//! every value is a parameter. Invariant: a statement reads one bounded step along the primary key
//! or another index, and says which one, because a wrong guess of the server would cost the whole
//! table.

use mysql_async::Value;

use super::index::Walk;
use super::table::{ColumnKind, Table, TableColumn, quote};
use super::wire::{self, Shape};
use crate::model::{Batch, Range};
use crate::store::identity::{assert_key, retyped};
use crate::store::{Read, StoreErrorKind as Kind};

/// Keys of one fetch statement. Few sizes, so that few statements are prepared: what is left over
/// is filled up with the last key.
const SIZES: [usize; 4] = [1, 8, 64, 512];
/// As above for keys of several columns, whose conditions are longer.
const SIZES_COMPOSITE: [usize; 3] = [1, 8, 64];

/// How a relation is read.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    table: &'a Table,
    /// The columns that rows come in the order of.
    order: Vec<&'a TableColumn>,
    pub(super) shape: Shape,
    select: String,
}

/// Keys that are fetched by one statement.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Their positions in the asked keys.
    pub(super) positions: Vec<usize>,
    /// Their values, key by key.
    params: Vec<Value>,
}

/// What a statement with keys or questions is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// All rows that have them.
    Rows,
    /// No rows: whether the server takes these values.
    Values,
    /// No rows and no values: whether the server takes the statement.
    Statement,
}

impl Want {
    /// The parameters of a statement whose rows are at most `rows`.
    pub(super) fn params(self, mut values: Vec<Value>, rows: u64) -> Vec<Value> {
        if self == Self::Statement {
            values.fill(Value::NULL);
        }
        values.push(Value::UInt(if self == Self::Rows { rows } else { 0 }));
        values
    }
}

impl Chunk {
    /// Two halves; none of one key.
    pub(super) fn halves(&self) -> Option<[Self; 2]> {
        let count = self.positions.len();
        let (positions, others) = self.positions.split_at(count / 2);
        let (params, rest) = self.params.split_at(self.params.len() / count.max(1) * (count / 2));
        let half = |positions: &[usize], params: &[Value]| Self {
            positions: positions.to_vec(),
            params: params.to_vec(),
        };
        (count > 1).then(|| [half(positions, params), half(others, rest)])
    }
}

impl<'a> Reader<'a> {
    /// # Errors
    /// If a column is not there, or cannot be read, or there is no primary key, or another one than
    /// `read` knows.
    pub(super) fn new(table: &'a Table, read: &Read, walk: &Walk) -> Result<Self, Kind> {
        if table.key.is_empty() {
            return Err(no_key());
        }
        let key = table.key_columns().map(|column| (column.name.as_str(), column.logical));
        assert_key(&read.schema, key)?;
        let order = walk.order.iter().map(|&index| &table.columns[index]).collect();
        let mut reader = Self { table, order, shape: Shape::default(), select: String::new() };
        let mut expressions = Vec::new();
        for column in read.schema.key_columns() {
            let place = reader.select_column(&column.name, read, &mut expressions)?;
            reader.shape.keys.push(place);
        }
        for column in &read.columns {
            let place = reader.select_column(column, read, &mut expressions)?;
            reader.shape.columns.push(place);
        }
        for column in reader.order.clone() {
            let place = reader.select_resume(column, &mut expressions);
            reader.shape.resume.push(place);
        }
        let (columns, from, index) = (expressions.join(", "), table.quoted(), quote(&walk.index));
        reader.select = format!("SELECT {columns} FROM {from} FORCE INDEX ({index})");
        Ok(reader)
    }

    /// Where a column that rows come in the order of is selected.
    fn select_resume(&mut self, column: &TableColumn, expressions: &mut Vec<String>) -> usize {
        let selected = &mut self.shape.selected;
        // Of labels, the index has the order of their numbers.
        let labels = column.kind == ColumnKind::Labels;
        let known = selected.iter().position(|(selected, _)| *selected == column.name);
        if let Some(place) = known.filter(|_| !labels) {
            return place;
        }
        expressions.push(format!("{}{}", column.quoted(), if labels { "+0" } else { "" }));
        selected.push((column.name.clone(), None));
        selected.len() - 1
    }

    fn select_column(
        &mut self,
        name: &str,
        read: &Read,
        expressions: &mut Vec<String>,
    ) -> Result<usize, Kind> {
        let selected = &mut self.shape.selected;
        if let Some(place) = selected.iter().position(|(selected, _)| selected == name) {
            return Ok(place);
        }
        let column = &self.table.columns[self.table.column(name)?];
        let asked = read.schema.column(name).map_or(column.logical, |known| known.logical);
        if asked != column.logical {
            return Err(retyped(name, asked, column.logical));
        }
        expressions.push(column.quoted());
        selected.push((name.to_owned(), Some(asked)));
        Ok(selected.len() - 1)
    }

    /// What is selected; names the statement's shape.
    pub(super) fn select(&self) -> &str {
        &self.select
    }

    /// How many values a scan goes on behind.
    pub(super) fn order(&self) -> usize {
        self.order.len()
    }

    /// The next `limit` rows of `range` behind those of the values `after`. None: no row can be in
    /// the range.
    pub(super) fn scan(
        &self,
        range: &Range,
        after: &[Value],
        limit: u64,
    ) -> Option<(String, Vec<Value>)> {
        let cut = self.order.first()?;
        let first = cut.quoted();
        // Rows without a value lie before all others.
        let nulls = cut.nullable && range.from.is_none();
        let mut order = self.order.as_slice();
        let (mut conditions, mut params) = (Vec::new(), Vec::new());
        if after.is_empty() {
            match bound(range.from, cut.kind) {
                Bound::Below if cut.nullable && !nulls => {
                    conditions.push(format!("{first} IS NOT NULL"));
                }
                Bound::Below => {}
                Bound::Beyond => return None,
                Bound::At(value) => {
                    conditions.push(format!("{first} >= ?"));
                    params.push(value);
                }
            }
        } else {
            conditions.push(self.behind(after, &mut params));
        }
        if range.until.is_some() {
            match bound(range.until, cut.kind) {
                Bound::Below if nulls => {
                    conditions.push(format!("{first} IS NULL"));
                    // MariaDB would sort by what is null everywhere.
                    order = &order[1..];
                }
                Bound::Below => return None,
                Bound::Beyond => {}
                Bound::At(value) => {
                    let nulls = if nulls { format!(" OR {first} IS NULL") } else { String::new() };
                    conditions.push(format!("({first} < ?{nulls})"));
                    params.push(value);
                }
            }
        }
        params.push(Value::UInt(limit));
        let filter = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let order: Vec<_> = order.iter().map(|column| column.quoted()).collect();
        let order = order.join(", ");
        let sql = format!("{}{filter} ORDER BY {order} LIMIT ?", self.select);
        Some((sql, params))
    }

    /// `(a > ? OR (a = ? AND (b > ? OR (b = ? AND c > ?))))`: unlike `(a, b, c) > (?, ?, ?)`, every
    /// server answers it from the index. Null comes before everything.
    fn behind(&self, after: &[Value], params: &mut Vec<Value>) -> String {
        let mut conditions = Vec::new();
        let count = self.order.len();
        for (index, (column, value)) in self.order.iter().zip(after).enumerate() {
            let name = column.quoted();
            if *value == Value::NULL {
                conditions.push(if index + 1 < count {
                    format!("({name} IS NOT NULL OR ({name} IS NULL AND ")
                } else {
                    format!("{name} IS NOT NULL")
                });
                continue;
            }
            let (param, value) = match column.kind {
                ColumnKind::Labels => ("?".to_owned(), value.clone()),
                ColumnKind::Bit => ("?".to_owned(), bits(value)),
                ColumnKind::Plain | ColumnKind::Unsigned64 | ColumnKind::Unsupported => {
                    (column.parameter(), value.clone())
                }
            };
            params.push(value.clone());
            if index + 1 < count {
                conditions.push(format!("({name} > {param} OR ({name} = {param} AND "));
                params.push(value);
            } else {
                conditions.push(format!("{name} > {param}"));
            }
        }
        conditions.concat() + &"))".repeat(count - 1)
    }

    /// The asked keys with their positions, last first. Keys that no row can have are left out.
    ///
    /// # Panics
    /// If they are no keys of this relation, which is a bug of the caller.
    pub(super) fn asked(&self, keys: &Batch) -> Vec<(usize, Vec<Value>)> {
        let asked: Vec<_> = self.table.key_columns().collect();
        assert!(keys.rows == 0 || keys.columns.len() == asked.len(), "keys of another relation");
        let values = |row: usize| -> Option<Vec<Value>> {
            let columns = asked.iter().zip(&keys.columns).zip(&self.shape.keys);
            let value = |((column, cells), place): ((&&TableColumn, _), &usize)| {
                let logical = self.shape.selected[*place].1.unwrap_or(column.logical);
                wire::parameter(cells, logical, column.kind == ColumnKind::Bit, row)
            };
            columns.map(value).collect()
        };
        (0..keys.rows).rev().filter_map(|row| values(row).map(|values| (row, values))).collect()
    }

    /// Takes the keys of the next statement, of about `most` rows; none: none is left.
    pub(super) fn chunk(&self, asked: &mut Vec<(usize, Vec<Value>)>, most: u64) -> Option<Chunk> {
        let fits = |size: &&usize| u64::try_from(**size).is_ok_and(|size| size <= most);
        let size = self.sizes().iter().rev().find(fits).copied().unwrap_or(1);
        let taken = asked.split_off(asked.len().saturating_sub(size));
        let (positions, params): (Vec<_>, Vec<_>) = taken.into_iter().rev().unzip();
        (!positions.is_empty()).then(|| Chunk { positions, params: params.concat() })
    }

    /// The statement that fetches a chunk.
    pub(super) fn fetch(&self, chunk: &Chunk, want: Want) -> (String, Vec<Value>) {
        let key: Vec<_> = self.table.key_columns().collect();
        let count = chunk.positions.len();
        let size = self.sizes().iter().copied().find(|size| *size >= count).unwrap_or(count);
        let mut params = chunk.params.clone();
        let last = params.len().saturating_sub(key.len());
        for _ in count..size {
            params.extend_from_within(last..last + key.len());
        }
        let filter = if let [column] = key.as_slice() {
            let list = vec![column.parameter(); size].join(", ");
            format!("{} IN ({list})", column.quoted())
        } else {
            // Not `(a, b) IN (...)`: MariaDB walks the whole table for that.
            let equal =
                |column: &&TableColumn| format!("{} = {}", column.quoted(), column.parameter());
            let one = key.iter().map(equal).collect::<Vec<_>>().join(" AND ");
            vec![format!("({one})"); size].join(" OR ")
        };
        // Said here, no setting of a server or proxy cuts the answer.
        let params = want.params(params, u64::MAX);
        (format!("{} WHERE {filter} LIMIT ?", self.select), params)
    }

    const fn sizes(&self) -> &'static [usize] {
        if self.table.key.len() == 1 { &SIZES } else { &SIZES_COMPOSITE }
    }
}

pub(super) fn no_key() -> Kind {
    let words = "it has no primary key (a view has none), so its rows cannot be told apart: give the \
                 table one, or name the table behind the view";
    Kind::Unfit(words.to_owned())
}

/// Where a bound of a range lies among the values that a column can have.
enum Bound {
    /// Before the smallest.
    Below,
    At(Value),
    /// Behind the largest.
    Beyond,
}

fn bound(key: Option<i128>, kind: ColumnKind) -> Bound {
    let Some(key) = key else { return Bound::Below };
    let unsigned = kind == ColumnKind::Unsigned64;
    // A signed parameter below zero would make the server compare an unsigned column as if it had
    // a sign.
    if key < 0 && unsigned {
        return Bound::Below;
    }
    if unsigned {
        return u64::try_from(key).map_or(Bound::Beyond, |key| Bound::At(Value::UInt(key)));
    }
    match i64::try_from(key) {
        Ok(key) => Bound::At(Value::Int(key)),
        Err(_wide) if key < 0 => Bound::Below,
        Err(_wide) => Bound::Beyond,
    }
}

fn bits(value: &Value) -> Value {
    let number = if let Value::Bytes(bytes) = value { wire::number_of(bytes) } else { None };
    number.unwrap_or_else(|| value.clone())
}
