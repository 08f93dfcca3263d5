//! Guests that misbehave: what each costs, what is said of it, and that the next one works.

use std::time::{Duration, Instant};

use super::*;
use crate::model::{
    Batch, ColumnBuilder, ColumnDef, FaultCode, Logical, Moment, RelationSchema, Side,
};
use crate::plugin::template::KeyTemplate;
use crate::plugin::{Limits, Pairs, Place, Rows, Tally};

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
        partial: false,
    }
}

fn bind(mode: &str, limits: Limits) -> Result<Attached, AttachError> {
    bind_on(&Host::new(), mode, limits)
}

fn bind_on(host: &Host, mode: &str, limits: Limits) -> Result<Attached, AttachError> {
    let schema = schema();
    let place = Place { schemas: std::slice::from_ref(&schema), key: None };
    let binding = Binding { pairing: "things", source: place, target: place };
    host.load(&settings(HOSTILE, mode, limits)).unwrap().bind(&binding)
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
    let error = session.map(Side::Source, &Rows::each(0, &things(3, "any"))).unwrap_err();
    assert_eq!((error.plugin.as_str(), error.function), ("bad", "map-batch"), "{mode}");
    assert_eq!(error.digest.len(), 12, "{mode}");
    let good = things(3, "be good");
    assert_eq!(
        session.map(Side::Target, &Rows::each(0, &good)).unwrap().outputs[0].entities,
        good,
        "{mode}"
    );
    let mut next = mapper.begin(Moment(0)).unwrap();
    assert_eq!(
        next.map(Side::Source, &Rows::each(0, &good)).unwrap().outputs[0].entities,
        good,
        "{mode}"
    );
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
    let error = session.map(Side::Source, &Rows::each(0, &things(3, "any"))).unwrap_err();
    let took = now() - began;
    assert_eq!(error.kind, PluginErrorKind::Deadline { millis: 50 });
    assert!(took >= Duration::from_millis(50), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn calls_that_each_keep_to_the_deadline_end_together() {
    let limits =
        Limits { fuel_per_call: u64::MAX / 2, deadline: Duration::from_millis(10), ..limits() };
    let mut session = attach("spin", limits).begin(Moment(0)).unwrap();
    let rows = things(3, "any");
    let mut call = || session.map(Side::Source, &Rows::each(0, &rows)).unwrap_err();
    let spent = |kind: &PluginErrorKind| *kind == PluginErrorKind::Patience { millis: 600 };
    // Of sixty deadlines each call takes one, or two at most.
    let calls = (0..200).position(|_| spent(&call().kind));
    assert!(calls.is_some_and(|calls| calls >= 20), "{calls:?}");
    assert_eq!(call().remedy().split(',').next(), Some("make the plugin faster"));
}

#[test]
fn memory_is_bounded() {
    let kind = fault("memory", limits());
    let PluginErrorKind::Memory { allowed, detail } = &kind else { panic!("{kind:?}") };
    assert_eq!(*allowed, 16 << 20);
    assert!(detail.contains("bytes of linear memory"), "{detail}");
}

#[test]
fn large_guests_take_turns_and_waiting_costs_no_deadline() {
    let limits = Limits {
        fuel_per_call: u64::MAX / 2,
        deadline: Duration::from_millis(300),
        memory: 32 << 20,
        output: 64 << 20,
        ..limits()
    };
    let host = Host::with_memory(32 << 20);
    let on_host = |mode| bind_on(&host, mode, limits).unwrap().mapper;
    // The first of them says ten megabytes, and then maps its rows.
    let (large, bomb, spin) = (on_host("long-log"), on_host("memory"), on_host("spin"));
    let rows = things(3, "any");
    let map = |mapper: &Arc<dyn Mapper>| {
        let mut session = mapper.begin(Moment(0)).unwrap();
        session.map(Side::Source, &Rows::each(0, &rows))
    };

    // What lies idle between two calls is nobody's hindrance, though there is room for one only.
    let mut sessions = [(); 3].map(|()| large.begin(Moment(0)).unwrap());
    for _ in 0..3 {
        for session in &mut sessions {
            let mapped = session.map(Side::Source, &Rows::each(0, &rows)).unwrap();
            assert_eq!(mapped.outputs[0].entities, rows);
        }
    }

    let (busy, _) = host.machine.pool.enter(1);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| map(&large));
        while !host.machine.pool.is_waited_for() {
            std::thread::yield_now();
        }
        // Whoever needs little goes on, and takes longer than the deadline.
        for _ in 0..2 {
            let error = map(&spin).unwrap_err();
            assert_eq!(error.kind, PluginErrorKind::Deadline { millis: 300 });
        }
        assert!(!waiting.is_finished());
        drop(busy);
        assert_eq!(waiting.join().unwrap().unwrap().outputs[0].entities, rows);
    });

    std::thread::scope(|scope| {
        let bombs = [(); 4].map(|()| scope.spawn(|| map(&bomb).unwrap_err().kind));
        for _ in 0..4 {
            map(&large).unwrap();
        }
        for bomb in bombs {
            let kind = bomb.join().unwrap();
            assert!(matches!(kind, PluginErrorKind::Memory { .. }), "{kind:?}");
        }
    });
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
        ("group-order", "from-group falls at entity 1"),
        ("group-range", "from-group names a group beyond the 3 of this call"),
        ("wrong-entity", "an output of entity type 1, which is not in the plan"),
        ("two-outputs", "two outputs of entity type 0"),
        ("wrong-note", "note 0 is about row 3 of input 0, which does not exist"),
        ("both", "group 0 is both mapped and rejected"),
    ] {
        assert_eq!(
            fault(mode, limits()),
            PluginErrorKind::Malformed(expected.to_owned()),
            "{mode}"
        );
    }
    let roomy = Limits { memory: 256 << 20, ..limits() };
    assert_eq!(fault("huge-output", roomy), PluginErrorKind::Output { allowed: 1 << 20 });
    // Four gigabytes that are not there.
    for mode in ["huge-length", "huge-list"] {
        let kind = fault(mode, limits());
        let told = kind.to_string();
        assert!(
            matches!(kind, PluginErrorKind::Malformed(_) | PluginErrorKind::Output { .. }),
            "{told}"
        );
        assert!(told.len() < 200, "{told}");
    }
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
        let error = session.map(Side::Source, &Rows::each(0, &things(3, "any"))).unwrap_err();
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
            entity: 0,
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
        ("violation-scope", "violation 0 is of invariant 1, which is of a partition"),
    ] {
        let error = check(mode).unwrap_err();
        assert_eq!(error.function, "check-pairs", "{mode}");
        assert_eq!(error.kind, PluginErrorKind::Malformed(expected.to_owned()), "{mode}");
    }
    assert!(matches!(check("check:spin").unwrap_err().kind, PluginErrorKind::Fuel { .. }));
}

