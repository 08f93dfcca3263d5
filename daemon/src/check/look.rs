//! One more look at some keys.
//!
//! Owns [`look`]: leader, follower, and where they agree the leader again. Refuses to judge.
//! Invariant: each asked key is sighted or unread, never both and never neither; and what is said not
//! to be there was looked for wherever it may be.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::cover::{Cover, Covered};
use crate::check::gather::{Heard, gather};
use crate::check::met::Met;
use crate::check::places::{Wanted, located};
use crate::check::portion::Portion;
use crate::check::tell::{Entries, first};
use crate::check::window::{self, Sides, Window, too_many_places};
use crate::check::{Context, SideContext, plugin_fault};
use crate::model::{
    Asked, Fault, FaultCode, Key, Look, Moment, Scope, Side, Sighting, SpanKind, State, StoreKey,
};
use crate::store::Consistency;

/// Places of a key on a side beyond which those are forgotten at which nothing is.
const PLACES_MAX: usize = 64;

/// Parts of a look that is too much at once; each begins anew with what a plugin may spend.
const PARTS_MAX: usize = 64;

/// Looks at `asked` again: strongly consistent reads where the store has them.
pub async fn look(context: &Context, asked: &[Asked], as_of: Moment) -> Look {
    let mut look = Look::default();
    let mut left = vec![asked];
    let mut parts = 0;
    while let Some(asked) = left.pop() {
        let (part, too_much) = look_at(context, asked, as_of).await;
        parts += 1;
        let is_spent = part.unread.iter().any(|(_, fault)| fault.code == FaultCode::PluginTime);
        let is_over = parts >= PARTS_MAX || is_spent;
        look.source_cost.add(part.source_cost);
        look.target_cost.add(part.target_cost);
        if look.spans.is_empty() {
            look.spans = part.spans;
        }
        if too_much && asked.len() > 1 && !is_over {
            // They are not too many one by one.
            let (some, others) = asked.split_at(asked.len() / 2);
            left.extend([others, some]);
            continue;
        }
        look.sightings.extend(part.sightings);
        look.unread.extend(part.unread);
    }
    look
}

/// As [`look`], at once. Says whether that was too much for some of it to be read.
async fn look_at(context: &Context, asked: &[Asked], as_of: Moment) -> (Look, bool) {
    let mut look = Look::default();
    let mut window = match Window::begin(context, as_of) {
        Ok(window) => window,
        Err(error) => {
            let fault = plugin_fault(None, &error);
            look.unread = asked.iter().map(|asked| (asked.key.clone(), fault.clone())).collect();
            return (look, false);
        }
    };
    window.suspect(asked.len());
    let mut places = Places::new(asked);
    let mut faults = Sides::<Covered<Fault>>::default();
    let leads = context.leads;
    read(&mut window, leads.leader(), &mut places, &mut faults).await;
    locate(&mut window, leads.leader(), asked, &mut places, &mut faults);
    read(&mut window, leads.follower(), &mut places, &mut faults).await;
    locate(&mut window, leads.follower(), asked, &mut places, &mut faults);
    // The follower may hold an entity whose leader's place was not known before.
    read(&mut window, leads.leader(), &mut places, &mut faults).await;
    displace(&mut window, &mut places, &mut faults);
    window.lose_unnamed();
    faults.of_mut(leads.leader()).extend(std::mem::take(window.lost.of_mut(leads.leader())));
    let mut looked = sighted(&mut window, asked, &places, &faults);
    steady(context, as_of, &mut looked).await;
    look.spans = std::mem::take(&mut window.outcome.spans);
    look.source_cost = window.outcome.source.cost;
    look.target_cost = window.outcome.target.cost;
    for (asked, found) in asked.iter().zip(looked) {
        match found {
            Ok(sighting) => look.sightings.push(sighting),
            Err(fault) => look.unread.push((asked.key.clone(), fault)),
        }
    }
    (look, places.too_much)
}

