//! Proofs: three ways to make one agree, and what does not belong together is refused.

use crate::world::{Files, Stored, leaf};
use hallmark_tlog::{
    frontier::Frontier,
    hash::Hash,
    proof::{
        BatchProver, NodeError, NodeSource, ProofError, ProveError, prove_consistency, prove_inclusion,
        verify_consistency, verify_inclusion,
    },
    published::PublishedNodes,
};
use proptest::prelude::*;
use tlog_tiles::tlog as oracle;

const SIZE_MAX: u64 = 300;

/// The other implementation's storage: every node that was ever complete.
struct OracleNodes(Vec<oracle::Hash>);

impl oracle::HashReader for OracleNodes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<oracle::Hash>, oracle::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

impl OracleNodes {
    fn first(size: u64) -> Self {
        let mut nodes = Self(Vec::new());
        for index in 0..size {
            let hash = oracle::record_hash(&crate::world::entry(index));
            let new = oracle::stored_hashes_for_record_hash(index, hash, &nodes).unwrap();
            nodes.0.extend(new);
        }
        nodes
    }
}

fn ours(hashes: &[oracle::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

#[test]
fn roots_of_all_sizes_agree_with_another_implementation() {
    let nodes = OracleNodes::first(SIZE_MAX);
    let stored = Stored::first(SIZE_MAX);
    let mut frontier = Frontier::empty();
    for size in 0..=SIZE_MAX {
        let root = Hash::from_bytes(oracle::tree_hash(size, &nodes).unwrap().0);
        assert_eq!(frontier.root(), root, "size {size}");
        assert_eq!(Frontier::rebuild(size, &stored).unwrap(), frontier, "size {size}");
        frontier.append(leaf(size));
    }
}

#[test]
fn published_tiles_are_those_of_another_implementation() {
    let nodes = OracleNodes::first(SIZE_MAX);
    let files = Files::published(SIZE_MAX);
    for (name, level, index, width) in
        [("tile/0/000", 0, 0, 256), ("tile/0/001.p/44", 0, 1, 44), ("tile/1/000.p/1", 1, 0, 1)]
    {
        let theirs = tlog_tiles::Tile::new(8, level, index, width, false).read_data(&nodes).unwrap();
        assert_eq!(files.0[name], theirs, "{name}");
    }
}

#[test]
fn inclusion_proofs_of_all_leaves_and_sizes_agree_with_another_implementation_and_verify() {
    let nodes = OracleNodes::first(SIZE_MAX);
    let leaves: Vec<_> = (0..SIZE_MAX).map(leaf).collect();
    for size in 1..=SIZE_MAX {
        let whole = BatchProver::new(&Frontier::empty(), &leaves[..size as usize]);
        for index in 0..size {
            let path = whole.inclusion(index).unwrap();
            assert_eq!(path, ours(&oracle::prove_record(size, index, &nodes).unwrap()), "{index} in {size}");
            assert_eq!(verify_inclusion(&leaf(index), index, size, &path, &whole.root()), Ok(()), "{index} in {size}");
        }
    }
}

#[test]
fn inclusion_proofs_from_storage_are_the_same() {
    let stored = Stored::first(SIZE_MAX);
    for size in (1..70).chain(126..131).chain(254..260).chain([SIZE_MAX]) {
        let whole = BatchProver::new(&Frontier::empty(), &stored.levels[0][..size as usize]);
        for index in 0..size {
            assert_eq!(prove_inclusion(&stored, index, size).ok(), whole.inclusion(index), "{index} in {size}");
        }
    }
}

#[test]
fn consistency_proofs_agree_with_another_implementation_and_verify() {
    let nodes = OracleNodes::first(SIZE_MAX);
    let stored = Stored::first(SIZE_MAX);
    let roots: Vec<_> = (0..=SIZE_MAX).map(|size| Frontier::rebuild(size, &stored).unwrap().root()).collect();
    for new in (1..70).chain(126..131).chain(254..260).chain([SIZE_MAX]) {
        for old in 1..=new {
            let path = prove_consistency(&stored, old, new).unwrap();
            assert_eq!(path, ours(&oracle::prove_tree(new, old, &nodes).unwrap()), "{old} to {new}");
            let (old_root, new_root) = (&roots[old as usize], &roots[new as usize]);
            assert_eq!(verify_consistency(old, old_root, new, new_root, &path), Ok(()), "{old} to {new}");
        }
    }
}

#[test]
fn proofs_for_the_newest_batch_need_no_storage() {
    let leaves: Vec<_> = (0..SIZE_MAX).map(leaf).collect();
    let mut before = Frontier::empty();
    for first in 0..SIZE_MAX {
        for batch in [1, 2, 3, 7, 64] {
            let size = (first + batch).min(SIZE_MAX);
            let whole = BatchProver::new(&Frontier::empty(), &leaves[..size as usize]);
            let prover = BatchProver::new(&before, &leaves[first as usize..size as usize]);
            assert_eq!((prover.size(), prover.root()), (size, whole.root()));
            assert_eq!(prover.inclusion(size), None);
            assert_eq!(first.checked_sub(1).and_then(|index| prover.inclusion(index)), None);
            for index in first..size {
                assert_eq!(prover.inclusion(index), whole.inclusion(index), "{index} in {size}");
            }
        }
        before.append(leaf(first));
    }
}

#[test]
fn proofs_over_three_stored_levels_hold() {
    const SIZE: u64 = 70_000;
    let stored = Stored::of((0..SIZE).map(|index| Hash::of_leaf(&index.to_be_bytes())));
    assert_eq!(stored.levels.iter().map(Vec::len).collect::<Vec<_>>(), [70_000, 273, 1]);
    assert_eq!(Frontier::rebuild(SIZE, &stored).unwrap(), stored.frontier);
    for index in [0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1] {
        let path = prove_inclusion(&stored, index, SIZE).unwrap();
        let leaf = Hash::of_leaf(&index.to_be_bytes());
        assert_eq!(verify_inclusion(&leaf, index, SIZE, &path, &stored.root()), Ok(()), "{index}");
    }
    for old in [1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999, SIZE] {
        let path = prove_consistency(&stored, old, SIZE).unwrap();
        let root = Frontier::rebuild(old, &stored).unwrap().root();
        assert_eq!(verify_consistency(old, &root, SIZE, &stored.root(), &path), Ok(()), "{old}");
    }
}

#[test]
fn a_published_log_proves_what_the_ledger_proves() {
    let stored = Stored::first(SIZE_MAX);
    let nodes = PublishedNodes::new(Files::published(SIZE_MAX), SIZE_MAX);
    for index in [0, 1, 128, 255, 256, 299] {
        let path = prove_inclusion(&nodes, index, SIZE_MAX).unwrap();
        assert_eq!(path, prove_inclusion(&stored, index, SIZE_MAX).unwrap(), "{index}");
    }
    let wrong_size = prove_inclusion(&PublishedNodes::new(Files::published(3), 5), 0, 5).unwrap_err();
    assert!(matches!(wrong_size, ProveError::Nodes(NodeError::Storage { level: 0, start: 0, end: 5, .. })));
}

#[test]
fn the_known_tree_of_rfc_6962_tools_has_its_known_roots() {
    // The eight leaves that the reference implementations of RFC 6962 test with.
    let leaves: [&[u8]; 8] = [
        b"",
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::empty();
    for (leaf, root) in leaves.into_iter().zip(roots) {
        frontier.append(Hash::of_leaf(leaf));
        let hex: String = frontier.root().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, root);
    }
}

#[test]
fn a_proof_of_another_length_or_place_is_refused() {
    let stored = Stored::first(40);
    let (root, path) = (stored.root(), prove_inclusion(&stored, 17, 40).unwrap());
    let shorter = &path[..path.len() - 1];
    let longer = [path.as_slice(), &[root]].concat();
    let wrong = |found| Err(ProofError::WrongLength { found });
    assert_eq!(verify_inclusion(&leaf(17), 17, 40, shorter, &root), wrong(path.len() - 1));
    assert_eq!(verify_inclusion(&leaf(17), 17, 40, &longer, &root), wrong(path.len() + 1));
    assert_eq!(verify_inclusion(&leaf(17), 16, 40, &path, &root), Err(ProofError::RootDiffers));
    assert_eq!(verify_inclusion(&leaf(16), 17, 40, &path, &root), Err(ProofError::RootDiffers));
    let beyond = Err(ProofError::IndexBeyondTree { index: 40, size: 40 });
    assert_eq!(verify_inclusion(&leaf(17), 40, 40, &path, &root), beyond);
}

#[test]
fn a_rewritten_or_shrunk_log_is_not_consistent() {
    let (old, new) = (Stored::first(20), Stored::first(40));
    let path = prove_consistency(&new, 20, 40).unwrap();
    let other = leaf(0);
    assert_eq!(verify_consistency(20, &other, 40, &new.root(), &path), Err(ProofError::OldRootDiffers));
    assert_eq!(verify_consistency(20, &old.root(), 40, &other, &path), Err(ProofError::NewRootDiffers));
    let reversed = Err(ProofError::SizesReversed { old_size: 40, new_size: 20 });
    assert_eq!(verify_consistency(40, &new.root(), 20, &old.root(), &path), reversed);
    assert_eq!(verify_consistency(20, &other, 20, &old.root(), &[]), Err(ProofError::OldRootDiffers));
    assert_eq!(verify_consistency(20, &old.root(), 20, &old.root(), &[]), Ok(()));
    assert_eq!(verify_consistency(20, &old.root(), 40, &new.root(), &[]), Err(ProofError::WrongLength { found: 0 }));
    assert_eq!(verify_consistency(0, &Hash::of_empty_tree(), 40, &new.root(), &[]), Ok(()));
    assert_eq!(verify_consistency(0, &other, 40, &new.root(), &[]), Err(ProofError::OldRootDiffers));
}

#[test]
fn what_cannot_be_proven_says_so() {
    let stored = Stored::first(5);
    assert_eq!(prove_inclusion(&stored, 5, 5), Err(ProveError::IndexBeyondTree { index: 5, size: 5 }));
    assert_eq!(prove_consistency(&stored, 5, 4), Err(ProveError::SizesReversed { old_size: 5, new_size: 4 }));
    let missing = NodeError::WrongCount { level: 0, start: 0, end: 9, found: 0 };
    assert_eq!(prove_inclusion(&stored, 3, 9), Err(ProveError::Nodes(missing.clone())));
    assert_eq!(Frontier::rebuild(9, &stored), Err(missing));
}

/// Storage that answers anything with zeros, so that absurd sizes can be tried.
struct Zeros;

impl NodeSource for Zeros {
    type Error = std::convert::Infallible;

    fn nodes(&self, _: u8, range: std::ops::Range<u64>) -> Result<Vec<Hash>, Self::Error> {
        Ok(range.map(|_| Hash::from_bytes([0; 32])).collect())
    }
}

proptest! {
    #[test]
    fn no_numbers_make_prover_or_verifier_panic(
        first: u64, second: u64, path in prop::collection::vec(any::<[u8; 32]>(), 0..70), root: [u8; 32],
    ) {
        let path: Vec<_> = path.into_iter().map(Hash::from_bytes).collect();
        let root = Hash::from_bytes(root);
        prop_assert!(verify_inclusion(&root, first, second, &path, &root).is_err());
        prop_assert!(verify_consistency(first, &root, second, &root, &path).is_err() || first == second);
        prop_assert_eq!(prove_inclusion(&Zeros, first, second).is_ok(), first < second);
        prop_assert_eq!(prove_consistency(&Zeros, first, second).is_ok(), first <= second);
    }

    #[test]
    fn any_altered_hash_of_a_proof_is_noticed(
        size in 2_u64..200, index: prop::sample::Index, at: prop::sample::Index, byte in 0_usize..32, bit in 0..8_u8,
    ) {
        let stored = Stored::first(size);
        let index = index.index(usize::try_from(size).unwrap()) as u64;
        let mut path = prove_inclusion(&stored, index, size).unwrap();
        let at = at.index(path.len());
        let mut bytes = *path[at].as_bytes();
        bytes[byte] ^= 1_u8 << bit;
        path[at] = Hash::from_bytes(bytes);
        let verified = verify_inclusion(&leaf(index), index, size, &path, &stored.root());
        prop_assert_eq!(verified, Err(ProofError::RootDiffers));
    }
}
