//! The laws of a mapping, tried on fixtures.
//!
//! Owns what must hold of every plugin whatever its fixtures say: the same batch twice gives the same
//! bytes; cutting groups into other batches changes nothing; compared fields do not depend on `as-of`;
//! accumulators merge associatively and commutatively. Refuses to compare with golden files. Invariant: a law that does not hold is told with the case and
//! the field in which it does not.

use super::AuthorError;
use super::fixtures::Case;
use super::report::{Problem, ProblemKind, lawless};
use super::trial::{Given, Runner};
use crate::model::{Batch, Buffer, Moment, Scope, Side, Violation};
use crate::plugin::wasm::{Trial, Tried};
use crate::plugin::{Output, Tallied, Tally};

const TWICE: &str = "the same batch twice gives the same bytes";
const CUTTING: &str = "cutting groups into other batches changes nothing";
const MERGING: &str = "accumulators merge associatively and commutatively";
const AS_OF: &str = "compared fields do not depend on as-of";

/// Into batches of how many groups the cases are cut.
const CUTS: [usize; 3] = [1, 2, 3];
const DAY_MICROS: i64 = 86_400_000_000;
/// How much later than the fixtures say it is tried, and in words.
const LATER: [(i64, &str); 3] = [
    (1_000_000, "a second later"),
    (DAY_MICROS, "a day later"),
    (400 * DAY_MICROS, "400 days later"),
];

/// Cases of rows, and what they gave in one call on a fresh instance.
pub(super) struct Whole<'a> {
    pub(super) runner: &'a Runner<'a>,
    pub(super) side: Side,
    pub(super) cases: &'a [&'a Case],
    pub(super) rows: &'a Batch,
    pub(super) tried: &'a Tried,
    pub(super) given: &'a [Given],
}

impl Whole<'_> {
    /// Every law of rows that does not hold.
    pub(super) fn laws(&self) -> Result<Vec<Problem>, AuthorError> {
        let mut problems = self.twice()?;
        problems.extend(self.cut()?);
        problems.extend(self.later()?);
        Ok(problems)
    }

    fn twice(&self) -> Result<Vec<Problem>, AuthorError> {
        let as_of = self.runner.schema.as_of;
        let mut same = self.runner.trial(as_of);
        let first = self.runner.map(&mut same, self.side, self.rows)?;
        let second = self.runner.map(&mut same, self.side, self.rows)?;
        let mut problems = self.bytes(&first, ("first", "on another fresh instance"));
        if problems.is_empty() {
            problems = self.bytes(&second, ("first", "again on the same instance"));
        }
        Ok(problems)
    }

    /// Compares what another call over all cases gave, byte for byte.
    fn bytes(&self, other: &Tried, (this, that): (&str, &str)) -> Vec<Problem> {
        if is_same(self.tried, other) {
            return Vec::new();
        }
        let given = self.runner.taken_apart(self.cases.len(), other);
        let problems =
            self.differences(TWICE, self.cases.iter().zip(&given).enumerate(), (this, that));
        if !problems.is_empty() {
            return problems;
        }
        // Nothing that is shown differs: what lies under a null, or the order of entities.
        vec![Problem {
            kind: ProblemKind::Law(TWICE),
            case: None,
            path: String::new(),
            words: format!("the bytes {that} are others, although every cell is the same"),
        }]
    }

    fn cut(&self) -> Result<Vec<Problem>, AuthorError> {
        let as_of = self.runner.schema.as_of;
        let count = self.cases.len();
        for cut in CUTS.into_iter().filter(|cut| *cut < count) {
            let mut trial = self.runner.trial(as_of);
            let mut given = Vec::new();
            for first in (0..count).step_by(cut) {
                let part: Vec<usize> = (first..count.min(first + cut)).collect();
                let tried = self.runner.map(&mut trial, self.side, &self.rows.take(&part))?;
                given.extend(self.runner.taken_apart(part.len(), &tried));
            }
            let that = format!("in batches of {cut}");
            let given = self.cases.iter().zip(&given).enumerate();
            let problems = self.differences(CUTTING, given, ("all at once", &that));
            if !problems.is_empty() {
                return Ok(problems);
            }
        }
        let backwards: Vec<usize> = (0..count).rev().collect();
        let rows = self.rows.take(&backwards);
        let tried = self.runner.map(&mut self.runner.trial(as_of), self.side, &rows)?;
        let mut given = self.runner.taken_apart(count, &tried);
        given.reverse();
        let given = self.cases.iter().zip(&given).enumerate();
        Ok(self.differences(CUTTING, given, ("in order", "in reverse order")))
    }

    fn later(&self) -> Result<Vec<Problem>, AuthorError> {
        let as_of = self.runner.schema.as_of;
        for (micros, when) in LATER {
            let mut trial = self.runner.trial(Moment(as_of.0.saturating_add(micros)));
            let tried = self.runner.map(&mut trial, self.side, self.rows)?;
            let later = self.runner.taken_apart(self.cases.len(), &tried);
            let mut problems = Vec::new();
            for ((case, now), later) in self.cases.iter().zip(self.given).zip(&later) {
                let (one, two) = (digested(now), digested(later));
                problems.extend(lawless(AS_OF, case, (&one, "as of the fixtures"), (&two, when)));
            }
            if !problems.is_empty() {
                return Ok(problems);
            }
        }
        Ok(Vec::new())
    }

    fn differences<'g>(
        &self,
        law: &'static str,
        others: impl Iterator<Item = (usize, (&'g &'g Case, &'g Given))>,
        (this, that): (&str, &str),
    ) -> Vec<Problem> {
        let told = |(at, (case, other)): (usize, (&&Case, &Given))| {
            let (one, two) = (self.given[at].line(case), other.line(case));
            lawless(law, case, (&one, this), (&two, that))
        };
        others.flat_map(told).collect()
    }
}

