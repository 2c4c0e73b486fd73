//! The files that a data owner gives, read.

use std::path::{Path, PathBuf};

use hallmark_chain::{CERTIFICATE_BYTES_MAX, CRL_BYTES_MAX, Evidence, History, LeafEvidence, Report, Start, verify};
use hallmark_policy::{
    manifest::{MANIFEST_BYTES_MAX, Manifest},
    name::GeneralName,
    time::UnixTime,
};

use crate::{
    arguments::VerifyChainArguments,
    bundle,
    files::{self, FileError},
    hex, pem,
    problem::Problem,
    settings::SettingsError,
    when,
};

/// PEM takes a third more than DER, and a leaf's chain may follow it.
const CERTIFICATE_FILE_BYTES_MAX: usize = 8 * CERTIFICATE_BYTES_MAX;
const CRL_FILE_BYTES_MAX: usize = 2 * CRL_BYTES_MAX;

/// A file and its content.
type File = (PathBuf, Vec<u8>);

/// A policy hash, and the names that the last manifest has for it: none where it has no such policy.
type Entry = ([u8; 32], Option<Vec<GeneralName>>);

/// Everything that was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) root_sha256: [u8; 32],
    pub(super) history: History,
    root: Vec<u8>,
    intermediate: Vec<u8>,
    mesh_ca: Vec<u8>,
    /// Each with its name.
    leaves: Vec<(String, Vec<u8>)>,
    entry: Option<Entry>,
    root_crl: Option<Vec<u8>>,
    at: UnixTime,
}

impl Given {
    /// Reads all of it.
    pub(super) fn read(arguments: &VerifyChainArguments) -> Result<Self, Problem> {
        let (history, last) = history(arguments)?;
        let (root_sha256, root) = root(arguments)?;
        let place = |name, path: &Option<PathBuf>| match &arguments.bundle {
            Some(directory) => Some(directory.join(name)),
            None => path.clone(),
        };
        let required = |name: &'static str, path| {
            place(name, path).ok_or(SettingsError::Missing { what: "the epoch", name: "bundle" })
        };
        let leaf = |path: &PathBuf| Ok((path.display().to_string(), certificate(path)?));
        Ok(Self {
            intermediate: certificate(&required(bundle::INTERMEDIATE, &arguments.intermediate)?)?,
            mesh_ca: certificate(&required(bundle::MESH_CA, &arguments.mesh_ca)?)?,
            leaves: arguments.leaf.iter().map(leaf).collect::<Result<_, FileError>>()?,
            entry: arguments.policy_hash.map(|hash| entry(hash, last)).transpose()?,
            root_crl: arguments.root_crl.as_deref().map(crl).transpose()?,
            at: arguments.at.unwrap_or_else(|| UnixTime::from_secs(when::now_millis().div_euclid(1_000))),
            root_sha256,
            root,
            history,
        })
    }

    /// What comes of it.
    pub(super) fn judge(&self) -> Report {
        let entry = self.entry.as_ref().map(|(hash, names)| (*hash, names.as_deref()));
        let leaf = |(name, certificate)| LeafEvidence { name, certificate, entry };
        let leaves: Vec<_> = self.leaves.iter().map(|(name, der)| leaf((name, der))).collect();
        verify(&Evidence {
            root_sha256: self.root_sha256,
            root: &self.root,
            intermediate: &self.intermediate,
            mesh_ca: &self.mesh_ca,
            history: &self.history,
            leaves: &leaves,
            root_crl: self.root_crl.as_deref(),
            at: Some(self.at),
        })
    }
}

/// The chain of manifests, and the last one with its path.
fn history(arguments: &VerifyChainArguments) -> Result<(History, Option<File>), Problem> {
    let mut history = History::new(arguments.from_transition.map_or(Start::Genesis, Start::Transition));
    let authority = arguments.authority.as_deref().unwrap_or_default();
    for generation in &arguments.generations {
        history = history.then_generation(authority, *generation);
    }
    let mut last = None;
    for path in &arguments.manifest {
        let bytes = files::read_up_to(path, MANIFEST_BYTES_MAX)?;
        history = history.then(hallmark_entry::sha256(&bytes));
        last = Some((path.clone(), bytes));
    }
    Ok((history, last))
}

/// The digest of the root that is trusted, and the root that is judged by it.
fn root(arguments: &VerifyChainArguments) -> Result<([u8; 32], Vec<u8>), Problem> {
    let of_bundle =
        arguments.bundle.as_ref().map(|directory| directory.join(bundle::ROOT)).filter(|path| path.exists());
    let beside = arguments.root_certificate.clone().or(of_bundle);
    if let Ok(pinned) = hex::digest(&arguments.root) {
        let path = beside.ok_or(SettingsError::NoRootCertificate)?;
        return Ok((pinned, certificate(&path)?));
    }
    let pinned = certificate(Path::new(&arguments.root))?;
    let digest = hallmark_entry::sha256(&pinned);
    Ok((digest, beside.map(|path| certificate(&path)).transpose()?.unwrap_or(pinned)))
}

/// The names that the last manifest has for a policy hash; none if it has no such policy.
fn entry(hash: [u8; 32], last: Option<File>) -> Result<Entry, Problem> {
    let Some((path, bytes)) = last else { return Ok((hash, None)) };
    let manifest = Manifest::parse(&bytes).map_err(|error| Problem::ManifestUnread { path, error })?;
    Ok((hash, manifest.workload(&hash).map(|workload| workload.names().to_vec())))
}

fn certificate(path: &Path) -> Result<Vec<u8>, FileError> {
    let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "certificate in PEM or DER" };
    pem::first_certificate(&files::read_up_to(path, CERTIFICATE_FILE_BYTES_MAX)?).ok_or_else(unexpected)
}

fn crl(path: &Path) -> Result<Vec<u8>, FileError> {
    let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "CRL in PEM or DER" };
    pem::der_of(&files::read_up_to(path, CRL_FILE_BYTES_MAX)?).ok_or_else(unexpected)
}
