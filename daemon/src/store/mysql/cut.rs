//! Where a relation is cut into extents.
//!
//! Owns the choice between cutting the numbers of a dense key and probing a sparse one, and the
//! probes. Refuses columns that are no integers. Invariant: no statement walks more than 10,000 index
//! entries, and the extents together hold every key, existing or not, exactly once.

use mysql_async::{Row, Value, from_value_opt};

use super::session::{Ask, Sessions};
use super::table::{Table, quote};
use super::wire::whole;
use crate::model::{Extent, Logical, Range};
use crate::store::{Read, StoreError, StoreErrorKind as Kind};

/// The most index entries that a statement may walk.
const WALK_MAX: u32 = 10_000;
/// Numbers for each row, at most, for a key to be cut by its numbers.
const SPARSE: i128 = 4;

/// Cuts `table` into extents of about `rows` rows.
pub(super) async fn cut(
    sessions: &Sessions,
    table: &Table,
    read: &Read,
    rows: u32,
) -> Result<Vec<Extent>, StoreError> {
    let probe = Probe::new(sessions, table, read)?;
    let (Some(min), Some(max)) = (probe.end("ASC").await?, probe.end("DESC").await?) else {
        return Ok(extents(&[]));
    };
    let span = max - min + 1;
    let dense = span <= SPARSE * i128::from(table.rows) || span <= i128::from(rows);
    // Where rows come in the order of several columns, one number may have any number of them.
    if probe.unique && dense {
        return Ok(extents(&numbers(min, max, rows)));
    }
    let mut cuts = Vec::new();
    let mut from = min;
    while let Some(next) = probe.after(from, rows).await? {
        cuts.push(next);
        from = next;
    }
    Ok(extents(&cuts))
}

/// The last value that cuts `table`; none: there is none.
pub(super) async fn end(
    sessions: &Sessions,
    table: &Table,
    read: &Read,
) -> Result<Option<i128>, StoreError> {
    Probe::new(sessions, table, read)?.end("DESC").await
}

/// Cuts from `min` to `max` at every `rows` numbers.
fn numbers(min: i128, max: i128, rows: u32) -> Vec<i128> {
    let step = i128::from(rows.max(1));
    std::iter::successors(Some(min + step), |cut| Some(cut + step))
        .take_while(|cut| *cut <= max)
        .collect()
}

/// The ranges between `cuts`, open at both ends.
fn extents(cuts: &[i128]) -> Vec<Extent> {
    let from = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let until = cuts.iter().copied().map(Some).chain(std::iter::once(None));
    from.zip(until).map(|(from, until)| Extent::Range(Range { from, until })).collect()
}

struct Probe<'a> {
    sessions: &'a Sessions,
    table: &'a Table,
    index: String,
    column: String,
    nullable: bool,
    /// Whether no two rows share a value.
    unique: bool,
}

impl<'a> Probe<'a> {
    fn new(sessions: &'a Sessions, table: &'a Table, read: &Read) -> Result<Self, StoreError> {
        let unfit = |kind| sessions.error(Some(&table.relation), kind);
        let walk = table.walk(read).map_err(unfit)?;
        let column = &table.columns[walk.order[0]];
        if column.logical != Logical::Integer {
            return Err(unfit(Kind::Unfit(format!(
                "its first key column `{}` is of type {}, not an integer, so it cannot be cut into ranges",
                column.name, column.declared
            ))));
        }
        let (index, unique) = (quote(&walk.index), walk.order.len() == 1);
        let (column, nullable) = (column.quoted(), column.nullable);
        Ok(Self { sessions, table, index, column, nullable, unique })
    }

    /// The first or last value.
    async fn end(&self, order: &str) -> Result<Option<i128>, StoreError> {
        let column = &self.column;
        let filter =
            if self.nullable { format!("WHERE {column} IS NOT NULL ") } else { String::new() };
        let rest = format!("{filter}ORDER BY {column} {order} LIMIT 1");
        self.ask(&rest, Vec::new(), 1).await
    }

    /// The first value that begins a new extent when the one before begins at `from`: with `rows`
    /// rows between them, or more where one number has more.
    async fn after(&self, from: i128, rows: u32) -> Result<Option<i128>, StoreError> {
        let column = &self.column;
        let (mut at, mut left) = (from, rows);
        while left > 0 {
            let offset = left.min(WALK_MAX - 1);
            let here = format!("WHERE {column} >= ? ORDER BY {column} LIMIT 1 OFFSET ?");
            let params = vec![whole(at).unwrap_or(Value::NULL), Value::UInt(u64::from(offset))];
            let Some(next) = self.ask(&here, params, u64::from(offset) + 1).await? else {
                return Ok(None);
            };
            if next == at {
                // This number alone has more rows than a step: on to the next one.
                let beyond = format!("WHERE {column} > ? ORDER BY {column} LIMIT 1");
                return self.ask(&beyond, vec![whole(at).unwrap_or(Value::NULL)], 1).await;
            }
            (at, left) = (next, left - offset);
        }
        Ok(Some(at))
    }

    async fn ask(
        &self,
        rest: &str,
        params: Vec<Value>,
        walks: u64,
    ) -> Result<Option<i128>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {} FORCE INDEX ({}) {rest}",
            self.column,
            self.table.quoted(),
            self.index
        );
        let relation = Some(self.table.relation.as_str());
        let ask = Ask { relation, doing: "cutting the relation into ranges", sql, params, walks };
        let rows = self.sessions.rows(&ask).await?;
        Ok(rows.first().and_then(integer))
    }
}

fn integer(row: &Row) -> Option<i128> {
    from_value_opt::<i128>(row.as_ref(0)?.clone()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn extents_hold_every_number_once(
            min in any::<i64>(), length in 0i64..10_000, rows in 1u32..3_000,
        ) {
            let min = i128::from(min);
            let max = min + i128::from(length);
            let extents = extents(&numbers(min, max, rows));
            for key in [i128::MIN, min - 1, min, min + i128::from(length / 2), max, max + 1, i128::MAX] {
                let holding = |extent: &&Extent| matches!(extent, Extent::Range(range) if range.contains(key));
                prop_assert_eq!(extents.iter().filter(holding).count(), 1);
            }
        }
    }
}
