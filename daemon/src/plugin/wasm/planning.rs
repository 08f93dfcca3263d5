//! Checks on the plan that a plugin proposes.
//!
//! Owns what a plan must fulfil to be carried out by this version, and the words in which it is
//! refused. Refuses to guess. Invariant: a plan that passed names existing columns, known types and
//! rules, and asks for nothing that this version would silently leave out.

use crate::model::{
    EntityDef, FieldDef, InvariantDef, Logical, MappingPlan, RelationPlan, RelationSchema, Role,
    Rule, Scope, Severity, Side, SidePlan,
};
use crate::plugin::{Binding, Place, PlanIssue, may_be_version};

/// Names longer than this are refused: they travel into every event.
const NAME_BYTES: usize = 200;
/// The same for columns, which may be pointers into items.
const COLUMN_BYTES: usize = 2_000;
/// More columns than this make no group: no primary key has more.
const GROUP_COLUMNS_MAX: usize = 16;
/// More fields or columns than this are refused.
const MANY: usize = 1_000;
/// More invariants than this are refused: each of them may be broken by every pair, and told.
const INVARIANTS_MAX: usize = 64;
/// More of a partition are refused: each of them keeps a state, and is asked about every pair.
const PARTITION_INVARIANTS_MAX: usize = 16;

/// More entity types than this are refused.
const TYPES_MAX: usize = 100;

/// A plan as a plugin proposes it: words that are not looked up yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Proposal {
    pub(super) entities: Vec<ProposedEntity>,
    pub(super) source: SidePlan,
    pub(super) target: SidePlan,
}

/// An entity type as a plugin proposes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProposedEntity {
    pub(super) name: String,
    pub(super) fields: Vec<ProposedField>,
}

/// A field as a plugin proposes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProposedField {
    pub(super) name: String,
    pub(super) logical: String,
    pub(super) role: Role,
    pub(super) rules: Vec<String>,
}

/// A rule as a plugin declares it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ProposedInvariant {
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) severity: Severity,
    pub(super) scope: String,
}

/// Looks up every word of `proposal`.
pub(super) fn check(
    proposal: Proposal,
    binding: &Binding<'_>,
) -> Result<MappingPlan, Vec<PlanIssue>> {
    let mut issues = Vec::new();
    let count = proposal.entities.len();
    if count == 0 || count > TYPES_MAX {
        let what = format!("the plan has {count} entity types; it must have 1 to {TYPES_MAX}");
        issues.push(PlanIssue::new("/entities", what));
    }
    let mut entities: Vec<EntityDef> = Vec::new();
    for (index, entity) in proposal.entities.into_iter().take(TYPES_MAX).enumerate() {
        if entities.iter().any(|earlier| earlier.name == entity.name) {
            let what = format!("entity type `{}` is given twice", entity.name);
            issues.push(PlanIssue::new(format!("/entities/{index}/name"), what));
        }
        entities.push(check_entity(entity, &format!("/entities/{index}"), &mut issues));
    }
    let mut side = |side: Side, plan: SidePlan, place: Place<'_>| {
        check_side(Subject { side, place, entities: &entities }, plan, &mut issues)
    };
    let source = side(Side::Source, proposal.source, binding.source);
    let target = side(Side::Target, proposal.target, binding.target);
    if issues.is_empty() { Ok(MappingPlan { entities, source, target }) } else { Err(issues) }
}