#[test]
fn accumulators_are_checked() {
    let pair = things(2, "x");
    let there = [true, true];
    let tally = |mode: &str, invariant| {
        let attached = bind(mode, limits()).unwrap();
        let pairs = Pairs {
            entity: 0,
            source: &pair,
            source_present: &there,
            target: &pair,
            target_present: &there,
        };
        let mut trial = attached.trial(Moment(0));
        let fed = trial.tally(invariant, &Tally::Pairs(&[pairs]));
        // Whatever became of it, the next one works.
        trial.map(Side::Source, &Rows::each(0, &things(1, "be good"))).unwrap();
        fed.map_err(|error| error.kind)
    };
    assert_eq!(tally("tally-nothing", 1).unwrap().violations, []);
    for (mode, invariant, expected) in [
        ("tally-rule", 1, "the accumulator of invariant 1 tells a violation of invariant 0"),
        ("tally-pair", 1, "the accumulator of invariant 1 names a pair"),
        ("tally-nothing", 0, "invariant 0 is not of a partition"),
        ("tally-nothing", 2, "invariant 2 is not of a partition"),
    ] {
        let malformed = PluginErrorKind::Malformed(expected.to_owned());
        assert_eq!(tally(mode, invariant).unwrap_err(), malformed, "{mode}");
    }
    for mode in ["accumulator:spin", "push:spin", "snapshot:spin", "finish:spin", "tally-flood"] {
        let kind = tally(mode, 1).unwrap_err();
        let bounded = matches!(
            kind,
            PluginErrorKind::Fuel { .. }
                | PluginErrorKind::Output { .. }
                | PluginErrorKind::Memory { .. }
        );
        assert!(bounded, "{mode}: {kind:?}");
    }
}

#[test]
fn nothing_is_remembered_between_checks() {
    let mapper = attach("calls", limits());
    let calls = |session: &mut dyn crate::plugin::Session| {
        let mapped = session.map(Side::Source, &Rows::each(0, &things(1, "any"))).unwrap();
        mapped.outputs[0].entities.columns[1].bytes(0).unwrap().to_vec()
    };
    let mut one = mapper.begin(Moment(0)).unwrap();
    assert_eq!((calls(&mut *one), calls(&mut *one)), (b"1".to_vec(), b"2".to_vec()));
    let mut two = mapper.begin(Moment(0)).unwrap();
    assert_eq!(calls(&mut *two), b"1");
}

