//! What the signing threads work on: the queue, and the keys that may sign.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU64},
    thread,
    time::{Duration, Instant},
};

use hallmark_policy::key::SpkiDigest;

use crate::{
    backend::{Backend, Gate, OpenKey, Signer, in_time},
    crew::{Crew, Hung, Place},
    error::{BackendError, SignError},
    keyring::Done,
    queue::Queue,
    signature::{Message, Signature},
};

/// What the threads share.
pub(crate) struct Work {
    pub(crate) queue: Queue<Job>,
    pub(crate) open: RwLock<BTreeMap<SpkiDigest, OpenKey>>,
    pub(crate) openings: AtomicU64,
    pub(crate) key_uses: AtomicU64,
    pub(crate) crew: Crew,
}

/// A signature that is wanted.
pub(crate) struct Job {
    pub(crate) message: Message,
    pub(crate) deadline: Instant,
    pub(crate) done: Done,
}

impl Work {
    /// For so many sessions, with no threads yet.
    pub(crate) fn new(sessions: usize, signature_time_max: Duration) -> Self {
        Self {
            queue: Queue::new(),
            open: RwLock::default(),
            openings: AtomicU64::new(0),
            key_uses: AtomicU64::new(0),
            crew: Crew::new(sessions, signature_time_max),
        }
    }

    /// One thread more.
    pub(crate) fn start(self: &Arc<Self>, signer: Box<dyn Signer>) -> Result<(), BackendError> {
        let (work, number) = (Arc::clone(self), self.crew.enlist());
        let thread = thread::Builder::new().name(format!("sign-{number}")).spawn(move || {
            let place = work.crew.take_place(number);
            work.work(&place, signer);
        });
        thread.map(drop).map_err(|source| {
            self.crew.strike(number);
            BackendError::Thread { source }
        })
    }

    /// Lets others take the place of threads that hang.
    pub(crate) fn watch(self: &Arc<Self>, backend: &dyn Backend) {
        while let Some(Hung { number, replaceable }) = self.crew.next_hung() {
            if !replaceable {
                tracing::error!(
                    thread = number,
                    "another signing thread hangs in the key device, and no other takes its place; restart the daemon if the device stays so"
                );
                continue;
            }
            tracing::error!(
                thread = number,
                "a signing thread hangs in the key device; another takes its place with a new session"
            );
            if let Err(error) = self.start(backend.later_signer()) {
                tracing::error!(%error, "no other thread could take its place");
                self.crew.keep_place(number);
            }
        }
    }

    /// The life of a session's thread. Every job is answered once; a panic ends a job, not the thread. It ends with the queue, or if it hung
    /// and another has its place.
    fn work(&self, place: &Place<'_>, mut signer: Box<dyn Signer>) {
        while let Some(Job { message, deadline, done }) = self.queue.pop() {
            place.enter();
            let signed = catch_unwind(AssertUnwindSafe(|| self.sign(signer.as_mut(), message, deadline)));
            let goes_on = place.leave();
            let answer = signed.unwrap_or_else(|_| {
                signer.distrust();
                Err(SignError::Panicked)
            });
            if catch_unwind(AssertUnwindSafe(|| done(answer))).is_err() {
                tracing::error!("whoever waited for a signature panicked when it came");
            }
            if !goes_on {
                tracing::warn!("a signing thread that hung in the key device came back; another has its place");
                return;
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
