//! Plugins for driftd, in Rust.
//!
//! A plugin maps rows of two stores to one form, so that driftd can compare them. It is a table of
//! fields: for each, where it comes from in the source and where in the target.
//!
//! ```
//! use driftd_plugin::{Decimal, Mapping, Plan, Read, Side};
//!
//! #[derive(Default)]
//! struct Users;
//!
//! driftd_plugin::export!(Users: Mapping);
//!
//! impl Mapping for Users {
//!     const NAME: &'static str = "users";
//!     const SUMMARY: &'static str = "maps users of a SQL table and of a DynamoDB table";
//!
//!     fn plan(&self, plan: &Plan) {
//!         let (row, item) = (plan.source(), plan.target());
//!         let (sk, cents) = (item.text("sk"), item.integer("balanceCents"));
//!
//!         let user = plan.entity("user", row, item);
//!         user.key("id", row.integer("id"), sk.after("USER#").parse_integer());
//!         user.compared("email", row.text("email"), item.text("/profile/mail"));
//!         user.compared(
//!             "balance",
//!             row.decimal("balance"),
//!             cents.map(|cents| Decimal::new(cents, -2)),
//!         );
//!         user.on(Side::Target).only_if(sk.starts_with("USER#"));
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! - A column is named once, in [`Mapping::plan`], and is a position from then on. A field that is a
//!   column as it stands is moved, not copied; any other is a loop of its own over the rows, compiled
//!   for it.
//! - Types are exact: a [`Decimal`] has no way from or to a float, and a column of another type than
//!   the mapping says is refused before the first row, in words that name it.
//! - A row that cannot be mapped is refused by itself, with [`reject`]; the others are compared.
//! - What happens to be no such entity, is not migrated yet or has expired is said with
//!   [`EntitySide`].
//! - Several relations, groups and entity types: [`Plan::relation`], [`Relation::group_by`],
//!   [`Row::all`], [`EntitySide::each`].
//! - Rules that must hold are an ability of their own, [`Invariants`], and so is [`Locating`].
//! - A panic says where it happened to the host, and costs the rows of its call.
//!
//! The same crate runs natively, under `cargo test`, and in WebAssembly, under driftd; [`fixtures`] are
//! tests that both run.

#![warn(missing_docs)]

mod bindings;
mod cell;
mod column;
mod decimal;
mod export;
#[cfg(not(target_family = "wasm"))]
pub mod fixtures;
mod host;
mod json;
mod kind;
mod locating;
mod map;
mod plan;
mod plugin;
mod read;
mod row;
mod rules;
mod tally;
mod time;
#[doc(hidden)]
pub mod wire;

pub use cell::{Cell, CellWriter, List, Map};
pub use decimal::{Decimal, NoDecimal};
pub use host::{Level, count, log};
pub use kind::{Binary, Boolean, Float, Integer, Json, Kind, Text, Unsigned, Value};
pub use locating::{At, KeyOf, KeyWriter, Locators, StoreKey};
pub use map::Out;
pub use plan::{Entity, EntitySide, Field, Plan, Relation, Standing};
pub use plugin::{Config, Invariants, Issue, Locating, Mapping};
pub use read::{Get, IntoCell, Null, Read, TextWriter, null};
pub use row::{Col, Reject, Result, Row, reject};
pub use rules::{Fields, Over, Pair, Rule, Rules};
pub use tally::{Tally, TallyKey};
pub use time::{Date, DateTime, Time, Timestamp};
pub use wire::{Severity, Side};

/// What nearly every mapping uses.
///
/// ```
/// use driftd_plugin::prelude::*;
///
/// #[derive(Default)]
/// struct Users;
/// driftd_plugin::export!(Users: Mapping);
///
/// impl Mapping for Users {
///     const NAME: &'static str = "users";
///     const SUMMARY: &'static str = "maps users";
///
///     fn plan(&self, plan: &Plan) {
///         let (row, item) = (plan.source(), plan.target());
///         plan.entity("user", row, item).key("id", row.integer("id"), item.integer("id"));
///     }
/// }
/// # fn main() {}
/// ```
pub mod prelude {
    pub use std::borrow::Cow;

    pub use crate::{
        Cell, Date, DateTime, Decimal, Get, Invariants, Locating, Locators, Mapping, Plan, Read,
        Reject, Result, Row, Rules, Severity, Side, Standing, Time, Timestamp, null, reject,
    };
}

/// What [`export!`] needs; nothing here is for authors.
#[doc(hidden)]
pub mod glue {
    pub use crate::host::connect;
    pub use crate::plugin::{Accumulator, Exported, Plugin};
    #[cfg(target_family = "wasm")]
    pub use wit_bindgen;
}

/// The examples of the page that introduces the crate.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
