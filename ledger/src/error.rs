//! What can fail, each as a sentence that says what happened and what to do.

use std::{io, path::PathBuf};

/// Why a ledger cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the lock.
    #[error("another daemon has the database `{}` open; hint: stop it first, or use another database", .database.display())]
    InUse {
        /// The database.
        database: PathBuf,
    },
    /// Another process publishes there.
    #[error("another daemon publishes into `{}`; hint: stop it first, or name another directory", .publish.display())]
    Published {
        /// The directory of the published log.
        publish: PathBuf,
    },
    /// A newer program wrote it.
    #[error(
        "the database `{}` has schema version {found}, and this program knows {known}; hint: run the newer \
         program that wrote it", .database.display()
    )]
    Newer {
        /// The database.
        database: PathBuf,
        /// Its schema version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// An older program wrote it, before schemas were carried over.
    #[error(
        "the database `{}` has schema version {found}, of an older program, and this one begins at {known}; hint: keep \
         it and its log for the auditors, and begin a new one with a new log key", .database.display()
    )]
    Older {
        /// The database.
        database: PathBuf,
        /// Its schema version.
        found: i64,
        /// The only version known here.
        known: i64,
    },
    /// The stored tree does not have the stored root.
    #[error(
        "the database `{}` is damaged: {what}; hint: do not mint with it; restore a backup that is at least as \
         new as the published checkpoint", .database.display()
    )]
    Broken {
        /// The database.
        database: PathBuf,
        /// What does not agree.
        what: String,
    },
    /// The database does not continue what was published.
    #[error(
        "the log in `{}` does not continue the checkpoint `{}`: {what}; an older or another database \
         was put in place; hint: bring back the newest database, or keep this log for the auditors and begin a new one \
         with a new log key", .database.display(), .checkpoint.display()
    )]
    Restored {
        /// The database.
        database: PathBuf,
        /// The published checkpoint, or its copy on another volume.
        checkpoint: PathBuf,
        /// What does not agree.
        what: String,
    },
    /// There was a published checkpoint, and it is gone.
    #[error(
        "`{}` has no checkpoint, and at least {published} entries of the log in `{}` were published: nothing tells whether \
         the database is an older copy; hint: bring the directory back, or start once with --accept-missing-checkpoint if \
         you are sure that the database is the newest", .publish.display(), .database.display()
    )]
    CheckpointMissing {
        /// The database.
        database: PathBuf,
        /// The directory of the published log.
        publish: PathBuf,
        /// Entries that were published, at least.
        published: u64,
    },
    /// There was a copy of the checkpoint on another volume, and it is gone.
    #[error(
        "the anchor `{}` is missing, and the log in `{}` has written one before: nothing there tells whether the database is an \
         older copy; hint: mount its volume or bring the file back, or start once with --accept-missing-anchor if you are sure \
         that the database is the newest", .anchor.display(), .database.display()
    )]
    AnchorMissing {
        /// The database.
        database: PathBuf,
        /// Where the copy should be.
        anchor: PathBuf,
    },
    /// The database is that of a log with another name.
    #[error(
        "the log in `{}` is `{found}`, and `log.origin` is `{configured}`; hint: configure the origin that it has, or carry it on \
         under a new one with `hallmarkd log roll`", .database.display()
    )]
    OtherOrigin {
        /// The database.
        database: PathBuf,
        /// Its origin.
        found: String,
        /// The configured one.
        configured: String,
    },
    /// A roll-over was interrupted.
    #[error(
        "the log in `{}` was being carried over to the origin `{origin}`, and not all of it is on the disk; hint: give the same \
         command again (`hallmarkd log roll`, or `hallmarkd restore`), with the configuration from before", .database.display()
    )]
    Rolling {
        /// The database.
        database: PathBuf,
        /// The new origin.
        origin: String,
    },
    /// The published checkpoint cannot be believed.
    #[error(
        "the checkpoint `{}` does not hold under this log key; hint: give the log key that signed it, as `previous-key` if \
         a new one takes its place, or move it away if it is another log's", .checkpoint.display()
    )]
    Checkpoint {
        /// The published checkpoint, or its copy on another volume.
        checkpoint: PathBuf,
        /// What does not hold.
        #[source]
        source: hallmark_tlog::checkpoint::CheckpointError,
    },
    /// A file cannot be used.
    #[error("`{}` cannot be used: {source}; hint: check that its directory exists, its owner and its free space", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// SQLite refuses.
    #[error("the database `{}` cannot be opened: {source}; hint: check its owner, its free space and its size limit", .database.display())]
    Sql {
        /// The database.
        database: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
}

/// Why an operation has no answer. Unless it says so, nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// The queue is full.
    #[error(
        "the ledger's queue of {QUEUE_OPERATIONS_MAX} operations is full; hint: try again later, with fewer at once"
    )]
    Busy,
    /// The disk, or the bound on the database's size, is exhausted.
    #[error("the ledger has no space left and wrote nothing; hint: free space on its disk, or raise its size limit")]
    Full,
    /// A write to the disk failed, so nobody knows what is on it; or the writer died.
    #[error(
        "the ledger stopped because {cause}; whether the last entries are durable is not known; hint: \
         check the disk, then start the daemon again: it goes on from what is there"
    )]
    Poisoned {
        /// What happened, as the end of a sentence.
        cause: String,
    },
    /// After [`stop`](crate::Ledger::stop).
    #[error("the ledger is stopped; hint: send the request again when the daemon is back")]
    Stopped,
    /// A compare-and-set found another state. The sentence says which.
    #[error("{sentence}")]
    Condition {
        /// What is, and what would have to be.
        sentence: String,
    },
    /// A row of the database says otherwise than the log, or nothing in the log is behind it.
    #[error(
        "the database was changed behind the signer's back: {what}; hint: audit the log, and find out who can write to the \
         database"
    )]
    Tampered {
        /// What does not agree.
        what: String,
    },
    /// No entry has this index, or it is none that is signed.
    #[error("the log has no request at index {log_index}; hint: it may have been forgotten after the retention time")]
    UnknownIndex {
        /// The index asked for.
        log_index: u64,
    },
    /// No such request was committed.
    #[error("no request of that id was committed; hint: send it as a new one")]
    UnknownRequest,
    /// SQLite failed before anything was committed.
    #[error("the database failed and nothing was written: {cause}; hint: try again, and check the disk if it stays so")]
    Database {
        /// What SQLite said.
        cause: String,
    },
    /// The receipt that was made does not verify: a defect, or the database was changed by someone else.
    #[error("the receipt for entry {log_index} cannot be made: {cause}; hint: audit the published log")]
    Receipt {
        /// Which entry.
        log_index: u64,
        /// What does not hold.
        cause: String,
    },
}

/// Operations that wait for the writer at most; what comes on top is refused at once.
pub const QUEUE_OPERATIONS_MAX: usize = 4_096;
