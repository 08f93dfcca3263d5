//! Where drift events go: a file, standard output, or nowhere.
//!
//! Owns the open file. Refuses to swallow a failure, and to know which events were delivered: the
//! journal does. Invariant: a write that was acknowledged is on disk, whole lines of it; what was torn
//! by a crash or a full disk ends with a line of its own, which is no JSON, and is written again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::report::EventSink;

/// Drift events could not be delivered. They stay in the journal; delivering goes on from there.
#[derive(Debug, thiserror::Error)]
#[error("drift events: cannot {doing} {}; {}", place(path.as_deref()), remedy(source, path.is_some()))]
pub struct SinkError {
    /// What was being done.
    pub doing: &'static str,
    /// The file; none: standard output.
    pub path: Option<PathBuf>,
    /// Why it failed.
    pub source: io::Error,
}

fn place(path: Option<&Path>) -> String {
    path.map_or_else(|| "standard output".to_owned(), |path| format!("`{}`", path.display()))
}

fn remedy(error: &io::Error, file: bool) -> &'static str {
    let known = REMEDIES.iter().find(|(kind, _)| *kind == error.kind());
    match (known, file) {
        (Some((_, remedy)), _) => remedy,
        (None, true) => "check the file and its file system",
        (None, false) => "check what standard output is connected to",
    }
}

const REMEDIES: [(io::ErrorKind, &str); 6] = [
    (io::ErrorKind::StorageFull, "free some space on its file system"),
    (io::ErrorKind::QuotaExceeded, "free some space on its file system"),
    (
        io::ErrorKind::PermissionDenied,
        "let driftd's user write it, or set `events.sink` to another file",
    ),
    (io::ErrorKind::NotFound, "create its directory, or set `events.sink` to another file"),
    (io::ErrorKind::BrokenPipe, "what reads the events has gone: start it again with driftd"),
    (io::ErrorKind::InvalidInput, "set `events.sink` to a regular file, or to standard output"),
];

/// An open sink of drift events. Its calls block.
#[derive(Debug)]
pub struct Sink {
    /// The file; none: standard output, or nowhere.
    path: Option<PathBuf>,
    /// None: nowhere.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// A disk file: it can be synced, and deleted.
    regular: bool,
    /// The last write ended within a line.
    torn: bool,
}

impl Sink {
    /// Opens the sink. A file is created for its owner only; its directory must be there.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(settings: &EventSink) -> Result<Self, SinkError> {
        Ok(match settings {
            EventSink::File(path) => Self { path: Some(path.clone()), open: Some(Open::at(path)?) },
            EventSink::Stdout => Self { path: None, open: Some(Open::stdout()?) },
            EventSink::Journal => Self { path: None, open: None },
        })
    }

    /// Whether there is somewhere to deliver to. If not, events stay in the journal.
    #[must_use]
    pub const fn delivers(&self) -> bool {
        self.open.is_some()
    }

    /// Opens the file again by its name, after it was moved away.
    ///
    /// # Errors
    /// If that fails. Then the file that was open stays in use.
    pub fn reopen(&mut self) -> Result<(), SinkError> {
        if let Some(path) = &self.path {
            self.open = Some(Open::at(path)?);
        }
        Ok(())
    }

    /// Appends these events, numbered and in order, each as a line. When it returns, they are on disk
    /// (or have been taken by what reads standard output); nowhere takes them at once.
    ///
    /// # Errors
    /// If that failed. Some of them may have been written, and all must be written again.
    pub fn write(&mut self, events: &[(u64, Vec<u8>)]) -> Result<(), SinkError> {
        let (path, Some(open)) = (&self.path, &mut self.open) else { return Ok(()) };
        if events.is_empty() {
            return Ok(());
        }
        let failed = |doing, source| SinkError { doing, path: path.clone(), source };
        if let Some(path) = path
            && open.regular
            && open.file.metadata().map_err(|error| failed("look at", error))?.nlink() == 0
        {
            // A file that was deleted under us would take the events with it.
            *open = Open::at(path)?;
        }
        append(&mut open.file, &mut open.torn, &lines(events))
            .map_err(|error| failed("write to", error))?;
        if open.regular {
            open.file.sync_data().map_err(|error| failed("sync", error))?;
        }
        Ok(())
    }
}

impl Open {
    /// Standard output without the buffer of the standard library, which would keep what could not be
    /// written and write it later, between other lines.
    fn stdout() -> Result<Self, SinkError> {
        let failed = |source| SinkError { doing: "open", path: None, source };
        let file = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
        let regular = file.metadata().map_err(failed)?.is_file();
        Ok(Self { file, regular, torn: false })
    }