#[test]
fn a_flood_of_messages_is_dropped_and_does_no_harm() {
    let mapper = attach("log-flood", limits());
    let mapped = mapper
        .begin(Moment(0))
        .unwrap()
        .map(Side::Source, &Rows::each(0, &things(2, "any")))
        .unwrap();
    assert_eq!(mapped.outputs[0].entities.rows, 2);
}

#[test]
fn where_no_row_became_an_entity_there_is_nothing_to_locate() {
    let schema = schema();
    let template = crate::plugin::template::Template::parse("{id}").unwrap();
    let key = KeyTemplate { columns: vec![("id".to_owned(), template)] };
    let place = Place { schemas: std::slice::from_ref(&schema), key: Some(&key) };
    let binding = Binding { pairing: "things", source: place, target: place };
    let loaded = Host::new().load(&settings(HOSTILE, "nothing", limits())).unwrap();
    let mapper = loaded.bind(&binding).unwrap().mapper;
    let mut session = mapper.begin(Moment(0)).unwrap();
    let mapped = session.map(Side::Source, &Rows::each(0, &things(3, "any"))).unwrap();
    assert_eq!(mapped.outputs, []);
    assert_eq!(session.locate(Side::Target, 0, &Batch::default()).unwrap(), []);
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
        ("two-relations", "/source/relations/1/relation: relation `things` is given twice"),
        (
            "no-relation",
            "/target/relations: the plan reads no relation of the target, or more than 1000",
        ),
        ("two-entities", "/entities/1/name: entity type `thing` is given twice"),
        ("twin-rules", "/invariants/1/id: `one` is declared twice"),
        (
            "odd-scope",
            "/invariants/0/scope: invariant `one` has the unknown scope `table`; known: pair, partition",
        ),
    ] {
        assert_eq!(unfit(mode)[0], expected, "{mode}");
    }
    let grouped = |mode| attach(mode, limits()).plan().source.relations[0].group_by.clone();
    assert_eq!(grouped("group"), [1]);
    assert_eq!(grouped("group-by-key"), [0; 0], "groups of which each is one row are none");
    assert_eq!(
        unfit("wrong-plan"),
        [
            "/entities/0/fields/0/logical: field `id` has the unknown type `integre`; known: boolean, integer, decimal, float, float32, text, binary, timestamp, datetime, date, time, json, enum, set, value",
            "/entities/0/fields/1/rules/0: unknown rule `trim`: known are absent=null, null=empty, trim-end, nfc, text=number, text=bool, text=hex, text=base64, number=bool, json-null=null, tolerance=<number>",
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
fn names_of_megabytes_are_refused_or_cut_and_never_told_in_full() {
    let roomy = Limits { memory: 256 << 20, output: 256 << 20, ..limits() };
    for mode in [
        "long-field",
        "long-type",
        "long-rule",
        "long-entity",
        "long-column",
        "long-ignored",
        "long-invariant",
        "long-scope",
        "long-issue",
        "many-issues",
        "many-fields",
        "many-groups",
    ] {
        let told = bind(mode, roomy).unwrap_err().to_string();
        assert!(told.len() < 120_000, "{mode}: {} bytes", told.len());
        // With the limits of every day it is refused as well, by whatever comes first.
        bind(mode, limits()).unwrap_err();
    }
    let mapped = |mode: &str| {
        let mut session = attach(mode, roomy).begin(Moment(0)).unwrap();
        session.map(Side::Source, &Rows::each(0, &things(3, "any")))
    };
    assert_eq!(mapped("long-log").unwrap().outputs[0].entities.rows, 3);
    let PluginErrorKind::Own { code, message } = mapped("long-error").unwrap_err().kind else {
        panic!("it is its own error")
    };
    assert_eq!((code.len(), message.len()), (100, 1_000));
    // The row that the note is about is mapped as well.
    assert!(matches!(mapped("long-note").unwrap_err().kind, PluginErrorKind::Malformed(_)));
    let pair = things(1, "x");
    let there = [true];
    let pairs = Pairs {
        entity: 0,
        source: &pair,
        source_present: &there,
        target: &pair,
        target_present: &there,
    };
    let found = attach("check:none", roomy).begin(Moment(0)).unwrap().check_pairs(&pairs).unwrap();
    assert_eq!(found[0].violation.message, "so");
    let found = attach("long-violation", roomy).begin(Moment(0)).unwrap().check_pairs(&pairs);
    assert_eq!(found.unwrap()[0].violation.message.len(), 1_000);
}

#[test]
fn a_guarded_guest_loses_the_rows_that_it_fails_on_and_no_others() {
    let mixed = |count: usize, bad: &[usize]| {
        let (mut ids, mut names) = (ColumnBuilder::int64(count), ColumnBuilder::bytes(count));
        for row in 0..count {
            ids.push_i64(i64::try_from(row).unwrap());
            names.push_bytes(if bad.contains(&row) { b"bad" } else { b"good" });
        }
        Batch { rows: count, columns: vec![ids.finish(), names.finish()] }
    };
    for (way, cause) in [
        ("row:spin", "used up its fuel of 50001000"),
        ("row:trap", "trapped: wasm trap: wasm `unreachable`"),
        ("row:panic", "the guest panics on purpose"),
        ("row:memory", "wanted more memory than"),
        ("row:deep-stack", "trapped: wasm trap: call stack exhausted"),
    ] {
        let clock = Arc::new(|| Moment(0));
        let mapper = crate::plugin::guarded(attach(way, limits()), "things", clock);
        let mut session = mapper.begin(Moment(0)).unwrap();
        let rows = mixed(300, &[0, 7, 8, 299]);
        let mapped = session.map(Side::Source, &Rows::each(0, &rows)).unwrap();
        let kept: Vec<usize> = (0..300).filter(|row| ![0, 7, 8, 299].contains(row)).collect();
        assert_eq!(mapped.outputs[0].entities, rows.take(&kept), "{way}");
        assert_eq!(mapped.outputs[0].from_group, kept, "{way}");
        let (guilty, why): (Vec<usize>, Vec<&str>) =
            mapped.rejected.iter().map(|(row, why)| (*row, why.as_str())).unzip();
        assert_eq!(guilty, [0, 7, 8, 299], "{way}");
        assert!(why.iter().all(|why| why.contains(cause)), "{way}: {why:?}");
        // The reason is the same at every look, or it would never be seen to stand still.
        assert!(why.iter().all(|each| *each == why[0]), "{way}: {why:?}");
    }
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
    assert!(load(b"\0asm\x01\0\0\0garbage").contains("the code cannot be compiled"));

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
    for socket in ["wasi:sockets/tcp@0.2.6", "wasi:sockets/network@0.2.6"] {
        let told = load(importing(socket));
        assert!(told.contains(&format!("it imports {socket}; a plugin may")), "{told}");
    }
    assert!(
        load(importing("driftd:plugin/store@0.1.0"))
            .contains("it imports driftd:plugin/store@0.1.0")
    );
    let other = load(importing("driftd:plugin/host@0.2.0"));
    assert!(
        other.contains(
            "it speaks driftd:plugin/host@0.2.0; this driftd speaks driftd:plugin in version 0.1.0: "
        ),
        "{other}"
    );
}

#[test]
fn a_core_module_that_imports_wasi_is_refused_by_name() {
    for name in ["sched_yield", "sock_open", "sock_accept"] {
        refused(name);
    }
}

fn refused(name: &str) {
    let mut module = b"\0asm\x01\0\0\0".to_vec();
    // One type, a function without arguments and results; and an import of it.
    module.extend_from_slice(&[1, 4, 1, 0x60, 0, 0]);
    let from = "wasi_snapshot_preview1";
    let sizes = [from.len(), name.len()].map(|size| u8::try_from(size).unwrap());
    module.extend_from_slice(&[2, sizes[0] + sizes[1] + 5, 1, sizes[0]]);
    module.extend_from_slice(from.as_bytes());
    module.push(sizes[1]);
    module.extend_from_slice(name.as_bytes());
    module.extend_from_slice(&[0, 0]);
    let settings = settings(Vec::leak(module), "", limits());
    let error = Host::new().load(&settings).map(drop).unwrap_err().to_string();
    assert!(error.contains("wasi_snapshot_preview1"), "{error}");
    assert!(error.contains(name), "{error}");
}

#[test]
fn many_long_names_are_told_in_a_few_words() {
    let long = |number: usize| format!("driftd:plugin/{}{number}@0.1.0", "n".repeat(90_000));
    let names: Vec<_> = (0..50).map(long).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let load = |component: Vec<u8>| {
        let code: &'static [u8] = Vec::leak(component);
        Host::new().load(&settings(code, "", limits())).map(drop).unwrap_err().to_string()
    };
    let told = load(importing_all(&names));
    assert!(told.contains("nnn") && told.contains(" and 30 more"), "{told}");
    assert!(told.len() < 10_000, "{} bytes", told.len());
    // Twice the same name is no component.
    let told = load(importing_all(&[names[0], names[0]]));
    assert!(told.contains("cannot be compiled") && told.len() < 10_000, "{} bytes", told.len());
}

/// A component that imports an empty instance called `name`.
fn importing(name: &str) -> Vec<u8> {
    importing_all(&[name])
}

fn importing_all(names: &[&str]) -> Vec<u8> {
    let number = |number: usize| {
        let low = |shift: usize| u8::try_from(number >> shift & 0x7f).unwrap();
        // Always of four bytes, which is as good.
        [low(0) | 0x80, low(7) | 0x80, low(14) | 0x80, low(21)]
    };
    let mut component = b"\0asm\x0d\0\x01\0".to_vec();
    // A type section: one instance type without declarations.
    component.extend_from_slice(&[7, 3, 1, 0x42, 0]);
    // An import section: the names, each of an instance of type 0.
    let mut imports = number(names.len()).to_vec();
    for name in names {
        imports.push(0);
        imports.extend_from_slice(&number(name.len()));
        imports.extend_from_slice(name.as_bytes());
        imports.extend_from_slice(&[5, 0]);
    }
    component.push(10);
    component.extend_from_slice(&number(imports.len()));
    component.extend_from_slice(&imports);
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

#[test]
fn a_self_test_refuses_what_no_guard_can_help_and_tells_no_value() {
    let rows = things(7, "a secret");
    // Room enough to return too much.
    let limits = || Limits { memory: 128 << 20, ..limits() };
    let proven =
        |mode: &str| attach(mode, limits()).prove(Side::Source, &Rows::each(0, &rows), Moment(0));
    for mode in ["good", "warn", "nothing", "same-key", "row:trap", "init:log-flood"] {
        proven(mode).unwrap_or_else(|error| panic!("{mode}: {error}"));
    }
    let again = "breaks the law \"the same batch twice gives the same bytes\": again on the same \
                 instance, 7 of 7 rows give other values of `name`";
    let more = "breaks the law \"what a call returns is within its limits\": it returned more than \
                1048576 bytes of output";
    for (mode, told) in [("calls", again), ("huge-output", more)] {
        let error = proven(mode).unwrap_err();
        let digest = &error.digest;
        let place = format!("plugin `bad` ({digest}), map-batch, pairing `things`, source, 7 rows");
        assert_eq!(error.blame(), format!("{place}: {told}"), "{mode}");
        assert!(error.remedy().contains("driftd plugin test"), "{}", error.remedy());
    }
    for (mode, code) in
        [("trap", "plugin-trap"), ("spin", "plugin-fuel"), ("error", "plugin-error")]
    {
        let error = proven(mode).unwrap_err();
        assert_eq!(error.kind.code().as_str(), code, "the guard's affair");
        assert!(error.blame().contains("pairing `things`, source, 7 rows"), "{}", error.blame());
    }
    // What is empty says nothing, and the guard around a plugin is not in the way.
    let calls = attach("calls", limits());
    calls.prove(Side::Source, &Rows::each(0, &things(0, "")), Moment(0)).unwrap();
    let guarded = crate::plugin::guarded(calls, "things", Arc::new(|| Moment(0)));
    let error = guarded.prove(Side::Target, &Rows::each(0, &rows), Moment(0)).unwrap_err();
    assert_eq!(error.kind.code(), FaultCode::PluginLawless);
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_refused() {
    let host = Host::new();
    let module: Vec<usize> = (8..HOSTILE.len()).step_by(HOSTILE.len() / 40).collect();
    for length in module.into_iter().chain([0, 4, HOSTILE.len() - 1]) {
        let refused = host.load(&settings(&HOSTILE[..length], "any", limits()));
        assert!(refused.is_err(), "{length} of {} bytes", HOSTILE.len());
    }
    let component = &*Vec::leak(encode(HOSTILE).unwrap());
    for length in (8..component.len()).step_by(component.len() / 20) {
        let refused = host.load(&settings(&component[..length], "any", limits()));
        assert!(refused.is_err(), "{length} of {} bytes", component.len());
    }
}
