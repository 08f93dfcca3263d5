//! Tests of the search and its bounds on a mapping that fails as it is told.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::model::{Column, ColumnBuilder, SidePlan, Standing, Violation};
use crate::plugin::Access;

/// How the mapping fails.
#[derive(Clone, Debug, Default)]
struct Manner {
    /// Rows, by their number, that fail whatever is beside them.
    guilty: BTreeSet<i64>,
    /// Pairs and entities, by their number, that do.
    others: BTreeSet<i64>,
    /// Rows that are rejected as they should be.
    rejected: BTreeSet<i64>,
    /// Rows of a call beyond which its output is too large.
    rows_max: Option<usize>,
    /// Calls that an instance survives.
    calls_max: Option<u32>,
    /// Pairs of rows that fail together.
    together: Option<(i64, i64)>,
    /// What is said of a failure.
    kind: Option<PluginErrorKind>,
    /// A function that fails before rows are looked at.
    start: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Fake {
    manner: Arc<Mutex<Manner>>,
    calls: Arc<AtomicU32>,
    plan: MappingPlan,
}

struct FakeSession {
    fake: Fake,
    calls: u32,
}

impl Mapper for Fake {
    fn identity(&self) -> MappingIdentity {
        MappingIdentity(0)
    }

    fn plan(&self) -> &MappingPlan {
        &self.plan
    }

    fn invariants(&self) -> &[InvariantDef] {
        &[]
    }

    fn locates(&self, _side: Side) -> bool {
        false
    }

    fn identifies(&self) -> bool {
        false
    }

    fn begin(&self, _as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(FakeSession { fake: self.clone(), calls: 0 }))
    }
}

fn error(function: &'static str, kind: PluginErrorKind) -> PluginError {
    PluginError::new("fake".to_owned(), "0123456789ab".to_owned(), function, kind)
}

fn trap() -> PluginErrorKind {
    PluginErrorKind::Trap("unreachable".to_owned())
}

impl Session for FakeSession {
    fn map(&mut self, _side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let rows = &rows.inputs[0].rows;
        let manner = self.fake.manner.lock().unwrap().clone();
        let ids = ids(rows);
        self.fake.calls.fetch_add(1, Ordering::Relaxed);
        self.calls += 1;
        let has = |id: i64| ids.contains(&id);
        let kind = if manner.calls_max.is_some_and(|most| self.calls > most) {
            Some(PluginErrorKind::Memory { allowed: 1, detail: "a leak".to_owned() })
        } else if manner.rows_max.is_some_and(|most| ids.len() > most) {
            Some(PluginErrorKind::Output { allowed: 1 })
        } else if manner.together.is_some_and(|(one, two)| has(one) && has(two))
            || ids.iter().any(|id| manner.guilty.contains(id))
        {
            Some(manner.kind.clone().unwrap_or_else(trap))
        } else {
            None
        };
        if let Some(function) = manner.start {
            return Err(error(function, trap()));
        }
        if let Some(kind) = kind {
            self.calls = 0;
            return Err(error("map-batch", kind));
        }
        let rejected = |row: &usize| manner.rejected.contains(&ids[*row]);
        let kept: Vec<usize> = (0..ids.len()).filter(|row| !rejected(row)).collect();
        let reasons = (0..ids.len()).filter(rejected).map(|row| (row, format!("no {}", ids[row])));
        let output = Output {
            entity: 0,
            entities: rows.take(&kept),
            standing: vec![Standing::Present; kept.len()],
            from_group: kept,
        };
        Ok(Mapped { outputs: vec![output], rejected: reasons.collect(), failed: None })
    }

    /// Those that can be divided by four lie in two places, and all others in one.
    fn locate(
        &mut self,
        _side: Side,
        _entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        let ids = self.others("locate", entities)?;
        let place = |relation, of: &dyn Fn(i64) -> bool| {
            let from_entity: Vec<usize> = (0..ids.len()).filter(|at| of(ids[*at])).collect();
            let keys = entities.take(&from_entity);
            Located { relation, access: Access::Get, keys, from_entity }
        };
        Ok(vec![place(1, &|_| true), place(0, &|id| id % 4 == 0)])
    }

