//! The built-in mapping: columns selected and renamed, values put into declared types.
//!
//! Owns its settings and the mapping itself. Refuses anything that needs code: that is a plugin.
//! Invariant: a value is put into another type only where that loses nothing; else the row is
//! rejected.
//!
//! The type of a field is the declared one; else that of the source's column, or of the target's
//! where the source's is dynamically typed, but a float where one side's numbers are floats. A field of
//! which one side is dynamically typed is compared as such (`value`), so that absent and null stay two
//! things, unless its rules say that they are the same. Which cells are values of which type is the
//! table of `types`.
//!
//! A column of bits is binary. Declared as boolean, a single bit is taken as one; more of them are no
//! number here, which takes a plugin.

mod convert;
mod types;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::convert::Conversion;
use super::identity::{Origin, identity};
use super::{
    Binding, Located, Locators, Mapped, Mapper, Output, PairViolation, Pairs, Place, PlanIssue,
    PluginError, PluginErrorKind, Rows, Session, Tallied, Tally, may_be_version,
};
use crate::model::{
    Batch, ColumnDef, EntityDef, FieldDef, InvariantDef, Logical, MappingIdentity, MappingPlan,
    Moment, RelationPlan, Role, Rule, Side, SidePlan, Standing,
};

/// A built-in mapping of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Name of the entity type.
    pub entity: String,
    /// Its fields, in the order of the digest.
    pub fields: Vec<Field>,
    /// Columns or attributes of the source that are left out on purpose.
    pub ignore_source: Vec<String>,
    /// Columns or attributes of the target that are left out on purpose.
    pub ignore_target: Vec<String>,
}

/// A field of the entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What its values mean; none: what the source's column says, else the target's.
    pub logical: Option<Logical>,
    /// The source's column, or a JSON pointer into its item.
    pub source: String,
    /// The target's column, or a JSON pointer into its item.
    pub target: String,
    /// Declared equivalences.
    pub rules: Vec<Rule>,
}

/// The built-in mapping, bound to a pairing.
#[derive(Clone, Debug)]
pub struct BuiltIn(Arc<Bound>);

#[derive(Debug)]
struct Bound {
    plan: MappingPlan,
    identity: MappingIdentity,
    source: Vec<Step>,
    target: Vec<Step>,
    locators: Locators,
}

/// How one field is made of one side's rows.
#[derive(Clone, Debug)]
struct Step {
    field: String,
    /// Position among the columns that the plan asks for.
    column: usize,
    conversion: Conversion,
}

/// What is known of one side while its plan is made.
struct Draft<'a> {
    side: Side,
    place: Place<'a>,
    ignored: &'a [String],
    columns: Vec<String>,
    steps: Vec<Step>,
}

impl BuiltIn {
    /// Binds the mapping to a pairing.
    ///
    /// # Errors
    /// Everything that does not fit, at once. Paths are JSON pointers into the mapping's table
    /// (`/fields/<n>/...`), or `/source/key/...` and `/target/key/...` for key templates.
    pub fn new(settings: &Settings, binding: &Binding<'_>) -> Result<Self, Vec<PlanIssue>> {
        let mut issues = Vec::new();
        let mut source = Draft::new(Side::Source, binding.source, &settings.ignore_source);
        let mut target = Draft::new(Side::Target, binding.target, &settings.ignore_target);
        let mut fields = Vec::with_capacity(settings.fields.len());
        for (index, field) in settings.fields.iter().enumerate() {
            let path = format!("/fields/{index}");
            if settings.fields[..index].iter().any(|earlier| earlier.name == field.name) {
                let what = format!("field `{}` is given twice", field.name);
                issues.push(PlanIssue::new(format!("{path}/name"), what));
            }
            let columns = (
                source.column(&format!("{path}/source"), &field.source, &mut issues),
                target.column(&format!("{path}/target"), &field.target, &mut issues),
            );
            let (Some(at_source), Some(at_target)) = columns else { continue };
            let (to, dynamic) = canonical(field, at_source.logical, at_target.logical);
            if field.role == Role::Version && !may_be_version(to) {
                let what = format!("field `{}` of type {to} cannot be a version", field.name);
                let help = "declare its type: a number or a time";
                issues.push(PlanIssue::new(format!("{path}/role"), what).help(help));
            }
            let conversion = |from| conversion(field, from, (to, dynamic));
            source.step(&path, field, conversion(at_source.logical), &mut issues);
            target.step(&path, field, conversion(at_target.logical), &mut issues);
            fields.push(FieldDef {
                name: field.name.clone(),
                logical: if dynamic { Logical::Value } else { to },
                role: field.role,
                rules: field.rules.clone(),
            });
        }
        if !settings.fields.iter().any(|field| field.role == Role::Key) {
            let issue = PlanIssue::new("/fields", "no field is a key");
            issues.push(issue.help("give the fields that identify an entity the role `key`"));
        }
        let versions = settings.fields.iter().filter(|field| field.role == Role::Version);
        if versions.count() > 1 {
            issues.push(PlanIssue::new("/fields", "more than one field is a version"));
        }
        source.check_ignored(&mut issues);
        target.check_ignored(&mut issues);
        for (side, place) in [(Side::Source, binding.source), (Side::Target, binding.target)] {
            if place.schemas.len() > 1 {
                let what = "the built-in mapping takes one relation a side";
                let issue = PlanIssue::new(format!("/{side}/relations"), what);
                issues.push(issue.help("name one `relation`, or join them in a plugin"));
            }
        }
        let entities = vec![EntityDef { name: settings.entity.clone(), fields }];
        let locators = if issues.is_empty() {
            Some(Locators::new(&entities, binding, &mut issues))
        } else {
            None
        };
        let Some(locators) = locators.filter(|_| issues.is_empty()) else { return Err(issues) };
        let plan = MappingPlan { entities, source: source.plan(), target: target.plan() };
        // What the columns are counts, too: a column that changed its type is mapped otherwise.
        let config = format!("{settings:?} {:?} {:?}", source.steps, target.steps);
        let origin = Origin { code: "built-in", config: &config, contract: "1" };
        Ok(Self(Arc::new(Bound {
            identity: identity(origin, &plan),
            plan,
            source: source.steps,
            target: target.steps,
            locators,
        })))
    }
}

