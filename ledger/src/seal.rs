//! A signature on its way into the ledger, and what it is known by afterwards.

use hallmark_policy::instance::signed_sha256;

/// A signature that is to be kept over what was committed, with the digest of both where whoever signed has it.
///
/// The digest is always that of this signature, and is kept only together with it: where another one was kept first, neither is. A certificate that is presented
/// with that digest is taken for ours without verifying its signature again, so whoever makes it by [`of_leaf`](Self::of_leaf) has verified the signature over
/// those bytes under the issuer's key. Where it is missing, the signature is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub(crate) signature: Vec<u8>,
    pub(crate) signed: Signed,
}

/// The digest of what was signed ([`signed_sha256`]), which the ledger keeps of instances' certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// The ledger makes it of its own row, if that is an instance's certificate.
    OfRow,
    /// It is this one of an instance's certificate.
    Known([u8; 32]),
    /// It is not kept: the certificate is no instance's.
    NotKept,
}

impl Seal {
    /// Of a leaf that was signed a moment ago and whose signature over `to_be_signed` was verified under its issuer's key, and whether it is an instance's.
    #[must_use]
    pub fn of_leaf(to_be_signed: &[u8], signature: Vec<u8>, of_instance: bool) -> Self {
        let signed = if of_instance { Signed::Known(signed_sha256(to_be_signed, &signature)) } else { Signed::NotKept };
        Self { signature, signed }
    }

    /// The digest of what was signed, of an instance's certificate.
    #[must_use]
    pub fn signed_sha256(&self) -> Option<[u8; 32]> {
        match self.signed {
            Signed::Known(digest) => Some(digest),
            Signed::OfRow | Signed::NotKept => None,
        }
    }
}

impl From<Vec<u8>> for Seal {
    /// Of whatever was committed: the ledger looks what that is.
    fn from(signature: Vec<u8>) -> Self {
        Self { signature, signed: Signed::OfRow }
    }
}
