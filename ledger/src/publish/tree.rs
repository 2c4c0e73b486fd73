//! What the files of a published log hold, from the database.

use std::ops::Range;

use hallmark_entry::Summary;
use hallmark_tlog::{
    bundle,
    frontier::{Completed, Frontier},
    hash::Hash,
    proof::NodeSource as _,
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use rusqlite::{Connection, OptionalExtension as _};

use super::files::{self, Files, PublishError};
use crate::{
    nodes::{self, StoredNodes},
    opening,
    origin::Origin,
    signing::Signed,
};

/// Where the texts of policies are, each under its SHA-256.
pub(crate) const POLICIES: &str = "policies";

/// Where the private values of entries are.
pub(crate) const OPENINGS: &str = "openings";

/// Where the directory says how many entries have no bundles in it: those that were published under an earlier origin.
pub(crate) const PRUNED_BEFORE: &str = "pruned-before";

/// Where bundles are.
const BUNDLES: &str = "tile/entries";

/// How an entry that loads a policy is told from others without reading it.
const POLICY_LOADED: &str = "\"type\":\"policy-loaded\"";

/// The tree as its files show it, under one origin.
pub(crate) struct Tree<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) files: &'a Files,
    pub(crate) origin: Origin,
}

impl Tree<'_> {
    /// Brings the files from those of one size, 0 for none, to those of a checkpoint, which comes last.
    pub(crate) fn publish(&self, from: u64, signed: &Signed) -> Result<(), PublishError> {
        if from == 0 {
            self.check(signed)?;
        }
        let first_bundled = self.origin.first_bundled();
        if from == 0 && first_bundled > 0 {
            self.files.write(PRUNED_BEFORE, format!("{first_bundled}\n").as_bytes())?;
        }
        for path in self.changed(from, signed.size) {
            self.files.write(&path.to_string(), &self.content(path)?)?;
            if path.kind() == TileKind::Entries {
                self.publish_openings(path)?;
            }
        }
        self.files.sync_directories()?;
        self.files.write(CHECKPOINT_PATH, signed.note.to_string().as_bytes())?;
        self.files.sync_directories()
    }

    /// Nothing is written from a database that is not what was signed: what is published may be the last good copy.
    pub(crate) fn check(&self, signed: &Signed) -> Result<(), PublishError> {
        let stored = StoredNodes(self.connection);
        let node = |level, index| -> rusqlite::Result<Option<Hash>> {
            Ok(stored.nodes(level, index..index + 1)?.first().copied())
        };
        let mut frontier = Frontier::empty();
        while frontier.size() < signed.size {
            let start = frontier.size();
            let (_, leaves) = self.entries(start..signed.size.min(start + TILE_WIDTH))?;
            for completed in frontier.append_all(leaves) {
                if node(completed.level, completed.index)? != Some(completed.hash) {
                    let Completed { level, index, hash: _ } = completed;
                    return Err(PublishError::Damaged { what: format!("node {index} of level {level}") });
                }
            }
        }
        if frontier.root() == signed.root { Ok(()) } else { Err(PublishError::Damaged { what: "the root".to_owned() }) }
    }

    /// Entries with their leaf hashes, which must be those that are stored beside them.
    fn entries(&self, range: Range<u64>) -> Result<(Vec<Vec<u8>>, Vec<Hash>), PublishError> {
        let entries = nodes::entries(self.connection, range.clone())?;
        let leaves: Vec<_> = entries.iter().map(|entry| Hash::of_leaf(entry)).collect();
        let stored = StoredNodes(self.connection).nodes(0, range.clone())?;
        let differs = range.clone().zip(leaves.iter().zip(&stored)).find(|(_, (leaf, stored))| leaf != stored);
        let damaged = differs.map(|(index, _)| index).or_else(|| {
            let found = leaves.len().min(stored.len()) as u64;
            (found < range.end - range.start).then_some(range.start + found)
        });
        match damaged {
            Some(index) => Err(PublishError::Damaged { what: format!("entry {index}") }),
            None => Ok((entries, leaves)),
        }
    }

    /// The tiles and bundles that change from one size to another.
    fn changed(&self, from: u64, size: u64) -> impl Iterator<Item = TilePath> {
        let first_bundled = self.origin.first_bundled();
        let is_there =
            move |path: &TilePath| path.kind() != TileKind::Entries || path.index() * TILE_WIDTH >= first_bundled;
        tile::kinds(size).flat_map(move |kind| tile::changed(kind, from, size)).filter(is_there)
    }

    fn content(&self, path: TilePath) -> Result<Vec<u8>, PublishError> {
        let start = path.index() * TILE_WIDTH;
        let range = start..start + u64::from(path.width());
        let wanted = path.width();
        match path.kind() {
            TileKind::Entries => {
                let (entries, _) = self.entries(range)?;
                entries.iter().try_for_each(|entry| self.publish_policy(entry))?;
                Ok(bundle::encode(entries)?)
            }
            TileKind::Hashes { level } => {
                let hashes = StoredNodes(self.connection).nodes(level, range)?;
                files::complete(path, hashes.len(), wanted)?;
                Ok(tile::encode_hashes(&hashes))
            }
        }
    }

    /// Publishes the private values of a bundle's entries, if there are any.
    fn publish_openings(&self, bundle: TilePath) -> Result<(), PublishError> {
        let start = bundle.index() * TILE_WIDTH;
        let lines = opening::lines(self.connection, start..start + u64::from(bundle.width()))?;
        if lines.is_empty() { Ok(()) } else { self.files.write_private(&openings_path(bundle), lines.as_bytes()) }
    }

    /// Publishes the text of a policy that an entry brings into force.
    fn publish_policy(&self, entry: &[u8]) -> Result<(), PublishError> {
        if !std::str::from_utf8(entry).is_ok_and(|entry| entry.contains(POLICY_LOADED)) {
            return Ok(());
        }
        let Some(digest) = Summary::parse(entry).ok().and_then(|entry| entry.policy_sha256) else { return Ok(()) };
        let sql = "SELECT bytes FROM blob WHERE sha256 = unhex(?1)";
        let text: Option<Vec<u8>> = self.connection.query_row(sql, [&digest], |row| row.get(0)).optional()?;
        text.map_or(Ok(()), |text| self.files.write(&format!("{POLICIES}/{digest}"), &text))
    }
}

/// Where the private values of a bundle's entries are.
pub(crate) fn openings_path(bundle: TilePath) -> String {
    bundle.to_string().replacen(BUNDLES, OPENINGS, 1)
}
