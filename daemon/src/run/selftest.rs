//! A plugin tried on real rows before it is relied on.
//!
//! Owns which rows these are. Refuses to judge: the plugin's host does, by the laws. Invariant: what
//! cannot be read or mapped now is said and refuses nothing, because the first check meets it, too;
//! only a plugin that breaks a law is refused.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::check::{self, Context};
use crate::model::{Moment, Side};
use crate::plugin::{PluginError, PluginErrorKind};
use crate::store::Store;

/// Rows of a side.
const ROWS: NonZeroU32 = NonZeroU32::new(256).expect("more than none");

/// Tries the laws of a mapping on the first rows of each side, read through `probes`.
pub(super) async fn prove(
    context: &Context,
    probes: &[Arc<dyn Store>; 2],
    as_of: Moment,
) -> Result<(), PluginError> {
    let plan = context.mapper.plan();
    for (side, probe) in [Side::Source, Side::Target].into_iter().zip(probes) {
        let is_mapped = match side {
            Side::Source => plan.source.mapped,
            Side::Target => plan.target.mapped,
        };
        if !is_mapped {
            continue;
        }
        let pairing = &context.pairing;
        let rows = match check::first_rows(context, side, Arc::clone(probe), ROWS).await {
            Ok(Some(rows)) => rows,
            Ok(None) => continue,
            Err(error) => {
                let fault = check::store_fault(side, &error);
                tracing::warn!(
                    target: "driftd", pairing, %side, code = fault.code.as_str(),
                    "the plugin is not tried on rows of the {side}: {}; {}", fault.what, fault.remedy
                );
                continue;
            }
        };
        match context.mapper.prove(side, &rows, as_of) {
            Ok(()) => {}
            Err(error) if matches!(error.kind, PluginErrorKind::Lawless { .. }) => {
                return Err(error);
            }
            Err(error) => tracing::warn!(
                target: "driftd", pairing, %side, code = error.kind.code().as_str(),
                "the plugin fails on rows that it was tried on: {}; {}; rows on which it fails alone \
                 will count as unmappable, and what else is lost by it as unread",
                error.blame(), error.remedy()
            ),
        }
    }
    Ok(())
}
