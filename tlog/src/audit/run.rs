//! One audit, from the first bundle to the root.

use alloc::{borrow::ToOwned as _, vec::Vec};

use super::{
    AuditError, FINDINGS_MAX, Finding, LogFiles, Progress, Report,
    part::{Part, covered, read_hashes},
    walk::Walk,
};
use crate::{
    checkpoint::Checkpoint,
    hash::Hash,
    tile::{TILE_WIDTH, TilePath},
};

/// An audit under way: parts are added in order, then it is finished.
#[derive(Debug)]
pub struct Audit<'a, F> {
    files: &'a F,
    anchors: Vec<&'a Checkpoint>,
    /// Parts that were added.
    parts: u64,
    report: Report,
    /// The tree of the entries; where a bundle cannot be read, of the leaf hashes in its place.
    entries: Walk,
    /// The tree of the leaf hashes, from the first one on that differs from its entry.
    leaves: Option<Walk>,
    /// First entry that has neither a readable bundle nor a readable leaf hash.
    gap: Option<u64>,
}

impl<'a, F: LogFiles> Audit<'a, F> {
    pub(super) fn new(files: &'a F, head: &Checkpoint, anchors: &'a [Checkpoint]) -> Self {
        let report = Report {
            origin: head.origin().to_owned(),
            size: head.size(),
            root: head.root(),
            bundles: 0,
            tiles: 0,
            entries_bytes: 0,
            findings: Vec::new(),
            findings_dropped: 0,
            ended_before: None,
        };
        let mut anchors: Vec<_> = anchors.iter().collect();
        anchors.sort_by_key(|anchor| core::cmp::Reverse(anchor.size()));
        let mut audit = Self { files, anchors, parts: 0, report, entries: Walk::new(), leaves: None, gap: None };
        audit.drop_impossible_anchors();
        audit
    }

    /// How many entries the checkpoint signs.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.report.size
    }

    /// How many parts the log has.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.report.size.div_ceil(TILE_WIDTH)
    }

    /// Adds the next part: compares its entries with its leaf hashes, and grows the tree by what could be read.
    ///
    /// # Errors
    /// When a tile above it cannot be read.
    pub fn add(&mut self, part: Part) -> Result<(), AuditError<F::Error>> {
        let first_entry = self.parts * TILE_WIDTH;
        self.report.bundles += u64::from(part.bundle_read);
        self.report.tiles += u64::from(part.tile_read);
        self.report.entries_bytes += part.entries_bytes;
        part.findings.into_iter().for_each(|finding| self.find(finding));
        match (part.entries, part.leaves) {
            (Some((bundle, entries)), Some((tile, hashes))) => {
                for ((entry, hash), index) in entries.iter().zip(&hashes).zip(first_entry..) {
                    if entry != hash {
                        self.find(Finding::EntryDiffers { bundle, tile, entry: index, altered: None });
                    }
                    self.grow(index, *entry, *hash);
                }
            }
            (Some((_, hashes)), None) | (None, Some((_, hashes))) => {
                for (hash, index) in hashes.into_iter().zip(first_entry..) {
                    self.grow(index, hash, hash);
                }
            }
            (None, None) => self.gap = self.gap.or(Some(first_entry)),
        }
        for level in self.entries.full_levels() {
            self.check_upper(level, self.parts)?;
        }
        self.parts += 1;
        Ok(())
    }

    /// Whether going on is of no use: entries are missing, so that there is no root, and no more findings are kept. A checkpoint may
    /// sign any size; a log that is not there is not looked for to its end.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        self.gap.is_some() && self.report.findings.len() >= FINDINGS_MAX
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let size = self.report.size;
        Progress { entries: size.min(self.parts * TILE_WIDTH), size, entries_bytes: self.report.entries_bytes }
    }

    /// Checks what is left when all parts were added: unfinished tiles, and the root.
    ///
    /// # Errors
    /// When a tile cannot be read.
    pub fn finish(mut self) -> Result<Report, AuditError<F::Error>> {
        if self.parts < self.parts() {
            self.report.ended_before = Some(self.parts * TILE_WIDTH);
            self.gap = self.gap.or(self.report.ended_before);
        }
        for level in self.entries.open_levels() {
            self.check_upper(level, self.report.size / TILE_WIDTH)?;
        }
        self.check_root();
        Ok(self.report)
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
        let mut findings = Vec::new();
        let read = read_hashes(self.files, path, self.report.size, &mut findings)?;
        findings.into_iter().for_each(|finding| self.find(finding));
        self.report.tiles += u64::from(read.is_some());
        if let Some((read_path, hashes)) = read {
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

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        } else {
            self.report.findings_dropped += 1;
        }
    }
}
