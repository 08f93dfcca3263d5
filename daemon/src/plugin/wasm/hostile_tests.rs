//! Guests that misbehave: what each costs, what is said of it, and that the next one works.

use std::time::{Duration, Instant};

use super::*;
use crate::model::{Batch, ColumnBuilder, ColumnDef, Logical, Moment, RelationSchema, Side};
use crate::plugin::{Limits, Pairs, Place};

const HOSTILE: &[u8] = include_bytes!("../../../../plugins/hostile/hostile.wasm");

fn limits() -> Limits {
    Limits {
        fuel_per_call: 50_000_000,
        fuel_per_row: 1_000,
        deadline: Duration::from_secs(20),
        memory: 16 << 20,
        output: 1 << 20,
        log: 4 << 10,
    }
}

fn settings(code: &'static [u8], mode: &str, limits: Limits) -> Settings {
    Settings {
        name: "bad".to_owned(),
        code: Code::Embedded(code),
        config: serde_json::json!({ "mode": mode }),
        limits,
    }
}

fn schema() -> RelationSchema {
    let column = |name: &str, logical| ColumnDef { name: name.to_owned(), logical, nullable: true };
    RelationSchema {
        relation: "things".to_owned(),
        columns: vec![column("id", Logical::Integer), column("name", Logical::Text)],
        key: vec![0],
        open: false,
    }
}

fn bind(mode: &str, limits: Limits) -> Result<Attached, AttachError> {
    let schema = schema();
    let place = Place { schema: &schema, key: None };
    let binding = Binding { pairing: "things", source: place, target: place };
    Host::new().load(&settings(HOSTILE, mode, limits)).unwrap().bind(&binding)
}

fn attach(mode: &str, limits: Limits) -> Arc<dyn Mapper> {
    bind(mode, limits).unwrap().mapper
}

fn things(rows: usize, name: &str) -> Batch {
    let (mut ids, mut names) = (ColumnBuilder::int64(rows), ColumnBuilder::bytes(rows));
    for row in 0..rows {
        ids.push_i64(i64::try_from(row).unwrap());
        names.push_bytes(name.as_bytes());
    }
    Batch { rows, columns: vec![ids.finish(), names.finish()] }
}

#[expect(clippy::disallowed_methods, reason = "a deadline is measured")]
fn now() -> Instant {
    Instant::now()
}

/// What mapping three rows with the mode leads to. The same session, and another one, work after it.
fn fault(mode: &str, limits: Limits) -> PluginErrorKind {
    let mapper = attach(mode, limits);
    let mut session = mapper.begin(Moment(0)).unwrap();
    let error = session.map(Side::Source, &things(3, "any")).unwrap_err();
    assert_eq!((error.plugin.as_str(), error.function), ("bad", "map-batch"), "{mode}");
    assert_eq!(error.digest.len(), 12, "{mode}");
    let good = things(3, "be good");
    assert_eq!(session.map(Side::Target, &good).unwrap().entities, good, "{mode}");
    let mut next = mapper.begin(Moment(0)).unwrap();
    assert_eq!(next.map(Side::Source, &good).unwrap().entities, good, "{mode}");
    error.kind
}

