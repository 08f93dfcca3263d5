//! Which file a hook's program is.
//!
//! Owns the fixed search path. Refuses the daemon's own `PATH` and any shell. Invariant: what is
//! resolved is an absolute path of an executable file, or the words say why not.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::hook::Settings;

/// Where programs are looked for, and what a hook's `PATH` is unless configured.
pub(super) const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The file of the hook's program.
pub(super) fn resolve(settings: &Settings) -> Result<PathBuf, String> {
    let Some(name) = settings.command.first().filter(|name| !name.is_empty()) else {
        return Err("no program is configured: set `command`".to_owned());
    };
    if let Some(directory) = &settings.directory
        && !directory.is_dir()
    {
        let directory = directory.display();
        return Err(format!("its working directory `{directory}` does not exist"));
    }
    if name.starts_with('/') {
        return executable(Path::new(name))
            .map(|()| PathBuf::from(name))
            .map_err(|why| format!("program `{name}` {why}"));
    }
    if name.contains('/') {
        return Err(format!("program `{name}` is relative: write its whole path"));
    }
    PATH.split(':')
        .map(|place| Path::new(place).join(name))
        .find(|path| executable(path).is_ok())
        .ok_or_else(|| {
            format!("program `{name}` is in none of {PATH}: install it, or write its whole path")
        })
}

fn executable(path: &Path) -> Result<(), String> {
    if !path.exists() {
        return Err("does not exist".to_owned());
    }
    let metadata = std::fs::metadata(path).map_err(|error| format!("is unknown: {error}"))?;
    if !metadata.is_file() {
        return Err("is not a file".to_owned());
    }
    if metadata.permissions().mode() & 0o111 == 0 {
        return Err("is not executable: `chmod +x` it".to_owned());
    }
    // The system's library would hand any other file to a shell. One that may be run but not read is
    // left to the system.
    let mut head = [0; 4];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut head));
    if read.is_ok() && !head.starts_with(b"#!") && head != *b"\x7fELF" {
        let why = "is neither a program nor a script: begin a script with a line like `#!/bin/sh`";
        return Err(why.to_owned());
    }
    Ok(())
}
