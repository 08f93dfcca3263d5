//! Tests of rules over whole partitions: what checks answer is made by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::tests::{settings as engine_settings, sighting};
use crate::engine::{Engine, Event, Job, Settings};
use crate::model::{
    Digest, Fault, FaultCode, FindingStatus, InvariantDef, Look, MappingIdentity, Range, Saved,
    Scope, Severity, Unread,
};

const BEGIN: Moment = Moment(1_000_000_000_000_000);
/// The window of the default settings.
const WINDOW: Duration = Duration::from_secs(30);

fn settings() -> Settings {
    let mut settings = engine_settings();
    settings.pairings[0].reading.not_verifiable = None;
    settings.pairings[0].invariants = ["total", "count"]
        .map(|id| InvariantDef {
            id: id.to_owned(),
            summary: format!("{id} agrees"),
            severity: Severity::Critical,
            scope: Scope::Partition,
        })
        .to_vec();
    settings
}

fn one_pass() -> Settings {
    Settings { until: Until::OnePass, ..settings() }
}

fn extent(from: i128, until: i128) -> Extent {
    Extent::Range(Range { from: Some(from), until: Some(until) })
}

fn part(from: i128, until: i128) -> Partition {
    let direction = crate::model::Direction::FromSource;
    Partition { direction, number: 0, extent: extent(from, until) }
}

/// A check at which the first rule says this of what it accumulated.
fn says(state: u128, verdict: Verdict) -> Outcome {
    let rules = vec![Ruled { invariant: 0, state: Digest(state), verdict }];
    Outcome { same: 9, rules, ..Outcome::default() }
}

fn is_broken(state: u128) -> Outcome {
    says(state, Verdict::Broken(vec![format!("off by {state}"), "and more".to_owned()]))
}

fn holds() -> Outcome {
    says(0, Verdict::Holds)
}

fn unread() -> Vec<Unread> {
    let text = || "gone".to_owned();
    let code = FaultCode::StoreError;
    let fault = Fault { side: None, what: text(), remedy: text(), code };
    vec![Unread { scope: text(), rows: None, key: None, fault }]
}

/// A run, and what came of it.
struct Course {
    engine: Engine,
    now: Moment,
    begun: bool,
    extents: Vec<Extent>,
    /// When checks were answered, and of which partitions.
    scans: Vec<(Moment, Partition)>,
    happened: Vec<(Moment, Happening)>,
    /// What the journal would hold.
    kept: BTreeMap<Partition, SuspectPartition>,
    kept_max: usize,
    unsettled: Vec<String>,
    finished: bool,
}

impl Course {
    fn new(settings: Settings, saved: Saved, now: Moment) -> Self {
        let kept =
            saved.suspect_partitions.iter().map(|one| (one.partition, one.clone())).collect();
        Self {
            engine: Engine::new(settings, saved, now),
            now,
            begun: false,
            extents: vec![extent(0, 100)],
            scans: Vec::new(),
            happened: Vec::new(),
            kept,
            kept_max: 0,
            unsettled: Vec::new(),
            finished: false,
        }
    }

    /// Goes on for some time; `answer` is told how many checks there were before.
    fn go(&mut self, time: Duration, mut answer: impl FnMut(usize, Partition) -> Outcome) {
        let until = self.now.after(time);
        let mut events = Vec::new();
        if !std::mem::replace(&mut self.begun, true) {
            events.push(Event::Started);
        }
        while self.now <= until && !self.finished {
            let decision = self.engine.apply(self.now, events.pop().unwrap_or(Event::Tick));
            self.note(&decision);
            for job in decision.jobs {
                events.push(match job {
                    Job::Split { pairing, direction } => {
                        let extents = Ok(self.extents.clone());
                        Event::Split { pairing, direction, extents, unmapped: BTreeMap::new() }
                    }
                    Job::Check { check, partition, .. } => {
                        let outcome = answer(self.scans.len(), partition);
                        self.scans.push((self.now, partition));
                        Event::Checked { check, began: self.now, outcome }
                    }
                    Job::Look { look, asked, .. } => {
                        let differs =
                            |one: crate::model::Asked| Sighting { key: one.key, ..sighting() };
                        let sightings = asked.into_iter().map(differs).collect();
                        Event::Looked { look, result: Look { sightings, ..Look::default() } }
                    }
                    Job::Hook(job) => panic!("no hook is configured: {job:?}"),
                });
            }
            if events.is_empty() {
                let idle = self.now.after(Duration::from_secs(1));
                self.now = decision.wake.unwrap_or(idle).min(idle);
            }
        }
    }

