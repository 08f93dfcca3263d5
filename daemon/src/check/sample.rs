//! The first rows of a side, mapped.
//!
//! Owns reading and mapping a few rows for a person, or for a test of a plugin. Refuses to compare.
//! Invariant: rows are read, put together and mapped as checks do it.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::check::portion::{Lies, Portion};
use crate::check::scan::{Scan, split};
use crate::check::{Context, RelationContext, SideContext};
use crate::model::{Batch, Extent, Logical, Range, Side, Standing};
use crate::plugin::{Mapped, Output, PluginError, Rows, Session};
use crate::store::{Store, StoreError};

/// Rows that were mapped in one call.
#[derive(Debug)]
pub struct Sampled {
    /// The rows, in groups.
    pub rows: Rows<'static>,
    /// Their primary keys, of rows that stand by themselves.
    pub keys: Option<Batch>,
    /// What the mapping made of them.
    pub mapped: Mapped,
}

/// The first rows of a side.
#[derive(Debug, Default)]
pub struct Sampling {
    /// What was mapped, call by call.
    pub calls: Vec<Sampled>,
    /// The call in which the plugin failed; then no more is read.
    pub failed: Option<PluginError>,
}

/// Reads and maps the first `count` rows of a side, or a few more where they belong together.
///
/// # Errors
/// If the store cannot be read.
pub async fn sample(
    context: &Context,
    side: Side,
    count: NonZeroU32,
    session: &mut dyn Session,
) -> Result<Sampling, StoreError> {
    let mut sampling = Sampling::default();
    let is_mapped = match side {
        Side::Source => context.mapper.plan().source.mapped,
        Side::Target => context.mapper.plan().target.mapped,
    };
    let mut left = count.get() as usize;
    let mut here = context.side(side).clone();
    for relation in &mut here.relations {
        relation.read.page_rows = relation.read.page_rows.min(count);
    }
    for extent in extents(&here, context.partition_rows).await? {
        let mut scan = Scan::new(side, &here, &extent);
        while left > 0
            && let Some(portion) = scan.next().await
        {
            let (rows, keys) = first(portion?, left);
            left = left.saturating_sub(rows.count());
            let mapped = if is_mapped { session.map(side, &rows) } else { Ok(unmapped(&rows)) };
            match mapped {
                Ok(mapped) => sampling.calls.push(Sampled { rows, keys, mapped }),
                Err(error) => {
                    sampling.failed = Some(error);
                    return Ok(sampling);
                }
            }
        }
        if left == 0 {
            break;
        }
    }
    Ok(sampling)
}

/// The first rows of a side, at least one and about `count`, read through `store`. None: there is
/// none, or the side is only looked up and cannot be scanned.
///
/// # Errors
/// If the store cannot be read.
pub async fn first_rows(
    context: &Context,
    side: Side,
    store: Arc<dyn Store>,
    count: NonZeroU32,
) -> Result<Option<Rows<'static>>, StoreError> {
    let mut here = context.side(side).clone();
    here.store = store;
    let ranges = here.store.capabilities().ranges;
    if ranges && !here.relations.iter().all(is_cut_by_integers) {
        return Ok(None);
    }
    for relation in &mut here.relations {
        relation.read.page_rows = relation.read.page_rows.min(count);
    }
    let extent = match ranges {
        true => Extent::Range(Range { from: None, until: None }),
        false => Extent::Segment { index: 0, of: 1 },
    };
    let portion = Scan::new(side, &here, &extent).next().await.transpose()?;
    Ok(portion.map(|portion| first(portion, count.get() as usize).0))
}

fn is_cut_by_integers(relation: &RelationContext) -> bool {
    let group = relation.group.first().map(|at| relation.read.columns[*at].as_str());
    relation.read.schema.cut_by(group).is_some_and(|column| column.logical == Logical::Integer)
}

/// The first groups of a portion, of `most` rows or a few more, and the keys of rows that stand by
/// themselves.
fn first(portion: Portion, most: usize) -> (Rows<'static>, Option<Batch>) {
    let (rows, lies) = portion.into_rows();
    let groups = match &lies {
        Lies::Rows { keys, .. } => keys.rows.min(most),
        Lies::Groups(places) => {
            let enough = (1..places.len()).find(|groups| rows.part(0..*groups).count() >= most);
            enough.unwrap_or(places.len())
        }
    };
    let all: Vec<usize> = (0..groups).collect();
    let keys = match lies {
        Lies::Rows { keys, .. } => Some(keys.take(&all)),
        Lies::Groups(_) => None,
    };
    (rows.part(0..groups), keys)
}

/// Rows that are entities already.
fn unmapped(rows: &Rows<'_>) -> Mapped {
    let output = |rows: &Batch| Output {
        entity: 0,
        entities: rows.clone(),
        from_group: (0..rows.rows).collect(),
        standing: vec![Standing::Present; rows.rows],
    };
    let outputs = rows.inputs.iter().map(|input| output(&input.rows)).collect();
    Mapped { outputs, ..Mapped::default() }
}

async fn extents(here: &SideContext, rows: NonZeroU32) -> Result<Vec<Extent>, StoreError> {
    if !here.store.capabilities().ranges {
        return Ok(vec![Extent::Segment { index: 0, of: 1 }]);
    }
    split(here, rows).await
}
