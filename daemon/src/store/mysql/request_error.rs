//! What goes wrong with a server, in the words of stores.
//!
//! Owns the mapping of the driver's errors. Refuses to pass on what a server quotes: a message may
//! hold row values, so quoted parts are blanked unless they are known to be names. Invariant: what
//! may heal while one waits is marked so, and nothing else is tried again.

use mysql_async::{DriverError, Error, IoError, ServerError};

use crate::store::{StoreError, StoreErrorKind as Kind};

/// A failed attempt.
#[derive(Debug)]
pub(super) struct RequestError {
    pub(super) kind: Kind,
    pub(super) source: Option<Box<dyn std::error::Error + Send + Sync>>,
    /// Whether another attempt, a little later, may succeed.
    pub(super) again: bool,
    /// Whether the server said that it is asked too much.
    pub(super) throttled: bool,
}

impl RequestError {
    /// An error that stays.
    pub(super) fn lasting(kind: Kind) -> Self {
        Self { kind, source: None, again: false, throttled: false }
    }

    /// An error that may pass.
    pub(super) fn passing(kind: Kind) -> Self {
        Self { kind, source: None, again: true, throttled: false }
    }

    /// The error of the driver, met at `place` (host and port).
    pub(super) fn of(error: Error, place: &str) -> Self {
        match error {
            Error::Io(IoError::Io(error)) if refused_certificate(&error) => Self {
                source: Some(Box::new(error)),
                ..Self::lasting(Kind::Untrusted(format!("{place} over TLS")))
            },
            Error::Io(IoError::Io(error)) if too_large(&error) => {
                Self::lasting(Kind::TooLarge(format!(
                    "{place} sends a row that is larger than its own `max_allowed_packet`, to which \
                     driftd keeps"
                )))
            }
            Error::Io(IoError::Io(error)) => Self {
                source: Some(Box::new(error)),
                ..Self::passing(Kind::Unreachable(place.to_owned()))
            },
            Error::Io(IoError::Tls(error)) => Self {
                source: Some(Box::new(error)),
                ..Self::lasting(Kind::Untrusted(format!("{place} over TLS")))
            },
            Error::Server(error) => Self::answered(&error),
            Error::Driver(DriverError::ConnectionClosed | DriverError::PoolDisconnected) => {
                Self::passing(Kind::Unreachable(place.to_owned()))
            }
            Error::Driver(DriverError::NoClientSslFlagFromServer) => {
                Self::lasting(Kind::Unfit(format!(
                    "{place} does not offer TLS: give it a certificate, or set `tls` to what it offers"
                )))
            }
            Error::Driver(
                error @ (DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled),
            ) => Self::lasting(Kind::Denied(error.to_string())),
            // Their texts may show packets and values.
            Error::Driver(_) | Error::Other(_) | Error::Url(_) => Self {
                again: true,
                ..Self::lasting(Kind::Answer(format!("{place} broke the protocol")))
            },
        }
    }

    fn answered(error: &ServerError) -> Self {
        let message = || format!("error {}: {}", error.code, error.message);
        let blanked = || format!("error {}: {}", error.code, blank(&error.message));
        match error.code {
            // Refused user, host, database, table, column, routine; expired, locked; a host that is
            // blocked until its errors are forgiven.
            1044 | 1045 | 1129 | 1130 | 1142 | 1143 | 1227 | 1251 | 1370 | 1698 | 1820 | 1862
            | 3118 | 3159 | 3878 | 4151 => Self::lasting(Kind::Denied(message())),
            1049 => {
                Self::lasting(Kind::Unfit(format!("there is no such database: {}", error.message)))
            }
            // A packet, or the result of a function, above the server's limit: larger the next time,
            // too.
            1153 | 1301 => Self::lasting(Kind::TooLarge(format!(
                "a row or statement is larger than the server's `max_allowed_packet`: {}",
                blanked()
            ))),
            1146 | 1051 => Self::lasting(Kind::NoSuchRelation { near: Vec::new() }),
            1054 => Self::lasting(Kind::NoSuchColumn {
                column: error.message.split('\'').nth(1).unwrap_or_default().to_owned(),
                near: Vec::new(),
            }),
            // Too many connections, too many statements of this user; no memory, no thread.
            1037 | 1038 | 1040 | 1041 | 1135 | 1203 | 1226 => {
                Self { throttled: true, ..Self::passing(Kind::Throttled(message())) }
            }
            // Lock waits and deadlocks; the statement took longer than it may.
            1205 | 1213 | 1028 | 1969 | 3024 => {
                Self { throttled: true, ..Self::passing(Kind::Throttled(blanked())) }
            }
            // Shutting down, killed, gone, a network error seen by the server; a node of a cluster
            // that is not ready (1047), a server in offline mode, a proxy without a server (9001).
            1047
            | 1053
            | 1077
            | 1079
            | 1080
            | 1152
            | 1154..=1161
            | 1184
            | 1317
            | 1927
            | 3032
            | 3169
            | 4031
            | 9001 => Self::passing(Kind::Unreachable(blanked())),
            // The table changed between preparing and executing.
            1412 | 1615 => Self::passing(Kind::Answer(blanked())),
            _ => Self::lasting(Kind::Answer(blanked())),
        }
    }

