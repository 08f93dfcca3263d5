//! `[pairings.*.mapping]`: the built-in mapping.
//!
//! Owns its keys: entity, fields, what is left out. Refuses what needs code. Invariant: fields keep
//! the order of the file, which is the order of the digest, and at least one is a key.

use crate::model::{Logical, Role, Rule};
use crate::plugin::builtin::{Field, Settings};
use crate::plugin::may_be_version;

use super::describe::{Key, Shape, Table, one_of};
use super::walk::{Entry, Node, Section, nearest};

/// The key of the mapping.
pub(super) const KEY: Key = Key::optional(
    "mapping",
    Shape::Table(&MAPPING),
    "the built-in mapping: columns selected and renamed; either this or `plugin`",
);

static MAPPING: Table = Table {
    what: "a mapping",
    keys: &[
        Key::optional(
            "entity",
            Shape::Text,
            "name of the entity type; left out: the pairing's name",
        ),
        Key::required(
            "fields",
            Shape::Map { of: &Shape::Table(&FIELD), name: "field", own: false },
            "the entity's fields, by name; their order is that of the digest",
        ),
        Key::optional("ignore", Shape::Table(&IGNORE), "what is left out on purpose"),
    ],
    elsewhere: &[],
};

static FIELD: Table = Table {
    what: "a field",
    keys: &[
        Key::optional(
            "role",
            Shape::Choice(&ROLE_NAMES),
            "what the field is for: it identifies the entity (`key`), is part of the digest (`compared`, also when left out), grows with every change (`version`), is counted by (`label`), or serves key templates only (`carried`)",
        ),
        Key::optional(
            "source",
            Shape::Text,
            "column of the source, or JSON pointer into its item; left out: the field's name",
        ),
        Key::optional(
            "target",
            Shape::Text,
            "column of the target, or JSON pointer into its item; left out: the field's name",
        ),
        Key::optional(
            "type",
            Shape::Text,
            "what its values mean, such as `text`, `integer` or `decimal(12,2)`; left out: what the source's column says, else the target's, and `float` or `float32` where either is; see Types",
        ),
        Key::optional(
            "rules",
            Shape::List { of: &Shape::Text, min: 0 },
            "declared equivalences: `absent=null`, `null=empty`, `trim-end`, `nfc`, `tolerance=<number>`, `text=number`, `text=bool`, `text=hex`, `text=base64`, `number=bool`, `json-null=null`; see Types",
        ),
        Key::optional(
            "optional",
            Shape::Flag,
            "true: items need not have the attribute, so nothing is said if none of those that are looked at first has it; it changes nothing of how values are compared",
        ),
    ],
    elsewhere: &[],
};

static IGNORE: Table = Table {
    what: "`ignore`",
    keys: &[
        Key::optional(
            "source",
            Shape::List { of: &Shape::Text, min: 0 },
            "columns or attributes of the source that are left out on purpose",
        ),
        Key::optional(
            "target",
            Shape::List { of: &Shape::Text, min: 0 },
            "columns or attributes of the target that are left out on purpose",
        ),
    ],
    elsewhere: &[],
};

const ROLES: [(&str, Role); 5] = [
    ("key", Role::Key),
    ("compared", Role::Compared),
    ("version", Role::Version),
    ("label", Role::Label),
    ("carried", Role::Carried),
];

const ROLE_NAMES: [&str; 5] = {
    let mut names = [""; ROLES.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = ROLES[index].0;
        index += 1;
    }
    names
};

/// Reads a mapping of the pairing called `pairing`, and the names of fields of which items need not have
/// the attribute.
pub(super) fn read(node: &Node<'_>, pairing: &str) -> Option<(Settings, Vec<String>)> {
    let section = node.section()?;
    let entity = match section.take("entity") {
        Some(node) => node.text(),
        None => Some(pairing.to_owned()),
    };
    let ignore = section.take("ignore").and_then(|node| node.section());
    let ignored = |side| {
        let list = ignore.as_ref().and_then(|section| section.take(side));
        list.map_or_else(Vec::new, |node| node.distinct(Node::text))
    };
    let (ignore_source, ignore_target) = (ignored("source"), ignored("target"));
    let entries = section.take("fields").map(|node| node.map())?;
    let drafts: Vec<_> = entries.into_iter().filter_map(|entry| draft(&entry)).collect();
    check_roles(&section, &drafts);
    check_ignored(&section, &drafts, (&ignore_source, &ignore_target));
    let given = drafts.len();
    let optional = drafts.iter().filter(|draft| draft.optional);
    let optional: Vec<String> = optional.map(|draft| draft.name.clone()).collect();
    let fields: Vec<_> = drafts.into_iter().filter_map(Draft::finished).collect();
    let whole = fields.len() == given && given == section_len(node);
    whole.then_some((Settings { entity: entity?, fields, ignore_source, ignore_target }, optional))
}

/// How many fields the file gives, readable or not.
fn section_len(node: &Node<'_>) -> usize {
    let fields = node.value.as_table().and_then(|table| table.get("fields"));
    fields.and_then(|fields| fields.get_ref().as_table()).map_or(0, |fields| fields.len())
}

/// What could be read of a field. What was refused is none: it is told already, and must not hide
/// what is wrong with the rest.
struct Draft {
    name: String,
    role: Option<Role>,
    logical: Option<Option<Logical>>,
    source: Option<String>,
    target: Option<String>,
    rules: Vec<Rule>,
    optional: bool,
}

impl Draft {
    fn finished(self) -> Option<Field> {
        Some(Field {
            name: self.name,
            role: self.role?,
            logical: self.logical?,
            source: self.source?,
            target: self.target?,
            rules: self.rules,
        })
    }
}

