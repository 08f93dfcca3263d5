//! The laws of a mapping of rows, for whoever tries them.
//!
//! Owns their names, the ways of mapping the same rows that must come to the same, and what the same
//! is. Refuses to call a plugin and to say what is to be done. Invariant: each row is mapped by exactly
//! one of a way's last calls, and cells are compared by what they hold, floats by their bits.

use std::ops::Range;

use super::{Mapped, Output};
use crate::model::{Batch, Buffer, Column};

/// The first law.
pub const TWICE: &str = "the same batch twice gives the same bytes";
/// The second law.
pub const CUTTING: &str = "cutting groups into other batches changes nothing";
/// What every call keeps to, whatever it maps.
pub const WITHIN: &str = "what a call returns is within its limits";

/// A way of mapping some rows, on a fresh instance, that must come to what one call over all of them
/// came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All at once, and all at once again.
    Twice,
    /// In batches of so many.
    InBatchesOf(usize),
    /// All at once, the last first.
    Backwards,
}

impl Way {
    /// The law that it is about.
    #[must_use]
    pub const fn law(self) -> &'static str {
        match self {
            Self::Twice => TWICE,
            Self::InBatchesOf(_) | Self::Backwards => CUTTING,
        }
    }

    /// The calls that it takes, in their order on one instance: each the groups that it is given, and
    /// how it differs from one call over all of them, in words.
    #[must_use]
    pub fn calls(self, groups: usize) -> Vec<(Vec<usize>, String)> {
        let all: Vec<usize> = (0..groups).collect();
        match self {
            Self::Twice => vec![
                (all.clone(), "on another fresh instance".to_owned()),
                (all, "again on the same instance".to_owned()),
            ],
            Self::InBatchesOf(size) => {
                let part = |part: &[usize]| (part.to_vec(), format!("in batches of {size}"));
                all.chunks(size.max(1)).map(part).collect()
            }
            Self::Backwards => {
                vec![(all.into_iter().rev().collect(), "in reverse order".to_owned())]
            }
        }
    }
}

/// Whether two calls gave the same bytes.
#[must_use]
pub fn are_same_bytes(this: &Mapped, that: &Mapped) -> bool {
    this.rejected == that.rejected
        && this.outputs.len() == that.outputs.len()
        && this.outputs.iter().zip(&that.outputs).all(|(this, that)| are_same_entities(this, that))
}

fn are_same_entities(this: &Output, that: &Output) -> bool {
    this.entity == that.entity
        && this.from_group == that.from_group
        && this.standing == that.standing
        && this.entities.rows == that.entities.rows
        && this.entities.columns.len() == that.entities.columns.len()
        && this.entities.columns.iter().zip(&that.entities.columns).all(|(this, that)| {
            this.validity == that.validity
                && match (&this.values, &that.values) {
                    // A float that is no number is not even itself.
                    (Buffer::Float64(this), Buffer::Float64(that)) => this
                        .iter()
                        .map(|one| one.to_bits())
                        .eq(that.iter().map(|two| two.to_bits())),
                    (this, that) => this == that,
                }
        })
}

/// What differs between one call over all groups and one over some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Groups that gave something else.
    pub groups: usize,
    /// Entity types and their columns in which they did; none where their entities themselves are
    /// others.
    pub columns: Vec<(usize, usize)>,
}

/// Compares what one call gave of all groups with what another gave of some of them.
#[must_use]
pub fn difference(whole: &Mapped, part: &Mapped, groups: &[usize]) -> Difference {
    let mut difference = Difference::default();
    let nothing = Output::default();
    let types = whole.outputs.iter().chain(&part.outputs).map(|output| output.entity).max();
    for (at, group) in groups.iter().enumerate() {
        let mut alike = is_rejected(whole, *group) == is_rejected(part, at);
        let mut columns = Vec::new();
        for entity in 0..types.map_or(0, |last| last + 1) {
            let of = |mapped: &'_ Mapped| {
                mapped.outputs.iter().position(|output| output.entity == entity)
            };
            let this = of(whole).map_or(&nothing, |at| &whole.outputs[at]);
            let that = of(part).map_or(&nothing, |at| &part.outputs[at]);
            let (these, those) = (entities(this, *group), entities(that, at));
            alike &= this.standing[these.clone()] == that.standing[those.clone()];
            if alike {
                let differ = self::columns((&this.entities, &that.entities), these.zip(those));
                columns.extend(differ.into_iter().map(|column| (entity, column)));
            }
        }
        difference.groups += usize::from(!alike || !columns.is_empty());
        if alike {
            difference.columns.extend(columns);
        }
    }
    difference.columns.sort_unstable();
    difference.columns.dedup();
    difference
}

