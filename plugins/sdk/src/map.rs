//! Rows to entities.
//!
//! Owns the loops: for each entity type, each field, each row. Refuses to decide what a field is: the
//! plan has said so. Invariant: a group is in the outputs or in the notes, and in one of them only.

use crate::column::{AnyColumn, Build, Ints, sorted, take};
use crate::kind::{Boolean, Kind, Pass};
use crate::plan::{EntityPlan, Standing, Table};
use crate::read::{IntoCell, Passing, Read};
use crate::row::{Call, Col, Reject, Result, Row, Rows};
use crate::wire::{self, Batch, Buffer, Column, Mapped, Note, Output, Side};

/// The rows that cannot be mapped, and why.
#[derive(Debug, Default)]
#[doc(hidden)]
pub struct Rejects(pub(crate) Vec<(u32, Reject)>);

impl Rejects {
    #[cold]
    fn push(&mut self, row: usize, why: Reject) {
        self.0.push((row as u32, why));
    }
}

/// A field of a side, whatever it is read from.
#[doc(hidden)]
pub trait Fill {
    fn fill(&self, call: &Call<'_>, rows: &Rows, live: &Live, rejects: &mut Rejects) -> Filled;
}

/// What became of a field.
#[doc(hidden)]
pub enum Filled {
    Column(Column),
    /// It is the column of this position as it stands.
    Passes(usize),
}

/// The rows whose fields are read; none given: all.
#[doc(hidden)]
pub struct Live(pub(crate) Option<Vec<bool>>);

impl<R: Read> Fill for R {
    fn fill(&self, call: &Call<'_>, rows: &Rows, live: &Live, rejects: &mut Rejects) -> Filled {
        if let Some(passing) = self.passing()
            && passing.relation == rows.relation
            && let Some(passed) = pass_column(passing, rows, live, |row| {
                rejects.push(row, self.is_no(Row { call, rows, row }));
            })
        {
            return passed;
        }
        let mut out = <R::Kind as Kind>::Builder::new(rows.count);
        for row in 0..rows.count {
            if live.0.as_ref().is_some_and(|live| !live[row]) {
                out.push_null();
            } else if let Err(why) = self.push(Row { call, rows, row }, &mut out) {
                out.push_null();
                rejects.push(row, why);
            }
        }
        Filled::Column(out.finish())
    }
}

/// A column that is the field as it stands, whichever rows are live: what becomes of a row must not
/// depend on the others of its batch. None where every cell has to be built.
fn pass_column(
    passing: Passing,
    rows: &Rows,
    live: &Live,
    mut refuse: impl FnMut(usize),
) -> Option<Filled> {
    let index = passing.index as usize;
    let column = &rows.columns[index];
    let is_live = |row: &usize| live.0.as_ref().is_none_or(|live| live[*row]);
    match passing.pass {
        Pass::Build => return None,
        Pass::Move => {}
        Pass::Check(is_one) => {
            for row in (0..rows.count).filter(is_live) {
                if column.bytes(row).is_some_and(|text| !is_one(text)) {
                    refuse(row);
                }
            }
        }
    }
    Some(match &live.0 {
        None => Filled::Passes(index),
        Some(live) => Filled::Column(column.only(live)),
    })
}

/// The standing of every row.
#[doc(hidden)]
pub trait Stand {
    fn stand(&self, call: &Call<'_>, rows: &Rows, rejects: &mut Rejects) -> Vec<Standing>;
}

impl<F: for<'a> Fn(Row<'a>) -> Result<Standing>> Stand for F {
    fn stand(&self, call: &Call<'_>, rows: &Rows, rejects: &mut Rejects) -> Vec<Standing> {
        let standing = |row| {
            self(Row { call, rows, row }).unwrap_or_else(|why| {
                rejects.push(row, why);
                Standing::Other
            })
        };
        (0..rows.count).map(standing).collect()
    }
}

/// Present where a condition holds.
pub(crate) struct Condition<R> {
    pub(crate) condition: R,
    pub(crate) otherwise: Standing,
}

impl<R: Read<Kind = Boolean>> Stand for Condition<R> {
    fn stand(&self, call: &Call<'_>, rows: &Rows, rejects: &mut Rejects) -> Vec<Standing> {
        if let Some(column) = self.column(rows) {
            return self.standing(column, rows.count);
        }
        let mut holds = Ints::new(rows.count);
        for row in 0..rows.count {
            if let Err(why) = self.condition.push(Row { call, rows, row }, &mut holds) {
                holds.push_null();
                rejects.push(row, why);
            }
        }
        self.standing(&holds.finish(), rows.count)
    }
}

impl<R: Read<Kind = Boolean>> Condition<R> {
    /// The column of integers that the condition is, if it is one: that is read where it lies.
    fn column<'a>(&self, rows: &'a Rows) -> Option<&'a Column> {
        let passing = self.condition.passing()?;
        let of_these = passing.relation == rows.relation;
        let column = of_these.then(|| &rows.columns[passing.index as usize])?;
        matches!(column.values, Buffer::Int64(_)).then_some(column)
    }

    /// Any integer but zero is true.
    fn standing(&self, holds: &Column, count: usize) -> Vec<Standing> {
        let standing = |holds: bool| if holds { Standing::Present } else { self.otherwise };
        match &holds.values {
            Buffer::Int64(values) if holds.validity.is_empty() => {
                values.iter().map(|value| standing(*value != 0)).collect()
            }
            _ => (0..count).map(|row| standing(holds.int(row).is_some_and(|it| it != 0))).collect(),
        }
    }
}

