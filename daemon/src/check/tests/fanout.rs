//! Checks and looks where a row of one side is many entities, and each of these is of another group of
//! rows of the other: actors with their films in the source, films with their actors in the target.

use std::collections::BTreeSet;

use futures::FutureExt;
use proptest::prelude::*;

use super::{asked, int, nonzero, row, text};
use crate::check::{Context, RelationContext, Share, SideContext, check, look};
use crate::compare::Canon;
use crate::model::{
    Asked, Batch, Column, ColumnBuilder, ColumnDef, Direction, EntityDef, Extent, FaultCode,
    FieldDef, InvariantDef, Leads, Logical, MappingIdentity, MappingPlan, Moment, Outcome,
    Partition, Range, RelationPlan, RelationSchema, Role, Side, SidePlan, Sighting, Standing,
    State, Value,
};
use crate::plugin::{
    Access, Located, Mapped, Mapper, Output, PairViolation, Pairs, PluginError, Rows, Session,
    Tallied, Tally,
};
use crate::store::Read;
use crate::store::memory::{Handle, Layout, Memory};

/// Films that the mapping places nowhere.
const NOWHERE: i128 = 900;
/// Films of which it makes nothing.
const NOTHING: i128 = 700;
/// Films of which it names another row in the source than theirs.
const ELSEWHERE: i128 = 800;

/// Who plays in which film: an entity each.
#[derive(Clone, Debug)]
struct Cast(MappingPlan);

fn cast() -> Cast {
    let field = |name: &str| FieldDef {
        name: name.to_owned(),
        logical: Logical::Integer,
        role: Role::Key,
        rules: Vec::new(),
    };
    let relation = |columns: &[&str], group_by: &[usize]| RelationPlan {
        relation: 0,
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ignored: Vec::new(),
        group_by: group_by.to_vec(),
    };
    let side = |relation| SidePlan { relations: vec![relation], mapped: true };
    let fields = vec![field("film"), field("actor")];
    Cast(MappingPlan {
        entities: vec![EntityDef { name: "credit".to_owned(), fields }],
        source: side(relation(&["actor", "film"], &[0])),
        target: side(relation(&["pk", "actors", "more"], &[])),
    })
}

impl Mapper for Cast {
    fn identity(&self) -> MappingIdentity {
        MappingIdentity(9)
    }

    fn plan(&self) -> &MappingPlan {
        &self.0
    }

    fn invariants(&self) -> &[InvariantDef] {
        &[]
    }

    fn locates(&self, _side: Side) -> bool {
        true
    }

    fn identifies(&self) -> bool {
        false
    }

    fn begin(&self, _as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(self.clone()))
    }
}

fn number(value: &Value) -> i128 {
    let Value::Number(number) = value else { panic!("{value:?}") };
    number.to_integer().unwrap()
}

fn column(cells: impl Iterator<Item = i128>) -> Column {
    Column::of_integers(&cells.map(Some).collect::<Vec<_>>())
}

