//! A plugin: its abilities, and the calls of the contract.
//!
//! Owns the traits that a plugin implements, and the state between its calls. Refuses the boundary
//! itself: `export!` converts. Invariant: rules are declared once an instance, from the plan.

use crate::locating::Locators;
use crate::map;
use crate::plan::{Inner, Plan};
use crate::row::{Call, Rows};
use crate::rules::{PairRows, Rules};
use crate::tally::Tallying;
use crate::wire::{
    Batch, Context, Error, Info, Input, InvariantDef, Located, Mapped, MappingPlan, Output, Pairs,
    TableSchema, Violation,
};

/// A fault in a plugin's configuration, or in what it is to map.
///
/// ```
/// use driftd_plugin::Issue;
///
/// let issue = Issue::new("must be positive").at("/rate").help("write `rate = 1`");
/// assert_eq!(issue.path, "/rate");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issue {
    /// A JSON pointer into the plugin's configuration; empty: all of it.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Issue {
    /// An issue with the configuration as a whole.
    ///
    /// ```
    /// # use driftd_plugin::Issue;
    /// assert_eq!(Issue::new("is empty").message, "is empty");
    /// ```
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// The issue, at a place in the configuration.
    ///
    /// ```
    /// # use driftd_plugin::Issue;
    /// assert_eq!(Issue::new("is unknown").at("/currency").path, "/currency");
    /// ```
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The issue, with what to do about it.
    ///
    /// ```
    /// # use driftd_plugin::Issue;
    /// let issue = Issue::new("is unknown").help("one of EUR, USD");
    /// assert_eq!(issue.help.as_deref(), Some("one of EUR, USD"));
    /// ```
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A plugin's own configuration: the table `[plugins.<name>.config]`, as JSON.
///
/// ```
/// use driftd_plugin::Config;
///
/// assert!(Config::new("{}").is_empty());
/// assert_eq!(Config::new(r#"{"a": 1}"#).json(), r#"{"a": 1}"#);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config(String);

impl Config {
    /// A configuration of this JSON text.
    ///
    /// ```
    /// let config = driftd_plugin::Config::new("{}");
    /// ```
    #[must_use]
    pub fn new(json: impl Into<String>) -> Self {
        Self(json.into())
    }

    /// The JSON text.
    ///
    /// ```
    /// assert_eq!(driftd_plugin::Config::new("{}").json(), "{}");
    /// ```
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Whether nothing is configured.
    ///
    /// ```
    /// assert!(driftd_plugin::Config::default().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self.0.trim(), "" | "{}" | "null")
    }

    /// The configuration as a type of the plugin's own (feature `config`).
    ///
    /// ```
    /// use driftd_plugin::Config;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Shop {
    ///     currency: String,
    /// }
    /// let shop: Shop = Config::new(r#"{"currency": "EUR"}"#).parse().unwrap();
    /// assert_eq!(shop.currency, "EUR");
    /// assert!(Config::new("{}").parse::<Shop>().is_err());
    /// ```
    ///
    /// # Errors
    ///
    /// Where the configuration has another form.
    #[cfg(feature = "config")]
    pub fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, Vec<Issue>> {
        let json = if self.is_empty() { "{}" } else { self.json() };
        serde_json::from_str(json).map_err(|wrong| vec![Issue::new(wrong.to_string())])
    }
}

