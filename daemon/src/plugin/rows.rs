//! What goes into a mapping, and what comes out.
//!
//! Owns the values of the calls of a [`Session`](super::Session): rows in groups, entities, places,
//! pairs, tallies. Refuses to know of stores and of the contract. Invariant: rows that belong together
//! are in one call, and what came of them is told by the number of their group.

use std::borrow::Cow;
use std::ops::Range;

use super::PluginError;
use crate::model::{Batch, Standing, Violation};

/// Rows of one side, for one call.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// The rows, by relation.
    pub inputs: Vec<Input<'a>>,
    /// How many groups there are; they are numbered from 0.
    pub groups: usize,
}

/// Rows of one relation.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// Position among the relations of the side's plan.
    pub relation: usize,
    /// The columns that the plan asks for, in its order.
    pub rows: Cow<'a, Batch>,
    /// For each row its group. None: every row is a group, numbered as the row is.
    pub group: Option<Vec<u32>>,
}

impl<'a> Rows<'a> {
    /// Rows of one relation, each of which is a group.
    #[must_use]
    pub fn each(relation: usize, rows: &'a Batch) -> Self {
        let input = Input { relation, rows: Cow::Borrowed(rows), group: None };
        Self { groups: rows.rows, inputs: vec![input] }
    }

    /// How many rows there are, over all relations.
    #[must_use]
    pub fn count(&self) -> usize {
        self.inputs.iter().map(|input| input.rows.rows).sum()
    }

    /// The rows of successive groups, which are numbered anew.
    #[must_use]
    pub fn part(&self, groups: Range<usize>) -> Rows<'static> {
        self.take(&groups.collect::<Vec<_>>())
    }

    /// The rows of these groups, each named once, which are numbered anew in this order.
    #[must_use]
    pub fn take(&self, groups: &[usize]) -> Rows<'static> {
        let mut numbers = vec![None; self.groups];
        for (number, group) in (0..).zip(groups) {
            numbers[*group] = Some(number);
        }
        let inputs = self.inputs.iter().map(|input| input.take(groups, &numbers));
        Rows { inputs: inputs.collect(), groups: groups.len() }
    }
}

impl Input<'_> {
    /// The rows of some groups; `numbers` has the new number of each.
    fn take(&self, groups: &[usize], numbers: &[Option<u32>]) -> Input<'static> {
        let relation = self.relation;
        let Some(of) = &self.group else {
            return Input { relation, rows: Cow::Owned(self.rows.take(groups)), group: None };
        };
        let number = |row: usize| Some((numbers[of[row] as usize]?, row));
        let mut kept: Vec<(u32, usize)> = (0..of.len()).filter_map(number).collect();
        // Stable: rows of one group keep their order.
        kept.sort_by_key(|(number, _)| *number);
        let (group, rows): (Vec<u32>, Vec<usize>) = kept.into_iter().unzip();
        Input { relation, rows: Cow::Owned(self.rows.take(&rows)), group: Some(group) }
    }
}

/// What mapping some rows gave. A group yields any number of entities, of any type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    /// Canonical entities; at most one of these for each entity type.
    pub outputs: Vec<Output>,
    /// Groups that cannot be mapped, ascending, and why (counts as a value). They yield no entity.
    pub rejected: Vec<(usize, String)>,
    /// Set if some of the rejected groups are those that the plugin itself fails on.
    pub failed: Option<Failed>,
}

/// Groups of a call on each of which the plugin fails by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Failed {
    /// The first of them.
    pub group: usize,
    /// How many there are.
    pub count: usize,
    /// How it fails on the first.
    pub error: PluginError,
}

/// Entities of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Output {
    /// Position of the type in the plan.
    pub entity: usize,
    /// The entities, columns in the order of the type's fields.
    pub entities: Batch,
    /// For each entity the group that it came from. Never falls.
    pub from_group: Vec<usize>,
    /// For each entity whether it counts as there.
    pub standing: Vec<Standing>,
}

