//! From what differs to sightings.
//!
//! Owns making [`Sighting`]s: states of both sides, places, labels, violations. Refuses reading.
//! Invariant: every differing key, every rejected row and every violation becomes a sighting, is
//! counted in a crowd, or is unread.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use crate::check::places::{cut, located};
use crate::check::plugin_fault;
use crate::check::window::{Tells, Window};
use crate::compare::{Comparison, EntitySet, Standpoint};
use crate::model::{
    Batch, Buffer, Column, ColumnBuilder, Cut, Digest, DriftKind, Facets, Fault, FieldDef, Key,
    Logical, Member, Scope, Side, Sighting, SpanKind, State, StoreKey, Unread, Violation,
};
use crate::plugin::{Checked, PairViolation, Pairs, PluginError};

/// Sightings that are kept of a crowd.
const CROWD_SAMPLE: usize = 64;
/// Members of a crowd for each row of a partition: a row may become many entities, and break many
/// invariants.
const MEMBERS_PER_ROW: usize = 32;
/// Pairs handed to the invariants at once.
pub(super) const PAIRS_MAX: usize = 1_024;

const SIDES: [Side; 2] = [Side::Source, Side::Target];

/// A key's entries of both sides.
pub(super) type Entries = (Vec<usize>, Vec<usize>);

/// A violation, and the pair of entries that it is about.
pub(super) type Violated = ((usize, usize), Violation);

/// A differing key that a check tells.
struct Accused {
    entries: Entries,
    /// The row at its place on the side that lacks it, if the mapping rejects that.
    counterpart: Option<(Side, StoreKey)>,
}

/// By position among differing keys: their rejected counterpart, if any; none if that is unknown.
type Counterparts = BTreeMap<usize, Option<Option<(Side, StoreKey)>>>;

