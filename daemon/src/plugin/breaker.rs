//! When a plugin that fails is left alone for a while.
//!
//! Owns the state of one pairing's breaker. Refuses to read a clock. Invariant: while it is open at
//! most one check at a time calls the plugin, and none before the next try is due; one that ends
//! without a failed call closes it.

use std::time::Duration;

use super::fault::PluginErrorKind;
use crate::model::{FaultCode, Moment};

/// Checks and looks in a row in which a function failed and never succeeded, after which the plugin is left alone. Few enough
/// that a plugin that cannot work costs little, and more than are in flight of one pairing when one
/// part of its rows is bad.
pub(super) const FAILURES_MAX: u32 = 5;
/// The wait before the first try.
pub(super) const WAIT_MIN: Duration = Duration::from_secs(5);
/// The wait doubles up to this, so that a mended store or row is noticed within minutes.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// How a check or look went, as far as the plugin is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Went {
    /// It was called, and each function succeeded at least once.
    Well,
    /// A function failed and never succeeded; the code of the failure.
    Badly(FaultCode),
    /// It was not called.
    Uncalled,
}

/// What the end of a check changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The plugin is left alone from now on.
    Opened(Pause),
    /// The plugin works again.
    Closed(Pause),
}

/// Why and how long a plugin is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) since: Moment,
    pub(super) failures: u32,
    pub(super) cause: FaultCode,
    pub(super) next: Moment,
    wait: Duration,
}

impl Pause {
    pub(super) const fn kind(self) -> PluginErrorKind {
        let Self { since, failures, cause, next, wait: _ } = self;
        PluginErrorKind::Paused { since, failures, cause, next }
    }
}

/// The breaker of one pairing.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open: Option<Pause>,
    /// Whether a check that tries the plugin is under way.
    trying: bool,
}

impl Breaker {
    /// Whether a check may begin at `now`, and if so whether it is a try.
    pub(super) fn admit(&mut self, now: Moment) -> Result<bool, Pause> {
        match self.open {
            None => Ok(false),
            Some(pause) if self.trying || now < pause.next => Err(pause),
            Some(_) => {
                self.trying = true;
                Ok(true)
            }
        }
    }

    /// Takes note of a check that has ended at `now`; `tried` is what [`Breaker::admit`] said of it.
    pub(super) fn note(&mut self, now: Moment, tried: bool, went: Went) -> Option<Change> {
        if tried {
            self.trying = false;
        }
        match (self.open, went) {
            (_, Went::Uncalled) => None,
            (None, Went::Well) => {
                self.failures = 0;
                None
            }
            (None, Went::Badly(cause)) => {
                self.failures += 1;
                if self.failures < FAILURES_MAX {
                    return None;
                }
                let next = now.after(WAIT_MIN);
                let failures = self.failures;
                let pause = Pause { since: now, failures, cause, next, wait: WAIT_MIN };
                self.open = Some(pause);
                Some(Change::Opened(pause))
            }
            // What was in flight when it opened decides nothing.
            (Some(_), _) if !tried => None,
            (Some(pause), Went::Well) => {
                (self.open, self.failures) = (None, 0);
                Some(Change::Closed(pause))
            }
            (Some(pause), Went::Badly(cause)) => {
                let wait = (pause.wait * 2).min(WAIT_MAX);
                let failures = pause.failures.saturating_add(1);
                self.open = Some(Pause { failures, cause, next: now.after(wait), wait, ..pause });
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Moment {
        Moment(seconds * 1_000_000)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        for second in 0..5 {
            assert_eq!(breaker.admit(at(second)), Ok(false));
            let change = breaker.note(at(second), false, Went::Badly(FaultCode::PluginTrap));
            assert_eq!(change.is_some(), second == 4);
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let mut breaker = Breaker::default();
        for second in 0..40 {
            let went =
                if second % 5 == 4 { Went::Well } else { Went::Badly(FaultCode::PluginTrap) };
            assert_eq!(breaker.note(at(second), false, went), None);
            assert_eq!(breaker.note(at(second), false, Went::Uncalled), None);
            assert_eq!(breaker.admit(at(second)), Ok(false));
        }
        let pause = opened().admit(at(5)).unwrap_err();
        assert_eq!((pause.since, pause.next, pause.failures), (at(4), at(9), 5));
        assert_eq!(
            pause.kind().to_string(),
            "is not called since 1970-01-01T00:00:04Z because 5 checks in a row failed, the last \
             with `plugin-trap`; the next try is at 1970-01-01T00:00:09Z"
        );
    }

    #[test]
    fn tries_are_alone_and_ever_further_apart_until_one_goes_well() {
        let mut breaker = opened();
        let mut now = at(4);
        for wait in [5, 10, 20, 40, 80, 160, 300, 300] {
            assert!(breaker.admit(now.after(Duration::from_secs(wait - 1))).is_err());
            now = now.after(Duration::from_secs(wait));
            assert_eq!(breaker.admit(now), Ok(true));
            assert!(breaker.admit(now).is_err(), "one try at a time");
            // A try that called nothing says nothing, and another may begin.
            assert_eq!(breaker.note(now, true, Went::Uncalled), None);
            assert_eq!(breaker.admit(now), Ok(true));
            assert_eq!(breaker.note(now, false, Went::Well), None, "it began before");
            assert_eq!(breaker.note(now, true, Went::Badly(FaultCode::PluginFuel)), None);
        }
        now = now.after(WAIT_MAX);
        assert_eq!(breaker.admit(now), Ok(true));
        let change = breaker.note(now, true, Went::Well);
        let Some(Change::Closed(pause)) = change else { panic!("{change:?}") };
        assert_eq!((pause.since, pause.failures, pause.cause), (at(4), 13, FaultCode::PluginFuel));
        for _ in 0..4 {
            assert_eq!(breaker.note(now, false, Went::Badly(FaultCode::PluginFuel)), None);
        }
        assert_eq!(breaker.admit(now), Ok(false));
    }
}
