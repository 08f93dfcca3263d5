//! The edge between the host and the versions of the contract.
//!
//! Owns what the host asks of a guest and the words of the answers, the table of versions, and the
//! choice of one by what a component imports and exports. Refuses to let a version be seen beyond it: each
//! is one file beside this one, with its bindings and their conversion, and one line of the table.
//! Invariant: a component is run in the newest version that it speaks, which is chosen once, when it is
//! loaded, and never asked for again.

use std::sync::Arc;

use wasmtime::component::Component;

use super::machine::{Guest, Machine, shortened};
use super::planning::{Proposal, ProposedInvariant};
use super::trial::Cost;
use super::{LoadErrorKind, v0_1};
use crate::model::{Batch, Moment, RelationSchema, Side, Standing};
use crate::plugin::{Limits, Pairs, PlanIssue, PluginErrorKind, Rows, Tally};

/// Bytes of a name of an interface that are kept.
const NAME_BYTES: usize = 200;
/// The package of every version.
const PACKAGE: &str = "driftd:plugin/";

/// The versions that guests may speak, newest first. An older one stays for as long as `wit/README.md`
/// promises.
pub(super) const VERSIONS: [Version; 1] = [v0_1::VERSION];

/// A version of the contract.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    /// Its number.
    pub(super) number: &'static str,
    /// The interfaces that a guest may import.
    pub(super) imports: &'static [&'static str],
    /// The interfaces that a guest must export.
    pub(super) required: &'static [&'static str],
    /// The interfaces that it may export, too. Any other is left alone.
    pub(super) optional: &'static [&'static str],
    /// Finds the exports of a component in which all that is required is there.
    pub(super) open: fn(&Machine, &Component) -> wasmtime::Result<Arc<dyn Contract>>,
}

/// What the host asks of a compiled guest.
pub(super) trait Contract: Send + Sync {
    /// Starts a fresh guest.
    fn start(
        &self,
        machine: &Machine,
        guest: Guest,
        limits: Limits,
    ) -> Result<Box<dyn Instance>, PluginErrorKind>;
}

/// What the host asks of a guest that runs. After an error it must be dropped: a guest that trapped
/// cannot be entered again.
pub(super) trait Instance: Send {
    /// Bytes of log messages that the guest may still write.
    fn log_left(&self) -> usize;

    /// What the dearest call took since [`forget_cost`](Self::forget_cost).
    fn cost(&self) -> Cost;

    /// Whether it has so much memory that others may wait for it.
    fn is_large(&self) -> bool;

    /// Counts anew what calls take.
    fn forget_cost(&mut self);

    /// Ticks that its calls waited for others since it was last asked.
    fn take_waited(&mut self) -> u64;

    /// What the plugin says of itself.
    fn describe(&mut self) -> Result<Info, PluginErrorKind>;

    /// Hands over the configuration.
    fn init(&mut self, config: &str) -> Result<Result<(), Vec<PlanIssue>>, PluginErrorKind>;

    /// Hands over the schemas, and takes the plan.
    fn plan(
        &mut self,
        pairing: &str,
        source: &[RelationSchema],
        target: &[RelationSchema],
    ) -> Result<Result<Proposal, Vec<PlanIssue>>, PluginErrorKind>;

    /// The rules that must hold; none where the guest has no rules.
    fn declare(
        &mut self,
        pairing: &str,
    ) -> Result<Result<Vec<ProposedInvariant>, Vec<PlanIssue>>, PluginErrorKind>;

    /// Maps rows; `relations` are the positions of the plan's relations among the schemas.
    fn map_batch(
        &mut self,
        context: Context<'_>,
        side: Side,
        rows: &Rows<'_>,
        relations: &[u32],
    ) -> Result<RawMapped, PluginErrorKind>;

    /// Whether the guest says where entities are, and whose rows lie at store keys.
    fn locates(&self) -> bool;

    /// Where the store of `side` keeps these entities. None: the plugin leaves that to others.
    fn locate(
        &mut self,
        context: Context<'_>,
        side: Side,
        entity: u32,
        entities: &Batch,
    ) -> Result<Option<Vec<RawLocated>>, PluginErrorKind>;

    /// Whose rows lie at these keys of a relation, given by its position among the schemas.
    fn keys_of(
        &mut self,
        context: Context<'_>,
        side: Side,
        relation: u32,
        keys: &Batch,
    ) -> Result<Vec<RawOutput>, PluginErrorKind>;

