//! Cells to canonical bytes, entities to keys and digests.
//!
//! Owns [`Canon`], the compiled form of an entity type. Refuses to compare. Invariant: the bytes that
//! are hashed are the deterministic CBOR array of `[field, value]` pairs in plan order, key and
//! compared fields only, absent ones left out; so anybody with the key can recompute a digest.

use std::borrow::Cow;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization;

use crate::model::{
    Batch, Buffer, CELL_VALUES_MAX, Column, Digest, EntityDef, Facets, Key, Logical, Moment,
    Number, Role, Rule, Value, Version, cbor, single, text,
};

/// Bytes of a canonical key beyond which a row is rejected: no store has primary keys as long, and keys
/// are kept for as long as a finding is.
pub(super) const KEY_BYTES_MAX: usize = 4_096;
/// Bytes of a label's value that are kept.
const LABEL_BYTES: usize = 1_000;
/// Labels of an entity that are kept.
const LABELS_MAX: usize = 32;

/// A cell has no canonical value. Names the field and what is wrong, never the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {what}")]
pub struct CellError {
    /// The field. Shared, as every row of a page may have such a fault.
    pub field: Arc<str>,
    /// What is wrong with it.
    pub what: Cow<'static, str>,
}

/// An entity type cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonError {
    /// No field identifies the entity.
    #[error("entity type `{0}` has no field with role `key`")]
    NoKey(String),
    /// Two fields claim to be the version.
    #[error("entity type `{0}` has more than one field with role `version`")]
    SeveralVersions(String),
}

/// An entity type, ready for canonicalising and digesting.
#[derive(Clone, Debug)]
pub struct Canon {
    secret: [u8; 32],
    /// Position of the entity type in its plan.
    entity: usize,
    /// What comes before the array of a key: nothing where there is one entity type.
    key_head: Vec<u8>,
    fields: Vec<Field>,
    /// Positions of the fields that a digest covers, in plan order.
    digested: Vec<usize>,
    /// Positions of compared fields that a digest does not cover, because they have a tolerance.
    tolerated: Vec<usize>,
    /// Positions of compared fields, in plan order.
    compared: Vec<usize>,
    keys: Vec<usize>,
    version: Option<usize>,
    labels: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Field {
    name: Arc<str>,
    logical: Logical,
    /// The encoded head of `[name, value]`.
    head: Vec<u8>,
    rules: Rules,
}

#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is declared, or not, by itself")]
struct Rules {
    absent_is_null: bool,
    null_is_empty: bool,
    trim_end: bool,
    nfc: bool,
    tolerance: Option<f64>,
    /// Whether some of the following are declared.
    crosses_types: bool,
    text_is_number: bool,
    text_is_bool: bool,
    text_is_hex: bool,
    text_is_base64: bool,
    number_is_bool: bool,
    json_null_is_null: bool,
}

impl Rules {
    fn new(declared: &[Rule]) -> Self {
        let mut rules = Self::default();
        for rule in declared {
            rules.crosses_types |= rule.crosses_types();
            match rule {
                Rule::AbsentIsNull => rules.absent_is_null = true,
                Rule::NullIsEmpty => rules.null_is_empty = true,
                Rule::TrimEnd => rules.trim_end = true,
                Rule::Nfc => rules.nfc = true,
                Rule::Tolerance(relative) => rules.tolerance = Some(*relative),
                Rule::TextIsNumber => rules.text_is_number = true,
                Rule::TextIsBool => rules.text_is_bool = true,
                Rule::TextIsHex => rules.text_is_hex = true,
                Rule::TextIsBase64 => rules.text_is_base64 = true,
                Rule::NumberIsBool => rules.number_is_bool = true,
                Rule::JsonNullIsNull => rules.json_null_is_null = true,
            }
        }
        rules
    }

    /// What a dynamically typed cell stands for by the rules that take one type for another: texts for
    /// what they write, booleans for the numbers 0 and 1.
    fn crossed(&self, value: Value) -> Value {
        let value = if let Value::Text(text) = value { self.read(text) } else { value };
        if let (Value::Bool(value), true) = (&value, self.number_is_bool) {
            return Value::Number(i64::from(*value).into());
        }
        if value == Value::JsonNull && self.json_null_is_null { Value::Null } else { value }
    }

