//! What both sides hold of a key.
//!
//! Owns making the states, places and facets of a [`Sighting`]. Refuses reading, and to say which
//! direction tells it. Invariant: what cannot be told of a key makes no sighting: it is unread.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::cover::Covered;
use crate::check::places::{cut, located};
use crate::check::plugin_fault;
use crate::check::tell::{Entries, SIDES, batch_of};
use crate::check::window::Window;
use crate::compare::{CellError, Standpoint};
use crate::model::{Batch, Cut, Digest, Fault, FaultCode, Key, Side, Sighting, State, StoreKey};

/// What a side holds of a key, and why its row is rejected if it is.
type Held = (State, Option<String>);

impl Window<'_> {
    /// A sighting for each; none where it could not be made, which is noted as unread.
    pub(super) fn sightings(&mut self, differing: &[Entries]) -> Vec<Option<Sighting>> {
        let mut places: Vec<[BTreeSet<StoreKey>; 2]> = vec![<[_; 2]>::default(); differing.len()];
        for (places, entries) in places.iter_mut().zip(differing) {
            for (at, side) in SIDES.into_iter().enumerate() {
                let set = self.sets.of(side);
                let entries = if side == Side::Source { &entries.0 } else { &entries.1 };
                places[at].extend(entries.iter().map(|&entry| {
                    let entry = &set.entries()[entry];
                    self.at(side, entry.page, entry.row)
                }));
            }
        }
        // Before places are added where nothing was scanned.
        let cuts: Vec<Vec<Cut>> = differing.iter().map(|entries| self.cuts(entries)).collect();
        let lost = self.locate(differing, &mut places);
        let mut sighted = Vec::with_capacity(differing.len());
        for (at, ((entries, places), cuts)) in differing.iter().zip(places).zip(cuts).enumerate() {
            let seen = match lost.contains(&at) {
                true => None,
                false => match self.sighting(entries, places) {
                    Ok(seen) => Some(Sighting { cuts, ..seen }),
                    Err(fault) => {
                        self.unread("1 differing key".to_owned(), Some(1), fault);
                        None
                    }
                },
            };
            sighted.push(seen);
        }
        for sighting in sighted.iter().flatten() {
            for (side, places) in SIDES.into_iter().zip([&sighting.source_at, &sighting.target_at])
            {
                if matches!(sighting.state(side), State::Unmappable(_)) {
                    places.iter().for_each(|place| self.rejected.of_mut(side).remove(place));
                }
            }
        }
        sighted
    }

    /// By what the rows of these entries lie in ranges, as far as they were scanned by ranges.
    fn cuts(&self, entries: &Entries) -> Vec<Cut> {
        let of_side = |side: Side| {
            let set = self.sets.of(side);
            let entries = if side == Side::Source { &entries.0 } else { &entries.1 };
            let entries = entries.iter().map(|at| &set.entries()[*at]);
            let scanned = entries.filter(move |entry| !self.homes.of(side).contains(&entry.page));
            scanned.filter_map(move |entry| {
                cut(self.context.side(side), &self.at(side, entry.page, entry.row))
            })
        };
        let cuts: BTreeSet<Cut> = self.cut.iter().flat_map(|side| of_side(*side)).collect();
        cuts.into_iter().collect()
    }

    /// Adds where the mapping would look for each entity on both sides. Returns those for which it
    /// failed.
    pub(super) fn locate(
        &mut self,
        differing: &[Entries],
        places: &mut [[BTreeSet<StoreKey>; 2]],
    ) -> BTreeSet<usize> {
        let mut lost = BTreeSet::new();
        for from in SIDES {
            // Each key is represented by an entity of the source if there is one.
            let represented =
                differing.iter().enumerate().filter_map(|(at, (source, target))| match from {
                    Side::Source => source.first().map(|&entry| (at, entry)),
                    Side::Target if source.is_empty() => target.first().map(|&entry| (at, entry)),
                    Side::Target => None,
                });
            let mut types: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
            for (at, entry) in represented {
                let entity = self.sets.of(from).entity_type(entry);
                types.entry(entity).or_default().push((at, entry));
            }
            for (entity, represented) in types {
                lost.extend(self.locate_type((from, entity), &represented, places));
            }
        }
        lost
    }

    /// Adds where the mapping would look for entities of one type: positions in `places`, and entries
    /// of side `from`. Returns those for which it failed.
    fn locate_type(
        &mut self,
        (from, entity): (Side, usize),
        represented: &[(usize, usize)],
        places: &mut [[BTreeSet<StoreKey>; 2]],
    ) -> BTreeSet<usize> {
        let mut lost = BTreeSet::new();
        let entries: Vec<Option<usize>> =
            represented.iter().map(|&(_, entry)| Some(entry)).collect();
        let entities = batch_of(self.sets.of(from), entity, &entries, None);
        for (index, side) in SIDES.into_iter().enumerate() {
            if !self.context.side(side).locatable || entries.is_empty() {
                continue;
            }
            match self.session.locate(side, entity, &entities) {
                Ok(parts) => {
                    for (entity, at) in located(self.context.side(side), &parts) {
                        places[represented[entity].0][index].insert(at);
                    }
                }
                Err(error) => {
                    let fault = plugin_fault(Some(side), &error);
                    let count = represented.len();
                    self.unread(format!("{count} differing keys"), Some(count as u64), fault);
                    lost.extend(represented.iter().map(|(at, _)| *at));
                }
            }
        }
        lost
    }

    /// What both sides hold of a key. `places` are those where it may lie: the source's and the target's.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(super) fn sighting(
        &self,
        entries: &Entries,
        places: [BTreeSet<StoreKey>; 2],
    ) -> Result<Sighting, Fault> {
        let leader = self.context.leads.leader();
        let of = |side: Side| match side {
            Side::Source => (entries.0.as_slice(), &places[0]),
            Side::Target => (entries.1.as_slice(), &places[1]),
        };
        let leading = self.state(leader, of(leader), false)?;
        let is_led = is_there(&leading.0);
        let following = self.state(leader.other(), of(leader.other()), is_led)?;
        let follows = is_there(&following.0);
        let ((mut source, why), (mut target, or_why)) = match leader {
            Side::Source => (leading, following),
            Side::Target => (following, leading),
        };
        let reason = why.or(or_why);
        let mut cosmetic = Vec::new();
        if let (State::Present(one), State::Present(two)) = (&mut source, &mut target) {
            let (source, target) =
                (self.told_of(Side::Source, &entries.0), self.told_of(Side::Target, &entries.1));
            let canon = &self.context.canons[self.sets.of(Side::Source).entity_type(source)];
            let (here, there) =
                (self.place(Side::Source, source), self.place(Side::Target, target));
            let differing = canon.differing(here, there);
            let (fields, loose) = differing.map_err(|error| unsightable(None, &error))?;
            cosmetic = loose;
            // What is within its tolerance counts as the same from here on.
            for (at, digest) in two.fields.iter_mut().enumerate() {
                if !fields.contains(&at) {
                    *digest = one.fields[at];
                }
            }
        }
        let (side, entry) = match (entries.0.first(), entries.1.first()) {
            (Some(&entry), _) => (Side::Source, Some(entry)),
            (None, entry) => (Side::Target, entry.copied()),
        };
        // A key of which neither side holds an entity any more has no labels.
        let labels: BTreeMap<String, String> = entry
            .map(|entry| {
                let canon = &self.context.canons[self.sets.of(side).entity_type(entry)];
                let (batch, row) = self.place(side, entry);
                canon.labels(batch, row).collect()
            })
            .unwrap_or_default();
        let key = entry.map(|entry| self.sets.of(side).key(entry)).unwrap_or_default();
        let [mut source_at, mut target_at] =
            places.clone().map(|places| places.into_iter().collect::<Vec<_>>());
        if (is_led || follows) && self.context.side(leader.other()).locatable {
            // Where the follower would keep it is found anew each time: what is named is there.
            let (side, at) = match leader {
                Side::Source => (Side::Target, &mut target_at),
                Side::Target => (Side::Source, &mut source_at),
            };
            self.keep_places(side, of(side).0, at);
        }
        Ok(Sighting {
            key: Key(Box::from(key)),
            source,
            target,
            source_at,
            target_at,
            cuts: Vec::new(),
            violations: Vec::new(),
            labels,
            steady: true,
            cosmetic,
            reason,
        })
    }

    /// Keeps only places of a side at which something of the key lies.
    fn keep_places(&self, side: Side, entries: &[usize], places: &mut Vec<StoreKey>) {
        let set = self.sets.of(side);
        let mut there = Covered::default();
        for entry in entries.iter().map(|at| &set.entries()[*at]) {
            there.add_with(self.at(side, entry.page, entry.row), || ());
        }
        places
            .retain(|place| there.at(place).is_some() || self.rejected_at(side, [place]).is_some());
    }

    pub(super) fn place(&self, side: Side, entry: usize) -> (&Batch, usize) {
        let set = self.sets.of(side);
        let entry = &set.entries()[entry];
        (set.page(entry.page), entry.row)
    }

    /// The entry that a present state tells of: one at its own place, if there is one.
    fn told_of(&self, side: Side, entries: &[usize]) -> usize {
        let standpoint = |at: &usize| &self.sets.of(side).entries()[*at].standpoint;
        let mut there = entries.iter().filter(|at| standpoint(at).is_there());
        let first = there.clone().next();
        let home = there.find(|at| *standpoint(at) == Standpoint::Present);
        *home.or(first).expect("a present state is of an entry")
    }

    /// What a side holds of a key, given its entries there and the places where it may lie. `is_led`
    /// says whether this is the follower of a leader that holds it: what lies at other places only is
    /// found by no reader then.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub(super) fn state(
        &self,
        side: Side,
        (entries, places): (&[usize], &BTreeSet<StoreKey>),
        is_led: bool,
    ) -> Result<Held, Fault> {
        let set = self.sets.of(side);
        let with = |standpoint: Standpoint| -> Vec<usize> {
            let is = |at: &usize| set.entries()[*at].standpoint == standpoint;
            entries.iter().copied().filter(is).collect()
        };
        if let Some(&at) = with(Standpoint::Unplaced).first() {
            let entry = &set.entries()[at];
            let reason = self.unplaced.of(side).get(&(entry.page, entry.row));
            let reason = reason.expect("an entity without a place has a reason").clone();
            let at = self.at(side, entry.page, entry.row);
            return Ok((State::Unmappable(self.rejection(&at, &reason)), Some(reason)));
        }
        let (home, strays) = (with(Standpoint::Present), with(Standpoint::Misplaced));
        let present = |at: usize| -> Result<Held, Fault> {
            let (batch, row) = self.place(side, at);
            let canon = &self.context.canons[set.entity_type(at)];
            let facets = canon.facets(batch, row, set.entries()[at].digest);
            let facets = facets.map_err(|error| unsightable(Some(side), &error))?;
            Ok((State::Present(facets), None))
        };
        let duplicate = || {
            let all = home.iter().chain(&strays);
            let sum = all.fold(0u128, |sum, &at| sum.wrapping_add(set.entries()[at].digest.0));
            Ok((State::Duplicate(Digest(sum)), None))
        };
        match (home.as_slice(), strays.as_slice()) {
            ([one], []) => present(*one),
            ([one], [_, ..]) if !is_led && side == self.context.leads.follower() => present(*one),
            ([_, ..], _) => duplicate(),
            ([], strays) => {
                if let Some((at, reason)) = self.rejected_at(side, places) {
                    return Ok((
                        State::Unmappable(self.rejection(at, reason)),
                        Some(reason.clone()),
                    ));
                }
                match strays {
                    [one, ..] if !is_led => present(*one),
                    [_, ..] => Ok((State::Absent, None)),
                    [] if with(Standpoint::Excluded).is_empty() => Ok((State::Absent, None)),
                    [] => Ok((State::Excluded, None)),
                }
            }
        }
    }

    pub(super) fn rejection(&self, at: &StoreKey, reason: &str) -> Digest {
        self.context.canons[0].hash(&[&at.0, reason.as_bytes()].concat())
    }
}

/// Whether a side holds something of a key that is in scope.
const fn is_there(state: &State) -> bool {
    match state {
        State::Present(_) | State::Duplicate(_) | State::Unmappable(_) => true,
        State::Absent | State::Excluded => false,
    }
}

/// What is said of an entity whose compared fields turned out to have no canonical form.
fn unsightable(side: Option<Side>, error: &CellError) -> Fault {
    Fault {
        side,
        what: format!("an entity has a field that cannot be compared: {error}"),
        remedy: "have the mapping give a value of the field's type, or reject the row".to_owned(),
        code: FaultCode::PluginOutput,
    }
}
