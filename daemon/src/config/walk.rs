//! The walk through a document.
//!
//! Owns [`Walker`], which collects issues, and [`Section`] and [`Node`], through which elements read
//! their keys. Refuses to know any element: what a key looks like is in the description. Invariant:
//! whatever cannot be read has left an issue with its place, so `None` never needs another.

mod node;
mod nearest;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use toml::de::{DeTable, DeValue};

use super::Places;
use super::describe::{Need, Table, keys};
use super::issue::Issue;
pub(super) use nearest::nearest;
pub(super) use node::{Entry, Node};

/// What is gathered on the way through a document.
#[derive(Debug, Default)]
pub(super) struct Walker {
    /// Where relative paths begin.
    pub base: PathBuf,
    /// Whether what the file refers to must be there.
    pub places: Places,
    /// Names of the elements of each top-level table, well-formed or not.
    pub names: BTreeMap<&'static str, Vec<String>>,
    errors: RefCell<Vec<Issue>>,
    warnings: RefCell<Vec<Issue>>,
    /// What must not be shown: literal secrets, and what may be some.
    covered: RefCell<Vec<Range<usize>>>,
    /// Names that were referred to.
    used: RefCell<BTreeSet<(&'static str, String)>>,
}

/// What was gathered.
#[derive(Debug)]
pub(super) struct Gathered {
    /// What forbids to start.
    pub errors: Vec<Issue>,
    /// What is worth a word.
    pub warnings: Vec<Issue>,
    /// What must not be shown: literal secrets, and what may be some.
    pub covered: Vec<Range<usize>>,
}

impl Walker {
    pub(super) fn new(
        base: PathBuf,
        names: Vec<(&'static str, Vec<String>)>,
        places: Places,
    ) -> Self {
        Self { base, names: names.into_iter().collect(), places, ..Self::default() }
    }

    pub(super) fn error(&self, issue: Issue) {
        self.errors.borrow_mut().push(issue);
    }

    pub(super) fn warning(&self, issue: Issue) {
        self.warnings.borrow_mut().push(issue);
    }

    /// Covers every value within `value`, which stands at `span`, in whatever is shown of the file.
    pub(super) fn cover(&self, value: &DeValue<'_>, span: Range<usize>) {
        match value {
            DeValue::Table(table) => {
                table.iter().for_each(|(_, value)| self.cover(value.get_ref(), value.span()));
            }
            DeValue::Array(items) => {
                items.iter().for_each(|item| self.cover(item.get_ref(), item.span()));
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => self.covered.borrow_mut().push(span),
        }
    }

    /// Whether what stands at `span` is covered.
    pub(super) fn is_covered(&self, span: &Range<usize>) -> bool {
        self.covered.borrow().contains(span)
    }

    pub(super) fn is_used(&self, of: &'static str, name: &str) -> bool {
        self.used.borrow().contains(&(of, name.to_owned()))
    }

    pub(super) fn names_of(&self, of: &str) -> &[String] {
        self.names.get(of).map_or(&[], Vec::as_slice)
    }

    pub(super) fn into_gathered(self) -> Gathered {
        Gathered {
            errors: self.errors.into_inner(),
            warnings: self.warnings.into_inner(),
            covered: self.covered.into_inner(),
        }
    }
}

/// A table of the document that is being read. What the file leaves out is looked up in the table
/// below it: the embedded default's.
#[derive(Debug)]
pub(super) struct Section<'w> {
    pub walker: &'w Walker,
    pub path: String,
    table: &'static Table,
    /// Its name in the file, to point at when something is missing.
    anchor: Option<Range<usize>>,
    own: Option<&'w DeTable<'w>>,
    below: Option<&'w DeTable<'w>>,
    taken: RefCell<BTreeSet<&'static str>>,
}

impl<'w> Section<'w> {
    /// The whole document, over the embedded default.
    pub(super) fn root(
        walker: &'w Walker,
        table: &'static Table,
        own: &'w DeTable<'w>,
        below: &'w DeTable<'w>,
    ) -> Self {
        Self::open(
            walker,
            table,
            Place { path: String::new(), anchor: None },
            Some(own),
            Some(below),
        )
    }

