//! What the server says of a table.
//!
//! Owns the reading of `information_schema`, the logical type of each column, and how a value of a
//! key column is written as a parameter. Refuses to read rows. Invariant: every identifier that
//! enters a statement is quoted here.

use mysql_async::{Row, Value, from_value_opt};

use super::index::{INDEXES, Index, indexes};
use super::session::{Ask, Sessions};
use crate::model::{ColumnDef, Logical, RelationSchema};
use crate::store::near::nearest;
use crate::store::{StoreError, StoreErrorKind as Kind};

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    /// The relation's name in the configuration.
    pub(super) relation: String,
    pub(super) database: String,
    pub(super) name: String,
    pub(super) columns: Vec<TableColumn>,
    /// Positions in `columns` of the primary key, in key order.
    pub(super) key: Vec<usize>,
    /// What rows are found by, the primary key included.
    pub(super) indexes: Vec<Index>,
    /// How many rows it has, roughly; the server's estimate may be far off.
    pub(super) rows: u64,
    /// Whether there are columns that this user may not read, and is not shown.
    pub(super) partial: bool,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub(super) struct TableColumn {
    pub(super) name: String,
    pub(super) logical: Logical,
    pub(super) nullable: bool,
    /// As it was declared: `bigint(20) unsigned`.
    pub(super) declared: String,
    pub(super) kind: ColumnKind,
    /// Character set and collation of a text.
    pub(super) text: Option<(String, String)>,
}

/// What matters of a column's type beyond its logical one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Plain,
    /// A 64-bit integer without sign.
    Unsigned64,
    /// Compared as a number, told as bytes.
    Bit,
    /// Ordered by number, told as labels.
    Labels,
    /// Cannot be read.
    Unsupported,
}

impl Table {
    /// Asks the server.
    pub(super) async fn read(sessions: &Sessions, relation: &str) -> Result<Self, StoreError> {
        let (database, name) = match relation.split_once('.') {
            Some((database, name)) => (database, name),
            None => (sessions.database(), relation),
        };
        let of_table = || vec![Value::from(database), Value::from(name)];
        let ask = |sql: &str, params: Vec<Value>| Ask {
            relation: Some(relation),
            doing: "describing the relation",
            sql: sql.to_owned(),
            params,
            walks: 0,
        };
        let columns = sessions.rows(&ask(COLUMNS, of_table())).await?;
        let columns = right_case(columns, name);
        let Some(exact) = columns.first().and_then(|row| text(row, 0)) else {
            return Err(missing(sessions, relation, database, name).await?);
        };
        let of_table = || vec![Value::from(database), Value::from(exact.as_str())];
        let json = match sessions.rows(&ask(CHECKS, of_table())).await {
            Ok(checks) => json_columns(&checks),
            Err(error) if error.kind.heals() => return Err(error),
            // MySQL has a type for JSON, and another view.
            Err(_no_such_column) => Vec::new(),
        };
        // A column that is not understood must not go missing: nobody would be told of it.
        let column = |row| TableColumn::of(row, &json).ok_or_else(|| unlisted(sessions, relation));
        let columns = columns.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let parts = right_case(sessions.rows(&ask(INDEXES, of_table())).await?, &exact);
        let (key, indexes) = indexes(&parts, &columns);
        let all = format!("SELECT * FROM {}.{} LIMIT 0", quote(database), quote(&exact));
        let partial = match sessions.rows(&ask(&all, Vec::new())).await {
            Ok(_none) => false,
            Err(error) if matches!(error.kind, Kind::Denied(_)) => true,
            Err(error) => return Err(error),
        };
        let rows = right_case(sessions.rows(&ask(ESTIMATE, of_table())).await?, &exact);
        let rows = rows.first().and_then(|row| number(row, 1)).unwrap_or(0);
        let (database, relation) = (database.to_owned(), relation.to_owned());
        Ok(Self { relation, database, name: exact, columns, key, indexes, rows, partial })
    }

    /// In the words of all stores.
    pub(super) fn schema(&self) -> RelationSchema {
        let columns = self.columns.iter().map(|column| ColumnDef {
            name: column.name.clone(),
            logical: column.logical,
            nullable: column.nullable,
        });
        RelationSchema {
            relation: self.relation.clone(),
            columns: columns.collect(),
            key: self.key.clone(),
            open: false,
            partial: self.partial,
        }
    }

