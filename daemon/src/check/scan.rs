//! Scanning one side of a partition, in portions.
//!
//! Owns the order in which the relations of a side are scanned, and the join of those whose rows are
//! grouped. Refuses mapping. Invariant: every row of the extent is in exactly one portion, or told as
//! lost, or the scan ends with an error.
//!
//! Relations whose rows stand by themselves are scanned one after the other. Those whose rows are
//! grouped are scanned side by side, each in the order of its group's first column, an integer: what
//! lies before the smallest value up to which all of them were read is whole. A store without such an
//! order (DynamoDB) gives the rows of a group one after the other, and that they do not come again
//! later is watched.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU32;

use futures::StreamExt;
use futures::stream::BoxStream;

use crate::check::SideContext;
use crate::check::portion::{Groups, Portion};
use crate::model::{Cost, Extent, Fault, FaultCode, Range, Side, Value};
use crate::store::{Page, QUERY_ROWS_MAX, StoreError, StoreErrorKind, moved};

/// Cuts a side into extents of at most about `rows` rows of each of its relations, which cover every
/// row, existing or not, exactly once.
///
/// # Errors
/// If a relation cannot be cut.
pub async fn split(here: &SideContext, rows: NonZeroU32) -> Result<Vec<Extent>, StoreError> {
    let mut cuts = BTreeSet::new();
    let mut segments = 0;
    let mut extents = Vec::new();
    for relation in &here.relations {
        extents = here.store.split(&relation.read, rows).await?;
        if here.relations.len() == 1 {
            return Ok(extents);
        }
        for extent in &extents {
            match extent {
                Extent::Range(range) => cuts.extend(range.from),
                Extent::Segment { of, .. } => segments = segments.max(*of),
            }
        }
    }
    if segments > 0 {
        return Ok((0..segments).map(|index| Extent::Segment { index, of: segments }).collect());
    }
    if cuts.is_empty() {
        return Ok(extents);
    }
    let cuts: Vec<Option<i128>> = cuts.into_iter().map(Some).collect();
    let from = std::iter::once(None).chain(cuts.iter().copied());
    let until = cuts.iter().copied().chain(std::iter::once(None));
    Ok(from.zip(until).map(|(from, until)| Extent::Range(Range { from, until })).collect())
}

/// A scan of one extent of a side.
pub(super) struct Scan<'a> {
    side: Side,
    here: &'a SideContext,
    extent: &'a Extent,
    /// Relations whose rows stand by themselves and that are not scanned yet, last first.
    left: Vec<usize>,
    /// The scan of such a relation.
    each: Option<(usize, Pages<'a>)>,
    /// The scans of relations whose rows are grouped.
    lanes: Vec<Lane<'a>>,
    ready: VecDeque<Portion>,
    /// Groups that were handed over, in short, where the store has no order.
    met: BTreeSet<u64>,
    /// A group of too many rows, which is passed over.
    huge: Option<Bound>,
    whole_until: Option<i128>,
    /// The largest value of their first column that a row without a group had.
    loose_at: Option<i128>,
    lost: Vec<(String, Fault)>,
}

type Pages<'a> = BoxStream<'a, Result<Page, StoreError>>;

