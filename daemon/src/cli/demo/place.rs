//! Where the demo keeps its files.
//!
//! Owns a directory of the demo alone, readable by nobody else. Refuses one that holds anything.
//! Invariant: it is gone when the demo ends, unless it was asked for.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rand::Rng as _;

use super::DemoError;

/// The directory.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    kept: bool,
}

impl Place {
    /// The directory to be kept, or one that goes away.
    pub(super) fn make(keep: Option<&Path>) -> Result<Self, DemoError> {
        let kept = keep.is_some();
        let path = match keep {
            Some(path) => std::path::absolute(path),
            None => {
                let name = format!("driftd-demo-{:08x}", rand::rng().random::<u32>());
                std::path::absolute(std::env::temp_dir().join(name))
            }
        };
        let path = path.map_err(|source| DemoError::Place {
            path: keep.unwrap_or_else(|| Path::new(".")).to_owned(),
            source,
        })?;
        match DirBuilder::new()
            .mode(0o700)
            .recursive(kept)
            .create(&path)
            .and_then(|()| empty(&path))
        {
            Ok(true) => Ok(Self { path, kept }),
            Ok(false) => Err(DemoError::Occupied(path)),
            Err(source) => Err(DemoError::Place { path, source }),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file in it.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, DemoError> {
        let path = self.file(name);
        match std::fs::write(&path, bytes) {
            Ok(()) => Ok(path),
            Err(source) => Err(DemoError::Place { path, source }),
        }
    }

    pub(super) const fn is_kept(&self) -> bool {
        self.kept
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            // What is left behind lies where the system tidies up.
            std::fs::remove_dir_all(&self.path).ok();
        }
    }
}

fn empty(path: &Path) -> io::Result<bool> {
    Ok(std::fs::read_dir(path)?.next().is_none())
}