/// Where entities are kept in one relation.
#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    /// Position among the relations of the side's plan.
    pub relation: usize,
    /// What the keys are.
    pub access: Access,
    /// Primary keys, or their first columns, in key order.
    pub keys: Batch,
    /// For each key the entity that it belongs to: an entity may have none, one or several.
    pub from_entity: Vec<usize>,
}

/// How rows are found by located keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// The keys are whole: each is of at most one row.
    Get,
    /// The keys are the first columns of primary keys: each is of any number of rows.
    Query {
        /// Whether the last column only begins with its value.
        prefix: bool,
    },
}

/// Canonical entities of both sides, aligned: row `i` of both is the same key.
#[derive(Debug)]
pub struct Pairs<'a> {
    /// Position of their type in the plan.
    pub entity: usize,
    /// The source's.
    pub source: &'a Batch,
    /// Which of them are there.
    pub source_present: &'a [bool],
    /// The target's.
    pub target: &'a Batch,
    /// Which of them are there.
    pub target_present: &'a [bool],
}

/// An invariant that a pair failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairViolation {
    /// The pair.
    pub pair: usize,
    /// What failed.
    pub violation: Violation,
}

/// What checking pairs one apart from the other gave.
#[derive(Debug)]
pub struct Checked {
    /// The invariants that failed.
    pub violations: Vec<PairViolation>,
    /// Pairs on which the plugin fails by themselves, ascending, and how. They are not checked, so that
    /// they are unread, and never the same.
    pub failed: Vec<(usize, PluginError)>,
}

/// Where entities are, located one apart from the other.
#[derive(Debug)]
pub struct Placed {
    /// The places; one of these for each relation and access.
    pub located: Vec<Located>,
    /// Entities on which the plugin fails by themselves, ascending, and how. Where they lie is not known,
    /// so that they are unread, and never missing.
    pub failed: Vec<(usize, PluginError)>,
}

/// What the accumulator of a rule over many pairs is fed with.
#[derive(Debug)]
pub enum Tally<'a> {
    /// Pairs, in a call for each of these, one after the other.
    Pairs(&'a [Pairs<'a>]),
    /// Snapshots of others, one after the other.
    States(&'a [Vec<u8>]),
}

/// What an accumulator came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// Its snapshot.
    pub state: Vec<u8>,
    /// What it says.
    pub violations: Vec<Violation>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ColumnBuilder;

    fn numbers(values: &[i64]) -> Batch {
        let mut column = ColumnBuilder::int64(values.len());
        values.iter().for_each(|value| column.push_i64(*value));
        Batch { rows: values.len(), columns: vec![column.finish()] }
    }

    #[test]
    fn a_part_has_the_rows_of_its_groups_numbered_anew() {
        let rows = numbers(&[10, 11, 12]);
        let part = Rows::each(1, &rows).part(1..3);
        assert_eq!((part.groups, part.count(), part.inputs[0].relation), (2, 2, 1));
        assert_eq!(*part.inputs[0].rows, numbers(&[11, 12]));
        assert_eq!(part.inputs[0].group, None);

        let input = |relation, values: &[i64], group: &[u32]| Input {
            relation,
            rows: Cow::Owned(numbers(values)),
            group: Some(group.to_vec()),
        };
        let rows = Rows {
            inputs: vec![input(0, &[1, 2], &[0, 2]), input(1, &[3, 4, 5], &[0, 1, 2])],
            groups: 3,
        };
        let part = rows.part(1..3);
        assert_eq!((part.groups, part.count()), (2, 3));
        assert_eq!(*part.inputs[0].rows, numbers(&[2]));
        assert_eq!(part.inputs[0].group.as_deref(), Some(&[1][..]));
        assert_eq!(*part.inputs[1].rows, numbers(&[4, 5]));
        assert_eq!(part.inputs[1].group.as_deref(), Some(&[0, 1][..]));

        let turned = rows.take(&[2, 0]);
        assert_eq!(*turned.inputs[0].rows, numbers(&[2, 1]));
        assert_eq!(turned.inputs[0].group.as_deref(), Some(&[0, 1][..]));
        assert_eq!(*turned.inputs[1].rows, numbers(&[5, 3]));
    }
}
