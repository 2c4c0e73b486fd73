//! Keys in several tokens: made, opened and found on each.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use hallmark_meter::Reading;
use hallmark_policy::key::{PublicKey, SpkiDigest};

use crate::{
    backend::{Backend, KeyRequest, NewKey, OpenKey},
    choosing::Holders,
    config::{BackendConfig, Choice, TOKENS_MAX, TokenConfig},
    crew::Crew,
    error::BackendError,
    holder::{Holder, Open, Stage},
    keeper::{Keeper, lacks},
    patience::Patience,
    pkcs11,
    reference::KeyReference,
    refused_pins::RefusedPins,
};

/// How much longer is waited for the other tokens, once one has answered. Who comes later is taken in then.
const OTHERS_TIME_MAX: Duration = Duration::from_secs(1);

/// How a token stands, for monitoring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// Its name, as configured.
    pub name: String,
    /// Why it does not serve; none if it does.
    pub away: Option<String>,
    /// Signing sessions.
    pub sessions: usize,
    /// Of which calls hang in the device.
    pub hanging: usize,
    /// Keys that are open and that it signs with.
    pub keys: usize,
    /// Signatures that it gave since the start, and verified.
    pub signatures: u64,
    /// Jobs that it failed since the start.
    pub failures: u64,
    /// How long its signatures took, and the tries that failed, in nanoseconds.
    pub took: Reading,
    /// What its tries failed with since the start, by the CKR code or another short word; also those after which another try went well.
    pub errors: BTreeMap<String, u64>,
}

/// The threads that look after the tokens.
pub(crate) struct Keepers {
    /// Closed when all of them have ended.
    ended: mpsc::Receiver<()>,
    /// Empty once they were waited for.
    threads: Vec<JoinHandle<()>>,
}

/// What each token's opening came to: its place, and an error.
type Begun = (usize, Result<(), BackendError>);

/// Opens the tokens side by side. One that serves is enough; the others are taken in when they are there.
pub(crate) fn open(
    tokens: Vec<TokenConfig>,
    choice: Choice,
    patience: Patience,
    refused_pins: &Arc<RefusedPins>,
) -> Result<(Arc<Crew>, Keepers), BackendError> {
    if !(2..=TOKENS_MAX).contains(&tokens.len()) {
        let detail = format!("{} tokens are configured to hold the same keys; 2 to {TOKENS_MAX} work", tokens.len());
        return Err(BackendError::Configuration { detail });
    }
    let holders = tokens.iter().enumerate().map(|(index, token)| Holder::new(index, token.name()).map(Arc::new));
    let holders = holders.collect::<Result<Vec<_>, _>>()?;
    let crew = Crew::start(Holders::new(holders.clone(), choice), patience)?;
    let ((tell, begun), (ends, ended)) = (mpsc::channel(), mpsc::channel::<()>());
    let mut keepers = Keepers { ended, threads: Vec::new() };
    let started = holders.iter().zip(tokens).try_for_each(|(holder, token)| {
        let refused_pins = Arc::clone(refused_pins);
        let open: Arc<Open> = Arc::new(move || pkcs11::open(token.clone(), true, &refused_pins));
        let mut keeper = Keeper::new(&crew, holder, open, patience);
        let (index, tell, ends) = (holder.index, tell.clone(), ends.clone());
        let keep = move || {
            // Nobody may wait for it any more.
            let _ = tell.send((index, keeper.begin()));
            keeper.keep();
            drop(ends);
        };
        let keeping = thread::Builder::new().name("token".to_owned()).spawn(keep);
        keepers.threads.push(keeping.map_err(|source| BackendError::Thread { source })?);
        Ok(())
    });
    drop((tell, ends));
    match started.and_then(|()| await_one(&begun, holders.len(), patience)) {
        Ok(()) => Ok((crew, keepers)),
        Err(error) => {
            keepers.stop(&crew, patience);
            crew.stop();
            crew.holders().all.iter().for_each(|holder| holder.end(patience.stop));
            Err(error)
        }
    }
}

/// Waits until a token serves and the others have answered or had their time.
fn await_one(begun: &mpsc::Receiver<Begun>, tokens: usize, patience: Patience) -> Result<(), BackendError> {
    let (mut until, mut serves, mut failed) = (Instant::now() + patience.start, false, Vec::new());
    for _ in 0..tokens {
        match begun.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok((_, Ok(()))) => {
                if !serves {
                    until = until.min(Instant::now() + OTHERS_TIME_MAX);
                }
                serves = true;
            }
            // A mistake that no token's return mends.
            Ok((_, Err(error @ BackendError::Configuration { .. }))) => return Err(error),
            Ok((index, Err(error))) => failed.push((index, error)),
            Err(_) => break,
        }
    }
    if serves {
        return Ok(());
    }
    // A wrong PIN comes first: whoever starts this again must know.
    failed.sort_by_key(|(index, error)| (!error.is_about_the_pin(), *index));
    let hung = BackendError::Hung { operation: "open its sessions", waited_secs: patience.start.as_secs() };
    Err(failed.into_iter().next().map_or(hung, |(_, error)| error))
}

