//! From settings to what checks and the engine need.
//!
//! Owns connecting stores, describing relations, loading plugins, binding mappings and choosing how
//! each pairing is read. Refuses to go on with what is wrong, and to give up on what may heal within
//! its patience. Invariant: what a store answers as wrong names the nearest names; what does not
//! answer is tried again until the patience is over.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::api::Shared;
use crate::check::{Context, SideContext};
use crate::compare::{Canon, CanonError};
use crate::config::{MappingSettings, PairingSettings, Settings, SideSettings};
use crate::engine::Spec;
use crate::journal;
use crate::model::{Extent, Leads, Logical, RelationPlan, RelationSchema, Role, Side};
use crate::plan::{self, SideFacts};
use crate::plugin::builtin::{self, BuiltIn};
use crate::plugin::template::{KeyTemplate, Part, Template};
use crate::plugin::wasm::{AttachError, Host, LoadError, Loaded};
use crate::plugin::{Binding, Mapper, Place, PlanIssue};
use crate::run::{Clock, Contexts, Purpose, Signals};
use crate::store::{self, Read, Store, StoreError};

/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(8);
/// How long one try may go on beyond the store's time for connecting, before a word is said about it.
const TRY: Duration = Duration::from_secs(5);
/// Rows of one side that a check holds at once, in partitions' worth: a partition that grew is read
/// on, and cut only when it is far too large.
const WINDOW: u32 = 4;

/// What does not come from the configuration.
#[derive(Clone, Debug, Default)]
pub struct Supplied {
    /// Stores that are there already, by their names in the configuration.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
}

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A store answers that the configuration is wrong.
    #[error("pairing `{pairing}`, {side}: {error}; {}", error.kind.remedy())]
    Wrong {
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
        /// The store's patience.
        after: Duration,
        /// What it says, if anything.
        #[source]
        error: Box<StoreError>,
    },
    /// A store's own settings are unfit.
    #[error("{error}; {}", error.kind.remedy())]
    Store {
        /// What is wrong.
        #[source]
        error: Box<StoreError>,
    },
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A plugin cannot be bound to a pairing.
    #[error("pairing `{pairing}`: {error}")]
    Attach {
        /// The pairing.
        pairing: String,
        /// Why.
        #[source]
        error: Box<AttachError>,
    },
    /// The built-in mapping does not fit the relations.
    #[error("pairing `{pairing}`, its mapping:\n  {}", issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  "))]
    Mapping {
        /// The pairing.
        pairing: String,
        /// Everything that does not fit.
        issues: Vec<PlanIssue>,
    },
    /// The pairing cannot be read as it is.
    #[error("pairing `{pairing}`: {why}")]
    Unreadable {
        /// The pairing.
        pairing: String,
        /// Why, and what to do.
        why: String,
    },
    /// The run was stopped before it began.
    #[error("stopped while stores were being connected")]
    Stopped,
}

impl StartError {
    /// Whether the configuration is at fault, rather than the world.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            // What the environment did not tell in time it may tell at the next start.
            Self::Store { error } => !error.kind.heals(),
            Self::Wrong { .. }
            | Self::Load(_)
            | Self::Attach { .. }
            | Self::Mapping { .. }
            | Self::Unreadable { .. } => true,
            Self::Unanswered { .. } | Self::Stopped => false,
        }
    }
}

/// What waits, and who is told.
pub(super) struct Waiting<'a> {
    pub(super) purpose: Purpose,
    pub(super) clock: &'a Clock,
    pub(super) signals: &'a Signals,
    pub(super) shared: &'a Shared,
}

/// Makes ready what `settings` describe.
pub(super) async fn start(
    settings: &Settings,
    supplied: Supplied,
    secrets: &journal::Identity,
    waiting: Waiting<'_>,
) -> Result<(Contexts, Vec<Spec>), StartError> {
    let stores = open(settings, supplied).await?;
    let plugins = load(settings)?;
    let mut contexts = Vec::new();
    let mut specs = Vec::new();
    for pairing in &settings.pairings {
        let source = describe(pairing, Side::Source, &stores, &waiting).await?;
        let target = describe(pairing, Side::Target, &stores, &waiting).await?;
        let (context, spec) = bind(pairing, (source, target), &plugins, (secrets, waiting.clock))?;
        exported(&settings.report.fields, &context)?;
        sample(&context).await;
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
        contexts.push(Arc::new(context));
        specs.push(spec);
    }
    Ok((contexts, specs))
}

