//! What a key is called where it is stored.

use std::{fmt, str::FromStr};

use hallmark_aws_kms::KeyId;

/// Longest label of a key, in bytes: enough for the longest name of an authority. File systems have 255, PKCS#11 has no bound; devices with a shorter one refuse it.
pub const LABEL_BYTES_MAX: usize = 128;

/// Longest CKA_ID that is read, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// The human name of a key: 1 to [`LABEL_BYTES_MAX`] of `a-z A-Z 0-9 . _ -`, starting with a letter or digit.
///
/// It is a file's name in one backend and CKA_LABEL in the other, so it has what both take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel(String);

impl KeyLabel {
    /// Reads a label.
    ///
    /// # Errors
    /// If it is too long, or has another character.
    pub fn parse(text: &str) -> Result<Self, KeyReferenceError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if text.len() > LABEL_BYTES_MAX || !starts || !text.bytes().all(plain) {
            return Err(KeyReferenceError::Label);
        }
        Ok(Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a key is found again: `pkcs11:id=<hex>;object=<label>`, `yubihsm:id=<4 hex digits>;object=<label>`,
/// `aws-kms:id=<uuid>;object=<label>` or `software:<label>`.
///
/// A reference names, it does not prove: whoever opens a key also says which public key is expected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyReference {
    place: Place,
    label: KeyLabel,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Place {
    Pkcs11 { id: Vec<u8> },
    YubiHsm { id: u16 },
    AwsKms { id: KeyId },
    Software,
}

impl KeyReference {
    pub(crate) fn pkcs11(id: Vec<u8>, label: KeyLabel) -> Result<Self, KeyReferenceError> {
        if id.is_empty() || id.len() > ID_BYTES_MAX {
            return Err(KeyReferenceError::Id);
        }
        Ok(Self { place: Place::Pkcs11 { id }, label })
    }

    pub(crate) fn yubihsm(id: u16, label: KeyLabel) -> Self {
        Self { place: Place::YubiHsm { id }, label }
    }

    pub(crate) fn aws_kms(id: KeyId, label: KeyLabel) -> Self {
        Self { place: Place::AwsKms { id }, label }
    }

    pub(crate) fn software(label: KeyLabel) -> Self {
        Self { place: Place::Software, label }
    }

    /// The key's label.
    #[must_use]
    pub fn label(&self) -> &KeyLabel {
        &self.label
    }

    /// CKA_ID, 1 to [`ID_BYTES_MAX`] bytes, if the key lives in a token.
    #[must_use]
    pub fn pkcs11_id(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Pkcs11 { id } => Some(id),
            Place::YubiHsm { .. } | Place::AwsKms { .. } | Place::Software => None,
        }
    }

    /// The object's number, if the key lives in a YubiHSM.
    #[must_use]
    pub fn yubihsm_id(&self) -> Option<u16> {
        match &self.place {
            Place::YubiHsm { id } => Some(*id),
            Place::Pkcs11 { .. } | Place::AwsKms { .. } | Place::Software => None,
        }
    }

    /// The key's id, if the key lives in AWS KMS.
    #[must_use]
    pub fn aws_kms_id(&self) -> Option<&KeyId> {
        match &self.place {
            Place::AwsKms { id } => Some(id),
            Place::Pkcs11 { .. } | Place::YubiHsm { .. } | Place::Software => None,
        }
    }

    /// Whether the key lives in a file.
    pub(crate) fn is_software(&self) -> bool {
        self.place == Place::Software
    }
}

impl fmt::Display for KeyReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Pkcs11 { id } => write!(f, "pkcs11:id={};object={}", hallmark_policy::hex(id), self.label),
            Place::YubiHsm { id } => write!(f, "yubihsm:id={id:04x};object={}", self.label),
            Place::AwsKms { id } => write!(f, "aws-kms:id={id};object={}", self.label),
            Place::Software => write!(f, "software:{}", self.label),
        }
    }
}

impl FromStr for KeyReference {
    type Err = KeyReferenceError;

