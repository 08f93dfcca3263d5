//! The configuration: a TOML file becomes the settings of every stage.
//!
//! Owns the file's format, its defaults, and messages with place and remedy. Refuses to be seen by
//! any stage: each keeps its own settings type and never meets the file. Invariant: settings that
//! were made are complete and consistent; every fault of a file is told in one run.
//!
//! A file is read in three steps: `syntax` blanks out what is not TOML, `walk` checks and reads the
//! rest against the description that each element's file gives of its keys, and what the file leaves
//! out comes from the embedded default or from the stage's own defaults.

mod describe;
mod issue;
mod lines;
mod syntax;
mod walk;
mod units;
mod secret;
mod service;
mod stores;
mod plugins;
mod pairings;
mod mapping;
mod checks;
mod passes;
mod settle;
mod abort;
mod changes;
mod hooks;
mod telemetry;
mod schema;
mod summary;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::model::Side;
use crate::plugin::template::KeyTemplate;
use crate::{abort as criteria, hook, journal, plan, plugin, report, settle as settling, store};

use describe::Table;
use walk::{Node, Section, Walker};

pub use checks::Checks;
pub use issue::{ConfigErrors, Display, Issue, Issues};
pub use lines::Lines;
pub use schema::{reference, schema};
pub use summary::check_report;

/// The commented defaults, as a file.
pub const EMBEDDED_DEFAULT: &str = include_str!("../../config/default.toml");

/// Reads a duration as the file writes it: `250ms`, `30s`, `36h`. None: it is no duration.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    units::duration(text)
}

/// The names of `known` that are nearest to `name`, for whoever mistyped it.
#[must_use]
pub fn nearest<'k>(name: &str, known: &[&'k str]) -> Vec<&'k str> {
    walk::nearest(name, known)
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is worth a word.
    pub warnings: Issues,
}

impl Loaded {
    /// Refuses settings without a pairing: there would be nothing to compare.
    ///
    /// # Errors
    /// If there is none.
    pub fn require_pairings(&self) -> Result<(), ConfigErrors> {
        if self.settings.pairings.is_empty() {
            let help = "add [stores.*] and a [pairings.<name>]; config/examples has complete files";
            return Err(whole_file(self.warnings.file(), "there is no pairing to compare", help));
        }
        Ok(())
    }
}

/// Whether what a file refers to outside of itself must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Places {
    /// Secrets, plugins and certificates are looked for.
    #[default]
    Checked,
    /// They may be elsewhere.
    Unchecked,
}

/// Reads the file at `path`, for a command that reads stores.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, Places::Checked)
}

/// Reads the file at `path`, for a command that only needs the journal: whoever asks for the status
/// need not be allowed to see the secrets, which a service manager may keep for the daemon alone.
///
/// # Errors
/// Everything that is wrong with the file itself, at once.
pub fn load_for_journal(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, Places::Unchecked)
}

fn load_with(path: &Path, places: Places) -> Result<Loaded, ConfigErrors> {
    let file = path.display().to_string();
    let refused = |cause: std::io::Error| {
        whole_file(&file, &format!("cannot read the file: {cause}"), "correct `--config`")
    };
    let base = std::path::absolute(path).map_err(refused)?;
    let base = base.parent().unwrap_or(&base);
    let bytes = std::fs::read(path).map_err(refused)?;
    match String::from_utf8(bytes) {
        Ok(text) => parse_with(&text, &file, base, places),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let line = error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
            let message = format!("line {line} is not UTF-8");
            Err(whole_file(&file, &message, "save the file as UTF-8"))
        }
    }
}

/// Reads `text` as the file called `file` in the directory `base`.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn parse(text: &str, file: &str, base: &Path) -> Result<Loaded, ConfigErrors> {
    parse_with(text, file, base, Places::Checked)
}

