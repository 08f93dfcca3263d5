//! What was understood of a file, in short.
//!
//! Owns the text that `driftd config check` prints. Refuses to say more than the settings do.
//! Invariant: no secret is in it, only where secrets are kept.

use super::secret::shown_url;
use super::units::{show_duration, show_size};
use super::{MappingSettings, PairingSettings, Settings, SideSettings};
use crate::abort::{Condition, Mode};
use crate::model::Secret;
use crate::report::{EventSink, KeyExport, OtlpProtocol};
use crate::store::{Kind, Limits, Tls};
use crate::{hook, plan, plugin, settle, store};

/// What was understood: stores, plugins, pairings, criteria, hooks, and the defaults in force.
#[must_use]
pub fn check_report(settings: &Settings) -> String {
    let mut report = Report(String::new());
    report.part("stores", settings.stores.iter().map(store));
    report.part("plugins", settings.plugins.iter().map(plugin));
    report.part("pairings", settings.pairings.iter().map(pairing));
    let mode = match settings.abort.mode {
        Mode::Armed => "criteria (armed: a trip fires its hooks)",
        Mode::DryRun => "criteria (dry run: no hook fires)",
    };
    let mode = if settings.abort.criteria.is_empty() { "criteria" } else { mode };
    report.part(mode, settings.abort.criteria.iter().map(criterion));
    report.part("hooks", settings.hooks.iter().map(hook));
    report.part("in force", in_force(settings).into_iter());
    report.0
}

struct Report(String);

