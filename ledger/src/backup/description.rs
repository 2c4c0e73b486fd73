//! `backup.json`: what a backup is of, and the digest of each of its files. The log's key signs its SHA-256, in the checkpoint beside it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use hallmark_entry::sha256;
use hallmark_policy::hex;
use hallmark_tlog::{checkpoint::Checkpoint, note::VerifierKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BackupFault;
use crate::signing::Signed;

/// The file's name.
pub(crate) const DESCRIPTION: &str = "backup.json";
/// Name of the checkpoint that signs it.
pub(crate) const SIGNED: &str = "checkpoint";
/// Name of the copy of the database.
pub(crate) const DATABASE: &str = "ledger.sqlite";

/// What the file says that it is, and in which version.
const FORMAT: &str = "hallmark-backup";
const VERSION: u32 = 1;

/// What stands before the digest in the checkpoint's line.
const LINE: &str = "hallmark-backup sha256 ";

/// Longest description and longest checkpoint that are read, in bytes.
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// Longest name of a file, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// Bytes that are hashed at once.
const PIECE_BYTES: usize = 1 << 18;

/// What the file says. Members are in the order of their names, so that there is one way to write it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// The checkpoint of the copied log, as it is published: a signed note.
    pub(crate) checkpoint: String,
    pub(crate) files: Vec<Part>,
    pub(crate) format: String,
    /// The ledger's own name, hexadecimal.
    pub(crate) ledger: String,
    pub(crate) origin: String,
    /// Version of the program that wrote it.
    pub(crate) program: String,
    pub(crate) root: String,
    /// Version of the database's tables.
    pub(crate) schema: i64,
    pub(crate) size: u64,
    /// When it was made, in milliseconds since 1970.
    pub(crate) time: i64,
    pub(crate) version: u32,
}

/// A file of the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) bytes: u64,
    pub(crate) name: String,
    pub(crate) sha256: String,
}

/// What is known of the copied ledger.
pub(crate) struct Of<'a> {
    pub(crate) ledger: [u8; 8],
    pub(crate) origin: &'a str,
    pub(crate) schema: i64,
    pub(crate) at_millis: i64,
}

impl Description {
    pub(crate) fn new(of: &Of<'_>, signed: &Signed, mut files: Vec<Part>) -> Self {
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            checkpoint: signed.note.to_string(),
            files,
            format: FORMAT.to_owned(),
            ledger: hex(&of.ledger),
            origin: of.origin.to_owned(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            root: signed.root.to_string(),
            schema: of.schema,
            size: signed.size,
            time: of.at_millis,
            version: VERSION,
        }
    }

    /// The file's bytes, and the line by which a checkpoint signs them.
    pub(crate) fn encode(&self) -> Result<(Vec<u8>, String), serde_json::Error> {
        let bytes = serde_json::to_vec(self)?;
        let line = format!("{LINE}{}", hex(&sha256(&bytes)));
        Ok((bytes, line))
    }

    /// Reads the description in a directory, which the log's key must have signed. Its other files are not looked at.
    pub(crate) fn read(directory: &Path, verifiers: &[VerifierKey]) -> Result<(Self, Signed), BackupFault> {
        let bytes = read_bounded(&directory.join(DESCRIPTION))?;
        let note = read_bounded(&directory.join(SIGNED))?;
        let wrong = |what: &str| BackupFault::Description { path: directory.join(DESCRIPTION), what: what.to_owned() };
        let head = Checkpoint::open(&note, verifiers)
            .map_err(|source| BackupFault::Unsigned { path: directory.join(SIGNED), source })?;
        let line = format!("{LINE}{}", hex(&sha256(&bytes)));
        if head.extensions() != [line] {
            return Err(wrong("it is not the one that the log's key signed"));
        }
        let this: Self = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
        if this.format != FORMAT || this.version != VERSION {
            return Err(wrong("it has another format, of a newer program"));
        }
        let signed = Signed::read(&this.checkpoint).ok_or_else(|| wrong("its checkpoint does not read"))?;
        let opened = Checkpoint::open_note(&signed.note, verifiers).map_err(|error| wrong(&error.to_string()))?;
        let alike = [
            (opened.origin() == head.origin() && this.origin == head.origin(), "its origins differ"),
            (opened.size() == head.size() && this.size == head.size(), "its sizes differ"),
            (opened.root() == head.root() && this.root == head.root().to_string(), "its roots differ"),
            (this.files.iter().all(|part| is_name(&part.name)), "a file has a name that is none"),
            (this.files.iter().any(|part| part.name == DATABASE), "it has no database"),
        ];
        match alike.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(wrong(what)),
            None => Ok((this, signed)),
        }
    }

    /// That each file but the database is what it was, which is looked at where it is copied.
    pub(crate) fn check_files(&self, directory: &Path) -> Result<(), BackupFault> {
        for part in self.files.iter().filter(|part| part.name != DATABASE) {
            let path = directory.join(&part.name);
            let found = digest(&path).map_err(|source| BackupFault::Io { path: path.clone(), source })?;
            part.agrees_with(&found).map_err(|what| BackupFault::File { path, what })?;
        }
        Ok(())
    }

    /// The database's part.
    pub(crate) fn database(&self) -> Option<&Part> {
        self.files.iter().find(|part| part.name == DATABASE)
    }
}

impl Part {
    /// Describes a file that is there.
    pub(crate) fn of(directory: &Path, name: &str) -> Result<Self, BackupFault> {
        let path = directory.join(name);
        let found = digest(&path).map_err(|source| BackupFault::Io { path, source })?;
        Ok(Self { name: name.to_owned(), ..found })
    }

    /// Whether another digest is the same; or what differs.
    pub(crate) fn agrees_with(&self, found: &Self) -> Result<(), &'static str> {
        match (self.bytes == found.bytes, self.sha256 == found.sha256) {
            (false, _) => Err("it is longer or shorter"),
            (true, false) => Err("it has another SHA-256"),
            (true, true) => Ok(()),
        }
    }
}

/// Whether a checkpoint was signed for a backup, and not to be published.
pub(crate) fn is_of_backup(checkpoint: &Checkpoint) -> bool {
    checkpoint.extensions().iter().any(|line| line.starts_with(LINE))
}

/// Whether a backup's file may be called so: a plain name, for it is joined to a directory.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.starts_with('.') && name.bytes().all(plain)
}

/// Hashes a file.
fn digest(path: &Path) -> io::Result<Part> {
    hash(&mut File::open(path)?, &mut io::sink())
}

/// Hashes what is read and writes it on. The part has no name yet.
pub(crate) fn hash(from: &mut impl io::Read, to: &mut impl io::Write) -> io::Result<Part> {
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = piece.get(..count).unwrap_or_default();
        hasher.update(read);
        to.write_all(read)?;
        bytes += count as u64;
    }
    Ok(Part { bytes, name: String::new(), sha256: hex(&hasher.finalize()) })
}

/// Reads a file that is short; a longer one is not what it should be.
fn read_bounded(path: &Path) -> Result<Vec<u8>, BackupFault> {
    let failed = |source| BackupFault::Io { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > DESCRIPTION_BYTES_MAX {
        return Err(BackupFault::File { path: path.to_owned(), what: "it is longer than such a file can be" });
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(DESCRIPTION_BYTES_MAX).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(is_name("ledger.sqlite") && is_name("log.vkey") && is_name("a-b_C9"));
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "/etc/passwd", "a\0", "ä", &"x".repeat(101)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
