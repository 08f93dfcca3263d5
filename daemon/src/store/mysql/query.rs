//! The statements that ask the questions of a query.
//!
//! Owns their texts and the order of their parameters, and what of a text's beginning an index finds.
//! Refuses values in texts, and collations whose order does not keep together what begins alike.
//! Invariant: a statement gives every row whose bytes answer a question; it may give more.

use mysql_async::Value;

use super::statement::{Reader, Want};
use super::table::{ColumnKind, Table, TableColumn};
use super::wire;
use crate::model::{Batch, Logical};
use crate::store::begins::{before, behind, behind_bytes, whole_characters};
use crate::store::{QUERY_ROWS_MAX, Query, StoreErrorKind as Kind};

/// How many questions one statement asks at most, by what it asks.
const QUESTIONS_MAX: [usize; 2] = [512, 64];

/// How the questions of a query are asked.
#[derive(Debug)]
pub(super) struct Asker<'a> {
    pub(super) reader: Reader<'a>,
    columns: Vec<&'a TableColumn>,
    /// How the last column is searched, if it only begins with its value.
    begins: Option<Begins>,
}

/// How an index finds what begins alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begins {
    /// The order is that of bytes.
    Bytes,
    /// The order is that of characters, up to this one; short values are filled up with spaces.
    Characters(char),
    /// The server finds the range itself.
    Like,
    /// As `Like`, but for what goes on with the character that sorts last. Values have at most so
    /// many characters.
    LikeOrLast(usize),
}

/// What sorts behind every other character in the collations of Unicode 9.
const LAST: char = char::REPLACEMENT_CHARACTER;
/// The most characters of an indexed text.
const INDEXED_MAX: usize = 768;

/// A condition, and its parameters.
type Condition = (String, Vec<Value>);

impl<'a> Asker<'a> {
    /// # Errors
    /// If a column is not there, no index finds rows by them, or not by how the last one begins.
    pub(super) fn new(table: &'a Table, reader: Reader<'a>, query: &Query) -> Result<Self, Kind> {
        let columns = query.columns.iter().map(|name| Ok(&table.columns[table.column(name)?]));
        let columns: Vec<_> = columns.collect::<Result<_, Kind>>()?;
        let last = columns.last().filter(|_| query.prefix);
        let begins = last.map(|column| begins(column)).transpose()?;
        Ok(Self { reader, columns, begins })
    }

    /// How many questions one statement asks at most.
    pub(super) fn most(&self) -> usize {
        QUESTIONS_MAX[usize::from(self.columns.len() > 1 || self.begins.is_some())]
    }

    /// The statement that asks a question for each row of `values`. None: no row answers any.
    pub(super) fn statement(&self, values: &Batch, want: Want) -> Option<(String, Vec<Value>)> {
        let mut asked: Vec<_> =
            (0..values.rows).filter_map(|row| self.condition(values, row)).collect();
        // Few sizes, so that few statements are prepared.
        let last = asked.last()?.clone();
        let size = [1, 8, 64, 512].into_iter().find(|size| *size >= asked.len());
        asked.resize(size.unwrap_or(asked.len()), last);
        let (conditions, params): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        // One more than there may be tells that there are too many.
        let params = want.params(params.concat(), QUERY_ROWS_MAX as u64 + 1);
        let filter = match (self.columns.as_slice(), self.begins) {
            ([column], None) => {
                let list = vec![column.parameter(); conditions.len()].join(", ");
                format!("{} IN ({list})", column.quoted())
            }
            // Not `(a, b) IN (...)`: MariaDB walks the whole table for that.
            _ => conditions.join(" OR "),
        };
        Some((format!("{} WHERE {filter} LIMIT ?", self.reader.select()), params))
    }

