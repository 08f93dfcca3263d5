//! Checks and looks where rows of two relations make entities of two types: orders and their lines in
//! the source, items of a single-table design in the target.

mod rules;
mod unread;

use std::fmt;

use futures::FutureExt;

use crate::check::{Context, RelationContext, Share, SideContext, check, look};
use crate::compare::Canon;
use crate::model::{
    Asked, Batch, Column, ColumnBuilder, ColumnDef, Direction, DriftKind, EntityDef, Extent,
    FaultCode, FieldDef, InvariantDef, Key, Leads, Logical, Look, MappingIdentity, MappingPlan,
    Moment, Number, Outcome, Partition, Range, RelationPlan, RelationSchema, Role, Scope, Severity,
    Side, SidePlan, Sighting, Standing, State, Value, Verdict, Violation,
};
use crate::plugin::{
    Access, Checked, Located, Mapped, Mapper, Output, PairViolation, Pairs, Placed, PluginError,
    PluginErrorKind, Rows, Session, Tallied, Tally,
};
use crate::store::memory::{Handle, Layout, Memory};
use crate::store::{Read, StoreErrorKind};

use super::{asked, int, nonzero, row, text};

const ORDER: usize = 0;
const LINE: usize = 1;

/// The summary of a rule whose state is not small.
const KEEPS_ALL: &str = "keeps everything";

/// Orders with their totals, and their lines. Lines are located in the target by a prefix, which
/// also covers other lines.
#[derive(Clone)]
struct Shop(MappingPlan, Vec<InvariantDef>);

impl fmt::Debug for Shop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shop")
    }
}

fn shop() -> Shop {
    let field = |name: &str, logical, role| FieldDef {
        name: name.to_owned(),
        logical,
        role,
        rules: Vec::new(),
    };
    let entity = |name: &str, fields| EntityDef { name: name.to_owned(), fields };
    let relation = |relation, columns: &[&str], group_by: &[usize]| RelationPlan {
        relation,
        columns: columns.iter().map(|name| (*name).to_owned()).collect(),
        ignored: Vec::new(),
        group_by: group_by.to_vec(),
    };
    let whole = Logical::Integer;
    let plan = MappingPlan {
        entities: vec![
            entity(
                "order",
                vec![
                    field("id", whole, Role::Key),
                    field("status", Logical::Text, Role::Compared),
                    field("total", whole, Role::Compared),
                ],
            ),
            entity(
                "line",
                vec![
                    field("order", whole, Role::Key),
                    field("no", whole, Role::Key),
                    field("cents", whole, Role::Compared),
                ],
            ),
        ],
        source: SidePlan {
            relations: vec![
                relation(0, &["id", "status", "total"], &[0]),
                relation(1, &["order_id", "no", "cents"], &[0]),
            ],
            mapped: true,
        },
        target: SidePlan {
            relations: vec![relation(0, &["pk", "sk", "status", "total", "cents"], &[])],
            mapped: true,
        },
    };
    let rule = InvariantDef {
        id: "total-is-sum".to_owned(),
        summary: "totals are the sums of lines".to_owned(),
        severity: Severity::Error,
        scope: Scope::Partition,
    };
    Shop(plan, vec![rule])
}

impl Mapper for Shop {
    fn identity(&self) -> MappingIdentity {
        MappingIdentity(7)
    }

    fn plan(&self) -> &MappingPlan {
        &self.0
    }

    fn invariants(&self) -> &[InvariantDef] {
        &self.1
    }

    fn locates(&self, _side: Side) -> bool {
        true
    }

    fn identifies(&self) -> bool {
        true
    }

    fn begin(&self, _as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(self.clone()))
    }
}

fn cell(column: &Column, row: usize) -> Option<i64> {
    if let Some(whole) = column.integer(row) {
        return i64::try_from(whole).ok();
    }
    let Value::Number(number) = Value::decode(column.bytes(row)?).ok()? else { return None };
    i64::try_from(number.to_integer()?).ok()
}

