//! `[hooks.*]`: what is run when a criterion trips.
//!
//! Owns the keys of a hook. Refuses shells: a command is a list. Invariant: a program that is given
//! as a relative path lies under the configuration file's directory.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use crate::hook::Settings;

use super::Places;
use super::describe::{Key, Shape, Table};
use super::walk::{Entry, Node, Section};

/// The key of the hooks.
pub(super) const KEY: Key = Key::optional(
    "hooks",
    Shape::Map { of: &HOOKS, name: "hook", own: true },
    "what is run when a criterion trips, by name",
);

static HOOKS: Shape = Shape::Table(&HOOK);

static HOOK: Table = Table {
    what: "a hook",
    keys: &[
        Key::required(
            "command",
            Shape::List { of: &Shape::AnyText, min: 1 },
            "program and arguments; no shell is involved, and the drift event comes on standard input",
        ),
        Key::optional(
            "environment",
            Shape::Map { of: &Shape::AnyText, name: "variable", own: false },
            "the program's whole environment, but for `PATH` (unless it is given here) and what driftd adds",
        ),
        Key::optional("directory", Shape::Path, "its working directory; left out: `/`"),
        Key::defaulted(
            "timeout",
            Shape::SOME_DURATION,
            "how long one run may take before it is killed",
        ),
        Key::defaulted(
            "deadline",
            Shape::SOME_DURATION,
            "how long it may take over all tries before it is recorded as failed; tries go on",
        ),
        Key::defaulted(
            "backoff",
            Shape::SOME_DURATION,
            "wait before the second try; doubles up to five minutes",
        ),
    ],
    elsewhere: &[
        ("url", "a hook is a command; call a URL with a program such as curl"),
        ("shell", "no shell is involved: give program and arguments as `command = [...]`"),
    ],
};

/// How long one run may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// How long all tries may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// The wait before the second try.
pub(super) const BACKOFF: Duration = Duration::from_secs(1);

/// Reads every hook.
pub(super) fn read(root: &Section<'_>) -> Vec<Settings> {
    root.take(KEY.name).iter().flat_map(Node::map).filter_map(|entry| hook(&entry)).collect()
}

fn hook(entry: &Entry<'_>) -> Option<Settings> {
    let section = entry.node.section()?;
    let command = section.take("command").and_then(|node| command(&node));
    let environment = section.take("environment");
    environment.iter().for_each(Node::cover);
    let environment = environment
        .map_or_else(BTreeMap::new, |node| node.map().iter().filter_map(variable).collect());
    let directory = section.take("directory").and_then(|node| node.path());
    let span = |name, base| section.take(name).and_then(|node| node.duration()).unwrap_or(base);
    let times = |name, base| section.take(name).map_or(Some(base), |node| node.duration());
    let (timeout, deadline) = (times("timeout", TIMEOUT), times("deadline", DEADLINE));
    let backoff = span("backoff", BACKOFF);
    check_times(&section, timeout?, deadline?);
    let (timeout, deadline) = (timeout?, deadline?);
    let name = entry.name.clone();
    Some(Settings { name, command: command?, environment, directory, timeout, deadline, backoff })
}

fn command(node: &Node<'_>) -> Option<Vec<String>> {
    let items = node.list();
    let mut words = items.iter().map(Node::text).collect::<Option<Vec<_>>>()?;
    let (program, item) = (words.first_mut()?, items.first()?);
    if program.trim().is_empty() {
        item.fault("a program has a name", "write the program's path");
        return None;
    }
    if !program.contains('/') {
        item.warn(
            format!("`{program}` is searched for in the system's default directories"),
            "write the program's whole path, so that no other of its name is run",
        );
        return Some(words);
    }
    let path = node.walker.base.join(&*program);
    match path.to_str() {
        Some(text) => text.clone_into(program),
        None => item.fault("the path is not UTF-8", "write the program's whole path"),
    }
    let checked = node.walker.places == Places::Checked;
    if let Some(cause) = cannot_run(&path).filter(|_| checked) {
        item.warn(
            format!("`{}` {cause}", path.display()),
            "put an executable program there before a criterion trips",
        );
    }
    Some(words)
}

fn cannot_run(path: &Path) -> Option<&'static str> {
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => Some("is no file"),
        Ok(found) if found.permissions().mode() & 0o111 == 0 => Some("is not executable"),
        Ok(_) => None,
        Err(_) => Some("is not there, or cannot be seen"),
    }
}

fn variable(entry: &Entry<'_>) -> Option<(String, String)> {
    if entry.name.contains(['=', '\0']) {
        entry.node.at_key().fault("a variable's name has no `=`", "rename the variable");
    }
    Some((entry.name.clone(), entry.node.text()?))
}

fn check_times(section: &Section<'_>, timeout: Duration, deadline: Duration) {
    if timeout > deadline {
        section.fault(
            &["timeout", "deadline"],
            "one run may take longer than all tries together",
            "raise `deadline`, or lower `timeout`",
        );
    }
}
