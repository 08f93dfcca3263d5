//! Tests of the built-in mapping, through [`Mapper`] as a check uses it.

use proptest::prelude::*;

use super::*;
use crate::model::{Buffer, Column, ColumnBuilder, RelationSchema, Value};
use crate::plugin::template::{KeyTemplate, Template};

fn schema(columns: &[(&str, Logical)], open: bool) -> RelationSchema {
    let column = |(name, logical): &(&str, Logical)| ColumnDef {
        name: (*name).to_owned(),
        logical: *logical,
        nullable: true,
    };
    RelationSchema {
        relation: "users".to_owned(),
        columns: columns.iter().map(column).collect(),
        key: vec![0],
        open,
        partial: false,
    }
}

fn field(name: &str, role: Role, logical: Option<Logical>) -> Field {
    Field {
        name: name.to_owned(),
        role,
        logical,
        source: name.to_owned(),
        target: name.to_owned(),
        rules: vec![],
    }
}

fn settings(fields: Vec<Field>) -> Settings {
    Settings { entity: "user".to_owned(), fields, ignore_source: vec![], ignore_target: vec![] }
}

fn bind(
    settings: &Settings,
    source: &RelationSchema,
    target: &RelationSchema,
) -> Result<BuiltIn, Vec<PlanIssue>> {
    let place = |schema| Place { schemas: std::slice::from_ref(schema), key: None };
    let binding = Binding { pairing: "users", source: place(source), target: place(target) };
    BuiltIn::new(settings, &binding)
}

fn map(mapping: &BuiltIn, side: Side, columns: Vec<Column>) -> Mapped {
    let rows = columns.first().map_or(0, |column| column.values.len());
    let mut session = mapping.begin(Moment(0)).unwrap();
    session.map(side, &Rows::each(0, &Batch { rows, columns })).unwrap()
}

fn bytes(cells: &[&[u8]]) -> Column {
    let mut builder = ColumnBuilder::bytes(cells.len());
    cells.iter().for_each(|cell| builder.push_bytes(cell));
    builder.finish()
}

fn ids(rows: usize) -> Column {
    let mut builder = ColumnBuilder::int64(rows);
    (0..rows).for_each(|row| builder.push_i64(i64::try_from(row).unwrap()));
    builder.finish()
}

