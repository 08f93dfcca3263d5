//! A real OTLP receiver on loopback: gRPC and HTTP, traces and metrics.
//!
//! Owns the servers and what they were sent. Refuses nothing that a collector would take. Invariant:
//! what is kept is what came over the wire, whole and in order.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A receiver that runs until it is dropped.
#[derive(Debug)]
pub struct Receiver {
    grpc: SocketAddr,
    http: SocketAddr,
    kept: Arc<Mutex<Kept>>,
    _servers: JoinSet<()>,
}

/// What was received.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Requests with traces, as they came.
    pub traces: Vec<ExportTraceServiceRequest>,
    /// Requests with metrics, as they came.
    pub metrics: Vec<ExportMetricsServiceRequest>,
    /// For each request, in order of arrival, its headers (gRPC: metadata) as `name: value`.
    pub headers: Vec<Vec<String>>,
}

impl Receiver {
    /// Starts both servers on free ports.
    ///
    /// # Panics
    /// If there is no port.
    pub async fn start() -> Self {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let mut servers = JoinSet::new();

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let grpc = listener.local_addr().expect("it is bound");
        let service = Service { kept: Arc::clone(&kept) };
        let server = tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(service.clone()))
            .add_service(MetricsServiceServer::new(service))
            .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener));
        servers.spawn(async move { server.await.expect("the gRPC receiver serves") });

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let http = listener.local_addr().expect("it is bound");
        let router = axum::Router::new()
            .route("/v1/traces", post(http_traces))
            .route("/v1/metrics", post(http_metrics))
            .with_state(Arc::clone(&kept));
        servers.spawn(async move {
            axum::serve(listener, router).await.expect("the HTTP receiver serves");
        });
        Self { grpc, http, kept, _servers: servers }
    }

    /// The endpoint for gRPC.
    #[must_use]
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc)
    }

    /// The base endpoint for HTTP.
    #[must_use]
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// All that was received so far.
    ///
    /// # Panics
    /// If a server panicked.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept.lock().expect("no server panics").clone()
    }
}

impl Kept {
    /// All spans, in order of arrival.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let requests = self.traces.iter().flat_map(|request| &request.resource_spans);
        requests.flat_map(|of| &of.scope_spans).flat_map(|of| of.spans.clone()).collect()
    }

    /// The spans of this name.
    #[must_use]
    pub fn spans_named(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The metrics of the last request.
    #[must_use]
    pub fn last_metrics(&self) -> Vec<Metric> {
        let last = self.metrics.last().into_iter().flat_map(|request| &request.resource_metrics);
        last.flat_map(|of| &of.scope_metrics).flat_map(|of| of.metrics.clone()).collect()
    }

    /// An attribute of the resource of the first request.
    #[must_use]
    pub fn resource(&self, key: &str) -> Option<String> {
        let traces = self.traces.iter().flat_map(|of| &of.resource_spans).map(|of| &of.resource);
        let metrics =
            self.metrics.iter().flat_map(|of| &of.resource_metrics).map(|of| &of.resource);
        let first = traces.chain(metrics).flatten().next()?;
        attribute(&first.attributes, key)
    }

    /// Every byte that was received.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let traces = self.traces.iter().map(Message::encode_to_vec);
        let metrics = self.metrics.iter().map(Message::encode_to_vec);
        traces.chain(metrics).flatten().collect()
    }
}

/// An attribute as text; lists are joined by commas.
#[must_use]
pub fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(text(found.value.as_ref()?))
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::BoolValue(value)) => value.to_string(),
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::DoubleValue(value)) => value.to_string(),
        Some(Value::ArrayValue(list)) => list.values.iter().map(text).collect::<Vec<_>>().join(","),
        other => format!("{other:?}"),
    }
}

#[derive(Clone)]
struct Service {
    kept: Arc<Mutex<Kept>>,
}

fn metadata<T>(request: &tonic::Request<T>) -> Vec<String> {
    let headers = request.metadata().clone().into_headers();
    lines(&headers)
}

fn lines(headers: &HeaderMap) -> Vec<String> {
    let value = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers.iter().map(|(name, of)| format!("{name}: {}", value(of.as_bytes()))).collect()
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let headers = metadata(&request);
        let mut kept = self.kept.lock().expect("no server panics");
        kept.headers.push(headers);
        kept.traces.push(request.into_inner());
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<tonic::Response<ExportMetricsServiceResponse>, tonic::Status> {
        let headers = metadata(&request);
        let mut kept = self.kept.lock().expect("no server panics");
        kept.headers.push(headers);
        kept.metrics.push(request.into_inner());
        Ok(tonic::Response::new(ExportMetricsServiceResponse::default()))
    }
}

type Answer = Result<([(header::HeaderName, &'static str); 1], Vec<u8>), StatusCode>;

const PROTOBUF: [(header::HeaderName, &str); 1] =
    [(header::CONTENT_TYPE, "application/x-protobuf")];

async fn http_traces(
    State(kept): State<Arc<Mutex<Kept>>>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return Answer::Err(StatusCode::BAD_REQUEST);
    };
    let mut kept = kept.lock().expect("no server panics");
    kept.headers.push(lines(&headers));
    kept.traces.push(request);
    Ok((PROTOBUF, ExportTraceServiceResponse::default().encode_to_vec()))
}

async fn http_metrics(
    State(kept): State<Arc<Mutex<Kept>>>,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let Ok(request) = ExportMetricsServiceRequest::decode(body) else {
        return Answer::Err(StatusCode::BAD_REQUEST);
    };
    let mut kept = kept.lock().expect("no server panics");
    kept.headers.push(lines(&headers));
    kept.metrics.push(request);
    Ok((PROTOBUF, ExportMetricsServiceResponse::default().encode_to_vec()))
}
