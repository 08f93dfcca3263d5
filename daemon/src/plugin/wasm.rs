//! Running plugins.
//!
//! Owns loading of WebAssembly files, what they may import and must export, and the binding of a
//! plugin to a pairing. Refuses plans that this version cannot carry out, loudly. Invariant: a
//! plugin has no file, network, clock, randomness or environment, and every call into it is bounded
//! in fuel, time, memory and output.

mod cache;
mod configured;
mod contract;
mod footprint;
mod lift;
mod locating;
mod machine;
mod planning;
mod pool;
mod selftest;
mod session;
mod sources;
mod trial;
mod v0_1;

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::Module;
use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use self::cache::Cache;
use self::contract::{Names, VERSIONS};
use self::footprint::Footprint;
use self::machine::{Machine, Patience, shortened};
use self::session::{Bound, Program, WasmMapper};
use self::sources::Sources;
pub use self::trial::{Cost, Noted, Sought, Trial, Tried};
use super::identity::{Origin, identity};
use super::{
    Binding, Code, Limits, Locators, Mapper, PlanIssue, PluginError, PluginErrorKind, Settings,
};
use crate::model::Side;

/// A larger file is refused: guests of the largest languages have about 20 MB.
const FILE_BYTES: usize = 128 << 20;
/// What all instances of all plugins have together if nothing is said, in bytes.
pub const MEMORY: u64 = 256 << 20;
/// Issues of a plan that are told; a plan may be wrong thousands of times.
const ISSUES_TOLD: usize = 50;
/// Bytes of what an error of the engine says that are told.
const WHY_BYTES: usize = 2_000;
/// Names of interfaces that are told; a file may have a hundred thousand.
const NAMES_TOLD: usize = 20;

/// What runs plugins. One is enough for a process; what was loaded keeps it running.
#[derive(Clone, Debug)]
pub struct Host {
    machine: Arc<Machine>,
}

/// A plugin that was read, checked and compiled; clones share it.
#[derive(Clone)]
pub struct Loaded {
    program: Arc<Program>,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("plugin", &self.program.plugin)
            .field("digest", &self.program.digest)
            .finish_non_exhaustive()
    }
}

/// A plugin that is bound to a pairing.
#[derive(Debug)]
pub struct Attached {
    /// The mapping.
    pub mapper: Arc<dyn Mapper>,
    /// What the plugin says of itself.
    pub about: About,
    /// What a person should know, although nothing is wrong.
    pub notes: Vec<String>,
    wasm: WasmMapper,
}

/// What a file holds, whether or not it can be run as a plugin.
#[derive(Debug)]
pub struct Inspected {
    /// Its size.
    pub bytes: usize,
    /// Whether it is a core module, which driftd turns into a component.
    pub is_module: bool,
    /// Its BLAKE3 digest, in hexadecimal.
    pub digest: String,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// Those of them that this driftd does not know, and leaves alone.
    pub left_alone: Vec<String>,
    /// What it says of itself; why it cannot be loaded, if it cannot.
    pub admitted: Result<About, AttachError>,
}

/// What a plugin says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its own name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does.
    pub summary: String,
}

/// A plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
#[error("plugin `{plugin}`{}: {kind}", file.as_ref().map(|file| format!(" ({})", file.display())).unwrap_or_default())]
pub struct LoadError {
    /// Its name in the configuration.
    pub plugin: String,
    /// The file, if it comes from one.
    pub file: Option<PathBuf>,
    /// Why.
    pub kind: LoadErrorKind,
}

/// Why a plugin cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadErrorKind {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is larger than any plugin.
    #[error("the file has {0} bytes; a plugin has at most {FILE_BYTES}")]
    TooLarge(usize),
    /// The file is no WebAssembly.
    #[error("the file is no WebAssembly module or component")]
    NotWasm,
    /// A core module cannot be made a component.
    #[error(
        "the module cannot be made a component: {0}; a plugin is built for wasm32-unknown-unknown and imports nothing but driftd:plugin/host"
    )]
    Module(String),
    /// The code is not valid, or uses what is switched off.
    #[error("the code cannot be compiled: {0}")]
    Code(String),
    /// It imports what a plugin may not.
    #[error("it imports {}; a plugin may import nothing but driftd:plugin/host", told(.0))]
    Imports(Vec<String>),
    /// It was made for a version of the contract that is not spoken here.
    #[error("it speaks {}; this driftd speaks driftd:plugin in version {}: build it against wit/ of this release", told(found), supported.join(" or "))]
    Version {
        /// The interfaces of the contract that it imports and exports.
        found: Vec<String>,
        /// The versions that are spoken, newest first.
        supported: Vec<&'static str>,
    },
    /// It lacks exports.
    #[error("it does not export {}; a plugin exports driftd:plugin/lifecycle and driftd:plugin/mapping", told(.0))]
    Exports(Vec<String>),
    /// Its imports or exports have other types than the contract's.
    #[error("it does not fit the contract driftd:plugin@{version}: {what}")]
    Misfit {
        /// The version that it speaks.
        version: &'static str,
        /// What does not fit.
        what: String,
    },
}

