//! A directory with the certificates of an epoch: written by `rotate` and `epoch prepare`, read by `verify-chain`.

use std::path::{Path, PathBuf};

use crate::{
    files::{self, FileError, Target},
    pem,
};

/// The intermediate CA certificate.
pub(crate) const INTERMEDIATE: &str = "intermediate.pem";
/// The mesh CA certificate.
pub(crate) const MESH_CA: &str = "mesh-ca.pem";
/// The root CA certificate.
pub(crate) const ROOT: &str = "root.pem";
/// The receipt of the entry from which on the epoch is active.
pub(crate) const RECEIPT: &str = "receipt.txt";
/// That entry.
pub(crate) const ENTRY: &str = "entry.json";
/// The root's newest CRL.
pub(crate) const ROOT_CRL: &str = "root.crl";
/// What an offline root has to sign.
pub(crate) const REQUEST: &str = "intermediate.csr";

/// A directory that will be written into.
#[derive(Clone, Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    overwrite: bool,
}

impl Directory {
    /// Makes it, and refuses early what could not be written later.
    pub(crate) fn new(path: &Path, overwrite: bool, names: &[&str]) -> Result<Self, FileError> {
        files::make_directory(path)?;
        for name in names {
            Target::new(&path.join(name), overwrite)?;
        }
        Ok(Self { path: path.to_owned(), overwrite })
    }

    /// Writes the files that have content, and gives their paths.
    pub(crate) fn write(&self, contents: &[(&str, Vec<u8>)]) -> Result<Vec<PathBuf>, FileError> {
        let mut written = Vec::new();
        for (name, content) in contents.iter().filter(|(_, content)| !content.is_empty()) {
            let target = Target::new(&self.path.join(name), self.overwrite)?;
            target.write(content)?;
            written.push(target.path().to_owned());
        }
        Ok(written)
    }
}

/// The certificates of an epoch, PEM, as files of a directory. What is empty is left out.
pub(crate) fn certificates(root: &[u8], intermediate: &[u8], mesh_ca: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    [(INTERMEDIATE, intermediate), (MESH_CA, mesh_ca), (ROOT, root)].map(|(name, der)| (name, one(der))).to_vec()
}

/// What an offline root has to sign, PEM, as a file of a directory.
pub(crate) fn request(der: &[u8]) -> (&'static str, Vec<u8>) {
    (REQUEST, if der.is_empty() { Vec::new() } else { pem::request(der).into_bytes() })
}

/// The root's CRL, PEM, as a file of a directory.
pub(crate) fn root_crl(der: &[u8]) -> (&'static str, Vec<u8>) {
    (ROOT_CRL, if der.is_empty() { Vec::new() } else { pem::crl(der).into_bytes() })
}

fn one(der: &[u8]) -> Vec<u8> {
    if der.is_empty() { Vec::new() } else { pem::certificates([der]).into_bytes() }
}
