//! What a whole pass costs, beside reading the same rows and throwing them away.
//!
//! Owns the cases, the alternating runs and what is printed; the README beside this file says how to
//! run them and what they gave. Refuses to measure itself: what is measured is the `driftd` program
//! and a bare reader, each in a process of its own. Invariant: a run of `driftd` counts only if it
//! verified every row as the same.

#![expect(clippy::print_stdout, reason = "that is what a benchmark is for")]
#![expect(clippy::print_stderr, reason = "progress, apart from the figures")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has failed")]

mod bare;
mod child;
mod data;
mod files;
mod siege;

use std::path::Path;

use driftd_tests::mariadb;

use crate::child::Run;

const USAGE: &str = "\
cases: mapping ROWS [RUNS]   MariaDB to MariaDB, built-in mapping
       plugin ROWS [RUNS]    MariaDB to MariaDB, `users` plugin
       lookup ROWS [RUNS]    MariaDB to DynamoDB, `users` plugin
       memory [SMALL LARGE]  peak memory of all three at two sizes
       hostile MINUTES       every hostile plugin at once, beside a healthy pairing";

fn main() {
    // Cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.replace('_', "").parse::<u64>().expect(USAGE);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        match words.as_slice() {
            ["bare", rest @ ..] => bare::run(rest).await,
            ["serve", rows] => data::serve(number(rows)).await,
            ["hostile", minutes] => siege::run(number(minutes)).await,
            ["memory"] => memory(200_000, 2_000_000).await,
            ["memory", small, large] => memory(number(small), number(large)).await,
            [case, rows] => compare(Case::of(case), number(rows), 5).await,
            [case, rows, runs] => compare(Case::of(case), number(rows), number(runs)).await,
            _ => eprintln!("{USAGE}"),
        }
    });
}

/// What is read, and how it is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Mapping,
    Plugin,
    Lookup,
}

impl Case {
    fn of(word: &str) -> Self {
        match word {
            "mapping" => Self::Mapping,
            "plugin" => Self::Plugin,
            "lookup" => Self::Lookup,
            other => panic!("no case `{other}`\n{USAGE}"),
        }
    }

    /// What the bare reader is told to read.
    fn bare(self) -> &'static str {
        match self {
            Self::Mapping => "copy",
            Self::Plugin => "items",
            Self::Lookup => "lookup",
        }
    }
}

/// The servers of a case. They end when this is dropped.
struct Servers {
    mariadb: mariadb::Server,
    dynamodb: Option<child::Server>,
}

impl Servers {
    async fn start(case: Case, rows: u64) -> Self {
        eprintln!("making {rows} rows");
        let mariadb = mariadb::Server::start_with(&[
            "--innodb-buffer-pool-size=2G",
            "--innodb-log-file-size=512M",
            "--max-statement-time=0",
        ])
        .await;
        data::fill(&mariadb, rows, case).await;
        let dynamodb = match case {
            Case::Lookup => Some(child::Server::start(rows).await),
            Case::Mapping | Case::Plugin => None,
        };
        Self { mariadb, dynamodb }
    }

    fn endpoint(&self) -> &str {
        self.dynamodb.as_ref().map_or("-", |server| server.endpoint.as_str())
    }

    async fn driftd(&self, case: Case, directory: &Path, rows: u64) -> Run {
        files::write(directory, case, self);
        let config = directory.join("driftd.toml");
        let config = config.to_str().unwrap();
        let run = child::measure(child::DRIFTD, &["verify", "--json", "--config", config]).await;
        assert_eq!(run.code, Some(0), "not verified same:\n{}", run.output);
        let said: serde_json::Value = serde_json::from_str(&run.output).unwrap();
        // A lookup reads every entity once in each direction, and counts it once.
        let pairing = &said["pairings"][0];
        let read = if case == Case::Lookup { 2 * rows } else { rows };
        for (what, count) in [("same", rows), ("source_rows", read), ("target_rows", read)] {
            assert_eq!(pairing[what].as_u64(), Some(count), "{what}: {}", run.output);
        }
        run
    }

    async fn bare(&self, case: Case, rows: u64) -> Run {
        let port = self.mariadb.port.to_string();
        let program = std::env::current_exe().unwrap();
        let rows = rows.to_string();
        let run =
            child::measure(program, &["bare", case.bare(), &port, &rows, self.endpoint()]).await;
        assert_eq!(run.code, Some(0), "{}", run.output);
        run
    }
}

/// Alternating runs of both, their medians, and the ratio.
async fn compare(case: Case, rows: u64, runs: u64) {
    let servers = Servers::start(case, rows).await;
    let mut bare = Vec::new();
    let mut driftd = Vec::new();
    // The first two warm the server's cache and are not counted.
    for run in 0..=runs {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) =
            (servers.bare(case, rows).await, servers.driftd(case, directory.path(), rows).await);
        println!("{}: bare {one}; driftd {two}", if run == 0 { "warming" } else { "run" });
        if run > 0 {
            bare.push(one);
            driftd.push(two);
        }
    }
    let (bare, driftd) = (child::median(&bare), child::median(&driftd));
    let rate = |run: &Run| rows as f64 / run.seconds;
    println!(
        "{case:?}, {rows} rows on each side, median of {runs}: bare {:.0} rows/s, driftd {:.0} \
         rows/s, {:.0} %; CPU {:.2} s and {:.2} s; driftd's peak {:.1} MiB",
        rate(&bare),
        rate(&driftd),
        100.0 * bare.seconds / driftd.seconds,
        bare.cpu,
        driftd.cpu,
        driftd.peak_mib()
    );
}

/// Peak memory at two sizes.
async fn memory(small: u64, large: u64) {
    for case in [Case::Mapping, Case::Plugin, Case::Lookup] {
        let mut peaks = Vec::new();
        for rows in [small, large] {
            let servers = Servers::start(case, rows).await;
            for _ in 0..3 {
                let directory = tempfile::tempdir().unwrap();
                peaks.push((rows, servers.driftd(case, directory.path(), rows).await.peak_mib()));
            }
        }
        let most = |of: u64| {
            let peaks = peaks.iter().filter(|(rows, _)| *rows == of).map(|(_, peak)| *peak);
            peaks.fold(0.0, f64::max)
        };
        println!(
            "{case:?}: {:.1} MiB at {small} rows, {:.1} MiB at {large} rows ({:+.1} %); all: {:?}",
            most(small),
            most(large),
            100.0 * (most(large) / most(small) - 1.0),
            peaks.iter().map(|(_, peak)| peak.round()).collect::<Vec<_>>()
        );
    }
}