/// A plugin cannot be bound to a pairing.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A call failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The plugin itself refuses its configuration or the schemas.
    #[error("plugin `{plugin}`, {function}: {}", list(issues))]
    Refused {
        /// Its name in the configuration.
        plugin: String,
        /// The contract's function that refused; `config-schema` where the configuration does not fit
        /// the schema that the plugin declares.
        function: &'static str,
        /// Why; paths point into the plugin's own configuration, and for `plan` and `declare` where
        /// the plugin says.
        issues: Vec<PlanIssue>,
    },
    /// The plan is malformed, or wider than this version supports.
    #[error("plugin `{plugin}`, its plan: {}", list(issues))]
    Unfit {
        /// Its name in the configuration.
        plugin: String,
        /// Why; paths point into the plan, or to `/source/key` and `/target/key`.
        issues: Vec<PlanIssue>,
    },
}

fn list(issues: &[PlanIssue]) -> String {
    let mut told: Vec<_> = issues.iter().take(ISSUES_TOLD).map(ToString::to_string).collect();
    if let Some(more) = issues.len().checked_sub(ISSUES_TOLD).filter(|more| *more > 0) {
        told.push(format!("and {more} more"));
    }
    told.join("\n  ")
}

fn told(names: &[String]) -> String {
    let mut all = names[..names.len().min(NAMES_TOLD)].join(", ");
    if let Some(more) = names.len().checked_sub(NAMES_TOLD).filter(|more| *more > 0) {
        all = format!("{all} and {more} more");
    }
    all
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// Starts the engine and its ticker, which end when the last user of them is dropped. All
    /// instances of all its plugins together have [`MEMORY`] bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_memory(MEMORY)
    }

    /// The same, with `bytes` of memory for all instances of all plugins together. An instance with
    /// more than 8 MiB counts with its whole limit, and waits for its turn; what it waits for is not
    /// counted to its deadline. One whose limit is above `bytes` runs with no other large one.
    #[must_use]
    pub fn with_memory(bytes: u64) -> Self {
        Self { machine: Machine::new(bytes, None) }
    }

    /// The same, which keeps compiled plugins in `directory`, so that each is compiled once. That nothing
    /// can be kept there is said once.
    #[must_use]
    pub fn with_cache(bytes: u64, directory: PathBuf) -> Self {
        Self { machine: Machine::new(bytes, Some(Cache::new(directory))) }
    }

    /// Reads, checks and compiles a plugin. Compiling takes from a tenth of a second to many
    /// seconds, on the calling thread, where it was not kept.
    ///
    /// # Errors
    /// If the file is no plugin that this version can run.
    pub fn load(&self, settings: &Settings) -> Result<Loaded, LoadError> {
        let opened = self.open(settings).map_err(at(settings))?;
        self.admit(settings, opened).map_err(at(settings))
    }

    /// Looks at a file: what it imports and exports, and what it says of itself if it can be loaded.
    ///
    /// # Errors
    /// If it is no WebAssembly that can be compiled.
    pub fn inspect(&self, settings: &Settings) -> Result<Inspected, LoadError> {
        let opened = self.open(settings).map_err(at(settings))?;
        let names = Names::of(&self.machine, &opened.component);
        let left_alone = names.choose(&VERSIONS).map(|version| version.beyond(&names));
        let Opened { bytes, is_module, ref digest, .. } = opened;
        let digest = digest.clone();
        let loaded = self.admit(settings, opened).map_err(at(settings));
        let admitted = loaded.map_err(AttachError::from).and_then(|loaded| loaded.describe());
        let Names { imports, exports } = names;
        let left_alone = left_alone.unwrap_or_default();
        Ok(Inspected { bytes, is_module, digest, imports, exports, left_alone, admitted })
    }

    fn open(&self, settings: &Settings) -> Result<Opened, LoadErrorKind> {
        let bytes = &*bytes_of(&settings.code)?;
        let encoded;
        let mut is_module = false;
        let component: &[u8] = match bytes.get(..8) {
            Some([0, b'a', b's', b'm', 1, 0, 0, 0]) => {
                // What makes a component of it takes it for whole.
                Module::validate(&self.machine.engine, bytes)
                    .map_err(|error| LoadErrorKind::Code(why(&error)))?;
                encoded = encode(bytes)?;
                is_module = true;
                &encoded
            }
            Some([0, b'a', b's', b'm', _, _, 1, 0]) => bytes,
            _ => return Err(LoadErrorKind::NotWasm),
        };
        // Compiling walks over every instance, so these are counted first.
        let footprint = Footprint::of(component).map_err(LoadErrorKind::Code)?;
        let engine = &self.machine.engine;
        let component = match &self.machine.cache {
            Some(cache) => cache.component(engine, component),
            None => Component::from_binary(engine, component),
        };
        let component = component.map_err(|error| LoadErrorKind::Code(why(&error)))?;
        let digest = digest_of(bytes);
        let sources = Arc::new(Sources::of(bytes));
        Ok(Opened { component, footprint, sources, bytes: bytes.len(), is_module, digest })
    }

    /// Checks what was read and compiled against the contract.
    fn admit(&self, settings: &Settings, opened: Opened) -> Result<Loaded, LoadErrorKind> {
        let Opened { component, footprint, sources, digest, .. } = opened;
        let names = Names::of(&self.machine, &component);
        let version = names.choose(&VERSIONS)?;
        let misfit = |what: String| LoadErrorKind::Misfit { version: version.number, what };
        let contract =
            (version.open)(&self.machine, &component).map_err(|error| misfit(why(&error)))?;
        let program = Program {
            machine: Arc::clone(&self.machine),
            contract,
            footprint,
            sources,
            version: version.number,
            left_alone: version.beyond(&names),
            plugin: settings.name.clone(),
            digest,
            config: settings.config.to_string(),
            limits: settings.limits,
        };
        // The types of exports are checked only by loading an instance.
        match program.start(settings.limits.log) {
            Ok(_instance) => {}
            Err(PluginErrorKind::Malformed(what)) => return Err(misfit(what)),
            Err(kind) => return Err(misfit(format!("it cannot be started: it {kind}"))),
        }
        Ok(Loaded { program: Arc::new(program) })
    }
}