/// Entities that are made by hand: given to the closure of
/// [`EntitySide::each`](crate::EntitySide::each).
///
/// ```
/// use driftd_plugin::{Col, Integer, Out};
///
/// fn two(out: &mut Out, id: Col<Integer>) {
///     for number in [1, 2] {
///         out.set(id, number);
///         out.present();
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Out {
    columns: Vec<AnyColumn>,
    /// The row that each entity came from.
    from: Vec<u32>,
    standing: Vec<wire::Standing>,
    row: u32,
}

impl Out {
    fn new(entity: &EntityPlan) -> Self {
        Self {
            columns: entity.kinds.iter().map(|kind| AnyColumn::new(kind)).collect(),
            from: Vec::new(),
            standing: Vec::new(),
            row: 0,
        }
    }

    /// Sets a field of the entity that is being made. What is not set is null.
    ///
    /// ```
    /// # use driftd_plugin::{Col, Out, Text};
    /// fn named(out: &mut Out, name: Col<Text>) {
    ///     out.set(name, "Ada");
    ///     out.present();
    /// }
    /// ```
    ///
    /// # Panics
    ///
    /// Where the field was set already, or is of another entity type.
    pub fn set<K: Kind, T: IntoCell<Kind = K>>(&mut self, field: Col<K>, value: T) {
        let column = &mut self.columns[field.index as usize];
        column.pad(self.from.len());
        let column = K::Builder::of(column).expect("the field is of this entity type");
        assert_eq!(column.rows(), self.from.len(), "a field was set twice");
        value.push_into(column);
    }

    /// The entity is made, and present.
    ///
    /// ```
    /// # fn none(out: &mut driftd_plugin::Out) {
    /// out.present();
    /// # }
    /// ```
    pub fn present(&mut self) {
        self.finish(wire::Standing::Present);
    }

    /// The entity is made, and out of scope.
    ///
    /// ```
    /// # fn none(out: &mut driftd_plugin::Out) {
    /// out.excluded();
    /// # }
    /// ```
    pub fn excluded(&mut self) {
        self.finish(wire::Standing::Excluded);
    }

    /// The entity is made, and counts as not there.
    ///
    /// ```
    /// # fn none(out: &mut driftd_plugin::Out) {
    /// out.absent();
    /// # }
    /// ```
    pub fn absent(&mut self) {
        self.finish(wire::Standing::Absent);
    }

    fn finish(&mut self, standing: wire::Standing) {
        self.from.push(self.row);
        self.standing.push(standing);
        self.columns.iter_mut().for_each(|column| column.pad(self.from.len()));
    }
}

