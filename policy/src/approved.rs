//! What a decision is: approved content with its conditions, or a refusal with its reasons.

use crate::{
    caller::Identity,
    content::{CertificateContent, Content, Serial},
    crl::CrlScope,
    evidence::EvidenceFacts,
    instance::{InstanceFacts, InstanceMove},
    key::{PublicKey, SpkiDigest},
    limits::{InstanceRate, Limits},
    profile::PolicyDigest,
    reason::Reason,
    time::UnixTime,
};

/// The answer of a profile.
#[derive(Debug)]
pub enum Decision {
    /// This content may be certified, under conditions.
    Approve(Box<Approved>),
    /// It may not, and these are all the reasons.
    Refuse(Vec<Reason>),
}

/// Content that a profile approved. Made only by this crate's `decide` functions; not `Clone`.
#[derive(Debug)]
pub struct Approved {
    pub(crate) content: Content,
    pub(crate) issuer: PublicKey,
    pub(crate) conditions: Conditions,
    pub(crate) facts: Facts,
    pub(crate) instance_rate: Option<InstanceRate>,
}

impl Approved {
    /// What is to be signed.
    #[must_use]
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// What the certificate is to say, if it is one that is to be signed.
    #[must_use]
    pub fn certificate(&self) -> Option<&CertificateContent> {
        self.content.certificate()
    }

    /// What must hold for it to be committed.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    /// What the log says about its request.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The authority that is to sign.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.conditions.authority
    }

    /// The rate that it counts against, beside the caller's.
    #[must_use]
    pub fn instance_rate(&self) -> Option<&InstanceRate> {
        self.instance_rate.as_ref()
    }

    /// The key that is to sign it.
    #[must_use]
    pub fn issuer(&self) -> &PublicKey {
        &self.issuer
    }
}

/// What must hold, inside the ledger's transaction, for the approval to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// The authority that signs.
    pub authority: String,
    /// The policy under which it was decided: it must still be in force.
    pub policy: PolicyDigest,
    /// The state in which the authority must be.
    pub stage: Stage,
    /// The request that this answers: no other content may have it.
    pub request: RequestIdentity,
    /// The issuer's key.
    pub issuer: SpkiDigest,
    /// What must be new under that key.
    pub numbering: Numbering,
    /// End of the certificate, or nextUpdate of the CRL: what is committed and not signed by then is void.
    pub not_after: UnixTime,
    /// Quotas, and whose key it is.
    pub limits: Limits,
    /// Decide only: log the decision, commit no serial, sign nothing.
    pub validate_only: bool,
    /// Written forms that must be free, or this name's already: once per authority, until an operator releases them.
    pub claims: Vec<NameClaim>,
    /// What it does to the record of an instance, if it has one.
    pub instance: Option<InstanceMove>,
}

/// What numbers a structure among those of its issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// The serial number of a certificate, which no other of the issuer has.
    Serial {
        /// The serial number.
        serial: Serial,
        /// The narrowest scope of CRLs that the certificate is in.
        scope: CrlScope,
    },
    /// The number of a CRL.
    Crl {
        /// The cRLNumber.
        number: u64,
        /// The cRLNumber of the issuer's CRL before, as far as the ledger knows; 0 if there is none.
        after: u64,
        /// Which certificates it is about.
        scope: CrlScope,
        /// Index of the newest revocation in its scope, if there is any: there must be no newer one.
        newest_revocation: Option<u64>,
    },
    /// A certification request has no number.
    Unnumbered,
}

impl Numbering {
    /// The serial number, if it is one.
    #[must_use]
    pub fn serial(self) -> Option<Serial> {
        match self {
            Self::Serial { serial, .. } => Some(serial),
            Self::Crl { .. } | Self::Unnumbered => None,
        }
    }

    /// The narrowest scope of CRLs that a certificate is in, or what a CRL is about.
    #[must_use]
    pub fn scope(self) -> CrlScope {
        match self {
            Self::Serial { scope, .. } | Self::Crl { scope, .. } => scope,
            Self::Unnumbered => CrlScope::Complete,
        }
    }
}

/// A name whose dots are written as dashes: `a.b-c` and `a-b.c` have the same form, and only one of them can have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameClaim {
    /// The form with dashes, for example `a-b-c`.
    pub form: String,
    /// The name that it stands for.
    pub name: String,
}

