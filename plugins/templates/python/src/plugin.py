"""Which row of the source and which item of the target are the same customer, and what must be the same
of them. An example to begin with: put your own relations and fields in its place."""

from driftd import Plugin


class Customers(Plugin):
    name = "{{name}}"
    version = "0.1.0"
    summary = "maps customers of a SQL table and of a DynamoDB table"

    def plan(self, plan):
        # What is read: columns of the SQL table by their names, attributes of the DynamoDB table by
        # their names or, below the top, by JSON pointers.
        row, item = plan.source, plan.target
        pk = item.text("pk")

        # An entity: for each field where it comes from, in the source and in the target.
        customer = plan.entity("customer", row, item)
        id = pk.after("CUSTOMER#").parse_integer().or_reject("pk is not CUSTOMER# and a number")
        customer.key("id", row.integer("id"), id)
        customer.compared("email", row.text("email"), item.text("/profile/email"))
        # A decimal on one side, whole cents on the other: the same number, exactly.
        customer.compared("balance", row.decimal("balance"), item.integer("balanceCents").scaled(-2))
        # An older version on one side is `stale`, not a `mismatch`.
        customer.version("changed", row.timestamp("updated_at"), item.timestamp("updatedAt"))

        # A single-table design holds other items, too; they are none of this pairing's business.
        customer.target.only_if(pk.starts_with("CUSTOMER#"))
        # Every other attribute that is met is reported, so that none is forgotten by accident.
        item.ignore("ttl")

    def rules(self, rules):
        customer = rules.entity("customer")
        balance = customer.decimal("balance")
        rules.error(customer, "balance-never-negative", "a balance is never negative").holds(
            lambda it: it.get(balance) is None or it.get(balance) >= 0
        )


Lifecycle, Mapping, Invariants = Customers.exports()
