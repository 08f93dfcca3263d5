//! Rules that must hold.
//!
//! Owns [`Rules`]: rules on each side, on a pair, and over all pairs of a partition. Refuses state
//! between calls but for tallies. Invariant: a rule is of the scope of its check.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use crate::Issue;
use crate::column::{base, bit, sorted};
use crate::decimal::Decimal;
use crate::kind::{Binary, Boolean, Float, Integer, Json, Kind, Text, Unsigned, Value};
use crate::plan::to_read;
use crate::row::{Call, Col, Result, Row, Rows};
use crate::tally::{Tally, Tallying};
use crate::time::{Date, DateTime, Time, Timestamp};
use crate::wire::{Context, EntityDef, InvariantDef, Pairs, Scope, Severity, Side, Violation};

/// The rules of a plugin in the making: given to
/// [`Invariants::declare`](crate::Invariants::declare).
///
/// ```
/// use driftd_plugin::Rules;
///
/// fn declare(rules: &Rules) {
///     let user = rules.entity("user");
///     let balance = user.decimal("balance");
///     rules.error(user, "balance-never-negative", "a balance is never negative")
///         .holds(move |user| Ok(user.get(balance)?.is_none_or(|balance| !balance.is_negative())));
/// }
/// ```
#[derive(Default)]
pub struct Rules {
    pub(crate) entities: Entities,
    pub(crate) inner: RefCell<Inner>,
    pub(crate) issues: RefCell<Vec<Issue>>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("entities", &self.entities.0).finish_non_exhaustive()
    }
}

/// The entity types of a plan, each with the kinds of its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entities(pub(crate) Vec<(EntityDef, Vec<&'static str>)>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) rules: Vec<Declared>,
}

pub(crate) struct Declared {
    pub(crate) def: InvariantDef,
    entity: usize,
    check: Check,
}

enum Check {
    None,
    Pairs(Box<dyn OnPairs>),
    Partition(Box<dyn Fn() -> Box<dyn Tallying>>),
}

