//! The journal's promises: nothing of a step is lost, nothing is kept twice, nothing else is touched.
//!
//! Owns tests through [`Journal`]'s entry points. Refuses to look into tables, but where a test harms
//! a file on purpose. Invariant: every test works in a directory of its own.

use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use tempfile::TempDir;

use super::format::Form as _;
use super::*;
use crate::model::{
    Command, Direction, Extent, FaultCode, Occurrence, Partition, PartitionEnd, PassState, Range,
};

mod tidy;
mod words;

use words::{commits, fold, rendered};

const NOW: Moment = Moment(1_700_000_000_000_000);

fn settings(directory: &TempDir) -> Settings {
    Settings {
        path: directory.path().join("journal"),
        retention: Duration::from_secs(3600),
        size_max: 1 << 30,
    }
}

fn directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn write(journal: &mut Journal, commits: &[Commit]) {
    for commit in commits {
        journal.commit(commit, &rendered(commit)).unwrap();
    }
}

/// A copy of the file and its log, as a power cut would leave them.
fn snapshot(from: &Settings, to: &TempDir) -> Settings {
    let copy = settings(to);
    for ending in ["", "-wal"] {
        std::fs::copy(file::beside(&from.path, ending), file::beside(&copy.path, ending)).unwrap();
    }
    copy
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn load_is_what_commits_add_up_to(commits in commits()) {
        let mut journal = Journal::in_memory().unwrap();
        write(&mut journal, &commits);
        prop_assert_eq!(journal.load().unwrap(), fold(&commits));
    }

    #[test]
    fn the_outbox_keeps_every_event_until_it_is_delivered(commits in commits(), stop in 0..20u64) {
        let mut journal = Journal::in_memory().unwrap();
        write(&mut journal, &commits);
        let mut all: Vec<_> = commits.iter().flat_map(rendered).collect();
        prop_assert_eq!(&journal.outbox(100).unwrap(), &all);
        for (number, event) in &all {
            let kept = journal.event(*number).unwrap();
            prop_assert_eq!(kept.as_ref(), Some(event));
        }
        let (delivered, _): (Vec<u64>, Vec<_>) = all.iter().filter(|(n, _)| *n <= stop).cloned().unzip();
        journal.delivered(&delivered).unwrap();
        all.retain(|(number, _)| *number > stop);
        prop_assert_eq!(&journal.outbox(100).unwrap(), &all);
        all.truncate(1);
        prop_assert_eq!(journal.outbox(1).unwrap(), all);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_restart_finds_everything(commits in commits(), stop in 0..8usize) {
        let directory = directory();
        let settings = settings(&directory);
        let (before, after) = commits.split_at(stop.min(commits.len()));
        let mut journal = Journal::open(&settings, NOW).unwrap();
        let identity = journal.identity().clone();
        write(&mut journal, before);
        drop(journal);
        let mut journal = Journal::open(&settings, NOW).unwrap();
        prop_assert_eq!(journal.identity(), &identity);
        prop_assert_eq!(journal.load().unwrap(), fold(before));
        write(&mut journal, after);
        prop_assert_eq!(journal.load().unwrap(), fold(&commits));
    }

    #[test]
    fn a_crash_leaves_whole_commits(commits in commits(), cut in any::<prop::sample::Index>()) {
        let (live, crashed) = (directory(), directory());
        let settings = settings(&live);
        let mut journal = Journal::open(&settings, NOW).unwrap();
        for done in 0..=commits.len() {
            let copy = snapshot(&settings, &crashed);
            let recovered = Journal::open(&copy, NOW).unwrap();
            prop_assert_eq!(recovered.load().unwrap(), fold(&commits[..done]));
            drop(recovered);
            if let Some(commit) = commits.get(done) {
                journal.commit(commit, &rendered(commit)).unwrap();
            }
        }
        // A log that ends in the middle of a write gives back some commits from the first on.
        let copy = snapshot(&settings, &crashed);
        let wal = file::beside(&copy.path, "-wal");
        let size = usize::try_from(std::fs::metadata(&wal).unwrap().len()).unwrap();
        let log = std::fs::OpenOptions::new().write(true).open(&wal).unwrap();
        log.set_len(cut.index(size + 1) as u64).unwrap();
        let whole = match Journal::open(&copy, NOW) {
            // The cut may lie before the commit that made the tables: then it begins anew.
            Ok(recovered) => recovered.load().unwrap(),
            Err(error) => panic!("{error}"),
        };
        prop_assert!((0..=commits.len()).any(|done| fold(&commits[..done]) == whole));
    }
}

fn occurrence(number: u64) -> (Commit, Vec<(u64, Vec<u8>)>) {
    let what = crate::model::Happening::Readable {
        pairing: "users".to_owned(),
        partition: None,
        code: FaultCode::StoreTimeout,
    };
    let occurrences = vec![Occurrence { number, at: NOW, what }];
    let commit = Commit { occurrences, ..Commit::default() };
    let events = rendered(&commit);
    (commit, events)
}

#[test]
fn an_occurrence_never_has_two_events() {
    let mut journal = Journal::in_memory().unwrap();
    let (first, events) = occurrence(1);
    journal.commit(&first, &events).unwrap();
    let again = journal.commit(&first, &[(1, b"other".to_vec())]).unwrap_err();
    assert!(matches!(again, JournalError::Contradiction { .. }), "{again}");
    assert_eq!(journal.outbox(9).unwrap(), events);
    // What failed once is not gone on with.
    let (second, events) = occurrence(2);
    let broken = journal.commit(&second, &events).unwrap_err();
    assert!(matches!(broken, JournalError::Contradiction { .. }), "{broken}");
}

#[test]
fn occurrences_and_events_belong_together() {
    let (commit, events) = occurrence(1);
    for (commit, events) in [
        (commit.clone(), Vec::new()),
        (Commit::default(), events),
        (commit, vec![(2, b"{}".to_vec())]),
        occurrence(2),
    ] {
        let mut journal = Journal::in_memory().unwrap();
        let error = journal.commit(&commit, &events).unwrap_err();
        assert!(matches!(error, JournalError::Contradiction { .. }), "{error}");
        assert_eq!(journal.load().unwrap(), Saved::default());
        assert_eq!(journal.outbox(9).unwrap(), []);
    }
}

#[test]
fn a_step_that_ends_a_pass_and_begins_the_next_leaves_the_next_untouched() {
    let extent = Extent::Range(Range { from: None, until: None });
    let pass = |pass| PassState {
        pairing: "users".to_owned(),
        identity: crate::model::MappingIdentity(1),
        pass,
        began: NOW,
        seed: u64::MAX,
        extents: vec![(Direction::Aligned, vec![extent])],
        done: Vec::new(),
        complete: false,
    };
    let mut journal = Journal::in_memory().unwrap();
    let begin = Commit { passes: vec![pass(1)], ..Commit::default() };
    let partition = Partition { direction: Direction::Aligned, number: 0, extent };
    let turn = Commit {
        passes: vec![pass(2)],
        done: vec![("users".to_owned(), partition, PartitionEnd::Compared)],
        ..Commit::default()
    };
    write(&mut journal, &[begin, turn]);
    assert_eq!(journal.load().unwrap().passes, [pass(2)]);
}

#[test]
fn a_second_daemon_is_kept_out() {
    let directory = directory();
    let settings = settings(&directory);
    let journal = Journal::open(&settings, NOW).unwrap();
    let error = Journal::open(&settings, NOW).unwrap_err();
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&settings.path, &link).unwrap();
    let linked = Settings { path: link, ..settings };
    let error = Journal::open(&linked, NOW).unwrap_err();
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(journal);
    Journal::open(&linked, NOW).unwrap();
}

