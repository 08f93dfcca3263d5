//! A private DynamoDB API.
//!
//! Owns an embedded server on a loopback port, its tables, and clients and stores for it. Refuses
//! faults: those are the proxy's. Invariant: what is put here is there when the call returns.

#![expect(clippy::disallowed_methods, reason = "a server of a test is a task of its own")]
#![expect(clippy::unwrap_used, reason = "a test that cannot start its server has failed")]

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use driftd::store::dynamodb::with_client;
use driftd::store::{DynamodbSettings, Kind, Limits, Settings, Store, Timeouts};
use dynoxide::{Database, ImportOptions, Item};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub endpoint: String,
    db: Db,
    _stop: oneshot::Sender<()>,
}

/// A database that can be shown.
#[derive(Clone)]
struct Db(Database);

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Database")
    }
}

impl Server {
    /// Starts a server without tables.
    ///
    /// # Panics
    /// If it cannot be started.
    pub async fn start() -> Self {
        let db = Database::memory().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        // A dropped sender ends it as well as a sent word.
        let until = async move { stopped.await.unwrap_or_default() };
        tokio::spawn(dynoxide::server::serve_with_shutdown(listener, db.clone(), until));
        Self { endpoint, db: Db(db), _stop: stop }
    }

    /// The database behind it.
    #[must_use]
    pub const fn db(&self) -> &Database {
        &self.db.0
    }

    /// Creates a table with these key attributes, as (name, type): the partition key, then perhaps
    /// the sort key.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn create_table(&self, name: &str, key: &[(&str, &str)]) {
        let schema: Vec<_> = key
            .iter()
            .zip(["HASH", "RANGE"])
            .map(|((name, _), kind)| json!({ "AttributeName": name, "KeyType": kind }))
            .collect();
        let attributes: Vec<_> = key
            .iter()
            .map(|(name, kind)| json!({ "AttributeName": name, "AttributeType": kind }))
            .collect();
        let request = json!({
            "TableName": name,
            "KeySchema": schema,
            "AttributeDefinitions": attributes,
            "BillingMode": "PAY_PER_REQUEST",
        });
        self.db().create_table(serde_json::from_value(request).unwrap()).unwrap();
    }

    /// Puts items, given in the API's JSON, in bulk.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn put(&self, table: &str, items: impl IntoIterator<Item = Value>) {
        let items = items.into_iter().map(item).collect();
        self.db().import_items(table, items, ImportOptions::default()).unwrap();
    }

    /// A client of the server.
    #[must_use]
    pub fn client(&self) -> Client {
        client(&self.endpoint)
    }

    /// A store that reads from the server.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        store(&self.endpoint, &settings())
    }
}

/// An item from the API's JSON.
///
/// # Panics
/// If it is none.
#[must_use]
pub fn item(json: Value) -> Item {
    serde_json::from_value(json).unwrap()
}

/// A client that asks `endpoint`.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::from_conf(config(endpoint).build())
}

/// The configuration of a client that asks `endpoint`.
#[must_use]
pub fn config(endpoint: &str) -> aws_sdk_dynamodb::config::Builder {
    Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
}

/// A store that asks `endpoint`.
#[must_use]
pub fn store(endpoint: &str, settings: &Settings) -> Arc<dyn Store> {
    with_client(settings, &DynamodbSettings::default(), &client(endpoint))
}

/// Settings with timeouts that no healthy server on a loaded machine exceeds.
///
/// # Panics
/// Never.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        name: "target".to_owned(),
        kind: Kind::Dynamodb(DynamodbSettings::default()),
        limits: Limits { concurrency: NonZeroU32::new(4).unwrap(), ..Limits::default() },
        timeouts: Timeouts {
            connect: Duration::from_secs(20),
            read: Duration::from_secs(60),
            patience: Duration::from_secs(120),
        },
    }
}
