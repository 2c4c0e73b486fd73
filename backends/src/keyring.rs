//! The door: keys are made, opened and destroyed here, and a committed decision is signed.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use hallmark_ledger::Committed;
use hallmark_policy::key::{PublicKey, SpkiDigest};

use crate::{
    backend::{Backend, Description, KeyPurpose, KeyRequest, NewKey, OpenKey},
    config::{BackendConfig, SoftwareKeys},
    crew::SIGNATURE_TIME_MAX,
    error::{BackendError, SignError},
    pkcs11,
    queue::NotQueued,
    reference::{KeyLabel, KeyReference},
    signature::{Message, Signature},
    software,
    work::{Job, Work},
};

/// Threads that sign with software keys.
const SOFTWARE_THREADS: usize = 2;

/// The keys of one token or directory, and the threads that sign with them.
///
/// `sign` takes what the ledger committed; no public function signs anything else.
pub struct Keyring {
    backend: Arc<dyn Backend>,
    description: Description,
    work: Arc<Work>,
    watch: Mutex<Option<thread::JoinHandle<()>>>,
    sessions: usize,
}

/// What `sign` calls once, on a session's thread, or at once on the caller's if nothing was queued. It must not block:
/// the session waits for it.
pub type Done = Box<dyn FnOnce(Result<Signature, SignError>) + Send>;

/// How the backend is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Signing threads.
    pub sessions: usize,
    /// Threads that the device does not let go, beside those that have taken their place.
    pub hung: usize,
    /// Jobs that wait.
    pub waiting: usize,
    /// How often a private key was used since the start.
    pub key_uses: u64,
}

impl Keyring {
    /// Opens the backend and its sessions, one after another; the first failure ends it.
    ///
    /// # Errors
    /// See [`BackendError`]. A wrong PIN is tried once, in all.
    pub fn open_backend(config: BackendConfig, software_keys: SoftwareKeys) -> Result<Self, BackendError> {
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
        let keyring = Self::over(backend, sessions, SIGNATURE_TIME_MAX)?;
        tracing::info!(backend = %keyring.describe(), sessions, "key backend is open");
        Ok(keyring)
    }

    /// Makes a key, reads it back and checks it. It signs nothing until [`Keyring::open`] was called.
    ///
    /// # Errors
    /// See [`BackendError`]; then no key is left behind, as far as the device lets it be removed.
    pub fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        self.backend.generate(request)
    }

    /// Finds a key, compares its public key with the expected digest, checks that it is guarded as a CA key must be, and
    /// lets it sign.
    ///
    /// # Errors
    /// See [`BackendError`]; a key that fails a check does not sign, also if it was open before.
    pub fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        let public = match self.backend.open(reference, expected) {
            Ok(public) => public,
            Err(error) => {
                self.forget(expected);
                return Err(error);
            }
        };
        let opening = self.work.openings.fetch_add(1, Ordering::Relaxed);
        let key =
            OpenKey { reference: reference.clone(), public: Arc::new(public.clone()), opening, closed: Arc::default() };
        self.work.open.write().unwrap_or_else(PoisonError::into_inner).insert(expected, key);
        Ok(public)
    }

    /// Finds a key that an interrupted start left behind, before its public key was on record, and checks that it is
    /// guarded as a CA key of that purpose must be. It signs nothing until [`Keyring::open`] was called.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.backend.inspect(reference, purpose)
    }

    /// Destroys a key. It is no barrier against what is being signed: that is the ledger's fence.
    ///
    /// # Errors
    /// See [`BackendError`]; root keys are refused.
    pub fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<(), BackendError> {
        self.backend.destroy(reference, expected)?;
        self.forget(expected);
        Ok(())
    }

    /// Lets a key sign no longer: what waits for it is answered [`SignError::NotOpen`]. One signature for each session may be in
    /// the device at this moment; whoever asked for it still gets it.
    pub fn close(&self, key: SpkiDigest) {
        self.forget(key);
    }

    /// Destroys every key of that label: leftovers whose public keys are not on record, and twins. Says how many.
    ///
    /// # Errors
    /// See [`BackendError`]; nothing is destroyed if one of them is a root's.
    pub fn clear(&self, label: &KeyLabel) -> Result<usize, BackendError> {
        self.backend.clear(label)
    }

    /// Every private key that the token or directory holds, so that leftovers of an interrupted rotation are found.
    /// Those whose names this signer cannot have given are left out.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.backend.list()
    }

    /// Signs what the ledger committed, on a session's thread, and verifies the signature before `done` gets it.
    ///
    /// A key whose `deadline` passed while the job waited is not touched ([`SignError::DeadlinePassed`]). A full queue
    /// answers [`SignError::Busy`] at once, on the caller's thread.
    pub fn sign(&self, committed: Committed, deadline: Instant, done: Done) {
        self.sign_message(committed.into(), deadline, done);
    }

    /// Random bytes from the device.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        self.backend.random(bytes)
    }

    /// What the backend is, as it told when it was opened.
    #[must_use]
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// Asks the token whether it is there and logged in. Nothing is signed for it.
    ///
    /// # Errors
    /// If it is not, or if all threads hang in it.
    pub fn health(&self) -> Result<Health, BackendError> {
        self.backend.health()?;
        let (hung, threads) = self.work.crew.hung();
        if hung == threads {
            return Err(BackendError::Hangs { threads });
        }
        Ok(Health {
            sessions: self.sessions,
            hung,
            waiting: self.work.queue.waiting(),
            key_uses: self.work.key_uses.load(Ordering::Relaxed),
        })
    }

    /// Takes no further jobs, finishes those that wait, and waits for the threads but for those that hang in the device. Dropping the
    /// keyring does the same.
    pub fn stop(&self) {
        self.work.queue.close();
        let left = self.work.crew.dismiss();
        if left > 0 {
            tracing::error!(left, "threads hang in the key device and are left behind");
        }
        let watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        if watch.is_some_and(|watch| watch.join().is_err()) {
            tracing::error!("the watch over the signing threads ended by a panic");
        }
    }

    /// Signs with so many threads; one whose signature takes longer than `signature_time_max` is called hung.
    pub(crate) fn over(
        backend: Arc<dyn Backend>,
        sessions: usize,
        signature_time_max: Duration,
    ) -> Result<Self, BackendError> {
        let signers: Vec<_> = (0..sessions).map(|_| backend.signer()).collect::<Result<_, _>>()?;
        let work = Arc::new(Work::new(sessions, signature_time_max));
        let description = backend.describe();
        let keyring = Self { backend, description, work, watch: Mutex::default(), sessions };
        signers.into_iter().try_for_each(|signer| keyring.work.start(signer))?;
        let (work, backend) = (Arc::clone(&keyring.work), Arc::clone(&keyring.backend));
        let watch = thread::Builder::new().name("sign-watch".to_owned()).spawn(move || work.watch(&*backend));
        let watch = watch.map_err(|source| BackendError::Thread { source })?;
        *keyring.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        Ok(keyring)
    }

    pub(crate) fn sign_message(&self, message: Message, deadline: Instant, done: Done) {
        match self.work.queue.push(Job { message, deadline, done }) {
            Ok(()) => {}
            Err(NotQueued::Full(job)) => (job.done)(Err(SignError::Busy)),
            Err(NotQueued::Closed(job)) => (job.done)(Err(SignError::Stopped)),
        }
    }

    fn forget(&self, key: SpkiDigest) {
        let open = self.work.open.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(open) = open {
            open.closed.store(true, Ordering::SeqCst);
        }
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.describe())
    }
}
