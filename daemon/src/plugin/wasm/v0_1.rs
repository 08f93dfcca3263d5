//! Version 0.1.0 of the contract.
//!
//! Owns the bindings of `wit/driftd.wit` and their conversion from and to our own words. Refuses to
//! let a type of the contract out. Invariant: batches cross to a guest as borrowed slices and come
//! back as moved vectors; what comes back is owned, never lazily lifted.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use self::bindings::driftd::plugin::host::{self, Level};
use self::bindings::driftd::plugin::types;
use self::bindings::exports::driftd::plugin::{invariants, lifecycle, locating, mapping};
use super::contract::{
    self, Context, Info, RawLocated, RawMapped, RawNote, RawOutput, RawViolation, Version,
};
use super::machine::{Allowance, Guest, Machine, shortened};
use super::planning::{Proposal, ProposedEntity, ProposedField, ProposedInvariant};
use super::pool::Place;
use super::trial::Cost;
use crate::model::{
    Batch, Bitmap, Buffer, Column, ColumnDef, Logical, RelationPlan, RelationSchema, Role,
    Severity, Side, SidePlan, Standing, VarBytes,
};
use crate::plugin::{Limits, Pairs, PlanIssue, PluginErrorKind, Rows, Tally};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "complete",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// What this file speaks.
pub(super) const VERSION: Version = Version {
    number: "0.1.0",
    imports: &["host", "types"],
    required: &["lifecycle", "mapping"],
    optional: &[INVARIANTS, LOCATING],
    open: |machine, component| Ok(Arc::new(Contract::new(machine, component)?)),
};
const INVARIANTS: &str = "invariants";
const LOCATING: &str = "locating";
/// Bytes of a text that a guest says about a row, a pair or a fault.
const MESSAGE_BYTES: usize = 1_000;
/// Notes of a call for each of its rows, on average.
const NOTES_MAX: usize = 16;
/// Bytes of an error's code that are kept.
const CODE_BYTES: usize = 100;

/// A compiled guest, ready to be started any number of times.
struct Contract {
    pre: InstancePre<Guest>,
    lifecycle: lifecycle::GuestIndices,
    mapping: mapping::GuestIndices,
    invariants: Option<invariants::GuestIndices>,
    locating: Option<locating::GuestIndices>,
}

impl Contract {
    /// Finds the contract's exports in a component, by their exact names.
    fn new(machine: &Machine, component: &Component) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&machine.engine);
        host::add_to_linker::<Guest, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        let pre = linker.instantiate_pre(component)?;
        let exported = |interface: &str| {
            let name = VERSION.full(interface);
            component.component_type().exports(&machine.engine).any(|(export, _)| export == name)
        };
        let invariants = exported(INVARIANTS).then(|| invariants::GuestIndices::new(&pre));
        let locating = exported(LOCATING).then(|| locating::GuestIndices::new(&pre));
        Ok(Self {
            lifecycle: lifecycle::GuestIndices::new(&pre)?,
            mapping: mapping::GuestIndices::new(&pre)?,
            invariants: invariants.transpose()?,
            locating: locating.transpose()?,
            pre,
        })
    }

    fn load(&self, store: &mut Store<Guest>) -> wasmtime::Result<Exports> {
        let instance = self.pre.instantiate(&mut *store)?;
        let invariants = self.invariants.as_ref();
        let locating = self.locating.as_ref();
        Ok(Exports {
            lifecycle: self.lifecycle.load(&mut *store, &instance)?,
            mapping: self.mapping.load(&mut *store, &instance)?,
            invariants: invariants.map(|it| it.load(&mut *store, &instance)).transpose()?,
            locating: locating.map(|it| it.load(&mut *store, &instance)).transpose()?,
        })
    }
}

