//! Keys as they are pushed: what a column takes, and what is said of any other. Fixtures of `plugins/keys`
//! have a key of every type; here is what an author gets wrong.

use driftd_plugin::glue::Plugin;
use driftd_plugin::prelude::*;
use driftd_plugin::wire::{
    Batch, Buffer, Column, ColumnDef, Context, Error, Located, TableSchema, VarBytes,
};
use driftd_plugin::{Integer, Issue, KeyWriter, Unsigned};

/// What is pushed for the one entity there is.
type Push = fn(&mut KeyWriter);

thread_local! {
    static PUSH: std::cell::Cell<Push> = const { std::cell::Cell::new(|_| {}) };
}

#[derive(Default)]
struct Things;
driftd_plugin::export!(Things: Mapping + Locating);

impl Mapping for Things {
    const NAME: &'static str = "things";
    const SUMMARY: &'static str = "maps things";

    fn plan(&self, plan: &Plan) {
        let (row, item) = (plan.source(), plan.target());
        plan.entity("thing", row, item).key("n", row.decimal("amount"), item.decimal("amount"));
    }
}

impl Locating for Things {
    fn locate(&self, locators: &Locators) {
        let thing = locators.entity("thing");
        locators.get(thing, Side::Source, |_, key| {
            PUSH.get()(key);
            Ok(())
        });
    }
}

fn table(name: &str, columns: &[(&str, &str)]) -> TableSchema {
    let column = |(name, logical): &(&str, &str)| ColumnDef {
        name: (*name).to_owned(),
        logical: (*logical).to_owned(),
        nullable: false,
    };
    TableSchema {
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: (0..columns.len() as u32).collect(),
    }
}

/// Where a thing lies in a table with such a key, if this is pushed for it.
fn located(key: &[(&str, &str)], push: Push) -> Result<Vec<Located>, Error> {
    PUSH.set(push);
    let mut plugin = Plugin::<Things>::default();
    plugin.init("{}".to_owned()).unwrap();
    let tables = |name| vec![table(name, key)];
    plugin.plan("p".to_owned(), tables("t"), tables("u")).unwrap();
    let numbers = VarBytes { offsets: vec![0, 1], data: b"1".to_vec() };
    let numbers = Column { validity: Vec::new(), values: Buffer::Bytes(numbers) };
    let context = Context { pairing: "p".to_owned(), side: Side::Source, as_of: 0 };
    plugin.locate(context, 0, Batch { rows: 1, columns: vec![numbers] })
}

fn told(key: &[(&str, &str)], push: Push) -> String {
    let Error { code, message } = located(key, push).unwrap_err();
    let is_code = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
    assert!(code.chars().all(is_code), "{code}");
    format!("{code}: {message}")
}

fn one(logical: &str, push: Push) -> Column {
    let located = located(&[("n", logical)], push).unwrap();
    let [Located { keys, .. }] = located.as_slice() else { panic!("{located:?}") };
    assert_eq!(keys.rows, 1);
    keys.columns[0].clone()
}

#[test]
fn whole_numbers_are_what_the_column_is() {
    for push in [
        (|key| (key.push(7u64), key.end()).1) as Push,
        |key| (key.push(7i64), key.end()).1,
        |key| (key.push(7), key.end()).1,
        |key| (key.push(7u8), key.end()).1,
        |key| (key.push(7i16), key.end()).1,
        |key| (key.push(7u32), key.end()).1,
        |key| (key.push(Decimal::new(70, -1)), key.end()).1,
        |key| (key.push(Cell::Integer(7)), key.end()).1,
    ] {
        assert_eq!(one("integer", push).values, Buffer::Int64(vec![7]));
        let Buffer::Bytes(VarBytes { data, .. }) = one("decimal(20,0)", push).values else {
            panic!()
        };
        assert!(matches!(data.as_slice(), b"7" | b"7.0"), "{data:?}");
    }
    let wide = one("integer", |key| (key.push(u64::MAX), key.end()).1);
    assert_eq!(wide.values, Buffer::Uint64(vec![u64::MAX]));
    let wide = one("integer", |key| (key.push(Decimal::from(u64::MAX)), key.end()).1);
    assert_eq!(wide.values, Buffer::Uint64(vec![u64::MAX]));
    // No row has such a key.
    for push in [
        (|key| (key.push(Decimal::new(15, -1)), key.end()).1) as Push,
        |key| (key.push(Decimal::new(1, 20)), key.end()).1,
        |key| (key.push(None::<u64>), key.end()).1,
    ] {
        assert_eq!(one("integer", push).validity, [0]);
    }
}

#[test]
fn numbers_of_both_signs_are_told_in_two_parts() {
    let parts = located(&[("n", "integer")], |key| {
        for number in ["-1", "1", "9223372036854775808"] {
            key.push(number.parse::<Decimal>().unwrap());
            key.end();
        }
    });
    let columns: Vec<_> =
        parts.unwrap().into_iter().flat_map(|part| part.keys.columns).map(|it| it.values).collect();
    assert_eq!(columns, [Buffer::Int64(vec![-1, 1]), Buffer::Uint64(vec![1 << 63])]);
}

