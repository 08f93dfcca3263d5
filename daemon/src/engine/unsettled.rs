//! What could not be judged, by name.
//!
//! Owns the list of it, and when something leaves that: judged at last, or compared by a whole pass
//! without being let go again. Refuses to say why something cannot be judged: whoever lets it go does.
//! Invariant: whatever is counted as unsettled is named in the commit that counts it; the list is
//! bounded, and what it has no room for is named once more when it is let go again.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Step;
use crate::engine::pairing::Pairing;
use crate::model::{FaultCode, Happening, Moment, Unjudged, Unsettled, Why};

/// What is listed of a pairing; beyond, what was let go longest ago makes room.
const LISTED_MAX: usize = 10_000;

/// Both sides changed, or one of them did.
pub(super) const MOVING: &str = "it changed on one of the sides between looks, up to the last of them, so that nothing stood still \
     for long enough";
const LAGGING: &str = "it changed between looks while condemning paused, because the follower lagged beyond its budget";

/// What could not be judged and has not been since.
#[derive(Debug, Default)]
pub(super) struct Listed {
    by_subject: BTreeMap<Unjudged, Unsettled>,
    by_time: BTreeSet<(Moment, Unjudged)>,
}

/// What is let go, without what its pairing adds.
#[derive(Debug)]
pub(super) struct LetGo {
    pub(super) subject: Unjudged,
    pub(super) entities: u64,
    pub(super) first_seen: Moment,
    pub(super) looks: u32,
    pub(super) why: Why,
    pub(super) what: String,
    pub(super) fault: Option<FaultCode>,
}

impl Listed {
    pub(super) fn of(all: impl IntoIterator<Item = Unsettled>) -> Self {
        let mut listed = Self::default();
        all.into_iter().for_each(|one| listed.insert(one));
        listed
    }

    /// All of it.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Unsettled> {
        self.by_subject.values()
    }

    fn insert(&mut self, one: Unsettled) {
        self.remove(&one.subject);
        self.by_time.insert((one.at, one.subject.clone()));
        self.by_subject.insert(one.subject.clone(), one);
    }

    fn remove(&mut self, subject: &Unjudged) -> Option<Unsettled> {
        let one = self.by_subject.remove(subject)?;
        self.by_time.remove(&(one.at, subject.clone()));
        Some(one)
    }

    /// What was let go longest ago.
    fn oldest(&self) -> Option<(Moment, Unjudged)> {
        self.by_time.first().cloned()
    }

    /// It is suspect again: that it was let go before says nothing of it now.
    fn touch(&mut self, subject: &Unjudged, now: Moment) {
        if let Some(one) = self.remove(subject) {
            self.insert(Unsettled { at: now, ..one });
        }
    }
}

impl Pairing {
    /// Counts and names what could not be judged. The next pass looks at it again.
    pub(super) fn let_go(&mut self, step: &mut Step<'_>, one: LetGo) {
        let LetGo { subject, entities, first_seen, looks, why, what, fault } = one;
        let entity = match &subject {
            Unjudged::Key(key) => self.spec.entity(key).map(|entity| entity.name.clone()),
            Unjudged::Members(_) | Unjudged::Rule { .. } => self.spec.shared(&[], u64::MAX),
        };
        let before = self.unsettled.by_subject.get(&subject);
        let known = before.is_some_and(|before| before.why == why && before.fault == fault);
        let unsettled = Unsettled {
            pairing: self.spec.name.clone(),
            identity: self.spec.identity,
            subject,
            entities,
            entity,
            first_seen,
            at: step.now,
            looks,
            times: before.map_or(0, |before| before.times) + 1,
            why,
            what,
            fault,
        };
        self.status.unsettled += entities;
        self.status_changed = true;
        step.decision.commit.unsettled.push(unsettled.clone());
        self.unsettled.insert(unsettled.clone());
        // Whoever was told is not told again and again.
        if !known {
            step.happened(Happening::Unsettled(unsettled));
        }
        if self.unsettled.by_subject.len() > LISTED_MAX
            && let Some((_, subject)) = self.unsettled.oldest()
        {
            self.judged(step, &subject);
        }
    }

    /// It moved between looks; whether condemning paused meanwhile.
    pub(super) fn moving(&self, first_seen: Moment) -> (Why, String) {
        match self.lag.paused_since(first_seen) {
            true => (Why::Lagging, LAGGING.to_owned()),
            false => (Why::Moving, MOVING.to_owned()),
        }
    }

    /// It was judged.
    pub(super) fn judged(&mut self, step: &mut Step<'_>, subject: &Unjudged) {
        if self.unsettled.remove(subject).is_some() {
            let settled = (self.spec.name.clone(), subject.clone(), step.now);
            step.decision.commit.settled.push(settled);
        }
    }

    /// A whole pass that `began` then has compared everything: what was let go before and is not suspect
    /// now is the same, or was judged.
    pub(super) fn settle_old(&mut self, step: &mut Step<'_>, began: Moment) {
        while let Some((at, subject)) = self.unsettled.oldest()
            && at < began
        {
            let suspect = match &subject {
                Unjudged::Key(key) => self.suspects.contains_key(key),
                Unjudged::Members(partition) => {
                    self.crowds.iter().any(|crowding| crowding.partition() == *partition)
                }
                Unjudged::Rule { partition, .. } => {
                    self.doubts.iter().any(|doubt| doubt.partition() == *partition)
                }
            };
            match suspect {
                true => self.unsettled.touch(&subject, step.now),
                false => self.judged(step, &subject),
            }
        }
    }
}
