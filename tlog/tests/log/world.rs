//! A small published log in memory, and stored nodes as the ledger keeps them.

use std::{collections::BTreeMap, convert::Infallible, ops::Range};

use hallmark_tlog::{
    audit::{Auditor, LogFiles, Report},
    bundle,
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::{SignerKey, VerifierKey},
    proof::NodeSource,
    tile::{self, TileKind},
};

pub(crate) const ORIGIN: &str = "example.com/log";

pub(crate) fn entry(index: u64) -> Vec<u8> {
    let length = usize::try_from(index % 5).unwrap_or(0);
    [format!("entry {index} ").as_bytes(), &b"more text"[..length]].concat()
}

pub(crate) fn leaf(index: u64) -> Hash {
    Hash::of_leaf(&entry(index))
}

pub(crate) fn log_key() -> SignerKey {
    SignerKey::generate(ORIGIN, [42; 32]).expect("the name is good")
}

/// Nodes of all stored levels, as appends reported them.
#[derive(Clone, Default)]
pub(crate) struct Stored {
    pub(crate) frontier: Frontier,
    pub(crate) levels: Vec<Vec<Hash>>,
}

impl Stored {
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut stored = Self { frontier: Frontier::empty(), levels: vec![Vec::new()] };
        for leaf in leaves {
            stored.levels[0].push(leaf);
            for node in stored.frontier.append(leaf) {
                let level = usize::from(node.level);
                stored.levels.resize(stored.levels.len().max(level + 1), Vec::new());
                assert_eq!(stored.levels[level].len() as u64, node.index);
                stored.levels[level].push(node.hash);
            }
        }
        stored
    }

    pub(crate) fn first(size: u64) -> Self {
        Self::of((0..size).map(leaf))
    }

    pub(crate) fn root(&self) -> Hash {
        self.frontier.root()
    }
}

impl NodeSource for Stored {
    type Error = Infallible;

    fn nodes(&self, level: u8, range: Range<u64>) -> Result<Vec<Hash>, Infallible> {
        assert!(range.start / 256 == (range.end - 1) / 256, "{range:?} is within one tile");
        let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(self.levels.get(usize::from(level)).and_then(|nodes| nodes.get(range)).unwrap_or(&[]).to_vec())
    }
}

/// The files of a published log.
#[derive(Clone, Default)]
pub(crate) struct Files(pub(crate) BTreeMap<String, Vec<u8>>);

impl LogFiles for Files {
    type Error = Infallible;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(path).cloned())
    }
}

impl Files {
    /// Publishes the first `size` entries.
    pub(crate) fn published(size: u64) -> Self {
        Self::from_entries((0..size).map(entry).collect())
    }

    pub(crate) fn from_entries(entries: Vec<Vec<u8>>) -> Self {
        let size = entries.len() as u64;
        let stored = Stored::of(entries.iter().map(|entry| Hash::of_leaf(entry)));
        let mut files = BTreeMap::new();
        for path in tile::kinds(size).flat_map(|kind| tile::changed(kind, 0, size)) {
            let start = usize::try_from(path.index() * 256).unwrap();
            let range = start..start + usize::from(path.width());
            let bytes = match path.kind() {
                TileKind::Entries => bundle::encode(&entries[range]).unwrap(),
                TileKind::Hashes { level } => tile::encode_hashes(&stored.levels[usize::from(level)][range]),
            };
            files.insert(path.to_string(), bytes);
        }
        let head = Checkpoint::new(ORIGIN, size, stored.root()).unwrap().sign(&log_key()).unwrap();
        files.insert(tile::CHECKPOINT_PATH.to_string(), head.to_string().into_bytes());
        Self(files)
    }

    pub(crate) fn audit(&self) -> Report {
        self.try_audit(&mut ()).expect("the checkpoint holds")
    }

    pub(crate) fn try_audit(
        &self,
        visitor: &mut impl hallmark_tlog::audit::Visitor,
    ) -> Result<Report, hallmark_tlog::audit::AuditError<Infallible>> {
        let keys: [VerifierKey; 1] = [log_key().verifier().clone()];
        Auditor::new(&keys).audit(self, visitor)
    }

    pub(crate) fn file(&mut self, path: &str) -> &mut Vec<u8> {
        self.0.get_mut(path).unwrap_or_else(|| panic!("`{path}` is published"))
    }
}
