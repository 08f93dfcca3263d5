//! Reading both sides of a range.
//!
//! Owns the aligned reading: leader first, then follower, over the same range of integer keys.
//! Refuses comparing. Invariant: what is compared is a range that was read whole from both sides; the
//! rest is left for a child, or unread.

use futures::StreamExt;

use crate::check::portion::Portion;
use crate::check::store_fault;
use crate::check::window::Window;
use crate::model::{Extent, Fault, Range, Side};

/// Reads `range` from both sides into the window.
pub(super) async fn read(window: &mut Window<'_>, range: Range) {
    let leads = window.context.leads;
    let mut covered = range;
    for side in [leads.leader(), leads.follower()] {
        match scan(window, side, covered).await {
            Scanned::Whole => {}
            Scanned::Until(until) => {
                let rest = Range { from: Some(until), until: range.until };
                window.outcome.rest = Some(Extent::Range(rest));
                covered.until = Some(until);
            }
            Scanned::Failed { at, fault } => {
                let lost = Range { from: at.or(covered.from), until: covered.until };
                window.unread(lost.to_string(), None, fault);
                if at.is_none() || at == covered.from {
                    window.clear();
                    return;
                }
                covered.until = at;
            }
        }
    }
    window.keep_range(covered);
}

enum Scanned {
    /// All of it was read.
    Whole,
    /// More than the window holds: it was read up to this key, which is not to be compared now.
    Until(i128),
    /// It was read up to this key, whose rows may be incomplete; none: nothing was read.
    Failed { at: Option<i128>, fault: Fault },
}

async fn scan(window: &mut Window<'_>, side: Side, range: Range) -> Scanned {
    let context = window.context;
    let began = (context.clock)();
    let extent = Extent::Range(range);
    let here = context.side(side);
    let mut pages = here.store.scan(&here.relations[0].read, &extent);
    let mut rows = 0;
    let (mut first, mut last, mut full) = (None, None, None);
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                window.read_span(side, began, rows);
                return Scanned::Failed { at: last, fault: store_fault(side, &error) };
            }
        };
        let Some(newest) = page.keys.rows.checked_sub(1) else { continue };
        first = first.or_else(|| page.keys.columns[0].integer(0));
        last = page.keys.columns[0].integer(newest).or(last);
        rows += page.keys.rows as u64;
        window.absorb_or_hole(side, Portion::of_page(0, page));
        // Of one key alone the window holds whatever there is, or reading would not go on.
        if window.is_full(&[side], rows) && first < last {
            full = last;
            break;
        }
    }
    window.read_span(side, began, rows);
    // A full window may have ended with the last row, too; then the rest is found empty.
    full.map_or(Scanned::Whole, Scanned::Until)
}
