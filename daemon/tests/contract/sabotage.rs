//! A guest of which any one function is replaced by an endless loop or a trap: every export, what the
//! canonical ABI calls besides them, and the start function of the core module. What is replaced is
//! code, so that no configuration is needed to reach it.

use driftd::model::{Batch, ColumnBuilder, ColumnDef, Logical, Moment, RelationSchema, Side};
use driftd::plugin::wasm::{AttachError, Host};
use driftd::plugin::{Binding, Code, Limits, Pairs, Place, PluginError, Rows, Settings};

use super::module::{Reader, number};

const HOSTILE: &[u8] = include_bytes!("../../../plugins/hostile/hostile.wasm");
/// No locals; `loop br 0 end unreachable end`.
const SPIN: &[u8] = &[0, 0x03, 0x40, 0x0c, 0, 0x0b, 0x00, 0x0b];
/// No locals; `unreachable end`.
const TRAP: &[u8] = &[0, 0x00, 0x0b];

const CUSTOM: u8 = 0;
const TYPES: u8 = 1;
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const START: u8 = 8;
const CODE: u8 = 10;

/// A core module as sections.
struct Module(Vec<(u8, Vec<u8>)>);

impl Module {
    fn hostile() -> Self {
        let mut reader = Reader(&HOSTILE[8..]);
        let mut sections = Vec::new();
        while !reader.0.is_empty() {
            let id = reader.take(1)[0];
            sections.push((id, reader.counted().to_vec()));
        }
        Self(sections)
    }

    fn section(&mut self, id: u8) -> &mut Vec<u8> {
        &mut self.0.iter_mut().find(|(known, _)| *known == id).unwrap().1
    }

    fn imports(&mut self) -> usize {
        let mut reader = Reader(self.section(IMPORTS));
        let count = reader.number();
        for _ in 0..count {
            reader.counted();
            reader.counted();
            assert_eq!(reader.take(1), [0], "it imports functions alone");
            reader.number();
        }
        count
    }

    /// The position of an exported function among those with code.
    fn exported(&mut self, export: &str) -> usize {
        let imports = self.imports();
        let mut reader = Reader(self.section(EXPORTS));
        for _ in 0..reader.number() {
            let name = reader.counted().to_vec();
            let kind = reader.take(1)[0];
            let index = reader.number();
            if name == export.as_bytes() && kind == 0 {
                return index - imports;
            }
        }
        panic!("it exports no {export}");
    }

    fn bodies(&mut self) -> Vec<Vec<u8>> {
        let mut reader = Reader(self.section(CODE));
        (0..reader.number()).map(|_| reader.counted().to_vec()).collect()
    }

    fn set_bodies(&mut self, bodies: &[Vec<u8>]) {
        let mut code = number(bodies.len());
        for body in bodies {
            code.extend(number(body.len()));
            code.extend_from_slice(body);
        }
        *self.section(CODE) = code;
    }

    /// The module with `body` in place of an exported function.
    fn replaced(mut self, export: &str, body: &[u8]) -> &'static [u8] {
        let at = self.exported(export);
        let mut bodies = self.bodies();
        bodies[at] = body.to_vec();
        self.set_bodies(&bodies);
        self.bytes()
    }

    /// The module with a start function.
    fn started(mut self, body: &[u8]) -> &'static [u8] {
        let index = self.imports() + self.bodies().len();
        let mut types = Reader(self.section(TYPES));
        let plain = (0..types.number()).position(|_| {
            assert_eq!(types.take(1), [0x60]);
            let (from, to) = (types.counted().len(), types.counted().len());
            from + to == 0
        });
        let mut functions = Reader(self.section(FUNCTIONS));
        let count = functions.number();
        let mut section = number(count + 1);
        section.extend_from_slice(functions.0);
        section.extend(number(plain.expect("some function has no arguments and no results")));
        *self.section(FUNCTIONS) = section;
        let mut bodies = self.bodies();
        bodies.push(body.to_vec());
        self.set_bodies(&bodies);
        let behind = self.0.iter().position(|(id, _)| *id == EXPORTS).unwrap();
        self.0.insert(behind + 1, (START, number(index)));
        self.bytes()
    }

    /// The module with so many globals more.
    fn with_globals(mut self, more: usize) -> &'static [u8] {
        let mut globals = Reader(self.section(GLOBALS));
        let mut section = number(globals.number() + more);
        section.extend_from_slice(globals.0);
        // A mutable i32 that begins as 0.
        section.extend([0x7f, 1, 0x41, 0, 0x0b].repeat(more));
        *self.section(GLOBALS) = section;
        self.bytes()
    }

    /// The module that traps in an exported function, and calls that `name`.
    fn trapping_in(mut self, export: &str, name: &str) -> &'static [u8] {
        let index = self.imports() + self.exported(export);
        let names = [number(1), number(index), number(name.len()), name.into()].concat();
        let functions = [vec![1], number(names.len()), names].concat();
        let section = [number(4), b"name".to_vec(), functions].concat();
        self.0.retain(|(id, section)| *id != CUSTOM || !section.starts_with(b"\x04name"));
        self.0.push((CUSTOM, section));
        self.replaced(export, TRAP)
    }

    fn bytes(self) -> &'static [u8] {
        let mut bytes = HOSTILE[..8].to_vec();
        for (id, section) in self.0 {
            bytes.push(id);
            bytes.extend(number(section.len()));
            bytes.extend(section);
        }
        bytes.leak()
    }
}

fn settings(code: &'static [u8]) -> Settings {
    Settings {
        config: serde_json::json!({ "mode": "" }),
        limits: Limits { memory: 16 << 20, ..Limits::default() },
        ..super::settings("bad", Code::Embedded(code))
    }
}

