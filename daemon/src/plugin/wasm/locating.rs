//! Where a plugin says that a store keeps its entities.
//!
//! Owns the checks on located keys, and finding out which sides a plugin locates. Refuses to guess a
//! key, and what this version cannot carry out. Invariant: keys that passed have the columns of the
//! store's primary key, without a null, and each names an entity of the call.

use super::lift;
use super::v0_1::{Context, Instance, RawLocated};
use crate::model::{Batch, FieldDef, MappingPlan, Moment, RelationSchema, Role, Side};
use crate::plugin::{Binding, Located, PlanIssue, PluginErrorKind};

/// Keys of a call for each of its entities, on average: more are not places but a search.
const KEYS_MAX: usize = 16;

/// Which sides the plugin locates.
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
/// the relation and the access.
pub(super) fn sides(
    instance: &mut Instance,
    binding: &Binding<'_>,
    plan: &MappingPlan,
    issues: &mut Vec<PlanIssue>,
) -> Result<Sides, PluginErrorKind> {
    let fields = &plan.entities[0].fields;
    let none = Batch {
        rows: 0,
        columns: fields.iter().map(|field| field.logical.column(0).finish()).collect(),
    };
    let mut sides = Sides::default();
    for side in [Side::Source, Side::Target] {
        let schema = match side {
            Side::Source => binding.source.schema,
            Side::Target => binding.target.schema,
        };
        let context = Context { pairing: binding.pairing, as_of: Moment(0) };
        let Some(raw) = instance.locate(context, side, &none)? else { continue };
        let locates = !raw.is_empty();
        if let Some(wide) = raw.iter().find(|raw| raw.access == "query") {
            let what = format!(
                "entities are located in the {side} by query, on relation {}; this version gets rows \
                 by their full primary keys",
                wide.relation
            );
            let help = "locate them by `get`, or give the pairing a key template for this side";
            issues.push(PlanIssue::new(format!("/{side}/locating"), what).help(help));
            continue;
        }
        located(raw, 0, &key_fields(schema)).map_err(PluginErrorKind::Malformed)?;
        match side {
            Side::Source => sides.source = locates,
            Side::Target => sides.target = locates,
        }
    }
    Ok(sides)
}

/// The columns of a relation's primary key, as fields to be checked by.
pub(super) fn key_fields(schema: &RelationSchema) -> Vec<FieldDef> {
    let field = |column: &crate::model::ColumnDef| FieldDef {
        name: column.name.clone(),
        logical: column.logical,
        role: Role::Key,
        rules: Vec::new(),
    };
    schema.key_columns().map(field).collect()
}

/// The keys of a call with `entities` entities, if they are what the contract allows. The error holds
/// no values.
pub(super) fn located(
    raw: Vec<RawLocated>,
    entities: usize,
    key: &[FieldDef],
) -> Result<Located, String> {
    let all: usize = raw.iter().map(|raw| raw.keys.rows).sum();
    if all > entities.saturating_mul(KEYS_MAX) {
        return Err(format!("{all} keys for {entities} entities; at most {KEYS_MAX} for each"));
    }
    let mut located = Located::default();
    for RawLocated { relation, access, keys, from_entity } in raw {
        if relation != 0 {
            return Err(format!("keys of relation {relation}, which is not in the plan"));
        }
        if access != "get" {
            return Err(format!("keys for access `{access}`; it was `get` at start"));
        }
        if from_entity.len() != keys.rows {
            return Err(format!("{} entities for {} keys", from_entity.len(), keys.rows));
        }
        if let Some(entity) = from_entity.iter().find(|entity| **entity as usize >= entities) {
            return Err(format!("a key of entity {entity} of {entities}"));
        }
        let unfit = lift::check(&keys, key)?;
        let is_key = |row: &usize| {
            keys.columns.iter().all(|column| column.is_valid(*row))
                && unfit.binary_search_by_key(row, |(unfit, _)| *unfit).is_err()
        };
        let kept: Vec<usize> = (0..keys.rows).filter(is_key).collect();
        let keys = keys.take(&kept);
        let layouts =
            |batch: &Batch| batch.columns.iter().map(|it| it.values.layout()).collect::<Vec<_>>();
        if !located.keys.columns.is_empty() && layouts(&located.keys) != layouts(&keys) {
            return Err("keys of one relation in several layouts".to_owned());
        }
        located.keys.append(&keys);
        located.from_entity.extend(kept.iter().map(|row| from_entity[*row] as usize));
    }
    if located.keys.columns.is_empty() {
        located.keys.columns = key.iter().map(|field| field.logical.column(0).finish()).collect();
    }
    Ok(located)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnBuilder, Logical};

    fn key(name: &str, logical: Logical) -> FieldDef {
        FieldDef { name: name.to_owned(), logical, role: Role::Key, rules: Vec::new() }
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

    #[test]
    fn none_one_and_many_keys_are_kept_with_their_entities() {
        let fields = [key("pk", Logical::Text)];
        let found = located(
            vec![raw(&[Some("a"), None, Some("b")], &[0, 1, 2]), raw(&[Some("c")], &[0])],
            3,
            &fields,
        );
        let found = found.unwrap();
        assert_eq!(found.keys.columns, [texts(&[Some("a"), Some("b"), Some("c")])]);
        assert_eq!(found.from_entity, [0, 2, 0]);
        let nothing = located(Vec::new(), 3, &fields).unwrap();
        assert_eq!((nothing.keys.rows, nothing.keys.columns.len()), (0, 1));
    }

    #[test]
    fn what_the_contract_forbids_is_refused_with_its_place() {
        let fields = [key("pk", Logical::Text)];
        let one = || raw(&[Some("a")], &[0]);
        let integers = || {
            let mut column = ColumnBuilder::uint64(1);
            column.push_u64(1);
            let keys = Batch { rows: 1, columns: vec![column.finish()] };
            RawLocated { keys, ..one() }
        };
        let signed = || {
            let mut column = ColumnBuilder::int64(1);
            column.push_i64(1);
            let keys = Batch { rows: 1, columns: vec![column.finish()] };
            RawLocated { keys, ..one() }
        };
        let text = |raw| located(raw, 1, &fields).unwrap_err();
        let other = RawLocated { relation: 1, ..one() };
        assert_eq!(text(vec![other]), "keys of relation 1, which is not in the plan");
        let other = RawLocated { access: "scan".to_owned(), ..one() };
        assert_eq!(text(vec![other]), "keys for access `scan`; it was `get` at start");
        assert_eq!(text(vec![raw(&[Some("a")], &[])]), "0 entities for 1 keys");
        assert_eq!(text(vec![raw(&[Some("a")], &[1])]), "a key of entity 1 of 1");
        let many: Vec<_> = vec![Some("a"); 17];
        assert_eq!(text(vec![raw(&many, &[0; 17])]), "17 keys for 1 entities; at most 16 for each");
        let wrong = "column `pk`: layout uint64 where the field is of type text";
        assert_eq!(text(vec![integers()]), wrong);
        let fields = [key("id", Logical::Integer)];
        let found = located(vec![integers(), signed()], 1, &fields);
        assert_eq!(found.unwrap_err(), "keys of one relation in several layouts");
    }
}