/// The state that an authority must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has no root certificate yet: this is it.
    Root,
    /// Its epoch of this generation is being prepared: this is its intermediate CA certificate.
    Intermediate {
        /// The epoch.
        epoch: EpochId,
    },
    /// Its epoch of this generation is being prepared: this is its mesh CA certificate.
    MeshCa {
        /// The epoch.
        epoch: EpochId,
    },
    /// Its epoch of this generation is the active one: this is a leaf.
    Leaf {
        /// The epoch.
        epoch: EpochId,
    },
    /// Its root, or that epoch, has CA certificates and keeps its key: this is a CRL.
    Crl {
        /// The epoch; none for the root.
        epoch: Option<EpochId>,
    },
    /// Its epoch of this generation is being prepared: this is the certification request for its key.
    Request {
        /// The epoch.
        epoch: EpochId,
    },
    /// Its root has its certificate: this is the intermediate CA certificate of an epoch that another signer prepares.
    OfflineIntermediate {
        /// The epoch, which this ledger does not have.
        epoch: EpochId,
    },
    /// Its root has its certificate: this is one of another root.
    Cross,
    /// Whatever it has: this is the request by which a key that was restored proves itself.
    Possession,
}

impl Stage {
    /// Whether it is a CRL.
    #[must_use]
    pub fn is_crl(self) -> bool {
        matches!(self, Self::Crl { .. })
    }

    /// What is signed at this stage, in one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate { .. } => "intermediate",
            Self::MeshCa { .. } => "mesh-ca",
            Self::Leaf { .. } => "leaf",
            Self::Crl { .. } => "crl",
            Self::Request { .. } => "request",
            Self::OfflineIntermediate { .. } => "offline-intermediate",
            Self::Cross => "cross-certificate",
            Self::Possession => "possession",
        }
    }

    /// The epoch it belongs to.
    #[must_use]
    pub fn epoch(self) -> Option<EpochId> {
        match self {
            Self::Root | Self::Cross | Self::Possession => None,
            Self::Crl { epoch } => epoch,
            Self::Intermediate { epoch }
            | Self::MeshCa { epoch }
            | Self::Leaf { epoch }
            | Self::Request { epoch }
            | Self::OfflineIntermediate { epoch } => Some(epoch),
        }
    }
}

/// Which epoch of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochId {
    /// Generation, from 1.
    pub generation: u64,
    /// Transition digest.
    pub transition: [u8; 32],
}

/// What makes two calls the same request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestIdentity {
    /// The authority.
    pub authority: String,
    /// The caller's name in the policy.
    pub caller: String,
    /// The caller's name for the request.
    pub id: String,
    /// SHA-256 over the content that counts.
    pub content_sha256: [u8; 32],
}

/// What the log says about a request beyond the certificate itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The method.
    pub method: String,
    /// The authority asked for, as it came.
    pub authority: String,
    /// The caller's name in the policy; empty if it has none.
    pub caller: String,
    /// The identities in the caller's certificate.
    pub identities: Vec<Identity>,
    /// SHA-256 of the caller's certificate.
    pub certificate_sha256: Option<[u8; 32]>,
    /// The profile asked for, as it came.
    pub profile: String,
    /// The request id, as it came.
    pub request_id: String,
    /// The names: `cn:..`, `dns:..`, `uri:..`, `ip:..`, `email:..`. As they came if refused; as they are signed if approved.
    pub names: Vec<String>,
    /// The subject's key.
    pub spki: Option<SpkiDigest>,
    /// `csr` or `caller`; empty where no possession is in question.
    pub possession: &'static str,
    /// The policy hash by which names come from the manifest.
    pub policy_hash: Option<[u8; 32]>,
    /// SHA-256 of evidence that the caller checked.
    pub evidence_sha256: Option<[u8; 32]>,
    /// Evidence that the signer checked.
    pub evidence: Option<EvidenceFacts>,
    /// What was wanted of an instance's record.
    pub instance: Option<InstanceFacts>,
    /// SHA-256 of the manifest that is to be set. Refused ones are not kept: whoever may call could fill the disk.
    pub manifest_sha256: Option<[u8; 32]>,
    /// The CSR or SPKI, as it came: kept as a blob by its digest.
    pub request: Vec<u8>,
}

/// A refusal, for the log and for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// All the reasons, at least one.
    pub reasons: Vec<Reason>,
    /// What is known about the request.
    pub facts: Facts,
    /// The policy in force.
    pub policy: PolicyDigest,
}