    /// What a text writes, by the first of the rules that it can be read by.
    fn read(&self, given: String) -> Value {
        if self.text_is_number
            && let Some(number) = text::read_number(&given)
        {
            return Value::Number(number);
        }
        if self.text_is_bool
            && let Some(value) = text::read_bool(&given)
        {
            return Value::Bool(value);
        }
        if self.text_is_hex
            && let Some(bytes) = text::read_hex(&given)
        {
            return Value::Bytes(bytes);
        }
        if self.text_is_base64
            && let Some(bytes) = text::read_base64(&given)
        {
            return Value::Bytes(bytes);
        }
        Value::Text(given)
    }
}

/// A column as digesting reads it.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a> {
    column: &'a Column,
    /// All of its bytes, if they are text as a whole: then no cell needs to be checked by itself.
    text: Option<&'a str>,
}

impl<'a> Cells<'a> {
    /// A column of which few cells are read.
    const fn some(column: &'a Column) -> Self {
        Self { column, text: None }
    }

    /// A column that is read whole.
    fn all(column: &'a Column, logical: Logical) -> Self {
        let is_text =
            matches!(logical, Logical::Text | Logical::Enum | Logical::Set | Logical::Decimal);
        let text = match &column.values {
            Buffer::Bytes(values) if is_text => std::str::from_utf8(&values.data).ok(),
            Buffer::Bytes(_) | Buffer::Int64(_) | Buffer::UInt64(_) | Buffer::Float64(_) => None,
        };
        Self { column, text }
    }

    /// The text of row `row`, if it is known to be one.
    #[inline]
    fn known_text(self, row: usize) -> Option<&'a str> {
        let Buffer::Bytes(values) = &self.column.values else { return None };
        let (from, until) = (values.offsets[row], values.offsets[row + 1]);
        // None where a cell begins or ends within a character.
        self.text?.get(from as usize..until as usize)
    }
}

/// What a cell holds besides a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Absent,
    Null,
    Value,
}

impl Canon {
    /// Compiles an entity type. `secret` is the digest key.
    ///
    /// # Errors
    /// If nothing identifies the entity, or several fields claim to be its version.
    pub fn new(entity: &EntityDef, secret: [u8; 32]) -> Result<Self, CanonError> {
        let with = |wanted: &dyn Fn(Role) -> bool| -> Vec<usize> {
            (0..entity.fields.len()).filter(|&at| wanted(entity.fields[at].role)).collect()
        };
        let keys = with(&|role| role == Role::Key);
        let versions = with(&|role| role == Role::Version);
        if keys.is_empty() {
            return Err(CanonError::NoKey(entity.name.clone()));
        }
        if versions.len() > 1 {
            return Err(CanonError::SeveralVersions(entity.name.clone()));
        }
        let fields: Vec<_> = entity.fields.iter().map(Field::new).collect();
        let mut digested = with(&|role| matches!(role, Role::Key | Role::Compared));
        digested.retain(|at| keys.contains(at) || fields[*at].rules.tolerance.is_none());
        let compared = with(&|role| role == Role::Compared);
        let is_tolerated = |at: &usize| fields[*at].rules.tolerance.is_some();
        let tolerated: Vec<usize> = compared.iter().copied().filter(is_tolerated).collect();
        Ok(Self {
            secret,
            entity: 0,
            key_head: Vec::new(),
            tolerated,
            digested,
            compared,
            keys,
            version: versions.first().copied(),
            labels: with(&|role| role == Role::Label),
            fields,
        })
    }

    /// Compiles every entity type of a plan.
    ///
    /// # Errors
    /// As [`Canon::new`].
    pub fn all(entities: &[EntityDef], secret: [u8; 32]) -> Result<Vec<Self>, CanonError> {
        let one = |(entity, def): (usize, &EntityDef)| {
            let mut canon = Self::new(def, secret)?;
            if entities.len() > 1 {
                canon.entity = entity;
                canon.key_head = Key::of_type(entity, &[]).0.into_vec();
            }
            Ok(canon)
        };
        entities.iter().enumerate().map(one).collect()
    }

    /// The position of the entity type in its plan.
    #[must_use]
    pub const fn entity(&self) -> usize {
        self.entity
    }

    /// Whether some field has a tolerance, so that pairs must be compared value by value.
    #[must_use]
    pub const fn is_tolerant(&self) -> bool {
        !self.tolerated.is_empty()
    }

