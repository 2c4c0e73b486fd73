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

/// The first element of a SEQUENCE, DER: what was signed in a certificate or CRL (RFC 5280, sections 4.1 and 5.1).
pub(crate) fn to_be_signed(der: &[u8]) -> Option<Vec<u8>> {
    let (header, length) = element(der)?;
    if header + length != der.len() {
        return None;
    }
    let inner = der.get(header..)?;
    let (header, length) = element(inner)?;
    inner.get(..header + length).map(<[u8]>::to_vec)
}

/// Bytes of the header and of the content of a SEQUENCE.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    const SEQUENCE: u8 = 0x30;
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (header, length) = match first {
        short @ 0..=0x7f => (2, usize::from(*short)),
        long => {
            let bytes = usize::from(long & 0x7f);
            let digits = rest.get(..bytes).filter(|_| (1..=4).contains(&bytes))?;
            (2 + bytes, digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    (*tag == SEQUENCE && der.len() >= header.checked_add(length)?).then_some((header, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_the_first_element_and_nothing_else_is_read() {
        assert_eq!(to_be_signed(&[0x30, 6, 0x30, 1, 5, 3, 1, 0]), Some(vec![0x30, 1, 5]));
        for bad in [&[][..], &[0x30], &[0x30, 0x80], &[0x31, 2, 0x30, 0], &[0x30, 3, 0x30, 0], &[0x30, 2, 0x30, 9]] {
            assert_eq!(to_be_signed(bad), None, "{bad:?}");
        }
    }
}
