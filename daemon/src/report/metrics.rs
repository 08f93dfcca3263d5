//! Metrics, over OTLP and as Prometheus text.
//!
//! Owns one snapshot of what is known and the instruments that read it, so that both exports say the
//! same. Refuses keys and partitions as attributes. Invariant: what was compared, what was not, and
//! how old that is are always there, also when they are zero.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use prometheus::{Registry, TextEncoder};

use crate::model::{
    CheckNote, CriterionState, DriftKind, Fault, FaultCode, Moment, Outage, PairingStatus,
    StoreStates,
};
use crate::report::export::{Dropped, lock};
use crate::report::names::{Metric, attribute, metric};
use crate::report::traces::result;

/// What is known beside the pairings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Drift events that are committed and not delivered yet.
    pub outbox: u64,
    /// Hooks that must run and have not succeeded.
    pub hooks_pending: u64,
    /// The criteria.
    pub criteria: Vec<CriterionState>,
    /// The stores.
    pub stores: StoreStates,
    /// The configuration.
    pub reloads: Reloads,
}

/// How the configuration was read last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// Whether the last reload succeeded; before the first, the start did.
    pub successful: bool,
    /// When what is running was read.
    pub at: Moment,
}

/// The metrics; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    snapshot: Arc<Mutex<Snapshot>>,
    registry: Registry,
    durations: Histogram<f64>,
}

#[derive(Debug, Default)]
struct Snapshot {
    now: Moment,
    status: Vec<PairingStatus>,
    extras: Extras,
    /// When this process saw a pairing's first pass under its identity.
    first: BTreeMap<(String, u128), Moment>,
    faults: BTreeMap<(String, FaultCode), u64>,
    dropped: Dropped,
}

/// Values of one metric with their attributes.
type Values<T> = Vec<(T, Vec<KeyValue>)>;

/// A metric and how it is read from the snapshot.
type Read<T> = (Metric, fn(&Snapshot) -> Values<T>);

impl Metrics {
    /// Makes the instruments on `meter`, whose readers include that of `registry`.
    #[must_use]
    pub fn new(meter: &Meter, registry: Registry, dropped: Dropped) -> Self {
        let snapshot = Arc::new(Mutex::new(Snapshot { dropped, ..Snapshot::default() }));
        for (metric, read) in COUNTERS {
            let shared = Arc::clone(&snapshot);
            meter
                .u64_observable_counter(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |observer| {
                    for (value, labels) in read(&lock(&shared)) {
                        observer.observe(value, &labels);
                    }
                })
                .build();
        }
        for (metric, read) in GAUGES {
            let shared = Arc::clone(&snapshot);
            meter
                .f64_observable_gauge(metric.name)
                .with_unit(metric.unit)
                .with_description(metric.help)
                .with_callback(move |observer| {
                    for (value, labels) in read(&lock(&shared)) {
                        observer.observe(value, &labels);
                    }
                })
                .build();
        }
        let shared = Arc::clone(&snapshot);
        meter
            .f64_observable_counter(metric::CAPACITY.name)
            .with_unit(metric::CAPACITY.unit)
            .with_description(metric::CAPACITY.help)
            .with_callback(move |observer| {
                for (value, labels) in each(&lock(&shared), |status| status.capacity) {
                    observer.observe(value, &labels);
                }
            })
            .build();
        let durations = meter
            .f64_histogram(metric::CHECK_DURATION.name)
            .with_unit(metric::CHECK_DURATION.unit)
            .with_description(metric::CHECK_DURATION.help)
            .with_boundaries(DURATIONS.to_vec())
            .build();
        Self { snapshot, registry, durations }
    }

    /// What is known now.
    pub fn observe(&self, status: &[PairingStatus], extras: Extras, now: Moment) {
        let mut snapshot = lock(&self.snapshot);
        for pairing in status {
            let key = (pairing.pairing.clone(), pairing.identity.0);
            let began = if pairing.pass_began == Moment(0) { now } else { pairing.pass_began };
            snapshot.first.entry(key).or_insert(began);
        }
        // A pairing has one identity at a time, so that old ones need not be remembered.
        let known = |name: &str, identity: u128| {
            status.iter().any(|pairing| pairing.pairing == name && pairing.identity.0 == identity)
        };
        snapshot.first.retain(|(name, identity), _| known(name, *identity));
        snapshot.status = status.to_vec();
        snapshot.extras = extras;
        snapshot.now = now;
    }