#[test]
fn an_endless_loop_ends_by_fuel_or_by_deadline() {
    assert_eq!(fault("spin", limits()), PluginErrorKind::Fuel { allowed: 50_003_000 });

    let rich =
        Limits { fuel_per_call: u64::MAX / 2, deadline: Duration::from_millis(50), ..limits() };
    let mapper = attach("spin", rich);
    let mut session = mapper.begin(Moment(0)).unwrap();
    let began = now();
    let error = session.map(Side::Source, &things(3, "any")).unwrap_err();
    let took = now() - began;
    assert_eq!(error.kind, PluginErrorKind::Deadline { millis: 50 });
    assert!(took >= Duration::from_millis(50), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn memory_is_bounded() {
    let kind = fault("memory", limits());
    let PluginErrorKind::Memory { allowed, detail } = &kind else { panic!("{kind:?}") };
    assert_eq!(*allowed, 16 << 20);
    assert!(detail.contains("bytes of linear memory"), "{detail}");
}

#[test]
fn traps_name_the_cause_and_the_functions() {
    for (mode, expected) in [
        ("trap", "wasm `unreachable` instruction executed; in "),
        ("panic", "the plugin's last words: panicked at "),
        ("panic", "the guest panics on purpose"),
        ("deep-stack", "call stack exhausted; in "),
        ("deep-stack", "deeper"),
        ("out-of-bounds", "out of bounds memory access"),
    ] {
        let kind = fault(mode, limits());
        let PluginErrorKind::Trap(what) = &kind else { panic!("{mode}: {kind:?}") };
        assert!(what.contains(expected), "{mode}: {what}");
    }
}

#[test]
fn malformed_output_is_refused_with_its_place() {
    for (mode, expected) in [
        ("garbage-offsets", "column `name`: offsets do not start at 0"),
        ("falling-offsets", "column `name`: offsets do not start at 0"),
        ("short-offsets", "column `name`: 1 offsets for 3 rows; there must be one more"),
        ("long-offsets", "column `name`: offsets end at 4294967295 of 9 bytes"),
        ("bad-utf8", "column `name`: row 0 is no UTF-8"),
        ("wrong-layout", "column `name`: layout float64 where the field is of type text"),
        ("wrong-columns", "1 columns where the entity has 2 fields"),
        ("wrong-rows", "3 groups and 3 standings for 4 entities"),
        ("short-column", "column `id`: 0 values for 3 rows"),
        ("short-validity", "column `id`: a validity bitmap of 1000 bytes for 3 rows"),
        ("wrong-standing", "3 groups and 0 standings for 3 entities"),
        ("group-order", "from-group does not ascend at entity 1"),
        ("group-range", "from-group names a group beyond the 3 of this call"),
        ("wrong-entity", "an output of entity type 1"),
        ("two-outputs", "more than one output where the plan has one entity type"),
        ("wrong-note", "note 0 is about row 3 of input 0, which does not exist"),
        ("both", "row 0 is both mapped and rejected"),
    ] {
        assert_eq!(
            fault(mode, limits()),
            PluginErrorKind::Malformed(expected.to_owned()),
            "{mode}"
        );
    }
    let roomy = Limits { memory: 256 << 20, ..limits() };
    assert_eq!(fault("huge-output", roomy), PluginErrorKind::Output { allowed: 1 << 20 });
    let own = PluginErrorKind::Own {
        code: "mood".to_owned(),
        message: "does not feel like it".to_owned(),
    };
    assert_eq!(fault("error", limits()), own);
}

#[test]
fn a_cell_of_too_many_values_is_refused_before_it_is_held() {
    for mode in ["wide-value", "wide-json", "wide-set"] {
        let mapper = attach(mode, limits());
        let mut session = mapper.begin(Moment(0)).unwrap();
        let error = session.map(Side::Source, &things(3, "any")).unwrap_err();
        let expected = "column `name`: row 0 holds more values than a cell may".to_owned();
        assert_eq!(error.kind, PluginErrorKind::Malformed(expected), "{mode}");
    }
}

#[test]
fn violations_are_checked() {
    let pair = things(2, "x");
    let check = |mode: &str| {
        let mapper = attach(mode, limits());
        let pairs = Pairs {
            source: &pair,
            source_present: &[true, false],
            target: &pair,
            target_present: &[true, true],
        };
        mapper.begin(Moment(0)).unwrap().check_pairs(&pairs)
    };
    assert_eq!(check("").unwrap().len(), 1);
    for (mode, expected) in [
        ("violation-pair", "violation 0 is of pair 2, which does not exist"),
        ("violation-none", "violation 0 names no pair"),
        ("violation-rule", "violation 0 is of invariant 1, which does not exist"),
        ("violation-flood", "3 violations of 1 invariants by 2 pairs"),
    ] {
        let error = check(mode).unwrap_err();
        assert_eq!(error.function, "check-pairs", "{mode}");
        assert_eq!(error.kind, PluginErrorKind::Malformed(expected.to_owned()), "{mode}");
    }
    assert!(matches!(check("check:spin").unwrap_err().kind, PluginErrorKind::Fuel { .. }));
}

#[test]
fn nothing_is_remembered_between_checks() {
    let mapper = attach("calls", limits());
    let calls = |session: &mut dyn crate::plugin::Session| {
        let mapped = session.map(Side::Source, &things(1, "any")).unwrap();
        mapped.entities.columns[1].bytes(0).unwrap().to_vec()
    };
    let mut one = mapper.begin(Moment(0)).unwrap();
    assert_eq!((calls(&mut *one), calls(&mut *one)), (b"1".to_vec(), b"2".to_vec()));
    let mut two = mapper.begin(Moment(0)).unwrap();
    assert_eq!(calls(&mut *two), b"1");
}

#[test]
fn a_flood_of_messages_is_dropped_and_does_no_harm() {
    let mapper = attach("log-flood", limits());
    let mapped = mapper.begin(Moment(0)).unwrap().map(Side::Source, &things(2, "any")).unwrap();
    assert_eq!(mapped.entities.rows, 2);
}

#[test]
fn what_fails_at_start_names_the_function() {
    for (mode, function) in
        [("init:trap", "init"), ("plan:spin", "plan"), ("declare:panic", "declare")]
    {
        let error = bind(mode, limits()).unwrap_err();
        let AttachError::Plugin(error) = error else { panic!("{mode}: {error}") };
        assert_eq!(error.function, function, "{error}");
    }
    assert_eq!(
        bind("refuse", limits()).unwrap_err().to_string(),
        "plugin `bad`, init: /mode: is not liked; help\n  /other: is missing; help"
    );
}

#[test]
fn plans_that_are_too_wide_or_wrong_are_refused() {
    let unfit = |mode: &str| {
        let error = bind(mode, limits()).unwrap_err();
        let AttachError::Unfit { issues, .. } = error else { panic!("{mode}: {error}") };
        issues.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (mode, expected) in [
        (
            "two-relations",
            "/source/relations: the plan reads 2 relations of the source; this version supports one a side",
        ),
        (
            "no-relation",
            "/target/relations: the plan reads 0 relations of the target; this version supports one a side",
        ),
        ("two-entities", "/entities: the plan has 2 entity types; this version supports one"),
        (
            "group",
            "/source/relations/0/group-by: the plan groups rows of the source; this version supports a row a group",
        ),
        ("twin-rules", "/invariants/1/id: `one` is declared twice"),
    ] {
        assert_eq!(unfit(mode)[0], expected, "{mode}");
    }
    assert!(attach("group-by-key", limits()).plan().source.relations[0].group_by.is_empty());
    assert_eq!(
        unfit("wrong-plan"),
        [
            "/entities/0/fields/0/logical: field `id` has the unknown type `integre`; known: boolean, integer, decimal, float, text, binary, timestamp, datetime, date, time, json, enum, set, value",
            "/entities/0/fields/1/rules/0: unknown rule `trim`: known are absent=null, null=empty, trim-end, nfc, tolerance=<number>",
            "/entities/0/fields/1/role: version field `name` of type text; a version is an integer, a decimal, a timestamp or a datetime",
            "/entities/0/fields/2/name: field `name` is given twice",
            "/entities/0/fields: entity type `thing` has no key field",
            "/source/relations/0/columns/0: the source's relation `things` has no column `idd`; nearest: `id`",
            "/source/relations/0/columns/1: the source's relation `things` has no column `idd`; nearest: `id`",
            "/source/relations/0/columns/1: column `idd` is given twice",
        ]
    );
}

#[test]
fn files_that_are_no_plugins_are_refused() {
    let load = |code: &'static [u8]| {
        Host::new().load(&settings(code, "", limits())).map(drop).unwrap_err().to_string()
    };
    assert_eq!(load(b"#!/bin/sh"), "plugin `bad`: the file is no WebAssembly module or component");
    assert_eq!(load(b""), "plugin `bad`: the file is no WebAssembly module or component");
    // An empty core module, and an empty component.
    let empty = "it does not export driftd:plugin/lifecycle@0.1.0, driftd:plugin/mapping@0.1.0";
    assert!(load(b"\0asm\x01\0\0\0").contains(empty), "{}", load(b"\0asm\x01\0\0\0"));
    assert!(load(b"\0asm\x0d\0\x01\0").contains(empty));
    assert!(load(b"\0asm\x0d\0\x01\0garbage").contains("the code cannot be compiled"));
    assert!(load(b"\0asm\x01\0\0\0garbage").contains("the module cannot be made a component"));

    let missing = Settings {
        code: Code::File("/nowhere/plugin.wasm".into()),
        ..settings(HOSTILE, "", limits())
    };
    let error = Host::new().load(&missing).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("plugin `bad` (/nowhere/plugin.wasm): the file cannot be read"));
}

#[test]
fn other_imports_and_versions_are_refused_by_name() {
    // Components as text: wasmtime is built without a parser for it, so these are their bytes:
    // an import of an empty instance by a name, or an export of one.
    let load = |component: Vec<u8>| {
        let code: &'static [u8] = Vec::leak(component);
        Host::new().load(&settings(code, "", limits())).map(drop).unwrap_err().to_string()
    };
    assert!(
        load(importing("wasi:cli/environment@0.2.6"))
            .contains("it imports wasi:cli/environment@0.2.6; a plugin may import nothing but"),
        "{}",
        load(importing("wasi:cli/environment@0.2.6"))
    );
    assert!(
        load(importing("driftd:plugin/store@0.1.0"))
            .contains("it imports driftd:plugin/store@0.1.0")
    );
    let other = load(importing("driftd:plugin/host@0.2.0"));
    assert!(
        other
            .contains("it speaks driftd:plugin/host@0.2.0, this driftd speaks driftd:plugin@0.1.0"),
        "{other}"
    );
}

#[test]
fn a_core_module_that_imports_wasi_is_refused_by_name() {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, a function without arguments and results; and an import of it.
    module.extend_from_slice(&[1, 4, 1, 0x60, 0, 0]);
    let (from, name) = ("wasi_snapshot_preview1", "sched_yield");
    let sizes = [from.len(), name.len()].map(|size| u8::try_from(size).unwrap());
    module.extend_from_slice(&[2, sizes[0] + sizes[1] + 5, 1, sizes[0]]);
    module.extend_from_slice(from.as_bytes());
    module.push(sizes[1]);
    module.extend_from_slice(name.as_bytes());
    module.extend_from_slice(&[0, 0]);
    let settings = settings(Vec::leak(module), "", limits());
    let error = Host::new().load(&settings).map(drop).unwrap_err().to_string();
    assert!(error.contains("wasi_snapshot_preview1"), "{error}");
    assert!(error.contains("sched_yield"), "{error}");
}

/// A component that imports an empty instance called `name`.
fn importing(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // A type section: one instance type without declarations.
    component.extend_from_slice(&[7, 3, 1, 0x42, 0]);
    // An import section: the name, and an instance of type 0.
    component.extend_from_slice(&[10, length + 5, 1, 0, length]);
    component.extend_from_slice(name.as_bytes());
    component.extend_from_slice(&[5, 0]);
    component
}

#[test]
fn the_ticker_stops_with_its_last_user() {
    let ticking = |host: &Host| Arc::downgrade(&host.machine);
    let host = Host::new();
    let machine = ticking(&host);
    let loaded = host.load(&settings(HOSTILE, "", limits())).unwrap();
    drop(host);
    assert!(machine.upgrade().is_some(), "what was loaded still needs deadlines");
    // Dropping joins the thread: this would hang if it did not end.
    drop(loaded);
    assert!(machine.upgrade().is_none());
}

#[test]
fn the_identity_changes_with_code_and_configuration() {
    let identity = |mode: &str| attach(mode, limits()).identity();
    assert_eq!(identity("calls"), identity("calls"));
    assert_ne!(identity("calls"), identity("warn"));
}
