//! A plugin in use.
//!
//! Owns the [`Mapper`] of a bound plugin and the sessions of checks. Refuses to reuse a guest after a
//! fault, or between checks. Invariant: what a session returns was checked against the plan.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::contract::{
    Context, Contract, Instance, RawLocated, RawMapped, RawNote, RawOutput, RawViolation,
};
use super::footprint::Footprint;
use super::lift;
use super::locating;
use super::machine::{Guest, Machine, Patience};
use super::planning::Proposal;
use super::pool::Slot;
use super::selftest;
use super::sources::Sources;
use super::trial::Cost;
use crate::model::{
    Batch, EntityDef, FieldDef, InvariantDef, MappingIdentity, MappingPlan, Moment, RelationSchema,
    Scope, Side, SidePlan, Violation,
};
use crate::plugin::{
    Limits, Located, Locators, Mapped, Mapper, Output, PairViolation, Pairs, PluginError,
    PluginErrorKind, Rows, Session, Tallied, Tally,
};

/// Entities of a call for each of its rows, on average: more come of no row that a store can hold
/// and a check can compare.
const ENTITIES_MAX: usize = 1_000;
/// Violations of a pair that are told, the gravest first; and of a partition by one invariant.
const VIOLATIONS_MAX: usize = 16;

/// A guest and all that it takes to start it.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) machine: Arc<Machine>,
    pub(super) contract: Arc<dyn Contract>,
    /// What an instance takes before it runs.
    pub(super) footprint: Footprint,
    /// Which places of its source it may name.
    pub(super) sources: Arc<Sources>,
    /// The version of the contract.
    pub(super) version: &'static str,
    /// What it exports beyond that version.
    pub(super) left_alone: Vec<String>,
    pub(super) plugin: String,
    /// BLAKE3 of the file, in hexadecimal.
    pub(super) digest: String,
    pub(super) config: String,
    pub(super) limits: Limits,
}

impl Program {
    /// A fresh guest that may write `log_bytes` of messages.
    pub(super) fn start(&self, log_bytes: usize) -> Result<Box<dyn Instance>, PluginErrorKind> {
        let Self { plugin, sources, limits, machine, .. } = self;
        let mut guest = Guest::new(plugin, sources, limits, machine, log_bytes);
        guest.take(self.footprint)?;
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
    pub(super) source: Vec<RelationSchema>,
    pub(super) target: Vec<RelationSchema>,
    pub(super) proposal: Proposal,
    pub(super) plan: MappingPlan,
    pub(super) invariants: Vec<InvariantDef>,
    /// Where key templates say that entities are.
    pub(super) locators: Locators,
    /// Where the plugin says it.
    pub(super) located: locating::Sides,
    /// Whether it says whose rows lie at store keys.
    pub(super) identifies: bool,
    pub(super) identity: MappingIdentity,
}

impl Bound {
    const fn schemas(&self, side: Side) -> &Vec<RelationSchema> {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }

    const fn side_plan(&self, side: Side) -> &SidePlan {
        match side {
            Side::Source => &self.plan.source,
            Side::Target => &self.plan.target,
        }
    }

    /// Of each relation of the side's plan its position among the schemas.
    fn relations(&self, side: Side) -> Vec<u32> {
        // As many as there are schemas, which is checked to be few.
        let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        self.side_plan(side).relations.iter().map(|plan| number(plan.relation)).collect()
    }
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

    fn identifies(&self) -> bool {
        self.0.identifies
    }

    fn begin(&self, as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(self.session(as_of)))
    }

    fn prove(&self, side: Side, rows: &Rows<'_>, as_of: Moment) -> Result<(), PluginError> {
        selftest::prove(self, side, rows, as_of)
    }
}

impl WasmMapper {
    pub(super) fn session(&self, as_of: Moment) -> WasmSession {
        WasmSession {
            bound: Arc::clone(&self.0),
            as_of,
            idle: Slot::new(),
            cost: None,
            patience: Patience::new(&self.0.program.machine, &self.0.program.limits),
            log_left: self.0.program.limits.log,
        }
    }
}

pub(super) struct WasmSession {
    bound: Arc<Bound>,
    as_of: Moment,
    /// Where the guest is between two calls: none before the first, after a fault, and when others
    /// needed its memory.
    idle: Arc<Slot<Box<dyn Instance>>>,
    /// What the last call took, if it succeeded.
    cost: Option<Cost>,
    patience: Patience,
    log_left: usize,
}