/// What every plugin is: a mapping of rows to entities. The value itself holds what was configured.
///
/// ```
/// use driftd_plugin::{Mapping, Plan};
///
/// #[derive(Default)]
/// struct Users;
///
/// impl Mapping for Users {
///     const NAME: &'static str = "users";
///     const SUMMARY: &'static str = "maps users";
///
///     fn plan(&self, plan: &Plan) {
///         let (row, item) = (plan.source(), plan.target());
///         let user = plan.entity("user", row, item);
///         user.key("id", row.integer("id"), item.integer("id"));
///         user.compared("name", row.text("name"), item.text("name"));
///     }
/// }
/// driftd_plugin::export!(Users: Mapping);
/// # fn main() {}
/// ```
pub trait Mapping: Default + 'static {
    /// What the plugin is called.
    const NAME: &'static str;
    /// What it does, in a line.
    const SUMMARY: &'static str;
    /// JSON Schema (2020-12) of its configuration. The default takes none.
    const CONFIG_SCHEMA: &'static str = r#"{"type": "object", "additionalProperties": false}"#;

    /// Takes the configuration. The default refuses any.
    ///
    /// ```
    /// use driftd_plugin::{Config, Issue, Mapping, Plan};
    ///
    /// #[derive(Default)]
    /// struct Users {
    ///     is_eu: bool,
    /// }
    ///
    /// impl Mapping for Users {
    ///     const NAME: &'static str = "users";
    ///     const SUMMARY: &'static str = "maps users";
    ///     const CONFIG_SCHEMA: &'static str = r#"{"enum": ["eu", "us"]}"#;
    ///
    ///     fn configure(&mut self, config: &Config) -> Result<(), Vec<Issue>> {
    ///         self.is_eu = config.json() == r#""eu""#;
    ///         Ok(())
    ///     }
    ///
    ///     fn plan(&self, plan: &Plan) {}
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// With everything that is wrong with the configuration, and where.
    fn configure(&mut self, config: &Config) -> Result<(), Vec<Issue>> {
        if config.is_empty() {
            return Ok(());
        }
        Err(vec![Issue::new("this plugin takes no configuration")])
    }

    /// Says what the entities are and where their fields come from. The same relations must give the
    /// same plan.
    ///
    /// ```
    /// # use driftd_plugin::Plan;
    /// fn plan(plan: &Plan) {
    ///     let (row, item) = (plan.source(), plan.target());
    ///     let user = plan.entity("user", row, item);
    ///     user.key("id", row.integer("id"), item.integer("id"));
    /// }
    /// # driftd_plugin::fixtures::plan_alone(plan);
    /// ```
    fn plan(&self, plan: &Plan);
}

/// Optional: rules that must hold.
///
/// ```
/// # use driftd_plugin::{Mapping, Plan};
/// use driftd_plugin::{Invariants, Rules};
///
/// # #[derive(Default)]
/// # struct Users;
/// # impl Mapping for Users {
/// #     const NAME: &'static str = "users";
/// #     const SUMMARY: &'static str = "maps users";
/// #     fn plan(&self, plan: &Plan) {}
/// # }
/// impl Invariants for Users {
///     fn declare(&self, rules: &Rules) {
///         let user = rules.entity("user");
///         let balance = user.decimal("balance");
///         rules
///             .error(user, "never-negative", "a balance is never negative")
///             .holds(move |user| Ok(user.get(balance)?.is_none_or(|it| !it.is_negative())));
///     }
/// }
/// driftd_plugin::export!(Users: Mapping + Invariants);
/// # fn main() {}
/// ```
pub trait Invariants: Mapping {
    /// Says which rules there are, and how each is checked.
    ///
    /// ```
    /// # use driftd_plugin::Rules;
    /// fn declare(rules: &Rules) {
    ///     let user = rules.entity("user");
    ///     let email = user.text("email");
    ///     rules
    ///         .warning(user, "has-email", "every user has an email address")
    ///         .holds(move |user| Ok(user.get(email)?.is_some()));
    /// }
    /// ```
    fn declare(&self, rules: &Rules);
}

/// Optional: where a store keeps an entity.
///
/// ```
/// # use driftd_plugin::{Mapping, Plan};
/// use driftd_plugin::{Locating, Locators, Side};
///
/// # #[derive(Default)]
/// # struct Users;
/// # impl Mapping for Users {
/// #     const NAME: &'static str = "users";
/// #     const SUMMARY: &'static str = "maps users";
/// #     fn plan(&self, plan: &Plan) {}
/// # }
/// impl Locating for Users {
///     fn locate(&self, locators: &Locators) {
///         let user = locators.entity("user");
///         let (tenant, id) = (user.text("tenant"), user.integer("id"));
///         locators.get(user, Side::Target, move |user, key| {
///             key.write(format_args!("TENANT#{}", user.need(tenant)?));
///             key.write(format_args!("USER#{}", user.need(id)?));
///             key.end();
///             Ok(())
///         });
///     }
/// }
/// driftd_plugin::export!(Users: Mapping + Locating);
/// # fn main() {}
/// ```
pub trait Locating: Mapping {
    /// Says how entities are found in the stores.
    ///
    /// ```
    /// # use driftd_plugin::{Locators, Side};
    /// fn locate(locators: &Locators) {
    ///     let user = locators.entity("user");
    ///     let id = user.integer("id");
    ///     locators.get(user, Side::Source, move |user, key| {
    ///         key.push(user.need(id)?);
    ///         key.end();
    ///         Ok(())
    ///     });
    /// }
    /// ```
    fn locate(&self, locators: &Locators);
}

