//! A plugin in use.
//!
//! Owns the [`Mapper`] of a bound plugin and the sessions of checks. Refuses to reuse a guest after a
//! fault, or between checks. Invariant: what a session returns was checked against the plan.

use std::fmt;
use std::sync::Arc;

use super::lift;
use super::locating;
use super::machine::{Guest, Machine};
use super::planning::Proposal;
use super::selftest;
use super::trial::{Cost, Tallied, Tally};
use super::v0_1::{Context, Contract, Instance, RawMapped, RawNote, RawOutput, RawViolation};
use crate::model::{
    Batch, FieldDef, InvariantDef, MappingIdentity, MappingPlan, Moment, RelationSchema, Side,
    Violation,
};
use crate::plugin::{
    Limits, Located, Locators, Mapped, Mapper, PairViolation, Pairs, PluginError, PluginErrorKind,
    Session,
};

/// A guest and all that it takes to start it.
pub(super) struct Program {
    pub(super) machine: Arc<Machine>,
    pub(super) contract: Arc<Contract>,
    pub(super) plugin: String,
    /// BLAKE3 of the file, in hexadecimal.
    pub(super) digest: String,
    pub(super) config: String,
    pub(super) limits: Limits,
}

impl Program {
    /// A fresh guest that may write `log_bytes` of messages.
    pub(super) fn start(&self, log_bytes: usize) -> Result<Instance, PluginErrorKind> {
        let guest = Guest::new(&self.plugin, &self.limits, log_bytes);
        self.contract.start(&self.machine, guest, self.limits)
    }

    pub(super) fn error(&self, function: &'static str, kind: PluginErrorKind) -> PluginError {
        let digest = self.digest[..12].to_owned();
        PluginError::new(self.plugin.clone(), digest, function, kind)
    }
}

/// A plugin that is bound to a pairing.
pub(super) struct Bound {
    pub(super) program: Arc<Program>,
    pub(super) pairing: String,
    pub(super) source: RelationSchema,
    pub(super) target: RelationSchema,
    pub(super) proposal: Proposal,
    pub(super) plan: MappingPlan,
    pub(super) invariants: Vec<InvariantDef>,
    /// Where key templates say that entities are.
    pub(super) locators: Locators,
    /// Where the plugin says it.
    pub(super) located: locating::Sides,
    pub(super) identity: MappingIdentity,
}

/// A plugin as a mapping.
#[derive(Clone)]
pub(super) struct WasmMapper(pub(super) Arc<Bound>);

impl fmt::Debug for WasmMapper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmMapper")
            .field("plugin", &self.0.program.plugin)
            .field("digest", &self.0.program.digest)
            .field("pairing", &self.0.pairing)
            .finish_non_exhaustive()
    }
}

impl Mapper for WasmMapper {
    fn identity(&self) -> MappingIdentity {
        self.0.identity
    }

    fn plan(&self) -> &MappingPlan {
        &self.0.plan
    }

    fn invariants(&self) -> &[InvariantDef] {
        &self.0.invariants
    }

    fn locates(&self, side: Side) -> bool {
        self.0.locators.of(side).is_some() || self.0.located.of(side)
    }

    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(self.session(as_of)))
    }

    fn prove(&self, side: Side, rows: &Batch, as_of: Moment) -> Result<(), PluginError> {
        selftest::prove(self, side, rows, as_of)
    }
}

impl WasmMapper {
    pub(super) fn session(&self, as_of: Moment) -> WasmSession {
        WasmSession {
            bound: Arc::clone(&self.0),
            as_of,
            instance: None,
            log_left: self.0.program.limits.log,
        }
    }
}

pub(super) struct WasmSession {
    bound: Arc<Bound>,
    as_of: Moment,
    /// None before the first call and after a fault.
    instance: Option<Instance>,
    log_left: usize,
}

impl Session for WasmSession {
    fn map(&mut self, side: Side, rows: &Batch) -> Result<Mapped, PluginError> {
        self.map_noting(side, rows).map(|(mapped, _notes)| mapped)
    }

