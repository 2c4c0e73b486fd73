//! What an operator accepted at an opening: remembered before anything is signed under it, until the log says so.

use rusqlite::Connection;

/// A word of an operator that the database is the newest, although what would prove it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// The published checkpoint was missing.
    MissingCheckpoint,
    /// The copy of the checkpoint on another volume was missing.
    MissingAnchor,
}

impl Acceptance {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::MissingCheckpoint, Self::MissingAnchor];

    /// The command, as the log has it.
    #[must_use]
    pub fn command(self) -> &'static str {
        match self {
            Self::MissingCheckpoint => "accept-missing-checkpoint",
            Self::MissingAnchor => "accept-missing-anchor",
        }
    }

    pub(crate) fn of_command(command: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|accepted| accepted.command() == command)
    }

    fn bit(self) -> i64 {
        match self {
            Self::MissingCheckpoint => 1,
            Self::MissingAnchor => 2,
        }
    }

    /// From here on the next start logs it, also if this run ends before it does.
    pub(crate) fn remember(self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE head SET unlogged_acceptance = unlogged_acceptance | ?1";
        connection.execute(sql, [self.bit()]).map(drop)
    }

    /// The log has it.
    pub(crate) fn forget(self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE head SET unlogged_acceptance = unlogged_acceptance & ~?1";
        connection.prepare_cached(sql)?.execute([self.bit()]).map(drop)
    }
}

/// What was accepted and has no entry yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlogged(i64);

impl Unlogged {
    pub(crate) fn of_bits(bits: i64) -> Self {
        Self(bits)
    }

    /// Whether this was accepted.
    #[must_use]
    pub fn has(self, accepted: Acceptance) -> bool {
        self.0 & accepted.bit() != 0
    }
}