/// The keys and compared fields of a case, as a golden line has them.
fn digested(given: &Given) -> String {
    let entity = |fields: &Vec<(String, Option<serde_json::Value>)>| {
        let fields = fields.iter().filter_map(|(name, cell)| Some((name.clone(), cell.clone()?)));
        serde_json::json!({ "fields": fields.collect::<serde_json::Map<_, _>>() })
    };
    let entities: Vec<_> = given.digested.iter().map(entity).collect();
    serde_json::json!({ "entities": entities }).to_string()
}

/// Whether two calls gave the same bytes.
fn is_same(one: &Tried, two: &Tried) -> bool {
    let (this, that) = (&one.mapped, &two.mapped);
    one.notes == two.notes
        && this.rejected == that.rejected
        && this.outputs.len() == that.outputs.len()
        && this.outputs.iter().zip(&that.outputs).all(|(this, that)| is_same_output(this, that))
}

fn is_same_output(this: &Output, that: &Output) -> bool {
    let (entities, others) = (&this.entities, &that.entities);
    this.entity == that.entity
        && this.from_group == that.from_group
        && this.standing == that.standing
        && entities.rows == others.rows
        && entities.columns.len() == others.columns.len()
        && entities.columns.iter().zip(&others.columns).all(|(this, that)| {
            this.validity == that.validity
                && match (&this.values, &that.values) {
                    // A float that is no number is not even itself.
                    (Buffer::Float64(this), Buffer::Float64(that)) => this
                        .iter()
                        .map(|one| one.to_bits())
                        .eq(that.iter().map(|two| two.to_bits())),
                    (this, that) => this == that,
                }
        })
}

