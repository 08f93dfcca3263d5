//! One value of a document.
//!
//! Owns [`Node`] and the reading of every shape of value. Refuses values of another shape, with what
//! was expected and how to write it. Invariant: a value that is not as described gives `None` and
//! leaves exactly one issue.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::{Place, Section, Walker, called, nearest};
use crate::config::describe::{Shape, one_of};
use crate::config::issue::Issue;
use crate::config::units::{self, DURATION_MAX};

/// A value, with its place and what it should look like.
#[derive(Clone, Debug)]
pub(in crate::config) struct Node<'w> {
    pub walker: &'w Walker,
    pub shape: &'static Shape,
    pub path: String,
    /// Its key in the file; none: it is an item of a list, or of the embedded default.
    pub anchor: Option<Range<usize>>,
    /// Its place in the file; none: it is of the embedded default.
    pub span: Option<Range<usize>>,
    pub value: &'w DeValue<'w>,
    /// What the embedded default has in the same place.
    pub below: Option<&'w DeValue<'w>>,
}

/// A named value of a map.
#[derive(Clone, Debug)]
pub(in crate::config) struct Entry<'w> {
    pub name: String,
    pub node: Node<'w>,
}

impl<'w> Node<'w> {
    /// Reports what is wrong with the value.
    pub(in crate::config) fn fault(&self, message: impl Into<String>, help: impl Into<String>) {
        self.walker.error(self.issue(message.into(), help.into()));
    }

    /// Reports what is worth a word.
    pub(in crate::config) fn warn(&self, message: impl Into<String>, help: impl Into<String>) {
        self.walker.warning(self.issue(message.into(), help.into()));
    }

    /// Reports that the value is not as described.
    pub(in crate::config) fn refuse(&self) {
        self.fault(
            format!("must be {}, not {}", self.shape.expected(), self.shown()),
            self.shape.remedy(),
        );
    }

