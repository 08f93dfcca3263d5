//! The daemon killed at any moment, again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use driftd_tests::scenario::names;
use driftd_tests::scenario::users::Shop;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::Signal;

use super::faults::{plant, repair, with_hook};

const KILLS: usize = 20;

#[tokio::test]
async fn nothing_is_lost_or_told_twice_however_often_the_daemon_is_killed() {
    let shop = Shop::new(140).await;
    let scenario = with_hook(&shop);
    let writer = shop.write(40, Duration::from_millis(800), 11);
    let mut random = ChaCha8Rng::seed_from_u64(0x6b69_6c6c);
    let mut planted = Vec::new();
    let mut told = 0;
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    let mut done: BTreeMap<u64, usize> = BTreeMap::new();
    for kill in 0..KILLS {
        if kill == 4 {
            planted = plant(&shop).await;
        }
        let mut daemon = scenario.start();
        daemon.ready().await;
        // The moment is the point: from the first reads to some passes later.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..900))).await;
        daemon.signal(Signal::KILL);
        assert_eq!(daemon.end().await, None);

        let found = scenario.findings(true).await;
        for (number, name) in &known {
            let still = found.iter().find(|finding| finding.number() == *number);
            assert_eq!(still.map(|finding| finding.name()).as_ref(), Some(name), "lost");
        }
        known.extend(found.iter().map(|finding| (finding.number(), finding.name())));
        // Each id has one content, over all lives.
        let events = scenario.events().all().len();
        assert!(events >= told, "what was told stays told");
        told = events;

        let runs = scenario.read("runs");
        let times = |job: u64| {
            let key = format!("-hook-{job} ");
            runs.lines().filter(|run| run.contains(&key)).count()
        };
        for (job, count) in &done {
            assert_eq!(
                times(*job),
                *count,
                "hook job {job} ran after its recorded success: {runs}"
            );
        }
        let abort = scenario.json(&["abort", "list"]).await;
        for job in abort["hooks"].as_array().unwrap() {
            if job["state"] == "succeeded" {
                let job = job["job"].as_u64().unwrap();
                assert!(times(job) > 0, "hook job {job} is recorded and never ran");
                done.insert(job, times(job));
            }
        }
    }

    let mut daemon = scenario.start();
    daemon.ready().await;
    scenario.found(&planted).await;
    repair(&shop).await;
    scenario.clean().await;
    writer.stop().await;
    assert_eq!(daemon.stop().await, Some(0), "{}", daemon.log());
    assert_eq!(names(&scenario.findings(true).await), planted, "each once, and nothing else");
    let events = scenario.events();
    assert_eq!(events.of("drift.confirmed").len(), planted.len());
    assert_eq!(events.of("drift.resolved").len(), planted.len());
    assert_eq!(events.of("hook.succeeded").len(), 2);
}
