//! A few real rows, mapped.
//!
//! Owns one reading of the first rows of a pairing's sides, for a person who writes a mapping. Refuses
//! to compare, to write and to report. Invariant: rows are read and mapped as checks do it, and a
//! plugin that fails costs no other side.

use std::num::NonZeroU32;

use futures::StreamExt as _;

use crate::check::Context;
use crate::config::{MappingSettings, Settings};
use crate::journal;
use crate::model::{Batch, EntityDef, Extent, RelationSchema, Side, Standing};
use crate::plugin::{Mapped, PluginError, Session};
use crate::run::{Clock, RunError, Signals, StartError, differing};
use crate::store::{Page, Read, Store, StoreError};

/// Rows of one side, and what the mapping made of them.
#[derive(Debug)]
pub struct Sample {
    /// The side.
    pub side: Side,
    /// The store.
    pub store: String,
    /// The relation, as the store describes it.
    pub schema: RelationSchema,
    /// The columns that are read.
    pub columns: Vec<String>,
    /// What entities are.
    pub entity: EntityDef,
    /// The rows, as they came.
    pub pages: Vec<SampledPage>,
    /// The call in which the plugin failed; then no more is read of this side.
    pub failed: Option<PluginError>,
}

/// Rows that were mapped in one call.
#[derive(Debug)]
pub struct SampledPage {
    /// Their primary keys.
    pub keys: Batch,
    /// The rows.
    pub rows: Batch,
    /// What the mapping made of them.
    pub mapped: Mapped,
}

/// Reads and maps the first `count` rows of `sides` of a pairing.
///
/// # Errors
/// If a store does not answer, or the configuration does not fit it.
pub async fn sample(
    mut settings: Settings,
    pairing: &str,
    sides: &[Side],
    count: NonZeroU32,
    signals: &Signals,
) -> Result<Vec<Sample>, RunError> {
    settings.pairings.retain(|one| one.name == pairing);
    // What this pairing does not use is not asked to work.
    let used = |name: &str| {
        settings
            .pairings
            .iter()
            .any(|one| matches!(&one.mapping, MappingSettings::Plugin(plugin) if plugin == name))
    };
    settings.plugins.retain(|plugin| used(&plugin.name));
    let stores: Vec<_> =
        settings.pairings.iter().flat_map(|one| [&one.source.store, &one.target.store]).collect();
    settings.stores.retain(|store| stores.contains(&&store.name));
    let clock = Clock::new();
    // Nothing leaves this process, so that any keys do.
    let secrets = journal::Identity {
        journal: String::new(),
        digest_key: [0; 32],
        hmac_key: [0; 32],
        seed: 0,
    };
    let (contexts, _specs) = differing::alone(settings, &clock, &secrets, signals).await?;
    let mut samples = Vec::new();
    let Some(context) = contexts.first() else { return Ok(samples) };
    for side in sides {
        let session = context.mapper.begin(clock.now());
        samples.push(of_side(context, *side, count, session).await.map_err(|error| {
            let pairing = pairing.to_owned();
            told(pairing, *side, error)
        })?);
    }
    Ok(samples)
}

fn told(pairing: String, side: Side, error: StoreError) -> RunError {
    let error = Box::new(error);
    RunError::Start(if error.kind.heals() {
        StartError::Unanswered { after: std::time::Duration::ZERO, error }
    } else {
        StartError::Wrong { at: String::new(), pairing, side, error }
    })
}

async fn of_side(
    context: &Context,
    side: Side,
    count: NonZeroU32,
    session: Result<Box<dyn Session>, PluginError>,
) -> Result<Sample, StoreError> {
    let here = context.side(side);
    let plan = context.mapper.plan();
    let mut sample = Sample {
        side,
        store: here.store.name().to_owned(),
        schema: here.read.schema.clone(),
        columns: here.read.columns.clone(),
        entity: plan.entities[0].clone(),
        pages: Vec::new(),
        failed: None,
    };
    let mut session = match session {
        Ok(session) => session,
        Err(error) => return Ok(Sample { failed: Some(error), ..sample }),
    };
    let is_mapped = match side {
        Side::Source => plan.source.mapped,
        Side::Target => plan.target.mapped,
    };
    let read = Read { page_rows: here.read.page_rows.min(count), ..here.read.clone() };
    let mut left = count.get() as usize;
    for extent in extents(&*here.store, &read, context.partition_rows).await? {
        let mut pages = here.store.scan(&read, &extent);
        while left > 0
            && let Some(page) = pages.next().await
        {
            let Page { keys, rows, .. } = page?;
            let first: Vec<usize> = (0..rows.rows.min(left)).collect();
            let (keys, rows) = (keys.take(&first), rows.take(&first));
            left -= first.len();
            let mapped = if is_mapped { session.map(side, &rows) } else { Ok(unmapped(&rows)) };
            match mapped {
                Ok(mapped) => sample.pages.push(SampledPage { keys, rows, mapped }),
                Err(error) => return Ok(Sample { failed: Some(error), ..sample }),
            }
        }
        if left == 0 {
            break;
        }
    }
    Ok(sample)
}

/// Rows that are entities already.
fn unmapped(rows: &Batch) -> Mapped {
    Mapped {
        entities: rows.clone(),
        from_row: (0..rows.rows).collect(),
        standing: vec![Standing::Present; rows.rows],
        rejected: Vec::new(),
    }
}

async fn extents(
    store: &dyn Store,
    read: &Read,
    rows: NonZeroU32,
) -> Result<Vec<Extent>, StoreError> {
    if !store.abilities().ranges {
        return Ok(vec![Extent::Segment { index: 0, of: 1 }]);
    }
    store.split(read, rows).await
}
