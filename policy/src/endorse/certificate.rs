//! Certificates, read back.

use num_bigint::BigInt;
use rasn_pkix::{TbsCertificate, Version};

use super::{extensions, field, read};
use crate::{
    content::{CertificateContent, EpochBinding, Extension},
    name::DistinguishedName,
    readback::{self, is_encoded},
    time::Interval,
};

/// Largest TBSCertificate that is endorsed, in bytes.
pub const TBS_BYTES_MAX: usize = 65_535;

/// The first field in which a TBSCertificate differs from its approved content.
pub(super) fn difference(content: &CertificateContent, draft: &[u8]) -> Option<&'static str> {
    let read: TbsCertificate = match read(draft, TBS_BYTES_MAX) {
        Ok(read) => read,
        Err(what) => return Some(what),
    };
    field("version", read.version == Version::V3)
        .or_else(|| field("serialNumber", serial_is(content, &read)))
        .or_else(|| field("signature", is_encoded(&read.signature, Ok(content.algorithm.identifier()))))
        .or_else(|| field("issuer", is_encoded(&read.issuer, readback::name(&content.issuer))))
        .or_else(|| field("notBefore", readback::says(&read.validity.not_before, content.validity.not_before)))
        .or_else(|| field("notAfter", readback::says(&read.validity.not_after, content.validity.not_after)))
        .or_else(|| field("subject", is_encoded(&read.subject, readback::name(&content.subject))))
        .or_else(|| field("subjectPublicKeyInfo", is_encoded(&read.subject_public_key_info, Ok(content.key.spki()))))
        .or_else(|| field("issuerUniqueID", read.issuer_unique_id.is_none()))
        .or_else(|| field("subjectUniqueID", read.subject_unique_id.is_none()))
        .or_else(|| extensions::difference(&content.extensions, read.extensions.as_ref()))
}

fn serial_is(content: &CertificateContent, read: &TbsCertificate) -> bool {
    BigInt::from(read.serial_number.clone()).to_signed_bytes_be() == content.serial.as_bytes()
}

/// Reads any TBSCertificate; for fuzzing the decoder.
pub fn read_back(draft: &[u8]) -> bool {
    read::<TbsCertificate>(draft, TBS_BYTES_MAX).is_ok()
}

/// The serial number of a TBSCertificate that was endorsed and stored, big-endian.
#[must_use]
pub fn stored_serial(to_be_signed: &[u8]) -> Option<Vec<u8>> {
    let read: TbsCertificate = rasn::der::decode(to_be_signed).ok()?;
    Some(BigInt::from(read.serial_number).to_signed_bytes_be())
}

/// Whether a TBSCertificate that was endorsed and stored binds this epoch, byte for byte.
#[must_use]
pub fn stored_binding_is(to_be_signed: &[u8], binding: EpochBinding) -> bool {
    let Ok(read) = rasn::der::decode::<TbsCertificate>(to_be_signed) else { return false };
    let Ok(expected) = readback::extension(&Extension::EpochBinding(binding)) else { return false };
    let mut found = read.extensions.iter().flat_map(|extensions| extensions.iter());
    found.any(|found| found.extn_id.as_ref() == &*expected.arcs && found.extn_value.as_ref() == expected.value)
}

/// The validity of a TBSCertificate that was endorsed and stored.
#[must_use]
pub fn stored_validity(to_be_signed: &[u8]) -> Option<Interval> {
    let read: TbsCertificate = rasn::der::decode(to_be_signed).ok()?;
    Some(readback::interval(&read.validity))
}

/// Whether a TBSCertificate that was endorsed and stored has this subject, byte for byte.
#[must_use]
pub fn stored_subject_is(to_be_signed: &[u8], subject: &DistinguishedName) -> bool {
    rasn::der::decode::<TbsCertificate>(to_be_signed)
        .ok()
        .is_some_and(|read| is_encoded(&read.subject, readback::name(subject)))
}