type Stores = BTreeMap<String, Opened>;

struct Opened {
    store: Arc<dyn Store>,
    /// The same store with less patience, so that what is in the way is told soon.
    probe: Arc<dyn Store>,
    patience: Duration,
}

async fn open(settings: &Settings, supplied: Supplied) -> Result<Stores, StartError> {
    let patience = store::Timeouts::default().patience;
    let own = |(name, store): (String, Arc<dyn Store>)| {
        (name, Opened { probe: Arc::clone(&store), store, patience })
    };
    let mut stores: Stores = supplied.stores.into_iter().map(own).collect();
    for described in &settings.stores {
        if stores.contains_key(&described.name) {
            continue;
        }
        let wrong = |error| StartError::Store { error: Box::new(error) };
        let patience = described.timeouts.patience;
        let mut hasty = described.clone();
        hasty.timeouts.patience = patience.min(hasty.timeouts.connect + TRY);
        let store = store::open(described).await.map_err(wrong)?;
        let probe = store::open(&hasty).await.map_err(wrong)?;
        stores.insert(described.name.clone(), Opened { store, probe, patience });
    }
    Ok(stores)
}

fn load(settings: &Settings) -> Result<BTreeMap<String, Loaded>, StartError> {
    if settings.plugins.is_empty() {
        return Ok(BTreeMap::new());
    }
    let host = Host::new();
    let mut loaded = BTreeMap::new();
    for plugin in &settings.plugins {
        let code = host.load(plugin)?;
        tracing::info!(
            target: "driftd", plugin = plugin.name, digest = code.digest(), "plugin is loaded"
        );
        loaded.insert(plugin.name.clone(), code);
    }
    Ok(loaded)
}

/// A side that was described.
struct Described<'a> {
    settings: &'a SideSettings,
    store: Arc<dyn Store>,
    schema: RelationSchema,
}

async fn describe<'a>(
    pairing: &'a PairingSettings,
    side: Side,
    stores: &Stores,
    waiting: &Waiting<'_>,
) -> Result<Described<'a>, StartError> {
    let Waiting { purpose, clock, signals, shared } = waiting;
    let settings = match side {
        Side::Source => &pairing.source,
        Side::Target => &pairing.target,
    };
    let Some(Opened { store, probe, patience }) = stores.get(&settings.store) else {
        let why = format!("there is no store `{}`", settings.store);
        return Err(StartError::Unreadable { pairing: pairing.name.clone(), why });
    };
    let begun = clock.now();
    let mut wait = Duration::from_secs(1);
    loop {
        let mut stop = signals.stop.clone();
        let described = tokio::select! {
            described = probe.describe(&settings.relation) => described,
            _ = stop.wait_for(|stop| *stop) => return Err(StartError::Stopped),
        };
        let error = match described {
            Ok(schema) => return Ok(Described { settings, store: Arc::clone(store), schema }),
            Err(error) => Box::new(error),
        };
        if !error.kind.heals() {
            return Err(StartError::Wrong { pairing: pairing.name.clone(), side, error });
        }
        // A daemon is there when the store is back; a command answers while somebody waits for it.
        if *purpose == Purpose::Verify && clock.now().since(begun) + wait > *patience {
            return Err(StartError::Unanswered { after: *patience, error });
        }
        let cause = error.source.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let what = format!("{error}{cause}; {}", error.kind.remedy());
        tracing::warn!(target: "driftd", "{what}; trying again in {} s", wait.as_secs());
        shared.set_unready(vec![what]);
        shared.beat(clock.now());
        tokio::select! {
            () = clock.sleep_until(clock.now().after(wait)) => {}
            _ = stop.wait_for(|stop| *stop) => return Err(StartError::Stopped),
        }
        wait = (wait * 2).min(WAIT_MAX);
    }
}

