//! Fixtures as files.
//!
//! Owns what `plugins/sdk/FIXTURES.md` says of a directory of fixtures: which files there are, the
//! relations of `schema.json`, the lines of cases, and golden files. Refuses to run them. Invariant:
//! the same files mean the same here and in the SDK.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;

use super::AuthorError;
use crate::model::{ColumnDef, Logical, Moment, RelationSchema, Side};

const FORMAT: &str = "see plugins/sdk/FIXTURES.md for the form of fixtures";

/// What the cases of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows of a side.
    Rows(Side),
    /// An entity of both sides.
    Pairs,
    /// An entity or a store's key.
    Places,
}

/// A directory with a `schema.json`.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) schema: Schema,
    pub(super) files: Vec<CaseFile>,
}

/// The relations that the cases of a directory are of.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) path: PathBuf,
    pub(super) pairing: String,
    /// The plugin's own configuration, if it is given.
    pub(super) config: Option<Json>,
    pub(super) as_of: Moment,
    pub(super) source: Vec<RelationSchema>,
    pub(super) target: Vec<RelationSchema>,
}

/// A file of cases.
#[derive(Debug)]
pub(super) struct CaseFile {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) cases: Vec<Case>,
}

/// A line of a file.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    /// Where in the file, from 1.
    pub(super) line: usize,
    pub(super) json: Json,
}

