//! A shop's users in MariaDB, being migrated to a DynamoDB API.
//!
//! Owns both servers, what a user looks like on each side, and a writer that keeps changing users with
//! lag. Refuses to know driftd. Invariant: what the writer has done is done on both sides when it has
//! stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use mysql_async::prelude::Queryable;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{dynamodb, mariadb};

/// What no telemetry, log or event may show: it is in every tenant, email and name.
pub const MARK: &str = "zebra";
/// The relation of the source.
pub const USERS: &str = "users";
/// The relation of the target.
pub const ITEMS: &str = "app";

/// A user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The key.
    pub id: i64,
    /// Part of the place in the target.
    pub tenant: String,
    /// Compared.
    pub email: String,
    /// Compared; counted from 1: active, suspended, closed.
    pub state: usize,
    /// Compared.
    pub cents: i64,
    /// The version: seconds after the first.
    pub version: i64,
    /// Whether it is in scope.
    pub migrated: bool,
}

/// 2024-01-02T03:04:05Z in seconds.
const EPOCH: i64 = 1_704_164_645;

impl User {
    /// The user of this id, as it was first made.
    #[must_use]
    pub fn new(id: i64) -> Self {
        Self {
            id,
            tenant: format!("{MARK}-{}", id % 3),
            email: format!("{MARK}{id}@example.org"),
            state: 1,
            cents: 1_000 + id,
            version: 0,
            migrated: true,
        }
    }

    /// Itself, changed once more.
    #[must_use]
    pub fn changed(&self) -> Self {
        let version = self.version + 1;
        Self { version, cents: self.cents + 7, ..self.clone() }
    }

    /// Itself, changed at this moment.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the source writes the time")]
    pub fn changed_now(&self) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Self { version: i64::try_from(now.as_secs()).unwrap() - EPOCH, ..self.changed() }
    }

    /// The statement that makes the source hold it.
    #[must_use]
    pub fn sql(&self) -> String {
        let Self { id, tenant, email, state, cents, version, migrated } = self;
        let (sign, whole, rest) =
            (if *cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100);
        format!(
            "REPLACE INTO {USERS} VALUES ({id}, '{tenant}', '{email}', '{MARK} {id}', {state}, \
             {sign}{whole}.{rest:02}, '1990-02-28', '2024-01-02 03:04:05', \
             FROM_UNIXTIME({EPOCH} + {version}), {})",
            u8::from(*migrated)
        )
    }

    /// The item that holds it in the target.
    #[must_use]
    pub fn item(&self) -> Value {
        let Self { id, email, state, cents, version, .. } = self;
        let (pk, sk) = self.place();
        json!({
            "pk": { "S": pk },
            "sk": { "S": sk },
            "profile": { "M": {
                "mail": { "S": email },
                "displayName": { "S": format!("{MARK} {id}") },
                "born": { "S": "1990-02-28" },
            } },
            "state": { "N": state.to_string() },
            "balanceCents": { "N": cents.to_string() },
            "createdAt": { "S": "2024-01-02T03:04:05Z" },
            "ver": { "N": ((EPOCH + version) * 1_000_000).to_string() },
        })
    }

    /// The item's key.
    #[must_use]
    pub fn place(&self) -> (String, String) {
        (format!("TENANT#{}", self.tenant), format!("USER#{}", self.id))
    }
}

/// Both stores.
#[derive(Debug)]
pub struct Shop {
    /// The source.
    pub source: mariadb::Server,
    /// The target.
    pub target: dynamodb::Server,
}

impl Shop {
    /// Both stores with the users 1 to `count`, equal.
    pub async fn new(count: i64) -> Self {
        let source = mariadb::Server::start().await;
        let target = dynamodb::Server::start().await;
        source
            .exec(&format!(
                "CREATE TABLE {USERS} (id BIGINT PRIMARY KEY, tenant VARCHAR(40) NOT NULL, \
                 email VARCHAR(190), name VARCHAR(190), \
                 status ENUM('active', 'suspended', 'closed', 'frozen'), balance DECIMAL(12,2), \
                 birthday DATE, created_at DATETIME(6), updated_at DATETIME(6), \
                 migrated TINYINT NOT NULL)"
            ))
            .await;
        target.create_table(ITEMS, &[("pk", "S"), ("sk", "S")]);
        let shop = Self { source, target };
        let users: Vec<User> = (1..=count).map(User::new).collect();
        let statements: Vec<String> = users.iter().map(User::sql).collect();
        let mut conn = shop.conn().await;
        for chunk in statements.chunks(100) {
            for statement in chunk {
                conn.query_drop(statement).await.unwrap();
            }
        }
        conn.disconnect().await.unwrap();
        shop.target.put(ITEMS, users.iter().map(User::item));
        shop
    }

    /// A connection to the source, in the time zone of the users' times.
    async fn conn(&self) -> mysql_async::Conn {
        let mut conn = self.source.conn().await;
        conn.query_drop("SET time_zone = '+00:00'").await.unwrap();
        conn
    }

    /// Makes the source hold a user.
    pub async fn put_source(&self, user: &User) {
        let mut conn = self.conn().await;
        conn.query_drop(user.sql()).await.unwrap();
        conn.disconnect().await.unwrap();
    }

    /// Takes a user from the source.
    pub async fn delete_source(&self, id: i64) {
        self.source.exec(&format!("DELETE FROM {USERS} WHERE id = {id}")).await;
    }

    /// Makes the target hold a user.
    pub async fn put_target(&self, user: &User) {
        self.put_item(user.item()).await;
    }

    /// Makes the target hold an item.
    pub async fn put_item(&self, item: Value) {
        put(&self.target.client(), &item).await;
    }