fn draft(entry: &Entry<'_>) -> Option<Draft> {
    let section = entry.node.section()?;
    if entry.name.contains(['{', '}']) {
        entry.node.at_key().fault("a field's name has no braces", "rename the field");
    }
    let role = match section.take("role") {
        Some(node) => node.pick(&ROLES),
        None => Some(Role::Compared),
    };
    let logical = match section.take("type") {
        Some(node) => node.parsed(logical).map(Some),
        None => Some(None),
    };
    let rules = section.take("rules");
    let found =
        rules.as_ref().map_or_else(Vec::new, |node| node.distinct(|node| node.parsed(rule)));
    let column = |side| match section.take(side) {
        Some(node) => node.parsed(column),
        None => Some(entry.name.clone()),
    };
    let (source, target) = (column("source"), column("target"));
    if let Some(node) = &rules {
        check_rules(node, &found, logical.flatten());
    }
    if let (Some(Role::Version), Some(Some(logical))) = (role, logical)
        && !may_be_version(logical)
    {
        section.fault(
            &["type"],
            format!("a version of type {logical} does not say which of two is older"),
            "give a number or a time, or another role",
        );
    }
    let optional = section.take("optional").and_then(|node| node.flag()).unwrap_or(false);
    Some(Draft { name: entry.name.clone(), role, logical, source, target, rules: found, optional })
}

fn logical(text: &str) -> Result<Logical, (String, String)> {
    let parameters = text.split_once('(').map(|(name, rest)| (name, rest.strip_suffix(')')));
    let digits = |text: &str| text.trim().parse::<u8>().is_ok();
    let well_formed = match parameters {
        None => true,
        Some(("decimal", Some(inner))) => {
            inner.split_once(',').map_or_else(|| digits(inner), |(p, s)| digits(p) && digits(s))
        }
        Some(_) => false,
    };
    let known: Vec<_> = Logical::names().collect();
    let unknown = || {
        let name = text.split('(').next().unwrap_or(text);
        let near = nearest(name, &known);
        let candidates = if near.is_empty() { known.as_slice() } else { near.as_slice() };
        let help = if known.contains(&name) {
            format!("write \"{name}\"; only a decimal has parameters: \"decimal(12,2)\"")
        } else if near.is_empty() {
            format!("the types are {}", one_of(candidates).replace(" or ", " and "))
        } else {
            format!("did you mean {}?", one_of(candidates))
        };
        (format!("there is no type \"{text}\""), help)
    };
    Logical::parse(text).filter(|_| well_formed && text.trim() == text).ok_or_else(unknown)
}

fn rule(text: &str) -> Result<Rule, (String, String)> {
    let names: Vec<_> = Rule::names().chain(["tolerance=0.001"]).collect();
    Rule::parse(text).map_err(|_unknown| {
        if text.starts_with("tolerance") {
            let help = "write \"tolerance=0.001\": a share from 0, less than 1".to_owned();
            return (format!("\"{text}\" is no tolerance"), help);
        }
        let help = match nearest(text, &names).first() {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("the rules are {}", one_of(&names).replace(" or ", " and ")),
        };
        (format!("there is no rule \"{text}\""), help)
    })
}

/// A column, or a JSON pointer whose escapes are whole.
fn column(text: &str) -> Result<String, (String, String)> {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    if text.starts_with('/') && !escapes {
        let help = "in a JSON pointer write `~0` for `~` and `~1` for `/`".to_owned();
        return Err(("is no JSON pointer: a `~` stands alone".to_owned(), help));
    }
    Ok(text.to_owned())
}

fn check_roles(section: &Section<'_>, fields: &[Draft]) {
    let having = |role: Role| {
        let having = fields.iter().filter(move |field| field.role == Some(role));
        having.map(|field| field.name.as_str())
    };
    let known = fields.iter().all(|field| field.role.is_some());
    if known && having(Role::Key).next().is_none() {
        section.fault(
            &["fields"],
            "no field has the role \"key\"",
            "write `role = \"key\"` on the fields that identify an entity",
        );
    }
    let versions: Vec<_> = having(Role::Version).collect();
    if versions.len() > 1 {
        section.fault(
            &["fields"],
            format!("{} have the role \"version\"", one_of(&versions).replace(" or ", " and ")),
            "keep the one that grows with every change",
        );
    }
}

fn check_rules(node: &Node<'_>, rules: &[Rule], logical: Option<Logical>) {
    let numeric = |logical: &Logical| {
        matches!(
            logical,
            Logical::Integer
                | Logical::Decimal
                | Logical::Float
                | Logical::Float32
                | Logical::Value
        )
    };
    if let Some(logical) = logical.filter(|logical| !numeric(logical))
        && rules.iter().any(|rule| matches!(rule, Rule::Tolerance(_)))
    {
        node.fault(
            format!("a tolerance is for numbers, and this field is of type {logical}"),
            "remove the tolerance, or correct `type`",
        );
    }
    if [Rule::TextIsHex, Rule::TextIsBase64].iter().all(|rule| rules.contains(rule)) {
        node.fault(
            "some texts are both hexadecimal digits and base64",
            "keep the one of `text=hex` and `text=base64` in which the texts are written",
        );
    }
}

/// A column cannot be compared and left out at once.
fn check_ignored(
    section: &Section<'_>,
    fields: &[Draft],
    (ignore_source, ignore_target): (&[String], &[String]),
) {
    let source = fields.iter().filter_map(|field| field.source.as_ref());
    let target = fields.iter().filter_map(|field| field.target.as_ref());
    let both = source
        .filter(|column| ignore_source.contains(column))
        .chain(target.filter(|column| ignore_target.contains(column)));
    for column in both {
        section.fault(
            &["ignore"],
            format!("`{column}` is ignored and mapped at once"),
            "remove it from `ignore`, or remove the field",
        );
    }
}