    /// The condition of the question at `row`; none: no row answers it.
    fn condition(&self, values: &Batch, row: usize) -> Option<Condition> {
        let (mut conditions, mut params) = (Vec::new(), Vec::new());
        let last = self.columns.len() - 1;
        for (index, (column, cells)) in self.columns.iter().zip(&values.columns).enumerate() {
            if let Some(begins) = self.begins.filter(|_| index == last) {
                let (condition, bounds) = begins.condition(column, cells.bytes(row)?)?;
                conditions.push(condition);
                params.extend(bounds);
            } else {
                let bits = column.kind == ColumnKind::Bit;
                conditions.push(format!("{} = {}", column.quoted(), column.parameter()));
                params.push(wire::parameter(cells, column.logical, bits, row)?);
            }
        }
        Some((format!("({})", conditions.join(" AND ")), params))
    }
}

/// How the index of a column finds what begins alike.
///
/// The range that servers make of `LIKE` is right for the collations that give each character one
/// weight, and for those of Unicode 9 up to [`LAST`]. Others join characters, or end the range before
/// the largest one: there a value would be passed over in silence, and so it would be in those of
/// code points.
fn begins(column: &TableColumn) -> Result<Begins, Kind> {
    if column.logical == Logical::Binary && column.kind == ColumnKind::Plain {
        return Ok(Begins::Bytes);
    }
    let (charset, collation) = column.text.as_ref().map_or(("", ""), |(a, b)| (a, b));
    let largest = match charset {
        "utf8mb4" => Some(char::MAX),
        "utf8mb3" | "utf8" => Some('\u{ffff}'),
        _ => None,
    };
    match largest {
        Some(largest) if collation.ends_with("_bin") => Ok(Begins::Characters(largest)),
        Some(_) if collation.ends_with("_general_ci") => Ok(Begins::Like),
        Some(_) if collation.contains("_0900_") => {
            let size = column.declared.split(['(', ')']).nth(1).and_then(|size| size.parse().ok());
            Ok(Begins::LikeOrLast(size.unwrap_or(INDEXED_MAX)))
        }
        _ => Err(Kind::Unfit(format!(
            "column `{}` is of type {}{}, whose index does not find how a value begins; give it the \
             character set utf8mb4 and the collation utf8mb4_bin",
            column.name,
            column.declared,
            if collation.is_empty() { String::new() } else { format!(" in collation {collation}") },
        ))),
    }
}

impl Begins {
    /// The condition that finds what begins with `value`; none: nothing does.
    fn condition(self, column: &TableColumn, value: &[u8]) -> Option<Condition> {
        let (name, param) = (column.quoted(), column.parameter());
        let (from, until) = match self {
            Self::Bytes => (Some(value.to_vec()), behind_bytes(value)),
            Self::Characters(largest) => {
                let text = whole_characters(value)?;
                if text.chars().any(|character| character > largest) {
                    return None;
                }
                let bytes = |text: Option<String>| text.map(String::into_bytes);
                (bytes(before(text, largest)), bytes(behind(text, largest)))
            }
            Self::Like => {
                let pattern = pattern(whole_characters(value)?);
                let condition = format!("{name} LIKE {param} ESCAPE '|'");
                return Some((condition, vec![Value::from(pattern)]));
            }
            Self::LikeOrLast(size) => {
                let text = whole_characters(value)?;
                let left = size.saturating_sub(text.chars().count());
                let last = |count| format!("{text}{}", LAST.to_string().repeat(count));
                let condition = format!(
                    "({name} LIKE {param} ESCAPE '|' OR {name} >= {param} AND {name} <= {param})"
                );
                let params = [pattern(text), last(1), last(left)];
                return Some((condition, params.into_iter().map(Value::from).collect()));
            }
        };
        let (mut conditions, mut params) = (vec![format!("{name} IS NOT NULL")], Vec::new());
        for (bound, relation) in [(from, ">="), (until, "<")] {
            if let Some(bound) = bound {
                conditions.push(format!("{name} {relation} {param}"));
                params.push(Value::Bytes(bound));
            }
        }
        Some((conditions.join(" AND "), params))
    }
}

/// A pattern of what begins with `text`.
fn pattern(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if matches!(character, '%' | '_' | '|') {
            pattern.push('|');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_for_themselves() {
        assert_eq!(pattern("50%_|\\"), "50|%|_||\\%");
    }
}
