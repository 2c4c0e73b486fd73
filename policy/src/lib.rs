//! What may be signed: requests are read, a profile decides, and a draft is read back before anything is committed.
//!
//! This crate does no IO, reads no clock and draws no random numbers: time and serials are arguments. `clippy.toml` beside
//! it makes files, sockets, clocks and environment errors. It depends on no other crate of this project, and its
//! decoder (`rasn`) is not the encoder that writes certificates (`x509-cert`, in `issuance`).
//!
//! The values, each made in one place only: [`Request`] by [`Request::parse`], [`Approved`] by [`decide`],
//! [`authority::decide_ca`], [`decide_crl`], [`decide_request`] and those in [`ceremony`], [`Warrant`] by [`endorse`]. None of the last two can be
//! cloned.

pub mod approved;
pub mod authority;
mod bounds;
pub mod caller;
pub mod ceremony;
pub mod certification_request;
pub mod claim;
pub mod constraint;
pub mod content;
pub mod crl;
mod csr;
mod decide;
mod decide_crl;
pub mod email;
mod endorse;
pub mod evidence;
pub mod file;
pub mod instance;
pub mod ip;
pub mod key;
pub mod limits;
mod lines;
pub mod manifest;
pub mod meaning;
mod mistake;
pub mod name;
mod names;
pub mod offline;
pub mod oid;
mod overlap;
pub mod owner;
mod possession;
pub mod profile;
mod readback;
mod reading;
pub mod reason;
mod request;
pub mod said;
mod signed;
pub mod strict;
pub mod template;
pub mod time;
mod typed;
pub mod weak;
pub mod web;
mod well_formed;

pub use approved::{
    Approved, Conditions, Decision, EpochId, Facts, NameClaim, Numbering, Refusal, RequestIdentity, Stage,
};
pub use bounds::Bounds;
pub use caller::Caller;
pub use certification_request::decide_request;
pub use claim::ClaimInput;
pub use csr::CSR_BYTES_MAX;
pub use decide::{Issuer, admit, decide, facts, may_refresh, provider};
pub use decide_crl::{
    CrlIssuer, CrlRequest, NEXT_UPDATE_BEYOND_ISSUER_MAX, PreviousCrl, Revocation, SIGNER, decide_crl,
};
pub use endorse::{
    Disagreement, TBS_BYTES_MAX, Warrant, endorse, read_back, read_back_crl, read_back_request, stored_binding_is,
    stored_serial, stored_subject_is, stored_validity,
};
pub use manifest::Manifest;
pub use possession::decide_possession;
pub use profile::{Method, Policy};
pub use reason::{Reason, ReasonCode};
pub use request::{LABEL_BYTES_MAX, NameInput, REQUEST_ID_BYTES_MAX, Request, RequestInput, SubjectInput};
pub use signed::to_be_signed;

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |number: u8| char::from_digit(u32::from(number), 16).unwrap_or_default();
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| text.extend([digit(byte >> 4), digit(byte & 15)]));
    text
}
