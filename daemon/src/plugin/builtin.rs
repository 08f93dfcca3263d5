//! The built-in mapping: columns selected and renamed, values put into declared types.
//!
//! Owns its settings and the mapping itself. Refuses anything that needs code: that is a plugin.
//! Invariant: a value is put into another type only where that loses nothing; else the row is
//! rejected.

use crate::model::{Logical, Role, Rule};

/// A built-in mapping of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of the entity type.
    pub entity: String,
    /// Its fields, in the order of the digest.
    pub fields: Vec<Field>,
    /// Columns or attributes of the source that are left out on purpose.
    pub ignore_source: Vec<String>,
    /// Columns or attributes of the target that are left out on purpose.
    pub ignore_target: Vec<String>,
}

/// A field of the entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its values mean; none: what the source's column says, else the target's.
    pub logical: Option<Logical>,
    /// The source's column, or a JSON pointer into its item.
    pub source: String,
    /// The target's column, or a JSON pointer into its item.
    pub target: String,
    /// Declared equivalences.
    pub rules: Vec<Rule>,
}
