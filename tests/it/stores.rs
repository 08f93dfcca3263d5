//! Every store against the conformance suite, and what only one of them must do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod memory;
mod mysql;
