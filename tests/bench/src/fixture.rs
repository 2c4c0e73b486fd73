//! A ledger as it is after years: entries of earlier certificates, and the rows by which their serial numbers are kept apart and
//! operators find them, put into the tables of a daemon that is stopped.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use hallmark_entry::{Object, sha256};
use hallmark_tlog::{checkpoint::Checkpoint, frontier::Frontier, hash::Hash, note::SignerKey, tile::CHECKPOINT_PATH};
use rusqlite::{Connection, params};

/// Name of the log in the example's configuration.
const ORIGIN: &str = "hallmark.lab/signer";

/// Bytes of an entry, about as many as that of a decision has.
const PAD_BYTES: usize = 1_000;

/// Rows of `found_by` for a certificate: serial number, key and three names.
const FOUND_BY: u64 = 5;

/// Memory for pages meanwhile, in KiB.
const CACHE_KIB: i64 = 500_000;

/// How long the certificates are valid yet, in seconds: none of them is forgotten meanwhile.
const VALID_SECS: i64 = 30 * 86_400;

/// Appends so many entries to the ledger of this laboratory.
pub(crate) fn fill(laboratory: &Path, entries: u64) -> Result<()> {
    let database = laboratory.join("hallmark.db");
    let mut connection = Connection::open(&database)?;
    // Nothing here must outlive a crash, and a write-ahead log would take the room twice.
    connection.pragma_update(None, "journal_mode", "off")?;
    connection.pragma_update(None, "synchronous", "off")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let (first, at): (u64, i64) = connection
        .query_row("SELECT size, at FROM head", [], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)))?;
    let mut frontier = edge(&connection)?;
    anyhow::ensure!(frontier.size() == first, "the ledger's entries are not those of its tree");
    let transaction = connection.transaction()?;
    append(&transaction, &mut frontier, entries, at)?;
    find(&transaction, first, entries, at)?;
    let (size, root) = (i64::try_from(frontier.size())?, frontier.root());
    transaction.execute("UPDATE head SET size = ?1, root = ?2, published = ?1", params![size, root.as_bytes()])?;
    transaction.commit()?;
    drop(connection);
    // Otherwise the first fsync of the daemon writes all of it.
    fs::File::open(&database)?.sync_all()?;
    let key = fs::read_to_string(laboratory.join("log.key")).context("the log key")?;
    let head = Checkpoint::new(ORIGIN, frontier.size(), root)?.sign(&SignerKey::parse(key.trim())?)?;
    fs::write(laboratory.join("log").join(CHECKPOINT_PATH), head.to_string()).context("the checkpoint")
}

/// The right edge of the tree that is there.
fn edge(connection: &Connection) -> Result<Frontier> {
    let mut frontier = Frontier::empty();
    let mut leaves = connection.prepare("SELECT leaf FROM entry ORDER BY log_index")?;
    for leaf in leaves.query_map([], |row| row.get::<_, [u8; 32]>(0))? {
        frontier.append(Hash::from_bytes(leaf?));
    }
    Ok(frontier)
}

fn append(connection: &Connection, frontier: &mut Frontier, entries: u64, at: i64) -> Result<()> {
    let mut entry = connection.prepare("INSERT INTO entry (log_index, leaf, bytes) VALUES (?1, ?2, ?3)")?;
    let mut node = connection.prepare("INSERT INTO node (level, node_index, hash) VALUES (?1, ?2, ?3)")?;
    let pad = "x".repeat(PAD_BYTES);
    for _ in 0..entries {
        let index = frontier.size();
        let mark = sha256(&index.to_be_bytes());
        let object = Object::new().hex("mark", mark.get(..8).unwrap_or_default()).text("pad", &pad);
        let bytes = object.into_entry("heartbeat", at);
        let leaf = Hash::of_leaf(&bytes);
        entry.execute(params![i64::try_from(index)?, leaf.as_bytes(), bytes])?;
        for done in frontier.append(leaf) {
            node.execute(params![done.level, i64::try_from(done.index)?, done.hash.as_bytes()])?;
        }
    }
    Ok(())
}

/// Serial numbers and digests, spread as random ones are, in the order of the tables so that filling them is quick.
fn find(connection: &Connection, first: u64, entries: u64, at: i64) -> Result<()> {
    let issuer = "SELECT id FROM issuer ORDER BY id DESC LIMIT 1";
    let issuer: i64 = connection.query_row(issuer, [], |row| row.get(0)).context("the ledger has no issuer yet")?;
    let sql = "INSERT INTO serial (issuer, serial, not_after, log_index) VALUES (?1, ?2, ?3, ?4)";
    let mut serial = connection.prepare(sql)?;
    let mut found_by =
        connection.prepare("INSERT INTO found_by (stretch, digest, log_index) VALUES (?2 >> 17 << 1, ?1, ?2)")?;
    let mut stretch =
        connection.prepare("INSERT OR REPLACE INTO found_stretch (stretch, latest_end) VALUES (?1 >> 17 << 1, ?2)")?;
    let end = at / 1_000 + VALID_SECS;
    let step = u64::MAX / entries.max(1) / FOUND_BY;
    for number in 0..entries {
        let index = i64::try_from(first + number)?;
        let spread = (number * FOUND_BY * step).to_be_bytes();
        let bytes = [&[1][..], &spread, &spread].concat();
        serial.execute(params![issuer, bytes, end, index])?;
        stretch.execute([index, end])?;
        for row in 0..FOUND_BY {
            let digest = ((number * FOUND_BY + row) * step).wrapping_add(1 << 63).cast_signed();
            found_by.execute(params![digest, index])?;
        }
    }
    Ok(())
}
