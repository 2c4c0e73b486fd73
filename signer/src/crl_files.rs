//! The newest CRLs as files: there whole or not at all. They are derived, and written again wherever they are missing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use crate::ca::CrlList;

/// The directory of CRLs, and what is known to be in it.
pub(crate) struct CrlFiles {
    directory: PathBuf,
    /// Numbers of the CRLs that this run has written.
    written: Mutex<BTreeMap<(String, CrlList), u64>>,
}

impl CrlFiles {
    /// Below the directory of the published log.
    pub(crate) fn below(published: &Path) -> Self {
        Self { directory: published.join("crl"), written: Mutex::default() }
    }

    /// Where the newest CRL of a list is.
    pub(crate) fn path(&self, authority: &str, list: CrlList) -> PathBuf {
        self.directory.join(authority).join(format!("{list}.crl"))
    }

    /// Whether the CRL of that number was written and is still there.
    pub(crate) fn has(&self, authority: &str, list: CrlList, number: u64) -> bool {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.get(&(authority.to_owned(), list)) == Some(&number) && self.path(authority, list).is_file()
    }

    /// What is published there, where this run has not written it.
    pub(crate) fn of_another_run(&self, authority: &str, list: CrlList) -> Result<Option<Vec<u8>>, CrlFileError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = written.contains_key(&(authority.to_owned(), list));
        drop(written);
        if is_ours {
            return Ok(None);
        }
        let place = self.path(authority, list);
        match fs::read(&place) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CrlFileError::Read { place, source }),
        }
    }

    /// Writes a CRL beside its place, and moves it there once it is on the disk; never one in the place of a newer one.
    pub(crate) fn write(&self, authority: &str, list: CrlList, number: u64, der: &[u8]) -> Result<(), CrlFileError> {
        // One at a time: two would write beside the same place, and the older one might be the last.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (authority.to_owned(), list);
        if written.get(&key).is_some_and(|newer| *newer > number) {
            return Ok(());
        }
        let place = self.path(authority, list);
        write_whole(&place, der).map_err(|source| CrlFileError::Write { place, source })?;
        written.insert(key, number);
        Ok(())
    }
}

/// Why a CRL is not published, or what is published is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CrlFileError {
    #[error("`{}` cannot be written: {source}; hint: check the owner and the free space of the directory", .place.display())]
    Write { place: PathBuf, source: io::Error },
    #[error("`{}` cannot be read: {source}; hint: check its owner, or take it away", .place.display())]
    Read { place: PathBuf, source: io::Error },
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
    use hallmark_policy::crl::CrlScope;

    use super::*;
    use crate::ca::Ca;

    const EPOCH: CrlList = CrlList { ca: Ca::Epoch { generation: 7 }, scope: CrlScope::Complete };

    #[test]
    fn a_crl_replaces_the_one_before_and_leaves_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let files = CrlFiles::below(directory.path());
        for (number, der) in [(1, b"first".as_slice()), (2, b"second")] {
            assert!(!files.has("a.b", EPOCH, number));
            files.write("a.b", EPOCH, number, der).unwrap();
            assert!(files.has("a.b", EPOCH, number));
        }
        assert!(!files.has("a.b", EPOCH, 1) && !files.has("a.b", Ca::Root.into(), 2));
        let place = directory.path().join("crl/a.b/epoch-7.crl");
        assert_eq!(fs::read(&place).unwrap(), b"second");
        let names = fs::read_dir(place.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1);
        fs::remove_file(&place).unwrap();
        assert!(!files.has("a.b", EPOCH, 2), "somebody took it away");
    }

    #[test]
    fn an_older_crl_does_not_take_the_place_of_a_newer_one_and_one_that_does_not_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let files = CrlFiles::below(directory.path());
        assert_eq!(files.of_another_run("a", EPOCH).unwrap(), None);
        files.write("a", EPOCH, 2, b"second").unwrap();
        files.write("a", EPOCH, 1, b"first").unwrap();
        assert_eq!(fs::read(files.path("a", EPOCH)).unwrap(), b"second");
        let next = CrlFiles::below(directory.path());
        assert_eq!(next.of_another_run("a", EPOCH).unwrap().as_deref(), Some(b"second".as_slice()));
        fs::remove_file(files.path("a", EPOCH)).unwrap();
        fs::create_dir(files.path("a", EPOCH)).unwrap();
        assert!(next.of_another_run("a", EPOCH).is_err());
    }

    #[test]
    fn what_cannot_be_written_is_said_with_its_place() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("crl"), "a file").unwrap();
        let error = CrlFiles::below(directory.path()).write("a", Ca::Root.into(), 1, b"x").unwrap_err().to_string();
        assert!(error.contains("crl/a/root.crl") && error.contains("hint:"), "{error}");
    }
}
