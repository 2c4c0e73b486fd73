//! One audit, from the first bundle to the root.

use alloc::{borrow::ToOwned as _, vec::Vec};

use super::{AuditError, FINDINGS_MAX, Finding, Found, LogFiles, Progress, Report, Visitor, read_tile, walk::Walk};
use crate::{
    bundle,
    checkpoint::Checkpoint,
    hash::{HASH_BYTES, Hash},
    tile::{self, TILE_WIDTH, TileKind, TilePath},
};

const LEAVES: TileKind = TileKind::Hashes { level: 0 };

pub(super) struct Run<'a, F, V> {
    files: &'a F,
    visitor: &'a mut V,
    anchors: Vec<&'a Checkpoint>,
    report: Report,
    /// The tree of the entries; where a bundle cannot be read, of the leaf hashes in its place.
    entries: Walk,
    /// The tree of the leaf hashes, from the first one on that differs from its entry.
    leaves: Option<Walk>,
    /// First entry that has neither a readable bundle nor a readable leaf hash.
    gap: Option<u64>,
}

impl<'a, F: LogFiles, V: Visitor> Run<'a, F, V> {
    pub(super) fn new(files: &'a F, visitor: &'a mut V, head: &Checkpoint, anchors: &'a [Checkpoint]) -> Self {
        let report = Report {
            origin: head.origin().to_owned(),
            size: head.size(),
            root: head.root(),
            bundles: 0,
            tiles: 0,
            entries_bytes: 0,
            findings: Vec::new(),
            findings_dropped: 0,
        };
        let mut anchors: Vec<_> = anchors.iter().collect();
        anchors.sort_by_key(|anchor| core::cmp::Reverse(anchor.size()));
        Self { files, visitor, anchors, report, entries: Walk::new(), leaves: None, gap: None }
    }

    pub(super) fn finish(mut self) -> Result<Report, AuditError<F::Error>> {
        self.drop_impossible_anchors();
        let size = self.report.size;
        for (bundle, leaves) in tile::changed(TileKind::Entries, 0, size).zip(tile::changed(LEAVES, 0, size)) {
            self.check_bundle(bundle, leaves)?;
            for level in self.entries.full_levels() {
                self.check_upper(level, bundle.index())?;
            }
            let entries = size.min((bundle.index() + 1) * TILE_WIDTH);
            self.visitor.progress(Progress { entries, size, entries_bytes: self.report.entries_bytes });
        }
        for level in self.entries.open_levels() {
            self.check_upper(level, size / TILE_WIDTH)?;
        }
        self.check_root();
        Ok(self.report)
    }

    /// Compares a bundle with its leaf hashes, and grows the tree by what could be read.
    fn check_bundle(&mut self, bundle: TilePath, leaves: TilePath) -> Result<(), AuditError<F::Error>> {
        let entries = self.read_bundle(bundle)?;
        let hashes = self.read_hashes(leaves)?;
        match (entries, hashes) {
            (Some((bundle, entries)), Some((leaves, hashes))) => {
                for ((entry, hash), index) in entries.iter().zip(&hashes).zip(bundle.index() * TILE_WIDTH..) {
                    if entry != hash {
                        self.find(Finding::EntryDiffers { bundle, tile: leaves, entry: index, altered: None });
                    }
                    self.grow(index, *entry, *hash);
                }
            }
            (Some((_, hashes)), None) | (None, Some((_, hashes))) => {
                for (hash, index) in hashes.into_iter().zip(bundle.index() * TILE_WIDTH..) {
                    self.grow(index, hash, hash);
                }
            }
            (None, None) => self.gap = self.gap.or_else(|| Some(bundle.index() * TILE_WIDTH)),
        }
        Ok(())
    }

    /// Reads a bundle and gives the hashes of the entries that the signed size covers.
    fn read_bundle(&mut self, path: TilePath) -> Result<Found<Vec<Hash>>, AuditError<F::Error>> {
        let first_entry = path.index() * TILE_WIDTH;
        let Some((read_path, bytes)) = self.read(path)? else {
            return Ok(None);
        };
        self.report.bundles += 1;
        let entries = match bundle::decode(&bytes) {
            Ok(entries) => entries,
            Err(reason) => {
                let entry = first_entry + reason.position() as u64;
                self.find(Finding::BundleMalformed { path: read_path, entry, reason });
                return Ok(None);
            }
        };
        let (wanted, found) = (u64::from(read_path.width()), entries.len() as u64);
        if wanted != found {
            self.find(Finding::EntryCount { path: read_path, first_entry, wanted, found });
            return Ok(None);
        }
        let mut hashes = Vec::new();
        for (entry, index) in entries.into_iter().take(usize::from(path.width())).zip(first_entry..) {
            self.visitor.entry(index, entry);
            self.report.entries_bytes += entry.len() as u64;
            hashes.push(Hash::of_leaf(entry));
        }
        Ok(Some((read_path, hashes)))
    }