/// One cell of a column of type `from`.
enum Given {
    Text(&'static str),
    Bytes(&'static [u8]),
    Int(i64),
    Float(f64),
    Null,
    Value(Value),
}

impl Given {
    fn column(&self, from: Logical) -> Column {
        let mut builder = match (from, self) {
            (_, Self::Int(_)) => ColumnBuilder::int64(1),
            (_, Self::Float(_)) => ColumnBuilder::float64(1),
            _ => ColumnBuilder::bytes(1),
        };
        match self {
            Self::Text(text) => builder.push_bytes(text.as_bytes()),
            Self::Bytes(bytes) => builder.push_bytes(bytes),
            Self::Int(value) => builder.push_i64(*value),
            Self::Float(value) => builder.push_f64(*value),
            Self::Null => builder.push_null(),
            Self::Value(value) => builder.push_bytes(&value.to_cbor()),
        }
        builder.finish()
    }
}

/// Maps one cell of type `from` into a field that was declared as `to`; the cell as text, or why not.
fn converted(from: Logical, given: &Given, to: Logical) -> Result<String, String> {
    // So that the field's cells are typed.
    converted_by(&[Rule::AbsentIsNull], from, given, to)
}

fn converted_by(
    rules: &[Rule],
    from: Logical,
    given: &Given,
    to: Logical,
) -> Result<String, String> {
    let source = schema(&[("id", Logical::Integer), ("f", from)], false);
    let target = schema(&[("id", Logical::Integer), ("f", to)], false);
    let fields = vec![field("id", Role::Key, None), field("f", Role::Compared, Some(to))];
    let mut fields = settings(fields);
    fields.fields[1].rules = rules.to_vec();
    let mapping = match bind(&fields, &source, &target) {
        Ok(mapping) => mapping,
        Err(issues) => return Err(issues[0].message.clone()),
    };
    let mapped = map(&mapping, Side::Source, vec![ids(1), given.column(from)]);
    if let Some((row, why)) = mapped.rejected.first() {
        assert_eq!((*row, mapped.outputs[0].entities.rows), (0, 0));
        return Err(why.clone());
    }
    let column = &mapped.outputs[0].entities.columns[1];
    Ok(match (&column.values, column.bytes(0), column.integer(0)) {
        (Buffer::Float64(values), _, _) => format!("{}", values[0]),
        (_, Some(bytes), _) if mapping.plan().entities[0].fields[1].logical == Logical::Value => {
            format!("{:?}", Value::decode(bytes).unwrap())
        }
        (_, Some(bytes), _) => String::from_utf8(bytes.to_vec()).unwrap(),
        (_, _, Some(value)) => value.to_string(),
        _ => "null".to_owned(),
    })
}

#[test]
fn values_are_converted_where_nothing_is_lost() {
    use Logical as L;
    let number = |text| Value::Number(crate::model::Number::parse(text).unwrap());
    let text = |text: &str| Value::Text(text.to_owned());
    let cases = [
        (L::Text, Given::Text("-12"), L::Integer, "-12"),
        (L::Text, Given::Text("18446744073709551615"), L::Integer, "18446744073709551615"),
        (L::Text, Given::Text("1.50"), L::Decimal, "1.5"),
        (L::Text, Given::Text("1e3"), L::Integer, "1000"),
        (L::Text, Given::Text("0.1"), L::Float, "0.1"),
        (L::Text, Given::Text("true"), L::Boolean, "1"),
        (L::Binary, Given::Bytes(&[1]), L::Boolean, "1"),
        (L::Binary, Given::Bytes(&[0]), L::Boolean, "0"),
        (L::Text, Given::Text("1970-01-01T00:00:01Z"), L::Timestamp, "1000000"),
        (L::Text, Given::Text("1970-01-01 00:00:01.5"), L::Timestamp, "1500000"),
        (L::Text, Given::Text("1970-01-01 00:00:01.5"), L::DateTime, "1500000"),
        (L::Text, Given::Text("1970-01-03"), L::Date, "2"),
        (L::Text, Given::Text("00:00:02"), L::Time, "2000000"),
        (L::Text, Given::Text("{\"a\": 1.0}"), L::Json, "{\"a\":1}"),
        (L::Text, Given::Text(" null"), L::Json, "null"),
        (L::Text, Given::Text("0000-00-00 00:00:00"), L::Timestamp, "-9223372036854775808"),
        (L::Text, Given::Text("0000-00-00T00:00:00Z"), L::Timestamp, "-9223372036854775808"),
        (L::Text, Given::Text("0000-00-00T00:00:00"), L::DateTime, "-9223372036854775808"),
        (L::Text, Given::Text("0000-00-00"), L::Date, "-9223372036854775808"),
        (L::Text, Given::Text("1000:00:00"), L::Time, "3600000000000"),
        (L::Text, Given::Text("30.4"), L::Float32, "30.399999618530273"),
        (L::Decimal, Given::Text("30.4"), L::Float32, "30.399999618530273"),
        (L::Float, Given::Float(30.4), L::Float32, "30.399999618530273"),
        (L::Boolean, Given::Int(1), L::Text, "true"),
        (L::Text, Given::Text("b,a"), L::Set, "a,b"),
        (L::Integer, Given::Int(1), L::Boolean, "1"),
        (L::Integer, Given::Int(3), L::Decimal, "3"),
        (L::Integer, Given::Int(3), L::Float, "3"),
        (L::Integer, Given::Int(3), L::Text, "3"),
        (L::Boolean, Given::Int(1), L::Integer, "1"),
        (L::Decimal, Given::Text("7.00"), L::Integer, "7"),
        (L::Decimal, Given::Text("0.1"), L::Float, "0.1"),
        (L::Float, Given::Float(3.0), L::Integer, "3"),
        (L::DateTime, Given::Int(5), L::Timestamp, "5"),
        (L::Timestamp, Given::Int(5), L::DateTime, "5"),
        (L::Enum, Given::Text("active"), L::Text, "active"),
        (L::Value, Given::Value(number("7")), L::Integer, "7"),
        (L::Value, Given::Value(number("0.25")), L::Float, "0.25"),
        (L::Value, Given::Value(number("30.4")), L::Float32, "30.399999618530273"),
        (L::Value, Given::Value(Value::Bool(true)), L::Boolean, "1"),
        (L::Value, Given::Value(text("1970-01-03")), L::Date, "2"),
        (L::Value, Given::Value(Value::Set(vec![text("b"), text("a")])), L::Set, "a,b"),
        (
            L::Value,
            Given::Value(Value::Map([("k".to_owned(), Value::List(vec![Value::Null]))].into())),
            L::Json,
            "{\"k\":[null]}",
        ),
        (L::Value, Given::Null, L::Text, "null"),
        (L::Value, Given::Value(Value::Null), L::Text, "null"),
        (L::Json, Given::Text("\"a\""), L::Value, "Text(\"a\")"),
        (L::Timestamp, Given::Int(5), L::Value, "Timestamp(5)"),
        (L::Text, Given::Null, L::Value, "Null"),
        (L::Json, Given::Text("{\"b\": 1}"), L::Json, "{\"b\": 1}"),
        (L::Decimal, Given::Text("1.50"), L::Decimal, "1.50"),
    ];
    for (from, given, to, expected) in cases {
        assert_eq!(converted(from, &given, to).as_deref(), Ok(expected), "{from} to {to}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_would_be_lost_is_rejected_without_the_value() {
    use Logical as L;
    let text = |text: &str| Given::Value(Value::Text(text.to_owned()));
    let long = "123456789012345678901234567890123456789";
    let cases = [
        (L::Text, Given::Text("secret"), L::Integer, "field `f`: a text that is no number"),
        (L::Text, Given::Text("1.5"), L::Integer, "field `f`: a number that is no integer"),
        (L::Binary, Given::Bytes(&[2]), L::Boolean, "field `f`: binary that is no single bit"),
        (L::Binary, Given::Bytes(&[0, 1]), L::Boolean, "field `f`: binary that is no single bit"),
        (
            L::Text,
            Given::Text("18446744073709551616"),
            L::Integer,
            "field `f`: an integer beyond 64 bits",
        ),
        (L::Text, Given::Text(long), L::Decimal, "field `f`: more than 38 significant digits"),
        (
            L::Text,
            Given::Text("yes"),
            L::Boolean,
            "field `f`: a text that is neither true nor false",
        ),
        (
            L::Integer,
            Given::Int(2),
            L::Boolean,
            "field `f`: a number that is neither 0 nor 1 for a boolean",
        ),
        (
            L::Text,
            Given::Text("1970-01-01T00:00:01.1234567Z"),
            L::Timestamp,
            "field `f`: a text that is no date-time of at most microseconds",
        ),
        (
            L::Text,
            Given::Text("1970-01-01T00:00:01+01:00"),
            L::DateTime,
            "field `f`: a date-time with time zone; declare the field as timestamp",
        ),
        (L::Text, Given::Text("1970-02-40"), L::Date, "field `f`: a text that is no date"),
        (L::Text, Given::Text("{"), L::Json, "field `f`: a text that is no JSON"),
        (
            L::Float,
            Given::Float(0.5),
            L::Decimal,
            "field `f`: a float where the field is of type decimal",
        ),
        (
            L::Value,
            text("AQID"),
            L::Binary,
            "field `f`: text where the field is of type binary; where one stands for the other, write `rules = [\"text=hex\"]` or `rules = [\"text=base64\"]`",
        ),
        (
            L::Value,
            text("12"),
            L::Decimal,
            "field `f`: text where the field is of type decimal; where one stands for the other, write `rules = [\"text=number\"]`",
        ),
        (
            L::Value,
            text("true"),
            L::Boolean,
            "field `f`: text where the field is of type boolean; where one stands for the other, write `rules = [\"text=bool\"]`",
        ),
        (
            L::Value,
            Given::Value(Value::Number(1i64.into())),
            L::Boolean,
            "field `f`: a number where the field is of type boolean; where one stands for the other, write `rules = [\"number=bool\"]`",
        ),
        (
            L::Value,
            Given::Value(Value::Number(1i64.into())),
            L::Text,
            "field `f`: a number where the field is of type text; where one stands for the other, write `rules = [\"text=number\"]`",
        ),
        (
            L::Value,
            Given::Value(Value::Bool(true)),
            L::Integer,
            "field `f`: a boolean where the field is of type integer; where one stands for the other, write `rules = [\"number=bool\"]`",
        ),
        (L::Text, Given::Text("1e400"), L::Float, "field `f`: a number beyond all floats"),
        (
            L::Value,
            Given::Value(Value::Bytes(vec![1])),
            L::Text,
            "field `f`: binary where the field is of type text; where one stands for the other, write `rules = [\"text=hex\"]` or `rules = [\"text=base64\"]`",
        ),
        (
            L::Value,
            Given::Value(Value::Bytes(vec![1])),
            L::Json,
            "field `f`: binary where the field is of type json",
        ),
        (
            L::Value,
            Given::Value(Value::List(vec![])),
            L::Text,
            "field `f`: a list where the field is of type text",
        ),
        (
            L::Value,
            Given::Value(Value::Bool(true)),
            L::Text,
            "field `f`: a boolean where the field is of type text; where one stands for the other, write `rules = [\"text=bool\"]`",
        ),
        (
            L::Binary,
            Given::Text("x"),
            L::Text,
            "`f` of the source is of type binary and cannot become text",
        ),
        (
            L::Timestamp,
            Given::Int(1),
            L::Date,
            "`f` of the source is of type timestamp and cannot become date",
        ),
    ];
    for (from, given, to, expected) in cases {
        assert_eq!(converted(from, &given, to).unwrap_err(), expected, "{from} to {to}");
    }
}

#[test]
fn a_cell_of_another_type_stays_what_it_is_where_no_rule_takes_it() {
    use Logical as L;
    let number = |text| Given::Value(Value::Number(crate::model::Number::parse(text).unwrap()));
    let text = |text: &str| Given::Value(Value::Text(text.to_owned()));
    let dynamic = |rules: &[Rule], given: &Given, to| {
        let rules = [rules, &[Rule::JsonNullIsNull]].concat();
        converted_by(&rules, L::Value, given, to)
    };
    for (given, to, kept) in [
        (text("1"), L::Integer, "Text(\"1\")"),
        (text("1"), L::Float32, "Text(\"1\")"),
        (text("true"), L::Boolean, "Text(\"true\")"),
        (text("00ff"), L::Binary, "Text(\"00ff\")"),
        (Given::Value(Value::Bool(true)), L::Integer, "Bool(true)"),
        (Given::Value(Value::Bytes(vec![1])), L::Boolean, "Bytes([1])"),
        (Given::Value(Value::JsonNull), L::Text, "JsonNull"),
        (Given::Value(Value::List(vec![])), L::Text, "List([])"),
    ] {
        assert_eq!(dynamic(&[], &given, to).as_deref(), Ok(kept), "{to}");
    }
    // A float is made here, so that it is rounded; other rules are the comparison's.
    let ruled = dynamic(&[Rule::TextIsNumber], &text("30.4"), L::Float32);
    assert_eq!(ruled.as_deref(), Ok("Float(30.399999618530273)"));
    let ruled = dynamic(&[Rule::TextIsNumber], &text("030.4"), L::Float32);
    assert_eq!(ruled.as_deref(), Ok("Text(\"030.4\")"));
    // What is of the type, and none of its values.
    assert!(dynamic(&[], &number("1.5"), L::Integer).unwrap().starts_with("Number"));
    assert_eq!(
        dynamic(&[], &text("2024-02-40"), L::Date).unwrap_err(),
        "field `f`: a text that is no date"
    );
    // JSON is read where the type says so, and only there.
    assert_eq!(dynamic(&[], &text("null"), L::Json).as_deref(), Ok("JsonNull"));
    assert_eq!(dynamic(&[], &text("\"a\""), L::Json).as_deref(), Ok("Text(\"a\")"));
}

#[test]
fn columns_of_two_types_are_refused_unless_one_is_said_to_stand_for_the_other() {
    use Logical as L;
    let refused = |source, target, rules: &[Rule], logical| {
        let source = schema(&[("id", L::Integer), ("f", source)], false);
        let target = schema(&[("id", L::Integer), ("f", target)], false);
        let fields = vec![field("id", Role::Key, None), field("f", Role::Compared, logical)];
        let mut fields = settings(fields);
        fields.fields[1].rules = rules.to_vec();
        let told = |issues: Vec<PlanIssue>| issues[0].to_string();
        bind(&fields, &source, &target).err().map(told)
    };
    for (source, target, rule, help) in [
        (L::Integer, L::Text, Rule::TextIsNumber, "`rules = [\"text=number\"]`"),
        (L::Text, L::Float32, Rule::TextIsNumber, "`rules = [\"text=number\"]`"),
        (L::Boolean, L::Integer, Rule::NumberIsBool, "`rules = [\"number=bool\"]`"),
        (L::Text, L::Boolean, Rule::TextIsBool, "`rules = [\"text=bool\"]`"),
        (L::Binary, L::Text, Rule::TextIsHex, "`rules = [\"text=base64\"]`"),
    ] {
        for (source, target) in [(source, target), (target, source)] {
            let told = refused(source, target, &[], None).unwrap();
            assert!(told.contains("cannot become") && told.contains(help), "{told}");
            assert_eq!(refused(source, target, &[rule], None), None, "{source} {target}");
        }
    }
    for (source, target) in [(L::Json, L::Text), (L::Text, L::Json)] {
        let told = refused(source, target, &[], None).unwrap();
        assert!(told.contains("write `type = \"json\"`"), "{told}");
        assert_eq!(refused(source, target, &[], Some(L::Json)), None);
    }
    let told = refused(L::Timestamp, L::DateTime, &[], None).unwrap();
    assert!(told.contains("write `type = "), "{told}");
    assert_eq!(refused(L::Integer, L::Text, &[], Some(L::Integer)), None);
}

#[test]
fn numbers_are_compared_as_the_float_of_either_side() {
    use Logical as L;
    for (one, two, expected) in [
        (L::Float32, L::Value, L::Float32),
        (L::Float32, L::Float, L::Float32),
        (L::Float32, L::Decimal, L::Float32),
        (L::Float32, L::Integer, L::Float32),
        (L::Float, L::Decimal, L::Float),
        (L::Float, L::Value, L::Float),
    ] {
        assert_eq!(types::common(one, two), expected);
        assert_eq!(types::common(two, one), expected);
    }
    assert_eq!(types::common(L::Integer, L::Decimal), L::Integer);
    assert_eq!(types::common(L::Value, L::Text), L::Text);
    assert_eq!(types::common(L::Text, L::Float), L::Float);
    assert_eq!(types::common(L::Date, L::Float), L::Date);
    let declared = field("f", Role::Compared, Some(L::Float));
    assert_eq!(canonical(&declared, L::Float32, L::Value), (L::Float32, true));
    assert_eq!(canonical(&declared, L::Float, L::Value), (L::Float, true));
}

/// Whatever JSON can hold.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (any::<i64>(), -60i32..60).prop_map(|(mantissa, exponent)| {
            Value::Number(crate::model::Number::new(mantissa.into(), exponent).unwrap())
        }),
        ".{0,6}".prop_map(Value::Text),
    ];
    let tree = leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(".{0,3}", inner, 0..4).prop_map(Value::Map),
        ]
    });
    tree.prop_map(|tree| {
        // By itself, null is a document, and a text is one to be read.
        if tree == Value::Null {
            Value::JsonNull
        } else if let Value::Text(_) = tree {
            Value::List(vec![tree])
        } else {
            tree
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_document_that_is_written_is_read_back(document in document()) {
        let written = converted(Logical::Value, &Given::Value(document.clone()), Logical::Json);
        let read = Value::parse_json(written.unwrap().as_bytes()).unwrap();
        prop_assert_eq!(read, document);
    }
}

/// The table of types, as the documentation shows it.
fn documented() -> String {
    use super::types::{Kind, Meets, meets};
    let kinds = [
        (Kind::Boolean, "booleans"),
        (Kind::Number, "numbers"),
        (Kind::Float, "floats"),
        (Kind::Text, "texts"),
        (Kind::Bytes, "binary"),
        (Kind::Timestamp, "timestamps"),
        (Kind::DateTime, "date-times"),
        (Kind::Date, "dates"),
        (Kind::Time, "times"),
        (Kind::Set, "sets"),
        (Kind::List, "lists"),
        (Kind::Map, "maps"),
        (Kind::JsonNull, "JSON `null`"),
    ];
    let mut table = String::from(
        "| a field of type | takes | after reading or rounding | where that is declared |\n| --- | --- | --- | --- |\n",
    );
    for name in Logical::names() {
        let to = Logical::parse(name).unwrap();
        let of = |wanted: &dyn Fn(Meets) -> Option<String>| {
            let told = kinds.iter().filter_map(|(kind, word)| {
                wanted(meets(*kind, to)).map(|how| format!("{word}{how}"))
            });
            told.collect::<Vec<_>>().join(", ")
        };
        let alike = of(&|meets| (meets == Meets::Alike).then(String::new));
        let read = of(&|meets| match meets {
            Meets::Read => Some(" in its form".to_owned()),
            Meets::Rounded => Some(", rounded".to_owned()),
            Meets::Whole => Some(" that are whole".to_owned()),
            Meets::Alike | Meets::Ruled(_) | Meets::Declared | Meets::Differs => None,
        });
        let declared = of(&|meets| match meets {
            // It is no value of the field then, but none.
            Meets::Ruled([Rule::JsonNullIsNull]) => None,
            Meets::Ruled(rules) => {
                let names: Vec<_> = rules.iter().filter_map(|rule| rule.name()).collect();
                Some(format!(" (`{}`)", names.join("`, `")))
            }
            Meets::Declared => Some(" (`type`)".to_owned()),
            Meets::Alike | Meets::Rounded | Meets::Whole | Meets::Read | Meets::Differs => None,
        });
        let row = format!("| `{name}` | {alike} | {read} | {declared} |\n");
        table.push_str(&row.replace("|  |", "| |").replace("|  |", "| |"));
    }
    table
}

#[test]
fn the_documented_table_of_types_is_that_of_the_code() {
    const BEGIN: &str =
        "<!-- Written by `UPDATE_EXPECT=1` from daemon/src/plugin/builtin/types.rs. -->\n\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/README.md");
    let readme = std::fs::read_to_string(path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).expect("a place for the table");
    let (table, after) = rest.split_once("\n\n").expect("an end of the table");
    let expected = documented();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, format!("{before}{BEGIN}{expected}\n{after}")).unwrap();
        return;
    }
    let hint = "config/README.md is out of date; if that is meant, set UPDATE_EXPECT=1";
    assert_eq!(format!("{table}\n"), expected, "{hint}");
}

