//! How a mapping fails, and how that is told.
//!
//! Owns [`PluginError`], its kinds, and the only words in which faults of plugins are told. Refuses
//! to print what a plugin said where that may leave the machine. Invariant: every fault has three
//! parts: what happened, with the limit where one was met; where (plugin, digest, function, pairing,
//! side, batch); and what to do.

use std::fmt::{self, Write as _};

use crate::model::{FaultCode, Moment, Side, text};

/// Stands in a trap's message between what trapped and what the guest said just before.
pub(super) const LAST_WORDS: &str = "; the plugin's last words: ";

/// A mapping failed as a whole; trouble with one row is in [`Mapped::rejected`](super::Mapped).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PluginError {
    /// The plugin's name in the configuration; `built-in` for the built-in mapping.
    pub plugin: String,
    /// The first characters of its digest.
    pub digest: String,
    /// The contract's function: `map-batch`, `check-pairs`, ...
    pub function: &'static str,
    /// In which call.
    pub call: Box<Call>,
    /// What happened.
    pub kind: PluginErrorKind,
}

/// Which call of a plugin failed, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The pairing that it served.
    pub pairing: Option<String>,
    /// The side whose rows it was handed.
    pub side: Option<Side>,
    /// Which batch of the check or look it was, from 1.
    pub batch: Option<u64>,
    /// Rows, entities or pairs that it was handed.
    pub rows: Option<usize>,
    /// What the search for guilty rows came to, if there was one.
    pub search: Option<String>,
}

impl fmt::Display for PluginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}{}", self.place(), self.kind, self.searched())
    }
}

impl PluginError {
    /// A failure of a function, of which nothing more is known yet.
    #[must_use]
    pub fn new(
        plugin: String,
        digest: String,
        function: &'static str,
        kind: PluginErrorKind,
    ) -> Self {
        Self { plugin, digest, function, call: Box::default(), kind }
    }

    /// What happened and where, without the plugin's own words, which may hold values.
    #[must_use]
    pub fn blame(&self) -> String {
        format!("{}: {}{}", self.place(), self.what(), self.searched())
    }

    /// What happened, without the plugin's own words.
    pub(super) fn what(&self) -> String {
        match &self.kind {
            PluginErrorKind::Own { code, .. } => format!("failed with `{code}`"),
            PluginErrorKind::Trap(what) => {
                let trap = what.split_once(LAST_WORDS).map_or(what.as_str(), |(trap, _)| trap);
                format!("trapped: {trap}")
            }
            kind @ (PluginErrorKind::Fuel { .. }
            | PluginErrorKind::Deadline { .. }
            | PluginErrorKind::Patience { .. }
            | PluginErrorKind::Memory { .. }
            | PluginErrorKind::Output { .. }
            | PluginErrorKind::Malformed(_)
            | PluginErrorKind::Lawless { .. }
            | PluginErrorKind::Paused { .. }) => kind.to_string(),
        }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> String {
        let limit = |name: &str| format!("[plugins.{}.limits] {name}", self.plugin);
        match &self.kind {
            PluginErrorKind::Trap(_) => {
                "it is a fault of the plugin: mend what the message names, with a test of such rows"
                    .to_owned()
            }
            PluginErrorKind::Fuel { .. } => format!(
                "look for an endless loop in the plugin, or raise {} to what `driftd plugin bench` says that \
                 a row needs (or fuel_per_call)",
                limit("fuel_per_row")
            ),
            PluginErrorKind::Deadline { .. } => {
                format!("look for an endless loop in the plugin, or raise {}", limit("deadline"))
            }
            PluginErrorKind::Patience { .. } => format!(
                "make the plugin faster, or raise {}, of which these are sixty and one more for \
                 every 10,000 rows",
                limit("deadline")
            ),
            PluginErrorKind::Memory { .. } => {
                format!("look for a leak in the plugin, or raise {}", limit("memory"))
            }
            PluginErrorKind::Output { .. } => {
                format!("let the plugin return less for each row, or raise {}", limit("output"))
            }
            PluginErrorKind::Malformed(_) => {
                "it is a fault of the plugin: its output breaks the contract".to_owned()
            }
            PluginErrorKind::Lawless { .. } => {
                "look in the plugin for what it remembers between calls or takes from elsewhere than \
                 its rows; `driftd plugin test` tries the laws on fixtures"
                    .to_owned()
            }
            PluginErrorKind::Own { .. } => {
                "see the plugin's documentation of this error code".to_owned()
            }
            PluginErrorKind::Paused { .. } => {
                "mend what the earlier lines about this plugin say; driftd tries it by itself"
                    .to_owned()
            }
        }
    }

    fn place(&self) -> String {
        let mut place = format!("plugin `{}` ({}), {}", self.plugin, self.digest, self.function);
        let Call { pairing, side, batch, rows, search: _ } = &*self.call;
        let mut add = |words: fmt::Arguments<'_>| {
            place.write_fmt(words).expect("a string takes what is written");
        };
        if let Some(pairing) = pairing {
            add(format_args!(", pairing `{pairing}`"));
        }
        if let Some(side) = side {
            add(format_args!(", {side}"));
        }
        if let Some(batch) = batch {
            add(format_args!(", batch {batch}"));
        }
        if let Some(rows) = rows {
            add(format_args!(", {rows} rows"));
        }
        place
    }

