//! Where entities lie, in batch form and in durable form.
//!
//! Owns [`Place`]: the durable form ([`StoreKey`]) of rows, groups of rows, and what lies under the
//! first columns of a key; and what is to be read of them ([`Wanted`]). Refuses anything about
//! entities. Invariant: decoding what was encoded gives the same values.

use std::collections::BTreeMap;

use crate::check::{RelationContext, SideContext};
use crate::model::{
    Batch, Column, ColumnBuilder, Cut, Logical, Number, RelationSchema, StoreKey, Value,
};
use crate::plugin::{Access, Located};
use crate::store::Query;

/// Where something lies in a store: what a [`StoreKey`] means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A row.
    Row {
        /// Position of its relation in the side's plan.
        relation: usize,
        /// Its primary key.
        key: Vec<Value>,
    },
    /// The rows of all relations of a side that have these group values.
    Group(Vec<Value>),
    /// The rows of a relation whose primary keys begin so.
    Under {
        /// Position of the relation in the side's plan.
        relation: usize,
        /// Whether the last value is only what its column begins with.
        prefix: bool,
        /// The first values of the keys.
        first: Vec<Value>,
    },
}

impl Place {
    /// The durable form.
    pub(super) fn encode(self) -> StoreKey {
        let number = |at: usize| Value::Number(Number::from(at as i128));
        let (head, value): (&[u8], _) = match self {
            Self::Row { relation: 0, key } => (&[], Value::List(key)),
            Self::Row { relation, key } => {
                (&StoreKey::OF_RELATION, Value::List(vec![number(relation), Value::List(key)]))
            }
            Self::Group(values) => (&StoreKey::OF_GROUP, Value::List(values)),
            Self::Under { relation, prefix, first } => {
                let parts = vec![number(relation), Value::Bool(prefix), Value::List(first)];
                (&StoreKey::UNDER, Value::List(parts))
            }
        };
        let mut bytes = head.to_vec();
        bytes.extend_from_slice(&value.to_cbor());
        StoreKey(bytes.into_boxed_slice())
    }

    /// What a durable form means; none if it is none.
    pub(super) fn decode(at: &StoreKey) -> Option<Self> {
        let list = |bytes: &[u8]| match Value::decode(bytes) {
            Ok(Value::List(values)) => Some(values),
            Ok(_) | Err(_) => None,
        };
        let number = |value: &Value| {
            let Value::Number(number) = value else { return None };
            usize::try_from(number.to_integer()?).ok()
        };
        if let Some(bytes) = at.0.strip_prefix(&StoreKey::OF_GROUP) {
            return Some(Self::Group(list(bytes)?));
        }
        if let Some(bytes) = at.0.strip_prefix(&StoreKey::OF_RELATION) {
            let parts = list(bytes)?;
            let [relation, Value::List(key)] = parts.as_slice() else { return None };
            return Some(Self::Row { relation: number(relation)?, key: key.clone() });
        }
        if let Some(bytes) = at.0.strip_prefix(&StoreKey::UNDER) {
            let parts = list(bytes)?;
            let [relation, Value::Bool(prefix), Value::List(first)] = parts.as_slice() else {
                return None;
            };
            let (relation, first) = (number(relation)?, first.clone());
            return Some(Self::Under { relation, prefix: *prefix, first });
        }
        Some(Self::Row { relation: 0, key: list(&at.0)? })
    }
}

/// The durable form of the primary key in row `row` of `keys`.
pub(super) fn of_row(here: &SideContext, relation: usize, keys: &Batch, row: usize) -> StoreKey {
    let schema = &here.relations[relation].read.schema;
    Place::Row { relation, key: values(&logicals(schema), keys, row) }.encode()
}

/// Primary keys of a relation, in their batch form.
pub(super) fn keys_batch(here: &SideContext, relation: usize, keys: Vec<Vec<Value>>) -> Batch {
    batch(keys, &logicals(&here.relations[relation].read.schema))
}

/// The integer that the primary key of a row begins with, if it does.
pub(super) fn first_integer(at: &StoreKey) -> Option<i128> {
    match Place::decode(at)? {
        Place::Row { key, .. } => {
            let Value::Number(number) = key.first()? else { return None };
            number.to_integer()
        }
        Place::Group(_) | Place::Under { .. } => None,
    }
}

