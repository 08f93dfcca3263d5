//! A side of several relations of which none is grouped: a row is a group, and no call has rows of two
//! relations. `driftd plugin test` runs the same mapping and the same fixtures in WebAssembly.

#[path = "tables/mapping.rs"]
mod mapping;

#[test]
fn rows_of_tables_that_are_not_joined_are_mapped_one_by_one() {
    driftd_plugin::fixtures::check::<mapping::Customers>("tests/tables/fixtures");
}
