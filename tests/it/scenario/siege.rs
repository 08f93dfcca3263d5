//! Every hostile guest at once, for about a minute; `tests/bench` has ten.

use std::path::Path;

use driftd_tests::scenario::siege::{Siege, memory_max};

/// Passes of the healthy pairing under siege.
const TURNS: usize = 40;

#[tokio::test]
async fn all_hostile_guests_at_once_cost_their_own_rows_and_memory_stays_flat() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins/hostile/hostile.wasm");
    let mut siege = Siege::begin(env!("CARGO_BIN_EXE_driftd-under-test"), &guest).await;
    let mut memory = Vec::new();
    for _ in 0..TURNS {
        memory.push(siege.turn().await);
    }
    let (early, late) = memory.split_at(TURNS / 3);
    let highest = |memory: &[u64]| memory.iter().max().copied().unwrap_or_default();
    assert!(highest(late) <= memory_max(highest(early)), "KiB at most in each pass: {memory:?}");
    siege.judge().await;
}