    fn from_str(text: &str) -> Result<Self, KeyReferenceError> {
        if let Some(label) = text.strip_prefix("software:") {
            return Ok(Self::software(KeyLabel::parse(label)?));
        }
        if let Some(rest) = text.strip_prefix("yubihsm:id=") {
            let (id, label) = rest.split_once(";object=").ok_or(KeyReferenceError::Form)?;
            let id = from_hex(id).and_then(|bytes| bytes.try_into().ok()).ok_or(KeyReferenceError::Number)?;
            return Ok(Self::yubihsm(u16::from_be_bytes(id), KeyLabel::parse(label)?));
        }
        if let Some(rest) = text.strip_prefix("aws-kms:id=") {
            let (id, label) = rest.split_once(";object=").ok_or(KeyReferenceError::Form)?;
            return Ok(Self::aws_kms(KeyId::parse(id).ok_or(KeyReferenceError::Uuid)?, KeyLabel::parse(label)?));
        }
        let rest = text.strip_prefix("pkcs11:id=").ok_or(KeyReferenceError::Form)?;
        let (id, label) = rest.split_once(";object=").ok_or(KeyReferenceError::Form)?;
        Self::pkcs11(from_hex(id).ok_or(KeyReferenceError::Id)?, KeyLabel::parse(label)?)
    }
}

/// Why a text names no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyReferenceError {
    /// None of the four forms.
    #[error(
        "a key is named `pkcs11:id=<hex>;object=<label>`, `yubihsm:id=<4 hex digits>;object=<label>`, `aws-kms:id=<uuid>;object=<label>` or `software:<label>`"
    )]
    Form,
    /// The label is too long or has other characters.
    #[error("a key's label has 1 to {LABEL_BYTES_MAX} of a-z A-Z 0-9 . _ - and starts with a letter or digit")]
    Label,
    /// CKA_ID is no lower-case hex or has another length.
    #[error("a key's id is 1 to {ID_BYTES_MAX} bytes in lower-case hex")]
    Id,
    /// The number of an object is no two bytes of lower-case hex.
    #[error("the number of a YubiHSM's object is four digits of lower-case hex")]
    Number,
    /// The id of a key in AWS KMS is no UUID.
    #[error("the id of a key in AWS KMS is a UUID in lower-case hex, and none of a multi-Region key")]
    Uuid,
    /// The reference belongs to another backend.
    #[error("the key reference belongs to another key backend than the configured one")]
    OtherBackend,
}

/// Reads lower-case hex, at most [`ID_BYTES_MAX`] bytes; one key has one name, so upper case is not read.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() > 2 * ID_BYTES_MAX || !text.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.bytes().map(digit).collect::<Option<_>>()?;
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reference_is_read_as_it_was_written() {
        for text in [
            "pkcs11:id=00ff7a;object=root-2026.a",
            "yubihsm:id=40ff;object=root",
            "aws-kms:id=1234abcd-12ab-34cd-56ef-1234567890ab;object=root",
            "software:epoch_7",
        ] {
            assert_eq!(text.parse::<KeyReference>().unwrap().to_string(), text);
        }
        let read: KeyReference = "pkcs11:id=00ff7a;object=root".parse().unwrap();
        assert_eq!(read.pkcs11_id(), Some(&[0x00, 0xff, 0x7a][..]));
    }

    #[test]
    fn what_could_leave_the_directory_or_name_one_key_twice_is_refused() {
        let bad = [
            ("", KeyReferenceError::Form),
            ("software:", KeyReferenceError::Label),
            ("software:../root", KeyReferenceError::Label),
            ("software:.root", KeyReferenceError::Label),
            ("software:a b", KeyReferenceError::Label),
            ("pkcs11:id=;object=a", KeyReferenceError::Id),
            ("pkcs11:id=0;object=a", KeyReferenceError::Id),
            ("pkcs11:id=AA;object=a", KeyReferenceError::Id),
            ("pkcs11:id=aa", KeyReferenceError::Form),
            ("pkcs11:id=aa;object=a;type=private", KeyReferenceError::Label),
            ("yubihsm:id=40ff", KeyReferenceError::Form),
            ("yubihsm:id=40f;object=a", KeyReferenceError::Number),
            ("yubihsm:id=40FF;object=a", KeyReferenceError::Number),
            ("yubihsm:id=40ff;object=", KeyReferenceError::Label),
            ("aws-kms:id=40ff;object=a", KeyReferenceError::Uuid),
            ("aws-kms:id=1234ABCD-12ab-34cd-56ef-1234567890ab;object=a", KeyReferenceError::Uuid),
            ("aws-kms:id=1234abcd-12ab-34cd-56ef-1234567890ab;object=", KeyReferenceError::Label),
        ];
        for (text, error) in bad {
            assert_eq!(text.parse::<KeyReference>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(pkcs11:id=|yubihsm:id=|aws-kms:id=|software:)?.{0,200}") {
            if let Ok(reference) = text.parse::<KeyReference>() {
                prop_assert_eq!(reference.to_string(), text);
            }
        }
    }
}
