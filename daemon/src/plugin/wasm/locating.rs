//! Where a plugin says that a store keeps its entities.
//!
//! Owns the checks on located keys, and finding out which sides a plugin locates. Refuses to guess a
//! key, and what this version cannot carry out. Invariant: keys that passed have the columns of the
//! store's primary key or the first of them, without a null, each names an entity of the call, and in
//! a relation whose rows are grouped they say the group.

use super::contract::{Context, Instance, RawLocated};
use super::lift;
use super::machine::Patience;
use crate::model::{
    Batch, ColumnDef, FieldDef, Logical, MappingPlan, Moment, RelationPlan, RelationSchema, Role,
    Side, SidePlan,
};
use crate::plugin::{Access, Binding, Located, PlanIssue, PluginErrorKind};

/// Keys of an entity on one side: more are not places but a search.
const KEYS_MAX: u8 = 16;
/// Bytes of a key: no store has longer ones, and they are kept for as long as a finding is.
const KEY_BYTES: usize = 4_096;

/// Which sides the plugin locates, every entity type of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sides {
    source: bool,
    target: bool,
}

impl Sides {
    pub(super) const fn of(self, side: Side) -> bool {
        match side {
            Side::Source => self.source,
            Side::Target => self.target,
        }
    }
}

/// Asks the plugin where it would look for no entities at all: for the sides that it locates it names
/// the relations and how rows are found there.
pub(super) fn sides(
    (instance, mut patience): (&mut dyn Instance, Patience),
    binding: &Binding<'_>,
    plan: &MappingPlan,
    issues: &mut Vec<PlanIssue>,
) -> Result<Sides, PluginErrorKind> {
    let mut sides = Sides::default();
    for side in [Side::Source, Side::Target] {
        let (place, SidePlan { relations, .. }) = match side {
            Side::Source => (binding.source, &plan.source),
            Side::Target => (binding.target, &plan.target),
        };
        let relations = Relations { schemas: place.schemas, plans: relations };
        let mut located = Vec::new();
        for (number, entity) in (0..).zip(&plan.entities) {
            let fields = &entity.fields;
            let none = Batch {
                rows: 0,
                columns: fields.iter().map(|field| field.logical.column(0).finish()).collect(),
            };
            let context = Context { pairing: binding.pairing, as_of: Moment(0) };
            let began = patience.begin(0)?;
            let told = instance.locate(context, side, number, &none)?;
            patience.end(began, instance.take_waited());
            let Some(raw) = told else { continue };
            let known = relations.located(raw, 0).map_err(PluginErrorKind::Malformed)?;
            for at in &known {
                if let Some(what) = relations.groupless(at) {
                    let what =
                        format!("entities `{}` are located in the {side} {what}", entity.name);
                    let help = "locate them by keys that say the group";
                    issues.push(PlanIssue::new(format!("/{side}/locating"), what).help(help));
                }
            }
            located.push((&entity.name, !known.is_empty()));
        }
        let all = located.iter().all(|(_, known)| *known) && !located.is_empty();
        if !all && located.iter().any(|(_, known)| *known) {
            let lacking: Vec<&str> =
                located.iter().filter(|(_, known)| !known).map(|(name, _)| name.as_str()).collect();
            let what = format!(
                "the plugin locates entities in the {side}, but not those of type {}",
                lacking.join(", ")
            );
            let help = "locate the entities of every type of a side, or none";
            issues.push(PlanIssue::new(format!("/{side}/locating"), what).help(help));
        }
        match side {
            Side::Source => sides.source = all,
            Side::Target => sides.target = all,
        }
    }
    Ok(sides)
}

/// The relations of a side, for the keys that are located there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relations<'a> {
    pub(super) schemas: &'a [RelationSchema],
    pub(super) plans: &'a [RelationPlan],
}

