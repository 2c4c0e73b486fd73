//! Tokens that replicate their keys, as devices do by means of their own: below PKCS #11, so that a copy is the key that it was, with all its
//! attributes. In SoftHSM, keys are files that are encrypted with a secret of their token; two tokens that share it can share the files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Token, token_directory, writing};

/// What SoftHSM calls the token's own file, and the one that tells other processes that something has changed.
const OWN_FILE: &str = "token.object";
const GENERATION: &str = "generation";

/// Bytes of a number in SoftHSM's files, big-endian.
const NUMBER_BYTES: usize = 8;

/// The kind of attributes that are true or false.
const BOOLEAN: u64 = 1;

impl Token {
    /// Lets this token take the keys of another. For modules that are loaded afterwards: those that know it already have its own secret. Its slot is
    /// used by no other test of this process any more.
    pub fn takes_keys_of(self, first: &Self) -> Replica {
        let _writing = writing();
        let (from, to) = (first.directory(), self.directory());
        let mut content = fs::read(from.join(OWN_FILE)).expect("the first token's file");
        exchange(&mut content, first.label(), self.label());
        exchange(&mut content, first.serial(), self.serial());
        fs::write(to.join(OWN_FILE), content).expect("the replica's file");
        let replica = Replica { label: self.label().to_owned(), serial: self.serial().to_owned(), directory: to, from };
        // The module of this process knows another secret of it.
        std::mem::forget(self);
        replica
    }

    fn directory(&self) -> PathBuf {
        let directories = fs::read_dir(token_directory()).expect("the directory of the tokens").flatten();
        let is_it = |path: &PathBuf| {
            let content = fs::read(path.join(OWN_FILE)).unwrap_or_default();
            position(&content, self.label.as_bytes()).is_some() && position(&content, self.serial.as_bytes()).is_some()
        };
        directories.map(|entry| entry.path()).find(is_it).expect("the token's directory")
    }
}

/// The kind of attributes that are numbers; CKA_CLASS, and what it is of a public key.
const NUMBER: u64 = 2;
const CLASS: u64 = 0;
const PUBLIC_KEY: u64 = 2;

/// How the file of an object that was restored begins.
const RESTORED: &str = "restored-";

/// A token that holds copies of another's keys.
#[derive(Debug)]
pub struct Replica {
    label: String,
    serial: String,
    directory: PathBuf,
    from: PathBuf,
}

impl Replica {
    /// Its label.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Its serial.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// The devices' own replication runs: every key of the first token that is not here yet comes here. Says how many objects.
    pub fn replicate(&self) -> usize {
        self.replicate_with(&[])
    }

    /// The same, with these attributes (such as 0x162, CKA_EXTRACTABLE) changed in the copies that have them.
    pub fn replicate_with(&self, changed: &[(u64, bool)]) -> usize {
        let mut copied = 0;
        for path in objects(&self.from) {
            let name = path.file_name().expect("a name");
            if self.directory.join(name).exists() {
                continue;
            }
            let mut content = fs::read(&path).expect("an object");
            changed.iter().for_each(|(attribute, value)| set(&mut content, *attribute, *value));
            fs::write(self.directory.join(name).with_extension("lock"), []).expect("a lock file");
            fs::write(self.directory.join(name), content).expect("a copy");
            copied += 1;
        }
        touch(&self.directory);
        copied
    }

    /// Somebody restores it with the vendor's tool: in the place of each object stands another one of the same name, with these attributes changed.
    /// It answers all the while.
    pub fn restore_with(&self, changed: &[(u64, bool)]) {
        for path in objects(&self.directory) {
            let mut content = fs::read(&path).expect("an object");
            changed.iter().for_each(|(attribute, value)| set(&mut content, *attribute, *value));
            let name = path.file_name().expect("a name").to_string_lossy();
            let other = self.directory.join(format!("{RESTORED}{name}"));
            fs::write(other.with_extension("lock"), []).expect("a lock file");
            fs::write(other, content).expect("a restored object");
            remove(&path);
        }
        touch(&self.directory);
    }

    /// It loses every object, and answers all the while.
    pub fn lose(&self) {
        objects(&self.directory).iter().for_each(|path| remove(path));
        touch(&self.directory);
    }

    /// It loses its public key objects, and answers all the while.
    pub fn lose_public_halves(&self) {
        let class = [CLASS.to_be_bytes(), NUMBER.to_be_bytes(), PUBLIC_KEY.to_be_bytes()].concat();
        for path in objects(&self.directory) {
            // The first attribute of each object, behind the number of its state.
            if fs::read(&path).expect("an object")[NUMBER_BYTES..].starts_with(&class) {
                remove(&path);
            }
        }
        touch(&self.directory);
    }

    /// How many objects it has: two for each key.
    #[must_use]
    pub fn objects(&self) -> usize {
        objects(&self.directory).len()
    }
}

fn remove(object: &Path) {
    fs::remove_file(object).expect("an object");
    // Not every object has one.
    drop(fs::remove_file(object.with_extension("lock")));
}

fn objects(directory: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).expect("a token's directory").flatten().map(|file| file.path());
    let is_object =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "object") && !path.ends_with(OWN_FILE);
    files.filter(is_object).collect()
}

/// Tells modules that the token's files have changed.
fn touch(directory: &Path) {
    let path = directory.join(GENERATION);
    let mut number = fs::read(&path).unwrap_or_else(|_| vec![0; NUMBER_BYTES]);
    let last = number.last_mut().expect("a number");
    *last = last.wrapping_add(1);
    fs::write(path, number).expect("the generation");
}

/// Changes one attribute of an object that is true or false, if it has it.
fn set(content: &mut [u8], attribute: u64, value: bool) {
    let head = [attribute.to_be_bytes(), BOOLEAN.to_be_bytes()].concat();
    if let Some(at) = position(content, &head) {
        content[at + head.len()] = if value { 0xff } else { 0 };
    }
}

/// Writes a text of the same length, padded as PKCS #11 does, over the first.
fn exchange(content: &mut [u8], found: &str, written: &str) {
    let bytes = found.len().max(written.len());
    let padded = |text: &str| format!("{text:<bytes$}").into_bytes();
    let at = position(content, &padded(found)).expect("the text is there");
    content[at..at + bytes].copy_from_slice(&padded(written));
}

fn position(content: &[u8], wanted: &[u8]) -> Option<usize> {
    content.windows(wanted.len()).position(|window| window == wanted)
}
