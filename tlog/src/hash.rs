//! Hashes of the tree: SHA-256 with one prefix byte that keeps leaves and nodes apart (RFC 6962, section 2.1).

use alloc::string::String;
use core::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use sha2::{Digest as _, Sha256};

/// Length of a hash, in bytes.
pub const HASH_BYTES: usize = 32;

const LEAF_PREFIX: [u8; 1] = [0x00];
const NODE_PREFIX: [u8; 1] = [0x01];

/// The hash of a leaf, of a node or of a whole tree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; HASH_BYTES]);

impl Hash {
    /// The leaf hash of an entry: SHA-256(0x00 || entry).
    #[must_use]
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(Sha256::new().chain_update(LEAF_PREFIX).chain_update(entry).finalize().into())
    }

    /// The hash of a node with these children: SHA-256(0x01 || left || right).
    #[must_use]
    pub fn of_children(left: &Self, right: &Self) -> Self {
        Self(Sha256::new().chain_update(NODE_PREFIX).chain_update(left.0).chain_update(right.0).finalize().into())
    }

    /// The root of the tree without leaves: SHA-256 of nothing.
    #[must_use]
    pub fn of_empty_tree() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// A hash that was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; HASH_BYTES]) -> Self {
        Self(bytes)
    }

    /// A hash that was stored, if there are exactly 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads what [`Display`](fmt::Display) writes: canonical standard base64 (RFC 4648, section 4), 44 characters.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        const CHARACTERS: usize = HASH_BYTES.div_ceil(3) * 4;
        if text.len() != CHARACTERS {
            return None;
        }
        Self::from_slice(&BASE64_STANDARD.decode(text).ok()?)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = BASE64_STANDARD.encode(self.0);
        f.write_str(&text)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

/// The root of the complete subtree over `nodes`, whose number is a power of two; `None` without nodes.
pub(crate) fn of_complete(nodes: &[Hash]) -> Option<Hash> {
    let mut row = nodes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| Hash::of_children(left, right)).collect();
    }
    row.first().copied()
}

/// The root over complete subtrees of falling size, left to right; that of the empty tree without any.
pub(crate) fn of_edge(edge: &[Hash]) -> Hash {
    let from_the_right = edge.iter().rev().copied();
    from_the_right.reduce(|right, left| Hash::of_children(&left, &right)).unwrap_or_else(Hash::of_empty_tree)
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::*;

    #[test]
    fn the_empty_tree_and_the_empty_leaf_have_their_known_hashes() {
        assert_eq!(Hash::of_empty_tree().to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        assert_eq!(Hash::of_leaf(b"").to_string(), "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=");
    }

    #[test]
    fn base64_reads_back_and_has_one_spelling() {
        let hash = Hash::of_leaf(b"entry");
        assert_eq!(Hash::from_base64(&hash.to_string()), Some(hash));
        assert_eq!(format!("{hash:?}"), format!("Hash({hash})"));
        for wrong in ["", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV="]
        {
            assert_eq!(Hash::from_base64(wrong), None, "{wrong}");
        }
    }
}