    /// A check ended.
    pub fn checked(&self, check: &CheckNote) {
        let labels = [
            KeyValue::new(attribute::PAIRING, check.pairing.clone()),
            KeyValue::new(attribute::CHECK_RESULT, result(check, false)),
        ];
        self.durations.record(check.ended.since(check.began).as_secs_f64(), &labels);
    }

    /// Something was unread.
    pub fn unread(&self, pairing: &str, fault: &Fault) {
        let mut snapshot = lock(&self.snapshot);
        *snapshot.faults.entry((pairing.to_owned(), fault.code)).or_default() += 1;
    }

    /// All metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// If the metrics cannot be encoded; the reason, for whoever asked.
    pub fn render(&self) -> Result<String, String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .map_err(|error| format!("metrics cannot be encoded: {error}"))
    }
}

/// Upper bounds of the buckets of check durations, in seconds.
const DURATIONS: [f64; 12] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

const COUNTERS: [Read<u64>; 12] = [
    (metric::ROWS, |snapshot| {
        let of = |status: &PairingStatus| {
            [("source", status.source_rows), ("target", status.target_rows)].to_vec()
        };
        split(snapshot, attribute::SIDE, of)
    }),
    (metric::ENTITIES, |snapshot| {
        split(snapshot, attribute::ENTITY_RESULT, |status| {
            vec![
                ("same", status.same),
                ("different", status.compared.saturating_sub(status.same)),
                ("excluded", status.excluded),
            ]
        })
    }),
    (metric::CHECKS, |snapshot| each(snapshot, |status| status.checks)),
    (metric::PASSES, |snapshot| each(snapshot, |status| status.passes)),
    (metric::DRIFT, |snapshot| {
        split(snapshot, attribute::DRIFT_KIND, |status| kinds(&status.confirmed))
    }),
    (metric::DRIFT_RESOLVED, |snapshot| each(snapshot, |status| status.resolved)),
    (metric::UNREAD, |snapshot| each(snapshot, |status| status.unread)),
    (metric::FAULTS, |snapshot| {
        let labels = |(pairing, code): &(String, FaultCode)| {
            vec![
                KeyValue::new(attribute::PAIRING, pairing.clone()),
                KeyValue::new(attribute::FAULT, code.as_str()),
            ]
        };
        snapshot.faults.iter().map(|(key, count)| (*count, labels(key))).collect()
    }),
    (metric::UNSETTLED, |snapshot| each(snapshot, |status| status.unsettled)),
    (metric::ACQUITTED, |snapshot| each(snapshot, |status| status.acquitted)),
    (metric::TRIPS, |snapshot| criteria(snapshot, |criterion| criterion.trips)),
    (metric::DROPPED, |snapshot| {
        let counts = snapshot.dropped.counts().into_iter();
        counts
            .map(|(signal, reason, count)| {
                let signal = KeyValue::new(attribute::SIGNAL, signal.as_str());
                (count, vec![signal, KeyValue::new(attribute::DROPPED_REASON, reason.as_str())])
            })
            .collect()
    }),
];

