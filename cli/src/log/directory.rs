//! A published log as a directory of files.

use std::{
    io,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles,
    bundle::BUNDLE_BYTES_MAX,
    checkpoint::Checkpoint,
    note::Note,
    tile::{CHECKPOINT_PATH, TILE_WIDTH, TilePath},
};

use crate::{
    files::{self, FileError},
    problem::Problem,
};

/// The directory.
#[derive(Clone, Debug)]
pub(crate) struct LogDirectory(PathBuf);

impl LogDirectory {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        if path.is_dir() { Ok(Self(path.to_owned())) } else { Err(FileError::NotADirectory { path: path.to_owned() }) }
    }

    /// How many entries the log says it has. Nothing is verified.
    pub(crate) fn size_unverified(&self) -> Result<u64, Problem> {
        let path = self.0.join(CHECKPOINT_PATH);
        let wrong = |source| Problem::Checkpoint { what: path.display().to_string(), source };
        let note = Note::parse(&files::read(&path)?).map_err(|error| wrong(error.into()))?;
        Ok(Checkpoint::parse_unverified(note.text()).map_err(wrong)?.size())
    }

    /// The bundle with that index in a log of `size` entries, as a file name and its bytes.
    pub(crate) fn bundle(&self, index: u64, size: u64) -> Result<(String, Vec<u8>), Problem> {
        let width = size.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        let partial = u16::try_from(width).ok().and_then(|width| TilePath::entries(index, width).ok());
        let candidates = partial.into_iter().flat_map(|path| [path, path.full()]);
        for path in candidates {
            let path = path.to_string();
            if let Some(bytes) = self.read(&path)? {
                return Ok((path, bytes));
            }
        }
        let path = self.0.join(partial.map_or_else(|| "tile/entries".to_owned(), |path| path.to_string()));
        Err(FileError::Read { path, source: io::ErrorKind::NotFound.into() }.into())
    }
}

impl LogFiles for LogDirectory {
    type Error = FileError;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        match files::read_up_to(&self.0.join(path), BUNDLE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
