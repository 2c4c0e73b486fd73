//! Entry bundles: up to 256 entries in one file, each after its length (C2SP `tlog-tiles`, log entries).

use alloc::vec::Vec;

use crate::{entry::ENTRY_BYTES_MAX, tile::TILE_WIDTH};

/// Bytes of the length before each entry: a uint16, big-endian.
pub const LENGTH_BYTES: usize = 2;

/// Bytes of the largest bundle: 256 entries of the largest size, about 16.8 MB.
pub const BUNDLE_BYTES_MAX: usize = 256 * (LENGTH_BYTES + ENTRY_BYTES_MAX);

/// Why bytes are no bundle, or entries fit none. Positions count from 0 within the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No entry at all.
    #[error("the bundle is empty; a bundle has 1 to {TILE_WIDTH} entries")]
    Empty,
    /// More than [`TILE_WIDTH`] entries.
    #[error("the bundle has more than {TILE_WIDTH} entries")]
    TooMany,
    /// An entry over [`ENTRY_BYTES_MAX`].
    #[error("entry {position} of the bundle has {bytes} bytes; at most {ENTRY_BYTES_MAX} can be logged")]
    EntryTooLong {
        /// Which entry.
        position: usize,
        /// Its length.
        bytes: usize,
    },
    /// The file ends within an entry or within its length.
    #[error("the bundle ends in the middle of entry {position}")]
    Truncated {
        /// Which entry.
        position: usize,
    },
}

impl BundleError {
    /// Which entry is to blame, counted from 0 within the bundle.
    #[must_use]
    pub fn position(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::TooMany => TILE_WIDTH as usize,
            Self::EntryTooLong { position, .. } | Self::Truncated { position } => *position,
        }
    }
}

/// The content of a bundle of 1 to 256 entries.
///
/// # Errors
/// When there are too few or too many entries, or one is too long.
pub fn encode<I: IntoIterator<Item = T>, T: AsRef<[u8]>>(entries: I) -> Result<Vec<u8>, BundleError> {
    let mut bytes = Vec::new();
    for (position, entry) in entries.into_iter().enumerate() {
        let entry = entry.as_ref();
        if position >= TILE_WIDTH as usize {
            return Err(BundleError::TooMany);
        }
        let length = u16::try_from(entry.len());
        let length = length.map_err(|_| BundleError::EntryTooLong { position, bytes: entry.len() })?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    if bytes.is_empty() { Err(BundleError::Empty) } else { Ok(bytes) }
}

/// The entries of a bundle. Every byte belongs to one.
///
/// # Errors
/// When the file ends within an entry, or holds no entry or too many.
pub fn decode(bytes: &[u8]) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let position = entries.len();
        if position >= TILE_WIDTH as usize {
            return Err(BundleError::TooMany);
        }
        let (length, after) = rest.split_first_chunk::<LENGTH_BYTES>().ok_or(BundleError::Truncated { position })?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(BundleError::Truncated { position })?;
        entries.push(entry);
        rest = after;
    }
    if entries.is_empty() { Err(BundleError::Empty) } else { Ok(entries) }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn entries_come_back_as_they_went_in() {
        let longest = vec![7; ENTRY_BYTES_MAX];
        let entries: [&[u8]; 3] = [b"", b"two", &longest];
        let bytes = encode(entries).unwrap();
        assert_eq!(bytes[..7], [0, 0, 0, 3, b't', b'w', b'o']);
        assert_eq!(decode(&bytes), Ok(entries.to_vec()));
    }

    #[test]
    fn what_does_not_fit_a_bundle_is_refused() {
        let too_long = vec![0; ENTRY_BYTES_MAX + 1];
        assert_eq!(encode([&too_long]), Err(BundleError::EntryTooLong { position: 0, bytes: ENTRY_BYTES_MAX + 1 }));
        assert_eq!(encode(vec![b"x"; 257]), Err(BundleError::TooMany));
        assert_eq!(encode::<[&[u8]; 0], _>([]), Err(BundleError::Empty));
        assert_eq!(encode(vec![b"x"; 256]).map(|bytes| bytes.len()), Ok(256 * 3));
    }

    #[test]
    fn a_bundle_that_ends_early_or_late_is_refused() {
        assert_eq!(decode(&[]), Err(BundleError::Empty));
        assert_eq!(decode(&[0]), Err(BundleError::Truncated { position: 0 }));
        assert_eq!(decode(&[0, 1, 9, 0, 2, 9]), Err(BundleError::Truncated { position: 1 }));
        assert_eq!(decode(&[0; 257 * LENGTH_BYTES]), Err(BundleError::TooMany));
    }
}