    /// Checks the rules on pairs.
    fn check_pairs(
        &mut self,
        context: Context<'_>,
        pairs: &Pairs<'_>,
    ) -> Result<Vec<RawViolation>, PluginErrorKind>;

    /// Feeds a fresh accumulator: its snapshot, and what it says at the end.
    fn tally(
        &mut self,
        context: Context<'_>,
        invariant: u32,
        tally: &Tally<'_>,
    ) -> Result<(Vec<u8>, Vec<RawViolation>), PluginErrorKind>;
}

/// What a plugin says of itself.
pub(super) struct Info {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) summary: String,
    /// JSON Schema of its own configuration, as a text.
    pub(super) config_schema: String,
}

/// What a batch gave, before it is checked.
pub(super) struct RawMapped {
    pub(super) outputs: Vec<RawOutput>,
    /// What the guest says of rows.
    pub(super) notes: Vec<RawNote>,
}

/// A note as a guest returned it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawNote {
    /// The input of the call, and the row of it, that it is about.
    pub(super) input: usize,
    pub(super) row: usize,
    /// The group of that row.
    pub(super) group: usize,
    pub(super) kind: String,
    pub(super) message: String,
}

/// Entities as a guest returned them.
pub(super) struct RawOutput {
    pub(super) entity: u32,
    pub(super) items: Batch,
    pub(super) from_group: Vec<u32>,
    pub(super) standing: Vec<Standing>,
}

/// Store keys as a guest returned them.
#[derive(Clone, Debug)]
pub(super) struct RawLocated {
    pub(super) relation: u32,
    pub(super) access: String,
    pub(super) keys: Batch,
    pub(super) from_entity: Vec<u32>,
}

/// A violation as a guest returned it.
pub(super) struct RawViolation {
    pub(super) invariant: u32,
    pub(super) pair: Option<u32>,
    pub(super) message: String,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) pairing: &'a str,
    pub(super) as_of: Moment,
}

/// The names that a component imports and exports, each shortened: what is longer is none of ours.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
}

impl Names {
    pub(super) fn of(machine: &Machine, component: &Component) -> Self {
        let (component, engine) = (component.component_type(), &machine.engine);
        let name = |name: &str| shortened(name, NAME_BYTES).to_owned();
        let imports = component.imports(engine).map(|(of, _)| name(of)).collect();
        let exports = component.exports(engine).map(|(of, _)| name(of)).collect();
        Self { imports, exports }
    }

    /// The newest of `versions` that a component with these names speaks.
    pub(super) fn choose<'v>(&self, versions: &'v [Version]) -> Result<&'v Version, LoadErrorKind> {
        let foreign: Vec<_> =
            self.imports.iter().filter(|name| !name.starts_with(PACKAGE)).cloned().collect();
        if !foreign.is_empty() {
            return Err(LoadErrorKind::Imports(foreign));
        }
        let ours = || self.imports.iter().chain(&self.exports).filter(|it| it.starts_with(PACKAGE));
        let exports = |version: &&Version| {
            version.required.iter().any(|interface| self.exports.contains(&version.full(interface)))
        };
        // Of one that exports nothing that counts, what is told is what it lacks in the version it names.
        let names =
            |version: &&Version| ours().any(|name| name.rsplit('@').next() == Some(version.number));
        let spoken = versions.iter().find(exports).or_else(|| versions.iter().find(names));
        let Some(version) = spoken else {
            let found: Vec<_> = ours().cloned().collect();
            let newest = versions.first();
            let missing =
                newest.into_iter().flat_map(|it| it.required.iter().map(|of| it.full(of)));
            return Err(match found.is_empty() {
                true => LoadErrorKind::Exports(missing.collect()),
                false => {
                    let supported = versions.iter().map(|it| it.number).collect();
                    LoadErrorKind::Version { found, supported }
                }
            });
        };
        let allowed: Vec<String> = version.imports.iter().map(|it| version.full(it)).collect();
        let beyond: Vec<_> =
            self.imports.iter().filter(|name| !allowed.contains(name)).cloned().collect();
        if !beyond.is_empty() {
            return Err(LoadErrorKind::Imports(beyond));
        }
        let required = version.required.iter().map(|interface| version.full(interface));
        let missing: Vec<_> = required.filter(|name| !self.exports.contains(name)).collect();
        if missing.is_empty() { Ok(version) } else { Err(LoadErrorKind::Exports(missing)) }
    }
}

