//! Pairings that cannot be begun, and why.
//!
//! Owns the words of everything that keeps a run, or one of its pairings, from beginning. Refuses to try
//! again: `start` and `reload` do. Invariant: each fault says where the file has what is at fault, and
//! what to do; and whether another file, or another time, would help.

use std::sync::Arc;
use std::time::Duration;

use crate::config::PairingSettings;
use crate::model::{Fault, FaultCode, Side};
use crate::plugin::PluginError;
use crate::plugin::wasm::{AttachError, LoadError};
use crate::run::Purpose;
use crate::store::StoreError;

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A store answers that the configuration is wrong.
    #[error("{at}pairing `{pairing}`, {side}: {error}; {}", error.kind.remedy())]
    Wrong {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// The side.
        side: Side,
        /// What the store says.
        #[source]
        error: Box<StoreError>,
    },
    /// A store does not answer, or refuses access.
    #[error("gave up after {} s: {error}; {}", after.as_secs(), error.kind.remedy())]
    Unanswered {
        /// How long it was asked.
        after: Duration,
        /// What it says, if anything.
        #[source]
        error: Box<StoreError>,
    },
    /// A store's own settings are unfit.
    #[error("{at}{error}; {}", error.kind.remedy())]
    Store {
        /// Where the file says it.
        at: String,
        /// What is wrong.
        #[source]
        error: Box<StoreError>,
    },
    /// A plugin cannot be loaded.
    #[error("{at}{error}")]
    Load {
        /// Where the file says it.
        at: String,
        /// Why.
        #[source]
        error: Box<LoadError>,
    },
    /// A plugin cannot be bound to a pairing.
    #[error("{at}pairing `{pairing}`: {error}{}", remedy(error))]
    Attach {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// Why.
        #[source]
        error: Box<AttachError>,
    },
    /// A plugin refuses what it is configured with.
    #[error("plugin `{plugin}` refuses its configuration:\n  {}", issues.join("\n  "))]
    Configured {
        /// The plugin.
        plugin: String,
        /// Everything that it refuses, each with its place in the file.
        issues: Vec<String>,
    },
    /// A plugin breaks a law of mappings on real rows.
    #[error("{at}{}; {}", error.blame(), error.remedy())]
    Lawless {
        /// Where the file says it.
        at: String,
        /// What it breaks.
        error: Box<PluginError>,
    },
    /// The built-in mapping does not fit the relations.
    #[error("pairing `{pairing}`, its mapping:\n  {}", issues.join("\n  "))]
    Mapping {
        /// The pairing.
        pairing: String,
        /// Everything that does not fit, each with its place in the file.
        issues: Vec<String>,
    },
    /// The pairing cannot be read as it is.
    #[error("{at}pairing `{pairing}`: {why}")]
    Unreadable {
        /// Where the file says it.
        at: String,
        /// The pairing.
        pairing: String,
        /// Why, and what to do.
        why: String,
    },
    /// A column is mapped that cannot be compared.
    #[error("{at}pairing `{pairing}`, {side}: {error}")]
    Column {
        /// Where the file maps it.
        at: String,
        /// The pairing.
        pairing: String,
        /// The side.
        side: Side,
        /// What the store says.
        #[source]
        error: Box<StoreError>,
    },
    /// Several of these.
    #[error("{}", several(.0))]
    Several(Vec<Arc<Self>>),
    /// The run was stopped before it began.
    #[error("stopped while stores were being connected")]
    Stopped,
}

impl StartError {
    /// Whether the configuration is at fault, rather than the world.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Several(all) => all.iter().any(|one| one.is_configuration()),
            // What the environment did not tell in time it may tell at the next start.
            Self::Store { error, .. } => !error.kind.heals(),
            Self::Wrong { .. }
            | Self::Column { .. }
            | Self::Load { .. }
            | Self::Attach { .. }
            | Self::Configured { .. }
            | Self::Lawless { .. }
            | Self::Mapping { .. }
            | Self::Unreadable { .. } => true,
            Self::Unanswered { .. } | Self::Stopped => false,
        }
    }
}

