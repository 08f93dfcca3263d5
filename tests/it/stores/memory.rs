//! The memory store, as one with ranges and as one with segments.

use driftd::model::{ColumnDef, Logical, RelationSchema};
use driftd::store::Store;
use driftd::store::memory::{Handle, Layout, Memory};
use driftd_tests::conformance::{self, Fixture, Row, Shape};
use futures::future::{BoxFuture, FutureExt, ready};

struct InMemory {
    store: Memory,
    handle: Handle,
    layout: Layout,
}

impl Fixture for InMemory {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn open(&self) -> bool {
        self.layout == Layout::Segments
    }

    fn remedy(&self) -> Option<&str> {
        self.open().then_some("the partition key")
    }

    fn create<'a>(&'a self, relation: &'a str, shape: &'a Shape) -> BoxFuture<'a, ()> {
        let open = self.open();
        let (key, relation) = (0..shape.key, relation.to_owned());
        let listed = if open { &shape.columns[key.clone()] } else { shape.columns };
        let column = |(index, (name, logical)): (usize, &(&str, Logical))| ColumnDef {
            name: (*name).to_owned(),
            logical: *logical,
            nullable: !key.contains(&index),
        };
        let columns = listed.iter().enumerate().map(column).collect();
        let schema =
            RelationSchema { relation, columns, key: key.clone().collect(), open, partial: false };
        self.handle.create(schema, self.layout);
        ready(()).boxed()
    }

    fn insert<'a>(&'a self, relation: &'a str, rows: &'a [Row]) -> BoxFuture<'a, ()> {
        for row in rows {
            self.handle.put(relation, row.clone());
        }
        ready(()).boxed()
    }

    fn drop_relation<'a>(&'a self, relation: &'a str) -> BoxFuture<'a, ()> {
        self.handle.drop_relation(relation);
        ready(()).boxed()
    }

    fn fail(&mut self) -> BoxFuture<'_, ()> {
        self.handle.stop();
        ready(()).boxed()
    }

    fn heal(&mut self) -> BoxFuture<'_, ()> {
        self.handle.heal();
        ready(()).boxed()
    }
}

async fn conforms(layout: Layout) {
    let (store, handle) = Memory::new("source", layout == Layout::Segments);
    conformance::all(&mut InMemory { store, handle, layout }).await;
}

#[tokio::test]
async fn with_ranges_conforms() {
    conforms(Layout::Ranges).await;
}

#[tokio::test]
async fn with_segments_conforms() {
    conforms(Layout::Segments).await;
}
