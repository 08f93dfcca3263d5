//! Every store against the conformance suite, and what only one of them must do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use driftd_tests::mariadb::Server;

#[tokio::test]
async fn smoke() {
    let server = Server::start().await;
    server.exec("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(20))").await;
    server.exec("INSERT INTO t VALUES (1, 'a'), (2, NULL)").await;
    let store = driftd::store::open(&server.settings("source")).await.unwrap();
    println!("{:?}", store.describe("t").await.unwrap());
    println!("{:?}", store.split("t", 10.try_into().unwrap()).await.unwrap());
}
