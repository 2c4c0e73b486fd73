//! Whether an entry is the decision to sign a certificate.

use std::path::Path;

use hallmark_entry::{Summary, sha256};

use crate::{
    certificate::{CertificateView, without_zeros},
    files::{self, FileError},
    hex, pem,
    problem::Problem,
};

/// A certificate that a user named.
pub(crate) fn read(path: &Path) -> Result<CertificateView, Problem> {
    let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "certificate" };
    let der = pem::first(&files::read(path)?).ok_or_else(unexpected)?;
    Ok(CertificateView::read(&der).ok_or_else(unexpected)?)
}

/// SHA-256 of the bytes that were signed, as entries have it.
pub(crate) fn digest(certificate: &CertificateView) -> String {
    hallmark_policy::hex(&sha256(&certificate.to_be_signed))
}

/// Whether the entry lets exactly this certificate be signed.
pub(crate) fn is_about(entry: &Summary, certificate: &CertificateView) -> bool {
    let serial = entry.serial.as_deref().and_then(hex::bytes);
    entry.kind == "decision"
        && entry.decision.as_deref() == Some("issued")
        && entry.tbs_sha256 == Some(digest(certificate))
        && serial.is_some_and(|serial| without_zeros(&serial) == certificate.serial)
}
