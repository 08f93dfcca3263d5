//! The whole daemon, as a process, against private servers.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_driftd-under-test");
