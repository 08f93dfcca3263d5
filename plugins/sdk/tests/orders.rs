//! The contract in its full width: two relations joined into one entity, several entity types out of
//! one table, entities made by hand, rules over a partition, and locating.

use std::collections::BTreeMap;

use driftd_plugin::glue::Plugin;
use driftd_plugin::prelude::*;
use driftd_plugin::wire::{
    Batch, Buffer, Column, ColumnDef, Context, Input, Mapped, Pairs, Scope, TableSchema, VarBytes,
};
use driftd_plugin::{Integer, Pair, Text};

#[derive(Default)]
struct Orders;
driftd_plugin::export!(Orders: Mapping + Invariants + Locating);

impl Mapping for Orders {
    const NAME: &'static str = "orders";
    const SUMMARY: &'static str = "maps orders";

    fn plan(&self, plan: &Plan) {
        let orders = plan.source();
        let lines = plan.relation(Side::Source, "lines");
        let item = plan.target();
        orders.group_by(["id"]);
        lines.group_by(["order_id"]);

        let (cents, sk) = (lines.integer("cents"), item.text("sk"));
        let total = orders.read(move |order| {
            let cents = order.all(cents).map(|line| line.need(cents));
            cents.sum::<Result<i64>>()
        });
        let order = plan.entity("order", orders, item);
        order.key("id", orders.integer("id"), sk.after("ORDER#").parse_integer());
        order.compared("status", orders.text("status"), item.text("status"));
        order.compared("total", total, item.integer("total"));
        order.compared("note", lines.text("note"), null::<Text>());
        order.on(Side::Target).only_if(sk.starts_with("ORDER#"));

        let line = plan.entity("line", lines, item);
        let id = line.key("order", lines.integer("order_id"), null::<Integer>()).handle();
        let value = line.compared("cents", lines.integer("cents"), null::<Integer>()).handle();
        let (cents, total) = (item.value("lines"), item.integer("total"));
        line.on(Side::Target).each(move |item, out| {
            if let Some(Cell::List(cents)) = item.get(cents)? {
                for cell in cents.iter() {
                    out.set(value, cell.integer());
                    out.set(id, item.need(total)?);
                    out.present();
                }
            }
            Ok(())
        });
    }
}

impl Invariants for Orders {
    fn declare(&self, rules: &Rules) {
        let order = rules.entity("order");
        let (status, total) = (order.text("status"), order.integer("total"));
        rules.error(order, "same-total", "totals agree").broken(move |pair| {
            let (Some(source), Some(target)) = (pair.source, pair.target) else { return Ok(None) };
            let (one, two) = (source.need(total)?, target.need(total)?);
            Ok((one != two).then(|| format!("{one} and {two}")))
        });
        rules.error(order, "count-per-status", "counts agree").over_all(
            move |counts: &mut BTreeMap<String, (i64, i64)>, pair| {
                let count = |row: Row<'_>| Ok::<_, Reject>(row.need(status)?.to_owned());
                if let Some(row) = pair.source {
                    counts.entry(count(row)?).or_default().0 += 1;
                }
                if let Some(row) = pair.target {
                    counts.entry(count(row)?).or_default().1 += 1;
                }
                Ok(())
            },
            |counts| {
                let wrong = counts.iter().filter(|(_, (one, two))| one != two);
                wrong.map(|(status, (one, two))| format!("{status}: {one} and {two}")).collect()
            },
        );
        Self::line_for_each_order(rules);
        rules.info(order, "same-totals", "as many orders of each total").over_all(
            move |rest: &mut BTreeMap<i64, i64>, pair| {
                for (row, count) in [(pair.source, 1), (pair.target, -1)] {
                    if let Some(row) = row {
                        *rest.entry(row.need(total)?).or_default() += count;
                    }
                }
                Ok(())
            },
            |rest| rest.iter().map(|(total, rest)| format!("{total}: {rest}")).collect(),
        );
    }
}