impl Relations<'_> {
    /// The keys of a call with `entities` entities, if they are what the contract allows. The error
    /// holds no values.
    pub(super) fn located(
        self,
        raw: Vec<RawLocated>,
        entities: usize,
    ) -> Result<Vec<Located>, String> {
        let mut counts = vec![0u8; entities];
        let mut located: Vec<Located> = Vec::new();
        for raw in raw {
            let (number, count) = (raw.relation, raw.from_entity.len());
            let known = self.plans.iter().position(|plan| plan.relation == number as usize);
            let Some(relation) = known else {
                return Err(format!("keys of relation {number}, which is not in the plan"));
            };
            let schema = &self.schemas[self.plans[relation].relation];
            let (access, fields) = access(&raw, schema)?;
            if count != raw.keys.rows {
                return Err(format!("{count} entities for {} keys", raw.keys.rows));
            }
            for entity in &raw.from_entity {
                let Some(count) = counts.get_mut(*entity as usize) else {
                    return Err(format!("a key of entity {entity} of {entities}"));
                };
                *count += 1;
                if *count > KEYS_MAX {
                    return Err(format!("more than {KEYS_MAX} keys for entity {entity}"));
                }
            }
            let (keys, from_entity) = whole(&raw, &fields)?;
            let width = keys.columns.len();
            let other = located.iter_mut().find(|other| {
                (other.relation, other.access) == (relation, access)
                    && other.keys.columns.len() == width
            });
            let Some(other) = other else {
                located.push(Located { relation, access, keys, from_entity });
                continue;
            };
            // Of integers every batch chooses its own layout.
            other.keys = Batch::concat(&[&other.keys, &keys]);
            other.from_entity.extend(from_entity);
        }
        Ok(located)
    }

    /// What is wrong with keys of a relation whose rows are grouped, if they do not say the group.
    fn groupless(self, located: &Located) -> Option<String> {
        let plan = &self.plans[located.relation];
        let schema = &self.schemas[plan.relation];
        let mut known: Vec<&str> = schema
            .key_columns()
            .take(located.keys.columns.len())
            .map(|column| column.name.as_str())
            .collect();
        if located.access == (Access::Query { prefix: true }) {
            known.pop();
        }
        let group = plan.group_by.iter().map(|at| plan.columns[*at].as_str());
        let lacking: Vec<&str> = group.filter(|column| !known.contains(column)).collect();
        (!lacking.is_empty()).then(|| {
            format!(
                "by `{}` of `{}`, which does not say the group: {}",
                known.join("`, `"),
                schema.relation,
                lacking.join(", ")
            )
        })
    }
}

/// How rows are found by keys that a plugin gave, and the columns of these.
fn access(raw: &RawLocated, schema: &RelationSchema) -> Result<(Access, Vec<FieldDef>), String> {
    let key: Vec<FieldDef> = schema.key_columns().map(field).collect();
    match raw.access.as_str() {
        "get" => Ok((Access::Get, key)),
        "query" => {
            let width = raw.keys.columns.len();
            if width == 0 || width > key.len() {
                return Err(format!(
                    "a query by {width} columns of a key of {}; it takes the first ones",
                    key.len()
                ));
            }
            let textual =
                matches!(key[width - 1].logical, Logical::Text | Logical::Binary | Logical::Enum);
            let fields = key[..width].to_vec();
            Ok(match (width == key.len(), textual) {
                (true, false) => (Access::Get, fields),
                (whole, _) => (Access::Query { prefix: whole }, fields),
            })
        }
        // Which one is not said: it may be a value of a row.
        _ => Err("keys for an access that is not known; known are get, query".to_owned()),
    }
}

/// The columns of a relation's primary key, as fields to be checked by.
fn field(column: &ColumnDef) -> FieldDef {
    FieldDef {
        name: column.name.clone(),
        logical: column.logical,
        role: Role::Key,
        rules: Vec::new(),
    }
}

