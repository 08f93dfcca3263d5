//! Programs that are measured, and the server that runs apart.
//!
//! Owns starting a child and reading from `/proc` what it used. Refuses to know what it does.
//! Invariant: a child is dead when its handle is dropped.

use std::ffi::OsStr;
use std::fmt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// How often a child's memory is read. The mark only rises, so only the last moments can be missed.
const WATCH: Duration = Duration::from_millis(10);

/// What one run used.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From start to end of the process.
    pub(crate) seconds: f64,
    /// Processor time of all threads.
    pub(crate) cpu: f64,
    /// Its peak resident memory.
    pub(crate) peak_kib: u64,
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
}

impl Run {
    pub(crate) fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1_024.0
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} s ({:.2} s CPU), {:.1} MiB", self.seconds, self.cpu, self.peak_mib())
    }
}

/// The run with the median time.
pub(crate) fn median(runs: &[Run]) -> Run {
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    runs[runs.len() / 2].clone()
}

/// The daemon, built from the same source with the same profile as this program.
pub(crate) const DRIFTD: &str = env!("CARGO_BIN_EXE_driftd-under-test");

/// Runs a program to its end.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub(crate) async fn measure(program: impl AsRef<OsStr>, arguments: &[&str]) -> Run {
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        // Of no account: the server takes any, and no other is to be looked for.
        .env("AWS_ACCESS_KEY_ID", "AKIDTEST")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let pid = child.id().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut output = String::new();
    let (mut peak_kib, mut ticks) = (0, 0);
    let read = stdout.read_to_string(&mut output);
    tokio::pin!(read);
    let mut reading = true;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status.unwrap(),
            done = &mut read, if reading => {
                done.unwrap();
                reading = false;
            }
            () = tokio::time::sleep(WATCH) => {}
        }
        peak_kib = peak(pid).unwrap_or(peak_kib);
        ticks = cpu_ticks(pid).unwrap_or(ticks);
    };
    let seconds = began.elapsed().as_secs_f64();
    if reading {
        read.await.unwrap();
    }
    // A tick is a hundredth of a second on every Linux that this runs on.
    Run { seconds, cpu: ticks as f64 / 100.0, peak_kib, code: status.code(), output }
}

/// Peak resident memory so far.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// Processor time so far, user's and system's.
fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(ticks()? + ticks()?)
}

/// A DynamoDB API in a process of its own.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    /// Killed when dropped.
    _child: Child,
}

impl Server {
    /// Starts one that holds `rows` items.
    pub(crate) async fn start(rows: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &rows.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).await.unwrap();
        Self { endpoint: endpoint.trim().to_owned(), _child: child }
    }
}
