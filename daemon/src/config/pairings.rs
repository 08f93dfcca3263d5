//! `[pairings.*]`: what is compared with what.
//!
//! Owns a pairing's keys, its two sides and their key templates. Refuses to ask a store: whether a
//! relation or column is there is found at start. Invariant: what a pairing names is in the file.

use crate::model::Side;
use crate::plugin::template::{KeyTemplate, Part, Template, TemplateError};

use super::describe::{Key, Shape, Table, one_of};
use super::walk::{Node, Section, nearest};
use super::{MappingSettings, PairingSettings, SideSettings, mapping, passes, settle};
use crate::{plan, settle as settling};

/// The key of the pairings.
pub(super) const KEY: Key = Key::optional(
    "pairings",
    Shape::Map { of: &PAIRINGS, name: "pairing", own: true },
    "what is compared with what, by name",
);

static PAIRINGS: Shape = Shape::Table(&PAIRING);

static PAIRING: Table = Table {
    what: "a pairing",
    keys: &[
        Key::required("source", Shape::Table(&SIDE), "what is read from the store being left"),
        Key::required("target", Shape::Table(&SIDE), "what is read from the store being moved to"),
        Key::defaulted(
            "leader",
            Shape::Choice(&["source", "target"]),
            "the side that is the authority; the other one is judged",
        ),
        Key::optional(
            "plugin",
            Shape::Reference("plugins"),
            "the plugin that maps rows to entities; either this or `mapping`",
        ),
        mapping::KEY,
        passes::PAIRING_KEY,
        settle::PAIRING_KEY,
    ],
    elsewhere: &[
        ("fields", "fields belong into [pairings.<name>.mapping.fields]"),
        ("store", "each side has its own: `source = { store = \"...\", relation = \"...\" }`"),
    ],
};

static SIDE: Table = Table {
    what: "a side of a pairing",
    keys: &[
        Key::required("store", Shape::Reference("stores"), "the store"),
        Key::optional(
            "relation",
            Shape::Text,
            "the relation (table) in that store; either this or `relations`",
        ),
        Key::optional(
            "relations",
            Shape::List { of: &Shape::Text, min: 1 },
            "several relations in that store, for a plugin that joins them or maps each to entities of its own; it is handed their schemas in this order",
        ),
        Key::optional(
            "key",
            Shape::Map { of: &Shape::AnyText, name: "column", own: false },
            "where the store keeps an entity: for each column of the primary key a template over the entity's fields, such as `USER#{id}`; left out: with the built-in mapping, the fields that are kept in the key's columns; with a plugin, where it says itself; where it does not, entities of the other side cannot be looked up here, and what is missing here may not be verifiable",
        ),
    ],
    elsewhere: &[("table", "driftd says `relation`")],
};

/// Reads every pairing.
pub(super) fn read(
    root: &Section<'_>,
    plan: &plan::Settings,
    settle: &settling::Settings,
) -> Vec<PairingSettings> {
    let mut pairings = Vec::new();
    for entry in root.take(KEY.name).iter().flat_map(Node::map) {
        let Some(section) = entry.node.section() else { continue };
        let plan = section
            .take("passes")
            .and_then(|node| node.section())
            .map_or_else(|| plan.clone(), |section| passes::read(&section, plan));
        let settle = section
            .take("settle")
            .and_then(|node| node.section())
            .map_or_else(|| settle.clone(), |section| settle::read(&section, settle));
        let leader = match section.take("leader") {
            Some(node) => node.pick(&[("source", Side::Source), ("target", Side::Target)]),
            None => Some(Side::Source),
        };
        let (mapping, optional) = mapping_of(&section, &entry.name).unzip();
        let source = section.take("source").and_then(|node| side(&node, mapping.as_ref()));
        let target = section.take("target").and_then(|node| side(&node, mapping.as_ref()));
        let (Some(source), Some(target), Some(leader), Some(mapping)) =
            (source, target, leader, mapping)
        else {
            continue;
        };
        if source.store == target.store && source.relations == target.relations {
            section.warn(
                &["target"],
                "source and target are the same relation",
                "they never differ; name the other relation",
            );
        }
        pairings.push(PairingSettings {
            name: entry.name,
            source,
            target,
            leader,
            mapping,
            optional: optional.unwrap_or_default(),
            plan,
            settle,
        });
    }
    pairings
}

