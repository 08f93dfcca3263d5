//! How far pairings have come, as JSON.
//!
//! Owns the format that `/status` and the command line share. Refuses keys and values. Invariant: a
//! field that was released keeps its meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::model::{DriftKind, Moment, Outage, PairingStatus};
use crate::report::form::rfc3339;

/// One JSON object for all pairings and the stores that are down, as of `now`.
///
/// # Panics
/// Never: nothing in it refuses to be JSON.
#[must_use]
pub fn render<'a>(
    status: &'a [PairingStatus],
    down: impl IntoIterator<Item = &'a Outage>,
    now: Moment,
) -> String {
    let all = All {
        as_of: rfc3339(now),
        pairings: status.iter().map(|one| pairing(one, now)).collect(),
        stores_down: down.into_iter().map(store_down).collect(),
    };
    serde_json::to_string(&all).expect("strings, numbers, lists and maps with text keys")
}

#[derive(Serialize)]
struct All<'a> {
    as_of: String,
    pairings: Vec<Pairing<'a>>,
    stores_down: Vec<StoreDown<'a>>,
}

#[derive(Serialize)]
struct StoreDown<'a> {
    store: &'a str,
    since: String,
    code: &'a str,
    what: &'a str,
    remedy: &'a str,
}

fn store_down(outage: &Outage) -> StoreDown<'_> {
    let Outage { store, since, code, what, remedy } = outage;
    StoreDown { store, since: rfc3339(*since), code: code.as_str(), what, remedy }
}

#[derive(Serialize)]
struct Pairing<'a> {
    pairing: &'a str,
    identity: String,
    pass: Pass,
    passes: u64,
    /// The begin of the last pass in which everything was read; null before the first.
    covered_since: Option<String>,
    coverage_age_s: Option<f64>,
    checks: u64,
    source_rows: u64,
    target_rows: u64,
    capacity: f64,
    compared: u64,
    same: u64,
    excluded: u64,
    drift: Drift,
    unsettled: u64,
    acquitted: u64,
    suspects: u64,
    unread: u64,
    lag_s: f64,
    lagging_since: Option<String>,
    unmapped: Vec<Unmapped<'a>>,
    not_verifiable: Option<&'a str>,
    /// Why nothing of it is read: it cannot be begun.
    not_begun: Option<&'a str>,
}

#[derive(Serialize)]
struct Pass {
    number: u64,
    began: Option<String>,
    partitions: u64,
    done: u64,
    unread: u64,
}

#[derive(Serialize)]
struct Drift {
    confirmed: BTreeMap<&'static str, u64>,
    open: BTreeMap<&'static str, u64>,
    ignored: u64,
    /// Of another mapping, standing until they are judged under this one; among `open` and `ignored`.
    judged_anew: u64,
    resolved: u64,
}

#[derive(Serialize)]
struct Unmapped<'a> {
    side: String,
    attribute: &'a str,
}

fn pairing(status: &PairingStatus, now: Moment) -> Pairing<'_> {
    let began = (status.pass_began != Moment(0)).then(|| rfc3339(status.pass_began));
    let unmapped = status.unmapped.iter();
    Pairing {
        pairing: &status.pairing,
        identity: status.identity.to_string(),
        pass: Pass {
            number: status.pass,
            began,
            partitions: status.partitions,
            done: status.done,
            unread: status.unread_partitions,
        },
        passes: status.passes,
        covered_since: status.covered_since.map(rfc3339),
        coverage_age_s: status.covered_since.map(|since| now.since(since).as_secs_f64()),
        checks: status.checks,
        source_rows: status.source_rows,
        target_rows: status.target_rows,
        capacity: status.capacity,
        compared: status.compared,
        same: status.same,
        excluded: status.excluded,
        drift: Drift {
            confirmed: kinds(&status.confirmed),
            open: kinds(&status.open),
            ignored: status.ignored,
            judged_anew: status.anew,
            resolved: status.resolved,
        },
        unsettled: status.unsettled,
        acquitted: status.acquitted,
        suspects: status.suspects,
        unread: status.unread,
        lag_s: Duration::from_micros(status.lag_micros).as_secs_f64(),
        lagging_since: status.lagging_since.map(rfc3339),
        unmapped: unmapped
            .map(|(side, attribute)| Unmapped { side: side.to_string(), attribute })
            .collect(),
        not_verifiable: status.not_verifiable.as_deref(),
        not_begun: status.not_begun.as_deref(),
    }
}

fn kinds(counts: &BTreeMap<DriftKind, u64>) -> BTreeMap<&'static str, u64> {
    DriftKind::ALL
        .iter()
        .map(|kind| (kind.as_str(), counts.get(kind).copied().unwrap_or_default()))
        .collect()
}
