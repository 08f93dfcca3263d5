//! Delivering drift events from the journal to their sink.
//!
//! Owns the pump: committed rows, in order, in batches, one batch at a time on a thread where it may
//! block. Refuses to render events. Invariant: an event is marked as delivered only after the sink has
//! acknowledged it, so each is delivered at least once; where the journal itself is the sink, that is
//! at once. A sink that panics is opened anew for its next turn; nothing else ends with it.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};

use crate::journal::{Journal, JournalError};
use crate::model::Moment;
use crate::report::panics::{self, Panicked};
use crate::report::{EventSink, Sink, SinkError};

/// Events of one batch.
const BATCH: usize = 256;
/// The longest wait after a sink that failed.
const WAIT_MAX: Duration = Duration::from_secs(60);

type Batch = (Sink, Vec<u64>, Result<(), SinkError>);

/// Why a batch did not come back.
enum Lost {
    Panicked(Panicked),
    Ended(JoinError),
}

type Writing = JoinHandle<Result<Batch, Panicked>>;

/// The pump.
#[derive(Debug)]
pub(super) struct Delivery {
    settings: EventSink,
    /// The sink, while it does not write; none, too, after one that panicked.
    sink: Option<Sink>,
    writing: Option<Writing>,
    /// Whether there is a sink beside the journal.
    delivers: bool,
    reopen: bool,
    failures: u32,
    retry_at: Moment,
}

/// A batch that ended.
pub(super) struct Delivered<'a> {
    delivery: &'a mut Delivery,
    batch: Result<Batch, Lost>,
}

impl Delivery {
    /// Opens the sink.
    pub(super) fn open(settings: &EventSink) -> Result<Self, SinkError> {
        Ok(Self::new(settings.clone(), Sink::open(settings)?))
    }

    /// Delivers nothing.
    pub(super) fn nowhere() -> Result<Self, SinkError> {
        Self::open(&EventSink::Journal)
    }

    fn new(settings: EventSink, sink: Sink) -> Self {
        Self {
            settings,
            delivers: sink.delivers(),
            sink: Some(sink),
            writing: None,
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
        if self.writing.is_some() || now < self.retry_at {
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
        self.wait_longer(now);
        let sink = self.sink.take().map_or_else(|| Sink::open(&self.settings), Ok);
        let mut sink = match sink {
            Ok(sink) => sink,
            Err(error) => {
                self.failed(&format!("{error}: {}", error.source));
                return Ok(());
            }
        };
        self.writing = Some(tokio::task::spawn_blocking(move || {
            panics::caught(move || {
                let written = sink.write(&events);
                (sink, events.into_iter().map(|(number, _)| number).collect(), written)
            })
        }));
        Ok(())
    }

    /// When the next turn may be, if this one fails as well as those before.
    fn wait_longer(&mut self, now: Moment) {
        if self.failures > 0 {
            let wait = Duration::from_secs(1) * 2u32.saturating_pow(self.failures.min(6));
            self.retry_at = now.after(wait.min(WAIT_MAX));
        }
    }

    /// A turn failed. The first of several is told.
    fn failed(&mut self, why: &str) {
        if self.failures == 0 {
            tracing::error!(
                target: "driftd", "{why}; events stay in the journal and are tried again"
            );
        }
        self.failures += 1;
    }

    /// Waits for the batch being written; for ever, if none is.
    pub(super) async fn next(&mut self) -> Delivered<'_> {
        let batch = match &mut self.writing {
            Some(writing) => match writing.await {
                Ok(Ok(batch)) => Ok(batch),
                Ok(Err(panicked)) => Err(Lost::Panicked(panicked)),
                Err(ended) => Err(Lost::Ended(ended)),
            },
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
        let (sink, numbers, written) = match batch {
            Ok(batch) => batch,
            // The sink is gone; how much it wrote is not known, and it is opened anew.
            Err(lost) => {
                let how = match lost {
                    Lost::Panicked(panicked) => panicked.to_string(),
                    Lost::Ended(ended) => ended.to_string(),
                };
                delivery.failed(&format!("the sink of drift events failed: {how}"));
                return Ok(false);
            }
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
                delivery.failed(&format!("{error}: {}", error.source));
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
    use crate::model::{Commit, FaultCode, Happening, Occurrence};

    fn happen(journal: &mut Journal, numbers: std::ops::RangeInclusive<u64>) {
        let what = || Happening::Readable {
            pairing: "users".to_owned(),
            partition: None,
            code: FaultCode::StoreUnreachable,
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

    #[tokio::test]
    async fn a_sink_that_panicked_is_opened_anew_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::in_memory().unwrap();
        let path = directory.path().join("events");
        let mut delivery = Delivery::open(&EventSink::File(path.clone())).unwrap();
        happen(&mut journal, 1..=400);
        let mut now = Moment(1);
        for failures in 1..=3 {
            // Its turn, as `pump` begins it.
            let mut sink = delivery.sink.take();
            delivery.writing = Some(tokio::task::spawn_blocking(move || {
                panics::caught(|| {
                    let taken = sink.take();
                    panic!("in the sink: {taken:?}")
                })
            }));
            delivery.pump(&mut journal, now).unwrap();
            assert!(!delivery.next().await.settle(&mut journal).unwrap());
            assert_eq!((delivery.failures, journal.outbox_depth().unwrap()), (failures, 400));
            now = now.after(WAIT_MAX);
        }
        for left in [144, 0] {
            delivery.pump(&mut journal, now).unwrap();
            assert!(delivery.next().await.settle(&mut journal).unwrap());
            assert_eq!((delivery.failures, journal.outbox_depth().unwrap()), (0, left));
            now = now.after(WAIT_MAX);
        }
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 400);
    }

    #[tokio::test]
    async fn events_that_no_sink_takes_are_kept_counted_and_tried_more_and_more_seldom() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::in_memory().unwrap();
        let sink = EventSink::File(directory.path().join("events"));
        let mut delivery = Delivery::open(&sink).unwrap();
        happen(&mut journal, 1..=400);
        // It panicked, and cannot be opened.
        delivery.sink = None;
        drop(directory);
        let (mut now, mut tries) = (Moment(1), Vec::new());
        for _ in 0..1_000 {
            let before = delivery.failures;
            delivery.pump(&mut journal, now).unwrap();
            if delivery.failures > before {
                tries.push(now);
            }
            now = now.after(Duration::from_secs(1));
        }
        assert_eq!(journal.outbox_depth().unwrap(), 400);
        assert!((10..30).contains(&tries.len()), "{tries:?}");
    }
}