impl contract::Contract for Contract {
    fn start(
        &self,
        machine: &Machine,
        guest: Guest,
        limits: Limits,
    ) -> Result<Box<dyn contract::Instance>, PluginErrorKind> {
        let mut store = machine.store(guest, &limits);
        let allowance = Allowance::new(limits, 0);
        allowance.grant(&mut store);
        let started = self.load(&mut store);
        let exports = started.map_err(|error| allowance.name(&error, store.data_mut()))?;
        Ok(Box::new(Instance { store, limits, exports, groups: Vec::new(), place: None }))
    }
}

/// What a guest exports.
struct Exports {
    lifecycle: lifecycle::Guest,
    mapping: mapping::Guest,
    invariants: Option<invariants::Guest>,
    locating: Option<locating::Guest>,
}

/// A guest that runs.
struct Instance {
    store: Store<Guest>,
    limits: Limits,
    exports: Exports,
    /// Numbers from 0, as many as the largest batch had rows: a row is a group.
    groups: Vec<u32>,
    /// Filled at the end: the place among the large ones is given back after the store, which would
    /// let go of its data before its memory.
    place: Option<Place>,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.place = self.store.data_mut().leave();
    }
}

impl contract::Instance for Instance {
    fn log_left(&self) -> usize {
        self.store.data().words.left
    }

    fn cost(&self) -> Cost {
        self.store.data().cost()
    }

    fn is_large(&self) -> bool {
        self.store.data().is_large()
    }

    fn forget_cost(&mut self) {
        self.store.data_mut().forget_cost();
    }

    fn take_waited(&mut self) -> u64 {
        self.store.data_mut().take_waited()
    }

    fn describe(&mut self) -> Result<Info, PluginErrorKind> {
        let Self { store, exports: Exports { lifecycle, .. }, limits, .. } = self;
        let info = call(store, Allowance::new(*limits, 0), |store| lifecycle.call_describe(store))?;
        let word = |text: &str| shortened(text, MESSAGE_BYTES).to_owned();
        Ok(Info {
            name: word(&info.name),
            version: word(&info.version),
            summary: word(&info.summary),
            config_schema: info.config_schema,
        })
    }

    fn init(&mut self, config: &str) -> Result<Result<(), Vec<PlanIssue>>, PluginErrorKind> {
        let Self { store, exports: Exports { lifecycle, .. }, limits, .. } = self;
        let allowance = Allowance::new(*limits, 0);
        let done = call(store, allowance, |store| lifecycle.call_init(store, config))?;
        Ok(done.map_err(issues))
    }

    fn plan(
        &mut self,
        pairing: &str,
        source: &[RelationSchema],
        target: &[RelationSchema],
    ) -> Result<Result<Proposal, Vec<PlanIssue>>, PluginErrorKind> {
        let Self { store, exports: Exports { mapping, .. }, limits, .. } = self;
        let count = source.iter().chain(target).map(|schema| schema.columns.len()).sum();
        let allowance = Allowance::new(*limits, count);
        let (source, target) = (Schemas::new(source)?, Schemas::new(target)?);
        let columns = (source.columns(), target.columns());
        let planned = call(store, allowance, |store| {
            mapping.call_plan(
                store,
                pairing,
                &source.tables(&columns.0),
                &target.tables(&columns.1),
            )
        })?;
        Ok(planned.map(proposal).map_err(issues))
    }

    fn declare(
        &mut self,
        pairing: &str,
    ) -> Result<Result<Vec<ProposedInvariant>, Vec<PlanIssue>>, PluginErrorKind> {
        let Self { store, exports, limits, .. } = self;
        let Some(invariants) = &exports.invariants else { return Ok(Ok(Vec::new())) };
        let allowance = Allowance::new(*limits, 0);
        let declared = call(store, allowance, |store| invariants.call_declare(store, pairing))?;
        let definition = |def: invariants::InvariantDef| ProposedInvariant {
            id: def.id,
            summary: def.summary,
            severity: match def.severity {
                invariants::Severity::Info => Severity::Info,
                invariants::Severity::Warning => Severity::Warning,
                invariants::Severity::Error => Severity::Error,
                invariants::Severity::Critical => Severity::Critical,
            },
            scope: def.scope,
        };
        Ok(declared.map(|defs| defs.into_iter().map(definition).collect()).map_err(issues))
    }

