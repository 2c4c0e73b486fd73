//! Logs that look like those of a busy signer.

use std::{
    fs,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result};
use hallmark_entry::{Object, sha256};
use hallmark_tlog::{
    bundle,
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::SignerKey,
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};

pub(crate) const ORIGIN: &str = "bench.example/log";

/// Milliseconds between two entries.
const APART_MILLIS: i64 = 10;

/// The same key each time: nothing is secret about it.
pub(crate) fn log_key() -> Result<SignerKey> {
    Ok(SignerKey::generate(ORIGIN, [1; 32])?)
}

/// Now, in milliseconds since 1970.
pub(crate) fn now_millis() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// A decision to issue, with the members of a real one.
fn decision(index: u64, at_millis: i64) -> Vec<u8> {
    let serial = sha256(format!("serial {index}").as_bytes());
    let host = format!("i-{index}.instanceid.athenz.lab.athenz.cloud");
    decision_of(index, at_millis, serial.get(..16).unwrap_or_default(), &host)
}

/// The same, about a certificate with this serial number and this host's name.
pub(crate) fn decision_of(index: u64, at_millis: i64, serial: &[u8], host: &str) -> Vec<u8> {
    let digest = |what: &str| sha256(format!("{what} {index}").as_bytes());
    let service = format!("service-{}", index % 1_000);
    let names =
        [format!("cn:sports.{service}"), format!("dns:{service}.sports.lab.athenz.cloud"), format!("dns:{host}")];
    Object::new()
        .text("method", "MintCertificate")
        .text("authority", "athenz")
        .text("caller", "coordinator")
        .text("profile", "athenz-service")
        .text("request-id", &hallmark_policy::hex(digest("request").get(..16).unwrap_or_default()))
        .text("possession", "csr")
        .texts("caller-identities", "caller-identities-omitted", ["uri:spiffe://lab.athenz.cloud/coordinator"])
        .texts("names", "names-omitted", names)
        .hex("caller-certificate-sha256", &digest("caller"))
        .hex("spki-sha256", &digest("spki"))
        .hex("request-sha256", &digest("csr"))
        .hex("policy-sha256", &[7; 32])
        .text("stage", "leaf")
        .text("subject", &format!("CN=sports.{service}"))
        .text("algorithm", "ecdsa-sha256")
        .integer("not-before", at_millis / 1_000)
        .integer("not-after", at_millis / 1_000 + 2_592_000)
        .hex("tbs-sha256", &digest("tbs"))
        .object("epoch", Object::new().count("generation", 1).hex("transition", &[5; 32]))
        .text("decision", "issued")
        .object("issuer", Object::new().hex("spki-sha256", &[9; 32]).count("sequence", index + 1))
        .hex("serial", serial)
        .into_entry("decision", at_millis)
}

/// What was published.
pub(crate) struct Published {
    /// Bytes of all entries.
    pub(crate) entries_bytes: u64,
    /// Bytes of all files.
    pub(crate) files_bytes: u64,
}

/// Publishes a log, one bundle in memory at a time.
pub(crate) fn publish(directory: &Path, entries: u64, decision_every: u64) -> Result<Published> {
    let first_millis = now_millis()? - i64::try_from(entries)? * APART_MILLIS;
    let mut frontier = Frontier::empty();
    let mut rows: Vec<Vec<Hash>> = vec![Vec::new()];
    let mut published = Published { entries_bytes: 0, files_bytes: 0 };
    for index in 0..entries.div_ceil(TILE_WIDTH) {
        let range = index * TILE_WIDTH..entries.min((index + 1) * TILE_WIDTH);
        let mut bundle = Vec::new();
        for number in range {
            let at_millis = first_millis + i64::try_from(number)? * APART_MILLIS;
            let is_decision = number.is_multiple_of(decision_every.max(1));
            let entry = if is_decision {
                decision(number / decision_every.max(1), at_millis)
            } else {
                Object::new().into_entry("heartbeat", at_millis)
            };
            published.entries_bytes += entry.len() as u64;
            let leaf = Hash::of_leaf(&entry);
            bundle.push(entry);
            push(&mut rows, 0, leaf);
            for node in frontier.append(leaf) {
                push(&mut rows, usize::from(node.level), node.hash);
            }
        }
        let path = TilePath::of_row(TileKind::Entries, index, entries);
        write(directory, &path.to_string(), &bundle::encode(&bundle)?, &mut published)?;
        write_rows(directory, &mut rows, entries, index, &mut published)?;
    }
    let head = Checkpoint::new(ORIGIN, entries, frontier.root())?.sign(&log_key()?)?;
    write(directory, CHECKPOINT_PATH, head.to_string().as_bytes(), &mut published)?;
    Ok(published)
}

fn push(rows: &mut Vec<Vec<Hash>>, level: usize, hash: Hash) {
    rows.resize(rows.len().max(level + 1), Vec::new());
    if let Some(row) = rows.get_mut(level) {
        row.push(hash);
    }
}

/// Writes the tiles that are full, or the last of their level.
fn write_rows(
    directory: &Path,
    rows: &mut [Vec<Hash>],
    entries: u64,
    bundle: u64,
    published: &mut Published,
) -> Result<()> {
    let is_last = bundle == (entries - 1) / TILE_WIDTH;
    for (row, level) in rows.iter_mut().zip(0_u8..) {
        if row.is_empty() || (row.len() as u64) < TILE_WIDTH && !is_last {
            continue;
        }
        let index = bundle >> (u32::from(level) * TILE_WIDTH.ilog2());
        let path = TilePath::hashes(level, index, u16::try_from(row.len())?)?;
        write(directory, &path.to_string(), &tile::encode_hashes(row), published)?;
        row.clear();
    }
    Ok(())
}

fn write(directory: &Path, path: &str, content: &[u8], published: &mut Published) -> Result<()> {
    let place = directory.join(path);
    fs::create_dir_all(place.parent().context("a parent")?)?;
    fs::write(&place, content)?;
    published.files_bytes += content.len() as u64;
    Ok(())
}