/// Orders and lines of each side.
type Counts = ((i64, i64), (i64, i64));

impl Orders {
    /// A rule over both entity types: there are as many lines as orders.
    fn line_for_each_order(rules: &Rules) {
        let (order, line) = (rules.entity("order"), rules.entity("line"));
        let count = |(source, target): &mut (i64, i64), pair: Pair<'_>| {
            *source += i64::from(pair.source.is_some());
            *target += i64::from(pair.target.is_some());
            Ok(())
        };
        rules
            .info(line, "line-for-each-order", "as many lines as orders")
            .over(order, move |counts: &mut Counts, pair| count(&mut counts.0, pair))
            .over(line, move |counts, pair| count(&mut counts.1, pair))
            .finish(|(orders, lines)| {
                let is_wrong = orders != lines;
                is_wrong.then(|| format!("{orders:?} and {lines:?}")).into_iter().collect()
            });
    }
}

impl Locating for Orders {
    fn locate(&self, locators: &Locators) {
        let order = locators.entity("order");
        let id = order.integer("id");
        locators.get(order, Side::Target, move |order, key| {
            key.push("SHOP");
            key.write(format_args!("ORDER#{}", order.need(id)?));
            key.end();
            Ok(())
        });
        locators.query(order, Side::Target, 2, move |order, key| {
            key.push("ARCHIVE");
            key.write(format_args!("ORDER#{}@", order.need(id)?));
            key.end();
            Ok(())
        });
        locators.query(order, (Side::Source, "lines"), 1, move |order, key| {
            key.push(order.need(id)?);
            key.end();
            Ok(())
        });
        let key = locators.key(Side::Target);
        key.identifies(order)
            .field("id", key.text("sk").after("ORDER#").parse_integer())
            .only_if(key.text("sk").starts_with("ORDER#"));
    }
}

fn table(name: &str, columns: &[(&str, &str)], key: &[u32]) -> TableSchema {
    let column = |(name, logical): &(&str, &str)| ColumnDef {
        name: (*name).to_owned(),
        logical: (*logical).to_owned(),
        nullable: true,
    };
    TableSchema {
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: key.to_vec(),
    }
}

fn ints(values: &[i64]) -> Column {
    Column { validity: Vec::new(), values: Buffer::Int64(values.to_vec()) }
}

fn bytes<T: AsRef<[u8]>>(cells: &[Option<T>]) -> Column {
    let mut values = VarBytes { offsets: vec![0], data: Vec::new() };
    let mut validity = vec![0; cells.len().div_ceil(8)];
    for (row, cell) in cells.iter().enumerate() {
        values.data.extend_from_slice(cell.as_ref().map(T::as_ref).unwrap_or_default());
        values.offsets.push(values.data.len() as u32);
        validity[row / 8] |= u8::from(cell.is_some()) << (row % 8);
    }
    Column { validity, values: Buffer::Bytes(values) }
}

fn texts(cells: &[&str]) -> Column {
    bytes(&cells.iter().map(Some).collect::<Vec<_>>())
}

fn planned() -> Plugin<Orders> {
    let mut plugin = Plugin::<Orders>::default();
    plugin.init("{}".to_owned()).unwrap();
    let lines =
        [("order_id", "integer"), ("no", "integer"), ("cents", "integer"), ("note", "text")];
    let source = vec![
        table("orders", &[("id", "integer"), ("status", "text")], &[0]),
        table("lines", &lines, &[0, 1]),
    ];
    let target = vec![table("shop", &[("pk", "text"), ("sk", "text")], &[0, 1])];
    let plan = plugin.plan("orders".to_owned(), source, target).unwrap();
    let columns = |side: &driftd_plugin::wire::SidePlan| {
        let of = side.relations.iter().map(|relation| relation.columns.join(" "));
        of.collect::<Vec<_>>()
    };
    assert_eq!(columns(&plan.source), ["id status", "order_id cents note"]);
    assert_eq!(columns(&plan.target), ["sk status total lines"]);
    assert_eq!(plan.source.relations[1].group_by, [0]);
    plugin
}

