//! `driftd drift`.
//!
//! Owns the words in which findings are told on the spot, keys included: this is local output.
//! Refuses to change a finding: it leaves a command for the daemon. Invariant: it works while the
//! daemon runs, and after it was killed.

use serde_json::json;

use crate::cli::output::{Output, ago, table};
use crate::cli::{CONFIGURATION, CliError, JournalPath, SAME, abort, keys, unknown};
use crate::journal::{Filter, Reader, named_key, readable_key, readable_place};
use crate::model::{
    Command, DriftKind, FaultCode, Finding, FindingStatus, Moment, NamedKey, PairingStatus, Side,
    StoreKey, Subject, Unjudged, Unsettled,
};
use crate::report::form::rfc3339;
use crate::run::Clock;

/// Options of `drift`.
#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Option<Change>,
    #[command(flatten)]
    journal: JournalPath,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Also what was resolved or superseded.
    #[arg(long)]
    all: bool,
    /// Only this kind: missing, unexpected, mismatch, stale, duplicate, violation, unmappable.
    #[arg(long, value_parser = kind)]
    kind: Option<DriftKind>,
    /// Only this pairing.
    #[arg(long, value_name = "NAME")]
    pairing: Option<String>,
    /// What differed and could not be judged, and why, in place of findings; with `--all` also what has
    /// been judged since.
    #[arg(long, conflicts_with = "kind")]
    unsettled: bool,
    /// At most so many.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Debug, clap::Subcommand)]
enum Change {
    /// Do not count a finding until a time: it stays open, and is counted apart.
    Ignore {
        /// The key as `driftd drift` prints it, or the finding's number with `#` before it.
        key: String,
        /// Until when: a time such as 2026-12-31T00:00:00Z, a date, or a duration such as 36h or 7d.
        #[arg(long)]
        until: String,
    },
    /// Print every key of a finding that tells of a partition as a whole: reads the partition once
    /// more, now, and prints what differs; what is on its way is among it.
    Keys {
        /// The finding's number.
        finding: String,
    },
}

fn kind(text: &str) -> Result<DriftKind, String> {
    let names: Vec<&str> = DriftKind::ALL.iter().map(|kind| kind.as_str()).collect();
    DriftKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("known kinds are {}", names.join(", ")))
}

/// Lists findings, leaves a command, or reads a partition.
pub(super) fn drift(options: Options, output: &Output) -> Result<u8, CliError> {
    match options.command {
        Some(Change::Keys { finding }) => keys::keys(&finding, &options.journal, output),
        Some(Change::Ignore { key, until }) => ignore(&key, &until, &options.journal, output),
        None if options.list.unsettled => list_unsettled(&options.list, &options.journal, output),
        None => list(&options.list, &options.journal, output),
    }
}

fn list_unsettled(options: &List, journal: &JournalPath, output: &Output) -> Result<u8, CliError> {
    let reader = Reader::open(&journal.resolve()?)?;
    let statuses = reader.statuses()?;
    let pairing = options.pairing.as_deref();
    if let Some(name) = pairing {
        known_pairing(name, &statuses)?;
    }
    let (listed, count) = reader.unsettled(pairing, options.all, options.limit)?;
    if journal.json {
        let listed: Vec<_> = listed.iter().map(|one| unsettled_json(one, &statuses)).collect();
        output.result(&format!("{:#}", json!({ "count": count, "unsettled": listed })))?;
        return Ok(SAME);
    }
    if listed.is_empty() {
        output.result("nothing is unsettled")?;
        return Ok(SAME);
    }
    let now = Clock::new().now();
    let row = |one: &Unsettled| {
        vec![
            one.pairing.clone(),
            unjudged(one, &statuses),
            one.times.to_string(),
            ago(now, one.first_seen),
            ago(now, one.at),
            why(one),
        ]
    };
    let rows: Vec<_> = listed.iter().map(row).collect();
    let head = ["pairing", "what", "times", "first seen", "let go", "why it could not be judged"];
    let mut words = table(&head, &rows);
    let more = count.saturating_sub(listed.len() as u64);
    if more > 0 {
        words = format!("{words}... and {more} more; `--limit` shows them\n");
    }
    output.result(&words)?;
    Ok(SAME)
}

