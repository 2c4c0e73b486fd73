//! What was signed in a structure that has its signature with it.

/// The first element of a SEQUENCE, DER, which is all there is: what was signed in a certificate, a CRL (RFC 5280, sections 4.1 and 5.1) or a certification
/// request (RFC 2986, section 4.2). Nothing more is read; of anything else there is none.
#[must_use]
pub fn to_be_signed(der: &[u8]) -> Option<&[u8]> {
    let (header, length) = element(der)?;
    if header + length != der.len() {
        return None;
    }
    let inner = der.get(header..)?;
    let (header, length) = element(inner)?;
    inner.get(..header + length)
}

/// Bytes of the header and of the content of a SEQUENCE.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    const SEQUENCE: u8 = 0x30;
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (header, length) = match first {
        short @ 0..=0x7f => (2, usize::from(*short)),
        long => {
            let bytes = usize::from(long & 0x7f);
            let digits = rest.get(..bytes).filter(|_| (1..=4).contains(&bytes))?;
            (2 + bytes, digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
        }
    };
    (*tag == SEQUENCE && der.len() >= header.checked_add(length)?).then_some((header, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_the_first_element_and_nothing_else_is_read() {
        assert_eq!(to_be_signed(&[0x30, 6, 0x30, 1, 5, 3, 1, 0]), Some(&[0x30, 1, 5][..]));
        for bad in [&[][..], &[0x30], &[0x30, 0x80], &[0x31, 2, 0x30, 0], &[0x30, 3, 0x30, 0], &[0x30, 2, 0x30, 9]] {
            assert_eq!(to_be_signed(bad), None, "{bad:?}");
        }
    }
}
