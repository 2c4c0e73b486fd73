//! The door: keys are made, opened and destroyed here, and a committed decision is signed.

use std::{
    fmt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hallmark_ledger::Committed;
use hallmark_policy::key::{PublicKey, SpkiDigest};
use secrecy::SecretString;

use crate::{
    backend::{Backend, Description, Guard, KeyPurpose, KeyRequest, NewKey, Signer},
    config::{BackendConfig, SoftwareKeys},
    crew::Crew,
    desk::Desk,
    error::BackendError,
    patience::Patience,
    pkcs11::{self, survey::Survey},
    reference::{KeyLabel, KeyReference},
    sign_error::SignError,
    signature::{Message, Signature},
    software,
};

/// Threads that sign with software keys.
const SOFTWARE_THREADS: usize = 2;

/// The keys of one token or directory, and the threads that sign with them.
///
/// `sign` takes what the ledger committed; no public function signs anything else. No call waits for the device without a
/// bound: what hangs is answered with an error, and costs the thread it hangs in.
pub struct Keyring {
    backend: Arc<dyn Backend>,
    crew: Arc<Crew>,
    /// Where keys are made, found and destroyed.
    keys: Desk,
    /// Where health and random numbers are asked for.
    probe: Desk,
    patience: Patience,
    description: Description,
}

/// What `sign` calls once, on a thread of the keyring, or at once on the caller's if nothing was queued. It must not block:
/// the session waits for it.
pub type Done = Box<dyn FnOnce(Result<Signature, SignError>) + Send>;

/// How the backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Signing threads.
    pub sessions: usize,
    /// Of which calls hang in the device. While it is not 0, what the device still does with a key is out of sight.
    pub hanging: usize,
    /// For how long the one does that has hung longest; none if none does.
    pub longest: Option<Duration>,
    /// Jobs that wait.
    pub waiting: usize,
    /// How often a private key was used since the start.
    pub key_uses: u64,
}

/// A backend and its signers, as they are opened.
type Opened = (Arc<dyn Backend>, Vec<Box<dyn Signer>>);

impl Keyring {
    /// Opens the backend and its sessions, one after another; the first failure ends it.
    ///
    /// # Errors
    /// See [`BackendError`]. A wrong PIN is tried once, in all.
    pub fn open_backend(config: BackendConfig, software_keys: SoftwareKeys) -> Result<Self, BackendError> {
        Self::open_patiently(config, software_keys, Patience::default())
    }

    pub(crate) fn open_patiently(
        config: BackendConfig,
        software_keys: SoftwareKeys,
        patience: Patience,
    ) -> Result<Self, BackendError> {
        let open = move || -> Result<Opened, BackendError> {
            let (backend, sessions): (Arc<dyn Backend>, _) = match config {
                BackendConfig::Pkcs11 { module, token_label, token_serial, pin, sessions } => {
                    (Arc::new(pkcs11::Device::open(module, token_label, token_serial, pin, sessions)?), sessions)
                }
                BackendConfig::Software { directory, passphrase } => match software_keys {
                    SoftwareKeys::Refused => return Err(BackendError::SoftwareNotAdmitted),
                    SoftwareKeys::Admitted => {
                        (Arc::new(software::Directory::open(directory, passphrase)?), SOFTWARE_THREADS)
                    }
                },
            };
            let mut signers: Vec<_> = (0..sessions).map(|_| backend.signer()).collect();
            signers.iter_mut().try_for_each(|signer| signer.connect())?;
            Ok((backend, signers))
        };
        let keyring = Self::over(open, patience)?;
        tracing::info!(backend = %keyring.describe(), sessions = keyring.crew.size(), "key backend is open");
        Ok(keyring)
    }

