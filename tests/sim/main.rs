//! The seeded simulation, and the properties that hold in it.
//!
//! Each property is checked over many seeds, and each checker is shown to object to something that is
//! broken on purpose.

mod crowds;
mod dying;
mod failing;
mod lasting;
mod outages;
mod passing;
mod resuming;
mod ruling;
mod stopping;

use std::time::Duration;

use driftd_tests::sim::relations::Shape;
use driftd_tests::sim::{Setting, Sim, judge};

/// Seeds that are always tried; the last one changes with the project's version of them.
const SEEDS: [u64; 6] = [1, 2, 3, 5, 8, 20_250_101];

const SHAPES: [Shape; 2] = [Shape::Aligned, Shape::Lookup];

/// The seeds to try: those above, or as many others as `DRIFTD_SEEDS` says, as in `100..200`.
fn seeds() -> Vec<u64> {
    #[expect(clippy::disallowed_methods, reason = "what a person asks of these tests")]
    let Ok(wanted) = std::env::var("DRIFTD_SEEDS") else { return SEEDS.to_vec() };
    let (from, to) = wanted.split_once("..").expect("DRIFTD_SEEDS is a range, as in 100..200");
    let seed = |text: &str| text.parse::<u64>().expect("DRIFTD_SEEDS has whole numbers");
    (seed(from)..seed(to)).collect()
}

/// Both shapes with every seed.
fn settings() -> impl Iterator<Item = Setting> {
    seeds().into_iter().flat_map(|seed| SHAPES.map(|shape| Setting::new(seed, shape)))
}

/// Demands that `verdict` is good; shows how to see the run if it is not.
#[track_caller]
fn expect(sim: &Sim, setting: &Setting, verdict: judge::Verdict) {
    if let Err(what) = verdict {
        let log = sim.record.log.iter().filter(|line| !line.ends_with("tick"));
        let log: Vec<&str> = log.map(String::as_str).collect();
        let tail = &log[log.len().saturating_sub(60)..];
        panic!("seed {} {:?}: {what}\n{}", setting.seed, setting.pairing.shape, tail.join("\n"));
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_same_seed_gives_the_same_log() {
    let run = |seed, shape| {
        let mut setting = Setting::new(seed, shape);
        setting.crashes = 10;
        setting.pairing.invariant = true;
        let mut sim = Sim::new(setting);
        sim.handle(driftd::model::Side::Target).fail_every(
            std::num::NonZeroU32::new(7).unwrap(),
            driftd::store::StoreErrorKind::Throttled("by the simulation".to_owned()),
        );
        sim.run_for(seconds(90));
        sim.record.log
    };
    for shape in SHAPES {
        let log = run(1, shape);
        assert!(log.len() > 300, "something happens: {} lines", log.len());
        assert_eq!(log, run(1, shape));
        assert_ne!(log, run(2, shape), "the seed matters");
    }
}
