//! One bundle with its leaf hashes, read and hashed apart from all others: on any thread.

use alloc::vec::Vec;

use super::{AuditError, Finding, Found, LogFiles, read_tile};
use crate::{
    bundle,
    hash::{HASH_BYTES, Hash},
    tile::{self, TILE_WIDTH, TileKind, TilePath},
};

/// Up to 256 entries and their leaf hashes, as they were read.
#[derive(Clone, Debug)]
pub struct Part {
    pub(super) entries: Found<Vec<Hash>>,
    pub(super) leaves: Found<Vec<Hash>>,
    pub(super) findings: Vec<Finding>,
    pub(super) entries_bytes: u64,
    pub(super) bundle_read: bool,
    pub(super) tile_read: bool,
}

impl Part {
    /// Reads part `index` of a log of `size` entries and tells `look` each entry, which nothing has verified yet.
    ///
    /// # Errors
    /// When a file is there and cannot be read. Everything else becomes a finding of the audit.
    pub fn read<F: LogFiles>(
        files: &F,
        size: u64,
        index: u64,
        look: impl FnMut(u64, &[u8]),
    ) -> Result<Self, AuditError<F::Error>> {
        Self::read_with(files, size, index, false, look)
    }

    /// The same where the bundle was pruned by a stated policy: only its leaf hashes are read.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn read_pruned<F: LogFiles>(files: &F, size: u64, index: u64) -> Result<Self, AuditError<F::Error>> {
        Self::read_with(files, size, index, true, |_, _| ())
    }

    fn read_with<F: LogFiles>(
        files: &F,
        size: u64,
        index: u64,
        pruned: bool,
        look: impl FnMut(u64, &[u8]),
    ) -> Result<Self, AuditError<F::Error>> {
        let mut part = Self {
            entries: None,
            leaves: None,
            findings: Vec::new(),
            entries_bytes: 0,
            bundle_read: false,
            tile_read: false,
        };
        if !pruned {
            part.read_bundle(files, size, TilePath::of_row(TileKind::Entries, index, size), look)?;
        }
        let leaves = TilePath::of_row(TileKind::Hashes { level: 0 }, index, size);
        part.leaves = read_hashes(files, leaves, size, &mut part.findings)?;
        part.tile_read = part.leaves.is_some();
        Ok(part)
    }

    /// Reads a bundle and keeps the hashes of the entries that the signed size covers.
    fn read_bundle<F: LogFiles>(
        &mut self,
        files: &F,
        size: u64,
        path: TilePath,
        mut look: impl FnMut(u64, &[u8]),
    ) -> Result<(), AuditError<F::Error>> {
        let first_entry = path.index() * TILE_WIDTH;
        let Some((read_path, bytes)) = read(files, path, size, &mut self.findings)? else {
            return Ok(());
        };
        self.bundle_read = true;
        let entries = match bundle::decode(&bytes) {
            Ok(entries) => entries,
            Err(reason) => {
                let entry = first_entry + reason.position() as u64;
                self.findings.push(Finding::BundleMalformed { path: read_path, entry, reason });
                return Ok(());
            }
        };
        let (wanted, found) = (u64::from(read_path.width()), entries.len() as u64);
        if wanted != found {
            self.findings.push(Finding::EntryCount { path: read_path, first_entry, wanted, found });
            return Ok(());
        }
        let mut hashes = Vec::with_capacity(entries.len());
        for (entry, index) in entries.into_iter().take(usize::from(path.width())).zip(first_entry..) {
            look(index, entry);
            self.entries_bytes += entry.len() as u64;
            hashes.push(Hash::of_leaf(entry));
        }
        self.entries = Some((read_path, hashes));
        Ok(())
    }
}

/// Reads a hash tile and gives the hashes that the signed size covers.
pub(super) fn read_hashes<F: LogFiles>(
    files: &F,
    path: TilePath,
    size: u64,
    findings: &mut Vec<Finding>,
) -> Result<Found<Vec<Hash>>, AuditError<F::Error>> {
    let Some((read_path, bytes)) = read(files, path, size, findings)? else {
        return Ok(None);
    };
    let wanted = u64::from(read_path.width()) * HASH_BYTES as u64;
    let found = bytes.len() as u64;
    match tile::decode_hashes(&bytes) {
        Ok(mut hashes) if wanted == found => {
            hashes.truncate(usize::from(path.width()));
            Ok(Some((read_path, hashes)))
        }
        Ok(_) | Err(_) => {
            let (first_entry, _) = covered(path, 0, path.width(), size);
            findings.push(Finding::TileLength { path: read_path, first_entry, wanted, found });
            Ok(None)
        }
    }
}

fn read<F: LogFiles>(
    files: &F,
    path: TilePath,
    size: u64,
    findings: &mut Vec<Finding>,
) -> Result<Found<Vec<u8>>, AuditError<F::Error>> {
    let read = read_tile(files, path)?;
    if read.is_none() {
        let (first_entry, last_entry) = covered(path, 0, path.width(), size);
        findings.push(Finding::Missing { path, first_entry, last_entry });
    }
    Ok(read)
}

/// First and last entry under `count` nodes of a tile from `position` on.
pub(super) fn covered(path: TilePath, position: u16, count: u16, size: u64) -> (u64, u64) {
    let level = match path.kind() {
        TileKind::Hashes { level } => level,
        TileKind::Entries => 0,
    };
    let leaves = 1_u64.checked_shl(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(u64::MAX);
    let node = (path.index() * TILE_WIDTH).saturating_add(u64::from(position));
    let first = node.saturating_mul(leaves);
    let end = node.saturating_add(u64::from(count)).saturating_mul(leaves).min(size);
    (first, end.saturating_sub(1))
}
