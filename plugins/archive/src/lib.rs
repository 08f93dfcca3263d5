//! Orders of a shop that lie in one of two places: rows of an `orders` table, and items of a DynamoDB
//! table that holds other items beside them, under their customers or in the archive. `../orders` is the
//! larger example; this one is of a row a group, one entity type, and locating by full keys.

use driftd_plugin::prelude::*;

#[derive(Default)]
struct Archive;
driftd_plugin::export!(Archive: Mapping + Locating);

impl Mapping for Archive {
    const NAME: &'static str = "archive";
    const SUMMARY: &'static str = "maps orders that lie in one of two places";

    fn plan(&self, plan: &Plan) {
        let (row, item) = (plan.source(), plan.target());
        let (pk, sk) = (item.text("pk"), item.text("sk"));
        let id = sk.after("ORDER#").parse_integer().or_reject("sk is not ORDER# and a number");

        let order = plan.entity("order", row, item);
        order.key("id", row.integer("id"), id);
        order.compared("customer", row.text("customer"), pk.rewrite(customer));
        order.compared("status", row.text("status"), item.text("state"));
        order.compared("total", row.decimal("total"), item.integer("cents").scaled(-2));
        order.compared("placed_at", row.timestamp("placed_at"), item.timestamp("placed"));
        order.on(Side::Target).only_if(sk.starts_with("ORDER#"));
    }
}

/// An order lies under its customer or, once closed, may lie in the archive.
fn customer(pk: &str) -> Result<Cow<'_, str>> {
    match pk.strip_prefix("CUSTOMER#").or_else(|| pk.strip_prefix("ARCHIVE#")) {
        Some(customer) => Ok(customer.into()),
        None => reject("pk is neither CUSTOMER# nor ARCHIVE# and a name"),
    }
}

impl Locating for Archive {
    fn locate(&self, locators: &Locators) {
        let order = locators.entity("order");
        let (id, customer, status) =
            (order.integer("id"), order.text("customer"), order.text("status"));
        locators.get(order, Side::Source, move |order, key| {
            key.push(order.need(id)?);
            key.end();
            Ok(())
        });
        locators.get(order, Side::Target, move |order, key| {
            let (id, customer) = (order.need(id)?, order.need(customer)?);
            key.write(format_args!("CUSTOMER#{customer}"));
            key.write(format_args!("ORDER#{id}"));
            key.end();
            if order.get(status)? == Some("closed") {
                key.write(format_args!("ARCHIVE#{customer}"));
                key.write(format_args!("ORDER#{id}"));
                key.end();
            }
            Ok(())
        });
        let key = locators.key(Side::Target);
        key.identifies(order)
            .field("id", key.text("sk").after("ORDER#").parse_integer())
            .only_if(key.text("sk").starts_with("ORDER#"));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fixtures() {
        driftd_plugin::fixtures::check::<super::Archive>("fixtures");
    }
}