fn known_pairing(name: &str, statuses: &[PairingStatus]) -> Result<(), CliError> {
    let known: Vec<&str> = statuses.iter().map(|status| status.pairing.as_str()).collect();
    if known.contains(&name) {
        return Ok(());
    }
    Err(CliError::Usage(unknown("pairing", name, &known)))
}

/// What could not be judged; `statuses` are those of its pairing.
pub(super) fn unjudged(unsettled: &Unsettled, statuses: &[PairingStatus]) -> String {
    match &unsettled.subject {
        Unjudged::Key(key) => match key.row() {
            Some((side, at)) => {
                let status = statuses.iter().find(|status| {
                    status.pairing == unsettled.pairing && status.identity == unsettled.identity
                });
                let relations = status
                    .map_or(&[][..], |status| &status.relations[usize::from(side == Side::Target)]);
                format!("row of the {side} at {}", readable_place(relations, &at))
            }
            None => named_key(unsettled.entity.as_deref(), key),
        },
        Unjudged::Members(partition) => {
            format!("{} entities in {}", unsettled.entities, partition.extent)
        }
        Unjudged::Rule { partition, invariant } => {
            format!("rule {invariant} over all of {}", partition.extent)
        }
    }
}

/// Why it could not be judged.
pub(super) fn why(unsettled: &Unsettled) -> String {
    match &unsettled.fault {
        Some(code) => format!("{}: {} ({code})", unsettled.why.as_str(), unsettled.what),
        None => format!("{}: {}", unsettled.why.as_str(), unsettled.what),
    }
}

/// What could not be judged, as JSON.
pub(super) fn unsettled_json(
    unsettled: &Unsettled,
    statuses: &[PairingStatus],
) -> serde_json::Value {
    let (partition, invariant) = match &unsettled.subject {
        Unjudged::Key(_) => (None, None),
        Unjudged::Members(partition) => (Some(partition), None),
        Unjudged::Rule { partition, invariant } => (Some(partition), Some(invariant)),
    };
    let key = match &unsettled.subject {
        Unjudged::Key(key) if !key.is_of_row() => Some(match unsettled.entity {
            Some(_) => readable_key(key),
            None => named_key(None, key),
        }),
        Unjudged::Key(_) => Some(unjudged(unsettled, statuses)),
        Unjudged::Members(_) | Unjudged::Rule { .. } => None,
    };
    json!({
        "pairing": unsettled.pairing,
        "entity": unsettled.entity,
        "key": key,
        "partition": partition.map(|partition| partition.extent.to_string()),
        "invariant": invariant,
        "entities": unsettled.entities,
        "why": unsettled.why.as_str(),
        "what": unsettled.what,
        "code": unsettled.fault.map(FaultCode::as_str),
        "first_seen": rfc3339(unsettled.first_seen),
        "at": rfc3339(unsettled.at),
        "looks": unsettled.looks,
        "times": unsettled.times,
    })
}

fn list(options: &List, journal: &JournalPath, output: &Output) -> Result<u8, CliError> {
    let reader = Reader::open(&journal.resolve()?)?;
    let filter = Filter {
        open: !options.all,
        kind: options.kind,
        pairing: options.pairing.clone(),
        key: None,
    };
    let findings = reader.findings(&filter, options.limit, 0)?;
    let count = reader.count(&filter)?;
    let mut statuses = reader.statuses()?;
    if let Some(name) = &options.pairing
        && findings.is_empty()
    {
        known_pairing(name, &statuses)?;
    }
    statuses.retain(|status| options.pairing.as_ref().is_none_or(|name| status.pairing == *name));
    let gaps = gaps(&statuses);
    if journal.json {
        let findings: Vec<_> = findings.iter().map(|one| json(one, &statuses)).collect();
        let gaps: Vec<_> =
            gaps.iter().map(|(pairing, why)| json!({ "pairing": pairing, "why": why })).collect();
        let result = json!({ "count": count, "findings": findings, "gaps": gaps });
        output.result(&format!("{result:#}"))?;
        return Ok(SAME);
    }
    if findings.is_empty() {
        output.result(&nothing(options, &statuses, &gaps))?;
        return Ok(SAME);
    }
    let shown: Vec<&Finding> = findings.iter().collect();
    let mut words = text(&shown, &statuses);
    let more = count.saturating_sub(findings.len() as u64);
    if more > 0 {
        words = format!("{words}... and {more} more; `--limit` shows them\n");
    }
    output.result(&words)?;
    Ok(SAME)
}

