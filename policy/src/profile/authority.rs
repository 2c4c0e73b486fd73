//! What a policy says of an authority: its CA certificates, its CRLs, how it rotates.

use std::num::NonZeroU16;

use crate::{
    constraint::NameConstraints,
    file::{ManifestNamesTable, OwnerSignatureWord, RetiredKeyWord, RotatesWord},
    key::{KeyKind, SignatureAlgorithm, SpkiDigest},
    name::DistinguishedName,
    oid::Oid,
    time::Span,
    web::{CrlUrl, HttpUrl},
};

/// An authority: what its CA certificates say.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Its name.
    pub name: String,
    /// Its root.
    pub root: CaProfile,
    /// Its epochs.
    pub epoch: CaProfile,
    /// Name constraints of its epochs' certificates.
    pub name_constraints: Option<NameConstraints>,
    /// Its CRLs, if it makes any.
    pub crl: Option<CrlProfile>,
    /// Where leaves say that the CRL is.
    pub crl_urls: Vec<CrlUrl>,
    /// Where leaves say that the issuer's certificate is.
    pub ca_issuer_urls: Vec<HttpUrl>,
    /// Certificate policies of its epochs' certificates.
    pub policies: Vec<Oid>,
    /// How one epoch follows another.
    pub(crate) rotation: Rotation,
}

/// How one epoch of an authority follows another.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    pub(crate) rotates: RotatesWord,
    pub(crate) owner_keys: Vec<SpkiDigest>,
    pub(crate) owner_signature: OwnerSignatureWord,
    pub(crate) revoke_previous: bool,
    pub(crate) retired_key: RetiredKeyWord,
    pub(crate) manifest_names: ManifestNamesTable,
}

impl Authority {
    /// What makes a new epoch.
    #[must_use]
    pub fn rotates(&self) -> RotatesWord {
        self.rotation.rotates
    }

    /// Those who may set the first manifest; later ones are for the owners that the manifest in force names.
    #[must_use]
    pub fn owner_keys(&self) -> &[SpkiDigest] {
        &self.rotation.owner_keys
    }

    /// What an owner signs.
    #[must_use]
    pub fn owner_signature(&self) -> OwnerSignatureWord {
        self.rotation.owner_signature
    }

    /// Whether a rotation revokes the intermediate that it replaces, where the owner's signature does not say it.
    #[must_use]
    pub fn revoke_previous(&self) -> bool {
        self.rotation.revoke_previous
    }

    /// What the key of a replaced epoch may still do.
    #[must_use]
    pub fn retired_key(&self) -> RetiredKeyWord {
        self.rotation.retired_key
    }

    /// Names that its manifests may give beyond those that everybody takes.
    #[must_use]
    pub fn manifest_names(&self) -> ManifestNamesTable {
        self.rotation.manifest_names
    }
}

/// What the CRLs of an authority's root and epochs are.
#[derive(Clone, Debug)]
pub struct CrlProfile {
    /// From thisUpdate to nextUpdate.
    pub lifetime: Span,
    /// When the next one is made, at the latest.
    pub refresh: Span,
    /// Whether a complete CRL says, critical, which certificates it is about. That of a partition always does.
    pub distribution_point: bool,
    /// How many partitions the leaves of an epoch have, if any: 2 to [`CRL_PARTITIONS_MAX`](crate::crl::CRL_PARTITIONS_MAX).
    pub partitions: Option<NonZeroU16>,
    /// Where intermediates say that the root's CRL is.
    pub root_urls: Vec<HttpUrl>,
}

/// What one kind of CA certificate says.
#[derive(Clone, Debug)]
pub struct CaProfile {
    /// The subject.
    pub subject: DistinguishedName,
    /// The lifetime.
    pub lifetime: Span,
    /// Kind of the key.
    pub key: KeyKind,
    /// What the key signs with.
    pub algorithm: SignatureAlgorithm,
    /// Whether the key is elsewhere.
    pub offline: bool,
    /// Of a root: pathLenConstraint, 1 or 2. Of an epoch nothing reads it.
    pub path_length: u8,
}
