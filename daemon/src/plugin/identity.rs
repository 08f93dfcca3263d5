//! The identity of a mapping.
//!
//! Owns how code, configuration and plan are hashed into a [`MappingIdentity`]. Refuses to know what
//! a plugin is. Invariant: every part is framed by its length, so that different mappings never
//! hash the same bytes.

use crate::model::{EntityDef, MappingIdentity, MappingPlan, SidePlan};

/// What a mapping is identified by, beside its plan.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    /// The code: a plugin's digest.
    pub(super) code: &'a str,
    /// Its configuration.
    pub(super) config: &'a str,
    /// The version of the contract.
    pub(super) contract: &'a str,
}

/// The identity of a mapping. The number in its first part grows with every change of the canonical
/// form: digests of two forms are never compared.
pub(super) fn identity(origin: Origin<'_>, plan: &MappingPlan) -> MappingIdentity {
    let mut frames = Frames(blake3::Hasher::new());
    for part in ["driftd mapping identity 2", origin.code, origin.config, origin.contract] {
        frames.text(part);
    }
    frames.count(plan.entities.len());
    for entity in &plan.entities {
        frames.entity(entity);
    }
    frames.side(&plan.source);
    frames.side(&plan.target);
    let mut first = [0; 16];
    first.copy_from_slice(&frames.0.finalize().as_bytes()[..16]);
    MappingIdentity(u128::from_be_bytes(first))
}

struct Frames(blake3::Hasher);

impl Frames {
    fn count(&mut self, count: usize) {
        self.0.update(&(count as u64).to_be_bytes());
    }

    fn text(&mut self, text: &str) {
        self.count(text.len());
        self.0.update(text.as_bytes());
    }

    fn texts(&mut self, texts: &[String]) {
        self.count(texts.len());
        texts.iter().for_each(|text| self.text(text));
    }

    fn entity(&mut self, entity: &EntityDef) {
        self.text(&entity.name);
        self.count(entity.fields.len());
        for field in &entity.fields {
            self.text(&field.name);
            self.text(&field.logical.to_string());
            // Roles and rules are closed enums without text of their own.
            self.text(&format!("{:?} {:?}", field.role, field.rules));
        }
    }

    fn side(&mut self, side: &SidePlan) {
        self.count(usize::from(side.mapped));
        self.count(side.relations.len());
        for relation in &side.relations {
            self.count(relation.relation);
            self.texts(&relation.columns);
            self.texts(&relation.ignored);
            self.count(relation.group_by.len());
            relation.group_by.iter().for_each(|column| self.count(*column));
        }
    }
}
