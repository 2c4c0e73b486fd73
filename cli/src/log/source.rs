//! Where a published log is read from: a directory, or a server.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles,
    bundle::BUNDLE_BYTES_MAX,
    checkpoint::Checkpoint,
    note::Note,
    tile::{CHECKPOINT_PATH, TILE_WIDTH, TilePath},
};

use super::{openings, policies, remote::Remote};
use crate::{
    files::{self, FileError},
    problem::Problem,
};

/// Where bundles of entries are.
const BUNDLES: &str = "tile/entries/";

/// A published log.
#[derive(Debug)]
pub(crate) enum Source {
    /// A directory with `checkpoint` and `tile/`.
    Directory(PathBuf),
    /// A server that has the same below a URL.
    Remote(Box<Remote>),
    /// A log, and those that it continues under another name: bundles, openings and policies that it has not are theirs.
    Continued(Box<Source>, Vec<Source>),
}

impl Source {
    /// What was named: a URL, or else a directory.
    pub(crate) fn open(named: &str, ca: Option<&Path>) -> Result<Self, Problem> {
        if named.starts_with("https://") || named.starts_with("http://") {
            return Ok(Self::Remote(Box::new(Remote::new(named, ca)?)));
        }
        let path = PathBuf::from(named);
        if path.is_dir() { Ok(Self::Directory(path)) } else { Err(FileError::NotADirectory { path }.into()) }
    }

    /// The directory, if it is one.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) => Some(path),
            Self::Remote(_) => None,
            Self::Continued(newest, _) => newest.directory(),
        }
    }

    /// The checkpoint as it stands there.
    pub(crate) fn checkpoint(&self) -> Result<Option<Vec<u8>>, FileError> {
        self.read(CHECKPOINT_PATH)
    }

    /// How many entries the log says it has. Nothing is verified.
    pub(crate) fn size_unverified(&self) -> Result<u64, Problem> {
        let what = || self.name(CHECKPOINT_PATH);
        let wrong = |source| Problem::Checkpoint { what: what(), source };
        let bytes = self.checkpoint()?.ok_or_else(|| self.missing(CHECKPOINT_PATH))?;
        let note = Note::parse(&bytes).map_err(|error| wrong(error.into()))?;
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
        Err(self.missing(&partial.map_or_else(|| "tile/entries".to_owned(), |path| path.to_string())).into())
    }

    /// A file of it, as people find it.
    fn name(&self, path: &str) -> String {
        match self {
            Self::Directory(directory) => directory.join(path).display().to_string(),
            Self::Remote(remote) => remote.url_of(path),
            Self::Continued(newest, _) => newest.name(path),
        }
    }

    fn missing(&self, path: &str) -> FileError {
        FileError::Read { path: PathBuf::from(self.name(path)), source: io::ErrorKind::NotFound.into() }
    }
}

impl LogFiles for Source {
    type Error = FileError;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        match self {
            Self::Directory(directory) => read_file(&directory.join(path)),
            Self::Remote(remote) => remote.fetch(path),
            Self::Continued(newest, earlier) => {
                let places = [BUNDLES, openings::DIRECTORY, policies::DIRECTORY];
                let is_of_entries = places.iter().any(|place| path.starts_with(place));
                let earlier = earlier.iter().filter(|_| is_of_entries);
                let mut all = std::iter::once(&**newest).chain(earlier);
                all.find_map(|source| source.read(path).transpose()).transpose()
            }
        }
    }
}

/// A file of a log; nothing where there is none. Whoever opened a pipe would wait for ever.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return Err(FileError::Unexpected { path: path.to_owned(), expected: "file of a log" });
    }
    match files::read_up_to(path, BUNDLE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        // A file in the place of a directory: so what should be below it is not there.
        Err(FileError::Read { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(error),
    }
}