    fn note(&mut self, decision: &crate::engine::Decision) {
        let commit = &decision.commit;
        for one in &commit.suspect_partitions {
            self.kept.insert(one.partition, one.clone());
        }
        for (_, partition) in &commit.decided_partitions {
            self.kept.remove(partition);
        }
        self.kept_max = self.kept_max.max(self.kept.len());
        let happened = commit.occurrences.iter().map(|one| (one.at, one.what.clone()));
        self.happened.extend(happened);
        self.unsettled.extend(commit.unsettled.iter().map(|one| one.what.clone()));
        self.finished = decision.finished;
    }

    fn confirmed(&self) -> Vec<&Finding> {
        let finding = self.happened.iter().filter_map(|(_, what)| {
            let Happening::Confirmed(finding) = what else { return None };
            Some(finding)
        });
        finding.filter(|finding| finding.is_of_rule()).collect()
    }

    fn resolved(&self) -> usize {
        let resolved = |what: &&(Moment, Happening)| matches!(what.1, Happening::Resolved(_));
        self.happened.iter().filter(resolved).count()
    }

    fn saved(&self) -> Saved {
        Saved {
            suspect_partitions: self.kept.values().cloned().collect(),
            status: self.engine.statuses(),
            last_occurrence: self.happened.len() as u64,
            ..Saved::default()
        }
    }

    fn status(&self) -> crate::model::PairingStatus {
        self.engine.statuses().remove(0)
    }
}

const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(minutes * 60)
}

#[test]
fn a_rule_that_stays_broken_is_one_finding_and_resolved_when_it_holds() {
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(minutes(30), |_, _| is_broken(7));
    let [finding] = course.confirmed()[..] else { panic!("{:?}", course.happened) };
    assert!(finding.confirmed.since(finding.first_seen) >= WINDOW, "{finding:?}");
    assert!(finding.looks >= LOOKS_MIN);
    assert_eq!(finding.kind, DriftKind::Violation);
    assert_eq!(finding.invariant, Some(("total".to_owned(), Severity::Critical)));
    assert_eq!(finding.message.as_deref(), Some("off by 7"));
    assert_eq!(finding.entity.as_deref(), Some("thing"));
    let expected = Subject::Partition { partition: part(0, 100), entities: 1, sample: Vec::new() };
    assert_eq!(finding.subject, expected);
    assert_eq!(course.status().open, BTreeMap::from([(DriftKind::Violation, 1)]));
    assert!(course.kept.is_empty(), "it is decided");
    let open = course.engine.findings().next().unwrap();
    assert!(open.last_seen.since(open.confirmed) > minutes(10), "it was seen again");
    course.go(minutes(30), |_, _| holds());
    assert_eq!((course.confirmed().len(), course.resolved()), (1, 1));
    assert_eq!(course.status().open, BTreeMap::new());
}

#[test]
fn a_rule_without_words_is_told_by_what_it_demands() {
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(minutes(5), |_, _| says(7, Verdict::Broken(Vec::new())));
    let [finding] = course.confirmed()[..] else { panic!("{:?}", course.happened) };
    assert_eq!(finding.message.as_deref(), Some("total agrees"));
}

