//! Checks on the plan that a plugin proposes.
//!
//! Owns what a plan must fulfil to be carried out by this version, and the words in which it is
//! refused. Refuses to guess. Invariant: a plan that passed names existing columns, known types and
//! rules, and asks for nothing that this version would silently leave out.

use crate::model::{
    EntityDef, FieldDef, InvariantDef, Logical, MappingPlan, RelationPlan, Role, Rule, Scope,
    Severity, Side, SidePlan,
};
use crate::plugin::{Binding, Place, PlanIssue, may_be_version};

/// Names longer than this are refused: they travel into every event.
const NAME_BYTES: usize = 200;
/// More fields, columns or invariants than this are refused.
const MANY: usize = 1_000;

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
    if count != 1 {
        let what = format!("the plan has {count} entity types; this version supports one");
        issues.push(PlanIssue::new("/entities", what));
    }
    let entities: Vec<EntityDef> = proposal
        .entities
        .into_iter()
        .take(MANY)
        .enumerate()
        .map(|(index, entity)| check_entity(entity, &format!("/entities/{index}"), &mut issues))
        .collect();
    let mut side = |side: Side, plan: SidePlan, place: Place<'_>| {
        check_side(Subject { side, place, entity: entities.first() }, plan, &mut issues)
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
    if proposed.len() > MANY {
        issues.push(PlanIssue::new("/invariants", format!("more than {MANY} invariants")));
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
    entity: Option<&'a EntityDef>,
}

fn check_side(subject: Subject<'_>, plan: SidePlan, issues: &mut Vec<PlanIssue>) -> SidePlan {
    let Subject { side, place, entity } = subject;
    let count = plan.relations.len();
    let mut relations = plan.relations;
    if count != 1 {
        let what = format!(
            "the plan reads {count} relations of the {side}; this version supports one a side"
        );
        issues.push(PlanIssue::new(format!("/{side}/relations"), what));
        return SidePlan { relations, mapped: plan.mapped };
    }
    let relation = &mut relations[0];
    if relation.relation != 0 {
        let what = format!("there is no relation {} at the {side}", relation.relation);
        issues.push(PlanIssue::new(format!("/{side}/relations/0/relation"), what));
    }
    check_columns(side, place, relation, issues);
    check_groups(side, place, relation, issues);
    if !plan.mapped
        && let Some(entity) = entity
    {
        let fits = relation.columns.len() == entity.fields.len()
            && relation.columns.iter().zip(&entity.fields).all(|(name, field)| {
                place.schema.column(name).is_none_or(|column| column.logical == field.logical)
            });
        if !fits {
            let what = format!(
                "the {side} is not to be mapped, but its columns are not the fields in order and type"
            );
            issues.push(PlanIssue::new(format!("/{side}/mapped"), what));
        }
    }
    SidePlan { relations, mapped: plan.mapped }
}

fn check_columns(
    side: Side,
    place: Place<'_>,
    relation: &RelationPlan,
    issues: &mut Vec<PlanIssue>,
) {
    let path = format!("/{side}/relations/0/columns");
    if relation.columns.is_empty() || relation.columns.len() > MANY {
        let what = format!("the plan must read 1 to {MANY} columns of the {side}");
        issues.push(PlanIssue::new(path, what));
        return;
    }
    if relation.ignored.len() > MANY || relation.ignored.iter().any(|name| name.len() > NAME_BYTES)
    {
        let what = format!("the plan must ignore at most {MANY} names of {NAME_BYTES} bytes");
        issues.push(PlanIssue::new(format!("/{side}/relations/0/ignored"), what));
    }
    let known = || place.schema.columns.iter().map(|column| column.name.as_str());
    for (index, name) in relation.columns.iter().enumerate() {
        let path = format!("{path}/{index}");
        if place.schema.column(name).is_none() {
            let what =
                format!("the {side}'s relation `{}` has no column `{name}`", place.schema.relation);
            issues.push(PlanIssue::new(path.clone(), what).nearest(name, known()));
        }
        if relation.columns[..index].contains(name) {
            issues.push(PlanIssue::new(path, format!("column `{name}` is given twice")));
        }
    }
}

/// Groups of which each is one row are none.
fn check_groups(
    side: Side,
    place: Place<'_>,
    relation: &mut RelationPlan,
    issues: &mut Vec<PlanIssue>,
) {
    let path = format!("/{side}/relations/0/group-by");
    let grouped: Option<Vec<&String>> =
        relation.group_by.iter().map(|column| relation.columns.get(*column)).collect();
    match grouped {
        None => issues.push(PlanIssue::new(path, "groups by a column that the plan does not read")),
        Some(columns) if columns.is_empty() => {}
        Some(columns) => {
            let single = place.schema.key_columns().all(|key| columns.contains(&&key.name));
            if single && !place.schema.key.is_empty() {
                relation.group_by.clear();
            } else {
                let what = format!(
                    "the plan groups rows of the {side}; this version supports a row a group"
                );
                issues.push(PlanIssue::new(path, what));
            }
        }
    }
}
