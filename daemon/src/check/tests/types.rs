//! The table of types, row by row: what a typed column and a cell with a type of its own are to each
//! other, from their rows to the verdict.

use super::*;
use crate::compare::{Asks, EntitySet, Stands, compare};
use crate::model::{Batch, Column, ColumnBuilder, FieldDef, Rule, Standing};
use crate::plugin::Rows;

/// A cell of a side.
#[derive(Clone, Debug)]
enum Cell {
    /// SQL's NULL; in a cell with a type of its own, absent.
    None,
    /// Counted, or an integer.
    Count(i64),
    Float(f64),
    /// The bytes of a text, a decimal, a document of JSON.
    Text(&'static str),
    /// A cell with a type of its own.
    Own(Value),
}

fn column(logical: Logical, cell: &Cell) -> Column {
    let mut builder = match cell {
        Cell::Count(_) => ColumnBuilder::int64(1),
        Cell::Float(_) => ColumnBuilder::float64(1),
        Cell::None | Cell::Text(_) | Cell::Own(_) => logical.column(1),
    };
    match cell {
        Cell::None => builder.push_null(),
        Cell::Count(count) => builder.push_i64(*count),
        Cell::Float(float) => builder.push_f64(*float),
        Cell::Text(text) => builder.push_bytes(text.as_bytes()),
        Cell::Own(value) => builder.push_bytes(&value.to_cbor()),
    }
    builder.finish()
}

/// `same`, `differs`, or why there is no verdict.
fn verdict(
    (source, one): (Logical, &Cell),
    (target, two): (Logical, &Cell),
    declared: Option<Logical>,
    rules: &[&str],
) -> String {
    let rules: Vec<_> = rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
    let field = |name: &str, role, logical, rules: &[Rule]| Field {
        name: name.to_owned(),
        role,
        logical,
        source: name.to_owned(),
        target: name.to_owned(),
        rules: rules.to_vec(),
    };
    let settings = Settings {
        entity: "thing".to_owned(),
        fields: vec![
            field("id", Role::Key, None, &[]),
            field("it", Role::Compared, declared, &rules),
        ],
        ignore_source: Vec::new(),
        ignore_target: Vec::new(),
    };
    let schemas = [source, target].map(|logical| {
        schema(&Given { columns: &[("id", Logical::Integer), ("it", logical)], key: None })
    });
    let place = |at: usize| Place { schemas: std::slice::from_ref(&schemas[at]), key: None };
    let binding = Binding { pairing: "things", source: place(0), target: place(1) };
    let mapper = match BuiltIn::new(&settings, &binding) {
        Ok(mapper) => mapper,
        Err(issues) => return issues[0].message.clone(),
    };
    let canon = Canon::new(&mapper.plan().entities[0], [7; 32]).unwrap();
    let mut session = mapper.begin(Moment(0)).unwrap();
    let mut side = |side, logical, cell: &Cell| {
        let columns = vec![column(Logical::Integer, &Cell::Count(1)), column(logical, cell)];
        let mapped = session.map(side, &Rows::each(0, &Batch { rows: 1, columns })).unwrap();
        if let Some((_, why)) = mapped.rejected.first() {
            return Err(why.clone());
        }
        let mut set = EntitySet::default();
        let stands = Stands { standing: &[Standing::Present], misplaced: &[] };
        let faults = set.add(&canon, mapped.outputs[0].entities.clone(), 0, stands);
        match faults.into_iter().next() {
            Some((_, fault)) => Err(fault.to_string()),
            None => Ok(set),
        }
    };
    let both = (side(Side::Source, source, one), side(Side::Target, target, two));
    match both {
        (Ok(source), Ok(target)) => {
            let compared = compare(std::slice::from_ref(&canon), &source, &target, Asks::default());
            if compared.same == 1 { "same".to_owned() } else { "differs".to_owned() }
        }
        (Err(why), _) | (_, Err(why)) => why,
    }
}

fn own(value: Value) -> Cell {
    Cell::Own(value)
}

fn number(text: &str) -> Cell {
    Cell::Own(Value::Number(Number::parse(text).unwrap()))
}

fn said(text: &str) -> Cell {
    Cell::Own(Value::Text(text.to_owned()))
}

/// A column of a store with a schema, its cell, what a store without one holds, and the verdict.
type Row4 = (Logical, Cell, Cell, &'static str);

fn numbers() -> Vec<Row4> {
    use Cell::{Count, Float, Text};
    use Logical as L;
    let (single, nines) = (f64::from(30.4_f32), "9".repeat(39));
    vec![
        (L::Integer, Count(1), number("1.0"), "same"),
        (L::Integer, Count(1), number("1.5"), "differs"),
        (L::Integer, Count(1), said("1"), "differs"),
        (L::Integer, Count(1), own(Value::Bool(true)), "differs"),
        (L::Integer, Count(0), said(""), "differs"),
        (L::Integer, Count(0), own(Value::Null), "differs"),
        (L::Decimal, Text("12.50"), number("12.5"), "same"),
        (L::Decimal, Text("1E3"), number("1000"), "same"),
        (L::Decimal, Text("-0.00"), number("0"), "same"),
        (L::Decimal, Text("12.50"), said("12.50"), "differs"),
        (L::Decimal, Text("12.50"), own(Value::Float(12.5)), "differs"),
        (
            L::Decimal,
            Text(nines.leak()),
            number("1"),
            "field `it`: more than 38 significant digits",
        ),
        (L::Float32, Float(single), number("30.4"), "same"),
        (L::Float32, Float(f64::from(0.1_f32)), number("0.1"), "same"),
        (L::Float32, Float(single), number("30.4000001"), "same"),
        (L::Float32, Float(single), number("30.40001"), "differs"),
        (L::Float32, Float(-0.0), number("0"), "same"),
        (L::Float32, Float(f64::INFINITY), number("1E39"), "differs"),
        (L::Float32, Float(single), said("30.4"), "differs"),
        (L::Float, Float(30.4), number("30.4"), "same"),
        (L::Float, Float(single), number("30.4"), "differs"),
        (L::Float, Float(f64::NAN), own(Value::Float(f64::NAN)), "same"),
        (L::Float, Float(f64::INFINITY), number("9E999"), "differs"),
        (L::Boolean, Count(1), own(Value::Bool(true)), "same"),
        (L::Boolean, Count(1), said("true"), "differs"),
        (L::Boolean, Count(1), number("1"), "differs"),
    ]
}

fn texts_and_times() -> Vec<Row4> {
    use Cell::{Count, None, Text};
    use Logical as L;
    let list = |items: &[&str]| {
        items.iter().map(|item| Value::Text((*item).to_owned())).collect::<Vec<_>>()
    };
    let zone =
        "field `it`: a date-time without time zone; declare the field as timestamp if it is UTC";
    vec![
        (L::Text, Text("1"), number("1"), "differs"),
        (L::Text, Text("true"), own(Value::Bool(true)), "differs"),
        (L::Text, Text("é"), said("e\u{301}"), "differs"),
        (L::Text, Text(""), None, "differs"),
        (L::Text, Text(""), own(Value::Null), "differs"),
        (L::Text, None, None, "differs"),
        (L::Text, None, own(Value::Null), "same"),
        (L::Text, Text("null"), own(Value::Null), "differs"),
        (L::Text, Text("ab"), own(Value::Bytes(b"ab".to_vec())), "differs"),
        (L::Text, Text("[1]"), own(Value::List(vec![text("1")])), "differs"),
        (L::Binary, Text("ab"), own(Value::Bytes(b"ab".to_vec())), "same"),
        (L::Binary, Text("ab"), own(Value::Bytes(b"ab\0".to_vec())), "differs"),
        (L::Binary, Text("ab"), said("ab"), "differs"),
        (L::Binary, Text("\x01"), own(Value::Bool(true)), "differs"),
        (L::Enum, Text("new"), said("new"), "same"),
        (L::Enum, Text(""), said(""), "same"),
        (L::Set, Text("b,a"), own(Value::Set(list(&["a", "b"]))), "same"),
        (L::Set, Text("b,a"), said("a,b"), "same"),
        (L::Set, Text("b,a"), own(Value::List(list(&["b", "a"]))), "differs"),
        (L::Set, Text(""), said(""), "same"),
        (L::Set, Text(""), None, "differs"),
        (L::DateTime, Count(0), said("1970-01-01 00:00:00"), "same"),
        (L::DateTime, Count(500_000), said("1970-01-01T00:00:00.5"), "same"),
        (L::DateTime, Count(0), said("1970-01-01T00:00:00.000001"), "differs"),
        (L::DateTime, Count(i64::MIN), said("0000-00-00 00:00:00"), "same"),
        (L::DateTime, Count(i64::MIN), said("0000-00-00T00:00:00"), "same"),
        (L::DateTime, Count(i64::MIN), own(Value::Null), "differs"),
        (L::Timestamp, Count(0), said("1970-01-01T00:00:00Z"), "same"),
        (L::Timestamp, Count(0), said("1970-01-01 01:30:00+01:30"), "same"),
        (L::Timestamp, Count(0), said("1970-01-01 00:00:00"), zone),
        (L::Timestamp, Count(0), number("0"), "differs"),
        (L::Timestamp, Count(i64::MIN), said("0000-00-00T00:00:00Z"), "same"),
        (L::Timestamp, Count(i64::MIN), said("0000-00-00 00:00:00"), "same"),
        (L::Timestamp, Count(i64::MIN), said("1970-01-01T00:00:00Z"), "differs"),
        (L::Date, Count(19_782), said("2024-02-29"), "same"),
        (L::Date, Count(i64::MIN), said("0000-00-00"), "same"),
        (L::Date, Count(i64::MIN + 101), said("0000-01-01"), "same"),
        (L::Date, Count(0), said("1970-01-01T00:00:00"), "field `it`: a text that is no date"),
        (L::Time, Count(-3_020_399_000_000), said("-838:59:59"), "same"),
        (L::Time, Count(43_200_000_000), said("12:00:00.0"), "same"),
        (L::Time, Count(43_200_000_000), number("43200"), "differs"),
    ]
}

fn documents() -> Vec<Row4> {
    use Cell::{None, Text};
    use Logical as L;
    let one = || Value::Number(1i64.into());
    let map = |value| own(Value::Map([("a".to_owned(), value)].into()));
    vec![
        (L::Json, Text("\"abc\""), said("abc"), "same"),
        (L::Json, Text("\"1\""), said("1"), "same"),
        (L::Json, Text("\"true\""), said("true"), "same"),
        (L::Json, Text("1"), said("1"), "differs"),
        (L::Json, Text("1.0"), number("1"), "same"),
        (L::Json, Text("true"), own(Value::Bool(true)), "same"),
        (L::Json, Text("true"), said("true"), "differs"),
        (L::Json, Text("{\"a\": 1.0}"), map(one()), "same"),
        (L::Json, Text("{\"a\": null}"), map(Value::Null), "same"),
        (L::Json, Text("{\"a\":\"x\"}"), said("{\"a\": \"x\"}"), "differs"),
        (L::Json, Text("[1]"), own(Value::List(vec![one()])), "same"),
        (L::Json, Text("[1]"), own(Value::Set(vec![one()])), "differs"),
        (L::Json, Text("\"ab\""), own(Value::Bytes(b"ab".to_vec())), "differs"),
        // Absent, SQL's NULL, and the document `null`.
        (L::Json, None, own(Value::Null), "same"),
        (L::Json, None, None, "differs"),
        (L::Json, Text("null"), own(Value::Null), "differs"),
        (L::Json, Text("null"), None, "differs"),
        (L::Json, Text("null"), said("null"), "differs"),
        (L::Json, Text("null"), own(Value::JsonNull), "same"),
    ]
}

#[test]
fn every_row_of_the_table_has_its_verdict() {
    for (logical, cell, other, expected) in [numbers(), texts_and_times(), documents()].concat() {
        let (typed, own) = ((logical, &cell), (Logical::Value, &other));
        let shown = format!("{logical} {cell:?} against {other:?}");
        assert_eq!(verdict(typed, own, None, &[]), expected, "{shown}");
        assert_eq!(verdict(own, typed, None, &[]), expected, "{shown}, the other way");
        // To overlook what is absent changes nothing else but that a cell may have no place.
        let overlooked = verdict(typed, own, None, &["absent=null"]);
        let absent = matches!(other, Cell::None) && matches!(cell, Cell::None);
        let expected = if absent { "same" } else { expected };
        assert_eq!(overlooked == "same", expected == "same", "{shown}, absent=null");
    }
}

/// More digits than a number may have.
const WIDE: &str = "12345678901234567890123456789012345.123456789012345678901234567890";

#[test]
fn columns_are_compared_by_the_same_table() {
    use Cell::{Count, Float, None, Text};
    use Logical as L;
    let single = f64::from(30.4_f32);
    for (source, target, declared, expected) in [
        ((L::Float32, Float(single)), (L::Float, Float(30.4)), Option::None, "same"),
        ((L::Float32, Float(single)), (L::Decimal, Text("30.40")), Option::None, "same"),
        ((L::Float32, Float(16_777_216.0)), (L::Integer, Count(16_777_217)), Option::None, "same"),
        ((L::Float, Float(0.1)), (L::Decimal, Text("0.1")), Option::None, "same"),
        ((L::Float, Float(0.1)), (L::Decimal, Text("0.11")), Option::None, "differs"),
        ((L::Json, Text("null")), (L::Json, None), Option::None, "differs"),
        ((L::Json, Text("null")), (L::Json, Text(" null")), Option::None, "same"),
        ((L::Json, Text("{\"a\":1}")), (L::Text, Text("{ \"a\": 1.0 }")), Some(L::Json), "same"),
        ((L::Json, Text("\"a\"")), (L::Text, Text("\"a\"")), Some(L::Json), "same"),
        (
            (L::Json, Text("\"a\"")),
            (L::Text, Text("a")),
            Some(L::Json),
            "field `it`: a text that is no JSON",
        ),
        ((L::Integer, Count(1)), (L::Boolean, Count(1)), Some(L::Boolean), "same"),
        (
            (L::Integer, Count(2)),
            (L::Boolean, Count(1)),
            Some(L::Boolean),
            "field `it`: a number that is neither 0 nor 1 for a boolean",
        ),
        ((L::DateTime, Count(5)), (L::Timestamp, Count(5)), Some(L::Timestamp), "same"),
        ((L::Binary, Text("\x01")), (L::Boolean, Count(1)), Some(L::Boolean), "same"),
        ((L::Integer, Count(7)), (L::Text, Text("7")), Some(L::Integer), "same"),
        ((L::Decimal, Text(WIDE)), (L::Text, Text(WIDE)), Some(L::Text), "same"),
        ((L::Decimal, Text(WIDE)), (L::Text, Text("1")), Some(L::Text), "differs"),
        ((L::Decimal, Text(WIDE)), (L::Value, said(WIDE)), Some(L::Text), "same"),
    ] {
        let (one, two) = ((source.0, &source.1), (target.0, &target.1));
        assert_eq!(verdict(one, two, declared, &[]), expected, "{source:?} {target:?}");
        assert_eq!(verdict(two, one, declared, &[]), expected, "{target:?} {source:?}");
    }
}

#[test]
fn a_declared_rule_overlooks_what_it_says_and_no_more() {
    use Cell::{Count, Float, None, Text};
    use Logical as L;
    let single = f64::from(30.4_f32);
    for (rule, logical, cell, other, expected) in [
        ("text=number", L::Integer, Count(1), said("1"), "same"),
        ("text=number", L::Integer, Count(1), said("1.0"), "same"),
        ("text=number", L::Integer, Count(1), said("01"), "differs"),
        ("text=number", L::Integer, Count(1), said("2"), "differs"),
        ("text=number", L::Integer, Count(1), said("one"), "differs"),
        ("text=number", L::Integer, Count(1), own(Value::Bool(true)), "differs"),
        ("text=number", L::Decimal, Text("12.50"), said("12.5"), "same"),
        ("text=number", L::Float32, Float(single), said("30.4"), "same"),
        ("text=number", L::Text, Text("7"), number("7"), "same"),
        ("text=number", L::Text, Text("007"), number("7"), "differs"),
        ("text=bool", L::Boolean, Count(1), said("true"), "same"),
        ("text=bool", L::Boolean, Count(1), said("false"), "differs"),
        ("text=bool", L::Boolean, Count(1), said("TRUE"), "differs"),
        ("text=bool", L::Boolean, Count(1), number("1"), "differs"),
        ("text=bool", L::Text, Text("false"), own(Value::Bool(false)), "same"),
        ("number=bool", L::Integer, Count(1), own(Value::Bool(true)), "same"),
        ("number=bool", L::Integer, Count(2), own(Value::Bool(true)), "differs"),
        ("number=bool", L::Boolean, Count(0), number("0"), "same"),
        ("number=bool", L::Boolean, Count(1), said("1"), "differs"),
        ("text=hex", L::Binary, Text("ab"), said("6162"), "same"),
        ("text=hex", L::Binary, Text("ab"), said("6163"), "differs"),
        ("text=base64", L::Binary, Text("ab"), said("YWI="), "same"),
        ("text=base64", L::Binary, Text("ab"), said("YWI"), "differs"),
        ("text=base64", L::Binary, Text(""), said(""), "same"),
        ("json-null=null", L::Json, Text("null"), own(Value::Null), "same"),
        ("json-null=null", L::Json, Text("null"), None, "differs"),
        ("json-null=null", L::Json, Text("\"null\""), own(Value::Null), "differs"),
        ("absent=null", L::Json, Text("null"), None, "differs"),
    ] {
        let (typed, own) = ((logical, &cell), (L::Value, &other));
        let shown = format!("{rule}: {logical} {cell:?} against {other:?}");
        assert_eq!(verdict(typed, own, Option::None, &[rule]), expected, "{shown}");
        assert_eq!(verdict(own, typed, Option::None, &[rule]), expected, "{shown}, the other way");
    }
    let both = ["absent=null", "json-null=null"];
    let (typed, own) = ((L::Json, &Text("null")), (L::Value, &None));
    assert_eq!(verdict(typed, own, Option::None, &both), "same");
    // JSON in a text is read where the field's type says so.
    let map = own_map();
    let (typed, own) = ((L::Json, &Text("{\"a\":\"x\"}")), (L::Value, &said("{\"a\": \"x\"}")));
    assert_eq!(verdict(typed, own, Some(L::Json), &[]), "same");
    let (typed, own) = ((L::Text, &Text("{\"a\":\"x\"}")), (L::Value, &map));
    assert_eq!(verdict(typed, own, Some(L::Json), &[]), "same");
    assert_eq!(verdict(typed, own, Option::None, &[]), "differs");
}

fn own_map() -> Cell {
    own(Value::Map([("a".to_owned(), text("x"))].into()))
}

#[test]
fn a_plugin_s_own_cells_are_compared_by_the_same_rules() {
    let verdict = |one: &Value, two: &Value, rules: &[&str]| {
        let rules: Vec<_> = rules.iter().map(|rule| Rule::parse(rule).unwrap()).collect();
        let field = |name: &str, logical, role, rules| FieldDef {
            name: name.to_owned(),
            logical,
            role,
            rules,
        };
        let fields = vec![
            field("id", Logical::Integer, Role::Key, Vec::new()),
            field("it", Logical::Value, Role::Compared, rules),
        ];
        let entity = crate::model::EntityDef { name: "thing".to_owned(), fields };
        let canon = Canon::new(&entity, [7; 32]).unwrap();
        let digest = |value: &Value| {
            let id = column(Logical::Integer, &Cell::Count(1));
            let cells = column(Logical::Value, &Cell::Own(value.clone()));
            let entities = Batch { rows: 1, columns: vec![id, cells] };
            canon.digest(&canon.cells(&entities), 0, &mut Vec::new(), &mut Vec::new()).unwrap()
        };
        digest(one) == digest(two)
    };
    for (one, two, rule) in [
        (Value::JsonNull, Value::Null, "json-null=null"),
        (text("12.5"), Value::Number(Number::parse("12.50").unwrap()), "text=number"),
        (text("true"), Value::Bool(true), "text=bool"),
        (int(1), Value::Bool(true), "number=bool"),
        (text("00ff"), Value::Bytes(vec![0, 255]), "text=hex"),
        (text("AP8="), Value::Bytes(vec![0, 255]), "text=base64"),
    ] {
        assert!(!verdict(&one, &two, &[]), "{rule}");
        assert!(verdict(&one, &two, &[rule]), "{rule}");
    }
}
