//! Tests of the built-in mapping, through [`Mapper`] as a check uses it.

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
    let source = schema(&[("id", Logical::Integer), ("f", from)], false);
    let target = schema(&[("id", Logical::Integer), ("f", to)], false);
    let fields = vec![field("id", Role::Key, None), field("f", Role::Compared, Some(to))];
    let mut fields = settings(fields);
    fields.fields[1].rules = vec![Rule::AbsentIsNull];
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
        (_, Some(bytes), _) if to == Logical::Value => {
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
        (L::Value, Given::Value(Value::Bool(true)), L::Boolean, "1"),
        (L::Value, Given::Value(number("0")), L::Boolean, "0"),
        (L::Value, Given::Value(text("1970-01-03")), L::Date, "2"),
        (L::Value, Given::Value(text("12.5")), L::Decimal, "12.5"),
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
        (L::Value, text("AQID"), L::Binary, "field `f`: text where the field is of type binary"),
        (
            L::Value,
            Given::Value(Value::Bytes(vec![1])),
            L::Text,
            "field `f`: binary where the field is of type text",
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
            "field `f`: a boolean where the field is of type text",
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
    fields.fields[1].source = "id".to_owned();
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
            "/fields/3/source: `email` of the source is of type text and cannot become binary; declare a type that both sides can take, or use a plugin",
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
