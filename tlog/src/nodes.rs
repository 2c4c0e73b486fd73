//! Reading nodes from storage: only the levels that tiles hold are stored, everything in between is computed.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    hash::{self, Hash},
    tile::TILE_WIDTH,
};

/// Height of a tile: how many levels of the binary tree lie between two stored levels.
pub(crate) const TILE_HEIGHT: u32 = TILE_WIDTH.ilog2();

/// Where the stored nodes are.
///
/// Node `i` of level `L` is the root of the complete subtree over the 256^L leaves that start at `i * 256^L`; the nodes
/// of level 0 are the leaf hashes. Exactly these nodes appear in hash tiles.
pub trait NodeSource {
    /// What a failed read is.
    type Error: core::error::Error + 'static;

    /// The nodes of `level` with the indexes `range`, in order and without a gap. At most 256 are asked for, all within
    /// one tile, and only nodes of complete subtrees.
    ///
    /// # Errors
    /// When storage cannot be read. Too few or too many nodes are noticed by the caller.
    fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, Self::Error>;
}

impl<S: NodeSource> NodeSource for &S {
    type Error = S::Error;

    fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, Self::Error> {
        (**self).nodes(level, range)
    }
}

/// Why stored nodes could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError<E: core::error::Error + 'static> {
    /// The source failed.
    #[error("the nodes {start}..{end} of level {level} could not be read from storage; see the cause")]
    Storage {
        /// Tile level.
        level: u8,
        /// First index wanted.
        start: u64,
        /// One past the last index wanted.
        end: u64,
        /// What the source said.
        #[source]
        source: E,
    },
    /// The source gave another number of nodes than asked for.
    #[error(
        "storage gave {found} nodes for {start}..{end} of level {level}; rebuild the stored nodes from the entries"
    )]
    WrongCount {
        /// Tile level.
        level: u8,
        /// First index wanted.
        start: u64,
        /// One past the last index wanted.
        end: u64,
        /// How many came.
        found: usize,
    },
}

/// Computes roots of subtrees of a tree of `size` leaves; reads each tile once.
pub(crate) struct Subtrees<'a, S> {
    source: &'a S,
    size: u64,
    tiles: Vec<(u8, u64, Vec<Hash>)>,
}

impl<'a, S: NodeSource> Subtrees<'a, S> {
    pub(crate) fn new(source: &'a S, size: u64) -> Self {
        Self { source, size, tiles: Vec::new() }
    }

    /// The root over the leaves `start..end`. `start` is a multiple of the least power of two that holds them all.
    pub(crate) fn root(&mut self, start: u64, end: u64) -> Result<Hash, NodeError<S::Error>> {
        Ok(hash::of_edge(&self.edge(start, end)?))
    }

    /// The roots of the complete subtrees that `start..end` consists of, the largest first.
    pub(crate) fn edge(&mut self, start: u64, end: u64) -> Result<Vec<Hash>, NodeError<S::Error>> {
        let mut parts = Vec::new();
        let mut at = start;
        while at < end {
            let height = (end - at).ilog2();
            parts.push(self.complete(height, at >> height)?);
            at += 1 << height;
        }
        Ok(parts)
    }

    /// The root of the complete subtree of 2^height leaves that starts at leaf `index * 2^height`.
    fn complete(&mut self, height: u32, index: u64) -> Result<Hash, NodeError<S::Error>> {
        let level = u8::try_from(height / TILE_HEIGHT).unwrap_or(u8::MAX);
        let count = 1_u64 << (height % TILE_HEIGHT);
        let start = index * count;
        let wrong = |found| NodeError::WrongCount { level, start, end: start + count, found };
        let tile = self.tile(level, start / TILE_WIDTH)?;
        let nodes = usize::try_from(start % TILE_WIDTH).ok().zip(usize::try_from(count).ok());
        let nodes = nodes.and_then(|(from, count)| tile.get(from..from + count)).ok_or_else(|| wrong(tile.len()))?;
        hash::of_complete(nodes).ok_or_else(|| wrong(0))
    }

    fn tile(&mut self, level: u8, index: u64) -> Result<&[Hash], NodeError<S::Error>> {
        let known = self.tiles.iter().position(|(at, tile, _)| (*at, *tile) == (level, index));
        let position = match known {
            Some(position) => position,
            None => {
                let nodes = self.read(level, index)?;
                self.tiles.push((level, index, nodes));
                self.tiles.len() - 1
            }
        };
        Ok(self.tiles.get(position).map_or(&[], |(_, _, nodes)| nodes))
    }

    fn read(&self, level: u8, index: u64) -> Result<Vec<Hash>, NodeError<S::Error>> {
        let nodes_in_tree = self.size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0);
        let start = index * TILE_WIDTH;
        let end = nodes_in_tree.min(start.saturating_add(TILE_WIDTH));
        let nodes = self.source.nodes(level, start..end);
        let nodes = nodes.map_err(|source| NodeError::Storage { level, start, end, source })?;
        if nodes.len() as u64 == end.saturating_sub(start) {
            Ok(nodes)
        } else {
            Err(NodeError::WrongCount { level, start, end, found: nodes.len() })
        }
    }
}