#[test]
fn a_rule_that_holds_at_one_scan_is_acquitted() {
    for broken in 1..4 {
        let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
        course.go(minutes(5), |scan, _| if scan < broken { is_broken(7) } else { holds() });
        assert!(course.finished && course.kept.is_empty(), "{broken}");
        assert_eq!(course.confirmed(), Vec::<&Finding>::new(), "{broken}");
        let status = course.status();
        assert_eq!((status.acquitted, status.unsettled), (1, 0), "{broken}");
        assert_eq!(course.scans.len(), broken + 1);
    }
}

#[test]
fn a_rule_whose_numbers_never_stand_still_is_unsettled() {
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    course.go(minutes(30), |scan, _| is_broken(scan as u128));
    assert!(course.finished && course.kept.is_empty());
    assert_eq!(course.confirmed(), Vec::<&Finding>::new());
    assert_eq!((course.status().unsettled, &course.unsettled[..]), (1, &[moves().1][..]));
    // The next pass meets it again, and when it stands still it is found.
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(minutes(30), |scan, _| is_broken(scan as u128));
    assert!(course.status().unsettled > 1, "once a pass: {:?}", course.status());
    assert_eq!(course.confirmed(), Vec::<&Finding>::new());
    course.go(minutes(10), |_, _| is_broken(7));
    assert_eq!(course.confirmed().len(), 1);
}

/// Scans that say nothing, whatever their rules say.
fn silences(verdict: &Outcome) -> Vec<(&'static str, Outcome)> {
    let of = verdict.clone();
    vec![
        ("unknown", says(7, Verdict::Unknown("a part is too large".to_owned()))),
        ("unread", Outcome { unread: unread(), ..of.clone() }),
        ("elsewhere", Outcome { told_elsewhere: 1, ..of.clone() }),
        ("differs", Outcome { suspects: vec![sighting()], ..of.clone() }),
        ("crowded", Outcome { crowd: Some(members()), ..of.clone() }),
        ("not asked", Outcome { rules: Vec::new(), ..of }),
    ]
}

fn members() -> Vec<Member> {
    vec![Member { key: 1, states: 1, kind: DriftKind::Mismatch, invariant: None }]
}

#[test]
fn scans_that_say_nothing_neither_condemn_nor_acquit() {
    for (name, silent) in silences(&is_broken(7)) {
        let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
        course.go(minutes(30), |scan, _| if scan == 0 { is_broken(7) } else { silent.clone() });
        assert!(course.finished, "{name}: it ends");
        assert_eq!(course.confirmed(), Vec::<&Finding>::new(), "{name}");
        assert_eq!(course.status().unsettled, 1, "{name}");
    }
    for (name, silent) in silences(&holds()) {
        let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
        course.go(minutes(30), |scan, _| match scan {
            0 => says(7, Verdict::Unknown("a part is too large".to_owned())),
            1..4 => silent.clone(),
            _ => holds(),
        });
        assert!(course.finished && course.scans.len() == 5, "{name}: {:?}", course.scans);
        let status = course.status();
        assert_eq!((status.acquitted, status.unsettled), (0, 0), "{name}: it was never broken");
        assert_eq!(course.confirmed(), Vec::<&Finding>::new(), "{name}");
    }
}

#[test]
fn what_stands_is_not_resolved_by_scans_that_say_nothing() {
    for (name, silent) in silences(&holds()) {
        if matches!(name, "differs" | "crowded") {
            // What differs for so long is drift by then, and the scan speaks.
            continue;
        }
        let mut course = Course::new(settings(), Saved::default(), BEGIN);
        course.go(minutes(5), |_, _| is_broken(7));
        course.go(minutes(30), |_, _| silent.clone());
        assert_eq!((course.confirmed().len(), course.resolved()), (1, 0), "{name}");
    }
}

#[test]
fn looks_between_which_nothing_was_said_still_add_up() {
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    let silent = says(7, Verdict::Unknown("a part is too large".to_owned()));
    course.go(minutes(30), |scan, _| if scan % 2 == 0 { is_broken(7) } else { silent.clone() });
    assert_eq!(course.confirmed().len(), 1);
}