/// Where each asked key is looked for, and what of it was read already.
struct Places {
    at: Vec<Sides<BTreeSet<StoreKey>>>,
    /// Those of them where the mapping locates it now.
    fresh: Vec<Sides<BTreeSet<StoreKey>>>,
    read: Sides<BTreeSet<StoreKey>>,
    /// Asked keys of which it cannot be said where they lie, and why.
    lost: BTreeMap<usize, Fault>,
    /// Rows that are held.
    met: Sides<Met>,
    /// Whether something was not read because there was too much.
    too_much: bool,
}

impl Places {
    fn new(asked: &[Asked]) -> Self {
        let at = asked.iter().map(|asked| {
            let mut sides = Sides::<BTreeSet<StoreKey>>::default();
            sides.of_mut(Side::Source).extend(asked.source_at.iter().cloned());
            sides.of_mut(Side::Target).extend(asked.target_at.iter().cloned());
            sides
        });
        let fresh = asked.iter().map(|_| Sides::default());
        Self {
            at: at.collect(),
            fresh: fresh.collect(),
            read: Sides::default(),
            lost: BTreeMap::new(),
            met: Sides::default(),
            too_much: false,
        }
    }

    /// What is to be read of `side` and was not yet; counts as read from now on.
    fn due(&mut self, side: Side) -> Vec<StoreKey> {
        let wanted: BTreeSet<StoreKey> =
            self.at.iter().flat_map(|places| places.of(side)).cloned().collect();
        let due: Vec<StoreKey> = wanted.difference(self.read.of(side)).cloned().collect();
        self.read.of_mut(side).extend(due.iter().cloned());
        due
    }
}

/// Fetches and maps what is due of a side. What cannot be read is noted in `faults`.
async fn read(
    window: &mut Window<'_>,
    side: Side,
    places: &mut Places,
    faults: &mut Sides<Covered<Fault>>,
) {
    let due = places.due(side);
    if due.is_empty() {
        return;
    }
    let context = window.context;
    let here = context.side(side);
    let began = (context.clock)();
    let (wanted, foreign) = Wanted::of_places(here, &due);
    let fault = foreign_key(side, here);
    faults.of_mut(side).extend(foreign.iter().map(|&at| (due[at].clone(), fault.clone())));
    let met = places.met.of_mut(side);
    let known = (met, Heard::default());
    let gathered =
        gather((side, here), wanted, None, (Consistency::Strong, context.share), known).await;
    window.add_cost(side, gathered.cost);
    places.too_much |= gathered.too_much.is_some();
    for (whose, fault) in gathered.unread {
        faults.of_mut(side).extend(whose.iter().map(|&at| (due[at].clone(), fault.clone())));
    }
    let mut portions = gathered.portions.into_iter();
    while let Some(portion) = portions.next() {
        let lies = groups_of(here, &portion);
        if let Err(error) = window.absorb(side, portion) {
            let fault = plugin_fault(Some(side), &error);
            let asked: Cover = due.iter().collect();
            let lost: Vec<StoreKey> = if lies.iter().all(|at| asked.holds(at)) {
                let mut here = Covered::default();
                here.extend(lies.iter().cloned().map(|at| (at, ())));
                due.iter().filter(|place| here.at(place).is_some()).cloned().collect()
            } else {
                // The store writes a key otherwise than it was asked for, so which it is is unknown.
                due.clone()
            };
            // They count as held, and may be asked for at another place.
            let lost = lost.into_iter().chain(lies);
            faults.of_mut(side).extend(lost.map(|at| (at, fault.clone())));
        }
        if let Some(fault) = window.too_much(side) {
            places.too_much = true;
            let left = portions.flat_map(|portion| groups_of(here, &portion)).collect::<Vec<_>>();
            let lost = due.iter().cloned().chain(left);
            faults.of_mut(side).extend(lost.map(|at| (at, fault.clone())));
            break;
        }
    }
    faults.of_mut(side).extend(std::mem::take(window.lost.of_mut(side)));
    window.span(SpanKind::Read(side), began, due.len() as u64);
}

/// Where the groups of a portion lie.
fn groups_of(here: &SideContext, portion: &Portion) -> Vec<StoreKey> {
    (0..portion.lies.groups()).map(|group| portion.lies.at(here, group)).collect()
}