impl Schema {
    /// The relations of a side; at least one.
    pub(super) fn side(&self, side: Side) -> &[RelationSchema] {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl CaseFile {
    /// Where what its cases must give is written.
    pub(super) fn golden(&self) -> PathBuf {
        self.path.with_extension("golden.jsonl")
    }
}

/// Everything below a directory.
pub(super) fn read(directory: &Path) -> Result<Vec<Directory>, AuthorError> {
    let mut found = Vec::new();
    visit(directory, &mut found)?;
    if found.iter().all(|directory| directory.files.is_empty()) {
        let remedy = format!("write a schema.json and files of cases there; {FORMAT}");
        return Err(AuthorError::usage("there are no fixtures", directory.display(), &remedy));
    }
    Ok(found)
}

fn visit(directory: &Path, found: &mut Vec<Directory>) -> Result<(), AuthorError> {
    let unreadable = |error: std::io::Error| {
        let remedy = format!("fixtures lie in the plugin's directory `fixtures`; {FORMAT}");
        AuthorError::usage(error, directory.display(), &remedy)
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    for below in paths.iter().filter(|path| path.is_dir()) {
        visit(below, found)?;
    }
    let path = directory.join("schema.json");
    if !path.exists() {
        return Ok(());
    }
    let schema = schema(&path)?;
    let mut files = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(kind) = kind(&name) {
            let cases = cases(&path)?;
            files.push(CaseFile { path, kind, cases });
        }
    }
    found.push(Directory { schema, files });
    Ok(())
}

/// By a file's name; none where it holds no cases.
fn kind(name: &str) -> Option<Kind> {
    match name.strip_suffix(".jsonl")?.rsplit('.').next()? {
        "source" => Some(Kind::Rows(Side::Source)),
        "target" => Some(Kind::Rows(Side::Target)),
        "pairs" => Some(Kind::Pairs),
        "places" => Some(Kind::Places),
        _ => None,
    }
}

fn text(path: &Path) -> Result<String, AuthorError> {
    std::fs::read_to_string(path).map_err(|error| {
        AuthorError::usage(error, path.display(), "see to it that the file can be read")
    })
}

/// The lines of a file that are not empty, with their numbers.
pub(super) fn lines(path: &Path) -> Result<Vec<(usize, Json)>, AuthorError> {
    let line = |(at, line): (usize, &str)| {
        let json = serde_json::from_str(line).map_err(|error| {
            let place = format!("{}, line {}", path.display(), at + 1);
            AuthorError::usage(format!("no JSON: {error}"), place, "put the line right")
        })?;
        Ok((at + 1, json))
    };
    let text = text(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(line).collect()
}

fn cases(path: &Path) -> Result<Vec<Case>, AuthorError> {
    let case = |(line, json): (usize, Json)| match json["case"].as_str() {
        Some(name) => Ok(Case { name: name.to_owned(), line, json }),
        None => Err(AuthorError::usage(
            "the line has no `case`",
            format!("{}, line {line}", path.display()),
            "name the case: {\"case\": \"an ordinary row\", ...}",
        )),
    };
    lines(path)?.into_iter().map(case).collect()
}

fn schema(path: &Path) -> Result<Schema, AuthorError> {
    let wrong = |what: String| AuthorError::usage(what, path.display(), FORMAT);
    let json: Json =
        serde_json::from_str(&text(path)?).map_err(|error| wrong(error.to_string()))?;
    let as_of = match json.get("as-of") {
        None => Some("2024-01-01T00:00:00Z"),
        Some(text) => text.as_str(),
    };
    let as_of = as_of.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let as_of = as_of.ok_or_else(|| wrong("`as-of` is no time".to_owned()))?;
    let pairing = json["pairing"].as_str();
    Ok(Schema {
        path: path.to_owned(),
        pairing: pairing.ok_or_else(|| wrong("`pairing` is missing".to_owned()))?.to_owned(),
        config: json.get("config").cloned(),
        as_of: Moment(as_of.as_microsecond()),
        source: relations(&json, "source").map_err(wrong)?,
        target: relations(&json, "target").map_err(wrong)?,
    })
}

/// The relations of a side.
fn relations(json: &Json, side: &str) -> Result<Vec<RelationSchema>, String> {
    let listed = json.get(side).and_then(Json::as_array).filter(|listed| !listed.is_empty());
    let listed = listed.ok_or_else(|| format!("`{side}` is no list of one relation or more"))?;
    let tables = listed.iter().map(table).collect::<Result<Vec<_>, _>>()?;
    for (at, table) in tables.iter().enumerate() {
        if tables[..at].iter().any(|other| other.relation == table.relation) {
            return Err(format!("`{side}` has two relations `{}`", table.relation));
        }
    }
    Ok(tables)
}

fn table(json: &Json) -> Result<RelationSchema, String> {
    let name = json["name"].as_str().ok_or("a relation has no `name`")?;
    let key: Vec<&Json> = json["key"].as_array().into_iter().flatten().collect();
    let columns = json["columns"].as_object();
    let columns = columns.ok_or_else(|| format!("relation `{name}` has no `columns`"))?;
    let mut defs = Vec::new();
    for (column, logical) in columns {
        let logical = logical.as_str().and_then(Logical::parse).ok_or_else(|| {
            let known = Logical::names().collect::<Vec<_>>().join(", ");
            format!("column `{column}` of `{name}` has the unknown type {logical}; known: {known}")
        })?;
        let nullable = !key.iter().any(|key| key.as_str() == Some(column));
        defs.push(ColumnDef { name: column.clone(), logical, nullable });
    }
    // In the order of their names, whatever holds the object's entries.
    defs.sort_by(|one, two| one.name.cmp(&two.name));
    let position = |key: &&Json| {
        let at = defs.iter().position(|column| key.as_str() == Some(&column.name));
        at.ok_or_else(|| format!("key column {key} of `{name}` is unknown"))
    };
    let key = key.iter().map(position).collect::<Result<Vec<_>, _>>()?;
    // Of a schemaless store only the key is known; any other attribute may be there, as a dynamically
    // typed cell.
    let only_key = defs.iter().enumerate().all(|(at, _)| key.contains(&at));
    let open = match json.get("open") {
        None => only_key,
        Some(open) => {
            open.as_bool().ok_or_else(|| format!("`open` of `{name}` is neither true nor false"))?
        }
    };
    Ok(RelationSchema { relation: name.to_owned(), columns: defs, key, open, partial: false })
}
