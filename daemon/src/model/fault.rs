//! Why something could not be compared.
//!
//! Owns the codes of faults, by which they are counted, told apart and looked up, and what follows from
//! a code. Refuses the words for people: whoever meets a fault has them. Invariant: each code has a name
//! that never changes, and an entry in `config/errors.md`.

use std::fmt;

use crate::model::Side;

/// Why something could not be compared. Shown to people: it names the store or plugin, holds no row
/// values and no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The side that was being read or mapped, if one was.
    pub side: Option<Side>,
    /// What happened, where: store, relation or plugin, digest, function; and the cause.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// What kind of fault it is.
    pub code: FaultCode,
}

/// What kind of fault it is. Those of stores stand together, and those of plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultCode {
    /// The store cannot be reached, or the connection broke.
    StoreUnreachable,
    /// The store did not answer in time.
    StoreTimeout,
    /// The store says that it is asked too much.
    StoreThrottled,
    /// The store was not asked, because it is known to be down.
    StoreDown,
    /// The store refuses access.
    StoreDenied,
    /// TLS failed.
    StoreUntrusted,
    /// A row or a statement is larger than the store sends or takes.
    StoreTooLarge,
    /// The store has no such relation.
    StoreNoRelation,
    /// The relation has no such column.
    StoreNoColumn,
    /// The relation cannot be read in this way.
    StoreUnfit,
    /// The schema is not any more what it was at start.
    StoreChanged,
    /// The store answered something else that is no answer.
    StoreError,
    /// The plugin trapped.
    PluginTrap,
    /// The plugin used up its fuel.
    PluginFuel,
    /// A call of the plugin went on beyond its deadline.
    PluginDeadline,
    /// The plugin has run for as long as it may in one check.
    PluginTime,
    /// The plugin wanted more memory than it may have.
    PluginMemory,
    /// The plugin gave more than it may.
    PluginOutput,
    /// What the plugin gave is not what the contract says.
    PluginMalformed,
    /// The plugin breaks a law of mappings.
    PluginLawless,
    /// The plugin says itself that it failed.
    PluginError,
    /// The plugin failed so often that it is left alone for a while.
    PluginPaused,
    /// The mapping looks for an entity elsewhere than where it was read.
    PluginPlace,
    /// A key is no longer where it was, on a side that cannot be searched for it: whether it is there at
    /// all, only a pass can tell.
    PlaceGone,
    /// Nobody knows where a key lies.
    PlaceUnknown,
    /// A mapping looks for more than may be held at once.
    TooMuch,
    /// The counts of a check do not add up, or a row is in a comparison twice: a fault of driftd itself.
    Numbers,
    /// A whole pairing could not be begun, so that nothing of it is read.
    NotBegun,
    /// A fault of driftd itself.
    Internal,
}

impl FaultCode {
    /// Every code.
    pub const ALL: [Self; 29] = [
        Self::StoreUnreachable,
        Self::StoreTimeout,
        Self::StoreThrottled,
        Self::StoreDown,
        Self::StoreDenied,
        Self::StoreUntrusted,
        Self::StoreTooLarge,
        Self::StoreNoRelation,
        Self::StoreNoColumn,
        Self::StoreUnfit,
        Self::StoreChanged,
        Self::StoreError,
        Self::PluginTrap,
        Self::PluginFuel,
        Self::PluginDeadline,
        Self::PluginTime,
        Self::PluginMemory,
        Self::PluginOutput,
        Self::PluginMalformed,
        Self::PluginLawless,
        Self::PluginError,
        Self::PluginPaused,
        Self::PluginPlace,
        Self::PlaceGone,
        Self::PlaceUnknown,
        Self::TooMuch,
        Self::Numbers,
        Self::NotBegun,
        Self::Internal,
    ];

    /// The name used in events, metrics, traces and the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::StoreUnreachable => "store-unreachable",
            Self::StoreTimeout => "store-timeout",
            Self::StoreThrottled => "store-throttled",
            Self::StoreDown => "store-down",
            Self::StoreDenied => "store-denied",
            Self::StoreUntrusted => "store-untrusted",
            Self::StoreTooLarge => "store-too-large",
            Self::StoreNoRelation => "store-no-relation",
            Self::StoreNoColumn => "store-no-column",
            Self::StoreUnfit => "store-unfit",
            Self::StoreChanged => "store-changed",
            Self::StoreError => "store-error",
            Self::PluginTrap => "plugin-trap",
            Self::PluginFuel => "plugin-fuel",
            Self::PluginDeadline => "plugin-deadline",
            Self::PluginTime => "plugin-time",
            Self::PluginMemory => "plugin-memory",
            Self::PluginOutput => "plugin-output",
            Self::PluginMalformed => "plugin-malformed",
            Self::PluginLawless => "plugin-lawless",
            Self::PluginError => "plugin-error",
            Self::PluginPaused => "plugin-paused",
            Self::PluginPlace => "plugin-place",
            Self::PlaceGone => "place-gone",
            Self::PlaceUnknown => "place-unknown",
            Self::TooMuch => "too-much",
            Self::Numbers => "numbers",
            Self::NotBegun => "not-begun",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for FaultCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FaultCode {
    /// Whether nothing was read because a store is down: that is told of the store, and is no fault of
    /// what was to be read.
    #[must_use]
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::StoreDown)
    }

    /// Whether a store gave no answer, or only that it can give none.
    #[must_use]
    pub const fn is_silence(self) -> bool {
        matches!(
            self,
            Self::StoreUnreachable | Self::StoreTimeout | Self::StoreThrottled | Self::StoreDown
        )
    }

    /// Whether a store failed.
    #[must_use]
    pub fn is_of_store(self) -> bool {
        (Self::StoreUnreachable..=Self::StoreError).contains(&self)
    }

    /// Whether a plugin, or the built-in mapping, failed.
    #[must_use]
    pub fn is_of_plugin(self) -> bool {
        (Self::PluginTrap..=Self::PluginPlace).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_fault_it_is() {
        for code in FaultCode::ALL {
            assert_eq!(code.is_of_store(), code.as_str().starts_with("store-"), "{code}");
            assert_eq!(code.is_of_plugin(), code.as_str().starts_with("plugin-"), "{code}");
            assert!(code.is_of_store() || !(code.is_silence() || code.is_outage()), "{code}");
        }
    }

    #[test]
    fn every_code_has_an_entry_for_people_and_nothing_else_has() {
        let entries = include_str!("../../../config/errors.md").lines();
        let entries: Vec<&str> = entries.filter_map(|line| line.strip_prefix("## ")).collect();
        let codes: Vec<String> =
            FaultCode::ALL.iter().map(|code| format!("`{}`", code.as_str())).collect();
        assert_eq!(entries, codes);
    }
}
