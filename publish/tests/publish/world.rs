//! A published log, and the program over it.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Output},
};

use hallmark_tlog::{
    audit::{Auditor, LogFiles},
    bundle,
    checkpoint::Checkpoint,
    frontier::Frontier,
    hash::Hash,
    note::SignerKey,
    tile::{self, TileKind},
};
use tempfile::TempDir;

pub(crate) const ORIGIN: &str = "example.com/log";

/// A directory as a daemon publishes into, and a target beside it.
pub(crate) struct World {
    directory: TempDir,
}

pub(crate) struct Files(PathBuf);

impl LogFiles for Files {
    type Error = std::io::Error;

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, std::io::Error> {
        match fs::read(self.0.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

pub(crate) fn key() -> SignerKey {
    SignerKey::generate(ORIGIN, [1; 32]).unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let world = Self { directory: TempDir::new().unwrap() };
        fs::write(world.path("log.vkey"), format!("{}\n", key().verifier())).unwrap();
        fs::create_dir(world.path("target")).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Publishes entries; the others that are there are those of earlier sizes.
    pub(crate) fn publish(&self, entries: &[Vec<u8>]) {
        let mut frontier = Frontier::empty();
        let mut levels: Vec<Vec<Hash>> = vec![Vec::new(); 3];
        for entry in entries {
            levels[0].push(Hash::of_leaf(entry));
            for node in frontier.append(Hash::of_leaf(entry)) {
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
            self.write(&path.to_string(), &bytes);
        }
        let head = Checkpoint::new(ORIGIN, frontier.size(), frontier.root()).unwrap().sign(&key()).unwrap();
        self.write("checkpoint", head.to_string().as_bytes());
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) {
        let place = self.path("log").join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        // Whole or not at all, as the daemon does.
        let beside = self.path("beside");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, place).unwrap();
    }

    /// Removes the partial files of a size that are none of a later one's.
    pub(crate) fn remove_partial(&self, size: u64, later: u64) {
        let of_size = |size: u64| tile::kinds(size).flat_map(move |kind| tile::changed(kind, 0, size).last());
        let kept: Vec<_> = of_size(later).collect();
        for path in of_size(size).filter(|path| !path.is_full() && !kept.contains(path)) {
            fs::remove_file(self.path("log").join(path.to_string())).unwrap();
        }
    }

    /// A log of 600 entries whose checkpoint is still that of 300, and whose partial files of that size are gone.
    pub(crate) fn between(&self) {
        self.publish(&entries(300));
        let earlier = fs::read(self.path("log/checkpoint")).unwrap();
        self.publish(&entries(600));
        for path in ["tile/0/001.p/44", "tile/entries/001.p/44"] {
            fs::remove_file(self.path("log").join(path)).unwrap();
        }
        self.write("checkpoint", &earlier);
    }

    pub(crate) fn program(&self, command: &str, to: &str) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_hallmark-publish"));
        program.arg(command).arg(self.path("log")).arg("--key").arg(self.path("log.vkey")).args(["--to", to]);
        if command == "push" {
            program.arg("--once");
        }
        program
    }

    pub(crate) fn to_files(&self) -> String {
        format!("file://{}", self.path("target").display())
    }

    pub(crate) fn check(&self, more: &[&str]) -> Output {
        self.program("check", &self.to_files()).args(more).output().unwrap()
    }

    pub(crate) fn push(&self, more: &[&str]) -> Output {
        self.program("push", &self.to_files()).args(more).output().unwrap()
    }

    /// Size of the log at the target, which must hold to the last byte.
    pub(crate) fn carried(&self) -> u64 {
        let keys = [key().verifier().clone()];
        let report = Auditor::new(&keys).audit(&Files(self.path("target")), &mut ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.findings);
        report.size
    }
}

pub(crate) fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| format!("entry {number}").into_bytes()).collect()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn done(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

/// A process that ends with the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn curl(arguments: &[&str]) -> String {
    let output =
        Command::new("curl").args(["--silent", "--show-error", "--fail-with-body"]).args(arguments).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), said(&output))
}
