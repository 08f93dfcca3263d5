//! From events to spans, metrics, log lines and drift events.
//!
//! Owns every exported name and the settings of exports. Refuses to hold up the comparison: a full
//! queue is a counted loss. Invariant: keys and values leave the process only as configured.

pub mod names;
pub mod form;
pub mod events;
pub mod sink;
pub mod status;
pub mod export;
pub mod panics;
pub mod traces;
pub mod metrics;
pub mod log;
pub mod setup;

use std::path::PathBuf;
use std::time::Duration;

pub use form::Identity;
pub use metrics::{Extras, Metrics, Reloads};
pub use setup::{Report, ReportError, environment};
pub use sink::{Sink, SinkError};

/// What is exported, and where to.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `service.name`, and the `source` of drift events.
    pub service: String,
    /// Where traces and metrics go; none: nowhere, unless the standard `OTEL_EXPORTER_OTLP_*`
    /// variables say so, which always win.
    pub otlp: Option<Otlp>,
    /// Share of clean checks whose trace is kept, from 0 to 1.
    pub clean_ratio: f64,
    /// A check that takes longer is kept.
    pub slow: Duration,
    /// Traces held back until their suspects are decided; beyond, the oldest is let go and counted.
    pub traces_max: usize,
    /// Where drift events go.
    pub events: EventSink,
    /// How keys leave the process.
    pub keys: KeyExport,
    /// Fields whose values may leave the process in drift events, as `pairing.field`.
    pub fields: Vec<String>,
}

/// An OTLP receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// Its URL.
    pub endpoint: String,
    /// Its protocol.
    pub protocol: OtlpProtocol,
}

/// How OTLP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Over gRPC.
    Grpc,
    /// Over HTTP, protobuf bodies.
    Http,
}

/// Where drift events go: CloudEvents 1.0, one JSON text a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventSink {
    /// Appended to this file, which is opened again on SIGUSR1.
    File(PathBuf),
    /// To standard output.
    Stdout,
    /// Nowhere; they stay in the journal until its retention ends.
    Journal,
}

/// How keys leave the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyExport {
    /// As HMACs, with a key that is random per journal.
    Hmac,
    /// As they are.
    Plain,
}

/// What driftd says on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// How severe a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something may become a failure.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
pub(crate) mod tests;