    fn keys_of(
        &mut self,
        _side: Side,
        _relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        self.others("keys-of", keys)?;
        Ok(Vec::new())
    }

    fn tally(&mut self, _invariant: usize, _tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        Err(error("accumulator", trap()))
    }

    /// Odd pairs are wrong.
    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        let ids = self.others("check-pairs", pairs.source)?;
        let odd = ids.iter().enumerate().filter(|(_, id)| *id % 2 != 0);
        let told = |(pair, id): (usize, &i64)| PairViolation {
            pair,
            violation: Violation { invariant: 0, message: id.to_string() },
        };
        Ok(odd.map(told).collect())
    }
}

fn ids(batch: &Batch) -> Vec<i64> {
    let id = |row| i64::try_from(batch.columns[0].integer(row).unwrap()).unwrap();
    (0..batch.rows).map(id).collect()
}

impl FakeSession {
    /// The numbers of pairs or entities, unless one of them fails or they are too many.
    fn others(&mut self, function: &'static str, batch: &Batch) -> Result<Vec<i64>, PluginError> {
        let manner = self.fake.manner.lock().unwrap().clone();
        self.fake.calls.fetch_add(1, Ordering::Relaxed);
        let ids = ids(batch);
        let too_many = manner.rows_max.is_some_and(|most| ids.len() > most);
        if too_many || ids.iter().any(|id| manner.others.contains(id)) {
            return Err(error(function, manner.kind.unwrap_or_else(trap)));
        }
        Ok(ids)
    }
}

/// A guarded fake, what it is told, and its clock in seconds.
struct World {
    mapper: Arc<dyn Mapper>,
    fake: Fake,
    seconds: Arc<AtomicI64>,
}

impl World {
    fn new(manner: Manner) -> Self {
        let side = || SidePlan { relations: Vec::new(), mapped: true };
        let plan = MappingPlan { entities: Vec::new(), source: side(), target: side() };
        let manner = Arc::new(Mutex::new(manner));
        let fake = Fake { manner, calls: Arc::default(), plan };
        let seconds = Arc::new(AtomicI64::new(0));
        let told = Arc::clone(&seconds);
        let clock: Clock = Arc::new(move || Moment(told.load(Ordering::Relaxed) * 1_000_000));
        Self { mapper: guarded(Arc::new(fake.clone()), "things", clock), fake, seconds }
    }

    fn session(&self) -> Box<dyn Session> {
        self.mapper.begin(Moment(0)).unwrap()
    }

    fn become_of(&self, manner: Manner) {
        *self.fake.manner.lock().unwrap() = manner;
    }

    fn calls(&self) -> u32 {
        self.fake.calls.swap(0, Ordering::Relaxed)
    }
}

fn rows(ids: impl IntoIterator<Item = i64>) -> Batch {
    let mut column = ColumnBuilder::int64(0);
    ids.into_iter().for_each(|id| column.push_i64(id));
    Batch { rows: column.len(), columns: vec![column.finish()] }
}

/// What was mapped and rejected, by number, of rows that are numbered from 0.
fn told_of(mapped: &Mapped) -> (Vec<usize>, Vec<usize>) {
    let ids = &mapped.outputs[0].entities;
    for (at, row) in mapped.outputs[0].from_group.iter().enumerate() {
        assert_eq!(ids.columns[0].integer(at), Some(i128::try_from(*row).unwrap()));
    }
    assert_eq!(mapped.outputs[0].standing.len(), ids.rows);
    (mapped.outputs[0].from_group.clone(), mapped.rejected.iter().map(|(row, _)| *row).collect())
}

/// How many items of a call the plugin takes at most, if there is a limit. With one, each item costs two
/// calls of a search, and 700 items more than a search may make.
fn takes() -> impl Strategy<Value = Option<usize>> {
    prop::option::of(2usize..700)
}

