//! Fields in the making.
//!
//! Owns [`Field`], and the words for a column or field that is read as what it is not. Refuses a logical
//! type of another layout. Invariant: a field's logical type is one that its kind writes.

use super::Entity;
use crate::Issue;
use crate::column::base;
use crate::kind::Kind;
use crate::row::Col;
use crate::wire::FieldDef;

/// A field in the making.
///
/// ```
/// # fn plan(plan: &driftd_plugin::Plan) {
/// # let (row, item) = (plan.source(), plan.target());
/// # let user = plan.entity("user", row, item);
/// user.compared("born", row.date("born"), item.date("born")).rule("absent=null");
/// # }
/// # driftd_plugin::fixtures::plan_alone(plan);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Field<'p, K> {
    pub(super) entity: Entity<'p>,
    pub(super) field: Col<K>,
}

impl<K: Kind> Field<'_, K> {
    fn change(&self, change: impl FnOnce(&mut FieldDef)) {
        let mut inner = self.entity.plan.inner.borrow_mut();
        change(&mut inner.entities[self.entity.index].def.fields[self.field.index as usize]);
    }

    /// Declares an equivalence: `absent=null`, `tolerance=0.01`, `text=number`; `wit/README.md` lists all.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// user.compared("name", row.text("name"), item.text("name")).rule("trim-end").rule("nfc");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn rule(self, rule: &str) -> Self {
        self.change(|field| field.rules.push(rule.to_owned()));
        self
    }

    /// Declares another logical type of the same layout: `decimal(12,2)`, `enum`, `set`, `float32`.
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// user.compared("roles", row.text("roles"), item.text("roles")).logical("set");
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    pub fn logical(self, logical: &str) -> Self {
        if layout(logical) != layout(K::LOGICAL) {
            let mut inner = self.entity.plan.inner.borrow_mut();
            let field = &inner.entities[self.entity.index].def.fields[self.field.index as usize];
            let what =
                format!("field `{}` is read as {}, and is no {logical}", field.name, K::NAME);
            let help = format!("read a {logical} on both sides, or leave `.logical(..)` out");
            inner.issues.push(Issue::new(what).help(help));
            return self;
        }
        self.change(|field| logical.clone_into(&mut field.logical));
        self
    }

    /// The field's place, for [`Out::set`].
    ///
    /// ```
    /// # fn plan(plan: &driftd_plugin::Plan) {
    /// # use driftd_plugin::{Integer, null};
    /// # let (row, item) = (plan.source(), plan.target());
    /// # let user = plan.entity("user", row, item);
    /// let id = user.key("id", row.integer("id"), null::<Integer>()).handle();
    /// # }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    #[must_use]
    pub fn handle(self) -> Col<K> {
        self.field
    }
}

/// What to write where a column or field of a logical type was read as a kind that it is not.
#[cold]
pub(crate) fn to_read(name: &str, kind: &str, logical: &str) -> String {
    match (logical, kind) {
        ("text" | "enum" | "set", "integer" | "unsigned" | "decimal") => {
            format!("write `.text(\"{name}\").parse_{kind}()`")
        }
        ("text" | "enum" | "set" | "json", "value") => {
            format!("write `.{logical}(\"{name}\").parse_json()`")
                .replace(".enum(", ".text(")
                .replace(".set(", ".text(")
        }
        ("enum" | "set", _) => format!("write `.text(\"{name}\")`"),
        _ => format!(
            "write `.{logical}(\"{name}\")`, which reads it as what it is; `.map(..)` makes another kind of it"
        ),
    }
}

/// The layout of a logical type; none: there is no such type.
fn layout(logical: &str) -> Option<&'static str> {
    Some(match base(logical) {
        "boolean" => "boolean",
        "integer" => "integer",
        "timestamp" | "datetime" | "date" | "time" => "count",
        "float" | "float32" => "float",
        "decimal" => "decimal",
        "text" | "enum" | "set" => "text",
        "json" => "json",
        "binary" => "binary",
        "value" => "value",
        _ => return None,
    })
}
