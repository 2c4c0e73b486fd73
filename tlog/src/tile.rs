//! The files of a published tree: their paths and the hash tiles (C2SP `tlog-tiles`).

use alloc::vec::Vec;
use core::fmt;

use crate::{
    decimal,
    frontier::TREE_SIZE_MAX,
    hash::{HASH_BYTES, Hash},
};

/// Nodes in a full tile, and entries in a full bundle.
pub const TILE_WIDTH: u64 = 256;

/// Highest level that a path can name.
pub const TILE_LEVEL_MAX: u8 = 63;

/// Where the signed tree head of a published log stands.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// Bytes of a full hash tile.
pub const HASH_TILE_BYTES_MAX: usize = 256 * HASH_BYTES;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Nodes of one stored level, at `tile/<level>/..`.
    Hashes {
        /// The level: a node stands for 256^level leaves.
        level: u8,
    },
    /// Entries, at `tile/entries/..`.
    Entries,
}

/// Path of a hash tile or of an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// Why something is no path of a tile, or no hash tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A level beyond [`TILE_LEVEL_MAX`].
    #[error("a tile of level {level} does not exist; the highest is {TILE_LEVEL_MAX}")]
    LevelTooHigh {
        /// The level.
        level: u8,
    },
    /// An index that no tree of ours reaches.
    #[error("a tile with the index {index} lies beyond a tree of {TREE_SIZE_MAX} leaves")]
    IndexTooHigh {
        /// The index.
        index: u64,
    },
    /// A width of 0 or over [`TILE_WIDTH`].
    #[error("a tile is 1 to {TILE_WIDTH} wide, not {width}")]
    WrongWidth {
        /// The width.
        width: u16,
    },
    /// Not the one spelling of a path.
    #[error("this is not `tile/<level>/<index>[.p/<width>]` or `tile/entries/<index>[.p/<width>]` (C2SP tlog-tiles)")]
    NotAPath,
    /// Bytes that are not 1 to 256 whole hashes.
    #[error("a hash tile has 1 to {TILE_WIDTH} hashes of {HASH_BYTES} bytes; {bytes} bytes are not that")]
    WrongLength {
        /// How many bytes there are.
        bytes: usize,
    },
}

impl TilePath {
    /// The path of a hash tile; `width` is 1 to 256.
    ///
    /// # Errors
    /// See [`TileError`].
    pub fn hashes(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > TILE_LEVEL_MAX {
            return Err(TileError::LevelTooHigh { level });
        }
        Self::new(TileKind::Hashes { level }, index, width)
    }

    /// The path of an entry bundle; `width` is 1 to 256.
    ///
    /// # Errors
    /// See [`TileError`].
    pub fn entries(index: u64, width: u16) -> Result<Self, TileError> {
        Self::new(TileKind::Entries, index, width)
    }

    /// Reads what [`Display`](fmt::Display) writes, and no other spelling.
    ///
    /// # Errors
    /// See [`TileError`].
    pub fn parse(path: &str) -> Result<Self, TileError> {
        let (kind, place) =
            path.strip_prefix("tile/").and_then(|rest| rest.split_once('/')).ok_or(TileError::NotAPath)?;
        let (index, width) = match place.split_once(".p/") {
            Some((index, width)) => (index, parse_width(width).ok_or(TileError::NotAPath)?),
            None => (place, FULL),
        };
        let index = parse_index(index).ok_or(TileError::NotAPath)?;
        if kind == "entries" {
            return Self::entries(index, width);
        }
        let level = decimal::parse(kind).and_then(|level| u8::try_from(level).ok()).ok_or(TileError::NotAPath)?;
        Self::hashes(level, index, width)
    }

    /// What the file holds.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its index within its level, or among the bundles.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many nodes or entries it holds: 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it holds 256.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.width == FULL
    }

    /// The full file that takes the place of this one once the tree has grown.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: FULL, ..*self }
    }

    fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        if width == 0 || width > FULL {
            return Err(TileError::WrongWidth { width });
        }
        if index > TREE_SIZE_MAX / TILE_WIDTH {
            return Err(TileError::IndexTooHigh { index });
        }
        Ok(Self { kind, index, width })
    }
}

/// Which files of one kind change when the tree grows from `old_size` to `new_size` leaves, left to right: full ones
/// that became full, and at most one partial one. From 0 on they are all the files of that kind for `new_size`.
pub fn changed(kind: TileKind, old_size: u64, new_size: u64) -> impl Iterator<Item = TilePath> {
    let rows = match kind {
        TileKind::Hashes { level } => u32::from(level) * TILE_WIDTH.ilog2(),
        TileKind::Entries => 0,
    };
    let old = old_size.checked_shr(rows).unwrap_or(0);
    let new = new_size.checked_shr(rows).unwrap_or(0);
    let indexes = if old < new { old / TILE_WIDTH..new.div_ceil(TILE_WIDTH) } else { 0..0 };
    indexes.map(move |index| {
        let width = u16::try_from(new - index * TILE_WIDTH).map_or(FULL, |width| width.min(FULL));
        TilePath { kind, index, width }
    })
}

