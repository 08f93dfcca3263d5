//! Measuring a plugin.
//!
//! Owns batches of 1,024 rows made of fixtures, and what a call over them takes beside what it may.
//! Refuses to judge by anything but the limits. Invariant: it is measured with wider limits than those
//! of production, so that what is over them is measured and told, not cut off.

use std::time::Duration;

use super::AuthorError;
use super::fixtures::{Case, CaseFile, Directory, Kind};
use super::test::{Asked, bind, directories, load};
use super::trial::Runner;
use crate::model::{Batch, Moment, Side};
use crate::plugin::Limits;
use crate::plugin::wasm::{Attached, Cost, Trial};

/// Rows of a call, as checks make them.
const ROWS: usize = 1_024;
/// How much wider than production's the limits are while measuring.
const WIDER: u32 = 20;
/// Calls before anything is measured.
const WARM: u32 = 5;
/// Calls that are measured: at least, and at most.
const CALLS: (u32, u32) = (20, 2_000);
/// After so long no further call is made, once there were enough.
const ENOUGH: Duration = Duration::from_millis(500);

/// What a plugin takes.
#[derive(Debug)]
pub struct BenchReport {
    /// The plugin's name for itself.
    pub plugin: String,
    /// Its digest.
    pub digest: String,
    /// The limits of production.
    pub limits: Limits,
    /// Each function.
    pub measured: Vec<Measured>,
}

/// What calls of a function take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The function and, for mapping, the side.
    pub function: String,
    /// The directory of fixtures that the rows are made of.
    pub fixtures: String,
    /// Rows or pairs of a call.
    pub rows: usize,
    /// How many calls were measured.
    pub calls: u32,
    /// Wall-clock time of the call in the middle.
    pub time: Duration,
    /// Of the longest call.
    pub longest: Duration,
    /// The most fuel that a call used.
    pub fuel: u64,
    /// The most linear memory that the instance had.
    pub memory: u64,
    /// The most bytes that a call gave.
    pub output: u64,
}

impl Measured {
    /// Fuel that production grants a call of so many rows.
    #[must_use]
    pub fn fuel_allowed(&self, limits: &Limits) -> u64 {
        let rows = u64::try_from(self.rows).unwrap_or(u64::MAX);
        limits.fuel_per_call.saturating_add(limits.fuel_per_row.saturating_mul(rows))
    }

    /// What is over the limits of production, by name.
    #[must_use]
    pub fn over(&self, limits: &Limits) -> Vec<&'static str> {
        [
            ("time", self.time > limits.deadline),
            ("fuel", self.fuel > self.fuel_allowed(limits)),
            ("memory", self.memory > limits.memory),
            ("output", self.output > limits.output),
        ]
        .into_iter()
        .filter(|(_, over)| *over)
        .map(|(name, _)| name)
        .collect()
    }
}

/// Measures a plugin on its fixtures, repeated; `now` is the time.
///
/// # Errors
/// If the plugin cannot be loaded, fails on its fixtures, or goes beyond even wider limits.
pub fn bench(asked: Asked<'_>, now: &dyn Fn() -> Moment) -> Result<BenchReport, AuthorError> {
    let project = asked.project;
    let directories = directories(asked)?;
    let limits = Limits::default();
    let loaded = load(project, project.built()?, wider(limits))?;
    let mut plugin = project.name.clone();
    let mut measured = Vec::new();
    for directory in &directories {
        let attached = bind(&loaded, directory)?;
        plugin.clone_from(&attached.about.name);
        for kind in [Kind::Rows(Side::Source), Kind::Rows(Side::Target), Kind::Pairs] {
            measured.extend(of_kind(&attached, directory, kind, now)?);
        }
    }
    Ok(BenchReport { plugin, digest: loaded.digest().to_owned(), limits, measured })
}

fn wider(limits: Limits) -> Limits {
    let by = u64::from(WIDER);
    Limits {
        fuel_per_call: limits.fuel_per_call.saturating_mul(by),
        fuel_per_row: limits.fuel_per_row.saturating_mul(by),
        deadline: limits.deadline.saturating_mul(WIDER),
        memory: limits.memory.saturating_mul(by),
        output: limits.output.saturating_mul(by),
        log: limits.log,
    }
}