fn context(side: Side) -> Context {
    Context { pairing: "orders".to_owned(), side, as_of: 0 }
}

fn input(relation: u32, columns: Vec<Column>, group: &[u32]) -> Input {
    let rows = Batch { rows: group.len() as u32, columns };
    Input { relation, origin: String::new(), rows, group: group.to_vec() }
}

/// Entities and notes, a line each.
fn shown(mapped: &Mapped) -> Vec<String> {
    let mut lines = Vec::new();
    for output in &mapped.outputs {
        for row in 0..output.items.rows as usize {
            let cells = output.items.columns.iter().map(|column| match &column.values {
                _ if !column.validity.is_empty()
                    && column.validity[row / 8] >> (row % 8) & 1 == 0 =>
                {
                    "null".to_owned()
                }
                Buffer::Int64(values) => values[row].to_string(),
                Buffer::Bytes(VarBytes { offsets, data }) => {
                    let cell = &data[offsets[row] as usize..offsets[row + 1] as usize];
                    String::from_utf8_lossy(cell).into_owned()
                }
                other => panic!("{other:?}"),
            });
            let cells = cells.collect::<Vec<_>>().join(" ");
            let (group, standing) = (output.from_group[row], output.standing[row]);
            lines.push(format!("{} of {group}, {standing:?}: {cells}", output.entity));
        }
    }
    let note = |note: &driftd_plugin::wire::Note| {
        format!("{} {}/{}: {}", note.kind, note.input, note.row, note.message)
    };
    lines.extend(mapped.notes.iter().map(note));
    lines
}

#[test]
fn relations_are_joined_by_group() {
    let plugin = planned();
    let orders = vec![ints(&[7, 8, 9]), texts(&["new", "paid", "new"])];
    let lines = vec![
        ints(&[9, 7, 9, 5]),
        ints(&[5, 100, 6, 1]),
        bytes(&[Some("a"), Some("b"), Some("c"), None]),
    ];
    // The rows of a group need not lie together, and one line has no order.
    let inputs = vec![input(0, orders, &[1, 0, 2]), input(1, lines, &[2, 1, 2, 3])];
    let mapped = plugin.map_batch(context(Side::Source), inputs).unwrap();
    assert_eq!(
        shown(&mapped),
        [
            "0 of 0, Present: 8 paid 0 null",
            "0 of 1, Present: 7 new 100 b",
            "1 of 1, Present: 7 100",
            // None of group 2, whose order cannot be mapped.
            "1 of 3, Present: 5 1",
            "reject 0/2: note is in 2 rows of the group",
        ]
    );
}

#[test]
fn one_table_holds_several_entities_and_rows_that_are_none() {
    let plugin = planned();
    let items = || {
        let mut list = Vec::new();
        let mut cells = driftd_plugin::CellWriter::new(&mut list);
        cells.list(2);
        cells.integer(4);
        cells.integer(6);
        let numbers = bytes(&[Some(&[10][..]), Some(&[10]), Some(&[0x61, b'x']), None]);
        let lines = bytes(&[None, Some(&list[..]), None, None]);
        let text = |text: &str| [&[0x60 | text.len() as u8], text.as_bytes()].concat();
        let status = bytes(&[Some(text("new")), None, Some(text("new")), None]);
        let keys = texts(&["ORDER#1", "LINES#1", "ORDER#2", "OTHER"]);
        vec![input(0, vec![keys, status, numbers, lines], &[0, 1, 2, 3])]
    };
    let mapped = plugin.map_batch(context(Side::Target), items()).unwrap();
    assert_eq!(
        shown(&mapped),
        [
            "0 of 0, Present: 1 new 10 null",
            // No order, and no lines: out of scope, and said once.
            "0 of 3, Excluded: null null null null",
            "1 of 1, Present: 10 4",
            "1 of 1, Present: 10 6",
            "reject 0/2: total is no integer",
        ]
    );
}

