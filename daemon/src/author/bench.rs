//! Measuring a plugin.
//!
//! Owns calls over about 1,024 rows made of fixtures, and what each function takes beside what it may.
//! Refuses to judge by anything but the limits. Invariant: it is measured with wider limits than it is
//! judged by, so that what is over them is measured and told, not cut off.

use std::time::Duration;

use super::AuthorError;
use super::fixtures::{Case, CaseFile, Kind};
use super::places::{Question, Told};
use super::rows::Call;
use super::test::{Asked, bind, directories, load};
use super::trial::Runner;
use crate::model::{Batch, Moment, Scope, Side, Violation};
use crate::plugin::Limits;
use crate::plugin::wasm::{Cost, Trial, Tried};

/// Rows of a call, as checks make them, or a few more where they come in groups.
const ROWS: usize = 1_024;
/// How much wider than what it is judged by the limits are while measuring.
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
    /// What it is judged by.
    pub limits: Limits,
    /// Each function.
    pub measured: Vec<Measured>,
}

/// What calls of a function take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// The function, and of what it is: a side, a relation, an entity type, a rule.
    pub function: String,
    /// The directory of fixtures that the rows are made of.
    pub fixtures: String,
    /// Rows, pairs, entities or keys of a call.
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
    /// Fuel that is granted a call of so many rows.
    #[must_use]
    pub fn fuel_allowed(&self, limits: &Limits) -> u64 {
        let rows = u64::try_from(self.rows).unwrap_or(u64::MAX);
        limits.fuel_per_call.saturating_add(limits.fuel_per_row.saturating_mul(rows))
    }

    /// What is over the limits, by name.
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
    let Asked { project, limits, config, cache, .. } = asked;
    let directories = directories(asked)?;
    let loaded = load(project, project.built()?, wider(limits), cache)?;
    let mut plugin = project.name.clone();
    let mut measured = Vec::new();
    for directory in &directories {
        let attached = bind(&loaded, directory, config)?;
        plugin.clone_from(&attached.about.name);
        for kind in [Kind::Rows(Side::Source), Kind::Rows(Side::Target), Kind::Pairs, Kind::Places]
        {
            let files = directory.files.iter().filter(|file| file.kind == kind);
            let files: Vec<&CaseFile> = files.filter(|file| !file.cases.is_empty()).collect();
            let Some(first) = files.first() else { continue };
            let runner =
                Runner { attached: &attached, schema: &directory.schema, file: &first.path };
            let cases: Vec<&Case> = files.iter().flat_map(|file| &file.cases).collect();
            let bench = Bench { runner, cases, now };
            measured.extend(match kind {
                Kind::Rows(side) => bench.mapping(side)?,
                Kind::Pairs => bench.rules()?,
                Kind::Places => bench.locating()?,
            });
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

/// All cases of a kind of a directory.
struct Bench<'a> {
    runner: Runner<'a>,
    cases: Vec<&'a Case>,
    now: &'a dyn Fn() -> Moment,
}

impl Bench<'_> {
    /// Calls of mapping: one, or one for each relation of several that are not grouped.
    fn mapping(&self, side: Side) -> Result<Vec<Measured>, AuthorError> {
        let runner = &self.runner;
        let calls = runner.calls(side, &self.cases)?;
        let several = calls.len() > 1;
        let mut measured = Vec::new();
        for call in calls {
            let cases: Vec<&Case> = call.cases.iter().map(|at| self.cases[*at]).collect();
            let cases = self.repeated(side, &cases)?;
            let relation = call.rows.inputs[0].relation;
            // Of cases of one relation there is one call again.
            for Call { rows, .. } in runner.calls(side, &cases)? {
                let timed = self.timed(rows.count(), |trial| {
                    let Tried { mapped, notes } = runner.map(trial, side, &rows)?;
                    let notes = notes.iter().map(|note| note.kind.len() + note.message.len());
                    let outputs = mapped.outputs.iter().map(|output| given(&output.entities));
                    Ok(outputs.sum::<u64>() + notes.sum::<usize>() as u64)
                })?;
                let plan = &runner.side_plan(side).relations[relation];
                let name = &runner.schema.side(side)[plan.relation].relation;
                let of = if several { format!(", {name}") } else { String::new() };
                measured.push(Measured { function: format!("map-batch, {side}{of}"), ..timed });
            }
        }
        Ok(measured)
    }

    /// Cases, over and over, until they have rows enough for a call.
    fn repeated<'c>(&self, side: Side, cases: &[&'c Case]) -> Result<Vec<&'c Case>, AuthorError> {
        let mut repeated = Vec::new();
        let mut rows = 0;
        for case in cases.iter().cycle() {
            if rows >= ROWS {
                break;
            }
            // Every case has a row.
            rows += self.runner.size(side, case)?;
            repeated.push(*case);
        }
        Ok(repeated)
    }

    /// Calls of rules: on pairs, and of each accumulator, for each entity type.
    fn rules(&self) -> Result<Vec<Measured>, AuthorError> {
        let runner = &self.runner;
        let invariants = runner.attached.mapper.invariants();
        let types = &runner.plan().entities;
        let mut measured = Vec::new();
        for batch in runner.pairs(&self.cases)? {
            let of_type = |case: &&&Case| runner.type_of(case).is_ok_and(|it| it == batch.entity);
            let cases: Vec<&Case> = self.cases.iter().filter(of_type).copied().collect();
            let cases: Vec<&Case> = cases.into_iter().cycle().take(ROWS).collect();
            let pairs = runner.pairs(&cases)?;
            let of = match types.len() {
                1 => String::new(),
                _ => format!(", {}", types[batch.entity].name),
            };
            let words =
                |told: &[Violation]| told.iter().map(|one| one.message.len()).sum::<usize>();
            if invariants.iter().any(|it| it.scope == Scope::Pair) {
                let timed = self.timed(ROWS, |trial| {
                    let told = runner.check(trial, &pairs)?;
                    Ok(told.iter().map(|told| told.violation.message.len() as u64).sum())
                })?;
                measured.push(Measured { function: format!("check-pairs{of}"), ..timed });
            }
            for (at, invariant) in invariants.iter().enumerate() {
                if invariant.scope != Scope::Partition {
                    continue;
                }
                let timed = self.timed(ROWS, |trial| {
                    let tallied = runner.push(trial, at, &pairs)?;
                    Ok((tallied.state.len() + words(&tallied.violations)) as u64)
                })?;
                let function = format!("accumulator, {}{of}", invariant.id);
                measured.push(Measured { function, ..timed });
            }
        }
        Ok(measured)
    }

    /// Calls of locating: for each side and entity type, and for each relation of keys.
    fn locating(&self) -> Result<Vec<Measured>, AuthorError> {
        let runner = &self.runner;
        let mut questions: Vec<(Question, Vec<&Case>)> = Vec::new();
        for case in &self.cases {
            let question = runner.question(case)?;
            match questions.iter_mut().find(|(known, _)| *known == question) {
                Some((_, cases)) => cases.push(case),
                None => questions.push((question, vec![case])),
            }
        }
        let mut measured = Vec::new();
        for (question, cases) in questions {
            let cases: Vec<&Case> = cases.into_iter().cycle().take(ROWS).collect();
            let about = runner.about(question, &cases)?;
            let timed = self.timed(ROWS, |trial| {
                Ok(match runner.ask(trial, question, (&about, &cases))? {
                    Told::Keys(sought) => sought.iter().map(|it| given(&it.keys)).sum(),
                    Told::Entities(known) => known.iter().map(|it| given(&it.entities)).sum(),
                })
            })?;
            let function = match question {
                Question::Locate(side, entity) => {
                    format!("locate, {side}, {}", runner.plan().entities[entity].name)
                }
                Question::KeysOf(side, relation) => {
                    let plan = &runner.side_plan(side).relations[relation];
                    format!("keys-of, {side}, {}", runner.schema.side(side)[plan.relation].relation)
                }
            };
            measured.push(Measured { function, ..timed });
        }
        Ok(measured)
    }

    /// Calls until it is clear what a call over `rows` rows takes; `call` says how many bytes it gave.
    fn timed(
        &self,
        rows: usize,
        mut call: impl FnMut(&mut Trial) -> Result<u64, AuthorError>,
    ) -> Result<Measured, AuthorError> {
        let Self { runner, now, .. } = self;
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
        let fixtures = runner.schema.path.parent().unwrap_or(&runner.schema.path);
        Ok(Measured {
            function: String::new(),
            fixtures: fixtures.display().to_string(),
            rows,
            calls: u32::try_from(times.len()).unwrap_or(u32::MAX),
            time: times.get(times.len() / 2).copied().unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
            fuel: most.fuel,
            memory: most.memory,
            output,
        })
    }
}

/// Bytes that a batch made the host copy.
fn given(batch: &Batch) -> u64 {
    // Beside the cells: of each row where it belongs, and its standing.
    batch.bytes() + batch.rows as u64 * 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_is_named() {
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
