//! Files that are there whole or not at all.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use hallmark_tlog::{bundle::BundleError, tile::TilePath};

/// Why the log could not be published.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublishError {
    /// A file cannot be written.
    #[error("`{}` cannot be written: {source}; hint: check the owner and the free space of the directory", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The database cannot be read.
    #[error("the database cannot be read: {0}")]
    Sql(#[from] rusqlite::Error),
    /// The database has fewer entries or nodes than the checkpoint signs.
    #[error("the database has {found} of the {wanted} parts of `{path}`; hint: audit the log")]
    Incomplete {
        /// Which file.
        path: TilePath,
        /// Parts that are there.
        found: usize,
        /// Parts that should be.
        wanted: u16,
    },
    /// Entries that no bundle takes.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Whether all parts of a file are there.
pub(super) fn complete(path: TilePath, found: usize, wanted: u16) -> Result<(), PublishError> {
    if found == usize::from(wanted) { Ok(()) } else { Err(PublishError::Incomplete { path, found, wanted }) }
}

/// The directory of the published log.
pub(super) struct Files {
    directory: PathBuf,
    /// Directories whose new names are not on the disk yet.
    unsynced: RefCell<BTreeSet<PathBuf>>,
}

impl Files {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, unsynced: RefCell::default() }
    }

    /// Writes a file beside its place, and moves it there once it is on the disk.
    pub(super) fn write(&self, path: &str, content: &[u8]) -> Result<(), PublishError> {
        let place = self.directory.join(path);
        self.make_parent(&place).and_then(|()| write_whole(&place, content)).map_err(failed(&place))?;
        self.unsynced.borrow_mut().extend(place.parent().map(Path::to_owned));
        Ok(())
    }

    /// Brings the names of all files written so far to the disk.
    pub(super) fn sync_directories(&self) -> Result<(), PublishError> {
        let directories = self.unsynced.take();
        directories.into_iter().try_for_each(|directory| {
            File::open(&directory).and_then(|opened| opened.sync_all()).map_err(failed(&directory))
        })
    }

    /// Removes the partial files of the full one named `full`, which belongs to `path`, except those of `keep`.
    pub(super) fn keep_partial(&self, full: &str, path: TilePath, keep: &[TilePath]) -> Result<(), PublishError> {
        let kept = |width: u16| keep.iter().any(|one| (one.full(), one.width()) == (path.full(), width));
        let directory = self.directory.join(format!("{full}.p"));
        let listed = match fs::read_dir(&directory) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(&directory)(error)),
        };
        let mut left = false;
        for file in listed {
            let file = file.map_err(failed(&directory))?;
            let width = file.file_name().to_str().and_then(|name| name.parse().ok());
            if width.is_some_and(kept) {
                left = true;
            } else {
                fs::remove_file(file.path()).map_err(failed(&file.path()))?;
            }
        }
        if left { Ok(()) } else { fs::remove_dir(&directory).map_err(failed(&directory)) }
    }

    /// Makes the directories above a file, and remembers those above them.
    fn make_parent(&self, place: &Path) -> io::Result<()> {
        let Some(parent) = place.parent() else { return Ok(()) };
        if parent.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(parent)?;
        let above = parent.ancestors().skip(1).take_while(|above| above.starts_with(&self.directory));
        self.unsynced.borrow_mut().extend(above.map(Path::to_owned));
        Ok(())
    }
}

/// Writes the checkpoint to a file on another volume.
pub(super) fn write_anchor(place: &Path, checkpoint: &[u8]) -> Result<(), PublishError> {
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let written = write_whole(place, checkpoint).and_then(|()| File::open(directory)?.sync_all());
    written.map_err(failed(place))
}

fn write_whole(place: &Path, content: &[u8]) -> io::Result<()> {
    let mut beside = place.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, place)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { path, source }
}
