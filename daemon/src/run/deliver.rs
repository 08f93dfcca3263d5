//! Delivering drift events from the journal to their sink.
//!
//! Owns the pump: committed rows, in order, in batches, one batch at a time on a thread where it may
//! block. Refuses to render events. Invariant: an event is marked as delivered only after the sink has
//! acknowledged it, so each is delivered at least once; where the journal itself is the sink, that is
//! at once.

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
    /// Whether there is a sink beside the journal.
    delivers: bool,
    /// The sink went down with the thread that wrote to it.
    lost: bool,
    reopen: bool,
    failures: u32,
    retry_at: Moment,
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
            lost: false,
            reopen: false,
            failures: 0,
            retry_at: Moment::default(),
        }
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
        if self.lost || self.writing.is_some() || now < self.retry_at {
            return Ok(());
        }
        let events = journal.outbox(BATCH)?;
        if events.is_empty() {
            return Ok(());
        }
        if !self.delivers {
            // They are where they are to be, and may go when their time is over.
            let numbers: Vec<u64> = events.iter().map(|(number, _)| *number).collect();
            return journal.delivered(&numbers);
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
                let more = !self.delivers && journal.outbox_depth()? > 0;
                if more { continue } else { return Ok(()) }
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
            delivery.lost = true;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Commit, Happening, Occurrence};

    fn happen(journal: &mut Journal, numbers: std::ops::RangeInclusive<u64>) {
        let what = || Happening::Readable {
            pairing: "users".to_owned(),
            partition: None,
            code: "store-unreachable".to_owned(),
        };
        let occurrence = |number| Occurrence { number, at: Moment(1), what: what() };
        let occurrences: Vec<_> = numbers.map(occurrence).collect();
        let events: Vec<_> = occurrences.iter().map(|one| (one.number, vec![b'x'; 500])).collect();
        journal.commit(&Commit { occurrences, ..Commit::default() }, &events).unwrap();
    }

    #[tokio::test]
    async fn events_that_stay_in_the_journal_leave_it_when_their_time_is_over() {
        let directory = tempfile::tempdir().unwrap();
        let settings = crate::journal::Settings {
            path: directory.path().join("journal"),
            retention: Duration::from_secs(1),
            size_max: 1 << 20,
        };
        let mut journal = Journal::open(&settings, Moment(1)).unwrap();
        let mut delivery = Delivery::open(&EventSink::Journal).unwrap();
        happen(&mut journal, 1..=400);
        delivery.pump(&mut journal, Moment(1)).unwrap();
        assert_eq!(journal.outbox_depth().unwrap(), 144, "a batch at a time");
        delivery.finish(&mut journal).await.unwrap();
        assert_eq!(journal.outbox_depth().unwrap(), 0);
        assert_eq!(journal.tidy(Moment(1)).unwrap().dropped, 0, "their time is not over");
        assert_eq!(journal.tidy(Moment(1).after(settings.retention * 2)).unwrap().dropped, 400);
        // Nor does what is young make the journal larger than it may be.
        for round in 2..=30 {
            happen(&mut journal, round * 200 + 1..=round * 200 + 200);
            delivery.pump(&mut journal, Moment(1)).unwrap();
            let tidied = journal.tidy(Moment(1)).unwrap();
            assert!(!tidied.over && tidied.bytes <= settings.size_max, "{tidied:?}");
        }
    }

    #[test]
    fn events_that_no_sink_took_are_kept_and_counted() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::in_memory().unwrap();
        let sink = EventSink::File(directory.path().join("events"));
        let mut delivery = Delivery::open(&sink).unwrap();
        happen(&mut journal, 1..=400);
        delivery.lost = true;
        delivery.pump(&mut journal, Moment(1)).unwrap();
        assert_eq!(journal.outbox_depth().unwrap(), 400);
    }
}