/// Entities made by hand, whatever the closure is.
#[doc(hidden)]
pub trait EachRow {
    fn each(&self, call: &Call<'_>, rows: &Rows, out: &mut Out, rejects: &mut Rejects);
}

/// A closure that makes entities by hand.
pub(crate) struct Each<F>(pub(crate) F);

impl<F: for<'a> Fn(Row<'a>, &mut Out) -> Result<()>> EachRow for Each<F> {
    fn each(&self, call: &Call<'_>, rows: &Rows, out: &mut Out, rejects: &mut Rejects) {
        for row in 0..rows.count {
            out.row = row as u32;
            if let Err(why) = (self.0)(Row { call, rows, row }, out) {
                rejects.push(row, why);
            }
        }
    }
}

/// The entities of one type that come from the rows of one input, before any is left out.
struct Made {
    entity: usize,
    input: usize,
    /// Empty where `out` has the entities.
    standing: Vec<Standing>,
    columns: Vec<Filled>,
    out: Option<Out>,
    /// The rows that are left out: another entity type has them.
    gone: Vec<bool>,
}

/// Maps all rows of a call.
pub(crate) fn map(entities: &[EntityPlan], tables: &[Table], call: Call<'_>) -> Mapped {
    let mut rejects: Vec<Rejects> = call.rows.iter().map(|_| Rejects::default()).collect();
    let mut made = stand(entities, &call, &mut rejects);
    exclude_unclaimed(&mut made, &call, &mut rejects);
    refuse_orphans(entities, tables, &call, &mut rejects);
    let side = usize::from(call.context.side == Side::Target);
    for made in made.iter_mut().filter(|made| made.out.is_none()) {
        let (rows, rejects) = (&call.rows[made.input], &mut rejects[made.input]);
        let is_other = |standing: &Standing| *standing == Standing::Other;
        // Of all rows: a search that may end anywhere is several times as slow.
        let any = made.standing.iter().fold(false, |any, standing| any | is_other(standing));
        let live =
            Live(any.then(|| made.standing.iter().map(|standing| !is_other(standing)).collect()));
        let fields = entities[made.entity].sides[side].fields.iter();
        made.columns = fields.map(|field| field.fill(&call, rows, &live, rejects)).collect();
    }
    finish(call, made, rejects)
}

/// What becomes of each row, for each entity type that it may be.
fn stand(entities: &[EntityPlan], call: &Call<'_>, rejects: &mut [Rejects]) -> Vec<Made> {
    let side = usize::from(call.context.side == Side::Target);
    let mut all = Vec::new();
    for (entity, plan) in entities.iter().enumerate() {
        let of_side = &plan.sides[side];
        for (input, rows) in call.rows.iter().enumerate() {
            if of_side.relation != rows.relation {
                continue;
            }
            let rejects = &mut rejects[input];
            let mut made = Made {
                entity,
                input,
                standing: Vec::new(),
                columns: Vec::new(),
                out: None,
                gone: Vec::new(),
            };
            match (&of_side.each, &of_side.standing) {
                (Some(each), _) => {
                    let mut out = Out::new(plan);
                    each.each(call, rows, &mut out, rejects);
                    made.out = Some(out);
                }
                (None, Some(standing)) => made.standing = standing.stand(call, rows, rejects),
                (None, None) => made.standing = vec![Standing::Present; rows.count],
            }
            all.push(made);
        }
    }
    all
}