    fn searched(&self) -> String {
        self.call.search.as_ref().map(|search| format!("; {search}")).unwrap_or_default()
    }
}

/// How a mapping failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PluginErrorKind {
    /// A trap: panic, out-of-bounds access, stack overflow. Where, and the plugin's last words, which
    /// may hold values.
    #[error("trapped: {0}")]
    Trap(String),
    /// Out of fuel: an endless loop, or too little fuel for the rows.
    #[error("used up its fuel of {allowed}")]
    Fuel {
        /// Fuel that the call was given.
        allowed: u64,
    },
    /// Ran beyond its deadline.
    #[error("ran longer than {millis} ms")]
    Deadline {
        /// The deadline.
        millis: u64,
    },
    /// Its calls together ran longer than those of one check may.
    #[error("was not called: its calls of this check ran longer than {millis} ms together")]
    Patience {
        /// What they may.
        millis: u64,
    },
    /// Wanted more memory than it may have.
    #[error("wanted more memory than {allowed} bytes: {detail}")]
    Memory {
        /// The limit, in bytes.
        allowed: u64,
        /// What wanted it.
        detail: String,
    },
    /// Returned more than it may.
    #[error("returned more than {allowed} bytes of output")]
    Output {
        /// The limit, in bytes.
        allowed: u64,
    },
    /// Returned something that the contract forbids.
    #[error("returned malformed output: {0}")]
    Malformed(String),
    /// Broke a law of mappings on real rows.
    #[error("breaks the law \"{law}\": {how}")]
    Lawless {
        /// The law.
        law: &'static str,
        /// How it was broken, without values.
        how: String,
    },
    /// Returned an error of its own.
    #[error("failed with `{code}`: {message}")]
    Own {
        /// The plugin's code for it.
        code: String,
        /// The plugin's words; may hold values.
        message: String,
    },
    /// Was not called, because it failed too often before.
    #[error(
        "is not called since {} because {failures} checks in a row failed, the last with `{cause}`; \
         the next try is at {}",
        told(*since),
        told(*next)
    )]
    Paused {
        /// Since when.
        since: Moment,
        /// Checks and looks in a row in which a call failed.
        failures: u32,
        /// The code of the last failure.
        cause: FaultCode,
        /// When it is tried again.
        next: Moment,
    },
}

impl PluginErrorKind {
    /// A short stable name for counting.
    #[must_use]
    pub const fn code(&self) -> FaultCode {
        match self {
            Self::Trap(_) => FaultCode::PluginTrap,
            Self::Fuel { .. } => FaultCode::PluginFuel,
            Self::Deadline { .. } => FaultCode::PluginDeadline,
            Self::Patience { .. } => FaultCode::PluginTime,
            Self::Memory { .. } => FaultCode::PluginMemory,
            Self::Output { .. } => FaultCode::PluginOutput,
            Self::Malformed(_) => FaultCode::PluginMalformed,
            Self::Lawless { .. } => FaultCode::PluginLawless,
            Self::Own { .. } => FaultCode::PluginError,
            Self::Paused { .. } => FaultCode::PluginPaused,
        }
    }
}

