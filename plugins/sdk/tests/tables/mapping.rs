//! People and firms: two tables that are not joined, and items of both in one DynamoDB table.

use driftd_plugin::prelude::*;

/// Customers of both kinds.
#[derive(Default)]
pub struct Customers;
driftd_plugin::export!(Customers: Mapping);

impl Mapping for Customers {
    const NAME: &'static str = "customers";
    const SUMMARY: &'static str = "maps people and firms of two tables";

    fn plan(&self, plan: &Plan) {
        let people = plan.relation(Side::Source, "people");
        let firms = plan.relation(Side::Source, "firms");
        let item = plan.target();
        let pk = item.text("pk");

        let person = plan.entity("person", people, item);
        person.key("id", people.integer("id"), pk.after("PERSON#").parse_integer());
        person.compared("name", people.text("name"), item.text("name"));
        person.on(Side::Target).only_if(pk.starts_with("PERSON#"));

        let firm = plan.entity("firm", firms, item);
        firm.key("id", firms.integer("id"), pk.after("FIRM#").parse_integer());
        firm.compared("name", firms.text("name"), item.text("name"));
        let number = firms.text("number").parse_integer().or_reject("number is none");
        firm.compared("number", number, item.integer("number"));
        firm.on(Side::Source).present_if(firms.boolean("trades"));
        firm.on(Side::Target).only_if(pk.starts_with("FIRM#"));
    }
}
