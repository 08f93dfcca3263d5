//! Retention: what is past its time goes, what matters stays, whatever the size.

use std::time::Duration;

use super::{NOW, directory, occurrence, settings};
use crate::journal::{Filter, Journal, Reader, Settings, Tidied};
use crate::model::{
    Command, Commit, DriftKind, Finding, FindingStatus, HookJob, HookState, Key, MappingIdentity,
    Moment, Subject,
};

const HOUR: Duration = Duration::from_secs(3600);

fn finding(id: u64, status: FindingStatus) -> Finding {
    Finding {
        id,
        pairing: "users".to_owned(),
        identity: MappingIdentity(1),
        subject: Subject::Key(Key(id.to_be_bytes().into())),
        entity: None,
        kind: DriftKind::Missing,
        side: None,
        fields: Vec::new(),
        cosmetic: Vec::new(),
        invariant: None,
        message: Some("x".repeat(1000)),
        labels: std::collections::BTreeMap::new(),
        source_digest: None,
        target_digest: None,
        source_at: Vec::new(),
        target_at: Vec::new(),
        check: 1,
        first_seen: NOW,
        confirmed: NOW,
        last_seen: NOW,
        due: NOW,
        looks: 3,
        status,
        ignored_until: None,
    }
}

fn hook(id: u64, state: HookState, occurrence: u64) -> HookJob {
    HookJob {
        id,
        hook: "stop".to_owned(),
        criterion: "too much".to_owned(),
        occurrence,
        since: NOW,
        state,
        tries: 1,
        due: NOW,
        last: None,
        test: false,
    }
}

/// Three of each: past its time, still young, and one that matters however old it is.
fn fill(journal: &mut Journal, settings: &Settings) {
    let young = NOW.after(HOUR);
    let mut commit = Commit {
        findings: vec![
            finding(1, FindingStatus::Resolved(NOW)),
            finding(2, FindingStatus::Superseded(young)),
            finding(3, FindingStatus::Open),
        ],
        hooks: vec![
            hook(1, HookState::Succeeded, 1),
            HookJob { due: young, ..hook(2, HookState::Cancelled, 2) },
            hook(3, HookState::Failed, 3),
        ],
        ..Commit::default()
    };
    let mut events = Vec::new();
    for number in 1..=4 {
        let (mut one, event) = occurrence(number);
        one.occurrences[0].at = if number == 2 { young } else { NOW };
        commit.occurrences.append(&mut one.occurrences);
        events.extend(event);
    }
    for at in [NOW, young, NOW] {
        let id = Journal::leave(&settings.path, &Command::Test { criterion: String::new() }, at);
        commit.answered.push((id.unwrap(), Ok("done".to_owned())));
    }
    commit.answered.pop();
    journal.commit(&commit, &events).unwrap();
    // The third is needed by a hook, the fourth is not delivered.
    journal.delivered(&[1, 2, 3]).unwrap();
}

fn left(settings: &Settings) -> (Vec<u64>, Vec<u64>, Vec<u64>) {
    let reader = Reader::open(&settings.path).unwrap();
    let findings = reader.findings(&Filter::default(), 10_000, 0).unwrap();
    (
        findings.iter().map(|finding| finding.id).collect(),
        reader.recent(100).unwrap().iter().rev().map(|recent| recent.number).collect(),
        reader.hooks(100).unwrap().iter().rev().map(|job| job.id).collect(),
    )
}

#[test]
fn what_is_past_its_time_goes() {
    let directory = directory();
    let settings = Settings { retention: HOUR, ..settings(&directory) };
    let mut journal = Journal::open(&settings, NOW).unwrap();
    fill(&mut journal, &settings);
    assert_eq!(journal.tidy(NOW.after(HOUR)).unwrap().dropped, 0);
    let tidied = journal.tidy(NOW.after(HOUR + Duration::from_micros(1))).unwrap();
    assert_eq!(tidied.dropped, 4);
    assert!(!tidied.more && !tidied.over);
    assert_eq!(left(&settings), (vec![2, 3], vec![2, 3, 4], vec![2, 3]));
    assert_eq!(journal.commands().unwrap().len(), 1);
    // Numbers that were dropped are not used again.
    let saved = journal.load().unwrap();
    assert_eq!((saved.last_finding, saved.last_occurrence, saved.last_hook), (3, 4, 3));
}

#[test]
fn what_is_too_large_loses_what_is_decided_but_never_what_matters() {
    let directory = directory();
    let settings = Settings { retention: HOUR, size_max: 1, ..settings(&directory) };
    let mut journal = Journal::open(&settings, NOW).unwrap();
    fill(&mut journal, &settings);
    let tidied = journal.tidy(NOW).unwrap();
    assert_eq!(tidied.dropped, 8);
    assert_eq!(left(&settings), (vec![3], vec![3, 4], vec![3]));
    assert_eq!(journal.commands().unwrap().len(), 1);
    let Tidied { dropped, more, over, .. } = journal.tidy(NOW).unwrap();
    assert_eq!((dropped, more, over), (0, false, true));
}

#[test]
fn the_file_shrinks_in_bounded_steps() {
    let directory = directory();
    let settings = Settings { retention: HOUR, size_max: 1 << 20, ..settings(&directory) };
    let mut journal = Journal::open(&settings, NOW).unwrap();
    let decided = |id| finding(id, FindingStatus::Resolved(Moment(NOW.0 + id.cast_signed())));
    let findings = (1..=5_000).map(decided).collect();
    journal.commit(&Commit { findings, ..Commit::default() }, &[]).unwrap();
    let mut rounds = 0;
    let last = loop {
        let tidied = journal.tidy(NOW).unwrap();
        assert!(tidied.dropped <= 1_000);
        rounds += 1;
        if !tidied.more {
            break tidied;
        }
    };
    assert!(rounds > 1 && last.bytes <= settings.size_max && !last.over, "{last:?}");
    // The oldest went first.
    let (findings, _, _) = left(&settings);
    assert!(!findings.is_empty());
    assert!(findings.iter().copied().eq(5_001 - findings.len() as u64..=5_000));
    drop(journal);
    assert!(std::fs::metadata(&settings.path).unwrap().len() <= settings.size_max);
}
