//! Whether the current certificate of a record was ever given to anybody.
//!
//! A record moves when its certificate is committed, and the signature comes later or never. Where it never came, the owner has the
//! certificate before, and must not have to spend its one retry on the signer's failure. That nobody has the certificate is not quite certain:
//! after a crash, or where the ledger could not keep it, a signature may have been given and the record of it lost. So the record does not go back; it lets both on. Where a certificate
//! becomes void and nothing says that its signature failed, it is in doubt: then another key moves the record by the retry alone, with its alarm, and registers nothing anew.

use rusqlite::{Connection, params};

use crate::schema::signed;

/// Why nobody was given a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    /// Its signature failed. It is signed again if its request comes again.
    Failed,
    /// Its signature failed, and it is void: it is never signed.
    Void,
    /// It is void, and nothing says that its signature failed: somebody may have it.
    Doubtful,
}

impl Withheld {
    pub(crate) fn read(column: i64) -> Option<Self> {
        match column {
            0 => None,
            1 => Some(Self::Failed),
            2 => Some(Self::Void),
            _ => Some(Self::Doubtful),
        }
    }

    fn column(self) -> i64 {
        match self {
            Self::Failed => 1,
            Self::Void => 2,
            Self::Doubtful => 3,
        }
    }
}

/// The record whose current certificate that decision made, as long as its signature is not kept.
const CURRENT: &str = "log_index = ?1 AND id = (SELECT s.instance FROM request r JOIN serial s ON s.issuer = r.issuer \
                       AND s.serial = r.serial WHERE r.log_index = ?1 AND r.signature IS NULL)";

/// Nobody was given the certificate of that decision, if it is a current one.
pub(crate) fn withhold(connection: &Connection, log_index: u64, why: Withheld) -> rusqlite::Result<()> {
    let sql = format!("UPDATE instance SET withheld = max(withheld, ?2) WHERE {CURRENT}");
    connection.prepare_cached(&sql)?.execute(params![signed(log_index), why.column()]).map(drop)
}

/// The certificate of that decision is void, if it is a current one.
pub(crate) fn make_void(connection: &Connection, log_index: u64) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE instance SET withheld = CASE withheld WHEN 0 THEN ?2 WHEN ?3 THEN ?4 ELSE withheld END WHERE {CURRENT}"
    );
    let [doubtful, failed, void] = [Withheld::Doubtful, Withheld::Failed, Withheld::Void].map(Withheld::column);
    connection.prepare_cached(&sql)?.execute(params![signed(log_index), doubtful, failed, void]).map(drop)
}

/// The certificate of that decision is about to be signed again.
pub(crate) fn release(connection: &Connection, log_index: u64) -> rusqlite::Result<()> {
    let sql = format!("UPDATE instance SET withheld = 0 WHERE {CURRENT}");
    connection.prepare_cached(&sql)?.execute([signed(log_index)]).map(drop)
}
