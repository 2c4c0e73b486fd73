//! Writes files whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::trouble::Trouble;

/// Mode of a file that everybody may read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Mode of a file with a secret.
pub(crate) const SECRET: u32 = 0o600;

/// Whether a file is there.
pub(crate) fn exists(path: &Path) -> Result<bool, Trouble> {
    path.try_exists().map_err(|source| Trouble::Unreadable { path: path.to_owned(), source })
}

/// Writes a file that was not there, whole. A file that is there stays as it is, and that is an error.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> Result<(), Trouble> {
    written(path, content, mode, |from| {
        let linked = fs::hard_link(from, path);
        fs::remove_file(from)?;
        linked
    })
}

/// Writes a file, whole, in place of the one that may be there.
pub(crate) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), Trouble> {
    written(path, content, mode, |from| fs::rename(from, path))
}

/// Makes a directory that only its owner may look into, with those above it; one that is there stays as it is.
pub(crate) fn create_directory(path: &Path) -> Result<(), Trouble> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Trouble::Unwritable { path: path.to_owned(), source })
}

fn written(path: &Path, content: &[u8], mode: u32, put: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), Trouble> {
    let aside = aside(path);
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(content)?;
        file.sync_all()
    };
    let done = write().and_then(|()| put(&aside)).and_then(|()| File::open(directory_of(path))?.sync_all());
    done.map_err(|source| {
        drop(fs::remove_file(&aside));
        Trouble::Unwritable { path: path.to_owned(), source }
    })
}

/// Where the content stands until it is whole.
fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

/// The directory that a file is in: `.` for a bare name.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_is_there_is_not_created_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"first", SECRET).unwrap();
        assert!(matches!(create(&path, b"second", SECRET), Err(Trouble::Unwritable { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SECRET);
        replace(&path, b"third", SECRET).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing else is left");
    }
}
