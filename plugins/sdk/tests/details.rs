//! What a relation is for: entities of its own, or details of others.

use driftd_plugin::glue::{Exported, Plugin};
use driftd_plugin::prelude::*;
use driftd_plugin::wire::{Batch, Buffer, Column, ColumnDef, Context, Input, TableSchema};

/// Customers with the address of each.
#[derive(Default)]
struct Free;
driftd_plugin::export!(Free: Mapping);

/// The same where no address may be without a customer.
#[derive(Default)]
struct Bound;
driftd_plugin::export!(Bound: Mapping);

impl Mapping for Free {
    const NAME: &'static str = "customers";
    const SUMMARY: &'static str = "maps customers";

    fn plan(&self, plan: &Plan) {
        let customers = plan.relation(Side::Source, "customer");
        let addresses = plan.relation(Side::Source, "address");
        customers.group_by(["address_id"]);
        addresses.group_by(["address_id"]);
        let item = plan.target();
        let customer = plan.entity("customer", customers, item);
        customer.key("id", customers.integer("customer_id"), item.integer("customer_id"));
        customer.compared("city", addresses.integer("city"), item.integer("city"));
    }
}

impl Mapping for Bound {
    const NAME: &'static str = "bound-customers";
    const SUMMARY: &'static str = "maps customers";

    fn plan(&self, plan: &Plan) {
        Free.plan(plan);
        plan.relation(Side::Source, "address").must_belong();
    }
}

fn table(name: &str, columns: &[&str]) -> TableSchema {
    let column = |name: &&str| ColumnDef {
        name: (*name).to_owned(),
        logical: "integer".to_owned(),
        nullable: false,
    };
    TableSchema {
        name: name.to_owned(),
        columns: columns.iter().map(column).collect(),
        key: vec![0],
    }
}

fn input(relation: u32, columns: &[&[i64]], group: &[u32]) -> Input {
    let column =
        |cells: &&[i64]| Column { validity: Vec::new(), values: Buffer::Int64(cells.to_vec()) };
    let columns = columns.iter().map(column).collect();
    let rows = Batch { rows: group.len() as u32, columns };
    Input { relation, origin: String::new(), rows, group: group.to_vec() }
}

/// The groups of the entities, and what is said of rows.
fn mapped<T: Exported>() -> (Vec<u32>, Vec<(u32, u32, String)>) {
    let mut plugin = Plugin::<T>::default();
    let source = vec![
        table("customer", &["customer_id", "address_id"]),
        table("address", &["address_id", "city"]),
    ];
    let target = vec![table("items", &["customer_id", "city"])];
    plugin.plan("p".to_owned(), source, target).unwrap();
    let context = Context { pairing: "p".to_owned(), side: Side::Source, as_of: 0 };
    // Columns are in the order in which the plan names them. Nobody lives at address 1.
    let inputs = vec![input(0, &[&[2], &[10]], &[1]), input(1, &[&[1, 2], &[5, 6]], &[0, 1])];
    let mapped = plugin.map_batch(context, inputs).unwrap();
    let groups = mapped.outputs.iter().flat_map(|output| output.from_group.clone()).collect();
    let notes = mapped.notes.into_iter().map(|note| (note.input, note.row, note.message));
    (groups, notes.collect())
}

#[test]
fn details_without_an_entity_are_nothing_unless_each_must_belong_to_one() {
    assert_eq!(mapped::<Free>(), (vec![1], vec![]));
    let why = "belongs to no entity, and must: its group has no row that is one".to_owned();
    assert_eq!(mapped::<Bound>(), (vec![1], vec![(1, 0, why)]));
}