fn words(column: &Column, row: usize) -> Option<String> {
    let bytes = column.bytes(row)?;
    match Value::decode(bytes) {
        Ok(Value::Text(text)) => Some(text),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

fn column(cells: &[Option<i64>]) -> Column {
    Column::of_integers(&cells.iter().map(|cell| cell.map(i128::from)).collect::<Vec<_>>())
}

fn texts(cells: &[Option<String>]) -> Column {
    let mut builder = ColumnBuilder::bytes(cells.len());
    for cell in cells {
        match cell {
            Some(text) => builder.push_bytes(text.as_bytes()),
            None => builder.push_null(),
        }
    }
    builder.finish()
}

/// Entities on their way out: key or keys, status, number, group, standing.
#[derive(Default)]
struct Made {
    orders: Vec<(i64, Option<String>, Option<i64>, usize)>,
    lines: Vec<(i64, i64, Option<i64>, usize)>,
    others: Vec<usize>,
}

impl Made {
    fn outputs(mut self) -> Vec<Output> {
        self.orders.sort_by_key(|order| order.3);
        self.lines.sort_by_key(|line| line.3);
        let of = |cells: Vec<i64>| cells.into_iter().map(Some).collect::<Vec<_>>();
        let (mut ids, mut statuses, mut totals, mut groups) = (vec![], vec![], vec![], vec![]);
        let mut standing = Vec::new();
        for (id, status, total, group) in self.orders {
            ids.push(Some(id));
            statuses.push(status);
            totals.push(total);
            groups.push(group);
            standing.push(Standing::Present);
        }
        // What is no order is out of scope, and has no key.
        for group in self.others {
            let at = groups.partition_point(|known| *known <= group);
            groups.insert(at, group);
            ids.insert(at, None);
            statuses.insert(at, None);
            totals.insert(at, None);
            standing.insert(at, Standing::Excluded);
        }
        let orders = Output {
            entity: ORDER,
            entities: Batch {
                rows: ids.len(),
                columns: vec![column(&ids), texts(&statuses), column(&totals)],
            },
            from_group: groups,
            standing,
        };
        let lines = Output {
            entity: LINE,
            entities: Batch {
                rows: self.lines.len(),
                columns: vec![
                    column(&of(self.lines.iter().map(|line| line.0).collect())),
                    column(&of(self.lines.iter().map(|line| line.1).collect())),
                    column(&self.lines.iter().map(|line| line.2).collect::<Vec<_>>()),
                ],
            },
            from_group: self.lines.iter().map(|line| line.3).collect(),
            standing: vec![Standing::Present; self.lines.len()],
        };
        vec![orders, lines]
    }
}

impl Session for Shop {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        let mut made = Made::default();
        let mut rejected = Vec::new();
        for input in &rows.inputs {
            let columns = &input.rows.columns;
            for row in 0..input.rows.rows {
                let group = input.group.as_ref().map_or(row, |group| group[row] as usize);
                match (side, input.relation) {
                    (Side::Source, 0) => made.orders.push((
                        cell(&columns[0], row).unwrap(),
                        words(&columns[1], row).map(spelt_out),
                        cell(&columns[2], row),
                        group,
                    )),
                    (Side::Source, _) => match cell(&columns[0], row) {
                        Some(order) => made.lines.push((
                            order,
                            cell(&columns[1], row).unwrap(),
                            cell(&columns[2], row),
                            group,
                        )),
                        None => rejected.push((group, "of no order".to_owned())),
                    },
                    (Side::Target, _) => {
                        let (pk, sk) =
                            (words(&columns[0], row).unwrap(), words(&columns[1], row).unwrap());
                        let order = pk.strip_prefix("O#").and_then(|id| id.parse().ok());
                        let no = sk.strip_prefix("LINE#").map(str::parse);
                        match (order, no) {
                            (Some(order), Some(Ok(no))) => {
                                made.lines.push((order, no, cell(&columns[4], row), group));
                            }
                            (Some(_), Some(Err(_))) => {
                                rejected.push((group, "no number".to_owned()));
                            }
                            (Some(order), None) if sk == "ORDER" => made.orders.push((
                                order,
                                words(&columns[2], row).map(spelt_out),
                                cell(&columns[3], row),
                                group,
                            )),
                            _ => made.others.push(group),
                        }
                    }
                }
            }
        }
        // A rejected row rejects its group.
        made.lines.retain(|line| !rejected.iter().any(|(group, _)| *group == line.3));
        made.orders.retain(|order| !rejected.iter().any(|(group, _)| *group == order.3));
        rejected.sort();
        rejected.dedup_by_key(|(group, _)| *group);
        Ok(Mapped { outputs: made.outputs(), rejected, failed: None })
    }

    fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        let rows: Vec<usize> =
            (0..entities.rows).filter(|row| entities.columns[0].is_valid(*row)).collect();
        let ids: Vec<i64> =
            rows.iter().map(|row| cell(&entities.columns[0], *row).unwrap()).collect();
        let pk: Vec<_> = ids.iter().map(|id| Some(format!("O#{id}"))).collect();
        let whole: Vec<_> = ids.iter().copied().map(Some).collect();
        let (relation, access, columns) = match (side, entity) {
            (Side::Source, ORDER) => (0, Access::Get, vec![column(&whole)]),
            // Whatever the key of a line is, its order says the group.
            (Side::Source, _) => (0, Access::Get, vec![column(&whole)]),
            (Side::Target, ORDER) => {
                let sk = vec![Some("ORDER".to_owned()); rows.len()];
                (0, Access::Get, vec![texts(&pk), texts(&sk)])
            }
            (Side::Target, _) => {
                let no = |row: &usize| {
                    Some(format!("LINE#{}", cell(&entities.columns[1], *row).unwrap()))
                };
                let sk: Vec<_> = rows.iter().map(no).collect();
                (0, Access::Query { prefix: true }, vec![texts(&pk), texts(&sk)])
            }
        };
        let keys = Batch { rows: rows.len(), columns };
        let mut located = vec![Located { relation, access, keys, from_entity: rows.clone() }];
        if (side, entity) == (Side::Target, LINE) {
            // Lines of order 115 may lie elsewhere, too.
            let is_moved = |at: &usize| ids[*at] == 115;
            let moved: Vec<usize> = (0..rows.len()).filter(is_moved).collect();
            let sk = vec![Some("MOVED".to_owned()); moved.len()];
            let pk: Vec<_> = moved.iter().map(|at| pk[*at].clone()).collect();
            let keys = Batch { rows: moved.len(), columns: vec![texts(&pk), texts(&sk)] };
            let from_entity = moved.iter().map(|at| rows[*at]).collect();
            located.push(Located { relation: 0, access: Access::Get, keys, from_entity });
        }
        Ok(located)
    }

    fn keys_of(
        &mut self,
        side: Side,
        _relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        let mut made = Made::default();
        if side == Side::Target {
            for row in 0..keys.rows {
                let pk = words(&keys.columns[0], row).unwrap();
                let sk = words(&keys.columns[1], row).unwrap();
                // A sloppy writer put a letter behind the number.
                let no = sk.strip_prefix("LINE#").map(|no| no.trim_end_matches('x').parse());
                if let (Ok(order), Some(Ok(no))) = (pk[2..].parse(), no) {
                    made.lines.push((order, no, None, row));
                }
            }
        }
        Ok(made.outputs())
    }

    fn check_pairs(&mut self, _pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        assert!(self.1.iter().any(|rule| rule.scope == Scope::Pair), "no rule is of a pair");
        Ok(Vec::new())
    }

    /// Fails on every entity whose first field is 113, by itself.
    fn check_each(&mut self, pairs: &Pairs<'_>) -> Result<Checked, PluginError> {
        let violations = self.check_pairs(pairs)?;
        let failed = (0..pairs.source.rows)
            .filter(|row| {
                pairs.source_present[*row] && cell(&pairs.source.columns[0], *row) == Some(113)
            })
            .map(|row| (row, trap("check-pairs")))
            .collect();
        Ok(Checked { violations, failed })
    }

    /// Fails in the target on lines of order 114, one by one, and where there are some of order 118, as a
    /// whole.
    fn locate_each(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Placed, PluginError> {
        let located = self.locate(side, entity, entities)?;
        let whole = |row: usize| cell(&entities.columns[0], row) == Some(118);
        if (side, entity) == (Side::Target, LINE) && (0..entities.rows).any(whole) {
            return Err(trap("locate"));
        }
        let fails = |row: &usize| {
            (side, entity) == (Side::Target, LINE) && cell(&entities.columns[0], *row) == Some(114)
        };
        let failed: Vec<usize> = (0..entities.rows).filter(fails).collect();
        let keep = |mut part: Located| {
            let kept: Vec<usize> = (0..part.from_entity.len())
                .filter(|at| !failed.contains(&part.from_entity[*at]))
                .collect();
            part.keys = part.keys.take(&kept);
            part.from_entity = kept.iter().map(|at| part.from_entity[*at]).collect();
            part
        };
        let located = located.into_iter().map(keep).collect();
        let failed = failed.into_iter().map(|row| (row, trap("locate"))).collect();
        Ok(Placed { located, failed })
    }

    /// Sums of totals and of lines, of both sides.
    fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        let mut sums = [0i64; 4];
        match tally {
            Tally::Pairs(all) => {
                let sides = all.iter().flat_map(|pairs| {
                    let at = if pairs.entity == ORDER { 0 } else { 2 };
                    let target = (at + 1, pairs.target, pairs.target_present);
                    [(at, pairs.source, pairs.source_present), target]
                });
                for (at, batch, present) in sides {
                    for row in (0..batch.rows).filter(|row| present[*row]) {
                        sums[at] += cell(&batch.columns[2], row).unwrap_or(0);
                    }
                }
            }
            Tally::States(states) => {
                for state in *states {
                    for (sum, part) in sums.iter_mut().zip(state.chunks(8)) {
                        *sum += i64::from_be_bytes(part.try_into().unwrap());
                    }
                }
            }
        }
        let [source, target, source_lines, target_lines] = sums;
        let mut violations = Vec::new();
        for (side, one, two) in [("source", source, source_lines), ("target", target, target_lines)]
        {
            if one != two {
                let message = format!("{side}: {one} and {two}");
                violations.push(Violation { invariant, message });
            }
        }
        let mut state: Vec<u8> = sums.iter().flat_map(|sum| sum.to_be_bytes()).collect();
        if self.1[invariant].summary == KEEPS_ALL {
            state.resize(20 << 20, 0);
        }
        Ok(Tallied { state, violations })
    }
}

