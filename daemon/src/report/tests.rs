//! What tests of several files of `report` need.

use std::time::Duration;

use crate::report::{EventSink, KeyExport, Settings};

/// Settings that export nothing and keep all private.
pub(crate) fn settings() -> Settings {
    Settings {
        service: "driftd".to_owned(),
        otlp: None,
        clean_ratio: 0.0,
        slow: Duration::from_secs(10),
        traces_max: 100,
        events: EventSink::Journal,
        keys: KeyExport::Hmac,
        fields: Vec::new(),
    }
}
