//! Tests of canonical values: the encoding is one per value, and that of the specification.

use proptest::prelude::*;

use super::*;

fn number() -> impl Strategy<Value = Number> {
    (-10i128.pow(37)..10i128.pow(37), -200i32..200)
        .prop_map(|(mantissa, exponent)| Number::new(mantissa, exponent).expect("fits"))
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(Value::JsonNull),
        any::<bool>().prop_map(Value::Bool),
        number().prop_map(Value::Number),
        any::<i64>().prop_map(|n| Value::Number(n.into())),
        any::<f64>().prop_map(Value::Float),
        any::<f32>().prop_map(|n| Value::Float(n.into())),
        (-70_000i32..70_000).prop_map(|n| Value::Float(f64::from(n) / 4.0)),
        ".{0,8}".prop_map(Value::Text),
        any::<Vec<u8>>().prop_map(Value::Bytes),
        (-i64::MAX / 4..i64::MAX / 4).prop_map(Value::Timestamp),
        any::<i64>()
            .prop_filter("a day", |micros| crate::model::calendar::is_in_calendar(*micros)
                || micros % 7 == 0)
            .prop_map(Value::DateTime),
        (-100_000i64..100_000).prop_map(Value::Date),
        (0i64..99_999_999).prop_map(|packed| Value::Date(i64::MIN + packed)),
        any::<i64>().prop_map(Value::Time),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(".{0,3}", inner.clone(), 0..4).prop_map(Value::Map),
            prop::collection::vec(inner, 0..4).prop_map(Value::Set),
        ]
    })
}

#[test]
fn tags_that_stand_in_each_other_end() {
    // Of a small stack, as hosts of plugins have: a cell may have as many levels as bytes.
    let read = |level: &'static [u8]| {
        let nested = level.repeat(200_000);
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        thread.spawn(move || Value::decode(&nested).unwrap_err().what).unwrap().join().unwrap()
    };
    for level in [
        &b"\xc4\x82"[..],
        b"\xc4\x82\x00",
        b"\xd8\x64",
        b"\xd9\x03\xe9\xa1",
        b"\xd9\x03\xe9\xa1\x01",
        b"\xd9\xd7\x01",
        b"\xd9\xd7\x02",
        b"\xd9\xd7\x03\x81",
    ] {
        assert_eq!(read(level), "not an integer", "{level:x?}");
    }
    for level in [&b"\x81"[..], b"\xa1\x60", b"\xd9\x01\x02\x81"] {
        assert_eq!(read(level), "nested too deeply", "{level:x?}");
    }
}

