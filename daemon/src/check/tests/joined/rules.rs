//! Rules over a partition of a side with several relations and entity types.
//!
//! Owns what is said of them by a whole check. Refuses to settle it: the engine does. Invariant: what was
//! not counted wholly is never said to hold.

use super::*;

#[test]
fn a_rule_over_the_partition_counts_every_pair_or_says_nothing() {
    let world = world(2);
    for id in 1..=9 {
        world.order(id, 3);
    }
    let ruled = |outcome: &Outcome| {
        let [ruled] = outcome.rules.as_slice() else { panic!("{:?}", outcome.rules) };
        ruled.clone()
    };
    let whole = ruled(&world.checked(Direction::FromSource));
    assert_eq!(whole.verdict, Verdict::Holds);
    assert_eq!(world.checked(Direction::FromTarget).rules, [], "it tells of the target alone");
    world.line(4, 9, 1);
    let outcome = world.checked(Direction::FromSource);
    let broken = ruled(&outcome);
    // 9 orders of 30*id + 6.
    assert_eq!(broken.verdict, Verdict::Broken(vec!["source: 1404 and 1405".to_owned()]));
    assert_ne!(broken.state, whole.state);
    assert_eq!(broken, ruled(&world.checked(Direction::FromSource)), "it reproduces");
    let kinds: Vec<DriftKind> = outcome.suspects.iter().map(|_| DriftKind::Missing).collect();
    assert_eq!(kinds.len(), 1, "the line itself is missing in the target");
    world.target.fail_next(StoreErrorKind::Throttled("busy".to_owned()));
    let outcome = world.checked(Direction::FromSource);
    assert!(!outcome.unread.is_empty());
    assert!(matches!(ruled(&outcome).verdict, Verdict::Unknown(_)));
}

#[test]
fn rules_that_keep_too_much_say_nothing_and_the_others_go_on() {
    let mut world = world(2);
    let mut mapper = shop();
    let [rule] = mapper.1.as_slice() else { panic!("{:?}", mapper.1) };
    let mut large = rule.clone();
    large.summary = KEEPS_ALL.to_owned();
    mapper.1 = vec![large.clone(), rule.clone(), large];
    world.context.mapper = std::sync::Arc::new(mapper);
    for id in 1..=9 {
        world.order(id, 3);
    }
    let outcome = world.checked(Direction::FromSource);
    // Where one snapshot fits, two do not.
    assert!(!outcome.unread.is_empty());
    for unread in &outcome.unread {
        assert_eq!(unread.fault.code, FaultCode::PluginOutput);
        assert!(unread.fault.what.contains("at most 33554432 in one check"), "{unread:?}");
    }
    // Something was unread, so that none of them says that it holds.
    assert_eq!(outcome.rules.len(), 3);
    assert!(outcome.rules.iter().all(|ruled| matches!(ruled.verdict, Verdict::Unknown(_))));
    assert_eq!(outcome.suspects, []);
}