impl Keepers {
    /// Ends them, and waits for those that do not wait for a device.
    pub(crate) fn stop(&mut self, crew: &Crew, patience: Patience) {
        crew.holders().all.iter().for_each(|holder| holder.alarm.end());
        if matches!(self.ended.recv_timeout(patience.stop), Err(mpsc::RecvTimeoutError::Timeout)) {
            return tracing::error!("a token that does not answer is left alone");
        }
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that looks after a token ended by a fault in this program");
            }
        }
    }
}

impl Holders {
    /// The tokens that are there, in order.
    fn there(&self) -> Vec<Arc<Holder>> {
        self.there_and_away().0
    }

    fn away(&self) -> Vec<String> {
        self.there_and_away().1
    }

    /// The tokens that are there, in order, and the names of the others, by one look at each: none is in both, and none in neither.
    pub(crate) fn there_and_away(&self) -> (Vec<Arc<Holder>>, Vec<String>) {
        let (mut there, mut away) = (Vec::new(), Vec::new());
        for holder in &self.all {
            if holder.serves() {
                there.push(Arc::clone(holder));
            } else {
                away.push(holder.name.clone());
            }
        }
        (there, away)
    }

    fn nobody(&self) -> BackendError {
        BackendError::TokensAway { tokens: self.away().join(", ") }
    }

    /// Does something with the first token that can; of those that cannot, the first one's error is told.
    pub(crate) fn first<T>(&self, mut work: impl FnMut(&Holder) -> Result<T, BackendError>) -> Result<T, BackendError> {
        let mut failed = None;
        for holder in self.there() {
            match work(&holder) {
                Ok(done) => return Ok(done),
                Err(error) => {
                    // Whoever looks after it looks now.
                    holder.alarm.set(Instant::now());
                    failed = failed.or(Some(error));
                }
            }
        }
        Err(failed.unwrap_or_else(|| self.nobody()))
    }