#[test]
fn rejected_rows_are_left_out_and_the_others_are_mapped() {
    let source = schema(&[("id", Logical::Integer), ("f", Logical::Text)], false);
    let target = schema(&[("id", Logical::Integer), ("f", Logical::Decimal)], false);
    let fields = settings(vec![
        field("id", Role::Key, None),
        field("f", Role::Compared, Some(Logical::Decimal)),
    ]);
    let mapping = bind(&fields, &source, &target).unwrap();
    let mapped = map(&mapping, Side::Source, vec![ids(4), bytes(&[b"x", b"1", b"\xff", b"2.0"])]);
    assert_eq!(mapped.outputs[0].from_group, [1, 3]);
    assert_eq!(mapped.outputs[0].standing, [Standing::Present; 2]);
    assert_eq!(mapped.outputs[0].entities.columns[0].values, Buffer::Int64(vec![1, 3]));
    assert_eq!(mapped.outputs[0].entities.columns[1], bytes(&[b"1", b"2"]));
    let rejected: Vec<_> = mapped.rejected.iter().map(|(row, _)| *row).collect();
    assert_eq!(rejected, [0, 2]);
}

#[test]
fn numbers_that_no_canonical_value_holds_are_rejected_on_their_way_through() {
    let columns = [("id", Logical::Integer), ("n", Logical::Decimal), ("j", Logical::Json)];
    let side = schema(&columns, false);
    let mut fields = settings(vec![
        field("id", Role::Key, None),
        field("n", Role::Compared, None),
        field("j", Role::Compared, None),
        field("again", Role::Label, None),
    ]);
    fields.fields[3].source = "id".to_owned();
    fields.fields[3].target = "id".to_owned();
    let mapping = bind(&fields, &side, &side).unwrap();
    let long = b"[123456789012345678901234567890123456789]";
    let decimals = bytes(&[b"1.50", &long[1..40], b"1", b"1"]);
    let documents = bytes(&[b"{ }", b"{}", long, b"{"]);
    let mapped = map(&mapping, Side::Source, vec![ids(4), decimals, documents]);
    assert_eq!(mapped.outputs[0].from_group, [0]);
    assert_eq!(mapped.outputs[0].entities.columns[1], bytes(&[b"1.50"]));
    assert_eq!(
        mapped.rejected,
        [
            (1, "field `n`: more than 38 significant digits".to_owned()),
            (2, "field `j`: more than 38 significant digits".to_owned()),
            (3, "field `j`: a text that is no JSON".to_owned()),
        ]
    );
}

