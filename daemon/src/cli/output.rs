//! Writing results and errors.
//!
//! Owns the two streams and the shape of tables. Refuses to decide what is written. Invariant: no
//! colour and no drawing where nobody looks at a terminal.

use std::error::Error;
use std::io::{self, IsTerminal, Write};

use crate::config::Display;
use crate::model::Moment;

/// Standard output and standard error.
pub(super) struct Output {
    terminal: bool,
}

impl Output {
    pub(super) fn new() -> Self {
        Self { terminal: io::stderr().is_terminal() }
    }

    /// How issues of the configuration are shown.
    pub(super) fn display(&self) -> Display {
        if self.terminal { Display::Drawn { colour: true, width: 100 } } else { Display::Plain }
    }

    /// Writes a result.
    pub(super) fn result(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Says something beside the result.
    pub(super) fn note(&self, text: &str) {
        let mut out = io::stderr().lock();
        // If standard error is gone, nothing can be said about that.
        writeln!(out, "{}", text.trim_end()).ok();
    }

    /// Shows what went wrong, with its causes.
    pub(super) fn error(&self, error: &super::CliError) {
        if let super::CliError::Config(errors) = error {
            return self.note(&errors.issues().render(self.display()));
        }
        let mut text = format!("error: {error}");
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(next) = cause {
            let words = next.to_string();
            if !told.contains(&words) {
                text = format!("{text}\n  caused by: {words}");
                told.push_str(&words);
            }
            cause = next.source();
        }
        self.note(&text);
    }
}

/// A table: columns as wide as their widest cell, two spaces between.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push('\n');
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text.push('\n');
    text
}

/// How long ago a moment was, for people.
pub(super) fn ago(now: Moment, moment: Moment) -> String {
    let seconds = now.since(moment).as_secs();
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}
