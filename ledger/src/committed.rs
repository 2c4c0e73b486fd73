//! What the ledger hands out once a decision is durable.

use hallmark_policy::key::{SignatureAlgorithm, SpkiDigest};

/// A warrant whose conditions held and whose entry is durable: what a backend may sign, once.
///
/// Made only by this crate. Not `Clone`, and a backend consumes it.
#[derive(Debug)]
pub struct Committed {
    pub(crate) to_be_signed: Vec<u8>,
    pub(crate) issuer: SpkiDigest,
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) log_index: u64,
}

impl Committed {
    /// The DER of the TBSCertificate, TBSCertList or CertificationRequestInfo: the message, not its digest.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// Which key signs it.
    #[must_use]
    pub fn issuer(&self) -> SpkiDigest {
        self.issuer
    }

    /// With which algorithm.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Index of its entry in the decision log.
    #[must_use]
    pub fn log_index(&self) -> u64 {
        self.log_index
    }
}
