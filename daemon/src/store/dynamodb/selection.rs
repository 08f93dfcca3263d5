//! What is wanted of an item.
//!
//! Owns the tree of wanted and ignored attributes, names and JSON pointers alike. Refuses values.
//! Invariant: every attribute of an item is a key attribute, wanted, ignored, or can be named in the
//! form in which it could be wanted or ignored.

use std::collections::BTreeMap;

use crate::model::Logical;
use crate::store::Read;

/// Wanted and ignored attributes.
#[derive(Debug)]
pub(super) struct Selection {
    /// The item itself; its children are the top-level attributes.
    pub(super) root: Node,
    /// Name and type of each wanted column.
    pub(super) columns: Vec<(String, Logical)>,
    /// Name and type of each key attribute, in key order.
    pub(super) keys: Vec<(String, Logical)>,
    /// The pointer of each node; the root's is empty.
    pointers: Vec<String>,
}

/// An attribute, or a value in one, that somebody speaks of.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) number: usize,
    /// Where its value goes: a column, or behind the columns a key attribute.
    pub(super) slots: Vec<usize>,
    /// What else lies in it is not unmapped: it is wanted as a whole, or ignored.
    pub(super) quiet: bool,
    /// By the name of the member, or the index of the element.
    pub(super) children: BTreeMap<String, Self>,
}

impl Selection {
    /// What `read` asks for. A name that begins with `/` is a JSON pointer (RFC 6901); an attribute
    /// whose own name begins so is reached as `/~1...`.
    ///
    /// # Errors
    /// If a pointer is malformed.
    pub(super) fn new(read: &Read) -> Result<Self, String> {
        let mut selection = Self {
            root: Node::default(),
            columns: Vec::with_capacity(read.columns.len()),
            keys: Vec::with_capacity(read.schema.key.len()),
            pointers: vec![String::new()],
        };
        for (slot, name) in read.columns.iter().enumerate() {
            let logical = read.schema.column(name).map_or(Logical::Value, |column| column.logical);
            selection.columns.push((name.clone(), logical));
            selection.want(name, slot)?;
        }
        for (index, column) in read.schema.key_columns().enumerate() {
            selection.keys.push((column.name.clone(), column.logical));
            let node = selection.top(&column.name);
            node.slots.push(read.columns.len() + index);
            node.quiet = true;
        }
        for name in &read.ignored {
            // What lies in a map is told, and so ignored, as `/map/*`.
            selection.node(name.strip_suffix("/*").unwrap_or(name))?.quiet = true;
        }
        selection.root.hush();
        Ok(selection)
    }

    /// The name under which an attribute that nobody speaks of is told: `name` in the node of this
    /// number; an empty name stands for the node itself.
    pub(super) fn unmapped(&self, node: usize, name: &str) -> String {
        let pointer = &self.pointers[node];
        if pointer.is_empty() && !name.starts_with('/') {
            return name.to_owned();
        }
        if !name.is_empty() {
            return format!("{pointer}/{}", escape(name));
        }
        // A top-level attribute goes by its plain name where that is one.
        match pointer.strip_prefix('/') {
            Some(plain) if !plain.contains(['/', '~']) => plain.to_owned(),
            Some(_) | None => pointer.clone(),
        }
    }

    fn want(&mut self, name: &str, slot: usize) -> Result<(), String> {
        let node = self.node(name)?;
        node.slots.push(slot);
        node.quiet = true;
        Ok(())
    }

    fn node(&mut self, name: &str) -> Result<&mut Node, String> {
        let Some(steps) = name.strip_prefix('/') else { return Ok(self.top(name)) };
        let mut node = &mut self.root;
        for step in steps.split('/') {
            let step = unescape(step).ok_or_else(|| {
                format!("`{name}` is not a JSON pointer: `~` must be followed by 0 or 1")
            })?;
            node = child(&mut self.pointers, node, &step);
        }
        Ok(node)
    }

    fn top(&mut self, name: &str) -> &mut Node {
        child(&mut self.pointers, &mut self.root, name)
    }
}

impl Node {
    /// What lies in something quiet is quiet.
    fn hush(&mut self) {
        for child in self.children.values_mut() {
            child.quiet |= self.quiet;
            child.hush();
        }
    }
}

fn child<'a>(pointers: &mut Vec<String>, node: &'a mut Node, name: &str) -> &'a mut Node {
    let parent = node.number;
    node.children.entry(name.to_owned()).or_insert_with(|| {
        let pointer = format!("{}/{}", pointers[parent], escape(name));
        pointers.push(pointer);
        Node { number: pointers.len() - 1, ..Node::default() }
    })
}

fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

fn unescape(step: &str) -> Option<String> {
    let mut parts = step.split('~');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (letter, rest) = match part.as_bytes().first()? {
            b'0' => ('~', &part[1..]),
            b'1' => ('/', &part[1..]),
            _ => return None,
        };
        plain.push(letter);
        plain.push_str(rest);
    }
    Some(plain)
}
