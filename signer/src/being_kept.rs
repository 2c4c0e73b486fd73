//! What this process has signed, verified and given to its callers, and the ledger is about to keep: for these moments it is known here.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use hallmark_policy::key::SpkiDigest;

/// The digests of certificates, by the key that signed them ([`signed_sha256`](hallmark_policy::instance::signed_sha256)).
type Digests = Mutex<HashSet<(SpkiDigest, [u8; 32])>>;

/// Certificates whose signatures are being kept. As many as calls are worked on, at most.
#[derive(Debug, Default)]
pub(crate) struct BeingKept(Arc<Digests>);

impl BeingKept {
    /// Adds one, until what comes back is dropped.
    pub(crate) fn add(&self, issuer: SpkiDigest, signed_sha256: [u8; 32]) -> Keeping {
        let of = (issuer, signed_sha256);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(of);
        Keeping { digests: Arc::clone(&self.0), of }
    }

    /// Whether this is one.
    pub(crate) fn contains(&self, issuer: SpkiDigest, signed_sha256: [u8; 32]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&(issuer, signed_sha256))
    }
}

/// One that is being kept.
#[derive(Debug)]
pub(crate) struct Keeping {
    digests: Arc<Digests>,
    of: (SpkiDigest, [u8; 32]),
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_not_being_kept_any_more() {
        let (being_kept, issuer) = (BeingKept::default(), SpkiDigest::from_bytes([1; 32]));
        let keeping = being_kept.add(issuer, [2; 32]);
        assert!(being_kept.contains(issuer, [2; 32]));
        assert!(
            !being_kept.contains(issuer, [3; 32]) && !being_kept.contains(SpkiDigest::from_bytes([4; 32]), [2; 32])
        );
        drop(keeping);
        assert!(!being_kept.contains(issuer, [2; 32]));
    }
}
