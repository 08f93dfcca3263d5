// Users of a shop: rows of a `users` table, and items of a DynamoDB table, as one entity.

import * as host from "driftd:plugin/host@0.1.0";
import { plugin, reject } from "../../sdk-js/driftd.js";

const STATUSES = ["active", "suspended", "closed"];

// A state is the position of its status, from 1. An unknown one is its own text: an invariant tells.
function status(state) {
  if (typeof state === "string") return state;
  if (typeof state !== "bigint") reject("state is no number");
  return STATUSES[Number(state) - 1] ?? String(state);
}

export const { lifecycle, mapping, invariants } = plugin(host, {
  name: "users",
  version: "0.1.0",
  summary: "maps users of a relational table and of a DynamoDB table",

  plan(plan) {
    const { source: row, target: item } = plan;
    const [pk, sk] = [item.text("pk"), item.text("sk")];
    const id = sk.after("USER#").parseInteger().orReject("sk is not USER# and a number");

    const user = plan.entity("user", row, item);
    user.key("id", row.integer("id"), id);
    user.label("tenant", row.text("tenant"), pk.after("TENANT#"));
    user.compared("email", row.text("email"), item.text("/profile/mail"));
    user.compared("name", row.text("name"), item.text("/profile/displayName"));
    user.compared("status", row.text("status"), item.value("state").text(status));
    user.compared("balance", row.decimal("balance"), item.integer("balanceCents").scaled(-2));
    user.compared("birthday", row.date("birthday"), item.date("/profile/born")).rule("absent=null");
    user.compared("created_at", row.timestamp("created_at"), item.timestamp("createdAt"));
    user.version("updated_at", row.timestamp("updated_at"), item.integer("ver").micros());

    user.source.presentIf(row.boolean("migrated"));
    user.target.onlyIf(sk.startsWith("USER#"));
    item.ignore("ttl");
  },

  rules(rules) {
    const user = rules.entity("user");
    const [status, balance] = [user.text("status"), user.decimal("balance")];
    rules
      .error(user, "balance-never-negative", "a balance is never negative")
      .holds((user) => !user.get(balance)?.isNegative);
    rules
      .critical(user, "status-allowed", "a status is active, suspended or closed")
      .holds((user) => STATUSES.includes(user.get(status)));
  },
});
