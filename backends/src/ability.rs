//! What is made and signed in places that tell it to nobody who does not log in: known beforehand, so that a policy can be held against it.

use hallmark_policy::key::{KeyKind, SignatureAlgorithm};

use crate::{AWS_KMS_MESSAGE_BYTES_MAX, YUBIHSM_MESSAGE_BYTES_MAX, aws_kms, yubihsm};

/// What is made and signed in such a place.
#[derive(Clone, Copy, Debug)]
pub struct Ability {
    /// The place, in a sentence.
    pub place: &'static str,
    /// The longest message that it signs as it is, in bytes.
    message_bytes_max: usize,
    makes: fn(KeyKind) -> bool,
    never_signs: fn(SignatureAlgorithm, usize) -> Option<String>,
}

/// Why a key there would not do what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// No such key is made.
    Kind,
    /// Nothing is signed with this algorithm.
    Algorithm,
    /// What grows long is not signed with it.
    Lists {
        /// The longest message, in bytes.
        bytes_max: usize,
    },
}

impl Ability {
    /// Of AWS KMS.
    pub const AWS_KMS: Self = Self {
        place: "AWS KMS",
        message_bytes_max: AWS_KMS_MESSAGE_BYTES_MAX,
        makes: |kind| aws_kms::aws_kms_kinds().any(|made| made == kind),
        never_signs: aws_kms::aws_kms_never_signs,
    };
    /// Of a YubiHSM.
    pub const YUBIHSM: Self = Self {
        place: "a YubiHSM",
        message_bytes_max: YUBIHSM_MESSAGE_BYTES_MAX,
        makes: |kind| yubihsm::yubihsm_kinds().any(|made| made == kind),
        never_signs: yubihsm::yubihsm_never_signs,
    };

    /// Why a key of this kind, which signs with that algorithm, would not do there what it is for. `lists`: whether it signs CRLs.
    #[must_use]
    pub fn lacks(&self, kind: KeyKind, algorithm: SignatureAlgorithm, lists: bool) -> Option<Lack> {
        if !(self.makes)(kind) {
            return Some(Lack::Kind);
        }
        if (self.never_signs)(algorithm, 0).is_some() {
            return Some(Lack::Algorithm);
        }
        let never_long = lists && (self.never_signs)(algorithm, usize::MAX).is_some();
        never_long.then_some(Lack::Lists { bytes_max: self.message_bytes_max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_made_and_one_that_does_not_sign_what_it_has_to_are_told_apart() {
        let default = |kind| (kind, SignatureAlgorithm::default_for(kind));
        for (ability, bytes_max, pss) in
            [(Ability::AWS_KMS, 4_096, None), (Ability::YUBIHSM, 2_000, Some(Lack::Algorithm))]
        {
            for (kind, algorithm) in [KeyKind::MlDsa44, KeyKind::MlDsa65, KeyKind::MlDsa87].map(default) {
                assert_eq!(ability.lacks(kind, algorithm, false), Some(Lack::Kind), "{} {kind}", ability.place);
            }
            let made = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048, KeyKind::Rsa4096];
            for (kind, algorithm) in made.map(default) {
                assert_eq!(ability.lacks(kind, algorithm, true), None, "{} {kind}", ability.place);
            }
            let (kind, algorithm) = default(KeyKind::Ed25519);
            assert_eq!(ability.lacks(kind, algorithm, false), None, "{}", ability.place);
            assert_eq!(ability.lacks(kind, algorithm, true), Some(Lack::Lists { bytes_max }), "{}", ability.place);
            assert_eq!(ability.lacks(KeyKind::Rsa2048, SignatureAlgorithm::RsaPssSha256, true), pss);
        }
    }
}
