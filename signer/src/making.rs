//! What making a root and making an epoch have in common: keys under labels of ours, and CA certificates through the order of events.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_backends::{
    BackendError, Cleared, KeyLabel, KeyPurpose, KeyReference, KeyReferenceError, KeyRequest, Keyring, NewKey,
};
use hallmark_ledger::{Event, KeyAction, LedgerError, Logged, Step};
use hallmark_policy::{
    Decision, Reason, ReasonCode,
    authority::{CaRequest, decide_ca},
    hex,
    key::{PublicKey, PublicKeyError},
    profile::CaProfile,
};

use crate::{
    answer::Failure,
    authorities::AuthorityError,
    core::Inner,
    order::{Keep, certify},
};

/// How long a CA signature may take: RSA-4096 in a slow device stays far below.
pub(crate) const SIGN_TIME_MAX: Duration = Duration::from_secs(60);

/// How long the device may take to make, find or destroy a key. Large RSA keys take small devices minutes.
const DEVICE_TIME_MAX: Duration = Duration::from_secs(300);

/// Random bytes at the end of a key's label.
const LABEL_RANDOM_BYTES: usize = 4;

/// Bytes in a label by which its ledger knows it again.
const LABEL_MARK_BYTES: usize = 4;

/// Why an authority or an epoch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MakingError {
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
    #[error("authority `{authority}`: its {what} was refused: {}", .reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Refused {
        /// The authority.
        authority: String,
        /// Which certificate.
        what: &'static str,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// The epoch is further, or was given up.
    #[error(
        "authority `{authority}`: epoch {generation} is {state}, not {wanted}; hint: `hallmark epochs --authority {authority}` shows how they stand"
    )]
    OtherState {
        /// The authority.
        authority: String,
        /// The epoch.
        generation: u64,
        /// Its state.
        state: &'static str,
        /// The one that was wanted.
        wanted: &'static str,
    },
    /// The core is stopping, or a thread of it died.
    #[error("authority `{authority}`: the work was interrupted; it goes on at the next start")]
    Interrupted {
        /// The authority.
        authority: String,
    },
    /// The device did not answer.
    #[error("authority `{authority}`: the key device gave no answer within {} s; hint: mend it, or restart the daemon", .within.as_secs())]
    Hangs {
        /// The authority.
        authority: String,
        /// How long it had.
        within: Duration,
    },
    /// A key is destroyed on the tokens that are there, and not on others.
    #[error(
        "authority `{authority}`: key `{key}` is destroyed where it could be; {} was away or failed, and may have a copy that is destroyed when it is \
         back; hint: bring it back, or take it out of the configuration and initialise it", .tokens.join(", ")
    )]
    CopiesLeft {
        /// The authority.
        authority: String,
        /// The key.
        key: String,
        /// The tokens.
        tokens: Vec<String>,
    },
    /// Something is missing that the policy, or a step before, should have given.
    #[error(
        "authority `{authority}`: its {what} is missing; hint: if the policy has the authority, `hallmarkd init` goes on with making it, \
         else put it back into the policy"
    )]
    Missing {
        /// The authority.
        authority: String,
        /// What.
        what: &'static str,
    },
}

/// What comes before the generation in the label of an epoch's key.
const EPOCH: &str = "epoch-";

/// The label of an epoch's key.
pub(crate) fn epoch_label(core: &Inner, authority: &str, generation: u64) -> Result<String, Reason> {
    label(core, authority, &format!("{EPOCH}{generation}"))
}

/// Whether this ledger, or a copy of it, gave the label of an epoch's key of this authority.
pub(crate) fn is_of_this_ledger(core: &Inner, label: &KeyLabel, authority: &str, generation: u64) -> bool {
    let Some((rest, suffix)) = label.as_str().rsplit_once('-') else { return false };
    let Some(random) = suffix.get(..2 * LABEL_RANDOM_BYTES) else { return false };
    let what = format!("{EPOCH}{generation}");
    rest == format!("hallmark-{authority}-{what}") && suffix == marked(core.ledger.id(), authority, &what, random)
}

