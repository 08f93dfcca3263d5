//! Private servers, the conformance suite of stores, and what scenarios share.
//!
//! Owns what the integration tests need and the daemon must not have. Refuses fixed ports, shared
//! servers and waiting for a time. Invariant: a server dies with the process that started it.
#![expect(clippy::missing_panics_doc, reason = "a helper of tests fails by panicking")]

pub mod conformance;
pub mod dynamodb;
pub mod dynamodb_proxy;
pub mod mariadb;
pub mod otlp;
pub mod scenario;
pub mod sim;
