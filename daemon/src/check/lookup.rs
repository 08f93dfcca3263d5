//! Reading one side and looking up the other.
//!
//! Owns the lookup reading: a partition of one side is scanned and mapped, its entities are located
//! on the other side and fetched there by key. Refuses comparing. Invariant: an entity whose
//! counterpart could not be asked for is unread; it is neither missing nor same.

use futures::StreamExt;

use crate::check::window::Window;
use crate::check::{plugin_fault, store_fault};
use crate::model::{Extent, Range, Side};
use crate::store::{Care, Page};

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
    let mut pages = here.store.scan(&here.read, &extent);
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                let scope = format!("{extent} of the {side}, after {rows} rows");
                window.unread(scope, None, store_fault(side, &error));
                break;
            }
        };
        let mut left = Some(page);
        while let Some(mut page) = left.take() {
            left = cut(&mut page, window.portion(side.other()));
            let newest = page.keys.rows.checked_sub(1);
            let last = newest.and_then(|row| page.keys.columns[0].integer(row));
            rows += page.keys.rows as u64;
            held += page.keys.rows as u64;
            window.read_span(side, began, rows);
            counterparts(window, side, page).await;
            if alone {
                window.compare();
                continue;
            }
            if !window.is_full(&[side, side.other()], held) {
                continue;
            }
            match (extent, last) {
                // Only a key of one column may be cut behind its last value: else that may go on.
                (Extent::Range(range), Some(last)) if here.read.schema.key.len() == 1 => {
                    let from = Some(last.saturating_add(1));
                    if range.until.is_none_or(|until| from < Some(until)) {
                        window.outcome.rest = Some(Extent::Range(Range { from, ..range }));
                    }
                    return;
                }
                _ => {
                    window.compare();
                    held = 0;
                }
            }
        }
    }
}

/// Cuts `page` behind its first `rows` rows. Returns what follows; what it cost stays with the first.
fn cut(page: &mut Page, rows: usize) -> Option<Page> {
    if page.keys.rows <= rows {
        return None;
    }
    let (first, rest): (Vec<_>, Vec<_>) = (0..page.keys.rows).partition(|row| *row < rows);
    let rest = Page { keys: page.keys.take(&rest), rows: page.rows.take(&rest), ..Page::default() };
    (page.keys, page.rows) = (page.keys.take(&first), page.rows.take(&first));
    Some(rest)
}

/// Maps a page, locates its entities on the other side, and fetches them.
async fn counterparts(window: &mut Window<'_>, side: Side, page: Page) {
    let context = window.context;
    let other = side.other();
    let rows = page.keys.rows as u64;
    let Some(set_page) = window.absorb_or_unread(side, page) else { return };
    let (asked, entities) = match window.locate_page(side, set_page) {
        Ok(located) => located,
        Err(fault) => {
            window.drop_page(side, set_page);
            window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
            return;
        }
    };
    if asked.rows == 0 {
        return;
    }
    let began = (context.clock)();
    let there = context.side(other);
    let fetched = there.store.fetch(&there.read, &asked, Care::Ordinary).await;
    window.add_cost(other, fetched.cost);
    for (positions, error) in &fetched.unread {
        let lost: Vec<usize> = positions.iter().map(|&at| entities[at]).collect();
        window.drop_rows(side, set_page, &lost);
        let scope = format!("{} keys of the {other}", positions.len());
        window.unread(scope, Some(lost.len() as u64), store_fault(other, error));
    }
    let mut found = 0;
    let mut absorbed = Vec::new();
    let pages = fetched.pages.len();
    for page in fetched.pages {
        found += page.keys.rows as u64;
        absorbed.extend(window.absorb_or_unread(other, page));
    }
    if absorbed.len() < pages {
        // Which entities could not be mapped is unknown, so none of this page's is compared.
        window.drop_page(side, set_page);
        for page in absorbed {
            window.drop_page(other, page);
        }
    } else if side == context.leads.follower()
        && let Err(error) = window.displace(&[set_page], &absorbed)
    {
        let fault = plugin_fault(Some(side), &error);
        window.unread(format!("{rows} rows of the {side}"), Some(rows), fault);
        window.drop_page(side, set_page);
        for page in absorbed {
            window.drop_page(other, page);
        }
    }
    window.read_span(other, began, found);
}
