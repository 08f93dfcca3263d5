//! Key templates: where a store keeps an entity, written as text with fields in braces.
//!
//! Owns parsing and expanding of templates such as `USER#{id}`. Refuses anything but substitution.
//! Invariant: a template that was parsed has balanced braces, and `{{` and `}}` stand for braces; an
//! entity in whose key a used field is null, or cannot be written, has no location.
//!
//! | field | inside a text key | alone, in a key column of its own kind |
//! | --- | --- | --- |
//! | integer, decimal | plain decimal digits: `7`, `-1.5` | the number |
//! | text, enum | as it is | as it is |
//! | timestamp | `2024-01-02T03:04:05.5Z` | microseconds |
//! | datetime, date, time | `2024-01-02T03:04:05.5`, `2024-01-02`, `03:04:05.5` | as counted |
//! | binary | only in a binary key | as it is |

use std::io::Write as _;

use super::issue::PlanIssue;
use super::{Access, Located};
use crate::model::{
    Batch, Column, ColumnBuilder, ColumnDef, EntityDef, FieldDef, Logical, Number, Rule, Value,
    text,
};

/// For each column of a primary key its template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    /// Column name and template, in the order of the configuration.
    pub columns: Vec<(String, Template)>,
}

/// A text with fields of the entity in braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// The value of this field of the entity.
    Field(String),
}

/// A text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A brace is not closed, or not opened.
    #[error("unbalanced brace at character {0}; write {{{{ or }}}} for a brace itself")]
    Unbalanced(usize),
    /// Nothing stands between the braces.
    #[error("empty braces at character {0}; name a field of the entity")]
    Empty(usize),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// If braces are unbalanced or empty.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut chars = text.chars().enumerate().peekable();
        while let Some((at, char)) = chars.next() {
            match char {
                '{' | '}' if chars.peek().is_some_and(|(_, next)| *next == char) => {
                    chars.next();
                    plain.push(char);
                }
                '{' => {
                    let mut field = String::new();
                    loop {
                        match chars.next() {
                            Some((_, '}')) => break,
                            Some((_, inner)) if inner != '{' => field.push(inner),
                            _ => return Err(TemplateError::Unbalanced(at)),
                        }
                    }
                    if field.is_empty() {
                        return Err(TemplateError::Empty(at));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(field));
                }
                '}' => return Err(TemplateError::Unbalanced(at)),
                other => plain.push(other),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The one field that the template consists of, if it is that.
    #[must_use]
    pub fn lone_field(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Field(field)] => Some(field),
            _ => None,
        }
    }
}

/// A key template, made ready for the entities and the key columns that it is used with.
#[derive(Clone, Debug)]
pub struct Locator {
    /// One for each key column, in key order.
    columns: Vec<KeyColumn>,
}

#[derive(Clone, Debug)]
struct KeyColumn {
    form: Form,
    pieces: Vec<Piece>,
}

/// What a key column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Pieces, one after the other.
    Bytes,
    /// A lone number, as a 64-bit integer.
    Integer,
    /// A lone number, as ASCII.
    Decimal,
    /// A lone field of this very type, which is counted in an integer.
    Counted(Logical),
}

#[derive(Clone, Debug)]
enum Piece {
    Text(Vec<u8>),
    Field { index: usize, logical: Logical },
}

impl Locator {
    /// Fits `template` to an entity type and to the columns of a store's primary key.
    ///
    /// # Errors
    /// Everything that does not fit, at once; paths are `/<key column>`.
    pub fn new(
        entity: &EntityDef,
        template: &KeyTemplate,
        key: &[ColumnDef],
    ) -> Result<Self, Vec<PlanIssue>> {
        if key.is_empty() {
            let issue = PlanIssue::new("", "the relation has no primary key (a view has none)");
            let help = "give the table a primary key, or name the table behind the view: rows are \
                        found by it";
            return Err(vec![issue.help(help)]);
        }
        let mut issues = Vec::new();
        for (index, (name, _)) in template.columns.iter().enumerate() {
            if !key.iter().any(|column| column.name == *name) {
                let issue = PlanIssue::new(pointer(name), format!("`{name}` is no key column"));
                issues.push(issue.nearest(name, key.iter().map(|column| column.name.as_str())));
            }
            if template.columns[..index].iter().any(|(earlier, _)| earlier == name) {
                issues.push(PlanIssue::new(pointer(name), format!("`{name}` is given twice")));
            }
        }
        let mut columns = Vec::new();
        for column in key {
            match template.columns.iter().find(|(name, _)| *name == column.name) {
                Some((_, template)) => match KeyColumn::new(entity, template, column) {
                    Ok(column) => columns.push(column),
                    Err(more) => issues.extend(more),
                },
                None => issues.push(
                    PlanIssue::new(
                        pointer(&column.name),
                        format!("key column `{}` has no template", column.name),
                    )
                    .help("give a template for every column of the primary key"),
                ),
            }
        }
        if issues.is_empty() { Ok(Self { columns }) } else { Err(issues) }
    }