    fn locate(&mut self, side: Side, entities: &Batch) -> Result<Located, PluginError> {
        let bound = Arc::clone(&self.bound);
        if bound.locators.of(side).is_some() || !bound.located.of(side) {
            let located = bound.locators.locate(side, entities);
            return located.map_err(|kind| bound.program.error("locate", kind));
        }
        if entities.rows == 0 {
            // There may not even be columns.
            return Ok(Located::default());
        }
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let schema = match side {
            Side::Source => &bound.source,
            Side::Target => &bound.target,
        };
        self.call("locate", |instance| {
            let raw = instance.locate(context, side, entities)?.unwrap_or_default();
            locating::located(raw, entities.rows, &locating::key_fields(schema))
                .map_err(PluginErrorKind::Malformed)
        })
    }

    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        if self.bound.invariants.is_empty() {
            return Ok(Vec::new());
        }
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let rows = pairs.source.rows;
        self.call("check-pairs", |instance| {
            let violations = instance.check_pairs(context, pairs)?;
            checked_violations(violations, rows, bound.invariants.len())
                .map_err(PluginErrorKind::Malformed)
        })
    }
}

impl WasmSession {
    /// Maps rows, and hands over notes of every kind as the plugin made them.
    pub(super) fn map_noting(
        &mut self,
        side: Side,
        rows: &Batch,
    ) -> Result<(Mapped, Vec<RawNote>), PluginError> {
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        self.call("map-batch", |instance| {
            let RawMapped { output, notes } = instance.map_batch(context, side, rows)?;
            let mapped = checked(output, &notes, rows.rows, &bound.plan.entities[0].fields)
                .map_err(PluginErrorKind::Malformed)?;
            Ok((mapped, notes))
        })
    }

    /// Feeds a fresh accumulator of an invariant.
    pub(super) fn tally(
        &mut self,
        invariant: usize,
        tally: &Tally<'_>,
    ) -> Result<Tallied, PluginError> {
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        // As many as were declared, which is checked to be few.
        let number = u32::try_from(invariant).unwrap_or(u32::MAX);
        self.call("accumulator", |instance| {
            let (state, said) = instance.tally(context, number, tally)?;
            let known = bound.invariants.len();
            if let Some(odd) = said.iter().find(|said| said.invariant as usize >= known) {
                let what =
                    format!("a violation of invariant {}, which does not exist", odd.invariant);
                return Err(PluginErrorKind::Malformed(what));
            }
            let violation = |said: RawViolation| Violation {
                invariant: said.invariant as usize,
                message: said.message,
            };
            Ok(Tallied { state, violations: said.into_iter().map(violation).collect() })
        })
    }

    /// What the last call took, if it succeeded.
    pub(super) fn cost(&self) -> Option<Cost> {
        self.instance.as_ref().map(Instance::cost)
    }

    fn call<R>(
        &mut self,
        function: &'static str,
        call: impl FnOnce(&mut Instance) -> Result<R, PluginErrorKind>,
    ) -> Result<R, PluginError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.start()?,
        };
        let result = call(&mut instance);
        self.log_left = instance.log_left();
        match result {
            Ok(result) => {
                self.instance = Some(instance);
                Ok(result)
            }
            // The instance is dropped: after a trap it could not be entered again, and what is left
            // in one that returned nonsense nobody knows.
            Err(kind) => Err(self.fault(function, kind)),
        }
    }

    fn start(&mut self) -> Result<Instance, PluginError> {
        let bound = Arc::clone(&self.bound);
        let started = bound.program.start(self.log_left);
        let mut instance = started.map_err(|kind| self.fault("instantiate", kind))?;
        match instance.init(&bound.program.config) {
            Ok(Ok(())) => {}
            Ok(Err(_issues)) => {
                let what = "it refuses the configuration that it accepted at start".to_owned();
                return Err(self.fault("init", PluginErrorKind::Malformed(what)));
            }
            Err(kind) => return Err(self.fault("init", kind)),
        }
        match instance.plan(&bound.pairing, &bound.source, &bound.target) {
            Ok(Ok(proposal)) if proposal == bound.proposal => Ok(instance),
            Ok(_) => {
                let what = "its plan is not the one that it made at start".to_owned();
                Err(self.fault("plan", PluginErrorKind::Malformed(what)))
            }
            Err(kind) => Err(self.fault("plan", kind)),
        }
    }

    fn fault(&self, function: &'static str, kind: PluginErrorKind) -> PluginError {
        self.bound.program.error(function, kind)
    }
}