/// A status as it is told; one of them takes 40 MiB.
fn spelt_out(status: String) -> String {
    if status == "huge" { "x".repeat(40 << 20) } else { status }
}

fn trap(function: &'static str) -> PluginError {
    let kind = PluginErrorKind::Trap("unreachable".to_owned());
    PluginError::new("shop".to_owned(), "0123456789ab".to_owned(), function, kind)
}

struct World {
    context: Context,
    source: Handle,
    target: Handle,
}

fn world(page_rows: u32) -> World {
    let def = |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: true };
    let schema = |relation: &str, columns: Vec<ColumnDef>, key: &[usize], open| RelationSchema {
        relation: relation.to_owned(),
        columns,
        key: key.to_vec(),
        open,
        partial: false,
    };
    let whole = Logical::Integer;
    let orders = vec![def("id", whole), def("status", Logical::Text), def("total", whole)];
    // Lines have numbers of their own, and some belong to no order.
    let lines = vec![def("order_id", whole), def("no", whole), def("cents", whole)];
    let items = vec![def("pk", Logical::Text), def("sk", Logical::Text)];
    let source_schemas =
        [schema("orders", orders, &[0], false), schema("lines", lines, &[0, 1], false)];
    let target_schemas = [schema("items", items, &[0, 1], true)];
    let mapper = shop();
    let side = |name: &str, schemas: &[RelationSchema], plan: &SidePlan, layout: Layout| {
        let (store, handle) = Memory::new(name, true);
        let relation = |plan: &RelationPlan| {
            let schema = schemas[plan.relation].clone();
            handle.create(schema.clone(), layout);
            let read = Read {
                schema,
                columns: plan.columns.clone(),
                ignored: Vec::new(),
                page_rows: nonzero(page_rows),
                cut: plan.group_by.first().map(|at| plan.columns[*at].clone()),
            };
            RelationContext { read, group: plan.group_by.clone() }
        };
        let relations = plan.relations.iter().map(relation).collect();
        (SideContext { store: std::sync::Arc::new(store), relations, locatable: true }, handle)
    };
    let (source_context, source) =
        side("source", &source_schemas, &mapper.0.source, Layout::Ranges);
    let (target_context, target) =
        side("target", &target_schemas, &mapper.0.target, Layout::Segments);
    let context = Context {
        pairing: "orders".to_owned(),
        leads: Leads(Side::Source),
        source: source_context,
        target: target_context,
        canons: Canon::all(&mapper.0.entities, [7; 32]).unwrap(),
        mapper: std::sync::Arc::new(mapper),
        partition_rows: nonzero(1_000),
        window_rows: nonzero(4_000),
        share: Share::new(256 << 20),
        clock: std::sync::Arc::new(|| Moment(1)),
    };
    World { context, source, target }
}

