//! Proofs that an entry is in a tree, and that a tree is the beginning of another (RFC 9162, section 2.1).

use alloc::vec::Vec;

use crate::{hash::Hash, nodes::Subtrees};

pub use crate::{
    batch::BatchProver,
    nodes::{NodeError, NodeSource},
};

/// Why no proof can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E: core::error::Error + 'static> {
    /// The tree has no such leaf.
    #[error("a tree of {size} leaves has no leaf {index}; ask for a smaller index or a larger tree")]
    IndexBeyondTree {
        /// The index asked for.
        index: u64,
        /// The size of the tree asked for.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old_size} leaves cannot be the beginning of one of {new_size}; exchange the two sizes")]
    SizesReversed {
        /// Size of the older tree.
        old_size: u64,
        /// Size of the newer tree.
        new_size: u64,
    },
    /// The stored nodes could not be had.
    #[error(transparent)]
    Nodes(#[from] NodeError<E>),
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("the proof is for leaf {index} of a tree of {size} leaves, which does not exist")]
    IndexBeyondTree {
        /// The index claimed.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("a tree of {old_size} leaves cannot be the beginning of one of {new_size}; the log has shrunk")]
    SizesReversed {
        /// Size of the older tree.
        old_size: u64,
        /// Size of the newer tree.
        new_size: u64,
    },
    /// More or fewer hashes than the sizes call for.
    #[error("the proof has {found} hashes, which is not the number that these sizes call for")]
    WrongLength {
        /// How many there are.
        found: usize,
    },
    /// The path from the leaf does not lead to the root.
    #[error("the proof does not lead from the leaf to the root; this entry is not in this tree at this index")]
    RootDiffers,
    /// The proof does not give the root of the older tree.
    #[error(
        "the proof does not give the root of the older tree; the log was rewritten, or the proof is of another tree"
    )]
    OldRootDiffers,
    /// The proof does not give the root of the newer tree.
    #[error(
        "the proof does not give the root of the newer tree; the log was rewritten, or the proof is of another tree"
    )]
    NewRootDiffers,
}

/// Proves that leaf `index` is in the tree of the first `size` leaves: hashes from its sibling upwards.
///
/// # Errors
/// See [`ProveError`].
pub fn prove_inclusion<S: NodeSource>(source: &S, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if index >= size {
        return Err(ProveError::IndexBeyondTree { index, size });
    }
    let mut subtrees = Subtrees::new(source, size);
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + left_leaves(end - start);
        if index < middle {
            path.push(subtrees.root(middle, end)?);
            end = middle;
        } else {
            path.push(subtrees.root(start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Proves that the tree of the first `old_size` leaves is the beginning of that of `new_size`.
///
/// Without hashes when the sizes are equal or the older tree is empty: then there is nothing to prove.
///
/// # Errors
/// See [`ProveError`].
pub fn prove_consistency<S: NodeSource>(
    source: &S,
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if old_size > new_size {
        return Err(ProveError::SizesReversed { old_size, new_size });
    }
    let mut path = Vec::new();
    if old_size == 0 {
        return Ok(path);
    }
    let mut subtrees = Subtrees::new(source, new_size);
    let (mut start, mut end) = (0, new_size);
    while end != old_size {
        let middle = start + left_leaves(end - start);
        if old_size <= middle {
            path.push(subtrees.root(middle, end)?);
            end = middle;
        } else {
            path.push(subtrees.root(start, middle)?);
            start = middle;
        }
    }
    // The verifier knows the older root. It needs this subtree's only where the two are not the same.
    if start != 0 {
        path.push(subtrees.root(start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Checks that the leaf with the hash `leaf` is number `index` in the tree of `size` leaves with that root
/// (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// See [`ProofError`].
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::IndexBeyondTree { index, size });
    }
    let mut place = Place { node: index, last: size - 1 };
    let mut computed = *leaf;
    for sibling in path {
        computed = match place.climb() {
            Some(Side::Left) => Hash::of_children(sibling, &computed),
            Some(Side::Right) => Hash::of_children(&computed, sibling),
            None => return Err(ProofError::WrongLength { found: path.len() }),
        };
    }
    if place.last != 0 {
        return Err(ProofError::WrongLength { found: path.len() });
    }
    if computed == *root { Ok(()) } else { Err(ProofError::RootDiffers) }
}

/// Checks that the tree of `old_size` leaves is the beginning of the tree of `new_size` leaves
/// (RFC 9162, section 2.1.4.2; an empty tree is the beginning of every tree).
///
/// # Errors
/// See [`ProofError`].
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    path: &[Hash],
) -> Result<(), ProofError> {
    if old_size > new_size {
        return Err(ProofError::SizesReversed { old_size, new_size });
    }
    let wrong_length = Err(ProofError::WrongLength { found: path.len() });
    if old_size == 0 || old_size == new_size {
        let nothing_to_show = if old_size == 0 { Hash::of_empty_tree() } else { *new_root };
        if *old_root != nothing_to_show {
            return Err(ProofError::OldRootDiffers);
        }
        return if path.is_empty() { Ok(()) } else { wrong_length };
    }
    let mut place = Place { node: old_size - 1, last: new_size - 1 };
    place.shift(place.node.trailing_ones());
    let (seed, rest) = match (old_size.is_power_of_two(), path) {
        (true, path) => (old_root, path),
        (false, [seed, rest @ ..]) => (seed, rest),
        (false, []) => return wrong_length,
    };
    let (mut old, mut new) = (*seed, *seed);
    for sibling in rest {
        match place.climb() {
            Some(Side::Left) => {
                old = Hash::of_children(sibling, &old);
                new = Hash::of_children(sibling, &new);
            }
            Some(Side::Right) => new = Hash::of_children(&new, sibling),
            None => return wrong_length,
        }
    }
    if place.last != 0 {
        return wrong_length;
    }
    if old != *old_root {
        return Err(ProofError::OldRootDiffers);
    }
    if new == *new_root { Ok(()) } else { Err(ProofError::NewRootDiffers) }
}

/// Where the next sibling stands.
enum Side {
    Left,
    Right,
}

/// A node on the way up and the last node of its row: `fn` and `sn` of RFC 9162, section 2.1.3.2.
struct Place {
    node: u64,
    last: u64,
}

impl Place {
    /// Goes up past one sibling and says where it stands; `None` at the root, which has none.
    fn climb(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let left = self.node % 2 == 1 || self.node == self.last;
        if left {
            self.shift(self.node.trailing_zeros());
        }
        self.shift(1);
        Some(if left { Side::Left } else { Side::Right })
    }

    fn shift(&mut self, rows: u32) {
        self.node = self.node.checked_shr(rows).unwrap_or(0);
        self.last = self.last.checked_shr(rows).unwrap_or(0);
    }
}

/// How many of two or more leaves stand left of the root: the largest power of two below their number.
fn left_leaves(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}
