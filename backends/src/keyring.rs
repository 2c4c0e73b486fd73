//! The door: keys are made, opened and destroyed here, and a committed decision is signed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hallmark_ledger::Committed;
use hallmark_policy::key::{PublicKey, SignatureAlgorithm, SpkiDigest};
use secrecy::SecretString;

use crate::{
    aws_kms,
    backend::{Backend, Description, Guard, KeyPurpose, KeyRequest, NewKey, Wrapping},
    choosing::Holders,
    config::{BackendConfig, Choice, SoftwareKeys},
    crew::Crew,
    ending::{Cleared, Everywhere},
    error::BackendError,
    holder::{Holder, Opened, Stage},
    patience::Patience,
    pkcs11,
    reference::{KeyLabel, KeyReference},
    refused_pins::RefusedPins,
    several::{self, Keepers, TokenStatus},
    sign_error::SignError,
    signature::{Message, Signature},
    software,
    tried::Tried,
    yubihsm,
};

/// Threads that sign with software keys.
const SOFTWARE_THREADS: usize = 2;

/// The keys of one token or directory, or of several tokens that hold the same, and the threads that sign with them.
///
/// `sign` takes what the ledger committed; no public function signs anything else. No call waits for the device without a
/// bound: what hangs is answered with an error, and costs the thread it hangs in.
pub struct Keyring {
    crew: Arc<Crew>,
    /// Those who look after the tokens, where there are several.
    keepers: Option<Mutex<Keepers>>,
    patience: Patience,
    /// On which token a key was made, until it is open.
    made: Mutex<BTreeMap<SpkiDigest, usize>>,
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

impl Keyring {
    /// Opens the backend and its sessions, one after another; the first failure ends it. Of several tokens, one is enough.
    ///
    /// # Errors
    /// See [`BackendError`]. A wrong PIN is tried once, in all.
    pub fn open_backend(config: BackendConfig, software_keys: SoftwareKeys) -> Result<Self, BackendError> {
        Self::open_remembering(config, software_keys, RefusedPins::of_this_process()?)
    }

    /// The same, with what is known of PINs that tokens refused: those are not tried.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn open_remembering(
        config: BackendConfig,
        software_keys: SoftwareKeys,
        refused_pins: RefusedPins,
    ) -> Result<Self, BackendError> {
        Self::open_with(config, software_keys, Patience::default(), refused_pins)
    }

    #[cfg(test)]
    pub(crate) fn open_patiently(
        config: BackendConfig,
        software_keys: SoftwareKeys,
        patience: Patience,
    ) -> Result<Self, BackendError> {
        Self::open_with(config, software_keys, patience, RefusedPins::of_this_process()?)
    }

    pub(crate) fn open_with(
        config: BackendConfig,
        software_keys: SoftwareKeys,
        patience: Patience,
        refused_pins: RefusedPins,
    ) -> Result<Self, BackendError> {
        let refused_pins = Arc::new(refused_pins);
        let name = config.name();
        let keyring = match config {
            BackendConfig::Replicated { tokens, choice } => {
                let (crew, keepers) = several::open(tokens, choice, patience, &refused_pins)?;
                Self { crew, keepers: Some(Mutex::new(keepers)), patience, made: Mutex::default() }
            }
            BackendConfig::Pkcs11(token) => {
                Self::over(name, move || pkcs11::open(token, false, &refused_pins), patience)?
            }
            BackendConfig::YubiHsm(config) => Self::over(name, move || yubihsm::open(config), patience)?,
            BackendConfig::AwsKms(config) => Self::over(name, move || aws_kms::open(config), patience)?,
            BackendConfig::Software { .. } if software_keys == SoftwareKeys::Refused => {
                return Err(BackendError::SoftwareNotAdmitted);
            }
            BackendConfig::Software { directory, passphrase } => {
                let open = move || -> Result<Opened, BackendError> {
                    let backend: Arc<dyn Backend> = Arc::new(software::Directory::open(directory, passphrase)?);
                    let mut signers: Vec<_> = (0..SOFTWARE_THREADS).map(|_| backend.signer()).collect();
                    signers.iter_mut().try_for_each(|signer| signer.connect())?;
                    Ok((backend, signers))
                };
                Self::over(name, open, patience)?
            }
        };
        tracing::info!(backend = %keyring.describe(), sessions = keyring.crew.size(), "key backend is open");
        Ok(keyring)
    }

