//! From settings to what checks and the engine need.
//!
//! Owns connecting stores, describing relations, loading plugins, binding mappings and choosing how
//! each pairing is read. Refuses to go on with what is wrong, and to give up on what may heal within
//! its patience. Invariant: what a store answers as wrong names the nearest names; what does not
//! answer is tried again until the patience is over.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::task::JoinSet;

use crate::api::Shared;
use crate::check::{Context, RelationContext};
use crate::compare::{Canon, CanonError};
use crate::config::{MappingSettings, PairingSettings, Settings, SideSettings};
use crate::engine::{EntitySpec, Spec};
use crate::journal;
use crate::model::{EntityDef, Extent, Leads, RelationSchema, Role, Side};
use crate::plan;
use crate::plugin::builtin::{self, BuiltIn};
use crate::plugin::template::KeyTemplate;
use crate::plugin::wasm::{AttachError, LoadError, Loaded};
use crate::plugin::{Binding, Mapper, Place, PlanIssue, PluginError, guarded};
use crate::run::loading::{Opened, Stores, load, open};
use crate::run::sides::{self, facts, key_template, side_context};
use crate::run::{Clock, Contexts, Purpose, Signals, selftest};
use crate::store::{Read, Store, StoreError};

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// The longest wait of a command between two tries: somebody waits for its answer.
const HASTY_WAIT_MAX: Duration = Duration::from_secs(8);
/// How often it is said that driftd is alive.
const BEAT: Duration = Duration::from_secs(5);
/// Rows of one side that a check holds at once, in partitions' worth: a partition that grew is read
/// on, and cut only when it is far too large.
const WINDOW: u32 = 4;

/// What does not come from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Supplied {
    /// Stores that are there already, by their names in the configuration.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
    /// The file that the configuration was read from, to be read again by a reload.
    pub file: Option<PathBuf>,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A store answers that the configuration is wrong.
    #[error("{at}pairing `{pairing}`, {side}: {error}; {}", error.kind.remedy())]
    Wrong {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// The side.
        side: Side,
        /// What the store says.
        #[source]
        error: Box<StoreError>,
    },
    /// A store does not answer, or refuses access.
    #[error("gave up after {} s: {error}; {}", after.as_secs(), error.kind.remedy())]
    Unanswered {
        /// How long it was asked.
        after: Duration,
        /// What it says, if anything.
        #[source]
        error: Box<StoreError>,
    },
    /// A store's own settings are unfit.
    #[error("{at}{error}; {}", error.kind.remedy())]
    Store {
        /// Where the file says it.
        at: String,
        /// What is wrong.
        #[source]
        error: Box<StoreError>,
    },
    /// A plugin cannot be loaded.
    #[error("{at}{error}")]
    Load {
        /// Where the file says it.
        at: String,
        /// Why.
        #[source]
        error: Box<LoadError>,
    },
    /// A plugin cannot be bound to a pairing.
    #[error("{at}pairing `{pairing}`: {error}{}", remedy(error))]
    Attach {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// Why.
        #[source]
        error: Box<AttachError>,
    },
    /// A plugin refuses what it is configured with.
    #[error("plugin `{plugin}` refuses its configuration:\n  {}", issues.join("\n  "))]
    Configured {
        /// The plugin.
        plugin: String,
        /// Everything that it refuses, each with its place in the file.
        issues: Vec<String>,
    },
    /// A plugin breaks a law of mappings on real rows.
    #[error("{at}{}; {}", error.blame(), error.remedy())]
    Lawless {
        /// Where the file says it.
        at: String,
        /// What it breaks.
        error: Box<PluginError>,
    },
    /// The built-in mapping does not fit the relations.
    #[error("pairing `{pairing}`, its mapping:\n  {}", issues.join("\n  "))]
    Mapping {
        /// The pairing.
        pairing: String,
        /// Everything that does not fit, each with its place in the file.
        issues: Vec<String>,
    },
    /// The pairing cannot be read as it is.
    #[error("{at}pairing `{pairing}`: {why}")]
    Unreadable {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// Why, and what to do.
        why: String,
    },
    /// Several of these.
    #[error("{} faults\n{}", .0.len(), .0.iter().map(told).collect::<Vec<_>>().join("\n"))]
    Several(Vec<Self>),
    /// The run was stopped before it began.
    #[error("stopped while stores were being connected")]
    Stopped,
}

