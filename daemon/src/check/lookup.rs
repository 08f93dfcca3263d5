//! Reading one side and looking up the other.
//!
//! Owns the lookup reading: a partition of one side is scanned and mapped, its entities are located
//! on the other side and fetched there by key. Refuses comparing. Invariant: an entity whose
//! counterpart could not be asked for is unread; it is neither missing nor same.

use std::collections::BTreeSet;

use crate::check::gather::gather;
use crate::check::places::Wanted;
use crate::check::portion::{Lies, Portion};
use crate::check::scan::Scan;
use crate::check::window::Window;
use crate::check::{SideContext, store_fault};
use crate::model::{Extent, Range, Side};
use crate::plugin::Input;
use crate::store::Care;

/// Reads `extent` of `side` and its counterparts into the window.
pub(super) async fn read(window: &mut Window<'_>, side: Side, extent: Extent) {
    let context = window.context;
    let began = (context.clock)();
    let here = context.side(side);
    let mut rows: u64 = 0;
    let mut held: u64 = 0;
    // Where every row is held against the place that its counterpart names, a row tells all by itself.
    // Elsewhere two rows of one entity are noticed only where both are held.
    let alone = side == context.leads.follower() && here.locatable;
    let mut scan = Scan::new(side, here, &extent);
    while let Some(portion) = scan.next().await {
        let portion = match portion {
            Ok(portion) => portion,
            Err(error) => {
                let scope = format!("{extent} of the {side}, after {rows} rows");
                window.unread(scope, None, store_fault(side, &error));
                break;
            }
        };
        let mut left = Some(portion);
        while let Some(mut portion) = left.take() {
            let at_once = window.portion_beside(side.other(), &portion);
            left = cut(&mut portion, at_once);
            let last = last_key(here, &portion);
            rows += portion.rows();
            held += portion.rows();
            window.read_span(side, began, rows);
            counterparts(window, side, portion).await;
            if alone {
                window.compare();
                continue;
            }
            if !window.is_full(&[side, side.other()], held) {
                continue;
            }
            let from = last.or_else(|| scan.whole_until().filter(|_| left.is_none()));
            match (extent, from) {
                (Extent::Range(range), Some(from)) => {
                    let from = Some(from);
                    if range.until.is_none_or(|until| from < Some(until)) {
                        window.outcome.rest = Some(Extent::Range(Range { from, ..range }));
                    }
                    tell_lost(window, &mut scan);
                    return;
                }
                _ => {
                    window.compare();
                    held = 0;
                }
            }
        }
    }
    tell_lost(window, &mut scan);
}

/// Notes what could not be put together.
fn tell_lost(window: &mut Window<'_>, scan: &mut Scan<'_>) {
    for (scope, fault) in scan.lost() {
        window.unread(scope, None, fault);
    }
}

/// Behind which key a range may be cut after these rows: only a relation that stands alone, with a key
/// of one column. Else what has the last key may go on.
fn last_key(here: &SideContext, portion: &Portion) -> Option<i128> {
    let ([relation], Lies::Rows { keys, .. }) = (here.relations.as_slice(), &portion.lies) else {
        return None;
    };
    if relation.read.schema.key.len() != 1 || !relation.group.is_empty() {
        return None;
    }
    let last = keys.columns[0].integer(keys.rows.checked_sub(1)?)?;
    Some(last.saturating_add(1))
}

/// Cuts `portion` behind its first `rows` rows, where they stand by themselves. Returns what follows;
/// what it cost stays with the first.
fn cut(portion: &mut Portion, rows: usize) -> Option<Portion> {
    let Lies::Rows { relation, keys } = &portion.lies else { return None };
    if keys.rows <= rows {
        return None;
    }
    let (first, rest): (Vec<_>, Vec<_>) = (0..keys.rows).partition(|row| *row < rows);
    let part = |rows: &[usize]| {
        let lies = Lies::Rows { relation: *relation, keys: keys.take(rows) };
        let input = |input: &Input<'_>| Input {
            relation: input.relation,
            rows: std::borrow::Cow::Owned(input.rows.take(rows)),
            group: None,
        };
        (lies, portion.inputs.iter().map(input).collect())
    };
    let (lies, inputs) = part(&rest);
    let wide = portion.wide;
    let rest =
        Portion { lies, inputs, wide, unmapped: Vec::new(), cost: crate::model::Cost::default() };
    (portion.lies, portion.inputs) = part(&first);
    Some(rest)
}

/// Maps a portion, locates its entities on the other side, and fetches them.
async fn counterparts(window: &mut Window<'_>, side: Side, portion: Portion) {
    let context = window.context;
    let other = side.other();
    let rows = portion.rows();
    let Some(pages) = window.absorb_or_unread(side, portion) else { return };
    let mut wanted = Wanted::default();
    let mut owners = Vec::new();
    for &page in &pages {
        if let Err(fault) = window.locate_page(side, page, (&mut wanted, &mut owners)) {
            pages.iter().for_each(|page| window.drop_page(side, *page));
            window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
            return;
        }
    }
    if wanted.is_empty() {
        return;
    }
    let began = (context.clock)();
    let keys_first = Some(window.portion(other));
    let gathered = gather((other, context.side(other)), wanted, keys_first, Care::Ordinary).await;
    window.add_cost(other, gathered.cost);
    let mut lost = BTreeSet::new();
    for (whose, fault) in gathered.unread {
        lost.extend(whose.iter().map(|owner| owners[*owner]));
        let scope = format!("{} keys of the {other}", whose.len());
        window.unread(scope, Some(whose.len() as u64), fault);
    }
    window.note_counterparts(other, gathered.bytes, (rows, &gathered.portions));
    let mut found = 0;
    let (mut absorbed, mut along) = (Vec::new(), Vec::new());
    let mut failed = false;
    for portion in gathered.portions {
        found += portion.rows();
        let wide = portion.wide;
        match window.absorb_or_unread(other, portion) {
            Some(pages) if wide => along.extend(pages),
            Some(pages) => absorbed.extend(pages),
            None => failed = true,
        }
        if let Some(fault) = window.too_much(other) {
            window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
            failed = true;
            break;
        }
    }
    window.keep_asked(side, &pages, &along);
    absorbed.extend(along);
    window.drop_lost(side, &lost, (&pages, &absorbed));
    if failed {
        // Which entities could not be mapped is unknown, so none of this portion's is compared.
        pages.iter().for_each(|page| window.drop_page(side, *page));
        absorbed.into_iter().for_each(|page| window.drop_page(other, page));
    } else if side == context.leads.follower()
        && let Err(fault) = window.displace(&pages, &absorbed)
    {
        window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
        pages.iter().for_each(|page| window.drop_page(side, *page));
        absorbed.into_iter().for_each(|page| window.drop_page(other, page));
    }
    window.read_span(other, began, found);
}
