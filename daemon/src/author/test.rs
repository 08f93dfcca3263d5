//! Testing a plugin.
//!
//! Owns the run over all fixtures of a plugin. Refuses to stop at the first file that is wrong.
//! Invariant: a golden file is written only when it is asked for, and only from what keeps the laws.

use std::path::Path;

use super::fixtures::{self, Case, CaseFile, Directory, Kind};
use super::laws::{self, Whole};
use super::report::{self, FileReport, Problem, ProblemKind, TestReport};
use super::rows::Call;
use super::trial::Runner;
use super::{AuthorError, Project};
use crate::model::Side;
use crate::plugin::wasm::{AttachError, Attached, Host, Loaded, MEMORY};
use crate::plugin::{Binding, Code, Limits, Place, Settings};

/// What is to be tested.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The plugin.
    pub project: &'a Project,
    /// Where the fixtures are; none: in its directory `fixtures`.
    pub fixtures: Option<&'a Path>,
    /// Whether golden files are written.
    pub update: bool,
    /// What the plugin may use.
    pub limits: Limits,
    /// Where it is kept compiled; none: nowhere.
    pub cache: Option<&'a Path>,
    /// The plugin's own configuration where `schema.json` gives none.
    pub config: Option<&'a serde_json::Value>,
}

/// Runs every fixture of a plugin on the daemon's own host.
///
/// # Errors
/// If the plugin cannot be loaded, or if there are no fixtures that can be read.
pub fn test(asked: Asked<'_>) -> Result<TestReport, AuthorError> {
    let Asked { project, update, .. } = asked;
    let wasm = project.built()?;
    let directories = directories(asked)?;
    let loaded = load(project, wasm, asked.limits, asked.cache)?;
    let mut files = Vec::new();
    let mut plugin = project.name.clone();
    for directory in &directories {
        let attached = bind(&loaded, directory, asked.config)?;
        plugin.clone_from(&attached.about.name);
        for file in &directory.files {
            files.push(tested(&attached, directory, file, update));
        }
    }
    let mut notes = Vec::new();
    if let Some(newer) = project.newer_source() {
        notes.push(format!(
            "{} is older than {}; `driftd plugin build {}` builds it",
            wasm.display(),
            newer.display(),
            project.root.display()
        ));
    }
    Ok(TestReport { plugin, digest: loaded.digest().to_owned(), files, notes })
}

/// The fixtures that are asked for.
pub(super) fn directories(asked: Asked<'_>) -> Result<Vec<Directory>, AuthorError> {
    let usual = asked.project.root.join("fixtures");
    fixtures::read(asked.fixtures.unwrap_or(&usual))
}

/// Loads a plugin.
pub(super) fn load(
    project: &Project,
    wasm: &Path,
    limits: Limits,
    cache: Option<&Path>,
) -> Result<Loaded, AuthorError> {
    let settings = Settings {
        name: project.name.clone(),
        code: Code::File(wasm.to_owned()),
        config: serde_json::json!({}),
        limits,
    };
    let host = cache.map_or_else(Host::new, |cache| Host::with_cache(MEMORY, cache.to_owned()));
    host.load(&settings).map_err(|error| {
        AuthorError::failed(
            &error.kind,
            format!("plugin `{}`, {}", project.name, wasm.display()),
            "see `driftd plugin inspect` of the file; wit/README.md says what a plugin is",
        )
    })
}