macro_rules! severities {
    ($($(#[$about:meta])* $method:ident $severity:ident;)*) => {
        $(
            $(#[$about])*
            /// It has a stable name, and a summary that is shown in events and must hold no values. It
            /// does nothing until its check is given.
            ///
            /// ```
            /// # use driftd_plugin::Rules;
            /// # fn declare(rules: &Rules) {
            /// # let user = rules.entity("user");
            /// # let email = user.text("email");
            /// rules
            #[doc = concat!("    .", stringify!($method), "(user, \"has-email\", \"every user has an email address\")")]
            ///     .holds(move |user| Ok(user.get(email)?.is_some()));
            /// # }
            /// ```
            pub fn $method(&self, of: Fields<'_>, id: &str, summary: &str) -> Rule<'_> {
                self.rule(of, Severity::$severity, id, summary)
            }
        )*
    };
}

impl Rules {
    pub(crate) fn new(entities: Entities) -> Self {
        Self { entities, ..Self::default() }
    }

    /// The entity type of a name, as the plan has it.
    ///
    /// ```
    /// # fn declare(rules: &driftd_plugin::Rules) {
    /// let email = rules.entity("user").text("email");
    /// # }
    /// ```
    #[must_use]
    pub fn entity(&self, name: &str) -> Fields<'_> {
        Fields::new(&self.entities, &self.issues, name)
    }

    severities! {
        /// A rule that is worth knowing of when it is broken.
        info Info;
        /// A rule that is worth a look when it is broken.
        warning Warning;
        /// A rule without which data is wrong.
        error Error;
        /// A rule without which data is wrong, and that is reason to stop.
        critical Critical;
    }

    fn rule(&self, of: Fields<'_>, severity: Severity, id: &str, summary: &str) -> Rule<'_> {
        let (id, summary) = (id.to_owned(), summary.to_owned());
        let def = InvariantDef { id, summary, severity, scope: Scope::Pair };
        let mut inner = self.inner.borrow_mut();
        inner.rules.push(Declared { def, entity: of.index, check: Check::None });
        Rule { rules: self, index: inner.rules.len() - 1 }
    }

    pub(crate) fn check(
        &self,
        names: &[Vec<String>],
        context: Context,
        pairs: Pairs,
    ) -> Vec<Violation> {
        let entity = pairs.entity as usize;
        let pairs = PairRows::new(names, context, pairs);
        let inner = self.inner.borrow();
        let mut violations = Vec::new();
        for (invariant, rule) in (0..).zip(&inner.rules) {
            if let (Check::Pairs(check), true) = (&rule.check, rule.entity == entity) {
                check.check(&pairs, &mut |pair, message| {
                    violations.push(Violation { invariant, pair: Some(pair as u32), message });
                });
            }
        }
        sorted(violations, |violation| violation.pair.map_or(0, u64::from))
    }

    /// A tally for a rule over many pairs; none for other rules.
    pub(crate) fn tally(&self, invariant: u32) -> Option<Box<dyn Tallying>> {
        let inner = self.inner.borrow();
        let rule = inner.rules.get(invariant as usize)?;
        match &rule.check {
            Check::Partition(start) => Some(start()),
            Check::Pairs(_) | Check::None => None,
        }
    }
}

/// The pairs of a call, row by row.
pub(crate) struct PairRows<'t> {
    pub(crate) entity: usize,
    pub(crate) count: usize,
    source: Call<'t>,
    target: Call<'t>,
    source_present: Vec<u8>,
    target_present: Vec<u8>,
}

impl<'t> PairRows<'t> {
    pub(crate) fn new(names: &'t [Vec<String>], context: Context, pairs: Pairs) -> Self {
        let Pairs { entity, source, source_present, target, target_present } = pairs;
        let count = source.rows as usize;
        let call = |side, batch| {
            let context = Context { side, ..context.clone() };
            Call::new(names, context, vec![Rows::of_batch(entity as u16, batch)])
        };
        let (source, target) = (call(Side::Source, source), call(Side::Target, target));
        let entity = entity as usize;
        Self { entity, count, source, target, source_present, target_present }
    }

    pub(crate) fn pair(&self, row: usize) -> Pair<'_> {
        let side = |call, present: &[u8]| {
            let call: &Call<'_> = call;
            bit(present, row).then(|| Row { call, rows: &call.rows[0], row })
        };
        Pair {
            source: side(&self.source, &self.source_present),
            target: side(&self.target, &self.target_present),
        }
    }
}

trait OnPairs {
    fn check(&self, pairs: &PairRows<'_>, violation: &mut dyn FnMut(usize, String));
}

/// An entity of both sides, aligned by its key.
///
/// ```
/// use driftd_plugin::{Col, Integer, Pair, Result};
///
/// fn never_shrinks(pair: Pair<'_>, version: Col<Integer>) -> Result<bool> {
///     let (Some(source), Some(target)) = (pair.source, pair.target) else { return Ok(true) };
///     Ok(target.need(version)? <= source.need(version)?)
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The source's, if it has it.
    pub source: Option<Row<'a>>,
    /// The target's, if it has it.
    pub target: Option<Row<'a>>,
}

/// An entity type, for the rules and locators that are about it.
///
/// ```
/// # fn declare(rules: &driftd_plugin::Rules) {
/// let user = rules.entity("user");
/// let (email, balance) = (user.text("email"), user.decimal("balance"));
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct Fields<'r> {
    pub(crate) entities: &'r Entities,
    issues: &'r RefCell<Vec<Issue>>,
    pub(crate) index: usize,
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fields").field("entity", &self.index).finish_non_exhaustive()
    }
}

macro_rules! fields {
    ($($method:ident $kind:ident;)*) => {
        $(
            #[doc = concat!("A field of the kind [`", stringify!($kind), "`].")]
            ///
            /// ```
            /// # fn declare(rules: &driftd_plugin::Rules) {
            #[doc = concat!("let field = rules.entity(\"user\").", stringify!($method), "(\"field\");")]
            /// # }
            /// ```
            #[must_use]
            pub fn $method(self, name: &str) -> Col<$kind> {
                self.field(name)
            }
        )*
    };
}

impl<'r> Fields<'r> {
    pub(crate) fn new(entities: &'r Entities, issues: &'r RefCell<Vec<Issue>>, name: &str) -> Self {
        let index = entities.0.iter().position(|(entity, _)| entity.name == name);
        if index.is_none() {
            let names = entities.0.iter().map(|(entity, _)| entity.name.as_str());
            let issue = Issue::new(format!("there is no entity type `{name}`"));
            issues.borrow_mut().push(issue.help(told("it has", names)));
        }
        Self { entities, issues, index: index.unwrap_or(0) }
    }

    fields! {
        boolean Boolean;
        integer Integer;
        unsigned Unsigned;
        decimal Decimal;
        float Float;
        text Text;
        binary Binary;
        timestamp Timestamp;
        datetime DateTime;
        date Date;
        time Time;
        json Json;
        value Value;
    }

