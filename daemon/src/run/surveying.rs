//! What a start would say, without running.
//!
//! Owns one start that begins nothing, for a person who asks whether a configuration fits its stores.
//! Refuses to read rows for comparing. Invariant: what it says of a pairing is what `run` and `verify`
//! would say of it.

use std::collections::BTreeMap;

use crate::check::{Unspoken, unused};
use crate::config::Settings;
use crate::journal;
use crate::model::{Direction, Side};
use crate::run::{Clock, Refusal, RunError, Signals, differing};

/// What is known of a pairing that can be begun.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// Its name.
    pub pairing: String,
    /// The directions of its passes.
    pub directions: Vec<Direction>,
    /// What cannot be verified, and why.
    pub not_verifiable: Option<String>,
    /// Columns that its mapping neither uses nor ignores, of sides whose relations have a schema.
    pub unmapped: Unspoken,
}

/// Asks every store what a start would ask, and binds and tries every mapping.
///
/// # Errors
/// If no pairing can be begun.
pub async fn survey(
    settings: Settings,
    signals: &Signals,
) -> Result<(Vec<Surveyed>, Vec<Refusal>), RunError> {
    let clock = Clock::new();
    // Nothing leaves this process, so that any keys do.
    let secrets = journal::Identity {
        journal: String::new(),
        digest_key: [0; 32],
        hmac_key: [0; 32],
        seed: 0,
    };
    let started = differing::alone(settings, (&clock, true), &secrets, signals).await?;
    let each = started.contexts.iter().zip(&started.specs).map(|(context, spec)| {
        let mut unmapped = BTreeMap::new();
        for side in [Side::Source, Side::Target] {
            let relations = &context.side(side).relations;
            let closed = relations.iter().filter(|relation| !relation.read.schema.open);
            let names = closed.flat_map(|relation| {
                let schema = &relation.read.schema;
                unused(&relation.read, schema).map(|name| match relations.len() {
                    1 => name.to_owned(),
                    _ => format!("{}.{name}", schema.relation),
                })
            });
            unmapped.insert(side, names.collect());
        }
        Surveyed {
            pairing: spec.name.clone(),
            directions: spec.reading.directions.clone(),
            not_verifiable: spec.reading.not_verifiable.clone(),
            unmapped,
        }
    });
    let refused = started.unstarted.iter().map(Refusal::from).collect();
    Ok((each.collect(), refused))
}
