//! From settings to what checks and the engine need.
//!
//! Owns connecting stores, describing relations, loading plugins, binding mappings and choosing how
//! each pairing is read. Refuses to go on with what is wrong, and to give up on what may heal within
//! its patience. Invariant: what a store answers as wrong names the nearest names; what does not
//! answer is tried again until the patience is over.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::api::Shared;
use crate::check::{Context, RelationContext, Share};
use crate::compare::{Canon, CanonError};
use crate::config::{MappingSettings, PairingSettings, Settings, SideSettings};
use crate::engine::{EntitySpec, Spec};
use crate::journal;
use crate::model::{EntityDef, Leads, Moment, RelationSchema, Role, Side};
use crate::plan;
use crate::plugin::builtin::{self, BuiltIn};
use crate::plugin::template::KeyTemplate;
use crate::plugin::wasm::{AttachError, Loaded};
use crate::plugin::{Binding, Mapper, Place, PlanIssue, guarded};
use crate::run::loading::{Faults, Stores, load, open};
use crate::run::sides::{self, facts, key_template, side_context};
use crate::run::unstarted::{StartError, Unstarted, all, told};
use crate::run::watching::Watching;
use crate::run::{Clock, Contexts, Purpose, Signals, attributes, selftest};
use crate::store::{Store, StoreErrorKind};

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

/// What waits, and who is told.
pub(super) struct Waiting<'a> {
    pub(super) purpose: Purpose,
    /// Whether stores that do not answer are asked again.
    pub(super) patience: bool,
    /// Whether plugins are tried on real rows.
    pub(super) proves: bool,
    pub(super) clock: &'a Clock,
    pub(super) watching: &'a Watching,
    pub(super) signals: &'a Signals,
    pub(super) shared: &'a Arc<Shared>,
}

/// What is ready.
pub(super) struct Started {
    /// By the pairing's position among those that are ready.
    pub(super) contexts: Contexts,
    /// By the pairing's position among those that are ready.
    pub(super) specs: Vec<Spec>,
    pub(super) plugins: BTreeMap<String, Loaded>,
    pub(super) stores: Stores,
    /// Pairings that cannot be begun now.
    pub(super) unstarted: Vec<Unstarted>,
}

/// Makes ready what `settings` describe, as far as it can be.
///
/// # Errors
/// If none of its pairings can be begun: everything that is in the way.
pub(super) async fn start(
    settings: &Settings,
    supplied: Supplied,
    secrets: &journal::Identity,
    waiting: Waiting<'_>,
) -> Result<Started, StartError> {
    // Starting may take longer than a heart may stand still: plugins are compiled, stores are waited for.
    let mut beating = JoinSet::new();
    beating.spawn(beat(Arc::clone(waiting.shared), waiting.clock.clone()));
    let mut faults = Faults::default();
    let stores = open(settings, supplied, waiting.watching, &mut faults).await;
    let plugins = load(settings, &mut faults);
    let binder = Binder { settings, plugins, secrets, clock: waiting.clock };
    let since = waiting.clock.now();
    let asked = Asked { settings, stores: &stores, waiting: &waiting, faults: &faults, since };
    let (ready, unstarted) = asked.all(&binder).await?;
    if ready.is_empty() {
        let shared = faults.all();
        let own = unstarted.iter().flat_map(|one| &one.faults).map(Arc::clone);
        all(shared.chain(own).collect())?;
    }
    let (contexts, specs) =
        ready.into_values().map(|(context, spec)| (Arc::new(context), spec)).unzip();
    let plugins = binder.plugins;
    Ok(Started { contexts, specs, plugins, stores, unstarted })
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
    pub(super) side: Side,
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
    /// What is wrong with stores and plugins themselves.
    pub(super) faults: &'a Faults,
    /// Since when they are asked.
    pub(super) since: Moment,
}

/// Pairings that are ready, by position.
pub(super) type Ready = BTreeMap<usize, (Context, Spec)>;

/// Why a pairing is not ready: everything that is known.
pub(super) type Wrong = Vec<Arc<StartError>>;

/// Stores that do not answer, and why: each is waited for once.
pub(super) type Silent = BTreeMap<String, Arc<StartError>>;

