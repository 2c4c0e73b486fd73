//! A keyring over two tokens that replicate, each behind a device of its own that fails when it is told to.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use hallmark_faulty::{Device, Function};
use hallmark_policy::key::{KeyKind, SignatureAlgorithm};
use hallmark_test_token::{PIN, Replica, Token};

use super::{
    faulty::{AMPLE, PATIENCE, SLACK, again},
    message, request,
};
use crate::{
    BackendConfig, BackendError, Choice, Keyring, NewKey, RefusedPins, SignError, Signature, SoftwareKeys, TokenConfig,
    Tried, Waiver, patience::Patience,
};

/// Clients of the line.
const CLIENTS: usize = 16;

/// Two tokens with one key, or one that is not copied yet. The devices come first, so that nothing hangs in them when the keyring ends.
pub(super) struct Pair {
    pub(super) devices: [Device; 2],
    pub(super) keyring: Keyring,
    pub(super) key: NewKey,
    pub(super) tokens: (Token, Replica),
}

/// Two tokens, and nothing opened.
pub(super) struct Unopened {
    pub(super) devices: [Device; 2],
    pub(super) tokens: (Token, Replica),
    pub(super) choice: Choice,
    pub(super) patience: Patience,
    pub(super) waived: Vec<Waiver>,
    /// Both are reached through the first device's module.
    pub(super) one_module: bool,
}

impl Unopened {
    pub(super) fn new(name: &str) -> Self {
        let (first, second) = (Token::make(name), Token::make(name));
        let second = second.takes_keys_of(&first);
        Self {
            devices: [Device::new(), Device::new()],
            tokens: (first, second),
            choice: Choice::LeastLoaded,
            patience: PATIENCE,
            waived: Vec::new(),
            one_module: false,
        }
    }

    pub(super) fn config(&self, pins: [&str; 2]) -> BackendConfig {
        let token = |at: usize, (label, serial): (&str, &str)| TokenConfig {
            module: self.devices[if self.one_module { 0 } else { at }].module().into(),
            label: label.to_owned(),
            serial: Some(serial.to_owned()),
            pin: pins[at].into(),
            sessions: 2,
            waived: if at == 0 { Vec::new() } else { self.waived.clone() },
            exceptions: crate::Exceptions::default(),
        };
        let (first, second) = &self.tokens;
        let tokens = vec![token(0, (first.label(), first.serial())), token(1, (second.label(), second.serial()))];
        BackendConfig::Replicated { tokens, choice: self.choice }
    }

    pub(super) fn open(&self, pins: [&str; 2]) -> Result<Keyring, BackendError> {
        Keyring::open_patiently(self.config(pins), SoftwareKeys::Refused, self.patience)
    }

    /// The same, with what is known of PINs that were refused.
    pub(super) fn open_remembering(&self, pins: [&str; 2], refused_pins: RefusedPins) -> Result<Keyring, BackendError> {
        Keyring::open_with(self.config(pins), SoftwareKeys::Refused, self.patience, refused_pins)
    }

    /// Opened, with a key of the first token alone.
    pub(super) fn with_one_copy(self) -> Pair {
        let keyring = self.open([PIN, PIN]).unwrap();
        again(|| keyring.tokens().iter().all(|token| token.away.is_none()));
        let key = keyring.generate(&request("issuer", KeyKind::EcdsaP256)).unwrap();
        keyring.open(&key.reference, key.public.digest()).unwrap();
        Pair { devices: self.devices, keyring, key, tokens: self.tokens }
    }

    /// Opened, with a key in both.
    pub(super) fn with_both(self) -> Pair {
        let pair = self.with_one_copy();
        assert_eq!(pair.tokens.1.replicate(), 2);
        pair.keyring.open(&pair.key.reference, pair.key.public.digest()).unwrap();
        assert_eq!(pair.keys(), [1, 1]);
        pair
    }
}

impl Pair {
    pub(super) fn new(name: &str) -> Self {
        Unopened::new(name).with_both()
    }

    /// How many of the open keys each token has.
    pub(super) fn keys(&self) -> [usize; 2] {
        let tokens = self.keyring.tokens();
        [tokens[0].keys, tokens[1].keys]
    }

    /// Whether each token serves.
    pub(super) fn serve(&self) -> [bool; 2] {
        let tokens = self.keyring.tokens();
        [tokens[0].away.is_none(), tokens[1].away.is_none()]
    }

    /// How often each device was asked to sign.
    pub(super) fn signed(&self) -> [u64; 2] {
        [0, 1].map(|at| self.devices[at].calls(Function::Sign))
    }

    /// Asks once, without what the signer does when it is told of another token.
    pub(super) fn sign_once(&self, within: Duration, tried: Tried) -> Result<Signature, SignError> {
        let (send, receive) = mpsc::channel();
        let job = message(self.key.public.digest(), SignatureAlgorithm::EcdsaSha256);
        let done = Box::new(move |answer| drop(send.send(answer)));
        self.keyring.sign_message_again(job, Instant::now() + within, tried, done);
        let answer = receive.recv_timeout(within + SLACK).expect("an answer at the deadline");
        if let Ok(signature) = &answer {
            let bytes = (signature.to_be_signed(), signature.bytes());
            assert!(
                self.key.public.verifies(SignatureAlgorithm::EcdsaSha256, bytes.0, bytes.1),
                "a wrong signature left"
            );
        }
        answer
    }

    /// Signs as the signer does, which logs before it asks again.
    pub(super) fn sign_within(&self, within: Duration) -> Result<Signature, SignError> {
        let (deadline, mut tried) = (Instant::now() + within, Tried::default());
        loop {
            match self.sign_once(deadline.saturating_duration_since(Instant::now()), tried) {
                Err(SignError::SignAgain { tried: now_tried, .. }) => tried = now_tried,
                answer => return answer,
            }
        }
    }

    pub(super) fn sign(&self) -> Result<Signature, SignError> {
        self.sign_within(AMPLE)
    }

    /// Sixteen clients sign without a pause while `work` happens; how many signatures there were. None may fail.
    pub(super) fn under_load(&self, work: impl FnOnce(&dyn Fn())) -> u64 {
        let (over, signed) = (AtomicBool::new(false), AtomicU64::new(0));
        let more = || {
            let before = signed.load(Ordering::SeqCst);
            again(|| signed.load(Ordering::SeqCst) > before + 50);
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|_| {
                    scope.spawn(|| {
                        while !over.load(Ordering::SeqCst) {
                            self.sign().expect("no request fails that can wait");
                            signed.fetch_add(1, Ordering::SeqCst);
                        }
                    })
                })
                .collect();
            more();
            work(&more);
            over.store(true, Ordering::SeqCst);
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
        signed.into_inner()
    }
}