/// What ends a label: what was drawn for it, and by what its ledger knows it again.
fn marked(ledger: [u8; 8], authority: &str, what: &str, random: &str) -> String {
    let said = [&ledger[..], authority.as_bytes(), b"/", what.as_bytes(), b"/", random.as_bytes()].concat();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &said);
    let mark = digest.as_ref().get(..LABEL_MARK_BYTES).unwrap_or_default();
    format!("{random}{}", hex(mark))
}

/// The generation in the label of an epoch's key of this authority, whichever ledger gave it.
pub(crate) fn generation_of(label: &KeyLabel, authority: &str) -> Option<u64> {
    let rest = label.as_str().strip_prefix("hallmark-")?.strip_prefix(authority)?.strip_prefix('-')?;
    rest.strip_prefix(EPOCH)?.split('-').next()?.parse().ok()
}

/// A label that no other ledger ever gave: another one on the same token must never find our keys under its own names.
pub(crate) fn label(core: &Inner, authority: &str, what: &str) -> Result<String, Reason> {
    let mut random = [0; LABEL_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Reason::new(ReasonCode::DeviceFailed, "label", "the system gives no random numbers"))?;
    Ok(format!("hallmark-{authority}-{what}-{}", marked(core.ledger.id(), authority, what, &hex(&random))))
}

pub(crate) fn refused(authority: &str, what: &'static str, reason: Reason) -> MakingError {
    refused_all(authority, what, vec![reason])
}

pub(crate) fn refused_all(authority: &str, what: &'static str, reasons: Vec<Reason>) -> MakingError {
    MakingError::Refused { authority: authority.to_owned(), what, reasons }
}

pub(crate) fn backend(authority: &str) -> impl Fn(BackendError) -> MakingError {
    let authority = authority.to_owned();
    move |source| MakingError::Backend { authority: authority.clone(), source: Box::new(source) }
}

/// Finds the keys of a label.
pub(crate) fn labelled(
    label: &str,
) -> Result<impl FnOnce(&Keyring) -> Result<Vec<KeyReference>, BackendError> + Send + use<>, MakingError> {
    let label = KeyLabel::parse(label)?;
    Ok(move |keyring: &Keyring| Ok(keyring.list()?.into_iter().filter(|key| *key.label() == label).collect::<Vec<_>>()))
}

/// Generates a key under a label that nothing has, and logs it. None is made with which the device would never sign what it is for.
pub(crate) async fn generate(
    core: &Arc<Inner>,
    authority: &str,
    label: &str,
    profile: &CaProfile,
    purpose: KeyPurpose,
) -> Result<NewKey, MakingError> {
    if let Some(what) = core.keyring.never_signs(profile.algorithm, 0) {
        return Err(backend(authority)(BackendError::Incapable { what }));
    }
    let request = KeyRequest { label: KeyLabel::parse(label)?, kind: profile.key, purpose };
    let made = core.device(authority, move |keyring| keyring.generate(&request)).await?;
    let key = made.map_err(backend(authority))?;
    core.key_event(authority, KeyAction::Generated, &key.reference.to_string(), &key.public).await?;
    Ok(key)
}

/// Has a CA certificate decided and signed.
pub(crate) async fn sign_ca(
    core: &Arc<Inner>,
    authority: &str,
    request: &CaRequest<'_>,
    key: &PublicKey,
    what: &'static str,
) -> Result<(), MakingError> {
    let refused = |reasons| MakingError::Refused { authority: authority.to_owned(), what, reasons };
    let now = core.trusted_clock().await.map_err(MakingError::Clock)?;
    let serial = core.serial().map_err(|failure| refused(failure.reasons))?;
    let approved = match decide_ca(&core.policy(), authority, request, key, now.time, serial) {
        Decision::Approve(approved) => *approved,
        Decision::Refuse(reasons) => return Err(refused(reasons)),
    };
    let deadline = Instant::now() + SIGN_TIME_MAX;
    certify(core, approved, now, deadline, Keep::BeforeReply, None)
        .await
        .map_err(|failure: Failure| refused(failure.reasons))?;
    Ok(())
}