/// Measures calls over all cases of a kind.
fn of_kind(
    attached: &Attached,
    directory: &Directory,
    kind: Kind,
    now: &dyn Fn() -> Moment,
) -> Result<Option<Measured>, AuthorError> {
    let files: Vec<&CaseFile> = directory.files.iter().filter(|file| file.kind == kind).collect();
    let cases: Vec<&Case> = files.iter().flat_map(|file| &file.cases).collect();
    let Some(first) = files.first().filter(|_| !cases.is_empty()) else { return Ok(None) };
    if kind == Kind::Pairs && attached.mapper.invariants().is_empty() {
        return Ok(None);
    }
    let runner = Runner { attached, schema: &directory.schema, file: &first.path };
    let cases: Vec<&Case> = cases.into_iter().cycle().take(ROWS).collect();
    let fixtures = directory.schema.path.parent().unwrap_or(&directory.schema.path);
    let fixtures = fixtures.display().to_string();
    let timed = match kind {
        Kind::Rows(side) => {
            let rows = runner.rows(side, &cases)?;
            timed(&runner, now, |trial| {
                let tried = runner.map(trial, side, &rows)?;
                let notes = tried.notes.iter().map(|note| note.kind.len() + note.message.len());
                let outputs = tried.mapped.outputs.iter().map(|output| given(&output.entities));
                Ok(outputs.sum::<u64>() + notes.sum::<usize>() as u64)
            })?
        }
        Kind::Pairs => {
            let pairs = runner.pairs(&cases)?;
            timed(&runner, now, |trial| {
                let violations = runner.check(trial, &pairs)?;
                let words = violations.iter().map(|told| told.violation.message.len());
                Ok(words.sum::<usize>() as u64)
            })?
        }
    };
    let function = match kind {
        Kind::Rows(side) => format!("map-batch, {side}"),
        Kind::Pairs => "check-pairs".to_owned(),
    };
    Ok(Some(Measured { function, fixtures, rows: cases.len(), ..timed }))
}

/// Bytes that a batch made the host copy.
fn given(batch: &Batch) -> u64 {
    // Beside the cells: the group and the standing of each row.
    batch.bytes() + batch.rows as u64 * 5
}

/// Calls until it is clear what a call takes; `call` says how many bytes it gave.
fn timed(
    runner: &Runner<'_>,
    now: &dyn Fn() -> Moment,
    mut call: impl FnMut(&mut Trial) -> Result<u64, AuthorError>,
) -> Result<Measured, AuthorError> {
    let mut trial = runner.trial(runner.schema.as_of);
    let mut most = Cost::default();
    let mut output = 0;
    let mut times = Vec::new();
    let began = now();
    for round in 0..WARM + CALLS.1 {
        let before = now();
        output = output.max(call(&mut trial)?);
        let after = now();
        let cost = trial.cost().unwrap_or_default();
        most.fuel = most.fuel.max(cost.fuel);
        most.memory = most.memory.max(cost.memory);
        if round >= WARM {
            times.push(after.since(before));
        }
        if round >= WARM + CALLS.0 && after.since(began) > ENOUGH {
            break;
        }
    }
    times.sort_unstable();
    Ok(Measured {
        function: String::new(),
        fixtures: String::new(),
        rows: 0,
        calls: u32::try_from(times.len()).unwrap_or(u32::MAX),
        time: times.get(times.len() / 2).copied().unwrap_or_default(),
        longest: times.last().copied().unwrap_or_default(),
        fuel: most.fuel,
        memory: most.memory,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_of_production_is_named() {
        let limits = Limits::default();
        let at = Measured {
            function: "map-batch, source".to_owned(),
            fixtures: "fixtures".to_owned(),
            rows: 1_000,
            calls: 1,
            time: limits.deadline,
            longest: limits.deadline,
            fuel: limits.fuel_per_call + 1_000 * limits.fuel_per_row,
            memory: limits.memory,
            output: limits.output,
        };
        assert_eq!(at.over(&limits), [""; 0], "at the limit is within it");
        assert_eq!(Measured { fuel: at.fuel + 1, ..at.clone() }.over(&limits), ["fuel"]);
        let over =
            Measured { time: at.time * 2, memory: at.memory + 1, output: at.output + 1, ..at };
        assert_eq!(over.over(&limits), ["time", "memory", "output"]);
    }
}
