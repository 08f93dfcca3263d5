//! Setting telemetry up, feeding it, and stopping it.
//!
//! Owns [`Report`], the choice of receiver and the standard `OTEL_` variables. Refuses to hold up
//! whoever feeds it: exporting happens on threads of its own, behind bounded queues. Invariant: what a
//! standard variable says wins over the configuration.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};

use crate::model::{Fault, Happening, Key, Moment, Note, PairingStatus};
use crate::report::export::{Dropped, ExportErrors, Signal, Ticket, Watched};
use crate::report::log::{self, Repeats};
use crate::report::metrics::{Extras, Metrics};
use crate::report::names::SCOPE;
use crate::report::traces::{Limits, Traces};
use crate::report::{Identity, OtlpProtocol, Settings};

/// Spans that may wait for the exporter.
const QUEUE: usize = 8_192;
/// Spans a minute, over all traces.
const SPANS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(3_000).expect("not zero");

/// Telemetry cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A setting or a standard variable says something that cannot be done.
    #[error("telemetry: {place} is `{value}`; {remedy}")]
    Refused {
        /// The setting or variable.
        place: String,
        /// What it says.
        value: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// An exporter could not be made.
    #[error("telemetry: cannot export {signal} to `{endpoint}`: {reason}")]
    Exporter {
        /// What would be exported.
        signal: &'static str,
        /// Where to.
        endpoint: String,
        /// Why not.
        reason: String,
    },
}

/// Where standard variables are looked up.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Telemetry under way.
#[derive(Debug)]
pub struct Report {
    identity: Identity,
    metrics: Metrics,
    traces: Option<Traces>,
    tracers: Option<SdkTracerProvider>,
    meters: SdkMeterProvider,
    export_errors: ExportErrors,
    unread: Repeats,
    failed: Repeats,
    now: Moment,
}

impl Report {
    /// Sets up what `settings` and the standard variables ask for. Must be called within the
    /// runtime, because OTLP over gRPC is spoken on it.
    ///
    /// # Errors
    /// If they ask for something that cannot be done. A receiver that does not answer is no error.
    pub fn start(
        settings: &Settings,
        identity: Identity,
        environment: Environment<'_>,
    ) -> Result<Self, ReportError> {
        let resource = resource(&identity, environment);
        let (dropped, export_errors, ticket) =
            (Dropped::default(), ExportErrors::default(), Ticket::new(QUEUE));
        let watch = Watch { dropped: &dropped, export_errors: &export_errors, ticket: &ticket };

        let tracers = match route(Signal::Traces, settings, environment)? {
            Some(route) => Some(tracers(&route, resource.clone(), &watch)?),
            None => None,
        };
        let limits = Limits {
            clean_ratio: settings.clean_ratio,
            slow: settings.slow,
            held_max: settings.traces_max,
            spans_per_minute: SPANS_PER_MINUTE,
        };
        let traces = tracers.as_ref().map(|tracers| {
            let tracer = tracers.tracer(SCOPE);
            Traces::new(tracer, identity.clone(), limits, (dropped.clone(), ticket.clone()))
        });

        let registry = prometheus::Registry::new();
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .expect("a registry that is empty takes one collector");
        let meters = SdkMeterProvider::builder().with_resource(resource).with_reader(reader);
        let meters = match route(Signal::Metrics, settings, environment)? {
            Some(route) => {
                let exporter = watch.exporter(metric_exporter(&route)?);
                meters.with_reader(PeriodicReader::builder(exporter).build())
            }
            None => meters,
        }
        .build();
        let metrics = Metrics::new(&meters.meter(SCOPE), registry, dropped);
        let (unread, failed) = (Repeats::default(), Repeats::default());
        let now = Moment::default();
        Ok(Self { identity, metrics, traces, tracers, meters, export_errors, unread, failed, now })
    }