const GAUGES: [Read<f64>; 18] = [
    (metric::PARTITIONS, |snapshot| {
        floats(split(snapshot, attribute::PARTITION_STATE, |status| {
            // What was given up is done with, too.
            vec![
                ("done", status.done.saturating_sub(status.unread_partitions)),
                ("unread", status.unread_partitions),
                ("waiting", status.partitions.saturating_sub(status.done)),
            ]
        }))
    }),
    (metric::DRIFT_OPEN, |snapshot| {
        floats(split(snapshot, attribute::DRIFT_KIND, |status| kinds(&status.open)))
    }),
    (metric::DRIFT_IGNORED, |snapshot| floats(each(snapshot, |status| status.ignored))),
    (metric::SUSPECTS, |snapshot| floats(each(snapshot, |status| status.suspects))),
    (metric::COVERAGE_AGE, |snapshot| {
        each(snapshot, |status| {
            let key = (status.pairing.clone(), status.identity.0);
            let first = snapshot.first.get(&key).copied().unwrap_or(snapshot.now);
            snapshot.now.since(status.covered_since.unwrap_or(first)).as_secs_f64()
        })
    }),
    (metric::COVERED, |snapshot| each(snapshot, |status| flag(status.covered_since.is_some()))),
    (metric::NOT_VERIFIABLE, |snapshot| {
        each(snapshot, |status| flag(status.not_verifiable.is_some()))
    }),
    (metric::NOT_BEGUN, |snapshot| each(snapshot, |status| flag(status.not_begun.is_some()))),
    (metric::UNMAPPED, |snapshot| floats(each(snapshot, |status| status.unmapped.len() as u64))),
    (metric::LAG, |snapshot| {
        each(snapshot, |status| std::time::Duration::from_micros(status.lag_micros).as_secs_f64())
    }),
    (metric::LAGGING, |snapshot| each(snapshot, |status| flag(status.lagging_since.is_some()))),
    (metric::TRIPPED, |snapshot| criteria(snapshot, |criterion| flag(criterion.tripped.is_some()))),
    (metric::HOOKS_PENDING, |snapshot| floats(vec![(snapshot.extras.hooks_pending, Vec::new())])),
    (metric::OUTBOX, |snapshot| floats(vec![(snapshot.extras.outbox, Vec::new())])),
    (metric::STORE_UP, |snapshot| stores(snapshot, |outage| flag(outage.is_none()))),
    (metric::STORE_DOWN_TIME, |snapshot| {
        stores(snapshot, |outage| {
            outage.map_or(0.0, |outage| snapshot.now.since(outage.since).as_secs_f64())
        })
    }),
    (metric::RELOADED, |snapshot| vec![(flag(snapshot.extras.reloads.successful), Vec::new())]),
    (metric::RELOADED_AT, |snapshot| {
        vec![(snapshot.extras.reloads.at.since(Moment(0)).as_secs_f64(), Vec::new())]
    }),
];

/// One value for each pairing.
fn each<T>(snapshot: &Snapshot, value: impl Fn(&PairingStatus) -> T) -> Values<T> {
    let label = |status: &PairingStatus| KeyValue::new(attribute::PAIRING, status.pairing.clone());
    snapshot.status.iter().map(|status| (value(status), vec![label(status)])).collect()
}

/// Several values for each pairing, told apart by an attribute.
fn split(
    snapshot: &Snapshot,
    by: &'static str,
    values: impl Fn(&PairingStatus) -> Vec<(&'static str, u64)>,
) -> Values<u64> {
    let mut out = Vec::new();
    for status in &snapshot.status {
        for (name, value) in values(status) {
            let pairing = KeyValue::new(attribute::PAIRING, status.pairing.clone());
            out.push((value, vec![pairing, KeyValue::new(by, name)]));
        }
    }
    out
}

/// One value for each criterion.
fn criteria<T>(snapshot: &Snapshot, value: impl Fn(&CriterionState) -> T) -> Values<T> {
    let label =
        |criterion: &CriterionState| KeyValue::new(attribute::CRITERION, criterion.name.clone());
    let states = snapshot.extras.criteria.iter();
    states.map(|criterion| (value(criterion), vec![label(criterion)])).collect()
}

/// A value for each store.
fn stores(snapshot: &Snapshot, value: impl Fn(Option<&Outage>) -> f64) -> Values<f64> {
    let label = |store: &String| KeyValue::new(attribute::STORE, store.clone());
    let states = snapshot.extras.stores.iter();
    states.map(|(store, outage)| (value(outage.as_ref()), vec![label(store)])).collect()
}

/// Every kind, also those that were never met: an alert needs the zero.
fn kinds(counts: &BTreeMap<DriftKind, u64>) -> Vec<(&'static str, u64)> {
    let count = |kind: DriftKind| counts.get(&kind).copied().unwrap_or_default();
    DriftKind::ALL.iter().map(|kind| (kind.as_str(), count(*kind))).collect()
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 are not met")]
fn floats(values: Values<u64>) -> Values<f64> {
    values.into_iter().map(|(value, labels)| (value as f64, labels)).collect()
}