    fn at(path: &Path) -> Result<Self, SinkError> {
        let failed = |doing, source| SinkError { doing, path: Some(path.to_owned()), source };
        let before = match path.metadata() {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("look at", error)),
        };
        let regular = before.as_ref().is_none_or(std::fs::Metadata::is_file);
        // A pipe would block without a reader and keep nothing without one; a device is at least
        // asked for by name.
        if !regular && !before.as_ref().is_some_and(|file| file.file_type().is_char_device()) {
            let unfit = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(failed("append to", unfit));
        }
        let mut file = OpenOptions::new()
            .append(true)
            .read(regular)
            .create(regular)
            .mode(0o600)
            .open(path)
            .map_err(|error| failed("open", error))?;
        if regular && before.is_none() {
            // The name must survive a crash as the lines do.
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or_else(|| Path::new(".")))
                .and_then(|directory| directory.sync_all())
                .map_err(|error| failed("sync the directory of", error))?;
        }
        let torn = regular && ends_torn(&mut file).map_err(|error| failed("read", error))?;
        Ok(Self { file, regular, torn })
    }
}

/// Whether the file ends within a line.
fn ends_torn(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn lines(events: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(events.iter().map(|(_, bytes)| bytes.len() + 1).sum());
    for (_, bytes) in events {
        out.extend_from_slice(bytes);
        out.push(b'\n');
    }
    out
}

/// Writes all lines, and knows afterwards whether the last one was torn.
fn append(out: &mut impl Write, torn: &mut bool, lines: &[u8]) -> io::Result<()> {
    if *torn {
        out.write_all(b"\n")?;
        *torn = false;
    }
    let mut written = 0;
    while written < lines.len() {
        let failure = match out.write(&lines[written..]) {
            Ok(0) => io::Error::from(io::ErrorKind::WriteZero),
            Ok(more) => {
                written += more;
                *torn = lines[written - 1] != b'\n';
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => error,
        };
        return Err(failure);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn events(texts: &[&str]) -> Vec<(u64, Vec<u8>)> {
        (1..).zip(texts.iter().map(|text| text.as_bytes().to_vec())).collect()
    }

    fn open(path: &Path) -> Result<Sink, SinkError> {
        Sink::open(&EventSink::File(path.to_owned()))
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_is_private_and_grows_by_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        open(&path).unwrap().write(&events(&["{1}", "{2}"])).unwrap();
        open(&path).unwrap().write(&events(&["{3}"])).unwrap();
        assert_eq!(read(&path), "{1}\n{2}\n{3}\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_line_torn_by_a_crash_stays_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.jsonl");
        std::fs::write(&path, "{1}\n{\"id\":").unwrap();
        let mut sink = open(&path).unwrap();
        sink.write(&events(&["{2}"])).unwrap();
        sink.write(&events(&["{3}"])).unwrap();
        assert_eq!(read(&path), "{1}\n{\"id\":\n{2}\n{3}\n");
    }

    #[test]
    fn a_moved_or_deleted_file_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("events"), directory.path().join("events.1"));
        let mut sink = open(&path).unwrap();
        sink.write(&events(&["{1}"])).unwrap();
        std::fs::rename(&path, &moved).unwrap();
        sink.write(&events(&["{2}"])).unwrap();
        sink.reopen().unwrap();
        sink.write(&events(&["{3}"])).unwrap();
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("{1}\n{2}\n", "{3}\n"));
        std::fs::remove_file(&path).unwrap();
        sink.write(&events(&["{4}"])).unwrap();
        assert_eq!(read(&path), "{4}\n");
    }

    #[test]
    fn failures_name_the_place_and_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent").join("events");
        let text = open(&absent).unwrap_err().to_string();
        assert!(text.contains("absent/events") && text.contains("create its directory"), "{text}");

        let text = open(directory.path()).unwrap_err().to_string();
        assert!(text.contains("regular file"), "{text}");

        let mut full = open(Path::new("/dev/full")).unwrap();
        let error = full.write(&events(&["{1}"])).unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("`/dev/full`; free some space"), "{error}");
    }

    #[test]
    fn nowhere_takes_nothing_and_says_so() {
        let sink = Sink::open(&EventSink::Journal).unwrap();
        assert!(!sink.delivers());
    }

    /// Takes `room` bytes, then fails, until it is given more room.
    struct Narrow {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let len = bytes.len().min(self.room - self.taken.len());
            if len == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.taken.extend_from_slice(&bytes[..len]);
            Ok(len)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn wherever_the_disk_fills_up_every_event_is_a_line_in_the_end() {
        let lines = lines(&events(&["{1}", "{22}", "{333}"]));
        for room in 0..lines.len() {
            let (mut out, mut torn) = (Narrow { taken: Vec::new(), room }, false);
            append(&mut out, &mut torn, &lines).unwrap_err();
            out.room = 1_000;
            append(&mut out, &mut torn, &lines).unwrap();
            let text = String::from_utf8(out.taken).unwrap();
            assert!(text.ends_with("{1}\n{22}\n{333}\n"), "{room}: {text}");
            assert!(text.lines().all(|line| !line.is_empty()), "{room}: {text}");
        }
    }
}
