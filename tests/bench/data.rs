//! The rows that are read.
//!
//! Owns making them in the server itself, and the server of items. Refuses drift: both sides hold
//! the same entities. Invariant: row and item of a number are the same user, whoever makes them.

use std::io::Read;

use driftd_tests::dynamodb::{Server, item};
use driftd_tests::mariadb;
use dynoxide::ImportOptions;
use serde_json::{Value, json};

use crate::Case;

/// Rows made by one statement.
const CHUNK: u64 = 100_000;
/// Microseconds since the Unix epoch of row 0.
const EPOCH: u64 = 1_700_000_000_000_000;
/// Days since the Unix epoch of the earliest birthday, 1980-01-01.
const BIRTHDAYS: u64 = 3_652;

const USERS: &str = "id BIGINT NOT NULL PRIMARY KEY, tenant VARCHAR(32) NOT NULL, \
    email VARCHAR(120) NOT NULL, name VARCHAR(120) NOT NULL, \
    status ENUM('active', 'suspended', 'closed') NOT NULL, balance DECIMAL(12,2) NOT NULL, \
    birthday DATE NULL, created_at TIMESTAMP(6) NOT NULL, updated_at TIMESTAMP(6) NOT NULL, \
    migrated TINYINT NOT NULL";

/// Items in a table: each attribute as a column of its own, of its type but for `state`, which is CBOR.
const ITEMS: &str = "id BIGINT NOT NULL PRIMARY KEY, pk VARCHAR(48) NOT NULL, \
    sk VARCHAR(32) NOT NULL, `/profile/mail` VARCHAR(120) NOT NULL, \
    `/profile/displayName` VARCHAR(120) NOT NULL, state VARBINARY(9) NOT NULL, \
    balanceCents BIGINT NOT NULL, `/profile/born` DATE NULL, createdAt TIMESTAMP(6) NOT NULL, \
    ver BIGINT NOT NULL";

/// Makes the tables that a case reads.
pub(crate) async fn fill(server: &mariadb::Server, rows: u64, case: Case) {
    server.exec(&format!("CREATE TABLE users ({USERS})")).await;
    for from in (0..rows).step_by(usize::try_from(CHUNK).unwrap()) {
        let until = rows.min(from + CHUNK) - 1;
        let at = |micros: u64| format!("FROM_UNIXTIME(({EPOCH} + {micros} + seq) * 0.000001)");
        let (created, updated) = (at(0), at(1_000_000_000));
        server
            .exec(&format!(
                "SET time_zone = '+00:00'; \
                 INSERT INTO users SELECT seq, CONCAT('tenant-', seq % 100), \
                 CONCAT('user', seq, '@example.org'), CONCAT('The Name Of User ', seq), \
                 1 + seq % 3, (1000 + seq % 1000000) / 100, \
                 IF(seq % 10 = 0, NULL, DATE('1980-01-01') + INTERVAL seq % 10000 DAY), \
                 {created}, {updated}, 1 FROM seq_{from}_to_{until}"
            ))
            .await;
    }
    match case {
        Case::Mapping => {
            server.exec(&format!("CREATE TABLE users_copy ({USERS})")).await;
            server.exec("INSERT INTO users_copy SELECT * FROM users").await;
        }
        Case::Plugin => items(server).await,
        Case::Lookup => {}
    }
    // Estimates decide how a table is cut.
    server.exec("ANALYZE TABLE users").await;
}

async fn items(server: &mariadb::Server) {
    server.exec(&format!("CREATE TABLE users_items ({ITEMS})")).await;
    server
        .exec(&format!(
            "SET time_zone = '+00:00'; INSERT INTO users_items SELECT id, \
             CONCAT('TENANT#', tenant), CONCAT('USER#', id), email, name, CHAR(0 + status), \
             CAST(balance * 100 AS INTEGER), birthday, created_at, {EPOCH} + 1000000000 + id \
             FROM users"
        ))
        .await;
}

/// Serves `rows` items, says where, and ends with its standard input.
#[expect(clippy::print_stdout, reason = "that is how the parent learns where it listens")]
pub(crate) async fn serve(rows: u64) {
    let server = Server::start().await;
    server.create_table("shop", &[("pk", "S"), ("sk", "S")]);
    for from in (0..rows).step_by(usize::try_from(CHUNK).unwrap()) {
        let items = (from..rows.min(from + CHUNK)).map(|id| item(user(id))).collect();
        server.db().import_items("shop", items, ImportOptions::default()).unwrap();
    }
    println!("{}", server.endpoint);
    let end = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    end.await.unwrap().unwrap();
}

/// The item of a user, in the API's JSON.
fn user(id: u64) -> Value {
    let (seconds, micros) = ((EPOCH + id) / 1_000_000, (EPOCH + id) % 1_000_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let clock = format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    let mut profile = json!({
        "mail": { "S": format!("user{id}@example.org") },
        "displayName": { "S": format!("The Name Of User {id}") },
    });
    if !id.is_multiple_of(10) {
        let (year, month, day) = civil(BIRTHDAYS + id % 10_000);
        profile["born"] = json!({ "S": format!("{year:04}-{month:02}-{day:02}") });
    }
    json!({
        "pk": { "S": format!("TENANT#tenant-{}", id % 100) },
        "sk": { "S": format!("USER#{id}") },
        "profile": { "M": profile },
        "state": { "N": (1 + id % 3).to_string() },
        "balanceCents": { "N": (1_000 + id % 1_000_000).to_string() },
        "createdAt": { "S": format!("{year:04}-{month:02}-{day:02}T{clock}.{micros:06}Z") },
        "ver": { "N": (EPOCH + 1_000_000_000 + id).to_string() },
    })
}

/// Year, month and day of a number of days since the Unix epoch.
fn civil(days: u64) -> (u64, u64, u64) {
    // Years begin in March, so that the leap day comes last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
}