fn things(rows: i64) -> Batch {
    let (mut ids, mut names) = (ColumnBuilder::int64(0), ColumnBuilder::bytes(0));
    for row in 0..rows {
        ids.push_i64(row);
        names.push_bytes(b"any");
    }
    Batch { rows: ids.len(), columns: vec![ids.finish(), names.finish()] }
}

/// The function that fails and how, of a guest that is loaded, bound, and used for a check.
fn failure(code: &'static [u8]) -> Option<(String, String)> {
    let column = |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: true };
    let schema = RelationSchema {
        relation: "things".to_owned(),
        columns: vec![column("id", Logical::Integer), column("name", Logical::Text)],
        key: vec![0],
        open: false,
        partial: false,
    };
    let place = Place { schemas: std::slice::from_ref(&schema), key: None };
    let binding = Binding { pairing: "things", source: place, target: place };
    let told = |error: PluginError| Some((error.function.to_owned(), error.kind.to_string()));
    let loaded = match Host::new().load(&settings(code)) {
        Ok(loaded) => loaded,
        Err(error) => return Some(("load".to_owned(), error.kind.to_string())),
    };
    let mapper = match loaded.bind(&binding) {
        Ok(attached) => attached.mapper,
        Err(AttachError::Plugin(error)) => return told(error),
        Err(error) => panic!("{error}"),
    };
    let mut session = mapper.begin(Moment(0)).unwrap();
    let mapped = match session.map(Side::Source, &Rows::each(0, &things(3))) {
        Ok(mut mapped) => mapped.outputs.remove(0).entities,
        Err(error) => return told(error),
    };
    let present = [true; 3];
    let pairs = Pairs {
        entity: 0,
        source: &mapped,
        source_present: &present,
        target: &mapped,
        target_present: &present,
    };
    session.check_pairs(&pairs).err().and_then(told)
}

#[test]
fn nothing_fails_where_nothing_was_replaced() {
    assert_eq!(failure(Module::hostile().bytes()), None);
}

#[test]
fn an_endless_loop_or_a_trap_in_any_export_ends_and_names_it() {
    for (interface, function) in [
        ("lifecycle", "describe"),
        ("lifecycle", "init"),
        ("mapping", "plan"),
        ("mapping", "map-batch"),
        ("invariants", "declare"),
        ("invariants", "check-pairs"),
    ] {
        let export = format!("driftd:plugin/{interface}@0.1.0#{function}");
        // What is called when the host has taken the results, to free them.
        for export in [export.clone(), format!("cabi_post_{export}")] {
            for (body, cause) in
                [(SPIN, "used up its fuel of 5"), (TRAP, "trapped: wasm trap: wasm `unreach")]
            {
                let told = failure(Module::hostile().replaced(&export, body));
                let Some((failed, kind)) = told else { panic!("{export} fails") };
                assert_eq!(failed, function, "{export}: {kind}");
                assert!(kind.starts_with(cause), "{export}: {kind}");
            }
        }
    }
}

#[test]
fn a_loop_where_the_host_asks_for_memory_ends_in_the_call_that_needs_it() {
    for (body, cause) in
        [(SPIN, "used up its fuel of 5"), (TRAP, "trapped: wasm trap: wasm `unreach")]
    {
        let told = failure(Module::hostile().replaced("cabi_realloc", body));
        let Some((failed, kind)) = told else { panic!("it fails") };
        assert_eq!(failed, "init", "it is the first that takes an argument: {kind}");
        assert!(kind.starts_with(cause), "{kind}");
    }
}

#[test]
fn a_core_start_function_is_bounded_too() {
    for (body, cause) in
        [(SPIN, "it used up its fuel of 50000000"), (TRAP, "it trapped: wasm trap")]
    {
        let told = failure(Module::hostile().started(body));
        let Some((failed, kind)) = told else { panic!("it fails") };
        assert_eq!(failed, "load");
        assert!(kind.contains("it cannot be started: ") && kind.contains(cause), "{kind}");
    }
}

#[test]
fn what_instances_take_beside_their_memory_counts_as_memory() {
    let told = failure(Module::hostile().with_globals(500_000));
    let Some((function, kind)) = told else { panic!("a plugin has 16 MiB") };
    assert_eq!(function, "load");
    let wanted = "it cannot be started: it wanted more memory than 16777216 bytes: it wanted 24";
    let why = "bytes before it runs, for the functions and globals of its instances";
    assert!(kind.contains(wanted) && kind.ends_with(why), "{kind}");
    assert_eq!(failure(Module::hostile().with_globals(50_000)), None);
}

/// The name of a C++ function of one argument: a template of 16 arguments that are alike, each of them
/// such a template, and so on. Written out it grows by 16 with every level.
fn growing(levels: usize) -> String {
    let mut inner = format!("S_I{}E", "i".repeat(16));
    for level in 0..levels - 1 {
        inner = format!("S_I{inner}{}E", format!("S{level}_").repeat(15));
    }
    format!("_Z1f1B{}", inner.strip_prefix("S_").unwrap())
}

#[test]
fn the_name_of_a_function_is_told_without_being_written_out() {
    let name = growing(9);
    let export = "driftd:plugin/mapping@0.1.0#map-batch";
    let told = failure(Module::hostile().trapping_in(export, &name));
    let Some((function, kind)) = told else { panic!("it traps") };
    assert_eq!(function, "map-batch");
    assert!(kind.contains("; in _Z1f1BIS_IS_IS_I") && kind.len() < 1_000, "{kind}");
}