    pub(crate) fn over(
        open: impl FnOnce() -> Result<Opened, BackendError> + Send + 'static,
        patience: Patience,
    ) -> Result<Self, BackendError> {
        let (keys, probe) = (Desk::open("keys")?, Desk::open("probe")?);
        let open = move || {
            let (backend, signers) = open()?;
            let description = backend.describe();
            Ok((backend, signers, description))
        };
        let (backend, signers, description) = keys.run("open its sessions", patience.start, open, drop)?;
        let crew = Crew::start(Arc::clone(&backend), signers, patience)?;
        Ok(Self { backend, crew, keys, probe, patience, description })
    }

    /// Makes a key, reads it back and checks it. It signs nothing until [`Keyring::open`] was called.
    ///
    /// # Errors
    /// See [`BackendError`]; then no key is left behind, as far as the device lets it be removed.
    pub fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        let (backend, request) = (Arc::clone(&self.backend), request.clone());
        let undoing = Arc::clone(&self.backend);
        let undo = move |key: NewKey| {
            if let Err(error) = undoing.destroy(&key.reference, key.public.digest()) {
                tracing::error!(key = %key.reference, %error, "a key that came too late could not be removed");
            }
        };
        self.keys.run("make a key", self.patience.make, move || backend.generate(&request), undo)
    }

    /// Finds a key, compares its public key with the expected digest, checks that it is guarded as a CA key must be, and
    /// lets it sign.
    ///
    /// # Errors
    /// See [`BackendError`]; a key that fails a check does not sign, also if it was open before.
    pub fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        let own = reference.clone();
        match self.operate("open a key", move |backend| backend.open(&own, expected)) {
            Ok(public) => {
                self.crew.admit(reference.clone(), public.clone());
                Ok(public)
            }
            Err(error) => {
                if error.is_about_the_key() {
                    self.crew.forget(expected);
                }
                Err(error)
            }
        }
    }

    /// Finds a key that an interrupted start left behind, before its public key was on record, and checks that it is
    /// guarded as a CA key of that purpose must be. It signs nothing until [`Keyring::open`] was called.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        let reference = reference.clone();
        self.operate("find a key", move |backend| backend.inspect(&reference, purpose))
    }

    /// Destroys a key. It is no barrier against what is being signed: that is the ledger's fence.
    ///
    /// # Errors
    /// See [`BackendError`]; root keys are refused.
    pub fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        let reference = reference.clone();
        self.operate("destroy a key", move |backend| backend.destroy(&reference, expected))?;
        self.crew.forget(expected);
        Ok(())
    }

    /// What guards a key, attribute by attribute, as the device tells it.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        let reference = reference.clone();
        self.operate("tell what guards a key", move |backend| backend.guards(&reference, expected))
    }

    /// Gives the token another PIN. Afterwards this keyring opens no session any more, since it has the PIN before: drop it.
    ///
    /// # Errors
    /// See [`BackendError`]; where the answer was lost, the token may have either.
    pub fn change_pin(&self, new: &SecretString) -> Result<(), BackendError> {
        let new = new.clone();
        self.operate("change the PIN", move |backend| backend.change_pin(&new))
    }

    /// Lets a key sign no longer: what waits for it is answered [`SignError::NotOpen`], also if it is opened again. One signature for each session may
    /// be in the device at this moment; whoever asked for it still gets it.
    pub fn close(&self, key: SpkiDigest) {
        self.crew.forget(key);
    }

    /// Destroys every key of that label: leftovers whose public keys are not on record, and twins. Says how many.
    ///
    /// # Errors
    /// See [`BackendError`]; nothing is destroyed if one of them is a root's.
    pub fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        let label = label.clone();
        self.operate("destroy keys", move |backend| backend.clear(&label))
    }

    /// Every private key that the token or directory holds, so that leftovers of an interrupted rotation are found.
    /// Those whose names this signer cannot have given are left out.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.operate("list its keys", |backend| backend.list())
    }

    /// Signs what the ledger committed, on a session's thread, and verifies the signature before `done` gets it.
    ///
    /// A key whose `deadline` passed while the job waited is not touched ([`SignError::DeadlinePassed`]); one that is being
    /// used then is answered [`SignError::Overdue`]. A full queue answers [`SignError::Busy`], a key that the device failed
    /// several times in a row [`SignError::Resting`], both at once and on the caller's thread.
    pub fn sign(&self, committed: Committed, deadline: Instant, done: Done) {
        self.sign_message(committed.into(), deadline, done);
    }

    /// How long a key is left alone, because the device failed it several times in a row. Whoever asks for a signature
    /// meanwhile is answered [`SignError::Resting`].
    #[must_use]
    pub fn resting(&self, key: SpkiDigest) -> Option<Duration> {
        self.crew.breakers().resting(key, Instant::now())
    }

    /// Random bytes from the device.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        let (backend, length) = (Arc::clone(&self.backend), bytes.len());
        let draw = move || {
            let mut drawn = vec![0; length];
            backend.random(&mut drawn).map(|()| drawn)
        };
        let drawn = self.probe.run("draw random numbers", self.patience.probe, draw, drop)?;
        bytes.copy_from_slice(&drawn);
        Ok(())
    }

    /// What the backend was when it was opened.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.description.clone()
    }

    /// Asks the token whether it is there and logged in. Nothing is signed for it.
    ///
    /// # Errors
    /// If it is not.
    pub fn health(&self) -> Result<Health, BackendError> {
        let backend = Arc::clone(&self.backend);
        self.probe.run("tell its health", self.patience.probe, move || backend.health(), drop)?;
        Ok(self.threads())
    }

    /// How the threads are doing; the device is not asked.
    #[must_use]
    pub fn threads(&self) -> Health {
        let hanging = self.crew.hanging_since();
        Health {
            sessions: self.crew.size(),
            hanging: hanging.len(),
            longest: hanging.into_iter().min().map(|since| since.elapsed()),
            waiting: self.crew.waiting(),
            key_uses: self.crew.key_uses(),
        }
    }

    /// Whether a PIN was refused since the start, so that nothing logs in any more. The device is not asked.
    #[must_use]
    pub fn pin_is_refused(&self) -> bool {
        self.backend.pin_is_refused()
    }

    /// Takes no further jobs, finishes those that wait, and waits until the threads have gone. Dropping the keyring does the
    /// same. A thread whose call hangs is left behind.
    pub fn stop(&self) {
        self.crew.stop();
        let backend = Arc::clone(&self.backend);
        let close = move || {
            backend.close();
            Ok(())
        };
        if let Err(error) = self.keys.run("close its sessions", self.patience.stop, close, drop) {
            tracing::error!(%error, "the sessions with the key device are left open");
        }
    }

    pub(crate) fn sign_message(&self, message: Message, deadline: Instant, done: Done) {
        self.crew.sign(message, deadline, done);
    }

    fn operate<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let backend = Arc::clone(&self.backend);
        self.keys.run(operation, self.patience.operate, move || work(backend.as_ref()), drop)
    }
}

/// Asks a token what it says of itself. Nobody logs in for it, and nothing is written.
///
/// # Errors
/// See [`BackendError`].
pub fn survey(module: &Path, token_label: &str, token_serial: Option<&str>) -> Result<Survey, BackendError> {
    let (module, label, serial) = (module.to_owned(), token_label.to_owned(), token_serial.map(str::to_owned));
    let desk = Desk::open("survey")?;
    desk.run("say what it is", Patience::default().start, move || pkcs11::survey::survey(&module, label, serial), drop)
}

/// Initialises a token for a rehearsal, in a slot whose token was never initialised.
///
/// # Errors
/// See [`BackendError`]; a token that is somebody's is never touched.
pub fn make_throwaway_token(module: &Path, label: &str, pin: &SecretString) -> Result<(), BackendError> {
    let (module, label, pin) = (module.to_owned(), label.to_owned(), pin.clone());
    let desk = Desk::open("rehearsal")?;
    desk.run(
        "initialise a token",
        Patience::default().start,
        move || pkcs11::throwaway::make(&module, &label, &pin),
        drop,
    )
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.description)
    }
}
