//! The commands.
//!
//! Owns one file per command. Refuses to compare or to decide. Invariant: what a command says is what
//! the run or the journal said.

#[cfg(feature = "demo")]
pub mod demo;
