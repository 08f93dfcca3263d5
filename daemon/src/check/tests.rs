//! Tests of checks and looks over two memory stores and the built-in mapping.

mod fanout;
mod numbers;
mod stray;
mod joined;
mod types;

use futures::FutureExt;

use super::*;
use crate::model::{
    Asked, ColumnDef, FaultCode, Logical, Look, Number, Range, RelationSchema, Role, Sighting,
    State, StoreKey, Value,
};
use crate::plugin::builtin::{BuiltIn, Field, Settings};
use crate::plugin::template::{KeyTemplate, Template};
use crate::plugin::{Binding, Place};
use crate::store::memory::{Handle, Layout, Memory, Row};

/// Two relations and what compares them.
struct Pair {
    context: Context,
    source: Handle,
    target: Handle,
}

/// One side: its columns, the first of which is its key, and its key template.
struct Given<'a> {
    columns: &'a [(&'a str, Logical)],
    key: Option<&'a str>,
}

fn schema(given: &Given<'_>) -> RelationSchema {
    let column = |(name, logical): &(&str, Logical)| ColumnDef {
        name: (*name).to_owned(),
        logical: *logical,
        nullable: true,
    };
    RelationSchema {
        relation: "things".to_owned(),
        columns: given.columns.iter().map(column).collect(),
        key: vec![0],
        open: false,
        partial: false,
    }
}

