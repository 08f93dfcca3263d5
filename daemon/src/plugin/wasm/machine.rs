//! The engine that runs guests, and what holds a guest in its bounds.
//!
//! Owns wasmtime's configuration, the ticker that makes deadlines pass, the data of a guest's store,
//! and the naming of what stopped a guest. Refuses to know the contract. Invariant: no guest runs
//! without fuel, a deadline and a memory limit, and nothing that it sees depends on the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::{
    Config, Engine, FrameInfo, ResourceLimiter, Store, Trap, UpdateDeadline, WasmBacktrace,
    WasmBacktraceDetails,
};

use super::cache::Cache;
use super::footprint::Footprint;
use super::pool::{Place, Pool, SMALL};
use super::sources::Sources;
use super::trial::Cost;
use crate::plugin::{LAST_WORDS, Limits, PluginErrorKind};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(10);
/// Deadlines that all calls of a check or look may run together, and one more for so many rows.
const DEADLINES_MAX: u32 = 60;
const ROWS_A_DEADLINE: u64 = 10_000;
/// Native stack that a guest may use.
const STACK_BYTES: usize = 512 << 10;
/// Elements of all tables of a guest; a table costs the host memory that is no linear memory.
const TABLE_ELEMENTS: usize = 100_000;
/// Core instances, memories and tables of a guest; guests of some languages consist of many modules.
const PARTS: usize = 100;
/// Frames of a backtrace that an error shows.
const FRAMES: usize = 4;
/// Bytes of a function's name that are looked at: generic ones of Rust are long.
const MANGLED_BYTES: usize = 4_000;
/// Bytes of a function's name that an error shows.
const NAME_BYTES: usize = 200;
/// Bytes of a guest's last words that an error shows.
const WORDS_BYTES: usize = 512;

/// Ticks of an engine's ticker.
#[derive(Clone, Debug, Default)]
pub(super) struct Clock(Arc<AtomicU64>);

impl Clock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What all calls of one check or look may run together. Each of them may run into its deadline, and
/// how many there are is a plugin's choice.
#[derive(Debug)]
pub(super) struct Patience {
    clock: Clock,
    deadline: Duration,
    rows: u64,
    ran: u64,
}

impl Patience {
    pub(super) fn new(machine: &Machine, limits: &Limits) -> Self {
        Self { clock: machine.clock.clone(), deadline: limits.deadline, rows: 0, ran: 0 }
    }

    /// How long the calls so far may have run.
    fn allowed(&self) -> Duration {
        let rows = u32::try_from(self.rows / ROWS_A_DEADLINE).unwrap_or(u32::MAX);
        self.deadline.saturating_mul(rows.saturating_add(DEADLINES_MAX))
    }

    /// A call over `rows` rows is to be made. Refused where the others ran for too long.
    pub(super) fn begin(&mut self, rows: usize) -> Result<Began, PluginErrorKind> {
        self.rows = self.rows.saturating_add(rows as u64);
        let allowed = self.allowed();
        if self.ran > ticks(allowed) {
            let millis = u64::try_from(allowed.as_millis()).unwrap_or(u64::MAX);
            return Err(PluginErrorKind::Patience { millis });
        }
        Ok(Began(self.clock.now()))
    }

    /// It ended, and of its time it waited so many ticks for others.
    pub(super) fn end(&mut self, began: Began, waited: u64) {
        self.ran += (self.clock.now() - began.0).saturating_sub(waited);
    }
}

/// When a call began.
#[derive(Debug)]
pub(super) struct Began(u64);

/// The engine and its ticker, shared by everything that runs guests.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) engine: Engine,
    /// The memory of all its guests.
    pub(super) pool: Arc<Pool>,
    /// Where what was compiled is kept.
    pub(super) cache: Option<Cache>,
    clock: Clock,
    /// Dropped first: that stops the ticker.
    stop: Option<SyncSender<()>>,
    ticker: Option<JoinHandle<()>>,
}

impl Machine {
    /// An engine of which all guests together have `memory` bytes.
    pub(super) fn new(memory: u64, cache: Option<Cache>) -> Arc<Self> {
        let engine = Engine::new(&config()).expect("the configuration is a constant, and tested");
        let (stop, stopped) = mpsc::sync_channel::<()>(0);
        let (ticking, clock) = (engine.clone(), Clock::default());
        let ticked = clock.clone();
        let ticker = std::thread::Builder::new()
            .name("plugin-ticker".to_owned())
            .spawn(move || {
                while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    ticking.increment_epoch();
                    ticked.0.fetch_add(1, Ordering::Relaxed);
                }
            })
            .expect("a process that cannot start one thread cannot run guests within a deadline");
        let pool = Pool::new(memory);
        let (stop, ticker) = (Some(stop), Some(ticker));
        Arc::new(Self { engine, pool, cache, clock, stop, ticker })
    }

    /// An empty store for a guest, within `limits`.
    pub(super) fn store(&self, guest: Guest, limits: &Limits) -> Store<Guest> {
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.bounds);
        let deadline = ticks(limits.deadline);
        store.epoch_deadline_callback(move |store| {
            // Others took the time until there was memory, so that is not its own.
            let Guest { called, bounds, .. } = store.data();
            let ran = (bounds.clock.now() - called).saturating_sub(bounds.waited);
            match deadline.saturating_sub(ran) {
                left if left == 0 || bounds.waited == 0 => Err(Trap::Interrupt.into()),
                left => Ok(UpdateDeadline::Continue(left)),
            }
        });
        store.set_hostcall_fuel(usize::try_from(limits.output).unwrap_or(usize::MAX));
        store
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(ticker) = self.ticker.take() {
            ticker.join().expect("the ticker does not panic");
        }
    }
}

