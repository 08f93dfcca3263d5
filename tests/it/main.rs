//! The integration tests, in one binary.

mod api;
mod author;
mod dynamodb;
mod report;
mod scenario;
mod stores;
