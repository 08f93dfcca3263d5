//! Every hostile plugin at once, for as long as is asked.
//!
//! Owns the time and what is printed of memory; the siege itself is that of the tests. Refuses to
//! tune it. Invariant: it ends well only if every pairing has told what it must, and memory stood
//! still after the first third.

use std::path::Path;
use std::time::{Duration, Instant};

use driftd_tests::scenario::siege::{Siege, memory_max};

use crate::child;

/// Besets a daemon for so many minutes.
#[expect(clippy::disallowed_methods, reason = "a benchmark takes its time")]
pub(crate) async fn run(minutes: u64) {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/hostile/hostile.wasm");
    let mut siege = Siege::begin(child::DRIFTD, &guest).await;
    let (began, whole) = (Instant::now(), Duration::from_secs(minutes * 60));
    let (mut early, mut late, mut told) = (0, 0, 0);
    while began.elapsed() < whole {
        let resident = siege.turn().await;
        let highest = if began.elapsed() < whole / 3 { &mut early } else { &mut late };
        *highest = resident.max(*highest);
        if began.elapsed().as_secs() / 60 > told {
            told = began.elapsed().as_secs() / 60;
            println!("minute {told}: {:.1} MiB", resident as f64 / 1_024.0);
        }
    }
    let mib = |kib: u64| kib as f64 / 1_024.0;
    println!("highest: {:.1} MiB in the first third, {:.1} MiB after it", mib(early), mib(late));
    assert!(late <= memory_max(early), "memory has grown");
    siege.judge().await;
    println!("every pairing has told what it must, and nothing else");
}
