//! The table of types: what a cell is to a field.
//!
//! Owns [`meets`], the one table of which cells are alike with values of which field, which are read or
//! rounded first, and which only where the configuration says so. Refuses to convert. Invariant: what
//! is not in the table differs; nothing is taken for a value of another type without a word.

use crate::model::{Logical, Rule};

/// What a cell is by itself, whichever column it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Number,
    Float,
    Text,
    Bytes,
    Timestamp,
    DateTime,
    Date,
    Time,
    Set,
    List,
    Map,
    JsonNull,
}

/// What a cell is to a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meets {
    /// It is of the field's type, and compared by value.
    Alike,
    /// It is rounded to the float that the field's values are.
    Rounded,
    /// It is of the field's type if it is a whole number below 2^53.
    Whole,
    /// It is a text in the one form in which the field's values are written; another text is rejected.
    Read,
    /// It stands for a value of the field where one of these rules says so.
    Ruled(&'static [Rule]),
    /// It stands for a value of the field where the field's type was declared, and only in a column
    /// that has cells of one type.
    Declared,
    /// It differs from every value of the field.
    Differs,
}

/// What a cell of this kind is to a field of this type.
pub(super) const fn meets(kind: Kind, to: Logical) -> Meets {
    use Logical as L;
    use Meets::{Alike, Declared, Differs, Read, Rounded, Ruled, Whole};
    match (kind, to) {
        // What has no type declared is what it is.
        (_, L::Value)
        | (Kind::Boolean, L::Boolean)
        | (Kind::Number, L::Integer | L::Decimal)
        | (Kind::Float, L::Float)
        | (Kind::Text, L::Text | L::Enum)
        | (Kind::Bytes, L::Binary)
        | (Kind::Timestamp, L::Timestamp)
        | (Kind::DateTime, L::DateTime)
        | (Kind::Date, L::Date)
        | (Kind::Time, L::Time)
        | (Kind::Set, L::Set)
        // What a document may hold. A text is the string; a set is no list.
        | (
            Kind::Boolean | Kind::Number | Kind::Text | Kind::List | Kind::Map | Kind::JsonNull,
            L::Json,
        ) => Alike,
        (Kind::Number, L::Float | L::Float32) | (Kind::Float, L::Float32) => Rounded,
        (Kind::Float, L::Integer | L::Decimal) => Whole,
        (Kind::Text, L::Timestamp | L::DateTime | L::Date | L::Time | L::Set) => Read,
        (Kind::Text, L::Integer | L::Decimal | L::Float | L::Float32)
        | (Kind::Number, L::Text | L::Enum) => Ruled(&[Rule::TextIsNumber]),
        (Kind::Text, L::Boolean) | (Kind::Boolean, L::Text | L::Enum) => {
            Ruled(&[Rule::TextIsBool])
        }
        (Kind::Text, L::Binary) | (Kind::Bytes, L::Text | L::Enum) => {
            Ruled(&[Rule::TextIsHex, Rule::TextIsBase64])
        }
        (Kind::Boolean, L::Integer | L::Decimal) | (Kind::Number, L::Boolean) => {
            Ruled(&[Rule::NumberIsBool])
        }
        (Kind::JsonNull, _) => Ruled(&[Rule::JsonNullIsNull]),
        (Kind::Timestamp, L::DateTime)
        | (Kind::DateTime, L::Timestamp)
        // A bit: BIT(1) is a byte that is 0 or 1.
        | (Kind::Bytes, L::Boolean) => Declared,
        (
            Kind::Boolean
            | Kind::Number
            | Kind::Float
            | Kind::Bytes
            | Kind::Timestamp
            | Kind::DateTime
            | Kind::Date
            | Kind::Time
            | Kind::Set
            | Kind::List
            | Kind::Map,
            _,
        ) => Differs,
    }
}

/// What all cells of a column of this type are. None: each says it itself, or is a document.
pub(super) const fn kind_of(column: Logical) -> Option<Kind> {
    Some(match column {
        Logical::Boolean => Kind::Boolean,
        Logical::Integer | Logical::Decimal => Kind::Number,
        Logical::Float | Logical::Float32 => Kind::Float,
        Logical::Text | Logical::Enum => Kind::Text,
        Logical::Binary => Kind::Bytes,
        Logical::Timestamp => Kind::Timestamp,
        Logical::DateTime => Kind::DateTime,
        Logical::Date => Kind::Date,
        Logical::Time => Kind::Time,
        Logical::Set => Kind::Set,
        Logical::Json | Logical::Value => return None,
    })
}

/// The type in which columns of these two are compared, if nothing is declared: that of the source, if
/// it has one, but that of the float where one side's numbers are floats, and of the narrower float
/// where both are. Either order gives the same floats.
pub(super) fn common(source: Logical, target: Logical) -> Logical {
    let sides = [source, target];
    let numbers = |logical: &Logical| {
        matches!(
            logical,
            Logical::Integer
                | Logical::Decimal
                | Logical::Float
                | Logical::Float32
                | Logical::Text
                | Logical::Value
        )
    };
    let float = [Logical::Float32, Logical::Float].into_iter().find(|float| sides.contains(float));
    match float {
        Some(float) if sides.iter().all(numbers) => float,
        Some(_) | None if source == Logical::Value => target,
        Some(_) | None => source,
    }
}

/// How a rule is written.
pub(super) fn written(rules: &[Rule]) -> String {
    let one = |rule: &Rule| format!("`rules = [\"{}\"]`", rule.name().unwrap_or_default());
    rules.iter().map(one).collect::<Vec<_>>().join(" or ")
}