    /// The metrics, for whoever serves them.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.metrics.clone()
    }

    /// Takes a note: into traces, metrics or the log.
    pub fn note(&mut self, note: &Note) {
        match note {
            Note::Checked(check) => {
                self.now = self.now.max(check.ended);
                self.metrics.checked(check);
                if let Some(traces) = &mut self.traces {
                    traces.checked(check);
                }
            }
            Note::Decided { check, drift } => {
                if let Some(traces) = &mut self.traces {
                    traces.decided(*check, *drift);
                }
            }
            Note::Confirmed(findings) => {
                if let Some(traces) = &mut self.traces {
                    traces.confirmed(findings);
                }
            }
            Note::Happened(Happening::Unsettled(what)) => {
                if let Some(before) = self.unread.tell(&what.pairing, "unsettled", self.now) {
                    log::unsettled(what, before, &self.identity);
                }
            }
            Note::Happened(what) => log::happening(what, &self.identity),
            // Where it was is not told: the words may hold bounds of ranges, which are keys.
            Note::Unread { pairing, scope: _, key, fault } => {
                self.unread(pairing, key.as_ref(), fault);
            }
            Note::Failed { pairing, partition, failed } => {
                if let Some(before) =
                    self.failed.tell(pairing, failed.fault.code.as_str(), self.now)
                {
                    log::failed(pairing, partition, failed, before, &self.identity);
                }
            }
        }
        self.export_errors.tell(self.now);
    }

    /// Takes what is known now; call it about once a second.
    pub fn observe(&mut self, status: &[PairingStatus], extras: Extras, now: Moment) {
        self.now = self.now.max(now);
        self.metrics.observe(status, extras, now);
        if let Some(traces) = &mut self.traces {
            traces.tick(now);
        }
        self.export_errors.tell(self.now);
    }

    fn unread(&mut self, pairing: &str, key: Option<&Key>, fault: &Fault) {
        self.metrics.unread(pairing, fault);
        if let Some(before) = self.unread.tell(pairing, fault.code.as_str(), self.now) {
            log::unread(pairing, key, fault, before, &self.identity);
        }
    }

    /// Exports what is queued and stops. Blocks, but no longer than `timeout`: what a receiver does
    /// not take until then is lost. Call it where blocking is allowed, while the runtime lives.
    pub fn stop(mut self, timeout: Duration) {
        if let Some(traces) = &mut self.traces {
            traces.finish();
        }
        let (done, stopped) = mpsc::channel();
        let (tracers, meters) = (self.tracers, self.meters);
        // The exporters' own timeouts add up to more; their threads end with the process.
        std::thread::spawn(move || {
            let traces = tracers.map_or(Ok(()), |tracers| tracers.shutdown_with_timeout(timeout));
            let metrics = meters.shutdown_with_timeout(timeout);
            // Nobody listens any more when the timeout was shorter.
            done.send(traces.and(metrics)).ok();
        });
        if stopped.recv_timeout(timeout).is_err() {
            tracing::warn!(target: "driftd", "the OTLP receiver did not take the last telemetry in time");
        }
        self.export_errors.tell(Moment(i64::MAX));
    }
}

/// A variable of the process, for [`Report::start`].
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the standard variables are OpenTelemetry's own")]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What watches exporters.
struct Watch<'a> {
    dropped: &'a Dropped,
    export_errors: &'a ExportErrors,
    ticket: &'a Ticket,
}

impl Watch<'_> {
    fn exporter<E>(&self, inner: E) -> Watched<E> {
        Watched {
            inner,
            dropped: self.dropped.clone(),
            export_errors: self.export_errors.clone(),
            ticket: self.ticket.clone(),
        }
    }
}

/// Where a signal goes.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    signal: Signal,
    endpoint: String,
    protocol: OtlpProtocol,
    headers: HeaderMap,
}

/// Where `signal` goes, if anywhere.
fn route(
    signal: Signal,
    settings: &Settings,
    environment: Environment<'_>,
) -> Result<Option<Route>, ReportError> {
    // An empty variable is as one that is not set, says the specification.
    let lookup = |name: &str| environment(name).filter(|value| !value.trim().is_empty());
    let (name, path) = match signal {
        Signal::Traces => ("TRACES", "v1/traces"),
        Signal::Metrics => ("METRICS", "v1/metrics"),
    };
    let exporters = lookup(&format!("OTEL_{name}_EXPORTER"));
    let asked = exporters.as_deref().map(|list| list.split(',').any(|one| one.trim() == "otlp"));
    let disabled = lookup("OTEL_SDK_DISABLED");
    if asked == Some(false) || disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let own = [format!("OTEL_EXPORTER_OTLP_{name}_"), "OTEL_EXPORTER_OTLP_".to_owned()];
    let find = |what: &str| {
        own.iter().find_map(|prefix| {
            let variable = format!("{prefix}{what}");
            lookup(&variable).map(|value| (variable, value.trim().to_owned()))
        })
    };
    let configured = settings.otlp.as_ref();
    let protocol = match find("PROTOCOL") {
        Some((place, value)) => protocol(place, value)?,
        None => configured.map_or(OtlpProtocol::Http, |otlp| otlp.protocol),
    };
    let (place, given) = match (find("ENDPOINT"), configured) {
        (Some((place, value)), _) => (place, value),
        (None, Some(otlp)) => ("telemetry.otlp.endpoint".to_owned(), otlp.endpoint.clone()),
        // Asked for by name: then OpenTelemetry's defaults hold.
        (None, None) if asked == Some(true) => match protocol {
            OtlpProtocol::Grpc => ("default".to_owned(), "http://localhost:4317".to_owned()),
            OtlpProtocol::Http => ("default".to_owned(), "http://localhost:4318".to_owned()),
        },
        (None, None) => return Ok(None),
    };
    let whole = place.starts_with(&own[0]);
    let endpoint =
        endpoint(place, &given, (protocol == OtlpProtocol::Http && !whole).then_some(path))?;
    let headers = match find("HEADERS") {
        Some((place, value)) => headers(place, &value)?,
        None => HeaderMap::new(),
    };
    Ok(Some(Route { signal, endpoint, protocol, headers }))
}