/// What decides how guests are compiled and run.
pub(super) fn config() -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(STACK_BYTES)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .wasm_shared_everything_threads(false)
        .shared_memory(false)
        .concurrency_support(false)
        // The names of functions suffice; debug information is the guest's own, so it is not parsed.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config
}

/// The data of a guest's store.
#[derive(Debug)]
pub(super) struct Guest {
    bounds: Bounds,
    pub(super) words: Words,
    sources: Arc<Sources>,
    /// When the call under way began, in ticks.
    called: u64,
    /// The most fuel that a call used since it was forgotten.
    fuel: u64,
}

impl Guest {
    /// A guest of `machine` that may write `log_bytes` of messages.
    pub(super) fn new(
        plugin: &str,
        sources: &Arc<Sources>,
        limits: &Limits,
        machine: &Machine,
        log_bytes: usize,
    ) -> Self {
        let bounds = Bounds {
            memory: usize::try_from(limits.memory).unwrap_or(usize::MAX),
            pool: Arc::clone(&machine.pool),
            place: None,
            waited: 0,
            waited_for: 0,
            clock: machine.clock.clone(),
            memory_used: 0,
            table_used: 0,
            refused: None,
        };
        let words = Words { plugin: plugin.to_owned(), left: log_bytes, last: None };
        Self { bounds, words, sources: Arc::clone(sources), called: 0, fuel: 0 }
    }

    /// Counts what its instances take beside what they grow by.
    pub(super) fn take(&mut self, footprint: Footprint) -> Result<(), PluginErrorKind> {
        let bytes = usize::try_from(footprint.bytes).unwrap_or(usize::MAX);
        let what = "before it runs, for the functions and globals of its instances";
        self.bounds.take(bytes, what).map_err(|_told| PluginErrorKind::Memory {
            allowed: self.bounds.memory as u64,
            detail: self.bounds.refused.take().unwrap_or_default(),
        })
    }

    /// What the dearest call took since it was forgotten; memory never shrinks, so it is the most so
    /// far.
    pub(super) fn cost(&self) -> Cost {
        Cost { fuel: self.fuel, memory: self.bounds.memory_used as u64 }
    }

    /// Whether it has a place among the large ones.
    pub(super) const fn is_large(&self) -> bool {
        self.bounds.place.is_some()
    }

    /// Takes that place away, to be given back when its memory is gone.
    pub(super) const fn leave(&mut self) -> Option<Place> {
        self.bounds.place.take()
    }

    /// Ticks that it waited for others since it was last asked.
    pub(super) const fn take_waited(&mut self) -> u64 {
        std::mem::replace(&mut self.bounds.waited_for, 0)
    }

    /// Counts anew what calls take.
    pub(super) const fn forget_cost(&mut self) {
        self.fuel = 0;
    }
}

/// What a guest may take of the host's memory. Unlike wasmtime's own limiter it counts all memories
/// of a guest together.
#[derive(Debug)]
struct Bounds {
    memory: usize,
    pool: Arc<Pool>,
    /// Held since it became large.
    place: Option<Place>,
    /// How long it had to wait for that in the call under way, in ticks.
    waited: u64,
    /// The same of all calls since it was asked for.
    waited_for: u64,
    clock: Clock,
    memory_used: usize,
    table_used: usize,
    /// Set when something was refused, which traps.
    refused: Option<String>,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.take(desired.saturating_sub(current), "of linear memory")?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let wanted = self.table_used.saturating_add(desired.saturating_sub(current));
        if wanted > TABLE_ELEMENTS {
            return Err(self
                .refuse(format!("it wanted {wanted} table elements, more than {TABLE_ELEMENTS}")));
        }
        self.table_used = wanted;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

impl Bounds {
    fn take(&mut self, bytes: usize, what: &str) -> wasmtime::Result<()> {
        let wanted = self.memory_used.saturating_add(bytes);
        if wanted > self.memory {
            return Err(self.refuse(format!("it wanted {wanted} bytes {what}")));
        }
        if wanted as u64 > SMALL && self.place.is_none() {
            let began = self.clock.now();
            let (place, waited) = self.pool.enter(self.memory as u64);
            self.place = Some(place);
            if waited {
                let ticks = self.clock.now() - began;
                self.waited += ticks;
                self.waited_for += ticks;
            }
        }
        self.memory_used = wanted;
        Ok(())
    }

