//! Pairings that could not be begun, tried again beside those that run.
//!
//! Owns when they are due and one try of all of them. Refuses to touch what runs. Invariant: what only
//! another file can mend is tried when the file is read again; what may heal by itself is tried again
//! and again, at growing distances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::check::Context;
use crate::config::{PairingSettings, Settings};
use crate::engine::Spec;
use crate::model::Moment;
use crate::plugin::wasm::Loaded;
use crate::run::loading::{Faults, Stores, load_again, open};
use crate::run::reload::{Generation, Ground};
use crate::run::start::{self, Asked, Binder};
use crate::run::unstarted::{Unstarted, line};
use crate::run::{Purpose, Supplied};

/// Between the first two tries; it doubles.
const WAIT: Duration = Duration::from_secs(5);
/// The longest wait between two tries.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Pairings that cannot be begun.
pub(super) struct Held {
    /// What the file said when it was read last.
    pub(super) settings: Settings,
    pub(super) unstarted: Vec<Unstarted>,
    /// When they are tried again; none: not before the file is read again.
    pub(super) due: Option<Moment>,
    wait: Duration,
}

/// What one try came to.
#[derive(Default)]
pub(super) struct Tried {
    pub(super) ready: Vec<(PairingSettings, Arc<Context>, Spec)>,
    pub(super) unstarted: Vec<Unstarted>,
    /// Stores that were opened for it.
    pub(super) stores: Stores,
    /// Plugins that are used by those that are ready.
    pub(super) plugins: BTreeMap<String, Loaded>,
}

impl Held {
    pub(super) fn new(settings: &Settings, unstarted: Vec<Unstarted>, now: Moment) -> Self {
        let mut held = Self { settings: settings.clone(), unstarted, due: None, wait: WAIT };
        held.due = held.heals().then(|| now.after(held.wait));
        held
    }

    /// Whether another time may help any of them.
    fn heals(&self) -> bool {
        self.unstarted.iter().any(|one| !one.is_configuration())
    }

    /// Whether a name in the file is of one of them.
    pub(super) fn is_of(&self, name: &str) -> bool {
        self.unstarted.iter().any(|one| {
            let rest = name.strip_prefix("pairings.");
            let rest = rest.and_then(|rest| rest.strip_prefix(one.settings.name.as_str()));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }

    /// The file was read again: all of them are tried as it has them now.
    pub(super) fn read_again(&mut self, read: &Settings, now: Moment) {
        // How many checks share it takes effect at a restart, and so does their memory.
        let checks = self.settings.checks;
        self.settings = Settings { checks, ..read.clone() };
        for one in &mut self.unstarted {
            if let Some(now) = read.pairings.iter().find(|now| now.name == one.settings.name) {
                one.settings.clone_from(now);
            }
        }
        self.wait = WAIT;
        self.due = (!self.unstarted.is_empty()).then_some(now);
    }

    /// They were tried; these still cannot be begun.
    pub(super) fn tried(&mut self, unstarted: Vec<Unstarted>, now: Moment) {
        for one in &unstarted {
            for reason in one.reasons().iter().map(|reason| line(reason)) {
                tracing::warn!(
                    target: "driftd", pairing = one.settings.name, "still not begun: {reason}"
                );
            }
        }
        self.unstarted = unstarted;
        self.due = self.heals().then(|| now.after(self.wait));
        self.wait = (self.wait * 2).min(WAIT_MAX);
    }
}

/// Tries to make ready what could not be begun.
pub(super) async fn attempt(
    ground: &Ground,
    running: &Generation,
    mut settings: Settings,
    unstarted: Vec<Unstarted>,
) -> Tried {
    settings.pairings = unstarted.iter().map(|one| one.settings.clone()).collect();
    let used: Vec<&str> = settings
        .pairings
        .iter()
        .flat_map(|one| [one.source.store.as_str(), one.target.store.as_str()])
        .collect();
    // Those that are open go on as they are: their settings take effect at a restart.
    settings.stores.retain(|store| {
        used.contains(&store.name.as_str()) && !ground.stores.contains_key(&store.name)
    });
    let mut faults = Faults::default();
    let opened = open(&settings, Supplied::default(), &ground.watching, &mut faults).await;
    let plugins = load_again(&settings, &running.plugins, &mut faults);
    let mut stores = ground.stores.clone();
    stores.extend(opened.iter().map(|(name, opened)| (name.clone(), opened.clone())));
    let (clock, signals, shared) = (&ground.clock, &ground.signals, &ground.shared);
    let (purpose, patience, proves) = (Purpose::Daemon, false, true);
    let watching = &ground.watching;
    let waiting = start::Waiting { purpose, patience, proves, clock, watching, signals, shared };
    let binder = Binder { settings: &settings, plugins, secrets: &ground.secrets, clock };
    let (since, waiting) = (clock.now(), &waiting);
    let asked = Asked { settings: &settings, stores: &stores, waiting, faults: &faults, since };
    let mut tried = Tried { stores: opened, ..Tried::default() };
    // It is stopped: nothing is begun any more.
    let Ok((ready, left)) = asked.all(&binder).await else {
        return Tried { unstarted, ..tried };
    };
    tried.unstarted = left;
    for (index, (context, spec)) in ready {
        tried.ready.push((settings.pairings[index].clone(), Arc::new(context), spec));
    }
    let begun = running.settings.pairings.iter().chain(tried.ready.iter().map(|(one, ..)| one));
    let used: Vec<String> = begun
        .filter_map(|one| match &one.mapping {
            crate::config::MappingSettings::Plugin(plugin) => Some(plugin.clone()),
            crate::config::MappingSettings::BuiltIn(_) => None,
        })
        .collect();
    let new = |name: &String| used.contains(name) && !running.plugins.contains_key(name);
    tried.plugins = binder.plugins.into_iter().filter(|(name, _)| new(name)).collect();
    tried
}
