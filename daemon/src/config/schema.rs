//! The format, written down: a JSON Schema for editors and a reference for people.
//!
//! Owns both renderings of the description. Refuses to hold a key or a default of its own: keys come
//! from the description, defaults from `config/default.toml`. Invariant: what the schema allows is
//! what the walk accepts, but for what only the walk can see (references, contradictions, places).

use serde_json::{Map, Value as Json, json};
use toml::de::{DeTable, DeValue};

use super::describe::{Key, Need, Shape, Table};
use super::{EMBEDDED_DEFAULT, ROOT};

/// The format as a JSON Schema (2020-12).
#[must_use]
pub fn schema() -> Json {
    let text = uncommented(EMBEDDED_DEFAULT);
    let (document, _) = DeTable::parse_recoverable(&text);
    let mut schema = table(&ROOT, &[document.get_ref()]);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("driftd configuration");
    schema
}

/// The format as tables of keys, in Markdown.
#[must_use]
pub fn reference() -> String {
    let text = uncommented(EMBEDDED_DEFAULT);
    let (document, _) = DeTable::parse_recoverable(&text);
    let mut sections = Vec::new();
    describe("", &ROOT, &[document.get_ref()], &mut sections);
    sections.join("\n")
}

/// The embedded default with its examples: lines that begin with `#` and no space are settings.
pub(super) fn uncommented(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.is_empty() && !rest.starts_with([' ', '#']) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Tables of the default file that stand where the described one does.
type Samples<'d> = [&'d DeTable<'d>];

fn table(table: &Table, samples: &Samples<'_>) -> Json {
    let mut properties = Map::new();
    for key in table.keys {
        let mut property = shape(&key.shape, &within(key, samples));
        property["description"] = json!(key.doc);
        if let Some(default) = default(key, samples) {
            property["default"] = default;
        }
        properties.insert(key.name.to_owned(), property);
    }
    let required = table.keys.iter().filter(|key| key.need == Need::Required);
    let required: Vec<_> = required.map(|key| key.name).collect();
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn shape(of: &Shape, samples: &Samples<'_>) -> Json {
    match of {
        Shape::Text | Shape::Path | Shape::Address | Shape::Reference(_) => {
            json!({ "type": "string", "minLength": 1 })
        }
        Shape::AnyText => json!({ "type": "string" }),
        Shape::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Ratio => json!({ "type": "number", "minimum": 0, "maximum": 1 }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Positive => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Shape::Duration { .. } => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        Shape::Size { .. } => {
            json!({ "type": "string", "pattern": "^[0-9]+(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB)$" })
        }
        Shape::Choice(words) => json!({ "enum": words }),
        Shape::Url => json!({ "type": "string", "pattern": "^https?://[^@\\s]+$" }),
        Shape::Secret => {
            let mut reference = table(&super::secret::TABLE, &[]);
            reference["minProperties"] = json!(1);
            reference["maxProperties"] = json!(1);
            reference
        }
        Shape::List { of, min } => {
            json!({ "type": "array", "items": shape(of, &[]), "minItems": min })
        }
        Shape::Map { of, own, .. } => {
            let values: Vec<_> = samples.iter().flat_map(|sample| sample.iter()).collect();
            let tables: Vec<_> =
                values.iter().filter_map(|(_, value)| value.get_ref().as_table()).collect();
            let mut map = json!({ "type": "object", "additionalProperties": shape(of, &tables) });
            let names = if *own { "^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$" } else { "." };
            map["propertyNames"] = json!({ "pattern": names });
            map
        }
        Shape::Table(described) => table(described, samples),
        Shape::Kinds(kinds) => {
            let one =
                |(name, described): &(&str, &Table)| table(described, &of_kind(name, samples));
            json!({ "oneOf": kinds.iter().map(one).collect::<Vec<_>>() })
        }
        Shape::Either(one, other) => {
            json!({ "anyOf": [shape(one, samples), shape(other, samples)] })
        }
        Shape::AnyTable => json!({ "type": "object" }),
    }
}

/// The tables of the default file that `key` leads to.
fn within<'d>(key: &Key, samples: &Samples<'d>) -> Vec<&'d DeTable<'d>> {
    samples.iter().filter_map(|sample| sample.get(key.name)?.get_ref().as_table()).collect()
}

fn of_kind<'d>(name: &str, samples: &Samples<'d>) -> Vec<&'d DeTable<'d>> {
    let kind = |sample: &&&DeTable<'d>| {
        sample.get("kind").and_then(|kind| kind.get_ref().as_str()) == Some(name)
    };
    samples.iter().filter(kind).copied().collect()
}

/// The default of `key`: what the default file shows for it.
pub(super) fn default(key: &Key, samples: &Samples<'_>) -> Option<Json> {
    if key.need != Need::Defaulted || matches!(key.shape, Shape::Table(_) | Shape::Map { .. }) {
        return None;
    }
    let shown = samples.iter().filter_map(|sample| plain(sample.get(key.name)?.get_ref()));
    let mut shown: Vec<_> = shown.collect();
    shown.dedup();
    // Examples that differ show no default.
    if shown.len() == 1 { shown.pop() } else { None }
}

