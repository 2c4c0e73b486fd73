//! Paths of tiles and bundles (C2SP `tlog-tiles`).

use core::fmt;

use crate::{
    decimal,
    frontier::TREE_SIZE_MAX,
    hash::HASH_BYTES,
    tile::{TILE_LEVEL_MAX, TILE_WIDTH},
};

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

    /// The file at `index`, the last of which a row of `nodes` nodes or entries fills in part.
    #[must_use]
    pub fn of_row(kind: TileKind, index: u64, nodes: u64) -> Self {
        let width = nodes.saturating_sub(index * TILE_WIDTH);
        Self { kind, index, width: u16::try_from(width).map_or(FULL, |width| width.min(FULL)) }
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
    use alloc::string::ToString as _;

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
}
