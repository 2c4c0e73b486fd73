//! Making an authority: its root, and its first epoch. Every step is in the ledger before the next begins, so that an
//! interrupted start goes on where it stopped.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_backends::{BackendError, KeyLabel, KeyPurpose, KeyReferenceError, KeyRequest, NewKey};
use hallmark_ledger::{AuthorityRecord, AuthorityState, EpochRecord, EpochState, Event, KeyAction, LedgerError, Step};
use hallmark_policy::{
    Decision, Reason, ReasonCode,
    authority::{CaRequest, decide_ca, statement, statement_sha256, transition},
    content::EpochBinding,
    hex,
    key::{PublicKey, PublicKeyError},
    profile::{Authority, CaProfile},
};

use crate::{
    answer::Failure,
    authorities::{self, AuthorityError},
    core::Inner,
    order::{Keep, certify},
};

/// How long a CA signature may take: RSA-4096 in a slow device stays far below.
const SIGN_SECS_MAX: u64 = 60;

/// Random bytes at the end of a key's label.
const LABEL_RANDOM_BYTES: usize = 4;

/// Transition before the first epoch.
const GENESIS: [u8; 32] = [0; 32];

/// Why an authority cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// What is stored.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The backend.
    #[error("authority `{authority}`: {source}")]
    Backend {
        /// The authority.
        authority: String,
        /// What is wrong.
        source: Box<BackendError>,
    },
    /// A label or reference.
    #[error(transparent)]
    Reference(#[from] KeyReferenceError),
    /// A public key in the database.
    #[error("the public key in the database does not read: {0}")]
    PublicKey(#[from] PublicKeyError),
    /// The clock.
    #[error("{0}")]
    Clock(Reason),
    /// The policy, the ledger or the device refused a certificate.
    #[error("authority `{authority}`: its {what} certificate was refused: {}", .reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// The authority.
        authority: String,
        /// Which certificate.
        what: &'static str,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// The database lacks something that a step before should have written.
    #[error("authority `{authority}`: the database lacks its {what}")]
    Missing {
        /// The authority.
        authority: String,
        /// What.
        what: &'static str,
    },
}

/// Brings an authority as far as serving. Says in sentences what was made.
pub(crate) async fn create(core: &Arc<Inner>, authority: &Authority) -> Result<Vec<String>, GenesisError> {
    let mut said = Vec::new();
    let record = root(core, authority, &mut said).await?;
    epoch(core, authority, &record, &mut said).await?;
    Ok(said)
}

async fn root(
    core: &Arc<Inner>,
    authority: &Authority,
    said: &mut Vec<String>,
) -> Result<AuthorityRecord, GenesisError> {
    let name = &authority.name;
    loop {
        let Some(record) = core.ledger.authority(name)? else {
            let label = label(name, "root").map_err(|reason| refused(name, "root", reason))?;
            core.advance(Step::RootIntent { authority: name.clone(), label }).await?;
            continue;
        };
        match record.state {
            AuthorityState::Intent => {
                let (key, done) = new_key(core, name, &record.label, &authority.root, KeyPurpose::Root).await?;
                said.push(format!("{done} the root key of `{name}`: {} {}", authority.root.key, key.reference));
                let (reference, spki) = (key.reference.to_string(), key.public.spki().to_vec());
                core.advance(Step::RootKey { authority: name.clone(), reference, spki }).await?;
            }
            AuthorityState::Keyed => {
                let key = authorities::open_key(&core.keyring, name, record.key.as_ref())?;
                if record.root.is_none() {
                    sign_ca(core, name, &CaRequest::Root, &key, "root").await?;
                    said.push(format!("signed the root CA certificate of `{name}`: {}", authority.root.subject));
                }
                core.advance(Step::RootReady { authority: name.clone() }).await?;
            }
            AuthorityState::Ready => return Ok(record),
        }
    }
}

async fn epoch(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    said: &mut Vec<String>,
) -> Result<(), GenesisError> {
    let name = &authority.name;
    let generation = 1;
    loop {
        let Some(epoch) = core.ledger.epochs(name)?.into_iter().find(|epoch| epoch.generation == generation) else {
            let manifest_sha256 = statement_sha256(name, generation);
            core.advance(Step::EpochIntent {
                authority: name.clone(),
                generation,
                manifest_sha256,
                statement: statement(name, generation),
                transition: transition(&manifest_sha256, &GENESIS),
                previous: GENESIS,
                label: label(name, &format!("epoch-{generation}")).map_err(|reason| refused(name, "epoch", reason))?,
            })
            .await?;
            continue;
        };
        match epoch.state {
            EpochState::Intent => {
                let (key, done) = new_key(core, name, &epoch.label, &authority.epoch, KeyPurpose::Epoch).await?;
                said.push(format!(
                    "{done} the key of epoch {generation} of `{name}`: {} {}",
                    authority.epoch.key, key.reference
                ));
                let (reference, spki) = (key.reference.to_string(), key.public.spki().to_vec());
                core.advance(Step::EpochKey { authority: name.clone(), generation, reference, spki }).await?;
            }
            EpochState::Keyed => {
                sign_epoch(core, authority, record, &epoch, said).await?;
                core.advance(Step::EpochPrepared { authority: name.clone(), generation }).await?;
            }
            EpochState::Prepared => {
                core.advance(Step::EpochActive { authority: name.clone(), generation }).await?;
                said.push(format!("epoch {generation} of `{name}` is active"));
            }
            EpochState::Active | EpochState::Retired => return Ok(()),
        }
    }
}

async fn sign_epoch(
    core: &Arc<Inner>,
    authority: &Authority,
    record: &AuthorityRecord,
    epoch: &EpochRecord,
    said: &mut Vec<String>,
) -> Result<(), GenesisError> {
    let name = &authority.name;
    let root = authorities::root(record, &authority.root)?;
    authorities::open_key(&core.keyring, name, record.key.as_ref())?;
    let key = authorities::open_key(&core.keyring, name, epoch.key.as_ref())?;
    let epoch_binding =
        EpochBinding { generation: epoch.generation, manifest: epoch.manifest_sha256, transition: epoch.transition };
    if epoch.intermediate.is_none() {
        let request = CaRequest::Intermediate { root: &root, epoch: epoch_binding };
        sign_ca(core, name, &request, &key, "intermediate").await?;
        said.push(format!("signed the intermediate CA certificate of `{name}`: {}", authority.epoch.subject));
    }
    if epoch.mesh_ca.is_none() {
        let request = CaRequest::MeshCa { root: &root, epoch: epoch_binding };
        sign_ca(core, name, &request, &key, "mesh CA").await?;
        said.push(format!("signed the mesh CA certificate of `{name}` with the same key"));
    }
    Ok(())
}

/// A label that no other ledger ever gave: another one on the same token must never find our keys under its own names.
fn label(authority: &str, what: &str) -> Result<String, Reason> {
    let mut random = [0; LABEL_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Reason::new(ReasonCode::DeviceFailed, "label", "the system gives no random numbers"))?;
    Ok(format!("hallmark-{authority}-{what}-{}", hex(&random)))
}

fn refused(authority: &str, what: &'static str, reason: Reason) -> GenesisError {
    GenesisError::Refused { authority: authority.to_owned(), what, reasons: vec![reason] }
}

/// Generates a key under its label. The one key that an interrupted start left under that label is taken over, if it is
/// as strictly kept as a new one: its label is random and stood in this ledger's log before the key was made.
async fn new_key(
    core: &Arc<Inner>,
    authority: &str,
    label: &str,
    profile: &CaProfile,
    purpose: KeyPurpose,
) -> Result<(NewKey, &'static str), GenesisError> {
    let backend = |source| GenesisError::Backend { authority: authority.to_owned(), source: Box::new(source) };
    let request = KeyRequest { label: KeyLabel::parse(label)?, kind: profile.key, purpose };
    let left = core.keyring.list().map_err(backend)?.into_iter().filter(|key| key.label().as_str() == label);
    let (key, action, done) = match left.collect::<Vec<_>>().as_slice() {
        [] => (core.keyring.generate(&request).map_err(backend)?, KeyAction::Generated, "made"),
        [reference] => {
            let public = core.keyring.inspect(reference, purpose).map_err(backend)?;
            tracing::warn!(%reference, "took over the key that an interrupted start had left");
            (NewKey { reference: reference.clone(), public }, KeyAction::TakenOver, "took over")
        }
        [first, ..] => return Err(backend(BackendError::KeyAmbiguous { key: first.clone() })),
    };
    core.ledger
        .record(
            Event::KeyEvent {
                authority: authority.to_owned(),
                action,
                reference: key.reference.to_string(),
                spki: key.public.digest(),
                kind: key.public.kind(),
                backend: core.keyring.describe().to_string(),
            },
            core.clock.wall().millis,
        )
        .await?;
    Ok((key, done))
}

async fn sign_ca(
    core: &Arc<Inner>,
    authority: &str,
    request: &CaRequest<'_>,
    key: &PublicKey,
    what: &'static str,
) -> Result<(), GenesisError> {
    let refused = |reasons| GenesisError::Refused { authority: authority.to_owned(), what, reasons };
    let now = core.trusted_clock().await.map_err(GenesisError::Clock)?;
    let serial = core.serial().map_err(|failure| refused(failure.reasons))?;
    let approved = match decide_ca(&core.policy(), authority, request, key, now.time, serial) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => return Err(refused(reasons)),
    };
    let deadline = Instant::now() + Duration::from_secs(SIGN_SECS_MAX);
    certify(core, approved, now, deadline, Keep::BeforeReply, None)
        .await
        .map_err(|failure: Failure| refused(failure.reasons))?;
    Ok(())
}

impl Inner {
    async fn advance(&self, step: Step) -> Result<(), LedgerError> {
        self.ledger.advance(step, self.clock.wall().millis).await.map(|_| ())
    }
}
