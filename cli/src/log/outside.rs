//! What is outside of a log: certificates, CRLs, and what a device says.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use hallmark_entry::sha256;
use hallmark_policy::crl::CRL_BYTES_MAX;

use super::{about, device_log::DeviceLog};
use crate::{
    arguments::ReconcileArguments,
    certificate::{CertificateView, CrlView},
    files::{self, FileError},
    pem,
    problem::Problem,
};

/// Largest file with a CRL, in bytes: PEM takes a third more than the largest CRL that a signer makes.
const CRL_FILE_BYTES_MAX: usize = 2 * CRL_BYTES_MAX;

/// Largest file with certificates, in bytes: some 40,000.
const CERTIFICATES_BYTES_MAX: usize = 64 << 20;

/// What is outside.
pub(super) struct Outside {
    /// Digests of certificates at hand that the issuer signed, with the file each came from; those found in the log leave.
    pub(super) missing: HashMap<String, PathBuf>,
    /// CRLs, by the digest of what was signed.
    pub(super) missing_crls: HashMap<String, PathBuf>,
    /// Serials that CRLs revoke; those that were issued leave.
    pub(super) unknown_serials: HashSet<Vec<u8>>,
    /// What the device logged.
    pub(super) device: Option<DeviceLog>,
    /// How often the device signed, as it says or as its log does.
    pub(super) counter: Option<u64>,
    /// Entries that were not read: what is not in the others may be in these.
    pub(super) pruned_before: u64,
    pub(super) certificates: usize,
    pub(super) of_others: usize,
    pub(super) crls: usize,
    pub(super) revoked: usize,
}

impl Outside {
    /// Reads all of it.
    pub(super) fn read(
        arguments: &ReconcileArguments,
        issuer: &CertificateView,
        pruned_before: u64,
    ) -> Result<Self, Problem> {
        let read = |path: &PathBuf| DeviceLog::read(path, arguments.device_key);
        let device = arguments.device_log.as_ref().map(read).transpose()?;
        let counter = arguments.counter.or_else(|| device.as_ref().map(|device| device.signatures));
        let mut outside = Self {
            missing: HashMap::new(),
            missing_crls: HashMap::new(),
            unknown_serials: HashSet::new(),
            certificates: 0,
            of_others: 0,
            crls: 0,
            revoked: 0,
            device,
            counter,
            pruned_before,
        };
        for path in files_of(&arguments.certificates)? {
            outside.read_certificates(&path, issuer)?;
        }
        for path in &arguments.crl {
            outside.read_crl(path, issuer)?;
        }
        Ok(outside)
    }

    fn read_certificates(&mut self, path: &Path, issuer: &CertificateView) -> Result<(), Problem> {
        let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "certificates" };
        for der in pem::all(&files::read_up_to(path, CERTIFICATES_BYTES_MAX)?).ok_or_else(unexpected)? {
            let certificate = CertificateView::read(&der).ok_or_else(unexpected)?;
            if certificate.is_signed_by(issuer) {
                self.certificates += 1;
                self.missing.insert(about::digest(&certificate), path.to_owned());
            } else {
                self.of_others += 1;
            }
        }
        Ok(())
    }

    fn read_crl(&mut self, path: &Path, issuer: &CertificateView) -> Result<(), Problem> {
        let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "CRL of this issuer" };
        let der = pem::first(&files::read_up_to(path, CRL_FILE_BYTES_MAX)?).ok_or_else(unexpected)?;
        let crl = CrlView::read(&der).filter(|crl| crl.is_signed_by(issuer)).ok_or_else(unexpected)?;
        self.crls += 1;
        self.revoked += crl.serials.len();
        self.unknown_serials.extend(crl.serials);
        self.missing_crls.insert(hallmark_policy::hex(&sha256(&crl.to_be_signed)), path.to_owned());
        Ok(())
    }
}

/// The files that were named, and those in directories that were.
fn files_of(named: &[PathBuf]) -> Result<Vec<PathBuf>, Problem> {
    let mut found = Vec::new();
    for path in named {
        if path.is_dir() {
            let failed = |source| FileError::Read { path: path.clone(), source };
            for file in fs::read_dir(path).map_err(failed)? {
                found.push(file.map_err(failed)?.path());
            }
        } else {
            found.push(path.clone());
        }
    }
    found.sort();
    Ok(found)
}