/// By what a row that was scanned lies in ranges, as far as its place says it.
pub(super) fn cut(here: &SideContext, at: &StoreKey) -> Option<Cut> {
    let integer = |value: Option<&Value>| {
        let Some(Value::Number(number)) = value else { return None };
        number.to_integer().map(Some)
    };
    match Place::decode(at)? {
        Place::Group(values) => integer(values.first()),
        Place::Row { relation, key } => {
            let RelationContext { read, group } = here.relations.get(relation)?;
            let Some(cut) = read.other_cut() else { return integer(key.first()) };
            match read.schema.key_columns().position(|column| column.name == cut) {
                Some(at) => integer(key.get(at)),
                // A row of a relation whose rows are grouped stands by itself because a value of its
                // group is null; which, of several, its place does not say.
                None => (group.len() == 1).then_some(None),
            }
        }
        Place::Under { .. } => None,
    }
}

/// The values of row `row` of these columns.
pub(super) fn values(logicals: &[Logical], columns: &Batch, row: usize) -> Vec<Value> {
    logicals.iter().zip(&columns.columns).map(|(logical, it)| value(*logical, it, row)).collect()
}

/// The types of a relation's key columns.
fn logicals(schema: &RelationSchema) -> Vec<Logical> {
    schema.key_columns().map(|def| def.logical).collect()
}

/// Where the located keys are, with the entity of each.
pub(super) fn located(here: &SideContext, located: &[Located]) -> Vec<(usize, StoreKey)> {
    let mut found = Vec::new();
    for part in located {
        let relation = part.relation;
        let logicals = logicals(&here.relations[relation].read.schema);
        for (row, &entity) in part.from_entity.iter().enumerate() {
            let key = values(&logicals, &part.keys, row);
            let place = match (here.group_in_key(relation), part.access) {
                (Some(group), _) => Place::Group(group.iter().map(|at| key[*at].clone()).collect()),
                (None, Access::Get) => Place::Row { relation, key },
                (None, Access::Query { prefix }) => Place::Under { relation, prefix, first: key },
            };
            found.push((entity, place.encode()));
        }
    }
    found
}

/// What is to be read of a side, by the way in which it is found. Whoever wants something has a
/// number.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// Rows by their primary keys, by relation.
    pub(super) rows: BTreeMap<usize, (Batch, Vec<usize>)>,
    /// Groups, each once, and by whom each is wanted.
    pub(super) groups: BTreeMap<StoreKey, (Vec<Value>, Vec<usize>)>,
    /// Rows by the first columns of their keys: by relation, how many columns there are, and whether
    /// the last is a prefix.
    pub(super) under: BTreeMap<(usize, usize, bool), (Batch, Vec<usize>)>,
}

impl Wanted {
    /// What `parts` say where entities lie; `who` numbers an entity.
    pub(super) fn add_located(
        &mut self,
        here: &SideContext,
        parts: Vec<Located>,
        who: impl Fn(usize) -> usize,
    ) {
        for part in parts {
            let relation = part.relation;
            if let Some(group) = here.group_in_key(relation) {
                let logicals = logicals(&here.relations[relation].read.schema);
                for (row, &entity) in part.from_entity.iter().enumerate() {
                    let key = values(&logicals, &part.keys, row);
                    self.add_group(group.iter().map(|at| key[*at].clone()).collect(), who(entity));
                }
                continue;
            }
            let (keys, whose) = match part.access {
                Access::Get => self.rows.entry(relation).or_default(),
                Access::Query { prefix } => {
                    let width = part.keys.columns.len();
                    self.under.entry((relation, width, prefix)).or_default()
                }
            };
            *keys = if keys.rows == 0 { part.keys } else { Batch::concat(&[keys, &part.keys]) };
            whose.extend(part.from_entity.iter().map(|entity| who(*entity)));
        }
    }

    fn add_group(&mut self, group: Vec<Value>, who: usize) {
        let at = Place::Group(group.clone()).encode();
        self.groups.entry(at).or_insert_with(|| (group, Vec::new())).1.push(who);
    }