    /// Names of the compared fields, in the order of [`Facets::fields`].
    pub fn compared(&self) -> impl Iterator<Item = &str> {
        self.compared.iter().map(|&at| &*self.fields[at].name)
    }

    /// The columns of a batch, to digest all of its rows.
    #[must_use]
    pub fn cells<'a>(&self, entities: &'a Batch) -> Vec<Cells<'a>> {
        let fields = self.fields.iter().zip(&entities.columns);
        fields.map(|(field, column)| Cells::all(column, field.logical)).collect()
    }

    /// The entity digest of row `row`; its key is appended to `keys`.
    ///
    /// # Errors
    /// If a key or compared cell has no canonical value, a key field is absent or null, or the key is longer than
    /// 4,096 bytes; then nothing is appended.
    pub fn digest(
        &self,
        cells: &[Cells<'_>],
        row: usize,
        scratch: &mut Vec<u8>,
        keys: &mut Vec<u8>,
    ) -> Result<Digest, CellError> {
        let before = keys.len();
        let digest = self.digest_into(cells, row, scratch, keys);
        let length = keys.len() - before;
        if digest.is_err() || length > KEY_BYTES_MAX {
            keys.truncate(before);
        }
        if let (Ok(_), true, Some(&at)) = (&digest, length > KEY_BYTES_MAX, self.keys.last()) {
            let what = format!("makes a key of {length} bytes; at most {KEY_BYTES_MAX}");
            return Err(self.fields[at].wrong(what));
        }
        digest
    }

    fn digest_into(
        &self,
        cells: &[Cells<'_>],
        row: usize,
        scratch: &mut Vec<u8>,
        keys: &mut Vec<u8>,
    ) -> Result<Digest, CellError> {
        scratch.clear();
        // Entities of two types are never alike, whatever their fields are.
        scratch.extend_from_slice(&self.key_head);
        let head_at = scratch.len();
        // The head of the array: one byte up to 23 fields, put right at the end.
        scratch.push(0);
        let mut present = 0;
        let mut key_parts = 0;
        keys.extend_from_slice(&self.key_head);
        cbor::array(keys, self.keys.len());
        for &at in &self.digested {
            let field = &self.fields[at];
            let start = scratch.len();
            scratch.extend_from_slice(&field.head);
            let value = scratch.len();
            let cell = field.encode(cells[at], row, scratch)?;
            let is_key = self.keys.get(key_parts) == Some(&at);
            if is_key {
                if cell != Cell::Value {
                    return Err(field.wrong("a key field that is null or absent"));
                }
                key_parts += 1;
                keys.extend_from_slice(&scratch[value..]);
            }
            if cell == Cell::Absent {
                scratch.truncate(start);
            } else {
                present += 1;
            }
        }
        // What no digest covers is compared value by value, and must have one all the same.
        for &at in &self.tolerated {
            let end = scratch.len();
            self.fields[at].encode(cells[at], row, scratch)?;
            scratch.truncate(end);
        }
        if let Some(head) = u8::try_from(present).ok().filter(|present| *present <= 23) {
            scratch[head_at] = 0x80 | head;
            Ok(self.hash(scratch))
        } else {
            let mut whole = Vec::with_capacity(scratch.len() + 4);
            whole.extend_from_slice(&self.key_head);
            cbor::array(&mut whole, present);
            whole.extend_from_slice(&scratch[head_at + 1..]);
            Ok(self.hash(&whole))
        }
    }

    /// What is kept of row `row`, whose entity digest is known.
    ///
    /// # Errors
    /// As [`Canon::digest`].
    pub fn facets(
        &self,
        entities: &Batch,
        row: usize,
        entity: Digest,
    ) -> Result<Facets, CellError> {
        let mut scratch = Vec::new();
        let mut fields = Vec::with_capacity(self.compared.len());
        for &at in &self.compared {
            scratch.clear();
            let field = &self.fields[at];
            scratch.extend_from_slice(&field.head);
            if field.encode(Cells::some(&entities.columns[at]), row, &mut scratch)? == Cell::Absent
            {
                scratch.truncate(field.head.len());
            }
            fields.push(self.hash(&scratch));
        }
        Ok(Facets { entity, fields, version: self.version(entities, row) })
    }

    /// The declared version of row `row`, if it has one that can be ordered.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others have no order, or are integers")]
    pub fn version(&self, entities: &Batch, row: usize) -> Option<Version> {
        let at = self.version?;
        let column = &entities.columns[at];
        let number = match self.fields[at].logical {
            Logical::Decimal => {
                let text = std::str::from_utf8(column.bytes(row)?).ok()?;
                Number::parse(text).ok()?
            }
            Logical::Value => match Value::decode(column.bytes(row)?).ok()? {
                Value::Number(number) => number,
                Value::Timestamp(micros) | Value::DateTime(micros) => Number::from(micros),
                _ => return None,
            },
            _ => Number::from(column.whole(row)?),
        };
        Some(Version(number))
    }

    /// The newest of the versions that `rows` declare, where versions are points in time, without
    /// those after `now`.
    #[must_use]
    pub fn newest(
        &self,
        entities: &Batch,
        rows: impl Iterator<Item = usize>,
        now: Moment,
    ) -> Option<Version> {
        let at = self.version.filter(|_| self.version_is_time())?;
        let column = &entities.columns[at];
        // Numbers are made of the newest alone: making one of each row costs more than digesting it.
        let past = rows.filter_map(|row| column.integer(row)).filter(|at| *at <= i128::from(now.0));
        past.max().map(|micros| Version(Number::from(micros)))
    }

    /// Whether versions are points in time, in microseconds since the Unix epoch.
    #[must_use]
    pub fn version_is_time(&self) -> bool {
        self.version.is_some_and(|at| self.fields[at].logical == Logical::Timestamp)
    }

    /// The values of the first 32 labels of row `row`, by field name; of each at most its first 1,000
    /// bytes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are no labels, or are text")]
    pub fn labels(&self, entities: &Batch, row: usize) -> impl Iterator<Item = (String, String)> {
        self.labels.iter().take(LABELS_MAX).filter_map(move |&at| {
            let column = &entities.columns[at];
            let mut text = match column.integer(row) {
                Some(integer) => integer.to_string(),
                None => match self.fields[at].logical {
                    Logical::Value => match Value::decode(column.bytes(row)?).ok()? {
                        Value::Text(text) => text,
                        Value::Number(number) => number.to_string(),
                        Value::Bool(value) => value.to_string(),
                        _ => return None,
                    },
                    _ => String::from_utf8_lossy(column.bytes(row)?).into_owned(),
                },
            };
            if text.len() > LABEL_BYTES {
                text = text[..text.floor_char_boundary(LABEL_BYTES)].to_owned();
            }
            Some((self.fields[at].name.to_string(), text))
        })
    }

    /// Positions (among compared fields) in which two rows differ, and of those the names whose
    /// difference would vanish under normalisation and trimming.
    ///
    /// # Errors
    /// As [`Canon::digest`].
    pub fn differing(
        &self,
        one: (&Batch, usize),
        two: (&Batch, usize),
    ) -> Result<(Vec<usize>, Vec<String>), CellError> {
        let (mut fields, mut cosmetic) = (Vec::new(), Vec::new());
        for (position, &at) in self.compared.iter().enumerate() {
            let field = &self.fields[at];
            let bytes = |(batch, row): (&Batch, usize)| -> Result<Vec<u8>, CellError> {
                let mut bytes = Vec::new();
                if field.encode(Cells::some(&batch.columns[at]), row, &mut bytes)? == Cell::Absent {
                    bytes.clear();
                }
                Ok(bytes)
            };
            let (a, b) = (bytes(one)?, bytes(two)?);
            if a == b || field.within_tolerance(&a, &b) {
                continue;
            }
            fields.push(position);
            if loose(&a).is_some_and(|a| Some(a) == loose(&b)) {
                cosmetic.push(field.name.to_string());
            }
        }
        Ok((fields, cosmetic))
    }

    /// The key of row `row` alone.
    ///
    /// # Errors
    /// As [`Canon::digest`].
    pub fn key(&self, entities: &Batch, row: usize) -> Result<Key, CellError> {
        let (mut scratch, mut keys) = (Vec::new(), Vec::new());
        let cells: Vec<_> = entities.columns.iter().map(Cells::some).collect();
        self.digest(&cells, row, &mut scratch, &mut keys)?;
        Ok(Key(keys.into_boxed_slice()))
    }

    /// A digest of `bytes` under the digest key.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> Digest {
        let hash = blake3::keyed_hash(&self.secret, bytes);
        let mut first = [0; 16];
        first.copy_from_slice(&hash.as_bytes()[..16]);
        Digest(u128::from_be_bytes(first))
    }
}