/// What speaks against taking silence for sameness, by pairing.
fn gaps(statuses: &[PairingStatus]) -> Vec<(&str, String)> {
    let mut gaps = Vec::new();
    for status in statuses {
        let pairing = status.pairing.as_str();
        if status.covered_since.is_none() {
            gaps.push((pairing, "was not yet read in full".to_owned()));
        }
        gaps.extend(
            status.not_verifiable.iter().map(|why| (pairing, format!("not verifiable: {why}"))),
        );
    }
    gaps
}

/// What is said when nothing is listed: never more than is known.
fn nothing(options: &List, statuses: &[PairingStatus], gaps: &[(&str, String)]) -> String {
    let of = options.kind.map(|kind| format!(" of kind {}", kind.as_str())).unwrap_or_default();
    let mut words = format!("no confirmed drift{of}");
    if statuses.is_empty() {
        words.push_str("; no pairing was read yet");
    }
    for (pairing, why) in gaps {
        words = format!("{words}; `{pairing}` {why}");
    }
    words
}

/// A table of findings; `statuses` are those of their pairings.
pub(super) fn text(findings: &[&Finding], statuses: &[PairingStatus]) -> String {
    let now = Clock::new().now();
    let rows: Vec<Vec<String>> =
        findings.iter().map(|finding| row(finding, statuses, now)).collect();
    table(&["#", "pairing", "kind", "key", "what", "first seen", "status"], &rows)
}

fn row(finding: &Finding, statuses: &[PairingStatus], now: Moment) -> Vec<String> {
    let status = match finding.status {
        FindingStatus::Open if !finding.counts(now) => "ignored".to_owned(),
        FindingStatus::Open if is_anew(finding, statuses) => "open, judged anew".to_owned(),
        FindingStatus::Open => "open".to_owned(),
        FindingStatus::Resolved(at) => format!("resolved {}", ago(now, at)),
        FindingStatus::Superseded(at) => format!("superseded {}", ago(now, at)),
    };
    vec![
        finding.id.to_string(),
        finding.pairing.clone(),
        finding.kind.as_str().to_owned(),
        subject(finding, statuses),
        what(finding),
        ago(now, finding.first_seen),
        status,
    ]
}

/// Whether it was confirmed under another mapping than the present one, and stands until it is judged
/// under that.
fn is_anew(finding: &Finding, statuses: &[PairingStatus]) -> bool {
    let mut own = statuses.iter().filter(|status| status.pairing == finding.pairing);
    let open = finding.status == FindingStatus::Open;
    open && own.any(|status| status.identity != finding.identity)
}

/// Where both sides keep what a finding is about, as its pairing's relations are called. Under another
/// mapping these may be others.
fn places(finding: &Finding, statuses: &[PairingStatus]) -> [Vec<String>; 2] {
    let status = statuses
        .iter()
        .find(|status| status.pairing == finding.pairing && status.identity == finding.identity);
    let shown = |side: usize, at: &[StoreKey]| {
        let relations = status.map_or(&[][..], |status| &status.relations[side]);
        at.iter().map(|at| readable_place(relations, at)).collect()
    };
    [shown(0, &finding.source_at), shown(1, &finding.target_at)]
}

fn subject(finding: &Finding, statuses: &[PairingStatus]) -> String {
    match &finding.subject {
        Subject::Key(key) if key.is_of_row() => {
            format!("row at {}", places(finding, statuses).concat().join(", "))
        }
        Subject::Key(key) => named_key(finding.entity.as_deref(), key),
        Subject::Partition { partition, .. } if finding.is_of_rule() => {
            format!("all of {}", partition.extent)
        }
        Subject::Partition { partition, entities, sample } => {
            let named = |named: &NamedKey| {
                let entity = named.entity.as_deref().or(finding.entity.as_deref());
                named_key(entity, &named.key)
            };
            let sample: Vec<String> = sample.iter().take(3).map(named).collect();
            format!("{entities} entities in {}, such as {}", partition.extent, sample.join(", "))
        }
    }
}