proptest! {
    #[test]
    fn exactly_the_guilty_rows_are_rejected_and_the_others_are_mapped_as_without_them(
        count in 1usize..700,
        guilty in prop::collection::btree_set(0i64..700, 0..=GUILTY_MAX),
        rejected in prop::collection::btree_set(0i64..700, 0..20),
        rows_max in takes(),
        calls_max in prop::option::of(1u32..5),
        together in prop::option::of((0i64..700, 0i64..700)),
    ) {
        let together = together.filter(|(one, two)| one != two);
        let manner = Manner { guilty, rejected, rows_max, calls_max, together, ..Manner::default() };
        let world = World::new(manner.clone());
        // Some row of the side is mapped before: it is not the plugin that is broken.
        let mut session = world.session();
        session.map(Side::Source, &Rows::each(0, &rows([9_999]))).unwrap();
        let all: BTreeSet<i64> = (0..i64::try_from(count).unwrap()).collect();
        let mapped = session.map(Side::Source, &Rows::each(0, &rows(all.clone()))).unwrap();
        let (from, out) = told_of(&mapped);
        let refused: BTreeSet<i64> = manner.guilty.union(&manner.rejected).copied().collect();
        let wanted = |rows: Vec<i64>| -> Vec<usize> {
            rows.into_iter().map(|row| usize::try_from(row).unwrap()).collect()
        };
        prop_assert_eq!(from, wanted(all.difference(&refused).copied().collect()));
        prop_assert_eq!(out, wanted(all.intersection(&refused).copied().collect()));
        let mut fails = manner.guilty.iter().filter(|id| all.contains(id));
        let first = fails.next().map(|id| (usize::try_from(*id).unwrap(), 1 + fails.count()));
        prop_assert_eq!(mapped.failed.as_ref().map(|it| (it.group, it.count)), first);
        for (row, why) in &mapped.rejected {
            let guilty = manner.guilty.contains(&i64::try_from(*row).unwrap());
            prop_assert_eq!(why.starts_with("plugin `fake`, map-batch: trapped"), guilty, "{}", why);
        }
    }

    #[test]
    fn beyond_the_limit_the_call_fails_and_its_cost_is_bounded(
        guilty in prop::collection::btree_set(0i64..2_000, GUILTY_MAX + 1..200),
    ) {
        let world = World::new(Manner { guilty, ..Manner::default() });
        let mut session = world.session();
        session.map(Side::Source, &Rows::each(0, &rows([9_999]))).unwrap();
        let error = session.map(Side::Source, &Rows::each(0, &rows(0..2_000))).unwrap_err();
        prop_assert_eq!(&error.kind, &trap());
        prop_assert!(error.blame().contains("more than 16 rows of this check"), "{}", error.blame());
        prop_assert!(world.calls() < 700);
        // What no more may be found guilty costs no search.
        session.map(Side::Source, &Rows::each(0, &rows(0..2_000))).unwrap_err();
        prop_assert!(world.calls() <= 2);
    }
}

#[test]
fn a_plugin_that_always_fails_costs_few_calls_and_blames_no_row() {
    let world = World::new(Manner { guilty: (0..5_000).collect(), ..Manner::default() });
    let mut session = world.session();
    for rows in [rows(0..1_000), rows(3..5), rows(7..8)] {
        session.map(Side::Source, &Rows::each(0, &rows)).unwrap_err();
    }
    assert!(world.calls() <= 25);
    session.map(Side::Target, &Rows::each(0, &rows(0..1_000))).unwrap_err();
    assert_eq!(world.calls(), 0, "after three failures it is not called again");

    let mut session = world.session();
    let error = session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap_err();
    let told = error.blame();
    assert!(told.contains("no row of the source has been mapped yet"), "{told}");
    // The same rows, once it is known to map others: then it is they.
    session.map(Side::Source, &Rows::each(0, &rows([9_999]))).unwrap();
    let mapped = session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
    assert_eq!(mapped.rejected.len(), 9);
    // What one side can says nothing of the other.
    session.map(Side::Target, &Rows::each(0, &rows(0..9))).unwrap_err();
}

#[test]
fn rows_that_come_again_are_found_again_at_no_cost() {
    let world = World::new(Manner { guilty: (0..16).collect(), ..Manner::default() });
    let mut session = world.session();
    session.map(Side::Source, &Rows::each(0, &rows([99]))).unwrap();
    for _ in 0..5 {
        session.mark();
        let mapped = session.map(Side::Source, &Rows::each(0, &rows(0..64))).unwrap();
        assert_eq!(mapped.rejected.len(), 16);
        session.back();
    }
    session.map(Side::Source, &Rows::each(0, &rows(0..64))).unwrap();
    session.map(Side::Source, &Rows::each(0, &rows(0..64))).unwrap_err();
}

