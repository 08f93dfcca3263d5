//! How much a store may be asked.
//!
//! Owns the limits of one store: concurrent reads, rows, bytes and capacity units a second, and the
//! slowing down when the store itself says that it is asked too much. Refuses to retry. Invariant:
//! there is one limiter for each store, shared by every partition, pairing and task, so that the
//! load does not grow with their number.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::model::Cost;
use crate::store::Limits;

/// The whole share of what a store may be asked, in parts of it.
const WHOLE: u32 = 1 << 10;
/// The least share that throttling leaves.
const LEAST: u32 = WHOLE / 64;
/// What a request that was served gives back of the share.
const GAIN: u32 = WHOLE / 128;
/// The pause before a request at half the share; it doubles with every halving.
const PAUSE: Duration = Duration::from_millis(20);
/// What may be asked at once after a quiet time, in seconds of a limit.
const BURST: f64 = 0.25;

/// The limits of one store.
#[derive(Debug)]
pub struct RateLimiter {
    permits: Semaphore,
    /// None: no limit by rate, and no clock is read.
    budgets: Option<Mutex<Budgets>>,
    rows_per_second: Option<NonZeroU32>,
    /// Parts of [`WHOLE`] that may be asked.
    share: AtomicU32,
}

/// The right to one read at a time. Given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Permit<'a> {
    limiter: &'a RateLimiter,
    _permit: SemaphorePermit<'a>,
}

#[derive(Debug)]
struct Budgets {
    at: Instant,
    rows: Option<Bucket>,
    bytes: Option<Bucket>,
    capacity: Option<Bucket>,
}

/// A token bucket that may go into debt: what a read costs is known only afterwards.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    rate: f64,
    level: f64,
}

impl RateLimiter {
    /// The limiter of a store with these limits.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let rows = limits.rows_per_second.map(|rate| Bucket::new(f64::from(rate.get())));
        let bytes = limits.bytes_per_second.map(|rate| Bucket::new(to_f64(rate)));
        let capacity = limits.capacity_per_second.map(Bucket::new);
        let limited = rows.is_some() || bytes.is_some() || capacity.is_some();
        Self {
            permits: Semaphore::new(usize::try_from(limits.concurrency.get()).unwrap_or(1)),
            budgets: limited.then(|| Mutex::new(Budgets { at: now(), rows, bytes, capacity })),
            rows_per_second: limits.rows_per_second,
            share: AtomicU32::new(WHOLE),
        }
    }

    /// Waits until one more read may be sent. Dropping the future gives up the place.
    ///
    /// # Panics
    /// Never: the semaphore is not closed.
    pub async fn enter(&self) -> Permit<'_> {
        let permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let share = self.share.load(Ordering::Relaxed);
        if share < WHOLE {
            tokio::time::sleep(PAUSE * (WHOLE / share - 1)).await;
        }
        while let Some(wait) = self.budgets().and_then(|mut budgets| {
            let share = f64::from(self.share.load(Ordering::Relaxed)) / f64::from(WHOLE);
            budgets.wait(now(), share)
        }) {
            tokio::time::sleep(wait).await;
        }
        Permit { limiter: self, _permit: permit }
    }

    /// `rows`, or fewer where the limit asks for smaller steps: at most what one second allows.
    #[must_use]
    pub fn page_rows(&self, rows: NonZeroU32) -> NonZeroU32 {
        self.rows_per_second.map_or(rows, |rate| rows.min(rate))
    }

    fn budgets(&self) -> Option<MutexGuard<'_, Budgets>> {
        let budgets = self.budgets.as_ref()?;
        Some(budgets.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Permit<'_> {
    /// Notes what the read cost. A debt makes later reads wait.
    pub fn charge(&self, cost: &Cost) {
        if let Some(mut budgets) = self.limiter.budgets() {
            budgets.charge(cost);
        }
    }

    /// The store said that it is asked too much: halves what it is asked, over all tasks.
    pub fn throttled(&self) {
        self.adjust(|share| (share / 2).max(LEAST));
    }

    /// The store served a request: a little more may be asked again.
    pub fn served(&self) {
        if self.limiter.share.load(Ordering::Relaxed) < WHOLE {
            self.adjust(|share| (share + GAIN).min(WHOLE));
        }
    }

    fn adjust(&self, change: impl Fn(u32) -> u32) {
        let share = &self.limiter.share;
        let kept = share
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |share| Some(change(share)))
            .unwrap_or_else(|share| share);
        debug_assert!((LEAST..=WHOLE).contains(&kept), "a share is part of the whole");
    }
}

