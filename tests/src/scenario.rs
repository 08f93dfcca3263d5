//! Scenarios: the whole daemon as a process, against private servers.
//!
//! Owns a directory with a configuration, the commands that are run in it, and the waiting for what a
//! scenario expects. Refuses to wait for a time: it asks until the answer is there, and says what it
//! waited for when it never comes. Invariant: nothing of a scenario outlives it.
#![expect(clippy::unwrap_used, reason = "a helper of tests fails by panicking")]
#![expect(clippy::disallowed_methods, reason = "waits for another process, within a limit")]

mod daemon;
mod disk;
mod events;
pub mod siege;
pub mod users;

use std::cell::RefCell;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use daemon::{Daemon, Page};
pub use disk::SmallDisk;
pub use events::Events;

/// How long anything may take on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(100);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A directory with a configuration, and the program that runs there.
#[derive(Debug)]
pub struct Scenario {
    directory: TempDir,
    program: PathBuf,
    /// Put before the program: what limits it.
    before: Vec<String>,
}

/// What a command that ended has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its exit code; none: a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Scenario {
    /// One that runs `program`, with this configuration. Its journal and its file of drift events, as
    /// `Scenario::config` names them, lie in the same directory.
    #[must_use]
    pub fn new(program: &str, config: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("driftd-scenario-").tempdir().unwrap();
        let program = PathBuf::from(program);
        assert!(program.exists(), "{} is not built; build the workspace", program.display());
        let scenario = Self { directory, program, before: Vec::new() };
        scenario.write("driftd.toml", config);
        scenario
    }

    /// From now on, `words` stand before the program: `prlimit`, for example.
    pub fn before(&mut self, words: &[&str]) {
        self.before = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// A path in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file in its directory, whole or not at all.
    pub fn write(&self, name: &str, text: &str) {
        let draft = self.path(&format!("{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    /// What a file in its directory holds; nothing, if it is not there.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        match fs::read(self.path(name)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_missing) => String::new(),
        }
    }

    /// Waits until these findings, and perhaps others, are open.
    ///
    /// # Panics
    /// If they are not within [`PATIENCE`].
    pub async fn found(&self, expected: &[&str]) {
        let open = RefCell::new(Vec::new());
        let what = || format!("{expected:?} are found; open are {:?}", open.borrow());
        until_told(what, async || {
            let found = names(&self.findings(false).await);
            let all = expected.iter().all(|fault| found.iter().any(|name| name == fault));
            *open.borrow_mut() = found;
            all.then_some(())
        })
        .await;
    }

    /// Waits until nothing is open any more.
    pub async fn clean(&self) {
        until_some("every finding is resolved", async || {
            self.findings(false).await.is_empty().then_some(())
        })
        .await;
    }

    /// Waits for `count` events of a type in the file of drift events.
    pub async fn events_of(&self, kind: &str, count: usize) {
        until_some(&format!("there are {count} events of {kind}"), async || {
            (self.events().of(kind).len() >= count).then_some(())
        })
        .await;
    }

    /// Replaces a text of the configuration, which must be there.
    pub fn change(&self, from: &str, to: &str) {
        let config = self.read("driftd.toml");
        assert!(config.contains(from), "the configuration lacks {from}:\n{config}");
        self.write("driftd.toml", &config.replace(from, to));
    }

    /// The program with these arguments, in its directory, with nothing else in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        // The kernel kills it with the thread of the test.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .args(&self.before)
            .arg(&self.program)
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .envs([
                ("PATH", "/usr/bin:/bin"),
                ("AWS_ACCESS_KEY_ID", "AKIDTEST"),
                ("AWS_SECRET_ACCESS_KEY", "a secret, nothing else"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Starts `driftd run`.
    #[must_use]
    pub fn start(&self) -> Daemon {
        self.start_as(&["run"])
    }

    /// Starts a command that goes on for a while.
    #[must_use]
    pub fn start_as(&self, arguments: &[&str]) -> Daemon {
        Daemon::start(self.command(arguments))
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        // On a thread of its own the child would die with that thread, but it is waited for there.
        let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        Said::of(&ended)
    }

    /// Runs a command that must succeed, with `--json`, and returns what it prints.
    pub async fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let said = self.run(&all).await;
        assert_eq!(said.code, Some(0), "{all:?}: {said:?}");
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{all:?}: {error}: {said:?}"))
    }

    /// Open findings, or with `all` every one in the journal.
    pub async fn findings(&self, all: bool) -> Vec<Finding> {
        let arguments: &[&str] = if all { &["drift", "--all"] } else { &["drift"] };
        let listed = self.json(arguments).await;
        listed["findings"].as_array().unwrap().iter().cloned().map(Finding).collect()
    }

    /// The status of a pairing; null before the daemon has one.
    pub async fn status(&self, pairing: &str) -> Value {
        let status = self.json(&["status"]).await;
        let pairings = status["pairings"].as_array().unwrap();
        pairings.iter().find(|one| one["pairing"] == pairing).cloned().unwrap_or_default()
    }

    /// Waits until passes that begin after this call are complete: `more` of them.
    pub async fn passes(&self, pairing: &str, more: u64) {
        let passes = |status: &Value| status["passes"].as_u64().unwrap_or_default();
        // The one under way began before.
        let until = passes(&self.status(pairing).await) + 1 + more;
        until_some("passes are complete", async || {
            (passes(&self.status(pairing).await) >= until).then_some(())
        })
        .await;
    }

    /// The events in the file `events.jsonl`.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::parse(&self.read("events.jsonl"))
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Said {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A finding as `driftd drift --json` prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding(pub Value);

impl Finding {
    /// Its kind and key, such as `missing [7]`. A row that the mapping rejects is named by its place: its
    /// key is known only from the other side.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = self.0["kind"].as_str().unwrap();
        let place = || self.0["target_at"][0].as_str().or_else(|| self.0["source_at"][0].as_str());
        let key = self.0["key"].as_str().filter(|_| kind != "unmappable");
        format!("{kind} {}", key.or_else(place).unwrap())
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0["finding"].as_u64().unwrap()
    }
}

/// The names of findings, sorted.
#[must_use]
pub fn names(findings: &[Finding]) -> Vec<String> {
    let mut names: Vec<_> = findings.iter().map(Finding::name).collect();
    names.sort();
    names
}

/// Asks until there is an answer.
///
/// # Panics
/// If there is none within [`PATIENCE`].
pub async fn until_some<T, F: Future<Output = Option<T>>>(what: &str, ask: impl FnMut() -> F) -> T {
    until_told(|| what.to_owned(), ask).await
}

/// Asks another process until there is an answer, at short intervals: it has no other way to say so.
/// `what` is said if there is none in time.
async fn until_told<T, F: Future<Output = Option<T>>>(
    what: impl Fn() -> String,
    mut ask: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {}", what());
        tokio::time::sleep(ASK_EVERY).await;
    }
}
