//! Comparing: every pair of the table of types, rules, properties, and damage that is systematic.

use proptest::prelude::*;

use super::canonical::KEY_BYTES_MAX;
use super::*;
use crate::model::{
    Batch, Checksum, Column, ColumnBuilder, Digest, EntityDef, FieldDef, Logical, Number, Role,
    Rule, Standing, Value,
};

/// Pairs are wanted, too.
const PAIRS: Asks = Asks { pairs: true, by: None };

/// A cell as a column holds it.
#[derive(Clone, Debug)]
enum Cell {
    /// Null; in a dynamically typed column, absent.
    None,
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bytes(Vec<u8>),
}

fn text(text: &str) -> Cell {
    Cell::Bytes(text.as_bytes().to_vec())
}

fn value(value: &Value) -> Cell {
    Cell::Bytes(value.to_cbor())
}

fn number(text: &str) -> Value {
    Value::Number(Number::parse(text).expect("a number"))
}

fn column(logical: Logical, cells: &[Cell]) -> Column {
    let unsigned = cells.iter().any(|cell| matches!(cell, Cell::Unsigned(_)));
    let float = logical == Logical::Float;
    let integral = matches!(
        logical,
        Logical::Integer
            | Logical::Boolean
            | Logical::Date
            | Logical::DateTime
            | Logical::Time
            | Logical::Timestamp
    );
    let mut builder = match (unsigned, float, integral) {
        (true, _, _) => ColumnBuilder::uint64(0),
        (_, true, _) => ColumnBuilder::float64(0),
        (_, _, true) => ColumnBuilder::int64(0),
        _ => ColumnBuilder::bytes(0),
    };
    for cell in cells {
        match cell {
            Cell::None => builder.push_null(),
            Cell::Signed(value) => builder.push_i64(*value),
            Cell::Unsigned(value) => builder.push_u64(*value),
            Cell::Float(value) => builder.push_f64(*value),
            Cell::Bytes(value) => builder.push_bytes(value),
        }
    }
    builder.finish()
}

fn field(name: &str, logical: Logical, role: Role, rules: &[Rule]) -> FieldDef {
    FieldDef { name: name.to_owned(), logical, role, rules: rules.to_vec() }
}

fn canon(fields: Vec<FieldDef>) -> Canon {
    Canon::new(&EntityDef { name: "thing".to_owned(), fields }, [3; 32]).expect("it has a key")
}

/// A side whose rows are there; faults are those of rows without a canonical form.
fn set(canon: &Canon, pages: Vec<Batch>) -> (EntitySet, Vec<(usize, CellError)>) {
    let mut set = EntitySet::default();
    let mut faults = Vec::new();
    for page in pages {
        let standing = vec![Standing::Present; page.rows];
        let stands = Stands { standing: &standing, misplaced: &[] };
        faults.extend(set.add(canon, page, 0, stands));
    }
    (set, faults)
}

fn one_row(logical: Logical, cell: &Cell) -> Batch {
    let id = column(Logical::Integer, &[Cell::Signed(1)]);
    Batch { rows: 1, columns: vec![id, column(logical, std::slice::from_ref(cell))] }
}

/// `same`, `differs`, `cosmetic` or what is wrong with a cell.
fn verdict(logical: Logical, rules: &[Rule], one: &Cell, two: &Cell) -> String {
    let canon = canon(vec![
        field("id", Logical::Integer, Role::Key, &[]),
        field("it", logical, Role::Compared, rules),
    ]);
    let (here, there) = (one_row(logical, one), one_row(logical, two));
    let (source, faults) = set(&canon, vec![here.clone()]);
    let (target, more) = set(&canon, vec![there.clone()]);
    if let Some((_, fault)) = faults.into_iter().chain(more).next() {
        assert_eq!(&*fault.field, "it");
        return fault.what.into_owned();
    }
    let compared = compare(std::slice::from_ref(&canon), &source, &target, Asks::default());
    let (fields, cosmetic) = canon.differing((&here, 0), (&there, 0)).expect("both have a form");
    assert_eq!(compared.same == 1, fields.is_empty(), "both ways of comparing say the same");
    match (compared.same, cosmetic.len()) {
        (1, _) => "same".to_owned(),
        (_, 0) => "differs".to_owned(),
        _ => "cosmetic".to_owned(),
    }
}

