//! What a person leaves in the journal for the daemon.
//!
//! Owns leaving a command and finding its answer. Refuses to carry anything out. Invariant: a command
//! is left whether or not the daemon runs, and is answered in the transaction that carries it out.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _};

use crate::journal::Journal;
use crate::journal::error::JournalError;
use crate::journal::file;
use crate::journal::format::Form as _;
use crate::journal::text::Word as _;
use crate::model::{Answer, Command, Moment};

impl Journal {
    /// Leaves `command` in the journal at `path` for its daemon, which may be running or not, and
    /// returns the command's number. Makes no journal.
    ///
    /// # Errors
    /// If there is no journal, or it cannot be written.
    pub fn leave(path: &Path, command: &Command, now: Moment) -> Result<i64, JournalError> {
        let connection = existing(path)?;
        connection
            .execute(
                "INSERT INTO commands (json, asked, micros) VALUES (?1, ?2, ?3)",
                (command.to_json(), now.to_text(), now.0),
            )
            .map_err(|error| JournalError::sqlite(path, "leave a command", error))?;
        Ok(connection.last_insert_rowid())
    }

    /// What the daemon answered to a command; none: it has not yet.
    ///
    /// # Errors
    /// If there is no journal, or it cannot be read.
    pub fn answer(path: &Path, id: i64) -> Result<Option<Answer>, JournalError> {
        let connection = existing(path)?;
        let answer: Option<Option<String>> = connection
            .query_row("SELECT answer FROM commands WHERE id = ?1", [id], |row| row.get(0))
            .optional()
            .map_err(|error| JournalError::sqlite(path, "read an answer", error))?;
        Ok(answer.flatten().map(read))
    }

    /// Commands that are not answered yet, in the order in which they were left. One that is not
    /// understood is answered so at once.
    ///
    /// # Errors
    /// If they cannot be read, or such an answer cannot be kept.
    pub fn commands(&mut self) -> Result<Vec<(i64, Command)>, JournalError> {
        let rows: Vec<(i64, String)> = self.source().rows(
            "SELECT id, json FROM commands WHERE answer IS NULL ORDER BY id",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let mut commands = Vec::with_capacity(rows.len());
        for (id, json) in rows {
            match Command::from_json(&json) {
                Ok(command) => commands.push((id, command)),
                Err(error) => self.write("answer a command", |tx| {
                    Ok(keep(tx, id, &Err(format!("not understood: {error}")))?)
                })?,
            }
        }
        Ok(commands)
    }
}

/// Keeps the answer to a command.
pub(super) fn keep(tx: &Connection, id: i64, answer: &Answer) -> rusqlite::Result<()> {
    let text = match answer {
        Ok(done) => serde_json::json!({ "done": done }),
        Err(refused) => serde_json::json!({ "refused": refused }),
    };
    tx.prepare_cached("UPDATE commands SET answer = ?2 WHERE id = ?1")?
        .execute((id, text.to_string()))?;
    Ok(())
}

fn read(text: String) -> Answer {
    let forms: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    match forms.get("refused") {
        Some(refused) => Err(refused.clone()),
        None => Ok(forms.get("done").cloned().unwrap_or(text)),
    }
}

fn existing(path: &Path) -> Result<Connection, JournalError> {
    let connection = file::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    if file::format(&connection, path)?.is_some() {
        Ok(connection)
    } else {
        Err(JournalError::Missing { path: path.to_owned() })
    }
}
