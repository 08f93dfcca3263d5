//! Reading what is wanted of a side.
//!
//! Owns [`gather`]: rows by their keys, by what their keys begin with, and by groups. Refuses mapping.
//! Invariant: what could not be read whole is told with whoever wanted it; and a row that whoever asks
//! holds already is left out, however many wanted it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::check::met::Met;
use crate::check::places::{Place, Wanted};
use crate::check::portion::{Groups, Lies, Portion};
use crate::check::share::Share;
use crate::check::{SideContext, store_fault};
use crate::model::{Batch, Cost, Fault, FaultCode, Side, StoreKey, Value};
use crate::store::{Consistency, Fetched, Page, Query};

/// Keys that are asked for first, if nothing is said, and at most: how large rows are is not known before
/// they are read, and what came before need not be like what follows.
const KEYS: [usize; 2] = [64, 1_024];
/// The same for questions, each of which may have many rows.
const QUESTIONS: [usize; 2] = [16, 128];
/// The same for groups.
const GROUPS: [usize; 2] = [16, 128];

/// Questions in a row that a store does not answer, after which it is asked no more in this check.
const SILENCES_MAX: u32 = 2;

/// What was read of what was wanted.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) portions: Vec<Portion>,
    /// Who did not get what they wanted, and why.
    pub(super) unread: Vec<(Vec<usize>, Fault)>,
    /// What it cost beside what the portions say.
    pub(super) cost: Cost,
    /// Bytes of what was read, about.
    pub(super) bytes: u64,
    /// Rows that were read, those that are held already, too.
    pub(super) rows: u64,
    /// Why something is unread, if that is because there was too much.
    pub(super) too_much: Option<Fault>,
    /// Whether the store answers.
    pub(super) heard: Heard,
}

/// Whether a store answers, from one question to the next. What it does not answer has cost all of its
/// patience; that may be of what was asked, once.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Questions in a row that were not answered at all.
    silences: u32,
    /// Why not.
    fault: Option<Fault>,
}

impl Heard {
    /// Why nothing more is asked, if that is so.
    pub(super) fn gives_up(&self) -> Option<&Fault> {
        self.fault.as_ref().filter(|_| self.silences >= SILENCES_MAX)
    }

    fn hear(&mut self, side: Side, fetched: &Fetched) {
        let silence = fetched.unread.iter().find(|(_, error)| error.kind.is_silence());
        match silence.filter(|_| fetched.pages.is_empty()) {
            Some((_, error)) => {
                let fault = store_fault(side, error);
                // Of a store that is down nobody waits for another silence.
                self.silences =
                    if fault.code.is_outage() { SILENCES_MAX } else { self.silences + 1 };
                self.fault = Some(fault);
            }
            None => *self = Self::default(),
        }
    }
}

impl Gathered {
    /// Takes note of what a store gave, but for its pages.
    fn took(&mut self, side: Side, fetched: &Fetched, whose: &[usize]) {
        self.cost.add(fetched.cost);
        self.weigh(&fetched.pages);
        self.heard.hear(side, fetched);
        for (positions, error) in &fetched.unread {
            let whose = positions.iter().map(|at| whose[*at]).collect();
            self.unread.push((whose, store_fault(side, error)));
        }
    }

    fn weigh(&mut self, pages: &[Page]) {
        self.bytes += pages.iter().map(|page| page.rows.bytes()).sum::<u64>();
        self.rows += pages.iter().map(|page| page.rows.rows as u64).sum::<u64>();
    }

    /// What is left unread of `whose`, if there is too much, or no answer.
    fn is_over(
        &mut self,
        (side, here): (Side, &SideContext),
        share: Share,
        whose: &[usize],
    ) -> bool {
        if let Some(fault) = self.heard.gives_up().cloned() {
            self.unread.push((whose.to_vec(), fault));
            return true;
        }
        if self.bytes <= share.gathered() {
            return false;
        }
        let fault = Fault {
            side: Some(side),
            what: format!(
                "store `{}`, relation `{}`: what the mapping looks for, for rows that are compared \
                 at once, takes more than {} MiB",
                here.store.name(),
                here.relation_names(),
                share.gathered() >> 20
            ),
            remedy: "have the mapping name fewer rows for each entity, by longer keys, or raise \
                     `checks.memory`"
                .to_owned(),
            code: FaultCode::TooMuch,
        };
        self.unread.push((whose.to_vec(), fault.clone()));
        self.too_much = Some(fault);
        true
    }
}

/// How many of something are asked for at once.
#[derive(Debug)]
struct Chunks {
    next: usize,
    all: usize,
    size: usize,
    most: usize,
    /// Bytes that are to come at once.
    bytes: u64,
}

impl Chunks {
    fn new(all: usize, [first, most]: [usize; 2], share: Share) -> Self {
        Self { next: 0, all, size: first.min(most), most, bytes: share.portion() }
    }

    fn next(&mut self) -> Option<Range<usize>> {
        let chunk = self.next..self.all.min(self.next.saturating_add(self.size));
        self.next = chunk.end;
        (!chunk.is_empty()).then_some(chunk)
    }

    /// Says how many bytes a chunk brought.
    fn learn(&mut self, chunk: &Range<usize>, bytes: u64) {
        let size = self.bytes.saturating_mul(chunk.len() as u64) / bytes.max(1);
        // What is not there says little of what is.
        let most = self.most.min(chunk.len().saturating_mul(2));
        self.size = usize::try_from(size).unwrap_or(usize::MAX).clamp(1, most);
    }
}