const NO_DATE: i64 = i64::MIN;

fn typed_pairs() -> Vec<(Logical, Cell, Cell, &'static str)> {
    use Cell::{Bytes, Float, None, Signed, Unsigned};
    use Logical as L;
    let nan = f64::from_bits(0x7ff8_0000_0000_1234);
    vec![
        (L::Decimal, text("1"), text("1.0"), "same"),
        (L::Decimal, text("1"), text("1E0"), "same"),
        (L::Decimal, text("-0.00"), text("0"), "same"),
        (L::Decimal, text("0.1"), text("0.10"), "same"),
        (L::Decimal, text("100"), text("1E2"), "same"),
        (L::Decimal, text("0.1"), text("0.10000000000000000001"), "differs"),
        (L::Decimal, text("1"), None, "differs"),
        (L::Decimal, text(&"9".repeat(38)), text(&"9".repeat(38)), "same"),
        (L::Decimal, text(&"9".repeat(39)), text("1"), "more than 38 significant digits"),
        (L::Decimal, text("many"), text("1"), "not a decimal number"),
        (L::Float, Float(-0.0), Float(0.0), "same"),
        (L::Float, Float(f64::NAN), Float(nan), "same"),
        (L::Float, Float(f64::from(1.234_567_8_f32)), Float(f64::from(1.234_567_9_f32)), "differs"),
        (L::Float, Float(1.0), Float(1.0 + f64::EPSILON), "differs"),
        (L::Float, Float(f64::INFINITY), Float(f64::NEG_INFINITY), "differs"),
        (L::Integer, Unsigned(u64::MAX), Unsigned(u64::MAX), "same"),
        (L::Integer, Unsigned(u64::MAX), Signed(-1), "differs"),
        (L::Integer, Unsigned(7), Signed(7), "same"),
        (L::Integer, Signed(i64::MIN), Signed(i64::MAX), "differs"),
        (L::Integer, Signed(0), None, "differs"),
        (L::Boolean, Signed(1), Signed(1), "same"),
        (L::Boolean, Signed(0), None, "differs"),
        (L::Boolean, Signed(2), Signed(1), "a boolean that is neither 0 nor 1"),
        (L::Text, text("a"), text("a "), "cosmetic"),
        (L::Text, text("a"), text("A"), "differs"),
        (L::Text, text("ß"), text("ss"), "differs"),
        (L::Text, text("\u{e9}"), text("e\u{301}"), "cosmetic"),
        (L::Text, text("\u{e9}"), text("e"), "differs"),
        (L::Text, text(""), None, "differs"),
        (L::Text, text(" "), text(""), "cosmetic"),
        (L::Text, text("null"), None, "differs"),
        (L::Text, Bytes(vec![0xff]), text("a"), "text that is not UTF-8"),
        (L::Enum, text(""), None, "differs"),
        (L::Enum, text("new"), text("new"), "same"),
        (L::Set, text("b,a"), text("a,b"), "same"),
        (L::Set, text(""), text("a"), "differs"),
        (L::Set, text(""), None, "differs"),
        (L::Binary, Bytes(b"ab".to_vec()), Bytes(b"ab\0".to_vec()), "differs"),
        (L::Binary, Bytes(Vec::new()), None, "differs"),
        (L::Date, Signed(NO_DATE), None, "differs"),
        (L::Date, Signed(NO_DATE), Signed(0), "differs"),
        (L::Date, Signed(NO_DATE), Signed(NO_DATE), "same"),
        (L::DateTime, Signed(NO_DATE), None, "differs"),
        (L::DateTime, Signed(1_000_000), Signed(1_000_001), "differs"),
        (L::Timestamp, Signed(-1), Signed(1), "differs"),
        (L::Time, Signed(-86_400_000_000), Signed(86_400_000_000), "differs"),
        (L::Json, text(r#"{"b":1,"a":[1,2]}"#), text(r#"{ "a": [1.0, 2], "b": 1e0 }"#), "same"),
        (L::Json, text("[1,2]"), text("[2,1]"), "differs"),
        (L::Json, text(r#"{"a":null}"#), text("{}"), "differs"),
        (L::Json, text(r#""1""#), text("1"), "differs"),
        (L::Json, text("0.1"), text("0.10000000000000001"), "differs"),
    ]
}

fn dynamic_pairs() -> Vec<(Value, Value, &'static str)> {
    let text = |text: &str| Value::Text(text.to_owned());
    let map = |pairs: &[(&str, Value)]| {
        Value::Map(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    };
    vec![
        (number("1"), number("1.0"), "same"),
        (number("1"), Value::Float(1.0), "differs"),
        (number("1"), text("1"), "differs"),
        (number("1"), Value::Bool(true), "differs"),
        (Value::Null, text(""), "differs"),
        (Value::Null, Value::Bool(false), "differs"),
        (text("a"), Value::Bytes(b"a".to_vec()), "differs"),
        (Value::Set(vec![text("a"), text("b")]), Value::Set(vec![text("b"), text("a")]), "same"),
        (Value::Set(vec![number("1")]), Value::Set(vec![number("1.0")]), "same"),
        (Value::Set(vec![text("a")]), Value::List(vec![text("a")]), "differs"),
        (
            Value::List(vec![number("1"), number("2")]),
            Value::List(vec![number("2"), number("1")]),
            "differs",
        ),
        (
            map(&[("a", number("1")), ("b", Value::Null)]),
            map(&[("b", Value::Null), ("a", number("1"))]),
            "same",
        ),
        (map(&[("a", Value::Null)]), map(&[]), "differs"),
        (Value::List(Vec::new()), map(&[]), "differs"),
        (Value::Timestamp(5), Value::DateTime(5), "differs"),
        (Value::Timestamp(5), number("5"), "differs"),
        (Value::Date(5), number("5"), "differs"),
        (text("a"), text("a  "), "cosmetic"),
    ]
}

#[test]
fn a_field_with_a_tolerance_must_have_a_value_to_compare() {
    let field = |name: &str, logical, role, rules: &[Rule]| FieldDef {
        name: name.to_owned(),
        logical,
        role,
        rules: rules.to_vec(),
    };
    let wide = "12345678901234567890123456789012345678901.5";
    for (logical, odd) in [
        (Logical::Decimal, wide),
        (Logical::Decimal, "none"),
        (Logical::Json, "{"),
        (Logical::Value, "\u{1f}"),
    ] {
        let fields = vec![
            field("id", Logical::Integer, Role::Key, &[]),
            field("it", logical, Role::Compared, &[Rule::Tolerance(0.01)]),
        ];
        let entity = EntityDef { name: "thing".to_owned(), fields };
        let canon = Canon::new(&entity, [7; 32]).unwrap();
        let (mut ids, mut its) = (ColumnBuilder::int64(1), ColumnBuilder::bytes(1));
        ids.push_i64(1);
        its.push_bytes(odd.as_bytes());
        let entities = Batch { rows: 1, columns: vec![ids.finish(), its.finish()] };
        assert!(canon.facets(&entities, 0, Digest(0)).is_err(), "{logical}: {odd}");
        let (set, faults) = set(&canon, vec![entities]);
        let [(0, fault)] = faults.as_slice() else { panic!("{logical}: {odd}: {faults:?}") };
        assert_eq!((&*fault.field, set.entries().len()), ("it", 0), "{logical}: {odd}");
    }
}

#[test]
fn cells_compare_as_the_table_of_types_says() {
    for (logical, one, two, expected) in typed_pairs() {
        assert_eq!(verdict(logical, &[], &one, &two), expected, "{logical} {one:?} {two:?}");
        assert_eq!(verdict(logical, &[], &two, &one), expected, "{logical} {two:?} {one:?}");
    }
    for (one, two, expected) in dynamic_pairs() {
        let found = verdict(Logical::Value, &[], &value(&one), &value(&two));
        assert_eq!(found, expected, "{one:?} {two:?}");
    }
    // Absent, null and empty are three things.
    let three = [Cell::None, value(&Value::Null), value(&Value::Text(String::new()))];
    for (at, one) in three.iter().enumerate() {
        for (other, two) in three.iter().enumerate() {
            let expected = if at == other { "same" } else { "differs" };
            assert_eq!(verdict(Logical::Value, &[], one, two), expected, "{one:?} {two:?}");
        }
    }
}

#[test]
fn rules_overlook_what_they_say_and_no_more() {
    let null = value(&Value::Null);
    let empty = value(&Value::Text(String::new()));
    let (dynamic, plain) = (Logical::Value, Logical::Text);
    let loose = [Rule::TrimEnd, Rule::Nfc];
    let near = [Rule::Tolerance(1e-6)];
    let float = Cell::Float;
    let table: &[(Logical, &[Rule], Cell, Cell, &str)] = &[
        (dynamic, &[Rule::AbsentIsNull], Cell::None, null.clone(), "same"),
        (dynamic, &[Rule::AbsentIsNull], Cell::None, empty.clone(), "differs"),
        (dynamic, &[Rule::NullIsEmpty], null, empty.clone(), "same"),
        (dynamic, &[Rule::NullIsEmpty], Cell::None, empty.clone(), "differs"),
        (dynamic, &[Rule::AbsentIsNull, Rule::NullIsEmpty], Cell::None, empty, "same"),
        (plain, &[Rule::NullIsEmpty], Cell::None, text(""), "same"),
        (plain, &[Rule::TrimEnd], text("a"), text("a  "), "same"),
        (plain, &[Rule::TrimEnd], text("a"), text(" a"), "differs"),
        (plain, &[Rule::TrimEnd], text("a"), text("a\t"), "differs"),
        (plain, &[Rule::Nfc], text("\u{e9}"), text("e\u{301}"), "same"),
        (plain, &[Rule::Nfc], text("\u{e9}"), text("e\u{301} "), "cosmetic"),
        (plain, &loose, text("\u{e9} "), text("e\u{301}"), "same"),
        (
            dynamic,
            &loose,
            value(&Value::Text("a ".to_owned())),
            value(&Value::Text("a".to_owned())),
            "same",
        ),
        (Logical::Float, &near, float(1.0), float(1.000_000_5), "same"),
        (Logical::Float, &near, float(1.0), float(1.000_01), "differs"),
        (Logical::Float, &near, float(1e-12), float(2e-12), "differs"),
        (Logical::Float, &near, float(0.0), float(1e-300), "differs"),
        (Logical::Float, &near, float(1.0), Cell::None, "differs"),
        (Logical::Float, &near, float(f64::NAN), float(1.0), "differs"),
        (Logical::Float, &near, float(f64::INFINITY), float(1.0), "differs"),
        (Logical::Float, &near, float(f64::INFINITY), float(f64::NEG_INFINITY), "differs"),
        (Logical::Float, &near, float(f64::INFINITY), float(f64::INFINITY), "same"),
        (Logical::Decimal, &near, text("1E400"), text("5"), "differs"),
        (Logical::Float, &near, float(f64::NAN), float(f64::NAN), "same"),
        (Logical::Decimal, &near, text("1000000"), text("1000000.4"), "same"),
        (Logical::Decimal, &near, text("1000000"), text("1000002"), "differs"),
        (dynamic, &near, value(&number("1")), value(&Value::Float(1.0)), "same"),
        (dynamic, &near, value(&number("1")), value(&Value::Text("1".to_owned())), "differs"),
    ];
    for (logical, rules, one, two, expected) in table {
        let found = verdict(*logical, rules, one, two);
        assert_eq!(found, *expected, "{logical} {rules:?} {one:?} {two:?}");
        assert_eq!(verdict(*logical, rules, two, one), *expected, "{logical} {rules:?} turned");
    }
}

/// A row over small domains, so that equal ones are drawn often.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    /// Absent, null, or a text.
    open: Option<Option<String>>,
    first: Option<String>,
    second: Option<String>,
    count: Option<i64>,
    /// Mantissa and scale of a decimal.
    amount: (i64, usize),
    raw: Option<Vec<u8>>,
}

fn rows() -> impl Strategy<Value = Row> {
    let text = || prop::option::of("[ab]{0,2}");
    let raw = prop::option::of(prop::collection::vec(0u8..2, 0..2));
    let amount = (0i64..12, 0usize..2);
    (prop::option::of(text()), text(), text(), prop::option::of(0i64..2), amount, raw).prop_map(
        |(open, first, second, count, amount, raw)| Row { open, first, second, count, amount, raw },
    )
}

#[test]
fn entities_of_two_types_are_never_alike() {
    for more in [0, 30] {
        let entity = |name: &str| {
            let mut fields = vec![field("id", Logical::Integer, Role::Key, &[])];
            let others =
                (0..more).map(|at| field(&format!("f{at}"), Logical::Integer, Role::Compared, &[]));
            fields.extend(others);
            EntityDef { name: name.to_owned(), fields }
        };
        let canons = Canon::all(&[entity("customer"), entity("supplier")], [3; 32]).unwrap();
        let one = |id: i64| {
            let mut columns = vec![column(Logical::Integer, &[Cell::Signed(id)])];
            columns.resize(1 + more, column(Logical::Integer, &[Cell::Signed(7)]));
            Batch { rows: 1, columns }
        };
        let side = |entities: &[(usize, i64)]| {
            let mut set = EntitySet::default();
            for (entity, id) in entities {
                let stands = Stands { standing: &[Standing::Present], misplaced: &[] };
                assert_eq!(set.add(&canons[*entity], one(*id), 0, stands), []);
            }
            set
        };
        let customer = side(&[(0, 1)]);
        let differing = |target: &[(usize, i64)]| {
            let comparison = compare(&canons, &customer, &side(target), PAIRS);
            (comparison.same, comparison.differing.len())
        };
        assert_eq!(differing(&[(1, 1)]), (0, 2), "a customer filed as a supplier");
        assert_eq!(differing(&[(0, 1)]), (1, 0));
        let crossed =
            compare(&canons, &side(&[(0, 1), (1, 2)]), &side(&[(0, 2), (1, 1)]), Asks::default());
        assert_eq!((crossed.same, crossed.differing.len()), (0, 4));
    }
}

#[test]
fn keys_and_labels_that_are_too_long_are_not_kept() {
    let mut fields = vec![
        field("first", Logical::Text, Role::Key, &[]),
        field("second", Logical::Text, Role::Key, &[]),
    ];
    let labels = (0..40).map(|at| field(&format!("label{at}"), Logical::Text, Role::Label, &[]));
    fields.extend(labels);
    let canon = canon(fields);
    // An array of two texts, each with a head of three bytes.
    let most = "k".repeat((KEY_BYTES_MAX - 7) / 2);
    let (fits, long) = (most.clone() + "kk", most.clone() + "kkk");
    let odd = KEY_BYTES_MAX - 7 - 2 * most.len();
    let fits = &fits[..most.len() + odd];
    let keys = |second: &str| {
        let text = |cell: &str| column(Logical::Text, &[text(cell)]);
        let mut columns = vec![text(&most), text(second)];
        columns.resize(42, text(&"é".repeat(600)));
        Batch { rows: 1, columns }
    };
    let (held, faults) = set(&canon, vec![keys(fits)]);
    assert_eq!((held.key(0).len(), faults), (KEY_BYTES_MAX, vec![]));
    let (held, faults) = set(&canon, vec![keys(&long[..fits.len() + 1])]);
    assert_eq!(held.entries().len(), 0);
    let told = format!("field `second`: makes a key of {} bytes; at most 4096", KEY_BYTES_MAX + 1);
    assert_eq!(faults.iter().map(|(_, fault)| fault.to_string()).collect::<Vec<_>>(), [told]);
    let labels: Vec<_> = canon.labels(&keys("k"), 0).collect();
    assert_eq!(labels.len(), 32);
    assert!(labels.iter().all(|(_, label)| *label == "é".repeat(500)));
}

fn row_canon() -> Canon {
    canon(vec![
        field("id", Logical::Integer, Role::Key, &[]),
        field("open", Logical::Value, Role::Compared, &[]),
        field("first", Logical::Text, Role::Compared, &[]),
        field("second", Logical::Text, Role::Compared, &[]),
        field("count", Logical::Integer, Role::Compared, &[]),
        field("amount", Logical::Decimal, Role::Compared, &[]),
        field("raw", Logical::Binary, Role::Compared, &[]),
        field("label", Logical::Text, Role::Label, &[]),
    ])
}

fn decimal((mantissa, scale): (i64, usize)) -> String {
    if scale == 0 { mantissa.to_string() } else { format!("{}.{}", mantissa / 10, mantissa % 10) }
}

fn batch(rows: &[(i64, Row)]) -> Batch {
    let bytes = |cell: &Option<String>| cell.as_deref().map_or(Cell::None, text);
    let cells =
        |cell: &dyn Fn(&Row) -> Cell| rows.iter().map(|(_, row)| cell(row)).collect::<Vec<_>>();
    let ids: Vec<Cell> = rows.iter().map(|(id, _)| Cell::Signed(*id)).collect();
    let open = |row: &Row| match &row.open {
        None => Cell::None,
        Some(None) => value(&Value::Null),
        Some(Some(text)) => value(&Value::Text(text.clone())),
    };
    let label = |_: &Row| text("whatever");
    Batch {
        rows: rows.len(),
        columns: vec![
            column(Logical::Integer, &ids),
            column(Logical::Value, &cells(&open)),
            column(Logical::Text, &cells(&|row| bytes(&row.first))),
            column(Logical::Text, &cells(&|row| bytes(&row.second))),
            column(Logical::Integer, &cells(&|row| row.count.map_or(Cell::None, Cell::Signed))),
            column(Logical::Decimal, &cells(&|row| text(&decimal(row.amount)))),
            column(Logical::Binary, &cells(&|row| row.raw.clone().map_or(Cell::None, Cell::Bytes))),
            column(Logical::Text, &cells(&label)),
        ],
    }
}

fn digests(canon: &Canon, rows: &[(i64, Row)]) -> Vec<Digest> {
    let (set, faults) = set(canon, vec![batch(rows)]);
    assert!(faults.is_empty(), "{faults:?}");
    set.entries().iter().map(|entry| entry.digest).collect()
}

/// Whether two rows hold the same canonical values.
fn alike(one: &Row, two: &Row) -> bool {
    let amount = |row: &Row| Number::parse(&decimal(row.amount)).expect("a number");
    let rest = |row: &Row| Row { amount: (0, 0), ..row.clone() };
    amount(one) == amount(two) && rest(one) == rest(two)
}

proptest! {
    #[test]
    fn digests_are_equal_exactly_when_the_values_are(one in rows(), two in rows(), id in 0i64..2) {
        let canon = row_canon();
        let same = alike(&one, &two) && id == 0;
        let (one, two) = (digests(&canon, &[(0, one)]), digests(&canon, &[(id, two)]));
        prop_assert_eq!(one == two, same);
    }

    #[test]
    fn a_text_never_runs_into_its_neighbour(text in "[a\u{0}\",]{0,6}", at in 0usize..7, to in 0usize..7) {
        let canon = row_canon();
        let split = |at: usize| {
            let (first, second) = text.split_at(at.min(text.len()));
            Row {
                open: None,
                first: Some(first.to_owned()),
                second: Some(second.to_owned()),
                count: None,
                amount: (0, 0),
                raw: None,
            }
        };
        let same = at.min(text.len()) == to.min(text.len());
        let (one, two) = (digests(&canon, &[(0, split(at))]), digests(&canon, &[(0, split(to))]));
        prop_assert_eq!(one == two, same);
    }

    #[test]
    fn order_and_pages_do_not_matter(
        source in prop::collection::vec((0i64..20, rows()), 0..12),
        target in prop::collection::vec((0i64..20, rows()), 0..12),
        cut in any::<prop::sample::Index>(),
        seed in any::<u64>(),
    ) {
        let canon = row_canon();
        let shuffled = |rows: &[(i64, Row)]| {
            let mut rows: Vec<_> = rows.to_vec();
            let places = 1.max(rows.len() as u64);
            for at in 0..rows.len() {
                let other = usize::try_from(seed.wrapping_mul(at as u64 + 7) % places).expect("small");
                rows.swap(at, other);
            }
            let at = if rows.is_empty() { 0 } else { cut.index(rows.len()) };
            let (one, two) = rows.split_at(at);
            vec![batch(one), batch(two)]
        };
        let outline = |source: Vec<Batch>, target: Vec<Batch>| {
            let (source, target) = (set(&canon, source).0, set(&canon, target).0);
            let compared = compare(std::slice::from_ref(&canon), &source, &target, PAIRS);
            let entries = |set: &EntitySet, at: &[usize]| {
                let mut digests: Vec<_> = at.iter().map(|&at| set.entries()[at].digest).collect();
                digests.sort_unstable();
                digests
            };
            let mut differing: Vec<_> = compared
                .differing
                .iter()
                .map(|(one, two)| (entries(&source, one), entries(&target, two)))
                .collect();
            differing.sort_unstable();
            (compared.same, differing, source.checksum(), target.checksum())
        };
        let plain = outline(vec![batch(&source)], vec![batch(&target)]);
        prop_assert_eq!(&plain, &outline(shuffled(&source), shuffled(&target)));
        // Every key is in exactly one of both lists.
        let keys: std::collections::BTreeSet<i64> =
            source.iter().chain(&target).map(|(id, _)| *id).collect();
        prop_assert_eq!(plain.0 + plain.1.len() as u64, keys.len() as u64);
    }

    #[test]
    fn a_checksum_rolls_over_a_change(
        rows in prop::collection::vec(rows(), 1..12), at in any::<prop::sample::Index>(), new in rows(),
    ) {
        let canon = row_canon();
        let mut rows: Vec<(i64, Row)> = (0i64..).zip(rows).collect();
        let before = digests(&canon, &rows);
        let at = at.index(rows.len());
        rows[at].1 = new;
        let after = digests(&canon, &rows);
        let mut rolled: Checksum = before.iter().copied().collect();
        rolled.roll(before[at], after[at]);
        prop_assert_eq!(rolled, after.iter().copied().collect());
        prop_assert_eq!(rolled, set(&canon, vec![batch(&rows)]).0.checksum());
    }
}

/// CRC-32 as in zlib, MySQL and the chunk checksums that are made of it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

/// A table of `(id, status)`, as both kinds of checksums see it.
fn chunk(rows: &[(i64, &str)]) -> (u32, Batch) {
    let xor = rows
        .iter()
        .fold(0, |xor, (id, status)| xor ^ crc32(format!("{id:08}#{status}").as_bytes()));
    let ids: Vec<Cell> = rows.iter().map(|(id, _)| Cell::Signed(*id)).collect();
    let statuses: Vec<Cell> = rows.iter().map(|(_, status)| text(status)).collect();
    let columns = vec![column(Logical::Integer, &ids), column(Logical::Text, &statuses)];
    (xor, Batch { rows: rows.len(), columns })
}

#[test]
fn systematic_damage_is_found_where_xor_of_crcs_misses_it() {
    let canon = canon(vec![
        field("id", Logical::Integer, Role::Key, &[]),
        field("status", Logical::Text, Role::Compared, &[]),
    ]);
    let all = |status: &'static str| (0..10_000).map(move |id| (id, status)).collect::<Vec<_>>();
    let mut two = all("active ");
    (two[17].1, two[4_711].1) = ("default", "default");
    let mut swapped = all("active ");
    (swapped[5].1, swapped[9].1) = ("paused ", "deleted");
    let before = swapped.clone();
    (swapped[5].1, swapped[9].1) = ("deleted", "paused ");
    for (name, source, target, differing) in [
        ("a wrong default on every row", all("active "), all("default"), 10_000),
        ("the same wrong change on two rows", all("active "), two, 2),
        ("values that were swapped between two rows", before, swapped, 2),
    ] {
        let ((source_crc, source), (target_crc, target)) = (chunk(&source), chunk(&target));
        assert_eq!(source_crc, target_crc, "{name}: such a checksum sees nothing");
        let (source, target) = (set(&canon, vec![source]).0, set(&canon, vec![target]).0);
        assert_ne!(source.checksum(), target.checksum(), "{name}");
        let compared = compare(std::slice::from_ref(&canon), &source, &target, Asks::default());
        assert_eq!(compared.differing.len(), differing, "{name}");
        assert_eq!(compared.same, 10_000 - differing as u64, "{name}");
    }
}
