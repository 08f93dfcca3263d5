//! Which keys of a partition differ right now.
//!
//! Owns one reading of one partition for a person who asks. Refuses to settle, to write and to report:
//! what it hands over may be lag. Invariant: what could not be read is handed over, too.

use std::sync::Arc;

use crate::api::Shared;
use crate::check::{self, Context};
use crate::config::Settings;
use crate::engine::Spec;
use crate::journal;
use crate::model::{DriftKind, Partition, RelationNames, Sighting, Unread};
use crate::report::{Identity, Report};
use crate::run::start::{self, Started};
use crate::run::watching::Watching;
use crate::run::{Clock, Purpose, RunError, Signals, Supplied, stop_report};

/// What one reading of a partition showed.
#[derive(Debug, Default)]
pub struct Differing {
    /// Every key that differs.
    pub keys: Vec<DifferingKey>,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// What the relations of source and target are called, as places number them.
    pub relations: [Vec<RelationNames>; 2],
}

/// A key that differs.
#[derive(Debug)]
pub struct DifferingKey {
    /// What was seen.
    pub sighting: Sighting,
    /// The name of its entity type; none: of a row that no entity is known of.
    pub entity: Option<String>,
    /// What would be wrong with it if it stood still: kinds of drift, each with the fields or the
    /// invariant that it is about.
    pub wrong: Vec<(DriftKind, Vec<String>)>,
}

/// Makes ready what `settings` describe, for a command that exports nothing; `proves`: whether plugins
/// are tried on real rows.
pub(super) async fn alone(
    mut settings: Settings,
    (clock, proves): (&Clock, bool),
    secrets: &journal::Identity,
    signals: &Signals,
) -> Result<Started, RunError> {
    settings.report.otlp = None;
    let identity = Identity::new(&settings.report, secrets.journal.clone(), secrets.hmac_key);
    let report = Report::start(&settings.report, identity, &|_name| None)?;
    let shared = Arc::new(Shared::new(clock.shared(), report.metrics(), Vec::new()));
    let (purpose, patience, shared) = (Purpose::Verify, true, &shared);
    let watching = &Watching::new(clock);
    let waiting = start::Waiting { purpose, patience, proves, clock, watching, signals, shared };
    let started = start::start(&settings, Supplied::default(), secrets, waiting).await;
    stop_report(report).await;
    started.map_err(RunError::from)
}

/// Reads `partition` of `pairing` once. `secrets` are the journal's.
///
/// # Errors
/// If it cannot begin: a store does not answer, or the configuration does not fit it.
pub async fn differing(
    mut settings: Settings,
    pairing: &str,
    partition: Partition,
    secrets: &journal::Identity,
    signals: &Signals,
) -> Result<Differing, RunError> {
    let clock = Clock::new();
    settings.pairings.retain(|one| one.name == pairing);
    let Started { contexts, specs, .. } =
        alone(settings, (&clock, false), secrets, signals).await?;
    let mut found = Differing::default();
    let Some((context, spec)) = contexts.first().zip(specs.first()) else { return Ok(found) };
    found.relations.clone_from(&spec.relations);
    let keys = &mut found.keys;
    found.unread = read(context, spec, partition, &clock, |key| keys.push(key)).await;
    Ok(found)
}

/// Reads a partition once, and hands out every key that differs, part by part. Returns what could not be
/// read.
pub(super) async fn read(
    context: &Context,
    spec: &Spec,
    partition: Partition,
    clock: &Clock,
    mut each: impl FnMut(DifferingKey),
) -> Vec<Unread> {
    let mut unread = Vec::new();
    let mut next = Some(partition.extent);
    while let Some(extent) = next {
        let part = Partition { extent, ..partition };
        let outcome = check::check(context, &part, usize::MAX, clock.now()).await;
        for sighting in outcome.suspects {
            let wrong = spec.wrong(&sighting, clock.now());
            let entity = spec.entity(&sighting.key).map(|entity| entity.name.clone());
            each(DifferingKey { sighting, entity, wrong });
        }
        unread.extend(outcome.unread);
        next = outcome.rest;
    }
    unread
}