/// The entities that came from a group.
fn entities(output: &Output, group: usize) -> Range<usize> {
    let first = output.from_group.partition_point(|from| *from < group);
    first..output.from_group.partition_point(|from| *from <= group)
}

fn is_rejected(mapped: &Mapped, row: usize) -> bool {
    mapped.rejected.binary_search_by_key(&row, |(rejected, _)| *rejected).is_ok()
}

/// The columns in which any of these pairs of entities differ.
fn columns(
    (these, those): (&Batch, &Batch),
    pairs: impl Iterator<Item = (usize, usize)>,
) -> Vec<usize> {
    let mut differ = Vec::new();
    for (this, that) in pairs {
        let both = these.columns.iter().zip(&those.columns).enumerate();
        let others = both.filter(|(_, (one, two))| !is_same_cell((one, this), (two, that)));
        differ.extend(others.map(|(column, _)| column));
    }
    differ
}

/// Whether two cells hold the same. What lies under a null is nothing.
fn is_same_cell((this, at): (&Column, usize), (that, other): (&Column, usize)) -> bool {
    match (this.is_valid(at), that.is_valid(other)) {
        (false, false) => return true,
        (true, true) => {}
        (true, false) | (false, true) => return false,
    }
    match (&this.values, &that.values) {
        (Buffer::Float64(this), Buffer::Float64(that)) => {
            this[at].to_bits() == that[other].to_bits()
        }
        (Buffer::Bytes(this), Buffer::Bytes(that)) => this.get(at) == that.get(other),
        (_, Buffer::Float64(_) | Buffer::Bytes(_)) | (Buffer::Float64(_) | Buffer::Bytes(_), _) => {
            false
        }
        (Buffer::Int64(_) | Buffer::UInt64(_), Buffer::Int64(_) | Buffer::UInt64(_)) => {
            this.integer(at) == that.integer(other)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Standing;

    fn column(values: &[Option<i128>]) -> Column {
        Column::of_integers(values)
    }

    fn output(entity: usize, from_group: &[usize], values: &[Option<i128>]) -> Output {
        Output {
            entity,
            entities: Batch { rows: values.len(), columns: vec![column(values), column(values)] },
            from_group: from_group.to_vec(),
            standing: vec![Standing::Present; from_group.len()],
        }
    }

    fn mapped(from_group: &[usize], values: &[Option<i128>], rejected: &[usize]) -> Mapped {
        Mapped {
            outputs: vec![output(0, from_group, values)],
            rejected: rejected.iter().map(|row| (*row, format!("row {row}"))).collect(),
            failed: None,
        }
    }

    #[test]
    fn every_row_is_mapped_once_by_each_way() {
        for way in [Way::InBatchesOf(2), Way::InBatchesOf(9), Way::Backwards] {
            let mut rows: Vec<usize> =
                way.calls(5).into_iter().flat_map(|(rows, _)| rows).collect();
            rows.sort_unstable();
            assert_eq!(rows, [0, 1, 2, 3, 4], "{way:?}");
        }
        assert_eq!(Way::Twice.calls(2).iter().map(|(rows, _)| rows.len()).sum::<usize>(), 4);
    }

    #[test]
    fn a_part_is_held_against_its_rows_of_the_whole() {
        // Row 1 is rejected, row 2 gives two entities, row 3 none.
        let whole = mapped(&[0, 2, 2, 4], &[Some(7), Some(8), None, Some(9)], &[1]);
        let same = mapped(&[1, 1], &[Some(8), None], &[0]);
        assert_eq!(difference(&whole, &same, &[1, 2, 3]), Difference::default());
        let backwards = mapped(&[0, 2], &[Some(9), Some(7)], &[1]);
        assert_eq!(difference(&whole, &backwards, &[4, 1, 0]), Difference::default());

        let both =
            |groups, columns: &[(usize, usize)]| Difference { groups, columns: columns.to_vec() };
        let other = mapped(&[1, 1], &[Some(8), Some(0)], &[0]);
        assert_eq!(difference(&whole, &other, &[1, 2, 3]), both(1, &[(0, 0), (0, 1)]));
        let accepted = mapped(&[0, 1, 1], &[Some(1), Some(8), None], &[]);
        assert_eq!(difference(&whole, &accepted, &[1, 2, 3]), both(1, &[]));
        let fewer = mapped(&[1], &[Some(8)], &[0]);
        assert_eq!(difference(&whole, &fewer, &[1, 2, 3]), both(1, &[]));
        // An entity of another type is another entity.
        let mut typed = same;
        typed.outputs.push(output(2, &[2], &[Some(1)]));
        assert_eq!(difference(&whole, &typed, &[1, 2, 3]), both(1, &[]));
        let none = Mapped { rejected: vec![(0, "no".to_owned())], ..Mapped::default() };
        assert_eq!(difference(&whole, &none, &[1, 2, 3]), both(1, &[]));
    }
}