    /// A field, read as the kind that is asked for.
    ///
    /// ```
    /// # fn declare(rules: &driftd_plugin::Rules) {
    /// use driftd_plugin::{Col, Text};
    ///
    /// let name: Col<Text> = rules.entity("user").field("name");
    /// # }
    /// ```
    #[must_use]
    pub fn field<K: Kind>(self, name: &str) -> Col<K> {
        let (index, logical) = self.found(name, K::NAME, K::ACCEPTS);
        Col::new(self.index as u16, index, logical)
    }

    #[inline(never)]
    fn found(self, name: &str, kind: &'static str, accepts: &[&str]) -> (u16, &'r str) {
        let issue = |what: String, help| {
            self.issues.borrow_mut().push(Issue::new(what).help(help));
        };
        let Some((entity, kinds)) = self.entities.0.get(self.index) else { return (0, "value") };
        let found = entity.fields.iter().enumerate().find(|(_, field)| field.name == name);
        let Some((index, field)) = found else {
            let names = entity.fields.iter().map(|field| field.name.as_str());
            let what = format!("entity type `{}` has no field `{name}`", entity.name);
            issue(what, told("it has", names));
            return (0, "value");
        };
        let logical = base(&field.logical);
        // Of a sign that is lost or was never there it would be told only when such a number comes.
        let signs =
            matches!((kinds[index], kind), ("integer", "unsigned") | ("unsigned", "integer"));
        if !accepts.contains(&logical) && logical != "value" {
            let what = format!("field `{name}` is of type {logical}, and is read as {kind}");
            issue(what, to_read(name, kind, logical));
        } else if signs {
            let known = kinds[index];
            let what = format!("field `{name}` is {known}, and is read as {kind}");
            issue(what, format!("write `.{known}(\"{name}\")`, as in the plan"));
        }
        (index as u16, logical)
    }
}

/// Names that were there to choose from.
pub(crate) fn told<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    format!("{what} {}", names.join(", "))
}

/// A rule that has yet to be told what it checks.
///
/// ```
/// # use driftd_plugin::Rules;
/// # fn declare(rules: &Rules) {
/// # let user = rules.entity("user");
/// # let email = user.text("email");
/// let rule = rules.warning(user, "has-email", "every user has an email address");
/// rule.holds(move |user| Ok(user.get(email)?.is_some()));
/// # }
/// ```
#[must_use = "a rule without a check does nothing"]
#[derive(Clone, Copy)]
pub struct Rule<'r> {
    rules: &'r Rules,
    index: usize,
}

impl fmt::Debug for Rule<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("index", &self.index).finish_non_exhaustive()
    }
}

impl<'r> Rule<'r> {
    fn check(self, check: Check) {
        let rule = &mut self.rules.inner.borrow_mut().rules[self.index];
        rule.def.scope = match &check {
            Check::None | Check::Pairs(_) => Scope::Pair,
            Check::Partition(_) => Scope::Partition,
        };
        rule.check = check;
    }

