//! Addresses and blocks of addresses: what an iPAddress says, and what a format of them takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::{NameError, wrong};

/// An iPAddress: the address of one host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpName {
    address: IpAddr,
    text: String,
}

impl IpName {
    /// Reads an iPAddress (RFC 5280, section 4.2.1.6): 4 or 16 octets, in network order.
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the octets break.
    pub fn parse(octets: &[u8]) -> Result<Self, NameError> {
        let address = if let Ok(octets) = <[u8; 4]>::try_from(octets) {
            IpAddr::V4(Ipv4Addr::from(octets))
        } else if let Ok(octets) = <[u8; 16]>::try_from(octets) {
            let address = Ipv6Addr::from(octets);
            if address.to_ipv4_mapped().is_some() {
                return wrong("an IPv4 address is written in 4 octets, not mapped into IPv6");
            }
            IpAddr::V6(address)
        } else {
            return wrong("an iPAddress has 4 octets (IPv4) or 16 (IPv6)");
        };
        let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.is_unspecified() || address.is_multicast() || broadcast {
            return wrong("an iPAddress is that of one host: not unspecified, multicast or broadcast");
        }
        Ok(Self { address, text: address.to_string() })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The address as text: four decimal numbers, or RFC 5952.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The 4 or 16 octets.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        match self.address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        }
    }
}

/// A block of addresses, such as `10.0.0.0/8`, or one address. Equal where the addresses are, however they were written.
#[derive(Clone, Debug)]
pub struct IpBlock {
    text: String,
    first: IpAddr,
    prefix_bits: u32,
}

impl PartialEq for IpBlock {
    fn eq(&self, other: &Self) -> bool {
        (self.first, self.prefix_bits) == (other.first, other.prefix_bits)
    }
}

impl Eq for IpBlock {}

