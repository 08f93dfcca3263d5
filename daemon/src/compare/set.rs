//! One side of a partition: its entities, their keys and digests.
//!
//! Owns [`EntitySet`]. Refuses to compare. Invariant: each row that was added is in exactly one
//! entry, and the checksum covers exactly the entries that are present.

use std::collections::BTreeSet;

use crate::compare::canonical::{Canon, CellError};
use crate::model::{Batch, Checksum, Digest, Standing, VarBytes};

/// How a row stands before it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standpoint {
    /// It is there.
    Present,
    /// It is there, but not where the mapping would look for it.
    Misplaced,
    /// It is there, and the mapping names no place for it on one of the sides.
    Unplaced,
    /// It counts as not there.
    Absent,
    /// It is out of scope.
    Excluded,
}

impl Standpoint {
    /// Whether it is there, wherever that is.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        match self {
            Self::Present | Self::Misplaced | Self::Unplaced => true,
            Self::Absent | Self::Excluded => false,
        }
    }
}

/// One entity of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The page that holds it.
    pub page: usize,
    /// Its row in the page.
    pub row: usize,
    /// Its digest.
    pub digest: Digest,
    /// How it stands.
    pub standpoint: Standpoint,
}

/// One side's entities of one partition.
#[derive(Clone, Debug, Default)]
pub struct EntitySet {
    /// Canonical entities, of one type each.
    pages: Vec<Page>,
    entries: Vec<Entry>,
    keys: VarBytes,
    checksum: Checksum,
    bytes: u64,
    scratch: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Page {
    /// Position of the entity type in its plan.
    entity: usize,
    entities: Batch,
}

/// How the rows of a page stand.
#[derive(Clone, Copy, Debug)]
pub struct Stands<'a> {
    /// What the mapping says of each.
    pub standing: &'a [Standing],
    /// Which lie where the mapping would not look; empty means none.
    pub misplaced: &'a [bool],
}

impl EntitySet {
    /// Adds a page of entities of one type. `beside` is how many bytes are held of them elsewhere.
    /// Returns the rows that have no canonical form; they are not in the set.
    ///
    /// # Panics
    /// If the parts differ in length, which is a bug of the caller.
    pub fn add(
        &mut self,
        canon: &Canon,
        entities: Batch,
        beside: u64,
        stands: Stands<'_>,
    ) -> Vec<(usize, CellError)> {
        assert_eq!(entities.rows, stands.standing.len(), "a standing for each entity");
        self.bytes += entities.bytes() + beside;
        let (entries, key_bytes) = (self.entries.len(), self.keys.data.len());
        let page = self.pages.len();
        let mut faults = Vec::new();
        self.entries.reserve(entities.rows);
        let cells = canon.cells(&entities);
        for (row, standing) in stands.standing.iter().enumerate() {
            let digest = match canon.digest(&cells, row, &mut self.scratch, &mut self.keys.data) {
                Ok(digest) => digest,
                // What is out of scope need not make sense.
                Err(_) if *standing == Standing::Excluded => Digest::default(),
                Err(fault) => {
                    faults.push((row, fault));
                    continue;
                }
            };
            self.keys.close();
            let standpoint = match standing {
                Standing::Present if stands.misplaced.get(row).copied().unwrap_or(false) => {
                    Standpoint::Misplaced
                }
                Standing::Present => Standpoint::Present,
                Standing::Absent => Standpoint::Absent,
                Standing::Excluded => Standpoint::Excluded,
            };
            if standpoint.is_there() {
                self.checksum.add(digest);
            }
            self.entries.push(Entry { page, row, digest, standpoint });
        }
        // Of entities without other fields these are the larger part.
        let entries = (self.entries.len() - entries) * size_of::<Entry>();
        self.bytes += (entries + self.keys.data.len() - key_bytes) as u64;
        self.pages.push(Page { entity: canon.entity(), entities });
        faults
    }

    /// The checksum of the entities that are present.
    #[must_use]
    pub const fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// The checksum of those of these entries that are there.
    #[must_use]
    pub fn checksum_of(&self, entries: &[usize]) -> Checksum {
        let there = entries.iter().map(|at| &self.entries[*at]);
        there.filter(|entry| entry.standpoint.is_there()).map(|entry| entry.digest).collect()
    }

