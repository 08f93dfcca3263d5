//! What crosses the boundary, as plain Rust.
//!
//! Owns one type for every record of the contract, so that a mapping runs natively as it runs in
//! WebAssembly. Refuses behaviour. Invariant: a conversion from and to the generated bindings moves
//! vectors and copies no cell.
//!
//! [`export!`](crate::export) and the fixtures speak these types; a mapping never sees them.

#![allow(missing_docs, reason = "the fields are those of the contract, which documents them")]

pub use crate::host::Level;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct VarBytes {
    pub offsets: Vec<u32>,
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Buffer {
    Int64(Vec<i64>),
    Uint64(Vec<u64>),
    Float64(Vec<f64>),
    Bytes(VarBytes),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub validity: Vec<u8>,
    pub values: Buffer,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    pub rows: u32,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnDef {
    pub name: String,
    pub logical: String,
    pub nullable: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSchema {
    pub name: String,
    pub columns: Vec<ColumnDef>,
    pub key: Vec<u32>,
}

/// The store that is being left, or the one that is being moved to.
///
/// ```
/// use driftd_plugin::Side;
///
/// assert_eq!(Side::Source.to_string(), "source");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The store that is being left.
    Source,
    /// The store that is being moved to.
    Target,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    pub pairing: String,
    pub side: Side,
    pub as_of: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub code: String,
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub config_schema: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Key,
    Compared,
    Version,
    Label,
    Carried,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldDef {
    pub name: String,
    pub logical: String,
    pub role: Role,
    pub rules: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityDef {
    pub name: String,
    pub fields: Vec<FieldDef>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationPlan {
    pub relation: u32,
    pub columns: Vec<String>,
    pub ignored: Vec<String>,
    pub group_by: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidePlan {
    pub relations: Vec<RelationPlan>,
    pub mapped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingPlan {
    pub entities: Vec<EntityDef>,
    pub source: SidePlan,
    pub target: SidePlan,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub relation: u32,
    pub origin: String,
    pub rows: Batch,
    pub group: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Present,
    Absent,
    Excluded,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    pub entity: u32,
    pub items: Batch,
    pub from_group: Vec<u32>,
    pub standing: Vec<Standing>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub input: u32,
    pub row: u32,
    pub kind: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Mapped {
    pub outputs: Vec<Output>,
    pub notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Located {
    pub relation: u32,
    pub access: String,
    pub keys: Batch,
    pub from_entity: Vec<u32>,
}

/// How much a broken rule matters.
///
/// ```
/// use driftd_plugin::Severity;
///
/// assert!(Severity::Critical > Severity::Error);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warning,
    /// Wrong.
    Error,
    /// Wrong, and reason to stop.
    Critical,
}

/// What a rule is about, as the contract names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Pair,
    Partition,
}

impl Scope {
    pub fn name(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Partition => "partition",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvariantDef {
    pub id: String,
    pub summary: String,
    pub severity: Severity,
    pub scope: Scope,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pairs {
    pub entity: u32,
    pub source: Batch,
    pub source_present: Vec<u8>,
    pub target: Batch,
    pub target_present: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: u32,
    pub pair: Option<u32>,
    pub message: String,
}