/// A row that is no entity of any type is excluded, with nulls, in the first type; one that is some
/// other is left out of those that it is not.
fn exclude_unclaimed(made: &mut [Made], call: &Call<'_>, rejects: &mut [Rejects]) {
    for (input, rows) in call.rows.iter().enumerate() {
        let here = || (0..made.len()).filter(|at| made[*at].input == input);
        if here().count() < 2 {
            continue;
        }
        let mut claimed = vec![false; rows.count];
        rejects[input].0.iter().for_each(|(row, _)| claimed[*row as usize] = true);
        for at in here() {
            for (row, standing) in made[at].standing.iter().enumerate() {
                claimed[row] |= *standing != Standing::Other;
            }
            for row in made[at].out.iter().flat_map(|out| &out.from) {
                claimed[*row as usize] = true;
            }
        }
        let home = here().find(|at| made[*at].out.is_none());
        for at in here().collect::<Vec<_>>() {
            let is_home = home == Some(at);
            let made = &mut made[at];
            made.gone = made
                .standing
                .iter()
                .zip(&claimed)
                .map(|(standing, claimed)| *standing == Standing::Other && (*claimed || !is_home))
                .collect();
        }
    }
}

/// Rows of a relation that only joins others are nothing where no other is in their group; they are
/// refused if the plan says that each must belong to one.
fn refuse_orphans(
    entities: &[EntityPlan],
    tables: &[Table],
    call: &Call<'_>,
    rejects: &mut [Rejects],
) {
    let side = usize::from(call.context.side == Side::Target);
    let leads =
        |rows: &Rows| entities.iter().any(|entity| entity.sides[side].relation == rows.relation);
    let may_be_nothing = |rows: &Rows| !tables[rows.relation as usize].must_belong;
    if call.rows.iter().all(|rows| leads(rows) || may_be_nothing(rows)) {
        return;
    }
    let leading = call.rows.iter().filter(|rows| leads(rows));
    let groups = leading.flat_map(|rows| (0..rows.count).map(|row| rows.group(row)));
    let groups = sorted(groups.collect(), |group| u64::from(*group));
    let bound = |rows: &Rows| !leads(rows) && !may_be_nothing(rows);
    for (rows, rejects) in call.rows.iter().zip(rejects).filter(|(rows, _)| bound(rows)) {
        for row in (0..rows.count).filter(|row| groups.binary_search(&rows.group(*row)).is_err()) {
            rejects.push(
                row,
                Reject::from("belongs to no entity, and must: its group has no row that is one"),
            );
        }
    }
}

/// Moves the columns that pass as they are, and leaves out what is rejected or of another type.
fn finish(mut call: Call<'_>, mut made: Vec<Made>, mut rejects: Vec<Rejects>) -> Mapped {
    for rejects in &mut rejects {
        // The first reason of a row is the one that is told.
        rejects.0 = sorted(std::mem::take(&mut rejects.0), |(row, _)| u64::from(*row));
        rejects.0.dedup_by_key(|(row, _)| *row);
    }
    // A row that cannot be mapped takes its group with it: half of one would be compared as if it
    // were whole.
    let lost = call
        .rows
        .iter()
        .zip(&rejects)
        .flat_map(|(rows, rejects)| rejects.0.iter().map(|(row, _)| rows.group(*row as usize)));
    let lost = sorted(lost.collect(), |group| u64::from(*group));
    pass(&mut call, &mut made);
    let mut mapped = Mapped { outputs: Vec::with_capacity(made.len()), notes: Vec::new() };
    let mut left = made.into_iter();
    while let Some(made) = left.next() {
        let rows = &mut call.rows[made.input];
        let entity = made.entity as u32;
        if made.out.is_none() && lost.is_empty() && made.gone.is_empty() && rows.ascend() {
            let again = left.as_slice().iter().any(|later| later.input == made.input);
            let groups = rows.groups(again);
            mapped.outputs.push(made.whole(rows.count, groups));
            continue;
        }
        let rows = &*rows;
        let (columns, from, standing) = made.parts(rows);
        mapped.outputs.push(output(entity, columns, (from, standing), rows, &lost));
    }
    for (rows, rejects) in call.rows.iter().zip(rejects) {
        mapped.notes.extend(rejects.0.into_iter().map(|(row, why)| Note {
            input: rows.input,
            row,
            kind: "reject".to_owned(),
            message: why.into_message(),
        }));
    }
    mapped.notes.extend(call.warnings.into_inner());
    mapped
}