impl World {
    /// An order of `lines` lines on both sides; a line of order 7 number 3 costs 73 cents.
    fn order(&self, id: i64, lines: i64) {
        let cents = |no: i64| id * 10 + no;
        let total = (1..=lines).map(cents).sum::<i64>();
        let number = |value: i64| int(value.into());
        self.source.put(
            "orders",
            row(&[("id", number(id)), ("status", text("open")), ("total", number(total))]),
        );
        self.item(id, "ORDER", &[("status", text("open")), ("total", number(total))]);
        for no in 1..=lines {
            self.line(id, no, cents(no));
            self.item(id, &format!("LINE#{no}"), &[("cents", number(cents(no)))]);
        }
    }

    fn line(&self, order: i64, no: i64, cents: i64) {
        let number = |value: i64| int(value.into());
        self.source.put(
            "lines",
            row(&[("order_id", number(order)), ("no", number(no)), ("cents", number(cents))]),
        );
    }

    fn item(&self, order: i64, sk: &str, cells: &[(&str, Value)]) {
        let mut item = row(&[("pk", text(&format!("O#{order}"))), ("sk", text(sk))]);
        item.extend(row(cells));
        self.target.put("items", item);
    }

    fn drop_item(&self, order: i64, sk: &str) {
        assert!(self.target.delete("items", &[text(&format!("O#{order}")), text(sk)]));
    }