impl StartError {
    /// Whether the configuration is at fault, rather than the world.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Several(all) => all.iter().any(Self::is_configuration),
            // What the environment did not tell in time it may tell at the next start.
            Self::Store { error, .. } => !error.kind.heals(),
            Self::Wrong { .. }
            | Self::Load { .. }
            | Self::Attach { .. }
            | Self::Configured { .. }
            | Self::Lawless { .. }
            | Self::Mapping { .. }
            | Self::Unreadable { .. } => true,
            Self::Unanswered { .. } | Self::Stopped => false,
        }
    }
}

impl StartError {
    /// Each fault, as a start tells it.
    pub(super) fn reasons(&self) -> Vec<String> {
        if let Self::Several(all) = self {
            return all.iter().map(told).collect();
        }
        vec![told(self)]
    }
}

/// What to do about a plugin that failed while it was bound; what it refuses says so itself.
fn remedy(error: &AttachError) -> String {
    match error {
        AttachError::Plugin(error) => format!("; {}", error.remedy()),
        AttachError::Load(_) | AttachError::Refused { .. } | AttachError::Unfit { .. } => {
            String::new()
        }
    }
}

/// An error with its causes, as far as it does not say them itself.
fn told(error: &StartError) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !told.contains(&words) {
            told = format!("{told}: {words}");
        }
        cause = next.source();
    }
    told
}

/// What waits, and who is told.
pub(super) struct Waiting<'a> {
    pub(super) purpose: Purpose,
    /// Whether stores that do not answer are asked again.
    pub(super) patience: bool,
    /// Whether plugins are tried on real rows.
    pub(super) proves: bool,
    pub(super) clock: &'a Clock,
    pub(super) signals: &'a Signals,
    pub(super) shared: &'a Arc<Shared>,
}

/// What is ready.
pub(super) struct Started {
    /// By the pairing's position.
    pub(super) contexts: Contexts,
    /// By the pairing's position.
    pub(super) specs: Vec<Spec>,
    pub(super) plugins: BTreeMap<String, Loaded>,
    pub(super) stores: Stores,
}

/// Makes ready what `settings` describe.
pub(super) async fn start(
    settings: &Settings,
    supplied: Supplied,
    secrets: &journal::Identity,
    waiting: Waiting<'_>,
) -> Result<Started, StartError> {
    // Starting may take longer than a heart may stand still: plugins are compiled, stores are waited for.
    let mut beating = JoinSet::new();
    beating.spawn(beat(Arc::clone(waiting.shared), waiting.clock.clone()));
    let mut refused = Vec::new();
    let stores = open(settings, supplied, &mut refused).await;
    let plugins = load(settings, &mut refused);
    let binder = Binder { settings, plugins, secrets, clock: waiting.clock };
    let asked = Asked { settings, stores: &stores, waiting: &waiting };
    let (mut contexts, mut specs) = (Vec::new(), Vec::new());
    for pairing in &settings.pairings {
        if let Some((context, spec)) = asked.ready(pairing, &binder, &mut refused).await? {
            contexts.push(Arc::new(context));
            specs.push(spec);
        }
    }
    let plugins = binder.plugins;
    all(refused).map(|()| Started { contexts, specs, plugins, stores })
}

/// Nothing was refused; or everything that was, at once.
pub(super) fn all(mut refused: Vec<StartError>) -> Result<(), StartError> {
    match refused.len() {
        0 => Ok(()),
        1 => Err(refused.remove(0)),
        _ => Err(StartError::Several(refused)),
    }
}

/// Says that driftd is alive, until it is dropped.
async fn beat(shared: Arc<Shared>, clock: Clock) {
    loop {
        shared.beat(clock.now());
        clock.sleep_until(clock.now().after(BEAT)).await;
    }
}

/// A side that was described.
pub(super) struct Described<'a> {
    pub(super) settings: &'a SideSettings,
    pub(super) store: Arc<dyn Store>,
    /// The same store with less patience.
    pub(super) probe: Arc<dyn Store>,
    /// Its relations, in the order of the configuration.
    pub(super) schemas: Vec<RelationSchema>,
}

