//! The DynamoDB store against an embedded API, through the real SDK.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod chain;
mod conforms;
mod faults;
mod querying;
mod readonly;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use driftd::model::{Batch, ColumnBuilder, Cost, Extent, FaultCode, Logical, Number, Value};
use driftd::store::{
    Consistency, DynamodbSettings, Fetched, Limits, Page, Read, Settings, Store, StoreError,
    StoreErrorKind,
};
use driftd_tests::dynamodb::{Server, client, settings, store};
use driftd_tests::dynamodb_proxy::{Action, Call, Proxy};
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value as Json, json};

fn rows(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

async fn read(store: &Arc<dyn Store>, relation: &str, columns: &[&str], ignored: &[&str]) -> Read {
    Read {
        schema: store.describe(relation).await.unwrap(),
        columns: columns.iter().map(ToString::to_string).collect(),
        ignored: ignored.iter().map(ToString::to_string).collect(),
        page_rows: rows(100),
        cut: None,
    }
}

/// The pages of all segments, cut into parts of about `part` rows.
async fn scan(store: &Arc<dyn Store>, read: &Read, part: u32) -> Result<Vec<Page>, StoreError> {
    let mut pages = Vec::new();
    for extent in store.split(read, rows(part)).await? {
        let part: Vec<_> = store.scan(read, &extent).try_collect().await?;
        pages.extend(part);
    }
    Ok(pages)
}

/// The rows of `pages`: the columns' cells by the first key column.
fn cells(read: &Read, pages: &[Page]) -> Vec<(Vec<u8>, Vec<Option<Value>>)> {
    let mut all = Vec::new();
    for page in pages {
        assert_eq!(page.keys.rows, page.rows.rows);
        assert_eq!(page.rows.columns.len(), read.columns.len());
        assert_eq!(page.keys.columns.len(), read.schema.key.len());
        for row in 0..page.rows.rows {
            let key = page.keys.columns[0].bytes(row).unwrap().to_vec();
            let cells = page.rows.columns.iter().zip(&read.columns).map(|(column, name)| {
                let bytes = column.bytes(row)?;
                let text = || std::str::from_utf8(bytes).unwrap();
                let logical = read.schema.column(name).unwrap().logical;
                Some(if logical == Logical::Value {
                    Value::decode(bytes).unwrap()
                } else if logical == Logical::Text {
                    Value::Text(text().to_owned())
                } else if logical == Logical::Decimal {
                    number(text())
                } else {
                    assert_eq!(logical, Logical::Binary);
                    Value::Bytes(bytes.to_vec())
                })
            });
            all.push((key, cells.collect()));
        }
    }
    all
}

fn cost(pages: &[Page]) -> Cost {
    let mut cost = Cost::default();
    pages.iter().for_each(|page| cost.add(page.cost));
    cost
}

fn number(text: &str) -> Value {
    Value::Number(Number::parse(text).unwrap())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A batch of keys of one column of bytes.
fn keys<K: AsRef<[u8]>>(keys: impl IntoIterator<Item = K>) -> Batch {
    let mut builder = ColumnBuilder::bytes(0);
    keys.into_iter().for_each(|key| builder.push_bytes(key.as_ref()));
    Batch { rows: builder.len(), columns: vec![builder.finish()] }
}

/// The pages of a fetch that missed nothing, and what it cost in all.
fn all_read(fetched: Fetched) -> (Vec<Page>, Cost) {
    assert!(fetched.unread.is_empty(), "{:?}", fetched.unread);
    let mut cost = cost(&fetched.pages);
    cost.add(fetched.cost);
    (fetched.pages, cost)
}

/// A server with `count` small users in table `users`, keyed `u0`, `u1`, ...
async fn users(count: usize) -> Server {
    let server = Server::start().await;
    server.create_table("users", &[("pk", "S")]);
    server.put("users", (0..count).map(user));
    server
}

fn user(number: usize) -> Json {
    json!({ "pk": { "S": format!("u{number}") }, "age": { "N": number.to_string() } })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_gives_every_item_once_over_all_segments() {
    let server = Server::start().await;
    server.create_table("items", &[("pk", "S"), ("sk", "N")]);
    // Every fiftieth is so large that a request ends after a few of them.
    let items = (0..1_200u32).map(|n| {
        let filler = "x".repeat(if n % 50 == 0 { 300_000 } else { 10 });
        json!({
            "pk": { "S": format!("p{}", n % 97) },
            "sk": { "N": n.to_string() },
            "filler": { "S": filler },
        })
    });
    server.put("items", items);
    let store = server.store();
    let mut read = read(&store, "items", &["sk", "filler"], &[]).await;
    read.page_rows = rows(7);

    for part in [100, 450, 5_000] {
        let extents = store.split(&read, rows(part)).await.unwrap();
        assert_eq!(extents.len(), usize::try_from(1_200u32.div_ceil(part)).unwrap());
        let pages = scan(&store, &read, part).await.unwrap();
        assert!(pages.iter().all(|page| page.rows.rows <= 7));
        let mut seen = BTreeMap::new();
        for (pk, cells) in cells(&read, &pages) {
            let Some(Value::Number(sk)) = cells[0] else { panic!("{:?}", cells[0]) };
            let n = sk.to_integer().unwrap();
            assert_eq!(pk, format!("p{}", n % 97).into_bytes());
            let length = if n % 50 == 0 { 300_000 } else { 10 };
            assert_eq!(cells[1], Some(text(&"x".repeat(length))));
            *seen.entry(n).or_insert(0) += 1;
        }
        assert_eq!(seen, (0..1_200).map(|n| (n, 1)).collect());

        let cost = cost(&pages);
        assert_eq!(cost.rows, 1_200);
        assert!((7_200_000..8_000_000).contains(&cost.bytes), "{cost:?}");
        // 1 MB at most for each request, and half a unit for 4 KB.
        assert!(cost.requests >= 8, "{cost:?}");
        assert!((850.0..1_100.0).contains(&cost.capacity), "{cost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_gives_no_rows_and_still_its_cost() {
    let server = users(0).await;
    let store = server.store();
    let read = read(&store, "users", &["age"], &[]).await;
    assert_eq!(store.split(&read, rows(100)).await.unwrap().len(), 4);
    let pages = scan(&store, &read, 100).await.unwrap();
    assert_eq!(pages, []);
    let (pages, cost) =
        all_read(store.fetch(&read, &keys(["u1", "u2"]), Consistency::Strong).await);
    assert_eq!(pages, []);
    assert_eq!((cost.requests, cost.capacity), (1, 2.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_are_as_many_as_configured() {
    let server = users(10).await;
    let dynamodb = DynamodbSettings { segments: NonZeroU32::new(9), ..DynamodbSettings::default() };
    let store =
        driftd::store::dynamodb::with_client(&settings(), &dynamodb, &client(&server.endpoint));
    let read = read(&store, "users", &["age"], &[]).await;
    let extents = store.split(&read, rows(1)).await.unwrap();
    assert_eq!(extents, (0..9).map(|index| Extent::Segment { index, of: 9 }).collect::<Vec<_>>());
    assert_eq!(cells(&read, &scan(&store, &read, 1).await.unwrap()).len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_gives_what_is_there_of_many_keys() {
    let server = users(500).await;
    let store = server.store();
    let read = read(&store, "users", &["age"], &[]).await;
    // 300 that are there, each third one twice, and 60 that are not.
    let mut asked: Vec<String> = (0..300).map(|n| format!("u{n}")).collect();
    asked.extend((0..300).step_by(3).map(|n| format!("u{n}")));
    asked.extend((0..60).map(|n| format!("missing{n}")));
    for consistency in [Consistency::Eventual, Consistency::Strong] {
        let (pages, cost) = all_read(store.fetch(&read, &keys(&asked), consistency).await);
        let mut found = cells(&read, &pages);
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut expected: Vec<_> = (0..300)
            .map(|n| (format!("u{n}").into_bytes(), vec![Some(number(&n.to_string()))]))
            .collect();
        expected.sort_by(|(a, _), (b, _)| a.cmp(b));
        assert_eq!(found, expected);
        assert_eq!((cost.rows, cost.requests), (300, 4));
        let each = if consistency == Consistency::Strong { 1.0 } else { 0.5 };
        assert!((cost.capacity - 360.0 * each).abs() < 1e-6, "{cost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_of_large_items_is_answered_in_parts() {
    let server = Server::start().await;
    server.create_table("large", &[("pk", "S")]);
    server.put(
        "large",
        (0..60)
            .map(|n| json!({ "pk": { "S": format!("u{n}") }, "v": { "S": "x".repeat(390_000) } })),
    );
    let proxy = Proxy::start(&server.endpoint).await;
    let store = store(&proxy.endpoint, &settings());
    let read = read(&store, "large", &["v"], &[]).await;
    let asked = keys((0..60).map(|n| format!("u{n}")));
    let (pages, cost) = all_read(store.fetch(&read, &asked, Consistency::Eventual).await);
    assert_eq!(cells(&read, &pages).len(), 60);
    assert!(cost.requests > 1, "16 MB are the most of one answer");
    assert!(pages.iter().all(|page| page.cost.bytes < 5_000_000));

    // Once it is known how large items are, an answer is kept small.
    let before = proxy.calls("BatchGetItem").len();
    let (pages, _) = all_read(store.fetch(&read, &asked, Consistency::Eventual).await);
    assert_eq!(cells(&read, &pages).len(), 60);
    for call in &proxy.calls("BatchGetItem")[before..] {
        assert_eq!(call.body["RequestItems"]["large"]["Keys"].as_array().unwrap().len(), 10);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_no_item_can_have_cost_no_other_key() {
    let server = users(3).await;
    let store = server.store();
    let read = read(&store, "users", &["age"], &[]).await;
    let long = "x".repeat(2_049);
    let (pages, _) =
        all_read(store.fetch(&read, &keys(["u1", "", &long, "u2"]), Consistency::Eventual).await);
    assert_eq!(cells(&read, &pages).len(), 2);

    let mut fetched =
        store.fetch(&read, &keys([&b"u1"[..], b"\xff", b"u2"]), Consistency::Eventual).await;
    assert_eq!(cells(&read, &fetched.pages).len(), 2);
    let (positions, error) = fetched.unread.pop().unwrap();
    assert_eq!((positions, &error.kind.heals()), (vec![1], &false));
    assert!(fetched.unread.is_empty());
    assert!(error.to_string().contains("key attribute `pk` is text"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_every_type_are_typed_columns() {
    let server = Server::start().await;
    server.create_table("numbers", &[("n", "N"), ("b", "B")]);
    server.put(
        "numbers",
        [
            json!({ "n": { "N": "12.5" }, "b": { "B": "AAEC" }, "v": { "S": "one" } }),
            json!({ "n": { "N": "-3" }, "b": { "B": "/w==" }, "v": { "S": "two" } }),
        ],
    );
    let store = server.store();
    let read = read(&store, "numbers", &["b", "v", "n", "/n"], &[]).await;
    let key: Vec<_> = read.schema.key_columns().map(|c| (c.name.as_str(), c.logical)).collect();
    assert_eq!(key, [("n", Logical::Decimal), ("b", Logical::Binary)]);
    assert!(read.schema.open);

    let mut found = cells(&read, &scan(&store, &read, 10).await.unwrap());
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let bytes = |bytes: &[u8]| Some(Value::Bytes(bytes.to_vec()));
    let row = |n: &str, b: &[u8], v: &str| {
        let cells = vec![bytes(b), Some(text(v)), Some(number(n)), Some(number(n))];
        (n.as_bytes().to_vec(), cells)
    };
    assert_eq!(found, [row("-3", &[255], "two"), row("12.5", &[0, 1, 2], "one")]);

    // The same number may be written in many ways, and is one key.
    let mut numbers = ColumnBuilder::bytes(0);
    let mut blobs = ColumnBuilder::bytes(0);
    for text in ["12.50", "1.25E1", "12.5", "7", "1e400", &"9".repeat(60)] {
        numbers.push_bytes(text.as_bytes());
        blobs.push_bytes(&[0, 1, 2]);
    }
    let asked = Batch { rows: 6, columns: vec![numbers.finish(), blobs.finish()] };
    let (pages, _) = all_read(store.fetch(&read, &asked, Consistency::Strong).await);
    assert_eq!(cells(&read, &pages), [row("12.5", &[0, 1, 2], "one")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_attribute_becomes_its_canonical_value() {
    let digits = "12345678901234567890123456789012345678";
    let cases = [
        ("text", json!({ "S": "gr\u{fc}n" }), text("gr\u{fc}n")),
        ("empty text", json!({ "S": "" }), text("")),
        ("whole", json!({ "N": "42" }), number("42")),
        ("negative", json!({ "N": "-1.50" }), number("-1.5")),
        ("38 digits", json!({ "N": digits }), number(digits)),
        ("large", json!({ "N": "9.9999999999999999999999999999999999999E+125" }), {
            number("9.9999999999999999999999999999999999999E125")
        }),
        ("small", json!({ "N": "1E-130" }), number("1E-130")),
        ("beyond 64 bits", json!({ "N": "18446744073709551616" }), number("18446744073709551616")),
        ("bytes", json!({ "B": "AP8=" }), Value::Bytes(vec![0, 255])),
        ("true", json!({ "BOOL": true }), Value::Bool(true)),
        ("false", json!({ "BOOL": false }), Value::Bool(false)),
        ("null", json!({ "NULL": true }), Value::Null),
        ("empty map", json!({ "M": {} }), Value::Map(BTreeMap::new())),
        ("empty list", json!({ "L": [] }), Value::List(Vec::new())),
        (
            "map",
            json!({ "M": { "b": { "N": "1" }, "aa": { "NULL": true }, "a": { "M": { "x": { "L": [{ "S": "y" }, { "N": "2" }] } } } } }),
            Value::Map(BTreeMap::from([
                ("b".to_owned(), number("1")),
                ("aa".to_owned(), Value::Null),
                (
                    "a".to_owned(),
                    Value::Map(BTreeMap::from([(
                        "x".to_owned(),
                        Value::List(vec![text("y"), number("2")]),
                    )])),
                ),
            ])),
        ),
        (
            "texts",
            json!({ "SS": ["b", "aa", "a"] }),
            Value::Set(vec![text("a"), text("aa"), text("b")]),
        ),
        (
            "numbers",
            json!({ "NS": ["10", "-1", "2.5"] }),
            Value::Set(vec![number("-1"), number("2.5"), number("10")]),
        ),
        ("blobs", json!({ "BS": ["Ag==", "AQ=="] }), {
            Value::Set(vec![Value::Bytes(vec![1]), Value::Bytes(vec![2])])
        }),
    ];
    let server = users(0).await;
    let item = |(name, value, _): &(&str, Json, Value)| json!({ "pk": { "S": name }, "v": value });
    server.put("users", cases.iter().map(item));
    server.put("users", [json!({ "pk": { "S": "absent" } })]);
    let store = server.store();
    let read = read(&store, "users", &["v"], &[]).await;
    let pages = scan(&store, &read, 1_000).await.unwrap();
    let found: BTreeMap<_, _> = cells(&read, &pages).into_iter().collect();
    assert_eq!(found.len(), cases.len() + 1);
    assert_eq!(found[&b"absent"[..]], [None]);
    for (name, _, expected) in &cases {
        let bytes = found[name.as_bytes()][0].as_ref().map(Value::to_cbor);
        assert_eq!(bytes, Some(expected.to_cbor()), "{name}");
    }
    // What is encoded is what was asserted: not only the same once it is decoded.
    for page in &pages {
        for row in (0..page.rows.rows).filter_map(|row| page.rows.columns[0].bytes(row)) {
            assert_eq!(Value::decode(row).unwrap().to_cbor(), row);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pointers_reach_into_items_and_the_rest_is_told() {
    let server = users(0).await;
    server.put(
        "users",
        [
            json!({
                "pk": { "S": "u1" },
                "profile": { "M": {
                    "email": { "S": "e" },
                    "a/b~c": { "N": "1" },
                    "deep": { "M": { "x": { "N": "2" }, "y": { "N": "3" } } },
                    "extra": { "S": "?" },
                } },
                "tags": { "L": [{ "S": "t0" }, { "S": "t1" }] },
                "stray": { "S": "?" },
                "known": { "S": "k" },
                "/odd": { "S": "o" },
            }),
            json!({ "pk": { "S": "u2" }, "profile": { "S": "not a map" }, "tags": { "NULL": true } }),
            json!({ "pk": { "S": "u3" }, "profile": { "M": {} }, "stray": { "S": "again" } }),
        ],
    );
    let store = server.store();
    let columns =
        ["/profile/email", "/profile/a~1b~0c", "/tags/1", "/tags/7", "/profile/deep/x", "/~1odd"];
    let some = read(&store, "users", &columns, &["known", "/profile/deep/z"]).await;
    let pages = scan(&store, &some, 1_000).await.unwrap();
    let found: BTreeMap<_, _> = cells(&some, &pages).into_iter().collect();
    assert_eq!(
        found[&b"u1"[..]],
        [
            Some(text("e")),
            Some(number("1")),
            Some(text("t1")),
            None,
            Some(number("2")),
            Some(text("o"))
        ]
    );
    assert_eq!(found[&b"u2"[..]], [const { None }; 6]);
    assert_eq!(found[&b"u3"[..]], [const { None }; 6]);
    let mut unmapped: Vec<_> =
        pages.into_iter().flat_map(|page| page.unmapped.into_keys()).collect();
    unmapped.sort();
    assert_eq!(unmapped, ["/profile/*", "/profile/deep/*", "/tags/-", "profile", "stray"]);

    // Each of these names, ignored, is told no more.
    let ignored: Vec<_> = unmapped.iter().map(String::as_str).chain(["known"]).collect();
    let quiet = read(&store, "users", &columns, &ignored).await;
    let pages = scan(&store, &quiet, 1_000).await.unwrap();
    assert!(pages.iter().all(|page| page.unmapped.is_empty()), "{pages:?}");

    // What is wanted as a whole covers what lies in it.
    let whole =
        read(&store, "users", &["profile", "/profile/email", "tags", "/~1odd"], &["stray"]).await;
    let pages = scan(&store, &whole, 1_000).await.unwrap();
    let unmapped: Vec<_> = pages.iter().flat_map(|page| page.unmapped.keys()).collect();
    assert_eq!(unmapped, ["known"]);

    let wrong = read(&store, "users", &["/a~2"], &[]).await;
    let error = scan(&store, &wrong, 1_000).await.unwrap_err();
    assert!(error.to_string().contains("`/a~2` is not a JSON pointer"), "{error}");
    let fetched = store.fetch(&wrong, &keys(["u1", "u2"]), Consistency::Eventual).await;
    assert_eq!(fetched.unread[0].0, [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unmapped_names_are_bounded_and_the_same_each_time() {
    let server = users(0).await;
    let mut item = json!({ "pk": { "S": "u1" } });
    for n in 0..300 {
        item[format!("stray{n:03}")] = json!({ "S": "?" });
    }
    server.put("users", [item]);
    let store = server.store();
    let read = read(&store, "users", &["v"], &[]).await;
    let pages = scan(&store, &read, 1_000).await.unwrap();
    let expected: Vec<_> = (0..100).map(|n| format!("stray{n:03}")).collect();
    assert_eq!(pages.iter().flat_map(|page| page.unmapped.keys()).collect::<Vec<_>>(), {
        expected.iter().collect::<Vec<_>>()
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_is_answered_with_the_nearest_names() {
    let server = users(1).await;
    for n in 0..120 {
        server.create_table(&format!("other-{n:03}"), &[("pk", "S")]);
    }
    let store = server.store();
    let mut misspelt = read(&store, "users", &["age"], &[]).await;
    misspelt.schema.relation = "usres".to_owned();
    for error in [
        store.describe("usres").await.unwrap_err(),
        store.split(&misspelt, rows(100)).await.unwrap_err(),
    ] {
        let StoreErrorKind::NoSuchRelation { near } = &error.kind else { panic!("{error}") };
        assert_eq!(near.first().map(String::as_str), Some("users"));
        let words = error.to_string();
        assert!(words.contains("store `target`, relation `usres`"), "{words}");
    }
    // A table that goes away while it is read.
    let read = read(&store, "users", &["age"], &[]).await;
    server.drop_table("users");
    let extent = Extent::Segment { index: 0, of: 1 };
    let pages: Vec<_> = store.scan(&read, &extent).collect().await;
    assert!(
        matches!(&pages[..], [Err(StoreError { kind: StoreErrorKind::NoSuchRelation { .. }, .. })]),
        "{pages:?}"
    );
    let fetched = store.fetch(&read, &keys(["u0"]), Consistency::Strong).await;
    assert_eq!(fetched.unread[0].0, [0]);
    assert_eq!(fetched.unread[0].1.kind.code(), FaultCode::StoreNoRelation);
}

#[tokio::test(flavor = "multi_thread")]
async fn extents_that_are_no_segments_are_refused() {
    let server = users(1).await;
    let store = server.store();
    let read = read(&store, "users", &["age"], &[]).await;
    let range = driftd::model::Range { from: None, until: None };
    for extent in [
        Extent::Range(range),
        Extent::Segment { index: 4, of: 4 },
        Extent::Segment { index: 0, of: 0 },
        Extent::Segment { index: 0, of: 1_000_001 },
    ] {
        let pages: Vec<_> = store.scan(&read, &extent).collect().await;
        let [Err(error)] = &pages[..] else { panic!("{extent}: {pages:?}") };
        assert!(matches!(error.kind, StoreErrorKind::Unfit(_)), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "that it takes as long as the limits say is tested")]
async fn reads_keep_to_the_capacity_that_is_allowed() {
    let server = Server::start().await;
    server.create_table("large", &[("pk", "S")]);
    let item = |n| json!({ "pk": { "S": format!("u{n}") }, "v": { "S": "x".repeat(40_000) } });
    server.put("large", (0..200).map(item));
    let proxy = Proxy::start(&server.endpoint).await;
    let limits = Limits { capacity_per_second: Some(400.0), ..settings().limits };
    let store = store(&proxy.endpoint, &Settings { limits, ..settings() });
    let read = read(&store, "large", &["v"], &[]).await;
    let begun = std::time::Instant::now();
    let pages = scan(&store, &read, 200).await.unwrap();
    // About 980 units; a quarter of a second's worth is free, the last debt is not waited for.
    assert!((900.0..1_100.0).contains(&cost(&pages).capacity), "{:?}", cost(&pages));
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_limit_makes_small_steps() {
    let server = users(0).await;
    let item = |n| json!({ "pk": { "S": format!("u{n}") }, "v": { "S": "x".repeat(16_000) } });
    server.put("users", (0..24).map(item));
    let proxy = Proxy::start(&server.endpoint).await;
    let limits = Limits { capacity_per_second: Some(20.0), ..settings().limits };
    let by_units = store(&proxy.endpoint, &Settings { limits, ..settings() });
    let limits = Limits { rows_per_second: NonZeroU32::new(12), ..settings().limits };
    let by_rows = store(&proxy.endpoint, &Settings { limits, ..settings() });
    for store in [by_units, by_rows] {
        let read = read(&store, "users", &["v"], &[]).await;
        let pages = scan(&store, &read, 24).await.unwrap();
        assert_eq!(cells(&read, &pages).len(), 24);
    }
    let limits: Vec<_> =
        proxy.calls("Scan").iter().map(|call| call.body["Limit"].clone()).collect();
    // 40 items of 4 KB are a second's worth, but these are of 16 KB; then 12 rows a second.
    assert_eq!(limits, [json!(40), json!(12), json!(12), json!(12)]);
}