fn mapping_of(section: &Section<'_>, pairing: &str) -> Option<(MappingSettings, Vec<String>)> {
    let plugin = section.take("plugin");
    let built_in = section.take("mapping");
    match (&plugin, &built_in) {
        (None, None) => section.fault(
            &[],
            "neither `plugin` nor `mapping` says how rows become entities",
            "add `plugin = \"...\"`, or fields in [pairings.<name>.mapping.fields]",
        ),
        (Some(_), Some(node)) => node
            .at_key()
            .fault("`plugin` and `mapping` cannot both map a pairing", "remove one of the two"),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let plugin = plugin.and_then(|node| node.reference());
    let plugin = plugin.map(|name| (MappingSettings::Plugin(name), Vec::new()));
    let built_in = built_in.and_then(|node| mapping::read(&node, pairing));
    plugin.or_else(|| {
        built_in.map(|(built_in, optional)| (MappingSettings::BuiltIn(built_in), optional))
    })
}

fn side(node: &Node<'_>, mapping: Option<&MappingSettings>) -> Option<SideSettings> {
    let section = node.section()?;
    let store = section.take("store").and_then(|node| node.reference());
    let relations = relations(&section, mapping);
    let key = section.take("key").map(|node| templates(&node, mapping));
    let key = match key {
        Some(read) => Some(read?),
        None => None,
    };
    let relations = relations?;
    if let (Some(node), true) = (section.take("key"), relations.len() > 1) {
        node.at_key().fault(
            "a key template is of one relation",
            "leave it out: the plugin says where entities of several relations are",
        );
        return None;
    }
    Some(SideSettings { store: store?, relations, key })
}

/// The relations of a side, as `relation` or as `relations`.
fn relations(section: &Section<'_>, mapping: Option<&MappingSettings>) -> Option<Vec<String>> {
    match (section.take("relation"), section.take("relations")) {
        (Some(node), None) => Some(vec![node.text()?]),
        (None, Some(node)) => {
            let items = node.list();
            let names: Vec<String> = items.iter().filter_map(Node::text).collect();
            let mut seen = std::collections::BTreeSet::new();
            if let Some(again) = names.iter().find(|name| !seen.insert(name.as_str())) {
                node.fault(format!("names `{again}` twice"), "name each relation once");
                return None;
            }
            if names.len() > 1 && matches!(mapping, Some(MappingSettings::BuiltIn(_))) {
                node.fault(
                    "the built-in mapping takes one relation a side",
                    "name one `relation`, or join them in a plugin",
                );
                return None;
            }
            (!names.is_empty() && names.len() == items.len()).then_some(names)
        }
        (Some(_), Some(node)) => {
            node.at_key().fault("`relation` and `relations` cannot both be given", "remove one");
            None
        }
        (None, None) => {
            section.fault(
                &[],
                "neither `relation` nor `relations` says what is read",
                "add `relation = \"...\"`",
            );
            None
        }
    }
}

fn templates(node: &Node<'_>, mapping: Option<&MappingSettings>) -> Option<KeyTemplate> {
    let entries = node.map();
    if entries.is_empty() && node.value.is_table() {
        node.fault("must not be empty", "give a template for each column of the primary key");
    }
    let mut columns = Vec::new();
    let all = entries.len();
    for entry in entries {
        let parsed = entry.node.parsed(|text| {
            Template::parse(text).map_err(|error| match &error {
                TemplateError::Unbalanced(_) | TemplateError::Empty(_) => (
                    format!("is no template: {error}"),
                    "write fields in braces, such as \"USER#{id}\"".to_owned(),
                ),
            })
        });
        let Some(template) = parsed else { continue };
        if let Some(MappingSettings::BuiltIn(mapping)) = mapping {
            check_fields(&entry.node, &template, mapping);
        }
        columns.push((entry.name, template));
    }
    (!columns.is_empty() && columns.len() == all).then_some(KeyTemplate { columns })
}

fn check_fields(node: &Node<'_>, template: &Template, mapping: &crate::plugin::builtin::Settings) {
    let known: Vec<_> = mapping.fields.iter().map(|field| field.name.as_str()).collect();
    for part in &template.parts {
        let Part::Field(field) = part else { continue };
        if known.contains(&field.as_str()) {
            continue;
        }
        let near = nearest(field, &known);
        let candidates = if near.is_empty() { known.as_slice() } else { near.as_slice() };
        node.fault(
            format!("the mapping has no field `{field}`"),
            format!("did you mean {}?", one_of(candidates)),
        );
    }
}
