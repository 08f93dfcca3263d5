//! What the relations of a pairing hold beside what its mapping speaks of.
//!
//! Owns noticing columns and attributes that are neither used nor ignored, and relations that are not
//! any more what they were when the mapping was bound to them. Refuses to bind it anew. Invariant: every
//! column of a relation with a schema is used, ignored or told; a used one that is gone, or of another
//! type, is a fault, because what is read of it is not what is compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::scan::split;
use crate::check::window::Window;
use crate::check::{Context, SideContext, store_fault};
use crate::model::{Direction, Extent, Fault, FaultCode, RelationSchema, Side, Standing};
use crate::plugin::Output;
use crate::store::{Read, Unmapped};

/// Columns that nobody speaks of, by side: all of them, where the side's relations have a schema; a side
/// is left out whose rows tell which attributes they have.
pub type Unspoken = BTreeMap<Side, BTreeSet<String>>;

/// Describes the relations of both sides as they are now, and cuts those that a direction scans.
///
/// # Errors
/// If a store does not answer, or a relation is not any more what the mapping was bound to.
pub async fn survey(
    context: &Context,
    direction: Direction,
) -> Result<(Vec<Extent>, Unspoken), Fault> {
    let mut all = Unspoken::new();
    for side in [Side::Source, Side::Target] {
        all.extend(unspoken(side, context.side(side)).await?.map(|names| (side, names)));
    }
    let side = match direction {
        // The leader says where to cut; the last range is open, so the follower is covered, too.
        Direction::Aligned => context.leads.leader(),
        Direction::FromSource => Side::Source,
        Direction::FromTarget => Side::Target,
    };
    let extents = split(context.side(side), context.partition_rows).await;
    Ok((extents.map_err(|error| store_fault(side, &error))?, all))
}

/// The columns of a side that nobody speaks of. None: its rows tell which attributes they have.
///
/// # Errors
/// If its store does not answer, or a relation is not any more what it was.
async fn unspoken(side: Side, here: &SideContext) -> Result<Option<BTreeSet<String>>, Fault> {
    let mut names = BTreeSet::new();
    for relation in &here.relations {
        let read = &relation.read;
        let described = here.store.describe(&read.schema.relation).await;
        let now = described.map_err(|error| store_fault(side, &error))?;
        if let Some(what) = changed(read, &now) {
            let relation = &now.relation;
            return Err(Fault {
                side: Some(side),
                what: format!("store `{}`, relation `{relation}`: {what}", here.store.name()),
                remedy:
                    "if it stays so, correct the mapping and restart driftd, which then maps the \
                         relation as it is"
                        .to_owned(),
                code: FaultCode::StoreChanged,
            });
        }
        let several = here.relations.len() > 1;
        names.extend(unused(read, &now).map(|name| match several {
            true => format!("{}.{name}", now.relation),
            false => name.to_owned(),
        }));
    }
    let open = here.relations.iter().any(|relation| relation.read.schema.open);
    Ok((!open).then_some(names))
}

/// The columns of a relation that are neither used nor ignored. Those of its key are used: rows are told
/// apart by them.
pub fn unused<'a>(read: &'a Read, now: &'a RelationSchema) -> impl Iterator<Item = &'a str> {
    let keys: Vec<&str> = now.key_columns().map(|column| column.name.as_str()).collect();
    let names = now.columns.iter().map(|column| column.name.as_str());
    let spoken = |name: &str| read.columns.iter().chain(&read.ignored).any(|one| one == name);
    names.filter(move |name| !keys.contains(name) && !spoken(name))
}

/// What of a relation is not any more what is read, if anything is.
fn changed(read: &Read, now: &RelationSchema) -> Option<String> {
    let key = |schema: &RelationSchema| {
        let parts = schema.key_columns().map(|column| (column.name.clone(), column.logical));
        parts.collect::<Vec<_>>()
    };
    if key(&read.schema) != key(now) {
        return Some("its primary key is not any more what it was when driftd started".to_owned());
    }
    read.columns.iter().find_map(|name| {
        let was = read.schema.column(name)?.logical;
        match now.column(name) {
            None => Some(format!("column `{name}`, which is compared, is gone")),
            Some(column) if column.logical != was => Some(format!(
                "column `{name}` was of type {was} when driftd started, and is of type {} now",
                column.logical
            )),
            Some(_) => None,
        }
    })
}

impl Window<'_> {
    /// Notes which attributes the plan does not speak of. Those of what is all out of scope are the
    /// affair of whoever maps that.
    pub(super) fn note_unmapped(
        &mut self,
        side: Side,
        unmapped: Unmapped,
        (groups, outputs): (usize, &[Output]),
    ) {
        if unmapped.is_empty() {
            return;
        }
        let (mut excluded, mut other) = (vec![false; groups], vec![false; groups]);
        for Output { from_group, standing, .. } in outputs {
            for (group, standing) in from_group.iter().zip(standing) {
                match standing {
                    Standing::Excluded => excluded[*group] = true,
                    Standing::Present | Standing::Absent => other[*group] = true,
                }
            }
        }
        let ours = |group: &usize| other[*group] || !excluded[*group];
        let names = unmapped.into_iter().filter(|(_, held)| held.iter().any(ours));
        self.reading(side).unmapped.extend(names.map(|(name, _)| name));
    }
}
