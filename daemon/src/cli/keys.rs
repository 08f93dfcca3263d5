//! `driftd drift keys`.
//!
//! Owns the full list of keys behind a finding of a partition, made when somebody asks for it. Refuses
//! to change or settle anything. Invariant: a list that is not complete says so, and exits with 3.

use serde_json::json;

use crate::cli::output::Output;
use crate::cli::{CliError, JournalPath, SAME, UNTOLD, block_on, load};
use crate::journal::{Reader, named_key, readable_key, readable_place};
use crate::model::{DriftKind, Finding, Partition, Sighting, Subject};
use crate::run::{Differing, Signals};

/// Reads the partition of a finding, and prints every key that differs.
pub(super) fn keys(finding: &str, journal: &JournalPath, output: &Output) -> Result<u8, CliError> {
    let settings = load(&journal.config, output)?;
    let number = finding.trim_start_matches('#').parse();
    let number: u64 =
        number.map_err(|_odd| CliError::Usage(format!("`{finding}` is no number of a finding")))?;
    let reader = Reader::open(journal.journal.as_ref().unwrap_or(&settings.journal.path))?;
    let Some(finding) = reader.finding(number)? else {
        let what = format!("there is no finding {number}; `driftd drift --all` lists them");
        return Err(CliError::Usage(what));
    };
    let partition = partition(&finding)?;
    if !settings.pairings.iter().any(|pairing| pairing.name == finding.pairing) {
        let what = format!("the configuration no longer has pairing `{}`", finding.pairing);
        return Err(CliError::Usage(what));
    }
    let secrets = reader.identity()?;
    block_on(async move {
        let signals = Signals::of_process()?;
        let reading =
            crate::run::differing(settings, &finding.pairing, partition, &secrets, &signals);
        let mut found = reading.await?;
        keep_alike(&mut found, &finding);
        for unread in &found.unread {
            let (scope, fault) = (&unread.scope, &unread.fault);
            output.note(&format!(
                "unread: {scope}: {} ({}); {}",
                fault.what, fault.code, fault.remedy
            ));
        }
        output.result(&match journal.json {
            true => as_json(number, &partition, &found),
            false => as_text(&partition, &found),
        })?;
        Ok(if found.unread.is_empty() { SAME } else { UNTOLD })
    })
}

/// The partition of a finding that has keys to be listed.
fn partition(finding: &Finding) -> Result<Partition, CliError> {
    let number = finding.id;
    match finding.subject {
        Subject::Partition { .. } if finding.is_of_rule() => Err(CliError::Usage(format!(
            "finding {number} is of a rule over all of a partition, so no key in particular is \
             wrong; `driftd drift` shows what the rule says"
        ))),
        Subject::Partition { partition, .. } => Ok(partition),
        Subject::Key(_) => {
            let what = format!("finding {number} is of a single key; `driftd drift` shows it");
            Err(CliError::Usage(what))
        }
    }
}

/// Keeps what the finding tells: other kinds of drift in its partition are told by other findings. A
/// field that differs counts as such, whether the follower holds an older version or a wrong one.
fn keep_alike(found: &mut Differing, finding: &Finding) {
    let invariant = finding.invariant.as_ref().map(|(id, _)| id);
    for key in &mut found.keys {
        key.wrong.retain(|(kind, about)| match kind {
            DriftKind::Violation => {
                finding.kind == DriftKind::Violation && about.first() == invariant
            }
            DriftKind::Mismatch | DriftKind::Stale => {
                matches!(finding.kind, DriftKind::Mismatch | DriftKind::Stale)
            }
            DriftKind::Missing
            | DriftKind::Unexpected
            | DriftKind::Duplicate
            | DriftKind::Unmappable => finding.kind == *kind,
        });
    }
    found.keys.retain(|key| !key.wrong.is_empty());
}

