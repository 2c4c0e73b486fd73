//! Endorsing: a draft is read back and compared with what was approved, field by field, before it becomes a warrant.

use num_bigint::BigInt;
use rasn_pkix::{TbsCertificate, Version};

use crate::{
    approved::{Approved, Conditions, Facts},
    content::Content,
    key::{PublicKey, arcs},
    name::DistinguishedName,
    readback::{self, Expected},
    time::Interval,
};

/// Largest TBSCertificate that is endorsed, in bytes.
pub const TBS_BYTES_MAX: usize = 65_535;

/// Bytes that may be signed, once, by one key, if the ledger commits them. Made only by [`endorse`]; not `Clone`.
#[derive(Debug)]
pub struct Warrant {
    approved: Approved,
    to_be_signed: Vec<u8>,
}

impl Warrant {
    /// The DER of the TBSCertificate.
    #[must_use]
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// What it says.
    #[must_use]
    pub fn content(&self) -> &Content {
        self.approved.content()
    }

    /// The key that is to sign it.
    #[must_use]
    pub fn issuer(&self) -> &PublicKey {
        self.approved.issuer()
    }

    /// What must hold for it to be committed.
    #[must_use]
    pub fn conditions(&self) -> &Conditions {
        &self.approved.conditions
    }

    /// What the log says about its request.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        &self.approved.facts
    }

    /// Takes it apart: its use.
    #[must_use]
    pub fn into_parts(self) -> (Vec<u8>, Content, Conditions, Facts) {
        (self.to_be_signed, self.approved.content, self.approved.conditions, self.approved.facts)
    }
}

/// How a draft differs from what was approved. Nothing was signed; the defect is the signer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft differs from what was approved in {field}; nothing was signed: report this as a defect")]
pub struct Disagreement {
    /// The first field that differs, in the words of RFC 5280.
    pub field: &'static str,
    /// What was approved comes back, so that the refusal can be logged.
    pub facts: Box<Facts>,
}

/// Reads `draft` back, encodes the result again to the same bytes, and compares every field and extension.
///
/// # Errors
/// [`Disagreement`] names the first field that differs.
pub fn endorse(approved: Approved, draft: Vec<u8>) -> Result<Warrant, Disagreement> {
    match difference(&approved.content, &draft) {
        None => Ok(Warrant { approved, to_be_signed: draft }),
        Some(field) => Err(Disagreement { field, facts: Box::new(approved.facts) }),
    }
}

/// The first field in which a TBSCertificate differs from its approved content.
fn difference(content: &Content, draft: &[u8]) -> Option<&'static str> {
    if draft.len() > TBS_BYTES_MAX {
        return Some("its length");
    }
    let Ok(read) = rasn::der::decode::<TbsCertificate>(draft) else { return Some("its syntax") };
    if rasn::der::encode(&read).ok().as_deref() != Some(draft) {
        return Some("its encoding");
    }
    let field = |name: &'static str, same: bool| if same { None } else { Some(name) };
    let encoded = |value: &rasn_pkix::Name| rasn::der::encode(value).ok();
    field("version", read.version == Version::V3)
        .or_else(|| field("serialNumber", serial_is(content, &read)))
        .or_else(|| field("signature", algorithm_is(content, &read)))
        .or_else(|| field("issuer", encoded(&read.issuer) == readback::name(&content.issuer).ok()))
        .or_else(|| field("notBefore", readback::says(&read.validity.not_before, content.validity.not_before)))
        .or_else(|| field("notAfter", readback::says(&read.validity.not_after, content.validity.not_after)))
        .or_else(|| field("subject", encoded(&read.subject) == readback::name(&content.subject).ok()))
        .or_else(|| field("subjectPublicKeyInfo", key_is(content, &read)))
        .or_else(|| field("issuerUniqueID", read.issuer_unique_id.is_none()))
        .or_else(|| field("subjectUniqueID", read.subject_unique_id.is_none()))
        .or_else(|| extensions_differ(content, &read))
}

fn serial_is(content: &Content, read: &TbsCertificate) -> bool {
    BigInt::from(read.serial_number.clone()).to_signed_bytes_be() == content.serial.as_bytes()
}

fn algorithm_is(content: &Content, read: &TbsCertificate) -> bool {
    rasn::der::encode(&read.signature).is_ok_and(|der| der == readback::algorithm_identifier(content.algorithm))
}

fn key_is(content: &Content, read: &TbsCertificate) -> bool {
    rasn::der::encode(&read.subject_public_key_info).is_ok_and(|der| der == content.key.spki())
}

/// The extensions must be exactly the approved ones, in their order: nothing missing, nothing else, nothing twice.
fn extensions_differ(content: &Content, read: &TbsCertificate) -> Option<&'static str> {
    let found: Vec<_> = read.extensions.iter().flat_map(|list| list.iter()).collect();
    if found.len() != content.extensions.len() {
        return Some("the number of extensions");
    }
    for (found, approved) in found.iter().zip(&content.extensions) {
        let Ok(Expected { arcs: oid, critical, value }) = readback::extension(approved) else {
            return Some("an extension that cannot be encoded");
        };
        if arcs(&found.extn_id) != &*oid {
            return Some("which extensions there are");
        }
        if found.critical != critical {
            return Some("whether an extension is critical");
        }
        if *found.extn_value != *value {
            return Some("the value of an extension");
        }
    }
    let twice =
        found.iter().enumerate().any(|(at, one)| found.iter().take(at).any(|other| other.extn_id == one.extn_id));
    twice.then_some("an extension that stands twice")
}

/// Reads any TBSCertificate; for fuzzing the decoder.
pub fn read_back(draft: &[u8]) -> bool {
    rasn::der::decode::<TbsCertificate>(draft).is_ok_and(|read| rasn::der::encode(&read).ok().as_deref() == Some(draft))
}

/// The serial number of a TBSCertificate that was endorsed and stored, big-endian.
#[must_use]
pub fn stored_serial(to_be_signed: &[u8]) -> Option<Vec<u8>> {
    let read: TbsCertificate = rasn::der::decode(to_be_signed).ok()?;
    Some(BigInt::from(read.serial_number).to_signed_bytes_be())
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
        .and_then(|read| rasn::der::encode(&read.subject).ok())
        .is_some_and(|der| Some(der) == readback::name(subject).ok())
}