impl Version {
    /// The full name of one of its interfaces.
    pub(super) fn full(&self, interface: &str) -> String {
        format!("{PACKAGE}{interface}@{}", self.number)
    }

    /// What a component exports and this driftd does not call: interfaces of a later release, or of
    /// another version beside the one that is spoken.
    pub(super) fn beyond(&self, names: &Names) -> Vec<String> {
        let known = |name: &String| {
            let mut all = self.imports.iter().chain(self.required).chain(self.optional);
            all.any(|interface| self.full(interface) == *name)
        };
        names.exports.iter().filter(|name| !known(name)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: &'static str) -> Version {
        Version {
            number,
            imports: &["host", "types"],
            required: &["lifecycle", "mapping"],
            optional: &["locating"],
            open: |_, _| Err(wasmtime::Error::msg("not opened here")),
        }
    }

    fn names(imports: &[&str], exports: &[&str]) -> Names {
        let full = |names: &[&str]| {
            let full = |name: &&str| match name.split_once(':') {
                Some(_) => (*name).to_owned(),
                None => format!("{PACKAGE}{name}"),
            };
            names.iter().map(full).collect()
        };
        Names { imports: full(imports), exports: full(exports) }
    }

    /// The version that is chosen of 0.3.0 and 0.2.0, and what is left alone; or why none is.
    fn chosen(imports: &[&str], exports: &[&str]) -> Result<(&'static str, Vec<String>), String> {
        let versions = [version("0.3.0"), version("0.2.0")];
        let names = names(imports, exports);
        let version = names.choose(&versions).map_err(|kind| kind.to_string())?;
        Ok((version.number, version.beyond(&names)))
    }

    const OLD: [&str; 2] = ["lifecycle@0.2.0", "mapping@0.2.0"];
    const NEW: [&str; 2] = ["lifecycle@0.3.0", "mapping@0.3.0"];

    #[test]
    fn the_newest_version_that_a_component_speaks_is_chosen() {
        assert_eq!(chosen(&[], &NEW), Ok(("0.3.0", vec![])));
        assert_eq!(chosen(&["host@0.2.0", "types@0.2.0"], &OLD), Ok(("0.2.0", vec![])));
        let both = [OLD, NEW].concat();
        let left = OLD.map(|name| format!("{PACKAGE}{name}")).to_vec();
        assert_eq!(chosen(&["host@0.3.0"], &both), Ok(("0.3.0", left)));
    }

    #[test]
    fn exports_that_are_not_known_are_left_alone_and_told() {
        let exports = [&OLD[..], &["locating@0.2.0", "watching@0.2.0", "other:one/thing"]].concat();
        let left = vec!["driftd:plugin/watching@0.2.0".to_owned(), "other:one/thing".to_owned()];
        assert_eq!(chosen(&[], &exports), Ok(("0.2.0", left)));
    }

    #[test]
    fn a_version_that_is_not_spoken_is_told_with_what_was_found_and_what_there_is() {
        let told = chosen(&["host@0.1.0"], &["mapping@0.1.0"]).unwrap_err();
        assert_eq!(
            told,
            "it speaks driftd:plugin/host@0.1.0, driftd:plugin/mapping@0.1.0; this driftd speaks \
             driftd:plugin in version 0.3.0 or 0.2.0: build it against wit/ of this release"
        );
        // Semantic versioning is not asked: a name is a name.
        assert!(chosen(&[], &["lifecycle@0.3.1", "mapping@0.3.1"]).is_err());
    }

    #[test]
    fn imports_are_those_of_the_version_and_exports_are_all_there() {
        for (imports, exports, told) in [
            (&["wasi:io/poll@0.2.0"][..], &NEW[..], "it imports wasi:io/poll@0.2.0;"),
            (&["host@0.2.0"], &NEW, "it imports driftd:plugin/host@0.2.0;"),
            (&["network@0.3.0"], &NEW, "it imports driftd:plugin/network@0.3.0;"),
            (&[], &NEW[..1], "it does not export driftd:plugin/mapping@0.3.0;"),
            (&["network@0.2.0"], &[], "it imports driftd:plugin/network@0.2.0;"),
            (&["host@0.2.0"], &[], "it does not export driftd:plugin/lifecycle@0.2.0, "),
            (&[], &[], "it does not export driftd:plugin/lifecycle@0.3.0, "),
        ] {
            let refused = chosen(imports, exports).unwrap_err();
            assert!(refused.starts_with(told), "{refused}");
        }
    }
}