    /// Where the entities are kept. One without a value in a used field has no location.
    #[must_use]
    pub fn locate(&self, entities: &Batch) -> Located {
        let mut there = vec![true; entities.rows];
        let columns =
            self.columns.iter().map(|column| column.expand(entities, &mut there)).collect();
        let keys = Batch { rows: entities.rows, columns };
        let from_entity: Vec<usize> = (0..entities.rows).filter(|row| there[*row]).collect();
        let keys = if from_entity.len() == entities.rows { keys } else { keys.take(&from_entity) };
        Located { relation: 0, access: Access::Get, keys, from_entity }
    }
}

/// A key column whose values no template makes, and why.
fn unwritable(column: &ColumnDef, why: &str) -> Vec<PlanIssue> {
    let ColumnDef { name, logical, .. } = column;
    let what =
        format!("key column `{name}` is of type {logical}, which a template cannot write: {why}");
    let help = "give the relation a key of another type (a decimal for a float), or look entities up on \
                the other side only, without `key` here";
    vec![PlanIssue::new(pointer(name), what).help(help)]
}

impl KeyColumn {
    fn new(
        entity: &EntityDef,
        template: &Template,
        column: &ColumnDef,
    ) -> Result<Self, Vec<PlanIssue>> {
        let path = pointer(&column.name);
        let mut issues = Vec::new();
        let form = match column.logical {
            Logical::Text | Logical::Enum | Logical::Binary => Form::Bytes,
            Logical::Integer => Form::Integer,
            Logical::Decimal => Form::Decimal,
            counted @ (Logical::Boolean
            | Logical::Timestamp
            | Logical::DateTime
            | Logical::Date
            | Logical::Time) => Form::Counted(counted),
            Logical::Float | Logical::Float32 => {
                return Err(unwritable(
                    column,
                    "a float has no exact text, by which a row is found",
                ));
            }
            Logical::Set => {
                return Err(unwritable(column, "its labels have no one order in a text"));
            }
            Logical::Json | Logical::Value => {
                return Err(unwritable(column, "a document has no one text"));
            }
        };
        if template.parts.is_empty() {
            issues.push(PlanIssue::new(path.clone(), "the template is empty"));
        }
        let constant = matches!(template.parts.as_slice(), [Part::Text(text)]
            if form != Form::Bytes && Number::parse(text).is_ok());
        if form != Form::Bytes && template.lone_field().is_none() && !constant {
            issues.push(
                PlanIssue::new(
                    path,
                    format!("key column `{}` is of type {}", column.name, column.logical),
                )
                .help("its template can only be one field, such as {id}"),
            );
        }
        let mut pieces = Vec::new();
        for part in &template.parts {
            match part {
                Part::Text(text) => pieces.push(Piece::Text(text.clone().into_bytes())),
                Part::Field(name) => match field(entity, name, column) {
                    Ok(piece) => pieces.push(piece),
                    Err(issue) => issues.push(issue),
                },
            }
        }
        if issues.is_empty() { Ok(Self { form, pieces }) } else { Err(issues) }
    }

