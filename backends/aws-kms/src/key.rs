//! Keys as KMS names and describes them.

use std::{collections::BTreeMap, fmt};

/// Longest message that is signed as it is; of a longer one its digest is sent (API reference, Sign).
pub const RAW_MESSAGE_BYTES_MAX: usize = 4_096;

/// Most random bytes that one call gives (API reference, GenerateRandom).
pub const RANDOM_BYTES_MAX: usize = 1_024;

/// States of a key (API reference, KeyMetadata).
pub const STATE_ENABLED: &str = "Enabled";
/// A key whose deletion is scheduled.
pub const STATE_PENDING_DELETION: &str = "PendingDeletion";

/// Lengths of the parts of a UUID, in hex digits (RFC 9562, section 4).
const UUID_PARTS: [usize; 5] = [8, 4, 4, 4, 12];

/// The id of a key: a UUID in lower-case hex. Ids of multi-Region keys have another form and are none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// Reads an id.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        let fits = text.split('-').map(str::len).eq(UUID_PARTS) && text.bytes().all(|byte| byte == b'-' || digit(byte));
        fits.then(|| Self(text.into()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What kind of key (API reference, KeySpec).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// ECC_NIST_P256.
    P256,
    /// ECC_NIST_P384.
    P384,
    /// ECC_NIST_EDWARDS25519.
    Ed25519,
    /// RSA_2048.
    Rsa2048,
    /// RSA_3072.
    Rsa3072,
    /// RSA_4096.
    Rsa4096,
}

impl Spec {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "ECC_NIST_P256",
            Self::P384 => "ECC_NIST_P384",
            Self::Ed25519 => "ECC_NIST_EDWARDS25519",
            Self::Rsa2048 => "RSA_2048",
            Self::Rsa3072 => "RSA_3072",
            Self::Rsa4096 => "RSA_4096",
        }
    }
}

/// How something is signed (API reference, Sign).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA_SHA_256: a digest.
    EcdsaSha256,
    /// ECDSA_SHA_384: a digest.
    EcdsaSha384,
    /// ED25519_SHA_512: Ed25519 of RFC 8032, over the message itself.
    Ed25519,
    /// RSASSA_PKCS1_V1_5_SHA_256: a digest.
    RsaPkcs1Sha256,
    /// RSASSA_PSS_SHA_256: a digest; the salt is as long as that.
    RsaPssSha256,
}

impl Algorithm {
    /// Its name in the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ECDSA_SHA_256",
            Self::EcdsaSha384 => "ECDSA_SHA_384",
            Self::Ed25519 => "ED25519_SHA_512",
            Self::RsaPkcs1Sha256 => "RSASSA_PKCS1_V1_5_SHA_256",
            Self::RsaPssSha256 => "RSASSA_PSS_SHA_256",
        }
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The digest of a message, by the algorithm's hash function.
    Digest(&'a [u8]),
    /// The message, at most [`RAW_MESSAGE_BYTES_MAX`].
    Raw(&'a [u8]),
}

/// A key to be made: to sign, its material made by KMS, in this region alone.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Its kind.
    pub spec: Spec,
    /// Its description.
    pub description: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What KMS says of a key (API reference, KeyMetadata), in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id; of a multi-Region key, another form of one.
    pub id: String,
    /// Its name in all of AWS: partition, region, account and id.
    pub arn: String,
    /// The number of its account.
    pub account: String,
    /// What was written to it when it was made.
    pub description: String,
    /// KeySpec.
    pub spec: String,
    /// KeyUsage.
    pub usage: String,
    /// KeyState.
    pub state: String,
    /// Origin.
    pub origin: String,
    /// KeyManager: `CUSTOMER`, or `AWS`.
    pub manager: String,
    /// MultiRegion.
    pub multi_region: bool,
    /// When it is deleted, in seconds since 1970, where that is scheduled.
    pub deletion: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_one_form_and_of_one_region() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        assert_eq!(KeyId::parse(id).unwrap().as_str(), id);
        for text in [
            "",
            "mrk-1234abcd12ab34cd56ef1234567890ab",
            "1234ABCD-12ab-34cd-56ef-1234567890ab",
            "1234abcd-12ab-34cd-56ef-1234567890a",
            "1234abcd-12ab-34cd-56ef-1234567890abc",
            "1234abcd12ab34cd56ef1234567890ab",
            "1234abcd-12ab-34cd-56ef-1234567890ag",
            "alias/hallmark",
            "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        ] {
            assert_eq!(KeyId::parse(text), None, "{text}");
        }
    }
}
