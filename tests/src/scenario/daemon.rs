//! A running daemon.
//!
//! Owns the process, its log and its end. Refuses to guess its port: the daemon says it. Invariant: it
//! is killed when its handle is dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::until_some;

/// Which line of the log says where it listens.
const LISTENS: &str = "health and metrics are served address=";

/// A daemon that was started.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    out: Arc<Mutex<String>>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub code: u16,
    /// Its body.
    pub body: String,
}

impl Page {
    /// Its body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

impl Daemon {
    pub(super) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (log, out) = (Arc::default(), Arc::default());
        let readers = vec![
            read(child.stderr.take().unwrap(), &log),
            read(child.stdout.take().unwrap(), &out),
        ];
        Self { child, log, out, readers, ended: None }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn out(&self) -> String {
        self.out.lock().unwrap().clone()
    }

    /// Waits for a line of the log that holds all of `words`, and returns it.
    pub async fn logged(&mut self, words: &[&str]) -> String {
        until_some(&format!("the log says {words:?}"), async || self.line(words)).await
    }

    /// The first line of the log that holds all of `words`.
    #[must_use]
    pub fn line(&self, words: &[&str]) -> Option<String> {
        let log = self.log();
        let found = log.lines().find(|line| words.iter().all(|word| line.contains(word)));
        found.map(str::to_owned)
    }

    /// Asks over HTTP; none: it does not answer (yet).
    pub async fn page(&self, path: &str) -> Option<Page> {
        let line = self.line(&[LISTENS])?;
        let (_, address) = line.split_once(LISTENS)?;
        let mut stream = TcpStream::connect(address.trim()).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: driftd\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let code = head.split(' ').nth(1)?.parse().ok()?;
        Some(Page { code, body: body.to_owned() })
    }

    /// Waits until it says that it is ready.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn ready(&mut self) {
        loop {
            let page = until_some("readyz answers, or the daemon has ended", async || {
                let ended = self.log().contains("error: ");
                match self.page("/readyz").await {
                    Some(page) if page.code == 200 => Some(Some(page)),
                    _ if ended => Some(None),
                    _ => None,
                }
            })
            .await;
            assert!(page.is_some(), "the daemon did not start:\n{}", self.log());
            return;
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        if self.ended.is_none() {
            // It may have ended by itself.
            self.child.kill().ok();
            self.ended = Some(self.child.wait().unwrap());
        }
        for reader in self.readers.drain(..) {
            // Hooks that live on hold no pipe of ours.
            reader.join().unwrap();
        }
    }

    /// Waits for its end, and returns its exit code; none: a signal ended it.
    pub async fn end(&mut self) -> Option<i32> {
        let log = Arc::clone(&self.log);
        let child = &mut self.child;
        let begun = std::cell::Cell::new(0);
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            begun.set(begun.get() + 1);
            assert!(begun.get() < 2_000, "the daemon does not end:\n{}", log.lock().unwrap());
            tokio::time::sleep(super::ASK_EVERY).await;
        };
        self.ended = Some(status);
        self.kill();
        status.code()
    }

    /// Asks it to stop, and waits for its end.
    pub async fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.end().await
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "a test that failed shows what the daemon said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

/// Collects what `from` says.
fn read(from: impl Read + Send + 'static, into: &Arc<Mutex<String>>) -> JoinHandle<()> {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    })
}
