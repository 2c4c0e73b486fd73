//! The tree as it grows while the log is read: its edge, and the unfinished row of each stored level above the leaves.

use alloc::vec::Vec;

use crate::{frontier::Frontier, hash::Hash, tile::TILE_WIDTH};

/// A tree that grows, and the nodes of its unfinished upper tiles.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    frontier: Frontier,
    rows: Vec<Vec<Hash>>,
}

impl Walk {
    pub(super) fn new() -> Self {
        Self { frontier: Frontier::empty(), rows: Vec::new() }
    }

    pub(super) fn append(&mut self, leaf: Hash) {
        for node in self.frontier.append(leaf) {
            let position = usize::from(node.level).saturating_sub(1);
            if self.rows.len() <= position {
                self.rows.resize_with(position + 1, Vec::new);
            }
            if let Some(row) = self.rows.get_mut(position) {
                row.push(node.hash);
            }
        }
    }

    pub(super) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The nodes of `level`, 1 or more, that no checked tile holds yet.
    pub(super) fn row(&self, level: u8) -> &[Hash] {
        self.rows.get(usize::from(level).saturating_sub(1)).map_or(&[], Vec::as_slice)
    }

    /// Levels whose row fills a tile.
    pub(super) fn full_levels(&self) -> Vec<u8> {
        self.levels().filter(|level| self.row(*level).len() as u64 == TILE_WIDTH).collect()
    }

    /// Levels whose row is not empty.
    pub(super) fn open_levels(&self) -> Vec<u8> {
        self.levels().filter(|level| !self.row(*level).is_empty()).collect()
    }

    /// Forgets the row of a level, because its tile was checked.
    pub(super) fn clear(&mut self, level: u8) {
        if let Some(row) = self.rows.get_mut(usize::from(level).saturating_sub(1)) {
            row.clear();
        }
    }

    fn levels(&self) -> impl Iterator<Item = u8> {
        (1..).take(self.rows.len())
    }
}