fn bind(
    pairing: &PairingSettings,
    (source, target): (Described<'_>, Described<'_>),
    plugins: &BTreeMap<String, Loaded>,
    (secrets, clock): (&journal::Identity, &Clock),
) -> Result<(Context, Spec), StartError> {
    let name = || pairing.name.clone();
    let source_key = key_template(pairing, Side::Source, &source);
    let target_key = key_template(pairing, Side::Target, &target);
    let binding = Binding {
        pairing: &pairing.name,
        source: Place { schema: &source.schema, key: source_key.as_ref() },
        target: Place { schema: &target.schema, key: target_key.as_ref() },
    };
    let mapper = mapper(pairing, &binding, plugins)?;
    let plan = mapper.plan().clone();
    let entity = &plan.entities[0];
    let canon = Canon::new(entity, secrets.digest_key).map_err(|error: CanonError| {
        StartError::Unreadable { pairing: name(), why: error.to_string() }
    })?;
    let entity_key: Vec<&str> = entity
        .fields
        .iter()
        .filter(|field| field.role == Role::Key)
        .map(|field| field.name.as_str())
        .collect();
    let facts = (facts(&source, source_key.as_ref()), facts(&target, target_key.as_ref()));
    let reading = plan::reading(&facts.0, &facts.1, &entity_key)
        .map_err(|error| StartError::Unreadable { pairing: name(), why: error.to_string() })?;
    scannable(pairing, (&source, &facts.0), (&target, &facts.1), &reading)?;
    let spec = Spec {
        name: name(),
        identity: mapper.identity(),
        leads: Leads(pairing.leader),
        reading,
        plan: pairing.plan.clone(),
        settle: pairing.settle.clone(),
        seed: secrets.seed,
        fields: canon.compared().map(str::to_owned).collect(),
        invariants: mapper.invariants().to_vec(),
        version_is_time: canon.version_is_time(),
    };
    let rows = pairing.plan.partition_rows;
    let window = rows.get().saturating_mul(WINDOW);
    let page = pairing.plan.page_rows;
    let context = Context {
        pairing: name(),
        leads: Leads(pairing.leader),
        source: side_context(source, &plan.source.relations[0], source_key.is_some(), page),
        target: side_context(target, &plan.target.relations[0], target_key.is_some(), page),
        mapper,
        canon,
        partition_rows: rows,
        window_rows: NonZeroU32::new(window).unwrap_or(rows),
        clock: Arc::from(clock.shared()),
    };
    Ok((context, spec))
}

/// Refuses names in `events.fields` that would never let anything out.
fn exported(fields: &[String], context: &Context) -> Result<(), StartError> {
    let pairing = &context.pairing;
    let labels = context.mapper.plan().entities.iter().flat_map(|entity| &entity.fields);
    let labels = labels.filter(|field| field.role == Role::Label).map(|field| field.name.as_str());
    let invariants = context.mapper.invariants().iter().map(|invariant| invariant.id.as_str());
    let known: Vec<_> = labels.chain(invariants).collect();
    let named = fields.iter().filter_map(|field| field.split_once('.'));
    match named.filter(|(of, _)| of == pairing).find(|(_, name)| !known.contains(name)) {
        None => Ok(()),
        Some((_, name)) => Err(StartError::Unreadable {
            pairing: pairing.clone(),
            why: format!(
                "`events.fields` names `{pairing}.{name}`, but its mapping has no label and no \
                 invariant of this name; it has {}",
                match known.as_slice() {
                    [] => "none at all".to_owned(),
                    known => known.join(", "),
                }
            ),
        }),
    }
}

fn mapper(
    pairing: &PairingSettings,
    binding: &Binding<'_>,
    plugins: &BTreeMap<String, Loaded>,
) -> Result<Arc<dyn Mapper>, StartError> {
    let name = || pairing.name.clone();
    match &pairing.mapping {
        MappingSettings::BuiltIn(settings) => {
            let mapping = BuiltIn::new(settings, binding)
                .map_err(|issues| StartError::Mapping { pairing: name(), issues })?;
            Ok(Arc::new(mapping))
        }
        MappingSettings::Plugin(plugin) => {
            let Some(loaded) = plugins.get(plugin) else {
                let why = format!("there is no plugin `{plugin}`");
                return Err(StartError::Unreadable { pairing: name(), why });
            };
            let attached = loaded
                .bind(binding)
                .map_err(|error| StartError::Attach { pairing: name(), error: Box::new(error) })?;
            for note in attached.notes {
                tracing::info!(target: "driftd", pairing = pairing.name, plugin, "{note}");
            }
            Ok(attached.mapper)
        }
    }
}