    /// Makes a key on the first token that can. Where one fails, what it may have left is its own to remove.
    pub(crate) fn generate(&self, request: &KeyRequest, within: Duration) -> Result<(usize, NewKey), BackendError> {
        let mut failed = None;
        for holder in self.there() {
            let (request, undoing) = (request.clone(), holder.backend().cloned());
            let undo = move |key| undoing.iter().for_each(|backend| remove_late(backend.as_ref(), &key));
            match holder.operate("make a key", within, move |backend| backend.generate(&request), undo) {
                Ok(key) => return Ok((holder.index, key)),
                Err(error) if self.are_several() && may_go_elsewhere(&error) => {
                    tracing::error!(token = holder.name, %error, "a token made no key; the next one is asked");
                    failed = failed.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(failed.unwrap_or_else(|| self.nobody()))
    }

    /// Opens a key on every token that is there or about to be. Tells `found` of each that has it, in the order in which they answer. One in which
    /// it is not as it should be has it no longer, as `before` says it had: also where it answers after the caller has gone.
    pub(crate) fn open(
        &self,
        reference: &KeyReference,
        expected: SpkiDigest,
        before: Option<&OpenKey>,
        within: Duration,
        mut found: impl FnMut(usize, &PublicKey),
    ) -> Result<PublicKey, BackendError> {
        let (tell, told) = mpsc::channel();
        let mut asked: Vec<_> = self.there().iter().map(|holder| holder.index).collect();
        for holder in &self.all {
            let (holder, tell, reference) = (Arc::clone(holder), tell.clone(), reference.clone());
            let held = before.map(|before| Arc::clone(&before.held));
            let ask = move || {
                let find = move |backend: &dyn Backend| backend.open(&reference, expected);
                let opened = if holder.await_opened(within) {
                    holder.operate("open a key", within, find, drop)
                } else {
                    Err(BackendError::TokensAway { tokens: holder.name.clone() })
                };
                let had = match (&opened, held) {
                    (Err(error), Some(held)) if error.is_about_the_key() => held.set(holder.index, false),
                    (Ok(_) | Err(_), _) => false,
                };
                // Who asked may have enough; whoever looks after this token asks again.
                if let Err(mpsc::SendError((_, Err(error)))) = tell.send((holder.index, opened))
                    && had
                {
                    lacks(&holder, &error);
                }
            };
            let asking = thread::Builder::new().name("open-key".to_owned()).spawn(ask);
            asking.map_err(|source| BackendError::Thread { source })?;
        }
        drop(tell);
        let (mut until, mut public, mut failed) = (Instant::now() + within, None, Vec::new());
        while let Ok((index, opened)) = told.recv_timeout(until.saturating_duration_since(Instant::now())) {
            match opened {
                Ok(key) => {
                    found(index, &key);
                    if public.is_none() {
                        until = until.min(Instant::now() + OTHERS_TIME_MAX);
                    }
                    public = Some(key);
                }
                Err(error) => failed.push((index, error)),
            }
            asked.retain(|other| *other != index);
            // One that is being opened finds the key itself, if it is open by then.
            if public.is_some() && asked.is_empty() {
                break;
            }
        }
        let Some(public) = public else {
            // Of one that is there, before of one that is away; but that it is not in one says nothing while another may have it.
            failed.sort_by_key(|(index, error)| {
                let is_missing = matches!(error, BackendError::KeyNotFound { .. });
                (is_missing, matches!(error, BackendError::TokensAway { .. }), *index)
            });
            return Err(failed.into_iter().next().map_or_else(|| self.nobody(), |(_, error)| error));
        };
        for (index, error) in failed {
            if let Some(holder) = self.all.get(index).filter(|holder| holder.serves()) {
                lacks(holder, &error);
            }
        }
        Ok(public)
    }

    /// The keys of each of these tokens, or why it does not say which it has.
    pub(crate) fn list_each(
        &self,
        wanted: impl Fn(&str) -> bool,
        within: Duration,
    ) -> Vec<(String, Result<Vec<KeyReference>, BackendError>)> {
        let ask = |holder: &Arc<Holder>| {
            let listed = if holder.serves() {
                holder.operate("list its keys", within, |backend| backend.list(), drop)
            } else {
                Err(BackendError::TokensAway { tokens: holder.name.clone() })
            };
            (holder.name.clone(), listed)
        };
        self.all.iter().filter(|holder| wanted(&holder.name)).map(ask).collect()
    }

    /// The keys of all tokens that are there, each once.
    pub(crate) fn list(&self, within: Duration) -> Result<Vec<KeyReference>, BackendError> {
        let mut keys: Vec<KeyReference> = Vec::new();
        for holder in self.there() {
            // A copy is in several; what one token has twice is there twice.
            let mut own = holder.operate("list its keys", within, |backend| backend.list(), drop)?;
            own.retain(|key| !keys.contains(key));
            keys.append(&mut own);
        }
        Ok(keys)
    }

    /// How each stands.
    pub(crate) fn statuses(&self, crew: &Crew) -> Vec<TokenStatus> {
        use std::sync::atomic::Ordering::{Relaxed, SeqCst};
        let keys = crew.open_keys();
        let one = |holder: &Arc<Holder>| TokenStatus {
            name: holder.name.clone(),
            away: match holder.stage() {
                Stage::Serves => None,
                Stage::Opens => Some("it is being opened".to_owned()),
                Stage::Away(sentence) | Stage::Out(sentence) => Some(sentence),
            },
            sessions: holder.size(),
            hanging: holder.hung.load(SeqCst),
            keys: keys.iter().filter(|key| key.held.by(holder.index)).count(),
            signatures: holder.signatures.load(Relaxed),
            failures: holder.failures.load(Relaxed),
            took: holder.took.read(),
            errors: holder.errors.read(),
        };
        self.all.iter().map(one).collect()
    }
}

/// Removes a key that was made after nobody waited for it any more.
fn remove_late(backend: &dyn Backend, key: &NewKey) {
    if let Err(error) = backend.destroy(&key.reference, key.public.digest()) {
        tracing::error!(key = %key.reference, %error, "a key that came too late could not be removed");
    }
}

/// Whether another token could make the key that this one did not.
fn may_go_elsewhere(error: &BackendError) -> bool {
    error.may_pass() || error.is_about_the_pin() || matches!(error, BackendError::Hung { .. })
}

impl TokenConfig {
    /// For people: its label, and the serial where it is configured.
    fn name(&self) -> String {
        match &self.serial {
            Some(serial) => format!("{} ({serial})", self.label),
            None => self.label.clone(),
        }
    }
}

impl BackendConfig {
    /// What the one place is called, where there is one.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pkcs11(token) => token.label.clone(),
            Self::YubiHsm(config) => config.connector.to_string(),
            Self::AwsKms(config) => format!("AWS KMS {}", config.place),
            Self::Software { .. } => "files".to_owned(),
            Self::Replicated { .. } => String::new(),
        }
    }
}
