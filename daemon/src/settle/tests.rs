//! Settling, as tables of looks.

use super::*;
use crate::model::{Digest, DriftKind, Facets, Key, Number, Version, Violation};

fn at(seconds: i64) -> Moment {
    Moment(seconds * 1_000_000)
}

/// `-`: absent. `ab`: present, one digest a letter. `ab@3`: with version 3. `x`, `d`, `u`: excluded,
/// duplicate, unmappable.
fn state(text: &str) -> State {
    match text {
        "-" => State::Absent,
        "x" => State::Excluded,
        "d" => State::Duplicate(Digest(1)),
        "u" => State::Unmappable(Digest(2)),
        _ => {
            let (fields, version) = text.split_once('@').unwrap_or((text, ""));
            let fields: Vec<Digest> = fields.bytes().map(|b| Digest(u128::from(b))).collect();
            let entity = fields.iter().fold(7, |sum: u128, digest| sum * 1_000 + digest.0);
            let version = version.parse::<i64>().ok().map(|n| Version(Number::from(n)));
            State::Present(Facets { entity: Digest(entity), fields, version })
        }
    }
}

/// A look: when, what the leader (source) and the follower held; `!` at the end: an invariant fails;
/// `~`: the leader moved during the look.
fn sighting(text: &str) -> (Moment, Sighting) {
    let mut words = text.split_whitespace();
    let seconds: i64 = words.next().and_then(|word| word.parse().ok()).expect("a moment");
    let source = state(words.next().expect("a leader"));
    let target = state(words.next().expect("a follower"));
    let rest: Vec<&str> = words.collect();
    let violations = rest
        .contains(&"!")
        .then(|| Violation { invariant: 0, message: String::new() })
        .into_iter()
        .collect();
    let sighting = Sighting {
        key: Key(Box::from(&b"k"[..])),
        source,
        target,
        source_at: Vec::new(),
        target_at: Vec::new(),
        cuts: Vec::new(),
        violations,
        labels: std::collections::BTreeMap::new(),
        steady: !rest.contains(&"~"),
        cosmetic: Vec::new(),
        reason: None,
    };
    (at(seconds), sighting)
}

fn judge(looks: &[&str], paused: bool) -> String {
    let settings = Settings {
        lag_budget: Duration::from_secs(6),
        settle: Duration::from_secs(4),
        looks_max: 8,
        ..Settings::default()
    };
    let (now, first) = sighting(looks[0]);
    let origin = Origin { pairing: "p", identity: MappingIdentity(0), check: 1 };
    let mut suspect = suspect(&origin, &first, (&first.source, &first.target), now, &settings);
    for look in &looks[1..] {
        let (now, seen) = sighting(look);
        let took = i64::from(look.ends_with("slow")) * 5_000_000;
        let circumstances = LookedAt {
            began: Moment(now.0 - took),
            now,
            settings: &settings,
            observed: Duration::ZERO,
            paused,
        };
        match looked(suspect, &seen, (&seen.source, &seen.target), &circumstances) {
            Verdict::Acquitted { healed } => {
                return healed.map_or_else(
                    || "acquitted by the leader".to_owned(),
                    |healed| {
                        let Healed { about, least, .. } = healed;
                        format!("acquitted, {} to {} s", least.as_secs(), about.as_secs())
                    },
                );
            }
            Verdict::Condemned { charges, .. } => {
                let words = charges.iter().map(|charge| match &charge.what {
                    Charged::Presence { leader: true } => {
                        format!("{} (leader)", charge.kind.as_str())
                    }
                    Charged::Presence { leader: false } => charge.kind.as_str().to_owned(),
                    Charged::Fields(fields) => format!("{} {fields:?}", charge.kind.as_str()),
                    Charged::Invariant(at) => format!("{} #{at}", charge.kind.as_str()),
                });
                return words.collect::<Vec<_>>().join(", ");
            }
            Verdict::Again(again) => suspect = again,
            Verdict::Unsettled(_) => return "unsettled".to_owned(),
        }
    }
    "looked at again".to_owned()
}