    /// The column of keys; clears `there` for entities that have none.
    fn expand(&self, entities: &Batch, there: &mut [bool]) -> Column {
        match (self.form, self.pieces.as_slice()) {
            (Form::Bytes, [Piece::Field { index, logical }]) if is_plain(*logical) => {
                let column = &entities.columns[*index];
                for (row, there) in there.iter_mut().enumerate() {
                    *there &= column.is_valid(row);
                }
                column.clone()
            }
            (Form::Bytes, _) => self.expand_bytes(entities, there),
            (Form::Integer, _) => self.expand_integers(entities, there),
            (Form::Decimal, pieces) => {
                let mut builder = ColumnBuilder::bytes(entities.rows);
                for (row, there) in there.iter_mut().enumerate() {
                    match number(entities, pieces, row) {
                        Some(number) => builder.write_bytes(|data| {
                            write!(data, "{number}").expect("a vector takes what is written");
                        }),
                        None => {
                            *there = false;
                            builder.push_null();
                        }
                    }
                }
                builder.finish()
            }
            (Form::Counted(counted), pieces) => {
                let mut builder = ColumnBuilder::int64(entities.rows);
                for (row, there) in there.iter_mut().enumerate() {
                    match count(entities, pieces, row, counted) {
                        Some(value) => builder.push_i64(value),
                        None => {
                            *there = false;
                            builder.push_null();
                        }
                    }
                }
                builder.finish()
            }
        }
    }

    fn expand_bytes(&self, entities: &Batch, there: &mut [bool]) -> Column {
        let mut builder = ColumnBuilder::bytes(entities.rows);
        for (row, there) in there.iter_mut().enumerate() {
            let mut written = true;
            builder.write_bytes(|data| {
                let start = data.len();
                written = self.pieces.iter().all(|piece| match piece {
                    Piece::Text(text) => {
                        data.extend_from_slice(text);
                        true
                    }
                    Piece::Field { index, logical } => {
                        render(&entities.columns[*index], row, *logical, data)
                    }
                });
                if !written {
                    data.truncate(start);
                }
            });
            *there &= written;
        }
        builder.finish()
    }

    fn expand_integers(&self, entities: &Batch, there: &mut [bool]) -> Column {
        if let [Piece::Field { index, logical: Logical::Integer }] = self.pieces.as_slice() {
            let column = &entities.columns[*index];
            for (row, there) in there.iter_mut().enumerate() {
                *there &= column.is_valid(row);
            }
            return column.clone();
        }
        let numbers: Vec<Option<i128>> = (0..entities.rows)
            .map(|row| number(entities, &self.pieces, row).and_then(Number::to_integer))
            .map(|whole| {
                // No store has integers beyond 64 bits.
                whole.filter(|key| i64::try_from(*key).is_ok() || u64::try_from(*key).is_ok())
            })
            .collect();
        for (number, there) in numbers.iter().zip(there) {
            *there &= number.is_some();
        }
        Column::of_integers(&numbers)
    }
}

/// Types whose cells already are the bytes of a key.
const fn is_plain(logical: Logical) -> bool {
    matches!(logical, Logical::Text | Logical::Enum | Logical::Binary)
}

fn pointer(column: &str) -> String {
    format!("/{}", column.replace('~', "~0").replace('/', "~1"))
}

fn field(entity: &EntityDef, name: &str, column: &ColumnDef) -> Result<Piece, PlanIssue> {
    let path = pointer(&column.name);
    let Some(index) = entity.fields.iter().position(|field| field.name == name) else {
        let issue = PlanIssue::new(path, format!("`{name}` is no field of `{}`", entity.name));
        return Err(issue.nearest(name, entity.fields.iter().map(|field| field.name.as_str())));
    };
    let FieldDef { logical, ref rules, .. } = entity.fields[index];
    // Of one side it is a text, of the other what this stands for, and neither is the other's key.
    if rules.iter().any(|rule| matches!(rule, Rule::TextIsHex | Rule::TextIsBase64)) {
        let what = format!(
            "field `{name}` is binary that one side keeps as a text, so how it is written in key column \
             `{}` is not known",
            column.name
        );
        return Err(PlanIssue::new(path, what)
            .help("build the key of other fields, or have a plugin locate the entities"));
    }
    let fits = match logical {
        Logical::Value => true,
        Logical::Boolean => column.logical == Logical::Boolean,
        Logical::Binary => column.logical == Logical::Binary,
        Logical::Float | Logical::Float32 | Logical::Json | Logical::Set => false,
        // A text may hold a number; an entity whose text does not has no location.
        Logical::Integer | Logical::Decimal | Logical::Text | Logical::Enum => {
            is_plain(column.logical)
                || matches!(column.logical, Logical::Integer | Logical::Decimal)
        }
        Logical::Timestamp | Logical::DateTime | Logical::Date | Logical::Time => {
            is_plain(column.logical) || column.logical == logical
        }
    };
    if fits {
        Ok(Piece::Field { index, logical })
    } else {
        Err(PlanIssue::new(
            path,
            format!(
                "field `{name}` of type {logical} cannot be put in key column `{}` of type {}",
                column.name, column.logical
            ),
        ))
    }
}

