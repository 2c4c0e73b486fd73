//! Files: read within a bound, written whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
};

use zeroize::Zeroizing;

/// Largest file that a user names and that is read, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 1 << 20;

/// What `--out -` means.
pub(crate) const STDOUT: &str = "-";

/// Permissions of written files: everybody may read certificates, receipts and entries.
const PUBLIC_FILE_MODE: u32 = 0o644;

/// What group and others may do.
const OTHERS_MODE: u32 = 0o077;

/// Why a file was not read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A server does not give it.
    #[error("`{url}` cannot be fetched: {sentence}")]
    Fetch {
        /// Its URL.
        url: String,
        /// What went wrong.
        sentence: String,
    },
    /// It is larger than anything that belongs there.
    #[error("`{}` has more than {bytes_max} bytes, so it is not the file that belongs here", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: usize,
    },
    /// It holds something else.
    #[error("`{}` holds no {expected}", path.display())]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        expected: &'static str,
    },
    /// A line of it is something else.
    #[error("`{}`, line {number}, is no {expected}", path.display())]
    UnexpectedLine {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        number: u64,
        /// What should be there.
        expected: &'static str,
    },
    /// It cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is there already.
    #[error("`{}` exists and is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Its directory is not there.
    #[error("`{}` cannot be written: there is no directory `{}`", path.display(), directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// Where it should go.
        directory: PathBuf,
    },
    /// A directory is named that is none.
    #[error("`{}` is no directory", path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
}

impl FileError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Read { .. } => "check the path and its permissions".to_owned(),
            Self::Fetch { .. } => "check the URL, and --ca if it is https".to_owned(),
            Self::TooLarge { .. } => "check that it is the right file".to_owned(),
            Self::Unexpected { expected, .. } => format!("name a file with a {expected}"),
            Self::UnexpectedLine { .. } => "`man hallmark-log-reconcile` says what it may hold".to_owned(),
            Self::Write { .. } => "check the directory's permissions and the space that is left".to_owned(),
            Self::Exists { .. } => "name another file, or give --force to overwrite".to_owned(),
            Self::NoDirectory { .. } => "make the directory first".to_owned(),
            Self::NotADirectory { .. } => "name the directory that holds `checkpoint` and `tile/`".to_owned(),
        }
    }
}

/// The content of a file that a user named.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    read_up_to(path, FILE_BYTES_MAX)
}

/// The content of a file, if it has no more than `bytes_max` bytes.
pub(crate) fn read_up_to(path: &Path, bytes_max: usize) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let bound = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    File::open(path).map_err(failed)?.take(bound).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

/// The content of a file with a private key, in memory that is never moved and is overwritten in the end.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = Zeroizing::new(vec![0; FILE_BYTES_MAX + 1]);
    let mut length = 0;
    while let Some(rest) = bytes.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if length > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { path: path.to_owned(), bytes_max: FILE_BYTES_MAX });
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whether others than its owner may read or write a file.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & OTHERS_MODE != 0)
}

/// Makes a directory, with those above it, unless it is there.
pub(crate) fn make_directory(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(|source| FileError::Write { path: path.to_owned(), source })
}

/// A JWT that a user named, without the space around it. Whether it is good the signer says.
pub(crate) fn read_jwt(path: &Path) -> Result<String, FileError> {
    let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "JWT" };
    let text = String::from_utf8(read(path)?).map_err(|_| unexpected())?;
    let jwt = text.trim_ascii();
    if jwt.is_empty() { Err(unexpected()) } else { Ok(jwt.to_owned()) }
}

/// A file that will be written once its content is known.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    path: PathBuf,
    overwrite: bool,
}

impl Target {
    /// Refuses early what could not be written later.
    pub(crate) fn new(path: &Path, overwrite: bool) -> Result<Self, FileError> {
        let directory = parent(path);
        if !directory.is_dir() {
            return Err(FileError::NoDirectory { path: path.to_owned(), directory: directory.to_owned() });
        }
        if path.is_dir() || (!overwrite && path.symlink_metadata().is_ok() && !is_device(path)) {
            return Err(FileError::Exists { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), overwrite })
    }

    /// Whether it stands for stdout.
    pub(crate) fn is_stdout(path: &Path) -> bool {
        path.as_os_str() == STDOUT
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of it or nothing: into a new file beside it, which then takes its name. What came to be there in the
    /// meantime is overwritten only where that was allowed. A device, such as /dev/null, is written to and never replaced.
    pub(crate) fn write(&self, content: &[u8]) -> Result<(), FileError> {
        if is_device(&self.path) {
            let written = OpenOptions::new().write(true).open(&self.path).and_then(|mut file| file.write_all(content));
            return written.map_err(|source| FileError::Write { path: self.path.clone(), source });
        }
        let temporary = self.temporary();
        let written = write_new(&temporary, content).and_then(|()| match self.overwrite {
            true => fs::rename(&temporary, &self.path),
            false => fs::hard_link(&temporary, &self.path),
        });
        // After a rename there is none; otherwise it has served.
        let _ = fs::remove_file(&temporary);
        written.map_err(|source| {
            let path = self.path.clone();
            let exists = source.kind() == io::ErrorKind::AlreadyExists;
            if exists { FileError::Exists { path } } else { FileError::Write { path, source } }
        })
    }

    fn temporary(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        parent(&self.path).join(format!(".{name}.{}.new", process::id()))
    }
}

/// Whether it leads to something that is neither a file nor a directory: a device or a pipe.
fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PUBLIC_FILE_MODE).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_written_to_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        // What would be replaced is this link, and not the machine's device.
        let path = directory.path().join("device");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        for overwrite in [false, true] {
            Target::new(&path, overwrite).unwrap().write(b"thrown away").unwrap();
            assert!(path.symlink_metadata().unwrap().is_symlink(), "it is still what it was");
        }
    }

    #[test]
    fn a_file_that_exists_is_kept_unless_overwriting_was_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("leaf.pem");
        let early = Target::new(&path, false).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(matches!(Target::new(&path, false), Err(FileError::Exists { .. })));
        assert!(matches!(early.write(b"ours"), Err(FileError::Exists { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        Target::new(&path, true).unwrap().write(b"ours").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_file_over_its_bound_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "1234").unwrap();
        assert_eq!(read_up_to(&path, 4).unwrap(), b"1234");
        assert!(matches!(read_up_to(&path, 3), Err(FileError::TooLarge { bytes_max: 3, .. })));
    }

    #[test]
    fn a_directory_that_is_not_there_is_said_before_anything_is_asked_for() {
        let directory = tempfile::tempdir().unwrap();
        let error = Target::new(&directory.path().join("no/leaf.pem"), false).unwrap_err();
        assert!(matches!(error, FileError::NoDirectory { .. }), "{error}");
    }
}
