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
    pub damaged: Vec<Range<usize>>,
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
        repaired.text = blank(&repaired.text, &part);
        repaired.damaged.push(part);
    }
    // What is left is of no use; its structure may be anything.
    repaired.damaged.push(0..text.len());
    repaired.text = blank(text, &(0..text.len()));
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

/// The part to blank out: what leaves the fewest errors, the smallest if several do. It may be the
/// line of the error, the section whose header is broken, the statement that the line belongs to or
/// follows, or the line on which a value begins that reaches as far as here.
fn broken_part(text: &str, at: usize, duplicate: bool) -> Range<usize> {
    let line = line_of(text, at);
    let content = &text[line.clone()];
    let is_header = content.trim_start().starts_with('[') && !content.contains('=');
    let itself = if is_header { section_of(text, &line) } else { line.clone() };
    if duplicate && is_header {
        return itself;
    }
    let mut candidates = vec![itself];
    let start = statement_before(text, line.start);
    candidates.push(start..line.end);
    if start == line.start && start > 0 {
        // The error may be the first thing after a statement that was not closed.
        let before = statement_before(text, start - 1);
        candidates.push(before..start - 1);
        candidates.push(before..line.end);
    }
    let (document, _) = DeTable::parse_recoverable(text);
    if let Some(begin) = enclosing(document.get_ref(), at).filter(|begin| *begin < line.start) {
        candidates.push(line_of(text, begin));
    }
    let left = |part: &Range<usize>| (errors(&blank(text, part)).len(), part.len());
    candidates.into_iter().filter(|part| !part.is_empty()).min_by_key(left).unwrap_or(line)
}

/// A header's line with all that follows, up to the next header: without its header, a section's
/// keys would count as the section's before.
fn section_of(text: &str, header: &Range<usize>) -> Range<usize> {
    let mut end = header.end;
    while end < text.len() {
        let next = line_of(text, end + 1);
        if text[next.clone()].trim_start().starts_with('[') {
            break;
        }
        end = next.end;
    }
    header.start..end
}

/// Start of the nearest line, at or before `at`, that begins a statement.
fn statement_before(text: &str, at: usize) -> usize {
    let mut line = line_of(text, at);
    while line.start > 0 && !is_statement(&text[line.clone()]) {
        line = line_of(text, line.start - 1);
    }
    line.start
}

/// Where the outermost value begins that reaches over `at`.
fn enclosing(table: &DeTable<'_>, at: usize) -> Option<usize> {
    table.iter().find_map(|(_, value)| {
        let span = value.span();
        let reaches = span.start <= at && at <= span.end;
        let inner = || value.get_ref().as_table().and_then(|table| enclosing(table, at));
        if reaches { Some(span.start) } else { inner() }
    })
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
    } else if error.message().contains("string, expected") {
        (visible(text, at, &line), error.message().to_owned(), "close the quotes")
    } else {
        (
            visible(text, at, &line),
            error.message().to_owned(),
            "correct the TOML; the rest of this file was checked without it",
        )
    };
    Issue { span: Some(span), path: String::new(), message, help: help.to_owned(), absent: None }
}

/// Something to point at: an empty place at the end of a line is not seen.
fn visible(text: &str, at: &Range<usize>, line: &Range<usize>) -> Range<usize> {
    let before = trimmed(text, line.start..at.start.max(line.start));
    match (at.is_empty(), before.is_empty()) {
        (false, _) => at.clone(),
        (true, false) => floor(text, before.end - 1)..before.end,
        (true, true) => trimmed(text, line.clone()),
    }
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