    /// What `places` say, numbered as they are; and those that are no places of this side (its
    /// relations changed since): nothing lies there.
    pub(super) fn of_places(here: &SideContext, places: &[StoreKey]) -> (Self, Vec<usize>) {
        let mut wanted = Self::default();
        let mut foreign = Vec::new();
        let mut rows: BTreeMap<(usize, usize, Option<bool>), Listed> = BTreeMap::new();
        for (who, at) in places.iter().enumerate() {
            let fits = |relation: usize, values: &[Value]| {
                let schema = here.relations.get(relation).map(|relation| &relation.read.schema);
                schema.is_some_and(|schema| fit(values, &logicals(schema)))
            };
            match Place::decode(at) {
                Some(Place::Row { relation, key })
                    if fits(relation, &key)
                        && key.len() == here.relations[relation].read.schema.key.len() =>
                {
                    rows.entry((relation, key.len(), None)).or_default().push((key, who));
                }
                Some(Place::Under { relation, prefix, first }) if fits(relation, &first) => {
                    rows.entry((relation, first.len(), Some(prefix)))
                        .or_default()
                        .push((first, who));
                }
                Some(Place::Group(group)) if here.is_group(&group) => wanted.add_group(group, who),
                Some(_) | None => foreign.push(who),
            }
        }
        for ((relation, width, under), list) in rows {
            let logicals = &logicals(&here.relations[relation].read.schema)[..width];
            let (values, whose): (Vec<_>, Vec<_>) = list.into_iter().unzip();
            let listed = (batch(values, logicals), whose);
            match under {
                None => wanted.rows.insert(relation, listed),
                Some(prefix) => wanted.under.insert((relation, width, prefix), listed),
            };
        }
        (wanted, foreign)
    }