/// Writes the text form of a field. False if it has none.
fn render(column: &Column, row: usize, logical: Logical, out: &mut Vec<u8>) -> bool {
    if let Some(bytes) = column.bytes(row) {
        if logical == Logical::Value {
            return Value::decode(bytes).is_ok_and(|value| render_value(&value, out));
        }
        if logical == Logical::Decimal {
            let number = text(bytes).and_then(|text| Number::parse(text).ok());
            return number.is_some_and(|number| write!(out, "{number}").is_ok());
        }
        out.extend_from_slice(bytes);
        return true;
    }
    let Some(integer) = column.integer(row) else { return false };
    let counted = i64::try_from(integer);
    match (logical, counted) {
        (Logical::Timestamp, Ok(micros)) => text::write_timestamp(out, micros),
        (Logical::DateTime, Ok(micros)) => text::write_datetime(out, micros),
        (Logical::Date, Ok(days)) => text::write_date(out, days),
        (Logical::Time, Ok(micros)) => text::write_time(out, micros),
        _ => write!(out, "{integer}").is_ok(),
    }
}

fn render_value(value: &Value, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Text(text) => {
            out.extend_from_slice(text.as_bytes());
            true
        }
        Value::Bytes(bytes) => {
            out.extend_from_slice(bytes);
            true
        }
        Value::Number(number) => write!(out, "{number}").is_ok(),
        Value::Timestamp(micros) => text::write_timestamp(out, *micros),
        Value::DateTime(micros) => text::write_datetime(out, *micros),
        Value::Date(days) => text::write_date(out, *days),
        Value::Time(micros) => text::write_time(out, *micros),
        Value::Null
        | Value::JsonNull
        | Value::Bool(_)
        | Value::Float(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Set(_) => false,
    }
}

/// The number that a lone piece stands for, if it does. A text counts only in the form in which the
/// number would be written: `007` is not the key 7.
fn number(entities: &Batch, pieces: &[Piece], row: usize) -> Option<Number> {
    let (index, logical) = match pieces {
        [Piece::Text(constant)] => return Number::parse(text(constant)?).ok(),
        [Piece::Field { index, logical }] => (*index, *logical),
        _ => return None,
    };
    let column = &entities.columns[index];
    let written = |text: &str| Number::parse(text).ok().filter(|number| number.to_string() == text);
    if let Some(integer) = column.integer(row) {
        return Some(Number::from(integer));
    }
    let bytes = column.bytes(row)?;
    if logical == Logical::Integer {
        return column.whole(row).map(Number::from);
    }
    if logical == Logical::Value {
        let value = Value::decode(bytes).ok()?;
        if let Value::Number(number) = value {
            return Some(number);
        }
        return if let Value::Text(text) = value { written(&text) } else { None };
    }
    if logical == Logical::Decimal {
        Number::parse(text(bytes)?).ok()
    } else {
        written(text(bytes)?)
    }
}

