//! What the tests of the whole daemon share: private servers on loopback, and faults in front of
//! them.
//!
//! Owns their start and end. Refuses assertions. Invariant: a server belongs to one test, listens on
//! a port of its own and ends with its handle.

pub mod dynamodb;
pub mod dynamodb_proxy;
