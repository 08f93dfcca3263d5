//! Tests of parts of the daemon against real servers, in one binary because link time is the tax of a
//! test suite.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod report;
