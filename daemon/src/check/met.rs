//! Which rows are held already.
//!
//! Owns [`Met`]: the rows and groups of one side that a comparison, or a look, holds. Refuses to read.
//! Invariant: a row is taken in once, however often it is read and by whatever it was asked for, until
//! what took it in is taken back.

use std::collections::BTreeMap;

use crate::check::SideContext;
use crate::check::portion::{Lies, Portion};
use crate::model::{Batch, Buffer, Logical};

/// The rows and groups that were met.
#[derive(Debug, Default)]
pub(super) struct Met {
    /// By where they lie: after which mark they were met.
    all: BTreeMap<Box<[u8]>, u64>,
    marks: u64,
}

impl Met {
    /// Remembers what is there.
    pub(super) const fn mark(&mut self) {
        self.marks += 1;
    }

    /// Forgets what was met since it was marked: it is not held after all.
    pub(super) fn back(&mut self) {
        let marks = self.marks;
        self.all.retain(|_, met| *met < marks);
    }

    /// Leaves out what was met before, and takes note of the rest: what is found in several ways, or
    /// asked for by several, is one row.
    pub(super) fn keep_new(&mut self, here: &SideContext, portion: &mut Portion) {
        let kept = self.add(here, &portion.lies);
        portion.keep(&kept);
    }

    /// Takes note of what lies there. Returns the positions of what was not met before.
    pub(super) fn add(&mut self, here: &SideContext, lies: &Lies) -> Vec<usize> {
        let logicals = |relation: usize| here.relations[relation].read.schema.key_columns();
        self.add_of(lies, |relation| logicals(relation).map(|column| column.logical).collect())
    }

    /// As [`Met::add`]; `logicals` are the types of a relation's key columns.
    fn add_of(&mut self, lies: &Lies, logicals: impl Fn(usize) -> Vec<Logical>) -> Vec<usize> {
        let mut new = |bytes: &[u8]| {
            let is_new = !self.all.contains_key(bytes);
            if is_new {
                self.all.insert(Box::from(bytes), self.marks);
            }
            is_new
        };
        let mut scratch = Vec::new();
        match lies {
            Lies::Rows { relation, keys } => {
                let logicals = logicals(*relation);
                (0..keys.rows)
                    .filter(|row| {
                        row_bytes((*relation, &logicals), keys, *row, &mut scratch);
                        new(&scratch)
                    })
                    .collect()
            }
            Lies::Groups(places) => (0..places.len())
                .filter(|at| {
                    scratch.clear();
                    scratch.push(1);
                    scratch.extend_from_slice(&places[*at].0);
                    new(&scratch)
                })
                .collect(),
        }
    }
}

/// What tells the row at these primary keys from all others of its side, whatever layout its page has.
fn row_bytes(
    (relation, logicals): (usize, &[Logical]),
    keys: &Batch,
    row: usize,
    out: &mut Vec<u8>,
) {
    out.clear();
    out.push(0);
    out.extend_from_slice(&(relation as u64).to_be_bytes());
    for (column, logical) in keys.columns.iter().zip(logicals) {
        // Integers that fit no layout of a page together are text there.
        let is_whole = *logical == Logical::Integer;
        if let Some(whole) = if is_whole { column.whole(row) } else { column.integer(row) } {
            out.push(b'i');
            out.extend_from_slice(&whole.to_be_bytes());
        } else if let Some(bytes) = column.bytes(row) {
            out.push(b'b');
            out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            out.extend_from_slice(bytes);
        } else if let (Buffer::Float64(values), true) = (&column.values, column.is_valid(row)) {
            out.push(b'f');
            out.extend_from_slice(&values[row].to_bits().to_be_bytes());
        } else {
            out.push(b'n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnBuilder, StoreKey};

    fn rows(relation: usize, whole: &[i128], texts: &[&str]) -> Lies {
        let mut text = ColumnBuilder::bytes(texts.len());
        texts.iter().for_each(|one| text.push_bytes(one.as_bytes()));
        let whole: Vec<_> = whole.iter().copied().map(Some).collect();
        let columns = vec![Column::of_integers(&whole), text.finish()];
        Lies::Rows { relation, keys: Batch { rows: texts.len(), columns } }
    }

    fn add(met: &mut Met, lies: &Lies) -> Vec<usize> {
        met.add_of(lies, |_| vec![Logical::Integer, Logical::Text])
    }

    #[test]
    fn a_row_is_new_once_whatever_page_it_comes_in() {
        let mut met = Met::default();
        assert_eq!(add(&mut met, &rows(0, &[1, 2, 1], &["a", "a", "a"])), [0, 1]);
        // In another page the column has another layout.
        let wide = i128::from(u64::MAX);
        assert_eq!(add(&mut met, &rows(0, &[wide, 1], &["a", "a"])), [0]);
        assert_eq!(add(&mut met, &rows(0, &[-1, wide, 1], &["a", "a", "a"])), [0]);
        assert_eq!(add(&mut met, &rows(0, &[1, 1], &["", "a"])), [0]);
        assert_eq!(add(&mut met, &rows(1, &[1], &["a"])), [0], "another relation");
        let mut floats = ColumnBuilder::float64(2);
        [1.5, 2.5].iter().for_each(|float| floats.push_f64(*float));
        let keys = Batch { rows: 2, columns: vec![floats.finish()] };
        let floats = Lies::Rows { relation: 0, keys };
        assert_eq!(met.add_of(&floats, |_| vec![Logical::Float]), [0, 1]);
    }

    #[test]
    fn what_is_taken_back_may_come_again_and_the_rest_may_not() {
        let mut met = Met::default();
        let group = |name: &str| Lies::Groups(vec![StoreKey(Box::from(name.as_bytes()))]);
        met.mark();
        assert_eq!(add(&mut met, &group("one")), [0]);
        met.mark();
        assert_eq!(add(&mut met, &group("two")), [0]);
        assert_eq!(add(&mut met, &group("two")), [] as [usize; 0]);
        met.back();
        assert_eq!(add(&mut met, &group("two")), [0]);
        assert_eq!(add(&mut met, &group("one")), [] as [usize; 0]);
    }
}
