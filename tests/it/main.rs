//! The integration tests, in one binary.

mod dynamodb;
mod stores;
