//! How much the database may grow while it is copied: nothing of its write-ahead log is used again before the copy has every page.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use super::{BackupFault, failed};

/// Longest write-ahead log of a database while it is copied, in bytes.
const WAL_BYTES_MAX: u64 = 4 << 30;

/// Bytes that stay free on the file system of the database while it is copied. It is more than what the ledger keeps for itself, which therefore
/// goes on when the backup is given up.
const FREE_BYTES_MIN: u64 = 128 << 20;

/// At most one in so many parts of a file system is kept free.
const FREE_PARTS: u64 = 4;

/// What is looked at.
#[derive(Debug)]
pub(super) struct Growth {
    directory: PathBuf,
    wal: PathBuf,
    wal_bytes_max: u64,
    free_bytes_min: u64,
}

impl Growth {
    pub(super) fn of(database: &Path) -> Self {
        let mut wal = OsString::from(database.as_os_str());
        wal.push("-wal");
        let directory = database.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new(".")).to_owned();
        Self { directory, wal: wal.into(), wal_bytes_max: WAL_BYTES_MAX, free_bytes_min: FREE_BYTES_MIN }
    }

    /// That the copy may go on; an error is the end of it, so that the database has its room back.
    pub(super) fn check(&self) -> Result<(), BackupFault> {
        let bytes = fs::metadata(&self.wal).map_or(0, |found| found.len());
        if bytes > self.wal_bytes_max {
            return Err(BackupFault::Growth { path: self.wal.clone(), bytes });
        }
        let found = rustix::fs::statvfs(&self.directory).map_err(|error| failed(&self.directory)(error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        let (free, wanted) = (bytes(found.f_bavail), self.free_bytes_min.min(bytes(found.f_blocks) / FREE_PARTS));
        if free < wanted {
            return Err(BackupFault::Room { path: self.directory.clone(), free, wanted });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_given_up_before_the_database_takes_all_of_its_disk() {
        let directory = tempfile::tempdir().unwrap();
        let growth = Growth::of(&directory.path().join("ledger.db"));
        growth.check().expect("there is no write-ahead log yet, and room");
        let wal = fs::File::create(directory.path().join("ledger.db-wal")).unwrap();
        wal.set_len(11).unwrap();
        let bounded = |wal_bytes_max, free_bytes_min| Growth {
            directory: growth.directory.clone(),
            wal: growth.wal.clone(),
            wal_bytes_max,
            free_bytes_min,
        };
        bounded(11, 0).check().expect("it is as long as it may be");
        let error = bounded(10, 0).check().unwrap_err();
        assert!(matches!(&error, BackupFault::Growth { bytes: 11, .. }), "{error}");
        assert!(error.to_string().contains("hint: name a faster, local directory"), "{error}");
        // Of what is larger than the file system, a part counts.
        let found = rustix::fs::statvfs(directory.path()).unwrap();
        let error = bounded(11, u64::MAX).check().err();
        let is_full = found.f_bavail < found.f_blocks / FREE_PARTS;
        assert_eq!(matches!(error, Some(BackupFault::Room { .. })), is_full, "{error:?}");
    }
}