fn parse_with(text: &str, file: &str, base: &Path, places: Places) -> Result<Loaded, ConfigErrors> {
    let repaired = syntax::repair(text);
    let (document, _) = DeTable::parse_recoverable(&repaired.text);
    let (default, _) = DeTable::parse_recoverable(EMBEDDED_DEFAULT);
    let walker = Walker::new(base.to_owned(), names(document.get_ref()), places);
    let settings = read(&Section::root(&walker, &ROOT, document.get_ref(), default.get_ref()));

    let gathered = walker.into_gathered();
    let mut covered = gathered.covered;
    covered.extend(secret::suspicious(text, &repaired.damaged, &describe::names(&ROOT)));
    let shown = secret::cover(text, &covered);
    // What is missing may stand in a part that could not be read.
    let hidden = |issue: &Issue| {
        let in_damaged =
            |name: &String| repaired.damaged.iter().any(|part| text[part.clone()].contains(name));
        issue.absent.as_ref().is_some_and(in_damaged)
    };
    let mut errors = repaired.issues;
    errors.extend(gathered.errors.into_iter().filter(|issue| !hidden(issue)));
    secret::correct(&mut errors, text);
    match settings {
        Some(mut settings) if errors.is_empty() => {
            settings.lines = Lines::of(file, text, document.get_ref());
            let warnings = Issues::new(file, shown, false, gathered.warnings);
            Ok(Loaded { settings, warnings })
        }
        _ => Err(ConfigErrors(Issues::new(file, shown, true, errors))),
    }
}

static ROOT: Table = Table {
    what: "this file",
    keys: &[
        service::JOURNAL_KEY,
        service::HTTP_KEY,
        service::SHUTDOWN_KEY,
        stores::KEY,
        plugins::KEY,
        plugins::SANDBOX_KEY,
        pairings::KEY,
        checks::KEY,
        passes::KEY,
        settle::KEY,
        abort::KEY,
        hooks::KEY,
        telemetry::KEY,
        telemetry::EVENTS_KEY,
    ],
    elsewhere: &[("log", "write [telemetry] log = { level = \"info\", format = \"text\" }")],
};

fn read(root: &Section<'_>) -> Option<Settings> {
    let journal = service::journal(root);
    let listen = service::listen(root);
    let grace = service::grace(root);
    let plan = root.take(passes::KEY.name).and_then(|node| node.section());
    let plan = plan.map(|section| passes::read(&section, &plan::Settings::default()));
    let settle = root.take(settle::KEY.name).and_then(|node| node.section());
    let settle = settle.map(|section| settle::read_top(&section));
    let (plan, settle) = (plan.unwrap_or_default(), settle.unwrap_or_default());
    let stores = stores::read(root);
    let plugins = plugins::read(root);
    let checks = checks::read(root);
    let sandbox = plugins::sandbox(root);
    let pairings = pairings::read(root, &plan, &settle);
    let abort = root.take(abort::KEY.name).and_then(|node| node.section());
    let abort = abort.map(|section| abort::read(&section));
    let hooks = hooks::read(root);
    let telemetry = root.take(telemetry::KEY.name).and_then(|node| node.section());
    let events = root.take(telemetry::EVENTS_KEY.name).and_then(|node| node.section());
    let log = telemetry.as_ref().and_then(telemetry::read_log);
    let report = telemetry::read(telemetry.as_ref(), events.as_ref(), &pairings);
    if let (Some(events), Some(report), Some(journal)) = (&events, &report, &journal) {
        keep_apart(events, &report.events, &journal.path);
    }
    warn_of_unused(root);
    let (plugin_memory, plugin_cache) = sandbox?;
    let journal = journal?;
    Some(Settings {
        stores,
        plugins,
        checks: checks?,
        plugin_memory,
        plugin_cache: plugin_cache.or_else(|| Some(plugins::beside(&journal.path))),
        pairings,
        abort: abort
            .unwrap_or(criteria::Settings { mode: criteria::Mode::DryRun, criteria: Vec::new() }),
        hooks,
        report: report?,
        log: log?,
        journal,
        listen,
        grace: grace?,
        lines: Lines::default(),
    })
}