#[test]
fn equal_columns_are_not_mapped() {
    let columns = [("id", Logical::Integer), ("name", Logical::Text)];
    let side = schema(&columns, false);
    let mut fields =
        settings(vec![field("id", Role::Key, None), field("name", Role::Compared, None)]);
    let mapping = bind(&fields, &side, &side).unwrap();
    assert!(!mapping.plan().source.mapped && !mapping.plan().target.mapped);
    assert_eq!(mapping.plan().source.relations[0].columns, ["id", "name"]);
    let identity = mapping.identity();
    assert_eq!(bind(&fields, &side, &side).unwrap().identity(), identity);

    fields.fields[1].rules = vec![Rule::TrimEnd];
    assert_ne!(bind(&fields, &side, &side).unwrap().identity(), identity);
    // One column for two fields.
    fields.fields[1].source = "id".to_owned();
    fields.fields[1].target = "id".to_owned();
    let mapping = bind(&fields, &side, &side).unwrap();
    assert!(mapping.plan().source.mapped && mapping.plan().target.mapped);
    assert_eq!(mapping.plan().source.relations[0].columns, ["id"]);
}

#[test]
fn absent_and_null_stay_apart_unless_the_rules_say_so() {
    let source = schema(&[("id", Logical::Integer), ("name", Logical::Text)], false);
    let target = schema(&[("id", Logical::Integer)], true);
    let mut fields =
        settings(vec![field("id", Role::Key, None), field("name", Role::Compared, None)]);
    fields.fields[1].target = "/profile/name".to_owned();
    let null = || {
        let mut builder = ColumnBuilder::bytes(2);
        builder.push_null();
        builder.push_bytes(b"x");
        builder.finish()
    };
    let dynamic = || {
        let mut builder = ColumnBuilder::bytes(2);
        builder.push_null();
        builder.push_bytes(&Value::Text("x".to_owned()).to_cbor());
        builder.finish()
    };

    let mapping = bind(&fields, &source, &target).unwrap();
    assert_eq!(mapping.plan().entities[0].fields[1].logical, Logical::Value);
    let source_name =
        &map(&mapping, Side::Source, vec![ids(2), null()]).outputs[0].entities.columns[1];
    let target_name =
        &map(&mapping, Side::Target, vec![ids(2), dynamic()]).outputs[0].entities.columns[1];
    assert_eq!(source_name.bytes(0), Some(&[0xf6][..]));
    assert_eq!(target_name.bytes(0), None);
    assert_eq!(source_name.bytes(1), target_name.bytes(1));

    fields.fields[1].rules = vec![Rule::AbsentIsNull];
    let mapping = bind(&fields, &source, &target).unwrap();
    assert_eq!(mapping.plan().entities[0].fields[1].logical, Logical::Text);
    let one = map(&mapping, Side::Source, vec![ids(2), null()]).outputs.remove(0).entities;
    assert_eq!(one, map(&mapping, Side::Target, vec![ids(2), dynamic()]).outputs[0].entities);
}

