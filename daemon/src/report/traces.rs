//! Traces, decided with hindsight.
//!
//! Owns the checks whose suspects are not decided yet, and what of them becomes spans. Refuses to
//! read a clock: all times are those of notes. Invariant: held checks, remembered contexts and spans a
//! minute are bounded, and what goes beyond is counted.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Span as _, SpanContext, SpanKind as OtelKind, Status, TraceContextExt as _, Tracer as _,
};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value as OtelValue};
use opentelemetry_sdk::trace::SdkTracer;

use crate::model::{
    CheckNote, Checksum, Cost, Finding, Key, Moment, Side, Span, SpanKind, Subject,
};
use crate::report::Identity;
use crate::report::export::{Dropped, Reason, Signal, Ticket};
use crate::report::form::partition_name;
use crate::report::names::{attribute, span};

/// Drifted keys that one trace tells.
pub const KEYS_MAX: usize = 64;
/// Timed parts that one trace of a check tells.
const PARTS_MAX: usize = 256;
/// Contexts of emitted checks that are remembered for links.
const REMEMBERED_MAX: usize = 10_000;
/// For how long the findings of one check are gathered for one trace.
const GATHER: Duration = Duration::from_secs(5);
/// Checks whose findings are gathered at once; beyond, none waits.
const GROUPS_MAX: usize = 1_000;

/// Which traces are kept, and how many.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Share of clean checks that are kept, from 0 to 1.
    pub clean_ratio: f64,
    /// A check that takes longer is kept.
    pub slow: Duration,
    /// Checks held until they are decided.
    pub held_max: usize,
    /// Spans a minute.
    pub spans_per_minute: NonZeroU32,
}

/// Where traces are made.
#[derive(Debug)]
pub struct Traces {
    tracer: SdkTracer,
    identity: Identity,
    limits: Limits,
    bucket: Bucket,
    dropped: Dropped,
    ticket: Ticket,
    held: BTreeMap<u64, CheckNote>,
    confirmed: BTreeMap<(String, u64), Gathered>,
    emitted: BTreeMap<u64, Emitted>,
    now: Moment,
}

/// Findings of one check, gathered for one trace.
#[derive(Debug, Default)]
struct Gathered {
    since: Option<Moment>,
    findings: Vec<Finding>,
}

/// A check whose trace was emitted.
#[derive(Debug)]
struct Emitted {
    context: SpanContext,
    began: Moment,
}

/// Why a trace of a check is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    Drift,
    Unread,
    Slow,
    Ratio,
}

impl Traces {
    /// Traces go to `tracer`; what is let go is counted in `dropped`.
    #[must_use]
    pub fn new(
        tracer: SdkTracer,
        identity: Identity,
        limits: Limits,
        (dropped, ticket): (Dropped, Ticket),
    ) -> Self {
        Self {
            tracer,
            identity,
            limits,
            bucket: Bucket::new(limits.spans_per_minute),
            dropped,
            ticket,
            held: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            emitted: BTreeMap::new(),
            now: Moment::default(),
        }
    }

    /// A check ended. Without suspects it is decided; otherwise it is held until it is.
    pub fn checked(&mut self, check: &CheckNote) {
        self.now = self.now.max(check.ended);
        if check.suspects == 0 && check.broken == 0 {
            self.settle(check, false);
            return;
        }
        self.held.insert(check.check, check.clone());
        while self.held.len() > self.limits.held_max.max(1) {
            self.held.pop_first();
            self.dropped.add(Signal::Traces, Reason::Undecided, 1);
        }
    }

    /// All suspects of a check are decided.
    pub fn decided(&mut self, check: u64, drift: bool) {
        let of_check: Vec<_> =
            self.confirmed.keys().filter(|(_, of)| *of == check).cloned().collect();
        for group in of_check {
            self.emit_confirmed(&group);
        }
        if let Some(check) = self.held.remove(&check) {
            self.settle(&check, drift);
        }
    }

    /// Findings were confirmed. Those that one check saw first become one trace, linked to it; they
    /// are gathered until their check is decided, but not for long.
    pub fn confirmed(&mut self, findings: &[Finding]) {
        for finding in findings {
            self.now = self.now.max(finding.confirmed);
            let group = (finding.pairing.clone(), finding.check);
            let gathered = self.confirmed.entry(group.clone()).or_default();
            gathered.since.get_or_insert(finding.confirmed);
            gathered.findings.push(finding.clone());
        }
        self.emit_ripe();
    }

