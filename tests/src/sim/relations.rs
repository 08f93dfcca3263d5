//! The relations of the simulated world, and the pairing over them.
//!
//! Owns the two layouts, how an entity is a row of either side, and what `check` and the engine are
//! told of the pairing. Refuses time and chance. Invariant: the built-in mapping maps both rows of an
//! entity to the same canonical values.

use std::num::NonZeroU32;
use std::sync::Arc;

use driftd::check::{Context, RelationContext, Share, SideContext};
use driftd::compare::Canon;
use driftd::engine::{EntitySpec, Spec};
use driftd::model::{
    ColumnDef, InvariantDef, Key, Leads, Logical, Moment, Number, RelationSchema, Role, Rule,
    Scope, Severity, Side, StoreKey, Value,
};
use driftd::plan::{self, SideFacts};
use driftd::plugin::builtin::{self, BuiltIn, Field};
use driftd::plugin::template::{KeyTemplate, Template};
use driftd::plugin::{Binding, Mapper, Place};
use driftd::store::memory::{Layout, Row};
use driftd::store::{Read, Store};
use driftd::{settle, store};

use super::seam::Judging;

/// The relation's name on both sides.
pub const RELATION: &str = "users";
/// The rule over whole partitions.
pub const SUM: &str = "sum";
/// The pairing's name.
pub const PAIRING: &str = "users";

/// How the two sides lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Both scan ranges of the same integer key.
    Aligned,
    /// The source scans ranges, the target segments of `USER#<id>`.
    Lookup,
}

/// One user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entity {
    /// Identifies it.
    pub id: i64,
    /// Compared. What begins with `out-of-scope` is excluded.
    pub name: String,
    /// Compared.
    pub email: String,
    /// Compared, a decimal number; any other text cannot be mapped.
    pub amount: String,
    /// When it was written.
    pub updated: Moment,
}

/// What of a pairing differs from simulation to simulation.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// How the two sides lie to each other.
    pub shape: Shape,
    /// Which side leads.
    pub leader: Side,
    /// Whether the time of writing is declared as the version.
    pub versioned: bool,
    /// Whether an invariant is checked: no amount is negative.
    pub invariant: bool,
    /// Whether there is a rule over whole partitions: the amounts of both sides add up to the same.
    pub rule: bool,
    /// A field that the mapping passes over: a mapping that is broken on purpose.
    pub blind: Option<&'static str>,
    /// How its passes go.
    pub plan: plan::Settings,
    /// How its suspects are judged.
    pub settle: settle::Settings,
    /// Rows of one side that a check holds at once.
    pub window_rows: NonZeroU32,
    /// The seed of its orders.
    pub seed: u64,
}

impl Shape {
    fn layout(self, side: Side) -> Layout {
        match (self, side) {
            (Self::Aligned, _) | (Self::Lookup, Side::Source) => Layout::Ranges,
            (Self::Lookup, Side::Target) => Layout::Segments,
        }
    }

    /// The relation of a side, as its store describes it.
    #[must_use]
    pub fn schema(self, side: Side) -> RelationSchema {
        let column = |name: &str, logical| ColumnDef {
            name: name.to_owned(),
            logical,
            nullable: name != "id" && name != "pk",
        };
        let typed = [
            ("id", Logical::Integer),
            ("name", Logical::Text),
            ("email", Logical::Text),
            ("amount", Logical::Text),
            ("updated", Logical::Timestamp),
        ];
        let open = self.layout(side) == Layout::Segments;
        let columns = if open {
            vec![column("pk", Logical::Text)]
        } else {
            typed.iter().map(|(name, logical)| column(name, *logical)).collect()
        };
        RelationSchema {
            relation: RELATION.to_owned(),
            columns,
            key: vec![0],
            open,
            partial: false,
        }
    }

    /// Makes the relation of a side.
    pub fn create(self, side: Side, handle: &store::memory::Handle) {
        handle.create(self.schema(side), self.layout(side));
    }

    /// Where a side keeps the entity.
    #[must_use]
    pub fn place(self, side: Side, id: i64) -> Value {
        match self.layout(side) {
            Layout::Ranges => Value::Number(id.into()),
            Layout::Segments => Value::Text(format!("USER#{id}")),
        }
    }

    /// The entity as a row of a side.
    #[must_use]
    pub fn row(self, side: Side, entity: &Entity) -> Row {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut row = Row::from([
            ("id".to_owned(), Value::Number(Number::from(entity.id))),
            ("name".to_owned(), text(&entity.name)),
            ("email".to_owned(), text(&entity.email)),
            ("amount".to_owned(), text(&entity.amount)),
            ("updated".to_owned(), Value::Timestamp(entity.updated.0)),
        ]);
        if self.layout(side) == Layout::Segments {
            row.insert("pk".to_owned(), self.place(side, entity.id));
        }
        row
    }
}

/// The key of an entity.
#[must_use]
pub fn key(id: i64) -> Key {
    Key(Value::List(vec![Value::Number(id.into())]).to_cbor().into_boxed_slice())
}