/// Adds to the places of the other side where the entities of `side` are kept there by now. Of those
/// that could lie nowhere there it is noted, as checks do.
fn locate(
    window: &mut Window<'_>,
    side: Side,
    asked: &[Asked],
    places: &mut Places,
    faults: &mut Sides<Covered<Fault>>,
) {
    let other = side.other();
    if !window.context.side(other).locatable {
        return;
    }
    let by_key: BTreeMap<&[u8], usize> =
        asked.iter().enumerate().map(|(at, asked)| (&*asked.key.0, at)).collect();
    let mut count = 0;
    for page in 0..window.sets.of(side).page_count() {
        let set = window.sets.of(side);
        let present: BTreeSet<usize> = set.present_rows(page).collect();
        // Of what came along with others only what is asked for matters.
        let (rows, positions): (Vec<usize>, Vec<Option<usize>>) = set
            .page_entries(page)
            .map(|at| (set.entries()[at].row, by_key.get(set.key(at)).copied()))
            .filter(|(row, position)| position.is_some() || present.contains(row))
            .unzip();
        let entity = set.page_type(page);
        let mut lost = present;
        for (rows, positions) in
            rows.chunks(window::ENTITIES_MAX).zip(positions.chunks(window::ENTITIES_MAX))
        {
            let entities = window.sets.of(side).page(page).take(rows);
            let fault = match window.session.locate_each(other, entity, &entities) {
                Ok(placed) => {
                    for (entity, error) in placed.failed {
                        lost.remove(&rows[entity]);
                        if let Some(position) = positions[entity] {
                            places.lost.insert(position, plugin_fault(Some(other), &error));
                        }
                    }
                    let located = located(window.context.side(other), &placed.located);
                    count += located.len();
                    for (entity, at) in located {
                        lost.remove(&rows[entity]);
                        if let Some(position) = positions[entity] {
                            places.fresh[position].of_mut(other).insert(at.clone());
                            places.at[position].of_mut(other).insert(at);
                        }
                    }
                    if count <= window::PLACES_MAX {
                        continue;
                    }
                    places.too_much = true;
                    too_many_places(other, window.context.side(other))
                }
                Err(error) => plugin_fault(Some(other), &error),
            };
            rows.iter().for_each(|row| _ = lost.remove(row));
            let unread = rows.iter().map(|row| window.at(side, page, *row));
            let unread: Vec<_> = unread.map(|at| (at, fault.clone())).collect();
            faults.of_mut(side).extend(unread);
        }
        let lost: Vec<usize> = lost.into_iter().collect();
        window.unplace((side, other), page, &lost);
    }
}

/// Finds rows of the follower that lie where nobody would look for them. If that cannot be told, the
/// follower is unread.
fn displace(window: &mut Window<'_>, places: &mut Places, faults: &mut Sides<Covered<Fault>>) {
    let leads = window.context.leads;
    let pages = |side| (0..window.sets.of(side).page_count()).collect::<Vec<usize>>();
    let (follower, leader) = (pages(leads.follower()), pages(leads.leader()));
    if let Err(fault) = window.displace(&follower, &leader) {
        places.too_much |= fault.code == FaultCode::TooMuch;
        let read = places.read.of(leads.follower()).iter().cloned();
        faults.of_mut(leads.follower()).extend(read.map(|at| (at, fault.clone())));
    }
}

