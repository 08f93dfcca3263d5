//! Reading what is wanted of a side.
//!
//! Owns [`gather`]: rows by their keys, by what their keys begin with, and by groups. Refuses mapping.
//! Invariant: what could not be read whole is told with whoever wanted it.

use std::collections::BTreeSet;

use crate::check::places::{Place, Wanted};
use crate::check::portion::{Groups, Portion};
use crate::check::{SideContext, store_fault};
use crate::model::{Cost, Fault, Side, StoreKey, Value};
use crate::store::{Care, Fetched, Page, Query};

/// Groups of several rows that are mapped in one call.
const GROUPS_MAX: usize = 1_024;

/// What was read of what was wanted.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) portions: Vec<Portion>,
    /// Who did not get what they wanted, and why.
    pub(super) unread: Vec<(Vec<usize>, Fault)>,
    /// What it cost beside what the portions say.
    pub(super) cost: Cost,
}

impl Gathered {
    fn miss(&mut self, side: Side, fetched: &Fetched, whose: &[usize]) {
        for (positions, error) in &fetched.unread {
            let whose = positions.iter().map(|at| whose[*at]).collect();
            self.unread.push((whose, store_fault(side, error)));
        }
    }
}

/// Reads what is wanted of a side.
pub(super) async fn gather(
    (side, here): (Side, &SideContext),
    wanted: Wanted,
    care: Care,
) -> Gathered {
    let mut gathered = Gathered::default();
    let overlapping = !wanted.under.is_empty();
    for (relation, (keys, whose)) in wanted.rows {
        let context = &here.relations[relation];
        let fetched = here.store.fetch(&context.read, &keys, care).await;
        gathered.cost.add(fetched.cost);
        gathered.miss(side, &fetched, &whose);
        // A row of a relation whose rows are grouped lies by itself only if its group is null.
        let alone =
            |page: Page| if context.group.is_empty() { page } else { here.loose(relation, page) };
        let pages = fetched.pages.into_iter().map(alone).filter(|page| page.keys.rows > 0);
        gathered.portions.extend(pages.map(|page| Portion::of_page(relation, page)));
    }
    for ((relation, width, prefix), (values, whose)) in wanted.under {
        let read = &here.relations[relation].read;
        let columns = read.schema.key_columns().take(width).map(|column| column.name.clone());
        let query = Query { columns: columns.collect(), values, prefix };
        let fetched = here.store.query(read, &query, care).await;
        gathered.cost.add(fetched.cost);
        gathered.miss(side, &fetched, &whose);
        let pages = fetched.pages.into_iter().filter(|page| page.keys.rows > 0);
        let portions = pages.map(|page| Portion { wide: true, ..Portion::of_page(relation, page) });
        gathered.portions.extend(portions);
    }
    if overlapping {
        let mut seen = BTreeSet::new();
        gathered.portions.iter_mut().for_each(|portion| portion.keep_unseen(here, &mut seen));
    }
    let mut groups: Vec<(Vec<Value>, Vec<usize>)> = wanted.groups.into_values().collect();
    while !groups.is_empty() {
        let later = groups.split_off(groups.len().min(GROUPS_MAX));
        gather_groups((side, here), groups, care, &mut gathered).await;
        groups = later;
    }
    gathered
}

/// Reads whole groups, in all relations whose rows are grouped.
async fn gather_groups(
    (side, here): (Side, &SideContext),
    groups: Vec<(Vec<Value>, Vec<usize>)>,
    care: Care,
    gathered: &mut Gathered,
) {
    let (values, whose): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    let mut lost: BTreeSet<StoreKey> = BTreeSet::new();
    let mut read = Vec::new();
    for relation in here.grouped() {
        let query = here.group_query(relation, values.clone());
        let fetched = here.store.query(&here.relations[relation].read, &query, care).await;
        gathered.cost.add(fetched.cost);
        for (positions, error) in &fetched.unread {
            let fault = store_fault(side, error);
            let all = positions.iter().flat_map(|at| whose[*at].iter().copied()).collect();
            gathered.unread.push((all, fault));
            lost.extend(positions.iter().map(|at| Place::Group(values[*at].clone()).encode()));
        }
        read.extend(fetched.pages.into_iter().map(|page| (relation, page)));
    }
    let mut whole = Groups::default();
    for (relation, page) in read {
        let groups = here.groups_of(relation, &page.rows);
        // Of a group that is not whole nothing is mapped: it would be another entity.
        let known = |at: usize| {
            let group = groups[at].as_ref()?;
            (!lost.contains(&Place::Group(group.clone()).encode())).then(|| group.clone())
        };
        let kept: Vec<(usize, Vec<Value>)> =
            (0..groups.len()).filter_map(|at| Some((at, known(at)?))).collect();
        let (rows, groups): (Vec<usize>, Vec<Vec<Value>>) = kept.into_iter().unzip();
        let page = Page { keys: page.keys.take(&rows), rows: page.rows.take(&rows), ..page };
        whole.add(relation, page, groups);
    }
    if !whole.is_empty() {
        gathered.portions.push(whole.finish());
    }
}
