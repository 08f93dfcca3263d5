//! driftd watches a live data migration: it compares a source and a target store for as long as
//! both live, and says when they drift.
//!
//! Read the modules in the order in which they are listed: first how a run goes, then the stages in
//! the order in which data meets them, then the words they share. Every `use` points downward;
//! `tests/tidy.rs` holds the table of allowed edges.

// How a run goes.
pub mod cli;
pub mod author;
pub mod run;
pub mod api;
pub mod check;
pub mod engine;

// The stages, in the order in which data meets them.
pub mod config;
pub mod plan;
pub mod store;
pub mod plugin;
pub mod compare;
pub mod settle;
pub mod journal;
pub mod report;
pub mod abort;
pub mod hook;

// The words they share.
pub mod model;
