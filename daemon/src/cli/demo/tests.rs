//! The demo as a whole, in which nothing is made easier but the number of users.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::model::{
    Direction, DriftKind, Extent, Finding, FindingStatus, MappingIdentity, Moment, Partition,
    Subject,
};
use faults::Fault;
use verdict::{Planted, Verdict};

/// What was shown.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shown {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn options(keep: Option<PathBuf>) -> Options {
    Options { users: 2_000, seed: 7, deadline: 200, keep, hold: false, json: false }
}

async fn shown(options: &Options, plant: Plant) -> (bool, serde_json::Value, String) {
    let (clock, shown) = (Clock::new(), Shown::default());
    let mut screen = Screen::plain(Box::new(shown.clone()), &clock);
    let (agrees, json) = play(options, &clock, &mut screen, plant).await.unwrap();
    (agrees, json, shown.text())
}

#[tokio::test(flavor = "multi_thread")]
async fn finds_what_it_plants_and_leaves_nothing_behind() {
    let (agrees, json, text) = shown(&options(None), faults::plant).await;
    assert!(agrees, "{text}");
    assert_eq!(json["agrees"], true, "{text}");
    let kinds: Vec<&str> =
        json["kinds"].as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, DriftKind::ALL.map(DriftKind::as_str), "every kind is planted");
    assert_eq!(json["total"]["planted"], json["total"]["found"]);
    assert!(json["acquitted"].as_u64().unwrap() > 0, "the writer was at work: {json:#}");
    // What the hook was handed is the event of the trip.
    assert_eq!(json["hook"]["event"]["data"]["criterion"], setup::CRITERION);
    assert!(text.contains("Found what was planted: all"), "{text}");
    let files = text.lines().find_map(|line| line.trim().strip_prefix("files")).unwrap();
    let files = PathBuf::from(files.trim().strip_suffix(" (removed at the end)").unwrap());
    assert!(!files.exists(), "{}", files.display());
}

/// Forgets one of the faults, and tells of one that is not there.
fn lying(writer: &mut Writer) -> Result<Vec<Planted>, DemoError> {
    let mut planted = faults::plant(writer)?;
    let forgotten = planted.iter().position(|fault| fault.fault == Fault::StaleItem).unwrap();
    planted.remove(forgotten);
    let innocent = writer.reserved.pop().unwrap();
    planted.push(Planted::new(Fault::LostWrite, people::key(innocent)));
    Ok(planted)
}

#[tokio::test(flavor = "multi_thread")]
async fn tells_what_it_did_not_find_and_what_was_not_planted() {
    let directory = tempfile::tempdir().unwrap();
    let keep = directory.path().join("kept");
    let (agrees, json, text) = shown(&options(Some(keep.clone())), lying).await;
    assert!(!agrees, "{text}");
    let kinds = |list: &str| {
        let list = json[list].as_array().unwrap().iter();
        list.map(|each| each["kind"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((kinds("not_found"), kinds("not_planted")), (vec!["missing"], vec!["stale"]));
    assert_eq!(json["gave_up"], json!(null), "{text}");
    assert!(text.contains("NOT what was planted"), "{text}");
    // What is kept can be read by the other commands.
    let settings = config::load_for_journal(&keep.join(setup::CONFIG)).unwrap().settings;
    assert!(settings.journal.path.starts_with(&keep) && settings.journal.path.is_file());
    assert!(keep.join(setup::EVENTS).is_file() && keep.join(setup::SOURCE).is_file());
    // And it is not overwritten by another demo.
    let refused = Place::make(Some(&keep)).unwrap_err();
    assert!(refused.is_usage(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_up_at_its_deadline_and_says_why() {
    let options = Options { deadline: 1, ..options(None) };
    let (agrees, json, text) = shown(&options, faults::plant).await;
    assert!(!agrees && json["gave_up"].is_string(), "{text}");
    assert!(text.contains("gave up after"), "{text}");
}

fn finding(id: u64, kind: DriftKind, subject: Subject) -> Finding {
    Finding {
        id,
        pairing: "users".into(),
        identity: MappingIdentity::default(),
        subject,
        entity: None,
        kind,
        side: None,
        fields: Vec::new(),
        cosmetic: Vec::new(),
        invariant: None,
        message: None,
        labels: std::collections::BTreeMap::new(),
        source_digest: None,
        target_digest: None,
        source_at: Vec::new(),
        target_at: Vec::new(),
        check: 1,
        first_seen: Moment(0),
        confirmed: Moment(0),
        last_seen: Moment(0),
        due: Moment(0),
        looks: 3,
        status: FindingStatus::Open,
        ignored_until: None,
    }
}

#[test]
fn planted_equals_found_only_entity_by_entity_and_kind_by_kind() {
    let key = people::key;
    let of = |id: i64| Subject::Key(key(id));
    let planted =
        [Planted::new(Fault::LostWrite, key(1)), Planted::new(Fault::CorruptField, key(2))];
    let right =
        || vec![finding(1, DriftKind::Missing, of(1)), finding(2, DriftKind::Mismatch, of(2))];
    let judge = |found: Vec<Finding>| Verdict::new(&planted, found.iter());
    assert!(judge(right()).agrees());

    let mut too_few = right();
    too_few.pop();
    let mut wrong_kind = right();
    wrong_kind[0].kind = DriftKind::Stale;
    let mut wrong_entity = right();
    wrong_entity[0].subject = of(3);
    let mut twice = right();
    twice.push(finding(3, DriftKind::Missing, of(1)));
    let mut one_more = right();
    one_more.push(finding(3, DriftKind::Missing, of(4)));
    let mut false_alarm = right();
    let over = FindingStatus::Resolved(Moment(9));
    false_alarm.push(Finding { status: over, ..finding(3, DriftKind::Missing, of(4)) });
    let mut went_away = right();
    went_away[0].status = over;
    let extent = Extent::Segment { index: 0, of: 1 };
    let partition = Partition { direction: Direction::FromTarget, number: 0, extent };
    let mut as_a_whole = right();
    let subject = Subject::Partition { partition, entities: 7, sample: Vec::new() };
    as_a_whole.push(finding(3, DriftKind::Missing, subject));
    for (case, found, expected) in [
        ("too few", too_few, (1, 0)),
        ("wrong kind", wrong_kind, (1, 1)),
        ("wrong entity", wrong_entity, (1, 1)),
        ("told twice", twice, (0, 1)),
        ("one more", one_more, (0, 1)),
        ("a false alarm that went away", false_alarm, (0, 1)),
        ("went away", went_away, (1, 1)),
        ("a partition as a whole", as_a_whole, (0, 7)),
    ] {
        let verdict = judge(found);
        let total = verdict.total();
        assert_eq!((total.not_found, total.not_planted), expected, "{case}");
        assert!(!verdict.agrees(), "{case}");
    }
}
