//! Exporters that are watched: what they could not deliver is counted and told, seldom.
//!
//! Owns the counts of telemetry that was let go, the room in the queue to the exporter, and the line
//! in the log about a receiver that does not take it. Refuses to retry: the OTLP exporters do.
//! Invariant: nothing here blocks, and a dead receiver is one line in ten seconds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::model::Moment;

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Spans, and checks that would have become some.
    Traces,
    /// Collections of all metrics.
    Metrics,
}

impl Signal {
    /// Its name on metrics and in the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
        }
    }
}

/// Why telemetry was let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// More checks than may be held were waiting for their suspects.
    Undecided,
    /// More spans than a minute may have.
    Rate,
    /// More spans than the queue to the exporter has room for.
    Queue,
    /// The receiver did not take it.
    Export,
}

impl Reason {
    /// Its name on metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Undecided => "undecided",
            Self::Rate => "rate",
            Self::Queue => "queue",
            Self::Export => "export",
        }
    }
}

/// What can be let go, and why.
const LOSSES: [(Signal, Reason); 5] = [
    (Signal::Traces, Reason::Undecided),
    (Signal::Traces, Reason::Rate),
    (Signal::Traces, Reason::Queue),
    (Signal::Traces, Reason::Export),
    (Signal::Metrics, Reason::Export),
];

/// Counts of telemetry that was let go; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    counts: Arc<Mutex<BTreeMap<(Signal, Reason), u64>>>,
}

impl Dropped {
    /// Counts `more`.
    pub fn add(&self, signal: Signal, reason: Reason, more: u64) {
        *lock(&self.counts).entry((signal, reason)).or_default() += more;
    }

    /// All counts, also those that are zero.
    #[must_use]
    pub fn counts(&self) -> Vec<(Signal, Reason, u64)> {
        let counts = lock(&self.counts);
        let count = |loss| counts.get(&loss).copied().unwrap_or_default();
        LOSSES.iter().map(|&(signal, reason)| (signal, reason, count((signal, reason)))).collect()
    }
}

/// Room in the queue to the exporter; clones share it. It is counted here because the queue itself
/// does not say what it drops.
#[derive(Clone, Debug)]
pub struct Ticket {
    queued: Arc<AtomicUsize>,
    room: usize,
}

impl Ticket {
    /// For a queue of so many spans.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { queued: Arc::default(), room }
    }

    /// Whether so many spans more fit.
    #[must_use]
    pub fn room_for(&self, spans: usize) -> bool {
        self.queued.load(Ordering::Acquire).saturating_add(spans) <= self.room
    }

    /// One span was queued.
    pub fn queued(&self) {
        self.queued.fetch_add(1, Ordering::AcqRel);
    }

    fn left(&self, spans: usize) {
        self.queued.fetch_sub(spans, Ordering::AcqRel);
    }
}

/// What went wrong at the receiver since it was told; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Trouble {
    failures: Arc<Mutex<Failures>>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    last: Option<(Signal, String)>,
    told: Option<Moment>,
}

/// Between two lines about the receiver.
const QUIET: Duration = Duration::from_secs(10);
/// Bytes of an exporter's error that are told.
const ERROR_MAX: usize = 300;

impl Trouble {
    fn add(&self, signal: Signal, error: &OTelSdkError) {
        let mut failures = lock(&self.failures);
        failures.count += 1;
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(ERROR_MAX));
        failures.last = Some((signal, text));
    }

    /// Tells the log what failed since it was told last, if that is long enough ago.
    pub fn tell(&self, now: Moment) {
        let mut failures = lock(&self.failures);
        if failures.told.is_some_and(|told| now.since(told) < QUIET) {
            return;
        }
        let Some((signal, error)) = failures.last.take() else { return };
        tracing::warn!(
            target: "driftd",
            signal = signal.as_str(),
            failures = failures.count,
            error,
            "the OTLP receiver does not take telemetry; comparing goes on; check that it runs and \
             that `otlp` or OTEL_EXPORTER_OTLP_ENDPOINT are right"
        );
        failures.count = 0;
        failures.told = Some(now);
    }
}

/// An exporter whose failures are counted.
pub struct Watched<E> {
    /// The exporter.
    pub inner: E,
    /// Where losses are counted.
    pub dropped: Dropped,
    /// Where failures are told.
    pub trouble: Trouble,
    /// Room in its queue.
    pub ticket: Ticket,
}

impl<E> fmt::Debug for Watched<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exporter holds headers, and those hold secrets.
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.ticket.left(spans);
        if let Err(error) = &result {
            self.dropped.add(Signal::Traces, Reason::Export, spans as u64);
            self.trouble.add(Signal::Traces, error);
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &opentelemetry_sdk::Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        if let Err(error) = &result {
            self.dropped.add(Signal::Metrics, Reason::Export, 1);
            self.trouble.add(Signal::Metrics, error);
        }
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// What the lock guards is counts and snapshots, whole at every instant, also after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
