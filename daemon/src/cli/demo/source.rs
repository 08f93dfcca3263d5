//! The demo's source: a SQLite file that the demo's writer writes.
//!
//! Owns the table and every statement that changes it. Refuses to be read: driftd reads the file with
//! its own store, as it would any. Invariant: a change is visible to readers when the call returns.

use std::path::Path;

use rusqlite::Connection;

use super::people::{TENANTS, User};
use crate::report::form::rfc3339;

/// The relation's name.
pub(super) const RELATION: &str = "users";

const TABLE: &str = "CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    email TEXT NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    balance DECIMAL(12,2) NOT NULL,
    birthday DATE,
    created_at TIMESTAMP NOT NULL,
    updated_at TIMESTAMP NOT NULL,
    migrated BOOLEAN NOT NULL
)";
const PUT: &str = "INSERT OR REPLACE INTO users VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The writing end of the source.
#[derive(Debug)]
pub(super) struct Source {
    connection: Connection,
}

impl Source {
    /// Makes the file, with these users in it.
    pub(super) fn create<'a>(
        path: &Path,
        users: impl Iterator<Item = &'a User>,
    ) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        // Readers are not held up by the writer; what a power cut takes with it, nobody misses.
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "off")?;
        connection.execute(TABLE, [])?;
        let all = connection.transaction()?;
        for user in users {
            put(&all, user)?;
        }
        all.commit()?;
        Ok(Self { connection })
    }

    /// Writes a row, new or not.
    pub(super) fn put(&self, user: &User) -> rusqlite::Result<()> {
        put(&self.connection, user)
    }

    /// Deletes a row.
    pub(super) fn delete(&self, id: i64) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([id])?;
        Ok(())
    }
}

fn put(connection: &Connection, user: &User) -> rusqlite::Result<()> {
    connection.prepare_cached(PUT)?.execute((
        user.id,
        TENANTS[user.tenant],
        &user.email,
        &user.name,
        user.status(),
        user.balance(),
        &user.born,
        rfc3339(user.created),
        rfc3339(user.updated),
        user.migrated,
    ))?;
    Ok(())
}
