//! Rows of the follower that lie where their entities do not name, told by each direction.

use std::collections::BTreeMap;

use super::*;
use crate::check::tell::SIDES;

/// Both sides keep things at a number `n`, which for the thing `k` is to be `k`.
fn numbered(leader: Side) -> Pair {
    let fields = [("k", Role::Key, None), ("v", Role::Compared, None)];
    let columns = [("n", Logical::Integer), ("k", Logical::Integer), ("v", Logical::Integer)];
    let given = || Given { columns: &columns, key: Some("{k}") };
    let mut pair = pair(&given(), &given(), &fields);
    pair.context.leads = Leads(leader);
    pair
}

impl Pair {
    fn put(&self, side: Side, n: i128, k: i128) {
        let row = row(&[("n", int(n)), ("k", int(k)), ("v", int(k))]);
        let handle = if side == Side::Source { &self.source } else { &self.target };
        handle.put("things", row);
    }
}

fn at(n: i128) -> StoreKey {
    StoreKey(Value::List(vec![int(n)]).to_cbor().into())
}

fn thing(seen: &Sighting) -> i128 {
    let Ok(Value::List(parts)) = Value::decode(&seen.key.0) else { panic!("{seen:?}") };
    let [Value::Number(number)] = parts.as_slice() else { panic!("{parts:?}") };
    number.to_integer().unwrap()
}

/// What is said of each thing: its kind, and where the follower is said to keep it.
fn told(seen: &[Sighting], leader: Side) -> BTreeMap<i128, (&'static str, Vec<StoreKey>)> {
    let kind = |seen: &Sighting| match (seen.state(leader), seen.state(leader.other())) {
        (State::Present(_), State::Absent) => "missing",
        (State::Absent, State::Present(_)) => "unexpected",
        (State::Present(_), State::Duplicate(_)) => "duplicate",
        other => panic!("{other:?}"),
    };
    let place = |seen: &Sighting| seen.places(leader.other()).clone();
    seen.iter().map(|seen| (thing(seen), (kind(seen), place(seen)))).collect()
}

#[test]
fn a_stray_is_told_by_its_entity_whichever_direction_is_read_first() {
    for leader in [Side::Source, Side::Target] {
        let follower = leader.other();
        let pair = numbered(leader);
        for k in [1, 3, 5, 6, 7] {
            pair.put(leader, k, k);
        }
        for k in [3, 4, 5] {
            pair.put(follower, k, k);
        }
        // Of 7 there are two, of 4 there is one at its own place that the leader does not have either.
        for (n, k) in [(101, 1), (102, 2), (103, 3), (104, 4), (107, 7), (207, 7)] {
            pair.put(follower, n, k);
        }
        let (by_leader, by_follower) = match leader {
            Side::Source => (Direction::FromSource, Direction::FromTarget),
            Side::Target => (Direction::FromTarget, Direction::FromSource),
        };
        let leading = checked(&pair, by_leader);
        let following = checked(&pair, by_follower);
        assert_eq!((&leading.unread, &following.unread), (&vec![], &vec![]));
        let lacking = [1, 6, 7].map(|k| (k, ("missing", vec![])));
        assert_eq!(told(&leading.suspects, leader), BTreeMap::from(lacking), "{leader} leads");
        let seen = BTreeMap::from([
            (1, ("missing", vec![at(101)])),
            (2, ("unexpected", vec![at(102)])),
            (3, ("duplicate", vec![at(3), at(103)])),
            (4, ("unexpected", vec![at(4), at(104)])),
            (7, ("missing", vec![at(107), at(207)])),
        ]);
        // A pass sees of 4 each of its rows, and of 7 each by itself.
        let mut all = BTreeMap::new();
        for (k, (kind, places)) in
            following.suspects.iter().flat_map(|seen| told(std::slice::from_ref(seen), leader))
        {
            let known = all.entry(k).or_insert_with(|| (kind, Vec::new()));
            assert_eq!(known.0, kind, "{leader} leads: {k}");
            known.1.extend(places);
            known.1.sort();
            known.1.dedup();
        }
        assert_eq!(all, seen, "{leader} leads");
        // Each of them is counted by one direction; of 3, of which there is a copy, what lies at its own
        // place is.
        assert_eq!((leading.differing(), following.differing()), (3, 3), "{following:#?}");
        assert_eq!((leading.again.differing, following.again.differing), (0, 1));
        assert_eq!(leading.same + following.same - following.again.same - leading.again.same, 2);

        // Looked at with what either direction saw, the kinds are the same.
        for outcome in [&leading, &following] {
            let asked: Vec<Asked> = outcome.suspects.iter().map(asked).collect();
            let look = looked(&pair, &asked);
            assert_eq!(look.unread, []);
            for (k, (kind, places)) in told(&look.sightings, leader) {
                let (expected, _) = seen.get(&k).cloned().unwrap_or(("missing", vec![]));
                assert_eq!(kind, expected, "{leader} leads: {k}");
                let there = |place: &StoreKey| {
                    [3, 4, 101, 102, 103, 104, 107, 207].iter().any(|n| at(*n) == *place)
                };
                assert!(places.iter().all(there), "{leader} leads: {k} at {places:?}");
            }
        }
    }
}

