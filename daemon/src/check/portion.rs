//! Rows that are mapped in one call, and where they lie.
//!
//! Owns [`Portion`], and putting the rows of several relations together into groups. Refuses mapping
//! and reading. Invariant: rows of a group are in one portion, all of them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use crate::check::SideContext;
use crate::check::places::{self, Place};
use crate::model::{Batch, Cost, Key, StoreKey, Value};
use crate::plugin::{Input, Rows};
use crate::store::{Page, Unmapped, moved};

/// Rows of one side, for one call of the mapping.
#[derive(Clone, Debug)]
pub(super) struct Portion {
    /// Where each group of it lies.
    pub(super) lies: Lies,
    /// The rows, by relation.
    pub(super) inputs: Vec<Input<'static>>,
    /// Attributes met that the plan does not speak of, with the groups that hold them.
    pub(super) unmapped: Unmapped,
    /// What reading it cost.
    pub(super) cost: Cost,
}

/// Where the groups of a portion lie.
#[derive(Clone, Debug)]
pub(super) enum Lies {
    /// Each is a row of this relation, at these primary keys.
    Rows { relation: usize, keys: Batch },
    /// Each is several rows.
    Groups(Vec<StoreKey>),
}

impl Lies {
    /// How many groups there are.
    pub(super) const fn groups(&self) -> usize {
        match self {
            Self::Rows { keys, .. } => keys.rows,
            Self::Groups(places) => places.len(),
        }
    }

    /// Where one group lies.
    pub(super) fn at(&self, here: &SideContext, group: usize) -> StoreKey {
        match self {
            Self::Rows { relation, keys } => places::of_row(here, *relation, keys, group),
            Self::Groups(places) => places[group].clone(),
        }
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Rows { keys, .. } => keys.bytes(),
            Self::Groups(places) => places.iter().map(|at| at.0.len() as u64 + 16).sum(),
        }
    }
}

/// Where the entities of a page lie: a row may become many, so their places are kept once.
#[derive(Debug)]
pub(super) struct PageLies {
    lies: Arc<Lies>,
    /// The group of each entity; none where each group yields one.
    groups: Option<Vec<usize>>,
}

impl PageLies {
    /// Of entities that came of these groups.
    pub(super) fn new(lies: &Arc<Lies>, from_group: Vec<usize>) -> Self {
        let one_each = from_group.iter().copied().eq(0..lies.groups());
        Self { lies: Arc::clone(lies), groups: (!one_each).then_some(from_group) }
    }

    fn group(&self, entity: usize) -> usize {
        self.groups.as_ref().map_or(entity, |groups| groups[entity])
    }

    /// Where the groups lie of which its entities came.
    pub(super) fn all(&self) -> &Lies {
        &self.lies
    }

    /// Where an entity lies.
    pub(super) fn at(&self, here: &SideContext, entity: usize) -> StoreKey {
        self.lies.at(here, self.group(entity))
    }

    /// The relation and the primary keys, where each entity is a row that stands by itself.
    pub(super) fn rows(&self) -> Option<(usize, &Batch)> {
        match (&*self.lies, &self.groups) {
            (Lies::Rows { relation, keys }, None) => Some((*relation, keys)),
            _ => None,
        }
    }

    /// The integer that the primary key of an entity's row begins with, if it does.
    pub(super) fn first_integer(&self, entity: usize) -> Option<i128> {
        match &*self.lies {
            Lies::Rows { keys, .. } => keys.columns[0].integer(self.group(entity)),
            Lies::Groups(_) => None,
        }
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> u64 {
        self.lies.bytes() + self.groups.as_ref().map_or(0, |groups| groups.len() as u64 * 8)
    }
}

impl Portion {
    /// Rows of a relation, each by itself.
    pub(super) fn of_page(relation: usize, page: Page) -> Self {
        let Page { keys, rows, unmapped, cost } = page;
        Self {
            lies: Lies::Rows { relation, keys },
            inputs: vec![Input { relation, rows: Cow::Owned(rows), group: None }],
            unmapped,
            cost,
        }
    }

    /// Keeps only these of its groups, which ascend.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        let groups = self.lies.groups();
        if kept.len() == groups {
            return;
        }
        self.lies = match &self.lies {
            Lies::Rows { relation, keys } => {
                Lies::Rows { relation: *relation, keys: keys.take(kept) }
            }
            Lies::Groups(places) => {
                Lies::Groups(kept.iter().map(|at| places[*at].clone()).collect())
            }
        };
        let rows = Rows { groups, inputs: std::mem::take(&mut self.inputs) };
        self.inputs = rows.take(kept).inputs;
        let unmapped = std::mem::take(&mut self.unmapped);
        self.unmapped = moved(unmapped, |group| kept.binary_search(&group).ok());
    }

    /// How many rows it has.
    pub(super) fn rows(&self) -> u64 {
        self.inputs.iter().map(|input| input.rows.rows as u64).sum()
    }