#[test]
fn only_what_stands_still_is_condemned() {
    for (looks, expected) in [
        // Lag: the follower comes to what the leader held.
        (&["0 aa -", "2 aa aa"][..], "acquitted, 0 to 2 s"),
        (&["0 ab aa", "2 ab aa", "5 ab ab"], "acquitted, 2 to 5 s"),
        (&["0 ab aa", "2 aa aa"], "acquitted by the leader"),
        // How long it took counts from when the leader was first seen to hold it.
        (&["0 ab aa", "4 ac ab", "5 ac ab", "6 ac ac"], "acquitted, 1 to 2 s"),
        (&["0 ab aa", "2 ac ab", "4 ad ad"], "acquitted, 0 to 2 s"),
        (&["0 ab aa", "50 ab ab"], "acquitted, 0 to 3 s"),
        // Agreement with a leader that moved meanwhile is none.
        (&["0 ab aa", "2 ab ab ~", "4 ac ac"], "acquitted, 0 to 2 s"),
        // Two looks never suffice, nor do three within the budget.
        (&["0 aa -", "9 aa -"], "looked at again"),
        (&["0 aa -", "1 aa -", "2 aa -", "5 aa -"], "looked at again"),
        (&["0 aa -", "1 aa -", "6 aa -"], "missing"),
        // A look that took five seconds may have seen what was there when it began.
        (&["0 aa -", "1 aa -", "10 aa - slow"], "looked at again"),
        (&["0 aa -", "1 aa -", "11 aa - slow"], "missing"),
        (&["0 - aa", "3 - aa", "7 - aa"], "unexpected"),
        (&["0 ab aa", "3 ab aa", "7 ab aa"], "mismatch [1]"),
        // Present on the leader with changing contents is missing all the same; but it may be deleted
        // and created again and again, so that takes more looks.
        (&["0 ab -", "3 ac -", "7 ad -"], "looked at again"),
        (
            &["0 aa -", "1 ab -", "2 ac -", "3 ad -", "4 ae -", "5 af -", "6 ag -", "7 ah -"],
            "missing",
        ),
        (&["0 ab -", "3 ac -", "7 ac -", "10 ac -"], "missing"),
        // It came and went: the streak begins anew.
        (&["0 aa -", "3 aa ab", "7 aa -", "9 aa -"], "looked at again"),
        // What was written anew may have been there and gone while nobody looked for long.
        (&["0 aa -", "3 aa -", "12 ab -"], "looked at again"),
        (&["0 aa -", "3 aa -", "12 ab -", "14 ab -", "19 ab -"], "missing"),
        (&["0 aa -", "3 aa -", "12 aa -"], "missing"),
        // A lost field of a hot row is found; its hot field is not charged.
        (&["0 pa xa", "2 qb xb", "4 rc xc", "8 sd xd"], "looked at again"),
        (&["0 pa xb", "2 pc xd", "4 pe xf", "8 pg xh"], "mismatch [0]"),
        // A hot row in flight stands still nowhere.
        (&["0 b a", "1 c b", "2 d c", "3 e d", "4 f e", "5 g f", "8 h g", "9 i h"], "unsettled"),
        // Stale by a witness, or by a lower version; not by a higher one.
        (&["0 b a", "2 c b", "5 c b", "9 c b"], "stale [0]"),
        (&["0 b@5 a@4", "3 b@5 a@4", "7 b@5 a@4"], "stale [0]"),
        (&["0 b@5 a@5", "3 b@5 a@5", "7 b@5 a@5"], "mismatch [0]"),
        (&["0 b@5 a@6", "3 b@5 a@6", "7 b@5 a@6"], "mismatch [0]"),
        // A field that toggles may be met at the same values; versions say that it was written.
        (&["0 a@5 b@4", "2 a@7 b@6", "4 a@9 b@8", "8 a@11 b@10"], "looked at again"),
        (&["0 a@5 b@4", "2 a@7 b@6", "4 a@7 b@6", "7 a@7 b@6"], "looked at again"),
        (&["0 a@5 b@4", "2 a@7 b@6", "4 a@7 b@6", "8 a@7 b@6"], "stale [0]"),
        // One version on both sides, or one that the leader was seen at, proves that it differs.
        (&["0 a@5 b@4", "2 a@7 b@6", "4 a@9 b@8", "8 a@11 b@11"], "mismatch [0]"),
        (&["0 a@5 b@4", "2 a@7 b@6", "4 a@9 b@8", "8 a@11 b@9"], "mismatch [0]"),
        // Other kinds.
        (&["0 a d", "3 a d", "7 a d"], "duplicate"),
        (&["0 d a", "3 d a", "7 d a"], "duplicate (leader)"),
        (&["0 a u", "3 a u", "7 a u"], "unmappable"),
        (&["0 u -", "3 u -", "7 u -"], "unmappable (leader)"),
        (&["0 a a !", "3 a a !", "7 a a !"], "violation #0"),
        (&["0 a a !", "3 a a !", "5 a a"], "acquitted by the leader"),
        (&["0 a a !", "3 b b !", "7 c c !"], "looked at again"),
        (&["0 b a !", "3 b a !", "7 b a !"], "mismatch [0], violation #0"),
        // Out of scope on the source: whatever the target holds.
        (&["0 a b", "3 x b"], "acquitted by the leader"),
        (&["0 a x", "3 a x", "7 a x"], "missing"),
    ] {
        assert_eq!(judge(looks, false), expected, "{looks:?}");
    }
}