impl Session for WasmSession {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        self.map_noting(side, rows).map(|(mapped, _notes)| mapped)
    }

    fn locate(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        let bound = &self.bound;
        if bound.locators.of(side).is_some() || !bound.located.of(side) {
            let located = bound.locators.locate(side, entities);
            return located.map_err(|kind| bound.program.error("locate", kind));
        }
        if entities.rows == 0 {
            // There may not even be columns.
            return Ok(Vec::new());
        }
        self.locate_telling(side, entity, entities, |relations, raw| {
            relations.located(raw, entities.rows)
        })
    }

    fn keys_of(
        &mut self,
        side: Side,
        relation: usize,
        keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        let bound = Arc::clone(&self.bound);
        if !bound.identifies || keys.rows == 0 {
            return Ok(Vec::new());
        }
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let number = bound.relations(side)[relation];
        self.call(("keys-of", keys.rows), |instance| {
            let raw = instance.keys_of(context, side, number, keys)?;
            let all: usize = raw.iter().map(|raw| raw.items.rows).sum();
            if all > keys.rows.saturating_mul(ENTITIES_MAX) {
                let what = format!(
                    "{all} entities of {} keys; at most {ENTITIES_MAX} for each",
                    keys.rows
                );
                return Err(PluginErrorKind::Malformed(what));
            }
            let known = raw.into_iter().map(|raw| identified(raw, keys.rows, &bound.plan.entities));
            known.collect::<Result<_, _>>().map_err(PluginErrorKind::Malformed)
        })
    }

    fn check_pairs(&mut self, pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        if self.bound.invariants.iter().all(|invariant| invariant.scope != Scope::Pair) {
            return Ok(Vec::new());
        }
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let rows = pairs.source.rows;
        self.call(("check-pairs", rows), |instance| {
            let violations = instance.check_pairs(context, pairs)?;
            checked_violations(violations, rows, &bound.invariants)
                .map_err(PluginErrorKind::Malformed)
        })
    }

    fn tally(&mut self, invariant: usize, tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let rows = match tally {
            Tally::Pairs(all) => all.iter().map(|pairs| pairs.source.rows).sum(),
            Tally::States(_) => 0,
        };
        // As many as were declared, which is checked to be few.
        let number = u32::try_from(invariant).unwrap_or(u32::MAX);
        if bound.invariants.get(invariant).is_none_or(|it| it.scope != Scope::Partition) {
            let what = format!("invariant {invariant} is not of a partition");
            return Err(bound.program.error("accumulator", PluginErrorKind::Malformed(what)));
        }
        self.call(("accumulator", rows), |instance| {
            let (state, said) = instance.tally(context, number, tally)?;
            if let Some(odd) = said.iter().find(|said| said.invariant != number) {
                let what = format!(
                    "the accumulator of invariant {number} tells a violation of invariant {}",
                    odd.invariant
                );
                return Err(PluginErrorKind::Malformed(what));
            }
            if said.iter().any(|said| said.pair.is_some()) {
                let what = format!("the accumulator of invariant {number} names a pair");
                return Err(PluginErrorKind::Malformed(what));
            }
            let violation = |said: RawViolation| Violation {
                invariant: said.invariant as usize,
                message: said.message,
            };
            let violations = said.into_iter().take(VIOLATIONS_MAX).map(violation).collect();
            Ok(Tallied { state, violations })
        })
    }
}

impl WasmSession {
    /// Maps rows, and hands over notes of every kind as the plugin made them.
    pub(super) fn map_noting(
        &mut self,
        side: Side,
        rows: &Rows<'_>,
    ) -> Result<(Mapped, Vec<RawNote>), PluginError> {
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let relations = bound.relations(side);
        self.call(("map-batch", rows.count()), |instance| {
            let RawMapped { outputs, notes } =
                instance.map_batch(context, side, rows, &relations)?;
            let mapped = checked(outputs, &notes, rows, &bound.plan.entities)
                .map_err(PluginErrorKind::Malformed)?;
            Ok((mapped, notes))
        })
    }

