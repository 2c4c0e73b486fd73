//! Keys in encrypted files, for laboratories.

mod file;
mod pair;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use hallmark_policy::key::{KeyKind, PublicKey, SignatureAlgorithm, SpkiDigest};
use secrecy::SecretString;

use self::{file::KeyFiles, pair::Pair};
use crate::{
    backend::{Backend, Description, Gate, Guard, KeyPurpose, KeyRequest, NewKey, OpenKey, Signer, Wrapping},
    error::BackendError,
    reference::{KeyLabel, KeyReference, KeyReferenceError},
    sign_error::SignError,
};

/// A public key of that kind whose private key is forgotten at once: it stands for one that is not made yet.
///
/// # Errors
/// If the cryptographic library makes none.
pub fn stand_in(kind: KeyKind) -> Result<PublicKey, BackendError> {
    Pair::generate(kind).map(|(pair, _)| pair.public().clone())
}

/// A directory of keys, and those that are open, in the cryptographic library's own types.
pub(crate) struct Directory {
    files: KeyFiles,
    open: Arc<RwLock<BTreeMap<SpkiDigest, Arc<Pair>>>>,
}

impl Directory {
    pub(crate) fn open(directory: PathBuf, passphrase: SecretString) -> Result<Self, BackendError> {
        Ok(Self { files: KeyFiles::open(directory, passphrase)?, open: Arc::default() })
    }

    fn read_unproven(&self, reference: &KeyReference) -> Result<(Pair, KeyPurpose), BackendError> {
        if !reference.is_software() {
            return Err(KeyReferenceError::OtherBackend.into());
        }
        self.files.read(reference)
    }

    /// Reads a key and compares its public key with the expected one.
    fn read(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(Pair, KeyPurpose), BackendError> {
        let (pair, purpose) = self.read_unproven(reference)?;
        let found = pair.public().digest();
        if found != expected {
            return Err(BackendError::WrongKey { key: reference.clone(), expected, found });
        }
        Ok((pair, purpose))
    }
}

impl Backend for Directory {
    fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        if let KeyPurpose::Wrappable(_) = request.purpose {
            let detail = "keys in files are not wrapped; they are encrypted already, and copied as they are".to_owned();
            return Err(BackendError::Configuration { detail });
        }
        let reference = KeyReference::software(request.label.clone());
        let (pair, pkcs8) = Pair::generate(request.kind)?;
        self.files.write(&reference, request.purpose, &pkcs8)?;
        let (read_back, _) = self.read(&reference, pair.public().digest())?;
        Ok(NewKey { reference, public: read_back.public().clone() })
    }

    fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        let (pair, _) = self.read(reference, expected)?;
        let public = pair.public().clone();
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(expected, Arc::new(pair));
        Ok(public)
    }

    fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        let (pair, found) = self.read_unproven(reference)?;
        if found != purpose {
            return Err(BackendError::WrongAttribute {
                key: reference.clone(),
                attribute: "purpose",
                found: found.name().to_owned(),
                wanted: purpose.name().to_owned(),
            });
        }
        Ok(pair.public().clone())
    }

    fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        let (_, purpose) = self.read(reference, expected)?;
        if purpose == KeyPurpose::Root {
            return Err(BackendError::NotDestroyable { key: reference.clone() });
        }
        self.files.remove(reference, purpose)?;
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&expected);
        Ok(())
    }

    fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        self.read(reference, expected)?;
        Ok(vec![Guard { attribute: "storage", value: "a file, encrypted PKCS #8".to_owned() }])
    }

    fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        self.guards(reference, expected).map(|_| Vec::new())
    }

    fn change_pin(&self, _: &SecretString) -> Result<(), BackendError> {
        let detail = "keys in files have a passphrase each, which is not changed from here".to_owned();
        Err(BackendError::Configuration { detail })
    }

    fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let left = self.files.list()?.into_iter().filter(|key| key.label() == label).collect::<Vec<_>>();
        for reference in &left {
            let (pair, _) = self.read_unproven(reference)?;
            self.destroy(reference, pair.public().digest())?;
        }
        Ok(left.len())
    }

    fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.files.list()
    }

    fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        SystemRandom::new().fill(bytes).map_err(|_| BackendError::Library { operation: "draw random bytes" })
    }

    fn health(&self) -> Result<(), BackendError> {
        self.files.list().map(drop)
    }

    fn pin_is_refused(&self) -> bool {
        false
    }

    fn describe(&self) -> Description {
        Description { kind: "software", path: self.files.directory().display().to_string(), ..Description::default() }
    }

    fn close(&self) {}

    fn signer(&self) -> Box<dyn Signer> {
        Box::new(SoftwareSigner { open: Arc::clone(&self.open) })
    }

    fn wrapping(&self) -> Option<&dyn Wrapping> {
        None
    }

    fn never_signs(&self, _: SignatureAlgorithm, _: usize) -> Option<String> {
        None
    }
}

struct SoftwareSigner {
    open: Arc<RwLock<BTreeMap<SpkiDigest, Arc<Pair>>>>,
}

impl Signer for SoftwareSigner {
    fn sign(
        &mut self,
        key: &OpenKey,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        gate: &Gate<'_>,
    ) -> Result<Vec<u8>, SignError> {
        let issuer = key.public.digest();
        let pair = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&issuer).cloned();
        let pair = pair.ok_or(SignError::NotOpen { issuer })?;
        gate.pass()?;
        pair.sign(algorithm, message).ok_or(SignError::Backend(BackendError::Library { operation: "sign" }))
    }

    fn connect(&mut self) -> Result<(), BackendError> {
        Ok(())
    }

    fn distrust(&mut self) {}
}