/// The keys that are whole, and their entities: a key with a null is none.
fn whole(raw: &RawLocated, fields: &[FieldDef]) -> Result<(Batch, Vec<usize>), String> {
    let unfit = lift::check(&raw.keys, fields)?;
    let length = |row: usize| {
        let cells = raw.keys.columns.iter().filter_map(|column| column.bytes(row));
        cells.map(<[u8]>::len).sum::<usize>()
    };
    if let Some(length) = (0..raw.keys.rows).map(length).find(|length| *length > KEY_BYTES) {
        return Err(format!("a key of {length} bytes; at most {KEY_BYTES}"));
    }
    let is_key = |row: &usize| {
        raw.keys.columns.iter().all(|column| column.is_valid(*row))
            && unfit.binary_search_by_key(row, |(unfit, _)| *unfit).is_err()
    };
    let kept: Vec<usize> = (0..raw.keys.rows).filter(is_key).collect();
    let from_entity = kept.iter().map(|row| raw.from_entity[*row] as usize).collect();
    Ok((raw.keys.take(&kept), from_entity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnBuilder};

    fn schema(columns: &[(&str, Logical)]) -> RelationSchema {
        let column = |(name, logical): &(&str, Logical)| ColumnDef {
            name: (*name).to_owned(),
            logical: *logical,
            nullable: false,
        };
        RelationSchema {
            relation: "items".to_owned(),
            columns: columns.iter().map(column).collect(),
            key: (0..columns.len()).collect(),
            open: false,
            partial: false,
        }
    }

    fn plan(group_by: &[usize]) -> RelationPlan {
        RelationPlan {
            relation: 0,
            columns: vec!["pk".to_owned(), "sk".to_owned()],
            ignored: Vec::new(),
            group_by: group_by.to_vec(),
        }
    }

    fn texts(cells: &[Option<&str>]) -> Column {
        let mut column = ColumnBuilder::bytes(cells.len());
        for cell in cells {
            match cell {
                Some(text) => column.push_bytes(text.as_bytes()),
                None => column.push_null(),
            }
        }
        column.finish()
    }

    fn raw(keys: &[Option<&str>], from_entity: &[u32]) -> RawLocated {
        let keys = Batch { rows: keys.len(), columns: vec![texts(keys)] };
        RawLocated {
            relation: 0,
            access: "get".to_owned(),
            keys,
            from_entity: from_entity.to_vec(),
        }
    }

    fn query(columns: &[&[Option<&str>]]) -> RawLocated {
        let rows = columns.first().map_or(0, |column| column.len());
        RawLocated {
            relation: 0,
            access: "query".to_owned(),
            keys: Batch { rows, columns: columns.iter().map(|column| texts(column)).collect() },
            from_entity: (0..).take(rows).collect(),
        }
    }

    fn located(
        schema: &RelationSchema,
        raw: Vec<RawLocated>,
        entities: usize,
    ) -> Result<Vec<Located>, String> {
        let relations = Relations { schemas: std::slice::from_ref(schema), plans: &[plan(&[])] };
        relations.located(raw, entities)
    }

    #[test]
    fn none_one_and_many_keys_are_kept_with_their_entities() {
        let schema = schema(&[("pk", Logical::Text)]);
        let both = vec![raw(&[Some("a"), None, Some("b")], &[0, 1, 2]), raw(&[Some("c")], &[0])];
        let found = located(&schema, both, 3).unwrap();
        let [found] = found.as_slice() else { panic!("one relation and one access: {found:?}") };
        assert_eq!(found.keys.columns, [texts(&[Some("a"), Some("b"), Some("c")])]);
        assert_eq!(found.from_entity, [0, 2, 0]);
        assert_eq!(located(&schema, Vec::new(), 3).unwrap(), []);
    }

    #[test]
    fn queries_are_by_the_first_columns_and_in_the_last_one_by_a_prefix() {
        let schema = schema(&[("pk", Logical::Text), ("sk", Logical::Text)]);
        let (pk, sk) = (&[Some("SHOP"), None][..], &[Some("ORDER#7@"), Some("ORDER#8@")][..]);
        let found = located(&schema, vec![query(&[pk]), query(&[pk, sk])], 2).unwrap();
        let shown: Vec<_> = found.iter().map(|it| (it.access, it.keys.rows)).collect();
        let by = |prefix| Access::Query { prefix };
        assert_eq!(shown, [(by(false), 1), (by(true), 1)]);
        let wide = located(&schema, vec![query(&[pk, sk, sk])], 2).unwrap_err();
        assert_eq!(wide, "a query by 3 columns of a key of 2; it takes the first ones");
        let whole = self::schema(&[("id", Logical::Integer)]);
        let mut ids = ColumnBuilder::int64(1);
        ids.push_i64(7);
        let keys = Batch { rows: 1, columns: vec![ids.finish()] };
        let one = RawLocated { keys, ..query(&[&[None]]) };
        assert_eq!(located(&whole, vec![one], 1).unwrap()[0].access, Access::Get);
    }

    #[test]
    fn keys_of_grouped_rows_must_say_the_group() {
        let schema = schema(&[("pk", Logical::Text), ("sk", Logical::Text)]);
        let groupless = |group_by: &[usize], raw: RawLocated| {
            let plans = [plan(group_by)];
            let relations = Relations { schemas: std::slice::from_ref(&schema), plans: &plans };
            relations.groupless(&relations.located(vec![raw], 0).unwrap()[0])
        };
        assert_eq!(groupless(&[0], query(&[&[]])), None);
        assert_eq!(groupless(&[0], query(&[&[], &[]])), None);
        let prefix = groupless(&[0, 1], query(&[&[], &[]]));
        let told = "by `pk` of `items`, which does not say the group: sk";
        assert_eq!(prefix.as_deref(), Some(told));
    }

    #[test]
    fn what_the_contract_forbids_is_refused_with_its_place() {
        let schema = schema(&[("pk", Logical::Text)]);
        let one = || raw(&[Some("a")], &[0]);
        let integers = || {
            let mut column = ColumnBuilder::uint64(1);
            column.push_u64(1);
            let keys = Batch { rows: 1, columns: vec![column.finish()] };
            RawLocated { keys, ..one() }
        };
        let text = |raw| located(&schema, raw, 1).unwrap_err();
        let other = RawLocated { relation: 1, ..one() };
        assert_eq!(text(vec![other]), "keys of relation 1, which is not in the plan");
        let other = RawLocated { access: "scan".to_owned(), ..one() };
        assert_eq!(text(vec![other]), "keys for an access that is not known; known are get, query");
        assert_eq!(text(vec![raw(&[Some("a")], &[])]), "0 entities for 1 keys");
        assert_eq!(text(vec![raw(&[Some("a")], &[1])]), "a key of entity 1 of 1");
        let many: Vec<_> = vec![Some("a"); 17];
        assert_eq!(text(vec![raw(&many, &[0; 17])]), "more than 16 keys for entity 0");
        let halves = || vec![raw(&many[..9], &[0; 9])];
        assert_eq!(text([halves(), halves()].concat()), "more than 16 keys for entity 0");
        // However few the others have.
        let many = located(&schema, vec![raw(&many, &[0; 17])], 2);
        assert_eq!(many.unwrap_err(), "more than 16 keys for entity 0");
        let long = "x".repeat(4_097);
        let long = text(vec![raw(&[Some(&long)], &[0])]);
        assert_eq!(long, "a key of 4097 bytes; at most 4096");
        let wrong = "column `pk`: layout uint64 where the field is of type text";
        assert_eq!(text(vec![integers()]), wrong);
    }

    #[test]
    fn whole_numbers_of_any_layout_are_keys_of_one_relation() {
        let schema = schema(&[("id", Logical::Integer)]);
        let told = |column: ColumnBuilder| RawLocated {
            keys: Batch { rows: 1, columns: vec![column.finish()] },
            ..raw(&[None], &[0])
        };
        let (mut signed, mut unsigned) = (ColumnBuilder::int64(1), ColumnBuilder::uint64(1));
        signed.push_i64(-1);
        unsigned.push_u64(u64::MAX);
        let found = located(&schema, vec![told(signed), told(unsigned)], 1).unwrap();
        let [found] = found.as_slice() else { panic!("one relation and one access: {found:?}") };
        let keys: Vec<_> = (0..2).map(|row| found.keys.columns[0].whole(row)).collect();
        assert_eq!(keys, [Some(-1), Some(i128::from(u64::MAX))]);
    }
}