#[test]
fn what_becomes_of_a_row_does_not_depend_on_the_others() {
    #[derive(Default)]
    struct Things;
    impl Mapping for Things {
        const NAME: &'static str = "things";
        const SUMMARY: &'static str = "maps things";

        fn plan(&self, plan: &Plan) {
            let row = plan.source();
            let thing = plan.entity("thing", row, plan.target());
            thing.key("id", row.integer("id"), null::<Integer>());
            thing.compared("price", row.decimal("price"), null::<Decimal>());
            thing.compared("name", row.text("name"), null::<Text>());
            thing.on(Side::Source).only_if(row.text("name").starts_with("T"));
        }
    }
    driftd_plugin::export!(Things: Mapping);
    let mut plugin = Plugin::<Things>::default();
    let columns = [("id", "integer"), ("price", "text"), ("name", "text")];
    let source = vec![table("things", &columns, &[0])];
    plugin.plan("p".to_owned(), source, vec![table("things", &[], &[])]).unwrap();
    // More than 63 bits, and more than 38 digits: the plugin reads neither, and passes both.
    let (id, price) = (u64::MAX, "9".repeat(50));
    let map = |names: &[&str]| {
        let ids = Column { validity: Vec::new(), values: Buffer::Uint64(vec![id; names.len()]) };
        let prices = texts(&vec![price.as_str(); names.len()]);
        let group: Vec<u32> = (0..names.len() as u32).collect();
        let input = input(0, vec![ids, prices, texts(names)], &group);
        let mapped = plugin.map_batch(context(Side::Source), vec![input]).unwrap();
        assert_eq!(mapped.notes, []);
        mapped.outputs.into_iter().next().unwrap().items
    };
    let alone = map(&["T1"]);
    let among = map(&["T1", "other"]);
    assert_eq!((alone.rows, among.rows), (1, 2));
    for (one, two) in alone.columns.iter().zip(&among.columns) {
        assert!(one.validity.first().is_none_or(|bits| *bits == 1));
        assert_eq!(two.validity, [0b01]);
        match (&one.values, &two.values) {
            (Buffer::Uint64(one), Buffer::Uint64(two)) => assert_eq!(one[0], two[0]),
            (Buffer::Bytes(one), Buffer::Bytes(two)) => assert_eq!(one.data, two.data),
            other => panic!("{other:?}"),
        }
    }
}

fn pairs(source: &[(i64, &str)], target: &[(i64, &str)]) -> Pairs {
    let side = |orders: &[(i64, &str)]| {
        let totals: Vec<i64> = orders.iter().map(|(total, _)| *total).collect();
        let status: Vec<&str> = orders.iter().map(|(_, status)| *status).collect();
        let none: Vec<Option<&str>> = vec![None; orders.len()];
        let columns = vec![ints(&totals), texts(&status), ints(&totals), bytes(&none)];
        Batch { rows: orders.len() as u32, columns }
    };
    let present = |_: &[(i64, &str)]| vec![0xff];
    Pairs {
        entity: 0,
        source: side(source),
        source_present: present(source),
        target: side(target),
        target_present: present(target),
    }
}

