//! Cases of pairs.
//!
//! Owns turning cases into pairs of each entity type, calls over them, and what rules said of each
//! case, and of all. Refuses to judge. Invariant: a violation is told of the case that it is about.

use serde_json::{Value as Json, json};

use super::AuthorError;
use super::fixtures::Case;
use super::trial::Runner;
use crate::model::{Batch, Violation};
use crate::plugin::wasm::Trial;
use crate::plugin::{PairViolation, Pairs, Tallied, Tally};

/// Entities of one type of both sides, and which are there.
#[derive(Debug)]
pub(super) struct PairBatch {
    pub(super) entity: usize,
    /// Of each pair which of the cases it is.
    cases: Vec<usize>,
    source: Batch,
    source_present: Vec<bool>,
    target: Batch,
    target_present: Vec<bool>,
}

impl PairBatch {
    pub(super) fn pairs(&self) -> Pairs<'_> {
        Pairs {
            entity: self.entity,
            source: &self.source,
            source_present: &self.source_present,
            target: &self.target,
            target_present: &self.target_present,
        }
    }
}

impl Runner<'_> {
    /// The entity type of a case of pairs.
    pub(super) fn type_of(&self, case: &Case) -> Result<usize, AuthorError> {
        if case.json.get("entity").is_none() {
            return Ok(0);
        }
        let names = self.plan().entities.iter().map(|entity| entity.name.as_str());
        self.named(case, ("entity", "entity type"), names)
    }

    /// The entities of cases, by their types in the order of the plan.
    pub(super) fn pairs(&self, cases: &[&Case]) -> Result<Vec<PairBatch>, AuthorError> {
        let mut by_type: Vec<Vec<usize>> = vec![Vec::new(); self.plan().entities.len()];
        for (at, case) in cases.iter().enumerate() {
            by_type[self.type_of(case)?].push(at);
            if let Some(side) = ["source", "target"]
                .into_iter()
                .find(|side| !matches!(&case.json[*side], Json::Object(_) | Json::Null))
            {
                return Err(self.wrong(
                    case,
                    format!("`{side}` is neither an entity's fields nor null"),
                    "write {\"id\": 7, ..}, or null for a side that does not have the entity",
                ));
            }
        }
        let types = by_type.into_iter().enumerate().filter(|(_, here)| !here.is_empty());
        types.map(|(entity, here)| self.pairs_of(entity, here, cases)).collect()
    }

    fn pairs_of(
        &self,
        entity: usize,
        here: Vec<usize>,
        cases: &[&Case],
    ) -> Result<PairBatch, AuthorError> {
        let fields = &self.plan().entities[entity].fields;
        let of: Vec<&Case> = here.iter().map(|at| cases[*at]).collect();
        let side = |side: &str| -> Result<(Batch, Vec<bool>), AuthorError> {
            let items: Vec<_> = of.iter().map(|case| case.json.get(side)).collect();
            let present = of.iter().map(|case| case.json[side].is_object()).collect();
            Ok((self.entities(fields, &items, &of)?, present))
        };
        let ((source, source_present), (target, target_present)) =
            (side("source")?, side("target")?);
        Ok(PairBatch { entity, cases: here, source, source_present, target, target_present })
    }

    /// Checks pairs in a call for each entity type; a violation's pair is the position of its case.
    pub(super) fn check(
        &self,
        trial: &mut Trial,
        pairs: &[PairBatch],
    ) -> Result<Vec<PairViolation>, AuthorError> {
        let mut all = Vec::new();
        for batch in pairs {
            let name = &self.plan().entities[batch.entity].name;
            let place = || format!("{}, its pairs of `{name}` in one call", self.file.display());
            let violations = trial.check_pairs(&batch.pairs());
            let violations = violations.map_err(|error| AuthorError::call(&error, place()))?;
            let of_case = |told: PairViolation| PairViolation {
                pair: batch.cases[told.pair],
                violation: told.violation,
            };
            all.extend(violations.into_iter().map(of_case));
        }
        Ok(all)
    }

    /// Pushes pairs of every entity type into an accumulator.
    pub(super) fn push(
        &self,
        trial: &mut Trial,
        invariant: usize,
        pairs: &[PairBatch],
    ) -> Result<Tallied, AuthorError> {
        let pairs: Vec<Pairs<'_>> = pairs.iter().map(PairBatch::pairs).collect();
        self.tally(trial, invariant, &Tally::Pairs(&pairs))
    }

    /// Feeds an accumulator.
    pub(super) fn tally(
        &self,
        trial: &mut Trial,
        invariant: usize,
        tally: &Tally<'_>,
    ) -> Result<Tallied, AuthorError> {
        let place = || {
            let id = &self.attached.mapper.invariants()[invariant].id;
            format!("{}, invariant `{id}`", self.file.display())
        };
        trial.tally(invariant, tally).map_err(|error| AuthorError::call(&error, place()))
    }

    /// A violation as golden files have it.
    fn told(&self, violation: &Violation) -> String {
        let id = &self.attached.mapper.invariants()[violation.invariant].id;
        let message = json!(violation.message);
        format!(r#"{{"invariant": {}, "message": {message}}}"#, json!(id))
    }

    /// The golden line of what rules over all cases say; none where they say nothing.
    pub(super) fn partition_line(&self, said: &[Violation]) -> Option<String> {
        let said: Vec<String> = said.iter().map(|violation| self.told(violation)).collect();
        (!said.is_empty()).then(|| format!(r#"{{"partition": [{}]}}"#, said.join(", ")))
    }

    /// The golden lines of cases of pairs.
    pub(super) fn pair_lines(&self, cases: &[&Case], violations: &[PairViolation]) -> Vec<String> {
        let line = |(at, case): (usize, &&Case)| {
            let here = violations.iter().filter(|violation| violation.pair == at);
            let told = here.map(|PairViolation { violation, .. }| self.told(violation));
            let told = told.collect::<Vec<_>>().join(", ");
            format!(r#"{{"case": {}, "violations": [{told}]}}"#, json!(case.name))
        };
        cases.iter().enumerate().map(line).collect()
    }
}