/// The configured key template; for the built-in mapping, where none is configured, the key columns
/// that are fields of the entity.
fn key_template(
    pairing: &PairingSettings,
    side: Side,
    described: &Described<'_>,
) -> Option<KeyTemplate> {
    if let Some(key) = &described.settings.key {
        return Some(key.clone());
    }
    let MappingSettings::BuiltIn(builtin::Settings { fields, .. }) = &pairing.mapping else {
        return None;
    };
    let column_of = |field: &builtin::Field| match side {
        Side::Source => field.source.clone(),
        Side::Target => field.target.clone(),
    };
    let columns = described.schema.key_columns().map(|column| {
        let field = fields.iter().find(|field| column_of(field) == column.name)?;
        let template = Template { parts: vec![Part::Field(field.name.clone())] };
        Some((column.name.clone(), template))
    });
    columns.collect::<Option<Vec<_>>>().map(|columns| KeyTemplate { columns })
}

fn facts(described: &Described<'_>, key: Option<&KeyTemplate>) -> SideFacts {
    let schema = &described.schema;
    let first = schema.key_columns().next();
    let integer = first.is_some_and(|column| column.logical == Logical::Integer);
    let key_field = key
        .filter(|key| key.columns.len() == 1 && schema.key.len() == 1)
        .and_then(|key| key.columns[0].1.lone_field())
        .map(str::to_owned);
    SideFacts {
        ranges: described.store.abilities().ranges && integer,
        locatable: key.is_some(),
        key_field,
    }
}

/// Refuses a relation that would have to be scanned by ranges and has no integer to cut by.
fn scannable(
    pairing: &PairingSettings,
    source: (&Described<'_>, &SideFacts),
    target: (&Described<'_>, &SideFacts),
    reading: &plan::Reading,
) -> Result<(), StartError> {
    use crate::model::Direction;
    for direction in &reading.directions {
        let (described, facts) = match direction {
            Direction::Aligned | Direction::FromSource => source,
            Direction::FromTarget => target,
        };
        if described.store.abilities().ranges && !facts.ranges {
            let column = described.schema.key_columns().next();
            let key = column.map_or_else(
                || "has no primary key".to_owned(),
                |column| format!("begins with `{}`, a {}", column.name, column.logical),
            );
            let why = format!(
                "store `{}`, relation `{}`: its primary key {key}; this version cuts relations by \
                 an integer as the first column of their primary key",
                described.store.name(),
                described.schema.relation
            );
            return Err(StartError::Unreadable { pairing: pairing.name.clone(), why });
        }
    }
    Ok(())
}

fn side_context(
    described: Described<'_>,
    plan: &RelationPlan,
    locatable: bool,
    page_rows: NonZeroU32,
) -> SideContext {
    let read = Read {
        schema: described.schema,
        columns: plan.columns.clone(),
        ignored: plan.ignored.clone(),
        page_rows,
    };
    SideContext { store: described.store, read, locatable }
}

/// Looks at a few items of schemaless relations: an attribute that none of them has is probably
/// misspelt. A word of warning, never a refusal.
async fn sample(context: &Context) {
    for side in [Side::Source, Side::Target] {
        let here = context.side(side);
        if !here.read.schema.open {
            continue;
        }
        let extent = Extent::Segment { index: 0, of: 1 };
        let mut pages = here.store.scan(&here.read, &extent);
        // What cannot be read now is met, and told, by the first check.
        let Some(Ok(page)) = pages.next().await else { continue };
        if page.rows.rows == 0 {
            continue;
        }
        let present: BTreeSet<&str> = here
            .read
            .columns
            .iter()
            .zip(&page.rows.columns)
            .filter(|(_, column)| (0..page.rows.rows).any(|row| column.is_valid(row)))
            .map(|(name, _)| name.as_str())
            .collect();
        for name in here.read.columns.iter().filter(|name| !present.contains(name.as_str())) {
            tracing::warn!(
                target: "driftd",
                pairing = context.pairing,
                relation = here.read.schema.relation,
                attribute = name,
                met = page.unmapped.join(", "),
                "none of the first {} items has this attribute; is it misspelt?", page.rows.rows
            );
        }
    }
}
