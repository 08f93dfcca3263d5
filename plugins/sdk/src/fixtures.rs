//! Fixtures.

use crate::plan::Plan;
use crate::wire::{ColumnDef, TableSchema};

/// Runs a plan for relations of which nothing is known, as the examples of this documentation do.
#[doc(hidden)]
pub fn plan_alone(plan: impl FnOnce(&Plan)) {
    let schema = |name: &str| TableSchema { name: name.to_owned(), ..TableSchema::default() };
    let _ = ColumnDef::default();
    let alone = Plan::new("users".to_owned(), vec![schema("users")], vec![schema("shop")]);
    plan(&alone);
    assert!(alone.inner.borrow().issues.is_empty());
}
