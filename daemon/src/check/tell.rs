//! From what differs to sightings.
//!
//! Owns making [`Sighting`]s: states of both sides, places, labels, violations. Refuses reading.
//! Invariant: every differing key, every rejected row and every violation becomes a sighting, is
//! counted in a crowd, or is unread.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use crate::check::places::cut;
use crate::check::plugin_fault;
use crate::check::window::{Tells, Window};
use crate::compare::{Comparison, EntitySet, Standpoint};
use crate::model::{
    Batch, Buffer, Column, ColumnBuilder, Digest, DriftKind, Fault, FaultCode, FieldDef, Key,
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

pub(super) const SIDES: [Side; 2] = [Side::Source, Side::Target];

/// A key's entries of both sides.
pub(super) type Entries = (Vec<usize>, Vec<usize>);

/// A violation, and the pair of entries that it is about.
pub(super) type Violated = ((usize, usize), Violation);

/// A differing key that a check tells.
struct Accused {
    entries: Entries,
    /// The row at its place on the side that lacks it, if the mapping rejects that.
    counterpart: Option<(Side, StoreKey)>,
    /// Whether the other direction counts it: it is named here for where else it lies.
    elsewhere: bool,
}

/// Who tells of a key that differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Teller {
    /// This check.
    This,
    /// The checks of the other direction.
    Other,
    /// They do, and only this check sees where else the key lies.
    OtherAndNamed,
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
                self.outcome.same -= 1;
            }
        }
        let differing = self.accused(differing);
        self.identify();
        let members = self.members(&differing, &violations);
        let all = self.outcome.crowd.as_ref().map_or(self.members.len(), Vec::len) + members.len();
        let (named, differing): (Vec<_>, Vec<_>) =
            differing.into_iter().partition(|accused| accused.elsewhere);
        let entries = |accused: Accused| accused.entries;
        let mut differing: Vec<Entries> = differing.into_iter().map(entries).collect();
        self.count.told += differing.len() as u64;
        let copies = differing.iter().filter(|entries| self.is_copy(entries)).count();
        self.outcome.again.differing += copies as u64;
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
        let told = differing.len();
        if !many && self.outcome.suspects.len() + told + named.len() <= self.crowd {
            differing.extend(named.into_iter().map(entries));
        }
        let mut sightings = self.sightings(&differing);
        for (sighting, entries) in sightings.iter_mut().zip(&differing) {
            if let (Some(sighting), Some(found)) = (sighting, violations.remove(&first(entries))) {
                sighting.violations = found;
            }
        }
        for (at, sighting) in sightings.into_iter().enumerate() {
            match (sighting, at < told) {
                (None, false) => {}
                (None, true) => {
                    self.count.told -= 1;
                    self.count.lost += 1;
                    self.outcome.again.differing -= u64::from(self.is_copy(&differing[at]));
                }
                (Some(sighting), counted) => {
                    self.outcome.named += u64::from(!counted);
                    self.outcome.suspects.push(sighting);
                }
            }
        }
        if many {
            self.outcome.named = 0;
        }
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
                code: FaultCode::TooMuch,
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
                self.count.lost += 1;
                continue;
            };
            let teller = self.teller(&entries, counterpart.is_some());
            if teller != Teller::This {
                self.outcome.told_elsewhere += 1;
            }
            if teller != Teller::Other {
                let elsewhere = teller == Teller::OtherAndNamed;
                accused.push(Accused { entries, counterpart, elsewhere });
            }
        }
        match self.tells {
            Tells::Everything => {}
            Tells::OfSource => self.rejected.of_mut(Side::Target).clear(),
            Tells::OfTarget => self.rejected.of_mut(Side::Source).clear(),
        }
        accused
    }

    /// Who tells of a key: each difference is counted by the checks of one direction. `meets_rejected`
    /// says whether a row that the mapping rejects lies where its counterpart would.
    fn teller(&self, entries: &Entries, meets_rejected: bool) -> Teller {
        let side = match self.tells {
            Tells::Everything => return Teller::This,
            Tells::OfSource => Side::Source,
            Tells::OfTarget => Side::Target,
        };
        let of = |side: Side| if side == Side::Source { &entries.0 } else { &entries.1 };
        let any = |side: Side, standpoint: Standpoint| {
            let set = self.sets.of(side);
            of(side).iter().any(|at| set.entries()[*at].standpoint == standpoint)
        };
        let (here, there) = (of(side), of(side.other()));
        // A row that is rejected, or that has no place, is told by the scan of its own side; of both
        // sides, by that of the source.
        if here.is_empty() || meets_rejected {
            return Teller::Other;
        }
        match (any(side, Standpoint::Unplaced), any(side.other(), Standpoint::Unplaced)) {
            (true, true) if side == Side::Target => return Teller::Other,
            (true, _) => return Teller::This,
            (false, true) => return Teller::Other,
            (false, false) => {}
        }
        if there.is_empty() {
            // A row at its own place that was read for a stray is met by the scan itself, too.
            let set = self.sets.of(side);
            let is_told =
                here.iter().any(|at| self.homes.of(side).contains(&set.entries()[*at].page));
            let is_follower = side == self.context.leads.follower();
            return if is_told && is_follower { Teller::OtherAndNamed } else { Teller::This };
        }
        // A copy that the leader has elsewhere is seen by its own scan alone.
        let leader = self.context.leads.leader();
        if any(leader, Standpoint::Misplaced) {
            return if side == leader { Teller::This } else { Teller::Other };
        }
        let follower = self.context.leads.follower();
        let (strays, home) =
            (any(follower, Standpoint::Misplaced), any(follower, Standpoint::Present));
        match (strays, home) {
            // A copy is seen by the follower's scan alone.
            (true, true) if side == follower => Teller::This,
            (true, true) => Teller::Other,
            // The leader's scan finds nothing at the entity's place; the follower's sees where it lies.
            (true, false) if side == follower => Teller::OtherAndNamed,
            (true, false) => Teller::This,
            (false, _) if side == Side::Source => Teller::This,
            (false, _) if here.len() > 1 => Teller::OtherAndNamed,
            (false, _) => Teller::Other,
        }
    }

    /// Whether a key differs because of a copy, while another check compares what lies at its own place.
    fn is_copy(&self, entries: &Entries) -> bool {
        let side = match self.tells {
            Tells::Everything => return false,
            Tells::OfSource => Side::Source,
            Tells::OfTarget => Side::Target,
        };
        let set = self.sets.of(side);
        let here = if side == Side::Source { &entries.0 } else { &entries.1 };
        let with = |standpoint: Standpoint| {
            let mut of = here.iter().map(|at| &set.entries()[*at]);
            of.find(|entry| entry.standpoint == standpoint)
        };
        match (with(Standpoint::Misplaced), with(Standpoint::Present)) {
            // The source's scan counts it: this one, but for what was read for a stray alone.
            (Some(_), Some(home)) => {
                side == Side::Target || self.homes.of(side).contains(&home.page)
            }
            _ => false,
        }
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
        for Accused { entries, counterpart, .. } in accused.iter().filter(|it| !it.elsewhere) {
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
        let leads_source = self.context.leads.leader() == Side::Source;
        let (leader, follower) =
            if leads_source { (&entries.0, &entries.1) } else { (&entries.1, &entries.0) };
        let with = |side: Side, standpoint: Standpoint| {
            let entries = if side == Side::Source { &entries.0 } else { &entries.1 };
            let set = self.sets.of(side);
            entries.iter().filter(|at| set.entries()[**at].standpoint == standpoint).count()
        };
        if SIDES.iter().any(|side| with(*side, Standpoint::Unplaced) > 0) {
            return DriftKind::Unmappable;
        }
        let led = self.context.leads.follower();
        let (home, strays) = (with(led, Standpoint::Present), with(led, Standpoint::Misplaced));
        match (leader.as_slice(), follower.as_slice()) {
            ([_], _) if home == 0 => DriftKind::Missing,
            ([], _) if home <= 1 => DriftKind::Unexpected,
            ([_], _) if strays > 0 => DriftKind::Duplicate,
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

    /// A sighting for each rejected row that no entity's key is known of.
    pub(super) fn tell_rejected(&mut self, many: bool) {
        for side in SIDES {
            let rejected = std::mem::take(self.rejected.of_mut(side));
            let room = if many {
                CROWD_SAMPLE.saturating_sub(self.outcome.suspects.len())
            } else {
                rejected.len()
            };
            self.count.rows += rejected.len() as u64;
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
                    self.unchecked(unchecked.count() as u64);
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
                    self.unchecked(alike.min(chunk.len()) as u64);
                    let scope = format!("invariants of {} pairs", chunk.len());
                    self.unread(scope, Some(chunk.len() as u64), fault);
                }
            }
        }
        self.span(SpanKind::Invariants, began, pairs.len() as u64);
        violations
    }

    /// So many pairs are alike, and could not be checked.
    fn unchecked(&mut self, pairs: u64) {
        self.outcome.same -= pairs;
        self.count.lost += pairs;
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
        let source = batch_of(source, entity, &source_entries, layout);
        let target = batch_of(target, entity, &target_entries, layout);
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
pub(super) fn batch_of(
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