    fn checked(&self, direction: Direction) -> Outcome {
        let extent = match direction {
            Direction::FromTarget => Extent::Segment { index: 0, of: 1 },
            Direction::FromSource | Direction::Aligned => {
                Extent::Range(Range { from: None, until: None })
            }
        };
        let partition = Partition { number: 0, extent, direction };
        check(&self.context, &partition, 100, Moment(1)).now_or_never().unwrap()
    }

    fn looked(&self, seen: &[Sighting]) -> Look {
        let asked: Vec<Asked> = seen.iter().map(asked).collect();
        look(&self.context, &asked, Moment(1)).now_or_never().unwrap()
    }
}

/// What was seen, in short: the entity's type and key, and which sides have it.
fn shown(seen: &[Sighting]) -> Vec<String> {
    let side = |state: &State| match state {
        State::Absent => "absent",
        State::Present(_) => "present",
        State::Excluded => "excluded",
        State::Duplicate(_) => "duplicate",
        State::Unmappable(_) => "unmappable",
    };
    let key = |key: &Key| match Value::decode(key.array()) {
        Ok(Value::List(parts)) if !key.is_of_row() => {
            let parts = parts.iter().map(|part| {
                let Value::Number(number) = part else { panic!("keys are numbers: {part:?}") };
                number.to_string()
            });
            let name = ["order", "line"][key.entity_type()];
            format!("{name} {}", parts.collect::<Vec<_>>().join("/"))
        }
        _ => "row".to_owned(),
    };
    let mut lines: Vec<String> = seen
        .iter()
        .map(|seen| format!("{}: {}, {}", key(&seen.key), side(&seen.source), side(&seen.target)))
        .collect();
    lines.sort();
    lines
}