impl Window<'_> {
    /// Turns what a comparison gave into sightings of the outcome.
    pub(super) fn tell(&mut self, comparison: Comparison) {
        let mut violations = self.violations(&comparison);
        let mut differing = comparison.differing;
        let known: BTreeSet<(usize, usize)> = differing.iter().map(first).collect();
        for (source, target) in violations.keys() {
            if !known.contains(&(*source, *target)) {
                // A pair that is alike but breaks a rule.
                let entry = |at: usize| if at == usize::MAX { vec![] } else { vec![at] };
                differing.push((entry(*source), entry(*target)));
                self.outcome.same = self.outcome.same.saturating_sub(1);
            }
        }
        let differing = self.accused(differing);
        self.identify();
        let members = self.members(&differing, &violations);
        let all = self.outcome.crowd.as_ref().map_or(self.members.len(), Vec::len) + members.len();
        let mut differing: Vec<Entries> =
            differing.into_iter().map(|accused| accused.entries).collect();
        let many = all > self.crowd || self.outcome.crowd.is_some();
        if many {
            self.crowd(members);
            self.outcome.suspects.truncate(CROWD_SAMPLE);
            let room = CROWD_SAMPLE - self.outcome.suspects.len();
            let rejected: usize = SIDES.iter().map(|side| self.rejected.of(*side).len()).sum();
            let room = room.saturating_sub(rejected.min(CROWD_SAMPLE / 4));
            differing = self.sample(differing, &violations, room);
        } else {
            self.members.extend(members);
        }
        let mut sightings = self.sightings(&differing);
        for (sighting, entries) in sightings.iter_mut().zip(&differing) {
            if let (Some(sighting), Some(found)) = (sighting, violations.remove(&first(entries))) {
                sighting.violations = found;
            }
        }
        self.outcome.suspects.extend(sightings.into_iter().flatten());
        self.tell_rejected(many);
    }

    /// Adds to the members of the partition's crowd, as far as there is room.
    fn crowd(&mut self, members: Vec<Member>) {
        let before = std::mem::take(&mut self.members);
        let crowd = self.outcome.crowd.get_or_insert_default();
        let most = MEMBERS_PER_ROW * self.context.partition_rows.get() as usize;
        let (room, all) = (most.saturating_sub(crowd.len()), before.len() + members.len());
        crowd.extend(before.into_iter().chain(members).take(room));
        if all > room {
            let rows = (all - room) as u64;
            let fault = Fault {
                side: None,
                what: format!(
                    "more than {most} differences in a partition of {} rows",
                    self.context.partition_rows
                ),
                remedy: "mend what the finding of this partition tells of; driftd counts the rest \
                         then"
                    .to_owned(),
                code: Fault::TOO_MUCH,
            };
            self.unread(format!("{rows} differences"), Some(rows), fault);
        }
    }

    /// The differing keys that this check tells, and of each whether its counterpart is a row that the
    /// mapping rejects. Rejected rows that are the other direction's are let go.
    fn accused(&mut self, differing: Vec<Entries>) -> Vec<Accused> {
        let counterparts = self.rejected_counterparts(&differing);
        let mut accused = Vec::with_capacity(differing.len());
        for (at, entries) in differing.into_iter().enumerate() {
            let Some(counterpart) = counterparts.get(&at).map_or(Some(None), Clone::clone) else {
                continue;
            };
            let (source, target) = (&entries.0, &entries.1);
            let mine = match self.tells {
                Tells::Everything => true,
                // A target's row that is rejected is told by its own scan.
                Tells::OfSource => !source.is_empty() && counterpart.is_none(),
                Tells::OfTarget => {
                    let set = self.sets.of(Side::Target);
                    let plain = matches!(target.as_slice(), [one] if
                        set.entries()[*one].standpoint == Standpoint::Present);
                    !target.is_empty() && counterpart.is_none() && (source.is_empty() || !plain)
                }
            };
            if mine {
                accused.push(Accused { entries, counterpart });
            } else {
                self.outcome.told_elsewhere += 1;
            }
        }
        match self.tells {
            Tells::Everything => {}
            Tells::OfSource => self.rejected.of_mut(Side::Target).clear(),
            Tells::OfTarget => self.rejected.of_mut(Side::Source).clear(),
        }
        accused
    }

    /// Of the keys that one side lacks: at which place of that side there is a row that the mapping
    /// rejects. Twice none: that could not be said, and is noted as unread.
    fn rejected_counterparts(&mut self, differing: &[Entries]) -> Counterparts {
        let mut found = Counterparts::new();
        if SIDES.iter().all(|side| self.rejected.of(*side).is_empty()) {
            return found;
        }
        let one_sided: Vec<usize> = (0..differing.len())
            .filter(|&at| differing[at].0.is_empty() != differing[at].1.is_empty())
            .collect();
        // A few at a time: nothing of them is kept but rejected rows.
        for some in one_sided.chunks(PAIRS_MAX) {
            let entries: Vec<Entries> = some.iter().map(|&at| differing[at].clone()).collect();
            let mut places: Vec<[BTreeSet<StoreKey>; 2]> = vec![<[_; 2]>::default(); entries.len()];
            let lost = self.locate(&entries, &mut places);
            for (row, at) in some.iter().copied().enumerate() {
                if lost.contains(&row) {
                    found.insert(at, None);
                    continue;
                }
                let side = if differing[at].0.is_empty() { Side::Source } else { Side::Target };
                let places = &places[row][usize::from(side == Side::Target)];
                if let Some((place, _)) = self.rejected_at(side, places) {
                    found.insert(at, Some(Some((side, place.clone()))));
                }
            }
        }
        found
    }

    /// Every accused key and rejected row, in short.
    fn members(
        &self,
        accused: &[Accused],
        violations: &BTreeMap<(usize, usize), Vec<Violation>>,
    ) -> Vec<Member> {
        // Any of them hashes alike.
        let canon = &self.context.canons[0];
        let mut members = Vec::with_capacity(accused.len());
        let mut named: BTreeSet<&(Side, StoreKey)> = BTreeSet::new();
        for Accused { entries, counterpart } in accused {
            let mut key: &[u8] = &[];
            let mut states = Vec::new();
            for (side, entries) in SIDES.into_iter().zip([&entries.0, &entries.1]) {
                let set = self.sets.of(side);
                states.push(u8::try_from(entries.len().min(2)).unwrap_or(2));
                for &at in entries {
                    key = set.key(at);
                    states.extend_from_slice(&set.entries()[at].digest.0.to_be_bytes());
                }
            }
            let broken = broken(violations.get(&first(entries)));
            let kind = match counterpart {
                Some(place) => {
                    named.insert(place);
                    DriftKind::Unmappable
                }
                None => self.kind(entries),
            };
            let key = Key(Box::from(key)).short();
            states.extend(broken.iter().flat_map(|invariant| invariant.to_be_bytes()));
            let states = half(canon.hash(&states));
            if kind != DriftKind::Violation {
                members.push(Member { key, states, kind, invariant: None });
            }
            let kind = DriftKind::Violation;
            let breaks = |invariant| Member { key, states, kind, invariant: Some(invariant) };
            members.extend(broken.into_iter().map(breaks));
        }
        for side in SIDES {
            for (at, reason) in self.rejected.of(side).iter() {
                if named.contains(&(side, at.clone())) {
                    continue;
                }
                members.push(Member {
                    key: self.rejected_key(side, at).short(),
                    states: half(canon.hash(reason.as_bytes())),
                    kind: DriftKind::Unmappable,
                    invariant: None,
                });
            }
        }
        members
    }

    /// At most `room` of `all`: as far as there is room some of each kind, and of those that break
    /// each invariant, however few these are.
    fn sample(
        &self,
        all: Vec<Entries>,
        violations: &BTreeMap<(usize, usize), Vec<Violation>>,
        room: usize,
    ) -> Vec<Entries> {
        let mut sorts: BTreeMap<(DriftKind, Vec<u16>), Vec<Entries>> = BTreeMap::new();
        for entries in all {
            let sort = (self.kind(&entries), broken(violations.get(&first(&entries))));
            sorts.entry(sort).or_default().push(entries);
        }
        let mut sorts: Vec<Vec<Entries>> = sorts.into_values().collect();
        sorts.sort_by_key(Vec::len);
        let mut chosen = Vec::new();
        let count = sorts.len();
        for (at, sort) in sorts.into_iter().enumerate() {
            let share = (room - chosen.len()) / (count - at);
            chosen.extend(spread(sort, share));
        }
        chosen
    }

    /// What kind of drift this would be.
    fn kind(&self, entries: &Entries) -> DriftKind {
        let misplaced = |(side, entries): (Side, &Vec<usize>)| {
            let set = self.sets.of(side);
            entries.iter().any(|&at| set.entries()[at].standpoint == Standpoint::Misplaced)
        };
        if misplaced((Side::Source, &entries.0)) || misplaced((Side::Target, &entries.1)) {
            return DriftKind::Duplicate;
        }
        let leads_source = self.context.leads.leader() == Side::Source;
        let (leader, follower) =
            if leads_source { (&entries.0, &entries.1) } else { (&entries.1, &entries.0) };
        match (leader.as_slice(), follower.as_slice()) {
            ([_], []) => DriftKind::Missing,
            ([], [_]) => DriftKind::Unexpected,
            ([one], [two]) => {
                let canon =
                    &self.context.canons[self.sets.of(Side::Source).entity_type(entries.0[0])];
                let version = |side, entry| {
                    let (batch, row) = self.place(side, entry);
                    canon.version(batch, row)
                };
                let leader = version(self.context.leads.leader(), *one);
                let follower = version(self.context.leads.follower(), *two);
                let digest = |side, entry: usize| self.sets.of(side).entries()[entry].digest;
                let digests =
                    digest(Side::Source, entries.0[0]) == digest(Side::Target, entries.1[0]);
                // A field with a tolerance is not part of the digest.
                let alike = || {
                    let here = self.place(Side::Source, entries.0[0]);
                    let there = self.place(Side::Target, entries.1[0]);
                    !canon.is_tolerant()
                        || canon.differing(here, there).is_ok_and(|(fields, _)| fields.is_empty())
                };
                if digests && alike() {
                    DriftKind::Violation
                } else if follower.is_some() && follower < leader {
                    DriftKind::Stale
                } else {
                    DriftKind::Mismatch
                }
            }
            _ => DriftKind::Duplicate,
        }
    }

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
        let cuts: Vec<Vec<Cut>> = places.iter().map(|places| self.cuts(places)).collect();
        let lost = self.locate(differing, &mut places);
        let sighted = differing.iter().zip(places).zip(cuts).enumerate();
        let sighted = sighted.map(|(at, ((entries, places), cuts))| {
            let seen = || Sighting { cuts, ..self.sighting(entries, places) };
            (!lost.contains(&at)).then(seen)
        });
        let sighted: Vec<Option<Sighting>> = sighted.collect();
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

    /// By what the rows at these places lie in ranges, as far as they were scanned by ranges.
    fn cuts(&self, places: &[BTreeSet<StoreKey>; 2]) -> Vec<Cut> {
        let of_side = |side: Side| {
            let places = &places[usize::from(side == Side::Target)];
            places.iter().filter_map(move |at| cut(self.context.side(side), at))
        };
        let cuts: BTreeSet<Cut> = self.cut.iter().flat_map(|side| of_side(*side)).collect();
        cuts.into_iter().collect()
    }

    /// Adds where the mapping would look for each entity on both sides. Returns those for which it
    /// failed.
    fn locate(
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
        let entities = gather(self.sets.of(from), entity, &entries, None);
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

    pub(super) fn sighting(&self, entries: &Entries, places: [BTreeSet<StoreKey>; 2]) -> Sighting {
        let (mut source, mut reason) = self.state(Side::Source, &entries.0, &places[0]);
        let (mut target, other_reason) = self.state(Side::Target, &entries.1, &places[1]);
        reason = reason.or(other_reason);
        let mut cosmetic = Vec::new();
        if let (State::Present(one), State::Present(two)) = (&mut source, &mut target) {
            let here = self.place(Side::Source, entries.0[0]);
            let there = self.place(Side::Target, entries.1[0]);
            let canon = &self.context.canons[self.sets.of(Side::Source).entity_type(entries.0[0])];
            if let Ok((fields, loose)) = canon.differing(here, there) {
                cosmetic = loose;
                // What is within its tolerance counts as the same from here on.
                for (at, digest) in two.fields.iter_mut().enumerate() {
                    if !fields.contains(&at) {
                        *digest = one.fields[at];
                    }
                }
            }
        }
        let (side, entry) = match (entries.0.first(), entries.1.first()) {
            (Some(&entry), _) => (Side::Source, Some(entry)),
            (None, entry) => (Side::Target, entry.copied()),
        };
        let labels: BTreeMap<String, String> = entry
            .map(|entry| {
                let canon = &self.context.canons[self.sets.of(side).entity_type(entry)];
                let (batch, row) = self.place(side, entry);
                canon.labels(batch, row).collect()
            })
            .unwrap_or_default();
        let [source_at, target_at] = places.map(|places| places.into_iter().collect());
        let key = entry.map(|entry| self.sets.of(side).key(entry)).unwrap_or_default();
        Sighting {
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
        }
    }

    fn place(&self, side: Side, entry: usize) -> (&Batch, usize) {
        let set = self.sets.of(side);
        let entry = &set.entries()[entry];
        (set.page(entry.page), entry.row)
    }

    /// What a side holds of a key, and why its row is rejected if it is.
    pub(super) fn state(
        &self,
        side: Side,
        entries: &[usize],
        places: &BTreeSet<StoreKey>,
    ) -> (State, Option<String>) {
        let set = self.sets.of(side);
        let there = |at: &usize| {
            matches!(set.entries()[*at].standpoint, Standpoint::Present | Standpoint::Misplaced)
        };
        let present: Vec<usize> = entries.iter().copied().filter(there).collect();
        match present.as_slice() {
            [] => {
                if let Some((at, reason)) = self.rejected_at(side, places) {
                    return (State::Unmappable(self.rejection(at, reason)), Some(reason.clone()));
                }
                let out_of_scope =
                    entries.iter().any(|&at| set.entries()[at].standpoint == Standpoint::Excluded);
                (if out_of_scope { State::Excluded } else { State::Absent }, None)
            }
            [one] if set.entries()[*one].standpoint == Standpoint::Present => {
                let (batch, row) = self.place(side, *one);
                let digest = set.entries()[*one].digest;
                let canon = &self.context.canons[set.entity_type(*one)];
                let facets = canon.facets(batch, row, digest).unwrap_or_else(|_fault| {
                    // What was digested once has canonical fields; keep the digest in any case.
                    Facets { entity: digest, fields: Vec::new(), version: None }
                });
                (State::Present(facets), None)
            }
            several => {
                let sum = several
                    .iter()
                    .fold(0u128, |sum, &at| sum.wrapping_add(set.entries()[at].digest.0));
                (State::Duplicate(Digest(sum)), None)
            }
        }
    }

    fn rejection(&self, at: &StoreKey, reason: &str) -> Digest {
        self.context.canons[0].hash(&[&at.0, reason.as_bytes()].concat())
    }

    /// A sighting for each rejected row that no entity's key is known of.
    pub(super) fn tell_rejected(&mut self, many: bool) {
        for side in SIDES {
            let rejected = std::mem::take(self.rejected.of_mut(side));
            let room = if many {
                CROWD_SAMPLE.saturating_sub(self.outcome.suspects.len())
            } else {
                rejected.len()
            };
            for (at, reason) in rejected.into_all().take(room) {
                self.outcome.suspects.push(self.rejected_row(side, at, Some(reason)));
            }
        }
    }

    /// The sighting of a row that no entity's key is known of; without a reason it is gone or can be
    /// mapped again.
    pub(super) fn rejected_row(
        &self,
        side: Side,
        at: StoreKey,
        reason: Option<String>,
    ) -> Sighting {
        let state = reason
            .as_ref()
            .map_or(State::Absent, |reason| State::Unmappable(self.rejection(&at, reason)));
        let key = self.rejected_key(side, &at);
        let scanned = self.cut.contains(&side);
        let cuts = scanned.then(|| cut(self.context.side(side), &at)).flatten();
        let (source, target) = match side {
            Side::Source => (state, State::Absent),
            Side::Target => (State::Absent, state),
        };
        let (source_at, target_at) = match side {
            Side::Source => (vec![at], Vec::new()),
            Side::Target => (Vec::new(), vec![at]),
        };
        Sighting {
            key,
            source,
            target,
            source_at,
            target_at,
            cuts: cuts.into_iter().collect(),
            violations: Vec::new(),
            labels: BTreeMap::new(),
            steady: true,
            cosmetic: Vec::new(),
            reason,
        }
    }

    /// Checks the invariants on every pair of which at least one side is there. Violations by the
    /// pair's first entries.
    fn violations(&mut self, comparison: &Comparison) -> BTreeMap<(usize, usize), Vec<Violation>> {
        let mut violations = BTreeMap::new();
        if !self.context.has_rules(Scope::Pair) {
            return violations;
        }
        let single = |(source, target): &&Entries| source.len() <= 1 && target.len() <= 1;
        let differing = comparison.differing.iter().filter(single).map(first);
        let pairs: Vec<(usize, usize)> =
            comparison.pairs.iter().copied().chain(differing).collect();
        let began = (self.context.clock)();
        for (number, chunk) in pairs.chunks(PAIRS_MAX).enumerate() {
            match self.check_pairs(chunk) {
                Ok(Told { violated, failed }) => {
                    for (pair, violation) in violated {
                        violations.entry(pair).or_insert_with(Vec::new).push(violation);
                    }
                    let Some(((source, target), error)) = failed.first() else { continue };
                    let fault = plugin_fault(None, error);
                    let from = number * PAIRS_MAX;
                    let alike: BTreeSet<_> =
                        comparison.pairs.iter().skip(from).take(PAIRS_MAX).collect();
                    let unchecked = failed.iter().filter(|(pair, _)| alike.contains(pair));
                    self.outcome.same -= unchecked.count() as u64;
                    let scope = format!("invariants of {} pairs", failed.len());
                    let key = match *source {
                        usize::MAX => self.sets.of(Side::Target).key(*target),
                        source => self.sets.of(Side::Source).key(source),
                    };
                    let (rows, key) = (Some(failed.len() as u64), Some(Key(key.into())));
                    self.outcome.unread.push(Unread { scope, rows, key, fault });
                }
                Err(error) => {
                    let fault = plugin_fault(None, &error);
                    // What is alike and not checked is unread, and not the same, too.
                    let alike = comparison.pairs.len().saturating_sub(number * PAIRS_MAX);
                    self.outcome.same -= alike.min(chunk.len()) as u64;
                    let scope = format!("invariants of {} pairs", chunk.len());
                    self.unread(scope, Some(chunk.len() as u64), fault);
                }
            }
        }
        self.span(SpanKind::Invariants, began, pairs.len() as u64);
        violations
    }

    /// Checks the invariants on these pairs of entries.
    pub(super) fn check_pairs(&mut self, pairs: &[(usize, usize)]) -> Result<Told, PluginError> {
        let mut found = Told::default();
        for (entity, pairs) in self.by_type(pairs) {
            for pairs in self.paired(entity, &pairs) {
                let Checked { violations, failed } = self.session.check_each(&pairs.borrow())?;
                let told = |told: PairViolation| (pairs.entries[told.pair], told.violation);
                found.violated.extend(violations.into_iter().map(told));
                found
                    .failed
                    .extend(failed.into_iter().map(|(at, error)| (pairs.entries[at], error)));
            }
        }
        Ok(found)
    }

    /// Pairs of entries by the type of their entities.
    pub(super) fn by_type(&self, pairs: &[(usize, usize)]) -> BTreeMap<usize, Vec<(usize, usize)>> {
        let mut types: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for &(source, target) in pairs {
            let entity = match source {
                usize::MAX => self.sets.of(Side::Target).entity_type(target),
                source => self.sets.of(Side::Source).entity_type(source),
            };
            types.entry(entity).or_default().push((source, target));
        }
        types
    }

    /// The entities of pairs of one type, in batches that a plugin can take.
    pub(super) fn paired(&self, entity: usize, pairs: &[(usize, usize)]) -> Vec<Paired> {
        let entry = |at: usize| (at != usize::MAX).then_some(at);
        let source_entries: Vec<_> = pairs.iter().map(|pair| entry(pair.0)).collect();
        let target_entries: Vec<_> = pairs.iter().map(|pair| entry(pair.1)).collect();
        let (source, target) = (self.sets.of(Side::Source), self.sets.of(Side::Target));
        let layout = source.layout(entity).or_else(|| target.layout(entity));
        let source = gather(source, entity, &source_entries, layout);
        let target = gather(target, entity, &target_entries, layout);
        let fields = &self.context.mapper.plan().entities[entity].fields;
        if pairs.len() > 1 && !(crosses(&source, fields) && crosses(&target, fields)) {
            let (some, others) = pairs.split_at(pairs.len() / 2);
            let mut parts = self.paired(entity, some);
            parts.extend(self.paired(entity, others));
            return parts;
        }
        vec![Paired {
            entity,
            entries: pairs.to_vec(),
            source,
            source_present: source_entries.iter().map(Option::is_some).collect(),
            target,
            target_present: target_entries.iter().map(Option::is_some).collect(),
        }]
    }
}

