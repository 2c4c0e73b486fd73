//! Kinds of CA keys that are measured.

use clap::ValueEnum;

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// ECDSA on P-256.
    EcdsaP256,
    /// RSA with 2048 bits.
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA with 4096 bits.
    #[value(name = "rsa-4096")]
    Rsa4096,
}

impl Key {
    /// As policy files write it.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "P-256",
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa4096 => "RSA-4096",
        }
    }

    /// The length of its modulus, if it has one.
    pub(crate) fn rsa_bits(self) -> Option<u32> {
        match self {
            Self::EcdsaP256 => None,
            Self::Rsa2048 => Some(2_048),
            Self::Rsa4096 => Some(4_096),
        }
    }
}