/// A moment in UTC, to the second.
pub(super) fn told(moment: Moment) -> String {
    let mut text = Vec::new();
    let whole = moment.0 - moment.0.rem_euclid(1_000_000);
    if !text::write_timestamp(&mut text, whole) {
        return format!("{} microseconds of the epoch", moment.0);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (PluginErrorKind, &'static str, &'static str, &'static str);

    fn paused() -> PluginErrorKind {
        PluginErrorKind::Paused {
            since: Moment(1_700_000_000_999_999),
            failures: 5,
            cause: FaultCode::PluginTrap,
            next: Moment(1_700_000_005_000_000),
        }
    }

    /// Every kind, its code, what happened, and the remedy.
    fn every_kind() -> Vec<Row> {
        use PluginErrorKind as K;
        let words = format!(
            "out of bounds; in map; at lib.rs:3:1{LAST_WORDS}panicked at lib.rs:3:1:\nsecret"
        );
        let own = K::Own { code: "mood".to_owned(), message: "secret".to_owned() };
        vec![
            (
                K::Trap(words),
                "plugin-trap",
                "trapped: out of bounds; in map; at lib.rs:3:1",
                "it is a fault of the plugin: mend what the message names, with a test of such rows",
            ),
            (
                K::Fuel { allowed: 7 },
                "plugin-fuel",
                "used up its fuel of 7",
                "look for an endless loop in the plugin, or raise [plugins.orders.limits] fuel_per_row to what `driftd plugin bench` says that a row needs (or fuel_per_call)",
            ),
            (
                K::Deadline { millis: 7 },
                "plugin-deadline",
                "ran longer than 7 ms",
                "look for an endless loop in the plugin, or raise [plugins.orders.limits] deadline",
            ),
            (
                K::Patience { millis: 7 },
                "plugin-time",
                "was not called: its calls of this check ran longer than 7 ms together",
                "make the plugin faster, or raise [plugins.orders.limits] deadline, of which these are sixty and one more for every 10,000 rows",
            ),
            (
                K::Memory { allowed: 7, detail: "it wanted 9 bytes".to_owned() },
                "plugin-memory",
                "wanted more memory than 7 bytes: it wanted 9 bytes",
                "look for a leak in the plugin, or raise [plugins.orders.limits] memory",
            ),
            (
                K::Output { allowed: 7 },
                "plugin-output",
                "returned more than 7 bytes of output",
                "let the plugin return less for each row, or raise [plugins.orders.limits] output",
            ),
            (
                K::Malformed("offsets fall at row 1".to_owned()),
                "plugin-malformed",
                "returned malformed output: offsets fall at row 1",
                "it is a fault of the plugin: its output breaks the contract",
            ),
            (
                K::Lawless { law: "one", how: "3 rows give something else".to_owned() },
                "plugin-lawless",
                "breaks the law \"one\": 3 rows give something else",
                "look in the plugin for what it remembers between calls or takes from elsewhere than its rows; `driftd plugin test` tries the laws on fixtures",
            ),
            (
                own,
                "plugin-error",
                "failed with `mood`",
                "see the plugin's documentation of this error code",
            ),
            (
                paused(),
                "plugin-paused",
                "is not called since 2023-11-14T22:13:20Z because 5 checks in a row failed, the last with `plugin-trap`; the next try is at 2023-11-14T22:13:25Z",
                "mend what the earlier lines about this plugin say; driftd tries it by itself",
            ),
        ]
    }

    #[test]
    fn every_failure_says_what_and_where_and_what_to_do_and_no_values() {
        for (kind, code, what, remedy) in every_kind() {
            let mut error =
                PluginError::new("orders".to_owned(), "0a1b".to_owned(), "map-batch", kind);
            let bare = format!("plugin `orders` (0a1b), map-batch: {what}");
            assert_eq!(error.blame(), bare);
            *error.call = Call {
                pairing: Some("shop".to_owned()),
                side: Some(Side::Target),
                batch: Some(17),
                rows: Some(1_024),
                search: Some("17 rows fail by themselves".to_owned()),
            };
            let place =
                "plugin `orders` (0a1b), map-batch, pairing `shop`, target, batch 17, 1024 rows";
            assert_eq!(error.blame(), format!("{place}: {what}; 17 rows fail by themselves"));
            assert_eq!(error.remedy(), remedy);
            assert_eq!(error.kind.code().as_str(), code);
        }
    }
}
