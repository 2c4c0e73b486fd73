//! What a daemon holds on to while it works for long: memory, open files, threads, and files in its directories.

use std::{fs, io, path::Path, thread, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    daemon::Daemon,
    memory::{self, Figure},
};

/// The published log, whose files are as many as its entries want.
const PUBLISHED: &str = "log";

/// How often it is looked at what comes and goes, and how long after the last time: a tile of the log is open while it is written, and a
/// thread for slow work stays a moment longer than its work. Neither is held on to.
const LOOKS: (u32, Duration) = (30, Duration::from_millis(50));

/// What front and core have together at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Held {
    /// Resident memory in megabytes.
    pub(crate) memory_mb: f64,
    /// Open file descriptors.
    pub(crate) handles: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Files of the daemon that are no part of the published log.
    pub(crate) files: u64,
}

impl Held {
    /// Looks once.
    pub(crate) fn by(daemon: &Daemon<'_>) -> Result<Self> {
        let (handles, threads) = (of_all(daemon, "fd")?, of_all(daemon, "task")?);
        let memory_mb = memory::of(&daemon.processes(), Figure::Now)?;
        let directory = &daemon.laboratory.directory;
        let files = files(directory, &directory.join(PUBLISHED))
            .with_context(|| format!("cannot list `{}`", directory.display()))?;
        Ok(Self { memory_mb, handles, threads, files })
    }

    /// Looks several times: memory and files as at first, of open files and threads the fewest.
    pub(crate) fn for_long(daemon: &Daemon<'_>) -> Result<Self> {
        let mut held = Self::by(daemon)?;
        let (looks, apart) = LOOKS;
        for _ in 1..looks {
            thread::sleep(apart);
            held.handles = held.handles.min(of_all(daemon, "fd")?);
            held.threads = held.threads.min(of_all(daemon, "task")?);
        }
        Ok(held)
    }
}

/// How many entries a directory below /proc has, of front and core.
fn of_all(daemon: &Daemon<'_>, what: &str) -> Result<u64> {
    daemon.processes().iter().map(|process| entries(&format!("/proc/{process}/{what}"))).sum()
}

fn entries(directory: &str) -> Result<u64> {
    let listed =
        fs::read_dir(directory).with_context(|| format!("cannot list `{directory}`: is the process running?"))?;
    Ok(listed.count() as u64)
}

/// Files below a directory, but for those below another. One that goes away meanwhile is none.
fn files(directory: &Path, but: &Path) -> io::Result<u64> {
    let mut count = 0;
    for found in fs::read_dir(directory)? {
        let found = found?;
        match found.file_type() {
            Ok(kind) if kind.is_dir() && found.path() != but => count += files(&found.path(), but)?,
            Ok(kind) if kind.is_dir() => {}
            Ok(_) => count += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_but_for_those_of_the_published_log() {
        let directory = tempfile::tempdir().unwrap();
        for below in ["a", "a/b", "log/tile"] {
            fs::create_dir_all(directory.path().join(below)).unwrap();
        }
        for file in ["one", "a/two", "a/b/three", "log/checkpoint", "log/tile/0"] {
            fs::write(directory.path().join(file), "").unwrap();
        }
        assert_eq!(files(directory.path(), &directory.path().join(PUBLISHED)).unwrap(), 3);
        assert!(entries(&format!("/proc/{}/fd", std::process::id())).unwrap() > 2);
    }
}