/// Every law of pairs that does not hold, for `lines` that all cases gave in one call.
pub(super) fn of_pairs(
    runner: &Runner<'_>,
    cases: &[&Case],
    lines: &[String],
) -> Result<Vec<Problem>, AuthorError> {
    let as_of = runner.schema.as_of;
    let told = |law, others: &[String], words: (&str, &str)| -> Vec<Problem> {
        let both = cases.iter().zip(lines).zip(others);
        both.flat_map(|((case, one), two)| lawless(law, case, (one, words.0), (two, words.1)))
            .collect()
    };
    let pairs = runner.pairs(cases)?;
    let mut trial = runner.trial(as_of);
    for that in ["on another fresh instance", "again on the same instance"] {
        let violations = runner.check(&mut trial, &pairs)?;
        let problems = told(TWICE, &runner.pair_lines(cases, &violations), ("first", that));
        if !problems.is_empty() {
            return Ok(problems);
        }
    }
    for cut in CUTS.into_iter().filter(|cut| *cut < cases.len()) {
        let mut trial = runner.trial(as_of);
        let mut others = Vec::new();
        for part in cases.chunks(cut) {
            let violations = runner.check(&mut trial, &runner.pairs(part)?)?;
            others.extend(runner.pair_lines(part, &violations));
        }
        let that = format!("in batches of {cut}");
        let problems = told(CUTTING, &others, ("all at once", &that));
        if !problems.is_empty() {
            return Ok(problems);
        }
    }
    Ok(Vec::new())
}

/// What rules over all cases say, and the laws of their accumulators that do not hold.
pub(super) fn of_partition(
    runner: &Runner<'_>,
    cases: &[&Case],
) -> Result<(Vec<Violation>, Vec<Problem>), AuthorError> {
    let whole = runner.pairs(cases)?;
    let alone = cases.iter().map(|case| runner.pairs(std::slice::from_ref(case)));
    let alone = alone.collect::<Result<Vec<_>, _>>()?;
    let (mut said, mut problems) = (Vec::new(), Vec::new());
    let mut trial = runner.trial(runner.schema.as_of);
    let declared = runner.attached.mapper.invariants().iter().enumerate();
    for (at, declared) in declared.filter(|(_, declared)| declared.scope == Scope::Partition) {
        let pushed = runner.tally(&mut trial, at, &Tally::Pairs(&whole.pairs()))?;
        let mut states = Vec::new();
        for one in &alone {
            states.push(runner.tally(&mut trial, at, &Tally::Pairs(&one.pairs()))?.state);
        }
        for (how, merged) in merged(runner, &mut trial, at, &states)? {
            if merged.violations != pushed.violations {
                let words = |all: &[Violation]| {
                    let all: Vec<_> = all.iter().map(|one| one.message.as_str()).collect();
                    if all.is_empty() { "nothing".to_owned() } else { all.join("; ") }
                };
                problems.push(Problem {
                    kind: ProblemKind::Law(MERGING),
                    case: None,
                    path: String::new(),
                    words: format!(
                        "invariant `{}`: one accumulator of all pairs says {}, those of single \
                         pairs, merged {how}, {}",
                        declared.id,
                        words(&pushed.violations),
                        words(&merged.violations)
                    ),
                });
            }
        }
        said.extend(pushed.violations);
    }
    Ok((said, problems))
}

/// Accumulators of single pairs, merged in several ways.
fn merged(
    runner: &Runner<'_>,
    trial: &mut Trial,
    invariant: usize,
    states: &[Vec<u8>],
) -> Result<Vec<(&'static str, Tallied)>, AuthorError> {
    let mut merge = |states: &[Vec<u8>]| runner.tally(trial, invariant, &Tally::States(states));
    let backwards: Vec<Vec<u8>> = states.iter().rev().cloned().collect();
    let (left, right) = states.split_at(states.len() / 2);
    let halves = [merge(left)?.state, merge(right)?.state];
    Ok(vec![
        ("from the first to the last", merge(states)?),
        ("from the last to the first", merge(&backwards)?),
        ("by halves", merge(&halves)?),
    ])
}
