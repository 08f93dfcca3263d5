//! Delivering drift events from the journal to their sink.
//!
//! Owns the pump: committed rows, in order, in batches, one batch at a time on a thread where it may
//! block. Refuses to render events. Invariant: an event is marked as delivered only after the sink has
//! acknowledged it, so each is delivered at least once.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::journal::{Journal, JournalError};
use crate::model::Moment;
use crate::report::{EventSink, Sink, SinkError};

/// Events of one batch.
const BATCH: usize = 256;
/// The longest wait after a sink that failed.
const WAIT_MAX: Duration = Duration::from_secs(60);

type Batch = (Sink, Vec<u64>, Result<(), SinkError>);

/// The pump.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The sink, while it does not write.
    sink: Option<Sink>,
    writing: Option<JoinHandle<Batch>>,
    delivers: bool,
    reopen: bool,
    failures: u32,
    retry_at: Moment,
    depth: u64,
}

/// A batch that ended.
pub(super) struct Delivered<'a> {
    delivery: &'a mut Delivery,
    batch: Option<Batch>,
}

impl Delivery {
    /// Opens the sink.
    pub(super) fn open(settings: &EventSink) -> Result<Self, SinkError> {
        Ok(Self::new(Sink::open(settings)?))
    }

    /// Delivers nothing.
    pub(super) fn nowhere() -> Result<Self, SinkError> {
        Self::open(&EventSink::Journal)
    }

    fn new(sink: Sink) -> Self {
        Self {
            delivers: sink.delivers(),
            sink: Some(sink),
            writing: None,
            reopen: false,
            failures: 0,
            retry_at: Moment::default(),
            depth: 0,
        }
    }

    /// Events that are committed and not delivered, as far as was counted.
    pub(super) const fn depth(&self) -> u64 {
        self.depth
    }

    /// The file must be opened again before the next batch.
    pub(super) fn reopen(&mut self) {
        self.reopen = true;
        if let Some(sink) = &mut self.sink {
            reopen(sink);
            self.reopen = false;
        }
    }

    /// Begins to write what is due.
    pub(super) fn pump(&mut self, journal: &mut Journal, now: Moment) -> Result<(), JournalError> {
        if !self.delivers || self.writing.is_some() || now < self.retry_at {
            return Ok(());
        }
        let events = journal.outbox(BATCH)?;
        self.depth = events.len() as u64;
        if events.is_empty() {
            return Ok(());
        }
        let Some(mut sink) = self.sink.take() else { return Ok(()) };
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let written = sink.write(&events);
            (sink, events.into_iter().map(|(number, _)| number).collect(), written)
        }));
        if self.failures > 0 {
            let wait = Duration::from_secs(1) * 2u32.saturating_pow(self.failures.min(6));
            self.retry_at = now.after(wait.min(WAIT_MAX));
        }
        Ok(())
    }

    /// Waits for the batch being written; for ever, if none is.
    pub(super) async fn next(&mut self) -> Delivered<'_> {
        let batch = match &mut self.writing {
            Some(writing) => writing.await.ok(),
            None => std::future::pending().await,
        };
        self.writing = None;
        Delivered { delivery: self, batch }
    }

    /// Writes what is left, as far as the sink takes it. Standard output that nobody reads must not
    /// hold up the end.
    pub(super) async fn finish(&mut self, journal: &mut Journal) -> Result<(), JournalError> {
        self.retry_at = Moment::default();
        loop {
            self.pump(journal, Moment(i64::MAX))?;
            if self.writing.is_none() {
                return Ok(());
            }
            let left = tokio::time::timeout(Duration::from_secs(5), self.next()).await;
            let Ok(delivered) = left else { return Ok(()) };
            if !delivered.settle(journal)? {
                return Ok(());
            }
        }
    }
}

impl Delivered<'_> {
    /// Records what was delivered. Returns whether the sink took it.
    pub(super) fn settle(self, journal: &mut Journal) -> Result<bool, JournalError> {
        let Self { delivery, batch } = self;
        let Some((sink, numbers, written)) = batch else {
            // The writing thread is gone and the sink with it; the events stay in the journal.
            delivery.delivers = false;
            tracing::error!(target: "driftd", "the sink of drift events is lost; restart driftd");
            return Ok(false);
        };
        delivery.sink = Some(sink);
        if std::mem::take(&mut delivery.reopen) {
            // Who moved the file away waits for the new one, whether or not there is an event.
            delivery.reopen();
        }
        match written {
            Ok(()) => {
                delivery.failures = 0;
                delivery.depth = 0;
                journal.delivered(&numbers)?;
                Ok(true)
            }
            Err(error) => {
                if delivery.failures == 0 {
                    tracing::error!(
                        target: "driftd",
                        "{error}: {}; events stay in the journal and are tried again", error.source
                    );
                }
                delivery.failures += 1;
                Ok(false)
            }
        }
    }
}

fn reopen(sink: &mut Sink) {
    match sink.reopen() {
        Ok(()) => tracing::info!(target: "driftd", "the file of drift events was opened again"),
        Err(error) => tracing::error!(target: "driftd", "{error}: {}", error.source),
    }
}