#[test]
fn nothing_is_condemned_while_the_follower_lags_as_a_whole() {
    let looks =
        ["0 a -", "3 a -", "7 a -", "9 a -", "12 a -", "20 a -", "30 a -", "40 a -", "50 a -"];
    assert_eq!(judge(&looks, true), "looked at again");
    assert_eq!(judge(&looks, false), "missing");
}

fn healed(about: u64, least: u64, late_at: i64) -> Healed {
    let seconds = Duration::from_secs;
    Healed { about: seconds(about), least: seconds(least), late_at: at(late_at) }
}

#[test]
fn a_pipeline_that_stopped_is_one_incident() {
    let settings = Settings { lag_budget: Duration::from_secs(10), ..Settings::default() };
    let mut lag = Lag::new(at(100));
    let few = || (0..9).map(|n| at(101 + n));
    let many = || (0..10).map(|n| at(101 + n));
    assert_eq!(lag.weigh(at(130), few(), &settings), None, "single keys are not the pipeline");
    assert_eq!(lag.weigh(at(111), many(), &settings), None, "within the budget");
    assert!(matches!(lag.weigh(at(112), many(), &settings), Some(LagChange::Opened { .. })));
    assert_eq!(lag.weigh(at(113), many(), &settings), None, "one incident");
    assert!(lag.paused(at(113), &settings));
    assert!(!lag.paused(at(112 + 30 * 60), &settings), "a pause ends");
    lag.moved(at(120));
    assert_eq!(lag.weigh(at(121), many(), &settings), None, "not over at the first sign");
    assert!(lag.paused(at(121), &settings));
    lag.healed(at(122), &healed(20, 11, 120), &settings);
    assert_eq!(lag.weigh(at(131), many(), &settings), None, "the backlog is the same incident");
    assert_eq!(lag.weigh(at(133), many(), &settings), None);
    let closed = LagChange::Closed { lasted: Duration::from_secs(21) };
    assert_eq!(lag.weigh(at(143), many(), &settings), Some(closed));
    assert!(!lag.paused(at(143), &settings));
}

#[test]
fn what_heals_late_is_lag_if_it_was_seen_to_be_late_of_late() {
    let settings = Settings { lag_budget: Duration::from_secs(10), ..Settings::default() };
    for (healed, opens) in
        [(healed(12, 11, 195), true), (healed(12, 9, 195), false), (healed(60, 11, 180), false)]
    {
        let mut lag = Lag::new(at(100));
        lag.healed(at(200), &healed, &settings);
        let change = lag.weigh(at(200), std::iter::empty(), &settings);
        assert_eq!(matches!(change, Some(LagChange::Opened { .. })), opens, "{healed:?}");
    }
}