#[test]
fn everything_wrong_is_told_at_once() {
    let source = schema(&[("id", Logical::Integer), ("email", Logical::Text)], false);
    let target = schema(&[("pk", Logical::Text)], true);
    let mut fields = settings(vec![
        field("id", Role::Carried, None),
        field("emial", Role::Compared, None),
        field("id", Role::Version, Some(Logical::Text)),
        field("email", Role::Compared, Some(Logical::Binary)),
    ]);
    fields.ignore_source = vec!["email".to_owned(), "ide".to_owned()];
    let issues = bind(&fields, &source, &target).unwrap_err();
    let told: Vec<_> = issues.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "/fields/1/source: the source's relation `users` has no column `emial`; nearest: `email`",
            "/fields/2/name: field `id` is given twice",
            "/fields/2/role: field `id` of type text cannot be a version; declare its type: a number or a time",
            "/fields/3/source: `email` of the source is both used and ignored",
            "/fields/3/source: `email` of the source is of type text and cannot become binary; where one stands for the other, write `rules = [\"text=hex\"]` or `rules = [\"text=base64\"]`; else declare a type that both sides can take, or use a plugin",
            "/fields: no field is a key; give the fields that identify an entity the role `key`",
            "/ignore_source/1: the source's relation `users` has no column `ide` to ignore; nearest: `id`",
        ]
    );
}