/// Binds a plugin to the relations of a directory; `config` is for one that gives none.
pub(super) fn bind(
    loaded: &Loaded,
    directory: &Directory,
    config: Option<&serde_json::Value>,
) -> Result<Attached, AuthorError> {
    let schema = &directory.schema;
    let config = schema.config.clone().or_else(|| config.cloned());
    let config = config.unwrap_or_else(|| serde_json::json!({}));
    let binding = Binding {
        pairing: &schema.pairing,
        source: Place { schemas: &schema.source, key: None },
        target: Place { schemas: &schema.target, key: None },
    };
    loaded.configured(&config).bind(&binding).map_err(|error| {
        let remedy = match &error {
            AttachError::Plugin(error) => error.remedy(),
            AttachError::Refused { .. } => {
                "put `config` or the relations of schema.json right, or the plugin".to_owned()
            }
            AttachError::Unfit { .. } => "put the plugin's plan right".to_owned(),
            AttachError::Load(_) => "see `driftd plugin inspect` of the file".to_owned(),
        };
        AuthorError::failed(&error, schema.path.display(), &remedy)
    })
}

fn tested(attached: &Attached, directory: &Directory, file: &CaseFile, update: bool) -> FileReport {
    let runner = Runner { attached, schema: &directory.schema, file: &file.path };
    let (problems, updated) = match run(&runner, file) {
        Ok((_, problems)) if !problems.is_empty() => (problems, false),
        Ok((lines, _)) => golden(file, &lines, update),
        Err(error) => (vec![failed(error.to_string())], false),
    };
    FileReport { path: file.path.clone(), cases: file.cases.len(), problems, updated }
}

fn failed(words: String) -> Problem {
    Problem { kind: ProblemKind::Failed, case: None, path: String::new(), words }
}

/// What the cases give as golden lines, and the laws that do not hold.
fn run(runner: &Runner<'_>, file: &CaseFile) -> Result<(Vec<String>, Vec<Problem>), AuthorError> {
    let cases: Vec<&Case> = file.cases.iter().collect();
    let as_of = runner.schema.as_of;
    match file.kind {
        Kind::Rows(side) => of_rows(runner, side, &cases),
        Kind::Pairs => {
            let pairs = runner.pairs(&cases)?;
            let violations = runner.check(&mut runner.trial(as_of), &pairs)?;
            let mut lines = runner.pair_lines(&cases, &violations);
            let mut problems = laws::of_pairs(runner, &cases, &lines)?;
            let (said, more) = laws::of_partition(runner, &cases)?;
            problems.extend(more);
            lines.extend(runner.partition_line(&said));
            Ok((lines, problems))
        }
        Kind::Places => {
            let lines = runner.place_lines(&mut runner.trial(as_of), cases.iter().copied())?;
            let problems = laws::of_places(runner, &cases, &lines)?;
            Ok((lines, problems))
        }
    }
}

fn of_rows(
    runner: &Runner<'_>,
    side: Side,
    all: &[&Case],
) -> Result<(Vec<String>, Vec<Problem>), AuthorError> {
    let mut lines = vec![String::new(); all.len()];
    let mut problems = Vec::new();
    for Call { rows, cases: of } in runner.calls(side, all)? {
        let cases: &Vec<&Case> = &of.iter().map(|at| all[*at]).collect();
        let rows = &rows;
        let tried = &runner.map(&mut runner.trial(runner.schema.as_of), side, rows)?;
        let given = &runner.taken_apart(side, rows, tried);
        problems.extend(Whole { runner, side, cases, rows, tried, given }.laws()?);
        for ((at, case), given) in of.iter().zip(cases).zip(given) {
            lines[*at] = given.line(case);
        }
    }
    Ok((lines, problems))
}

/// Compares with a golden file, or writes it.
fn golden(file: &CaseFile, lines: &[String], update: bool) -> (Vec<Problem>, bool) {
    let golden = file.golden();
    let place = golden.display();
    if update {
        return match report::update(&golden, lines) {
            Ok(updated) => (Vec::new(), updated),
            Err(error) => (vec![failed(format!("{place} cannot be written: {error}"))], false),
        };
    }
    if !golden.exists() {
        let words = format!("there is no {place}; `driftd plugin test --update` writes it");
        return (vec![failed(words)], false);
    }
    match fixtures::lines(&golden) {
        Ok(known) => (report::compare(&file.cases, lines, &known), false),
        Err(error) => (vec![failed(error.to_string())], false),
    }
}
