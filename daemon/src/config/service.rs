//! `[journal]`, `[http]` and `[shutdown]`: the daemon itself.
//!
//! Owns their keys. Refuses to open the journal or a port. Invariant: nothing is served unless an
//! address is given.

use std::net::SocketAddr;
use std::time::Duration;

use crate::journal;

use super::describe::{Key, Shape, Table};
use super::walk::Section;

/// The key of the journal.
pub(super) const JOURNAL_KEY: Key =
    Key::defaulted("journal", Shape::Table(&JOURNAL), "driftd's own durable state");
/// The key of what is served.
pub(super) const HTTP_KEY: Key = Key::optional(
    "http",
    Shape::Table(&HTTP),
    "where `/livez`, `/readyz` and `/metrics` are served; left out: nowhere",
);
/// The key of shutdown.
pub(super) const SHUTDOWN_KEY: Key =
    Key::defaulted("shutdown", Shape::Table(&SHUTDOWN), "how driftd stops");

static JOURNAL: Table = Table {
    what: "[journal]",
    keys: &[
        Key::defaulted(
            "path",
            Shape::Path,
            "the journal's file; `-wal`, `-shm`, `.lock` and the control socket `.sock` lie beside it; under the systemd unit in `/var/lib/driftd`",
        ),
        Key::defaulted(
            "retention",
            Shape::SOME_DURATION,
            "how long decided findings and delivered events are kept",
        ),
        Key::defaulted(
            "size_max",
            Shape::Size { min: 1 << 20 },
            "the size at which the oldest of those are dropped sooner",
        ),
    ],
    elsewhere: &[],
};

static HTTP: Table = Table {
    what: "[http]",
    keys: &[Key::required(
        "listen",
        Shape::Address,
        "address and port; it needs no authentication, so keep it off public networks",
    )],
    elsewhere: &[("port", "write `listen = \"127.0.0.1:9464\"`")],
};

static SHUTDOWN: Table = Table {
    what: "[shutdown]",
    keys: &[Key::defaulted(
        "grace",
        Shape::ANY_DURATION,
        "how long what is in flight may take to end",
    )],
    elsewhere: &[],
};

/// Reads where the journal is.
pub(super) fn journal(root: &Section<'_>) -> Option<journal::Settings> {
    let section = root.take(JOURNAL_KEY.name).and_then(|node| node.section())?;
    let path = section.take("path").and_then(|node| node.path());
    let retention = section.take("retention").and_then(|node| node.duration());
    let size_max = section.take("size_max").and_then(|node| node.size());
    Some(journal::Settings { path: path?, retention: retention?, size_max: size_max? })
}

/// Reads where to listen.
pub(super) fn listen(root: &Section<'_>) -> Option<SocketAddr> {
    let section = root.take(HTTP_KEY.name).and_then(|node| node.section())?;
    section.take("listen").and_then(|node| node.address())
}

/// Reads how long a shutdown may take.
pub(super) fn grace(root: &Section<'_>) -> Option<Duration> {
    let section = root.take(SHUTDOWN_KEY.name).and_then(|node| node.section())?;
    section.take("grace").and_then(|node| node.duration())
}