    /// It must be true of the entity on every side that has it.
    ///
    /// ```
    /// # use driftd_plugin::Rules;
    /// # fn declare(rules: &Rules) {
    /// # let user = rules.entity("user");
    /// # let status = user.text("status");
    /// rules.critical(user, "status-known", "a status is one of three")
    ///     .holds(move |user| Ok(matches!(user.get(status)?, Some("new" | "active" | "closed"))));
    /// # }
    /// ```
    pub fn holds(self, f: impl for<'a> Fn(Row<'a>) -> Result<bool> + 'static) {
        self.check(Check::Pairs(Box::new(Holds(f))));
    }

    /// It is broken where the closure gives a message, which may hold values.
    ///
    /// ```
    /// # use driftd_plugin::Rules;
    /// # fn declare(rules: &Rules) {
    /// # let user = rules.entity("user");
    /// # let balance = user.decimal("balance");
    /// rules.error(user, "never-more", "the target never holds more than the source")
    ///     .broken(move |pair| {
    ///         let (Some(source), Some(target)) = (pair.source, pair.target) else { return Ok(None) };
    ///         let (had, has) = (source.need(balance)?, target.need(balance)?);
    ///         Ok((has > had).then(|| format!("{has} is more than {had}")))
    ///     });
    /// # }
    /// ```
    pub fn broken(self, f: impl for<'a> Fn(Pair<'a>) -> Result<Option<String>> + 'static) {
        self.check(Check::Pairs(Box::new(Broken(f))));
    }

    /// It is about all pairs of a partition: `push` adds each pair to a [`Tally`], and `finish` gives a
    /// message for each thing that is wrong.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use driftd_plugin::Rules;
    /// # fn declare(rules: &Rules) {
    /// # let user = rules.entity("user");
    /// # let status = user.text("status");
    /// rules.error(user, "count-per-status", "as many users of each status on both sides")
    ///     .over_all(
    ///         move |counts: &mut BTreeMap<String, (i64, i64)>, pair| {
    ///             if let Some(user) = pair.source {
    ///                 counts.entry(user.need(status)?.to_owned()).or_default().0 += 1;
    ///             }
    ///             if let Some(user) = pair.target {
    ///                 counts.entry(user.need(status)?.to_owned()).or_default().1 += 1;
    ///             }
    ///             Ok(())
    ///         },
    ///         |counts| {
    ///             let wrong = counts.iter().filter(|(_, (source, target))| source != target);
    ///             wrong.map(|(status, _)| format!("the counts of {status} differ")).collect()
    ///         },
    ///     );
    /// # }
    /// ```
    pub fn over_all<T: Tally>(
        self,
        push: impl for<'a> Fn(&mut T, Pair<'a>) -> Result<()> + 'static,
        finish: impl Fn(&T) -> Vec<String> + 'static,
    ) {
        let entity = self.rules.inner.borrow().rules[self.index].entity;
        let over = Over { rule: self, pushes: Vec::new() };
        over.with(entity, Rc::new(push)).finish(finish);
    }

    /// It is about all pairs of a partition, of several entity types: `push` adds each pair of this one
    /// to a [`Tally`]; [`Over::over`] adds another type, and [`Over::finish`] says what is wrong.
    ///
    /// ```
    /// # use std::collections::BTreeMap;
    /// # use driftd_plugin::{Decimal, Reject, Rules, Tally};
    /// # fn declare(rules: &Rules) {
    /// # let (order, line) = (rules.entity("order"), rules.entity("line"));
    /// let (id, total) = (order.integer("id"), order.decimal("total"));
    /// let (of, price) = (line.integer("order"), line.decimal("price"));
    /// let large = || Reject::from("the sum is too large");
    /// rules
    ///     .error(order, "source-total", "an order's total is the sum of its lines' prices")
    ///     .over(order, move |rest: &mut BTreeMap<i64, Decimal>, pair| {
    ///         let Some(order) = pair.source else { return Ok(()) };
    ///         let rest = rest.entry(order.need(id)?).or_default();
    ///         rest.merge(order.need(total)?).ok_or_else(large)
    ///     })
    ///     .over(line, move |rest, pair| {
    ///         let Some(line) = pair.source else { return Ok(()) };
    ///         let rest = rest.entry(line.need(of)?).or_default();
    ///         let less = line.need(price)?.checked_neg();
    ///         less.and_then(|less| rest.merge(less)).ok_or_else(large)
    ///     })
    ///     .finish(|rest| {
    ///         let wrong = rest.iter().filter(|(_, rest)| **rest != Decimal::default());
    ///         wrong.map(|(id, rest)| format!("order {id} is off by {rest}")).collect()
    ///     });
    /// # }
    /// ```
    pub fn over<T: Tally>(
        self,
        of: Fields<'_>,
        push: impl for<'a> Fn(&mut T, Pair<'a>) -> Result<()> + 'static,
    ) -> Over<'r, T> {
        Over { rule: self, pushes: Vec::new() }.over(of, push)
    }
}

/// A rule over a partition that has yet to be told what is wrong.
///
/// ```
/// # use driftd_plugin::Rules;
/// # fn declare(rules: &Rules) {
/// # let (order, line) = (rules.entity("order"), rules.entity("line"));
/// rules
///     .warning(order, "has-lines", "there are at least as many lines as orders")
///     .over(order, |sums: &mut (i64, i64), pair| {
///         sums.0 += i64::from(pair.source.is_some());
///         Ok(())
///     })
///     .over(line, |sums, pair| {
///         sums.1 += i64::from(pair.source.is_some());
///         Ok(())
///     })
///     .finish(|(orders, lines)| if orders > lines { vec!["too few".to_owned()] } else { vec![] });
/// # }
/// ```
#[must_use = "a rule over a partition does nothing until `finish`"]
pub struct Over<'r, T> {
    rule: Rule<'r>,
    /// What adds the pairs of an entity type.
    pushes: Vec<(usize, Rc<Push<T>>)>,
}

type Push<T> = dyn for<'a> Fn(&mut T, Pair<'a>) -> Result<()>;

impl<T> fmt::Debug for Over<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Over").field("rule", &self.rule).finish_non_exhaustive()
    }
}

