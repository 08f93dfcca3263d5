//! TOML that is broken in places.
//!
//! Owns the telling of syntax errors and the covering of broken parts, so that the rest of a file is
//! checked in the same run. Refuses to guess what was meant. Invariant: every text that is given back
//! has the length and the line breaks of the one taken.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::issue::Issue;

/// A file's text with its broken parts blanked out.
#[derive(Debug)]
pub(super) struct Repaired {
    /// The text.
    pub text: String,
    /// What was wrong.
    pub issues: Vec<Issue>,
    /// What was blanked out.
    pub damaged: Vec<String>,
}

/// A file with more faults than this is not TOML; more messages would not help.
const ISSUES_MAX: usize = 32;

/// Blanks out one broken part after the other until the text is TOML.
pub(super) fn repair(text: &str) -> Repaired {
    let mut repaired = Repaired { text: text.to_owned(), issues: Vec::new(), damaged: Vec::new() };
    for _ in 0..ISSUES_MAX {
        let errors = errors(&repaired.text);
        let Some(first) = errors.first() else { return repaired };
        let at = position(first, &repaired.text);
        let part = broken_part(&repaired.text, at.start, first.message() == DUPLICATE);
        let issue = tell(first, &at, &part, text);
        repaired.issues.push(issue);
        repaired.damaged.push(repaired.text[part.clone()].to_owned());
        repaired.text = blank(&repaired.text, &part);
    }
    // What is left is of no use; its structure may be anything.
    repaired.damaged.push(repaired.text.clone());
    repaired.text = blank(&repaired.text, &(0..repaired.text.len()));
    repaired
}

const DUPLICATE: &str = "duplicate key";

/// The syntax errors, in the order of the text.
fn errors(text: &str) -> Vec<Error> {
    let (_, mut errors) = DeTable::parse_recoverable(text);
    errors.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    errors
}

/// Where an error is; at the end of the text, the last character that is no white space.
fn position(error: &Error, text: &str) -> Range<usize> {
    let span = error.span().unwrap_or(0..0);
    let end = text.trim_end().len();
    if span.start >= end { floor(text, end.saturating_sub(1))..end } else { span }
}

/// The part to blank out: the line of the error, the statement that it belongs to, or the section
/// whose header is broken; whichever leaves the fewest errors, the smallest if several do.
fn broken_part(text: &str, at: usize, duplicate: bool) -> Range<usize> {
    let line = line_of(text, at);
    let is_header = |line: &Range<usize>| text[line.clone()].trim_start().starts_with('[');
    if is_header(&line) && !text[line.clone()].contains('=') {
        // Without its header, a section's keys would count as the section's before.
        let mut end = line.end;
        while end < text.len() && !is_header(&line_of(text, end + 1)) {
            end = line_of(text, end + 1).end;
        }
        let section = line.start..end;
        if duplicate || errors(&blank(text, &section)).len() <= errors(&blank(text, &line)).len() {
            return section;
        }
    }
    let mut start = line.start;
    while start > 0 && !is_statement(&text[line_of(text, start)]) {
        start = line_of(text, start - 1).start;
    }
    let before = if start == line.start && start > 0 {
        // The error may be the first thing after a statement that was not closed.
        let mut start = line_of(text, start - 1).start;
        while start > 0 && !is_statement(&text[line_of(text, start)]) {
            start = line_of(text, start - 1).start;
        }
        start..line.start - 1
    } else {
        start..line.end
    };
    let candidates = [line, before.clone(), before.start..line_of(text, at).end];
    let left = |part: &Range<usize>| (errors(&blank(text, part)).len(), part.len());
    candidates.into_iter().filter(|part| !part.is_empty()).min_by_key(left).unwrap_or(before)
}

/// Whether a line begins a statement: a header, or a key and an equals sign.
fn is_statement(line: &str) -> bool {
    let line = line.trim_start();
    let key = line.split('=').next().unwrap_or("");
    line.starts_with('[')
        || line.contains('=')
            && key.chars().all(|char| char.is_alphanumeric() || "-_.\"' \t".contains(char))
}

/// Puts an error into words, at the statement's begin if that is on an earlier line.
fn tell(error: &Error, at: &Range<usize>, part: &Range<usize>, text: &str) -> Issue {
    let line = line_of(text, at.start);
    let value_missing = text[at.start..line.end].trim().is_empty()
        && text[line.start..at.start].trim_end().ends_with('=');
    let (span, message, help) = if part.end < line.start {
        let first = line_of(text, part.start);
        let body = first.start + leading(&text[first.clone()])..first.end;
        let message = "what begins here is not closed".to_owned();
        (trimmed(text, body), message, "close the bracket, brace or quotes")
    } else if value_missing {
        let key = trimmed(text, line.start..at.start);
        (key, "no value follows the `=`".to_owned(), "write a value, or remove the key")
    } else if error.message() == DUPLICATE {
        let name = &text[at.clone()];
        (at.clone(), format!("`{name}` is there twice"), "keep one of the two")
    } else if error.message().starts_with("string values must be quoted") {
        let message = "a text must stand between quotes".to_owned();
        (at.clone(), message, "write \"...\"; numbers, true and false stand without quotes")
    } else {
        (
            at.clone(),
            error.message().to_owned(),
            "correct the TOML; the rest of this file was checked without it",
        )
    };
    Issue { span: Some(span), path: String::new(), message, help: help.to_owned(), absent: None }
}

/// The line around `at`, without its line break.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let at = floor(text, at.min(text.len()));
    let start = text[..at].rfind('\n').map_or(0, |before| before + 1);
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    start..end
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn leading(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn trimmed(text: &str, span: Range<usize>) -> Range<usize> {
    let inner = &text[span.clone()];
    let start = span.start + leading(inner);
    start..start + inner.trim().len()
}

fn blank(text: &str, part: &Range<usize>) -> String {
    let blanked = |(index, byte): (usize, u8)| match byte {
        b'\n' => byte,
        _ if part.contains(&index) => b' ',
        _ => byte,
    };
    let bytes = text.bytes().enumerate().map(blanked).collect();
    String::from_utf8(bytes).unwrap_or_else(|_| " ".repeat(text.len()))
}
