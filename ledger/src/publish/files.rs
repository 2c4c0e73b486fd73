//! Files that are there whole or not at all.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use hallmark_tlog::{bundle::BundleError, tile::TilePath};

use crate::OpenError;

/// Permissions of published files, less the umask; and of private values: the daemon's group may read them, such as
/// `hallmark-publish push --with-openings`.
const PUBLIC_MODE: u32 = 0o666;
const PRIVATE_MODE: u32 = 0o640;

/// What others may do than owner and group.
const OTHERS_MODE: u32 = 0o007;

/// Why the log could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
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
    /// The database is not what was signed.
    #[error(
        "{what} in the database is not what was signed, and nothing was written from it; hint: keep the published directory, and restore the database from a backup"
    )]
    Damaged {
        /// What of it.
        what: String,
    },
    /// What stands where the checkpoint is to be is not one that this log goes on from.
    #[error(transparent)]
    Replaced(Box<OpenError>),
    /// Entries that no bundle takes.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

impl PublishError {
    /// Whether another copy of the database was published meanwhile.
    pub(crate) fn is_of_an_older_database(&self) -> bool {
        matches!(self, Self::Replaced(error) if matches!(**error, OpenError::Restored { .. }))
    }
}

/// Whether all parts of a file are there.
pub(crate) fn complete(path: TilePath, found: usize, wanted: u16) -> Result<(), PublishError> {
    if found == usize::from(wanted) { Ok(()) } else { Err(PublishError::Incomplete { path, found, wanted }) }
}

/// The directory of the published log.
pub(crate) struct Files {
    directory: PathBuf,
    /// Directories whose new names are not on the disk yet.
    unsynced: RefCell<BTreeSet<PathBuf>>,
    /// What was found and done, where files that are right already stay.
    repair: Option<RefCell<Repair>>,
}

/// What was found and done to make a directory what it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repair {
    /// Files that belong there.
    names: BTreeSet<String>,
    /// How many of them were missing or held something else.
    pub(crate) written: u64,
    /// How many files were removed.
    pub(crate) removed: u64,
}

impl Repair {
    /// How many files were right.
    pub(crate) fn right(&self) -> u64 {
        (self.names.len() as u64).saturating_sub(self.written)
    }
}

impl Files {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, unsynced: RefCell::default(), repair: None }
    }

    /// The same, where files that are right already are left alone.
    pub(crate) fn repairing(directory: PathBuf) -> Self {
        Self { repair: Some(RefCell::default()), ..Self::new(directory) }
    }

    /// Removes the files below these directories that nobody wrote or found right, and ends.
    pub(crate) fn finish_repair(self, below: &[&str]) -> Result<Repair, PublishError> {
        let mut repair = self.repair.map(RefCell::into_inner).unwrap_or_default();
        for directory in below {
            remove_others(&self.directory, Path::new(directory), &mut repair)?;
        }
        Ok(repair)
    }

    /// Writes a file beside its place, and moves it there once it is on the disk.
    pub(crate) fn write(&self, path: &str, content: &[u8]) -> Result<(), PublishError> {
        self.write_for(path, content, PUBLIC_MODE)
    }

    /// The same for what is not for everybody on the machine.
    pub(crate) fn write_private(&self, path: &str, content: &[u8]) -> Result<(), PublishError> {
        self.write_for(path, content, PRIVATE_MODE)
    }

    fn write_for(&self, path: &str, content: &[u8], mode: u32) -> Result<(), PublishError> {
        let place = self.directory.join(path);
        if let Some(repair) = &self.repair {
            let mut repair = repair.borrow_mut();
            repair.names.insert(path.to_owned());
            if is_right(&place, content, mode) {
                return Ok(());
            }
            repair.written += 1;
        }
        self.make_parent(&place).and_then(|()| write_whole(&place, content, mode)).map_err(failed(&place))?;
        self.unsynced.borrow_mut().extend(place.parent().map(Path::to_owned));
        Ok(())
    }

    /// Brings the names of all files written so far to the disk.
    pub(crate) fn sync_directories(&self) -> Result<(), PublishError> {
        let directories = self.unsynced.take();
        directories.into_iter().try_for_each(|directory| {
            File::open(&directory).and_then(|opened| opened.sync_all()).map_err(failed(&directory))
        })
    }

    /// Removes the partial files of the full one of that name.
    pub(crate) fn remove_partial(&self, full: &str) -> Result<(), PublishError> {
        let directory = self.directory.join(format!("{full}.p"));
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&directory)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
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

/// Whether a file holds exactly that. What cannot be read is written anew, which tells what is wrong.
fn is_right(place: &Path, content: &[u8], mode: u32) -> bool {
    let is_like = |found: fs::Metadata| {
        let is_hidden = mode != PRIVATE_MODE || found.permissions().mode() & OTHERS_MODE == 0;
        found.is_file() && found.len() == content.len() as u64 && is_hidden
    };
    fs::symlink_metadata(place).is_ok_and(is_like) && fs::read(place).is_ok_and(|found| found == content)
}

/// Removes what is below a directory and does not belong there, and directories that hold nothing afterwards.
fn remove_others(root: &Path, directory: &Path, repair: &mut Repair) -> Result<(), PublishError> {
    let place = root.join(directory);
    let listed = match fs::read_dir(&place) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(&place)(error)),
    };
    for file in listed {
        let file = file.map_err(failed(&place))?;
        let below = directory.join(file.file_name());
        if file.file_type().map_err(failed(&file.path()))?.is_dir() {
            remove_others(root, &below, repair)?;
            // One that holds something stays.
            let _ = fs::remove_dir(file.path());
        } else if !below.to_str().is_some_and(|name| repair.names.contains(name)) {
            fs::remove_file(file.path()).map_err(failed(&file.path()))?;
            repair.removed += 1;
        }
    }
    Ok(())
}

/// Writes the checkpoint to a file on another volume.
pub(crate) fn write_anchor(place: &Path, checkpoint: &[u8]) -> Result<(), PublishError> {
    let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let written = write_whole(place, checkpoint, PUBLIC_MODE).and_then(|()| File::open(directory)?.sync_all());
    written.map_err(failed(place))
}

fn write_whole(place: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut beside = place.as_os_str().to_owned();
    beside.push(".tmp");
    // One that a crash has left keeps its permissions.
    if mode == PRIVATE_MODE {
        fs::remove_file(&beside)
            .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, place)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { path, source }
}