/// What a batch gave, if it is what the contract allows.
fn checked(
    output: Option<RawOutput>,
    notes: &[RawNote],
    rows: usize,
    fields: &[FieldDef],
) -> Result<Mapped, String> {
    // Other kinds deserve a word at most, and a word may hold values.
    let rejecting = notes.iter().filter(|note| note.kind == "reject");
    let mut rejected: Vec<_> = rejecting.map(|note| (note.row, note.message.clone())).collect();
    // Stable: the first reason stays.
    rejected.sort_by_key(|(row, _)| *row);
    rejected.dedup_by_key(|(row, _)| *row);
    let Some(RawOutput { items, from_group, standing }) = output else {
        return Ok(Mapped { rejected, ..Mapped::default() });
    };
    if from_group.len() != items.rows || standing.len() != items.rows {
        return Err(format!(
            "{} groups and {} standings for {} entities",
            from_group.len(),
            standing.len(),
            items.rows
        ));
    }
    if let Some(at) = from_group.windows(2).position(|pair| pair[0] >= pair[1]) {
        return Err(format!("from-group does not ascend at entity {}", at + 1));
    }
    if from_group.last().is_some_and(|last| *last as usize >= rows) {
        return Err(format!("from-group names a group beyond the {rows} of this call"));
    }
    let unmappable = lift::check(&items, fields)?;
    let from_row: Vec<usize> = from_group.into_iter().map(|group| group as usize).collect();
    if let Some((row, _)) = rejected.iter().find(|(row, _)| from_row.binary_search(row).is_ok()) {
        return Err(format!("row {row} is both mapped and rejected"));
    }
    let mapped = Mapped { entities: items, from_row, standing, rejected };
    Ok(if unmappable.is_empty() { mapped } else { without(mapped, unmappable) })
}

/// `mapped` without the entities that hold what no canonical value can; their rows are rejected.
fn without(mapped: Mapped, unmappable: lift::Unmappable) -> Mapped {
    let Mapped { entities, from_row, standing, mut rejected } = mapped;
    let mut out = unmappable.iter().map(|(entity, _)| *entity).peekable();
    let kept: Vec<usize> =
        (0..entities.rows).filter(|entity| out.next_if_eq(entity).is_none()).collect();
    rejected.extend(unmappable.into_iter().map(|(entity, why)| (from_row[entity], why)));
    rejected.sort_by_key(|(row, _)| *row);
    Mapped {
        entities: entities.take(&kept),
        from_row: kept.iter().map(|entity| from_row[*entity]).collect(),
        standing: kept.iter().map(|entity| standing[*entity]).collect(),
        rejected,
    }
}

fn checked_violations(
    violations: Vec<RawViolation>,
    pairs: usize,
    invariants: usize,
) -> Result<Vec<PairViolation>, String> {
    if violations.len() > pairs.saturating_mul(invariants) {
        return Err(format!(
            "{} violations of {invariants} invariants by {pairs} pairs",
            violations.len()
        ));
    }
    let violation = |(index, violation): (usize, RawViolation)| {
        let invariant = violation.invariant as usize;
        if invariant >= invariants {
            return Err(format!(
                "violation {index} is of invariant {invariant}, which does not exist"
            ));
        }
        match violation.pair.map(|pair| pair as usize) {
            Some(pair) if pair < pairs => Ok(PairViolation {
                pair,
                violation: Violation { invariant, message: violation.message },
            }),
            Some(pair) => Err(format!("violation {index} is of pair {pair}, which does not exist")),
            None => Err(format!("violation {index} names no pair")),
        }
    };
    violations.into_iter().enumerate().map(violation).collect()
}