fn what(finding: &Finding) -> String {
    let mut words = Vec::new();
    if !finding.fields.is_empty() {
        words.push(finding.fields.join(", "));
    }
    if !finding.cosmetic.is_empty() {
        words.push(format!("(only spelling: {})", finding.cosmetic.join(", ")));
    }
    if let Some(side) = finding.side {
        words.push(format!("in the {side}"));
    }
    if let Some((id, severity)) = &finding.invariant {
        words.push(format!("{id} ({})", severity.as_str()));
    }
    if let Some(message) = &finding.message {
        words.push(message.clone());
    }
    words.join(" ")
}

/// A finding as JSON; `statuses` are those of its pairing.
pub(super) fn json(finding: &Finding, statuses: &[PairingStatus]) -> serde_json::Value {
    // Where the name stands beside it, a key is only its fields.
    let named = |entity: Option<&str>, key| match finding.entity {
        Some(_) => readable_key(key),
        None => named_key(entity, key),
    };
    let (key, partition, sample) = match &finding.subject {
        // Of a row that the mapping rejects only its place is known.
        Subject::Key(key) if key.is_of_row() => (None, None, None),
        Subject::Key(key) => (Some(named(None, key)), None, None),
        Subject::Partition { partition, sample, .. } => {
            let sample = sample.iter().map(|one| named(one.entity.as_deref(), &one.key));
            let sample = sample.collect::<Vec<_>>();
            (None, Some(partition.extent.to_string()), Some(sample))
        }
    };
    let [source_at, target_at] = places(finding, statuses);
    let status = match finding.status {
        FindingStatus::Open => "open",
        FindingStatus::Resolved(_) => "resolved",
        FindingStatus::Superseded(_) => "superseded",
    };
    json!({
        "finding": finding.id,
        "pairing": finding.pairing,
        "kind": finding.kind.as_str(),
        "entity": finding.entity,
        "key": key,
        "partition": partition,
        "entities": finding.entities(),
        "sample": sample,
        "side": finding.side.map(|side| side.to_string()),
        "fields": finding.fields,
        "cosmetic": finding.cosmetic,
        "invariant": finding.invariant.as_ref().map(|(id, _)| id),
        "severity": finding.invariant.as_ref().map(|(_, severity)| severity.as_str()),
        "message": finding.message,
        "labels": finding.labels,
        "source_at": source_at,
        "target_at": target_at,
        "first_seen": rfc3339(finding.first_seen),
        "confirmed": rfc3339(finding.confirmed),
        "last_seen": rfc3339(finding.last_seen),
        "looks": finding.looks,
        "status": status,
        "judged_anew": is_anew(finding, statuses),
        "ignored_until": finding.ignored_until.map(rfc3339),
    })
}

fn ignore(key: &str, until: &str, journal: &JournalPath, output: &Output) -> Result<u8, CliError> {
    let path = journal.resolve()?;
    let reader = Reader::open(&path)?;
    let now = Clock::new().now();
    let until = moment(until, now)?;
    let findings: Vec<u64> = match key.strip_prefix('#') {
        Some(number) => {
            let number = number.parse();
            let number = number.map_err(|_odd| CliError::Usage(format!("`{key}` is no number")))?;
            vec![number]
        }
        None => {
            let filter = Filter { open: true, key: Some(key.to_owned()), ..Filter::default() };
            let found = reader.findings(&filter, 100, 0)?;
            found.into_iter().map(|finding| finding.id).collect()
        }
    };
    if findings.is_empty() {
        output.note(&format!("there is no open finding of key {key}; `driftd drift` lists them"));
        return Ok(CONFIGURATION);
    }
    let mut code = SAME;
    for finding in findings {
        code = code.max(abort::leave(
            &path,
            &Command::Ignore { finding, until },
            journal.json,
            output,
        )?);
    }
    Ok(code)
}

