//! What is going to be asked of the signer, and of the owner.

use std::path::{Path, PathBuf};

use hallmark_chain::{History, Start};
use hallmark_policy::{
    key::{PublicKey, SpkiDigest},
    manifest::{MANIFEST_BYTES_MAX, Manifest},
    owner::RotationStatement,
    time::Span,
};
use hallmark_proto::signer::{GetChainRequest, RotateIntermediateRequest};

use super::owner::Consent;
use crate::{
    arguments::RotateArguments,
    certificate::CertificateView,
    chain,
    checks::{self, CheckError},
    config::Config,
    files::{self, FileError},
    pem,
    problem::Problem,
    screen::printable,
    settings::{ConnectionSettings, SettingsError, first},
    table::Table,
    when,
};

/// Where an authority stands: the transition that is to be replaced, and its root.
#[derive(Debug)]
struct Place {
    expected: [u8; 32],
    /// The root CA certificate, DER.
    root: Vec<u8>,
    /// The generation of the active epoch, where the signer was asked for it.
    asked: Option<u64>,
    /// Whether the root is the caller's own.
    root_is_ours: bool,
}

/// A rotation that is complete but for the owner's signature.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) authority: String,
    place: Place,
    path: PathBuf,
    bytes: Vec<u8>,
    manifest: Manifest,
    lifetime: Option<Span>,
    revoke_previous: bool,
    contrast: bool,
}

impl Plan {
    /// Reads the manifest, and asks the signer for what was not said.
    pub(crate) fn new(arguments: &RotateArguments, config: &Config) -> Result<Self, Problem> {
        let missing = SettingsError::Missing { what: "the authority", name: "authority" };
        let authority = first(&arguments.authority, &config.authority).ok_or(missing)?;
        let path = arguments.manifest.clone();
        let bytes = files::read_up_to(&path, MANIFEST_BYTES_MAX)?;
        let manifest = Manifest::parse(&bytes).map_err(|error| Problem::Manifest { path: path.clone(), error })?;
        Ok(Self {
            place: Place::find(arguments, &authority, config)?,
            authority,
            path,
            bytes,
            manifest,
            lifetime: arguments.lifetime,
            revoke_previous: arguments.revoke_previous,
            contrast: arguments.contrast,
        })
    }

    /// Whether the intermediate that is replaced goes on the root's CRL.
    pub(super) const fn revokes(&self) -> bool {
        self.revoke_previous
    }

    /// The transition that is to be replaced.
    pub(crate) fn expected(&self) -> [u8; 32] {
        self.place.expected
    }

    /// The root CA certificate, DER.
    pub(crate) fn root(&self) -> &[u8] {
        &self.place.root
    }

    /// The history that the new epoch has to be bound to.
    pub(crate) fn history(&self) -> History {
        let start =
            if self.place.expected == [0; 32] { Start::Genesis } else { Start::Transition(self.place.expected) };
        History::new(start).then(*self.manifest.digest())
    }

    /// The transition that it will be.
    pub(crate) fn transition(&self) -> [u8; 32] {
        self.history().transition()
    }

    /// What the owner signs.
    pub(crate) fn statement(&self) -> Result<Vec<u8>, Problem> {
        if self.contrast {
            return Ok(hallmark_policy::hex(&self.transition()).into_bytes());
        }
        let statement = RotationStatement {
            root: self.root_digest()?,
            transition: self.transition(),
            lifetime_seconds: self.lifetime.map_or(0, Span::secs),
            revoke_previous: self.revoke_previous,
        };
        Ok(statement.to_bytes())
    }

