//! Neither side minds that the contract grows by an interface.
//!
//! Owns a contract that has grown (`grown/`: `wit/driftd.wit` and one interface more), a guest that was
//! built against it, and a host that was. Refuses to say what the interface is good for. Invariant: but
//! for that interface both are what they are without it.

use std::fs;

use driftd::plugin::Code;
use driftd::plugin::wasm::Host;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::module::{Reader, number};
use super::{corpus, repository, settings};

/// The bindings of a host that is newer than the plugin.
mod bindings {
    wasmtime::component::bindgen!({ path: "tests/contract/grown", world: "grown" });
}

const WATCHING: &str = "driftd:plugin/watching@0.1.0";

/// The `users` plugin of the first release, as it was built.
fn released() -> Vec<u8> {
    fs::read(repository("tests/corpus/0.1.0/users/users.wasm")).unwrap()
}

/// The section of exports with more of them: functions that are exported already, under other names.
fn exporting(section: &[u8], more: &[(&str, &str)]) -> Vec<u8> {
    let mut reader = Reader(section);
    let count = reader.number();
    let mut exports = reader.0.to_vec();
    let mut indices = Vec::new();
    for _ in 0..count {
        let name = reader.counted();
        indices.push((name, reader.take(1)[0], reader.number()));
    }
    for (of, name) in more {
        let known = indices.iter().find(|(known, kind, _)| *known == of.as_bytes() && *kind == 0);
        exports.extend(number(name.len()));
        exports.extend(name.as_bytes());
        exports.push(0);
        exports.extend(number(known.unwrap_or_else(|| panic!("it exports no {of}")).2));
    }
    [number(count + more.len()), exports].concat()
}

/// The released plugin as if it had been built against the contract that has grown: its module exports
/// the new interface, too, and says so as what bindings of the new world would have it say.
fn of_a_later_release() -> &'static [u8] {
    const EXPORTS: u8 = 7;
    let module = released();
    let ready = format!("{WATCHING}#ready");
    let watch = format!("{WATCHING}#watch");
    // Any function of the same shape will do: it is not called.
    let more = [
        ("driftd:plugin/lifecycle@0.1.0#describe", ready.as_str()),
        ("driftd:plugin/mapping@0.1.0#map-batch", watch.as_str()),
    ];
    let mut grown = module[..8].to_vec();
    let mut reader = Reader(&module[8..]);
    while !reader.0.is_empty() {
        let id = reader.take(1)[0];
        let section = reader.counted();
        let section = if id == EXPORTS { exporting(section, &more) } else { section.to_vec() };
        grown.push(id);
        grown.extend(number(section.len()));
        grown.extend(section);
    }
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(repository("daemon/tests/contract/grown")).unwrap();
    let world = resolve.packages[package].worlds["of-a-later-release"];
    embed_component_metadata(&mut grown, &resolve, world, StringEncoding::UTF8).unwrap();
    grown.leak()
}

#[test]
fn a_plugin_that_exports_an_interface_more_maps_as_without_it() {
    let code = Code::Embedded(of_a_later_release());
    let inspected = Host::new().inspect(&settings("users", code.clone())).unwrap();
    assert!(inspected.exports.iter().any(|export| export == WATCHING), "{inspected:?}");
    assert_eq!(inspected.left_alone, [WATCHING]);
    assert_eq!(inspected.admitted.unwrap().name, "users");
    let note = format!(
        "plugin `users` exports {WATCHING}, which this driftd does not know and leaves alone"
    );
    let fixtures = repository("tests/corpus/0.1.0/users/fixtures");
    let cases = corpus::run(&Host::new(), &settings("users", code), &fixtures, &[note]);
    assert!(cases > 10, "{cases}");
}

/// What a guest may call, and nobody listens.
struct Silence;

impl bindings::driftd::plugin::host::Host for Silence {
    fn log(&mut self, _level: bindings::driftd::plugin::host::Level, _message: String) {}

    fn count(&mut self, _name: String, _delta: u64) {}
}

#[test]
fn a_host_that_knows_an_interface_more_runs_a_plugin_without_it() {
    use bindings::exports::driftd::plugin::{invariants, lifecycle, mapping, watching};

    let engine = Engine::default();
    let component = |module: &[u8]| {
        let encoder = ComponentEncoder::default().module(module).unwrap();
        Component::from_binary(&engine, &encoder.validate(true).encode().unwrap()).unwrap()
    };
    let mut linker = Linker::new(&engine);
    bindings::driftd::plugin::host::add_to_linker::<_, HasSelf<_>>(&mut linker, |it| it).unwrap();
    let pre = linker.instantiate_pre(&component(&released())).unwrap();
    // Interfaces are looked for one by one, so that one that is lacking is an ability that is lacking.
    assert!(watching::GuestIndices::new(&pre).is_err());
    mapping::GuestIndices::new(&pre).unwrap();
    let (lifecycle, invariants) =
        (lifecycle::GuestIndices::new(&pre).unwrap(), invariants::GuestIndices::new(&pre).unwrap());
    let mut store = Store::new(&engine, Silence);
    let instance = pre.instantiate(&mut store).unwrap();
    let lifecycle = lifecycle.load(&mut store, &instance).unwrap();
    assert_eq!(lifecycle.call_describe(&mut store).unwrap().name, "users");
    assert!(lifecycle.call_init(&mut store, "{}").unwrap().is_ok());
    invariants.load(&mut store, &instance).unwrap();

    let grown = linker.instantiate_pre(&component(of_a_later_release())).unwrap();
    watching::GuestIndices::new(&grown).unwrap();
}
