//! The conformance suite of stores, on the embedded API.

use driftd_tests::conformance::{self, Fixture, Row, Shape};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::*;

/// The suite's server, behind a proxy that can fail.
struct Embedded {
    server: Server,
    proxy: Proxy,
    store: Arc<dyn Store>,
}

impl Fixture for Embedded {
    fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn open(&self) -> bool {
        true
    }

    fn remedy(&self) -> Option<&str> {
        Some("the partition key")
    }

    fn create<'a>(&'a self, relation: &'a str, shape: &'a Shape) -> BoxFuture<'a, ()> {
        let declared = |logical| if logical == Logical::Text { "S" } else { "N" };
        let key = shape.columns[..shape.key].iter();
        let key: Vec<_> = key.map(|(name, logical)| (*name, declared(*logical))).collect();
        self.server.create_table(relation, &key);
        ready(()).boxed()
    }

    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()> {
        self.server.put(relation, rows.iter().map(item));
        ready(()).boxed()
    }

    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        self.server.drop_table(relation);
        ready(()).boxed()
    }

    fn fail(&mut self) -> BoxFuture<'_, ()> {
        self.proxy.rule(|_| Action::Fail(500, "InternalServerError", "down"));
        ready(()).boxed()
    }

    fn heal(&mut self) -> BoxFuture<'_, ()> {
        self.proxy.rule(|_| Action::Forward);
        ready(()).boxed()
    }
}

fn item(row: &Row) -> Json {
    row.iter().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(value: &Value) -> Json {
    if let Value::Number(number) = value {
        json!({ "N": number.to_string() })
    } else if let Value::Text(text) = value {
        json!({ "S": text })
    } else if let Value::Bytes(bytes) = value {
        json!({ "B": base64(bytes) })
    } else {
        assert_eq!(*value, Value::Null, "the suite has no other values");
        json!({ "NULL": true })
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let [a, b, c] = three.map(u32::from);
        let bits = a << 16 | b << 8 | c;
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS[usize::try_from(bits >> shift & 63).unwrap()];
            text.push(if at <= chunk.len() { letter.into() } else { '=' });
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_does_what_every_store_must() {
    let server = Server::start().await;
    let proxy = Proxy::start(&server.endpoint).await;
    let mut settings = settings();
    settings.timeouts.patience = Duration::from_secs(5);
    let store = store(&proxy.endpoint, &settings);
    conformance::all(&mut Embedded { server, proxy, store }).await;
}