/// What the sides of pairings are described from.
pub(super) struct Asked<'a> {
    pub(super) settings: &'a Settings,
    pub(super) stores: &'a Stores,
    pub(super) waiting: &'a Waiting<'a>,
}

impl Asked<'_> {
    /// Makes a pairing ready: describes its relations, binds its mapping, and tries it. None:
    /// something of it is refused.
    pub(super) async fn ready(
        &self,
        pairing: &PairingSettings,
        binder: &Binder<'_>,
        refused: &mut Vec<StartError>,
    ) -> Result<Option<(Context, Spec)>, StartError> {
        let mut sides = Vec::new();
        for side in [Side::Source, Side::Target] {
            let patience = self.waiting.patience && refused.is_empty();
            match self.describe(pairing, side, patience).await {
                Ok(described) => sides.extend(described),
                Err(StartError::Stopped) => return Err(StartError::Stopped),
                Err(error) => refused.push(error),
            }
        }
        let Ok([source, target]) = <[Described<'_>; 2]>::try_from(sides) else { return Ok(None) };
        let probes = [Arc::clone(&source.probe), Arc::clone(&target.probe)];
        let (context, spec) = match binder.bind(pairing, (source, target)) {
            Ok(Some(bound)) => bound,
            Ok(None) => return Ok(None),
            Err(error) => {
                refused.push(error);
                return Ok(None);
            }
        };
        // What is refused is told before more is asked of the stores.
        if !refused.is_empty() {
            return Ok(None);
        }
        if let Err(error) = grouped(binder, pairing, &context).await {
            refused.push(error);
            return Ok(None);
        }
        sample(&context, &probes).await;
        if let MappingSettings::Plugin(plugin) = &pairing.mapping
            && self.waiting.proves
            && let Err(error) = selftest::prove(&context, &probes, self.waiting.clock.now()).await
        {
            let at = self.settings.lines.place(&format!("plugins.{plugin}.path"));
            refused.push(StartError::Lawless { at, error: Box::new(error) });
            return Ok(None);
        }
        tracing::info!(
            target: "driftd",
            pairing = pairing.name,
            directions = spec.reading.directions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            leader = %pairing.leader,
            mapping = %spec.identity,
            "pairing is ready"
        );
        if let Some(lacking) = &spec.reading.not_verifiable {
            tracing::warn!(target: "driftd", pairing = pairing.name, "not verifiable: {lacking}");
        }
        Ok(Some((context, spec)))
    }

    /// Asks the store of a side for its relations; without `patience` only once. None: there is no such
    /// store, because its settings were refused.
    async fn describe<'a>(
        &self,
        pairing: &'a PairingSettings,
        side: Side,
        patience: bool,
    ) -> Result<Option<Described<'a>>, StartError> {
        let settings = match side {
            Side::Source => &pairing.source,
            Side::Target => &pairing.target,
        };
        let Some(opened) = self.stores.get(&settings.store) else { return Ok(None) };
        let mut schemas = Vec::with_capacity(settings.relations.len());
        for relation in &settings.relations {
            schemas.push(self.schema((pairing, side), opened, relation, patience).await?);
        }
        let (store, probe) = (Arc::clone(&opened.store), Arc::clone(&opened.probe));
        Ok(Some(Described { settings, store, probe, schemas }))
    }

    async fn schema(
        &self,
        (pairing, side): (&PairingSettings, Side),
        opened: &Opened,
        relation: &str,
        patience: bool,
    ) -> Result<RelationSchema, StartError> {
        let Waiting { purpose, clock, signals, shared, .. } = self.waiting;
        let hasty = *purpose == Purpose::Verify;
        let begun = clock.now();
        let mut wait = Duration::from_secs(1);
        loop {
            let mut stop = signals.stop.clone();
            let described = tokio::select! {
                described = opened.probe.describe(relation) => described,
                _ = stop.wait_for(|stop| *stop) => return Err(StartError::Stopped),
            };
            let error = match described {
                Ok(schema) => return Ok(schema),
                Err(error) => Box::new(error),
            };
            if !error.kind.heals() {
                let path = format!("pairings.{}.{side}.relation", pairing.name);
                let at = self.settings.lines.place(&path);
                return Err(StartError::Wrong { at, pairing: pairing.name.clone(), side, error });
            }
            let waited = clock.now().since(begun);
            // A daemon is there when the store is back; a command answers while somebody waits for it.
            if !patience || hasty && waited + wait > opened.patience {
                return Err(StartError::Unanswered { after: waited, error });
            }
            let cause = error.source.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
            let what = format!("{error}{cause}; {}", error.kind.remedy());
            tracing::warn!(target: "driftd", "{what}; trying again in {} s", wait.as_secs());
            shared.set_unready(vec![what]);
            tokio::select! {
                () = clock.sleep_until(clock.now().after(wait)) => {}
                _ = stop.wait_for(|stop| *stop) => return Err(StartError::Stopped),
            }
            wait = (wait * 2).min(if hasty { HASTY_WAIT_MAX } else { WAIT_MAX });
        }
    }
}

