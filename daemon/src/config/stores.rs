//! `[stores.*]`: the databases that are read, how they are reached, and how much they may be asked.
//!
//! Owns the keys of every kind of store. Refuses to connect: what only the store can say is found at
//! start. Invariant: a password is never in the settings, only where it is kept.

use std::path::PathBuf;

use crate::model::Secret;
use crate::store::{DynamodbSettings, Kind, Limits, MysqlSettings, Settings, Timeouts, Tls};

use super::describe::{Key, Shape, Table};
use super::walk::{Node, Section};
use super::{Places, existing_file, secret};

/// The key of the stores.
pub(super) const KEY: Key = Key::optional(
    "stores",
    Shape::Map { of: &STORE, name: "store", own: true },
    "the databases that are read, by name",
);

static STORE: Shape =
    Shape::Kinds(&[("mysql", &MYSQL), ("dynamodb", &DYNAMODB), ("sqlite", &SQLITE)]);

static MYSQL: Table = Table {
    what: "a MySQL store",
    keys: &[
        Key::required(
            "kind",
            Shape::Choice(&["mysql"]),
            "MySQL 8 or later, or MariaDB 10.11 or later",
        ),
        Key::required("host", Shape::Text, "host name or address of the server"),
        Key::defaulted("port", Shape::Count { min: 1, max: 65_535 }, "TCP port of the server"),
        Key::required(
            "user",
            Shape::Text,
            "user that may read the relations, and need not do more",
        ),
        Key::optional(
            "password",
            Shape::Secret,
            "where the user's password is kept; left out: the user has none",
        ),
        Key::required("database", Shape::Text, "database (schema) that holds the relations"),
        Key::defaulted(
            "tls",
            Shape::Either(
                &Shape::Choice(&["verified", "required", "disabled"]),
                &Shape::Table(&AUTHORITY),
            ),
            "how the connection is protected: `verified` against the system's certificate authorities, or `{ ca = \"file\" }` against those of a PEM file; `required` encrypts without looking at the certificate; `disabled` sends everything in clear",
        ),
        LIMITS,
        TIMEOUTS,
    ],
    elsewhere: &[],
};

static AUTHORITY: Table = Table {
    what: "a certificate authority",
    keys: &[Key::required(
        "ca",
        Shape::Path,
        "PEM file of the authorities that may sign the server's certificate",
    )],
    elsewhere: &[],
};

static DYNAMODB: Table = Table {
    what: "a DynamoDB store",
    keys: &[
        Key::required(
            "kind",
            Shape::Choice(&["dynamodb"]),
            "Amazon DynamoDB, or what speaks its protocol; credentials come from the AWS SDK's default chain",
        ),
        Key::optional("region", Shape::Text, "AWS region; left out: the default chain's"),
        Key::optional("endpoint", Shape::Url, "URL of the endpoint; left out: the region's"),
        Key::optional(
            "profile",
            Shape::Text,
            "profile of the shared AWS configuration files; left out: the default chain's",
        ),
        Key::optional(
            "segments",
            Shape::Count { min: 1, max: 1_000_000 },
            "segments of a scan; left out: from the table's size",
        ),
        Key::defaulted(
            "limits",
            Shape::Table(&DYNAMODB_LIMITS),
            "how much the store may be asked, over all pairings",
        ),
        TIMEOUTS,
    ],
    elsewhere: &[
        (
            "password",
            "credentials come from the AWS SDK's default chain: AWS_* variables, shared files, or the instance's role",
        ),
        (
            "access_key_id",
            "credentials come from the AWS SDK's default chain: AWS_* variables, shared files, or the instance's role",
        ),
        (
            "secret_access_key",
            "credentials come from the AWS SDK's default chain: AWS_* variables, shared files, or the instance's role",
        ),
    ],
};

static SQLITE: Table = Table {
    what: "a SQLite store",
    keys: &[
        Key::required("kind", Shape::Choice(&["sqlite"]), "a SQLite file, opened read-only"),
        Key::required("path", Shape::Path, "the file"),
        LIMITS,
        TIMEOUTS,
    ],
    elsewhere: &[],
};

