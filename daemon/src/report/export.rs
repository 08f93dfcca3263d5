//! Exporters that are watched: what they could not deliver is counted and told, seldom.
//!
//! Owns the counts of telemetry that was let go, the room in the queue to the exporter, and the line
//! in the log about a receiver that does not take it. Refuses to retry: the OTLP exporters do.
//! Invariant: nothing here blocks, a dead receiver is one line in ten seconds, and an exporter that
//! panics has lost one batch.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::model::Moment;
use crate::report::panics;

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
pub struct ExportErrors {
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

impl ExportErrors {
    fn add(&self, signal: Signal, error: &OTelSdkError) {
        let mut failures = lock(&self.failures);
        failures.count += 1;
        let mut text = error.to_string();
        text.truncate(text.floor_char_boundary(ERROR_MAX));
        failures.last = Some((signal, text));
    }

    /// Tells the log what failed since it was told last, if that is long enough ago.
    pub fn tell(&self, now: Moment) {
        let Some((signal, failures, error)) = self.due(now) else { return };
        tracing::warn!(
            target: "driftd",
            signal = signal.as_str(),
            failures,
            error,
            "the OTLP receiver does not take telemetry; comparing goes on; check that it runs and \
             that `telemetry.otlp` or OTEL_EXPORTER_OTLP_ENDPOINT are right"
        );
    }

    /// What is to be told now: the last failure, and how many there were.
    fn due(&self, now: Moment) -> Option<(Signal, u64, String)> {
        let mut failures = lock(&self.failures);
        if failures.told.is_some_and(|told| now.since(told) < QUIET) {
            return None;
        }
        let (signal, error) = failures.last.take()?;
        failures.told = Some(now);
        Some((signal, std::mem::take(&mut failures.count), error))
    }
}

/// An exporter whose failures are counted.
pub struct Watched<E> {
    /// The exporter.
    pub inner: E,
    /// Where losses are counted.
    pub dropped: Dropped,
    /// Where failures are told.
    pub export_errors: ExportErrors,
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
        let result = caught(self.inner.export(batch)).await;
        self.ticket.left(spans);
        if let Err(error) = &result {
            self.dropped.add(Signal::Traces, Reason::Export, spans as u64);
            self.export_errors.add(Signal::Traces, error);
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
        let result = caught(self.inner.export(metrics)).await;
        if let Err(error) = &result {
            self.dropped.add(Signal::Metrics, Reason::Export, 1);
            self.export_errors.add(Signal::Metrics, error);
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

/// An export that panics has failed; the thread that exports goes on.
async fn caught(export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
    panics::caught_in(export)
        .await
        .unwrap_or_else(|panicked| Err(OTelSdkError::InternalFailure(panicked.to_string())))
}

/// What the lock guards is counts and snapshots, whole at every instant, also after a panic.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use opentelemetry_sdk::trace::SpanData;

    use super::*;

    /// A receiver that takes nothing.
    #[derive(Debug)]
    struct Dead;

    impl SpanExporter for Dead {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("refused".repeat(1_000)))
        }
    }

    /// An exporter with a fault.
    #[derive(Debug)]
    struct Panicking;

    impl SpanExporter for Panicking {
        async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
            panic!("secret")
        }
    }

    #[test]
    fn an_exporter_that_panics_has_lost_its_batch_and_goes_on() {
        let (dropped, export_errors, ticket) =
            (Dropped::default(), ExportErrors::default(), Ticket::new(1));
        let exporter = Watched {
            inner: Panicking,
            dropped: dropped.clone(),
            export_errors: export_errors.clone(),
            ticket: ticket.clone(),
        };
        for _ in 0..2 {
            ticket.queued();
            futures::executor::block_on(exporter.export(vec![span()])).unwrap_err();
            assert!(ticket.room_for(1), "what was lost makes room");
        }
        let (_, failures, error) = export_errors.due(Moment(1)).unwrap();
        assert_eq!(failures, 2);
        assert!(error.contains("report/export.rs:") && !error.contains("secret"), "{error}");
        assert!(dropped.counts().contains(&(Signal::Traces, Reason::Export, 2)));
    }

    #[test]
    fn a_dead_receiver_is_counted_at_once_and_told_every_ten_seconds() {
        let (dropped, export_errors) = (Dropped::default(), ExportErrors::default());
        let ticket = Ticket::new(2);
        let exporter = Watched {
            inner: Dead,
            dropped: dropped.clone(),
            export_errors: export_errors.clone(),
            ticket: ticket.clone(),
        };
        let fail = || {
            ticket.queued();
            ticket.queued();
            assert!(!ticket.room_for(1));
            let batch = vec![span(), span()];
            futures::executor::block_on(exporter.export(batch)).unwrap_err();
            assert!(ticket.room_for(2), "what failed makes room");
        };
        let due = |seconds: i64| {
            let told = export_errors.due(Moment(seconds * 1_000_000));
            told.map(|(signal, failures, error)| {
                assert!(error.len() <= ERROR_MAX);
                (signal, failures)
            })
        };
        assert_eq!(due(99), None);
        fail();
        assert_eq!(due(100), Some((Signal::Traces, 1)));
        fail();
        fail();
        assert_eq!(due(101), None);
        assert_eq!(due(110), Some((Signal::Traces, 2)));
        assert_eq!(due(120), None, "nothing failed since");
        let of = |(_, reason, count): &(Signal, Reason, u64)| {
            (*reason == Reason::Export).then_some(*count)
        };
        assert_eq!(dropped.counts().iter().filter_map(of).collect::<Vec<_>>(), [6, 0]);
    }

    fn span() -> SpanData {
        SpanData {
            span_context: opentelemetry::trace::SpanContext::empty_context(),
            parent_span_id: opentelemetry::trace::SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: opentelemetry::trace::SpanKind::Internal,
            name: "x".into(),
            start_time: std::time::SystemTime::UNIX_EPOCH,
            end_time: std::time::SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: opentelemetry_sdk::trace::SpanEvents::default(),
            links: opentelemetry_sdk::trace::SpanLinks::default(),
            status: opentelemetry::trace::Status::Unset,
            instrumentation_scope: opentelemetry::InstrumentationScope::default(),
        }
    }
}