    /// The error that the caller of the store sees.
    pub(super) fn tell(self, store: &str, relation: Option<&str>) -> StoreError {
        StoreError {
            store: store.to_owned(),
            relation: relation.map(str::to_owned),
            kind: self.kind,
            source: self.source,
        }
    }
}

impl From<Kind> for RequestError {
    fn from(kind: Kind) -> Self {
        Self::lasting(kind)
    }
}

/// Whether TLS itself failed: the same certificate is refused the next second, too.
fn refused_certificate(error: &std::io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<rustls::Error>())
}

/// Whether the driver refused a packet for its size. Its own type is not within reach.
fn too_large(error: &std::io::Error) -> bool {
    let words = "Packet is larger than max_allowed_packet";
    error.get_ref().is_some_and(|cause| cause.to_string() == words)
}

/// The message without what stands in quotes. An apostrophe of the server's own words looks like a
/// quote, and a message may have been cut off within one; so nothing between the first and the last is
/// kept, and after an odd one nothing at all.
fn blank(message: &str) -> String {
    let quotes: Vec<usize> = message.match_indices(['\'', '"']).map(|(at, _)| at).collect();
    let (Some(first), Some(last)) = (quotes.first(), quotes.last()) else {
        return message.to_owned();
    };
    let rest = if quotes.len().is_multiple_of(2) { &message[*last..] } else { "" };
    format!("{}…{rest}", &message[..=*first])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, message: &str) -> RequestError {
        let error = ServerError { code, message: message.to_owned(), state: "HY000".to_owned() };
        RequestError::of(Error::Server(error), "db:3306")
    }

    #[test]
    fn a_message_keeps_its_words_and_loses_what_it_quotes() {
        let text = server(1292, "Incorrect value: 'secret' for column `a`").kind.to_string();
        assert!(!text.contains("secret"), "{text}");
        assert!(text.contains("Incorrect value: '…' for column `a`"), "{text}");
        for message in [
            "Can't parse 'secret' here",
            "wrong: 'it's secret' and \"secret\" again",
            "cut off in 'a' and 'secret",
            "Can't take secret",
        ] {
            let text = server(1292, message).kind.to_string();
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn codes_have_the_words_of_stores() {
        let table = [
            (1045, "store-denied", false),
            (1142, "store-denied", false),
            (1146, "store-no-relation", false),
            (1054, "store-no-column", false),
            (1040, "store-throttled", true),
            (1213, "store-throttled", true),
            (1053, "store-unreachable", true),
            (1047, "store-unreachable", true),
            (3032, "store-unreachable", true),
            (9001, "store-unreachable", true),
            (1135, "store-throttled", true),
            (1038, "store-throttled", true),
            (1129, "store-denied", false),
            (1927, "store-unreachable", true),
            (1153, "store-too-large", false),
            (1301, "store-too-large", false),
            (1064, "store-error", false),
        ];
        for (code, name, again) in table {
            let error = server(code, "Unknown 'x'");
            assert_eq!((error.kind.code().as_str(), error.again), (name, again), "{code}");
        }
    }
}