#[test]
fn a_plugin_that_cannot_say_whose_rows_are_rejected_costs_no_rows() {
    let world = World::new(Manner { others: [5].into(), ..Manner::default() });
    for _ in 0..9 {
        let mut session = world.session();
        let keys = rows([5]);
        session.keys_of(Side::Source, 0, &keys).unwrap_err();
        world.calls();
        assert_eq!(session.keys_of(Side::Source, 0, &keys).unwrap(), []);
        assert_eq!(world.calls(), 0, "it is not asked again in this check");
        session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
    }
}

#[test]
fn what_is_no_rows_fault_is_not_searched() {
    let spent = PluginErrorKind::Patience { millis: 120_000 };
    let own = PluginErrorKind::Own { code: "mood".to_owned(), message: "secret".to_owned() };
    for manner in [
        Manner { start: Some("init"), ..Manner::default() },
        Manner { guilty: [5].into(), kind: Some(own), ..Manner::default() },
        Manner { guilty: [5].into(), kind: Some(spent), ..Manner::default() },
    ] {
        let world = World::new(Manner::default());
        world.session().map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
        world.become_of(manner);
        world.calls();
        let error = world.session().map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap_err();
        assert_eq!(world.calls(), 1);
        assert!(!error.blame().contains("secret"), "{}", error.blame());
    }
}

#[test]
fn calls_that_run_into_the_deadline_are_few() {
    let slow = |guilty| Manner {
        guilty,
        kind: Some(PluginErrorKind::Deadline { millis: 2_000 }),
        ..Manner::default()
    };
    let world = World::new(slow((0..5_000).collect()));
    world.session().map(Side::Source, &Rows::each(0, &rows(0..1_000))).unwrap_err();
    assert!(world.calls() <= DEADLINES_UNPROVEN, "none has been mapped");

    let world = World::new(slow([777].into()));
    let mapped = world.session().map(Side::Source, &Rows::each(0, &rows(0..1_000))).unwrap();
    assert_eq!(told_of(&mapped).1, [777]);

    let world = World::new(slow((0..1_000).filter(|row| row % 50 == 7).collect()));
    let mut session = world.session();
    let error = session.map(Side::Source, &Rows::each(0, &rows(0..1_000))).unwrap_err();
    let told = error.blame();
    assert!(told.contains("not found within 12 calls that ran into the deadline"), "{told}");
}

#[test]
fn a_look_may_find_as_many_as_it_asks_for() {
    let world = World::new(Manner { guilty: (0..100).collect(), ..Manner::default() });
    let mut session = world.session();
    session.map(Side::Source, &Rows::each(0, &rows([9_999]))).unwrap();
    session.allow_guilty(100);
    let mapped = session.map(Side::Source, &Rows::each(0, &rows(0..100))).unwrap();
    assert_eq!(mapped.rejected.len(), 100);
    session.map(Side::Source, &Rows::each(0, &rows([5]))).unwrap_err();
}

#[test]
fn parts_that_chose_other_layouts_for_their_integers_are_joined() {
    let batch = |values: Vec<Option<i128>>| Batch {
        rows: values.len(),
        columns: vec![Column::of_integers(&values)],
    };
    let (huge, small) = (i128::from(u64::MAX), i128::from(i64::MIN));
    let parts =
        [batch(vec![Some(1), None]), Batch::default(), batch(vec![Some(huge), Some(small)])];
    let whole = Batch::concat(&parts.iter().collect::<Vec<_>>());
    let cells: Vec<_> = (0..whole.rows).map(|row| whole.columns[0].whole(row)).collect();
    assert_eq!(cells[..1], [Some(1)]);
    assert!(!whole.columns[0].is_valid(1));
    assert_eq!(cells[2..], [Some(huge), Some(small)]);
}

