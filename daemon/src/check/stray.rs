//! Where entities lie, and where the mapping would look for them.
//!
//! Owns telling rows that lie where their entity's place is from strays, from entities without a place,
//! and from those whose place cannot be told. Refuses to say what that makes of a key: `tell.rs` does.
//! Invariant: what the own place of a stray holds is known before it is compared. A stray of the leader
//! whose own place does not hold it is not compared: the mapping would not look for what was read.

use std::collections::{BTreeMap, BTreeSet};

use crate::check::cover::{Cover, covers};
use crate::check::gather::part;
use crate::check::places::{Wanted, located};
use crate::check::portion::PageLies;
use crate::check::window::{ENTITIES_MAX, PLACES_MAX, Tells, Window, too_many_places};
use crate::check::{SideContext, plugin_fault};
use crate::compare::Standpoint;
use crate::model::{Batch, Fault, FaultCode, Side, Standing, Unread};
use crate::plugin::{Access, Placed, PluginError};

/// Rows of entities, by page.
pub(super) type PageRows = BTreeMap<usize, Vec<usize>>;

/// Where the mapping would look for the entities of a page on their own side.
#[derive(Debug, Default)]
pub(super) struct Placing {
    /// Which lie elsewhere; empty means none.
    pub(super) misplaced: Vec<bool>,
    /// Those for which it names no place.
    pub(super) nowhere: Vec<usize>,
    /// Those of which it cannot be told, and why.
    pub(super) lost: Vec<(usize, Fault)>,
}