/// Looks up the invariants that a plugin declares; what is wrong with them goes to `issues`.
pub(super) fn check_invariants(
    proposed: Vec<ProposedInvariant>,
    issues: &mut Vec<PlanIssue>,
) -> Vec<InvariantDef> {
    if proposed.len() > INVARIANTS_MAX {
        let what = format!("{} invariants; at most {INVARIANTS_MAX}", proposed.len());
        issues.push(PlanIssue::new("/invariants", what));
        return Vec::new();
    }
    let mut invariants: Vec<InvariantDef> = Vec::with_capacity(proposed.len());
    for (index, ProposedInvariant { id, summary, severity, scope }) in
        proposed.into_iter().enumerate()
    {
        let path = format!("/invariants/{index}/id");
        check_name(&id, "an invariant", &path, issues);
        if invariants.iter().any(|earlier| earlier.id == id) {
            issues.push(PlanIssue::new(path, format!("`{id}` is declared twice")));
        }
        if summary.len() > 5 * NAME_BYTES {
            let path = format!("/invariants/{index}/summary");
            issues.push(PlanIssue::new(path, format!("longer than {} bytes", 5 * NAME_BYTES)));
        }
        let known = Scope::parse(&scope);
        if known.is_none() {
            let what = format!("invariant `{id}` has the unknown scope `{scope}`");
            let help = format!("known: {}", Scope::ALL.map(Scope::as_str).join(", "));
            let path = format!("/invariants/{index}/scope");
            issues.push(PlanIssue::new(path, what).help(help));
        }
        // An unknown scope has been told; any stands in for it.
        let scope = known.unwrap_or(Scope::Pair);
        invariants.push(InvariantDef { id, summary, severity, scope });
    }
    let whole = invariants.iter().filter(|invariant| invariant.scope == Scope::Partition).count();
    if whole > PARTITION_INVARIANTS_MAX {
        let what = format!("{whole} invariants of a partition; at most {PARTITION_INVARIANTS_MAX}");
        issues.push(PlanIssue::new("/invariants", what));
    }
    invariants
}

fn check_name(name: &str, of: &str, path: &str, issues: &mut Vec<PlanIssue>) {
    if name.is_empty() || name.len() > NAME_BYTES || name.chars().any(char::is_control) {
        let what = format!("the name of {of} must have 1 to {NAME_BYTES} printable bytes");
        issues.push(PlanIssue::new(path, what));
    }
}

fn check_entity(entity: ProposedEntity, path: &str, issues: &mut Vec<PlanIssue>) -> EntityDef {
    check_name(&entity.name, "an entity type", &format!("{path}/name"), issues);
    if entity.fields.len() > MANY {
        issues.push(PlanIssue::new(format!("{path}/fields"), format!("more than {MANY} fields")));
    }
    let mut fields: Vec<FieldDef> = Vec::new();
    for (index, field) in entity.fields.into_iter().take(MANY).enumerate() {
        let path = format!("{path}/fields/{index}");
        check_name(&field.name, "a field", &format!("{path}/name"), issues);
        if fields.iter().any(|earlier| earlier.name == field.name) {
            let what = format!("field `{}` is given twice", field.name);
            issues.push(PlanIssue::new(format!("{path}/name"), what));
        }
        let logical = Logical::parse(&field.logical);
        if logical.is_none() {
            let what = format!("field `{}` has the unknown type `{}`", field.name, field.logical);
            let help = format!("known: {}", Logical::names().collect::<Vec<_>>().join(", "));
            issues.push(PlanIssue::new(format!("{path}/logical"), what).help(help));
        }
        let mut rules = Vec::with_capacity(field.rules.len().min(MANY));
        for (index, rule) in field.rules.iter().take(MANY).enumerate() {
            match Rule::parse(rule) {
                Ok(rule) => rules.push(rule),
                Err(unknown) => {
                    let path = format!("{path}/rules/{index}");
                    issues.push(PlanIssue::new(path, unknown.to_string()));
                }
            }
        }
        // An unknown type has been told; any stands in for it.
        let logical = logical.unwrap_or(Logical::Integer);
        if field.role == Role::Version && !may_be_version(logical) {
            let what = format!("version field `{}` of type {logical}", field.name);
            let help = "a version is an integer, a decimal, a timestamp or a datetime";
            issues.push(PlanIssue::new(format!("{path}/role"), what).help(help));
        }
        fields.push(FieldDef { name: field.name, logical, role: field.role, rules });
    }
    let with = |role: Role| fields.iter().filter(|field| field.role == role).count();
    if with(Role::Key) == 0 {
        let what = format!("entity type `{}` has no key field", entity.name);
        issues.push(PlanIssue::new(format!("{path}/fields"), what));
    }
    if with(Role::Version) > 1 {
        let what = format!("entity type `{}` has more than one version field", entity.name);
        issues.push(PlanIssue::new(format!("{path}/fields"), what));
    }
    EntityDef { name: entity.name, fields }
}

