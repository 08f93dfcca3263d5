//! Who may begin work next.
//!
//! Owns how many jobs of all pairings may read at once, and whose turn it is. Refuses to know what a
//! pairing has to do. Invariants: never more jobs read than there are slots; who holds least is asked
//! first, and of these each in turn; and the last slot is left for who holds none, so that a pairing
//! with much to do, or whose checks take long, does not keep the others waiting.

use std::num::NonZeroU32;

use crate::engine::Step;
use crate::engine::pairing::Pairing;

/// What a pairing may begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// How many jobs that read it may still begin now.
    pub(super) free: usize,
    /// How many slots are its own while all pairings have something to do.
    pub(super) fair: usize,
}

/// The slots, and whose turn it is.
#[derive(Debug)]
pub(super) struct Admission {
    slots: usize,
    /// The pairing that is asked first among those that hold as much.
    turn: usize,
}

impl Admission {
    pub(super) const fn new(slots: NonZeroU32) -> Self {
        Self { slots: slots.get() as usize, turn: 0 }
    }

    /// Has every pairing go on, and begin what is due as far as slots are free.
    pub(super) fn admit(&mut self, step: &mut Step<'_>, pairings: &mut [Pairing]) {
        for (round, most) in self.rounds(pairings.len()).enumerate() {
            let held: Vec<usize> = pairings.iter().map(Pairing::in_flight).collect();
            let mut room = self.room(&held);
            if round > 0 {
                // Who has nothing to do now finds a slot when it has.
                let idle = held.contains(&0) && self.slots > 1;
                room = room.saturating_sub(usize::from(idle));
                if room == 0 {
                    return;
                }
            }
            for at in self.order(&held) {
                let may = room.min(most.saturating_sub(held[at]));
                step.room.free = may;
                pairings[at].go_on(step, at);
                let begun = may - step.room.free;
                room -= begun;
                if begun > 0 {
                    self.turn = at + 1;
                }
            }
        }
    }

    /// How many slots are free while pairings hold so many.
    fn room(&self, held: &[usize]) -> usize {
        self.slots.saturating_sub(held.iter().sum())
    }

    /// Nothing may begin, for now.
    pub(super) fn none(&self, pairings: usize) -> Room {
        Room { free: 0, fair: self.fair(pairings) }
    }

    /// How many slots are a pairing's while all have something to do: at least one.
    fn fair(&self, pairings: usize) -> usize {
        self.slots.div_ceil(pairings.max(1))
    }

    /// In which order pairings are asked: who holds least comes first, and of these in turn.
    fn order(&self, held: &[usize]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..held.len()).collect();
        let from_turn = |at: usize| (at + held.len() - self.turn % held.len()) % held.len();
        order.sort_by_key(|&at| (held[at], from_turn(at)));
        order
    }

    /// How many slots a pairing may take now, and then: at first none takes more than is fair, and what
    /// is left goes to whoever has more to do.
    fn rounds(&self, pairings: usize) -> impl Iterator<Item = usize> + use<> {
        let fair = self.fair(pairings);
        let all = (fair < self.slots).then_some(self.slots);
        std::iter::once(fair).chain(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(slots: u32) -> Admission {
        Admission::new(NonZeroU32::new(slots).unwrap())
    }

    #[test]
    fn who_holds_least_comes_first_and_of_these_in_turn() {
        let mut admission = admission(4);
        assert_eq!(admission.order(&[0, 0, 0]), [0, 1, 2]);
        admission.turn = 1;
        assert_eq!(admission.order(&[0, 0, 0]), [1, 2, 0]);
        assert_eq!(admission.order(&[0, 2, 1]), [0, 2, 1]);
        admission.turn = 3;
        assert_eq!(admission.order(&[1, 1, 1]), [0, 1, 2]);
        assert!(admission.order(&[]).is_empty());
    }

    #[test]
    fn nobody_takes_more_than_is_fair_before_all_were_asked() {
        for (slots, pairings, rounds) in
            [(16, 1, vec![16]), (16, 3, vec![6, 16]), (16, 50, vec![1, 16]), (1, 9, vec![1])]
        {
            assert_eq!(admission(slots).rounds(pairings).collect::<Vec<_>>(), rounds);
        }
        assert_eq!(admission(4).room(&[1, 2]), 1);
        assert_eq!(admission(4).room(&[3, 2]), 0);
    }
}
