//! The door: keys are made, opened and destroyed here, and a committed decision is signed.

use std::{
    collections::BTreeMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use hallmark_ledger::Committed;
use hallmark_policy::key::{PublicKey, SpkiDigest};

use crate::{
    backend::{Backend, Description, Gate, KeyPurpose, KeyRequest, NewKey, OpenKey, Signer, in_time},
    config::{BackendConfig, SoftwareKeys},
    error::{BackendError, SignError},
    pkcs11,
    queue::{NotQueued, Queue},
    reference::{KeyLabel, KeyReference},
    signature::{Message, Signature},
    software,
};

/// Threads that sign with software keys.
const SOFTWARE_THREADS: usize = 2;

/// The keys of one token or directory, and the threads that sign with them.
///
/// `sign` takes what the ledger committed; no public function signs anything else.
pub struct Keyring {
    backend: Box<dyn Backend>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<thread::JoinHandle<()>>>,
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
    /// Jobs that wait.
    pub waiting: usize,
    /// How often a private key was used since the start.
    pub key_uses: u64,
}

struct Shared {
    queue: Queue<Job>,
    open: RwLock<BTreeMap<SpkiDigest, OpenKey>>,
    openings: AtomicU64,
    key_uses: AtomicU64,
}

struct Job {
    message: Message,
    deadline: Instant,
    done: Done,
}

impl Keyring {
    /// Opens the backend and its sessions, one after another; the first failure ends it.
    ///
    /// # Errors
    /// See [`BackendError`]. A wrong PIN is tried once, in all.
    pub fn open_backend(config: BackendConfig, software_keys: SoftwareKeys) -> Result<Self, BackendError> {
        let (backend, sessions): (Box<dyn Backend>, _) = match config {
            BackendConfig::Pkcs11 { module, token_label, token_serial, pin, sessions } => {
                (Box::new(pkcs11::Device::open(module, token_label, token_serial, pin, sessions)?), sessions)
            }
            BackendConfig::Software { directory, passphrase } => match software_keys {
                SoftwareKeys::Refused => return Err(BackendError::SoftwareNotAdmitted),
                SoftwareKeys::Admitted => {
                    (Box::new(software::Directory::open(directory, passphrase)?), SOFTWARE_THREADS)
                }
            },
        };
        let keyring = Self::over(backend, sessions)?;
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
        let opening = self.shared.openings.fetch_add(1, Ordering::Relaxed);
        let key =
            OpenKey { reference: reference.clone(), public: Arc::new(public.clone()), opening, closed: Arc::default() };
        self.shared.open.write().unwrap_or_else(PoisonError::into_inner).insert(expected, key);
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

    /// What the backend is.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.backend.describe()
    }

    /// Asks the token whether it is there and logged in. Nothing is signed for it.
    ///
    /// # Errors
    /// If it is not.
    pub fn health(&self) -> Result<Health, BackendError> {
        self.backend.health()?;
        Ok(Health {
            sessions: self.sessions,
            waiting: self.shared.queue.waiting(),
            key_uses: self.shared.key_uses.load(Ordering::Relaxed),
        })
    }

    /// Takes no further jobs, finishes those that wait, and joins the threads. Dropping the keyring does the same.
    pub fn stop(&self) {
        self.shared.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let this = thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != this) {
            if thread.join().is_err() {
                tracing::error!("a session thread ended by a panic");
            }
        }
    }

    pub(crate) fn over(backend: Box<dyn Backend>, sessions: usize) -> Result<Self, BackendError> {
        let signers: Vec<_> = (0..sessions).map(|_| backend.signer()).collect::<Result<_, _>>()?;
        let shared = Arc::new(Shared {
            queue: Queue::new(),
            open: RwLock::default(),
            openings: AtomicU64::new(0),
            key_uses: AtomicU64::new(0),
        });
        let keyring = Self { backend, shared, threads: Mutex::default(), sessions };
        signers.into_iter().enumerate().try_for_each(|(number, signer)| keyring.start(number, signer))?;
        Ok(keyring)
    }

    pub(crate) fn sign_message(&self, message: Message, deadline: Instant, done: Done) {
        match self.shared.queue.push(Job { message, deadline, done }) {
            Ok(()) => {}
            Err(NotQueued::Full(job)) => (job.done)(Err(SignError::Busy)),
            Err(NotQueued::Closed(job)) => (job.done)(Err(SignError::Stopped)),
        }
    }

    fn forget(&self, key: SpkiDigest) {
        let open = self.shared.open.write().unwrap_or_else(PoisonError::into_inner).remove(&key);
        if let Some(open) = open {
            open.closed.store(true, Ordering::SeqCst);
        }
    }

    fn start(&self, number: usize, signer: Box<dyn Signer>) -> Result<(), BackendError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new()
            .name(format!("sign-{number}"))
            .spawn(move || shared.work(signer))
            .map_err(|source| BackendError::Thread { source })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
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

impl Shared {
    /// The life of a session's thread. Every job is answered once; a panic ends a job, not the thread.
    fn work(&self, mut signer: Box<dyn Signer>) {
        while let Some(Job { message, deadline, done }) = self.queue.pop() {
            let signed = catch_unwind(AssertUnwindSafe(|| self.sign(signer.as_mut(), message, deadline)));
            let answer = signed.unwrap_or_else(|_| {
                signer.distrust();
                Err(SignError::Panicked)
            });
            if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
                tracing::error!("whoever waited for a signature panicked when it came");
            }
        }
    }

    fn sign(&self, signer: &mut dyn Signer, message: Message, deadline: Instant) -> Result<Signature, SignError> {
        in_time(deadline)?;
        let issuer = message.issuer;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&issuer).cloned();
        let key = open.ok_or(SignError::NotOpen { issuer })?;
        let (kind, algorithm) = (key.public.kind(), message.algorithm);
        if !kind.signs_with(algorithm) {
            return Err(SignError::WrongAlgorithm { issuer, kind, algorithm });
        }
        let gate = Gate { deadline, issuer, closed: &key.closed, key_uses: &self.key_uses };
        let bytes = signer.sign(&key, algorithm, &message.to_be_signed, &gate)?;
        let signature = Signature::verified(message, bytes, &key.public);
        if signature.is_err() {
            tracing::error!(key = %key.reference, "the device's signature does not verify");
            signer.distrust();
        }
        signature
    }
}