    /// Why a person should look at it before it is done, if there is a reason.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        if self.manifest.owners().is_empty() {
            return Some("the manifest names no owner, so that nobody could ever replace it");
        }
        self.place.asked.map(|_| "what is replaced is the transition that the signer says is active")
    }

    /// What is asked of the signer.
    pub(crate) fn request(&self, consent: &Consent) -> RotateIntermediateRequest {
        RotateIntermediateRequest {
            authority: self.authority.clone(),
            expected_transition: self.place.expected.to_vec().into(),
            manifest: self.bytes.clone().into(),
            owner_key: consent.key.spki().to_vec().into(),
            owner_signature: consent.signature.clone().into(),
            lifetime_seconds: self.lifetime.map_or(0, Span::secs),
            revoke_previous: self.revoke_previous,
        }
    }

    /// It, for people.
    pub(crate) fn render(&self, consent: &Consent) -> Result<String, Problem> {
        let hex = |digest: &[u8]| hallmark_policy::hex(digest);
        let mut table = Table::new();
        table.row(["replaces", &self.replaced()]);
        table.row(["by transition", &hex(&self.transition())]);
        let bytes = when::count(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX), "byte");
        table.row(["manifest", &format!("{}, {bytes}", self.path.display())]);
        table.row(["", &format!("SHA-256 {}", hex(self.manifest.digest()))]);
        let count = |count: usize, what| when::count(u64::try_from(count).unwrap_or(u64::MAX), what);
        table.row(["workloads", &count(self.manifest.workloads().count(), "policy hash")]);
        match self.manifest.owners() {
            [] => table.row(["owners", "none: nobody could ever replace this manifest"]),
            owners => table
                .list("owners", owners.iter().map(ToString::to_string).collect::<Vec<_>>().iter().map(String::as_str)),
        }
        let lifetime = self.lifetime.map_or_else(|| "the policy's".to_owned(), |lifetime| lifetime.to_string());
        table.row(["lifetime", &lifetime]);
        table.row([
            "intermediate before",
            if self.revoke_previous { "goes on the root's CRL" } else { "is not revoked by this" },
        ]);
        let whose = if self.place.root_is_ours { "as given" } else { "as the signer shows it; give --root to be sure" };
        table.row(["root", &format!("key {}, {whose}", self.root_digest()?)]);
        table.row(["signed by", &consent.key.digest().to_string()]);
        Ok(format!("{} {}\n{}", "to rotate:", printable(&self.authority), table.render(2)))
    }

    fn replaced(&self) -> String {
        let transition = hallmark_policy::hex(&self.place.expected);
        match self.place.asked {
            Some(generation) => format!("transition {transition}, generation {generation}, active as the signer says"),
            None if self.place.expected == [0; 32] => "nothing: this is the first manifest".to_owned(),
            None => format!("transition {transition}"),
        }
    }

    fn root_digest(&self) -> Result<SpkiDigest, Problem> {
        let view = CertificateView::read(&self.place.root);
        let key = view.and_then(|view| PublicKey::parse(&view.spki).ok());
        let unreadable = Problem::Check { request_id: None, source: CheckError::Unreadable { what: "root" } };
        key.map(|key| key.digest()).ok_or(unreadable)
    }
}

impl Place {
    fn find(arguments: &RotateArguments, authority: &str, config: &Config) -> Result<Self, Problem> {
        let ours = arguments.root.as_deref().map(read_root).transpose()?;
        let named = arguments.expected.or_else(|| arguments.genesis.then_some([0; 32]));
        if let (Some(expected), Some(root)) = (named, &ours) {
            return Ok(Self { expected, root: root.clone(), asked: None, root_is_ours: true });
        }
        if arguments.genesis {
            return Err(SettingsError::NoRoot.into());
        }
        let settings = ConnectionSettings::resolve(&arguments.connection, config)?;
        let answer = chain::ask(&settings, GetChainRequest { authority: authority.to_owned(), epoch: None })?;
        let does_not_hold = |source| Problem::Check { request_id: None, source };
        checks::chain(&answer).map_err(does_not_hold)?;
        if ours.as_deref().is_some_and(|ours| ours != answer.root.as_ref()) {
            return Err(does_not_hold(CheckError::OtherRoot));
        }
        let epoch = answer.epoch.unwrap_or_default();
        let active: [u8; 32] =
            epoch.transition.as_ref().try_into().map_err(|_| does_not_hold(CheckError::OtherTransition))?;
        Ok(Self {
            expected: named.unwrap_or(active),
            root: answer.root.to_vec(),
            asked: named.is_none().then_some(epoch.generation),
            root_is_ours: ours.is_some(),
        })
    }
}

fn read_root(path: &Path) -> Result<Vec<u8>, FileError> {
    let unexpected = || FileError::Unexpected { path: path.to_owned(), expected: "root CA certificate in PEM or DER" };
    pem::first_certificate(&files::read(path)?).ok_or_else(unexpected)
}