/// Refuses to append events to a file of the journal, which that would destroy.
fn keep_apart(events: &Section<'_>, sink: &report::EventSink, journal: &Path) {
    let beside = |end: &str| {
        let mut path = journal.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    let report::EventSink::File(file) = sink else { return };
    if ["", "-wal", "-shm", ".lock", ".sock"].into_iter().any(|end| beside(end) == *file) {
        events.fault(
            &["sink"],
            "drift events would be appended to the journal's own file",
            "give events a file of their own, or write `sink = \"journal\"`",
        );
    }
}

/// The tables whose elements others refer to by name.
const REFERRED: [&str; 4] = ["stores", "plugins", "pairings", "hooks"];

/// Names of elements, whether they are well-formed or not: a faulty store is not a missing one.
fn names(document: &DeTable<'_>) -> Vec<(&'static str, Vec<String>)> {
    let names = |of: &'static str| {
        let table = document.get(of).and_then(|value| value.get_ref().as_table());
        let names = table.into_iter().flat_map(|table| table.iter());
        (of, names.map(|(name, _)| name.get_ref().clone().into_owned()).collect())
    };
    REFERRED.map(names).into()
}

/// A store that nothing reads or a hook that nothing fires is a slip more often than not.
fn warn_of_unused(root: &Section<'_>) {
    for (of, by) in [
        ("stores", "no pairing reads"),
        ("plugins", "no pairing uses"),
        ("hooks", "no criterion fires"),
    ] {
        for entry in root.take(of).iter().flat_map(Node::names) {
            if !root.walker.is_used(of, &entry.name) {
                let message = format!("{by} it");
                entry.node.at_key().warn(message, "refer to it by its name, or remove it");
            }
        }
    }
}

/// A path to a file that must be there.
fn existing_file(node: &Node<'_>) -> Option<PathBuf> {
    let path = node.path()?;
    if node.walker.places == Places::Unchecked {
        return Some(path);
    }
    let cause = match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => "it is a directory".to_owned(),
        Ok(_) => return Some(path),
        Err(error) => error.to_string(),
    };
    node.fault(
        format!("cannot read {}: {cause}", path.display()),
        "correct the path; a relative one begins at this file's directory",
    );
    None
}

fn whole_file(file: &str, message: &str, help: &str) -> ConfigErrors {
    let (message, help) = (message.to_owned(), help.to_owned());
    let issue = Issue { span: None, path: String::new(), message, help, absent: None };
    ConfigErrors(Issues::new(file, String::new(), true, vec![issue]))
}

/// Everything that a run needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The stores, by name.
    pub stores: Vec<store::Settings>,
    /// The plugins, by name.
    pub plugins: Vec<plugin::Settings>,
    /// Linear memory of all instances of all plugins, in bytes.
    pub plugin_memory: u64,
    /// What the checks of all pairings share.
    pub checks: Checks,
    /// The directory of compiled plugins; none: they are not kept.
    pub plugin_cache: Option<PathBuf>,
    /// What is compared with what.
    pub pairings: Vec<PairingSettings>,
    /// When the migration must stop.
    pub abort: criteria::Settings,
    /// What is run then.
    pub hooks: Vec<hook::Settings>,
    /// What is exported.
    pub report: report::Settings,
    /// What is said on standard error.
    pub log: report::Log,
    /// Where state is kept.
    pub journal: journal::Settings,
    /// Where `/livez`, `/readyz` and `/metrics` are served; none: nowhere.
    pub listen: Option<SocketAddr>,
    /// How long what is in flight may take to end at shutdown.
    pub grace: Duration,
    /// Where the file says so.
    pub lines: Lines,
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
    /// Fields of the built-in mapping of which items need not have the attribute.
    pub optional: Vec<String>,
    /// How its passes go.
    pub plan: plan::Settings,
    /// How its suspects are judged.
    pub settle: settling::Settings,
}

/// One side of a pairing.
#[derive(Clone, Debug)]
pub struct SideSettings {
    /// The store's name.
    pub store: String,
    /// The names of its relations in the store, at least one; several are read together.
    pub relations: Vec<String>,
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
