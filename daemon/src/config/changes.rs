//! What of a file that was read again is other than at start.
//!
//! Owns the names of what changed, and which of it a reload takes over. Refuses to apply anything.
//! Invariant: what is named belongs to a part that has another meaning than before, not only another
//! spelling; and nothing that has another meaning is passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use super::Settings;

/// A part of the settings.
struct Part {
    /// Its name in the file.
    name: String,
    /// Where the file may say something of it.
    places: Vec<String>,
    /// All that it says: of secrets their place.
    says: String,
}

impl Part {
    fn new(name: &str, places: &[&str], says: &impl Debug) -> Self {
        let places = places.iter().map(|place| (*place).to_owned()).collect();
        Self { name: name.to_owned(), places, says: format!("{says:?}") }
    }
}

impl Settings {
    /// Itself, with the plugins that `read` has of the same names. A reload takes over nothing else.
    #[must_use]
    pub fn with_plugins_of(&self, read: &Self) -> Self {
        let mut settings = self.clone();
        for plugin in &mut settings.plugins {
            if let Some(other) = read.plugins.iter().find(|other| other.name == plugin.name) {
                plugin.clone_from(other);
            }
        }
        settings.lines.clone_from(&read.lines);
        settings
    }

    /// What `read` has other than itself beside what [`Self::with_plugins_of`] takes over: keys of the
    /// file, and elements that are new or removed.
    #[must_use]
    pub fn changed_beside_plugins(&self, read: &Self) -> Vec<String> {
        let (here, there) = (elements(self), elements(read));
        let mut changed: BTreeSet<String> = BTreeSet::new();
        changed.extend(here.difference(&there).map(|name| format!("{name} (removed)")));
        changed.extend(there.difference(&here).map(|name| format!("{name} (new)")));
        let keys = self.lines.differing(&read.lines);
        let theirs: BTreeMap<_, _> =
            parts(read).into_iter().map(|part| (part.name, part.says)).collect();
        for Part { name, places, says } in parts(self) {
            // An element that is gone has been named.
            if theirs.get(&name).is_none_or(|other| *other == says) {
                continue;
            }
            let below = |key: &&String| {
                places.iter().any(|place| {
                    key.strip_prefix(place.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                })
            };
            let named: Vec<_> = keys.iter().filter(below).cloned().collect();
            changed.extend(if named.is_empty() { vec![name] } else { named });
        }
        changed.into_iter().collect()
    }
}

/// The names of all elements.
fn elements(settings: &Settings) -> BTreeSet<String> {
    let stores = settings.stores.iter().map(|store| format!("stores.{}", store.name));
    let plugins = settings.plugins.iter().map(|plugin| format!("plugins.{}", plugin.name));
    let pairings = settings.pairings.iter().map(|pairing| format!("pairings.{}", pairing.name));
    let hooks = settings.hooks.iter().map(|hook| format!("hooks.{}", hook.name));
    stores.chain(plugins).chain(pairings).chain(hooks).collect()
}

/// Everything but plugins, in parts.
fn parts(settings: &Settings) -> Vec<Part> {
    let mut parts = Vec::new();
    for store in &settings.stores {
        let name = format!("stores.{}", store.name);
        parts.push(Part::new(&name, &[&name], store));
    }
    for pairing in &settings.pairings {
        let name = format!("pairings.{}", pairing.name);
        let own = (&pairing.source, &pairing.target, pairing.leader, &pairing.mapping);
        parts.push(Part::new(&name, &[&name], &own));
        let passes = format!("{name}.passes");
        parts.push(Part::new(&passes, &["passes", &passes], &pairing.plan));
        let settle = format!("{name}.settle");
        parts.push(Part::new(&settle, &["settle", &settle], &pairing.settle));
    }
    for hook in &settings.hooks {
        let name = format!("hooks.{}", hook.name);
        parts.push(Part::new(&name, &[&name], hook));
    }
    let exported = (&settings.report, &settings.log);
    parts.extend([
        Part::new("abort", &["abort"], &settings.abort),
        Part::new("telemetry", &["telemetry", "events"], &exported),
        Part::new("journal", &["journal"], &settings.journal),
        Part::new("http", &["http"], &settings.listen),
        Part::new("checks", &["checks"], &settings.checks),
        Part::new("sandbox", &["sandbox"], &(settings.plugin_memory, &settings.plugin_cache)),
        Part::new("shutdown", &["shutdown"], &settings.grace),
    ]);
    parts
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Places, parse_with};

