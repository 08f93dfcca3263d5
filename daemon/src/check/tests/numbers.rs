//! What a check says of itself: its numbers add up, and a row is in a comparison once.

use super::*;
use crate::check::portion::Portion;
use crate::check::window::Window;
use crate::store::Page;

fn things() -> Pair {
    let fields = [("id", Role::Key, None), ("v", Role::Compared, None)];
    let columns = [("id", Logical::Integer), ("v", Logical::Integer)];
    let given = || Given { columns: &columns, key: Some("{id}") };
    pair(&given(), &given(), &fields)
}

fn put(handle: &Handle, id: i128, v: i128) {
    handle.put("things", row(&[("id", int(id)), ("v", int(v))]));
}

/// The rows of a side, in one portion.
fn rows(context: &Context, side: Side) -> Portion {
    let here = context.side(side);
    let scan = here.store.scan(&here.relations[0].read, &WHOLE);
    let pages = futures::StreamExt::collect::<Vec<_>>(scan).now_or_never().unwrap();
    let page: Page = pages.into_iter().next().unwrap().unwrap();
    Portion::of_page(0, page)
}

#[test]
fn a_row_that_is_taken_in_twice_is_unread_and_neither_a_duplicate_nor_the_same() {
    let pair = things();
    for id in [1, 2] {
        put(&pair.source, id, id);
        put(&pair.target, id, id);
    }
    let mut window = Window::begin(&pair.context, Moment(1)).unwrap();
    for side in [Side::Source, Side::Target, Side::Target] {
        window.absorb(side, rows(&pair.context, side)).unwrap();
    }
    let outcome = window.finish();
    assert_eq!((outcome.same, outcome.suspects.as_slice()), (0, &[][..]));
    let [unread] = outcome.unread.as_slice() else { panic!("{:?}", outcome.unread) };
    assert_eq!((unread.rows, unread.fault.code), (Some(2), FaultCode::Numbers));
}

#[test]
fn a_check_whose_numbers_do_not_add_up_says_nothing_is_the_same() {
    let pair = things();
    for id in [1, 2, 3] {
        put(&pair.source, id, id);
        put(&pair.target, id, if id == 3 { 9 } else { id });
    }
    for breaks in [false, true] {
        let mut window = Window::begin(&pair.context, Moment(1)).unwrap();
        for side in [Side::Source, Side::Target] {
            let mut whole = rows(&pair.context, side);
            whole.keep(&[0, 1]);
            window.absorb(side, whole).unwrap();
        }
        // As if an error had become a difference that nobody tells.
        window.count.told += u64::from(breaks);
        let outcome = window.finish();
        let codes: Vec<_> = outcome.unread.iter().map(|unread| unread.fault.code).collect();
        match breaks {
            true => assert_eq!((outcome.same, codes), (0, vec![FaultCode::Numbers])),
            false => assert_eq!((outcome.same, codes), (2, vec![])),
        }
    }
}

#[test]
fn every_direction_counts_what_the_other_does_not() {
    let pair = things();
    for id in 1..=9 {
        put(&pair.source, id, id);
        put(&pair.target, id, id);
    }
    put(&pair.source, 4, 0);
    put(&pair.source, 10, 0);
    put(&pair.target, 11, 0);
    let [from_source, from_target] =
        [Direction::FromSource, Direction::FromTarget].map(|direction| checked(&pair, direction));
    let counted = |outcome: &Outcome| (outcome.same - outcome.again.same, outcome.differing());
    assert_eq!((counted(&from_source), counted(&from_target)), ((8, 2), (0, 1)));
    assert_eq!((from_target.same, from_target.told_elsewhere), (8, 1));
    let aligned = checked(&pair, Direction::Aligned);
    assert_eq!(counted(&aligned), (8, 3));
}
