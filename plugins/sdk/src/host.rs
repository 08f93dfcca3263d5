//! The two things that a plugin may ask of its host.
//!
//! Owns how words reach whoever runs the plugin: driftd, or a native test. Refuses everything else: a
//! plugin has no files, network, clock or randomness. Invariant: nothing here ever fails.

use std::cell::Cell;

/// How loud a message is.
///
/// ```
/// driftd_plugin::log(driftd_plugin::Level::Warn, "the old format is still in use");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For whoever follows every step.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// For everyone.
    Info,
    /// Something deserves a look.
    Warn,
    /// Something is wrong.
    Error,
}

type Log = fn(Level, &str);
type Count = fn(&str, u64);

thread_local! {
    static HOST: Cell<(Log, Count)> = const { Cell::new((aside, |_, _| {})) };
}

/// Natively a message goes where a failed test shows it.
fn aside(level: Level, message: &str) {
    eprintln!("{level:?}: {message}");
}

/// Says something to whoever runs the plugin. What it says counts as a value and stays on the
/// machine; the host cuts what is too much.
///
/// ```
/// use driftd_plugin::{Level, log};
///
/// log(Level::Debug, "planned");
/// ```
pub fn log(level: Level, message: &str) {
    HOST.with(Cell::get).0(level, message);
}

/// Counts something, under a name of few kinds.
///
/// ```
/// driftd_plugin::count("old-format", 1);
/// ```
pub fn count(name: &str, delta: u64) {
    HOST.with(Cell::get).1(name, delta);
}

/// Sends words to a host, panics among them: `panicked at <file>:<line>:<column>:` on the first line,
/// which holds no values, and what it says below.
#[doc(hidden)]
pub fn connect(log: Log, count: Count) {
    HOST.with(|host| host.set((log, count)));
    std::panic::set_hook(Box::new(|panic| crate::log(Level::Error, &panic.to_string())));
}