    fn map_batch(
        &mut self,
        context: Context<'_>,
        side: Side,
        rows: &Rows<'_>,
        relations: &[u32],
    ) -> Result<RawMapped, PluginErrorKind> {
        let Self { store, exports: Exports { mapping, .. }, limits, groups, .. } = self;
        let most = rows.inputs.iter().map(|input| input.rows.rows).max().unwrap_or(0);
        for row in groups.len()..most {
            groups.push(u32::try_from(row).map_err(|_wide| too_large(most))?);
        }
        let columns: Vec<_> = rows.inputs.iter().map(|input| lower(&input.rows.columns)).collect();
        let mut inputs = Vec::with_capacity(rows.inputs.len());
        for (input, columns) in rows.inputs.iter().zip(&columns) {
            inputs.push(mapping::Input {
                relation: relations[input.relation],
                origin: "",
                rows: lowered(input.rows.rows, columns)?,
                group: input.group.as_deref().unwrap_or(&groups[..input.rows.rows]),
            });
        }
        let mapped = call(store, Allowance::new(*limits, rows.count()), |store| {
            mapping.call_map_batch(store, on(context, side), &inputs)
        })?;
        raised(mapped.map_err(own)?, rows)
    }

    fn locates(&self) -> bool {
        self.exports.locating.is_some()
    }

    fn locate(
        &mut self,
        context: Context<'_>,
        side: Side,
        entity: u32,
        entities: &Batch,
    ) -> Result<Option<Vec<RawLocated>>, PluginErrorKind> {
        let Self { store, exports, limits, .. } = self;
        let Some(locating) = &exports.locating else { return Ok(None) };
        let columns = lower(&entities.columns);
        let items = lowered(entities.rows, &columns)?;
        let located = call(store, Allowance::new(*limits, entities.rows), |store| {
            locating.call_locate(store, on(context, side), entity, items)
        })?;
        let located = located.map_err(own)?.into_iter().map(|located| RawLocated {
            relation: located.relation,
            access: shortened(&located.access, MESSAGE_BYTES).to_owned(),
            keys: batch(located.keys),
            from_entity: located.from_entity,
        });
        Ok(Some(located.collect()))
    }

    fn keys_of(
        &mut self,
        context: Context<'_>,
        side: Side,
        relation: u32,
        keys: &Batch,
    ) -> Result<Vec<RawOutput>, PluginErrorKind> {
        let Self { store, exports, limits, .. } = self;
        let Some(locating) = &exports.locating else { return Ok(Vec::new()) };
        let columns = lower(&keys.columns);
        let lowered = lowered(keys.rows, &columns)?;
        let known = call(store, Allowance::new(*limits, keys.rows), |store| {
            locating.call_keys_of(store, on(context, side), relation, lowered)
        })?;
        Ok(known.map_err(own)?.into_iter().map(output).collect())
    }

    fn check_pairs(
        &mut self,
        context: Context<'_>,
        pairs: &Pairs<'_>,
    ) -> Result<Vec<RawViolation>, PluginErrorKind> {
        let Self { store, exports, limits, .. } = self;
        let Some(invariants) = &exports.invariants else { return Ok(Vec::new()) };
        let lowered = LoweredPairs::new(pairs);
        let params = lowered.params()?;
        // Of both sides, for which the contract has it say "source".
        let context = on(context, Side::Source);
        let allowance = Allowance::new(*limits, pairs.source.rows);
        let violations =
            call(store, allowance, |store| invariants.call_check_pairs(store, context, params))?;
        Ok(violations.map_err(own)?.into_iter().map(violation).collect())
    }