impl Session for Cast {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let mut made: Vec<(usize, i128, i128)> = Vec::new();
        for input in &rows.inputs {
            let columns = &input.rows.columns;
            for row in 0..input.rows.rows {
                let group = input.group.as_ref().map_or(row, |group| group[row] as usize);
                if side == Side::Source {
                    let cell = |at: usize| columns[at].integer(row).unwrap();
                    if cell(1) != NOTHING {
                        made.push((group, cell(1), cell(0)));
                    }
                    continue;
                }
                let pk = std::str::from_utf8(columns[0].bytes(row).unwrap()).unwrap();
                let film = pk.trim_start_matches("FILM#").parse().unwrap();
                let Value::List(actors) = Value::decode(columns[1].bytes(row).unwrap()).unwrap()
                else {
                    panic!("actors are a list")
                };
                made.extend(actors.iter().map(|actor| (group, film, number(actor))));
            }
        }
        made.sort_by_key(|(group, ..)| *group);
        let output = Output {
            entity: 0,
            entities: Batch {
                rows: made.len(),
                columns: vec![
                    column(made.iter().map(|(_, film, _)| *film)),
                    column(made.iter().map(|(.., actor)| *actor)),
                ],
            },
            from_group: made.iter().map(|(group, ..)| *group).collect(),
            standing: vec![Standing::Present; made.len()],
        };
        Ok(Mapped { outputs: vec![output], ..Mapped::default() })
    }

    fn locate(
        &mut self,
        side: Side,
        _entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        let cell = |at: usize, row: usize| entities.columns[at].integer(row).unwrap();
        let from_entity: Vec<usize> =
            (0..entities.rows).filter(|row| cell(0, *row) != NOWHERE).collect();
        let rows = || from_entity.iter().copied();
        let columns = match side {
            Side::Source => {
                let actor = |row| cell(1, row) + if cell(0, row) == ELSEWHERE { 50 } else { 0 };
                vec![column(rows().map(actor)), column(rows().map(|row| cell(0, row)))]
            }
            Side::Target => {
                let mut pks = ColumnBuilder::bytes(entities.rows);
                rows().for_each(|row| pks.push_bytes(format!("FILM#{}", cell(0, row)).as_bytes()));
                vec![pks.finish()]
            }
        };
        let keys = Batch { rows: from_entity.len(), columns };
        Ok(vec![Located { relation: 0, access: Access::Get, keys, from_entity }])
    }

    fn keys_of(&mut self, _: Side, _: usize, _: &Batch) -> Result<Vec<Output>, PluginError> {
        Ok(Vec::new())
    }

    fn check_pairs(&mut self, _: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        Ok(Vec::new())
    }

    fn tally(&mut self, _: usize, _: &Tally<'_>) -> Result<Tallied, PluginError> {
        Ok(Tallied { state: Vec::new(), violations: Vec::new() })
    }
}

struct World {
    context: Context,
    source: Handle,
    target: Handle,
}

/// How much is read at once, and who leads.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    page_rows: u32,
    window_rows: u32,
    leader: Side,
    /// Whether entities can be located in the source, so that both directions are read.
    both_ways: bool,
}

fn world(geometry: Geometry) -> World {
    let Geometry { page_rows, window_rows, leader, both_ways } = geometry;
    let def = |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: true };
    let whole = Logical::Integer;
    let schema = |relation: &str, columns, key: &[usize], open| RelationSchema {
        relation: relation.to_owned(),
        columns,
        key: key.to_vec(),
        open,
        partial: false,
    };
    let films = schema("cast", vec![def("actor", whole), def("film", whole)], &[0, 1], false);
    let items = schema("items", vec![def("pk", Logical::Text)], &[0], true);
    let mapper = cast();
    let side = |schema: RelationSchema, plan: &SidePlan, layout, locatable| {
        let (store, handle) = Memory::new("store", true);
        handle.create(schema.clone(), layout);
        let plan = &plan.relations[0];
        let cut = plan.group_by.first().map(|at| plan.columns[*at].clone());
        let (columns, ignored) = (plan.columns.clone(), Vec::new());
        let read = Read { schema, columns, ignored, page_rows: nonzero(page_rows), cut };
        let relations = vec![RelationContext { read, group: plan.group_by.clone() }];
        (SideContext { store: std::sync::Arc::new(store), relations, locatable }, handle)
    };
    let (source_side, source) = side(films, &mapper.0.source, Layout::Ranges, both_ways);
    let (target_side, target) = side(items, &mapper.0.target, Layout::Segments, true);
    let context = Context {
        pairing: "credits".to_owned(),
        leads: Leads(leader),
        source: source_side,
        target: target_side,
        canons: Canon::all(&mapper.0.entities, [7; 32]).unwrap(),
        mapper: std::sync::Arc::new(mapper),
        partition_rows: nonzero(100_000),
        window_rows: nonzero(window_rows),
        share: Share::new(256 << 20),
        clock: std::sync::Arc::new(|| Moment(1)),
    };
    World { context, source, target }
}

impl World {
    /// A film of these actors in the target; `padding` makes its item large.
    fn item(&self, film: i128, actors: &BTreeSet<i128>, padding: usize) {
        let actors = Value::List(actors.iter().map(|actor| int(*actor)).collect());
        let pk = text(&format!("FILM#{film}"));
        let more = text(&"x".repeat(padding));
        self.target.put("items", row(&[("pk", pk), ("actors", actors), ("more", more)]));
    }