impl Inner {
    /// Takes a step in an authority's life, and tells those who watch its epochs.
    pub(crate) async fn advance(&self, step: Step) -> Result<Logged, LedgerError> {
        let logged = self.ledger.advance(step, self.clock.wall().millis).await?;
        self.epochs_changed.send_modify(|changes| *changes = changes.wrapping_add(1));
        Ok(logged)
    }

    /// Logs that something happened to a key.
    pub(crate) async fn key_event(
        &self,
        authority: &str,
        action: KeyAction,
        reference: &str,
        key: &PublicKey,
    ) -> Result<(), LedgerError> {
        let event = Event::KeyEvent {
            authority: authority.to_owned(),
            action,
            reference: reference.to_owned(),
            spki: key.digest(),
            kind: key.kind(),
            backend: self.keyring.places(key.digest()),
        };
        self.ledger.record(event, self.clock.wall().millis).await.map(drop)
    }

    /// Logs that a key was destroyed on a token.
    pub(crate) async fn key_destroyed(
        &self,
        authority: &str,
        reference: &str,
        key: &PublicKey,
        token: String,
    ) -> Result<(), LedgerError> {
        let event = Event::KeyEvent {
            authority: authority.to_owned(),
            action: KeyAction::Destroyed,
            reference: reference.to_owned(),
            spki: key.digest(),
            kind: key.kind(),
            backend: token,
        };
        self.ledger.record(event, self.clock.wall().millis).await.map(drop)
    }

    /// Destroys what an interrupted attempt left under a label, and logs how much that was on each token.
    pub(crate) async fn clear(self: &Arc<Self>, authority: &str, label: KeyLabel) -> Result<Cleared, MakingError> {
        let name = label.as_str().to_owned();
        let mut cleared =
            self.device(authority, move |keyring| keyring.clear(&label)).await?.map_err(backend(authority))?;
        let mut logged = Ok(());
        for (token, keys) in &cleared.on {
            // Also where the entry of another token failed: what is destroyed is not found again.
            logged = logged.and(self.keys_cleared(authority, &name, *keys, token.clone()).await);
        }
        logged?;
        match cleared.refused.take() {
            Some(error) => Err(backend(authority)(error)),
            None => Ok(cleared),
        }
    }

    /// Logs that keys of a label were destroyed on a token, if there were any, of which nobody was ever told.
    pub(crate) async fn keys_cleared(
        &self,
        authority: &str,
        label: &str,
        keys: usize,
        token: String,
    ) -> Result<(), LedgerError> {
        if keys == 0 {
            return Ok(());
        }
        let count = u64::try_from(keys).unwrap_or(u64::MAX);
        let (authority, label) = (authority.to_owned(), label.to_owned());
        let event = Event::KeysCleared { authority, label, count, backend: token };
        self.ledger.record(event, self.clock.wall().millis).await.map(drop)
    }

    /// Does something with the device on a thread that may wait for it.
    pub(crate) async fn device<T: Send + 'static>(
        self: &Arc<Self>,
        authority: &str,
        work: impl FnOnce(&Keyring) -> T + Send + 'static,
    ) -> Result<T, MakingError> {
        self.device_within(authority, DEVICE_TIME_MAX, work).await
    }

    /// The same, within a time. Work that takes longer is not undone; whatever is asked of the device next waits for its end.
    pub(crate) async fn device_within<T: Send + 'static>(
        self: &Arc<Self>,
        authority: &str,
        within: Duration,
        work: impl FnOnce(&Keyring) -> T + Send + 'static,
    ) -> Result<T, MakingError> {
        let core = Arc::clone(self);
        let done = tokio::time::timeout(within, async {
            let turn = Arc::clone(&core.device_turn).lock_owned().await;
            tokio::task::spawn_blocking(move || {
                let done = work(&core.keyring);
                drop(turn);
                done
            })
            .await
        });
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(_)) => Err(MakingError::Interrupted { authority: authority.to_owned() }),
            Err(_) => Err(MakingError::Hangs { authority: authority.to_owned(), within }),
        }
    }
}
