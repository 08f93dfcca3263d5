"""Users of a shop: rows of a `users` table, and items of a DynamoDB table, as one entity."""

from driftd import Plugin, reject

STATUSES = ["active", "suspended", "closed"]


def status(state):
    """A state is the position of its status, from 1. An unknown one is its own text: a rule tells."""
    if isinstance(state, str):
        return state
    if type(state) is not int:
        reject("state is no number")
    return STATUSES[state - 1] if 1 <= state <= 3 else str(state)


class Users(Plugin):
    name = "users"
    version = "0.1.0"
    summary = "maps users of a relational table and of a DynamoDB table"

    def plan(self, plan):
        row, item = plan.source, plan.target
        pk, sk = item.text("pk"), item.text("sk")
        id = sk.after("USER#").parse_integer().or_reject("sk is not USER# and a number")

        user = plan.entity("user", row, item)
        user.key("id", row.integer("id"), id)
        user.label("tenant", row.text("tenant"), pk.after("TENANT#"))
        user.compared("email", row.text("email"), item.text("/profile/mail"))
        user.compared("name", row.text("name"), item.text("/profile/displayName"))
        user.compared("status", row.text("status"), item.value("state").text(status))
        user.compared("balance", row.decimal("balance"), item.integer("balanceCents").scaled(-2))
        user.compared("birthday", row.date("birthday"), item.date("/profile/born")).rule("absent=null")
        user.compared("created_at", row.timestamp("created_at"), item.timestamp("createdAt"))
        user.version("updated_at", row.timestamp("updated_at"), item.integer("ver").micros())

        user.source.present_if(row.boolean("migrated"))
        user.target.only_if(sk.starts_with("USER#"))
        item.ignore("ttl")

    def rules(self, rules):
        user = rules.entity("user")
        status, balance = user.text("status"), user.decimal("balance")
        rules.error(user, "balance-never-negative", "a balance is never negative").holds(
            lambda user: user.get(balance) is None or user.get(balance) >= 0
        )
        rules.critical(user, "status-allowed", "a status is active, suspended or closed").holds(
            lambda user: user.get(status) in STATUSES
        )


Lifecycle, Mapping, Invariants = Users.exports()