impl<T: Tally> Over<'_, T> {
    /// Adds the pairs of another entity type.
    ///
    /// ```
    /// # use driftd_plugin::{Pair, Rules};
    /// # fn declare(rules: &Rules) {
    /// # let (order, line) = (rules.entity("order"), rules.entity("line"));
    /// # let rule = rules.warning(order, "few", "there are few orders and lines");
    /// let count = |all: &mut i64, _: Pair<'_>| {
    ///     *all += 1;
    ///     Ok(())
    /// };
    /// rule.over(order, count)
    ///     .over(line, count)
    ///     .finish(|all| if *all > 1_000 { vec![format!("{all} of both")] } else { vec![] });
    /// # }
    /// ```
    pub fn over(
        self,
        of: Fields<'_>,
        push: impl for<'a> Fn(&mut T, Pair<'a>) -> Result<()> + 'static,
    ) -> Self {
        self.with(of.index, Rc::new(push))
    }

    fn with(mut self, entity: usize, push: Rc<Push<T>>) -> Self {
        self.pushes.push((entity, push));
        self
    }

    /// Gives a message, which may hold values, for each thing that is wrong.
    ///
    /// ```
    /// # use driftd_plugin::Rules;
    /// # fn declare(rules: &Rules) {
    /// # let order = rules.entity("order");
    /// # let rule = rules.warning(order, "few", "there are few orders");
    /// rule.over(order, |all: &mut i64, _| {
    ///     *all += 1;
    ///     Ok(())
    /// })
    /// .finish(|all| if *all > 1_000 { vec![format!("{all} orders")] } else { vec![] });
    /// # }
    /// ```
    pub fn finish(self, finish: impl Fn(&T) -> Vec<String> + 'static) {
        let Self { rule, pushes } = self;
        let (pushes, finish): (_, Rc<Finish<T>>) = (Rc::new(pushes), Rc::new(finish));
        let start = move || {
            let (pushes, finish) = (Rc::clone(&pushes), Rc::clone(&finish));
            Box::new(Sums { tally: T::default(), pushes, finish }) as Box<dyn Tallying>
        };
        rule.check(Check::Partition(Box::new(start)));
    }
}

type Finish<T> = dyn Fn(&T) -> Vec<String>;

/// A tally in use, with what adds to it.
struct Sums<T> {
    tally: T,
    pushes: Rc<Vec<(usize, Rc<Push<T>>)>>,
    finish: Rc<Finish<T>>,
}

impl<T: Tally> Tallying for Sums<T> {
    fn push(&mut self, pairs: &PairRows<'_>) -> Result<()> {
        let here = self.pushes.iter().filter(|(entity, _)| *entity == pairs.entity);
        for (_, push) in here {
            (0..pairs.count).try_for_each(|at| push(&mut self.tally, pairs.pair(at)))?;
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Vec<u8> {
        self.tally.tidy();
        let mut out = Vec::new();
        self.tally.save(&mut out);
        out
    }

    fn merge(&mut self, mut state: &[u8]) -> Option<()> {
        let other = T::load(&mut state).filter(|_| state.is_empty())?;
        self.tally.merge(other)
    }

    fn finish(&mut self) -> Vec<String> {
        self.tally.tidy();
        (self.finish)(&self.tally)
    }
}

struct Holds<F>(F);

impl<F: for<'a> Fn(Row<'a>) -> Result<bool>> OnPairs for Holds<F> {
    fn check(&self, pairs: &PairRows<'_>, violation: &mut dyn FnMut(usize, String)) {
        for at in 0..pairs.count {
            let pair = pairs.pair(at);
            let is_broken = |row: Option<Row<'_>>| match row.map(&self.0) {
                None | Some(Ok(true)) => Ok(false),
                Some(Ok(false)) => Ok(true),
                Some(Err(why)) => Err(why),
            };
            match (is_broken(pair.source), is_broken(pair.target)) {
                (Ok(false), Ok(false)) => {}
                (Ok(true), Ok(false)) => violation(at, "violated by the source".to_owned()),
                (Ok(false), Ok(true)) => violation(at, "violated by the target".to_owned()),
                (Ok(true), Ok(true)) => {
                    violation(at, "violated by the source and the target".to_owned());
                }
                (Err(why), _) | (_, Err(why)) => violation(at, format!("cannot be checked: {why}")),
            }
        }
    }
}

struct Broken<F>(F);

impl<F: for<'a> Fn(Pair<'a>) -> Result<Option<String>>> OnPairs for Broken<F> {
    fn check(&self, pairs: &PairRows<'_>, violation: &mut dyn FnMut(usize, String)) {
        for at in 0..pairs.count {
            match (self.0)(pairs.pair(at)) {
                Ok(None) => {}
                Ok(Some(message)) => violation(at, message),
                Err(why) => violation(at, format!("cannot be checked: {why}")),
            }
        }
    }
}