/// The count that a lone field of type `counted` holds.
fn count(entities: &Batch, pieces: &[Piece], row: usize, counted: Logical) -> Option<i64> {
    let [Piece::Field { index, logical }] = pieces else { return None };
    let column = &entities.columns[*index];
    if *logical != Logical::Value {
        return i64::try_from(column.integer(row)?).ok();
    }
    match (Value::decode(column.bytes(row)?).ok()?, counted) {
        (Value::Bool(value), Logical::Boolean) => Some(i64::from(value)),
        (Value::Timestamp(micros), Logical::Timestamp)
        | (Value::DateTime(micros), Logical::DateTime)
        | (Value::Time(micros), Logical::Time) => Some(micros),
        (Value::Date(days), Logical::Date) => Some(days),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Buffer, Role};

    #[test]
    fn templates_are_read_or_refused() {
        let text = |text: &str| Part::Text(text.to_owned());
        let field = |name: &str| Part::Field(name.to_owned());
        for (given, expected) in [
            ("USER#{id}", Ok(vec![text("USER#"), field("id")])),
            ("{tenant}{id}", Ok(vec![field("tenant"), field("id")])),
            ("{{{id}}}", Ok(vec![text("{"), field("id"), text("}")])),
            ("PROFILE", Ok(vec![text("PROFILE")])),
            ("", Ok(vec![])),
            ("USER#{id", Err(TemplateError::Unbalanced(5))),
            ("id}", Err(TemplateError::Unbalanced(2))),
            ("a{}", Err(TemplateError::Empty(1))),
        ] {
            assert_eq!(Template::parse(given).map(|template| template.parts), expected, "{given}");
        }
    }

    fn entity(fields: &[(&str, Logical)]) -> EntityDef {
        let fields = fields.iter().map(|(name, logical)| FieldDef {
            name: (*name).to_owned(),
            logical: *logical,
            role: Role::Key,
            rules: vec![],
        });
        EntityDef { name: "user".to_owned(), fields: fields.collect() }
    }

    fn template(columns: &[(&str, &str)]) -> KeyTemplate {
        let parsed = |text: &str| Template::parse(text).unwrap();
        KeyTemplate {
            columns: columns
                .iter()
                .map(|(name, text)| ((*name).to_owned(), parsed(text)))
                .collect(),
        }
    }

    fn key(columns: &[(&str, Logical)]) -> Vec<ColumnDef> {
        let column = |(name, logical): &(&str, Logical)| ColumnDef {
            name: (*name).to_owned(),
            logical: *logical,
            nullable: false,
        };
        columns.iter().map(column).collect()
    }

    fn texts(cells: &[Option<&str>]) -> Column {
        let mut builder = ColumnBuilder::bytes(cells.len());
        for cell in cells {
            match cell {
                Some(cell) => builder.push_bytes(cell.as_bytes()),
                None => builder.push_null(),
            }
        }
        builder.finish()
    }

    fn integers(cells: &[Option<i64>]) -> Column {
        let mut builder = ColumnBuilder::int64(cells.len());
        for cell in cells {
            match cell {
                Some(cell) => builder.push_i64(*cell),
                None => builder.push_null(),
            }
        }
        builder.finish()
    }

    fn values(cells: &[Option<Value>]) -> Column {
        let mut builder = ColumnBuilder::bytes(cells.len());
        for cell in cells {
            match cell {
                Some(cell) => builder.push_bytes(&cell.to_cbor()),
                None => builder.push_null(),
            }
        }
        builder.finish()
    }

    #[test]
    fn a_composite_text_key_is_expanded() {
        let entity = entity(&[
            ("tenant", Logical::Text),
            ("id", Logical::Integer),
            ("at", Logical::Timestamp),
            ("price", Logical::Decimal),
        ]);
        let locator = Locator::new(
            &entity,
            &template(&[("sk", "USER#{id}@{at}/{price}"), ("pk", "TENANT#{tenant}")]),
            &key(&[("pk", Logical::Text), ("sk", Logical::Text)]),
        )
        .unwrap();
        let located = locator.locate(&Batch {
            rows: 3,
            columns: vec![
                texts(&[Some("acme"), None, Some("")]),
                integers(&[Some(-7), Some(1), Some(2)]),
                integers(&[Some(1_500_000), Some(1), Some(0)]),
                texts(&[Some("12.50"), Some("1"), Some("1E3")]),
            ],
        });
        assert_eq!(located.from_entity, [0, 2]);
        assert_eq!(
            located.keys.columns,
            [
                texts(&[Some("TENANT#acme"), Some("TENANT#")]),
                texts(&[
                    Some("USER#-7@1970-01-01T00:00:01.5Z/12.5"),
                    Some("USER#2@1970-01-01T00:00:00Z/1000")
                ]),
            ]
        );
    }

    #[test]
    fn a_lone_number_takes_the_form_of_its_key_column() {
        let cases = [
            (Logical::Integer, integers(&[Some(7), None]), Logical::Integer, integers(&[Some(7)])),
            (Logical::Integer, integers(&[Some(7), None]), Logical::Decimal, texts(&[Some("7")])),
            (Logical::Integer, integers(&[Some(7), None]), Logical::Text, texts(&[Some("7")])),
            (
                Logical::Text,
                texts(&[Some("7"), Some("07")]),
                Logical::Integer,
                integers(&[Some(7)]),
            ),
            (
                Logical::Decimal,
                texts(&[Some("7.0"), Some("7.5")]),
                Logical::Integer,
                integers(&[Some(7)]),
            ),
            (
                Logical::Value,
                values(&[Some(Value::Number(7i64.into())), Some(Value::Text("x".into()))]),
                Logical::Decimal,
                texts(&[Some("7")]),
            ),
            (
                Logical::Value,
                values(&[Some(Value::Text("7".into())), None]),
                Logical::Text,
                texts(&[Some("7")]),
            ),
        ];
        for (logical, column, kind, expected) in cases {
            let locator = Locator::new(
                &entity(&[("id", logical)]),
                &template(&[("k", "{id}")]),
                &key(&[("k", kind)]),
            )
            .unwrap();
            let located = locator.locate(&Batch { rows: 2, columns: vec![column] });
            assert_eq!(located.keys.columns, [expected], "{logical} in {kind}");
            assert_eq!(located.from_entity, [0], "{logical} in {kind}");
        }
    }

    #[test]
    fn big_keys_are_unsigned() {
        let locator = Locator::new(
            &entity(&[("id", Logical::Decimal)]),
            &template(&[("k", "{id}")]),
            &key(&[("k", Logical::Integer)]),
        )
        .unwrap();
        let ids = texts(&[Some("18446744073709551615"), Some("1"), Some("18446744073709551616")]);
        let located = locator.locate(&Batch { rows: 3, columns: vec![ids] });
        assert_eq!(located.keys.columns[0].values, Buffer::UInt64(vec![u64::MAX, 1]));
        assert_eq!(located.from_entity, [0, 1]);
        let ids = texts(&[Some("18446744073709551615"), Some("-1")]);
        let located = locator.locate(&Batch { rows: 2, columns: vec![ids] });
        assert_eq!(located.from_entity, [0, 1]);
        let wholes = [0, 1].map(|row| located.keys.columns[0].whole(row));
        assert_eq!(wholes, [Some(u64::MAX.into()), Some(-1)]);
    }

    #[test]
    fn binary_that_one_side_keeps_as_text_has_no_form_in_a_key() {
        for rule in [Rule::TextIsHex, Rule::TextIsBase64] {
            let mut entity = entity(&[("id", Logical::Value)]);
            entity.fields[0].rules.push(rule);
            for logical in [Logical::Text, Logical::Binary] {
                let place = key(&[("pk", logical)]);
                let located = Locator::new(&entity, &template(&[("pk", "{id}")]), &place);
                let issue = located.unwrap_err().remove(0).to_string();
                assert!(issue.contains("`id`") && issue.contains("`pk`"), "{issue}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_told_at_once() {
        let entity = entity(&[
            ("id", Logical::Integer),
            ("ratio", Logical::Float),
            ("raw", Logical::Binary),
        ]);
        let told = |columns: &[(&str, &str)], keys: &[(&str, Logical)]| {
            let issues = Locator::new(&entity, &template(columns), &key(keys)).unwrap_err();
            issues.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            told(
                &[("pq", "X"), ("sk", "{idd}-{ratio}-{raw}"), ("n", "A{id}"), ("sk", "")],
                &[("pk", Logical::Text), ("sk", Logical::Text), ("n", Logical::Decimal)]
            ),
            [
                "/pq: `pq` is no key column; nearest: `pk`",
                "/sk: `sk` is given twice",
                "/pk: key column `pk` has no template; give a template for every column of the primary key",
                "/sk: `idd` is no field of `user`; nearest: `id`",
                "/sk: field `ratio` of type float cannot be put in key column `sk` of type text",
                "/sk: field `raw` of type binary cannot be put in key column `sk` of type text",
                "/n: key column `n` is of type decimal; its template can only be one field, such as {id}",
            ]
        );
    }
}
