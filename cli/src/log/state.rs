//! What an auditor remembers from run to run: the newest checkpoint of each log that was found good.

use std::{
    env, fs,
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

/// What names of its files end with.
const EXTENSION: &str = "checkpoint";

/// Digits of a digest in a file's name.
const NAME_DIGITS: usize = 32;

/// Most files of other logs that are looked at.
const OTHERS_MAX: usize = 10_000;

/// Where the state of one log is kept: a file for each key that signs it. A log of the same origin under another key is another log.
#[derive(Debug)]
pub(crate) struct State {
    origin: String,
    directory: PathBuf,
    places: Vec<(VerifierKey, PathBuf)>,
}

impl State {
    /// That of the log of this origin and these keys: below the directory that was named, or the user's own.
    pub(crate) fn of(origin: &str, keys: &[VerifierKey], named: Option<&Path>) -> Option<Self> {
        let directory = named.map(Path::to_owned).or_else(place)?;
        let path = |key: &VerifierKey| {
            let digest = hallmark_policy::hex(&sha256(format!("{origin}\n{key}").as_bytes()));
            directory.join(format!("{}.{EXTENSION}", digest.chars().take(NAME_DIGITS).collect::<String>()))
        };
        let places = keys.iter().map(|key| (key.clone(), path(key))).collect();
        Some(Self { origin: origin.to_owned(), directory, places })
    }

    /// How many checkpoints of this origin are remembered under keys that were not given: nobody can say here whether the log goes on
    /// from them.
    pub(crate) fn under_other_keys(&self) -> usize {
        let files = fs::read_dir(&self.directory).into_iter().flatten().take(OTHERS_MAX);
        let paths = files.filter_map(|file| Some(file.ok()?.path()));
        let others = paths.filter(|path| self.places.iter().all(|(_, place)| place != path));
        let is_of_origin = |path: &PathBuf| {
            let is_state = path.extension().is_some_and(|extension| extension == EXTENSION);
            let text = if is_state { files::read(path).unwrap_or_default() } else { Vec::new() };
            text.split(|byte| *byte == b'\n').next() == Some(self.origin.as_bytes())
        };
        others.filter(is_of_origin).count()
    }

    /// The checkpoint of the last run, verified again; none before the first.
    pub(crate) fn load(&self) -> Result<Option<Checkpoint>, Problem> {
        let mut newest: Option<Checkpoint> = None;
        for (key, path) in self.places.iter().filter(|(_, path)| path.exists()) {
            let wrong = |source| Problem::Checkpoint { what: path.display().to_string(), source };
            let found = Checkpoint::open(&files::read(path)?, std::slice::from_ref(key)).map_err(wrong)?;
            newest = newest.filter(|newest| newest.size() >= found.size()).or(Some(found));
        }
        Ok(newest)
    }

    /// Remembers a checkpoint whose log was found good, under each key that signed it.
    pub(crate) fn keep(&self, checkpoint: &[u8]) -> Result<(), FileError> {
        let signed = |key: &VerifierKey| Checkpoint::open(checkpoint, std::slice::from_ref(key)).is_ok();
        for (_, path) in self.places.iter().filter(|(key, _)| signed(key)) {
            if let Some(directory) = path.parent() {
                let failed = |source| FileError::Write { path: directory.to_owned(), source };
                fs::create_dir_all(directory).map_err(failed)?;
            }
            Target::new(path, true)?.write(checkpoint)?;
        }
        Ok(())
    }
}

/// The user's own directory (XDG Base Directory Specification).
fn place() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let directory = set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))?;
    Some(directory.join(PLACE))
}