/// Where a row is that the mapping rejects: it has no key but its place.
fn row(found: &Differing, Sighting { key, source_at, target_at, .. }: &Sighting) -> Option<String> {
    let of = |side: usize, at| readable_place(&found.relations[side], at);
    let places = source_at.iter().map(|at| of(0, at)).chain(target_at.iter().map(|at| of(1, at)));
    let places: Vec<String> = places.collect();
    key.is_of_row().then(|| format!("row at {}", places.join(", ")))
}

/// One line a key and kind, separated by tabs: to be cut and counted by other programs.
fn as_text(partition: &Partition, found: &Differing) -> String {
    let mut text = String::new();
    for key in &found.keys {
        let named = || named_key(key.entity.as_deref(), &key.sighting.key);
        let name = row(found, &key.sighting).unwrap_or_else(named);
        for (kind, about) in &key.wrong {
            text = text + &name + "\t" + kind.as_str() + "\t" + &about.join(",") + "\n";
        }
    }
    let count = found.keys.len();
    text + &format!("{count} keys differ now in {}\n", partition.extent)
}

fn as_json(finding: u64, partition: &Partition, found: &Differing) -> String {
    let wrong =
        |(kind, about): &(DriftKind, Vec<String>)| json!({ "kind": kind.as_str(), "about": about });
    let keys: Vec<_> = found
        .keys
        .iter()
        .map(|key| {
            let named = || readable_key(&key.sighting.key);
            let name = row(found, &key.sighting).unwrap_or_else(named);
            let kinds: Vec<_> = key.wrong.iter().map(wrong).collect();
            json!({ "entity": key.entity, "key": name, "wrong": kinds })
        })
        .collect();
    let result = json!({
        "finding": finding,
        "partition": partition.extent.to_string(),
        "complete": found.unread.is_empty(),
        "keys": keys,
    });
    format!("{result:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Key, Severity, State};
    use crate::report::tests::{crowd, finding, rule};
    use crate::run::DifferingKey;

    fn sighting() -> Sighting {
        Sighting {
            key: Key([0x81, 0x01].into()),
            source: State::Absent,
            target: State::Absent,
            source_at: Vec::new(),
            target_at: Vec::new(),
            cuts: Vec::new(),
            violations: Vec::new(),
            labels: std::collections::BTreeMap::new(),
            steady: true,
            cosmetic: Vec::new(),
            reason: None,
        }
    }

    #[test]
    fn only_keys_of_the_kind_that_a_finding_tells_are_listed() {
        let about = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let wrong: Vec<(DriftKind, Vec<String>)> = vec![
            (DriftKind::Missing, about(&[])),
            (DriftKind::Stale, about(&["email"])),
            (DriftKind::Violation, about(&["status-known"])),
            (DriftKind::Violation, about(&["balance"])),
        ];
        let listed = |finding: &Finding| {
            let each = wrong.iter().map(|one| DifferingKey {
                sighting: sighting(),
                entity: None,
                wrong: vec![one.clone()],
            });
            let mut found = Differing { keys: each.collect(), ..Differing::default() };
            keep_alike(&mut found, finding);
            found.keys.into_iter().flat_map(|key| key.wrong).collect::<Vec<_>>()
        };
        let of = |kind| Finding { kind, invariant: None, ..crowd() };
        let invariant = Some(("status-known".to_owned(), Severity::Error));
        let violation = Finding { invariant, ..of(DriftKind::Violation) };
        assert_eq!(listed(&of(DriftKind::Missing)), wrong[..1]);
        assert_eq!(listed(&of(DriftKind::Mismatch)), wrong[1..2]);
        assert_eq!(listed(&violation), wrong[2..3]);
        assert_eq!(listed(&of(DriftKind::Unexpected)), []);
    }

    #[test]
    fn only_findings_of_many_entities_have_keys_to_list() {
        assert!(partition(&crowd()).is_ok());
        for (finding, expected) in [(finding(), "of a single key"), (rule(), "of a rule over all")]
        {
            match partition(&finding) {
                Err(CliError::Usage(what)) => assert!(what.contains(expected), "{what}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