/// The scan of a relation whose rows are grouped.
struct Lane<'a> {
    relation: usize,
    pages: Pages<'a>,
    /// Rows that were read and not handed over, page by page, each with its group. No page is empty.
    held: VecDeque<(Page, Vec<Vec<Value>>)>,
    over: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(side: Side, here: &'a SideContext, extent: &'a Extent) -> Self {
        let grouped = here.grouped();
        let lane = |relation: &usize| Lane {
            relation: *relation,
            pages: here.store.scan(&here.relations[*relation].read, extent),
            held: VecDeque::new(),
            over: false,
        };
        let alone = (0..here.relations.len()).rev().filter(|at| !grouped.contains(at));
        Self {
            side,
            here,
            extent,
            left: alone.collect(),
            each: None,
            lanes: grouped.iter().map(lane).collect(),
            ready: VecDeque::new(),
            met: BTreeSet::new(),
            huge: None,
            whole_until: None,
            loose_at: None,
            lost: Vec::new(),
        }
    }

    /// Up to which value of their first column (exclusive) all groups were handed over, where the
    /// extent may be cut there.
    pub(super) fn whole_until(&self) -> Option<i128> {
        // Rows without a group are handed over as they come: those beyond would be read twice.
        self.whole_until.filter(|until| self.loose_at.is_none_or(|at| at < *until))
    }

    /// What could not be put together since this was asked last: its scope, and why.
    pub(super) fn lost(&mut self) -> Vec<(String, Fault)> {
        std::mem::take(&mut self.lost)
    }

    /// The next rows; none: that was all.
    pub(super) async fn next(&mut self) -> Option<Result<Portion, StoreError>> {
        loop {
            if let Some(portion) = self.ready.pop_front() {
                return Some(Ok(portion));
            }
            if let Some((relation, pages)) = &mut self.each {
                match pages.next().await {
                    Some(Ok(page)) if page.keys.rows == 0 => {}
                    Some(Ok(page)) => return Some(Ok(Portion::of_page(*relation, page))),
                    Some(Err(error)) => return Some(Err(error)),
                    None => self.each = None,
                }
            } else if let Some(relation) = self.left.pop() {
                let read = &self.here.relations[relation].read;
                self.each = Some((relation, self.here.store.scan(read, self.extent)));
            } else if self.lanes.iter().all(|lane| lane.over && lane.held.is_empty()) {
                return None;
            } else if let Err(error) = self.join().await {
                return Some(Err(error));
            }
        }
    }

    /// Goes on with the relations whose rows are grouped, by one step.
    async fn join(&mut self) -> Result<(), StoreError> {
        let empty = self.lanes.iter().position(|lane| lane.held.is_empty() && !lane.over);
        if let Some(lane) = empty {
            return self.read(lane).await;
        }
        if let Some(huge) = self.oversized() {
            self.pass_over(huge);
            return Ok(());
        }
        let bound = self.bound();
        let mut groups = Groups::default();
        for lane in &mut self.lanes {
            lane.hand_over(bound.as_ref(), &mut groups);
        }
        if !groups.is_empty() {
            self.whole_until = bound.as_ref().and_then(Bound::number);
            self.put_together(groups);
            return Ok(());
        }
        // The first group is not whole yet: more of it may follow where reading has not gone beyond.
        let Some(bound) = bound else { return Ok(()) };
        let behind = self.lanes.iter().position(|lane| !lane.over && lane.ends_at(&bound));
        match behind {
            Some(lane) => self.read(lane).await,
            None => Ok(()),
        }
    }

    /// A group of which a relation has more rows than belong together.
    fn oversized(&self) -> Option<Bound> {
        let bound = |group: &Vec<Value>| match self.extent {
            Extent::Range(_) => integer(group).map(Bound::Number),
            Extent::Segment { .. } => Some(Bound::Group(group.clone())),
        };
        for lane in &self.lanes {
            let mut run: Option<(Bound, usize)> = None;
            for group in lane.held.iter().flat_map(|(_, groups)| groups) {
                match &mut run {
                    Some((of, rows)) if of.holds(group) => {
                        *rows += 1;
                        if *rows > QUERY_ROWS_MAX {
                            return Some(of.clone());
                        }
                    }
                    _ => run = bound(group).map(|of| (of, 1)),
                }
            }
        }
        None
    }

    /// Where the rows end of which all lanes were read; none: they are over.
    fn bound(&self) -> Option<Bound> {
        let open = self.lanes.iter().filter(|lane| !lane.over);
        let mut lasts = open.filter_map(|lane| lane.held.back()?.1.last());
        match self.extent {
            Extent::Range(_) => lasts.filter_map(|group| integer(group)).min().map(Bound::Number),
            // One lane: what comes in no order cannot be joined, which is checked at start.
            Extent::Segment { .. } => lasts.next_back().map(|group| Bound::Group(group.clone())),
        }
    }

    /// Reads a page of a lane. Rows without a group are ready at once.
    async fn read(&mut self, lane: usize) -> Result<(), StoreError> {
        let lane = &mut self.lanes[lane];
        let page = match lane.pages.next().await {
            None => {
                lane.over = true;
                return Ok(());
            }
            Some(page) => page?,
        };
        let groups = self.here.groups_of(lane.relation, &page.rows);
        let loose: Vec<usize> = (0..groups.len()).filter(|row| groups[*row].is_none()).collect();
        if !loose.is_empty() {
            let first = self.here.relations[lane.relation].group.first();
            let first = first.map(|at| &page.rows.columns[*at]);
            let at =
                first.and_then(|column| loose.iter().filter_map(|row| column.integer(*row)).max());
            self.loose_at = self.loose_at.max(at);
            // What the page cost is told once, with the rows that are in groups where there are some.
            let cost = if loose.len() == groups.len() { page.cost } else { Cost::default() };
            let (keys, rows) = (page.keys.take(&loose), page.rows.take(&loose));
            let unmapped = moved(page.unmapped.clone(), |row| loose.binary_search(&row).ok());
            let page = Page { keys, rows, unmapped, cost };
            self.ready.push_back(Portion::of_page(lane.relation, page));
        }
        let huge = self.huge.as_ref();
        let kept = |row: &usize| {
            let group = groups[*row].as_ref();
            group.is_some_and(|group| huge.is_none_or(|huge| !huge.holds(group)))
        };
        let kept: Vec<usize> = (0..groups.len()).filter(kept).collect();
        let page = page.take(&kept);
        let groups: Vec<Vec<Value>> = kept.iter().filter_map(|row| groups[*row].clone()).collect();
        if !groups.is_empty() {
            lane.held.push_back((page, groups));
        }
        Ok(())
    }

    /// Makes a portion of groups that are whole.
    fn put_together(&mut self, groups: Groups) {
        if matches!(self.extent, Extent::Segment { .. }) {
            let again = groups.again(&mut self.met);
            if again > 0 {
                let relation = &self.here.relations[self.lanes[0].relation].read.schema.relation;
                let what = format!(
                    "store `{}`, relation `{relation}`: rows of {again} groups came apart in a scan",
                    self.here.store.name()
                );
                self.lost.push((
                    format!("{again} groups of the {}", self.side),
                    Fault {
                        side: Some(self.side),
                        what,
                        remedy: "nothing: the next pass scans them again".to_owned(),
                        code: FaultCode::StoreError,
                    },
                ));
            }
        }
        self.ready.push_back(groups.finish());
    }

    /// Lets go of a group of too many rows.
    fn pass_over(&mut self, bound: Bound) {
        for lane in &mut self.lanes {
            for (page, groups) in std::mem::take(&mut lane.held) {
                let kept: Vec<usize> =
                    (0..groups.len()).filter(|row| !bound.holds(&groups[*row])).collect();
                let kept_groups: Vec<_> = kept.iter().map(|row| groups[*row].clone()).collect();
                if !kept.is_empty() {
                    lane.held.push_back((page.take(&kept), kept_groups));
                }
            }
        }
        let relation = &self.here.relations[self.lanes[0].relation];
        let column = &relation.read.columns[relation.group[0]];
        let what = format!(
            "store `{}`: more than {QUERY_ROWS_MAX} rows of {} belong to one value of `{column}`",
            self.here.store.name(),
            self.here
                .relations
                .iter()
                .map(|it| it.read.schema.relation.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        );
        let kind = StoreErrorKind::Unfit(what);
        let scope = match bound.number() {
            Some(number) => {
                let range = Range { from: Some(number), until: Some(number.saturating_add(1)) };
                range.to_string()
            }
            None => format!("one group of the {}", self.side),
        };
        self.lost.push((
            scope,
            Fault {
                side: Some(self.side),
                what: kind.to_string(),
                remedy:
                    "group by a column of which fewer rows share a value: what belongs together \
                         is mapped in one call"
                        .to_owned(),
                code: kind.code(),
            },
        ));
        self.huge = Some(bound);
    }
}

