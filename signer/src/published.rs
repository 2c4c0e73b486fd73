//! The published decision log while no core runs: nothing here touches a key of a CA.

use std::path::PathBuf;

use hallmark_ledger::{
    Ledger, LedgerConfig, LogKeys, NextLog, RebuildError, Rebuilt, RestoreError, RestoreWish, Restored, RollError,
    Rolled, UnixMillis,
};

/// Makes the published directory what the database says.
///
/// # Errors
/// See [`RebuildError`]; one of them is that a daemon has the database open.
pub fn rebuild_log(config: &LedgerConfig, keys: LogKeys) -> Result<Rebuilt, RebuildError> {
    Ledger::rebuild(config, keys)
}

/// Makes a directory that of a log that was closed.
///
/// # Errors
/// See [`RebuildError`].
pub fn rebuild_closed_log(
    config: &LedgerConfig,
    keys: LogKeys,
    origin: &str,
    directory: PathBuf,
) -> Result<Rebuilt, RebuildError> {
    Ledger::rebuild_closed(config, keys, origin, directory)
}

/// Closes the log and carries it on as another, or finishes that. Time is in milliseconds since 1970.
///
/// # Errors
/// See [`RollError`].
pub fn roll_log(config: &LedgerConfig, keys: LogKeys, next: NextLog, at_millis: i64) -> Result<Rolled, RollError> {
    Ledger::roll(config, keys, next, UnixMillis(at_millis))
}

/// Puts a backup in the place of the database, or finishes that.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore_ledger(config: &LedgerConfig, wish: RestoreWish) -> Result<Restored, RestoreError> {
    Ledger::restore(config, wish, &hallmark_issuance::crl_number)
}
