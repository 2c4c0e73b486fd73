//! What an auditor remembers from run to run: the newest checkpoint of each log that was found good.

use std::{
    env,
    path::{Path, PathBuf},
};

use hallmark_entry::sha256;
use hallmark_tlog::{checkpoint::Checkpoint, note::VerifierKey};

use crate::{
    files::{self, FileError, Target},
    problem::Problem,
};

/// Where it is below the user's directory of states.
const PLACE: &str = "hallmark/logs";

/// Digits of a digest in a file's name.
const NAME_DIGITS: usize = 32;

/// Where the state of one log is kept.
#[derive(Debug)]
pub(crate) struct State {
    path: PathBuf,
}

impl State {
    /// That of the log of this origin: below the directory that was named, or the user's own.
    pub(crate) fn of(origin: &str, named: Option<&Path>) -> Option<Self> {
        let directory = named.map(Path::to_owned).or_else(place)?;
        let digest: String = hallmark_policy::hex(&sha256(origin.as_bytes())).chars().take(NAME_DIGITS).collect();
        Some(Self { path: directory.join(format!("{digest}.checkpoint")) })
    }

    /// The checkpoint of the last run, verified again; none before the first.
    pub(crate) fn load(&self, keys: &[VerifierKey]) -> Result<Option<Checkpoint>, Problem> {
        if !self.path.exists() {
            return Ok(None);
        }
        let wrong = |source| Problem::Checkpoint { what: self.path.display().to_string(), source };
        Checkpoint::open(&files::read(&self.path)?, keys).map(Some).map_err(wrong)
    }

    /// Remembers a checkpoint whose log was found good.
    pub(crate) fn keep(&self, checkpoint: &[u8]) -> Result<(), FileError> {
        if let Some(directory) = self.path.parent() {
            let failed = |source| FileError::Write { path: directory.to_owned(), source };
            std::fs::create_dir_all(directory).map_err(failed)?;
        }
        Target::new(&self.path, true)?.write(checkpoint)
    }
}

/// The user's own directory (XDG Base Directory Specification).
fn place() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(directory.join(PLACE))
}
