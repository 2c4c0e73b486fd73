//! Whether what is stored is what the log says was decided. Whoever can write to the database's file can change rows;
//! they cannot change what is under the root of the tree that is held in memory.

use hallmark_entry::{Summary, sha256, summary::Text};
use hallmark_policy::{Stage, hex, time::UnixTime};
use hallmark_tlog::{
    frontier::Frontier,
    hash::Hash,
    proof::{NodeError, ProveError, prove_inclusion, verify_inclusion},
};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{nodes::StoredNodes, request::RequestRow, schema::signed};

/// What of the row, or of its decision's entry, is not as it was decided; nothing if all of it is.
///
/// The entry is hashed again, proven to be under the root of `frontier`, and compared with the row field by field.
pub(crate) fn disagreement(
    connection: &Connection,
    frontier: &Frontier,
    row: &RequestRow,
) -> rusqlite::Result<Option<&'static str>> {
    let tree = (frontier.size(), &frontier.root());
    Ok(match entry(connection, tree, row.log_index)? {
        Ok(entry) => difference(&entry, row),
        Err(what) => Some(what),
    })
}

/// The entry at an index, hashed again and proven to be in the tree of this size and root; or what is wrong with it.
pub(crate) fn entry(
    connection: &Connection,
    tree: (u64, &Hash),
    index: u64,
) -> rusqlite::Result<Result<Summary, &'static str>> {
    let sql = "SELECT leaf, bytes FROM entry WHERE log_index = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |found: &rusqlite::Row<'_>| Ok((found.get::<_, Vec<u8>>(0)?, found.get::<_, Vec<u8>>(1)?));
    let Some((stored, entry)) = statement.query_row([signed(index)], read).optional()? else {
        return Ok(Err("the entry of its decision is missing"));
    };
    let leaf = Hash::of_leaf(&entry);
    if stored != leaf.as_bytes() {
        return Ok(Err("the entry of its decision has another hash than the one that is stored"));
    }
    if !is_in_tree(connection, tree, index, &leaf)? {
        return Ok(Err("the entry of its decision is not in the log's tree"));
    }
    Ok(Summary::parse(&entry).map_err(|_| "its entry does not read"))
}

fn is_in_tree(connection: &Connection, (size, root): (u64, &Hash), index: u64, leaf: &Hash) -> rusqlite::Result<bool> {
    match prove_inclusion(&StoredNodes(connection), index, size) {
        Ok(path) => Ok(verify_inclusion(leaf, index, size, &path, root).is_ok()),
        Err(ProveError::Nodes(NodeError::Storage { source: error @ rusqlite::Error::SqliteFailure(..), .. })) => {
            Err(error)
        }
        // Nodes that are missing, or that are no hashes.
        Err(ProveError::Nodes(_) | ProveError::IndexBeyondTree { .. } | ProveError::SizesReversed { .. }) => Ok(false),
    }
}

/// What the row says otherwise than the entry.
fn difference(entry: &Summary, row: &RequestRow) -> Option<&'static str> {
    let (epoch, issuer) = (row.stage.epoch(), entry.issuer.as_ref());
    let entry_epoch = entry.epoch.as_ref().map(|epoch| (epoch.generation, epoch.transition.clone()));
    let agreements = [
        (entry.kind == "decision", "its entry is no decision"),
        (entry.decision.as_deref() == Some("issued"), "its entry is not the decision to issue"),
        (entry.tbs_sha256 == Some(hex(&sha256(&row.to_be_signed))), "the bytes to be signed are others than decided"),
        (entry.serial.as_deref().unwrap_or_default() == hex(&row.serial), "the serial number is another than decided"),
        (issuer.is_some_and(|issuer| issuer.spki_sha256 == hex(row.issuer.as_bytes())), "the issuer is another"),
        (entry.algorithm.as_deref() == Some(row.algorithm.name()), "the signature algorithm is another than decided"),
        (end(entry, row.stage) == Some(row.not_after.secs()), "its end is another than decided"),
        (entry.stage.as_deref() == Some(row.stage.name()), "the stage is another than decided"),
        (
            entry_epoch == epoch.map(|id| (id.generation, Some(hex(&id.transition)))),
            "the epoch is another than decided",
        ),
        (says(entry.authority.as_ref(), &row.authority), "the authority is another than decided"),
        (says(entry.caller.as_ref(), &row.caller), "the caller is another than decided"),
        (says(entry.request_id.as_ref(), &row.id), "the request id is another than decided"),
    ];
    agreements.into_iter().find_map(|(agrees, sentence)| (!agrees).then_some(sentence))
}

/// The last second that the entry speaks of. A certification request has no end.
fn end(entry: &Summary, stage: Stage) -> Option<i64> {
    match stage {
        Stage::Root
        | Stage::Intermediate { .. }
        | Stage::MeshCa { .. }
        | Stage::Leaf { .. }
        | Stage::OfflineIntermediate { .. }
        | Stage::Cross => entry.not_after,
        Stage::Crl { .. } => entry.next_update,
        Stage::Request { .. } | Stage::Possession => Some(UnixTime::LAST.secs()),
    }
}

/// Empty texts are left out of entries.
fn says(text: Option<&Text>, whole: &str) -> bool {
    text.map_or(whole.is_empty(), |text| text.is(whole))
}
