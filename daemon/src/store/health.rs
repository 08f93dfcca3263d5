//! When a store counts as down, and when it is looked for again.
//!
//! Owns the rules, as a machine of one store that is driven by what becomes of its requests and of
//! probes. Refuses to ask anything, and to read a clock: the time is handed in. Invariant: a store is
//! down only if nothing that it was asked was answered for half of its patience, or for a second in
//! which a request failed, and a probe was not answered either; any answer, also one that is an
//! error, ends that.

use std::time::Duration;

use crate::model::{FaultCode, Moment, Outage};

/// The wait before the first probe of a store that is down; it doubles up to [`WAIT_MAX`].
const WAIT: Duration = Duration::from_secs(1);
/// The longest wait between two probes.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How long nothing is answered, at the most, before a store is probed that has failed a request. It has
/// tried as long as it does by itself.
const FAILED: Duration = Duration::from_secs(1);

/// What is known of a store.
#[derive(Debug)]
pub(super) struct Health {
    store: String,
    /// How long the store tries one request by itself.
    patience: Duration,
    /// Requests that are under way.
    waiting: usize,
    /// Since when there was no answer, while one was waited for; none: none is.
    silent: Option<Moment>,
    /// Whether a request failed since then, so that the silence is one although nobody waits.
    failed: bool,
    down: Option<Down>,
}

/// A store that is down.
#[derive(Debug)]
struct Down {
    outage: Outage,
    /// Probes that failed since it is.
    probes: u32,
    /// When it is looked for next.
    due: Moment,
}

/// Why a probe was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) code: FaultCode,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Health {
    pub(super) fn new(store: &str, patience: Duration) -> Self {
        let store = store.to_owned();
        Self { store, patience, waiting: 0, silent: None, failed: false, down: None }
    }

    /// How long a probe may take. With the silence before it, that is less than one patience.
    pub(super) fn probe_max(&self) -> Duration {
        self.patience / 3
    }

    /// How long nothing is answered before a probe.
    fn silence(&self) -> Duration {
        let longest = self.patience / 2;
        if self.failed { longest.min(FAILED) } else { longest }
    }

    /// The outage, if the store is down.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.down.as_ref().map(|down| &down.outage)
    }

    /// When a probe is due; none: nothing is in doubt.
    pub(super) fn due(&self) -> Option<Moment> {
        match &self.down {
            Some(down) => Some(down.due),
            None => self.silent.map(|silent| silent.after(self.silence())),
        }
    }

    /// A request is sent.
    pub(super) fn asked(&mut self, now: Moment) {
        self.waiting += 1;
        self.silent.get_or_insert(now);
    }

    /// A request was answered, be it by an error.
    pub(super) fn answered(&mut self, now: Moment) {
        self.waiting = self.waiting.saturating_sub(1);
        self.alive(now);
    }

    /// A request was not answered for as long as the store tries.
    pub(super) const fn unanswered(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        self.failed = true;
    }

    /// Nobody waits for a request any more.
    pub(super) fn let_go(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
        if self.waiting == 0 && !self.failed {
            self.silent = None;
        }
    }

    /// A probe ended.
    pub(super) fn probed(&mut self, now: Moment, answer: Result<(), Cause>) {
        let Cause { code, what, remedy } = match answer {
            Ok(()) => return self.alive(now),
            Err(cause) => cause,
        };
        let probes = self.down.as_ref().map_or(0, |down| down.probes.saturating_add(1));
        let since = self.outage().map(|outage| outage.since);
        // What was asked meanwhile was answered: then it was the probe that was unlucky.
        let in_doubt = self.due().is_some_and(|due| due <= now);
        let Some(since) = since.or_else(|| self.silent.filter(|_| in_doubt)) else { return };
        let store = self.store.clone();
        let due = now.after(jittered(&self.store, probes));
        self.down = Some(Down { outage: Outage { store, since, code, what, remedy }, probes, due });
    }

    fn alive(&mut self, now: Moment) {
        self.down = None;
        self.failed = false;
        self.silent = (self.waiting > 0).then_some(now);
    }
}

/// The wait after so many probes: half of it, and a part of the other half that differs from store to
/// store and from time to time, so that many daemons do not come back at once.
fn jittered(store: &str, probes: u32) -> Duration {
    let wait = WAIT.saturating_mul(1 << probes.min(5)).min(WAIT_MAX);
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ u64::from(probes);
    for byte in store.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let part = u32::try_from(hash >> 54).unwrap_or(0);
    wait / 2 + wait * part / (2 * 1_024)
}

#[cfg(test)]
mod tests;
