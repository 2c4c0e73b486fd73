//! Files: written whole and durable or not at all, never over another.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::error::CeremonyError;

/// Mode of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Mode of a file with a secret.
pub(crate) const SECRET: u32 = 0o600;

/// Mode of a file with a secret in wrapped form, which nothing has to write again.
pub(crate) const SEALED: u32 = 0o400;

/// Largest file that is read, in bytes.
const READ_BYTES_MAX: u64 = 4 * 1_048_576;

/// Writes a file that was not there, whole and durable. Where the same content is there already, from a run that was interrupted, that
/// is the file.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), CeremonyError> {
    let unwritable = |source| CeremonyError::Unwritable { path: path.to_owned(), source };
    match write(path, content, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match fs::read(path) {
            Ok(there) if there == content => Ok(()),
            Ok(_) | Err(_) => Err(unwritable(error)),
        },
        other => other.map_err(unwritable),
    }
}

fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let directory = directory_of(path);
    let mut aside =
        tempfile::Builder::new().prefix(".hallmark-").permissions(permissions(mode)).tempfile_in(directory)?;
    aside.write_all(content)?;
    aside.as_file().sync_all()?;
    // O_EXCL: a link is never made over what is there.
    aside.persist_noclobber(path).map_err(|error| error.error)?.sync_all()?;
    File::open(directory)?.sync_all()
}

fn permissions(mode: u32) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::Permissions::from_mode(mode)
}

/// Adds a line to a file, durable when this returns. A line before it that was never finished is taken away.
pub(crate) fn append(path: &Path, line: &str) -> Result<(), CeremonyError> {
    let add = || {
        let mut file = OpenOptions::new().read(true).append(true).mode(PUBLIC).create(true).open(path)?;
        let mut there = Vec::new();
        file.read_to_end(&mut there)?;
        let whole = there.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        File::open(directory_of(path))?.sync_all()
    };
    add().map_err(|source| CeremonyError::Unwritable { path: path.to_owned(), source })
}

/// Writes a file in place of the one that may be there, durable.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), CeremonyError> {
    let write = || {
        let directory = directory_of(path);
        let mut aside =
            tempfile::Builder::new().prefix(".hallmark-").permissions(permissions(PUBLIC)).tempfile_in(directory)?;
        aside.write_all(content)?;
        aside.as_file().sync_all()?;
        aside.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    };
    write().map_err(|source: io::Error| CeremonyError::Unwritable { path: path.to_owned(), source })
}

/// Makes a directory that only its owner may look into; one that is there stays as it is.
pub(crate) fn directory(path: &Path) -> Result<(), CeremonyError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| CeremonyError::Unwritable { path: path.to_owned(), source })
}

/// Reads a file of bounded size.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CeremonyError> {
    let mut content = Vec::new();
    let read = File::open(path).and_then(|file| file.take(READ_BYTES_MAX + 1).read_to_end(&mut content));
    match read {
        Ok(_) if content.len() as u64 <= READ_BYTES_MAX => Ok(content),
        Ok(_) => Err(CeremonyError::Unreadable {
            path: path.to_owned(),
            source: io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {READ_BYTES_MAX} bytes")),
        }),
        Err(source) => Err(CeremonyError::Unreadable { path: path.to_owned(), source }),
    }
}

/// Reads one PEM block of that label, as DER.
pub(crate) fn read_pem(path: &Path, label: &str, wanted: &'static str) -> Result<Vec<u8>, CeremonyError> {
    let text = read(path)?;
    match pem_rfc7468::decode_vec(text.trim_ascii()) {
        Ok((found, der)) if found == label => Ok(der),
        Ok(_) | Err(_) => Err(CeremonyError::NotOne { path: path.to_owned(), wanted }),
    }
}

/// One PEM block.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    // The only error is a length that overflows, which nothing in memory has.
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap_or_default()
}

/// Whether a file could be made there: nothing has that name, and its directory takes files.
pub(crate) fn is_free(what: &'static str, path: &Path) -> Result<(), CeremonyError> {
    let unwritable = |source| CeremonyError::Unwritable { path: path.to_owned(), source };
    if path.symlink_metadata().is_ok() {
        return Err(CeremonyError::OutputExists { what, path: path.to_owned() });
    }
    let directory = directory_of(path);
    if !directory.is_dir() {
        return Err(unwritable(io::Error::new(io::ErrorKind::NotFound, "its directory is not there")));
    }
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).map_err(|error| unwritable(error.into()))
}

/// The directory that a file is in: `.` for a bare name.
fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A path for people: relative to the ceremony's file where it is below it.
pub(crate) fn shown(path: &Path, directory: &Path) -> String {
    path.strip_prefix(directory).map_or_else(|_| path.to_owned(), PathBuf::from).display().to_string()
}