impl Bound {
    fn map(&self, side: Side, rows: &Batch) -> Mapped {
        let (steps, plan) = match side {
            Side::Source => (&self.source, &self.plan.source),
            Side::Target => (&self.target, &self.plan.target),
        };
        let mut rejected: Vec<(usize, String)> = Vec::new();
        let entities = if plan.mapped {
            let columns = steps.iter().map(|step| {
                step.conversion.convert(&rows.columns[step.column], |row, loss| {
                    rejected.push((row, format!("field `{}`: {loss}", step.field)));
                })
            });
            Batch { rows: rows.rows, columns: columns.collect() }
        } else {
            rows.clone()
        };
        // Stable: the first field that is in the way comes first.
        rejected.sort_by_key(|(row, _)| *row);
        rejected.dedup_by_key(|(row, _)| *row);
        let (from_group, entities) = if rejected.is_empty() {
            ((0..rows.rows).collect(), entities)
        } else {
            let out: BTreeSet<usize> = rejected.iter().map(|(row, _)| *row).collect();
            let kept: Vec<usize> = (0..rows.rows).filter(|row| !out.contains(row)).collect();
            let entities = entities.take(&kept);
            (kept, entities)
        };
        let standing = vec![Standing::Present; entities.rows];
        let outputs = vec![Output { entity: 0, entities, from_group, standing }];
        Mapped { outputs, rejected, failed: None }
    }
}

impl Mapper for BuiltIn {
    fn identity(&self) -> MappingIdentity {
        self.0.identity
    }

    fn plan(&self) -> &MappingPlan {
        &self.0.plan
    }

    fn invariants(&self) -> &[InvariantDef] {
        &[]
    }

    fn locates(&self, side: Side) -> bool {
        self.0.locators.of(side).is_some()
    }

    fn identifies(&self) -> bool {
        false
    }

    fn begin(&self, _as_of: Moment) -> Result<Box<dyn Session>, PluginError> {
        Ok(Box::new(BuiltInSession(Arc::clone(&self.0))))
    }
}

struct BuiltInSession(Arc<Bound>);

impl Session for BuiltInSession {
    fn map(&mut self, side: Side, rows: &Rows<'_>) -> Result<Mapped, PluginError> {
        match rows.inputs.as_slice() {
            [input] => Ok(self.0.map(side, &input.rows)),
            _ => {
                let what = "rows of several relations, of which it maps one".to_owned();
                Err(self.error("map-batch", PluginErrorKind::Malformed(what)))
            }
        }
    }

    fn locate(
        &mut self,
        side: Side,
        _entity: usize,
        entities: &Batch,
    ) -> Result<Vec<Located>, PluginError> {
        self.0.locators.locate(side, entities).map_err(|kind| self.error("locate", kind))
    }

    fn keys_of(
        &mut self,
        _side: Side,
        _relation: usize,
        _keys: &Batch,
    ) -> Result<Vec<Output>, PluginError> {
        Ok(Vec::new())
    }

