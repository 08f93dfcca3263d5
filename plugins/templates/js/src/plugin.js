// Which row of the source and which item of the target are the same customer, and what must be the same
// of them. An example to begin with: put your own relations and fields in its place.

import * as host from "driftd:plugin/host@0.1.0";
import { plugin } from "../driftd/driftd.js";

export const { lifecycle, mapping, invariants } = plugin(host, {
  name: "{{name}}",
  version: "0.1.0",
  summary: "maps customers of a SQL table and of a DynamoDB table",

  plan(plan) {
    // What is read: columns of the SQL table by their names, attributes of the DynamoDB table by their
    // names or, below the top, by JSON pointers.
    const { source: row, target: item } = plan;
    const pk = item.text("pk");

    // An entity: for each field where it comes from, in the source and in the target.
    const customer = plan.entity("customer", row, item);
    const id = pk.after("CUSTOMER#").parseInteger().orReject("pk is not CUSTOMER# and a number");
    customer.key("id", row.integer("id"), id);
    customer.compared("email", row.text("email"), item.text("/profile/email"));
    // A decimal on one side, whole cents on the other: the same number, exactly.
    customer.compared("balance", row.decimal("balance"), item.integer("balanceCents").scaled(-2));
    // An older version on one side is `stale`, not a `mismatch`.
    customer.version("changed", row.timestamp("updated_at"), item.timestamp("updatedAt"));

    // A single-table design holds other items, too; they are none of this pairing's business.
    customer.target.onlyIf(pk.startsWith("CUSTOMER#"));
    // Every other attribute that is met is reported, so that none is forgotten by accident.
    item.ignore("ttl");
  },

  rules(rules) {
    const customer = rules.entity("customer");
    const balance = customer.decimal("balance");
    rules
      .error(customer, "balance-never-negative", "a balance is never negative")
      .holds((it) => !it.get(balance)?.isNegative);
  },
});
