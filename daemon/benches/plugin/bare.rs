//! A plugin without its guards, called through wasmtime alone.
//!
//! Owns an engine that counts no fuel, looks at no deadline and bounds no memory, and a guest of the
//! contract on it. Refuses to check what comes back. Invariant: what crosses, and how (borrowed on the way
//! in, moved on the way out), is what the daemon does; only the guards are missing.

use driftd::model::{Batch, Bitmap, Buffer, Column, RelationSchema, Side, Standing, VarBytes};
use driftd::plugin::Output;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Config, Engine, Store};
use wit_component::ComponentEncoder;

use self::bindings::driftd::plugin::{host, types};
use self::bindings::exports::driftd::plugin::{lifecycle, mapping};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "complete",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// What a guest may call, and nobody listens.
struct Silence;

impl host::Host for Silence {
    fn log(&mut self, _level: host::Level, _message: String) {}

    fn count(&mut self, _name: String, _delta: u64) {}
}

/// A guest that runs, and has planned.
pub(super) struct Bare {
    store: Store<Silence>,
    mapping: mapping::Guest,
    groups: Vec<u32>,
}

fn lowered(column: &Column) -> types::ColumnParam<'_> {
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

fn raised(output: mapping::Output) -> Output {
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
    let standing = |standing| match standing {
        mapping::Standing::Present => Standing::Present,
        mapping::Standing::Absent => Standing::Absent,
        mapping::Standing::Excluded => Standing::Excluded,
    };
    let (rows, columns) = (output.items.rows as usize, output.items.columns);
    Output {
        entity: output.entity as usize,
        entities: Batch { rows, columns: columns.into_iter().map(column).collect() },
        from_group: output.from_group.into_iter().map(|group| group as usize).collect(),
        standing: output.standing.into_iter().map(standing).collect(),
    }
}

/// The schema of a side, as a guest takes it.
struct Table<'a> {
    schema: &'a RelationSchema,
    logical: Vec<String>,
    key: Vec<u32>,
}

impl<'a> Table<'a> {
    fn new(schema: &'a RelationSchema) -> Self {
        Self {
            schema,
            logical: schema.columns.iter().map(|column| column.logical.to_string()).collect(),
            key: schema.key.iter().map(|at| u32::try_from(*at).expect("few columns")).collect(),
        }
    }

    fn columns(&self) -> Vec<types::ColumnDef<'_>> {
        let columns = self.schema.columns.iter().zip(&self.logical);
        columns
            .map(|(def, logical)| types::ColumnDef {
                name: &def.name,
                logical,
                nullable: def.nullable,
            })
            .collect()
    }

    fn table<'t>(&'t self, columns: &'t [types::ColumnDef<'t>]) -> types::TableSchema<'t> {
        types::TableSchema { name: &self.schema.relation, columns, key: &self.key }
    }
}

impl Bare {
    /// Starts the guest in a core module and has it plan.
    pub(super) fn start(
        module: &[u8],
        pairing: &str,
        source: &RelationSchema,
        target: &RelationSchema,
    ) -> wasmtime::Result<Self> {
        let mut config = Config::new();
        // What makes a guest deterministic is no guard: it is as in the daemon.
        config
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .wasm_memory64(false)
            .concurrency_support(false);
        let engine = Engine::new(&config)?;
        let encoder = ComponentEncoder::default().module(module).expect("it is a module");
        let component = encoder.validate(true).encode().expect("it is a plugin");
        let component = Component::from_binary(&engine, &component)?;
        let mut linker = Linker::new(&engine);
        host::add_to_linker::<_, HasSelf<_>>(&mut linker, |silence| silence)?;
        let pre = linker.instantiate_pre(&component)?;
        let mut store = Store::new(&engine, Silence);
        let instance = pre.instantiate(&mut store)?;
        let lifecycle = lifecycle::GuestIndices::new(&pre)?.load(&mut store, &instance)?;
        let mapping = mapping::GuestIndices::new(&pre)?.load(&mut store, &instance)?;
        lifecycle.call_init(&mut store, "{}")?.expect("it takes no configuration");
        let (source, target) = (Table::new(source), Table::new(target));
        let columns = (source.columns(), target.columns());
        mapping
            .call_plan(
                &mut store,
                pairing,
                &[source.table(&columns.0)],
                &[target.table(&columns.1)],
            )?
            .expect("it plans");
        Ok(Self { store, mapping, groups: Vec::new() })
    }

    /// Maps rows of which each is a group.
    pub(super) fn map(&mut self, side: Side, rows: &Batch) -> Vec<Output> {
        let side = match side {
            Side::Source => types::Side::Source,
            Side::Target => types::Side::Target,
        };
        let count = u32::try_from(rows.rows).expect("a batch is small");
        self.groups.extend(u32::try_from(self.groups.len()).expect("a batch is small")..count);
        let columns: Vec<_> = rows.columns.iter().map(lowered).collect();
        let input = mapping::Input {
            relation: 0,
            origin: "",
            rows: types::BatchParam { rows: count, columns: &columns },
            group: &self.groups[..rows.rows],
        };
        let context = types::Context { pairing: "users", side, as_of: 0 };
        let mapped = self.mapping.call_map_batch(&mut self.store, context, &[input]);
        let mapped = mapped.expect("it does not trap").expect("it does not fail");
        mapped.outputs.into_iter().map(raised).collect()
    }
}