fn nonzero(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// A pairing of both sides by `fields`: name, role, declared type.
fn pair(source: &Given<'_>, target: &Given<'_>, fields: &[(&str, Role, Option<Logical>)]) -> Pair {
    let field = |(name, role, logical): &(&str, Role, Option<Logical>)| Field {
        name: (*name).to_owned(),
        role: *role,
        logical: *logical,
        source: (*name).to_owned(),
        target: (*name).to_owned(),
        rules: Vec::new(),
    };
    let settings = Settings {
        entity: "thing".to_owned(),
        fields: fields.iter().map(field).collect(),
        ignore_source: Vec::new(),
        ignore_target: Vec::new(),
    };
    let schemas = [schema(source), schema(target)];
    let keys = [source, target].map(|given| {
        let template = Template::parse(given.key?).unwrap();
        Some(KeyTemplate { columns: vec![(given.columns[0].0.to_owned(), template)] })
    });
    let place =
        |at: usize| Place { schemas: std::slice::from_ref(&schemas[at]), key: keys[at].as_ref() };
    let binding = Binding { pairing: "things", source: place(0), target: place(1) };
    let mapper = BuiltIn::new(&settings, &binding).unwrap();
    let plan = mapper.plan().clone();
    let side = |at: usize, columns: &[String]| {
        let (store, handle) = Memory::new(["source", "target"][at], false);
        handle.create(schemas[at].clone(), Layout::Ranges);
        let read = Read {
            schema: schemas[at].clone(),
            columns: columns.to_vec(),
            ignored: Vec::new(),
            page_rows: nonzero(2),
            cut: None,
        };
        let locatable = keys[at].is_some();
        let relations = vec![RelationContext { read, group: Vec::new() }];
        (SideContext { store: Arc::new(store), relations, locatable }, handle)
    };
    let (source_context, source) = side(0, &plan.source.relations[0].columns);
    let (target_context, target) = side(1, &plan.target.relations[0].columns);
    let context = Context {
        pairing: "things".to_owned(),
        leads: Leads(Side::Source),
        source: source_context,
        target: target_context,
        canons: Canon::all(&plan.entities, [7; 32]).unwrap(),
        mapper: Arc::new(mapper),
        partition_rows: nonzero(100),
        window_rows: nonzero(400),
        share: Share::new(256 << 20),
        clock: Arc::new(|| Moment(1)),
    };
    Pair { context, source, target }
}

fn row(cells: &[(&str, Value)]) -> Row {
    cells.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn int(value: i128) -> Value {
    Value::Number(Number::from(value))
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

const WHOLE: Extent = Extent::Range(Range { from: None, until: None });

fn checked(pair: &Pair, direction: Direction) -> Outcome {
    part_checked(pair, direction, WHOLE)
}

fn part_checked(pair: &Pair, direction: Direction, extent: Extent) -> Outcome {
    let partition = Partition { number: 0, extent, direction };
    check(&pair.context, &partition, 100, Moment(1)).now_or_never().unwrap()
}

/// A source without a key template: its rows have numbers of their own.
fn one_way() -> Pair {
    let fields = [("k", Role::Key, None), ("v", Role::Compared, None)];
    let source = [("id", Logical::Integer), ("k", Logical::Integer), ("v", Logical::Integer)];
    let target = [("k", Logical::Integer), ("v", Logical::Integer)];
    let given = |columns, key| Given { columns, key };
    pair(&given(&source, None), &given(&target, Some("{k}")), &fields)
}

fn asked(seen: &Sighting) -> Asked {
    let (source_at, target_at) = (seen.source_at.clone(), seen.target_at.clone());
    Asked { key: seen.key.clone(), source_at, target_at }
}

fn looked(pair: &Pair, asked: &[Asked]) -> Look {
    look(&pair.context, asked, Moment(1)).now_or_never().unwrap()
}

#[test]
fn a_key_that_is_gone_from_a_side_that_cannot_be_searched_is_not_said_to_lack() {
    let pair = one_way();
    let source = |id, v| row(&[("id", int(id)), ("k", int(1)), ("v", int(v))]);
    pair.source.put("things", source(5, 1));
    pair.target.put("things", row(&[("k", int(1)), ("v", int(2))]));
    let outcome = checked(&pair, Direction::FromSource);
    let [seen] = outcome.suspects.as_slice() else { panic!("{:?}", outcome.suspects) };
    let asked = [asked(seen)];
    assert_eq!(looked(&pair, &asked).sightings.len(), 1);

    pair.source.delete("things", &[int(5)]);
    pair.source.put("things", source(9, 2));
    let look = looked(&pair, &asked);
    assert_eq!(look.sightings, []);
    assert_eq!(look.unread.len(), 1);
    assert_eq!(look.unread[0].1.code, FaultCode::PlaceGone);

    // With the target's row gone, too, both sides agree.
    pair.target.delete("things", &[int(1)]);
    assert!(looked(&pair, &asked).sightings[0].agrees());
}

#[test]
fn of_many_places_of_a_key_those_are_forgotten_at_which_nothing_is() {
    let pair = one_way();
    pair.source.put("things", row(&[("id", int(5)), ("k", int(1)), ("v", int(1))]));
    pair.target.put("things", row(&[("k", int(1)), ("v", int(2))]));
    let suspect = asked(&checked(&pair, Direction::FromSource).suspects[0]);
    pair.target.put("things", row(&[("k", int(1)), ("v", int(1))]));
    let look_at = |places| {
        let mut asked = suspect.clone();
        let place = |key| StoreKey(Value::List(vec![int(key)]).to_cbor().into());
        asked.target_at = (1..=places).map(place).collect();
        let look = looked(&pair, &[asked]);
        assert!(look.sightings[0].agrees() && look.sightings[0].steady);
        look.sightings[0].target_at.len()
    };
    // What is named is there, however many places there were.
    assert_eq!([look_at(64), look_at(65), look_at(1_000)], [1, 1, 1]);
}

#[test]
fn a_place_that_is_no_key_any_more_is_unread() {
    let pair = one_way();
    pair.source.put("things", row(&[("id", int(5)), ("k", int(1)), ("v", int(1))]));
    pair.target.put("things", row(&[("k", int(1)), ("v", int(2))]));
    let outcome = checked(&pair, Direction::FromSource);
    let mut asked = asked(&outcome.suspects[0]);
    asked.target_at = vec![StoreKey(Value::List(vec![text("1"), int(2)]).to_cbor().into())];
    let look = looked(&pair, &[asked]);
    assert_eq!(look.sightings, []);
    assert_eq!(look.unread[0].1.code, FaultCode::PlaceUnknown);
}

#[test]
fn what_a_check_holds_is_bounded_in_bytes() {
    let fields = [("id", Role::Key, None), ("t", Role::Compared, None)];
    let columns = [("id", Logical::Integer), ("t", Logical::Text)];
    let given = || Given { columns: &columns, key: Some("{id}") };
    let pair = pair(&given(), &given(), &fields);
    let large = text(&"x".repeat(5 << 20));
    for id in 1..=10 {
        let row = row(&[("id", int(id)), ("t", large.clone())]);
        pair.source.put("things", row.clone());
        pair.target.put("things", row);
    }
    for direction in [Direction::Aligned, Direction::FromSource] {
        let first = checked(&pair, direction);
        let rest = first.rest.expect("50 MiB are more than a check holds");
        let second = part_checked(&pair, direction, rest);
        assert_eq!((second.rest, first.same + second.same), (None, 10), "{direction:?}");
        assert!(first.same >= 5, "{} at {direction:?}", first.same);
    }
}

#[test]
fn a_crowd_of_more_members_than_can_be_held_is_told_as_far_as_it_is() {
    let fields = [("id", Role::Key, None)];
    let given = || Given { columns: &[("id", Logical::Integer)], key: Some("{id}") };
    let mut pair = pair(&given(), &given(), &fields);
    pair.context.partition_rows = nonzero(1);
    for id in 1..=40 {
        pair.source.put("things", row(&[("id", int(id))]));
    }
    let partition = Partition { number: 0, extent: WHOLE, direction: Direction::FromSource };
    let outcome = check(&pair.context, &partition, 10, Moment(1)).now_or_never().unwrap();
    assert_eq!(outcome.crowd.map(|members| members.len()), Some(32));
    let unread: u64 = outcome.unread.iter().filter_map(|unread| unread.rows).sum();
    assert_eq!((unread, outcome.unread[0].fault.code), (8, FaultCode::TooMuch));
}

#[test]
fn integers_of_every_size_are_compared_whatever_page_they_are_in() {
    let fields = [("id", Role::Key, None), ("n", Role::Compared, Some(Logical::Integer))];
    let side = |logical| [("id", Logical::Integer), ("n", logical)];
    let (source, target) = (side(Logical::Text), side(Logical::Decimal));
    let given = |columns| Given { columns, key: Some("{id}") };
    let pair = pair(&given(&source), &given(&target), &fields);
    // Pages are of two rows: one fits signed integers, one only unsigned ones, one neither.
    let numbers = ["1", "-2", "18446744073709551615", "4", "18446744073709551614", "-6"];
    for (id, number) in (1..).zip(numbers) {
        pair.source.put("things", row(&[("id", int(id)), ("n", text(number))]));
        let other = if id % 2 == 0 { number } else { "7" };
        let other = Value::Number(Number::parse(other).unwrap());
        pair.target.put("things", row(&[("id", int(id)), ("n", other)]));
    }
    for direction in [Direction::Aligned, Direction::FromSource] {
        let outcome = checked(&pair, direction);
        assert_eq!(outcome.unread, [], "{direction:?}");
        assert_eq!(outcome.same, 3, "{direction:?}");
        let states = outcome.suspects.iter().map(|seen| (&seen.source, &seen.target));
        let both = |(one, two): (&State, &State)| {
            matches!((one, two), (State::Present(_), State::Present(_)))
        };
        assert_eq!(outcome.suspects.len(), 3, "{direction:?}");
        assert!(states.into_iter().all(both), "{direction:?}");
    }
}

#[test]
fn a_copy_is_told_from_the_row_that_belongs_there_whatever_page_it_is_in() {
    let fields = [("k", Role::Key, None), ("n", Role::Compared, None)];
    let source = [("k", Logical::Integer), ("n", Logical::Integer)];
    let target = [("n", Logical::Integer), ("k", Logical::Integer)];
    let given = |columns, key| Given { columns, key: Some(key) };
    let pair = pair(&given(&source, "{k}"), &given(&target, "{n}"), &fields);
    let both = |k, n| row(&[("k", int(k)), ("n", int(n))]);
    for at in 1..=9 {
        pair.source.put("things", both(at, at));
        pair.target.put("things", both(at, at));
    }
    // Each lies where its own fields lead to. Pages are of two rows.
    pair.target.put("things", both(1, 100));
    pair.target.put("things", both(2, 101));
    let outcome = checked(&pair, Direction::FromTarget);
    assert_eq!((outcome.unread.as_slice(), outcome.same), ([].as_slice(), 9));
    let places = |seen: &Sighting| (seen.key.clone(), seen.target_at.clone());
    let [one, two] = outcome.suspects.as_slice() else { panic!("{:?}", outcome.suspects) };
    for (seen, copy) in [(one, 100), (two, 101)] {
        let copy = StoreKey(Value::List(vec![int(copy)]).to_cbor().into());
        assert!(seen.target_at.contains(&copy), "{:?}", places(seen));
    }
    assert!(outcome.crowd.is_none());
}

#[test]
fn a_row_that_can_lie_nowhere_on_the_other_side_stays_unmappable_until_it_can() {
    let fields = [("k", Role::Key, None), ("n", Role::Compared, None)];
    let source = [("k", Logical::Integer), ("n", Logical::Integer)];
    let target = [("n", Logical::Integer), ("k", Logical::Integer)];
    let given = |columns, key| Given { columns, key: Some(key) };
    let pair = pair(&given(&source, "{k}"), &given(&target, "{n}"), &fields);
    pair.source.put("things", row(&[("k", int(1)), ("n", Value::Null)]));
    let outcome = checked(&pair, Direction::FromSource);
    let [seen] = outcome.suspects.as_slice() else { panic!("{:?}", outcome.suspects) };
    assert!(matches!(seen.source, State::Unmappable(_)), "{:?}", seen.source);

    let asked = [asked(seen)];
    let look = looked(&pair, &asked);
    assert_eq!(look.unread, []);
    assert!(look.sightings[0].source.is_like(&seen.source), "{:?}", look.sightings[0]);
    assert!(!look.sightings[0].agrees());

    // It has a place now, and nothing is there yet.
    let both = row(&[("k", int(1)), ("n", int(5))]);
    pair.source.put("things", both.clone());
    let look = looked(&pair, &asked);
    let [seen] = look.sightings.as_slice() else { panic!("{look:?}") };
    assert!(matches!((&seen.source, &seen.target), (State::Present(_), State::Absent)), "{seen:?}");
    pair.target.put("things", both);
    assert!(looked(&pair, &asked).sightings[0].agrees());
}
