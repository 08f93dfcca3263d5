//! The demo's target: a DynamoDB API inside this process.
//!
//! Owns the server on a loopback port, its table, and every operation that changes it. Refuses to be
//! read but through the API: driftd reads it with the AWS SDK, as it would any table. Invariant: a
//! change is visible to readers when the call returns; the server ends with the demo.

use std::fmt;
use std::sync::Arc;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::{Client, Config};
use dynoxide::{Database, ImportOptions};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::DemoError;
use crate::store::{DynamodbSettings, Settings, Store, dynamodb};

/// The relation's name.
pub(super) const RELATION: &str = "app";
/// The region that the API takes itself to be in.
pub(super) const REGION: &str = "us-east-1";

/// The writing end of the target.
pub(super) struct Target {
    db: Database,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Target")
    }
}

/// The API as others reach it; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Served {
    /// Where it listens.
    pub(super) endpoint: String,
    _server: JoinSet<Result<(), String>>,
}

impl Target {
    /// Makes the table, with these items in it.
    pub(super) fn create(items: impl Iterator<Item = Json>) -> Result<Self, DemoError> {
        let db = Database::memory().map_err(refused)?;
        let key = |name: &str, kind: &str| json!({ "AttributeName": name, "KeyType": kind });
        let text = |name: &str| json!({ "AttributeName": name, "AttributeType": "S" });
        let request = json!({
            "TableName": RELATION,
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "AttributeDefinitions": [text("pk"), text("sk")],
            "BillingMode": "PAY_PER_REQUEST",
        });
        db.create_table(request_of(request)?).map_err(refused)?;
        let items = items.map(request_of).collect::<Result<_, _>>()?;
        db.import_items(RELATION, items, ImportOptions::default()).map_err(refused)?;
        Ok(Self { db })
    }

    /// Serves the API on a loopback port.
    pub(super) async fn serve(&self) -> Result<Served, DemoError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(DemoError::Listen)?;
        let address = listener.local_addr().map_err(DemoError::Listen)?;
        let mut server = JoinSet::new();
        let for_ever = std::future::pending();
        server.spawn(dynoxide::server::serve_with_shutdown(listener, self.db.clone(), for_ever));
        Ok(Served { endpoint: format!("http://{address}"), _server: server })
    }

    /// Writes an item, new or not.
    pub(super) fn put(&self, item: &Json) -> Result<(), DemoError> {
        let request = json!({ "TableName": RELATION, "Item": item });
        self.db.put_item(request_of(request)?).map_err(refused)?;
        Ok(())
    }

    /// Deletes an item.
    pub(super) fn delete(&self, pk: &str, sk: &str) -> Result<(), DemoError> {
        let key = json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        let request = json!({ "TableName": RELATION, "Key": key });
        self.db.delete_item(request_of(request)?).map_err(refused)?;
        Ok(())
    }
}

/// The store of driftd that reads the API at `endpoint`. Its credentials are made up, so that none of
/// the user's are looked for.
pub(super) fn store(settings: &Settings, endpoint: &str) -> Arc<dyn Store> {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("demo", "demo", None, None, "demo"))
        .endpoint_url(endpoint)
        .build();
    let own = match &settings.kind {
        crate::store::Kind::Dynamodb(own) => own.clone(),
        crate::store::Kind::Mysql(_) | crate::store::Kind::Sqlite { .. } => {
            DynamodbSettings::default()
        }
    };
    dynamodb::with_client(settings, &own, &Client::from_conf(config))
}

fn request_of<T: DeserializeOwned>(json: Json) -> Result<T, DemoError> {
    serde_json::from_value(json).map_err(|error| DemoError::Target(error.to_string()))
}

fn refused(error: impl fmt::Display) -> DemoError {
    DemoError::Target(error.to_string())
}