/// These rows of a batch.
pub(super) fn part<'b>(batch: &'b Batch, rows: &Range<usize>) -> Cow<'b, Batch> {
    match *rows == (0..batch.rows) {
        true => Cow::Borrowed(batch),
        false => Cow::Owned(batch.take(&rows.clone().collect::<Vec<_>>())),
    }
}

/// Reads what is wanted of a side. `keys_first` is how many keys are asked for first; what was `met`
/// before is held already. `heard` is whether the store answered
/// before.
pub(super) async fn gather(
    (side, here): (Side, &SideContext),
    wanted: Wanted,
    keys_first: Option<usize>,
    (consistency, share): (Consistency, Share),
    (met, heard): (&mut Met, Heard),
) -> Gathered {
    let mut gathered = Gathered { heard, ..Gathered::default() };
    for (relation, (keys, whose)) in wanted.rows {
        let context = &here.relations[relation];
        let mut chunks = Chunks::new(keys.rows, [keys_first.unwrap_or(KEYS[0]), KEYS[1]], share);
        while let Some(chunk) = chunks.next() {
            if gathered.is_over((side, here), share, &whose[chunk.start..]) {
                break;
            }
            let before = gathered.bytes;
            let fetched = here.store.fetch(&context.read, &part(&keys, &chunk), consistency).await;
            gathered.took(side, &fetched, &whose[chunk.clone()]);
            chunks.learn(&chunk, gathered.bytes - before);
            // A row of a relation whose rows are grouped lies by itself only if its group is null.
            let alone = |page: Page| match context.group.is_empty() {
                true => page,
                false => here.loose(relation, page),
            };
            let pages = fetched.pages.into_iter().map(alone).filter(|page| page.keys.rows > 0);
            gathered.portions.extend(pages.map(|page| Portion::of_page(relation, page)));
        }
    }
    for ((relation, width, prefix), (values, whose)) in wanted.under {
        let read = &here.relations[relation].read;
        let columns = read.schema.key_columns().take(width).map(|column| column.name.clone());
        let columns: Vec<String> = columns.collect();
        let mut chunks = Chunks::new(values.rows, QUESTIONS, share);
        while let Some(chunk) = chunks.next() {
            if gathered.is_over((side, here), share, &whose[chunk.start..]) {
                break;
            }
            let values = part(&values, &chunk).into_owned();
            let query = Query { columns: columns.clone(), values, prefix };
            let before = gathered.bytes;
            let fetched = here.store.query(read, &query, consistency).await;
            gathered.took(side, &fetched, &whose[chunk.clone()]);
            chunks.learn(&chunk, gathered.bytes - before);
            let pages = fetched.pages.into_iter().filter(|page| page.keys.rows > 0);
            gathered.portions.extend(pages.map(|page| Portion::of_page(relation, page)));
        }
    }
    let mut groups: Vec<(Vec<Value>, Vec<usize>)> = wanted.groups.into_values().collect();
    let mut chunks = Chunks::new(groups.len(), GROUPS, share);
    while let Some(chunk) = chunks.next() {
        let whose: Vec<usize> = groups.iter().flat_map(|(_, whose)| whose).copied().collect();
        if gathered.is_over((side, here), share, &whose) {
            break;
        }
        let later = groups.split_off(chunk.len());
        let before = gathered.bytes;
        gather_groups((side, here), groups, consistency, &mut gathered).await;
        chunks.learn(&chunk, gathered.bytes - before);
        groups = later;
    }
    gathered.portions.iter_mut().for_each(|portion| met.keep_new(here, portion));
    gathered
}

/// Reads whole groups, in all relations whose rows are grouped.
async fn gather_groups(
    (side, here): (Side, &SideContext),
    groups: Vec<(Vec<Value>, Vec<usize>)>,
    consistency: Consistency,
    gathered: &mut Gathered,
) {
    let (values, whose): (Vec<_>, Vec<_>) = groups.into_iter().unzip();
    let mut lost: BTreeSet<StoreKey> = BTreeSet::new();
    let mut read = Vec::new();
    for relation in here.grouped() {
        let query = here.group_query(relation, values.clone());
        let fetched = here.store.query(&here.relations[relation].read, &query, consistency).await;
        gathered.cost.add(fetched.cost);
        gathered.weigh(&fetched.pages);
        gathered.heard.hear(side, &fetched);
        for (positions, error) in &fetched.unread {
            let fault = store_fault(side, error);
            let all = positions.iter().flat_map(|at| whose[*at].iter().copied()).collect();
            gathered.unread.push((all, fault));
            lost.extend(positions.iter().map(|at| Place::Group(values[*at].clone()).encode()));
        }
        read.extend(fetched.pages.into_iter().map(|page| (relation, page)));
    }
    let mut whole = Groups::default();
    // Where a store takes two values for one, both questions find the same rows.
    let mut rows = Met::default();
    for (relation, page) in read {
        let new = rows.add(here, &Lies::Rows { relation, keys: page.keys.clone() });
        let groups = here.groups_of(relation, &page.rows);
        // Of a group that is not whole nothing is mapped: it would be another entity.
        let known = |at: usize| {
            let group = groups[at].as_ref()?;
            (!lost.contains(&Place::Group(group.clone()).encode())).then(|| group.clone())
        };
        let kept: Vec<(usize, Vec<Value>)> =
            new.into_iter().filter_map(|at| Some((at, known(at)?))).collect();
        let (rows, groups): (Vec<usize>, Vec<Vec<Value>>) = kept.into_iter().unzip();
        let page = Page { keys: page.keys.take(&rows), rows: page.rows.take(&rows), ..page };
        whole.add(relation, page, groups);
    }
    if !whole.is_empty() {
        gathered.portions.push(whole.finish());
    }
}
