//! What testing a plugin showed.
//!
//! Owns the comparison with golden files, and the words in which a difference is told. Refuses to run
//! anything. Invariant: golden files are compared line by line as JSON values, and every difference is
//! told with its case and field.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::fixtures::Case;

/// What testing a plugin showed.
#[derive(Debug)]
pub struct TestReport {
    /// The plugin's name for itself.
    pub plugin: String,
    /// Its digest.
    pub digest: String,
    /// Each file of cases.
    pub files: Vec<FileReport>,
    /// What is worth a word.
    pub notes: Vec<String>,
}

/// What the cases of a file showed.
#[derive(Debug)]
pub struct FileReport {
    /// The file.
    pub path: PathBuf,
    /// How many cases it has.
    pub cases: usize,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Whether its golden file was written.
    pub updated: bool,
}

/// What kind of wrong it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// It is not what the golden file has.
    Golden,
    /// A law of the contract does not hold: which.
    Law(&'static str),
    /// The plugin failed, or the fixtures are not what they must be.
    Failed,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of wrong.
    pub kind: ProblemKind,
    /// The case, and its line in the file.
    pub case: Option<(String, usize)>,
    /// The place within what the case gives, as a JSON pointer.
    pub path: String,
    /// What was given, and what was expected.
    pub words: String,
}

impl TestReport {
    /// Whether everything is as it must be.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.files.iter().all(|file| file.problems.is_empty())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ProblemKind::Law(law) = &self.kind {
            write!(f, "law: {law}: ")?;
        }
        if let Some((case, line)) = &self.case {
            write!(f, "line {line}, case \"{case}\": ")?;
        }
        let place = place(&self.path);
        if !place.is_empty() {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.words)
    }
}

/// A JSON pointer into a golden line, in words.
fn place(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let nth = |list: &str, at: &str| {
        let at = at.parse::<usize>().map_or_else(|_odd| at.to_owned(), |at| (at + 1).to_string());
        let one = match list {
            "entities" => "entity",
            "notes" => "note",
            "violations" => "violation",
            "keys" => "place",
            other => other,
        };
        format!("{one} {at}")
    };
    match parts.as_slice() {
        ["entities", at, "fields" | "key", field, rest @ ..] => {
            let below = rest.iter().map(|part| format!("/{part}")).collect::<String>();
            format!("{}, field `{field}`{below}", nth("entities", at))
        }
        ["keys", at, "key", column] => format!("{}, column `{column}`", nth("keys", at)),
        ["partition", at, rest @ ..] => {
            let rest = rest.iter().map(|part| format!(", {part}")).collect::<String>();
            format!("of all cases, {}{rest}", nth("violations", at))
        }
        [list, at, rest @ ..] => {
            let rest = rest.iter().map(|part| format!(", {part}")).collect::<String>();
            format!("{}{rest}", nth(list, at))
        }
        parts => parts.join("/"),
    }
}

/// Compares lines with those of a golden file.
pub(super) fn compare(cases: &[Case], lines: &[String], golden: &[(usize, Json)]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for at in 0..lines.len().max(golden.len()) {
        let case = cases.get(at).map(|case| (case.name.clone(), case.line));
        let known = golden.get(at).map(|(_, known)| known);
        let given = lines.get(at).and_then(|line| serde_json::from_str::<Json>(line).ok());
        let problem = |path: String, words: String| Problem {
            kind: ProblemKind::Golden,
            case: case.clone(),
            path,
            words,
        };
        match (given, known) {
            (Some(given), Some(known)) => {
                let mut found = Vec::new();
                differ("", &given, known, &mut found);
                problems.extend(found.into_iter().map(|(path, given, known)| {
                    problem(path, format!("given {given}, golden {known}"))
                }));
            }
            (Some(given), None) => {
                let words = format!("not in the golden file; given {given}");
                problems.push(problem(String::new(), words));
            }
            (None, Some(known)) if known.get("partition").is_some() => {
                let words = format!("rules over all cases say nothing any more; golden {known}");
                problems.push(problem(String::new(), words));
            }
            (None, Some(known)) => {
                let words = format!("no such case any more; golden {known}");
                problems.push(problem(String::new(), words));
            }
            (None, None) => {}
        }
    }
    problems
}

/// Differences of what a case gave in two ways, as a violation of a law.
pub(super) fn lawless(
    law: &'static str,
    case: &Case,
    (one, this): (&str, &str),
    (two, that): (&str, &str),
) -> Vec<Problem> {
    let parse =
        |line: &str| serde_json::from_str::<Json>(line).unwrap_or_else(|_wrong| json!(line));
    let mut found = Vec::new();
    differ("", &parse(one), &parse(two), &mut found);
    found
        .into_iter()
        .map(|(path, one, two)| Problem {
            kind: ProblemKind::Law(law),
            case: Some((case.name.clone(), case.line)),
            path,
            words: format!("{this} {one}, {that} {two}"),
        })
        .collect()
}

/// Every place in which two values differ.
fn differ(place: &str, given: &Json, known: &Json, out: &mut Vec<(String, String, String)>) {
    match (given, known) {
        (Json::Object(one), Json::Object(two)) => {
            let keys: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
            for key in keys {
                let place = format!("{place}/{key}");
                match (one.get(key), two.get(key)) {
                    (Some(one), Some(two)) => differ(&place, one, two, out),
                    (one, two) => {
                        let words = |cell: Option<&Json>| {
                            cell.map_or_else(|| "absent".to_owned(), Json::to_string)
                        };
                        out.push((place, words(one), words(two)));
                    }
                }
            }
        }
        (Json::Array(one), Json::Array(two)) if one.len() == two.len() => {
            for (at, (one, two)) in one.iter().zip(two).enumerate() {
                differ(&format!("{place}/{at}"), one, two, out);
            }
        }
        _ if given == known => {}
        _ => out.push((place.to_owned(), given.to_string(), known.to_string())),
    }
}

/// Writes a golden file, if it is not so already; whether it was written.
pub(super) fn update(golden: &Path, lines: &[String]) -> std::io::Result<bool> {
    let text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    if std::fs::read_to_string(golden).is_ok_and(|known| known == text) {
        return Ok(false);
    }
    std::fs::write(golden, text).map(|()| true)
}