    /// How much memory the set takes with what is held beside it, about.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entries, in the order in which they were added.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The key of entry `index`. Empty for an excluded row that has none.
    #[must_use]
    pub fn key(&self, index: usize) -> &[u8] {
        self.keys.get(index)
    }

    /// The entities of a page.
    #[must_use]
    pub fn page(&self, index: usize) -> &Batch {
        &self.pages[index].entities
    }

    /// The type of a page's entities, by its position in the plan.
    #[must_use]
    pub fn page_type(&self, index: usize) -> usize {
        self.pages[index].entity
    }

    /// The type of an entry's entity, by its position in the plan.
    #[must_use]
    pub fn entity_type(&self, entry: usize) -> usize {
        self.page_type(self.entries[entry].page)
    }

    /// Whether the set is nothing but present entities in strictly ascending order of their keys.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.entries.iter().all(|entry| entry.standpoint == Standpoint::Present)
            && (1..self.entries.len()).all(|at| self.keys.get(at - 1) < self.keys.get(at))
    }

    /// Entry numbers in ascending order of their keys.
    #[must_use]
    pub fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by(|&a, &b| self.keys.get(a).cmp(self.keys.get(b)));
        order
    }

    /// A batch of entities of a type, for its columns' layouts; none if there is no page of them.
    #[must_use]
    pub fn layout(&self, entity: usize) -> Option<&Batch> {
        self.pages.iter().find(|page| page.entity == entity).map(|page| &page.entities)
    }

    /// How many pages were added.
    #[must_use]
    pub fn page_count(&self) -> usize {
        self.pages.len()
    }

    /// The rows of a page that are there, misplaced or not, in the order of the page; without those
    /// for which the mapping names no place.
    pub fn present_rows(&self, page: usize) -> impl Iterator<Item = usize> {
        // Pages are added one after the other, so a page's entries are together.
        let start = self.entries.partition_point(|entry| entry.page < page);
        self.entries[start..].iter().take_while(move |entry| entry.page == page).filter_map(
            |entry| {
                matches!(entry.standpoint, Standpoint::Present | Standpoint::Misplaced)
                    .then_some(entry.row)
            },
        )
    }

    /// The entries of a page, by number.
    #[must_use]
    pub fn page_entries(&self, page: usize) -> std::ops::Range<usize> {
        // Pages are added one after the other, so a page's entries are together.
        let start = self.entries.partition_point(|entry| entry.page < page);
        start..start + self.entries[start..].partition_point(|entry| entry.page == page)
    }

    /// An entry that is there turned out to lie where the mapping would not look for it.
    pub fn misplace(&mut self, entry: usize) {
        if self.entries[entry].standpoint == Standpoint::Present {
            self.entries[entry].standpoint = Standpoint::Misplaced;
        }
    }

    /// Of an entry that is there the mapping turned out to name no place on one of the sides.
    pub fn unplace(&mut self, entry: usize) {
        if self.entries[entry].standpoint.is_there() {
            self.entries[entry].standpoint = Standpoint::Unplaced;
        }
    }

    /// The entry of a page's row, if that is in the set.
    #[must_use]
    pub fn entry_of(&self, page: usize, row: usize) -> Option<usize> {
        // Rows of a page are added in their order.
        let entries = self.page_entries(page);
        let at = self.entries[entries.clone()].binary_search_by_key(&row, |entry| entry.row);
        at.ok().map(|at| entries.start + at)
    }

    /// Keeps only the entries for which `keep` holds, given the entry's page and its row there.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, usize) -> bool) {
        self.filter(|entry| keep(entry.page, entry.row));
    }

    /// Drops the entries at these pages and rows.
    pub fn drop_rows(&mut self, rows: &BTreeSet<(usize, usize)>) {
        self.filter(|entry| !rows.contains(&(entry.page, entry.row)));
    }

    fn filter(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        if self.entries.iter().all(&mut keep) {
            return;
        }
        let old = std::mem::take(&mut self.entries);
        let keys = std::mem::take(&mut self.keys);
        self.checksum = Checksum::default();
        for (at, entry) in old.into_iter().enumerate() {
            if !keep(&entry) {
                continue;
            }
            if entry.standpoint.is_there() {
                self.checksum.add(entry.digest);
            }
            self.keys.push(keys.get(at));
            self.entries.push(entry);
        }
    }
}
