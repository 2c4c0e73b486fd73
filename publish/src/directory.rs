//! The directory in which a daemon publishes.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles,
    checkpoint::Checkpoint,
    note::{Note, VerifierKey},
    tile::CHECKPOINT_PATH,
};

use crate::problem::Problem;

/// The directory; it is only read.
#[derive(Clone, Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl LogFiles for Directory {
    type Error = io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Directory {
    /// Its checkpoint, verified; nothing before the first.
    pub(crate) fn checkpoint(&self, keys: &[VerifierKey]) -> Result<Option<(Note, Checkpoint)>, Problem> {
        let failed = |source| Problem::File { path: self.0.join(CHECKPOINT_PATH), source };
        self.read(CHECKPOINT_PATH).map_err(failed)?.map(|bytes| open(&bytes, keys, "in the directory")).transpose()
    }
}

/// Reads and verifies a checkpoint.
pub(crate) fn open(bytes: &[u8], keys: &[VerifierKey], place: &'static str) -> Result<(Note, Checkpoint), Problem> {
    let wrong = |source| Problem::Checkpoint { place, source };
    let note = Note::parse(bytes).map_err(|error| wrong(error.into()))?;
    let head = Checkpoint::open_note(&note, keys).map_err(wrong)?;
    Ok((note, head))
}

/// The keys in a file, one a line.
pub(crate) fn keys(path: &Path) -> Result<Vec<VerifierKey>, Problem> {
    let failed = |source| Problem::File { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = |source| Problem::Key { path: path.to_owned(), source };
    lines.map(|line| VerifierKey::parse(line).map_err(wrong)).collect()
}