#[test]
fn after_a_restart_a_pipeline_that_had_stopped_is_still_known_to_have() {
    let settings = Settings { lag_budget: Duration::from_secs(10), ..Settings::default() };
    let many = || (0..10).map(|n| at(101 + n));
    let mut lag = Lag::resumed(at(100), Some(at(112)));
    for second in [120, 140, 160] {
        assert_eq!(lag.weigh(at(second), many(), &settings), None, "it goes on");
        assert!(lag.paused(at(second), &settings));
    }
    let mut lag = Lag::resumed(at(100), None);
    assert!(matches!(lag.weigh(at(112), many(), &settings), Some(LagChange::Opened { .. })));
}

#[test]
fn bursts_are_remembered_for_minutes() {
    let settings = Settings::default();
    let mut lag = Lag::new(at(0));
    let mut heal = |seconds: i64, about: u64| {
        lag.healed(at(seconds), &healed(about, 0, seconds), &settings);
        lag.recent().as_secs()
    };
    assert_eq!(heal(10, 20), 20);
    assert_eq!(heal(20, 2), 20, "a quick one does not hide the burst");
    assert_eq!(heal(310, 2), 20);
    assert_eq!(heal(620, 3), 3);
}

#[test]
fn the_window_follows_lag_but_cannot_run_away() {
    let settings = Settings::default();
    for (observed, expected) in [(0, 30), (10, 30), (20, 40), (30, 60), (60, 60), (1_000, 60)] {
        let window = settings.window(Duration::from_secs(observed));
        assert_eq!(window, Duration::from_secs(expected), "{observed}");
    }
}

#[test]
fn looks_come_early_and_grow_apart_and_none_is_dropped_by_a_failure() {
    let settings = Settings::default();
    let (now, first) = sighting("0 a -");
    let origin = Origin { pairing: "p", identity: MappingIdentity(0), check: 1 };
    let mut suspect = suspect(&origin, &first, (&first.source, &first.target), now, &settings);
    let mut waits = Vec::new();
    let mut now = now;
    for _ in 0..9 {
        waits.push(suspect.due.since(now));
        now = suspect.due;
        failed(&mut suspect, now, &settings);
    }
    assert!(waits[0] <= Duration::from_millis(1_100), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(66)), "{waits:?}");
    assert!(waits.windows(2).take(5).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert_eq!(suspect.looks, 1, "a failed look is not a look");
    assert_eq!(suspect.still.len(), 1);
    assert_eq!(charges(&suspect)[0].kind, DriftKind::Missing);
}

#[test]
fn a_row_that_is_always_written_is_judged_after_a_long_pause() {
    let settings = Settings { lag_budget: Duration::from_secs(10), ..Settings::default() };
    let origin = Origin { pairing: "p", identity: MappingIdentity(0), check: 1 };
    let look = |now: Moment| {
        // The first field is written at every moment and applied at once; the second was lost.
        let written = char::from(b'a' + u8::try_from(now.0 / 1_000_000 % 26).expect("a letter"));
        sighting(&format!("{} {written}z {written}y", now.0 / 1_000_000)).1
    };
    let first = look(at(0));
    let mut suspect = suspect(&origin, &first, (&first.source, &first.target), at(0), &settings);
    let (pause_ends, patience) = (at(600), at(660));
    let charged = loop {
        let now = suspect.due;
        assert!(now < patience, "it is never judged: {suspect:?}");
        let seen = look(now);
        let circumstances = LookedAt {
            began: now,
            now,
            settings: &settings,
            observed: Duration::ZERO,
            paused: now < pause_ends,
        };
        match looked(suspect, &seen, (&seen.source, &seen.target), &circumstances) {
            Verdict::Again(again) => suspect = again,
            Verdict::Condemned { charges, .. } => break charges,
            Verdict::Acquitted { .. } | Verdict::Unsettled(_) => panic!("it differs and settles"),
        }
    };
    assert_eq!(charged[0].what, Charged::Fields(vec![1]));
}
