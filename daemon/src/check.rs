//! One look at one partition, and one more look at some keys.
//!
//! Owns [`check`] and [`look()`]: read, map, compare, and tell what was seen. Refuses to keep anything
//! between calls, and to know of schedules, journals or reports. Invariant: what could not be read,
//! mapped or compared is in the outcome's `unread`; it is never counted as same, and it does not erase
//! what the rest showed.
//!
//! ```text
//! check ─▶ aligned:  scan leader ─▶ scan follower over the same range ┐
//!       └▶ lookup:   scan one side ─▶ locate ─▶ fetch from the other  ┴▶ map ─▶ compare ─▶ Outcome
//! look  ─▶ fetch leader ─▶ locate ─▶ fetch follower ─▶ map ─▶ compare ─▶ leader again ─▶ Look
//! ```
//!
//! Rows that belong together are read and mapped in one piece (`portion.rs`): an entity may be made of
//! several rows of several relations, and a row may yield several entities of several types.

mod aligned;
mod columns;
mod count;
mod cover;
mod gather;
mod identify;
mod look;
mod lookup;
mod met;
mod places;
mod portion;
mod rules;
mod sample;
mod scan;
mod share;
mod sight;
mod stray;
mod tell;
#[cfg(test)]
mod tests;
mod window;

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::compare::Canon;
use crate::model::{Direction, Extent, Fault, Leads, Moment, Outcome, Partition, Scope, Side};
use crate::plugin::{Mapper, PluginError};
use crate::store::{Read, Store, StoreError};

pub use columns::{Unspoken, survey, unused};
pub use look::look;
pub use sample::{Sampled, Sampling, first_rows, sample};
pub use scan::split;
pub use share::Share;

/// What checks of a pairing need. Made once.
pub struct Context {
    /// The pairing's name.
    pub pairing: String,
    /// Which side is the authority.
    pub leads: Leads,
    /// The source.
    pub source: SideContext,
    /// The target.
    pub target: SideContext,
    /// The mapping.
    pub mapper: Arc<dyn Mapper>,
    /// The entity types of the mapping's plan, compiled, in its order.
    pub canons: Vec<Canon>,
    /// About how many rows a partition has.
    pub partition_rows: NonZeroU32,
    /// Rows of one side that a check holds at once.
    pub window_rows: NonZeroU32,
    /// What a check may hold.
    pub share: Share,
    /// The time, for spans; `run` gives it.
    pub clock: Arc<dyn Fn() -> Moment + Send + Sync>,
}

/// One side, as checks need it.
#[derive(Clone, Debug)]
pub struct SideContext {
    /// The store.
    pub store: Arc<dyn Store>,
    /// What is read of it, in the order of the side's plan; at least one.
    pub relations: Vec<RelationContext>,
    /// Whether entities can be located here.
    pub locatable: bool,
}

/// One relation of a side, as checks need it.
#[derive(Clone, Debug)]
pub struct RelationContext {
    /// What is read.
    pub read: Read,
    /// Positions in [`Read::columns`] of the columns whose values make groups: rows of all relations
    /// of the side with equal values belong together. Empty: every row stands by itself.
    pub group: Vec<usize>,
}

impl Context {
    /// One side.
    #[must_use]
    pub const fn side(&self, side: Side) -> &SideContext {
        match side {
            Side::Source => &self.source,
            Side::Target => &self.target,
        }
    }
}

impl SideContext {
    /// The names of its relations, for messages.
    fn relation_names(&self) -> String {
        let names = self.relations.iter().map(|relation| relation.read.schema.relation.as_str());
        names.collect::<Vec<_>>().join("`, `")
    }
}

impl Context {
    /// Whether there are rules of this scope.
    fn has_rules(&self, scope: Scope) -> bool {
        self.mapper.invariants().iter().any(|invariant| invariant.scope == scope)
    }

    /// Whether lookups go from the source and from the target: where both can be located.
    const fn is_read_both_ways(&self) -> bool {
        self.source.locatable && self.target.locatable
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("pairing", &self.pairing).finish_non_exhaustive()
    }
}

/// Looks at one partition: reads both sides, maps and compares. `as_of` is when the check began;
/// beyond `crowd` differing keys the partition is a crowd.
pub async fn check(
    context: &Context,
    partition: &Partition,
    crowd: usize,
    as_of: Moment,
) -> Outcome {
    let mut outcome = match window::Window::begin(context, as_of) {
        Ok(window) => compared(window, partition, crowd).await,
        Err(error) => unstarted(&partition.extent, &error),
    };
    for unread in outcome.unread.iter_mut().filter(|unread| unread.fault.code.is_of_plugin()) {
        let Partition { number, direction, .. } = partition;
        // Its bounds are keys; with its number `status` and traces tell of it, too.
        unread.fault.what = format!("{}; partition {number}, {direction}", unread.fault.what);
    }
    outcome
}

async fn compared(mut window: window::Window<'_>, partition: &Partition, crowd: usize) -> Outcome {
    let context = window.context;
    window.crowd = crowd;
    window.tells = match partition.direction {
        Direction::FromSource if context.is_read_both_ways() => window::Tells::OfSource,
        Direction::FromTarget if context.is_read_both_ways() => window::Tells::OfTarget,
        Direction::Aligned | Direction::FromSource | Direction::FromTarget => {
            window::Tells::Everything
        }
    };
    window.cut = match (partition.direction, partition.extent) {
        (_, Extent::Segment { .. }) => &[],
        (Direction::Aligned, Extent::Range(_)) => &[Side::Source, Side::Target],
        (Direction::FromSource, Extent::Range(_)) => &[Side::Source],
        (Direction::FromTarget, Extent::Range(_)) => &[Side::Target],
    };
    window.by = match partition.direction {
        Direction::Aligned => None,
        Direction::FromSource => Some(Side::Source),
        Direction::FromTarget => Some(Side::Target),
    };
    match (partition.direction, partition.extent) {
        (Direction::Aligned, Extent::Range(range)) => aligned::read(&mut window, range).await,
        (Direction::Aligned, Extent::Segment { .. }) => {
            unreachable!("only stores that scan ranges are read aligned")
        }
        (Direction::FromSource, extent) => lookup::read(&mut window, Side::Source, extent).await,
        (Direction::FromTarget, extent) => lookup::read(&mut window, Side::Target, extent).await,
    }
    window.finish()
}

fn unstarted(extent: &Extent, error: &PluginError) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.unread.push(crate::model::Unread {
        scope: extent.to_string(),
        rows: None,
        key: None,
        fault: plugin_fault(None, error),
    });
    outcome
}

/// A store's failure, in words for people.
#[must_use]
pub fn store_fault(side: Side, error: &StoreError) -> Fault {
    let cause = error.source.as_ref().map(|source| format!(": {}", chain(source.as_ref())));
    Fault {
        side: Some(side),
        what: format!("{error}{}", cause.unwrap_or_default()),
        remedy: error.kind.remedy().to_owned(),
        code: error.kind.code(),
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A mapping's failure, in words for people. Its own message may hold values, so it is left out.
fn plugin_fault(side: Option<Side>, error: &PluginError) -> Fault {
    Fault { side, what: error.blame(), remedy: error.remedy(), code: error.kind.code() }
}