#[test]
fn a_rule_that_never_speaks_is_unsettled_and_says_why() {
    for (name, silent) in silences(&holds()) {
        // What is unread is given up as unread by the pass, and what is not asked has no rule.
        let alone = match name {
            "unread" | "not asked" => continue,
            // Keys are decided, and then the scan speaks.
            "differs" | "crowded" => continue,
            _ => silent,
        };
        let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
        course.go(minutes(60), |_, _| alone.clone());
        assert!(course.finished, "{name}");
        let why = if name == "unknown" { "a part is too large" } else { &differs().1 };
        assert_eq!((course.status().unsettled, &course.unsettled[..]), (1, &[why.to_owned()][..]));
        assert_eq!(course.status().last_pass_unsettled, 1, "{name}");
    }
}

#[test]
fn keys_that_differ_are_settled_before_a_rule_speaks() {
    let differs = |outcome: Outcome| Outcome { suspects: vec![sighting()], ..outcome };
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(minutes(10), |_, _| differs(is_broken(7)));
    let key = course.happened.iter().find_map(|(at, what)| {
        let Happening::Confirmed(finding) = what else { return None };
        (!finding.is_of_rule()).then_some(*at)
    });
    let [finding] = course.confirmed()[..] else { panic!("{:?}", course.happened) };
    let Some(BrokenSince(since)) = course.broken_since() else { panic!("it was suspect") };
    assert!(key.is_some_and(|key| key <= since), "the key came first: {key:?}, {since:?}");
    assert!(finding.confirmed.since(since) >= WINDOW);
}

/// When a streak began that was condemned.
struct BrokenSince(Moment);

impl Course {
    fn broken_since(&self) -> Option<BrokenSince> {
        let finding = self.confirmed().first().copied()?;
        let scans = self.scans.iter().filter(|(at, _)| *at <= finding.confirmed);
        // The streak of so many looks ends with the confirmation.
        let looks = scans.rev().take(finding.looks as usize);
        looks.last().map(|(at, _)| BrokenSince(*at))
    }
}

#[test]
fn a_restart_goes_on_with_the_streak() {
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(Duration::from_secs(20), |_, _| is_broken(7));
    assert_eq!((course.confirmed().len(), course.kept.len()), (0, 1));
    let mut again = Course::new(settings(), course.saved(), course.now);
    again.go(Duration::from_secs(25), |_, _| is_broken(7));
    let [finding] = again.confirmed()[..] else { panic!("{:?}", again.happened) };
    assert!(finding.confirmed.since(BEGIN) >= WINDOW);
    assert!(finding.confirmed.since(BEGIN) < WINDOW + WINDOW, "not from the beginning");
}

#[test]
fn another_mapping_forgets_what_is_suspect_and_judges_anew_what_was_found() {
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(Duration::from_secs(20), |_, _| is_broken(7));
    let mut other = settings();
    other.pairings[0].identity = MappingIdentity(2);
    let saved = course.saved();
    let mut again = Course::new(other.clone(), saved, course.now);
    again.go(Duration::from_secs(1), |_, _| holds());
    assert_eq!(again.kept, BTreeMap::new());
    again.go(minutes(5), |_, _| holds());
    assert_eq!(again.confirmed(), Vec::<&Finding>::new());
    course.go(minutes(5), |_, _| is_broken(7));
    let findings = course.engine.findings().cloned().collect();
    other.pairings[0].reading.not_verifiable = None;
    let saved = Saved { findings, ..course.saved() };
    let mut again = Course::new(other.clone(), saved.clone(), course.now);
    again.go(minutes(5), |_, _| is_broken(7));
    let same = again.happened.iter().any(|(_, what)| {
        matches!(what, Happening::Changed { finding, .. }
            if finding.is_of_rule() && finding.identity == MappingIdentity(2))
    });
    assert!(same && again.confirmed().is_empty(), "{:?}", again.happened);
    let mut again = Course::new(other, saved, course.now);
    again.go(minutes(2), |_, _| holds());
    let gone = again.happened.iter().any(|(_, what)| {
        matches!(what, Happening::Superseded(finding)
            if finding.is_of_rule() && matches!(finding.status, FindingStatus::Superseded(_)))
    });
    assert!(gone, "{:?}", again.happened);
}