/// A plugin with all its abilities; written by [`export!`](crate::export).
#[doc(hidden)]
pub trait Exported: Mapping {
    const VERSION: &'static str;

    fn declare_rules(&self, _: &Rules) {}

    fn locators(&self, _: &Locators) {}
}

/// A plugin between the calls of its host.
#[doc(hidden)]
pub struct Plugin<T> {
    plugin: T,
    planned: Option<Planned>,
}

struct Planned {
    plan: Inner,
    /// Names of the columns of each relation, and of the fields of each entity.
    columns: Vec<Vec<String>>,
    fields: Vec<Vec<String>>,
    rules: Option<Rules>,
    locators: Locators,
}

impl<T: Exported> Default for Plugin<T> {
    fn default() -> Self {
        Self { plugin: T::default(), planned: None }
    }
}

fn unplanned() -> Error {
    Error { code: "no-plan".to_owned(), message: "no plan was made before this call".to_owned() }
}

impl<T: Exported> Plugin<T> {
    pub fn describe() -> Info {
        Info {
            name: T::NAME.to_owned(),
            version: T::VERSION.to_owned(),
            summary: T::SUMMARY.to_owned(),
            config_schema: T::CONFIG_SCHEMA.to_owned(),
        }
    }

    pub fn init(&mut self, config: String) -> Result<(), Vec<Issue>> {
        *self = Self::default();
        self.plugin.configure(&Config::new(config))
    }

    pub fn plan(
        &mut self,
        pairing: String,
        source: Vec<TableSchema>,
        target: Vec<TableSchema>,
    ) -> Result<MappingPlan, Vec<Issue>> {
        let plan = Plan::new(pairing, source, target);
        self.plugin.plan(&plan);
        let plan = plan.inner.into_inner();
        if !plan.issues.is_empty() {
            return Err(plan.issues);
        }
        let columns = plan.tables.iter().map(|table| table.columns.clone()).collect();
        let names = |fields: &[crate::wire::FieldDef]| {
            fields.iter().map(|field| field.name.clone()).collect()
        };
        let fields = plan.entities.iter().map(|entity| names(&entity.def.fields)).collect();
        let proposal = plan.plan();
        // What is wrong with the locators is known now, and only here told with what to do.
        let locators = Locators::new(&plan);
        self.plugin.locators(&locators);
        let issues = locators.issues.take();
        if !issues.is_empty() {
            return Err(issues);
        }
        self.planned = Some(Planned { plan, columns, fields, rules: None, locators });
        Ok(proposal)
    }

    pub fn map_batch(&self, context: Context, inputs: Vec<Input>) -> Result<Mapped, Error> {
        let planned = self.planned.as_ref().ok_or_else(unplanned)?;
        let mut rows = Vec::with_capacity(inputs.len());
        for (at, input) in (0..).zip(inputs) {
            let tables = planned.plan.tables.iter();
            let relation = tables
                .into_iter()
                .position(|table| table.side == context.side && table.position == input.relation);
            let relation = relation.ok_or_else(|| Error {
                code: "no-relation".to_owned(),
                message: format!(
                    "input {at} is of relation {}, which is not planned",
                    input.relation
                ),
            })?;
            let (wanted, given) = (planned.columns[relation].len(), input.rows.columns.len());
            if wanted != given {
                let message = format!("input {at} has {given} columns where the plan has {wanted}");
                return Err(Error { code: "no-columns".to_owned(), message });
            }
            rows.push(Rows {
                input: at,
                relation: relation as u16,
                origin: input.origin,
                count: input.rows.rows as usize,
                columns: input.rows.columns,
                group: input.group,
            });
        }
        let call = Call::new(&planned.columns, context, rows);
        Ok(map::map(&planned.plan.entities, &planned.plan.tables, call))
    }

