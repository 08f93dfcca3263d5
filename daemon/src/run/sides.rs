//! What a side can do, and how checks read it.
//!
//! Owns what follows from a store, its relations and a mapping's plan: how relations are cut, whether
//! they can be scanned, where key templates say that entities are. Refuses to ask a store. Invariant:
//! what cannot be scanned in a direction that is needed is refused, with its place.

use std::num::NonZeroU32;

use crate::check::{RelationContext, SideContext};
use crate::config::{MappingSettings, PairingSettings};
use crate::model::{Direction, Logical, RelationNames, RelationPlan, Side, SidePlan};
use crate::plan::{Reading, SideFacts};
use crate::plugin::builtin;
use crate::plugin::template::{KeyTemplate, Part, Template};
use crate::run::start::Described;
use crate::store::Read;

/// Which key of the pairing cannot be read as it is, and why: its relations would have to be scanned
/// and cannot be, by ranges without an integer to cut by, or joined while they come in no order.
pub(super) fn unscannable(
    [source, target]: [(&Described<'_>, &SidePlan, &SideFacts); 2],
    reading: &Reading,
) -> Option<(String, String)> {
    for direction in &reading.directions {
        let (side, (described, plan, facts)) = match direction {
            Direction::Aligned | Direction::FromSource => (Side::Source, source),
            Direction::FromTarget => (Side::Target, target),
        };
        let store = described.store.name();
        let grouped = plan.relations.iter().filter(|relation| !relation.group_by.is_empty());
        let why = if !described.store.capabilities().ranges && grouped.count() > 1 {
            Some(format!(
                "store `{store}` gives rows in no order, so that those of several relations \
                 cannot be joined while they are scanned; let the other side be the one with \
                 several relations, or group the rows of one relation only"
            ))
        } else if described.store.capabilities().ranges && !facts.ranges {
            let uncut = plan.relations.iter().find_map(|relation| uncut(described, relation));
            uncut.map(|(relation, what)| {
                format!(
                    "store `{store}`, relation `{relation}`: {what}; to scan a relation, driftd cuts \
                     it by an integer as the first column of its primary key. Rows with other keys \
                     are looked up, not scanned. Meanwhile a plugin can group the rows by an integer \
                     column that has an index; the relation is then cut by that"
                )
            })
        } else {
            None
        };
        if let Some(why) = why {
            let named = match described.settings.relations.len() {
                1 => "relation",
                _ => "relations",
            };
            return Some((format!("{side}.{named}"), why));
        }
    }
    None
}

/// The relation's name, and why it cannot be cut into ranges, if it cannot.
fn uncut(described: &Described<'_>, plan: &RelationPlan) -> Option<(String, String)> {
    let schema = &described.schemas[plan.relation];
    let group = plan.group_by.first().map(|at| plan.columns[*at].as_str());
    let what = if group.is_some() { "its group" } else { "its primary key" };
    let name = schema.relation.clone();
    match schema.cut_by(group) {
        Some(column) if column.logical == Logical::Integer => None,
        Some(column) => {
            Some((name, format!("{what} begins with `{}`, a {}", column.name, column.logical)))
        }
        None => Some((name, "it has no primary key (a view has none)".to_owned())),
    }
}

/// The configured key template; for the built-in mapping, where none is configured, the key columns
/// that are fields of the entity.
pub(super) fn key_template(
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
    let columns = described.schemas.first()?.key_columns().map(|column| {
        let field = fields.iter().find(|field| column_of(field) == column.name)?;
        let template = Template { parts: vec![Part::Field(field.name.clone())] };
        Some((column.name.clone(), template))
    });
    columns.collect::<Option<Vec<_>>>().map(|columns| KeyTemplate { columns })
}

pub(super) fn facts(
    described: &Described<'_>,
    plan: &SidePlan,
    key: Option<&KeyTemplate>,
    locatable: bool,
) -> SideFacts {
    let cut = plan.relations.iter().all(|relation| uncut(described, relation).is_none());
    // Only a relation that stands alone is cut where its entities' key is.
    let key_field = match (described.schemas.as_slice(), plan.relations.as_slice()) {
        ([schema], [relation]) if relation.group_by.is_empty() => key
            .filter(|key| key.columns.len() == 1 && schema.key.len() == 1)
            .and_then(|key| key.columns[0].1.lone_field())
            .map(str::to_owned),
        _ => None,
    };
    SideFacts { ranges: described.store.capabilities().ranges && cut, locatable, key_field }
}

/// What the relations of a side are called.
pub(super) fn names(described: &Described<'_>, plan: &SidePlan) -> Vec<RelationNames> {
    let names = |plan: &RelationPlan| {
        let schema = &described.schemas[plan.relation];
        RelationNames {
            relation: schema.relation.clone(),
            key: schema.key_columns().map(|column| column.name.clone()).collect(),
            group: plan.group_by.iter().map(|at| plan.columns[*at].clone()).collect(),
        }
    };
    plan.relations.iter().map(names).collect()
}

pub(super) fn side_context(
    described: Described<'_>,
    plan: &SidePlan,
    locatable: bool,
    page_rows: NonZeroU32,
) -> SideContext {
    let relation = |plan: &RelationPlan| {
        let cut = plan.group_by.first().map(|at| plan.columns[*at].clone());
        let read = Read {
            schema: described.schemas[plan.relation].clone(),
            columns: plan.columns.clone(),
            ignored: plan.ignored.clone(),
            page_rows,
            // Segments are not cut by a column.
            cut: cut.filter(|_| described.store.capabilities().ranges),
        };
        RelationContext { read, group: plan.group_by.clone() }
    };
    let relations = plan.relations.iter().map(relation).collect();
    SideContext { store: described.store, relations, locatable }
}
