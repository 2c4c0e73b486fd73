//! The files: `<label>.<root|epoch>.pem`, encrypted PKCS #8, readable by their owner only.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand;
use pkcs8::{
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef, SecretDocument,
    der::{Decode as _, pem::PemLabel as _},
    pkcs5::{self, EncryptionScheme, pbes2},
};
use secrecy::{ExposeSecret, SecretString};

use super::pair::Pair;
use crate::{
    backend::KeyPurpose,
    error::BackendError,
    reference::{KeyLabel, KeyReference},
};

/// Cost of the passphrase (RFC 7914): N = 2^14, r = 8, p = 1 takes 16 MiB and about 50 ms a key. OpenSSL reads no more.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// Longest file that is read, in bytes; one of an RSA-4096 key takes about 3,400.
const FILE_BYTES_MAX: u64 = 16_384;

/// Greatest N that a file may ask for, so that reading it takes at most 256 MiB.
const SCRYPT_N_MAX: u64 = 1 << 18;

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A directory of key files and the passphrase to them.
pub(super) struct KeyFiles {
    directory: PathBuf,
    passphrase: SecretString,
}

impl KeyFiles {
    pub(super) fn open(directory: PathBuf, passphrase: SecretString) -> Result<Self, BackendError> {
        if passphrase.expose_secret().is_empty() {
            let detail = "the passphrase of the software keys is empty; write one".to_owned();
            return Err(BackendError::Configuration { detail });
        }
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&directory) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(file_error(&directory)(error)),
            Ok(()) | Err(_) => {}
        }
        let files = Self { directory, passphrase };
        files.list()?;
        Ok(files)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a key, durable when it returns. Never over another one.
    pub(super) fn write(&self, key: &KeyReference, purpose: KeyPurpose, der: &[u8]) -> Result<(), BackendError> {
        let taken = || BackendError::LabelTaken { label: key.label().to_string() };
        if self.list()?.contains(key) {
            return Err(taken());
        }
        let pem = self.encrypt(der)?;
        let path = self.path(key.label(), purpose);
        let mut file = match OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(taken()),
            opened => opened.map_err(file_error(&path))?,
        };
        file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(file_error(&path))?;
        self.sync()
    }

    /// Reads and decrypts a key, if nobody else can read its file.
    pub(super) fn read(&self, key: &KeyReference) -> Result<(Pair, KeyPurpose), BackendError> {
        let root = self.path(key.label(), KeyPurpose::Root);
        let epoch = self.path(key.label(), KeyPurpose::Epoch);
        let (path, purpose) = match (root.exists(), epoch.exists()) {
            (true, false) => (root, KeyPurpose::Root),
            (false, true) => (epoch, KeyPurpose::Epoch),
            (true, true) => return Err(BackendError::KeyAmbiguous { key: key.clone() }),
            (false, false) => return Err(BackendError::KeyNotFound { key: key.clone() }),
        };
        let file = File::open(&path).map_err(file_error(&path))?;
        let mode = file.metadata().map_err(file_error(&path))?.mode() & 0o777;
        if mode & !FILE_MODE != 0 {
            return Err(BackendError::WrongAttribute {
                key: key.clone(),
                attribute: "file mode",
                found: format!("{mode:04o}"),
                wanted: format!("{FILE_MODE:04o}"),
            });
        }
        let mut pem = String::new();
        (&file).take(FILE_BYTES_MAX).read_to_string(&mut pem).map_err(file_error(&path))?;
        Ok((self.decrypt(&path, &pem)?, purpose))
    }

    pub(super) fn remove(&self, key: &KeyReference, purpose: KeyPurpose) -> Result<(), BackendError> {
        let path = self.path(key.label(), purpose);
        fs::remove_file(&path).map_err(file_error(&path))?;
        self.sync()
    }

    pub(super) fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(file_error(&self.directory))? {
            let name = entry.map_err(file_error(&self.directory))?.file_name();
            let name = name.to_string_lossy();
            let label = PURPOSES.iter().find_map(|(_, suffix)| name.strip_suffix(suffix));
            keys.extend(label.and_then(|label| KeyLabel::parse(label).ok()).map(KeyReference::software));
        }
        keys.sort();
        Ok(keys)
    }

    fn path(&self, label: &KeyLabel, purpose: KeyPurpose) -> PathBuf {
        let suffix = PURPOSES.iter().find(|(each, _)| *each == purpose).map_or("", |(_, suffix)| suffix);
        self.directory.join(format!("{label}{suffix}"))
    }

    /// Makes names that were added or removed durable.
    fn sync(&self) -> Result<(), BackendError> {
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(file_error(&self.directory))
    }

    fn encrypt(&self, der: &[u8]) -> Result<String, BackendError> {
        const FAILED: BackendError = BackendError::Library { operation: "encrypt a key" };
        let mut salt = [0; 16];
        let mut iv = [0; 16];
        rand::fill(&mut salt).and_then(|()| rand::fill(&mut iv)).map_err(|_| FAILED)?;
        let cost = pkcs5::scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).map_err(|_| FAILED)?;
        let scheme = pbes2::Parameters::generate_scrypt_aes256cbc(cost, &salt, iv).map_err(|_| FAILED)?;
        let key = PrivateKeyInfoRef::from_der(der).map_err(|_| FAILED)?;
        let encrypted = key.encrypt_with_params(scheme, self.passphrase.expose_secret()).map_err(|_| FAILED)?;
        let pem = encrypted.to_pem(EncryptedPrivateKeyInfoRef::PEM_LABEL, LineEnding::LF).map_err(|_| FAILED)?;
        Ok(pem.to_string())
    }

    fn decrypt(&self, path: &Path, pem: &str) -> Result<Pair, BackendError> {
        let unreadable = |detail| BackendError::Unreadable { path: path.to_owned(), detail };
        let (label, der) = SecretDocument::from_pem(pem).map_err(|_| unreadable("it is not PEM"))?;
        EncryptedPrivateKeyInfoRef::validate_pem_label(label).map_err(|_| unreadable("it is not encrypted"))?;
        let encrypted = EncryptedPrivateKeyInfoRef::from_der(der.as_bytes())
            .map_err(|_| unreadable("it is not DER of RFC 5208, section 6"))?;
        if !has_bearable_cost(&encrypted.encryption_algorithm) {
            return Err(unreadable("it is not encrypted with scrypt of a bearable cost"));
        }
        let key = encrypted
            .decrypt(self.passphrase.expose_secret())
            .map_err(|_| BackendError::WrongPin { what: format!("the passphrase of `{}`", path.display()) })?;
        Pair::from_pkcs8(key.as_bytes()).ok_or_else(|| unreadable("its kind is not known"))
    }
}

/// What the names of files end with.
const PURPOSES: [(KeyPurpose, &str); 2] = [(KeyPurpose::Root, ".root.pem"), (KeyPurpose::Epoch, ".epoch.pem")];

/// A file could ask for gigabytes of memory.
fn has_bearable_cost(scheme: &EncryptionScheme) -> bool {
    scheme
        .pbes2()
        .and_then(|parameters| parameters.kdf.scrypt())
        .is_some_and(|scrypt| scrypt.cost_parameter <= SCRYPT_N_MAX && u32::from(scrypt.block_size) <= SCRYPT_R)
}

fn file_error(path: &Path) -> impl FnOnce(std::io::Error) -> BackendError {
    |source| BackendError::File { path: path.to_owned(), source }
}
