//! The demo's configuration, as a file that people can read.
//!
//! Owns its text. Refuses any way around it: driftd runs with what this text says and nothing else,
//! but for the credentials of the API. Invariant: it is complete, and lies beside the other files.

use std::path::Path;

use super::{source, target};

/// Files beside the configuration.
pub(super) const SOURCE: &str = "shop.db";
pub(super) const PLUGIN: &str = "users.wasm";
pub(super) const EVENTS: &str = "events.jsonl";
pub(super) const HOOK_OUTPUT: &str = "flip-back.json";
pub(super) const CONFIG: &str = "driftd.toml";

/// Names in the configuration.
pub(super) const TARGET_STORE: &str = "items";
pub(super) const CRITERION: &str = "lost-writes";
pub(super) const HOOK: &str = "flip-back";
/// Findings at which the criterion trips.
pub(super) const AT_LEAST: u32 = 5;
/// Seconds over which a difference must stand still.
pub(super) const LAG_BUDGET: u32 = 6;

/// The configuration, for files in `directory` and the API at `endpoint`.
pub(super) fn text(directory: &Path, endpoint: &str, seed: u64) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let tee = ["/usr/bin/tee", "/bin/tee"].into_iter().find(|tee| Path::new(tee).exists());
    let tee = tee.unwrap_or("tee");
    let output = quoted(directory.join(HOOK_OUTPUT).display().to_string());
    let endpoint = quoted(endpoint.to_owned());
    let seed = seed & (u64::MAX >> 1);
    let (source, target, region) = (source::RELATION, target::RELATION, target::REGION);
    format!(
        r##"# What `driftd demo` ran with. Its target lived inside the demo and is gone; the journal beside
# this file is not: `driftd drift --config {CONFIG}` still tells what was found.

[journal]
path = "driftd.journal"

[shutdown]
grace = "5s"

# The store being left: an ordinary SQLite file.
[stores.shop]
kind = "sqlite"
path = "{SOURCE}"

# The store being moved to: a DynamoDB API.
[stores.{TARGET_STORE}]
kind = "dynamodb"
region = "{region}"
endpoint = {endpoint}
segments = 4

# Both shape users differently; the plugin maps both shapes to one, and checks two rules.
[plugins.users]
path = "{PLUGIN}"

[pairings.users]
leader = "source"
plugin = "users"
source = {{ store = "shop", relation = "{source}", key = {{ id = "{{id}}" }} }}
target = {{ store = "{TARGET_STORE}", relation = "{target}", key = {{ pk = "TENANT#{{tenant}}", sk = "USER#{{id}}" }} }}

# Short, because nobody wants to watch a demo for long: a production migration is read slowly.
[passes]
partition_rows = 2_000
rest = "1s"
seed = {seed}

# A change may take {LAG_BUDGET} s to arrive. Only what stood still for longer, over at least three looks, is drift.
[settle]
lag_budget = "{LAG_BUDGET}s"
settle = "4s"
first_wait = "250ms"
wait_max = "1s"
looks_max = 100
crowd = 5_000

# When to stop the migration, and how.
[abort]
mode = "armed"

[abort.criteria.{CRITERION}]
pairing = "users"
drift = {{ kinds = ["missing", "stale"], at_least = {AT_LEAST} }}
hooks = ["{HOOK}"]

# Yours would turn the reads back to the source. This one writes down the event that it is handed.
[hooks.{HOOK}]
command = ["{tee}", {output}]

[telemetry]
service = "driftd-demo"
log = {{ level = "error" }}

# Nothing leaves this machine, so keys may be told as they are.
[events]
sink = {{ file = "{EVENTS}" }}
keys = "plain"
"##
    )
}