    /// Time went on.
    pub fn tick(&mut self, now: Moment) {
        self.now = self.now.max(now);
        self.emit_ripe();
    }

    /// Emits what was gathered; nothing more will come.
    pub fn finish(&mut self) {
        for group in self.confirmed.keys().cloned().collect::<Vec<_>>() {
            self.emit_confirmed(&group);
        }
    }

    /// Emits the confirmations that are enough for a trace or have waited long enough.
    fn emit_ripe(&mut self) {
        let full = self.confirmed.len() > GROUPS_MAX;
        let ripe = |gathered: &Gathered| {
            full || gathered.findings.len() >= KEYS_MAX
                || gathered.since.is_some_and(|since| self.now.since(since) >= GATHER)
        };
        let due = self.confirmed.iter().filter(|(_, gathered)| ripe(gathered));
        for group in due.map(|(group, _)| group.clone()).collect::<Vec<_>>() {
            self.emit_confirmed(&group);
        }
    }

    fn emit_confirmed(&mut self, group: &(String, u64)) {
        let Some(Gathered { findings, .. }) = self.confirmed.remove(group) else { return };
        let (pairing, check) = group;
        // Numbers of checks begin anew with each process: one that was held or emitted here saw
        // these findings only if it began before they were seen.
        let seen = findings.iter().map(|finding| finding.first_seen).min().unwrap_or_default();
        let held = self.held.get(check);
        if held.is_some_and(|held| held.began <= seen && held.pairing == *pairing)
            && let Some(held) = self.held.remove(check)
        {
            self.settle(&held, true);
        }
        let first = self.emitted.get(check).filter(|emitted| emitted.began <= seen);
        let link = first.map(|emitted| emitted.context.clone());
        self.emit_drift(pairing, &findings, link);
    }

    /// Keeps a decided check's trace or lets it go.
    fn settle(&mut self, check: &CheckNote, drift: bool) {
        let kept = if drift {
            Kept::Drift
        } else if !check.unread.is_empty() {
            Kept::Unread
        } else if check.ended.since(check.began) > self.limits.slow {
            Kept::Slow
        } else if chosen(check.check, self.limits.clean_ratio) {
            Kept::Ratio
        } else {
            return;
        };
        let parts = check.spans.len().min(PARTS_MAX);
        if !self.admit(parts + 1, kept == Kept::Drift) {
            return;
        }
        let context = self.emit_check(check, kept);
        self.emitted.insert(check.check, Emitted { context, began: check.began });
        while self.emitted.len() > REMEMBERED_MAX {
            self.emitted.pop_first();
        }
    }

    fn emit_check(&self, check: &CheckNote, kept: Kept) -> SpanContext {
        let mut attributes = self.check_attributes(check, kept);
        let status = match kept {
            Kept::Drift => Status::error("drift was confirmed"),
            Kept::Unread => Status::error("something was unread"),
            Kept::Slow | Kept::Ratio => Status::Unset,
        };
        let error = match kept {
            Kept::Drift => Some("drift"),
            Kept::Unread => check.unread.first().map(|(_, fault)| fault.code.as_str()),
            Kept::Slow | Kept::Ratio => None,
        };
        attributes.extend(error.map(|error| KeyValue::new(attribute::ERROR_TYPE, error)));
        let omitted = check.spans.len().saturating_sub(PARTS_MAX);
        if omitted > 0 {
            attributes.push(count(attribute::OMITTED, omitted as u64));
        }
        let root = Times { began: check.began, ended: check.ended };
        let context = self.start(&Context::new(), span::CHECK, root, attributes);
        context.span().set_status(status);
        for part in check.spans.iter().take(PARTS_MAX) {
            let (name, attributes) = part_form(part);
            let times = Times { began: part.began, ended: part.ended };
            let child = self.start(&context, name, times, attributes);
            self.end(&child, times);
        }
        self.end(&context, root);
        context.span().span_context().clone()
    }