    fn tally(
        &mut self,
        context: Context<'_>,
        invariant: u32,
        tally: &Tally<'_>,
    ) -> Result<(Vec<u8>, Vec<RawViolation>), PluginErrorKind> {
        let Self { store, exports, limits, .. } = self;
        let Some(invariants) = &exports.invariants else { return Ok((Vec::new(), Vec::new())) };
        let accumulators = invariants.accumulator();
        let allowance = Allowance::new(*limits, 0);
        let fed = call(store, allowance, |store| accumulators.call_constructor(store, invariant))?;
        match tally {
            Tally::Pairs(all) => {
                for pairs in *all {
                    let lowered = LoweredPairs::new(pairs);
                    let params = lowered.params()?;
                    let context = on(context, Side::Source);
                    let allowance = Allowance::new(*limits, pairs.source.rows);
                    call(store, allowance, |store| {
                        accumulators.call_push(store, fed, context, params)
                    })?
                    .map_err(own)?;
                }
            }
            Tally::States(states) => {
                for state in *states {
                    call(store, allowance, |store| accumulators.call_merge(store, fed, state))?
                        .map_err(own)?;
                }
            }
        }
        let state = call(store, allowance, |store| accumulators.call_snapshot(store, fed))?;
        let said = call(store, allowance, |store| accumulators.call_finish(store, fed))?;
        call(store, allowance, |store| fed.resource_drop(store))?;
        Ok((state, said.map_err(own)?.into_iter().map(violation).collect()))
    }
}

fn violation(violation: invariants::Violation) -> RawViolation {
    RawViolation {
        invariant: violation.invariant,
        pair: violation.pair,
        message: shortened(&violation.message, MESSAGE_BYTES).to_owned(),
    }
}

/// What a call is about, and which side's rows it is handed.
fn on(context: Context<'_>, side: Side) -> types::Context<'_> {
    let side = match side {
        Side::Source => types::Side::Source,
        Side::Target => types::Side::Target,
    };
    types::Context { pairing: context.pairing, side, as_of: context.as_of.0 }
}

impl host::Host for Guest {
    fn log(&mut self, level: Level, message: String) {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        self.words.say(level, &message);
    }

    fn count(&mut self, name: String, delta: u64) {
        let name = shortened(&name, MESSAGE_BYTES);
        self.words.say("count", &format!("{name} +{delta}"));
    }
}

/// One call, within its allowance.
fn call<R>(
    store: &mut Store<Guest>,
    allowance: Allowance,
    call: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<R>,
) -> Result<R, PluginErrorKind> {
    allowance.grant(store);
    let called = call(store);
    allowance.charge(store);
    called.map_err(|error| allowance.name(&error, store.data_mut()))
}

/// A code, if it is one: it is told where a plugin's words, which may hold values, are not.
fn code(code: &str) -> &str {
    let is_part = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.');
    let is_code = !code.is_empty() && code.chars().all(is_part);
    if is_code { shortened(code, CODE_BYTES) } else { "(no code)" }
}

fn own(error: types::Error) -> PluginErrorKind {
    PluginErrorKind::Own {
        code: code(&error.code).to_owned(),
        message: shortened(&error.message, MESSAGE_BYTES).to_owned(),
    }
}

fn issues(issues: Vec<types::Issue>) -> Vec<PlanIssue> {
    let word = |text: &str| shortened(text, MESSAGE_BYTES).to_owned();
    let issue = |issue: types::Issue| PlanIssue {
        path: word(&issue.path),
        message: word(&issue.message),
        help: issue.help.as_deref().map(word),
    };
    issues.into_iter().take(100).map(issue).collect()
}

fn too_large(rows: usize) -> PluginErrorKind {
    PluginErrorKind::Malformed(format!("a batch of {rows} rows is more than the contract can hold"))
}

/// A position, as the contract counts.
fn number(position: usize) -> Result<u32, PluginErrorKind> {
    u32::try_from(position).map_err(|_wide| too_large(position))
}

fn column_def<'a>((column, logical): (&'a ColumnDef, &'a String)) -> types::ColumnDef<'a> {
    types::ColumnDef { name: &column.name, logical, nullable: column.nullable }
}

/// The type of a column, as guests of this version know it: they read all floats alike.
fn told(logical: Logical) -> Logical {
    if logical == Logical::Float32 { Logical::Float } else { logical }
}

/// The relations of a side, on the way to a guest.
struct Schemas<'a> {
    schemas: &'a [RelationSchema],
    /// Of each relation the names of its columns' types.
    types: Vec<Vec<String>>,
    keys: Vec<Vec<u32>>,
}