#[test]
fn many_strays_are_a_crowd_of_what_they_are() {
    for leader in [Side::Source, Side::Target] {
        let pair = numbered(leader);
        for k in 1..=40 {
            pair.put(leader, k, k);
            pair.put(leader.other(), 1_000 + k, k);
        }
        pair.put(leader.other(), 2_000, 50);
        let check_in = |direction| {
            let partition = Partition { number: 0, extent: WHOLE, direction };
            check(&pair.context, &partition, 10, Moment(1)).now_or_never().unwrap()
        };
        let (leading, following) = match leader {
            Side::Source => (check_in(Direction::FromSource), check_in(Direction::FromTarget)),
            Side::Target => (check_in(Direction::FromTarget), check_in(Direction::FromSource)),
        };
        let kinds = |outcome: &Outcome| {
            let crowd = outcome.crowd.iter().flatten().map(|member| member.kind);
            crowd.collect::<Vec<_>>()
        };
        assert_eq!(kinds(&leading), [crate::model::DriftKind::Missing; 40], "{leader} leads");
        assert_eq!((leading.differing(), following.differing()), (40, 1), "{leader} leads");
        assert_eq!(following.told_elsewhere, 40, "{leader} leads");
        assert_eq!((leading.unread, following.unread), (vec![], vec![]), "{leader} leads");
    }
}

#[test]
fn a_stray_of_the_leader_is_a_duplicate_if_its_own_place_holds_it_and_else_unread() {
    for leader in [Side::Source, Side::Target] {
        let follower = leader.other();
        let pair = numbered(leader);
        for k in [1, 3, 5] {
            pair.put(leader, k, k);
            pair.put(follower, k, k);
        }
        // Of 3 there is another one behind it, of 5 one before it, and 4 is only where nobody looks.
        pair.put(follower, 4, 4);
        for (n, k) in [(103, 3), (0, 5), (104, 4)] {
            pair.put(leader, n, k);
        }
        let (by_leader, by_follower) = match leader {
            Side::Source => (Direction::FromSource, Direction::FromTarget),
            Side::Target => (Direction::FromTarget, Direction::FromSource),
        };
        let leading = checked(&pair, by_leader);
        let following = checked(&pair, by_follower);
        let kinds: BTreeMap<i128, bool> = leading
            .suspects
            .iter()
            .map(|seen| (thing(seen), matches!(seen.state(leader), State::Duplicate(_))))
            .collect();
        assert_eq!(kinds, BTreeMap::from([(3, true), (5, true)]), "{leader} leads: {leading:#?}");
        let unread: Vec<_> = leading.unread.iter().map(|unread| unread.fault.code).collect();
        assert_eq!(unread, [FaultCode::PluginPlace], "{leader} leads");
        assert!(following.suspects.iter().all(|seen| thing(seen) == 4), "{following:#?}");

        let asked: Vec<Asked> = leading.suspects.iter().map(asked).collect();
        let look = looked(&pair, &asked);
        assert_eq!(look.unread, []);
        for seen in &look.sightings {
            assert!(matches!(seen.state(leader), State::Duplicate(_)), "{leader} leads: {seen:?}");
        }
        // Without the copy it is the same; without the row at its place nothing can be said of it.
        let handle = if leader == Side::Source { &pair.source } else { &pair.target };
        handle.delete("things", &[int(103)]);
        handle.delete("things", &[int(5)]);
        let look = looked(&pair, &asked);
        let sound: Vec<(i128, bool)> =
            look.sightings.iter().map(|seen| (thing(seen), seen.agrees())).collect();
        assert_eq!(sound, [(3, true)], "{leader} leads");
        assert_eq!(look.unread.len(), 1, "{leader} leads: {look:?}");
    }
}

#[test]
fn an_entity_with_copies_is_compared_once_whichever_partition_they_lie_in() {
    let all = SIDES.into_iter().flat_map(|leader| SIDES.map(|of| (leader, of)));
    for (leader, of) in all {
        let pair = numbered(leader);
        for k in [3, 60, 103] {
            pair.put(Side::Source, k, k);
            pair.put(Side::Target, k, k);
        }
        // Copies of 3 and of 103, in the partition of the entity, in the other one, and where another
        // entity is looked for.
        for (n, k) in [(4, 3), (70, 3), (80, 103), (10, 103), (60, 103)] {
            pair.put(of, n, k);
        }
        let mut compared = 0;
        for direction in [Direction::FromSource, Direction::FromTarget] {
            for (from, until) in [(None, Some(50)), (Some(50), None)] {
                let extent = Extent::Range(Range { from, until });
                let partition = Partition { number: 0, extent, direction };
                let outcome =
                    check(&pair.context, &partition, 100, Moment(1)).now_or_never().unwrap();
                assert_eq!(outcome.unread, []);
                compared += outcome.same - outcome.again.same;
                compared += outcome.differing() - outcome.again.differing;
            }
        }
        assert_eq!(compared, 3, "{leader} leads, copies in the {of}");
    }
}
