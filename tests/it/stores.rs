//! Every store against the conformance suite, and what only one of them must do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::wildcard_enum_match_arm, reason = "the suite has few types; others are a bug")]

mod memory;
mod mysql;
mod sqlite;