fn protocol(place: String, value: String) -> Result<OtlpProtocol, ReportError> {
    match value.as_str() {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::Http),
        _ => {
            let remedy = "driftd speaks `grpc` and `http/protobuf`";
            Err(ReportError::Refused { place, value, remedy })
        }
    }
}

/// The endpoint with its scheme, and with the signal's path unless it is whole already.
fn endpoint(place: String, given: &str, path: Option<&str>) -> Result<String, ReportError> {
    let mut endpoint =
        if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    if let Some(path) = path {
        endpoint = format!("{}/{path}", endpoint.trim_end_matches('/'));
    }
    let uri = endpoint.parse::<Uri>().ok();
    let fits = uri.as_ref().is_some_and(|uri| {
        uri.host().is_some_and(|host| !host.is_empty())
            && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    if fits {
        return Ok(endpoint);
    }
    let remedy = "give it as `http://host:port` or `https://host:port`";
    Err(ReportError::Refused { place, value: shown(given), remedy })
}

/// An endpoint without the user, the password and the query that it may hold.
fn shown(endpoint: &str) -> String {
    let shown = match (endpoint.split_once("://"), endpoint.rfind('@')) {
        (Some((scheme, _)), Some(at)) => format!("{scheme}://***{}", &endpoint[at..]),
        (None, Some(at)) => format!("***{}", &endpoint[at..]),
        (_, None) => endpoint.to_owned(),
    };
    shown.split_once('?').map(|(before, _)| format!("{before}?***")).unwrap_or(shown)
}

/// `name=value,name=value`, percent-encoded. Values are secrets: no message shows them.
fn headers(place: String, list: &str) -> Result<HeaderMap, ReportError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs(list) {
        let header =
            HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value).ok());
        let Some((header, mut value)) = header else {
            let remedy = "give it as `name=value,name=value`, percent-encoded";
            return Err(ReportError::Refused { place, value: format!("{name}=..."), remedy });
        };
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// The pairs of a list as the standard variables write it; what is no pair is left out.
fn pairs(list: &str) -> Vec<(String, String)> {
    let pair = |item: &str| {
        let (name, value) = item.split_once('=')?;
        let name = decoded(name.trim());
        (!name.is_empty()).then(|| (name, decoded(value.trim())))
    };
    list.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        let escaped = text.get(at + 1..at + 3).filter(|_| byte == b'%');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                out.push(value);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn resource(identity: &Identity, environment: Environment<'_>) -> Resource {
    let name = environment("OTEL_SERVICE_NAME").filter(|name| !name.trim().is_empty());
    let mut attributes = BTreeMap::from([
        ("service.name".to_owned(), identity.service.clone()),
        ("service.instance.id".to_owned(), identity.journal.clone()),
        ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ]);
    attributes.extend(pairs(&environment("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default()));
    attributes.extend(name.map(|name| ("service.name".to_owned(), name)));
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_attributes(attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)))
        .build()
}

fn tracers(
    route: &Route,
    resource: Resource,
    watch: &Watch<'_>,
) -> Result<SdkTracerProvider, ReportError> {
    let exporter = watch.exporter(span_exporter(route)?);
    let batches = BatchConfigBuilder::default().with_max_queue_size(QUEUE).build();
    let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    Ok(SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build())
}

fn span_exporter(route: &Route) -> Result<SpanExporter, ReportError> {
    let builder = SpanExporter::builder();
    match route.protocol {
        OtlpProtocol::Grpc => builder
            .with_tonic()
            .with_protocol(Protocol::Grpc)
            .with_endpoint(route.endpoint.clone())
            .with_metadata(MetadataMap::from_headers(route.headers.clone()))
            .build(),
        OtlpProtocol::Http => builder
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(route.endpoint.clone())
            .with_headers(http_headers(&route.headers))
            .build(),
    }
    .map_err(|error| exporter_error(route, &error))
}

fn metric_exporter(route: &Route) -> Result<MetricExporter, ReportError> {
    let builder = MetricExporter::builder();
    match route.protocol {
        OtlpProtocol::Grpc => builder
            .with_tonic()
            .with_protocol(Protocol::Grpc)
            .with_endpoint(route.endpoint.clone())
            .with_metadata(MetadataMap::from_headers(route.headers.clone()))
            .build(),
        OtlpProtocol::Http => builder
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(route.endpoint.clone())
            .with_headers(http_headers(&route.headers))
            .build(),
    }
    .map_err(|error| exporter_error(route, &error))
}

#[expect(clippy::disallowed_types, reason = "the exporter's builder wants this map")]
fn http_headers(headers: &HeaderMap) -> std::collections::HashMap<String, String> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn exporter_error(route: &Route, error: &opentelemetry_otlp::ExporterBuildError) -> ReportError {
    ReportError::Exporter {
        signal: route.signal.as_str(),
        endpoint: shown(&route.endpoint),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Otlp;
    use crate::report::tests::settings;

    /// Routes of both signals under these variables, or the message.
    fn routes(otlp: Option<(&str, OtlpProtocol)>, variables: &[(&str, &str)]) -> String {
        let otlp =
            otlp.map(|(endpoint, protocol)| Otlp { endpoint: endpoint.to_owned(), protocol });
        let settings = Settings { otlp, ..settings() };
        let lookup = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let show = |signal| match route(signal, &settings, &lookup) {
            Ok(Some(route)) => {
                let names: Vec<_> = route.headers.keys().map(ToString::to_string).collect();
                format!("{:?} {} {}", route.protocol, route.endpoint, names.join(","))
            }
            Ok(None) => "nowhere".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("{} | {}", show(Signal::Traces).trim(), show(Signal::Metrics).trim())
    }

    #[test]
    fn standard_variables_win_over_the_configuration() {
        let configured = Some(("http://c:4317", OtlpProtocol::Grpc));
        let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
        for (otlp, variables, expected) in [
            (None, vec![], "nowhere | nowhere"),
            (configured, vec![], "Grpc http://c:4317 | Grpc http://c:4317"),
            (
                Some(("http://c:4318/", OtlpProtocol::Http)),
                vec![],
                "Http http://c:4318/v1/traces | Http http://c:4318/v1/metrics",
            ),
            (
                None,
                vec![(all, "http://e:4318")],
                "Http http://e:4318/v1/traces | Http http://e:4318/v1/metrics",
            ),
            (configured, vec![(all, " e:4317 ")], "Grpc http://e:4317 | Grpc http://e:4317"),
            (configured, vec![(all, "  ")], "Grpc http://c:4317 | Grpc http://c:4317"),
            (
                configured,
                vec![(all, "https://e/base"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")],
                "Http https://e/base/v1/traces | Http https://e/base/v1/metrics",
            ),
            (
                configured,
                vec![
                    ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"),
                    ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"),
                    ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b%2Dc=%20x"),
                ],
                "Http http://t/x a,b-c | Grpc http://c:4317 a,b-c",
            ),
            (configured, vec![("OTEL_SDK_DISABLED", "True")], "nowhere | nowhere"),
            (configured, vec![("OTEL_TRACES_EXPORTER", "none")], "nowhere | Grpc http://c:4317"),
            (
                configured,
                vec![("OTEL_METRICS_EXPORTER", "prometheus")],
                "Grpc http://c:4317 | nowhere",
            ),
            (
                None,
                vec![("OTEL_TRACES_EXPORTER", "otlp")],
                "Http http://localhost:4318/v1/traces | nowhere",
            ),
        ] {
            assert_eq!(routes(otlp, &variables), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_without_secrets() {
        for (variable, value, expected) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "PROTOCOL is `http/json`; driftd speaks"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://u:pass@h", "`ftp://***@h`; give it as"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://", "`http://`; give it as"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "bad name=pass", "`bad name=...`; give it as"),
        ] {
            let shown = routes(Some(("http://c", OtlpProtocol::Grpc)), &[(variable, value)]);
            assert!(shown.contains(expected) && !shown.contains("pass"), "{shown}");
        }
    }

    #[test]
    fn the_resource_says_who_speaks() {
        let identity = Identity::new(&settings(), "journal-1".to_owned(), [0; 32]);
        let lookup = |name: &str| match name {
            "OTEL_RESOURCE_ATTRIBUTES" => Some("team=a%2Cb,service.name=x,broken".to_owned()),
            "OTEL_SERVICE_NAME" => Some("wins".to_owned()),
            _ => None,
        };
        let resource = resource(&identity, &lookup);
        let get = |key: &'static str| {
            resource.get(&opentelemetry::Key::from_static_str(key)).map(|value| value.to_string())
        };
        assert_eq!(get("service.name").as_deref(), Some("wins"));
        assert_eq!(get("service.instance.id").as_deref(), Some("journal-1"));
        assert_eq!(get("team").as_deref(), Some("a,b"));
        assert!(get("service.version").is_some() && get("telemetry.sdk.language").is_some());
    }
}
