//! Reading the same rows as `driftd` does, over as many connections, and throwing them away.
//!
//! Owns the bare readers. Refuses to keep, decode or compare anything beyond what the drivers do by
//! themselves. Invariant: it counts what it read, and fails if that is not every row.

use std::sync::atomic::{AtomicU64, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use driftd_tests::dynamodb;
use driftd_tests::mariadb::{PASSWORD, USER};
use futures::StreamExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Value};

/// As `driftd` by default: rows of a partition, and checks in flight.
const PARTITION: u64 = 10_000;
const AT_ONCE: usize = 4;
/// As many keys as one request may ask for.
const KEYS: usize = 100;
/// As many rows as one statement fetches.
const ROWS: usize = 512;

const USERS: &str =
    "id, tenant, email, name, status, balance, birthday, created_at, updated_at, migrated";
const ITEMS: &str = "id, pk, sk, `/profile/mail`, `/profile/displayName`, state, balanceCents, \
                     `/profile/born`, createdAt, ver";

/// Reads everything: what, port of MariaDB, rows, endpoint of DynamoDB.
pub(crate) async fn run(arguments: &[&str]) {
    let [what, port, rows, endpoint] = arguments else { panic!("what, port, rows, endpoint") };
    let rows: u64 = rows.parse().unwrap();
    let port = port.parse().unwrap();
    let read = match *what {
        "copy" => ranges(port, rows, &[("users", USERS), ("users_copy", USERS)]).await,
        "items" => ranges(port, rows, &[("users", USERS), ("users_items", ITEMS)]).await,
        "lookup" => lookup(port, rows, endpoint).await,
        other => panic!("no `{other}`"),
    };
    // Both sides; a lookup reads them once in each direction.
    let times = if *what == "lookup" { 4 } else { 2 };
    assert_eq!(read, rows * times, "rows read");
}

async fn conn(port: u16) -> Conn {
    let opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(port)
        .user(Some(USER))
        .pass(Some(PASSWORD))
        .db_name(Some("test"))
        .prefer_socket(false)
        .tcp_nodelay(true);
    Conn::new(opts).await.unwrap()
}

/// Scans all ranges of both tables, several at once.
async fn ranges(port: u16, rows: u64, tables: &[(&str, &str); 2]) -> u64 {
    let next = AtomicU64::new(0);
    let worker = async |next: &AtomicU64| {
        let (mut source, mut target) = (conn(port).await, conn(port).await);
        let mut read = 0;
        loop {
            let from = next.fetch_add(PARTITION, Ordering::Relaxed);
            if from >= rows {
                return read;
            }
            read += scan(&mut source, tables[0], from).await;
            read += scan(&mut target, tables[1], from).await;
        }
    };
    futures::stream::iter(0..AT_ONCE)
        .map(|_| worker(&next))
        .buffer_unordered(AT_ONCE)
        .fold(0, async |sum, read| sum + read)
        .await
}

async fn scan(conn: &mut Conn, (table, columns): (&str, &str), from: u64) -> u64 {
    let sql =
        format!("SELECT {columns} FROM {table} WHERE id >= ? AND id < ? ORDER BY id LIMIT 16384");
    let mut result = conn.exec_iter(sql, (from, from + PARTITION)).await.unwrap();
    let mut read = 0;
    while let Some(row) = result.next().await.unwrap() {
        drop(row);
        read += 1;
    }
    read
}

/// Both directions of a lookup: ranges of MariaDB and their items by key, then segments of DynamoDB
/// and their rows by key.
async fn lookup(port: u16, rows: u64, endpoint: &str) -> u64 {
    let client = dynamodb::client(endpoint);
    let next = AtomicU64::new(0);
    let forth = async |next: &AtomicU64| {
        let mut source = conn(port).await;
        let mut read = 0;
        loop {
            let from = next.fetch_add(PARTITION, Ordering::Relaxed);
            if from >= rows {
                return read;
            }
            read += scan(&mut source, ("users", USERS), from).await;
            read += items(&client, from..rows.min(from + PARTITION)).await;
        }
    };
    let segments = rows.div_ceil(PARTITION);
    let segment = AtomicU64::new(0);
    let back = async |next: &AtomicU64| {
        let mut source = conn(port).await;
        let mut read = 0;
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= segments {
                return read;
            }
            read += backwards(&client, &mut source, index, segments).await;
        }
    };
    let sum = async |sum: u64, read: u64| sum + read;
    let workers = || futures::stream::iter(0..AT_ONCE);
    let forth = workers().map(|_| forth(&next)).buffer_unordered(AT_ONCE).fold(0, sum).await;
    let back = workers().map(|_| back(&segment)).buffer_unordered(AT_ONCE).fold(0, sum).await;
    forth + back
}

/// Gets the items of these users.
async fn items(client: &Client, users: std::ops::Range<u64>) -> u64 {
    let keys: Vec<u64> = users.collect();
    let get = async |ids: &[u64]| {
        let text = |text: String| AttributeValue::S(text);
        let keys = ids.iter().map(|id| {
            [
                ("pk".to_owned(), text(format!("TENANT#tenant-{}", id % 100))),
                ("sk".to_owned(), text(format!("USER#{id}"))),
            ]
            .into()
        });
        let request = KeysAndAttributes::builder().set_keys(Some(keys.collect())).build().unwrap();
        let answer = client.batch_get_item().request_items("shop", request).send().await.unwrap();
        assert!(answer.unprocessed_keys().is_none_or(|left| left.is_empty()), "all at once");
        answer.responses().unwrap().values().map(Vec::len).sum::<usize>() as u64
    };
    futures::stream::iter(keys.chunks(KEYS))
        .map(get)
        .buffer_unordered(AT_ONCE)
        .fold(0, async |sum, read| sum + read)
        .await
}

/// Scans a segment and reads the rows of its items.
async fn backwards(client: &Client, conn: &mut Conn, index: u64, of: u64) -> u64 {
    let (index, of) = (i32::try_from(index).unwrap(), i32::try_from(of).unwrap());
    let mut read = 0;
    let mut after = None;
    loop {
        let scan = client.scan().table_name("shop").segment(index).total_segments(of);
        let answer = scan.set_exclusive_start_key(after).send().await.unwrap();
        let ids: Vec<Value> = answer.items().iter().map(id).collect();
        read += ids.len() as u64;
        for ids in ids.chunks(ROWS) {
            read += fetch(conn, ids).await;
        }
        after = answer.last_evaluated_key;
        if after.is_none() {
            return read;
        }
    }
}

#[expect(clippy::disallowed_types, reason = "the SDK's items are hash maps")]
fn id(item: &std::collections::HashMap<String, AttributeValue>) -> Value {
    let id = item["sk"].as_s().unwrap().strip_prefix("USER#").unwrap();
    Value::Int(id.parse().unwrap())
}

async fn fetch(conn: &mut Conn, ids: &[Value]) -> u64 {
    // One statement for every number of keys; the last one is asked for again.
    let mut params = ids.to_vec();
    params.resize(ROWS, ids[ids.len() - 1].clone());
    let list = vec!["?"; ROWS].join(", ");
    let sql = format!("SELECT {USERS} FROM users WHERE id IN ({list})");
    let mut result = conn.exec_iter(sql, params).await.unwrap();
    let mut read = 0;
    while let Some(row) = result.next().await.unwrap() {
        drop(row);
        read += 1;
    }
    read
}
