//! The laws of a mapping, tried on fixtures.
//!
//! Owns what must hold of every plugin whatever its fixtures say: the same batch twice gives the same
//! bytes; cutting groups into other batches changes nothing; compared fields do not depend on `as-of`;
//! accumulators merge associatively and commutatively. Refuses to compare with golden files. Invariant:
//! a law that does not hold is told with the case and the field in which it does not.

use super::AuthorError;
use super::fixtures::Case;
use super::report::{Problem, ProblemKind, lawless};
use super::rows::Given;
use super::trial::Runner;
use crate::model::{Moment, Scope, Side, Violation};
use crate::plugin::laws::{self, CUTTING, TWICE, Way};
use crate::plugin::wasm::{Trial, Tried};
use crate::plugin::{Rows, Tallied, Tally};

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
    pub(super) rows: &'a Rows<'a>,
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
        let mut same = self.runner.trial(self.runner.schema.as_of);
        for (_, told) in Way::Twice.calls(self.cases.len()) {
            let other = self.runner.map(&mut same, self.side, self.rows)?;
            let problems = self.bytes(&other, ("first", &told));
            if !problems.is_empty() {
                return Ok(problems);
            }
        }
        Ok(Vec::new())
    }

    /// Compares what another call over all cases gave, byte for byte.
    fn bytes(&self, other: &Tried, (this, that): (&str, &str)) -> Vec<Problem> {
        if is_same(self.tried, other) {
            return Vec::new();
        }
        let given = self.runner.taken_apart(self.side, self.rows, other);
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
        let count = self.cases.len();
        let cuts = CUTS.into_iter().filter(|cut| *cut < count).map(Way::InBatchesOf);
        for way in cuts.chain([Way::Backwards]) {
            let this = if way == Way::Backwards { "in order" } else { "all at once" };
            let mut trial = self.runner.trial(self.runner.schema.as_of);
            let mut problems = Vec::new();
            for (part, that) in way.calls(count) {
                let rows = self.rows.take(&part);
                let tried = self.runner.map(&mut trial, self.side, &rows)?;
                let given = self.runner.taken_apart(self.side, &rows, &tried);
                let cases = part.iter().map(|at| &self.cases[*at]);
                let mut given: Vec<_> = part.iter().copied().zip(cases.zip(&given)).collect();
                given.sort_by_key(|(at, _)| *at);
                let given = given.into_iter();
                problems.extend(self.differences(way.law(), given, (this, &that)));
            }
            if !problems.is_empty() {
                return Ok(problems);
            }
        }
        Ok(Vec::new())
    }

    fn later(&self) -> Result<Vec<Problem>, AuthorError> {
        let as_of = self.runner.schema.as_of;
        for (micros, when) in LATER {
            let mut trial = self.runner.trial(Moment(as_of.0.saturating_add(micros)));
            let tried = self.runner.map(&mut trial, self.side, self.rows)?;
            let later = self.runner.taken_apart(self.side, self.rows, &tried);
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

/// Whether two calls gave the same bytes, and notes.
fn is_same(one: &Tried, two: &Tried) -> bool {
    one.notes == two.notes && laws::are_same_bytes(&one.mapped, &two.mapped)
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

/// Every law of locating that does not hold, for `lines` that the cases gave one after the other.
pub(super) fn of_places(
    runner: &Runner<'_>,
    cases: &[&Case],
    lines: &[String],
) -> Result<Vec<Problem>, AuthorError> {
    let mut trial = runner.trial(runner.schema.as_of);
    let backwards = runner.place_lines(&mut trial, cases.iter().rev().copied())?;
    let both = cases.iter().zip(lines.iter().zip(backwards.iter().rev()));
    let that = "in reverse order on another fresh instance";
    Ok(both
        .flat_map(|(case, (one, two))| lawless(TWICE, case, (one, "first"), (two, that)))
        .collect())
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
        let pushed = runner.push(&mut trial, at, &whole)?;
        let mut states = Vec::new();
        for one in &alone {
            states.push(runner.push(&mut trial, at, one)?.state);
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
