//! Rules that must hold.
//!
//! Owns [`Rules`]: rules on each side, on a pair, and over all pairs of a partition. Refuses state
//! between calls but for tallies. Invariant: a violation names the rule and the pair that it is of.

use std::cell::RefCell;
use std::fmt;

use crate::Issue;
use crate::column::{base, bit, sorted};
use crate::decimal::Decimal;
use crate::kind::{Binary, Boolean, Float, Integer, Json, Kind, Text, Value};
use crate::row::{Call, Col, Result, Row, Rows};
use crate::tally::{Tally, Tallying};
use crate::time::{Date, DateTime, Time, Timestamp};
use crate::wire::{Context, EntityDef, InvariantDef, Pairs, Severity, Side, Violation};

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
    pub(crate) entities: Vec<EntityDef>,
    pub(crate) inner: RefCell<Inner>,
    pub(crate) issues: RefCell<Vec<Issue>>,
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules").field("entities", &self.entities).finish_non_exhaustive()
    }
}

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
    pub(crate) fn new(entities: Vec<EntityDef>) -> Self {
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
        let def = InvariantDef { id, summary, severity };
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
    pub(crate) fn tally(&self, invariant: u32) -> Option<(usize, Box<dyn Tallying>)> {
        let inner = self.inner.borrow();
        let rule = inner.rules.get(invariant as usize)?;
        match &rule.check {
            Check::Partition(start) => Some((rule.entity, start())),
            Check::Pairs(_) | Check::None => None,
        }
    }
}

/// The pairs of a call, row by row.
pub(crate) struct PairRows<'t> {
    source: Call<'t>,
    target: Call<'t>,
    source_present: Vec<u8>,
    target_present: Vec<u8>,
    count: usize,
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
        Self { source, target, source_present, target_present, count }
    }

    fn pair(&self, row: usize) -> Pair<'_> {
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
    pub(crate) entities: &'r [EntityDef],
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
    pub(crate) fn new(
        entities: &'r [EntityDef],
        issues: &'r RefCell<Vec<Issue>>,
        name: &str,
    ) -> Self {
        let index = entities.iter().position(|entity| entity.name == name);
        if index.is_none() {
            issues.borrow_mut().push(Issue::new(format!("there is no entity type `{name}`")));
        }
        Self { entities, issues, index: index.unwrap_or(0) }
    }

    fields! {
        boolean Boolean;
        integer Integer;
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
        let (index, logical) = self.found(name, K::LOGICAL, K::ACCEPTS);
        Col::new(self.index as u16, index, logical)
    }

    #[inline(never)]
    fn found(self, name: &str, kind: &'static str, accepts: &[&str]) -> (u16, &'r str) {
        let issue = |what: String| self.issues.borrow_mut().push(Issue::new(what));
        let Some(entity) = self.entities.get(self.index) else { return (0, kind) };
        let found = entity.fields.iter().enumerate().find(|(_, field)| field.name == name);
        let Some((index, field)) = found else {
            issue(format!("entity type `{}` has no field `{name}`", entity.name));
            return (0, kind);
        };
        let logical = base(&field.logical);
        if !accepts.contains(&logical) && logical != "value" {
            issue(format!("field `{name}` is of type {logical}, and is read as {kind}"));
        }
        (index as u16, logical)
    }
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

impl Rule<'_> {
    fn check(self, check: Check) {
        self.rules.inner.borrow_mut().rules[self.index].check = check;
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
    pub fn over_all<T, P, F>(self, push: P, finish: F)
    where
        T: Tally,
        P: for<'a> Fn(&mut T, Pair<'a>) -> Result<()> + Clone + 'static,
        F: Fn(&T) -> Vec<String> + Clone + 'static,
    {
        let start = move || {
            let (tally, push, finish) = (T::default(), push.clone(), finish.clone());
            Box::new(Over { tally, push, finish }) as Box<dyn Tallying>
        };
        self.check(Check::Partition(Box::new(start)));
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

struct Over<T, P, F> {
    tally: T,
    push: P,
    finish: F,
}

impl<T, P, F> Tallying for Over<T, P, F>
where
    T: Tally,
    P: for<'a> Fn(&mut T, Pair<'a>) -> Result<()>,
    F: Fn(&T) -> Vec<String>,
{
    fn push(&mut self, pairs: &PairRows<'_>) -> Result<()> {
        (0..pairs.count).try_for_each(|at| (self.push)(&mut self.tally, pairs.pair(at)))
    }

    fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.tally.save(&mut out);
        out
    }

    fn merge(&mut self, mut state: &[u8]) -> Option<()> {
        let other = T::load(&mut state).filter(|_| state.is_empty())?;
        self.tally.merge(other)
    }

    fn finish(&self) -> Vec<String> {
        (self.finish)(&self.tally)
    }
}