    /// Reads a text; `parse` may refuse it with what is wrong and what to do.
    pub(in crate::config) fn parsed<T>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, (String, String)>,
    ) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_err(|(message, help)| self.fault(message, help)).ok()
    }

    /// A text of any textual shape.
    pub(in crate::config) fn text(&self) -> Option<String> {
        match self.value.as_str() {
            Some("") if !matches!(self.shape, Shape::AnyText) => {
                self.fault("must not be empty", self.shape.remedy());
                None
            }
            Some(text) if text.contains('\0') => {
                self.fault("must not contain a zero character", "remove `\\u0000`");
                None
            }
            Some(text) => Some(text.to_owned()),
            None => self.none(),
        }
    }

    /// A whole number within the described bounds, as any type that holds it.
    pub(in crate::config) fn count<T: TryFrom<u64>>(&self) -> Option<T> {
        let Shape::Count { min, max } = *self.shape else { return self.none() };
        let number = self.value.as_integer();
        let number =
            number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        number
            .filter(|number| (min..=max).contains(number))
            .and_then(|number| T::try_from(number).ok())
            .or_else(|| self.none())
    }

    /// A whole number that is not zero and fits 32 bits, as its description says.
    pub(in crate::config) fn some(&self) -> Option<NonZeroU32> {
        self.count::<u32>().and_then(NonZeroU32::new)
    }

    /// A number of shape ratio or positive.
    pub(in crate::config) fn number(&self) -> Option<f64> {
        let number = match self.value {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Integer(_)
            | DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => None,
        };
        let ratio = matches!(self.shape, Shape::Ratio);
        let fits = |number: &f64| {
            if ratio { (0.0..=1.0).contains(number) } else { number.is_finite() && *number > 0.0 }
        };
        number.filter(fits).or_else(|| self.none())
    }

    /// True or false.
    pub(in crate::config) fn flag(&self) -> Option<bool> {
        match (self.shape, self.value.as_bool()) {
            (Shape::Flag, Some(flag)) => Some(flag),
            (_, _) => self.none(),
        }
    }

    /// What one of the described words stands for.
    pub(in crate::config) fn pick<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let chosen = self.choice()?;
        let found = words.iter().find(|(word, _)| *word == chosen);
        if found.is_none() {
            // A word that was described, and that nobody taught driftd to take.
            let message =
                format!("\"{chosen}\" is a word of the format that this driftd does not take");
            self.fault(message, "choose another; and please report it, this is a fault of driftd");
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A time span.
    pub(in crate::config) fn duration(&self) -> Option<Duration> {
        let Shape::Duration { min } = *self.shape else { return self.none() };
        let span = self.value.as_str().and_then(units::duration);
        span.filter(|span| (min..=DURATION_MAX).contains(span)).or_else(|| self.none())
    }

    /// A number of bytes.
    pub(in crate::config) fn size(&self) -> Option<u64> {
        let Shape::Size { min } = *self.shape else { return self.none() };
        let size = self.value.as_str().and_then(units::size);
        size.filter(|size| *size >= min).or_else(|| self.none())
    }

    /// One of the described words.
    pub(in crate::config) fn choice(&self) -> Option<&'static str> {
        let Shape::Choice(words) = self.shape else { return self.none() };
        let text = self.value.as_str().or_else(|| self.none())?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let help = match nearest(text, words).first() {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => self.shape.remedy(),
            };
            self.fault(format!("must be {}, not \"{text}\"", one_of(words)), help);
        }
        found
    }

    /// A path, made absolute by the file's directory.
    pub(in crate::config) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.starts_with('~') {
            self.fault("`~` stands for nothing here", "write the whole path");
            return None;
        }
        Some(self.walker.base.join(text))
    }

    /// An IP address with a port.
    pub(in crate::config) fn address(&self) -> Option<SocketAddr> {
        self.value.as_str().and_then(|text| text.parse().ok()).or_else(|| self.none())
    }

    /// An `http` or `https` URL without a user or password.
    pub(in crate::config) fn url(&self) -> Option<String> {
        let text = self.text()?;
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or(""));
        match host {
            Some(host) if host.contains('@') => {
                self.cover();
                self.fault(
                    "must not hold a user or password",
                    "leave out what stands before the `@`; secrets have forms of their own",
                );
                None
            }
            Some(host) if !host.is_empty() && !text.contains(char::is_whitespace) => Some(text),
            _ => {
                self.cover();
                self.none()
            }
        }
    }

    /// The name of an element of the described top-level table.
    pub(in crate::config) fn reference(&self) -> Option<String> {
        let Shape::Reference(of) = *self.shape else { return self.none() };
        let name = self.text()?;
        let known: Vec<_> = self.walker.names_of(of).iter().map(String::as_str).collect();
        self.walker.used.borrow_mut().insert((of, name.clone()));
        if known.contains(&name.as_str()) {
            return Some(name);
        }
        let near = nearest(&name, &known);
        let help = match (near.as_slice(), known.as_slice()) {
            (_, []) => format!("add a table [{of}.{name}]"),
            ([], _) => {
                format!("the {of} of this file are {}", one_of(&known).replace(" or ", " and "))
            }
            (near, _) => format!("did you mean {}?", one_of(near)),
        };
        let mut issue = self.issue(format!("there is no [{of}.{name}]"), help);
        issue.absent = Some(name);
        self.walker.error(issue);
        None
    }

    /// The items of a list.
    pub(in crate::config) fn list(&self) -> Vec<Self> {
        let (Shape::List { of, min }, Some(array)) = (self.shape, self.value.as_array()) else {
            self.refuse();
            return Vec::new();
        };
        if array.len() < *min {
            self.fault("must not be empty", self.shape.remedy());
        }
        let item = |(index, value): (usize, &'w toml::Spanned<DeValue<'w>>)| Self {
            walker: self.walker,
            shape: of,
            path: format!("{}[{index}]", self.path),
            anchor: None,
            span: self.span.as_ref().map(|_| value.span()),
            value: value.get_ref(),
            below: None,
        };
        array.iter().enumerate().map(item).collect()
    }

    /// The texts of a list, none of them twice.
    pub(in crate::config) fn distinct<T: PartialEq>(
        &self,
        read: impl Fn(&Self) -> Option<T>,
    ) -> Vec<T> {
        let mut found = Vec::new();
        for node in self.list() {
            match read(&node) {
                Some(value) if found.contains(&value) => {
                    node.fault("stands in this list twice", "remove one of the two");
                }
                Some(value) => found.push(value),
                None => {}
            }
        }
        found
    }

    /// The entries of a map, in the order of the file.
    pub(in crate::config) fn map(&self) -> Vec<Entry<'w>> {
        let &Shape::Map { name: what, own, .. } = self.shape else {
            self.refuse();
            return Vec::new();
        };
        if !self.value.is_table() {
            self.refuse();
        }
        let entries = self.names();
        for Entry { name, node } in &entries {
            if own && !is_name(name) || name.is_empty() {
                node.at_key().fault(
                    format!("\"{name}\" cannot name a {what}"),
                    "use letters, digits, `-` and `_`; begin with a letter or digit; at most 63",
                );
            }
        }
        entries
    }

    /// The entries of a map, unchecked, in the order of the file.
    pub(in crate::config) fn names(&self) -> Vec<Entry<'w>> {
        let (&Shape::Map { of, .. }, Some(table)) = (self.shape, self.value.as_table()) else {
            return Vec::new();
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (
            &toml::Spanned<toml::de::DeString<'_>>,
            &'w toml::Spanned<DeValue<'w>>,
        )| {
            let name = key.get_ref().clone().into_owned();
            let node = Self {
                walker: self.walker,
                shape: of,
                path: format!("{}.{name}", self.path),
                anchor: self.span.as_ref().map(|_| key.span()),
                span: self.span.as_ref().map(|_| value.span()),
                value: value.get_ref(),
                below: None,
            };
            Entry { name, node }
        };
        entries.into_iter().map(entry).collect()
    }

    /// The table that is described.
    pub(in crate::config) fn section(&self) -> Option<Section<'w>> {
        match (self.shape, self.value.as_table()) {
            (Shape::Table(table), Some(_)) => Some(self.open(table)),
            _ => self.none(),
        }
    }

    /// The kind of a table that comes in kinds, and the table.
    pub(in crate::config) fn kind(&self) -> Option<(&'static str, Section<'w>)> {
        let (Shape::Kinds(kinds), Some(own)) = (self.shape, self.value.as_table()) else {
            return self.none();
        };
        let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        let Some(given) = own.get("kind") else {
            let mut issue = self.at_key().issue(
                format!("`kind` is missing in [{}]", self.path),
                format!("add `kind`: {}", one_of(&names)),
            );
            issue.absent = Some("kind".to_owned());
            self.walker.error(issue);
            self.cover_unknown(kinds);
            return None;
        };
        let found = kinds.iter().find(|(name, _)| given.get_ref().as_str() == Some(name));
        if found.is_none() {
            let mut node = self.clone();
            node.span = self.span.as_ref().map(|_| given.span());
            node.path = format!("{}.kind", self.path);
            node.value = given.get_ref();
            node.unknown_kind(&names);
            self.cover_unknown(kinds);
        }
        found.map(|(name, table)| (*name, self.open(table)))
    }

    /// The same value as one of its two shapes, whichever its TOML type fits.
    pub(in crate::config) fn either(&self) -> Option<Self> {
        let Shape::Either(one, other) = self.shape else { return self.none() };
        let fits = |shape: &Shape| {
            matches!(
                (shape, self.value),
                (Shape::Choice(_), DeValue::String(_)) | (Shape::Table(_), DeValue::Table(_))
            )
        };
        let shape = [one, other].into_iter().find(|shape| fits(shape)).or_else(|| self.none())?;
        Some(self.described(shape))
    }

    /// The same value, described otherwise.
    pub(in crate::config) fn described(&self, shape: &'static Shape) -> Self {
        Self { shape, ..self.clone() }
    }

    /// Covers the value, and all that is in it, in whatever is shown of the file.
    pub(in crate::config) fn cover(&self) {
        if let Some(span) = &self.span {
            self.walker.cover(self.value, span.clone());
        }
    }

    /// The same, to be reported at its key.
    pub(in crate::config) fn at_key(&self) -> Self {
        Self { span: self.anchor.clone().or_else(|| self.span.clone()), ..self.clone() }
    }

    /// Covers what no kind of table knows.
    fn cover_unknown(&self, kinds: &[(&str, &'static super::Table)]) {
        for (key, value) in self.value.as_table().into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().as_ref();
            if name != "kind" && kinds.iter().all(|(_, table)| table.key(name).is_none()) {
                self.walker.cover(value.get_ref(), value.span());
            }
        }
    }

    fn unknown_kind(&self, names: &[&str]) {
        let near = self.value.as_str().and_then(|text| nearest(text, names).first().copied());
        let help = near.map_or_else(
            || format!("write {}", one_of(names)),
            |near| format!("did you mean \"{near}\"?"),
        );
        self.fault(format!("must be {}, not {}", one_of(names), self.shown()), help);
    }

    fn open(&self, table: &'static super::Table) -> Section<'w> {
        let anchor = self.anchor.clone().or_else(|| self.span.clone());
        let place = Place { path: self.path.clone(), anchor };
        let own = self.span.as_ref().and_then(|_| self.value.as_table());
        let below = self.below.and_then(DeValue::as_table);
        Section::open(self.walker, table, place, own, below)
    }

    fn none<T>(&self) -> Option<T> {
        self.refuse();
        None
    }

    /// What the value is, in words. What is long or may be a secret is not repeated: if it may be
    /// seen, the place shows it.
    fn shown(&self) -> String {
        let covered = self.span.as_ref().is_some_and(|span| self.walker.is_covered(span));
        match self.value {
            value if covered => called(value).to_owned(),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::String(text)
                if text.chars().count() <= 40
                    && !text.contains("://")
                    && !matches!(self.shape, Shape::Secret) =>
            {
                format!("{text:?}")
            }
            DeValue::String(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                called(self.value).to_owned()
            }
        }
    }

    fn issue(&self, message: String, help: String) -> Issue {
        Issue { span: self.span.clone(), path: self.path.clone(), message, help, absent: None }
    }
}

/// Whether a text may name an element: such names go into paths, metrics and events.
fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(|char| char.is_ascii_alphanumeric() || char == '-' || char == '_')
}