/// A time, a date, or a duration from now.
fn moment(text: &str, now: Moment) -> Result<Moment, CliError> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Ok(Moment(timestamp.as_microsecond()));
    }
    let date = text.parse::<jiff::civil::Date>();
    if let Ok(Ok(zoned)) = date.map(|date| date.to_zoned(jiff::tz::TimeZone::UTC)) {
        return Ok(Moment(zoned.timestamp().as_microsecond()));
    }
    if let Some(duration) = crate::config::duration(text) {
        return Ok(now.after(duration));
    }
    let what = format!(
        "`{text}` is no time; write 2026-12-31T00:00:00Z, 2026-12-31, or a duration such as 36h or 7d"
    );
    Err(CliError::Usage(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Direction, Extent, Key, MappingIdentity, Partition, RelationNames, Side, Value,
    };
    use crate::report::tests::{finding, rule};

    fn order(subject: Subject, entity: Option<&str>) -> Finding {
        Finding { subject, entity: entity.map(str::to_owned), ..finding() }
    }

    #[test]
    fn a_key_of_one_of_several_types_is_shown_with_its_name() {
        let array = Value::List(vec![Value::Number(17i64.into())]).to_cbor();
        let (plain, typed) = (Key(array.clone().into()), Key::of_type(1, &array));
        for (key, entity, shown, as_json) in [
            (&plain, Some("order"), "[17]", "[17]"),
            (&plain, None, "[17]", "[17]"),
            (&typed, Some("order"), "order [17]", "[17]"),
            (&typed, None, "type 1 [17]", "type 1 [17]"),
        ] {
            let one = order(Subject::Key(key.clone()), entity);
            assert_eq!(subject(&one, &[]), shown);
            let told = json(&one, &[]);
            assert_eq!((&told["entity"], &told["key"]), (&json!(entity), &json!(as_json)));
        }
        let line = Key::of_type(0, &array);
        let extent = Extent::Segment { index: 0, of: 2 };
        let partition = Partition { direction: Direction::FromTarget, number: 0, extent };
        let named = |key: &Key, entity: Option<&str>| NamedKey {
            key: key.clone(),
            entity: entity.map(str::to_owned),
        };
        for (entity, sample, shown, as_json) in [
            (Some("order"), vec![named(&typed, Some("order"))], "order [17]", json!(["[17]"])),
            // Of a journal that did not name them yet.
            (Some("order"), vec![named(&typed, None)], "order [17]", json!(["[17]"])),
            (None, vec![named(&typed, None)], "type 1 [17]", json!(["type 1 [17]"])),
            (
                None,
                vec![named(&typed, Some("order")), named(&line, Some("line"))],
                "order [17], line [17]",
                json!(["order [17]", "line [17]"]),
            ),
        ] {
            let many = order(Subject::Partition { partition, entities: 9, sample }, entity);
            let told = subject(&many, &[]);
            assert!(told.ends_with(&format!("such as {shown}")), "{told}");
            assert_eq!(json(&many, &[])["sample"], as_json);
        }
    }

    #[test]
    fn a_row_of_a_group_is_shown_with_its_relation_and_the_column_that_groups_it() {
        let array = Value::List(vec![Value::Number(15i64.into())]).to_cbor();
        let at = StoreKey([&StoreKey::OF_GROUP[..], &array].concat().into());
        let key = Key::of_row(Side::Source, &at);
        let one =
            Finding { source_at: vec![at], target_at: vec![], ..order(Subject::Key(key), None) };
        let orders = RelationNames {
            relation: "orders".to_owned(),
            key: vec!["id".to_owned()],
            group: vec!["id".to_owned()],
        };
        let status = PairingStatus {
            pairing: one.pairing.clone(),
            identity: one.identity,
            relations: [vec![orders], Vec::new()],
            ..PairingStatus::default()
        };
        assert_eq!(subject(&one, std::slice::from_ref(&status)), "row at orders(id) [15]");
        assert_eq!(
            json(&one, std::slice::from_ref(&status))["source_at"],
            json!(["orders(id) [15]"])
        );
        let other = PairingStatus { identity: MappingIdentity(99), ..status };
        assert_eq!(subject(&one, &[other]), "row at group [15]", "its relations may be others");
    }

    #[test]
    fn a_rule_over_a_partition_is_of_all_of_it() {
        assert_eq!(subject(&rule(), &[]), "all of [424242424242, 424242424252)");
        let told = json(&rule(), &[]);
        assert_eq!(told["partition"], "[424242424242, 424242424252)");
        assert_eq!((&told["key"], &told["entities"]), (&json!(null), &json!(1)));
        assert_eq!((&told["invariant"], &told["sample"]), (&json!("status-known"), &json!([])));
    }
}
