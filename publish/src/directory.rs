//! The directory in which a daemon publishes.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use hallmark_tlog::{
    audit::LogFiles,
    bundle,
    checkpoint::Checkpoint,
    hash::HASH_BYTES,
    note::{Note, VerifierKey},
    tile::{self, CHECKPOINT_PATH, TILE_WIDTH, TileKind, TilePath},
};
use serde_json::Value;

use crate::{carry::openings_of, problem::Problem};

/// Largest file, in bytes: bundles and CRLs have about half of it at most.
pub(crate) const FILE_BYTES_MAX: u64 = 32 << 20;

/// How often a checkpoint and the partial files that go with it are looked for: the daemon may publish others meanwhile.
const SNAPSHOT_TRIES: usize = 10;

/// A checkpoint with the log that it signs. Its partial files, which may leave the directory when the next one comes, are held.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) note: Note,
    pub(crate) head: Checkpoint,
    directory: Directory,
    held: BTreeMap<String, Vec<u8>>,
}

impl LogFiles for Snapshot {
    type Error = io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        match self.held.get(path) {
            Some(content) => Ok(Some(content.clone())),
            None => self.directory.read(path),
        }
    }
}

impl Snapshot {
    /// The same, with the file's name where it fails.
    pub(crate) fn file(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.read(path).map_err(|source| Problem::File { path: self.directory.0.join(path), source })
    }
}

/// The directory; it is only read.
#[derive(Clone, Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl LogFiles for Directory {
    type Error = io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
        let fits = u64::try_from(content.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
        if fits { Ok(Some(content)) } else { Err(io::ErrorKind::FileTooLarge.into()) }
    }
}

impl Directory {
    /// Its checkpoint, verified; nothing before the first.
    pub(crate) fn checkpoint(&self, keys: &[VerifierKey]) -> Result<Option<(Note, Checkpoint)>, Problem> {
        let failed = |source| Problem::File { path: self.0.join(CHECKPOINT_PATH), source };
        self.read(CHECKPOINT_PATH).map_err(failed)?.map(|bytes| open(&bytes, keys, "in the directory")).transpose()
    }

    /// The checkpoint with its partial files, all of one moment. Nothing before the first.
    pub(crate) fn snapshot(&self, keys: &[VerifierKey]) -> Result<Option<Snapshot>, Problem> {
        let mut tries = 0;
        loop {
            let Some((note, head)) = self.checkpoint(keys)? else { return Ok(None) };
            tries += 1;
            match self.partial(head.size()) {
                Ok(held) => return Ok(Some(Snapshot { note, head, directory: self.clone(), held })),
                Err(problem) if tries == SNAPSHOT_TRIES => return Err(problem),
                Err(_) => {}
            }
        }
    }

    /// The partial files of a log of that size, and what opens private values in its last bundle.
    fn partial(&self, size: u64) -> Result<BTreeMap<String, Vec<u8>>, Problem> {
        let mut held = BTreeMap::new();
        for kind in tile::kinds(size) {
            let nodes = tile::nodes(kind, size);
            let path = TilePath::of_row(kind, nodes / TILE_WIDTH, nodes);
            if nodes.is_multiple_of(TILE_WIDTH) {
                continue;
            }
            let content = self.begun(path)?;
            held.insert(path.to_string(), content.ok_or_else(|| unproven(path, "it is not there"))?);
            if let (TileKind::Entries, Some(content)) = (kind, self.openings(path, size)?) {
                held.extend(openings_of(path).map(|name| (name, content)));
            }
        }
        Ok(held)
    }

    /// A partial file. The full one begins as it did.
    fn begun(&self, path: TilePath) -> Result<Option<Vec<u8>>, Problem> {
        if let Some(content) = self.file(&path.to_string())? {
            return Ok(Some(content));
        }
        let Some(full) = self.file(&path.full().to_string())? else { return Ok(None) };
        let width = usize::from(path.width());
        let begun = match path.kind() {
            TileKind::Hashes { .. } => full.get(..width * HASH_BYTES).map(<[u8]>::to_vec),
            TileKind::Entries => {
                let entries = bundle::decode(&full).map_err(|error| unproven(path.full(), &error.to_string()))?;
                entries.get(..width).and_then(|entries| bundle::encode(entries).ok())
            }
        };
        begun.map(Some).ok_or_else(|| unproven(path.full(), "it ends too early"))
    }

    /// What opens private values in a partial bundle of a log of that size, if anything does.
    fn openings(&self, path: TilePath, size: u64) -> Result<Option<Vec<u8>>, Problem> {
        let read = |path: TilePath| openings_of(path).map(|name| self.file(&name)).transpose();
        if let Some(content) = read(path)?.flatten() {
            return Ok(Some(content));
        }
        let is_within = |line: &&[u8]| {
            let line: Option<Value> = serde_json::from_slice(line).ok();
            line.and_then(|line| line.get("index")?.as_u64()).is_some_and(|index| index < size)
        };
        let within =
            |full: Vec<u8>| full.split_inclusive(|byte| *byte == b'\n').filter(is_within).flatten().copied().collect();
        Ok(read(path.full())?.flatten().map(within).filter(|lines: &Vec<u8>| !lines.is_empty()))
    }

    fn file(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        self.read(path).map_err(|source| Problem::File { path: self.0.join(path), source })
    }
}

fn unproven(path: TilePath, sentence: &str) -> Problem {
    Problem::Unproven { sentence: format!("`{path}`: {sentence}") }
}

/// Reads and verifies a checkpoint.
pub(crate) fn open(bytes: &[u8], keys: &[VerifierKey], place: &'static str) -> Result<(Note, Checkpoint), Problem> {
    let wrong = |source| Problem::Checkpoint { place, source };
    let note = Note::parse(bytes).map_err(|error| wrong(error.into()))?;
    let head = Checkpoint::open_note(&note, keys).map_err(wrong)?;
    Ok((note, head))
}

/// The keys in a file, one a line.
pub(crate) fn keys(path: &Path) -> Result<Vec<VerifierKey>, Problem> {
    let failed = |source| Problem::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong = |source| Problem::Key { path: path.to_owned(), source };
    lines.map(|line| VerifierKey::parse(line).map_err(wrong)).collect()
}