#[test]
fn a_finding_tells_of_partitions_that_overlap_its_own() {
    let mut course = Course::new(settings(), Saved::default(), BEGIN);
    course.go(minutes(5), |_, _| is_broken(7));
    assert_eq!(course.confirmed().len(), 1);
    course.extents = vec![extent(0, 50), extent(50, 150), extent(150, 200)];
    course.go(minutes(10), |_, _| is_broken(7));
    let told: Vec<_> = course.confirmed().iter().map(|found| found.subject.clone()).collect();
    let of = |partition| Subject::Partition { partition, entities: 1, sample: Vec::new() };
    let apart = Partition { number: 2, ..part(150, 200) };
    assert_eq!(told, [of(part(0, 100)), of(apart)]);
}

#[test]
fn partitions_that_are_suspect_at_once_are_bounded_and_the_rest_is_unsettled() {
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    course.extents = (0..1_500).map(|at| extent(at * 10, at * 10 + 10)).collect();
    course.go(minutes(120), |_, partition| match partition.number % 3 {
        0 => says(7, Verdict::Unknown("a part is too large".to_owned())),
        _ => is_broken(7),
    });
    assert!(course.finished);
    assert_eq!(course.kept_max, DOUBTS_MAX);
    let status = course.status();
    assert_eq!(status.open[&DriftKind::Violation] + status.unsettled, 1_500);
    assert!(course.unsettled.contains(&crowded().1));
}

#[test]
fn a_partition_that_has_grown_is_judged_in_parts() {
    let grown = |scan: usize, partition: Partition| {
        let whole = partition == part(0, 100) && scan > 0;
        let rest = whole.then(|| extent(60, 100));
        let beyond = partition.extent == extent(60, 100);
        Outcome { rest, ..if beyond { is_broken(8) } else { is_broken(7) } }
    };
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    course.go(minutes(30), grown);
    assert!(course.finished);
    let mut told: Vec<_> = course.confirmed().iter().map(|found| found.subject.clone()).collect();
    told.sort();
    let of = |partition| Subject::Partition { partition, entities: 1, sample: Vec::new() };
    assert_eq!(told, [of(part(0, 60)), of(part(60, 100))]);
    // What lies beyond is not clean because the part before it holds.
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    course.go(minutes(30), |scan, partition| match grown(scan, partition) {
        outcome if partition.extent == extent(60, 100) => outcome,
        outcome if scan == 0 => outcome,
        Outcome { rest, .. } => Outcome { rest, ..holds() },
    });
    let told: Vec<_> = course.confirmed().iter().map(|found| found.subject.clone()).collect();
    assert_eq!(told, [of(part(60, 100))]);
}

#[test]
fn two_rules_of_a_partition_are_judged_apart() {
    let both = |scan: usize| {
        let first = is_broken(7).rules.remove(0);
        let mut second = Ruled { invariant: 1, ..first.clone() };
        if scan >= 2 {
            second.verdict = Verdict::Holds;
        }
        Outcome { same: 9, rules: vec![first, second], ..Outcome::default() }
    };
    let mut course = Course::new(one_pass(), Saved::default(), BEGIN);
    course.go(minutes(10), |scan, _| both(scan));
    let told: Vec<_> =
        course.confirmed().iter().map(|found| found.invariant.clone().unwrap().0).collect();
    assert_eq!((told, course.status().acquitted), (vec!["total".to_owned()], 1));
    assert!(course.finished && course.status().unsettled == 0);
}