    /// Takes a user's item from the target.
    pub async fn delete_target(&self, user: &User) {
        delete(&self.target.client(), user).await;
    }

    /// A configuration that watches the shop with the users' plugin; `more` is added to it. Each
    /// pairing is judged within seconds.
    #[must_use]
    pub fn config(&self, more: &str) -> String {
        let plugin = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/users/users.wasm");
        format!(
            r#"
[plugins.users]
path = "{plugin}"
[pairings.users]
leader = "source"
plugin = "users"
source = {{ store = "shop", relation = "{USERS}", key = {{ id = "{{id}}" }} }}
target = {{ store = "items", relation = "{ITEMS}", key = {{ pk = "TENANT#{{tenant}}", sk = "USER#{{id}}" }} }}
{}{more}"#,
            self.stores()
        )
    }

    /// Adds to the source two tables `things` and `copies` of three rows each, alike.
    pub async fn add_things(&self) {
        for table in ["things", "copies"] {
            self.source
                .exec(&format!("CREATE TABLE {table} (id BIGINT PRIMARY KEY, name VARCHAR(40))"))
                .await;
            let rows = "(1, 'one'), (2, 'two'), (3, 'three')";
            self.source.exec(&format!("INSERT INTO {table} VALUES {rows}")).await;
        }
    }

    /// A configuration of both stores, without a pairing.
    #[must_use]
    pub fn stores(&self) -> String {
        let (port, endpoint) = (self.source.port, &self.target.endpoint);
        format!(
            r#"
[journal]
path = "driftd.journal"
[http]
listen = "127.0.0.1:0"
[shutdown]
grace = "20s"
[stores.shop]
kind = "mysql"
host = "127.0.0.1"
port = {port}
user = "{}"
password = {{ file = "password" }}
database = "test"
tls = "disabled"
timeouts = {{ connect = "2s", read = "3s", patience = "3s" }}
[stores.items]
kind = "dynamodb"
region = "us-east-1"
endpoint = "{endpoint}"
segments = 3
timeouts = {{ connect = "2s", read = "3s", patience = "3s" }}
[passes]
partition_rows = 64
page_rows = 50
concurrency = 2
rest = "200ms"
backoff = "200ms"
[settle]
lag_budget = "2s"
settle = "1s"
first_wait = "200ms"
wait_max = "2s"
[events]
sink = {{ file = "events.jsonl" }}
"#,
            mariadb::USER
        )
    }

    /// Keeps changing the users 1 to `count`, seeded: changes, deletions, and making them anew. The
    /// target follows each change after up to `lag`, in order.
    #[must_use]
    pub fn write(&self, count: i64, lag: Duration, seed: u64) -> Writer {
        let (stop, stopped) = watch::channel(false);
        let opts = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(self.source.port)
            .user(Some("root"))
            .db_name(Some("test"))
            .init(vec!["SET time_zone = '+00:00'"])
            .prefer_socket(false);
        let client = self.target.client();
        let task = write(opts, client, (count, lag, seed), stopped);
        #[expect(clippy::disallowed_methods, reason = "a writer of a test is a task of its own")]
        let task = tokio::spawn(task);
        Writer { stop, task }
    }
}

/// A writer under way.
#[derive(Debug)]
pub struct Writer {
    stop: watch::Sender<bool>,
    task: JoinHandle<u64>,
}

impl Writer {
    /// Stops it when both sides are even, and returns how many changes it made.
    pub async fn stop(self) -> u64 {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

async fn write(
    opts: mysql_async::OptsBuilder,
    client: Client,
    (count, lag, seed): (i64, Duration, u64),
    stopped: watch::Receiver<bool>,
) -> u64 {
    let mut conn = mysql_async::Conn::new(opts).await.unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut users: BTreeMap<i64, (User, bool)> =
        (1..=count).map(|id| (id, (User::new(id), true))).collect();
    let mut changes = 0;
    while !*stopped.borrow() {
        // A burst of changes, which the target gets after the lag, in their order.
        let mut burst = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let id = random.random_range(1..=count);
            let (user, present) = users.get_mut(&id).unwrap();
            *user = user.changed();
            *present = !*present || random.random_range(0..5) > 0;
            let statement =
                if *present { user.sql() } else { format!("DELETE FROM {USERS} WHERE id = {id}") };
            conn.query_drop(statement).await.unwrap();
            burst.push((user.clone(), *present));
            changes += 1;
        }
        tokio::time::sleep(lag.mul_f64(random.random::<f64>())).await;
        for (user, present) in burst {
            if present {
                put(&client, &user.item()).await;
            } else {
                delete(&client, &user).await;
            }
        }
    }
    conn.disconnect().await.unwrap();
    changes
}

async fn put(client: &Client, item: &Value) {
    let item = item.as_object().unwrap();
    let item = item.iter().map(|(name, value)| (name.clone(), attribute(value))).collect();
    client.put_item().table_name(ITEMS).set_item(Some(item)).send().await.unwrap();
}

async fn delete(client: &Client, user: &User) {
    let (pk, sk) = user.place();
    let request = client.delete_item().table_name(ITEMS);
    let request = request.key("pk", AttributeValue::S(pk)).key("sk", AttributeValue::S(sk));
    request.send().await.unwrap();
}

/// An attribute from the API's JSON, as far as users have them.
fn attribute(value: &Value) -> AttributeValue {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => AttributeValue::S(text.clone()),
        ("N", Value::String(text)) => AttributeValue::N(text.clone()),
        ("M", Value::Object(map)) => AttributeValue::M(
            map.iter().map(|(name, value)| (name.clone(), attribute(value))).collect(),
        ),
        other => panic!("{other:?} is not an attribute of a user"),
    }
}