/// A mapping, and the key templates of source and target.
type Located = (Arc<dyn Mapper>, [Option<KeyTemplate>; 2]);

/// What pairings are bound with.
pub(super) struct Binder<'a> {
    pub(super) settings: &'a Settings,
    pub(super) plugins: BTreeMap<String, Loaded>,
    pub(super) secrets: &'a journal::Identity,
    pub(super) clock: &'a Clock,
}

impl Binder<'_> {
    /// Makes ready what checks and the engine need. None: there is no such plugin, because it was
    /// refused.
    fn bind(
        &self,
        pairing: &PairingSettings,
        (source, target): (Described<'_>, Described<'_>),
    ) -> Result<Option<(Context, Spec)>, StartError> {
        let Some((mapper, [source_key, target_key])) = self.located(pairing, (&source, &target))?
        else {
            return Ok(None);
        };
        let plan = mapper.plan().clone();
        let canons = Canon::all(&plan.entities, self.secrets.digest_key)
            .map_err(|error: CanonError| self.unreadable(pairing, "mapping", error.to_string()))?;
        let entity_key: Vec<&str> = match plan.entities.as_slice() {
            [entity] => {
                let key = entity.fields.iter().filter(|field| field.role == Role::Key);
                key.map(|field| field.name.as_str()).collect()
            }
            // Rows of several types do not lie at the same keys.
            _ => Vec::new(),
        };
        let locates = [Side::Source, Side::Target].map(|side| mapper.locates(side));
        let facts = (
            facts(&source, &plan.source, source_key.as_ref(), locates[0]),
            facts(&target, &plan.target, target_key.as_ref(), locates[1]),
        );
        let reading = plan::reading(&facts.0, &facts.1, &entity_key)
            .map_err(|error| self.unreadable(pairing, "", error.to_string()))?;
        let both = [(&source, &plan.source, &facts.0), (&target, &plan.target, &facts.1)];
        if let Some((path, why)) = sides::unscannable(both, &reading) {
            return Err(self.unreadable(pairing, &path, why));
        }
        self.exported(pairing, &*mapper)?;
        let relations = [(&source, &plan.source), (&target, &plan.target)];
        let relations = relations.map(|(described, plan)| sides::names(described, plan));
        let spec = Spec {
            name: pairing.name.clone(),
            identity: mapper.identity(),
            leads: Leads(pairing.leader),
            reading,
            plan: pairing.plan.clone(),
            settle: pairing.settle.clone(),
            seed: self.secrets.seed,
            entities: plan.entities.iter().zip(&canons).map(entity_spec).collect(),
            invariants: mapper.invariants().to_vec(),
            relations,
        };
        let rows = pairing.plan.partition_rows;
        let window = rows.get().saturating_mul(WINDOW);
        let page = pairing.plan.page_rows;
        let context = Context {
            pairing: pairing.name.clone(),
            leads: Leads(pairing.leader),
            source: side_context(source, &plan.source, locates[0], page),
            target: side_context(target, &plan.target, locates[1], page),
            mapper,
            canons,
            partition_rows: rows,
            window_rows: NonZeroU32::new(window).unwrap_or(rows),
            clock: Arc::from(self.clock.shared()),
        };
        Ok(Some((context, spec)))
    }

    /// The mapping, and the key templates with which each side is located. A template that nobody
    /// wrote and that does not fit is none.
    fn located(
        &self,
        pairing: &PairingSettings,
        (source, target): (&Described<'_>, &Described<'_>),
    ) -> Result<Option<Located>, StartError> {
        let mut keys = [
            key_template(pairing, Side::Source, source),
            key_template(pairing, Side::Target, target),
        ];
        let derived = [source.settings.key.is_none(), target.settings.key.is_none()];
        loop {
            let binding = Binding {
                pairing: &pairing.name,
                source: Place { schemas: &source.schemas, key: keys[0].as_ref() },
                target: Place { schemas: &target.schemas, key: keys[1].as_ref() },
            };
            let settings = match &pairing.mapping {
                MappingSettings::Plugin(plugin) => {
                    let attached = self.attach(pairing, plugin, &binding)?;
                    return Ok(attached.map(|mapper| (mapper, keys)));
                }
                MappingSettings::BuiltIn(settings) => settings,
            };
            let issues = match BuiltIn::new(settings, &binding) {
                Ok(mapping) => return Ok(Some((Arc::new(mapping), keys))),
                Err(issues) => issues,
            };
            let mut retry = false;
            for (side, prefix) in ["/source/key", "/target/key"].into_iter().enumerate() {
                let unfit = issues.iter().any(|issue| issue.path.starts_with(prefix));
                if unfit && derived[side] && keys[side].take().is_some() {
                    retry = true;
                }
            }
            if !retry {
                let issues = issues.iter().map(|issue| self.placed(pairing, settings, issue));
                let (pairing, issues) = (pairing.name.clone(), issues.collect());
                return Err(StartError::Mapping { pairing, issues });
            }
        }
    }

    fn attach(
        &self,
        pairing: &PairingSettings,
        plugin: &str,
        binding: &Binding<'_>,
    ) -> Result<Option<Arc<dyn Mapper>>, StartError> {
        let Some(loaded) = self.plugins.get(plugin) else { return Ok(None) };
        let attached = loaded.bind(binding).map_err(|error| {
            if let AttachError::Refused { plugin, function: "config-schema" | "init", issues } =
                &error
            {
                let issues = issues.iter().map(|issue| self.configured(plugin, issue)).collect();
                return StartError::Configured { plugin: plugin.clone(), issues };
            }
            StartError::Attach {
                at: self.place(pairing, "plugin"),
                pairing: pairing.name.clone(),
                error: Box::new(error),
            }
        })?;
        for note in attached.notes {
            tracing::info!(target: "driftd", pairing = pairing.name, plugin, "{note}");
        }
        let clock = Arc::from(self.clock.shared());
        Ok(Some(guarded(attached.mapper, &pairing.name, clock)))
    }

    /// An issue with a plugin's own configuration, where the file has it.
    fn configured(&self, plugin: &str, issue: &PlanIssue) -> String {
        let path = issue.path.trim_start_matches('/').replace('/', ".");
        let path = path.replace("~1", "/").replace("~0", "~");
        let path = if path.is_empty() { "config".to_owned() } else { format!("config.{path}") };
        let at = self.settings.lines.place(&format!("plugins.{plugin}.{path}"));
        let help = issue.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        format!("{at}{path}: {}{help}", issue.message)
    }

    /// Where the file says it of the pairing.
    fn place(&self, pairing: &PairingSettings, path: &str) -> String {
        self.settings.lines.place(&format!("pairings.{}.{path}", pairing.name))
    }

    /// What is wrong with a built-in mapping, with its line and its name in the file.
    fn placed(
        &self,
        pairing: &PairingSettings,
        settings: &builtin::Settings,
        issue: &PlanIssue,
    ) -> String {
        let parts: Vec<&str> = issue.path.split('/').skip(1).collect();
        let field = |index: &str| settings.fields.get(index.parse::<usize>().ok()?);
        let path = match parts.as_slice() {
            ["fields", index, rest @ ..] => {
                let name = field(index).map_or(*index, |field| field.name.as_str());
                [&["mapping", "fields", name], rest].concat().join(".")
            }
            ["ignore_source", ..] => "mapping.ignore.source".to_owned(),
            ["ignore_target", ..] => "mapping.ignore.target".to_owned(),
            [side @ ("source" | "target"), rest @ ..] => [&[*side], rest].concat().join("."),
            _ => "mapping".to_owned(),
        };
        let help = issue.help.iter().map(|help| format!("; {help}")).collect::<String>();
        format!("{}{path}: {}{help}", self.place(pairing, &path), issue.message)
    }

    fn unreadable(&self, pairing: &PairingSettings, path: &str, why: String) -> StartError {
        let (at, pairing) = (self.place(pairing, path), pairing.name.clone());
        StartError::Unreadable { at, pairing, why }
    }

    /// Refuses names in `events.fields` that would never let anything out.
    fn exported(&self, pairing: &PairingSettings, mapper: &dyn Mapper) -> Result<(), StartError> {
        let labels = mapper.plan().entities.iter().flat_map(|entity| &entity.fields);
        let labels = labels.filter(|field| field.role == Role::Label);
        let labels = labels.map(|field| field.name.as_str());
        let invariants = mapper.invariants().iter().map(|invariant| invariant.id.as_str());
        let known: Vec<_> = labels.chain(invariants).collect();
        let named = self.settings.report.fields.iter().filter_map(|field| field.split_once('.'));
        let mut named = named.filter(|(of, _)| *of == pairing.name);
        let Some((_, name)) = named.find(|(_, name)| !known.contains(name)) else { return Ok(()) };
        let why = format!(
            "`events.fields` names `{}.{name}`, but its mapping has no label and no invariant of \
             this name; it has {}",
            pairing.name,
            if known.is_empty() { "none at all".to_owned() } else { known.join(", ") }
        );
        let at = self.settings.lines.place("events.fields");
        Err(StartError::Unreadable { at, pairing: pairing.name.clone(), why })
    }
}