    pub(crate) fn over(
        name: String,
        open: impl FnOnce() -> Result<Opened, BackendError> + Send + 'static,
        patience: Patience,
    ) -> Result<Self, BackendError> {
        let holder = Arc::new(Holder::new(0, name)?);
        let ((backend, signers), description) = holder.run_open(patience.start, open)?;
        holder.is_opened(backend, description, signers.len());
        holder.enter(Stage::Serves);
        let crew = Crew::start(Holders::new(vec![Arc::clone(&holder)], Choice::default()), patience)?;
        if let Err(error) = crew.join(&holder, signers) {
            crew.stop();
            return Err(error);
        }
        Ok(Self { crew, keepers: None, patience, made: Mutex::default() })
    }

    /// Makes a key, reads it back and checks it. It signs nothing until [`Keyring::open`] was called. Of several tokens, the first that serves
    /// makes it; how it comes into the others is their own replication.
    ///
    /// # Errors
    /// See [`BackendError`]; then no key is left behind, as far as the device lets it be removed.
    pub fn generate(&self, request: &KeyRequest) -> Result<NewKey, BackendError> {
        let (holder, key) = self.holders().generate(request, self.patience.make)?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key.public.digest(), holder);
        Ok(key)
    }

    /// Finds a key, compares its public key with the expected digest, checks that it is guarded as a CA key must be, and
    /// lets it sign. Of several tokens, it signs in those in which it is as it should be.
    ///
    /// # Errors
    /// See [`BackendError`]; a key that fails a check does not sign, also if it was open before.
    pub fn open(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<PublicKey, BackendError> {
        let opened = match self.holders().all.as_slice() {
            [only] => {
                let own = reference.clone();
                let find = move |backend: &dyn Backend| backend.open(&own, expected);
                let opened = only.operate("open a key", self.patience.operate, find, drop);
                opened.inspect(|public| self.crew.admit(reference.clone(), public.clone(), only.index))
            }
            _ => {
                let before = self.crew.open_key(expected);
                let found = |holder, public: &PublicKey| self.crew.admit(reference.clone(), public.clone(), holder);
                let opened = self.holders().open(reference, expected, before.as_ref(), self.patience.operate, found);
                // What waits for a token that has it no longer is another's.
                self.crew.look_again();
                opened
            }
        };
        match &opened {
            Ok(_) => drop(self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&expected)),
            Err(error) if error.is_about_the_key() => self.crew.forget(expected),
            Err(_) => {}
        }
        opened
    }

    /// Finds a key that an interrupted start left behind, before its public key was on record, and checks that it is
    /// guarded as a CA key of that purpose must be. It signs nothing until [`Keyring::open`] was called.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn inspect(&self, reference: &KeyReference, purpose: KeyPurpose) -> Result<PublicKey, BackendError> {
        self.holders().first(|holder| {
            let own = reference.clone();
            self.operate(holder, "find a key", move |backend| backend.inspect(&own, purpose))
        })
    }

    /// Destroys a key, on every token that has it. It is no barrier against what is being signed: that is the ledger's fence.
    ///
    /// # Errors
    /// See [`BackendError`]; root keys are refused.
    pub fn destroy(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Everywhere, BackendError> {
        let done = self.holders().destroy(reference, expected, self.patience.operate)?;
        self.crew.forget(expected);
        Ok(done)
    }

    /// What guards a key, attribute by attribute, as the device tells it.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn guards(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Guard>, BackendError> {
        self.holders().first(|holder| {
            let own = reference.clone();
            self.operate(holder, "tell what guards a key", move |backend| backend.guards(&own, expected))
        })
    }

    /// What the device itself has signed over a key, on the first token that has it: certificates, DER, the key's own first. None where it has no such
    /// thing, as all that are reached through PKCS #11: what such a device says of a key, [`Self::guards`] tells.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn attest(&self, reference: &KeyReference, expected: SpkiDigest) -> Result<Vec<Vec<u8>>, BackendError> {
        self.holders().first(|holder| {
            let own = reference.clone();
            self.operate(holder, "vouch for a key", move |backend| backend.attest(&own, expected))
        })
    }

    /// Gives the token another PIN. Afterwards this keyring opens no session any more, since it has the PIN before: drop it.
    ///
    /// # Errors
    /// See [`BackendError`]; where the answer was lost, the token may have either.
    pub fn change_pin(&self, new: &SecretString) -> Result<(), BackendError> {
        let [only] = self.holders().all.as_slice() else {
            let detail = "the PIN of one of several tokens is changed with the vendor's tool".to_owned();
            return Err(BackendError::Configuration { detail });
        };
        let new = new.clone();
        self.operate(only, "change the PIN", move |backend| backend.change_pin(&new))
    }

    /// Has the one token wrap, or keep a key that wraps.
    pub(crate) fn wrapping<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&dyn Wrapping) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let refused = |detail: &str| BackendError::Configuration { detail: detail.to_owned() };
        let [only] = self.holders().all.as_slice() else {
            return Err(refused("keys of several tokens are wrapped in one of them, which is named alone"));
        };
        self.operate(only, operation, move |backend| match backend.wrapping() {
            Some(wrapping) => work(wrapping),
            None => Err(refused("keys in files are not wrapped; they are encrypted already, and copied as they are")),
        })
    }

    /// Lets a key sign no longer: what waits for it is answered [`SignError::NotOpen`], also if it is opened again. One signature for each session may
    /// be in the device at this moment; whoever asked for it still gets it.
    pub fn close(&self, key: SpkiDigest) {
        self.crew.forget(key);
    }

    /// Destroys every key of that label, on every token: leftovers whose public keys are not on record, and twins.
    ///
    /// # Errors
    /// See [`BackendError`]; on a token where one of them is a root's, nothing is destroyed, which [`Cleared::refused`] says where others did it.
    pub fn clear(&self, label: &KeyLabel) -> Result<Cleared, BackendError> {
        self.holders().clear(label, self.patience.operate)
    }

    /// Every private key that the tokens or the directory hold, so that leftovers of an interrupted rotation are found.
    /// Those whose names this signer cannot have given are left out.
    ///
    /// # Errors
    /// See [`BackendError`].
    pub fn list(&self) -> Result<Vec<KeyReference>, BackendError> {
        self.holders().list(self.patience.operate)
    }

    /// The same of each token whose name is wanted, by itself: one that fails or is away hides nothing of the others.
    pub fn list_each(&self, wanted: impl Fn(&str) -> bool) -> Vec<(String, Result<Vec<KeyReference>, BackendError>)> {
        self.holders().list_each(wanted, self.patience.operate)
    }

    /// Signs what the ledger committed, on a session's thread, and verifies the signature before `done` gets it.
    ///
    /// A key whose `deadline` passed while the job waited is not touched ([`SignError::DeadlinePassed`]); one that is being
    /// used then is answered [`SignError::Overdue`]. A full queue answers [`SignError::Busy`], a key that the device failed
    /// several times in a row [`SignError::Resting`], both at once and on the caller's thread.
    pub fn sign(&self, committed: Committed, deadline: Instant, done: Done) {
        self.sign_message(committed.into(), deadline, done);
    }

    /// As [`Keyring::sign`], for what a token failed to sign ([`SignError::SignAgain`]), by another one. The log says already that it is signed
    /// again.
    pub fn sign_again(&self, committed: Committed, deadline: Instant, tried: Tried, done: Done) {
        self.sign_message_again(committed.into(), deadline, tried, done);
    }

    /// What no token ever signs: a message of so many bytes with this algorithm. None where one may. A warrant for it is not to be committed. The
    /// devices are not asked.
    #[must_use]
    pub fn never_signs(&self, algorithm: SignatureAlgorithm, message_bytes: usize) -> Option<String> {
        let backends = self.holders().all.iter().filter_map(|holder| holder.backend());
        let never: Option<Vec<_>> = backends.map(|backend| backend.never_signs(algorithm, message_bytes)).collect();
        never?.into_iter().next()
    }

    /// How long a key is left alone, because the device failed it several times in a row, or no token is there that has it. Whoever asks for a
    /// signature meanwhile is answered [`SignError::Resting`].
    #[must_use]
    pub fn resting(&self, key: SpkiDigest) -> Option<Duration> {
        self.crew.resting(key)
    }

    /// Random bytes from the device.
    ///
    /// # Errors
    /// If the device does not answer.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), BackendError> {
        let length = bytes.len();
        let drawn = self.holders().first(|holder| {
            holder.ask("draw random numbers", self.patience.probe, move |backend| {
                let mut drawn = vec![0; length];
                backend.random(&mut drawn).map(|()| drawn)
            })
        })?;
        bytes.copy_from_slice(&drawn);
        Ok(())
    }

    /// What the backend was when it was opened; of several tokens, the first that was there.
    #[must_use]
    pub fn describe(&self) -> Description {
        self.holders().all.iter().find_map(|holder| holder.description()).cloned().unwrap_or_default()
    }

    /// What each token was when it was opened, or that it is away.
    #[must_use]
    pub fn describe_all(&self) -> Vec<String> {
        self.holders().all.iter().map(|holder| holder.told()).collect()
    }

    /// What the tokens are that have this key, for the record; all, where that is not known.
    #[must_use]
    pub fn places(&self, key: SpkiDigest) -> String {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        let has = |holder: &Holder| match self.crew.open_key(key) {
            Some(open) => open.held.by(holder.index),
            None => made == Some(holder.index),
        };
        let places: Vec<_> = self.holders().all.iter().filter(|holder| has(holder)).map(|it| it.told()).collect();
        if places.is_empty() { self.describe_all().join("; ") } else { places.join("; ") }
    }

    /// Asks the token whether it is there and logged in; of several, one is enough. Nothing is signed for it.
    ///
    /// # Errors
    /// If it is not.
    pub fn health(&self) -> Result<Health, BackendError> {
        self.holders()
            .first(|holder| holder.ask("tell its health", self.patience.probe, |backend| backend.health()))?;
        Ok(self.threads())
    }

    /// How each token stands; the devices are not asked.
    #[must_use]
    pub fn tokens(&self) -> Vec<TokenStatus> {
        self.holders().statuses(&self.crew)
    }

    /// The name of a token, by its place among them: that of [`Moments::token`](crate::Moments::token).
    #[must_use]
    pub fn token_name(&self, token: usize) -> Option<String> {
        self.holders().all.get(token).map(|holder| holder.name.clone())
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

    /// Whether a PIN was refused since the start, so that nothing logs in any more: of several tokens, of all. The device is not asked.
    #[must_use]
    pub fn pin_is_refused(&self) -> bool {
        self.holders().all.iter().all(|holder| match holder.backend() {
            Some(backend) => backend.pin_is_refused(),
            None => matches!(holder.stage(), Stage::Out(_)),
        })
    }

    /// Takes no further jobs, finishes those that wait, and waits until the threads have gone. Dropping the keyring does the
    /// same. A thread whose call hangs is left behind.
    pub fn stop(&self) {
        if let Some(keepers) = &self.keepers {
            keepers.lock().unwrap_or_else(PoisonError::into_inner).stop(&self.crew, self.patience);
        }
        self.crew.stop();
        for holder in &self.holders().all {
            if holder.backend().is_some() && !holder.has_ended() {
                let close = |backend: &dyn Backend| {
                    backend.close();
                    Ok(())
                };
                if let Err(error) = holder.operate("close its sessions", self.patience.stop, close, drop) {
                    tracing::error!(%error, token = holder.name, "the sessions with the key device are left open");
                }
            }
            holder.end(self.patience.stop);
        }
    }

    pub(crate) fn sign_message(&self, message: Message, deadline: Instant, done: Done) {
        self.crew.sign(message, deadline, Tried::default(), done);
    }

    pub(crate) fn sign_message_again(&self, message: Message, deadline: Instant, tried: Tried, done: Done) {
        self.crew.sign(message, deadline, tried, done);
    }

    fn holders(&self) -> &Holders {
        self.crew.holders()
    }

    fn operate<T: Send + 'static>(
        &self,
        holder: &Holder,
        operation: &'static str,
        work: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        holder.operate(operation, self.patience.operate, work, drop)
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({})", self.describe_all().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module's library falls over itself where one of its threads ends together with the process.
    #[test]
    fn when_a_keyring_has_gone_no_thread_of_it_is_left_whoever_still_holds_its_tokens() {
        let directory = tempfile::tempdir().unwrap();
        let config = BackendConfig::Software { directory: directory.path().join("keys"), passphrase: "pass".into() };
        let keyring = Keyring::open_backend(config, SoftwareKeys::Admitted).unwrap();
        let (crew, tokens) = (Arc::downgrade(&keyring.crew), keyring.holders().all.clone());
        drop(keyring);
        assert_eq!(crew.strong_count(), 0, "a thread that signs or watches still has it");
        assert!(tokens.len() == 1 && tokens.iter().all(|token| token.has_ended()), "{tokens:?}");
    }
}