const LIMITS: Key = Key::defaulted(
    "limits",
    Shape::Table(&PLAIN_LIMITS),
    "how much the store may be asked, over all pairings",
);
const ROWS: Key =
    Key::optional("rows_per_second", Shape::SOME, "rows read a second; left out: unlimited");
const BYTES: Key = Key::optional(
    "bytes_per_second",
    Shape::Size { min: 1 },
    "bytes of values read a second; left out: unlimited",
);
const CONCURRENCY: Key = Key::defaulted(
    "concurrency",
    Shape::Count { min: 1, max: 1_000 },
    "reads at the same time, and so connections",
);

static PLAIN_LIMITS: Table = Table {
    what: "this store's limits",
    keys: &[ROWS, BYTES, CONCURRENCY],
    elsewhere: &[(
        "capacity_per_second",
        "only a DynamoDB store has read capacity; limit rows or bytes",
    )],
};

static DYNAMODB_LIMITS: Table = Table {
    what: "this store's limits",
    keys: &[
        ROWS,
        BYTES,
        Key::optional(
            "capacity_per_second",
            Shape::Positive,
            "read capacity units consumed a second; left out: unlimited",
        ),
        CONCURRENCY,
    ],
    elsewhere: &[],
};

const TIMEOUTS: Key = Key::defaulted(
    "timeouts",
    Shape::Table(&Table {
        what: "this store's timeouts",
        keys: &[
            Key::defaulted(
                "connect",
                Shape::SOME_DURATION,
                "until a connection stands, handshake and login included",
            ),
            Key::defaulted("read", Shape::SOME_DURATION, "until one request or page is answered"),
            Key::defaulted("patience", Shape::SOME_DURATION, "over all tries of one request"),
        ],
        elsewhere: &[],
    }),
    "how long the store may take",
);

/// Reads every store.
pub(super) fn read(root: &Section<'_>) -> Vec<Settings> {
    let mut stores = Vec::new();
    for entry in root.take(KEY.name).iter().flat_map(Node::map) {
        let Some((kind, section)) = entry.node.kind() else { continue };
        let limits = limits(&section, kind);
        let timeouts = timeouts(&section);
        section.take("kind");
        let kind = match kind {
            "mysql" => mysql(&section).map(Kind::Mysql),
            "dynamodb" => Some(Kind::Dynamodb(dynamodb(&section))),
            "sqlite" => {
                section.take("path").and_then(|node| node.path()).map(|path| Kind::Sqlite { path })
            }
            other => {
                // A kind that was described, and that nobody taught driftd to read.
                section.fault(
                    &["kind"],
                    format!("a store of kind \"{other}\" cannot be read by this driftd"),
                    "use another; and please report it, this is a fault of driftd",
                );
                None
            }
        };
        stores.extend(kind.map(|kind| Settings { name: entry.name, kind, limits, timeouts }));
    }
    stores
}

fn mysql(section: &Section<'_>) -> Option<MysqlSettings> {
    let host = section.take("host").and_then(|node| {
        node.parsed(|host| {
            if host.contains('@') {
                node.cover();
            }
            let plain = !host.contains(['@', '/']) && !host.contains(char::is_whitespace);
            plain.then(|| host.to_owned()).ok_or_else(|| {
                let message = "must be a host name or address alone".to_owned();
                (message, "give the port as `port` and the database as `database`".to_owned())
            })
        })
    });
    let port = section.take("port").map_or(Some(MYSQL_PORT), |node| node.count());
    let user = section.take("user").and_then(|node| node.text());
    let password = section.take("password").map(|node| secret::read(&node));
    let database = section.take("database").and_then(|node| node.text());
    let tls = section.take("tls").map_or_else(|| Some(Tls::default()), |node| tls(&node));
    let password: Option<Secret> = match password {
        None => None,
        Some(read) => Some(read?),
    };
    let settings = MysqlSettings {
        host: host?,
        port: port?,
        user: user?,
        password,
        database: database?,
        tls: tls?,
    };
    warn_of_clear_text(section, &settings);
    Some(settings)
}