fn entity_spec((entity, canon): (&EntityDef, &Canon)) -> EntitySpec {
    EntitySpec {
        name: entity.name.clone(),
        fields: canon.compared().map(str::to_owned).collect(),
        version_is_time: canon.version_is_time(),
    }
}

/// Refuses groups whose rows could only be found by walking a whole relation.
async fn grouped(
    binder: &Binder<'_>,
    pairing: &PairingSettings,
    context: &Context,
) -> Result<(), StartError> {
    for side in [Side::Source, Side::Target] {
        let here = context.side(side);
        for RelationContext { read, group } in &here.relations {
            if group.is_empty() {
                continue;
            }
            let columns: Vec<String> = group.iter().map(|at| read.columns[*at].clone()).collect();
            match here.store.found_by(&read.schema.relation, &columns).await {
                // What does not answer now is met, and told, by the first check.
                Err(error) if !error.kind.heals() => {
                    let named = if here.relations.len() == 1 { "relation" } else { "relations" };
                    let at = binder.place(pairing, &format!("{side}.{named}"));
                    let (pairing, error) = (pairing.name.clone(), Box::new(error));
                    return Err(StartError::Wrong { at, pairing, side, error });
                }
                Ok(()) | Err(_) => {}
            }
        }
    }
    Ok(())
}

