//! `[plugins.*]`: mappings in WebAssembly, their own configuration, and what they may use; `[sandbox]`:
//! what all of them together may use.
//!
//! Owns the keys of a plugin and of the sandbox. Refuses to look into a plugin's own configuration: the
//! plugin does. Invariant: that configuration reaches the plugin as the JSON that its TOML says, or not at
//! all.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use toml::Spanned;
use toml::de::DeValue;

use crate::plugin::{Code, Limits, Settings};

use super::describe::{Key, Shape, Table};
use super::existing_file;
use super::walk::{Node, Section};

/// The key of the plugins.
pub(super) const KEY: Key = Key::optional(
    "plugins",
    Shape::Map { of: &PLUGINS, name: "plugin", own: true },
    "mappings in WebAssembly, by name",
);

/// The key of what they share.
pub(super) const SANDBOX_KEY: Key = Key::defaulted(
    "sandbox",
    Shape::Table(&SANDBOX),
    "what all instances of all plugins together may use",
);

static SANDBOX: Table = Table {
    what: "[sandbox]",
    keys: &[
        Key::defaulted(
            "memory",
            Shape::Size { min: 1 << 20 },
            "linear memory of all instances at once: one with more than 8 MiB counts with its plugin's whole limit, and waits for its turn",
        ),
        Key::optional(
            "cache",
            Shape::Path,
            "the directory of compiled plugins, at most 512 MiB, so that each is compiled once; it belongs to driftd's user, and nobody else may write to it; left out: beside the journal, with `.plugins` at the end of its name",
        ),
    ],
    elsewhere: &[],
};

static PLUGINS: Shape = Shape::Table(&PLUGIN);

static PLUGIN: Table = Table {
    what: "a plugin",
    keys: &[
        Key::required("path", Shape::Path, "the compiled plugin: a component, or a core module"),
        Key::optional(
            "config",
            Shape::AnyTable,
            "the plugin's own configuration, handed to it as JSON",
        ),
        Key::defaulted("limits", Shape::Table(&LIMITS), "what the plugin may use"),
    ],
    elsewhere: &[],
};

static LIMITS: Table = Table {
    what: "this plugin's limits",
    keys: &[
        Key::defaulted(
            "fuel_per_call",
            Shape::Count { min: 1, max: FUEL_MAX },
            "fuel of a call, whatever its size",
        ),
        Key::defaulted(
            "fuel_per_row",
            Shape::Count { min: 0, max: FUEL_MAX },
            "fuel added for each row of the call",
        ),
        Key::defaulted(
            "deadline",
            Shape::SOME_DURATION,
            "wall-clock time of a call; all calls of a check have sixty of these, and one more for every 10,000 rows",
        ),
        Key::defaulted(
            "memory",
            Shape::Size { min: 64 << 10 },
            "memory of an instance: linear memory, and what driftd keeps for its functions and globals",
        ),
        Key::defaulted(
            "output",
            Shape::Size { min: 1 << 10 },
            "what one call may make driftd copy out of the plugin",
        ),
        Key::defaulted("log", Shape::Size { min: 0 }, "log messages kept of one check"),
    ],
    elsewhere: &[],
};

/// Beyond, the fuel of a large call would overflow.
const FUEL_MAX: u64 = 1_000_000_000_000;

/// Reads what all plugins share: their memory, and where they are kept compiled, if that is said.
pub(super) fn sandbox(root: &Section<'_>) -> Option<(u64, Option<PathBuf>)> {
    let section = root.take(SANDBOX_KEY.name).and_then(|node| node.section())?;
    let cache = section.take("cache").and_then(|node| node.path());
    Some((section.take("memory").and_then(|node| node.size())?, cache))
}

/// Where compiled plugins are kept if nothing is said: beside the journal.
pub(super) fn beside(journal: &Path) -> PathBuf {
    let mut name = journal.as_os_str().to_owned();
    name.push(".plugins");
    name.into()
}

/// Reads every plugin.
pub(super) fn read(root: &Section<'_>) -> Vec<Settings> {
    let mut plugins = Vec::new();
    for entry in root.take(KEY.name).iter().flat_map(Node::map) {
        let Some(section) = entry.node.section() else { continue };
        let code = section.take("path").and_then(|node| existing_file(&node)).map(Code::File);
        let config = section.take("config");
        // What a plugin is configured with is its own affair, and may be a secret.
        config.iter().for_each(Node::cover);
        let config = match config {
            Some(node) if node.value.is_table() => json(&node),
            Some(node) => {
                node.refuse();
                None
            }
            None => Some(Json::Object(serde_json::Map::new())),
        };
        let limits = limits(&section);
        if let (Some(code), Some(config)) = (code, config) {
            plugins.push(Settings { name: entry.name, code, config, limits });
        }
    }
    plugins
}

fn limits(section: &Section<'_>) -> Limits {
    let base = Limits::default();
    let Some(section) = section.take("limits").and_then(|node| node.section()) else { return base };
    let count = |name| section.take(name).and_then(|node| node.count());
    let size = |name| section.take(name).and_then(|node| node.size());
    Limits {
        fuel_per_call: count("fuel_per_call").unwrap_or(base.fuel_per_call),
        fuel_per_row: count("fuel_per_row").unwrap_or(base.fuel_per_row),
        deadline: section
            .take("deadline")
            .and_then(|node| node.duration())
            .unwrap_or(base.deadline),
        memory: size("memory").unwrap_or(base.memory),
        output: size("output").unwrap_or(base.output),
        log: size("log").and_then(|size| usize::try_from(size).ok()).unwrap_or(base.log),
    }
}

/// TOML as JSON. Dates and times become texts. Everything that JSON cannot say is told where it
/// stands.
fn json(node: &Node<'_>) -> Option<Json> {
    let refuse = |what: &str| {
        node.fault(format!("is {what}, which JSON cannot say"), "write it as a text");
        None
    };
    let inner = |name: &str, value: &Spanned<DeValue<'_>>| {
        let path = format!("{}{name}", node.path);
        json(&Node { path, span: Some(value.span()), value: value.get_ref(), ..node.clone() })
    };
    Some(match node.value {
        DeValue::String(text) => Json::String(text.clone().into_owned()),
        DeValue::Boolean(flag) => Json::Bool(*flag),
        DeValue::Datetime(moment) => Json::String(moment.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Json::from(number),
            Err(_) => return refuse("an integer beyond 64 bits"),
        },
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            match number {
                Some(number) => Json::Number(number),
                None => return refuse("a number that is not finite"),
            }
        }
        DeValue::Array(items) => {
            let one = |(index, item)| inner(&format!("[{index}]"), item);
            let items: Vec<_> = items.iter().enumerate().map(one).collect();
            Json::Array(items.into_iter().collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let one = |(key, value): (&Spanned<toml::de::DeString<'_>>, _)| {
                let name = key.get_ref().clone().into_owned();
                (inner(&format!(".{name}"), value)).map(|value| (name, value))
            };
            let entries: Vec<_> = table.iter().map(one).collect();
            Json::Object(entries.into_iter().collect::<Option<_>>()?)
        }
    })
}