    fn check_attributes(&self, check: &CheckNote, kept: Kept) -> Vec<KeyValue> {
        let mut out = vec![
            KeyValue::new(attribute::PAIRING, check.pairing.clone()),
            KeyValue::new(attribute::PARTITION, partition_name(&check.partition)),
            KeyValue::new(attribute::DIRECTION, check.partition.direction.to_string()),
            count(attribute::PASS, check.pass),
            count(attribute::CHECK, check.check),
            KeyValue::new(attribute::CHECK_RESULT, result(check, kept == Kept::Drift)),
            KeyValue::new(
                attribute::CHECK_KEPT,
                match kept {
                    Kept::Drift => "drift",
                    Kept::Unread => "unread",
                    Kept::Slow => "slow",
                    Kept::Ratio => "ratio",
                },
            ),
            count(attribute::SAME, check.same),
            count(attribute::EXCLUDED, check.excluded),
            count(attribute::SUSPECTS, check.suspects),
            count(attribute::BROKEN, check.broken),
        ];
        if let Some(extent) = self.identity.extent(&check.partition) {
            out.push(KeyValue::new(attribute::EXTENT, extent));
        }
        if !check.unread.is_empty() {
            let codes = check.unread.iter().map(|(_, fault)| fault.code.to_string());
            out.push(texts(attribute::UNREAD, codes));
        }
        for (side, checksum) in &check.checksums {
            let key = by(*side, attribute::CHECKSUM_SOURCE, attribute::CHECKSUM_TARGET);
            out.push(KeyValue::new(key, checksum_form(*checksum)));
        }
        for (side, cost) in &check.costs {
            out.extend(cost_attributes(*side, *cost));
        }
        out
    }

    fn emit_drift(&mut self, pairing: &str, findings: &[Finding], link: Option<SpanContext>) {
        let told = told(findings);
        if !self.admit(told.len() + 1, true) {
            return;
        }
        let entities: u64 = findings.iter().map(Finding::entities).sum();
        let keyed = findings.iter().filter(|finding| !finding.is_of_rule());
        let keys: u64 = keyed.map(Finding::entities).sum();
        let named = told.iter().filter(|(_, key)| key.is_some()).count() as u64;
        let began = findings.iter().map(|finding| finding.first_seen).min().unwrap_or_default();
        let ended = findings.iter().map(|finding| finding.confirmed).max().unwrap_or_default();
        let mut kinds: Vec<_> =
            findings.iter().map(|finding| finding.kind.as_str().to_owned()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let attributes = vec![
            KeyValue::new(attribute::PAIRING, pairing.to_owned()),
            texts(attribute::DRIFT_KIND, kinds),
            count(attribute::DRIFT_ENTITIES, entities),
            count(attribute::DRIFT_OMITTED, keys.saturating_sub(named)),
            KeyValue::new(attribute::ERROR_TYPE, "drift"),
        ];
        let times = Times { began, ended };
        let root = self.start(&Context::new(), span::DRIFT, times, attributes);
        root.span().set_status(Status::error("drift was confirmed"));
        if let Some(link) = link {
            root.span().add_link(link, Vec::new());
        }
        for (finding, key) in told {
            let times = Times { began: finding.first_seen, ended: finding.confirmed };
            let attributes = self.finding_attributes(finding, key);
            let child = self.start(&root, span::DRIFT_KEY, times, attributes);
            child.span().set_status(Status::error(finding.kind.as_str()));
            self.end(&child, times);
        }
        self.end(&root, times);
    }

    fn finding_attributes(&self, finding: &Finding, key: Option<&Key>) -> Vec<KeyValue> {
        let age = finding.confirmed.since(finding.first_seen).as_secs_f64();
        let mut out = vec![
            count(attribute::FINDING, finding.id),
            KeyValue::new(attribute::DRIFT_KIND, finding.kind.as_str()),
            KeyValue::new(attribute::DRIFT_AGE, age),
            count(attribute::DRIFT_LOOKS, u64::from(finding.looks)),
            KeyValue::new(attribute::IDENTITY, finding.identity.to_string()),
            KeyValue::new(attribute::ERROR_TYPE, "drift"),
        ];
        if let Some(entity) = &finding.entity {
            out.push(KeyValue::new(attribute::ENTITY_TYPE, entity.clone()));
        }
        if let Some(key) = key {
            let hmac = self.identity.key_hmac(&finding.pairing, key);
            out.push(KeyValue::new(attribute::DRIFT_KEY_HMAC, hmac));
            let plain = self.identity.key_plain(key);
            out.extend(plain.map(|key| KeyValue::new(attribute::DRIFT_KEY, key.to_string())));
        }
        if let Subject::Partition { partition, entities, .. } = &finding.subject {
            out.push(KeyValue::new(attribute::PARTITION, partition_name(partition)));
            let entities = if key.is_some() { 1 } else { *entities };
            out.push(count(attribute::DRIFT_ENTITIES, entities));
        }
        if !finding.fields.is_empty() {
            out.push(texts(attribute::DRIFT_FIELDS, finding.fields.iter().cloned()));
        }
        if !finding.cosmetic.is_empty() {
            out.push(texts(attribute::DRIFT_COSMETIC, finding.cosmetic.iter().cloned()));
        }
        if let Some(side) = finding.side {
            out.push(KeyValue::new(attribute::SIDE, side.to_string()));
        }
        if let Some((invariant, severity)) = &finding.invariant {
            out.push(KeyValue::new(attribute::INVARIANT, invariant.clone()));
            out.push(KeyValue::new(attribute::SEVERITY, severity.as_str()));
        }
        for (key, digest) in [
            (attribute::CHECKSUM_SOURCE, finding.source_digest),
            (attribute::CHECKSUM_TARGET, finding.target_digest),
        ] {
            let checksum = digest.map(|digest| Checksum { count: 1, sum: digest.0 });
            out.extend(checksum.map(|sum| KeyValue::new(key, checksum_form(sum))));
        }
        out
    }

    /// Whether so many spans may be emitted now. Half of the rate is kept for drift.
    fn admit(&mut self, spans: usize, drift: bool) -> bool {
        let wanted = u32::try_from(spans).unwrap_or(u32::MAX);
        let refused = if !self.ticket.room_for(spans) {
            Reason::Queue
        } else if !self.bucket.take(self.now, wanted, drift) {
            Reason::Rate
        } else {
            return true;
        };
        self.dropped.add(Signal::Traces, refused, u64::from(wanted));
        false
    }

    fn start(
        &self,
        parent: &Context,
        name: &'static str,
        times: Times,
        attributes: Vec<KeyValue>,
    ) -> Context {
        let builder = self
            .tracer
            .span_builder(name)
            .with_kind(OtelKind::Internal)
            .with_start_time(system(times.began))
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, parent);
        if span.span_context().is_sampled() {
            self.ticket.queued();
        }
        parent.with_span(span)
    }

