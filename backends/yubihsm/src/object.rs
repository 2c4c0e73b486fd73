//! What a device has, as it tells it.

use std::fmt;

use yubihsm::{asymmetric, device, object};

use crate::capability::Capabilities;

/// Bytes of an object's label; shorter ones end with zeros.
pub const LABEL_BYTES: usize = 40;

/// What a key's algorithm is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `ecp256`.
    EcP256,
    /// `ecp384`.
    EcP384,
    /// `ed25519`.
    Ed25519,
    /// `rsa2048`.
    Rsa2048,
    /// `rsa3072`.
    Rsa3072,
    /// `rsa4096`.
    Rsa4096,
    /// Another one, by its number in the manual.
    Other(u8),
}

impl Algorithm {
    const KNOWN: [(Self, asymmetric::Algorithm, &'static str); 6] = [
        (Self::EcP256, asymmetric::Algorithm::EcP256, "ecp256"),
        (Self::EcP384, asymmetric::Algorithm::EcP384, "ecp384"),
        (Self::Ed25519, asymmetric::Algorithm::Ed25519, "ed25519"),
        (Self::Rsa2048, asymmetric::Algorithm::Rsa2048, "rsa2048"),
        (Self::Rsa3072, asymmetric::Algorithm::Rsa3072, "rsa3072"),
        (Self::Rsa4096, asymmetric::Algorithm::Rsa4096, "rsa4096"),
    ];

    pub(crate) fn of(number: u8) -> Self {
        let known = Self::KNOWN.into_iter().find(|(_, theirs, _)| theirs.to_u8() == number);
        known.map_or(Self::Other(number), |(own, ..)| own)
    }

    pub(crate) fn theirs(self) -> Option<asymmetric::Algorithm> {
        Self::KNOWN.into_iter().find(|(own, ..)| *own == self).map(|(_, theirs, _)| theirs)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (Self::KNOWN.into_iter().find(|(own, ..)| own == self), self) {
            (Some((.., name)), _) => f.write_str(name),
            (None, Self::Other(number)) => write!(f, "algorithm {number:#04x}"),
            (None, _) => Ok(()),
        }
    }
}

/// The domains of a device: 16 parts, of which an authentication key sees some, and an object is in some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domains(u16);

impl Domains {
    /// The domains of these numbers, 1 to 16; none if one is no such number, or there is none.
    #[must_use]
    pub fn of(numbers: &[u8]) -> Option<Self> {
        let bit = |number: &u8| 1_u16.checked_shl(u32::from(number.checked_sub(1)?));
        let bits = numbers.iter().map(bit).try_fold(0, |bits, bit| Some(bits | bit?))?;
        (bits != 0).then_some(Self(bits))
    }

    /// The set with these bits, as the device writes it.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// Its bits, as the device writes them.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Whether all of the other are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Domains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = (0..u16::BITS).filter(|bit| self.0 & (1 << bit) != 0).map(|bit| (bit + 1).to_string());
        f.write_str(&numbers.collect::<Vec<_>>().join(","))
    }
}

/// How an object came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was generated in this device, and was never outside of it.
    Generated,
    /// It was brought in from outside.
    Imported,
    /// It was generated in a device, and came here in wrapped form.
    WrappedGenerated,
    /// It was brought into a device, and came here in wrapped form.
    WrappedImported,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generated => "generated",
            Self::Imported => "imported",
            Self::WrappedGenerated => "generated:imported_wrapped",
            Self::WrappedImported => "imported:imported_wrapped",
        })
    }
}

/// What a device tells of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its number.
    pub id: u16,
    /// Its label, without the zeros at its end.
    pub label: Vec<u8>,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// What it may do.
    pub capabilities: Capabilities,
    /// What objects that it makes may do.
    pub delegated: Capabilities,
    /// Where it is.
    pub domains: Domains,
    /// How it came to be.
    pub origin: Origin,
    /// How many objects of this number and type there were before.
    pub sequence: u8,
}

impl From<object::Info> for Object {
    fn from(info: object::Info) -> Self {
        let label = info.label.as_ref();
        let end = label.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Self {
            id: info.object_id,
            label: label.get(..end).unwrap_or_default().to_vec(),
            algorithm: Algorithm::of(info.algorithm.to_u8()),
            capabilities: Capabilities::from_bits(info.capabilities.bits()),
            delegated: Capabilities::from_bits(info.delegated_capabilities.bits()),
            domains: Domains(info.domains.bits()),
            origin: match info.origin {
                object::Origin::Generated => Origin::Generated,
                object::Origin::Imported => Origin::Imported,
                object::Origin::WrappedGenerated => Origin::WrappedGenerated,
                object::Origin::WrappedImported => Origin::WrappedImported,
            },
            sequence: info.sequence,
        }
    }
}

/// A key to be generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its number, which no asymmetric key of the device has.
    pub id: u16,
    /// Its label, at most [`LABEL_BYTES`].
    pub label: Vec<u8>,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// What it may do.
    pub capabilities: Capabilities,
    /// Where it is.
    pub domains: Domains,
}

/// A public key: both coordinates of a point, an Ed25519 key, or a modulus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicPart {
    /// The algorithm of its private half.
    pub algorithm: Algorithm,
    /// Big-endian numbers, and no tag before them.
    pub bytes: Vec<u8>,
}

/// What a device tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its serial number, ten digits.
    pub serial: String,
    /// The version of its firmware, such as `2.4.0`.
    pub firmware: String,
    /// Entries that its command log holds.
    pub log_capacity: u8,
    /// Entries that are in it.
    pub log_used: u8,
    /// The kinds of asymmetric keys that it makes, of those that are known here.
    pub algorithms: Vec<Algorithm>,
}

impl DeviceInfo {
    /// The command that it is the answer to.
    pub const COMMAND: &str = "GET DEVICE INFO";
}

impl From<device::Info> for DeviceInfo {
    fn from(info: device::Info) -> Self {
        let known = |algorithm: &Algorithm| !matches!(algorithm, Algorithm::Other(_));
        Self {
            serial: info.serial_number.to_string(),
            firmware: format!("{}.{}.{}", info.major_version, info.minor_version, info.build_version),
            log_capacity: info.log_store_capacity,
            log_used: info.log_store_used,
            algorithms: info.algorithms.iter().map(|theirs| Algorithm::of(theirs.to_u8())).filter(known).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_numbered_from_one_to_sixteen() {
        assert_eq!(Domains::of(&[1, 3, 16]).map(Domains::bits), Some(0b1000_0000_0000_0101));
        assert_eq!(Domains::from_bits(0b101).to_string(), "1,3");
        for wrong in [&[][..], &[0], &[17], &[1, 255]] {
            assert_eq!(Domains::of(wrong), None, "{wrong:?}");
        }
    }
}
