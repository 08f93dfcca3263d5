//! Reading one side and looking up the other.
//!
//! Owns the lookup reading: a partition of one side is scanned and mapped, its entities are located
//! on the other side and fetched there by key. Refuses comparing. Invariants: an entity whose
//! counterpart could not be asked for is unread; it is neither missing nor same. And a row that several
//! entities lead to is in the comparison once, over all portions that it holds.

use std::collections::BTreeSet;

use crate::check::gather::{Gathered, gather};
use crate::check::places::Wanted;
use crate::check::portion::{Lies, Portion};
use crate::check::scan::Scan;
use crate::check::stray::PageRows;
use crate::check::window::Window;
use crate::check::{SideContext, plugin_fault, store_fault};
use crate::model::{Cost, Extent, Fault, FaultCode, Range, Side};
use crate::store::Consistency;

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
        let mut left = vec![portion];
        while let Some(portion) = left.pop() {
            let at_once = window.portion_beside(side.other(), &portion);
            let (portion, rest) = portion.cut(at_once);
            left.extend(rest);
            let last = last_key(here, &portion);
            let count = portion.rows();
            let again = counterparts(window, side, portion).await;
            let mut sides = [side, side.other()].into_iter();
            if let Some(fault) = sides.find_map(|side| window.heard.of(side).gives_up()) {
                // Each question more would take the store's patience again, and what is read for it here
                // would be read for nothing.
                let scope = format!("{extent} of the {side}, from about {rows} rows on");
                window.unread(scope, None, fault.clone());
                tell_lost(window, &mut scan);
                return;
            }
            if !again.is_empty() {
                // With what is held already there may be less room than there could be.
                window.compare();
                held = 0;
                left.extend(again);
                continue;
            }
            rows += count;
            held += count;
            window.read_span(side, began, rows);
            // What was read for a stray may be scanned later, and is held once.
            if alone || !window.homes.of(side).is_empty() {
                window.compare();
                held = 0;
                continue;
            }
            if !window.is_full(&[side, side.other()], held) {
                continue;
            }
            let from = last.or_else(|| scan.whole_until().filter(|_| left.is_empty()));
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

/// Maps a portion, locates its entities on the other side, and fetches them. Returns what is to be tried
/// again, the first last, if all of it was too much at once; then nothing of it is in the comparison.
async fn counterparts(window: &mut Window<'_>, side: Side, portion: Portion) -> Vec<Portion> {
    let (groups, rows) = (portion.lies.groups(), portion.rows());
    let (before, was_empty) = (window.mark(), window.is_empty());
    let mut whole = portion.clone();
    // That is told with the first try.
    whole.cost = Cost::default();
    let Some(fault) = take_in(window, side, portion).await else { return Vec::new() };
    window.back_to(before);
    if (groups > 1 || !was_empty) && window.tries_again() {
        if groups == 1 {
            return vec![whole];
        }
        let (some, others) = whole.cut(groups / 2);
        return others.into_iter().chain([some]).collect();
    }
    window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
    Vec::new()
}

/// Puts a portion and its counterparts into the window. Returns why they are too much, if they are.
async fn take_in(window: &mut Window<'_>, side: Side, portion: Portion) -> Option<Fault> {
    let context = window.context;
    let other = side.other();
    let (rows, groups) = (portion.rows(), portion.lies.groups());
    let pages = window.absorb_or_unread(side, portion)?;
    let mut wanted = Wanted::default();
    let mut owners = Vec::new();
    for &page in &pages {
        if let Err(fault) = window.locate_page(side, page, (&mut wanted, &mut owners)) {
            return drop_all(window, (side, rows), (&pages, &[]), fault);
        }
    }
    if wanted.is_empty() {
        return None;
    }
    let began = (context.clock)();
    let keys_first = Some(window.portion(other));
    let heard = window.heard.of(other).clone();
    let known = (window.met.of_mut(other), heard);
    let gathered = gather(
        (other, context.side(other)),
        wanted,
        keys_first,
        (Consistency::Eventual, context.share),
        known,
    )
    .await;
    window.heard.of_mut(other).clone_from(&gathered.heard);
    window.add_cost(other, gathered.cost);
    window.note_counterparts(other, gathered.bytes, (groups, gathered.rows));
    if let Some(fault) = gathered.too_much {
        gathered.portions.iter().for_each(|portion| window.add_cost(other, portion.cost));
        return drop_all(window, (side, rows), (&pages, &[]), fault);
    }
    let found = take_in_found(window, (side, rows), gathered, (&pages, &owners));
    window.read_span(other, began, rows);
    match found {
        Ok(absorbed) => {
            homes(window, side, (&pages, &absorbed)).await;
            None
        }
        Err(fault) => fault,
    }
}

/// Reads what lies at the own places of the entities of `pages` that lie elsewhere: whether these are all
/// that there is of them, or copies, is decided by that. `absorbed` are the pages of the other side.
async fn homes(window: &mut Window<'_>, side: Side, (pages, absorbed): (&[usize], &[usize])) {
    let context = window.context;
    let here = context.side(side);
    let (strays, keys) = window.strays(side, pages);
    if strays.is_empty() {
        return;
    }
    let (mut wanted, mut owners) = (Wanted::default(), Vec::new());
    let follows = side == context.leads.follower();
    let leading = if follows { window.leading(absorbed, &keys) } else { PageRows::new() };
    let of = [(side, &strays), (side.other(), &leading)];
    let located =
        of.into_iter().try_for_each(|of| window.want_homes(side, of, (&mut wanted, &mut owners)));
    if let Err(fault) = located {
        return window.lose_keys(side, keys, &fault);
    }
    window.meet(side);
    let heard = window.heard.of(side).clone();
    let known = (window.met.of_mut(side), heard);
    let gathered =
        gather((side, here), wanted, None, (Consistency::Eventual, context.share), known).await;
    window.heard.of_mut(side).clone_from(&gathered.heard);
    window.add_cost(side, gathered.cost);
    for (whose, fault) in gathered.unread {
        let lost = whose.iter().map(|owner| owners[*owner].clone()).collect();
        window.lose_keys(side, lost, &fault);
    }
    let mut found = Vec::new();
    for portion in gathered.portions {
        match window.absorb(side, portion) {
            Ok(pages) => found.extend(pages),
            // Whose it was is unknown.
            Err(error) => window.lose_keys(side, keys.clone(), &plugin_fault(Some(side), &error)),
        }
    }
    window.homes.of_mut(side).extend(found.iter().copied());
    window.keep_keys(side, &found, &keys);
    if follows && let Err(fault) = window.displace(&found, absorbed) {
        window.lose_keys(side, keys, &fault);
    }
}

/// Takes what was found of a portion's counterparts into the window. Returns its pages there, or, if
/// nothing of the portion is compared, why it is too much, if it is.
fn take_in_found(
    window: &mut Window<'_>,
    (side, rows): (Side, u64),
    gathered: Gathered,
    (pages, owners): (&[usize], &[(usize, usize)]),
) -> Result<Vec<usize>, Option<Fault>> {
    let other = side.other();
    let mut lost = BTreeSet::new();
    for (whose, fault) in gathered.unread {
        lost.extend(whose.iter().map(|owner| owners[*owner]));
        let scope = format!("{} keys of the {other}", whose.len());
        window.unread(scope, Some(whose.len() as u64), fault);
    }
    let mut absorbed = Vec::new();
    let mut failed = false;
    let mut portions = gathered.portions.into_iter();
    while let Some(portion) = portions.next() {
        match window.absorb_or_unread(other, portion) {
            Some(pages) => absorbed.extend(pages),
            None => failed = true,
        }
        if let Some(fault) = window.too_much(other) {
            portions.for_each(|portion| window.add_cost(other, portion.cost));
            return Err(drop_all(window, (side, rows), (pages, &absorbed), fault));
        }
    }
    if failed {
        // Which entities could not be mapped is unknown, so none of this portion's is compared.
        window.drop_pages(side, (pages, &absorbed));
        window.met.of_mut(other).back();
        return Err(None);
    }
    window.drop_lost(side, &lost, (pages, &absorbed));
    if side == window.context.leads.follower()
        && let Err(fault) = window.displace(pages, &absorbed)
    {
        return Err(drop_all(window, (side, rows), (pages, &absorbed), fault));
    }
    Ok(absorbed)
}

/// Takes a portion out of the comparison. Returns why it is too much, if that is why; else it is unread.
fn drop_all(
    window: &mut Window<'_>,
    (side, rows): (Side, u64),
    pages: (&[usize], &[usize]),
    fault: Fault,
) -> Option<Fault> {
    window.drop_pages(side, pages);
    // What was read of the other side is not held any more.
    window.met.of_mut(side.other()).back();
    if fault.code == FaultCode::TooMuch {
        return Some(fault);
    }
    window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
    None
}