    /// The table's name as statements write it.
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.database), quote(&self.name))
    }

    /// The columns of the primary key, in key order.
    pub(super) fn key_columns(&self) -> impl Iterator<Item = &TableColumn> {
        self.key.iter().map(|&index| &self.columns[index])
    }

    /// The column of this name, if it can be read.
    pub(super) fn column(&self, name: &str) -> Result<usize, Kind> {
        let found = self.columns.iter().position(|column| column.name == name);
        let found = found
            .ok_or_else(|| Kind::NoSuchColumn { column: name.to_owned(), near: self.near(name) })?;
        let column = &self.columns[found];
        if column.kind == ColumnKind::Unsupported {
            return Err(Kind::Unfit(format!(
                "column `{name}` is of type {}, which cannot be compared: leave it out of the mapping",
                column.declared
            )));
        }
        Ok(found)
    }

    /// The column names that are nearest to `name`.
    pub(super) fn near(&self, name: &str) -> Vec<String> {
        nearest(name, self.columns.iter().map(|column| column.name.as_str()))
    }
}

impl TableColumn {
    fn of(row: &Row, json: &[String]) -> Option<Self> {
        let name = text(row, 1)?;
        let (kind, declared) = (text(row, 2)?.to_lowercase(), text(row, 3)?);
        let (logical, kind) = match kind.as_str() {
            "longtext" if json.contains(&name) => (Logical::Json, ColumnKind::Plain),
            kind => logical(kind, &declared.to_lowercase()),
        };
        let collated = text(row, 5).zip(text(row, 6));
        let nullable = text(row, 4).is_some_and(|nullable| nullable == "YES");
        Some(Self { name, logical, nullable, declared, kind, text: collated })
    }

    pub(super) fn quoted(&self) -> String {
        quote(&self.name)
    }

    /// A parameter of this column's type. Without the conversions the server would convert the
    /// column instead, as doubles or as another character set, and walk the whole table.
    pub(super) fn parameter(&self) -> String {
        // The connection has a character set, too.
        let foreign = self.text.as_ref().filter(|(charset, _)| charset != "utf8mb4");
        match (self.logical, foreign) {
            (Logical::Decimal, _) => {
                let size = self.declared.find('(').zip(self.declared.find(')'));
                let size = size.map_or("(65,30)", |(from, to)| &self.declared[from..=to]);
                format!("CAST(? AS DECIMAL{size})")
            }
            (Logical::Binary, _) if self.kind == ColumnKind::Plain => {
                "CAST(? AS BINARY)".to_owned()
            }
            (Logical::Text, Some((charset, collation))) => {
                format!("CONVERT(? USING {charset}) COLLATE {collation}")
            }
            _ => "?".to_owned(),
        }
    }
}

const COLUMNS: &str = "SELECT table_name, column_name, data_type, column_type, is_nullable, \
    character_set_name, collation_name, @@lower_case_table_names FROM information_schema.columns \
    WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position LIMIT 18446744073709551615";
const ESTIMATE: &str = "SELECT table_name, table_rows, @@lower_case_table_names \
    FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
const NAMES: &str = "SELECT table_name FROM information_schema.tables WHERE table_schema = ? \
    LIMIT 18446744073709551615";
/// MariaDB keeps JSON as text with this check; MySQL knows no table in this view and refuses.
const CHECKS: &str = "SELECT check_clause FROM information_schema.check_constraints \
    WHERE constraint_schema = ? AND table_name = ? LIMIT 18446744073709551615";

/// The columns that a check holds to be JSON.
fn json_columns(checks: &[Row]) -> Vec<String> {
    let of = |row: &Row| {
        let clause = text(row, 0)?;
        let name = clause.strip_prefix("json_valid(`")?.strip_suffix("`)")?;
        Some(name.replace("``", "`"))
    };
    checks.iter().filter_map(of).collect()
}

/// Of a view that compares names without case, the rows that are of the table `name`.
fn right_case(rows: Vec<Row>, name: &str) -> Vec<Row> {
    let cased = |row: &Row| number(row, row.len() - 1).is_some_and(|lower| lower == 0);
    let cased = rows.first().is_some_and(cased);
    let right = |row: &Row| !cased || text(row, 0).is_some_and(|found| found == name);
    rows.into_iter().filter(right).collect()
}