    const FILE: &str = r#"
[journal]
path = "journal"
[stores.old]
kind = "mysql"
host = "one"
user = "driftd"
password = { env = "PASSWORD" }
database = "shop"
[stores.new]
kind = "sqlite"
path = "new.db"
[plugins.users]
path = "users.wasm"
[pairings.users]
leader = "source"
plugin = "users"
source = { store = "old", relation = "users", key = { id = "{id}" } }
target = { store = "new", relation = "users", key = { id = "{id}" } }
passes = { rest = "60s" }
[settle]
settle = "5s"
"#;

    fn read(text: &str) -> Settings {
        let read = parse_with(text, "driftd.toml", Path::new("/etc"), Places::Unchecked);
        read.unwrap_or_else(|errors| panic!("{errors}")).settings
    }

    #[test]
    fn what_changed_is_named_as_the_file_has_it() {
        let here = read(FILE);
        let before = |more: &str| format!("{more}\n[settle]");
        for (from, to, named) in [
            (r#"host = "one""#, r#"host = "two""#.to_owned(), vec!["stores.old.host"]),
            ("PASSWORD", "OTHER".to_owned(), vec!["stores.old.password.env"]),
            (
                "path = \"new.db\"",
                "path = \"new.db\"\nlimits = { concurrency = 2 }".to_owned(),
                vec!["stores.new.limits.concurrency"],
            ),
            (r#"= "source""#, r#"= "target""#.to_owned(), vec!["pairings.users.leader"]),
            (r#""60s""#, r#""61s""#.to_owned(), vec!["pairings.users.passes.rest"]),
            (r#""5s""#, r#""6s""#.to_owned(), vec!["settle.settle"]),
            (
                "[pairings.users]",
                "[pairings.people]".to_owned(),
                vec!["pairings.people (new)", "pairings.users (removed)"],
            ),
            (
                "[settle]",
                before("[plugins.more]\npath = \"more.wasm\""),
                vec!["plugins.more (new)"],
            ),
            ("[settle]", before("[abort]\nmode = \"armed\""), vec!["abort.mode"]),
            (
                "[settle]",
                before(
                    "[events]\nkeys = \"plain\"\n[shutdown]\ngrace = \"1s\"\n\
                     [sandbox]\nmemory = \"1GiB\"",
                ),
                vec!["events.keys", "sandbox.memory", "shutdown.grace"],
            ),
            // Another spelling of the same.
            (r#""60s""#, r#""1m""#.to_owned(), vec![]),
            ("[settle]", before("[passes]\n"), vec![]),
            // What a reload takes over.
            (
                "\"users.wasm\"",
                "\"more.wasm\"\nconfig = { a = 1 }\nlimits = { deadline = \"9s\" }".to_owned(),
                vec![],
            ),
        ] {
            let text = FILE.replacen(from, &to, 1);
            assert_ne!(text, FILE, "{from}");
            assert_eq!(here.changed_beside_plugins(&read(&text)), named, "{from} -> {to}");
        }
    }

    #[test]
    fn only_plugins_are_taken_over() {
        let here = read(FILE);
        let there = read(&FILE.replace("users.wasm", "more.wasm").replace("one", "two"));
        let taken = here.with_plugins_of(&there);
        assert_eq!(taken.plugins, there.plugins);
        assert_ne!(taken.plugins, here.plugins);
        assert_eq!(format!("{:?}", taken.stores), format!("{:?}", here.stores));
        let others = FILE.replace("plugins.users", "plugins.others");
        let others = others.replace("plugin = \"users\"", "plugin = \"others\"");
        let kept = here.with_plugins_of(&read(&others)).plugins;
        assert_eq!(kept, here.plugins, "what runs goes on");
    }
}
