//! The files of a published tree: which there are, and what a hash tile holds (C2SP `tlog-tiles`).

use alloc::vec::Vec;

use crate::hash::{HASH_BYTES, Hash};

pub use crate::path::{TileError, TileKind, TilePath};

/// Nodes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Highest level that a path can name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// Where the signed tree head of a published log stands.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Bytes of a full hash tile.
pub const HASH_TILE_BYTES_MAX: usize = 256 * HASH_BYTES;

/// Which files of one kind change when the tree grows from `old_size` to `new_size` leaves, left to right: full ones
/// that became full, and at most one partial one. From 0 on they are all the files of that kind for `new_size`.
pub fn changed(kind: TileKind, old_size: u64, new_size: u64) -> impl Iterator<Item = TilePath> {
    let (old, new) = (nodes(kind, old_size), nodes(kind, new_size));
    let indexes = if old < new { old / TILE_WIDTH..new.div_ceil(TILE_WIDTH) } else { 0..0 };
    indexes.map(move |index| TilePath::of_row(kind, index, new))
}

/// How many nodes or entries the row of that kind has in a tree of `size` leaves.
#[must_use]
pub fn nodes(kind: TileKind, size: u64) -> u64 {
    match kind {
        TileKind::Entries => size,
        TileKind::Hashes { level } => size.checked_shr(u32::from(level) * TILE_WIDTH.ilog2()).unwrap_or(0),
    }
}

/// Every kind of file that a tree of `size` leaves has: the entries, then the levels from 0 upwards.
pub fn kinds(size: u64) -> impl Iterator<Item = TileKind> {
    let levels = (0..=TILE_LEVEL_MAX).map(|level| TileKind::Hashes { level });
    let levels = levels.take_while(move |kind| nodes(*kind, size) > 0);
    (size > 0).then_some(TileKind::Entries).into_iter().chain(levels)
}

/// The content of a hash tile.
#[must_use]
pub fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Reads a hash tile, full or partial.
///
/// # Errors
/// When it is empty, longer than a full tile, or not a whole number of hashes.
pub fn decode_hashes(bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    if hashes.is_empty() || !rest.is_empty() || bytes.len() > HASH_TILE_BYTES_MAX {
        return Err(TileError::WrongLength { bytes: bytes.len() });
    }
    Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec, vec::Vec};

    use super::*;

    #[test]
    fn a_tree_of_70_000_leaves_has_the_tiles_that_the_specification_counts() {
        let kinds: Vec<_> = kinds(70_000).collect();
        let levels = [0, 1, 2].map(|level| TileKind::Hashes { level });
        assert_eq!(kinds, [&[TileKind::Entries], levels.as_slice()].concat());
        let level_0: Vec<_> = changed(levels[0], 0, 70_000).collect();
        assert_eq!(level_0.len(), 274);
        assert!(level_0[..273].iter().all(TilePath::is_full));
        assert_eq!(level_0[273].to_string(), "tile/0/273.p/112");
        let upper: Vec<_> = levels[1..].iter().flat_map(|kind| changed(*kind, 0, 70_000)).collect();
        let upper: Vec<_> = upper.iter().map(|path| path.to_string()).collect();
        assert_eq!(upper, vec!["tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1"]);
    }

    #[test]
    fn growth_changes_only_the_right_edge() {
        let level_0 = TileKind::Hashes { level: 0 };
        let paths: Vec<_> = changed(level_0, 300, 520).map(|path| path.to_string()).collect();
        assert_eq!(paths, ["tile/0/001", "tile/0/002.p/8"]);
        let full: Vec<_> = changed(level_0, 255, 256).map(|path| path.to_string()).collect();
        assert_eq!(full, ["tile/0/000"]);
        assert_eq!(changed(level_0, 256, 256).count(), 0);
        assert_eq!(changed(TileKind::Hashes { level: 1 }, 256, 511).count(), 0);
        assert_eq!(changed(TileKind::Hashes { level: 9 }, 0, u64::MAX).count(), 0);
        assert_eq!(kinds(0).count(), 0);
    }

    #[test]
    fn a_hash_tile_reads_back_and_broken_ones_do_not() {
        let hashes: Vec<_> = (0..=255_u8).map(|byte| Hash::of_leaf(&[byte])).collect();
        let bytes = encode_hashes(&hashes);
        assert_eq!(bytes.len(), HASH_TILE_BYTES_MAX);
        assert_eq!(decode_hashes(&bytes), Ok(hashes));
        for wrong in [0, 1, 31, 33, HASH_TILE_BYTES_MAX + HASH_BYTES] {
            assert_eq!(decode_hashes(&vec![0; wrong]), Err(TileError::WrongLength { bytes: wrong }));
        }
    }
}
