//! What is wrong with a file, where, and what to do about it.
//!
//! Owns [`Issue`], [`Issues`] and how they are shown: drawn for terminals, plain, or as JSON.
//! Refuses to judge. Invariant: the text that is shown around an issue is the file's with every
//! literal secret covered.

use std::fmt;
use std::ops::Range;

use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents, Severity,
    SourceCode, SourceSpan, SpanContents,
};

/// One thing that is wrong, or worth a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Bytes of the file that it is about; none: the file as a whole.
    pub span: Option<Range<usize>>,
    /// The key: `stores.shop.port`; empty for the file as a whole.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// A name that was looked for in vain, if that is the issue.
    pub(super) absent: Option<String>,
}

/// What one file's reading brought up, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issues {
    /// The file, as it was named.
    file: String,
    /// Its text, with literal secrets covered.
    text: String,
    /// Whether these forbid to start, or are only worth a word.
    fatal: bool,
    list: Vec<Issue>,
}

/// How issues are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Display {
    /// Without colours, in ASCII, unwrapped: for logs and files.
    Plain,
    /// Drawn, for a terminal.
    Drawn {
        /// With colours.
        colour: bool,
        /// The terminal's columns.
        width: usize,
    },
}

/// A file cannot be used as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Issues);

impl Issues {
    pub(super) fn new(file: &str, text: String, fatal: bool, mut list: Vec<Issue>) -> Self {
        list.sort_by_key(|issue| issue.span.as_ref().map_or((0, 0), |span| (span.start, span.end)));
        list.dedup();
        Self { file: file.to_owned(), text, fatal, list }
    }

    /// The file, as it was named.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Issue> {
        self.list.iter()
    }

    /// Line and column of an issue, counted from 1, columns in characters.
    #[must_use]
    pub fn place(&self, issue: &Issue) -> Option<(usize, usize)> {
        place(&self.text, issue.span.as_ref()?.start)
    }

    /// All of them as text, with a count at the end.
    #[must_use]
    pub fn render(&self, display: Display) -> String {
        let handler = match display {
            Display::Plain => GraphicalReportHandler::new_themed(GraphicalTheme::none())
                .with_wrap_lines(false)
                .with_width(400),
            Display::Drawn { colour: true, width } => {
                GraphicalReportHandler::new_themed(GraphicalTheme::unicode()).with_width(width)
            }
            Display::Drawn { colour: false, width } => {
                GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
                    .with_width(width)
            }
        };
        let handler = handler.with_links(false).with_context_lines(0);
        let source = Lines { file: &self.file, text: &self.text };
        let one = |issue: &Issue| {
            let drawing = Drawing { issue, source: &source, fatal: self.fatal };
            let mut shown = String::new();
            match handler.render_report(&mut shown, &drawing) {
                Ok(()) => shown,
                // A place that cannot be drawn must not cost the message.
                Err(_) => format!("  {}: {drawing}\n  help: {}\n", self.file, issue.help),
            }
        };
        let word = if self.fatal { "error" } else { "warning" };
        let plural = if self.list.len() == 1 { "" } else { "s" };
        let count = format!("{} {word}{plural} in {}\n", self.list.len(), self.file);
        let shown = self.list.iter().map(one).chain(std::iter::once(count));
        shown.collect::<Vec<_>>().join("\n")
    }

    /// All of them as a JSON list of `{file, line, column, path, message, help}`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let one = |issue: &Issue| {
            let place = self.place(issue);
            serde_json::json!({
                "file": self.file,
                "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column),
                "path": issue.path,
                "message": issue.message,
                "help": issue.help,
            })
        };
        self.list.iter().map(one).collect()
    }
}

impl ConfigErrors {
    /// What is wrong.
    #[must_use]
    pub const fn issues(&self) -> &Issues {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.render(Display::Plain).trim_end())
    }
}

impl fmt::Debug for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ConfigErrors {}

fn place(text: &str, at: usize) -> Option<(usize, usize)> {
    let before = text.get(..at)?;
    let line = before.rsplit('\n').next().unwrap_or("");
    Some((before.matches('\n').count() + 1, line.chars().count() + 1))
}

/// A text of which whole lines are shown, however little of them is meant.
#[derive(Debug)]
struct Lines<'a> {
    file: &'a str,
    text: &'a str,
}

impl SourceCode for Lines<'_> {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let (start, end) = (span.offset(), span.offset() + span.len());
        let (line, column) = place(self.text, start).ok_or(MietteError::OutOfBounds)?;
        let rest = self.text.get(end..).ok_or(MietteError::OutOfBounds)?;
        let start = self.text[..start].rfind('\n').map_or(0, |before| before + 1);
        let end = rest.find('\n').map_or(self.text.len(), |length| end + length);
        let shown = &self.text[start..end];
        Ok(Box::new(MietteSpanContents::new_named(
            self.file.to_owned(),
            shown.as_bytes(),
            SourceSpan::from(start..end),
            line - 1,
            column - 1,
            shown.matches('\n').count() + 1,
        )))
    }
}

#[derive(Debug)]
struct Drawing<'a> {
    issue: &'a Issue,
    source: &'a Lines<'a>,
    fatal: bool,
}

impl fmt::Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.issue.path.as_str() {
            "" => f.write_str(&self.issue.message),
            path => write!(f, "{path}: {}", self.issue.message),
        }
    }
}

impl std::error::Error for Drawing<'_> {}

impl miette::Diagnostic for Drawing<'_> {
    fn severity(&self) -> Option<Severity> {
        Some(if self.fatal { Severity::Error } else { Severity::Warning })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.issue.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.issue.span.as_ref().map(|_| -> &dyn SourceCode { self.source })
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.issue.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(None, span))))
    }
}
