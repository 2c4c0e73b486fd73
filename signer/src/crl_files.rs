//! The newest CRLs as files: there whole or not at all. They are derived, and written again wherever they are missing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::ca::Ca;

/// The directory of CRLs, and what is known to be in it.
pub(crate) struct CrlFiles {
    directory: PathBuf,
    /// Numbers of the CRLs that this run has written.
    written: Mutex<BTreeMap<(String, Ca), u64>>,
}

impl CrlFiles {
    /// Below the directory of the published log.
    pub(crate) fn below(published: &Path) -> Self {
        Self { directory: published.join("crl"), written: Mutex::default() }
    }

    /// Where the newest CRL of a CA is.
    pub(crate) fn path(&self, authority: &str, ca: Ca) -> PathBuf {
        self.directory.join(authority).join(format!("{ca}.crl"))
    }

    /// Whether the CRL of that number was written and is still there.
    pub(crate) fn has(&self, authority: &str, ca: Ca, number: u64) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&(authority.to_owned(), ca)) == Some(&number) && self.path(authority, ca).is_file()
    }

    /// Writes a CRL beside its place, and moves it there once it is on the disk.
    pub(crate) fn write(&self, authority: &str, ca: Ca, number: u64, der: &[u8]) -> Result<(), CrlFileError> {
        let place = self.path(authority, ca);
        write_whole(&place, der).map_err(|source| CrlFileError { place, source })?;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.insert((authority.to_owned(), ca), number);
        Ok(())
    }
}

/// Why a CRL is not published.
#[derive(Debug, thiserror::Error)]
#[error("`{}` cannot be written: {source}; hint: check the owner and the free space of the directory", .place.display())]
pub(crate) struct CrlFileError {
    place: PathBuf,
    source: io::Error,
}

fn write_whole(place: &Path, content: &[u8]) -> io::Result<()> {
    let directory = place.parent().unwrap_or_else(|| Path::new("."));
    make(directory)?;
    let mut beside = place.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = File::create(&beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&beside, place)?;
    File::open(directory)?.sync_all()
}

/// Makes a directory, durably, with those above it that are missing.
fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory.parent().unwrap_or_else(|| Path::new("."));
    make(above)?;
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::open(above)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Ca = Ca::Epoch { generation: 7 };

    #[test]
    fn a_crl_replaces_the_one_before_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let files = CrlFiles::below(directory.path());
        for (number, der) in [(1, b"first".as_slice()), (2, b"second")] {
            assert!(!files.has("a.b", EPOCH, number));
            files.write("a.b", EPOCH, number, der).unwrap();
            assert!(files.has("a.b", EPOCH, number));
        }
        assert!(!files.has("a.b", EPOCH, 1) && !files.has("a.b", Ca::Root, 2));
        let place = directory.path().join("crl/a.b/epoch-7.crl");
        assert_eq!(fs::read(&place).unwrap(), b"second");
        let names = fs::read_dir(place.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
        fs::remove_file(&place).unwrap();
        assert!(!files.has("a.b", EPOCH, 2), "somebody took it away");
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("crl"), "a file").unwrap();
        let error = CrlFiles::below(directory.path()).write("a", Ca::Root, 1, b"x").unwrap_err().to_string();
        assert!(error.contains("crl/a/root.crl") && error.contains("hint:"), "{error}");
    }
}
