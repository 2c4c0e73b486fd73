//! Digests, as machines compare them and as people read them aloud.

use aws_lc_rs::digest;
use sha2::{Digest as _, Sha256};

/// Bytes of a row of hexadecimal digits, as people compare them.
const ROW_BYTES: usize = 4;

/// Words of a row.
const ROW_WORDS: usize = 6;

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

/// SHA-256 of a secret, written where it stays: what the library has of it in between is wiped.
pub(crate) fn sha256_into(bytes: &[u8], out: &mut [u8; 32]) {
    let mut hasher = Sha256::new();
    hasher.update(bytes);
    hasher.finalize_into(out.into());
}

/// Reads lower-case hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if digits.is_empty() || !pairs.remainder().is_empty() {
        return None;
    }
    Some(pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

/// A digest in 24 words of the English list of BIP-39; the last word has a checksum, so that a word that was misread is noticed.
#[must_use]
pub fn words(digest: &[u8; 32]) -> Vec<&'static str> {
    // 32 bytes are one of the lengths that the list is made for.
    bip39::Mnemonic::from_entropy(digest).map(|words| words.words().collect()).unwrap_or_default()
}

/// The digest that these words stand for; none if one of them is wrong.
#[must_use]
pub fn from_words(text: &str) -> Option<[u8; 32]> {
    bip39::Mnemonic::parse_in_normalized(bip39::Language::English, text).ok()?.to_entropy().try_into().ok()
}

/// A digest for people: groups of hexadecimal digits, and the words, in rows.
#[must_use]
pub fn aloud(digest: &[u8; 32]) -> Vec<String> {
    let groups: Vec<String> = digest.chunks(ROW_BYTES).map(hallmark_policy::hex).collect();
    let hex = groups.chunks(ROW_BYTES).map(|row| row.join(" "));
    let words = words(digest);
    let words: Vec<String> = words.chunks(ROW_WORDS).map(|row| row.join(" ")).collect();
    hex.chain(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_read_aloud_in_words_and_a_word_that_was_misread_is_noticed() {
        let digest = sha256(b"hallmark");
        let words = words(&digest);
        assert_eq!((words.len(), from_words(&words.join(" "))), (24, Some(digest)));
        let mut misread = words.clone();
        misread[3] = if misread[3] == "zoo" { "abandon" } else { "zoo" };
        assert_eq!(from_words(&misread.join(" ")), None);
        let aloud = aloud(&digest);
        assert_eq!(aloud.len(), 6);
        assert_eq!(aloud[0].replace(' ', "") + &aloud[1].replace(' ', ""), hallmark_policy::hex(&digest));
    }

    #[test]
    fn hexadecimal_is_read_in_one_way() {
        assert_eq!(from_hex("00ff"), Some(vec![0, 255]));
        for bad in ["", "0", "0F", "zz", "0 "] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }
}
