//! A small disk that can be filled.
//!
//! Owns a file system in memory, mounted in a directory. Refuses to be where that is not allowed: then
//! there is none, and the scenario says so. Invariant: it is gone when its handle is dropped.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many KiB at `path`. None: this user must not.
    #[must_use]
    pub fn mount(path: PathBuf, kib: u32) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={kib}k"), "none"]).arg(&path);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        mounted.then_some(Self { path })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut ballast = File::options().create(true).append(true).open(self.ballast()).unwrap();
        for size in [4_096, 1] {
            while ballast.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// Gives that space back.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Also while something of a test that failed still lies there.
        Command::new("umount").arg("--lazy").arg(&self.path).status().ok();
    }
}