/// Where whole groups end.
#[derive(Clone, Debug)]
enum Bound {
    /// Groups whose first column is less than this are whole.
    Number(i128),
    /// Groups that came before this one are whole.
    Group(Vec<Value>),
}

impl Bound {
    const fn number(&self) -> Option<i128> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Group(_) => None,
        }
    }

    /// Whether rows of this group lie at the bound.
    fn holds(&self, group: &[Value]) -> bool {
        match self {
            Self::Number(number) => integer(group) == Some(*number),
            Self::Group(last) => last == group,
        }
    }
}

impl Lane<'_> {
    fn ends_at(&self, bound: &Bound) -> bool {
        self.held.back().and_then(|(_, groups)| groups.last()).is_some_and(|it| bound.holds(it))
    }

    /// Hands over the rows of groups that are whole.
    fn hand_over(&mut self, bound: Option<&Bound>, into: &mut Groups) {
        while let Some((page, groups)) = self.held.pop_front() {
            let whole = match bound {
                None => groups.len(),
                Some(Bound::Number(bound)) => {
                    groups.partition_point(|group| integer(group).is_some_and(|it| it < *bound))
                }
                Some(last @ Bound::Group(_)) => {
                    groups.iter().position(|group| last.holds(group)).unwrap_or(groups.len())
                }
            };
            if whole == groups.len() {
                into.add(self.relation, page, groups);
                continue;
            }
            if whole == 0 {
                self.held.push_front((page, groups));
                return;
            }
            let mut groups = groups;
            let left = groups.split_off(whole);
            let rows: Vec<usize> = (0..page.keys.rows).collect();
            let (first, last) = rows.split_at(whole);
            let rest = Page {
                keys: page.keys.take(last),
                rows: page.rows.take(last),
                unmapped: moved(page.unmapped.clone(), |row| row.checked_sub(whole)),
                cost: Cost::default(),
            };
            self.held.push_front((rest, left));
            into.add(self.relation, page.take(first), groups);
            return;
        }
    }
}

/// The integer that a group's first value is.
fn integer(group: &[Value]) -> Option<i128> {
    match group.first() {
        Some(Value::Number(number)) => number.to_integer(),
        _ => None,
    }
}