    fn end(&self, context: &Context, times: Times) {
        context.span().end_with_timestamp(system(times.ended.max(times.began)));
    }
}

/// When a span began and ended.
#[derive(Clone, Copy)]
struct Times {
    began: Moment,
    ended: Moment,
}

/// How a check ended.
#[must_use]
pub fn result(check: &CheckNote, drift: bool) -> &'static str {
    if drift {
        "drift"
    } else if !check.unread.is_empty() {
        "unread"
    } else if check.suspects > 0 || check.broken > 0 {
        "suspects"
    } else {
        "same"
    }
}

/// What a confirmation tells one by one: each finding, and of one that is about many its sample too.
fn told(findings: &[Finding]) -> Vec<(&Finding, Option<&Key>)> {
    let all = findings.iter().flat_map(|finding| {
        let (whole, sample) = match &finding.subject {
            Subject::Key(key) => (Some(key), [].as_slice()),
            Subject::Partition { sample, .. } => (None, sample.as_slice()),
        };
        let sample = sample.iter().map(|named| Some(&named.key));
        std::iter::once(whole).chain(sample).map(move |key| (finding, key))
    });
    all.take(KEYS_MAX).collect()
}

fn part_form(part: &Span) -> (&'static str, Vec<KeyValue>) {
    let side = |side: Side| KeyValue::new(attribute::SIDE, side.to_string());
    let function = |name: &'static str| KeyValue::new(attribute::PLUGIN_FUNCTION, name);
    let rows = count(attribute::ROWS, part.rows);
    match part.kind {
        SpanKind::Read(of) => (span::READ, vec![side(of), rows]),
        SpanKind::Map(of) => (span::PLUGIN, vec![function("map-batch"), side(of), rows]),
        SpanKind::Invariants => (span::PLUGIN, vec![function("check-pairs"), rows]),
        SpanKind::Compare => (span::COMPARE, vec![rows]),
    }
}