fn whole_number(value: i128) -> Value {
    Value::Number(Number::from(value))
}

#[test]
fn joined_rows_are_compared_with_the_items_that_they_became() {
    // Whatever pages the rows come in.
    for page_rows in [1, 2, 3, 7, 100] {
        let world = world(page_rows);
        for id in 1..=9 {
            world.order(id, id % 4);
        }
        world.order(12, 11);
        world.target.put("items", row(&[("pk", text("P#1")), ("sk", text("PROFILE"))]));
        let outcome = world.checked(Direction::FromSource);
        assert_eq!((outcome.unread, outcome.suspects.as_slice()), (vec![], &[][..]));
        // Ten orders; of nine of them 1+2+3+0+1+2+3+0+1 lines, and 11 of the last.
        assert_eq!((outcome.same, outcome.excluded), (10 + 13 + 11, 0), "{page_rows}");
        assert_eq!(outcome.source.checksum, outcome.target.checksum);
        let outcome = world.checked(Direction::FromTarget);
        assert_eq!((outcome.unread, outcome.suspects.as_slice()), (vec![], &[][..]));
        assert_eq!((outcome.same, outcome.excluded), (34, 1), "{page_rows}");
        assert_eq!(outcome.told_elsewhere, 0, "nothing is taken for a copy");
    }
}

#[test]
fn every_fault_of_joined_rows_is_seen_by_one_direction_and_settled_by_looks() {
    for page_rows in [1, 3, 100] {
        let world = world(page_rows);
        for id in 1..=9 {
            world.order(id, 3);
        }
        world.drop_item(2, "LINE#2");
        world.drop_item(3, "ORDER");
        world.item(4, "LINE#1", &[("cents", whole_number(5))]);
        world.item(5, "LINE#4", &[("cents", whole_number(5))]);
        world.item(99, "ORDER", &[("status", text("open")), ("total", whole_number(0))]);
        world.item(6, "LINE#2x", &[("cents", whole_number(62))]);
        let from_source = world.checked(Direction::FromSource);
        let from_target = world.checked(Direction::FromTarget);
        assert_eq!((&from_source.unread, &from_target.unread), (&vec![], &vec![]));
        let of_source =
            ["line 2/2: present, absent", "line 4/1: present, present", "order 3: present, absent"];
        assert_eq!(shown(&from_source.suspects), of_source, "{page_rows}");
        let of_target = [
            "line 5/4: absent, present",
            "line 6/2: absent, unmappable",
            "order 99: absent, present",
        ];
        assert_eq!(shown(&from_target.suspects), of_target, "{page_rows}");
        // By what a range that was scanned holds them.
        let cuts = |seen: &[Sighting]| {
            let mut cuts: Vec<_> = seen.iter().map(|it| it.cuts.clone()).collect();
            cuts.sort_unstable();
            cuts
        };
        assert_eq!(cuts(&from_source.suspects), [2, 3, 4].map(|order| vec![Some(order)]));
        assert_eq!(cuts(&from_target.suspects), [vec![], vec![], vec![]]);
        let look = world.looked(&from_source.suspects);
        assert_eq!(
            (shown(&look.sightings), &look.unread),
            (of_source.map(str::to_owned).to_vec(), &vec![])
        );
        let look = world.looked(&from_target.suspects);
        assert_eq!(look.unread, []);
        // Both lie under the prefix at which the line is looked for.
        assert_eq!(shown(&look.sightings)[0], of_target[0]);
        assert_eq!(shown(&look.sightings)[2], of_target[2]);
        for (order, sk, cells) in [
            (2, "LINE#2", vec![("cents", whole_number(22))]),
            (3, "ORDER", vec![("status", text("open")), ("total", whole_number(96))]),
            (4, "LINE#1", vec![("cents", whole_number(41))]),
        ] {
            world.item(order, sk, &cells);
        }
        let look = world.looked(&from_source.suspects);
        assert!(
            look.sightings.iter().all(|seen| seen.agrees() && seen.steady),
            "{:?}",
            look.sightings
        );
        assert_eq!(look.sightings.len(), 3);
    }
}

