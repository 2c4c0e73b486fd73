//! The right edge of the tree: all that is needed to append, 32 bytes for each bit that is set in the size.

use alloc::vec::Vec;

use crate::{
    hash::{self, Hash},
    nodes::{NodeError, NodeSource, Subtrees, TILE_HEIGHT},
};

/// Largest tree, in leaves: what fits a signed 64-bit integer, which other tools count with.
pub const TREE_SIZE_MAX: u64 = i64::MAX.unsigned_abs();

/// The right edge of a tree: the roots of the complete subtrees it consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    edge: Vec<Hash>,
}

/// A node of a stored level that an append completed. Nodes of level 0, the leaf hashes, are not reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// Tile level, 1 or more.
    pub level: u8,
    /// Index within the level: the subtree starts at leaf `index * 256^level`.
    pub index: u64,
    /// Root of that subtree.
    pub hash: Hash,
}

/// Why no frontier could be made of stored parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// A size beyond [`TREE_SIZE_MAX`].
    #[error("a tree of {size} leaves is larger than {TREE_SIZE_MAX}; the stored size is wrong")]
    TooLarge {
        /// The size.
        size: u64,
    },
    /// Not one hash for each bit that is set in the size.
    #[error("the edge of a tree of {size} leaves has {wanted} hashes, not {found}; rebuild it from the stored nodes")]
    WrongEdge {
        /// The size.
        size: u64,
        /// How many hashes belong to it.
        wanted: u32,
        /// How many there were.
        found: usize,
    },
}

impl Frontier {
    /// The edge of the tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, edge: Vec::new() }
    }

    /// Makes an edge of what [`size`](Self::size) and [`edge`](Self::edge) gave before.
    ///
    /// # Errors
    /// When the number of hashes does not fit the size. Whether they are the right ones, only the root tells.
    pub fn from_edge(size: u64, edge: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > TREE_SIZE_MAX {
            return Err(FrontierError::TooLarge { size });
        }
        if u32::try_from(edge.len()) != Ok(size.count_ones()) {
            return Err(FrontierError::WrongEdge { size, wanted: size.count_ones(), found: edge.len() });
        }
        Ok(Self { size, edge })
    }

    /// Computes the edge of the tree of the first `size` leaves from stored nodes: one read for each level.
    ///
    /// # Errors
    /// When nodes cannot be read or are missing.
    pub fn rebuild<S: NodeSource>(size: u64, source: &S) -> Result<Self, NodeError<S::Error>> {
        Ok(Self { size, edge: Subtrees::new(source, size).edge(0, size)? })
    }

    /// Adds a leaf. Gives the nodes of stored levels that it completed, the lowest first: none for 255 of 256 leaves.
    pub fn append(&mut self, leaf: Hash) -> Vec<Completed> {
        let mut completed = Vec::new();
        self.append_into(leaf, &mut completed);
        completed
    }

    /// Adds leaves. Gives the nodes of stored levels that they completed, in the order in which they were completed.
    pub fn append_all(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<Completed> {
        let mut completed = Vec::new();
        for leaf in leaves {
            self.append_into(leaf, &mut completed);
        }
        completed
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        hash::of_edge(&self.edge)
    }

    /// The roots of the complete subtrees, the largest first: one for each bit that is set in the size.
    #[must_use]
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// The root of the complete subtree of 2^height leaves in the edge, if the size has that bit.
    pub(crate) fn of_height(&self, height: u32) -> Option<Hash> {
        let above = self.size.checked_shr(height).filter(|above| above % 2 == 1)?;
        let position = usize::try_from(above.count_ones()).ok()?.checked_sub(1)?;
        self.edge.get(position).copied()
    }

    fn append_into(&mut self, leaf: Hash, completed: &mut Vec<Completed>) {
        let merges = self.size.trailing_ones();
        self.size += 1;
        let mut hash = leaf;
        for height in 1..=merges {
            if let Some(left) = self.edge.pop() {
                hash = Hash::of_children(&left, &hash);
            }
            if height.is_multiple_of(TILE_HEIGHT)
                && let Ok(level) = u8::try_from(height / TILE_HEIGHT)
            {
                completed.push(Completed { level, index: (self.size >> height) - 1, hash });
            }
        }
        self.edge.push(hash);
    }
}

impl Default for Frontier {
    fn default() -> Self {
        Self::empty()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn leaf(number: u64) -> Hash {
        Hash::of_leaf(&number.to_be_bytes())
    }

    #[test]
    fn every_256th_leaf_completes_a_node_of_level_1() {
        let mut frontier = Frontier::empty();
        let completed = frontier.append_all((0..600).map(leaf));
        let leaves: Vec<_> = (0..600).map(leaf).collect();
        assert_eq!(completed.len(), 2);
        for (node, leaves) in completed.iter().zip(leaves.chunks_exact(256)) {
            assert_eq!(node.level, 1);
            assert_eq!(Some(node.hash), hash::of_complete(leaves));
        }
        assert_eq!((completed[0].index, completed[1].index), (0, 1));
    }

    #[test]
    fn the_65536th_leaf_completes_nodes_of_two_levels() {
        let mut frontier = Frontier::empty();
        let before = frontier.append_all((0..65_535).map(leaf));
        assert_eq!(before.len(), 255);
        let completed = frontier.append(leaf(65_535));
        let places: Vec<_> = completed.iter().map(|node| (node.level, node.index)).collect();
        assert_eq!(places, vec![(1, 255), (2, 0)]);
        assert_eq!(completed[1].hash, frontier.root());
    }

    #[test]
    fn a_stored_edge_goes_on_where_it_was() {
        let mut frontier = Frontier::empty();
        frontier.append_all((0..77).map(leaf));
        let mut stored = Frontier::from_edge(frontier.size(), frontier.edge().to_vec()).unwrap();
        assert_eq!(stored, frontier);
        stored.append(leaf(77));
        frontier.append(leaf(77));
        assert_eq!(stored.root(), frontier.root());
    }

    #[test]
    fn an_edge_that_does_not_fit_its_size_is_refused() {
        let edge = vec![leaf(0); 2];
        assert_eq!(
            Frontier::from_edge(7, edge.clone()),
            Err(FrontierError::WrongEdge { size: 7, wanted: 3, found: 2 })
        );
        assert_eq!(Frontier::from_edge(1 << 63, edge), Err(FrontierError::TooLarge { size: 1 << 63 }));
    }

    #[test]
    fn the_edge_is_found_by_height() {
        let mut frontier = Frontier::empty();
        frontier.append_all((0..11).map(leaf));
        assert_eq!(frontier.of_height(0), Some(leaf(10)));
        assert_eq!(frontier.of_height(1), Some(Hash::of_children(&leaf(8), &leaf(9))));
        assert_eq!(frontier.of_height(2), None);
        assert_eq!(frontier.of_height(3), frontier.edge().first().copied());
        assert_eq!(frontier.of_height(64), None);
    }
}