    fn refuse(&mut self, what: String) -> wasmtime::Error {
        let error = wasmtime::Error::msg(what.clone());
        self.refused = Some(what);
        error
    }
}

/// What a guest says. Its words count as values: they are shown at debug level only, and as the last
/// words of a guest that trapped.
#[derive(Debug)]
pub(super) struct Words {
    plugin: String,
    /// Bytes that may still be said in this check.
    pub(super) left: usize,
    /// What was said last at error level: a panic says why.
    last: Option<String>,
}

impl Words {
    pub(super) fn say(&mut self, level: &str, message: &str) {
        if level == "error" {
            self.last = Some(shortened(message, WORDS_BYTES).to_owned());
        }
        if self.left > 0 {
            let message = shortened(message, self.left);
            // An empty line costs something, too.
            self.left = self.left.saturating_sub(message.len().max(16));
            tracing::debug!(plugin = self.plugin, level, message, "plugin message");
            if self.left == 0 {
                tracing::debug!(plugin = self.plugin, "further messages of this check are dropped");
            }
        }
    }
}

/// The first `bytes` bytes of `text`, or a little less, at a character's boundary.
pub(super) fn shortened(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// One call's allowance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    fuel: u64,
    limits: Limits,
}

impl Allowance {
    /// What a call over `rows` rows may use.
    pub(super) fn new(limits: Limits, rows: usize) -> Self {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        let fuel = limits.fuel_per_call.saturating_add(limits.fuel_per_row.saturating_mul(rows));
        Self { fuel, limits }
    }

    /// Readies `store` for a call.
    pub(super) fn grant(self, store: &mut Store<Guest>) {
        store.set_fuel(self.fuel).expect("the engine counts fuel");
        store.set_epoch_deadline(ticks(self.limits.deadline));
        let guest = store.data_mut();
        guest.words.last = None;
        guest.bounds.waited = 0;
        guest.called = guest.bounds.clock.now();
    }

    /// Writes down what the call used.
    pub(super) fn charge(self, store: &mut Store<Guest>) {
        let left = store.get_fuel().expect("the engine counts fuel");
        let guest = store.data_mut();
        guest.fuel = guest.fuel.max(self.fuel.saturating_sub(left));
    }

    /// What stopped a guest.
    pub(super) fn name(self, error: &wasmtime::Error, guest: &mut Guest) -> PluginErrorKind {
        if let Some(detail) = guest.bounds.refused.take() {
            return PluginErrorKind::Memory { allowed: self.limits.memory, detail };
        }
        let trap = error.downcast_ref::<Trap>();
        if trap == Some(&Trap::OutOfFuel) {
            return PluginErrorKind::Fuel { allowed: self.fuel };
        }
        if trap == Some(&Trap::Interrupt) {
            let millis = u64::try_from(self.limits.deadline.as_millis()).unwrap_or(u64::MAX);
            return PluginErrorKind::Deadline { millis };
        }
        let backtrace = error.downcast_ref::<WasmBacktrace>();
        // wasmtime keeps the type of this one to itself. Its causes are not written out: a backtrace
        // among them would be.
        if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
            return PluginErrorKind::Output { allowed: self.limits.output };
        }
        if trap.is_none() && backtrace.is_none() {
            return PluginErrorKind::Malformed(format!("{error:#}"));
        }
        let mut what = trap.map_or_else(|| error.root_cause().to_string(), ToString::to_string);
        let frames = backtrace.map(frames).unwrap_or_default();
        if !frames.is_empty() {
            what = format!("{what}; in {}", frames.join(", called by "));
        }
        if let Some(words) = guest.words.last.take() {
            if let Some(place) = guest.sources.place(&words) {
                what = format!("{what}; at {place}");
            }
            what = format!("{what}{LAST_WORDS}{words}");
        }
        PluginErrorKind::Trap(what)
    }
}

/// As many ticks as take at least `deadline`: the one under way counts as none.
fn ticks(deadline: Duration) -> u64 {
    let ticks = deadline.as_millis().div_ceil(TICK.as_millis()) + 1;
    u64::try_from(ticks).unwrap_or(u64::MAX / 2)
}

/// The innermost functions of a backtrace. It is not written out as wasmtime does it: names are the
/// guest's, and those of C++ can be made to grow without end when they are demangled.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let name = |frame: &FrameInfo| match frame.func_name() {
        Some(name) => {
            // Only so long that it is known to have an end, which rustc-demangle sets, too.
            let name = shortened(name, MANGLED_BYTES);
            let plain = rustc_demangle::try_demangle(name).map(|plain| format!("{plain:#}"));
            shortened(&plain.unwrap_or_else(|_| name.to_owned()), NAME_BYTES).to_owned()
        }
        None => format!("function {}", frame.func_index()),
    };
    backtrace.frames().iter().take(FRAMES).map(name).collect()
}