/// Moves every column that passes to the field that is the last to take it.
fn pass(call: &mut Call<'_>, made: &mut [Made]) {
    let mut taken = Vec::new();
    for (at, made) in made.iter().enumerate() {
        for (field, filled) in made.columns.iter().enumerate() {
            if let Filled::Passes(column) = filled {
                taken.push(((made.input, *column), at, field));
            }
        }
    }
    for (nth, (place, at, field)) in taken.iter().enumerate() {
        let column = &mut call.rows[place.0].columns[place.1];
        let again = taken[nth + 1..].iter().any(|(later, _, _)| later == place);
        let column = if again {
            column.clone()
        } else {
            let nothing = Column { validity: Vec::new(), values: Buffer::Int64(Vec::new()) };
            std::mem::replace(column, nothing)
        };
        made[*at].columns[*field] = Filled::Column(column);
    }
}

impl Made {
    /// The entities where each of `count` rows is one: nothing is left out.
    fn whole(self, count: usize, from_group: Vec<u32>) -> Output {
        let standing = |standing: Standing| match standing {
            Standing::Present => wire::Standing::Present,
            Standing::Absent => wire::Standing::Absent,
            Standing::Excluded | Standing::Other => wire::Standing::Excluded,
        };
        let columns = self.columns.into_iter().filter_map(|filled| match filled {
            Filled::Column(column) => Some(column),
            Filled::Passes(_) => None,
        });
        Output {
            entity: self.entity as u32,
            items: Batch { rows: count as u32, columns: columns.collect() },
            from_group,
            standing: self.standing.into_iter().map(standing).collect(),
        }
    }

    /// The columns, the row of each entity, and its standing; none where it is of another type.
    fn parts(self, rows: &Rows) -> (Vec<Column>, Vec<u32>, Vec<Option<wire::Standing>>) {
        if let Some(out) = self.out {
            let columns = out.columns.into_iter().map(AnyColumn::finish).collect();
            return (columns, out.from, out.standing.into_iter().map(Some).collect());
        }
        let columns = self.columns.into_iter().filter_map(|filled| match filled {
            Filled::Column(column) => Some(column),
            Filled::Passes(_) => None,
        });
        let standing = |(row, standing)| match standing {
            Standing::Present => Some(wire::Standing::Present),
            Standing::Absent => Some(wire::Standing::Absent),
            Standing::Excluded => Some(wire::Standing::Excluded),
            Standing::Other => {
                let is_gone: bool = self.gone.get(row).copied().unwrap_or(false);
                (!is_gone).then_some(wire::Standing::Excluded)
            }
        };
        let standing = self.standing.into_iter().enumerate().map(standing).collect();
        (columns.collect(), (0..rows.count as u32).collect(), standing)
    }
}

/// The entities, without those of lost groups and of other types, by ascending group.
fn output(
    entity: u32,
    columns: Vec<Column>,
    (from, standing): (Vec<u32>, Vec<Option<wire::Standing>>),
    rows: &Rows,
    lost: &[u32],
) -> Output {
    let group = |row: &u32| rows.group(*row as usize);
    let is_kept = |(row, standing): (&u32, &Option<wire::Standing>)| {
        standing.is_some() && (lost.is_empty() || lost.binary_search(&group(row)).is_err())
    };
    let all = from.iter().zip(&standing).all(is_kept);
    if all && from.is_sorted_by_key(group) {
        let from_group = from.iter().map(group).collect();
        let items = Batch { rows: from.len() as u32, columns };
        return Output {
            entity,
            items,
            from_group,
            standing: standing.into_iter().flatten().collect(),
        };
    }
    let kept = from.iter().zip(&standing).zip(0u32..).filter(|(entity, _)| is_kept(*entity));
    let kept: Vec<u32> = kept.map(|(_, at)| at).collect();
    let kept = sorted(kept, |at| u64::from(group(&from[*at as usize])));
    Output {
        entity,
        from_group: kept.iter().map(|at| group(&from[*at as usize])).collect(),
        standing: kept.iter().filter_map(|at| standing[*at as usize]).collect(),
        items: take(columns, &kept),
    }
}
