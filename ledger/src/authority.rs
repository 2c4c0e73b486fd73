//! Authorities and their epochs, as the ledger keeps them.

use crate::Answer;

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: AuthorityState,
    /// Label of its root's key.
    pub label: String,
    /// Its root's key, once generated.
    pub key: Option<StoredKey>,
    /// Its root certificate, once signed.
    pub root: Option<Answer>,
}

/// How far an authority is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuthorityState {
    /// A root is wanted.
    Intent,
    /// Its key is generated.
    Keyed,
    /// Its root certificate is made.
    Ready,
}

/// An epoch of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// The authority.
    pub authority: String,
    /// Generation, from 1.
    pub generation: u64,
    /// How far it is.
    pub state: EpochState,
    /// SHA-256 of its manifest or statement.
    pub manifest_sha256: [u8; 32],
    /// Transition digest.
    pub transition: [u8; 32],
    /// Transition before it.
    pub previous: [u8; 32],
    /// Label of its key.
    pub label: String,
    /// Its key, once generated.
    pub key: Option<StoredKey>,
    /// Its intermediate CA certificate, once signed.
    pub intermediate: Option<Answer>,
    /// Its mesh CA certificate, once signed.
    pub mesh_ca: Option<Answer>,
}

/// How far an epoch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EpochState {
    /// It is wanted.
    Intent,
    /// Its key is generated.
    Keyed,
    /// Its CA certificates are made.
    Prepared,
    /// It signs leaves.
    Active,
    /// Another took its place.
    Retired,
}

/// Where a key is, and which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// What the backend calls it.
    pub reference: String,
    /// SubjectPublicKeyInfo, DER.
    pub spki: Vec<u8>,
}
