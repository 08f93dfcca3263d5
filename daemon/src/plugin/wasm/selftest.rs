//! A plugin on some real rows, before it is relied on.
//!
//! Owns which laws are tried on them, and how a broken one is told. Refuses to judge rows that the
//! plugin rejects or fails on: the guard around it does. Invariant: what is told holds no value of a
//! row; and a call that ran out of something that depends on the machine or on the size of the batch
//! is never called a broken law.

use super::session::WasmMapper;
use crate::model::{Moment, Side};
use crate::plugin::fault::Call;
use crate::plugin::laws::{self, Difference, Way};
use crate::plugin::{Mapped, Mapper as _, PluginError, PluginErrorKind, Rows, Session as _};

/// Into how many batches the rows are cut.
const PARTS: usize = 3;

/// Maps rows twice on fresh instances, and once more in several batches.
pub(super) fn prove(
    mapper: &WasmMapper,
    side: Side,
    rows: &Rows<'_>,
    as_of: Moment,
) -> Result<(), PluginError> {
    if rows.groups == 0 {
        return Ok(());
    }
    let proof = Proof { mapper, side, as_of, all: (0..rows.groups).collect(), rows };
    // Taken as the rows of every later call are: what lies under a null is the same, too.
    let whole = match mapper.session(as_of).map(side, &rows.take(&proof.all)) {
        Ok(whole) => whole,
        Err(error) => return Err(proof.failed(error)),
    };
    [Way::Twice, Way::InBatchesOf(rows.groups.div_ceil(PARTS))]
        .into_iter()
        .try_for_each(|way| proof.holds(way, &whole))
}

struct Proof<'a> {
    mapper: &'a WasmMapper,
    side: Side,
    as_of: Moment,
    all: Vec<usize>,
    rows: &'a Rows<'a>,
}

impl Proof<'_> {
    /// Whether mapping the rows another way comes to the same.
    fn holds(&self, way: Way, whole: &Mapped) -> Result<(), PluginError> {
        let mut session = self.mapper.session(self.as_of);
        for (groups, told) in way.calls(self.rows.groups) {
            let given = match session.map(self.side, &self.rows.take(&groups)) {
                Ok(given) => given,
                Err(error) if is_of_size(&error.kind) => return Err(self.at(error)),
                Err(error) => {
                    let how = format!("{told} it {}", error.what());
                    return Err(self.lawless(way.law(), how));
                }
            };
            if way == Way::Twice && laws::are_same_bytes(whole, &given) {
                continue;
            }
            let difference = laws::difference(whole, &given, &groups);
            if difference.groups > 0 || way == Way::Twice {
                return Err(self.lawless(way.law(), self.told(&difference, &told)));
            }
        }
        Ok(())
    }

    /// The first call of all failed.
    fn failed(&self, error: PluginError) -> PluginError {
        if matches!(error.kind, PluginErrorKind::Output { .. }) {
            return self.lawless(laws::WITHIN, format!("it {}", error.what()));
        }
        // It was started, configured and asked for its plan before, with success.
        if error.function != "map-batch" && !is_of_size(&error.kind) {
            let how = format!("on another fresh instance, {} {}", error.function, error.what());
            return self.lawless(laws::TWICE, how);
        }
        self.at(error)
    }

    fn told(&self, difference: &Difference, how: &str) -> String {
        let Difference { groups, columns } = difference;
        if *groups == 0 {
            // What lies under a null, or the words with which a row is rejected.
            return format!("{how} the bytes are others, although every cell is the same");
        }
        let types = &self.mapper.plan().entities;
        let name = |(entity, column): &(usize, usize)| {
            let name = &types.get(*entity)?.fields.get(*column)?.name;
            Some(match types.len() {
                1 => format!("`{name}`"),
                _ => format!("`{}.{name}`", types[*entity].name),
            })
        };
        let names: Vec<_> = columns.iter().filter_map(name).collect();
        let names = match names.as_slice() {
            [] => "other entities".to_owned(),
            names => format!("other values of {}", names.join(", ")),
        };
        let all = self.rows.groups;
        let what = if all == self.rows.count() { "rows" } else { "groups of rows" };
        format!("{how}, {groups} of {all} {what} give {names}")
    }

    fn lawless(&self, law: &'static str, how: String) -> PluginError {
        let kind = PluginErrorKind::Lawless { law, how };
        self.at(self.mapper.0.program.error("map-batch", kind))
    }

    /// Says of which call an error is.
    fn at(&self, mut error: PluginError) -> PluginError {
        *error.call = Call {
            pairing: Some(self.mapper.0.pairing.clone()),
            side: Some(self.side),
            rows: Some(self.rows.count()),
            ..Call::default()
        };
        error
    }
}

/// Whether a call may fail so on some rows and not on others, or now and not later, although the
/// plugin does the same with each row.
fn is_of_size(kind: &PluginErrorKind) -> bool {
    match kind {
        PluginErrorKind::Fuel { .. }
        | PluginErrorKind::Deadline { .. }
        | PluginErrorKind::Memory { .. } => true,
        PluginErrorKind::Trap(_)
        | PluginErrorKind::Output { .. }
        | PluginErrorKind::Malformed(_)
        | PluginErrorKind::Lawless { .. }
        | PluginErrorKind::Own { .. }
        | PluginErrorKind::Patience { .. }
        | PluginErrorKind::Paused { .. } => false,
    }
}