/// Looks at a few items of schemaless relations: an attribute that none of them has is probably
/// misspelt. A word of warning, never a refusal.
async fn sample(context: &Context, probes: &[Arc<dyn Store>; 2]) {
    for (side, probe) in [Side::Source, Side::Target].into_iter().zip(probes) {
        for RelationContext { read, .. } in &context.side(side).relations {
            if read.schema.open {
                sample_relation(context, probe, read).await;
            }
        }
    }
}

async fn sample_relation(context: &Context, probe: &Arc<dyn Store>, read: &Read) {
    let extent = Extent::Segment { index: 0, of: 1 };
    let mut pages = probe.scan(read, &extent);
    // What cannot be read now is met, and told, by the first check.
    let Some(Ok(page)) = pages.next().await else { return };
    if page.rows.rows == 0 {
        return;
    }
    let present: BTreeSet<&str> = read
        .columns
        .iter()
        .zip(&page.rows.columns)
        .filter(|(_, column)| (0..page.rows.rows).any(|row| column.is_valid(row)))
        .map(|(name, _)| name.as_str())
        .collect();
    for name in read.columns.iter().filter(|name| !present.contains(name.as_str())) {
        tracing::warn!(
            target: "driftd",
            pairing = context.pairing,
            relation = read.schema.relation,
            attribute = name,
            met = page.unmapped.join(", "),
            "none of the first {} items has this attribute; is it misspelt?", page.rows.rows
        );
    }
}