    /// Reads a hash tile and gives the hashes that the signed size covers.
    fn read_hashes(&mut self, path: TilePath) -> Result<Found<Vec<Hash>>, AuditError<F::Error>> {
        let Some((read_path, bytes)) = self.read(path)? else {
            return Ok(None);
        };
        self.report.tiles += 1;
        let wanted = u64::from(read_path.width()) * HASH_BYTES as u64;
        let found = bytes.len() as u64;
        match tile::decode_hashes(&bytes) {
            Ok(mut hashes) if wanted == found => {
                hashes.truncate(usize::from(path.width()));
                Ok(Some((read_path, hashes)))
            }
            Ok(_) | Err(_) => {
                let (first_entry, _) = covered(path, 0, path.width(), self.report.size);
                self.find(Finding::TileLength { path: read_path, first_entry, wanted, found });
                Ok(None)
            }
        }
    }

    /// Compares the tile of a level above the leaves with what the entries give. `last_bundle` lies under the tile.
    fn check_upper(&mut self, level: u8, last_bundle: u64) -> Result<(), AuditError<F::Error>> {
        if self.gap.is_some() {
            return Ok(());
        }
        let width = u16::try_from(self.entries.row(level).len()).unwrap_or(u16::MAX);
        let index = last_bundle.checked_shr(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(0);
        let Ok(path) = TilePath::hashes(level, index, width) else {
            return Ok(());
        };
        if let Some((read_path, hashes)) = self.read_hashes(path)? {
            let of_leaves = self.leaves.as_ref().is_some_and(|leaves| leaves.row(level) == hashes);
            let differs = self.entries.row(level).iter().zip(&hashes).position(|(computed, hash)| computed != hash);
            if let Some(position) = differs.filter(|_| !of_leaves).and_then(|position| u16::try_from(position).ok()) {
                let (first_entry, last_entry) = covered(path, position, 1, self.report.size);
                let position = u64::from(position);
                self.find(Finding::TileDiffers { path: read_path, position, first_entry, last_entry });
            }
        }
        self.entries.clear(level);
        if let Some(leaves) = &mut self.leaves {
            leaves.clear(level);
        }
        Ok(())
    }

    /// Adds a leaf to both trees. They are one as long as `entry` and `hash` never differed.
    fn grow(&mut self, index: u64, entry: Hash, hash: Hash) {
        if self.gap.is_some() {
            return;
        }
        if entry != hash && self.leaves.is_none() {
            self.leaves = Some(self.entries.clone());
        }
        self.entries.append(entry);
        if let Some(leaves) = &mut self.leaves {
            leaves.append(hash);
        }
        while let Some(anchor) = self.anchors.pop_if(|anchor| anchor.size() == index + 1) {
            let leaves_root = self.leaves.as_ref().map(Walk::root);
            if self.entries.root() != anchor.root() && leaves_root != Some(anchor.root()) {
                self.find(Finding::AnchorDiffers { anchor_size: anchor.size() });
            }
        }
    }

    fn drop_impossible_anchors(&mut self) {
        for anchor in core::mem::take(&mut self.anchors) {
            if anchor.origin() != self.report.origin {
                let (anchor, origin) = (anchor.origin().to_owned(), self.report.origin.clone());
                self.find(Finding::AnchorOfAnotherLog { anchor, origin });
            } else if anchor.size() > self.report.size {
                self.find(Finding::ShorterThanAnchor { size: self.report.size, anchor_size: anchor.size() });
            } else if anchor.size() > 0 {
                self.anchors.push(anchor);
            }
        }
    }

    /// Compares the root, and says who is to blame where entries and leaf hashes differ and the root decides.
    fn check_root(&mut self) {
        let (size, signed) = (self.report.size, self.report.root);
        if let Some(first_entry) = self.gap {
            return self.find(Finding::RootUnknown { first_entry });
        }
        let computed = self.entries.root();
        let by_leaves = self.leaves.as_ref().is_some_and(|leaves| leaves.root() == signed);
        if computed != signed && !by_leaves {
            return self.find(Finding::RootDiffers { size, signed, computed });
        }
        for finding in &mut self.report.findings {
            if let Finding::EntryDiffers { bundle, tile, altered, .. } = finding {
                *altered = Some(if by_leaves { *bundle } else { *tile });
            }
        }
    }

    fn read(&mut self, path: TilePath) -> Result<Found<Vec<u8>>, AuditError<F::Error>> {
        let read = read_tile(self.files, path)?;
        if read.is_none() {
            let (first_entry, last_entry) = covered(path, 0, path.width(), self.report.size);
            self.find(Finding::Missing { path, first_entry, last_entry });
        }
        Ok(read)
    }

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        } else {
            self.report.findings_dropped += 1;
        }
    }
}

/// First and last entry under `count` nodes of a tile from `position` on.
fn covered(path: TilePath, position: u16, count: u16, size: u64) -> (u64, u64) {
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
