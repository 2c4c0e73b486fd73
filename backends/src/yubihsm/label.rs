//! Labels as a device stores them: 40 bytes, and ours may be longer.
//!
//! A label that fits stands as it is. A longer one, of the form in which this signer names the keys of its authorities, is written more tightly, so that
//! both are read back as they were: `hallmark-<name>-<16 hex digits>` as `~<name>-<11 characters of base64url>`.

use aws_lc_rs::error::Unspecified;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallmark_yubihsm::LABEL_BYTES;

use crate::{error::BackendError, reference::KeyLabel};

/// What the labels of authorities' keys begin with.
const OURS: &str = "hallmark-";
/// What stands for that; no label of ours begins with it otherwise.
const TIGHT: &str = "~";
/// Hex digits at the end of such a label.
const SUFFIX_DIGITS: usize = 16;

/// The label as a device stores it.
pub(super) fn stored(label: &KeyLabel) -> Result<Vec<u8>, BackendError> {
    let text = label.as_str();
    if text.len() <= LABEL_BYTES {
        return Ok(text.as_bytes().to_vec());
    }
    tight(text).filter(|tight| tight.len() <= LABEL_BYTES).map(String::into_bytes).ok_or_else(|| {
        let detail = format!(
            "the label `{text}` does not fit into the {LABEL_BYTES} bytes that a YubiHSM has for it; give the authority a shorter name"
        );
        BackendError::Configuration { detail }
    })
}

/// The label that is stored like this; none if this signer cannot have written it.
pub(super) fn read(stored: &[u8]) -> Option<KeyLabel> {
    let text = std::str::from_utf8(stored).ok()?;
    let label = match text.strip_prefix(TIGHT) {
        None => text.to_owned(),
        Some(rest) => loose(rest)?,
    };
    // One label has one form.
    KeyLabel::parse(&label).ok().filter(|label| self::stored(label).is_ok_and(|again| again == stored))
}

fn tight(text: &str) -> Option<String> {
    let (name, suffix) = text.strip_prefix(OURS)?.rsplit_once('-')?;
    let random = (suffix.len() == SUFFIX_DIGITS).then(|| bytes(suffix)).flatten()?;
    Some(format!("{TIGHT}{name}-{}", URL_SAFE_NO_PAD.encode(random)))
}

fn loose(rest: &str) -> Option<String> {
    // The suffix may have a dash of its own.
    let at = rest.len().checked_sub(SUFFIX_DIGITS * 2 / 3 + 1)?;
    let (name, suffix) = (rest.get(..at)?.strip_suffix('-')?, rest.get(at..)?);
    let random = URL_SAFE_NO_PAD.decode(suffix).ok()?;
    Some(format!("{OURS}{name}-{}", hallmark_policy::hex(&random)))
}

/// The bytes of lower-case hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let lower = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    let pairs = digits.as_bytes().chunks_exact(2).map(|pair| {
        let text = std::str::from_utf8(pair).map_err(|_| Unspecified)?;
        u8::from_str_radix(text, 16).map_err(|_| Unspecified)
    });
    digits.bytes().all(lower).then(|| pairs.collect::<Result<_, _>>().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &str) -> Option<String> {
        let stored = stored(&KeyLabel::parse(text).unwrap()).unwrap();
        assert!(stored.len() <= LABEL_BYTES, "{text}");
        read(&stored).map(|label| label.to_string())
    }

    #[test]
    fn a_label_is_read_back_as_it_was() {
        for text in [
            "issuer",
            "hallmark-athenz-epoch-1-0123456789abcdef",
            "hallmark-athenz-epoch-1000-ffffffffffffffff",
            "hallmark-an-authority.x-epoch-9999-0000000000000000",
            "hallmark-athenz-intermediate-fbfbfbfbfbfbfbfb",
        ] {
            assert_eq!(again(text).as_deref(), Some(text));
        }
    }

    #[test]
    fn a_label_that_does_not_fit_is_refused_in_words() {
        for text in [
            "an-operator-s-own-label-of-more-than-forty-bytes",
            "hallmark-an-authority-with-a-very-long-name-epoch-1-0123456789abcdef",
            "hallmark-athenz-epoch-1000-0123456789abcdeg-and",
        ] {
            let error = stored(&KeyLabel::parse(text).unwrap()).unwrap_err();
            assert!(error.to_string().contains(text) && error.to_string().contains("shorter name"), "{error}");
        }
    }

    #[test]
    fn what_this_signer_did_not_write_is_no_label() {
        // Whatever fits is not written tightly, too: one label has one form.
        for stored in [&b"~a-AAAAAAAAAAA"[..], b"~", b"~-", b"a b", b"\xff", b"", b"~athenz-epoch-1000-AAAAAAAAAAB"] {
            assert_eq!(read(stored), None, "{stored:?}");
        }
    }

    proptest! {
        #[test]
        fn every_label_of_an_authority_that_fits_is_read_back(
            name in "[a-z0-9][a-z0-9.-]{0,14}", generation in 1_u32..10_000, suffix in "[0-9a-f]{16}",
        ) {
            let text = format!("hallmark-{name}-epoch-{generation}-{suffix}");
            prop_assert_eq!(again(&text), Some(text));
        }

        #[test]
        fn no_bytes_make_the_reader_panic(stored in proptest::collection::vec(any::<u8>(), 0..50)) {
            read(&stored);
        }
    }
}
