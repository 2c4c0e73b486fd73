//! What can be done to a published log.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    bundle,
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::{Note, SignerKey},
    tile::{self, TileKind},
};

use crate::below;

/// A way to forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// Another byte in an entry, and nothing else.
    EntryEdited,
    /// An entry is edited, dropped, put elsewhere, or a new one comes in; every bundle and tile is made anew.
    EntryEditedWithTiles,
    EntryDroppedWithTiles,
    EntriesSwappedWithTiles,
    EntryInsertedWithTiles,
    /// The same in the bundle alone.
    EntryDropped,
    EntriesSwapped,
    EntryInserted,
    /// Another size or root in the checkpoint.
    SizeEdited,
    RootEdited,
    /// Another hash in a tile.
    LeafTileChanged,
    UpperTileChanged,
    /// The log's signature is gone, or in its place stands one by somebody else.
    SignatureStripped,
    SignatureForeign,
    SignatureForeignOfTheSameName,
    /// A file is gone.
    BundleRemoved,
    TileRemoved,
    /// Shorter than it was, with a checkpoint that the log's key signs.
    Truncated,
    /// Another history of the same length, with a checkpoint that the log's key signs.
    Forked,
    /// Another history, longer than it was.
    ForkedAndLonger,
}

use Forgery::{
    BundleRemoved, EntriesSwapped, EntriesSwappedWithTiles, EntryDropped, EntryDroppedWithTiles, EntryEdited,
    EntryEditedWithTiles, EntryInserted, EntryInsertedWithTiles, Forked, ForkedAndLonger, LeafTileChanged, RootEdited,
    SignatureForeign, SignatureForeignOfTheSameName, SignatureStripped, SizeEdited, TileRemoved, Truncated,
    UpperTileChanged,
};

/// Entries that are tampered with.
const FIRST: usize = 5;
const SECOND: usize = 6;

impl Forgery {
    pub(crate) const ALL: [Self; 20] = [
        EntryEdited,
        EntryEditedWithTiles,
        EntryDroppedWithTiles,
        EntriesSwappedWithTiles,
        EntryInsertedWithTiles,
        EntryDropped,
        EntriesSwapped,
        EntryInserted,
        SizeEdited,
        RootEdited,
        LeafTileChanged,
        UpperTileChanged,
        SignatureStripped,
        SignatureForeign,
        SignatureForeignOfTheSameName,
        BundleRemoved,
        TileRemoved,
        Truncated,
        Forked,
        ForkedAndLonger,
    ];

    /// Whether the log's own key signs what was forged.
    pub(crate) fn is_signed_anew(self) -> bool {
        matches!(self, Truncated | Forked | ForkedAndLonger)
    }

    /// What our verifier names at least.
    pub(crate) fn named(self) -> &'static str {
        match self {
            EntryEdited | EntriesSwapped => "entry 5 in `tile/entries/000`",
            EntryDropped | EntryInserted | BundleRemoved => "`tile/entries/000`",
            EntryEditedWithTiles | EntryDroppedWithTiles | EntriesSwappedWithTiles | EntryInsertedWithTiles => {
                "but `checkpoint` signs"
            }
            SizeEdited | RootEdited | SignatureStripped | SignatureForeign | SignatureForeignOfTheSameName => {
                "`checkpoint`"
            }
            LeafTileChanged | TileRemoved => "`tile/0/000`",
            UpperTileChanged => "in `tile/1/000.p/",
            Truncated => "entries were removed",
            Forked | ForkedAndLonger => "the log was rewritten",
        }
    }

    /// Does it. `key` is the log's own, as text.
    pub(crate) fn commit(self, log: &Path, key: &str) {
        let key = SignerKey::parse(key).unwrap();
        let mut entries = entries(log);
        match self {
            EntryEdited | EntryEditedWithTiles => edit(&mut entries[FIRST]),
            EntryDropped | EntryDroppedWithTiles => drop(entries.remove(FIRST)),
            EntriesSwapped | EntriesSwappedWithTiles => entries.swap(FIRST, SECOND),
            EntryInserted | EntryInsertedWithTiles => entries.insert(FIRST, entries[SECOND].clone()),
            Truncated => entries.truncate(entries.len() - 40),
            Forked => edit(&mut entries[FIRST]),
            ForkedAndLonger => {
                edit(&mut entries[FIRST]);
                entries.push(entries[0].clone());
            }
            SizeEdited => return edit_checkpoint(log, |text| text.replacen(&size(log).to_string(), "301", 1)),
            RootEdited => return edit_checkpoint(log, |text| text.replace(&root(log), &other_root())),
            LeafTileChanged => return change(&log.join("tile/0/000"), 70),
            UpperTileChanged => return change(&log.join(format!("tile/1/000.p/{}", size(log) / 256)), 3),
            SignatureStripped => return edit_checkpoint(log, strip),
            SignatureForeign => return sign_otherwise(log, &stranger("somebody.example/else")),
            SignatureForeignOfTheSameName => return sign_otherwise(log, &stranger(key.verifier().name())),
            BundleRemoved => return fs::remove_file(log.join("tile/entries/000")).unwrap(),
            TileRemoved => return fs::remove_file(log.join("tile/0/000")).unwrap(),
        }
        match self {
            EntryEdited | EntryDropped | EntriesSwapped | EntryInserted => write_first_bundle(log, &entries),
            Truncated | Forked | ForkedAndLonger => publish(log, &entries, Some(&key)),
            _ => publish(log, &entries, None),
        }
    }
}

