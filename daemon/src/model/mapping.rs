//! What a mapping declares.
//!
//! Owns the plan of a mapping: entity types, their fields, roles and rules, what is read from each
//! side, invariants. Refuses to map. Invariant: these types say the same as the plugin contract's
//! records of the same names, converted once at the edge.

use crate::model::Logical;

/// What a field of an entity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Identifies the entity.
    Key,
    /// Part of the digest.
    Compared,
    /// Grows with every change, so that an older copy can be told from a wrong one.
    Version,
    /// Counted by (tenant, currency), not compared.
    Label,
    /// Neither; for locating and invariants.
    Carried,
}

/// A declared equivalence: what a field's comparison overlooks. Nothing is overlooked otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `absent=null`: a missing field and a null are the same.
    AbsentIsNull,
    /// `null=empty`: a null and the empty text are the same.
    NullIsEmpty,
    /// `trim-end`: trailing spaces do not matter.
    TrimEnd,
    /// `nfc`: texts are compared in Unicode normalisation form C.
    Nfc,
    /// `tolerance=T`: numbers a and b are the same when |a - b| <= T * max(|a|, |b|).
    Tolerance(f64),
    /// `text=number`: a text in which a store writes a number is that number.
    TextIsNumber,
    /// `text=bool`: the texts `true` and `false` are the booleans.
    TextIsBool,
    /// `text=hex`: a text of hexadecimal digits is the bytes that they write.
    TextIsHex,
    /// `text=base64`: a text that is base64 is the bytes that it writes.
    TextIsBase64,
    /// `number=bool`: 0 and 1 are the booleans.
    NumberIsBool,
    /// `json-null=null`: the JSON document `null` and a null are the same.
    JsonNullIsNull,
}

/// A rule's text is not in the registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown rule `{rule}`: known are {}, tolerance=<number>", Rule::names().collect::<Vec<_>>().join(", "))]
pub struct RuleError {
    /// The text.
    pub rule: String,
}

/// Every rule but the tolerance, which has a number of its own.
const RULES: [(&str, Rule); 10] = [
    ("absent=null", Rule::AbsentIsNull),
    ("null=empty", Rule::NullIsEmpty),
    ("trim-end", Rule::TrimEnd),
    ("nfc", Rule::Nfc),
    ("text=number", Rule::TextIsNumber),
    ("text=bool", Rule::TextIsBool),
    ("text=hex", Rule::TextIsHex),
    ("text=base64", Rule::TextIsBase64),
    ("number=bool", Rule::NumberIsBool),
    ("json-null=null", Rule::JsonNullIsNull),
];

impl Rule {
    /// The registry's names, for messages; without `tolerance=<number>`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        RULES.iter().map(|(name, _)| *name)
    }

    /// Its name; none: it has a number of its own.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        RULES.iter().find(|(_, rule)| *rule == self).map(|(name, _)| *name)
    }

    /// Whether it takes values of one type for values of another, so that cells of a field with it must
    /// keep their own types until they are compared.
    #[must_use]
    pub const fn crosses_types(self) -> bool {
        match self {
            Self::TextIsNumber
            | Self::TextIsBool
            | Self::TextIsHex
            | Self::TextIsBase64
            | Self::NumberIsBool
            | Self::JsonNullIsNull => true,
            Self::AbsentIsNull
            | Self::NullIsEmpty
            | Self::TrimEnd
            | Self::Nfc
            | Self::Tolerance(_) => false,
        }
    }

    /// Reads the registry's text form.
    ///
    /// # Errors
    /// If the text is not in the registry.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let unknown = || RuleError { rule: text.to_owned() };
        if let Some((_, rule)) = RULES.iter().find(|(name, _)| *name == text) {
            return Ok(*rule);
        }
        let value = text.strip_prefix("tolerance=").ok_or_else(unknown)?;
        let value: f64 = value.parse().map_err(|_refused| unknown())?;
        if value.is_finite() && (0.0..1.0).contains(&value) {
            Ok(Self::Tolerance(value))
        } else {
            Err(unknown())
        }
    }
}

/// A field of an entity type.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDef {
    /// Its name; unique in the entity type.
    pub name: String,
    /// What its values mean.
    pub logical: Logical,
    /// What it is for.
    pub role: Role,
    /// Declared equivalences.
    pub rules: Vec<Rule>,
}

/// An entity type.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityDef {
    /// Its name.
    pub name: String,
    /// Its fields, in the order of the columns of its batches and of its digest.
    pub fields: Vec<FieldDef>,
}

/// What is read from one relation of a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationPlan {
    /// Position in the list of schemas that the plan was made from.
    pub relation: usize,
    /// Columns, or JSON pointers into an item; batches carry exactly these, in this order.
    pub columns: Vec<String>,
    /// Attributes known and left out on purpose; any other is reported as unmapped.
    pub ignored: Vec<String>,
    /// Positions in `columns` whose values make a group. Empty: a row is a group.
    pub group_by: Vec<usize>,
}

/// What is read from one side, and whether it is mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidePlan {
    /// Its relations.
    pub relations: Vec<RelationPlan>,
    /// False: the columns are the canonical fields already, in order, and `map` is not called.
    pub mapped: bool,
}

/// What a mapping yields and what it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingPlan {
    /// The entity types.
    pub entities: Vec<EntityDef>,
    /// What is read from the source.
    pub source: SidePlan,
    /// What is read from the target.
    pub target: SidePlan,
}

/// Whether a mapped row counts as there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Present,
    /// It counts as not there (expired, tombstone).
    Absent,
    /// Out of scope (not migrated yet, another kind of item).
    Excluded,
}

/// How bad a violated invariant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a word.
    Info,
    /// Should be looked at.
    Warning,
    /// Wrong.
    Error,
    /// Wrong, and the migration should stop.
    Critical,
}

impl Severity {
    /// The contract's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// What an invariant is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A pair: an entity of both sides.
    Pair,
    /// All pairs of a partition.
    Partition,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 2] = [Self::Pair, Self::Partition];

    /// The contract's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pair => "pair",
            Self::Partition => "partition",
        }
    }

    /// Reads the registry's text form; none where the text is not in the registry.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }
}

/// A rule that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvariantDef {
    /// Its name.
    pub id: String,
    /// What it demands; holds no values, so it may be shown anywhere.
    pub summary: String,
    /// How bad a violation is.
    pub severity: Severity,
    /// What it is about.
    pub scope: Scope,
}