fn cost_attributes(side: Side, cost: Cost) -> Vec<KeyValue> {
    let mut out = vec![
        count(by(side, attribute::SOURCE_ROWS, attribute::TARGET_ROWS), cost.rows),
        count(by(side, attribute::SOURCE_BYTES, attribute::TARGET_BYTES), cost.bytes),
    ];
    if cost.capacity > 0.0 {
        let key = by(side, attribute::SOURCE_CAPACITY, attribute::TARGET_CAPACITY);
        out.push(KeyValue::new(key, cost.capacity));
    }
    out
}

const fn by(side: Side, source: &'static str, target: &'static str) -> &'static str {
    match side {
        Side::Source => source,
        Side::Target => target,
    }
}

fn checksum_form(checksum: Checksum) -> String {
    format!("{}:{:032x}", checksum.count, checksum.sum)
}

fn count(key: &'static str, value: u64) -> KeyValue {
    KeyValue::new(key, i64::try_from(value).unwrap_or(i64::MAX))
}

fn texts(key: &'static str, values: impl IntoIterator<Item = String>) -> KeyValue {
    let values: Vec<StringValue> = values.into_iter().map(StringValue::from).collect();
    KeyValue::new(key, OtelValue::Array(Array::String(values)))
}

fn system(moment: Moment) -> SystemTime {
    let since = Duration::from_micros(u64::try_from(moment.0).unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

/// Whether this clean check is in the sample: the same for the same number, in every process.
fn chosen(check: u64, ratio: f64) -> bool {
    let hash = blake3::hash(&check.to_be_bytes());
    let mut first = [0; 4];
    first.copy_from_slice(&hash.as_bytes()[..4]);
    f64::from(u32::from_be_bytes(first)) / (f64::from(u32::MAX) + 1.0) < ratio
}

/// Spans a minute, filled by the times of notes.
#[derive(Debug)]
struct Bucket {
    /// In spans times [`MINUTE`], so that no microsecond is rounded away.
    tokens: u64,
    size: u32,
    filled: Option<Moment>,
}

const MINUTE: u64 = 60_000_000;

impl Bucket {
    fn new(size: NonZeroU32) -> Self {
        Self { tokens: u64::from(size.get()) * MINUTE, size: size.get(), filled: None }
    }

    /// Takes so many tokens, or none. What is not drift leaves half of the bucket alone.
    fn take(&mut self, now: Moment, spans: u32, drift: bool) -> bool {
        let full = u64::from(self.size) * MINUTE;
        let elapsed = self.filled.map_or(Duration::ZERO, |filled| now.since(filled));
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(MINUTE).min(MINUTE);
        self.filled = self.filled.max(Some(now));
        self.tokens = (self.tokens + micros * u64::from(self.size)).min(full);
        let reserve = if drift { 0 } else { full / 2 };
        let Some(left) = self.tokens.checked_sub(u64::from(spans) * MINUTE) else { return false };
        if left < reserve {
            return false;
        }
        self.tokens = left;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_bucket_fills_with_the_time_of_notes_and_keeps_half_for_drift() {
        let mut bucket = Bucket::new(NonZeroU32::new(60).unwrap());
        let at = |seconds: i64| Moment(seconds * SECOND);
        let taken = |bucket: &mut Bucket, now, drift| {
            std::iter::repeat_with(|| bucket.take(now, 1, drift)).take_while(|taken| *taken).count()
        };
        assert_eq!(taken(&mut bucket, at(1_000), false), 30);
        assert_eq!(taken(&mut bucket, at(1_000), true), 30);
        assert_eq!(taken(&mut bucket, at(1_010), true), 10);
        // Time that goes backwards gives nothing, and takes nothing.
        assert_eq!(taken(&mut bucket, at(900), true), 0);
        assert_eq!(taken(&mut bucket, at(1_020), true), 10);
        assert_eq!(taken(&mut bucket, at(9_999), false), 30);
        assert!(!bucket.take(at(99_999), 61, true), "more than the bucket holds");
    }

    #[test]
    fn the_sample_of_clean_checks_has_the_share_asked_for() {
        for (ratio, least, most) in
            [(0.0, 0, 0), (0.01, 70, 130), (0.5, 4_800, 5_200), (1.0, 10_000, 10_000)]
        {
            let count = (0..10_000).filter(|check| chosen(*check, ratio)).count();
            assert!((least..=most).contains(&count), "{ratio}: {count}");
        }
    }
}
