//! Hooks with real programs.
//!
//! Owns tests through [`run`] and [`wait_for_predecessor`]. Refuses to time anything:
//! what must wait, waits on a named pipe. Invariant: every test works in a directory of its own.

use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::model::{HookState, Moment};

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    /// A named pipe, which whoever opens it waits on.
    fn pipe(&self) -> PathBuf {
        self.named_pipe("pipe")
    }

    fn named_pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        path
    }

    /// A hook that is this shell script, with `$D` for the directory.
    fn script(&self, script: &str) -> Settings {
        let path = self.path("script");
        std::fs::write(&path, script).unwrap();
        let command = ["/bin/sh".to_owned(), path.display().to_string()];
        let mut settings = settings(&command);
        settings.environment.insert("D".to_owned(), self.0.path().display().to_string());
        settings
    }

    async fn run(&self, settings: &Settings) -> HookEnd {
        run(settings, &job(), b"{}", "key-1", &self.journal()).await
    }

    /// Begins a run, waits until it has written the file `begun`, and abandons it.
    async fn abandon(&self, settings: &Settings) {
        let begun = self.path("begun");
        let wait = async {
            while !begun.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            end = self.run(settings) => panic!("{end}"),
            () = wait => {}
        }
    }
}

fn settings(command: &[String]) -> Settings {
    Settings {
        name: "flip back".to_owned(),
        command: command.to_vec(),
        environment: BTreeMap::new(),
        directory: None,
        timeout: LONG,
        deadline: LONG,
        backoff: Duration::from_secs(1),
    }
}

fn job() -> HookJob {
    HookJob {
        id: 1,
        hook: "flip back".to_owned(),
        criterion: "too much".to_owned(),
        occurrence: 7,
        since: Moment(0),
        state: HookState::Pending,
        tries: 1,
        due: Moment(0),
        last: None,
        test: false,
    }
}

/// Lets one process that waits on the pipe go on.
async fn release(pipe: &Path) {
    tokio::fs::write(pipe, "go\n").await.unwrap();
}

#[tokio::test]
async fn exit_codes_and_signals_are_told_apart() {
    let place = Place::new();
    for (script, ending, text) in [
        ("exit 0", Ending::Succeeded, "succeeded"),
        ("exit 3", Ending::Failed(3), "failed with exit code 3"),
        ("kill -9 $$", Ending::Killed(9), "was ended by signal 9"),
    ] {
        let end = place.run(&place.script(script)).await;
        assert_eq!(end.succeeded(), ending == Ending::Succeeded);
        assert_eq!((end.ending.clone(), end.to_string()), (ending, text.to_owned()));
    }
}

#[tokio::test]
async fn the_end_of_its_output_is_kept() {
    let place = Place::new();
    let end = place.run(&place.script("echo fine; echo 'no such flag' >&2; exit 1")).await;
    assert_eq!((end.stdout.as_str(), end.stderr.as_str()), ("fine", "no such flag"));
    assert_eq!(end.to_string(), "failed with exit code 1; its last words: no such flag");

    let flood = "head -c 5000000 /dev/zero | tr '\\0' x | tee /dev/stderr; echo end; echo end >&2";
    let end = place.run(&place.script(flood)).await;
    assert_eq!(end.ending, Ending::Succeeded);
    for tail in [end.stdout, end.stderr] {
        assert!(tail.len() <= 4096 && tail.len() > 4000 && tail.ends_with("xend"), "{tail}");
    }
}

#[tokio::test]
async fn the_event_is_its_input() {
    let place = Place::new();
    let event = vec![b'e'; 1 << 20];
    for (script, stdout) in [("wc -c", "1048576"), ("exec <&-; echo closed", "closed")] {
        let settings = place.script(script);
        let end = run(&settings, &job(), &event, "key-1", &place.journal()).await;
        assert_eq!((end.ending, end.stdout.as_str()), (Ending::Succeeded, stdout));
    }
    let settings = settings(&["cat".to_owned()]);
    let end = run(&settings, &job(), b"{\"id\":1}\n", "key-1", &place.journal()).await;
    assert_eq!(end.stdout, "{\"id\":1}");
}

