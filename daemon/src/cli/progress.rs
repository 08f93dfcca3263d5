//! Progress of a pass, on a terminal.
//!
//! Owns the bars. Refuses to count: it shows what the engine counted. Invariant: nothing is drawn
//! where standard error is no terminal.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::model::PairingStatus;

/// One bar for each pairing.
#[derive(Debug, Default)]
pub(super) struct Progress {
    all: MultiProgress,
    bars: BTreeMap<String, ProgressBar>,
}

impl Progress {
    /// Shows how far pairings have come.
    pub(super) fn show(&mut self, statuses: &[PairingStatus]) {
        for status in statuses {
            let bar = self.bars.entry(status.pairing.clone()).or_insert_with(|| {
                let style = "{prefix} [{bar:30}] {pos}/{len} partitions, {msg} ({elapsed})";
                let bar = ProgressBar::new(status.partitions);
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_prefix(status.pairing.clone());
                self.all.add(bar)
            });
            bar.set_length(status.partitions);
            bar.set_position(status.done);
            let drift: u64 = status.open.values().sum();
            let rows = status.source_rows + status.target_rows;
            bar.set_message(format!("{rows} rows, {} suspects, {drift} drift", status.suspects));
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&self) {
        // A terminal that is gone shows nothing anyway.
        self.all.clear().ok();
    }
}
