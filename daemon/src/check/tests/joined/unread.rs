//! What cannot be read or mapped of a side with several relations and entity types.
//!
//! Owns what is said of it, and of what was read beside it. Refuses faults of stores alone: the engine's
//! tests have them. Invariant: what was not compared is unread, and neither same nor drift.

use super::*;

#[test]
fn what_is_looked_for_is_read_in_parts_that_can_be_held() {
    let world = world(100);
    let large = text(&"x".repeat(5 << 20));
    for id in 1..=20 {
        world.order(id, 1);
        world.item(id, "LINE#1", &[("cents", whole_number(0))]);
    }
    let wrong = world.checked(Direction::FromSource).suspects;
    assert_eq!(wrong.len(), 20);
    let large_line = |order: i64, no: i64| {
        let cents = whole_number((order * 10 + no).into());
        let cells = [("cents", cents), ("status", large.clone())];
        world.item(order, &format!("LINE#{no}"), &cells);
    };
    (1..=20).for_each(|id| large_line(id, 1));
    let outcome = world.checked(Direction::FromSource);
    assert_eq!((outcome.same, outcome.unread, outcome.suspects), (40, vec![], vec![]));
    let look = world.looked(&wrong);
    assert_eq!((look.sightings.len(), look.unread), (20, vec![]));
    assert!(look.sightings.iter().all(Sighting::agrees));
    // One order alone cannot be read in parts. Its lines are looked for one by one, 16 at first.
    world.order(99, 20);
    (1..=20).for_each(|no| large_line(99, no));
    let outcome = world.checked(Direction::FromSource);
    let [unread] = outcome.unread.as_slice() else { panic!("{:?}", outcome.unread) };
    assert_eq!((unread.fault.code, unread.rows), (FaultCode::TooMuch, Some(21)));
    assert!(unread.fault.what.contains("relation `items`: what the mapping looks for"));
    assert_eq!((outcome.same, outcome.suspects), (40, vec![]));
}

#[test]
fn an_entity_of_which_one_place_is_unread_is_not_compared_with_the_others() {
    let mut world = world(100);
    world.context.source.locatable = false;
    world.order(115, 3);
    world.order(116, 1);
    assert_eq!(world.checked(Direction::FromSource).same, 6);
    // Keys are asked for first, and here one of each order's lines, too; then prefixes.
    world.target.fail_next(StoreErrorKind::Throttled("busy".to_owned()));
    let outcome = world.checked(Direction::FromSource);
    assert_eq!(outcome.suspects, [], "what was read of them says nothing");
    assert!(!outcome.unread.is_empty());
    assert_eq!(outcome.same, 2, "order 116 comes later, and its line is whole");
}

#[test]
fn a_pair_or_a_place_on_which_the_plugin_fails_is_unread_and_the_others_are_compared() {
    let mut world = world(3);
    for id in 111..=116 {
        world.order(id, 2);
    }
    let mut mapper = shop();
    let of_pairs = InvariantDef { id: "any".to_owned(), scope: Scope::Pair, ..mapper.1[0].clone() };
    mapper.1.push(of_pairs);
    world.context.mapper = std::sync::Arc::new(mapper);
    for (direction, unread) in [
        // An order and two lines cannot be checked, two lines not be located.
        (Direction::FromSource, 5),
        (Direction::FromTarget, 2),
    ] {
        let outcome = world.checked(direction);
        assert_eq!(outcome.same, 18 - unread, "{direction}");
        assert_eq!(outcome.suspects, [], "{direction}");
        let lost: u64 = outcome.unread.iter().filter_map(|unread| unread.rows).sum();
        assert_eq!(lost, unread, "{:?}", outcome.unread);
    }
    // Looked at again, they are unread as well, and the others are not.
    world.drop_item(113, "LINE#1");
    world.drop_item(114, "LINE#1");
    world.drop_item(115, "LINE#1");
    let key = |order: i64| {
        let list = Value::List(vec![int(order.into()), int(1)]).to_cbor();
        Key::of_type(LINE, &list)
    };
    let group = |order: i64| crate::check::places::Place::Group(vec![int(order.into())]).encode();
    let asked: Vec<Asked> = [113, 114, 115]
        .map(|order| Asked { key: key(order), source_at: vec![group(order)], target_at: vec![] })
        .to_vec();
    let look = look(&world.context, &asked, Moment(1)).now_or_never().unwrap();
    assert_eq!(shown(&look.sightings), ["line 115/1: present, absent"]);
    let unread: Vec<&Key> = look.unread.iter().map(|(key, _)| key).collect();
    assert_eq!(unread, [&key(113), &key(114)]);
}

#[test]
fn a_group_of_too_many_rows_is_unread_and_the_others_are_compared() {
    let world = world(500);
    world.order(1, 2);
    world.order(3, 2);
    world.source.put("orders", row(&[("id", int(2)), ("status", text("open")), ("total", int(0))]));
    for no in 0..10_001 {
        world.line(2, no, 1);
    }
    let outcome = world.checked(Direction::FromSource);
    assert_eq!(outcome.same, 6);
    assert_eq!(outcome.suspects, []);
    let [unread] = outcome.unread.as_slice() else { panic!("{:?}", outcome.unread) };
    assert_eq!(unread.scope, "[2, 3)");
    assert_eq!(unread.fault.code, FaultCode::StoreUnfit);
    assert!(unread.fault.what.contains("more than 10000 rows"), "{}", unread.fault.what);
    // Looked up from the other side it is unread, too, and not missing.
    world.item(2, "LINE#7", &[("cents", whole_number(1))]);
    let outcome = world.checked(Direction::FromTarget);
    assert_eq!((outcome.same, outcome.suspects.as_slice()), (6, &[][..]));
    assert_eq!(outcome.unread.len(), 1);
}

#[test]
fn entities_that_are_too_large_together_are_compared_a_few_at_a_time() {
    let world = world(100);
    for id in 1..=5 {
        world.order(id, 0);
        world.item(id, "ORDER", &[("status", text("wrong")), ("total", whole_number(0))]);
    }
    let wrong = world.checked(Direction::FromSource).suspects;
    assert_eq!(wrong.len(), 5);
    for id in 1..=5 {
        let huge = ("status", text("huge"));
        let order = [("id", whole_number(id.into())), huge.clone(), ("total", whole_number(0))];
        world.source.put("orders", row(&order));
        world.item(id, "ORDER", &[huge, ("total", whole_number(1))]);
    }
    let outcome = world.checked(Direction::FromSource);
    // The last group comes by itself, and the window is full by then.
    assert_eq!((outcome.unread, outcome.suspects.len()), (vec![], 4));
    assert!(outcome.rest.is_some());
    let look = world.looked(&wrong);
    assert_eq!((look.sightings.len(), look.unread), (5, vec![]));
    assert!(!look.sightings.iter().any(Sighting::agrees));
}

#[test]
fn of_rows_that_cannot_be_placed_no_type_of_entity_is_compared() {
    // Its orders are among the entities already when its lines turn out to have no place.
    let world = world(100);
    world.order(118, 2);
    let outcome = world.checked(Direction::FromTarget);
    assert_eq!((outcome.same, outcome.suspects), (0, vec![]));
    assert!(!outcome.unread.is_empty());
}
