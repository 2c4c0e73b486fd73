//! Proofs for the leaves that were just appended, without storage.

use alloc::vec::Vec;

use crate::{frontier::Frontier, hash::Hash};

/// Inclusion proofs for the leaves of the newest batch, in the tree after the batch.
///
/// Made once for a batch, in time linear in it; then each proof costs one look-up for each level.
#[derive(Clone, Debug)]
pub struct BatchProver {
    first: u64,
    size: u64,
    root: Hash,
    rows: Vec<Row>,
}

/// The nodes of one height that the batch touched, and the node of the old edge to their left where it is a sibling.
#[derive(Clone, Debug)]
struct Row {
    first: u64,
    nodes: Vec<Hash>,
}

impl BatchProver {
    /// Takes the edge of the tree before the batch, and the leaf hashes of the batch.
    #[must_use]
    pub fn new(before: &Frontier, leaves: &[Hash]) -> Self {
        let first = before.size();
        let size = first + leaves.len() as u64;
        let mut rows = Vec::new();
        let mut above = leaves.to_vec();
        let mut root = before.root();
        if !leaves.is_empty() {
            for height in 0.. {
                let row = Row::new(before, height, above);
                above = row.parents();
                let is_root = row.first == 0 && row.nodes.len() == 1;
                if is_root && let Some(top) = row.nodes.first() {
                    root = *top;
                    break;
                }
                rows.push(row);
            }
        }
        Self { first, size, root, rows }
    }

    /// The proof for the leaf with that index in the whole tree, from its sibling upwards; `None` outside the batch.
    #[must_use]
    pub fn inclusion(&self, index: u64) -> Option<Vec<Hash>> {
        if index < self.first || index >= self.size {
            return None;
        }
        let siblings = self.rows.iter().zip(0_u32..).filter_map(|(row, height)| row.node((index >> height) ^ 1));
        Some(siblings.collect())
    }

    /// How many leaves the tree has after the batch.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree after the batch.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }
}

impl Row {
    /// `nodes` are those of `height` from the first that the batch touched up to the right end of the tree.
    fn new(before: &Frontier, height: u32, mut nodes: Vec<Hash>) -> Self {
        let touched = before.size().checked_shr(height).unwrap_or(0);
        match before.of_height(height) {
            Some(left) => {
                nodes.insert(0, left);
                Self { first: touched - 1, nodes }
            }
            None => Self { first: touched, nodes },
        }
    }

    /// The next row up. A last node without a sibling moves up as it is (RFC 9162, section 2.1.1).
    fn parents(&self) -> Vec<Hash> {
        let (pairs, rest) = self.nodes.as_chunks::<2>();
        let nodes = pairs.iter().map(|[left, right]| Hash::of_children(left, right));
        nodes.chain(rest.iter().copied()).collect()
    }

    fn node(&self, index: u64) -> Option<Hash> {
        let position = usize::try_from(index.checked_sub(self.first)?).ok()?;
        self.nodes.get(position).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_batch_changes_nothing_and_proves_nothing() {
        let mut before = Frontier::empty();
        before.append_all((0..5_u8).map(|byte| Hash::of_leaf(&[byte])));
        let prover = BatchProver::new(&before, &[]);
        assert_eq!((prover.size(), prover.root()), (5, before.root()));
        assert_eq!(prover.inclusion(4), None);
        assert_eq!(prover.inclusion(5), None);
    }
}
