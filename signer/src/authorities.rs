//! The authorities that this signer serves: their certificates, and the key that signs leaves now.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use hallmark_backends::{BackendError, KeyReference, KeyReferenceError, Keyring};
use hallmark_issuance::{AssembleError, reassemble};
use hallmark_ledger::{Answer, AuthorityRecord, EpochRecord, EpochState, Epochs, Ledger, LedgerError, StoredKey};
use hallmark_policy::{
    Bounds, EpochId, Issuer, Manifest, Policy,
    authority::{Root, statement_sha256},
    file::RotatesWord,
    key::{PublicKey, PublicKeyError, SpkiDigest},
    offline::stored_key_identifier,
    profile::{Authority, CaProfile},
    stored_subject_is, stored_validity,
    time::Interval,
};

use crate::{core::Inner, making::MakingError, proven};

/// One authority with an active epoch.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    /// The key that signs leaves, and what it may.
    pub(crate) issuer: Issuer,
    /// The certificates of the active epoch.
    pub(crate) chain: Chain,
}

/// The certificates of an epoch, DER.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) root: Vec<u8>,
    pub(crate) intermediate: Vec<u8>,
    pub(crate) mesh_ca: Vec<u8>,
    pub(crate) epoch: EpochId,
    pub(crate) manifest_sha256: [u8; 32],
    pub(crate) active: bool,
}

/// Why an authority cannot be served. The start stops.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The ledger does not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The key is not what it should be.
    #[error("authority `{authority}`: {source}")]
    Key {
        /// The authority.
        authority: String,
        /// Which key it should be.
        stored: Box<StoredKey>,
        /// What is wrong.
        source: Box<BackendError>,
    },
    /// The stored reference does not read.
    #[error("authority `{authority}`: the key's reference in the database does not read: {source}")]
    Reference {
        /// The authority.
        authority: String,
        /// What is wrong.
        source: KeyReferenceError,
    },
    /// The stored public key does not read.
    #[error("authority `{authority}`: the public key in the database does not read: {source}")]
    PublicKey {
        /// The authority.
        authority: String,
        /// What is wrong.
        source: PublicKeyError,
    },
    /// A stored CA certificate does not verify.
    #[error("authority `{authority}`: a CA certificate in the database: {source}")]
    Certificate {
        /// The authority.
        authority: String,
        /// What is wrong.
        source: AssembleError,
    },
    /// The rows of the database do not go together.
    #[error(
        "authority `{authority}`: the database lacks {what}: it is damaged, or `hallmarkd init` was interrupted; run it again"
    )]
    Incomplete {
        /// The authority.
        authority: String,
        /// What is missing.
        what: &'static str,
    },
    /// The policy's subject, key kind or algorithm for a CA is another than that of the certificate in force.
    #[error(
        "authority `{authority}`: the policy describes its {what} otherwise than its certificate says; hint: a CA certificate is made once; put the policy back, or name a new authority"
    )]
    PolicyDiffers {
        /// The authority.
        authority: String,
        /// Which certificate.
        what: &'static str,
    },
    /// No ceremony made its root.
    #[error(
        "authority `{authority}`: no ceremony speaks for its root; hint: hold one, name its transcript in [ceremony.{authority}], and bring \
         the certificate with `hallmarkd init --root {authority}=FILE` (docs/ceremony.md); in a laboratory, name `{authority}` in \
         `policy.roots-without-ceremony`"
    )]
    NoCeremony {
        /// The authority.
        authority: String,
    },
    /// The policy does not have an authority that is served.
    #[error(
        "authority `{authority}` is served, and the policy does not have it; hint: put it back, or take it away with the daemon stopped"
    )]
    Dropped {
        /// The authority.
        authority: String,
    },
}