/// A file that was read and compiled.
struct Opened {
    component: Component,
    footprint: Footprint,
    sources: Arc<Sources>,
    bytes: usize,
    is_module: bool,
    digest: String,
}

/// What a file of a plugin holds.
fn bytes_of(code: &Code) -> Result<Cow<'static, [u8]>, LoadErrorKind> {
    let bytes = match code {
        Code::File(path) => {
            std::fs::read(path).map(Cow::Owned).map_err(LoadErrorKind::Unreadable)?
        }
        Code::Embedded(bytes) => Cow::Borrowed(*bytes),
    };
    if bytes.len() > FILE_BYTES {
        return Err(LoadErrorKind::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

fn digest_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// What an error says with its causes, shortened: names of a file may be in it.
fn why(error: &impl fmt::Display) -> String {
    shortened(&format!("{error:#}"), WHY_BYTES).to_owned()
}

/// Says of which plugin it is.
fn at(settings: &Settings) -> impl FnOnce(LoadErrorKind) -> LoadError {
    move |kind| LoadError {
        plugin: settings.name.clone(),
        file: match &settings.code {
            Code::File(path) => Some(path.clone()),
            Code::Embedded(_) => None,
        },
        kind,
    }
}

/// Makes a core module a component.
fn encode(module: &[u8]) -> Result<Vec<u8>, LoadErrorKind> {
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| LoadErrorKind::Module(why(&error)))
}

impl Loaded {
    /// The BLAKE3 digest of the file, in hexadecimal.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.program.digest
    }

    /// The host that runs it.
    #[must_use]
    pub fn host(&self) -> Host {
        Host { machine: Arc::clone(&self.program.machine) }
    }

    /// The same plugin with another configuration.
    #[must_use]
    pub fn configured(&self, config: &serde_json::Value) -> Self {
        self.with(config, self.program.limits)
    }

    /// The same code under `settings`, if that is what their file still holds. None: it is another.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn again(&self, settings: &Settings) -> Result<Option<Self>, LoadError> {
        let bytes = bytes_of(&settings.code).map_err(at(settings))?;
        let same = digest_of(&bytes) == self.program.digest;
        Ok(same.then(|| self.with(&settings.config, settings.limits)))
    }

    fn with(&self, config: &serde_json::Value, limits: Limits) -> Self {
        let config = config.to_string();
        let program = Program { config, limits, ..Program::clone(&self.program) };
        Self { program: Arc::new(program) }
    }

    /// Whether it is the same code under the same configuration and limits.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let (this, that) = (&self.program, &other.program);
        (&this.digest, &this.config, this.limits) == (&that.digest, &that.config, that.limits)
    }

    /// What the plugin says of itself.
    ///
    /// # Errors
    /// If the call fails.
    pub fn describe(&self) -> Result<About, AttachError> {
        let program = &self.program;
        let failed = |function| move |kind| program.error(function, kind);
        let mut instance = program.start(program.limits.log).map_err(failed("instantiate"))?;
        let info = instance.describe().map_err(failed("describe"))?;
        Ok(About { name: info.name, version: info.version, summary: info.summary })
    }

    /// Binds the plugin to a pairing: hands it its configuration and the schemas, and checks what it
    /// plans and declares.
    ///
    /// # Errors
    /// If a call fails, if the plugin refuses, or if its plan cannot be carried out; everything that
    /// is wrong, at once.
    pub fn bind(&self, binding: &Binding<'_>) -> Result<Attached, AttachError> {
        let program = &self.program;
        let failed = |function| move |kind| program.error(function, kind);
        let refused = |function| {
            move |issues| AttachError::Refused { plugin: program.plugin.clone(), function, issues }
        };
        let unfit = |issues| AttachError::Unfit { plugin: program.plugin.clone(), issues };

        let mut instance = program.start(program.limits.log).map_err(failed("instantiate"))?;
        let info = instance.describe().map_err(failed("describe"))?;
        let config = serde_json::from_str(&program.config).expect("it was written as JSON");
        let wrong = configured::issues(&info.config_schema, &config)
            .map_err(PluginErrorKind::Malformed)
            .map_err(failed("describe"))?;
        if !wrong.is_empty() {
            return Err(refused("config-schema")(wrong));
        }
        instance.init(&program.config).map_err(failed("init"))?.map_err(refused("init"))?;
        let (source, target) = (binding.source.schemas, binding.target.schemas);
        let proposal = instance
            .plan(binding.pairing, source, target)
            .map_err(failed("plan"))?
            .map_err(refused("plan"))?;
        let plan = planning::check(proposal.clone(), binding).map_err(unfit)?;
        let declared = instance
            .declare(binding.pairing)
            .map_err(failed("declare"))?
            .map_err(refused("declare"))?;
        let mut issues = Vec::new();
        let invariants = planning::check_invariants(declared, &mut issues);
        let locators = Locators::new(&plan.entities, binding, &mut issues);
        let patience = Patience::new(&program.machine, &program.limits);
        let located = locating::sides((&mut *instance, patience), binding, &plan, &mut issues)
            .map_err(failed("locate"))?;
        if !issues.is_empty() {
            return Err(unfit(issues));
        }
        let notes = self.notes(located, &locators);
        let origin =
            Origin { code: &program.digest, config: &program.config, contract: program.version };
        let bound = Bound {
            program: Arc::clone(program),
            pairing: binding.pairing.to_owned(),
            source: source.to_vec(),
            target: target.to_vec(),
            proposal,
            identity: identity(origin, &plan),
            plan,
            invariants,
            locators,
            located,
            identifies: instance.locates(),
        };
        let wasm = WasmMapper(Arc::new(bound));
        Ok(Attached {
            mapper: Arc::new(wasm.clone()),
            about: About { name: info.name, version: info.version, summary: info.summary },
            notes,
            wasm,
        })
    }

    /// What a person should know of how entities are located, and of what is not called.
    fn notes(&self, located: locating::Sides, locators: &Locators) -> Vec<String> {
        let plugin = &self.program.plugin;
        let both = |side: &Side| located.of(*side) && locators.of(*side).is_some();
        let note = |side| {
            format!(
                "plugin `{plugin}` locates entities in the {side}, and so does the pairing's \
                 `{side}.key`, which is used"
            )
        };
        let left_alone = &self.program.left_alone;
        let left_alone = (!left_alone.is_empty()).then(|| {
            format!(
                "plugin `{plugin}` exports {}, which this driftd does not know and leaves alone",
                told(left_alone)
            )
        });
        let twice = [Side::Source, Side::Target].into_iter().filter(both).map(note);
        twice.chain(left_alone).collect()
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod users_tests;
