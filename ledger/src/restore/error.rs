//! Why a backup is not restored, each as a sentence that says what to do.

use std::path::PathBuf;

use crate::{BackupFault, OpenError, PublishError};

/// Why a backup is not restored. Unless it says so, nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not believed.
    #[error(transparent)]
    Backup(#[from] BackupFault),
    /// The place cannot be used, or what was published cannot be believed.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Files of the published log cannot be written.
    #[error("{0}; hint: give the same command again, which finishes it")]
    Publish(#[from] PublishError),
    /// SQLite failed.
    #[error("the database failed: {0}; hint: check the disk and its free space, and give the same command again")]
    Sql(#[from] rusqlite::Error),
    /// It is another log's.
    #[error(
        "the backup is of the log `{found}`, and `log.origin` is `{configured}`; hint: give the configuration of that log"
    )]
    OtherLog {
        /// Origin in the backup.
        found: String,
        /// The configured one.
        configured: String,
    },
    /// There is a database.
    #[error(
        "there is a database `{}`; hint: `--replace` puts it aside, under a name that is told, and takes the backup in its place", .database.display()
    )]
    Exists {
        /// The database.
        database: PathBuf,
    },
    /// Something newer is known.
    #[error(
        "the backup `{}` has {size} entries, and {seen} are known by {by}: restored as it is, the log would fork, and nobody could tell \
         which certificates it has issued; hint: restore a newer backup, or let it go on as another log with `--continue-as ORIGIN --key FILE --publish DIR`", .from.display()
    )]
    Older {
        /// The backup.
        from: PathBuf,
        /// Its entries.
        size: u64,
        /// Entries that are known.
        seen: u64,
        /// What knows them, in words.
        by: String,
    },
    /// What was seen is not what the backup has.
    #[error(
        "{by} has {size} entries that are others than those of the backup: one of the two is another log under the same name; hint: keep both \
         for the auditors, and find out who has the log's key"
    )]
    Forked {
        /// What has them, in words.
        by: String,
        /// How many.
        size: u64,
    },
    /// Nothing tells whether the backup is the newest.
    #[error(
        "`{}` has no checkpoint, and so nothing here tells whether the backup is the newest; hint: give the newest checkpoint that the object \
         store, a witness or an auditor has with `--seen FILE`, which that of a backup does not replace, or your word that there is none with \
         `--accept-missing-checkpoint`", .publish.display()
    )]
    NothingSeen {
        /// The directory of the published log.
        publish: PathBuf,
    },
    /// The database that is there cannot be read.
    #[error(
        "the database `{}` cannot be read, and may have entries that were not published yet: nothing here tells whether the backup is the \
         newest; hint: give your word that nobody has seen more with `--accept-missing-checkpoint`, or let it go on as another log with \
         `--continue-as ORIGIN --key FILE --publish DIR`", .database.display()
    )]
    Unreadable {
        /// The database.
        database: PathBuf,
    },
    /// The database that is there is in use by somebody who takes no lock.
    #[error("the database `{}` is being read by somebody, and cannot be put aside as a whole; hint: end that program first", .database.display())]
    Read {
        /// The database.
        database: PathBuf,
    },
    /// A file is no CRL of the authority whose name it has.
    #[error(
        "`{}` is no CRL that verifies under the key that the backup has for it, and so the next ones could have numbers that were seen; hint: put \
         the newest in its place, such as from the object store, or take the file away", .path.display()
    )]
    Crl {
        /// The file.
        path: PathBuf,
    },
    /// A key in the backup is none, so that nobody can tell which CRLs it signed.
    #[error(
        "the backup has a key of the authority `{authority}` that does not read: {detail}; hint: restore another backup"
    )]
    Key {
        /// Whose.
        authority: String,
        /// What is wrong with it.
        detail: String,
    },
    /// A file with a checkpoint is not there.
    #[error("`{}` has no checkpoint; hint: name a file with a checkpoint, or a directory with a published log", .path.display())]
    NoCheckpoint {
        /// What was named.
        path: PathBuf,
    },
    /// The directory of the next log is not free.
    #[error("`{}` has a checkpoint, or is in use; hint: name a directory of its own for the next log", .directory.display())]
    Occupied {
        /// The directory.
        directory: PathBuf,
    },
    /// The next log has a name that was used.
    #[error("the log was published as `{origin}` before; hint: give it a name that it never had")]
    OriginUsed {
        /// The name.
        origin: String,
    },
    /// The next log is the same.
    #[error(
        "the backup is of the log `{origin}`, and cannot go on as that: it would fork; hint: give it a name that it never had"
    )]
    SameOrigin {
        /// The name.
        origin: String,
    },
    /// It is restored as another log already.
    #[error(
        "a backup is being restored as `{origin}` with the key `{key}`; hint: finish that with the same command first"
    )]
    OtherBegun {
        /// The new name.
        origin: String,
        /// The new key.
        key: String,
    },
    /// A checkpoint cannot be signed.
    #[error(
        "no checkpoint can be signed: {0}; hint: check the next log's key and origin, and give the same command again"
    )]
    Unsigned(String),
}
