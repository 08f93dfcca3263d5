//! The integration tests, in one binary.

mod api;
mod dynamodb;
mod report;
mod scenario;
mod stores;