#[test]
fn rules_hold_on_pairs_and_over_a_partition() {
    let mut plugin = planned();
    let declared = plugin.declare().unwrap().into_iter();
    let declared: Vec<_> = declared.map(|rule| (rule.id, rule.scope)).collect();
    let rule = |id: &str, scope| (id.to_owned(), scope);
    assert_eq!(
        declared,
        [
            rule("same-total", Scope::Pair),
            rule("count-per-status", Scope::Partition),
            rule("line-for-each-order", Scope::Partition),
            rule("same-totals", Scope::Partition),
        ]
    );
    let all = || pairs(&[(1, "new"), (2, "paid")], &[(1, "new"), (3, "new")]);
    let violations = plugin.check_pairs(context(Side::Source), all()).unwrap();
    assert_eq!(violations.len(), 1);
    assert_eq!((violations[0].pair, &*violations[0].message), (Some(1), "2 and 3"));

    let mut whole = plugin.accumulator(1);
    whole.push(context(Side::Source), all()).unwrap();
    let messages: Vec<_> = whole.finish().into_iter().map(|it| it.message).collect();
    assert_eq!(messages, ["new: 1 and 2", "paid: 1 and 0"]);
    let mut merged = plugin.accumulator(1);
    for pair in [pairs(&[(2, "paid")], &[(3, "new")]), pairs(&[(1, "new")], &[(1, "new")])] {
        let mut part = plugin.accumulator(1);
        part.push(context(Side::Source), pair).unwrap();
        merged.merge(&part.snapshot()).unwrap();
    }
    assert_eq!(merged.snapshot(), whole.snapshot());
    assert!(merged.merge(&[1]).is_err());
    // Pairs of the types that a rule is about count, each as its own.
    let mut both = plugin.accumulator(2);
    both.push(context(Side::Source), all()).unwrap();
    let line = Batch { rows: 1, columns: vec![ints(&[1]), ints(&[5])] };
    let lines = Pairs {
        entity: 1,
        source: line.clone(),
        source_present: vec![1],
        target: line,
        target_present: vec![0],
    };
    both.push(context(Side::Source), lines.clone()).unwrap();
    assert_eq!(both.finish()[0].message, "(2, 2) and (1, 0)");
    // What agrees takes no room: the count of the entries is all that there is.
    let mut agreeing = plugin.accumulator(3);
    let same = || pairs(&[(1, "new"), (2, "paid")], &[(1, "new"), (2, "paid")]);
    agreeing.push(context(Side::Source), same()).unwrap();
    assert_eq!((agreeing.snapshot(), agreeing.finish()), (vec![0; 8], Vec::new()));
    agreeing.push(context(Side::Source), all()).unwrap();
    assert_eq!(agreeing.finish()[0].message, "2: 1");
    let before = whole.snapshot();
    whole.push(context(Side::Source), lines).unwrap();
    assert_eq!(whole.snapshot(), before);
    // A rule about pairs has nothing to sum.
    let mut none = plugin.accumulator(0);
    none.push(context(Side::Source), all()).unwrap();
    assert_eq!(none.finish(), []);
}

#[test]
fn entities_are_located_and_keys_identified() {
    let mut plugin = planned();
    let none: Vec<Option<&str>> = vec![None; 2];
    let orders = || Batch {
        rows: 2,
        columns: vec![ints(&[7, 8]), texts(&["new", "new"]), ints(&[1, 1]), bytes(&none)],
    };
    let located = plugin.locate(context(Side::Target), 0, orders()).unwrap();
    let accesses = located.iter().map(|located| (located.relation, located.access.as_str()));
    assert_eq!(accesses.collect::<Vec<_>>(), [(0, "get"), (0, "query")]);
    let Buffer::Bytes(prefixes) = &located[1].keys.columns[1].values else { panic!() };
    assert_eq!(&prefixes.data[..], b"ORDER#7@ORDER#8@");
    let Buffer::Bytes(keys) = &located[0].keys.columns[1].values else { panic!() };
    assert_eq!(
        (&keys.data[..], &located[0].from_entity[..]),
        (&b"ORDER#7ORDER#8"[..], &[0, 1][..])
    );

    // The first one has no id: its key was begun, and it is located nowhere.
    let ids = Column { validity: vec![0b10], ..ints(&[0, 8]) };
    let mut unnamed = orders();
    unnamed.columns[0] = ids;
    let located = plugin.locate(context(Side::Target), 0, unnamed).unwrap();
    assert_eq!((located[0].keys.rows, &located[0].from_entity[..]), (1, &[1][..]));
    let Buffer::Bytes(keys) = &located[0].keys.columns[1].values else { panic!() };
    assert_eq!(&keys.data[..], b"ORDER#8");

    let located = plugin.locate(context(Side::Source), 0, orders()).unwrap();
    assert_eq!((located[0].relation, &*located[0].access), (1, "query"));
    assert_eq!(located[0].keys.columns, [ints(&[7, 8])]);
    assert_eq!(plugin.locate(context(Side::Target), 1, orders()).unwrap(), []);

    let keys = texts(&["ORDER#7", "LINES#7", "ORDER#x"]);
    let keys = Batch { rows: 3, columns: vec![texts(&["SHOP"; 3]), keys] };
    let known = plugin.keys_of(context(Side::Target), 0, keys).unwrap();
    assert_eq!((known.len(), &known[0].from_group[..]), (1, &[0][..]));
    assert_eq!(known[0].items.columns[0], ints(&[7]));
    assert_eq!(plugin.keys_of(context(Side::Source), 0, orders()).unwrap(), []);
}