/// What checking pairs of entries gave.
#[derive(Default)]
pub(super) struct Told {
    pub(super) violated: Vec<Violated>,
    /// Pairs on which the plugin fails by themselves.
    pub(super) failed: Vec<((usize, usize), PluginError)>,
}

/// Entities of both sides, aligned, and the entries that they are.
pub(super) struct Paired {
    entity: usize,
    entries: Vec<(usize, usize)>,
    source: Batch,
    source_present: Vec<bool>,
    target: Batch,
    target_present: Vec<bool>,
}

impl Paired {
    pub(super) fn borrow(&self) -> Pairs<'_> {
        Pairs {
            entity: self.entity,
            source: &self.source,
            source_present: &self.source_present,
            target: &self.target,
            target_present: &self.target_present,
        }
    }
}

/// The first entries of both sides; `usize::MAX` stands for none.
pub(super) fn first(entries: &Entries) -> (usize, usize) {
    let first = |entries: &[usize]| entries.first().copied().unwrap_or(usize::MAX);
    (first(&entries.0), first(&entries.1))
}

/// The invariants that these break, each once.
fn broken(violations: Option<&Vec<Violation>>) -> Vec<u16> {
    let violations = violations.into_iter().flatten();
    let positions = violations.map(|found| u16::try_from(found.invariant).unwrap_or(u16::MAX));
    let broken: BTreeSet<u16> = positions.collect();
    broken.into_iter().collect()
}

