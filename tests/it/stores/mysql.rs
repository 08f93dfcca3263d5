//! MariaDB and MySQL: the suite, and what only they must do.

use std::sync::Arc;
use std::time::Duration;

use driftd::model::{Logical, Value};
use driftd::store::{self, Store, Timeouts};
use driftd_tests::conformance::{self, COLUMNS, Fixture, Row};
use driftd_tests::mariadb::Server;
use futures::future::{BoxFuture, FutureExt};

/// Timeouts that a test can wait for.
const SHORT: Timeouts = Timeouts {
    connect: Duration::from_millis(500),
    read: Duration::from_millis(500),
    patience: Duration::from_secs(1),
};

struct OnServer {
    server: Server,
    store: Arc<dyn Store>,
}

async fn open(server: &Server) -> Arc<dyn Store> {
    store::open(&server.settings("source")).await.unwrap()
}

fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
        Value::Bytes(bytes) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{digits}'")
        }
        other => panic!("the suite has no value such as {other:?}"),
    }
}

fn declared(logical: Logical) -> &'static str {
    match logical {
        Logical::Integer => "BIGINT",
        Logical::Text => "VARCHAR(100)",
        Logical::Binary => "VARBINARY(100)",
        Logical::Decimal => "DECIMAL(30,2)",
        other => panic!("the suite has no column of type {other}"),
    }
}

impl Fixture for OnServer {
    fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    fn open(&self) -> bool {
        false
    }

    fn create<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        let columns: Vec<_> = COLUMNS
            .iter()
            .map(|(name, logical)| format!("`{name}` {}", declared(*logical)))
            .collect();
        let sql = format!("CREATE TABLE {relation} ({}, PRIMARY KEY (id))", columns.join(", "));
        async move { self.server.exec(&sql).await }.boxed()
    }

    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()> {
        let row = |row: &Row| {
            let cells =
                COLUMNS.iter().map(|(name, _)| row.get(*name).map_or("NULL".to_owned(), literal));
            format!("({})", cells.collect::<Vec<_>>().join(", "))
        };
        let values: Vec<_> = rows.iter().map(row).collect();
        async move {
            if !values.is_empty() {
                self.server
                    .exec(&format!("INSERT INTO {relation} VALUES {}", values.join(", ")))
                    .await;
            }
        }
        .boxed()
    }

    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        async move { self.server.exec(&format!("DROP TABLE {relation}")).await }.boxed()
    }

    fn fail(&mut self) -> BoxFuture<'_, ()> {
        async move {
            self.server.kill();
            let settings = store::Settings { timeouts: SHORT, ..self.server.settings("source") };
            self.store = store::open(&settings).await.unwrap();
        }
        .boxed()
    }

    fn heal(&mut self) -> BoxFuture<'_, ()> {
        async move { self.server.restart().await }.boxed()
    }
}

#[tokio::test]
async fn mariadb_conforms() {
    let server = Server::start().await;
    let store = open(&server).await;
    conformance::all(&mut OnServer { server, store }).await;
}