fn plain(value: &DeValue<'_>) -> Option<Json> {
    match value {
        DeValue::String(text) => Some(json!(text)),
        DeValue::Integer(number) => number.as_str().parse::<u64>().ok().map(Json::from),
        DeValue::Float(number) => number.as_str().parse::<f64>().ok().map(Json::from),
        DeValue::Boolean(flag) => Some(json!(flag)),
        DeValue::Array(items) => items.iter().map(|item| plain(item.get_ref())).collect(),
        DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

/// Writes the keys of a table, then those of the tables in it.
fn describe(path: &str, table: &Table, samples: &Samples<'_>, sections: &mut Vec<String>) {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let row = |key: &Key| {
        let default = default(key, samples);
        let default = match (key.need, default) {
            (Need::Required, _) => "required".to_owned(),
            (_, Some(default)) => format!("`{default}`"),
            (Need::Defaulted | Need::Optional, None) => String::new(),
        };
        let doc = key.doc.replace('|', "\\|");
        format!("| `{}` | {} | {default} | {doc} |\n", key.name, value(&key.shape))
    };
    let rows: String = table.keys.iter().map(row).collect();
    let heading = "| key | value | default | meaning |\n| --- | --- | --- | --- |\n";
    let section = format!("### {}\n\n{heading}{rows}", title(path, table));
    // Kinds of stores share their limits and timeouts.
    if !sections.contains(&section) {
        sections.push(section);
    }
    for key in table.keys {
        descend(&join(key.name), &key.shape, &within(key, samples), sections);
    }
}

fn descend(path: &str, of: &Shape, samples: &Samples<'_>, sections: &mut Vec<String>) {
    match of {
        Shape::Table(table) => describe(path, table, samples, sections),
        Shape::Map { of, name, .. } => {
            let tables: Vec<_> = samples.iter().flat_map(|sample| sample.iter()).collect();
            let tables: Vec<_> =
                tables.iter().filter_map(|(_, value)| value.get_ref().as_table()).collect();
            descend(&format!("{path}.<{name}>"), of, &tables, sections);
        }
        Shape::Kinds(kinds) => {
            for (name, table) in *kinds {
                describe(path, table, &of_kind(name, samples), sections);
            }
        }
        Shape::Either(one, other) => {
            descend(path, one, samples, sections);
            descend(path, other, samples, sections);
        }
        Shape::Text
        | Shape::AnyText
        | Shape::Count { .. }
        | Shape::Ratio
        | Shape::Flag
        | Shape::Positive
        | Shape::Duration { .. }
        | Shape::Size { .. }
        | Shape::Choice(_)
        | Shape::Path
        | Shape::Address
        | Shape::Url
        | Shape::Secret
        | Shape::Reference(_)
        | Shape::List { .. }
        | Shape::AnyTable => {}
    }
}

/// What a value looks like, in a cell of the reference.
fn value(of: &Shape) -> String {
    match of {
        Shape::Text | Shape::AnyText => "text".to_owned(),
        Shape::Count { min, max } if *max >= u64::from(u32::MAX) => {
            format!("integer \u{2265} {min}")
        }
        Shape::Count { min, max } => format!("integer, {min} to {max}"),
        Shape::Ratio => "number, 0 to 1".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Positive => "number > 0".to_owned(),
        Shape::Duration { min } if min.is_zero() => "duration".to_owned(),
        Shape::Duration { .. } => "duration > 0".to_owned(),
        Shape::Size { .. } => "size".to_owned(),
        Shape::Choice(words) => {
            words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
        }
        Shape::Path => "path".to_owned(),
        Shape::Address => "address and port".to_owned(),
        Shape::Url => "URL".to_owned(),
        Shape::Secret => "secret".to_owned(),
        Shape::Reference(of) => format!("name in `[{of}]`"),
        Shape::List { of, .. } => format!("list of: {}", value(of)),
        Shape::Map { of: Shape::Table(_) | Shape::Kinds(_), name, .. } => {
            format!("a table for each {name}")
        }
        Shape::Map { of, name, .. } => format!("table: {name} = {}", value(of)),
        Shape::Table(_) | Shape::Kinds(_) | Shape::AnyTable => "table".to_owned(),
        Shape::Either(one, other) => format!("{}, or {}", value(one), value(other)),
    }
}

fn title(path: &str, table: &Table) -> String {
    let kind = table.key("kind").map(|key| key.shape);
    match (path, kind) {
        ("", _) => "The whole file".to_owned(),
        (path, Some(Shape::Choice([kind]))) => format!("`[{path}]` with `kind = \"{kind}\"`"),
        (path, _) => format!("`[{path}]`"),
    }
}
