//! Endorsing: a draft is read back and compared with what was approved, field by field, before it becomes a warrant.

mod certificate;
mod crl;
mod extensions;
mod request;

pub use certificate::{TBS_BYTES_MAX, read_back, stored_binding_is, stored_serial, stored_subject_is, stored_validity};
pub use crl::read_back_crl;
pub use request::read_back_request;

use rasn::{Decode, Encode};

use crate::{
    approved::{Approved, Conditions, Facts},
    certification_request::RequestContent,
    content::{CertificateContent, Content},
    key::PublicKey,
};

/// Bytes that may be signed, once, by one key, if the ledger commits them. Made only by [`endorse`]; not `Clone`.
#[derive(Debug)]
pub struct Warrant {
    approved: Approved,
    to_be_signed: Vec<u8>,
}

impl Warrant {
    /// The DER of the TBSCertificate, TBSCertList or CertificationRequestInfo.
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

/// The first field in which a draft differs from its approved content.
fn difference(content: &Content, draft: &[u8]) -> Option<&'static str> {
    match content {
        Content::Certificate(content) => certificate::difference(content, draft),
        Content::Crl(content) => crl::difference(content, draft),
        Content::Request(content) => request::difference(content, draft),
    }
}

/// The first field in which a certificate that was made elsewhere differs from what it must say.
pub(crate) fn stored_difference(content: &CertificateContent, to_be_signed: &[u8]) -> Option<&'static str> {
    certificate::difference(content, to_be_signed)
}

/// The first field in which a CertificationRequestInfo that was made elsewhere differs from what it must say.
pub(crate) fn request_difference(content: &RequestContent, info: &[u8]) -> Option<&'static str> {
    request::difference(content, info)
}

/// Reads a structure that is the one encoding of what it says.
pub(crate) fn read<T: Decode + Encode>(draft: &[u8], bytes_max: usize) -> Result<T, &'static str> {
    if draft.len() > bytes_max {
        return Err("its length");
    }
    let read: T = rasn::der::decode(draft).map_err(|_| "its syntax")?;
    if rasn::der::encode(&read).ok().as_deref() == Some(draft) { Ok(read) } else { Err("its encoding") }
}

/// The name of a field that is not the same.
fn field(name: &'static str, same: bool) -> Option<&'static str> {
    if same { None } else { Some(name) }
}
