//! Compiled plugins, kept in a directory.
//!
//! Owns the files of that directory, each under a key of the code and of everything that compiled it, and
//! how many there are. Refuses to run what this user's driftd did not write. Invariant: whatever is wrong
//! with a file or with the directory, the code is compiled as if there were none.
//!
//! A compiled plugin is native code, so running a file that somebody else wrote would hand the process
//! over. Who can write here can do that already: the directory and its files belong to the user that driftd
//! runs as, and nobody else may write them, or they are not looked at. Against chance (a torn write, a bad
//! disk, another version or processor) stand the key and a hash over every byte; what is run are the bytes
//! that were hashed, not the file. wasmtime then checks version, settings and processor once more. Of
//! processes that start at once one writes at a time, under a lock of the directory.

use std::fs::{DirBuilder, File};
use std::hash::{Hash as _, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use wasmtime::Engine;
use wasmtime::component::Component;

/// What a file begins with; another form of it has another number.
const MAGIC: &[u8; 16] = b"driftd compiled\x01";
/// Magic, key, and the hash of what follows.
const HEADER_BYTES: usize = MAGIC.len() + 32 + 32;
/// A larger file is none of ours; those of the largest languages have 32 MB.
const FILE_BYTES: u64 = 256 << 20;
/// All files together; beyond, those go that were not read for the longest time.
const ALL_BYTES: u64 = 512 << 20;
/// What is left free for others: the journal lies on the same disk, and must not be in want of it.
const ROOM_BYTES: u64 = 256 << 20;
/// What the names of files end with.
const SUFFIX: &str = ".compiled";
/// What the one ends with that is being written; one at any other time was never finished.
const NEW: &str = ".new";

/// A directory of compiled plugins.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    bytes_max: u64,
    room: u64,
    /// Whether it was said that nothing can be kept.
    has_complained: AtomicBool,
}

/// Names a plugin's code together with all that decides what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key(blake3::Hash);

impl Key {
    fn new(engine: &Engine, component: &[u8]) -> Self {
        /// wasmtime hands its version, settings and processor to a hasher of the standard library.
        struct Hashing(blake3::Hasher);
        impl Hasher for Hashing {
            fn write(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            fn finish(&self) -> u64 {
                0
            }
        }
        let mut hasher = Hashing(blake3::Hasher::new_derive_key("driftd 2026 compiled plugins"));
        hasher.0.update(blake3::hash(component).as_bytes());
        hasher.0.update(env!("CARGO_PKG_VERSION").as_bytes());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self(hasher.0.finalize())
    }

    fn file(self) -> String {
        format!("{}{SUFFIX}", self.0.to_hex())
    }

    /// The hash of a body that belongs to this key.
    fn seal(self, body: &[u8]) -> blake3::Hash {
        blake3::keyed_hash(self.0.as_bytes(), body)
    }
}

impl Cache {
    /// The cache in `directory`, which need not be there yet.
    pub(super) fn new(directory: PathBuf) -> Self {
        let (bytes_max, room) = (ALL_BYTES, ROOM_BYTES);
        Self { directory, bytes_max, room, has_complained: AtomicBool::new(false) }
    }

    /// A component, compiled now or earlier.
    ///
    /// # Errors
    /// If it cannot be compiled.
    pub(super) fn component(
        &self,
        engine: &Engine,
        component: &[u8],
    ) -> wasmtime::Result<Component> {
        let key = Key::new(engine, component);
        match self.read(engine, key) {
            Ok(Some(component)) => return Ok(component),
            Ok(None) => {}
            Err(error) => self.complain(&error),
        }
        let component = Component::from_binary(engine, component)?;
        match component.serialize() {
            Ok(body) => self.write(key, &body).unwrap_or_else(|error| self.complain(&error)),
            Err(error) => self.complain(&io::Error::other(format!("{error:#}"))),
        }
        Ok(component)
    }