impl Budgets {
    /// How long to wait until nothing is in debt; none: no longer.
    fn wait(&mut self, now: Instant, share: f64) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let buckets = [&mut self.rows, &mut self.bytes, &mut self.capacity];
        let longest = buckets
            .into_iter()
            .flatten()
            .map(|bucket| bucket.wait(passed, share))
            .fold(0.0, f64::max);
        // A sleep ends at a whole millisecond at the earliest; less is not worth one.
        (longest > 0.0).then(|| Duration::from_secs_f64(longest.clamp(0.001, 3_600.0)))
    }

    fn charge(&mut self, cost: &Cost) {
        let spent = [
            (&mut self.rows, to_f64(cost.rows)),
            (&mut self.bytes, to_f64(cost.bytes)),
            (&mut self.capacity, cost.capacity),
        ];
        for (bucket, spent) in spent {
            if let Some(bucket) = bucket {
                bucket.level -= spent;
            }
        }
    }
}

impl Bucket {
    fn new(rate: f64) -> Self {
        // A rate of zero would wait for ever; a limit that low means: as little as possible.
        let rate = rate.max(0.001);
        Self { rate, level: rate * BURST }
    }

    /// Fills for `passed` seconds at `share` of the rate; how many seconds of debt are left.
    fn wait(&mut self, passed: f64, share: f64) -> f64 {
        let rate = self.rate * share;
        self.level = (self.level + passed * rate).min(self.rate * BURST);
        if self.level >= 0.0 { 0.0 } else { -self.level / rate }
    }
}

#[expect(clippy::disallowed_methods, reason = "a store paces itself by the clock")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 53 bits")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rows: u32, concurrency: u32) -> Limits {
        Limits {
            rows_per_second: NonZeroU32::new(rows),
            concurrency: NonZeroU32::new(concurrency).unwrap(),
            ..Limits::default()
        }
    }

    fn cost(rows: u64) -> Cost {
        Cost { rows, ..Cost::default() }
    }

    #[test]
    fn a_debt_is_paid_at_the_rate() {
        let limiter = RateLimiter::new(&limits(100, 1));
        let mut budgets = limiter.budgets().unwrap();
        let start = budgets.at;
        assert_eq!(budgets.wait(start, 1.0), None, "a burst is there at first");
        budgets.charge(&cost(1_025));
        let wait = budgets.wait(start, 1.0).unwrap();
        assert!((wait.as_secs_f64() - 10.0).abs() < 1e-6, "{wait:?}");
        let wait = budgets.wait(start + Duration::from_secs(4), 1.0).unwrap();
        assert!((wait.as_secs_f64() - 6.0).abs() < 1e-6, "{wait:?}");
        assert_eq!(budgets.wait(start + Duration::from_secs(11), 1.0), None);
    }

    #[test]
    fn a_quiet_time_saves_no_more_than_a_burst() {
        let limiter = RateLimiter::new(&limits(1_000, 1));
        let mut budgets = limiter.budgets().unwrap();
        let later = budgets.at + Duration::from_secs(3_600);
        assert_eq!(budgets.wait(later, 1.0), None);
        budgets.charge(&cost(1_250));
        let wait = budgets.wait(later, 1.0).unwrap();
        assert!((wait.as_secs_f64() - 1.0).abs() < 1e-6, "{wait:?}");
    }

    #[test]
    fn a_throttled_store_is_asked_half_and_recovers_step_by_step() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limiter = RateLimiter::new(&Limits::default());
            let permit = limiter.enter().await;
            permit.throttled();
            assert_eq!(limiter.share.load(Ordering::Relaxed), WHOLE / 2);
            for _ in 0..20 {
                permit.throttled();
            }
            assert_eq!(limiter.share.load(Ordering::Relaxed), LEAST);
            permit.served();
            assert_eq!(limiter.share.load(Ordering::Relaxed), LEAST + GAIN);
            for _ in 0..200 {
                permit.served();
            }
            assert_eq!(limiter.share.load(Ordering::Relaxed), WHOLE);
        });
    }

    #[test]
    fn no_more_reads_than_permits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let limiter = RateLimiter::new(&limits(0, 2));
            let first = limiter.enter().await;
            let _second = limiter.enter().await;
            assert!(futures::poll!(std::pin::pin!(limiter.enter())).is_pending());
            drop(first);
            assert!(futures::poll!(std::pin::pin!(limiter.enter())).is_ready());
        });
    }
}