    fn played(&self, film: i128, actors: &BTreeSet<i128>) {
        for actor in actors {
            self.source.put("cast", row(&[("actor", int(*actor)), ("film", int(film))]));
        }
    }

    /// Checks all that there is in a direction, whatever is left of it. Returns the sum.
    fn checked(&self, direction: Direction) -> Outcome {
        let mut extent = Some(match direction {
            Direction::FromTarget => Extent::Segment { index: 0, of: 1 },
            Direction::FromSource | Direction::Aligned => {
                Extent::Range(Range { from: None, until: None })
            }
        });
        let mut all = Outcome::default();
        while let Some(next) = extent {
            let partition = Partition { number: 0, extent: next, direction };
            let part = check(&self.context, &partition, 100_000, Moment(1)).now_or_never().unwrap();
            all.same += part.same;
            all.excluded += part.excluded;
            all.told_elsewhere += part.told_elsewhere;
            all.suspects.extend(part.suspects);
            all.unread.extend(part.unread);
            extent = part.rest;
        }
        all
    }
}

fn films(actors: i128) -> BTreeSet<i128> {
    (1..=actors).collect()
}

const PLAIN: Geometry =
    Geometry { page_rows: 1_000, window_rows: 4_000, leader: Side::Source, both_ways: true };

#[test]
fn entities_of_one_item_are_each_compared_once_however_many_there_are() {
    for both_ways in [true, false] {
        let world = world(Geometry { both_ways, ..PLAIN });
        for film in 1..=600 {
            world.played(film, &films(3));
            world.item(film, &films(3), 0);
        }
        let outcome = world.checked(Direction::FromSource);
        assert_eq!((outcome.same, outcome.unread), (1_800, vec![]));
        assert_eq!((outcome.suspects.len(), outcome.told_elsewhere), (0, 0));
    }
    let world = world(PLAIN);
    for film in 1..=600 {
        world.played(film, &films(3));
        world.item(film, &films(3), 0);
    }
    let outcome = world.checked(Direction::FromTarget);
    assert_eq!((outcome.same, outcome.unread, outcome.suspects), (1_800, vec![], vec![]));
}

#[test]
fn an_item_that_is_read_again_because_it_was_too_much_is_there_once() {
    let world = world(Geometry { page_rows: 40, ..PLAIN });
    // The items of one actor are more than may be held at once, those of some films are not.
    for film in 1..=30 {
        world.played(film, &BTreeSet::from([film, 100 + film, 200]));
        world.item(film, &BTreeSet::from([film, 100 + film]), 4 << 20);
    }
    let outcome = world.checked(Direction::FromSource);
    assert!(!outcome.unread.is_empty(), "the films of actor 200 together are too much");
    assert_eq!((outcome.same, outcome.suspects), (60, vec![]));
}

#[test]
fn an_entity_without_a_place_is_unmappable_by_its_key_whichever_side_is_read() {
    for leader in [Side::Source, Side::Target] {
        let world = world(Geometry { leader, ..PLAIN });
        for (film, actors) in [(1, films(2)), (NOWHERE, BTreeSet::from([11, 12]))] {
            world.played(film, &actors);
            world.item(film, &actors, 0);
        }
        for (direction, side) in
            [(Direction::FromSource, Side::Source), (Direction::FromTarget, Side::Target)]
        {
            let outcome = world.checked(direction);
            assert_eq!((outcome.same, outcome.unread, outcome.suspects.len()), (2, vec![], 2));
            for (seen, actor) in outcome.suspects.iter().zip(11..) {
                let key = Value::List(vec![int(NOWHERE), int(actor)]).to_cbor();
                assert_eq!(&*seen.key.0, key.as_slice(), "it is told by its entity");
                let state = seen.state(side);
                assert!(matches!(state, State::Unmappable(_)), "{leader} leads: {state:?}");
                let reason = seen.reason.as_deref().unwrap_or_default();
                assert!(reason.starts_with("has no place in the "), "{reason}");
            }
            let asked: Vec<Asked> = outcome.suspects.iter().map(asked).collect();
            let look = look(&world.context, &asked, Moment(1)).now_or_never().unwrap();
            assert_eq!(look.unread, vec![]);
            for (seen, before) in look.sightings.iter().zip(&outcome.suspects) {
                assert!(seen.state(side).is_like(before.state(side)), "{seen:?}");
            }
        }
    }
}

