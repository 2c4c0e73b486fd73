//! The published decision log while no core runs: nothing here touches a key of a CA.

use hallmark_ledger::{Ledger, LedgerConfig, LogKeys, RebuildError, Rebuilt};

/// Makes the published directory what the database says.
///
/// # Errors
/// See [`RebuildError`]; one of them is that a daemon has the database open.
pub fn rebuild_log(config: &LedgerConfig, keys: LogKeys) -> Result<Rebuilt, RebuildError> {
    Ledger::rebuild(config, keys)
}