impl Report {
    fn part(&mut self, title: &str, lines: impl ExactSizeIterator<Item = (String, String)>) {
        if lines.len() == 0 {
            self.line(&format!("{title}: none"));
            return;
        }
        self.line(&format!("{title}:"));
        for (name, text) in lines {
            self.line(&format!("  {name}: {text}"));
        }
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

fn store(settings: &store::Settings) -> (String, String) {
    let text = match &settings.kind {
        Kind::Mysql(mysql) => {
            let tls = match &mysql.tls {
                Tls::Disabled => "in clear".to_owned(),
                Tls::Required => "TLS, certificate not verified".to_owned(),
                Tls::Verified => "TLS, verified".to_owned(),
                Tls::VerifiedBy(path) => format!("TLS, verified by {}", path.display()),
            };
            let (user, host, port) = (&mysql.user, &mysql.host, mysql.port);
            let password = mysql.password.as_ref().map_or_else(|| "no password".to_owned(), kept);
            format!("mysql {user}@{host}:{port}/{}, {password}, {tls}", mysql.database)
        }
        Kind::Dynamodb(dynamodb) => {
            let region = dynamodb.region.as_deref().unwrap_or("from the AWS default chain");
            let endpoint =
                dynamodb.endpoint.as_ref().map(|url| format!(", endpoint {}", shown_url(url)));
            let profile = dynamodb.profile.as_ref().map(|name| format!(", profile {name}"));
            let (endpoint, profile) = (endpoint.unwrap_or_default(), profile.unwrap_or_default());
            format!("dynamodb, region {region}{endpoint}{profile}")
        }
        Kind::Sqlite { path } => format!("sqlite {}", path.display()),
    };
    let Limits { rows_per_second, bytes_per_second, capacity_per_second, concurrency } =
        settings.limits;
    let rates = [
        rows_per_second.map(|rows| format!("{rows} rows/s")),
        bytes_per_second.map(|bytes| format!("{}/s", show_size(bytes))),
        capacity_per_second.map(|capacity| format!("{capacity} capacity units/s")),
    ];
    let rates: Vec<_> = rates.into_iter().flatten().collect();
    let rates = if rates.is_empty() { "no rate limit".to_owned() } else { rates.join(", ") };
    (settings.name.clone(), format!("{text}; {rates}, {concurrency} reads at once"))
}

/// Where a secret is kept.
fn kept(secret: &Secret) -> String {
    let shown = format!("{secret:?}");
    let place = shown.strip_prefix("Secret(").and_then(|shown| shown.strip_suffix(')'));
    format!("password in {}", place.unwrap_or("its place"))
}

fn plugin(settings: &plugin::Settings) -> (String, String) {
    let code = match &settings.code {
        plugin::Code::File(path) => path.display().to_string(),
        plugin::Code::Embedded(_) => "embedded".to_owned(),
    };
    let limits = settings.limits;
    let (deadline, memory) = (show_duration(limits.deadline), show_size(limits.memory));
    (settings.name.clone(), format!("{code}; {deadline} a call, {memory} of memory"))
}

fn pairing(settings: &PairingSettings) -> (String, String) {
    let builtin = matches!(settings.mapping, MappingSettings::BuiltIn(_));
    let side = |side: &SideSettings| {
        // The built-in mapping finds entities by its key fields; a plugin is not asked here.
        let located = side.key.is_some() || builtin;
        let located = if located { "" } else { " (looked up by key if the plugin locates it)" };
        format!("{}/{}{located}", side.store, side.relations.join("+"))
    };
    let mapping = match &settings.mapping {
        MappingSettings::Plugin(plugin) => format!("plugin {plugin}"),
        MappingSettings::BuiltIn(mapping) => format!("built-in, {} fields", mapping.fields.len()),
    };
    let (source, target) = (side(&settings.source), side(&settings.target));
    let text = format!("{source} -> {target}, {} leads; {mapping}", settings.leader);
    let (passes, settle) = (passes(&settings.plan), settling(&settings.settle));
    (settings.name.clone(), format!("{text}; {passes}; {settle}"))
}

fn passes(plan: &plan::Settings) -> String {
    let (rows, concurrency) = (plan.partition_rows, plan.concurrency);
    format!(
        "partitions of {rows} rows, {concurrency} checks at once, rest {}",
        show_duration(plan.rest)
    )
}

fn settling(settle: &settle::Settings) -> String {
    let (lag, span) = (show_duration(settle.lag_budget), show_duration(settle.settle));
    format!("lag budget {lag}, settle {span}")
}

fn criterion(criterion: &crate::abort::Criterion) -> (String, String) {
    let of = criterion.pairing.as_deref().unwrap_or("all pairings");
    let what = match &criterion.condition {
        Condition::Drift { kinds, at_least } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            format!("at least {at_least} open findings of {}", kinds.join(", "))
        }
        Condition::Violations { severity, at_least } => {
            format!(
                "at least {at_least} open violations of severity {} or worse",
                severity.as_str()
            )
        }
    };
    let hooks = criterion.hooks.join(", then ");
    let hooks = if hooks.is_empty() { "no hook".to_owned() } else { hooks };
    (criterion.name.clone(), format!("{what} in {of} -> {hooks}"))
}

fn hook(settings: &hook::Settings) -> (String, String) {
    let word = |word: &String| {
        let quoted = word.is_empty() || word.contains(char::is_whitespace);
        if quoted { format!("{word:?}") } else { word.clone() }
    };
    let command = settings.command.iter().map(word).collect::<Vec<_>>().join(" ");
    let (timeout, deadline) = (show_duration(settings.timeout), show_duration(settings.deadline));
    let text = format!("{command}; {timeout} a run, failed after {deadline}");
    (settings.name.clone(), text)
}

fn in_force(settings: &Settings) -> Vec<(String, String)> {
    let journal = &settings.journal;
    let (retention, size) = (show_duration(journal.retention), show_size(journal.size_max));
    let report = &settings.report;
    let events = match &report.events {
        EventSink::File(path) => format!("appended to {}", path.display()),
        EventSink::Stdout => "to standard output".to_owned(),
        EventSink::Journal => "kept in the journal".to_owned(),
    };
    let keys = match report.keys {
        KeyExport::Hmac => "keys as HMACs",
        KeyExport::Plain => "keys as they are",
    };
    let fields = match report.fields.as_slice() {
        [] => "no values".to_owned(),
        fields => format!("values of {}", fields.join(", ")),
    };
    let otlp = report.otlp.as_ref().map_or_else(
        || "nowhere, unless OTEL_EXPORTER_OTLP_* says so".to_owned(),
        |otlp| match otlp.protocol {
            OtlpProtocol::Grpc => format!("{} over gRPC", shown_url(&otlp.endpoint)),
            OtlpProtocol::Http => format!("{} over HTTP", shown_url(&otlp.endpoint)),
        },
    );
    let listen = settings.listen.map_or_else(|| "nowhere".to_owned(), |listen| listen.to_string());
    [
        ("journal", format!("{}, {retention} kept, at most {size}", journal.path.display())),
        ("traces and metrics", otlp),
        ("drift events", format!("{events}, {keys}, {fields}")),
        ("health and metrics", listen),
        (
            "checks",
            format!(
                "{} of all pairings at once, {} for all of them",
                settings.checks.concurrency,
                show_size(settings.checks.memory)
            ),
        ),
        ("memory of plugins", format!("{} for all instances", show_size(settings.plugin_memory))),
        ("shutdown", format!("within {}", show_duration(settings.grace))),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}