    /// Asks the plugin where the store of `side` keeps entities, and has `read` check what it tells.
    fn locate_telling<R>(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
        read: impl FnOnce(locating::Relations<'_>, Vec<RawLocated>) -> Result<R, String>,
    ) -> Result<R, PluginError> {
        let bound = Arc::clone(&self.bound);
        let context = Context { pairing: &bound.pairing, as_of: self.as_of };
        let relations = locating::Relations {
            schemas: bound.schemas(side),
            plans: &bound.side_plan(side).relations,
        };
        // As many as there are types, which is checked to be few.
        let number = u32::try_from(entity).unwrap_or(u32::MAX);
        self.call(("locate", entities.rows), |instance| {
            let raw = instance.locate(context, side, number, entities)?.unwrap_or_default();
            read(relations, raw).map_err(PluginErrorKind::Malformed)
        })
    }

    /// Where the plugin itself looks for entities, key by key as it told them.
    pub(super) fn locate_as_told(
        &mut self,
        side: Side,
        entity: usize,
        entities: &Batch,
    ) -> Result<Vec<RawLocated>, PluginError> {
        self.locate_telling(side, entity, entities, |relations, raw| {
            relations.located(raw.clone(), entities.rows).map(|_sound| raw)
        })
    }

    /// What the last call took, if it succeeded.
    pub(super) const fn cost(&self) -> Option<Cost> {
        self.cost
    }

    fn call<R>(
        &mut self,
        (function, rows): (&'static str, usize),
        call: impl FnOnce(&mut dyn Instance) -> Result<R, PluginErrorKind>,
    ) -> Result<R, PluginError> {
        self.cost = None;
        let began = self.patience.begin(rows).map_err(|kind| self.fault(function, kind))?;
        let mut instance = match self.idle.take() {
            Some(instance) => instance,
            None => match self.start() {
                Ok(instance) => instance,
                Err(error) => {
                    self.patience.end(began, 0);
                    return Err(error);
                }
            },
        };
        instance.forget_cost();
        let result = call(&mut *instance);
        self.patience.end(began, instance.take_waited());
        self.log_left = instance.log_left();
        match result {
            Ok(result) => {
                self.cost = Some(instance.cost());
                let pool = instance.is_large().then_some(&*self.bound.program.machine.pool);
                self.idle.lay(instance, pool);
                Ok(result)
            }
            // The instance is dropped: after a trap it could not be entered again, and what is left
            // in one that returned nonsense nobody knows.
            Err(kind) => Err(self.fault(function, kind)),
        }
    }

    fn start(&mut self) -> Result<Box<dyn Instance>, PluginError> {
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
    outputs: Vec<RawOutput>,
    notes: &[RawNote],
    rows: &Rows<'_>,
    types: &[EntityDef],
) -> Result<Mapped, String> {
    // Other kinds deserve a word at most, and a word may hold values.
    let rejecting = notes.iter().filter(|note| note.kind == "reject");
    let mut rejected: Vec<_> = rejecting.map(|note| (note.group, note.message.clone())).collect();
    let most = rows.count().saturating_mul(ENTITIES_MAX);
    let all: usize = outputs.iter().map(|output| output.items.rows).sum();
    if all > most {
        return Err(format!(
            "{all} entities of {} rows; at most {ENTITIES_MAX} for each",
            rows.count()
        ));
    }
    let mut mapped = Mapped::default();
    let mut unmappable = Vec::new();
    for raw in outputs {
        let output = checked_output(raw, rows.groups, &types_of(types), &mut unmappable)?;
        if mapped.outputs.iter().any(|other| other.entity == output.entity) {
            return Err(format!("two outputs of entity type {}", output.entity));
        }
        mapped.outputs.push(output);
    }
    // Stable: the first reason stays.
    rejected.sort_by_key(|(group, _)| *group);
    rejected.dedup_by_key(|(group, _)| *group);
    for output in &mapped.outputs {
        let yields = |group: &usize| output.from_group.binary_search(group).is_ok();
        if let Some((group, _)) = rejected.iter().find(|(group, _)| yields(group)) {
            return Err(format!("group {group} is both mapped and rejected"));
        }
    }
    mapped.rejected = rejected;
    Ok(if unmappable.is_empty() { mapped } else { without(mapped, unmappable) })
}

fn types_of(types: &[EntityDef]) -> Vec<&[FieldDef]> {
    types.iter().map(|entity| entity.fields.as_slice()).collect()
}

/// What whole rows of a store key identify, if it is what the contract allows: of an entity no more
/// than its key fields.
fn identified(raw: RawOutput, keys: usize, types: &[EntityDef]) -> Result<Output, String> {
    let mut unmappable = Vec::new();
    let output = checked_output(raw, keys, &types_of(types), &mut unmappable)?;
    // A guest decides how many there are of both.
    unmappable.sort_unstable_by_key(|(group, _)| *group);
    let lost = |at: &usize| {
        unmappable.binary_search_by_key(&output.from_group[*at], |(group, _)| *group).is_ok()
    };
    let kept: Vec<usize> = (0..output.entities.rows).filter(|at| !lost(at)).collect();
    Ok(taken(&output, &kept))
}

/// One output, if it is what the contract allows. Groups that hold what no canonical value can are
/// added to `unmappable`.
fn checked_output<'f>(
    raw: RawOutput,
    groups: usize,
    types: &[&'f [FieldDef]],
    unmappable: &mut lift::Unmappable<'f>,
) -> Result<Output, String> {
    let RawOutput { entity, items, from_group, standing } = raw;
    let entity = entity as usize;
    let Some(fields) = types.get(entity) else {
        return Err(format!("an output of entity type {entity}, which is not in the plan"));
    };
    if from_group.len() != items.rows || standing.len() != items.rows {
        return Err(format!(
            "{} groups and {} standings for {} entities",
            from_group.len(),
            standing.len(),
            items.rows
        ));
    }
    if let Some(at) = lift::falls(&from_group) {
        return Err(format!("from-group falls at entity {}", at + 1));
    }
    if from_group.last().is_some_and(|last| *last as usize >= groups) {
        return Err(format!("from-group names a group beyond the {groups} of this call"));
    }
    let from_group: Vec<usize> = from_group.into_iter().map(|group| group as usize).collect();
    let wide = lift::check(&items, fields)?;
    unmappable.extend(wide.into_iter().map(|(row, why)| (from_group[row], why)));
    Ok(Output { entity, entities: items, from_group, standing })
}

/// `mapped` without the groups of which an entity holds what no canonical value can; they are
/// rejected.
fn without(mapped: Mapped, mut unmappable: lift::Unmappable<'_>) -> Mapped {
    let Mapped { outputs, mut rejected, failed } = mapped;
    unmappable.sort_by_key(|(group, _)| *group);
    unmappable.dedup_by_key(|(group, _)| *group);
    let out = |group: &usize| unmappable.binary_search_by_key(group, |(group, _)| *group).is_ok();
    let outputs = outputs.iter().map(|output| {
        let kept = (0..output.entities.rows).filter(|at| !out(&output.from_group[*at]));
        taken(output, &kept.collect::<Vec<_>>())
    });
    let outputs = outputs.collect();
    rejected.extend(unmappable.into_iter().map(|(group, wide)| (group, wide.to_string())));
    rejected.sort_by_key(|(group, _)| *group);
    Mapped { outputs, rejected, failed }
}

/// Some entities of an output.
fn taken(output: &Output, kept: &[usize]) -> Output {
    Output {
        entity: output.entity,
        entities: output.entities.take(kept),
        from_group: kept.iter().map(|at| output.from_group[*at]).collect(),
        standing: kept.iter().map(|at| output.standing[*at]).collect(),
    }
}

fn checked_violations(
    violations: Vec<RawViolation>,
    pairs: usize,
    invariants: &[InvariantDef],
) -> Result<Vec<PairViolation>, String> {
    let of_pairs = invariants.iter().filter(|invariant| invariant.scope == Scope::Pair).count();
    if violations.len() > pairs.saturating_mul(of_pairs) {
        return Err(format!(
            "{} violations of {of_pairs} invariants by {pairs} pairs",
            violations.len()
        ));
    }
    let violation = |(index, violation): (usize, RawViolation)| {
        let invariant = violation.invariant as usize;
        match invariants.get(invariant).map(|invariant| invariant.scope) {
            Some(Scope::Pair) => {}
            Some(Scope::Partition) => {
                return Err(format!(
                    "violation {index} is of invariant {invariant}, which is of a partition"
                ));
            }
            None => {
                return Err(format!(
                    "violation {index} is of invariant {invariant}, which does not exist"
                ));
            }
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
    let mut checked: Vec<PairViolation> =
        violations.into_iter().enumerate().map(violation).collect::<Result<_, _>>()?;
    // The gravest of each pair first.
    let rank = |(at, it): (usize, &PairViolation)| {
        let invariant = it.violation.invariant;
        (it.pair, Reverse(invariants[invariant].severity), invariant, at)
    };
    let mut ranked: Vec<_> = checked.iter().enumerate().map(rank).collect();
    ranked.sort_unstable();
    let mut beyond = BTreeSet::new();
    for of_pair in ranked.chunk_by(|one, next| one.0 == next.0) {
        let twice = of_pair.windows(2).find(|both| both[0].2 == both[1].2);
        if let Some(&[(pair, _, invariant, _), _]) = twice {
            return Err(format!("invariant {invariant} is told twice of pair {pair}"));
        }
        beyond.extend(of_pair.iter().skip(VIOLATIONS_MAX).map(|(.., at)| *at));
    }
    if !beyond.is_empty() {
        let mut at = 0..;
        checked.retain(|_| at.next().is_some_and(|at| !beyond.contains(&at)));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ColumnBuilder, Logical, Role, Severity, Standing};

    #[test]
    fn keys_of_entities_that_no_value_can_hold_are_left_out_at_once() {
        let field = |name: &str, logical| FieldDef {
            name: name.to_owned(),
            logical,
            role: Role::Key,
            rules: Vec::new(),
        };
        let types = [EntityDef {
            name: "thing".to_owned(),
            fields: vec![field("id", Logical::Integer), field("amount", Logical::Decimal)],
        }];
        // As many as one call may return, and every other one too long: if each were looked for
        // among all of these, that would take hours.
        let (mut ids, mut amounts) = (ColumnBuilder::int64(0), ColumnBuilder::bytes(0));
        for row in 0..1_000_000 {
            ids.push_i64(row);
            amounts.push_bytes(if row % 2 == 0 { b"1" } else { &[b'9'; 39] });
        }
        let rows = ids.len();
        let raw = RawOutput {
            entity: 0,
            items: Batch { rows, columns: vec![ids.finish(), amounts.finish()] },
            from_group: (0..1_000_000).collect(),
            standing: vec![Standing::Present; rows],
        };
        let output = identified(raw, rows, &types).unwrap();
        assert_eq!((output.entities.rows, output.from_group[1]), (500_000, 2));
    }

    #[test]
    fn of_a_pair_that_breaks_many_invariants_the_gravest_are_told() {
        let invariant = |at: usize| InvariantDef {
            id: at.to_string(),
            summary: String::new(),
            severity: if at.is_multiple_of(2) { Severity::Info } else { Severity::Critical },
            scope: Scope::Pair,
        };
        let invariants: Vec<_> = (0..20).map(invariant).collect();
        let all = (0..3).flat_map(|pair| (0..20).map(move |invariant| (pair, invariant)));
        let raw = |(pair, invariant)| RawViolation {
            invariant,
            pair: Some(pair),
            message: String::new(),
        };
        let told = checked_violations(all.rev().map(raw).collect(), 3, &invariants).unwrap();
        let of_last: Vec<usize> =
            told.iter().filter(|it| it.pair == 2).map(|it| it.violation.invariant).collect();
        assert_eq!(told.len(), 3 * 16);
        // In the order in which they were told.
        assert_eq!(of_last, [19, 17, 15, 13, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    }

    #[test]
    fn an_invariant_is_told_once_of_a_pair() {
        let invariant = |id: &str| InvariantDef {
            id: id.to_owned(),
            summary: String::new(),
            severity: Severity::Error,
            scope: Scope::Pair,
        };
        let invariants = [invariant("one"), invariant("two")];
        let told = |all: &[(u32, u32)]| {
            let raw = |(invariant, pair): &(u32, u32)| RawViolation {
                invariant: *invariant,
                pair: Some(*pair),
                message: "so".to_owned(),
            };
            checked_violations(all.iter().map(raw).collect(), 3, &invariants).map(|all| all.len())
        };
        assert_eq!(told(&[(1, 2), (0, 2), (1, 0)]), Ok(3));
        // As many as there may be, and all of one pair.
        let twice = Err("invariant 1 is told twice of pair 2".to_owned());
        assert_eq!(told(&[(1, 2), (0, 2), (1, 2)]), twice);
    }
}