    /// How much is wanted: keys, and what they begin with, each as often as it is wanted, and groups.
    pub(super) fn len(&self) -> usize {
        let keys = |(keys, _): &(Batch, Vec<usize>)| keys.rows;
        self.rows.values().map(keys).sum::<usize>()
            + self.under.values().map(keys).sum::<usize>()
            + self.groups.len()
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Values of places, and who wants each.
type Listed = Vec<(Vec<Value>, usize)>;

impl SideContext {
    /// Of a relation whose rows are grouped, where in its primary key the group's columns are: keys by
    /// which entities are located there say the group, which is checked at start.
    fn group_in_key(&self, relation: usize) -> Option<Vec<usize>> {
        let relation = &self.relations[relation];
        if relation.group.is_empty() {
            return None;
        }
        let position = |at: &usize| {
            let name = &relation.read.columns[*at];
            relation.read.schema.key_columns().position(|column| column.name == *name)
        };
        relation.group.iter().map(position).collect()
    }

    /// The types of the columns whose values make groups; empty where rows are not grouped.
    pub(super) fn group_logicals(&self) -> Vec<Logical> {
        let grouped = self.relations.iter().find(|relation| !relation.group.is_empty());
        let Some(relation) = grouped else { return Vec::new() };
        let logical = |at: &usize| {
            let column = relation.read.schema.column(&relation.read.columns[*at]);
            column.map_or(Logical::Value, |column| column.logical)
        };
        relation.group.iter().map(logical).collect()
    }

    fn is_group(&self, values: &[Value]) -> bool {
        let logicals = self.group_logicals();
        !logicals.is_empty() && values.len() == logicals.len() && fit(values, &logicals)
    }

    /// The questions for the rows of groups in a relation whose rows are grouped.
    pub(super) fn group_query(&self, relation: usize, groups: Vec<Vec<Value>>) -> Query {
        let relation = &self.relations[relation];
        let columns = relation.group.iter().map(|at| relation.read.columns[*at].clone());
        Query {
            columns: columns.collect(),
            values: batch(groups, &self.group_logicals()),
            prefix: false,
        }
    }
}

fn value(logical: Logical, column: &Column, row: usize) -> Value {
    let whole = logical == Logical::Integer;
    if let Some(integer) = if whole { column.whole(row) } else { column.integer(row) } {
        return counted(logical, integer);
    }
    let Some(bytes) = column.bytes(row) else { return Value::Null };
    let text = || String::from_utf8_lossy(bytes).into_owned();
    match logical {
        Logical::Decimal => {
            Number::parse(&text()).map_or_else(|_odd| Value::Text(text()), Value::Number)
        }
        Logical::Text | Logical::Enum | Logical::Set | Logical::Json => Value::Text(text()),
        // The integral ones hold no bytes.
        Logical::Binary
        | Logical::Value
        | Logical::Boolean
        | Logical::Integer
        | Logical::Float
        | Logical::Float32
        | Logical::Timestamp
        | Logical::DateTime
        | Logical::Date
        | Logical::Time => Value::Bytes(bytes.to_vec()),
    }
}

/// The value of a cell that is counted in an integer.
fn counted(logical: Logical, integer: i128) -> Value {
    match (logical, i64::try_from(integer)) {
        (Logical::Timestamp, Ok(micros)) => Value::Timestamp(micros),
        (Logical::DateTime, Ok(micros)) => Value::DateTime(micros),
        (Logical::Date, Ok(days)) => Value::Date(days),
        (Logical::Time, Ok(micros)) => Value::Time(micros),
        _ => Value::Number(Number::from(integer)),
    }
}

/// Whether these may be the first values of columns of these types.
fn fit(values: &[Value], logicals: &[Logical]) -> bool {
    !values.is_empty()
        && values.len() <= logicals.len()
        && values.iter().zip(logicals).all(|(value, logical)| fits(value, *logical))
}

/// The batch form of values that fit.
fn batch(rows: Vec<Vec<Value>>, logicals: &[Logical]) -> Batch {
    let count = rows.len();
    let mut columns: Vec<Vec<Value>> = vec![Vec::with_capacity(count); logicals.len()];
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    let columns =
        columns.into_iter().zip(logicals).map(|(values, logical)| column(values, *logical));
    Batch { rows: count, columns: columns.collect() }
}

fn integral(logical: Logical) -> bool {
    matches!(
        logical,
        Logical::Integer
            | Logical::Boolean
            | Logical::Timestamp
            | Logical::DateTime
            | Logical::Date
            | Logical::Time
    )
}

#[expect(clippy::wildcard_enum_match_arm, reason = "nothing but these can be in a key")]
fn fits(value: &Value, logical: Logical) -> bool {
    match value {
        Value::Number(number) if integral(logical) => number
            .to_integer()
            .is_some_and(|whole| i64::try_from(whole).is_ok() || u64::try_from(whole).is_ok()),
        Value::Number(_) => logical == Logical::Decimal,
        // What is no calendar date-time is encoded alike, with time zone and without.
        Value::Timestamp(_) | Value::DateTime(_) => {
            matches!(logical, Logical::Timestamp | Logical::DateTime)
        }
        Value::Date(_) => logical == Logical::Date,
        Value::Time(_) => logical == Logical::Time,
        Value::Text(_) | Value::Bytes(_) => !integral(logical),
        _ => false,
    }
}

/// A column of values that fit.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing but these can be in a key")]
fn column(values: Vec<Value>, logical: Logical) -> Column {
    let number = |value: &Value| {
        let Value::Number(number) = value else { return None };
        Some(*number)
    };
    if !integral(logical) {
        let mut builder = ColumnBuilder::bytes(values.len());
        for value in values {
            match value {
                Value::Text(text) => builder.push_bytes(text.as_bytes()),
                Value::Bytes(bytes) => builder.push_bytes(&bytes),
                other => {
                    let decimal = number(&other).map(|number| match number.to_integer() {
                        Some(whole) => whole.to_string(),
                        None => number.to_string(),
                    });
                    builder.push_bytes(decimal.unwrap_or_default().as_bytes());
                }
            }
        }
        return builder.finish();
    }
    let whole = |value: &Value| match value {
        Value::Timestamp(count)
        | Value::DateTime(count)
        | Value::Date(count)
        | Value::Time(count) => Some(i128::from(*count)),
        other => number(other)?.to_integer(),
    };
    Column::of_integers(&values.iter().map(whole).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Bitmap, Buffer, ColumnDef};
    use crate::store::Read;
    use crate::store::memory::Memory;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn int(value: i128) -> Value {
        Value::Number(Number::from(value))
    }

    #[test]
    fn decoding_undoes_encoding() {
        let key = vec![int(-7), text("é"), Value::Bytes(vec![0, 255])];
        let places = [
            Place::Row { relation: 0, key: key.clone() },
            Place::Row { relation: 3, key: key.clone() },
            Place::Group(key.clone()),
            Place::Under { relation: 0, prefix: true, first: key.clone() },
            Place::Under { relation: 1, prefix: false, first: key.clone() },
        ];
        for (at, place) in places.iter().enumerate() {
            assert_eq!(Place::decode(&place.clone().encode()).as_ref(), Some(place));
            for other in &places[at + 1..] {
                assert_ne!(place.clone().encode(), other.clone().encode());
            }
        }
        assert_eq!(
            Place::Row { relation: 0, key: key.clone() }.encode().0.as_ref(),
            Value::List(key).to_cbor()
        );
        for odd in [&b"\xff"[..], b"\x01", b"\xd9\xd7\x06\x80", b"\xd9\xd7\x08\x81\x00"] {
            assert_eq!(Place::decode(&StoreKey(Box::from(odd))), None, "{odd:?}");
        }
    }

    #[test]
    fn a_place_says_by_what_its_row_lies_in_ranges() {
        let column =
            |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: true };
        let columns = ["id", "of", "part"].map(|name| column(name, Logical::Integer)).to_vec();
        let relation = |key: &[usize], group: &[usize]| RelationContext {
            read: Read {
                schema: RelationSchema {
                    relation: "r".to_owned(),
                    columns: columns.clone(),
                    key: key.to_vec(),
                    open: false,
                    partial: false,
                },
                columns: columns.iter().map(|column| column.name.clone()).collect(),
                ignored: Vec::new(),
                page_rows: std::num::NonZeroU32::MIN,
                cut: group.first().map(|at| columns[*at].name.clone()),
            },
            group: group.to_vec(),
        };
        let here = SideContext {
            store: std::sync::Arc::new(Memory::new("here", false).0),
            relations: vec![
                relation(&[0], &[]),
                relation(&[0], &[1]),
                relation(&[0, 1], &[1]),
                relation(&[0], &[1, 2]),
            ],
            locatable: true,
        };
        let key = || vec![int(7), int(3)];
        let row = |relation, key| Place::Row { relation, key };
        let under = |first| Place::Under { relation: 0, prefix: false, first };
        for (place, expected) in [
            (row(0, vec![int(7)]), Some(Some(7))),
            // It stands by itself, so it has no value where its relation is cut.
            (row(1, vec![int(7)]), Some(None)),
            (row(2, key()), Some(Some(3))),
            // One of two values is null; which is not known.
            (row(3, vec![int(7)]), None),
            (row(9, vec![int(7)]), None),
            (row(0, vec![text("x")]), None),
            (Place::Group(key()), Some(Some(7))),
            (Place::Group(vec![text("x")]), None),
            (under(vec![int(7)]), None),
        ] {
            assert_eq!(cut(&here, &place.clone().encode()), expected, "{place:?}");
        }
    }

    #[test]
    fn times_are_kept_as_times_and_read_back_as_they_were_counted() {
        let logicals = [Logical::Timestamp, Logical::DateTime, Logical::Date, Logical::Time];
        let counts = [[i64::MIN, 5], [i64::MIN, -5], [i64::MIN, 19_782], [-1, 43_200_000_000]];
        let columns = counts.iter().map(|cells| {
            let mut builder = ColumnBuilder::int64(2);
            cells.iter().for_each(|cell| builder.push_i64(*cell));
            builder.finish()
        });
        let keys = Batch { rows: 2, columns: columns.collect() };
        let rows: Vec<_> = (0..2).map(|row| values(&logicals, &keys, row)).collect();
        assert_eq!(rows[1][2], Value::Date(19_782));
        let kept = rows.into_iter().map(|key| {
            match Place::decode(&Place::Row { relation: 0, key }.encode()) {
                Some(Place::Row { key, .. }) => key,
                other => panic!("{other:?}"),
            }
        });
        let kept: Vec<_> = kept.collect();
        assert!(kept.iter().all(|row| fit(row, &logicals)));
        assert_eq!(batch(kept, &logicals), keys);
        // As they were kept before: as numbers.
        let plain: Vec<_> = counts.iter().map(|cells| int(cells[1].into())).collect();
        assert!(fit(&plain, &logicals));
        assert_eq!(batch(vec![plain], &logicals), keys.take(&[1]));
    }

    #[test]
    fn values_of_columns_become_the_same_columns() {
        let logicals = [Logical::Integer, Logical::Text, Logical::Decimal, Logical::Binary];
        let integers = [Buffer::Int64(vec![-1, 7]), Buffer::UInt64(vec![7, u64::MAX])];
        let mut integers =
            integers.map(|values| Column { validity: Bitmap::default(), values }).to_vec();
        integers.push(Column::of_integers(&[Some(-5), Some(u64::MAX.into())]));
        for integers in integers {
            let mut columns = vec![integers];
            for cells in [["x", "é"], ["1.5", "-30"], ["", "b"]] {
                let mut builder = ColumnBuilder::bytes(2);
                cells.iter().for_each(|cell| builder.push_bytes(cell.as_bytes()));
                columns.push(builder.finish());
            }
            let keys = Batch { rows: 2, columns };
            let rows: Vec<_> = (0..2).map(|row| values(&logicals, &keys, row)).collect();
            assert!(rows.iter().all(|row| fit(row, &logicals)));
            assert_eq!(batch(rows, &logicals), keys);
        }
    }
}