    fn check_pairs(&mut self, _pairs: &Pairs<'_>) -> Result<Vec<PairViolation>, PluginError> {
        Ok(Vec::new())
    }

    fn tally(&mut self, _invariant: usize, _tally: &Tally<'_>) -> Result<Tallied, PluginError> {
        Ok(Tallied { state: Vec::new(), violations: Vec::new() })
    }
}

impl BuiltInSession {
    fn error(&self, function: &'static str, kind: PluginErrorKind) -> PluginError {
        let mut digest = self.0.identity.to_string();
        digest.truncate(12);
        PluginError::new("built-in".to_owned(), digest, function, kind)
    }
}

/// How cells of type `from` become those of a field.
fn conversion(field: &Field, from: Logical, (to, dynamic): (Logical, bool)) -> Conversion {
    Conversion {
        from,
        to,
        declared: field.logical.is_some(),
        dynamic,
        compared: field.role == Role::Compared,
        rules: field.rules.clone(),
    }
}

/// The type of a field's values, and whether its cells are dynamically typed.
fn canonical(field: &Field, source: Logical, target: Logical) -> (Logical, bool) {
    let to = match field.logical {
        // A column of 32-bit floats holds no other ones, whatever the field is called.
        Some(Logical::Float) if [source, target].contains(&Logical::Float32) => Logical::Float32,
        Some(declared) => declared,
        None => types::common(source, target),
    };
    let crosses = field.rules.iter().any(|rule| rule.crosses_types());
    let untyped = source == Logical::Value || target == Logical::Value;
    let dynamic = to == Logical::Value
        || field.role == Role::Compared
            && (crosses || untyped && !field.rules.contains(&Rule::AbsentIsNull));
    (to, dynamic)
}

impl<'a> Draft<'a> {
    fn new(side: Side, place: Place<'a>, ignored: &'a [String]) -> Self {
        Self { side, place, ignored, columns: Vec::new(), steps: Vec::new() }
    }

    fn column(&self, path: &str, name: &str, issues: &mut Vec<PlanIssue>) -> Option<ColumnDef> {
        let schema = self.place.schema();
        let found = schema.column(name);
        if found.is_none() {
            let what = format!(
                "the {}'s relation `{}` has no column `{name}`",
                self.side, schema.relation
            );
            issues.push(PlanIssue::new(path, what).no_column(name, schema));
        }
        if self.ignored.iter().any(|ignored| ignored == name) {
            let what = format!("`{name}` of the {} is both used and ignored", self.side);
            issues.push(PlanIssue::new(path, what));
        }
        found
    }

    fn step(
        &mut self,
        path: &str,
        field: &Field,
        conversion: Conversion,
        issues: &mut Vec<PlanIssue>,
    ) {
        let column = match self.side {
            Side::Source => &field.source,
            Side::Target => &field.target,
        };
        if !conversion.is_possible() {
            let what = format!(
                "`{column}` of the {} is of type {} and cannot become {}",
                self.side, conversion.from, conversion.to
            );
            let other = "declare a type that both sides can take, or use a plugin";
            let help = conversion.remedy();
            let help =
                help.map_or_else(|| other.to_owned(), |help| format!("{help}; else {other}"));
            issues.push(PlanIssue::new(format!("{path}/{}", self.side), what).help(help));
        }
        let position = self.columns.iter().position(|known| known == column);
        let position = position.unwrap_or_else(|| {
            self.columns.push(column.clone());
            self.columns.len() - 1
        });
        self.steps.push(Step { field: field.name.clone(), column: position, conversion });
    }

    fn check_ignored(&self, issues: &mut Vec<PlanIssue>) {
        let schema = self.place.schema();
        for (index, name) in self.ignored.iter().enumerate() {
            if schema.column(name).is_none() {
                let what = format!(
                    "the {}'s relation `{}` has no column `{name}` to ignore",
                    self.side, schema.relation
                );
                let known = schema.columns.iter().map(|column| column.name.as_str());
                let path = format!("/ignore_{}/{index}", self.side);
                issues.push(PlanIssue::new(path, what).nearest(name, known));
            }
        }
    }

    fn plan(&self) -> SidePlan {
        let as_they_are = self.columns.len() == self.steps.len()
            && self.steps.iter().all(|step| step.conversion.is_nothing());
        SidePlan {
            relations: vec![RelationPlan {
                relation: 0,
                columns: self.columns.clone(),
                ignored: self.ignored.to_vec(),
                group_by: Vec::new(),
            }],
            mapped: !as_they_are,
        }
    }
}

#[cfg(test)]
mod tests;
