//! Who judges.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use hallmark_tests::daemon::{program, succeed};
use signed_note::Verifier as _;
use tlog_tiles::{Tile, TileHashReader, TileReader, tlog};

/// A judge: given a log, its key and an earlier checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Judge {
    /// `hallmark log verify`.
    Hallmark,
    /// Go's `golang.org/x/mod/sumdb`.
    Go,
    /// `examples/verify-log.py`.
    Python,
    /// The crates `signed_note` and `tlog_tiles`.
    Crates,
}

pub(crate) const JUDGES: [Judge; 4] = [Judge::Hallmark, Judge::Go, Judge::Python, Judge::Crates];

impl Judge {
    /// Nothing if the log is accepted; otherwise what the judge says.
    pub(crate) fn judge(self, log: &Path, vkey: &str, earlier: &Path) -> Result<(), String> {
        match self {
            Self::Hallmark => {
                let home = tempfile::tempdir().unwrap();
                let mut command = Command::new(program("hallmark"));
                command.env("HOME", home.path()).env_remove("XDG_STATE_HOME").env_remove("HALLMARK_CONFIG");
                // A checkpoint that does not open ends it before there is a verdict over files.
                obey(
                    command.args(["log", "verify", "--key", vkey, "--anchor"]).arg(earlier).arg(log),
                    &["failed:", "error:"],
                )
            }
            Self::Go => obey(Command::new(go()).arg(log).arg(vkey).arg(earlier), &["rejected:"]),
            Self::Python => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/verify-log.py");
                obey(Command::new("python3").arg(script).arg(log).arg(vkey).arg(earlier), &["rejected:"])
            }
            Self::Crates => crates(log, vkey, earlier),
        }
    }
}

/// What a judge says. One that rejects ends with 1 and a line that begins with one of these words: a crash is no verdict.
fn obey(command: &mut Command, rejects: &[&str]) -> Result<(), String> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1) if said.lines().any(|line| rejects.iter().any(|word| line.starts_with(word))) => Err(said),
        // A judge that does not understand the question must not pass for one that rejects.
        code => panic!("{command:?} ended with {code:?}: {said}"),
    }
}

/// The judge in Go, built once.
fn go() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/log-judge");
        PathBuf::from(succeed(&mut Command::new(script)).trim())
    })
}

/// Signature, root over the entries, every tile, and continuation, by two crates.
fn crates(log: &Path, vkey: &str, earlier: &Path) -> Result<(), String> {
    let (size, root) = open(&log.join("checkpoint"), vkey)?;
    let files = Files(log.to_owned());
    let mut hashes = Stored(Vec::new());
    for index in 0..size.div_ceil(256) {
        let width = u32::try_from((size - index * 256).min(256)).unwrap();
        let bundle = files.read("entries", index, width)?;
        let mut rest = bundle.as_slice();
        for number in index * 256..index * 256 + u64::from(width) {
            let (length, after) = rest.split_first_chunk::<2>().ok_or("a bundle ends early")?;
            let (entry, after) =
                after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or("a bundle ends early")?;
            let more = tlog::stored_hashes(number, entry, &hashes).map_err(|error| error.to_string())?;
            hashes.0.extend(more);
            rest = after;
        }
        if !rest.is_empty() {
            return Err("a bundle has more entries than it should".to_owned());
        }
    }
    if tlog::tree_hash(size, &hashes).map_err(|error| error.to_string())? != root {
        return Err("the entries have another root than is signed".to_owned());
    }
    for tile in Tile::new_tiles(8, 0, size) {
        let wanted = tile.read_data(&hashes).map_err(|error| error.to_string())?;
        if files.read(&tile.level().to_string(), tile.level_index(), tile.width())? != wanted {
            return Err(format!("{} is not the tile of the entries", tile.path()));
        }
    }
    let tiles = TileHashReader::new(size, root, &files);
    let (old_size, old_root) = open(earlier, vkey)?;
    if old_size > size {
        return Err("the log has shrunk".to_owned());
    }
    let proof = tlog::prove_tree(size, old_size, &tiles).map_err(|error| error.to_string())?;
    tlog::check_tree(&proof, size, root, old_size, old_root).map_err(|error| error.to_string())
}

fn open(path: &Path, vkey: &str) -> Result<(u64, tlog::Hash), String> {
    let verifier = signed_note::StandardVerifier::new(vkey).unwrap();
    let name = verifier.name().to_string();
    let note = signed_note::Note::from_bytes(&fs::read(path).unwrap()).map_err(|error| error.to_string())?;
    let known = signed_note::VerifierList::new(vec![Box::new(verifier)]);
    note.verify(&known).map_err(|error| error.to_string())?;
    let head = tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|error| error.to_string())?;
    if head.origin() != name { Err("of another log".to_owned()) } else { Ok((head.size(), *head.hash())) }
}

/// Hashes as `tlog_tiles` numbers them.
struct Stored(Vec<tlog::Hash>);

impl tlog::HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

/// Files where C2SP `tlog-tiles` puts them; the crate has the older paths of Go's checksum database.
struct Files(PathBuf);

impl Files {
    fn read(&self, level: &str, index: u64, width: u32) -> Result<Vec<u8>, String> {
        assert!(index < 1_000, "a small log");
        let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
        let path = self.0.join(format!("tile/{level}/{index:03}{partial}"));
        fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    }
}

impl TileReader for Files {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        let read = |tile: &Tile| self.read(&tile.level().to_string(), tile.level_index(), tile.width());
        tiles.iter().map(|tile| read(tile).map_err(|_| tlog::Error::InvalidTile)).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// Standard base64.
pub(crate) fn unbase64(text: &str) -> Vec<u8> {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.decode(text).unwrap()
}