    /// Cuts it behind its first `groups` groups. Returns what follows, if anything; what it cost stays
    /// with the first.
    pub(super) fn cut(self, groups: usize) -> (Self, Option<Self>) {
        let all = self.lies.groups();
        if all <= groups {
            return (self, None);
        }
        let Self { lies, inputs, unmapped, cost } = self;
        let rows = Rows { groups: all, inputs };
        let part = |range: Range<usize>| {
            let lies = match &lies {
                Lies::Rows { relation, keys } => {
                    let keys = keys.take(&range.clone().collect::<Vec<_>>());
                    Lies::Rows { relation: *relation, keys }
                }
                Lies::Groups(places) => Lies::Groups(places[range.clone()].to_vec()),
            };
            (lies, rows.part(range).inputs)
        };
        let ((lies, inputs), (rest_lies, rest)) = (part(0..groups), part(groups..all));
        let behind = moved(unmapped.clone(), |group| group.checked_sub(groups));
        let unmapped = moved(unmapped, |group| (group < groups).then_some(group));
        let first = Self { lies, inputs, unmapped, cost };
        let (unmapped, cost) = (behind, Cost::default());
        (first, Some(Self { lies: rest_lies, inputs: rest, unmapped, cost }))
    }

    /// How much memory its rows take, about.
    pub(super) fn bytes(&self) -> u64 {
        self.inputs.iter().map(|input| input.rows.bytes()).sum()
    }

    /// The rows, as the mapping takes them.
    pub(super) fn into_rows(self) -> (Rows<'static>, Lies) {
        (Rows { groups: self.lies.groups(), inputs: self.inputs }, self.lies)
    }
}

/// Rows of several relations on the way into groups.
#[derive(Debug, Default)]
pub(super) struct Groups {
    places: Vec<StoreKey>,
    numbers: BTreeMap<StoreKey, u32>,
    /// By relation: batches of rows, and the group of each row.
    inputs: BTreeMap<usize, (Vec<Batch>, Vec<u32>)>,
    unmapped: Unmapped,
    cost: Cost,
}

impl Groups {
    /// Adds rows of a relation, each with the values of its group.
    pub(super) fn add(&mut self, relation: usize, page: Page, groups: Vec<Vec<Value>>) {
        self.cost.add(page.cost);
        let (batches, numbers) = self.inputs.entry(relation).or_default();
        for group in groups {
            let at = Place::Group(group).encode();
            let next = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
            let number = *self.numbers.entry(at).or_insert_with_key(|at| {
                self.places.push(at.clone());
                next
            });
            numbers.push(number);
        }
        let of_page = &numbers[numbers.len() - page.rows.rows..];
        for (name, rows) in page.unmapped {
            let held = self.unmapped.entry(name).or_default();
            held.extend(rows.into_iter().map(|row| of_page[row] as usize));
            held.sort_unstable();
            held.dedup();
        }
        batches.push(page.rows);
    }

    /// Whether there is no row.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Adds the groups to those that were `met`, in short. Returns how many had been met before.
    pub(super) fn again(&self, met: &mut BTreeSet<u64>) -> usize {
        self.places.iter().filter(|at| !met.insert(Key(at.0.clone()).short())).count()
    }

    /// The portion of all of it.
    pub(super) fn finish(self) -> Portion {
        let input = |(relation, (batches, group)): (usize, (Vec<Batch>, Vec<u32>))| {
            let batches: Vec<&Batch> = batches.iter().collect();
            Input { relation, rows: Cow::Owned(Batch::concat(&batches)), group: Some(group) }
        };
        Portion {
            lies: Lies::Groups(self.places),
            inputs: self.inputs.into_iter().map(input).collect(),
            unmapped: self.unmapped,
            cost: self.cost,
        }
    }
}

impl SideContext {
    /// The relations whose rows are grouped, by position.
    pub(super) fn grouped(&self) -> Vec<usize> {
        (0..self.relations.len()).filter(|at| !self.relations[*at].group.is_empty()).collect()
    }

    /// The values of each row's group; none where one of them is null.
    pub(super) fn groups_of(&self, relation: usize, rows: &Batch) -> Vec<Option<Vec<Value>>> {
        let logicals = self.group_logicals();
        let columns = self.relations[relation].group.iter().map(|at| rows.columns[*at].clone());
        let columns = Batch { rows: rows.rows, columns: columns.collect() };
        let there = |row: usize| columns.columns.iter().all(|column| column.is_valid(row));
        (0..rows.rows)
            .map(|row| there(row).then(|| places::values(&logicals, &columns, row)))
            .collect()
    }

    /// The rows of a page that are in no group, because one of its values is null.
    pub(super) fn loose(&self, relation: usize, page: Page) -> Page {
        let groups = self.groups_of(relation, &page.rows);
        let loose: Vec<usize> = (0..groups.len()).filter(|row| groups[*row].is_none()).collect();
        page.take(&loose)
    }
}