#[test]
fn a_cell_holds_so_many_values_and_no_more() {
    let list = |values: usize| {
        let mut bytes = Vec::new();
        cbor::array(&mut bytes, values);
        bytes.resize(bytes.len() + values, cbor::NULL);
        bytes
    };
    // The list itself is one of them.
    assert!(Value::decode(&list(CELL_VALUES_MAX - 1)).is_ok());
    assert!(Value::decode(&list(CELL_VALUES_MAX)).unwrap_err().is_too_many());

    let json = |values: usize| format!("[{}]", vec!["0"; values].join(","));
    assert!(Value::parse_json(json(CELL_VALUES_MAX - 1).as_bytes()).is_ok());
    assert_eq!(Value::parse_json(json(CELL_VALUES_MAX).as_bytes()), Err(JsonError::TooMany));
    // What stands in a text is no value.
    let text = format!(r#""{}\",,""#, ",[:{".repeat(CELL_VALUES_MAX));
    assert!(Value::parse_json(text.as_bytes()).is_ok());
    // Keys count: they are held, too.
    let half = CELL_VALUES_MAX / 2;
    let map: Vec<_> = (0..half).map(|key| format!("\"{key}\":0")).collect();
    let map = format!("{{{}}}", map.join(","));
    assert_eq!(Value::parse_json(map.as_bytes()), Err(JsonError::TooMany));
}

#[test]
fn the_document_null_is_no_null() {
    assert_eq!(Value::parse_json(b" null "), Ok(Value::JsonNull));
    assert_eq!(Value::parse_json(b"[null]"), Ok(Value::List(vec![Value::Null])));
    assert_eq!(Value::decode(b"\xd9\xd7\x00\xf6"), Ok(Value::JsonNull));
    for odd in [&b"\xd9\xd7\x00"[..], b"\xd9\xd7\x00\xf4", b"\xd9\xd7\x00\xd9\xd7\x00\xf6"] {
        assert!(Value::decode(odd).is_err(), "{odd:?}");
    }
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(value in value()) {
        let bytes = value.to_cbor();
        let back = Value::decode(&bytes).expect("what was encoded");
        prop_assert_eq!(back.to_cbor(), bytes);
    }

    #[test]
    fn different_values_have_different_bytes(one in value(), two in value()) {
        // Sets, NaN and zero have several structures; so equality is that of what comes back.
        let same = Value::decode(&one.to_cbor()).ok() == Value::decode(&two.to_cbor()).ok();
        prop_assert!(one.to_cbor() != two.to_cbor() || same || one != one.clone());
        prop_assert!(one.to_cbor() == two.to_cbor() || one != two);
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in any::<Vec<u8>>()) {
        if let Ok(value) = Value::decode(&bytes) {
            prop_assert!(Value::decode(&value.to_cbor()).is_ok());
        }
    }

    #[test]
    fn numbers_compare_by_value(mantissa in -10i128.pow(30)..10i128.pow(30), exponent in -20i32..20, zeros in 0u32..7) {
        let plain = Number::new(mantissa, exponent).expect("fits");
        let padded = Number::new(mantissa * 10i128.pow(zeros), exponent - i32::try_from(zeros).expect("small")).expect("fits");
        prop_assert_eq!(plain, padded);
        let text = format!("{mantissa}E{exponent}");
        prop_assert_eq!(Number::parse(&text).expect("a number"), plain);
        prop_assert_eq!(Number::parse(&plain.to_string()).expect("a number"), plain);
    }

    #[test]
    fn numbers_are_ordered_like_reals(a in number(), b in number()) {
        if (a.to_f64() - b.to_f64()).abs() > a.to_f64().abs().max(b.to_f64().abs()) * 1e-12 {
            prop_assert_eq!(a.partial_cmp(&b), a.to_f64().partial_cmp(&b.to_f64()));
        }
    }
}

#[test]
fn numbers_are_read_exactly_or_refused() {
    let ok = |text: &str| Number::parse(text).map(|number| number.to_string());
    for (text, expected) in [
        ("1", "1"),
        ("1.0", "1"),
        ("1E0", "1"),
        ("-0", "0"),
        ("0.10", "0.1"),
        (".5", "0.5"),
        ("150e-2", "1.5"),
        ("+3", "3"),
        ("18446744073709551615", "18446744073709551615"),
        ("99999999999999999999999999999999999999", "99999999999999999999999999999999999999"),
        ("0.000000000000000000000000000000000000000000000", "0"),
        ("100000000000000000000000000000000000000000000000", "1E47"),
    ] {
        assert_eq!(ok(text).as_deref(), Ok(expected), "{text}");
    }
    for (text, expected) in [
        ("", NumberError::Syntax),
        ("-", NumberError::Syntax),
        (".", NumberError::Syntax),
        ("1e", NumberError::Syntax),
        ("1 ", NumberError::Syntax),
        ("0x1", NumberError::Syntax),
        ("NaN", NumberError::Syntax),
        ("1e--2", NumberError::Syntax),
        ("123456789012345678901234567890123456789", NumberError::TooManyDigits),
        ("1e99999999999", NumberError::Exponent),
    ] {
        assert_eq!(ok(text), Err(expected), "{text}");
    }
}

#[test]
fn encodings_are_those_of_the_specification() {
    let hex = |value: Value| value.to_cbor().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let number = |text| Value::Number(Number::parse(text).expect("a number"));
    // From RFC 8949, appendix A, where it has the value.
    for (value, expected) in [
        (number("0"), "00"),
        (number("23"), "17"),
        (number("24"), "1818"),
        (number("1000000"), "1a000f4240"),
        (number("18446744073709551615"), "1bffffffffffffffff"),
        (number("18446744073709551616"), "c249010000000000000000"),
        (number("-18446744073709551616"), "3bffffffffffffffff"),
        (number("-18446744073709551617"), "c349010000000000000000"),
        (number("-1"), "20"),
        (number("-1000"), "3903e7"),
        (number("273.15"), "c48221196ab3"),
        (Value::Float(0.0), "f90000"),
        (Value::Float(-0.0), "f90000"),
        (Value::Float(1.5), "f93e00"),
        (Value::Float(65504.0), "f97bff"),
        (Value::Float(100_000.0), "fa47c35000"),
        (Value::Float(1.1), "fb3ff199999999999a"),
        (Value::Float(5.960_464_477_539_063e-8), "f90001"),
        (Value::Float(0.000_061_035_156_25), "f90400"),
        (Value::Float(-4.0), "f9c400"),
        (Value::Float(f64::INFINITY), "f97c00"),
        (Value::Float(f64::NAN), "f97e00"),
        (Value::Bool(false), "f4"),
        (Value::Null, "f6"),
        (Value::JsonNull, "d9d700f6"),
        (Value::Text("ü".into()), "62c3bc"),
        (Value::Bytes(vec![1, 2]), "420102"),
        (Value::List(vec![number("1")]), "8101"),
        (Value::Set(vec![number("2"), number("1"), number("2")]), "d90102820102"),
        (Value::Timestamp(1_363_896_240_500_000), "d903e9a2011a514b67b0251a0007a120"),
        (Value::Date(i64::MIN), "d9d7038100"),
        (Value::DateTime(i64::MIN), "d9d703820000"),
    ] {
        assert_eq!(hex(value.clone()), expected, "{value:?}");
    }
}
