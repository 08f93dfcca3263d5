//! Stores opened, plugins loaded.
//!
//! Owns the first step of a start, and of a reload: what the configuration names by itself. Refuses to
//! ask a store for anything and to bind a plugin. Invariant: everything that is refused is told, at
//! once, with its place in the file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Settings;
use crate::plugin::wasm::{Host, LoadError, Loaded};
use crate::run::Supplied;
use crate::run::unstarted::{StartError, told};
use crate::run::watching::Watching;
use crate::store::{self, Store};

/// How long one try may go on beyond the store's time for connecting, before a word is said about it.
const TRY: Duration = Duration::from_secs(5);

/// Stores that were opened, by name.
pub(super) type Stores = BTreeMap<String, Opened>;

/// What is wrong with stores and plugins themselves, by name.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) stores: BTreeMap<String, Arc<StartError>>,
    pub(super) plugins: BTreeMap<String, Arc<StartError>>,
}

impl Faults {
    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = Arc<StartError>> {
        self.stores.values().chain(self.plugins.values()).map(Arc::clone)
    }
}

/// A store that was opened.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    /// The same store with less patience, so that what is in the way is told soon.
    pub(super) probe: Arc<dyn Store>,
    pub(super) patience: Duration,
}

/// Opens every store of the configuration that was not supplied.
pub(super) async fn open(
    settings: &Settings,
    supplied: Supplied,
    watching: &Watching,
    faults: &mut Faults,
) -> Stores {
    let patience = store::Timeouts::default().patience;
    let own = |(name, store): (String, Arc<dyn Store>)| {
        let store = watching.watch(&store, patience).over(store);
        (name, Opened { probe: Arc::clone(&store), store, patience })
    };
    let mut stores: Stores = supplied.stores.into_iter().map(own).collect();
    for described in &settings.stores {
        if stores.contains_key(&described.name) {
            continue;
        }
        let patience = described.timeouts.patience;
        let hasty = patience.min(described.timeouts.connect + TRY);
        match store::open_both(described, hasty).await {
            Ok((store, probe)) => {
                // Both are one store, and stand and fall together.
                let watch = watching.watch(&store, patience);
                let (store, probe) = (watch.over(store), watch.over(probe));
                stores.insert(described.name.clone(), Opened { store, probe, patience });
            }
            Err(error) => {
                let at = settings.lines.place(&format!("stores.{}", described.name));
                let error = StartError::Store { at, error: Box::new(error) };
                tracing::error!(target: "driftd", "{}", told(&error));
                faults.stores.insert(described.name.clone(), Arc::new(error));
            }
        }
    }
    stores
}

/// Reads, checks and compiles every plugin.
pub(super) fn load(settings: &Settings, faults: &mut Faults) -> BTreeMap<String, Loaded> {
    load_again(settings, &BTreeMap::new(), faults)
}

/// The same, but what the files hold of `known` is not compiled a second time.
pub(super) fn load_again(
    settings: &Settings,
    known: &BTreeMap<String, Loaded>,
    faults: &mut Faults,
) -> BTreeMap<String, Loaded> {
    // What is loaded now and what was before share memory.
    let mut host = known.values().next().map(Loaded::host);
    let mut loaded = BTreeMap::new();
    for plugin in &settings.plugins {
        let again = match known.get(&plugin.name).map(|known| known.again(plugin)).transpose() {
            Ok(again) => again.flatten(),
            Err(error) => {
                faults.plugins.insert(plugin.name.clone(), unloaded(settings, error));
                continue;
            }
        };
        if let Some(code) = again {
            loaded.insert(plugin.name.clone(), code);
            continue;
        }
        let memory = settings.plugin_memory;
        let host = host.get_or_insert_with(|| match settings.plugin_cache.clone() {
            Some(cache) => Host::with_cache(memory, cache),
            None => Host::with_memory(memory),
        });
        let code = match host.load(plugin) {
            Ok(code) => code,
            Err(error) => {
                faults.plugins.insert(plugin.name.clone(), unloaded(settings, error));
                continue;
            }
        };
        tracing::info!(
            target: "driftd", plugin = plugin.name, digest = code.digest(), "plugin is loaded"
        );
        loaded.insert(plugin.name.clone(), code);
    }
    loaded
}

fn unloaded(settings: &Settings, error: LoadError) -> Arc<StartError> {
    let at = settings.lines.place(&format!("plugins.{}.path", error.plugin));
    Arc::new(StartError::Load { at, error: Box::new(error) })
}