/// Another letter in an entry, which stays JSON.
fn edit(entry: &mut [u8]) {
    let digit = entry.iter().rposition(u8::is_ascii_digit).unwrap();
    let time = entry.windows(7).position(|window| window == b"\"time\":").unwrap();
    assert!(time < digit);
    let last = time + 7 + 11;
    entry[last] = if entry[last] == b'1' { b'2' } else { b'1' };
}

fn strip(text: String) -> String {
    text.rsplit_once("\n\n").unwrap().0.to_owned() + "\n\n"
}

fn stranger(name: &str) -> SignerKey {
    SignerKey::generate(name, [9; 32]).unwrap()
}

fn sign_otherwise(log: &Path, key: &SignerKey) {
    let note = Note::parse(&fs::read(log.join("checkpoint")).unwrap()).unwrap();
    let note = Note::sign(note.text().to_owned(), &[key]).unwrap();
    fs::write(log.join("checkpoint"), note.to_string()).unwrap();
}

fn edit_checkpoint(log: &Path, edit: impl FnOnce(String) -> String) {
    let path = log.join("checkpoint");
    let text = fs::read_to_string(&path).unwrap();
    let edited = edit(text.clone());
    assert_ne!(edited, text);
    fs::write(path, edited).unwrap();
}

fn change(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn head(log: &Path) -> Checkpoint {
    let note = Note::parse(&fs::read(log.join("checkpoint")).unwrap()).unwrap();
    Checkpoint::parse_unverified(note.text()).unwrap()
}

/// How many entries a log says it has.
pub(crate) fn size(log: &Path) -> u64 {
    head(log).size()
}

fn root(log: &Path) -> String {
    head(log).root().to_string()
}

fn other_root() -> String {
    Hash::of_leaf(b"another").to_string()
}

/// All entries.
pub(crate) fn entries(log: &Path) -> Vec<Vec<u8>> {
    let size = size(log);
    let bundles = tile::changed(TileKind::Entries, 0, size).map(|path| fs::read(log.join(path.to_string())).unwrap());
    bundles
        .flat_map(|bytes| bundle::decode(&bytes).unwrap().into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
        .collect()
}

/// The first bundle, with one entry more or less where that is so.
fn write_first_bundle(log: &Path, entries: &[Vec<u8>]) {
    let size = usize::try_from(size(log)).unwrap();
    let count = 256 + entries.len() - size;
    let mut bytes = Vec::new();
    for entry in &entries[..count] {
        bytes.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
        bytes.extend(entry);
    }
    fs::write(log.join("tile/entries/000"), bytes).unwrap();
}

/// Bundles and tiles made anew, for as many entries as are signed or, with a key, as there are.
pub(crate) fn publish(log: &Path, entries: &[Vec<u8>], key: Option<&SignerKey>) {
    let signed = size(log);
    let mut entries = entries.to_vec();
    if key.is_none() {
        entries.resize(usize::try_from(signed).unwrap(), entries[0].clone());
    }
    let origin = head(log).origin().to_owned();
    fs::remove_dir_all(log.join("tile")).unwrap();
    let mut frontier = Frontier::empty();
    let mut levels: Vec<Vec<Hash>> = vec![Vec::new(); 3];
    for entry in &entries {
        let leaf = Hash::of_leaf(entry);
        levels[0].push(leaf);
        for node in frontier.append(leaf) {
            levels[usize::from(node.level)].push(node.hash);
        }
    }
    for path in tile::kinds(frontier.size()).flat_map(|kind| tile::changed(kind, 0, frontier.size())) {
        let start = usize::try_from(path.index() * 256).unwrap();
        let range = start..start + usize::from(path.width());
        let bytes = match path.kind() {
            TileKind::Entries => bundle::encode(&entries[range]).unwrap(),
            TileKind::Hashes { level } => tile::encode_hashes(&levels[usize::from(level)][range]),
        };
        let place = log.join(path.to_string());
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }
    if let Some(key) = key {
        let head = Checkpoint::new(&origin, frontier.size(), frontier.root()).unwrap().sign(key).unwrap();
        fs::write(log.join("checkpoint"), head.to_string()).unwrap();
    }
}

/// Copies a directory.
pub(crate) fn copy(from: &Path, to: &Path) {
    for (name, content) in contents(from) {
        let place = to.join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, content).unwrap();
    }
}

/// The names of all files below a directory, sorted.
pub(crate) fn files(directory: &Path) -> Vec<String> {
    contents(directory).into_keys().collect()
}

/// All files below a directory.
pub(crate) fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left: Vec<PathBuf> = vec![directory.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(below(&path, directory), fs::read(&path).unwrap());
            }
        }
    }
    found
}
