//! The file with a key in wrapped form: canonical JSON. Everything in it but the wrapping may be read by everybody.

use hallmark_backends::{KeyReference, WRAP_MECHANISM};
use hallmark_policy::{
    hex,
    key::{PublicKey, SpkiDigest},
};
use serde::{Deserialize, Serialize};

use crate::{
    canonical,
    digest::{from_hex, sha256},
    error::CeremonyError,
    meaning::RestoreTask,
    output,
};

/// Version of the format.
const VERSION: u32 = 1;

/// A key in wrapped form.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Backup {
    version: u32,
    /// What the key is called in its token.
    key: String,
    /// Its SubjectPublicKeyInfo, DER, hexadecimal.
    spki: String,
    /// How it is wrapped.
    mechanism: String,
    /// What tells the wrap key from others; empty where its token does not say.
    check_value: String,
    /// PKCS #8, wrapped, hexadecimal.
    wrapped: String,
    /// SHA-256 of what is wrapped as it is wrapped.
    wrapped_sha256: String,
}

/// A backup that was read and is the one that somebody reviewed.
#[derive(Clone, Debug)]
pub(crate) struct Reviewed {
    pub(crate) public: PublicKey,
    pub(crate) wrapped: Vec<u8>,
    /// Empty where the token that wrapped it did not say.
    pub(crate) check_value: String,
}

impl Backup {
    pub(crate) fn new(key: &KeyReference, public: &PublicKey, check_value: String, wrapped: &[u8]) -> Self {
        Self {
            version: VERSION,
            key: key.to_string(),
            spki: hex(public.spki()),
            mechanism: WRAP_MECHANISM.to_owned(),
            check_value,
            wrapped: hex(wrapped),
            wrapped_sha256: hex(&sha256(wrapped)),
        }
    }

    /// The same for a key of another name; for rehearsals.
    pub(crate) fn renamed(self, key: &KeyReference) -> Self {
        Self { key: key.to_string(), ..self }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        canonical::bytes(self)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let read: Self = serde_json::from_slice(bytes).ok()?;
        (read.version == VERSION && read.mechanism == WRAP_MECHANISM && read.to_json() == bytes).then_some(read)
    }

    /// Reads the file of a task: it is the one that was reviewed, and is about the key that was reviewed.
    pub(crate) fn read(task: &RestoreTask) -> Result<Reviewed, CeremonyError> {
        let path = task.backup.clone();
        let bytes = output::read(&path)?;
        let found = sha256(&bytes);
        if found != task.sha256 {
            return Err(CeremonyError::OtherBackup {
                path,
                what: "SHA-256",
                found: hex(&found),
                wanted: hex(&task.sha256),
            });
        }
        let not_one =
            || CeremonyError::NotOne { path: path.clone(), wanted: "backup of a key, whole and in canonical JSON" };
        let read = Self::parse(&bytes).ok_or_else(not_one)?;
        let spki = from_hex(&read.spki).ok_or_else(not_one)?;
        let public = PublicKey::parse(&spki).map_err(|_| not_one())?;
        let wrapped = from_hex(&read.wrapped).ok_or_else(not_one)?;
        if hex(&sha256(&wrapped)) != read.wrapped_sha256 {
            return Err(not_one());
        }
        let other = |what, found: String, wanted: String| {
            Err(CeremonyError::OtherBackup { path: path.clone(), what, found, wanted })
        };
        if read.key != task.key.to_string() {
            return other("key", read.key, task.key.to_string());
        }
        if public.digest() != task.spki {
            return other("public key", public.digest().to_string(), task.spki.to_string());
        }
        Ok(Reviewed { public, wrapped, check_value: read.check_value })
    }

    /// SHA-256 of the public key in it; for rehearsals.
    pub(crate) fn spki(&self) -> Option<SpkiDigest> {
        from_hex(&self.spki).map(|der| SpkiDigest::of(&der))
    }
}