#[test]
fn a_wrong_kind_is_told_with_the_column_and_what_to_write() {
    for (logical, push, says) in [
        (
            "integer",
            (|key| key.push("7")) as Push,
            "t.n-is-integer-not-text: key column `n` of `t` is integer, and a text was pushed: push a whole \
             number (`i64`, `u64`, or a `Decimal` that is one)",
        ),
        (
            "text",
            |key| key.push(7),
            "t.n-is-text-not-integer: key column `n` of `t` is text, and an integer was pushed: push a text, \
             or write one: `key.write(format_args!(\"{id}\"))`",
        ),
        (
            "date",
            |key| key.push(7),
            "t.n-is-date-not-integer: key column `n` of `t` is date, and an integer was pushed: push a `Date`",
        ),
        (
            "binary",
            |key| key.push(true),
            "t.n-is-binary-not-boolean: key column `n` of `t` is binary, and a boolean was pushed: push \
             bytes: `key.push(&bytes[..])`",
        ),
        (
            "integer",
            |key| key.write(format_args!("7")),
            "t.n-is-integer-not-text: key column `n` of `t` is integer, and a text was pushed: push a whole \
             number (`i64`, `u64`, or a `Decimal` that is one)",
        ),
    ] {
        assert_eq!(told(&[("n", logical)], push), says);
    }
    let two = [("tenant", "text"), ("n", "integer")];
    assert_eq!(
        told(&two, |key| (key.push("a"), key.end()).1),
        "t.n-is-missing: a key of `t` has 1 of its 2 columns: push `n`, then call `end()`"
    );
    assert_eq!(
        told(&two, |key| (key.push("a"), key.push(1), key.push(2)).2),
        "t-has-no-further-column: a key of `t` has the columns tenant, n, and one more was pushed: call \
         `end()` after the last"
    );
    assert_eq!(
        told(&two, |key| (key.push("a"), key.push(1)).1),
        "t-key-without-end: a key of `t` has all its columns and no end: call `end()` after the last"
    );
}

/// What a plan and its locators are refused with.
fn refused<T: driftd_plugin::glue::Exported>() -> Vec<(String, Option<String>)> {
    let mut plugin = Plugin::<T>::default();
    let source = vec![table("orders", &[("id", "integer"), ("sku", "text")])];
    let target = vec![table("shop", &[("pk", "text")])];
    let issues = plugin.plan("p".to_owned(), source, target).unwrap_err();
    issues.into_iter().map(|Issue { message, help, .. }| (message, help)).collect()
}

macro_rules! refused {
    ($name:ident: |$plan:ident| $planned:block, |$locators:ident| $located:block) => {{
        #[derive(Default)]
        struct $name;
        impl Mapping for $name {
            const NAME: &'static str = "wrong";
            const SUMMARY: &'static str = "is wrong";
            fn plan(&self, $plan: &Plan) {
                $planned
            }
        }
        impl Locating for $name {
            fn locate(&self, $locators: &Locators) {
                $located
            }
        }
        driftd_plugin::export!($name: Mapping + Locating);
        refused::<$name>()
    }};
}

fn plan(plan: &Plan) {
    let (row, item) = (plan.source(), plan.target());
    let order = plan.entity("order", row, item);
    order.key("id", row.unsigned("id"), item.text("pk").after("O#").parse_unsigned());
    order.compared("sku", row.text("sku"), item.text("sku"));
}

#[test]
fn a_column_and_a_field_are_read_as_what_they_are_or_refused_with_what_to_write() {
    let told = refused!(Column: |plan| {
        let row = plan.source();
        plan.entity("order", row, plan.target()).key("id", row.integer("sku"), plan.target().integer("id"));
        _ = row.text("id");
    }, |_locators| {});
    assert_eq!(
        told,
        [
            (
                "column `sku` of the source is of type text; this plugin can read integer".to_owned(),
                Some("write `.text(\"sku\").parse_integer()`".to_owned())
            ),
            (
                "column `id` of the source is of type integer; this plugin can read text, enum, set, json"
                    .to_owned(),
                Some(
                    "write `.integer(\"id\")`, which reads it as what it is; `.map(..)` makes another kind of it"
                        .to_owned()
                )
            ),
        ]
    );
    let told = refused!(Field: |it| { plan(it) }, |locators| {
        let order = locators.entity("order");
        _ = (order.integer("id"), order.decimal("sku"), order.text("nmae"));
        _ = locators.entity("ordre");
    });
    assert_eq!(
        told,
        [
            (
                "field `id` is unsigned, and is read as integer".to_owned(),
                Some("write `.unsigned(\"id\")`, as in the plan".to_owned())
            ),
            (
                "entity type `order` has no field `nmae`".to_owned(),
                Some("it has `id`, `sku`".to_owned())
            ),
            ("there is no entity type `ordre`".to_owned(), Some("it has `order`".to_owned())),
        ]
    );
    let told = refused!(Key: |it| { plan(it) }, |locators| {
        let (order, key) = (locators.entity("order"), locators.key(Side::Source));
        key.identifies(order)
            .field("id", key.text("id"))
            .field("sku", key.column::<Integer>("sku"));
        key.identifies(order).field("id", key.column::<Unsigned>("id")).field("other", key.text("sku"));
    });
    let messages: Vec<_> = told.iter().map(|(message, _)| message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "key column `id` of `orders` is integer, and is read as text",
            "field `id` is unsigned, and the key gives a text for it",
            "key column `sku` of `orders` is text, and is read as integer",
            "field `sku` is text, and the key gives an integer for it",
            "entity type `order` has no field `other`",
        ]
    );
    let told = refused!(Logical: |plan| {
        let (row, item) = (plan.source(), plan.target());
        let order = plan.entity("order", row, item);
        order.key("id", row.unsigned("id"), item.unsigned("id")).logical("decimal(20,0)");
        order.compared("sku", row.text("sku"), item.text("sku")).logical("enum");
    }, |_locators| {});
    let (message, help) = &told[0];
    assert_eq!(message, "field `id` is read as unsigned, and is no decimal(20,0)");
    assert!(help.is_some() && told.len() == 1);
}
