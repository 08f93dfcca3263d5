//! Attributes that no item seems to have.
//!
//! Owns one look at the first items of relations without a schema. Refuses to refuse: what none of them
//! has may be rare. Invariant: what is said names the field, where the file has it, and how to say that
//! items need not have it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;

use crate::check::{Context, RelationContext};
use crate::config::{Lines, MappingSettings, PairingSettings};
use crate::model::{Extent, Side};
use crate::store::{Read, Store};

/// Looks at a few items of schemaless relations: an attribute that none of them has is probably
/// misspelt. A word of warning, never a refusal.
pub(super) async fn look(
    pairing: &PairingSettings,
    lines: &Lines,
    context: &Context,
    probes: &[Arc<dyn Store>; 2],
) {
    for (side, probe) in [Side::Source, Side::Target].into_iter().zip(probes) {
        for RelationContext { read, .. } in &context.side(side).relations {
            if read.schema.open {
                look_at(pairing, (side, lines), probe, read).await;
            }
        }
    }
}

async fn look_at(
    pairing: &PairingSettings,
    (side, lines): (Side, &Lines),
    probe: &Arc<dyn Store>,
    read: &Read,
) {
    let extent = Extent::Segment { index: 0, of: 1 };
    let mut pages = probe.scan(read, &extent);
    // What cannot be read now is met, and told, by the first check.
    let Some(Ok(page)) = pages.next().await else { return };
    let rows = page.rows.rows;
    if rows == 0 {
        return;
    }
    let met: Vec<&str> = page.unmapped.keys().map(String::as_str).collect();
    let columns = read.columns.iter().zip(&page.rows.columns);
    let lacking = columns.filter(|(_, column)| (0..rows).all(|row| !column.is_valid(row)));
    let lacking: BTreeSet<&str> = lacking.map(|(name, _)| name.as_str()).collect();
    for name in lacking {
        let fields = fields(pairing, side, name);
        if !fields.is_empty() && fields.iter().all(|field| pairing.optional.contains(field)) {
            continue;
        }
        let remedy = match fields.first() {
            Some(field) => {
                let path = format!("pairings.{}.mapping.fields.{field}", pairing.name);
                format!(
                    "correct it at {}{path}, or write `optional = true` there if items need not \
                     have it",
                    lines.place(&path)
                )
            }
            None => "if it is misspelt, correct it in the plugin".to_owned(),
        };
        tracing::warn!(
            target: "driftd", pairing = pairing.name, %side, relation = read.schema.relation,
            attribute = name, met = met.join(", "),
            "none of the first {rows} items has the attribute `{name}`: {remedy}"
        );
    }
}

/// The fields that are made of this attribute.
fn fields(pairing: &PairingSettings, side: Side, name: &str) -> Vec<String> {
    let MappingSettings::BuiltIn(mapping) = &pairing.mapping else { return Vec::new() };
    let of = mapping.fields.iter().filter(|field| match side {
        Side::Source => field.source == name,
        Side::Target => field.target == name,
    });
    of.map(|field| field.name.clone()).collect()
}
