//! What an object or an authentication key may do, one bit for each.

use std::fmt;

use yubihsm::Capability;

/// What stands before the number of a capability that has no name here.
const UNNAMED: &str = "capability-";

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u64);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);
    /// `sign-pkcs`: RSASSA-PKCS1-v1_5.
    pub const SIGN_PKCS: Self = Self(Capability::SIGN_PKCS.bits());
    /// `sign-ecdsa`.
    pub const SIGN_ECDSA: Self = Self(Capability::SIGN_ECDSA.bits());
    /// `sign-eddsa`.
    pub const SIGN_EDDSA: Self = Self(Capability::SIGN_EDDSA.bits());
    /// `generate-asymmetric-key`.
    pub const GENERATE_ASYMMETRIC_KEY: Self = Self(Capability::GENERATE_ASYMMETRIC_KEY.bits());
    /// `delete-asymmetric-key`.
    pub const DELETE_ASYMMETRIC_KEY: Self = Self(Capability::DELETE_ASYMMETRIC_KEY.bits());
    /// `get-pseudo-random`.
    pub const GET_PSEUDO_RANDOM: Self = Self(Capability::GET_PSEUDO_RANDOM.bits());
    /// `get-log-entries`: also to say which were read.
    pub const GET_LOG_ENTRIES: Self = Self(Capability::GET_LOG_ENTRIES.bits());
    /// `sign-attestation-certificate`.
    pub const SIGN_ATTESTATION_CERTIFICATE: Self = Self(Capability::SIGN_ATTESTATION_CERTIFICATE.bits());
    /// `get-opaque`: the device's own certificate is such an object.
    pub const GET_OPAQUE: Self = Self(Capability::GET_OPAQUE.bits());

    /// The set with these bits, as the device writes it.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Its bits, as the device writes them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What is in either.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in this one and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether everything of the other is in this one.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One capability by its name in the manual, or `capability-47` for the one of bit 47, where the library has no name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if let Some(bit) = name.strip_prefix(UNNAMED) {
            let one = bit.parse().ok().and_then(|bit| 1_u64.checked_shl(bit)).map(Self)?;
            return (one.names() == [name]).then_some(one);
        }
        name.parse::<Capability>().ok().map(|capability| Self(capability.bits()))
    }

    /// Their names, by number.
    #[must_use]
    pub fn names(self) -> Vec<String> {
        (0..u64::BITS).filter(|bit| self.0 & (1 << bit) != 0).map(name).collect()
    }
}

fn name(bit: u32) -> String {
    let mut text = String::new();
    let known = Capability::from_bits(1 << bit).map(|capability| fmt::write(&mut text, format_args!("{capability}")));
    match known {
        Some(Ok(())) => text,
        Some(Err(_)) | None => format!("{UNNAMED}{bit}"),
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() { f.write_str("none") } else { f.write_str(&self.names().join(",")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_one_name_and_is_found_by_it() {
        let names = Capabilities::from_bits(u64::MAX).names();
        assert_eq!(names.len(), 64);
        for (bit, name) in (0..).zip(&names) {
            assert_eq!(Capabilities::named(name), Some(Capabilities::from_bits(1 << bit)), "{name}");
        }
        assert_eq!(names[47], "capability-47");
        for wrong in ["", "sign", "capability-7", "capability-64", "capability-", "SIGN-ECDSA"] {
            assert_eq!(Capabilities::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_set_is_written_as_the_manual_writes_it() {
        let both = Capabilities::SIGN_ECDSA.and(Capabilities::GENERATE_ASYMMETRIC_KEY);
        assert_eq!(both.to_string(), "generate-asymmetric-key,sign-ecdsa");
        assert_eq!(Capabilities::NONE.to_string(), "none");
        assert!(both.has(Capabilities::SIGN_ECDSA) && !Capabilities::SIGN_ECDSA.has(both));
        assert_eq!(both.without(Capabilities::SIGN_ECDSA), Capabilities::GENERATE_ASYMMETRIC_KEY);
    }
}