    /// Says once that plugins are compiled at every start.
    fn complain(&self, error: &io::Error) {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "driftd",
                directory = %self.directory.display(),
                %error,
                "compiled plugins are not kept, so every start compiles them; name another directory in \
                 [sandbox] cache"
            );
        }
    }

    /// What was kept under a key; none where there is nothing, or nothing that can be relied on.
    fn read(&self, engine: &Engine, key: Key) -> io::Result<Option<Component>> {
        let Some(directory) = self.open()? else { return Ok(None) };
        let file = opened(&directory, &key.file())?;
        let Some(body) = file.map(|file| body(file, key)).transpose()?.flatten() else {
            return Ok(None);
        };
        #[expect(
            unsafe_code,
            reason = "the bytes are what driftd wrote under this key, in a directory that nobody but its \
                      user can write: see the head of this file"
        )]
        // SAFETY: `body` was serialized by an engine of the same version and settings, which the key
        // holds, and is whole, which its hash shows. It lies in memory of this process alone.
        let component = unsafe { Component::deserialize(engine, &body) };
        match component {
            Ok(component) => Ok(Some(component)),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::debug!(target: "driftd", error, "a compiled plugin does not fit; it is compiled anew");
                Ok(None)
            }
        }
    }

    /// The directory, if it is there; what is looked at is what is used from then on.
    fn open(&self) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(&self.directory, flags, Mode::empty()) {
            Ok(directory) => File::from(directory),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let metadata = directory.metadata()?;
        let what = if metadata.uid() != rustix::process::geteuid().as_raw() {
            "it belongs to another user"
        } else if metadata.mode() & 0o022 != 0 {
            "others may write to it"
        } else {
            return Ok(Some(directory));
        };
        Err(io::Error::other(what))
    }

    /// The directory, made if what it lies in is this user's.
    fn make(&self) -> io::Result<File> {
        if let Some(directory) = self.open()? {
            return Ok(directory);
        }
        let around = self.directory.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        // A relative path with nothing around it begins where the process is.
        let around = around.chain([Path::new(".")]).find(|path| path.exists());
        let around = around.unwrap_or(&self.directory).metadata()?;
        if around.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::other("what it would lie in belongs to another user"));
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        self.open()?.ok_or_else(|| Errno::NOENT.into())
    }

    /// Keeps a compiled component. A file appears whole or not at all; while another process writes here,
    /// nothing is kept: the next start does.
    fn write(&self, key: Key, body: &[u8]) -> io::Result<()> {
        if body.len() as u64 + HEADER_BYTES as u64 > FILE_BYTES.min(self.bytes_max) {
            return Ok(());
        }
        let directory = self.make()?;
        let disk = rustix::fs::fstatvfs(&directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < self.room.saturating_add(body.len() as u64) {
            let free = free >> 20;
            return Err(io::Error::other(format!("of its disk only {free} MiB are free")));
        }
        match rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        self.sweep(&directory, body.len() as u64 + HEADER_BYTES as u64)?;
        let (new, name) = (format!("{}{NEW}", key.0.to_hex()), key.file());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(&directory, &new, flags, Mode::from(0o600))?);
        let written = [MAGIC, key.0.as_bytes().as_slice(), key.seal(body).as_bytes(), body]
            .into_iter()
            .try_for_each(|part| file.write_all(part))
            .and_then(|()| file.sync_all());
        let kept =
            written.and_then(|()| Ok(rustix::fs::renameat(&directory, &new, &directory, &name)?));
        if kept.is_err() {
            // The next that writes sweeps it away otherwise.
            drop(std::fs::remove_file(self.directory.join(&new)));
        }
        kept
    }

    /// Makes room for `more` bytes: what was never finished goes, then what was read longest ago.
    fn sweep(&self, directory: &File, more: u64) -> io::Result<()> {
        let remove = |name: &str| match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(io::Error::from(error)),
        };
        let (mut kept, mut bytes) = (Vec::new(), more);
        for entry in rustix::fs::Dir::read_from(directory)? {
            let entry = entry?;
            // What is named otherwise is nobody's here.
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.ends_with(NEW) {
                remove(name)?;
            } else if name.ends_with(SUFFIX) {
                let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let length = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
                bytes = bytes.saturating_add(length);
                kept.push(((stat.st_mtime, stat.st_mtime_nsec), name.to_owned(), length));
            }
        }
        kept.sort_unstable();
        for (_, name, length) in kept {
            if bytes <= self.bytes_max {
                break;
            }
            remove(&name)?;
            bytes = bytes.saturating_sub(length);
        }
        Ok(())
    }
}

/// A file, if it is there and nobody else can have written it.
fn opened(directory: &File, name: &str) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let metadata = file.metadata()?;
    let is_own = metadata.is_file()
        && metadata.uid() == rustix::process::geteuid().as_raw()
        && metadata.mode() & 0o077 == 0
        && (HEADER_BYTES as u64..=FILE_BYTES).contains(&metadata.len());
    Ok(is_own.then_some(file))
}