impl Window<'_> {
    /// Where the mapping would look for these entities on their own side.
    pub(super) fn placing(
        &mut self,
        side: Side,
        (entity, entities): (usize, &Batch),
        standing: &[Standing],
        lies: &PageLies,
    ) -> Result<Placing, PluginError> {
        let here = self.context.side(side);
        if !here.locatable || entities.rows == 0 {
            return Ok(Placing::default());
        }
        let mut misplaced = vec![true; entities.rows];
        let mut nowhere: BTreeSet<usize> =
            (0..entities.rows).filter(|row| standing[*row] == Standing::Present).collect();
        let mut lost = Vec::new();
        for start in (0..entities.rows).step_by(ENTITIES_MAX) {
            let end = entities.rows.min(start + ENTITIES_MAX);
            let some = part(entities, &(start..end));
            let Placed { located: parts, failed } =
                self.session.locate_each(side, entity, &some)?;
            for (row, error) in failed {
                nowhere.remove(&(start + row));
                lost.push((start + row, plugin_fault(Some(side), &error)));
            }
            if let ([one], Some((relation, keys))) = (parts.as_slice(), lies.rows())
                && one.access == Access::Get
                && one.relation == relation
                && one.keys == *part(keys, &(start..end))
            {
                misplaced[start..end].fill(false);
                nowhere.retain(|row| !(start..end).contains(row));
                continue;
            }
            for (row, place) in located(here, &parts) {
                let row = start + row;
                nowhere.remove(&row);
                if misplaced[row] && covers(&place, &lies.at(here, row)) {
                    misplaced[row] = false;
                }
            }
        }
        let nowhere: Vec<usize> = nowhere.into_iter().collect();
        nowhere.iter().for_each(|row| misplaced[*row] = false);
        lost.iter().for_each(|(row, _)| misplaced[*row] = false);
        if !misplaced.contains(&true) {
            misplaced.clear();
        }
        Ok(Placing { misplaced, nowhere, lost })
    }

    /// Takes entities of a page out of the comparison, on both sides, because it is not known where they
    /// lie.
    pub(super) fn lose(&mut self, side: Side, page: usize, lost: Vec<(usize, Fault)>) {
        let Some((first, fault)) = lost.first() else { return };
        let count = lost.len() as u64;
        let scope = format!("{count} entities of the {side}, which could not be located");
        let set = self.sets.of(side);
        // One without a key of its own is not among the entities.
        let key = self.context.canons[set.page_type(page)].key(set.page(page), *first).ok();
        let (rows, fault) = (Some(count), fault.clone());
        self.outcome.unread.push(Unread { scope, rows, key, fault });
        for (row, fault) in lost {
            let set = self.sets.of(side);
            let key = set.entry_of(page, row).map(|entry| set.key(entry));
            // Several that are out of scope may have none.
            let key: Option<Box<[u8]>> = key.filter(|key| !key.is_empty()).map(Box::from);
            self.lost_keys.extend(key);
            self.drop_rows(side, page, &[row]);
            let at = self.at(side, page, row);
            self.lost.of_mut(side).insert(at, fault);
        }
    }

    /// Takes all of these keys out of the comparison, because of something that could not be read of
    /// `side`.
    pub(super) fn lose_keys(&mut self, side: Side, keys: BTreeSet<Box<[u8]>>, fault: &Fault) {
        let new: Vec<Box<[u8]>> =
            keys.into_iter().filter(|key| !self.lost_keys.contains(key)).collect();
        if new.is_empty() {
            return;
        }
        let scope = format!("{} entities of the {side} that lie at other places", new.len());
        self.unread(scope, Some(new.len() as u64), fault.clone());
        self.lost_keys.extend(new);
    }

    /// Takes note of the rows that the pages of a side were made of.
    pub(super) fn meet(&mut self, side: Side) {
        let here = self.context.side(side);
        for lies in self.lies.of(side) {
            self.met.of_mut(side).add(here, lies.all());
        }
    }

    /// Notes of present entities of a page that the mapping names no place for them in `missing`.
    pub(super) fn unplace(&mut self, (side, missing): (Side, Side), page: usize, rows: &[usize]) {
        let reason = format!(
            "has no place in the {missing}: a field of its key there is null or absent, or the mapping \
             refuses to locate it"
        );
        for row in rows {
            let Some(entry) = self.sets.of(side).entry_of(page, *row) else { continue };
            self.sets.of_mut(side).unplace(entry);
            self.unplaced.of_mut(side).entry((page, *row)).or_insert_with(|| reason.clone());
        }
    }

    /// Finds rows of the follower that lie where the mapping would not look for them, going by the
    /// leader's entity of the same key: a copy under another store key has the same digest.
    pub(super) fn displace(
        &mut self,
        follower_pages: &[usize],
        leader_pages: &[usize],
    ) -> Result<(), Fault> {
        let leads = self.context.leads;
        let (leader, follower) = (leads.leader(), leads.follower());
        let here = self.context.side(follower);
        if !here.locatable {
            return Ok(());
        }
        let count = |side: Side, pages: &[usize]| {
            let set = self.sets.of(side);
            pages.iter().map(|page| set.page_entries(*page).len()).sum::<usize>()
        };
        // Most often both are the same entities. Others need not be located.
        let keys = (count(leader, leader_pages) > 2 * count(follower, follower_pages)).then(|| {
            let set = self.sets.of(follower);
            let entries = follower_pages.iter().flat_map(|page| set.page_entries(*page));
            entries.map(|entry| set.key(entry).to_vec()).collect::<BTreeSet<_>>()
        });
        let mut places: BTreeMap<Vec<u8>, Cover> = BTreeMap::new();
        let mut count = 0;
        for &page in leader_pages {
            let set = self.sets.of(leader);
            let entity = set.page_type(page);
            let entries = set.page_entries(page).filter(|&at| {
                set.entries()[at].standpoint == Standpoint::Present
                    && keys.as_ref().is_none_or(|keys| keys.contains(set.key(at)))
            });
            let entries: Vec<usize> = entries.collect();
            for some in entries.chunks(ENTITIES_MAX) {
                let set = self.sets.of(leader);
                let rows: Vec<usize> = some.iter().map(|&at| set.entries()[at].row).collect();
                let entities = set.page(page).take(&rows);
                let parts = self
                    .session
                    .locate(follower, entity, &entities)
                    .map_err(|error| plugin_fault(Some(follower), &error))?;
                let set = self.sets.of(leader);
                for (at, place) in located(here, &parts) {
                    places.entry(set.key(some[at]).to_vec()).or_default().add(&place);
                    count += 1;
                }
                if count > PLACES_MAX {
                    return Err(too_many_places(follower, here));
                }
            }
        }
        let mut displaced = Vec::new();
        let set = self.sets.of(follower);
        for &page in follower_pages {
            for entry in set.page_entries(page) {
                let Some(expected) = places.get(set.key(entry)) else { continue };
                let at = self.at(follower, page, set.entries()[entry].row);
                if !expected.holds(&at) {
                    displaced.push(entry);
                }
            }
        }
        let set = self.sets.of_mut(follower);
        displaced.into_iter().for_each(|entry| set.misplace(entry));
        Ok(())
    }

    /// Takes strays of the leader out of the comparison, unless their own place is known to hold them, too.
    pub(super) fn lose_unnamed(&mut self) {
        let leader = self.context.leads.leader();
        let pages: Vec<usize> = (0..self.sets.of(leader).page_count()).collect();
        let (strays, keys) = self.strays(leader, &pages);
        if strays.is_empty() {
            return;
        }
        for (page, rows) in strays {
            let (_copies, lost) = self.copies(leader, (page, rows), &keys);
            let fault = unnamed(leader, self.context.side(leader));
            self.lose(leader, page, lost.into_iter().map(|row| (row, fault.clone())).collect());
        }
    }

    /// Takes copies that the source's scan met by accident out of the comparison: it compares what lies
    /// at their own places, and the target's scan meets them, whoever looks for them or not.
    pub(super) fn leave_copies(&mut self) {
        if self.tells != Tells::OfSource {
            return;
        }
        let pages: Vec<usize> = (0..self.sets.of(Side::Target).page_count()).collect();
        let (strays, keys) = self.strays(Side::Target, &pages);
        for (page, rows) in strays {
            let (copies, _alone) = self.copies(Side::Target, (page, rows), &keys);
            self.drop_rows(Side::Target, page, &copies);
        }
    }

    /// Strays of a page, which have these keys: those whose own place is known to hold them, too, and the
    /// others.
    fn copies(
        &self,
        side: Side,
        (page, strays): (usize, Vec<usize>),
        keys: &BTreeSet<Box<[u8]>>,
    ) -> (Vec<usize>, Vec<usize>) {
        let set = self.sets.of(side);
        let homes: BTreeSet<&[u8]> = (0..set.entries().len())
            .filter(|at| set.entries()[*at].standpoint == Standpoint::Present)
            .map(|at| set.key(at))
            .filter(|key| keys.contains(*key))
            .collect();
        strays.into_iter().partition(|row| {
            set.entry_of(page, *row).is_some_and(|entry| homes.contains(set.key(entry)))
        })
    }

    /// The strays among these pages of a side, by page, and their keys.
    pub(super) fn strays(&self, side: Side, pages: &[usize]) -> (PageRows, BTreeSet<Box<[u8]>>) {
        let set = self.sets.of(side);
        let (mut rows, mut keys) = (PageRows::new(), BTreeSet::new());
        for &page in pages {
            for entry in set.page_entries(page) {
                if set.entries()[entry].standpoint == Standpoint::Misplaced {
                    rows.entry(page).or_default().push(set.entries()[entry].row);
                    keys.insert(Box::from(set.key(entry)));
                }
            }
        }
        (rows, keys)
    }

    /// The entities of these keys in pages of the leader.
    pub(super) fn leading(&self, pages: &[usize], keys: &BTreeSet<Box<[u8]>>) -> PageRows {
        let set = self.sets.of(self.context.leads.leader());
        let mut rows = PageRows::new();
        for &page in pages {
            for entry in set.page_entries(page) {
                let it = &set.entries()[entry];
                if it.standpoint == Standpoint::Present && keys.contains(set.key(entry)) {
                    rows.entry(page).or_default().push(it.row);
                }
            }
        }
        rows
    }

    /// Adds to what is wanted of `home` where these entities of `side` are looked for there; who wants it
    /// is a position in `owners`, which has keys.
    pub(super) fn want_homes(
        &mut self,
        home: Side,
        (side, rows): (Side, &PageRows),
        (wanted, owners): (&mut Wanted, &mut Vec<Box<[u8]>>),
    ) -> Result<(), Fault> {
        let here = self.context.side(home);
        for (&page, rows) in rows {
            let entity = self.sets.of(side).page_type(page);
            for some in rows.chunks(ENTITIES_MAX) {
                let entities = self.sets.of(side).page(page).take(some);
                let parts = self
                    .session
                    .locate(home, entity, &entities)
                    .map_err(|error| plugin_fault(Some(home), &error))?;
                let set = self.sets.of(side);
                let base = owners.len();
                owners.extend(some.iter().map(|row| {
                    let entry = set.entry_of(page, *row).expect("these rows are of entries");
                    Box::from(set.key(entry))
                }));
                wanted.add_located(here, parts, |at| base + at);
                if wanted.len() > PLACES_MAX {
                    return Err(too_many_places(home, here));
                }
            }
        }
        Ok(())
    }

    /// Takes entities that are not of these keys out of pages of a side: they were read for nobody.
    pub(super) fn keep_keys(&mut self, side: Side, pages: &[usize], keys: &BTreeSet<Box<[u8]>>) {
        let set = self.sets.of(side);
        let mut others = Vec::new();
        for &page in pages {
            let entries = set.page_entries(page).filter(|entry| !keys.contains(set.key(*entry)));
            others.extend(entries.map(|entry| (page, set.entries()[entry].row)));
        }
        self.dropped.of_mut(side).extend(others);
    }
}

/// What is said of an entity of the leader that the mapping would look for elsewhere than where it was
/// read.
fn unnamed(side: Side, here: &SideContext) -> Fault {
    Fault {
        side: Some(side),
        what: format!(
            "store `{}`, relation `{}`: the mapping looks for an entity of the {side}, which leads, at \
             other places than the row that it was made of",
            here.store.name(),
            here.relation_names()
        ),
        remedy: format!(
            "have `locate` (or `{side}.key`) name the row that an entity was mapped from, in the form in \
             which the store keeps its key"
        ),
        code: FaultCode::PluginPlace,
    }
}