impl IpBlock {
    /// Reads `192.0.2.1`, `10.0.0.0/8`, `2001:db8::1` or `2001:db8::/32`.
    ///
    /// # Errors
    /// [`NameError`] names the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(first) = address.parse::<IpAddr>() else {
            return wrong(
                "an address is written `192.0.2.1` or `2001:db8::1`, a block `10.0.0.0/8` or `2001:db8::/32`",
            );
        };
        let plain = |digits: &&str| !digits.starts_with('+') && (*digits == "0" || !digits.starts_with('0'));
        let prefix_bits = match prefix {
            None => width(first),
            Some(digits) => match Some(digits).filter(plain).and_then(|digits| digits.parse().ok()) {
                Some(bits) if bits <= width(first) => bits,
                Some(_) | None => return wrong("the length after `/` is 0 to 32 for IPv4, 0 to 128 for IPv6"),
            },
        };
        if number(first) & !mask(first, prefix_bits) != 0 {
            return wrong("the bits behind the length after `/` are zero; hint: write the block's first address");
        }
        Ok(Self { text: text.to_owned(), first, prefix_bits })
    }

    /// The block as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4()
            && number(address) & mask(address, self.prefix_bits) == number(self.first)
    }

    /// Whether some address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// All addresses of IPv4.
    #[must_use]
    pub fn all_v4() -> Self {
        Self { text: "0.0.0.0/0".to_owned(), first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix_bits: 0 }
    }

    /// All addresses of IPv6.
    #[must_use]
    pub fn all_v6() -> Self {
        Self { text: "::/0".to_owned(), first: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix_bits: 0 }
    }

    /// Whether all of this block lies in `outer`.
    #[must_use]
    pub fn lies_in(&self, outer: &Self) -> bool {
        outer.contains(self.first) && outer.prefix_bits <= self.prefix_bits
    }

    /// The first address and the mask, as name constraints write them: 8 or 32 octets (RFC 5280, section 4.2.1.10).
    #[must_use]
    pub fn address_and_mask(&self) -> Vec<u8> {
        let octets = |number: u128| {
            let all = number.to_be_bytes();
            all.into_iter().skip(if self.first.is_ipv4() { 12 } else { 0 })
        };
        octets(number(self.first)).chain(octets(mask(self.first, self.prefix_bits))).collect()
    }

    /// The inverse of [`address_and_mask`](Self::address_and_mask). `None` for all other octets.
    #[must_use]
    pub fn of_address_and_mask(octets: &[u8]) -> Option<Self> {
        let (address, mask) = octets.split_at_checked(octets.len() / 2)?;
        let first = match address.len() {
            4 => IpAddr::from(<[u8; 4]>::try_from(address).ok()?),
            16 => IpAddr::from(<[u8; 16]>::try_from(address).ok()?),
            _ => return None,
        };
        let prefix_bits: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        let block = Self::parse(&format!("{first}/{prefix_bits}")).ok()?;
        (block.address_and_mask() == octets).then_some(block)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

/// The first `prefix_bits` bits of an address, set.
fn mask(address: IpAddr, prefix_bits: u32) -> u128 {
    let all = u128::MAX.checked_shr(128 - width(address)).unwrap_or(0);
    all & !all.checked_shr(prefix_bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> IpBlock {
        IpBlock::parse(text).unwrap()
    }

    #[test]
    fn a_block_holds_its_first_and_last_address_and_no_neighbour() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            ("192.0.2.1", ["192.0.2.1", "192.0.2.1"], ["192.0.2.0", "192.0.2.2"]),
            ("192.0.2.4/30", ["192.0.2.4", "192.0.2.7"], ["192.0.2.3", "192.0.2.8"]),
            ("2001:db8::/32", ["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], ["2001:db7::", "2001:db9::"]),
            ("2001:db8::1", ["2001:db8::1", "2001:db8::1"], ["2001:db8::", "2001:db8::2"]),
        ] {
            let block = block(text);
            for address in inside {
                assert!(block.contains(address.parse().unwrap()), "{text} {address}");
            }
            for address in outside {
                assert!(!block.contains(address.parse().unwrap()), "{text} {address}");
            }
        }
    }

    #[test]
    fn the_whole_of_one_family_holds_nothing_of_the_other() {
        assert!(block("0.0.0.0/0").contains("255.1.2.3".parse().unwrap()));
        assert!(!block("0.0.0.0/0").contains("::1".parse().unwrap()));
        assert!(block("::/0").contains("ffff::1".parse().unwrap()));
        assert!(!block("::/0").contains("0.0.0.1".parse().unwrap()));
    }

    #[test]
    fn blocks_overlap_where_one_holds_the_other() {
        assert!(block("10.0.0.0/8").overlaps(&block("10.1.0.0/16")));
        assert!(block("10.1.0.0/16").overlaps(&block("10.0.0.0/8")));
        assert!(!block("10.1.0.0/16").overlaps(&block("10.2.0.0/16")));
        assert!(!block("::/0").overlaps(&block("0.0.0.0/0")));
        for (inner, outer, inside) in [
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.1.0.0/16", true),
            ("10.0.0.0/8", "10.0.0.0/16", false),
            ("11.0.0.0/16", "10.0.0.0/8", false),
            ("2001:db8::/64", "2001:db8::/32", true),
            ("10.0.0.0/8", "::/0", false),
        ] {
            assert_eq!(block(inner).lies_in(&block(outer)), inside, "{inner} {outer}");
        }
        assert_eq!((block("10.0.0.0/8").as_str(), IpBlock::all_v4().as_str()), ("10.0.0.0/8", "0.0.0.0/0"));
        assert!(block("10.0.0.0/8") != block("10.0.0.0/9") && block("10.0.0.0/8") != block("11.0.0.0/8"));
    }

    #[test]
    fn a_block_comes_back_from_its_address_and_mask_and_nothing_else_does() {
        for text in ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::/32", "2001:db8::1"] {
            let octets = block(text).address_and_mask();
            assert_eq!(IpBlock::of_address_and_mask(&octets), Some(block(text)));
            assert_eq!(IpBlock::of_address_and_mask(&octets[1..]), None);
            assert_eq!(IpBlock::of_address_and_mask(&[octets, vec![0]].concat()), None);
        }
        for octets in [[10, 0, 0, 1, 255, 0, 0, 0], [10, 0, 0, 0, 0, 255, 0, 0], [10, 0, 0, 0, 255, 1, 0, 0]] {
            assert_eq!(IpBlock::of_address_and_mask(&octets), None);
        }
        assert_eq!(IpBlock::of_address_and_mask(&[]), None);
        assert_eq!(block("192.0.2.1"), block("192.0.2.1/32"));
    }

    #[test]
    fn what_is_written_otherwise_is_no_block() {
        for text in
            ["", "10", "10.0.0", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/", "::/129"]
        {
            assert!(IpBlock::parse(text).is_err(), "{text}");
        }
        for text in ["010.0.0.0/8", "2001:db8::1/32", "fe80::1%eth0", "10.0.0.0/8/8", " 10.0.0.0/8", "a.example"] {
            assert!(IpBlock::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_address() {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets().to_vec();
        for octets in [vec![], vec![10], vec![10, 0, 0], vec![10, 0, 0, 1, 0], vec![0; 8], vec![0; 15], vec![0; 17]] {
            assert!(IpName::parse(&octets).is_err(), "{octets:?}");
        }
        for octets in [vec![0; 4], vec![0; 16], vec![255; 4], vec![224, 0, 0, 1], v6("ff02::1"), v6("::ffff:10.0.0.1")]
        {
            assert!(IpName::parse(&octets).is_err(), "{octets:?}");
        }
        assert_eq!(IpName::parse(&v6("2001:DB8:0:0:0:0:0:1")).unwrap().as_str(), "2001:db8::1");
        assert_eq!(IpName::parse(&[10, 0, 0, 1]).unwrap().octets(), [10, 0, 0, 1]);
    }
}