/// The key that stands for a row whose entity is not known.
#[must_use]
pub fn row_key(side: Side, place: Value) -> Key {
    Key::of_row(side, &StoreKey(Value::List(vec![place]).to_cbor().into_boxed_slice()))
}

impl Pairing {
    /// What checks are told. `stores` are those of source and target.
    #[must_use]
    pub fn context(
        &self,
        stores: [Arc<dyn Store>; 2],
        clock: Arc<dyn Fn() -> Moment + Send + Sync>,
    ) -> Context {
        let mapper = self.mapper();
        let canons = Canon::all(&mapper.plan().entities, [7; 32]).expect("the entity has a key");
        let [source, target] = stores;
        let side = |store: Arc<dyn Store>, side: Side| {
            let plan = match side {
                Side::Source => &mapper.plan().source,
                Side::Target => &mapper.plan().target,
            };
            let read = Read {
                schema: self.shape.schema(side),
                columns: plan.relations[0].columns.clone(),
                ignored: plan.relations[0].ignored.clone(),
                page_rows: self.plan.page_rows,
                cut: None,
            };
            let relations = vec![RelationContext { read, group: Vec::new() }];
            SideContext { store, relations, locatable: true }
        };
        Context {
            pairing: PAIRING.to_owned(),
            leads: Leads(self.leader),
            source: side(source, Side::Source),
            target: side(target, Side::Target),
            canons,
            partition_rows: self.plan.partition_rows,
            window_rows: self.window_rows,
            share: Share::new(64 << 20),
            clock,
            mapper,
        }
    }

    /// What the engine is told.
    #[must_use]
    pub fn spec(&self) -> Spec {
        let mapper = self.mapper();
        let canon = Canon::new(&mapper.plan().entities[0], [7; 32]).expect("the entity has a key");
        let facts = |side| {
            let ranges = self.shape.layout(side) == Layout::Ranges;
            let key_field = ranges.then(|| "id".to_owned());
            SideFacts { ranges, locatable: true, key_field }
        };
        let reading = plan::reading(&facts(Side::Source), &facts(Side::Target), &["id"])
            .expect("both sides can be located");
        Spec {
            name: PAIRING.to_owned(),
            identity: mapper.identity(),
            leads: Leads(self.leader),
            reading,
            plan: self.plan.clone(),
            settle: self.settle.clone(),
            seed: self.seed,
            entities: vec![EntitySpec {
                name: mapper.plan().entities[0].name.clone(),
                fields: canon.compared().map(str::to_owned).collect(),
                version_is_time: canon.version_is_time(),
            }],
            invariants: [mapper.invariants().to_vec(), self.rules()].concat(),
            relations: <[_; 2]>::default(),
        }
    }

    fn rules(&self) -> Vec<InvariantDef> {
        let sum = InvariantDef {
            id: SUM.to_owned(),
            summary: "both sides have the same sum of amounts".to_owned(),
            severity: Severity::Critical,
            scope: Scope::Partition,
        };
        if self.rule { vec![sum] } else { Vec::new() }
    }

    fn mapper(&self) -> Arc<dyn Mapper> {
        let field = |name: &str, role, logical| Field {
            name: name.to_owned(),
            role: if self.blind == Some(name) { Role::Carried } else { role },
            logical: Some(logical),
            source: name.to_owned(),
            target: name.to_owned(),
            // Both sides keep it as text.
            rules: if logical == Logical::Decimal { vec![Rule::TextIsNumber] } else { Vec::new() },
        };
        let version = if self.versioned { Role::Version } else { Role::Carried };
        let settings = builtin::Settings {
            entity: "user".to_owned(),
            fields: vec![
                field("id", Role::Key, Logical::Integer),
                field("name", Role::Compared, Logical::Text),
                field("email", Role::Compared, Logical::Text),
                field("amount", Role::Compared, Logical::Decimal),
                field("updated", version, Logical::Timestamp),
            ],
            ignore_source: Vec::new(),
            ignore_target: Vec::new(),
        };
        let schemas = [self.shape.schema(Side::Source), self.shape.schema(Side::Target)];
        let keys = [Side::Source, Side::Target].map(|side| {
            let (column, text) = match self.shape.layout(side) {
                Layout::Ranges => ("id", "{id}"),
                Layout::Segments => ("pk", "USER#{id}"),
            };
            let template = Template::parse(text).expect("a template");
            KeyTemplate { columns: vec![(column.to_owned(), template)] }
        });
        let binding = Binding {
            pairing: PAIRING,
            source: Place { schemas: std::slice::from_ref(&schemas[0]), key: Some(&keys[0]) },
            target: Place { schemas: std::slice::from_ref(&schemas[1]), key: Some(&keys[1]) },
        };
        let mapping = BuiltIn::new(&settings, &binding).expect("the mapping fits the relations");
        Arc::new(Judging::new(Arc::new(mapping), self.invariant))
    }
}