#[test]
fn what_cannot_be_planned_is_told_at_once() {
    #[derive(Default)]
    struct Wrong;
    impl Mapping for Wrong {
        const NAME: &'static str = "wrong";
        const SUMMARY: &'static str = "maps nothing";

        fn plan(&self, plan: &Plan) {
            let row = plan.source();
            let there = plan.relation(Side::Target, "there");
            let entity = plan.entity("thing", row, row);
            entity.key("id", row.integer("id"), there.integer("id"));
        }
    }
    driftd_plugin::export!(Wrong: Mapping);
    let mut plugin = Plugin::<Wrong>::default();
    assert_eq!(
        plugin.init(r#"{"a": 1}"#.to_owned()).unwrap_err()[0].message,
        "this plugin takes no configuration"
    );
    let source = vec![table("here", &[("id", "float")], &[0])];
    let target = vec![table("shop", &[], &[])];
    let issues = plugin.plan("p".to_owned(), source, target).unwrap_err();
    let messages: Vec<_> = issues.iter().map(|issue| issue.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "the target has no relation `there`",
            "entity type `thing` takes its target from the other side",
            "column `id` of the source is of type float; this plugin can read integer",
            "column `id` of the source is of type float; this plugin can read integer",
        ]
    );
    let nothing = plugin.map_batch(context(Side::Source), Vec::new()).unwrap_err();
    assert_eq!(nothing.code, "no-plan");
}

#[test]
fn a_query_by_more_columns_than_the_key_has_is_refused() {
    #[derive(Default)]
    struct Wide;
    impl Mapping for Wide {
        const NAME: &'static str = "wide";
        const SUMMARY: &'static str = "maps things";

        fn plan(&self, plan: &Plan) {
            let (row, item) = (plan.source(), plan.target());
            plan.entity("thing", row, item).key("id", row.integer("id"), item.integer("id"));
        }
    }
    impl Locating for Wide {
        fn locate(&self, locators: &Locators) {
            let thing = locators.entity("thing");
            locators.query(thing, Side::Source, 2, |_, _| Ok(()));
            locators.query(thing, Side::Source, 0, |_, _| Ok(()));
        }
    }
    driftd_plugin::export!(Wide: Mapping + Locating);
    let mut plugin = Plugin::<Wide>::default();
    let things = || vec![table("things", &[("id", "integer")], &[0])];
    // With the plan, where what to do is told as well.
    let issues = plugin.plan("p".to_owned(), things(), things()).unwrap_err();
    let told: Vec<_> = issues.iter().map(|issue| issue.message.as_str()).collect();
    assert_eq!(told, ["a query by 2 columns of a key of 1", "a query by 0 columns of a key of 1"]);
}