#[test]
fn a_leader_whose_rows_the_mapping_does_not_name_is_unread_and_nothing_of_it_is_drift() {
    let world = world(PLAIN);
    for film in [1, ELSEWHERE] {
        world.played(film, &films(2));
        world.item(film, &films(2), 0);
    }
    let outcome = world.checked(Direction::FromSource);
    assert_eq!((outcome.same, outcome.suspects), (2, vec![]));
    assert_eq!(outcome.unread.iter().filter_map(|unread| unread.rows).sum::<u64>(), 2);
    for unread in outcome.unread {
        assert_eq!(unread.fault.code, FaultCode::PluginPlace);
        assert!(unread.fault.what.contains("relation `cast`"), "{}", unread.fault.what);
    }
}

#[test]
fn a_group_of_which_nothing_is_made_counts_as_excluded_once() {
    let world = world(PLAIN);
    world.played(1, &films(3));
    world.item(1, &films(3), 0);
    // An actor of whom the mapping makes nothing: details without an entity.
    world.played(NOTHING, &BTreeSet::from([60, 61]));
    let outcome = world.checked(Direction::FromSource);
    assert_eq!((outcome.same, outcome.excluded), (3, 2));
    assert_eq!((outcome.unread, outcome.suspects), (vec![], vec![]));
    let outcome = world.checked(Direction::FromTarget);
    assert_eq!((outcome.same, outcome.excluded), (3, 0));
}

fn leaders() -> impl Strategy<Value = Side> {
    prop::sample::select(&[Side::Source, Side::Target][..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Fan-out, pages, windows and directions change nothing: right copies are the same, and each
    /// fault is told by its entity.
    #[test]
    fn every_credit_is_compared_once(
        casts in prop::collection::vec(prop::collection::btree_set(1i128..9, 1..6), 1..40),
        page_rows in 1u32..50,
        window_rows in 1u32..80,
        leader in leaders(),
        both_ways in any::<bool>(),
        lost in any::<prop::sample::Index>(),
    ) {
        let geometry = Geometry { page_rows, window_rows, leader, both_ways };
        let world = world(geometry);
        let all: u64 = casts.iter().map(|actors| actors.len() as u64).sum();
        for (film, actors) in (1..).zip(&casts) {
            world.played(film, actors);
            world.item(film, actors, 0);
        }
        let directions: &[Direction] = match both_ways {
            true => &[Direction::FromSource, Direction::FromTarget],
            false => &[Direction::FromSource],
        };
        for direction in directions {
            let outcome = world.checked(*direction);
            prop_assert_eq!(&outcome.unread, &vec![], "{}", direction);
            prop_assert_eq!(&outcome.suspects, &vec![], "{}", direction);
            prop_assert_eq!((outcome.same, outcome.told_elsewhere), (all, 0), "{}", direction);
        }
        // One actor is forgotten in the target: told once, and the others are the same.
        let film = lost.index(casts.len());
        let mut fewer = casts[film].clone();
        let gone = fewer.pop_first().unwrap();
        world.item(film as i128 + 1, &fewer, 0);
        let outcome = world.checked(Direction::FromSource);
        prop_assert_eq!((outcome.same, outcome.unread), (all - 1, vec![]));
        let [seen] = outcome.suspects.as_slice() else { panic!("{:?}", outcome.suspects) };
        let key = Value::List(vec![int(film as i128 + 1), int(gone)]).to_cbor();
        prop_assert_eq!(&*seen.key.0, key.as_slice());
        prop_assert!(matches!((&seen.source, &seen.target), (State::Present(_), State::Absent)));
        if both_ways {
            let asked: Vec<Asked> = outcome.suspects.iter().map(asked).collect();
            let look = look(&world.context, &asked, Moment(1)).now_or_never().unwrap();
            prop_assert_eq!(look.unread, vec![]);
            prop_assert!(!look.sightings.iter().any(Sighting::agrees));
        }
    }
}
