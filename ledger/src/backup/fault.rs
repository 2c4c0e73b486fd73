//! Why there is no backup, or why one is not believed, each as a sentence that says what to do.

use std::{io, path::PathBuf};

use crate::LedgerError;

/// Why there is no backup; or why one is not believed.
#[derive(Debug, thiserror::Error)]
pub enum BackupFault {
    /// The ledger is stopped, or died.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file or directory cannot be used.
    #[error("`{}` cannot be used: {source}; hint: check that it is there, its owner and its free space", .path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name is none.
    #[error(
        "`{name}` is no name for a backup; hint: letters, digits, `.`, `-` and `_`, 100 at most, and no `.` at the beginning"
    )]
    Name {
        /// What was given.
        name: String,
    },
    /// There is one of that name.
    #[error("`{}` is there already; hint: give the backup another name", .path.display())]
    Exists {
        /// Its directory.
        path: PathBuf,
    },
    /// There is too little room.
    #[error(
        "`{}` has {free} bytes free, and a backup wants {wanted}; hint: make room, or name another file system in `ledger.backups`", .path.display()
    )]
    Room {
        /// Where backups are kept.
        path: PathBuf,
        /// Bytes that are free.
        free: u64,
        /// Bytes that are wanted.
        wanted: u64,
    },
    /// No checkpoint can be signed.
    #[error("no checkpoint can be signed: {0}; hint: check the log's key, and that the log signs at all")]
    Unsignable(String),
    /// The copy is not of this log.
    #[error(
        "the copy has {size} entries, and they are not those that this log has signed: the database or its copy was changed by \
         somebody else; hint: sign nothing more here, keep both files, and compare the database with the published log (`hallmark log verify`)"
    )]
    Foreign {
        /// Entries that it says it has.
        size: u64,
    },
    /// The write-ahead log grew too long meanwhile.
    #[error(
        "`{}` has grown to {bytes} bytes while the database was copied, and so the backup was given up; hint: name a faster, local directory \
         in `ledger.backups`, and take it when less is written", .path.display()
    )]
    Growth {
        /// The write-ahead log.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// A defect.
    #[error("the thread that makes the backup ended in a panic, which is a defect to be reported")]
    Panicked,
    /// SQLite failed.
    #[error("the copy of the database failed: {0}; hint: check the disk and its free space")]
    Sql(#[from] rusqlite::Error),
    /// The description does not agree with itself or with what was signed.
    #[error("`{}` is not what the signer wrote: {what}; hint: take another backup", .path.display())]
    Description {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The log's key did not sign it.
    #[error("`{}` is not signed by the key of this log; hint: it is another log's, or was changed: take another backup, or give the right log key", .path.display())]
    Unsigned {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        source: hallmark_tlog::checkpoint::CheckpointError,
    },
    /// A file is not what it was.
    #[error("`{}` is not the file that was backed up: {what}; hint: take another copy of this backup, or another backup", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The database in it is not what it says.
    #[error("the database `{}` is not sound: {what}; hint: take another backup", .path.display())]
    Unsound {
        /// Which file.
        path: PathBuf,
        /// What does not agree.
        what: String,
    },
    /// A newer program wrote it.
    #[error(
        "the backup has schema version {found}, and this program knows {known}; hint: restore it with the newer program that wrote it"
    )]
    Newer {
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// An older program wrote it, before schemas were carried over.
    #[error(
        "the backup has schema version {found}, and this program begins at {known}; hint: restore it with the older program that wrote it"
    )]
    Older {
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
}