/// What a file holds, if it is whole and was written under this key.
fn body(file: File, key: Key) -> io::Result<Option<Vec<u8>>> {
    let mut header = [0; HEADER_BYTES];
    // That it was used keeps it longer; where that cannot be written down it goes earlier.
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let used = Timestamps { last_access: now, last_modification: now };
    drop(rustix::fs::futimens(&file, &used).map_err(io::Error::from));
    let mut file = file.take(FILE_BYTES);
    file.read_exact(&mut header)?;
    let mut body = Vec::new();
    file.read_to_end(&mut body)?;
    let (magic, rest) = header.split_at(MAGIC.len());
    let (of, seal) = rest.split_at(32);
    let is_whole = magic == MAGIC && of == key.0.as_bytes() && seal == key.seal(&body).as_bytes();
    if !is_whole {
        tracing::info!(
            target: "driftd", "a file of compiled plugins is not whole; the plugin is compiled anew"
        );
    }
    Ok(is_whole.then_some(body))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// A component with nothing in it, and another one.
    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
    const OTHER: &[u8] = b"\0asm\x0d\0\x01\0\0\x02\x01a";

    fn engine() -> Engine {
        Engine::new(&super::super::machine::config()).unwrap()
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let around = tempfile::tempdir().unwrap();
        let cache = Cache::new(around.path().join("some/compiled"));
        (around, cache)
    }

    fn kept(cache: &Cache) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&cache.directory) else { return Vec::new() };
        let mut kept: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        kept.sort();
        kept
    }

    fn is_known(cache: &Cache, engine: &Engine, component: &[u8]) -> bool {
        matches!(cache.read(engine, Key::new(engine, component)), Ok(Some(_)))
    }

    #[test]
    fn what_was_compiled_once_is_read_the_next_time() {
        let (_around, cache) = cache();
        let engine = engine();
        assert!(!is_known(&cache, &engine, EMPTY));
        cache.component(&engine, EMPTY).unwrap();
        assert!(is_known(&cache, &engine, EMPTY) && !is_known(&cache, &engine, OTHER));
        cache.component(&engine, EMPTY).unwrap();
        let [file] = kept(&cache).try_into().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        assert_eq!((mode(&cache.directory), mode(&file)), (0o700, 0o600));
        // Code that cannot be compiled leaves nothing behind.
        assert!(cache.component(&engine, b"\0asm\x0d\0\x01\0\xff").is_err());
        assert_eq!(kept(&cache), [file]);
    }

    #[test]
    fn what_the_journal_may_need_is_left_free() {
        let (_around, cache) = cache();
        let cache = Cache { room: u64::MAX, ..cache };
        cache.component(&engine(), EMPTY).unwrap();
        assert!(kept(&cache).is_empty() && cache.has_complained.load(Ordering::Relaxed));
    }

    #[test]
    fn what_another_engine_compiled_is_not_looked_at() {
        let (_around, cache) = cache();
        let engine = engine();
        cache.component(&engine, EMPTY).unwrap();
        let mut other = super::super::machine::config();
        other.consume_fuel(false);
        let other = Engine::new(&other).unwrap();
        assert!(!is_known(&cache, &other, EMPTY));
        // Nor where it has the other's name.
        let [file] = kept(&cache).try_into().unwrap();
        std::fs::copy(&file, cache.directory.join(Key::new(&other, EMPTY).file())).unwrap();
        assert!(!is_known(&cache, &other, EMPTY));
        // Nor one of which only wasmtime knows that it does not fit.
        let key = Key::new(&other, EMPTY);
        let body = Component::from_binary(&engine, EMPTY).unwrap().serialize().unwrap();
        cache.write(key, &body).unwrap();
        assert!(cache.read(&other, key).unwrap().is_none());
        cache.component(&other, EMPTY).unwrap();
        assert!(is_known(&cache, &other, EMPTY));
    }

    #[test]
    fn a_file_that_is_not_whole_is_never_run() {
        let (_around, cache) = cache();
        let engine = engine();
        cache.component(&engine, EMPTY).unwrap();
        let [file] = kept(&cache).try_into().unwrap();
        let whole = std::fs::read(&file).unwrap();
        let step = whole.len() / 97 + 1;
        let header = 0..HEADER_BYTES + 2;
        for at in header.chain((0..whole.len()).step_by(step)) {
            let mut torn = whole.clone();
            torn[at] ^= 0x10;
            std::fs::write(&file, &torn).unwrap();
            assert!(!is_known(&cache, &engine, EMPTY), "a bit of byte {at}");
            std::fs::write(&file, &whole[..at]).unwrap();
            assert!(!is_known(&cache, &engine, EMPTY), "cut at {at}");
        }
        std::fs::write(&file, [&whole[..], b"\0"].concat()).unwrap();
        assert!(!is_known(&cache, &engine, EMPTY));
        cache.component(&engine, EMPTY).unwrap();
        assert_eq!(std::fs::read(&file).unwrap().len(), whole.len());
        assert!(is_known(&cache, &engine, EMPTY));
    }

    #[test]
    fn what_others_can_write_is_not_looked_at() {
        let (around, cache) = cache();
        let engine = engine();
        cache.component(&engine, EMPTY).unwrap();
        let [file] = kept(&cache).try_into().unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&file, 0o644);
        assert!(!is_known(&cache, &engine, EMPTY));
        set(&file, 0o600);
        set(&cache.directory, 0o770);
        assert!(!is_known(&cache, &engine, EMPTY));
        cache.component(&engine, OTHER).unwrap();
        assert_eq!(kept(&cache).len(), 1, "nothing is written there");
        set(&cache.directory, 0o700);
        assert!(is_known(&cache, &engine, EMPTY));
        let elsewhere = around.path().join("elsewhere");
        std::fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(!is_known(&cache, &engine, EMPTY));
        if rustix::process::geteuid().is_root() {
            let (user, group) =
                (rustix::fs::Uid::from_raw(65_534), rustix::fs::Gid::from_raw(65_534));
            std::fs::rename(&elsewhere, &file).unwrap();
            rustix::fs::chown(&file, Some(user), Some(group)).unwrap();
            assert!(!is_known(&cache, &engine, EMPTY));
            rustix::fs::chown(&cache.directory, Some(user), Some(group)).unwrap();
            assert!(cache.read(&engine, Key::new(&engine, EMPTY)).is_err());
            let inner = Cache::new(cache.directory.join("inner"));
            inner.component(&engine, EMPTY).unwrap();
            assert!(!inner.directory.exists(), "a directory of another user is left alone");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_told_once_and_done_without() {
        let around = tempfile::tempdir().unwrap();
        let file = around.path().join("file");
        std::fs::write(&file, "").unwrap();
        for directory in [file.join("compiled"), file] {
            let cache = Cache::new(directory);
            cache.component(&engine(), EMPTY).unwrap();
            assert!(cache.has_complained.load(Ordering::Relaxed));
            cache.component(&engine(), OTHER).unwrap();
        }
    }

    #[test]
    fn there_are_never_more_bytes_than_allowed_and_nothing_unfinished() {
        let (_around, mut cache) = cache();
        let engine = engine();
        let component = |name: u8| [&OTHER[..11], &[name]].concat();
        let path =
            |cache: &Cache, name| cache.directory.join(Key::new(&engine, &component(name)).file());
        cache.component(&engine, &component(b'a')).unwrap();
        let length = path(&cache, b'a').metadata().unwrap().len();
        cache.bytes_max = length * 2 + length / 2;
        let left = cache.directory.join(format!("0{NEW}"));
        std::fs::write(&left, "half").unwrap();
        let aged = |name, seconds| {
            let file = File::options().write(true).open(path(&cache, name)).unwrap();
            file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds))
                .unwrap();
        };
        cache.component(&engine, &component(b'b')).unwrap();
        assert!(!left.exists(), "what was never finished goes");
        // Both are older than anything that is read now; the older one is read again.
        aged(b'a', 1);
        aged(b'b', 2);
        cache.component(&engine, &component(b'a')).unwrap();
        cache.component(&engine, &component(b'c')).unwrap();
        let bytes: u64 = kept(&cache).iter().map(|path| path.metadata().unwrap().len()).sum();
        assert!(bytes <= cache.bytes_max, "{bytes}");
        let there = [b'a', b'b', b'c'].map(|name| path(&cache, name).exists());
        assert_eq!(there, [true, false, true], "what was read longest ago went first");
        cache.bytes_max = 10;
        cache.component(&engine, EMPTY).unwrap();
        assert!(!is_known(&cache, &engine, EMPTY), "what has no room is not kept");
    }

    #[test]
    fn many_at_once_leave_whole_files_and_wait_for_nobody() {
        let (_around, cache) = cache();
        let engine = engine();
        let components: Vec<_> =
            (b'a'..b'e').map(|name| [&OTHER[..11], &[name]].concat()).collect();
        std::thread::scope(|scope| {
            for _ in 0..6 {
                // Each as a process of its own: nothing is shared but the directory.
                let own = Cache::new(cache.directory.clone());
                let (engine, components) = (&engine, &components);
                scope.spawn(move || {
                    for component in components {
                        own.component(engine, component).unwrap();
                    }
                    assert!(!own.has_complained.load(Ordering::Relaxed));
                });
            }
        });
        assert!(kept(&cache).iter().all(|path| path.to_string_lossy().ends_with(SUFFIX)));
        for component in &components {
            cache.component(&engine, component).unwrap();
            assert!(is_known(&cache, &engine, component));
        }
        // While somebody writes, and never ends, code is compiled and nothing is kept.
        let busy = cache.make().unwrap();
        rustix::fs::flock(&busy, FlockOperation::LockExclusive).unwrap();
        cache.component(&engine, EMPTY).unwrap();
        assert!(!is_known(&cache, &engine, EMPTY) && !cache.has_complained.load(Ordering::Relaxed));
        drop(busy);
        cache.component(&engine, EMPTY).unwrap();
        assert!(is_known(&cache, &engine, EMPTY));
    }
}