#[test]
fn entities_are_located_by_templates() {
    let source = schema(&[("id", Logical::Integer)], false);
    let target = schema(&[("pk", Logical::Text)], true);
    let mut fields = settings(vec![field("id", Role::Key, None)]);
    fields.fields[0].target = "user_id".to_owned();
    let bind = |template: &str| {
        let template = Template::parse(template).unwrap();
        let key = KeyTemplate { columns: vec![("pk".to_owned(), template)] };
        BuiltIn::new(
            &fields,
            &Binding {
                pairing: "users",
                source: Place { schemas: std::slice::from_ref(&source), key: None },
                target: Place { schemas: std::slice::from_ref(&target), key: Some(&key) },
            },
        )
    };
    let mut session = bind("USER#{id}").unwrap().begin(Moment(0)).unwrap();
    let entities = Batch { rows: 2, columns: vec![ids(2)] };
    let located = session.locate(Side::Target, 0, &entities).unwrap();
    assert_eq!(located[0].keys.columns, [bytes(&[b"USER#0", b"USER#1"])]);
    let error = session.locate(Side::Source, 0, &entities).unwrap_err();
    assert!(
        error.to_string().contains("nor a key template locates entities in the source"),
        "{error}"
    );
    let issues = bind("USER#{ide}").unwrap_err();
    assert_eq!(issues[0].to_string(), "/target/key/pk: `ide` is no field of `user`; nearest: `id`");
}