/// What was seen of each asked key.
fn sighted(
    window: &mut Window<'_>,
    asked: &[Asked],
    places: &Places,
    faults: &Sides<Covered<Fault>>,
) -> Vec<Result<Sighting, Fault>> {
    let entries = entries(window, asked.iter().map(|asked| &asked.key));
    let fault_of = |at: usize| {
        if let Some(fault) = places.lost.get(&at) {
            return Some(fault.clone());
        }
        [Side::Source, Side::Target].into_iter().find_map(|side| {
            places.at[at]
                .of(side)
                .iter()
                .find_map(|place| faults.of(side).at(place))
                .map(|(_, fault)| fault.clone())
        })
    };
    let sound: Vec<usize> = (0..asked.len()).filter(|&at| fault_of(at).is_none()).collect();
    let mut broken = violated(window, &entries, &sound);
    let mut looked = Vec::with_capacity(asked.len());
    for (at, asked) in asked.iter().enumerate() {
        let found = match (fault_of(at), broken.remove(&at)) {
            (Some(fault), _) | (None, Some(Err(fault))) => Err(fault),
            (None, violations) => {
                let seen = sighting(window, asked, &entries[at], &places.at[at]);
                seen.and_then(|mut sighting| {
                    if let Some(Ok(violations)) = violations {
                        sighting.violations = violations;
                    }
                    forget(window, (&entries[at], &places.fresh[at]), &mut sighting);
                    match gone(window.context, &sighting) {
                        Some(fault) => Err(fault),
                        None => Ok(sighting),
                    }
                })
            }
        };
        looked.push(found);
    }
    looked
}

/// Forgets places of a key at which nothing is and where the mapping does not locate it now, where there
/// are many: one that locates it elsewhere each time would have it looked for at ever more.
fn forget(
    window: &Window<'_>,
    (entries, fresh): (&Entries, &Sides<BTreeSet<StoreKey>>),
    seen: &mut Sighting,
) {
    for (side, entries) in [(Side::Source, &entries.0), (Side::Target, &entries.1)] {
        let places = match side {
            Side::Source => &mut seen.source_at,
            Side::Target => &mut seen.target_at,
        };
        if places.len() <= PLACES_MAX {
            continue;
        }
        let set = window.sets.of(side);
        let mut there = Covered::default();
        for entry in entries.iter().map(|at| &set.entries()[*at]) {
            there.add_with(window.at(side, entry.page, entry.row), || ());
        }
        places.retain(|place| {
            fresh.of(side).contains(place)
                || there.at(place).is_some()
                || window.rejected_at(side, [place]).is_some()
        });
    }
}

/// Why nothing can be said of a key that one side holds, if the other cannot be searched for it and
/// no longer holds it where it was: it may have got another place there.
fn gone(context: &Context, seen: &Sighting) -> Option<Fault> {
    let lacks = |side: &Side| {
        let there = matches!(seen.state(side.other()), State::Present(_));
        there && *seen.state(*side) == State::Absent && !context.side(*side).locatable
    };
    let side = [Side::Source, Side::Target].into_iter().find(lacks)?;
    let here = context.side(side);
    Some(Fault {
        side: Some(side),
        what: format!(
            "store `{}`, relation `{}`: a key is no longer where it was, and without `{side}.key` \
             it cannot be searched for",
            here.store.name(),
            here.relation_names()
        ),
        remedy: format!("the next pass tells; give `{side}.key` if the mapping allows it"),
        code: FaultCode::PlaceGone,
    })
}

/// What is said of a place that is no key of the relation.
fn foreign_key(side: Side, here: &SideContext) -> Fault {
    let relation = here.relation_names();
    Fault {
        side: Some(side),
        what: format!("relation `{relation}`: a place that was noted is no key of it any more"),
        remedy: "its primary key has changed: begin with a new journal".to_owned(),
        code: FaultCode::PlaceUnknown,
    }
}

type Violated = BTreeMap<usize, Result<Vec<crate::model::Violation>, Fault>>;

/// The invariants that the asked pairs fail, or why they could not be checked.
fn violated(window: &mut Window<'_>, entries: &[Entries], sound: &[usize]) -> Violated {
    let mut violated = Violated::new();
    let single = |at: &&usize| {
        let (source, target) = &entries[**at];
        source.len() <= 1 && target.len() <= 1 && source.len() + target.len() > 0
    };
    let positions: Vec<usize> = sound.iter().filter(single).copied().collect();
    if !window.context.has_rules(Scope::Pair) || positions.is_empty() {
        return violated;
    }
    let pairs: Vec<(usize, usize)> = positions.iter().map(|&at| first(&entries[at])).collect();
    match window.check_pairs(&pairs) {
        Ok(found) => {
            let asked: BTreeMap<_, usize> = pairs.iter().copied().zip(positions.clone()).collect();
            // Only pairs that were asked of are told of.
            let position = |pair: (usize, usize)| asked[&pair];
            for (pair, error) in found.failed {
                violated.insert(position(pair), Err(plugin_fault(None, &error)));
            }
            for (pair, violation) in found.violated {
                if let Ok(list) = violated.entry(position(pair)).or_insert_with(|| Ok(Vec::new())) {
                    list.push(violation);
                }
            }
        }
        Err(error) => {
            let fault = plugin_fault(None, &error);
            violated.extend(positions.iter().map(|&at| (at, Err(fault.clone()))));
        }
    }
    violated
}