    fn open(
        walker: &'w Walker,
        table: &'static Table,
        place: Place,
        own: Option<&'w DeTable<'w>>,
        below: Option<&'w DeTable<'w>>,
    ) -> Self {
        let Place { path, anchor } = place;
        let taken = RefCell::default();
        let section = Self { walker, path, table, anchor, own, below, taken };
        section.refuse_unknown();
        section.miss_required();
        section
    }

    /// The value of the described key `name`, if the file or the default gives it.
    pub(super) fn take(&self, name: &'static str) -> Option<Node<'w>> {
        let key = self.table.key(name).expect("elements read only keys that they describe");
        self.taken.borrow_mut().insert(name);
        let path = self.path_of(name);
        let walker = self.walker;
        let find = |table: &'w DeTable<'w>| table.get_key_value(name);
        let own = self
            .own
            .and_then(find)
            .map(|(key, value)| (Some(key.span()), Some(value.span()), value.get_ref()));
        let found = own
            .or_else(|| self.below.and_then(find).map(|(_, value)| (None, None, value.get_ref())));
        let below = self.below.and_then(find).map(|(_, value)| value.get_ref());
        let (anchor, span, value) = found?;
        Some(Node { walker, shape: &key.shape, path, anchor, span, value, below })
    }

    /// Whether the file itself gives one of these keys.
    pub(super) fn gives(&self, names: &[&str]) -> bool {
        self.own.is_some_and(|own| names.iter().any(|name| own.contains_key(*name)))
    }

    /// Reports what is wrong between several keys, at the first of them that the file gives.
    pub(super) fn fault(
        &self,
        names: &[&str],
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.walker.error(self.issue(names, message.into(), help.into()));
    }

    /// Reports what is worth a word.
    pub(super) fn warn(&self, names: &[&str], message: impl Into<String>, help: impl Into<String>) {
        self.walker.warning(self.issue(names, message.into(), help.into()));
    }

    fn issue(&self, names: &[&str], message: String, help: String) -> Issue {
        let given = names.iter().find_map(|name| Some((*name, self.own?.get(*name)?.span())));
        let (path, span) = given.map_or_else(
            || (self.path.clone(), self.anchor.clone()),
            |(name, span)| (self.path_of(name), Some(span)),
        );
        Issue { span, path, message, help, absent: None }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn named(&self) -> String {
        if self.path.is_empty() { "this file".to_owned() } else { format!("[{}]", self.path) }
    }

    fn refuse_unknown(&self) {
        for (key, value) in self.own.iter().flat_map(|own| own.iter()) {
            let name = key.get_ref().as_ref();
            if self.table.key(name).is_some() {
                continue;
            }
            let known: Vec<_> = self.table.keys.iter().map(|key| key.name).collect();
            let elsewhere = self.table.elsewhere.iter().find(|(other, _)| *other == name);
            let near = nearest(name, &known);
            // Its key is enough to find it, and nobody knows what is in it.
            self.walker.cover(value.get_ref(), value.span());
            let help = match (elsewhere, near.first()) {
                (Some((_, help)), _) => (*help).to_owned(),
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) => format!("{} has {}", self.table.what, keys(self.table)),
            };
            self.walker.error(Issue {
                span: Some(key.span()),
                path: self.path_of(name),
                message: format!("unknown key `{name}` in {}", self.named()),
                help,
                absent: None,
            });
        }
    }

    fn miss_required(&self) {
        for key in self.table.keys.iter().filter(|key| key.need == Need::Required) {
            let has = |table: &DeTable<'_>| table.contains_key(key.name);
            if self.own.is_some_and(has) || self.below.is_some_and(has) {
                continue;
            }
            self.walker.error(Issue {
                span: self.anchor.clone(),
                path: self.path_of(key.name),
                message: format!("`{}` is missing in {}", key.name, self.named()),
                help: format!("add `{}`: {}", key.name, key.doc),
                absent: Some(key.name.to_owned()),
            });
        }
    }
}

/// A described key that no element reads would be accepted and ignored: worse than refused.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let taken = self.taken.borrow();
            let left = self.table.keys.iter().find(|key| !taken.contains(key.name));
            debug_assert!(left.is_none(), "{}: {left:?} is described and not read", self.path);
        }
    }
}

#[derive(Debug)]
struct Place {
    path: String,
    anchor: Option<Range<usize>>,
}

/// What a TOML value is called in messages.
const fn called(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