/// Text in normalisation form C without trailing spaces, if `bytes` encode a text.
fn loose(bytes: &[u8]) -> Option<String> {
    let Value::Text(text) = Value::decode(bytes).ok()? else { return None };
    Some(text.trim_end_matches(' ').nfc().collect())
}

impl Field {
    fn new(def: &crate::model::FieldDef) -> Self {
        let mut head = Vec::new();
        cbor::array(&mut head, 2);
        cbor::text(&mut head, &def.name);
        let rules = Rules::new(&def.rules);
        Self { name: def.name.as_str().into(), logical: def.logical, head, rules }
    }

    fn wrong(&self, what: impl Into<Cow<'static, str>>) -> CellError {
        CellError { field: Arc::clone(&self.name), what: what.into() }
    }

    /// Appends the canonical bytes of a cell; nothing for an absent one.
    #[inline]
    fn encode(&self, cells: Cells<'_>, row: usize, out: &mut Vec<u8>) -> Result<Cell, CellError> {
        let mut cell = if cells.column.is_valid(row) {
            let start = out.len();
            self.encode_value(cells, row, out)?;
            if out[start..] == [0xf6] {
                out.truncate(start);
                Cell::Null
            } else {
                Cell::Value
            }
        } else if self.logical == Logical::Value {
            Cell::Absent
        } else {
            Cell::Null
        };
        if cell == Cell::Absent && self.rules.absent_is_null {
            cell = Cell::Null;
        }
        if cell == Cell::Null && self.rules.null_is_empty {
            cbor::text(out, "");
            return Ok(Cell::Value);
        }
        if cell == Cell::Null && self.rules.absent_is_null {
            return Ok(Cell::Absent);
        }
        if cell == Cell::Null {
            cbor::null(out);
        }
        Ok(cell)
    }