#[test]
fn copies_are_told_apart_from_what_merely_lies_under_the_same_prefix() {
    let world = world(2);
    // Number 1 is looked for under `LINE#1`, where 10 and 11 lie, too.
    world.order(1, 11);
    assert_eq!(world.checked(Direction::FromSource).suspects, []);
    // The same number in another spelling.
    world.item(1, "LINE#01", &[("cents", whole_number(11))]);
    let outcome = world.checked(Direction::FromTarget);
    assert_eq!(shown(&outcome.suspects), ["line 1/1: present, duplicate"]);
    let look = world.looked(&outcome.suspects);
    assert_eq!(shown(&look.sightings), ["line 1/1: present, duplicate"]);
}

#[test]
fn rows_that_belong_to_no_group_are_rejected_and_not_passed_over() {
    // The grouping column is no key here, and may be null.
    let world = world(2);
    world.order(1, 2);
    let mut context = world.context;
    let (store, handle) = Memory::new("source", true);
    let def =
        |name: &str| ColumnDef { name: name.to_owned(), logical: Logical::Integer, nullable: true };
    let lines = RelationSchema {
        relation: "lines".to_owned(),
        columns: vec![def("number"), def("order_id"), def("no"), def("cents")],
        key: vec![0],
        open: false,
        partial: false,
    };
    handle.create(context.source.relations[0].read.schema.clone(), Layout::Ranges);
    handle.create(lines.clone(), Layout::Ranges);
    handle.put("orders", row(&[("id", int(1)), ("status", text("open")), ("total", int(23))]));
    for (number, order, no) in [(50, Some(1), 2), (60, None, 1), (70, Some(1), 1)] {
        let mut line = row(&[("number", int(number)), ("no", int(no)), ("cents", int(10 + no))]);
        line.extend(order.map(|order| ("order_id".to_owned(), int(order))));
        handle.put("lines", line);
    }
    context.source.store = std::sync::Arc::new(store);
    context.source.relations[1].read.schema = lines;
    let world = World { context, source: handle, target: world.target };
    let outcome = world.checked(Direction::FromSource);
    assert_eq!(outcome.unread, []);
    assert_eq!(outcome.same, 3);
    assert_eq!(shown(&outcome.suspects), ["row: unmappable, absent"]);
    assert_eq!(outcome.suspects[0].cuts, [None], "it has no value where its relation is cut");
    let look = world.looked(&outcome.suspects);
    assert_eq!(
        (shown(&look.sightings), look.unread),
        (vec!["row: unmappable, absent".to_owned()], vec![])
    );
}

#[test]
fn a_range_is_cut_between_groups() {
    let mut world = world(3);
    for id in 1..=40 {
        world.order(id, 3);
    }
    world.context.window_rows = nonzero(10);
    let mut same = 0;
    let mut extent = Some(Extent::Range(Range { from: None, until: Some(31) }));
    let mut parts = 0;
    while let Some(next) = extent {
        let partition = Partition { number: 0, extent: next, direction: Direction::FromSource };
        let outcome = check(&world.context, &partition, 100, Moment(1)).now_or_never().unwrap();
        assert_eq!((outcome.unread, outcome.suspects.as_slice()), (vec![], &[][..]));
        assert!(matches!(outcome.rules[0].verdict, Verdict::Holds));
        same += outcome.same;
        extent = outcome.rest;
        parts += 1;
    }
    assert_eq!(same, 30 * 4);
    assert!(parts > 5, "{parts}");
}
