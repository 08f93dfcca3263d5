//! The configuration: a TOML file becomes the settings of every stage.
//!
//! Owns the file's format, its defaults, and messages with place and remedy. Refuses to be seen by
//! any stage: each keeps its own settings type and never meets the file. Invariant: settings that
//! were made are complete and consistent; every fault of a file is told in one run.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::Side;
use crate::plugin::template::KeyTemplate;
use crate::{abort, hook, journal, plan, plugin, report, settle, store};

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stores, by name.
    pub stores: Vec<store::Settings>,
    /// The plugins, by name.
    pub plugins: Vec<plugin::Settings>,
    /// What is compared with what.
    pub pairings: Vec<PairingSettings>,
    /// When the migration must stop.
    pub abort: abort::Settings,
    /// What is run then.
    pub hooks: Vec<hook::Settings>,
    /// What is exported.
    pub report: report::Settings,
    /// Where state is kept.
    pub journal: journal::Settings,
    /// Where `/livez`, `/readyz` and `/metrics` are served; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// How long what is in flight may take to end at shutdown.
    pub grace: Duration,
}

/// A pairing of the configuration.
#[derive(Clone, Debug)]
pub struct PairingSettings {
    /// Its name.
    pub name: String,
    /// What is read from the source.
    pub source: SideSettings,
    /// What is read from the target.
    pub target: SideSettings,
    /// Which side is the authority.
    pub leader: Side,
    /// How rows become entities.
    pub mapping: MappingSettings,
    /// How its passes go.
    pub plan: plan::Settings,
    /// How its suspects are judged.
    pub settle: settle::Settings,
}

/// One side of a pairing.
#[derive(Clone, Debug)]
pub struct SideSettings {
    /// The store's name.
    pub store: String,
    /// The relation's name in the store.
    pub relation: String,
    /// Where an entity is kept: for each key column a template over the entity's fields. None: its
    /// entities cannot be located on this side.
    pub key: Option<KeyTemplate>,
}

/// How rows become entities.
#[derive(Clone, Debug)]
pub enum MappingSettings {
    /// By this plugin.
    Plugin(String),
    /// By the built-in mapping.
    BuiltIn(plugin::builtin::Settings),
}