    fn encode_value(
        &self,
        cells: Cells<'_>,
        row: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CellError> {
        let column = cells.column;
        match self.logical {
            Logical::Boolean => match self.integer(column, row)? {
                0 => cbor::bool(out, false),
                1 => cbor::bool(out, true),
                _ => return Err(self.wrong("a boolean that is neither 0 nor 1")),
            },
            Logical::Integer => {
                cbor::integer(out, column.whole(row).ok_or_else(|| self.layout())?);
            }
            Logical::Float => {
                let Buffer::Float64(values) = &column.values else { return Err(self.layout()) };
                cbor::float(out, values[row]);
            }
            Logical::Float32 => {
                let Buffer::Float64(values) = &column.values else { return Err(self.layout()) };
                cbor::float(out, single(values[row]));
            }
            Logical::Decimal => {
                let number = Number::parse(self.str(cells, row)?);
                cbor::number(out, number.map_err(|error| self.wrong(error.to_string()))?);
            }
            Logical::Text | Logical::Enum => self.text(self.str(cells, row)?, out),
            Logical::Binary => cbor::bytes(out, self.bytes(column, row)?),
            Logical::Timestamp => cbor::timestamp(out, self.small(column, row)?),
            Logical::DateTime => cbor::datetime(out, self.small(column, row)?),
            Logical::Date => cbor::date(out, self.small(column, row)?),
            Logical::Time => cbor::time(out, self.small(column, row)?),
            Logical::Set => {
                let labels = self.str(cells, row)?;
                if labels.bytes().filter(|byte| *byte == b',').count() >= CELL_VALUES_MAX {
                    return Err(self.wrong("more labels than a cell may have"));
                }
                let members = labels.split(',').filter(|label| !label.is_empty());
                let encoded = members.map(|label| Value::Text(label.to_owned()).to_cbor());
                cbor::set(out, encoded.collect());
            }
            Logical::Json => {
                let value = Value::parse_json(self.bytes(column, row)?);
                let value = value.map_err(|error| self.wrong(error.to_string()))?;
                if value == Value::JsonNull && self.rules.json_null_is_null {
                    cbor::null(out);
                } else {
                    value.encode(out);
                }
            }
            Logical::Value => self.dynamic(self.bytes(column, row)?, out)?,
        }
        Ok(())
    }

    /// A cell that is CBOR already. Whoever wrote it may have erred, so it is read and written anew,
    /// unless it is a text, which has but one form.
    fn dynamic(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), CellError> {
        let mut value = Value::decode(bytes).map_err(|error| self.wrong(error.to_string()))?;
        if self.rules.crosses_types {
            value = self.rules.crossed(value);
        }
        if let Value::Text(text) = value {
            self.text(&text, out)
        } else {
            value.encode(out)
        }
        Ok(())
    }

    #[inline]
    fn text(&self, text: &str, out: &mut Vec<u8>) {
        let trimmed = if self.rules.trim_end { text.trim_end_matches(' ') } else { text };
        if self.rules.nfc && !trimmed.is_ascii() {
            cbor::text(out, &trimmed.nfc().collect::<String>());
        } else {
            cbor::text(out, trimmed);
        }
    }

    fn layout(&self) -> CellError {
        self.wrong(format!("a column layout that is not that of `{}`", self.logical))
    }

    #[inline]
    fn integer(&self, column: &Column, row: usize) -> Result<i128, CellError> {
        column.integer(row).ok_or_else(|| self.layout())
    }

    #[inline]
    fn small(&self, column: &Column, row: usize) -> Result<i64, CellError> {
        i64::try_from(self.integer(column, row)?).map_err(|_wide| self.layout())
    }

    #[inline]
    fn bytes<'a>(&self, column: &'a Column, row: usize) -> Result<&'a [u8], CellError> {
        column.bytes(row).ok_or_else(|| self.layout())
    }

    #[inline]
    fn str<'a>(&self, cells: Cells<'a>, row: usize) -> Result<&'a str, CellError> {
        if let Some(text) = cells.known_text(row) {
            return Ok(text);
        }
        std::str::from_utf8(self.bytes(cells.column, row)?)
            .map_err(|_utf8| self.wrong("text that is not UTF-8"))
    }

    /// Whether two encoded cells are numbers within the declared tolerance of each other.
    fn within_tolerance(&self, a: &[u8], b: &[u8]) -> bool {
        let Some(relative) = self.rules.tolerance else { return false };
        let number = |bytes: &[u8]| match Value::decode(bytes) {
            Ok(Value::Number(number)) => Some(number.to_f64()),
            Ok(Value::Float(float)) => Some(float),
            _ => None,
        };
        match (number(a), number(b)) {
            // Any distance is within a part of infinity; alike encodings were told before.
            (Some(a), Some(b)) if a.is_finite() && b.is_finite() => {
                (a - b).abs() <= relative * a.abs().max(b.abs())
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{ColumnBuilder, FieldDef};

    /// Texts, and what is none.
    fn cell() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop_oneof![
            4 => ".{0,6}".prop_map(|text| Some(text.into_bytes())),
            // Parts of characters, which together may be text.
            1 => prop::sample::select(vec![&b"\xc3"[..], b"\xa9", b"\xff", b"\xc3\xa9"])
                .prop_map(|bytes| Some(bytes.to_vec())),
            1 => Just(None),
        ]
    }

    proptest! {
        #[test]
        fn reading_a_column_whole_changes_no_digest(texts in prop::collection::vec(cell(), 1..12)) {
            let field = |name: &str, logical, role| FieldDef {
                name: name.to_owned(),
                logical,
                role,
                rules: Vec::new(),
            };
            let fields = vec![
                field("id", Logical::Integer, Role::Key),
                field("text", Logical::Text, Role::Compared),
            ];
            let entity = EntityDef { name: "user".to_owned(), fields };
            let canon = Canon::new(&entity, [7; 32]).unwrap();
            let (mut ids, mut column) = (ColumnBuilder::int64(0), ColumnBuilder::bytes(0));
            for (id, text) in (0i64..).zip(&texts) {
                ids.push_i64(id);
                match text {
                    Some(text) => column.push_bytes(text),
                    None => column.push_null(),
                }
            }
            let entities = Batch { rows: texts.len(), columns: vec![ids.finish(), column.finish()] };
            let one_by_one: Vec<_> = entities.columns.iter().map(Cells::some).collect();
            for row in 0..entities.rows {
                let digest = |cells: &[Cells<'_>]| {
                    let mut keys = Vec::new();
                    (canon.digest(cells, row, &mut Vec::new(), &mut keys), keys)
                };
                prop_assert_eq!(digest(&canon.cells(&entities)), digest(&one_by_one));
            }
        }
    }
}