impl<'a> Schemas<'a> {
    fn new(schemas: &'a [RelationSchema]) -> Result<Self, PluginErrorKind> {
        let types = |schema: &RelationSchema| {
            schema.columns.iter().map(|column| told(column.logical).to_string()).collect()
        };
        let keys = |schema: &RelationSchema| schema.key.iter().map(|at| number(*at)).collect();
        Ok(Self {
            schemas,
            types: schemas.iter().map(types).collect(),
            keys: schemas.iter().map(keys).collect::<Result<_, _>>()?,
        })
    }

    fn columns(&self) -> Vec<Vec<types::ColumnDef<'_>>> {
        let of_one = |(schema, types): (&'a RelationSchema, _)| {
            let types: &Vec<String> = types;
            schema.columns.iter().zip(types).map(column_def).collect()
        };
        self.schemas.iter().zip(&self.types).map(of_one).collect()
    }

    fn tables<'c>(
        &'c self,
        columns: &'c [Vec<types::ColumnDef<'c>>],
    ) -> Vec<types::TableSchema<'c>> {
        let parts = self.schemas.iter().zip(columns).zip(&self.keys);
        let table = |((schema, columns), key): ((&'c RelationSchema, &'c Vec<_>), &'c Vec<u32>)| {
            types::TableSchema { name: &schema.relation, columns, key }
        };
        parts.map(table).collect()
    }
}

/// Pairs, on the way to a guest.
struct LoweredPairs<'a> {
    pairs: &'a Pairs<'a>,
    source: Vec<types::ColumnParam<'a>>,
    target: Vec<types::ColumnParam<'a>>,
    source_present: Vec<u8>,
    target_present: Vec<u8>,
}

impl<'a> LoweredPairs<'a> {
    fn new(pairs: &'a Pairs<'a>) -> Self {
        Self {
            pairs,
            source: lower(&pairs.source.columns),
            target: lower(&pairs.target.columns),
            source_present: bits(pairs.source_present),
            target_present: bits(pairs.target_present),
        }
    }

    fn params(&self) -> Result<invariants::Pairs<'_>, PluginErrorKind> {
        Ok(invariants::Pairs {
            entity: number(self.pairs.entity)?,
            source: lowered(self.pairs.source.rows, &self.source)?,
            source_present: &self.source_present,
            target: lowered(self.pairs.target.rows, &self.target)?,
            target_present: &self.target_present,
        })
    }
}

fn lower(columns: &[Column]) -> Vec<types::ColumnParam<'_>> {
    columns.iter().map(lower_column).collect()
}

fn lower_column(column: &Column) -> types::ColumnParam<'_> {
    let values = match &column.values {
        Buffer::Int64(values) => types::BufferParam::Int64(values),
        Buffer::UInt64(values) => types::BufferParam::Uint64(values),
        Buffer::Float64(values) => types::BufferParam::Float64(values),
        Buffer::Bytes(VarBytes { offsets, data }) => {
            types::BufferParam::Bytes(types::VarBytesParam { offsets, data })
        }
    };
    types::ColumnParam { validity: &column.validity.0, values }
}

fn lowered<'a>(
    rows: usize,
    columns: &'a [types::ColumnParam<'a>],
) -> Result<types::BatchParam<'a>, PluginErrorKind> {
    let rows = u32::try_from(rows).map_err(|_wide| too_large(rows))?;
    Ok(types::BatchParam { rows, columns })
}

