//! What must hold of orders and lines: of each, and of all of a partition.

use std::collections::BTreeMap;

use driftd_plugin::prelude::*;
use driftd_plugin::{Pair, Tally};

use crate::Orders;

impl Invariants for Orders {
    fn declare(&self, rules: &Rules) {
        let (order, line) = (rules.entity("order"), rules.entity("line"));
        let (status, updated) = (order.text("status"), order.timestamp("updated_at"));
        let (id, total) = (order.integer("id"), order.decimal("total"));
        let (of, quantity, price) =
            (line.integer("order"), line.integer("quantity"), line.decimal("price"));

        rules
            .error(line, "quantity-positive", "a line is of at least one piece")
            .holds(move |line| Ok(line.get(quantity)?.is_some_and(|it| it > 0)));
        rules
            .warning(
                order,
                "target-not-ahead",
                "an order in the target is not newer than its source",
            )
            .broken(move |pair| {
                let (Some(source), Some(target)) = (pair.source, pair.target) else {
                    return Ok(None);
                };
                let is_ahead = target.get(updated)? > source.get(updated)?;
                Ok(is_ahead.then(|| "the target was updated later".to_owned()))
            });
        rules
            .error(order, "total-is-sum-of-lines", "an order's total is the sum of its lines")
            .over(order, move |rests: &mut Rests, pair| {
                add(rests, pair, |order| {
                    Ok((order.need(id)?, order.get(total)?.unwrap_or_default()))
                })
            })
            .over(line, move |rests, pair| {
                add(rests, pair, |line| {
                    let quantity = Decimal::from(line.get(quantity)?.unwrap_or_default());
                    let amount = line.get(price)?.unwrap_or_default().checked_mul(quantity);
                    let Some(less) = amount.and_then(Decimal::checked_neg) else {
                        return too_large();
                    };
                    Ok((line.need(of)?, less))
                })
            })
            .finish(|rests| rests.iter().flat_map(off).collect());
        rules
            .error(order, "count-per-status", "as many orders of each status on both sides")
            .over_all(
                move |counts: &mut BTreeMap<String, (i64, i64)>, pair| {
                    let status = |order: Row<'_>| {
                        Ok::<_, Reject>(order.get(status)?.unwrap_or("none").to_owned())
                    };
                    if let Some(order) = pair.source {
                        counts.entry(status(order)?).or_default().0 += 1;
                    }
                    if let Some(order) = pair.target {
                        counts.entry(status(order)?).or_default().1 += 1;
                    }
                    Ok(())
                },
                |counts| {
                    let wrong = counts.iter().filter(|(_, (source, target))| source != target);
                    wrong.map(|(status, (one, two))| format!("{status}: {one} and {two}")).collect()
                },
            );
    }
}

/// What is left of each order's total without its lines, in the source and in the target.
type Rests = BTreeMap<i64, (Decimal, Decimal)>;

/// Adds to the rest of an order on every side that has the entity.
fn add(
    rests: &mut Rests,
    pair: Pair<'_>,
    amount: impl Fn(Row<'_>) -> Result<(i64, Decimal)>,
) -> Result<()> {
    for row in pair.source.into_iter().chain(pair.target) {
        let (order, amount) = amount(row)?;
        let (source, target) = rests.entry(order).or_default();
        let rest = if row.side() == Side::Source { source } else { target };
        if rest.merge(amount).is_none() {
            return too_large();
        }
    }
    Ok(())
}

fn too_large<T>() -> Result<T> {
    reject("the sum is too large")
}

fn off((order, (source, target)): (&i64, &(Decimal, Decimal))) -> Vec<String> {
    let sides = [("source", source), ("target", target)].into_iter();
    let off = sides.filter(|(_, rest)| **rest != Decimal::default());
    off.map(|(side, rest)| format!("order {order} is off by {rest} in the {side}")).collect()
}