/// The side that a plan is checked for.
struct Subject<'a> {
    side: Side,
    place: Place<'a>,
    entities: &'a [EntityDef],
}

fn check_side(subject: Subject<'_>, plan: SidePlan, issues: &mut Vec<PlanIssue>) -> SidePlan {
    let Subject { side, place, entities } = subject;
    let SidePlan { mut relations, mapped } = plan;
    if relations.is_empty() || relations.len() > MANY {
        let what = format!("the plan reads no relation of the {side}, or more than {MANY}");
        issues.push(PlanIssue::new(format!("/{side}/relations"), what));
        return SidePlan { relations, mapped };
    }
    for index in 0..relations.len() {
        let path = format!("/{side}/relations/{index}");
        let (earlier, rest) = relations.split_at_mut(index);
        let relation = &mut rest[0];
        let Some(schema) = place.schemas.get(relation.relation) else {
            let what = format!("there is no relation {} at the {side}", relation.relation);
            issues.push(PlanIssue::new(format!("{path}/relation"), what));
            continue;
        };
        if earlier.iter().any(|other| other.relation == relation.relation) {
            let what = format!("relation `{}` is given twice", schema.relation);
            issues.push(PlanIssue::new(format!("{path}/relation"), what));
        }
        check_columns(&path, (side, schema), relation, issues);
    }
    for (at, schema) in place.schemas.iter().enumerate() {
        if relations.iter().all(|relation| relation.relation != at) {
            let what =
                format!("the plan does not read relation `{}` of the {side}", schema.relation);
            let help = "take it out of the pairing, or let the plugin read it";
            issues.push(PlanIssue::new(format!("/{side}/relations"), what).help(help));
        }
    }
    check_groups(side, place, &mut relations, issues);
    if !mapped {
        check_canonical(side, place, (&relations, entities), issues);
    }
    SidePlan { relations, mapped }
}

/// A side that is not mapped has the entities of one type in one relation.
fn check_canonical(
    side: Side,
    place: Place<'_>,
    (relations, entities): (&[RelationPlan], &[EntityDef]),
    issues: &mut Vec<PlanIssue>,
) {
    let fits = match (relations, entities) {
        ([relation], [entity]) => {
            let schema = place.schemas.get(relation.relation);
            relation.group_by.is_empty()
                && relation.columns.len() == entity.fields.len()
                && relation.columns.iter().zip(&entity.fields).all(|(name, field)| {
                    schema
                        .and_then(|schema| schema.column(name))
                        .is_none_or(|column| have_one_layout(column.logical, field.logical))
                })
        }
        _ => false,
    };
    if !fits {
        let what = format!(
            "the {side} is not to be mapped, but its columns are not the fields in order and type"
        );
        issues.push(PlanIssue::new(format!("/{side}/mapped"), what));
    }
}

/// Whether cells of one type are cells of the other. Guests are not told how wide a float is.
fn have_one_layout(one: Logical, other: Logical) -> bool {
    let float = |logical| matches!(logical, Logical::Float | Logical::Float32);
    one == other || float(one) && float(other)
}

