//! The words in which the file's format is described.
//!
//! Owns [`Table`], [`Key`] and [`Shape`]: each element's file describes its own keys with them. The
//! walk checks a file against this description, and the JSON Schema and the reference of keys are
//! written from it. Refuses to read anything. Invariant: a key that is not described cannot be read,
//! and a described key is read (see [`Section`](super::walk::Section)).

use std::collections::BTreeSet;
use std::time::Duration;

use super::units::{DURATION_FORMS, DURATION_MAX, SIZE_FORMS, show_duration, show_size};

/// A table with a fixed set of keys.
#[derive(Debug)]
pub(super) struct Table {
    /// What it is, with an article: `a MySQL store`.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
    /// Keys that people look for here although they belong elsewhere, and where that is.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value looks like.
    pub shape: Shape,
    /// Whether it must be there.
    pub need: Need,
    /// What it means: one sentence, without the full stop.
    pub doc: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It must.
    Required,
    /// It has a default, which `config/default.toml` shows.
    Defaulted,
    /// Leaving it out has a meaning of its own.
    Optional,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shape {
    /// A text that is not empty.
    Text,
    /// Any text.
    AnyText,
    /// A whole number.
    Count {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A number from 0 to 1.
    Ratio,
    /// True or false.
    Flag,
    /// A number greater than 0.
    Positive,
    /// A time span.
    Duration {
        /// The least.
        min: Duration,
    },
    /// A number of bytes.
    Size {
        /// The least.
        min: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A path; relative ones begin at the configuration file's directory.
    Path,
    /// An IP address with a port.
    Address,
    /// An `http` or `https` URL.
    Url,
    /// A reference to a secret.
    Secret,
    /// The name of an element of this top-level table.
    Reference(&'static str),
    /// A list.
    List {
        /// What its items look like.
        of: &'static Self,
        /// How many it has at least.
        min: usize,
    },
    /// A table whose keys are names.
    Map {
        /// What its values look like.
        of: &'static Self,
        /// What its keys name, in angle brackets in paths: `store`.
        name: &'static str,
        /// Whether the names are driftd's own: letters, digits, `-` and `_`.
        own: bool,
    },
    /// A table.
    Table(&'static Table),
    /// A table whose key `kind` says which table it is.
    Kinds(&'static [(&'static str, &'static Table)]),
    /// A value of the first or the second shape, which differ in their TOML type.
    Either(&'static Self, &'static Self),
    /// Any table.
    AnyTable,
}

impl Key {
    /// A key that must be there.
    pub(super) const fn required(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, need: Need::Required, doc }
    }

    /// A key with a default.
    pub(super) const fn defaulted(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, need: Need::Defaulted, doc }
    }

    /// A key that may be left out.
    pub(super) const fn optional(name: &'static str, shape: Shape, doc: &'static str) -> Self {
        Self { name, shape, need: Need::Optional, doc }
    }

    /// Whether its value says where a secret is kept.
    #[cfg(test)]
    pub(super) const fn is_secret(&self) -> bool {
        matches!(self.shape, Shape::Secret)
    }
}

/// The same keys where another table gives what is left out.
pub(super) const fn inherited<const N: usize>(mut keys: [Key; N]) -> [Key; N] {
    let mut index = 0;
    while index < N {
        keys[index].need = Need::Optional;
        index += 1;
    }
    keys
}

impl Table {
    /// The key called `name`.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// The names of all keys of a table, and of the tables in it.
pub(super) fn names(table: &Table) -> BTreeSet<&'static str> {
    let inner = table.keys.iter().flat_map(|key| names_in(&key.shape));
    inner.chain(table.keys.iter().map(|key| key.name)).collect()
}

fn names_in(shape: &Shape) -> BTreeSet<&'static str> {
    match shape {
        Shape::Table(table) => names(table),
        Shape::Secret => names(&super::secret::TABLE),
        Shape::Map { of, .. } | Shape::List { of, .. } => names_in(of),
        Shape::Kinds(kinds) => kinds.iter().flat_map(|(_, table)| names(table)).collect(),
        Shape::Either(one, other) => names_in(one).into_iter().chain(names_in(other)).collect(),
        Shape::Text
        | Shape::AnyText
        | Shape::Count { .. }
        | Shape::Ratio
        | Shape::Flag
        | Shape::Positive
        | Shape::Duration { .. }
        | Shape::Size { .. }
        | Shape::Choice(_)
        | Shape::Path
        | Shape::Address
        | Shape::Url
        | Shape::Reference(_)
        | Shape::AnyTable => BTreeSet::new(),
    }
}

impl Shape {
    /// Any time span.
    pub(super) const ANY_DURATION: Self = Self::Duration { min: Duration::ZERO };
    /// A time span that is not zero.
    pub(super) const SOME_DURATION: Self = Self::Duration { min: Duration::from_millis(1) };
    /// A whole number from 1 that fits 32 bits.
    pub(super) const SOME: Self = Self::Count { min: 1, max: u32::MAX as u64 };

    /// What is expected, for "must be ...".
    pub(super) fn expected(&self) -> String {
        match self {
            Self::Text => "a text that is not empty".to_owned(),
            Self::AnyText => "a text".to_owned(),
            Self::Count { min, max } if *max >= u64::from(u32::MAX) => {
                format!("a whole number of at least {min}")
            }
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Ratio => "a number from 0 to 1".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Positive => "a number greater than 0".to_owned(),
            Self::Duration { min } if min.is_zero() => "a duration".to_owned(),
            Self::Duration { .. } => "a duration greater than 0".to_owned(),
            Self::Size { min } => format!("a size of at least {}", show_size(*min)),
            Self::Choice(words) => one_of(words),
            Self::Path => "a path".to_owned(),
            Self::Address => "an IP address with a port".to_owned(),
            Self::Url => "a URL".to_owned(),
            Self::Secret => "a reference to a secret".to_owned(),
            Self::Reference(of) => format!("the name of one of `[{of}.*]`"),
            Self::List { .. } => "a list".to_owned(),
            Self::Map { .. } | Self::Table(_) | Self::Kinds(_) | Self::AnyTable => {
                "a table".to_owned()
            }
            Self::Either(one, other) => format!("{} or {}", one.expected(), other.expected()),
        }
    }

    /// How to write it.
    pub(super) fn remedy(&self) -> String {
        match self {
            Self::Text | Self::AnyText | Self::Reference(_) => {
                "write a text between double quotes".to_owned()
            }
            Self::Choice(words) => format!("write {}", one_of(words)),
            Self::Count { min, max } => match u32::try_from(*max) {
                Ok(u32::MAX) | Err(_) => {
                    format!("write a whole number such as {}, without quotes", (*min).max(100))
                }
                Ok(max) => format!("write a whole number from {min} to {max}, without quotes"),
            },
            Self::Ratio => "write a number such as 0.01, without quotes".to_owned(),
            Self::Flag => "write `true` or `false`, without quotes".to_owned(),
            Self::Positive => "write a number such as 250, without quotes".to_owned(),
            Self::Duration { .. } => {
                format!("write {DURATION_FORMS}; at most {}", show_duration(DURATION_MAX))
            }
            Self::Size { .. } => format!("write {SIZE_FORMS}"),
            Self::Path => "write a path between double quotes; a relative one begins at this \
                           file's directory"
                .to_owned(),
            Self::Address => "write an address such as \"127.0.0.1:9464\"".to_owned(),
            Self::Url => "write a URL such as \"http://127.0.0.1:4317\"".to_owned(),
            Self::Secret => SECRET_FORMS.to_owned(),
            Self::List { of, .. } => {
                format!("write a list in square brackets, each item {}", { of.expected() })
            }
            Self::Map { name, .. } => format!("write a table that has a key for each {name}"),
            Self::Table(table) => format!("write a table with {}", keys(table)),
            Self::Kinds(kinds) => {
                let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
                format!("write a table whose `kind` is {}", one_of(&names))
            }
            Self::Either(one, other) => format!("{}; or {}", one.remedy(), other.remedy()),
            Self::AnyTable => "write a table".to_owned(),
        }
    }
}

/// The forms of a secret, for messages.
pub(super) const SECRET_FORMS: &str = "write where the secret is kept: { env = \"NAME\" }, \
     { file = \"/path\" }, or { credential = \"name\" } (a file in $CREDENTIALS_DIRECTORY)";

/// `"a", "b" or "c"`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => format!("\"{word}\""),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("\"{word}\"")).collect();
            format!("{} or \"{last}\"", first.join(", "))
        }
    }
}

/// The keys of a table, in words.
pub(super) fn keys(table: &Table) -> String {
    let names: Vec<_> = table.keys.iter().map(|key| format!("`{}`", key.name)).collect();
    if names.len() == 1 {
        format!("the key {}", names[0])
    } else {
        format!("the keys {}", names.join(", "))
    }
}
