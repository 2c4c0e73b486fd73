//! Object identifiers that files and requests name.

use std::fmt;

/// Most arcs of an object identifier.
const ARCS_MAX: usize = 24;

/// Largest arc: what four octets of base 128 carry, so that 24 arcs fit the 96 octets that every encoder here takes.
const ARC_MAX: u32 = (1 << 28) - 1;

/// Most octets of an object identifier's encoding.
const ENCODED_BYTES_MAX: usize = 39;

/// An object identifier that both encoders can write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Oid(Vec<u32>);

/// Text that is no object identifier that can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no object identifier: write 3 to {ARCS_MAX} numbers with dots between, such as `1.3.6.1.4.1.99999.1`; the first is 0 to 2, the second 0 to 39, none over {ARC_MAX}"
)]
pub struct OidError {
    /// What was read.
    pub text: String,
}

impl Oid {
    /// Reads a dotted object identifier: plain decimal numbers without leading zeros.
    ///
    /// # Errors
    /// [`OidError`] for everything else, and for what takes over 39 octets.
    pub fn parse(text: &str) -> Result<Self, OidError> {
        let wrong = || OidError { text: text.chars().take(80).flat_map(char::escape_debug).collect() };
        let arc = |digits: &str| {
            let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let plain = plain && (digits == "0" || !digits.starts_with('0'));
            digits.parse().ok().filter(|arc| plain && *arc <= ARC_MAX)
        };
        let arcs: Vec<u32> = text.split('.').take(ARCS_MAX + 1).map(arc).collect::<Option<_>>().ok_or_else(wrong)?;
        let fine = match arcs.as_slice() {
            [first, second, rest @ ..] => *first <= 2 && *second <= 39 && !rest.is_empty() && arcs.len() <= ARCS_MAX,
            _ => false,
        };
        let octets = |arc: &u32| (32 - arc.leading_zeros()).max(1).div_ceil(7) as usize;
        let encoded = 1 + arcs.iter().skip(2).map(octets).sum::<usize>();
        if fine && encoded <= ENCODED_BYTES_MAX { Ok(Self(arcs)) } else { Err(wrong()) }
    }

    /// Its arcs.
    #[must_use]
    pub fn arcs(&self) -> &[u32] {
        &self.0
    }

    /// Whether it is `arcs` or lies below.
    #[must_use]
    pub fn is_within(&self, arcs: &[u32]) -> bool {
        self.0.starts_with(arcs)
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&dotted(&self.0))
    }
}

/// Arcs with dots between.
pub(crate) fn dotted(arcs: &[u32]) -> String {
    arcs.iter().map(ToString::to_string).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_identifiers_are_plain_numbers_with_dots() {
        for text in ["1.3.6.1.4.1.99999.1", "2.23.140", "0.0.0", "1.3.9901.2.1", "1.2.268435455"] {
            assert_eq!(Oid::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            ".",
            "1",
            "1.3",
            "3.1.1",
            "1.40.1",
            "2.999.1",
            "1.3.",
            ".1.3",
            "1..3",
            "1.3.06",
            "1.3.-1",
            "1.3.+1",
            "1.3.a",
            "1.3.268435456",
            "1.3.99999999999999999999",
            "1.3.1 ",
            "1.3.٣",
        ] {
            assert!(Oid::parse(text).is_err(), "{text:?}");
        }
        assert!(Oid::parse(&format!("1.3{}", ".1".repeat(22))).is_ok());
        assert!(Oid::parse(&format!("1.3{}", ".1".repeat(23))).is_err());
        assert!(Oid::parse(&format!("1.3{}", ".268435455".repeat(9))).is_ok(), "37 octets");
        assert!(Oid::parse(&format!("1.3{}", ".268435455".repeat(10))).is_err(), "41 octets");
        assert!(Oid::parse(&format!("1.3{}.127.127", ".268435455".repeat(9))).is_ok(), "39 octets");
        assert!(Oid::parse(&format!("1.3{}.127.128", ".268435455".repeat(9))).is_err(), "40 octets");
        assert!(Oid::parse(&format!("1.3{}.16383", ".268435455".repeat(9))).is_ok(), "39 octets");
        assert!(Oid::parse("2.39.1").is_ok() && Oid::parse("0.40.1").is_err() && Oid::parse("1.3.000000001").is_err());
    }

    #[test]
    fn an_arc_holds_itself_and_what_is_below_and_no_neighbour() {
        let oid = |text| Oid::parse(text).unwrap();
        assert!(oid("1.3.5").is_within(&[1, 3, 5]));
        assert!(oid("1.3.5.1").is_within(&[1, 3, 5]));
        assert!(!oid("1.3.51").is_within(&[1, 3, 5]));
        assert!(!oid("1.3.5").is_within(&[1, 3, 5, 1]));
    }
}
