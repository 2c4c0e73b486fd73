//! One of the tokens that hold the keys: whether it serves, how it stands with each key, and the way to it.

use std::{
    fmt,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hallmark_meter::{Histogram, Tally};

use crate::{
    alarm::Alarm,
    backend::{Backend, Description, Signer},
    breaker::Breakers,
    desk::Desk,
    error::BackendError,
};

/// Most codes of errors that are counted apart. PKCS #11 has about a hundred.
const ERROR_CODES_MAX: usize = 128;

/// How soon is looked for a key that a token did not have when it was to sign: it may just be loading its keys anew.
const DOUBTED_INTERVAL: Duration = Duration::from_secs(1);

/// A backend and its signers, as they are opened.
pub(crate) type Opened = (Arc<dyn Backend>, Vec<Box<dyn Signer>>);

/// Opens a token; where others have the keys, too, it may be called again and again.
pub(crate) type Open = dyn Fn() -> Result<Opened, BackendError> + Send + Sync;

/// A token (or directory) and what is known of it. It has its own desks and its own breakers, so that one that hangs holds up no other.
pub(crate) struct Holder {
    pub(crate) index: usize,
    /// For people: label, and serial where the configuration has it.
    pub(crate) name: String,
    pub(crate) breakers: Breakers,
    /// When whoever looks after it looks again.
    pub(crate) alarm: Alarm,
    /// Signatures that it gave, and verified.
    pub(crate) signatures: AtomicU64,
    /// Jobs that it failed.
    pub(crate) failures: AtomicU64,
    /// How long its signatures took, and the tries that failed.
    pub(crate) took: Histogram,
    /// What its tries failed with.
    pub(crate) errors: Tally<String>,
    pub(crate) seated: AtomicUsize,
    pub(crate) hung: AtomicUsize,
    /// A signature failed because a key was not there as it should be.
    doubted: AtomicBool,
    opened: OnceLock<(Arc<dyn Backend>, Description, usize)>,
    /// As `stage` says, for those who look at each job.
    serves: AtomicBool,
    stage: Mutex<Stage>,
    changed: Condvar,
    /// Where keys are made, found and destroyed.
    keys: Desk,
    /// Where health and random numbers are asked for.
    probe: Desk,
}

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is being opened for the first time.
    Opens,
    Serves,
    /// Why; it is looked for again and again.
    Away(String),
    /// Why; a person has to do something before the next start.
    Out(String),
}

impl Holder {
    pub(crate) fn new(index: usize, name: String) -> Result<Self, BackendError> {
        Ok(Self {
            index,
            name,
            breakers: Breakers::default(),
            alarm: Alarm::default(),
            signatures: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            took: Histogram::of_durations(),
            errors: Tally::new(ERROR_CODES_MAX, "OTHER".to_owned()),
            seated: AtomicUsize::new(0),
            hung: AtomicUsize::new(0),
            doubted: AtomicBool::new(false),
            opened: OnceLock::new(),
            serves: AtomicBool::new(false),
            stage: Mutex::new(Stage::Opens),
            changed: Condvar::new(),
            keys: Desk::open("keys")?,
            probe: Desk::open("probe")?,
        })
    }

    /// The backend, once it was opened.
    pub(crate) fn backend(&self) -> Option<&Arc<dyn Backend>> {
        self.opened.get().map(|(backend, ..)| backend)
    }

    /// What it was when it was opened.
    pub(crate) fn description(&self) -> Option<&Description> {
        self.opened.get().map(|(_, description, _)| description)
    }

    /// Threads that sign, as they were at first.
    pub(crate) fn size(&self) -> usize {
        self.opened.get().map_or(0, |(.., size)| *size)
    }

    /// Its description, or its name where it was never there.
    pub(crate) fn told(&self) -> String {
        self.description().map_or_else(|| format!("token {}, which is away", self.name), Description::to_string)
    }

    /// It was opened; it happens once.
    pub(crate) fn is_opened(&self, backend: Arc<dyn Backend>, description: Description, size: usize) {
        // Whoever opens it is one thread.
        let _ = self.opened.set((backend, description, size));
    }

    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::SeqCst)
    }

    pub(crate) fn stage(&self) -> Stage {
        self.lock().clone()
    }

    /// Where it stands from now on. Whether that is another kind of place than before.
    pub(crate) fn enter(&self, stage: Stage) -> bool {
        let mut place = self.lock();
        let is_new = std::mem::discriminant(&*place) != std::mem::discriminant(&stage);
        self.serves.store(stage == Stage::Serves, Ordering::SeqCst);
        *place = stage;
        drop(place);
        self.changed.notify_all();
        is_new
    }

    /// Waits until the first opening has ended, or for so long. Whether it serves.
    pub(crate) fn await_opened(&self, patience: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), patience, |stage| *stage == Stage::Opens);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.serves()
    }

    /// Whether it has a thread whose call does not hang.
    pub(crate) fn has_free_seat(&self) -> bool {
        self.seated.load(Ordering::SeqCst) > self.hung.load(Ordering::SeqCst)
    }

    /// It did not have a key that it was known to have: whoever looks after it looks for that key soon.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::SeqCst);
        self.alarm.set(Instant::now() + DOUBTED_INTERVAL);
    }

    /// Whether it was doubted since this was asked last.
    pub(crate) fn was_doubted(&self) -> bool {
        self.doubted.swap(false, Ordering::SeqCst)
    }

    /// Whether nobody does anything with its keys but sign.
    pub(crate) fn is_left_alone(&self) -> bool {
        self.keys.is_idle()
    }

    /// Does something with its keys, for a caller who waits so long.
    pub(crate) fn operate<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        work: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, BackendError> {
        let backend = self.there()?;
        self.keys.run(operation, within, move || work(backend.as_ref()), undo)
    }

    /// Asks it something that needs no key.
    pub(crate) fn ask<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        work: impl FnOnce(&dyn Backend) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let backend = self.there()?;
        self.probe.run(operation, within, move || work(backend.as_ref()), drop)
    }

    /// Opens it on its own thread; a device that hangs costs that thread and nothing else.
    pub(crate) fn run_open(
        &self,
        within: Duration,
        open: impl FnOnce() -> Result<Opened, BackendError> + Send + 'static,
    ) -> Result<(Opened, Description), BackendError> {
        let open = move || {
            let (backend, signers) = open()?;
            let description = backend.describe();
            Ok(((backend, signers), description))
        };
        self.keys.run("open its sessions", within, open, drop)
    }

    /// Whether it was ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.keys.has_ended() && self.probe.has_ended()
    }

    /// Ends its threads, and waits so long for what each has under way. Nothing is done with it afterwards.
    pub(crate) fn end(&self, patience: Duration) {
        self.keys.end(patience);
        self.probe.end(patience);
    }

    fn there(&self) -> Result<Arc<dyn Backend>, BackendError> {
        self.backend().cloned().ok_or_else(|| BackendError::TokensAway { tokens: self.name.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Holder({} {}, {:?})", self.index, self.name, self.stage())
    }
}
