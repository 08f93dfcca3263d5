//! A few real rows, mapped.
//!
//! Owns one reading of the first rows of a pairing's sides, for a person who writes a mapping. Refuses
//! to compare, to write and to report. Invariant: rows are read and mapped as checks do it, and a
//! plugin that fails costs no other side.

use std::num::NonZeroU32;

pub use crate::check::{Sampled, Sampling};

use crate::check::{self, Context};
use crate::config::{MappingSettings, Settings};
use crate::journal;
use crate::model::{EntityDef, RelationSchema, Side};
use crate::run::{Clock, RunError, Signals, StartError, differing};
use crate::store::StoreError;

/// Rows of one side, and what the mapping made of them.
#[derive(Debug)]
pub struct Sample {
    /// The side.
    pub side: Side,
    /// The store.
    pub store: String,
    /// Its relations, as the store describes them, in the order of the side's plan, and which columns
    /// of each are read.
    pub relations: Vec<(RelationSchema, Vec<String>)>,
    /// What entities are.
    pub entities: Vec<EntityDef>,
    /// What was read and mapped.
    pub sampling: Sampling,
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
    // Whoever asks for a few rows sees for themselves what the plugin makes of them.
    let started = differing::alone(settings, (&clock, false), &secrets, signals).await?;
    let contexts = started.contexts;
    let mut samples = Vec::new();
    let Some(context) = contexts.first() else { return Ok(samples) };
    for side in sides {
        let sample = of_side(context, *side, count, clock.now()).await;
        samples.push(sample.map_err(|error| told(pairing.to_owned(), *side, error))?);
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
    as_of: crate::model::Moment,
) -> Result<Sample, StoreError> {
    let here = context.side(side);
    let sampling = match context.mapper.begin(as_of) {
        Ok(mut session) => check::sample(context, side, count, &mut *session).await?,
        Err(error) => Sampling { failed: Some(error), ..Sampling::default() },
    };
    let relations =
        here.relations.iter().map(|it| (it.read.schema.clone(), it.read.columns.clone()));
    Ok(Sample {
        side,
        store: here.store.name().to_owned(),
        relations: relations.collect(),
        entities: context.mapper.plan().entities.clone(),
        sampling,
    })
}
