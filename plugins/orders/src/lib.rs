//! Orders of a shop and their lines: two tables that are joined by the order, and items of one DynamoDB
//! table that holds other items beside them. An order lies under its customer; once closed it may have
//! been moved to the archive, under the day of that, which only the archive knows.

mod place;
mod rules;

use driftd_plugin::prelude::*;
use driftd_plugin::{Boolean, Col, Integer};

#[derive(Default)]
struct Orders;
driftd_plugin::export!(Orders: Mapping + Invariants + Locating);

impl Mapping for Orders {
    const NAME: &'static str = "orders";
    const SUMMARY: &'static str =
        "maps orders and their lines, of two tables and of a single-table design";

    fn plan(&self, plan: &Plan) {
        let orders = plan.relation(Side::Source, "orders");
        let lines = plan.relation(Side::Source, "order_lines");
        orders.group_by(["id"]);
        lines.group_by(["order_id"]);
        let item = plan.target();
        let (pk, sk) = (item.text("pk"), item.text("sk"));
        let migrated = orders.boolean("migrated");
        let ttl = item.integer("ttl");

        let order = plan.entity("order", orders, item);
        let line_no = lines.integer("line_no");
        let line_count = orders.read(move |order| Ok(order.all(line_no).len() as i64));
        order.key("id", orders.integer("id"), sk.try_map(place::order_id));
        order.label("customer", orders.text("customer"), pk.rewrite(place::customer));
        order.compared("status", orders.text("status"), item.text("status"));
        order.compared("total", orders.decimal("total"), item.integer("cents").scaled(-2));
        order.compared("line_count", line_count, item.integer("lines"));
        order.compared("placed_at", orders.timestamp("placed_at"), item.timestamp("placed"));
        order.version("updated_at", orders.timestamp("updated_at"), item.timestamp("updated"));
        order.on(Side::Source).present_if(migrated);
        order.on(Side::Target).standing(move |item| {
            if place::is_order(item.need(sk)?) { unexpired(item, ttl) } else { Ok(Standing::Other) }
        });

        let line = plan.entity("line", lines, item);
        line.key("order", lines.integer("order_id"), sk.try_map(place::order_id));
        line.key("line_no", line_no, sk.try_map(place::line_no));
        // Of the order in the same group: nothing else says where the line lies.
        line.carried("customer", orders.text("customer"), pk.rewrite(place::customer));
        line.compared("sku", lines.text("sku"), item.text("sku"));
        line.compared("quantity", lines.integer("quantity"), item.integer("quantity"));
        line.compared("price", lines.decimal("price"), item.integer("cents").scaled(-2));
        line.on(Side::Source).standing(move |line| of_its_order(line, migrated));
        line.on(Side::Target).standing(move |item| {
            if place::is_line(item.need(sk)?) { unexpired(item, ttl) } else { Ok(Standing::Other) }
        });
        // Of profiles, which lie beside the orders.
        item.ignore(["email"]);
    }
}

/// An expired item counts as gone: DynamoDB takes days to remove it.
fn unexpired(item: Row<'_>, ttl: Col<Integer>) -> Result<Standing> {
    let seconds = item.as_of().micros().div_euclid(1_000_000);
    let has_expired = item.get(ttl)?.is_some_and(|ttl| ttl < seconds);
    Ok(if has_expired { Standing::Absent } else { Standing::Present })
}

/// A line is migrated with its order. One without an order is refused: it must not go unsaid.
fn of_its_order(line: Row<'_>, migrated: Col<Boolean>) -> Result<Standing> {
    let Some(order) = line.all(migrated).next() else { return reject("belongs to no order") };
    Ok(if order.get(migrated)? == Some(true) { Standing::Present } else { Standing::Excluded })
}

impl Locating for Orders {
    fn locate(&self, locators: &Locators) {
        let (order, line) = (locators.entity("order"), locators.entity("line"));
        let (id, status, customer) =
            (order.integer("id"), order.text("status"), order.text("customer"));
        locators.get(order, (Side::Source, "orders"), move |order, key| {
            key.push(order.need(id)?);
            key.end();
            Ok(())
        });
        locators.get(order, Side::Target, move |order, key| {
            key.write(format_args!("CUSTOMER#{}", order.need(customer)?));
            key.write(format_args!("ORDER#{}", order.need(id)?));
            key.end();
            Ok(())
        });
        // Both columns of the key, of which the last is a prefix: whatever the day was.
        locators.query(order, Side::Target, 2, move |order, key| {
            if order.get(status)? == Some("closed") {
                key.write(format_args!("ARCHIVE#{}", order.need(customer)?));
                key.write(format_args!("ORDER#{}@", order.need(id)?));
                key.end();
            }
            Ok(())
        });

        let (of, line_no, customer) =
            (line.integer("order"), line.integer("line_no"), line.text("customer"));
        locators.get(line, (Side::Source, "order_lines"), move |line, key| {
            key.push(line.need(of)?);
            key.push(line.need(line_no)?);
            key.end();
            Ok(())
        });
        // The lines of an archived order stay where they were.
        locators.get(line, Side::Target, move |line, key| {
            key.write(format_args!("CUSTOMER#{}", line.need(customer)?));
            key.write(format_args!("ORDER#{}#LINE#{}", line.need(of)?, line.need(line_no)?));
            key.end();
            Ok(())
        });

        let key = locators.key((Side::Source, "orders"));
        key.identifies(order).field("id", key.column::<Integer>("id"));
        let key = locators.key((Side::Source, "order_lines"));
        key.identifies(line)
            .field("order", key.column::<Integer>("order_id"))
            .field("line_no", key.column::<Integer>("line_no"));
        let key = locators.key(Side::Target);
        let sk = key.text("sk");
        key.identifies(order)
            .field("id", sk.try_map(place::order_id))
            .only_if(sk.map(place::is_order));
        key.identifies(line)
            .field("order", sk.try_map(place::order_id))
            .field("line_no", sk.try_map(place::line_no))
            .only_if(sk.map(place::is_line));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fixtures() {
        driftd_plugin::fixtures::check::<super::Orders>("fixtures");
    }
}
