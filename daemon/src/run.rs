//! Wiring: the only clock, the only spawn, bounded channels, and the carrying out of decisions.
//!
//! Owns start and shutdown. Refuses to decide anything: it carries events to the engine and
//! decisions from it. Invariant: journal, then report, then hook.