#[test]
fn only_its_owner_may_read_it() {
    let directory = directory();
    let settings = settings(&directory);
    let modes = || {
        let modes = ["", "-wal", "-shm", ".lock"].map(|ending| {
            let metadata = std::fs::metadata(file::beside(&settings.path, ending)).unwrap();
            metadata.permissions().mode() & 0o777
        });
        assert_eq!(modes, [0o600; 4]);
    };
    let journal = Journal::open(&settings, NOW).unwrap();
    modes();
    drop(journal);
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&settings.path, open).unwrap();
    let _journal = Journal::open(&settings, NOW).unwrap();
    modes();
}

#[test]
fn journals_have_keys_of_their_own() {
    let [a, b] = [Journal::in_memory().unwrap(), Journal::in_memory().unwrap()];
    let (a, b) = (a.identity(), b.identity());
    assert_eq!(a.journal.len(), 16);
    assert!(a.journal != b.journal && a.seed != b.seed);
    assert!(a.digest_key != b.digest_key && a.hmac_key != b.hmac_key && a.digest_key != a.hmac_key);
    assert!(!format!("{a:?}").contains("digest_key"));
}

#[test]
fn what_is_no_journal_is_left_alone() {
    let directory = directory();
    let settings = settings(&directory);
    let other = |sql: &str| {
        std::fs::remove_file(&settings.path).unwrap_or_default();
        Connection::open(&settings.path).unwrap().execute_batch(sql).unwrap();
    };
    let refused = || {
        let before = std::fs::read(&settings.path).unwrap();
        let error = Journal::open(&settings, NOW).unwrap_err();
        assert_eq!(std::fs::read(&settings.path).unwrap(), before);
        error
    };
    for content in ["x", "hello, this is somebody's text file\n"] {
        std::fs::write(&settings.path, content).unwrap();
        assert!(matches!(refused(), JournalError::Foreign { .. }));
    }
    std::fs::write(&settings.path, [b"SQLite format 3\0".as_slice(), &[7; 4096]].concat()).unwrap();
    assert!(matches!(refused(), JournalError::Foreign { .. }));
    other("CREATE TABLE theirs (x)");
    assert!(matches!(refused(), JournalError::Foreign { .. }));
    other("PRAGMA application_id = 7");
    assert!(matches!(refused(), JournalError::Foreign { .. }));
    std::fs::remove_file(&settings.path).unwrap();
    std::fs::create_dir(&settings.path).unwrap();
    assert!(matches!(Journal::open(&settings, NOW).unwrap_err(), JournalError::Foreign { .. }));
}

