//! The memory of all guests together.
//!
//! Owns who may be large at the same time, and the order in which guests wait for that. Refuses to
//! bound a single guest: its own limit does. Invariant: the limits of those that are large never
//! exceed the whole, and every wait ends: who is large is either in a call, which ends, or idle, and
//! then gives way.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

/// What a guest may have without counting as large, in bytes.
pub(super) const SMALL: u64 = 8 << 20;

/// What large guests share.
pub(super) struct Pool {
    /// In bytes.
    whole: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes of all places.
    taken: u64,
    /// Who waits, by number, the first one first.
    waiting: VecDeque<u64>,
    next: u64,
    /// Where large guests may lie idle, the longest idle first.
    idle: VecDeque<Weak<dyn Idle>>,
}

/// What may be put away while nobody uses it.
trait Idle: Send + Sync {
    fn put_away(&self);
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("whole", &self.whole).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(whole: u64) -> Arc<Self> {
        Arc::new(Self { whole, state: Mutex::default(), changed: Condvar::new() })
    }

    /// A place for a guest that may come to `bytes`; one that is larger than the whole has it alone.
    /// Waits, on this thread, for its turn. Also says whether it had to.
    pub(super) fn enter(self: &Arc<Self>, bytes: u64) -> (Place, bool) {
        let bytes = bytes.min(self.whole);
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.waiting.push_back(number);
        let mut waited = false;
        loop {
            if state.waiting.front() == Some(&number) {
                if bytes <= self.whole - state.taken {
                    break;
                }
                if let Some(idle) = state.idle.pop_front() {
                    // What is put away gives its place back.
                    drop(state);
                    if let Some(idle) = idle.upgrade() {
                        idle.put_away();
                    }
                    state = self.state();
                    continue;
                }
            }
            waited = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting.pop_front();
        state.taken += bytes;
        self.changed.notify_all();
        (Place { pool: Arc::clone(self), bytes }, waited)
    }

    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        !self.state().waiting.is_empty()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds it can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A large guest's share, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    pool: Arc<Pool>,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.state().taken -= self.bytes;
        self.pool.changed.notify_all();
    }
}

/// Where a guest lies between two calls; a large one may be gone when it is looked for.
pub(super) struct Slot<T>(Mutex<Option<T>>);

impl<T: Send + 'static> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(None)))
    }

    pub(super) fn take(&self) -> Option<T> {
        self.lock().take()
    }

    /// Lays a guest down; a large one gives way to who waits for a place in `pool`.
    pub(super) fn lay(self: &Arc<Self>, guest: T, pool: Option<&Pool>) {
        *self.lock() = Some(guest);
        let Some(pool) = pool else { return };
        let this = Arc::downgrade(self);
        let is_other = |idle: &Weak<dyn Idle>| !std::ptr::addr_eq(idle.as_ptr(), this.as_ptr());
        let mut state = pool.state();
        state.idle.retain(|idle| idle.strong_count() > 0 && is_other(idle));
        state.idle.push_back(this);
        pool.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Idle for Slot<T> {
    fn put_away(&self) {
        // Not while the slot is locked: what goes with it is not ours to know.
        drop(self.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const WHOLE: u64 = 100;

    #[test]
    fn places_never_exceed_the_whole_and_everybody_gets_one() {
        let pool = Pool::new(WHOLE);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let (pool, now, most) = (&pool, &now, &most);
                scope.spawn(move || {
                    for turn in 0..500 {
                        // From a little to more than there is.
                        let bytes = (thread * 37 + turn * 11) % 130;
                        let (place, _waited) = pool.enter(bytes);
                        let taken = now.fetch_add(place.bytes, Ordering::SeqCst) + place.bytes;
                        most.fetch_max(taken, Ordering::SeqCst);
                        now.fetch_sub(place.bytes, Ordering::SeqCst);
                        drop(place);
                    }
                });
            }
        });
        let most = most.into_inner();
        assert!((WHOLE / 2..=WHOLE).contains(&most), "{most}");
        assert_eq!(pool.state().taken, 0);
        assert!(pool.state().waiting.is_empty());
    }

    #[test]
    fn the_longest_idle_gives_way_and_only_as_many_as_must() {
        let pool = Pool::new(WHOLE);
        let slots = [(); 3].map(|()| Slot::new());
        for slot in &slots {
            let (place, waited) = pool.enter(30);
            assert!(!waited);
            slot.lay(place, Some(&pool));
        }
        // Used again since, so now the second is the longest idle.
        let again = slots[0].take().unwrap();
        slots[0].lay(again, Some(&pool));
        let (place, waited) = pool.enter(40);
        assert!(!waited, "what is idle is not waited for");
        let left = slots.each_ref().map(|slot| slot.lock().is_some());
        assert_eq!(left, [true, false, true]);
        assert_eq!(pool.state().taken, 100);
        drop(place);
        drop(slots);
        assert_eq!(pool.state().taken, 0);
    }

    #[test]
    fn who_waits_first_is_first_however_much_it_needs() {
        let pool = Pool::new(WHOLE);
        let (busy, _) = pool.enter(60);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            // The small ones fit beside the busy one, and not beside the large one: they come when it
            // has gone, so that the order in which they say so is that in which they entered.
            for (at, bytes) in [80, 30, 30].into_iter().enumerate() {
                let (pool, order) = (&pool, &order);
                scope.spawn(move || {
                    let (place, waited) = pool.enter(bytes);
                    assert!(waited, "a small one does not overtake");
                    order.lock().unwrap().push(bytes);
                    drop(place);
                });
                while pool.state().waiting.len() <= at {
                    std::thread::yield_now();
                }
            }
            drop(busy);
        });
        assert_eq!(order.into_inner().unwrap(), [80, 30, 30]);
    }

    #[test]
    fn what_lies_down_gives_way_to_who_waits() {
        let pool = Pool::new(WHOLE);
        let slot = Slot::new();
        let (busy, _) = pool.enter(WHOLE);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.enter(1).1);
            while pool.state().waiting.is_empty() {
                std::thread::yield_now();
            }
            slot.lay(busy, Some(&pool));
            assert!(waiting.join().unwrap());
        });
        assert!(slot.take().is_none());
        // A small one is nobody's hindrance.
        let slot = Slot::new();
        let (busy, _) = pool.enter(WHOLE / 2);
        slot.lay((), None);
        assert!(!pool.enter(WHOLE / 2).1);
        assert!(slot.take().is_some());
        drop(busy);
    }
}