/// MySQL's registered port.
pub(super) const MYSQL_PORT: u16 = 3306;

fn tls(node: &Node<'_>) -> Option<Tls> {
    let node = node.either()?;
    if node.value.is_str() {
        return node
            .pick(&[
                ("disabled", &Tls::Disabled),
                ("required", &Tls::Required),
                ("verified", &Tls::Verified),
            ])
            .cloned();
    }
    let section = node.section()?;
    section.take("ca").and_then(|node| authorities(&node)).map(Tls::VerifiedBy)
}

/// A file that holds certificates, as far as it can be read now.
fn authorities(node: &Node<'_>) -> Option<PathBuf> {
    let path = existing_file(node)?;
    let read = node.walker.places == Places::Checked;
    // What cannot be read was told by then.
    let bytes = std::fs::read(&path).ok().filter(|_| read);
    let begin = b"-----BEGIN CERTIFICATE-----";
    if bytes.is_some_and(|bytes| !bytes.windows(begin.len()).any(|part| part == begin)) {
        node.fault(
            format!("{} holds no certificate in PEM form", path.display()),
            "give a file with `-----BEGIN CERTIFICATE-----` in it",
        );
        return None;
    }
    Some(path)
}

fn warn_of_clear_text(section: &Section<'_>, settings: &MysqlSettings) {
    let address: Option<std::net::IpAddr> = settings.host.parse().ok();
    let local =
        settings.host == "localhost" || address.is_some_and(|address| address.is_loopback());
    let message = match settings.tls {
        Tls::Disabled if !local => "rows cross the network in clear",
        Tls::Required if !local => "the server's certificate is not verified: anyone may answer",
        Tls::Disabled | Tls::Required | Tls::Verified | Tls::VerifiedBy(_) => return,
    };
    section.warn(&["tls"], message, "write \"verified\", or { ca = \"file.pem\" }");
}

fn dynamodb(section: &Section<'_>) -> DynamodbSettings {
    let text = |name| section.take(name).and_then(|node| node.text());
    DynamodbSettings {
        region: text("region"),
        endpoint: section.take("endpoint").and_then(|node| node.url()),
        profile: text("profile"),
        segments: section.take("segments").and_then(|node| node.some()),
    }
}

fn limits(section: &Section<'_>, kind: &str) -> Limits {
    let base = Limits::default();
    let Some(limits) = section.take("limits").and_then(|node| node.section()) else { return base };
    let capacity = || limits.take("capacity_per_second").and_then(|node| node.number());
    Limits {
        rows_per_second: limits.take("rows_per_second").and_then(|node| node.some()),
        bytes_per_second: limits.take("bytes_per_second").and_then(|node| node.size()),
        capacity_per_second: if kind == "dynamodb" { capacity() } else { None },
        concurrency: limits
            .take("concurrency")
            .and_then(|node| node.some())
            .unwrap_or(base.concurrency),
    }
}

fn timeouts(section: &Section<'_>) -> Timeouts {
    let base = Timeouts::default();
    let Some(section) = section.take("timeouts").and_then(|node| node.section()) else {
        return base;
    };
    let span = |name, base| section.take(name).map_or(Some(base), |node| node.duration());
    let (connect, read) = (span("connect", base.connect), span("read", base.read));
    let patience = span("patience", base.patience);
    for (name, limit) in [("connect", connect), ("read", read)] {
        // What was refused is not compared with anything.
        let (Some(limit), Some(patience)) = (limit, patience) else { continue };
        if limit > patience && section.gives(&[name, "patience"]) {
            section.fault(
                &[name, "patience"],
                format!("`{name}` is longer than `patience`, which ends every request before"),
                format!("raise `patience`, or lower `{name}`"),
            );
        }
    }
    Timeouts {
        connect: connect.unwrap_or(base.connect),
        read: read.unwrap_or(base.read),
        patience: patience.unwrap_or(base.patience),
    }
}