#[test]
fn too_many_failures_in_a_row_leave_the_plugin_alone_until_a_try_goes_well() {
    let world = World::new(Manner::default());
    world.session().map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
    world.become_of(Manner { start: Some("init"), ..Manner::default() });
    for _ in 0..5 {
        world.session().map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap_err();
    }
    world.calls();
    let error = world.mapper.begin(Moment(0)).map(drop).unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::PluginPaused);
    let told = error.blame();
    assert!(told.starts_with("plugin `fake` (0123456789ab), init, pairing `things`: is not called since 1970-01-01T00:00:00Z because 5 checks in a row failed"), "{told}");
    // A try that calls nothing decides nothing; one that fails makes the wait longer.
    world.seconds.store(5, Ordering::Relaxed);
    drop(world.session());
    world.session().map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap_err();
    world.seconds.store(14, Ordering::Relaxed);
    world.mapper.begin(Moment(0)).map(drop).unwrap_err();
    world.become_of(Manner::default());
    world.seconds.store(15, Ordering::Relaxed);
    let mut session = world.session();
    world.mapper.begin(Moment(0)).map(drop).unwrap_err();
    session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
    drop(session);
    drop((world.session(), world.session()));
}

#[test]
fn a_check_in_which_the_function_succeeds_elsewhere_does_not_count() {
    let world = World::new(Manner { guilty: (0..100).collect(), ..Manner::default() });
    for _ in 0..9 {
        let mut session = world.session();
        session.map(Side::Source, &Rows::each(0, &rows(0..200))).unwrap_err();
        session.map(Side::Source, &Rows::each(0, &rows(500..600))).unwrap();
    }
    assert!(world.mapper.begin(Moment(0)).is_ok());
}

#[test]
fn a_search_ends_at_its_limit_of_calls_and_says_so() {
    let world = World::new(Manner { rows_max: Some(1), ..Manner::default() });
    let mut session = world.session();
    session.map(Side::Source, &Rows::each(0, &rows([9_999]))).unwrap();
    world.calls();
    let error = session.map(Side::Source, &Rows::each(0, &rows(0..700))).unwrap_err();
    let told = error.blame();
    assert!(told.contains("the rows that cause it were not found within 1000 calls"), "{told}");
    let calls = world.calls();
    assert!((1_001..2_100).contains(&calls), "each tried twice at most: {calls}");
}

#[test]
fn a_failure_of_any_function_counts() {
    let world = World::new(Manner { others: (0..9).collect(), ..Manner::default() });
    for _ in 0..5 {
        let mut session = world.session();
        let mapped = session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
        let error = session.locate_each(Side::Target, 0, &mapped.outputs[0].entities).unwrap_err();
        assert!(
            error.blame().contains("locate, pairing `things`, target, 9 rows: trapped"),
            "{error}"
        );
    }
    assert!(world.mapper.begin(Moment(0)).is_err());
}

fn number(at: usize) -> i64 {
    i64::try_from(at).unwrap()
}

/// Pairs whose source and target have these numbers.
fn check(session: &mut dyn Session, ids: &[i64]) -> Result<Checked, PluginError> {
    let (batch, present) = (rows(ids.iter().copied()), vec![true; ids.len()]);
    session.check_each(&Pairs {
        entity: 0,
        source: &batch,
        source_present: &present,
        target: &batch,
        target_present: &present,
    })
}