#[tokio::test]
async fn its_environment_is_only_what_is_configured() {
    let place = Place::new();
    let mut settings = settings(&["env".to_owned()]);
    settings.environment.insert("REGION".to_owned(), "eu".to_owned());
    settings.environment.insert("DRIFTD_HOOK".to_owned(), "forged".to_owned());
    let lines = |end: HookEnd| {
        let mut lines: Vec<_> = end.stdout.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let mut expected = vec![
        "DRIFTD_CRITERION=too much",
        "DRIFTD_HOOK=flip back",
        "DRIFTD_IDEMPOTENCY_KEY=key-1",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "REGION=eu",
    ];
    assert_eq!(lines(place.run(&settings).await), expected);
    expected.insert(3, "DRIFTD_TEST=1");
    let test = HookJob { test: true, ..job() };
    let end = run(&settings, &test, b"{}", "key-1", &place.journal()).await;
    assert_eq!(lines(end), expected);
}

#[tokio::test]
async fn the_lock_is_the_only_file_that_it_inherits() {
    let place = Place::new();
    let _other = std::fs::File::create(place.path("other")).unwrap();
    let settings = place.script("for f in /proc/$$/fd/*; do readlink $f; done");
    let end = place.run(&settings).await;
    let directory = place.0.path().to_str().unwrap();
    let mut files: Vec<_> = end.stdout.lines().filter(|line| line.starts_with(directory)).collect();
    files.sort_unstable();
    let lock = place.path("journal.hook-flip%20back.lock");
    // The shell has the script open itself.
    let script = place.path("script");
    assert_eq!(files, [lock.to_str().unwrap(), script.to_str().unwrap()]);
}

#[tokio::test]
async fn its_directory_is_the_configured_one() {
    let place = Place::new();
    let mut settings = settings(&["pwd".to_owned()]);
    assert_eq!(place.run(&settings).await.stdout, "/");
    let directory = place.0.path().canonicalize().unwrap();
    settings.directory = Some(directory.clone());
    assert_eq!(place.run(&settings).await.stdout, directory.display().to_string());
    settings.directory = Some(place.path("none"));
    let end = place.run(&settings).await.to_string();
    assert!(end.contains("working directory") && end.contains("does not exist"), "{end}");
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new();
    let file = |name: &str, mode: u32, content: &str| {
        let path = place.path(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    for (program, why) in [
        (place.path("none").display().to_string(), "does not exist"),
        (place.0.path().display().to_string(), "is not a file"),
        (file("plain", 0o644, "#!/bin/sh\n"), "is not executable"),
        (file("odd", 0o755, "echo no first line"), "is neither a program nor a script"),
        (file("lost", 0o755, "#!/no/such/shell\n"), "was refused by the system"),
        ("no-such-program".to_owned(), "is in none of /usr/local/bin:/usr/bin:/bin"),
        ("bin/relative".to_owned(), "write its whole path"),
        (String::new(), "set `command`"),
    ] {
        let end = place.run(&settings(&[program])).await;
        assert!(matches!(end.ending, Ending::NotStarted(_)), "{end}");
        assert!(end.to_string().contains(why), "{end}");
    }
    // None of these keeps the lock.
    assert!(place.run(&settings(&["true".to_owned()])).await.succeeded());
}

#[tokio::test]
async fn a_lock_file_that_cannot_be_made_is_an_error_with_words() {
    let place = Place::new();
    let journal = place.path("none").join("journal");
    let end = run(&settings(&["true".to_owned()]), &job(), b"{}", "key-1", &journal).await;
    assert!(end.to_string().contains("lock file"), "{end}");
}

#[tokio::test]
async fn a_timeout_asks_first() {
    let place = Place::new();
    let pipe = place.pipe();
    let script = "trap 'echo stopping >&2; exit 0' TERM; : > $D/begun; read x < $D/pipe & wait";
    // Long enough for the shell to set its trap on a busy machine.
    let timeout = Duration::from_secs(2);
    let settings = Settings { timeout, ..place.script(script) };
    let end = place.run(&settings).await;
    assert_eq!((end.ending, end.stderr.as_str()), (Ending::TimedOut(timeout), "stopping"));
    assert!(pipe.exists());
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group() {
    let place = Place::new();
    place.pipe();
    // Neither the script nor what it starts listens, and both hold the lock.
    let script = "trap '' TERM; (read x < $D/pipe) & read y < $D/pipe; echo survived";
    let settings = Settings { timeout: SHORT, ..place.script(script) };
    let end = place.run(&settings).await;
    assert_eq!((end.ending, end.stdout.as_str()), (Ending::TimedOut(SHORT), ""));
    wait_for_predecessor(&settings, &place.journal(), LONG).await.unwrap();
}

#[tokio::test]
async fn what_it_leaves_running_does_not_hold_up_the_next() {
    let place = Place::new();
    let pipe = place.pipe();
    let script = "(read x < $D/pipe) & echo started";
    let settings = Settings { timeout: LONG, ..place.script(script) };
    let end = place.run(&settings).await;
    assert_eq!((end.ending, end.stdout.as_str()), (Ending::Succeeded, "started"));
    wait_for_predecessor(&settings, &place.journal(), Duration::ZERO).await.unwrap();
    release(&pipe).await;
}

/// What an abandoned run leaves behind is what a killed daemon leaves behind: the child, its lock, and
/// nobody who waits for it.
#[tokio::test]
async fn a_second_copy_waits_for_the_first() {
    let place = Place::new();
    let pipe = place.pipe();
    let script = "echo begin >> $D/log; : > $D/begun; read x < $D/pipe; echo end >> $D/log";
    let settings = place.script(script);
    place.abandon(&settings).await;

    let impatient = Settings { timeout: SHORT, ..settings.clone() };
    let end = place.run(&impatient).await;
    assert!(matches!(end.ending, Ending::Occupied(Some(_))), "{end}");
    assert!(end.to_string().contains("see to process"), "{end}");
    let other = Settings { name: "other".to_owned(), ..settings.clone() };
    wait_for_predecessor(&other, &place.journal(), Duration::ZERO).await.unwrap();

    let mut second = pin!(place.run(&settings));
    tokio::select! {
        biased;
        end = &mut second => panic!("{end}"),
        () = release(&pipe) => {}
    }
    let begun_again = async {
        // Until the first has closed the pipe, it might take what is meant for the second.
        while !std::fs::read_to_string(place.path("log")).unwrap().ends_with("end\nbegin\n") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        release(&pipe).await;
    };
    let end = tokio::join!(second, begun_again).0;
    assert!(end.succeeded(), "{end}");
    let log = std::fs::read_to_string(place.path("log")).unwrap();
    assert_eq!(log, "begin\nend\nbegin\nend\n");
}

#[tokio::test]
async fn the_lock_lives_until_the_last_descendant_ends() {
    let place = Place::new();
    let pipes = [place.named_pipe("script-waits"), place.named_pipe("child-waits")];
    let script = "(read x < $D/child-waits) > /dev/null 2>&1 & \
        : > $D/begun; read x < $D/script-waits";
    let settings = place.script(script);
    place.abandon(&settings).await;
    for pipe in pipes {
        let held = wait_for_predecessor(&settings, &place.journal(), SHORT).await;
        assert!(matches!(held, Err(Ending::Occupied(_))), "{held:?}");
        release(&pipe).await;
    }
    wait_for_predecessor(&settings, &place.journal(), LONG).await.unwrap();
}