impl StartError {
    /// Each fault, as a start tells it.
    pub(super) fn reasons(&self) -> Vec<String> {
        if let Self::Several(all) = self {
            return all.iter().map(|one| told(one)).collect();
        }
        vec![told(self)]
    }
}

/// What to do about a plugin that failed while it was bound; what it refuses says so itself.
fn remedy(error: &AttachError) -> String {
    match error {
        AttachError::Plugin(error) => format!("; {}", error.remedy()),
        AttachError::Load(_) | AttachError::Refused { .. } | AttachError::Unfit { .. } => {
            String::new()
        }
    }
}

/// All of several faults, behind their number.
fn several(all: &[Arc<StartError>]) -> String {
    match all {
        [one] => told(one),
        all => {
            let each = all.iter().map(|one| told(one));
            format!("{} faults\n{}", all.len(), each.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// An error with its causes, as far as it does not say them itself.
pub(super) fn told(error: &StartError) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !told.contains(&words) {
            told = format!("{told}: {words}");
        }
        cause = next.source();
    }
    told
}

/// Nothing was refused; or everything that was, at once, what several pairings share only once.
pub(super) fn all(refused: Vec<Arc<StartError>>) -> Result<(), StartError> {
    let mut each: Vec<Arc<StartError>> = Vec::new();
    for error in refused {
        if !each.iter().any(|known| Arc::ptr_eq(known, &error)) {
            each.push(error);
        }
    }
    match each.pop() {
        None => Ok(()),
        Some(last) if each.is_empty() => {
            Err(Arc::try_unwrap(last).unwrap_or_else(|shared| StartError::Several(vec![shared])))
        }
        Some(last) => {
            each.push(last);
            Err(StartError::Several(each))
        }
    }
}

/// A pairing that cannot be begun now.
#[derive(Clone, Debug)]
pub(super) struct Unstarted {
    pub(super) settings: PairingSettings,
    pub(super) faults: Vec<Arc<StartError>>,
}

impl Unstarted {
    /// Whether another file is needed, and not only another time.
    pub(super) fn is_configuration(&self) -> bool {
        self.faults.iter().any(|fault| fault.is_configuration())
    }

    /// For what it is unread.
    pub(super) fn fault(&self) -> Fault {
        let remedy = if self.is_configuration() {
            "correct it, and `driftd reload`; the other pairings go on"
        } else {
            "it is tried again by itself; the other pairings go on"
        };
        Fault {
            side: None,
            what: format!("the pairing cannot be begun: {}", line(&self.reasons().join("; "))),
            remedy: remedy.to_owned(),
            code: FaultCode::NotBegun,
        }
    }

    /// Each fault in words.
    pub(super) fn reasons(&self) -> Vec<String> {
        self.faults.iter().map(|fault| told(fault)).collect()
    }
}

/// What is said on several lines, on one: a log is read line by line.
pub(super) fn line(reason: &str) -> String {
    reason.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// A pairing that was not begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its name.
    pub pairing: String,
    /// Why, each with its place in the file and what to do.
    pub reasons: Vec<String>,
    /// Whether the configuration is at fault, rather than the world.
    pub is_configuration: bool,
}

impl From<&Unstarted> for Refusal {
    fn from(unstarted: &Unstarted) -> Self {
        Self {
            pairing: unstarted.settings.name.clone(),
            reasons: unstarted.reasons(),
            is_configuration: unstarted.is_configuration(),
        }
    }
}

/// Says which pairings are not begun, but for a command, which says it with its result. Returns them in
/// words, and for what they are unread.
pub(super) fn refused(
    purpose: Purpose,
    unstarted: &[Unstarted],
) -> (Vec<Refusal>, Vec<(String, Fault)>) {
    let refused: Vec<Refusal> = unstarted.iter().map(Refusal::from).collect();
    let told = if purpose == Purpose::Daemon { refused.as_slice() } else { &[] };
    for Refusal { pairing, reasons, .. } in told {
        for reason in reasons {
            let reason = line(reason);
            tracing::error!(target: "driftd", pairing, "the pairing is not begun: {reason}");
        }
    }
    let faults = unstarted.iter().map(|one| (one.settings.name.clone(), one.fault()));
    (refused, faults.collect())
}