proptest! {
    #[test]
    fn exactly_the_guilty_pairs_are_unread_and_the_others_are_checked_as_without_them(
        count in 1i64..700,
        others in prop::collection::btree_set(0i64..700, 0..=GUILTY_MAX),
        rows_max in takes(),
    ) {
        let world = World::new(Manner { others: others.clone(), rows_max, ..Manner::default() });
        let mut session = world.session();
        check(&mut *session, &[9_998]).unwrap();
        let checked = check(&mut *session, &(0..count).collect::<Vec<_>>()).unwrap();
        let told: Vec<i64> = checked.failed.iter().map(|(pair, _)| number(*pair)).collect();
        let guilty: Vec<i64> = others.iter().copied().filter(|id| *id < count).collect();
        prop_assert_eq!(&told, &guilty);
        for (_, error) in &checked.failed {
            prop_assert!(error.blame().contains("the pair fails by itself"), "{}", error.blame());
        }
        let wrong: Vec<i64> = checked.violations.iter().map(|it| number(it.pair)).collect();
        let odd = (0..count).filter(|id| id % 2 != 0 && !others.contains(id));
        prop_assert_eq!(&wrong, &odd.collect::<Vec<_>>());
        for violation in &checked.violations {
            prop_assert_eq!(&violation.violation.message, &violation.pair.to_string());
        }
    }

    #[test]
    fn exactly_the_guilty_entities_are_unread_and_the_others_are_located_as_without_them(
        count in 1i64..700,
        others in prop::collection::btree_set(0i64..700, 0..=GUILTY_MAX),
        rows_max in takes(),
    ) {
        let world = World::new(Manner { others: others.clone(), rows_max, ..Manner::default() });
        let mut session = world.session();
        session.locate_each(Side::Target, 0, &rows([9_998])).unwrap();
        let placed = session.locate_each(Side::Target, 0, &rows(0..count)).unwrap();
        let told: Vec<i64> = placed.failed.iter().map(|(entity, _)| number(*entity)).collect();
        let guilty: Vec<i64> = others.iter().copied().filter(|id| *id < count).collect();
        prop_assert_eq!(&told, &guilty);
        for every in [1, 4] {
            let relation = usize::from(every == 1);
            let here: Vec<_> =
                placed.located.iter().filter(|it| it.relation == relation).collect();
            prop_assert!(here.len() <= 1, "one for each relation and access");
            let keys: Vec<i64> = here.iter().flat_map(|it| ids(&it.keys)).collect();
            let from: Vec<i64> =
                here.iter().flat_map(|it| &it.from_entity).map(|at| number(*at)).collect();
            prop_assert_eq!(&keys, &from);
            let wanted = (0..count).filter(|id| id % every == 0 && !others.contains(id));
            prop_assert_eq!(&keys, &wanted.collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_plugin_that_fails_on_every_pair_costs_few_calls_and_blames_none() {
    let world = World::new(Manner { others: (0..5_000).collect(), ..Manner::default() });
    for at in 0..5 {
        let mut session = world.session();
        session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
        world.calls();
        let error = check(&mut *session, &(0..1_000).collect::<Vec<_>>()).unwrap_err();
        let told = error.blame();
        assert!(told.contains("more than 16 pairs of this check fail by themselves"), "{told}");
        let error = check(&mut *session, &[7]).unwrap_err();
        assert_eq!(error.call.search, None, "nothing is left to be found: {}", error.blame());
        assert!(world.calls() <= 25, "check {at}");
    }
    assert!(world.mapper.begin(Moment(0)).is_err(), "it is left alone");

    // A single pair is none that may be blamed while no other has been checked.
    let world = World::new(Manner { others: [7].into(), ..Manner::default() });
    let error = check(&mut *world.session(), &[7]).unwrap_err();
    let told = error.blame();
    assert!(told.contains("no pair has been checked yet"), "{told}");
    let mut session = world.session();
    check(&mut *session, &[8]).unwrap();
    assert_eq!(check(&mut *session, &[7]).unwrap().failed.len(), 1);
}

#[test]
fn what_pairs_cost_is_not_taken_from_rows() {
    let guilty: BTreeSet<i64> = (0..100).collect();
    let world = World::new(Manner { others: guilty, guilty: [5].into(), ..Manner::default() });
    let mut session = world.session();
    check(&mut *session, &[9_998]).unwrap();
    check(&mut *session, &(0..200).collect::<Vec<_>>()).unwrap_err();
    let mapped = session.map(Side::Source, &Rows::each(0, &rows(0..9))).unwrap();
    assert_eq!(told_of(&mapped).1, [5]);
    // A look asks for as many as it looks at.
    session.allow_guilty(100);
    assert_eq!(check(&mut *session, &(0..50).collect::<Vec<_>>()).unwrap().failed.len(), 50);
}

#[test]
fn a_pair_is_not_blamed_for_what_the_plugin_says_of_the_whole_call() {
    let own = PluginErrorKind::Own { code: "mood".to_owned(), message: "secret".to_owned() };
    let manner = Manner { others: [5].into(), kind: Some(own), ..Manner::default() };
    let world = World::new(manner);
    let mut session = world.session();
    check(&mut *session, &[8]).unwrap();
    world.calls();
    check(&mut *session, &[4, 5, 6]).unwrap_err();
    assert_eq!(world.calls(), 1);
}