/// Why there is no such table: it is not there, or not shown to this user.
async fn missing(
    sessions: &Sessions,
    relation: &str,
    database: &str,
    name: &str,
) -> Result<StoreError, StoreError> {
    let ask = |sql: String, params: Vec<Value>| Ask {
        relation: Some(relation),
        doing: "looking for the relation",
        sql,
        params,
        walks: 0,
    };
    let look = format!("SELECT 1 FROM {}.{} LIMIT 0", quote(database), quote(name));
    let Err(mut error) = sessions.rows(&ask(look, Vec::new())).await else {
        return Err(unlisted(sessions, relation));
    };
    let own = sessions.database();
    let whole = format!("{own}.{relation}");
    let in_database = async |database: &str| {
        let names = sessions.rows(&ask(NAMES.to_owned(), vec![Value::from(database)])).await?;
        Ok::<Vec<_>, StoreError>(names.iter().filter_map(|row| text(row, 0)).collect())
    };
    // A name with a dot may be meant as one name.
    let meant = relation.contains('.') && in_database(own).await?.iter().any(|one| one == relation);
    if let Kind::NoSuchRelation { near } = &mut error.kind {
        if meant {
            near.push(whole);
        } else {
            let names = in_database(database).await?;
            *near = nearest(name, names.iter().map(String::as_str));
        }
    } else if let Kind::Unfit(words) | Kind::Denied(words) = &mut error.kind
        && relation.contains('.')
    {
        *words = format!(
            "{words}; `{relation}` is read as table `{name}` of database `{database}`. A table that has \
             a dot in its name is written with its database: `{whole}`"
        );
    }
    Ok(error)
}

fn unlisted(sessions: &Sessions, relation: &str) -> StoreError {
    let words = "the server shows no columns of it to this user: grant SELECT on it".to_owned();
    sessions.error(Some(relation), Kind::Denied(words))
}

/// The logical type of a column of data type `kind`.
fn logical(kind: &str, declared: &str) -> (Logical, ColumnKind) {
    let plain = |logical| (logical, ColumnKind::Plain);
    match kind {
        "bigint" if declared.contains("unsigned") => (Logical::Integer, ColumnKind::Unsigned64),
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => {
            plain(Logical::Integer)
        }
        "decimal" | "numeric" => plain(Logical::Decimal),
        "float" => plain(Logical::Float32),
        "double" => plain(Logical::Float),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "uuid" | "inet4"
        | "inet6" => plain(Logical::Text),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            plain(Logical::Binary)
        }
        // Four bytes of SRID and the value as well-known binary: how both servers hand them out.
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => plain(Logical::Binary),
        "bit" => (Logical::Binary, ColumnKind::Bit),
        "date" => plain(Logical::Date),
        "datetime" => plain(Logical::DateTime),
        "timestamp" => plain(Logical::Timestamp),
        "time" => plain(Logical::Time),
        "enum" => (Logical::Enum, ColumnKind::Labels),
        "set" => (Logical::Set, ColumnKind::Labels),
        "json" => plain(Logical::Json),
        _ => (Logical::Binary, ColumnKind::Unsupported),
    }
}

/// An identifier as statements write it.
pub(super) fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The text of a cell; none if it is null.
pub(super) fn text(row: &Row, index: usize) -> Option<String> {
    from_value_opt::<Option<String>>(row.as_ref(index)?.clone()).ok().flatten()
}

pub(super) fn number(row: &Row, index: usize) -> Option<u64> {
    from_value_opt::<Option<u64>>(row.as_ref(index)?.clone()).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(logical: Logical, declared: &str, text: Option<(&str, &str)>) -> TableColumn {
        let text = text.map(|(charset, order)| (charset.to_owned(), order.to_owned()));
        TableColumn {
            name: "k".to_owned(),
            logical,
            nullable: false,
            declared: declared.to_owned(),
            kind: ColumnKind::Plain,
            text,
        }
    }

    #[test]
    fn identifiers_cannot_break_out() {
        assert_eq!(quote("a`; DROP TABLE b; --"), "`a``; DROP TABLE b; --`");
    }

    #[test]
    fn parameters_have_the_type_of_their_column() {
        let parameter = |column: TableColumn| column.parameter();
        assert_eq!(parameter(column(Logical::Integer, "int(11)", None)), "?");
        assert_eq!(
            parameter(column(Logical::Decimal, "decimal(12,3) unsigned", None)),
            "CAST(? AS DECIMAL(12,3))"
        );
        assert_eq!(
            parameter(column(Logical::Text, "varchar(8)", Some(("latin1", "latin1_bin")))),
            "CONVERT(? USING latin1) COLLATE latin1_bin"
        );
    }
}