    fn rules(&mut self) -> Result<(&Rules, &[Vec<String>]), Vec<Issue>> {
        let Self { plugin, planned } = self;
        let planned = planned.as_mut().ok_or_else(|| vec![Issue::new(unplanned().message)])?;
        if planned.rules.is_none() {
            let rules = Rules::new(planned.plan.entities());
            plugin.declare_rules(&rules);
            let issues = rules.issues.take();
            if !issues.is_empty() {
                return Err(issues);
            }
            planned.rules = Some(rules);
        }
        match &planned.rules {
            Some(rules) => Ok((rules, &planned.fields)),
            None => Err(Vec::new()),
        }
    }

    pub fn declare(&mut self) -> Result<Vec<InvariantDef>, Vec<Issue>> {
        let (rules, _) = self.rules()?;
        Ok(rules.inner.borrow().rules.iter().map(|rule| rule.def.clone()).collect())
    }

    pub fn check_pairs(&mut self, context: Context, pairs: Pairs) -> Result<Vec<Violation>, Error> {
        let (rules, fields) = self.rules().map_err(refused)?;
        Ok(rules.check(fields, context, pairs))
    }

    pub fn accumulator(&mut self, invariant: u32) -> Accumulator {
        let tally = self.rules().ok().and_then(|(rules, _)| rules.tally(invariant));
        let fields = self.planned.as_ref().map(|planned| planned.fields.clone());
        Accumulator { invariant, tally, fields: fields.unwrap_or_default() }
    }

    fn located(&self) -> Result<&Locators, Error> {
        Ok(&self.planned.as_ref().ok_or_else(unplanned)?.locators)
    }

    pub fn locate(
        &mut self,
        context: Context,
        entity: u32,
        items: Batch,
    ) -> Result<Vec<Located>, Error> {
        let names = self.planned.as_ref().map(|planned| planned.fields.clone());
        self.located()?.locate(&names.unwrap_or_default(), context, entity, items)
    }

    pub fn keys_of(
        &mut self,
        context: Context,
        relation: u32,
        keys: Batch,
    ) -> Result<Vec<Output>, Error> {
        self.located()?.keys_of(context, relation, keys)
    }
}

fn refused(issues: Vec<Issue>) -> Error {
    let told = |issue: Issue| match issue.help {
        Some(help) => format!("{}; {help}", issue.message),
        None => issue.message,
    };
    let message: Vec<_> = issues.into_iter().map(told).collect();
    Error { code: "refused".to_owned(), message: message.join("; ") }
}

/// A rule over many pairs, in use.
#[doc(hidden)]
pub struct Accumulator {
    invariant: u32,
    tally: Option<Box<dyn Tallying>>,
    fields: Vec<Vec<String>>,
}

impl Accumulator {
    pub fn push(&mut self, context: Context, pairs: Pairs) -> Result<(), Error> {
        match &mut self.tally {
            Some(tally) => tally
                .push(&PairRows::new(&self.fields, context, pairs))
                .map_err(|why| Error { code: "tally".to_owned(), message: why.to_string() }),
            None => Ok(()),
        }
    }

    pub fn snapshot(&mut self) -> Vec<u8> {
        self.tally.as_mut().map(|tally| tally.snapshot()).unwrap_or_default()
    }

    pub fn merge(&mut self, state: &[u8]) -> Result<(), Error> {
        let merged = match &mut self.tally {
            Some(tally) => tally.merge(state),
            None => Some(()),
        };
        merged.ok_or_else(|| Error {
            code: "tally".to_owned(),
            message: "the state is not one of this tally, or the sum is too large".to_owned(),
        })
    }

    pub fn finish(&mut self) -> Vec<Violation> {
        let messages = self.tally.iter_mut().flat_map(|tally| tally.finish());
        let invariant = self.invariant;
        messages.map(|message| Violation { invariant, pair: None, message }).collect()
    }
}