/// Where the keys of authorities come from.
#[derive(Clone, Copy)]
pub(crate) enum Keys<'a> {
    /// From the backend: opened and compared.
    Open(&'a Keyring),
    /// From what is served already: no device is asked, and no other authority begins to be served.
    Opened(&'a HashMap<String, Serving>),
}

/// Puts together every authority that has an active epoch, as the policy describes it and its certificates confirm.
pub(crate) fn load(
    ledger: &Ledger,
    keys: Keys<'_>,
    policy: &Policy,
) -> Result<HashMap<String, Serving>, AuthorityError> {
    let mut serving = HashMap::new();
    for record in ledger.authorities()? {
        if let Keys::Open(_) = keys {
            proven::authority(ledger, &record)?;
        }
        let active = ledger.epoch(&record.name, Epochs::Active)?;
        let (Some(active), Some(authority)) = (active, policy.authority(&record.name)) else { continue };
        let (key, manifest) = match keys {
            Keys::Open(keyring) => {
                ledger.prove_active(&active)?;
                open_root(keyring, &record)?;
                let key = open_key(keyring, &record.name, active.key.as_ref())?;
                (key, manifest(ledger, authority, &active)?)
            }
            Keys::Opened(opened) => match opened.get(&record.name) {
                Some(serving) => (serving.issuer.key.clone(), serving.issuer.manifest.clone()),
                None => continue,
            },
        };
        serving.insert(record.name.clone(), self::serving(&record, &active, authority, key, manifest)?);
    }
    if let Keys::Opened(opened) = keys
        && let Some(dropped) = opened.keys().find(|name| !serving.contains_key(*name))
    {
        return Err(AuthorityError::Dropped { authority: dropped.clone() });
    }
    Ok(serving)
}

/// What an authority serves with one of its epochs active, whose key this is.
pub(crate) fn serving(
    record: &AuthorityRecord,
    epoch: &EpochRecord,
    authority: &Authority,
    key: PublicKey,
    manifest: Option<Arc<Manifest>>,
) -> Result<Serving, AuthorityError> {
    let by_age = epoch.manifest_sha256 == statement_sha256(&record.name, epoch.generation);
    if by_age != (authority.rotates() == RotatesWord::Age) {
        return Err(AuthorityError::PolicyDiffers { authority: record.name.clone(), what: "way of rotating" });
    }
    let root = root(record, &authority.root)?;
    let chain = Chain { active: true, ..chain(record, epoch)? };
    let own = interval(&record.name, epoch.intermediate.as_ref())?;
    let mesh = interval(&record.name, epoch.mesh_ca.as_ref())?;
    let validity = Interval {
        not_before: own.not_before.max(mesh.not_before).max(root.validity.not_before),
        not_after: own.not_after.min(mesh.not_after).min(root.validity.not_after),
    };
    check_subject(&record.name, "epoch", &authority.epoch, &key, epoch.mesh_ca.as_ref())?;
    let issuer = Issuer {
        authority: record.name.clone(),
        epoch: chain.epoch,
        subject: authority.epoch.subject.clone(),
        key,
        algorithm: authority.epoch.algorithm,
        validity,
        bounds: bounds(&record.name, epoch)?,
        manifest,
    };
    Ok(Serving { issuer, chain })
}

/// The manifest of an epoch, as the ledger keeps it under its digest; none where the authority rotates by age.
pub(crate) fn manifest(
    ledger: &Ledger,
    authority: &Authority,
    epoch: &EpochRecord,
) -> Result<Option<Arc<Manifest>>, AuthorityError> {
    if authority.rotates() == RotatesWord::Age {
        return Ok(None);
    }
    kept_manifest(ledger, epoch).map(Some)
}

/// The manifest that the ledger keeps under the digest in an epoch's row. Whoever believes it has compared that with what its CA
/// certificates are bound to.
pub(crate) fn kept_manifest(ledger: &Ledger, epoch: &EpochRecord) -> Result<Arc<Manifest>, AuthorityError> {
    let kept = ledger.blob(&epoch.manifest_sha256)?.and_then(|bytes| Manifest::parse(&bytes).ok());
    kept.map(Arc::new).ok_or_else(|| incomplete(&epoch.authority, "an epoch's manifest"))
}

/// The root of an authority as its certificate tells it.
pub(crate) fn root(record: &AuthorityRecord, profile: &CaProfile) -> Result<Root, AuthorityError> {
    let key = stored_key(&record.name, record.key.as_ref())?;
    check_subject(&record.name, "root", profile, &key, record.root.as_ref())?;
    let key_identifier = match record.root.as_ref().filter(|_| record.is_offline()) {
        Some(answer) => stored_key_identifier(&answer.to_be_signed)
            .ok_or_else(|| incomplete(&record.name, "the identifier of its root's key"))?,
        None => key.key_identifier(),
    };
    Ok(Root {
        subject: profile.subject.clone(),
        key_identifier,
        key,
        algorithm: profile.algorithm,
        validity: interval(&record.name, record.root.as_ref())?,
    })
}

/// The root and the mesh CA certificate of an epoch that waits for its intermediate.
pub(crate) fn without_intermediate(
    record: &AuthorityRecord,
    epoch: &EpochRecord,
) -> Result<(Vec<u8>, Vec<u8>), AuthorityError> {
    proven::bound(epoch)?;
    let root_key = stored_key(&record.name, record.key.as_ref())?;
    let epoch_key = stored_key(&record.name, epoch.key.as_ref())?;
    let root = certificate(&record.name, record.root.as_ref(), &root_key)?;
    Ok((root, certificate(&record.name, epoch.mesh_ca.as_ref(), &epoch_key)?))
}

/// The certificates of one epoch, bound to what its row says.
pub(crate) fn chain(record: &AuthorityRecord, epoch: &EpochRecord) -> Result<Chain, AuthorityError> {
    proven::bound(epoch)?;
    let root_key = stored_key(&record.name, record.key.as_ref())?;
    let epoch_key = stored_key(&record.name, epoch.key.as_ref())?;
    Ok(Chain {
        root: certificate(&record.name, record.root.as_ref(), &root_key)?,
        intermediate: certificate(&record.name, epoch.intermediate.as_ref(), &root_key)?,
        mesh_ca: certificate(&record.name, epoch.mesh_ca.as_ref(), &epoch_key)?,
        epoch: EpochId { generation: epoch.generation, transition: epoch.transition },
        manifest_sha256: epoch.manifest_sha256,
        active: epoch.state == EpochState::Active,
    })
}

/// As [`open_key`], for a root's key, unless it is elsewhere.
fn open_root(keyring: &Keyring, record: &AuthorityRecord) -> Result<(), AuthorityError> {
    if record.is_offline() { Ok(()) } else { open_key(keyring, &record.name, record.key.as_ref()).map(drop) }
}

/// Finds a key in its backend, compares its public key and attributes with what they must be, and lets it sign.
pub(crate) fn open_key(
    keyring: &Keyring,
    authority: &str,
    stored: Option<&StoredKey>,
) -> Result<PublicKey, AuthorityError> {
    let stored = stored.ok_or_else(|| incomplete(authority, "a key"))?;
    let reference = KeyReference::from_str(&stored.reference)
        .map_err(|source| AuthorityError::Reference { authority: authority.to_owned(), source })?;
    keyring.open(&reference, SpkiDigest::of(&stored.spki)).map_err(|source| AuthorityError::Key {
        authority: authority.to_owned(),
        stored: Box::new(stored.clone()),
        source: Box::new(source),
    })
}

impl Inner {
    /// As [`open_key`], on a thread that may wait for the device.
    pub(crate) async fn open_key(
        self: &Arc<Self>,
        authority: &str,
        stored: Option<StoredKey>,
    ) -> Result<PublicKey, MakingError> {
        let name = authority.to_owned();
        Ok(self.device(authority, move |keyring| open_key(keyring, &name, stored.as_ref())).await??)
    }
}

pub(crate) fn stored_key(authority: &str, stored: Option<&StoredKey>) -> Result<PublicKey, AuthorityError> {
    let stored = stored.ok_or_else(|| incomplete(authority, "a key"))?;
    PublicKey::parse(&stored.spki)
        .map_err(|source| AuthorityError::PublicKey { authority: authority.to_owned(), source })
}

pub(crate) fn certificate(
    authority: &str,
    answer: Option<&Answer>,
    issuer: &PublicKey,
) -> Result<Vec<u8>, AuthorityError> {
    let answer = answer.ok_or_else(|| incomplete(authority, "a CA certificate"))?;
    reassemble(&answer.to_be_signed, answer.algorithm, &answer.signature, issuer)
        .map(hallmark_issuance::Signed::into_der)
        .map_err(|source| AuthorityError::Certificate { authority: authority.to_owned(), source })
}

pub(crate) fn interval(authority: &str, answer: Option<&Answer>) -> Result<Interval, AuthorityError> {
    answer
        .and_then(|answer| stored_validity(&answer.to_be_signed))
        .ok_or_else(|| incomplete(authority, "a CA certificate's validity"))
}

/// What both CA certificates of an epoch bound leaves to.
pub(crate) fn bounds(authority: &str, epoch: &EpochRecord) -> Result<Bounds, AuthorityError> {
    const WHAT: &str = "one set of name constraints and policies in both CA certificates";
    let stored = |answer: &Option<Answer>| answer.as_ref().and_then(|answer| Bounds::stored(&answer.to_be_signed));
    let (own, mesh) = (stored(&epoch.intermediate), stored(&epoch.mesh_ca));
    own.filter(|own| mesh.as_ref() == Some(own)).ok_or_else(|| incomplete(authority, WHAT))
}

/// What the policy says of name constraints and certificate policies, and the certificates that are served do not.
pub(crate) fn differences(serving: &HashMap<String, Serving>, policy: &Policy) -> Vec<String> {
    let served = policy.authorities().filter_map(|authority| Some((authority, serving.get(&authority.name)?)));
    let differences =
        served.map(|(authority, Serving { issuer, .. })| issuer.bounds.differences(authority, issuer.epoch.generation));
    differences.flatten().collect()
}

/// Chains break silently where the policy's idea of a CA differs from its certificate: the subject is compared as DER.
pub(crate) fn check_subject(
    authority: &str,
    what: &'static str,
    profile: &CaProfile,
    key: &PublicKey,
    answer: Option<&Answer>,
) -> Result<(), AuthorityError> {
    let answer = answer.ok_or_else(|| incomplete(authority, "a CA certificate"))?;
    let same = stored_subject_is(&answer.to_be_signed, &profile.subject)
        && key.kind() == profile.key
        && key.kind().signs_with(profile.algorithm)
        && answer.issuer == key.digest()
        && answer.algorithm == profile.algorithm;
    if same { Ok(()) } else { Err(AuthorityError::PolicyDiffers { authority: authority.to_owned(), what }) }
}

fn incomplete(authority: &str, what: &'static str) -> AuthorityError {
    AuthorityError::Incomplete { authority: authority.to_owned(), what }
}
