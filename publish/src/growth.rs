//! The tree as it is carried: grown from the entries, so that what is made public is what the checkpoint signs, and nothing else.

use hallmark_tlog::{
    frontier::Frontier,
    hash::Hash,
    proof::NodeSource as _,
    tile::{self, TILE_WIDTH, TilePath},
};

use crate::problem::{Nodes, Problem};

/// A hash tile and what it holds.
pub(crate) type HashTile = (TilePath, Vec<u8>);

/// A tree that grows, and the nodes of the unfinished tile of each stored level.
#[derive(Clone, Debug, Default)]
pub(crate) struct Growth {
    frontier: Frontier,
    rows: Vec<Vec<Hash>>,
}

impl Growth {
    /// The tree of the first `size` entries, from hash tiles. They are as true as the root that comes of what is added.
    pub(crate) fn rebuild(size: u64, nodes: &Nodes<'_>) -> Result<Self, Problem> {
        let mut rows = Vec::new();
        for level in (0_u8..).take_while(|level| nodes_of(size, *level) > 0) {
            let count = nodes_of(size, level);
            let first = count / TILE_WIDTH * TILE_WIDTH;
            rows.push(if first < count { nodes.nodes(level, first..count)? } else { Vec::new() });
        }
        // A row is itself a tree, whose edge is a part of that of all.
        let edge = rows.iter().rev().flat_map(|row| {
            let mut of_row = Frontier::empty();
            of_row.append_all(row.iter().copied());
            of_row.edge().to_vec()
        });
        let frontier = Frontier::from_edge(size, edge.collect());
        let frontier = frontier.map_err(|error| Problem::Unproven { sentence: error.to_string() })?;
        Ok(Self { frontier, rows })
    }

    /// How many entries it has.
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Its root.
    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Adds entries by their hashes; gives the hash tiles that became full.
    pub(crate) fn append(&mut self, leaves: impl IntoIterator<Item = Hash>) -> Vec<HashTile> {
        let mut full = Vec::new();
        for leaf in leaves {
            let completed = self.frontier.append(leaf);
            let above = completed.into_iter().map(|node| (node.level, node.hash));
            for (level, hash) in std::iter::once((0, leaf)).chain(above) {
                full.extend(self.push(level, hash));
            }
        }
        full
    }

    /// The hash tiles that are not full.
    pub(crate) fn partial(&self) -> Vec<HashTile> {
        let rows = self.rows.iter().zip(0_u8..).filter(|(row, _)| !row.is_empty());
        rows.filter_map(|(row, level)| self.tile(level, row)).collect()
    }

    /// Adds a node to its row; the tile that this fills.
    fn push(&mut self, level: u8, hash: Hash) -> Option<HashTile> {
        let at = usize::from(level);
        if self.rows.len() <= at {
            self.rows.resize_with(at + 1, Vec::new);
        }
        let row = self.rows.get_mut(at)?;
        row.push(hash);
        if row.len() as u64 != TILE_WIDTH {
            return None;
        }
        let row = std::mem::take(row);
        self.tile(level, &row)
    }

    /// The tile at the right edge of a level.
    fn tile(&self, level: u8, row: &[Hash]) -> Option<HashTile> {
        let index = nodes_of(self.size(), level).checked_sub(row.len() as u64)? / TILE_WIDTH;
        let path = TilePath::hashes(level, index, u16::try_from(row.len()).ok()?).ok()?;
        Some((path, tile::encode_hashes(row)))
    }
}

/// Nodes of a level in a tree of that size.
fn nodes_of(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hallmark_tlog::{checkpoint::Checkpoint, note::SignerKey};

    use super::*;
    use crate::directory::Directory;

    #[test]
    fn a_tree_that_was_rebuilt_grows_like_one_that_was_there_all_the_time() {
        let directory = tempfile::tempdir().unwrap();
        let leaf = |number: u64| Hash::of_leaf(&number.to_be_bytes());
        let mut growth = Growth::default();
        let size = 256 * 256 + 2 * 256;
        let full = growth.append((0..size).map(leaf));
        let mut frontier = Frontier::empty();
        frontier.append_all((0..size).map(leaf));
        assert_eq!((growth.size(), growth.root()), (size, frontier.root()));
        assert_eq!(full.len(), 258 + 1, "all of level 0, and the first of level 1");
        let names: Vec<String> = growth.partial().iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(names, ["tile/1/001.p/2", "tile/2/000.p/1"]);
        for (path, content) in full.iter().chain(&growth.partial()) {
            let place = directory.path().join(path.to_string());
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            std::fs::write(place, content).unwrap();
        }
        let key = SignerKey::generate("example.com/log", [1; 32]).unwrap();
        let head = Checkpoint::new("example.com/log", size, growth.root()).unwrap().sign(&key).unwrap();
        std::fs::write(directory.path().join("checkpoint"), head.to_string()).unwrap();
        let snapshot = Directory(directory.path().to_owned()).snapshot(&[key.verifier().clone()]).unwrap().unwrap();
        for earlier in [0, 256, 512, 65_536, size] {
            let mut again = Growth::rebuild(earlier, &Nodes::new(&snapshot, size)).unwrap();
            again.append((earlier..size).map(leaf));
            assert_eq!((again.root(), again.partial()), (growth.root(), growth.partial()), "{earlier}");
        }
    }
}
