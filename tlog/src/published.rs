//! Proofs from a published log: its hash tiles as a [`NodeSource`], for those who have the files and no ledger.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    audit::{self, AuditError, LogFiles},
    hash::Hash,
    nodes::NodeSource,
    tile::{self, TILE_WIDTH, TileError, TilePath},
};

/// The nodes of a published log of `size` entries. They are as true as the files: verify every proof made from them.
#[derive(Clone, Copy, Debug)]
pub struct PublishedNodes<F> {
    files: F,
    size: u64,
}

/// Why a node could not be had from a published log.
#[derive(Debug, thiserror::Error)]
pub enum PublishedError<E: core::error::Error + 'static> {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] AuditError<E>),
    /// A file is not there.
    #[error("`{path}` is missing; the published log is incomplete")]
    Missing {
        /// Which file.
        path: TilePath,
    },
    /// A file is no hash tile of that width, or there can be none.
    #[error("`{path}` is no hash tile; audit the log")]
    Malformed {
        /// Which file.
        path: TilePath,
        /// What is wrong with it.
        #[source]
        reason: TileError,
    },
    /// Nodes of more than one tile were asked for, or none.
    #[error("the nodes {start}..{end} of level {level} are not in one tile of a log of {size} entries")]
    NotInOneTile {
        /// Tile level.
        level: u8,
        /// First index wanted.
        start: u64,
        /// One past the last index wanted.
        end: u64,
        /// Size of the log.
        size: u64,
    },
}

impl<F: LogFiles> PublishedNodes<F> {
    /// Reads the tiles that belong to the log when it had `size` entries: a size that a checkpoint signs.
    pub fn new(files: F, size: u64) -> Self {
        Self { files, size }
    }
}

impl<F: LogFiles> NodeSource for PublishedNodes<F> {
    type Error = PublishedError<F::Error>;

    fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, Self::Error> {
        let nodes_in_tree = self.size.checked_shr(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(0);
        let outside = || PublishedError::NotInOneTile { level, start: range.start, end: range.end, size: self.size };
        let index = range.start / TILE_WIDTH;
        let first = index * TILE_WIDTH;
        let width = nodes_in_tree.saturating_sub(first).min(TILE_WIDTH);
        if range.is_empty() || range.end > first + width {
            return Err(outside());
        }
        let path = u16::try_from(width).ok().and_then(|width| TilePath::hashes(level, index, width).ok());
        let path = path.ok_or_else(outside)?;
        let (read_path, bytes) = audit::read_tile(&self.files, path)?.ok_or(PublishedError::Missing { path })?;
        let malformed = |reason| PublishedError::Malformed { path: read_path, reason };
        let hashes = tile::decode_hashes(&bytes).map_err(malformed)?;
        if hashes.len() != usize::from(read_path.width()) {
            return Err(malformed(TileError::WrongLength { bytes: bytes.len() }));
        }
        let wanted = hashes.into_iter().zip(first..).filter(|(_, index)| range.contains(index));
        Ok(wanted.map(|(hash, _)| hash).collect())
    }
}
