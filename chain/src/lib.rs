//! What a data owner checks who trusts nobody: that two CA certificates are the two halves of one epoch under a root they
//! know, that the epoch is bound to the manifests they read, and that a leaf comes from it.
//!
//! This crate does no IO and reads no clock: files and time are arguments. It never says that something holds which it did
//! not look at: every [`Report`] has a list of what it leaves unproven, in sentences. It does not share a reader with the
//! signer's own checks of what it signs; what it has from `policy` are the rule of transitions, keys and names.
//!
//! Begin with [`verify`].

mod binding;
mod ca;
mod certificate;
mod claim;
mod crl;
mod finding;
mod history;
mod leaf;
mod limit;
mod report;
mod verify;

pub use certificate::{CERTIFICATE_BYTES_MAX, CertificateError};
pub use claim::Claim;
pub use crl::{CRL_BYTES_MAX, CrlError};
pub use finding::Finding;
pub use history::{History, Start};
pub use limit::Limit;
pub use report::{Check, Report, Role};
pub use verify::{Evidence, LeafEvidence, verify};
