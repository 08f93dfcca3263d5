//! Which row of the source and which item of the target are the same customer, and what must be the
//! same of them. An example to begin with: put your own relations and fields in its place.

use driftd_plugin::prelude::*;

#[derive(Default)]
struct Customers;
driftd_plugin::export!(Customers: Mapping + Invariants);

impl Mapping for Customers {
    const NAME: &'static str = "{{name}}";
    const SUMMARY: &'static str = "maps customers of a SQL table and of a DynamoDB table";

    fn plan(&self, plan: &Plan) {
        // What is read: columns of the SQL table by their names, attributes of the DynamoDB table by
        // their names or, below the top, by JSON pointers.
        let (row, item) = (plan.source(), plan.target());
        let pk = item.text("pk");

        // An entity: for each field where it comes from, in the source and in the target.
        let customer = plan.entity("customer", row, item);
        let id = pk.after("CUSTOMER#").parse_integer().or_reject("pk is not CUSTOMER# and a number");
        customer.key("id", row.integer("id"), id);
        customer.compared("email", row.text("email"), item.text("/profile/email"));
        // A decimal on one side, whole cents on the other: the same number, exactly.
        let cents = item.integer("balanceCents").scaled(-2);
        customer.compared("balance", row.decimal("balance"), cents);
        // An older version on one side is `stale`, not a `mismatch`.
        customer.version("changed", row.timestamp("updated_at"), item.timestamp("updatedAt"));

        // A single-table design holds other items, too; they are none of this pairing's business.
        customer.on(Side::Target).only_if(pk.starts_with("CUSTOMER#"));
        // Every other attribute that is met is reported, so that none is forgotten by accident.
        item.ignore(["ttl"]);
    }
}

impl Invariants for Customers {
    fn declare(&self, rules: &Rules) {
        let customer = rules.entity("customer");
        let balance = customer.decimal("balance");
        rules
            .error(customer, "balance-never-negative", "a balance is never negative")
            .holds(move |it| Ok(it.get(balance)?.is_none_or(|balance| !balance.is_negative())));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fixtures() {
        driftd_plugin::fixtures::check::<super::Customers>("fixtures");
    }
}
