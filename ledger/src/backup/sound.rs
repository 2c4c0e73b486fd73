//! Whether a copy is a whole ledger, whose entries give the root that its checkpoint signs.

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{BackupFault, description::Description};
use crate::{
    genuine, nodes,
    origin::OriginRow,
    publish::{files::Files, tree::Tree},
    schema::{self, SCHEMA_VERSION},
    signing::Signed,
};

/// Reads the whole copy: SQLite's own check, every entry and hash up to the root, and some entries by their proofs.
pub(crate) fn check(database: &Path, description: &Description, signed: &Signed) -> Result<(), BackupFault> {
    let unsound = |what: String| BackupFault::Unsound { path: database.to_owned(), what };
    let connection = schema::reader(database)?;
    let found = schema::version(&connection)?;
    if found > SCHEMA_VERSION {
        return Err(BackupFault::Newer { found, known: SCHEMA_VERSION });
    }
    if found < SCHEMA_VERSION && !schema::can_upgrade(found) {
        return Err(BackupFault::Older { found, known: SCHEMA_VERSION });
    }
    let said: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if said != "ok" {
        return Err(unsound(said));
    }
    let head = nodes::head(&connection)?;
    let ledger = nodes::ledger(&connection)?;
    let row = OriginRow::current(&connection)?;
    let holds = [
        (found == description.schema, "its tables have another version than it says"),
        (head.size == signed.size && head.root == signed.root, "its tree is not that of its checkpoint"),
        (ledger == description.ledger, "it is another ledger's"),
        (row.is_some_and(|row| row.name == description.origin && !row.rolling), "its log has another origin"),
    ];
    if let Some((_, what)) = holds.into_iter().find(|(holds, _)| !holds) {
        return Err(unsound(what.to_owned()));
    }
    let origin = OriginRow::current(&connection)?.map(|row| row.origin());
    let Some(origin) = origin else { return Err(unsound("its log has no origin".to_owned())) };
    let nowhere = Files::new(PathBuf::new());
    let tree = Tree { connection: &connection, files: &nowhere, origin };
    tree.check(signed).map_err(|error| unsound(error.to_string()))?;
    check_proofs(&connection, signed).map_err(|error| match error {
        Ok(what) => unsound(what),
        Err(error) => error.into(),
    })
}

/// Proves the first entry, the last, and one in the middle, as receipts do.
fn check_proofs(connection: &Connection, signed: &Signed) -> Result<(), Result<String, rusqlite::Error>> {
    let Some(last) = signed.size.checked_sub(1) else { return Ok(()) };
    for index in [0, last / 2, last] {
        let found = genuine::entry(connection, (signed.size, &signed.root), index).map_err(Err)?;
        found.map_err(|what| Ok(format!("entry {index}: {what}")))?;
    }
    Ok(())
}