fn check_columns(
    path: &str,
    (side, schema): (Side, &RelationSchema),
    relation: &RelationPlan,
    issues: &mut Vec<PlanIssue>,
) {
    if relation.ignored.len() > MANY || relation.ignored.iter().any(|name| name.len() > NAME_BYTES)
    {
        let what = format!("the plan must ignore at most {MANY} names of {NAME_BYTES} bytes");
        issues.push(PlanIssue::new(format!("{path}/ignored"), what));
    }
    let path = format!("{path}/columns");
    if relation.columns.is_empty() || relation.columns.len() > MANY {
        let what =
            format!("the plan must read 1 to {MANY} columns of the {side}'s `{}`", schema.relation);
        issues.push(PlanIssue::new(path, what));
        return;
    }
    if relation.columns.iter().any(|name| name.len() > COLUMN_BYTES) {
        let what = format!("a name of a column has at most {COLUMN_BYTES} bytes");
        issues.push(PlanIssue::new(path, what));
        return;
    }
    for (index, name) in relation.columns.iter().enumerate() {
        let path = format!("{path}/{index}");
        if schema.column(name).is_none() {
            let what =
                format!("the {side}'s relation `{}` has no column `{name}`", schema.relation);
            issues.push(PlanIssue::new(path.clone(), what).no_column(name, schema));
        }
        if relation.columns[..index].contains(name) {
            issues.push(PlanIssue::new(path, format!("column `{name}` is given twice")));
        }
    }
}

/// Groups of all relations of a side are of values of the same types. Groups of which each is one row
/// are none.
fn check_groups(
    side: Side,
    place: Place<'_>,
    relations: &mut [RelationPlan],
    issues: &mut Vec<PlanIssue>,
) {
    let mut first: Option<(String, Vec<Logical>)> = None;
    for (index, relation) in relations.iter().enumerate().filter(|(_, it)| !it.group_by.is_empty())
    {
        let path = format!("/{side}/relations/{index}/group-by");
        let Some(schema) = place.schemas.get(relation.relation) else { continue };
        let by = &relation.group_by;
        if by.len() > GROUP_COLUMNS_MAX {
            let what = format!("groups by {} columns; at most {GROUP_COLUMNS_MAX}", by.len());
            issues.push(PlanIssue::new(path, what));
            continue;
        }
        if (1..by.len()).any(|at| by[..at].contains(&by[at])) {
            issues.push(PlanIssue::new(path, "groups twice by the same column"));
            continue;
        }
        let columns: Option<Vec<Logical>> = relation
            .group_by
            .iter()
            .map(|at| schema.column(relation.columns.get(*at)?).map(|column| column.logical))
            .collect();
        let Some(columns) = columns else {
            issues.push(PlanIssue::new(path, "groups by a column that the plan does not read"));
            continue;
        };
        match &first {
            Some((other, types)) if *types != columns => {
                let shown = |types: &[Logical]| {
                    types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let what = format!(
                    "`{}` is grouped by {} and `{other}` by {}: equal values make a group",
                    schema.relation,
                    shown(&columns),
                    shown(types)
                );
                issues.push(PlanIssue::new(path, what));
            }
            Some(_) => {}
            None => first = Some((schema.relation.clone(), columns)),
        }
    }
    if let Some((other, _)) = &first
        && let Some(index) = relations.iter().position(|relation| relation.group_by.is_empty())
        && let Some(schema) = place.schemas.get(relations[index].relation)
    {
        let what = format!(
            "`{}` is not grouped and `{other}` is: of a side all relations are grouped, or none is",
            schema.relation
        );
        issues.push(PlanIssue::new(format!("/{side}/relations/{index}/group-by"), what));
    }
    if let [relation] = relations
        && let Some(schema) = place.schemas.get(relation.relation)
        && !schema.key.is_empty()
        && !relation.group_by.is_empty()
    {
        let grouped = |key: &crate::model::ColumnDef| {
            relation.group_by.iter().any(|at| relation.columns.get(*at) == Some(&key.name))
        };
        if schema.key_columns().all(grouped) {
            relation.group_by.clear();
        }
    }
}