#[test]
fn an_empty_file_becomes_a_journal() {
    let directory = directory();
    let settings = settings(&directory);
    std::fs::write(&settings.path, "").unwrap();
    let journal = Journal::open(&settings, NOW).unwrap();
    assert_eq!(journal.load().unwrap(), Saved::default());
}

#[test]
fn a_newer_format_is_refused() {
    let directory = directory();
    let settings = settings(&directory);
    drop(Journal::open(&settings, NOW).unwrap());
    Connection::open(&settings.path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let error = Journal::open(&settings, NOW).unwrap_err();
    assert!(matches!(error, JournalError::Newer { found: 7, .. }), "{error}");
}

#[test]
fn a_damaged_file_is_an_error_with_words() {
    let directory = directory();
    let settings = settings(&directory);
    let mut journal = Journal::open(&settings, NOW).unwrap();
    for number in 1..200 {
        let (commit, events) = occurrence(number);
        journal.commit(&commit, &events).unwrap();
    }
    drop(journal);
    let mut bytes = std::fs::read(&settings.path).unwrap();
    // The last page is one of the outbox, which loading would not look at.
    let last = bytes.len() - 4096;
    for from in [last, 4096] {
        for byte in &mut bytes[from..] {
            *byte = !*byte;
        }
        std::fs::write(&settings.path, &bytes).unwrap();
        let error = Journal::open(&settings, NOW).unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_row_that_is_not_understood_is_an_error() {
    for harm in [
        "INSERT INTO status VALUES ('users', '{}')",
        "INSERT INTO criteria VALUES ('many', NULL, 0, 0, 'no JSON')",
        "INSERT INTO passes VALUES ('users', 1, 'yesterday', 0, '', '0')",
    ] {
        let directory = directory();
        let settings = settings(&directory);
        let journal = Journal::open(&settings, NOW).unwrap();
        Connection::open(&settings.path).unwrap().execute_batch(harm).unwrap();
        let error = journal.load().unwrap_err();
        assert!(matches!(error, JournalError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_missing_directory_is_an_error_with_words() {
    let directory = directory();
    let path = directory.path().join("none").join("journal");
    let settings = Settings { path, ..settings(&directory) };
    let error = Journal::open(&settings, NOW).unwrap_err();
    assert!(error.to_string().contains("check that its directory exists"), "{error}");
}

#[test]
fn a_full_disk_keeps_nothing_of_the_step() {
    let directory = directory();
    let settings = settings(&directory);
    let mut journal = Journal::open(&settings, NOW).unwrap();
    let (first, events) = occurrence(1);
    journal.commit(&first, &events).unwrap();
    let pages: i64 =
        journal.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    journal.connection.pragma_update(None, "max_page_count", pages).unwrap();
    let (second, _small) = occurrence(2);
    let error = journal.commit(&second, &[(2, vec![b'x'; 1 << 20])]).unwrap_err();
    assert!(matches!(error, JournalError::Full { .. }), "{error}");
    assert!(error.to_string().contains("free space"), "{error}");
    drop(journal);
    let mut journal = Journal::open(&settings, NOW).unwrap();
    assert_eq!(journal.outbox(9).unwrap(), events);
    let (second, events) = occurrence(2);
    journal.commit(&second, &events).unwrap();
}

#[test]
fn commands_wait_for_the_daemon_and_get_its_answer() {
    let directory = directory();
    let settings = settings(&directory);
    let path = &settings.path;
    let reset = Command::Reset { criterion: "too much".to_owned() };
    let test = Command::Test { criterion: "too much".to_owned() };
    let ignore = Command::Ignore { finding: 7, until: NOW };
    let missing = Journal::leave(path, &reset, NOW).unwrap_err();
    assert!(matches!(missing, JournalError::Missing { .. }), "{missing}");
    assert!(!path.exists());

    let journal = Journal::open(&settings, NOW).unwrap();
    let first = Journal::leave(path, &reset, NOW).unwrap();
    drop(journal);
    let second = Journal::leave(path, &test, NOW).unwrap();
    let third = Journal::leave(path, &ignore, NOW).unwrap();
    assert_eq!(Journal::answer(path, first).unwrap(), None);

    let mut journal = Journal::open(&settings, NOW).unwrap();
    Connection::open(path)
        .unwrap()
        .execute_batch("INSERT INTO commands (json, asked, micros) VALUES ('dance', '', 0)")
        .unwrap();
    let all = [(first, reset), (second, test), (third, ignore)];
    assert_eq!(journal.commands().unwrap(), all);
    let (done, refused) = (Ok("done".to_owned()), Err("no such finding".to_owned()));
    let answered = vec![(first, done.clone()), (third, refused.clone())];
    journal.commit(&Commit { answered, ..Commit::default() }, &[]).unwrap();
    assert_eq!(journal.commands().unwrap(), all[1..2]);
    assert_eq!(Journal::answer(path, first).unwrap(), Some(done));
    assert_eq!(Journal::answer(path, third).unwrap(), Some(refused));
    assert_eq!(Journal::answer(path, second).unwrap(), None);
    let strange = Journal::answer(path, third + 1).unwrap().unwrap().unwrap_err();
    assert!(strange.starts_with("not understood"), "{strange}");
}

fn check_reader(reader: &Reader, commits: &[Commit]) {
    let saved = fold(commits);
    assert_eq!(reader.statuses().unwrap(), saved.status);
    assert_eq!(reader.criteria().unwrap(), saved.criteria);
    assert_eq!(reader.crowds().unwrap(), saved.crowds);
    assert_eq!(reader.suspects().unwrap(), saved.suspects.len() as u64);
    assert_eq!(reader.outbox_depth().unwrap(), saved.last_occurrence);
    let open = Filter { open: true, ..Filter::default() };
    assert_eq!(reader.findings(&open, 100, 0).unwrap(), saved.findings);
    assert_eq!(reader.count(&open).unwrap(), saved.findings.len() as u64);
    let pending = reader.hooks(0).unwrap();
    assert!(pending.iter().rev().eq(&saved.hooks));
    let recent = reader.recent(2).unwrap();
    let numbers: Vec<u64> = recent.iter().map(|recent| recent.number).collect();
    let expected: Vec<u64> = (1..=saved.last_occurrence).rev().take(2).collect();
    assert_eq!(numbers, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_reader_sees_what_is_committed(commits in commits()) {
        let (live, crashed) = (directory(), directory());
        let settings = settings(&live);
        let mut journal = Journal::open(&settings, NOW).unwrap();
        let reader = Reader::open(&settings.path).unwrap();
        for (at, commit) in commits.iter().enumerate() {
            journal.commit(commit, &rendered(commit)).unwrap();
            check_reader(&reader, &commits[..=at]);
        }
        prop_assert_eq!(&reader.identity().unwrap(), journal.identity());
        // After a kill there is a log without an index; the reader leaves both files as they are.
        let copy = snapshot(&settings, &crashed);
        let wal = std::fs::read(file::beside(&copy.path, "-wal")).unwrap();
        check_reader(&Reader::open(&copy.path).unwrap(), &commits);
        prop_assert_eq!(std::fs::read(file::beside(&copy.path, "-wal")).unwrap(), wal);
        drop((reader, journal));
        check_reader(&Reader::open(&settings.path).unwrap(), &commits);
    }

    #[test]
    fn findings_are_found(
        findings in prop::collection::vec(words::finding(), 1..8),
        limit in 0..9u32,
        offset in 0..9u32,
    ) {
        let mut findings = findings;
        // A pairing does not have two names for one type.
        let entity = findings[0].entity.clone();
        findings.iter_mut().for_each(|finding| finding.entity.clone_from(&entity));
        let directory = directory();
        let settings = settings(&directory);
        let mut journal = Journal::open(&settings, NOW).unwrap();
        journal.commit(&Commit { findings: findings.clone(), ..Commit::default() }, &[]).unwrap();
        let reader = Reader::open(&settings.path).unwrap();
        let mut last: Vec<_> = std::collections::BTreeMap::from_iter(
            findings.into_iter().map(|finding| (finding.id, finding)),
        ).into_values().collect();
        prop_assert_eq!(&reader.findings(&Filter::default(), 100, 0).unwrap(), &last);
        let page: Vec<_> = last.iter().skip(offset as usize).take(limit as usize).cloned().collect();
        prop_assert_eq!(reader.findings(&Filter::default(), limit, offset).unwrap(), page);
        prop_assert_eq!(reader.finding(last[0].id).unwrap(), Some(last[0].clone()));
        prop_assert_eq!(reader.finding(u64::MAX).unwrap(), None);
        let one = last[0].clone();
        let mut filter = Filter {
            kind: Some(one.kind),
            pairing: Some(one.pairing.clone()),
            ..Filter::default()
        };
        last.retain(|finding| finding.kind == one.kind && finding.pairing == one.pairing);
        prop_assert_eq!(&reader.findings(&filter, 100, 0).unwrap(), &last);
        prop_assert_eq!(reader.count(&filter).unwrap(), last.len() as u64);
        if let crate::model::Subject::Key(key) = &one.subject {
            last.retain(|finding| finding.subject == one.subject);
            let hex = text::hex(&key.0).to_uppercase();
            for text in [hex, named_key(one.entity.as_deref(), key)] {
                filter.key = Some(text);
                prop_assert_eq!(&reader.findings(&filter, 100, 0).unwrap(), &last);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_journal_of_an_earlier_format_is_read_and_brought_up_to_date(commits in commits()) {
        let all = fold(&commits);
        let third = Saved { outages: Vec::new(), ..all.clone() };
        let second = Saved { unsettled: Vec::new(), ..third.clone() };
        let first = Saved { suspect_partitions: Vec::new(), ..second.clone() };
        for (dropped, format, kept) in [
            ("DROP TABLE outages; DROP TABLE unsettled; DROP TABLE suspect_partitions", 1, first),
            ("DROP TABLE outages; DROP TABLE unsettled", 2, second),
            ("DROP TABLE outages", 3, third),
        ] {
            let directory = directory();
            let settings = settings(&directory);
            let mut journal = Journal::open(&settings, NOW).unwrap();
            let identity = journal.identity().clone();
            write(&mut journal, &commits);
            drop(journal);
            let old = Connection::open(&settings.path).unwrap();
            old.execute_batch(&format!("{dropped}; PRAGMA user_version = {format}")).unwrap();
            drop(old);
            let reader = Reader::open(&settings.path).unwrap();
            prop_assert_eq!(reader.statuses().unwrap(), kept.status.clone());
            if format < 3 {
                prop_assert_eq!(reader.unsettled(None, true, 9).unwrap(), (Vec::new(), 0));
            }
            prop_assert_eq!(reader.outages().unwrap(), Vec::new());
            drop(reader);
            let mut journal = Journal::open(&settings, NOW).unwrap();
            prop_assert_eq!(journal.identity(), &identity);
            prop_assert_eq!(journal.load().unwrap(), kept);
            let more = Commit {
                suspect_partitions: all.suspect_partitions.clone(),
                unsettled: all.unsettled.clone(),
                outages: all.outages.clone(),
                ..Commit::default()
            };
            journal.commit(&more, &[]).unwrap();
            drop(journal);
            prop_assert_eq!(Journal::open(&settings, NOW).unwrap().load().unwrap(), all.clone());
            prop_assert_eq!(Reader::open(&settings.path).unwrap().outages().unwrap(), all.outages.clone());
        }
    }
}

#[test]
fn a_sample_that_was_kept_without_entity_types_is_read() {
    use crate::model::{Finding, Key, NamedKey, Subject};
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made = words::finding().new_tree(&mut runner).unwrap().current();
    let partition = words::partition().new_tree(&mut runner).unwrap().current();
    let sample = vec![NamedKey { key: Key([0x81, 0x01].into()), entity: None }];
    let finding =
        Finding { subject: Subject::Partition { partition, entities: 9, sample }, ..made };
    let text = finding.to_json();
    let before = text.replace(r#"[["8101",null]]"#, r#"["8101"]"#);
    assert_ne!(before, text);
    assert_eq!(Finding::from_json(&before).unwrap(), finding);
}

#[test]
fn a_finding_that_was_kept_without_its_entity_type_is_read() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made = words::finding().new_tree(&mut runner).unwrap().current();
    let old = crate::model::Finding { entity: None, ..made };
    let text = old.to_json();
    let before = text.replace(r#""entity":null,"#, "");
    assert_ne!(before, text);
    assert_eq!(crate::model::Finding::from_json(&before).unwrap(), old);
}

#[test]
fn a_reader_says_why_it_cannot_read() {
    let directory = directory();
    let settings = settings(&directory);
    let missing = Reader::open(&settings.path).unwrap_err();
    assert!(matches!(missing, JournalError::Missing { .. }), "{missing}");
    std::fs::write(&settings.path, "hello").unwrap();
    let foreign = Reader::open(&settings.path).unwrap_err();
    assert!(matches!(foreign, JournalError::Foreign { .. }), "{foreign}");
    std::fs::write(&settings.path, "").unwrap();
    let empty = Reader::open(&settings.path).unwrap_err();
    assert!(matches!(empty, JournalError::Missing { .. }), "{empty}");
    drop(Journal::open(&settings, NOW).unwrap());
    Connection::open(&settings.path).unwrap().pragma_update(None, "user_version", 9).unwrap();
    let newer = Reader::open(&settings.path).unwrap_err();
    assert!(matches!(newer, JournalError::Newer { found: 9, .. }), "{newer}");
}

#[test]
fn a_reader_knows_whether_the_daemon_runs() {
    let directory = directory();
    let settings = settings(&directory);
    let journal = Journal::open(&settings, NOW).unwrap();
    let reader = Reader::open(&settings.path).unwrap();
    assert_eq!(reader.daemon(), Some(std::process::id()));
    assert!(reader.last_written() > Some(NOW));
    drop(journal);
    assert_eq!(reader.daemon(), None);
}

#[test]
fn a_status_that_was_kept_before_there_were_more_counts_is_understood() {
    use format::Form as _;
    let now = crate::model::PairingStatus { passes: 3, ..Default::default() };
    let mut json: serde_json::Value = serde_json::from_str(&now.to_json()).unwrap();
    for name in ["pass_compared", "unsettled_before", "incidents", "anew", "relations"] {
        assert!(json.as_object_mut().unwrap().remove(name).is_some(), "{name}");
    }
    assert_eq!(crate::model::PairingStatus::from_json(&json.to_string()).unwrap(), now);
}
