//! Users of a shop: rows of a `users` table, and items of a DynamoDB table, as one entity.

use driftd_plugin::prelude::*;

#[derive(Default)]
struct Users;
driftd_plugin::export!(Users: Mapping + Invariants);

impl Mapping for Users {
    const NAME: &'static str = "users";
    const SUMMARY: &'static str = "maps users of a relational table and of a DynamoDB table";

    fn plan(&self, plan: &Plan) {
        let (row, item) = (plan.source(), plan.target());
        let (pk, sk) = (item.text("pk"), item.text("sk"));
        let id = sk.after("USER#").parse_integer().or_reject("sk is not USER# and a number");

        let user = plan.entity("user", row, item);
        user.key("id", row.integer("id"), id);
        user.label("tenant", row.text("tenant"), pk.after("TENANT#"));
        user.compared("email", row.text("email"), item.text("/profile/mail"));
        user.compared("name", row.text("name"), item.text("/profile/displayName"));
        user.compared("status", row.text("status"), item.value("state").text(status));
        user.compared("balance", row.decimal("balance"), item.integer("balanceCents").scaled(-2));
        user.compared("birthday", row.date("birthday"), item.date("/profile/born"))
            .rule("absent=null");
        user.compared("created_at", row.timestamp("created_at"), item.timestamp("createdAt"));
        user.version("updated_at", row.timestamp("updated_at"), item.integer("ver").micros());

        user.on(Side::Source).present_if(row.boolean("migrated"));
        user.on(Side::Target).only_if(sk.starts_with("USER#"));
        item.ignore(["ttl"]);
    }
}

const STATUSES: [&str; 3] = ["active", "suspended", "closed"];

/// A state is the position of its status, from 1. An unknown one is its own text: an invariant tells.
fn status(state: Cell<'_>) -> Result<Cow<'_, str>> {
    match state {
        Cell::Text(status) => Ok(status.into()),
        Cell::Integer(state @ 1..=3) => Ok(STATUSES[state as usize - 1].into()),
        Cell::Integer(state) => Ok(state.to_string().into()),
        _ => reject("state is no number"),
    }
}

impl Invariants for Users {
    fn declare(&self, rules: &Rules) {
        let user = rules.entity("user");
        let (status, balance) = (user.text("status"), user.decimal("balance"));
        rules
            .error(user, "balance-never-negative", "a balance is never negative")
            .holds(move |user| Ok(user.get(balance)?.is_none_or(|it| !it.is_negative())));
        rules
            .critical(user, "status-allowed", "a status is active, suspended or closed")
            .holds(move |user| Ok(user.get(status)?.is_some_and(|it| STATUSES.contains(&it))));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn fixtures() {
        driftd_plugin::fixtures::check::<super::Users>("fixtures");
    }
}