/// The entries of each of `keys` on both sides.
fn entries<'k>(window: &Window<'_>, keys: impl Iterator<Item = &'k Key>) -> Vec<Entries> {
    let of = |side| {
        let set = window.sets.of(side);
        let mut by_key: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for at in 0..set.entries().len() {
            by_key.entry(set.key(at)).or_default().push(at);
        }
        by_key
    };
    let (source, target) = (of(Side::Source), of(Side::Target));
    // What could not be read or mapped is among the faults, so what is not here is not there.
    let found = |of: &BTreeMap<&[u8], Vec<usize>>, key: &Key| of.get(&*key.0).cloned();
    keys.map(|key| {
        let (source, target) = (found(&source, key), found(&target, key));
        (source.unwrap_or_default(), target.unwrap_or_default())
    })
    .collect()
}

fn sighting(
    window: &mut Window<'_>,
    asked: &Asked,
    entries: &Entries,
    places: &Sides<BTreeSet<StoreKey>>,
) -> Result<Sighting, Fault> {
    if asked.key.is_of_row() {
        for side in [Side::Source, Side::Target] {
            if let Some(at) = places.of(side).first() {
                let reason = window.rejected_at(side, [at]).map(|(_, reason)| reason.clone());
                return Ok(window.rejected_row(side, at.clone(), reason));
            }
        }
    }
    let places = [places.of(Side::Source).clone(), places.of(Side::Target).clone()];
    let sighting = window.sighting(entries, places)?;
    Ok(Sighting { key: asked.key.clone(), ..sighting })
}

/// Reads the leader again where both sides agree: only an unchanged leader makes the agreement count.
async fn steady(context: &Context, as_of: Moment, looked: &mut [Result<Sighting, Fault>]) {
    let leader = context.leads.leader();
    let agreeing: Vec<usize> = (0..looked.len())
        .filter(|&at| looked[at].as_ref().is_ok_and(|seen| seen.agrees()))
        .collect();
    let again: Vec<Asked> = agreeing
        .iter()
        .filter_map(|&at| looked[at].as_ref().ok())
        .map(|seen| {
            let at = |side| if side == leader { seen.places(side).clone() } else { Vec::new() };
            Asked {
                key: seen.key.clone(),
                source_at: at(Side::Source),
                target_at: at(Side::Target),
            }
        })
        .collect();
    if again.is_empty() {
        return;
    }
    let Ok(mut window) = Window::begin(context, as_of) else {
        for at in agreeing {
            if let Ok(seen) = &mut looked[at] {
                seen.steady = false;
            }
        }
        return;
    };
    window.suspect(again.len());
    let mut places = Places::new(&again);
    let mut faults = Sides::<Covered<Fault>>::default();
    read(&mut window, leader, &mut places, &mut faults).await;
    let entries = entries(&window, again.iter().map(|asked| &asked.key));
    for (position, at) in agreeing.into_iter().enumerate() {
        let Ok(seen) = &mut looked[at] else { continue };
        let (source, target) = &entries[position];
        let entries = if leader == Side::Source { source } else { target };
        let places = places.at[position].of(leader);
        let lost = places.iter().any(|place| faults.of(leader).at(place).is_some());
        let now = window.state(leader, (entries, places), false);
        seen.steady = !lost && now.is_ok_and(|(now, _)| now.is_like(seen.state(leader)));
    }
}