/// Every kind of file that a tree of `size` leaves has: the entries, then the levels from 0 upwards.
pub fn kinds(size: u64) -> impl Iterator<Item = TileKind> {
    let levels = (0..=TILE_LEVEL_MAX).take_while(move |level| {
        size.checked_shr(u32::from(*level) * TILE_WIDTH.ilog2()).is_some_and(|nodes| nodes > 0)
    });
    (size > 0).then_some(TileKind::Entries).into_iter().chain(levels.map(|level| TileKind::Hashes { level }))
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

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes { level } => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let groups = self.index.checked_ilog(GROUP).unwrap_or(0);
        for group in (1..=groups).rev() {
            write!(f, "x{:03}/", self.index / GROUP.pow(group) % GROUP)?;
        }
        write!(f, "{:03}", self.index % GROUP)?;
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

const FULL: u16 = 256;
const GROUP: u64 = 1_000;
const GROUP_DIGITS: usize = 3;

fn parse_index(text: &str) -> Option<u64> {
    let mut groups = text.split('/').rev();
    let last = parse_group(groups.next()?)?;
    let mut index = last;
    let mut unit = 1_u64;
    for group in groups {
        let group = parse_group(group.strip_prefix('x')?)?;
        unit = unit.checked_mul(GROUP)?;
        index = group.checked_mul(unit)?.checked_add(index)?;
    }
    // A leading group of zeros would be a second spelling.
    (unit == 1 || index >= unit).then_some(index)
}

fn parse_group(text: &str) -> Option<u64> {
    let is_group = text.len() == GROUP_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_group { text.parse().ok() } else { None }
}

fn parse_width(text: &str) -> Option<u16> {
    let width = decimal::parse(text).and_then(|width| u16::try_from(width).ok())?;
    (1..FULL).contains(&width).then_some(width)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _, vec};

    use super::*;

    #[test]
    fn paths_are_written_in_groups_of_three_digits() {
        let examples = [
            (TilePath::hashes(0, 0, 256), "tile/0/000"),
            (TilePath::hashes(1, 5, 17), "tile/1/005.p/17"),
            (TilePath::hashes(63, 999, 255), "tile/63/999.p/255"),
            (TilePath::hashes(2, 1_000, 256), "tile/2/x001/000"),
            (TilePath::entries(1_234_067, 256), "tile/entries/x001/x234/067"),
            (TilePath::entries(1_000_000, 1), "tile/entries/x001/x000/000.p/1"),
            (TilePath::entries(36_028_797_018_963_967, 256), "tile/entries/x036/x028/x797/x018/x963/967"),
        ];
        for (path, text) in examples {
            let path = path.unwrap();
            assert_eq!(path.to_string(), text);
            assert_eq!(TilePath::parse(text), Ok(path));
        }
    }

    #[test]
    fn a_path_has_one_spelling() {
        for wrong in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/0000",
            "tile/00/000",
            "tile/64/000",
            "tile/256/000",
            "tile/-1/000",
            "tile/+1/000",
            "tile/0/x000/005",
            "tile/0/x000/x001/005",
            "tile/0/001/005",
            "tile/0/x001",
            "tile/0/x001/x005",
            "tile/0/000.p/",
            "tile/0/000.p/0",
            "tile/0/000.p/01",
            "tile/0/000.p/256",
            "tile/0/000.p/1.p/1",
            "tile/0/000.p",
            "/tile/0/000",
            "tile/0/000/",
            "tile//000",
            "tile/data/000",
            "tile/entries/x999/x999/x999/x999/x999/x999/999",
            "tile/entries/x036/x028/x797/x018/x963/968",
            "tile/8/0/000",
        ] {
            assert!(TilePath::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_path_outside_the_limits_cannot_be_made() {
        assert_eq!(TilePath::hashes(64, 0, 1), Err(TileError::LevelTooHigh { level: 64 }));
        assert_eq!(TilePath::entries(0, 0), Err(TileError::WrongWidth { width: 0 }));
        assert_eq!(TilePath::entries(0, 257), Err(TileError::WrongWidth { width: 257 }));
        assert_eq!(TilePath::entries(u64::MAX, 1), Err(TileError::IndexTooHigh { index: u64::MAX }));
    }

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
        let upper: Vec<_> = upper.iter().map(|path| format!("{path}")).collect();
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
