//! The published log of ceremonies, read as a whole: it is small.

use std::path::Path;

use hallmark_tlog::{
    bundle,
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::VerifierKey,
    tile::{TILE_WIDTH, TileKind, TilePath},
};

use crate::{error::CeremonyError, output};

/// Most entries that are read.
const ENTRIES_MAX: u64 = 1_000_000;

/// Every entry, if the checkpoint is signed by that key and covers them.
pub(super) fn read(directory: &Path, key: &VerifierKey) -> Result<Vec<Vec<u8>>, CeremonyError> {
    let wrong = |sentence: String| CeremonyError::Wrong { what: "log of ceremonies", sentence };
    let text = output::read(&directory.join("checkpoint"))?;
    let head = Checkpoint::open(&text, std::slice::from_ref(key)).map_err(|error| wrong(error.to_string()))?;
    if head.size() > ENTRIES_MAX {
        return Err(wrong(format!("it has {} entries; at most {ENTRIES_MAX} are read", head.size())));
    }
    let mut entries: Vec<Vec<u8>> = Vec::new();
    for index in 0..head.size().div_ceil(TILE_WIDTH) {
        let tile = TilePath::of_row(TileKind::Entries, index, head.size());
        let path = directory.join(tile.to_string());
        let found = output::read(&path).or_else(|_| output::read(&directory.join(tile.full().to_string())))?;
        let decoded = bundle::decode(&found).map_err(|error| wrong(error.to_string()))?;
        let wanted = usize::try_from((head.size() - index * TILE_WIDTH).min(TILE_WIDTH)).unwrap_or(usize::MAX);
        entries.extend(decoded.into_iter().take(wanted).map(<[u8]>::to_vec));
    }
    let mut tree = Frontier::empty();
    tree.append_all(entries.iter().map(|entry| Hash::of_leaf(entry)));
    if tree.size() != head.size() || tree.root() != head.root() {
        return Err(wrong("its entries are not those that its checkpoint signs".to_owned()));
    }
    Ok(entries)
}