/// The first 64 bits of a digest.
fn half(digest: Digest) -> u64 {
    u64::try_from(digest.0 >> 64).unwrap_or(u64::MAX)
}

/// At most `room` of `all`, evenly spread.
fn spread(all: Vec<Entries>, room: usize) -> Vec<Entries> {
    let step = all.len().div_ceil(room.max(1)).max(1);
    all.into_iter().step_by(step).take(room).collect()
}

/// Whether a batch of entities has the layouts that a plugin knows: one that holds negative integers
/// and others above 2^63 in one column has not, and is to be cut.
fn crosses(entities: &Batch, fields: &[FieldDef]) -> bool {
    let text = |column: &Column| matches!(column.values, Buffer::Bytes(_));
    let columns = entities.columns.iter().zip(fields);
    !columns.into_iter().any(|(column, field)| field.logical == Logical::Integer && text(column))
}

/// The entities of these entries, all of type `entity`, as one batch; a null in every column where
/// there is none. `layout` is the shape of a batch if the set itself has none.
fn gather(
    set: &EntitySet,
    entity: usize,
    entries: &[Option<usize>],
    layout: Option<&Batch>,
) -> Batch {
    let Some(shape) = set.layout(entity).or(layout) else { return Batch::default() };
    // Most often whole pages are wanted, row after row: those are copied in one piece.
    let places: Vec<_> = entries
        .iter()
        .map(|entry| entry.map(|entry| (set.entries()[entry].page, set.entries()[entry].row)))
        .collect();
    let runs: Vec<_> = places
        .chunk_by(|one, next| match (one, next) {
            (Some(one), Some(next)) => one.0 == next.0 && one.1 + 1 == next.1,
            (None, _) | (_, None) => false,
        })
        .collect();
    let column = |at: usize, shape: &Column| {
        let values = |place: &(usize, usize)| &set.page(place.0).columns[at].values;
        let layout = discriminant(&shape.values);
        if places.iter().flatten().any(|place| discriminant(values(place)) != layout) {
            // Integers alone have several layouts, and each page chose one for its own rows.
            let whole = |place: &Option<(usize, usize)>| {
                place.and_then(|(page, row)| set.page(page).columns[at].whole(row))
            };
            return Column::of_integers(&places.iter().map(whole).collect::<Vec<_>>());
        }
        let mut builder = ColumnBuilder::like(&shape.values, entries.len());
        for run in &runs {
            match run[0] {
                Some((page, row)) => {
                    builder.extend_from(&set.page(page).columns[at], row..row + run.len());
                }
                None => builder.push_null(),
            }
        }
        builder.finish()
    };
    let columns = shape.columns.iter().enumerate().map(|(at, shape)| column(at, shape));
    Batch { rows: entries.len(), columns: columns.collect() }
}