/// One bit for each, also when all are ones.
fn bits(present: &[bool]) -> Vec<u8> {
    let mut bits = vec![0u8; present.len().div_ceil(8)];
    for (index, present) in present.iter().enumerate() {
        bits[index / 8] |= u8::from(*present) << (index % 8);
    }
    bits
}

fn raised(mapped: mapping::Mapped, rows: &Rows<'_>) -> Result<RawMapped, PluginErrorKind> {
    let (told, most) = (mapped.notes.len(), rows.count().saturating_mul(NOTES_MAX));
    if told > most {
        return Err(PluginErrorKind::Malformed(format!(
            "{told} notes on {} rows; at most {NOTES_MAX} for each",
            rows.count()
        )));
    }
    let mut notes = Vec::with_capacity(told);
    for (index, note) in mapped.notes.into_iter().enumerate() {
        let row = note.row as usize;
        let input = rows.inputs.get(note.input as usize).filter(|input| row < input.rows.rows);
        let Some(input) = input else {
            return Err(PluginErrorKind::Malformed(format!(
                "note {index} is about row {row} of input {}, which does not exist",
                note.input
            )));
        };
        notes.push(RawNote {
            input: note.input as usize,
            row,
            group: input.group.as_ref().map_or(row, |group| group[row] as usize),
            kind: shortened(&note.kind, MESSAGE_BYTES).to_owned(),
            message: shortened(&note.message, MESSAGE_BYTES).to_owned(),
        });
    }
    Ok(RawMapped { outputs: mapped.outputs.into_iter().map(output).collect(), notes })
}

fn output(output: mapping::Output) -> RawOutput {
    let standing = |standing| match standing {
        mapping::Standing::Present => Standing::Present,
        mapping::Standing::Absent => Standing::Absent,
        mapping::Standing::Excluded => Standing::Excluded,
    };
    RawOutput {
        entity: output.entity,
        items: batch(output.items),
        from_group: output.from_group,
        standing: output.standing.into_iter().map(standing).collect(),
    }
}

fn batch(batch: types::BatchResult) -> Batch {
    let column = |column: types::ColumnResult| Column {
        validity: Bitmap(column.validity),
        values: match column.values {
            types::BufferResult::Int64(values) => Buffer::Int64(values),
            types::BufferResult::Uint64(values) => Buffer::UInt64(values),
            types::BufferResult::Float64(values) => Buffer::Float64(values),
            types::BufferResult::Bytes(types::VarBytesResult { offsets, data }) => {
                Buffer::Bytes(VarBytes { offsets, data })
            }
        },
    };
    Batch { rows: batch.rows as usize, columns: batch.columns.into_iter().map(column).collect() }
}

fn proposal(plan: mapping::MappingPlan) -> Proposal {
    let field = |field: mapping::FieldDef| ProposedField {
        name: field.name,
        logical: field.logical,
        role: match field.role {
            mapping::Role::Key => Role::Key,
            mapping::Role::Compared => Role::Compared,
            mapping::Role::Version => Role::Version,
            mapping::Role::Label => Role::Label,
            mapping::Role::Carried => Role::Carried,
        },
        rules: field.rules,
    };
    let entity = |entity: mapping::EntityDef| ProposedEntity {
        name: entity.name,
        fields: entity.fields.into_iter().map(field).collect(),
    };
    Proposal {
        entities: plan.entities.into_iter().map(entity).collect(),
        source: side(plan.source),
        target: side(plan.target),
    }
}

fn side(plan: mapping::SidePlan) -> SidePlan {
    let relation = |plan: mapping::RelationPlan| RelationPlan {
        relation: plan.relation as usize,
        columns: plan.columns,
        ignored: plan.ignored,
        group_by: plan.group_by.into_iter().map(|column| column as usize).collect(),
    };
    SidePlan { relations: plan.relations.into_iter().map(relation).collect(), mapped: plan.mapped }
}