impl Asked<'_> {
    /// Makes pairings ready. Stores that do not answer are asked again: by a command until their patience
    /// is over, by a daemon until there is a pairing to begin with.
    pub(super) async fn all(
        &self,
        binder: &Binder<'_>,
    ) -> Result<(Ready, Vec<Unstarted>), StartError> {
        let (mut ready, mut unready) = (Ready::new(), BTreeMap::new());
        let mut left: Vec<usize> = (0..self.settings.pairings.len()).collect();
        let mut wait = Duration::from_secs(1);
        loop {
            let mut silent = Silent::new();
            for index in std::mem::take(&mut left) {
                let pairing = &self.settings.pairings[index];
                match self.ready(pairing, binder, &mut silent).await? {
                    Ok(bound) => {
                        unready.remove(&index);
                        ready.insert(index, bound);
                    }
                    Err(faults) => {
                        let unstarted = Unstarted { settings: pairing.clone(), faults };
                        if !unstarted.is_configuration() {
                            left.push(index);
                        }
                        unready.insert(index, unstarted);
                    }
                }
            }
            if left.is_empty() || !self.waits(&silent, !ready.is_empty(), wait) {
                break;
            }
            self.wait(&silent, wait).await?;
            let hasty = self.waiting.purpose == Purpose::Verify;
            wait = (wait * 2).min(if hasty { HASTY_WAIT_MAX } else { WAIT_MAX });
        }
        Ok((ready, unready.into_values().collect()))
    }

    /// Whether stores that do not answer are waited for.
    fn waits(&self, silent: &Silent, begins: bool, wait: Duration) -> bool {
        match self.waiting.purpose {
            _ if !self.waiting.patience => false,
            // It is there when the store is back, and tries again beside those that run.
            Purpose::Daemon => !begins,
            // It answers while somebody waits for it.
            Purpose::Verify => {
                let stores = silent.keys().filter_map(|name| self.stores.get(name));
                let patience = stores.map(|store| store.patience).max();
                let waited = self.waiting.clock.now().since(self.since);
                patience.is_some_and(|patience| waited + wait <= patience)
            }
        }
    }

    /// Says which stores do not answer, and waits.
    async fn wait(&self, silent: &Silent, wait: Duration) -> Result<(), StartError> {
        let Waiting { clock, signals, shared, .. } = self.waiting;
        let silent: Vec<String> = silent.values().map(|error| silence(error)).collect();
        for what in &silent {
            tracing::warn!(target: "driftd", "{what}; trying again in {} s", wait.as_secs());
        }
        shared.set_unready(silent);
        let mut stop = signals.stop.clone();
        tokio::select! {
            () = clock.sleep_until(clock.now().after(wait)) => Ok(()),
            _ = stop.wait_for(|stop| *stop) => Err(StartError::Stopped),
        }
    }

    /// Makes a pairing ready: describes its relations, binds its mapping, and tries it. Or everything
    /// that is in the way.
    ///
    /// # Errors
    /// If it is stopped meanwhile.
    pub(super) async fn ready(
        &self,
        pairing: &PairingSettings,
        binder: &Binder<'_>,
        silent: &mut Silent,
    ) -> Result<Result<(Context, Spec), Wrong>, StartError> {
        let mut wrong = Wrong::new();
        if let MappingSettings::Plugin(plugin) = &pairing.mapping {
            wrong.extend(self.faults.plugins.get(plugin).map(Arc::clone));
        }
        let mut sides = Vec::new();
        for side in [Side::Source, Side::Target] {
            sides.extend(self.describe(pairing, side, silent, &mut wrong).await?);
        }
        for described in &sides {
            self.readable(pairing, described, &mut wrong).await;
        }
        let Ok([source, target]) = <[Described<'_>; 2]>::try_from(sides) else {
            return Ok(Err(wrong));
        };
        let probes = [Arc::clone(&source.probe), Arc::clone(&target.probe)];
        let (context, spec) = match binder.bind(pairing, (source, target)) {
            Ok(Some(bound)) if wrong.is_empty() => bound,
            Ok(_) => return Ok(Err(wrong)),
            Err(error) => {
                wrong.push(Arc::new(error));
                return Ok(Err(wrong));
            }
        };
        let wrong = self.readable_by_plugin(pairing, &context, &probes).await;
        if !wrong.is_empty() {
            return Ok(Err(wrong));
        }
        if let Err(error) = grouped(binder, pairing, &context).await {
            return Ok(Err(vec![Arc::new(error)]));
        }
        attributes::look(pairing, &self.settings.lines, &context, &probes).await;
        if let MappingSettings::Plugin(plugin) = &pairing.mapping
            && self.waiting.proves
            && let Err(error) = selftest::prove(&context, &probes, self.waiting.clock.now()).await
        {
            let at = self.settings.lines.place(&format!("plugins.{plugin}.path"));
            return Ok(Err(vec![Arc::new(StartError::Lawless { at, error: Box::new(error) })]));
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
        Ok(Ok((context, spec)))
    }

    /// Asks the store of a side for its relations, each once. None: not all of them can be described.
    async fn describe<'a>(
        &self,
        pairing: &'a PairingSettings,
        side: Side,
        silent: &mut Silent,
        wrong: &mut Wrong,
    ) -> Result<Option<Described<'a>>, StartError> {
        let settings = match side {
            Side::Source => &pairing.source,
            Side::Target => &pairing.target,
        };
        let Some(opened) = self.stores.get(&settings.store) else {
            wrong.extend(self.faults.stores.get(&settings.store).map(Arc::clone));
            return Ok(None);
        };
        if let Some(error) = silent.get(&settings.store) {
            wrong.push(Arc::clone(error));
            return Ok(None);
        }
        let mut schemas = Vec::with_capacity(settings.relations.len());
        for relation in &settings.relations {
            let mut stop = self.waiting.signals.stop.clone();
            let described = tokio::select! {
                described = opened.probe.describe(relation) => described,
                _ = stop.wait_for(|stop| *stop) => return Err(StartError::Stopped),
            };
            match described {
                Ok(schema) => schemas.push(schema),
                Err(error) if error.kind.heals() => {
                    let after = self.waiting.clock.now().since(self.since);
                    let error = Box::new(error);
                    let error = Arc::new(StartError::Unanswered { after, error });
                    silent.insert(settings.store.clone(), Arc::clone(&error));
                    wrong.push(error);
                    return Ok(None);
                }
                Err(error) => {
                    let path = format!("pairings.{}.{side}.relation", pairing.name);
                    let (at, pairing) = (self.settings.lines.place(&path), pairing.name.clone());
                    let error = Box::new(error);
                    wrong.push(Arc::new(StartError::Wrong { at, pairing, side, error }));
                }
            }
        }
        let (store, probe) = (Arc::clone(&opened.store), Arc::clone(&opened.probe));
        let whole = schemas.len() == settings.relations.len();
        Ok(whole.then_some(Described { side, settings, store, probe, schemas }))
    }

    /// Notes the columns that a built-in mapping uses and that cannot be read, each where it is mapped.
    async fn readable(
        &self,
        pairing: &PairingSettings,
        described: &Described<'_>,
        wrong: &mut Wrong,
    ) {
        let (side, [schema]) = (described.side, described.schemas.as_slice()) else { return };
        let MappingSettings::BuiltIn(mapping) = &pairing.mapping else { return };
        for field in &mapping.fields {
            let column = match side {
                Side::Source => &field.source,
                Side::Target => &field.target,
            };
            let path = format!("pairings.{}.mapping.fields.{}", pairing.name, field.name);
            let probe = described.probe.as_ref();
            wrong.extend(
                self.unfit((pairing, side), probe, (&schema.relation, column), &path).await,
            );
        }
    }

    /// The columns that a plugin's plan uses and that cannot be read.
    async fn readable_by_plugin(
        &self,
        pairing: &PairingSettings,
        context: &Context,
        probes: &[Arc<dyn Store>; 2],
    ) -> Wrong {
        let mut wrong = Wrong::new();
        let MappingSettings::Plugin(_) = &pairing.mapping else { return wrong };
        let path = format!("pairings.{}.plugin", pairing.name);
        for (side, probe) in [Side::Source, Side::Target].into_iter().zip(probes) {
            for read in context.side(side).relations.iter().map(|relation| &relation.read) {
                for column in &read.columns {
                    let what = (read.schema.relation.as_str(), column);
                    wrong.extend(self.unfit((pairing, side), probe.as_ref(), what, &path).await);
                }
            }
        }
        wrong
    }

    /// Why a column cannot be read. What is not there is told by the mapping, and what does not answer by
    /// the first check.
    async fn unfit(
        &self,
        (pairing, side): (&PairingSettings, Side),
        probe: &dyn Store,
        (relation, column): (&str, &String),
        path: &str,
    ) -> Option<Arc<StartError>> {
        let error = probe.readable(relation, std::slice::from_ref(column)).await.err()?;
        let StoreErrorKind::Unfit(_) = error.kind else { return None };
        let (at, pairing) = (self.settings.lines.place(path), pairing.name.clone());
        Some(Arc::new(StartError::Column { at, pairing, side, error: Box::new(error) }))
    }
}

/// What is said of a store that does not answer.
fn silence(error: &StartError) -> String {
    let StartError::Unanswered { error, .. } = error else { return told(error) };
    let cause = error.source.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}; {}", error.kind.remedy())
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
            share: Share::new(self.settings.checks.share()),
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
