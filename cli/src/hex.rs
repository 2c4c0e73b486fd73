//! Digests and other bytes as they are typed.

/// Reads 64 hexadecimal digits.
///
/// # Errors
/// One sentence for everything else.
pub(crate) fn digest(text: &str) -> Result<[u8; 32], String> {
    let wrong = || format!("a SHA-256 digest has 64 hexadecimal digits; this has {} characters", text.chars().count());
    bytes(text).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)
}

/// Reads a serial number: 1 to 20 bytes.
///
/// # Errors
/// One sentence for everything else.
pub(crate) fn serial(text: &str) -> Result<Vec<u8>, String> {
    let number = bytes(text).filter(|bytes| (1..=20).contains(&bytes.len()));
    number.ok_or_else(|| "a serial number has 1 to 20 pairs of hexadecimal digits".to_owned())
}

/// Reads pairs of hexadecimal digits.
pub(crate) fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

fn digit(letter: u8) -> Option<u8> {
    char::from(letter).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_in_either_case_and_nothing_else_reads() {
        assert_eq!(digest(&"aB".repeat(32)), Ok([0xab; 32]));
        for wrong in ["", "ab", "xy", &"a".repeat(63), &"ab".repeat(33), &"é".repeat(32)] {
            assert!(digest(wrong).is_err(), "{wrong}");
        }
    }
}
